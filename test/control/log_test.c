/* SPDX-License-Identifier: BSD-2-Clause */
/* A message is one line, whatever is in it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "control/log.h"

static void test_prefixes(void **state)
{
    char line[LOG_LINE];
    (void)state;
    log_line(line, LOG_LEVEL_INFO, false, "ready");
    assert_string_equal(line, "isthmus: ready\n");
    log_line(line, LOG_LEVEL_WARNING, false, "careful");
    assert_string_equal(line, "isthmus: warning: careful\n");
    log_line(line, LOG_LEVEL_ERROR, false, "no");
    assert_string_equal(line, "isthmus: error: no\n");
    log_line(line, LOG_LEVEL_INFO, true, "ready");
    assert_string_equal(line, "<6>ready\n");
    log_line(line, LOG_LEVEL_WARNING, true, "careful");
    assert_string_equal(line, "<4>careful\n");
    log_line(line, LOG_LEVEL_ERROR, true, "no");
    assert_string_equal(line, "<3>no\n");
}

static void test_control_characters_are_escaped(void **state)
{
    char line[LOG_LINE];
    (void)state;
    log_line(line, LOG_LEVEL_INFO, true,
             "a\nb\033[2Jc\x7f"
             "d\xc3\xa9");
    assert_string_equal(line, "<6>a\\x0ab\\x1b[2Jc\\x7fd\xc3\xa9\n");
}

static void test_long_messages_are_cut(void **state)
{
    char line[LOG_LINE], text[3 * LOG_LINE];
    (void)state;
    for (int fill = 0; fill < 2; fill++) {
        memset(text, fill == 0 ? 'x' : '\n', sizeof(text));
        text[sizeof(text) - 1] = '\0';
        size_t length = log_line(line, LOG_LEVEL_INFO, false, text);
        assert_true(length < LOG_LINE && length > LOG_LINE - 16);
        assert_int_equal(strlen(line), length);
        assert_string_equal(line + length - 4, "...\n");
        assert_ptr_equal(strchr(line, '\n'), line + length - 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prefixes),
        cmocka_unit_test(test_control_characters_are_escaped),
        cmocka_unit_test(test_long_messages_are_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
