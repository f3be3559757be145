/* SPDX-License-Identifier: BSD-2-Clause */
/* A device that an earlier run has left is taken over as it is, or the reason is told why it cannot be. */
#include "test/control/machine.h"

#include "plane/tun/tun.h"

#define DEVICE "isthmus-test"

static char error[256], notes[256];

static struct tun *open_device(uint32_t workers, bool left)
{
    const struct tun_options options = {.name = DEVICE, .workers = workers, .left = left};
    return tun_open(&options, error, sizeof(error), notes, sizeof(notes));
}

static void run(const char *command)
{
    if (system(command) != 0)
        fail_msg("failed: %s", command);
}

static int remove_device(void **state)
{
    (void)state;
    if (machine_available && if_nametoindex(DEVICE) != 0)
        run("ip link del " DEVICE);
    return 0;
}

/* With its addresses and routes, up, and with another number of queues. */
static void test_taken_over_as_it_is(void **state)
{
    (void)state;
    machine_need();
    struct tun *tun = open_device(2, false);
    if (tun == NULL)
        fail_msg("%s", error);
    unsigned index = tun_index(tun);
    assert_int_equal(tun_persist(tun), 0);
    run("ip link set " DEVICE " up && ip address add 10.64.0.1/24 dev " DEVICE
        " && ip route add 10.65.0.0/24 dev " DEVICE " && ip route add fd65::/64 dev " DEVICE);
    assert_false(tun_can_be_taken_over(DEVICE, error, sizeof(error)));
    assert_string_equal(error, "another program uses it");
    tun_close(tun);
    for (uint32_t workers = 1; workers <= 3; workers++) {
        run("ip -o link show " DEVICE " | grep -q NO-CARRIER");
        assert_true(tun_can_be_taken_over(DEVICE, error, sizeof(error)));
        tun = open_device(workers, true);
        if (tun == NULL)
            fail_msg("%s", error);
        assert_int_equal(tun_index(tun), index);
        assert_true(tun_queues(tun) == workers || notes[0] != '\0');
        run("ip route | grep -q '10.65.0.0/24 dev " DEVICE "' && ip address | grep -q 10.64.0.1/24 && "
            "ip -6 route | grep -q 'fd65::/64 dev " DEVICE "' && ip -o link show up | grep -q " DEVICE);
        tun_close(tun);
    }
    assert_int_equal(if_nametoindex(DEVICE), index);
}

/* Without the word of whoever left it, it is somebody else's. */
static void test_refused_without_knowledge(void **state)
{
    (void)state;
    machine_need();
    struct tun *tun = open_device(1, false);
    assert_non_null(tun);
    assert_int_equal(tun_persist(tun), 0);
    tun_close(tun);
    assert_null(open_device(1, false));
    assert_non_null(strstr(error, "exists already"));
}

static void test_what_cannot_be_taken_over(void **state)
{
    static const struct {
        const char *make, *why;
    } rows[] = {
        {"true", "No such device"},
        {"ip tuntap add " DEVICE " mode tun", "it takes one queue only"},
        {"ip tuntap add " DEVICE " mode tap multi_queue", "it is no TUN device"},
        {"ip link add " DEVICE " type veth peer name isthmus-peer", "it is no TUN device"},
    };
    (void)state;
    machine_need();
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        run(rows[i].make);
        assert_false(tun_can_be_taken_over(DEVICE, error, sizeof(error)));
        assert_string_equal(error, rows[i].why);
        remove_device(NULL);
    }
}

#define DEVICE_TEST(test) cmocka_unit_test_teardown(test, remove_device)

int main(void)
{
    const struct CMUnitTest tests[] = {
        DEVICE_TEST(test_taken_over_as_it_is),
        DEVICE_TEST(test_refused_without_knowledge),
        DEVICE_TEST(test_what_cannot_be_taken_over),
    };
    return cmocka_run_group_tests(tests, machine_enter, NULL);
}
