/* SPDX-License-Identifier: BSD-2-Clause */
/* Checksum arithmetic against a plain loop over big-endian words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "wire/checksum.h"

/* The textbook sum: big-endian words, the carry added at once. */
static uint16_t plain_sum(const uint8_t *at, size_t length)
{
    uint32_t sum = 0;
    for (size_t i = 0; i < length; i++) {
        sum += i % 2 == 0 ? (uint32_t)at[i] << 8 : at[i];
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return (uint16_t)sum;
}

static void randomize(uint8_t *at, size_t length)
{
    for (size_t i = 0; i < length; i++)
        at[i] = (uint8_t)random();
}

/* RFC 1071 section 3: the words 0001 f203 f4f5 f6f7 sum to ddf2. */
static void example_of_rfc_1071(void **state)
{
    static const uint8_t example[] = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
    (void)state;
    assert_int_equal(from_be16(checksum_fold(checksum_add_bytes(0, example, 8))), 0xddf2);
}

/* RFC 1624 section 4: a word 5555 becomes 3285, the checksum dd2f becomes 0000. */
static void example_of_rfc_1624(void **state)
{
    uint16_t delta = checksum_delta(to_be16(0x5555), to_be16(0x3285));
    (void)state;
    assert_int_equal(checksum_update(to_be16(0xdd2f), delta), 0);
}

static void bytes_are_summed_at_any_length_and_place(void **state)
{
    uint8_t bytes[80];
    (void)state;
    srandom(1);
    for (size_t start = 0; start < 8; start++)
        for (size_t length = 0; length < 70; length++) {
            randomize(bytes, sizeof(bytes));
            uint16_t sum = checksum_fold(checksum_add_bytes(0, bytes + start, length));
            assert_int_equal(from_be16(sum), plain_sum(bytes + start, length));
        }
}

static void addresses_are_bytes(void **state)
{
    uint8_t bytes[16];
    (void)state;
    randomize(bytes, sizeof(bytes));
    assert_int_equal(from_be16(checksum_fold(checksum_add_address(0, bytes))), plain_sum(bytes, 16));
}

static void large_sums_fold(void **state)
{
    static uint8_t ones[65536];
    (void)state;
    memset(ones, 0xff, sizeof(ones));
    assert_int_equal(checksum_fold(checksum_add_bytes(0, ones, sizeof(ones))), 0xffff);
    assert_int_equal(checksum_fold(UINT64_MAX), 0xffff);
    assert_int_equal(checksum_fold(0), 0);
    assert_int_equal(checksum_fold(1ull << 48), 1);
    assert_int_equal(checksum_fold(0xffffull << 32), 0xffff);
}

/* A right checksum over changed bytes, updated by the delta, is what a new computation gives. */
static void update_equals_a_new_computation(void **state)
{
    uint8_t before[40], after[40];
    (void)state;
    srandom(2);
    for (unsigned i = 0; i < 20000; i++) {
        randomize(before, sizeof(before));
        memcpy(after, before, sizeof(after));
        randomize(after + 4, 16);
        if (i % 5 == 0)
            memset(after + 4, i % 2 == 0 ? 0 : 0xff, 16);
        be16 old = (be16)~checksum_fold(checksum_add_bytes(0, before, 40));
        be16 new = (be16)~checksum_fold(checksum_add_bytes(0, after, 40));
        uint64_t gone = checksum_add_address(0, before + 4), came = checksum_add_address(0, after + 4);
        assert_int_equal(checksum_update(old, checksum_delta(gone, came)), new);
    }
}

/* The same delta serves a field that holds the pseudo-header's sum. */
static void partial_update_keeps_the_sum(void **state)
{
    uint8_t before[32], after[32];
    (void)state;
    for (unsigned i = 0; i < 20000; i++) {
        randomize(before, sizeof(before));
        randomize(after, sizeof(after));
        uint64_t tail = checksum_pseudo_tail((uint32_t)random() % 65536, 6);
        be16 old = checksum_fold(checksum_add_bytes(tail, before, 32));
        be16 new = checksum_fold(checksum_add_bytes(tail, after, 32));
        uint16_t delta = checksum_delta(checksum_add_bytes(0, before, 32), checksum_add_bytes(0, after, 32));
        assert_int_equal(checksum_update_partial(old, delta), new);
    }
}

static void pseudo_tail_is_length_and_protocol(void **state)
{
    static const uint8_t tail[] = {0x00, 0x01, 0x02, 0x03, 0, 0, 0, 58};
    (void)state;
    assert_int_equal(from_be16(checksum_fold(checksum_pseudo_tail(0x00010203, 58))), plain_sum(tail, 8));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(example_of_rfc_1071),
        cmocka_unit_test(example_of_rfc_1624),
        cmocka_unit_test(bytes_are_summed_at_any_length_and_place),
        cmocka_unit_test(addresses_are_bytes),
        cmocka_unit_test(large_sums_fold),
        cmocka_unit_test(update_equals_a_new_computation),
        cmocka_unit_test(partial_update_keeps_the_sum),
        cmocka_unit_test(pseudo_tail_is_length_and_protocol),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
