/* SPDX-License-Identifier: BSD-2-Clause */
/* The first word of an IPv6 header, and kinds of addresses. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "wire/ipv6.h"

static struct ipv6_address address(const char *text)
{
    struct ipv6_address result;
    assert_int_equal(inet_pton(AF_INET6, text, &result), 1);
    return result;
}

static void first_word_holds_version_and_class(void **state)
{
    static const uint8_t expected[4] = {0x6a, 0xb0, 0, 0};
    be32 word = ipv6_first_word(0xab);
    struct ipv6_header header = {.version_class_label = word};
    (void)state;
    assert_memory_equal(&word, expected, 4);
    assert_int_equal(ipv6_traffic_class(&header), 0xab);
    header.version_class_label = to_be32(0x6ab12345);
    assert_int_equal(ipv6_traffic_class(&header), 0xab);
}

static void equality_looks_at_every_bit(void **state)
{
    const struct ipv6_address one = address("2001:db8::1");
    (void)state;
    assert_true(ipv6_equal(&one, &one));
    for (unsigned bit = 0; bit < 128; bit++) {
        struct ipv6_address other = one;
        other.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_false(ipv6_equal(&one, &other));
    }
}

static void kinds_of_addresses_are_told_apart(void **state)
{
    static const struct {
        const char *text;
        bool multicast, illegal_source, link_local;
    } cases[] = {
        {"::", false, true, false},           {"::1", false, true, false},
        {"::2", false, false, false},         {"::1:0:0", false, false, false},
        {"1::", false, false, false},         {"ff02::1", true, true, false},
        {"fe80::1", false, false, true},      {"febf::1", false, false, true},
        {"fec0::1", false, false, false},     {"2001:db8::1", false, false, false},
        {"::192.0.2.1", false, false, false},
    };
    (void)state;
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ipv6_address one = address(cases[i].text);
        assert_int_equal(ipv6_is_multicast(&one), cases[i].multicast);
        assert_int_equal(ipv6_illegal_source(&one), cases[i].illegal_source);
        assert_int_equal(ipv6_is_link_local(&one), cases[i].link_local);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_word_holds_version_and_class),
        cmocka_unit_test(equality_looks_at_every_bit),
        cmocka_unit_test(kinds_of_addresses_are_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
