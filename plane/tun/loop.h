/* SPDX-License-Identifier: BSD-2-Clause */
/* One queue of the device, and the thread that carries its packets to the engine and back. */
#ifndef PLANE_TUN_LOOP_H
#define PLANE_TUN_LOOP_H

#include <pthread.h>
#include <stdatomic.h>

#include "engine/engine.h"

/* Written by the thread alone, read by anyone; see struct tun_counters. */
struct loop_counters {
    _Atomic uint64_t reads, writes, write_errors, bursts;
};

/* Aligned so that the counters of two threads share no cache line. */
struct loop {
    _Alignas(128) int queue;     /* of the device; non-blocking */
    int stop;                    /* an eventfd, shared by all queues: readable once they shall end */
    const atomic_bool *stopping; /* the same for a thread that never waits */
    struct worker *worker;       /* of the engine */
    uint8_t *memory;             /* the packet buffers; the loop's own */
    pthread_t thread;
    struct loop_counters counters; /* grow over all starts */
};

/*
 * Starts the thread; `queue`, `stop`, `stopping` and `worker` are set. Returns false if memory or threads
 * are short.
 */
bool loop_start(struct loop *loop);

/* Waits until the thread has ended, after `stop` and `stopping` said so, and frees its memory. */
void loop_join(struct loop *loop);

#endif /* PLANE_TUN_LOOP_H */
