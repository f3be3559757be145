/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The stream of a capture over a real socket, with a real engine and without a device. The blocks themselves
 * are the business of test/control/pcapng_test.c, and what tshark reads in them that of the end-to-end tests.
 */
#include <arpa/inet.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "control/daemon.h"
#include "control/dns_capture.h"
#include "control/pcapng.h"
#include "engine/capture.h"

enum {
    ANSWER_MAXIMUM = 1 << 16,
    TURNS = 20000, /* of the loop, until something must have come; over a second */
};

/* What stands below and is not there: the device, the eBPF plane, the name service and the reload. */

bool tun_uso(const struct tun *tun)
{
    (void)tun;
    return true;
}

void tun_count(const struct tun *tun, struct tun_counters *counters)
{
    (void)tun;
    (void)counters;
}

static uint32_t plane_knows;                     /* captures that ran when it was last asked */
static const struct capture_decision *plane_has; /* it has decided this, if it is asked while one runs */

void bpf_plane_capture(const struct daemon *daemon)
{
    plane_knows = capture_count(daemon->engine);
    if (plane_has != NULL && plane_knows > 0) {
        capture_decision(daemon->engine, plane_has);
        plane_has = NULL;
    }
}

void server_count(const struct server *server, struct dns64_counters *counters)
{
    (void)server;
    (void)counters;
}

void server_look(const struct server *server, struct server_state *state)
{
    (void)server;
    (void)state;
}

bool daemon_reload(struct daemon *daemon, struct daemon_reloaded *reloaded, struct config_error *error)
{
    (void)reloaded;
    (void)daemon;
    (void)error;
    return false;
}

static struct daemon fixture;
static struct table *table;
static struct config config;
static struct pool_range pool;
static struct sockaddr_un address = {.sun_family = AF_UNIX};

/* An answer as it comes in; HTTP/1.0, which has no chunks. */
struct response {
    int fd;
    size_t length, body; /* bytes so far; those of the header */
    char text[ANSWER_MAXIMUM];
};

static struct response *left_open;

static int open_api(void **state)
{
    struct nat64_settings *nat64 = &config.settings.nat64[0];
    char error[256];
    (void)state;
    config.settings.nat64_count = 1;
    config.settings.translation = (struct translation_settings){.tos = -1, .mtu6 = 1500, .mtu4 = 1500};
    config.geometry = (struct geometry){.sessions = 64, .addresses = 1, .workers = 1};
    snprintf(config.plane.name, sizeof(config.plane.name), "isthmus0");
    nat64->prefix.length = 96;
    inet_pton(AF_INET6, "2001:db8:64::", nat64->prefix.address.bytes);
    pool = (struct pool_range){
        .first = to_be32(0xc0000200), .count = 1, .low = 1024, .high = 65535, .transports = 7};
    nat64->pool = &pool;
    nat64->pool_count = 1;
    nat64->sessions = 64;
    nat64->subscriber_prefix = SUBSCRIBER_PREFIX_DEFAULT;
    nat64->timeouts = (struct nat64_timeouts){
        .udp = 300, .icmp = 60, .tcp_established = 7440, .tcp_transitory = 240, .tcp_syn = 6};
    fixture.config = &config;
    fixture.workers = 1;
    table = table_create(&config.geometry, 1);
    struct engine_options options = {.table = table, .settings = &config.settings, .workers = 1, .seed = 2};
    fixture.engine = engine_create(&options, error, sizeof(error));
    uv_loop_init(&fixture.loop);
    snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1, "isthmus-capture-%ld", (long)getpid());
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (bind(listener, (struct sockaddr *)&address, sizeof(address)) != 0 || listen(listener, 8) != 0)
        return -1;
    fixture.service = portal_service.open(&fixture, listener, error, sizeof(error));
    return fixture.engine != NULL && fixture.service != NULL ? 0 : -1;
}

/* With whatever captures still run. */
static int close_api(void **state)
{
    (void)state;
    portal_service.close(fixture.service);
    uv_run(&fixture.loop, UV_RUN_DEFAULT);
    if (left_open != NULL)
        close(left_open->fd);
    free(left_open);
    int status = uv_loop_close(&fixture.loop);
    if (capture_count(fixture.engine) != 0)
        status = -1;
    engine_destroy(fixture.engine);
    table_destroy(table);
    return status;
}

