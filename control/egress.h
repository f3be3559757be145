/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the machine's routes and addresses say about where ICMP errors come from, looked at once at start.
 */
#ifndef CONTROL_EGRESS_H
#define CONTROL_EGRESS_H

#include "control/config.h"
#include "control/netlink.h"

struct egress {
    struct ipv6_address address6; /* global addresses of interfaces with such routes; zero: none */
    be32 address4;
};

/* Fills *egress; routes over the device `own` do not count. Returns 0 or an errno. */
int egress_find(struct netlink *netlink, unsigned own, struct egress *egress);

/* Puts the findings where the configuration leaves the sources of ICMP errors open, and what it says of MTUs
 * where the engine looks for it. */
void egress_apply(const struct egress *egress, struct config *config);

/* True, with a sentence, if an address that a pool names is one of this machine's own. */
bool egress_pool_is_local(struct netlink *netlink, const struct config *config, char *error, size_t size);

#endif /* CONTROL_EGRESS_H */
