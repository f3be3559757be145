/* SPDX-License-Identifier: BSD-2-Clause */
#include "test/bpf/audit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/sessions.h"
#include "engine/subscribers.h"

static void wrong(struct audit *audit, const char *why)
{
    audit->wrong++;
    audit->why = why;
}

static bool holds_binding(const struct record *record, uint32_t index)
{
    enum phase phase = life_phase(record->life);
    return record->lead == index && users_count(record->users) != 0 &&
           users_generation(record->users) == life_generation(record->life) &&
           (phase == PHASE_LIVE || phase == PHASE_BINDING || phase == PHASE_ENDING);
}

/* A session is found by both keys, and only once. */
static void audit_session(const struct table *table, uint32_t index, struct audit *audit)
{
    const struct record *record = record_at(table, index);
    struct key6 key6 = record_key6(record);
    struct key4 key4 = record_key4(record);
    struct found found;
    audit->sessions++;
    if (!session_find6(table, &key6, hash_key6(table, &key6), 0, &found) || found.index != index)
        wrong(audit, "a session is not what its IPv6 key leads to");
    if (!session_find4(table, &key4, hash_key4(table, &key4), 0, &found) || found.index != index)
        wrong(audit, "a session is not what its IPv4 key leads to");
    if (record->lead >= table->constants.records ||
        !holds_binding(record_at(table, record->lead), record->lead))
        wrong(audit, "a session's lead has no binding");
    else if (record_at(table, record->lead)->pool_port != record->pool_port)
        wrong(audit, "a session and its lead differ in the port");
}

static void audit_binding(const struct table *table, uint32_t index, uint32_t tick, struct audit *audit)
{
    const struct record *record = record_at(table, index);
    struct binding_key key = record_binding_key(record);
    struct found found;
    audit->bindings++;
    audit->users += users_count(record->users);
    if (*owner_at(table, record->address, record->transport, from_be16(record->pool_port)) != index + 1)
        wrong(audit, "the port of a binding has another owner");
    if (binding_is_alive(record, tick) && (!binding_find(table, &key, tick, &found) || found.index != index))
        wrong(audit, "two bindings of one client's port are alive, or one is not found");
}

static void audit_records(const struct table *table, uint32_t tick, struct audit *audit)
{
    for (uint32_t i = 0; i < records_used(table); i++) {
        const struct record *record = record_at(table, i);
        if (life_phase(record->life) == PHASE_LIVE)
            audit_session(table, i, audit);
        if (holds_binding(record, i))
            audit_binding(table, i, tick, audit);
    }
}

static void audit_stacks(const struct table *table, struct audit *audit)
{
    uint32_t used = records_used(table);
    uint8_t *seen = calloc(used + 1, 1);
    audit->held = used;
    for (uint32_t lane = 0; seen != NULL && lane < table->constants.lanes; lane++) {
        uint32_t next = (uint32_t)lane_at(table, lane)->free;
        while (next != 0 && next <= used && !seen[next - 1]) {
            seen[next - 1] = 1;
            audit->held--;
            if (life_phase(record_at(table, next - 1)->life) != PHASE_FREE)
                wrong(audit, "a record on a stack is in use");
            next = record_at(table, next - 1)->lead;
        }
        if (next != 0)
            wrong(audit, "a stack leads to a record twice, or nowhere");
    }
    free(seen);
}

static void audit_port(const struct table *table, uint32_t address, unsigned port, struct audit *audit)
{
    const struct port_map *map = port_map_at(table, address, TRANSPORT_UDP);
    uint64_t bit = 1ull << (port % 64);
    bool allowed = (map->allowed[port / 64] & bit) != 0;
    bool available = (map->available[port / 64] & bit) != 0;
    bool led_to = (map->summary[port & 1][port / 4096] & (1ull << (port / 64 % 64))) != 0;
    audit->ports_taken += allowed && !available;
    audit->ports_available += available;
    audit->ports_hidden += available && !led_to;
    if (available && *owner_at(table, address, TRANSPORT_UDP, (uint16_t)port) != 0)
        wrong(audit, "a port with an owner may be given out");
}

