/* SPDX-License-Identifier: BSD-2-Clause */
/* Rules: networks, views, addresses made and read back, what is exempt. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dns64/rules.h"

static struct ipv6_address ipv6(const char *text)
{
    struct ipv6_address address;
    assert_int_equal(inet_pton(AF_INET6, text, &address), 1);
    return address;
}

static be32 ipv4(const char *text)
{
    be32 address;
    assert_int_equal(inet_pton(AF_INET, text, &address), 1);
    return address;
}

/* "2001:db8::/32", or "192.0.2.0/24" as it stands in rules. */
static struct rules_network network(const char *text)
{
    char copy[64], mapped[80];
    char *slash;
    unsigned length;
    snprintf(copy, sizeof(copy), "%s", text);
    slash = strchr(copy, '/');
    assert_non_null(slash);
    *slash = 0;
    length = (unsigned)atoi(slash + 1);
    if (strchr(copy, ':') != NULL)
        return (struct rules_network){.address = ipv6(copy), .length = (uint8_t)length};
    snprintf(mapped, sizeof(mapped), "::ffff:%s", copy);
    return (struct rules_network){.address = ipv6(mapped), .length = (uint8_t)(length + RULES_IPV4_BITS)};
}

/* Adds a prefix for one network of clients and one of IPv4 addresses. */
static void add_prefix(struct dns_rules *rules, const char *prefix, const char *clients, const char *reached)
{
    struct rules_network of_prefix = network(prefix);
    struct rules_prefix *added = &rules->prefixes[rules->prefix_count++];
    added->prefix = (struct rfc6052_prefix){.address = of_prefix.address, .length = of_prefix.length};
    added->clients[added->client_count++] = network(clients);
    added->ipv4[added->ipv4_count++] = network(reached);
}

static struct dns_name name_of(const char *text)
{
    struct dns_name name;
    if (!dns_name_parse(&name, text))
        fail_msg("no name: %s", text);
    return name;
}

static struct dns_rules rules; /* large, so not on the stack */

static int forget(void **state)
{
    (void)state;
    memset(&rules, 0, sizeof(rules));
    return 0;
}

static bool within(const char *of, const char *address)
{
    struct rules_network one = network(of);
    struct ipv6_address at = ipv6(address);
    return rules_network_contains(&one, &at);
}

static void networks_of_every_length(void **state)
{
    (void)state;
    assert_true(within("::/0", "ffff::1"));
    assert_true(within("8000::/1", "ffff::1"));
    assert_false(within("8000::/1", "7fff::1"));
    assert_true(within("2001:db8::/63", "2001:db8:0:1::"));
    assert_false(within("2001:db8::/63", "2001:db8:0:2::"));
    assert_true(within("2001:db8:0:1::/64", "2001:db8:0:1:ffff::"));
    assert_false(within("2001:db8:0:1::/64", "2001:db8::1"));
    assert_true(within("2001:db8::/65", "2001:db8::7fff:0:0:0"));
    assert_false(within("2001:db8::/65", "2001:db8::8000:0:0:0"));
    assert_true(within("2001:db8::1/128", "2001:db8::1"));
    assert_false(within("2001:db8::1/128", "2001:db8::"));
    /* The upper half counts with lengths above 64, too. */
    assert_false(within("2001:db8::1/128", "2001:db9::1"));
}

static void ipv4_networks_stand_among_ipv6(void **state)
{
    (void)state;
    assert_true(within("192.0.2.0/24", "::ffff:192.0.2.255"));
    assert_false(within("192.0.2.0/24", "::ffff:192.0.3.0"));
    assert_false(within("0.0.0.0/0", "2001:db8::1"));
    assert_false(within("0.0.0.0/0", "::192.0.2.1"));
    assert_true(within("::/0", "::ffff:192.0.2.1"));
}

