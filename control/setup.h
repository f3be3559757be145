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
    unsigned index; /* of the device */
};

/*
 * Sets the device up and makes the machine forward. Each change is recorded, made, and said. A setting that
 * cannot be written is warned of; without a route nothing works, so that is a failure: false with a sentence.
 */
bool setup_machine(const struct setup *setup, char *error, size_t size);

#endif /* CONTROL_SETUP_H */
