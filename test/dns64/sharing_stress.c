/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sharing_stress [SECONDS [THREADS [SEED]]]: what the workers of the name service share, the cache and the
 * rates, with all of them at once at few questions and fewer clients, so that they meet all the time. Made
 * for the thread sanitizer. Prints TAP, and the seed it began with.
 *
 * Every answer's contents follow from its question and its edition, which it has in it: a copy that is mixed
 * of two, or is that of another question, shows.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dns64/cache.h"
#include "dns64/clients.h"
#include "engine/atomic.h"
#include "engine/random.h"

enum {
    ENTRIES = 200, /* of two shards */
    QUESTIONS = 300,
    THREADS_DEFAULT = 4,
    THREADS_MAXIMUM = 16,
    SECONDS_DEFAULT = 3,
    CLIENTS = 3,
    RATE = 1000,
    TTL = 5,
    LONGEST = 2000, /* bytes of contents */
};

static const uint64_t key[2] = {0x0123456789abcdefull, 0xfedcba9876543210ull};

struct thread {
    pthread_t thread;
    struct random random;
    uint64_t operations, found, stored, given[CLIENTS];
    const char *wrong;
    uint8_t message[CACHE_ANSWER_MAXIMUM];
};

static struct cache *cache;
static struct rates *rates;
static uint64_t virtual_time; /* atomic: nanoseconds, much faster than real ones */
static uint32_t stop;         /* atomic */

static void complain(struct thread *thread, const char *wrong)
{
    if (thread->wrong == NULL)
        thread->wrong = wrong;
}

static struct inquiry_question question_of(unsigned number)
{
    struct inquiry_question question = {.type = DNS_TYPE_AAAA, .class = DNS_CLASS_IN, .view = 1};
    char text[32];
    (void)snprintf(text, sizeof(text), "n%u.example", number);
    if (!dns_name_parse(&question.name, text))
        abort();
    return question;
}

/* Contents of an answer: its edition, then bytes that follow from it and the question. */
static uint8_t content(unsigned number, uint32_t edition, size_t at)
{
    return (uint8_t)((number * 31 + edition * 17 + at * 7) >> 2);
}

static size_t contents_at(const struct inquiry_question *question)
{
    return DNS_HEADER_LENGTH + (size_t)question->name.length + 4;
}

static void store(struct thread *thread, unsigned number, uint32_t now)
{
    struct inquiry_question question = question_of(number);
    uint64_t draw = random_next(&thread->random);
    uint32_t edition = (uint32_t)draw;
    size_t at = contents_at(&question);
    size_t size = at + 4 + (draw >> 32) % ((draw >> 48) % 50 == 0 ? LONGEST : 80);
    uint8_t *message = thread->message;
    struct answer answer = {.message = message, .size = (uint32_t)size, .core = (uint32_t)at, .ttl = TTL};
    memset(message, 0, DNS_HEADER_LENGTH);
    memcpy(message + DNS_HEADER_LENGTH, question.name.wire, question.name.length);
    store_be16(message + at - 4, to_be16(question.type));
    store_be16(message + at - 2, to_be16(question.class));
    memcpy(message + at, &edition, 4);
    for (size_t i = at + 4; i < size; i++)
        message[i] = content(number, edition, i);
    cache_store(cache, &question, now, &answer);
    thread->stored++;
}

/* True if it was there; it is as it was stored then. */
static bool find(struct thread *thread, unsigned number, uint32_t now)
{
    struct inquiry_question question = question_of(number);
    struct answer answer = {.message = thread->message};
    size_t at = contents_at(&question);
    uint32_t age, edition;
    enum cache_found found = cache_find(cache, &question, now, &answer, &age);
    if (found == CACHE_ABSENT)
        return false;
    memcpy(&edition, thread->message + at, 4);
    if (answer.core != at ||
        memcmp(thread->message + DNS_HEADER_LENGTH, question.name.wire, question.name.length) != 0)
        complain(thread, "an answer to another question");
    for (size_t i = at + 4; i < answer.size; i++)
        if (thread->message[i] != content(number, edition, i))
            complain(thread, "a copy is not whole");
    if ((found == CACHE_FRESH) != (age < TTL))
        complain(thread, "its age does not fit its state");
    thread->found++;
    return true;
}

static void look(struct thread *thread)
{
    struct cache_state state;
    cache_look(cache, &state);
    if (state.answers > ENTRIES || state.bytes > cache_memory(ENTRIES))
        complain(thread, "more in it than there is room for");
}

