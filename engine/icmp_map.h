/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ICMP and ICMPv6 messages and their counterparts, as tables (RFC 7915 sections 4.2 and 5.2).
 *
 * A message that stands in no table has no counterpart and is dropped. The tables follow the order of the
 * RFC. What the last four bytes of the ICMP header become (its "rest": an MTU, a pointer) is named in each
 * row; the length attribute of RFC 4884, which lives there too, is not treated here. All is constant data and
 * bounded loops, fit for BPF.
 */
#ifndef ENGINE_ICMP_MAP_H
#define ENGINE_ICMP_MAP_H

#include "wire/bytes.h"
#include "wire/ipv6.h"
#include "wire/transport.h"

enum icmp_rest {
    ICMP_REST_UNUSED,      /* zero */
    ICMP_REST_MTU,         /* the MTU, adjusted to the header lengths */
    ICMP_REST_POINTER,     /* the pointer, by the pointer table */
    ICMP_REST_NEXT_HEADER, /* a pointer to the Next Header field of the IPv6 header */
};

struct icmp_map_row {
    uint8_t type, code;
    uint8_t to_type, to_code;
    uint8_t rest; /* enum icmp_rest */
};

enum {
    ICMP_CODE_ANY = 0xff, /* in a row: every code, and it stays as it is */
    ICMP_POINTER_NONE = 0xff,
    IPV6_NEXT_HEADER_POSITION = 6,
    IPV4_MINIMUM_MTU = 68, /* RFC 791 */
};

/* rfc: 7915-4.2-g, 7915-4.2-l */
static const struct icmp_map_row icmp_map_4to6[] = {
    {ICMPV4_UNREACHABLE, 0, ICMPV6_UNREACHABLE, ICMPV6_NO_ROUTE, ICMP_REST_UNUSED}, /* net */
    {ICMPV4_UNREACHABLE, 1, ICMPV6_UNREACHABLE, ICMPV6_NO_ROUTE, ICMP_REST_UNUSED}, /* host */
    {ICMPV4_UNREACHABLE, 2, ICMPV6_PARAMETER_PROBLEM, ICMPV6_UNRECOGNIZED_NEXT_HEADER, ICMP_REST_NEXT_HEADER},
    {ICMPV4_UNREACHABLE, 3, ICMPV6_UNREACHABLE, ICMPV6_PORT_UNREACHABLE, ICMP_REST_UNUSED},
    {ICMPV4_UNREACHABLE, 4, ICMPV6_PACKET_TOO_BIG, 0, ICMP_REST_MTU},
    {ICMPV4_UNREACHABLE, 5, ICMPV6_UNREACHABLE, ICMPV6_NO_ROUTE, ICMP_REST_UNUSED},    /* source route */
    {ICMPV4_UNREACHABLE, 6, ICMPV6_UNREACHABLE, ICMPV6_NO_ROUTE, ICMP_REST_UNUSED},    /* net unknown */
    {ICMPV4_UNREACHABLE, 7, ICMPV6_UNREACHABLE, ICMPV6_NO_ROUTE, ICMP_REST_UNUSED},    /* host unknown */
    {ICMPV4_UNREACHABLE, 8, ICMPV6_UNREACHABLE, ICMPV6_NO_ROUTE, ICMP_REST_UNUSED},    /* host isolated */
    {ICMPV4_UNREACHABLE, 9, ICMPV6_UNREACHABLE, ICMPV6_PROHIBITED, ICMP_REST_UNUSED},  /* net prohibited */
    {ICMPV4_UNREACHABLE, 10, ICMPV6_UNREACHABLE, ICMPV6_PROHIBITED, ICMP_REST_UNUSED}, /* host prohibited */
    {ICMPV4_UNREACHABLE, 11, ICMPV6_UNREACHABLE, ICMPV6_NO_ROUTE, ICMP_REST_UNUSED},   /* net, for this TOS */
    {ICMPV4_UNREACHABLE, 12, ICMPV6_UNREACHABLE, ICMPV6_NO_ROUTE, ICMP_REST_UNUSED}, /* host, for this TOS */
    {ICMPV4_UNREACHABLE, 13, ICMPV6_UNREACHABLE, ICMPV6_PROHIBITED, ICMP_REST_UNUSED},
    {ICMPV4_UNREACHABLE, 15, ICMPV6_UNREACHABLE, ICMPV6_PROHIBITED, ICMP_REST_UNUSED}, /* precedence cutoff */
    {ICMPV4_TIME_EXCEEDED, ICMP_CODE_ANY, ICMPV6_TIME_EXCEEDED, ICMP_CODE_ANY, ICMP_REST_UNUSED},
    {ICMPV4_PARAMETER_PROBLEM, 0, ICMPV6_PARAMETER_PROBLEM, ICMPV6_ERRONEOUS_HEADER, ICMP_REST_POINTER},
    {ICMPV4_PARAMETER_PROBLEM, 2, ICMPV6_PARAMETER_PROBLEM, ICMPV6_ERRONEOUS_HEADER, ICMP_REST_POINTER},
};

