/* SPDX-License-Identifier: BSD-2-Clause */
#include "engine/making.h"

enum {
    RECLAIM_STEP = 64, /* retired records freed at a time when a record is wanted */
};

static uint32_t take_record(struct actor *actor)
{
    records_reclaim(actor->table, actor->lane, &actor->retired, 2);
    uint32_t index = records_take(actor->table, actor->lane);
    if (index == NO_RECORD) {
        records_reclaim(actor->table, actor->lane, &actor->retired, RECLAIM_STEP);
        index = records_take(actor->table, actor->lane);
    }
    return index;
}

/* Counts one more session of the instance; false, uncounted: there are `limit` of them. */
static bool count_session(const struct table *table, uint8_t instance, uint32_t limit)
{
    uint32_t *sessions = &header_of(table)->sessions[instance];
    if (atomic_add32(sessions, 1) < limit)
        return true;
    atomic_add32(sessions, (uint32_t)-1);
    return false;
}

static void uncount_session(const struct table *table, uint8_t instance)
{
    atomic_add32(&header_of(table)->sessions[instance], (uint32_t)-1);
}

static void fill_record(struct record *record, const struct session_request *request, uint32_t lead)
{
    record->client = request->key.client;
    record->remote = request->key.remote;
    record->client_port = request->key.client_port;
    record->remote_port = request->key.remote_port;
    record->transport = request->key.transport;
    record->instance = request->key.instance;
    record->pool = request->pool;
    record->pool_port = request->pool_port;
    record->address = request->address;
    record->generation++;
    record->lead = lead;
    atomic_store32(&record->users, 0);
    atomic_store32(&record->until, request->expires);
}

static uint64_t slot_of(const struct table *table, uint64_t hash, uint32_t index)
{
    return slot_make(hash, record_at(table, index)->generation, index);
}

/* Gives the port of a binding back, the owner cell first: a cell names a lead or nobody. */
static void release_port(const struct table *table, const struct record *lead)
{
    atomic_store32(owner_at(table, lead->address, lead->transport, from_be16(lead->pool_port)), 0);
    ports_release(port_map_at(table, lead->address, lead->transport), from_be16(lead->pool_port));
}

/* The last user is gone: takes the binding down. Its record holds no session any more. */
static void end_binding(struct actor *actor, uint32_t index)
{
    struct record *lead = record_at(actor->table, index);
    struct binding_key key = record_binding_key(lead);
    uint64_t hash = hash_binding(actor->table, &key);
    index_withdraw(actor->table, SEGMENT_BINDINGS, hash, slot_of(actor->table, hash, index));
    release_port(actor->table, lead);
    atomic_count(&actor->bindings_ended, 1);
    records_retire(actor->table, &actor->retired, index);
}

static void leave_binding(struct actor *actor, uint32_t index)
{
    if (users_count(atomic_add32(&record_at(actor->table, index)->users, (uint32_t)-1)) == 1)
        end_binding(actor, index);
}

static void withdraw_session(struct actor *actor, uint32_t index)
{
    const struct record *record = record_at(actor->table, index);
    struct key6 key6 = record_key6(record);
    struct key4 key4 = record_key4(record);
    uint64_t hash6 = hash_key6(actor->table, &key6);
    uint64_t hash4 = hash_key4(actor->table, &key4);
    index_withdraw(actor->table, SEGMENT_SESSION6, hash6, slot_of(actor->table, hash6, index));
    index_withdraw(actor->table, SEGMENT_SESSION4, hash4, slot_of(actor->table, hash4, index));
}

bool session_end(struct actor *actor, uint32_t index, uint64_t life)
{
    struct record *record = record_at(actor->table, index);
    uint64_t ending = life_make(life_expires(life), life_state(life), PHASE_ENDING);
    if (life_phase(life) != PHASE_LIVE || !atomic_swap_if64(&record->life, life, ending))
        return false;
    withdraw_session(actor, index);
    uncount_session(actor->table, record->instance);
    atomic_count(&actor->sessions_ended, 1);
    if (record->lead == index) {
        /* From here on the record is the binding's alone, and whoever leaves last retires it. */
        atomic_store64(&record->life, life_make(0, 0, PHASE_BINDING));
        leave_binding(actor, index);
    } else {
        leave_binding(actor, record->lead);
        records_retire(actor->table, &actor->retired, index);
    }
    return true;
}

