/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * There are two places for settings, pool, order and paths. The new ones are written where the old ones are
 * not; the step from one to the other is one store.
 */
#include "plane/bpf/rules.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "engine/random.h"

enum {
    FIRST_MULTIPLIER = 2654435761u, /* 2^32 divided by the golden ratio */
    MULTIPLIER_TRIES = 256,
    ANSWERS_SHARE = 4, /* of a second's, for an eighth of one */
    STORES_SHARE = 8,
};

static struct plane_instance describe_instance(const struct rules *rules, uint32_t number)
{
    const struct nat64_settings *nat64 = &rules->settings.nat64[number];
    return (struct plane_instance){
        .prefix = nat64->prefix,
        .subscriber_prefix = nat64->subscriber_prefix,
        .filtering = nat64->filtering,
        .refuses_local = !nat64->translate_non_global && rfc6052_is_well_known(&nat64->prefix),
        .counters = nat64->counters,
        .sessions = nat64->sessions,
        .sessions_per_subscriber = nat64->sessions_per_subscriber,
        .first = rules->pool.first[number],
        .count = rules->pool.first[number + 1] - rules->pool.first[number],
        .timeouts = nat64->timeouts,
    };
}

/* With the least MTU of each side. */
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

static void describe_own_ports(const struct rules *rules, struct plane_settings *settings)
{
    settings->own_low = UINT16_MAX;
    for (uint32_t i = 0; i < rules->settings.nat64_count; i++)
        for (uint32_t j = 0; j < rules->settings.nat64[i].pool_count; j++) {
            const struct pool_range *range = &rules->settings.nat64[i].pool[j];
            if (range->interface[0] == 0)
                continue;
            if (range->low < settings->own_low)
                settings->own_low = range->low;
            if (range->high > settings->own_high)
                settings->own_high = range->high;
        }
}

void rules_describe(const struct rules *rules, const struct rules_surroundings *surroundings,
                    struct plane_settings *settings)
{
    const struct pool *pool = &rules->pool;
    memset(settings, 0, sizeof(*settings));
    settings->clock_ahead = surroundings->clock_ahead;
    memcpy(settings->secret, surroundings->secret, sizeof(settings->secret));
    settings->lane = surroundings->lane;
    settings->lanes = surroundings->lanes;
    settings->instances = rules->settings.nat64_count;
    settings->pool_low = pool->count > 0 ? from_be32(pool->address[0].address) : UINT32_MAX;
    settings->pool_high = pool->count > 0 ? from_be32(pool->address[pool->count - 1].address) : 0;
    settings->answers = rules->settings.translation.icmp_errors_per_second / ANSWERS_SHARE + 1;
    settings->stores = WAITING_SYNS / STORES_SHARE;
    settings->translation = describe_translation(rules, surroundings->paths);
    settings->stack = surroundings->stack;
    settings->ranges[PATH_FAMILY_IPV6] = settings->ranges[PATH_FAMILY_IPV4] = 1;
    describe_own_ports(rules, settings);
    for (uint32_t i = 0; i < settings->instances; i++)
        settings->instance[i] = describe_instance(rules, i);
}

/* --- who has which pool address --------------------------------------------------------------------- */

static uint64_t describe_address(const struct pool_address *address)
{
    const struct plane_address described = {.address = address->address,
                                            .place = address->place,
                                            .instance = address->instance,
                                            .shared = address->shared};
    uint64_t word;
    memcpy(&word, &described, sizeof(word));
    return word;
}

static bool enter_address(struct plane_bucket *buckets, uint32_t multiplier,
                          const struct pool_address *address)
{
    struct plane_bucket *bucket = &buckets[pool_bucket(address->address, multiplier)];
    for (unsigned i = 0; i < POOL_BUCKET; i++)
        if (bucket->slot[i] == 0) {
            bucket->slot[i] = describe_address(address);
            return true;
        }
    return false;
}

/* False: a bucket has no room for one of them. */
static bool enter_addresses(struct plane_bucket *buckets, uint32_t multiplier, const struct pool *pool)
{
    bool room = true;
    memset(buckets, 0, POOL_BUCKETS * sizeof(*buckets));
    for (uint32_t i = 0; i < pool->count; i++)
        room = enter_address(buckets, multiplier, &pool->address[i]) && room;
    return room;
}

/*
 * Returns the multiplier. The first one spreads addresses that follow each other evenly. An address that
 * found no room with any would be the engine's, which has its packets by the kernel's routes.
 */
