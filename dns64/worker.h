/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A worker of the name service: one thread, one loop, and everything that its callbacks need. Only the files
 * behind dns64/server.h include this.
 *
 *     udp.c, tcp.c    messages off the wire, replies onto it
 *     queries.c       what becomes of a message: refused, answered from the cache, or
 *     questions.c     under way, with the clients that wait for it
 *     replies.c       the bytes of a reply
 *     worker.c        the loop, and how others reach it
 *
 * A worker touches what is its own and nothing else, but for four things that the server shares out: the
 * cache and the rates, which lock for themselves; the number of connections; and the rules.
 *
 * Rules come in versions. A worker holds the one in force, each question under way the one with which it
 * began, and who lets go of a version last frees it. What is in the cache belongs to one version, whose epoch
 * stands beside it: a worker with other rules, earlier or later ones, neither looks there nor stores there.
 */
#ifndef DNS64_WORKER_H
#define DNS64_WORKER_H

#include <pthread.h>
#include <stdatomic.h>

#include "dns64/cache.h"
#include "dns64/server.h"

enum {
    NANOSECONDS_A_MILLISECOND = 1000 * 1000,
    QUERY_MAXIMUM = 4096, /* bytes of a message; queries have less than 300 and their options */
    WORKER_SHARES = 4096, /* clients that are told apart when something is shared out */
    NO_EPOCH = 0,         /* the cache is being emptied */
};

struct version {
    struct server_rules *rules;
    void (*free_rules)(struct server_rules *rules);
    uint64_t epoch; /* counted from 1 */
    _Atomic uint32_t users;
};

/* What the workers share. */
struct server {
    struct server_options options;
    struct cache *cache;
    struct rates *rates, *stream_rates; /* of UDP, of TCP */
    uint64_t key[2];
    _Atomic uint64_t cache_epoch; /* to whose rules the cache belongs */
    _Atomic uint32_t connections; /* TCP, of all workers */
    _Atomic bool stopping;

    pthread_mutex_t lock;    /* of the rest */
    pthread_cond_t arrived;  /* a worker has come to the version in force */
    struct version *version; /* in force */
    uint32_t behind;         /* workers that have not come to it */
    uint32_t running;        /* threads started */

    uint32_t worker_count;
    struct dns_worker *workers;
};

struct dns_worker {
    struct server *server;
    unsigned number;
    pthread_t thread;
    int wake; /* eventfd: there are new rules, or it is time to stop */
    struct event_base *base;
    struct event *woken, *deferred;
    bool is_deferred;
    struct resolver *resolver;
    struct version *version; /* by which queries are answered */
    struct udp *udp;
    struct tcp *tcp;
    struct questions *questions;
    uint64_t now;         /* nanoseconds, read once for each callback */
    struct answer answer; /* what is being worked on; two, since a failure may find a stale one */
    struct answer stale;
    bool slip; /* every second reply over the rate says TC */

    /* Written by this worker, read by others: on cache lines of their own. */
    _Alignas(64) _Atomic uint64_t count[DNS64_COUNTER_COUNT];
    _Atomic uint64_t latency[DNS64_LATENCIES];
    _Atomic uint64_t questions_now, waiting_now;
};

union socket_address {
    struct sockaddr any;
    struct sockaddr_in ipv4;
    struct sockaddr_in6 ipv6;
};

/* Where a message came from, and how its reply gets there. */
struct reply_path {
    struct tcp_connection *connection; /* NULL: UDP */
    struct ipv6_address client;        /* IPv4 as ::ffff:0:0/96 */
    union socket_address from;
    struct in6_addr local; /* UDP, if the socket has no address of its own: where it was sent */
    uint32_t interface;    /* the same, of a link-local address */
    uint32_t socket;       /* UDP: which one */
};

/* Makes everything but the thread; the sockets are opened by tcp.c and udp.c. False with a sentence. */
bool dns_worker_open(struct dns_worker *worker, struct server *server, unsigned number, char *error,
                     size_t size);
void dns_worker_close(struct dns_worker *worker); /* its thread has ended, or never began */

int dns_worker_start(struct dns_worker *worker);
void dns_worker_wake(struct dns_worker *worker); /* from any thread */

/* Goes over to the rules in force: in its own thread, or before that runs. */
void dns_worker_adopt(struct dns_worker *worker);

/* Asks that udp_flush and tcp_resume be called when the callbacks of this round are through. */
void dns_worker_defer(struct dns_worker *worker);

/*
 * The number of a client, below WORKER_SHARES: what one may have of something is counted under it. By a keyed
 * hash, so two clients meet there by chance and not by anyone's choice.
 */
uint32_t dns_worker_share(const struct dns_worker *worker, const struct ipv6_address *client);

/* Sets a timer to a time on the worker's clock. */
void dns_worker_set_timer(const struct dns_worker *worker, struct event *timer, uint64_t due);

/* Reads the clock; first thing in every callback. */
void dns_worker_tick(struct dns_worker *worker);

void version_take(struct version *version);
void version_drop(struct version *version);

/* A counter has one writer, so it needs no atomic addition. */
static inline void counter_add(_Atomic uint64_t *counter, uint64_t more)
{
    uint64_t sum = atomic_load_explicit(counter, memory_order_relaxed) + more;
    atomic_store_explicit(counter, sum, memory_order_relaxed);
}

static inline void dns_worker_count(struct dns_worker *worker, enum dns64_counter counter)
{
    counter_add(&worker->count[counter], 1);
}

static inline uint32_t dns_worker_seconds(const struct dns_worker *worker)
{
    return (uint32_t)(worker->now / 1000 / NANOSECONDS_A_MILLISECOND);
}

/* True if the cache is that of these rules. */
static inline bool version_cached(const struct version *version, struct server *server)
{
    return atomic_load_explicit(&server->cache_epoch, memory_order_acquire) == version->epoch;
}

static inline struct ipv6_address socket_address_client(const union socket_address *address)
{
    struct ipv6_address client = {{[10] = 0xff, [11] = 0xff}};
    if (address->any.sa_family == AF_INET6)
        __builtin_memcpy(client.bytes, &address->ipv6.sin6_addr, 16);
    else
        __builtin_memcpy(client.bytes + 12, &address->ipv4.sin_addr, 4);
    return client;
}

/* The same as the interface of the server tells it, IPv4 as ::ffff:0:0/96. */
static inline struct sockaddr_in6 socket_address_told(const union socket_address *address)
{
    struct sockaddr_in6 told = {.sin6_family = AF_INET6};
    struct ipv6_address client = socket_address_client(address);
    __builtin_memcpy(&told.sin6_addr, client.bytes, 16);
    if (address->any.sa_family == AF_INET6)
        told.sin6_scope_id = address->ipv6.sin6_scope_id;
    told.sin6_port = address->any.sa_family == AF_INET6 ? address->ipv6.sin6_port : address->ipv4.sin_port;
    return told;
}

#endif /* DNS64_WORKER_H */
