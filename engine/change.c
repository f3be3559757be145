/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Changing the settings while workers run.
 *
 * What is new can be given to the workers at once. What is gone may still have sessions, and its number or
 * place may be wanted for what is new. So a change that takes something away goes in two steps:
 *
 *     rules in force      what is done meanwhile
 *     --------------      ----------------------
 *     the old ones        ports that go are taken out of what is available
 *     what remains        all workers begin anew; sessions and bindings of what is gone are ended, in walks
 * over the table, until one finds none; all workers begin anew: numbers and places are free the new ones
 *
 * Sessions that stay valid are never touched, but for the subscriber's count that they are in; that, too,
 * takes two steps. Workers never wait. That a worker has begun anew is seen by
 * its count of passages. If one does not get on, or a static binding cannot be entered, the old settings come
 * back into force, without the sessions that have ended by then. The ports that were taken away for them do
 * so only when all workers have got on: until then a port that nobody holds may be one that a worker has
 * claimed for a binding which it is about to make.
 *
 * Who goes on being allowed is for rules_judge to say, as at a start (engine/recover.c).
 */
#include "engine/engine.h"

#include "engine/explain.h"
#include "engine/permissions.h"
#include "engine/worker.h"

struct changing {
    struct engine *engine;
    struct engine_change *change;
    struct worker *control;
    const struct rules *old;
    struct rules *remaining, *new;
    bool is_stuck; /* a worker did not get on */
};

static const char stuck[] =
    "a worker has not got on with its packets for too long; try again, and if that fails restart isthmus";

/* --- workers ---------------------------------------------------------------------------------------- */

/* Lets time pass; false: enough of it has. */
static bool wait(struct changing *changing)
{
    return changing->change->wait == NULL || changing->change->wait(changing->change->context);
}

static void put_in_force(struct changing *changing, const struct rules *rules)
{
    __atomic_store_n(&changing->engine->rules, rules, __ATOMIC_SEQ_CST);
    changing->control->rules = rules;
    changing->control->settings = &rules->settings;
}

_Static_assert((int)STANDING_NO_INSTANCE == (int)ENDING_INSTANCE &&
                   (int)STANDING_NO_ADDRESS == (int)ENDING_ADDRESS &&
                   (int)STANDING_NO_PORT == (int)ENDING_PORT && (int)STANDING_COUNT == (int)ENGINE_ENDINGS,
               "why a session may not go on is why it is ended");

static void note_passages(const struct engine *engine, uint64_t seen[])
{
    atomic_settle();
    for (uint32_t i = 0; i < engine->workers; i++)
        seen[i] = atomic_load64(&engine->worker[i].passage);
}

static bool is_in_passage(const struct engine *engine, uint32_t worker, const uint64_t seen[])
{
    return seen[worker] % 2 == 1 && atomic_load64(&engine->worker[worker].passage) == seen[worker];
}

/* Has another plane begin anew by the rules in force. */
static void others_begin_anew(struct changing *changing)
{
    if (changing->change->follow != NULL)
        changing->change->follow(changing->change->context, changing->engine->rules);
}

/* Until each worker of the plane has ended the burst that it may be in; false: one does not. */
static bool workers_begin_anew(struct changing *changing)
{
    uint64_t seen[WORKERS_MAXIMUM] = {0};
    others_begin_anew(changing);
    note_passages(changing->engine, seen);
    for (uint32_t i = 0; i < changing->engine->workers; i++)
        while (is_in_passage(changing->engine, i, seen))
            if (!wait(changing)) {
                changing->is_stuck = true;
                return false;
            }
    return true;
}

bool engine_settle(struct engine *engine)
{
    if (!engine->owes_ports)
        return true;
    for (uint32_t i = 0; i < engine->workers; i++)
        if (is_in_passage(engine, i, engine->owes_since))
            return false;
    pool_permit(engine->table, engine->rules);
    engine->owes_ports = false;
    return true;
}

/* --- ending what is gone ------------------------------------------------------------------------------ */

/* A port outside the ranges belongs to a static binding, those that are gone being closed already. */
static bool lead_is_static(const struct table *table, const struct record *record)
{
    if (record->lead >= table->constants.records)
        return false;
    uint64_t users = atomic_load64(&record_at(table, record->lead)->users);
    return (users & USERS_STATIC) != 0;
}

