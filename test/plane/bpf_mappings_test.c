/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Mappings as the kernel's programs find them, against the engine's tables: random lists, long ones, and more
 * than there is room for.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/random.h"
#include "plane/bpf/mappings.h"

enum {
    LISTS = 200,
    LIST = 24,
    ADDRESSES = 200, /* looked up in each list */
    LONG_LIST = 50000,
    VERSION = 1,
};

static struct random dice;

static uint32_t roll(uint32_t below)
{
    return (uint32_t)((random_next(&dice) >> 32) * below >> 32);
}

/* --- the arrays ------------------------------------------------------------------------------------- */

static struct mapping_arrays make_arrays(uint32_t room)
{
    uint32_t buckets = 2 * MAPPING_DIRECTIONS * mappings_buckets(room);
    struct mapping_arrays arrays = {
        .mappings = calloc(2 * (size_t)room, sizeof(*arrays.mappings)),
        .buckets = aligned_alloc(64, buckets * sizeof(*arrays.buckets)),
        .room = room,
    };
    assert_non_null(arrays.mappings);
    assert_non_null(arrays.buckets);
    memset(arrays.buckets, 0xee, buckets * sizeof(*arrays.buckets));
    return arrays;
}

static void free_arrays(struct mapping_arrays *arrays)
{
    free(arrays->mappings);
    free(arrays->buckets);
}

/* What a program does with one prefix. */
static const struct plane_mapping *find(const struct mapping_arrays *arrays, const struct plane_siits *siits,
                                        const struct mapping_key *key)
{
    uint64_t hash = mapping_hash(siits->seed, key);
    const struct mapping_bucket *buckets =
        arrays->buckets + ((size_t)VERSION * MAPPING_DIRECTIONS + key->direction) * siits->buckets;
    for (uint32_t probe = 0; probe < MAPPING_PROBES; probe++) {
        const struct mapping_bucket *bucket = &buckets[((uint32_t)hash + probe) & (siits->buckets - 1)];
        for (unsigned i = 0; i < MAPPING_BUCKET; i++) {
            if (bucket->slot[i] >> 32 != hash >> 32 || bucket->slot[i] == 0)
                continue;
            const struct plane_mapping *mapping =
                &arrays->mappings[(size_t)VERSION * siits->room + (uint32_t)bucket->slot[i] - 1];
            return mapping_is(mapping, key) ? mapping : NULL;
        }
        if (bucket->slot[MAPPING_BUCKET - 1] == 0)
            return NULL;
    }
    return NULL;
}

static const struct plane_mapping *longest(const struct mapping_arrays *arrays,
                                           const struct plane_siits *siits, uint32_t direction,
                                           uint16_t instance, struct path_address address)
{
    const struct plane_siit *siit = &siits->siit[instance];
    const uint8_t *length = direction == MAPPING_FROM_4 ? siit->length4 : siit->length6;
    unsigned lengths = direction == MAPPING_FROM_4 ? siit->lengths4 : siit->lengths6;
    for (unsigned i = 0; i < lengths; i++) {
        struct mapping_key key = {.direction = direction, .instance = instance, .length = length[i]};
        mapping_prefix(&key, address);
        const struct plane_mapping *mapping = find(arrays, siits, &key);
        if (mapping != NULL)
            return mapping;
    }
    return NULL;
}

static void compare_6(const struct mapping_arrays *arrays, const struct plane_siits *siits,
                      const struct settings *settings, be32 from)
{
    for (uint16_t i = 0; i < settings->siit_count; i++) {
        struct ipv6_address expected;
        struct path_address address = path_address4(from);
        bool mapped = eam_to6(settings->siit[i].eam, from, &expected);
        const struct plane_mapping *mapping = longest(arrays, siits, MAPPING_FROM_4, i, address);
        assert_int_equal(mapping != NULL, mapped);
        if (!mapped)
            continue;
        struct path_address got = mapping_to6(mapping, from_be32(from)), wanted = path_address6(&expected);
        assert_true(got.high == wanted.high && got.low == wanted.low);
    }
}

static void compare_4(const struct mapping_arrays *arrays, const struct plane_siits *siits,
                      const struct settings *settings, const struct ipv6_address *from)
{
    for (uint16_t i = 0; i < settings->siit_count; i++) {
        be32 expected;
        struct path_address address = path_address6(from);
        bool mapped = eam_to4(settings->siit[i].eam, from, &expected);
        const struct plane_mapping *mapping = longest(arrays, siits, MAPPING_FROM_6, i, address);
        assert_int_equal(mapping != NULL, mapped);
        if (mapped)
            assert_int_equal(mapping_to4(mapping, address), from_be32(expected));
    }
}

/* --- lists ------------------------------------------------------------------------------------------ */

static void clear_behind(uint8_t *bytes, unsigned length, unsigned size)
{
    for (unsigned bit = length; bit < size; bit++)
        bytes[bit / 8] &= (uint8_t) ~(0x80u >> bit % 8);
}

