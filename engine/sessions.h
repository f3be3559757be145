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
 * Dying. Whoever stops for good at any point above leaves behind at most a record, a port, a place in each
 * count, an entry in each index, and one use of a binding, which then keeps its own record and port as well;
 * twice that if it died while it ended an expired session that was in its way. Readers pass over what is not
 * LIVE, rivals kill what is MAKING, and nothing waits. The next start takes back what was left
 * (engine/recover.c). test/model/ explores all of this, step by step.
 */
#ifndef ENGINE_SESSIONS_H
#define ENGINE_SESSIONS_H

#include "engine/half_open.h"
#include "engine/index.h"
#include "engine/ports.h"
#include "engine/records.h"

/* What a new session is to be. Fields `pool` to `astray` are ignored when it joins a binding. */
struct session_request {
    struct key6 key;
    be32 pool;
    be16 pool_port;
    uint16_t address;
    bool astray;      /* counted by pairing_enter; like the port, that is the binding's afterwards */
    uint32_t tick;    /* now, in seconds */
    uint32_t expires; /* the last second of its life */
    uint8_t state;
    uint32_t sessions;                /* at most so many in the instance */
    uint32_t sessions_per_subscriber; /* and in the subscriber; 0: not counted */
};

WIRE_INLINE bool same_client(const struct ipv6_address *a, const struct ipv6_address *b)
{
    const word64 *half_a = (const void *)a, *half_b = (const void *)b;
    return ((half_a[0] ^ half_b[0]) | (half_a[1] ^ half_b[1])) == 0;
}

WIRE_INLINE bool record_has_key6(const struct record *record, const struct key6 *key)
{
    return same_client(&record->client, &key->client) && record->remote == key->remote &&
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
    return same_client(&record->client, &key->client) && record->client_port == key->client_port &&
           record->transport == key->transport && record->instance == key->instance;
}

/* The same for two records, without a key between them. */
WIRE_INLINE bool share_binding(const struct record *a, const struct record *b)
{
    return same_client(&a->client, &b->client) && a->client_port == b->client_port &&
           a->transport == b->transport && a->instance == b->instance;
}

WIRE_INLINE bool share_session(const struct record *a, const struct record *b)
{
    return share_binding(a, b) && a->remote == b->remote && a->remote_port == b->remote_port;
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
 * session tells; with more, `until`, which was raised with each of them before it was renewed or made.
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
    return users_left(copy->users, tick) >= 0;
}

/* A record found in the table: which it is, and what was in it. */
struct found {
    uint32_t index; /* NO_RECORD: none */
    struct record copy;
};

/* Copies the record that a slot names. False: it is not the slot's any more. */
WIRE_INLINE bool slot_read(const struct table *table, uint64_t slot, struct found *found)
{
    found->index = slot_index(slot);
    if (slot_index(slot) >= table->constants.records)
        return false;
    const struct record *record = record_at(table, slot_index(slot));
    return !absent(record) && record_read(record, slot_generation(slot), &found->copy);
}

/* Finds the session that lives at `tick` (seconds). */
TABLE_FUNCTION bool session_find6(const struct table *table, const struct key6 *key, uint64_t hash,
                                  uint32_t tick, struct found *found)
{
    if (absent(table) || absent(key) || absent(found))
        return false;
    struct index_walk walk = index_start(table, SEGMENT_SESSION6, hash);
    for (size_t step = 0; step < INDEX_PLACES; step++) {
        uint64_t slot = index_next(table, &walk);
        if (slot == 0)
            break;
        if (slot_read(table, slot, found) && life_is_session(found->copy.life, tick) &&
            record_has_key6(&found->copy, key))
            return true;
    }
    found->index = NO_RECORD;
    return false;
}

TABLE_FUNCTION bool session_find4(const struct table *table, const struct key4 *key, uint64_t hash,
                                  uint32_t tick, struct found *found)
{
    if (absent(table) || absent(key) || absent(found))
        return false;
    struct index_walk walk = index_start(table, SEGMENT_SESSION4, hash);
    for (size_t step = 0; step < INDEX_PLACES; step++) {
        uint64_t slot = index_next(table, &walk);
        if (slot == 0)
            break;
        if (slot_read(table, slot, found) && life_is_session(found->copy.life, tick) &&
            record_has_key4(&found->copy, key))
            return true;
    }
    found->index = NO_RECORD;
    return false;
}

/* Is what the slot names the lead of the binding? Then it is found. */
TABLE_FUNCTION bool binding_found(const struct table *table, uint64_t slot, const struct binding_key *key,
                                  uint32_t tick, struct found *found)
{
    if (absent(table) || absent(key) || absent(found))
        return false;
    return slot_read(table, slot, found) && binding_is_alive(&found->copy, tick) &&
           record_has_binding(&found->copy, key);
}

