/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The cache of answers. What it keeps is bytes behind a question; so are the answers here, each with contents
 * that tell which question it belongs to and which edition of its answer it is.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dns64/cache.h"
#include "engine/random.h"

enum { HEAD = 24, UNIT = 8 }; /* bytes of an answer beside its message, and what its room is a multiple of */

static const uint64_t key[2] = {0x0123456789abcdefull, 0xfedcba9876543210ull};
static struct cache *cache;
static uint8_t buffer[2][CACHE_ANSWER_MAXIMUM + 1];

static struct inquiry_question question_of(unsigned number)
{
    struct inquiry_question question = {.type = DNS_TYPE_AAAA, .class = DNS_CLASS_IN, .view = 1};
    char text[64];
    snprintf(text, sizeof(text), "n%u.example", number);
    if (!dns_name_parse(&question.name, text))
        fail();
    return question;
}

/* An answer of `size` bytes whose contents follow from `edition`. */
static struct answer answer_of(const struct inquiry_question *question, size_t size, unsigned edition)
{
    uint8_t *message = buffer[0];
    struct random random = random_seed(edition);
    size_t at = DNS_HEADER_LENGTH + (size_t)question->name.length;
    assert_true(size >= at + 4 && size <= sizeof(buffer[0]));
    for (size_t i = 0; i < size; i++)
        message[i] = (uint8_t)random_next(&random);
    memcpy(message + DNS_HEADER_LENGTH, question->name.wire, question->name.length);
    store_be16(message + at, to_be16(question->type));
    store_be16(message + at + 2, to_be16(question->class));
    return (struct answer){
        .message = message,
        .size = (uint32_t)size,
        .core = (uint32_t)(size - edition % 8),
        .ttl = 100,
        .error = edition % 2 ? ANSWER_ERROR_SYNTHESIZED : ANSWER_ERROR_NONE,
        .rcode = edition % 3 ? DNS_RCODE_NOERROR : DNS_RCODE_NXDOMAIN,
        .secure = edition % 5 == 0,
        .synthesized = edition % 7 == 0,
    };
}

enum { SIZE = 100 }; /* bytes of a message where it does not matter */

static void store(unsigned number, uint32_t now)
{
    struct inquiry_question question = question_of(number);
    struct answer answer = answer_of(&question, SIZE, number);
    cache_store(cache, &question, now, &answer);
}

static enum cache_found find_edition(const struct inquiry_question *question, size_t size, unsigned edition,
                                     uint32_t now, uint32_t *age)
{
    struct answer expected = answer_of(question, size, edition);
    struct answer found = {.message = buffer[1]};
    enum cache_found state;
    memset(buffer[1], 0xee, sizeof(buffer[1]));
    *age = UINT32_MAX;
    state = cache_find(cache, question, now, &found, age);
    if (state == CACHE_ABSENT) {
        assert_int_equal(buffer[1][0], 0xee);
        assert_int_equal(*age, UINT32_MAX);
        return state;
    }
    assert_int_equal(found.size, expected.size);
    assert_int_equal(found.core, expected.core);
    assert_int_equal(found.ttl, expected.ttl);
    assert_int_equal(found.error, expected.error);
    assert_int_equal(found.rcode, expected.rcode);
    assert_int_equal(found.secure, expected.secure);
    assert_int_equal(found.synthesized, expected.synthesized);
    assert_ptr_equal(found.message, buffer[1]);
    assert_memory_equal(found.message, expected.message, size);
    assert_int_equal(buffer[1][size], 0xee);
    return state;
}

static enum cache_found find(unsigned number, uint32_t now)
{
    struct inquiry_question question = question_of(number);
    uint32_t age;
    return find_edition(&question, SIZE, number, now, &age);
}

static void require_state(uint64_t answers, uint64_t bytes)
{
    struct cache_state state;
    cache_look(cache, &state);
    assert_int_equal(state.answers, answers);
    assert_int_equal(state.bytes, bytes);
}

