/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A program's return value, what it counted and the bytes must go together: a packet that was handed over or
 * let pass is as it was (save for bytes behind its end), and exactly one thing was counted. If not, the
 * process ends here.
 */
#include "test/plane/bpf_lab.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/pkt_cls.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/table.h"
#include "engine/waiting_place.h"
#include "engine/worker.h"
#include "plane/bpf/object.h"
#include "plane/bpf/rules.h"
#include "wire/ipv4.h"

enum {
    LINK_HEADER = 14,
    SLACK_NANOSECONDS = 20 * 1000 * 1000, /* by which the coarse clock may lag */
    FATES = BPF_LAB_UNFIT + 1,
};

/* How struct processor of the programs begins. */
struct processor_front {
    struct plane_counters counters;
    uint64_t identification;
    uint64_t drawn;
    uint32_t hand;
    uint64_t budgets[3][2];
};

static struct {
    const char *path;
    struct object *object;
    struct geometry geometry;
    struct plane_settings *settings;
    struct waiting_places *waiting;
    struct rules_surroundings surroundings;
    unsigned fates[FATES], dropped; /* the latter among those decided */
} lab;

static bool run(const char *command)
{
    return system(command) == 0; /* NOLINT(cert-env33-c): a lab is set up by the programs of every day */
}

static bool set_forwarding(const char *path)
{
    FILE *file = fopen(path, "w");
    return file != NULL && fputs("1", file) >= 0 && fclose(file) == 0;
}

const char *bpf_lab_open(const char *object)
{
    cpu_set_t first;
    CPU_ZERO(&first);
    CPU_SET(0, &first);
    lab.path = object;
    if (unshare(CLONE_NEWNET) != 0)
        return "may not make a network namespace; needs root";
    if (sched_setaffinity(0, sizeof(first), &first) != 0)
        return "cannot keep to the first processor";
    if (!run(
            "ip link set lo up && ip link add way0 mtu 9000 type veth peer name way1 mtu 9000 && "
            "ip link set way0 up && ip link set way1 up && ip link add isthmus0 type veth peer name isthmus1 "
            "&& ip link set isthmus0 up && ip link set isthmus1 up"))
        return "cannot make devices";
    if (!set_forwarding("/proc/sys/net/ipv4/ip_forward") ||
        !set_forwarding("/proc/sys/net/ipv6/conf/all/forwarding"))
        return "cannot switch forwarding on";
    if (!run("ip route add default dev way0 && ip -6 route add default dev way0"))
        return "cannot add routes";
    return NULL;
}

/* The kernel's table is kept for all engines: the verifier takes its time. */
static const char *make_object(const struct geometry *geometry)
{
    static char error[256];
    struct object_options options = {.path = lab.path, .geometry = *geometry};
    lab.object = object_open(&options, error, sizeof(error));
    if (lab.object == NULL)
        return error;
    lab.geometry = *geometry;
    lab.settings = object_map_memory(lab.object, "settings");
    lab.surroundings = (struct rules_surroundings){.device = if_nametoindex("isthmus0"),
                                                   .lane = geometry->workers,
                                                   .lanes = 1,
                                                   .secret = {20260727, 64}};
    lab.waiting = object_map_memory(lab.object, "waiting");
    return lab.settings != NULL && lab.waiting != NULL ? NULL : "a map cannot be mapped into memory";
}

/* The first is our processor's. */
static struct processor_front *read_processor(void)
{
    struct processor_front *front = object_map_memory(lab.object, "processors");
    if (front == NULL)
        abort();
    return front;
}

/* Chance begins anew, so that a history can be repeated. */
static void forget_past(void)
{
    struct processor_front *front = read_processor();
    front->identification = front->drawn = 0;
    front->hand = 0;
    memset(front->budgets, 0, sizeof(front->budgets));
}

struct table *bpf_lab_table(const struct geometry *geometry, uint64_t seed)
{
    const char *problem = lab.object == NULL ? make_object(geometry) : NULL;
    if (problem != NULL) {
        fprintf(stderr, "%s\n", problem);
        exit(1);
    }
    for (unsigned i = 0; i < TABLE_SEGMENTS; i++) {
        struct extent extent = table_extent(&lab.geometry, i);
        if (extent.count > 0)
            memset(object_memory(lab.object)[i], 0, extent.element * extent.count);
    }
    forget_past();
    struct table *table = table_format(object_memory(lab.object), &lab.geometry, seed);
    if (table != NULL && object_constants(lab.object, table) != 0)
        abort();
    return table;
}

struct object *bpf_lab_object(void)
{
    return lab.object;
}

