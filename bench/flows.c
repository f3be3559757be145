/* SPDX-License-Identifier: BSD-2-Clause */
#include "bench/flows.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "control/table_file.h"
#include "engine/layout.h"
#include "wire/checksum.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"
#include "wire/transport.h"

enum {
    LENGTH6 = 64, /* bytes of an IPv6 packet */
    REPLY = 12,   /* bytes kept of each session */
};

#define BENCH_DIRECTORY "/dev/shm"

const char *const backing_names[BACKING_COUNT] = {"memory", "file"};

static void fail(const char *why)
{
    fprintf(stderr, "engine benchmark: %s\n", why);
    exit(1);
}

static uint64_t next_random(struct sender *sender)
{
    sender->random ^= sender->random << 13;
    sender->random ^= sender->random >> 7;
    sender->random ^= sender->random << 17;
    return sender->random;
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

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

static void write_packet4(const struct bench *bench, uint8_t *at, uint32_t session)
{
    const uint8_t *reply = bench->reply + (size_t)session * REPLY;
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

static void place_packet(struct sender *sender, unsigned i, const uint8_t *bytes, uint32_t length)
{
    sender->packets[i] = (struct packet){
        .buffer = sender->buffers[i], .capacity = BUFFER, .offset = PACKET_HEADROOM, .length = length};
    memcpy(sender->buffers[i] + PACKET_HEADROOM, bytes, length);
}

/* Runs the batch and returns seconds; `expected` is the verdict all packets must get. */
static double run_batch(struct sender *sender, unsigned n, enum verdict expected)
{
    enum verdict verdicts[BATCH];
    double start = seconds();
    for (unsigned i = 0; i < n; i += BURST_MAXIMUM)
        engine_receive(sender->worker, sender->packets + i, n - i < BURST_MAXIMUM ? n - i : BURST_MAXIMUM,
                       sender->bench->now, verdicts + i);
    double taken = seconds() - start;
    for (unsigned i = 0; i < n; i++)
        if (verdicts[i] != expected)
            fail(verdict_texts[verdicts[i]].name);
    return taken;
}

/* The answer to a packet just translated: addresses and ports exchanged. */
static void keep_reply(struct bench *bench, uint32_t session, const struct packet *packet)
{
    uint8_t *reply = bench->reply + (size_t)session * REPLY;
    const uint8_t *data = packet->buffer + packet->offset;
    memcpy(reply, data + 16, 4);     /* source: the remote */
    memcpy(reply + 4, data + 12, 4); /* destination: the pool address */
    memcpy(reply + 8, data + 22, 2);
    memcpy(reply + 10, data + 20, 2);
}

double make_sessions(struct sender *sender, uint32_t first, uint32_t count)
{
    double taken = 0;
    uint8_t bytes[LENGTH6];
    for (uint32_t done = 0; done < count;) {
        uint32_t n = count - done < BATCH ? count - done : BATCH;
        for (uint32_t i = 0; i < n; i++) {
            write_packet6(bytes, first + done + i);
            place_packet(sender, i, bytes, LENGTH6);
        }
        taken += run_batch(sender, n, VERDICT_TRANSLATED_6TO4);
        for (uint32_t i = 0; i < n; i++)
            keep_reply(sender->bench, first + done + i, &sender->packets[i]);
        done += n;
    }
    return taken;
}

double send_established(struct sender *sender, bool from6, uint32_t packets)
{
    double taken = 0;
    uint8_t bytes[LENGTH6];
    for (uint32_t done = 0; done < packets; done += BATCH) {
        for (unsigned i = 0; i < BATCH; i++) {
            uint32_t session = (uint32_t)(next_random(sender) % sender->bench->sessions);
            if (from6)
                write_packet6(bytes, session);
            else
                write_packet4(sender->bench, bytes, session);
            place_packet(sender, i, bytes, from6 ? LENGTH6 : LENGTH6 - 20);
        }
        taken += run_batch(sender, BATCH, from6 ? VERDICT_TRANSLATED_6TO4 : VERDICT_TRANSLATED_4TO6);
    }
    return taken;
}

static void settle(struct bench *bench, uint32_t sessions, uint32_t addresses)
{
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
    nat64->sessions_per_subscriber = SUBSCRIBER_SESSIONS_DEFAULT;
    nat64->pool = &bench->range;
    nat64->pool_count = 1;
    nat64->timeouts = (struct nat64_timeouts){
        .udp = 300, .icmp = 60, .tcp_established = 7440, .tcp_transitory = 240, .tcp_syn = 6};
    bench->settings.translation = (struct translation_settings){
        .tos = -1, .amend_udp_checksum_zero = true, .mss_clamp = true, .mtu6 = 1500, .mtu4 = 1500};
}

static struct table *open_file(struct bench *bench, const struct geometry *geometry, char *error, size_t size)
{
    char path[] = BENCH_DIRECTORY "/isthmus-bench-XXXXXX";
    if (mkdtemp(path) == NULL)
        return NULL;
    struct table_file_options options = {.directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC),
                                         .path = path,
                                         .geometry = *geometry,
                                         .seed = 1};
    bench->file = table_file_open(&options, error, size);
    if (bench->file != NULL)
        (void)table_file_keep(bench->file, error, size);
    (void)table_file_remove(options.directory); /* the mapping stays, and nothing is left behind */
    close(options.directory);
    rmdir(path);
    return bench->file != NULL ? table_file_table(bench->file) : NULL;
}

void bench_open(struct bench *bench, uint32_t sessions, uint32_t workers, enum backing backing)
{
    uint32_t addresses = sessions / 50000 + 1;
    *bench = (struct bench){.sessions = sessions, .workers = workers, .now = 1000000000ull};
    settle(bench, sessions, addresses);
    struct geometry geometry = {
        .sessions = sessions < 64 ? 64 : sessions, .addresses = addresses, .workers = workers};
    char error[256] = "no memory for the table";
    bench->table = backing == BACKING_FILE ? open_file(bench, &geometry, error, sizeof(error))
                                           : table_create(&geometry, 1);
    struct engine_options options = {.table = bench->table,
                                     .settings = &bench->settings,
                                     .workers = workers,
                                     .seed = 2,
                                     .now = bench->now};
    bench->engine = bench->table != NULL ? engine_create(&options, error, sizeof(error)) : NULL;
    bench->reply = malloc((size_t)sessions * REPLY);
    if (bench->engine == NULL || bench->reply == NULL)
        fail(error);
}

void bench_close(struct bench *bench)
{
    free(bench->reply);
    engine_destroy(bench->engine);
    if (bench->file != NULL)
        table_file_close(bench->file);
    else
        table_destroy(bench->table);
}

void sender_open(struct sender *sender, struct bench *bench, uint32_t worker)
{
    sender->bench = bench;
    sender->worker = engine_worker(bench->engine, worker);
    sender->random = 88172645463325252ull + worker;
}

/* The number behind a name at the start of a line of smaps; false: it is another line. */
static bool read_field(const char *line, const char *name, unsigned long *value)
{
    size_t length = strlen(name);
    if (strncmp(line, name, length) != 0)
        return false;
    *value = strtoul(line + length, NULL, 10);
    return true;
}

/* Of the mapping that holds the records, /proc/self/smaps says how much lies in huge pages. */
unsigned page_size(const struct bench *bench)
{
    uintptr_t records = (uintptr_t)bench->table->segment[SEGMENT_RECORDS];
    FILE *file = fopen("/proc/self/smaps", "re");
    char line[512];
    bool inside = false;
    unsigned long present = 0, huge = 0, value;
    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        char *end;
        uintptr_t low = strtoul(line, &end, 16);
        if (end > line && *end == '-')
            inside = records >= low && records < strtoul(end + 1, NULL, 16);
        else if (inside && read_field(line, "Rss:", &value))
            present = value;
        else if (inside &&
                 (read_field(line, "AnonHugePages:", &value) || read_field(line, "ShmemPmdMapped:", &value)))
            huge += value;
    }
    if (file != NULL)
        fclose(file);
    return huge * 2 > present ? 2048 : (unsigned)(sysconf(_SC_PAGESIZE) / 1024);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double median(double *values, unsigned n)
{
    qsort(values, n, sizeof(*values), compare);
    return values[n / 2];
}

void print_figure(const char *name, double value, const char *unit, const char *against, double ratio)
{
    printf("{\"name\": \"%s\", \"value\": %.3f, \"unit\": \"%s\", \"against\": ", name, value, unit);
    if (against != NULL)
        printf("\"%s\", \"ratio\": %.3f}\n", against, ratio);
    else
        printf("null, \"ratio\": null}\n");
    fflush(stdout);
}

bool sessions_fit(uint32_t sessions)
{
    struct geometry geometry = {.sessions = sessions, .addresses = sessions / 50000 + 1, .workers = 1};
    struct table_memory memory = table_memory(&geometry);
    size_t machine = (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE);
    return memory.sessions + memory.addresses < machine / 2;
}
