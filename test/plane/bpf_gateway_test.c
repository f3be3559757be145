/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The eBPF plane on a gateway: stateless translation, packets that go through the kernel's own firewall and
 * routing, and the gateway's own programs on either side of the translation.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "test/plane/bpf_gateway.h"

#define NAT64 "2001:db8:64::"
#define SIIT  "2001:db8:100::"

enum {
    TRANSFER = 16 << 20,
    FEW =
        12, /* packets that may go to the engine: those that meet a neighbour unknown yet are none of them */
};

static bool possible;

static void need_gateway(void)
{
    if (!possible) {
        print_message("skipped: needs root, for a network namespace\n");
        skip();
    }
    (void)gateway_work();
}

static void expect_work(const char *what, uint64_t to4, uint64_t to6, uint64_t handed_over)
{
    struct gateway_work work = gateway_work();
    print_message("# %s: translated %lu and %lu, turned round %lu, handed over %lu\n", what, work.to4,
                  work.to6, work.hairpins, work.handed_over);
    assert_true(work.to4 >= to4);
    assert_true(work.to6 >= to6);
    assert_true(work.handed_over <= handed_over);
}

/* A stream and datagrams. */
static void visit(enum host from, const char *source, enum host to, const char *address, const char *server)
{
    struct gateway_visit visit = {.from = from,
                                  .to = to,
                                  .source = source,
                                  .address = address,
                                  .server = server,
                                  .bytes = TRANSFER,
                                  .type = SOCK_STREAM};
    assert_true(gateway_visit(&visit));
    visit.type = SOCK_DGRAM;
    assert_true(gateway_visit(&visit));
}

static void expect_hops(const char *source, const char *address, enum host from, enum host to, int hops,
                        const char *seen_as)
{
    char who[64];
    const struct gateway_visit datagram = {
        .from = from, .to = to, .source = source, .address = address, .type = SOCK_DGRAM};
    assert_int_equal(gateway_hops(&datagram, who, sizeof(who)), hops);
    assert_string_equal(who, seen_as);
}

/* --- stateless -------------------------------------------------------------------------------------- */

static void test_stateless_from_ipv6(void **state)
{
    (void)state;
    need_gateway();
    visit(CLIENT, "2001:db8:1::2", SERVER, SIIT "203.0.113.2", NULL);
    expect_work("from IPv6", 300, 300, 0);
    expect_hops("2001:db8:1::2", SIIT "203.0.113.2", CLIENT, SERVER, 63, "198.51.100.2");
}

static void test_stateless_from_ipv4(void **state)
{
    (void)state;
    need_gateway();
    visit(SERVER, NULL, CLIENT, "198.51.100.3", "2001:db8:1::3");
    expect_work("from IPv4", 300, 300, 0);
    expect_hops(NULL, "198.51.100.3", SERVER, CLIENT, 63, "2001:db8:100::cb00:7102");
    assert_int_equal(gateway_run(SERVER, "ping -q -c 5 -i 0.01 -W 2 198.51.100.2 >/dev/null"), 0);
    expect_work("pings", 5, 5, 0);
}

/* Mapped hosts are reached by their own addresses as before, and so is the gateway. */
static void test_what_is_routed_elsewhere_passes(void **state)
{
    (void)state;
    need_gateway();
    struct gateway_visit visit = {.from = SERVER,
                                  .to = CLIENT,
                                  .source = "2001:db8:2::2",
                                  .address = "2001:db8:1::2",
                                  .bytes = TRANSFER,
                                  .type = SOCK_STREAM};
    assert_true(gateway_visit(&visit));
    assert_int_equal(gateway_run(SERVER, "ping -q -c 2 -i 0.01 -W 2 203.0.113.1 >/dev/null"), 0);
    struct gateway_work work = gateway_work();
    assert_int_equal(work.to4 + work.to6 + work.hairpins + work.handed_over, 0);
}

static void test_hairpin(void **state)
{
    (void)state;
    need_gateway();
    visit(CLIENT, "2001:db8:1::2", CLIENT, SIIT "198.51.100.3", "2001:db8:1::3");
    struct gateway_work work = gateway_work();
    print_message("# hairpin: turned round %lu, handed over %lu\n", work.hairpins, work.handed_over);
}

