/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The claim of a port for a new binding.
 *
 * Which address a subscriber gets is not stored but computed: the hash of its prefix picks where in the
 * instance's list to start. So all its bindings share one address as long as that has ports (RFC
 * 6146 section 3.5.1.1, RFC 4787 REQ-2), and a full address overflows to the next one. A client with bindings
 * elsewhere, static ones among them, keeps to where those are (engine/pairing.h).
 */
#include "engine/worker.h"

static uint32_t addresses_of(const struct pool *pool, uint8_t instance)
{
    return pool->first[instance + 1] - pool->first[instance];
}

/* Where in the list of the instance's addresses the one stands that the hash of the client's prefix says. */
static uint32_t start_of(const struct table *table, const struct rules *rules,
                         const struct ipv6_address *client, uint8_t instance)
{
    uint32_t length = rules->settings.nat64[instance].subscriber_prefix;
    uint64_t hash = hash_subscriber(table, client, length, instance);
    return (uint32_t)(((hash >> 32) * addresses_of(&rules->pool, instance)) >> 32);
}

bool pool_prefers(const struct table *table, const struct rules *rules, const struct record *lead)
{
    const struct pool *pool = &rules->pool;
    uint32_t start = pool->first[lead->instance] + start_of(table, rules, &lead->client, lead->instance);
    return addresses_of(pool, lead->instance) != 0 &&
           pool->address[pool->order[start]].place == lead->address;
}

static bool claim_at(struct worker *worker, const struct pool_address *address,
                     struct session_request *request)
{
    struct port_map *map = port_map_at(worker->actor.table, address->place, request->key.transport);
    int port = ports_claim(map, request->key.client_port, random_next(&worker->random));
    if (port < 0)
        return false;
    request->pool = address->address;
    request->pool_port = to_be16((uint16_t)port);
    request->address = address->place;
    return true;
}

/* ... at another address than the client's hash says. */
static bool claim_astray(struct worker *worker, const struct pool_address *address,
                         struct session_request *request)
{
    if (!claim_at(worker, address, request))
        return false;
    request->astray = pairing_enter(worker->actor.table, &request->key, address->place, worker->actor.lane);
    return true;
}

/* Where the client has bindings astray, one of which may be where the hash says by now. */
static bool claim_paired(struct worker *worker, const struct pool_address *preferred,
                         struct session_request *request)
{
    const struct table *table = worker->actor.table;
    const struct pool *pool = &worker->rules->pool;
    uint8_t instance = request->key.instance;
    struct subscriber_walk walk = pairing_start(table, &request->key.client, instance);
    for (int place = pairing_next(table, &walk); place >= 0; place = pairing_next(table, &walk)) {
        const struct pool_address *address = &pool->address[pool->index[place]];
        if (pool->index[place] >= pool->count || address->place != place || address->instance != instance)
            continue;
        if (address == preferred ? claim_at(worker, address, request)
                                 : claim_astray(worker, address, request))
            return true;
    }
    return false;
}

/* rfc: 6146-3.5.1.1-a */
bool pool_claim(struct worker *worker, struct session_request *request)
{
    const struct pool *pool = &worker->rules->pool;
    uint8_t instance = request->key.instance;
    uint32_t count = addresses_of(pool, instance);
    if (count == 0)
        return false;
    uint32_t start = start_of(worker->actor.table, worker->rules, &request->key.client, instance);
    const uint16_t *order = &pool->order[pool->first[instance]];
    const struct pool_address *preferred = &pool->address[order[start]];
    request->astray = false;
    if (pairing_needed(worker->actor.table) && claim_paired(worker, preferred, request))
        return true;
    if (claim_at(worker, preferred, request))
        return true;
    for (uint32_t i = 1; i < count; i++)
        if (claim_astray(worker, &pool->address[order[(start + i) % count]], request))
            return true;
    return false;
}
