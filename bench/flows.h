/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An engine to be measured, and packets for it: session number n is a UDP flow of its own binding, so that
 * n sessions are n bindings, from 4096 subscribers.
 *
 * Packets are put into their buffers before the clock starts, a batch of bursts at a time, so what is timed
 * is engine_receive and nothing else.
 */
#ifndef BENCH_FLOWS_H
#define BENCH_FLOWS_H

#include "engine/engine.h"

enum {
    BATCH = 64 * BURST_MAXIMUM, /* packets prepared at a time */
    BUFFER = 256,
};

/* What the table lies in. */
enum backing {
    BACKING_MEMORY, /* of the process, huge pages where the kernel has them */
    BACKING_FILE,   /* as the daemon has it, all of it reserved; in BENCH_DIRECTORY, a tmpfs */
    BACKING_COUNT,
};
extern const char *const backing_names[BACKING_COUNT];

struct bench {
    struct settings settings;
    struct pool_range range;
    struct table *table;
    struct table_file *file; /* for BACKING_FILE */
    struct engine *engine;
    uint32_t sessions, workers;
    uint8_t *reply; /* of each session: its IPv4 answer, as the server would send it */
    nanoseconds now;
};

/* One who sends, with buffers of its own. */
struct sender {
    struct bench *bench;
    struct worker *worker;
    uint64_t random;
    struct packet packets[BATCH];
    uint8_t buffers[BATCH][BUFFER];
};

/* Ends the program with a sentence on failure. */
void bench_open(struct bench *bench, uint32_t sessions, uint32_t workers, enum backing backing);
void bench_close(struct bench *bench);
void sender_open(struct sender *sender, struct bench *bench, uint32_t worker);

/*
 * Makes sessions `first` to `first` + `count` - 1. Returns the seconds it took, of the clock that does not
 * run while the thread waits for a processor.
 */
double make_sessions(struct sender *sender, uint32_t first, uint32_t count);

/* Sends `packets` packets of random sessions, from clients or from servers. Returns seconds as above. */
double send_established(struct sender *sender, bool from6, uint32_t packets);

/* KiB of the pages that hold most of the table. */
unsigned page_size(const struct bench *bench);

double median(double *values, unsigned n);
void print_figure(const char *value_name, double value, const char *unit, const char *against, double ratio);

/* Whether a table of so many sessions may fill up without driving the machine out of memory. */
bool sessions_fit(uint32_t sessions);

#endif /* BENCH_FLOWS_H */
