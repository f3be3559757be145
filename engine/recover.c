/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Going on with the sessions of an earlier run.
 *
 * However that run ended, what it left is taken apart and put together again: there is no clean end to tell
 * from a crash, and so no path that only a crash takes. The truth is in the records alone. A record is kept
 *
 *   as a session   if it is LIVE, not past its lifetime, makes sense, is still allowed by the settings,
 *                  and the record that it names as its lead carries the binding that it says
 *   as a binding   if sessions kept have it as their lead
 *
 * and freed otherwise: so go the half-made (MAKING, KILLED) and the half-ended (ENDING). Then indexes, port
 * maps, owner cells, counts and stacks are built from what is kept, in passes over the records:
 *
 *   weigh      each record on its own; `users` of those that may carry a binding becomes 0
 *   count      each session kept is counted by its lead
 *   bind       leads with sessions get their port, owner cell and entry in `bindings`
 *   publish    sessions get their entries and are counted
 *   free       what remains goes onto the stacks
 *
 * A run killed in here leaves records that the next one weighs just the same.
 *
 * A table of another geometry is copied first, record by record, into the new one. The configuration may have
 * changed as well: an instance is known again by its prefix, a pool address by itself. In a table that is
 * used where it is, instances keep their numbers: renumbering could be interrupted half-way. Static bindings
 * come back as dynamic ones if they have sessions; entering those of the configuration makes them static
 * again.
 */
#include "engine/memory.h"
#include "engine/permissions.h"
#include "engine/tcp_state.h"
#include "engine/worker.h"

enum {
    AHEAD = 16, /* records whose places are being fetched while earlier ones are entered */
    PROGRESS_RECORDS = 1 << 16,
    PASSES = 5,
};

struct recovery {
    struct engine *engine;
    const struct engine_options *options;
    struct table *table;
    struct engine_continued *continued;
    uint32_t tick;
    uint32_t used;
    uint32_t done;                         /* records gone through, of PASSES times `used` */
    int instance[NAT64_INSTANCES_MAXIMUM]; /* what an instance of then is now; -1: gone */
};

static void report(struct recovery *recovery)
{
    recovery->done++;
    if (recovery->options->progress != NULL && recovery->done % PROGRESS_RECORDS == 0)
        recovery->options->progress(recovery->options->context, recovery->done / PASSES, recovery->used);
}

static void clear_segment(const struct table *table, const struct geometry *geometry, enum segment segment)
{
    struct extent extent = table_extent(geometry, segment);
    if (extent.count != 0)
        __builtin_memset(table->segment[segment], 0, extent.element * extent.count);
}

static struct rfc6052_prefix prefix_of(const struct instance_identity *identity)
{
    struct rfc6052_prefix prefix = {.length = identity->prefix_length};
    __builtin_memcpy(prefix.address.bytes, identity->prefix, sizeof(prefix.address.bytes));
    return prefix;
}

/* Which of the instances is meant by what the table says about them. */
static void match_instances(struct recovery *recovery, const struct table_header *header)
{
    for (uint32_t i = 0; i < NAT64_INSTANCES_MAXIMUM; i++) {
        struct rfc6052_prefix then = prefix_of(&header->instance[i]);
        recovery->instance[i] = rules_number(recovery->engine->rules, &then);
    }
}

void read_identities(const struct table *table, struct rules *rules)
{
    __builtin_memset(rules, 0, sizeof(*rules));
    rules->settings.nat64_count = NAT64_INSTANCES_MAXIMUM;
    for (uint32_t i = 0; i < NAT64_INSTANCES_MAXIMUM; i++)
        rules->settings.nat64[i].prefix = prefix_of(&header_of(table)->instance[i]);
}

/*
 * An identity that changes is made void first: who is killed in between leaves no prefix of which one half is
 * another's.
 */
