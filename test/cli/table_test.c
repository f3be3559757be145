/* SPDX-License-Identifier: BSD-2-Clause */
/* Columns are aligned, nothing is cut, and a table of any length takes a fixed amount of memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/table.h"

static const struct column rows[] = {
    {"name", "name", false, NULL},
    {"hidden", NULL, false, NULL},
    {"count", "count", true, NULL},
    {"note", "note", false, NULL},
};
static const struct columns columns = {.at = rows, .count = 4, .always = 4};
static const struct columns sometimes = {.at = rows, .count = 4, .always = 2};

static struct text_table table;
static char *text;
static size_t length;
static FILE *out;

static int set_up(void **state)
{
    (void)state;
    out = open_memstream(&text, &length);
    table_start(&table, &columns, out);
    return out != NULL ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    free(text);
    return 0;
}

static void add(const char *name, int count, const char *note)
{
    table_add(&table, json_pack("{s:s, s:s, s:i, s:s}", "name", name, "hidden", "secret", "count", count,
                                "note", note));
}

static void finish(void)
{
    table_end(&table);
    fclose(out);
}

static void test_columns_are_aligned(void **state)
{
    (void)state;
    add("a", 1, "first");
    add("longer", 123456, "");
    finish();
    assert_string_equal(text, "name     count  note\n"
                              "a            1  first\n"
                              "longer  123456\n");
}

static void test_empty_tables_print_nothing(void **state)
{
    (void)state;
    finish();
    assert_string_equal(text, "");
}

static void test_odd_values(void **state)
{
    (void)state;
    table_add(&table, json_pack("{s:b, s:n}", "name", 1, "count"));
    finish();
    assert_string_equal(text, "name  count  note\nyes\n");
}

static void test_long_tables_are_printed_as_they_come(void **state)
{
    unsigned lines = 0;
    (void)state;
    for (int i = 0; i < 3 * TABLE_ROWS_HELD; i++)
        add("a", i, "x");
    assert_int_equal(table.held, 0);
    add("a name that is wider than all before it", 7, "last");
    finish();
    for (const char *at = text; *at != '\0'; at++)
        lines += *at == '\n';
    assert_int_equal(lines, 3 * TABLE_ROWS_HELD + 2);
    assert_non_null(strstr(text, "\na name that is wider than all before it      7  last\n"));
}

static void add_short(const char *name)
{
    table_add(&table, json_pack("{s:s}", "name", name));
}

/* Columns that no row has are not shown. */
static void test_columns_of_no_row(void **state)
{
    (void)state;
    table_start(&table, &sometimes, out);
    add_short("a");
    add_short("b");
    finish();
    assert_string_equal(text, "name\na\nb\n");
}

static void test_columns_of_some_rows(void **state)
{
    (void)state;
    table_start(&table, &sometimes, out);
    add_short("a");
    add("b", 12, "x");
    finish();
    assert_string_equal(text, "name  count  note\na\nb        12  x\n");
}

/* The first row that has them comes when the headings are long printed. */
static void test_columns_that_come_late(void **state)
{
    (void)state;
    table_start(&table, &sometimes, out);
    for (int i = 0; i < TABLE_ROWS_HELD + 1; i++)
        add_short("a");
    add("b", 12, "x");
    add_short("c");
    add("d", 13, "y");
    finish();
    assert_int_equal(strncmp(text, "name\na\n", 7), 0);
    const char *tail = "\na\nname  count  note\nb        12  x\nc\nd        13  y\n";
    assert_in_range(length, strlen(tail), length);
    assert_string_equal(text + length - strlen(tail), tail);
}

#define TABLE_TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TABLE_TEST(test_columns_are_aligned),
        TABLE_TEST(test_empty_tables_print_nothing),
        TABLE_TEST(test_odd_values),
        TABLE_TEST(test_columns_of_no_row),
        TABLE_TEST(test_columns_of_some_rows),
        TABLE_TEST(test_columns_that_come_late),
        TABLE_TEST(test_long_tables_are_printed_as_they_come),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