/* rfc: 7915-5.2-f, 7915-5.2-h, 7915-5.2-i */
static const struct icmp_map_row icmp_map_6to4[] = {
    {ICMPV6_UNREACHABLE, 0, ICMPV4_UNREACHABLE, ICMPV4_HOST_UNREACHABLE, ICMP_REST_UNUSED}, /* no route */
    {ICMPV6_UNREACHABLE, 1, ICMPV4_UNREACHABLE, ICMPV4_HOST_PROHIBITED, ICMP_REST_UNUSED},
    {ICMPV6_UNREACHABLE, 2, ICMPV4_UNREACHABLE, ICMPV4_HOST_UNREACHABLE, ICMP_REST_UNUSED}, /* scope */
    {ICMPV6_UNREACHABLE, 3, ICMPV4_UNREACHABLE, ICMPV4_HOST_UNREACHABLE, ICMP_REST_UNUSED}, /* address */
    {ICMPV6_UNREACHABLE, 4, ICMPV4_UNREACHABLE, ICMPV4_PORT_UNREACHABLE, ICMP_REST_UNUSED},
    {ICMPV6_PACKET_TOO_BIG, ICMP_CODE_ANY, ICMPV4_UNREACHABLE, ICMPV4_FRAGMENTATION_NEEDED, ICMP_REST_MTU},
    {ICMPV6_TIME_EXCEEDED, ICMP_CODE_ANY, ICMPV4_TIME_EXCEEDED, ICMP_CODE_ANY, ICMP_REST_UNUSED},
    {ICMPV6_PARAMETER_PROBLEM, 0, ICMPV4_PARAMETER_PROBLEM, 0, ICMP_REST_POINTER},
    {ICMPV6_PARAMETER_PROBLEM, 1, ICMPV4_UNREACHABLE, ICMPV4_PROTOCOL_UNREACHABLE, ICMP_REST_UNUSED},
};

/*
 * Figure 3: position in the IPv4 header, to that in the IPv6 header.
 * rfc: 7915-4.2-m
 */
static const uint8_t icmp_pointer_4to6[20] = {
    [0] = 0,                         /* version and header length */
    [1] = 1,                         /* type of service */
    [2 ... 3] = 4,                   /* total length */
    [4 ... 7] = ICMP_POINTER_NONE,   /* identification, flags, fragment offset */
    [8] = 7,                         /* time to live */
    [9] = 6,                         /* protocol */
    [10 ... 11] = ICMP_POINTER_NONE, /* header checksum */
    [12 ... 15] = 8,                 /* source address */
    [16 ... 19] = 24,                /* destination address */
};

/*
 * Figure 6: position in the IPv6 header, to that in the IPv4 header.
 * rfc: 7915-5.2-i
 */
static const uint8_t icmp_pointer_6to4[40] = {
    [0] = 0,                       /* version, traffic class */
    [1] = 1,                       /* traffic class, flow label */
    [2 ... 3] = ICMP_POINTER_NONE, /* flow label */
    [4 ... 5] = 2,                 /* payload length */
    [6] = 9,                       /* next header */
    [7] = 8,                       /* hop limit */
    [8 ... 23] = 12,               /* source address */
    [24 ... 39] = 16,              /* destination address */
};

/* RFC 1191 section 7.1, those that section 4.2 of RFC 7915 allows: 1280 and more. */
static const uint16_t icmp_plateaus[] = {65535, 32000, 17914, 8166, 4352, 2002, 1492};

/* What an MTU depends on beside the message itself. */
struct icmp_mtu {
    uint32_t mtu6, mtu4;      /* of the paths to where the message goes and where the packet in error went */
    uint32_t quoted_length;   /* total length of the packet in error, by its header */
    bool quoted_has_fragment; /* it has an IPv6 fragment header */
};

/*
 * An echo message's type in the other family.
 * rfc: 7915-4.2-a, 7915-4.2-c
 */
WIRE_INLINE uint8_t icmp_query_4to6(uint8_t type)
{
    return type == ICMPV4_ECHO_REQUEST ? ICMPV6_ECHO_REQUEST : ICMPV6_ECHO_REPLY;
}

/* rfc: 7915-5.2-b, 7915-5.2-d */
WIRE_INLINE uint8_t icmp_query_6to4(uint8_t type)
{
    return type == ICMPV6_ECHO_REQUEST ? ICMPV4_ECHO_REQUEST : ICMPV4_ECHO_REPLY;
}

/*
 * The greatest plateau below the length of the packet that did not fit; the least if none is.
 * rfc: 7915-4.2-j
 */
WIRE_INLINE uint32_t icmp_plateau(uint32_t length)
{
    unsigned last = sizeof(icmp_plateaus) / sizeof(icmp_plateaus[0]) - 1;
    for (unsigned i = 0; i <= last; i++)
        if (icmp_plateaus[i] < length)
            return icmp_plateaus[i];
    return IPV6_MINIMUM_MTU - 20;
}

