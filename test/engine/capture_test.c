/* SPDX-License-Identifier: BSD-2-Clause */
/* What a capture records of the packets of a real engine, in what order, and what it does when it is full. */
#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>

#include "engine/capture.h"
#include "engine/worker.h"
#include "test/engine/packets.h"

enum {
    WORKERS = 2,
    UDP = 17,
    CUT = 64, /* bytes of a record in the tests that fill a ring */
};

static struct settings settings;
static struct pool_range range;
static struct table *table;
static struct engine *engine;
static char error[128];
static nanoseconds now;

static int set_up(void **state)
{
    (void)state;
    now = 100 * NANOSECONDS;
    range = (struct pool_range){
        .first = to_be32(0xc0000200u), .count = 4, .low = 1024, .high = 65535, .transports = 7};
    settings = (struct settings){.translation = test_settings, .nat64_count = 1};
    settings.translation.icmp_errors_per_second = 100;
    settings.nat64[0] = (struct nat64_settings){.name = "main",
                                                .prefix = {{{0x20, 0x01, 0x0d, 0xb8, 0, 0x64}}, 96},
                                                .address6 = {{0x20, 0x01, 0x0d, 0xb8, 0, 1, [15] = 1}},
                                                .address4 = to_be32(0xcb007101u),
                                                .sessions = 1024,
                                                .subscriber_prefix = 64,
                                                .pool = &range,
                                                .pool_count = 1,
                                                .timeouts = {300, 60, 7440, 240, 6, 0, 0, 2}};
    settings.nat64[0].timeouts.fragment = FRAGMENT_SECONDS;
    struct geometry geometry = {.sessions = 1024, .addresses = 4, .workers = WORKERS};
    table = table_create(&geometry, 1);
    struct engine_options options = {.table = table, .settings = &settings, .workers = WORKERS, .seed = 1};
    engine = engine_create(&options, error, sizeof(error));
    return engine != NULL ? 0 : -1;
}

static int take_down(void **state)
{
    (void)state;
    engine_destroy(engine);
    table_destroy(table);
    return 0;
}

static struct capture_filter everything(void)
{
    struct capture_filter filter = {.probes = true, .snap = CAPTURE_SNAP_DEFAULT};
    memset(filter.verdicts, true, sizeof(filter.verdicts));
    return filter;
}

static struct capture_filter only(enum verdict verdict)
{
    struct capture_filter filter = {.snap = CAPTURE_SNAP_DEFAULT};
    filter.verdicts[verdict] = true;
    return filter;
}

static struct capture_filter from_or_to(const char *address)
{
    struct capture_filter filter = everything();
    filter.family = 6;
    if (inet_pton(AF_INET6, address, filter.address6.bytes) == 1)
        return filter;
    filter.family = 4;
    assert_int_equal(inet_pton(AF_INET, address, &filter.address4), 1);
    return filter;
}

static struct capture *start(struct capture_filter filter)
{
    struct capture *capture = capture_start(engine, &filter, error, sizeof(error));
    assert_non_null(capture);
    return capture;
}

static enum verdict receive(struct packet *packet)
{
    enum verdict verdict;
    engine_receive(engine_worker(engine, 0), packet, 1, now, &verdict);
    return verdict;
}

/* The next record has this kind, verdict and contents; takes it. */
static uint64_t expect(struct capture *capture, enum capture_kind kind, unsigned verdict, const void *bytes,
                       uint32_t length)
{
    const struct captured *record = capture_next(capture);
    assert_non_null(record);
    assert_int_equal(record->kind, kind);
    assert_int_equal(record->verdict, verdict);
    assert_int_equal(record->length, length);
    assert_int_equal(record->time, now);
    assert_memory_equal(record + 1, bytes, record->kept);
    uint64_t number = record->number;
    capture_release(capture);
    return number;
}

static void expect_none(struct capture *capture)
{
    assert_null(capture_next(capture));
}

static void copy(uint8_t *to, const struct packet *packet)
{
    memcpy(to, packet_data(packet), packet->length);
}

