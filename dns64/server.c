/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The name service as a whole: what the workers share, and what others ask of all of them.
 *
 * New rules come into force in three steps, so that no answer made by one version of them is ever given under
 * another. First nobody uses the cache: its epoch is that of no version. Then the workers are woken, and each
 * goes over to the new version; from then on whatever old answer it may have been about to store has been
 * stored. When the last has come over the cache is emptied, and it gets the epoch of the new version.
 */
#include "dns64/server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>

#include "dns64/questions.h"
#include "dns64/sockets.h"
#include "dns64/tcp.h"
#include "dns64/udp.h"
#include "dns64/worker.h"

static struct version *make_version(struct server_rules *rules, void (*free_rules)(struct server_rules *),
                                    uint64_t epoch)
{
    struct version *version = malloc(sizeof(*version));
    if (version == NULL)
        return NULL;
    version->rules = rules;
    version->free_rules = free_rules;
    version->epoch = epoch;
    atomic_init(&version->users, 1);
    return version;
}

/*
 * Connections and the resolvers' own questions take more descriptors than the 1024 with which many systems
 * begin. What may be had beyond that is for the administrator to say.
 */
static void raise_descriptors(const struct server_options *options)
{
    enum { OTHERS = 1024, RESOLVER = 2 * 640 }; /* two contexts in each worker, see resolver_context.c */
    const rlim_t wanted = OTHERS + (rlim_t)options->tcp_connections + (rlim_t)options->workers * RESOLVER;
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted)
        return;
    limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

/* Nobody else may have the ports; one sentence about addresses that are not there is enough. */
static bool probe_sockets(const struct server_options *options, char *error, size_t size)
{
    static const int types[] = {SOCK_DGRAM, SOCK_STREAM};
    for (uint32_t i = 0; i < options->listen_count; i++) {
        for (size_t j = 0; j < sizeof(types) / sizeof(types[0]); j++) {
            const struct socket_wish wish = {&options->listens[i], types[j]};
            if (!socket_probe(&wish, error, size))
                return false;
        }
    }
    return true;
}

static bool open_shared(struct server *server, struct server_rules *rules,
                        void (*free_rules)(struct server_rules *))
{
    enum { FIRST_EPOCH = NO_EPOCH + 1 };
    if (getrandom(server->key, sizeof(server->key), 0) != (ssize_t)sizeof(server->key))
        return false;
    server->cache = cache_create(server->options.cache_entries, server->key);
    server->rates = rates_create(server->key);
    server->stream_rates = rates_create(server->key);
    server->workers =
        aligned_alloc(_Alignof(struct dns_worker), server->options.workers * sizeof(struct dns_worker));
    server->version = make_version(rules, free_rules, FIRST_EPOCH);
    if (server->cache == NULL || server->rates == NULL || server->stream_rates == NULL ||
        server->workers == NULL || server->version == NULL)
        return false;
    memset(server->workers, 0, server->options.workers * sizeof(struct dns_worker));
    server->worker_count = server->options.workers;
    atomic_store(&server->cache_epoch, FIRST_EPOCH);
    return true;
}

static bool open_all(struct server *server, struct server_rules *rules,
                     void (*free_rules)(struct server_rules *), char *error, size_t size)
{
    raise_descriptors(&server->options);
    if (!probe_sockets(&server->options, error, size))
        return false;
    if (!open_shared(server, rules, free_rules)) {
        snprintf(error, size, "no memory for the name service: %zu bytes are needed, see dns64.cache.entries",
                 server_memory(&server->options));
        return false;
    }
    for (uint32_t i = 0; i < server->worker_count; i++) {
        if (!dns_worker_open(&server->workers[i], server, i, error, size))
            return false;
    }
    return true;
}

static void keep_rules(struct server_rules *rules)
{
    (void)rules;
}

