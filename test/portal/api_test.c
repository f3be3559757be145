/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The API over a real socket, with a real engine and without a device: what it answers is what doc/api.md
 * says, field by field.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "control/columns.h"
#include "control/daemon.h"
#include "control/json_line.h"
#include "dns64/server.h"

enum {
    ANSWER_MAXIMUM = 1 << 20,
    FIELDS_MAXIMUM = 32,
};

/* What stands below and is not there: the device, the eBPF plane, the name service and the reload. */

static bool reload_succeeds;
static const char *reload_reason;

bool tun_uso(const struct tun *tun)
{
    (void)tun;
    return true;
}

void tun_count(const struct tun *tun, struct tun_counters *counters)
{
    (void)tun;
    *counters = (struct tun_counters){.reads = 7, .writes = 6, .write_errors = 1, .bursts = 3};
}

void bpf_plane_capture(const struct daemon *daemon)
{
    (void)daemon;
}

/* Each counter is its own number and one, each bucket a hundred more. */
void server_count(const struct server *server, struct dns64_counters *counters)
{
    (void)server;
    for (unsigned i = 0; i < DNS64_COUNTER_COUNT; i++)
        counters->count[i] = i + 1;
    for (unsigned i = 0; i < DNS64_LATENCIES; i++)
        counters->latency[i] = 101 + i;
}

void server_look(const struct server *server, struct server_state *state)
{
    (void)server;
    *state = (struct server_state){
        .cached = 5, .cached_bytes = 500, .questions = 4, .waiting = 9, .connections = UINT32_MAX};
}

bool daemon_reload(struct daemon *daemon, struct daemon_reloaded *reloaded, struct config_error *error)
{
    *reloaded = (struct daemon_reloaded){.changed = {.count = CONFIG_DIFFERENCES + 2}, .ended = {0, 1, 2, 3}};
    for (unsigned i = 0; i < CONFIG_DIFFERENCES; i++)
        snprintf(reloaded->changed.path[i], sizeof(reloaded->changed.path[i]), "nat64[%u].pool", i);
    (void)daemon;
    snprintf(error->text, sizeof(error->text), "%s", reload_succeeds ? "" : reload_reason);
    return reload_succeeds;
}

static struct daemon fixture;
static struct table *table;
static struct config config;
static struct pool_range pool;
static struct static_binding statics[300];
static struct sockaddr_un address = {.sun_family = AF_UNIX};

static void fill_config(void)
{
    struct nat64_settings *nat64 = &config.settings.nat64[0];
    config.settings.nat64_count = 1;
    config.settings.translation.mtu6 = 1500;
    config.settings.translation.mtu4 = 1480;
    config.geometry = (struct geometry){.sessions = 1024, .addresses = 4, .workers = 1};
    snprintf(config.plane.name, sizeof(config.plane.name), "isthmus0");
    snprintf(nat64->name, sizeof(nat64->name), "main");
    nat64->prefix.length = 96;
    inet_pton(AF_INET6, "2001:db8:64::", nat64->prefix.address.bytes);
    inet_pton(AF_INET, "192.0.2.0", &pool.first);
    pool.count = 4;
    pool.low = 1024;
    pool.high = 65535;
    pool.transports = 7;
    nat64->pool = &pool;
    nat64->pool_count = 1;
    nat64->sessions = 1024;
    nat64->subscriber_prefix = SUBSCRIBER_PREFIX_DEFAULT;
    nat64->timeouts = (struct nat64_timeouts){
        .udp = 300, .icmp = 60, .tcp_established = 7440, .tcp_transitory = 240, .tcp_syn = 6};
    for (uint16_t i = 0; i < 300; i++) {
        inet_pton(AF_INET6, "2001:db8::5", statics[i].ipv6.bytes);
        statics[i].ipv4 = pool.first;
        statics[i].port6 = statics[i].port4 = to_be16((uint16_t)(i + 1));
        statics[i].transport = TRANSPORT_TCP;
    }
    nat64->statics = statics;
    nat64->static_count = 300;
}

static int open_api(void **state)
{
    char error[256];
    (void)state;
    fill_config();
    fixture.config = &config;
    fixture.workers = 1;
    fixture.ready = true;
    fixture.started = uv_hrtime();
    table = table_create(&config.geometry, 1);
    struct engine_options options = {.table = table, .settings = &config.settings, .workers = 1, .seed = 2};
    fixture.engine = engine_create(&options, error, sizeof(error));
    uv_loop_init(&fixture.loop);
    snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1, "isthmus-test-%ld", (long)getpid());
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (bind(listener, (struct sockaddr *)&address, sizeof(address)) != 0 || listen(listener, 8) != 0)
        return -1;
    fixture.service = portal_service.open(&fixture, listener, error, sizeof(error));
    return fixture.engine != NULL && fixture.service != NULL ? 0 : -1;
}