struct waiting_places *bpf_lab_waiting(void)
{
    memset(lab.waiting, 0, sizeof(*lab.waiting));
    return lab.waiting;
}

/* A network to the device. */
static bool route(int family, const void *address, unsigned length)
{
    char text[INET6_ADDRSTRLEN], line[160];
    inet_ntop(family, address, text, sizeof(text));
    snprintf(line, sizeof(line), "ip route replace %s/%u dev isthmus0 proto 64", text, length);
    return run(line);
}

/* Only what is routed to the device is for siit. There is no route for all of IPv4: it is in use. */
static bool make_routes(const struct settings *settings)
{
    static bool made;
    if (made && !(run("ip route flush proto 64") && run("ip -6 route flush proto 64")))
        return false;
    made = settings->siit_count > 0;
    for (uint32_t i = 0; i < settings->siit_count; i++) {
        const struct siit_settings *siit = &settings->siit[i];
        if (siit->prefix.length != 0 && !route(AF_INET6, &siit->prefix.address, siit->prefix.length))
            return false;
        for (uint32_t k = 0; k < eam_count(siit->eam); k++) {
            const struct eam *eam = eam_at(siit->eam, k);
            if (eam->length4 != 0 && !route(AF_INET, &eam->ipv4, eam->length4))
                return false;
        }
    }
    return true;
}

bool bpf_lab_enforce(const struct engine *engine, const struct paths *paths)
{
    if (!make_routes(&engine_rules(engine)->settings))
        return false;
    lab.surroundings.paths = paths;
    return rules_enforce(lab.object, engine_rules(engine), &lab.surroundings) == 0;
}

void bpf_lab_count(struct plane_counters *counters)
{
    *counters = read_processor()->counters;
}

void bpf_lab_add_counters(const struct engine *engine, const struct plane_counters *since,
                          struct engine_counters *counters)
{
    struct plane_counters plane;
    engine_count(engine, counters);
    bpf_lab_count(&plane);
    for (unsigned i = 0; i < VERDICT_COUNT; i++) {
        counters->packets[i] += plane.packets[i] - since->packets[i];
        counters->bytes[i] += plane.bytes[i] - since->bytes[i];
    }
    counters->sessions_created += plane.sessions_created - since->sessions_created;
    counters->sessions_ended += plane.sessions_ended - since->sessions_ended;
    counters->bindings_created += plane.bindings_created - since->bindings_created;
    counters->bindings_ended += plane.bindings_ended - since->bindings_ended;
    counters->half_open_evicted += plane.half_open_evicted - since->half_open_evicted;
}

void bpf_lab_draws(struct bpf_lab_draws *draws)
{
    const struct processor_front *front = read_processor();
    const uint64_t *secret = lab.surroundings.secret;
    *draws = (struct bpf_lab_draws){.secret = {secret[0], secret[1]},
                                    .drawn = front->drawn,
                                    .identification = (uint16_t)(front->identification + secret[0])};
}

static nanoseconds coarse_clock(void)
{
    struct timespec clock;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &clock);
    return (nanoseconds)clock.tv_sec * NANOSECONDS + (nanoseconds)clock.tv_nsec;
}

void bpf_lab_set_clock(nanoseconds now)
{
    for (unsigned i = 0; i < SETTINGS_VERSIONS; i++) {
        lab.settings[i].clock_ahead = now - coarse_clock() + SLACK_NANOSECONDS;
        /* Whose clock is not the test's: all there are, or none. */
        lab.settings[i].answers = lab.settings[i].translation.icmp_errors_per_second == 0 ? 0 : UINT32_MAX;
        lab.settings[i].stores = UINT32_MAX;
    }
}

bool bpf_lab_is_second(nanoseconds now)
{
    return (coarse_clock() + lab.settings[0].clock_ahead) / NANOSECONDS == now / NANOSECONDS;
}

/* As long as it says itself, so that it may be filled up as links do. */
static bool is_whole(const struct packet *packet)
{
    return packet->length >= sizeof(struct ipv4_header) && packet_data(packet)[0] >> 4 == 4 &&
           from_be16(load_be16(packet_data(packet) + 2)) == packet->length;
}

static bool is_fit(const struct packet *packet)
{
    uint8_t version = packet->length > 0 ? packet_data(packet)[0] >> 4 : 0;
    return (packet->length >= BPF_LAB_PACKET_MINIMUM || is_whole(packet)) &&
           packet->length <= BPF_LAB_PACKET_MAXIMUM && (version == 4 || version == 6) &&
           packet->offload.flags == 0 && packet->offload.gso_type == 0 && packet->offset >= PACKET_HEADROOM;
}

