/* SPDX-License-Identifier: BSD-2-Clause */
/* What is quick says nothing; what is not says how far it is, every two seconds. */
#include "test/control/machine.h"

#include "control/progress.h"

/* What it writes to standard error; "" for nothing. */
static const char *said_by(struct progress *progress, uint64_t done, uint64_t all)
{
    static char text[256];
    int ends[2], before = dup(STDERR_FILENO);
    memset(text, 0, sizeof(text));
    assert_int_equal(pipe2(ends, O_NONBLOCK), 0);
    dup2(ends[1], STDERR_FILENO);
    progress_say(progress, done, all);
    dup2(before, STDERR_FILENO);
    close(before);
    close(ends[1]);
    assert_true(read(ends[0], text, sizeof(text) - 1) >= 0);
    close(ends[0]);
    return text;
}

static void test_a_line_in_two_seconds(void **state)
{
    const uint64_t second = 1000000000;
    struct progress progress = progress_begin("counting");
    (void)state;
    assert_string_equal(said_by(&progress, 1, 4), "");
    progress.spoke -= second;
    assert_string_equal(said_by(&progress, 1, 4), "");
    progress.spoke -= second;
    assert_string_equal(said_by(&progress, 1, 4), "isthmus: counting: 25 %\n");
    assert_string_equal(said_by(&progress, 2, 4), "");
    progress.spoke -= 2 * second;
    assert_string_equal(said_by(&progress, UINT64_MAX / 2, UINT64_MAX), "isthmus: counting: 50 %\n");
    progress.spoke -= 2 * second;
    assert_string_equal(said_by(&progress, 0, 0), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_a_line_in_two_seconds)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
