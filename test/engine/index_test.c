/* SPDX-License-Identifier: BSD-2-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/index.h"

static struct table *table;

static int make_table(void **state)
{
    (void)state;
    struct geometry geometry = {.sessions = 1024, .addresses = 1, .workers = 1};
    table = table_create(&geometry, 5);
    return table == NULL;
}

static int drop_table(void **state)
{
    (void)state;
    table_destroy(table);
    return 0;
}

static bool found(uint64_t hash, uint64_t wanted)
{
    struct index_walk walk = index_start(table, SEGMENT_SESSION6, hash);
    for (uint64_t slot = index_next(table, &walk); slot != 0; slot = index_next(table, &walk))
        if (slot == wanted)
            return true;
    return false;
}

static void a_slot_says_what_it_was_made_of(void **state)
{
    (void)state;
    uint64_t slot = slot_make(0x123456789abcdef0ull, 0xbeef, 77);
    assert_int_equal(slot_index(slot), 77);
    assert_int_equal(slot_generation(slot), 0xbeef);
    assert_true(slot_matches(slot, 0xdef0));
    assert_false(slot_matches(slot, 0xdef1));
    assert_false(slot_matches(0, 0));
}

/* One bucket's worth, then strays, up to the limit; nothing is lost on the way out, in any order. */
static void strays_are_found_and_bounded(void **state)
{
    (void)state;
    const uint64_t hash = 0x7000000000001234ull;
    enum { PLACES = PROBE_LIMIT * BUCKET_SLOTS };
    for (uint32_t i = 0; i < PLACES; i++)
        assert_true(index_publish(table, SEGMENT_SESSION6, hash, slot_make(hash, 1, i)));
    assert_false(index_publish(table, SEGMENT_SESSION6, hash, slot_make(hash, 1, PLACES)));
    struct bucket *home = bucket_at(table, SEGMENT_SESSION6, hash_bucket(table, hash));
    assert_int_equal(home->strays, PLACES - BUCKET_SLOTS);
    for (uint32_t i = 0; i < PLACES; i++)
        assert_true(found(hash, slot_make(hash, 1, i)));
    for (uint32_t i = 0; i < PLACES; i += 2)
        index_withdraw(table, SEGMENT_SESSION6, hash, slot_make(hash, 1, i));
    for (uint32_t i = 0; i < PLACES; i++)
        assert_int_equal(found(hash, slot_make(hash, 1, i)), i % 2 == 1);
    for (uint32_t i = 1; i < PLACES; i += 2)
        index_withdraw(table, SEGMENT_SESSION6, hash, slot_make(hash, 1, i));
    assert_int_equal(home->strays, 0);
    for (unsigned i = 0; i < BUCKET_SLOTS; i++)
        assert_int_equal(home->slot[i], 0);
}

static void the_last_bucket_wraps_around(void **state)
{
    (void)state;
    const uint64_t hash = 0xffffffff00004321ull;
    assert_int_equal(hash_bucket(table, hash), table->constants.buckets - 1);
    for (uint32_t i = 0; i < BUCKET_SLOTS + 1; i++)
        assert_true(index_publish(table, SEGMENT_SESSION6, hash, slot_make(hash, 1, i)));
    assert_true(bucket_at(table, SEGMENT_SESSION6, 0)->slot[0] != 0);
    assert_true(found(hash, slot_make(hash, 1, BUCKET_SLOTS)));
}

/* At capacity, with real hashes, no entry is refused and few stray. */
static void capacity_fits(void **state)
{
    (void)state;
    uint64_t strays = 0;
    for (uint32_t i = 0; i < 1024; i++) {
        struct key6 key = {.remote = i, .client_port = (be16)i};
        uint64_t hash = hash_key6(table, &key);
        assert_true(index_publish(table, SEGMENT_SESSION6, hash, slot_make(hash, 1, i)));
    }
    for (uint32_t i = 0; i < table->constants.buckets; i++)
        strays += bucket_at(table, SEGMENT_SESSION6, i)->strays;
    assert_true(strays < 1024 / 10);
}

/* A different seed sends the same key elsewhere. */
static void hashes_are_seeded(void **state)
{
    (void)state;
    struct geometry geometry = {.sessions = 1024, .addresses = 1, .workers = 1};
    struct table *other = table_create(&geometry, 6);
    assert_non_null(other);
    struct key6 key6 = {.remote = 1};
    struct key4 key4 = {.remote = 1};
    struct binding_key binding = {.client_port = 1};
    assert_int_not_equal(hash_key6(table, &key6), hash_key6(other, &key6));
    assert_int_not_equal(hash_key4(table, &key4), hash_key4(other, &key4));
    assert_int_not_equal(hash_binding(table, &binding), hash_binding(other, &binding));
    table_destroy(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_slot_says_what_it_was_made_of, make_table, drop_table),
        cmocka_unit_test_setup_teardown(strays_are_found_and_bounded, make_table, drop_table),
        cmocka_unit_test_setup_teardown(the_last_bucket_wraps_around, make_table, drop_table),
        cmocka_unit_test_setup_teardown(capacity_fits, make_table, drop_table),
        cmocka_unit_test_setup_teardown(hashes_are_seeded, make_table, drop_table),
    };
    return cmocka_run_group_tests_name("index", tests, NULL, NULL);
}
