/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sessions made in the kernel, by the protocol of engine/sessions.h, of which the code is the engine's. The
 * policy is that of engine/nat64.c: join the client's binding, or else claim a port (claim.bpf.h); when there
 * is no room, look for sessions that have expired and try once more; or else refuse (refuse.bpf.h).
 *
 *     translate_* -- no session --> open_* -- made, or none is needed --> translate_*
 *                                      \-- refused --> nobody, or the engine, if it is to answer
 *
 * These are programs of their own, reached by tail calls, since making a session takes nearly all of the
 * stack, and all eight frames: so the programs call session_make themselves. The packet is not looked at
 * again: its key and headers are the processor's.
 */
#ifndef PLANE_BPF_OPEN_BPF_H
#define PLANE_BPF_OPEN_BPF_H

#include "engine/half_open.c"
#include "engine/lifetime.h"
#include "engine/making.c"
#include "engine/opening.h"
#include "engine/permissions.h"
#include "plane/bpf/claim.bpf.h"
#include "plane/bpf/packet.bpf.h"
#include "plane/bpf/programs.bpf.h"
#include "plane/bpf/refuse.bpf.h"
#include "plane/bpf/session.bpf.h"

enum {
    ATTEMPTS = CREATE_TRIES + 1, /* at a session; one of them finds no room, which is then looked for */
    RIVAL_LOOKS = 32,            /* for the session of a rival, at most, after each */
};

/* What is to become of a packet that has no session. */
enum prepared {
    PREPARED_LEAD,    /* a session of the binding in processor->lead is to be made */
    PREPARED_CLAIM,   /* one with a new binding, for which a port is to be claimed */
    PREPARED_PASS,    /* it passes without one, by what is in processor->session */
    PREPARED_OF_HOST, /* none of ours: the address is the host's own as well */
    PREPARED_VERDICT, /* and above: it is refused with the verdict of that number more */
};

/* --- room ------------------------------------------------------------------------------------------- */

/* Ends a session past its lifetime; returns whether there was one. */
TABLE_FUNCTION bool expire(struct actor *actor, uint32_t index, uint32_t tick)
{
    const struct record *record = record_at(&table_bpf, index);
    if (absent(actor) || absent(record))
        return false;
    uint64_t life = atomic_load64(&record->life);
    return life_phase(life) == PHASE_LIVE && life_expires(life) < tick && session_end(actor, index, life);
}

/*
 * As sweep_for_room of the engine: sessions that have expired but are not yet swept count, so before a new
 * one is refused some of them are looked for. While no daemon runs nobody else does. If again and again there
 * are none, this is left out for a while: the table is full of live ones, and to look costs more than all
 * else.
 */
TABLE_FUNCTION bool sweep(struct processor *processor)
{
    if (absent(processor) || !can_spend(processor, BUDGET_SWEEPS, BARREN_SWEEPS))
        return false;
    uint32_t used = records_used(&table_bpf), ended = 0;
    for (size_t i = 0; i < SWEEP_FOR_ROOM && i < used; i++) {
        processor->hand = processor->hand + 1 < used ? processor->hand + 1 : 0;
        ended += expire(&processor->actor, processor->hand, processor->request.tick);
    }
    if (ended == 0)
        spend(processor, BUDGET_SWEEPS);
    return ended != 0;
}

/* --- before and after ------------------------------------------------------------------------------- */

/* As new_request of the engine. */
WIRE_INLINE void fill_request(struct processor *processor, const struct plane_settings *plane,
                              const struct passing *passing)
{
    const struct key6 *key = &processor->key6;
    const struct plane_instance *instance = instance_at(plane, key->instance);
    uint32_t sessions = instance->sessions, own = instance->sessions_per_subscriber;
    bool ipv6 = passing->from_ipv6;
    processor->request = (struct session_request){
        .key = *key,
        .tick = passing->tick,
        .expires = lifetime_first(&instance->timeouts, key->transport, passing->tick),
        .state = state_first(key->transport, ipv6),
        .sessions = ipv6 ? sessions : share_of_outside(sessions),
        .sessions_per_subscriber = ipv6 ? own : share_of_outside(own)};
}

/* A packet passes with the addresses of the binding found, but for the remote, which is that of its key. */
WIRE_INLINE int pass_by_lead(struct processor *processor)
{
    processor->session = processor->lead;
    processor->session.copy.remote = processor->key6.remote;
    processor->session.copy.remote_port = processor->key6.remote_port;
    return PREPARED_PASS;
}

WIRE_INLINE void count_made(struct processor *processor)
{
    const struct actor *actor = &processor->actor;
    struct plane_counters *counters = &processor->counters;
    counters->sessions_created = actor->sessions_created;
    counters->sessions_ended = actor->sessions_ended;
    counters->bindings_created = actor->bindings_created;
    counters->bindings_ended = actor->bindings_ended;
    counters->half_open_evicted = actor->half_open_evicted;
}

