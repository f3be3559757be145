/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Packets for tests: built from a few numbers, and checked by arithmetic that shares nothing with
 * wire/checksum.h (big-endian words, folded as they come).
 */
#ifndef TEST_ENGINE_PACKETS_H
#define TEST_ENGINE_PACKETS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/limits.h"
#include "engine/packet.h"
#include "engine/settings.h"

enum {
    TEST_ROOM = 256, /* headroom in front of packets that are built */
    TEST_CAPACITY = 80000,
};

static uint8_t test_buffer[TEST_CAPACITY] __attribute__((unused));

static const struct translation_settings test_settings __attribute__((unused)) = {
    .tos = -1, .amend_udp_checksum_zero = true, .mss_clamp = true, .mtu6 = 1500, .mtu4 = 1500};

static inline uint32_t be(const uint8_t *at, unsigned bytes)
{
    uint32_t value = 0;
    while (bytes-- > 0)
        value = value << 8 | *at++;
    return value;
}

static inline void put(uint8_t *at, unsigned bytes, uint32_t value)
{
    for (unsigned i = bytes; i > 0; i--, value >>= 8)
        at[i - 1] = (uint8_t)value;
}

/* Ones' complement sum of big-endian words. */
static inline uint16_t words(uint16_t start, const uint8_t *at, size_t length)
{
    uint32_t sum = start;
    for (size_t i = 0; i < length; i++) {
        sum += i % 2 == 0 ? (uint32_t)at[i] << 8 : at[i];
        if (sum > 0xffff)
            sum -= 0xffff;
    }
    return (uint16_t)sum;
}

/* Sum of the pseudo-header of the packet at `ip` for an upper-layer packet of `length` bytes. */
static inline uint16_t pseudo(const uint8_t *ip, uint8_t protocol, uint32_t length)
{
    uint8_t tail[8];
    put(tail, 4, length);
    put(tail + 4, 4, protocol);
    if (ip[0] >> 4 == 4)
        return words(protocol == 1 ? 0 : words(0, tail, 8), ip + 12, protocol == 1 ? 0 : 8);
    return words(words(0, tail, 8), ip + 8, 32);
}

/* 0xffff, or 0 for all zeroes, if the transport checksum at ip + transport is right. */
static inline uint16_t transport_sum(const uint8_t *ip, uint32_t transport, uint8_t protocol, uint32_t length)
{
    return words(pseudo(ip, protocol, length), ip + transport, length);
}

static inline unsigned checksum_position(uint8_t protocol)
{
    return protocol == 6 ? 16 : protocol == 17 ? 6 : 2;
}

/* Fills in the transport checksum. */
static inline void seal(uint8_t *ip, uint32_t transport, uint8_t protocol, uint32_t length)
{
    uint8_t *at = ip + transport + checksum_position(protocol);
    put(at, 2, 0);
    put(at, 2, (uint16_t)~transport_sum(ip, transport, protocol, length));
    if (protocol == 17 && be(at, 2) == 0)
        put(at, 2, 0xffff);
}

static inline void seal_ipv4(uint8_t *ip)
{
    put(ip + 10, 2, 0);
    put(ip + 10, 2, (uint16_t)~words(0, ip, (ip[0] & 15u) * 4u));
}

/* An empty packet with headroom. */
static inline struct packet packet_at(uint32_t offset, uint32_t length)
{
    memset(test_buffer, 0xa5, sizeof(test_buffer));
    return (struct packet){
        .buffer = test_buffer, .capacity = TEST_CAPACITY, .offset = offset, .length = length};
}

/* Transport header and payload bytes; ports 1111 and 2222 (or type and identifier), sequence-like payload. */
static inline void put_transport(uint8_t *at, uint8_t protocol, uint32_t length)
{
    for (uint32_t i = 0; i < length; i++)
        at[i] = (uint8_t)(i * 7 + 3);
    put(at, 2, 1111);
    put(at + 2, 2, 2222);
    if (protocol == 6) {
        at[12] = 0x50;
        at[13] = 0x10;
    } else if (protocol == 17) {
        put(at + 4, 2, length);
    } else {
        at[0] = protocol == 1 ? 8 : 128;
        at[1] = 0;
        put(at + 4, 2, 1111);
        put(at + 6, 2, 1);
    }
}

static const uint8_t test_source6[16] __attribute__((unused)) = {0x20, 1, 0x0d, 0xb8, [15] = 5};
static const uint8_t test_destination6[16]
    __attribute__((unused)) = {0x20, 1, 0x0d, 0xb8, 0, 0x64, [12] = 198, 51, 100, 7};
static const uint8_t test_source4[4] __attribute__((unused)) = {198, 51, 100, 7};
static const uint8_t test_destination4[4] __attribute__((unused)) = {192, 0, 2, 9};

static inline void put_ipv6(uint8_t *ip, uint8_t next_header, uint32_t payload)
{
    put(ip, 4, 0x6ab12345); /* traffic class 0xab */
    put(ip + 4, 2, payload);
    ip[6] = next_header;
    ip[7] = 64;
    memcpy(ip + 8, test_source6, 16);
    memcpy(ip + 24, test_destination6, 16);
}

static inline void put_ipv4(uint8_t *ip, uint8_t protocol, uint32_t length)
{
    static const uint8_t start[] = {0x45, 0xab, 0, 0, 0x12, 0x34, 0, 0, 64};
    memcpy(ip, start, sizeof(start));
    put(ip + 2, 2, length);
    ip[9] = protocol;
    memcpy(ip + 12, test_source4, 4);
    memcpy(ip + 16, test_destination4, 4);
    seal_ipv4(ip);
}

/* A whole packet with `length` bytes of transport header and payload. */
static inline struct packet make6(uint8_t protocol, uint32_t length)
{
    struct packet packet = packet_at(TEST_ROOM, 40 + length);
    uint8_t *ip = packet_data(&packet);
    put_ipv6(ip, protocol, length);
    put_transport(ip + 40, protocol, length);
    seal(ip, 40, protocol, length);
    return packet;
}

static inline struct packet make4(uint8_t protocol, uint32_t length)
{
    struct packet packet = packet_at(TEST_ROOM, 20 + length);
    uint8_t *ip = packet_data(&packet);
    put_ipv4(ip, protocol, 20 + length);
    put_transport(ip + 20, protocol, length);
    seal(ip, 20, protocol, length);
    return packet;
}

/* Puts `extra` bytes between IP header and transport header and corrects the lengths. */
static inline uint8_t *insert_headers(struct packet *packet, const uint8_t *extra, uint32_t length)
{
    bool six = packet_data(packet)[0] >> 4 == 6;
    uint32_t header = six ? 40 : (packet_data(packet)[0] & 15u) * 4;
    uint8_t *ip = packet_data(packet) - length;
    memmove(ip, ip + length, header);
    memcpy(ip + header, extra, length);
    packet->offset -= length;
    packet->length += length;
    if (six) {
        put(ip + 4, 2, packet->length - 40);
    } else {
        ip[0] = (uint8_t)(ip[0] + length / 4);
        put(ip + 2, 2, packet->length);
        seal_ipv4(ip);
    }
    return ip;
}

#endif /* TEST_ENGINE_PACKETS_H */
