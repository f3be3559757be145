/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The cache of finished answers; the contract is in the header.
 *
 *     hash of the question -> shard -> bucket: 8 tags, 8 places -> ring: head, message | head, message | ...
 *
 * Nothing of a question is kept beside the message, which begins with it. A place in a bucket is what makes
 * an answer one: an answer in the ring to which no place leads was replaced, or its bucket needed room, and
 * just waits for the ring to come round. Places are compared with the tag next to them, 32 bits of the hash,
 * so that a look-up that finds nothing reads one cache line, and one that finds something that and the
 * answer.
 *
 * The ring is two stretches at most: from `tail` on, up to `head`, or up to `end` and on from the start up to
 * `head`. An answer never lies across the end.
 *
 * The lock is a mutex that spins a little before it sleeps. It is held for less time than a sleep takes,
 * unless its holder was put off the processor: then a lock that only spins would waste the others' time.
 */
#include "dns64/cache.h"

#include <pthread.h>
#include <string.h>

#include "engine/memory.h"
#include "engine/random.h"

enum {
    SHARDS = 64,        /* at most, a power of two: workers seldom meet */
    SHARD_ENTRIES = 64, /* at least, if there are several shards */
    LINE = 64,          /* bytes of a cache line */
    SLOTS = 8,          /* of a bucket */
    SLOTS_USED = 4,     /* of them, on average, when the cache is full: one answer in 100 finds none */
    UNIT = 8,           /* bytes, of which places in the ring are multiples */
    SECOND_CHANCES = 8, /* that are given at one time: what a store costs has a bound */
    QUESTION_FIXED = 4, /* bytes of a question behind its name */
};

/* The head of an answer in the ring, before its message. */
struct kept {
    uint32_t bucket;    /* that its place is in, or was */
    uint32_t made, ttl; /* seconds */
    uint16_t units;     /* of the ring, with this head */
    uint16_t size, core, error;
    rules_view view;
    uint8_t rcode;
    bool secure : 1, synthesized : 1;
    bool dnssec_ok : 1, checking_disabled : 1; /* of the question */
    bool used : 1;                             /* since it was made or moved */
    uint8_t message[];
};

enum {
    KEPT_HEAD = offsetof(struct kept, message),
    RING_LEAST = 2 * (KEPT_HEAD + CACHE_ANSWER_MAXIMUM), /* bytes: the longest fits whatever is there */
};

struct bucket {
    uint32_t tag[SLOTS];
    uint32_t place[SLOTS]; /* in the ring, in units from 1 on; 0: none */
};
_Static_assert(sizeof(struct bucket) == LINE, "a bucket is a cache line");

struct shard {
    pthread_mutex_t lock;
    struct bucket *buckets;
    uint8_t *ring;
    uint32_t bucket_count;
    uint32_t limit;                   /* answers at most */
    size_t head, tail, end, capacity; /* bytes of the ring */
    bool wrapped;                     /* there are two stretches */
    uint64_t answers, bytes;
} __attribute__((aligned(LINE)));

struct cache {
    uint64_t key[2];
    size_t memory; /* bytes, all in one piece */
    uint32_t shards;
    struct shard shard[];
};

/*** Memory ***/

struct layout {
    uint32_t shards, buckets; /* buckets of each */
    size_t ring, shards_end, memory;
};

static struct layout layout_of(uint32_t entries)
{
    struct layout layout = {.shards = SHARDS};
    size_t each;
    while (layout.shards > 1 && entries / layout.shards < SHARD_ENTRIES)
        layout.shards /= 2;
    if (entries == 0)
        layout.shards = 0;
    each = entries == 0 ? 0 : (entries - 1) / layout.shards + 1;
    layout.buckets = (uint32_t)((each + SLOTS_USED - 1) / SLOTS_USED);
    layout.ring = each * CACHE_ANSWER_TYPICAL;
    if (layout.ring < RING_LEAST)
        layout.ring = RING_LEAST;
    layout.ring = (layout.ring + LINE - 1) / LINE * LINE;
    layout.shards_end = sizeof(struct cache) + layout.shards * sizeof(struct shard);
    layout.memory =
        layout.shards_end + layout.shards * (layout.buckets * sizeof(struct bucket) + layout.ring);
    return layout;
}

size_t cache_memory(uint32_t entries)
{
    return layout_of(entries).memory;
}

static void make_lock(pthread_mutex_t *lock)
{
    pthread_mutexattr_t kind;
    (void)pthread_mutexattr_init(&kind);
    (void)pthread_mutexattr_settype(&kind, PTHREAD_MUTEX_ADAPTIVE_NP);
    (void)pthread_mutex_init(lock, &kind);
    (void)pthread_mutexattr_destroy(&kind);
}