/* Addresses of few bits, so that prefixes lie within each other. */
static void roll_bytes(uint8_t *bytes, unsigned size)
{
    for (unsigned i = 0; i < size; i++)
        bytes[i] = roll(3) == 0 ? (uint8_t)roll(256) : (uint8_t)(roll(2) * 0x81);
}

static struct eam roll_mapping(void)
{
    struct eam made;
    memset(&made, 0, sizeof(made));
    made.length4 = (uint8_t)roll(33);
    made.length6 = (uint8_t)roll(128 - (32 - made.length4) + 1);
    roll_bytes((uint8_t *)&made.ipv4, 4);
    roll_bytes(made.ipv6.bytes, 16);
    clear_behind((uint8_t *)&made.ipv4, made.length4, 32);
    clear_behind(made.ipv6.bytes, made.length6, 128);
    return made;
}

/* Without those that the engine refuses. */
static struct eam_table *roll_list(void)
{
    struct eam list[LIST];
    struct eam_problem problem;
    uint32_t wanted = roll(LIST), count = 0;
    struct eam_table *table = eam_build(list, 0, &problem);
    for (uint32_t i = 0; i < wanted; i++) {
        list[count] = roll_mapping();
        struct eam_table *larger = eam_build(list, count + 1, &problem);
        if (larger == NULL)
            continue;
        eam_free(table);
        table = larger;
        count++;
    }
    assert_non_null(table);
    return table;
}

static void free_lists(struct settings *settings)
{
    for (uint32_t i = 0; i < settings->siit_count; i++)
        eam_free((struct eam_table *)settings->siit[i].eam);
    free(settings);
}

/* rfc: 7757-3.3-a, 7757-3.3.1-a, 7757-3.3.2-a */
static void test_random_lists(void **state)
{
    struct mapping_arrays arrays = make_arrays(mappings_room(0));
    struct plane_siits siits;
    (void)state;
    dice = random_seed(7757);
    for (unsigned n = 0; n < LISTS; n++) {
        struct settings *settings = calloc(1, sizeof(*settings));
        assert_non_null(settings);
        settings->siit_count = 1 + roll(3);
        for (uint32_t i = 0; i < settings->siit_count; i++)
            settings->siit[i].eam = roll_list();
        mappings_write(&arrays, VERSION, settings, &siits);
        assert_int_equal(siits.count, settings->siit_count);
        for (unsigned i = 0; i < ADDRESSES; i++) {
            struct ipv6_address six;
            be32 four;
            roll_bytes((uint8_t *)&four, 4);
            roll_bytes(six.bytes, 16);
            compare_6(&arrays, &siits, settings, four);
            compare_4(&arrays, &siits, settings, &six);
        }
        free_lists(settings);
    }
    free_arrays(&arrays);
}

/* Hosts that follow each other. */
static struct settings *make_long_list(uint32_t count)
{
    struct eam *list = calloc(count, sizeof(*list));
    struct settings *settings = calloc(1, sizeof(*settings));
    struct eam_problem problem;
    assert_non_null(list);
    assert_non_null(settings);
    for (uint32_t i = 0; i < count; i++) {
        list[i] = (struct eam){.ipv4 = to_be32(0x0a000000 + i), .length4 = 32, .length6 = 128};
        list[i].ipv6.bytes[0] = 0x20;
        store_be32(list[i].ipv6.bytes + 12, to_be32(i));
    }
    settings->siit_count = 1;
    settings->siit[0].eam = eam_build(list, count, &problem);
    assert_non_null(settings->siit[0].eam);
    free(list);
    return settings;
}

static void test_many(void **state)
{
    struct settings *settings = make_long_list(LONG_LIST);
    struct mapping_arrays arrays = make_arrays(mappings_room(mappings_count(settings)));
    struct plane_siits siits;
    (void)state;
    mappings_write(&arrays, VERSION, settings, &siits);
    assert_int_equal(siits.count, 1);
    for (uint32_t i = 0; i < LONG_LIST + 10; i++) {
        struct ipv6_address six = {.bytes = {0x20}};
        store_be32(six.bytes + 12, to_be32(i));
        compare_6(&arrays, &siits, settings, to_be32(0x0a000000 + i));
        compare_4(&arrays, &siits, settings, &six);
    }
    free_arrays(&arrays);
    free_lists(settings);
}

static void test_room(void **state)
{
    struct mapping_arrays arrays = make_arrays(1000);
    struct plane_siits siits;
    (void)state;
    struct settings *settings = make_long_list(1000);
    mappings_write(&arrays, VERSION, settings, &siits);
    assert_int_equal(siits.count, 1);
    free_lists(settings);
    settings = make_long_list(1001);
    mappings_write(&arrays, VERSION, settings, &siits);
    assert_int_equal(siits.count, 0);
    free_lists(settings);
    free_arrays(&arrays);
    assert_true(mappings_room(0) >= 1000);
    assert_true(mappings_room(100000) >= 150000);
    assert_true((uint64_t)mappings_buckets(100000) * MAPPING_BUCKET >= 200000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_lists),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_room),
    };
    return cmocka_run_group_tests_name("bpf_mappings", tests, NULL, NULL);
}
