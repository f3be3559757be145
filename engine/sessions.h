/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sessions and bindings: finding, making and ending them, by any number of workers at once.
 *
 * Making. A session comes into being in this order:
 *   1. a private record, phase MAKING;
 *   2. a claimed port and its owner cell, unless the session joins a binding;
 *   3. the entry in session4, then in bindings (unless it joins), then in session6;
 *   4. a look at session6 (and bindings) for rivals with the same key: one that is LIVE has won; one that
 *      is still MAKING is killed by compare-and-swap on its word of life;
 *   5. the swap MAKING -> LIVE on its own word of life. If that fails, a rival killed it.
 * Whoever did not get through 5 undoes 1 to 3 and looks again. Two makers of one key cannot both get through:
 * each publishes before it looks, so the later to publish sees the earlier, and then either finds it LIVE and
 * yields or kills it before it is. A maker that dies half-way leaves a record that readers pass over and
 * that keeps nobody from making the session.
 *
 * Bindings. A binding lives in the record of its first session (its lead), so most bindings cost no record of
 * their own. `users` counts its sessions; a session joins only by raising a number that is not 0, so once
 * it is 0 the binding is gone for good, and who made it 0 takes it down.
 *
 * Ending. Whoever swaps LIVE -> ENDING owns the end.
 */
#ifndef ENGINE_SESSIONS_H
#define ENGINE_SESSIONS_H

#include "engine/index.h"
#include "engine/ports.h"
#include "engine/records.h"

/* What a new session is to be. Fields `pool` to `address` are ignored when it joins a binding. */
struct session_request {
    struct key6 key;
    be32 pool;
    be16 pool_port;
    uint16_t address;
    uint32_t tick;    /* now, in seconds */
    uint32_t expires; /* the last second of its life */
    uint8_t state;
};

WIRE_INLINE bool record_has_key6(const struct record *record, const struct key6 *key)
{
    return ipv6_equal(&record->client, &key->client) && record->remote == key->remote &&
           record->client_port == key->client_port && record->remote_port == key->remote_port &&
           record->transport == key->transport && record->instance == key->instance;
}

WIRE_INLINE bool record_has_key4(const struct record *record, const struct key4 *key)
{
    return record->pool == key->pool && record->remote == key->remote &&
           record->pool_port == key->pool_port && record->remote_port == key->remote_port &&
           record->transport == key->transport;
}

WIRE_INLINE bool record_has_binding(const struct record *record, const struct binding_key *key)
{
    return ipv6_equal(&record->client, &key->client) && record->client_port == key->client_port &&
           record->transport == key->transport && record->instance == key->instance;
}

WIRE_INLINE struct key4 record_key4(const struct record *record)
{
    return (struct key4){.pool = record->pool,
                         .remote = record->remote,
                         .pool_port = record->pool_port,
                         .remote_port = record->remote_port,
                         .transport = record->transport};
}

WIRE_INLINE struct key6 record_key6(const struct record *record)
{
    return (struct key6){.client = record->client,
                         .remote = record->remote,
                         .client_port = record->client_port,
                         .remote_port = record->remote_port,
                         .transport = record->transport,
                         .instance = record->instance};
}

WIRE_INLINE struct binding_key binding_key_of(const struct key6 *key)
{
    return (struct binding_key){.client = key->client,
                                .client_port = key->client_port,
                                .transport = key->transport,
                                .instance = key->instance};
}

WIRE_INLINE struct binding_key record_binding_key(const struct record *record)
{
    return (struct binding_key){.client = record->client,
                                .client_port = record->client_port,
                                .transport = record->transport,
                                .instance = record->instance};
}

/*
 * True if the record is that of a binding that can be used at `tick`: static, or with a session that is not
 * past its lifetime, though the sweeper may not have come by yet. With one session that session tells; with
 * more, `until`, which was raised with each of them.
 */
WIRE_INLINE bool binding_is_alive(const struct record *record, uint32_t tick)
{
    uint64_t life = atomic_load64(&record->life);
    uint32_t users = atomic_load32(&record->users);
    enum phase phase = life_phase(life);
    if (users_count(users) == 0 || (users & BINDING_CLOSING) != 0 ||
        (phase != PHASE_LIVE && phase != PHASE_BINDING && phase != PHASE_ENDING))
        return false;
    if ((users & BINDING_STATIC) != 0)
        return true;
    if (users == 1 && phase == PHASE_LIVE)
        return life_expires(life) >= tick;
    return atomic_load32(&record->until) >= tick;
}

/* The record a slot names, or NULL if it has been reused since. */
WIRE_INLINE struct record *slot_record(const struct table *table, uint64_t slot)
{
    struct record *record =
        slot_index(slot) < table->constants.records ? record_at(table, slot_index(slot)) : NULL;
    return record != NULL && record->generation == slot_generation(slot) ? record : NULL;
}