struct cache *cache_create(uint32_t entries, const uint64_t key[2])
{
    struct layout layout = layout_of(entries);
    struct cache *cache = memory_map(layout.memory);
    uint8_t *next = (uint8_t *)cache + layout.shards_end;
    if (cache == NULL)
        return NULL;
    memcpy(cache->key, key, sizeof(cache->key));
    cache->memory = layout.memory;
    cache->shards = layout.shards;
    for (uint32_t i = 0; i < layout.shards; i++) {
        struct shard *shard = &cache->shard[i];
        make_lock(&shard->lock);
        shard->limit = entries / layout.shards + (i < entries % layout.shards);
        shard->bucket_count = layout.buckets;
        shard->capacity = layout.ring;
        shard->buckets = (void *)next;
        next += layout.buckets * sizeof(struct bucket);
        shard->ring = next;
        next += layout.ring;
    }
    return cache;
}

void cache_destroy(struct cache *cache)
{
    if (cache == NULL)
        return;
    for (uint32_t i = 0; i < cache->shards; i++)
        (void)pthread_mutex_destroy(&cache->shard[i].lock);
    memory_unmap(cache, cache->memory);
}

/*** Index ***/

/* A question and where its answer would be. */
struct sought {
    const struct inquiry_question *question;
    struct shard *shard;
    struct bucket *bucket;
    uint32_t tag;
};

static void absorb(uint64_t v[4], uint64_t word)
{
    v[3] ^= word;
    random_round(v);
    v[0] ^= word;
}

static uint64_t load64(const uint8_t *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof(word));
    return word;
}

/*
 * SipHash-1-3 of the question: everything else and the name's length, then the name by words. Its last bytes
 * are taken as the eight that end it, some of them for the second time.
 */
