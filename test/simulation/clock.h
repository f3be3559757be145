/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Virtual time: events in the order in which they are due, those due at once in the order in which they were
 * entered. Nothing else moves the clock, so that a run is a function of its seed.
 */
#ifndef TEST_SIMULATION_CLOCK_H
#define TEST_SIMULATION_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#define MILLISECOND 1000000ull /* in nanoseconds, like all times */
#define SECOND      1000000000ull
#define NEVER       UINT64_MAX

struct event {
    uint64_t time, order;
    void (*act)(void *context, void *argument);
    void *argument; /* freed after the event if `owned` */
    bool owned;
};

/* A heap: no event is due before its parent. */
struct clock {
    uint64_t now, order;
    uint32_t count, room;
    struct event *events;
};

/* Enters an event, not before now. */
void clock_enter(struct clock *clock, const struct event *event);

/* Lets the next event happen; false: there is none before `end`, and the clock shows that. */
bool clock_step(struct clock *clock, uint64_t end, void *context);

/* Forgets all events. */
void clock_stop(struct clock *clock);

#endif /* TEST_SIMULATION_CLOCK_H */