__attribute__((noreturn)) static void contradiction(const char *what)
{
    fprintf(stderr, "the program contradicts itself: %s\n", what);
    abort();
}

/* What was counted between the two, which must be one packet. */
static enum bpf_lab_fate read_fate(const struct plane_counters *before, const struct plane_counters *after,
                                   uint32_t length, enum verdict *verdict)
{
    enum bpf_lab_fate fate = BPF_LAB_UNFIT;
    uint64_t counted = after->handed_over - before->handed_over + after->passed - before->passed;
    if (after->handed_over != before->handed_over)
        fate = BPF_LAB_HANDED_OVER;
    if (after->passed != before->passed)
        fate = BPF_LAB_PASSED;
    for (unsigned i = 0; i < VERDICT_COUNT; i++) {
        counted += after->packets[i] - before->packets[i];
        if (after->packets[i] == before->packets[i])
            continue;
        fate = BPF_LAB_DECIDED;
        *verdict = (enum verdict)i;
        if (after->bytes[i] - before->bytes[i] > length)
            contradiction("more bytes were counted than there were");
    }
    if (counted != 1)
        contradiction("not one packet was counted");
    return fate;
}

static void check_action(enum bpf_lab_fate fate, enum verdict verdict, uint32_t action)
{
    bool forwarded = fate == BPF_LAB_DECIDED && verdict_texts[verdict].class == VERDICT_FORWARDED;
    uint32_t expected = forwarded || fate == BPF_LAB_HANDED_OVER ? (uint32_t)TC_ACT_REDIRECT
                        : fate == BPF_LAB_DECIDED                ? (uint32_t)TC_ACT_SHOT
                                                                 : (uint32_t)TC_ACT_UNSPEC;
    if (action != expected)
        contradiction("what it returned is not what it counted");
}

enum bpf_lab_fate bpf_lab_receive(struct packet *packet, enum verdict *verdict)
{
    static uint8_t in[LINK_HEADER + BPF_LAB_PACKET_MAXIMUM], out[LINK_HEADER + BPF_LAB_PACKET_MAXIMUM + 64];
    struct plane_counters before, after;
    LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = in, .data_out = out, .data_size_out = sizeof(out),
                .repeat = 1);
    if (!is_fit(packet)) {
        lab.fates[BPF_LAB_UNFIT]++;
        return BPF_LAB_UNFIT;
    }
    memset(in, 0, LINK_HEADER + BPF_LAB_PACKET_MINIMUM);
    store_be16(in + 12, to_be16(packet_data(packet)[0] >> 4 == 4 ? 0x0800 : 0x86dd));
    memcpy(in + LINK_HEADER, packet_data(packet), packet->length);
    options.data_size_in =
        LINK_HEADER +
        (packet->length < BPF_LAB_PACKET_MINIMUM ? (uint32_t)BPF_LAB_PACKET_MINIMUM : packet->length);
    bpf_lab_count(&before);
    if (bpf_prog_test_run_opts(object_program(lab.object, "translate_ethernet"), &options) != 0) {
        fprintf(stderr, "BPF_PROG_TEST_RUN: %s\n", strerror(errno));
        exit(1);
    }
    bpf_lab_count(&after);
    enum bpf_lab_fate fate = read_fate(&before, &after, packet->length, verdict);
    check_action(fate, *verdict, options.retval);
    if (fate != BPF_LAB_DECIDED &&
        (options.data_size_out > options.data_size_in || memcmp(in, out, options.data_size_out) != 0))
        contradiction("a packet that it did not decide on was changed");
    if (fate == BPF_LAB_DECIDED)
        packet->length = options.data_size_out - LINK_HEADER;
    memcpy(packet_data(packet), out + LINK_HEADER, packet->length);
    lab.fates[fate]++;
    lab.dropped += fate == BPF_LAB_DECIDED && verdict_texts[*verdict].class != VERDICT_FORWARDED;
    return fate;
}

bool bpf_lab_close(void)
{
    printf("# by the program: translated %u, dropped %u, handed over %u, let pass %u; not brought in %u\n",
           lab.fates[BPF_LAB_DECIDED] - lab.dropped, lab.dropped, lab.fates[BPF_LAB_HANDED_OVER],
           lab.fates[BPF_LAB_PASSED], lab.fates[BPF_LAB_UNFIT]);
    printf("# instructions that the verifier went through: %u\n", object_verified(lab.object));
    object_close(lab.object);
    return lab.fates[BPF_LAB_DECIDED] > lab.dropped && lab.fates[BPF_LAB_HANDED_OVER] > 0 &&
           lab.fates[BPF_LAB_PASSED] > 0;
}