/* Back to the program that the packet came from. */
WIRE_INLINE int go_back(struct __sk_buff *skb, struct processor *processor,
                        const struct plane_settings *plane, enum opened opened)
{
    uint32_t back = processor->network == 0 ? PROGRAM_PLAIN : PROGRAM_ETHERNET;
    processor->opened = opened;
    bpf_tail_call(skb, &programs, processor->between != 0 ? PROGRAM_BETWEEN : back);
    processor->opened = OPENED_NOT;
    return to_engine(processor, plane);
}

/* Takes the lane of the processor, which it may share; false: there are none. */
WIRE_INLINE bool take_lane(struct processor *processor, const struct plane_settings *plane)
{
    if (plane->lanes == 0)
        return false;
    processor->actor.lane = plane->lane + bpf_get_smp_processor_id() % plane->lanes;
    return true;
}

/* --- from the client -------------------------------------------------------------------------------- */

TABLE_FUNCTION int prepare_outgoing(struct processor *processor, const struct plane_settings *plane)
{
    if (absent(processor) || absent(plane))
        return PREPARED_VERDICT;
    uint32_t tick = clock_now(processor, plane)->tick;
    const struct passing passing = {.tick = tick, .from_ipv6 = true};
    const struct key6 *key = &processor->key6;
    const struct tcp_header *tcp = (const void *)processor->transport;
    struct binding_key binding = binding_key_of(key);
    bool bound = binding_find(&table_bpf, &binding, tick, &processor->lead);
    if (!flags_open(key->transport == TRANSPORT_TCP, tcp->flags))
        return bound ? pass_by_lead(processor) : PREPARED_VERDICT + VERDICT_NO_SESSION;
    fill_request(processor, plane, &passing);
    return bound ? PREPARED_LEAD : PREPARED_CLAIM;
}

/*
 * If the other side's SYN was here first, both have sent theirs now; compare meet_waiting of the engine.
 * rfc: 6146-3.5.2.2-g, 5382-REQ2-b
 */
TABLE_FUNCTION bool meet_waiting(struct processor *processor, const struct plane_settings *plane)
{
    uint32_t zero = 0;
    struct waiting_places *places = bpf_map_lookup_elem(&waiting, &zero);
    if (absent(processor) || absent(plane) || absent(places))
        return false;
    const struct record *session = &processor->session.copy;
    if (session->transport != TRANSPORT_TCP || !waiting_empty(places, hash_record4(&table_bpf, session)))
        return false;
    struct passing passing = {.tick = processor->request.tick, .tcp_flags = TCP_SYN};
    return change_life(processor, &instance_at(plane, session->instance)->timeouts, &passing);
}

/* Has a rival made the session? */
TABLE_FUNCTION bool is_there(struct processor *processor)
{
    if (absent(processor))
        return false;
    const struct key6 *key = &processor->key6;
    return session_find6(&table_bpf, key, hash_key6(&table_bpf, key), processor->request.tick,
                         &processor->session);
}

/*
 * The same, looked for a while, now a longer and now a shorter one. Two processors that begin with the same
 * flow or client's port at once stop each other; if both went on at once, they would do so again and again.
 */
TABLE_FUNCTION bool await_rival(struct processor *processor, const struct plane_settings *plane)
{
    if (absent(processor) || absent(plane))
        return false;
    size_t looks = draw_random(processor, plane) % RIVAL_LOOKS;
    for (size_t i = 0; i < RIVAL_LOOKS && i <= looks; i++)
        if (is_there(processor))
            return true;
    return false;
}

/* Makes what was prepared. VERDICT_COUNT: it is there. */
WIRE_INLINE enum verdict make_prepared(struct processor *processor, const struct plane_settings *plane,
                                       int prepared)
{
    /* The compiler is to work out the places of what follows here, and not to keep them on the stack. */
    __asm__ volatile("" : "+r"(processor));
    const struct found *lead = prepared == PREPARED_LEAD ? &processor->lead : NULL;
    enum made made = session_make(&processor->actor, &processor->request, lead, &processor->session);
    if (made == MADE_LOOK_AGAIN && await_rival(processor, plane))
        return VERDICT_COUNT;
    return verdict_of_making(made);
}

/* May room help? */
WIRE_INLINE bool lacks_room(enum verdict verdict)
{
    return verdict == VERDICT_TABLE_FULL || verdict == VERDICT_SUBSCRIBER_FULL ||
           verdict == VERDICT_PORTS_EXHAUSTED;
}

