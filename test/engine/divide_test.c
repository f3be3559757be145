/* SPDX-License-Identifier: BSD-2-Clause */
/* Pieces put together again, whatever their size, and which packet of a burst they come of. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/divide.h"
#include "engine/worker.h"
#include "wire/checksum.h"

enum {
    HEADERS = 48,
    PAYLOAD = 4001,
    IDENTIFICATION = 0xbeef,
};

/* IPv6 from 2001:db8::1, with a fragment header of this offset in bytes. */
static void make_whole(uint8_t whole[HEADERS + PAYLOAD], uint32_t offset_more)
{
    memset(whole, 0, HEADERS);
    whole[0] = 0x60;
    store_be16(whole + 4, to_be16(8 + PAYLOAD));
    whole[6] = PROTOCOL_FRAGMENT;
    whole[7] = 63;
    whole[8] = 0x20;
    whole[40] = PROTOCOL_UDP;
    store_be16(whole + 42, to_be16((uint16_t)offset_more));
    store_be32(whole + 44, to_be32(IDENTIFICATION));
    for (uint32_t i = 0; i < PAYLOAD; i++)
        whole[HEADERS + i] = (uint8_t)(i * 31 + i / 256);
}

/* Cuts with this limit into buffers with this room, and checks each piece and all together. */
static void cut(uint32_t limit, uint32_t room, uint32_t offset_more)
{
    static uint8_t whole[HEADERS + PAYLOAD], buffer[65536], again[PAYLOAD];
    struct division division = {.packet = whole, .payload = PAYLOAD, .limit = limit};
    struct packet piece = {.buffer = buffer, .capacity = room + 10, .offset = 10};
    uint32_t done = 0;
    make_whole(whole, offset_more);
    while (divide_next(&division, &piece)) {
        const uint8_t *at = packet_data(&piece);
        uint32_t length = piece.length - HEADERS, field = from_be16(load_be16(at + 42));
        assert_true(piece.length <= limit && piece.length <= room);
        assert_int_equal(from_be16(load_be16(at + 4)), length + 8);
        assert_memory_equal(at, whole, 4);
        assert_memory_equal(at + 6, whole + 6, 36);
        assert_memory_equal(at + 44, whole + 44, 4);
        assert_int_equal(field & IPV6_OFFSET_MASK, (offset_more & IPV6_OFFSET_MASK) + done);
        assert_true(done + length <= PAYLOAD);
        memcpy(again + done, at + HEADERS, length);
        done += length;
        assert_int_equal(field & 7, done < PAYLOAD ? 1 : offset_more & 1);
        assert_true(done == PAYLOAD || length % 8 == 0);
    }
    assert_int_equal(done, PAYLOAD);
    assert_memory_equal(again, whole + HEADERS, PAYLOAD);
}

/* rfc: 7915-4.1-a, 4787-REQ13-c */
static void test_pieces_make_the_whole(void **state)
{
    (void)state;
    for (uint32_t limit = 1280; limit < 1300; limit++)
        cut(limit, 65000, 0);
    cut(65535, 65000, 0);
    cut(1500, OUTPUT_PACKET, 0);
    cut(1280, 56, 0); /* eight bytes a piece */
}

static void test_a_fragment_is_cut_further(void **state)
{
    (void)state;
    cut(1280, 65000, 1232);
    cut(1280, 65000, 1232 | IPV6_MORE_FRAGMENTS);
    cut(1280, 65000, 0 | IPV6_MORE_FRAGMENTS);
}

static void test_the_limit_of_a_destination(void **state)
{
    static const struct ipv6_address near = {{0x20, 1}}, far = {{0x30}};
    struct path_route route = {.to = {UINT64_C(0x2001) << 48, 0}, .length = 16, .mtu = 1400};
    struct path_routes six = {&route, 1, 9000}, none = {NULL, 0, 1500};
    struct paths *paths = paths_create(&six, &none);
    struct translation_settings settings = {.mtu6 = 1400, .paths6 = &paths->ipv6};
    (void)state;
    assert_int_equal(divide_limit(&settings, &near), 1280);
    settings.lowest_ipv6_mtu = 1300;
    assert_int_equal(divide_limit(&settings, &near), 1300);
    settings.lowest_ipv6_mtu = 1500;
    assert_int_equal(divide_limit(&settings, &near), 1400);
    assert_int_equal(divide_limit(&settings, &far), 1500);
    paths_destroy(paths);
}

/* Adds up what a receiver of the datagram would: zero if all is well. */
static uint16_t residue(const uint8_t *header, const uint8_t *udp, uint32_t length)
{
    uint64_t sum = checksum_pseudo_tail(length, PROTOCOL_UDP);
    sum = checksum_add_address(checksum_add_address(sum, header + 8), header + 24);
    return (uint16_t)~checksum_fold(checksum_add_bytes(sum, udp, length));
}