static void test_both_sides_of_a_translated_packet(void **state)
{
    uint8_t received[140];
    (void)state;
    struct capture *capture = start(everything());
    for (uint64_t i = 0; i < 2; i++) {
        struct packet packet = make6(UDP, 100);
        copy(received, &packet);
        assert_int_equal(receive(&packet), VERDICT_TRANSLATED_6TO4);
        assert_int_equal(packet.length, 120);
        assert_int_equal(expect(capture, CAPTURE_RECEIVED, VERDICT_TRANSLATED_6TO4, received, 140), i);
        assert_int_equal(expect(capture, CAPTURE_RESULT, VERDICT_TRANSLATED_6TO4, packet_data(&packet), 120),
                         i);
        expect_none(capture);
    }
    capture_stop(engine, capture);
}

/* A piece of a datagram from the client: its first 48 bytes, or the rest. */
static struct packet fragment(bool first, uint8_t id)
{
    uint8_t header[8] = {UDP, 0, 0, first ? 1 : 48, 0, 0, 0, id};
    struct packet packet = make6(UDP, 48);
    insert_headers(&packet, header, sizeof(header));
    packet_data(&packet)[6] = 44;
    return packet;
}

static void test_fragments_that_are_held(void **state)
{
    uint8_t later[96], out[TEST_CAPACITY];
    struct packet made = {.buffer = out, .capacity = sizeof(out), .offset = TEST_ROOM};
    (void)state;
    struct capture *capture = start(everything());
    struct packet packet = fragment(false, 1);
    copy(later, &packet);
    assert_int_equal(receive(&packet), VERDICT_FRAGMENT_HELD);
    expect(capture, CAPTURE_RECEIVED, VERDICT_FRAGMENT_HELD, later, 96);
    packet = fragment(true, 1);
    assert_int_equal(receive(&packet), VERDICT_FRAGMENT_HELD);
    expect(capture, CAPTURE_RECEIVED, VERDICT_FRAGMENT_HELD, packet_data(&packet), 96);
    for (unsigned i = 0; i < 2; i++) {
        assert_true(engine_pull(engine_worker(engine, 0), &made));
        expect(capture, CAPTURE_MADE, VERDICT_TRANSLATED_6TO4, packet_data(&made), 68);
        made.offset = TEST_ROOM;
    }
    packet = fragment(false, 2);
    copy(later, &packet);
    assert_int_equal(receive(&packet), VERDICT_FRAGMENT_HELD);
    expect(capture, CAPTURE_RECEIVED, VERDICT_FRAGMENT_HELD, later, 96);
    now += FRAGMENT_SECONDS * NANOSECONDS;
    engine_expire(engine_worker(engine, 0), now);
    expect(capture, CAPTURE_RECEIVED, VERDICT_FRAGMENT_TIMEOUT, later, 96);
    /* Within a burst: the first piece is the one that may not pass. */
    packet = fragment(false, 3);
    packet_data(&packet)[40] = 99;
    copy(later, &packet);
    assert_int_equal(receive(&packet), VERDICT_FRAGMENT_HELD);
    expect(capture, CAPTURE_RECEIVED, VERDICT_FRAGMENT_HELD, later, 96);
    packet = fragment(true, 3);
    packet_data(&packet)[40] = 99;
    assert_int_equal(receive(&packet), VERDICT_PROTOCOL);
    expect(capture, CAPTURE_RECEIVED, VERDICT_PROTOCOL, later, 96);
    expect(capture, CAPTURE_RECEIVED, VERDICT_PROTOCOL, packet_data(&packet), 96);
    assert_int_equal(engine->worker[0].capturing.turn % 2, 0);
    capture_stop(engine, capture);
}

static void test_only_the_first_bytes(void **state)
{
    uint8_t received[140];
    (void)state;
    struct capture_filter filter = everything();
    filter.snap = 61; /* no multiple of anything */
    struct capture *capture = start(filter);
    struct packet packet = make6(UDP, 100);
    copy(received, &packet);
    receive(&packet);
    assert_int_equal(capture_next(capture)->kept, 61);
    expect(capture, CAPTURE_RECEIVED, VERDICT_TRANSLATED_6TO4, received, 140);
    assert_int_equal(capture_next(capture)->kept, 61);
    expect(capture, CAPTURE_RESULT, VERDICT_TRANSLATED_6TO4, packet_data(&packet), 120);
    capture_stop(engine, capture);
}

