/* SPDX-License-Identifier: BSD-2-Clause */
/* What a capture of the engine's shows of packets that the kernel's translator decided on by itself. */
#include <arpa/inet.h>

#include "engine/capture.h"
#include "engine/worker.h"
#include "plane/bpf/capture.h"
#include "plane/bpf/captured.h"
#include "test/engine/packets.h"
#include "test/plane/bpf_lab.h"

enum {
    UDP = 17,
    LARGE = 3000, /* bytes */
};

static const char *reason; /* why all tests are skipped, or NULL */
static struct settings settings;
static struct pool_range range;
static struct table *table;
static struct engine *engine;
static struct capture_source *source;
static struct plane_capture *control;
static char error[128];
static nanoseconds now;

static int set_up(void **state)
{
    (void)state;
    if (reason != NULL)
        return 0;
    now = 100 * NANOSECONDS;
    range = (struct pool_range){
        .first = to_be32(0xc0000209u), .count = 1, .low = 1024, .high = 65535, .transports = 7};
    settings = (struct settings){.translation = test_settings, .nat64_count = 1};
    settings.translation.mtu6 = settings.translation.mtu4 = 9000;
    settings.nat64[0] = (struct nat64_settings){.name = "main",
                                                .prefix = {{{0x20, 0x01, 0x0d, 0xb8, 0, 0x64}}, 96},
                                                .sessions = 1024,
                                                .subscriber_prefix = 64,
                                                .pool = &range,
                                                .pool_count = 1,
                                                .timeouts = {300, 60, 7440, 240, 6, 0, 0, 2}};
    const struct geometry geometry = {.sessions = 1024, .addresses = 4, .workers = 1};
    table = bpf_lab_table(&geometry, 1);
    struct engine_options options = {
        .table = table, .settings = &settings, .waiting = bpf_lab_waiting(), .workers = 1, .seed = 1};
    engine = engine_create(&options, error, sizeof(error));
    source = capture_source_open(bpf_lab_object());
    control = object_map_memory(bpf_lab_object(), ".data.capture");
    if (engine == NULL || source == NULL || control == NULL || !bpf_lab_enforce(engine, NULL))
        return -1;
    bpf_lab_set_clock(now);
    return 0;
}

static int take_down(void **state)
{
    (void)state;
    capture_source_close(source);
    engine_destroy(engine);
    table_destroy(table);
    source = NULL;
    engine = NULL;
    table = NULL;
    return 0;
}

static void need_kernel(void)
{
    if (reason == NULL)
        return;
    print_message("%s\n", reason);
    skip();
}

static struct capture *start(struct capture_filter filter)
{
    struct capture *capture = capture_start(engine, &filter, error, sizeof(error));
    assert_non_null(capture);
    capture_source_read(source, engine);
    return capture;
}

static struct capture_filter everything(void)
{
    struct capture_filter filter = {.snap = CAPTURE_SNAP_DEFAULT};
    memset(filter.verdicts, true, sizeof(filter.verdicts));
    return filter;
}

static void stop(struct capture *capture)
{
    capture_stop(engine, capture);
    capture_source_read(source, engine);
}

static void expect_none(struct capture *capture)
{
    capture_source_read(source, engine);
    assert_null(capture_next(capture));
}

/* The next record has these contents, or as many of them as are kept; takes it and returns its number. */
static uint64_t expect(struct capture *capture, enum capture_kind kind, const struct packet *packet,
                       uint32_t kept)
{
    capture_source_read(source, engine);
    const struct captured *record = capture_next(capture);
    assert_non_null(record);
    assert_int_equal(record->kind, kind);
    assert_int_equal(record->length, packet->length);
    assert_int_equal(record->kept, kept);
    assert_memory_equal(record + 1, packet_data(packet), kept);
    assert_true(record->time != 0);
    uint64_t number = record->number;
    capture_release(capture);
    return number;
}

