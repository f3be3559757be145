/* SPDX-License-Identifier: BSD-2-Clause */
/* Tables of path MTUs against a linear search over the routes they were made of. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "engine/paths.h"
#include "engine/random.h"

enum {
    ROUTES = 200,
    ROUNDS = 300,
    LOOKUPS = 400,
};

static const struct path_routes none = {.otherwise = 1500};

static struct path_address mask(struct path_address address, unsigned length)
{
    if (length < 64) {
        address.high &= length == 0 ? 0 : ~UINT64_C(0) << (64 - length);
        address.low = 0;
    } else if (length < 128) {
        address.low &= length == 64 ? 0 : ~UINT64_C(0) << (128 - length);
    }
    return address;
}

static bool covers(const struct path_route *route, struct path_address address)
{
    struct path_address masked = mask(address, route->length);
    return masked.high == route->to.high && masked.low == route->to.low;
}

/* The rule itself: longest prefix; of a prefix the lowest metric in a table; of tables and hops the least. */
static uint32_t search_linear(const struct path_routes *routes, struct path_address address)
{
    uint32_t mtu = routes->otherwise;
    int longest = -1;
    for (uint32_t i = 0; i < routes->count; i++)
        if (covers(&routes->routes[i], address) && routes->routes[i].length > longest)
            longest = routes->routes[i].length;
    if (longest < 0)
        return mtu;
    mtu = UINT32_MAX;
    for (uint32_t i = 0; i < routes->count; i++) {
        const struct path_route *route = &routes->routes[i];
        bool beaten = false;
        if (!covers(route, address) || route->length != longest)
            continue;
        for (uint32_t j = 0; j < routes->count; j++) {
            const struct path_route *rival = &routes->routes[j];
            beaten = beaten || (covers(rival, address) && rival->length == longest &&
                                rival->table == route->table && rival->metric < route->metric);
        }
        if (!beaten && route->mtu < mtu)
            mtu = route->mtu;
    }
    return mtu;
}

static struct path_routes sorted(struct path_route *routes, uint32_t count)
{
    qsort(routes, count, sizeof(*routes), path_route_order);
    return (struct path_routes){.routes = routes, .count = count, .otherwise = 1500};
}

static void test_without_routes(void **state)
{
    struct paths *paths = paths_create(&none, &none);
    (void)state;
    assert_non_null(paths);
    assert_int_equal(paths->ipv6.count, 1);
    assert_int_equal(paths->ipv6.least, 1500);
    assert_int_equal(path_table_mtu(&paths->ipv4, path_address4(to_be32(0xffffffff))), 1500);
    paths_destroy(paths);
    paths_destroy(NULL);
}

static void test_same_mtu_everywhere_is_one_range(void **state)
{
    struct path_route routes[256];
    (void)state;
    for (uint32_t i = 0; i < 256; i++)
        routes[i] = (struct path_route){.to = path_address4(to_be32(i << 24)), .length = 8, .mtu = 1400};
    struct path_routes all = sorted(routes, 256);
    struct paths *paths = paths_create(&none, &all);
    assert_int_equal(paths->ipv4.count, 1);
    assert_int_equal(paths->ipv4.least, 1400);
    paths_destroy(paths);
}

/* The example that stands in paths.h. */
static void test_nested_prefixes(void **state)
{
    struct path_route routes[] = {
        {.to = {UINT64_C(0x20010db800020000), 0}, .length = 48, .mtu = 1400},
        {.to = {UINT64_C(0x20010db800010000), 0}, .length = 48, .mtu = 9000},
        {.to = {UINT64_C(0x20010db800000000), 0}, .length = 32, .mtu = 9000},
        {.to = {0, 0}, .length = 0, .mtu = 1500},
    };
    static const struct {
        uint64_t first;
        uint32_t mtu;
    } expected[] = {
        {0, 1500},
        {UINT64_C(0x20010db800000000), 9000},
        {UINT64_C(0x20010db800020000), 1400},
        {UINT64_C(0x20010db800030000), 9000},
        {UINT64_C(0x20010db900000000), 1500},
    };
    (void)state;
    struct path_routes all = sorted(routes, 4);
    struct paths *paths = paths_create(&all, &none);
    assert_int_equal(paths->ipv6.count, 5);
    assert_int_equal(paths->ipv6.least, 1400);
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(paths->ipv6.ranges[i].first.high, expected[i].first);
        assert_int_equal(paths->ipv6.ranges[i].first.low, 0);
        assert_int_equal(paths->ipv6.ranges[i].mtu, expected[i].mtu);
    }
    paths_destroy(paths);
}