static void test_nothing_before_and_after(void **state)
{
    (void)state;
    struct packet packet = make6(UDP, 100);
    receive(&packet);
    struct capture *capture = start(everything());
    expect_none(capture);
    assert_int_equal(capture_count(engine), 1);
    capture_stop(engine, capture);
    assert_int_equal(capture_count(engine), 0);
    packet = make6(UDP, 100);
    assert_int_equal(receive(&packet), VERDICT_TRANSLATED_6TO4);
}

static void test_of_a_burst_only_the_verdict_asked_for(void **state)
{
    static uint8_t memory[3][400];
    uint8_t dropped[100];
    struct packet packets[3];
    enum verdict verdicts[3];
    (void)state;
    struct capture *capture = start(only(VERDICT_NO_BINDING));
    for (unsigned i = 0; i < 3; i++) {
        packets[i] = i == 1 ? make4(UDP, 80) : make6(UDP, 80);
        memcpy(memory[i] + 128, packet_data(&packets[i]), packets[i].length);
        packets[i].buffer = memory[i];
        packets[i].capacity = sizeof(memory[i]);
        packets[i].offset = 128;
    }
    put(memory[1] + 128 + 16, 4, 0xc0000201);
    seal_ipv4(memory[1] + 128);
    seal(memory[1] + 128, 20, UDP, 80);
    copy(dropped, &packets[1]);
    engine_receive(engine_worker(engine, 1), packets, 3, now, verdicts);
    assert_int_equal(verdicts[1], VERDICT_NO_BINDING);
    assert_int_equal(capture_next(capture)->worker, 1);
    expect(capture, CAPTURE_RECEIVED, VERDICT_NO_BINDING, dropped, 100);
    expect_none(capture);
    capture_stop(engine, capture);
}

/* Bytes behind the packet that its header does not count were received, too. */
static void test_length_as_received(void **state)
{
    (void)state;
    struct capture *capture = start(only(VERDICT_TRANSLATED_6TO4));
    struct packet packet = make6(UDP, 100);
    packet.length += 7;
    assert_int_equal(receive(&packet), VERDICT_TRANSLATED_6TO4);
    assert_int_equal(capture_next(capture)->length, 147);
    capture_stop(engine, capture);
}

static void test_an_error_made_here_follows_what_called_for_it(void **state)
{
    uint8_t received[140], memory[OUTPUT_PACKET];
    struct packet made = {.buffer = memory, .capacity = sizeof(memory)};
    (void)state;
    struct capture *capture = start(only(VERDICT_HOP_LIMIT));
    struct capture *by_client = start(from_or_to("2001:db8::5"));
    struct capture *by_remote = start(from_or_to("198.51.100.7")); /* the error only quotes it */
    struct capture *by_other = start(from_or_to("198.51.100.8"));
    struct packet packet = make6(UDP, 100);
    packet_data(&packet)[7] = 1;
    copy(received, &packet);
    assert_int_equal(receive(&packet), VERDICT_HOP_LIMIT);
    assert_true(engine_pull(engine_worker(engine, 0), &made));
    struct capture *all[] = {capture, by_client, by_remote};
    for (unsigned i = 0; i < 3; i++) {
        expect(all[i], CAPTURE_RECEIVED, VERDICT_HOP_LIMIT, received, 140);
        expect(all[i], CAPTURE_MADE, VERDICT_HOP_LIMIT, memory, made.length);
        expect_none(all[i]);
        capture_stop(engine, all[i]);
    }
    expect_none(by_other);
    capture_stop(engine, by_other);
}

static void test_probes(void **state)
{
    (void)state;
    struct capture *with = start(everything()), *without = start(only(VERDICT_TRANSLATED_6TO4));
    struct packet probe = make6(6, 20);
    engine_worker(engine, 0)->now = now;
    capture_made(engine_worker(engine, 0), &probe, VERDICT_COUNT);
    expect(with, CAPTURE_MADE, VERDICT_COUNT, packet_data(&probe), 60);
    expect_none(without);
    capture_stop(engine, with);
    capture_stop(engine, without);
}

