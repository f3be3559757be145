/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The vectors through the kernel's translator: each packet goes into the program by BPF_PROG_TEST_RUN, and to
 * the engine if the program hands it over or lets it pass. So what a vector expects is what comes out,
 * whoever made it, from one table; how many packets the program translated is told at the end.
 *
 *     bpf_vectors OBJECT DIRECTORY [WORDS]
 *
 * Packets with a partial checksum, super-packets and those of more than a page cannot be brought in this way
 * and go to the engine alone.
 */
#include "test/plane/bpf_lab.h"
#include "test/vector_plane.h"

static struct plane_counters before; /* the vector */

const unsigned vector_plane_words = 1;

const char *vector_plane_open(char **words)
{
    return bpf_lab_open(words[0]);
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
    bpf_lab_count(&before);
    return bpf_lab_enforce(engine, paths);
}

/* Packets in a row that are the engine's go there as one burst. */
void vector_plane_receive(struct engine *engine, struct packet packets[], unsigned n, nanoseconds now,
                          enum verdict verdicts[])
{
    unsigned waiting = 0;
    bpf_lab_set_clock(now);
    for (unsigned i = 0; i < n; i++) {
        if (bpf_lab_receive(&packets[i], &verdicts[i]) != BPF_LAB_DECIDED) {
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
    bpf_lab_add_counters(engine, &before, counters);
}

bool vector_plane_close(void)
{
    return bpf_lab_close();
}
