/* SPDX-License-Identifier: BSD-2-Clause */
/* The saved list: what is appended is read back, and nothing that this program did not write is believed. */
#include "test/control/machine.h"

#include "control/changes.h"

static const char *path;
static int directory;

static int set_up(void **state)
{
    (void)state;
    path = directory_make();
    directory = open(path, O_RDONLY | O_DIRECTORY);
    return directory >= 0 ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    close(directory);
    directory_remove(path);
    return 0;
}

static struct change change(enum change_kind kind, const char *subject, const char *before, const char *after)
{
    struct change made = {.kind = kind};
    snprintf(made.subject, sizeof(made.subject), "%s", subject);
    snprintf(made.before, sizeof(made.before), "%s", before);
    snprintf(made.after, sizeof(made.after), "%s", after);
    return made;
}

static void append(struct changes *changes, enum change_kind kind, const char *subject, const char *before,
                   const char *after)
{
    struct change made = change(kind, subject, before, after);
    assert_true(changes_append(changes, &made));
}

/* Puts more bytes behind the list as it is. */
static void add_text(const char *text)
{
    int fd = openat(directory, "changes", O_WRONLY | O_APPEND);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void test_what_is_appended_is_read(void **state)
{
    static const struct {
        enum change_kind kind;
        const char *subject, *before, *after;
    } rows[] = {
        {CHANGE_SYSCTL, "net/ipv4/ip_forward", "0", "1"},
        {CHANGE_DEVICE, "isthmus0", "", ""},
        {CHANGE_ROUTE, "64:ff9b::/96", "isthmus0", ""},
        {CHANGE_PROXY, "192.0.2.1", "eth0.100", ""},
        {CHANGE_DIRECTORY, "/run/a b", "", ""},
        {CHANGE_SOCKET, "/run/a b/control.sock", "", ""},
        {CHANGE_RESERVED, "40000-59999", "", ""},
        {CHANGE_PINS, "/sys/fs/bpf/a/isthmus0", "found", ""},
        {CHANGE_INGRESS, "eth0.100", "made", ""},
        {CHANGE_FEATURE, "eth0", "rx-gro-list", "on"},
    };
    enum { ROWS = sizeof(rows) / sizeof(rows[0]) };
    struct changes *changes = changes_create(directory);
    struct change_list list;
    (void)state;
    assert_non_null(changes);
    for (int i = 0; i < ROWS; i++)
        append(changes, rows[i].kind, rows[i].subject, rows[i].before, rows[i].after);
    changes_close(changes);
    assert_int_equal(changes_read(directory, &list), 0);
    assert_true(list.present && !list.foreign);
    assert_int_equal(list.unreadable, 0);
    assert_int_equal(list.count, ROWS);
    for (int i = 0; i < ROWS; i++) {
        assert_int_equal(list.items[i].kind, rows[i].kind);
        assert_string_equal(list.items[i].subject, rows[i].subject);
        assert_string_equal(list.items[i].before, rows[i].before);
        assert_string_equal(list.items[i].after, rows[i].after);
    }
    changes_free(&list);
    changes_remove(directory);
    assert_int_equal(changes_read(directory, &list), 0);
    assert_false(list.present);
}

static void test_the_last_can_be_taken_back(void **state)
{
    struct changes *changes = changes_create(directory);
    struct change_list list;
    (void)state;
    append(changes, CHANGE_DEVICE, "first", "", "");
    append(changes, CHANGE_DEVICE, "second", "", "");
    changes_retract(changes);
    append(changes, CHANGE_DEVICE, "third", "", "");
    changes_close(changes);
    assert_int_equal(changes_read(directory, &list), 0);
    assert_int_equal(list.count, 2);
    assert_string_equal(list.items[0].subject, "first");
    assert_string_equal(list.items[1].subject, "third");
    changes_free(&list);
}

static void test_what_cannot_be_a_line_is_refused(void **state)
{
    struct changes *changes = changes_create(directory);
    struct change newline = change(CHANGE_SOCKET, "/run/a\nsysctl net/x 1 2", "", "");
    struct change blank = change(CHANGE_ROUTE, "192.0.2.0/24 x", "eth0", "");
    struct change empty = change(CHANGE_DEVICE, "", "", "");
    struct change_list list;
    (void)state;
    assert_false(changes_append(changes, &newline));
    assert_false(changes_append(changes, &blank));
    assert_false(changes_append(changes, &empty));
    changes_close(changes);
    assert_int_equal(changes_read(directory, &list), 0);
    assert_int_equal(list.count, 0);
    changes_free(&list);
}

static void test_a_line_cut_short_was_no_change(void **state)
{
    struct changes *changes = changes_create(directory);
    struct change_list list;
    (void)state;
    append(changes, CHANGE_DEVICE, "isthmus0", "", "");
    changes_close(changes);
    add_text("sysctl net/ipv4/ip_forward 0");
    assert_int_equal(changes_read(directory, &list), 0);
    assert_int_equal(list.count, 1);
    assert_int_equal(list.unreadable, 0);
    changes_free(&list);
}

static void test_lines_of_another_shape_are_passed_over(void **state)
{
    struct changes *changes = changes_create(directory);
    struct change_list list;
    (void)state;
    changes_close(changes);
    add_text("sysctl net/../kernel/core_pattern a b\nsysctl kernel/x 0 1\nsysctl net/x 0\nsocket relative\n"
             "device\nroute a b c\nsomething else\n\ndevice isthmus0\n");
    assert_int_equal(changes_read(directory, &list), 0);
    assert_int_equal(list.unreadable, 8);
    assert_int_equal(list.count, 1);
    assert_string_equal(list.items[0].subject, "isthmus0");
    changes_free(&list);
}

static void test_a_foreign_list_is_told(void **state)
{
    static const char *const texts[] = {"", "isthmus changes 1", "isthmus changes 2 5\ndevice a\n",
                                        "isthmus changes 1 5\ndevice a\n", "garbage\n"};
    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct change_list list;
        int fd = openat(directory, "changes", O_WRONLY | O_CREAT | O_TRUNC, 0600);
        assert_int_equal(write(fd, texts[i], strlen(texts[i])), strlen(texts[i]));
        close(fd);
        assert_int_equal(changes_read(directory, &list), 0);
        assert_true(list.present && list.foreign);
        changes_free(&list);
    }
}

