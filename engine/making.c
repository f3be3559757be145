/* SPDX-License-Identifier: BSD-2-Clause */
#include "engine/making.h"

#include "engine/permissions.h"

/* The count of an instance's sessions. */
WIRE_INLINE uint32_t *sessions_of(const struct table *table, uint8_t instance)
{
    struct table_header *header = header_of(table);
    return absent(header) ? NULL : &header->sessions[below(NAT64_INSTANCES_MAXIMUM, instance)];
}

/* Step 1 of making: a place in the count of the instance's sessions. */
TABLE_FUNCTION enum made count_session(const struct table *table, uint8_t instance, uint32_t limit)
{
    uint32_t *sessions = sessions_of(table, instance);
    if (absent(table) || absent(sessions))
        return MADE_TABLE_FULL;
    for (size_t tries = 0; tries < JOIN_TRIES; tries++) {
        uint32_t count = atomic_load32(sessions);
        if (count >= limit)
            return MADE_TABLE_FULL;
        if (atomic_swap_if32(sessions, count, count + 1))
            return MADE;
    }
    return MADE_LOOK_AGAIN;
}

WIRE_INLINE void uncount_session(const struct table *table, uint8_t instance)
{
    uint32_t *sessions = sessions_of(table, instance);
    if (!absent(sessions))
        atomic_add32(sessions, (uint32_t)-1);
}

/* What a new session's `counted` is to be. */
WIRE_INLINE uint32_t counted_for(const struct table *table, const struct session_request *request)
{
    const struct table_header *header = header_of(table);
    if (absent(header) || request->sessions_per_subscriber == 0)
        return 0;
    const uint8_t *bits =
        &header->instance[below(NAT64_INSTANCES_MAXIMUM, request->key.instance)].subscriber_prefix;
    return 1u + atomic_load8(bits);
}

/* ... and in that of its subscriber's. */
WIRE_INLINE enum made take_place(const struct actor *actor, const struct session_request *request,
                                 uint32_t counted)
{
    const struct table *table = table_of(actor);
    uint8_t instance = request->key.instance;
    enum made place = count_session(table, instance, request->sessions);
    if (place != MADE || counted == 0)
        return place;
    switch (subscriber_join(table, hash_subscriber(table, &request->key.client, counted - 1, instance),
                            request->sessions_per_subscriber, actor->lane)) {
    case SUBSCRIBER_JOINED:
        return MADE;
    case SUBSCRIBER_AT_LIMIT:
        place = MADE_SUBSCRIBER_FULL;
        break;
    case SUBSCRIBER_NO_PLACE:
        place = MADE_INDEX_FULL;
        break;
    case SUBSCRIBER_CONTENTION:
    default:
        place = MADE_LOOK_AGAIN;
        break;
    }
    uncount_session(table, instance);
    return place;
}

WIRE_INLINE bool leave_place(const struct table *table, const struct ipv6_address *client, uint8_t instance,
                             uint32_t counted)
{
    if (absent(table) || absent(client))
        return false;
    uncount_session(table, instance);
    return counted == 0 || subscriber_leave(table, hash_subscriber(table, client, counted - 1, instance));
}

/* Gives the port of a binding back, the owner cell first: a cell names a lead or nobody. */
TABLE_FUNCTION bool release_port(const struct table *table, const struct record *lead)
{
    if (absent(table) || absent(lead))
        return false;
    uint32_t *owner = owner_at(table, lead->address, lead->transport, from_be16(lead->pool_port));
    struct port_map *map = port_map_at(table, lead->address, lead->transport);
    if (absent(owner) || absent(map))
        return false;
    atomic_store32(owner, 0);
    ports_release(map, from_be16(lead->pool_port));
    return true;
}

WIRE_INLINE bool free_record(struct actor *actor, uint32_t index)
{
    struct record *record = record_at(table_of(actor), index);
    if (absent(actor) || absent(record))
        return false;
    uint16_t generation = life_generation(atomic_load64(&record->life));
    atomic_store64(&record->life, life_make(0, generation, 0, PHASE_FREE));
    return records_push(table_of(actor), actor->lane, index);
}

