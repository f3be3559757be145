/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The vectors through the kernel's translator: each packet goes into the program by BPF_PROG_TEST_RUN, and to
 * the engine if the program hands it over or lets it pass. So what a vector expects is what comes out,
 * whoever made it, from one table; how many packets the program translated is told at the end.
 *
 *     bpf_vectors OBJECT DIRECTORY [WORDS]
 *
 * All this happens in a network namespace of its own, where everything is routed to a device that nobody
 * listens at. The program's clock is set to that of the vector. Packets with a partial checksum,
 * super-packets and those of more than a page cannot be brought in this way and go to the engine alone.
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

#include "engine/rules.h"
#include "engine/waiting_place.h"
#include "plane/bpf/object.h"
#include "plane/bpf/rules.h"
#include "test/vector_plane.h"

enum {
    LINK_HEADER = 14,
    TEST_RUN_MINIMUM = 40,                /* bytes that the kernel wants of any packet, whatever it is */
    TEST_RUN_MAXIMUM = 3400,              /* and those that it takes on a page */
    SLACK_NANOSECONDS = 20 * 1000 * 1000, /* by which the coarse clock may lag */
};

static struct {
    const char *path;
    struct object *object;
    struct geometry geometry;
    struct plane_settings *settings;
    struct waiting_places *waiting;
    struct rules_surroundings surroundings;
    struct plane_counters before; /* the vector */
    unsigned translated, dropped, handed_over, passed, not_brought_in;
} lab;

const unsigned vector_plane_words = 1;

static bool run(const char *command)
{
    return system(command) == 0; /* NOLINT(cert-env33-c): a lab is set up by the programs of every day */
}

static bool set_forwarding(const char *path)
{
    FILE *file = fopen(path, "w");
    return file != NULL && fputs("1", file) >= 0 && fclose(file) == 0;
}

static const char *make_lab(void)
{
    cpu_set_t first;
    CPU_ZERO(&first);
    CPU_SET(0, &first);
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

const char *vector_plane_open(char **words)
{
    lab.path = words[0];
    return make_lab();
}

/* The kernel's table is kept for all vectors: the verifier takes its time. */
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

struct table *vector_plane_table(const struct geometry *geometry)
{
    const char *problem = lab.object == NULL ? make_object(geometry) : NULL;
    if (problem != NULL) {
        fprintf(stderr, "%s\n", problem);
        exit(1);
    }
    for (unsigned i = 0; i < TABLE_SEGMENTS; i++) {
        struct extent extent = table_extent(geometry, i);
        if (extent.count > 0)
            memset(object_memory(lab.object)[i], 0, extent.element * extent.count);
    }
    struct table *table = table_format(object_memory(lab.object), geometry, 1);
    if (table != NULL && object_constants(lab.object, table) != 0)
        abort();
    return table;
}

struct waiting_places *vector_plane_waiting(void)
{
    memset(lab.waiting, 0, sizeof(*lab.waiting));
    return lab.waiting;
}

static void count_plane(struct plane_counters *counters)
{
    const struct plane_counters *first = object_map_memory(lab.object, "processors"); /* ours */
    if (first == NULL)
        abort();
    *counters = *first;
}

bool vector_plane_start(struct engine *engine, const struct paths *paths)
{
    count_plane(&lab.before);
    lab.surroundings.paths = paths;
    return rules_enforce(lab.object, engine_rules(engine), &lab.surroundings) == 0;
}

static void set_clock(nanoseconds now)
{
    struct timespec clock;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &clock);
    nanoseconds real = (nanoseconds)clock.tv_sec * 1000000000u + (nanoseconds)clock.tv_nsec;
    for (unsigned i = 0; i < SETTINGS_VERSIONS; i++)
        lab.settings[i].clock_ahead = now - real + SLACK_NANOSECONDS;
}

