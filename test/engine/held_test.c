/* SPDX-License-Identifier: BSD-2-Clause */
/* Memory for held packets: what went in comes out, is summed right, and all of it comes back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/held.h"
#include "wire/checksum.h"

enum {
    MANY = 16,
    BLOCKS = 40,
    LONGEST = 3000,
};

struct fixture {
    void *memory;
    struct held_memory held;
    uint8_t bytes[MANY][LONGEST];
    uint32_t length[MANY], piece[MANY];
};

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    assert_non_null(fixture);
    size_t size = held_size(MANY, BLOCKS);
    fixture->memory = aligned_alloc(64, (size + 63) & ~(size_t)63);
    assert_non_null(fixture->memory);
    memset(fixture->memory, 0, size);
    held_set_up(&fixture->held, fixture->memory, MANY, BLOCKS);
    for (unsigned i = 0; i < MANY; i++)
        for (unsigned k = 0; k < LONGEST; k++)
            fixture->bytes[i][k] = (uint8_t)(i * 31 + k * 7 + k / 256);
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

static bool put(struct fixture *fixture, unsigned i, uint32_t length)
{
    struct packet packet = {.buffer = fixture->bytes[i], .capacity = LONGEST, .length = length};
    struct held_piece like = {.next = NO_PIECE, .length = length, .transport = 40, .offset = 8};
    if (!held_has_room(&fixture->held, length))
        return false;
    fixture->piece[i] = held_put(&fixture->held, &packet, &like);
    fixture->length[i] = length;
    return true;
}

static void assert_kept(const struct fixture *fixture, unsigned i)
{
    uint8_t copy[LONGEST + 1] = {0};
    held_get(&fixture->held, fixture->piece[i], copy, fixture->length[i]);
    assert_memory_equal(copy, fixture->bytes[i], fixture->length[i]);
    assert_int_equal(copy[fixture->length[i]], 0);
    assert_int_equal(fixture->held.piece[fixture->piece[i]].length, fixture->length[i]);
}

static void lengths_around_a_block(void **state)
{
    static const uint32_t lengths[] = {1, 255, 256, 257, 511, 512, 513, 2999};
    struct fixture *fixture = *state;
    for (unsigned i = 0; i < 8; i++)
        assert_true(put(fixture, i, lengths[i]));
    for (unsigned i = 0; i < 8; i++)
        assert_kept(fixture, i);
    assert_int_equal(fixture->held.pieces_used, 8);
    assert_int_equal(fixture->held.blocks_used, 1 + 1 + 1 + 2 + 2 + 2 + 3 + 12);
}

static void full_of_blocks(void **state)
{
    struct fixture *fixture = *state;
    for (unsigned i = 0; i < 3; i++)
        assert_true(put(fixture, i, LONGEST));
    assert_false(put(fixture, 3, 4 * HELD_BLOCK + 1));
    assert_true(put(fixture, 3, 4 * HELD_BLOCK));
    assert_false(put(fixture, 4, 1));
    held_free(&fixture->held, fixture->piece[1]);
    for (unsigned i = 4; i < MANY; i++)
        assert_true(put(fixture, i, 1));
    assert_int_equal(fixture->held.blocks_used, BLOCKS);
    assert_kept(fixture, 0);
    assert_kept(fixture, 2);
    assert_kept(fixture, 3);
}

static void full_of_pieces(void **state)
{
    struct fixture *fixture = *state;
    for (unsigned i = 0; i < MANY; i++)
        assert_true(put(fixture, i, 1 + i));
    assert_false(held_has_room(&fixture->held, 1));
    held_free(&fixture->held, fixture->piece[5]);
    assert_true(put(fixture, 5, 100));
    assert_false(held_has_room(&fixture->held, 1));
    for (unsigned i = 0; i < MANY; i++)
        assert_kept(fixture, i);
}

static void memory_is_used_again(void **state)
{
    struct fixture *fixture = *state;
    for (unsigned round = 0; round < 1000; round++) {
        unsigned i = round * 5 % 8;
        if (fixture->length[i] > 0) {
            assert_kept(fixture, i);
            held_free(&fixture->held, fixture->piece[i]);
        }
        assert_true(put(fixture, i, 1 + round * 37 % 1200));
    }
    for (unsigned i = 0; i < 8; i++) {
        assert_kept(fixture, i);
        held_free(&fixture->held, fixture->piece[i]);
    }
    assert_int_equal(fixture->held.pieces_used, 0);
    assert_int_equal(fixture->held.blocks_used, 0);
    assert_in_range(fixture->held.blocks_begun, 1, BLOCKS);
    assert_in_range(fixture->held.pieces_begun, 1, 8);
}

static void sums_reach_over_blocks(void **state)
{
    struct fixture *fixture = *state;
    assert_true(put(fixture, 0, LONGEST));
    for (uint32_t from = 0; from < 600; from += 2)
        for (uint32_t length = 0; length < 1100; length += 97)
            assert_int_equal(checksum_fold(held_sum(&fixture->held, fixture->piece[0], from, length)),
                             checksum_fold(checksum_add_bytes(0, fixture->bytes[0] + from, length)));
    held_patch(&fixture->held, fixture->piece[0], 46, to_be16(0xbeef));
    fixture->bytes[0][46] = 0xbe;
    fixture->bytes[0][47] = 0xef;
    assert_kept(fixture, 0);
}

#define IN_MEMORY(test) cmocka_unit_test_setup_teardown(test, set_up, take_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_MEMORY(lengths_around_a_block), IN_MEMORY(full_of_blocks),         IN_MEMORY(full_of_pieces),
        IN_MEMORY(memory_is_used_again),   IN_MEMORY(sums_reach_over_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
