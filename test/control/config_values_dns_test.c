/* SPDX-License-Identifier: BSD-2-Clause */
/* Values of the name service: what each type takes, as what it arrives, how it is printed and read again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "control/config_values.h"
#include "dns64/rules.h"

/* Room for the field of any type. */
union field {
    struct rules_network network;
    struct config_endpoint endpoint;
    struct config_upstream upstream;
    struct dns_name name;
};

/* `out` is the canonical text; NULL: `in` is refused with a message that contains `message`. */
struct sample {
    const char *in, *out, *message;
};

/* What YAML makes of a text in double quotes. */
static void unquote(const char *text, char *out)
{
    bool quoted = text[0] == '"';
    size_t length = 0, end = strlen(text) - quoted;
    for (size_t i = quoted; i < end; i++) {
        i += quoted && text[i] == '\\';
        out[length++] = text[i];
    }
    out[length] = 0;
}

static void try(const struct value_rule *rule, const struct sample *sample)
{
    union field field, again;
    struct value_error error = {""};
    char out[VALUE_TEXT_SIZE], plain[VALUE_TEXT_SIZE];
    memset(&field, 0, sizeof(field));
    memset(&again, 0, sizeof(again));
    bool taken = value_read(rule, sample->in, false, &field, &error);
    if (taken != (sample->out != NULL))
        fail_msg("\"%s\" is %s %s", sample->in, taken ? "taken" : "refused:", error.text);
    if (!taken) {
        if (strstr(error.text, sample->message) == NULL)
            fail_msg("\"%s\" does not say \"%s\"", error.text, sample->message);
        return;
    }
    value_format(rule, &field, out);
    assert_string_equal(out, sample->out);
    unquote(out, plain);
    assert_true(value_read(rule, plain, false, &again, &error));
    assert_memory_equal(&field, &again, sizeof(field));
}

#define TRY(rule, ...)                                                                                       \
    do {                                                                                                     \
        static const struct sample samples[] = {__VA_ARGS__};                                                \
        for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++)                                    \
            try(rule, &samples[i]);                                                                          \
    } while (0)

static void test_networks(void **state)
{
    const struct value_rule any = {.type = VALUE_NETWORK}, six = {.type = VALUE_NETWORK6},
                            four = {.type = VALUE_NETWORK4};
    (void)state;
    TRY(&any, {"2001:db8::/32", "\"2001:db8::/32\"", NULL}, {"::/0", "\"::/0\"", NULL},
        {"2001:db8::5", "\"2001:db8::5\"", NULL}, {"2001:db8::5/128", "\"2001:db8::5\"", NULL},
        {"192.0.2.0/24", "192.0.2.0/24", NULL}, {"0.0.0.0/0", "0.0.0.0/0", NULL},
        {"192.0.2.7/32", "192.0.2.7", NULL}, {"::ffff:192.0.2.0/120", "192.0.2.0/24", NULL},
        {"::ffff:0:0/96", "0.0.0.0/0", NULL}, {"::/96", "\"::/96\"", NULL},
        {"fe80::/10", "\"fe80::/10\"", NULL}, {"2001:db8::1/32", NULL, "write 2001:db8::/32"},
        {"192.0.2.1/24", NULL, "write 192.0.2.0/24"}, {"192.0.2.0/33", NULL, "a network or an address"},
        {"2001:db8::/129", NULL, "a network"}, {"192.0.2.0/024", NULL, "a network"},
        {"192.0.2/24", NULL, "a network"}, {"", NULL, "a network"}, {"/24", NULL, "a network"},
        {"example.com", NULL, "a network"}, {"fe80::%lo/64", NULL, "a network"});
    TRY(&six, {"::ffff:0:0/96", "\"::ffff:0.0.0.0/96\"", NULL}, {"2001:db8::/32", "\"2001:db8::/32\"", NULL},
        {"::ffff:192.0.2.1", "\"::ffff:192.0.2.1\"", NULL}, {"192.0.2.0/24", NULL, "an IPv6 network"});
    TRY(&four, {"10.0.0.0/8", "10.0.0.0/8", NULL}, {"10.0.0.1", "10.0.0.1", NULL},
        {"::ffff:10.0.0.1", NULL, "an IPv4 network"});
}

/* IPv4 is mapped into IPv6 with its length (RFC 4291 section 2.5.5.2). */
static void test_networks_of_ipv4_are_mapped(void **state)
{
    const struct value_rule rule = {.type = VALUE_NETWORK};
    const uint8_t expected[16] = {[10] = 0xff, [11] = 0xff, [12] = 192, [14] = 2};
    struct rules_network network;
    struct value_error error;
    (void)state;
    assert_true(value_read(&rule, "192.0.2.0/24", true, &network, &error));
    assert_memory_equal(network.address.bytes, expected, 16);
    assert_int_equal(network.length, 96 + 24);
}

