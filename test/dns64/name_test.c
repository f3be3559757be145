/* SPDX-License-Identifier: BSD-2-Clause */
/* Names: limits, case, ancestors, hashes, text and addresses. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dns64/name.h"

static struct dns_name name_of(const char *text)
{
    struct dns_name name;
    if (!dns_name_parse(&name, text))
        fail_msg("no name: %s", text);
    return name;
}

static void flat_names_are_read(void **state)
{
    static const uint8_t bytes[] = "\3wWw\7example\0rest";
    struct dns_name name;
    (void)state;
    assert_int_equal(dns_name_read(&name, bytes, sizeof(bytes)), 13);
    assert_int_equal(name.length, 13);
    assert_memory_equal(name.wire, bytes, 13);
    for (size_t size = 0; size < 13; size++)
        assert_int_equal(dns_name_read(&name, bytes, size), 0);
    assert_int_equal(dns_name_read(&name, bytes, 13), 13);
    assert_int_equal(dns_name_read(&name, (const uint8_t *)"", 1), 1);
    assert_int_equal(name.length, 1);
}

/* rfc: 6891-5-b */
static void pointers_and_long_labels_are_no_flat_names(void **state)
{
    static const uint8_t pointer[] = {1, 'a', 0xc0, 0};
    static const uint8_t reserved[] = {0x40, 'a', 0};
    uint8_t label[66] = {63};
    struct dns_name name;
    (void)state;
    assert_int_equal(dns_name_read(&name, pointer, sizeof(pointer)), 0);
    assert_int_equal(dns_name_read(&name, reserved, sizeof(reserved)), 0);
    assert_int_equal(dns_name_read(&name, label, sizeof(label)), 65);
    label[0] = 64;
    assert_int_equal(dns_name_read(&name, label, sizeof(label)), 0);
}

static void names_end_at_255_bytes(void **state)
{
    uint8_t bytes[300];
    struct dns_name name;
    (void)state;
    /* 127 labels of one byte and the root: 255 bytes. */
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = i % 2 == 0 ? 1 : 'x';
    assert_int_equal(dns_name_read(&name, bytes, sizeof(bytes)), 0);
    bytes[254] = 0;
    assert_int_equal(dns_name_read(&name, bytes, sizeof(bytes)), 255);
    bytes[254] = 1;
    bytes[256] = 0;
    assert_int_equal(dns_name_read(&name, bytes, sizeof(bytes)), 0);
}

static void case_does_not_count(void **state)
{
    struct dns_name a = name_of("WWW.Example"), b = name_of("www.eXAMPLE."), c = name_of("www.examplf");
    struct dns_name d = name_of("[\\@"), e = name_of("{|`");
    (void)state;
    assert_true(dns_name_equal(&a, &b));
    assert_false(dns_name_equal(&a, &c));
    assert_false(dns_name_equal(&d, &e)); /* not letters, though they differ in the same bit */
    dns_name_lower(&a);
    assert_memory_equal(a.wire, "\3www\7example", 13);
}

/* The dot is no byte of a name: one label "a.b" is not the two labels "a" and "b". */
/* Of names of every length, every byte at every place: 26 of them are letters that change (RFC 4343). */
static void letters_of_ascii_and_nothing_else(void **state)
{
    (void)state;
    for (unsigned length = 1; length <= DNS_NAME_MAX; length++)
        for (unsigned shift = 0; shift < 256; shift++) {
            struct dns_name name = {.length = (uint8_t)length}, copy;
            for (unsigned i = 0; i < DNS_NAME_MAX; i++)
                name.wire[i] = (uint8_t)(i * 7 + shift);
            memset(&copy, 0xee, sizeof(copy));
            dns_name_copy(&copy, &name);
            dns_name_lower(&copy);
            assert_int_equal(copy.length, length);
            for (unsigned i = 0; i < DNS_NAME_MAX; i++) {
                uint8_t byte = name.wire[i];
                uint8_t expected = byte >= 'A' && byte <= 'Z' ? (uint8_t)(byte - 'A' + 'a') : byte;
                if (copy.wire[i] != (i < length ? expected : 0xee))
                    fail_msg("byte %u of %u: %u became %u", i, length, byte, copy.wire[i]);
            }
        }
}