static void audit_ports(const struct table *table, struct audit *audit)
{
    for (uint32_t address = 0; address < table->constants.addresses; address++) {
        const struct port_map *map = port_map_at(table, address, TRANSPORT_UDP);
        audit->ports_used += map->used;
        audit->ports_free += map->free;
        for (unsigned port = 0; port < 65536; port++)
            audit_port(table, address, port, audit);
    }
}

static void audit_counts(const struct table *table, struct audit *audit)
{
    const struct table_header *header = header_of(table);
    for (unsigned i = 0; i < NAT64_INSTANCES_MAXIMUM; i++)
        audit->counted += header->sessions[i];
    for (enum segment which = SEGMENT_SESSION6; which <= SEGMENT_SUBSCRIBERS; which++)
        for (uint32_t i = 0; i < table->constants.buckets; i++) {
            const struct bucket *bucket = bucket_at(table, which, i);
            for (unsigned j = 0; j < BUCKET_SLOTS; j++) {
                uint64_t word = bucket->slot[j];
                if (which != SEGMENT_SUBSCRIBERS)
                    audit->entries[which - SEGMENT_SESSION6] += word != 0;
                else if ((word & SUBSCRIBER_PENDING) == 0)
                    audit->subscribed += subscriber_count(word);
            }
        }
}

/* Entries outside their home bucket, against what the buckets count of them. */
static void audit_strays(const struct table *table, struct audit *audit)
{
    uint64_t counted = 0, there = 0;
    for (enum segment which = SEGMENT_SESSION6; which <= SEGMENT_BINDINGS; which++)
        for (uint32_t i = 0; i < table->constants.buckets; i++) {
            const struct bucket *bucket = bucket_at(table, which, i);
            counted += bucket->strays;
            for (unsigned j = 0; j < BUCKET_SLOTS; j++) {
                if (bucket->slot[j] == 0)
                    continue;
                const struct record *record = record_at(table, slot_index(bucket->slot[j]));
                uint64_t hash = which == SEGMENT_SESSION6   ? hash_record6(table, record)
                                : which == SEGMENT_SESSION4 ? hash_record4(table, record)
                                                            : hash_record_binding(table, record);
                there += hash_bucket(table, hash) != i;
            }
        }
    audit->strays = (uint32_t)(counted - there);
}

void audit_table(const struct table *table, uint32_t tick, struct audit *audit)
{
    memset(audit, 0, sizeof(*audit));
    audit_records(table, tick, audit);
    audit_stacks(table, audit);
    audit_ports(table, audit);
    audit_counts(table, audit);
    audit_strays(table, audit);
}

bool audit_is_exact(const struct table *table, const struct audit *audit)
{
    uint32_t in_use = 0;
    for (uint32_t i = 0; i < records_used(table); i++)
        in_use += life_phase(record_at(table, i)->life) != PHASE_FREE;
    return audit->wrong == 0 && audit->users == audit->sessions && audit->held == in_use &&
           audit->ports_taken == audit->bindings && audit->ports_used == audit->bindings &&
           audit->ports_free == audit->ports_available && audit->ports_hidden == 0 &&
           audit->counted == audit->sessions && audit->subscribed == audit->sessions &&
           audit->entries[0] == audit->sessions && audit->entries[1] == audit->sessions &&
           audit->entries[2] == audit->bindings && audit->strays == 0;
}

void audit_print(const char *title, const struct audit *audit)
{
    printf(
        "# %s: %u sessions (counted %u, subscribers %u, entries %u and %u), %u bindings (users %u, entries "
        "%u), %u records held, ports %u taken, %u used, %u hidden, %u strays astray%s%s\n",
        title, audit->sessions, audit->counted, audit->subscribed, audit->entries[0], audit->entries[1],
        audit->bindings, audit->users, audit->entries[2], audit->held, audit->ports_taken, audit->ports_used,
        audit->ports_hidden, audit->strays, audit->wrong != 0 ? "; WRONG: " : "",
        audit->wrong != 0 ? audit->why : "");
}
