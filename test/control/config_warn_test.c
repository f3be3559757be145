/* SPDX-License-Identifier: BSD-2-Clause */
/* Lifetimes and prefixes that are accepted with a warning, and those that need none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "control/config_warn.h"

/* The warnings about a nat64 entry with these time-outs, each with a newline. */
static void assert_warnings(const char *timeouts, const char *expected)
{
    char text[512], said[1024] = "", sentence[256];
    struct config_error error = {""};
    snprintf(text, sizeof(text),
             "nat64: [{name: a, prefix: 2001:db8:1::/96, pool: [{address: 192.0.2.1}]},\n"
             "        {prefix: 2001:db8:2::/96, pool: [{address: 192.0.2.2}], timeouts: {%s}}]\n",
             timeouts);
    struct config *config = config_parse("x", text, strlen(text), &error);
    assert_string_equal(error.text, "");
    for (unsigned position = 0; config_warning(config, &position, sentence);)
        snprintf(said + strlen(said), sizeof(said) - strlen(said), "%s\n", sentence);
    assert_string_equal(said, expected);
    config_free(config);
}

/* rfc: 6146-3.5.2.2-h, 5382-REQ5-b */
static void what_the_rfcs_forbid_is_warned_of(void **state)
{
    (void)state;
    assert_warnings("tcp-established: 7439s",
                    "nat64[1].timeouts.tcp-established is below 2h4m, which RFC 6146 section 3.5.2.2 and RFC "
                    "5382 REQ-5 forbid: connections that are idle for longer break\n");
    assert_warnings("tcp-transitory: 239s, tcp-closing: 10s",
                    "nat64[1].timeouts.tcp-transitory is below 4m, which RFC 5382 REQ-5 forbids: slow "
                    "connections may break while they open or close\n"
                    "nat64[1].timeouts.tcp-closing is below 4m, which RFC 5382 REQ-5 forbids: slow "
                    "connections may break while they close\n");
}

/* rfc: 7857-2.1-a */
static void what_they_allow_is_not(void **state)
{
    (void)state;
    assert_warnings("", "");
    assert_warnings("tcp-established: 2h4m, tcp-transitory: 4m, tcp-closing: 4m", "");
    assert_warnings("tcp-opening: 10s", ""); /* RFC 7857 section 2.1 */
}

/* The warnings about these entries of ra beside a translator for one prefix. */
static void assert_warnings_of_ra(const char *translator, const char *ra, const char *expected)
{
    char text[512], said[1024] = "", sentence[256];
    struct config_error error = {""};
    snprintf(text, sizeof(text), "%s\nra: [%s]\n", translator, ra);
    struct config *config = config_parse("x", text, strlen(text), &error);
    assert_string_equal(error.text, "");
    for (unsigned position = 0; config_warning(config, &position, sentence);)
        snprintf(said + strlen(said), sizeof(said) - strlen(said), "%s\n", sentence);
    assert_string_equal(said, expected);
    config_free(config);
}

static void prefixes_that_nothing_translates(void **state)
{
    const char *nat64 =
        "nat64: [{prefix: 2001:db8:1::/96, pool: [{address: 192.0.2.1}], timeouts: {tcp-closing: 10s}}]";
    const char *siit = "siit: [{prefix: 2001:db8:2::/64}]";
    const char *mapped = "siit: [{eam: [{ipv4: 192.0.2.1, ipv6: \"2001:db8::1\"}]}]";
    const char *closing = "nat64[0].timeouts.tcp-closing is below 4m, which RFC 5382 REQ-5 forbids: slow "
                          "connections may break while they close\n";
    char both[512];
    (void)state;
    assert_warnings_of_ra(nat64, "{interface: a}, {interface: b, pref64: 2001:db8:1::/96}", closing);
    assert_warnings_of_ra(siit, "{interface: a, pref64: 2001:db8:2::/64}", "");
    snprintf(both, sizeof(both),
             "%sra[1].pref64 is the prefix of no entry of nat64 or siit: hosts will send there what another "
             "machine has to translate\n",
             closing);
    assert_warnings_of_ra(nat64, "{interface: a}, {interface: b, pref64: 2001:db8:1::/64}", both);
    assert_warnings_of_ra(mapped, "{interface: a, rdnss: false}",
                          "ra[0] announces nothing, for there is no entry of nat64: set ra[0].pref64\n");
    assert_warnings_of_ra(mapped, "{interface: a, rdnss: false, default-route: true}", "");
    assert_warnings_of_ra(mapped, "{interface: a, rdnss: true}",
                          "ra[0] announces nothing, for there is no entry of nat64: set ra[0].pref64\n");
}

