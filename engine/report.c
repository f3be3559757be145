/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the control plane may see of a running engine: counters, pools, and the table entry by entry.
 *
 * A record is copied while workers go on changing it; it counts if its word of life and its generation are
 * the same after the copy as before, so what is shown is a record as it was.
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

/* A consistent copy of a record; false: it changed meanwhile. */
static bool copy_record(const struct record *record, struct record *copy)
{
    uint64_t life = atomic_load64(&record->life);
    *copy = *(const volatile struct record *)record;
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return atomic_load64(&record->life) == life && copy->life == life &&
           *(const volatile uint16_t *)&record->generation == copy->generation;
}

static void fill_entry(const struct settings *settings, const struct record *record, bool session,
                       uint32_t tick, struct engine_entry *entry)
{
    *entry = (struct engine_entry){.is_session = session,
                                   .is_static = !session && record->is_static,
                                   .instance = record->instance,
                                   .transport = record->transport,
                                   .client = record->client,
                                   .pool_address = record->pool,
                                   .client_port = record->client_port,
                                   .pool_port = record->pool_port};
    if (!session) {
        entry->state = record->is_static ? "static" : "dynamic";
        entry->sessions = record->users - record->is_static;
        return;
    }
    uint8_t state = life_state(record->life);
    entry->state = tcp_state_names[state < TCP_STATE_COUNT ? state : TCP_NONE];
    entry->remote4 = record->remote;
    entry->remote_port = record->remote_port;
    entry->remote6 = rfc6052_embed(&settings->nat64[record->instance].prefix, record->remote);
    entry->expires_in = life_expires(record->life) - tick;
}

uint32_t engine_list(const struct engine *engine, bool sessions, uint32_t *position, uint32_t look,
                     struct engine_entry *entries, uint32_t n, nanoseconds now)
{
    const struct settings *settings = __atomic_load_n(&engine->settings, __ATOMIC_ACQUIRE);
    uint32_t tick = (uint32_t)(now / NANOSECONDS);
    uint32_t used = records_used(engine->table);
    uint32_t written = 0;
    for (; look > 0 && written < n && *position < used; look--, (*position)++) {
        struct record record;
        if (!copy_record(record_at(engine->table, *position), &record))
            continue;
        bool wanted = sessions ? life_is_session(record.life, tick)
                               : record.lead == *position && binding_is_alive(&record, tick);
        if (wanted && record.instance < settings->nat64_count)
            fill_entry(settings, &record, sessions, tick, &entries[written++]);
    }
    return written;
}
