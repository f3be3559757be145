/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The IPv6 side of a mapping is a host that has its routes already; only the IPv4 side leads to the device.
 * Mappings that adjoin share a route.
 */
#include "control/setup_siit.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/config_eam.h"
#include "control/log.h"

enum {
    ROUTES_MAXIMUM = 4096, /* for mappings; more are better summed up by hand */
    PROXIES_MAXIMUM =
        4096, /* addresses of one span of mappings to answer ARP for, as many as a pool may have */
};

/* Networks that a span falls into: the largest that begins at its start, again and again. */
static uint32_t count_networks(struct ipv4_span span)
{
    uint64_t first = span.first, end = (uint64_t)span.last + 1;
    uint32_t count = 0;
    for (; first < end; count++) {
        uint64_t size = first == 0 ? UINT64_C(1) << 32 : first & -first;
        while (size > end - first)
            size /= 2;
        first += size;
    }
    return count;
}

static bool route_spans(const struct setup *setup, const struct ipv4_span *spans, uint32_t count, char *error,
                        size_t size)
{
    uint64_t networks = 0;
    for (uint32_t i = 0; i < count; i++)
        networks += count_networks(spans[i]);
    if (networks > ROUTES_MAXIMUM) {
        log_warning(
            "the mappings of siit need %llu routes, of which none are made: route the networks around "
            "them to %s yourself",
            (unsigned long long)networks, setup->config->plane.name);
        return true;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint64_t addresses = (uint64_t)spans[i].last - spans[i].first + 1;
        if (addresses == UINT64_C(1) << 32)
            log_warning("the mappings of siit cover all of IPv4, for which no route is made: route what is "
                        "behind the translator to %s yourself",
                        setup->config->plane.name);
        else if (!setup_route_span(setup, spans[i].first, addresses, error, size))
            return false;
    }
    return true;
}

struct own_search {
    uint32_t address;
    bool found;
};

static void compare_own(void *context, const struct netlink_address *address)
{
    struct own_search *search = context;
    if (address->network.family == AF_INET &&
        from_be32(load_be32(address->network.address)) == search->address)
        search->found = true;
}

/*
 * The addresses that stand for hops without IPv4 (RFC 6791). Errors from there enter the kernel by the
 * device, and a reverse path filter asks for a route back; and what is sent to them ends here instead of
 * going in circles.
 */
static bool route_sources(const struct setup *setup, const struct siit_settings *siit, char *error,
                          size_t size)
{
    struct own_search own = {.address = from_be32(siit->icmp_source.first)};
    if (siit->icmp_source.count == 1)
        netlink_addresses(setup->netlink, compare_own, &own);
    return own.found ||
           setup_route_span(setup, from_be32(siit->icmp_source.first), siit->icmp_source.count, error, size);
}

bool setup_siit_routes(const struct setup *setup, char *error, size_t size)
{
    const struct settings *settings = &setup->config->settings;
    for (uint32_t i = 0; i < settings->siit_count; i++) {
        const struct rfc6052_prefix *prefix = &settings->siit[i].prefix;
        struct network to = {.family = AF_INET6, .length = prefix->length};
        memcpy(to.address, prefix->address.bytes, sizeof(to.address));
        if (prefix->length != 0 && !setup_route(setup, &to, error, size))
            return false;
    }
    for (uint32_t i = 0; i < settings->siit_count; i++)
        if (!route_sources(setup, &settings->siit[i], error, size))
            return false;
    uint32_t count;
    struct ipv4_span *spans = config_siit_spans(setup->config, &count);
    if (spans == NULL) {
        snprintf(error, size, "out of memory; free some and try again");
        return false;
    }
    bool done = route_spans(setup, spans, count, error, size);
    free(spans);
    return done;
}

struct spans {
    const struct ipv4_span *at;
    uint32_t count;
};

/* The kernel keeps packets for its own addresses, whatever the routes say. */
static void warn_if_mapped(void *context, const struct netlink_address *address)
{
    const struct spans *spans = context;
    uint32_t own = from_be32(load_be32(address->network.address));
    if (address->network.family != AF_INET)
        return;
    for (uint32_t i = 0; i < spans->count; i++)
        if (own >= spans->at[i].first && own <= spans->at[i].last &&
            spans->at[i].last - spans->at[i].first < PROXIES_MAXIMUM)
            log_warning("%u.%u.%u.%u, which siit maps, is this machine's own address: packets for it do not "
                        "reach the translator",
                        own >> 24, own >> 16 & 255, own >> 8 & 255, own & 255);
}

void setup_siit_proxies(const struct setup *setup)
{
    uint32_t count, ranges = 0;
    struct ipv4_span *spans = config_siit_spans(setup->config, &count);
    struct spans all = {.at = spans, .count = count};
    netlink_addresses(setup->netlink, warn_if_mapped, &all);
    struct pool_range *range = spans != NULL ? calloc((size_t)count + 1, sizeof(*range)) : NULL;
    for (uint32_t i = 0; range != NULL && i < count; i++)
        if (spans[i].last - spans[i].first < PROXIES_MAXIMUM)
            range[ranges++] = (struct pool_range){.first = to_be32(spans[i].first),
                                                  .count = spans[i].last - spans[i].first + 1};
    if (range == NULL)
        log_warning("out of memory, so no proxy ARP for the mappings of siit");
    else
        setup_answer_for(setup, range, ranges);
    free(range);
    free(spans);
}
