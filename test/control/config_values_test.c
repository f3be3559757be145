/* SPDX-License-Identifier: BSD-2-Clause */
/* Each type of value: what it takes, how it prints it, and what it says of what it does not take. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "control/config_values.h"
#include "engine/settings.h"

/* Room for the field of any type. */
union field {
    uint32_t number;
    char text[108];
    struct rfc6052_prefix prefix;
    struct pool_range range;
    struct static_binding binding;
};

/* `out` is the canonical text; NULL: `in` is refused with a message that contains `message`. */
struct sample {
    const char *in, *out, *message;
};

static void try(const struct value_rule *rule, const struct sample *sample)
{
    union field field = {.text = ""}, again = {.text = ""};
    struct value_error error = {""};
    char out[VALUE_TEXT_SIZE];
    bool taken = value_read(rule, sample->in, true, &field, &error);
    if (taken != (sample->out != NULL))
        fail_msg("\"%s\" is %s %s", sample->in, taken ? "taken" : "refused:", error.text);
    if (!taken) {
        if (strstr(error.text, sample->message) == NULL)
            fail_msg("\"%s\" does not say \"%s\"", error.text, sample->message);
        return;
    }
    value_format(rule, &field, out);
    assert_string_equal(out, sample->out);
    if (out[0] != '"') {
        assert_true(value_read(rule, out, true, &again, &error));
        assert_memory_equal(&field, &again, sizeof(field));
    }
}

#define TRY(rule, ...)                                                                                       \
    do {                                                                                                     \
        static const struct sample samples[] = {__VA_ARGS__};                                                \
        for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++)                                    \
            try(rule, &samples[i]);                                                                          \
    } while (0)

static void test_numbers(void **state)
{
    const struct value_rule rule = {.type = VALUE_NUMBER, .low = 1, .high = 268435456, .size = 4};
    const struct value_rule tos = {
        .type = VALUE_NUMBER, .low = 0, .high = 255, .size = 4, .nullable = true, .null = -1};
    (void)state;
    TRY(&rule, {"1", "1", NULL}, {"268435456", "268435456", NULL},
        {"0", NULL, "a number from 1 to 268435456"}, {"268435457", NULL, "\"268435457\""},
        {"4294967297", NULL, "number"}, {"", NULL, "has no value"}, {"-1", NULL, "number"},
        {"+1", NULL, "number"}, {"1.0", NULL, "number"}, {"0x10", NULL, "number"}, {"01", NULL, "number"},
        {"1 ", NULL, "number"}, {"null", NULL, "has no value"});
    TRY(&tos, {"null", "null", NULL}, {"~", "null", NULL}, {"", "null", NULL}, {"0", "0", NULL},
        {"255", "255", NULL}, {"256", NULL, "a number from 0 to 255, or null"});
}

static void test_words(void **state)
{
    static const char *const words[] = {"tcp", "udp", "icmp", NULL};
    const struct value_rule one = {.type = VALUE_WORD, .words = words, .size = 1};
    const struct value_rule some = {.type = VALUE_WORDS, .words = words, .size = 1};
    (void)state;
    TRY(&one, {"tcp", "tcp", NULL}, {"icmp", "icmp", NULL}, {"TCP", NULL, "one of tcp, udp, icmp"},
        {"tc", NULL, "one of"}, {"tcpp", NULL, "one of"}, {"17", NULL, "one of"});
    TRY(&some, {"udp", "[udp]", NULL}, {"[icmp, tcp]", "[tcp, icmp]", NULL},
        {"[tcp, udp, tcp]", NULL, "twice"}, {"tcp, udp", NULL, "a list in [ ]"},
        {"sctp", NULL, "tcp, udp, icmp"});
}

static void test_durations(void **state)
{
    const struct value_rule rule = {
        .type = VALUE_DURATION, .low = 0, .high = 604800, .why = "because", .size = 4};
    (void)state;
    TRY(&rule, {"0s", "0s", NULL}, {"60s", "1m", NULL}, {"5m", "5m", NULL}, {"2h4m", "2h4m", NULL},
        {"7440s", "2h4m", NULL}, {"1h0m1s", "1h1s", NULL}, {"90m", "1h30m", NULL}, {"168h", "168h", NULL},
        {"168h1s", NULL, "a duration from 0s to 168h, such as 90s or 2h4m (because)"},
        {"5", NULL, "duration"}, {"m", NULL, "duration"}, {"5m2h", NULL, "duration"},
        {"5m5m", NULL, "duration"}, {"5 m", NULL, "duration"}, {"-5m", NULL, "duration"},
        {"5d", NULL, "duration"}, {"999999999h", NULL, "duration"}, {"99999999999s", NULL, "duration"},
        {"", NULL, "has no value"});
}

