/* SPDX-License-Identifier: BSD-2-Clause */
/* Kinds of IPv4 addresses, each block at its first and last address and just outside. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "wire/ipv4.h"

/* rfc: 6052-3.1-a */
static void non_global_blocks_end_where_they_should(void **state)
{
    static const struct {
        const char *before, *first, *last, *after; /* before or after NULL: another block adjoins */
    } blocks[] = {
        {NULL, "0.0.0.0", "0.255.255.255", "1.0.0.0"},
        {"9.255.255.255", "10.0.0.0", "10.255.255.255", "11.0.0.0"},
        {"100.63.255.255", "100.64.0.0", "100.127.255.255", "100.128.0.0"},
        {"126.255.255.255", "127.0.0.0", "127.255.255.255", "128.0.0.0"},
        {"169.253.255.255", "169.254.0.0", "169.254.255.255", "169.255.0.0"},
        {"172.15.255.255", "172.16.0.0", "172.31.255.255", "172.32.0.0"},
        {"191.255.255.255", "192.0.0.0", "192.0.0.255", "192.0.1.0"},
        {"192.0.1.255", "192.0.2.0", "192.0.2.255", "192.0.3.0"},
        {"192.167.255.255", "192.168.0.0", "192.168.255.255", "192.169.0.0"},
        {"198.17.255.255", "198.18.0.0", "198.19.255.255", "198.20.0.0"},
        {"198.51.99.255", "198.51.100.0", "198.51.100.255", "198.51.101.0"},
        {"203.0.112.255", "203.0.113.0", "203.0.113.255", "203.0.114.0"},
        {"223.255.255.255", "224.0.0.0", "255.255.255.255", NULL},
    };
    (void)state;
    for (unsigned i = 0; i < sizeof(blocks) / sizeof(blocks[0]); i++) {
        assert_true(ipv4_is_non_global(inet_addr(blocks[i].first)));
        assert_true(ipv4_is_non_global(inet_addr(blocks[i].last)));
        if (blocks[i].before != NULL)
            assert_false(ipv4_is_non_global(inet_addr(blocks[i].before)));
        if (blocks[i].after != NULL)
            assert_false(ipv4_is_non_global(inet_addr(blocks[i].after)));
    }
}

static void illegal_sources_are_known(void **state)
{
    static const char *const illegal[] = {"0.0.0.0",   "0.1.2.3",   "127.0.0.1",       "169.254.0.0",
                                          "224.0.0.1", "240.0.0.1", "255.255.255.255", "169.254.255.255"};
    static const char *const legal[] = {"1.1.1.1",     "10.0.0.1",        "126.0.0.1",      "128.0.0.1",
                                        "169.255.0.0", "169.253.255.255", "223.255.255.255"};
    (void)state;
    for (unsigned i = 0; i < sizeof(illegal) / sizeof(illegal[0]); i++)
        assert_true(ipv4_illegal_source(inet_addr(illegal[i])));
    for (unsigned i = 0; i < sizeof(legal) / sizeof(legal[0]); i++)
        assert_false(ipv4_illegal_source(inet_addr(legal[i])));
}

static void length_counts_words(void **state)
{
    const struct ipv4_header header = {.version_ihl = 0x4f};
    (void)state;
    assert_int_equal(ipv4_header_length(&header), 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(non_global_blocks_end_where_they_should),
        cmocka_unit_test(illegal_sources_are_known),
        cmocka_unit_test(length_counts_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
