/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Order: the device's settings, the device up, forwarding, routes, and last what draws traffic from
 * others: proxy ARP. Undone in reverse, the machine stops drawing traffic first.
 *
 * Routes: every prefix, and every pool range cut into the fewest networks (setup_siit.c does it for siit). A
 * packet for a pool address that the upstream router sends here follows them into the device. If the pool
 * address lies in the subnet of one of our interfaces the router does not send, it asks by ARP who has it:
 * then a proxy neighbour entry on that interface answers.
 */
#include "control/setup.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "control/log.h"
#include "control/setup_settings.h"
#include "control/setup_siit.h"

/* Has an earlier range of any instance the same address? Ranges that differ in ports share addresses. */
static bool routed_before(const struct config *config, const struct pool_range *until, uint32_t address)
{
    for (uint32_t i = 0; i < config->settings.nat64_count; i++) {
        const struct nat64_settings *nat64 = &config->settings.nat64[i];
        for (uint32_t j = 0; j < nat64->pool_count; j++) {
            if (&nat64->pool[j] == until)
                return false;
            if (nat64->pool[j].interface[0] == 0 &&
                address - from_be32(nat64->pool[j].first) < nat64->pool[j].count)
                return true;
        }
    }
    return false;
}

/* The largest network that starts at `first` and has no more than `count` addresses. */
static unsigned network_bits(uint32_t first, uint64_t count)
{
    unsigned bits = 0;
    while (bits < 32 && (first & ((UINT64_C(2) << bits) - 1)) == 0 && (UINT64_C(2) << bits) <= count)
        bits++;
    return bits;
}

bool setup_route_span(const struct setup *setup, uint32_t first, uint64_t count, char *error, size_t size)
{
    while (count > 0) {
        unsigned bits = network_bits(first, count);
        struct network to = {.family = AF_INET, .length = (uint8_t)(32 - bits)};
        store_be32(to.address, to_be32(first));
        if (!setup_route(setup, &to, error, size))
            return false;
        first += (uint32_t)(UINT64_C(1) << bits);
        count -= UINT64_C(1) << bits;
    }
    return true;
}

/* Routes of a range, less what earlier ranges have routed. What is the machine's own comes to it anyway. */
static bool route_range(const struct setup *setup, const struct pool_range *range, char *error, size_t size)
{
    uint32_t first = from_be32(range->first);
    uint32_t start = 0;
    if (range->interface[0] != 0)
        return true;
    for (uint32_t i = 0; i <= range->count; i++) {
        if (i < range->count && !routed_before(setup->config, range, first + i))
            continue;
        if (!setup_route_span(setup, first + start, i - start, error, size))
            return false;
        start = i + 1;
    }
    return true;
}

bool setup_all_routes(const struct setup *setup, char *error, size_t size)
{
    const struct settings *settings = &setup->config->settings;
    for (uint32_t i = 0; i < settings->nat64_count; i++) {
        const struct nat64_settings *nat64 = &settings->nat64[i];
        struct network to = {.family = AF_INET6, .length = nat64->prefix.length};
        memcpy(to.address, nat64->prefix.address.bytes, sizeof(to.address));
        if (!setup_route(setup, &to, error, size))
            return false;
        for (uint32_t j = 0; j < nat64->pool_count; j++) {
            if (!route_range(setup, &nat64->pool[j], error, size))
                return false;
        }
    }
    return setup_siit_routes(setup, error, size);
}

/* Returns 0 or an errno; an entry that exists already is neither changed nor recorded. */
static int add_proxy(const struct setup *setup, uint32_t address, unsigned index, const char *interface)
{
    struct change change = {.kind = CHANGE_PROXY};
    be32 field = to_be32(address);
    inet_ntop(AF_INET, &field, change.subject, sizeof(change.subject));
    snprintf(change.before, sizeof(change.before), "%s", interface);
    if (!changes_append(setup->changes, &change))
        return errno;
    int error = netlink_proxy_add(setup->netlink, field, index);
    if (error != 0)
        changes_retract(setup->changes);
    return error == EEXIST ? 0 : error;
}

/* The walk over addresses and the requests it leads to cannot share a socket: collected first. */
enum {
    SUBNETS_MAXIMUM = 256,
};

struct subnet {
    uint32_t first, size;
    unsigned index;
};

struct subnets {
    unsigned own, count;
    struct subnet at[SUBNETS_MAXIMUM];
};

