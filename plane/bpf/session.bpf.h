/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a packet does to its session in the table: the same as in engine/nat64.c.
 */
#ifndef PLANE_BPF_SESSION_BPF_H
#define PLANE_BPF_SESSION_BPF_H

#include "engine/lifetime.h"
#include "plane/bpf/packet.bpf.h"
#include "plane/bpf/programs.bpf.h"

/*
 * Moves the state and end of the processor's session, which within a second nearly always are what they
 * were. False: it has ended since it was found, or this packet makes it half-open again.
 */
TABLE_FUNCTION bool change_life(struct processor *processor, const struct nat64_timeouts *timeouts,
                                const struct passing *passing)
{
    if (absent(processor) || absent(timeouts) || absent(passing))
        return false;
    struct found *session = &processor->session;
    for (size_t tries = 0; tries < CREATE_TRIES; tries++) {
        uint64_t next = lifetime_after(timeouts, &session->copy, passing);
        if (state_is_half_open(life_state(next)) && !state_is_half_open(life_state(session->copy.life)))
            return false;
        if (session_touch(&table_bpf, session, life_expires(next), life_state(next)))
            return true;
        const struct record *record = record_at(&table_bpf, session->index);
        uint64_t life = absent(record) ? 0 : atomic_load64(&record->life);
        if (life_phase(life) != PHASE_LIVE || life_generation(life) != life_generation(session->copy.life))
            return false;
        session->copy.life = life;
    }
    return true; /* others have refreshed it as often */
}

/* A session just made is as the packet made it. */
WIRE_INLINE bool refresh(const struct arrival *arrival, bool from_ipv6)
{
    struct processor *processor = arrival->processor;
    const struct record *session = &processor->session.copy;
    if (arrival->opened == OPENED_PASS)
        return true;
    const struct plane_instance *instance = instance_at(arrival->plane, session->instance);
    struct passing passing = {.tick = arrival->tick, .from_ipv6 = from_ipv6, .tcp_flags = arrival->tcp_flags};
    return arrival->opened || lifetime_after(&instance->timeouts, session, &passing) == session->life ||
           change_life(processor, &instance->timeouts, &passing);
}

/* What the session has carried, if anybody wants to know. */
WIRE_INLINE void count_traffic(const struct arrival *arrival, bool from_ipv6)
{
    const struct found *session = &arrival->processor->session;
    if (arrival->opened == OPENED_PASS || !table_bpf.constants.counters ||
        !instance_at(arrival->plane, session->copy.instance)->counters)
        return;
    struct traffic *traffic = traffic_at(&table_bpf, session->index);
    if (absent(traffic))
        return;
    (void)atomic_add64(from_ipv6 ? &traffic->packets6 : &traffic->packets4, 1);
    (void)atomic_add64(from_ipv6 ? &traffic->bytes6 : &traffic->bytes4, arrival->length);
}

/*
 * A packet without a session goes on in another program, which makes it and comes back: the stack of BPF has
 * no room for both. Returns only if there is no such program, or the packet has come back already.
 */
WIRE_INLINE void open_session(const struct arrival *arrival, uint32_t program)
{
    if (arrival->opened != OPENED_NOT)
        return;
    arrival->processor->network = arrival->network;
    arrival->processor->length = arrival->length;
    bpf_tail_call(arrival->skb, &programs, program);
}

#endif /* PLANE_BPF_SESSION_BPF_H */