static uint64_t room_of(size_t size)
{
    return (HEAD + size + UNIT - 1) / UNIT * UNIT;
}

static void make(uint32_t entries)
{
    cache = cache_create(entries, key);
    assert_non_null(cache);
}

static int destroy(void **state)
{
    (void)state;
    cache_destroy(cache);
    cache = NULL;
    return 0;
}

/*** One answer ***/

static void what_is_stored_is_found(void **state)
{
    (void)state;
    make(1000);
    assert_int_equal(find(1, 50), CACHE_ABSENT);
    require_state(0, 0);
    store(1, 50);
    assert_int_equal(find(1, 50), CACHE_FRESH);
    assert_int_equal(find(2, 50), CACHE_ABSENT);
    require_state(1, room_of(SIZE));
}

/* Answers depend on all of a question and on nothing else. */
static void another_question_is_another_answer(void **state)
{
    struct inquiry_question asked = question_of(1), others[7];
    struct answer answer;
    uint32_t age;
    (void)state;
    make(1000);
    for (size_t i = 0; i < 7; i++)
        others[i] = asked;
    others[0].type = DNS_TYPE_A;
    others[1].class = 3;
    others[2].view = 3;
    others[3].dnssec_ok = true;
    others[4].checking_disabled = true;
    others[5].name.wire[1] = 'm';
    others[6].name = dns_name_root();
    answer = answer_of(&asked, SIZE, 1);
    cache_store(cache, &asked, 0, &answer);
    for (unsigned i = 0; i < 7; i++)
        assert_int_equal(find_edition(&others[i], SIZE, 2 + i, 0, &age), CACHE_ABSENT);
    for (unsigned i = 0; i < 7; i++) {
        answer = answer_of(&others[i], SIZE, 2 + i);
        cache_store(cache, &others[i], 0, &answer);
    }
    require_state(8, 8 * room_of(SIZE));
    assert_int_equal(find_edition(&asked, SIZE, 1, 0, &age), CACHE_FRESH);
    for (unsigned i = 0; i < 7; i++)
        assert_int_equal(find_edition(&others[i], SIZE, 2 + i, 0, &age), CACHE_FRESH);
}

static void names_of_every_length(void **state)
{
    struct inquiry_question question = question_of(1);
    struct answer answer;
    uint32_t age;
    (void)state;
    make(1000);
    for (unsigned pass = 0; pass < 2; pass++)
        for (unsigned length = 1; length <= DNS_NAME_MAX; length += length == 1 ? 2 : 1) {
            unsigned at = 0;
            while (length - at > 65) {
                question.name.wire[at] = 63;
                memset(question.name.wire + at + 1, 'a', 63);
                at += 64;
            }
            if (length - at > 64) { /* no label has 64 bytes */
                memcpy(question.name.wire + at, "\1a", 2);
                at += 2;
            }
            memset(question.name.wire + at, 'a', length - at);
            if (length - at > 1)
                question.name.wire[at] = (uint8_t)(length - at - 2);
            question.name.wire[length - 1] = 0;
            question.name.length = (uint8_t)length;
            answer = answer_of(&question, 300, length);
            if (pass == 0)
                cache_store(cache, &question, 0, &answer);
            else
                assert_int_equal(find_edition(&question, 300, length, 0, &age), CACHE_FRESH);
        }
    require_state(254, 254 * room_of(300));
}

