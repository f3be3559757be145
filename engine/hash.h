/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Hashes of the three keys.
 *
 * The sum is NH, the inner hash of UMAC (RFC 4418 section 5.2): products of pairs of 32-bit words, each word
 * first added to a secret one. For any two keys the chance of equal sums over the choice of secrets is 2^-32,
 * so a client who chooses its addresses cannot aim at a bucket without knowing the secrets. The products are
 * independent of each other and need nothing but the 32 by 32 bit multiplication that BPF has too. A last mix
 * spreads the sum over all bits.
 */
#ifndef ENGINE_HASH_H
#define ENGINE_HASH_H

#include "engine/layout.h"

WIRE_INLINE uint64_t hash_pair(uint32_t first, uint32_t second, const uint32_t *secret)
{
    return (uint64_t)(uint32_t)(first + secret[0]) * (uint32_t)(second + secret[1]);
}

WIRE_INLINE uint64_t hash_finish(uint64_t sum)
{
    sum ^= sum >> 32;
    sum *= 0xd6e8feb86659fd93ull;
    sum ^= sum >> 32;
    return sum;
}

/* Addresses in keys and records are aligned, see engine/layout.h. */
WIRE_INLINE uint64_t hash_address(const struct ipv6_address *address, const uint32_t *secret)
{
    const word64 *half = (const void *)address;
    return hash_pair((uint32_t)half[0], (uint32_t)(half[0] >> 32), secret) +
           hash_pair((uint32_t)half[1], (uint32_t)(half[1] >> 32), secret + 2);
}

/*
 * The words are put together from the fields and not copied from the key: just written field by field, it
 * would be read back in pieces of another size, which a processor can do only after the writes have left its
 * store buffer. A record has the fields of all three keys.
 */
#define HASH_PORTS(first, second) ((uint32_t)(first) | ((uint32_t)(second) << 16))
#define HASH_KIND(holder)         ((uint32_t)(holder)->transport | ((uint32_t)(holder)->instance << 8))

#define HASH_6(table, holder)                                                                                \
    hash_finish(hash_address(&(holder)->client, (table)->constants.key) +                                    \
                hash_pair((holder)->remote, HASH_PORTS((holder)->client_port, (holder)->remote_port),        \
                          (table)->constants.key + 4) +                                                      \
                hash_pair(HASH_KIND(holder), 0, (table)->constants.key + 6))

#define HASH_4(table, holder)                                                                                \
    hash_finish(hash_pair((holder)->pool, (holder)->remote, (table)->constants.key + 8) +                    \
                hash_pair(HASH_PORTS((holder)->pool_port, (holder)->remote_port), (holder)->transport,       \
                          (table)->constants.key + 10))

#define HASH_BINDING(table, holder)                                                                          \
    hash_finish(hash_address(&(holder)->client, (table)->constants.key + 12) +                               \
                hash_pair((holder)->client_port, HASH_KIND(holder), (table)->constants.key + 16))

WIRE_INLINE uint64_t hash_key6(const struct table *table, const struct key6 *key)
{
    return HASH_6(table, key);
}

WIRE_INLINE uint64_t hash_key4(const struct table *table, const struct key4 *key)
{
    return HASH_4(table, key);
}

WIRE_INLINE uint64_t hash_binding(const struct table *table, const struct binding_key *key)
{
    return HASH_BINDING(table, key);
}

WIRE_INLINE uint64_t hash_record6(const struct table *table, const struct record *record)
{
    return HASH_6(table, record);
}

WIRE_INLINE uint64_t hash_record4(const struct table *table, const struct record *record)
{
    return HASH_4(table, record);
}

WIRE_INLINE uint64_t hash_record_binding(const struct table *table, const struct record *record)
{
    return HASH_BINDING(table, record);
}

/* The 32 bits of an address from bit `first` on, as far as they are among its first `length` bits. */
WIRE_INLINE uint32_t hash_prefix_word(const struct ipv6_address *address, uint32_t first, uint32_t length)
{
    uint32_t word = from_be32(((const word32 *)(const void *)address)[first / 32]);
    if (length >= first + 32)
        return word;
    return length <= first ? 0 : word & ~(0xffffffffu >> (length - first));
}

/* A subscriber: the first `length` bits of a client's address, in one instance. */
WIRE_INLINE uint64_t hash_subscriber(const struct table *table, const struct ipv6_address *client,
                                     uint32_t length, uint8_t instance)
{
    const uint32_t *secret = table->constants.key + 18;
    return hash_finish(
        hash_pair(hash_prefix_word(client, 0, length), hash_prefix_word(client, 32, length), secret) +
        hash_pair(hash_prefix_word(client, 64, length), hash_prefix_word(client, 96, length), secret + 2) +
        hash_pair(instance, 0, secret + 4));
}

/* The home bucket: the upper half of the hash, scaled; the tag comes from the lower half. */
WIRE_INLINE uint32_t hash_bucket(const struct table *table, uint64_t hash)
{
    return (uint32_t)(((hash >> 32) * table->constants.buckets) >> 32);
}

#endif /* ENGINE_HASH_H */
