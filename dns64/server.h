/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The name service on its sockets: a worker thread for each processor, each with sockets of its own on every
 * address (SO_REUSEPORT), a libevent loop, and a resolver. Workers share the cache of answers and the rates.
 *
 *     datagrams    32 at a time in, answers as many at a time out; what is cached is answered on the spot
 *     connections  any number of queries on one (RFC 7766), answered in the order in which they are ready
 *     questions    one under way for all clients that ask the same; each with a deadline
 */
#ifndef DNS64_SERVER_H
#define DNS64_SERVER_H

#include <netinet/in.h>

#include "dns64/clients.h"
#include "dns64/counters.h"
#include "dns64/resolver.h"

enum {
    SERVER_LISTENS = 32,
    SERVER_UDP_SIZE = 1232,        /* bytes of a datagram: fits IPv6's minimum MTU */
    SERVER_QUESTIONS = 2048,       /* under way at once, of one worker */
    SERVER_WAITING = 8192,         /* clients that wait for them, of one worker */
    SERVER_PATIENCE = 4500,        /* milliseconds for an answer: stub resolvers give up after five seconds */
    SERVER_LOOKUP_PATIENCE = 3000, /* milliseconds for the AAAA, after which it counts as empty */
};

/* A message that was not answered as it asked: what came, and why. Valid during the call only. */
struct server_seen {
    enum dns64_counter reason; /* of class "refused" */
    bool tcp;
    unsigned worker;
    const struct sockaddr_in6 *from, *to;
    const uint8_t *bytes;
    size_t size;
};

struct server_options {
    uint32_t listen_count;
    struct sockaddr_in6 listens[SERVER_LISTENS]; /* IPv4 as ::ffff:0:0/96 */
    uint32_t workers;
    uint32_t cache_entries;
    uint32_t tcp_connections; /* in all */
    uint32_t tcp_idle;        /* seconds */
    bool serve_stale;
    struct resolver_options resolver;
    void (*seen)(void *context,
                 const struct server_seen *seen); /* from workers' threads; NULL: nobody looks */
    void *seen_context;
};

/* What can change while it runs. */
struct server_rules {
    struct dns_rules rules;
    struct clients clients;
};

struct server;

/*
 * Opens sockets, which takes rights for ports below 1024, and reads the trust anchors. The rules become the
 * server's; they were sealed by their maker and are freed with `free_rules` once no question needs them, from
 * any thread. NULL with a sentence that names the address or file and what to do; then the rules are still
 * the caller's. With a server *error is empty, or a sentence that names an address that the machine has not
 * got yet: it is answered on from the moment on which it has. Raises the process's limit of descriptors, as
 * far as it may, to what all this needs.
 */
struct server *server_open(const struct server_options *options, struct server_rules *rules,
                           void (*free_rules)(struct server_rules *rules), char *error, size_t size);

/* Starts the threads. Returns 0 or an errno. */
int server_start(struct server *server);

/*
 * Puts new rules in force and empties the cache. When it returns, every query that comes is answered by the
 * new rules; questions under way end by those with which they began, and their answers are not kept.
 * Returns 0, or an errno: then the old rules stay, and the new ones are still the caller's.
 */
int server_change(struct server *server, struct server_rules *rules);

/* Sums over the workers; may be called while they run. */
void server_count(const struct server *server, struct dns64_counters *counters);

/* Other figures of the moment. */
struct server_state {
    uint64_t cached, cached_bytes; /* answers in the cache */
    uint64_t questions, waiting;   /* under way */
    uint64_t connections;
};
void server_look(const struct server *server, struct server_state *state);

/* Bytes that a server takes, without libunbound's and without what TCP clients leave unread. */
size_t server_memory(const struct server_options *options);

/* Ends threads, closes sockets, frees everything. NULL is allowed. */
void server_close(struct server *server);

#endif /* DNS64_SERVER_H */