/* Through the program; VERDICT_COUNT: the engine is to deal with it. */
static enum verdict bring_in(struct packet *packet)
{
    static uint8_t in[LINK_HEADER + TEST_RUN_MAXIMUM], out[LINK_HEADER + TEST_RUN_MAXIMUM + 64];
    struct plane_counters before, after;
    LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = in, .data_out = out, .data_size_out = sizeof(out),
                .repeat = 1);
    uint8_t version = packet->length > 0 ? packet_data(packet)[0] >> 4 : 0;
    if (packet->length < TEST_RUN_MINIMUM || packet->length > TEST_RUN_MAXIMUM ||
        (version != 4 && version != 6) || packet->offload.flags != 0 || packet->offload.gso_type != 0 ||
        packet->offset < PACKET_HEADROOM) {
        lab.not_brought_in++;
        return VERDICT_COUNT;
    }
    memset(in, 0, LINK_HEADER);
    store_be16(in + 12, to_be16(version == 4 ? 0x0800 : 0x86dd));
    memcpy(in + LINK_HEADER, packet_data(packet), packet->length);
    options.data_size_in = LINK_HEADER + packet->length;
    count_plane(&before);
    if (bpf_prog_test_run_opts(object_program(lab.object, "translate_ethernet"), &options) != 0) {
        fprintf(stderr, "BPF_PROG_TEST_RUN: %s\n", strerror(errno));
        exit(1);
    }
    count_plane(&after);
    lab.handed_over += after.handed_over > before.handed_over;
    lab.passed += after.passed > before.passed;
    for (unsigned i = 0; i < VERDICT_COUNT; i++) {
        if (after.packets[i] == before.packets[i])
            continue;
        if (verdict_texts[i].class == VERDICT_FORWARDED)
            lab.translated++;
        else
            lab.dropped++;
        packet->length = options.data_size_out - LINK_HEADER;
        memcpy(packet_data(packet), out + LINK_HEADER, packet->length);
        return (enum verdict)i;
    }
    return VERDICT_COUNT;
}

/* Packets in a row that are the engine's go there as one burst. */
void vector_plane_receive(struct engine *engine, struct packet packets[], unsigned n, nanoseconds now,
                          enum verdict verdicts[])
{
    unsigned waiting = 0;
    set_clock(now);
    for (unsigned i = 0; i < n; i++) {
        verdicts[i] = bring_in(&packets[i]);
        if (verdicts[i] == VERDICT_COUNT) {
            waiting++;
            continue;
        }
        if (waiting > 0)
            engine_receive(engine_worker(engine, 0), packets + i - waiting, waiting, now,
                           verdicts + i - waiting);
        waiting = 0;
    }
    if (waiting > 0)
        engine_receive(engine_worker(engine, 0), packets + n - waiting, waiting, now, verdicts + n - waiting);
}

void vector_plane_count(const struct engine *engine, struct engine_counters *counters)
{
    struct plane_counters plane;
    engine_count(engine, counters);
    count_plane(&plane);
    for (unsigned i = 0; i < VERDICT_COUNT; i++) {
        counters->packets[i] += plane.packets[i] - lab.before.packets[i];
        counters->bytes[i] += plane.bytes[i] - lab.before.bytes[i];
    }
    counters->sessions_created += plane.sessions_created - lab.before.sessions_created;
    counters->sessions_ended += plane.sessions_ended - lab.before.sessions_ended;
    counters->bindings_created += plane.bindings_created - lab.before.bindings_created;
    counters->bindings_ended += plane.bindings_ended - lab.before.bindings_ended;
    counters->half_open_evicted += plane.half_open_evicted - lab.before.half_open_evicted;
}

bool vector_plane_close(void)
{
    printf("# by the program: translated %u, dropped %u, handed over %u, let pass %u; not brought in %u\n",
           lab.translated, lab.dropped, lab.handed_over, lab.passed, lab.not_brought_in);
    printf("# instructions that the verifier went through: %u\n", object_verified(lab.object));
    object_close(lab.object);
    return lab.translated > 0 && lab.handed_over > 0 && lab.passed > 0;
}
