/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Numbers as they lie in a packet.
 *
 * Fields on the wire are big-endian and may stand at any address. A be16 or be32 holds such a field
 * unchanged; it is turned into a number only where arithmetic needs one. Loads and stores go through
 * memcpy, which a compiler makes a single instruction, so no alignment is assumed anywhere.
 *
 * Everything in wire/ is static inline, reads no global and includes only compiler headers, because it
 * is compiled twice: for user space and for the BPF target. Where the address is not known to be aligned the
 * BPF compiler makes a memcpy one of single bytes; there loads and stores say that it is, which they need not
 * mean for packets and maps, but do for the stack, where the verifier insists on it.
 */
#ifndef WIRE_BYTES_H
#define WIRE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint16_t be16;
typedef uint32_t be32;

#define WIRE_INLINE static inline __attribute__((always_inline, unused))

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define WIRE_SWAP16(x) __builtin_bswap16(x)
#define WIRE_SWAP32(x) __builtin_bswap32(x)
#else
#define WIRE_SWAP16(x) (x)
#define WIRE_SWAP32(x) (x)
#endif

WIRE_INLINE be16 to_be16(uint16_t number)
{
    return WIRE_SWAP16(number);
}

WIRE_INLINE uint16_t from_be16(be16 field)
{
    return WIRE_SWAP16(field);
}

WIRE_INLINE be32 to_be32(uint32_t number)
{
    return WIRE_SWAP32(number);
}

WIRE_INLINE uint32_t from_be32(be32 field)
{
    return WIRE_SWAP32(field);
}

#ifdef __bpf__

typedef be16 __attribute__((may_alias)) field16;
typedef be32 __attribute__((may_alias)) field32;

WIRE_INLINE be16 load_be16(const void *at)
{
    return *(const field16 *)at;
}

WIRE_INLINE be32 load_be32(const void *at)
{
    return *(const field32 *)at;
}

WIRE_INLINE void store_be16(void *at, be16 field)
{
    *(field16 *)at = field;
}

WIRE_INLINE void store_be32(void *at, be32 field)
{
    *(field32 *)at = field;
}

#else

WIRE_INLINE be16 load_be16(const void *at)
{
    be16 field;
    __builtin_memcpy(&field, at, sizeof(field));
    return field;
}

WIRE_INLINE be32 load_be32(const void *at)
{
    be32 field;
    __builtin_memcpy(&field, at, sizeof(field));
    return field;
}

WIRE_INLINE void store_be16(void *at, be16 field)
{
    __builtin_memcpy(at, &field, sizeof(field));
}

WIRE_INLINE void store_be32(void *at, be32 field)
{
    __builtin_memcpy(at, &field, sizeof(field));
}

#endif

#endif /* WIRE_BYTES_H */