static void a_view_is_the_prefixes_of_a_client(void **state)
{
    struct ipv6_address both = ipv6("2001:db8:1::1"), first = ipv6("2001:db8:2::1"), none = ipv6("fe80::1");
    struct ipv6_address of_ipv4 = ipv6("::ffff:10.0.0.1");
    (void)state;
    assert_int_equal(rules_view_of(&rules, &both), 0);
    add_prefix(&rules, "2001:db8:64::/96", "2001:db8::/32", "0.0.0.0/0");
    add_prefix(&rules, "2001:db8:65::/96", "2001:db8:1::/48", "0.0.0.0/0");
    add_prefix(&rules, "2001:db8:66::/96", "10.0.0.0/8", "0.0.0.0/0");
    assert_int_equal(rules_view_of(&rules, &both), 3);
    assert_int_equal(rules_view_of(&rules, &first), 1);
    assert_int_equal(rules_view_of(&rules, &none), 0);
    assert_int_equal(rules_view_of(&rules, &of_ipv4), 4);
    /* Any network of the list will do. */
    rules.prefixes[2].clients[rules.prefixes[2].client_count++] = network("fe80::/10");
    assert_int_equal(rules_view_of(&rules, &none), 4);
}

static void all_sixteen_prefixes_have_a_bit(void **state)
{
    struct ipv6_address client = ipv6("2001:db8::1"), addresses[RULES_PREFIXES];
    (void)state;
    for (unsigned i = 0; i < RULES_PREFIXES; i++) {
        char text[32];
        snprintf(text, sizeof(text), "2001:db8:%x::/96", i + 1);
        add_prefix(&rules, text, "::/0", "0.0.0.0/0");
    }
    assert_int_equal(rules_view_of(&rules, &client), 0xffff);
    assert_int_equal(rules_embed(&rules, 0xffff, ipv4("198.51.100.1"), addresses), RULES_PREFIXES);
    assert_int_equal(rules_embed(&rules, 0x8001, ipv4("198.51.100.1"), addresses), 2);
}

/* `expected`: addresses with a space between each two. */
static void expect_embedded(rules_view view, const char *from, const char *expected)
{
    struct ipv6_address addresses[RULES_PREFIXES];
    unsigned count = rules_embed(&rules, view, ipv4(from), addresses), i = 0;
    char copy[256], *rest = copy, *word;
    snprintf(copy, sizeof(copy), "%s", expected);
    while ((word = strsep(&rest, " ")) != NULL && *word != 0) {
        struct ipv6_address one = ipv6(word);
        assert_true(i < count);
        assert_memory_equal(&addresses[i++], &one, sizeof(one));
    }
    assert_int_equal(i, count);
}

/* The examples of RFC 6052 section 2.4. rfc: 6147-5.2-a, 6147-5.2-d, 6147-5.2-f, 6147-5.2-h */
static void addresses_of_all_six_lengths(void **state)
{
    (void)state;
    add_prefix(&rules, "2001:db8::/32", "::/0", "0.0.0.0/0");
    add_prefix(&rules, "2001:db8:100::/40", "::/0", "0.0.0.0/0");
    add_prefix(&rules, "2001:db8:122::/48", "::/0", "0.0.0.0/0");
    add_prefix(&rules, "2001:db8:122:300::/56", "::/0", "0.0.0.0/0");
    add_prefix(&rules, "2001:db8:122:344::/64", "::/0", "0.0.0.0/0");
    add_prefix(&rules, "2001:db8:122:344::/96", "::/0", "0.0.0.0/0");
    expect_embedded(0x3f, "192.0.2.33",
                    "2001:db8:c000:221:: 2001:db8:1c0:2:21:: 2001:db8:122:c000:2:2100:: "
                    "2001:db8:122:3c0:0:221:: 2001:db8:122:344:c0:2:2100:: 2001:db8:122:344::192.0.2.33");
    expect_embedded(0x22, "192.0.2.33", "2001:db8:1c0:2:21:: 2001:db8:122:344::192.0.2.33");
    expect_embedded(0, "192.0.2.33", "");
}

/* rfc: 6147-5-a, 6147-5.1.7-d */
static void ranges_of_ipv4_have_their_prefixes(void **state)
{
    (void)state;
    add_prefix(&rules, "2001:db8:64::/96", "::/0", "0.0.0.0/0");
    add_prefix(&rules, "2001:db8:65::/96", "::/0", "10.0.0.0/8");
    expect_embedded(3, "10.1.2.3", "2001:db8:64::10.1.2.3 2001:db8:65::10.1.2.3");
    expect_embedded(3, "11.1.2.3", "2001:db8:64::11.1.2.3");
    expect_embedded(2, "11.1.2.3", "");
    rules.prefixes[1].ipv4[rules.prefixes[1].ipv4_count++] = network("11.1.2.3/32");
    expect_embedded(2, "11.1.2.3", "2001:db8:65::11.1.2.3");
    expect_embedded(2, "11.1.2.4", "");
    rules.prefixes[1].ipv4_count = 0;
    expect_embedded(2, "10.1.2.3", "");
}

