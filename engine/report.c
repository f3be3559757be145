/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the control plane may see of a running engine: counters, pools, and the table entry by entry.
 *
 * A step of the list copies record by record, like any other reader.
 */
#include "engine/worker.h"

#include "engine/fragments.h"
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
        counters->pieces_made += atomic_load64(&own->pieces_made);
        counters->stored_syns_displaced += atomic_load64(&own->stored_syns_displaced);
        counters->probes_sent += atomic_load64(&own->probes_sent);
        counters->sessions_created += atomic_load64(&actor->sessions_created);
        counters->sessions_ended += atomic_load64(&actor->sessions_ended);
        counters->half_open_evicted += atomic_load64(&actor->half_open_evicted);
        counters->bindings_created += atomic_load64(&actor->bindings_created);
        counters->bindings_ended += atomic_load64(&actor->bindings_ended);
    }
}

void engine_fragments(const struct engine *engine, struct engine_fragments *fragments)
{
    *fragments = (struct engine_fragments){0};
    for (uint32_t i = 0; i < engine->workers; i++)
        fragments_count(&engine->worker[i], fragments);
}

void engine_continued(const struct engine *engine, struct engine_continued *continued)
{
    *continued = engine->continued;
}

uint32_t engine_pool_count(const struct engine *engine)
{
    return engine->rules->pool.count;
}

void engine_pool(const struct engine *engine, uint32_t number, struct engine_pool *pool)
{
    const struct pool_address *address = &engine->rules->pool.address[number];
    *pool = (struct engine_pool){.instance = engine->rules->index[address->instance],
                                 .address = address->address};
    for (unsigned transport = 0; transport < TRANSPORT_COUNT; transport++) {
        const struct port_map *map = port_map_at(engine->table, address->place, (uint8_t)transport);
        pool->ports[transport] = map->configured;
        pool->used[transport] = atomic_load32(&map->used);
    }
}

uint32_t engine_capacity(const struct engine *engine)
{
    return records_used(engine->table);
}

static void fill_entry(const struct rules *rules, const struct record *record, bool session,
                       struct engine_entry *entry)
{
    bool is_static = (record->users & USERS_STATIC) != 0;
    *entry = (struct engine_entry){.is_session = session,
                                   .is_static = !session && is_static,
                                   .instance = rules->index[record->instance],
                                   .transport = record->transport,
                                   .client = record->client,
                                   .pool_address = record->pool,
                                   .client_port = record->client_port,
                                   .pool_port = record->pool_port};
    if (!session) {
        entry->state = is_static ? "static" : "dynamic";
        entry->sessions = users_count(record->users) - is_static;
        return;
    }
    entry->remote4 = record->remote;
    entry->remote_port = record->remote_port;
    entry->remote6 = rfc6052_embed(&rules->settings.nat64[record->instance].prefix, record->remote);
}

static void fill_traffic(const struct table *table, uint32_t index, struct engine_entry *entry)
{
    const struct traffic *traffic = traffic_at(table, index);
    entry->counted = true;
    entry->packets_6to4 = atomic_load64(&traffic->packets6);
    entry->bytes_6to4 = atomic_load64(&traffic->bytes6);
    entry->packets_4to6 = atomic_load64(&traffic->packets4);
    entry->bytes_4to6 = atomic_load64(&traffic->bytes4);
}

/* Writes the entry of a record if it is a live session, or if it is a binding that can be used. */
static bool list_record(const struct worker *control, uint32_t index, bool sessions,
                        struct engine_entry *entry)
{
    const struct table *table = control->actor.table;
    const struct record *record = record_at(table, index);
    struct record copy;
    uint64_t life = atomic_load64(&record->life);
    if (life_phase(life) == PHASE_FREE)
        return false;
    if (!record_read(record, life_generation(life), &copy) ||
        !(sessions ? life_is_session(copy.life, control->tick)
                   : binding_is_alive(&copy, control->tick) && copy.lead == index) ||
        control->rules->index[copy.instance] == NO_INDEX)
        return false;
    fill_entry(control->rules, &copy, sessions, entry);
    if (!sessions)
        return true;
    uint8_t state = life_state(copy.life);
    entry->state = tcp_state_names[state < TCP_STATE_COUNT ? state : TCP_NONE];
    entry->expires_in = life_expires(copy.life) - control->tick;
    if (table->constants.counters && control->settings->nat64[copy.instance].counters)
        fill_traffic(table, index, entry);
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