static void take(struct thread *thread, unsigned number, uint64_t now)
{
    const struct ipv6_address client = {{0x20, 0x01, 0x0d, 0xb8, [7] = (uint8_t)number}};
    thread->given[number] += rates_take(rates, &client, RATE, now);
}

static void *act(void *argument)
{
    struct thread *thread = argument;
    while (atomic_load32(&stop) == 0) {
        uint64_t draw = random_next(&thread->random);
        uint64_t now = atomic_add64(&virtual_time, 20000);
        uint32_t second = (uint32_t)(now / 1000000000u) + 1 - (uint32_t)(draw >> 60) % 2; /* or behind */
        unsigned number = (unsigned)(draw >> 8) % QUESTIONS, kind = (unsigned)draw % 64;
        thread->operations++;
        if (kind < 40 ? !find(thread, number, second) : kind < 44)
            store(thread, number, second);
        else if (kind == 63 && draw >> 54 == 0)
            cache_clear(cache);
        else if (kind == 62)
            look(thread);
        take(thread, (unsigned)(draw >> 24) % CLIENTS, now);
    }
    return NULL;
}

/* What is wrong when all have stopped, or NULL. */
static const char *judge(struct thread threads[], unsigned n)
{
    uint64_t most = RATE + virtual_time / 1000000000u * RATE + RATE, found = 0;
    struct cache_state state;
    for (unsigned i = 0; i < n; i++)
        if (threads[i].wrong != NULL)
            return threads[i].wrong;
    for (unsigned client = 0; client < CLIENTS; client++) {
        uint64_t given = 0;
        for (unsigned i = 0; i < n; i++)
            given += threads[i].given[client];
        if (given > most || given == 0)
            return "a client was given more than its rate, or nothing";
    }
    cache_look(cache, &state);
    for (unsigned number = 0; number < QUESTIONS; number++)
        found += find(&threads[0], number, (uint32_t)(virtual_time / 1000000000u) + 1);
    if (found != state.answers)
        return "it does not count what is in it";
    cache_clear(cache);
    cache_look(cache, &state);
    if (state.answers != 0 || state.bytes != 0)
        return "something is left when everything has been forgotten";
    return threads[0].wrong;
}

static void run(struct thread threads[], unsigned n, unsigned seconds)
{
    struct timespec pause = {.tv_sec = seconds};
    for (unsigned i = 0; i < n; i++)
        if (pthread_create(&threads[i].thread, NULL, act, &threads[i]) != 0)
            abort();
    (void)nanosleep(&pause, NULL);
    atomic_store32(&stop, 1);
    for (unsigned i = 0; i < n; i++)
        (void)pthread_join(threads[i].thread, NULL);
}

int main(int argc, char **argv)
{
    static struct thread threads[THREADS_MAXIMUM];
    unsigned seconds = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : SECONDS_DEFAULT;
    unsigned n = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : THREADS_DEFAULT;
    struct timespec clock;
    (void)clock_gettime(CLOCK_REALTIME, &clock);
    uint64_t seed =
        argc > 3 ? strtoull(argv[3], NULL, 10) : (uint64_t)clock.tv_sec * 1000000 + (uint64_t)clock.tv_nsec;
    uint64_t operations = 0, stored = 0, found = 0;
    if (n < 1 || n > THREADS_MAXIMUM)
        n = THREADS_DEFAULT;
    printf("1..1\n# seed %llu, %u threads, %u s\n", (unsigned long long)seed, n, seconds);
    (void)fflush(stdout);
    cache = cache_create(ENTRIES, key);
    rates = rates_create(key);
    if (cache == NULL || rates == NULL)
        abort();
    for (unsigned i = 0; i < n; i++)
        threads[i].random = random_seed(seed + i);
    run(threads, n, seconds);
    for (unsigned i = 0; i < n; i++) {
        operations += threads[i].operations;
        stored += threads[i].stored;
        found += threads[i].found;
    }
    const char *wrong = judge(threads, n);
    printf("# %llu operations: %llu answers stored, %llu found\n", (unsigned long long)operations,
           (unsigned long long)stored, (unsigned long long)found);
    printf("%sok 1 - workers at once share a cache and rates%s%s\n", wrong == NULL ? "" : "not ",
           wrong == NULL ? "" : ": ", wrong == NULL ? "" : wrong);
    cache_destroy(cache);
    rates_destroy(rates);
    return wrong != NULL;
}
