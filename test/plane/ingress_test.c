/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Programs come to interfaces and go, beside what others have there, by a process that may do no more than
 * the keeper. In a network namespace of its own; what is there before and after is compared as tc(8) shows
 * it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plane/bpf/ingress.h"
#include "test/plane/private_bpffs.h"
#include "test/plane/rights.h"

enum {
    SHOWN = 8192,
};

static bool available;
static unsigned interface;
static int program, other; /* both let everything pass */

static bool run(const char *command)
{
    return system(command) == 0; /* NOLINT(cert-env33-c): a lab is set up by the programs of every day */
}

/* All queueing disciplines and filters of the interface. */
static void show(char text[static SHOWN])
{
    FILE *tc =
        popen("tc qdisc show dev lan0; tc filter show dev lan0 ingress; tc filter show dev lan0 egress",
              "r"); /* NOLINT(cert-env33-c) */
    assert_non_null(tc);
    size_t length = fread(text, 1, SHOWN - 1, tc);
    assert_true(length > 0 && length < SHOWN - 1);
    text[length] = '\0';
    assert_int_equal(pclose(tc), 0);
}

static unsigned count_shown(const char *what)
{
    char text[SHOWN];
    unsigned count = 0;
    show(text);
    for (const char *at = text; (at = strstr(at, what)) != NULL; at++)
        count++;
    return count;
}

static int load(const char *name)
{
    const struct bpf_insn instructions[] = {
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = -1},
        {.code = BPF_JMP | BPF_EXIT},
    };
    return bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, name, "Dual BSD/GPL", instructions, 2, NULL);
}

/* A filter of somebody else's. */
static void add_other(enum bpf_tc_attach_point point, uint32_t preference, uint32_t handle)
{
    LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)interface, .attach_point = point);
    LIBBPF_OPTS(bpf_tc_opts, options, .handle = handle, .priority = preference, .prog_fd = other);
    (void)bpf_tc_hook_create(&hook);
    assert_int_equal(bpf_tc_attach(&hook, &options), 0);
}

static int begin(void **state)
{
    (void)state;
    if (!available)
        return 0;
    if (!run("ip link add lan0 type veth peer name lan1 && ip link set lan0 up"))
        return 1;
    interface = if_nametoindex("lan0");
    return 0;
}

static int end(void **state)
{
    (void)state;
    return !available || run("ip link delete lan0 2>/dev/null || true") ? 0 : 1;
}

static void need_root(void)
{
    if (!available) {
        print_message("skipped: needs root, for a network namespace\n");
        skip();
    }
}

/* --- alone ------------------------------------------------------------------------------------------- */

static void it_leaves_everything_as_it_was(void **state)
{
    char before[SHOWN], after[SHOWN];
    bool made = false;
    (void)state;
    need_root();
    show(before);
    assert_int_equal(ingress_attach(interface, program, &made), 0);
    assert_true(made);
    assert_true(ingress_attached(interface));
    assert_false(ingress_taken(interface));
    assert_int_equal(count_shown("clsact"), 1);
    assert_int_equal(ingress_detach(interface, made), 0);
    assert_false(ingress_attached(interface));
    show(after);
    assert_string_equal(before, after);
    assert_int_equal(ingress_detach(interface, made), 0);
    show(after);
    assert_string_equal(before, after);
}

static void it_takes_the_place_of_its_like(void **state)
{
    bool made = false;
    (void)state;
    need_root();
    assert_int_equal(ingress_attach(interface, other, &made), 0);
    unsigned filters = count_shown("handle 0x6464");
    assert_int_equal(ingress_attach(interface, program, &made), 0);
    assert_false(made);
    assert_int_equal(count_shown("handle 0x6464"), filters);
    assert_int_equal(ingress_detach(interface, true), 0);
    assert_int_equal(count_shown("clsact"), 0);
}

static void an_interface_that_is_gone_is_no_error(void **state)
{
    bool made = true;
    (void)state;
    need_root();
    assert_int_equal(ingress_attach(interface, program, &made), 0);
    assert_true(run("ip link delete lan0"));
    assert_false(ingress_attached(interface));
    assert_false(ingress_taken(interface));
    assert_int_equal(ingress_detach(interface, true), 0);
    assert_int_equal(ingress_attach(interface, program, &made), ENODEV);
    assert_false(made);
}

static void links_are_told_apart(void **state)
{
    (void)state;
    need_root();
    assert_true(run("ip tuntap add tun0 mode tun"));
    assert_int_equal(ingress_link("lan0"), INGRESS_ETHERNET);
    assert_int_equal(ingress_link("tun0"), INGRESS_PLAIN);
    assert_int_equal(ingress_link("lo"), INGRESS_UNKNOWN);
    assert_int_equal(ingress_link("nothing0"), INGRESS_UNKNOWN);
    assert_true(run("ip link delete tun0"));
}

/* --- beside others ----------------------------------------------------------------------------------- */

