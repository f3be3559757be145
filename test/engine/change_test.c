/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Settings that change while sessions live: what stays valid lives on with its port, number and place; what
 * does not is gone when the change is done; and nothing leaks, however often and under whatever traffic.
 */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/engine.h"
#include "engine/worker.h"
#include "test/engine/audit.h"
#include "wire/checksum.h"
#include "wire/ipv4.h"
#include "wire/transport.h"

enum {
    SECOND = 1000000000,
    WORKERS = 2,
    ROUNDS = 50, /* reloads back and forth */
    FLOWS = 64,
};

#define POOL   0xc0000200u /* 192.0.2.0 */
#define REMOTE 0xcb007102u

struct fixture {
    struct settings settings;
    struct pool_range range[NAT64_INSTANCES_MAXIMUM][4];
    struct static_binding statics[2];
    struct geometry geometry;
    struct table *table;
    struct engine *engine;
    nanoseconds now;
    struct engine_change change; /* the last one */
    char error[256];
};

/* Instance `number`: prefix 2001:db8:64:NUMBER::/96, one pool address, 192.0.2.NUMBER. */
static void fill_instance(struct fixture *fixture, unsigned at, unsigned number)
{
    struct nat64_settings *nat64 = &fixture->settings.nat64[at];
    fixture->range[at][0] = (struct pool_range){
        .first = to_be32(POOL + number), .count = 1, .low = 1024, .high = 65535, .transports = 7};
    *nat64 = (struct nat64_settings){.prefix = {{{0x20, 0x01, 0x0d, 0xb8, 0, 0x64, 0, (uint8_t)number}}, 96},
                                     .sessions = 1024,
                                     .sessions_per_subscriber = 1024,
                                     .subscriber_prefix = 64,
                                     .pool = fixture->range[at],
                                     .pool_count = 1,
                                     .timeouts = {300, 60, 7440, 240, 6, 0, 0, 2}};
    nat64->address6.bytes[0] = 0x20;
    nat64->address4 = to_be32(0xcb007101u);
}

static void make_engine(struct fixture *fixture)
{
    struct engine_options options = {.table = fixture->table,
                                     .settings = &fixture->settings,
                                     .workers = WORKERS,
                                     .seed = 1,
                                     .now = fixture->now};
    fixture->engine = engine_create(&options, fixture->error, sizeof(fixture->error));
    if (fixture->engine == NULL)
        fail_msg("%s", fixture->error);
}

/* Two instances, 1 and 2. */
static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    assert_non_null(fixture);
    fixture->now = 100ull * SECOND;
    fixture->settings.nat64_count = 2;
    fixture->settings.translation = (struct translation_settings){
        .tos = -1, .mtu6 = 1500, .mtu4 = 1500, .lowest_ipv6_mtu = 1280, .icmp_errors_per_second = 10};
    fill_instance(fixture, 0, 1);
    fill_instance(fixture, 1, 2);
    fixture->geometry = (struct geometry){.sessions = 1024, .addresses = 4, .workers = WORKERS};
    fixture->table = table_create(&fixture->geometry, 1);
    assert_non_null(fixture->table);
    make_engine(fixture);
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

static bool let_others_run(void *context)
{
    (void)context;
    sched_yield();
    return true;
}

static bool change_to(struct fixture *fixture, const struct settings *settings)
{
    fixture->change =
        (struct engine_change){.settings = settings, .now = fixture->now, .wait = let_others_run};
    return engine_change(fixture->engine, &fixture->change, fixture->error, sizeof(fixture->error));
}

static void apply(struct fixture *fixture)
{
    if (!change_to(fixture, &fixture->settings))
        fail_msg("%s", fixture->error);
}

/* The table is as it would be if all had been made as it is now. */
static void be_exact(const struct fixture *fixture)
{
    struct audit audit;
    const char *wrong = audit_exact(fixture->table, &audit);
    if (wrong != NULL)
        fail_msg("%s", wrong);
}

struct udp6 {
    struct ipv6_header ip;
    struct udp_header udp;
};

struct udp4 {
    struct ipv4_header ip;
    struct udp_header udp;
};

/* What became of a packet: verdict, and the addresses that the other side sees. */
struct outcome {
    enum verdict verdict;
    be32 pool;
    be16 port;
};

