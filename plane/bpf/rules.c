/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * There are two places for settings. The new ones are written where the old ones are not; the step from one
 * to the other is one store. An address enters the pool before the settings that have it and leaves it after
 * those that had it, so that no program sees settings with addresses that the pool does not know.
 */
#include "plane/bpf/rules.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/membarrier.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "engine/transport_update.h"

static struct plane_instance describe_instance(const struct rules *rules, uint32_t number)
{
    const struct nat64_settings *nat64 = &rules->settings.nat64[number];
    return (struct plane_instance){
        .prefix = nat64->prefix,
        .subscriber_prefix = nat64->subscriber_prefix,
        .filtering = nat64->filtering,
        .refuses_local = !nat64->translate_non_global && rfc6052_is_well_known(&nat64->prefix),
        .counters = nat64->counters,
        .opens = (rules->leaving >> number & 1) == 0,
        .sessions = nat64->sessions,
        .sessions_per_subscriber = nat64->sessions_per_subscriber,
        .statics = nat64->static_count,
        .first = rules->pool.first[number],
        .count = rules->pool.first[number + 1] - rules->pool.first[number],
        .timeouts = nat64->timeouts,
    };
}

/* With the least MTU of each side: a larger packet is for the engine, which knows the paths. */
static struct translation_settings describe_translation(const struct rules *rules, const struct paths *paths)
{
    struct translation_settings translation = rules->settings.translation;
    translation.paths6 = translation.paths4 = NULL;
    if (translation.mtu6 == 0)
        translation.mtu6 = paths != NULL ? paths->ipv6.least : PATH_MTU_UNKNOWN;
    if (translation.mtu4 == 0)
        translation.mtu4 = paths != NULL ? paths->ipv4.least : PATH_MTU_UNKNOWN;
    return translation;
}

/* As tcp_mss_limit of the engine, for the least of paths. */
static void describe_mss(const struct paths *paths, struct plane_settings *settings)
{
    const struct translation_settings *translation = &settings->translation;
    uint32_t limit6 = translation->mtu6 - TCP_HEADERS_OVER_IPV6;
    uint32_t limit4 = translation->mtu4 - TCP_HEADERS_OVER_IPV4;
    settings->mss_limit = limit6 < limit4 ? limit6 : limit4;
    if (!translation->mss_clamp)
        settings->mss_limit = UINT32_MAX;
    settings->mss_varies = paths != NULL && (paths->ipv6.count > 1 || paths->ipv4.count > 1);
}

void rules_describe(const struct rules *rules, const struct rules_surroundings *surroundings,
                    struct plane_settings *settings)
{
    const struct pool *pool = &rules->pool;
    memset(settings, 0, sizeof(*settings));
    settings->clock_ahead = surroundings->clock_ahead;
    memcpy(settings->secret, surroundings->secret, sizeof(settings->secret));
    settings->device = surroundings->device;
    settings->lane = surroundings->lane;
    settings->lanes = surroundings->lanes;
    settings->instances = rules->settings.nat64_count;
    settings->pool_low = pool->count > 0 ? from_be32(pool->address[0].address) : UINT32_MAX;
    settings->pool_high = pool->count > 0 ? from_be32(pool->address[pool->count - 1].address) : 0;
    settings->translation = describe_translation(rules, surroundings->paths);
    describe_mss(surroundings->paths, settings);
    for (uint32_t i = 0; i < settings->instances; i++)
        settings->instance[i] = describe_instance(rules, i);
}

static struct plane_address describe_address(const struct pool_address *address)
{
    return (struct plane_address){
        .address = address->address, .place = address->place, .instance = address->instance};
}

static int write_order(int map, const struct pool *pool, uint32_t version)
{
    for (uint32_t i = 0; i < pool->count; i++) {
        uint32_t number = version * POOL_ADDRESSES_MAXIMUM + i;
        struct plane_address address = describe_address(&pool->address[pool->order[i]]);
        if (bpf_map_update_elem(map, &number, &address, BPF_ANY) != 0)
            return errno;
    }
    return 0;
}

static int enter_addresses(int map, const struct pool *pool)
{
    for (uint32_t i = 0; i < pool->count; i++) {
        struct plane_address address = describe_address(&pool->address[i]);
        if (bpf_map_update_elem(map, &address.address, &address, BPF_ANY) != 0)
            return errno;
    }
    return 0;
}

/* A key that has gone is no key to go on from: so the next one is asked for before. */
static int remove_addresses(int map, const struct rules *rules)
{
    be32 address, next;
    bool more = bpf_map_get_next_key(map, NULL, &next) == 0;
    while (more) {
        address = next;
        more = bpf_map_get_next_key(map, &address, &next) == 0;
        if (pool_find(rules, address) < 0 && bpf_map_delete_elem(map, &address) != 0)
            return errno;
    }
    return 0;
}

int rules_enforce(struct object *object, const struct rules *rules,
                  const struct rules_surroundings *surroundings)
{
    struct plane_settings settings;
    int versions = object_map(object, "settings"), pool = object_map(object, "pool");
    int named = object_map(object, ".data.current");
    uint32_t zero = 0, current = 0;
    int error = enter_addresses(pool, &rules->pool);
    if (error != 0)
        return error;
    if (bpf_map_lookup_elem(named, &zero, &current) != 0)
        return errno;
    current = (current + 1) % SETTINGS_VERSIONS;
    rules_describe(rules, surroundings, &settings);
    settings.version = current;
    error = write_order(object_map(object, "order"), &rules->pool, current);
    if (error != 0)
        return error;
    if (bpf_map_update_elem(versions, &current, &settings, BPF_ANY) != 0 ||
        bpf_map_update_elem(named, &zero, &current, BPF_ANY) != 0)
        return errno;
    if (syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) != 0)
        return errno;
    return remove_addresses(pool, rules);
}
