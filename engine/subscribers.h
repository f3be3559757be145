/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Subscribers: how many sessions each has, so that one of them cannot take the table or the ports from the
 * others (RFC 6888 REQ-4).
 *
 * A subscriber is nothing but a count, so it lives in one word of an index: fingerprint (43 bits of the keyed
 * hash), a flag PENDING, count (20 bits); 0 is empty. Home bucket and fingerprint are different bits of the
 * hash: that any two of a million subscribers share a count has a chance of a few in a million.
 *
 * The count is exact because there is one word a subscriber. Whoever finds none enters one as PENDING, which
 * nobody joins, then looks at all places again: a word that is not pending has won; one that is gets emptied;
 * then PENDING is taken off, which fails if somebody emptied this one meanwhile. As in engine/sessions.h,
 * each enters before it looks, so of two the later sees the earlier. While a word is pending its count is the
 * lane of who entered it: who was stopped and goes on must not take another's word, entered in the same place
 * since, for its own.
 *
 * Words of the same kind count what engine/pairing.h has to remember of clients.
 *
 * Whoever dies between joining and making a session leaves a count that is too high by one until the next
 * start counts anew; a PENDING word that was left is emptied by the next who comes.
 */
#ifndef ENGINE_SUBSCRIBERS_H
#define ENGINE_SUBSCRIBERS_H

#include "engine/index.h"

#define SUBSCRIBER_PENDING 0x100000ull
_Static_assert(SUBSCRIBER_SESSIONS_MAXIMUM < SUBSCRIBER_PENDING, "the count fits below the flag");
_Static_assert(LANES_MAXIMUM < SUBSCRIBER_PENDING, "and so does a lane");

enum subscriber_result {
    SUBSCRIBER_JOINED,
    SUBSCRIBER_AT_LIMIT,
    SUBSCRIBER_NO_PLACE,   /* all places its word may have are taken */
    SUBSCRIBER_CONTENTION, /* others were faster each time */
};

WIRE_INLINE uint64_t subscriber_word(uint64_t hash, uint64_t rest)
{
    return (hash << 21) | rest;
}

WIRE_INLINE uint32_t subscriber_count(uint64_t word)
{
    return (uint32_t)(word & SUBSCRIBER_SESSIONS_MAXIMUM);
}

/* A walk over the words that may be a subscriber's; or the place of one of them. */
struct subscriber_walk {
    uint64_t fingerprint; /* a word without its lower 21 bits */
    uint64_t mask; /* the bits of a word that are looked at; with PENDING among them, those that have it
                      are passed over */
    uint32_t home, bucket;
    uint32_t probe; /* how many buckets after the home bucket */
    uint32_t slot;  /* of the bucket, plus one: the place of the last word; 0: before the first */
};

WIRE_INLINE struct subscriber_walk subscriber_start(const struct table *table, uint64_t hash)
{
    uint32_t home = hash_bucket(table, hash);
    return (struct subscriber_walk){.fingerprint = subscriber_word(hash, 0),
                                    .mask = ~(2 * SUBSCRIBER_PENDING - 1),
                                    .home = home,
                                    .bucket = home};
}

/*
 * The next word with the fingerprint, or 0 at the end. Slots that the walk has passed are counted all the
 * same: a loop from somewhere on is one that the verifier of BPF goes through many times.
 */
TABLE_FUNCTION uint64_t subscriber_next(const struct table *table, struct subscriber_walk *walk)
{
    if (absent(table) || absent(walk))
        return 0;
    const uint64_t fingerprint = walk->fingerprint, mask = walk->mask;
    for (size_t probe = 0; probe < PROBE_LIMIT && walk->probe < PROBE_LIMIT; probe++) {
        struct bucket *bucket = bucket_at(table, SEGMENT_SUBSCRIBERS, walk->bucket);
        if (absent(bucket))
            return 0;
        for (size_t i = 0; i < BUCKET_SLOTS; i++) {
            uint64_t word = atomic_load64(&bucket->slot[i]);
            if (i >= walk->slot && word != 0 && (word & mask) == fingerprint) {
                walk->slot = (uint32_t)i + 1;
                return word;
            }
        }
        bool last = walk->probe == 0 && atomic_load64(&bucket->strays) == 0;
        walk->probe = last ? PROBE_LIMIT : walk->probe + 1;
        walk->bucket = index_next_bucket(table, walk->bucket);
        walk->slot = 0;
    }
    return 0;
}

/* Changes the word where the walk stands, if it still is `word`. */
WIRE_INLINE bool subscriber_swap(const struct table *table, const struct subscriber_walk *at, uint64_t word,
                                 uint64_t value)
{
    struct bucket *bucket = bucket_at(table, SEGMENT_SUBSCRIBERS, at->bucket);
    return !absent(bucket) && atomic_swap_if64(slot_at(bucket, at->slot - 1), word, value);
}