/* A host is found by any of its addresses, whichever way the packet goes. */
static void test_addresses(void **state)
{
    static const struct {
        const char *address;
        bool found;
    } cases[] = {{"2001:db8::5", true},  {"2001:db8:64::198.51.100.7", true},
                 {"198.51.100.7", true}, {"2001:db8:64::198.51.100.8", false},
                 {"2001:db8::6", false}, {"198.51.100.8", false}};
    (void)state;
    for (unsigned i = 0; i < 2 * sizeof(cases) / sizeof(cases[0]); i++) {
        struct capture_filter filter = from_or_to(cases[i / 2].address);
        if (i % 2 == 1)
            filter.snap = 9; /* the addresses are not recorded, but looked at */
        struct capture *capture = start(filter);
        struct packet out = make6(UDP, 20);
        assert_int_equal(receive(&out), VERDICT_TRANSLATED_6TO4);
        uint8_t pool[4], port[2];
        memcpy(pool, packet_data(&out) + 12, 4);
        memcpy(port, packet_data(&out) + 20, 2);
        struct packet back = make4(UDP, 20);
        memcpy(packet_data(&back) + 16, pool, 4);
        put(packet_data(&back) + 20, 2, 2222);
        memcpy(packet_data(&back) + 22, port, 2);
        seal_ipv4(packet_data(&back));
        seal(packet_data(&back), 20, UDP, 20);
        assert_int_equal(receive(&back), VERDICT_TRANSLATED_4TO6);
        unsigned records = 0;
        for (; capture_next(capture) != NULL; records++)
            capture_release(capture);
        assert_int_equal(records, cases[i / 2].found ? 4 : 0);
        capture_stop(engine, capture);
    }
}

static void restart(void)
{
    struct engine_options options = {.table = table, .settings = &settings, .workers = WORKERS, .seed = 1};
    engine_destroy(engine);
    engine = engine_create(&options, error, sizeof(error));
    assert_non_null(engine);
}

/* So is one that has an explicit mapping, also if the packet is dropped as it came. */
static void test_mapped_addresses(void **state)
{
    static const struct {
        const char *address;
        bool found;
    } cases[] = {{"2001:db8:9::5", true},  {"192.0.2.200", true},  {"2001:db8:65::c000:2c8", true},
                 {"2001:db8:9::6", false}, {"192.0.2.201", false}, {"2001:db8:65::c000:2c9", false}};
    struct eam mapping = {.ipv6 = {{0x20, 0x01, 0x0d, 0xb8, 0, 9, [15] = 5}},
                          .ipv4 = to_be32(0xc00002c8u),
                          .length6 = 128,
                          .length4 = 32};
    struct eam_problem problem;
    (void)state;
    settings.siit_count = 1;
    settings.siit[0] = (struct siit_settings){.name = "dc",
                                              .prefix = {{{0x20, 0x01, 0x0d, 0xb8, 0, 0x65}}, 96},
                                              .eam = eam_build(&mapping, 1, &problem)};
    restart();
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct capture *capture = start(from_or_to(cases[i].address));
        struct packet in = make4(UDP, 20);
        memcpy(packet_data(&in) + 16, &mapping.ipv4, 4);
        memcpy(packet_data(&in) + 12, &(be32){0x7f}, 1); /* from 127.x, which is illegal */
        seal_ipv4(packet_data(&in));
        assert_true(verdict_texts[receive(&in)].class == VERDICT_DROPPED);
        struct packet out = make6(UDP, 20);
        memcpy(packet_data(&out) + 8, mapping.ipv6.bytes, 16);
        memcpy(packet_data(&out) + 24, &(be32){0xff}, 1); /* to a multicast address */
        assert_true(verdict_texts[receive(&out)].class == VERDICT_DROPPED);
        unsigned records = 0;
        for (; capture_next(capture) != NULL; records++)
            capture_release(capture);
        assert_int_equal(records, cases[i].found ? 2 : 0);
        capture_stop(engine, capture);
    }
    settings.siit_count = 0;
    restart();
    eam_free((struct eam_table *)(uintptr_t)settings.siit[0].eam);
}

