/* SPDX-License-Identifier: BSD-2-Clause */
/* Path MTUs as the routes of a namespace say. */
#include "test/control/machine.h"

#include <arpa/inet.h>

#include "control/paths.h"

static struct netlink *netlink;
static int devices[4];

/* wan0 leads to the world, lan0 and lan1 to subnets, and own0 stands for the device of isthmus. */
static int set_up(void **state)
{
    static const char *const names[] = {"lan0", "lan1", "wan0", "own0"};
    (void)state;
    if (!machine_available)
        return 0;
    for (int i = 0; i < 4; i++)
        devices[i] = machine_device(names[i]);
    netlink = netlink_open();
    return netlink != NULL && system("ip link set lo up && ip link set lan0 up mtu 9000 && "
                                     "ip link set lan1 up mtu 4000 && ip link set wan0 up mtu 1450 && "
                                     "ip link set own0 up mtu 1300") == 0
               ? 0
               : -1;
}

static int tear_down(void **state)
{
    (void)state;
    netlink_close(netlink);
    netlink = NULL;
    for (int i = 0; i < 4 && machine_available; i++)
        close(devices[i]);
    return 0;
}

static void shell(const char *commands)
{
    assert_int_equal(system(commands), 0);
}

static struct paths *find(void)
{
    struct paths *paths = paths_read(netlink, if_nametoindex("own0"));
    assert_non_null(paths);
    return paths;
}

static uint32_t mtu(const struct paths *paths, const char *text)
{
    struct ipv6_address six;
    be32 four;
    if (inet_pton(AF_INET, text, &four) == 1)
        return path_table_mtu(&paths->ipv4, path_address4(four));
    assert_int_equal(inet_pton(AF_INET6, text, six.bytes), 1);
    return path_table_mtu(&paths->ipv6, path_address6(&six));
}

static void test_no_route_at_all(void **state)
{
    (void)state;
    machine_need();
    struct paths *paths = find();
    assert_int_equal(mtu(paths, "203.0.113.1"), 1500);
    assert_int_equal(mtu(paths, "2001:db8::1"), 1500);
    assert_int_equal(paths->ipv4.count, 1);
    assert_int_equal(paths->ipv6.count, 1); /* the link-local routes of the devices do not count */
    paths_destroy(paths);
}

static void test_the_device_or_the_metric(void **state)
{
    (void)state;
    machine_need();
    shell("ip route add default dev wan0 && ip route add 198.51.100.0/24 dev lan0 && "
          "ip route add 198.51.100.128/25 dev lan0 mtu 2000 && ip route add 203.0.113.0/24 dev wan0 mtu 9000 "
          "&& "
          "ip -6 route add default dev lan0 && ip -6 route add 2001:db8:9::/48 dev lan0 mtu 1400 && "
          "ip -6 route add 2001:db8:a::/48 dev lan0 mtu 1000");
    struct paths *paths = find();
    assert_int_equal(mtu(paths, "192.0.2.1"), 1450);
    assert_int_equal(mtu(paths, "198.51.100.127"), 9000);
    assert_int_equal(mtu(paths, "198.51.100.128"), 2000);
    assert_int_equal(mtu(paths, "203.0.113.1"), 1450); /* no more than the device carries */
    assert_int_equal(paths->ipv4.least, 1450);
    assert_int_equal(mtu(paths, "2001:db8::1"), 9000);
    assert_int_equal(mtu(paths, "2001:db8:9::1"), 1400);
    assert_int_equal(mtu(paths, "2001:db8:a::1"), 1280); /* as every IPv6 link must */
    paths_destroy(paths);
}

/* As a router's advertisement sets it. */
static void test_an_mtu_for_ipv6_alone(void **state)
{
    (void)state;
    machine_need();
    shell("ip route add default dev lan0 && ip -6 route add default dev lan0 && "
          "sysctl -q -w net.ipv6.conf.lan0.mtu=1492");
    struct paths *paths = find();
    assert_int_equal(mtu(paths, "192.0.2.1"), 9000);
    assert_int_equal(mtu(paths, "2001:db8::1"), 1492);
    paths_destroy(paths);
}

static void test_the_least_of_several_next_hops(void **state)
{
    (void)state;
    machine_need();
    shell("ip addr add 192.0.2.1/24 dev lan0 && ip addr add 198.51.100.1/24 dev lan1 && "
          "ip route add 203.0.113.0/24 nexthop via 192.0.2.2 nexthop via 198.51.100.2 && "
          "ip addr add 2001:db8:1::1/64 dev lan0 nodad && ip addr add 2001:db8:2::1/64 dev lan1 nodad && "
          "ip -6 route add 2001:db8:9::/48 nexthop via 2001:db8:1::2 nexthop via 2001:db8:2::2");
    struct paths *paths = find();
    assert_int_equal(mtu(paths, "192.0.2.2"), 9000);
    assert_int_equal(mtu(paths, "203.0.113.2"), 4000);
    assert_int_equal(mtu(paths, "2001:db8:1::2"), 9000);
    assert_int_equal(mtu(paths, "2001:db8:9::2"), 4000);
    paths_destroy(paths);
}