/* A packet of flow `flow` through instance 2001:db8:64:NUMBER::/96; each flow is a client's of its own. */
static struct outcome send_by(struct fixture *fixture, unsigned worker, unsigned number, unsigned flow)
{
    uint8_t buffer[128] = {0};
    struct udp6 packet = {
        .ip = {.version_class_label = ipv6_first_word(0),
               .payload_length = to_be16(sizeof(struct udp_header)),
               .next_header = PROTOCOL_UDP,
               .hop_limit = 64,
               .source = {{0x20, 0x01, 0x0d, 0xb8, 0, 1, 0, (uint8_t)flow, [15] = 1}},
               .destination = {{0x20, 0x01, 0x0d, 0xb8, 0, 0x64, 0, (uint8_t)number, [12] = 203, 0, 113, 2}}},
        .udp = {.source = to_be16(3000),
                .destination = to_be16(53),
                .length = to_be16(sizeof(struct udp_header)),
                .checksum = 1}};
    struct packet sent = {
        .buffer = buffer, .capacity = sizeof(buffer), .offset = 40, .length = sizeof(packet)};
    struct outcome outcome = {.verdict = VERDICT_COUNT};
    memcpy(buffer + 40, &packet, sizeof(packet));
    engine_receive(engine_worker(fixture->engine, worker), &sent, 1, fixture->now, &outcome.verdict);
    if (outcome.verdict != VERDICT_TRANSLATED_6TO4)
        return outcome;
    struct udp4 translated;
    memcpy(&translated, packet_data(&sent), sizeof(translated));
    outcome.pool = translated.ip.source;
    outcome.port = translated.udp.source;
    return outcome;
}

/* An answer from the remote to that port. */
static enum verdict answer(struct fixture *fixture, unsigned worker, const struct outcome *to)
{
    uint8_t buffer[128] = {0};
    struct udp4 packet = {.ip = {.version_ihl = 0x45,
                                 .total_length = to_be16(sizeof(packet)),
                                 .ttl = 64,
                                 .protocol = PROTOCOL_UDP,
                                 .source = to_be32(REMOTE),
                                 .destination = to->pool},
                          .udp = {.source = to_be16(53),
                                  .destination = to->port,
                                  .length = to_be16(sizeof(struct udp_header)),
                                  .checksum = 1}};
    packet.ip.checksum = (be16)~checksum_fold(checksum_add_bytes(0, &packet.ip, sizeof(packet.ip)));
    struct packet sent = {
        .buffer = buffer, .capacity = sizeof(buffer), .offset = 40, .length = sizeof(packet)};
    enum verdict verdict = VERDICT_COUNT;
    memcpy(buffer + 40, &packet, sizeof(packet));
    engine_receive(engine_worker(fixture->engine, worker), &sent, 1, fixture->now, &verdict);
    return verdict;
}

static struct outcome open_flow(struct fixture *fixture, unsigned number, unsigned flow)
{
    struct outcome outcome = send_by(fixture, 0, number, flow);
    assert_int_equal(outcome.verdict, VERDICT_TRANSLATED_6TO4);
    return outcome;
}

/* The session is there both ways, with the same address and port. */
static void lives(struct fixture *fixture, unsigned number, unsigned flow, const struct outcome *before)
{
    assert_int_equal(answer(fixture, 1, before), VERDICT_TRANSLATED_4TO6);
    struct outcome now = send_by(fixture, 1, number, flow);
    assert_int_equal(now.verdict, VERDICT_TRANSLATED_6TO4);
    assert_int_equal(now.pool, before->pool);
    assert_int_equal(now.port, before->port);
}

static uint32_t count_sessions(struct fixture *fixture, uint32_t instance)
{
    struct engine_entry entries[1024];
    uint32_t position = 0, found = 0;
    uint32_t n = engine_list(fixture->engine, true, &position, 2048, entries, 1024, fixture->now);
    assert_int_equal(position, engine_capacity(fixture->engine));
    for (uint32_t i = 0; i < n; i++)
        found += entries[i].instance == instance;
    return found;
}

/* ------------------------------------------------------------------------------------------------ */

