/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The audit: reads a whole session table, record by record, word by word, and says what is wrong with it.
 *
 * What it finds falls in two classes. Some things must hold at any instant, whoever died while changing what:
 * an index entry names a record that it may name, a key has one live session, a port one binding, nothing
 * that is in use is also free. audit_table() complains about those. Others hold when nobody is under way and
 * nobody died: each of them is a number that must be 0 then (records, ports and counts that nobody has,
 * entries that lead nowhere). audit_exact() complains about those as well; who lets actors die looks at the
 * numbers.
 *
 * It must be called while nobody changes the table. Everything is judged from the records: the audit knows
 * nothing about settings, save which subscribers there are.
 */
#ifndef TEST_ENGINE_AUDIT_H
#define TEST_ENGINE_AUDIT_H

#include "engine/pairing.h"
#include "engine/permissions.h"
#include "engine/sessions.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Bits of the transports whose ports are looked at: all, save where a test is sure and in a hurry. */
static unsigned audit_transports = (1u << TRANSPORT_COUNT) - 1;

struct audit {
    const struct table *table;
    char why[256]; /* the first complaint; empty: none */
    uint32_t used;

    uint32_t sessions, leads, statics; /* found: live sessions, bindings in use, those that are static */
    uint32_t free;                     /* records on stacks or never used */

    /* 0 when nobody is under way or died. */
    uint32_t lost_records;   /* neither in use nor free */
    uint32_t lost_entries;   /* index entries of those */
    uint32_t lost_ports;     /* neither a binding's nor available */
    uint32_t lost_uses;      /* of bindings, by nobody */
    uint32_t lost_sessions;  /* counted for instances, without being there */
    uint32_t lost_places;    /* the same for subscribers */
    uint32_t lost_strays;    /* counted by buckets, without being there */
    uint32_t unclear_counts; /* port maps whose `used` or `free` is not what is used or free */
    uint32_t late_ends;      /* sessions that may outlive what their lead says of its sessions */

    /* A record each. */
    uint32_t *users; /* live sessions that name it as their lead */
    uint8_t *seen;   /* bits below */
    uint64_t *strays[SEGMENT_SUBSCRIBERS - SEGMENT_SESSION6 + 1]; /* a bucket each: what should be counted */
};

enum {
    AUDIT_STACKED = 1,
    AUDIT_IN_SESSION6 = 2, /* entered, and so on; the bits follow the order of the segments */
    AUDIT_IN_SESSION4 = 4,
    AUDIT_IN_BINDINGS = 8,
};