void write_identities(const struct table *table, const struct rules *rules)
{
    for (uint32_t i = 0; i < NAT64_INSTANCES_MAXIMUM; i++) {
        struct instance_identity *identity = &header_of(table)->instance[i];
        const struct nat64_settings *nat64 = &rules->settings.nat64[i];
        struct rfc6052_prefix prefix = prefix_of(identity);
        __atomic_store_n(&identity->subscriber_prefix, nat64->subscriber_prefix, __ATOMIC_RELAXED);
        if (prefix.length == nat64->prefix.length && ipv6_equal(&prefix.address, &nat64->prefix.address))
            continue;
        __atomic_store_n(&identity->prefix_length, 0, __ATOMIC_RELAXED);
        __atomic_signal_fence(__ATOMIC_SEQ_CST);
        __builtin_memcpy(identity->prefix, nat64->prefix.address.bytes, sizeof(identity->prefix));
        __atomic_signal_fence(__ATOMIC_SEQ_CST);
        __atomic_store_n(&identity->prefix_length, (uint8_t)nat64->prefix.length, __ATOMIC_RELAXED);
    }
}

/* --- weigh -------------------------------------------------------------------------------------- */

static bool makes_sense(const struct recovery *recovery, const struct record *record)
{
    return record->kind == RECORD_NAT64 && record->transport < TRANSPORT_COUNT &&
           record->instance < NAT64_INSTANCES_MAXIMUM && life_state(record->life) < TCP_STATE_COUNT &&
           record->lead < recovery->used;
}

static bool has_static_port(const struct nat64_settings *nat64, const struct record *record)
{
    for (uint32_t i = 0; i < nat64->static_count; i++)
        if (nat64->statics[i].ipv4 == record->pool && nat64->statics[i].port4 == record->pool_port &&
            nat64->statics[i].transport == record->transport)
            return true;
    return false;
}

/* Makes the record's instance and pool address those of the rules; false: they do not allow it. */
static bool allow(const struct recovery *recovery, struct record *record)
{
    const struct rules *rules = recovery->engine->rules;
    int instance = recovery->instance[record->instance];
    enum standing standing = rules_judge(recovery->table, rules, instance, record);
    if (standing != STANDING_GOOD &&
        (standing != STANDING_NO_PORT || !has_static_port(&rules->settings.nat64[instance], record)))
        return false;
    record->instance = (uint8_t)instance;
    record->address = rules->pool.address[pool_find(rules, record->pool)].place;
    return true;
}

/* No session outlives what the settings give the longest-lived one. */
static uint32_t sensible_end(const struct recovery *recovery, const struct record *record)
{
    const struct nat64_timeouts *timeouts =
        &recovery->engine->rules->settings.nat64[record->instance].timeouts;
    const uint32_t tcp[] = {timeouts->tcp_transitory, timeouts->tcp_opening, timeouts->tcp_closing};
    uint32_t longest = timeouts->udp;
    if (record->transport == TRANSPORT_ICMP)
        longest = timeouts->icmp;
    if (record->transport == TRANSPORT_TCP)
        longest = timeouts->tcp_established;
    for (unsigned i = 0; record->transport == TRANSPORT_TCP && i < sizeof(tcp) / sizeof(tcp[0]); i++)
        longest = tcp[i] > longest ? tcp[i] : longest;
    uint32_t latest = recovery->tick + longest;
    uint32_t end = life_expires(record->life);
    return end < latest ? end : latest;
}

/* What is left of a record on its own: phase LIVE, BINDING (if others keep it) or FREE. */
static enum phase weigh(struct recovery *recovery, struct record *record, uint32_t index)
{
    struct engine_continued *continued = recovery->continued;
    enum phase phase = life_phase(record->life);
    bool leads = record->lead == index;
    if (phase == PHASE_FREE)
        return PHASE_FREE;
    if (phase == PHASE_MAKING || phase == PHASE_KILLED || phase == PHASE_ENDING)
        continued->undone++;
    if (phase == PHASE_MAKING || phase == PHASE_KILLED) /* which need not make sense */
        return PHASE_FREE;
    if (phase > PHASE_KILLED || !makes_sense(recovery, record)) {
        continued->damaged++;
        return PHASE_FREE;
    }
    if (phase != PHASE_LIVE && !leads)
        return PHASE_FREE;
    if (!allow(recovery, record)) {
        continued->disallowed += phase == PHASE_LIVE;
        return PHASE_FREE;
    }
    if (phase != PHASE_LIVE)
        return PHASE_BINDING;
    if (life_expires(record->life) >= recovery->tick)
        return PHASE_LIVE;
    continued->expired++;
    return leads ? PHASE_BINDING : PHASE_FREE;
}

