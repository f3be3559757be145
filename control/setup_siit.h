/* SPDX-License-Identifier: BSD-2-Clause */
/* Routes to the device for siit; part of setup.c. */
#ifndef CONTROL_SETUP_SIIT_H
#define CONTROL_SETUP_SIIT_H

#include "control/setup.h"

/* What setup.c provides: a route to the device, recorded; false with a sentence. */
bool setup_route(const struct setup *setup, const struct network *to, char *error, size_t size);

/* The same for every network of IPv4 addresses first to first + count - 1, cut into the fewest. */
bool setup_route_span(const struct setup *setup, uint32_t first, uint64_t count, char *error, size_t size);

/* And answering ARP for the addresses of a range where they lie in a subnet of this machine. */
void setup_answer_for(const struct setup *setup, const struct pool_range *ranges, uint32_t count);

/*
 * Routes for the prefixes, and for what the mappings cover on the IPv4 side, in as few networks as it takes;
 * more than there is sense in are left to the administrator, with a warning, and so is a default route.
 */
bool setup_siit_routes(const struct setup *setup, char *error, size_t size);
void setup_siit_proxies(const struct setup *setup);

#endif /* CONTROL_SETUP_SIIT_H */