static void an_address_is_added(void **state)
{
    struct fixture *fixture = *state;
    struct outcome one = open_flow(fixture, 1, 1), other = open_flow(fixture, 2, 2);
    fixture->range[0][1] = fixture->range[0][0];
    fixture->range[0][1].first = to_be32(POOL - 5); /* before those that are there */
    fixture->settings.nat64[0].pool_count = 2;
    apply(fixture);
    lives(fixture, 1, 1, &one);
    lives(fixture, 2, 2, &other);
    bool used = false;
    for (unsigned flow = 3; flow < 67; flow++)
        used |= open_flow(fixture, 1, flow).pool == to_be32(POOL - 5);
    assert_true(used);
    assert_int_equal(engine_pool_count(fixture->engine), 3);
    for (uint32_t i = 0; i < 3; i++) {
        struct engine_pool pool;
        engine_pool(fixture->engine, i, &pool);
        assert_int_equal(pool.ports[TRANSPORT_UDP], 65536 - 1024);
        assert_int_equal(pool.instance, pool.address == to_be32(POOL + 2) ? 1 : 0);
    }
    be_exact(fixture);
}

static void a_removed_address_takes_its_sessions_along(void **state)
{
    struct fixture *fixture = *state;
    fixture->range[0][1] = fixture->range[0][0];
    fixture->range[0][1].first = to_be32(POOL + 9);
    fixture->settings.nat64[0].pool_count = 2;
    apply(fixture);
    struct outcome flows[FLOWS];
    uint32_t gone = 0;
    for (unsigned i = 0; i < FLOWS; i++) {
        flows[i] = open_flow(fixture, 1, i);
        gone += flows[i].pool == to_be32(POOL + 1);
    }
    struct outcome other = open_flow(fixture, 2, 2);
    assert_true(gone > 0 && gone < FLOWS);
    struct settings second = fixture->settings;
    second.nat64[0].pool = &fixture->range[0][1];
    second.nat64[0].pool_count = 1;
    assert_true(change_to(fixture, &second));
    assert_int_equal(fixture->change.ended[ENDING_ADDRESS], gone);
    assert_int_equal(fixture->change.ended[ENDING_PORT] + fixture->change.ended[ENDING_INSTANCE], 0);
    assert_int_equal(count_sessions(fixture, 0), FLOWS - gone);
    lives(fixture, 2, 2, &other);
    for (unsigned i = 0; i < FLOWS; i++) {
        if (flows[i].pool == to_be32(POOL + 9)) {
            lives(fixture, 1, i, &flows[i]);
            continue;
        }
        assert_int_equal(answer(fixture, 0, &flows[i]), VERDICT_NOT_OURS);
        assert_int_equal(open_flow(fixture, 1, i).pool, to_be32(POOL + 9));
    }
    be_exact(fixture);
}

/* All places are taken, and every address is replaced by another. */
static void a_full_pool_is_replaced(void **state)
{
    struct fixture *fixture = *state;
    fixture->range[0][0].count = fixture->range[1][0].count = 2;
    fixture->range[0][0].first = to_be32(POOL + 10);
    fixture->range[1][0].first = to_be32(POOL + 12);
    apply(fixture);
    struct outcome old = open_flow(fixture, 1, 1);
    fixture->range[1][1] = fixture->range[1][0];
    fixture->range[0][1] = fixture->range[0][0];
    fixture->range[0][1].first = to_be32(POOL + 20);
    fixture->range[1][1].first = to_be32(POOL + 10); /* from instance to instance */
    struct settings second = fixture->settings;
    second.nat64[0].pool = &fixture->range[0][1];
    second.nat64[1].pool = &fixture->range[1][1];
    assert_true(change_to(fixture, &second));
    assert_int_equal(fixture->change.ended[ENDING_ADDRESS], 1);
    assert_int_equal(answer(fixture, 0, &old), VERDICT_NO_BINDING);
    assert_int_equal(from_be32(open_flow(fixture, 1, 1).pool) & ~1u, POOL + 20);
    assert_int_equal(from_be32(open_flow(fixture, 2, 1).pool) & ~1u, POOL + 10);
    be_exact(fixture);
    second.nat64[1].pool_count = 1;
    fixture->range[1][1].count = 3;
    assert_false(change_to(fixture, &second));
    assert_non_null(strstr(fixture->error, "limits.addresses"));
}

static void a_prefix_is_changed(void **state)
{
    struct fixture *fixture = *state;
    struct outcome one = open_flow(fixture, 1, 1), other = open_flow(fixture, 2, 2);
    struct settings second = fixture->settings;
    second.nat64[0].prefix.address.bytes[7] = 7;
    assert_true(change_to(fixture, &second));
    assert_int_equal(fixture->change.ended[ENDING_INSTANCE], 1);
    assert_int_equal(send_by(fixture, 0, 1, 1).verdict, VERDICT_NOT_OURS);
    assert_int_equal(answer(fixture, 0, &one), VERDICT_NO_BINDING);
    lives(fixture, 2, 2, &other);
    assert_int_equal(open_flow(fixture, 7, 1).pool, one.pool);
    assert_int_equal(count_sessions(fixture, 0), 1);
    be_exact(fixture);
}

