/* SPDX-License-Identifier: BSD-2-Clause */
/* What was changed is put back, what somebody changed since is not, and what is gone is no failure. */
#include "test/control/machine.h"

#include "control/changes.h"
#include "control/feature.h"
#include "control/state.h"
#include "control/sysctl.h"
#include "control/undo.h"

static void expect_setting(const char *path, const char *value)
{
    char now[SYSCTL_VALUE];
    assert_int_equal(sysctl_read(path, now), 0);
    assert_string_equal(now, value);
}

static void test_settings(void **state)
{
    struct change changes[] = {
        {CHANGE_SYSCTL, "net/ipv4/conf/lo/forwarding", "1", "*"},
        {CHANGE_SYSCTL, "net/ipv4/conf/lo/accept_local", "0", "1"},
        {CHANGE_SYSCTL, "net/ipv4/conf/lo/rp_filter", "0", "2"},
        {CHANGE_SYSCTL, "net/ipv4/conf/absent0/rp_filter", "0", "2"},
    };
    struct change_list list = {.items = changes, .count = 4};
    (void)state;
    machine_need();
    assert_int_equal(sysctl_write("net/ipv4/conf/lo/forwarding", "0"), 0);
    assert_int_equal(sysctl_write("net/ipv4/conf/lo/accept_local", "1"), 0);
    assert_int_equal(sysctl_write("net/ipv4/conf/lo/rp_filter", "1"), 0); /* by somebody else */
    assert_int_equal(undo_changes(&list), 0);
    expect_setting("net/ipv4/conf/lo/forwarding", "1");
    expect_setting("net/ipv4/conf/lo/accept_local", "0");
    expect_setting("net/ipv4/conf/lo/rp_filter", "1");
}

/* The same setting twice: the oldest value must be the last written. */
static void test_order_is_reversed(void **state)
{
    struct change changes[] = {
        {CHANGE_SYSCTL, "net/ipv4/ip_forward", "0", "*"},
        {CHANGE_SYSCTL, "net/ipv4/ip_forward", "1", "*"},
    };
    struct change_list list = {.items = changes, .count = 2};
    (void)state;
    machine_need();
    assert_int_equal(sysctl_write("net/ipv4/ip_forward", "0"), 0);
    assert_int_equal(undo_changes(&list), 0);
    expect_setting("net/ipv4/ip_forward", "0");
}

static void test_device_routes_and_proxies(void **state)
{
    struct change changes[] = {
        {CHANGE_DEVICE, "test0", "", ""},
        {CHANGE_ROUTE, "198.51.100.0/24", "test1", ""},
        {CHANGE_ROUTE, "2001:db8:64::/96", "test1", ""},
        {CHANGE_ROUTE, "203.0.113.0/24", "test1", ""}, /* never made */
        {CHANGE_PROXY, "192.0.2.9", "test1", ""},
        {CHANGE_PROXY, "192.0.2.10", "absent0", ""},
    };
    struct change_list list = {.items = changes, .count = 6};
    (void)state;
    machine_need();
    int device = machine_device("test0"), other = machine_device("test1");
    assert_int_equal(
        system("ip link set test1 up && ip route add 198.51.100.0/24 dev test1 && "
               "ip route add 2001:db8:64::/96 dev test1 && ip neigh add proxy 192.0.2.9 dev test1"),
        0);
    assert_int_equal(undo_changes(&list), 0);
    assert_int_equal(if_nametoindex("test0"), 0);
    assert_int_not_equal(if_nametoindex("test1"), 0);
    assert_int_equal(system("! ip route | grep -q 198.51.100 && ! ip -6 route | grep -q 2001:db8:64 && "
                            "test -z \"$(ip neigh show proxy)\""),
                     0);
    assert_int_equal(undo_changes(&list), 0); /* again: all is gone */
    close(device);
    close(other);
}

