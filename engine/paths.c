/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Making and searching tables of path MTUs.
 *
 * Routes come sorted by address, the shorter prefix first, so a walk over them meets each prefix before those
 * within it. The prefixes that the walk is inside of are a stack: entering one starts a range with its MTU,
 * leaving it one with the MTU of the prefix around.
 */
#include "engine/paths.h"

#include "engine/memory.h"

enum {
    DEPTH_MAXIMUM = 129 + 1, /* prefixes within each other, by their lengths, and what is around them all */
};

/* A walk under way. */
struct walk {
    struct path_table *table;
    uint32_t capacity; /* ranges that there is memory for */
    bool full;
    unsigned depth;
    struct {
        struct path_address last;
        uint32_t mtu;
    } inside[DEPTH_MAXIMUM];
};

static int address_order(struct path_address a, struct path_address b)
{
    if (a.high != b.high)
        return a.high < b.high ? -1 : 1;
    return a.low == b.low ? 0 : a.low < b.low ? -1 : 1;
}

static int number_order(uint32_t a, uint32_t b)
{
    return a == b ? 0 : a < b ? -1 : 1;
}

static int prefix_order(const struct path_route *a, const struct path_route *b)
{
    int order = address_order(a->to, b->to);
    return order != 0 ? order : number_order(a->length, b->length);
}

int path_route_order(const void *a, const void *b)
{
    const struct path_route *one = a, *other = b;
    int order = prefix_order(one, other);
    if (order == 0)
        order = number_order(one->table, other->table);
    if (order == 0)
        order = number_order(one->metric, other->metric);
    return order != 0 ? order : number_order(one->mtu, other->mtu);
}

/* The last address under a prefix. */
static struct path_address last_address(const struct path_route *route)
{
    struct path_address last = route->to;
    if (route->length < 64) {
        last.high |= ~UINT64_C(0) >> route->length;
        last.low = ~UINT64_C(0);
    } else if (route->length < 128) {
        last.low |= ~UINT64_C(0) >> (route->length - 64);
    }
    return last;
}

static struct path_address after(struct path_address address)
{
    address.low++;
    if (address.low == 0)
        address.high++;
    return address;
}

/* From `first` on the MTU is `mtu`. A range that would begin where the last one did takes its place. */
static void start_range(struct walk *walk, struct path_address first, uint32_t mtu)
{
    struct path_table *table = walk->table;
    if (table->count > 0 && address_order(table->ranges[table->count - 1].first, first) == 0)
        table->count--;
    if (table->count > 0 && table->ranges[table->count - 1].mtu == mtu)
        return;
    walk->full = walk->full || table->count == walk->capacity;
    if (!walk->full)
        table->ranges[table->count++] = (struct path_range){.first = first, .mtu = mtu};
}

static void enter(struct walk *walk, const struct path_route *route, uint32_t mtu)
{
    start_range(walk, route->to, mtu);
    walk->inside[walk->depth].last = last_address(route);
    walk->inside[walk->depth++].mtu = mtu;
}

/* Leaves the innermost prefix; the outermost is never left. */
static void leave(struct walk *walk)
{
    struct path_address next = after(walk->inside[--walk->depth].last);
    if (next.high != 0 || next.low != 0)
        start_range(walk, next, walk->inside[walk->depth - 1].mtu);
}

/* The MTU of the prefix that the routes from *place on are for; moves *place behind them. */
static uint32_t prefix_mtu(const struct path_routes *routes, uint32_t *place)
{
    const struct path_route *first = &routes->routes[*place], *table = first;
    uint32_t mtu = first->mtu;
    for (; *place < routes->count && prefix_order(first, &routes->routes[*place]) == 0; (*place)++) {
        const struct path_route *route = &routes->routes[*place];
        if (route->table != table->table)
            table = route;
        if (route == table && route->mtu < mtu)
            mtu = route->mtu;
    }
    return mtu;
}

static void make_ranges(struct walk *walk, const struct path_routes *routes)
{
    static const struct path_route everywhere;
    uint32_t place = 0;
    enter(walk, &everywhere, routes->otherwise);
    while (place < routes->count) {
        const struct path_route *route = &routes->routes[place];
        uint32_t mtu = prefix_mtu(routes, &place);
        while (walk->depth > 1 && address_order(walk->inside[walk->depth - 1].last, route->to) < 0)
            leave(walk);
        enter(walk, route, mtu);
    }
    while (walk->depth > 1)
        leave(walk);
}

static void find_least(struct walk *walk, const struct path_routes *routes)
{
    struct path_table *table = walk->table;
    table->least = table->ranges[0].mtu;
    for (uint32_t i = 1; i < table->count; i++)
        if (table->ranges[i].mtu < table->least)
            table->least = table->ranges[i].mtu;
    if (!walk->full)
        return;
    for (uint32_t i = 0; i < routes->count; i++)
        if (routes->routes[i].mtu < table->least)
            table->least = routes->routes[i].mtu;
    table->count = 1;
    table->ranges[0].mtu = table->least;
}

/* A prefix starts a range and is followed by one. */
static uint32_t ranges_needed(const struct path_routes *routes)
{
    return routes->count < PATH_RANGES_MAXIMUM / 2 ? 2 * routes->count + 1 : PATH_RANGES_MAXIMUM;
}

static void make_table(struct path_table *table, struct path_range *ranges, const struct path_routes *routes)
{
    struct walk walk = {.table = table, .capacity = ranges_needed(routes)};
    table->ranges = ranges;
    make_ranges(&walk, routes);
    find_least(&walk, routes);
}

struct paths *paths_create(const struct path_routes *ipv6, const struct path_routes *ipv4)
{
    size_t ranges = (size_t)ranges_needed(ipv6) + ranges_needed(ipv4);
    size_t size = sizeof(struct paths) + ranges * sizeof(struct path_range);
    struct paths *paths = memory_map(size);
    if (paths == NULL)
        return NULL;
    struct path_range *first = (struct path_range *)(paths + 1);
    paths->size = size;
    make_table(&paths->ipv6, first, ipv6);
    make_table(&paths->ipv4, first + ranges_needed(ipv6), ipv4);
    return paths;
}

void paths_destroy(struct paths *paths)
{
    if (paths != NULL)
        memory_unmap(paths, paths->size);
}

uint32_t path_search(const struct path_table *table, struct path_address address)
{
    uint32_t low = 0, high = table->count; /* the range is one of low to high - 1 */
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (address_order(table->ranges[middle].first, address) <= 0)
            low = middle;
        else
            high = middle;
    }
    return table->ranges[low].mtu;
}
