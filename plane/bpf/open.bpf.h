/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sessions made in the kernel, by the protocol of engine/sessions.h, of which the code is the engine's. As in
 * engine/nat64.c: join the client's binding, or else claim a port at the pool address that its hash says.
 *
 *     translate_* -- no session --> open_* -- made --> translate_*, which finds it
 *                                      \-- anything else --> the engine
 *
 * These are programs of their own, reached by tail calls, since making a session takes nearly all of the
 * stack. The packet is not looked at again: its key and headers are the processor's.
 *
 * The engine makes the sessions of clients that have a static binding, or bindings on another pool address
 * than their hash says, or whose address has no free port; and it refuses.
 */
#ifndef PLANE_BPF_OPEN_BPF_H
#define PLANE_BPF_OPEN_BPF_H

#include "engine/half_open.c"
#include "engine/lifetime.h"
#include "engine/making.c"
#include "plane/bpf/packet.bpf.h"
#include "plane/bpf/programs.bpf.h"
#include "plane/bpf/session.bpf.h"

/* Where the packet may not be from or to; the engine says why. */
WIRE_INLINE bool is_illegal(const struct processor *processor)
{
    const struct ipv6_address *client = &processor->key6.client;
    return ipv6_illegal_source(client) || ipv6_is_link_local(client) ||
           ipv4_illegal_source(processor->key6.remote);
}

/* The pool address that the hash of the client's prefix says, if the client may have it. */
WIRE_INLINE const struct plane_address *preferred_address(const struct plane_settings *plane,
                                                          const struct plane_instance *instance,
                                                          const struct key6 *key)
{
    uint64_t hash = hash_subscriber(&table_bpf, &key->client, instance->subscriber_prefix, key->instance);
    uint32_t start = (uint32_t)(((hash >> 32) * instance->count) >> 32);
    uint32_t number = plane->version * POOL_ADDRESSES_MAXIMUM + instance->first + start;
    if (instance->count == 0 || instance->statics != 0)
        return NULL;
    return bpf_map_lookup_elem(&order, &number);
}

/* Has the client bindings on other addresses? */
TABLE_FUNCTION bool is_astray(const struct key6 *key)
{
    if (absent(key))
        return true;
    if (!pairing_needed(&table_bpf))
        return false;
    struct subscriber_walk walk = pairing_start(&table_bpf, &key->client, key->instance);
    return pairing_next(&table_bpf, &walk) >= 0;
}

/* Numbers that processors draw from the one secret differ because what they count does. */
WIRE_INLINE uint64_t draw_random(struct processor *processor, const struct plane_settings *plane)
{
    struct random random = {.key = {plane->secret[0], plane->secret[1]},
                            .counter = (uint64_t)bpf_get_smp_processor_id() << 48 | processor->drawn++};
    return random_next(&random);
}

/* rfc: 6146-3.5.1.1-a */
TABLE_FUNCTION bool claim_port(struct processor *processor, const struct plane_settings *plane)
{
    if (absent(processor) || absent(plane))
        return false;
    struct session_request *request = &processor->request;
    const struct plane_address *address =
        preferred_address(plane, instance_at(plane, request->key.instance), &request->key);
    if (absent(address) || is_astray(&request->key))
        return false;
    struct port_map *map = port_map_at(&table_bpf, address->place, request->key.transport);
    int port = absent(map) ? -1 : ports_claim(map, request->key.client_port, draw_random(processor, plane));
    if (port < 0)
        return false;
    request->pool = address->address;
    request->pool_port = to_be16((uint16_t)port);
    request->address = address->place;
    return true;
}

/* As new_request of the engine: packets from outside may use three quarters of each limit. */
WIRE_INLINE void fill_request(struct processor *processor, const struct plane_settings *plane,
                              const struct passing *passing)
{
    const struct key6 *key = &processor->key6;
    const struct plane_instance *instance = instance_at(plane, key->instance);
    uint32_t sessions = instance->sessions, own = instance->sessions_per_subscriber;
    bool tcp = key->transport == TRANSPORT_TCP, ipv6 = passing->from_ipv6;
    processor->request = (struct session_request){
        .key = *key,
        .tick = passing->tick,
        .expires = lifetime_first(&instance->timeouts, key->transport, passing->tick),
        .state = !tcp   ? TCP_NONE
                 : ipv6 ? TCP_V6_INIT
                        : TCP_V4_INIT,
        .sessions = ipv6 ? sessions : sessions - sessions / 4,
        .sessions_per_subscriber = ipv6 ? own : own - own / 4};
}

/* The request for a session with the client's binding, if it has one, or else with a port claimed for it. */
enum departure {
    DEPARTURE_BOUND,
    DEPARTURE_CLAIMED,
    DEPARTURE_ELSE, /* the engine will see */
};

TABLE_FUNCTION int prepare_departure(struct processor *processor, const struct plane_settings *plane,
                                     uint32_t tick)
{
    if (absent(processor) || absent(plane))
        return DEPARTURE_ELSE;
    const struct passing passing = {.tick = tick, .from_ipv6 = true};
    struct binding_key binding = binding_key_of(&processor->key6);
    fill_request(processor, plane, &passing);
    if (binding_find(&table_bpf, &binding, tick, &processor->lead))
        return DEPARTURE_BOUND;
    return claim_port(processor, plane) ? DEPARTURE_CLAIMED : DEPARTURE_ELSE;
}

