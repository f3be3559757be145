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
 * each enters before it looks, so of two the later sees the earlier.
 *
 * Whoever dies between joining and making a session leaves a count that is too high by one until the next
 * start counts anew; a PENDING word that was left is emptied by the next who comes.
 */
#ifndef ENGINE_SUBSCRIBERS_H
#define ENGINE_SUBSCRIBERS_H

#include "engine/index.h"

#define SUBSCRIBER_PENDING 0x100000ull
_Static_assert(SUBSCRIBER_SESSIONS_MAXIMUM < SUBSCRIBER_PENDING, "the count fits below the flag");

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

/* A walk over the words that may be a subscriber's. */
struct subscriber_walk {
    uint64_t fingerprint; /* a word without its lower 21 bits */
    uint32_t home, bucket;
    unsigned step; /* of the next word, from the home bucket on */
};

WIRE_INLINE struct subscriber_walk subscriber_start(const struct table *table, uint64_t hash)
{
    uint32_t home = hash_bucket(table, hash);
    return (struct subscriber_walk){.fingerprint = subscriber_word(hash, 0), .home = home, .bucket = home};
}

/* The next word with the fingerprint, and what it was; NULL at the end. */
WIRE_INLINE uint64_t *subscriber_next(const struct table *table, struct subscriber_walk *walk, uint64_t *word)
{
    while (walk->step < PROBE_LIMIT * BUCKET_SLOTS) {
        unsigned number = walk->step % BUCKET_SLOTS;
        struct bucket *bucket = bucket_at(table, SEGMENT_SUBSCRIBERS, walk->bucket);
        if (bucket == NULL)
            return NULL;
        *word = atomic_load64(&bucket->slot[number]);
        bool home = walk->step < BUCKET_SLOTS;
        walk->step++;
        if (number == BUCKET_SLOTS - 1) {
            if (home && atomic_load64(&bucket->strays) == 0)
                walk->step = PROBE_LIMIT * BUCKET_SLOTS + 1; /* nothing after this one */
            walk->bucket = index_next_bucket(table, walk->bucket);
        }
        if (*word != 0 && (*word & ~(2 * SUBSCRIBER_PENDING - 1)) == walk->fingerprint)
            return &bucket->slot[number];
    }
    return NULL;
}

/* Empties a word, if it still is `word`. */
WIRE_INLINE bool subscriber_clear(const struct table *table, uint32_t home, uint64_t *at, uint64_t word)
{
    struct bucket *bucket = bucket_at(table, SEGMENT_SUBSCRIBERS, home);
    if (bucket == NULL || !atomic_swap_if64(at, word, 0))
        return false;
    if (at < bucket->slot || at >= bucket->slot + BUCKET_SLOTS)
        atomic_add64(&bucket->strays, (uint64_t)-1);
    return true;
}

/* Enters a pending word of one session; NULL: no place. */
WIRE_INLINE uint64_t *subscriber_enter(const struct table *table, const struct subscriber_walk *start)
{
    struct bucket *home = bucket_at(table, SEGMENT_SUBSCRIBERS, start->home);
    struct bucket *bucket = home;
    uint32_t number = start->home;
    if (home == NULL)
        return NULL;
    for (unsigned probe = 0; probe < PROBE_LIMIT; probe++) {
        if (probe == 1)
            atomic_add64(&home->strays, 1); /* before the word can be looked for */
        for (unsigned i = 0; bucket != NULL && i < BUCKET_SLOTS; i++)
            if (atomic_load64(&bucket->slot[i]) == 0 &&
                atomic_swap_if64(&bucket->slot[i], 0, start->fingerprint | SUBSCRIBER_PENDING | 1))
                return &bucket->slot[i];
        number = index_next_bucket(table, number);
        bucket = bucket_at(table, SEGMENT_SUBSCRIBERS, number);
    }
    atomic_add64(&home->strays, (uint64_t)-1);
    return NULL;
}

/* The subscriber has no word yet: makes one. */
WIRE_INLINE enum subscriber_result subscriber_make(const struct table *table,
                                                   const struct subscriber_walk *start)
{
    uint64_t pending = start->fingerprint | SUBSCRIBER_PENDING | 1;
    uint64_t *own = subscriber_enter(table, start);
    if (own == NULL)
        return SUBSCRIBER_NO_PLACE;
    struct subscriber_walk walk = *start;
    uint64_t word;
    for (uint64_t *at = subscriber_next(table, &walk, &word); at != NULL;
         at = subscriber_next(table, &walk, &word)) {
        if (at == own)
            continue;
        /* One that cannot be emptied may have become a subscriber's meanwhile. */
        if ((word & SUBSCRIBER_PENDING) == 0 || !subscriber_clear(table, start->home, at, word)) {
            subscriber_clear(table, start->home, own, pending);
            return SUBSCRIBER_CONTENTION;
        }
    }
    return atomic_swap_if64(own, pending, start->fingerprint | 1) ? SUBSCRIBER_JOINED : SUBSCRIBER_CONTENTION;
}

/* One more session for the subscriber of this hash, unless it has `limit` already. */
WIRE_INLINE enum subscriber_result subscriber_join(const struct table *table, uint64_t hash, uint32_t limit)
{
    const struct subscriber_walk start = subscriber_start(table, hash);
    for (unsigned tries = 0; tries < SUBSCRIBER_TRIES; tries++) {
        struct subscriber_walk walk = start;
        uint64_t word = 0;
        uint64_t *at = subscriber_next(table, &walk, &word);
        while (at != NULL && (word & SUBSCRIBER_PENDING) != 0)
            at = subscriber_next(table, &walk, &word);
        if (at == NULL) {
            enum subscriber_result made = subscriber_make(table, &start);
            if (made != SUBSCRIBER_CONTENTION)
                return made;
        } else if (subscriber_count(word) >= limit) {
            return SUBSCRIBER_AT_LIMIT;
        } else if (atomic_swap_if64(at, word, word + 1)) {
            return SUBSCRIBER_JOINED;
        }
    }
    return SUBSCRIBER_CONTENTION;
}

/* One session less. */
WIRE_INLINE void subscriber_leave(const struct table *table, uint64_t hash)
{
    const struct subscriber_walk start = subscriber_start(table, hash);
    for (unsigned tries = 0; tries < JOIN_TRIES; tries++) {
        struct subscriber_walk walk = start;
        uint64_t word = 0;
        uint64_t *at = subscriber_next(table, &walk, &word);
        while (at != NULL && (word & SUBSCRIBER_PENDING) != 0)
            at = subscriber_next(table, &walk, &word);
        if (at == NULL)
            return;
        if (subscriber_count(word) > 1 ? atomic_swap_if64(at, word, word - 1)
                                       : subscriber_clear(table, start.home, at, word))
            return;
    }
}

#endif /* ENGINE_SUBSCRIBERS_H */