/* --- the gateway's own programs --------------------------------------------------------------------- */

static void test_programs_on_the_gateway_are_reached(void **state)
{
    (void)state;
    need_gateway();
    visit(CLIENT, NULL, GATEWAY, NAT64 "203.0.113.1", "203.0.113.1");
    expect_work("to the gateway's IPv4 address", 300, 0, FEW);
}

/* What they send goes to the TUN device, by its route; what comes back does not. */
static void test_programs_on_the_gateway_use_nat64(void **state)
{
    (void)state;
    need_gateway();
    visit(GATEWAY, NULL, SERVER, NAT64 "203.0.113.2", NULL);
    expect_work("from the gateway's IPv6 address", 0, 300, FEW);
}

/* --- through the stack ------------------------------------------------------------------------------ */

static unsigned long counted(const char *name)
{
    char command[256], text[64] = "";
    snprintf(command, sizeof(command),
             "nft list counter inet gate %s | sed -n 's/.*packets \\([0-9]*\\).*/\\1/p'", name);
    FILE *output = popen(command, "r"); /* NOLINT(cert-env33-c) */
    assert_non_null(output);
    assert_non_null(fgets(text, sizeof(text), output));
    (void)pclose(output);
    return strtoul(text, NULL, 10);
}

static void test_through_the_stack(void **state)
{
    (void)state;
    need_gateway();
    if (gateway_run(GATEWAY, "nft list tables >/dev/null 2>&1") != 0) {
        print_message("skipped: needs nft, and nf_tables in the kernel\n");
        skip();
    }
    assert_int_equal(gateway_run(GATEWAY,
                                 "nft -f - <<'END'\n"
                                 "table inet gate {\n"
                                 " counter out { }\n counter back { }\n counter wrong { }\n"
                                 " chain forward { type filter hook forward priority 0; policy accept;\n"
                                 "  iifname isthmus-gate oifname wan0 ip saddr 192.0.2.1 counter name out\n"
                                 "  iifname isthmus-gate oifname lan0 ip6 saddr 2001:db8:64::/96 "
                                 "counter name back\n"
                                 "  ct state invalid counter name wrong drop\n"
                                 " }\n}\n"
                                 "END"),
                     0);
    gateway_enforce(true);
    visit(CLIENT, NULL, SERVER, NAT64 "203.0.113.2", NULL);
    expect_work("through the stack", 300, 300, 0);
    assert_true(counted("out") >= 100);
    assert_true(counted("back") >= 100);
    assert_int_equal(counted("wrong"), 0);
    /* The kernel takes one off on the way into the device, and one on the way out. */
    expect_hops("2001:db8:1::2", SIIT "203.0.113.2", CLIENT, SERVER, 62, "198.51.100.2");
    expect_hops(NULL, "198.51.100.3", SERVER, CLIENT, 62, "2001:db8:100::cb00:7102");
    /* The answer of a rule comes back translated: EACCES for whoever is administratively prohibited. */
    const struct gateway_visit call = {
        .from = CLIENT, .to = SERVER, .address = NAT64 "203.0.113.2", .type = SOCK_STREAM};
    assert_int_equal(gateway_run(GATEWAY,
                                 "nft insert rule inet gate forward ip daddr 203.0.113.2 tcp dport 5001 "
                                 "reject with icmp type admin-prohibited"),
                     0);
    assert_int_equal(gateway_call(&call), EACCES);
    assert_int_equal(gateway_run(GATEWAY, "nft delete table inet gate"), 0);
    gateway_enforce(false);
}

static int open_gateway(void **state)
{
    (void)state;
    if (possible)
        gateway_open();
    return 0;
}

static int close_gateway(void **state)
{
    (void)state;
    if (possible)
        gateway_close();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stateless_from_ipv6),
        cmocka_unit_test(test_stateless_from_ipv4),
        cmocka_unit_test(test_what_is_routed_elsewhere_passes),
        cmocka_unit_test(test_hairpin),
        cmocka_unit_test(test_programs_on_the_gateway_are_reached),
        cmocka_unit_test(test_programs_on_the_gateway_use_nat64),
        cmocka_unit_test(test_through_the_stack),
    };
    possible = gateway_possible();
    return cmocka_run_group_tests_name("bpf_gateway", tests, open_gateway, close_gateway);
}
