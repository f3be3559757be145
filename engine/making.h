/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Making and ending sessions and bindings. The protocol is explained in engine/sessions.h; here is what
 * changes the table by it, on behalf of one lane.
 */
#ifndef ENGINE_MAKING_H
#define ENGINE_MAKING_H

#include "engine/sessions.h"
#include "engine/subscribers.h"

/* One who changes the table: a worker, with what it has done. */
struct actor {
    const struct table *table;
    uint32_t lane;
    uint64_t sessions_created, sessions_ended, bindings_created, bindings_ended;
};

enum made {
    MADE,
    MADE_LOOK_AGAIN, /* a rival was faster, or the binding has just ended: start over from the look-up */
    MADE_TABLE_FULL,
    MADE_SUBSCRIBER_FULL,
    MADE_INDEX_FULL,
};

/*
 * Makes a session: joining the binding found as `lead`, or with a new binding on the port that the request
 * names and that the caller has claimed, if `lead` is NULL. In that case the port belongs to the binding on
 * success and has been released on failure. On MADE, `made` is the new record.
 */
enum made session_make(struct actor *actor, const struct session_request *request, const struct found *lead,
                       struct found *made);

/*
 * Makes a static binding: `key.client`, `client_port`, `transport`, `instance` and the pool fields of the
 * request. A dynamic binding of the very same client and port becomes static instead and keeps its sessions.
 * False, nothing changed: no room in the table, or the port or the client's port has another binding.
 */
bool binding_make_static(struct actor *actor, const struct session_request *request);

/* Ends a session if its word of life still is `life`; returns whether it was the caller who did. */
bool session_end(struct actor *actor, uint32_t index, uint64_t life);

/* Takes the configuration's use off a static binding and closes it: it ends with the sessions it has. */
void binding_end_static(struct actor *actor, const struct found *lead);

#endif /* ENGINE_MAKING_H */
