/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One walk over the links and one over the routes of each family, of all tables but `local`. Of routes to
 * one prefix that differ in nothing else but their next hops or preference (RTA_PREF) the least MTU counts,
 * so that at worst a packet is smaller than it had to be. Loopback, our own device, links that are down and
 * link-local routes lead nowhere, nor do unreachable, prohibited and blackholed networks: where no route
 * leads no packet will go, so that it does no harm to give those the MTU of the network around them. A metric
 * counts whether it is locked or not, and an encapsulation by the route (lwtunnel) only as far as the metric
 * tells of it.
 */
#include "control/paths.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "wire/ipv6.h"

enum {
    FAMILIES = 2,
    ROUTES_FIRST = 256,       /* room to begin with; doubled when it is full */
    ROUTES_MAXIMUM = 2 << 20, /* of a family; twice the Internet's. With more, all get the least MTU */
    IPV4_MTU_LEAST = 68,      /* RFC 791 */
    MTU_MOST = 65535,         /* as large as a packet can be */
    MTU_UNKNOWN = 1500,       /* there is no route at all */
};

struct link {
    unsigned index;
    uint32_t mtu, ipv6_mtu;
    bool usable; /* up, no loopback, not ours */
};

struct links {
    struct link *items;
    size_t count, room;
};

struct routes {
    struct path_route *items;
    size_t count, room;
    uint32_t least;
    bool too_many;
};

struct survey {
    unsigned own;
    bool failed; /* out of memory */
    struct links links;
    const struct link *narrowest;   /* of the usable ones: taken for one that is not told */
    struct routes routes[FAMILIES]; /* IPv6, IPv4 */
};

/* Room for one more item in a growing array; false if there is no memory. */
static bool make_room(void *array, size_t *room, size_t count, size_t size)
{
    void **items = array;
    if (count < *room)
        return true;
    size_t more = *room == 0 ? ROUTES_FIRST : 2 * *room;
    void *grown = reallocarray(*items, more, size);
    if (grown == NULL)
        return false;
    *items = grown;
    *room = more;
    return true;
}

static void add_link(void *context, const struct netlink_link *link)
{
    struct survey *survey = context;
    struct links *links = &survey->links;
    if (!make_room(&links->items, &links->room, links->count, sizeof(*links->items))) {
        survey->failed = true;
        return;
    }
    links->items[links->count++] =
        (struct link){.index = link->index,
                      .mtu = link->mtu,
                      .ipv6_mtu = link->ipv6_mtu,
                      .usable = link->up && !link->loopback && link->index != survey->own};
}

static int link_order(const void *a, const void *b)
{
    const struct link *one = a, *other = b;
    return one->index == other->index ? 0 : one->index < other->index ? -1 : 1;
}

static const struct link *find_link(const struct survey *survey, unsigned index)
{
    const struct link wanted = {.index = index};
    if (survey->links.count == 0)
        return NULL;
    return bsearch(&wanted, survey->links.items, survey->links.count, sizeof(wanted), link_order);
}

static uint32_t mtu_of(const struct netlink_route *route, const struct link *link)
{
    bool ipv6 = route->to.family == AF_INET6;
    uint32_t least = ipv6 ? (uint32_t)IPV6_MINIMUM_MTU : (uint32_t)IPV4_MTU_LEAST;
    uint32_t mtu = ipv6 && link->ipv6_mtu != 0 && link->ipv6_mtu < link->mtu ? link->ipv6_mtu : link->mtu;
    if (route->mtu != 0 && route->mtu < mtu)
        mtu = route->mtu;
    if (mtu > MTU_MOST)
        return MTU_MOST;
    return mtu < least ? least : mtu;
}

static struct path_address address_of(const struct network *network)
{
    struct ipv6_address address;
    if (network->family == AF_INET)
        return path_address4(load_be32(network->address));
    memcpy(&address, network->address, sizeof(address));
    return path_address6(&address);
}