/* So many that they are removed together, among other changes; and when the device has gone before. */
static void test_many_routes(void **state)
{
    enum { MANY = 300 };
    static struct change changes[MANY + 2];
    struct change_list list = {.items = changes, .count = MANY + 2};
    (void)state;
    machine_need();
    int device = machine_device("test1");
    assert_int_equal(sysctl_write("net/ipv4/conf/lo/forwarding", "1"), 0);
    changes[0] = (struct change){CHANGE_SYSCTL, "net/ipv4/conf/lo/forwarding", "0", "1"};
    for (unsigned i = 0; i < MANY; i++) {
        changes[i + 1] = (struct change){CHANGE_ROUTE, "", "test1", ""};
        snprintf(changes[i + 1].subject, sizeof(changes[i + 1].subject), "10.%u.%u.0/24", i >> 8, i & 255);
    }
    changes[MANY + 1] = (struct change){CHANGE_ROUTE, "2001:db8::/32", "test1", ""};
    assert_int_equal(
        system("ip link set test1 up && for i in 0 7 255; do ip route add 10.0.$i.0/24 dev test1; "
               "done && ip route add 10.1.43.0/24 dev test1 && "
               "ip route add 2001:db8::/32 dev test1"),
        0);
    assert_int_equal(undo_changes(&list), 0);
    assert_int_equal(system("! ip route | grep -q ^10 && ! ip -6 route | grep -q ^2001:db8::/32"), 0);
    expect_setting("net/ipv4/conf/lo/forwarding", "0");
    close(device);
    assert_int_equal(undo_changes(&list), 0);
}

static void test_files(void **state)
{
    const char *directory = directory_make();
    struct change changes[3] = {
        {.kind = CHANGE_DIRECTORY}, {.kind = CHANGE_SOCKET}, {.kind = CHANGE_DIRECTORY}};
    struct change_list list = {.items = changes, .count = 3};
    char path[256];
    (void)state;
    snprintf(changes[0].subject, sizeof(changes[0].subject), "%s/made", directory);
    snprintf(changes[1].subject, sizeof(changes[1].subject), "%s/made/file", directory);
    snprintf(changes[2].subject, sizeof(changes[2].subject), "%s/absent", directory);
    snprintf(path, sizeof(path), "mkdir %s/made && touch %s/made/file", directory, directory);
    assert_int_equal(system(path), 0);
    assert_int_equal(undo_changes(&list), 0);
    assert_int_equal(access(changes[1].subject, F_OK), 0); /* no socket, so not ours */
    unlink(changes[1].subject);
    assert_int_equal(undo_changes(&list), 0);
    assert_int_equal(access(changes[0].subject, F_OK), -1);
    directory_remove(directory);
}

/* A daemon that found forwarding on relies on it when the one that turned it on has ended. */
static void test_settings_stay_while_another_daemon_runs(void **state)
{
    struct change change = {CHANGE_SYSCTL, "net/ipv4/ip_forward", "0", "1"};
    const char *base = directory_make();
    struct state first, second;
    char error[256];
    size_t undone;
    (void)state;
    machine_need();
    assert_int_equal(sysctl_write("net/ipv4/ip_forward", "1"), 0);
    for (int others = 1; others >= 0; others--) {
        assert_true(state_open(&first, base, "test0", error, sizeof(error)));
        struct changes *changes = changes_create(first.directory);
        assert_true(changes_append(changes, &change));
        changes_close(changes);
        if (others > 0) {
            assert_true(state_open(&second, base, "test1", error, sizeof(error)));
            changes_close(changes_create(second.directory));
        }
        assert_true(undo_directory(first.directory, UNDO_SESSIONS, &undone));
        expect_setting("net/ipv4/ip_forward", others > 0 ? "1" : "0");
        if (others > 0)
            state_close(&second);
        state_close(&first);
    }
    directory_remove(base);
}

