/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sessions made at once by the kernel's programs on two processors and by the engine
 * (test/plane/bpf_crowd.h): what only one may get only one gets, and what nobody uses any more can be used
 * again. Each test looks through the whole table again and again, and at last, when all sessions are past
 * their lifetime, finds it empty.
 *
 *     bpf_crowd_test OBJECT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "engine/random.h"
#include "test/plane/bpf_crowd.h"

enum {
    ROUNDS = 100,
    FLOWS = 24, /* of an actor in a round */
    MANY = CROWD_SESSIONS * 2,
    FIRST_PORT = 2000,
};

static const char *unavailable;

static void need_crowd(void)
{
    if (unavailable != NULL) {
        print_message("skipped: %s\n", unavailable);
        skip();
    }
}

/* What the actors do in a round, and what became of it. */
static struct {
    unsigned flows; /* of each actor */
    struct crowd_packet packet[CROWD_ACTORS][MANY];
    struct crowd_outcome outcome[CROWD_ACTORS][MANY];
} step;

static void open_all(unsigned actor)
{
    for (unsigned i = 0; i < step.flows; i++)
        crowd_send(actor, &step.packet[actor][i], &step.outcome[actor][i]);
}

static unsigned count(enum verdict verdict)
{
    unsigned n = 0;
    for (unsigned actor = 0; actor < CROWD_ACTORS; actor++)
        for (unsigned i = 0; i < step.flows; i++)
            n += step.outcome[actor][i].verdict == verdict;
    return n;
}

/* So many packets have met this verdict; if not, what the others have met is printed. */
static void expect_verdicts(enum verdict verdict, unsigned n)
{
    for (unsigned actor = 0; actor < CROWD_ACTORS && count(verdict) != n; actor++)
        for (unsigned i = 0; i < step.flows; i++) {
            const struct crowd_outcome *outcome = &step.outcome[actor][i];
            if (outcome->verdict != verdict)
                print_message("# actor %u, packet %u: %s\n", actor, i,
                              outcome->verdict < VERDICT_COUNT ? verdict_texts[outcome->verdict].name
                                                               : "no verdict");
        }
    assert_int_equal(count(verdict), n);
}

static void expect_books(unsigned sessions, unsigned bindings)
{
    struct crowd_books books = crowd_audit();
    assert_int_equal(books.sessions, sessions);
    assert_int_equal(books.bindings, bindings);
}

/* --- the same flow, the same client's port ---------------------------------------------------------- */

/* All actors have the same clients' ports; they call one remote, or each its own. */
static void give_same_ports(unsigned round, bool own_remotes)
{
    step.flows = FLOWS;
    for (unsigned actor = 0; actor < CROWD_ACTORS; actor++)
        for (unsigned i = 0; i < FLOWS; i++)
            step.packet[actor][i] =
                (struct crowd_packet){.client = (uint16_t)(1 + i % 5),
                                      .client_port = (uint16_t)(FIRST_PORT + round * FLOWS + i),
                                      .remote = (uint16_t)(own_remotes ? 1 + actor : 1)};
}

static void expect_same_bindings(unsigned round)
{
    static unsigned handed_over; /* over all rounds, for want of agreement */
    handed_over = round == 0 ? 0 : handed_over;
    for (unsigned actor = 0; actor < CROWD_ACTORS; actor++)
        for (unsigned i = 0; i < FLOWS; i++)
            handed_over += step.outcome[actor][i].handed_over;
    if (round == ROUNDS - 1)
        print_message("# of %u packets %u were left to the engine\n", ROUNDS * CROWD_ACTORS * FLOWS,
                      handed_over);
    expect_verdicts(VERDICT_TRANSLATED_6TO4, CROWD_ACTORS * FLOWS);
    for (unsigned actor = 1; actor < CROWD_ACTORS; actor++)
        for (unsigned i = 0; i < FLOWS; i++) {
            assert_int_equal(step.outcome[actor][i].pool, step.outcome[0][i].pool);
            assert_int_equal(step.outcome[actor][i].pool_port, step.outcome[0][i].pool_port);
        }
}