static void test_sizes(void **state)
{
    const struct value_rule rule = {.type = VALUE_SIZE, .low = 64 << 10, .high = 1 << 30, .size = 4};
    (void)state;
    TRY(&rule, {"16MiB", "16MiB", NULL}, {"64KiB", "64KiB", NULL}, {"1GiB", "1GiB", NULL},
        {"1024KiB", "1MiB", NULL}, {"1025KiB", "1025KiB", NULL},
        {"63KiB", NULL, "a size from 64KiB to 1GiB, such as 512KiB or 16MiB"}, {"2GiB", NULL, "size"},
        {"4194304GiB", NULL, "size"}, {"65536", NULL, "size"}, {"MiB", NULL, "size"}, {"1MB", NULL, "size"},
        {"1 MiB", NULL, "size"}, {"1MiBx", NULL, "size"}, {"-1MiB", NULL, "size"},
        {"", NULL, "has no value"});
}

static void test_names(void **state)
{
    const struct value_rule rule = {.type = VALUE_NAME, .size = 16};
    (void)state;
    TRY(&rule, {"isthmus0", "isthmus0", NULL}, {"a.b_c-d", "a.b_c-d", NULL},
        {"123456789012345", "\"123456789012345\"", NULL}, {"1234567890123456", NULL, "16 bytes; at most 15"},
        {"..", NULL, "name"}, {"a/b", NULL, "name"}, {"a b", NULL, "name"}, {"tun%d", NULL, "name"},
        {"-c", NULL, "name"}, {"caf\xc3\xa9", NULL, "\"caf??\""}, {"yes", "\"yes\"", NULL},
        {"NO", "\"NO\"", NULL});
}

static void test_paths(void **state)
{
    const struct value_rule rule = {.type = VALUE_PATH, .size = 20};
    (void)state;
    TRY(&rule, {"/run/x.sock", "/run/x.sock", NULL}, {"/a b", "\"/a b\"", NULL},
        {"/\"\\", "\"/\\\"\\\\\"", NULL}, {"run/x", NULL, "absolute"}, {"/run/", NULL, "absolute"},
        {"/a\nb", NULL, "\"/a?b\""}, {"/2345678901234567890", NULL, "20 bytes; at most 19"});
}

static void test_prefixes(void **state)
{
    const struct value_rule rule = {.type = VALUE_PREFIX};
    (void)state;
    TRY(&rule, {"64:ff9b::/96", "64:ff9b::/96", NULL}, {"2001:DB8::/32", "2001:db8::/32", NULL},
        {"2001:db8:0:0:0::/64", "2001:db8::/64", NULL}, {"2001:db8::/33", NULL, "/32 /40 /48 /56 /64 /96"},
        {"2001:db8::/128", NULL, "/32 /40"}, {"2001:db8::/129", NULL, "an IPv6 prefix"},
        {"2001:db8::/096", NULL, "an IPv6 prefix"}, {"2001:db8::/", NULL, "an IPv6 prefix"},
        {"2001:db8::", NULL, "no length"}, {"2001:db8:1::/32", NULL, "write 2001:db8::/32"},
        {"2001:db8::1:0:0:0/96", "2001:db8:0:0:1::/96", NULL},
        {"2001:db8::ff00:0:0:0/96", NULL, "bits 64 to 71"},
        {"2001:db8::ff:0:0/96", "2001:db8::ff:0:0/96", NULL}, {"fe80::/64", NULL, "unicast"},
        {"ff05::/96", NULL, "unicast"}, {"::/96", NULL, "unicast"}, {"10.0.0.0/32", NULL, "an IPv6 prefix"});
}

static void test_addresses(void **state)
{
    const struct value_rule six = {.type = VALUE_IPV6, .nullable = true, .size = 16};
    const struct value_rule four = {.type = VALUE_IPV4, .nullable = true, .size = 4};
    (void)state;
    TRY(&six, {"2001:db8:0::1", "\"2001:db8::1\"", NULL}, {"null", "null", NULL}, {"::", NULL, "unspecified"},
        {"::1", NULL, "loopback"}, {"fe80::1", NULL, "link-local"}, {"ff02::1", NULL, "multicast"},
        {"fe80::1%lo", NULL, "an IPv6 address, or null"}, {"[2001:db8::1]", NULL, "an IPv6 address"});
    TRY(&four, {"203.0.113.1", "203.0.113.1", NULL}, {"null", "null", NULL}, {"0.0.0.0", NULL, "0.0.0.0/8"},
        {"127.0.0.1", NULL, "loopback"}, {"224.0.0.1", NULL, "multicast"},
        {"255.255.255.255", NULL, "reserved"}, {"1.2.3", NULL, "an IPv4 address"},
        {"01.2.3.4", NULL, "an IPv4 address"}, {"1.2.3.4.5", NULL, "IPv4"});
}

