/* SPDX-License-Identifier: BSD-2-Clause */
/* What the kernel's plane says that it lacks: rights one by one, and bpf(2) as a whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "plane/bpf/plane.h"
#include "test/plane/rights.h"

#define NEEDED (RIGHT(CAP_BPF) | RIGHT(CAP_PERFMON) | RIGHT(CAP_NET_ADMIN))

static const char *expected; /* words; NULL: nothing lacks */

static int ask(void)
{
    char reason[256] = "";
    const char *problem = kernel_unavailable(reason, sizeof(reason));
    if (expected == NULL ? problem == NULL : problem != NULL && strstr(problem, expected) != NULL)
        return 0;
    printf("# %s\n", problem == NULL ? "nothing lacks" : problem);
    fflush(stdout);
    return 1;
}

static void expect(uint64_t rights, int bpf_error, const char *words)
{
    if (geteuid() != 0) {
        print_message("skipped: needs root\n");
        skip();
    }
    expected = words;
    assert_int_equal(with_rights(rights, bpf_error, ask), 0);
}

static void three_capabilities_are_enough(void **state)
{
    (void)state;
    expect(NEEDED, 0, NULL);
    expect(RIGHT(CAP_SYS_ADMIN) | RIGHT(CAP_NET_ADMIN), 0, NULL); /* as it was before there was CAP_BPF */
}

static void each_capability_has_a_sentence(void **state)
{
    (void)state;
    expect(NEEDED & ~RIGHT(CAP_BPF), 0, "CAP_BPF is missing");
    expect(NEEDED & ~RIGHT(CAP_PERFMON), 0, "CAP_PERFMON is missing");
    expect(NEEDED & ~RIGHT(CAP_NET_ADMIN), 0, "CAP_NET_ADMIN is missing");
    expect(0, 0, "CAP_BPF is missing");
}

static void a_kernel_may_do_without_it(void **state)
{
    (void)state;
    expect(NEEDED, ENOSYS, "built without bpf(2)");
}

static void a_container_may_forbid_it(void **state)
{
    (void)state;
    expect(NEEDED, EPERM, "forbids BPF programs");
}

static void programs_may_be_refused(void **state)
{
    (void)state;
    expect(NEEDED, EINVAL, "does not take BPF programs");
    expect(NEEDED, ENOMEM, "no memory for BPF programs");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(three_capabilities_are_enough), cmocka_unit_test(each_capability_has_a_sentence),
        cmocka_unit_test(a_kernel_may_do_without_it),    cmocka_unit_test(a_container_may_forbid_it),
        cmocka_unit_test(programs_may_be_refused),
    };
    return cmocka_run_group_tests_name("available", tests, NULL, NULL);
}