static inline void audit_complain(struct audit *audit, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static inline void audit_complain(struct audit *audit, const char *format, ...)
{
    va_list arguments;
    if (audit->why[0] != '\0')
        return;
    va_start(arguments, format);
    (void)vsnprintf(audit->why, sizeof(audit->why), format, arguments);
    va_end(arguments);
}

static inline bool audit_leads(const struct record *record, uint32_t index)
{
    enum phase phase = life_phase(record->life);
    return record->lead == index &&
           (phase == PHASE_LIVE || phase == PHASE_BINDING || phase == PHASE_ENDING) &&
           users_count(record->users) != 0;
}

/* --- records ------------------------------------------------------------------------------------ */

static inline void audit_session(struct audit *audit, uint32_t index)
{
    const struct table *table = audit->table;
    const struct record *session = record_at(table, index);
    audit->sessions++;
    if (session->lead >= audit->used || session->transport >= TRANSPORT_COUNT ||
        session->instance >= NAT64_INSTANCES_MAXIMUM || session->address >= table->constants.addresses) {
        audit_complain(audit, "session %u has a number out of range", index);
        return;
    }
    const struct record *lead = record_at(table, session->lead);
    if (!audit_leads(lead, session->lead))
        audit_complain(audit, "session %u has no binding: record %u, life %016llx, users %016llx", index,
                       session->lead, (unsigned long long)lead->life, (unsigned long long)lead->users);
    else if (!ipv6_equal(&lead->client, &session->client) || lead->client_port != session->client_port ||
             lead->transport != session->transport || lead->instance != session->instance ||
             lead->pool != session->pool || lead->pool_port != session->pool_port ||
             lead->address != session->address)
        audit_complain(audit, "session %u and its lead %u are of different bindings", index, session->lead);
    audit->users[session->lead]++;
    audit->late_ends += users_left(lead->users, life_expires(session->life)) < 0;
}

static inline void audit_records(struct audit *audit)
{
    for (uint32_t i = 0; i < audit->used; i++)
        if (life_phase(record_at(audit->table, i)->life) == PHASE_LIVE)
            audit_session(audit, i);
    for (uint32_t i = 0; i < audit->used && audit->why[0] == '\0'; i++) {
        const struct record *record = record_at(audit->table, i);
        bool leads = audit_leads(record, i);
        uint32_t is_static = leads && (record->users & USERS_STATIC) != 0;
        audit->leads += leads;
        audit->statics += is_static;
        if (leads && users_generation(record->users) != life_generation(record->life))
            audit_complain(audit, "record %u has users of another generation", i);
        if (leads && users_count(record->users) < audit->users[i] + is_static)
            audit_complain(audit, "binding %u counts %u users and has %u", i, users_count(record->users),
                           audit->users[i] + is_static);
        else if (leads)
            audit->lost_uses += users_count(record->users) - audit->users[i] - is_static;
    }
}

/* --- indexes ------------------------------------------------------------------------------------ */

static inline uint64_t audit_hash(const struct table *table, const struct record *record, enum segment which)
{
    struct key6 key6 = record_key6(record);
    struct key4 key4 = record_key4(record);
    struct binding_key binding = record_binding_key(record);
    if (which == SEGMENT_SESSION6)
        return hash_key6(table, &key6);
    return which == SEGMENT_SESSION4 ? hash_key4(table, &key4) : hash_binding(table, &binding);
}

/* Sessions that are not their binding's first stand in the index of bindings as permissions. */
static inline bool audit_permits(const struct record *record, uint32_t index, enum segment which)
{
    return which == SEGMENT_BINDINGS && record->lead != index;
}

static inline uint8_t audit_bit(enum segment which)
{
    return (uint8_t)(AUDIT_IN_SESSION6 << (which - SEGMENT_SESSION6));
}

/* One entry; `bucket` is where it was found. */
static inline void audit_entry(struct audit *audit, enum segment which, uint32_t bucket, uint64_t slot)
{
    const struct table *table = audit->table;
    uint32_t index = slot_index(slot);
    if (index >= audit->used) {
        audit_complain(audit, "entry %016llx of segment %d names no record", (unsigned long long)slot, which);
        return;
    }
    const struct record *record = record_at(table, index);
    enum phase phase = life_phase(record->life);
    bool permits = audit_permits(record, index, which);
    uint64_t hash =
        permits ? permission_hash(table, record, record->remote) : audit_hash(table, record, which);
    uint32_t home = hash_bucket(table, hash);
    uint32_t away = bucket >= home ? bucket - home : bucket + table->constants.buckets - home;
    if (slot_generation(slot) != life_generation(record->life) || phase == PHASE_FREE)
        audit_complain(audit, "entry %016llx of segment %d names record %u, which is %016llx",
                       (unsigned long long)slot, which, index, (unsigned long long)record->life);
    else if (!slot_matches(slot, hash) || away >= PROBE_LIMIT)
        audit_complain(audit, "entry of record %u in segment %d is in bucket %u, home %u", index, which,
                       bucket, home);
    else if ((audit->seen[index] & audit_bit(which)) != 0)
        audit_complain(audit, "record %u is twice in segment %d", index, which);
    audit->seen[index] |= audit_bit(which);
    audit->strays[which - SEGMENT_SESSION6][home] += away != 0;
    audit->lost_entries +=
        which == SEGMENT_BINDINGS && !permits ? !audit_leads(record, index) : phase != PHASE_LIVE;
}

static inline void audit_entries(struct audit *audit)
{
    for (enum segment which = SEGMENT_SESSION6; which <= SEGMENT_BINDINGS; which++)
        for (uint32_t i = 0; i < audit->table->constants.buckets; i++)
            for (unsigned j = 0; j < BUCKET_SLOTS; j++) {
                uint64_t slot = bucket_at(audit->table, which, i)->slot[j];
                if (slot != 0)
                    audit_entry(audit, which, i, slot);
            }
}

/* Is there another entry with the same key as this one's, both of them valid? */
static inline void audit_alone(struct audit *audit, uint32_t index, enum segment which)
{
    const struct table *table = audit->table;
    const struct record *record = record_at(table, index);
    uint64_t hash = audit_hash(table, record, which);
    uint32_t number = hash_bucket(table, hash);
    struct key6 key6 = record_key6(record);
    struct key4 key4 = record_key4(record);
    struct binding_key binding = record_binding_key(record);
    for (unsigned i = 0; i < PROBE_LIMIT * BUCKET_SLOTS; i++) {
        uint64_t slot = bucket_at(table, which, number)->slot[i % BUCKET_SLOTS];
        bool same = false;
        if (i % BUCKET_SLOTS == BUCKET_SLOTS - 1)
            number = index_next_bucket(table, number);
        if (!slot_matches(slot, hash) || slot_index(slot) == index)
            continue;
        const struct record *other = record_at(table, slot_index(slot));
        if (which == SEGMENT_BINDINGS)
            same = record_has_binding(other, &binding) && audit_leads(other, slot_index(slot)) &&
                   ((record->users | other->users) & USERS_CLOSING) == 0;
        else if (life_phase(other->life) == PHASE_LIVE)
            same = which == SEGMENT_SESSION6 ? record_has_key6(other, &key6) : record_has_key4(other, &key4);
        if (same)
            audit_complain(audit, "records %u and %u have the same key in segment %d", index,
                           slot_index(slot), which);
    }
}

static inline void audit_keys(struct audit *audit)
{
    for (uint32_t i = 0; i < audit->used && audit->why[0] == '\0'; i++) {
        const struct record *record = record_at(audit->table, i);
        const uint8_t both = AUDIT_IN_SESSION6 | AUDIT_IN_SESSION4;
        if (life_phase(record->life) == PHASE_LIVE && (audit->seen[i] & both) != both)
            audit_complain(audit, "session %u is not in both indexes: %u", i, audit->seen[i]);
        if (audit_leads(record, i) && (audit->seen[i] & AUDIT_IN_BINDINGS) == 0)
            audit_complain(audit, "binding %u is not in the index", i);
        if (life_phase(record->life) == PHASE_LIVE) {
            audit_alone(audit, i, SEGMENT_SESSION6);
            audit_alone(audit, i, SEGMENT_SESSION4);
        }
        if (audit_leads(record, i))
            audit_alone(audit, i, SEGMENT_BINDINGS);
    }
}

/* --- ports -------------------------------------------------------------------------------------- */

static inline uint32_t audit_holder(const struct audit *audit, uint32_t address, uint8_t transport,
                                    uint16_t port)
{
    uint32_t index = *owner_at(audit->table, address, transport, port) - 1;
    const struct record *lead = index < audit->used ? record_at(audit->table, index) : NULL;
    return lead != NULL && audit_leads(lead, index) && lead->address == address &&
                   lead->transport == transport && from_be16(lead->pool_port) == port
               ? index
               : NO_RECORD;
}

static inline bool audit_nobody_owns(const uint32_t owners[64])
{
    static const uint32_t nobody[64];
    return memcmp(owners, nobody, sizeof(nobody)) == 0;
}

static inline void audit_word(struct audit *audit, uint32_t address, uint8_t transport, unsigned word)
{
    const struct port_map *map = port_map_at(audit->table, address, transport);
    uint64_t available = map->available[word], allowed = map->allowed[word];
    if ((available & ~allowed) != 0)
        audit_complain(audit, "ports from %u on are available without being allowed", word * 64);
    for (unsigned odd = 0; odd < 2; odd++)
        if ((available & (odd ? 0xaaaaaaaaaaaaaaaaull : 0x5555555555555555ull)) != 0 &&
            (map->summary[odd][word / 64] & (1ull << (word % 64))) == 0)
            audit_complain(audit, "the summary hides available ports of parity %u from %u on", odd,
                           word * 64);
    if (available == allowed &&
        audit_nobody_owns(owner_at(audit->table, address, transport, (uint16_t)(word * 64))))
        return;
    for (unsigned bit = 0; bit < 64; bit++) {
        uint16_t port = (uint16_t)(word * 64 + bit);
        uint32_t owner = *owner_at(audit->table, address, transport, port);
        bool held = owner != 0 && audit_holder(audit, address, transport, port) != NO_RECORD;
        bool is_available = (available >> bit & 1) != 0;
        if (owner != 0 && is_available)
            audit_complain(audit, "port %u is available and record %u's", port, owner - 1);
        audit->lost_ports += ((allowed >> bit & 1) != 0 || owner != 0) && !is_available && !held;
    }
}

static inline void audit_map(struct audit *audit, uint32_t address, uint8_t transport, uint32_t leads)
{
    const struct port_map *map = port_map_at(audit->table, address, transport);
    uint32_t available = 0, allowed = 0;
    for (unsigned word = 0; word < PORT_WORDS; word++) {
        available += (uint32_t)__builtin_popcountll(map->available[word]);
        allowed += (uint32_t)__builtin_popcountll(map->allowed[word]);
        audit_word(audit, address, transport, word);
    }
    if (map->free < available)
        audit_complain(audit, "%u ports are available and %u counted", available, map->free);
    audit->unclear_counts += map->configured != allowed || map->free != available || map->used != leads;
}

static inline void audit_ports(struct audit *audit)
{
    uint32_t addresses = audit->table->constants.addresses;
    uint32_t *leads = calloc((size_t)addresses * TRANSPORT_COUNT, sizeof(*leads));
    if (leads == NULL)
        abort();
    for (uint32_t i = 0; i < audit->used; i++) {
        const struct record *record = record_at(audit->table, i);
        if (!audit_leads(record, i))
            continue;
        if (record->address >= addresses || record->transport >= TRANSPORT_COUNT) {
            audit_complain(audit, "binding %u has a number out of range", i);
            break;
        }
        leads[record->address * TRANSPORT_COUNT + record->transport]++;
        if (audit_holder(audit, record->address, record->transport, from_be16(record->pool_port)) != i)
            audit_complain(audit, "binding %u does not own its port %u", i, from_be16(record->pool_port));
    }
    for (uint32_t i = 0; i < addresses * TRANSPORT_COUNT && audit->why[0] == '\0'; i++)
        if ((audit_transports >> i % TRANSPORT_COUNT & 1) != 0)
            audit_map(audit, i / TRANSPORT_COUNT, (uint8_t)(i % TRANSPORT_COUNT), leads[i]);
    free(leads);
}

/* --- counts ------------------------------------------------------------------------------------- */

static inline void audit_instances(struct audit *audit)
{
    uint32_t sessions[NAT64_INSTANCES_MAXIMUM] = {0};
    for (uint32_t i = 0; i < audit->used; i++) {
        const struct record *record = record_at(audit->table, i);
        if (life_phase(record->life) == PHASE_LIVE)
            sessions[record->instance]++;
    }
    for (uint32_t i = 0; i < NAT64_INSTANCES_MAXIMUM; i++) {
        uint32_t counted = header_of(audit->table)->sessions[i];
        if (counted < sessions[i])
            audit_complain(audit, "instance %u counts %u sessions and has %u", i, counted, sessions[i]);
        else
            audit->lost_sessions += counted - sessions[i];
    }
}

/* The count may be too high after a death, never too low. */
static inline void audit_half_open(struct audit *audit)
{
    int32_t half_open = 0;
    for (uint32_t i = 0; i < audit->used; i++) {
        uint64_t life = record_at(audit->table, i)->life;
        half_open += life_phase(life) == PHASE_LIVE && state_is_half_open(life_state(life));
    }
    if (half_open_count(audit->table) < half_open)
        audit_complain(audit, "%d half-open sessions are counted and there are %d",
                       half_open_count(audit->table), half_open);
}

struct audit_subscriber {
    uint64_t hash;
    uint32_t sessions, counted;
};

/* Few are expected, so they are searched. Returns how many there are now. */
static inline uint32_t audit_count_one(struct audit_subscriber *subscribers, uint32_t n, uint64_t hash)
{
    uint32_t at = 0;
    while (at < n && subscribers[at].hash != hash)
        at++;
    if (at == n)
        subscribers[n++] = (struct audit_subscriber){.hash = hash};
    subscribers[at].sessions++;
    return n;
}

/* One per subscriber of a counted session, and one per client and address of bindings astray. */
static inline uint32_t audit_collect(const struct audit *audit, struct audit_subscriber *subscribers)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < audit->used; i++) {
        const struct record *record = record_at(audit->table, i);
        if (life_phase(record->life) == PHASE_LIVE && record->counted)
            n = audit_count_one(
                subscribers, n,
                hash_subscriber(audit->table, &record->client, record->counted - 1u, record->instance));
        if (audit_leads(record, i) && (record->users & USERS_ASTRAY) != 0)
            n = audit_count_one(subscribers, n,
                                pairing_hash(audit->table, &record->client, record->instance) |
                                    record->address);
    }
    return n;
}