static void test_pools(void **state)
{
    const struct value_rule block = {.type = VALUE_BLOCK};
    const struct value_rule ports = {.type = VALUE_PORTS};
    (void)state;
    TRY(&block, {"192.0.2.1", "192.0.2.1", NULL}, {"192.0.2.1/32", "192.0.2.1", NULL},
        {"192.0.2.16/28", "192.0.2.16/28", NULL}, {"10.0.0.0/20", "10.0.0.0/20", NULL},
        {"10.0.0.0/19", NULL, "/20 to /32"}, {"10.0.0.0/0", NULL, "/20 to /32"},
        {"192.0.2.17/28", NULL, "write 192.0.2.16/28 for the block, 192.0.2.17 for the one"},
        {"192.0.2.0/33", NULL, "a block"}, {"192.0.2.0/2 8", NULL, "a block"},
        {"127.1.0.0/24", NULL, "loopback"});
    TRY(&ports, {"1024-65535", "1024-65535", NULL}, {"80", "80", NULL}, {"80-80", "80", NULL},
        {"1-65535", "1-65535", NULL}, {"0", NULL, "1 to 65535"}, {"0-5", NULL, "1 to 65535"},
        {"5-65536", NULL, "1 to 65535"}, {"9-5", NULL, "write 5-9"}, {"5-", NULL, "1 to 65535"},
        {"-5", NULL, "1 to 65535"}, {"1-2-3", NULL, "1 to 65535"}, {"1024:65535", NULL, "1 to 65535"});
}

static void test_endpoints(void **state)
{
    const struct value_rule six = {.type = VALUE_ENDPOINT6};
    const struct value_rule four = {.type = VALUE_ENDPOINT4};
    (void)state;
    TRY(&six, {"[2001:db8::5]:80", "\"[2001:db8::5]:80\"", NULL},
        {"[2001:db8::5]:65535", "\"[2001:db8::5]:65535\"", NULL},
        {"[2001:db8::5]", NULL, "IPv6 address and a port"},
        {"[2001:db8::5]:", NULL, "IPv6 address and a port"},
        {"2001:db8::5:80", NULL, "IPv6 address and a port"},
        {"[2001:db8::5]:0", NULL, "IPv6 address and a port"},
        {"[2001:db8::5]:65536", NULL, "IPv6 address and a port"}, {"[]:80", NULL, "IPv6 address and a port"},
        {"[::ffff:255.255.255.255.255.255.255.255.255.255]:80", NULL, "IPv6 address and a port"},
        {"[192.0.2.1]:80", NULL, "IPv6 address and a port"}, {"[::1]:80", NULL, "loopback"});
    TRY(&four, {"192.0.2.2:80", "\"192.0.2.2:80\"", NULL}, {"192.0.2.2", NULL, "IPv4 address and a port"},
        {"192.0.2.2:0", NULL, "IPv4 address and a port"}, {":80", NULL, "IPv4 address and a port"},
        {"192.0.2.2:99999", NULL, "IPv4 address and a port"}, {"127.0.0.1:80", NULL, "loopback"},
        {"[192.0.2.2]:80", NULL, "IPv4 address and a port"});
}

static void test_quoted_null_is_text(void **state)
{
    const struct value_rule rule = {.type = VALUE_NAME, .size = 16};
    struct value_error error = {""};
    char name[16], out[VALUE_TEXT_SIZE];
    (void)state;
    assert_true(value_read(&rule, "null", false, name, &error));
    value_format(&rule, name, out);
    assert_string_equal(out, "\"null\"");
    assert_false(value_read(&rule, "", false, name, &error));
}

static void test_quotes_are_short_and_printable(void **state)
{
    char out[VALUE_QUOTE_SIZE], longest[500];
    (void)state;
    assert_string_equal(value_quote("a\tb\x7f", out), "\"a?b?\"");
    memset(longest, 'x', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = 0;
    assert_in_range(strlen(value_quote(longest, out)), 40, VALUE_QUOTE_SIZE - 1);
    assert_string_equal(out + strlen(out) - 4, "...\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_durations),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_prefixes),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_pools),
        cmocka_unit_test(test_endpoints),
        cmocka_unit_test(test_quoted_null_is_text),
        cmocka_unit_test(test_quotes_are_short_and_printable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
