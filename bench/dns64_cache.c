/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a cached answer costs without sockets: from a query's bytes to the reply's, and its parts; and the
 * memory that it takes. Queries are for random names among all that are kept. It prints one JSON object a
 * measurement; progress goes to stderr.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/flows.h"
#include "dns64/cache.h"
#include "engine/random.h"

enum {
    ROUNDS = 7, /* the median of which counts */
    QUERIES = 1 << 18,
    QUERY_MAX = 64, /* bytes */
    UDP_SIZE = 1232,
    THREADS = 2,
};

static const uint64_t key[2] = {0x0123456789abcdefull, 0xfedcba9876543210ull};

struct sent {
    uint8_t size, bytes[QUERY_MAX - 1];
};

static struct cache *cache;
static uint32_t names;

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void stop(const char *why)
{
    fprintf(stderr, "dns64 cache benchmark: %s\n", why);
    exit(1);
}

static struct inquiry_question question_of(uint32_t number)
{
    struct inquiry_question question = {.type = DNS_TYPE_AAAA, .class = DNS_CLASS_IN, .view = 1};
    char text[64];
    snprintf(text, sizeof(text), "www.host%06u.example", number);
    if (!dns_name_parse(&question.name, text))
        stop("a name went wrong");
    return question;
}

/* A synthesised AAAA for one A, as most are. */
static void store(uint32_t number)
{
    static uint8_t message[DNS_MESSAGE_MAX];
    static struct dns_writer writer;
    const struct dns_header header = {.response = true, .recursion_available = true};
    struct inquiry_question question = question_of(number);
    uint8_t address[16] = {0x00, 0x64, 0xff, 0x9b, [12] = 192, [14] = 2, [15] = (uint8_t)number};
    const struct dns_data data = {&question.name, address, DNS_TYPE_AAAA, DNS_CLASS_IN, 16, 300};
    struct answer answer = {
        .message = message, .ttl = 300, .error = ANSWER_ERROR_SYNTHESIZED, .synthesized = true};
    dns_writer_open(&writer, message, sizeof(message), &header);
    dns_writer_question(&writer, &question.name, question.type, question.class);
    (void)dns_writer_record(&writer, &data);
    answer.size = answer.core = (uint32_t)dns_writer_finish(&writer);
    cache_store(cache, &question, 1000, &answer);
}

static void fill(uint32_t entries)
{
    struct cache_state state;
    cache = cache_create(entries, key);
    if (cache == NULL)
        stop("no memory");
    names = entries / 2; /* so that few have given way */
    for (uint32_t i = 0; i < names; i++)
        store(i);
    cache_look(cache, &state);
    if (state.answers < names - names / 500)
        stop("answers are missing");
}

static struct sent query_of(uint32_t number)
{
    static const uint8_t opt[11] = {0, 0, DNS_TYPE_OPT, UDP_SIZE >> 8, UDP_SIZE & 255};
    struct inquiry_question question = question_of(number);
    struct sent sent = {.bytes = {(uint8_t)(number >> 8), (uint8_t)number, 1, 0, 0, 1, [11] = 1}};
    uint8_t *at = sent.bytes + DNS_HEADER_LENGTH;
    memcpy(at, question.name.wire, question.name.length);
    at[1] = 'W';
    at += question.name.length;
    store_be16(at, to_be16(question.type));
    store_be16(at + 2, to_be16(question.class));
    memcpy(at + 4, opt, sizeof(opt));
    sent.size = (uint8_t)(at + 4 + sizeof(opt) - sent.bytes);
    return sent;
}

static bool is_kept(uint32_t number)
{
    uint8_t message[CACHE_ANSWER_MAXIMUM];
    struct inquiry_question question = question_of(number);
    struct answer answer = {.message = message};
    uint32_t age;
    return cache_find(cache, &question, 1000, &answer, &age) == CACHE_FRESH;
}

/* Queries for what is there. */
static struct sent *prepare(uint64_t seed)
{
    struct random random = random_seed(seed);
    struct sent *queries = calloc(QUERIES, sizeof(*queries));
    if (queries == NULL)
        stop("no memory");
    for (uint32_t i = 0; i < QUERIES;) {
        uint32_t number = (uint32_t)(random_next(&random) % names);
        if (is_kept(number))
            queries[i++] = query_of(number);
    }
    return queries;
}