static bool leads_elsewhere(const struct netlink_route *route, const struct link *link)
{
    return link != NULL && link->usable && route->usable && !network_is_link_local(&route->to);
}

static void add_route(void *context, const struct netlink_route *route)
{
    struct survey *survey = context;
    struct routes *routes = &survey->routes[route->to.family == AF_INET6 ? 0 : 1];
    const struct link *link = route->index != 0 ? find_link(survey, route->index) : survey->narrowest;
    if (!leads_elsewhere(route, link))
        return;
    uint32_t mtu = mtu_of(route, link);
    if (routes->least == 0 || mtu < routes->least)
        routes->least = mtu;
    routes->too_many = routes->too_many || routes->count == ROUTES_MAXIMUM;
    if (routes->too_many)
        return;
    if (!make_room(&routes->items, &routes->room, routes->count, sizeof(*routes->items))) {
        survey->failed = true;
        return;
    }
    routes->items[routes->count++] = (struct path_route){.to = address_of(&route->to),
                                                         .length = route->to.length,
                                                         .mtu = mtu,
                                                         .table = route->table,
                                                         .metric = route->metric};
}

static void find_narrowest(struct survey *survey)
{
    const struct links *links = &survey->links;
    for (size_t i = 0; i < links->count; i++)
        if (links->items[i].usable &&
            (survey->narrowest == NULL || links->items[i].mtu < survey->narrowest->mtu))
            survey->narrowest = &links->items[i];
}

static int look_around(struct netlink *netlink, struct survey *survey)
{
    int error = netlink_links(netlink, add_link, survey);
    if (survey->links.count > 0)
        qsort(survey->links.items, survey->links.count, sizeof(struct link), link_order);
    find_narrowest(survey);
    if (error == 0)
        error = netlink_routes(netlink, AF_INET6, add_route, survey);
    if (error == 0)
        error = netlink_routes(netlink, AF_INET, add_route, survey);
    return error == 0 && survey->failed ? ENOMEM : error;
}

static struct path_routes in_order(struct routes *routes)
{
    struct path_routes all = {.routes = routes->items,
                              .count = routes->too_many ? 0 : (uint32_t)routes->count,
                              .otherwise = routes->least != 0 ? routes->least : MTU_UNKNOWN};
    if (all.count > 0)
        qsort(routes->items, routes->count, sizeof(struct path_route), path_route_order);
    return all;
}

struct paths *paths_read(struct netlink *netlink, unsigned own)
{
    struct survey survey = {.own = own};
    struct paths *paths = NULL;
    int error = look_around(netlink, &survey);
    if (error == 0) {
        struct path_routes ipv6 = in_order(&survey.routes[0]), ipv4 = in_order(&survey.routes[1]);
        paths = paths_create(&ipv6, &ipv4);
        error = ENOMEM; /* if there is none */
    }
    free(survey.links.items);
    free(survey.routes[0].items);
    free(survey.routes[1].items);
    errno = error;
    return paths;
}

static void sum_link(void *context, const struct netlink_link *link)
{
    uint64_t *sum = context;
    const uint32_t words[] = {link->index, link->mtu, link->ipv6_mtu, link->up};
    for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        *sum = (*sum ^ words[i]) * 0x9e3779b97f4a7c15u + 1;
}

uint64_t paths_links_sum(struct netlink *netlink)
{
    uint64_t sum = 1;
    return netlink_links(netlink, sum_link, &sum) == 0 ? sum : 0;
}

static bool table_equal(const struct path_table *a, const struct path_table *b)
{
    if (a->count != b->count)
        return false;
    for (uint32_t i = 0; i < a->count; i++) {
        const struct path_range *one = &a->ranges[i], *other = &b->ranges[i];
        if (one->first.high != other->first.high || one->first.low != other->first.low ||
            one->mtu != other->mtu)
            return false;
    }
    return true;
}

bool paths_equal(const struct paths *a, const struct paths *b)
{
    return table_equal(&a->ipv6, &b->ipv6) && table_equal(&a->ipv4, &b->ipv4);
}
