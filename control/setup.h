/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Making the machine forward packets to the device and back: settings, routes, proxy ARP.
 */
#ifndef CONTROL_SETUP_H
#define CONTROL_SETUP_H

#include "control/changes.h"
#include "control/config.h"
#include "control/netlink.h"

struct setup {
    struct netlink *netlink;
    struct changes *changes;
    const struct config *config;
    unsigned index;        /* of the device */
    uint64_t *fingerprint; /* not NULL: nothing is made, the routes are only summed up into it */
};

/*
 * Sets the device up and makes the machine forward. Each change is recorded, made, and said. A setting that
 * cannot be written is warned of; without a route nothing works, so that is a failure: false with a sentence.
 */
bool setup_machine(const struct setup *setup, char *error, size_t size);

/* Its last steps, also for a reload: routes to the device, and what draws traffic from others. */
bool setup_all_routes(const struct setup *setup, char *error, size_t size);
void setup_all_proxies(const struct setup *setup);

/* Keeps programs off the ports of the machine's own addresses, see control/own_ports.h; warns if it cannot.
 */
void setup_reserve_ports(const struct setup *setup);

#endif /* CONTROL_SETUP_H */