static void weigh_all(struct recovery *recovery)
{
    for (uint32_t i = 0; i < recovery->used; i++, report(recovery)) {
        struct record *record = record_at(recovery->table, i);
        enum phase phase = weigh(recovery, record, i);
        uint16_t generation = life_generation(record->life);
        uint32_t expires = phase == PHASE_LIVE ? sensible_end(recovery, record) : 0;
        uint8_t state = phase == PHASE_LIVE ? life_state(record->life) : 0;
        record->users = users_make(generation, 0, recovery->tick, 0);
        record->life = life_make(expires, generation, state, phase);
    }
}

/* --- count -------------------------------------------------------------------------------------- */

static bool belongs(const struct record *session, const struct record *lead, uint32_t lead_index)
{
    return lead->lead == lead_index && life_phase(lead->life) != PHASE_FREE &&
           users_count(lead->users) < USERS_MAXIMUM && ipv6_equal(&session->client, &lead->client) &&
           session->client_port == lead->client_port && session->transport == lead->transport &&
           session->instance == lead->instance && session->pool == lead->pool &&
           session->pool_port == lead->pool_port;
}

static void count_all(struct recovery *recovery)
{
    for (uint32_t i = 0; i < recovery->used; i++, report(recovery)) {
        struct record *record = record_at(recovery->table, i);
        if (life_phase(record->life) != PHASE_LIVE)
            continue;
        struct record *lead = record_at(recovery->table, record->lead);
        if (belongs(record, lead, record->lead)) {
            lead->users = users_raised(lead->users, life_expires(record->life)) + 1;
        } else {
            recovery->continued->damaged++;
            record->life = life_in(record->life, PHASE_FREE);
        }
    }
}

/* --- bind and publish: random places, so they are fetched ahead ----------------------------------- */

struct pending {
    uint32_t index;
    uint64_t hash, hash4, hash_subscriber; /* of the binding; or of session6, session4 and subscriber */
};

/*
 * Goes through all records: `prepare` says whether one is concerned and fetches what `act`, which is called
 * AHEAD such records later, will touch.
 */
static void go_through(struct recovery *recovery,
                       bool (*prepare)(const struct recovery *recovery, struct pending *pending),
                       void (*act)(struct recovery *recovery, const struct pending *pending))
{
    struct pending ahead[AHEAD];
    uint32_t first = 0, count = 0;
    for (uint32_t i = 0; i < recovery->used; i++, report(recovery)) {
        struct pending pending = {.index = i};
        if (!prepare(recovery, &pending))
            continue;
        if (count == AHEAD) {
            act(recovery, &ahead[first]);
            first = (first + 1) % AHEAD;
            count--;
        }
        ahead[(first + count) % AHEAD] = pending;
        count++;
    }
    for (; count > 0; count--, first = (first + 1) % AHEAD)
        act(recovery, &ahead[first]);
}

static void fetch(const struct table *table, enum segment segment, uint64_t hash)
{
    __builtin_prefetch(bucket_at(table, segment, hash_bucket(table, hash)), 1);
}

/* --- bind --------------------------------------------------------------------------------------- */

static bool prepare_binding(const struct recovery *recovery, struct pending *pending)
{
    const struct table *table = recovery->table;
    const struct record *lead = record_at(table, pending->index);
    if (life_phase(lead->life) == PHASE_FREE || lead->lead != pending->index)
        return false;
    struct binding_key key = record_binding_key(lead);
    pending->hash = hash_binding(table, &key);
    fetch(table, SEGMENT_BINDINGS, pending->hash);
    __builtin_prefetch(owner_at(table, lead->address, lead->transport, from_be16(lead->pool_port)), 1);
    return true;
}

/* Another binding of the client's port: one that was closed and had sessions left, or damage. */
static bool has_rival(const struct table *table, const struct record *lead, uint64_t hash)
{
    struct binding_key key = record_binding_key(lead);
    struct index_walk walk = index_start(table, SEGMENT_BINDINGS, hash);
    for (uint64_t slot = index_next(table, &walk); slot != 0; slot = index_next(table, &walk))
        if (record_has_binding(record_at(table, slot_index(slot)), &key))
            return true;
    return false;
}

