/* SPDX-License-Identifier: BSD-2-Clause */
/* One daemon a name: the second is refused with the process of the first; nothing remains at the end. */
#include "test/control/machine.h"

#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "control/changes.h"
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
    (void)context;
    assert_true(state_open(&first, base, "isthmus0", error, sizeof(error)));
    assert_false(state_open(&second, base, "isthmus0", error, sizeof(error)));
    snprintf(process, sizeof(process), "process %ld", (long)getpid());
    assert_non_null(strstr(error, process));
    assert_int_equal(state_open_existing(&second, base, "isthmus0", error, sizeof(error)), STATE_BUSY);
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
    (void)context;
    assert_int_equal(state_open_existing(&state, base, "isthmus0", error, sizeof(error)), STATE_ABSENT);
}

/* A daemon that was killed leaves its directory; its keeper may hold the lock a moment longer. */
static void test_waits_for_the_keeper(void **context)
{
    struct state state;
    char error[512] = "", byte;
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
    assert_int_equal(state_open_existing(&state, base, "isthmus0", error, sizeof(error)), STATE_OPENED);
    state_remove(&state);
    state_close(&state);
}

/* Whoever could open the lock could hold it, too. */
static void test_lock_is_for_root_alone(void **context)
{
    struct state state;
    struct stat status;
    char error[512] = "";
    (void)context;
    assert_true(state_open(&state, base, "isthmus0", error, sizeof(error)));
    assert_int_equal(fstat(state.lock, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    assert_int_equal(fstat(state.directory, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0700);
    state_remove(&state);
    state_close(&state);
}

static void test_others_are_found(void **context)
{
    struct state first, second;
    char error[512] = "";
    (void)context;
    assert_true(state_open(&first, base, "isthmus0", error, sizeof(error)));
    changes_close(changes_create(first.directory));
    assert_false(state_others_run(first.directory)); /* itself is no other */
    assert_true(state_open(&second, base, "isthmus1", error, sizeof(error)));
    assert_false(state_others_run(first.directory)); /* nothing changed yet, so not of this namespace */
    changes_close(changes_create(second.directory));
    assert_true(state_others_run(first.directory));
    close(second.lock); /* as when it was killed */
    second.lock = -1;
    assert_false(state_others_run(first.directory));
    state_close(&second);
    state_close(&first);
}

/* A start that fails leaves nothing. */
static void test_full_disk(void **context)
{
    struct state state;
    char error[512] = "", command[256];
    (void)context;
    if (geteuid() != 0 || unshare(CLONE_NEWNS) != 0 ||
        mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 || mkdir(base, 0755) != 0 ||
        mount("none", base, "tmpfs", 0, "size=4k") != 0) {
        print_message("# skipped: needs root and a mount namespace\n");
        skip();
    }
    snprintf(command, sizeof(command), "head -c 4096 /dev/zero > %s/fill", base);
    assert_int_equal(system(command), 0);
    assert_false(state_open(&state, base, "isthmus0", error, sizeof(error)));
    assert_non_null(strstr(error, strerror(ENOSPC)));
    assert_null(strstr(error, "as root"));
    snprintf(command, sizeof(command), "%s/isthmus0", base);
    assert_int_equal(access(command, F_OK), -1);
    assert_int_equal(umount(base), 0);
}

#define FILE_TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FILE_TEST(test_second_is_refused),    FILE_TEST(test_absent_is_told),
        FILE_TEST(test_waits_for_the_keeper), FILE_TEST(test_lock_is_for_root_alone),
        FILE_TEST(test_others_are_found),     FILE_TEST(test_full_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
