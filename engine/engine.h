/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The engine: (state, packet, now) -> verdict and packets. The whole contract.
 *
 * It does no I/O, reads no clock, logs nothing and allocates nothing after engine_create, except for a
 * capture (engine/capture.h). A run is a function of settings, seed, packets and times.
 *
 *     plane                          engine
 *     -----                          ------
 *     read a burst      ---------->  engine_receive: rewrites each packet in place, one verdict each
 *     send FORWARDED    <----------
 *     send what is made <----------  engine_pull: pieces, ICMP errors and probes, until it returns false
 *     timer             ---------->  engine_expire, then engine_pull again
 *
 * Threads. A worker belongs to one thread at a time; different workers may run at once. One further
 * worker, number `workers`, is for the control plane, which adds static bindings with it.
 * A thread may be stopped or die at any point; the others never wait for it.
 *
 * Time is CLOCK_MONOTONIC in nanoseconds and must not go backwards for a worker.
 */
#ifndef ENGINE_ENGINE_H
#define ENGINE_ENGINE_H

#include "engine/limits.h"
#include "engine/packet.h"
#include "engine/paths.h"
#include "engine/settings.h"
#include "engine/table.h"
#include "engine/verdict.h"

typedef uint64_t nanoseconds;

struct engine;
struct worker;
struct waiting_places; /* engine/waiting_place.h */
struct rules;          /* engine/rules.h */

struct engine_options {
    struct table *table;             /* from table.h; must outlive the engine */
    const struct settings *settings; /* must outlive the engine, or until replaced */
    const struct paths *paths;       /* the same; NULL: all have an MTU of 1500 */
    const struct table *previous;    /* another table to take the sessions of, or NULL; see engine_create */
    struct waiting_places *waiting;  /* zeroed, and shared with another plane of the table; NULL: its own */
    uint32_t workers;                /* 1 to WORKERS_MAXIMUM, at most as in the table's geometry */
    uint64_t seed;                   /* for ports; from the kernel's random source */
    nanoseconds now;
    void (*progress)(void *context, uint32_t done, uint32_t all); /* records, while sessions are taken over */
    void *context;                                                /* may be NULL like the function */
};

/*
 * Makes an engine over a table that nobody else uses meanwhile, and enters the static bindings. Returns NULL
 * with a sentence in `error` (of `size` bytes) if memory is short or the settings do not fit the table's
 * geometry.
 *
 * Sessions that the table holds already live on, and so do those of `previous`, which may have another
 * geometry or an older layout and is not changed; `previous` is read only if the table is empty. Every start
 * is a recovery: nothing but the records themselves is trusted, whoever died while changing what; indexes,
 * ports and counts are built anew from them. A session lives on if it is whole, not past its lifetime, its
 * instance's prefix is still configured and its pool address and port still allowed.
 */
struct engine *engine_create(const struct engine_options *options, char *error, size_t size);

/* What became of the records found by engine_create. */
struct engine_continued {
    uint32_t sessions, bindings; /* that live on */
    uint32_t expired;            /* sessions past their lifetime */
    uint32_t undone;             /* half-made or half-ended when somebody died */
    uint32_t disallowed;         /* sessions that the settings do not allow any more */
    uint32_t no_room;            /* sessions for which the new geometry has no room */
    uint32_t damaged;            /* records that make no sense */
};
void engine_continued(const struct engine *engine, struct engine_continued *continued);
void engine_destroy(struct engine *engine);

/* Worker 0 to `workers`; the last is that of the control plane. Owned by the engine. */
struct worker *engine_worker(struct engine *engine, uint32_t number);

/*
 * Takes a burst of n <= BURST_MAXIMUM packets, in order. verdicts[i] says what became of packets[i]; only
 * one of class FORWARDED is to be sent: it has been rewritten in place, payload neither copied nor read
 * (save to compute a missing UDP checksum), its offload state kept right. One of class DIVIDED goes on in
 * pieces, which engine_pull hands out; one of class HELD was copied and may be handed out later. The others
 * hold no promise.
 */
void engine_receive(struct worker *worker, struct packet packets[], unsigned n, nanoseconds now,
                    enum verdict verdicts[]);

/*
 * Copies the next packet that this worker made into `packet`, whose buffer, capacity and offset are set
 * by the caller (at least OUTPUT_PACKET bytes after the offset, and PACKET_MAXIMUM unless fragments that are
 * longer may be lost). False: there is none.
 *
 * First come the pieces of the packets of the last burst that are DIVIDED, in order. They are cut from the
 * burst's own buffers, so they must be pulled before those are used again; then fragments that were HELD and
 * that a packet of the last burst has released. engine_receive forgets what is left of both. Who wants all
 * packets to leave in the order in which they came pulls what packets[i] has led to, if it is DIVIDED or
 * HELD, in its turn, by engine_pull_pieces.
 */
bool engine_pull(struct worker *worker, struct packet *packet);
bool engine_pull_pieces(struct worker *worker, unsigned i, struct packet *packet);

/*
 * Ends what is past its lifetime, a step at a time, never longer than a few hundred microseconds. To be
 * called for every worker of the plane when engine_next_deadline is reached; they sweep the table between
 * them.
 */
void engine_expire(struct worker *worker, nanoseconds now);
nanoseconds engine_next_deadline(const struct worker *worker);

