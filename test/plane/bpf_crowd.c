/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The programs run by BPF_PROG_TEST_RUN on the processor of the thread that asks for it, so each of the two
 * threads keeps to one processor, whose counters nobody else changes: what a packet has added to them is its
 * verdict.
 *
 * Whoever waits for the others gives up its processor again and again, but not at once: so that they begin
 * within the time that a few packets take.
 */
#include "test/plane/bpf_crowd.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <linux/pkt_cls.h>
#include <net/if.h>

#include "engine/rules.h"
#include "engine/table.h"
#include "engine/worker.h"
#include "plane/bpf/object.h"
#include "plane/bpf/rules.h"
#include "test/engine/audit.h"
#include "wire/checksum.h"

enum {
    LINK_HEADER = 14,
    ROOM = 256,
    HEADROOM = 128,
    PAYLOAD = 4,
    SECOND = 1000 * 1000 * 1000,
    SWEEPER = 0, /* the worker that has all of a small table to sweep; those of the actors come next */
    WORKERS = CROWD_ACTORS + 1,
    SPINS = 2000, /* of who waits, before he lets others run */
};

static const struct geometry geometry = {
    .sessions = CROWD_SESSIONS, .addresses = CROWD_POOL, .workers = WORKERS + CROWD_PROCESSORS};

static struct {
    struct object *object;
    struct object_array processors;
    struct plane_settings *plane;
    struct table *table;
    struct engine *engine;
    struct settings settings;
    struct pool_range range;
    unsigned processor[CROWD_PROCESSORS]; /* their numbers */
    uint64_t ahead;                       /* nanoseconds, of the clock */
    void (*act)(unsigned actor);
    uint32_t ready; /* actors */
} crowd;

/* --- opening ---------------------------------------------------------------------------------------- */

static bool run(const char *command)
{
    return system(command) == 0; /* NOLINT(cert-env33-c): a lab is set up by the programs of every day */
}

/* The first two that this process may use. */
static bool find_processors(void)
{
    cpu_set_t allowed;
    unsigned found = 0;
    if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0)
        return false;
    for (unsigned i = 0; i < CPU_SETSIZE && found < CROWD_PROCESSORS; i++)
        if (CPU_ISSET(i, &allowed))
            crowd.processor[found++] = i;
    return found == CROWD_PROCESSORS;
}

static const char *load(const char *path)
{
    static char error[256];
    const struct object_options options = {.path = path, .geometry = geometry};
    crowd.object = object_open(&options, error, sizeof(error));
    if (crowd.object == NULL)
        return error;
    crowd.plane = object_map_memory(crowd.object, "settings");
    crowd.processors = object_array(crowd.object, "processors");
    return crowd.plane != NULL && crowd.processors.count > crowd.processor[CROWD_PROCESSORS - 1]
               ? NULL
               : "a map cannot be mapped into memory";
}

const char *crowd_open(const char *object)
{
    if (!find_processors())
        return "needs two processors";
    if (unshare(CLONE_NEWNET) != 0)
        return "may not make a network namespace; needs root";
    if (!run("ip link set lo up && ip link add way0 type veth peer name way1 && ip link set way0 up && "
             "ip link set way1 up && echo 1 >/proc/sys/net/ipv4/ip_forward && "
             "echo 1 >/proc/sys/net/ipv6/conf/all/forwarding && ip route add default dev way0 && "
             "ip -6 route add default dev way0"))
        return "cannot make a network";
    return load(object);
}

void crowd_close(void)
{
    object_close(crowd.object);
}

static void describe_settings(void)
{
    struct nat64_settings *nat64 = &crowd.settings.nat64[0];
    crowd.range =
        (struct pool_range){.count = 1, .low = 1024, .high = 65535, .transports = 1 << TRANSPORT_UDP};
    inet_pton(AF_INET, "192.0.2.1", &crowd.range.first);
    crowd.settings.nat64_count = 1;
    crowd.settings.translation =
        (struct translation_settings){.tos = -1, .icmp_errors_per_second = 10, .mtu6 = 1500, .mtu4 = 1500};
    *nat64 = (struct nat64_settings){.prefix.length = 96,
                                     .sessions = CROWD_SESSIONS * 2,
                                     .subscriber_prefix = 128,
                                     .pool = &crowd.range,
                                     .pool_count = 1};
    inet_pton(AF_INET6, "2001:db8:64::", nat64->prefix.address.bytes);
    inet_pton(AF_INET6, "2001:db8:64::c000:201", nat64->address6.bytes);
    nat64->timeouts = (struct nat64_timeouts){.udp = CROWD_UDP_SECONDS,
                                              .icmp = ICMP_DEFAULT_SECONDS,
                                              .tcp_established = TCP_ESTABLISHED_SECONDS,
                                              .tcp_transitory = TCP_TRANSITORY_SECONDS,
                                              .tcp_syn = TCP_INCOMING_SYN_SECONDS,
                                              .fragment = FRAGMENT_SECONDS};
}