/* Gives a lead its port and its entry; false: another has the port, or there is no place in the index. */
static bool take_port(const struct table *table, const struct record *lead, const struct pending *pending)
{
    uint16_t port = from_be16(lead->pool_port);
    uint32_t *owner = owner_at(table, lead->address, lead->transport, port);
    if (*owner != 0 || has_rival(table, lead, pending->hash) ||
        !index_publish(table, SEGMENT_BINDINGS, pending->hash,
                       slot_make(pending->hash, life_generation(lead->life), pending->index)))
        return false;
    *owner = pending->index + 1;
    return ports_take_static(port_map_at(table, lead->address, lead->transport), port);
}

/* The pool may have changed: whether a binding is where its client's hash says is found out anew. */
static void pair(const struct recovery *recovery, struct record *lead)
{
    struct key6 key = record_key6(lead);
    if (!pool_prefers(recovery->table, recovery->engine->rules, lead) &&
        pairing_enter(recovery->table, &key, lead->address, 0))
        lead->users |= USERS_ASTRAY;
}

static void bind(struct recovery *recovery, const struct pending *pending)
{
    struct record *lead = record_at(recovery->table, pending->index);
    if (users_count(lead->users) != 0 && take_port(recovery->table, lead, pending)) {
        pair(recovery, lead);
        recovery->continued->bindings++;
        return;
    }
    recovery->continued->no_room += users_count(lead->users);
    lead->users = users_make(life_generation(lead->life), 0, recovery->tick, 0);
    lead->life = life_in(lead->life, PHASE_FREE);
}

/* --- publish ------------------------------------------------------------------------------------ */

static bool prepare_session(const struct recovery *recovery, struct pending *pending)
{
    const struct table *table = recovery->table;
    const struct record *record = record_at(table, pending->index);
    if (life_phase(record->life) != PHASE_LIVE)
        return false;
    const struct nat64_settings *nat64 = &recovery->engine->rules->settings.nat64[record->instance];
    struct key6 key6 = record_key6(record);
    struct key4 key4 = record_key4(record);
    pending->hash = hash_key6(table, &key6);
    pending->hash4 = hash_key4(table, &key4);
    pending->hash_subscriber =
        hash_subscriber(table, &record->client, nat64->subscriber_prefix, record->instance);
    fetch(table, SEGMENT_SESSION6, pending->hash);
    fetch(table, SEGMENT_SESSION4, pending->hash4);
    fetch(table, SEGMENT_SUBSCRIBERS, pending->hash_subscriber);
    return true;
}

/* The order in which they came is not known any more. */
static void count_half_open(const struct recovery *recovery, const struct record *record, uint32_t index)
{
    struct table_header *header = header_of(recovery->table);
    if (!state_is_half_open(life_state(record->life)))
        return;
    header->half_open++;
    if (header->half_open_head < half_open_places(recovery->table))
        *half_open_slot_at(recovery->table, (uint32_t)header->half_open_head++) =
            slot_make(0, life_generation(record->life), index);
}

/* Live sessions stay, even more than a lowered limit allows. */
static void count_place(const struct recovery *recovery, struct record *record, uint64_t subscriber)
{
    const struct nat64_settings *nat64 = &recovery->engine->rules->settings.nat64[record->instance];
    header_of(recovery->table)->sessions[record->instance]++;
    bool counted =
        nat64->sessions_per_subscriber != 0 &&
        subscriber_join(recovery->table, subscriber, SUBSCRIBER_SESSIONS_MAXIMUM, 0) == SUBSCRIBER_JOINED;
    record->counted = counted ? (uint8_t)(nat64->subscriber_prefix + 1) : 0;
}

/* The session's entries in both indexes; false: there is no room for one of them. */
static bool enter(const struct table *table, const struct record *record, const struct pending *pending)
{
    uint16_t generation = life_generation(record->life);
    uint64_t slot6 = slot_make(pending->hash, generation, pending->index);
    uint64_t slot4 = slot_make(pending->hash4, generation, pending->index);
    if (!index_publish(table, SEGMENT_SESSION4, pending->hash4, slot4))
        return false;
    if (index_publish(table, SEGMENT_SESSION6, pending->hash, slot6))
        return true;
    index_withdraw(table, SEGMENT_SESSION4, pending->hash4, slot4);
    return false;
}