/* The word's subscriber among those found, or NULL; a word tells but a part of the hash. */
static inline struct audit_subscriber *audit_subscriber_of(const struct audit *audit,
                                                           struct audit_subscriber *subscribers, uint32_t n,
                                                           uint32_t bucket, uint64_t word)
{
    for (uint32_t i = 0; i < n; i++) {
        uint32_t home = hash_bucket(audit->table, subscribers[i].hash);
        uint32_t buckets = audit->table->constants.buckets;
        if (subscribers[i].hash << 21 == word >> 21 << 21 &&
            (bucket + buckets - home) % buckets < PROBE_LIMIT)
            return &subscribers[i];
    }
    return NULL;
}

static inline void audit_subscribers(struct audit *audit)
{
    struct audit_subscriber *subscribers = calloc(2 * audit->used + 1, sizeof(*subscribers));
    if (subscribers == NULL)
        abort();
    uint32_t n = audit_collect(audit, subscribers);
    for (uint32_t i = 0; i < audit->table->constants.buckets * BUCKET_SLOTS; i++) {
        uint32_t bucket = i / BUCKET_SLOTS;
        uint64_t word = bucket_at(audit->table, SEGMENT_SUBSCRIBERS, bucket)->slot[i % BUCKET_SLOTS];
        bool pending = (word & 0x100000ull) != 0;
        if (word == 0)
            continue;
        struct audit_subscriber *one = audit_subscriber_of(audit, subscribers, n, bucket, word);
        if (one == NULL || pending) {
            audit->lost_places += word & 0xfffff;
            continue;
        }
        if (one->counted != 0)
            audit_complain(audit, "a subscriber has two words, of %u and %u sessions", one->counted,
                           (unsigned)(word & 0xfffff));
        one->counted += (uint32_t)(word & 0xfffff);
        uint32_t home = hash_bucket(audit->table, one->hash);
        audit->strays[SEGMENT_SUBSCRIBERS - SEGMENT_SESSION6][home] += bucket != home;
    }
    for (uint32_t i = 0; i < n; i++)
        if (subscribers[i].counted < subscribers[i].sessions)
            audit_complain(audit, "a subscriber's word says %u sessions, and it has %u",
                           subscribers[i].counted, subscribers[i].sessions);
        else
            audit->lost_places += subscribers[i].counted - subscribers[i].sessions;
    free(subscribers);
}

