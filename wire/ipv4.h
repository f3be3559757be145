/* SPDX-License-Identifier: BSD-2-Clause */
/* The IPv4 header, RFC 791 section 3.1. */
#ifndef WIRE_IPV4_H
#define WIRE_IPV4_H

#include "wire/bytes.h"

struct ipv4_header {
    uint8_t version_ihl;
    uint8_t tos;
    be16 total_length;
    be16 identification;
    be16 flags_offset;
    uint8_t ttl;
    uint8_t protocol;
    be16 checksum;
    be32 source;
    be32 destination;
} __attribute__((packed));
_Static_assert(sizeof(struct ipv4_header) == 20, "an IPv4 header without options has 20 bytes");

enum {
    IPV4_DONT_FRAGMENT = 0x4000,
    IPV4_MORE_FRAGMENTS = 0x2000,
    IPV4_OFFSET_MASK = 0x1fff, /* in units of 8 bytes */
    IPV4_MAXIMUM_LENGTH = 65535,

    IPV4_OPTION_END = 0,
    IPV4_OPTION_NOP = 1,
    IPV4_OPTION_LOOSE_ROUTE = 131,
    IPV4_OPTION_STRICT_ROUTE = 137,
};

/* Length of the header with its options, in bytes; 0 to 60, not yet checked against anything. */
WIRE_INLINE unsigned ipv4_header_length(const struct ipv4_header *header)
{
    return (header->version_ihl & 0x0fu) * 4;
}

/*
 * True where a packet may not come from: this network, loopback, multicast, class E and broadcast (RFC 7915
 * section 4.1, RFC 1812 section 5.3.7), and what no router may forward, link-local (RFC 3927 section 2.7).
 * rfc: 7915-4.1-k
 */
WIRE_INLINE bool ipv4_illegal_source(be32 address)
{
    uint32_t host = from_be32(address), first = host >> 24;
    return first == 0 || first == 127 || first >= 224 || host >> 16 == 0xa9fe;
}

/*
 * True for IPv4 addresses that are not global and so may not stand behind 64:ff9b::/96 (RFC 6052
 * section 3.1): the blocks of RFC 6890 that are not globally reachable.
 * rfc: 6052-3.1-a
 */
WIRE_INLINE bool ipv4_is_non_global(be32 address)
{
    uint32_t a = from_be32(address);
    return (a >> 24) == 0 || (a >> 24) == 10 || (a >> 24) == 127 || /* this network, private, loopback */
           (a >> 22) == (0x64400000u >> 22) ||                      /* 100.64.0.0/10 */
           (a >> 16) == 0xa9fe ||                                   /* 169.254.0.0/16 */
           (a >> 20) == (0xac100000u >> 20) ||                      /* 172.16.0.0/12 */
           (a >> 8) == 0xc00000 || (a >> 8) == 0xc00002 ||          /* 192.0.0.0/24, 192.0.2.0/24 */
           (a >> 16) == 0xc0a8 ||                                   /* 192.168.0.0/16 */
           (a >> 17) == (0xc6120000u >> 17) ||                      /* 198.18.0.0/15 */
           (a >> 8) == 0xc63364 || (a >> 8) == 0xcb0071 ||          /* 198.51.100.0/24, 203.0.113.0/24 */
           (a >> 28) >= 0xe;                                        /* multicast, class E, broadcast */
}

#endif /* WIRE_IPV4_H */