struct nat64_settings *crowd_settings(void)
{
    describe_settings();
    return &crowd.settings.nat64[0];
}

void crowd_set_answers(uint32_t rate)
{
    crowd.settings.translation.icmp_errors_per_second = rate;
}

/* As the programs' own, which is coarse. */
static nanoseconds clock_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (nanoseconds)now.tv_sec * SECOND + (nanoseconds)now.tv_nsec + atomic_load64(&crowd.ahead);
}

static void make_table(void)
{
    for (unsigned i = 0; i < TABLE_SEGMENTS; i++) {
        struct extent extent = table_extent(&geometry, i);
        if (extent.count > 0)
            memset(object_memory(crowd.object)[i], 0, extent.element * extent.count);
    }
    crowd.table = table_format(object_memory(crowd.object), &geometry, 1);
    assert_non_null(crowd.table);
    assert_int_equal(object_constants(crowd.object, crowd.table), 0);
}

void crowd_begin(void)
{
    char error[256];
    make_table();
    const struct engine_options options = {
        .table = crowd.table, .settings = &crowd.settings, .workers = WORKERS, .seed = 5, .now = clock_now()};
    crowd.engine = engine_create(&options, error, sizeof(error));
    if (crowd.engine == NULL)
        fail_msg("%s", error);
    const struct rules_surroundings surroundings = {.device = if_nametoindex("way1"),
                                                    .lane = WORKERS + 1,
                                                    .lanes = CROWD_PROCESSORS,
                                                    .clock_ahead = crowd.ahead,
                                                    .secret = {20261122, 64}};
    assert_int_equal(rules_enforce(crowd.object, engine_rules(crowd.engine), &surroundings), 0);
}

/* --- at the end ------------------------------------------------------------------------------------- */

uint32_t crowd_records(void)
{
    return crowd.table->constants.records;
}

static const struct plane_counters *counters_of(unsigned processor)
{
    return (const void *)(crowd.processors.memory + crowd.processor[processor] * crowd.processors.element);
}

uint64_t crowd_handed_over(unsigned processor)
{
    return counters_of(processor)->handed_over;
}

struct crowd_books crowd_audit(void)
{
    struct audit audit;
    audit_transports = 1u << TRANSPORT_UDP;
    const char *wrong = audit_exact(crowd.table, &audit);
    if (wrong != NULL)
        fail_msg("%s", wrong);
    return (struct crowd_books){.sessions = audit.sessions, .bindings = audit.leads};
}

void crowd_sweep(void)
{
    struct worker *worker = engine_worker(crowd.engine, SWEEPER);
    worker->deadline = 0;
    engine_expire(worker, clock_now());
}

void crowd_pass_time(unsigned seconds)
{
    uint64_t ahead = crowd.ahead + (uint64_t)seconds * SECOND;
    atomic_store64(&crowd.ahead, ahead);
    for (unsigned i = 0; i < SETTINGS_VERSIONS; i++)
        atomic_store64(&crowd.plane[i].clock_ahead, ahead);
}

void crowd_clear(bool all)
{
    if (all)
        crowd_pass_time(CROWD_UDP_SECONDS + 2);
    crowd_sweep();
    crowd_sweep();
}

void crowd_end(void)
{
    crowd_clear(true);
    struct crowd_books books = crowd_audit();
    assert_int_equal(books.sessions, 0);
    assert_int_equal(books.bindings, 0);
    for (uint32_t i = 0; i < engine_pool_count(crowd.engine); i++) {
        struct engine_pool pool = {0};
        engine_pool(crowd.engine, i, &pool);
        for (unsigned transport = 0; transport < TRANSPORT_COUNT; transport++)
            assert_int_equal(pool.used[transport], 0);
    }
    engine_destroy(crowd.engine);
    table_destroy(crowd.table);
}

/* --- at once ---------------------------------------------------------------------------------------- */

static void wait_for_others(void)
{
    (void)__atomic_add_fetch(&crowd.ready, 1, __ATOMIC_SEQ_CST);
    for (unsigned i = 1; atomic_load32(&crowd.ready) < CROWD_ACTORS; i++)
        if (i % SPINS == 0)
            (void)sched_yield();
}

static void *live(void *argument)
{
    unsigned actor = (unsigned)(uintptr_t)argument;
    cpu_set_t processors;
    CPU_ZERO(&processors);
    CPU_SET(crowd.processor[actor % CROWD_PROCESSORS], &processors);
    if (actor < CROWD_PROCESSORS && sched_setaffinity(0, sizeof(processors), &processors) != 0)
        abort();
    wait_for_others();
    crowd.act(actor);
    return NULL;
}

