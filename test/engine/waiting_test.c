/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Stored SYNs, with more than one worker and more than there is room for. What is answered to whom, and when,
 * is the vectors' business.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/waiting.h"
#include "wire/checksum.h"
#include "wire/ipv4.h"
#include "wire/transport.h"

enum {
    SECOND = 1000000000,
    WORKERS = 2,
    FLOOD = 3000,
    CLIENT_PORT = 40000,
    POOL_PORT = 4000,
};

struct fixture {
    struct settings settings;
    struct pool_range range;
    struct static_binding binding;
    struct table *table;
    struct engine *engine;
    nanoseconds now;
};

static const struct ipv6_address client = {{0x20, 0x01, 0x0d, 0xb8, [15] = 1}};

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    assert_non_null(fixture);
    struct nat64_settings *nat64 = &fixture->settings.nat64[0];
    fixture->range = (struct pool_range){
        .first = to_be32(0xc0000201u), .count = 1, .low = 1024, .high = 65535, .transports = 7};
    fixture->binding = (struct static_binding){.ipv6 = client,
                                               .ipv4 = to_be32(0xc0000201u),
                                               .port6 = to_be16(CLIENT_PORT),
                                               .port4 = to_be16(POOL_PORT),
                                               .transport = TRANSPORT_TCP};
    *nat64 = (struct nat64_settings){.name = "main",
                                     .prefix = {{{0x20, 0x01, 0x0d, 0xb8, 0, 0x64}}, 96},
                                     .sessions = 1024,
                                     .subscriber_prefix = 64,
                                     .filtering = FILTERING_ADDRESS_DEPENDENT,
                                     .pool = &fixture->range,
                                     .pool_count = 1,
                                     .statics = &fixture->binding,
                                     .static_count = 1,
                                     .timeouts = {300, 60, 7440, 240, 6, 0, 0, 2},
                                     .address4 = to_be32(0xc00002feu)};
    fixture->settings.nat64_count = 1;
    fixture->settings.translation = (struct translation_settings){
        .tos = -1, .mss_clamp = true, .icmp_errors_per_second = 1000000, .mtu6 = 1500, .mtu4 = 1500};
    fixture->now = 100ull * SECOND;
    struct geometry geometry = {.sessions = 1024, .addresses = 1, .workers = WORKERS};
    fixture->table = table_create(&geometry, 1);
    assert_non_null(fixture->table);
    struct engine_options options = {
        .table = fixture->table, .settings = &fixture->settings, .workers = WORKERS, .seed = 1};
    char error[128];
    fixture->engine = engine_create(&options, error, sizeof(error));
    assert_non_null(fixture->engine);
    *state = fixture;
    return 0;
}

static int take_down(void **state)
{
    struct fixture *fixture = *state;
    engine_destroy(fixture->engine);
    table_destroy(fixture->table);
    free(fixture);
    return 0;
}

static enum verdict receive(struct fixture *fixture, unsigned worker, const void *bytes, uint32_t length)
{
    uint8_t buffer[512];
    struct packet packet = {.buffer = buffer, .capacity = sizeof(buffer), .offset = 128, .length = length};
    enum verdict verdict;
    memcpy(packet_data(&packet), bytes, length);
    engine_receive(engine_worker(fixture->engine, worker), &packet, 1, fixture->now, &verdict);
    return verdict;
}

/* A SYN from 203.0.113.2 and the port given to the client's pool port. */
static enum verdict syn_from_outside(struct fixture *fixture, unsigned worker, unsigned port)
{
    struct {
        struct ipv4_header ip;
        struct tcp_header tcp;
    } packet = {.ip = {.version_ihl = 0x45,
                       .total_length = to_be16(40),
                       .ttl = 64,
                       .protocol = PROTOCOL_TCP,
                       .source = to_be32(0xcb007102u),
                       .destination = to_be32(0xc0000201u)},
                .tcp = {.source = to_be16((uint16_t)port),
                        .destination = to_be16(POOL_PORT),
                        .data_offset = 5 << 4,
                        .flags = TCP_SYN}};
    packet.ip.checksum = (be16)~checksum_fold(checksum_add_bytes(0, &packet.ip, sizeof(packet.ip)));
    return receive(fixture, worker, &packet, sizeof(packet));
}

static enum verdict syn_of_the_client(struct fixture *fixture, unsigned worker, unsigned port)
{
    struct {
        struct ipv6_header ip;
        struct tcp_header tcp;
    } packet = {.ip = {.version_class_label = ipv6_first_word(0),
                       .payload_length = to_be16(20),
                       .next_header = PROTOCOL_TCP,
                       .hop_limit = 64,
                       .source = client,
                       .destination = {{0x20, 0x01, 0x0d, 0xb8, 0, 0x64, [12] = 203, 0, 113, 2}}},
                .tcp = {.source = to_be16(CLIENT_PORT),
                        .destination = to_be16((uint16_t)port),
                        .data_offset = 5 << 4,
                        .flags = TCP_SYN}};
    return receive(fixture, worker, &packet, sizeof(packet));
}

/* Lets `seconds` pass; returns how many answers a worker made in them, each before its time is over. */
static unsigned answers(struct fixture *fixture, unsigned number, unsigned seconds)
{
    struct worker *worker = engine_worker(fixture->engine, number);
    nanoseconds end = fixture->now + (nanoseconds)seconds * SECOND;
    unsigned count = 0;
    for (nanoseconds now = engine_next_deadline(worker); now <= end; now = engine_next_deadline(worker)) {
        uint8_t buffer[OUTPUT_PACKET];
        struct packet packet = {.buffer = buffer, .capacity = sizeof(buffer)};
        engine_expire(worker, now > fixture->now ? now : fixture->now);
        while (engine_pull(worker, &packet))
            count++;
    }
    return count;
}

