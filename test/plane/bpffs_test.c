/* SPDX-License-Identifier: BSD-2-Clause */
/* A place for pins is found, made or refused, and given back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "plane/bpf/plane.h"
#include "test/plane/private_bpffs.h"
#include "test/plane/rights.h"

static const char *directory;
static char base[128], error[256];
static bool mounted;

static void need_root(void)
{
    if (directory == NULL) {
        print_message("skipped: needs root, for a bpffs\n");
        skip();
    }
    snprintf(base, sizeof(base), "%s/pins", directory);
    (void)umount(base); /* what a test before has left */
    (void)rmdir(base);
    error[0] = '\0';
}

static bool is_bpffs(const char *path)
{
    struct statfs status;
    return statfs(path, &status) == 0 && (unsigned long)status.f_type == BPF_FS_MAGIC;
}

static void one_is_mounted_where_there_is_none(void **state)
{
    struct stat status;
    (void)state;
    need_root();
    assert_true(kernel_pins_prepare(base, &mounted, error, sizeof(error)));
    assert_true(mounted);
    assert_true(is_bpffs(base));
    assert_int_equal(stat(base, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0700);

    assert_true(kernel_pins_prepare(base, &mounted, error, sizeof(error))); /* the next start */
    assert_false(mounted);
    kernel_pins_restore(base, true);
    assert_int_equal(access(base, F_OK), -1);
}

static void one_that_is_there_is_used(void **state)
{
    struct stat status;
    (void)state;
    need_root();
    assert_int_equal(mount("bpf", directory, "bpf", 0, NULL), 0);
    assert_true(kernel_pins_prepare(base, &mounted, error, sizeof(error)));
    assert_false(mounted);
    assert_int_equal(stat(base, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0700);
    assert_true(kernel_pins_prepare(base, &mounted, error, sizeof(error)));
    kernel_pins_restore(base, false);
    assert_int_equal(access(base, F_OK), -1);
    assert_true(is_bpffs(directory));

    assert_int_equal(mkdir(base, 0700), 0);
    assert_int_equal(chmod(base, 0777), 0);
    assert_false(kernel_pins_prepare(base, &mounted, error, sizeof(error)));
    assert_non_null(strstr(error, "others than root"));
    assert_int_equal(umount(directory), 0);
}

static void the_usual_place_is_mounted_whole(void **state)
{
    (void)state;
    need_root();
    (void)umount2("/sys/fs/bpf", MNT_DETACH); /* of this namespace */
    assert_false(is_bpffs("/sys/fs/bpf"));
    assert_true(kernel_pins_prepare("/sys/fs/bpf/isthmus", &mounted, error, sizeof(error)));
    assert_true(mounted);
    assert_true(is_bpffs("/sys/fs/bpf"));
    kernel_pins_restore("/sys/fs/bpf/isthmus", true);
    assert_false(is_bpffs("/sys/fs/bpf"));
}

static void what_would_be_hidden_is_not(void **state)
{
    char path[160];
    (void)state;
    need_root();
    snprintf(path, sizeof(path), "%s/kept", base);
    assert_int_equal(mkdir(base, 0700), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_false(kernel_pins_prepare(base, &mounted, error, sizeof(error)));
    assert_non_null(strstr(error, "not empty"));
    assert_false(mounted);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(rmdir(base), 0);
}

static int prepare(void)
{
    bool prepared = kernel_pins_prepare(base, &mounted, error, sizeof(error));
    kernel_pins_restore(base, false);
    return !prepared && !mounted && strstr(error, "cannot be mounted") != NULL ? 0 : 1;
}

static void mounting_may_be_forbidden(void **state)
{
    (void)state;
    need_root();
    assert_int_equal(with_rights(RIGHT(CAP_NET_ADMIN) | RIGHT(CAP_BPF), 0, prepare), 0);
    assert_int_equal(access(base, F_OK), -1);
}

static void there_may_be_no_room(void **state)
{
    (void)state;
    need_root();
    snprintf(base, sizeof(base), "%s/no/such", directory);
    assert_false(kernel_pins_prepare(base, &mounted, error, sizeof(error)));
    assert_non_null(strstr(error, "there can be no directory"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_is_mounted_where_there_is_none), cmocka_unit_test(one_that_is_there_is_used),
        cmocka_unit_test(the_usual_place_is_mounted_whole),   cmocka_unit_test(what_would_be_hidden_is_not),
        cmocka_unit_test(mounting_may_be_forbidden),          cmocka_unit_test(there_may_be_no_room),
    };
    directory = private_directory();
    int failed = cmocka_run_group_tests_name("bpffs", tests, NULL, NULL);
    private_end();
    return failed;
}
