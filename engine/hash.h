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

WIRE_INLINE uint64_t hash_pair(const uint32_t *words, const uint32_t *key)
{
    return (uint64_t)(uint32_t)(words[0] + key[0]) * (uint32_t)(words[1] + key[1]);
}

WIRE_INLINE uint64_t hash_finish(uint64_t sum)
{
    sum ^= sum >> 32;
    sum *= 0xd6e8feb86659fd93ull;
    sum ^= sum >> 32;
    return sum;
}

WIRE_INLINE uint64_t hash_key6(const struct table *table, const struct key6 *key)
{
    const uint32_t *secret = table->constants.key;
    uint32_t words[8];
    __builtin_memcpy(words, key, sizeof(*key));
    words[7] = 0;
    return hash_finish(hash_pair(words, secret) + hash_pair(words + 2, secret + 2) +
                       hash_pair(words + 4, secret + 4) + hash_pair(words + 6, secret + 6));
}

WIRE_INLINE uint64_t hash_key4(const struct table *table, const struct key4 *key)
{
    const uint32_t *secret = table->constants.key + 8;
    uint32_t words[4];
    __builtin_memcpy(words, key, sizeof(*key));
    return hash_finish(hash_pair(words, secret) + hash_pair(words + 2, secret + 2));
}

WIRE_INLINE uint64_t hash_binding(const struct table *table, const struct binding_key *key)
{
    const uint32_t *secret = table->constants.key + 12;
    uint32_t words[6];
    __builtin_memcpy(words, key, sizeof(*key));
    words[5] = 0;
    return hash_finish(hash_pair(words, secret) + hash_pair(words + 2, secret + 2) +
                       hash_pair(words + 4, secret + 4));
}

/* The subscriber, so far the upper 64 bits of a client's address: which pool address is tried first. */
WIRE_INLINE uint64_t hash_subscriber(const struct table *table, const struct ipv6_address *client)
{
    uint32_t words[2];
    __builtin_memcpy(words, client, sizeof(words));
    return hash_finish(hash_pair(words, table->constants.key + 18));
}

/* The home bucket: the upper half of the hash, scaled; the tag comes from the lower half. */
WIRE_INLINE uint32_t hash_bucket(const struct table *table, uint64_t hash)
{
    return (uint32_t)(((hash >> 32) * table->constants.buckets) >> 32);
}

#endif /* ENGINE_HASH_H */