/* What is no IP packet, or too short for one, passes no filter of addresses. */
static void test_rubbish(void **state)
{
    static const uint32_t lengths[] = {0, 1, 19, 39};
    (void)state;
    struct capture *every = start(everything()), *some = start(from_or_to("2001:db8::5"));
    for (unsigned i = 0; i < 4; i++) {
        struct packet packet = make6(UDP, 20);
        packet.length = lengths[i];
        uint8_t received[60];
        copy(received, &packet);
        enum verdict verdict = receive(&packet);
        expect(every, CAPTURE_RECEIVED, verdict, received, lengths[i]);
        expect_none(some);
    }
    capture_stop(engine, every);
    capture_stop(engine, some);
}

/* --- guests ----------------------------------------------------------------------------------------- */

enum { GUESTS = 2, REASON = 5 };

static struct capture_filter only_reason(unsigned reason)
{
    return (struct capture_filter){.guests = GUESTS, .reasons = 1ull << reason, .snap = CAPTURE_SNAP_DEFAULT};
}

/* A packet cut in two behind its IP header, which is what capture_message wants at least. */
static struct capture_message message_of(const struct packet *packet, uint32_t guest)
{
    uint32_t header = packet_data(packet)[0] >> 4 == 6 ? 40 : 20;
    return (struct capture_message){.time = now,
                                    .head = packet_data(packet),
                                    .head_length = header,
                                    .body = packet_data(packet) + header,
                                    .body_length = packet->length - header,
                                    .guest = guest,
                                    .reason = REASON,
                                    .note = 77};
}

static void test_messages(void **state)
{
    (void)state;
    struct packet packet = make6(UDP, 100);
    struct capture_message message = message_of(&packet, 1);
    capture_message(engine, &message);
    struct capture *capture = start(only_reason(REASON)), *other = start(only_reason(REASON + 1));
    struct capture *packets = start(only(VERDICT_TRANSLATED_6TO4));
    expect_none(capture);
    for (uint64_t i = 0; i < 3; i++) {
        capture_message(engine, &message);
        assert_int_equal(capture_next(capture)->worker, WORKERS + 1 + 1);
        assert_int_equal(capture_next(capture)->note, 77);
        assert_int_equal(capture_next(capture)->kept, 140);
        assert_int_equal(expect(capture, CAPTURE_MESSAGE, REASON, packet_data(&packet), 140), i);
    }
    /* A guest that there is no ring for, and one that cannot be. */
    message.guest = GUESTS;
    capture_message(engine, &message);
    message.guest = UINT32_MAX;
    capture_message(engine, &message);
    expect_none(capture);
    expect_none(other);
    expect_none(packets);
    /* Packets are not for who wants messages. */
    assert_int_equal(receive(&packet), VERDICT_TRANSLATED_6TO4);
    expect_none(capture);
    assert_int_equal(capture_missed(capture), 0);
    capture_stop(engine, packets);
    capture_stop(engine, other);
    capture_stop(engine, capture);
    assert_true(engine_quiet(engine));
}

static void test_only_the_first_bytes_of_messages(void **state)
{
    static const uint32_t snaps[] = {1, 39, 40, 41, 139, 140, 141};
    (void)state;
    for (unsigned i = 0; i < sizeof(snaps) / sizeof(snaps[0]); i++) {
        struct capture_filter filter = only_reason(REASON);
        filter.snap = snaps[i];
        struct capture *capture = start(filter);
        struct packet packet = make6(UDP, 100);
        struct capture_message message = message_of(&packet, 0);
        capture_message(engine, &message);
        assert_int_equal(capture_next(capture)->kept, snaps[i] < 140 ? snaps[i] : 140);
        expect(capture, CAPTURE_MESSAGE, REASON, packet_data(&packet), 140);
        capture_stop(engine, capture);
    }
}

/* Under a prefix or not, of either family, as with packets. */
static void test_addresses_of_messages(void **state)
{
    static const struct {
        const char *address;
        bool six,
            four; /* found from 2001:db8::5 to the remote's mapped address; from the remote to the pool */
    } cases[] = {{"2001:db8::5", true, false},  {"2001:db8:64::198.51.100.7", true, true},
                 {"198.51.100.7", true, true},  {"2001:db8:64::198.51.100.8", false, false},
                 {"2001:db8::6", false, false}, {"198.51.100.8", false, false}};
    (void)state;
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct capture_filter filter = from_or_to(cases[i].address);
        filter.guests = GUESTS;
        filter.reasons = UINT64_MAX;
        struct capture *capture = start(filter);
        struct packet six = make6(UDP, 20);
        struct capture_message message = message_of(&six, 0);
        capture_message(engine, &message);
        assert_int_equal(capture_next(capture) != NULL, cases[i].six);
        if (cases[i].six)
            capture_release(capture);
        struct packet four = make4(UDP, 20);
        message = message_of(&four, 0);
        capture_message(engine, &message);
        assert_int_equal(capture_next(capture) != NULL, cases[i].four);
        capture_stop(engine, capture);
    }
}

