/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Keeps pools that name an interface as its address is, while the daemon runs: another address is a change of
 * settings, by which the sessions of the old one end. Reading addresses needs no rights.
 */
#ifndef CONTROL_OWN_WATCH_H
#define CONTROL_OWN_WATCH_H

#include <uv.h>

#include "control/own_address.h"

struct daemon;

struct own_watch {
    struct netlink *events;   /* says that something has changed */
    struct own_pools retired; /* replaced, perhaps still in use by a worker */
    uv_poll_t poll;
    uv_timer_t timer;
};

/* At the start, before anything is changed: may the addresses be shared, and are their ports free? */
bool own_watch_begin(struct daemon *daemon, char *error, size_t size);

/* The same for a configuration that is to follow the one in force. */
bool own_watch_reload(struct daemon *daemon, struct config *config, char *error, size_t size);

/* Follows changes from now on. Returns 0 or an error of libuv. */
int own_watch_start(struct daemon *daemon);

/* Frees what was replaced, once no worker uses it; called by a timer. */
void own_watch_tidy(struct daemon *daemon);

/* When the engine is gone; the loop has closed its handles before. */
void own_watch_close(struct own_watch *watch);

#endif /* CONTROL_OWN_WATCH_H */