static void test_list_of_another_namespace_is_kept(void **state)
{
    const char *path = directory_make();
    int directory = open(path, O_RDONLY | O_DIRECTORY);
    size_t undone;
    (void)state;
    int fd = openat(directory, "changes", O_WRONLY | O_CREAT, 0600);
    dprintf(fd, "isthmus changes 1 5\nsysctl net/ipv4/ip_forward 1 *\n");
    close(fd);
    assert_false(undo_directory(directory, UNDO_SESSIONS, &undone));
    assert_int_equal(faccessat(directory, "changes", F_OK, 0), 0);
    struct changes *changes = changes_create(directory);
    changes_close(changes);
    assert_true(undo_directory(directory, UNDO_SESSIONS, &undone));
    assert_int_equal(undone, 0);
    assert_int_equal(faccessat(directory, "changes", F_OK, 0), -1);
    close(directory);
    directory_remove(path);
}

/* A later run takes down what an earlier one has left and it does not want, and nothing else. */
static void test_unwanted(void **state)
{
    struct change wanted = {CHANGE_ROUTE, "198.51.100.0/24", "test1", ""};
    struct change other = {CHANGE_ROUTE, "203.0.113.0/24", "test1", ""};
    struct change setting = {CHANGE_SYSCTL, "net/ipv4/ip_forward", "0", "1"};
    const char *path = directory_make();
    int directory = open(path, O_RDONLY | O_DIRECTORY);
    struct change_list list;
    (void)state;
    machine_need();
    int device = machine_device("test1");
    assert_int_equal(system("ip link set test1 up && ip route add 198.51.100.0/24 dev test1 && "
                            "ip route add 203.0.113.0/24 dev test1"),
                     0);
    assert_int_equal(sysctl_write("net/ipv4/ip_forward", "1"), 0);
    struct changes *changes = changes_create(directory);
    assert_true(changes_append(changes, &setting) && changes_append(changes, &other) &&
                changes_append(changes, &wanted));
    changes_close(changes);
    assert_int_equal(changes_read(directory, &list), 0);
    changes = changes_continue(directory, &list);
    assert_true(changes_append(changes, &wanted));
    undo_unwanted(changes, CHANGES_OF_RUNS);
    changes_close(changes);
    assert_int_equal(system("ip route | grep -q 198.51.100 && ! ip route | grep -q 203.0.113"), 0);
    expect_setting("net/ipv4/ip_forward", "1");
    assert_int_equal(changes_read(directory, &list), 0);
    assert_int_equal(list.count, 2);
    assert_string_equal(list.items[1].subject, "198.51.100.0/24");
    assert_int_equal(undo_changes(&list), 0);
    expect_setting("net/ipv4/ip_forward", "0");
    changes_free(&list);
    close(directory);
    directory_remove(path);
    close(device);
}

static void expect_lists(const char *interface, bool wanted)
{
    bool on = !wanted;
    assert_int_equal(feature_read(interface, "rx-gro-list", &on), 0);
    assert_int_equal(on, wanted);
}

/* What the eBPF plane has changed: merging is as it was, and of a clsact only what was made goes. */
static void test_interfaces(void **state)
{
    struct change changes[] = {
        {CHANGE_FEATURE, "test0", "rx-gro-list", "on"},   {CHANGE_FEATURE, "test1", "rx-gro-list", "off"},
        {CHANGE_FEATURE, "absent0", "rx-gro-list", "on"}, {CHANGE_INGRESS, "test0", "made", ""},
        {CHANGE_INGRESS, "test1", "found", ""},           {CHANGE_INGRESS, "absent0", "made", ""},
    };
    struct change_list list = {.items = changes, .count = 6};
    (void)state;
    machine_need();
    int device = machine_device("test0"), other = machine_device("test1");
    assert_int_equal(system("tc qdisc add dev test0 clsact && tc qdisc add dev test1 clsact"), 0);
    assert_int_equal(feature_set("test1", "rx-gro-list", true), 0);
    for (int i = 0; i < 2; i++) { /* the second time all is as it was */
        assert_int_equal(undo_changes(&list), 0);
        expect_lists("test0", true);
        expect_lists("test1", false);
        assert_int_equal(system("! tc qdisc show dev test0 | grep -q clsact"), 0);
        assert_int_equal(system("tc qdisc show dev test1 | grep -q clsact"), 0);
    }
    close(device);
    close(other);
}