static void publish(struct recovery *recovery, const struct pending *pending)
{
    struct record *record = record_at(recovery->table, pending->index);
    struct record *lead = record_at(recovery->table, record->lead);
    struct key6 key = record_key6(record);
    struct found twin;
    if (users_count(lead->users) == 0) { /* its binding found no room, and all its sessions were counted */
        record->life = life_in(record->life, PHASE_FREE);
    } else if (session_find6(recovery->table, &key, pending->hash, recovery->tick, &twin)) {
        recovery->continued->damaged++;
        lead->users--;
        record->life = life_in(record->life, record->lead == pending->index ? PHASE_BINDING : PHASE_FREE);
    } else if (enter(recovery->table, record, pending)) {
        count_place(recovery, record, pending->hash_subscriber);
        count_half_open(recovery, record, pending->index);
        (void)permission_enter(recovery->table, &(struct found){.index = pending->index, .copy = *record});
        recovery->continued->sessions++;
    } else {
        recovery->continued->no_room++;
        lead->users--;
        record->life = life_in(record->life, record->lead == pending->index ? PHASE_BINDING : PHASE_FREE);
    }
}

/* --- free --------------------------------------------------------------------------------------- */

/* A binding all of whose sessions found no room. */
static void unbind(struct recovery *recovery, struct record *lead, uint32_t index)
{
    const struct table *table = recovery->table;
    struct binding_key key = record_binding_key(lead);
    uint64_t hash = hash_binding(table, &key);
    index_withdraw(table, SEGMENT_BINDINGS, hash, slot_make(hash, life_generation(lead->life), index));
    *owner_at(table, lead->address, lead->transport, from_be16(lead->pool_port)) = 0;
    ports_release(port_map_at(table, lead->address, lead->transport), from_be16(lead->pool_port));
    if ((lead->users & USERS_ASTRAY) != 0)
        (void)pairing_leave(table, &lead->client, lead->instance, lead->address);
    lead->life = life_in(lead->life, PHASE_FREE);
    recovery->continued->bindings--;
}

/* From the last to the first, so that a stack gives the first out first. */
static void free_all(struct recovery *recovery)
{
    uint32_t lanes = recovery->table->constants.lanes - 1;
    for (uint32_t i = recovery->used; i-- > 0; report(recovery)) {
        struct record *record = record_at(recovery->table, i);
        if (life_phase(record->life) == PHASE_BINDING && users_count(record->users) == 0)
            unbind(recovery, record, i);
        if (life_phase(record->life) == PHASE_FREE)
            records_push(recovery->table, (i / SWEEP_RECORDS) % lanes, i);
    }
}

/* --- copy --------------------------------------------------------------------------------------- */

static bool lives(const struct recovery *recovery, const struct record *record, uint32_t used)
{
    return life_is_session(record->life, recovery->tick) && record->lead < used;
}

/* A record as this version has it. In layout 2 `until` was a word in front of `kind` and `counted`. */
static struct record read_old(const struct table *from, uint32_t index)
{
    struct record record = *record_at(from, index);
    const uint8_t *bytes = (const uint8_t *)record_at(from, index);
    if (from->layout == 2) {
        record.kind = bytes[60];
        record.counted = bytes[61];
    }
    return record;
}

/* Copies one record to the next free place; false: there is none. `moved` tells where, plus one. */
static bool copy_record(struct recovery *recovery, const struct table *from, uint32_t index, uint32_t *moved)
{
    struct table_header *header = header_of(recovery->table);
    uint32_t place = (uint32_t)header->fresh;
    if (place >= recovery->table->constants.records)
        return false;
    struct record *record = record_at(recovery->table, place);
    *record = read_old(from, index);
    moved[index] = place + 1;
    record->lead = moved[record->lead] - 1;
    if (recovery->table->constants.counters && from->constants.counters)
        *traffic_at(recovery->table, place) = *traffic_at(from, index);
    header->fresh++;
    return true;
}

/* Of what is not copied, nothing would be kept; it is counted here because nobody looks at it again. */
static void count_uncopied(struct recovery *recovery, const struct record *record)
{
    enum phase phase = life_phase(record->life);
    recovery->continued->expired += phase == PHASE_LIVE;
    recovery->continued->undone += phase == PHASE_MAKING || phase == PHASE_KILLED || phase == PHASE_ENDING;
}

