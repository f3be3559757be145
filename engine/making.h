/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Making and ending sessions and bindings. The protocol is explained in engine/sessions.h; here is what
 * changes the table by it, on behalf of one lane. A BPF program includes making.c as well.
 */
#ifndef ENGINE_MAKING_H
#define ENGINE_MAKING_H

#include "engine/pairing.h"
#include "engine/sessions.h"

#ifdef __bpf__
#define MAKING_FUNCTION TABLE_FUNCTION
#else
#define MAKING_FUNCTION
#endif

/* One who changes the table: a worker, with what it has done. No other has its lane at the same time. */
struct actor {
#ifdef __bpf__
    uint64_t table; /* a pointer that lies in memory is just a number there; see table_of() */
#else
    const struct table *table;
#endif
    uint32_t lane;
    uint64_t sessions_created, sessions_ended, bindings_created, bindings_ended;
    uint64_t half_open_evicted;
    struct found rival; /* of a session that is being made; it lies here because BPF's stack has no room */
};

WIRE_INLINE const struct table *table_of(const struct actor *actor)
{
#ifdef __bpf__
    (void)actor;
    return &table_bpf;
#else
    return actor->table;
#endif
}

enum made {
    MADE,
    MADE_LOOK_AGAIN, /* a rival was faster, or the binding has just ended: start over from the look-up */
    MADE_TABLE_FULL,
    MADE_SUBSCRIBER_FULL,
    MADE_INDEX_FULL,
};

/*
 * Makes a session: joining the binding found as `lead`, or with a new binding on the port that the request
 * names and that the caller has claimed, if `lead` is NULL. In that case the port (and what `astray` says)
 * belongs to the binding on success and has been released on failure. On MADE, `made` is the new record.
 */
MAKING_FUNCTION enum made session_make(struct actor *actor, const struct session_request *request,
                                       const struct found *lead, struct found *made);

/*
 * Makes a static binding: `key.client`, `client_port`, `transport`, `instance` and the pool fields of the
 * request. A dynamic binding of the very same client and port becomes static instead and keeps its sessions.
 * False, nothing changed: no room in the table, or the port or the client's port has another binding.
 */
MAKING_FUNCTION bool binding_make_static(struct actor *actor, const struct session_request *request);

/* Ends a session if its word of life still is `life`; returns whether it was the caller who did. */
MAKING_FUNCTION bool session_end(struct actor *actor, uint32_t index, uint64_t life);

/*
 * Takes the configuration's use off a static binding and closes it: it ends with the sessions it has. False:
 * it was none (any more).
 */
MAKING_FUNCTION bool binding_end_static(struct actor *actor, const struct found *lead);

/*
 * Takes a place among the half-open sessions for one about to be made, at the cost of the oldest if need be;
 * false: there is none. In engine/half_open.c.
 */
MAKING_FUNCTION bool half_open_join(struct actor *actor);

/* Enters a session that has a place; false: others were faster in each slot that it might have had. */
MAKING_FUNCTION bool half_open_enter(struct actor *actor, uint32_t index, uint16_t generation);

#endif /* ENGINE_MAKING_H */