static int close_api(void **state)
{
    (void)state;
    portal_service.close(fixture.service);
    uv_run(&fixture.loop, UV_RUN_DEFAULT);
    int status = uv_loop_close(&fixture.loop);
    engine_destroy(fixture.engine);
    table_destroy(table);
    return status;
}

/* Asks with HTTP/1.0, which has no chunks. Returns the status; *body is what follows the header. */
static int ask(const char *method, const char *path, char **body)
{
    static char answer[ANSWER_MAXIMUM];
    char request[256];
    size_t length = 0;
    int status = 0;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    int size =
        snprintf(request, sizeof(request), "%s %s HTTP/1.0\r\nContent-Length: 0\r\n\r\n", method, path);
    assert_int_equal(write(fd, request, (size_t)size), size);
    for (int i = 0; i < 100000; i++) {
        uv_run(&fixture.loop, UV_RUN_NOWAIT);
        ssize_t got = recv(fd, answer + length, sizeof(answer) - 1 - length, 0);
        if (got == 0)
            break;
        if (got > 0)
            length += (size_t)got;
        else
            usleep(100);
    }
    close(fd);
    answer[length] = '\0';
    assert_int_equal(sscanf(answer, "HTTP/1.%*d %d", &status), 1);
    char *end = strstr(answer, "\r\n\r\n");
    assert_non_null(end);
    *body = end + 4;
    return status;
}

/* The fields of the table that follows `heading`, or of the one after that, in doc/api.md. */
struct fields {
    unsigned count;
    char names[FIELDS_MAXIMUM][32];
    char types[FIELDS_MAXIMUM][16];
};

static char *documentation(void)
{
    char *text = calloc(1, 65536);
    FILE *file = fopen(SOURCE_ROOT "/doc/api.md", "re");
    assert_non_null(file);
    assert_true(fread(text, 1, 65535, file) > 0);
    fclose(file);
    return text;
}

static void read_fields(const char *heading, unsigned which, struct fields *fields)
{
    char *text = documentation();
    const char *at = strstr(text, heading);
    assert_non_null(at);
    for (unsigned i = 0; i <= which; i++) {
        at = strstr(at, "|---|");
        assert_non_null(at);
        at = strchr(at, '\n') + 1;
    }
    fields->count = 0;
    while (sscanf(at, "| `%31[a-z0-9_]` | %15[a-z] |", fields->names[fields->count],
                  fields->types[fields->count]) == 2) {
        fields->count++;
        assert_true(fields->count < FIELDS_MAXIMUM);
        at = strchr(at, '\n') + 1;
    }
    assert_true(fields->count > 0);
    free(text);
}

static void check_object(const json_t *object, const struct fields *fields)
{
    unsigned i = 0;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        assert_true(i < fields->count);
        assert_string_equal(key, fields->names[i]);
        const char *type = json_is_integer(value)   ? "number"
                           : json_is_boolean(value) ? "boolean"
                           : json_is_array(value)   ? "array"
                                                    : "string";
        assert_string_equal(type, fields->types[i]);
        i++;
    }
    assert_int_equal(i, fields->count);
}

