/* SPDX-License-Identifier: BSD-2-Clause */
#include "engine/worker.h"

/* Says of a binding that it is astray; its users may change meanwhile, or the last of them leave. */
static void lead_astray(struct worker *control, const struct found *lead)
{
    const struct table *table = control->actor.table;
    struct record *record = record_at(table, lead->index);
    struct key6 key = record_key6(&lead->copy);
    if (!pairing_enter(table, &key, lead->copy.address, control->actor.lane))
        return;
    for (uint64_t users = atomic_load64(&record->users);
         users_generation(users) == life_generation(lead->copy.life) && users_count(users) != 0 &&
         (users & USERS_ASTRAY) == 0;
         users = atomic_load64(&record->users))
        if (atomic_swap_if64(&record->users, users, users | USERS_ASTRAY))
            return;
    (void)pairing_leave(table, &key.client, key.instance, lead->copy.address);
}

/* Bindings half made or half ended are passed over: the first have no client, the others none any more. */
static bool is_binding(const struct found *found)
{
    const struct record *copy = &found->copy;
    enum phase phase = life_phase(copy->life);
    return (phase == PHASE_LIVE || phase == PHASE_BINDING || phase == PHASE_ENDING) &&
           copy->lead == found->index && users_generation(copy->users) == life_generation(copy->life) &&
           users_count(copy->users) != 0 && copy->instance < NAT64_INSTANCES_MAXIMUM;
}

static void lead_if_astray(struct worker *control, const struct rules *rules, const struct found *lead)
{
    if ((lead->copy.users & USERS_ASTRAY) == 0 && !pool_prefers(control->actor.table, rules, &lead->copy))
        lead_astray(control, lead);
}

void pairing_note(struct worker *control, const struct rules *rules, const struct binding_key *key)
{
    struct found lead;
    if (binding_find(control->actor.table, key, control->tick, &lead))
        lead_if_astray(control, rules, &lead);
}

void pairing_begin(struct worker *control, const struct rules *rules)
{
    const struct table *table = control->actor.table;
    struct found found;
    for (found.index = 0; found.index < records_used(table); found.index++) {
        const struct record *record = record_at(table, found.index);
        if (record_read(record, life_generation(atomic_load64(&record->life)), &found.copy) &&
            is_binding(&found))
            lead_if_astray(control, rules, &found);
    }
}
