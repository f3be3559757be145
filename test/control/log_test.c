/* SPDX-License-Identifier: BSD-2-Clause */
/* A message is one line, whatever is in it. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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

/* Has what is logged go to `fd`; returns what standard error was, for restore(). */
static int redirect(int fd)
{
    int saved = dup(STDERR_FILENO);
    assert_int_equal(dup2(fd, STDERR_FILENO), STDERR_FILENO);
    return saved;
}

static void restore(int saved)
{
    dup2(saved, STDERR_FILENO);
    close(saved);
}

static void test_a_full_pipe_does_not_block(void **state)
{
    enum { LINES = 2000 };
    static char text[65536];
    int ends[2];
    (void)state;
    assert_int_equal(pipe(ends), 0);
    assert_true(fcntl(ends[1], F_SETPIPE_SZ, 16384) >= 16384);
    int saved = redirect(ends[1]);
    alarm(20); /* a log that waits never returns */
    for (int i = 0; i < LINES; i++)
        log_info("line %d", i);
    ssize_t length = read(ends[0], text, sizeof(text) - 1);
    log_info("after");
    alarm(0);
    restore(saved);
    assert_true(length > 0);
    text[length] = '\0';
    unsigned written = 0;
    for (const char *at = text; *at != '\0'; at++)
        written += *at == '\n';
    assert_true(written < LINES);
    length = read(ends[0], text, sizeof(text) - 1);
    assert_true(length > 0);
    text[length] = '\0';
    char expected[256];
    snprintf(expected, sizeof(expected),
             "isthmus: warning: %u lines of the log were lost, for nobody read them in time\n"
             "isthmus: after\n",
             LINES - written);
    assert_string_equal(text, expected);
    close(ends[0]);
    close(ends[1]);
}

/* What a line starts with, if the variable is as given and standard error is a pipe. */
static char first_character(const char *variable, int ends[2])
{
    char text[256] = "";
    int saved = redirect(ends[1]);
    assert_int_equal(setenv("JOURNAL_STREAM", variable, 1), 0);
    log_open();
    log_info("ready");
    restore(saved);
    unsetenv("JOURNAL_STREAM");
    log_open();
    assert_true(read(ends[0], text, sizeof(text)) > 0);
    return text[0];
}

static void test_the_journal_is_told_by_its_inode(void **state)
{
    char variable[64];
    struct stat status;
    int ends[2];
    (void)state;
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(fstat(ends[1], &status), 0);
    snprintf(variable, sizeof(variable), "%ju:%ju", (uintmax_t)status.st_dev, (uintmax_t)status.st_ino);
    assert_int_equal(first_character(variable, ends), '<');
    assert_int_equal(first_character("9:9999", ends), 'i');
    assert_int_equal(first_character("", ends), 'i');
    close(ends[0]);
    close(ends[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prefixes),
        cmocka_unit_test(test_control_characters_are_escaped),
        cmocka_unit_test(test_long_messages_are_cut),
        cmocka_unit_test(test_a_full_pipe_does_not_block),
        cmocka_unit_test(test_the_journal_is_told_by_its_inode),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