/* RFC 2181 section 8: a TTL is for how long; RFC 8767 section 5 for how long beyond it. */
static void it_ages(void **state)
{
    struct inquiry_question question = question_of(1);
    uint32_t age;
    (void)state;
    make(1000);
    store(1, 1000);
    assert_int_equal(find_edition(&question, SIZE, 1, 1000, &age), CACHE_FRESH);
    assert_int_equal(age, 0);
    assert_int_equal(find_edition(&question, SIZE, 1, 1099, &age), CACHE_FRESH);
    assert_int_equal(age, 99);
    assert_int_equal(find_edition(&question, SIZE, 1, 1100, &age), CACHE_STALE);
    assert_int_equal(age, 100);
    assert_int_equal(find_edition(&question, SIZE, 1, 1099 + CACHE_STALE_SECONDS, &age), CACHE_STALE);
    assert_int_equal(find_edition(&question, SIZE, 1, 1100 + CACHE_STALE_SECONDS, &age), CACHE_ABSENT);
    store(1, 90000);
    assert_int_equal(find(1, 90099), CACHE_FRESH);
    require_state(1, room_of(SIZE));
}

/* One worker reads the clock, another stores, the first one finds. */
static void clocks_may_differ(void **state)
{
    struct inquiry_question question = question_of(1);
    uint32_t age;
    (void)state;
    make(1000);
    store(1, 1000);
    assert_int_equal(find_edition(&question, SIZE, 1, 998, &age), CACHE_FRESH);
    assert_int_equal(age, 0);
    store(1, UINT32_MAX - 9);
    assert_int_equal(find_edition(&question, SIZE, 1, 20, &age), CACHE_FRESH);
    assert_int_equal(age, 30);
}

static void failures_do_not_get_stale(void **state)
{
    struct inquiry_question question = question_of(1);
    struct answer answer = answer_of(&question, SIZE, 1), found = {.message = buffer[1]};
    uint32_t age;
    (void)state;
    make(1000);
    answer.rcode = DNS_RCODE_SERVFAIL;
    cache_store(cache, &question, 0, &answer);
    assert_int_equal(cache_find(cache, &question, 99, &found, &age), CACHE_FRESH);
    assert_int_equal(cache_find(cache, &question, 100, &found, &age), CACHE_ABSENT);
}

static void a_newer_answer_replaces(void **state)
{
    static const size_t sizes[] = {SIZE, SIZE, SIZE + 1, 500, 60, CACHE_ANSWER_MAXIMUM};
    struct inquiry_question question = question_of(1);
    uint32_t age;
    (void)state;
    make(1000);
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct answer answer = answer_of(&question, sizes[i], 10 + i);
        cache_store(cache, &question, 10 * i, &answer);
        assert_int_equal(find_edition(&question, sizes[i], 10 + i, 10 * i + 3, &age), CACHE_FRESH);
        assert_int_equal(age, 3);
        require_state(1, room_of(sizes[i]));
    }
}

static void what_is_not_kept(void **state)
{
    struct inquiry_question question = question_of(1), other = question_of(2);
    struct answer answer = answer_of(&question, SIZE, 1);
    (void)state;
    make(1000);
    answer.ttl = ANSWER_TTL_NONE;
    cache_store(cache, &question, 0, &answer);
    answer = answer_of(&question, CACHE_ANSWER_MAXIMUM + 1, 1);
    cache_store(cache, &question, 0, &answer);
    answer = answer_of(&other, SIZE, 1);
    cache_store(cache, &question, 0, &answer);
    answer = answer_of(&question, SIZE, 1);
    answer.size = DNS_HEADER_LENGTH; /* no question */
    cache_store(cache, &question, 0, &answer);
    require_state(0, 0);
    cache_destroy(cache);
    make(0);
    store(1, 0);
    assert_int_equal(find(1, 0), CACHE_ABSENT);
    cache_clear(cache);
    require_state(0, 0);
}

static void clearing_forgets(void **state)
{
    (void)state;
    make(1000);
    for (unsigned i = 0; i < 500; i++)
        store(i, 0);
    cache_clear(cache);
    require_state(0, 0);
    for (unsigned i = 0; i < 500; i++)
        assert_int_equal(find(i, 0), CACHE_ABSENT);
    for (unsigned i = 0; i < 500; i++)
        store(i, 0);
    require_state(500, 500 * room_of(SIZE));
    assert_int_equal(find(499, 0), CACHE_FRESH);
}