static long long number(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

static const char *text(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

/* Takes the next line off *body. */
static json_t *next_object(char **body)
{
    char *end = strchr(*body, '\n');
    if (end == NULL)
        return NULL;
    *end = '\0';
    json_t *object = json_loads(*body, 0, NULL);
    assert_non_null(object);
    *body = end + 1;
    return object;
}

static void test_status(void **state)
{
    struct fields fields;
    char *body;
    (void)state;
    assert_int_equal(ask("GET", "/v1/status", &body), 200);
    json_t *object = next_object(&body);
    read_fields("## GET /v1/status", 0, &fields);
    check_object(object, &fields);
    assert_true(json_is_true(json_object_get(object, "ready")));
    assert_string_equal(text(object, "device"), "isthmus0");
    assert_int_equal(number(object, "mtu_ipv4"), 1480);
    assert_int_equal(number(object, "sessions_limit"), 1024);
    assert_int_equal(number(object, "bindings"), 300);
    assert_string_equal(body, "");
    json_decref(object);
}

/* The list is longer than one piece, so the stream is resumed. */
static void test_bindings(void **state)
{
    struct fields fields;
    bool seen[301] = {false};
    unsigned count = 0;
    char *body;
    (void)state;
    read_fields("## GET /v1/bindings", 0, &fields);
    assert_int_equal(ask("GET", "/v1/bindings", &body), 200);
    for (json_t *object = next_object(&body); object != NULL; object = next_object(&body), count++) {
        unsigned port = 0;
        check_object(object, &fields);
        assert_int_equal(sscanf(text(object, "client"), "[2001:db8::5]:%u", &port), 1);
        assert_true(port >= 1 && port <= 300 && !seen[port]);
        seen[port] = true;
        assert_string_equal(text(object, "instance"), "main");
        assert_string_equal(text(object, "protocol"), "tcp");
        json_decref(object);
    }
    assert_int_equal(count, 300);
}

/* An echo request from an IPv6 host makes a session. */
static void receive_echo_request(void)
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
    engine_receive(engine_worker(fixture.engine, 0), &packet, 1, uv_hrtime(), &verdict);
    assert_int_equal(verdict, VERDICT_TRANSLATED_6TO4);
}

static void test_sessions(void **state)
{
    struct fields fields;
    char *body;
    (void)state;
    assert_int_equal(ask("GET", "/v1/sessions", &body), 200);
    assert_string_equal(body, "");
    receive_echo_request();
    read_fields("## GET /v1/sessions", 0, &fields);
    assert_int_equal(ask("GET", "/v1/sessions", &body), 200);
    json_t *object = next_object(&body);
    check_object(object, &fields);
    assert_string_equal(text(object, "protocol"), "icmp");
    assert_string_equal(text(object, "client"), "[2001:db8::9]:4660");
    assert_non_null(strstr(text(object, "remote"), "198.51.100.7:"));
    assert_non_null(strstr(text(object, "remote6"), "[2001:db8:64::c633:6407]:"));
    assert_in_range(number(object, "expires_in"), 50, 61);
    assert_null(next_object(&body));
    json_decref(object);
}

/* The line of a session whose packets are counted has further fields, in a table of their own. */
static void test_counted_sessions(void **state)
{
    const struct engine_entry entry = {.is_session = true,
                                       .state = "established",
                                       .client.bytes = {0x20, 0x01, 0x0d, 0xb8, [15] = 1},
                                       .client_port = to_be16(65535),
                                       .pool_address = to_be32(0xc0000201),
                                       .counted = true,
                                       .packets_6to4 = 1,
                                       .bytes_6to4 = 1500,
                                       .packets_4to6 = 0,
                                       .bytes_4to6 = INT64_MAX};
    const struct entry_record record = {.entry = &entry, .instance = "main"};
    struct fields fields, further;
    char line[1024];
    (void)state;
    read_fields("## GET /v1/sessions", 0, &fields);
    read_fields("## GET /v1/sessions", 1, &further);
    for (unsigned i = 0; i < further.count; i++, fields.count++) {
        memcpy(fields.names[fields.count], further.names[i], sizeof(further.names[i]));
        memcpy(fields.types[fields.count], further.types[i], sizeof(further.types[i]));
    }
    size_t length = columns_line(&session_columns, &record, line, sizeof(line));
    assert_in_range(length, 2, sizeof(line));
    assert_int_equal(line[length - 1], '\n');
    json_t *object = json_loadb(line, length, 0, NULL);
    check_object(object, &fields);
    assert_string_equal(text(object, "client"), "[2001:db8::1]:65535");
    assert_string_equal(text(object, "pool"), "192.0.2.1:0");
    assert_int_equal(number(object, "packets_6to4"), 1);
    assert_int_equal(number(object, "bytes_6to4"), 1500);
    assert_int_equal(number(object, "packets_4to6"), 0);
    assert_true(number(object, "bytes_4to6") == INT64_MAX);
    json_decref(object);
    /* Into less room it is not written at all. */
    memset(line, 'x', sizeof(line));
    for (size_t size = 0; size < length; size++) {
        assert_int_equal(columns_line(&session_columns, &record, line, size), 0);
        assert_int_equal(line[size], 'x');
    }
    assert_int_equal(columns_line(&session_columns, &record, line, length), length);
}

/* Whatever an address is, its text is that of the C library. */
static void assert_ipv6(const uint8_t bytes[16])
{
    char expected[INET6_ADDRSTRLEN], written[64];
    struct json_line line = {.at = written, .end = written + sizeof(written)};
    struct ipv6_address host;
    memcpy(host.bytes, bytes, sizeof(host.bytes));
    inet_ntop(AF_INET6, bytes, expected, sizeof(expected));
    line_ipv6(&line, &host);
    line_byte(&line, '\0');
    assert_string_equal(written, expected);
}

static void assert_ipv4(const uint8_t bytes[4])
{
    char expected[INET_ADDRSTRLEN], written[64];
    struct json_line line = {.at = written, .end = written + sizeof(written)};
    be32 host;
    memcpy(&host, bytes, sizeof(host));
    inet_ntop(AF_INET, bytes, expected, sizeof(expected));
    line_ipv4(&line, host);
    line_byte(&line, '\0');
    assert_string_equal(written, expected);
}

static void test_addresses(void **state)
{
    static const uint8_t groups[][2] = {{0, 0}, {0xff, 0xff}, {0, 0xa0}};
    (void)state;
    for (unsigned pattern = 0; pattern < 6561; pattern++) { /* 3^8: each of these in each place */
        uint8_t bytes[16];
        for (unsigned i = 0, rest = pattern; i < 8; i++, rest /= 3)
            memcpy(bytes + 2 * i, groups[rest % 3], 2);
        assert_ipv6(bytes);
    }
    for (unsigned number = 0; number <= 0xffff; number++) { /* each value of a group, and of two bytes */
        const uint8_t high = (uint8_t)(number >> 8), low = (uint8_t)number;
        assert_ipv6((const uint8_t[16]){0x20, 1, high, low, [14] = low, [15] = high});
        assert_ipv4((const uint8_t[4]){high, low, low, high});
    }
}

/* What goes through a string comes out of a reader of JSON as it was. */
static void test_strings(void **state)
{
    char every[128 + 4], written[1024];
    struct json_line line = {.at = written, .end = written + sizeof(written)};
    (void)state;
    for (int i = 1; i < 128; i++)
        every[i - 1] = (char)i;
    memcpy(every + 127, "\xc3\xa9", 3); /* and a letter of two bytes */
    line_string(&line, every);
    json_t *string = json_loadb(written, (size_t)(line.at - written), JSON_DECODE_ANY, NULL);
    assert_non_null(string);
    assert_string_equal(json_string_value(string), every);
    json_decref(string);
}

static void test_numbers(void **state)
{
    static const uint64_t numbers[] = {0, 9, 10, 4294967296, 9999999999, UINT64_MAX};
    (void)state;
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        char expected[32], written[32];
        struct json_line line = {.at = written, .end = written + sizeof(written)};
        snprintf(expected, sizeof(expected), "%" PRIu64, numbers[i]);
        line_number(&line, numbers[i]);
        line_byte(&line, '\0');
        assert_string_equal(written, expected);
    }
}

