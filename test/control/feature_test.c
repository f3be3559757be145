/* SPDX-License-Identifier: BSD-2-Clause */
/* What an interface does on its own is read and changed by name, as ethtool(8) does it. */
#include "test/control/machine.h"

#include "control/feature.h"

static void test_read_and_set(void **state)
{
    bool on = false;
    (void)state;
    machine_need();
    int device = machine_device("test0");
    for (int value = 1; value >= 0; value--) {
        assert_int_equal(feature_set("test0", "rx-gro-list", value == 1), 0);
        assert_int_equal(feature_read("test0", "rx-gro-list", &on), 0);
        assert_int_equal(on, value);
    }
    assert_int_equal(feature_read("test0", "rx-gro", &on), 0); /* a name that begins another's */
    assert_true(on);
    close(device);
}

static void test_what_cannot_be(void **state)
{
    bool on;
    (void)state;
    machine_need();
    int device = machine_device("test0");
    assert_int_equal(feature_read("test0", "no-such-feature", &on), ENOENT);
    assert_int_equal(feature_set("test0", "no-such-feature", true), ENOENT);
    assert_int_equal(feature_read("test0", "rx-vlan-filter", &on), 0);
    assert_int_not_equal(feature_set("test0", "rx-vlan-filter", !on), 0); /* the driver's to say */
    assert_int_equal(feature_read("absent0", "rx-gro-list", &on), ENODEV);
    assert_int_equal(feature_set("absent0", "rx-gro-list", true), ENODEV);
    close(device);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read_and_set),
        cmocka_unit_test(test_what_cannot_be),
    };
    return cmocka_run_group_tests(tests, machine_enter, NULL);
}