/*** Giving way ***/

enum { FEW = 6 }; /* entries: one shard, two buckets of eight */

static void the_oldest_gives_way(void **state)
{
    (void)state;
    make(FEW);
    for (unsigned i = 0; i < 1000; i++) {
        store(i, 0);
        require_state(i < FEW ? i + 1 : FEW, (i < FEW ? i + 1 : FEW) * room_of(SIZE));
    }
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(find(i, 0), i < 1000 - FEW ? CACHE_ABSENT : CACHE_FRESH);
}

static void what_was_used_gets_a_second_chance(void **state)
{
    (void)state;
    make(FEW);
    for (unsigned i = 0; i < FEW; i++)
        store(i, 0);
    assert_int_equal(find(0, 0), CACHE_FRESH);
    for (unsigned i = FEW; i < 2 * FEW - 1; i++)
        store(i, 0); /* 0 goes to the front, 1 and those behind it give way */
    require_state(FEW, FEW * room_of(SIZE));
    store(100, 0); /* it was not used since: now 0 gives way as well */
    assert_int_equal(find(0, 0), CACHE_ABSENT);
    for (unsigned i = 1; i < FEW; i++)
        assert_int_equal(find(i, 0), CACHE_ABSENT);
    for (unsigned i = FEW; i < 2 * FEW - 1; i++)
        assert_int_equal(find(i, 0), CACHE_FRESH);
    assert_int_equal(find(100, 0), CACHE_FRESH);
}

static void what_is_used_again_and_again_stays(void **state)
{
    (void)state;
    make(FEW);
    store(0, 0);
    for (unsigned i = 1; i < 5000; i++) {
        assert_int_equal(find(0, 0), CACHE_FRESH);
        store(i, 0);
    }
}

static void what_is_over_gets_no_second_chance(void **state)
{
    (void)state;
    make(FEW);
    for (unsigned i = 0; i < FEW; i++)
        store(i, 0);
    assert_int_equal(find(0, 99), CACHE_FRESH);
    store(FEW, 100);
    assert_int_equal(find(0, 100), CACHE_ABSENT);
    assert_int_equal(find(1, 100), CACHE_STALE);
}

/* What a store costs has a bound: if eight were moved to the front, the ninth gives way, used or not. */
static void not_all_get_a_second_chance(void **state)
{
    enum { ENTRIES = 12, CHANCES = 8 };
    (void)state;
    make(ENTRIES);
    for (unsigned i = 0; i < ENTRIES; i++)
        store(i, 0);
    for (unsigned i = 0; i < ENTRIES; i++)
        assert_int_equal(find(i, 0), CACHE_FRESH);
    store(ENTRIES, 0);
    for (unsigned i = 0; i <= ENTRIES; i++)
        assert_int_equal(find(i, 0), i == CHANCES ? CACHE_ABSENT : CACHE_FRESH);
}

/* Names that differ in their last bytes alone do not share a bucket, whatever their lengths. */
static void every_byte_of_a_name_is_hashed(void **state)
{
    enum { NAMES_ALIKE = 500 };
    (void)state;
    for (unsigned length = 6; length < 24; length++) {
        unsigned found = 0;
        make(4000);
        for (unsigned pass = 0; pass < 2; pass++)
            for (unsigned i = 0; i < NAMES_ALIKE; i++) {
                struct inquiry_question question = question_of(1);
                struct answer answer;
                uint32_t age;
                memset(question.name.wire, 'a', length);
                question.name.wire[0] = (uint8_t)(length - 2);
                question.name.wire[length - 3] = (uint8_t)(i >> 8);
                question.name.wire[length - 2] = (uint8_t)i;
                question.name.wire[length - 1] = 0;
                question.name.length = (uint8_t)length;
                answer = answer_of(&question, SIZE, i);
                if (pass == 0)
                    cache_store(cache, &question, 0, &answer);
                else
                    found += find_edition(&question, SIZE, i, 0, &age) == CACHE_FRESH;
            }
        assert_int_equal(found, NAMES_ALIKE);
        cache_destroy(cache);
    }
    cache = NULL;
}