/* rfc: 6146-3.5.1-b */
static void test_one_flow_has_one_session(void **state)
{
    (void)state;
    need_crowd();
    crowd_settings()->pool->count = CROWD_POOL;
    crowd_begin();
    for (unsigned round = 0; round < ROUNDS; round++) {
        give_same_ports(round, false);
        crowd_run(open_all);
        expect_same_bindings(round);
        expect_books(FLOWS, FLOWS);
        crowd_clear(true);
    }
    crowd_end();
}

/* Whatever remotes it is for. rfc: 6146-3.1-d */
static void test_one_port_of_a_client_has_one_binding(void **state)
{
    (void)state;
    need_crowd();
    crowd_settings()->pool->count = CROWD_POOL;
    crowd_begin();
    for (unsigned round = 0; round < ROUNDS; round++) {
        give_same_ports(round, true);
        crowd_run(open_all);
        expect_same_bindings(round);
        expect_books(CROWD_ACTORS * FLOWS, FLOWS);
        crowd_clear(true);
    }
    crowd_end();
}

/* --- what there is not enough of -------------------------------------------------------------------- */

/* All actors have clients' ports of their own, of one client or of many. */
static void give_own_ports(unsigned flows, unsigned round, bool one_client)
{
    step.flows = flows;
    for (unsigned actor = 0; actor < CROWD_ACTORS; actor++)
        for (unsigned i = 0; i < flows; i++)
            step.packet[actor][i] =
                (struct crowd_packet){.client = (uint16_t)(one_client ? 1 : 1 + (i * 7 + round) % 50),
                                      .client_port = (uint16_t)(FIRST_PORT + actor * MANY + i),
                                      .remote = 1};
}

/* There is room for so many, which so many compete for, all of them or the last one. */
static void compete(unsigned room, bool one_client, enum verdict refusal)
{
    crowd_begin();
    for (unsigned round = 0; round < ROUNDS; round++) {
        unsigned taken = 0;
        if (round % 2 == 0) {
            struct crowd_outcome outcome;
            struct crowd_packet packet = {.client = 1, .client_port = 1025, .remote = 1};
            for (; taken < room - 1; taken++, packet.client_port++) {
                crowd_send(CROWD_ENGINE, &packet, &outcome);
                assert_int_equal(outcome.verdict, VERDICT_TRANSLATED_6TO4);
            }
        }
        give_own_ports(taken > 0 ? 4 : room, round, one_client);
        crowd_run(open_all);
        expect_verdicts(VERDICT_TRANSLATED_6TO4, room - taken);
        expect_verdicts(refusal, CROWD_ACTORS * step.flows - (room - taken));
        expect_books(room, room);
        crowd_clear(true);
    }
    crowd_end();
}

static void test_the_last_port_goes_to_one(void **state)
{
    (void)state;
    need_crowd();
    struct nat64_settings *nat64 = crowd_settings();
    nat64->pool->low = 1024;
    nat64->pool->high = 1024 + 15;
    compete(16, false, VERDICT_PORTS_EXHAUSTED);
}

static void test_a_limit_of_sessions_is_kept(void **state)
{
    (void)state;
    need_crowd();
    crowd_settings()->sessions = 20;
    compete(20, false, VERDICT_TABLE_FULL);
}

static void test_a_limit_of_a_subscriber_is_kept(void **state)
{
    (void)state;
    need_crowd();
    crowd_settings()->sessions_per_subscriber = 7;
    compete(7, true, VERDICT_SUBSCRIBER_FULL);
}

static void test_a_full_table_takes_no_more(void **state)
{
    (void)state;
    need_crowd();
    (void)crowd_settings();
    crowd_begin();
    unsigned room = crowd_records();
    crowd_end();
    (void)crowd_settings();
    compete(room, false, VERDICT_TABLE_FULL);
}

static void test_an_empty_pool_has_no_port(void **state)
{
    (void)state;
    need_crowd();
    crowd_settings()->pool_count = 0;
    crowd_begin();
    give_own_ports(FLOWS, 0, false);
    crowd_run(open_all);
    expect_verdicts(VERDICT_PORTS_EXHAUSTED, CROWD_ACTORS * FLOWS);
    expect_books(0, 0);
    crowd_end();
}

/* --- hand-overs ------------------------------------------------------------------------------------- */

static uint64_t seconds_in_nanoseconds(double seconds)
{
    return (uint64_t)(seconds * 1e9);
}

static uint64_t nanoseconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint64_t flooded_for[CROWD_ACTORS], refused[CROWD_ACTORS];