static void test_a_link_is_not_followed(void **state)
{
    struct change_list list;
    (void)state;
    assert_int_equal(symlinkat("/etc/passwd", directory, "changes"), 0);
    assert_int_equal(changes_read(directory, &list), ELOOP);
    struct changes *changes = changes_create(directory);
    assert_non_null(changes); /* replaces the link, not what it points to */
    changes_close(changes);
    assert_int_equal(changes_read(directory, &list), 0);
    assert_false(list.foreign);
    changes_free(&list);
}

/* What earlier runs had before, what they want again, and what nobody wants any more. */
static void test_goes_on_with_what_was_left(void **state)
{
    struct changes *changes = changes_create(directory);
    struct change_list list;
    (void)state;
    append(changes, CHANGE_DEVICE, "isthmus0", "", "");
    append(changes, CHANGE_SYSCTL, "net/ipv4/ip_forward", "0", "1");
    append(changes, CHANGE_ROUTE, "192.0.2.0/28", "isthmus0", "");
    append(changes, CHANGE_ROUTE, "192.0.2.16/28", "isthmus0", "");
    append(changes, CHANGE_PROXY, "203.0.113.9", "wan0", "");
    append(changes, CHANGE_PROXY, "203.0.113.9", "wan1", "");
    changes_close(changes);
    add_text("route torn");

    assert_int_equal(changes_read(directory, &list), 0);
    changes = changes_continue(directory, &list);
    assert_non_null(changes);
    assert_int_equal(list.count, 0); /* taken over */
    append(changes, CHANGE_SYSCTL, "net/ipv4/ip_forward", "7", "1");
    append(changes, CHANGE_ROUTE, "192.0.2.16/28", "isthmus0", "");
    changes_retract(changes); /* there is nothing to take back */
    append(changes, CHANGE_ROUTE, "198.51.100.0/24", "isthmus0", "");
    append(changes, CHANGE_PROXY, "203.0.113.9", "wan1", "");

    assert_true(changes_unwanted(changes, CHANGES_OF_RUNS, &list));
    assert_int_equal(list.count, 2);
    assert_string_equal(list.items[0].subject, "192.0.2.0/28");
    assert_string_equal(list.items[1].before, "wan0");
    changes_free(&list);
    assert_true(changes_forget_unwanted(changes, CHANGES_OF_RUNS));
    append(changes, CHANGE_SOCKET, "/run/socket", "", "");
    changes_close(changes);

    static const char *const subjects[] = {"isthmus0",    "net/ipv4/ip_forward", "192.0.2.16/28",
                                           "203.0.113.9", "198.51.100.0/24",     "/run/socket"};
    assert_int_equal(changes_read(directory, &list), 0);
    assert_int_equal(list.count, 6);
    assert_int_equal(list.unreadable, 0);
    for (size_t i = 0; i < list.count; i++)
        assert_string_equal(list.items[i].subject, subjects[i]);
    assert_string_equal(list.items[1].before, "0"); /* as the first run found it */
    assert_string_equal(list.items[3].before, "wan1");
    changes_free(&list);
    assert_int_equal(faccessat(directory, "changes.new", F_OK, 0), -1);
}

