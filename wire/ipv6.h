/* SPDX-License-Identifier: BSD-2-Clause */
/* The IPv6 header and the fragment header, RFC 8200 sections 3 and 4.5. */
#ifndef WIRE_IPV6_H
#define WIRE_IPV6_H

#include "wire/bytes.h"

struct ipv6_address {
    uint8_t bytes[16];
};

struct ipv6_header {
    be32 version_class_label;
    be16 payload_length;
    uint8_t next_header;
    uint8_t hop_limit;
    struct ipv6_address source;
    struct ipv6_address destination;
} __attribute__((packed));
_Static_assert(sizeof(struct ipv6_header) == 40, "an IPv6 header has 40 bytes");

struct ipv6_fragment_header {
    uint8_t next_header;
    uint8_t reserved;
    be16 offset_more; /* offset in bytes in the upper 13 bits, M in the lowest */
    be32 identification;
} __attribute__((packed));
_Static_assert(sizeof(struct ipv6_fragment_header) == 8, "a fragment header has 8 bytes");

/* Protocol numbers, shared by both families (IANA). */
enum {
    PROTOCOL_HOP_BY_HOP = 0,
    PROTOCOL_ICMPV4 = 1,
    PROTOCOL_IGMP = 2,
    PROTOCOL_TCP = 6,
    PROTOCOL_UDP = 17,
    PROTOCOL_ROUTING = 43,
    PROTOCOL_FRAGMENT = 44,
    PROTOCOL_ESP = 50,
    PROTOCOL_AUTHENTICATION = 51,
    PROTOCOL_ICMPV6 = 58,
    PROTOCOL_NONE = 59,
    PROTOCOL_DESTINATION_OPTIONS = 60,
    PROTOCOL_MOBILITY = 135,
    PROTOCOL_HIP = 139,
    PROTOCOL_SHIM6 = 140,
};

enum {
    IPV6_MINIMUM_MTU = 1280, /* RFC 8200 section 5 */
    IPV6_OFFSET_MASK = 0xfff8,
    IPV6_MORE_FRAGMENTS = 0x0001,
};

WIRE_INLINE uint8_t ipv6_traffic_class(const struct ipv6_header *header)
{
    return (uint8_t)(from_be32(header->version_class_label) >> 20);
}

/* The first word of a header: version 6, the given traffic class, flow label 0. */
WIRE_INLINE be32 ipv6_first_word(uint8_t traffic_class)
{
    return to_be32(0x60000000u | ((uint32_t)traffic_class << 20));
}

WIRE_INLINE bool ipv6_equal(const struct ipv6_address *a, const struct ipv6_address *b)
{
    uint64_t a0, a1, b0, b1;
    __builtin_memcpy(&a0, a->bytes, 8);
    __builtin_memcpy(&a1, a->bytes + 8, 8);
    __builtin_memcpy(&b0, b->bytes, 8);
    __builtin_memcpy(&b1, b->bytes + 8, 8);
    return ((a0 ^ b0) | (a1 ^ b1)) == 0;
}

WIRE_INLINE bool ipv6_is_multicast(const struct ipv6_address *address)
{
    return address->bytes[0] == 0xff;
}

/*
 * True for addresses no packet may come from: unspecified, loopback, multicast (RFC 7915 section 5.1).
 * rfc: 7915-5.1-j
 */
WIRE_INLINE bool ipv6_illegal_source(const struct ipv6_address *address)
{
    uint64_t high, low;
    if (ipv6_is_multicast(address))
        return true;
    __builtin_memcpy(&high, address->bytes, 8);
    __builtin_memcpy(&low, address->bytes + 8, 8);
    if (high != 0)
        return false;
    return load_be32(address->bytes + 8) == 0 && from_be32(load_be32(address->bytes + 12)) <= 1;
}

WIRE_INLINE bool ipv6_is_link_local(const struct ipv6_address *address)
{
    return address->bytes[0] == 0xfe && (address->bytes[1] & 0xc0) == 0x80;
}

#endif /* WIRE_IPV6_H */
