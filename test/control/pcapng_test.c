/* SPDX-License-Identifier: BSD-2-Clause */
/* Blocks byte by byte, as the format's description has them. Numbers are in the machine's order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "control/pcapng.h"

enum {
    ROOM = 4096,
};

static uint8_t bytes[ROOM];
static size_t position;

static struct pcapng fresh(void)
{
    memset(bytes, 0xa5, sizeof(bytes));
    position = 0;
    return (struct pcapng){.bytes = bytes, .size = sizeof(bytes)};
}

static void expect16(uint16_t expected)
{
    uint16_t found;
    memcpy(&found, bytes + position, sizeof(found));
    assert_int_equal(found, expected);
    position += sizeof(found);
}

static void expect32(uint32_t expected)
{
    uint32_t found;
    memcpy(&found, bytes + position, sizeof(found));
    assert_int_equal(found, expected);
    position += sizeof(found);
}

static void expect_bytes(const void *expected, size_t length)
{
    assert_memory_equal(bytes + position, expected, length);
    position += length;
}

static void expect_option(uint16_t code, const void *value, uint16_t length)
{
    static const uint8_t zeroes[4];
    expect16(code);
    expect16(length);
    expect_bytes(value, length);
    expect_bytes(zeroes, (4 - length % 4u) % 4);
}

static void expect_end(const struct pcapng *made)
{
    expect32(0); /* the end of the options */
    expect32((uint32_t)made->length);
    assert_int_equal(position, made->length);
    assert_int_equal(made->length % 4, 0);
}

static void test_section(void **state)
{
    struct pcapng made = fresh();
    (void)state;
    pcapng_section(&made, "isthmus");
    expect32(0x0a0d0d0a);
    expect32((uint32_t)made.length);
    expect32(0x1a2b3c4d);
    expect16(1);
    expect16(0);
    expect32(0xffffffff); /* the length of the section is not known */
    expect32(0xffffffff);
    expect_option(4, "isthmus", 7);
    expect_end(&made);
}

static void test_interface(void **state)
{
    const struct pcapng_interface interface = {.name = "isthmus0", .description = "both sides", .snap = 2048};
    struct pcapng made = fresh();
    (void)state;
    pcapng_interface(&made, &interface);
    expect32(1);
    expect32((uint32_t)made.length);
    expect16(101); /* LINKTYPE_RAW */
    expect16(0);
    expect32(2048);
    expect_option(2, "isthmus0", 8);
    expect_option(3, "both sides", 10);
    expect_option(9, "\x09", 1); /* nanoseconds */
    expect_end(&made);
}

static void expect_packet(bool outbound, uint32_t kept)
{
    static const uint8_t packet[8] = {0x60, 1, 2, 3, 4, 5, 6, 7}, zeroes[4];
    const uint32_t flags = outbound ? 2 : 1, queue = 3;
    const uint64_t number = 0x0003000000000007;
    struct pcapng made = fresh();
    pcapng_packet(&made, &(struct pcapng_packet){.time = 0x1122334455667788,
                                                 .length = 1500,
                                                 .kept = kept,
                                                 .bytes = packet,
                                                 .outbound = outbound,
                                                 .queue = queue,
                                                 .number = number,
                                                 .comment = "why: so."});
    expect32(6);
    expect32((uint32_t)made.length);
    expect32(0);
    expect32(0x11223344); /* the upper half first, whatever the order of bytes */
    expect32(0x55667788);
    expect32(kept);
    expect32(1500);
    expect_bytes(packet, kept);
    expect_bytes(zeroes, (4 - kept % 4) % 4);
    expect_option(1, "why: so.", 8);
    expect_option(2, &flags, 4);
    expect_option(5, &number, 8);
    expect_option(6, &queue, 4);
    expect_end(&made);
}

static void test_packet(void **state)
{
    (void)state;
    for (uint32_t kept = 0; kept <= 8; kept++) {
        expect_packet(false, kept);
        expect_packet(true, kept);
    }
}

static void test_statistics(void **state)
{
    const uint64_t missed = 0x123456789;
    struct pcapng made = fresh();
    (void)state;
    pcapng_statistics(&made, 0x1122334455667788, missed);
    assert_memory_equal(bytes + PCAPNG_MISSED_POSITION, &missed, sizeof(missed));
    expect32(5);
    expect32((uint32_t)made.length);
    expect32(0);
    expect32(0x11223344);
    expect32(0x55667788);
    expect_option(5, &missed, 8);
    expect_end(&made);
}

static void test_long_texts_are_cut(void **state)
{
    static char text[2000];
    static const uint8_t packet[1];
    struct pcapng made = fresh();
    (void)state;
    memset(text, 'x', sizeof(text) - 1);
    pcapng_packet(&made, &(struct pcapng_packet){.kept = 1, .bytes = packet, .comment = text});
    assert_true(made.length <= 4 + PCAPNG_OVERHEAD_MAXIMUM);
    position = 28 + 4;
    expect16(1);
    expect16(PCAPNG_TEXT_MAXIMUM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_section),
        cmocka_unit_test(test_interface),
        cmocka_unit_test(test_packet),
        cmocka_unit_test(test_statistics),
        cmocka_unit_test(test_long_texts_are_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
