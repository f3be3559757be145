/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The claim of a port for a new binding.
 *
 * Which address a subscriber gets is not stored but computed: the hash of its prefix picks where in the
 * instance's list to start. So all its bindings share one address as long as that has ports (RFC
 * 6146 section 3.5.1.1, RFC 4787 REQ-2), and a full address overflows to the next one. A client with a static
 * binding keeps to that one's address.
 */
#include "engine/worker.h"

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

/* The pool address that a static binding gives the client, or -1. Static bindings are few. */
static int static_address(const struct worker *worker, const struct key6 *key)
{
    const struct nat64_settings *nat64 = &worker->settings->nat64[key->instance];
    for (uint32_t i = 0; i < nat64->static_count; i++)
        if (ipv6_equal(&nat64->statics[i].ipv6, &key->client))
            return pool_find(worker->rules, nat64->statics[i].ipv4);
    return -1;
}

bool pool_claim(struct worker *worker, struct session_request *request)
{
    const struct pool *pool = &worker->rules->pool;
    uint8_t instance = request->key.instance;
    uint32_t count = pool->first[instance + 1] - pool->first[instance];
    uint64_t hash = hash_subscriber(worker->actor.table, &request->key.client,
                                    worker->settings->nat64[instance].subscriber_prefix, instance);
    uint32_t start = (uint32_t)(((hash >> 32) * count) >> 32);
    int preferred = static_address(worker, &request->key);
    if (preferred >= 0 && claim_at(worker, &pool->address[preferred], request))
        return true;
    for (uint32_t i = 0; i < count; i++)
        if (claim_at(worker, &pool->address[pool->order[pool->first[instance] + (start + i) % count]],
                     request))
            return true;
    return false;
}
