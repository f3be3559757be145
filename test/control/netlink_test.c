/* SPDX-License-Identifier: BSD-2-Clause */
/* Against the kernel, in a network namespace with one device. */
#include "test/control/machine.h"

#include <arpa/inet.h>

#include "control/netlink.h"

static struct netlink *netlink;
static int device;
static unsigned index_of_device;

static int set_up(void **state)
{
    (void)state;
    if (!machine_available)
        return 0;
    device = machine_device("test0");
    index_of_device = if_nametoindex("test0");
    netlink = netlink_open();
    return netlink != NULL ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    if (!machine_available)
        return 0;
    netlink_close(netlink);
    close(device);
    return 0;
}

static void test_networks_as_text(void **state)
{
    static const char *const good[] = {"64:ff9b::/96", "192.0.2.0/28", "0.0.0.0/0", "::/128"};
    static const char *const bad[] = {"",       "/",          "192.0.2.0", "192.0.2.0/33",
                                      "::/129", "192.0.2/24", "::/x",      "::/6 4"};
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct network network;
        char text[NETWORK_TEXT];
        assert_true(network_parse(good[i], &network));
        network_print(&network, text);
        assert_string_equal(text, good[i]);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct network network;
        assert_false(network_parse(bad[i], &network));
    }
}

struct found {
    unsigned count;
    struct netlink_link link;
    struct netlink_route route;
    struct netlink_address address;
};

static void note_link(void *context, const struct netlink_link *link)
{
    struct found *found = context;
    if (link->index == index_of_device) {
        found->count++;
        found->link = *link;
    }
}

static void note_route(void *context, const struct netlink_route *route)
{
    struct found *found = context;
    if (route->index == index_of_device) {
        found->count++;
        found->route = *route;
    }
}

static void note_address(void *context, const struct netlink_address *address)
{
    struct found *found = context;
    if (address->index == index_of_device && address->network.family == AF_INET) {
        found->count++;
        found->address = *address;
    }
}

static void test_link_goes_up(void **state)
{
    struct found found = {0};
    (void)state;
    machine_need();
    assert_int_equal(netlink_links(netlink, note_link, &found), 0);
    assert_int_equal(found.count, 1);
    assert_string_equal(found.link.name, "test0");
    assert_int_equal(found.link.mtu, 1500);
    assert_false(found.link.up || found.link.loopback);
    assert_int_equal(netlink_link_up(netlink, index_of_device), 0);
    assert_int_equal(netlink_links(netlink, note_link, &found), 0);
    assert_true(found.link.up);
    assert_int_equal(netlink_link_up(netlink, 9999), ENODEV);
}

static void test_routes_come_and_go(void **state)
{
    static const char *const texts[] = {"2001:db8:64::/96", "198.51.100.0/28"};
    (void)state;
    machine_need();
    assert_int_equal(netlink_link_up(netlink, index_of_device), 0);
    for (size_t i = 0; i < 2; i++) {
        struct found found = {0};
        struct network to;
        char text[NETWORK_TEXT];
        assert_true(network_parse(texts[i], &to));
        assert_int_equal(netlink_route_add(netlink, &to, index_of_device), 0);
        assert_int_equal(netlink_route_add(netlink, &to, index_of_device), EEXIST);
        assert_int_equal(netlink_routes(netlink, to.family, note_route, &found), 0);
        assert_true(found.count >= 1);
        if (to.family == AF_INET) {
            network_print(&found.route.to, text);
            assert_string_equal(text, texts[i]);
        }
        assert_int_equal(netlink_route_remove(netlink, &to, index_of_device), 0);
        assert_int_equal(netlink_route_remove(netlink, &to, index_of_device), ESRCH);
    }
}

static void test_many_routes_at_once(void **state)
{
    enum { MANY = 1234 };
    static struct network to[MANY];
    struct found found = {0};
    size_t failed = 0;
    (void)state;
    machine_need();
    assert_int_equal(netlink_link_up(netlink, index_of_device), 0);
    for (unsigned i = 0; i < MANY; i++)
        to[i] =
            (struct network){.family = AF_INET, .address = {10, (uint8_t)(i >> 8), (uint8_t)i}, .length = 24};
    assert_int_equal(netlink_route_add(netlink, &to[777], index_of_device), 0);
    assert_int_equal(netlink_routes_add(netlink, to, MANY, index_of_device, &failed), EEXIST);
    assert_int_equal(failed, 777);
    assert_int_equal(netlink_routes(netlink, AF_INET, note_route, &found), 0);
    assert_int_equal(found.count, MANY); /* the others are there all the same */
    assert_int_equal(netlink_route_remove(netlink, &to[3], index_of_device), 0);
    assert_int_equal(netlink_routes_remove(netlink, to, MANY, index_of_device, &failed), 0);
    found.count = 0;
    assert_int_equal(netlink_routes(netlink, AF_INET, note_route, &found), 0);
    assert_int_equal(found.count, 0);
    assert_int_equal(netlink_routes_add(netlink, to, 0, index_of_device, &failed), 0);
    assert_int_equal(netlink_routes_add(netlink, to, 1, 9999, &failed), ENODEV);
}

