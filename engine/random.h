/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Random numbers that cannot be foretold from earlier ones: SipHash-1-3 of a counter under a secret key.
 * A client that sees which ports it is given learns nothing about the ports of others (RFC 6056 section 3.3.1
 * asks for this of the random() it uses).
 */
#ifndef ENGINE_RANDOM_H
#define ENGINE_RANDOM_H

#include "wire/bytes.h"

struct random {
    uint64_t key[2];
    uint64_t counter;
};

WIRE_INLINE uint64_t random_rotate(uint64_t word, unsigned bits)
{
    return (word << bits) | (word >> (64 - bits));
}

WIRE_INLINE void random_round(uint64_t v[4])
{
    v[0] += v[1];
    v[2] += v[3];
    v[1] = random_rotate(v[1], 13) ^ v[0];
    v[3] = random_rotate(v[3], 16) ^ v[2];
    v[0] = random_rotate(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = random_rotate(v[1], 17) ^ v[2];
    v[3] = random_rotate(v[3], 21) ^ v[0];
    v[2] = random_rotate(v[2], 32);
}

WIRE_INLINE uint64_t random_next(struct random *random)
{
    uint64_t word = random->counter++;
    uint64_t v[4] = {random->key[0] ^ 0x736f6d6570736575ull, random->key[1] ^ 0x646f72616e646f6dull,
                     random->key[0] ^ 0x6c7967656e657261ull, random->key[1] ^ 0x7465646279746573ull};
    v[3] ^= word;
    random_round(v);
    v[0] ^= word;
    v[2] ^= 0xff;
    random_round(v);
    random_round(v);
    random_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* A generator from 64 secret bits; the same seed gives the same numbers, on which tests rely. */
WIRE_INLINE struct random random_seed(uint64_t seed)
{
    struct random parent = {.key = {seed, ~seed}};
    struct random random = {.counter = 0};
    random.key[0] = random_next(&parent);
    random.key[1] = random_next(&parent);
    return random;
}

#endif /* ENGINE_RANDOM_H */