/* Brings the packet in; `before` is a copy of it. */
static void decided(struct packet *packet, struct packet *before, enum verdict expected)
{
    static uint8_t bytes[TEST_CAPACITY];
    enum verdict verdict;
    memcpy(bytes, packet->buffer, TEST_CAPACITY);
    *before = *packet;
    before->buffer = bytes;
    assert_int_equal(bpf_lab_receive(packet, &verdict), BPF_LAB_DECIDED);
    assert_int_equal(verdict, expected);
}

/* What the server sends to the pool port that a translated packet came from. */
static struct packet answer_to(const struct packet *translated)
{
    uint8_t port[2];
    memcpy(port, packet_data(translated) + 20,
           sizeof(port)); /* before the buffer, which all share, is used */
    struct packet packet = make4(UDP, 50);
    uint8_t *ip = packet_data(&packet);
    put(ip + 20, 2, 2222);
    memcpy(ip + 22, port, sizeof(port));
    seal(ip, 20, UDP, 50);
    return packet;
}

static void test_both_sides_of_a_translated_packet(void **state)
{
    (void)state;
    need_kernel();
    struct capture *capture = start(everything());
    for (uint64_t i = 0; i < 4; i += 2) {
        struct packet packet = make6(UDP, 100), before;
        decided(&packet, &before, VERDICT_TRANSLATED_6TO4);
        assert_int_equal(expect(capture, CAPTURE_RECEIVED, &before, 140), i);
        assert_int_equal(expect(capture, CAPTURE_RESULT, &packet, 120), i);
        struct packet answer = answer_to(&packet);
        decided(&answer, &before, VERDICT_TRANSLATED_4TO6);
        assert_int_equal(expect(capture, CAPTURE_RECEIVED, &before, 70), i + 1);
        assert_int_equal(expect(capture, CAPTURE_RESULT, &answer, 90), i + 1);
        expect_none(capture);
    }
    stop(capture);
}

static void test_a_dropped_packet(void **state)
{
    (void)state;
    need_kernel();
    struct capture *capture = start(everything());
    struct packet packet = make4(UDP, 50), before;
    decided(&packet, &before, VERDICT_NO_BINDING);
    capture_source_read(source, engine);
    assert_int_equal(capture_next(capture)->verdict, VERDICT_NO_BINDING);
    expect(capture, CAPTURE_RECEIVED, &before, 70);
    expect_none(capture);
    stop(capture);
}

static void test_what_the_programs_leave_is_not_theirs(void **state)
{
    enum verdict verdict;
    (void)state;
    need_kernel();
    struct capture *capture = start(everything());
    struct packet packet = make6(UDP, 100);
    put(packet_data(&packet) + 46, 2, 0); /* without a checksum */
    assert_int_equal(bpf_lab_receive(&packet, &verdict), BPF_LAB_HANDED_OVER);
    packet = make6(UDP, 100);
    packet_data(&packet)[29] = 0x77; /* another prefix */
    assert_int_equal(bpf_lab_receive(&packet, &verdict), BPF_LAB_PASSED);
    expect_none(capture);
    stop(capture);
}

static void test_only_the_first_bytes(void **state)
{
    static const uint32_t snaps[] = {1, 63, 64, 65, LARGE + 19, LARGE + 40, PACKET_MAXIMUM};
    (void)state;
    need_kernel();
    for (size_t i = 0; i < sizeof(snaps) / sizeof(snaps[0]); i++) {
        struct capture_filter filter = everything();
        uint32_t snap = filter.snap = snaps[i];
        struct capture *capture = start(filter);
        struct packet packet = make6(UDP, LARGE), before;
        decided(&packet, &before, VERDICT_TRANSLATED_6TO4);
        expect(capture, CAPTURE_RECEIVED, &before, snap < LARGE + 40 ? snap : LARGE + 40);
        expect(capture, CAPTURE_RESULT, &packet, snap < LARGE + 20 ? snap : LARGE + 20);
        stop(capture);
    }
}

static void test_without_what_fills_a_frame_up(void **state)
{
    (void)state;
    need_kernel();
    struct capture *capture = start(everything());
    struct packet packet = make6(UDP, 20), before;
    packet.length += 6;
    decided(&packet, &before, VERDICT_TRANSLATED_6TO4);
    before.length -= 6;
    expect(capture, CAPTURE_RECEIVED, &before, 60);
    expect(capture, CAPTURE_RESULT, &packet, 40);
    stop(capture);
}