/* Added in front, swapped, renamed, removed: those that remain do not notice. */
static void instances_come_and_go(void **state)
{
    struct fixture *fixture = *state;
    struct outcome one = open_flow(fixture, 1, 1), other = open_flow(fixture, 2, 2);
    struct settings second = fixture->settings;
    fill_instance(fixture, 2, 3);
    second.nat64[0] = fixture->settings.nat64[2];
    second.nat64[1] = fixture->settings.nat64[1];
    second.nat64[2] = fixture->settings.nat64[0];
    memcpy(second.nat64[2].name, "renamed", 8);
    second.nat64_count = 3;
    assert_true(change_to(fixture, &second));
    lives(fixture, 1, 1, &one);
    lives(fixture, 2, 2, &other);
    struct outcome third = open_flow(fixture, 3, 3);
    assert_int_equal(third.pool, to_be32(POOL + 3));
    assert_int_equal(count_sessions(fixture, 0) + count_sessions(fixture, 1) * 10, 11);
    struct settings last = {.translation = second.translation, .nat64_count = 1};
    last.nat64[0] = second.nat64[0];
    assert_true(change_to(fixture, &last));
    assert_int_equal(fixture->change.ended[ENDING_INSTANCE], 2);
    lives(fixture, 3, 3, &third);
    assert_int_equal(send_by(fixture, 0, 1, 1).verdict, VERDICT_NOT_OURS);
    assert_int_equal(count_sessions(fixture, 0), 1);
    be_exact(fixture);
    assert_true(change_to(fixture, &second));
    open_flow(fixture, 1, 1);
    lives(fixture, 3, 3, &third);
    be_exact(fixture);
}

static void all_numbers_are_taken_and_exchanged(void **state)
{
    struct fixture *fixture = *state;
    struct settings first = fixture->settings, second;
    for (unsigned i = 0; i < 4; i++)
        fill_instance(fixture, i, i + 1);
    first = second = fixture->settings;
    first.nat64_count = second.nat64_count = NAT64_INSTANCES_MAXIMUM;
    for (unsigned i = 0; i < NAT64_INSTANCES_MAXIMUM; i++) {
        first.nat64[i] = second.nat64[i] = fixture->settings.nat64[i % 4];
        first.nat64[i].prefix.address.bytes[7] = (uint8_t)(i + 1);
        second.nat64[i].prefix.address.bytes[7] = (uint8_t)(i == 3 ? 4 : i + 101);
        first.nat64[i].pool_count = second.nat64[i].pool_count = i < 4;
    }
    assert_true(change_to(fixture, &first));
    struct outcome stays = open_flow(fixture, 4, 4);
    open_flow(fixture, 1, 1);
    assert_true(change_to(fixture, &second));
    assert_int_equal(fixture->change.ended[ENDING_INSTANCE], 1);
    lives(fixture, 4, 4, &stays);
    open_flow(fixture, 101, 1);
    be_exact(fixture);
}