/* The warnings about this name service, beside a translator and advertisements. */
static void assert_warnings_of_dns64(const char *dns64, const char *expected)
{
    char text[512], said[1024] = "", sentence[256];
    struct config_error error = {""};
    snprintf(text, sizeof(text),
             "nat64: [{prefix: 2001:db8:1::/96, pool: [{address: 192.0.2.1}]}]\n"
             "siit: [{prefix: 2001:db8:2::/96}]\n"
             "ra: [{interface: lan0, rdnss: false}, {interface: lan1}]\ndns64: {%s}\n",
             dns64);
    struct config *config = config_parse("x", text, strlen(text), &error);
    assert_string_equal(error.text, "");
    for (unsigned position = 0; config_warning(config, &position, sentence);)
        snprintf(said + strlen(said), sizeof(said) - strlen(said), "%s\n", sentence);
    assert_string_equal(said, expected);
    config_free(config);
}

static void name_services_of_which_others_have_the_prefix(void **state)
{
    (void)state;
    assert_warnings_of_dns64("listen: [\"2001:db8::53\"],"
                             "prefixes: [{prefix: 2001:db8:2::/96}, {prefix: 2001:db8:1::/96}]",
                             "");
    assert_warnings_of_dns64("listen: [\"2001:db8::53\"],"
                             "prefixes: [{prefix: 2001:db8:1::/96}, {prefix: 2001:db8:3::/96}]",
                             "dns64.prefixes[1].prefix is that of no entry of nat64 or siit: hosts will send "
                             "there what another machine has to translate\n");
}

static void name_services_for_everybody(void **state)
{
    static const char everybody[] =
        "dns64.clients lets everybody ask: strangers can use this machine to flood others with answers, "
        "unless a firewall keeps them out; name your own networks there\n";
    (void)state;
    assert_warnings_of_dns64("listen: [\"::\"], clients: [\"::1\", \"::/0\"]", everybody);
    assert_warnings_of_dns64("listen: [\"::1\", \"2001:db8::53\"], clients: [\"::1\", 0.0.0.0/0]", everybody);
    assert_warnings_of_dns64("listen: [\"::\"], clients: [\"2000::/3\", 10.0.0.0/8]", "");
    assert_warnings_of_dns64("listen: [\"::\"]", "");
}

static void name_services_that_hosts_are_not_told_of(void **state)
{
    static const char untold[] =
        "ra[1].rdnss is true, and dns64.listen has no IPv6 address with port 53 that "
        "hosts could be told of: add one, or \"[::]:53\"\n";
    char both[512];
    (void)state;
    assert_warnings_of_dns64("", untold);
    assert_warnings_of_dns64("listen: [\"127.0.0.2\", 192.0.2.53, \"[2001:db8::53]:5353\"]", untold);
    assert_warnings_of_dns64("listen: [\"127.0.0.2\", \"2001:db8::53\"]", "");
    snprintf(both, sizeof(both),
             "dns64.listen[1] is a loopback address that is not in dns64.clients: this machine's own queries "
             "will be refused; add it there\n%s",
             untold);
    assert_warnings_of_dns64("listen: [\"::1\", 127.0.0.1], clients: [\"::1\", \"2001:db8::/32\"]", both);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_the_rfcs_forbid_is_warned_of),
        cmocka_unit_test(what_they_allow_is_not),
        cmocka_unit_test(prefixes_that_nothing_translates),
        cmocka_unit_test(name_services_of_which_others_have_the_prefix),
        cmocka_unit_test(name_services_for_everybody),
        cmocka_unit_test(name_services_that_hosts_are_not_told_of),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