/* The record is the caller's, in the table or a copy: what identifies it is changed by nobody else. */
WIRE_INLINE void withdraw_binding(const struct table *table, const struct record *lead, uint32_t index)
{
    uint64_t hash = hash_record_binding(table, lead);
    uint16_t generation = life_generation(atomic_load64(&lead->life));
    (void)index_withdraw(table, SEGMENT_BINDINGS, hash, slot_make(hash, generation, index));
}

TABLE_FUNCTION bool withdraw_session(const struct table *table, const struct record *record, uint32_t index)
{
    if (absent(table) || absent(record))
        return false;
    uint16_t generation = life_generation(atomic_load64(&record->life));
    uint64_t hash = hash_record6(table, record);
    (void)index_withdraw(table, SEGMENT_SESSION6, hash, slot_make(hash, generation, index));
    hash = hash_record4(table, record);
    (void)index_withdraw(table, SEGMENT_SESSION4, hash, slot_make(hash, generation, index));
    return true;
}

/* The rest of a binding that was astray; apart, because BPF has no room for one more frame below the other.
 */
TABLE_FUNCTION bool end_astray(struct actor *actor, uint32_t index)
{
    const struct table *table = table_of(actor);
    const struct record *lead = record_at(table, index);
    if (absent(actor) || absent(lead))
        return false;
    (void)pairing_leave(table, &lead->client, lead->instance, lead->address);
    return free_record(actor, index);
}

/*
 * One user less. Whoever was the last takes the binding down; its record holds no session any more. True: all
 * but end_astray, which is up to the caller.
 * rfc: 6146-3.1-b, 6146-3.1-c
 */
TABLE_FUNCTION bool leave_binding(struct actor *actor, uint32_t index)
{
    const struct table *table = table_of(actor);
    struct record *lead = record_at(table, index);
    if (absent(actor) || absent(lead))
        return false;
    uint64_t users = atomic_add64(&lead->users, (uint64_t)-1);
    if (users_count(users) != 1)
        return false;
    withdraw_binding(table, lead, index);
    (void)release_port(table, lead);
    atomic_count(&actor->bindings_ended, 1);
    if ((users & USERS_ASTRAY) != 0)
        return true;
    (void)free_record(actor, index);
    return false;
}

MAKING_FUNCTION bool session_end(struct actor *actor, uint32_t index, uint64_t life)
{
    const struct table *table = table_of(actor);
    struct record *record = record_at(table, index);
    if (absent(actor) || absent(record))
        return false;
    if (life_phase(life) != PHASE_LIVE || !atomic_swap_if64(&record->life, life, life_in(life, PHASE_ENDING)))
        return false;
    uint32_t lead = record->lead;
    (void)withdraw_session(table, record, index);
    if (lead != index && permissions_kept(table, record->instance))
        (void)permission_withdraw(table, record, index);
    if (state_is_half_open(life_state(life)))
        half_open_add(table, -1);
    uint64_t tail = atomic_or64(&record->tail, tail_with(0, COUNTED_ENDED));
    (void)leave_place(table, &record->client, record->instance, tail_counted(tail));
    atomic_count(&actor->sessions_ended, 1);
    if (lead == index)
        /* From here on the record is the binding's alone, and whoever leaves last frees it. */
        atomic_store64(&record->life, life_make(0, life_generation(life), 0, PHASE_BINDING));
    else
        (void)free_record(actor, index);
    if (leave_binding(actor, lead))
        (void)end_astray(actor, lead);
    return true;
}

/*
 * Takes a rival out of the way, if the slot names one and it may be; false: it has won, or others kept at it.
 */
