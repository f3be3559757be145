/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The kernel's translator alone: nanoseconds of its program for a packet of 48 bytes (28 as IPv4), in each
 * direction, with so many sessions in random order, and for a packet that opens a session.
 *
 *     bench_bpf_program OBJECT [SESSIONS]
 *
 * The programs of bench/bpf_program.bpf.c are run by BPF_PROG_TEST_RUN, which says how long a run takes. A
 * round takes writing the packet, turning it into the other family and back, and translating it, one after
 * the other, so that what else the machine does falls on all alike. Net of what belongs to the benchmark,
 * writing and turning back, a translation is  translated - (written + turned) / 2.  Each of the three is the
 * least of eight parts of a round, since what else the machine does can only add to it; figures are medians
 * of the rounds.
 *
 * With many sessions nearly every packet is the first of its session in that second, so that it also moves
 * the session's end; with few, hardly any is.
 *
 * All this happens in a network namespace of its own: every route leads to one neighbour on a device that
 * nobody listens at. What the program does to a packet on its way is all in the figures, but not what the
 * kernel does afterwards to send it.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench/bpf_program.h"
#include "bench/flows.h"
#include "engine/layout.h"
#include "engine/random.h"
#include "engine/records.h"
#include "plane/bpf/object.h"
#include "plane/bpf/rules.h"
#include "wire/checksum.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"
#include "wire/transport.h"

enum {
    ROUNDS = 5, /* the median of which counts */
    PARTS = 8,  /* of a measurement, the least of which counts: the others were disturbed more */
    RUNS = 1 << 20,
    LINK_HEADER = 14,
    FRAME = LINK_HEADER + PROGRAM_BYTES_6 + 16,
    SUBSCRIBERS = 1 << 16, /* that share the sessions */
    PORTS_USED = 30000,    /* of each pool address, in the mean */
    REDIRECTED = 7,        /* TC_ACT_REDIRECT: the verdict on what was translated */
};

static const char *object_path;

struct lab {
    struct object *object;
    struct table *table;
    struct engine *engine;
    struct settings settings;
    struct pool_range range;
    struct program_list *list;
    struct program_packet *packets;
    struct random random;
    uint32_t sessions;
};

static void fail(const char *why)
{
    fprintf(stderr, "benchmark of the kernel's translator: %s\n", why);
    exit(1);
}

/* --- the lab ---------------------------------------------------------------------------------------- */

static void make_network(void)
{
    cpu_set_t first;
    CPU_ZERO(&first);
    CPU_SET(0, &first);
    if (unshare(CLONE_NEWNET) != 0)
        fail("may not make a network namespace; needs root");
    if (sched_setaffinity(0, sizeof(first), &first) != 0)
        fail("cannot keep to the first processor");
    const struct sched_param before_others = {.sched_priority = 1};
    if (sched_setscheduler(0, SCHED_FIFO, &before_others) != 0)
        fprintf(stderr, "bpf: no real-time priority; others take their part of the processor\n");
    /* NOLINTNEXTLINE(cert-env33-c): a lab is set up by the programs of every day */
    if (system("ip link set lo up && ip link add way0 type veth peer name way1 && ip link set way0 up && "
               "ip link set way1 up && ip link add isthmus0 type veth peer name isthmus1 && "
               "ip link set isthmus0 up && ip link set isthmus1 up && "
               "ip address add 203.0.113.1/24 dev way0 && ip address add 2001:db8:1::1/64 dev way0 nodad && "
               "ip neighbour add 203.0.113.2 lladdr 02:00:00:00:00:02 dev way0 nud permanent && "
               "ip neighbour add 2001:db8:1::2 lladdr 02:00:00:00:00:02 dev way0 nud permanent && "
               "ip route add default via 203.0.113.2 && ip route add default via 2001:db8:1::2 && "
               "echo 1 >/proc/sys/net/ipv4/ip_forward && echo 1 >/proc/sys/net/ipv6/conf/all/forwarding") !=
        0)
        fail("cannot set up devices and routes");
}

static void settle(struct lab *lab, uint32_t addresses)
{
    struct nat64_settings *nat64 = &lab->settings.nat64[0];
    lab->range = (struct pool_range){.first = to_be32(0xc6120000u),
                                     .count = addresses,
                                     .low = 1024,
                                     .high = 65535,
                                     .transports = 1u << TRANSPORT_UDP};
    lab->settings.nat64_count = 1;
    lab->settings.translation =
        (struct translation_settings){.tos = -1, .mss_clamp = true, .mtu6 = 1500, .mtu4 = 1500};
    nat64->prefix = (struct rfc6052_prefix){.address = {{0x20, 0x01, 0x0d, 0xb8, 0, 0x64}}, .length = 96};
    nat64->sessions = lab->sessions;
    nat64->subscriber_prefix = SUBSCRIBER_PREFIX_DEFAULT;
    nat64->sessions_per_subscriber = SUBSCRIBER_SESSIONS_DEFAULT;
    nat64->pool = &lab->range;
    nat64->pool_count = 1;
    nat64->timeouts = (struct nat64_timeouts){
        .udp = 7200, .icmp = 60, .tcp_established = 7440, .tcp_transitory = 240, .tcp_syn = 6};
}