static void ports_and_protocols_are_narrowed(void **state)
{
    struct fixture *fixture = *state;
    struct outcome flows[FLOWS];
    uint32_t outside = 0;
    fixture->statics[0] = (struct static_binding){.ipv6 = {{0x20, 0x01, [15] = 9}},
                                                  .ipv4 = to_be32(POOL + 1),
                                                  .port6 = to_be16(80),
                                                  .port4 = to_be16(2000),
                                                  .transport = TRANSPORT_UDP};
    fixture->settings.nat64[0].statics = fixture->statics;
    fixture->settings.nat64[0].static_count = 1;
    apply(fixture);
    struct outcome bound = {.pool = to_be32(POOL + 1), .port = to_be16(2000)};
    assert_int_equal(answer(fixture, 0, &bound), VERDICT_TRANSLATED_4TO6);
    for (unsigned i = 0; i < FLOWS; i++) {
        flows[i] = open_flow(fixture, 1, i);
        outside += from_be16(flows[i].port) < 30000;
    }
    struct settings second = fixture->settings;
    fixture->range[2][0] = fixture->range[0][0];
    fixture->range[2][0].low = 30000;
    second.nat64[0].pool = fixture->range[2];
    assert_true(change_to(fixture, &second));
    assert_int_equal(fixture->change.ended[ENDING_PORT], outside);
    for (unsigned i = 0; i < FLOWS; i++)
        if (from_be16(flows[i].port) >= 30000)
            lives(fixture, 1, i, &flows[i]);
        else
            assert_true(from_be16(open_flow(fixture, 1, i).port) >= 30000);
    assert_int_equal(answer(fixture, 0, &bound), VERDICT_TRANSLATED_4TO6);
    be_exact(fixture);
    assert_true(change_to(fixture, &fixture->settings)); /* and back: the static one's port is not free */
    assert_int_equal(answer(fixture, 0, &bound), VERDICT_TRANSLATED_4TO6);
    be_exact(fixture);
    fixture->range[2][0] = fixture->range[0][0];
    fixture->range[2][0].transports = 1u << TRANSPORT_TCP;
    second.nat64[0].static_count = 0;
    assert_true(change_to(fixture, &second));
    assert_int_equal(fixture->change.ended[ENDING_PORT], FLOWS);
    assert_int_equal(send_by(fixture, 0, 1, 1).verdict, VERDICT_PORTS_EXHAUSTED);
    be_exact(fixture);
}

static void limits_end_no_session(void **state)
{
    struct fixture *fixture = *state;
    struct outcome flows[8];
    for (unsigned i = 0; i < 8; i++)
        flows[i] = open_flow(fixture, 1, i);
    fixture->settings.nat64[0].sessions = 4;
    apply(fixture);
    for (unsigned i = 0; i < 8; i++)
        lives(fixture, 1, i, &flows[i]);
    assert_int_equal(send_by(fixture, 0, 1, 9).verdict, VERDICT_TABLE_FULL);
    fixture->settings.nat64[0].sessions = 9;
    apply(fixture);
    open_flow(fixture, 1, 9);
    assert_int_equal(send_by(fixture, 0, 1, 10).verdict, VERDICT_TABLE_FULL);
    be_exact(fixture);
}

/* Subscribers of another size, or limited at all: the sessions there are count. */
static void subscribers_are_counted_anew(void **state)
{
    struct fixture *fixture = *state;
    struct outcome flows[8];
    fixture->settings.nat64[0].sessions_per_subscriber = 0;
    apply(fixture);
    for (unsigned i = 0; i < 8; i++) /* clients in /64s of one /48 */
        flows[i] = open_flow(fixture, 1, i);
    be_exact(fixture);
    fixture->settings.nat64[0].sessions_per_subscriber = 1;
    apply(fixture);
    be_exact(fixture);
    open_flow(fixture, 1, 9);
    struct settings wide = fixture->settings;
    wide.nat64[0].subscriber_prefix = 48;
    wide.nat64[0].sessions_per_subscriber = 10;
    assert_true(change_to(fixture, &wide));
    be_exact(fixture);
    open_flow(fixture, 1, 10);
    assert_int_equal(send_by(fixture, 0, 1, 11).verdict, VERDICT_SUBSCRIBER_FULL);
    assert_true(change_to(fixture, &fixture->settings));
    be_exact(fixture);
    open_flow(fixture, 1, 11);
    for (unsigned i = 0; i < 8; i++)
        lives(fixture, 1, i, &flows[i]);
    fixture->now += 1000ull * SECOND;
    for (unsigned worker = 0; worker < WORKERS; worker++)
        engine_expire(engine_worker(fixture->engine, worker), fixture->now);
    assert_int_equal(count_sessions(fixture, 0), 0);
    be_exact(fixture);
}

static bool give_up(void *context)
{
    (void)context;
    return false;
}

/* A worker that does not get on: nothing changes. */
static void a_stuck_worker_stops_the_change(void **state)
{
    struct fixture *fixture = *state;
    struct outcome one = open_flow(fixture, 1, 1);
    struct settings second = fixture->settings;
    struct worker *worker = engine_worker(fixture->engine, 1);
    fixture->range[2][0] = fixture->range[0][0];
    fixture->range[2][0].first = to_be32(POOL + 50);
    second.nat64[0].pool = fixture->range[2];
    struct engine_change change = {.settings = &second, .now = fixture->now, .wait = give_up};
    worker_enter(worker, fixture->now);
    assert_false(engine_change(fixture->engine, &change, fixture->error, sizeof(fixture->error)));
    worker_leave(worker);
    lives(fixture, 1, 1, &one);
    be_exact(fixture);
    assert_true(change_to(fixture, &second));
    assert_int_equal(fixture->change.ended[ENDING_ADDRESS], 1);
    be_exact(fixture);
}

