/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The path MTUs that the kernel's routes give: of each destination that of its route. That is the route's own
 * metric, and never more than its device carries, which for IPv6 may be what a router advertised. What lies
 * beyond the first hop is found out by path MTU discovery between the ends, whose ICMP errors are translated.
 *
 * Which of several routing tables a packet will be routed by, rules and VRFs decide, and they are not looked
 * at: of all tables together the longest route to a destination counts, and of several as long the one with
 * the least MTU. Where rules send packets another way than that, plane.mtu says what is right.
 */
#ifndef CONTROL_PATHS_H
#define CONTROL_PATHS_H

#include "control/netlink.h"
#include "engine/paths.h"

/* Reads all routes; those over the device `own` do not count. NULL and errno on failure. */
struct paths *paths_read(struct netlink *netlink, unsigned own);

/*
 * Sums up what of the devices matters to paths: another sum, and they have changed. Of some changes, such as
 * that of the MTU for IPv6 alone, the kernel sends no word. 0 on failure.
 */
uint64_t paths_links_sum(struct netlink *netlink);

bool paths_equal(const struct paths *a, const struct paths *b);

#endif /* CONTROL_PATHS_H */
