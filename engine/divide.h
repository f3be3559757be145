/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * IPv6 packets cut into fragments, one at a time: IPv4 packets without DF that are larger than the IPv6 side
 * need carry (RFC 7915 section 4.1).
 *
 * The translator gives such a packet a fragment header, whether it has been a fragment already or not. What
 * is then cut is everything behind that header, in multiples of eight bytes; each piece gets copies of both
 * headers.
 *
 *     | IPv6 | fragment header: offset o, M m | payload, n bytes                        |
 *     | IPv6 | offset o, M 1 | 1232 bytes |
 *     | IPv6 | offset o + 1232, M 1 | 1232 bytes |
 *     | IPv6 | offset o + 2464, M m | the rest |
 *
 * A UDP super-packet is many datagrams with one header. They are cut up one after the other, each as a packet
 * of its own. For the next one the headers move forward, over the end of the one before, which has gone by
 * then:
 *
 *     | IPv6 | fragment header | UDP | datagram 0    | datagram 1    | datagram 2    | datagram 3  |
 *                    | IPv6 | fragment header | UDP | datagram 1    | datagram 2    | datagram 3  |
 */
#ifndef ENGINE_DIVIDE_H
#define ENGINE_DIVIDE_H

#include "engine/packet.h"
#include "engine/paths.h"
#include "engine/settings.h"

/* A packet that is being cut up. */
struct division {
    uint8_t *packet;  /* its IPv6 header */
    uint32_t payload; /* bytes behind the fragment header */
    uint32_t done;    /* of which so many have been handed out */
    uint32_t limit;   /* bytes a piece may have */
    unsigned number;  /* of the packet in its burst */
    uint32_t segment; /* bytes of UDP payload in each datagram of a super-packet; 0: it is none */
    uint32_t behind;  /* bytes of the datagrams behind this one */
};

/*
 * The longest IPv6 packet that is made, without DF, for this destination (RFC 7915 section 4.1).
 * rfc: 7915-4.1-a, 7915-4.1-b
 */
WIRE_INLINE uint32_t divide_limit(const struct translation_settings *settings,
                                  const struct ipv6_address *destination)
{
    uint32_t lowest = settings->lowest_ipv6_mtu, mtu;
    if (lowest <= IPV6_MINIMUM_MTU)
        return IPV6_MINIMUM_MTU;
    mtu = path_mtu6(settings, destination);
    return mtu < lowest ? mtu : lowest;
}

/* A translated packet with a fragment header, to be cut up. */
struct division divide_packet(const struct translation_settings *settings, const struct packet *packet);

/*
 * Begins to cut up a super-packet: makes its first datagram one by itself. What has been filled in is
 * `packet`, `payload`, of all, and `limit`.
 */
void divide_segments(struct division *division, uint32_t segment);

/*
 * Copies the next piece into `piece`, whose buffer, capacity and offset are set by the caller: at least 56
 * bytes behind the offset; what does not fit there makes more pieces. False: there is none left.
 */
bool divide_next(struct division *division, struct packet *piece);

#endif /* ENGINE_DIVIDE_H */