/* Finds the lead of the binding. */
TABLE_FUNCTION bool binding_find(const struct table *table, const struct binding_key *key, uint32_t tick,
                                 struct found *found)
{
    if (absent(table) || absent(key) || absent(found))
        return false;
    struct index_walk walk = index_start(table, SEGMENT_BINDINGS, hash_binding(table, key));
    for (size_t step = 0; step < INDEX_PLACES; step++) {
        uint64_t slot = index_next(table, &walk);
        if (slot == 0)
            break;
        if (binding_found(table, slot, key, tick, found))
            return true;
    }
    found->index = NO_RECORD;
    return false;
}

/*
 * Finds the lead of the binding that holds a pool port (RFC 4787: endpoint-independent filtering). The owner
 * cell has no generation; that the record leads a binding of this very port says enough.
 * rfc: 7857-5-a, 4787-REQ8-a
 */
WIRE_INLINE bool binding_find4(const struct table *table, uint16_t address, uint8_t transport, be16 port,
                               uint32_t tick, struct found *found)
{
    const uint32_t *owner = owner_at(table, address, transport, from_be16(port));
    found->index = NO_RECORD;
    uint32_t index = absent(owner) ? NO_RECORD : atomic_load32(owner) - 1;
    if (index >= table->constants.records)
        return false;
    const struct record *record = record_at(table, index);
    if (absent(record) || !record_read(record, life_generation(atomic_load64(&record->life)), &found->copy) ||
        !binding_is_alive(&found->copy, tick) || found->copy.lead != index ||
        found->copy.address != address || found->copy.transport != transport || found->copy.pool_port != port)
        return false;
    found->index = index;
    return true;
}

/* One more session for a binding, which ends at `until`; false: the binding has ended, or is about to. */
TABLE_FUNCTION bool binding_join(struct record *lead, uint16_t generation, uint32_t until)
{
    if (absent(lead))
        return false;
    for (size_t tries = 0; tries < JOIN_TRIES; tries++) {
        uint64_t users = atomic_load64(&lead->users);
        if (users_generation(users) != generation || users_count(users) == 0 ||
            users_count(users) == USERS_MAXIMUM || (users & USERS_CLOSING) != 0)
            return false;
        if (atomic_swap_if64(&lead->users, users, users_raised(users, until) + 1))
            return true;
    }
    return false;
}

/* From now on nobody joins the binding; it ends with the sessions it has. False: others kept at its word. */
TABLE_FUNCTION bool binding_close(struct record *lead, uint16_t generation)
{
    if (absent(lead))
        return false;
    for (size_t tries = 0; tries < JOIN_TRIES; tries++) {
        uint64_t users = atomic_load64(&lead->users);
        if (users_generation(users) != generation || users_count(users) == 0 ||
            atomic_swap_if64(&lead->users, users, users | USERS_CLOSING))
            return true;
    }
    return false;
}

enum renewal {
    RENEWAL_DONE,
    RENEWAL_CLOSING, /* the binding takes no renewals */
    RENEWAL_CHANGED, /* the session is not as it was found */
};

/*
 * Has the binding of a session end no sooner than at `until`. The users are read before the session is looked
 * at once more: while it lives, so does its binding, and the word is that of its lead.
 */
TABLE_FUNCTION enum renewal binding_renew(const struct record *session, uint64_t life, struct record *lead,
                                          uint32_t until)
{
    if (absent(session) || absent(lead))
        return RENEWAL_CHANGED;
    for (size_t tries = 0; tries < JOIN_TRIES; tries++) {
        uint64_t users = atomic_load64(&lead->users);
        if (atomic_load64(&session->life) != life)
            return RENEWAL_CHANGED;
        if ((users & USERS_CLOSING) != 0)
            return RENEWAL_CLOSING;
        uint64_t raised = users_raised(users, until);
        if (raised == users || atomic_swap_if64(&lead->users, users, raised))
            return RENEWAL_DONE;
    }
    return RENEWAL_CHANGED;
}

/*
 * A packet of a live session: moves its end and its state. Writes nothing if nothing changes (ticks are whole
 * seconds, so most packets write nothing). The binding's end moves first: it must not seem over while one of
 * its sessions is not; one that is closing has its sessions run out. False: the word of life is not
 * copy->life any more; look again.
 */
WIRE_INLINE bool session_touch(const struct table *table, const struct found *found, uint32_t expires,
                               uint8_t state)
{
    const struct record *copy = &found->copy;
    uint64_t now = life_make(expires, life_generation(copy->life), state, PHASE_LIVE);
    if (now == copy->life)
        return true;
    struct record *record = record_at(table, found->index);
    struct record *lead = copy->lead < table->constants.records ? record_at(table, copy->lead) : record;
    if (absent(record) || absent(lead))
        return false;
    enum renewal renewal = binding_renew(record, copy->life, lead, expires);
    if (renewal != RENEWAL_DONE)
        return renewal == RENEWAL_CLOSING;
    return half_open_swap(table, record, copy->life, now);
}

#endif /* ENGINE_SESSIONS_H */