WIRE_INLINE int open_from_client(struct __sk_buff *skb)
{
    struct processor *processor = processor_here();
    const struct plane_settings *plane = settings_now();
    enum verdict verdict = VERDICT_CONTENTION;
    bool swept = false;
    if (absent(processor) || absent(plane))
        return TC_ACT_SHOT;
    const struct ipv6_address *client = &processor->key6.client;
    if (ipv6_illegal_source(client) || ipv6_is_link_local(client))
        return drop_packet(skb, processor, VERDICT_BAD_SOURCE);
    if (ipv4_illegal_source(processor->key6.remote))
        return refuse_packet(skb, processor, plane, VERDICT_BAD_DESTINATION);
    if (!take_lane(processor, plane))
        return to_engine(processor, plane);
    for (size_t attempt = 0; attempt < ATTEMPTS; attempt++) {
        int prepared = prepare_outgoing(processor, plane);
        if (prepared == PREPARED_PASS)
            return go_back(skb, processor, plane, OPENED_PASS);
        if (prepared == PREPARED_CLAIM && !claim(processor, plane))
            prepared = PREPARED_VERDICT + VERDICT_PORTS_EXHAUSTED;
        verdict = prepared < PREPARED_VERDICT ? make_prepared(processor, plane, prepared)
                                              : (enum verdict)(prepared - PREPARED_VERDICT);
        if (verdict == VERDICT_CONTENTION)
            continue;
        if (swept || !lacks_room(verdict) || !sweep(processor))
            break;
        swept = true;
    }
    count_made(processor);
    if (verdict != VERDICT_COUNT)
        return refuse_packet(skb, processor, plane, verdict);
    (void)meet_waiting(processor, plane);
    return go_back(skb, processor, plane, OPENED_SESSION);
}

/* --- from outside ----------------------------------------------------------------------------------- */

/* The key of a session between the binding found and the remote of the packet. */
WIRE_INLINE void make_key_from_lead(struct processor *processor)
{
    const struct record *lead = &processor->lead.copy;
    processor->key6 = (struct key6){.remote = processor->key4.remote,
                                    .client_port = lead->client_port,
                                    .remote_port = processor->key4.remote_port,
                                    .transport = lead->transport,
                                    .instance = lead->instance};
    copy_words(&processor->key6.client, &lead->client, sizeof(lead->client));
}

/* rfc: 6146-3.5.1-e, 6146-3.5.1-g, 6146-3.5.1-i, 6146-3.5.3-d, 6146-3.5.3-e, 4787-REQ8-a */
TABLE_FUNCTION int prepare_incoming(struct processor *processor, const struct plane_settings *plane)
{
    if (absent(processor) || absent(plane))
        return PREPARED_VERDICT;
    uint32_t tick = clock_now(processor, plane)->tick;
    const struct key4 *key = &processor->key4;
    const struct tcp_header *tcp = (const void *)processor->transport;
    const struct passing passing = {.tick = tick};
    struct plane_address address;
    if (!pool_address(plane, key->pool, &address))
        return PREPARED_VERDICT + VERDICT_NOT_OURS;
    const struct plane_instance *instance = instance_at(plane, address.instance);
    bool bound =
        binding_find4(&table_bpf, address.place, key->transport, key->pool_port, tick, &processor->lead);
    if (!bound && address.shared)
        return PREPARED_OF_HOST;
    if (ipv4_illegal_source(key->remote))
        return PREPARED_VERDICT + VERDICT_BAD_SOURCE;
    if (!bound)
        return PREPARED_VERDICT + VERDICT_NO_BINDING;
    if (instance->refuses_local && ipv4_is_non_global(key->remote))
        return PREPARED_VERDICT + VERDICT_NON_GLOBAL;
    if (instance->filtering == FILTERING_ADDRESS_DEPENDENT &&
        !permission_granted(&table_bpf, &processor->lead.copy, key->remote, tick))
        return PREPARED_VERDICT + VERDICT_FILTERED;
    make_key_from_lead(processor);
    if (!flags_open(key->transport == TRANSPORT_TCP, tcp->flags))
        return pass_by_lead(processor);
    fill_request(processor, plane, &passing);
    return PREPARED_LEAD;
}

WIRE_INLINE int open_from_outside(struct __sk_buff *skb)
{
    struct processor *processor = processor_here();
    const struct plane_settings *plane = settings_now();
    enum verdict verdict = VERDICT_CONTENTION;
    bool swept = false;
    if (absent(processor) || absent(plane))
        return TC_ACT_SHOT;
    if (!take_lane(processor, plane))
        return to_engine(processor, plane);
    for (size_t attempt = 0; attempt < ATTEMPTS; attempt++) {
        int prepared = prepare_incoming(processor, plane);
        if (prepared == PREPARED_OF_HOST) {
            atomic_count(&processor->counters.passed, 1);
            return LET_PASS;
        }
        if (prepared == PREPARED_PASS)
            return go_back(skb, processor, plane, OPENED_PASS);
        if (prepared >= PREPARED_VERDICT) {
            verdict = (enum verdict)(prepared - PREPARED_VERDICT);
            break;
        }
        verdict = make_prepared(processor, plane, prepared);
        if (verdict == VERDICT_CONTENTION)
            continue;
        if (swept || !lacks_room(verdict) || !sweep(processor))
            break;
        swept = true;
    }
    count_made(processor);
    return verdict == VERDICT_COUNT ? go_back(skb, processor, plane, OPENED_SESSION)
                                    : keep_out(skb, processor, plane, verdict);
}

#endif /* PLANE_BPF_OPEN_BPF_H */
