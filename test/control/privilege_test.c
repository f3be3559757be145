/* SPDX-License-Identifier: BSD-2-Clause */
/* After the drop a process is somebody else and may do nothing; tried in children, for there is no way back.
 */
#include "test/control/machine.h"

#include <inttypes.h>
#include <sys/wait.h>

#include "control/privilege.h"

struct rights {
    uint64_t effective, permitted;
    unsigned no_new_privileges;
};

static void read_rights(struct rights *rights)
{
    char line[256];
    FILE *status = fopen("/proc/self/status", "re");
    memset(rights, 0xff, sizeof(*rights));
    while (status != NULL && fgets(line, sizeof(line), status) != NULL) {
        sscanf(line, "CapEff: %" SCNx64, &rights->effective);
        sscanf(line, "CapPrm: %" SCNx64, &rights->permitted);
        sscanf(line, "NoNewPrivs: %u", &rights->no_new_privileges);
    }
    if (status != NULL)
        fclose(status);
}

/* Runs `act` in a child; its answer is the exit status. */
static int in_child(int (*act)(void))
{
    int status;
    pid_t child = fork();
    if (child == 0)
        _exit(act());
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int drop_to(const char *user)
{
    char error[256];
    struct rights rights;
    if (!privilege_drop(user, "no-such-group", error, sizeof(error)))
        return 10;
    read_rights(&rights);
    if (geteuid() == 0 || getuid() == 0 || getegid() == 0 || getgroups(0, NULL) != 0)
        return 11;
    if (rights.effective != 0 || rights.permitted != 0 || rights.no_new_privileges != 1)
        return 12;
    if (setuid(0) == 0 || privilege_sufficient())
        return 13;
    return 0;
}

static int drop_to_nobody(void)
{
    return drop_to("nobody");
}

static int drop_to_unknown(void)
{
    return drop_to("no-such-user");
}

static int reduce(void)
{
    const uint64_t allowed = UINT64_C(1) << 1 | UINT64_C(1) << 12; /* CAP_DAC_OVERRIDE, CAP_NET_ADMIN */
    struct rights rights;
    if (!privilege_reduce_keeper())
        return 10;
    read_rights(&rights);
    if ((rights.permitted & ~allowed) != 0 || (rights.effective & ~allowed) != 0)
        return 11;
    return rights.no_new_privileges == 1 && privilege_sufficient() ? 0 : 12;
}

static void need_root(void)
{
    if (geteuid() == 0 && privilege_sufficient())
        return;
    print_message("# skipped: needs root and CAP_NET_ADMIN\n");
    skip();
}

static void test_drop(void **state)
{
    (void)state;
    need_root();
    assert_int_equal(in_child(drop_to_nobody), 0);
}

static void test_unknown_user_is_nobody(void **state)
{
    (void)state;
    need_root();
    assert_int_equal(in_child(drop_to_unknown), 0);
}

static void test_keeper_keeps_little(void **state)
{
    (void)state;
    need_root();
    assert_int_equal(in_child(reduce), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_drop),
        cmocka_unit_test(test_unknown_user_is_nobody),
        cmocka_unit_test(test_keeper_keeps_little),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
