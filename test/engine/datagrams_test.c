/* SPDX-License-Identifier: BSD-2-Clause */
/* The table of datagrams: look-up, the orders of age, and pieces against a plain map of bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/datagrams.h"

enum {
    CAPACITY = 100,
    MAP = 512,
};

struct fixture {
    void *memory;
    struct datagrams datagrams;
};

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    struct random random = random_seed(1);
    assert_non_null(fixture);
    size_t size = datagrams_size(CAPACITY);
    fixture->memory = aligned_alloc(64, (size + 63) & ~(size_t)63);
    assert_non_null(fixture->memory);
    memset(fixture->memory, 0, size);
    datagrams_set_up(&fixture->datagrams, fixture->memory, CAPACITY, &random);
    *state = fixture;
    return 0;
}

static int take_down(void **state)
{
    struct fixture *fixture = *state;
    free(fixture->memory);
    free(fixture);
    return 0;
}

static struct datagram_key key_of(uint32_t number)
{
    struct datagram_key key = {.version = 6, .identification = number};
    key.source.bytes[0] = 0x20;
    key.source.bytes[15] = 1;
    return key;
}

static struct datagram *add(struct fixture *fixture, uint32_t number, nanoseconds deadline)
{
    struct datagram_key key = key_of(number);
    uint32_t source = datagrams_source(&fixture->datagrams, &key, 64);
    return datagrams_add(&fixture->datagrams, &key, source, deadline);
}

static struct datagram *find(const struct fixture *fixture, uint32_t number)
{
    struct datagram_key key = key_of(number);
    return datagrams_find(&fixture->datagrams, &key);
}

static void found_until_removed(void **state)
{
    struct fixture *fixture = *state;
    for (uint32_t i = 0; i < CAPACITY; i++)
        assert_non_null(add(fixture, i, i));
    assert_int_equal(fixture->datagrams.used, CAPACITY);
    for (uint32_t i = 0; i < CAPACITY; i++)
        assert_int_equal(find(fixture, i)->deadline, i);
    assert_null(find(fixture, CAPACITY));
    for (uint32_t i = 0; i < CAPACITY; i += 2)
        datagrams_remove(&fixture->datagrams, find(fixture, i));
    for (uint32_t i = 0; i < CAPACITY; i++)
        assert_int_equal(find(fixture, i) != NULL, i % 2 == 1);
    for (uint32_t i = 0; i < CAPACITY; i += 2)
        assert_non_null(add(fixture, 1000 + i, i));
    for (uint32_t i = 0; i < CAPACITY; i += 2)
        assert_int_equal(find(fixture, 1000 + i)->deadline, i);
}

static void keys_differ_in_each_part(void **state)
{
    struct fixture *fixture = *state;
    struct datagram_key key = key_of(7), other;
    fixture->datagrams.mask = 0; /* all in one chain */
    assert_non_null(add(fixture, 7, 1));
    for (unsigned byte = 0; byte < sizeof(key) - sizeof(key.unused); byte++) {
        other = key;
        ((uint8_t *)&other)[byte] ^= 1;
        assert_null(datagrams_find(&fixture->datagrams, &other));
    }
    assert_non_null(datagrams_find(&fixture->datagrams, &key));
}

static void the_oldest(void **state)
{
    struct fixture *fixture = *state;
    struct datagrams *datagrams = &fixture->datagrams;
    assert_null(datagrams_oldest(datagrams));
    assert_true(datagrams_due(datagrams) == UINT64_MAX);
    for (uint32_t i = 1; i <= 4; i++)
        add(fixture, i, 10 * i);
    uint32_t source = find(fixture, 1)->source;
    datagrams_settle(datagrams, find(fixture, 1), DATAGRAM_OPEN, 50);
    assert_ptr_equal(datagrams_oldest_waiting(datagrams), find(fixture, 2));
    assert_ptr_equal(datagrams_oldest(datagrams), find(fixture, 2));
    assert_ptr_equal(datagrams_oldest_of(datagrams, source), find(fixture, 1));
    assert_null(datagrams_overdue(datagrams, 19));
    assert_ptr_equal(datagrams_overdue(datagrams, 20), find(fixture, 2));
    for (uint32_t i = 2; i <= 4; i++)
        datagrams_remove(datagrams, find(fixture, i));
    assert_null(datagrams_oldest_waiting(datagrams));
    assert_ptr_equal(datagrams_oldest(datagrams), find(fixture, 1));
    assert_int_equal(datagrams_due(datagrams), 50);
    assert_int_equal(datagrams->source[source].datagrams, 1);
}

