/* SPDX-License-Identifier: BSD-2-Clause */
/* One daemon a name: the second is refused with the process of the first; nothing remains at the end. */
#include "test/control/machine.h"

#include <signal.h>
#include <sys/wait.h>

#include "control/state.h"

static char base[96];
static const char *directory;

static int set_up(void **context)
{
    (void)context;
    directory = directory_make();
    snprintf(base, sizeof(base), "%s/run", directory);
    return 0;
}

static int tear_down(void **context)
{
    (void)context;
    directory_remove(directory);
    return 0;
}

static void test_second_is_refused(void **context)
{
    struct state first, second, other;
    char error[512] = "", process[32];
    bool absent;
    (void)context;
    assert_true(state_open(&first, base, "isthmus0", error, sizeof(error)));
    assert_false(state_open(&second, base, "isthmus0", error, sizeof(error)));
    snprintf(process, sizeof(process), "process %ld", (long)getpid());
    assert_non_null(strstr(error, process));
    assert_false(state_open_existing(&second, base, "isthmus0", &absent, error, sizeof(error)));
    assert_false(absent);
    assert_true(state_open(&other, base, "isthmus1", error, sizeof(error)));
    state_remove(&first);
    state_close(&first);
    assert_true(state_open(&first, base, "isthmus0", error, sizeof(error)));
    state_remove(&first);
    state_remove(&other);
    state_close(&first);
    state_close(&other);
    assert_int_equal(access(base, F_OK), -1);
}

static void test_absent_is_told(void **context)
{
    struct state state;
    char error[512] = "";
    bool absent = false;
    (void)context;
    assert_false(state_open_existing(&state, base, "isthmus0", &absent, error, sizeof(error)));
    assert_true(absent);
}

/* A daemon that was killed leaves its directory; its keeper may hold the lock a moment longer. */
static void test_waits_for_the_keeper(void **context)
{
    struct state state;
    char error[512] = "", byte;
    bool absent;
    int ready[2];
    (void)context;
    assert_int_equal(pipe(ready), 0);
    pid_t daemon = fork();
    if (daemon == 0) {
        state_open(&state, base, "isthmus0", error, sizeof(error));
        if (fork() == 0) {
            close(ready[1]);
            usleep(300000);
            _exit(0);
        }
        _exit(0);
    }
    close(ready[1]);
    assert_int_equal(waitpid(daemon, NULL, 0), daemon);
    assert_int_equal(read(ready[0], &byte, 1), 0);
    close(ready[0]);
    assert_true(state_open_existing(&state, base, "isthmus0", &absent, error, sizeof(error)));
    state_remove(&state);
    state_close(&state);
}

#define FILE_TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FILE_TEST(test_second_is_refused),
        FILE_TEST(test_absent_is_told),
        FILE_TEST(test_waits_for_the_keeper),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
