/* SPDX-License-Identifier: BSD-2-Clause */
/* Changes of routes reach the engine, and a flood of them costs little. */
#include "test/control/machine.h"

#include <arpa/inet.h>
#include <sys/resource.h>

#include "control/paths_watch.h"

enum {
    PATIENCE_MILLISECONDS = 5000,
    FLOOD_MILLISECONDS = 1500,
};

static uv_loop_t loop;
static struct paths_watch watch;
static struct engine *engine;
static struct table *table;
static struct settings settings;
static int device;

static int set_up(void **state)
{
    static const struct geometry geometry = {.sessions = 16, .addresses = 1, .workers = 1};
    char error[256];
    (void)state;
    if (!machine_available)
        return 0;
    device = machine_device("lan0");
    if (system("ip link set lan0 up mtu 1450 && ip route add default dev lan0") != 0 ||
        uv_loop_init(&loop) != 0 || paths_watch_open(&watch, 0) != 0)
        return -1;
    table = table_create(&geometry, 1);
    struct engine_options options = {
        .table = table, .settings = &settings, .paths = watch.current, .workers = 1};
    engine = engine_create(&options, error, sizeof(error));
    return engine != NULL && paths_watch_start(&watch, &loop, engine) == 0 ? 0 : -1;
}

static void close_handle(uv_handle_t *handle, void *context)
{
    (void)context;
    uv_close(handle, NULL);
}

static int tear_down(void **state)
{
    (void)state;
    if (!machine_available)
        return 0;
    uv_walk(&loop, close_handle, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    engine_destroy(engine);
    table_destroy(table);
    paths_watch_close(&watch);
    close(device);
    return 0;
}

static void wake(uv_timer_t *timer)
{
    (void)timer;
}

static uint32_t least(int family)
{
    return family == AF_INET6 ? watch.current->ipv6.least : watch.current->ipv4.least;
}

/* Runs the loop until the least MTU of a family is this, or time is up. */
static bool becomes_of(int family, uint32_t mtu, uint64_t milliseconds)
{
    uint64_t end = uv_hrtime() + milliseconds * 1000000;
    uv_timer_t timer;
    uv_timer_init(&loop, &timer);
    uv_timer_start(&timer, wake, 20, 20);
    while (least(family) != mtu && uv_hrtime() < end)
        uv_run(&loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&loop, UV_RUN_NOWAIT);
    return least(family) == mtu;
}

static bool becomes(uint32_t mtu, uint64_t milliseconds)
{
    return becomes_of(AF_INET, mtu, milliseconds);
}

static void test_changes_are_followed(void **state)
{
    (void)state;
    machine_need();
    assert_int_equal(watch.current->ipv4.least, 1450);
    assert_int_equal(paths_watch_least4(&watch, 0), 1450);
    assert_int_equal(paths_watch_least4(&watch, 1300), 1300);
    assert_int_equal(system("ip route change default dev lan0 mtu 1400"), 0);
    assert_true(becomes(1400, PATIENCE_MILLISECONDS));
    assert_int_equal(system("ip link set lan0 mtu 1350"), 0);
    assert_true(becomes(1350, PATIENCE_MILLISECONDS));
    assert_int_equal(system("ip route add 203.0.113.0/24 dev lan0 mtu 1300"), 0);
    assert_true(becomes(1300, PATIENCE_MILLISECONDS));
    assert_int_equal(system("ip route del 203.0.113.0/24"), 0);
    assert_true(becomes(1350, PATIENCE_MILLISECONDS));
    assert_int_equal(system("ip -6 route add 2001:db8::/32 dev lan0 mtu 1290"), 0);
    assert_true(becomes_of(AF_INET6, 1290, PATIENCE_MILLISECONDS));
}

/* The kernel tells nobody of this one; the next look finds it. */
static void test_mtu_of_ipv6_alone_is_found(void **state)
{
    (void)state;
    machine_need();
    assert_int_equal(system("ip -6 route add 2001:db8::/32 dev lan0"), 0);
    assert_true(becomes_of(AF_INET6, 1450, PATIENCE_MILLISECONDS));
    assert_int_equal(system("sysctl -qw net.ipv6.conf.lan0.mtu=1340"), 0);
    assert_false(becomes_of(AF_INET6, 1340, 500));
    uv_timer_start(&watch.look, watch.look.timer_cb, 1, 0);
    assert_true(becomes_of(AF_INET6, 1340, PATIENCE_MILLISECONDS));
}

static void test_what_was_replaced_is_freed(void **state)
{
    (void)state;
    machine_need();
    assert_int_equal(system("ip route change default dev lan0 mtu 1400"), 0);
    assert_true(becomes(1400, PATIENCE_MILLISECONDS));
    assert_non_null(watch.retired);
    paths_watch_tidy(&watch);
    assert_null(watch.retired);
}

/* The loop sleeps most of the time while another process changes routes as fast as it can, loses no last
 * change, and messages that do not fit the socket do no harm. */
static void test_a_flood_costs_little(void **state)
{
    struct rusage before, after;
    (void)state;
    machine_need();
    FILE *flood =
        popen("for round in 1 2 3 4 5 6; do for i in $(seq 2000); do echo route add 10.$((i / 256)).$((i % "
              "256)).1/32 dev lan0; echo route del 10.$((i / 256)).$((i % 256)).1/32; done | "
              "ip -batch - ; done; ip route change default dev lan0 mtu 1333",
              "r");
    assert_non_null(flood);
    getrusage(RUSAGE_SELF, &before);
    becomes(0, FLOOD_MILLISECONDS);
    getrusage(RUSAGE_SELF, &after);
    double used = (double)(after.ru_utime.tv_sec - before.ru_utime.tv_sec + after.ru_stime.tv_sec -
                           before.ru_stime.tv_sec) +
                  (double)(after.ru_utime.tv_usec - before.ru_utime.tv_usec + after.ru_stime.tv_usec -
                           before.ru_stime.tv_usec) /
                      1e6;
    assert_true(used < 0.3 * FLOOD_MILLISECONDS / 1e3);
    pclose(flood);
    assert_true(becomes(1333, PATIENCE_MILLISECONDS));
}

#define MACHINE_TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        MACHINE_TEST(test_changes_are_followed),
        MACHINE_TEST(test_mtu_of_ipv6_alone_is_found),
        MACHINE_TEST(test_what_was_replaced_is_freed),
        MACHINE_TEST(test_a_flood_costs_little),
    };
    return cmocka_run_group_tests(tests, machine_enter, NULL);
}
