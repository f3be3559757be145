/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the actors of shared_test do to the table, in both worlds: compiled into the BPF programs and into the
 * test. An actor's words to and from it lie in a struct call, which BPF programs have in a map, as they would
 * their scratch space: the BPF stack has 512 bytes.
 *
 * Whoever includes this defines the_table().
 */
#ifndef TEST_BPF_OPERATIONS_H
#define TEST_BPF_OPERATIONS_H

#include "engine/making.h"

enum {
    CALLS = 8, /* actors, BPF and user space */
    REFUSALS = 8,
    NO_PORT = MADE_INDEX_FULL + 1, /* one more than `enum made` has */
    ADDRESS_TRIES = 3,
};

enum operation {
    OPERATION_FIND6,
    OPERATION_FIND4, /* of the session found or opened before */
    OPERATION_FIND_BINDING,
    OPERATION_OPEN,
    OPERATION_TOUCH,  /* the session found before */
    OPERATION_END,    /* the same */
    OPERATION_EXPIRE, /* the record `record`, if it is a session past its lifetime */
};

struct call {
    uint64_t random;
    uint32_t operation;
    uint32_t client, remote; /* numbers that keys are made of */
    uint32_t tick, lifetime;
    uint32_t lane;
    uint32_t addresses; /* of the pool, from 198.51.100.0 on */
    uint32_t sessions, sessions_per_subscriber;
    uint32_t record;
    uint32_t clients, remotes; /* churn and measurements choose among so many */
    uint32_t result;           /* of the operation: whether it did, or enum made, or NO_PORT */
    uint64_t opened, joined, ended, touched, refused[REFUSALS];
    struct key6 key;
    struct session_request request;
    struct found lead, session;
    struct actor actor; /* whose room the stack of BPF has not */
};
_Static_assert(sizeof(struct call) == 528, "it looks the same from both worlds");

/* What all actors see. */
struct actors {
    struct call calls[CALLS];
    uint32_t now; /* tick */
    uint32_t stop;
};

#ifdef __bpf__
WIRE_INLINE const struct table *the_table(void);
#else
const struct table *the_table(void);
#endif

WIRE_INLINE uint64_t call_random(struct call *call)
{
    call->random ^= call->random << 13;
    call->random ^= call->random >> 7;
    call->random ^= call->random << 17;
    return call->random * 0x2545f4914f6cdd1dull;
}

WIRE_INLINE void call_make_key(struct call *call)
{
    call->key = (struct key6){.client = {{0x20, 0x01, 0x0d, 0xb8}},
                              .remote = to_be32(0xcb007100u + call->remote),
                              .client_port = to_be16((uint16_t)(1024 + call->client % 50000)),
                              .remote_port = to_be16(53),
                              .transport = TRANSPORT_UDP};
    store_be32(call->key.client.bytes + 12, to_be32(call->client));
}

TABLE_FUNCTION bool call_find6(struct call *call)
{
    if (absent(call))
        return false;
    call_make_key(call);
    return session_find6(the_table(), &call->key, hash_key6(the_table(), &call->key), call->tick,
                         &call->session);
}

TABLE_FUNCTION bool call_find4(struct call *call)
{
    if (absent(call))
        return false;
    struct key4 key = record_key4(&call->session.copy);
    return session_find4(the_table(), &key, hash_key4(the_table(), &key), call->tick, &call->session);
}

TABLE_FUNCTION bool call_find_binding(struct call *call)
{
    if (absent(call))
        return false;
    call_make_key(call);
    struct binding_key key = binding_key_of(&call->key);
    return binding_find(the_table(), &key, call->tick, &call->lead);
}

/* A port of a few of the pool's addresses, from the one on that the client's number picks. */
TABLE_FUNCTION bool call_claim(struct call *call)
{
    if (absent(call) || call->addresses == 0)
        return false;
    for (uint32_t i = 0; i < ADDRESS_TRIES && i < call->addresses; i++) {
        uint32_t address = (call->client + i) % call->addresses;
        struct port_map *map = port_map_at(the_table(), address, TRANSPORT_UDP);
        int port = absent(map) ? -1 : ports_claim(map, call->key.client_port, call_random(call));
        if (port >= 0) {
            call->request.pool = to_be32(0xc6336400u + address);
            call->request.pool_port = to_be16((uint16_t)port);
            call->request.address = (uint16_t)address;
            return true;
        }
    }
    return false;
}

