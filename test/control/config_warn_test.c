/* SPDX-License-Identifier: BSD-2-Clause */
/* Lifetimes that are accepted with a warning, and those that need none. */
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_the_rfcs_forbid_is_warned_of),
        cmocka_unit_test(what_they_allow_is_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