/* Copies the leads that sessions alive need, which are marked in `moved`. */
static void copy_leads(struct recovery *recovery, const struct table *from, uint32_t used, uint32_t *moved)
{
    for (uint32_t i = 0; i < used; i++) {
        const struct record *record = record_at(from, i);
        enum phase phase = life_phase(record->life);
        bool wanted = moved[i] != 0;
        moved[i] = 0;
        if (wanted && record->lead == i &&
            (phase == PHASE_LIVE || phase == PHASE_BINDING || phase == PHASE_ENDING)) {
            if (copy_record(recovery, from, i, moved))
                continue;
            recovery->continued->no_room += lives(recovery, record, used);
        } else if (!lives(recovery, record, used)) {
            count_uncopied(recovery, record);
        }
    }
}

/* Leads first, because a session needs its own; and only those of sessions that live, for want of room. */
static bool copy_all(struct recovery *recovery, const struct table *from)
{
    uint32_t used = records_used(from);
    uint32_t *moved = memory_map((size_t)used * sizeof(*moved) + 1);
    if (moved == NULL)
        return false;
    for (uint32_t i = 0; i < used; i++)
        if (lives(recovery, record_at(from, i), used))
            moved[record_at(from, i)->lead] = NO_RECORD;
    copy_leads(recovery, from, used, moved);
    for (uint32_t i = 0; i < used; i++) {
        const struct record *record = record_at(from, i);
        if (lives(recovery, record, used) && record->lead != i &&
            (moved[record->lead] == 0 || !copy_record(recovery, from, i, moved)))
            recovery->continued->no_room++;
    }
    memory_unmap(moved, (size_t)used * sizeof(*moved) + 1);
    return true;
}

/*
 * Empties all that is built anew. What lies in the memory of a table that was found says nothing about what
 * is there: its last owner had no rights and talked to the network.
 */
static void clear(const struct recovery *recovery)
{
    const struct table *table = recovery->table;
    struct table_header *header = header_of(table);
    if (!table->found && header->instance[0].prefix_length == 0)
        return; /* nobody has used it */
    header->fresh = recovery->used;
    for (uint32_t i = recovery->used; table->found && i < table->constants.records; i++)
        record_at(table, i)->life = 0;
    clear_segment(table, &header->geometry, SEGMENT_LANES);
    for (enum segment i = SEGMENT_SESSION6; i <= SEGMENT_HALF_OPEN; i++)
        clear_segment(table, &header->geometry, i);
}

/* A table's keys also choose each subscriber's pool address, which is to stay. */
static void take_keys(struct table *table, const struct table *previous)
{
    for (unsigned i = 0; i < sizeof(table->constants.key) / sizeof(table->constants.key[0]); i++)
        table->constants.key[i] = header_of(table)->constants.key[i] = previous->constants.key[i];
}

const char *recover(struct engine *engine, const struct engine_options *options)
{
    struct table *table = engine->table;
    struct table_header *header = header_of(table);
    struct recovery recovery = {.engine = engine,
                                .options = options,
                                .table = table,
                                .continued = &engine->continued,
                                .tick = (uint32_t)(options->now / NANOSECONDS)};
    bool copies = records_used(table) == 0 && options->previous != NULL;
    match_instances(&recovery, copies ? header_of(options->previous) : header);
    if (copies && !copy_all(&recovery, options->previous))
        return "not enough memory to take the sessions over";
    if (copies)
        take_keys(table, options->previous);
    recovery.used = records_used(table);
    clear(&recovery);
    for (uint32_t i = 0; i < NAT64_INSTANCES_MAXIMUM; i++)
        header->sessions[i] = 0;
    header->half_open_head = header->half_open_tail = 0;
    header->half_open = header->astray = 0;
    header->filtered = permissions_wanted(&engine->rules->settings);
    pool_permit(table, engine->rules);
    weigh_all(&recovery);
    write_identities(table,
                     engine->rules); /* now that no record has the number of an instance that is gone */
    count_all(&recovery);
    go_through(&recovery, prepare_binding, bind);
    go_through(&recovery, prepare_session, publish);
    free_all(&recovery);
    return NULL;
}