static void labels_count(void **state)
{
    struct dns_name one = name_of("a\\.b"), two = name_of("a.b");
    (void)state;
    assert_int_equal(one.length, two.length);
    assert_false(dns_name_equal(&one, &two));
}

static void ancestors_are_whole_labels(void **state)
{
    struct dns_name zone = name_of("Legacy.example"), root = dns_name_root();
    struct dns_name same = name_of("legacy.EXAMPLE"), below = name_of("a.b.legacy.example");
    struct dns_name beside = name_of("notlegacy.example"), above = name_of("example");
    struct dns_name trick = name_of("x\\006legacy.example");
    (void)state;
    assert_true(dns_name_within(&same, &zone));
    assert_true(dns_name_within(&below, &zone));
    assert_false(dns_name_within(&beside, &zone));
    assert_false(dns_name_within(&above, &zone));
    assert_false(dns_name_within(&trick, &zone)); /* its bytes end like those of the zone */
    assert_true(dns_name_within(&below, &root));
    assert_true(dns_name_within(&root, &root));
    assert_false(dns_name_within(&root, &zone));
}

static void hashes_ignore_case_and_depend_on_the_key(void **state)
{
    static const uint64_t key[2] = {1, 2}, other[2] = {1, 3};
    struct dns_name a = name_of("www.EXAMPLE.com"), b = name_of("WWW.example.COM");
    struct dns_name c = name_of("wwx.example.com"), root = dns_name_root();
    (void)state;
    assert_true(dns_name_hash(&a, key) == dns_name_hash(&b, key));
    assert_true(dns_name_hash(&a, key) != dns_name_hash(&c, key));
    assert_true(dns_name_hash(&a, key) != dns_name_hash(&a, other));
    assert_true(dns_name_hash(&root, key) != 0);
}

/* Names of every length have hashes of their own: the last word, too, is part of it. */
static void hashes_take_every_byte(void **state)
{
    static const uint64_t key[2] = {7, 9};
    uint64_t seen[60];
    char text[64];
    (void)state;
    for (size_t n = 1; n <= 60; n++) {
        memset(text, 'a', n);
        text[n] = 0;
        struct dns_name name = name_of(text);
        seen[n - 1] = dns_name_hash(&name, key);
        for (size_t i = 0; i + 1 < n; i++)
            assert_true(seen[i] != seen[n - 1]);
        text[n - 1] = 'b';
        name = name_of(text);
        assert_true(dns_name_hash(&name, key) != seen[n - 1]);
    }
}

static void text_is_read_and_printed(void **state)
{
    static const char *const pairs[][2] = {
        {".", "."},
        {"example", "example."},
        {"a.b.", "a.b."},
        {"a\\.b.c", "a\\.b.c."},
        {"\\000\\255.x", "\\000\\255.x."},
        {"a b", "a\\032b."},
        {"\\a\\\\", "a\\\\."},
        {"_sip._tcp.example", "_sip._tcp.example."},
    };
    char text[DNS_NAME_TEXT_MAX];
    (void)state;
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        struct dns_name name = name_of(pairs[i][0]), again;
        assert_int_equal(dns_name_print(&name, text), strlen(pairs[i][1]));
        assert_string_equal(text, pairs[i][1]);
        again = name_of(text);
        assert_true(dns_name_equal(&name, &again));
    }
}

static void wrong_text_is_refused(void **state)
{
    static const char *const wrong[] = {"", "..", ".a", "a..b", "a..", "a\\", "a\\25", "\\256", "\\1x1"};
    struct dns_name name;
    char text[600];
    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        if (dns_name_parse(&name, wrong[i]))
            fail_msg("taken: %s", wrong[i]);
    memset(text, 'a', 64);
    text[64] = 0;
    assert_false(dns_name_parse(&name, text));
    text[63] = 0;
    assert_true(dns_name_parse(&name, text));
    /* 127 labels of one byte fit, 128 do not; nor does a last label of two. */
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = i % 2 == 0 ? 'a' : '.';
    text[253] = 0;
    assert_true(dns_name_parse(&name, text));
    assert_int_equal(name.length, 255);
    text[253] = 'a';
    text[254] = 0;
    assert_false(dns_name_parse(&name, text));
    text[253] = '.';
    text[254] = 'a';
    text[255] = 0;
    assert_false(dns_name_parse(&name, text));
}