struct server *server_open(const struct server_options *options, struct server_rules *rules,
                           void (*free_rules)(struct server_rules *rules), char *error, size_t size)
{
    struct server *server = calloc(1, sizeof(*server));
    error[0] = 0;
    if (server == NULL) {
        snprintf(error, size, "no memory for the name service");
        return NULL;
    }
    server->options = *options;
    if (server->options.workers == 0)
        server->options.workers = 1;
    if (server->options.tcp_idle == 0)
        server->options.tcp_idle = 1;
    pthread_mutex_init(&server->lock, NULL);
    pthread_cond_init(&server->arrived, NULL);
    if (open_all(server, rules, free_rules, error, size))
        return server;
    if (server->version != NULL)
        server->version->free_rules = keep_rules;
    server_close(server);
    return NULL;
}

int server_start(struct server *server)
{
    for (uint32_t i = 0; i < server->worker_count; i++) {
        int failure = dns_worker_start(&server->workers[i]);
        if (failure != 0)
            return failure;
        server->running++;
    }
    return 0;
}

int server_change(struct server *server, struct server_rules *rules)
{
    struct version *old = server->version;
    struct version *new = make_version(rules, old->free_rules, old->epoch + 1);
    if (new == NULL)
        return ENOMEM;
    atomic_store(&server->cache_epoch, NO_EPOCH);
    pthread_mutex_lock(&server->lock);
    server->version = new;
    server->behind = server->worker_count;
    pthread_mutex_unlock(&server->lock);
    for (uint32_t i = 0; i < server->worker_count; i++) {
        if (i < server->running)
            dns_worker_wake(&server->workers[i]);
        else
            dns_worker_adopt(&server->workers[i]);
    }
    pthread_mutex_lock(&server->lock);
    while (server->behind != 0)
        pthread_cond_wait(&server->arrived, &server->lock);
    pthread_mutex_unlock(&server->lock);
    cache_clear(server->cache);
    atomic_store(&server->cache_epoch, new->epoch);
    version_drop(old);
    return 0;
}

void server_count(const struct server *server, struct dns64_counters *counters)
{
    memset(counters, 0, sizeof(*counters));
    for (uint32_t i = 0; i < server->worker_count; i++) {
        const struct dns_worker *worker = &server->workers[i];
        for (size_t j = 0; j < DNS64_COUNTER_COUNT; j++)
            counters->count[j] += atomic_load_explicit(&worker->count[j], memory_order_relaxed);
        for (size_t j = 0; j < DNS64_LATENCIES; j++)
            counters->latency[j] += atomic_load_explicit(&worker->latency[j], memory_order_relaxed);
    }
}

void server_look(const struct server *server, struct server_state *state)
{
    struct cache_state cache;
    memset(state, 0, sizeof(*state));
    cache_look(server->cache, &cache);
    state->cached = cache.answers;
    state->cached_bytes = cache.bytes;
    state->connections = atomic_load_explicit(&server->connections, memory_order_relaxed);
    for (uint32_t i = 0; i < server->worker_count; i++) {
        const struct dns_worker *worker = &server->workers[i];
        state->questions += atomic_load_explicit(&worker->questions_now, memory_order_relaxed);
        state->waiting += atomic_load_explicit(&worker->waiting_now, memory_order_relaxed);
    }
}

size_t server_memory(const struct server_options *options)
{
    size_t worker =
        sizeof(struct dns_worker) + 2 * DNS_MESSAGE_MAX + udp_memory() + tcp_memory() + questions_memory();
    return sizeof(struct server) + cache_memory(options->cache_entries) +
           (options->workers == 0 ? 1 : options->workers) * worker;
}

void server_close(struct server *server)
{
    if (server == NULL)
        return;
    atomic_store(&server->stopping, true);
    for (uint32_t i = 0; i < server->running; i++)
        dns_worker_wake(&server->workers[i]);
    for (uint32_t i = 0; i < server->running; i++)
        pthread_join(server->workers[i].thread, NULL);
    for (uint32_t i = 0; i < server->worker_count; i++)
        dns_worker_close(&server->workers[i]);
    version_drop(server->version);
    cache_destroy(server->cache);
    rates_destroy(server->rates);
    rates_destroy(server->stream_rates);
    pthread_cond_destroy(&server->arrived);
    pthread_mutex_destroy(&server->lock);
    free(server->workers);
    free(server);
}