static void test_filters(void **state)
{
    struct capture_filter verdicts = everything(), address = everything();
    (void)state;
    need_kernel();
    verdicts.verdicts[VERDICT_TRANSLATED_6TO4] = false;
    address.family = 4;
    assert_int_equal(inet_pton(AF_INET, "192.0.2.9", &address.address4), 1);
    struct capture *dropped = start(verdicts), *of_pool = start(address);
    address.address4 ^= to_be32(1);
    struct capture *of_nobody = start(address);
    struct packet packet = make6(UDP, 100), before;
    decided(&packet, &before, VERDICT_TRANSLATED_6TO4);
    expect(of_pool, CAPTURE_RECEIVED, &before, 140);
    expect(of_pool, CAPTURE_RESULT, &packet, 120);
    expect_none(of_pool);
    expect_none(of_nobody);
    expect_none(dropped);
    stop(dropped);
    stop(of_pool);
    stop(of_nobody);
}

static void test_nothing_before_and_after(void **state)
{
    struct packet packet = make6(UDP, 100), before;
    (void)state;
    need_kernel();
    decided(&packet, &before, VERDICT_TRANSLATED_6TO4);
    struct capture *capture = start(everything());
    expect_none(capture);
    assert_int_equal(control->snap, CAPTURE_SNAP_DEFAULT);
    capture_stop(engine, capture); /* and the source does not hear of it yet */
    packet = make6(UDP, 100);
    decided(&packet, &before, VERDICT_TRANSLATED_6TO4);
    capture_source_read(source, engine);
    assert_int_equal(control->snap, 0);
    /* A program that had looked at the word before. */
    control->snap = 64;
    packet = make6(UDP, 100);
    decided(&packet, &before, VERDICT_TRANSLATED_6TO4);
    control->snap = 0;
    capture = start(everything());
    expect_none(capture);
    stop(capture);
}

static void test_nothing_for_a_daemon_that_was_killed(void **state)
{
    (void)state;
    need_kernel();
    struct plane_control *alive = object_map_memory(bpf_lab_object(), ".data.control");
    struct capture *capture = start(everything());
    struct packet packet = make6(UDP, 100), before;
    alive->alive_until = 1;
    decided(&packet, &before, VERDICT_TRANSLATED_6TO4);
    alive->alive_until = UINT64_MAX;
    expect_none(capture);
    stop(capture);
}

static void test_a_full_ring_misses_and_goes_on(void **state)
{
    enum { PACKETS = CAPTURED_RING / LARGE };
    struct capture_filter filter = everything();
    (void)state;
    need_kernel();
    filter.snap = LARGE;
    struct capture *capture = start(filter);
    struct packet packet, before;
    for (unsigned round = 0; round < 2; round++) {
        uint64_t found = 0, missed = capture_missed(capture);
        for (unsigned i = 0; i < PACKETS; i++) {
            packet = make6(UDP, LARGE);
            decided(&packet, &before, VERDICT_TRANSLATED_6TO4);
        }
        capture_source_read(source, engine);
        for (; capture_next(capture) != NULL; found++)
            capture_release(capture);
        missed = capture_missed(capture) - missed;
        assert_true(missed > 0 && found > 0);
        assert_int_equal(found / 2 + missed, PACKETS);
    }
    stop(capture);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, take_down)

int main(int count, char **words)
{
    const struct CMUnitTest tests[] = {
        TEST(test_both_sides_of_a_translated_packet),
        TEST(test_a_dropped_packet),
        TEST(test_what_the_programs_leave_is_not_theirs),
        TEST(test_only_the_first_bytes),
        TEST(test_without_what_fills_a_frame_up),
        TEST(test_filters),
        TEST(test_nothing_before_and_after),
        TEST(test_nothing_for_a_daemon_that_was_killed),
        TEST(test_a_full_ring_misses_and_goes_on),
    };
    reason = bpf_lab_open(count > 1 ? words[1] : "translate.bpf.o");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