/* One attempt; MADE_LOOK_AGAIN if a rival was in the way. */
WIRE_INLINE enum made make_outgoing(struct processor *processor, const struct plane_settings *plane,
                                    uint32_t tick)
{
    int departure = prepare_departure(processor, plane, tick);
    if (departure == DEPARTURE_ELSE)
        return MADE_TABLE_FULL;
    return session_make(&processor->actor, &processor->request,
                        departure == DEPARTURE_BOUND ? &processor->lead : NULL, &processor->session);
}

/*
 * If the other side's SYN was here first, both have sent theirs now; compare meet_waiting of the engine.
 * rfc: 6146-3.5.2.2-g, 5382-REQ2-b
 */
TABLE_FUNCTION bool meet_waiting(struct processor *processor, const struct plane_settings *plane,
                                 uint32_t tick)
{
    uint32_t zero = 0;
    struct waiting_places *places = bpf_map_lookup_elem(&waiting, &zero);
    if (absent(processor) || absent(plane) || absent(places))
        return false;
    const struct record *session = &processor->session.copy;
    if (session->transport != TRANSPORT_TCP || !waiting_empty(places, hash_record4(&table_bpf, session)))
        return false;
    struct passing passing = {.tick = tick, .tcp_flags = TCP_SYN};
    return change_life(processor, &instance_at(plane, session->instance)->timeouts, &passing);
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

/* Back to the program that the packet came from, if its session was made. */
WIRE_INLINE int go_back(struct __sk_buff *skb, struct processor *processor,
                        const struct plane_settings *plane, enum made made)
{
    count_made(processor);
    if (made != MADE)
        return to_engine(processor, plane);
    processor->opened = 1;
    bpf_tail_call(skb, &programs, processor->network == 0 ? PROGRAM_PLAIN : PROGRAM_ETHERNET);
    processor->opened = 0;
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

WIRE_INLINE int open_from_client(struct __sk_buff *skb)
{
    struct processor *processor = processor_here();
    const struct plane_settings *plane = settings_now();
    if (absent(processor) || absent(plane))
        return TC_ACT_SHOT;
    uint32_t tick = tick_now(plane);
    enum made made = MADE_LOOK_AGAIN;
    if (!take_lane(processor, plane) || is_illegal(processor))
        return to_engine(processor, plane);
    for (size_t tries = 0; tries < CREATE_TRIES && made == MADE_LOOK_AGAIN; tries++)
        made = make_outgoing(processor, plane, tick);
    if (made == MADE)
        (void)meet_waiting(processor, plane, tick);
    return go_back(skb, processor, plane, made);
}

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

/* What is to become of a packet from outside that has no session. */
enum visit {
    VISIT_WELCOME, /* a session of the binding found is to be made */
    VISIT_NO_BINDING,
    VISIT_OF_HOST, /* the same, where the address is the host's own: it is the host's */
    VISIT_ELSE,    /* the engine will see */
};

/*
 * With filtering by address the engine decides, which may have to store the packet.
 * rfc: 6146-3.5.1-e, 6146-3.5.1-i, 6146-3.5.3-d, 4787-REQ8-a
 */
TABLE_FUNCTION int receive_visit(struct processor *processor, const struct plane_settings *plane,
                                 uint32_t tick)
{
    if (absent(processor) || absent(plane))
        return VISIT_ELSE;
    const struct key4 *key = &processor->key4;
    struct plane_address address;
    if (!pool_address(plane, key->pool, &address))
        return VISIT_ELSE;
    const struct plane_instance *instance = instance_at(plane, address.instance);
    if (!binding_find4(&table_bpf, address.place, key->transport, key->pool_port, tick, &processor->lead))
        return address.shared ? VISIT_OF_HOST : VISIT_NO_BINDING;
    const struct tcp_header *tcp = (const void *)processor->transport;
    if (!opens(key->transport == TRANSPORT_TCP, tcp->flags) ||
        instance->filtering != FILTERING_ENDPOINT_INDEPENDENT ||
        (instance->refuses_local && ipv4_is_non_global(key->remote)))
        return VISIT_ELSE;
    const struct passing passing = {.tick = tick};
    make_key_from_lead(processor);
    fill_request(processor, plane, &passing);
    return VISIT_WELCOME;
}

/* Nobody has the port, and nobody hears of it: a SYN is stored instead, which the engine does. */
WIRE_INLINE bool is_lost(const struct processor *processor)
{
    const uint8_t opening = TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN;
    const struct tcp_header *tcp = (const void *)processor->transport;
    return processor->key4.transport != TRANSPORT_TCP || (tcp->flags & opening) != TCP_SYN;
}

WIRE_INLINE int open_from_outside(struct __sk_buff *skb)
{
    struct processor *processor = processor_here();
    const struct plane_settings *plane = settings_now();
    if (absent(processor) || absent(plane))
        return TC_ACT_SHOT;
    int visit = receive_visit(processor, plane, tick_now(plane));
    if (visit == VISIT_OF_HOST) {
        atomic_count(&processor->counters.passed, 1);
        return LET_PASS;
    }
    if (!take_lane(processor, plane) || ipv4_illegal_source(processor->key4.remote))
        return to_engine(processor, plane);
    if (visit == VISIT_NO_BINDING && is_lost(processor)) {
        count_packet(processor, VERDICT_NO_BINDING, processor->length);
        capture_dropped(skb, processor, VERDICT_NO_BINDING);
        return TC_ACT_SHOT;
    }
    enum made made = MADE_LOOK_AGAIN;
    if (visit == VISIT_WELCOME)
        made = session_make(&processor->actor, &processor->request, &processor->lead, &processor->session);
    return go_back(skb, processor, plane, made);
}

#endif /* PLANE_BPF_OPEN_BPF_H */
