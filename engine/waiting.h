/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * SYNs from outside that may not pass: stored while it is open whether the client calls as well.
 *
 * In a simultaneous open both sides send a SYN at about the same time. When the one from outside comes first,
 * an error would end the attempt. So it is kept for TCP_INCOMING_SYN (RFC 6146 section 3.5.2.2, RFC 5382
 * REQ-4). If meanwhile the client's SYN is translated, it is dropped in silence, and the session
 * begins as established, since both sides have sent theirs; otherwise its sender gets Port Unreachable.
 *
 *        SYN from outside
 *   EMPTY ---------------> STORED ---- the client's SYN, or a newer SYN -----> EMPTY
 *                             +------- the time is over: answered -----------> EMPTY
 *
 * A stored SYN is no session: it takes no record, lets nobody in, and does not outlive the engine.
 *
 * Any worker may receive the client's SYN, so all share the WAITING_SYNS places, in sets of eight by the hash
 * of the flow. A place is a word (32 bits of the hash, when it is due, its phase), changed by
 * compare-and-swap; only who made it BUSY touches the packet beside it. Who stored a SYN answers it; its
 * line, in the order of time, tells it which. A full set or line gives up its oldest in silence.
 */
#ifndef ENGINE_WAITING_H
#define ENGINE_WAITING_H

#include "engine/packet.h"
#include "engine/worker.h"

/* Stores a SYN of this flow (hash_key4), unless one is stored already, for so many seconds. */
void waiting_store(struct worker *worker, const struct packet *packet, const struct description *description,
                   uint64_t hash, uint32_t seconds);

/* The client's SYN for the flow: forgets the one stored. False: there is none. */
bool waiting_claim(struct worker *worker, uint64_t hash);

/* Answers those of this worker whose time is over. */
void waiting_expire(struct worker *worker);

/* When to call waiting_expire next. */
nanoseconds waiting_due(const struct worker *worker);

#endif /* ENGINE_WAITING_H */
