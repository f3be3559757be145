/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The path MTUs that the kernel's routes give: of each destination that of its route. That is the route's own
 * metric, and never more than its device carries, which for IPv6 may be what a router advertised. What lies
 * beyond the first hop is found out by path MTU discovery between the ends, whose ICMP errors are translated.
 */
#ifndef CONTROL_PATHS_H
#define CONTROL_PATHS_H

#include "control/netlink.h"
#include "engine/paths.h"

/* Reads all routes; those over the device `own` do not count. NULL and errno on failure. */
struct paths *paths_read(struct netlink *netlink, unsigned own);

bool paths_equal(const struct paths *a, const struct paths *b);

#endif /* CONTROL_PATHS_H */
