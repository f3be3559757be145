/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * IPv4 addresses inside IPv6 addresses (RFC 6052 section 2.2). Bits 64 to 71 ("u") stay zero, so the
 * IPv4 address steps over byte 8:
 *
 *   PL   0   1   2   3   4   5   6   7   8   9  10  11  12  13  14  15   byte
 *   32 | prefix        | v4            | u | suffix                    |
 *   40 | prefix            | v4        | u |v4 | suffix                |
 *   48 | prefix                | v4    | u | v4    | suffix            |
 *   56 | prefix                    |v4 | u | v4        | suffix        |
 *   64 | prefix                        | u | v4            | suffix    |
 *   96 | prefix                                        | v4            |
 */
#ifndef WIRE_RFC6052_H
#define WIRE_RFC6052_H

#include "wire/bytes.h"
#include "wire/ipv6.h"

struct rfc6052_prefix {
    struct ipv6_address address; /* bits after the length are zero, and so is byte 8 of a /96 */
    uint8_t length;              /* 32, 40, 48, 56, 64 or 96 */
};

/* rfc: 6052-2.2-a, 6146-3.5.4-d, 6147-5.2-h */
WIRE_INLINE bool rfc6052_length_valid(unsigned length)
{
    return length == 96 || (length >= 32 && length <= 64 && length % 8 == 0);
}

/*
 * The prefix with `ipv4` embedded and a suffix of zeroes (section 2.3, first algorithm).
 * rfc: 7915-6-a, 6052-2.2-d, 6052-2.2-e, 6052-2.2-f, 6146-3.5.4-c, 6146-3.5.4-g, 6147-5.2-a
 */
WIRE_INLINE struct ipv6_address rfc6052_embed(const struct rfc6052_prefix *prefix, be32 ipv4)
{
    struct ipv6_address address = prefix->address;
    uint8_t octet[4];
    __builtin_memcpy(octet, &ipv4, 4);
    switch (prefix->length) {
    case 96:
        __builtin_memcpy(address.bytes + 12, octet, 4);
        break;
    case 64:
        __builtin_memcpy(address.bytes + 9, octet, 4);
        break;
    case 56:
        address.bytes[7] = octet[0];
        __builtin_memcpy(address.bytes + 9, octet + 1, 3);
        break;
    case 48:
        __builtin_memcpy(address.bytes + 6, octet, 2);
        __builtin_memcpy(address.bytes + 9, octet + 2, 2);
        break;
    case 40:
        __builtin_memcpy(address.bytes + 5, octet, 3);
        address.bytes[9] = octet[3];
        break;
    case 32:
        __builtin_memcpy(address.bytes + 4, octet, 4);
        break;
    default:
        break;
    }
    return address;
}

/*
 * The IPv4 address embedded in `address`, which has the prefix (section 2.3, second algorithm).
 * rfc: 7915-6-a, 6052-2.2-g, 6146-3.5.4-a
 */
WIRE_INLINE be32 rfc6052_extract(const struct rfc6052_prefix *prefix, const struct ipv6_address *address)
{
    uint8_t octet[4] = {0, 0, 0, 0};
    const uint8_t *at = address->bytes;
    switch (prefix->length) {
    case 96:
        __builtin_memcpy(octet, at + 12, 4);
        break;
    case 64:
        __builtin_memcpy(octet, at + 9, 4);
        break;
    case 56:
        octet[0] = at[7];
        __builtin_memcpy(octet + 1, at + 9, 3);
        break;
    case 48:
        __builtin_memcpy(octet, at + 6, 2);
        __builtin_memcpy(octet + 2, at + 9, 2);
        break;
    case 40:
        __builtin_memcpy(octet, at + 5, 3);
        octet[3] = at[9];
        break;
    case 32:
        __builtin_memcpy(octet, at + 4, 4);
        break;
    default:
        break;
    }
    return load_be32(octet);
}

/*
 * False if bits 64 to 71 of an address under the prefix, which have to be zero, are not: it embeds no IPv4
 * address. The suffix may be anything; translators ignore it (section 2.2).
 * rfc: 6052-2.2-b
 */
WIRE_INLINE bool rfc6052_embeds(const struct rfc6052_prefix *prefix, const struct ipv6_address *address)
{
    return prefix->length == 96 || address->bytes[8] == 0;
}

/* True if `address` lies under the prefix. */
WIRE_INLINE bool rfc6052_contains(const struct rfc6052_prefix *prefix, const struct ipv6_address *address)
{
    uint64_t a, p;
    uint32_t a2, p2;
    __builtin_memcpy(&a, address->bytes, 8);
    __builtin_memcpy(&p, prefix->address.bytes, 8);
    if (prefix->length < 64) {
        /* The length is a multiple of 8: compare the bytes, which come first in memory. */
        unsigned shift = 64u - prefix->length;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
        return ((a ^ p) << shift) == 0;
#else
        return ((a ^ p) >> shift) == 0;
#endif
    }
    if (a != p)
        return false;
    if (prefix->length == 64)
        return true;
    a2 = load_be32(address->bytes + 8);
    p2 = load_be32(prefix->address.bytes + 8);
    return a2 == p2;
}

/* True for 64:ff9b::/96, the well-known prefix (section 2.1). */
WIRE_INLINE bool rfc6052_is_well_known(const struct rfc6052_prefix *prefix)
{
    static const struct ipv6_address well_known = {{0x00, 0x64, 0xff, 0x9b}};
    return prefix->length == 96 && ipv6_equal(&prefix->address, &well_known);
}

#endif /* WIRE_RFC6052_H */