static uint32_t write_pool(struct plane_bucket *buckets, const struct pool *pool)
{
    struct random random = random_seed(FIRST_MULTIPLIER);
    uint32_t multiplier = FIRST_MULTIPLIER;
    for (unsigned tries = 0; !enter_addresses(buckets, multiplier, pool) && tries < MULTIPLIER_TRIES; tries++)
        multiplier = (uint32_t)random_next(&random) | 1;
    return multiplier;
}

static void write_order(uint64_t *order, const struct pool *pool)
{
    for (uint32_t i = 0; i < pool->count; i++)
        order[i] = describe_address(&pool->address[pool->order[i]]);
}

static void write_places(uint64_t *places, const struct pool *pool)
{
    memset(places, 0, POOL_ADDRESSES_MAXIMUM * sizeof(*places));
    for (uint32_t i = 0; i < pool->count; i++)
        places[pool->address[i].place] = describe_address(&pool->address[i]);
}

/* --- what paths carry ------------------------------------------------------------------------------- */

/* How many ranges there are, see struct plane_settings; a configured MTU overrules them all. */
static uint32_t write_ranges(struct path_range *ranges, const struct path_table *table, uint32_t configured)
{
    if (configured != 0 || table->count == 1)
        return 1;
    if (table->count > PATH_RANGES)
        return 0;
    memcpy(ranges, table->ranges, table->count * sizeof(*ranges));
    return table->count;
}

static void write_paths(struct path_range *ranges, const struct paths *paths,
                        const struct translation_settings *configured, struct plane_settings *settings)
{
    if (paths == NULL)
        return;
    settings->ranges[PATH_FAMILY_IPV6] =
        write_ranges(ranges + (size_t)PATH_FAMILY_IPV6 * PATH_RANGES, &paths->ipv6, configured->mtu6);
    settings->ranges[PATH_FAMILY_IPV4] =
        write_ranges(ranges + (size_t)PATH_FAMILY_IPV4 * PATH_RANGES, &paths->ipv4, configured->mtu4);
}

/* --- putting it into force -------------------------------------------------------------------------- */

bool rules_map(struct object *object)
{
    static const char *const names[] = {".data.control", "settings", "pool",     "order",
                                        "places",        "paths",    "mappings", "mapping_buckets"};
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (object_map_memory(object, names[i]) == NULL)
            return false;
    return true;
}

/*
 * Where it runs processors without a clock tick (nohz_full=) the kernel does not tell; a program runs for
 * microseconds.
 */
void rules_wait(void)
{
    const struct timespec long_enough = {.tv_nsec = 100000000};
    if (syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) != 0)
        (void)nanosleep(&long_enough, NULL);
}

int rules_enforce(struct object *object, const struct rules *rules,
                  const struct rules_surroundings *surroundings)
{
    if (!rules_map(object))
        return ENOMEM;
    struct plane_control *control = object_map_memory(object, ".data.control");
    struct plane_settings *settings = object_map_memory(object, "settings");
    struct plane_bucket *pool = object_map_memory(object, "pool");
    uint64_t *order = object_map_memory(object, "order");
    uint64_t *places = object_map_memory(object, "places");
    struct path_range *ranges = object_map_memory(object, "paths");
    struct mapping_arrays mappings = {.mappings = object_map_memory(object, "mappings"),
                                      .buckets = object_map_memory(object, "mapping_buckets"),
                                      .room = object_array(object, "mappings").count / SETTINGS_VERSIONS};
    uint32_t next = (control->current + 1) % SETTINGS_VERSIONS;
    rules_describe(rules, surroundings, &settings[next]);
    settings[next].version = next;
    settings[next].pool_multiplier = write_pool(pool + (size_t)next * POOL_BUCKETS, &rules->pool);
    write_order(order + (size_t)next * POOL_ADDRESSES_MAXIMUM, &rules->pool);
    write_places(places + (size_t)next * POOL_ADDRESSES_MAXIMUM, &rules->pool);
    write_paths(ranges + (size_t)next * PATH_FAMILIES * PATH_RANGES, surroundings->paths,
                &rules->settings.translation, &settings[next]);
    mappings_write(&mappings, next, &rules->settings, &settings[next].siits);
    atomic_store32(&control->device, surroundings->device);
    atomic_store32(&control->current, next);
    rules_wait();
    return 0;
}