static uint64_t hash_question(const struct cache *cache, const struct inquiry_question *question)
{
    const uint64_t *key = cache->key;
    const uint8_t *name = question->name.wire;
    size_t length = question->name.length, at = 0;
    uint64_t v[4] = {key[0] ^ 0x736f6d6570736575ull, key[1] ^ 0x646f72616e646f6dull,
                     key[0] ^ 0x6c7967656e657261ull, key[1] ^ 0x7465646279746573ull};
    uint64_t last = 0;
    absorb(v, question->type | (uint64_t)question->class << 16 | (uint64_t)question->view << 32 |
                  (uint64_t)question->dnssec_ok << 48 | (uint64_t)question->checking_disabled << 49 |
                  (uint64_t)length << 56);
    for (; at + 8 <= length; at += 8)
        absorb(v, load64(name + at));
    if (length >= 8)
        last = load64(name + length - 8);
    else
        for (size_t i = 0; i < length; i++)
            last |= (uint64_t)name[i] << (8 * i);
    absorb(v, last);
    v[2] ^= 0xff;
    random_round(v);
    random_round(v);
    random_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* Starts to seek, with the shard locked; the bucket is on its way from memory meanwhile. */
static struct sought seek(struct cache *cache, const struct inquiry_question *question)
{
    uint64_t hash = hash_question(cache, question);
    struct sought sought = {.question = question, .tag = (uint32_t)hash};
    sought.shard = &cache->shard[(hash >> 32) & (cache->shards - 1)];
    sought.bucket = &sought.shard->buckets[((hash >> 38) * sought.shard->bucket_count) >> 26];
    __builtin_prefetch(sought.bucket);
    (void)pthread_mutex_lock(&sought.shard->lock);
    return sought;
}

static void leave(const struct sought *sought)
{
    (void)pthread_mutex_unlock(&sought->shard->lock);
}

static struct kept *kept_at(const struct shard *shard, size_t at)
{
    return (void *)(shard->ring + at);
}

static size_t offset_of(uint32_t place)
{
    return (size_t)(place - 1) * UNIT;
}

/* Whether a message begins with the question; its name in lower case is the same name or another one. */
static bool has_question(const uint8_t *message, size_t size, const struct inquiry_question *question)
{
    const uint8_t *behind = message + DNS_HEADER_LENGTH + question->name.length;
    return size >= DNS_HEADER_LENGTH + (size_t)question->name.length + QUESTION_FIXED &&
           memcmp(message + DNS_HEADER_LENGTH, question->name.wire, question->name.length) == 0 &&
           load_be16(behind) == to_be16(question->type) && load_be16(behind + 2) == to_be16(question->class);
}

static bool is_answer_to(const struct kept *kept, const struct inquiry_question *question)
{
    return kept->view == question->view && kept->dnssec_ok == question->dnssec_ok &&
           kept->checking_disabled == question->checking_disabled &&
           has_question(kept->message, kept->size, question);
}

/* The slot of its answer; SLOTS if there is none. */
static unsigned find_slot(const struct sought *sought)
{
    const struct bucket *bucket = sought->bucket;
    for (unsigned i = 0; i < SLOTS; i++)
        if (bucket->tag[i] == sought->tag && bucket->place[i] != 0 &&
            is_answer_to(kept_at(sought->shard, offset_of(bucket->place[i])), sought->question))
            return i;
    return SLOTS;
}

/* The place that leads to an answer in the ring, or NULL if none does any more. */
static uint32_t *place_of(struct shard *shard, size_t at)
{
    struct bucket *bucket = &shard->buckets[kept_at(shard, at)->bucket];
    for (unsigned i = 0; i < SLOTS; i++)
        if (bucket->place[i] == at / UNIT + 1)
            return &bucket->place[i];
    return NULL;
}

static void forget(struct shard *shard, uint32_t *place)
{
    shard->answers--;
    shard->bytes -= (size_t)kept_at(shard, offset_of(*place))->units * UNIT;
    *place = 0;
}

/* An empty slot, or that of the oldest answer in the bucket, which is forgotten. */
static unsigned empty_slot(struct shard *shard, struct bucket *bucket)
{
    size_t oldest = SIZE_MAX;
    unsigned slot = 0;
    for (unsigned i = 0; i < SLOTS; i++) {
        size_t at, position;
        if (bucket->place[i] == 0)
            return i;
        at = offset_of(bucket->place[i]);
        position = at >= shard->tail ? at - shard->tail : at + shard->capacity - shard->tail;
        if (position < oldest) {
            oldest = position;
            slot = i;
        }
    }
    forget(shard, &bucket->place[slot]);
    return slot;
}

/*** Ring ***/

/* Clocks of two workers may differ: what was made in the future was made just now. */
static uint32_t age_of(const struct kept *kept, uint32_t now)
{
    uint32_t age = now - kept->made;
    return age <= INT32_MAX ? age : 0;
}

/* Whether so many bytes can follow the newest answer; its end moves to the start if they fit only there. */
static bool has_room(struct shard *shard, size_t bytes)
{
    if (shard->wrapped)
        return shard->tail - shard->head >= bytes;
    if (shard->capacity - shard->head >= bytes)
        return true;
    if (shard->tail < bytes)
        return false;
    shard->end = shard->head;
    shard->head = 0;
    shard->wrapped = true;
    return true;
}

/* Leaves the oldest answer, of so many bytes, behind. */
static void pass_oldest(struct shard *shard, size_t bytes)
{
    shard->tail += bytes;
    if (shard->wrapped && shard->tail == shard->end) {
        shard->tail = 0;
        shard->wrapped = false;
    }
    if (!shard->wrapped && shard->tail == shard->head)
        shard->tail = shard->head = 0;
}

/* The room of the oldest answer becomes free, or the answer becomes the newest. */
static void take_oldest(struct shard *shard, uint32_t now, unsigned *second_chances)
{
    struct kept *oldest = kept_at(shard, shard->tail);
    size_t bytes = (size_t)oldest->units * UNIT;
    uint32_t *place = place_of(shard, shard->tail);
    bool again = *second_chances > 0 && place != NULL && oldest->used && age_of(oldest, now) < oldest->ttl;
    if (place != NULL && !again)
        forget(shard, place);
    pass_oldest(shard, bytes);
    /* It always has room, since its own is before or behind it, or is where the ring begins. */
    if (!again || !has_room(shard, bytes))
        return;
    --*second_chances;
    oldest->used = false;
    memmove(shard->ring + shard->head, oldest, bytes);
    *place = (uint32_t)(shard->head / UNIT + 1);
    shard->head += bytes;
}

/* Room for a new answer behind the newest. */
static struct kept *take_room(struct shard *shard, uint32_t now, size_t bytes)
{
    unsigned second_chances = SECOND_CHANCES;
    struct kept *kept;
    while (shard->answers >= shard->limit || !has_room(shard, bytes))
        take_oldest(shard, now, &second_chances);
    kept = kept_at(shard, shard->head);
    shard->head += bytes;
    return kept;
}

/*** Answers ***/

static enum cache_found state_of(const struct kept *kept, uint32_t age)
{
    if (age < kept->ttl)
        return CACHE_FRESH;
    if (age - kept->ttl < CACHE_STALE_SECONDS &&
        (kept->rcode == DNS_RCODE_NOERROR || kept->rcode == DNS_RCODE_NXDOMAIN))
        return CACHE_STALE;
    return CACHE_ABSENT;
}

static void copy_out(const struct kept *kept, struct answer *answer)
{
    answer->size = kept->size;
    answer->core = kept->core;
    answer->ttl = kept->ttl;
    answer->error = kept->error;
    answer->rcode = kept->rcode;
    answer->secure = kept->secure;
    answer->synthesized = kept->synthesized;
    memcpy(answer->message, kept->message, kept->size);
}

enum cache_found cache_find(struct cache *cache, const struct inquiry_question *question, uint32_t now,
                            struct answer *answer, uint32_t *age)
{
    enum cache_found found = CACHE_ABSENT;
    struct sought sought;
    unsigned slot;
    if (cache->shards == 0)
        return CACHE_ABSENT;
    sought = seek(cache, question);
    slot = find_slot(&sought);
    if (slot < SLOTS) {
        struct kept *kept = kept_at(sought.shard, offset_of(sought.bucket->place[slot]));
        uint32_t passed = age_of(kept, now);
        found = state_of(kept, passed);
        if (found != CACHE_ABSENT) {
            *age = passed;
            copy_out(kept, answer);
            kept->used = true;
        }
    }
    leave(&sought);
    return found;
}

/* All of the head but bucket and units. */
static void copy_in(struct kept *kept, const struct inquiry_question *question, uint32_t now,
                    const struct answer *answer)
{
    kept->made = now;
    kept->ttl = answer->ttl;
    kept->size = (uint16_t)answer->size;
    kept->core = (uint16_t)answer->core;
    kept->error = answer->error;
    kept->view = question->view;
    kept->rcode = answer->rcode;
    kept->secure = answer->secure;
    kept->synthesized = answer->synthesized;
    kept->dnssec_ok = question->dnssec_ok;
    kept->checking_disabled = question->checking_disabled;
    memcpy(kept->message, answer->message, answer->size);
}

/* An empty place for an answer of so many units. */
static struct kept *make_kept(const struct sought *sought, uint32_t now, size_t units)
{
    struct shard *shard = sought->shard;
    struct kept *kept = take_room(shard, now, units * UNIT);
    unsigned slot = empty_slot(shard, sought->bucket);
    kept->bucket = (uint32_t)(sought->bucket - shard->buckets);
    kept->units = (uint16_t)units;
    kept->used = false;
    sought->bucket->tag[slot] = sought->tag;
    sought->bucket->place[slot] = (uint32_t)((size_t)((uint8_t *)kept - shard->ring) / UNIT + 1);
    shard->answers++;
    shard->bytes += units * UNIT;
    return kept;
}

void cache_store(struct cache *cache, const struct inquiry_question *question, uint32_t now,
                 const struct answer *answer)
{
    size_t units = (KEPT_HEAD + answer->size + UNIT - 1) / UNIT;
    struct kept *kept = NULL;
    struct sought sought;
    unsigned slot;
    if (cache->shards == 0 || answer->ttl == ANSWER_TTL_NONE || answer->size > CACHE_ANSWER_MAXIMUM ||
        !has_question(answer->message, answer->size, question))
        return;
    sought = seek(cache, question);
    slot = find_slot(&sought);
    if (slot < SLOTS) {
        uint32_t *place = &sought.bucket->place[slot];
        kept = kept_at(sought.shard, offset_of(*place));
        /* Most often a newer one has the length of the older: it is written over it, and stays for longer. */
        kept->used = true;
        if (kept->units != units) {
            forget(sought.shard, place);
            kept = NULL;
        }
    }
    if (kept == NULL)
        kept = make_kept(&sought, now, units);
    copy_in(kept, question, now, answer);
    leave(&sought);
}

void cache_clear(struct cache *cache)
{
    for (uint32_t i = 0; i < cache->shards; i++) {
        struct shard *shard = &cache->shard[i];
        (void)pthread_mutex_lock(&shard->lock);
        memset(shard->buckets, 0, shard->bucket_count * sizeof(struct bucket));
        shard->head = shard->tail = 0;
        shard->wrapped = false;
        shard->answers = shard->bytes = 0;
        (void)pthread_mutex_unlock(&shard->lock);
    }
}

void cache_look(struct cache *cache, struct cache_state *state)
{
    *state = (struct cache_state){0};
    for (uint32_t i = 0; i < cache->shards; i++) {
        struct shard *shard = &cache->shard[i];
        (void)pthread_mutex_lock(&shard->lock);
        state->answers += shard->answers;
        state->bytes += shard->bytes;
        (void)pthread_mutex_unlock(&shard->lock);
    }
}