WIRE_INLINE uint32_t icmp_smallest(uint32_t a, uint32_t b, uint32_t c)
{
    uint32_t least = a < b ? a : b;
    return least < c ? least : c;
}

/*
 * A router that does not know RFC 1191 leaves the MTU zero.
 * rfc: 7915-4.2-h, 7915-4.2-i
 */
WIRE_INLINE uint32_t icmp_mtu_4to6(uint16_t reported, const struct icmp_mtu *about)
{
    uint32_t mtu = reported != 0 ? reported : icmp_plateau(about->quoted_length);
    mtu = icmp_smallest(mtu + 20, about->mtu6, about->mtu4 + 20);
    return mtu < IPV6_MINIMUM_MTU ? IPV6_MINIMUM_MTU : mtu;
}

/*
 * A packet with a fragment header shrinks by 8 bytes more. No IPv4 network has less than 68 bytes, so a
 * smaller figure, which only a broken or hostile router causes, is not passed on.
 * rfc: 7915-5.2-g
 */
WIRE_INLINE uint32_t icmp_mtu_6to4(uint32_t reported, const struct icmp_mtu *about)
{
    uint32_t shrinks = about->quoted_has_fragment ? 28 : 20;
    uint32_t mtu = reported > shrinks ? reported - shrinks : 0;
    mtu = icmp_smallest(mtu, about->mtu4, about->mtu6 - 20);
    if (mtu > 0xffff)
        return 0xffff;
    return mtu < IPV4_MINIMUM_MTU ? IPV4_MINIMUM_MTU : mtu;
}

WIRE_INLINE const struct icmp_map_row *icmp_map_find(const struct icmp_map_row *rows, unsigned count,
                                                     const struct icmp_header *from)
{
    for (unsigned i = 0; i < count; i++)
        if (rows[i].type == from->type && (rows[i].code == from->code || rows[i].code == ICMP_CODE_ANY))
            return &rows[i];
    return NULL;
}

/* Sets type and code of `to` from a row; the rest and the checksum are zero. */
WIRE_INLINE void icmp_map_apply(const struct icmp_map_row *row, const struct icmp_header *from,
                                struct icmp_header *to)
{
    *to = (struct icmp_header){.type = row->to_type, .code = row->to_code};
    if (row->to_code == ICMP_CODE_ANY)
        to->code = from->code;
}

/*
 * The header of an ICMPv4 error made that of an ICMPv6 error; false if there is no counterpart.
 * rfc: 7915-4.2-a
 */
static inline __attribute__((unused)) bool
icmp_error_4to6(const struct icmp_header *from, const struct icmp_mtu *about, struct icmp_header *to)
{
    const struct icmp_map_row *row =
        icmp_map_find(icmp_map_4to6, sizeof(icmp_map_4to6) / sizeof(icmp_map_4to6[0]), from);
    uint32_t rest = 0;

    if (row == NULL)
        return false;
    icmp_map_apply(row, from, to);
    if (row->rest == ICMP_REST_MTU)
        rest = icmp_mtu_4to6(from_be16(load_be16(from->rest + 2)), about);
    else if (row->rest == ICMP_REST_NEXT_HEADER)
        rest = IPV6_NEXT_HEADER_POSITION;
    else if (row->rest == ICMP_REST_POINTER)
        rest =
            from->rest[0] < sizeof(icmp_pointer_4to6) ? icmp_pointer_4to6[from->rest[0]] : ICMP_POINTER_NONE;
    store_be32(to->rest, to_be32(rest));
    return row->rest != ICMP_REST_POINTER || rest != ICMP_POINTER_NONE;
}

/*
 * The header of an ICMPv6 error made that of an ICMPv4 error; false if there is no counterpart.
 * rfc: 7915-5.2-b
 */
static inline __attribute__((unused)) bool
icmp_error_6to4(const struct icmp_header *from, const struct icmp_mtu *about, struct icmp_header *to)
{
    const struct icmp_map_row *row =
        icmp_map_find(icmp_map_6to4, sizeof(icmp_map_6to4) / sizeof(icmp_map_6to4[0]), from);
    uint32_t rest = from_be32(load_be32(from->rest));

    if (row == NULL)
        return false;
    icmp_map_apply(row, from, to);
    if (row->rest == ICMP_REST_MTU)
        store_be16(to->rest + 2, to_be16((uint16_t)icmp_mtu_6to4(rest, about)));
    if (row->rest == ICMP_REST_POINTER) {
        to->rest[0] = rest < sizeof(icmp_pointer_6to4) ? icmp_pointer_6to4[rest] : ICMP_POINTER_NONE;
        return to->rest[0] != ICMP_POINTER_NONE;
    }
    return true;
}

#endif /* ENGINE_ICMP_MAP_H */