/* Empties the word where the walk stands, if it still is `word`. */
WIRE_INLINE bool subscriber_clear(const struct table *table, const struct subscriber_walk *at, uint64_t word)
{
    if (!subscriber_swap(table, at, word, 0))
        return false;
    struct bucket *home = bucket_at(table, SEGMENT_SUBSCRIBERS, at->home);
    if (at->probe != 0 && !absent(home))
        atomic_add64(&home->strays, (uint64_t)-1);
    return true;
}

/* Enters a word and stands there; false: no place. */
TABLE_FUNCTION bool subscriber_enter(const struct table *table, struct subscriber_walk *at, uint64_t word)
{
    if (absent(table) || absent(at))
        return false;
    uint32_t number = at->home;
    struct bucket *home = bucket_at(table, SEGMENT_SUBSCRIBERS, number);
    struct bucket *bucket = home;
    if (absent(home))
        return false;
    for (size_t probe = 0; probe < PROBE_LIMIT; probe++) {
        if (probe == 1)
            atomic_add64(&home->strays, 1); /* before the word can be looked for */
        if (absent(bucket))
            break;
        uint32_t slot = bucket_enter(bucket, word);
        if (slot != 0) {
            at->bucket = number;
            at->probe = (uint32_t)probe;
            at->slot = slot;
            return true;
        }
        number = index_next_bucket(table, number);
        bucket = bucket_at(table, SEGMENT_SUBSCRIBERS, number);
    }
    atomic_add64(&home->strays, (uint64_t)-1);
    return false;
}

/* The subscriber has no word yet: makes one. */
TABLE_FUNCTION enum subscriber_result subscriber_make(const struct table *table, uint64_t hash, uint32_t lane)
{
    if (absent(table))
        return SUBSCRIBER_NO_PLACE;
    struct subscriber_walk own = subscriber_start(table, hash);
    struct subscriber_walk walk = own;
    uint64_t pending = own.fingerprint | SUBSCRIBER_PENDING | lane;
    if (!subscriber_enter(table, &own, pending))
        return SUBSCRIBER_NO_PLACE;
    atomic_settle();
    for (size_t step = 0; step < INDEX_PLACES; step++) {
        uint64_t word = subscriber_next(table, &walk);
        if (word == 0)
            break;
        if (walk.probe == own.probe && walk.slot == own.slot)
            continue;
        /* One that cannot be emptied may have won since it was looked at. */
        if ((word & SUBSCRIBER_PENDING) == 0 || !subscriber_clear(table, &walk, word)) {
            (void)subscriber_clear(table, &own, pending);
            return SUBSCRIBER_CONTENTION;
        }
    }
    return subscriber_swap(table, &own, pending, own.fingerprint | 1) ? SUBSCRIBER_JOINED
                                                                      : SUBSCRIBER_CONTENTION;
}

/*
 * One more session for the subscriber of this hash, unless it has `limit` already.
 * rfc: 6146-5.3-a
 */
TABLE_FUNCTION enum subscriber_result subscriber_join(const struct table *table, uint64_t hash,
                                                      uint32_t limit, uint32_t lane)
{
    if (absent(table))
        return SUBSCRIBER_NO_PLACE;
    for (size_t tries = 0; tries < SUBSCRIBER_TRIES; tries++) {
        struct subscriber_walk at = subscriber_start(table, hash);
        at.mask |= SUBSCRIBER_PENDING;
        uint64_t word = subscriber_next(table, &at);
        if (word == 0) {
            enum subscriber_result made = subscriber_make(table, hash, lane);
            if (made != SUBSCRIBER_CONTENTION)
                return made;
        } else if (subscriber_count(word) >= limit) {
            return SUBSCRIBER_AT_LIMIT;
        } else if (subscriber_swap(table, &at, word, word + 1)) {
            return SUBSCRIBER_JOINED;
        }
    }
    return SUBSCRIBER_CONTENTION;
}

/* One session less; false: there was no count to take it from, or others kept at its word. */
TABLE_FUNCTION bool subscriber_leave(const struct table *table, uint64_t hash)
{
    if (absent(table))
        return false;
    for (size_t tries = 0; tries < JOIN_TRIES; tries++) {
        struct subscriber_walk at = subscriber_start(table, hash);
        at.mask |= SUBSCRIBER_PENDING;
        uint64_t word = subscriber_next(table, &at);
        if (word == 0)
            return false;
        if (subscriber_count(word) > 1 ? subscriber_swap(table, &at, word, word - 1)
                                       : subscriber_clear(table, &at, word))
            return true;
    }
    return false;
}

#endif /* ENGINE_SUBSCRIBERS_H */