/* Sets of pins go, with the directories around them; what somebody else keeps there stays. */
static void test_pins(void **state)
{
    const char *directory = directory_make();
    struct change changes[] = {{.kind = CHANGE_PINS, .before = "found"},
                               {.kind = CHANGE_PINS, .before = "found"}};
    struct change_list list = {.items = changes, .count = 2};
    char command[512];
    (void)state;
    snprintf(changes[0].subject, sizeof(changes[0].subject), "%s/pins/test0", directory);
    snprintf(changes[1].subject, sizeof(changes[1].subject), "%s/pins/never0", directory);
    snprintf(command, sizeof(command),
             "cd %s && mkdir -m 700 pins pins/test0 pins/test0/current && "
             "touch pins/test0/current/records pins/others",
             directory);
    assert_int_equal(system(command), 0);
    assert_int_equal(undo_changes(&list), 0);
    assert_int_equal(access(changes[0].subject, F_OK), -1);
    snprintf(command, sizeof(command), "rm %s/pins/others", directory);
    assert_int_equal(system(command), 0);
    assert_int_equal(undo_changes(&list), 0);
    snprintf(command, sizeof(command), "test -d %s -a ! -e %s/pins", directory, directory);
    assert_int_equal(system(command), 0);
    directory_remove(directory);
}

/* The sessions of a run stay for the next one: their pins are all that is left, in place and on the list. */
static void test_sessions_are_left(void **state)
{
    const char *path = directory_make();
    int directory = open(path, O_RDONLY | O_DIRECTORY);
    struct change pins = {.kind = CHANGE_PINS, .before = "found"}, made = {.kind = CHANGE_DIRECTORY};
    struct change_list list;
    char command[512];
    size_t undone;
    (void)state;
    snprintf(pins.subject, sizeof(pins.subject), "%s/pins/test0", path);
    snprintf(made.subject, sizeof(made.subject), "%s/made", path);
    snprintf(command, sizeof(command),
             "cd %s && mkdir -p -m 700 made pins/test0/current && chmod 700 pins pins/test0 && "
             "touch pins/test0/current/records",
             path);
    assert_int_equal(system(command), 0);
    struct changes *changes = changes_create(directory);
    assert_true(changes_append(changes, &pins) && changes_append(changes, &made));
    changes_close(changes);
    assert_true(undo_directory(directory, UNDO_LEAVING_SESSIONS, &undone));
    assert_int_equal(undone, 1);
    assert_int_equal(access(made.subject, F_OK), -1);
    assert_int_equal(access(pins.subject, F_OK), 0);
    assert_int_equal(changes_read(directory, &list), 0);
    assert_int_equal(list.count, 1);
    assert_int_equal(list.items[0].kind, CHANGE_PINS);
    changes_free(&list);
    assert_true(undo_directory(directory, UNDO_SESSIONS, &undone));
    assert_int_equal(access(pins.subject, F_OK), -1);
    assert_int_equal(faccessat(directory, "changes", F_OK, 0), -1);
    close(directory);
    directory_remove(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_settings),
        cmocka_unit_test(test_order_is_reversed),
        cmocka_unit_test(test_device_routes_and_proxies),
        cmocka_unit_test(test_many_routes),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_settings_stay_while_another_daemon_runs),
        cmocka_unit_test(test_list_of_another_namespace_is_kept),
        cmocka_unit_test(test_unwanted),
        cmocka_unit_test(test_interfaces),
        cmocka_unit_test(test_pins),
        cmocka_unit_test(test_sessions_are_left),
    };
    return cmocka_run_group_tests(tests, machine_enter, NULL);
}
