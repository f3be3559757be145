/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sessions and bindings: finding, making and ending them, by any number of workers at once, in one program
 * or in several.
 *
 * Making. A session comes into being in this order:
 *   1. a place among its subscriber's sessions and its instance's; a free record; a claimed port, unless the
 *      session joins a binding;
 *   2. the record: its word of life first, in phase MAKING, then the rest; then the port's owner cell;
 *   3. the entry in session4, then in bindings (unless it joins), then in session6;
 *   4. a look at session6 (and bindings) for rivals with the same key: one that is LIVE has won; one that
 *      is still MAKING is killed by compare-and-swap on its word of life;
 *   5. the swap MAKING -> LIVE on its own word of life. If that fails, a rival killed it.
 * Whoever did not get through 5 undoes 1 to 3 and looks again. Two makers of one key cannot both get through:
 * each publishes before it looks, so the later to publish sees the earlier, and then either finds it LIVE and
 * yields or kills it before it is.
 *
 * Bindings. A binding lives in the record of its first session (its lead), so most bindings cost no record of
 * their own. `users` counts its sessions; a session joins only by raising a number that is not 0, so once
 * it is 0 the binding is gone for good, and who made it 0 takes it down.
 *
 * Ending. Whoever swaps LIVE -> ENDING owns the end.
 *
 * Dying. Whoever stops for good at any point above leaves at most one record, one port and one count behind:
 * readers pass over what is not LIVE, rivals kill what is MAKING, and nothing waits. The next start takes
 * back what was left (engine/recover.c). test/model/ explores all of this, step by step.
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
    uint32_t sessions;                /* at most so many in the instance */
    uint32_t sessions_per_subscriber; /* and in the subscriber; 0: not counted */
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
 * True if a whole copy of a record says that its binding can be used at `tick`: it is static, or has a
 * session that is not past its lifetime, though the sweeper may not have come by yet. With one session that
 * session tells; with more, `until`, which was raised with each of them.
 */
WIRE_INLINE bool binding_is_alive(const struct record *copy, uint32_t tick)
{
    enum phase phase = life_phase(copy->life);
    if (users_generation(copy->users) != life_generation(copy->life) || users_count(copy->users) == 0 ||
        (copy->users & USERS_CLOSING) != 0 ||
        (phase != PHASE_LIVE && phase != PHASE_BINDING && phase != PHASE_ENDING))
        return false;
    if ((copy->users & USERS_STATIC) != 0)
        return true;
    if (users_count(copy->users) == 1 && phase == PHASE_LIVE)
        return life_expires(copy->life) >= tick;
    return copy->until >= tick;
}

/* A record found in the table: which it is, and what was in it. */
struct found {
    uint32_t index; /* NO_RECORD: none */
    struct record copy;
};

/* Copies the record that a slot names. False: it is not the slot's any more. */
WIRE_INLINE bool slot_read(const struct table *table, uint64_t slot, struct found *found)
{
    const struct record *record =
        slot_index(slot) < table->constants.records ? record_at(table, slot_index(slot)) : NULL;
    found->index = slot_index(slot);
    return record != NULL && record_read(record, slot_generation(slot), &found->copy);
}

/* Finds the session that lives at `tick` (seconds). */
WIRE_INLINE bool session_find6(const struct table *table, const struct key6 *key, uint64_t hash,
                               uint32_t tick, struct found *found)
{
    struct index_walk walk = index_start(table, SEGMENT_SESSION6, hash);
    for (uint64_t slot = index_next(table, &walk); slot != 0; slot = index_next(table, &walk)) {
        if (slot_read(table, slot, found) && life_is_session(found->copy.life, tick) &&
            record_has_key6(&found->copy, key))
            return true;
    }
    found->index = NO_RECORD;
    return false;
}

WIRE_INLINE bool session_find4(const struct table *table, const struct key4 *key, uint64_t hash,
                               uint32_t tick, struct found *found)
{
    struct index_walk walk = index_start(table, SEGMENT_SESSION4, hash);
    for (uint64_t slot = index_next(table, &walk); slot != 0; slot = index_next(table, &walk)) {
        if (slot_read(table, slot, found) && life_is_session(found->copy.life, tick) &&
            record_has_key4(&found->copy, key))
            return true;
    }
    found->index = NO_RECORD;
    return false;
}