static void test_route_metric_and_address_are_read(void **state)
{
    struct found found = {0};
    (void)state;
    machine_need();
    assert_int_equal(system("ip addr add 192.0.2.5/24 dev test0 && ip link set test0 up && "
                            "ip route add 198.51.100.0/24 dev test0 mtu 1400"),
                     0);
    assert_int_equal(netlink_addresses(netlink, note_address, &found), 0);
    assert_int_equal(found.count, 1);
    assert_int_equal(found.address.network.length, 24);
    assert_memory_equal(found.address.network.address, "\xc0\x00\x02\x05", 4);
    assert_true(found.address.global && found.address.usable);
    found.count = 0;
    assert_int_equal(netlink_routes(netlink, AF_INET, note_route, &found), 0);
    assert_int_equal(found.count, 2); /* that of the subnet, and this, which is the last */
    assert_int_equal(found.route.mtu, 1400);
}

/* Its link has lost the carrier, but it is there. */
static void test_route_without_carrier_is_not_usable(void **state)
{
    struct network to;
    (void)state;
    machine_need();
    if (system("ip link add test1 type veth peer name test2 && ip link set test1 up") != 0) {
        print_message("# skipped: needs veth devices\n");
        skip();
    }
    unsigned kept = index_of_device;
    index_of_device = if_nametoindex("test1");
    assert_true(network_parse("198.51.100.0/24", &to));
    for (int carrier = 0; carrier < 2; carrier++) {
        struct found found = {0};
        if (carrier)
            assert_int_equal(system("ip link set test2 up"), 0);
        int error = netlink_route_add(netlink, &to, index_of_device);
        assert_int_equal(error, carrier ? EEXIST : 0);
        for (int tries = 0; tries == 0 || (tries < 200 && found.route.usable != carrier); tries++) {
            usleep(10000); /* the kernel notices a carrier a little later */
            assert_int_equal(netlink_routes(netlink, AF_INET, note_route, &found), 0);
        }
        assert_true(found.count > 0);
        assert_int_equal(found.route.usable, carrier);
    }
    index_of_device = kept;
    assert_int_equal(system("ip link del test1"), 0);
}

static void test_proxy_entries_come_and_go(void **state)
{
    uint32_t address;
    (void)state;
    machine_need();
    inet_pton(AF_INET, "192.0.2.9", &address);
    assert_int_equal(netlink_proxy_add(netlink, address, index_of_device), 0);
    assert_int_equal(system("ip neigh show proxy | grep -q '192.0.2.9 dev test0 *proxy'"), 0);
    assert_int_equal(netlink_proxy_add(netlink, address, index_of_device), EEXIST);
    assert_int_equal(netlink_proxy_remove(netlink, address, index_of_device), 0);
    assert_int_equal(netlink_proxy_remove(netlink, address, index_of_device), ENOENT);
}

struct heard {
    unsigned index;
    bool up, down, removed;
};

static void note_event(void *context, const struct netlink_link *link)
{
    struct heard *heard = context;
    if (link->index != heard->index)
        return;
    heard->up = heard->up || (link->up && !link->removed);
    heard->down = heard->down || (heard->up && !link->up && !link->removed);
    heard->removed = heard->removed || link->removed;
}

static void test_changes_of_links_are_heard(void **state)
{
    (void)state;
    machine_need();
    struct netlink *watch = netlink_watch_links();
    struct heard heard = {.index = index_of_device};
    assert_non_null(watch);
    int other = machine_device("test1");
    assert_true(netlink_events(watch, note_event, &heard)); /* an event, but not of that one */
    assert_false(heard.up || heard.down || heard.removed);
    assert_int_equal(system("ip link set test0 up && ip link set test0 down"), 0);
    for (int i = 0; i < 16 && !heard.down; i++)
        netlink_events(watch, note_event, &heard);
    assert_true(heard.up && heard.down && !heard.removed);
    assert_int_equal(netlink_link_remove(netlink, index_of_device), 0);
    for (int i = 0; i < 16 && !heard.removed; i++)
        netlink_events(watch, note_event, &heard);
    assert_true(heard.removed);
    close(other);
    netlink_close(watch);
}

#define DEVICE_TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_networks_as_text),
        DEVICE_TEST(test_link_goes_up),
        DEVICE_TEST(test_routes_come_and_go),
        DEVICE_TEST(test_many_routes_at_once),
        DEVICE_TEST(test_route_metric_and_address_are_read),
        DEVICE_TEST(test_route_without_carrier_is_not_usable),
        DEVICE_TEST(test_proxy_entries_come_and_go),
        DEVICE_TEST(test_changes_of_links_are_heard),
    };
    return cmocka_run_group_tests(tests, machine_enter, NULL);
}