static void flood(unsigned actor)
{
    uint64_t start = nanoseconds_now();
    refused[actor] = 0;
    do {
        struct crowd_packet packet = {.client = (uint16_t)(1 + refused[actor] % 5000),
                                      .client_port = (uint16_t)(FIRST_PORT + actor),
                                      .remote = 1};
        struct crowd_outcome outcome;
        crowd_send(actor, &packet, &outcome);
        refused[actor] += outcome.verdict == VERDICT_PORTS_EXHAUSTED;
    } while (nanoseconds_now() - start < seconds_in_nanoseconds(0.7));
    flooded_for[actor] = nanoseconds_now() - start;
}

/* A processor gives the engine twice as many as it may answer, see plane/bpf/refuse.bpf.h. */
static void test_the_engine_gets_no_more_refusals_than_it_answers(void **state)
{
    const uint32_t rate = 40;
    uint64_t before[CROWD_PROCESSORS];
    (void)state;
    need_crowd();
    crowd_settings()->pool_count = 0;
    crowd_set_answers(rate);
    crowd_begin();
    for (unsigned i = 0; i < CROWD_PROCESSORS; i++)
        before[i] = crowd_handed_over(i);
    crowd_run(flood);
    for (unsigned i = 0; i < CROWD_PROCESSORS; i++) {
        uint64_t given = crowd_handed_over(i) - before[i];
        print_message("# processor %u: %lu refused, %lu given to the engine\n", i, refused[i], given);
        double periods = (double)flooded_for[i] / (double)(1u << 27) + 2;
        assert_true(given >= 1);
        assert_true((double)given <= periods * (rate / 4.0 + 1));
        assert_true(refused[i] > given);
    }
    crowd_end();
}

/* --- the sweep -------------------------------------------------------------------------------------- */

enum {
    BRIEF_SECONDS = 10, /* the lifetime of sessions here */
    CLIENTS = 100,
    BUSY = 20,         /* of them, others in each second */
    TICKS = 3,         /* that must have passed at least */
    KEPT_REMOTE = 200, /* of the flows that never end */
};

static struct {
    uint32_t tick; /* how often the clock was set */
    bool over;
    uint32_t kept_at[CROWD_PROCESSORS]; /* at which tick an actor has last sent a packet of its kept flow */
    unsigned opened, answered, unbound; /* packets of the actors that were translated, either way, or not */
    unsigned wrong, moved;              /* with another verdict; of a kept flow with another port */
    enum verdict why;                   /* the last of the wrong ones */
} swept;

static void note(const struct crowd_packet *packet, const struct crowd_outcome *outcome)
{
    unsigned *which = &swept.wrong;
    if (!packet->from_remote && outcome->verdict == VERDICT_TRANSLATED_6TO4)
        which = &swept.opened;
    else if (packet->from_remote && outcome->verdict == VERDICT_TRANSLATED_4TO6)
        which = &swept.answered;
    else if (packet->from_remote && outcome->verdict == VERDICT_NO_BINDING)
        which = &swept.unbound;
    else
        swept.why = outcome->verdict;
    (void)__atomic_add_fetch(which, 1, __ATOMIC_RELAXED);
}

/* A packet of a flow that begins, goes on, or comes to an end when nobody thinks of it for a while. */
static void send_any(unsigned actor, struct random *random, struct crowd_outcome *last)
{
    uint64_t dice = random_next(random);
    uint32_t tick = __atomic_load_n(&swept.tick, __ATOMIC_SEQ_CST);
    struct crowd_packet packet = {.client = (uint16_t)(1 + (dice % BUSY + tick * 5) % CLIENTS),
                                  .client_port = FIRST_PORT,
                                  .remote = (uint16_t)(1 + (dice >> 8) % 2)};
    struct crowd_outcome outcome;
    bool silent = tick / 4 % 2 != 0; /* for longer than sessions live */
    if ((dice >> 16) % 4 == 0 && last->pool != 0 && !silent) {
        packet.from_remote = true;
        packet.pool = last->pool;
        packet.pool_port = last->pool_port;
    }
    crowd_send(actor, &packet, &outcome);
    note(&packet, &outcome);
    if (outcome.verdict == VERDICT_TRANSLATED_6TO4 && (dice >> 24) % 1024 == 0)
        *last = outcome;
}