static void test_without_an_earlier_run_nothing_is_unwanted(void **state)
{
    struct changes *changes = changes_create(directory);
    struct change_list list;
    (void)state;
    append(changes, CHANGE_ROUTE, "192.0.2.0/28", "isthmus0", "");
    assert_true(changes_unwanted(changes, CHANGES_OF_RUNS, &list));
    assert_int_equal(list.count, 0);
    changes_close(changes);
}

/* What a reload adds and then does not want after all goes off the list again. */
static void test_what_was_added_can_be_forgotten(void **state)
{
    struct change_list list;
    struct changes *changes = changes_create(directory);
    (void)state;
    append(changes, CHANGE_ROUTE, "192.0.2.0/28", "isthmus0", "");
    append(changes, CHANGE_PROXY, "192.0.2.3", "wan0", "");
    changes_close(changes);
    assert_int_equal(changes_read(directory, &list), 0);
    changes = changes_continue(directory, &list);
    append(changes, CHANGE_ROUTE, "192.0.2.0/28", "isthmus0", "");
    append(changes, CHANGE_ROUTE, "198.51.100.0/28", "isthmus0", "");
    append(changes, CHANGE_PROXY, "198.51.100.3", "wan0", "");
    assert_true(changes_added(changes, &list));
    assert_int_equal(list.count, 2);
    assert_string_equal(list.items[0].subject, "198.51.100.0/28");
    assert_string_equal(list.items[1].subject, "198.51.100.3");
    changes_free(&list);
    assert_true(changes_forget_added(changes));
    changes_close(changes);
    assert_int_equal(changes_read(directory, &list), 0);
    assert_int_equal(list.count, 2);
    assert_string_equal(list.items[1].subject, "192.0.2.3");
    changes_free(&list);
}

/* While a reload replaces all mappings, the old routes are on the list and the new ones. */
static void test_twice_as_many_routes_as_there_may_be(void **state)
{
#ifdef __SANITIZE_ADDRESS__
    enum { ROUTES = 1 << 14 }; /* what is at stake is a size; with the sanitizer the whole takes minutes */
#else
    enum { ROUTES = 2 << 18 };
#endif
    struct change route = change(CHANGE_ROUTE, "", "isthmus89012345", "");
    struct changes *changes = changes_create(directory);
    struct change_list list;
    (void)state;
    assert_non_null(changes);
    for (uint32_t i = 0; i < ROUTES; i++) {
        snprintf(route.subject, sizeof(route.subject), "198.%u.%u.%u/32", 100 + (i >> 16), i >> 8 & 255,
                 i & 255);
        if (!changes_append_unsynced(changes, &route))
            fail();
    }
    changes_close(changes);
    assert_int_equal(changes_read(directory, &list), 0);
    assert_int_equal(list.count, ROUTES);
    changes_free(&list);
}

#define FILE_TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FILE_TEST(test_what_is_appended_is_read),
        FILE_TEST(test_the_last_can_be_taken_back),
        FILE_TEST(test_what_cannot_be_a_line_is_refused),
        FILE_TEST(test_a_line_cut_short_was_no_change),
        FILE_TEST(test_lines_of_another_shape_are_passed_over),
        FILE_TEST(test_a_foreign_list_is_told),
        FILE_TEST(test_a_link_is_not_followed),
        FILE_TEST(test_goes_on_with_what_was_left),
        FILE_TEST(test_without_an_earlier_run_nothing_is_unwanted),
        FILE_TEST(test_what_was_added_can_be_forgotten),
        FILE_TEST(test_twice_as_many_routes_as_there_may_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
