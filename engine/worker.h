/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The engine's own structures, shared by its source files and by nobody else.
 */
#ifndef ENGINE_WORKER_H
#define ENGINE_WORKER_H

#include "engine/divide.h"
#include "engine/engine.h"
#include "engine/making.h"
#include "engine/random.h"
#include "engine/rules.h"
#include "engine/translate.h"
#include "engine/waiting_place.h"

#define NANOSECONDS 1000000000ull /* a second */

/* Packets made and not yet pulled: a ring of fixed buffers. */
struct output {
    uint32_t first, count;
    struct {
        uint32_t length;
        enum verdict why; /* the verdict that called for it; VERDICT_COUNT: a probe */
        uint8_t bytes[OUTPUT_PACKET];
    } packet[OUTPUT_QUEUE];
};

/* Packets of the last burst that are being cut up, in order. */
struct divisions {
    uint32_t first, count; /* those from `first` to `count` - 1 are not at their end */
    struct division division[BURST_MAXIMUM];
};

struct datagram;

/* Datagrams whose held fragments are to be handed out, in the order of the packets that released them. */
struct releases {
    uint32_t first, count;
    struct release {
        struct datagram *datagram; /* NULL: it has ended meanwhile */
        unsigned number;           /* of the packet in the burst */
    } release[BURST_MAXIMUM];
};

/* What a worker knows of captures during a burst; see capture.c. */
struct capturing {
    uint64_t turn; /* atomic */
    struct capture *capture[CAPTURES_MAXIMUM];
    const struct packet *packets;                          /* of the burst under way */
    uint32_t offset[BURST_MAXIMUM], length[BURST_MAXIMUM]; /* of the packets as received */
    uint32_t kept; /* those that were copied whatever becomes of them */
};

/* SYNs from outside that wait for the client's, see engine/waiting.h. */
struct waiting_syn {
    struct description description;
    uint32_t length;
    uint8_t bytes[ICMPV4_ERROR_LENGTH];
};

struct waiting {
    struct waiting_places *places; /* atomic; these, or those of a plane */
    struct waiting_places own __attribute__((aligned(64)));
    struct waiting_syn syn[WAITING_SYNS];
};

/* Those that one worker is to answer, in the order in which they are due. */
struct waiting_turn {
    nanoseconds due;
    uint64_t word; /* that the place must still have */
    uint32_t place;
};

struct waiting_line {
    uint32_t first, count;
    struct waiting_turn turn[WAITING_SYNS];
};

struct worker {
    struct engine *engine;
    struct actor actor;
    struct random random;
    const struct rules *rules;       /* those in force when the burst began */
    const struct settings *settings; /* of those rules */
    const struct rules *holds;       /* atomic; the same while a burst or sweep is under way, else NULL */
    uint64_t passage; /* atomic; counts their beginnings and ends: odd while one is under way */
    const struct paths *holds_paths;         /* atomic; likewise */
    struct translation_settings translation; /* of the settings and paths in force */
    nanoseconds now;
    uint32_t tick;           /* `now` in whole seconds */
    uint16_t identification; /* of the next IPv4 packet made from IPv6 */
    uint32_t sweep;          /* the record the next sweep starts at */
    uint32_t hand;           /* the record that sweep_for_room looked at last */
    nanoseconds deadline;    /* of the next sweep */
    struct engine_counters counters;
    struct output output;
    struct divisions divisions;
    struct releases releases;
    struct fragments *fragments; /* NULL: of the control plane's worker */
    nanoseconds fragments_due;   /* no datagram ends before */
    struct capturing capturing;
    struct waiting_line waiting;
} __attribute__((aligned(64)));

/* A thread that is no worker, see engine/capture.h: what it uses of what may be replaced. */
struct guest {
    uint64_t turn;             /* atomic; as a worker's in struct capturing */
    const struct rules *holds; /* atomic; as a worker's */
} __attribute__((aligned(64)));

/* The captures that are running, and those that some worker or guest may still be using. */
struct captures {
    uint32_t count;                            /* atomic; running */
    struct capture *running[CAPTURES_MAXIMUM]; /* atomic */
    struct capture *made[CAPTURES_MAXIMUM];    /* not yet freed; used by the control plane alone */
    struct guest guest[CAPTURE_GUESTS_MAXIMUM];
};

struct engine {
    struct table *table;
    const struct rules *rules; /* atomic; one of `drafts` */
    const struct paths *paths; /* atomic; may be NULL */
    uint32_t workers;
    struct captures captures;
    struct rules drafts[3]; /* the rules in force, and room for what a change goes through, see change.c */
    bool owes_ports;        /* of the rules in force some are not available yet */
    uint64_t owes_since[WORKERS_MAXIMUM]; /* passages then */
    struct engine_continued continued;
    uint64_t icmp_arrival __attribute__((aligned(64))); /* atomic; rate limit of ICMP errors, see reply.c */
    struct waiting waiting;
    struct worker worker[]; /* workers + 1 */
};

