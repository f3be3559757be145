/* SPDX-License-Identifier: BSD-2-Clause */
/* Who has which pool address, as programs find it: for as many addresses as there can be, wherever they lie.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/random.h"
#include "plane/bpf/embedded.h"
#include "plane/bpf/rules.h"

static struct {
    struct object *object;
    struct plane_control *control;
    const struct plane_settings *settings;
    const struct plane_bucket *pool;
    const struct plane_address *order;
    struct settings configured;
    struct pool_range range[ADDRESSES_MAXIMUM];
    struct rules rules;
} lab;

static void need_maps(void)
{
    if (lab.object == NULL) {
        print_message("skipped: needs root, for maps of the kernel\n");
        skip();
    }
}

static int open_maps(void **state)
{
    const struct object_options options = {.image = embedded_object,
                                           .image_size = (size_t)(embedded_object_end - embedded_object),
                                           .geometry = {.sessions = 64, .addresses = 1, .workers = 1}};
    static char error[256];
    (void)state;
    if (geteuid() != 0)
        return 0;
    lab.object = object_open(&options, error, sizeof(error));
    if (lab.object == NULL)
        return 1;
    lab.control = object_map_memory(lab.object, ".data.control");
    lab.settings = object_map_memory(lab.object, "settings");
    lab.pool = object_map_memory(lab.object, "pool");
    lab.order = object_map_memory(lab.object, "order");
    return 0;
}

static int close_maps(void **state)
{
    (void)state;
    object_close(lab.object);
    return 0;
}

/* Two instances share addresses that begin at `first` and are `step` apart, or are random if that is 0. */
static void enforce(uint32_t first, uint32_t step, uint32_t count)
{
    struct random random = random_seed(first);
    for (uint32_t i = 0; i < count; i++)
        lab.range[i] = (struct pool_range){
            .first = to_be32(step != 0 ? first + i * step : (uint32_t)random_next(&random)),
            .count = 1,
            .low = 1024,
            .high = 65535,
            .transports = (1 << TRANSPORT_COUNT) - 1};
    memset(&lab.configured, 0, sizeof(lab.configured));
    lab.configured.nat64_count = 2;
    lab.configured.nat64[0].prefix.length = lab.configured.nat64[1].prefix.length = 96;
    lab.configured.nat64[1].prefix.address.bytes[0] = 0x20;
    lab.configured.nat64[0].pool = lab.range;
    lab.configured.nat64[0].pool_count = count / 3;
    lab.configured.nat64[1].pool = lab.range + count / 3;
    lab.configured.nat64[1].pool_count = count - count / 3;
    assert_null(rules_arrange(&lab.rules, &lab.configured, NULL, ADDRESSES_MAXIMUM));
    const struct rules_surroundings surroundings = {.device = 7, .lane = 2, .lanes = 1};
    assert_int_equal(rules_enforce(lab.object, &lab.rules, &surroundings), 0);
}

/* As pool_word of the programs. */
static struct plane_address find(uint32_t version, be32 address)
{
    struct plane_address found = {.address = 0};
    const struct plane_bucket *bucket =
        &lab.pool[version * POOL_BUCKETS + pool_bucket(address, lab.settings[version].pool_multiplier)];
    for (unsigned i = 0; i < POOL_BUCKET; i++)
        if (memcmp(&bucket->slot[i], &address, sizeof(address)) == 0)
            memcpy(&found, &bucket->slot[i], sizeof(found));
    return found;
}

static unsigned count_entries(uint32_t version)
{
    unsigned count = 0;
    for (unsigned i = 0; i < POOL_BUCKETS; i++)
        for (unsigned k = 0; k < POOL_BUCKET; k++)
            count += lab.pool[version * POOL_BUCKETS + i].slot[k] != 0;
    return count;
}

/* Each address is there, with its place and instance, and no other. */
static void check(uint32_t version)
{
    const struct pool *pool = &lab.rules.pool;
    assert_int_equal(lab.settings[version].version, version);
    for (uint32_t i = 0; i < pool->count; i++) {
        struct plane_address found = find(version, pool->address[i].address);
        assert_int_equal(found.address, pool->address[i].address);
        assert_int_equal(found.place, pool->address[i].place);
        assert_int_equal(found.instance, pool->address[i].instance);
        assert_int_equal(lab.order[version * POOL_ADDRESSES_MAXIMUM + i].address,
                         pool->address[pool->order[i]].address);
    }
    assert_int_equal(count_entries(version), pool->count);
}

static void every_address_is_found(void **state)
{
    (void)state;
    need_maps();
    const uint32_t steps[] = {1, 2, 7, 256, 4096, 65536, 1000003};
    for (unsigned i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        enforce(0xc0000200u, steps[i], ADDRESSES_MAXIMUM);
        check(lab.control->current);
    }
    for (uint32_t seed = 1; seed <= 20; seed++) {
        enforce(seed, 0, ADDRESSES_MAXIMUM);
        check(lab.control->current);
    }
}

static void an_empty_pool_has_none(void **state)
{
    (void)state;
    need_maps();
    enforce(0xc0000200u, 1, 0);
    assert_int_equal(count_entries(lab.control->current), 0);
    assert_true(lab.settings[lab.control->current].pool_low > lab.settings[lab.control->current].pool_high);
}

/* A program that has begun with the old rules goes on with all of them. */
static void old_rules_stay_whole_until_the_next_but_one(void **state)
{
    (void)state;
    need_maps();
    enforce(0x0a000000u, 1, 100);
    uint32_t then = lab.control->current;
    struct plane_settings settings = lab.settings[then];
    static struct plane_bucket pool[POOL_BUCKETS];
    memcpy(pool, lab.pool + (size_t)then * POOL_BUCKETS, sizeof(pool));
    enforce(0x0b000000u, 1, 200);
    assert_int_not_equal(lab.control->current, then);
    assert_memory_equal(&lab.settings[then], &settings, sizeof(settings));
    assert_memory_equal(lab.pool + (size_t)then * POOL_BUCKETS, pool, sizeof(pool));
    assert_int_equal(lab.control->device, 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_address_is_found),
        cmocka_unit_test(an_empty_pool_has_none),
        cmocka_unit_test(old_rules_stay_whole_until_the_next_but_one),
    };
    return cmocka_run_group_tests_name("rules", tests, open_maps, close_maps);
}