static void instances_have_times_of_their_own(void **state)
{
    struct fixture *fixture = *state;
    struct datagrams *datagrams = &fixture->datagrams;
    struct datagram_key key = key_of(1);
    for (uint32_t i = 0; i < 3; i++) {
        key.instance = (uint8_t)i;
        datagrams_add(datagrams, &key, 0, 100 - i);
    }
    assert_int_equal(datagrams_oldest(datagrams)->key.instance, 2);
    datagrams_settle(datagrams, datagrams_oldest(datagrams), DATAGRAM_REFUSED, 200);
    assert_int_equal(datagrams_oldest(datagrams)->key.instance, 1);
}

static void sources_are_prefixes_or_addresses(void **state)
{
    struct fixture *fixture = *state;
    struct datagram_key key = key_of(1), same = key, other = key;
    unsigned differ = 0, differ4 = 0;
    same.source.bytes[8] = same.source.bytes[15] = 0xff;
    uint32_t source = datagrams_source(&fixture->datagrams, &key, 64);
    assert_int_equal(datagrams_source(&fixture->datagrams, &same, 64), source);
    for (uint8_t i = 1; i < 100; i++) {
        other.source.bytes[7] = i;
        differ += datagrams_source(&fixture->datagrams, &other, 64) != source;
    }
    assert_in_range(differ, 90, 99);
    key.version = other.version = 4;
    source = datagrams_source(&fixture->datagrams, &key, 64);
    other = key;
    for (uint8_t i = 1; i < 100; i++) {
        other.source.bytes[3] = i;
        differ4 += datagrams_source(&fixture->datagrams, &other, 1) != source;
    }
    assert_in_range(differ4, 90, 99);
}

/* What datagram_enter must say, by a map of who has brought each unit of eight bytes. */
static enum piece_news judge(const int map[MAP], const int last[MAP], int total, int start, int end,
                             bool is_last)
{
    bool same = map[start] == start && (end == MAP || map[end - 1] == start);
    for (int i = start; i < end && same; i++)
        same = map[i] == start;
    if (same && last[start] == end)
        return PIECE_REPEATED;
    for (int i = start; i < end; i++)
        if (map[i] >= 0)
            return PIECE_CONTRADICTS;
    for (int i = end; i < MAP && is_last; i++)
        if (map[i] >= 0)
            return PIECE_CONTRADICTS;
    if (total != 0 && (is_last || end >= total))
        return PIECE_CONTRADICTS;
    return PIECE_NEW;
}

static void pieces_against_a_map(void **state)
{
    struct random random = random_seed(7);
    unsigned news[4] = {0};
    (void)state;
    for (unsigned round = 0; round < 2000; round++) {
        struct datagram datagram = {.piece_count = 0};
        int map[MAP], last[MAP] = {0}, total = 0;
        uint32_t received = 0;
        memset(map, -1, sizeof(map));
        for (unsigned i = 0; i < 60; i++) {
            uint64_t word = random_next(&random);
            int start = (int)(word % 40), end = start + 1 + (int)((word >> 8) % 4);
            bool is_last = (word >> 16) % 16 == 0;
            enum piece_news expected = judge(map, last, total, start, end, is_last);
            struct datagram_piece piece = {(uint16_t)(start * 8), (uint16_t)(end * 8)};
            assert_int_equal(datagram_enter(&datagram, piece, is_last), expected);
            news[expected]++;
            if (expected != PIECE_NEW)
                continue;
            for (int k = start; k < end; k++)
                map[k] = start;
            last[start] = end;
            received += (uint32_t)(end - start) * 8;
            total = is_last ? end : total;
            assert_int_equal(datagram.received, received);
            assert_int_equal(datagram.total, total * 8);
            assert_int_equal(datagram_is_complete(&datagram), total * 8 == (int)received && total != 0);
        }
    }
    assert_true(news[PIECE_NEW] > 1000 && news[PIECE_REPEATED] > 1000 && news[PIECE_CONTRADICTS] > 1000);
}

static void no_more_pieces_than_there_are_places(void **state)
{
    struct datagram datagram = {.piece_count = 0};
    (void)state;
    for (uint32_t i = 0; i <= FRAGMENT_PIECES; i++) {
        uint16_t start = (uint16_t)(65528 - 8 * i);
        struct datagram_piece piece = {start, (uint16_t)(start + 7)};
        assert_int_equal(datagram_enter(&datagram, piece, false),
                         i < FRAGMENT_PIECES ? PIECE_NEW : PIECE_TOO_MANY);
    }
    assert_int_equal(datagram.piece_count, FRAGMENT_PIECES);
}

#define IN_A_TABLE(test) cmocka_unit_test_setup_teardown(test, set_up, take_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_A_TABLE(found_until_removed),
        IN_A_TABLE(keys_differ_in_each_part),
        IN_A_TABLE(the_oldest),
        IN_A_TABLE(instances_have_times_of_their_own),
        IN_A_TABLE(sources_are_prefixes_or_addresses),
        cmocka_unit_test(pieces_against_a_map),
        cmocka_unit_test(no_more_pieces_than_there_are_places),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
