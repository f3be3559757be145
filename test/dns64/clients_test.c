/* SPDX-License-Identifier: BSD-2-Clause */
/* Who may ask, and how often: networks against a search of all of them, rates in a time of our own. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>

#include "dns64/clients.h"
#include "engine/random.h"

#define SECOND 1000000000ull

static const uint64_t key[2] = {0x0123456789abcdefull, 0xfedcba9876543210ull};

static struct ipv6_address address_of(const char *text)
{
    struct ipv6_address address;
    if (inet_pton(AF_INET6, text, &address) != 1)
        fail_msg("no address: %s", text);
    return address;
}

/*** Networks ***/

static struct clients clients, all;

static void add(const char *text, uint8_t length)
{
    clients.networks[clients.count++] = (struct rules_network){address_of(text), length};
}

static void require_allowed(const char *text, bool allowed)
{
    struct ipv6_address address = address_of(text);
    if (clients_allow(&clients, &address) != allowed)
        fail_msg("%s is %sallowed", text, allowed ? "not " : "");
}

static void nobody_without_networks(void **state)
{
    (void)state;
    clients.count = 0;
    clients_seal(&clients);
    require_allowed("::1", false);
    require_allowed("::", false);
    require_allowed("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false);
}

static void edges_of_networks(void **state)
{
    (void)state;
    clients.count = 0;
    add("2001:db8:1::", 48);
    add("::1", 128);
    add("2001:db8:0:fff0::", 60);
    add("::ffff:192.0.2.0", 120);
    clients_seal(&clients);
    assert_int_equal(clients.count, 4);
    require_allowed("::", false);
    require_allowed("::1", true);
    require_allowed("::2", false);
    require_allowed("2001:db8:0:ffef:ffff:ffff:ffff:ffff", false);
    require_allowed("2001:db8:0:fff0::", true);
    require_allowed("2001:db8:0:ffff:ffff:ffff:ffff:ffff", true);
    require_allowed("2001:db8:1::", true);
    require_allowed("2001:db8:1:ffff:ffff:ffff:ffff:ffff", true);
    require_allowed("2001:db8:2::", false);
    require_allowed("::ffff:192.0.1.255", false);
    require_allowed("::ffff:192.0.2.0", true);
    require_allowed("::ffff:192.0.2.255", true);
    require_allowed("::ffff:192.0.3.0", false);
}

static void networks_inside_others_are_merged(void **state)
{
    (void)state;
    clients.count = 0;
    add("2001:db8:5::1", 128);
    add("2001:db8::", 32);
    add("2001:db8::", 48);
    add("2001:db8::", 32);
    add("2001:db8:ffff:ffff::", 64);
    add("2001:db9::", 32);
    clients_seal(&clients);
    assert_int_equal(clients.count, 2);
    require_allowed("2001:db8:5::1", true);
    require_allowed("2001:db8:5::2", true);
    require_allowed("2001:db9:ffff::", true);
    require_allowed("2001:dba::", false);
    add("::", 0);
    clients_seal(&clients);
    assert_int_equal(clients.count, 1);
    require_allowed("::", true);
    require_allowed("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", true);
}

/* An address of few different bytes, so that networks meet. */
static struct ipv6_address crowded_address(struct random *random)
{
    struct ipv6_address address = {{0}};
    for (size_t i = 0; i < 16; i++)
        address.bytes[i] = (uint8_t)(random_next(random) % 3 * 0x7f);
    return address;
}

static struct rules_network crowded_network(struct random *random)
{
    struct rules_network network = {crowded_address(random), (uint8_t)(8 + random_next(random) % 121)};
    for (unsigned bit = network.length; bit < 128; bit++)
        network.address.bytes[bit / 8] &= (uint8_t) ~(0x80u >> bit % 8);
    return network;
}

static bool in_any(const struct ipv6_address *address)
{
    for (uint32_t i = 0; i < all.count; i++)
        if (rules_network_contains(&all.networks[i], address))
            return true;
    return false;
}

static void same_as_searching_all(void **state)
{
    struct random random = random_seed(5);
    unsigned allowed = 0, refused = 0;
    (void)state;
    for (unsigned round = 0; round < 200; round++) {
        all.count = (uint32_t)(1 + random_next(&random) % (round == 0 ? CLIENTS_NETWORKS : 40));
        for (uint32_t i = 0; i < all.count; i++)
            all.networks[i] = crowded_network(&random);
        clients = all;
        clients_seal(&clients);
        for (unsigned i = 0; i < 500; i++) {
            struct ipv6_address address = i < all.count ? all.networks[i].address : crowded_address(&random);
            bool expected = in_any(&address);
            assert_int_equal(clients_allow(&clients, &address), expected);
            allowed += expected;
            refused += !expected;
        }
    }
    assert_true(allowed > 1000 && refused > 1000);
}

/*** Rates ***/

static struct rates *rates;

static int make_rates(void **state)
{
    (void)state;
    rates = rates_create(key);
    return rates == NULL;
}

static int free_rates(void **state)
{
    (void)state;
    rates_destroy(rates);
    return 0;
}

/* Of `n` answers at one time, how many are given. */
static unsigned take(const char *client, unsigned n, uint32_t rate, uint64_t now)
{
    struct ipv6_address address = address_of(client);
    unsigned given = 0;
    for (unsigned i = 0; i < n; i++)
        given += rates_take(rates, &address, rate, now);
    return given;
}

static void a_second_at_once_and_no_more(void **state)
{
    static const uint32_t some[] = {1, 2, 3, 7, 1000, 999999};
    (void)state;
    for (size_t i = 0; i < sizeof(some) / sizeof(some[0]); i++) {
        char client[32];
        snprintf(client, sizeof(client), "2001:db8:0:%zx::1", i);
        assert_int_equal(take(client, some[i] + 10, some[i], 5 * SECOND), some[i]);
        assert_int_equal(take(client, 1, some[i], 5 * SECOND), 0);
        assert_int_equal(take(client, some[i] + 10, some[i], 500 * SECOND), some[i]);
    }
}

static void nothing_is_limited_without_a_rate(void **state)
{
    (void)state;
    assert_int_equal(take("2001:db8::1", 5000, 0, 0), 5000);
    assert_int_equal(take("2001:db8::1", 5000, UINT32_MAX, 0), 5000);
}

static void it_comes_back_evenly(void **state)
{
    uint64_t now = SECOND;
    (void)state;
    assert_int_equal(take("2001:db8::1", 100, 10, now), 10);
    assert_int_equal(take("2001:db8::1", 100, 10, now + SECOND / 10 - 1), 0);
    assert_int_equal(take("2001:db8::1", 100, 10, now + SECOND / 10), 1);
    assert_int_equal(take("2001:db8::1", 100, 10, now + SECOND / 2), 4);
    assert_int_equal(take("2001:db8::1", 100, 10, now + 3 * SECOND / 2), 10);
    assert_int_equal(take("2001:db8::1", 100, 10, now + 100 * SECOND), 10);
}

/* What was refused is not counted: who asks too often still gets what it may have. */
static void refusals_cost_nothing(void **state)
{
    unsigned given = 0;
    (void)state;
    for (unsigned i = 0; i <= 10000; i++)
        given += take("2001:db8::1", 1, 100, SECOND + i * (SECOND / 1000));
    assert_int_equal(given, 100 + 10 * 100);
}

static void clients_are_told_apart(void **state)
{
    (void)state;
    assert_int_equal(take("2001:db8::1", 5, 5, 0), 5);
    assert_int_equal(take("2001:db8::ffff:0:0:1", 1, 5, 0), 0); /* the same /64 */
    assert_int_equal(take("2001:db8:0:1::1", 5, 5, 0), 5);
    assert_int_equal(take("::ffff:192.0.2.1", 5, 5, 0), 5);
    assert_int_equal(take("::ffff:192.0.2.1", 1, 5, 0), 0);
    assert_int_equal(take("::ffff:192.0.2.2", 5, 5, 0), 5);
    assert_int_equal(take("fe80::1", 5, 5, 0), 5);
    assert_int_equal(take("fe80::1", 1, 5, 0), 0);
    assert_int_equal(take("fe80::2", 5, 5, 0), 5);
    assert_int_equal(take("fe80::1", 1, 5, 0), 0);
}

/* The same half of an address of another kind is another client: an interface identifier is free to choose.
 */
static void nobody_is_aimed_at(void **state)
{
    (void)state;
    assert_int_equal(take("fe80::2001:db8:1:2", 5, 5, 0), 5);
    assert_int_equal(take("2001:db8:1:2::1", 5, 5, 0), 5);
    assert_int_equal(take("fe80::ffff:c000:201", 5, 5, 0), 5);
    assert_int_equal(take("::ffff:192.0.2.1", 5, 5, 0), 5);
}

/* Workers read the clock before they come here, so one may be behind. */
static void a_clock_that_is_behind_gains_nothing(void **state)
{
    (void)state;
    assert_int_equal(take("2001:db8::1", 10, 10, 5 * SECOND), 10);
    assert_int_equal(take("2001:db8::1", 10, 10, 5 * SECOND - 1000), 0);
    assert_int_equal(take("2001:db8::1", 10, 10, 4 * SECOND), 0);
    assert_int_equal(take("2001:db8::1", 20, 10, 6 * SECOND), 10);
}

static void a_rate_may_change(void **state)
{
    (void)state;
    assert_int_equal(take("2001:db8::1", 1000, 1000, SECOND), 1000);
    assert_int_equal(take("2001:db8::1", 1, 1, SECOND), 0);
    assert_int_equal(take("2001:db8::1", 5, 1, 2 * SECOND), 1);
    assert_int_equal(take("2001:db8::1", 5000, 1000, 3 * SECOND), 1000);
}

/* Two clients may share a word, but a thousand do not share a few. */
static void words_are_spread(void **state)
{
    unsigned fresh = 0;
    (void)state;
    for (unsigned i = 0; i < 1000; i++) {
        char client[32];
        snprintf(client, sizeof(client), "2001:db8:%x::1", i);
        fresh += take(client, 1, 1, 0);
    }
    assert_true(fresh > 970); /* 992 are expected, 2.7 the standard deviation */
}

enum { THREADS = 4, RATE = 5000, STEPS = 200 };

static void *take_at_once(void *argument)
{
    uint64_t *given = argument;
    struct ipv6_address address = address_of("2001:db8::1");
    for (unsigned step = 0; step < STEPS; step++)
        for (unsigned i = 0; i < RATE / 100; i++)
            *given += rates_take(rates, &address, RATE, step * (SECOND / 100));
    return NULL;
}

/* Each thread by itself asks as often as is allowed; together they get what one would. */
static void threads_share_a_rate(void **state)
{
    pthread_t threads[THREADS];
    uint64_t given[THREADS] = {0}, sum = 0;
    (void)state;
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_at_once, &given[i]), 0);
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        sum += given[i];
    }
    /* Two seconds but for a step, and the second that may come at once. */
    assert_true(sum <= RATE + RATE / 100 * (STEPS - 1));
    assert_true(sum >= RATE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_without_networks),
        cmocka_unit_test(edges_of_networks),
        cmocka_unit_test(networks_inside_others_are_merged),
        cmocka_unit_test(same_as_searching_all),
        cmocka_unit_test_setup_teardown(a_second_at_once_and_no_more, make_rates, free_rates),
        cmocka_unit_test_setup_teardown(nothing_is_limited_without_a_rate, make_rates, free_rates),
        cmocka_unit_test_setup_teardown(it_comes_back_evenly, make_rates, free_rates),
        cmocka_unit_test_setup_teardown(refusals_cost_nothing, make_rates, free_rates),
        cmocka_unit_test_setup_teardown(clients_are_told_apart, make_rates, free_rates),
        cmocka_unit_test_setup_teardown(nobody_is_aimed_at, make_rates, free_rates),
        cmocka_unit_test_setup_teardown(a_clock_that_is_behind_gains_nothing, make_rates, free_rates),
        cmocka_unit_test_setup_teardown(a_rate_may_change, make_rates, free_rates),
        cmocka_unit_test_setup_teardown(words_are_spread, make_rates, free_rates),
        cmocka_unit_test_setup_teardown(threads_share_a_rate, make_rates, free_rates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