static enum standing judge(const struct changing *changing, const struct record *record)
{
    const struct table *table = changing->engine->table;
    enum standing standing = rules_judge(table, changing->remaining, record->instance, record);
    return standing == STANDING_NO_PORT && lead_is_static(table, record) ? STANDING_GOOD : standing;
}

static void end_session(struct changing *changing, uint32_t index, uint16_t generation,
                        enum standing standing)
{
    struct actor *actor = &changing->control->actor;
    uint64_t *word = &record_at(actor->table, index)->life;
    for (uint64_t life = atomic_load64(word);
         life_phase(life) == PHASE_LIVE && life_generation(life) == generation; life = atomic_load64(word))
        if (session_end(actor, index, life)) {
            changing->change->ended[standing] += life_expires(life) >= changing->control->tick;
            return;
        }
}

/*
 * Has a session counted as the settings ask for: for a subscriber of another size, or at all. It joins the
 * count that it is to be in before it leaves the one that it is in; whoever ends it meanwhile finds one of
 * the two in its tail, and the swap here fails if it is the former.
 */
static void recount(struct changing *changing, uint32_t index, const struct record *copy)
{
    const struct table *table = changing->engine->table;
    const struct nat64_settings *nat64 = &changing->remaining->settings.nat64[copy->instance];
    uint32_t wanted = nat64->subscriber_prefix + 1u;
    if (nat64->sessions_per_subscriber == 0 || copy->counted == wanted || copy->counted == COUNTED_ENDED)
        return;
    uint64_t hash = hash_subscriber(table, &copy->client, nat64->subscriber_prefix, copy->instance);
    bool joined = subscriber_join(table, hash, SUBSCRIBER_SESSIONS_MAXIMUM, changing->control->actor.lane) ==
                  SUBSCRIBER_JOINED;
    uint64_t tail = tail_with(copy->tail, joined ? wanted : 0);
    uint32_t left = copy->counted;
    if (!atomic_swap_if64(&record_at(table, index)->tail, copy->tail, tail))
        left = joined ? wanted : 0;
    if (left != 0)
        (void)subscriber_leave(table, hash_subscriber(table, &copy->client, left - 1, copy->instance));
}

/* Do the settings ask for another count of the sessions there are? */
static bool recounts(const struct changing *changing)
{
    for (uint32_t i = 0; i < changing->old->settings.nat64_count; i++) {
        const struct nat64_settings *then = &changing->old->settings.nat64[i],
                                    *now = &changing->remaining->settings.nat64[i];
        if (now->sessions_per_subscriber != 0 &&
            (then->sessions_per_subscriber == 0 || then->subscriber_prefix != now->subscriber_prefix))
            return true;
    }
    return false;
}

/* Ends the record if it is of what is gone, or sees to its count; returns whether it was the former. */
static bool visit(struct changing *changing, uint32_t index)
{
    struct record *record = record_at(changing->engine->table, index);
    uint64_t life = atomic_load64(&record->life);
    enum phase phase = life_phase(life);
    struct record copy;
    if ((phase != PHASE_LIVE && phase != PHASE_BINDING && phase != PHASE_ENDING) ||
        !record_read(record, life_generation(life), &copy) || copy.transport >= TRANSPORT_COUNT ||
        copy.instance >= NAT64_INSTANCES_MAXIMUM)
        return false;
    bool leads = copy.lead == index && users_generation(copy.users) == life_generation(life) &&
                 users_count(copy.users) != 0;
    if (phase != PHASE_LIVE && !leads)
        return false;
    enum standing standing = judge(changing, &copy);
    if (standing == STANDING_GOOD && phase == PHASE_LIVE)
        recount(changing, index, &copy);
    if (standing == STANDING_GOOD)
        return false;
    if (leads && (copy.users & USERS_STATIC) != 0)
        (void)binding_end_static(&changing->control->actor, &(struct found){.index = index, .copy = copy});
    else if (leads)
        (void)binding_close(record, life_generation(life));
    if (phase == PHASE_LIVE)
        end_session(changing, index, life_generation(life), standing);
    return true;
}

/*
 * Sessions are still joining bindings while those are being closed, so one walk is not enough; but every walk
 * finds fewer, for what remains in force makes no new ones.
 */
static bool end_all_gone(struct changing *changing)
{
    const struct table *table = changing->engine->table;
    for (;;) {
        uint32_t found = 0;
        for (uint32_t i = 0; i < records_used(table); i++)
            found += visit(changing, i);
        if (found == 0)
            return true;
        if (!wait(changing))
            return false;
    }
}

