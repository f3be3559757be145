/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The engine's contract beyond single packets: replacing settings, static bindings, listing, counters,
 * expiry, several workers. What becomes of each kind of packet is the vectors' business.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "engine/engine.h"
#include "engine/table.h"
#include "wire/checksum.h"
#include "wire/ipv4.h"
#include "wire/transport.h"

enum {
    SECOND = 1000000000,
    WORKERS = 2,
};

struct fixture {
    struct settings settings;
    struct pool_range range;
    struct static_binding statics[2];
    struct table *table;
    struct engine *engine;
    nanoseconds now;
};

static struct ipv6_address client_address(unsigned number)
{
    struct ipv6_address address = {{0x20, 0x01, 0x0d, 0xb8, 0, 1}};
    address.bytes[7] = (uint8_t)(number >> 8);
    address.bytes[15] = (uint8_t)number;
    return address;
}

static void fill_settings(struct fixture *fixture)
{
    fixture->range = (struct pool_range){
        .first = to_be32(0xc0000200u), .count = 4, .low = 1024, .high = 65535, .transports = 7};
    struct nat64_settings *nat64 = &fixture->settings.nat64[0];
    fixture->settings.nat64_count = 1;
    *nat64 = (struct nat64_settings){.name = "main",
                                     .prefix = {{{0x20, 0x01, 0x0d, 0xb8, 0, 0x64}}, 96},
                                     .sessions = 1024,
                                     .sessions_per_subscriber = 1024,
                                     .subscriber_prefix = 64,
                                     .pool = &fixture->range,
                                     .pool_count = 1,
                                     .statics = fixture->statics,
                                     .timeouts = {300, 60, 7440, 240, 6, 0, 0, 2}};
    nat64->address6 = client_address(0x101);
    nat64->address4 = to_be32(0xcb007101u);
    fixture->settings.translation = (struct translation_settings){.tos = -1,
                                                                  .amend_udp_checksum_zero = true,
                                                                  .mss_clamp = true,
                                                                  .icmp_errors_per_second = 10,
                                                                  .mtu6 = 1500,
                                                                  .mtu4 = 1500};
    for (unsigned i = 0; i < 2; i++)
        fixture->statics[i] = (struct static_binding){.ipv6 = client_address(i + 1),
                                                      .ipv4 = to_be32(0xc0000200u),
                                                      .port6 = to_be16(80),
                                                      .port4 = to_be16((uint16_t)(80 + i)),
                                                      .transport = TRANSPORT_UDP};
}

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    assert_non_null(fixture);
    fill_settings(fixture);
    fixture->settings.nat64[0].static_count = 1;
    fixture->now = 100ull * SECOND;
    struct geometry geometry = {.sessions = 1024, .addresses = 4, .workers = WORKERS};
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

struct udp6 {
    struct ipv6_header ip;
    struct udp_header udp;
};

/* A UDP packet without payload from a client to 203.0.113.2. */
static struct udp6 udp_from(unsigned client, uint16_t source, uint16_t destination)
{
    struct udp6 packet = {
        .ip = {.version_class_label = ipv6_first_word(0),
               .payload_length = to_be16(sizeof(struct udp_header)),
               .next_header = PROTOCOL_UDP,
               .hop_limit = 64,
               .source = client_address(client),
               .destination = {{0x20, 0x01, 0x0d, 0xb8, 0, 0x64, 0, 0, 0, 0, 0, 0, 203, 0, 113, 2}}},
        .udp = {.source = to_be16(source),
                .destination = to_be16(destination),
                .length = to_be16(sizeof(struct udp_header)),
                .checksum = to_be16(0x1111)}};
    return packet;
}

static enum verdict send(struct fixture *fixture, uint32_t worker, const void *bytes, size_t length,
                         uint8_t *out)
{
    uint8_t buffer[2048] = {0};
    struct packet packet = {
        .buffer = buffer, .capacity = sizeof(buffer), .offset = PACKET_HEADROOM, .length = (uint32_t)length};
    enum verdict verdict = VERDICT_COUNT;
    memcpy(buffer + PACKET_HEADROOM, bytes, length);
    engine_receive(engine_worker(fixture->engine, worker), &packet, 1, fixture->now, &verdict);
    if (out != NULL)
        memcpy(out, packet_data(&packet), packet.length);
    return verdict;
}

