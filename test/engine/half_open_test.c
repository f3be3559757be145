/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Half-open sessions: how many there may be, which yields, and that no other session ever does.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "engine/making.h"

enum {
    SESSIONS = 1024,
    BOUND = SESSIONS / 4,
    FLOOD = 4 * SESSIONS,
    THREADS = 3,
    EACH = 3000,
    TICK = 100,
};

static struct table *table;

static int open_table(void **state)
{
    (void)state;
    struct geometry geometry = {.sessions = SESSIONS, .addresses = 1, .workers = THREADS};
    table = table_create(&geometry, 7);
    assert_non_null(table);
    header_of(table)->instance[0].subscriber_prefix = 128;
    for (unsigned port = 1024; port < 65536; port++)
        ports_allow(port_map_at(table, 0, TRANSPORT_TCP), (uint16_t)port);
    return 0;
}

static int close_table(void **state)
{
    (void)state;
    table_destroy(table);
    return 0;
}

static enum made open_in_state(struct actor *actor, unsigned client, uint8_t state, struct found *made)
{
    struct key6 key = {.client = {{0x20, 0x01, [12] = (uint8_t)actor->lane, [13] = (uint8_t)(client >> 16),
                                   [14] = (uint8_t)(client >> 8), [15] = (uint8_t)client}},
                       .remote = to_be32(0xcb007102u),
                       .client_port = to_be16(40000),
                       .remote_port = to_be16(80),
                       .transport = TRANSPORT_TCP};
    struct session_request request = {.key = key,
                                      .pool = to_be32(0xc0000201u),
                                      .tick = TICK,
                                      .expires = TICK + 240,
                                      .state = state,
                                      .sessions = SESSIONS};
    int port = ports_claim(port_map_at(table, 0, TRANSPORT_TCP), key.client_port, client);
    assert_true(port >= 0);
    request.pool_port = to_be16((uint16_t)port);
    return session_make(actor, &request, NULL, made);
}

static bool lives(const struct found *session)
{
    uint64_t life = atomic_load64(&record_at(table, session->index)->life);
    return life_phase(life) == PHASE_LIVE && life_generation(life) == life_generation(session->copy.life);
}

static int32_t half_open_sessions(void)
{
    int32_t count = 0;
    for (uint32_t i = 0; i < records_used(table); i++) {
        uint64_t life = atomic_load64(&record_at(table, i)->life);
        count += life_phase(life) == PHASE_LIVE && state_is_half_open(life_state(life));
    }
    return count;
}

static void answer(struct found *session)
{
    assert_true(session_touch(table, session, TICK + 7440, TCP_ESTABLISHED));
    session->copy.life = atomic_load64(&record_at(table, session->index)->life);
}

/* rfc: 6146-5.3-a */
static void a_flood_takes_a_quarter_and_the_oldest_yield(void **state)
{
    (void)state;
    static struct found made[FLOOD];
    struct actor actor = {.table = table};
    for (unsigned i = 0; i < FLOOD; i++) {
        assert_int_equal(open_in_state(&actor, i, i % 2 == 0 ? TCP_V6_INIT : TCP_V4_INIT, &made[i]), MADE);
        assert_true(half_open_count(table) <= BOUND);
        assert_int_equal(half_open_count(table), half_open_sessions());
    }
    unsigned alive = 0;
    while (alive < FLOOD && lives(&made[FLOOD - 1 - alive]))
        alive++;
    assert_in_range(alive, BOUND * 7 / 8, BOUND);
    assert_int_equal(half_open_count(table), alive); /* so none but the youngest */
    assert_int_equal(actor.half_open_evicted, FLOOD - alive);
}

static void an_established_session_never_yields(void **state)
{
    (void)state;
    static struct found answered[BOUND];
    struct found made;
    struct actor actor = {.table = table};
    for (unsigned i = 0; i < BOUND; i++) {
        assert_int_equal(open_in_state(&actor, 2 * i, TCP_V6_INIT, &answered[i]), MADE);
        assert_int_equal(open_in_state(&actor, 2 * i + 1, TCP_V6_INIT, &made), MADE);
        answer(&answered[i]);
    }
    for (unsigned i = 0; i < FLOOD; i++)
        assert_int_equal(open_in_state(&actor, 100000 + i, TCP_V6_INIT, &made), MADE);
    for (unsigned i = 0; i < BOUND; i++)
        assert_true(lives(&answered[i]));
    assert_int_equal(half_open_count(table), half_open_sessions());
    assert_true(half_open_count(table) <= BOUND);
}