/* Settings that a guest is looking at are not given back before it is through. */
static void test_a_guest_holds_the_settings(void **state)
{
    (void)state;
    assert_true(engine_quiet(engine));
    engine->captures.guest[3].holds = engine->rules;
    assert_true(engine_quiet(engine));
    engine->captures.guest[3].holds =
        engine->rules == &engine->drafts[0] ? &engine->drafts[1] : engine->drafts;
    assert_false(engine_quiet(engine));
    engine->captures.guest[3].holds = NULL;
    assert_true(engine_quiet(engine));
}

/* Nor is a capture freed that one is writing to. */
static void test_a_guest_keeps_its_capture(void **state)
{
    (void)state;
    struct capture *capture = start(only_reason(REASON));
    engine->captures.guest[GUESTS - 1].turn++;
    capture_stop(engine, capture);
    assert_ptr_equal(engine->captures.made[0], capture);
    capture_tidy(engine);
    assert_ptr_equal(engine->captures.made[0], capture);
    engine->captures.guest[GUESTS - 1].turn++;
    capture_tidy(engine);
    assert_null(engine->captures.made[0]);
}

static void test_a_full_ring_of_messages(void **state)
{
    (void)state;
    struct capture *capture = start(only_reason(REASON));
    uint64_t sent = 0, taken = 0;
    for (unsigned round = 0; round < 3; round++) {
        for (; capture_missed(capture) <= round * 10; sent++) {
            struct packet packet = make6(UDP, 8 + (uint32_t)(sent * 37 % 1300));
            struct capture_message message = message_of(&packet, 0);
            capture_message(engine, &message);
        }
        for (const struct captured *record; (record = capture_next(capture)) != NULL; taken++) {
            assert_int_equal(record->length, 48 + record->number * 37 % 1300);
            for (uint32_t i = 8; i < record->length - 40; i++)
                assert_int_equal(((const uint8_t *)(record + 1))[40 + i], (uint8_t)(i * 7 + 3));
            capture_release(capture);
        }
        assert_int_equal(taken + capture_missed(capture), sent);
        assert_true(taken > (round + 1) * 500u);
    }
    capture_stop(engine, capture);
}

/* --- rings ------------------------------------------------------------------------------------------ */

static void test_a_full_ring_misses_and_goes_on(void **state)
{
    (void)state;
    struct capture *capture = start(only(VERDICT_TRANSLATED_6TO4));
    uint64_t sent = 0, taken = 0;
    for (unsigned round = 0; round < 5; round++) {
        while (capture_missed(capture) <= round * 100) {
            struct packet packet = make6(UDP, 8 + (uint32_t)(sent * 37 % 1300));
            receive(&packet);
            sent++;
        }
        uint64_t last = 0;
        for (const struct captured *record; (record = capture_next(capture)) != NULL; taken++) {
            /* In order, each as it was sent: its length follows from its number. */
            assert_true(record->number >= last);
            last = record->number;
            uint32_t header = record->kind == CAPTURE_RESULT ? 20 : 40;
            assert_int_equal(record->length, header + 8 + record->number * 37 % 1300);
            assert_int_equal(((const uint8_t *)(record + 1))[0] >> 4, record->kind == CAPTURE_RESULT ? 4 : 6);
            for (uint32_t i = 8; i < record->length - header; i++)
                assert_int_equal(((const uint8_t *)(record + 1))[header + i], (uint8_t)(i * 7 + 3));
            capture_release(capture);
        }
        assert_int_equal(taken + capture_missed(capture), 2 * sent);
        assert_true(taken > (round + 1) * 1000u);
    }
    capture_stop(engine, capture);
}

