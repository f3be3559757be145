/* SPDX-License-Identifier: BSD-2-Clause */
/* Words of subscribers: counting, limits, strays, words that the dead left. At once: interleaving_test.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/random.h"
#include "engine/subscribers.h"

enum {
    PLACES = PROBE_LIMIT * BUCKET_SLOTS,
    CROWD = 60,
    STEPS = 1000000,
};

static struct table *table;

static int make_table(void **state)
{
    (void)state;
    struct geometry geometry = {.sessions = 128, .addresses = 1, .workers = 1};
    table = table_create(&geometry, 5);
    return table == NULL;
}

static int drop_table(void **state)
{
    (void)state;
    table_destroy(table);
    return 0;
}

/* A subscriber of the bucket with this number: its fingerprint is `number`. */
static uint64_t hash_in(uint32_t bucket, uint32_t number)
{
    uint64_t hash = ((uint64_t)bucket << 32) / table->constants.buckets + 1;
    hash = hash << 32 | number;
    assert_int_equal(hash_bucket(table, hash), bucket);
    return hash;
}

/* The sessions of a subscriber, in all words that could be its own. */
static uint32_t count(uint64_t hash, unsigned *words)
{
    struct subscriber_walk walk = subscriber_start(table, hash);
    uint32_t n = 0;
    *words = 0;
    for (uint64_t word = subscriber_next(table, &walk); word != 0; word = subscriber_next(table, &walk)) {
        n += subscriber_count(word);
        ++*words;
    }
    return n;
}

static void be_empty(void)
{
    for (uint32_t i = 0; i < table->constants.buckets; i++) {
        const struct bucket *bucket = bucket_at(table, SEGMENT_SUBSCRIBERS, i);
        assert_int_equal(bucket->strays, 0);
        for (unsigned j = 0; j < BUCKET_SLOTS; j++)
            assert_int_equal(bucket->slot[j], 0);
    }
}

/* rfc: 6146-5.3-a */
static void joins_up_to_the_limit(void **state)
{
    (void)state;
    uint64_t one = hash_in(3, 1), other = hash_in(3, 2);
    unsigned words;
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(subscriber_join(table, one, 5, 1), SUBSCRIBER_JOINED);
    assert_int_equal(subscriber_join(table, one, 5, 1), SUBSCRIBER_AT_LIMIT);
    assert_int_equal(subscriber_join(table, other, 1, 1), SUBSCRIBER_JOINED);
    assert_int_equal(count(one, &words), 5);
    assert_int_equal(words, 1);
    subscriber_leave(table, one);
    assert_int_equal(subscriber_join(table, one, 5, 1), SUBSCRIBER_JOINED);
    for (unsigned i = 0; i < 5; i++)
        subscriber_leave(table, one);
    assert_int_equal(count(one, &words), 0);
    assert_int_equal(words, 0);
    subscriber_leave(table, one); /* nobody is there: nothing happens */
    subscriber_leave(table, other);
    be_empty();
}

/* The count stays beside the fingerprint however high it is. */
static void the_highest_count_fits(void **state)
{
    (void)state;
    uint64_t hash = hash_in(3, 0xffffffffu), neighbour = hash_in(3, 0xfffffffeu);
    unsigned words;
    for (uint32_t i = 0; i < SUBSCRIBER_SESSIONS_MAXIMUM; i++)
        assert_int_equal(subscriber_join(table, hash, SUBSCRIBER_SESSIONS_MAXIMUM, 1), SUBSCRIBER_JOINED);
    assert_int_equal(subscriber_join(table, hash, SUBSCRIBER_SESSIONS_MAXIMUM, 1), SUBSCRIBER_AT_LIMIT);
    assert_int_equal(count(hash, &words), SUBSCRIBER_SESSIONS_MAXIMUM);
    assert_int_equal(words, 1);
    assert_int_equal(count(neighbour, &words), 0);
}

static void strays_are_found_and_bounded(void **state)
{
    (void)state;
    uint32_t last = table->constants.buckets - 1; /* and wrap around */
    unsigned words;
    for (uint32_t i = 0; i < PLACES; i++)
        assert_int_equal(subscriber_join(table, hash_in(last, i), 3, 1), SUBSCRIBER_JOINED);
    assert_int_equal(subscriber_join(table, hash_in(last, PLACES), 3, 1), SUBSCRIBER_NO_PLACE);
    assert_int_equal(bucket_at(table, SEGMENT_SUBSCRIBERS, last)->strays, PLACES - BUCKET_SLOTS);
    for (uint32_t i = 0; i < PLACES; i++)
        assert_int_equal(subscriber_join(table, hash_in(last, i), 2, 1), SUBSCRIBER_JOINED);
    for (uint32_t i = 0; i < PLACES; i++)
        assert_int_equal(count(hash_in(last, i), &words), 2);
    for (uint32_t i = 0; i < 2 * PLACES; i++)
        subscriber_leave(table, hash_in(last, i % PLACES));
    be_empty();
}

/* Whoever died left a pending word: nobody counts by it, and the next to come removes it. */
static void what_the_dead_left_is_removed(void **state)
{
    (void)state;
    uint64_t hash = hash_in(5, 77);
    struct subscriber_walk at = subscriber_start(table, hash);
    unsigned words;
    for (unsigned i = 0; i < 3; i++)
        assert_true(subscriber_enter(table, &at, at.fingerprint | SUBSCRIBER_PENDING | 1));
    subscriber_leave(table, hash);
    assert_int_equal(count(hash, &words), 3);
    assert_int_equal(subscriber_join(table, hash, 1, 1), SUBSCRIBER_JOINED);
    assert_int_equal(subscriber_join(table, hash, 1, 1), SUBSCRIBER_AT_LIMIT);
    assert_int_equal(count(hash, &words), 1);
    assert_int_equal(words, 1);
    subscriber_leave(table, hash);
    be_empty();
}

static void random_steps_agree_with_a_reference(void **state)
{
    (void)state;
    static uint32_t sessions[CROWD];
    struct random random = random_seed(4);
    unsigned words;
    for (unsigned step = 0; step < STEPS; step++) {
        uint64_t dice = random_next(&random);
        unsigned who = (unsigned)(dice >> 8) % CROWD;
        uint64_t hash = hash_in(who % 3, who);
        uint32_t limit = 1 + (uint32_t)(dice >> 20) % 6;
        if (dice % 2 == 0) {
            bool fits = sessions[who] < limit;
            assert_int_equal(subscriber_join(table, hash, limit, 1),
                             fits ? SUBSCRIBER_JOINED : SUBSCRIBER_AT_LIMIT);
            sessions[who] += fits;
        } else if (sessions[who] != 0) {
            subscriber_leave(table, hash);
            sessions[who]--;
        }
        assert_int_equal(count(hash, &words), sessions[who]);
        assert_int_equal(words, sessions[who] != 0);
    }
    for (unsigned who = 0; who < CROWD; who++)
        for (; sessions[who] > 0; sessions[who]--)
            subscriber_leave(table, hash_in(who % 3, who));
    be_empty();
}

int main(void)
{
#define WITH_TABLE(test) cmocka_unit_test_setup_teardown(test, make_table, drop_table)
    const struct CMUnitTest tests[] = {
        WITH_TABLE(joins_up_to_the_limit),
        WITH_TABLE(the_highest_count_fits),
        WITH_TABLE(strays_are_found_and_bounded),
        WITH_TABLE(what_the_dead_left_is_removed),
        WITH_TABLE(random_steps_agree_with_a_reference),
    };
    return cmocka_run_group_tests_name("subscribers", tests, NULL, NULL);
}