/* The flow that never ends keeps its port. */
static void keep(unsigned actor, uint16_t *port)
{
    uint32_t tick = __atomic_load_n(&swept.tick, __ATOMIC_SEQ_CST);
    struct crowd_packet packet = {
        .client = (uint16_t)(KEPT_REMOTE + actor), .client_port = FIRST_PORT, .remote = KEPT_REMOTE};
    struct crowd_outcome outcome;
    crowd_send(actor, &packet, &outcome);
    note(&packet, &outcome);
    if (*port != 0 && *port != outcome.pool_port)
        (void)__atomic_add_fetch(&swept.moved, 1, __ATOMIC_RELAXED);
    *port = outcome.pool_port;
    __atomic_store_n(&swept.kept_at[actor], tick, __ATOMIC_SEQ_CST);
}

static bool is_over(void)
{
    return __atomic_load_n(&swept.over, __ATOMIC_SEQ_CST);
}

static bool is_kept(void)
{
    bool kept = true;
    for (unsigned i = 0; i < CROWD_PROCESSORS; i++)
        kept = kept && __atomic_load_n(&swept.kept_at[i], __ATOMIC_SEQ_CST) == swept.tick;
    return kept;
}

/* The daemon sweeps all the time. Seconds pass when the flows that are kept have had a packet since. */
static void sweep_and_tell_time(void)
{
    uint64_t start = nanoseconds_now();
    while (nanoseconds_now() - start < seconds_in_nanoseconds(3)) {
        crowd_sweep();
        if (is_kept()) {
            crowd_pass_time(BRIEF_SECONDS / 3);
            (void)__atomic_add_fetch(&swept.tick, 1, __ATOMIC_SEQ_CST);
        }
        (void)sched_yield();
    }
    __atomic_store_n(&swept.over, true, __ATOMIC_SEQ_CST);
}

static void live_on(unsigned actor)
{
    struct random random = random_seed(actor + 1);
    struct crowd_outcome last = {.verdict = VERDICT_COUNT};
    uint16_t port = 0;
    if (actor == CROWD_ENGINE)
        sweep_and_tell_time();
    while (actor != CROWD_ENGINE && !is_over()) {
        keep(actor, &port);
        for (unsigned i = 0; i < 8; i++)
            send_any(actor, &random, &last);
    }
}

static void test_the_sweep_takes_nothing_that_is_used(void **state)
{
    (void)state;
    need_crowd();
    crowd_settings()->timeouts.udp = BRIEF_SECONDS;
    crowd_begin();
    memset(&swept, 0, sizeof(swept));
    crowd_run(live_on);
    print_message("# the clock was set %u times; from clients %u, answers %u, answers too late %u\n",
                  swept.tick, swept.opened, swept.answered, swept.unbound);
    if (swept.wrong != 0)
        fail_msg("%u packets had a wrong verdict, the last of them %s", swept.wrong,
                 swept.why < VERDICT_COUNT ? verdict_texts[swept.why].name : "none");
    assert_int_equal(swept.moved, 0);
    assert_true(swept.tick >= TICKS);
    assert_true(swept.answered > 0);
    assert_true(swept.unbound > 0);
    (void)crowd_audit();
    crowd_end();
}

int main(int argument_count, char **arguments)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_flow_has_one_session),
        cmocka_unit_test(test_one_port_of_a_client_has_one_binding),
        cmocka_unit_test(test_the_last_port_goes_to_one),
        cmocka_unit_test(test_a_limit_of_sessions_is_kept),
        cmocka_unit_test(test_a_limit_of_a_subscriber_is_kept),
        cmocka_unit_test(test_a_full_table_takes_no_more),
        cmocka_unit_test(test_an_empty_pool_has_no_port),
        cmocka_unit_test(test_the_engine_gets_no_more_refusals_than_it_answers),
        cmocka_unit_test(test_the_sweep_takes_nothing_that_is_used),
    };
    if (argument_count != 2) {
        fprintf(stderr, "usage: bpf_crowd_test OBJECT\n");
        return 2;
    }
    unavailable = crowd_open(arguments[1]);
    int failed = cmocka_run_group_tests_name("bpf_crowd", tests, NULL, NULL);
    crowd_close();
    return failed;
}
