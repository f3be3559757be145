/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The pool: every address that any instance may use, and the claim of a port for a new binding.
 *
 * Which address a subscriber gets is not stored but computed: the hash of its prefix picks where in the
 * instance's list to start. So all its bindings share one address as long as that has ports (RFC
 * 6146 section 3.5.1.1, RFC 4787 REQ-2), and a full address overflows to the next one. A client with a static
 * binding keeps to that one's address.
 */
#include "engine/worker.h"

static const char *add_address(struct engine *engine, be32 address, uint8_t instance)
{
    struct pool *pool = &engine->pool;
    uint32_t at = pool->count;
    uint32_t number = from_be32(address);
    for (; at > 0 && from_be32(pool->address[at - 1].address) > number; at--)
        ;
    if (at > 0 && pool->address[at - 1].address == address)
        return pool->address[at - 1].instance == instance ? NULL : "two nat64 instances share a pool address";
    if (pool->count >= engine->table->constants.addresses || pool->count >= 4096)
        return "the pools have more addresses than nat64.limits.addresses";
    for (uint32_t i = pool->count; i > at; i--)
        pool->address[i] = pool->address[i - 1];
    pool->address[at] = (struct pool_address){.address = address, .instance = instance};
    pool->count++;
    return NULL;
}

static void allow_ports(struct engine *engine, const struct pool_range *range, uint16_t place)
{
    for (unsigned transport = 0; transport < TRANSPORT_COUNT; transport++) {
        if ((range->transports & (1u << transport)) == 0)
            continue;
        struct port_map *map = port_map_at(engine->table, place, (uint8_t)transport);
        for (unsigned port = range->low; port <= range->high; port++)
            ports_allow(map, (uint16_t)port);
    }
}

const char *pool_set_up(struct engine *engine, const struct settings *settings)
{
    struct pool *pool = &engine->pool;
    for (uint32_t i = 0; i < settings->nat64_count; i++)
        for (uint32_t j = 0; j < settings->nat64[i].pool_count; j++) {
            const struct pool_range *range = &settings->nat64[i].pool[j];
            for (uint32_t k = 0; k < range->count; k++) {
                const char *problem = add_address(engine, to_be32(from_be32(range->first) + k), (uint8_t)i);
                if (problem != NULL)
                    return problem;
            }
        }
    uint32_t place = 0;
    for (uint32_t i = 0; i < settings->nat64_count; i++) {
        pool->first[i] = place;
        for (uint32_t j = 0; j < pool->count; j++)
            if (pool->address[j].instance == i)
                pool->order[place++] = (uint16_t)j;
    }
    for (uint32_t i = settings->nat64_count; i <= NAT64_INSTANCES_MAXIMUM; i++)
        pool->first[i] = place;
    return NULL;
}

void pool_open_ports(struct engine *engine, const struct settings *settings)
{
    for (uint32_t i = 0; i < settings->nat64_count; i++)
        for (uint32_t j = 0; j < settings->nat64[i].pool_count; j++) {
            const struct pool_range *range = &settings->nat64[i].pool[j];
            for (uint32_t k = 0; k < range->count; k++)
                allow_ports(engine, range, (uint16_t)pool_find(engine, to_be32(from_be32(range->first) + k)));
        }
}

int pool_find(const struct engine *engine, be32 address)
{
    const struct pool *pool = &engine->pool;
    uint32_t number = from_be32(address);
    uint32_t low = 0, high = pool->count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        uint32_t there = from_be32(pool->address[middle].address);
        if (there == number)
            return (int)middle;
        if (there < number)
            low = middle + 1;
        else
            high = middle;
    }
    return -1;
}

static bool claim_at(struct worker *worker, uint16_t place, struct session_request *request)
{
    struct port_map *map = port_map_at(worker->actor.table, place, request->key.transport);
    int port = ports_claim(map, request->key.client_port, random_next(&worker->random));
    if (port < 0)
        return false;
    request->pool = worker->engine->pool.address[place].address;
    request->pool_port = to_be16((uint16_t)port);
    request->address = place;
    return true;
}

/* The pool address that a static binding gives the client, or -1. Static bindings are few. */
static int static_place(const struct worker *worker, const struct key6 *key)
{
    const struct nat64_settings *nat64 = &worker->settings->nat64[key->instance];
    for (uint32_t i = 0; i < nat64->static_count; i++)
        if (ipv6_equal(&nat64->statics[i].ipv6, &key->client))
            return pool_find(worker->engine, nat64->statics[i].ipv4);
    return -1;
}

bool pool_claim(struct worker *worker, struct session_request *request)
{
    const struct pool *pool = &worker->engine->pool;
    uint8_t instance = request->key.instance;
    uint32_t count = pool->first[instance + 1] - pool->first[instance];
    uint64_t hash = hash_subscriber(worker->actor.table, &request->key.client,
                                    worker->settings->nat64[instance].subscriber_prefix, instance);
    uint32_t start = (uint32_t)(((hash >> 32) * count) >> 32);
    int preferred = static_place(worker, &request->key);
    if (preferred >= 0 && claim_at(worker, (uint16_t)preferred, request))
        return true;
    for (uint32_t i = 0; i < count; i++)
        if (claim_at(worker, pool->order[pool->first[instance] + (start + i) % count], request))
            return true;
    return false;
}