static void test_counters(void **state)
{
    struct fields verdicts, activities;
    unsigned count = 0, others = 0;
    char *body;
    (void)state;
    read_fields("## GET /v1/counters", 0, &verdicts);
    read_fields("## GET /v1/counters", 1, &activities);
    assert_int_equal(ask("GET", "/v1/counters", &body), 200);
    for (json_t *object = next_object(&body); object != NULL; object = next_object(&body)) {
        if (count < VERDICT_COUNT) {
            check_object(object, &verdicts);
            assert_string_equal(text(object, "name"), verdict_texts[count].name);
            assert_string_equal(text(object, "sentence"), verdict_texts[count].sentence);
            count++;
        } else {
            check_object(object, &activities);
            if (strcmp(text(object, "name"), "tun-writes") == 0)
                assert_int_equal(number(object, "count"), 6);
            others++;
        }
        json_decref(object);
    }
    assert_int_equal(count, VERDICT_COUNT);
    assert_int_equal(others, 16);
}

static void test_pools(void **state)
{
    struct fields fields;
    char *body, expected[32];
    (void)state;
    read_fields("## GET /v1/pools", 0, &fields);
    assert_int_equal(ask("GET", "/v1/pools", &body), 200);
    for (unsigned i = 0; i < 4; i++) {
        json_t *object = next_object(&body);
        check_object(object, &fields);
        snprintf(expected, sizeof(expected), "192.0.2.%u", i);
        assert_string_equal(text(object, "address"), expected);
        assert_int_equal(number(object, "tcp_used"), i == 0 ? 300 : 0);
        assert_int_equal(number(object, "udp_ports"), 65536 - 1024);
        json_decref(object);
    }
    assert_null(next_object(&body));
}

