/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Static bindings: bindings that the configuration holds, entered at start and changed by reload, while
 * workers run.
 *
 * A binding that is to go is closed first, so that nobody joins it any more, and then its sessions are ended
 * until none is left: those too that were still being made when it was closed. So goes a static binding that
 * is no longer configured, and so a dynamic one that has the port, or the client's port, of a new static one.
 * Sessions are found by going through all records, which is fine for something a person does.
 */
#include "engine/worker.h"

enum {
    CLOSE_ROUNDS = 64, /* times the sessions of a closed binding are looked for; makers under way come late */
    ADD_ROUNDS = 64,   /* times a new binding's place is cleared; a busy client may take it again meanwhile */
    WAIT_ROUNDS = 1000, /* further ones, after each of which the change lets time pass */
};

/* A worker that is not running just now may hold what is wanted, so after those rounds time must pass. */
static bool goes_on(const struct engine_change *change, unsigned round, unsigned rounds)
{
    if (round < rounds)
        return true;
    return round < rounds + WAIT_ROUNDS && change != NULL && change->wait != NULL &&
           change->wait(change->context);
}

static void end_sessions_of(struct worker *control, uint32_t lead)
{
    const struct table *table = control->actor.table;
    uint32_t used = records_used(table);
    for (uint32_t i = 0; i < used; i++) {
        struct record *record = record_at(table, i);
        uint64_t life = atomic_load64(&record->life);
        while (life_phase(life) == PHASE_LIVE && atomic_load32(&record->lead) == lead) {
            if (session_end(&control->actor, i, life))
                break;
            life = atomic_load64(&record->life);
        }
    }
}

/* Until the record is another's or nobody uses it. */
static void end_closed_binding(struct worker *control, const struct found *lead,
                               const struct engine_change *change)
{
    const struct record *record = record_at(control->actor.table, lead->index);
    uint64_t users = atomic_load64(&record->users);
    for (unsigned round = 0;
         users_count(users) != 0 && users_generation(users) == life_generation(lead->copy.life) &&
         goes_on(change, round, CLOSE_ROUNDS);
         round++) {
        end_sessions_of(control, lead->index);
        users = atomic_load64(&record->users);
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

/* Do the rules have this binding in an instance of this prefix? */
static bool has_binding(const struct rules *rules, const struct rfc6052_prefix *prefix,
                        const struct static_binding *binding)
{
    int number = rules_number(rules, prefix);
    for (uint32_t i = 0; number >= 0 && i < rules->settings.nat64[number].static_count; i++)
        if (same_binding(&rules->settings.nat64[number].statics[i], binding))
            return true;
    return false;
}

static bool is_static(const struct found *lead)
{
    return (lead->copy.users & USERS_STATIC) != 0;
}

static void remove_binding(struct worker *control, uint8_t instance, const struct static_binding *binding,
                           const struct engine_change *change)
{
    struct binding_key key = key_of(binding, instance);
    struct found lead;
    if (!binding_find(control->actor.table, &key, control->tick, &lead) || !is_static(&lead))
        return;
    binding_end_static(&control->actor, &lead);
    end_closed_binding(control, &lead, change);
}

/* Ends a dynamic binding that is in the way of a static one. */
static void evict(struct worker *control, const struct found *lead, const struct engine_change *change)
{
    if (is_static(lead))
        return;
    binding_close(record_at(control->actor.table, lead->index), life_generation(lead->copy.life));
    end_closed_binding(control, lead, change);
}

/* Is the binding the one that the settings ask for, but for not being static yet? */
static bool suits(const struct found *lead, const struct static_binding *binding)
{
    return lead->copy.pool == binding->ipv4 && lead->copy.pool_port == binding->port4 &&
           lead->copy.client_port == binding->port6 && ipv6_equal(&lead->copy.client, &binding->ipv6);
}

/* Ends what holds the port or the client's port, whether it is alive or left to be swept. */
static void make_way(struct worker *control, const struct binding_key *key,
                     const struct static_binding *binding, uint32_t place, const struct engine_change *change)
{
    const struct table *table = control->actor.table;
    struct found lead;
    uint32_t owner = atomic_load32(owner_at(table, place, binding->transport, from_be16(binding->port4))) - 1;
    if (owner < table->constants.records) {
        lead.index = owner;
        const struct record *record = record_at(table, owner);
        if (record_read(record, life_generation(atomic_load64(&record->life)), &lead.copy) &&
            users_count(lead.copy.users) != 0 && lead.copy.lead == owner && lead.copy.address == place &&
            lead.copy.transport == binding->transport && lead.copy.pool_port == binding->port4 &&
            !suits(&lead, binding))
            evict(control, &lead, change);
    }
    if (binding_find(table, key, control->tick, &lead) && !suits(&lead, binding))
        evict(control, &lead, change);
}

static const char *add_binding(struct worker *control, const struct rules *rules, uint8_t instance,
                               const struct static_binding *binding, const struct engine_change *change)
{
    uint32_t place = rules->pool.address[pool_find(rules, binding->ipv4)].place;
    struct binding_key key = key_of(binding, instance);
    struct session_request request = {.key = {.client = binding->ipv6,
                                              .client_port = binding->port6,
                                              .transport = binding->transport,
                                              .instance = instance},
                                      .pool = binding->ipv4,
                                      .pool_port = binding->port4,
                                      .address = (uint16_t)place,
                                      .tick = control->tick};
    for (unsigned round = 0; goes_on(change, round, ADD_ROUNDS); round++) {
        make_way(control, &key, binding, place, change);
        if (binding_make_static(&control->actor, &request)) {
            pairing_note(control, rules, &key);
            return NULL;
        }
    }
    return "a static binding found no room in the session table (nat64.limits.sessions), or its port too "
           "busy; try again";
}

const char *statics_check(const struct rules *rules)
{
    for (uint32_t i = 0; i < rules->settings.nat64_count; i++)
        for (uint32_t j = 0; j < rules->settings.nat64[i].static_count; j++) {
            int there = pool_find(rules, rules->settings.nat64[i].statics[j].ipv4);
            if (there < 0 || rules->pool.address[there].instance != i)
                return "a static binding's IPv4 address is not in the pool of its instance";
        }
    return NULL;
}

void statics_remove(struct worker *control, const struct rules *old, const struct rules *new,
                    const struct engine_change *change)
{
    for (uint32_t i = 0; i < old->settings.nat64_count; i++) {
        const struct nat64_settings *nat64 = &old->settings.nat64[i];
        for (uint32_t j = 0; j < nat64->static_count; j++)
            if (!has_binding(new, &nat64->prefix, &nat64->statics[j]))
                remove_binding(control, (uint8_t)i, &nat64->statics[j], change);
    }
}

const char *statics_add(struct worker *control, const struct rules *rules, const struct engine_change *change)
{
    const char *problem = NULL;
    for (uint32_t i = 0; i < rules->settings.nat64_count; i++) {
        const struct nat64_settings *nat64 = &rules->settings.nat64[i];
        for (uint32_t j = 0; j < nat64->static_count && problem == NULL; j++) {
            struct binding_key key = key_of(&nat64->statics[j], (uint8_t)i);
            struct found lead;
            if (!binding_find(control->actor.table, &key, control->tick, &lead) || !is_static(&lead))
                problem = add_binding(control, rules, (uint8_t)i, &nat64->statics[j], change);
        }
    }
    return problem;
}