static unsigned stored(const struct fixture *fixture)
{
    unsigned count = 0;
    for (unsigned i = 0; i < WAITING_SYNS; i++)
        count += fixture->engine->waiting.places->place[i] != 0;
    return count;
}

/* Those whose time is over. */
static unsigned overdue(const struct fixture *fixture)
{
    unsigned count = 0;
    for (unsigned i = 0; i < WAITING_SYNS; i++) {
        uint64_t word =
            fixture->engine->waiting.places->place[i]; /* the second at which it is due is in bits 8 to 31 */
        count += word != 0 && (word >> 8 & 0xffffff) < fixture->now / SECOND;
    }
    return count;
}

static void the_client_may_answer_through_another_worker(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(syn_from_outside(fixture, 0, 5000), VERDICT_SYN_STORED);
    assert_int_equal(syn_from_outside(fixture, 1, 5000), VERDICT_SYN_STORED);
    assert_int_equal(stored(fixture), 1);
    assert_int_equal(syn_of_the_client(fixture, 1, 5000), VERDICT_TRANSLATED_6TO4);
    assert_int_equal(stored(fixture), 0);
    uint32_t position = 0;
    struct engine_entry entry;
    assert_int_equal(engine_list(fixture->engine, true, &position, UINT32_MAX, &entry, 1, fixture->now), 1);
    assert_string_equal(entry.state, "established");
    assert_int_equal(answers(fixture, 0, 20) + answers(fixture, 1, 20), 0);
}

/* As when another plane makes it, or another worker at the very moment at which the SYN is stored. */
static void a_session_that_nobody_told_of_is_seen_at_the_end(void **state)
{
    struct fixture *fixture = *state;
    struct worker *worker = engine_worker(fixture->engine, 0);
    assert_int_equal(syn_from_outside(fixture, 0, 5000), VERDICT_SYN_STORED);
    struct waiting before = fixture->engine->waiting;
    assert_int_equal(syn_of_the_client(fixture, 0, 5000), VERDICT_TRANSLATED_6TO4);
    worker->engine->waiting = before;
    assert_int_equal(stored(fixture), 1);
    assert_int_equal(answers(fixture, 0, 20), 0);
    assert_int_equal(stored(fixture), 0);
}

/* rfc: 6146-5.3-a */
static void more_than_there_is_room_for(void **state)
{
    struct fixture *fixture = *state;
    for (unsigned i = 0; i < FLOOD; i++) {
        fixture->now += SECOND / 1000;
        assert_int_equal(syn_from_outside(fixture, i % WORKERS, 1024 + i), VERDICT_SYN_STORED);
        assert_in_range(stored(fixture), 1, WAITING_SYNS);
    }
    unsigned kept = stored(fixture);
    assert_true(kept > WAITING_SYNS * 9 / 10);
    unsigned answered = 0;
    for (unsigned second = 0; second < 20; second++, fixture->now += SECOND) {
        answered += answers(fixture, 0, 0) + answers(fixture, 1, 0);
        assert_int_equal(overdue(fixture), 0); /* nobody waits behind those that came later */
    }
    assert_int_equal(answered, kept);
    struct engine_counters counters;
    engine_count(fixture->engine, &counters);
    assert_int_equal(counters.stored_syns_displaced, FLOOD - kept);
    assert_int_equal(stored(fixture), 0);
}

static void the_oldest_of_a_full_set_gives_way(void **state)
{
    struct fixture *fixture = *state;
    struct worker *worker = engine_worker(fixture->engine, 0);
    struct packet packet = {.buffer = (uint8_t[64]){0x45}, .capacity = 64, .length = 40};
    struct description description = {.kind = PACKET_TCP, .version = 4};
    for (uint64_t i = 0; i < 9; i++) {
        worker_enter(worker, fixture->now + i * SECOND);
        waiting_store(worker, &packet, &description, (i + 1) << 32, 60);
        worker_leave(worker);
    }
    assert_int_equal(stored(fixture), 8);
    assert_false(waiting_claim(worker, 1ull << 32));
    for (uint64_t i = 1; i < 9; i++)
        assert_true(waiting_claim(worker, (i + 1) << 32));
}

static void wait_for_clients(struct fixture *fixture, uint32_t seconds)
{
    char error[128];
    fixture->settings.nat64[0].timeouts.tcp_syn = seconds;
    assert_true(
        engine_replace_settings(fixture->engine, &fixture->settings, fixture->now, error, sizeof(error)));
}

static void a_shorter_time_set_later_is_over_earlier(void **state)
{
    struct fixture *fixture = *state;
    wait_for_clients(fixture, 60);
    assert_int_equal(syn_from_outside(fixture, 0, 5000), VERDICT_SYN_STORED);
    assert_int_equal(syn_from_outside(fixture, 0, 5001), VERDICT_SYN_STORED);
    wait_for_clients(fixture, 6);
    assert_int_equal(syn_from_outside(fixture, 0, 5002), VERDICT_SYN_STORED);
    assert_int_equal(answers(fixture, 0, 7), 1);
    fixture->now += 7ull * SECOND;
    assert_int_equal(answers(fixture, 0, 60), 2);
}

#define IN_AN_ENGINE(test) cmocka_unit_test_setup_teardown(test, set_up, take_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_AN_ENGINE(the_client_may_answer_through_another_worker),
        IN_AN_ENGINE(a_session_that_nobody_told_of_is_seen_at_the_end),
        IN_AN_ENGINE(more_than_there_is_room_for),
        IN_AN_ENGINE(the_oldest_of_a_full_set_gives_way),
        IN_AN_ENGINE(a_shorter_time_set_later_is_over_earlier),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