static void the_longest_text_fits(void **state)
{
    char text[DNS_NAME_TEXT_MAX + 8];
    struct dns_name name;
    uint8_t bytes[255] = {63};
    (void)state;
    bytes[64] = bytes[128] = 63;
    bytes[192] = 61;
    memset(text, '!', sizeof(text));
    assert_int_equal(dns_name_read(&name, bytes, sizeof(bytes)), 255);
    assert_int_equal(dns_name_print(&name, text), 4 * 250 + 4);
    assert_true(strlen(text) < DNS_NAME_TEXT_MAX);
}

static void addresses_become_names_and_back(void **state)
{
    static const char *const four[] = {"192.0.2.33", "0.0.0.0", "255.255.255.255", "1.20.100.209"};
    struct ipv6_address six, found;
    struct dns_name name;
    char text[DNS_NAME_TEXT_MAX];
    be32 address;
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        name = dns_name_of_ipv4(inet_addr(four[i]));
        assert_true(dns_name_to_ipv4(&name, &address));
        assert_int_equal(address, inet_addr(four[i]));
    }
    name = dns_name_of_ipv4(inet_addr("192.0.2.33"));
    (void)dns_name_print(&name, text);
    assert_string_equal(text, "33.2.0.192.in-addr.arpa.");
    assert_int_equal(inet_pton(AF_INET6, "2001:db8::567:89ab", &six), 1);
    name = dns_name_of_ipv6(&six);
    (void)dns_name_print(&name, text);
    assert_string_equal(text, "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa.");
    assert_true(dns_name_to_ipv6(&name, &found));
    assert_memory_equal(&six, &found, 16);
    name = name_of("B.A.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.B.D.0.1.0.0.2.IP6.ARPA");
    assert_true(dns_name_to_ipv6(&name, &found));
    assert_memory_equal(&six, &found, 16);
}

static void other_names_are_no_addresses(void **state)
{
    static const char *const wrong[] = {
        "2.0.192.in-addr.arpa",
        "1.33.2.0.192.in-addr.arpa",
        "256.2.0.192.in-addr.arpa",
        "033.2.0.192.in-addr.arpa",
        "00.2.0.192.in-addr.arpa",
        "a.2.0.192.in-addr.arpa",
        "3333.2.0.192.in-addr.arpa",
        "33.2.0.192.in-addr.arpb",
        "33.2.0.192.in-addr",
        "33.2.0.192",
        ".",
        "ip6.arpa",
        "a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa",
        "0.b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa",
        "g.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa",
        "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpb",
        "bax.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa",
    };
    struct ipv6_address six = {{42}};
    be32 four = 42;
    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct dns_name name = name_of(wrong[i]);
        if (dns_name_to_ipv4(&name, &four) || dns_name_to_ipv6(&name, &six))
            fail_msg("taken: %s", wrong[i]);
    }
    assert_int_equal(four, 42);
    assert_int_equal(six.bytes[0], 42);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flat_names_are_read),
        cmocka_unit_test(pointers_and_long_labels_are_no_flat_names),
        cmocka_unit_test(names_end_at_255_bytes),
        cmocka_unit_test(case_does_not_count),
        cmocka_unit_test(letters_of_ascii_and_nothing_else),
        cmocka_unit_test(labels_count),
        cmocka_unit_test(ancestors_are_whole_labels),
        cmocka_unit_test(hashes_ignore_case_and_depend_on_the_key),
        cmocka_unit_test(hashes_take_every_byte),
        cmocka_unit_test(text_is_read_and_printed),
        cmocka_unit_test(wrong_text_is_refused),
        cmocka_unit_test(the_longest_text_fits),
        cmocka_unit_test(addresses_become_names_and_back),
        cmocka_unit_test(other_names_are_no_addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