/* Takes a rival out of the way if it may be; false: it has won. */
static bool overcome(struct actor *actor, uint32_t index, uint32_t tick)
{
    struct record *rival = record_at(actor->table, index);
    for (;;) {
        uint64_t life = atomic_load64(&rival->life);
        switch (life_phase(life)) {
        case PHASE_LIVE:
            if (life_expires(life) >= tick)
                return false;
            if (session_end(actor, index, life))
                return true;
            break; /* a worker whose second is an earlier one may have renewed it */
        case PHASE_MAKING:
            if (atomic_swap_if64(&rival->life, life, life_make(life_expires(life), 0, PHASE_KILLED)))
                return true;
            break;
        case PHASE_FREE:
        case PHASE_BINDING:
        case PHASE_ENDING:
        case PHASE_KILLED:
        default:
            return true;
        }
    }
}

static bool no_rival_session(struct actor *actor, uint32_t self, uint64_t hash, uint32_t tick)
{
    struct key6 key = record_key6(record_at(actor->table, self));
    struct index_walk walk = index_start(actor->table, SEGMENT_SESSION6, hash);
    for (uint64_t slot = index_next(actor->table, &walk); slot != 0; slot = index_next(actor->table, &walk)) {
        const struct record *record = slot_record(actor->table, slot);
        if (record == NULL || slot_index(slot) == self || !record_has_key6(record, &key))
            continue;
        if (!overcome(actor, slot_index(slot), tick))
            return false;
    }
    return true;
}

static bool no_rival_binding(struct actor *actor, uint32_t self, uint64_t hash, uint32_t tick)
{
    struct binding_key key = record_binding_key(record_at(actor->table, self));
    struct index_walk walk = index_start(actor->table, SEGMENT_BINDINGS, hash);
    for (uint64_t slot = index_next(actor->table, &walk); slot != 0; slot = index_next(actor->table, &walk)) {
        struct record *record = slot_record(actor->table, slot);
        if (record == NULL || slot_index(slot) == self || !record_has_binding(record, &key))
            continue;
        if (binding_is_alive(record, tick) || !overcome(actor, slot_index(slot), tick))
            return false;
        binding_close(record); /* if others of its sessions are still to be swept */
    }
    return true;
}

/* Steps 3 to 5 of making: publish, look for rivals, commit. */
static enum made publish_session(struct actor *actor, uint32_t index, uint32_t tick)
{
    const struct table *table = actor->table;
    struct record *record = record_at(table, index);
    struct key6 key6 = record_key6(record);
    struct key4 key4 = record_key4(record);
    struct binding_key binding = record_binding_key(record);
    uint64_t hash6 = hash_key6(table, &key6);
    uint64_t hash4 = hash_key4(table, &key4);
    uint64_t hash = hash_binding(table, &binding);
    bool leads = record->lead == index;
    uint64_t making = atomic_load64(&record->life);

    if (!index_publish(table, SEGMENT_SESSION4, hash4, slot_of(table, hash4, index)) ||
        (leads && !index_publish(table, SEGMENT_BINDINGS, hash, slot_of(table, hash, index))) ||
        !index_publish(table, SEGMENT_SESSION6, hash6, slot_of(table, hash6, index)))
        return MADE_INDEX_FULL;
    atomic_settle();
    if ((leads && !no_rival_binding(actor, index, hash, tick)) ||
        !no_rival_session(actor, index, hash6, tick))
        return MADE_LOOK_AGAIN;
    uint64_t live = life_make(life_expires(making), life_state(making), PHASE_LIVE);
    return life_phase(making) == PHASE_MAKING && atomic_swap_if64(&record->life, making, live)
               ? MADE
               : MADE_LOOK_AGAIN;
}

/* Undoes a making that got no further than a killed or killable record. */
static void undo_session(struct actor *actor, uint32_t index)
{
    struct record *record = record_at(actor->table, index);
    atomic_store64(&record->life, life_make(0, 0, PHASE_KILLED));
    withdraw_session(actor, index);
    if (record->lead == index) {
        struct binding_key key = record_binding_key(record);
        uint64_t hash = hash_binding(actor->table, &key);
        atomic_store32(&record->users, 0);
        index_withdraw(actor->table, SEGMENT_BINDINGS, hash, slot_of(actor->table, hash, index));
        release_port(actor->table, record);
    } else {
        leave_binding(actor, record->lead);
    }
    uncount_session(actor->table, record->instance);
    records_retire(actor->table, &actor->retired, index);
}