/* A port that a worker has claimed and not used yet is nobody's, but not free: not when the rules come back.
 */
static void a_stuck_workers_claim_is_kept(void **state)
{
    struct fixture *fixture = *state;
    struct settings second = fixture->settings;
    struct worker *worker = engine_worker(fixture->engine, 1);
    struct session_request request = {.key = {.client_port = to_be16(3000), .transport = TRANSPORT_UDP}};
    fixture->range[2][0] = fixture->range[0][0];
    fixture->range[2][0].first = to_be32(POOL + 50);
    second.nat64[0].pool = fixture->range[2];
    struct engine_change change = {.settings = &second, .now = fixture->now, .wait = give_up};
    worker_enter(worker, fixture->now);
    assert_true(pool_claim(worker, &request));
    uint16_t port = from_be16(request.pool_port);
    const struct port_map *map = port_map_at(fixture->table, request.address, TRANSPORT_UDP);
    assert_false(engine_change(fixture->engine, &change, fixture->error, sizeof(fixture->error)));
    assert_false(engine_settle(fixture->engine));
    assert_false(map->available[port / 64] >> (port % 64) & 1);
    nat64_unclaim(worker, &request);
    worker_leave(worker);
    assert_true(engine_settle(fixture->engine));
    assert_true(map->available[port / 64] >> (port % 64) & 1);
    assert_int_equal(map->free, 65536 - 1024);
    open_flow(fixture, 1, 1);
    be_exact(fixture);
}

/* The worker that is not stuck takes up what is in force. */
static bool enter_then_give_up(void *context)
{
    struct fixture *fixture = context;
    struct worker *worker = engine_worker(fixture->engine, 0);
    if (worker->passage % 2 == 1)
        return false;
    worker_enter(worker, fixture->now);
    return true;
}

static void refused_settings_may_be_in_use(void **state)
{
    struct fixture *fixture = *state;
    struct settings second = fixture->settings;
    struct static_binding unused;
    struct worker *stuck = engine_worker(fixture->engine, 1), *other = engine_worker(fixture->engine, 0);
    fixture->range[2][0] = fixture->range[0][0];
    fixture->range[2][0].first = to_be32(POOL + 50);
    second.nat64[0].pool = fixture->range[2];
    second.nat64[1].statics = &unused;
    struct engine_change change = {
        .settings = &second, .now = fixture->now, .wait = enter_then_give_up, .context = fixture};
    worker_enter(stuck, fixture->now);
    assert_false(engine_change(fixture->engine, &change, fixture->error, sizeof(fixture->error)));
    worker_leave(stuck);
    assert_ptr_equal(other->settings->nat64[1].statics, &unused);
    assert_false(engine_quiet(fixture->engine));
    worker_leave(other);
    assert_true(engine_quiet(fixture->engine));
    be_exact(fixture);
}

/* Whoever changes a session's count names its tail, so no other session of the record may have the same. */
static void a_tail_is_of_one_session(void **state)
{
    struct fixture *fixture = *state;
    open_flow(fixture, 1, 1);
    const struct record *record = record_at(fixture->table, 0);
    struct record before = *record;
    assert_int_equal(life_phase(before.life), PHASE_LIVE);
    fixture->now += 1000ull * SECOND;
    engine_expire(engine_worker(fixture->engine, 0), fixture->now);
    assert_int_equal(life_phase(record->life), PHASE_FREE);
    open_flow(fixture, 2, 1);
    assert_int_equal(life_phase(record->life), PHASE_LIVE);
    assert_int_equal(record->counted, before.counted);
    assert_true(record->tail != before.tail);
}

/* Dies where the change lets time pass. */
static jmp_buf death;

static bool die(void *context)
{
    unsigned *waits = context;
    if ((*waits)-- == 0)
        longjmp(death, 1);
    return true;
}

/* A program that ends in the middle of a change; the next one starts by the old settings or by the new ones.
 */