/* --- the steps ----------------------------------------------------------------------------------------- */

static bool takes_away(const struct changing *changing)
{
    return changing->remaining->leaving != 0 || changing->remaining->pool.count < changing->old->pool.count ||
           pool_restricts(changing->engine->table, changing->remaining, changing->old) || recounts(changing);
}

/* From the old rules to what remains of them. */
static const char *take_away(struct changing *changing)
{
    const struct table *table = changing->engine->table;
    pool_restrict(table, changing->remaining, changing->old);
    write_identities(table, changing->remaining);
    put_in_force(changing, changing->remaining);
    if (!workers_begin_anew(changing))
        return stuck;
    pool_settle(table, changing->old);
    statics_remove(changing->control, changing->old, changing->remaining, changing->change);
    if (!end_all_gone(changing) || !workers_begin_anew(changing))
        return stuck;
    return NULL;
}

/* From there to the new ones. */
static const char *bring_in(struct changing *changing)
{
    const struct table *table = changing->engine->table;
    write_identities(table, changing->new);
    pool_permit(table, changing->new);
    permissions_begin(table, &changing->new->settings);
    const char *problem = statics_add(changing->control, changing->new, changing->change);
    if (problem != NULL)
        return problem;
    pairing_begin(changing->control, changing->new);
    put_in_force(changing, changing->new);
    if (!workers_begin_anew(changing)) /* what they have just made by the old rules is not looked for then */
        return NULL;
    pairing_begin(changing->control, changing->new);
    return NULL;
}

/* The old rules again. Nothing is at the numbers and places of the new ones but static bindings. */
static bool put_back(struct changing *changing)
{
    const struct table *table = changing->engine->table;
    statics_remove(changing->control, changing->new, changing->old, changing->change);
    pool_restrict(table, changing->old, changing->new);
    write_identities(table, changing->old);
    if (!changing->is_stuck)
        pool_permit(table, changing->old);
    bool whole = statics_add(changing->control, changing->old, changing->change) == NULL;
    put_in_force(changing, changing->old);
    others_begin_anew(changing);
    if (changing->is_stuck) {
        note_passages(changing->engine, changing->engine->owes_since);
        changing->engine->owes_ports = true;
    }
    return whole;
}

static const char *change_rules(struct changing *changing)
{
    struct engine *engine = changing->engine;
    const struct settings *settings = changing->change->settings;
    uint32_t addresses = engine->table->constants.addresses;
    const char *problem = rules_arrange(changing->new, settings, NULL, addresses);
    if (problem == NULL)
        problem = statics_check(changing->new);
    if (problem != NULL)
        return problem;
    rules_remain(changing->remaining, settings, changing->old);
    bool two_steps = takes_away(changing);
    (void)rules_arrange(changing->new, settings, two_steps ? changing->remaining : changing->old, addresses);
    if (two_steps)
        problem = take_away(changing);
    else
        statics_remove(changing->control, changing->old, changing->remaining, changing->change);
    if (problem == NULL)
        problem = bring_in(changing);
    if (problem != NULL && !put_back(changing))
        problem =
            "static bindings could neither be changed nor put back; raise nat64.limits.sessions and restart";
    return problem;
}

/* Two of the drafts that are not in force. */
static struct rules *draft(struct engine *engine, unsigned number)
{
    for (unsigned i = 0; i < 3; i++)
        if (&engine->drafts[i] != engine->rules && number-- == 0)
            return &engine->drafts[i];
    return NULL;
}

bool engine_change(struct engine *engine, struct engine_change *change, char *error, size_t size)
{
    struct changing changing = {.engine = engine,
                                .change = change,
                                .control = &engine->worker[engine->workers],
                                .old = engine->rules,
                                .remaining = draft(engine, 0),
                                .new = draft(engine, 1)};
    const char *problem = NULL;
    while (problem == NULL && !(engine_settle(engine) && engine_quiet(engine)))
        problem = wait(&changing) ? NULL : stuck;
    worker_enter(changing.control, change->now);
    if (problem == NULL)
        problem = change_rules(&changing);
    worker_leave(changing.control);
    if (problem != NULL)
        explain(error, size, problem);
    return problem == NULL;
}

bool engine_replace_settings(struct engine *engine, const struct settings *settings, nanoseconds now,
                             char *error, size_t size)
{
    struct engine_change change = {.settings = settings, .now = now};
    return engine_change(engine, &change, error, size);
}