static void collect_subnet(void *context, const struct netlink_address *address)
{
    struct subnets *subnets = context;
    const struct network *network = &address->network;
    if (network->family != AF_INET || network->length < 1 || network->length > 30 ||
        address->index == subnets->own || network->address[0] == 127 || subnets->count == SUBNETS_MAXIMUM)
        return;
    uint32_t subnet_size = UINT32_C(1) << (32 - network->length);
    subnets->at[subnets->count].first = from_be32(load_be32(network->address)) & ~(subnet_size - 1);
    subnets->at[subnets->count].size = subnet_size;
    subnets->at[subnets->count++].index = address->index;
}

static void say_answering(const struct pool_range *range, uint32_t count, const char *interface)
{
    char text[INET_ADDRSTRLEN];
    inet_ntop(AF_INET, &range->first, text, sizeof(text));
    log_info("answering ARP on %s for %u pool address%s from %s on", interface, count, count == 1 ? "" : "es",
             text);
}

/* The addresses of the range that lie in the subnet. */
static void answer_for_range(const struct setup *setup, const struct subnet *subnet,
                             const struct pool_range *range)
{
    char interface[IFNAMSIZ];
    uint32_t count = 0;
    int error = 0;
    if (range->interface[0] != 0 || if_indextoname(subnet->index, interface) == NULL)
        return;
    for (uint32_t i = 0; i < range->count && error == 0; i++) {
        uint32_t address = from_be32(range->first) + i;
        if (address - subnet->first >= subnet->size || routed_before(setup->config, range, address))
            continue;
        if (count++ == 0)
            setup_answer_at_once(setup, interface);
        error = add_proxy(setup, address, subnet->index, interface);
    }
    if (error == 0 && count > 0 && !changes_sync(setup->changes))
        error = errno;
    if (error != 0)
        log_warning("cannot answer ARP for pool addresses on %s: %s", interface, strerror(error));
    else if (count > 0)
        say_answering(range, count, interface);
}

void setup_answer_for(const struct setup *setup, const struct pool_range *ranges, uint32_t count)
{
    struct subnets subnets = {.own = setup->index};
    int error = netlink_addresses(setup->netlink, collect_subnet, &subnets);
    if (error != 0)
        log_warning("cannot list this machine's subnets, so no proxy ARP: %s", strerror(error));
    for (uint32_t i = 0; i < count; i++) {
        for (unsigned k = 0; k < subnets.count; k++)
            answer_for_range(setup, &subnets.at[k], &ranges[i]);
    }
}

void setup_all_proxies(const struct setup *setup)
{
    const struct settings *settings = &setup->config->settings;
    for (uint32_t i = 0; i < settings->nat64_count; i++)
        setup_answer_for(setup, settings->nat64[i].pool, settings->nat64[i].pool_count);
    if (settings->siit_count > 0)
        setup_siit_proxies(setup);
}

/*
 * An IPv4 address for the device itself, the dummy address of RFC 7600. Without any, the kernel drops packets
 * that enter by the device from an address it holds for local, accept_local or not, as soon as a reverse path
 * filter is on; and the ICMP errors of isthmus may come from such an address.
 */
static void add_own_address(const struct setup *setup)
{
    static const struct network dummy = {.family = AF_INET, .address = {192, 0, 0, 8}, .length = 32};
    int problem = netlink_address_add(setup->netlink, &dummy, setup->index);
    if (problem != 0)
        log_warning(
            "cannot give %s the address 192.0.0.8: %s; ICMP errors from this machine's own addresses may "
            "be lost",
            setup->config->plane.name, strerror(problem));
}

bool setup_machine(const struct setup *setup, char *error, size_t size)
{
    if (!setup_have_ipv6()) {
        snprintf(error, size,
                 "this kernel has no IPv6; boot it without ipv6.disable=1, or load the module ipv6");
        return false;
    }
    setup_device_settings(setup);
    add_own_address(setup);
    int problem = netlink_link_up(setup->netlink, setup->index);
    if (problem != 0) {
        snprintf(error, size, "cannot bring %s up: %s", setup->config->plane.name, strerror(problem));
        return false;
    }
    setup_forwarding(setup);
    setup_reserve_ports(setup);
    if (!setup->config->plane.routes)
        return true;
    if (!setup_all_routes(setup, error, size))
        return false;
    setup_all_proxies(setup);
    return true;
}