static inline void audit_strays(struct audit *audit)
{
    for (enum segment which = SEGMENT_SESSION6; which <= SEGMENT_SUBSCRIBERS; which++)
        for (uint32_t i = 0; i < audit->table->constants.buckets; i++) {
            uint64_t counted = bucket_at(audit->table, which, i)->strays;
            uint64_t found = audit->strays[which - SEGMENT_SESSION6][i];
            if (counted < found || counted > found + 0xffffffffu)
                audit_complain(audit, "bucket %u of segment %d counts %llu strays and has %llu", i, which,
                               (unsigned long long)counted, (unsigned long long)found);
            else
                audit->lost_strays += (uint32_t)(counted - found);
        }
}

/* --- stacks ------------------------------------------------------------------------------------- */

static inline void audit_stack(struct audit *audit, uint32_t lane)
{
    for (uint32_t next = (uint32_t)lane_at(audit->table, lane)->free; next != 0;) {
        uint32_t index = next - 1;
        if (index >= audit->used) {
            audit_complain(audit, "stack %u leads to record %u of %u", lane, index, audit->used);
            return;
        }
        const struct record *record = record_at(audit->table, index);
        if (life_phase(record->life) != PHASE_FREE)
            audit_complain(audit, "record %u is on stack %u, and its life is %016llx", index, lane,
                           (unsigned long long)record->life);
        if ((audit->seen[index] & AUDIT_STACKED) != 0) {
            audit_complain(audit, "record %u is on two stacks or twice on %u", index, lane);
            return;
        }
        audit->seen[index] |= AUDIT_STACKED;
        audit->free++;
        next = record->lead;
    }
}

