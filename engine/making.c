/* SPDX-License-Identifier: BSD-2-Clause */
#include "engine/making.h"

/* Counts one more session of the instance; false, uncounted: there are `limit` of them. */
static bool count_session(const struct table *table, uint8_t instance, uint32_t limit)
{
    uint32_t *sessions = &header_of(table)->sessions[instance];
    for (;;) {
        uint32_t count = atomic_load32(sessions);
        if (count >= limit)
            return false;
        if (atomic_swap_if32(sessions, count, count + 1))
            return true;
    }
}

static void uncount_session(const struct table *table, uint8_t instance)
{
    atomic_add32(&header_of(table)->sessions[instance], (uint32_t)-1);
}

static uint64_t subscriber_of(const struct table *table, const struct ipv6_address *client, uint8_t instance)
{
    return hash_subscriber(table, client, header_of(table)->instance[instance].subscriber_prefix, instance);
}

/* Step 1 of making: a place in the counts. */
static enum made take_place(const struct table *table, const struct session_request *request)
{
    uint8_t instance = request->key.instance;
    if (!count_session(table, instance, request->sessions))
        return MADE_TABLE_FULL;
    if (request->sessions_per_subscriber == 0)
        return MADE;
    switch (subscriber_join(table, subscriber_of(table, &request->key.client, instance),
                            request->sessions_per_subscriber)) {
    case SUBSCRIBER_JOINED:
        return MADE;
    case SUBSCRIBER_AT_LIMIT:
        uncount_session(table, instance);
        return MADE_SUBSCRIBER_FULL;
    case SUBSCRIBER_NO_PLACE:
        uncount_session(table, instance);
        return MADE_INDEX_FULL;
    case SUBSCRIBER_CONTENTION:
    default:
        uncount_session(table, instance);
        return MADE_LOOK_AGAIN;
    }
}

static void leave_place(const struct table *table, const struct ipv6_address *client, uint8_t instance,
                        bool counted)
{
    uncount_session(table, instance);
    if (counted)
        subscriber_leave(table, subscriber_of(table, client, instance));
}

static void leave_place_of(const struct table *table, const struct record *record)
{
    leave_place(table, &record->client, record->instance, record->counted != 0);
}

/* Gives the port of a binding back, the owner cell first: a cell names a lead or nobody. */
static void release_port(const struct table *table, const struct record *lead)
{
    atomic_store32(owner_at(table, lead->address, lead->transport, from_be16(lead->pool_port)), 0);
    ports_release(port_map_at(table, lead->address, lead->transport), from_be16(lead->pool_port));
}

static void free_record(struct actor *actor, uint32_t index)
{
    struct record *record = record_at(actor->table, index);
    uint16_t generation = life_generation(atomic_load64(&record->life));
    atomic_store64(&record->life, life_make(0, generation, 0, PHASE_FREE));
    records_push(actor->table, actor->lane, index);
}

static uint64_t slot_of(const struct record *record, uint64_t hash, uint32_t index)
{
    return slot_make(hash, life_generation(record->life), index);
}

static void withdraw_binding(const struct table *table, const struct record *lead, uint32_t index)
{
    struct binding_key key = record_binding_key(lead);
    uint64_t hash = hash_binding(table, &key);
    index_withdraw(table, SEGMENT_BINDINGS, hash, slot_of(lead, hash, index));
}

static void withdraw_session(const struct table *table, const struct record *record, uint32_t index)
{
    struct key6 key6 = record_key6(record);
    struct key4 key4 = record_key4(record);
    uint64_t hash6 = hash_key6(table, &key6);
    uint64_t hash4 = hash_key4(table, &key4);
    index_withdraw(table, SEGMENT_SESSION6, hash6, slot_of(record, hash6, index));
    index_withdraw(table, SEGMENT_SESSION4, hash4, slot_of(record, hash4, index));
}

/* The record of somebody who owns it, who therefore need not check that it is whole. */
static struct record own_record(const struct table *table, uint32_t index)
{
    struct record copy;
    const struct record *record = record_at(table, index);
    (void)record_read(record, life_generation(atomic_load64(&record->life)), &copy);
    return copy;
}

