/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Routes and proxy ARP entries that follow a reload. The keeper does this, for the daemon has no rights; and
 * by its own reading of the configuration file, so whoever takes the daemon over gets no routes but those
 * that the file asks for.
 *
 *     setup_change_prepare   makes what the new configuration wants in addition
 *     (the engine changes)
 *     setup_change_settle    undoes what it wants no more; or else what was made
 *
 * The saved list of changes is right at any instant: what is made was put on it before, and what was undone
 * is taken off it after.
 */
#ifndef CONTROL_SETUP_CHANGE_H
#define CONTROL_SETUP_CHANGE_H

#include "control/setup.h"

/* A change under way, or all zero. */
struct setup_change {
    struct config *config;
    struct changes *changes;
    struct netlink *netlink;
};

struct setup_change_options {
    int directory;        /* of the list of changes */
    const char *path;     /* of the configuration file */
    const char *device;   /* its name, which a reload does not change */
    uint64_t fingerprint; /* setup_fingerprint of what is meant: the file may have changed since */
};

/* Tells what one configuration wants of routes, proxy entries and ports from what another wants. */
uint64_t setup_fingerprint(const struct config *config);

/* False with a sentence, and nothing is changed. A change that was not settled is taken back first. */
bool setup_change_prepare(struct setup_change *change, const struct setup_change_options *options,
                          char *error, size_t size);
void setup_change_settle(struct setup_change *change, bool done);

#endif /* CONTROL_SETUP_CHANGE_H */
