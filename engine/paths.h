/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Path MTUs by destination: what the routes of this machine carry, as the control plane has read them.
 *
 * Routes nest; a table of them is made once into ranges that do not, each with another MTU than the one
 * before it, so that a look-up is one binary search, and where all routes have the same MTU none at all.
 * Nothing in a table changes while it is used; another takes its place (engine_replace_paths).
 *
 *     routes      ::/0 1500       2001:db8::/32 9000      2001:db8:1::/48 9000      2001:db8:2::/48 1400
 *     ranges      :: 1500 | 2001:db8:: 9000 | 2001:db8:2:: 1400 | 2001:db8:3:: 9000 | 2001:db9:: 1500
 *
 * Addresses are numbers of 128 bits; those of IPv4 stand in the upper 32.
 */
#ifndef ENGINE_PATHS_H
#define ENGINE_PATHS_H

#include "engine/settings.h"
#include "wire/bytes.h"

struct path_address {
    uint64_t high, low;
};

/* From `first` to where the next range begins. */
struct path_range {
    struct path_address first;
    uint32_t mtu;
};

struct path_table {
    uint32_t least; /* MTU of any destination */
    uint32_t count; /* at least 1; the first range begins at address zero */
    struct path_range *ranges;
};

struct paths {
    struct path_table ipv6, ipv4;
    size_t size; /* of the memory that all this is in */
};

/* A next hop of a route. */
struct path_route {
    struct path_address to; /* no bits beyond `length` */
    uint8_t length;
    uint32_t mtu;
    uint32_t table;  /* routing table; which one a packet uses is not known here */
    uint32_t metric; /* of routes to one prefix in one table the lowest counts */
};

/* The routes of a family, in the order of path_route_order. */
struct path_routes {
    const struct path_route *routes;
    uint32_t count;
    uint32_t otherwise; /* MTU where no route leads */
};

enum {
    PATH_RANGES_MAXIMUM = 1 << 16, /* of a family; with more, all paths get the least MTU */
    PATH_MTU_UNKNOWN = 1500,       /* of all paths of a side where settings and table leave it open */
};

/* Less than, equal to or greater than zero, as for qsort; pointers to struct path_route. */
int path_route_order(const void *a, const void *b);

/*
 * Makes a table. Of several routes to one prefix the one with the lowest metric counts, of several next hops
 * of it, and of several tables, the one with the least MTU. NULL: memory is short.
 */
struct paths *paths_create(const struct path_routes *ipv6, const struct path_routes *ipv4);
void paths_destroy(struct paths *paths); /* or NULL */

/* The MTU on the way to `address`; the table has several ranges. */
uint32_t path_search(const struct path_table *table, struct path_address address);

WIRE_INLINE uint32_t path_table_mtu(const struct path_table *table, struct path_address address)
{
    return table->count == 1 ? table->least : path_search(table, address);
}

WIRE_INLINE struct path_address path_address6(const struct ipv6_address *address)
{
    const uint8_t *at = address->bytes;
    return (struct path_address){
        .high = (uint64_t)from_be32(load_be32(at)) << 32 | from_be32(load_be32(at + 4)),
        .low = (uint64_t)from_be32(load_be32(at + 8)) << 32 | from_be32(load_be32(at + 12))};
}

WIRE_INLINE struct path_address path_address4(be32 address)
{
    return (struct path_address){.high = (uint64_t)from_be32(address) << 32};
}

/*
 * The MTU on the way to a destination of either side, by the settings that a worker has put together (see
 * worker_enter). Whoever only asks whether a packet fits compares with settings->mtu6 or mtu4 first: nothing
 * has less.
 */
WIRE_INLINE uint32_t path_mtu6(const struct translation_settings *settings,
                               const struct ipv6_address *destination)
{
    return settings->paths6 == NULL ? settings->mtu6
                                    : path_table_mtu(settings->paths6, path_address6(destination));
}

WIRE_INLINE uint32_t path_mtu4(const struct translation_settings *settings, be32 destination)
{
    return settings->paths4 == NULL ? settings->mtu4
                                    : path_table_mtu(settings->paths4, path_address4(destination));
}

#endif /* ENGINE_PATHS_H */