/* The kernel does not say where such a route leads: the least it can carry is assumed. */
static void test_a_next_hop_that_is_not_told(void **state)
{
    (void)state;
    machine_need();
    if (system("ip route add default dev lan0 && ip nexthop add id 7 dev lan0 && "
               "sysctl -qw net.ipv4.nexthop_compat_mode=0 && ip route add 203.0.113.0/24 nhid 7") != 0) {
        print_message("# skipped: this kernel has no next hop objects\n");
        skip();
    }
    struct paths *paths = find();
    assert_int_equal(mtu(paths, "192.0.2.2"), 9000);
    assert_true(mtu(paths, "203.0.113.2") < 9000);
    paths_destroy(paths);
}

static void test_metrics_and_tables(void **state)
{
    (void)state;
    machine_need();
    shell(
        "ip route add 203.0.113.0/24 dev lan0 metric 10 && ip route add 203.0.113.0/24 dev wan0 metric 20 && "
        "ip route add 198.51.100.0/24 dev lan0 table 100 && ip route add 198.51.100.0/24 dev lan1");
    struct paths *paths = find();
    assert_int_equal(mtu(paths, "203.0.113.2"), 9000);
    assert_int_equal(mtu(paths, "198.51.100.2"), 4000);
    paths_destroy(paths);
}

static void test_what_does_not_count(void **state)
{
    (void)state;
    machine_need();
    shell("ip route add default dev lan0 && ip route add 192.0.2.0/24 dev own0 && "
          "ip route add blackhole 198.51.100.0/24 && ip route add 203.0.113.0/24 dev lo mtu 1000 && "
          "ip -6 route add default dev lan0 && ip -6 route add 64:ff9b::/96 dev own0");
    struct paths *paths = find();
    assert_int_equal(paths->ipv4.count, 1);
    assert_int_equal(paths->ipv4.least, 9000);
    assert_int_equal(paths->ipv6.count, 1);
    assert_int_equal(paths->ipv6.least, 9000);
    paths_destroy(paths);
    shell("ip route add 203.0.113.64/26 dev lan1 && ip link set lan1 down");
    paths = find();
    assert_int_equal(paths->ipv4.count, 1);
    paths_destroy(paths);
    shell("ip route del 203.0.113.0/24 dev lo && ip route del blackhole 198.51.100.0/24");
}

static void test_sameness(void **state)
{
    (void)state;
    machine_need();
    shell("ip route add default dev lan0 && ip route add 203.0.113.0/24 dev lan1");
    struct paths *before = find(), *after = find();
    assert_true(paths_equal(before, after));
    paths_destroy(after);
    shell("ip route change 203.0.113.0/24 dev lan1 mtu 3000");
    after = find();
    assert_false(paths_equal(before, after));
    paths_destroy(before);
    paths_destroy(after);
}

/* As on a router with the whole Internet's table: one range as long as all lead through devices alike. */
static void test_many_routes(void **state)
{
    FILE *file;
    (void)state;
    machine_need();
    file = popen("ip -batch -", "w");
    assert_non_null(file);
    for (unsigned i = 0; i < 50000; i++)
        fprintf(file, "route add 10.%u.%u.0/24 dev %s\n", i / 256, i % 256, i == 40000 ? "lan1" : "lan0");
    assert_int_equal(pclose(file), 0);
    struct paths *paths = find();
    assert_int_equal(mtu(paths, "10.156.64.1"), 4000); /* 40000 */
    assert_int_equal(mtu(paths, "10.156.65.1"), 9000);
    assert_int_equal(mtu(paths, "10.156.63.255"), 9000);
    assert_true(paths->ipv4.count <= 5);
    paths_destroy(paths);
}

#define MACHINE_TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        MACHINE_TEST(test_no_route_at_all),       MACHINE_TEST(test_the_device_or_the_metric),
        MACHINE_TEST(test_an_mtu_for_ipv6_alone), MACHINE_TEST(test_the_least_of_several_next_hops),
        MACHINE_TEST(test_metrics_and_tables),    MACHINE_TEST(test_a_next_hop_that_is_not_told),
        MACHINE_TEST(test_what_does_not_count),   MACHINE_TEST(test_sameness),
        MACHINE_TEST(test_many_routes),
    };
    return cmocka_run_group_tests(tests, machine_enter, NULL);
}
