/* SPDX-License-Identifier: BSD-2-Clause */
/* Advertisements byte by byte, as RFC 4861 section 4.2, RFC 8781 section 4 and RFC 8106 section 5.1 draw
 * them; and which solicitations are heard. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "dns64/advertisement.h"

static const struct rfc6052_prefix well_known = {.address = {{0x00, 0x64, 0xff, 0x9b}}, .length = 96};
static const struct rfc6052_prefix own = {.address = {{0x20, 0x01, 0x0d, 0xb8, 0x00, 0x64}}, .length = 96};
static const struct ipv6_address server = {{0x20, 0x01, 0x0d, 0xb8, [15] = 0x53}};
static const struct ipv6_address other_server = {{0xfe, 0x80, [15] = 0x53}};

static void assert_message(const struct advertisement *advertisement, const uint8_t *expected, size_t length)
{
    uint8_t message[ADVERTISEMENT_SIZE];
    memset(message, 0xa5, sizeof(message));
    assert_int_equal(advertisement_write(advertisement, message), length);
    assert_memory_equal(message, expected, length);
}

static void nothing_but_the_header(void **state)
{
    const struct advertisement none = {.lifetime = 600};
    const uint8_t expected[] = {134, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
    (void)state;
    assert_message(&none, expected, sizeof(expected));
}

/* rfc: 8781-4-a, 8781-4-d */
static void everything_once(void **state)
{
    struct advertisement all = {
        .lifetime = 600, .has_link_address = true, .link_address = {0x02, 0, 0, 0, 0, 0x01}};
    const uint8_t expected[] = {
        134,  0,    0,    0,    0, 0,    0,    0,    0, 0, 0, 0, 0, 0, 0, 0, /* router lifetime 0 */
        1,    1,    0x02, 0,    0, 0,    0,    1,                            /* source link-layer address */
        38,   2,    0x02, 0x58, 0, 0x64, 0xff, 0x9b,                         /* 600 / 8 = 75 = 0x4b, << 3 */
        0,    0,    0,    0,    0, 0,    0,    0,                            /* bits 32 to 95 */
        25,   5,    0,    0,    0, 0,    0x02, 0x58,                         /* 600 s, two addresses */
        0x20, 0x01, 0x0d, 0xb8, 0, 0,    0,    0,    0, 0, 0, 0, 0, 0, 0, 0x53, /* */
        0xfe, 0x80, 0,    0,    0, 0,    0,    0,    0, 0, 0, 0, 0, 0, 0, 0x53,
    };
    (void)state;
    advertisement_add_prefix(&all, &well_known);
    advertisement_add_server(&all, &server);
    advertisement_add_server(&all, &other_server);
    advertisement_add_prefix(&all, &well_known); /* once is enough */
    advertisement_add_server(&all, &server);
    assert_message(&all, expected, sizeof(expected));
}

/* rfc: 8781-4.1-b */
static void a_default_router(void **state)
{
    const struct advertisement small = {.router_lifetime = 1800, .lifetime = 1800},
                               large = {.router_lifetime = 65528, .lifetime = 65528};
    const uint8_t expected_small[16] = {134, [6] = 0x07, [7] = 0x08},
                  expected_large[16] = {134, [6] = 0x23, [7] = 0x28}; /* 9000 */
    (void)state;
    assert_message(&small, expected_small, sizeof(expected_small));
    assert_message(&large, expected_large, sizeof(expected_large));
}

/* The fields of the only option. */
static unsigned lifetime_and_code(uint32_t lifetime, const struct rfc6052_prefix *prefix)
{
    struct advertisement one = {.lifetime = lifetime};
    uint8_t message[ADVERTISEMENT_SIZE];
    advertisement_add_prefix(&one, prefix);
    assert_int_equal(advertisement_write(&one, message), 32);
    assert_int_equal(message[16], 38);
    assert_int_equal(message[17], 2);
    assert_memory_equal(message + 20, prefix->address.bytes, 12);
    return (unsigned)message[18] << 8 | message[19];
}

/* rfc: 8781-4.1-f, 8781-4.1-g */
static void lifetimes_are_rounded_up(void **state)
{
    static const struct {
        uint32_t seconds;
        unsigned units;
    } cases[] = {{0, 0},        {1, 1},        {7, 1},        {8, 1},        {9, 2},
                 {600, 75},     {601, 76},     {1800, 225},   {65520, 8190}, {65521, 8191},
                 {65528, 8191}, {65529, 8191}, {100000, 8191}};
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(lifetime_and_code(cases[i].seconds, &well_known), cases[i].units << 3);
}

/* rfc: 8781-4-d */
static void lengths_have_codes(void **state)
{
    static const struct {
        uint8_t length;
        unsigned code;
    } cases[] = {{96, 0}, {64, 1}, {56, 2}, {48, 3}, {40, 4}, {32, 5}};
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct rfc6052_prefix prefix = {.address = {{0x20, 0x01, 0x0d, 0xb8}}, .length = cases[i].length};
        assert_int_equal(lifetime_and_code(65528, &prefix), 0xfff8 | cases[i].code);
    }
}