TABLE_FUNCTION bool overcome_session(struct actor *actor, const struct found *self, uint64_t slot,
                                     uint32_t tick)
{
    uint32_t index = slot_index(slot);
    uint16_t generation = slot_generation(slot);
    if (absent(actor) || absent(self))
        return false;
    struct found *rival = &actor->rival;
    if (!slot_read(table_of(actor), slot, rival) || !share_session(&rival->copy, &self->copy))
        return true;
    struct record *record = record_at(table_of(actor), index);
    if (absent(record))
        return false;
    for (size_t tries = 0; tries < OVERCOME_TRIES; tries++) {
        uint64_t life = atomic_load64(&record->life);
        if (life_generation(life) != generation)
            return true;
        switch (life_phase(life)) {
        case PHASE_LIVE:
            if (life_expires(life) >= tick)
                return false;
            if (session_end(actor, index, life))
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
    return false;
}

TABLE_FUNCTION bool no_rival_session(struct actor *actor, const struct found *self, uint64_t hash,
                                     uint32_t tick)
{
    const struct table *table = table_of(actor);
    if (absent(actor) || absent(self))
        return false;
    struct index_walk walk = index_start(table, SEGMENT_SESSION6, hash);
    for (size_t step = 0; step < INDEX_PLACES; step++) {
        uint64_t slot = index_next(table, &walk);
        if (slot == 0)
            break;
        if (slot_index(slot) != self->index && !overcome_session(actor, self, slot, tick))
            return false;
    }
    return true;
}

enum rival {
    RIVAL_NONE,
    RIVAL_WON,
    RIVAL_CHANGED, /* while it was being judged: it is to be judged again, from the beginning */
};

/*
 * Takes another binding of the client's port out of the way, if all its sessions are past their lifetime.
 * What it judged by it names in the compare-and-swap that follows, so nobody can join or renew in between.
 */
WIRE_INLINE enum rival judge_binding(struct actor *actor, const struct found *rival, uint32_t tick)
{
    struct record *record = record_at(table_of(actor), rival->index);
    uint64_t life = rival->copy.life, users = rival->copy.users;
    enum phase phase = life_phase(life);
    if (absent(record) || phase == PHASE_FREE || phase == PHASE_KILLED)
        return RIVAL_NONE;
    if (phase == PHASE_MAKING)
        return atomic_swap_if64(&record->life, life, life_in(life, PHASE_KILLED)) ? RIVAL_NONE
                                                                                  : RIVAL_CHANGED;
    if (users_generation(users) != life_generation(life) || users_count(users) == 0 ||
        (users & USERS_CLOSING) != 0)
        return RIVAL_NONE; /* nobody joins it any more; its sessions may live on beside the new one's */
    if (binding_is_alive(&rival->copy, tick))
        return RIVAL_WON;
    if (users_count(users) == 1 && phase == PHASE_LIVE) {
        (void)session_end(actor, rival->index,
                          life); /* and the binding with it, unless somebody has joined */
        return RIVAL_CHANGED;
    }
    return atomic_swap_if64(&record->users, users, users | USERS_CLOSING) ? RIVAL_NONE : RIVAL_CHANGED;
}

/* The same of the record that a slot names, until nothing changes meanwhile; false: it has won. */
TABLE_FUNCTION bool overcome_binding(struct actor *actor, const struct found *self, uint64_t slot,
                                     uint32_t tick)
{
    if (absent(actor) || absent(self))
        return false;
    struct found *rival = &actor->rival;
    for (size_t tries = 0; tries < OVERCOME_TRIES; tries++) {
        if (!slot_read(table_of(actor), slot, rival) || !share_binding(&rival->copy, &self->copy))
            return true;
        enum rival judged = judge_binding(actor, rival, tick);
        if (judged != RIVAL_CHANGED)
            return judged == RIVAL_NONE;
    }
    return false;
}

/* rfc: 6146-3.1-d */
TABLE_FUNCTION bool no_rival_binding(struct actor *actor, const struct found *self, uint64_t hash,
                                     uint32_t tick)
{
    const struct table *table = table_of(actor);
    if (absent(actor) || absent(self))
        return false;
    struct index_walk walk = index_start(table, SEGMENT_BINDINGS, hash);
    for (size_t step = 0; step < INDEX_PLACES; step++) {
        uint64_t slot = index_next(table, &walk);
        if (slot == 0)
            break;
        if (slot_index(slot) != self->index && !overcome_binding(actor, self, slot, tick))
            return false;
    }
    return true;
}

/* Steps 3 to 5 of making: publish, look for rivals, commit. */
WIRE_INLINE enum made publish_session(struct actor *actor, const struct session_request *request,
                                      struct found *made)
{
    const struct table *table = table_of(actor);
    if (absent(actor) || absent(request) || absent(made))
        return MADE_INDEX_FULL;
    struct record *copy = &made->copy;
    bool leads = copy->lead == made->index;
    uint16_t generation = life_generation(copy->life);
    uint64_t hash = hash_record4(table, copy);
    if (!index_publish(table, SEGMENT_SESSION4, hash, slot_make(hash, generation, made->index)))
        return MADE_INDEX_FULL;
    hash = hash_record_binding(table, copy);
    if (leads && !index_publish(table, SEGMENT_BINDINGS, hash, slot_make(hash, generation, made->index)))
        return MADE_INDEX_FULL;
    uint64_t hash6 = hash_record6(table, copy);
    if (!index_publish(table, SEGMENT_SESSION6, hash6, slot_make(hash6, generation, made->index)))
        return MADE_INDEX_FULL;
    atomic_settle();
    if ((leads && !no_rival_binding(actor, made, hash, request->tick)) ||
        !no_rival_session(actor, made, hash6, request->tick))
        return MADE_LOOK_AGAIN;
    uint64_t live = life_make(request->expires, generation, request->state, PHASE_LIVE);
    struct record *record = record_at(table, made->index);
    if (absent(record) || !atomic_swap_if64(&record->life, copy->life, live))
        return MADE_LOOK_AGAIN;
    copy->life = live;
    return MADE;
}

/* Undoes a making that got no further than a killed or killable record. */
TABLE_FUNCTION bool undo_session(struct actor *actor, const struct found *made)
{
    const struct table *table = table_of(actor);
    if (absent(actor) || absent(made))
        return false;
    const struct record *copy = &made->copy;
    struct record *record = record_at(table, made->index);
    if (absent(record))
        return false;
    atomic_store64(&record->life, life_in(copy->life, PHASE_KILLED));
    (void)withdraw_session(table, copy, made->index);
    if (copy->lead == made->index) {
        withdraw_binding(table, copy, made->index);
        (void)release_port(table, copy);
        if ((copy->users & USERS_ASTRAY) != 0)
            (void)pairing_leave(table, &copy->client, copy->instance, copy->address);
    } else if (leave_binding(actor, copy->lead)) {
        (void)end_astray(actor, copy->lead);
    }
    (void)leave_place(table, &copy->client, copy->instance, copy->counted);
    return free_record(actor, made->index);
}

/* Step 2 of making: a record that is still private, so that the order of its words is all that matters. */
TABLE_FUNCTION bool fill_record(const struct actor *actor, const struct session_request *request,
                                const struct found *lead, struct found *made, uint32_t counted)
{
    if (absent(actor) || absent(request) || absent(made))
        return false;
    const struct table *table = table_of(actor);
    struct record *record = record_at(table, made->index);
    if (absent(record))
        return false;
    uint16_t generation = (uint16_t)(life_generation(atomic_load64(&record->life)) + 1);
    made->copy = (struct record){
        .life = life_make(request->tick, generation, 0, PHASE_MAKING),
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
        .users = users_make(generation, request->astray ? USERS_ASTRAY : 0, request->expires, 1),
        .kind = RECORD_NAT64,
        .counted = (uint8_t)counted,
        .generation = generation};
    if (lead != NULL) {
        made->copy.pool = lead->copy.pool;
        made->copy.pool_port = lead->copy.pool_port;
        made->copy.address = lead->copy.address;
        made->copy.lead = lead->index;
        made->copy.users = users_make(generation, 0, 0, 0);
    }
    atomic_store64(&record->life, made->copy.life);
    record_fill(record, &made->copy);
    if (!table->constants.counters)
        return true;
    struct traffic *traffic = traffic_at(table, made->index);
    if (absent(traffic))
        return true;
    /* A reader that took the record for what it was may still count in here. */
    atomic_store64(&traffic->packets6, 0);
    atomic_store64(&traffic->bytes6, 0);
    atomic_store64(&traffic->packets4, 0);
    atomic_store64(&traffic->bytes4, 0);
    return true;
}

/* What take_place took. */
TABLE_FUNCTION bool give_place_back(const struct table *table, const struct session_request *request,
                                    uint32_t counted)
{
    if (absent(table) || absent(request))
        return false;
    return leave_place(table, &request->key.client, request->key.instance, counted);
}

/* What the caller has claimed for a new binding. */
TABLE_FUNCTION bool release_claim(const struct table *table, const struct session_request *request)
{
    if (absent(table) || absent(request))
        return false;
    struct port_map *map = port_map_at(table, request->address, request->key.transport);
    if (!absent(map))
        ports_release(map, from_be16(request->pool_port));
    return !request->astray ||
           pairing_leave(table, &request->key.client, request->key.instance, request->address);
}

/* The caller's port goes back when a making fails before a record holds it. */
WIRE_INLINE enum made refuse(const struct table *table, const struct session_request *request,
                             const struct found *lead, enum made why)
{
    if (lead == NULL)
        (void)release_claim(table, request);
    return why;
}

/* Writes who owns the port of a new binding. */
WIRE_INLINE void name_owner(const struct table *table, const struct session_request *request, uint32_t index)
{
    uint32_t *owner =
        owner_at(table, request->address, request->key.transport, from_be16(request->pool_port));
    if (!absent(owner))
        atomic_store32(owner, index + 1);
}

/* Joins the binding that was found; false: it has ended. */
WIRE_INLINE bool join_lead(const struct table *table, const struct found *lead, uint32_t expires)
{
    struct record *record = record_at(table, lead->index);
    return !absent(record) && binding_join(record, life_generation(lead->copy.life), expires);
}

WIRE_INLINE enum made make(struct actor *actor, const struct session_request *request,
                           const struct found *lead, struct found *made)
{
    const struct table *table = table_of(actor);
    uint32_t counted = counted_for(table, request);
    enum made place = take_place(actor, request, counted);
    if (place != MADE)
        return refuse(table, request, lead, place);
    made->index = records_take(table, actor->lane);
    if (made->index == NO_RECORD) {
        (void)give_place_back(table, request, counted);
        return refuse(table, request, lead, MADE_TABLE_FULL);
    }
    if (lead != NULL && !join_lead(table, lead, request->expires)) {
        (void)give_place_back(table, request, counted);
        (void)records_push(table, actor->lane, made->index);
        return MADE_LOOK_AGAIN;
    }
    (void)fill_record(actor, request, lead, made, counted);
    if (lead == NULL)
        name_owner(table, request, made->index);
    enum made result = publish_session(actor, request, made);
    if (result != MADE) {
        (void)undo_session(actor, made);
        return result;
    }
    atomic_count(&actor->sessions_created, 1);
    if (lead == NULL)
        atomic_count(&actor->bindings_created, 1);
    return MADE;
}

MAKING_FUNCTION enum made session_make(struct actor *actor, const struct session_request *request,
                                       const struct found *lead, struct found *made)
{
    if (absent(actor) || absent(request) || absent(made))
        return MADE_INDEX_FULL;
    const struct table *table = table_of(actor);
    bool half_open = state_is_half_open(request->state);
    if (half_open && !half_open_join(actor))
        return refuse(table, request, lead, MADE_TABLE_FULL);
    enum made result = make(actor, request, lead, made);
    if (result == MADE) {
        if (half_open)
            (void)half_open_enter(actor, made->index, life_generation(made->copy.life));
        (void)permission_enter(table, made);
    } else if (half_open) {
        half_open_add(table, -1);
    }
    return result;
}

/* Takes the port and its owner cell for a static binding; false, nothing taken: somebody has it. */
WIRE_INLINE bool take_port(const struct table *table, const struct session_request *request, uint32_t own)
{
    uint16_t port = from_be16(request->pool_port);
    struct port_map *map = port_map_at(table, request->address, request->key.transport);
    uint32_t *owner = owner_at(table, request->address, request->key.transport, port);
    if (absent(map) || absent(owner))
        return false;
    if (atomic_load32(owner) != 0 || !ports_take_static(map, port))
        return false;
    if (atomic_swap_if32(owner, 0, own + 1))
        return true;
    ports_release(map, port);
    return false;
}

/* Is the binding the client's port has already on the very pool port? Then it is made static. */
TABLE_FUNCTION bool convert_to_static(const struct table *table, const struct session_request *request)
{
    struct found lead = {0};
    if (absent(table) || absent(request))
        return false;
    struct binding_key key = binding_key_of(&request->key);
    if (!binding_find(table, &key, request->tick, &lead) || lead.copy.pool != request->pool ||
        lead.copy.pool_port != request->pool_port)
        return false;
    struct record *record = record_at(table, lead.index);
    for (size_t tries = 0; !absent(record) && tries < JOIN_TRIES; tries++) {
        uint64_t users = atomic_load64(&record->users);
        if (users_generation(users) != life_generation(lead.copy.life) || users_count(users) == 0 ||
            users_count(users) == USERS_MAXIMUM || (users & (USERS_CLOSING | USERS_STATIC)) != 0)
            return false;
        if (atomic_swap_if64(&record->users, users, (users | USERS_STATIC) + 1))
            return true;
    }
    return false;
}

/* rfc: 6146-3.1-a */
MAKING_FUNCTION bool binding_make_static(struct actor *actor, const struct session_request *request)
{
    struct found made = {0};
    if (absent(actor) || absent(request))
        return false;
    const struct table *table = table_of(actor);
    if (convert_to_static(table, request))
        return true;
    made.index = records_take(table, actor->lane);
    if (made.index == NO_RECORD)
        return false;
    if (!take_port(table, request, made.index)) {
        (void)records_push(table, actor->lane, made.index);
        return false;
    }
    (void)fill_record(actor, request, NULL, &made, 0);
    uint16_t generation = life_generation(made.copy.life);
    struct record *record = record_at(table, made.index);
    if (absent(record))
        return false;
    atomic_store64(&record->users, users_make(generation, USERS_STATIC, request->tick, 1));
    uint64_t hash = hash_record_binding(table, &made.copy);
    bool published = index_publish(table, SEGMENT_BINDINGS, hash, slot_make(hash, generation, made.index));
    atomic_settle();
    if (published && no_rival_binding(actor, &made, hash, request->tick) &&
        atomic_swap_if64(&record->life, made.copy.life, life_make(0, generation, 0, PHASE_BINDING))) {
        atomic_count(&actor->bindings_created, 1);
        return true;
    }
    atomic_store64(&record->life, life_in(made.copy.life, PHASE_KILLED));
    withdraw_binding(table, &made.copy, made.index);
    (void)release_port(table, &made.copy);
    (void)free_record(actor, made.index);
    return false;
}

MAKING_FUNCTION bool binding_end_static(struct actor *actor, const struct found *lead)
{
    if (absent(actor) || absent(lead))
        return false;
    struct record *record = record_at(table_of(actor), lead->index);
    for (size_t tries = 0; !absent(record) && tries < JOIN_TRIES; tries++) {
        uint64_t users = atomic_load64(&record->users);
        if (users_generation(users) != life_generation(lead->copy.life) || (users & USERS_STATIC) == 0)
            return false;
        if (!atomic_swap_if64(&record->users, users, (users & ~USERS_STATIC) | USERS_CLOSING))
            continue;
        if (leave_binding(actor, lead->index))
            (void)end_astray(actor, lead->index);
        return true;
    }
    return false;
}
