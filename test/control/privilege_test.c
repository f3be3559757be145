/* SPDX-License-Identifier: BSD-2-Clause */
/* After the drop a process is somebody else and may do nothing; tried in children, for there is no way back.
 */
#include "test/control/machine.h"

#include <grp.h>
#include <inttypes.h>
#include <pwd.h>
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
    if (!privilege_drop(user, error, sizeof(error)))
        return 10;
    read_rights(&rights);
    if (geteuid() == 0 || getuid() == 0 || getegid() == 0 || getgroups(0, NULL) != 0)
        return 11;
    const struct passwd *account = getpwuid(getuid());
    if (account == NULL || getegid() != account->pw_gid)
        return 14;
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

static int become_nobody(void)
{
    return setgroups(0, NULL) == 0 && setresgid(65534, 65534, 65534) == 0 &&
           setresuid(65534, 65534, 65534) == 0;
}

/* Root of a container may have nobody else to become. */
static void need_root(void)
{
    if (geteuid() == 0 && privilege_sufficient() && in_child(become_nobody))
        return;
    print_message("# skipped: needs root, CAP_NET_ADMIN, and a user nobody to become\n");
    skip();
}

static int stay_root(void)
{
    char error[256];
    struct rights rights;
    if (!privilege_drop("nobody", error, sizeof(error)))
        return 10;
    read_rights(&rights);
    return rights.effective == 0 && rights.permitted == 0 && rights.no_new_privileges == 1 ? 0 : 11;
}

/* A user namespace without a map has no other user: only the capabilities go. */
static int drop_in_user_namespace(void)
{
    if (unshare(CLONE_NEWUSER) != 0)
        return 77;
    FILE *map = fopen("/proc/self/uid_map", "we");
    if (map == NULL || fputs("0 0 1\n", map) < 0 || fclose(map) != 0)
        return 77;
    return stay_root();
}

static void test_no_other_user_to_become(void **state)
{
    (void)state;
    need_root();
    int status = in_child(drop_in_user_namespace);
    if (status == 77) {
        print_message("# skipped: no user namespaces here\n");
        skip();
    }
    assert_int_equal(status, 0);
}

/* The number of the first port that all may listen on, as the namespace has it from the start. */
static int listen_without_rights(void)
{
    if (!privilege_may_listen(53) || !privilege_may_listen(1024))
        return 10;
    if (drop_to("nobody") != 0)
        return 11;
    return !privilege_may_listen(1023) && privilege_may_listen(1024) && privilege_may_listen(65535) ? 0 : 12;
}

/* A container may leave more ports to all. */
static int listen_where_all_may(void)
{
    if (unshare(CLONE_NEWNET) != 0)
        return 9;
    FILE *first = fopen("/proc/sys/net/ipv4/ip_unprivileged_port_start", "we");
    if (first == NULL || fputs("53", first) < 0 || fclose(first) != 0)
        return 10;
    if (drop_to("nobody") != 0)
        return 11;
    return !privilege_may_listen(52) && privilege_may_listen(53) ? 0 : 12;
}

static void test_ports(void **state)
{
    (void)state;
    need_root();
    machine_need();
    assert_int_equal(in_child(listen_without_rights), 0);
    assert_int_equal(in_child(listen_where_all_may), 0);
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
        cmocka_unit_test(test_ports),
        cmocka_unit_test(test_drop),
        cmocka_unit_test(test_unknown_user_is_nobody),
        cmocka_unit_test(test_keeper_keeps_little),
        cmocka_unit_test(test_no_other_user_to_become),
    };
    return cmocka_run_group_tests(tests, machine_enter, NULL);
}
