/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Permissions: against what the sessions themselves say, through their making, ending and expiry.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "engine/making.h"
#include "engine/permissions.h"
#include "engine/random.h"

enum {
    SESSIONS = 512,
    REMOTES = 6,
    PORTS = 4, /* of a remote; fewer than PERMISSION_ENTRIES, so that permission is exact */
    STEPS = 20000,
    POOL_PORT = 2000,
};

static struct table *table;
static struct actor actor;
static struct random dice;

static int open_table(void **state)
{
    (void)state;
    struct geometry geometry = {.sessions = SESSIONS, .addresses = 1, .workers = 1};
    table = table_create(&geometry, 5);
    assert_non_null(table);
    header_of(table)->instance[0].subscriber_prefix = 128;
    header_of(table)->filtered = 1;
    ports_allow(port_map_at(table, 0, TRANSPORT_UDP), POOL_PORT);
    actor = (struct actor){.table = table};
    dice = random_seed(3);
    return 0;
}

static int close_table(void **state)
{
    (void)state;
    table_destroy(table);
    return 0;
}

static unsigned roll(unsigned sides)
{
    return (unsigned)(random_next(&dice) % sides);
}

static struct key6 key_of(unsigned remote, unsigned port)
{
    return (struct key6){.client = {{0x20, 0x01, [15] = 1}},
                         .remote = to_be32(0xcb007100u + remote),
                         .client_port = to_be16(40000),
                         .remote_port = to_be16((uint16_t)(1 + port)),
                         .transport = TRANSPORT_UDP};
}

static bool find_binding(uint32_t tick, struct found *lead)
{
    return binding_find4(table, 0, TRANSPORT_UDP, to_be16(POOL_PORT), tick, lead);
}

static void open_session(unsigned remote, unsigned port, uint32_t tick, uint32_t expires)
{
    struct session_request request = {.key = key_of(remote, port),
                                      .pool = to_be32(0xc0000201u),
                                      .pool_port = to_be16(POOL_PORT),
                                      .tick = tick,
                                      .expires = expires,
                                      .sessions = SESSIONS};
    struct found lead, made;
    bool bound = find_binding(tick, &lead);
    if (bound || ports_take(port_map_at(table, 0, TRANSPORT_UDP), POOL_PORT))
        assert_int_equal(session_make(&actor, &request, bound ? &lead : NULL, &made), MADE);
}

static void sweep(uint32_t tick)
{
    for (uint32_t i = 0; i < records_used(table); i++) {
        uint64_t life = record_at(table, i)->life;
        if (life_phase(life) == PHASE_LIVE && life_expires(life) < tick)
            assert_true(session_end(&actor, i, life));
    }
}

static bool permitted(unsigned remote, uint32_t tick)
{
    struct found lead;
    return find_binding(tick, &lead) &&
           permission_granted(table, &lead.copy, to_be32(0xcb007100u + remote), tick);
}

static bool has_session(unsigned remote, unsigned port, uint32_t tick)
{
    struct key6 key = key_of(remote, port);
    struct found found;
    return session_find6(table, &key, hash_key6(table, &key), tick, &found);
}

static void compare(uint32_t tick)
{
    for (unsigned remote = 0; remote < REMOTES; remote++) {
        bool any = false;
        for (unsigned port = 0; port < PORTS; port++)
            any |= has_session(remote, port, tick);
        assert_int_equal(permitted(remote, tick), any);
    }
}

static void nothing_is_left(void)
{
    for (uint32_t i = 0; i < table->constants.buckets; i++) {
        const struct bucket *bucket = bucket_at(table, SEGMENT_BINDINGS, i);
        assert_int_equal(bucket->strays, 0);
        for (unsigned j = 0; j < BUCKET_SLOTS; j++)
            assert_int_equal(bucket->slot[j], 0);
    }
}

/* rfc: 6146-3.5.1-g, 4787-REQ8-a */
static void an_address_is_permitted_as_long_as_it_has_a_session(void **state)
{
    (void)state;
    uint32_t tick = 100;
    for (unsigned i = 0; i < STEPS; i++) {
        unsigned remote = roll(REMOTES), port = roll(PORTS);
        if (!has_session(remote, port, tick))
            open_session(remote, port, tick, tick + roll(40));
        if (roll(4) == 0)
            tick++;
        if (roll(32) == 0)
            tick += 30;
        if (roll(16) == 0)
            sweep(tick);
        compare(tick);
    }
    sweep(tick + 1000);
    compare(tick + 1000);
    nothing_is_left();
}

/* Ports as a scan has them: few are entered, and those that live longest. */
static void many_sessions_with_one_address_take_few_places(void **state)
{
    (void)state;
    open_session(0, 0, 100, 1000);
    for (unsigned port = 0; port < 300; port++)
        open_session(1, port, 100, 200 + port);
    struct found lead;
    assert_true(find_binding(100, &lead));
    unsigned entries = 0;
    uint64_t hash = permission_hash(table, &lead.copy, to_be32(0xcb007101u));
    struct index_walk walk = index_start(table, SEGMENT_BINDINGS, hash);
    for (uint64_t slot = index_next(table, &walk); slot != 0; slot = index_next(table, &walk))
        entries++;
    assert_int_equal(entries, PERMISSION_ENTRIES);
    assert_true(permitted(1, 499));
    assert_false(permitted(1, 500));
    sweep(2000);
    nothing_is_left();
}

static void sessions_older_than_the_filter_are_entered_when_it_begins(void **state)
{
    (void)state;
    static struct settings settings = {.nat64_count = 1};
    header_of(table)->filtered = 0;
    for (unsigned remote = 0; remote < REMOTES; remote++)
        open_session(remote, 0, 100, 200);
    assert_true(permitted(0, 100)); /* the binding's first */
    assert_false(permitted(1, 100));
    permissions_begin(table, &settings);
    assert_false(permitted(1, 100));
    settings.nat64[0].filtering = FILTERING_ADDRESS_DEPENDENT;
    permissions_begin(table, &settings);
    permissions_begin(table, &settings);
    compare(100);
    sweep(1000);
    nothing_is_left();
}

static void without_a_filter_nothing_is_entered(void **state)
{
    (void)state;
    header_of(table)->filtered = 0;
    for (unsigned remote = 0; remote < REMOTES; remote++)
        open_session(remote, 0, 100, 200);
    unsigned entries = 0;
    for (uint32_t i = 0; i < table->constants.buckets; i++)
        for (unsigned j = 0; j < BUCKET_SLOTS; j++)
            entries += bucket_at(table, SEGMENT_BINDINGS, i)->slot[j] != 0;
    assert_int_equal(entries, 1);
}

#define ON_A_TABLE(test) cmocka_unit_test_setup_teardown(test, open_table, close_table)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_A_TABLE(an_address_is_permitted_as_long_as_it_has_a_session),
        ON_A_TABLE(many_sessions_with_one_address_take_few_places),
        ON_A_TABLE(sessions_older_than_the_filter_are_entered_when_it_begins),
        ON_A_TABLE(without_a_filter_nothing_is_entered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