WIRE_INLINE struct actor *call_actor(struct call *call)
{
    call->actor = (struct actor){.lane = call->lane};
#ifndef __bpf__
    call->actor.table = the_table();
#endif
    return &call->actor;
}

enum {
    PREPARED_THERE, /* there is one */
    PREPARED_BOUND,
    PREPARED_CLAIMED,
    PREPARED_NOTHING,
};

/* Looks up, joins or claims. */
TABLE_FUNCTION int call_prepare(struct call *call)
{
    if (absent(call))
        return PREPARED_NOTHING;
    if (call_find6(call))
        return PREPARED_THERE;
    bool bound = call_find_binding(call);
    call->request = (struct session_request){.key = call->key,
                                             .tick = call->tick,
                                             .expires = call->tick + call->lifetime,
                                             .sessions = call->sessions,
                                             .sessions_per_subscriber = call->sessions_per_subscriber};
    if (bound)
        return PREPARED_BOUND;
    return call_claim(call) ? PREPARED_CLAIMED : PREPARED_NOTHING;
}

/* What the policy does; again if a rival was in the way. Making a session takes all eight frames of BPF. */
WIRE_INLINE uint32_t call_open(struct call *call)
{
    struct actor *actor = call_actor(call);
    uint32_t made = MADE_LOOK_AGAIN;
    for (unsigned tries = 0; tries < CREATE_TRIES && made == MADE_LOOK_AGAIN; tries++) {
        int prepared = call_prepare(call);
        if (prepared == PREPARED_THERE)
            return MADE;
        if (prepared == PREPARED_NOTHING)
            return NO_PORT;
        bool bound = prepared == PREPARED_BOUND;
        made = session_make(actor, &call->request, bound ? &call->lead : NULL, &call->session);
        if (made == MADE) {
            call->opened++;
            call->joined += bound;
        }
    }
    return made;
}

TABLE_FUNCTION bool call_end(struct call *call, uint32_t index, uint64_t life)
{
    if (absent(call))
        return false;
    bool ended = session_end(call_actor(call), index, life);
    call->ended += ended;
    return ended;
}

WIRE_INLINE bool call_expire(struct call *call)
{
    const struct record *record = record_at(the_table(), call->record);
    uint64_t life = absent(record) ? 0 : atomic_load64(&record->life);
    return life_phase(life) == PHASE_LIVE && life_expires(life) < call->tick &&
           call_end(call, call->record, life);
}

WIRE_INLINE bool call_touch(struct call *call)
{
    bool touched = session_touch(the_table(), &call->session, call->tick + call->lifetime, 0);
    call->touched += touched;
    return touched;
}

/* One operation as the call says. */
WIRE_INLINE uint32_t call_perform(struct call *call)
{
    if (absent(call))
        return 0;
    switch ((enum operation)call->operation) {
    case OPERATION_FIND6:
        return call_find6(call);
    case OPERATION_FIND4:
        return call_find4(call);
    case OPERATION_FIND_BINDING:
        return call_find_binding(call);
    case OPERATION_OPEN:
        return call_open(call);
    case OPERATION_TOUCH:
        return call_touch(call);
    case OPERATION_END:
        return call_end(call, call->session.index, call->session.copy.life);
    case OPERATION_EXPIRE:
    default:
        return call_expire(call);
    }
}

/* One random operation on a few keys, so that actors meet all the time. */
WIRE_INLINE uint32_t call_churn(struct call *call, uint32_t tick)
{
    if (absent(call) || call->clients == 0 || call->remotes == 0)
        return 0;
    uint64_t dice = call_random(call);
    call->tick = tick;
    call->client = (uint32_t)(dice & 0xffff) % call->clients;
    call->remote = (uint32_t)((dice >> 16) & 0xffff) % call->remotes;
    uint32_t choice = (uint32_t)(dice >> 32) % 8;
    if (choice == 0) { /* what the sweeper does */
        call->record = (uint32_t)(dice >> 40) % the_table()->constants.records;
        return call_expire(call);
    }
    if (choice < 5) {
        uint32_t made = call_open(call);
        if (made != MADE)
            call->refused[below(REFUSALS, made)]++;
        return made;
    }
    if (!call_find6(call))
        return 0;
    return choice < 7 ? call_end(call, call->session.index, call->session.copy.life) : call_touch(call);
}

#endif /* TEST_BPF_OPERATIONS_H */