/* The caller's port goes back when a making fails before a record holds it. */
static enum made refuse(struct actor *actor, const struct session_request *request, uint32_t lead,
                        enum made why)
{
    if (lead == NO_RECORD)
        ports_release(port_map_at(actor->table, request->address, request->key.transport),
                      from_be16(request->pool_port));
    return why;
}

enum made session_make(struct actor *actor, const struct session_request *request, uint32_t lead,
                       uint32_t limit, uint32_t *index)
{
    const struct table *table = actor->table;
    if (!count_session(table, request->key.instance, limit))
        return refuse(actor, request, lead, MADE_TABLE_FULL);
    uint32_t own = take_record(actor);
    if (own == NO_RECORD) {
        uncount_session(table, request->key.instance);
        return refuse(actor, request, lead, MADE_TABLE_FULL);
    }
    struct record *record = record_at(table, own);
    fill_record(record, request, lead == NO_RECORD ? own : lead);
    if (lead == NO_RECORD) {
        atomic_store32(&record->users, 1);
        atomic_store32(owner_at(table, record->address, record->transport, from_be16(record->pool_port)),
                       own + 1);
    } else {
        struct record *binding = record_at(table, lead);
        record->pool = binding->pool;
        record->pool_port = binding->pool_port;
        record->address = binding->address;
        if (!binding_join(binding)) {
            uncount_session(table, request->key.instance);
            records_push(table, actor->lane, own);
            return MADE_LOOK_AGAIN;
        }
        binding_raise(binding, request->expires);
    }
    record->lane = (uint16_t)actor->lane;
    atomic_store64(&record->life, life_make(request->expires, request->state, PHASE_MAKING));
    enum made made = publish_session(actor, own, request->tick);
    if (made != MADE) {
        undo_session(actor, own);
        return made;
    }
    atomic_count(&actor->sessions_created, 1);
    if (lead == NO_RECORD)
        atomic_count(&actor->bindings_created, 1);
    *index = own;
    return MADE;
}

/* Takes the port and its owner cell for a static binding; false, nothing taken: somebody has it. */
static bool take_port(const struct table *table, const struct record *record, uint32_t own)
{
    uint16_t port = from_be16(record->pool_port);
    struct port_map *map = port_map_at(table, record->address, record->transport);
    uint32_t *owner = owner_at(table, record->address, record->transport, port);
    if (atomic_load32(owner) != 0 || !ports_take_static(map, port))
        return false;
    if (atomic_swap_if32(owner, 0, own + 1))
        return true;
    ports_release(map, port);
    return false;
}

bool binding_make_static(struct actor *actor, const struct session_request *request)
{
    const struct table *table = actor->table;
    uint32_t own = take_record(actor);
    if (own == NO_RECORD)
        return false;
    struct record *record = record_at(table, own);
    fill_record(record, request, own);
    if (!take_port(table, record, own)) {
        records_push(table, actor->lane, own);
        return false;
    }
    atomic_store32(&record->users, BINDING_STATIC | 1);
    struct binding_key key = record_binding_key(record);
    uint64_t hash = hash_binding(table, &key);
    uint64_t making = life_make(request->expires, 0, PHASE_MAKING);
    atomic_store64(&record->life, making);
    bool published = index_publish(table, SEGMENT_BINDINGS, hash, slot_of(table, hash, own));
    atomic_settle();
    if (published && no_rival_binding(actor, own, hash, request->tick) &&
        atomic_swap_if64(&record->life, making, life_make(0, 0, PHASE_BINDING))) {
        atomic_count(&actor->bindings_created, 1);
        return true;
    }
    atomic_store64(&record->life, life_make(0, 0, PHASE_KILLED));
    atomic_store32(&record->users, 0);
    index_withdraw(table, SEGMENT_BINDINGS, hash, slot_of(table, hash, own));
    release_port(table, record);
    records_retire(table, &actor->retired, own);
    return false;
}

void binding_end_static(struct actor *actor, uint32_t lead)
{
    struct record *record = record_at(actor->table, lead);
    for (;;) {
        uint32_t users = atomic_load32(&record->users);
        if ((users & BINDING_STATIC) == 0)
            return;
        if (atomic_swap_if32(&record->users, users, (users & ~BINDING_STATIC) | BINDING_CLOSING))
            break;
    }
    leave_binding(actor, lead);
}