/* The last user is gone: takes the binding down. Its record holds no session any more. */
static void end_binding(struct actor *actor, uint32_t index)
{
    struct record lead = own_record(actor->table, index);
    withdraw_binding(actor->table, &lead, index);
    release_port(actor->table, &lead);
    atomic_count(&actor->bindings_ended, 1);
    free_record(actor, index);
}

static void leave_binding(struct actor *actor, uint32_t index)
{
    if (users_count(atomic_add64(&record_at(actor->table, index)->users, (uint64_t)-1)) == 1)
        end_binding(actor, index);
}

bool session_end(struct actor *actor, uint32_t index, uint64_t life)
{
    const struct table *table = actor->table;
    struct record *record = record_at(table, index);
    if (life_phase(life) != PHASE_LIVE || !atomic_swap_if64(&record->life, life, life_in(life, PHASE_ENDING)))
        return false;
    struct record copy = own_record(table, index);
    withdraw_session(table, &copy, index);
    leave_place_of(table, &copy);
    atomic_count(&actor->sessions_ended, 1);
    if (copy.lead == index)
        /* From here on the record is the binding's alone, and whoever leaves last frees it. */
        atomic_store64(&record->life, life_make(0, life_generation(life), 0, PHASE_BINDING));
    else
        free_record(actor, index);
    leave_binding(actor, copy.lead);
    return true;
}

