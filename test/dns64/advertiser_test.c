/* SPDX-License-Identifier: BSD-2-Clause */
/* The schedule of advertisements under a clock of our own, with many seeds where chance has a part. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dns64/advertiser.h"

static const nanoseconds second = 1000 * 1000 * 1000, millisecond = 1000 * 1000;
static const nanoseconds begin = 1000ull * 1000 * 1000 * 1000;

enum { SEEDS = 200 };

/* Goes to the deadline, where what is expected must be due, and not before. */
static nanoseconds step(struct advertiser *advertiser, enum advertiser_action expected)
{
    nanoseconds when = 0;
    assert_true(advertiser_deadline(advertiser, &when));
    assert_int_equal(advertiser_due(advertiser, when - 1), ADVERTISER_WAIT);
    assert_int_equal(advertiser_due(advertiser, when), expected);
    return when;
}

static struct advertiser started(uint64_t seed, uint32_t lifetime)
{
    struct advertiser advertiser = advertiser_make(seed);
    advertiser_start(&advertiser, lifetime, begin);
    return advertiser;
}

/* One whose first advertisements are out; *last is when the third went. */
static struct advertiser settled(uint64_t seed, nanoseconds *last)
{
    struct advertiser advertiser = started(seed, 600);
    for (int i = 0; i < ADVERTISER_INITIAL_COUNT; i++)
        *last = step(&advertiser, ADVERTISER_SEND);
    return advertiser;
}

/* rfc: 8781-4.1-d */
static void intervals(void **state)
{
    (void)state;
    assert_int_equal(advertiser_interval(0), 4);
    assert_int_equal(advertiser_interval(12), 4);
    assert_int_equal(advertiser_interval(600), 200);
    assert_int_equal(advertiser_interval(1800), 600);
    assert_int_equal(advertiser_interval(65528), 600);
}

static void silent_until_started(void **state)
{
    struct advertiser advertiser = advertiser_make(1);
    nanoseconds when;
    (void)state;
    assert_false(advertiser_deadline(&advertiser, &when));
    advertiser_solicited(&advertiser, begin);
    assert_int_equal(advertiser_due(&advertiser, begin + 100 * second), ADVERTISER_WAIT);
    advertiser_stop(&advertiser, 3, begin);
    assert_false(advertiser_deadline(&advertiser, &when));
}

/* The first at once, two more within 16 seconds each, then the whole interval (section 6.2.4). */
static void the_first_come_quickly(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct advertiser advertiser = started(seed, 600);
        assert_true(advertiser_fresh(&advertiser));
        nanoseconds last = step(&advertiser, ADVERTISER_SEND);
        assert_in_range(last, begin, begin + 500 * millisecond);
        for (int i = 1; i < ADVERTISER_INITIAL_COUNT; i++) {
            nanoseconds now = step(&advertiser, ADVERTISER_SEND);
            assert_int_equal(now - last, 16 * second); /* chance would have it from 66 seconds on */
            last = now;
        }
        assert_false(advertiser_fresh(&advertiser));
    }
}

static void the_rest_come_at_random(void **state)
{
    nanoseconds least = 1000 * second, most = 0;
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        nanoseconds last, now;
        struct advertiser advertiser = settled(seed, &last);
        for (int i = 0; i < 5; i++, last = now) {
            now = step(&advertiser, ADVERTISER_SEND);
            assert_in_range(now - last, 200 * second / 3, 200 * second);
            least = now - last < least ? now - last : least;
            most = now - last > most ? now - last : most;
        }
    }
    assert_in_range(least, 200 * second / 3, 70 * second); /* the range is used, not just its middle */
    assert_in_range(most, 197 * second, 200 * second);
}

/* However short a lifetime is asked for, three seconds lie between two. */
static void never_closer_than_three_seconds(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct advertiser advertiser = started(seed, 12);
        nanoseconds last = step(&advertiser, ADVERTISER_SEND);
        for (int i = 0; i < 10; i++) {
            advertiser_solicited(&advertiser, last + (nanoseconds)i * 400 * millisecond);
            nanoseconds now = step(&advertiser, ADVERTISER_SEND);
            assert_in_range(now - last, 3 * second, 4 * second);
            last = now;
        }
    }
}

/* Section 6.2.6: within half a second, and the interval begins anew. */
static void who_asks_is_answered(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        nanoseconds last;
        struct advertiser advertiser = settled(seed, &last);
        nanoseconds asked = last + 30 * second;
        advertiser_solicited(&advertiser, asked);
        nanoseconds answered = step(&advertiser, ADVERTISER_SEND);
        assert_in_range(answered, asked, asked + 500 * millisecond);
        nanoseconds next = step(&advertiser, ADVERTISER_SEND);
        assert_in_range(next - answered, 200 * second / 3, 200 * second);
    }
}

