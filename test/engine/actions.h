/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A small engine, and the things that actors do to its table, for tests that stop them in between. To be
 * included after test/engine/steps.h.
 *
 * One or two instances with a pool address each, few ports, few sessions: everything is near its end.
 */
#ifndef TEST_ENGINE_ACTIONS_H
#define TEST_ENGINE_ACTIONS_H

#include "engine/tcp_state.h"
#include "engine/worker.h"
#include "test/engine/audit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum {
    ACTION_TRIES = 64,
    ACTION_STATIC_PORT = 80,
    ACTION_LIFETIME = 10,
};

struct stage {
    struct settings settings;
    struct pool_range pool[2];
    struct static_binding statics[2];
    struct geometry geometry;
    struct table *table;
    struct engine *engine;
    uint32_t limit; /* sessions a subscriber */
};

static inline void stage_fill(struct stage *stage, uint16_t ports, uint32_t instances)
{
    stage->geometry = (struct geometry){.sessions = 64, .addresses = instances, .workers = 2, .counters = 1};
    stage->settings.nat64_count = instances;
    stage->limit = 8;
    for (unsigned i = 0; i < instances; i++) {
        stage->pool[i] = (struct pool_range){.first = to_be32(0xc0000201u + i),
                                             .count = 1,
                                             .low = 2000,
                                             .high = (uint16_t)(1999 + ports),
                                             .transports = 7};
        stage->settings.nat64[i] =
            (struct nat64_settings){.prefix = {{{0x20, 0x01, 0x0d, 0xb8, (uint8_t)i}}, 96},
                                    .sessions = 64,
                                    .sessions_per_subscriber = stage->limit,
                                    .subscriber_prefix = 64,
                                    .pool = &stage->pool[i],
                                    .pool_count = 1,
                                    .statics = &stage->statics[i],
                                    .timeouts = {1000, 1000, 1000, 1000, 6, 0, 0, 2}};
    }
}

/* An engine over the stage's table, as at a start; a sentence if it cannot be made. */
static inline void stage_start(struct stage *stage, uint32_t tick)
{
    char error[256];
    struct engine_options options = {.table = stage->table,
                                     .settings = &stage->settings,
                                     .workers = stage->geometry.workers,
                                     .seed = 1,
                                     .now = tick * NANOSECONDS};
    stage->engine = engine_create(&options, error, sizeof(error));
    if (stage->engine == NULL)
        fail_msg("%s", error);
}

static inline void stage_open(struct stage *stage, uint16_t ports, uint32_t instances)
{
    memset(stage, 0, sizeof(*stage));
    stage_fill(stage, ports, instances);
    stage->table = table_create(&stage->geometry, 7);
    assert_non_null(stage->table);
    stage_start(stage, 100);
}

static inline void stage_close(struct stage *stage)
{
    engine_destroy(stage->engine);
    table_destroy(stage->table);
}

enum action_kind {
    ACTION_OPEN,       /* find the session, or else make it */
    ACTION_END,        /* end the session if it is there, expired or not */
    ACTION_TOUCH,      /* refresh it */
    ACTION_STATIC,     /* make a static binding */
    ACTION_CONVERT,    /* make the client's binding static */
    ACTION_END_STATIC, /* end it, with its sessions */
};

struct action {
    enum action_kind kind;
    unsigned client, remote, instance;
    uint32_t tick;
    bool done; /* it did what it was to do, or found it done */
    enum made made;
    uint32_t index;
    struct stage *stage;
    struct actor actor;
    struct random random;
};

/* Clients 0 to 3 are one subscriber, 4 to 7 the next. */
static inline struct key6 action_key(const struct action *action)
{
    struct key6 key = {.remote = to_be32(0xcb007100u + action->remote), .transport = TRANSPORT_UDP};
    key.client.bytes[0] = 0x20;
    key.client.bytes[7] = (uint8_t)(action->client / 4);
    key.client.bytes[15] = (uint8_t)action->client;
    key.client_port = to_be16((uint16_t)(4000 + action->client));
    key.remote_port = to_be16(53);
    key.instance = (uint8_t)action->instance;
    return key;
}

static inline void action_open(struct action *action)
{
    const struct table *table = action->stage->table;
    struct key6 key = action_key(action);
    struct binding_key binding = binding_key_of(&key);
    struct found found = {.index = NO_RECORD}, lead;
    action->made = MADE_LOOK_AGAIN;
    for (unsigned tries = 0; tries < ACTION_TRIES && action->made == MADE_LOOK_AGAIN; tries++) {
        struct session_request request = {.key = key,
                                          .tick = action->tick,
                                          .expires = action->tick + ACTION_LIFETIME,
                                          .sessions = action->stage->settings.nat64[key.instance].sessions,
                                          .sessions_per_subscriber = action->stage->limit};
        if (session_find6(table, &key, hash_key6(table, &key), action->tick, &found)) {
            action->made = MADE;
            break;
        }
        bool bound = binding_find(table, &binding, action->tick, &lead);
        if (!bound) {
            int port = ports_claim(port_map_at(table, key.instance, TRANSPORT_UDP), key.client_port,
                                   random_next(&action->random));
            action->made = MADE_TABLE_FULL;
            if (port < 0)
                break;
            request.pool = action->stage->pool[key.instance].first;
            request.pool_port = to_be16((uint16_t)port);
            request.address = key.instance;
        }
        action->made = session_make(&action->actor, &request, bound ? &lead : NULL, &found);
    }
    action->index = found.index;
    action->done = action->made == MADE;
}