/* The same prefix for some clients and for some addresses: who belongs to both gets one record of each. */
static void a_prefix_in_several_entries_makes_one_address(void **state)
{
    (void)state;
    add_prefix(&rules, "2001:db8:64::/96", "::/0", "10.0.0.0/8");
    add_prefix(&rules, "2001:db8:65::/96", "::/0", "0.0.0.0/0");
    add_prefix(&rules, "2001:db8:64::/96", "2001:db8::/32", "0.0.0.0/0");
    expect_embedded(7, "10.1.2.3", "2001:db8:64::10.1.2.3 2001:db8:65::10.1.2.3");
    expect_embedded(7, "11.1.2.3", "2001:db8:65::11.1.2.3 2001:db8:64::11.1.2.3");
    expect_embedded(4, "10.1.2.3", "2001:db8:64::10.1.2.3");
}

/* rfc: 6052-3.1-a */
static void the_well_known_prefix_carries_global_ipv4_only(void **state)
{
    (void)state;
    add_prefix(&rules, "64:ff9b::/96", "::/0", "0.0.0.0/0");
    add_prefix(&rules, "2001:db8:64::/96", "::/0", "0.0.0.0/0");
    expect_embedded(3, "8.8.8.8", "64:ff9b::8.8.8.8 2001:db8:64::8.8.8.8");
    expect_embedded(3, "10.0.0.1", "2001:db8:64::10.0.0.1");
    expect_embedded(1, "192.168.0.1", "");
    expect_embedded(1, "192.0.0.170", "");
}

static const char *extracted(const char *text)
{
    static char shown[INET_ADDRSTRLEN];
    struct ipv6_address address = ipv6(text);
    be32 found = ipv4("255.255.255.255");
    if (!rules_extract(&rules, &address, &found)) {
        assert_int_equal(found, ipv4("255.255.255.255"));
        return "none";
    }
    return inet_ntop(AF_INET, &found, shown, sizeof(shown));
}

/* rfc: 6147-5.2-c */
static void ipv4_addresses_are_found_under_all_six_lengths(void **state)
{
    static const char *const prefixes[] = {"2001:db8::/32",         "2001:db8:100::/40",
                                           "2001:db8:122::/48",     "2001:db8:122:300::/56",
                                           "2001:db8:122:344::/64", "2001:db8:122:344::/96"};
    static const char *const addresses[] = {
        "2001:db8:c000:221::",      "2001:db8:1c0:2:21::",          "2001:db8:122:c000:2:2100::",
        "2001:db8:122:3c0:0:221::", "2001:db8:122:344:c0:2:2100::", "2001:db8:122:344::192.0.2.33"};
    (void)state;
    for (unsigned i = 0; i < 6; i++) {
        forget(NULL);
        add_prefix(&rules, prefixes[i], "::1/128", "10.0.0.0/8"); /* whoever asks, whatever the range */
        assert_string_equal(extracted(addresses[i]), "192.0.2.33");
        assert_string_equal(extracted("2001:db9::1"), "none");
    }
}

/* rfc: 6052-2.2-b, 6052-2.2-g */
static void bits_64_to_71_are_zero_and_the_suffix_is_ignored(void **state)
{
    (void)state;
    add_prefix(&rules, "2001:db8:122::/48", "::/0", "0.0.0.0/0");
    assert_string_equal(extracted("2001:db8:122:c000:2:2100:1:1"), "192.0.2.33");
    assert_string_equal(extracted("2001:db8:122:c000:102:2100::"), "none");
    /* In a /96 they are the prefix's, and zero. */
    forget(NULL);
    add_prefix(&rules, "2001:db8:122:344::/96", "::/0", "0.0.0.0/0");
    assert_string_equal(extracted("2001:db8:122:344:100::192.0.2.33"), "none");
}

static void the_longer_prefix_counts(void **state)
{
    (void)state;
    add_prefix(&rules, "2001:db8::/32", "::/0", "0.0.0.0/0");
    add_prefix(&rules, "2001:db8:c000:221::/96", "::/0", "0.0.0.0/0");
    add_prefix(&rules, "2001:db8:c000::/48", "::/0", "0.0.0.0/0");
    assert_string_equal(extracted("2001:db8:c000:221::"), "0.0.0.0");
    assert_string_equal(extracted("2001:db8:c000:222::"), "2.34.0.0");
    assert_string_equal(extracted("2001:db8:c001:222::"), "192.1.2.34");
}