static struct response *ask(const char *path)
{
    struct response *answer = calloc(1, sizeof(*answer));
    char request[512];
    assert_non_null(answer);
    answer->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(answer->fd, (struct sockaddr *)&address, sizeof(address)), 0);
    int size = snprintf(request, sizeof(request), "GET %s HTTP/1.0\r\n\r\n", path);
    assert_int_equal(write(answer->fd, request, (size_t)size), size);
    return answer;
}

static void hang_up(struct response *answer)
{
    close(answer->fd);
    free(answer);
}

/* Reads until there are so many bytes of the body. */
static const char *read_body(struct response *answer, size_t bytes)
{
    for (int i = 0; i < TURNS && (answer->body == 0 || answer->length - answer->body < bytes); i++) {
        uv_run(&fixture.loop, UV_RUN_NOWAIT);
        ssize_t got = recv(answer->fd, answer->text + answer->length, ANSWER_MAXIMUM - 1 - answer->length, 0);
        if (got > 0)
            answer->length += (size_t)got;
        else
            usleep(50);
        const char *end = strstr(answer->text, "\r\n\r\n");
        if (end != NULL)
            answer->body = (size_t)(end + 4 - answer->text);
    }
    assert_true(answer->body > 0 && answer->length - answer->body >= bytes);
    return answer->text + answer->body;
}

static uint32_t number_at(const char *bytes)
{
    uint32_t number;
    memcpy(&number, bytes, sizeof(number));
    return number;
}

/* The block at `position` of the body, of this type; moves the position behind it. */
static const char *expect_block(struct response *answer, uint32_t type, size_t *position)
{
    assert_int_equal(number_at(read_body(answer, *position + 8) + *position), type);
    size_t length = number_at(read_body(answer, *position + 8) + *position + 4);
    const char *block = read_body(answer, *position + length) + *position;
    assert_int_equal(number_at(block + length - 4), length);
    *position += length;
    return block;
}

static struct response *begin(const char *path, size_t *position)
{
    struct response *answer = ask(path);
    *position = 0;
    expect_block(answer, PCAPNG_SECTION, position);
    expect_block(answer, PCAPNG_INTERFACE, position);
    assert_non_null(strstr(answer->text, "HTTP/1.1 200 OK"));
    assert_non_null(strstr(answer->text, "Content-Type: application/octet-stream"));
    return answer;
}

/* An echo request from an IPv6 host; with hop limit 1 it is refused. */
static void receive_echo_request(uint8_t hop_limit)
{
    static const uint8_t bytes[] = {0x60, 0,    0,    0,    0,   8,    58,   64,   0x20, 0x01, 0x0d, 0xb8,
                                    0,    0,    0,    0,    0,   0,    0,    0,    0,    0,    0,    9,
                                    0x20, 0x01, 0x0d, 0xb8, 0,   0x64, 0,    0,    0,    0,    0,    0,
                                    198,  51,   100,  7,    128, 0,    0xe4, 0xc3, 0x12, 0x34, 0,    1};
    uint8_t buffer[PACKET_HEADROOM * 2 + sizeof(bytes)];
    struct packet packet = {
        .buffer = buffer, .capacity = sizeof(buffer), .offset = PACKET_HEADROOM * 2, .length = sizeof(bytes)};
    enum verdict verdict;
    memcpy(packet_data(&packet), bytes, sizeof(bytes));
    packet_data(&packet)[7] = hop_limit;
    engine_receive(engine_worker(fixture.engine, 0), &packet, 1, uv_hrtime(), &verdict);
    assert_int_equal(verdict, hop_limit > 1 ? VERDICT_TRANSLATED_6TO4 : VERDICT_HOP_LIMIT);
}

/* The comment is the first option behind the packet; it begins like this. */
static void expect_comment(const char *block, size_t kept, const char *start)
{
    assert_memory_equal(block + 28 + kept + 4, start, strlen(start));
}

static void test_packets_come_as_they_are_made(void **state)
{
    size_t position;
    (void)state;
    struct response *answer = begin("/v1/capture", &position);
    for (int i = 0; i < 3; i++) {
        receive_echo_request(64);
        const char *block = expect_block(answer, PCAPNG_PACKET, &position);
        uint64_t when = (uint64_t)number_at(block + 12) << 32 | number_at(block + 16);
        assert_in_range(when / 1000000000, time(NULL) - 60, time(NULL) + 60);
        assert_int_equal(number_at(block + 20), 48);
        assert_int_equal(block[28], 0x60);
        expect_comment(block, 48, "translated-6to4: Translated from IPv6 to IPv4. (RFC 7915 5)");
        block = expect_block(answer, PCAPNG_PACKET, &position);
        assert_int_equal(number_at(block + 20), 28);
        expect_comment(block, 28, "Result of translated-6to4.");
    }
    hang_up(answer);
}