static void many_who_ask_are_answered_once(void **state)
{
    nanoseconds last, when;
    struct advertiser advertiser = settled(7, &last);
    nanoseconds asked = last + 30 * second;
    (void)state;
    for (nanoseconds i = 0; i < 1000; i++)
        advertiser_solicited(&advertiser, asked);
    assert_in_range(step(&advertiser, ADVERTISER_SEND), asked, asked + 500 * millisecond);
    assert_true(advertiser_deadline(&advertiser, &when));
    assert_true(when > asked + 60 * second);
}

static void who_asks_right_after_an_answer_waits(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        nanoseconds last;
        struct advertiser advertiser = settled(seed, &last);
        advertiser_solicited(&advertiser, last + second);
        assert_in_range(step(&advertiser, ADVERTISER_SEND) - last, 3 * second,
                        3 * second + 500 * millisecond);
    }
}

/* One that is about to go out is not put off by who asks. */
static void what_is_scheduled_earlier_stays(void **state)
{
    nanoseconds last, scheduled, when;
    struct advertiser advertiser = settled(3, &last);
    (void)state;
    assert_true(advertiser_deadline(&advertiser, &scheduled));
    advertiser_solicited(&advertiser, scheduled - 1);
    assert_true(advertiser_deadline(&advertiser, &when));
    assert_true(when <= scheduled);
}

/* Section 6.2.5: as many last ones as wanted, three at most and three seconds apart, then silence. */
static void the_last_ones(void **state)
{
    (void)state;
    for (uint32_t finals = 1; finals < 6; finals++) {
        nanoseconds last, now, when;
        struct advertiser advertiser = settled(finals, &last);
        uint32_t expected = finals < 3 ? finals : 3;
        advertiser_stop(&advertiser, finals, last + 10 * second);
        advertiser_solicited(&advertiser, last + 10 * second);
        last += 10 * second;
        for (uint32_t i = 0; i < expected; i++, last = now) {
            now = step(&advertiser, ADVERTISER_SEND_FINAL);
            assert_int_equal(now - last, i == 0 ? 0 : 3 * second);
        }
        assert_false(advertiser_deadline(&advertiser, &when));
        assert_int_equal(advertiser_due(&advertiser, last + 1000 * second), ADVERTISER_WAIT);
    }
}

static void the_last_one_keeps_its_distance(void **state)
{
    nanoseconds last;
    struct advertiser advertiser = settled(1, &last);
    (void)state;
    advertiser_stop(&advertiser, 1, last + second);
    assert_int_equal(step(&advertiser, ADVERTISER_SEND_FINAL), last + 3 * second);
}

/* Who has never been told anything need not be told that it is over. */
static void no_last_one_without_a_first(void **state)
{
    struct advertiser advertiser = started(1, 600);
    nanoseconds when;
    (void)state;
    advertiser_stop(&advertiser, 3, begin);
    assert_false(advertiser_deadline(&advertiser, &when));
}

static void an_interface_goes_and_comes(void **state)
{
    nanoseconds last, when;
    struct advertiser advertiser = settled(1, &last);
    (void)state;
    advertiser_lose(&advertiser);
    assert_false(advertiser_deadline(&advertiser, &when));
    assert_int_equal(advertiser_due(&advertiser, last + 1000 * second), ADVERTISER_WAIT);
    advertiser_start(&advertiser, 600, last + second);
    assert_true(advertiser_fresh(&advertiser));
    assert_in_range(step(&advertiser, ADVERTISER_SEND) - last, 3 * second, 3 * second + 500 * millisecond);
}

/* What is withdrawn by a reload is told at once, and what is started while it ceases goes on. */
static void a_start_over(void **state)
{
    nanoseconds last;
    struct advertiser advertiser = settled(1, &last);
    (void)state;
    advertiser_start(&advertiser, 600, last + 50 * second);
    assert_true(advertiser_fresh(&advertiser));
    last = step(&advertiser, ADVERTISER_SEND);
    advertiser_stop(&advertiser, 3, last + 10 * second);
    advertiser_start(&advertiser, 600, last + 10 * second);
    assert_in_range(step(&advertiser, ADVERTISER_SEND) - last, 10 * second, 10 * second + 500 * millisecond);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(intervals),
        cmocka_unit_test(silent_until_started),
        cmocka_unit_test(the_first_come_quickly),
        cmocka_unit_test(the_rest_come_at_random),
        cmocka_unit_test(never_closer_than_three_seconds),
        cmocka_unit_test(who_asks_is_answered),
        cmocka_unit_test(many_who_ask_are_answered_once),
        cmocka_unit_test(who_asks_right_after_an_answer_waits),
        cmocka_unit_test(what_is_scheduled_earlier_stays),
        cmocka_unit_test(the_last_ones),
        cmocka_unit_test(the_last_one_keeps_its_distance),
        cmocka_unit_test(no_last_one_without_a_first),
        cmocka_unit_test(an_interface_goes_and_comes),
        cmocka_unit_test(a_start_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
