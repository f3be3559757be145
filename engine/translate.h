/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The translator: bytes of one family into bytes of the other (RFC 7915). It knows nothing of where
 * addresses come from; a policy (nat64) chooses them and hands them in.
 *
 * Each function rewrites the packet in place: the new header is written in front of the transport header, so
 * the payload stays where it is; IPv6 extension headers and IPv4 options vanish. The packet is judged in full
 * before the first byte is changed: on any verdict other than a FORWARDED one the packet is untouched and may
 * be quoted in an ICMP error.
 */
#ifndef ENGINE_TRANSLATE_H
#define ENGINE_TRANSLATE_H

#include "engine/packet.h"
#include "engine/settings.h"

/* Addresses and ports of a packet as it will leave. For ICMP queries both ports are the identifier. */
struct endpoints4 {
    be32 source, destination;
    be16 source_port, destination_port;
};

struct endpoints6 {
    struct ipv6_address source, destination;
    be16 source_port, destination_port;
};

/*
 * All packets but ICMP errors. TCP, UDP and ICMP queries get ports and checksums brought up to date, other
 * protocols and later fragments only a new IP header. Fragments keep their offset, flag and identification,
 * from IPv4 in a fragment header; their ports and checksum are in the first. Header fields by RFC 7915
 * sections 5.1 and 4.1; hop limit decremented once; checksums by wire/checksum.h, a wrong one staying
 * equivalently wrong, a partial one partial; the MSS of a SYN clamped to what fits both paths if the settings
 * say so; GSO type and size kept right. A packet without DF, or a fragment, that is longer than divide_limit
 * gets a fragment header, so that divide.c can cut it.
 *
 * `identification` is that of the IPv4 packet (RFC 7915 section 5.1: a generator at the translator).
 *
 * Returns TRANSLATED_6TO4, TRANSLATED_4TO6 or FRAGMENTED_4TO6; ICMP_TYPE, ICMP_FRAGMENT, UDP_FRAGMENT,
 * HOP_LIMIT, TOO_BIG_IPV6, TOO_BIG_IPV4 (DF), UDP_CHECKSUM_ZERO, NO_ROOM, BAD_OFFLOAD. A
 * packet of 1280 bytes or less is never TOO_BIG_IPV6: it goes out with DF cleared and later routers may
 * fragment it.
 */
enum verdict translate_6to4(struct packet *packet, const struct description *description,
                            const struct endpoints4 *to, const struct translation_settings *settings,
                            uint16_t identification);
enum verdict translate_4to6(struct packet *packet, const struct description *description,
                            const struct endpoints6 *to, const struct translation_settings *settings);

/*
 * ICMP errors with the packet they quote (RFC 7915 sections 4.2, 4.3, 5.2, 5.3). `description` is that of
 * the error, `quoted` that of the packet inside, described with packet_describe_quoted. `to` are the
 * addresses of the error (its ports are not used), `quoted_to` those of the packet inside, both in the family
 * the error leaves in.
 *
 * Type, code, pointer and MTU are mapped by engine/icmp_map.h; the quoted IP header is translated without
 * decrementing its hop limit, quoted ports and checksum follow if they are quoted; RFC 4884 extensions
 * are kept and their length attribute corrected, the whole cut to 576 (IPv4) or 1280 (IPv6) bytes.
 * The ICMP checksum is verified first and then made anew, since nearly every byte it covers changes.
 *
 * Returns TRANSLATED_..., HOP_LIMIT, ICMP_TYPE, ICMP_CHECKSUM, ICMP_INNER, NO_ROOM.
 */
struct error_endpoints4 {
    struct endpoints4 to, quoted_to;
};

struct error_endpoints6 {
    struct endpoints6 to, quoted_to;
};

enum verdict translate_error_6to4(struct packet *packet, const struct description *description,
                                  const struct description *quoted, const struct error_endpoints4 *endpoints,
                                  const struct translation_settings *settings);
enum verdict translate_error_4to6(struct packet *packet, const struct description *description,
                                  const struct description *quoted, const struct error_endpoints6 *endpoints,
                                  const struct translation_settings *settings);

#endif /* ENGINE_TRANSLATE_H */