static void test_so_many_and_no_more(void **state)
{
    struct capture *captures[CAPTURES_MAXIMUM];
    struct capture_filter filter = everything();
    (void)state;
    for (unsigned i = 0; i < CAPTURES_MAXIMUM; i++)
        captures[i] = start(everything());
    assert_null(capture_start(engine, &filter, error, sizeof(error)));
    assert_non_null(strstr(error, "running"));
    struct packet packet = make6(UDP, 100);
    receive(&packet);
    for (unsigned i = 0; i < CAPTURES_MAXIMUM; i++)
        assert_non_null(capture_next(captures[i]));
    capture_stop(engine, captures[1]);
    captures[1] = start(everything());
    expect_none(captures[1]);
    /* The rest ends with the engine. */
}

/* A worker in the middle of a burst, perhaps stopped there: its capture is not freed before it is through. */
static void test_a_burst_under_way_keeps_its_capture(void **state)
{
    struct worker *worker = engine_worker(engine, 1);
    struct packet packet = make6(UDP, 100);
    const enum verdict verdict = VERDICT_NOT_OURS;
    (void)state;
    struct capture *capture = start(everything());
    capture_burst_begins(worker, &packet, 1);
    capture_stop(engine, capture);
    assert_int_equal(capture_count(engine), 0);
    for (unsigned i = 0; i < CAPTURES_MAXIMUM - 1; i++)
        (void)start(everything());
    struct capture_filter filter = everything();
    assert_null(capture_start(engine, &filter, error, sizeof(error)));
    capture_tidy(engine);
    capture_burst_ends(worker, &packet, 1, &verdict);
    (void)start(everything());
}

/* --- two threads ------------------------------------------------------------------------------------ */

static atomic_bool stop_sending;

static void *send_on(void *argument)
{
    struct worker *worker = argument;
    uint8_t memory[400];
    while (!atomic_load(&stop_sending)) {
        struct packet packet = {.buffer = memory, .capacity = sizeof(memory), .offset = 128};
        enum verdict verdict;
        packet.length = 40 + 8 + 60;
        put_ipv6(packet_data(&packet), UDP, 68);
        put_transport(packet_data(&packet) + 40, UDP, 68);
        put(packet_data(&packet) + 40, 2, 2000 + worker->actor.lane);
        engine_receive(worker, &packet, 1, now, &verdict);
    }
    return NULL;
}

static void *show_on(void *argument)
{
    uint8_t bytes[108] = {0};
    put_ipv6(bytes, UDP, 68);
    struct packet packet = {.buffer = bytes, .capacity = sizeof(bytes), .length = sizeof(bytes)};
    struct capture_message message = message_of(&packet, *(const uint32_t *)argument);
    while (!atomic_load(&stop_sending))
        capture_message(engine, &message);
    return NULL;
}

/* Guests, while captures come and go and so do settings. */
static void test_while_guests_run(void **state)
{
    static const uint32_t numbers[GUESTS] = {0, 1};
    pthread_t threads[GUESTS];
    (void)state;
    atomic_store(&stop_sending, false);
    for (uint32_t i = 0; i < GUESTS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, show_on, (void *)(uintptr_t)&numbers[i]), 0);
    for (unsigned round = 0; round < 100; round++) {
        struct capture *capture = NULL;
        uint64_t next[GUESTS] = {0};
        struct capture_filter filter = only_reason(REASON);
        filter.family = 6;
        inet_pton(AF_INET6, "2001:db8::5", filter.address6.bytes);
        while (capture == NULL) /* the one before may still be in use */
            capture = capture_start(engine, &filter, error, sizeof(error));
        for (unsigned records = 0; records < 100;) {
            const struct captured *record = capture_next(capture);
            if (record == NULL)
                continue;
            uint32_t guest = record->worker - WORKERS - 1u;
            assert_true(guest < GUESTS);
            if (capture_missed(capture) == 0)
                assert_int_equal(record->number, next[guest]);
            next[guest] = record->number + 1;
            capture_release(capture);
            records++;
        }
        assert_true(engine_replace_settings(engine, &settings, now, error, sizeof(error)));
        while (!engine_quiet(engine))
            continue;
        capture_stop(engine, capture);
    }
    atomic_store(&stop_sending, true);
    for (uint32_t i = 0; i < GUESTS; i++)
        pthread_join(threads[i], NULL);
    capture_tidy(engine);
}