static void test_listening(void **state)
{
    const struct value_rule rule = {.type = VALUE_LISTEN};
    (void)state;
    TRY(&rule, {"[::1]:53", "\"[::1]:53\"", NULL}, {"::1", "\"[::1]:53\"", NULL},
        {"[::1]", "\"[::1]:53\"", NULL}, {"::", "\"[::]:53\"", NULL}, {"0.0.0.0", "\"0.0.0.0:53\"", NULL},
        {"127.0.0.1:5353", "\"127.0.0.1:5353\"", NULL}, {"192.0.2.1", "\"192.0.2.1:53\"", NULL},
        {"[::ffff:192.0.2.1]:65535", "\"192.0.2.1:65535\"", NULL}, {"[::1]:0", NULL, "a port"},
        {"[::1]:65536", NULL, "a port"}, {"[::1]:", NULL, "a port"}, {"[::1]53", NULL, "a port"},
        {"[::1]:53 ", NULL, "a port"}, {"[::1", NULL, "a port"}, {"::1]:53", NULL, "a port"},
        {"[192.0.2.1]:53", NULL, "a port"}, {"192.0.2.1:053", NULL, "a port"}, {":53", NULL, "a port"},
        {"[]:53", NULL, "a port"}, {"", NULL, "a port"}, {"localhost:53", NULL, "a port"},
        {"[::ffff:255.255.255.255.255.255.255.255.255.255.255.255.255]:53", NULL, "a port"},
        {"ff02::1", NULL, "multicast"}, {"224.0.0.251", NULL, "multicast"},
        {"255.255.255.255", NULL, "multicast or reserved"}, {"[fe80::1]:53", NULL, "link-local"});
}

static void test_upstreams(void **state)
{
    const struct value_rule rule = {.type = VALUE_UPSTREAM};
    (void)state;
    TRY(&rule, {"192.0.2.53", "\"192.0.2.53:53\"", NULL}, {"127.0.0.1:5353", "\"127.0.0.1:5353\"", NULL},
        {"2001:db8::53", "\"[2001:db8::53]:53\"", NULL},
        {"tls://192.0.2.53#dns.example", "\"tls://192.0.2.53:853#dns.example\"", NULL},
        {"tls://[2001:db8::53]:8853#DNS.Example.", "\"tls://[2001:db8::53]:8853#dns.example\"", NULL},
        {"tls://2001:db8::53#a", "\"tls://[2001:db8::53]:853#a\"", NULL},
        {"tls://192.0.2.53", NULL, "write \"tls://192.0.2.53#NAME\""},
        {"tls://192.0.2.53#", NULL, "tls://ADDRESS:PORT#NAME"},
        {"tls://192.0.2.53#.", NULL, "tls://ADDRESS:PORT#NAME"},
        {"tls://192.0.2.53#a..b", NULL, "tls://ADDRESS:PORT#NAME"},
        {"tls://192.0.2.53#a\\.b", NULL, "tls://ADDRESS:PORT#NAME"},
        {"tls://192.0.2.53#a#b", NULL, "tls://ADDRESS:PORT#NAME"}, {"tls://#a", NULL, "tls://ADDRESS"},
        {"192.0.2.53#a", NULL, "write \"tls://192.0.2.53#a\""}, {"https://192.0.2.53#a", NULL, "tls://"},
        {"dns.example", NULL, "ADDRESS"}, {"0.0.0.0", NULL, "unspecified"}, {"[::]:53", NULL, "unspecified"},
        {"fe80::1", NULL, "link-local"}, {"ff02::fb", NULL, "multicast"});
}

static void test_domains(void **state)
{
    const struct value_rule rule = {.type = VALUE_DOMAIN};
    (void)state;
    TRY(&rule, {"Legacy.Example.", "\"legacy.example.\"", NULL},
        {"legacy.example", "\"legacy.example.\"", NULL}, {".", "\".\"", NULL},
        {"_x.*.b", "\"_x.*.b.\"", NULL}, {"a\\.b.c", "\"a\\\\.b.c.\"", NULL}, {"", NULL, "a domain name"},
        {"a..b", NULL, "a domain name"}, {".a", NULL, "a domain name"}, {"a\\25", NULL, "a domain name"},
        {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.b", NULL, "a domain name"});
}

/* The longest name there is, with each byte in need of an escape and each escape in need of another. */
static void test_longest_domain(void **state)
{
    const struct value_rule rule = {.type = VALUE_DOMAIN};
    char text[4 * 255 + 1] = "", out[VALUE_TEXT_SIZE], plain[VALUE_TEXT_SIZE];
    struct dns_name name, again;
    struct value_error error = {""};
    (void)state;
    for (int label = 0; label < 4; label++) {
        for (int i = 0; i < (label < 3 ? 63 : 61); i++)
            strcat(text, "\\255");
        strcat(text, ".");
    }
    assert_true(value_read(&rule, text, false, &name, &error));
    assert_int_equal(name.length, 255);
    value_format(&rule, &name, out);
    unquote(out, plain);
    assert_string_equal(plain, text);
    assert_true(value_read(&rule, plain, false, &again, &error));
    assert_memory_equal(&name, &again, sizeof(name));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_networks),  cmocka_unit_test(test_networks_of_ipv4_are_mapped),
        cmocka_unit_test(test_listening), cmocka_unit_test(test_upstreams),
        cmocka_unit_test(test_domains),   cmocka_unit_test(test_longest_domain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
