/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The translation of the IP header alone, shared by packets and ICMP errors, which have two each.
 * Internal to the translator.
 */
#ifndef ENGINE_TRANSLATE_HEADER_H
#define ENGINE_TRANSLATE_HEADER_H

#include "engine/translate.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"

enum {
    HOPS_FORWARDED = 1, /* what a packet on its way loses of its hop limit */
    HOPS_QUOTED = 0,    /* what a packet inside an ICMP error does */
};

/* An IPv6 header to be made IPv4. Only its first 8 bytes are read, so the new one may overlap the rest. */
struct header_6to4 {
    const struct ipv6_header *old;
    const struct ipv6_fragment_header *fragment; /* a copy, since it is overwritten; NULL: there is none */
    const struct translation_settings *settings;
    const struct endpoints4 *to; /* only the addresses */
    uint32_t length;             /* total length of the new packet */
    uint32_t segment;            /* the same of its segments if it is a super-packet */
    uint16_t identification;     /* if there is no fragment header */
    uint8_t protocol;            /* of the transport header, in IPv6's numbers */
    uint8_t hops;
};

/* An IPv4 header to be made IPv6; `old` is a copy, since the new header overlaps it. */
struct header_4to6 {
    const struct ipv4_header *old;
    const struct translation_settings *settings;
    const struct endpoints6 *to; /* only the addresses */
    uint32_t length;             /* bytes after the new headers */
    uint8_t protocol;            /* of the transport header, in IPv6's numbers */
    uint8_t hops;
    bool fragmented; /* a fragment header follows the IPv6 header */
};

/* Write the header at `at`; from IPv4 with the fragment header behind it, if there is to be one. */
void translate_header_6to4(uint8_t *at, const struct header_6to4 *header);
void translate_header_4to6(uint8_t *at, const struct header_4to6 *header);

/* Length of an IPv4 header of ours: options are never made. */
enum {
    IPV4_HEADER = sizeof(struct ipv4_header),
    IPV6_HEADER = sizeof(struct ipv6_header),
    FRAGMENT_HEADER = sizeof(struct ipv6_fragment_header),
};

/*
 * Length of the IPv6 header of what was an IPv4 packet, with the fragment header (RFC 7915 section 4.1).
 * rfc: 7915-4-c
 */
WIRE_INLINE uint32_t header_length_4to6(const struct description *description)
{
    return IPV6_HEADER + (description->fragmented ? (uint32_t)FRAGMENT_HEADER : 0);
}

/*
 * Can the kind not be translated as a whole packet? Errors have translators of their own, other ICMP messages
 * no counterpart; the checksum of ICMP covers a pseudo-header with the length of the whole message on one
 * side only, which a fragment does not tell (RFC 7915 section 1.2), but who has seen the last one may. Other
 * protocols pass as they are.
 * rfc: 7915-1.2-a
 */
WIRE_INLINE enum verdict judge_kind(const struct description *description)
{
    bool icmp = description->protocol == (description->version == 4 ? PROTOCOL_ICMPV4 : PROTOCOL_ICMPV6);
    if (icmp && description->fragmented && description->datagram == 0)
        return VERDICT_ICMP_FRAGMENT;
    if (description->kind == PACKET_ICMP_ERROR || description->kind == PACKET_ICMP_OTHER)
        return VERDICT_ICMP_TYPE;
    return VERDICT_COUNT;
}

/* The length of an ICMP message, as its pseudo-header tells it. */
WIRE_INLINE uint32_t icmp_length(const struct description *description)
{
    return description->fragmented ? description->datagram : description->transport_length;
}

/*
 * A protocol whose checksum is not known here can yet be left for others to complete. If it covers the IP
 * addresses the field holds their sum, see wire/checksum.h; if it starts further in, it does not.
 */
WIRE_INLINE bool partial_beyond_transport(const struct packet *packet, const struct description *description)
{
    return (packet->offload.flags & OFFLOAD_PARTIAL) == 0 ||
           packet->offload.checksum_start >= description->transport;
}

/*
 * The offload state of a packet whose IP header changed its length from `before` to `after`. The header
 * length is a hint that counts bytes from the front, so it moves along.
 */
WIRE_INLINE void offload_move(struct packet *packet, uint32_t before, uint32_t after)
{
    struct offload *offload = &packet->offload;
    if ((offload->flags & OFFLOAD_PARTIAL) != 0)
        offload->checksum_start = (uint16_t)(offload->checksum_start - before + after);
    if (offload->header_length >= before) {
        uint32_t length = offload->header_length - before + after;
        uint32_t limit = packet->length < UINT16_MAX ? packet->length : UINT16_MAX;
        offload->header_length = (uint16_t)(length < limit ? length : limit);
    }
}

/* TCP super-packets bear their family's name; what says something about ECN stays. */
WIRE_INLINE void offload_set_family(struct offload *offload, uint8_t from, uint8_t to)
{
    if ((offload->gso_type & ~OFFLOAD_GSO_ECN) == from)
        offload->gso_type = (uint8_t)(to | (offload->gso_type & OFFLOAD_GSO_ECN));
}

#endif /* ENGINE_TRANSLATE_HEADER_H */
