/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Pairing: a client that has a binding gets the pool address of that one for new bindings too, whatever the
 * transport (RFC 6146 sections 3.5.1.1, 3.5.2.3 and 3.5.3; RFC 4787 REQ-2).
 *
 * Nearly always nobody has to remember anything for that, since a client's address follows from a hash
 * (engine/pool.c). A binding that stands on another address than the hash says is astray: the right one had
 * no port left when it was made, or it is static or its client has one that is, or the pool has changed. Its
 * users' word says so, and client and address have a word among the subscribers', which counts the bindings
 * that the client has astray there:
 *
 *     part of the client's hash (31 bits) | place of the pool address (12) | PENDING | count (20)
 *
 * Such a word is made, counted up and down and emptied like a subscriber's (engine/subscribers.h). The
 * table's header counts all bindings astray, so that nobody looks for words while there are none.
 *
 * When all ports of an address are in use a client gets a second one, as long as it lasts: RFC 7857 section 4
 * calls this soft pairing.
 */
#ifndef ENGINE_PAIRING_H
#define ENGINE_PAIRING_H

#include "engine/subscribers.h"

enum {
    PAIRING_PLACE_BITS = 12, /* of an address in a pool, which has 4096 at most */
};

/* The client's hash, with no place in it: that of a binding without a transport, which none has. */
WIRE_INLINE uint64_t pairing_hash(const struct table *table, const struct ipv6_address *client,
                                  uint8_t instance)
{
    const uint32_t *secret = table->constants.key + 12;
    uint32_t kind = TRANSPORT_COUNT | (uint32_t)instance << 8;
    uint64_t hash = hash_finish(hash_address(client, secret) + hash_pair(0, kind, secret + 4));
    return hash >> PAIRING_PLACE_BITS << PAIRING_PLACE_BITS;
}

WIRE_INLINE uint32_t *pairing_count(const struct table *table)
{
    struct table_header *header = header_of(table);
    return absent(header) ? NULL : &header->astray;
}

/* Is any binding astray? */
WIRE_INLINE bool pairing_needed(const struct table *table)
{
    const uint32_t *count = pairing_count(table);
    return !absent(count) && atomic_load32(count) != 0;
}

/* One more binding that the client has astray at that place; false: it cannot be remembered. */
WIRE_INLINE bool pairing_enter(const struct table *table, const struct key6 *key, uint32_t place,
                               uint32_t lane)
{
    if (absent(table) || absent(key))
        return false;
    uint64_t hash = pairing_hash(table, &key->client, key->instance) | place;
    uint32_t *count = pairing_count(table);
    if (absent(count) || subscriber_join(table, hash, SUBSCRIBER_SESSIONS_MAXIMUM, lane) != SUBSCRIBER_JOINED)
        return false;
    atomic_add32(count, 1);
    return true;
}

/* One less; false: it was none. */
WIRE_INLINE bool pairing_leave(const struct table *table, const struct ipv6_address *client, uint8_t instance,
                               uint32_t place)
{
    if (absent(table) || absent(client))
        return false;
    uint32_t *count = pairing_count(table);
    if (absent(count) || !subscriber_leave(table, pairing_hash(table, client, instance) | place))
        return false;
    atomic_add32(count, (uint32_t)-1);
    return true;
}

/* A walk over the words of a client. */
WIRE_INLINE struct subscriber_walk pairing_start(const struct table *table, const struct ipv6_address *client,
                                                 uint8_t instance)
{
    struct subscriber_walk walk = subscriber_start(table, pairing_hash(table, client, instance));
    walk.mask = (walk.mask << PAIRING_PLACE_BITS) | SUBSCRIBER_PENDING;
    return walk;
}

/* The next place where the client has bindings astray, or -1. */
WIRE_INLINE int pairing_next(const struct table *table, struct subscriber_walk *walk)
{
    uint64_t word = subscriber_next(table, walk);
    return word == 0 ? -1 : (int)(word / (2 * SUBSCRIBER_PENDING) % (1u << PAIRING_PLACE_BITS));
}

#endif /* ENGINE_PAIRING_H */