static enum verdict send_from(struct fixture *fixture, unsigned client, uint16_t source, be16 *pool_port)
{
    struct udp6 packet = udp_from(client, source, 53);
    uint8_t out[2048];
    enum verdict verdict = send(fixture, 0, &packet, sizeof(packet), out);
    if (pool_port != NULL)
        *pool_port = load_be16(out + sizeof(struct ipv4_header));
    return verdict;
}

/* A UDP packet from 203.0.113.2 to a port of the first pool address. */
static enum verdict send_to_pool_from(struct fixture *fixture, uint32_t worker, be16 port,
                                      uint16_t remote_port)
{
    struct {
        struct ipv4_header ip;
        struct udp_header udp;
    } packet = {.ip = {.version_ihl = 0x45,
                       .total_length = to_be16(28),
                       .ttl = 64,
                       .protocol = PROTOCOL_UDP,
                       .source = to_be32(0xcb007102u),
                       .destination = to_be32(0xc0000200u)},
                .udp = {.source = to_be16(remote_port),
                        .destination = port,
                        .length = to_be16(sizeof(struct udp_header)),
                        .checksum = to_be16(0x2222)}};
    packet.ip.checksum = (be16)~checksum_fold(checksum_add_bytes(0, &packet.ip, sizeof(packet.ip)));
    return send(fixture, worker, &packet, sizeof(packet), NULL);
}

static enum verdict send_to_pool(struct fixture *fixture, be16 port)
{
    return send_to_pool_from(fixture, WORKERS, port, 999);
}

static uint32_t list(struct fixture *fixture, bool sessions, struct engine_entry entries[64])
{
    uint32_t position = 0, n = 0;
    while (position < engine_capacity(fixture->engine))
        n += engine_list(fixture->engine, sessions, &position, 16, entries + n, 64 - n, fixture->now);
    return n;
}

static void counts_and_lists_agree(void **state)
{
    struct fixture *fixture = *state;
    struct engine_entry entries[64];
    struct engine_counters counters;
    for (uint16_t i = 0; i < 10; i++)
        assert_int_equal(send_from(fixture, 3, (uint16_t)(2000 + i), NULL), VERDICT_TRANSLATED_6TO4);
    engine_count(fixture->engine, &counters);
    assert_int_equal(counters.packets[VERDICT_TRANSLATED_6TO4], 10);
    assert_int_equal(counters.bytes[VERDICT_TRANSLATED_6TO4], 480);
    assert_int_equal(counters.sessions_created, 10);
    assert_int_equal(counters.bindings_created, 11);
    assert_int_equal(list(fixture, true, entries), 10);
    for (unsigned i = 0; i < 10; i++) {
        struct ipv6_address client = client_address(3);
        assert_true(ipv6_equal(&entries[i].client, &client));
        assert_int_equal(entries[i].remote4, to_be32(0xcb007102u));
        assert_int_equal(entries[i].pool_address, entries[0].pool_address);
        assert_int_equal(entries[i].expires_in, 300);
        assert_string_equal(entries[i].state, "active");
    }
    assert_int_equal(list(fixture, false, entries), 11);
    uint32_t statics = 0;
    for (unsigned i = 0; i < 11; i++)
        statics += entries[i].is_static;
    assert_int_equal(statics, 1);
    uint32_t used = 0;
    assert_int_equal(engine_pool_count(fixture->engine), 4);
    for (uint32_t i = 0; i < 4; i++) {
        struct engine_pool pool;
        engine_pool(fixture->engine, i, &pool);
        assert_int_equal(pool.ports[TRANSPORT_UDP], 64512);
        used += pool.used[TRANSPORT_UDP];
    }
    assert_int_equal(used, 11);
}

static void expiry_gives_everything_back(void **state)
{
    struct fixture *fixture = *state;
    struct engine_entry entries[64];
    struct engine_counters counters;
    for (uint16_t i = 0; i < 10; i++)
        assert_int_equal(send_from(fixture, 3, (uint16_t)(2000 + i), NULL), VERDICT_TRANSLATED_6TO4);
    fixture->now += 302ull * SECOND;
    assert_int_equal(list(fixture, true, entries), 0);
    assert_int_equal(list(fixture, false, entries), 1);
    for (unsigned round = 0; round < 4; round++, fixture->now += 11ull * SECOND)
        for (uint32_t worker = 0; worker <= WORKERS; worker++) {
            struct worker *one = engine_worker(fixture->engine, worker);
            if (engine_next_deadline(one) <= fixture->now)
                engine_expire(one, fixture->now);
            assert_true(engine_next_deadline(one) > fixture->now);
        }
    engine_count(fixture->engine, &counters);
    assert_int_equal(counters.sessions_ended, 10);
    assert_int_equal(counters.bindings_ended, 10);
    struct engine_pool pool;
    uint32_t used = 0;
    for (uint32_t i = 0; i < 4; i++) {
        engine_pool(fixture->engine, i, &pool);
        used += pool.used[TRANSPORT_UDP];
    }
    assert_int_equal(used, 1);
}

