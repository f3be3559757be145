/* SPDX-License-Identifier: BSD-2-Clause */
/* The table that BPF programs and user space share: its maps, its programs, and an engine's settings for it.
 */
#ifndef TEST_BPF_SHARED_TABLE_H
#define TEST_BPF_SHARED_TABLE_H

#include <bpf/bpf.h>

#include "engine/engine.h"
#include "plane/bpf/object.h"
#include "test/bpf/operations.h"

enum {
    LIMIT_SUBSCRIBER = 4096, /* sessions */
};

struct shared {
    struct object *object;
    struct geometry geometry;
    struct table *table;
    struct call *calls; /* the maps' */
    uint32_t *now;      /* tick */
    void *data;         /* where these two lie */
    struct settings settings;
    struct pool_range range;
};

/* What is to be loaded, and the table it is to work on. */
struct shared_options {
    const char *object;          /* the file */
    const char *const *programs; /* their names, then NULL; the verifier takes its time for each */
    struct geometry geometry;
    unsigned ports; /* of each address, that may be given out */
};

/* Loads programs over maps, maps those into this program and formats the table. NULL, or why not. */
const char *shared_open(struct shared *shared, const struct shared_options *options);
void shared_close(struct shared *shared);

/* Goes on with the table as every start does: recovers it. */
struct engine *shared_recover(struct shared *shared, struct engine_continued *continued);

int shared_program(const struct shared *shared, const char *name);

/* Runs a program for actor `number`; returns nanoseconds a run, or -1. */
double shared_run(int program, uint32_t number, uint32_t repeat);

/* One operation by the program that user space calls. */
uint32_t shared_call(int program, const struct shared *shared, uint32_t number);

#endif /* TEST_BPF_SHARED_TABLE_H */