/* Returns the size of the reply. */
static size_t reply_to(const struct sent *sent, uint8_t *reply)
{
    struct dns_query query;
    struct inquiry_question question;
    struct answer answer = {.message = reply};
    struct answer_wish wish = {.udp_size = UDP_SIZE};
    if (dns_query_read(&query, sent->bytes, sent->size) != DNS_VERDICT_ANSWER)
        return 0;
    dns_name_copy(&question.name, &query.question.name);
    question.type = query.question.type;
    question.class = query.question.class;
    question.view = 1;
    question.dnssec_ok = query.edns.dnssec_ok;
    question.checking_disabled = query.header.checking_disabled;
    wish.limit = dns_query_udp_limit(&query, UDP_SIZE);
    if (cache_find(cache, &question, 1010, &answer, &wish.age) != CACHE_FRESH)
        return 0;
    return answer_reply(&answer, &query, &wish, reply);
}

/* Nanoseconds a reply. */
static double round_of_replies(const struct sent *queries)
{
    static _Thread_local uint8_t reply[CACHE_ANSWER_MAXIMUM];
    double start = seconds();
    for (uint32_t i = 0; i < QUERIES; i++)
        if (reply_to(&queries[i], reply) < queries[i].size)
            stop("a reply went wrong");
    return (seconds() - start) / QUERIES * 1e9;
}

static double round_of_reading(const struct sent *queries)
{
    struct dns_query query;
    double start = seconds();
    for (uint32_t i = 0; i < QUERIES; i++)
        if (dns_query_read(&query, queries[i].bytes, queries[i].size) != DNS_VERDICT_ANSWER)
            stop("a query went wrong");
    return (seconds() - start) / QUERIES * 1e9;
}

static double median_of(double (*round)(const struct sent *), const struct sent *queries)
{
    double rounds[ROUNDS];
    for (unsigned i = 0; i < ROUNDS; i++)
        rounds[i] = round(queries);
    return median(rounds, ROUNDS);
}

static void *reply_in_thread(void *argument)
{
    double *taken = argument;
    struct sent *queries = prepare((uint64_t)(uintptr_t)argument);
    *taken = median_of(round_of_replies, queries);
    free(queries);
    return NULL;
}

/* As above, on as many processors at once. */
static double replies_at_once(void)
{
    pthread_t threads[THREADS];
    double taken[THREADS], sum = 0;
    for (unsigned i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, reply_in_thread, &taken[i]) != 0)
            stop("no thread");
    for (unsigned i = 0; i < THREADS; i++) {
        (void)pthread_join(threads[i], NULL);
        sum += taken[i];
    }
    return sum / THREADS;
}

static double round_of_stores(void)
{
    enum { STORES = 1 << 17 };
    double start = seconds();
    for (uint32_t i = 0; i < STORES; i++)
        store(names + i);
    return (seconds() - start) / STORES * 1e9;
}

static void measure(uint32_t entries, const char *label)
{
    char name[64];
    struct cache_state state;
    struct sent *queries;
    fprintf(stderr, "dns64 cache: %s entries\n", label);
    fill(entries);
    cache_look(cache, &state);
    queries = prepare(1);
    snprintf(name, sizeof(name), "dns64.cache.reply.%s", label);
    print_figure(name, median_of(round_of_replies, queries), "ns", NULL, 0);
    snprintf(name, sizeof(name), "dns64.cache.reply-2-threads.%s", label);
    print_figure(name, replies_at_once(), "ns", NULL, 0);
    snprintf(name, sizeof(name), "dns64.cache.make-and-store.%s", label);
    print_figure(name, round_of_stores(), "ns", NULL, 0);
    snprintf(name, sizeof(name), "dns64.cache.bytes-per-entry.%s", label);
    print_figure(name, (double)cache_memory(entries) / entries, "B", NULL, 0);
    if (entries == 1000) {
        print_figure("dns64.cache.read-query", median_of(round_of_reading, queries), "ns", NULL, 0);
        print_figure("dns64.cache.bytes-per-answer", (double)state.bytes / (double)state.answers, "B", NULL,
                     0);
    }
    free(queries);
    cache_destroy(cache);
}

int main(void)
{
    measure(1000, "1k");
    measure(100000, "100k");
    measure(1000000, "1M");
    return 0;
}
