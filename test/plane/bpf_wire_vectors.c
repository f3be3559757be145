/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The vectors through the kernel's translator on real devices, offload state included: as in bpf_vectors.c,
 * but packets come in at one device and leave by another (test/plane/bpf_wire.h).
 *
 *     bpf_wire_vectors OBJECT WAY DIRECTORY [WORDS]
 *
 * What the kernel does not let in at all goes to the engine, as what it lets pass does.
 */
#include "test/plane/bpf_wire.h"
#include "test/vector_plane.h"

#include <stdio.h>
#include <string.h>

static struct {
    struct plane_counters before; /* the vector */
    unsigned fates[BPF_LAB_UNFIT + 1];
    unsigned partial[BPF_LAB_UNFIT + 1], large[BPF_LAB_UNFIT + 1];
    enum bpf_wire_way way;
} run;

const unsigned vector_plane_words = 2;

const char *vector_plane_open(char **words)
{
    for (unsigned way = 0; way < BPF_WIRE_WAYS; way++)
        if (strcmp(words[1], bpf_wire_names[way]) == 0) {
            run.way = (enum bpf_wire_way)way;
            return bpf_wire_open(words[0], run.way);
        }
    return "there is no such way in";
}

struct table *vector_plane_table(const struct geometry *geometry)
{
    return bpf_lab_table(geometry, 1);
}

struct waiting_places *vector_plane_waiting(void)
{
    return bpf_lab_waiting();
}

bool vector_plane_start(struct engine *engine, const struct paths *paths)
{
    bpf_lab_count(&run.before);
    return bpf_lab_enforce(engine, paths) && bpf_wire_attach();
}

static bool bring_in(struct packet *packet, enum verdict *verdict)
{
    const struct offload offload = packet->offload;
    enum bpf_lab_fate fate = bpf_wire_receive(packet, verdict);
    run.fates[fate]++;
    run.partial[fate] += (offload.flags & OFFLOAD_PARTIAL) != 0;
    run.large[fate] += offload.gso_type != OFFLOAD_GSO_NONE;
    return fate == BPF_LAB_DECIDED;
}

/* Packets in a row that are the engine's go there as one burst. */
void vector_plane_receive(struct engine *engine, struct packet packets[], unsigned n, nanoseconds now,
                          enum verdict verdicts[])
{
    unsigned waiting = 0;
    bpf_lab_set_clock(now);
    for (unsigned i = 0; i < n; i++) {
        if (!bring_in(&packets[i], &verdicts[i])) {
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
    bpf_lab_add_counters(engine, &run.before, counters);
}

/* Super-packets in pieces the kernel does not let in at this device, which the numbers show. */
bool vector_plane_close(void)
{
    static const char *const names[] = {"decided", "handed over", "let pass", "not let in"};
    for (unsigned i = 0; i <= BPF_LAB_UNFIT; i++)
        printf("# by the program: %s %u, of these with a partial checksum %u, super-packets %u\n", names[i],
               run.fates[i], run.partial[i], run.large[i]);
    bool super_packets = run.large[BPF_LAB_DECIDED] > 0 || run.way == BPF_WIRE_PIECES;
    return run.fates[BPF_LAB_DECIDED] > 0 && run.partial[BPF_LAB_DECIDED] > 0 && super_packets &&
           run.partial[BPF_LAB_HANDED_OVER] > 0;
}