static nanoseconds clock_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (nanoseconds)now.tv_sec * 1000000000u + (nanoseconds)now.tv_nsec;
}

static void lab_open(struct lab *lab, uint32_t sessions)
{
    char error[256] = "the table cannot be made";
    uint32_t addresses = sessions / PORTS_USED + 1, lanes = (uint32_t)sysconf(_SC_NPROCESSORS_ONLN);
    struct object_options options = {.path = object_path,
                                     .geometry = {.sessions = sessions < 64 ? 64 : sessions,
                                                  .addresses = addresses,
                                                  .workers = 1 + lanes}};
    *lab = (struct lab){.sessions = sessions, .random = random_seed(64)};
    settle(lab, addresses);
    lab->object = object_open(&options, error, sizeof(error));
    if (lab->object == NULL)
        fail(error);
    lab->table = table_format(object_memory(lab->object), &options.geometry, 1);
    if (lab->table == NULL || object_constants(lab->object, lab->table) != 0)
        fail(error);
    struct engine_options engine = {
        .table = lab->table, .settings = &lab->settings, .workers = 1 + lanes, .seed = 2, .now = clock_now()};
    lab->engine = engine_create(&engine, error, sizeof(error));
    if (lab->engine == NULL)
        fail(error);
    struct rules_surroundings surroundings = {
        .device = if_nametoindex("isthmus0"), .lane = 1, .lanes = lanes, .secret = {20261122, 64}};
    lab->list = object_map_memory(lab->object, "list");
    lab->packets = object_map_memory(lab->object, "packets");
    if (lab->list == NULL || lab->packets == NULL ||
        rules_enforce(lab->object, engine_rules(lab->engine), &surroundings) != 0)
        fail("the maps of the programs cannot be filled");
}

static void lab_close(struct lab *lab)
{
    engine_destroy(lab->engine);
    table_destroy(lab->table);
    object_close(lab->object);
}

/* --- packets ---------------------------------------------------------------------------------------- */

static void write_packet6(uint8_t *at, const struct ipv6_address *client, be32 remote, const be16 ports[2])
{
    struct ipv6_header ip = {.version_class_label = ipv6_first_word(0),
                             .payload_length = to_be16(PROGRAM_BYTES_6 - sizeof(ip)),
                             .next_header = PROTOCOL_UDP,
                             .hop_limit = 64,
                             .source = *client,
                             .destination = {{0x20, 0x01, 0x0d, 0xb8, 0, 0x64}}};
    struct udp_header udp = {.source = ports[0],
                             .destination = ports[1],
                             .length = to_be16(sizeof(udp)),
                             .checksum = to_be16(0x1234)};
    memcpy(ip.destination.bytes + 12, &remote, sizeof(remote));
    memcpy(at, &ip, sizeof(ip));
    memcpy(at + sizeof(ip), &udp, sizeof(udp));
}

/* Of client number n, who is no other than all others. */
static void write_new(uint8_t *at, uint32_t n)
{
    struct ipv6_address client = {{0x20, 0x01, 0x0d, 0xb8, 0, 2}};
    be16 ports[2] = {to_be16((uint16_t)(1024 + n % 50000)), to_be16(53)};
    store_be16(client.bytes + 6, to_be16((uint16_t)(n % SUBSCRIBERS)));
    store_be32(client.bytes + 12, to_be32(n / SUBSCRIBERS + 1));
    write_packet6(at, &client, to_be32(0x08080000u | (n & 0xff)), ports);
}

static void write_known6(uint8_t *at, const struct record *record)
{
    be16 ports[2] = {record->client_port, record->remote_port};
    write_packet6(at, &record->client, record->remote, ports);
}

static void write_known4(uint8_t *at, const struct record *record)
{
    struct ipv4_header ip = {.version_ihl = 0x45,
                             .total_length = to_be16(PROGRAM_BYTES_4),
                             .ttl = 64,
                             .protocol = PROTOCOL_UDP,
                             .source = record->remote,
                             .destination = record->pool};
    struct udp_header udp = {.source = record->remote_port,
                             .destination = record->pool_port,
                             .length = to_be16(sizeof(udp)),
                             .checksum = to_be16(0x1234)};
    ip.checksum = (be16)~checksum_fold(checksum_add_bytes(0, &ip, sizeof(ip)));
    memcpy(at, &ip, sizeof(ip));
    memcpy(at + sizeof(ip), &udp, sizeof(udp));
}

/* Sessions at random, as many packets as the list holds; of one session, one packet. */
static void list_known(struct lab *lab, bool from6)
{
    uint32_t count = lab->sessions == 1 ? 1 : PROGRAM_PACKETS;
    *lab->list = (struct program_list){.mask = count - 1};
    for (uint32_t i = 0; i < count; i++) {
        const struct record *record =
            record_at(lab->table, (uint32_t)(random_next(&lab->random) % lab->sessions));
        if (from6)
            write_known6(lab->packets[i].bytes, record);
        else
            write_known4(lab->packets[i].bytes, record);
    }
}