static void the_last_one_ends_it_all(void **state)
{
    struct advertisement all = {.router_lifetime = 600, .lifetime = 600};
    const uint8_t expected[] = {
        134,  0,    0,    0,    0, 0,    0,    0,    0, 0, 0, 0, 0, 0, 0, 0, /* */
        38,   2,    0,    0,    0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, /* */
        25,   3,    0,    0,    0, 0,    0,    0,                            /* */
        0x20, 0x01, 0x0d, 0xb8, 0, 0,    0,    0,    0, 0, 0, 0, 0, 0, 0, 0x53,
    };
    (void)state;
    advertisement_add_prefix(&all, &well_known);
    advertisement_add_server(&all, &server);
    const struct advertisement last = advertisement_final(&all);
    assert_message(&last, expected, sizeof(expected));
}

static void what_has_gone_is_withdrawn(void **state)
{
    struct advertisement old = {.lifetime = 600}, new = {.lifetime = 600};
    const uint8_t expected[] = {
        134,  0,    0,    0,    0,    0,    0,    0,    0, 0,    0, 0, 0, 0, 0, 0,    /* */
        38,   2,    0x02, 0x58, 0x20, 0x01, 0x0d, 0xb8, 0, 0x64, 0, 0, 0, 0, 0, 0,    /* stays */
        38,   2,    0,    0,    0,    0x64, 0xff, 0x9b, 0, 0,    0, 0, 0, 0, 0, 0,    /* goes */
        25,   3,    0,    0,    0,    0,    0x02, 0x58,                               /* came */
        0xfe, 0x80, 0,    0,    0,    0,    0,    0,    0, 0,    0, 0, 0, 0, 0, 0x53, /* */
        25,   3,    0,    0,    0,    0,    0,    0,                                  /* goes */
        0x20, 0x01, 0x0d, 0xb8, 0,    0,    0,    0,    0, 0,    0, 0, 0, 0, 0, 0x53, /* */
    };
    (void)state;
    advertisement_add_prefix(&old, &well_known);
    advertisement_add_prefix(&old, &own);
    advertisement_add_server(&old, &server);
    advertisement_add_prefix(&new, &own);
    advertisement_add_server(&new, &other_server);
    advertisement_withdraw(&new, &old);
    assert_message(&new, expected, sizeof(expected));
    advertisement_forget_withdrawn(&new);
    assert_int_equal(new.prefix_count, 1);
    assert_int_equal(new.prefixes[0].prefix.address.bytes[5], 0x64);
    assert_int_equal(new.server_count, 1);
    assert_memory_equal(&new.servers[0].address, &other_server, 16);
}

/* What is announced again was not withdrawn for good. */
static void what_comes_back_is_announced(void **state)
{
    struct advertisement withdrawn = {.lifetime = 600}, old = {.lifetime = 600}, new = {.lifetime = 600};
    (void)state;
    advertisement_add_prefix(&old, &well_known);
    advertisement_withdraw(&withdrawn, &old);
    assert_true(withdrawn.prefixes[0].withdrawn);
    advertisement_add_prefix(&new, &well_known);
    advertisement_withdraw(&new, &withdrawn);
    assert_int_equal(new.prefix_count, 1);
    assert_false(new.prefixes[0].withdrawn);
    advertisement_add_prefix(&withdrawn, &well_known);
    assert_int_equal(withdrawn.prefix_count, 1);
    assert_false(withdrawn.prefixes[0].withdrawn);
    advertisement_add_server(&withdrawn, &server);
    withdrawn.servers[0].withdrawn = true;
    advertisement_add_server(&withdrawn, &server);
    assert_int_equal(withdrawn.server_count, 1);
    assert_false(withdrawn.servers[0].withdrawn);
}

static void more_than_there_is_room_for(void **state)
{
    struct advertisement full = {.lifetime = 600, .has_link_address = true};
    uint8_t message[ADVERTISEMENT_SIZE];
    (void)state;
    for (uint8_t i = 0; i < 100; i++) {
        const struct rfc6052_prefix prefix = {.address = {{0x20, 0x01, i}}, .length = 32};
        const struct ipv6_address address = {{0x20, 0x01, i}};
        advertisement_add_prefix(&full, &prefix);
        advertisement_add_server(&full, &address);
    }
    full.servers[0].withdrawn = true; /* so that there are two options of servers */
    assert_int_equal(full.prefix_count, ADVERTISED_PREFIXES);
    assert_int_equal(full.server_count, ADVERTISED_SERVERS);
    assert_int_equal(advertisement_write(&full, message), ADVERTISEMENT_SIZE);
}