/* Long answers fill the ring before there are as many as entries. */
static void long_answers_crowd_out_their_own_size(void **state)
{
    struct inquiry_question question;
    struct cache_state before, after;
    struct answer answer;
    uint32_t age;
    (void)state;
    make(60);
    for (unsigned i = 0; i < 60; i++) {
        question = question_of(i);
        answer = answer_of(&question, 220, i);
        cache_store(cache, &question, 0, &answer);
    }
    cache_look(cache, &before);
    question = question_of(100);
    answer = answer_of(&question, CACHE_ANSWER_MAXIMUM, 100);
    cache_store(cache, &question, 0, &answer);
    cache_look(cache, &after);
    /* Besides its size, at most the answer that it reaches into and the rest of the ring at its end. */
    assert_true(after.bytes + room_of(220) >= before.bytes - room_of(220));
    for (unsigned i = 0; i < 100; i++) {
        question = question_of(100 + i);
        answer = answer_of(&question, CACHE_ANSWER_MAXIMUM, 100 + i);
        cache_store(cache, &question, 0, &answer);
        assert_int_equal(find_edition(&question, CACHE_ANSWER_MAXIMUM, 100 + i, 0, &age), CACHE_FRESH);
        cache_look(cache, &after);
        assert_true(after.bytes == after.answers * room_of(CACHE_ANSWER_MAXIMUM) ||
                    i <= 60 * 256 / CACHE_ANSWER_MAXIMUM);
        assert_true(after.bytes <= 60 * CACHE_ANSWER_TYPICAL && after.answers >= 2);
    }
}

/* Of as many answers as there are entries nearly all are there at once. */
static void nearly_as_many_as_entries(void **state)
{
    enum { ENTRIES = 20000 };
    struct cache_state full;
    unsigned found = 0;
    (void)state;
    make(ENTRIES);
    for (unsigned i = 0; i < ENTRIES; i++)
        store(i, 0);
    cache_look(cache, &full);
    assert_true(full.answers > ENTRIES * 96 / 100 && full.answers <= ENTRIES);
    for (unsigned i = 0; i < ENTRIES; i++)
        found += find(i, 0) == CACHE_FRESH;
    assert_int_equal(found, full.answers);
    for (unsigned i = 0; i < 2 * ENTRIES; i++)
        store(ENTRIES + i, 0);
    cache_look(cache, &full);
    assert_true(full.answers > ENTRIES * 97 / 100 && full.answers <= ENTRIES);
}

static void memory_is_what_entries_say(void **state)
{
    (void)state;
    assert_true(cache_memory(0) < 4096);
    for (uint32_t entries = 1000; entries <= 100000000; entries *= 10) {
        size_t memory = cache_memory(entries);
        assert_true(memory >= (size_t)entries * CACHE_ANSWER_TYPICAL);
        assert_true(memory <= (size_t)entries * (CACHE_ANSWER_TYPICAL + 24) + 100000);
    }
    assert_true(cache_memory(UINT32_MAX) >= (size_t)UINT32_MAX * CACHE_ANSWER_TYPICAL);
}

/*** Random operations against an array that never forgets ***/

enum { NAMES = 400, OPERATIONS = 60000 };

static struct {
    bool stored;
    uint32_t made;
    size_t size;
    unsigned edition;
} model[NAMES];

static unsigned count_found(uint32_t now, uint64_t *bytes)
{
    unsigned found = 0;
    *bytes = 0;
    for (unsigned i = 0; i < NAMES; i++) {
        struct inquiry_question question = question_of(i);
        uint32_t age;
        if (!model[i].stored ||
            find_edition(&question, model[i].size, model[i].edition, now, &age) == CACHE_ABSENT)
            continue;
        found++;
        *bytes += room_of(model[i].size);
    }
    return found;
}

