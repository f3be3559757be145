/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Static bindings: bindings that the configuration holds, entered at start and changed by reload, while
 * workers run.
 *
 * A new one takes its place from whatever dynamic binding has its port or its client's port: that binding's
 * sessions are ended first. Sessions are found by going through all records, which is fine for something a
 * person does.
 */
#include "engine/worker.h"

enum {
    EVICT_ROUNDS = 64, /* workers may add sessions to a binding while its sessions are being ended */
};

static void end_sessions_of(struct worker *control, uint32_t lead)
{
    const struct table *table = control->actor.table;
    uint32_t used = records_used(table);
    for (uint32_t i = 0; i < used; i++) {
        const struct record *record = record_at(table, i);
        uint64_t life = atomic_load64(&record->life);
        for (unsigned tries = 0;
             life_phase(life) == PHASE_LIVE && record->lead == lead && tries < EVICT_ROUNDS; tries++) {
            if (session_end(&control->actor, i, life))
                break;
            life = atomic_load64(&record->life);
        }
    }
}

static struct binding_key key_of(const struct static_binding *binding, uint8_t instance)
{
    return (struct binding_key){.client = binding->ipv6,
                                .client_port = binding->port6,
                                .transport = binding->transport,
                                .instance = instance};
}

static bool same_binding(const struct static_binding *a, const struct static_binding *b)
{
    return ipv6_equal(&a->ipv6, &b->ipv6) && a->ipv4 == b->ipv4 && a->port6 == b->port6 &&
           a->port4 == b->port4 && a->transport == b->transport;
}

/* Names of instances do not change while the program runs, nor does their order. */
static bool has_binding(const struct settings *settings, uint32_t instance,
                        const struct static_binding *binding)
{
    if (settings == NULL)
        return false;
    for (uint32_t i = 0; i < settings->nat64[instance].static_count; i++)
        if (same_binding(&settings->nat64[instance].statics[i], binding))
            return true;
    return false;
}

static void remove_binding(struct worker *control, uint8_t instance, const struct static_binding *binding)
{
    const struct table *table = control->actor.table;
    struct binding_key key = key_of(binding, instance);
    uint32_t lead = binding_find(table, &key, control->tick);
    if (lead == NO_RECORD || !record_at(table, lead)->is_static)
        return;
    binding_end_static(&control->actor, lead);
    end_sessions_of(control, lead);
}

/* Ends dynamic bindings that hold the port, or the client's port, that a static one is to have. */
static bool make_room(struct worker *control, int place, const struct static_binding *binding,
                      const struct binding_key *key)
{
    const struct table *table = control->actor.table;
    for (unsigned round = 0; round < EVICT_ROUNDS; round++) {
        const uint32_t *owner =
            owner_at(table, (uint32_t)place, binding->transport, from_be16(binding->port4));
        uint32_t holder = atomic_load32(owner) - 1;
        uint32_t lead = binding_find(table, key, control->tick);
        if (holder == NO_RECORD && lead == NO_RECORD)
            return true;
        if (holder != NO_RECORD)
            end_sessions_of(control, holder);
        if (lead != NO_RECORD)
            end_sessions_of(control, lead);
    }
    return false;
}

static const char *add_binding(struct worker *control, uint8_t instance, const struct static_binding *binding)
{
    int place = pool_find(control->engine, binding->ipv4);
    if (place < 0 || control->engine->pool.address[place].instance != instance)
        return "a static binding's IPv4 address is not in the pool of its instance";
    struct binding_key key = key_of(binding, instance);
    if (!make_room(control, place, binding, &key))
        return "a static binding's port is held by a busy binding; try again";
    struct session_request request = {.key = {.client = binding->ipv6,
                                              .client_port = binding->port6,
                                              .transport = binding->transport,
                                              .instance = instance},
                                      .pool = binding->ipv4,
                                      .pool_port = binding->port4,
                                      .address = (uint16_t)place,
                                      .tick = control->tick};
    if (!binding_make_static(&control->actor, &request))
        return "a static binding found no room in the session table (nat64.limits.sessions) or its port "
               "busy; try again";
    return NULL;
}

const char *statics_change(struct worker *control, const struct settings *old, const struct settings *new)
{
    for (uint32_t i = 0; old != NULL && i < old->nat64_count; i++)
        for (uint32_t j = 0; j < old->nat64[i].static_count; j++)
            if (!has_binding(new, i, &old->nat64[i].statics[j]))
                remove_binding(control, (uint8_t)i, &old->nat64[i].statics[j]);
    const char *problem = NULL;
    for (uint32_t i = 0; i < new->nat64_count &&problem == NULL; i++)
        for (uint32_t j = 0; j < new->nat64[i].static_count &&problem == NULL; j++) {
            const struct static_binding *binding = &new->nat64[i].statics[j];
            struct binding_key key = key_of(binding, (uint8_t)i);
            uint32_t lead = binding_find(control->actor.table, &key, control->tick);
            bool there = has_binding(old, i, binding) && lead != NO_RECORD &&
                         record_at(control->actor.table, lead)->is_static;
            if (!there)
                problem = add_binding(control, (uint8_t)i, binding);
        }
    return problem;
}