/* A super-packet with datagrams of `segment` bytes: what its pieces carry is checked and put together again.
 */
static void cut_segments(uint32_t segment, uint32_t limit, uint32_t room)
{
    static uint8_t whole[HEADERS + PAYLOAD], original[HEADERS + PAYLOAD], buffer[65536];
    static uint8_t datagram[PAYLOAD], again[PAYLOAD];
    struct packet piece = {.buffer = buffer, .capacity = room + 10, .offset = 10};
    struct division division = {.packet = whole, .payload = PAYLOAD, .limit = limit};
    uint32_t done = 0, got = 0, number = 0;
    make_whole(whole, 0);
    memcpy(original, whole, sizeof(whole));
    divide_segments(&division, segment);
    while (divide_next(&division, &piece)) {
        const uint8_t *at = packet_data(&piece);
        bool more = false;
        uint32_t headers = 40;
        assert_true(piece.length <= limit && piece.length <= room);
        assert_int_equal(from_be16(load_be16(at + 4)), piece.length - 40);
        if (at[6] == PROTOCOL_FRAGMENT) {
            headers = HEADERS;
            more = (from_be16(load_be16(at + 42)) & 1) != 0;
            assert_int_equal(from_be16(load_be16(at + 42)) & IPV6_OFFSET_MASK, got);
            assert_int_equal(from_be32(load_be32(at + 44)), (IDENTIFICATION + number) & 0xffff);
        }
        memcpy(datagram + got, at + headers, piece.length - headers);
        got += piece.length - headers;
        if (more)
            continue;
        assert_true(got == 8 + segment || done + got - 8 == PAYLOAD - 8);
        assert_int_equal(from_be16(load_be16(datagram + 4)), got);
        assert_memory_equal(datagram, original + HEADERS, 4);
        assert_int_equal(residue(at, datagram, got), 0);
        memcpy(again + done, datagram + 8, got - 8);
        done += got - 8;
        got = 0;
        number++;
    }
    assert_int_equal(done, PAYLOAD - 8);
    assert_int_equal(number, (PAYLOAD - 8 + segment - 1) / segment);
    assert_memory_equal(again, original + HEADERS + 8, PAYLOAD - 8);
}

static void test_datagrams_of_a_super_packet(void **state)
{
    (void)state;
    for (uint32_t segment = 1233; segment < 1310; segment++)
        cut_segments(segment, 1280, 65000);
    cut_segments(3000, 1280, 65000);
    cut_segments(5000, 1280, 65000);
    cut_segments(PAYLOAD - 8, 1280, 65000);
    cut_segments(1453, 1500, OUTPUT_PACKET);
    cut_segments(100, 120, 65000); /* headers that overlap what they are moved to */
    cut_segments(1, 57, 65000);
}

/* A plane asks for the pieces of each packet in its turn; who does not gets them one after the other. */
static void test_pieces_of_each_packet_in_its_turn(void **state)
{
    static uint8_t whole[HEADERS + PAYLOAD], buffer[OUTPUT_PACKET];
    static struct engine engine; /* nobody captures */
    struct worker *worker = calloc(1, sizeof(*worker));
    worker->engine = &engine;
    struct packet packet = {.buffer = whole, .capacity = sizeof(whole), .length = HEADERS + 1240};
    struct packet piece = {.buffer = buffer, .capacity = sizeof(buffer)};
    (void)state;
    make_whole(whole, 0);
    divide_begin(worker, 3, &packet);
    divide_begin(worker, 7, &packet);
    divide_begin(worker, 8, &packet);
    assert_false(engine_pull_pieces(worker, 0, &piece));
    assert_false(engine_pull_pieces(worker, 7, &piece));
    for (unsigned i = 0; i < 2; i++)
        assert_true(engine_pull_pieces(worker, 3, &piece));
    assert_false(engine_pull_pieces(worker, 3, &piece));
    assert_true(engine_pull_pieces(worker, 7, &piece));
    for (unsigned i = 0; i < 3; i++)
        assert_true(engine_pull(worker, &piece));
    assert_false(engine_pull(worker, &piece));
    assert_int_equal(worker->counters.pieces_made, 6);
    free(worker);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pieces_make_the_whole),
        cmocka_unit_test(test_a_fragment_is_cut_further),
        cmocka_unit_test(test_datagrams_of_a_super_packet),
        cmocka_unit_test(test_the_limit_of_a_destination),
        cmocka_unit_test(test_pieces_of_each_packet_in_its_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