/* --- pool.c: ports for new bindings --- */

/* Does a binding stand on the address that the hash of its client's prefix says? */
bool pool_prefers(const struct table *table, const struct rules *rules, const struct record *lead);

/*
 * Claims a port for a new binding, on the client's address while that has one (RFC 6146 section 3.5.1.1), and
 * writes pool, pool_port, address and astray of the request. False: all are in use.
 */
bool pool_claim(struct worker *worker, struct session_request *request);

/*
 * --- pairing.c: remembers bindings that are astray by the rules about to come into force: all, or one. ---
 */
void pairing_begin(struct worker *control, const struct rules *rules);
void pairing_note(struct worker *control, const struct rules *rules, const struct binding_key *key);

/*
 * --- nat64.c: the policy. What decides returns VERDICT_COUNT if the packet may be translated with *to. ---
 */

/* A packet's flow. `session` is the one found already, or has NO_RECORD as its index; afterwards it is the
 * packet's, if it has one. `ahead` is a request whose port was claimed by nat64_claim_ahead; it becomes NULL
 * when that port is used. */
struct outgoing {
    const struct key6 *key;
    uint64_t hash;
    struct found session;
    struct session_request *ahead;
};

struct incoming {
    const struct packet *packet;
    const struct key4 *key;
    uint64_t hash;
    struct found session;
};

enum verdict nat64_outgoing(struct worker *worker, const struct description *description,
                            struct outgoing *flow, struct endpoints4 *to);
enum verdict nat64_incoming(struct worker *worker, const struct description *description,
                            struct incoming *flow, struct endpoints6 *to);

/*
 * For a packet from the client that seems to have no session: claims the port that a new binding would get
 * and fetches the memory that making it will touch. False: it needs none, or there is none. What is not used
 * goes back by nat64_unclaim.
 */
bool nat64_claim_ahead(struct worker *worker, const struct description *description, const struct key6 *key,
                       struct session_request *request);
void nat64_unclaim(struct worker *worker, const struct session_request *request);

enum verdict nat64_outgoing_error(struct worker *worker, const struct packet *packet,
                                  const struct description *description, const struct description *quoted,
                                  struct error_endpoints4 *to);
enum verdict nat64_incoming_error(struct worker *worker, const struct packet *packet,
                                  const struct description *description, const struct description *quoted,
                                  struct error_endpoints6 *to);

/* --- engine.c --- */

/* Describes the packet that an ICMP error quotes; VERDICT_COUNT, or ICMP_INNER. */
enum verdict describe_quoted(const struct packet *packet, const struct description *error,
                             struct description *quoted);

/* --- expire.c --- */

/* Ends what is past its lifetime among the next few records: a new session needs the room (or what it held)
 * now. */
void sweep_for_room(struct worker *worker);

/* --- recover.c --- */

/*
 * Builds everything but the records anew: from those in the engine's own table, or, if that has none, from
 * copies of those in options->previous. What it finds goes into engine->continued. The rules stand. A
 * sentence if memory is short.
 */
const char *recover(struct engine *engine, const struct engine_options *options);

/*
 * The numbers that the instances have in the engine's own table, as rules without addresses. What they become
 * is written by write_identities, as soon as no record has a number that means something else.
 */
void read_identities(const struct table *table, struct rules *rules);
void write_identities(const struct table *table, const struct rules *rules);

/* --- static_bindings.c --- */

/* Ends the static bindings of `old` that `new` does not have; waits for workers as the change allows. */
void statics_remove(struct worker *control, const struct rules *old, const struct rules *new,
                    const struct engine_change *change);

/* Enters those of the rules that are not there yet; a sentence if one does not fit. NULL: no worker runs. */
const char *statics_add(struct worker *control, const struct rules *rules,
                        const struct engine_change *change);

/* A sentence if one has an address that its instance's pool has not. */
const char *statics_check(const struct rules *rules);

/* --- reply.c: packets that the engine makes --- */

/* Queues the ICMP error that the verdict calls for, if it may be sent. */
void reply_error(struct worker *worker, const struct packet *packet, const struct description *description,
                 enum verdict why);

/* Takes the next packet off the queue, see engine_pull. */
bool reply_pull(struct worker *worker, struct packet *packet);

/* Is there room for another packet in the queue? */
bool reply_has_room(const struct worker *worker);

/* Queues the probe of RFC 6146 section 3.5.2.2 to the client of an established session. */
void reply_probe(struct worker *worker, const struct record *record);

/* --- divide.c: packets cut into fragments --- */

/* Copies the next piece of a division into `packet`, and counts it; false: there is none. */
bool divide_pull(struct worker *worker, struct division *division, struct packet *packet);