static void list_new(struct lab *lab, uint32_t first, uint32_t count)
{
    *lab->list = (struct program_list){.mask = PROGRAM_PACKETS - 1};
    for (uint32_t i = 0; i < count; i++)
        write_new(lab->packets[i].bytes, first + i);
}

/* --- runs ------------------------------------------------------------------------------------------- */

/* How many packets the programs gave away to the engine, or let pass; none may be. */
static uint64_t count_strays(const struct lab *lab)
{
    const struct plane_counters *first = object_map_memory(lab->object, "processors"); /* ours */
    if (first == NULL)
        fail("the counters of the programs cannot be read");
    return first->handed_over + first->passed;
}

/* Nanoseconds of a run of the program, over so many. */
static double run_once(const struct lab *lab, const char *name, uint32_t runs)
{
    uint8_t frame[FRAME] = {0};
    bool from6 = strchr(name, '6') != NULL;
    LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame,
                .data_size_in = LINK_HEADER + (from6 ? PROGRAM_BYTES_6 : PROGRAM_BYTES_4),
                .repeat = (int)runs);
    store_be16(frame + 12, to_be16(from6 ? 0x86dd : 0x0800));
    frame[LINK_HEADER] = from6 ? 0x60 : 0x45;
    uint64_t strays = count_strays(lab);
    if (bpf_prog_test_run_opts(object_program(lab->object, name), &options) != 0)
        fail(strerror(errno));
    if (count_strays(lab) != strays || (name[0] == 'r' && options.retval != REDIRECTED))
        fail("packets were not translated");
    return options.duration;
}

static double run(const struct lab *lab, const char *name, uint32_t runs)
{
    double least = run_once(lab, name, runs / PARTS);
    for (unsigned i = 1; i < PARTS; i++) {
        double taken = run_once(lab, name, runs / PARTS);
        least = taken < least ? taken : least;
    }
    return least;
}

static void print_of(const char *what, const char *label, const char *unit, double value)
{
    char name[96];
    snprintf(name, sizeof(name), "bpf.%s.%s", what, label);
    print_figure(name, value, unit, NULL, 0);
}

static void measure_known(struct lab *lab, bool from6, const char *label)
{
    double net[ROUNDS];
    list_known(lab, from6);
    for (unsigned i = 0; i < ROUNDS; i++) {
        double written = run(lab, from6 ? "write_6" : "write_4", RUNS);
        double turned = run(lab, from6 ? "turn_6" : "turn_4", RUNS);
        double whole = run(lab, from6 ? "run_6" : "run_4", RUNS);
        net[i] = whole - (written + turned) / 2;
        fprintf(stderr, "bpf: %s sessions, %s, round %u of %u: written %.0f, turned %.0f, translated %.0f\n",
                label, from6 ? "IPv6 to IPv4" : "IPv4 to IPv6", i + 1, ROUNDS, written, turned, whole);
    }
    print_of(from6 ? "program" : "program.4to6", label, "ns", median(net, ROUNDS));
}

/* Makes the sessions; nanoseconds for each, net. */
static double make_all(struct lab *lab)
{
    double taken = 0, other = 0;
    uint32_t written = lab->sessions < RUNS ? lab->sessions : RUNS;
    for (uint32_t done = 0; done < lab->sessions;) {
        uint32_t count = lab->sessions - done < PROGRAM_PACKETS ? lab->sessions - done : PROGRAM_PACKETS;
        list_new(lab, done, count);
        taken += run_once(lab, "run_6", count) * count;
        done += count;
    }
    *lab->list = (struct program_list){.mask = PROGRAM_PACKETS - 1};
    other = (run(lab, "write_6", written) + run(lab, "turn_6", written)) / 2;
    if (records_used(lab->table) != lab->sessions)
        fail("sessions were not made");
    return taken / lab->sessions - other;
}

static void measure(uint32_t sessions, const char *label)
{
    struct lab lab;
    if (!sessions_fit(sessions)) {
        fprintf(stderr, "bpf: %s sessions left out: half of this machine's memory\n", label);
        return;
    }
    lab_open(&lab, sessions);
    fprintf(stderr, "bpf: %s sessions: creating\n", label);
    double creation = make_all(&lab);
    if (sessions >= 1000)
        print_of("create", label, "ns", creation);
    measure_known(&lab, true, label);
    measure_known(&lab, false, label);
    lab_close(&lab);
}

int main(int count, char **arguments)
{
    static const struct {
        uint32_t sessions;
        const char *label;
    } sizes[] = {{1, "1"}, {10000, "10k"}, {1000000, "1M"}, {10000000, "10M"}};
    if (count < 2)
        return 2;
    object_path = arguments[1];
    make_network();
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        if (count < 3 || strcmp(arguments[2], sizes[i].label) == 0)
            measure(sizes[i].sessions, sizes[i].label);
    return 0;
}
