/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The translation of the IP header alone, shared by packets and ICMP errors, which have two each, and by
 * kernel programs. Internal to the translators.
 */
#ifndef ENGINE_TRANSLATE_HEADER_H
#define ENGINE_TRANSLATE_HEADER_H

#include "engine/translate.h"
#include "wire/checksum.h"
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

/* Write the header at `at`, as functions of their own; from IPv4 with the fragment header behind it, if there
 * is to be one. */
void translate_header_6to4(uint8_t *at, const struct header_6to4 *header);
void translate_header_4to6(uint8_t *at, const struct header_4to6 *header);

/* Length of an IPv4 header of ours: options are never made. */
enum {
    IPV4_HEADER = sizeof(struct ipv4_header),
    IPV6_HEADER = sizeof(struct ipv6_header),
    FRAGMENT_HEADER = sizeof(struct ipv6_fragment_header),
};

/*
 * The IPv4 header, field by field in the order of the header.
 * rfc: 7915-5-c, 7915-5-d, 7915-5.1-a, 7915-5.1-b, 7915-5.1-c, 7915-5.1-d, 7915-5.1-f, 7915-5.1-g,
 * 7915-5.1-h, 7915-5.1-i, 7915-5.1.1-c, 7915-5.1.1-d, 7915-5.1.1-f
 * rfc: 7857-10-a
 */
WIRE_INLINE void header_write_6to4(uint8_t *at, const struct header_6to4 *header)
{
    const struct ipv6_header *old = header->old;

    /* Version and header length: 4, and 5 words, since options are never made. */
    uint32_t version_ihl = 0x45;

    /* Type of service: the traffic class with its ECN bits, unless another is configured. */
    uint32_t tos = header->settings->tos < 0 ? ipv6_traffic_class(old) : (uint8_t)header->settings->tos;

    /* Total length: without the extension headers. */
    be32 first = to_be32(version_ihl << 24 | tos << 16 | header->length);

    /* Identification: the caller's, or the low 16 bits of what the sender gave. */
    uint32_t identification = header->identification;

    /* Flags: DF tells routers to report what does not fit, but IPv6 never hears of less than 1280 bytes. */
    uint32_t flags_offset = header->segment > IPV4_FRAGMENTABLE_MTU ? IPV4_DONT_FRAGMENT : 0;

    /* Fragment offset, and both fields before it, where there is a fragment header: section 5.1.1. */
    if (header->fragment != NULL) {
        uint32_t offset_more = from_be16(header->fragment->offset_more);
        identification = from_be32(header->fragment->identification) & 0xffff;
        flags_offset =
            offset_more >> 3 | ((offset_more & IPV6_MORE_FRAGMENTS) != 0 ? IPV4_MORE_FRAGMENTS : 0);
    }
    be32 second = to_be32(identification << 16 | flags_offset);

    /* Time to live: one less for a packet on its way. */
    uint8_t ttl = (uint8_t)(old->hop_limit - header->hops);

    /* Protocol: that of the transport header; only ICMP has two numbers. */
    uint8_t protocol = header->protocol == PROTOCOL_ICMPV6 ? PROTOCOL_ICMPV4 : header->protocol;
    be16 ttl_protocol = to_be16((uint16_t)(ttl << 8 | protocol));

    /* Header checksum: over all the words. */
    uint64_t sum = (uint64_t)first + second + ttl_protocol;
    sum += (uint64_t)header->to->source + header->to->destination;

    store_be32(at, first);
    store_be32(at + 4, second);
    store_be16(at + 8, ttl_protocol);
    store_be16(at + 10, (be16)~checksum_fold(sum));

    /* Source and destination address: the policy's choice. */
    store_be32(at + 12, header->to->source);
    store_be32(at + 16, header->to->destination);
}

/*
 * The fragment header of what is a fragment already, or is to be cut into some.
 * rfc: 7915-4.1-p, 7915-4.1-q
 */
WIRE_INLINE void header_write_fragment(uint8_t *at, const struct header_4to6 *header)
{
    uint32_t flags_offset = from_be16(header->old->flags_offset);
    uint32_t more = (flags_offset & IPV4_MORE_FRAGMENTS) != 0 ? IPV6_MORE_FRAGMENTS : 0;

    /* Next header: the protocol. */
    at[0] = header->protocol;
    at[1] = 0;

    /* Fragment offset and M flag: both copied; IPv6 has the offset in the upper bits. */
    store_be16(at + 2, to_be16((uint16_t)((flags_offset & IPV4_OFFSET_MASK) << 3 | more)));

    /* Identification: that of IPv4 in the low half. */
    store_be32(at + 4, to_be32(from_be16(header->old->identification)));
}

/*
 * The IPv6 header, field by field in the order of the header.
 * rfc: 7915-4.1-d, 7915-4.1-e, 7915-4.1-f, 7915-4.1-g, 7915-4.1-h, 7915-4.1-i, 7915-4.1-j
 */
WIRE_INLINE void header_write_4to6(uint8_t *at, const struct header_4to6 *header)
{
    const struct ipv4_header *old = header->old;

    /* Version, traffic class and flow label: 6; the type of service with its ECN bits, or zero; zero. */
    store_be32(at, ipv6_first_word(header->settings->zeroize_traffic_class ? 0 : old->tos));

    /* Payload length: without the IPv4 header and its options, with the fragment header. */
    uint32_t payload = header->length + (header->fragmented ? (uint32_t)FRAGMENT_HEADER : 0);
    store_be16(at + 4, to_be16((uint16_t)payload));

    /* Next header: the protocol, or what stands in front of it. */
    at[6] = header->fragmented ? PROTOCOL_FRAGMENT : header->protocol;

    /* Hop limit: one less for a packet on its way. */
    at[7] = (uint8_t)(old->ttl - header->hops);

    /* Source and destination address: the policy's choice. */
    __builtin_memcpy(at + 8, &header->to->source, sizeof(header->to->source));
    __builtin_memcpy(at + 24, &header->to->destination, sizeof(header->to->destination));

    if (header->fragmented)
        header_write_fragment(at + IPV6_HEADER, header);
}

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
