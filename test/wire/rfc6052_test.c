/* SPDX-License-Identifier: BSD-2-Clause */
/* RFC 6052: the examples of section 2.4, and what holds for every length. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "wire/rfc6052.h"

/* Tables 2 and 3 of the RFC; the IPv4 address is 192.0.2.33 throughout. */
static const struct {
    const char *prefix;
    uint8_t length;
    const char *address;
} examples[] = {
    {"2001:db8::", 32, "2001:db8:c000:221::"},
    {"2001:db8:100::", 40, "2001:db8:1c0:2:21::"},
    {"2001:db8:122::", 48, "2001:db8:122:c000:2:2100::"},
    {"2001:db8:122:300::", 56, "2001:db8:122:3c0:0:221::"},
    {"2001:db8:122:344::", 64, "2001:db8:122:344:c0:2:2100::"},
    {"2001:db8:122:344::", 96, "2001:db8:122:344::192.0.2.33"},
    {"64:ff9b::", 96, "64:ff9b::192.0.2.33"},
};
enum { EXAMPLES = sizeof(examples) / sizeof(examples[0]) };

static struct ipv6_address address(const char *text)
{
    struct ipv6_address result;
    assert_int_equal(inet_pton(AF_INET6, text, &result), 1);
    return result;
}

static struct rfc6052_prefix prefix(unsigned example)
{
    return (struct rfc6052_prefix){address(examples[example].prefix), examples[example].length};
}

/* rfc: 7915-6-a, 6052-2.2-d, 6052-2.2-f, 6146-3.5.4-c, 6146-3.5.4-g */
static void examples_embed(void **state)
{
    (void)state;
    for (unsigned i = 0; i < EXAMPLES; i++) {
        struct rfc6052_prefix with = prefix(i);
        struct ipv6_address made = rfc6052_embed(&with, inet_addr("192.0.2.33"));
        struct ipv6_address expected = address(examples[i].address);
        assert_memory_equal(&made, &expected, 16);
        assert_int_equal(rfc6052_extract(&with, &expected), inet_addr("192.0.2.33"));
    }
}

/* rfc: 6052-2.2-e, 6146-3.5.4-a */
static void embedding_is_undone_by_extracting(void **state)
{
    (void)state;
    srandom(1);
    for (unsigned i = 0; i < 7000; i++) {
        struct rfc6052_prefix with = prefix(i % EXAMPLES);
        be32 ipv4 = (be32)random() << 1 | (i & 1);
        struct ipv6_address made = rfc6052_embed(&with, ipv4);
        assert_int_equal(made.bytes[8], 0);
        assert_int_equal(rfc6052_extract(&with, &made), ipv4);
        assert_true(rfc6052_contains(&with, &made));
    }
}

/* Changing any bit of the prefix leads out of it, changing any other does not. */
static void prefix_contains_by_its_bits(void **state)
{
    (void)state;
    for (unsigned i = 0; i < EXAMPLES; i++) {
        struct rfc6052_prefix with = prefix(i);
        for (unsigned bit = 0; bit < 128; bit++) {
            struct ipv6_address other = address(examples[i].address);
            other.bytes[bit / 8] ^= (uint8_t)(0x80 >> bit % 8);
            assert_int_equal(rfc6052_contains(&with, &other), bit >= with.length);
        }
    }
}

/* rfc: 6052-2.2-a, 6146-3.5.4-d */
static void only_six_lengths_are_valid(void **state)
{
    (void)state;
    for (unsigned length = 0; length < 256; length++)
        assert_int_equal(rfc6052_length_valid(length), length == 32 || length == 40 || length == 48 ||
                                                           length == 56 || length == 64 || length == 96);
}

static void well_known_prefix_is_known(void **state)
{
    (void)state;
    for (unsigned i = 0; i < EXAMPLES; i++) {
        struct rfc6052_prefix with = prefix(i);
        assert_int_equal(rfc6052_is_well_known(&with), i == EXAMPLES - 1);
    }
    struct rfc6052_prefix shorter = {address("64:ff9b::"), 64};
    assert_false(rfc6052_is_well_known(&shorter));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(examples_embed),
        cmocka_unit_test(embedding_is_undone_by_extracting),
        cmocka_unit_test(prefix_contains_by_its_bits),
        cmocka_unit_test(only_six_lengths_are_valid),
        cmocka_unit_test(well_known_prefix_is_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
