/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Internet checksum arithmetic (RFC 1071, RFC 1624).
 *
 * A sum is the ones' complement sum of 16-bit words, held unfolded in 64 bits and built from words as
 * they lie in memory: ones' complement addition is indifferent to byte order, so nothing is swapped.
 *
 * Updating. Let HC be the checksum in the header, m the sum of the words that go and m' of those that
 * come. RFC 1624 equation 3:
 *
 *     HC' = ~(~HC + ~m + m')
 *
 * A *delta* is d = ~m + m', so one delta serves every checksum that covers the same change, and deltas
 * of separate changes add up. Applying it: HC' = ~(~HC + d). Because the packet's own checksum enters
 * and the payload does not, a checksum that was wrong by e comes out wrong by e.
 *
 * Addresses and ports are kept apart. While the offload state says that the checksum is still to be
 * completed (partial), the field holds the sum of the pseudo-header alone, *not* complemented: an
 * address delta belongs in it, as HC' = HC + d, a port delta does not, since ports are summed later
 * with the rest of the segment.
 *
 * TCP and UDP over IPv4 and IPv6 have pseudo-headers that differ only in their addresses: the length
 * and the protocol number contribute the same (RFC 8200 section 8.1), so they cancel.
 */
#ifndef WIRE_CHECKSUM_H
#define WIRE_CHECKSUM_H

#include "wire/bytes.h"

/* Adds `length` bytes; an odd last byte counts as if a zero followed. User space only: a loop over data. */
WIRE_INLINE uint64_t checksum_add_bytes(uint64_t sum, const void *data, size_t length)
{
    const uint8_t *at = data;
    uint64_t more = 0;
    for (; length >= 8; at += 8, length -= 8) {
        uint32_t low, high;
        __builtin_memcpy(&low, at, 4);
        __builtin_memcpy(&high, at + 4, 4);
        sum += low;
        more += high;
    }
    for (; length >= 2; at += 2, length -= 2)
        more += load_be16(at);
    if (length > 0) {
        uint8_t last[2] = {at[0], 0};
        more += load_be16(last);
    }
    return sum + more;
}

/* Adds an IPv6 address, or any 16 bytes. */
WIRE_INLINE uint64_t checksum_add_address(uint64_t sum, const void *sixteen_bytes)
{
    const uint8_t *at = sixteen_bytes;
    return sum + (uint64_t)load_be32(at) + load_be32(at + 4) + load_be32(at + 8) + load_be32(at + 12);
}

/* Folds to 16 bits; the result of folding a sum of any words but all zeroes is never 0. */
WIRE_INLINE uint16_t checksum_fold(uint64_t sum)
{
    sum = (sum & 0xffffffffu) + (sum >> 32);
    sum = (sum & 0xffff) + ((sum >> 16) & 0xffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

/* The delta ~m + m' of a change from words that sum to `gone` to words that sum to `came`. */
WIRE_INLINE uint16_t checksum_delta(uint64_t gone, uint64_t came)
{
    return checksum_fold(came + (uint16_t)~checksum_fold(gone));
}

/*
 * HC' for a complete checksum.
 * rfc: 7915-5-a
 */
WIRE_INLINE be16 checksum_update(be16 checksum, uint64_t delta)
{
    return (be16)~checksum_fold(delta + (uint16_t)~checksum);
}

/* HC' for a field that holds the sum of the pseudo-header (partial checksum). */
WIRE_INLINE be16 checksum_update_partial(be16 field, uint64_t address_delta)
{
    return checksum_fold(address_delta + field);
}

/* The sum of the pseudo-header's last words: upper-layer length and protocol, for either family. */
WIRE_INLINE uint64_t checksum_pseudo_tail(uint32_t length, uint8_t protocol)
{
    return (uint64_t)to_be32(length) + to_be32(protocol);
}

#endif /* WIRE_CHECKSUM_H */