/* Workers go on at full speed while captures are started, read and stopped. */
static void test_while_workers_run(void **state)
{
    pthread_t threads[WORKERS];
    (void)state;
    atomic_store(&stop_sending, false);
    for (uint32_t i = 0; i < WORKERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, send_on, engine_worker(engine, i)), 0);
    for (unsigned round = 0; round < 200; round++) {
        struct capture *capture = NULL;
        uint64_t next[WORKERS] = {0};
        struct capture_filter filter = everything();
        filter.snap = CUT;
        while (capture == NULL) /* the one before may still be in use */
            capture = capture_start(engine, &filter, error, sizeof(error));
        for (unsigned records = 0; records < 300;) {
            const struct captured *record = capture_next(capture);
            if (record == NULL)
                continue;
            const uint8_t *bytes = (const void *)(record + 1);
            bool result = record->kind == CAPTURE_RESULT;
            assert_int_equal(bytes[0] >> 4, result ? 4 : 6);
            assert_int_equal(record->length, result ? 88 : 108);
            if (!result)
                assert_int_equal(be(bytes + 40, 2), 2000 + record->worker);
            if (capture_missed(capture) == 0)
                assert_int_equal(record->number, next[record->worker]);
            next[record->worker] = record->number + result;
            capture_release(capture);
            records++;
        }
        capture_stop(engine, capture);
    }
    atomic_store(&stop_sending, true);
    for (uint32_t i = 0; i < WORKERS; i++)
        pthread_join(threads[i], NULL);
    capture_tidy(engine);
    struct engine_counters counters;
    engine_count(engine, &counters);
    assert_true(counters.packets[VERDICT_TRANSLATED_6TO4] > 1000);
}

static void test_decisions_of_another_plane(void **state)
{
    uint8_t bytes[140] = {0x60}, result[120] = {0x45};
    (void)state;
    struct capture *capture = start(only(VERDICT_TRANSLATED_6TO4)), *other = start(only(VERDICT_NO_BINDING));
    struct capture_decision decision = {now, VERDICT_TRANSLATED_6TO4, bytes, result,
                                        140, sizeof(bytes),           120,   sizeof(result)};
    for (uint64_t i = 0; i < 2; i++) {
        capture_decision(engine, &decision);
        assert_int_equal(capture_next(capture)->worker, WORKERS);
        assert_int_equal(expect(capture, CAPTURE_RECEIVED, decision.verdict, bytes, 140), i);
        assert_int_equal(expect(capture, CAPTURE_RESULT, decision.verdict, result, 120), i);
    }
    decision.verdict = VERDICT_COUNT;
    capture_decision(engine, &decision);
    expect_none(capture);
    expect_none(other);
    assert_int_equal(capture_snap(engine), CAPTURE_SNAP_DEFAULT);
    capture_lost(engine, 3);
    assert_int_equal(capture_missed(other), 3);
    capture_stop(engine, other);
    capture_stop(engine, capture);
    assert_int_equal(capture_snap(engine), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, take_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_both_sides_of_a_translated_packet),
        TEST(test_fragments_that_are_held),
        TEST(test_only_the_first_bytes),
        TEST(test_nothing_before_and_after),
        TEST(test_of_a_burst_only_the_verdict_asked_for),
        TEST(test_length_as_received),
        TEST(test_an_error_made_here_follows_what_called_for_it),
        TEST(test_probes),
        TEST(test_addresses),
        TEST(test_mapped_addresses),
        TEST(test_rubbish),
        TEST(test_messages),
        TEST(test_only_the_first_bytes_of_messages),
        TEST(test_addresses_of_messages),
        TEST(test_a_guest_holds_the_settings),
        TEST(test_a_guest_keeps_its_capture),
        TEST(test_a_full_ring_of_messages),
        TEST(test_while_guests_run),
        TEST(test_a_full_ring_misses_and_goes_on),
        TEST(test_so_many_and_no_more),
        TEST(test_a_burst_under_way_keeps_its_capture),
        TEST(test_while_workers_run),
        TEST(test_decisions_of_another_plane),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
