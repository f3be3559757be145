/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The explicit address mappings of siit (engine/eam.h) as the programs look them up, in arrays of fixed size
 * that the daemon has mapped into its memory: for each version of the settings the mappings, and for each
 * direction a hash of the prefixes that they map from. As in the engine, the lengths that occur are tried,
 * the longest first.
 *
 *     bucket     8 words of tag and number, those in use first; what it has no room for stands in one of the
 *                next, so that a look-up ends at the first that is not full, or after a few
 *     tag        of a prefix in the buckets that its look-up goes through only one has it, or else the hash
 *                is made with another seed: so at most one mapping is compared
 *
 * Plain data and arithmetic, the same for both compilers. An IPv6 address is a number of two words here.
 */
#ifndef PLANE_BPF_MAPPINGS_H
#define PLANE_BPF_MAPPINGS_H

#include "engine/limits.h"
#include "engine/paths.h"
#include "engine/settings.h"

enum {
    MAPPING_LENGTHS4 = 33,
    MAPPING_LENGTHS6 = 129,
    MAPPING_BUCKET = 8,
    MAPPING_PROBES = 4, /* buckets looked at */
};

enum mapping_direction {
    MAPPING_FROM_4,
    MAPPING_FROM_6,
    MAPPING_DIRECTIONS,
};

/* A mapping; bits behind the prefixes are zero. */
struct plane_mapping {
    uint64_t high, low; /* of the IPv6 prefix */
    uint32_t ipv4;      /* host order */
    uint8_t length6, length4;
    uint8_t instance; /* its siit entry */
    uint8_t padding;
};

struct mapping_bucket {
    uint64_t slot[MAPPING_BUCKET]; /* tag << 32 | number of the mapping plus one; 0: free */
} __attribute__((aligned(64)));

/* A siit entry. */
struct plane_siit {
    struct rfc6052_prefix prefix __attribute__((aligned(8))); /* length 0: there is none */
    uint8_t hairpin;                                          /* enum siit_hairpin */
    bool refuses_local;         /* RFC 6052 section 3.1 forbids addresses that are not global */
    uint8_t lengths4, lengths6; /* how many there are of ... */
    uint8_t length4[MAPPING_LENGTHS4],
        length6[MAPPING_LENGTHS6]; /* ... those that occur, the longest first */
};

/* The siit entries of one version of the settings. */
struct plane_siits {
    uint32_t count;   /* 0: none, or the engine has them all, by the kernel's routes */
    uint32_t buckets; /* a power of two, for each version and direction */
    uint32_t room;    /* mappings, for each version */
    uint32_t padding;
    uint64_t seed;
    struct plane_siit siit[SIIT_INSTANCES_MAXIMUM];
};

/* A prefix that mappings are looked up by. */
struct mapping_key {
    uint64_t high, low; /* of IPv4 only the upper 32 bits of `high` */
    uint32_t direction; /* enum mapping_direction */
    uint16_t instance;
    uint16_t length;
};

WIRE_INLINE uint64_t mapping_hash(uint64_t seed, const struct mapping_key *key)
{
    uint64_t rest = (uint64_t)key->direction << 32 | (uint32_t)key->instance << 16 | key->length;
    uint64_t sum = (key->high ^ seed) * 0x9e3779b97f4a7c15ull;
    sum = (sum ^ sum >> 32 ^ key->low) * 0xd6e8feb86659fd93ull;
    sum = (sum ^ sum >> 32 ^ rest) * 0x9e3779b97f4a7c15ull;
    return sum ^ sum >> 32;
}

/* The first `length` bits, of 0 to 64, of a word. */
WIRE_INLINE uint64_t mapping_front(uint64_t word, uint32_t length)
{
    return length == 0 ? 0 : word >> (64 - length) << (64 - length);
}

/* Puts a prefix of the address into the key, which has its length. */
WIRE_INLINE void mapping_prefix(struct mapping_key *key, struct path_address address)
{
    uint32_t length = key->length;
    key->high = mapping_front(address.high, length < 64 ? length : 64);
    key->low = length <= 64 ? 0 : mapping_front(address.low, length < 128 ? length - 64 : 64);
}

/* Does it map from this prefix? */
WIRE_INLINE bool mapping_is(const struct plane_mapping *mapping, const struct mapping_key *key)
{
    if (mapping->instance != key->instance)
        return false;
    return key->direction == MAPPING_FROM_4
               ? mapping->length4 == key->length && (uint64_t)mapping->ipv4 << 32 == key->high
               : mapping->length6 == key->length && mapping->high == key->high && mapping->low == key->low;
}

/*
 * What an address under the IPv4 prefix becomes: the bits behind that come behind the IPv6 prefix.
 * rfc: 7757-3.3.1-a
 */
WIRE_INLINE struct path_address mapping_to6(const struct plane_mapping *mapping, uint32_t from)
{
    uint32_t prefix = mapping->length6;
    uint64_t rest = mapping->length4 >= 32 ? 0 : (uint64_t)from << (32 + mapping->length4);
    struct path_address to = {.high = mapping->high, .low = mapping->low};
    if (prefix < 64)
        to.high |= rest >> prefix;
    if (prefix > 0 && prefix < 64)
        to.low |= rest << (64 - prefix);
    if (prefix >= 64 && prefix < 128)
        to.low |= rest >> (prefix - 64);
    return to;
}

/* rfc: 7757-3.3.2-a */
WIRE_INLINE uint32_t mapping_to4(const struct plane_mapping *mapping, struct path_address from)
{
    uint32_t prefix = mapping->length6;
    uint64_t rest = 0;
    if (prefix < 64)
        rest = from.high << prefix;
    if (prefix > 0 && prefix < 64)
        rest |= from.low >> (64 - prefix);
    if (prefix >= 64 && prefix < 128)
        rest = from.low << (prefix - 64);
    return mapping->ipv4 | (mapping->length4 >= 32 ? 0 : (uint32_t)(rest >> 32) >> mapping->length4);
}

/* --- mappings.c, for the daemon --- */

/* The arrays, as many elements as mappings_room and mappings_buckets have said. */
struct mapping_arrays {
    struct plane_mapping *mappings;
    struct mapping_bucket *buckets;
    uint32_t room; /* mappings of one version */
};

/* Mappings that room is made for if the configuration has `count` of them, so that a reload may have more. */
uint32_t mappings_room(uint32_t count);

/* How many buckets so many mappings want, for each direction. */
uint32_t mappings_buckets(uint32_t room);

/* How many mappings all siit entries have. */
uint32_t mappings_count(const struct settings *settings);

/*
 * Writes version `version` and describes it. If there is no room for all, or no good hash of them, the
 * programs are told of no siit at all.
 */
void mappings_write(const struct mapping_arrays *arrays, uint32_t version, const struct settings *settings,
                    struct plane_siits *siits);

#endif /* PLANE_BPF_MAPPINGS_H */
