/* SPDX-License-Identifier: BSD-2-Clause */
/* UDP (RFC 768), TCP (RFC 9293 section 3.1), ICMP (RFC 792) and ICMPv6 (RFC 4443) headers. */
#ifndef WIRE_TRANSPORT_H
#define WIRE_TRANSPORT_H

#include "wire/bytes.h"

struct udp_header {
    be16 source;
    be16 destination;
    be16 length;
    be16 checksum;
} __attribute__((packed));
_Static_assert(sizeof(struct udp_header) == 8, "a UDP header has 8 bytes");

struct tcp_header {
    be16 source;
    be16 destination;
    be32 sequence;
    be32 acknowledgment;
    uint8_t data_offset; /* in words of 4 bytes, in the upper 4 bits */
    uint8_t flags;
    be16 window;
    be16 checksum;
    be16 urgent;
} __attribute__((packed));
_Static_assert(sizeof(struct tcp_header) == 20, "a TCP header without options has 20 bytes");

enum {
    TCP_FIN = 0x01,
    TCP_SYN = 0x02,
    TCP_RST = 0x04,
    TCP_PSH = 0x08,
    TCP_ACK = 0x10,

    TCP_OPTION_END = 0,
    TCP_OPTION_NOP = 1,
    TCP_OPTION_MSS = 2,
    TCP_OPTION_MSS_LENGTH = 4,
};

WIRE_INLINE unsigned tcp_header_length(const struct tcp_header *header)
{
    return (header->data_offset >> 4) * 4u;
}

/* ICMP and ICMPv6 share one shape; `rest` is the identifier and sequence, the MTU or the pointer. */
struct icmp_header {
    uint8_t type;
    uint8_t code;
    be16 checksum;
    uint8_t rest[4];
} __attribute__((packed));
_Static_assert(sizeof(struct icmp_header) == 8, "an ICMP header has 8 bytes");

enum {
    ICMPV4_ECHO_REPLY = 0,
    ICMPV4_UNREACHABLE = 3,
    ICMPV4_ECHO_REQUEST = 8,
    ICMPV4_TIME_EXCEEDED = 11,
    ICMPV4_PARAMETER_PROBLEM = 12,

    ICMP_REASSEMBLY = 1, /* of Time Exceeded: it was that of a datagram's fragments, either family */

    ICMPV4_HOST_UNREACHABLE = 1,
    ICMPV4_PROTOCOL_UNREACHABLE = 2,
    ICMPV4_PORT_UNREACHABLE = 3,
    ICMPV4_FRAGMENTATION_NEEDED = 4,
    ICMPV4_SOURCE_ROUTE_FAILED = 5,
    ICMPV4_HOST_PROHIBITED = 10,
    ICMPV4_PROHIBITED = 13,

    ICMPV6_UNREACHABLE = 1,
    ICMPV6_PACKET_TOO_BIG = 2,
    ICMPV6_TIME_EXCEEDED = 3,
    ICMPV6_PARAMETER_PROBLEM = 4,
    ICMPV6_ECHO_REQUEST = 128,
    ICMPV6_ECHO_REPLY = 129,

    ICMPV6_NO_ROUTE = 0,
    ICMPV6_PROHIBITED = 1,
    ICMPV6_ADDRESS_UNREACHABLE = 3,
    ICMPV6_PORT_UNREACHABLE = 4,
    ICMPV6_ERRONEOUS_HEADER = 0,
    ICMPV6_UNRECOGNIZED_NEXT_HEADER = 1,
};

#endif /* WIRE_TRANSPORT_H */