static void run_until_captures(uint32_t count)
{
    for (int i = 0; i < TURNS && capture_count(fixture.engine) != count; i++) {
        uv_run(&fixture.loop, UV_RUN_NOWAIT);
        usleep(50);
    }
    assert_int_equal(capture_count(fixture.engine), count);
}

static void test_a_client_that_goes_ends_it(void **state)
{
    size_t position;
    (void)state;
    run_until_captures(0);
    struct response *answer = begin("/v1/capture", &position);
    assert_int_equal(capture_count(fixture.engine), 1);
    hang_up(answer);
    run_until_captures(0);
}

/* The plane in the kernel hears of each beginning and end, and is asked at each look. */
static void test_what_another_plane_has_decided(void **state)
{
    static const uint8_t bytes[40] = {0x60, [6] = 59, 64, 0x20, 1, [23] = 9, 0x20, 1, [39] = 10};
    struct capture_decision decision = {
        .verdict = VERDICT_NO_BINDING, .received = bytes, .length = sizeof(bytes), .kept = sizeof(bytes)};
    size_t position;
    (void)state;
    plane_knows = 9;
    struct response *answer = begin("/v1/capture", &position);
    assert_int_equal(plane_knows, 1);
    for (int i = 0; i < 3; i++) {
        decision.time = uv_hrtime();
        plane_has = &decision;
        const char *block = expect_block(answer, PCAPNG_PACKET, &position);
        assert_null(plane_has);
        assert_int_equal(number_at(block + 20), sizeof(bytes));
        assert_memory_equal(block + 28, bytes, sizeof(bytes));
        expect_comment(block, sizeof(bytes), "no-binding: ");
    }
    hang_up(answer);
    run_until_captures(0);
    assert_int_equal(plane_knows, 0);
}

static void test_filters(void **state)
{
    size_t position;
    (void)state;
    struct response *refused =
        begin("/v1/capture?verdict=no-binding,refused&address=2001%3adb8::9&snaplen=40", &position);
    struct response *other = begin("/v1/capture?address=192.0.2.99", &position);
    size_t other_position = position;
    receive_echo_request(64);
    receive_echo_request(1);
    position = 0;
    expect_block(refused, PCAPNG_SECTION, &position);
    expect_block(refused, PCAPNG_INTERFACE, &position);
    const char *block = expect_block(refused, PCAPNG_PACKET, &position);
    assert_int_equal(number_at(block + 20), 40);
    assert_int_equal(number_at(block + 24), 48);
    expect_comment(block, 40, "hop-limit: ");
    for (int i = 0; i < 1000; i++)
        uv_run(&fixture.loop, UV_RUN_NOWAIT);
    read_body(refused, position);
    read_body(other, other_position);
    assert_int_equal(refused->length - refused->body, position);
    assert_int_equal(other->length - other->body, other_position);
    hang_up(refused);
    hang_up(other);
    run_until_captures(0);
}

/* Queries that the name service refuses, and what is asked for with them or without. */
static void test_messages_to_the_name_service(void **state)
{
    static const uint8_t bytes[17] = "not much of a DNS";
    const struct sockaddr_in6 from = {.sin6_port = to_be16(40000), .sin6_addr.s6_addr = {0x20, 1, [15] = 9}};
    const struct sockaddr_in6 to = {.sin6_port = to_be16(53), .sin6_addr.s6_addr = {0x20, 1, [15] = 53}};
    struct server_seen seen = {
        .reason = DNS64_MALFORMED, .from = &from, .to = &to, .bytes = bytes, .size = 17};
    const struct {
        const char *path;
        bool malformed;
    } cases[] = {{"/v1/capture", true},
                 {"/v1/capture?verdict=dropped,dns-refused", false},
                 {"/v1/capture?verdict=refused&address=2001::9", true}};
    struct response *answers[3];
    size_t positions[3];
    (void)state;
    fixture.dns_server = (struct server *)&fixture; /* that there is one is all that is looked at */
    for (unsigned i = 0; i < 3; i++)
        answers[i] = begin(cases[i].path, &positions[i]);
    struct response *none = begin("/v1/capture?verdict=dns&address=2001::8", &positions[0]);
    size_t end = positions[0];
    dns_capture_seen(fixture.engine, &seen);
    seen.reason = DNS64_REFUSED;
    seen.tcp = true;
    dns_capture_seen(fixture.engine, &seen);
    for (unsigned i = 0; i < 3; i++) {
        size_t position = 0;
        expect_block(answers[i], PCAPNG_SECTION, &position);
        expect_block(answers[i], PCAPNG_INTERFACE, &position);
        if (cases[i].malformed) {
            const char *block = expect_block(answers[i], PCAPNG_PACKET, &position);
            assert_int_equal(number_at(block + 20), 40 + 8 + 17);
            assert_memory_equal(block + 28 + 48, bytes, sizeof(bytes));
            expect_comment(block, 68, "dns-malformed: Not a DNS query");
        }
        const char *block = expect_block(answers[i], PCAPNG_PACKET, &position);
        expect_comment(block, 68, "dns-refused: ");
        hang_up(answers[i]);
    }
    read_body(none, end);
    assert_int_equal(none->length - none->body, end);
    hang_up(none);
    run_until_captures(0);
    fixture.dns_server = NULL;
}