static void a_slow_one_is_left_alone_while_there_are_few(void **state)
{
    (void)state;
    struct found slow, made;
    struct actor actor = {.table = table};
    assert_int_equal(open_in_state(&actor, 0, TCP_V6_INIT, &slow), MADE);
    for (unsigned i = 1; i < 10 * SESSIONS; i++) {
        assert_int_equal(open_in_state(&actor, i, TCP_V6_INIT, &made), MADE);
        answer(&made);
        assert_true(session_end(&actor, made.index, made.copy.life));
    }
    assert_true(lives(&slow));
    assert_int_equal(half_open_count(table), 1);
    assert_int_equal(actor.half_open_evicted, 0);
}

/* The next victim is as far away as it can be: behind a whole ring of answered ones. */
static void a_row_of_answered_ones_does_not_lift_the_bound(void **state)
{
    (void)state;
    struct found made;
    struct actor actor = {.table = table};
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(open_in_state(&actor, i, TCP_V6_INIT, &made), MADE);
    for (unsigned i = 10; i < 10 + 2 * BOUND; i++) {
        assert_int_equal(open_in_state(&actor, i, TCP_V6_INIT, &made), MADE);
        answer(&made);
        assert_true(session_end(&actor, made.index, made.copy.life));
    }
    for (unsigned i = 100000; i < 100000 + FLOOD; i++) {
        (void)open_in_state(&actor, i, TCP_V6_INIT, &made);
        assert_true(half_open_count(table) <= BOUND);
    }
    assert_int_equal(half_open_count(table), half_open_sessions());
    assert_true(half_open_count(table) > BOUND * 7 / 8);
}

static void a_reopened_session_counts_again(void **state)
{
    (void)state;
    struct found made;
    struct actor actor = {.table = table};
    assert_int_equal(open_in_state(&actor, 0, TCP_V6_INIT, &made), MADE);
    answer(&made);
    assert_int_equal(half_open_count(table), 0);
    assert_true(session_touch(table, &made, TICK + 240, TCP_V6_INIT));
    assert_int_equal(half_open_count(table), 1);
    assert_false(session_touch(table, &made, TICK + 241, TCP_V6_INIT)); /* the copy is of before */
    assert_int_equal(half_open_count(table), 1);
    assert_true(session_end(&actor, made.index, atomic_load64(&record_at(table, made.index)->life)));
    assert_int_equal(half_open_count(table), 0);
}

static void what_is_not_made_gives_its_place_back(void **state)
{
    (void)state;
    struct found made;
    struct actor actor = {.table = table};
    assert_int_equal(open_in_state(&actor, 0, TCP_V6_INIT, &made), MADE);
    assert_int_equal(open_in_state(&actor, 0, TCP_V6_INIT, &made), MADE_LOOK_AGAIN);
    assert_int_equal(half_open_count(table), 1);
    assert_int_equal(port_map_at(table, 0, TRANSPORT_TCP)->used, 1);
}

static void *flood(void *context)
{
    struct actor *actor = context;
    struct found made;
    for (unsigned i = 0; i < EACH; i++) {
        enum made result = open_in_state(actor, i, TCP_V6_INIT, &made);
        assert_true(result == MADE || result == MADE_TABLE_FULL);
        assert_true(half_open_count(table) <= BOUND + THREADS); /* places taken to be given back at once */
        if (i % 5 == 0 && result == MADE)
            (void)session_touch(table, &made, TICK + 240, TCP_TRANS);
        uint64_t life = atomic_load64(&record_at(table, made.index)->life);
        if (i % 5 == 0 && result == MADE && life_state(life) == TCP_TRANS)
            (void)session_end(actor, made.index, life);
    }
    return NULL;
}

static void several_at_once(void **state)
{
    (void)state;
    pthread_t thread[THREADS];
    struct actor actor[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        actor[i] = (struct actor){.table = table, .lane = i};
        assert_int_equal(pthread_create(&thread[i], NULL, flood, &actor[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    assert_int_equal(half_open_count(table), half_open_sessions());
    assert_true(half_open_count(table) <= BOUND);
    assert_true(half_open_count(table) > BOUND / 2);
}

#define ON_A_TABLE(test) cmocka_unit_test_setup_teardown(test, open_table, close_table)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_A_TABLE(a_flood_takes_a_quarter_and_the_oldest_yield),
        ON_A_TABLE(an_established_session_never_yields),
        ON_A_TABLE(a_slow_one_is_left_alone_while_there_are_few),
        ON_A_TABLE(a_row_of_answered_ones_does_not_lift_the_bound),
        ON_A_TABLE(a_reopened_session_counts_again),
        ON_A_TABLE(what_is_not_made_gives_its_place_back),
        ON_A_TABLE(several_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
