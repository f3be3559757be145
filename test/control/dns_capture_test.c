/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Refused messages put back into packets: what a reader of IP and UDP finds in them, with sums made here, not
 * by the code under test; and what a capture of a real engine gets of them.
 */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "control/dns_capture.h"
#include "engine/engine.h"

static uint8_t message[70000];

static struct sockaddr_in6 endpoint(const char *address, uint16_t port)
{
    struct sockaddr_in6 made = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    assert_int_equal(inet_pton(AF_INET6, address, &made.sin6_addr), 1);
    return made;
}

/* The sum of RFC 1071, a 16-bit word in network order at a time. */
static uint16_t sum(const uint8_t *bytes, size_t length, uint32_t start)
{
    uint32_t total = start;
    for (size_t i = 0; i < length; i++) {
        total += i % 2 == 0 ? (uint32_t)bytes[i] << 8 : bytes[i];
        total = (total & 0xffff) + (total >> 16);
    }
    return (uint16_t)total;
}

static uint32_t be16_at(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 8 | bytes[1];
}

/* A whole packet has the sum 0xffff over pseudo-header and UDP. */
static void expect_sum(const struct dns_packet *packet, uint32_t ip_length, uint32_t addresses)
{
    const uint8_t *udp = packet->head + ip_length;
    uint32_t payload = packet->head_length - ip_length + packet->body_length;
    assert_int_not_equal(be16_at(udp + 6), 0);
    uint16_t total = sum(packet->head + ip_length - addresses, addresses, 17);
    total = sum((const uint8_t[2]){(uint8_t)(payload >> 8), (uint8_t)payload}, 2, total);
    total = sum(udp, 8, total);
    assert_int_equal(sum(message, packet->body_length, total), 0xffff);
}

static void fill(uint8_t first)
{
    for (size_t i = 0; i < sizeof(message); i++)
        message[i] = (uint8_t)(first + i * 7);
}

static void test_ipv6(void **state)
{
    static const size_t sizes[] = {0, 1, 2, 11, 12, 31, 1232, 65527};
    const struct sockaddr_in6 from = endpoint("2001:db8:1::2", 40000), to = endpoint("2001:db8::53", 53);
    struct dns_packet packet;
    (void)state;
    fill(1);
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        const struct server_seen seen = {.from = &from, .to = &to, .bytes = message, .size = sizes[i]};
        dns_packet_make(&packet, &seen);
        assert_int_equal(packet.head_length, 48);
        assert_int_equal(packet.body_length, sizes[i]);
        assert_int_equal(packet.head[0], 0x60);
        assert_int_equal(be16_at(packet.head + 4), 8 + sizes[i]);
        assert_int_equal(packet.head[6], 17);
        assert_memory_equal(packet.head + 8, &from.sin6_addr, 16);
        assert_memory_equal(packet.head + 24, &to.sin6_addr, 16);
        assert_int_equal(be16_at(packet.head + 40), 40000);
        assert_int_equal(be16_at(packet.head + 42), 53);
        assert_int_equal(be16_at(packet.head + 44), 8 + sizes[i]);
        expect_sum(&packet, 40, 32);
    }
}

static void test_ipv4(void **state)
{
    static const size_t sizes[] = {0, 3, 12, 512, 65507};
    static const uint8_t addresses[] = {198, 51, 100, 7, 192, 0, 2, 53};
    const struct sockaddr_in6 from = endpoint("::ffff:198.51.100.7", 1),
                              to = endpoint("::ffff:192.0.2.53", 53);
    struct dns_packet packet;
    (void)state;
    fill(200);
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        const struct server_seen seen = {.from = &from, .to = &to, .bytes = message, .size = sizes[i]};
        dns_packet_make(&packet, &seen);
        assert_int_equal(packet.head_length, 28);
        assert_int_equal(packet.body_length, sizes[i]);
        assert_int_equal(packet.head[0], 0x45);
        assert_int_equal(be16_at(packet.head + 2), 28 + sizes[i]);
        assert_int_equal(packet.head[9], 17);
        assert_memory_equal(packet.head + 12, addresses, sizeof(addresses));
        assert_int_equal(sum(packet.head, 20, 0), 0xffff);
        assert_int_equal(be16_at(packet.head + 20), 1);
        assert_int_equal(be16_at(packet.head + 24), 8 + sizes[i]);
        expect_sum(&packet, 20, 8);
    }
}

/* A message of TCP may be longer than any packet: as much as fits. */
static void test_what_no_packet_holds(void **state)
{
    const struct sockaddr_in6 from = endpoint("::ffff:198.51.100.7", 1),
                              to = endpoint("::ffff:192.0.2.53", 53);
    const struct sockaddr_in6 from6 = endpoint("2001:db8:1::2", 1), to6 = endpoint("2001:db8::53", 53);
    const struct server_seen four = {.from = &from, .to = &to, .bytes = message, .size = 65535};
    const struct server_seen six = {.from = &from6, .to = &to6, .bytes = message, .size = 65535};
    struct dns_packet packet;
    (void)state;
    dns_packet_make(&packet, &four);
    assert_int_equal(be16_at(packet.head + 2), 65535);
    assert_int_equal(packet.body_length, 65535 - 28);
    expect_sum(&packet, 20, 8);
    dns_packet_make(&packet, &six);
    assert_int_equal(be16_at(packet.head + 4), 65535);
    assert_int_equal(packet.body_length, 65535 - 8);
    expect_sum(&packet, 40, 32);
}

