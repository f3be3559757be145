/* SPDX-License-Identifier: BSD-2-Clause */
/* Explicit address mappings: the RFC's own examples, refusals, and random lists against a linear search. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>

#include "engine/eam.h"

static struct eam mapping(const char *four, unsigned length4, const char *six, unsigned length6)
{
    struct eam made = {.length4 = (uint8_t)length4, .length6 = (uint8_t)length6};
    assert_int_equal(inet_pton(AF_INET, four, &made.ipv4), 1);
    assert_int_equal(inet_pton(AF_INET6, six, made.ipv6.bytes), 1);
    return made;
}

static struct eam_table *build(const struct eam *mappings, uint32_t n)
{
    struct eam_problem problem;
    struct eam_table *table = eam_build(mappings, n, &problem);
    if (table == NULL)
        fail_msg("mapping %u: %s", problem.entry, problem.sentence);
    return table;
}

static void expect6(const struct eam_table *table, const char *four, const char *six)
{
    struct ipv6_address expected, got;
    be32 from;
    assert_int_equal(inet_pton(AF_INET, four, &from), 1);
    bool found = eam_to6(table, from, &got);
    assert_int_equal(found, six != NULL);
    if (six == NULL)
        return;
    assert_int_equal(inet_pton(AF_INET6, six, expected.bytes), 1);
    assert_memory_equal(&got, &expected, sizeof(got));
}

static void expect4(const struct eam_table *table, const char *six, const char *four)
{
    struct ipv6_address from;
    be32 expected, got;
    assert_int_equal(inet_pton(AF_INET6, six, from.bytes), 1);
    bool found = eam_to4(table, &from, &got);
    assert_int_equal(found, four != NULL);
    if (four == NULL)
        return;
    assert_int_equal(inet_pton(AF_INET, four, &expected), 1);
    assert_int_equal(got, expected);
}

/*
 * Figure 1 with the translations of appendix B.
 * rfc: 7915-6-b, 7757-3.3.1-a, 7757-3.3.2-a
 */
static void the_examples_of_the_rfc(void **state)
{
    static const struct {
        const char *four, *six;
    } rows[] = {
        {"192.0.2.1", "2001:db8:aaaa::"},
        {"192.0.2.2", "2001:db8:bbbb::b"},
        {"192.0.2.16", "2001:db8:cccc::"},
        {"192.0.2.24", "2001:db8:cccc::8"},
        {"192.0.2.31", "2001:db8:cccc::f"},
        {"192.0.2.128", "2001:db8:dddd::"},
        {"192.0.2.152", "2001:db8:dddd:0:6000::"},
        {"192.0.2.183", "2001:db8:dddd:0:dc00::"},
        {"192.0.2.191", "2001:db8:dddd:0:fc00::"},
        {"192.0.2.195", "2001:db8:eeee:9:8000::"},
        {"192.0.2.225", "64:ff9b::1"},
    };
    (void)state;
    struct eam figure[] = {
        mapping("192.0.2.1", 32, "2001:db8:aaaa::", 128),
        mapping("192.0.2.2", 32, "2001:db8:bbbb::b", 128),
        mapping("192.0.2.16", 28, "2001:db8:cccc::", 124),
        mapping("192.0.2.128", 26, "2001:db8:dddd::", 64),
        mapping("192.0.2.192", 29, "2001:db8:eeee:8::", 62),
        mapping("192.0.2.224", 31, "64:ff9b::", 127),
    };
    struct eam_table *table = build(figure, sizeof(figure) / sizeof(figure[0]));
    assert_int_equal(eam_count(table), 6);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        expect6(table, rows[i].four, rows[i].six);
        expect4(table, rows[i].six, rows[i].four);
    }
    expect6(table, "192.0.2.248", NULL);
    expect4(table, "64:ff9b::2", NULL);
    /* Bits of a longer IPv6 suffix are discarded. */
    expect4(table, "2001:db8:dddd:0:6000::1234", "192.0.2.152");
    eam_free(table);
}

/*
 * Figure 2: the longest prefix decides in each direction by itself.
 * rfc: 7757-5-a
 */
static void overlaps(void **state)
{
    (void)state;
    struct eam figure[] = {mapping("0.0.0.0", 0, "2001:db8:ff00::", 40),
                           mapping("198.51.100.64", 32, "2001:db8::abcd", 128)};
    struct eam_table *table = build(figure, 2);
    expect4(table, "2001:db8:ffc6:3364:4000::", "198.51.100.64");
    expect6(table, "198.51.100.64", "2001:db8::abcd");
    expect6(table, "198.51.100.65", "2001:db8:ffc6:3364:4100::");
    expect6(table, "255.255.255.255", "2001:db8:ffff:ffff:ff00::");
    eam_free(table);
    struct eam all = mapping("0.0.0.0", 0, "::", 0);
    table = build(&all, 1);
    expect6(table, "192.0.2.1", "c000:201::");
    expect4(table, "c000:201:ffff::1", "192.0.2.1");
    eam_free(table);
}