/* Packet `number` of the burst, translated and with a fragment header, is to be cut up. */
void divide_begin(struct worker *worker, unsigned number, const struct packet *packet);
/*
 * --- capture.c. A burst that begins while nothing is captured is not captured to its end either. ---
 */

void capture_burst_begins(struct worker *worker, const struct packet packets[], unsigned n);
void capture_burst_ends(struct worker *worker, const struct packet packets[], unsigned n,
                        const enum verdict verdicts[]);
void capture_made(struct worker *worker, const struct packet *packet, enum verdict why);

/* A packet received earlier, and kept until now: inside a burst or sweep. */
void capture_ended(struct worker *worker, const struct packet *packet, enum verdict verdict);

/* Keeps a packet of the burst as it was received: it may be refused after it has been rewritten. */
void capture_before_rewriting(struct worker *worker, const struct packet *packet);

/* When the engine ends. */
void capture_stop_all(struct engine *engine);

WIRE_INLINE bool is_captured(const struct worker *worker)
{
    return __builtin_expect(atomic_load32(&worker->engine->captures.count) > 0, 0);
}

/* The transport of a packet of a kind that nat64 has sessions for. */
WIRE_INLINE uint8_t transport_of_kind(uint8_t kind)
{
    switch (kind) {
    case PACKET_TCP:
        return TRANSPORT_TCP;
    case PACKET_UDP:
        return TRANSPORT_UDP;
    default:
        return TRANSPORT_ICMP;
    }
}

/* The nat64 instance whose prefix the address lies under, or -1. */
WIRE_INLINE int instance_of(const struct settings *settings, const struct ipv6_address *address)
{
    for (uint32_t i = 0; i < settings->nat64_count; i++)
        if (settings->nat64[i].prefix.length != 0 && rfc6052_contains(&settings->nat64[i].prefix, address))
            return (int)i;
    return -1;
}

/*
 * The kernel numbers the segments of a super-packet from its identification on.
 * rfc: 7915-5.1-e
 */
WIRE_INLINE uint16_t next_identification(struct worker *worker, const struct packet *packet)
{
    uint16_t first = worker->identification;
    uint32_t segments =
        packet->offload.gso_type == OFFLOAD_GSO_NONE ? 1 : packet->length / packet->offload.gso_size + 1;
    worker->identification = (uint16_t)(first + segments);
    return first;
}

/* Puts what the settings say of MTUs and what the table of paths says together. */
WIRE_INLINE void worker_find_mtus(struct worker *worker, const struct paths *paths)
{
    struct translation_settings *translation = &worker->translation;
    *translation = worker->settings->translation;
    if (translation->mtu6 == 0) {
        translation->mtu6 = paths != NULL ? paths->ipv6.least : PATH_MTU_UNKNOWN;
        translation->paths6 = paths != NULL ? &paths->ipv6 : NULL;
    }
    if (translation->mtu4 == 0) {
        translation->mtu4 = paths != NULL ? paths->ipv4.least : PATH_MTU_UNKNOWN;
        translation->paths4 = paths != NULL ? &paths->ipv4 : NULL;
    }
}

/*
 * A burst or sweep begins: the settings and paths in force now stay whole until worker_leave. Announced first
 * and looked at again after that, so that whoever replaces them sees the announcement or this sees the new
 * ones; which may stand where older ones stood.
 */
WIRE_INLINE void worker_enter(struct worker *worker, nanoseconds now)
{
    struct engine *engine = worker->engine;
    const struct paths *paths;
    __atomic_store_n(&worker->passage, worker->passage | 1, __ATOMIC_RELAXED);
    do {
        worker->rules = __atomic_load_n(&engine->rules, __ATOMIC_ACQUIRE);
        paths = __atomic_load_n(&engine->paths, __ATOMIC_ACQUIRE);
        __atomic_store_n(&worker->holds_paths, paths, __ATOMIC_RELAXED);
        __atomic_store_n(&worker->holds, worker->rules, __ATOMIC_RELAXED);
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
    } while (worker->rules != __atomic_load_n(&engine->rules, __ATOMIC_ACQUIRE) ||
             paths != __atomic_load_n(&engine->paths, __ATOMIC_ACQUIRE));
    worker->settings = &worker->rules->settings;
    worker_find_mtus(worker, paths);
    worker->now = now;
    worker->tick = (uint32_t)(now / NANOSECONDS);
}

WIRE_INLINE void worker_leave(struct worker *worker)
{
    __atomic_store_n(&worker->holds_paths, NULL, __ATOMIC_RELEASE);
    __atomic_store_n(&worker->holds, NULL, __ATOMIC_RELEASE);
    __atomic_store_n(&worker->passage, (worker->passage | 1) + 1, __ATOMIC_RELEASE);
}

#endif /* ENGINE_WORKER_H */