/* A new static binding takes effect at once, evicting whoever has its place; one that is gone ends with its
 * sessions. */
static void static_bindings_change_by_reload(void **state)
{
    struct fixture *fixture = *state;
    char error[128] = "";
    be16 pool_port = 0;
    assert_int_equal(send_to_pool(fixture, to_be16(80)), VERDICT_TRANSLATED_4TO6);
    assert_int_equal(send_to_pool(fixture, to_be16(81)), VERDICT_NO_BINDING);
    assert_int_equal(send_from(fixture, 2, 80, &pool_port), VERDICT_TRANSLATED_6TO4);
    assert_int_not_equal(pool_port, to_be16(81));

    struct settings both = fixture->settings;
    both.nat64[0].static_count = 2;
    assert_true(engine_replace_settings(fixture->engine, &both, fixture->now, error, sizeof(error)));
    assert_true(engine_quiet(fixture->engine));
    assert_int_equal(send_to_pool(fixture, to_be16(81)), VERDICT_TRANSLATED_4TO6);
    assert_int_equal(send_from(fixture, 2, 80, &pool_port), VERDICT_TRANSLATED_6TO4);
    assert_int_equal(pool_port, to_be16(81));

    struct settings second = both;
    second.nat64[0].statics = fixture->statics + 1;
    second.nat64[0].static_count = 1;
    second.nat64[0].timeouts.udp = 120;
    assert_true(engine_replace_settings(fixture->engine, &second, fixture->now, error, sizeof(error)));
    assert_int_equal(send_to_pool(fixture, to_be16(80)), VERDICT_NO_BINDING);
    assert_int_equal(send_to_pool(fixture, to_be16(81)), VERDICT_TRANSLATED_4TO6);
    struct engine_entry entries[64];
    uint32_t n = list(fixture, true, entries);
    bool renewed = false;
    for (uint32_t i = 0; i < n; i++) {
        assert_int_equal(entries[i].pool_port, to_be16(81));
        if (entries[i].remote_port == to_be16(999)) {
            assert_int_equal(entries[i].expires_in, 120);
            renewed = true;
        }
    }
    assert_true(renewed);
}

static void a_static_binding_that_cannot_be_is_refused_whole(void **state)
{
    struct fixture *fixture = *state;
    char error[128] = "";
    struct settings wrong = fixture->settings;
    struct static_binding statics[2] = {fixture->statics[0], fixture->statics[1]};
    statics[1].ipv4 = to_be32(0xc0000299u);
    wrong.nat64[0].statics = statics;
    wrong.nat64[0].static_count = 2;
    assert_false(engine_replace_settings(fixture->engine, &wrong, fixture->now, error, sizeof(error)));
    assert_non_null(strstr(error, "not in the pool"));
    assert_int_equal(send_to_pool(fixture, to_be16(80)), VERDICT_TRANSLATED_4TO6);
    assert_int_equal(send_to_pool(fixture, to_be16(81)), VERDICT_NO_BINDING);
}

static void pools_that_do_not_fit_are_refused(void **state)
{
    struct fixture *fixture = *state;
    struct geometry geometry = {.sessions = 64, .addresses = 2, .workers = 1};
    struct table *table = table_create(&geometry, 1);
    char error[128] = "";
    struct engine_options options = {.table = table, .settings = &fixture->settings, .workers = 1, .seed = 1};
    assert_null(engine_create(&options, error, sizeof(error)));
    assert_non_null(strstr(error, "limits.addresses"));
    table_destroy(table);
}

/*
 * Subscribers of one /64 share a pool address; different /64s are spread over all.
 * rfc: 6146-3.5.1.1-a
 */
static void subscribers_keep_their_address(void **state)
{
    struct fixture *fixture = *state;
    struct engine_entry entries[64];
    for (unsigned subscriber = 1; subscriber <= 20; subscriber++)
        for (unsigned host = 1; host < 4; host++)
            assert_int_equal(send_from(fixture, subscriber * 256 + host, 3000, NULL),
                             VERDICT_TRANSLATED_6TO4);
    assert_int_equal(list(fixture, true, entries), 60);
    bool used[4] = {false};
    for (unsigned i = 0; i < 60; i++) {
        used[from_be32(entries[i].pool_address) & 3] = true;
        for (unsigned j = 0; j < 60; j++)
            if (entries[i].client.bytes[7] == entries[j].client.bytes[7])
                assert_int_equal(entries[i].pool_address, entries[j].pool_address);
    }
    for (unsigned i = 0; i < 4; i++)
        assert_true(used[i]);
}

