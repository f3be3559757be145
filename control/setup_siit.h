/* SPDX-License-Identifier: BSD-2-Clause */
/* Routes to the device, and those for siit; part of setup.c. */
#ifndef CONTROL_SETUP_SIIT_H
#define CONTROL_SETUP_SIIT_H

#include "control/setup.h"

/* A route to the device, recorded; false with a sentence. */
bool setup_route(const struct setup *setup, const struct network *to, char *error, size_t size);

/*
 * Routes to many networks of one family at once, recorded; those that there are over the device are left.
 * False with a sentence, when not all of them could be made. What they lead to, such as "mappings", is said.
 */
bool setup_routes(const struct setup *setup, const struct network *to, size_t count, const char *what,
                  char *error, size_t size);

/* A route for every network of IPv4 addresses first to first + count - 1, cut into the fewest. */
bool setup_route_span(const struct setup *setup, uint32_t first, uint64_t count, char *error, size_t size);

/* And answering ARP for the addresses of a range where they lie in a subnet of this machine. */
void setup_answer_for(const struct setup *setup, const struct pool_range *ranges, uint32_t count);

/*
 * Routes for the prefixes, for the addresses of errors, and for what the mappings cover on the IPv4 side, in
 * as few networks as it takes. What there can be no route for is left to the administrator, with a warning.
 */
bool setup_siit_routes(const struct setup *setup, char *error, size_t size);
void setup_siit_proxies(const struct setup *setup);

/*
 * False with a sentence if the old configuration has routes for its mappings and the new one would have more
 * than there is sense in: a reload must not take them all away.
 */
bool setup_siit_keeps_routes(const struct config *old, const struct config *new, char *error, size_t size);

#endif /* CONTROL_SETUP_SIIT_H */
