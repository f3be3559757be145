/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Permissions: may a remote address send to a binding (address-dependent filtering, RFC 6146 sections 3.5.1
 * to 3.5.3, RFC 4787 REQ-8)? It may if any session of the binding has that address, whatever the port.
 *
 * The binding's first session is found with the binding, by the owner of the pool port. Of the others each
 * has an entry in the index of bindings, where it has none otherwise, by pool address and port, transport and
 * remote address: so a record has one entry there, and the index is as full as ever. As in the other indexes
 * an entry only leads to a record, and the record's word of life says whether there is a session; it ends
 * with its last second, swept or not, and who dies leaves nothing that lets anybody in.
 *
 * Sessions of one binding with one address share a hash. So that they do not fill the places of others, only
 * PERMISSION_ENTRIES of them are entered; one more takes the place of the one that ends soonest. Only a
 * client that holds more sessions than that, from one port to one address, can be without permission for a
 * new port of that address while a session with it lives: when all those entered have ended first.
 *
 * Entries are made once a table holds an instance that filters (`filtered`, a bit each, set for as long as
 * the engine runs); engine_replace_settings enters the sessions that are older than that.
 */
#ifndef ENGINE_PERMISSIONS_H
#define ENGINE_PERMISSIONS_H

#include "engine/sessions.h"

WIRE_INLINE bool permissions_kept(const struct table *table, uint8_t instance)
{
    const struct table_header *header = header_of(table);
    return !absent(header) && (atomic_load32(&header->filtered) >> instance & 1) != 0;
}

/* The bits of `filtered` that the settings ask for. */
WIRE_INLINE uint32_t permissions_wanted(const struct settings *settings)
{
    uint32_t wanted = 0;
    for (uint32_t i = 0; i < settings->nat64_count; i++)
        wanted |= settings->nat64[i].filtering == FILTERING_ADDRESS_DEPENDENT ? 1u << i : 0;
    return wanted;
}

/* The hash of all sessions of a binding with one remote address. */
WIRE_INLINE uint64_t permission_hash(const struct table *table, const struct record *record, be32 remote)
{
    struct key4 key = {.pool = record->pool,
                       .remote = remote,
                       .pool_port = record->pool_port,
                       .transport = record->transport};
    return hash_key4(table, &key);
}

WIRE_INLINE bool record_permits(const struct record *record, const struct record *binding, be32 remote,
                                uint32_t tick)
{
    return life_is_session(record->life, tick) && record->remote == remote && record->pool == binding->pool &&
           record->pool_port == binding->pool_port && record->transport == binding->transport;
}

/*
 * May `remote` send to the binding of this lead?
 * rfc: 6146-3.5.1-g, 6146-3.5.3-e, 4787-REQ8-a
 */
TABLE_FUNCTION bool permission_granted(const struct table *table, const struct record *lead, be32 remote,
                                       uint32_t tick)
{
    struct found session;
    if (absent(table) || absent(lead))
        return false;
    if (record_permits(lead, lead, remote, tick))
        return true;
    struct index_walk walk = index_start(table, SEGMENT_BINDINGS, permission_hash(table, lead, remote));
    for (size_t step = 0; step < INDEX_PLACES; step++) {
        uint64_t slot = index_next(table, &walk);
        if (slot == 0)
            break;
        if (slot_read(table, slot, &session) && record_permits(&session.copy, lead, remote, tick))
            return true;
    }
    return false;
}

/* The record is the caller's. False: it was not entered. */
TABLE_FUNCTION bool permission_withdraw(const struct table *table, const struct record *record,
                                        uint32_t index)
{
    if (absent(table) || absent(record))
        return false;
    uint64_t hash = permission_hash(table, record, record->remote);
    uint16_t generation = life_generation(atomic_load64(&record->life));
    return index_withdraw(table, SEGMENT_BINDINGS, hash, slot_make(hash, generation, index));
}

/* Those entered for the same binding and address: how many, and which of them ends soonest. */
struct permissions {
    uint64_t count, soonest;
    uint32_t end;
    uint32_t padding; /* named for BPF, as in a key */
};

TABLE_FUNCTION bool permission_weigh(const struct table *table, const struct found *session, uint64_t slot,
                                     struct permissions *entered)
{
    struct found other;
    if (absent(table) || absent(session) || absent(entered))
        return false;
    if (!slot_read(table, slot, &other) || other.copy.lead == other.index ||
        !record_permits(&other.copy, &session->copy, session->copy.remote, 0))
        return false;
    if (entered->count == 0 || life_expires(other.copy.life) < entered->end) {
        entered->end = life_expires(other.copy.life);
        entered->soonest = slot;
    }
    entered->count++;
    return true;
}

/* Makes room among the entries that have the session's hash; false: it is entered already. */
TABLE_FUNCTION bool permission_make_room(const struct table *table, const struct found *session,
                                         uint64_t hash)
{
    struct permissions entered = {.count = 0};
    if (absent(table) || absent(session))
        return false;
    uint64_t own = slot_make(hash, life_generation(session->copy.life), session->index);
    struct index_walk walk = index_start(table, SEGMENT_BINDINGS, hash);
    for (size_t step = 0; step < INDEX_PLACES; step++) {
        uint64_t slot = index_next(table, &walk);
        if (slot == 0)
            break;
        if (slot == own)
            return false;
        (void)permission_weigh(table, session, slot, &entered);
    }
    if (entered.count >= PERMISSION_ENTRIES)
        (void)index_withdraw(table, SEGMENT_BINDINGS, hash, entered.soonest);
    return true;
}

/*
 * Enters a live session that is not its binding's first; false: there is no need, or no room. Whoever ends it
 * takes it down after saying so in the word of life; here it is entered before that word is looked at, so
 * one of the two sees the other.
 */
TABLE_FUNCTION bool permission_enter(const struct table *table, const struct found *session)
{
    if (absent(table) || absent(session))
        return false;
    const struct record *copy = &session->copy;
    if (copy->lead == session->index || !permissions_kept(table, copy->instance))
        return false;
    uint64_t hash = permission_hash(table, copy, copy->remote);
    uint64_t own = slot_make(hash, life_generation(copy->life), session->index);
    if (!permission_make_room(table, session, hash) || !index_publish(table, SEGMENT_BINDINGS, hash, own))
        return false;
    atomic_settle();
    const struct record *record = record_at(table, session->index);
    uint64_t life = absent(record) ? 0 : atomic_load64(&record->life);
    if (life_phase(life) == PHASE_LIVE && life_generation(life) == life_generation(copy->life))
        return true;
    (void)index_withdraw(table, SEGMENT_BINDINGS, hash, own);
    return false;
}

/* Before settings come into force: enters what an instance that begins to filter has to know. */
void permissions_begin(const struct table *table, const struct settings *settings);

#endif /* ENGINE_PERMISSIONS_H */