void crowd_run(void (*act)(unsigned actor))
{
    pthread_t threads[CROWD_ACTORS];
    crowd.act = act;
    crowd.ready = 0;
    for (unsigned i = 0; i < CROWD_ACTORS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, live, (void *)(uintptr_t)i), 0);
    for (unsigned i = 0; i < CROWD_ACTORS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
}

/* --- packets ---------------------------------------------------------------------------------------- */

static uint32_t write_udp(uint8_t *udp, uint16_t source, uint16_t destination)
{
    memset(udp, 0, 8 + PAYLOAD);
    store_be16(udp, to_be16(source));
    store_be16(udp + 2, to_be16(destination));
    store_be16(udp + 4, to_be16(8 + PAYLOAD));
    store_be16(udp + 6, to_be16(0x1234)); /* wrong, and as wrong when it arrives */
    return 8 + PAYLOAD;
}

static uint32_t write_from_client(uint8_t *ip, const struct crowd_packet *packet)
{
    memset(ip, 0, 40);
    ip[0] = 0x60;
    ip[5] = 8 + PAYLOAD;
    ip[6] = 17;
    ip[7] = 64;
    inet_pton(AF_INET6, "2001:db8:1::", ip + 8);
    store_be16(ip + 22, to_be16(packet->client));
    inet_pton(AF_INET6, "2001:db8:64::203.0.113.0", ip + 24);
    ip[39] = (uint8_t)packet->remote;
    return 40 + write_udp(ip + 40, packet->client_port, 53);
}

static uint32_t write_from_remote(uint8_t *ip, const struct crowd_packet *packet)
{
    memset(ip, 0, 20);
    ip[0] = 0x45;
    ip[3] = 20 + 8 + PAYLOAD;
    ip[8] = 64;
    ip[9] = 17;
    inet_pton(AF_INET, "203.0.113.0", ip + 12);
    ip[15] = (uint8_t)packet->remote;
    store_be32(ip + 16, packet->pool);
    uint16_t checksum = (uint16_t)~checksum_fold(checksum_add_bytes(0, ip, 20));
    memcpy(ip + 10, &checksum, sizeof(checksum));
    return 20 + write_udp(ip + 20, 53, packet->pool_port);
}

static void read_outcome(const uint8_t *ip, struct crowd_outcome *outcome)
{
    if (outcome->verdict != VERDICT_TRANSLATED_6TO4)
        return;
    outcome->pool = load_be32(ip + 12);
    outcome->pool_port = from_be16(load_be16(ip + 20));
}

static void give_engine(unsigned actor, const uint8_t *ip, uint32_t length, struct crowd_outcome *outcome)
{
    uint8_t buffer[ROOM], made[OUTPUT_PACKET + HEADROOM];
    struct packet packet = {
        .buffer = buffer, .capacity = sizeof(buffer), .offset = HEADROOM, .length = length};
    struct packet other = {.buffer = made, .capacity = sizeof(made), .offset = HEADROOM};
    struct worker *worker = engine_worker(crowd.engine, SWEEPER + 1 + actor);
    memcpy(buffer + HEADROOM, ip, length);
    engine_receive(worker, &packet, 1, clock_now(), &outcome->verdict);
    read_outcome(packet_data(&packet), outcome);
    while (engine_pull(worker, &other))
        other.offset = HEADROOM;
}

/* The verdict that was counted since; false: none was, for the packet was handed over. */
static bool read_verdict(const struct plane_counters *before, const struct plane_counters *after,
                         struct crowd_outcome *outcome)
{
    outcome->handed_over = after->handed_over != before->handed_over;
    for (unsigned i = 0; i < VERDICT_COUNT; i++)
        if (after->packets[i] != before->packets[i])
            outcome->verdict = (enum verdict)i;
    return !outcome->handed_over;
}

void crowd_send(unsigned actor, const struct crowd_packet *packet, struct crowd_outcome *outcome)
{
    uint8_t in[LINK_HEADER + ROOM] = {0}, out[LINK_HEADER + ROOM];
    uint8_t *ip = in + LINK_HEADER;
    uint32_t length = packet->from_remote ? write_from_remote(ip, packet) : write_from_client(ip, packet);
    *outcome = (struct crowd_outcome){.verdict = VERDICT_COUNT};
    if (actor == CROWD_ENGINE) {
        give_engine(actor, ip, length, outcome);
        return;
    }
    store_be16(in + 12, to_be16(packet->from_remote ? 0x0800 : 0x86dd));
    LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = in, .data_size_in = LINK_HEADER + length,
                .data_out = out, .data_size_out = sizeof(out), .repeat = 1);
    struct plane_counters before = *counters_of(actor);
    if (bpf_prog_test_run_opts(object_program(crowd.object, "translate_ethernet"), &options) != 0)
        return;
    if (read_verdict(&before, counters_of(actor), outcome))
        read_outcome(out + LINK_HEADER, outcome);
    else
        give_engine(actor, ip, length, outcome);
}
