/* SPDX-License-Identifier: BSD-2-Clause */
#include "engine/rules.h"

enum { NO_PLACE = 0xffff };

/* --- instances -------------------------------------------------------------------------------------- */

static bool same_prefix(const struct rfc6052_prefix *a, const struct rfc6052_prefix *b)
{
    return a->length == b->length && ipv6_equal(&a->address, &b->address);
}

int rules_number(const struct rules *rules, const struct rfc6052_prefix *prefix)
{
    for (uint32_t i = 0; i < rules->settings.nat64_count; i++)
        if (prefix->length != 0 && same_prefix(&rules->settings.nat64[i].prefix, prefix))
            return (int)i;
    return -1;
}

/* Puts an instance of the settings where its number is. */
static void place_instance(struct rules *rules, const struct settings *settings, uint32_t index,
                           uint32_t number)
{
    rules->settings.nat64[number] = settings->nat64[index];
    rules->index[number] = (uint8_t)index;
    if (rules->settings.nat64_count <= number)
        rules->settings.nat64_count = number + 1;
}

static void begin(struct rules *rules, const struct settings *settings)
{
    rules->settings = *settings;
    rules->settings.nat64_count = 0;
    rules->pool.count = 0;
    rules->leaving = 0;
    for (uint32_t i = 0; i < NAT64_INSTANCES_MAXIMUM; i++) {
        rules->settings.nat64[i] = (struct nat64_settings){.prefix = {.length = 0}};
        rules->index[i] = NO_INDEX;
    }
}

static void arrange_instances(struct rules *rules, const struct settings *settings,
                              const struct rules *before)
{
    bool placed[NAT64_INSTANCES_MAXIMUM] = {false};
    for (uint32_t i = 0; before != NULL && i < settings->nat64_count; i++) {
        int number = rules_number(before, &settings->nat64[i].prefix);
        if (number < 0 || rules->index[number] != NO_INDEX)
            continue;
        place_instance(rules, settings, i, (uint32_t)number);
        placed[i] = true;
    }
    uint32_t number = 0;
    for (uint32_t i = 0; i < settings->nat64_count; i++) {
        if (placed[i])
            continue;
        while (rules->index[number] != NO_INDEX)
            number++;
        place_instance(rules, settings, i, number);
    }
}

/* --- the pool --------------------------------------------------------------------------------------- */