/* Finds the lead of the binding. */
WIRE_INLINE bool binding_find(const struct table *table, const struct binding_key *key, uint32_t tick,
                              struct found *found)
{
    struct index_walk walk = index_start(table, SEGMENT_BINDINGS, hash_binding(table, key));
    for (uint64_t slot = index_next(table, &walk); slot != 0; slot = index_next(table, &walk)) {
        if (slot_read(table, slot, found) && binding_is_alive(&found->copy, tick) &&
            record_has_binding(&found->copy, key))
            return true;
    }
    found->index = NO_RECORD;
    return false;
}

/*
 * Finds the lead of the binding that holds a pool port (RFC 4787: endpoint-independent filtering). The owner
 * cell has no generation; that the record leads a binding of this very port says enough.
 */
WIRE_INLINE bool binding_find4(const struct table *table, uint16_t address, uint8_t transport, be16 port,
                               uint32_t tick, struct found *found)
{
    const uint32_t *owner = owner_at(table, address, transport, from_be16(port));
    uint32_t index = owner != NULL ? atomic_load32(owner) - 1 : NO_RECORD;
    const struct record *record = index < table->constants.records ? record_at(table, index) : NULL;
    found->index = NO_RECORD;
    if (record == NULL)
        return false;
    if (!record_read(record, life_generation(atomic_load64(&record->life)), &found->copy) ||
        !binding_is_alive(&found->copy, tick) || found->copy.lead != index ||
        found->copy.address != address || found->copy.transport != transport || found->copy.pool_port != port)
        return false;
    found->index = index;
    return true;
}

/* One more session for a binding; false: it has ended, or is about to. */
WIRE_INLINE bool binding_join(struct record *lead, uint16_t generation)
{
    for (unsigned tries = 0; tries < JOIN_TRIES; tries++) {
        uint64_t users = atomic_load64(&lead->users);
        if (users_generation(users) != generation || users_count(users) == 0 || (users & USERS_CLOSING) != 0)
            return false;
        if (atomic_swap_if64(&lead->users, users, users + 1))
            return true;
    }
    return false;
}

/* From now on nobody joins the binding; it ends with the sessions it has. */
WIRE_INLINE void binding_close(struct record *lead, uint16_t generation)
{
    for (unsigned tries = 0; tries < JOIN_TRIES; tries++) {
        uint64_t users = atomic_load64(&lead->users);
        if (users_generation(users) != generation || users_count(users) == 0 ||
            atomic_swap_if64(&lead->users, users, users | USERS_CLOSING))
            return;
    }
}

/*
 * Moves the end of a binding's life. Somebody who was stopped in here may raise that of a binding which has
 * the record since: it then seems to live a little longer than its sessions, and ends with the last as ever.
 */
WIRE_INLINE void binding_raise(struct record *lead, uint32_t until)
{
    for (unsigned tries = 0; tries < JOIN_TRIES; tries++) {
        uint32_t old = atomic_load32(&lead->until);
        if (old >= until || atomic_swap_if32(&lead->until, old, until))
            return;
    }
}

/*
 * A packet of a live session: moves its end and its state. Writes nothing if nothing changes (ticks are whole
 * seconds, so most packets write nothing). False: the word of life is not copy->life any more; look again.
 */
WIRE_INLINE bool session_touch(const struct table *table, const struct found *found, uint32_t expires,
                               uint8_t state)
{
    const struct record *copy = &found->copy;
    uint64_t now = life_make(expires, life_generation(copy->life), state, PHASE_LIVE);
    struct record *record = record_at(table, found->index);
    if (now == copy->life)
        return true;
    if (record == NULL || !atomic_swap_if64(&record->life, copy->life, now))
        return false;
    struct record *lead = copy->lead < table->constants.records ? record_at(table, copy->lead) : NULL;
    if (lead != NULL && atomic_load32(&lead->until) < expires)
        binding_raise(lead, expires);
    return true;
}

#endif /* ENGINE_SESSIONS_H */
