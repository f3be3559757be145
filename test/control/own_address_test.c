/* SPDX-License-Identifier: BSD-2-Clause */
/* Addresses of interfaces come, change and go in a namespace, and the pools that name them follow. */
#include "test/control/machine.h"

#include <arpa/inet.h>

#include "control/own_address.h"

static struct netlink *netlink;
static struct config *config;
static int device;

static int set_up(void **state)
{
    (void)state;
    if (!machine_available)
        return 0;
    device = machine_device("wan0");
    netlink = netlink_open();
    config = calloc(1, sizeof(*config));
    struct pool_range *pool = calloc(3, sizeof(*pool));
    assert_true(netlink != NULL && config != NULL && pool != NULL);
    for (unsigned i = 0; i < 3; i++)
        pool[i] = (struct pool_range){.low = 40000, .high = 40099, .transports = 1};
    memcpy(pool[0].interface, "wan0", sizeof("wan0"));
    memcpy(pool[1].interface, "wan1", sizeof("wan1"));
    pool[2].first = to_be32(0xc0000201);
    pool[2].count = 1;
    config->settings.nat64_count = 1;
    config->settings.nat64[0].pool = pool;
    config->settings.nat64[0].pool_count = 3;
    return system("ip link set wan0 up");
}

static int tear_down(void **state)
{
    (void)state;
    if (!machine_available)
        return 0;
    netlink_close(netlink);
    free(config->settings.nat64[0].pool);
    free(config);
    close(device);
    return 0;
}

static void run(const char *command)
{
    assert_int_equal(system(command), 0);
}

static void expect_first(const char *text)
{
    const struct pool_range *range = &config->settings.nat64[0].pool[0];
    char got[INET_ADDRSTRLEN];
    assert_string_equal(inet_ntop(AF_INET, &range->first, got, sizeof(got)), text);
    assert_int_equal(range->count, strcmp(text, "0.0.0.0") != 0);
    assert_int_equal(config->settings.nat64[0].pool[1].count, 0); /* there is no such interface */
    assert_int_equal(config->settings.nat64[0].pool[2].first, to_be32(0xc0000201));
}

static void find(void)
{
    assert_int_equal(own_address_find(netlink, config), 0);
}

static void test_the_first_global_one(void **state)
{
    (void)state;
    machine_need();
    assert_true(own_address_wanted(config));
    find();
    expect_first("0.0.0.0");
    run("ip address add 169.254.1.1/16 dev wan0 scope link");
    find();
    expect_first("0.0.0.0");
    run("ip address add 203.0.113.1/24 dev wan0 && ip address add 203.0.113.2/24 dev wan0 && "
        "ip address add 2001:db8::1/64 dev wan0 nodad");
    find();
    expect_first("203.0.113.1");
    run("ip address delete 203.0.113.1/24 dev wan0 && ip address add 198.51.100.9/32 dev wan0");
    find();
    assert_int_equal(config->settings.nat64[0].pool[0].count, 1);
    run("ip address flush dev wan0");
    find();
    expect_first("0.0.0.0");
}

static void test_pools_follow(void **state)
{
    struct egress egress = {.address4 = 0};
    struct own_pools before;
    (void)state;
    machine_need();
    const struct pool_range *then = config->settings.nat64[0].pool;
    assert_true(own_pools_replace(config, &before));
    assert_ptr_equal(before.pool[0], then);
    find();
    assert_false(own_pools_differ(config, &before));
    run("ip address add 203.0.113.1/24 dev wan0");
    find();
    assert_true(own_pools_differ(config, &before));
    own_pools_follow(config, &before, &egress);
    assert_int_equal(config->settings.nat64[0].address4, to_be32(0xcb007101));
    assert_int_equal(egress.address4, to_be32(0xcb007101));
    assert_int_equal(then->count, 0); /* as it was, for whoever still looks at it */
    own_pools_free(&before);
    expect_first("203.0.113.1");
}

static void test_what_is_configured_stays(void **state)
{
    struct egress egress = {.address4 = to_be32(0xcb007101)};
    struct own_pools before;
    (void)state;
    machine_need();
    config->settings.nat64[0].address4 = to_be32(0xc6336401);
    assert_true(own_pools_replace(config, &before));
    run("ip address add 203.0.113.7/24 dev wan0");
    find();
    own_pools_follow(config, &before, &egress);
    assert_int_equal(config->settings.nat64[0].address4, to_be32(0xc6336401));
    own_pools_restore(config, &before);
    expect_first("0.0.0.0");
    assert_null(before.pool[0]);
}

static void test_refusal(void **state)
{
    char error[320];
    (void)state;
    machine_need();
    assert_false(own_address_refuse(config, error, sizeof(error)));
    assert_non_null(strstr(error, "wan0"));
    assert_non_null(strstr(error, "eBPF plane"));
    config->settings.nat64[0].pool[0].interface[0] = config->settings.nat64[0].pool[1].interface[0] = 0;
    assert_false(own_address_wanted(config));
}

#define MACHINE_TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        MACHINE_TEST(test_the_first_global_one),
        MACHINE_TEST(test_pools_follow),
        MACHINE_TEST(test_what_is_configured_stays),
        MACHINE_TEST(test_refusal),
    };
    return cmocka_run_group_tests(tests, machine_enter, NULL);
}