static void dying_in_a_change_loses_nothing_that_stays(void **state)
{
    struct fixture *fixture = *state;
    for (volatile unsigned last = 0; last < 2; last++) {
        for (volatile unsigned at = 0; at < 3; at++) {
            struct settings second = fixture->settings;
            struct outcome stays = open_flow(fixture, 2, 2);
            unsigned waits = at == 2 ? 5 : 0;
            for (unsigned i = 0; i < FLOWS; i++)
                (void)open_flow(fixture, 1, i);
            fill_instance(fixture, 2, 3);
            second.nat64[0] = fixture->settings.nat64[2];
            second.nat64[1].subscriber_prefix = 56;
            struct engine_change change = {
                .settings = &second, .now = fixture->now, .wait = die, .context = &waits};
            if (setjmp(death) == 0) {
                if (at == 0) /* dies while it waits for a worker; else after its first walk, or not at all */
                    worker_enter(engine_worker(fixture->engine, 0), fixture->now);
                (void)engine_change(fixture->engine, &change, fixture->error, sizeof(fixture->error));
                assert_int_equal(at, 2);
            }
            engine_destroy(fixture->engine);
            struct settings old = fixture->settings;
            fixture->settings = last == 0 ? old : second;
            make_engine(fixture);
            be_exact(fixture);
            lives(fixture, 2, 2, &stays);
            open_flow(fixture, last == 0 ? 1 : 3, 1);
            be_exact(fixture);
            fixture->settings = old;
            apply(fixture);
            be_exact(fixture);
        }
    }
}

/* A static binding for which there is no record: the old settings come back with all that was theirs. */
static void what_cannot_be_brought_in_is_put_back(void **state)
{
    struct fixture *fixture = *state;
    struct outcome stays = open_flow(fixture, 2, 2);
    open_flow(fixture, 1, 1);
    struct settings second = fixture->settings;
    static struct static_binding many[2000];
    for (unsigned i = 0; i < 2000; i++)
        many[i] = (struct static_binding){.ipv6 = {{0x20, 0x01, [14] = (uint8_t)(i >> 8), (uint8_t)i}},
                                          .ipv4 = to_be32(POOL + 1),
                                          .port6 = to_be16(80),
                                          .port4 = to_be16((uint16_t)(2000 + i)),
                                          .transport = TRANSPORT_TCP};
    second.nat64[0].statics = many;
    second.nat64[0].static_count = 2000;
    second.nat64[0].prefix.address.bytes[7] = 7;
    assert_false(change_to(fixture, &second));
    assert_non_null(strstr(fixture->error, "static binding"));
    assert_int_equal(send_by(fixture, 0, 7, 1).verdict, VERDICT_NOT_OURS);
    lives(fixture, 2, 2, &stays);
    open_flow(fixture, 1, 1);
    be_exact(fixture);
}

/* After changes that mixed numbers and places up a new engine finds all sessions, here or in a new table. */
static void a_restart_finds_the_sessions(void **state)
{
    struct fixture *fixture = *state;
    struct settings second = fixture->settings;
    fill_instance(fixture, 2, 3);
    second.nat64[0] = fixture->settings.nat64[2];
    assert_true(change_to(fixture, &second));
    assert_true(change_to(fixture, &fixture->settings));
    fixture->settings = second;
    fixture->settings.nat64[0] = second.nat64[1];
    fixture->settings.nat64[1] = second.nat64[0];
    apply(fixture);
    struct outcome two = open_flow(fixture, 2, 2), three = open_flow(fixture, 3, 3);
    engine_destroy(fixture->engine);
    make_engine(fixture);
    lives(fixture, 2, 2, &two);
    lives(fixture, 3, 3, &three);
    be_exact(fixture);
    engine_destroy(fixture->engine);
    struct geometry larger = {.sessions = 2048, .addresses = 8, .workers = WORKERS};
    struct table *table = table_create(&larger, 2);
    assert_non_null(table);
    struct engine_options options = {.table = table,
                                     .previous = fixture->table,
                                     .settings = &fixture->settings,
                                     .workers = WORKERS,
                                     .now = fixture->now};
    fixture->engine = engine_create(&options, fixture->error, sizeof(fixture->error));
    assert_non_null(fixture->engine);
    table_destroy(fixture->table);
    fixture->table = table;
    lives(fixture, 2, 2, &two);
    lives(fixture, 3, 3, &three);
    be_exact(fixture);
}

/* --- under traffic --------------------------------------------------------------------------------- */

struct load {
    struct fixture *fixture;
    unsigned worker;
    struct outcome stays;
    bool *over; /* atomic */
    uint32_t lost, strange;
};