int pool_find(const struct rules *rules, be32 address)
{
    const struct pool *pool = &rules->pool;
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

static const char *add_address(struct pool *pool, const struct pool_address *added, uint32_t limit)
{
    uint32_t at = pool->count;
    uint32_t number = from_be32(added->address);
    for (; at > 0 && from_be32(pool->address[at - 1].address) > number; at--)
        ;
    if (at > 0 && pool->address[at - 1].address == added->address) {
        pool->address[at - 1].shared |= added->shared;
        return pool->address[at - 1].instance == added->instance ? NULL
                                                                 : "two nat64 instances share a pool address";
    }
    if (pool->count >= limit || pool->count >= ADDRESSES_MAXIMUM)
        return "the pools have more addresses than nat64.limits.addresses";
    for (uint32_t i = pool->count; i > at; i--)
        pool->address[i] = pool->address[i - 1];
    pool->address[at] = *added;
    pool->count++;
    return NULL;
}

static const char *add_addresses(struct rules *rules, uint32_t limit)
{
    const char *problem = NULL;
    for (uint32_t i = 0; i < rules->settings.nat64_count; i++)
        for (uint32_t j = 0; j < rules->settings.nat64[i].pool_count; j++) {
            const struct pool_range *range = &rules->settings.nat64[i].pool[j];
            for (uint32_t k = 0; k < range->count && problem == NULL; k++) {
                const struct pool_address address = {.address = to_be32(from_be32(range->first) + k),
                                                     .place = NO_PLACE,
                                                     .instance = (uint8_t)i,
                                                     .shared = range->interface[0] != 0};
                problem = add_address(&rules->pool, &address, limit);
            }
        }
    return problem;
}

/* What `before` has of this instance keeps its place; the others get those that are free, in order. */
static void give_places(struct pool *pool, const struct rules *before)
{
    bool taken[ADDRESSES_MAXIMUM] = {false};
    for (uint32_t i = 0; before != NULL && i < pool->count; i++) {
        int there = pool_find(before, pool->address[i].address);
        if (there < 0 || before->pool.address[there].instance != pool->address[i].instance)
            continue;
        pool->address[i].place = before->pool.address[there].place;
        taken[pool->address[i].place] = true;
    }
    uint16_t next = 0;
    for (uint32_t i = 0; i < pool->count; i++) {
        if (pool->address[i].place != NO_PLACE)
            continue;
        while (taken[next])
            next++;
        pool->address[i].place = next++;
    }
}

static void list_by_instance(struct pool *pool)
{
    uint32_t at = 0;
    for (uint32_t i = 0; i < pool->count; i++)
        pool->index[pool->address[i].place] = (uint16_t)i;
    for (uint32_t i = 0; i < NAT64_INSTANCES_MAXIMUM; i++) {
        pool->first[i] = at;
        for (uint32_t j = 0; j < pool->count; j++)
            if (pool->address[j].instance == i)
                pool->order[at++] = (uint16_t)j;
    }
    pool->first[NAT64_INSTANCES_MAXIMUM] = at;
}

/* --- the whole ------------------------------------------------------------------------------------- */

const char *rules_arrange(struct rules *rules, const struct settings *settings, const struct rules *before,
                          uint32_t addresses)
{
    begin(rules, settings);
    arrange_instances(rules, settings, before);
    const char *problem = add_addresses(rules, addresses);
    if (problem != NULL)
        return problem;
    give_places(&rules->pool, before);
    list_by_instance(&rules->pool);
    return NULL;
}

static bool has_address(const struct nat64_settings *nat64, be32 address)
{
    for (uint32_t i = 0; i < nat64->pool_count; i++)
        if (from_be32(address) - from_be32(nat64->pool[i].first) < nat64->pool[i].count)
            return true;
    return false;
}

void rules_remain(struct rules *rules, const struct settings *settings, const struct rules *before)
{
    begin(rules, settings);
    for (uint32_t i = 0; i < settings->nat64_count; i++) {
        int number = rules_number(before, &settings->nat64[i].prefix);
        if (number >= 0)
            place_instance(rules, settings, i, (uint32_t)number);
    }
    rules->settings.nat64_count = before->settings.nat64_count;
    for (uint32_t i = 0; i < before->settings.nat64_count; i++) {
        if (rules->index[i] != NO_INDEX || before->settings.nat64[i].prefix.length == 0)
            continue;
        rules->settings.nat64[i] = before->settings.nat64[i];
        rules->settings.nat64[i].pool_count = rules->settings.nat64[i].static_count = 0;
        rules->leaving |= 1u << i;
    }
    for (uint32_t i = 0; i < before->pool.count; i++) {
        const struct pool_address *address = &before->pool.address[i];
        if (has_address(&rules->settings.nat64[address->instance], address->address))
            rules->pool.address[rules->pool.count++] = *address;
    }
    list_by_instance(&rules->pool);
}

enum standing rules_judge(const struct table *table, const struct rules *rules, int number,
                          const struct record *record)
{
    if (number < 0 || (rules->leaving >> number & 1) != 0 || rules->settings.nat64[number].prefix.length == 0)
        return STANDING_NO_INSTANCE;
    int there = pool_find(rules, record->pool);
    if (there < 0 || rules->pool.address[there].instance != number)
        return STANDING_NO_ADDRESS;
    uint16_t port = from_be16(record->pool_port);
    const struct port_map *map = port_map_at(table, rules->pool.address[there].place, record->transport);
    bool allowed = (atomic_load64(&map->allowed[port / 64]) & (1ull << (port % 64))) != 0;
    return allowed ? STANDING_GOOD : STANDING_NO_PORT;
}