static void expect_error(const char *path, const char *status, const char *sentence)
{
    struct response *answer = ask(path);
    json_t *object = json_loads(read_body(answer, 2), JSON_DISABLE_EOF_CHECK, NULL);
    assert_non_null(strstr(answer->text, status));
    assert_non_null(object);
    assert_non_null(strstr(json_string_value(json_object_get(object, "error")), sentence));
    json_decref(object);
    hang_up(answer);
}

static void test_mistakes(void **state)
{
    (void)state;
    expect_error("/v1/capture?verdict=no-such", " 400 ", "no verdict no-such; isthmus show counters --all");
    expect_error("/v1/capture?verdict=", " 400 ", "there is no verdict");
    expect_error("/v1/capture?verdict=dropped,%22%5c%ff", " 400 ", "no verdict \?\?\?;");
    expect_error("/v1/capture?verdict=dropped,", " 400 ", "there is no verdict");
    expect_error("/v1/capture?address=here", " 400 ", "address");
    expect_error("/v1/capture?snaplen=0", " 400 ", "snaplen");
    expect_error("/v1/capture?snaplen=-1", " 400 ", "snaplen");
    expect_error("/v1/capture?snaplen=65576", " 400 ", "snaplen");
    run_until_captures(0);
}

static void test_as_many_as_may_be(void **state)
{
    struct response *answers[CAPTURES_MAXIMUM];
    size_t position;
    (void)state;
    for (unsigned i = 0; i < CAPTURES_MAXIMUM; i++)
        answers[i] = begin("/v1/capture", &position);
    expect_error("/v1/capture", " 503 ", "as many captures as may be are running");
    for (unsigned i = 0; i < CAPTURES_MAXIMUM; i++)
        hang_up(answers[i]);
    run_until_captures(0);
}

/* What a client that does not read has missed is the first thing said when there is room again. */
static void test_misses_are_said(void **state)
{
    size_t position;
    uint64_t missed = 0, packets = 0;
    (void)state;
    struct response *answer = begin("/v1/capture?verdict=translated-6to4", &position);
    for (int i = 0; i < 100000; i++)
        receive_echo_request(64);
    while (missed == 0 || missed + packets < 200000) {
        /* Only the part of the answer that is looked at is kept. */
        size_t rest = answer->length - answer->body - position;
        memmove(answer->text + answer->body, answer->text + answer->body + position, rest);
        answer->length = answer->body + rest;
        position = 0;
        uint32_t type = number_at(read_body(answer, 8));
        const char *block = expect_block(answer, type, &position);
        if (type == PCAPNG_STATISTICS)
            memcpy(&missed, block + PCAPNG_MISSED_POSITION, sizeof(missed));
        else
            packets++;
    }
    assert_int_equal(missed + packets, 200000);
    hang_up(answer);
}

/* The last test: the service closes under a capture. */
static void test_the_service_closes(void **state)
{
    size_t position;
    (void)state;
    left_open = begin("/v1/capture", &position);
    for (int i = 0; i < 1000; i++)
        uv_run(&fixture.loop, UV_RUN_NOWAIT);
    assert_true(capture_count(fixture.engine) >= 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_packets_come_as_they_are_made),
        cmocka_unit_test(test_a_client_that_goes_ends_it),
        cmocka_unit_test(test_what_another_plane_has_decided),
        cmocka_unit_test(test_filters),
        cmocka_unit_test(test_messages_to_the_name_service),
        cmocka_unit_test(test_mistakes),
        cmocka_unit_test(test_as_many_as_may_be),
        cmocka_unit_test(test_misses_are_said),
        cmocka_unit_test(test_the_service_closes),
    };
    return cmocka_run_group_tests(tests, open_api, close_api);
}
