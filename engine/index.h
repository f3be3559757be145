/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The three indexes: from a key's hash to the number of a record.
 *
 * An entry lies in its home bucket or, when that was full, in one of the PROBE_LIMIT - 1 buckets after it;
 * then the home bucket counts it as a stray. There is no chain: a look-up reads at most PROBE_LIMIT cache
 * lines, and in nearly all cases one. Entries are published and withdrawn with one compare-and-swap each. An
 * index never says that a session exists: the record's life word does.
 */
#ifndef ENGINE_INDEX_H
#define ENGINE_INDEX_H

#include "engine/hash.h"

WIRE_INLINE uint64_t slot_make(uint64_t hash, uint16_t generation, uint32_t index)
{
    return (hash << 48) | ((uint64_t)generation << 32) | (index + 1);
}

WIRE_INLINE bool slot_matches(uint64_t slot, uint64_t hash)
{
    return (uint32_t)slot != 0 && (uint16_t)(slot >> 48) == (uint16_t)hash;
}

WIRE_INLINE uint16_t slot_generation(uint64_t slot)
{
    return (uint16_t)(slot >> 32);
}

WIRE_INLINE uint32_t slot_index(uint64_t slot)
{
    return (uint32_t)slot - 1;
}

/* A walk over the slots that may hold a hash's entry. */
struct index_walk {
    enum segment which;
    uint32_t bucket;
    uint64_t hash;
    size_t probe; /* how many buckets after the home bucket */
    size_t slot;  /* the next to be looked at */
};

enum {
    INDEX_PLACES = PROBE_LIMIT * BUCKET_SLOTS, /* slots in a walk: it has no more steps than that */
};

WIRE_INLINE struct index_walk index_start(const struct table *table, enum segment which, uint64_t hash)
{
    return (struct index_walk){.which = which, .hash = hash, .bucket = hash_bucket(table, hash)};
}

WIRE_INLINE uint32_t index_next_bucket(const struct table *table, uint32_t bucket)
{
    return bucket + 1 < table->constants.buckets ? bucket + 1 : 0;
}

/* The next slot whose tag matches in the bucket where the walk stands; or 0, and the walk moves on. */
TABLE_FUNCTION uint64_t index_next_here(const struct table *table, struct index_walk *walk)
{
    if (absent(table) || absent(walk))
        return 0;
    const uint64_t hash = walk->hash;
    struct bucket *bucket = bucket_at(table, walk->which, walk->bucket);
    if (absent(bucket))
        return 0;
    for (size_t i = walk->slot; i < BUCKET_SLOTS; i++) {
        uint64_t slot = atomic_load64(slot_at(bucket, i));
        if (slot_matches(slot, hash)) {
            walk->slot = i + 1;
            return slot;
        }
    }
    bool last = walk->probe == 0 && atomic_load64(&bucket->strays) == 0;
    walk->probe = last ? PROBE_LIMIT : walk->probe + 1;
    walk->bucket = index_next_bucket(table, walk->bucket);
    walk->slot = 0;
    return 0;
}

/* The next slot whose tag matches, or 0 at the end of the walk. The caller compares the key in the record. */
TABLE_FUNCTION uint64_t index_next(const struct table *table, struct index_walk *walk)
{
    if (absent(table) || absent(walk))
        return 0;
    for (size_t probe = 0; probe < PROBE_LIMIT && walk->probe < PROBE_LIMIT; probe++) {
        uint64_t slot = index_next_here(table, walk);
        if (slot != 0)
            return slot;
    }
    return 0;
}

/* Enters a word into a bucket; returns its place there plus one, or 0: the bucket is full. */
TABLE_FUNCTION unsigned bucket_enter(struct bucket *bucket, uint64_t word)
{
    if (absent(bucket))
        return 0;
    for (size_t i = 0; i < BUCKET_SLOTS; i++)
        if (atomic_load64(&bucket->slot[i]) == 0 && atomic_swap_if64(&bucket->slot[i], 0, word))
            return (unsigned)i + 1;
    return 0;
}

/* Takes a word out of a bucket; false: it is not there. */
TABLE_FUNCTION bool bucket_clear(struct bucket *bucket, uint64_t word)
{
    if (absent(bucket))
        return false;
    for (size_t i = 0; i < BUCKET_SLOTS; i++)
        if (atomic_load64(&bucket->slot[i]) == word && atomic_swap_if64(&bucket->slot[i], word, 0))
            return true;
    return false;
}

/* Enters the slot; false: all places are taken. */
TABLE_FUNCTION bool index_publish(const struct table *table, enum segment which, uint64_t hash, uint64_t slot)
{
    if (absent(table))
        return false;
    uint32_t number = hash_bucket(table, hash);
    struct bucket *home = bucket_at(table, which, number);
    struct bucket *bucket = home;
    if (absent(home))
        return false;
    for (size_t probe = 0; probe < PROBE_LIMIT; probe++) {
        if (probe == 1)
            atomic_add64(&home->strays, 1); /* before the entry can be looked for */
        if (absent(bucket))
            break;
        if (bucket_enter(bucket, slot) != 0)
            return true;
        number = index_next_bucket(table, number);
        bucket = bucket_at(table, which, number);
    }
    atomic_add64(&home->strays, (uint64_t)-1);
    return false;
}

/* Takes the slot out again; false: it was not there. */
TABLE_FUNCTION bool index_withdraw(const struct table *table, enum segment which, uint64_t hash,
                                   uint64_t slot)
{
    if (absent(table))
        return false;
    uint32_t number = hash_bucket(table, hash);
    struct bucket *home = bucket_at(table, which, number);
    struct bucket *bucket = home;
    if (absent(home))
        return false;
    for (size_t probe = 0; probe < PROBE_LIMIT; probe++) {
        if (absent(bucket))
            break;
        if (bucket_clear(bucket, slot)) {
            if (probe > 0)
                atomic_add64(&home->strays, (uint64_t)-1);
            return true;
        }
        number = index_next_bucket(table, number);
        bucket = bucket_at(table, which, number);
    }
    return false;
}

#endif /* ENGINE_INDEX_H */
