/* SPDX-License-Identifier: BSD-2-Clause */
/* Settings of this test's own namespace are read and written; nothing outside net/ can be named. */
#include "test/control/machine.h"

#include "control/sysctl.h"

static void test_paths(void **state)
{
    char value[SYSCTL_VALUE];
    (void)state;
    assert_true(sysctl_path_valid("net/ipv4/conf/eth0.100/accept_local"));
    assert_false(sysctl_path_valid("kernel/core_pattern"));
    assert_true(sysctl_path_valid("net/ipv4/conf/a..b/accept_local"));
    assert_true(sysctl_path_valid("net/ipv4/conf/..a/accept_local"));
    assert_false(sysctl_path_valid("net/../kernel/core_pattern"));
    assert_false(sysctl_path_valid("net/ipv4/.."));
    assert_false(sysctl_path_valid("net/..a/../kernel"));
    assert_false(sysctl_path_valid("/net/ipv4/ip_forward"));
    assert_false(sysctl_path_valid("network"));
    assert_int_equal(sysctl_read("kernel/ostype", value), EINVAL);
    assert_int_equal(sysctl_write("net/../kernel/ostype", "x"), EINVAL);
}

static void test_values(void **state)
{
    char value[SYSCTL_VALUE];
    (void)state;
    machine_need();
    assert_int_equal(sysctl_read("net/ipv4/ip_forward", value), 0);
    assert_true(strcmp(value, "0") == 0 || strcmp(value, "1") == 0);
    const char *other = value[0] == '0' ? "1" : "0";
    assert_int_equal(sysctl_write("net/ipv4/ip_forward", other), 0);
    assert_int_equal(sysctl_read("net/ipv4/ip_forward", value), 0);
    assert_string_equal(value, other);
    assert_int_equal(sysctl_write("net/ipv4/ip_forward", "no number"), EINVAL);
    assert_int_equal(sysctl_read("net/ipv4/conf/absent0/forwarding", value), ENOENT);
}

static void note(void *context, const char *interface)
{
    unsigned *seen = context;
    *seen |= strcmp(interface, "lo") == 0 ? 1u : strcmp(interface, "test0") == 0 ? 2u : 4u;
}

static void test_interfaces(void **state)
{
    unsigned seen = 0;
    (void)state;
    machine_need();
    int device = machine_device("test0");
    assert_int_equal(sysctl_interfaces("ipv4", note, &seen), 0);
    assert_int_equal(seen & 3, 3);
    close(device);
    assert_int_equal(sysctl_interfaces("ipv5", note, &seen), ENOENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_interfaces),
    };
    return cmocka_run_group_tests(tests, machine_enter, NULL);
}
