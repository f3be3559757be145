/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * TCP, UDP and ICMP query headers under translation, the same for both directions and for packets quoted in
 * ICMP errors: new ports, new MSS, and a checksum brought up to date.
 *
 * What goes and what comes is summed first and applied as one delta (wire/checksum.h). The sums of the
 * pseudo-header are the caller's. For TCP and UDP those are the addresses alone; for ICMP, where only
 * version 6 has a pseudo-header, it is the whole of it on one side and nothing on the other.
 */
#ifndef ENGINE_TRANSPORT_UPDATE_H
#define ENGINE_TRANSPORT_UPDATE_H

#include "engine/paths.h"
#include "wire/checksum.h"
#include "wire/transport.h"

struct transport_change {
    uint64_t gone, came; /* sums of the pseudo-headers of before and after */
    be16 source_port, destination_port;
    bool partial; /* the checksum field holds the sum of the pseudo-header only */
};

enum {
    TCP_HEADERS_OVER_IPV6 = 40 + 20, /* what an MSS leaves out, in bytes */
    TCP_HEADERS_OVER_IPV4 = 20 + 20,
    TCP_CHECKSUM_END = 18, /* bytes of a TCP header up to and with its checksum */
};

/*
 * What a SYN between these two hosts may state as its MSS: segments come back the same way, and have to fit
 * the paths of both sides. Kept out of the functions that every packet goes through.
 */
static __attribute__((noinline, unused)) uint32_t tcp_mss_limit(const struct translation_settings *settings,
                                                                const struct ipv6_address *ipv6, be32 ipv4)
{
    uint32_t limit6 = path_mtu6(settings, ipv6) - TCP_HEADERS_OVER_IPV6;
    uint32_t limit4 = path_mtu4(settings, ipv4) - TCP_HEADERS_OVER_IPV4;
    if (!settings->mss_clamp)
        return UINT32_MAX;
    return limit6 < limit4 ? limit6 : limit4;
}

/* Position of the first MSS option from `at` on in a TCP header of `length` bytes, 0 if there is none or the
 * options are malformed. */
WIRE_INLINE unsigned tcp_find_mss(const uint8_t *tcp, unsigned at, unsigned length)
{
    while (at < length && tcp[at] != TCP_OPTION_END) {
        if (tcp[at] == TCP_OPTION_NOP) {
            at++;
            continue;
        }
        if (length - at < 2 || tcp[at + 1] < 2 || tcp[at + 1] > length - at)
            return 0;
        if (tcp[at] == TCP_OPTION_MSS && tcp[at + 1] == TCP_OPTION_MSS_LENGTH)
            return at;
        at += tcp[at + 1];
    }
    return 0;
}

/*
 * Lowers each MSS of a SYN to `limit`: which of several the receiver goes by is its own affair. The
 * checksum's change is added to `segment`, see tcp_update.
 */
static inline void tcp_clamp_mss(uint8_t *tcp, uint32_t limit, struct transport_change *segment)
{
    unsigned length = tcp_header_length((const struct tcp_header *)tcp);
    unsigned at = tcp_find_mss(tcp, sizeof(struct tcp_header), length);

    for (; at != 0; at = tcp_find_mss(tcp, at + TCP_OPTION_MSS_LENGTH, length)) {
        be16 old = load_be16(tcp + at + 2), new = to_be16((uint16_t)limit);
        if (from_be16(old) <= limit)
            continue;
        store_be16(tcp + at + 2, new);
        /* At an odd position the two bytes lie in two words of the sum, each in the other's place. */
        segment->gone += at % 2 == 0 ? old : WIRE_SWAP16(old);
        segment->came += at % 2 == 0 ? new : WIRE_SWAP16(new);
    }
}

/* Moves the ports; their part in the checksum's change is added to `segment`. */
WIRE_INLINE void ports_update(uint8_t *at, const struct transport_change *change,
                              struct transport_change *segment)
{
    segment->gone += load_be32(at);
    segment->came += (uint64_t)change->source_port + change->destination_port;
    store_be16(at, change->source_port);
    store_be16(at + 2, change->destination_port);
}

/*
 * The checksum at `field`. `segment` is `change` with the changes of the segment's own bytes added, which
 * enter a complete checksum but not a partial one.
 */
WIRE_INLINE be16 transport_checksum(be16 field, const struct transport_change *change,
                                    const struct transport_change *segment)
{
    if (change->partial)
        return checksum_update_partial(field, checksum_delta(change->gone, change->came));
    return checksum_update(field, checksum_delta(segment->gone, segment->came));
}

/*
 * The whole of a TCP header; the MSS of a SYN is lowered to `mss_limit`.
 * rfc: 7915-4.5-a, 7915-5.5-a, 6146-3.7-a
 */
WIRE_INLINE void tcp_update(uint8_t *tcp, const struct transport_change *change, uint32_t mss_limit)
{
    struct tcp_header *header = (struct tcp_header *)tcp;
    struct transport_change segment = *change;

    ports_update(tcp, change, &segment);
    if ((header->flags & TCP_SYN) != 0)
        tcp_clamp_mss(tcp, mss_limit, &segment);
    header->checksum = transport_checksum(header->checksum, change, &segment);
}

/*
 * UDP. A checksum of zero means that there is none, and so it stays: over IPv6 that is a tunnel's business
 * (RFC 6935), over IPv4 anyone's. A computed checksum of zero is sent as all ones.
 * rfc: 7915-4.5-a, 7915-5.5-a, 6146-3.7-a
 */
WIRE_INLINE void udp_update(uint8_t *udp, const struct transport_change *change)
{
    struct udp_header *header = (struct udp_header *)udp;
    struct transport_change segment = *change;
    be16 checksum = header->checksum;

    ports_update(udp, change, &segment);
    if (checksum == 0 && !change->partial)
        return;
    checksum = transport_checksum(checksum, change, &segment);
    header->checksum = checksum == 0 && !change->partial ? 0xffff : checksum;
}

/*
 * An echo request or reply: its type and identifier.
 * rfc: 7915-4.2-c, 7915-5.2-a, 6146-3.7-b
 */
WIRE_INLINE void icmp_query_update(uint8_t *icmp, const struct transport_change *change, uint8_t type)
{
    struct icmp_header *header = (struct icmp_header *)icmp;
    struct transport_change segment = *change;

    segment.gone += (uint64_t)load_be16(icmp) + load_be16(header->rest);
    header->type = type;
    store_be16(header->rest, change->source_port);
    segment.came += (uint64_t)load_be16(icmp) + load_be16(header->rest);
    header->checksum = checksum_update(header->checksum, checksum_delta(segment.gone, segment.came));
}

/* A protocol of which only the place of its partial checksum is known; its addresses enter there. */
WIRE_INLINE void other_update(uint8_t *field, const struct transport_change *change)
{
    store_be16(field, checksum_update_partial(load_be16(field), checksum_delta(change->gone, change->came)));
}

/* The quoted part of a TCP header, of which `present` bytes are there, at least 8. */
WIRE_INLINE void tcp_update_quoted(uint8_t *tcp, const struct transport_change *change, uint32_t present)
{
    struct tcp_header *header = (struct tcp_header *)tcp;
    struct transport_change segment = *change;

    ports_update(tcp, change, &segment);
    if (present >= TCP_CHECKSUM_END)
        header->checksum = transport_checksum(header->checksum, change, &segment);
}

#endif /* ENGINE_TRANSPORT_UPDATE_H */