static bool excludes(const char *address)
{
    struct ipv6_address at = ipv6(address);
    return rules_excludes_address(&rules, &at);
}

/* rfc: 6147-5.1.4-a */
static void addresses_are_excluded_by_network(void **state)
{
    (void)state;
    assert_false(excludes("::ffff:192.0.2.1"));
    rules.excluded[rules.excluded_count++] = network("::ffff:0:0/96");
    rules.excluded[rules.excluded_count++] = network("2001:db8:bad::/48");
    assert_true(excludes("::ffff:192.0.2.1"));
    assert_true(excludes("2001:db8:bad:1::1"));
    assert_false(excludes("2001:db8:bae::1"));
    assert_false(excludes("::fffe:192.0.2.1"));
}

static bool exempt(const char *name)
{
    struct dns_name one = name_of(name);
    return rules_excludes_name(&rules, &one);
}

static void names_are_exempt_with_all_below_them(void **state)
{
    struct dns_name names[] = {name_of("legacy.example"), name_of("b.example"), name_of("a.b.c.test"),
                               name_of("x")};
    (void)state;
    assert_false(exempt("legacy.example"));
    rules.names = names;
    rules.name_count = 4;
    rules_seal(&rules);
    assert_true(exempt("legacy.example"));
    assert_true(exempt("LEGACY.Example"));
    assert_true(exempt("www.legacy.example"));
    assert_true(exempt("a.b.c.d.b.example"));
    assert_true(exempt("www.x"));
    assert_false(exempt("notlegacy.example"));
    assert_false(exempt("legacy.example.test"));
    assert_false(exempt("example"));
    assert_false(exempt("b.c.test"));
    assert_false(exempt("."));
}

static void the_root_exempts_every_name(void **state)
{
    struct dns_name names[] = {name_of("."), name_of("example")};
    (void)state;
    rules.names = names;
    rules.name_count = 2;
    rules_seal(&rules);
    assert_true(exempt("."));
    assert_true(exempt("www.test"));
}

/* As many names as there can be, in no order, and each is found. */
static void a_long_list_of_names_is_searched(void **state)
{
    struct dns_name *names = calloc(RULES_NAMES, sizeof(*names));
    char text[64];
    (void)state;
    assert_non_null(names);
    for (unsigned i = 0; i < RULES_NAMES; i++) {
        snprintf(text, sizeof(text), "n%u.example", i * 7919 % 100003);
        names[i] = name_of(text);
    }
    rules.names = names;
    rules.name_count = RULES_NAMES;
    rules_seal(&rules);
    for (unsigned i = 0; i < RULES_NAMES; i++) {
        snprintf(text, sizeof(text), "www.n%u.example", i * 7919 % 100003);
        assert_true(exempt(text));
        snprintf(text, sizeof(text), "n%ux.example", i * 7919 % 100003);
        assert_false(exempt(text));
    }
    free(names);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(networks_of_every_length, forget),
        cmocka_unit_test_setup(ipv4_networks_stand_among_ipv6, forget),
        cmocka_unit_test_setup(a_view_is_the_prefixes_of_a_client, forget),
        cmocka_unit_test_setup(all_sixteen_prefixes_have_a_bit, forget),
        cmocka_unit_test_setup(addresses_of_all_six_lengths, forget),
        cmocka_unit_test_setup(ranges_of_ipv4_have_their_prefixes, forget),
        cmocka_unit_test_setup(a_prefix_in_several_entries_makes_one_address, forget),
        cmocka_unit_test_setup(the_well_known_prefix_carries_global_ipv4_only, forget),
        cmocka_unit_test_setup(ipv4_addresses_are_found_under_all_six_lengths, forget),
        cmocka_unit_test_setup(bits_64_to_71_are_zero_and_the_suffix_is_ignored, forget),
        cmocka_unit_test_setup(the_longer_prefix_counts, forget),
        cmocka_unit_test_setup(addresses_are_excluded_by_network, forget),
        cmocka_unit_test_setup(names_are_exempt_with_all_below_them, forget),
        cmocka_unit_test_setup(the_root_exempts_every_name, forget),
        cmocka_unit_test_setup(a_long_list_of_names_is_searched, forget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
