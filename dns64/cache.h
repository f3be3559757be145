/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Finished answers, shared by the workers.
 *
 * The cache is cut into shards by the hash of the question, each with a lock of its own that is held for as
 * long as it takes to copy an answer. A shard is an index, buckets of one cache line, over a ring of bytes
 * into which answers are put one behind the other: the oldest gives way, unless it was used since and is
 * still good, when it moves to the front once. So memory is fixed at the start, nothing is ever allocated,
 * and no answer can crowd out more than its own size.
 *
 * The hash is keyed at random, since who chooses names should not choose buckets.
 *
 * The fast way from query to reply copies an answer once: cache_find into the reply's buffer, as the answer's
 * `message`, then answer_reply in place.
 */
#ifndef DNS64_CACHE_H
#define DNS64_CACHE_H

#include "dns64/inquiry.h"

enum {
    CACHE_ANSWER_MAXIMUM = 4096, /* bytes; a longer one is not kept */
    CACHE_ANSWER_TYPICAL = 256,  /* bytes of ring for each entry */
    CACHE_STALE_SECONDS = 86400, /* that an answer can be found beyond its TTL, RFC 8767 section 5 */
};

struct cache;

/* Bytes that a cache takes. */
size_t cache_memory(uint32_t entries);

/* At most `entries` answers; with 0 nothing is ever found. NULL if memory is short. */
struct cache *cache_create(uint32_t entries, const uint64_t key[2]);
void cache_destroy(struct cache *cache);

enum cache_found {
    CACHE_ABSENT,
    CACHE_FRESH,
    CACHE_STALE, /* its TTL is over, but not for long; NOERROR and NXDOMAIN only */
};

/*
 * Copies the answer to a question into `answer`, whose message has room for CACHE_ANSWER_MAXIMUM bytes, and
 * tells its age in seconds. If ABSENT neither is touched. `now` is in seconds of a clock that does not jump;
 * calls may disagree a little about it. Any thread.
 */
enum cache_found cache_find(struct cache *cache, const struct inquiry_question *question, uint32_t now,
                            struct answer *answer, uint32_t *age);

/*
 * Keeps a copy, in place of an older one to the same question; not if its TTL is 0 or it is too long, or if
 * its own question is another. Any thread.
 */
void cache_store(struct cache *cache, const struct inquiry_question *question, uint32_t now,
                 const struct answer *answer);

/* Forgets everything: the rules have changed. */
void cache_clear(struct cache *cache);

/* What is in it, be it fresh or not. */
struct cache_state {
    uint64_t answers, bytes; /* bytes of the answers with their heads */
};
void cache_look(struct cache *cache, struct cache_state *state);

#endif /* DNS64_CACHE_H */