/*
 * Changes the settings while workers run: all of them, within the table's geometry. An instance is known by
 * its prefix, a pool address by itself. Sessions that the new settings allow, in the same instance and with
 * the same pool address and port, live on without losing a packet; the others are ended, and when this
 * returns no packet is translated by them any more. Limits that were lowered end no session.
 *
 * Called from the control plane's thread. It returns when all is done, having waited for a burst to end on
 * each worker if something was taken away; `wait` lets time pass meanwhile. The old settings, and those that
 * were refused, may be freed once engine_quiet(engine) has returned true.
 *
 * False with a sentence if the settings do not fit the geometry, if a new static binding cannot be entered,
 * or if `wait` gave up: then the old settings are in force, but sessions that were to go may have ended. In
 * the last case ports that were to go are not given out before engine_settle(engine) has returned true: to be
 * called now and then, for it does not wait.
 */
enum { ENGINE_ENDINGS = 4 };
enum engine_ending {
    ENDING_INSTANCE = 1, /* no instance has its prefix any more */
    ENDING_ADDRESS,      /* its pool address is not in its instance's pool any more */
    ENDING_PORT,         /* its port, or its protocol, is not of that address any more */
};

struct engine_change {
    const struct settings *settings;
    nanoseconds now;
    bool (*wait)(void *context); /* false: gives up; NULL: looks again at once, and never does */
    /*
     * Has another plane of the table go by these rules as well, and returns when it goes by no others any
     * more; it may be called again with the same. NULL: there is none.
     */
    void (*follow)(void *context, const struct rules *rules);
    void *context;
    uint32_t ended[ENGINE_ENDINGS]; /* how many sessions ended for which reason */
};
bool engine_change(struct engine *engine, struct engine_change *change, char *error, size_t size);
bool engine_quiet(struct engine *engine);
bool engine_settle(struct engine *engine);

/* The same without `wait`. */
bool engine_replace_settings(struct engine *engine, const struct settings *settings, nanoseconds now,
                             char *error, size_t size);

/*
 * Replaces the path MTUs while workers run; settings with MTUs of their own overrule them. Called from the
 * control plane's thread. The old ones may be destroyed once engine_quiet(engine) has returned true.
 */
void engine_replace_paths(struct engine *engine, const struct paths *paths);

/* Counters, summed over all workers; they only grow. */
struct engine_counters {
    uint64_t packets[VERDICT_COUNT];
    uint64_t bytes[VERDICT_COUNT]; /* as received */
    uint64_t icmp_errors_sent;
    uint64_t icmp_errors_suppressed; /* due, but: the rate, no address configured, or the queue full */
    uint64_t pieces_made;            /* of packets that were divided */
    uint64_t stored_syns_displaced;  /* given up unanswered, for newer ones */
    uint64_t probes_sent;            /* TCP keepalive probes, RFC 6146 3.5.2.2 */
    uint64_t sessions_created, sessions_ended;
    uint64_t bindings_created, bindings_ended;
    uint64_t
        half_open_evicted; /* sessions, among those ended: the oldest that was half-open, for a new one */
};
void engine_count(const struct engine *engine, struct engine_counters *counters);

/* Fragments that are held now, over all workers; see engine/fragments.h. */
struct engine_fragments {
    uint32_t datagrams; /* remembered, whether anything of them is held or not */
    uint32_t packets;
    uint64_t bytes; /* of memory */
};
void engine_fragments(const struct engine *engine, struct engine_fragments *fragments);

/* What of a pool address is in use, for one transport. */
struct engine_pool {
    uint32_t instance;
    be32 address;
    uint32_t ports[TRANSPORT_COUNT]; /* that may be given out */
    uint32_t used[TRANSPORT_COUNT];  /* that are given out, static bindings included */
};
uint32_t engine_pool_count(const struct engine *engine);
void engine_pool(const struct engine *engine, uint32_t number, struct engine_pool *pool);

/* One session or binding as a person would see it. */
struct engine_entry {
    bool is_session; /* else a binding: the remote fields are zero */
    bool is_static;  /* binding only */
    uint32_t instance;
    uint8_t transport;
    const char *state; /* sessions: "established", ...; bindings: "static" or "dynamic" */
    struct ipv6_address client;
    struct ipv6_address remote6; /* the remote as the client sees it */
    be32 pool_address, remote4;
    be16 client_port, pool_port, remote_port;
    uint32_t expires_in; /* seconds; 0 for static bindings and for bindings, which live as long as their
                            sessions */
    uint32_t sessions;   /* bindings: how many */
    bool counted;        /* sessions: the rest holds; as received, IP header included */
    uint64_t packets_6to4, bytes_6to4, packets_4to6, bytes_4to6;
};

/*
 * Walks the table in steps: looks at up to `look` records from *position on, writes up to `n` live
 * sessions (or bindings) and moves *position; returns how many were written. The walk is over when
 * *position is engine_capacity(). Called from the control plane's thread; workers run on meanwhile.
 */
uint32_t engine_list(struct engine *engine, bool sessions, uint32_t *position, uint32_t look,
                     struct engine_entry *entries, uint32_t n, nanoseconds now);
uint32_t engine_capacity(const struct engine *engine);

#endif /* ENGINE_ENGINE_H */
