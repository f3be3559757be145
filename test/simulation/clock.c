/* SPDX-License-Identifier: BSD-2-Clause */
#include "test/simulation/clock.h"

#include <stdlib.h>

static bool is_before(const struct event *a, const struct event *b)
{
    return a->time != b->time ? a->time < b->time : a->order < b->order;
}

static void swap(struct event *a, struct event *b)
{
    struct event kept = *a;
    *a = *b;
    *b = kept;
}

void clock_enter(struct clock *clock, const struct event *event)
{
    if (clock->count == clock->room) {
        clock->room = clock->room * 2 + 64;
        clock->events = realloc(clock->events, clock->room * sizeof(*clock->events));
        if (clock->events == NULL)
            abort();
    }
    uint32_t at = clock->count++;
    clock->events[at] = *event;
    clock->events[at].order = clock->order++;
    if (clock->events[at].time < clock->now)
        clock->events[at].time = clock->now;
    for (; at > 0 && is_before(&clock->events[at], &clock->events[(at - 1) / 2]); at = (at - 1) / 2)
        swap(&clock->events[at], &clock->events[(at - 1) / 2]);
}

static struct event take_first(struct clock *clock)
{
    struct event first = clock->events[0];
    uint32_t at = 0;
    clock->events[0] = clock->events[--clock->count];
    for (;;) {
        uint32_t least = at;
        for (uint32_t child = 2 * at + 1; child <= 2 * at + 2 && child < clock->count; child++)
            if (is_before(&clock->events[child], &clock->events[least]))
                least = child;
        if (least == at)
            return first;
        swap(&clock->events[at], &clock->events[least]);
        at = least;
    }
}

bool clock_step(struct clock *clock, uint64_t end, void *context)
{
    if (clock->count == 0 || clock->events[0].time > end) {
        clock->now = end;
        return false;
    }
    struct event event = take_first(clock);
    clock->now = event.time;
    event.act(context, event.argument);
    if (event.owned)
        free(event.argument);
    return true;
}

void clock_stop(struct clock *clock)
{
    for (uint32_t i = 0; i < clock->count; i++)
        if (clock->events[i].owned)
            free(clock->events[i].argument);
    free(clock->events);
    *clock = (struct clock){0};
}
