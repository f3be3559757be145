/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The engine alone: one core, bursts of 32, 64-byte UDP packets, sessions in random order, no plane. It
 * prints one JSON object a measurement; progress goes to stderr.
 *
 * Each packet is put into its buffer before the clock starts, a batch of bursts at a time, so what is timed
 * is engine_receive and nothing else. The packets of one batch are chosen afresh in random order.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "engine/engine.h"
#include "engine/table.h"
#include "wire/checksum.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"
#include "wire/transport.h"

enum {
    BATCH = 64 * BURST_MAXIMUM, /* packets prepared at a time */
    BUFFER = 256,
    LENGTH6 = 64, /* bytes of an IPv6 packet */
    ROUNDS = 7,   /* the median of which counts */
};

struct bench {
    struct settings settings;
    struct pool_range range;
    struct table *table;
    struct engine *engine;
    struct worker *worker;
    uint32_t sessions;
    uint64_t random;
    uint8_t *reply; /* of each session: its IPv4 answer, as the server would send it */
    nanoseconds now;
    struct packet packets[BATCH];
    uint8_t buffers[BATCH][BUFFER];
};

static uint64_t next_random(struct bench *bench)
{
    bench->random ^= bench->random << 13;
    bench->random ^= bench->random >> 7;
    bench->random ^= bench->random << 17;
    return bench->random;
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* The client's packet of session number n: 2^12 subscribers, ports apart. */
static void write_packet6(uint8_t *at, uint32_t n)
{
    struct ipv6_header ip = {.version_class_label = ipv6_first_word(0),
                             .payload_length = to_be16(LENGTH6 - sizeof(ip)),
                             .next_header = PROTOCOL_UDP,
                             .hop_limit = 64};
    static const uint8_t client[16] = {0x20, 0x01, 0x0d, 0xb8, 0, 1};
    static const uint8_t prefix[16] = {0x20, 0x01, 0x0d, 0xb8, 0, 0x64};
    memcpy(ip.source.bytes, client, 16);
    memcpy(ip.destination.bytes, prefix, 16);
    store_be32(ip.source.bytes + 12, to_be32(n >> 12));
    store_be16(ip.source.bytes + 6, to_be16((uint16_t)(n & 0xfff)));
    store_be32(ip.destination.bytes + 12, to_be32(0xcb007100u | (n & 0xff)));
    struct udp_header udp = {.source = to_be16((uint16_t)(1024 + n % 50000)),
                             .destination = to_be16(53),
                             .length = to_be16(LENGTH6 - sizeof(ip)),
                             .checksum = to_be16(0x1234)};
    memset(at, 0, LENGTH6);
    memcpy(at, &ip, sizeof(ip));
    memcpy(at + sizeof(ip), &udp, sizeof(udp));
}

static void place_packet(struct bench *bench, unsigned i, const uint8_t *bytes, uint32_t length)
{
    bench->packets[i] = (struct packet){
        .buffer = bench->buffers[i], .capacity = BUFFER, .offset = PACKET_HEADROOM, .length = length};
    memcpy(bench->buffers[i] + PACKET_HEADROOM, bytes, length);
}

/* Runs the batch and returns seconds; `expected` is the verdict all packets must get. */
static double run_batch(struct bench *bench, unsigned n, enum verdict expected)
{
    enum verdict verdicts[BATCH];
    double start = seconds();
    for (unsigned i = 0; i < n; i += BURST_MAXIMUM)
        engine_receive(bench->worker, bench->packets + i, n - i < BURST_MAXIMUM ? n - i : BURST_MAXIMUM,
                       bench->now, verdicts + i);
    double taken = seconds() - start;
    for (unsigned i = 0; i < n; i++)
        if (verdicts[i] != expected) {
            fprintf(stderr, "engine benchmark: a packet got %s\n", verdict_texts[verdicts[i]].name);
            exit(1);
        }
    return taken;
}

/* Answers to packets just translated: addresses and ports exchanged. */
static void keep_reply(struct bench *bench, uint32_t session, const struct packet *packet)
{
    uint8_t *reply = bench->reply + (size_t)session * 12;
    const uint8_t *data = packet->buffer + packet->offset;
    memcpy(reply, data + 16, 4);     /* source: the remote */
    memcpy(reply + 4, data + 12, 4); /* destination: the pool address */
    memcpy(reply + 8, data + 22, 2);
    memcpy(reply + 10, data + 20, 2);
}

static void write_packet4(const struct bench *bench, uint8_t *at, uint32_t session)
{
    const uint8_t *reply = bench->reply + (size_t)session * 12;
    struct ipv4_header ip = {
        .version_ihl = 0x45, .total_length = to_be16(LENGTH6 - 20), .ttl = 64, .protocol = PROTOCOL_UDP};
    memcpy(&ip.source, reply, 4);
    memcpy(&ip.destination, reply + 4, 4);
    ip.checksum = (be16)~checksum_fold(checksum_add_bytes(0, &ip, sizeof(ip)));
    struct udp_header udp = {.length = to_be16(LENGTH6 - 40), .checksum = to_be16(0x1234)};
    memcpy(&udp.source, reply + 8, 2);
    memcpy(&udp.destination, reply + 10, 2);
    memset(at, 0, LENGTH6 - 20);
    memcpy(at, &ip, sizeof(ip));
    memcpy(at + sizeof(ip), &udp, sizeof(udp));
}

static double create_sessions(struct bench *bench)
{
    double taken = 0;
    uint8_t bytes[LENGTH6];
    for (uint32_t done = 0; done < bench->sessions;) {
        uint32_t n = bench->sessions - done < BATCH ? bench->sessions - done : BATCH;
        for (uint32_t i = 0; i < n; i++) {
            write_packet6(bytes, done + i);
            place_packet(bench, i, bytes, LENGTH6);
        }
        taken += run_batch(bench, n, VERDICT_TRANSLATED_6TO4);
        for (uint32_t i = 0; i < n; i++)
            keep_reply(bench, done + i, &bench->packets[i]);
        done += n;
    }
    return taken;
}

static double established_round(struct bench *bench, bool from6, uint32_t packets)
{
    double taken = 0;
    uint8_t bytes[LENGTH6];
    for (uint32_t done = 0; done < packets; done += BATCH) {
        for (unsigned i = 0; i < BATCH; i++) {
            uint32_t session = (uint32_t)(next_random(bench) % bench->sessions);
            if (from6)
                write_packet6(bytes, session);
            else
                write_packet4(bench, bytes, session);
            place_packet(bench, i, bytes, from6 ? LENGTH6 : LENGTH6 - 20);
        }
        taken += run_batch(bench, BATCH, from6 ? VERDICT_TRANSLATED_6TO4 : VERDICT_TRANSLATED_4TO6);
    }
    return packets / taken / 1e6;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, unsigned n)
{
    qsort(values, n, sizeof(*values), compare);
    return values[n / 2];
}

static void print(const char *name, double value, const char *unit)
{
    printf("{\"name\": \"%s\", \"value\": %.3f, \"unit\": \"%s\", \"against\": null, \"ratio\": null}\n",
           name, value, unit);
    fflush(stdout);
}

static void set_up(struct bench *bench, uint32_t sessions)
{
    uint32_t addresses = sessions / 50000 + 1;
    *bench = (struct bench){.sessions = sessions, .random = 88172645463325252ull, .now = 1000000000ull};
    bench->range = (struct pool_range){.first = to_be32(0xc6336400u),
                                       .count = addresses,
                                       .low = 1024,
                                       .high = 65535,
                                       .transports = 1u << TRANSPORT_UDP};
    struct nat64_settings *nat64 = &bench->settings.nat64[0];
    bench->settings.nat64_count = 1;
    nat64->prefix = (struct rfc6052_prefix){.address = {{0x20, 0x01, 0x0d, 0xb8, 0, 0x64}}, .length = 96};
    nat64->sessions = sessions;
    nat64->subscriber_prefix = SUBSCRIBER_PREFIX_DEFAULT;
    nat64->sessions_per_subscriber = SUBSCRIBER_SESSIONS_MAXIMUM;
    nat64->pool = &bench->range;
    nat64->pool_count = 1;
    nat64->timeouts = (struct nat64_timeouts){300, 60, 7440, 240};
    bench->settings.translation = (struct translation_settings){
        .tos = -1, .amend_udp_checksum_zero = true, .mss_clamp = true, .mtu6 = 1500, .mtu4 = 1500};
    struct geometry geometry = {
        .sessions = sessions < 64 ? 64 : sessions, .addresses = addresses, .workers = 1};
    bench->table = table_create(&geometry, 1);
    struct engine_options options = {
        .table = bench->table, .settings = &bench->settings, .workers = 1, .seed = 2};
    char error[256] = "no memory for the table";
    bench->engine = bench->table != NULL ? engine_create(&options, error, sizeof(error)) : NULL;
    bench->reply = malloc((size_t)sessions * 12);
    if (bench->engine == NULL || bench->reply == NULL) {
        fprintf(stderr, "engine benchmark: %s\n", error);
        exit(1);
    }
    bench->worker = engine_worker(bench->engine, 0);
}

static void tear_down(struct bench *bench)
{
    free(bench->reply);
    engine_destroy(bench->engine);
    table_destroy(bench->table);
}

static void measure(struct bench *bench, uint32_t sessions, const char *label)
{
    double forward[ROUNDS], reverse[ROUNDS];
    char name[64];
    set_up(bench, sessions);
    fprintf(stderr, "engine: %s sessions: creating\n", label);
    double creation = create_sessions(bench);
    for (unsigned round = 0; round < ROUNDS; round++) {
        fprintf(stderr, "engine: %s sessions: round %u of %u\n", label, round + 1, ROUNDS);
        forward[round] = established_round(bench, true, 1u << 20);
        reverse[round] = established_round(bench, false, 1u << 20);
    }
    snprintf(name, sizeof(name), "engine.established.%s", label);
    print(name, median(forward, ROUNDS), "Mpps");
    snprintf(name, sizeof(name), "engine.established.%s.4to6", label);
    print(name, median(reverse, ROUNDS), "Mpps");
    if (sessions >= 1000000) {
        snprintf(name, sizeof(name), "engine.create.%s", label);
        print(name, sessions / creation / 1e6, "M/s");
    }
    tear_down(bench);
}

static void measure_memory(uint32_t sessions)
{
    struct geometry geometry = {.sessions = sessions, .addresses = 1, .workers = 1};
    print("table.bytes-per-session", (double)table_memory(&geometry).sessions / sessions, "B");
}

/* Whether a table of so many sessions may fill up without driving the machine out of memory. */
static bool fits(uint32_t sessions)
{
    struct geometry geometry = {.sessions = sessions, .addresses = sessions / 50000 + 1, .workers = 1};
    size_t machine = (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE);
    return table_memory(&geometry).sessions < machine / 2;
}

int main(void)
{
    static struct bench bench;
    measure(&bench, 1000, "1k");
    measure(&bench, 1000000, "1M");
    if (fits(10000000))
        measure(&bench, 10000000, "10M");
    else
        fprintf(stderr, "engine: 10M sessions: left out, they would take half of this machine's memory\n");
    measure_memory(1u << 20);
    return 0;
}