static void filters_of_others_stay(void **state)
{
    char before[SHOWN], after[SHOWN];
    bool made = true;
    (void)state;
    need_root();
    add_other(BPF_TC_INGRESS, 1, 1);
    add_other(BPF_TC_INGRESS, 7000, 0x6464);
    add_other(BPF_TC_EGRESS, 6464, 0x6464);
    show(before);
    assert_int_equal(ingress_attach(interface, program, &made), 0);
    assert_false(made);
    assert_int_equal(ingress_detach(interface, made), 0);
    show(after);
    assert_string_equal(before, after);
}

/* One that came after us keeps the clsact that we made. */
static void a_clsact_in_use_stays(void **state)
{
    bool made = false;
    (void)state;
    need_root();
    assert_int_equal(ingress_attach(interface, program, &made), 0);
    assert_true(made);
    add_other(BPF_TC_EGRESS, 1, 1);
    assert_int_equal(ingress_detach(interface, made), 0);
    assert_false(ingress_attached(interface));
    assert_int_equal(count_shown("clsact"), 1);
}

static void an_ingress_discipline_of_others_will_do(void **state)
{
    char before[SHOWN], after[SHOWN];
    bool made = true;
    (void)state;
    need_root();
    assert_true(run("tc qdisc add dev lan0 ingress"));
    show(before);
    assert_int_equal(ingress_attach(interface, program, &made), 0);
    assert_false(made);
    assert_true(ingress_attached(interface));
    assert_int_equal(ingress_detach(interface, made), 0);
    show(after);
    assert_string_equal(before, after);
}

static void refuse_the_place(void)
{
    char before[SHOWN], after[SHOWN];
    bool made = true;
    show(before);
    assert_true(ingress_taken(interface));
    assert_false(ingress_attached(interface));
    assert_int_equal(ingress_attach(interface, program, &made), EBUSY);
    assert_false(made);
    assert_int_equal(ingress_detach(interface, true), 0);
    show(after);
    assert_string_equal(before, after);
}

static void the_place_may_be_taken(void **state)
{
    (void)state;
    need_root();
    add_other(BPF_TC_INGRESS, 6464, 0x6464);
    refuse_the_place();
}

static void the_place_may_be_taken_by_another_handle(void **state)
{
    (void)state;
    need_root();
    add_other(BPF_TC_INGRESS, 6464, 1);
    refuse_the_place();
}

static void the_place_may_be_taken_by_another_kind(void **state)
{
    (void)state;
    need_root();
    assert_true(run("tc qdisc add dev lan0 clsact"));
    if (!run("tc filter add dev lan0 ingress pref 6464 protocol all matchall action pass 2>/dev/null") &&
        !run("tc filter add dev lan0 ingress pref 6464 protocol all u32 match u32 0 0 action pass "
             "2>/dev/null")) {
        print_message("skipped: this kernel has no filters but bpf\n");
        skip();
    }
    refuse_the_place();
}

/* --- with few rights --------------------------------------------------------------------------------- */

static int keep(void)
{
    bool made = false;
    if (ingress_attach(interface, program, &made) != 0 || !made || !ingress_attached(interface))
        return 3;
    if (ingress_attach(interface, other, &made) != 0 || made)
        return 4;
    return ingress_detach(interface, true) == 0 && !ingress_attached(interface) ? 0 : 5;
}

static void the_right_to_administer_networks_is_enough(void **state)
{
    (void)state;
    need_root();
    assert_int_equal(with_rights(RIGHT(CAP_NET_ADMIN), FORBIDDEN_KILLS, keep), 0);
    assert_int_equal(count_shown("clsact"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(it_leaves_everything_as_it_was, begin, end),
        cmocka_unit_test_setup_teardown(it_takes_the_place_of_its_like, begin, end),
        cmocka_unit_test_setup_teardown(an_interface_that_is_gone_is_no_error, begin, end),
        cmocka_unit_test_setup_teardown(links_are_told_apart, begin, end),
        cmocka_unit_test_setup_teardown(filters_of_others_stay, begin, end),
        cmocka_unit_test_setup_teardown(a_clsact_in_use_stays, begin, end),
        cmocka_unit_test_setup_teardown(an_ingress_discipline_of_others_will_do, begin, end),
        cmocka_unit_test_setup_teardown(the_place_may_be_taken, begin, end),
        cmocka_unit_test_setup_teardown(the_place_may_be_taken_by_another_handle, begin, end),
        cmocka_unit_test_setup_teardown(the_place_may_be_taken_by_another_kind, begin, end),
        cmocka_unit_test_setup_teardown(the_right_to_administer_networks_is_enough, begin, end),
    };
    (void)libbpf_set_print(NULL);
    available = private_directory() != NULL;
    program = available ? load("program") : -1;
    other = available ? load("other") : -1;
    int failed = cmocka_run_group_tests_name("ingress", tests, NULL, NULL);
    private_end();
    return failed;
}