static void *run_load(void *argument)
{
    struct load *load = argument;
    for (unsigned round = 0; !__atomic_load_n(load->over, __ATOMIC_RELAXED); round++) {
        struct outcome now = send_by(load->fixture, load->worker, 2, 200 + load->worker);
        load->lost += now.verdict != VERDICT_TRANSLATED_6TO4 || now.pool != load->stays.pool ||
                      now.port != load->stays.port;
        load->lost += answer(load->fixture, load->worker, &load->stays) != VERDICT_TRANSLATED_4TO6;
        now = send_by(load->fixture, load->worker, 1 + round % 2 * 2, round % 32);
        load->strange += now.verdict != VERDICT_TRANSLATED_6TO4 && now.verdict != VERDICT_NOT_OURS &&
                         now.verdict != VERDICT_PORTS_EXHAUSTED && now.verdict != VERDICT_CONTENTION;
    }
    return NULL;
}

/* Back and forth while two workers use what comes and goes: nobody loses what stays, and nothing leaks. */
static void back_and_forth_under_traffic(void **state)
{
    struct fixture *fixture = *state;
    bool over = false;
    struct load loads[WORKERS] = {{.worker = 0}, {.worker = 1}};
    pthread_t threads[WORKERS];
    struct settings others[3] = {fixture->settings, fixture->settings, fixture->settings};
    fill_instance(fixture, 2, 3);
    others[0].nat64[0] = fixture->settings.nat64[2]; /* instance 3 in place of 1 */
    others[1].nat64[2] = fixture->settings.nat64[2]; /* both, with two addresses for 2 */
    others[1].nat64_count = 3;
    fixture->range[3][0] = fixture->range[1][0];
    fixture->range[3][1] = fixture->range[1][0];
    fixture->range[3][1].first = to_be32(POOL);
    others[1].nat64[1].pool = fixture->range[3];
    others[1].nat64[1].pool_count = 2;
    fixture->range[4][0] = fixture->range[0][0]; /* few ports for 1 */
    fixture->range[4][0].low = 65000;
    others[2].nat64[0].pool = fixture->range[4];
    others[2].nat64[1].subscriber_prefix = 56;
    for (unsigned i = 0; i < WORKERS; i++) {
        loads[i].fixture = fixture;
        loads[i].over = &over;
        loads[i].stays = send_by(fixture, i, 2, 200 + i);
        assert_int_equal(pthread_create(&threads[i], NULL, run_load, &loads[i]), 0);
    }
    bool done = true;
    for (unsigned i = 0; i < ROUNDS && done; i++) {
        done = change_to(fixture, i % 2 == 0 ? &others[i / 2 % 3] : &fixture->settings);
        struct engine_entry entries[64];
        uint32_t position = 0;
        (void)engine_list(fixture->engine, true, &position, 64, entries, 64, fixture->now);
    }
    __atomic_store_n(&over, true, __ATOMIC_RELAXED);
    for (unsigned i = 0; i < WORKERS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(loads[i].lost, 0);
        assert_int_equal(loads[i].strange, 0);
    }
    if (!done)
        fail_msg("%s", fixture->error);
    be_exact(fixture);
}

#define WITH_FIXTURE(test) cmocka_unit_test_setup_teardown(test, set_up, take_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FIXTURE(an_address_is_added),
        WITH_FIXTURE(a_removed_address_takes_its_sessions_along),
        WITH_FIXTURE(a_full_pool_is_replaced),
        WITH_FIXTURE(a_prefix_is_changed),
        WITH_FIXTURE(instances_come_and_go),
        WITH_FIXTURE(all_numbers_are_taken_and_exchanged),
        WITH_FIXTURE(ports_and_protocols_are_narrowed),
        WITH_FIXTURE(limits_end_no_session),
        WITH_FIXTURE(subscribers_are_counted_anew),
        WITH_FIXTURE(a_stuck_worker_stops_the_change),
        WITH_FIXTURE(a_stuck_workers_claim_is_kept),
        WITH_FIXTURE(refused_settings_may_be_in_use),
        WITH_FIXTURE(a_tail_is_of_one_session),
        WITH_FIXTURE(dying_in_a_change_loses_nothing_that_stays),
        WITH_FIXTURE(what_cannot_be_brought_in_is_put_back),
        WITH_FIXTURE(a_restart_finds_the_sessions),
        WITH_FIXTURE(back_and_forth_under_traffic),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
