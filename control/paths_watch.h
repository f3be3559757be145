/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Keeps the engine's path MTUs as the kernel's routes are, while the daemon runs. Reading routes needs no
 * rights.
 *
 * Every change of a route or link only says that all are to be read again, a little later: a change seldom
 * comes alone. Until then nothing is listened to, and the next reading is the further off the longer the last
 * one took; so a flood of changes costs one reading now and then, and messages that were lost in it cost
 * nothing.
 */
#ifndef CONTROL_PATHS_WATCH_H
#define CONTROL_PATHS_WATCH_H

#include <uv.h>

#include "control/netlink.h"
#include "engine/engine.h"

struct paths_watch {
    unsigned own;           /* the device whose routes do not count */
    struct netlink *events; /* says that something has changed */
    struct paths *current;
    struct paths *retired; /* replaced, perhaps still in use by a worker */
    struct engine *engine;
    void (*replaced)(void *context); /* called when there are others; may be NULL */
    void *context;
    uint64_t cost;  /* nanoseconds of processor time that the last reading took */
    uint64_t links; /* paths_links_sum of that time */
    uv_poll_t poll;
    uv_timer_t timer;
    uv_timer_t look; /* for changes of devices that nothing is heard of */
};

/* Reads the routes for the first time, into watch->current. Returns 0 or an errno. */
int paths_watch_open(struct paths_watch *watch, unsigned own);

/* Follows changes. Returns 0 or an error of libuv. */
int paths_watch_start(struct paths_watch *watch, uv_loop_t *loop, struct engine *engine);

/* Frees what was replaced, once no worker uses it; called by a timer. */
void paths_watch_tidy(struct paths_watch *watch);

/* When the engine is gone; the loop has closed its handles before. */
void paths_watch_close(struct paths_watch *watch);

/* The least MTU on either side, as far as the configuration does not overrule it. */
uint32_t paths_watch_least6(const struct paths_watch *watch, uint32_t configured);
uint32_t paths_watch_least4(const struct paths_watch *watch, uint32_t configured);

#endif /* CONTROL_PATHS_WATCH_H */