/* Takes a rival out of the way if it may be; false: it has won. */
static bool overcome(struct actor *actor, const struct found *rival, uint32_t tick)
{
    struct record *record = record_at(actor->table, rival->index);
    for (;;) {
        uint64_t life = atomic_load64(&record->life);
        if (life_generation(life) != life_generation(rival->copy.life))
            return true;
        switch (life_phase(life)) {
        case PHASE_LIVE:
            if (life_expires(life) >= tick)
                return false;
            if (session_end(actor, rival->index, life))
                return true;
            break; /* a worker whose second is an earlier one may have renewed it */
        case PHASE_MAKING:
            if (atomic_swap_if64(&record->life, life, life_in(life, PHASE_KILLED)))
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

static bool no_rival_session(struct actor *actor, uint32_t self, const struct key6 *key, uint64_t hash,
                             uint32_t tick)
{
    struct found rival;
    struct index_walk walk = index_start(actor->table, SEGMENT_SESSION6, hash);
    for (uint64_t slot = index_next(actor->table, &walk); slot != 0; slot = index_next(actor->table, &walk)) {
        if (slot_index(slot) == self)
            continue;
        if (slot_read(actor->table, slot, &rival) && record_has_key6(&rival.copy, key) &&
            !overcome(actor, &rival, tick))
            return false;
    }
    return true;
}

static bool no_rival_binding(struct actor *actor, uint32_t self, const struct binding_key *key, uint64_t hash,
                             uint32_t tick)
{
    struct found rival;
    struct index_walk walk = index_start(actor->table, SEGMENT_BINDINGS, hash);
    for (uint64_t slot = index_next(actor->table, &walk); slot != 0; slot = index_next(actor->table, &walk)) {
        if (slot_index(slot) == self)
            continue;
        if (!slot_read(actor->table, slot, &rival) || !record_has_binding(&rival.copy, key))
            continue;
        if ((rival.copy.users & USERS_CLOSING) != 0 &&
            users_generation(rival.copy.users) == life_generation(rival.copy.life))
            continue; /* nobody joins it any more; its sessions may live on beside the new one's */
        if (binding_is_alive(&rival.copy, tick) || !overcome(actor, &rival, tick))
            return false;
        /* in case others of its sessions are still to be swept */
        binding_close(record_at(actor->table, rival.index), life_generation(rival.copy.life));
    }
    return true;
}

/* Steps 3 to 5 of making: publish, look for rivals, commit. */
static enum made publish_session(struct actor *actor, const struct session_request *request,
                                 struct found *made)
{
    const struct table *table = actor->table;
    struct record *copy = &made->copy;
    struct key6 key6 = record_key6(copy);
    struct key4 key4 = record_key4(copy);
    struct binding_key binding = record_binding_key(copy);
    uint64_t hash6 = hash_key6(table, &key6);
    uint64_t hash4 = hash_key4(table, &key4);
    uint64_t hash = hash_binding(table, &binding);
    bool leads = copy->lead == made->index;

    if (!index_publish(table, SEGMENT_SESSION4, hash4, slot_of(copy, hash4, made->index)) ||
        (leads && !index_publish(table, SEGMENT_BINDINGS, hash, slot_of(copy, hash, made->index))) ||
        !index_publish(table, SEGMENT_SESSION6, hash6, slot_of(copy, hash6, made->index)))
        return MADE_INDEX_FULL;
    atomic_settle();
    if ((leads && !no_rival_binding(actor, made->index, &binding, hash, request->tick)) ||
        !no_rival_session(actor, made->index, &key6, hash6, request->tick))
        return MADE_LOOK_AGAIN;
    uint64_t live = life_make(request->expires, life_generation(copy->life), request->state, PHASE_LIVE);
    if (!atomic_swap_if64(&record_at(table, made->index)->life, copy->life, live))
        return MADE_LOOK_AGAIN;
    copy->life = live;
    return MADE;
}

/* Undoes a making that got no further than a killed or killable record. */
static void undo_session(struct actor *actor, const struct found *made)
{
    const struct table *table = actor->table;
    const struct record *copy = &made->copy;
    atomic_store64(&record_at(table, made->index)->life, life_in(copy->life, PHASE_KILLED));
    withdraw_session(table, copy, made->index);
    if (copy->lead == made->index) {
        withdraw_binding(table, copy, made->index);
        release_port(table, copy);
    } else {
        leave_binding(actor, copy->lead);
    }
    leave_place_of(table, copy);
    free_record(actor, made->index);
}

/* Step 2 of making: a record that is still private, so that the order of its words is all that matters. */
static void fill_record(struct actor *actor, const struct session_request *request, const struct found *lead,
                        struct found *made)
{
    struct record *record = record_at(actor->table, made->index);
    uint16_t generation = (uint16_t)(life_generation(atomic_load64(&record->life)) + 1);
    made->copy = (struct record){.life = life_make(request->tick, generation, 0, PHASE_MAKING),
                                 .client = request->key.client,
                                 .remote = request->key.remote,
                                 .client_port = request->key.client_port,
                                 .remote_port = request->key.remote_port,
                                 .pool = request->pool,
                                 .pool_port = request->pool_port,
                                 .address = request->address,
                                 .lead = made->index,
                                 .transport = request->key.transport,
                                 .instance = request->key.instance,
                                 .lane = (uint16_t)actor->lane,
                                 .users = users_make(generation, 0, 1),
                                 .until = request->expires,
                                 .kind = RECORD_NAT64,
                                 .counted = request->sessions_per_subscriber != 0};
    if (lead != NULL) {
        made->copy.pool = lead->copy.pool;
        made->copy.pool_port = lead->copy.pool_port;
        made->copy.address = lead->copy.address;
        made->copy.lead = lead->index;
        made->copy.users = users_make(generation, 0, 0);
    }
    atomic_store64(&record->life, made->copy.life);
    record_fill(record, &made->copy);
    struct traffic *traffic = actor->table->constants.counters ? traffic_at(actor->table, made->index) : NULL;
    if (traffic != NULL) {
        /* A reader that took the record for what it was may still count in here. */
        atomic_store64(&traffic->packets6, 0);
        atomic_store64(&traffic->bytes6, 0);
        atomic_store64(&traffic->packets4, 0);
        atomic_store64(&traffic->bytes4, 0);
    }
}

/* The caller's port goes back when a making fails before a record holds it. */
static enum made refuse(struct actor *actor, const struct session_request *request, const struct found *lead,
                        enum made why)
{
    if (lead == NULL)
        ports_release(port_map_at(actor->table, request->address, request->key.transport),
                      from_be16(request->pool_port));
    return why;
}

enum made session_make(struct actor *actor, const struct session_request *request, const struct found *lead,
                       struct found *made)
{
    const struct table *table = actor->table;
    bool counted = request->sessions_per_subscriber != 0;
    enum made place = take_place(table, request);
    if (place != MADE)
        return refuse(actor, request, lead, place);
    made->index = records_take(table, actor->lane);
    if (made->index == NO_RECORD) {
        leave_place(table, &request->key.client, request->key.instance, counted);
        return refuse(actor, request, lead, MADE_TABLE_FULL);
    }
    if (lead != NULL) {
        struct record *binding = record_at(table, lead->index);
        if (!binding_join(binding, life_generation(lead->copy.life))) {
            leave_place(table, &request->key.client, request->key.instance, counted);
            records_push(table, actor->lane, made->index);
            return MADE_LOOK_AGAIN;
        }
        binding_raise(binding, request->expires);
    }
    fill_record(actor, request, lead, made);
    if (lead == NULL)
        atomic_store32(
            owner_at(table, request->address, request->key.transport, from_be16(request->pool_port)),
            made->index + 1);
    enum made result = publish_session(actor, request, made);
    if (result != MADE) {
        undo_session(actor, made);
        return result;
    }
    atomic_count(&actor->sessions_created, 1);
    if (lead == NULL)
        atomic_count(&actor->bindings_created, 1);
    return MADE;
}

/* Takes the port and its owner cell for a static binding; false, nothing taken: somebody has it. */
static bool take_port(const struct table *table, const struct session_request *request, uint32_t own)
{
    uint16_t port = from_be16(request->pool_port);
    struct port_map *map = port_map_at(table, request->address, request->key.transport);
    uint32_t *owner = owner_at(table, request->address, request->key.transport, port);
    if (atomic_load32(owner) != 0 || !ports_take_static(map, port))
        return false;
    if (atomic_swap_if32(owner, 0, own + 1))
        return true;
    ports_release(map, port);
    return false;
}

/* Is the binding that the client's port has already on the very pool port? Then it is made static. */
static bool convert_to_static(struct actor *actor, const struct session_request *request)
{
    struct binding_key key = binding_key_of(&request->key);
    struct found lead;
    if (!binding_find(actor->table, &key, request->tick, &lead) || lead.copy.pool != request->pool ||
        lead.copy.pool_port != request->pool_port)
        return false;
    struct record *record = record_at(actor->table, lead.index);
    for (unsigned tries = 0; tries < JOIN_TRIES; tries++) {
        uint64_t users = atomic_load64(&record->users);
        if (users_generation(users) != life_generation(lead.copy.life) || users_count(users) == 0 ||
            (users & (USERS_CLOSING | USERS_STATIC)) != 0)
            return false;
        if (atomic_swap_if64(&record->users, users, (users | USERS_STATIC) + 1))
            return true;
    }
    return false;
}

bool binding_make_static(struct actor *actor, const struct session_request *request)
{
    const struct table *table = actor->table;
    struct found made;
    if (convert_to_static(actor, request))
        return true;
    made.index = records_take(table, actor->lane);
    if (made.index == NO_RECORD)
        return false;
    if (!take_port(table, request, made.index)) {
        records_push(table, actor->lane, made.index);
        return false;
    }
    fill_record(actor, request, NULL, &made);
    uint16_t generation = life_generation(made.copy.life);
    struct record *record = record_at(table, made.index);
    atomic_store64(&record->users, users_make(generation, USERS_STATIC, 1));
    struct binding_key key = record_binding_key(&made.copy);
    uint64_t hash = hash_binding(table, &key);
    bool published = index_publish(table, SEGMENT_BINDINGS, hash, slot_of(&made.copy, hash, made.index));
    atomic_settle();
    if (published && no_rival_binding(actor, made.index, &key, hash, request->tick) &&
        atomic_swap_if64(&record->life, made.copy.life, life_make(0, generation, 0, PHASE_BINDING))) {
        atomic_count(&actor->bindings_created, 1);
        return true;
    }
    atomic_store64(&record->life, life_in(made.copy.life, PHASE_KILLED));
    withdraw_binding(table, &made.copy, made.index);
    release_port(table, &made.copy);
    free_record(actor, made.index);
    return false;
}

void binding_end_static(struct actor *actor, const struct found *lead)
{
    struct record *record = record_at(actor->table, lead->index);
    for (;;) {
        uint64_t users = atomic_load64(&record->users);
        if (users_generation(users) != life_generation(lead->copy.life) || (users & USERS_STATIC) == 0)
            return;
        if (atomic_swap_if64(&record->users, users, (users & ~USERS_STATIC) | USERS_CLOSING))
            break;
    }
    leave_binding(actor, lead->index);
}