/* Live sessions at `tick` (seconds), or NO_RECORD. */
WIRE_INLINE uint32_t session_find6(const struct table *table, const struct key6 *key, uint64_t hash,
                                   uint32_t tick)
{
    struct index_walk walk = index_start(table, SEGMENT_SESSION6, hash);
    for (uint64_t slot = index_next(table, &walk); slot != 0; slot = index_next(table, &walk)) {
        const struct record *record = slot_record(table, slot);
        if (record != NULL && record_has_key6(record, key) &&
            life_is_session(atomic_load64(&record->life), tick))
            return slot_index(slot);
    }
    return NO_RECORD;
}

WIRE_INLINE uint32_t session_find4(const struct table *table, const struct key4 *key, uint64_t hash,
                                   uint32_t tick)
{
    struct index_walk walk = index_start(table, SEGMENT_SESSION4, hash);
    for (uint64_t slot = index_next(table, &walk); slot != 0; slot = index_next(table, &walk)) {
        const struct record *record = slot_record(table, slot);
        if (record != NULL && record_has_key4(record, key) &&
            life_is_session(atomic_load64(&record->life), tick))
            return slot_index(slot);
    }
    return NO_RECORD;
}

/* The lead of the binding, or NO_RECORD. */
WIRE_INLINE uint32_t binding_find(const struct table *table, const struct binding_key *key, uint32_t tick)
{
    struct index_walk walk = index_start(table, SEGMENT_BINDINGS, hash_binding(table, key));
    for (uint64_t slot = index_next(table, &walk); slot != 0; slot = index_next(table, &walk)) {
        const struct record *record = slot_record(table, slot);
        if (record != NULL && record_has_binding(record, key) && binding_is_alive(record, tick))
            return slot_index(slot);
    }
    return NO_RECORD;
}

/* The lead of the binding that holds a pool port (RFC 4787: endpoint-independent filtering), or NO_RECORD. */
WIRE_INLINE uint32_t binding_find4(const struct table *table, uint16_t address, uint8_t transport, be16 port,
                                   uint32_t tick)
{
    const uint32_t *owner = owner_at(table, address, transport, from_be16(port));
    uint32_t index = owner != NULL ? atomic_load32(owner) - 1 : NO_RECORD;
    if (index >= table->constants.records)
        return NO_RECORD;
    const struct record *record = record_at(table, index);
    if (record == NULL || record->address != address || record->transport != transport ||
        record->pool_port != port || !binding_is_alive(record, tick))
        return NO_RECORD;
    return index;
}

/* One more session for a binding; false: it has just ended, or is about to. */
WIRE_INLINE bool binding_join(struct record *lead)
{
    for (unsigned tries = 0; tries < 1024; tries++) {
        uint32_t users = atomic_load32(&lead->users);
        if (users_count(users) == 0 || (users & BINDING_CLOSING) != 0)
            return false;
        if (atomic_swap_if32(&lead->users, users, users + 1))
            return true;
    }
    return false;
}

/* From now on nobody joins the binding; it ends with the sessions it has. */
WIRE_INLINE void binding_close(struct record *lead)
{
    for (unsigned tries = 0; tries < 1024; tries++) {
        uint32_t users = atomic_load32(&lead->users);
        if (users == 0 || atomic_swap_if32(&lead->users, users, users | BINDING_CLOSING))
            return;
    }
}

/* Raises the end of a binding's sessions. */
WIRE_INLINE void binding_raise(struct record *lead, uint32_t expires)
{
    for (unsigned tries = 0; tries < 1024; tries++) {
        uint32_t until = atomic_load32(&lead->until);
        if (until >= expires || atomic_swap_if32(&lead->until, until, expires))
            return;
    }
}

/*
 * Writes down that a session was used: its new end and state. `life` is what the caller read; a word
 * that has changed since is left alone, because whoever changed it knew at least as much. Nothing is written
 * if nothing changed, so a busy session dirties its line once a second.
 */
WIRE_INLINE bool session_touch(const struct table *table, struct record *record, uint64_t life,
                               uint32_t expires, uint8_t state)
{
    uint64_t now = life_make(expires, state, PHASE_LIVE);
    if (now == life)
        return true;
    if (!atomic_swap_if64(&record->life, life, now))
        return false;
    struct record *lead = record->lead < table->constants.records ? record_at(table, record->lead) : NULL;
    if (lead != NULL && atomic_load32(&lead->until) < expires)
        binding_raise(lead, expires);
    return true;
}

#endif /* ENGINE_SESSIONS_H */