static void expect_refusal(const struct eam *mappings, uint32_t n, uint32_t entry, uint32_t other,
                           const char *words)
{
    struct eam_problem problem;
    assert_null(eam_build(mappings, n, &problem));
    assert_non_null(problem.sentence);
    assert_non_null(strstr(problem.sentence, words));
    assert_int_equal(problem.entry, entry);
    if (other != entry)
        assert_int_equal(problem.other, other);
}

/* rfc: 7757-3.2-b, 7757-5-a */
static void refusals(void **state)
{
    (void)state;
    struct eam pair[] = {mapping("198.51.100.8", 32, "2001:db8::1", 128),
                         mapping("198.51.100.9", 32, "2001:db8::1", 128)};
    expect_refusal(pair, 2, 1, 0, "IPv6 prefix is that of an earlier");
    pair[1] = mapping("198.51.100.8", 32, "2001:db8::2", 128);
    expect_refusal(pair, 2, 1, 0, "IPv4 prefix is that of an earlier");
    pair[1] = mapping("198.51.100.0", 24, "2001:db8::", 124);
    expect_refusal(pair, 2, 1, 1, "more bits than the IPv6 prefix");
    pair[1] = mapping("198.51.100.1", 24, "2001:db8::", 64);
    expect_refusal(pair, 2, 1, 1, "bits are set behind");
    pair[1] = mapping("198.51.100.0", 24, "2001:db8::1", 64);
    expect_refusal(pair, 2, 1, 1, "bits are set behind");
    pair[1].length4 = 33;
    expect_refusal(pair, 2, 1, 1, "longer than an address");
}

static void no_mappings(void **state)
{
    (void)state;
    struct eam_table *table = build(NULL, 0);
    expect6(table, "192.0.2.1", NULL);
    expect4(table, "2001:db8::1", NULL);
    eam_free(table);
    expect6(NULL, "192.0.2.1", NULL);
    assert_int_equal(eam_count(NULL), 0);
}

/*
 * A hundred thousand hosts and some networks around them.
 * rfc: 7757-3.3-a
 */
static void many_agree_with_arithmetic(void **state)
{
    enum { HOSTS = 100000 };
    static struct eam many[HOSTS + 2];
    (void)state;
    for (uint32_t i = 0; i < HOSTS; i++) {
        many[i] = (struct eam){.ipv4 = to_be32(0x0a000000u + 3 * i), .length4 = 32, .length6 = 128};
        many[i].ipv6.bytes[0] = 0x20;
        store_be32(many[i].ipv6.bytes + 12, to_be32(7 * i));
    }
    many[HOSTS] = mapping("10.0.0.0", 8, "2001:db8:a::", 96);
    many[HOSTS + 1] = mapping("10.1.0.0", 16, "2001:db8:b::", 64);
    struct eam_table *table = build(many, HOSTS + 2);
    for (uint32_t i = 0; i < 3 * HOSTS; i++) {
        struct ipv6_address six = {{0x20, 0x01, 0x0d, 0xb8, 0, 0x0a}};
        if (i % 3 == 0) {
            six = (struct ipv6_address){{0x20}};
            store_be32(six.bytes + 12, to_be32(7 * (i / 3)));
        } else if (i >> 16 == 1) {
            six.bytes[5] = 0x0b;
            six.bytes[8] = (uint8_t)(i >> 8);
            six.bytes[9] = (uint8_t)i;
        } else {
            store_be32(six.bytes + 12, to_be32(i << 8)); /* 24 bits right behind the prefix */
        }
        struct ipv6_address got;
        be32 back;
        assert_true(eam_to6(table, to_be32(0x0a000000u + i), &got));
        assert_memory_equal(&got, &six, sizeof(six));
        assert_true(eam_to4(table, &six, &back));
        assert_int_equal(from_be32(back), 0x0a000000u + i);
    }
    eam_free(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_examples_of_the_rfc),
        cmocka_unit_test(overlaps),
        cmocka_unit_test(refusals),
        cmocka_unit_test(no_mappings),
        cmocka_unit_test(many_agree_with_arithmetic),
    };
    return cmocka_run_group_tests_name("eam", tests, NULL, NULL);
}
