/* SPDX-License-Identifier: BSD-2-Clause */
/* Addresses as routes and addresses of a namespace say, and where the configuration wins. */
#include "test/control/machine.h"

#include <arpa/inet.h>

#include "control/egress.h"

static struct netlink *netlink;
static int devices[3];

/* wan0 leads to the world, lan0 to a subnet, and own0 stands for the device of isthmus. */
static int set_up(void **state)
{
    (void)state;
    if (!machine_available)
        return 0;
    devices[0] = machine_device("lan0");
    devices[1] = machine_device("wan0");
    devices[2] = machine_device("own0");
    netlink = netlink_open();
    return netlink != NULL && system("ip link set lo up && ip link set lan0 up mtu 9000 && "
                                     "ip link set wan0 up mtu 1450 && ip link set own0 up mtu 1300") == 0
               ? 0
               : -1;
}

static int tear_down(void **state)
{
    (void)state;
    netlink_close(netlink);
    netlink = NULL;
    for (int i = 0; i < 3 && machine_available; i++)
        close(devices[i]);
    return 0;
}

static struct egress find(void)
{
    struct egress egress;
    assert_int_equal(egress_find(netlink, if_nametoindex("own0"), &egress), 0);
    return egress;
}

static void expect_address4(be32 address, const char *text)
{
    char got[INET_ADDRSTRLEN];
    assert_string_equal(inet_ntop(AF_INET, &address, got, sizeof(got)), text);
}

static void expect_address6(struct ipv6_address address, const char *text)
{
    char got[INET6_ADDRSTRLEN];
    assert_string_equal(inet_ntop(AF_INET6, address.bytes, got, sizeof(got)), text);
}

static void test_nothing_known(void **state)
{
    (void)state;
    machine_need();
    struct egress egress = find();
    expect_address4(egress.address4, "0.0.0.0");
    expect_address6(egress.address6, "::");
}

static void test_default_route(void **state)
{
    (void)state;
    machine_need();
    assert_int_equal(system("ip addr add 192.0.2.1/24 dev lan0 && ip addr add 198.51.100.1/24 dev wan0 && "
                            "ip addr add 203.0.113.1/24 dev own0 && ip route add default dev wan0 && "
                            "ip addr add 2001:db8:1::1/64 dev lan0 nodad && ip addr add 2001:db8:2::1/64 dev "
                            "own0 nodad && ip -6 route add 2001:db8:9::/48 dev lan0 mtu 1400"),
                     0);
    struct egress egress = find();
    expect_address4(egress.address4, "198.51.100.1");
    expect_address6(egress.address6, "2001:db8:1::1");
}

static void test_configuration_wins(void **state)
{
    struct egress egress = {.address4 = to_be32(0xc0000201)};
    struct config *config = calloc(1, sizeof(*config));
    (void)state;
    config->plane.mtu4 = 1300;
    config->settings.nat64_count = 2;
    config->settings.nat64[1].address4 = to_be32(0xc6336401);
    egress_apply(&egress, config);
    assert_int_equal(config->settings.translation.mtu6, 0); /* as the routes say */
    assert_int_equal(config->settings.translation.mtu4, 1300);
    expect_address4(config->settings.nat64[0].address4, "192.0.2.1");
    expect_address4(config->settings.nat64[1].address4, "198.51.100.1");
    free(config);
}

static void test_own_addresses_are_no_pool(void **state)
{
    struct config *config = calloc(1, sizeof(*config));
    struct pool_range range = {.first = to_be32(0xc0000200), .count = 4};
    char error[256] = "";
    (void)state;
    machine_need();
    config->settings.nat64_count = 1;
    config->settings.nat64[0].pool = &range;
    config->settings.nat64[0].pool_count = 1;
    assert_false(egress_pool_is_local(netlink, config, error, sizeof(error)));
    assert_int_equal(system("ip addr add 192.0.2.3/24 dev lan0"), 0);
    assert_true(egress_pool_is_local(netlink, config, error, sizeof(error)));
    assert_non_null(strstr(error, "192.0.2.3"));
    assert_non_null(strstr(error, "{interface: wan0, ports: 40000-59999}"));
    memcpy(range.interface, "lan0", sizeof("lan0"));
    assert_false(egress_pool_is_local(netlink, config, error, sizeof(error)));
    range.interface[0] = 0;
    range.count = 3;
    assert_false(egress_pool_is_local(netlink, config, error, sizeof(error)));
    free(config);
}

#define MACHINE_TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        MACHINE_TEST(test_nothing_known),
        MACHINE_TEST(test_default_route),
        cmocka_unit_test(test_configuration_wins),
        MACHINE_TEST(test_own_addresses_are_no_pool),
    };
    return cmocka_run_group_tests(tests, machine_enter, NULL);
}