/* rfc: 5508-REQ10-h */
static void refused_packets_are_answered_within_the_rate(void **state)
{
    struct fixture *fixture = *state;
    struct engine_counters counters;
    uint8_t buffer[OUTPUT_PACKET];
    for (unsigned i = 0; i < 25; i++) {
        struct udp6 packet = udp_from(3, 2000, 53);
        packet.ip.hop_limit = 1;
        assert_int_equal(send(fixture, 0, &packet, sizeof(packet), NULL), VERDICT_HOP_LIMIT);
    }
    engine_count(fixture->engine, &counters);
    assert_int_equal(counters.icmp_errors_sent, 7); /* of 10; the others are for path MTU discovery */
    assert_int_equal(counters.icmp_errors_suppressed, 18);
    unsigned pulled = 0;
    struct packet packet = {.buffer = buffer, .capacity = sizeof(buffer)};
    for (; engine_pull(engine_worker(fixture->engine, 0), &packet); pulled++)
        assert_int_equal(buffer[6], PROTOCOL_ICMPV6);
    assert_int_equal(pulled, 7);
}

/* --- workers at once ------------------------------------------------------------------------------ */

struct load {
    struct fixture *fixture;
    uint32_t worker;
    unsigned refused;
};

static void *run_load(void *argument)
{
    struct load *load = argument;
    uint8_t buffers[BURST_MAXIMUM][256];
    for (unsigned round = 0; round < 2000; round++) {
        struct packet packets[BURST_MAXIMUM];
        enum verdict verdicts[BURST_MAXIMUM];
        nanoseconds now = load->fixture->now + round * 10000000ull;
        for (unsigned i = 0; i < BURST_MAXIMUM; i++) {
            struct udp6 packet = udp_from(i % 8, (uint16_t)(5000 + i / 8), (uint16_t)(53 + round % 16));
            packets[i] = (struct packet){.buffer = buffers[i],
                                         .capacity = sizeof(buffers[i]),
                                         .offset = PACKET_HEADROOM,
                                         .length = sizeof(packet)};
            memcpy(buffers[i] + PACKET_HEADROOM, &packet, sizeof(packet));
        }
        engine_receive(engine_worker(load->fixture->engine, load->worker), packets, BURST_MAXIMUM, now,
                       verdicts);
        for (unsigned i = 0; i < BURST_MAXIMUM; i++)
            load->refused += verdicts[i] != VERDICT_TRANSLATED_6TO4 && verdicts[i] != VERDICT_CONTENTION;
        engine_expire(engine_worker(load->fixture->engine, load->worker), now);
    }
    return NULL;
}

/* The machine may leave a worker lying in the middle of a step; ten seconds at most. */
static bool let_others_run(void *context)
{
    unsigned *waits = context;
    struct timespec pause = {.tv_nsec = 1000000};
    nanosleep(&pause, NULL);
    return (*waits)++ < 10000;
}

static void change(struct fixture *fixture, const struct settings *settings)
{
    char error[128];
    unsigned waits = 0;
    struct engine_change change = {
        .settings = settings, .now = fixture->now, .wait = let_others_run, .context = &waits};
    if (!engine_change(fixture->engine, &change, error, sizeof(error)))
        fail_msg("%s", error);
}

/* Two workers see the same flows at the same time, while the control plane lists and reloads. */
static void workers_at_once(void **state)
{
    struct fixture *fixture = *state;
    struct load loads[WORKERS] = {{fixture, 0, 0}, {fixture, 1, 0}};
    pthread_t threads[WORKERS];
    struct engine_entry entries[64];
    struct settings other = fixture->settings;
    other.nat64[0].static_count = 2;
    for (unsigned i = 0; i < WORKERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, run_load, &loads[i]), 0);
    for (unsigned i = 0; i < 50; i++) {
        uint32_t position = 0;
        engine_list(fixture->engine, true, &position, 64, entries, 64, fixture->now);
        const struct settings *next = i % 2 == 0 ? &other : &fixture->settings;
        change(fixture, next);
    }
    for (unsigned i = 0; i < WORKERS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(loads[i].refused, 0);
    }
    struct engine_counters counters;
    engine_count(fixture->engine, &counters);
    uint64_t live = counters.sessions_created - counters.sessions_ended;
    fixture->now += 20ull * SECOND;
    uint32_t position = 0, listed = 0;
    static struct engine_entry all[1024];
    while (position < engine_capacity(fixture->engine))
        listed +=
            engine_list(fixture->engine, true, &position, 1024, all + listed, 1024 - listed, fixture->now);
    assert_int_equal(listed, live);
    assert_int_equal(listed, 32 * 16);
}