static void test_the_ends_of_the_address_space(void **state)
{
    struct path_route routes[] = {
        {.to = {~UINT64_C(0), ~UINT64_C(0)}, .length = 128, .mtu = 1300},
        {.to = {0, 0}, .length = 128, .mtu = 1310},
    };
    (void)state;
    struct path_routes all = sorted(routes, 2);
    struct paths *paths = paths_create(&all, &none);
    assert_int_equal(path_table_mtu(&paths->ipv6, (struct path_address){0, 0}), 1310);
    assert_int_equal(path_table_mtu(&paths->ipv6, (struct path_address){0, 1}), 1500);
    assert_int_equal(path_table_mtu(&paths->ipv6, (struct path_address){~UINT64_C(0), ~UINT64_C(1)}), 1500);
    assert_int_equal(path_table_mtu(&paths->ipv6, (struct path_address){~UINT64_C(0), ~UINT64_C(0)}), 1300);
    paths_destroy(paths);
}

static void test_metrics_hops_and_tables(void **state)
{
    struct path_route routes[] = {
        {.mtu = 9000, .table = 254, .metric = 100}, {.mtu = 1400, .table = 254, .metric = 200},
        {.mtu = 8000, .table = 254, .metric = 100}, {.mtu = 8500, .table = 100, .metric = 0},
        {.mtu = 1200, .table = 100, .metric = 1},
    };
    (void)state;
    struct path_routes all = sorted(routes, 5);
    struct paths *paths = paths_create(&none, &all);
    assert_int_equal(paths->ipv4.count, 1);
    assert_int_equal(paths->ipv4.least, 8000);
    paths_destroy(paths);
}

/* Clustered, so that prefixes nest deeply and MTUs are often the same. */
static void make_route(struct random *random, bool ipv4, struct path_route *route)
{
    static const uint32_t mtus[] = {1280, 1400, 1500, 9000};
    uint64_t bits = random_next(random);
    struct path_address to = {.high = bits & UINT64_C(0xc000c000c000c000),
                              .low = ipv4 ? 0 : random_next(random) & UINT64_C(0xc000c00000000003)};
    if (ipv4)
        to.high &= UINT64_C(0xffffffff00000000);
    route->length = (uint8_t)(random_next(random) % (ipv4 ? 33 : 129));
    route->to = mask(to, route->length);
    route->mtu = mtus[random_next(random) % 4];
    route->table = random_next(random) % 8 == 0 ? 100 : 254;
    route->metric = (uint32_t)(random_next(random) % 3);
}

static void compare(const struct path_table *table, const struct path_routes *routes, struct random *random)
{
    uint32_t least = UINT32_MAX;
    for (unsigned i = 0; i < LOOKUPS; i++) {
        const struct path_route *near = &routes->routes[random_next(random) % routes->count];
        struct path_address address = {.high = random_next(random), .low = random_next(random)};
        if (i % 4 != 0) {
            address = near->to;
            address.low += random_next(random) % 3;
            address.low -= i % 4 == 1;
            address.high -= i % 4 == 1 && near->to.low == 0;
        }
        uint32_t mtu = path_table_mtu(table, address);
        assert_int_equal(mtu, search_linear(routes, address));
        least = mtu < least ? mtu : least;
    }
    assert_true(table->least <= least);
    for (uint32_t i = 1; i < table->count; i++)
        assert_int_not_equal(table->ranges[i].mtu, table->ranges[i - 1].mtu);
}

static void test_like_a_linear_search(void **state)
{
    struct random random = random_seed(20260727);
    (void)state;
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct path_route six[ROUTES], four[ROUTES];
        uint32_t count = 1 + (uint32_t)(random_next(&random) % ROUTES);
        for (uint32_t i = 0; i < count; i++) {
            make_route(&random, false, &six[i]);
            make_route(&random, true, &four[i]);
        }
        struct path_routes ipv6 = sorted(six, count), ipv4 = sorted(four, count);
        struct paths *paths = paths_create(&ipv6, &ipv4);
        assert_non_null(paths);
        compare(&paths->ipv6, &ipv6, &random);
        compare(&paths->ipv4, &ipv4, &random);
        paths_destroy(paths);
    }
}

static void test_too_many_ranges_end_as_the_least(void **state)
{
    uint32_t count = PATH_RANGES_MAXIMUM;
    struct path_route *routes = calloc(count, sizeof(*routes));
    (void)state;
    for (uint32_t i = 0; i < count; i++)
        routes[i] = (struct path_route){
            .to = path_address4(to_be32(i << 15)), .length = 17, .mtu = i == count - 1 ? 1300 : 1400 + i % 2};
    struct path_routes all = sorted(routes, count);
    struct paths *paths = paths_create(&none, &all);
    assert_int_equal(paths->ipv4.count, 1);
    assert_int_equal(path_table_mtu(&paths->ipv4, path_address4(0)), 1300);
    paths_destroy(paths);
    free(routes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_routes),
        cmocka_unit_test(test_same_mtu_everywhere_is_one_range),
        cmocka_unit_test(test_nested_prefixes),
        cmocka_unit_test(test_the_ends_of_the_address_space),
        cmocka_unit_test(test_metrics_hops_and_tables),
        cmocka_unit_test(test_like_a_linear_search),
        cmocka_unit_test(test_too_many_ranges_end_as_the_least),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
