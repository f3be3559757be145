/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Programs come to the interfaces that are wanted, and to no others; what was recorded takes them away. In a
 * network namespace and a bpffs of the test's own.
 */
#include "test/control/machine.h"

#include <bpf/bpf.h>

#include "control/feature.h"
#include "control/interfaces.h"
#include "control/state.h"
#include "control/undo.h"
#include "test/plane/private_bpffs.h"

static const char *base; /* of the state */
static struct config config;
static struct state own;
static int program = -1;

static void run(const char *command)
{
    assert_int_equal(system(command),
                     0); /* NOLINT(cert-env33-c): a lab is set up by the programs of every day */
}

static int begin(void **state)
{
    const struct bpf_insn instructions[] = {
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = -1},
        {.code = BPF_JMP | BPF_EXIT},
    };
    (void)state;
    if (private_bpffs() != NULL)
        program = bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "pass", "Dual BSD/GPL", instructions, 2, NULL);
    return 0;
}

static int end(void **state)
{
    (void)state;
    if (program >= 0)
        close(program);
    private_end();
    return 0;
}

static int set_up(void **state)
{
    char error[256];
    (void)state;
    if (program < 0)
        return 0;
    memset(&config, 0, sizeof(config));
    strcpy(config.plane.name, "isthmus0");
    base = directory_make();
    assert_true(state_open(&own, base, "isthmus0", error, sizeof(error)));
    run("ip link add lan0 up type veth peer name lan1 && ip link set lan1 up && "
        "ip link add br0 up type bridge && ip link add port0 up master br0 type veth peer name down0 && "
        "ip tuntap add isthmus0 mode tun && ip link set isthmus0 up && ip link set lo up");
    return 0;
}

static int take_down(void **state)
{
    (void)state;
    if (program < 0)
        return 0;
    run("ip link del lan0; ip link del br0; ip link del port0; ip link del isthmus0");
    changes_remove(own.directory);
    state_remove(&own);
    state_close(&own);
    directory_remove(base);
    return 0;
}

static void need(void)
{
    if (program >= 0)
        return;
    print_message("# skipped: needs the right to load programs, and namespaces\n");
    skip();
}

static bool has_program(const char *name)
{
    return ingress_attached(if_nametoindex(name));
}

/* Goes on with the list that is there; its names are as the daemon shows them. */
static void look(bool anew, const char *names)
{
    char found[INTERFACE_NAMES];
    struct change_list list;
    assert_int_equal(changes_read(own.directory, &list), 0);
    struct interfaces interfaces = {.directory = own.directory,
                                    .config = &config,
                                    .changes = list.present ? changes_continue(own.directory, &list)
                                                            : changes_create(own.directory),
                                    .program = {program, program},
                                    .anew = anew};
    changes_free(&list);
    assert_non_null(interfaces.changes);
    assert_true(interfaces_follow(&interfaces, found));
    undo_unwanted(interfaces.changes, CHANGES_OF_INTERFACES);
    changes_close(interfaces.changes);
    assert_string_equal(found, names);
}

static void undo_all(void)
{
    size_t undone;
    assert_true(undo_directory(own.directory, UNDO_SESSIONS, &undone));
}

static void want(const char *name)
{
    strcpy(config.plane.interfaces[config.plane.interface_count++], name);
}

/* Not loopback, ports of a bridge, what is down, nor the own device. */
static void test_those_by_default(void **state)
{
    (void)state;
    need();
    look(true, "lan1 lan0 br0");
    assert_true(has_program("lan0") && has_program("lan1") && has_program("br0"));
    assert_false(has_program("lo") || has_program("port0") || has_program("down0") ||
                 has_program("isthmus0"));
    undo_all();
    assert_false(has_program("lan0") || has_program("lan1") || has_program("br0"));
    run("! tc qdisc | grep clsact");
}

static void test_those_of_the_configuration(void **state)
{
    (void)state;
    need();
    want("down0");
    want("absent0");
    look(true, "down0");
    assert_true(has_program("down0"));
    strcpy(config.plane.interfaces[0], "lan0");
    look(false, "lan0");
    assert_false(has_program("down0"));
    undo_all();
    assert_false(has_program("lan0"));
}

/* One that is brought down keeps its program; one that went away and comes back gets it again. */
static void test_interfaces_that_change(void **state)
{
    (void)state;
    need();
    look(true, "lan1 lan0 br0");
    run("ip link set br0 down");
    look(false, "lan1 lan0 br0");
    run("ip link del lan0 && ip link add lan0 up type veth peer name lan1");
    assert_false(has_program("lan0"));
    look(false, "br0 lan1 lan0");
    assert_true(has_program("lan0") && has_program("lan1") && has_program("br0"));
    undo_all();
    assert_false(has_program("lan0") || has_program("br0"));
    run("! tc qdisc | grep clsact");
}

/* Lists of packets cannot be translated; they are made again when the program goes. */
static void test_lists_of_packets(void **state)
{
    bool on = true;
    (void)state;
    need();
    assert_int_equal(feature_set("lan0", "rx-gro-list", true), 0);
    want("lan0");
    look(true, "lan0");
    assert_int_equal(feature_read("lan0", "rx-gro-list", &on), 0);
    assert_false(on);
    look(false, "lan0");
    undo_all();
    assert_int_equal(feature_read("lan0", "rx-gro-list", &on), 0);
    assert_true(on);
}

/* The clsact of somebody else stays, and so does a filter in our place, which keeps ours out. */
static void test_what_others_have(void **state)
{
    char why[256];
    struct interfaces interfaces = {.directory = own.directory, .config = &config};
    (void)state;
    need();
    want("lan0");
    want("lan1");
    run("tc qdisc add dev lan0 clsact && tc qdisc add dev lan1 clsact");
    assert_null(interfaces_taken(&interfaces, why, sizeof(why)));
    run("tc filter add dev lan1 ingress preference 6464 bpf bytecode '1,6 0 0 0'");
    assert_non_null(interfaces_taken(&interfaces, why, sizeof(why)));
    assert_non_null(strstr(why, "lan1"));
    look(true, "lan0");
    undo_all();
    run("test $(tc qdisc | grep -c clsact) -eq 2");
    run("tc filter show dev lan1 ingress | grep -q 'pref 6464'");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_those_by_default, set_up, take_down),
        cmocka_unit_test_setup_teardown(test_those_of_the_configuration, set_up, take_down),
        cmocka_unit_test_setup_teardown(test_interfaces_that_change, set_up, take_down),
        cmocka_unit_test_setup_teardown(test_lists_of_packets, set_up, take_down),
        cmocka_unit_test_setup_teardown(test_what_others_have, set_up, take_down),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