/* What has expired makes room at once, before any sweep. */
static void expired_sessions_make_room(void **state)
{
    struct fixture *fixture = *state;
    for (unsigned i = 0; i < 1024; i++)
        assert_int_equal(send_from(fixture, 3 + i / 64, (uint16_t)(2000 + i % 64), NULL),
                         VERDICT_TRANSLATED_6TO4);
    assert_int_equal(send_from(fixture, 200, 3000, NULL), VERDICT_TABLE_FULL);
    fixture->now += 302ull * SECOND;
    for (unsigned i = 0; i < 1024; i++)
        assert_int_equal(send_from(fixture, 200 + i / 64, (uint16_t)(3000 + i % 64), NULL),
                         VERDICT_TRANSLATED_6TO4);
    assert_int_equal(send_from(fixture, 300, 3000, NULL), VERDICT_TABLE_FULL);
}

/* A session that would be refused anyway leaves no trace. */
static void a_packet_at_its_end_makes_no_session(void **state)
{
    struct fixture *fixture = *state;
    struct engine_counters counters;
    struct udp6 packet = udp_from(3, 2000, 53);
    packet.ip.hop_limit = 1;
    assert_int_equal(send(fixture, 0, &packet, sizeof(packet), NULL), VERDICT_HOP_LIMIT);
    engine_count(fixture->engine, &counters);
    assert_int_equal(counters.sessions_created, 0);
}

/* A static binding goes while two workers use it as hard as they can: afterwards nobody gets in. */
static void *run_inbound(void *argument)
{
    struct load *load = argument;
    for (unsigned round = 0; round < 20000; round++) {
        enum verdict verdict = send_to_pool_from(load->fixture, load->worker, to_be16(80), (uint16_t)round);
        load->refused += verdict != VERDICT_TRANSLATED_4TO6;
    }
    return NULL;
}

static void a_busy_static_binding_goes_for_good(void **state)
{
    struct fixture *fixture = *state;
    struct load loads[WORKERS] = {{fixture, 0, 0}, {fixture, 1, 0}};
    pthread_t threads[WORKERS];
    struct settings none = fixture->settings;
    none.nat64[0].static_count = 0;
    for (unsigned i = 0; i < WORKERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, run_inbound, &loads[i]), 0);
    for (unsigned i = 0; i < 20; i++) {
        change(fixture, &fixture->settings);
        change(fixture, &none);
        assert_int_equal(send_to_pool(fixture, to_be16(80)), VERDICT_NO_BINDING);
    }
    for (unsigned i = 0; i < WORKERS; i++)
        pthread_join(threads[i], NULL);
    struct engine_entry entries[64];
    assert_int_equal(list(fixture, true, entries), 0);
    assert_int_equal(list(fixture, false, entries), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(counts_and_lists_agree, set_up, take_down),
        cmocka_unit_test_setup_teardown(expiry_gives_everything_back, set_up, take_down),
        cmocka_unit_test_setup_teardown(static_bindings_change_by_reload, set_up, take_down),
        cmocka_unit_test_setup_teardown(a_static_binding_that_cannot_be_is_refused_whole, set_up, take_down),
        cmocka_unit_test_setup_teardown(pools_that_do_not_fit_are_refused, set_up, take_down),
        cmocka_unit_test_setup_teardown(subscribers_keep_their_address, set_up, take_down),
        cmocka_unit_test_setup_teardown(refused_packets_are_answered_within_the_rate, set_up, take_down),
        cmocka_unit_test_setup_teardown(workers_at_once, set_up, take_down),
        cmocka_unit_test_setup_teardown(expired_sessions_make_room, set_up, take_down),
        cmocka_unit_test_setup_teardown(a_packet_at_its_end_makes_no_session, set_up, take_down),
        cmocka_unit_test_setup_teardown(a_busy_static_binding_goes_for_good, set_up, take_down),
    };
    return cmocka_run_group_tests_name("engine", tests, NULL, NULL);
}