static void store_random(struct random *random, unsigned number, uint32_t now)
{
    struct inquiry_question question = question_of(number);
    struct answer answer;
    uint64_t draw = random_next(random);
    size_t size = draw % 100 == 0 ? CACHE_ANSWER_MAXIMUM - draw % 512 : 60 + (draw >> 32) % 400;
    if (model[number].stored && draw % 3 == 0)
        size = model[number].size;
    model[number].stored = true;
    model[number].made = now;
    model[number].size = size;
    model[number].edition = (unsigned)(draw >> 40);
    answer = answer_of(&question, size, model[number].edition);
    cache_store(cache, &question, now, &answer);
}

static void find_random(unsigned number, uint32_t now, bool always)
{
    struct inquiry_question question = question_of(number);
    uint32_t age;
    enum cache_found found = find_edition(&question, model[number].size == 0 ? SIZE : model[number].size,
                                          model[number].edition, now, &age);
    if (found != CACHE_ABSENT) {
        assert_true(model[number].stored);
        assert_int_equal(age, now - model[number].made);
        assert_int_equal(found, age < 100 ? CACHE_FRESH : CACHE_STALE);
    } else if (always && model[number].stored) {
        assert_true(now - model[number].made >= 100 + CACHE_STALE_SECONDS);
    }
}

static void as_the_model(uint32_t entries, bool always)
{
    struct random random = random_seed(entries);
    struct cache_state state;
    uint64_t bytes;
    uint32_t now = 0;
    make(entries);
    memset(model, 0, sizeof(model));
    for (unsigned i = 0; i < OPERATIONS; i++) {
        uint64_t draw = random_next(&random);
        unsigned number = (unsigned)(draw % NAMES) % (1 + (unsigned)(draw >> 32) % NAMES);
        if (draw >> 60 < 6)
            store_random(&random, number, now);
        else
            find_random(number, now, always);
        if ((draw >> 50) % 64 == 0)
            now++;
        if (i % 5000 == 4999) {
            cache_look(cache, &state);
            assert_int_equal(count_found(now, &bytes), state.answers);
            assert_int_equal(bytes, state.bytes);
            assert_true(state.answers <= entries);
        }
        if (i == OPERATIONS / 2) {
            cache_clear(cache);
            memset(model, 0, sizeof(model));
        }
    }
    assert_true(now > 300);
    cache_destroy(cache);
    cache = NULL;
}

static void large_caches_forget_nothing(void **state)
{
    (void)state;
    as_the_model(NAMES * 100, true); /* the ring never comes round */
}

static void small_caches_tell_no_lies(void **state)
{
    (void)state;
    as_the_model(1, false);
    as_the_model(2, false);
    as_the_model(37, false);
    as_the_model(250, false);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_teardown(function, destroy)
    const struct CMUnitTest tests[] = {
        TEST(what_is_stored_is_found),
        TEST(another_question_is_another_answer),
        TEST(names_of_every_length),
        TEST(it_ages),
        TEST(clocks_may_differ),
        TEST(failures_do_not_get_stale),
        TEST(a_newer_answer_replaces),
        TEST(what_is_not_kept),
        TEST(clearing_forgets),
        TEST(the_oldest_gives_way),
        TEST(what_was_used_gets_a_second_chance),
        TEST(what_is_used_again_and_again_stays),
        TEST(what_is_over_gets_no_second_chance),
        TEST(not_all_get_a_second_chance),
        TEST(every_byte_of_a_name_is_hashed),
        TEST(long_answers_crowd_out_their_own_size),
        TEST(nearly_as_many_as_entries),
        TEST(memory_is_what_entries_say),
        TEST(large_caches_forget_nothing),
        TEST(small_caches_tell_no_lies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