static const struct ipv6_address all_routers = {{0xff, 0x02, [15] = 0x02}};
static const struct ipv6_address all_nodes = {{0xff, 0x02, [15] = 0x01}};
static const struct ipv6_address host = {{0xfe, 0x80, [15] = 0x02}};
static const struct ipv6_address nobody;

/* A solicitation with the source's link-layer address, of which `change` makes another. */
static bool heard(size_t length, size_t at, uint8_t value)
{
    uint8_t message[24] = {133, [8] = 1, [9] = 1, [10] = 2, [16] = 200, [17] = 1};
    message[at] = value;
    const struct discovery solicitation = {
        .message = message, .length = length, .source = host, .destination = all_routers, .hop_limit = 255};
    return solicitation_valid(&solicitation);
}

static void solicitations_of_the_right_form(void **state)
{
    (void)state;
    assert_true(heard(8, 0, 133));
    assert_true(heard(16, 0, 133));
    assert_true(heard(24, 0, 133)); /* an option that nobody knows */
    assert_true(heard(8, 4, 0xff)); /* the reserved field is ignored */
    assert_false(heard(0, 0, 133));
    assert_false(heard(7, 0, 133));
    assert_false(heard(9, 0, 133));  /* half an option's header */
    assert_false(heard(15, 0, 133)); /* an option that is cut off */
    assert_false(heard(16, 9, 2));   /* one that says it is longer */
    assert_false(heard(16, 9, 0));   /* one without length */
    assert_false(heard(16, 1, 1));   /* a code */
    assert_false(heard(16, 0, 134)); /* another type */
}

static bool heard_from(const struct ipv6_address *source, const struct ipv6_address *destination,
                       size_t length, int hop_limit)
{
    static const uint8_t message[16] = {133, [8] = 1, [9] = 1, [10] = 2};
    const struct discovery solicitation = {.message = message,
                                           .length = length,
                                           .source = *source,
                                           .destination = *destination,
                                           .hop_limit = hop_limit};
    return solicitation_valid(&solicitation);
}

static void solicitations_from_the_link(void **state)
{
    (void)state;
    assert_true(heard_from(&host, &all_routers, 16, 255));
    assert_true(heard_from(&host, &host, 16, 255)); /* to one router */
    assert_false(heard_from(&host, &all_routers, 16, 254));
    assert_false(heard_from(&host, &all_routers, 16, 0));
    assert_true(heard_from(&nobody, &all_routers, 8, 255));
    assert_false(heard_from(&nobody, &all_routers, 16, 255)); /* with a link-layer address */
    assert_false(heard_from(&nobody, &all_nodes, 8, 255));
    assert_false(heard_from(&nobody, &host, 8, 255));
}

/* An advertisement with a router lifetime of 1800 s but for one byte. */
static bool offers(const struct ipv6_address *source, size_t length, size_t at, uint8_t value)
{
    uint8_t message[24] = {134, [6] = 0x07, [7] = 0x08, [16] = 1, [17] = 1};
    message[at] = value;
    const struct discovery advertisement = {
        .message = message, .length = length, .source = *source, .destination = all_nodes, .hop_limit = 255};
    return discovery_offers_route(&advertisement);
}

static void who_offers_a_default_route(void **state)
{
    uint8_t message[16] = {134, [7] = 1};
    const struct discovery near = {.message = message, .length = 16, .source = host, .hop_limit = 255},
                           far = {.message = message, .length = 16, .source = host, .hop_limit = 254};
    (void)state;
    assert_true(offers(&host, 24, 0, 134));
    assert_true(offers(&host, 16, 0, 134));
    assert_true(offers(&host, 16, 7, 0)); /* 1792 s */
    assert_true(offers(&host, 16, 6, 0)); /* 8 s */
    assert_true(discovery_offers_route(&near));
    assert_false(discovery_offers_route(&far));
    message[7] = 0;
    assert_false(discovery_offers_route(&near));
    assert_false(offers(&server, 16, 0, 134)); /* not from a link-local address */
    assert_false(offers(&host, 15, 0, 134));
    assert_false(offers(&host, 16, 1, 1));
    assert_false(offers(&host, 16, 0, 133));
    assert_false(offers(&host, 24, 17, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_but_the_header),
        cmocka_unit_test(everything_once),
        cmocka_unit_test(a_default_router),
        cmocka_unit_test(lifetimes_are_rounded_up),
        cmocka_unit_test(lengths_have_codes),
        cmocka_unit_test(the_last_one_ends_it_all),
        cmocka_unit_test(what_has_gone_is_withdrawn),
        cmocka_unit_test(what_comes_back_is_announced),
        cmocka_unit_test(more_than_there_is_room_for),
        cmocka_unit_test(solicitations_of_the_right_form),
        cmocka_unit_test(solicitations_from_the_link),
        cmocka_unit_test(who_offers_a_default_route),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