/* RFC 768: a sum that comes out as 0 is sent as all ones. */
static void test_a_sum_of_zero(void **state)
{
    const struct sockaddr_in6 from = endpoint("2001:db8:1::2", 40000), to = endpoint("2001:db8::53", 53);
    const struct server_seen seen = {.from = &from, .to = &to, .bytes = message, .size = 4};
    struct dns_packet packet;
    unsigned ones = 0;
    (void)state;
    for (unsigned word = 0; word <= 0xffff; word++) {
        memcpy(message, (const uint8_t[4]){(uint8_t)(word >> 8), (uint8_t)word}, 4);
        dns_packet_make(&packet, &seen);
        expect_sum(&packet, 40, 32);
        ones += be16_at(packet.head + 46) == 0xffff;
    }
    assert_in_range(ones, 1, 2);
}

static void test_names(void **state)
{
    unsigned refused = 0;
    (void)state;
    assert_int_equal(dns_capture_reasons("dns-malformed"), 1ull << DNS64_MALFORMED);
    assert_int_equal(dns_capture_reasons("dns-refused"), 1ull << DNS64_REFUSED);
    for (unsigned i = 0; i < DNS64_COUNTER_COUNT; i++)
        refused += strcmp(dns64_counter_texts[i].class, "refused") == 0;
    assert_true(refused > 5);
    assert_int_equal(__builtin_popcountll(dns_capture_reasons("dns")), refused);
    assert_int_equal(dns_capture_reasons("refused"), dns_capture_reasons("dns"));
    /* What is answered is not shown, and names need the prefix. */
    static const char *const none[] = {"dns-cache-hits", "dns-bogus", "malformed", "dns-",
                                       "dns-refuse",     "dropped",   "",          "dns-refused ",
                                       "forwarded"};
    for (unsigned i = 0; i < sizeof(none) / sizeof(none[0]); i++)
        assert_int_equal(dns_capture_reasons(none[i]), 0);
}

static void test_into_a_capture(void **state)
{
    struct geometry geometry = {.sessions = 64, .addresses = 1, .workers = 1};
    struct settings settings = {.translation = {.tos = -1, .mtu6 = 1500, .mtu4 = 1500}};
    const struct capture_filter filter = {
        .guests = 2, .reasons = dns_capture_reasons("dns-malformed"), .snap = CAPTURE_SNAP_DEFAULT};
    const struct sockaddr_in6 from = endpoint("2001:db8:1::2", 40000), to = endpoint("2001:db8::53", 53);
    struct server_seen seen = {.reason = DNS64_MALFORMED,
                               .tcp = false,
                               .worker = 1,
                               .from = &from,
                               .to = &to,
                               .bytes = message,
                               .size = 100};
    struct timespec now;
    char error[128], text[512];
    (void)state;
    struct table *table = table_create(&geometry, 1);
    struct engine_options options = {.table = table, .settings = &settings, .workers = 1, .seed = 1};
    struct engine *engine = engine_create(&options, error, sizeof(error));
    assert_non_null(engine);
    fill(3);
    dns_capture_seen(engine, &seen); /* nobody looks */
    struct capture *capture = capture_start(engine, &filter, error, sizeof(error));
    assert_non_null(capture);
    dns_capture_seen(engine, &seen);
    clock_gettime(CLOCK_MONOTONIC, &now);
    const struct captured *record = capture_next(capture);
    assert_non_null(record);
    assert_int_equal(record->kind, CAPTURE_MESSAGE);
    assert_int_equal(record->length, 148);
    assert_int_equal(record->kept, 148);
    assert_in_range(record->time / 1000000000, now.tv_sec - 10, now.tv_sec);
    assert_memory_equal((const uint8_t *)(record + 1) + 48, message, 100);
    dns_capture_comment(record, text, sizeof(text));
    snprintf(error, sizeof(error), "dns-malformed: %s", dns64_counter_texts[DNS64_MALFORMED].sentence);
    assert_string_equal(text, error);
    capture_release(capture);
    seen.reason = DNS64_REFUSED;
    dns_capture_seen(engine, &seen);
    assert_null(capture_next(capture));
    seen.reason = DNS64_MALFORMED;
    seen.tcp = true;
    seen.size = 65535;
    dns_capture_seen(engine, &seen);
    record = capture_next(capture);
    assert_int_equal(record->length, 40 + 65535);
    assert_int_equal(record->kept, CAPTURE_SNAP_DEFAULT);
    dns_capture_comment(record, text, sizeof(text));
    assert_non_null(strstr(text, "came over TCP"));
    assert_non_null(strstr(text, "left off"));
    capture_stop(engine, capture);
    engine_destroy(engine);
    table_destroy(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ipv6),
        cmocka_unit_test(test_ipv4),
        cmocka_unit_test(test_what_no_packet_holds),
        cmocka_unit_test(test_a_sum_of_zero),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_into_a_capture),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