/* The session's record, whether it has expired or not. */
static inline uint32_t action_record(const struct action *action)
{
    struct key6 key = action_key(action);
    struct found found;
    const struct table *table = action->stage->table;
    return session_find6(table, &key, hash_key6(table, &key), 0, &found) ? found.index : NO_RECORD;
}

static inline void action_end(struct action *action)
{
    uint32_t index = action_record(action);
    action->done = true;
    for (unsigned tries = 0; tries < ACTION_TRIES && index != NO_RECORD; tries++) {
        uint64_t life = atomic_load64(&record_at(action->stage->table, index)->life);
        if (life_phase(life) != PHASE_LIVE || session_end(&action->actor, index, life))
            return;
    }
}

static inline void action_touch(struct action *action)
{
    const struct table *table = action->stage->table;
    struct key6 key = action_key(action);
    struct found found;
    action->done = session_find6(table, &key, hash_key6(table, &key), action->tick, &found) &&
                   session_touch(table, &found, action->tick + ACTION_LIFETIME, 1);
}

static inline struct session_request action_static_request(const struct action *action)
{
    struct key6 key = action_key(action);
    struct session_request request = {.key = key,
                                      .pool = action->stage->pool[key.instance].first,
                                      .pool_port = to_be16(ACTION_STATIC_PORT),
                                      .address = key.instance,
                                      .tick = action->tick};
    request.key.remote = 0;
    request.key.remote_port = 0;
    return request;
}

static inline void action_static(struct action *action)
{
    struct session_request request = action_static_request(action);
    struct binding_key binding = binding_key_of(&request.key);
    struct found lead;
    if (action->kind == ACTION_CONVERT && binding_find(action->stage->table, &binding, action->tick, &lead))
        request.pool_port = lead.copy.pool_port;
    action->done = binding_make_static(&action->actor, &request);
}

static inline void action_end_static(struct action *action)
{
    const struct table *table = action->stage->table;
    struct key6 key = action_key(action);
    struct binding_key binding = binding_key_of(&key);
    struct found lead;
    if (!binding_find(table, &binding, action->tick, &lead) || (lead.copy.users & USERS_STATIC) == 0)
        return;
    binding_end_static(&action->actor, &lead);
    for (uint32_t i = 0; i < records_used(table); i++) {
        uint64_t life = atomic_load64(&record_at(table, i)->life);
        if (life_phase(life) == PHASE_LIVE && atomic_load32(&record_at(table, i)->lead) == lead.index)
            (void)session_end(&action->actor, i, life);
    }
    action->done = true;
}

/* In the form that a stepper runs. */
static inline void action_run(void *argument)
{
    struct action *action = argument;
    switch (action->kind) {
    case ACTION_OPEN:
        action_open(action);
        break;
    case ACTION_END:
        action_end(action);
        break;
    case ACTION_TOUCH:
        action_touch(action);
        break;
    case ACTION_STATIC:
    case ACTION_CONVERT:
        action_static(action);
        break;
    case ACTION_END_STATIC:
        action_end_static(action);
        break;
    }
}

/* An action by an actor of its own lane, ready to run. */
static inline struct action action_on(struct stage *stage, struct action action, uint32_t lane)
{
    action.stage = stage;
    action.done = false;
    action.index = NO_RECORD;
    action.actor = (struct actor){.table = stage->table, .lane = lane};
    action.random = random_seed(lane + 1);
    return action;
}

static inline bool act(struct stage *stage, struct action action)
{
    struct action own = action_on(stage, action, stage->geometry.workers);
    action_run(&own);
    return own.done;
}

/* Ends all sessions and static bindings that can be ended. */
static inline void end_everything(struct stage *stage)
{
    const struct table *table = stage->table;
    struct actor actor = {.table = table, .lane = 0};
    for (uint32_t i = 0; i < records_used(table); i++) {
        const struct record *record = record_at(table, i);
        struct found lead = {.index = i, .copy = *record};
        if (life_phase(record->life) == PHASE_LIVE)
            (void)session_end(&actor, i, record->life);
        lead.copy = *record;
        if (audit_leads(record, i) && (record->users & USERS_STATIC) != 0)
            binding_end_static(&actor, &lead);
    }
}

#endif /* TEST_ENGINE_ACTIONS_H */