/* Counters, figures of the moment, and the histogram, whose last row has no end. */
static void test_dns(void **state)
{
    static const struct {
        const char *name;
        long long count;
    } figures[] = {{"cached-answers", 5},
                   {"cached-bytes", 500},
                   {"questions", 4},
                   {"waiting", 9},
                   {"connections", UINT32_MAX}};
    struct fields counters, latencies;
    char *body;
    (void)state;
    read_fields("## GET /v1/dns", 0, &counters);
    read_fields("## GET /v1/dns", 1, &latencies);
    fixture.dns_server = (struct server *)&fixture;
    assert_int_equal(ask("GET", "/v1/dns", &body), 200);
    for (unsigned i = 0; i < DNS64_COUNTER_COUNT + 5; i++) {
        bool now = i >= DNS64_COUNTER_COUNT;
        json_t *object = next_object(&body);
        check_object(object, &counters);
        assert_string_equal(text(object, "name"),
                            now ? figures[i - DNS64_COUNTER_COUNT].name : dns64_counter_texts[i].name);
        assert_string_equal(text(object, "class"), now ? "now" : dns64_counter_texts[i].class);
        assert_int_equal(number(object, "count"), now ? figures[i - DNS64_COUNTER_COUNT].count : i + 1);
        json_decref(object);
    }
    for (long long i = 0, from = 0, below = 1; i < DNS64_LATENCIES; i++, from = below, below *= 2) {
        json_t *object = next_object(&body);
        if (i == DNS64_LATENCIES - 1) {
            assert_true(json_is_null(json_object_get(object, "below_ms")));
            json_object_set_new(object, "below_ms", json_integer(below));
        }
        check_object(object, &latencies);
        assert_int_equal(number(object, "from_ms"), from);
        assert_int_equal(number(object, "below_ms"), below);
        assert_int_equal(number(object, "lookups"), 101 + i);
        json_decref(object);
    }
    assert_null(next_object(&body));
    fixture.dns_server = NULL;
}

static void test_dns_that_is_not_configured(void **state)
{
    struct fields fields;
    char *body;
    (void)state;
    assert_int_equal(ask("GET", "/v1/dns", &body), 404);
    json_t *object = next_object(&body);
    read_fields("## GET /v1/dns", 2, &fields);
    check_object(object, &fields);
    assert_non_null(strstr(text(object, "error"), "dns64 is not configured; "));
    json_decref(object);
}

static void test_reload(void **state)
{
    struct fields fields;
    char *body;
    (void)state;
    reload_succeeds = true;
    assert_int_equal(ask("POST", "/v1/reload", &body), 200);
    json_t *object = next_object(&body);
    read_fields("## POST /v1/reload", 0, &fields);
    check_object(object, &fields);
    const json_t *changed = json_object_get(object, "changed");
    assert_int_equal(json_array_size(changed), CONFIG_DIFFERENCES + 1);
    assert_string_equal(json_string_value(json_array_get(changed, 1)), "nat64[1].pool");
    assert_string_equal(json_string_value(json_array_get(changed, CONFIG_DIFFERENCES)), "and 2 more");
    assert_int_equal(number(object, "ended_by_prefix"), 1);
    assert_int_equal(number(object, "ended_by_port"), 3);
    json_decref(object);
    reload_succeeds = false;
    reload_reason = "a.yaml:3:1: what is \"\xff\"?";
    assert_int_equal(ask("POST", "/v1/reload", &body), 409);
    object = next_object(&body);
    read_fields("## POST /v1/reload", 1, &fields);
    check_object(object, &fields);
    assert_string_equal(text(object, "error"), "a.yaml:3:1: what is \"?\"?");
    json_decref(object);
}

static void test_wrong_requests(void **state)
{
    char *body;
    (void)state;
    assert_int_equal(ask("GET", "/v1/nothing", &body), 404);
    assert_int_equal(ask("GET", "/", &body), 404);
    assert_int_equal(ask("GET", "/v1/reload", &body), 405);
    assert_int_equal(ask("POST", "/v1/status", &body), 405);
    json_t *object = next_object(&body);
    assert_non_null(text(object, "error"));
    json_decref(object);
}

/* A client that asks for a list and does not read it holds nobody up. */
static void test_a_silent_client_holds_nobody_up(void **state)
{
    static const char request[] = "GET /v1/bindings HTTP/1.0\r\n\r\n";
    char *body;
    (void)state;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(write(fd, request, sizeof(request) - 1), sizeof(request) - 1);
    assert_int_equal(ask("GET", "/v1/status", &body), 200);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_status),
        cmocka_unit_test(test_bindings),
        cmocka_unit_test(test_sessions),
        cmocka_unit_test(test_counted_sessions),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_strings),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_counters),
        cmocka_unit_test(test_pools),
        cmocka_unit_test(test_reload),
        cmocka_unit_test(test_dns),
        cmocka_unit_test(test_dns_that_is_not_configured),
        cmocka_unit_test(test_wrong_requests),
        cmocka_unit_test(test_a_silent_client_holds_nobody_up),
    };
    return cmocka_run_group_tests(tests, open_api, close_api);
}
