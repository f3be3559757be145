/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The source of ICMP errors is an address of the interface with the shortest route of the family, which
 * is the default route where there is one: an address that the network beyond knows. Loopback, our own
 * device and link-local routes lead nowhere and do not count.
 */
#include "control/egress.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "control/log.h"

enum {
    INTERFACES_MAXIMUM = 1024, /* that are looked at; more than this and the rest does not count */
    FAMILIES = 2,
};

struct interface {
    unsigned index;
    bool usable;            /* up, no loopback, not ours */
    int shortest[FAMILIES]; /* length of its shortest route; -1: none */
    bool has_address[FAMILIES];
    uint8_t address[FAMILIES][16];
};

struct survey {
    unsigned own;
    unsigned count;
    struct interface interfaces[INTERFACES_MAXIMUM];
};

static int side(int family)
{
    return family == AF_INET6 ? 0 : 1;
}

static struct interface *find(struct survey *survey, unsigned index)
{
    for (unsigned i = 0; i < survey->count; i++) {
        if (survey->interfaces[i].index == index)
            return &survey->interfaces[i];
    }
    return NULL;
}

static void add_link(void *context, const struct netlink_link *link)
{
    struct survey *survey = context;
    if (survey->count == INTERFACES_MAXIMUM)
        return;
    survey->interfaces[survey->count++] = (struct interface){
        .index = link->index,
        .usable = link->up && !link->loopback && link->index != survey->own,
        .shortest = {-1, -1},
    };
}

static void add_route(void *context, const struct netlink_route *route)
{
    struct survey *survey = context;
    struct interface *interface = find(survey, route->index);
    int family = side(route->to.family);
    if (interface == NULL || !interface->usable || !route->usable || network_is_link_local(&route->to))
        return;
    if (interface->shortest[family] < 0 || route->to.length < interface->shortest[family])
        interface->shortest[family] = route->to.length;
}

static void add_address(void *context, const struct netlink_address *address)
{
    struct survey *survey = context;
    struct interface *interface = find(survey, address->index);
    int family = side(address->network.family);
    if (interface == NULL || !interface->usable || !address->global || !address->usable ||
        interface->has_address[family])
        return;
    interface->has_address[family] = true;
    memcpy(interface->address[family], address->network.address, sizeof(interface->address[family]));
}

/* Of the interfaces with an address, that with the shortest route. */
static const uint8_t *best_address(const struct survey *survey, int family)
{
    const struct interface *best = NULL;
    for (unsigned i = 0; i < survey->count; i++) {
        const struct interface *interface = &survey->interfaces[i];
        if (interface->has_address[family] && interface->shortest[family] >= 0 &&
            (best == NULL || interface->shortest[family] < best->shortest[family]))
            best = interface;
    }
    return best != NULL ? best->address[family] : NULL;
}

static void conclude(const struct survey *survey, struct egress *egress)
{
    const uint8_t *address6 = best_address(survey, side(AF_INET6));
    const uint8_t *address4 = best_address(survey, side(AF_INET));
    if (address6 != NULL)
        memcpy(egress->address6.bytes, address6, sizeof(egress->address6.bytes));
    if (address4 != NULL)
        egress->address4 = load_be32(address4);
}

int egress_find(struct netlink *netlink, unsigned own, struct egress *egress)
{
    static struct survey survey; /* large, and needed once */
    memset(egress, 0, sizeof(*egress));
    survey = (struct survey){.own = own};
    int error = netlink_links(netlink, add_link, &survey);
    if (error == 0)
        error = netlink_routes(netlink, AF_INET6, add_route, &survey);
    if (error == 0)
        error = netlink_routes(netlink, AF_INET, add_route, &survey);
    if (error == 0)
        error = netlink_addresses(netlink, add_address, &survey);
    conclude(&survey, egress);
    return error;
}

void egress_apply(const struct egress *egress, struct config *config)
{
    static const struct ipv6_address none6;
    config->settings.translation.mtu6 = config->plane.mtu6;
    config->settings.translation.mtu4 = config->plane.mtu4;
    for (uint32_t i = 0; i < config->settings.nat64_count; i++) {
        struct nat64_settings *nat64 = &config->settings.nat64[i];
        if (ipv6_equal(&nat64->address6, &none6))
            nat64->address6 = egress->address6;
        if (nat64->address4 == 0)
            nat64->address4 = egress->address4;
    }
    for (uint32_t i = 0; i < config->settings.siit_count; i++) {
        struct siit_settings *siit = &config->settings.siit[i];
        if (ipv6_equal(&siit->address6, &none6))
            siit->address6 = egress->address6;
        if (siit->address4 == 0)
            siit->address4 = egress->address4;
    }
}

struct search {
    const struct config *config;
    bool found;
    uint32_t address;
};

static void compare_address(void *context, const struct netlink_address *address)
{
    struct search *search = context;
    if (address->network.family != AF_INET)
        return;
    uint32_t local = from_be32(load_be32(address->network.address));
    for (uint32_t i = 0; i < search->config->settings.nat64_count; i++) {
        const struct nat64_settings *nat64 = &search->config->settings.nat64[i];
        for (uint32_t j = 0; j < nat64->pool_count; j++) {
            if (nat64->pool[j].interface[0] == 0 &&
                local - from_be32(nat64->pool[j].first) < nat64->pool[j].count) {
                search->found = true;
                search->address = to_be32(local);
            }
        }
    }
}

bool egress_pool_is_local(struct netlink *netlink, const struct config *config, char *error, size_t size)
{
    struct search search = {.config = config};
    char text[INET_ADDRSTRLEN];
    if (netlink_addresses(netlink, compare_address, &search) != 0)
        log_warning("cannot list this machine's addresses; a pool address among them would go unnoticed");
    if (!search.found)
        return false;
    inet_ntop(AF_INET, &search.address, text, sizeof(text));
    snprintf(
        error, size,
        "nat64.pool: %s is this machine's own address; use one that is routed to this machine, or share it "
        "by naming its interface and some ports: {interface: wan0, ports: 40000-59999}",
        text);
    return true;
}
