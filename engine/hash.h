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

WIRE_INLINE uint64_t hash_address(const struct ipv6_address *address, const uint32_t *secret)
{
    const uint8_t *at = address->bytes;
    return hash_pair(load_be32(at), load_be32(at + 4), secret) +
           hash_pair(load_be32(at + 8), load_be32(at + 12), secret + 2);
}

/*
 * The words are put together from the fields and not copied from the key: just written field by field, it
 * would be read back in pieces of another size, which a processor can do only after the writes have left its
 * store buffer.
 */
WIRE_INLINE uint64_t hash_key6(const struct table *table, const struct key6 *key)
{
    const uint32_t *secret = table->constants.key;
    uint32_t ports = (uint32_t)key->client_port | ((uint32_t)key->remote_port << 16);
    uint32_t kind = (uint32_t)key->transport | ((uint32_t)key->instance << 8);
    return hash_finish(hash_address(&key->client, secret) + hash_pair(key->remote, ports, secret + 4) +
                       hash_pair(kind, 0, secret + 6));
}

WIRE_INLINE uint64_t hash_key4(const struct table *table, const struct key4 *key)
{
    const uint32_t *secret = table->constants.key + 8;
    uint32_t ports = (uint32_t)key->pool_port | ((uint32_t)key->remote_port << 16);
    return hash_finish(hash_pair(key->pool, key->remote, secret) +
                       hash_pair(ports, key->transport, secret + 2));
}

WIRE_INLINE uint64_t hash_binding(const struct table *table, const struct binding_key *key)
{
    const uint32_t *secret = table->constants.key + 12;
    uint32_t kind = (uint32_t)key->transport | ((uint32_t)key->instance << 8);
    return hash_finish(hash_address(&key->client, secret) + hash_pair(key->client_port, kind, secret + 4));
}

/* The 32 bits of an address from bit `first` on, as far as they are among its first `length` bits. */
WIRE_INLINE uint32_t hash_prefix_word(const struct ipv6_address *address, uint32_t first, uint32_t length)
{
    uint32_t word = from_be32(load_be32(address->bytes + first / 8));
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
