/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the control plane may see of a running engine: counters, pools, and the table entry by entry.
 *
 * A step of the list is a reader like a burst is, on the control plane's lane: a record it finds alive is not
 * reused before the step ends, so only the words that change during a life are read atomically.
 */
#include "engine/worker.h"

#include "engine/tcp_state.h"

void engine_count(const struct engine *engine, struct engine_counters *counters)
{
    *counters = (struct engine_counters){0};
    for (uint32_t i = 0; i <= engine->workers; i++) {
        const struct engine_counters *own = &engine->worker[i].counters;
        const struct actor *actor = &engine->worker[i].actor;
        for (unsigned v = 0; v < VERDICT_COUNT; v++) {
            counters->packets[v] += atomic_load64(&own->packets[v]);
            counters->bytes[v] += atomic_load64(&own->bytes[v]);
        }
        counters->icmp_errors_sent += atomic_load64(&own->icmp_errors_sent);
        counters->icmp_errors_suppressed += atomic_load64(&own->icmp_errors_suppressed);
        counters->probes_sent += atomic_load64(&own->probes_sent);
        counters->sessions_created += atomic_load64(&actor->sessions_created);
        counters->sessions_ended += atomic_load64(&actor->sessions_ended);
        counters->bindings_created += atomic_load64(&actor->bindings_created);
        counters->bindings_ended += atomic_load64(&actor->bindings_ended);
    }
}

void engine_continued(const struct engine *engine, struct engine_continued *continued)
{
    *continued = engine->continued;
}

uint32_t engine_pool_count(const struct engine *engine)
{
    return engine->pool.count;
}

void engine_pool(const struct engine *engine, uint32_t number, struct engine_pool *pool)
{
    *pool = (struct engine_pool){.instance = engine->pool.address[number].instance,
                                 .address = engine->pool.address[number].address};
    for (unsigned transport = 0; transport < TRANSPORT_COUNT; transport++) {
        const struct port_map *map = port_map_at(engine->table, number, (uint8_t)transport);
        pool->ports[transport] = map->configured;
        pool->used[transport] = atomic_load32(&map->used);
    }
}

uint32_t engine_capacity(const struct engine *engine)
{
    return records_used(engine->table);
}

static void fill_entry(const struct settings *settings, const struct record *record, bool session,
                       struct engine_entry *entry)
{
    uint32_t users = atomic_load32(&record->users);
    bool is_static = (users & BINDING_STATIC) != 0;
    *entry = (struct engine_entry){.is_session = session,
                                   .is_static = !session && is_static,
                                   .instance = record->instance,
                                   .transport = record->transport,
                                   .client = record->client,
                                   .pool_address = record->pool,
                                   .client_port = record->client_port,
                                   .pool_port = record->pool_port};
    if (!session) {
        entry->state = is_static ? "static" : "dynamic";
        entry->sessions = users_count(users) - is_static;
        return;
    }
    entry->remote4 = record->remote;
    entry->remote_port = record->remote_port;
    entry->remote6 = rfc6052_embed(&settings->nat64[record->instance].prefix, record->remote);
}

/* Writes the entry of a record if it is a live session, or if it is a binding that can be used. */
static bool list_record(const struct worker *control, uint32_t index, bool sessions,
                        struct engine_entry *entry)
{
    const struct record *record = record_at(control->actor.table, index);
    uint64_t life = atomic_load64(&record->life);
    bool wanted = sessions ? life_is_session(life, control->tick)
                           : binding_is_alive(record, control->tick) && record->lead == index;
    if (!wanted)
        return false;
    fill_entry(control->settings, record, sessions, entry);
    if (sessions) {
        uint8_t state = life_state(life);
        entry->state = tcp_state_names[state < TCP_STATE_COUNT ? state : TCP_NONE];
        entry->expires_in = life_expires(life) - control->tick;
    }
    return true;
}

uint32_t engine_list(struct engine *engine, bool sessions, uint32_t *position, uint32_t look,
                     struct engine_entry *entries, uint32_t n, nanoseconds now)
{
    struct worker *control = &engine->worker[engine->workers];
    uint32_t written = 0;
    worker_enter(control, now);
    uint32_t used = records_used(engine->table);
    for (; look > 0 && written < n && *position < used; look--, (*position)++)
        written += list_record(control, *position, sessions, &entries[written]);
    worker_leave(control);
    return written;
}
