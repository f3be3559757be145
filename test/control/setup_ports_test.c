/* SPDX-License-Identifier: BSD-2-Clause */
/* Ports are reserved beside those of others, follow the configuration, and are given back. */
#include "test/control/machine.h"

#include "control/own_ports.h"
#include "control/setup.h"
#include "control/sysctl.h"
#include "control/undo.h"

static struct config *config;
static struct pool_range range;
static const char *path;
static int directory;

/* Somebody has reserved two ports already. */
static int set_up(void **state)
{
    (void)state;
    config = calloc(1, sizeof(*config));
    assert_non_null(config);
    range = (struct pool_range){.low = 40000, .high = 59999, .transports = 7, .interface = "wan0"};
    config->settings.nat64_count = 1;
    config->settings.nat64[0].pool = &range;
    config->settings.nat64[0].pool_count = 1;
    path = directory_make();
    directory = open(path, O_RDONLY | O_DIRECTORY);
    return machine_available ? sysctl_write("net/ipv4/ip_local_reserved_ports", "8080,41000") : 0;
}

static int tear_down(void **state)
{
    (void)state;
    free(config);
    close(directory);
    directory_remove(path);
    return 0;
}

static void expect_reserved(const char *text)
{
    char now[256];
    assert_int_equal(sysctl_read_text("net/ipv4/ip_local_reserved_ports", now, sizeof(now)), 0);
    assert_string_equal(now, text);
}

static void expect_listed(const char *first, const char *second)
{
    struct change_list list;
    assert_int_equal(changes_read(directory, &list), 0);
    assert_int_equal(list.count, (first != NULL) + (second != NULL));
    if (first != NULL)
        assert_string_equal(list.items[0].subject, first);
    if (second != NULL)
        assert_string_equal(list.items[1].subject, second);
    changes_free(&list);
}

static struct changes *go_on(void)
{
    struct change_list list;
    assert_int_equal(changes_read(directory, &list), 0);
    struct changes *changes = changes_continue(directory, &list);
    assert_non_null(changes);
    return changes;
}

static void reserve(struct changes *changes)
{
    const struct setup setup = {.changes = changes, .config = config};
    setup_reserve_ports(&setup);
}

static void undo_all(void)
{
    struct change_list list;
    assert_int_equal(changes_read(directory, &list), 0);
    assert_int_equal(undo_changes(&list), 0);
    changes_free(&list);
    expect_reserved("8080,41000");
}

static void test_beside_others(void **state)
{
    (void)state;
    machine_need();
    struct changes *changes = changes_create(directory);
    reserve(changes);
    changes_close(changes);
    expect_reserved("8080,40000-59999");
    expect_listed("40000-40999", "41001-59999");
    undo_all();
}

/* What was reserved by an earlier run, or before a reload, is known again. */
static void test_going_on(void **state)
{
    (void)state;
    machine_need();
    struct changes *changes = changes_create(directory);
    reserve(changes);
    changes_close(changes);
    changes = go_on();
    reserve(changes);
    undo_unwanted(changes, CHANGES_OF_ROUTES);
    changes_close(changes);
    expect_reserved("8080,40000-59999");
    expect_listed("40000-40999", "41001-59999");
    undo_all();
}

static void test_fewer_ports(void **state)
{
    (void)state;
    machine_need();
    struct changes *changes = changes_create(directory);
    reserve(changes);
    changes_close(changes);
    changes = go_on();
    range.high = 49999;
    reserve(changes);
    expect_reserved("8080,40000-59999");
    undo_unwanted(changes, CHANGES_OF_ROUTES);
    changes_close(changes);
    expect_reserved("8080,40000-49999");
    expect_listed("40000-40999", "41001-49999");
    undo_all();
}

/* A reload that is refused after all. */
static void test_taken_back(void **state)
{
    (void)state;
    machine_need();
    struct changes *changes = changes_create(directory);
    range.high = 49999;
    reserve(changes);
    changes_close(changes);
    changes = go_on();
    range.high = 59999;
    reserve(changes);
    expect_reserved("8080,40000-59999");
    undo_added(changes);
    changes_close(changes);
    expect_reserved("8080,40000-49999");
    expect_listed("40000-40999", "41001-49999");
    undo_all();
}

static void test_nothing_to_do(void **state)
{
    (void)state;
    machine_need();
    range.transports = 1u << TRANSPORT_ICMP;
    struct changes *changes = changes_create(directory);
    reserve(changes);
    changes_close(changes);
    expect_reserved("8080,41000");
    expect_listed(NULL, NULL);
}

#define MACHINE_TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        MACHINE_TEST(test_beside_others), MACHINE_TEST(test_going_on),      MACHINE_TEST(test_fewer_ports),
        MACHINE_TEST(test_taken_back),    MACHINE_TEST(test_nothing_to_do),
    };
    return cmocka_run_group_tests(tests, machine_enter, NULL);
}