static inline void audit_stacks(struct audit *audit)
{
    for (uint32_t i = 0; i < audit->table->constants.lanes; i++)
        audit_stack(audit, i);
    for (uint32_t i = 0; i < audit->used; i++) {
        const struct record *record = record_at(audit->table, i);
        audit->lost_records += (audit->seen[i] & AUDIT_STACKED) == 0 &&
                               life_phase(record->life) != PHASE_LIVE && !audit_leads(record, i);
    }
    audit->free += audit->table->constants.records - audit->used;
}

/* ------------------------------------------------------------------------------------------------ */

/* Returns NULL, or what is wrong that must be right at any instant. The numbers are in `audit`. */
static inline const char *audit_table(const struct table *table, struct audit *audit)
{
    *audit = (struct audit){.table = table, .used = records_used(table)};
    audit->users = calloc(audit->used + 1, sizeof(*audit->users));
    audit->seen = calloc(audit->used + 1, 1);
    bool memory = audit->users != NULL && audit->seen != NULL;
    for (unsigned i = 0; i < sizeof(audit->strays) / sizeof(audit->strays[0]); i++)
        memory &= (audit->strays[i] = calloc(table->constants.buckets, sizeof(uint64_t))) != NULL;
    if (!memory)
        abort();
    audit_records(audit);
    if (audit->why[0] == '\0')
        audit_entries(audit);
    if (audit->why[0] == '\0') {
        audit_keys(audit);
        audit_ports(audit);
        audit_instances(audit);
        audit_half_open(audit);
        audit_subscribers(audit);
        audit_strays(audit);
        audit_stacks(audit);
    }
    for (unsigned i = 0; i < sizeof(audit->strays) / sizeof(audit->strays[0]); i++)
        free(audit->strays[i]);
    free(audit->users);
    free(audit->seen);
    return audit->why[0] != '\0' ? audit->why : NULL;
}

/* The same, where nobody is under way and nobody died. */
static inline const char *audit_exact(const struct table *table, struct audit *audit)
{
    if (audit_table(table, audit) != NULL)
        return audit->why;
    if ((audit->lost_records | audit->lost_entries | audit->lost_ports | audit->lost_uses |
         audit->lost_sessions | audit->lost_places | audit->lost_strays | audit->unclear_counts |
         audit->late_ends) != 0)
        audit_complain(
            audit,
            "lost: %u records, %u entries, %u ports, %u uses of bindings, %u sessions of instances, "
            "%u of subscribers, %u strays; %u port maps with unclear counts, %u late ends",
            audit->lost_records, audit->lost_entries, audit->lost_ports, audit->lost_uses,
            audit->lost_sessions, audit->lost_places, audit->lost_strays, audit->unclear_counts,
            audit->late_ends);
    return audit->why[0] != '\0' ? audit->why : NULL;
}

#endif /* TEST_ENGINE_AUDIT_H */
