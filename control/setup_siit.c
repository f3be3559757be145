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
    ROUTES_MAXIMUM = 1 << 18, /* for mappings; the kernel takes a second and a hundred megabytes for them */
    /* Addresses of one span of mappings to answer ARP for, as many as a pool may have. */
    PROXIES_MAXIMUM = 4096,
};

/*
 * Cuts a span into networks: the largest that begins at its start, again and again. They go to `to` unless
 * that is NULL; how many there are.
 */
static uint32_t cut_span(struct ipv4_span span, struct network *to)
{
    uint64_t first = span.first, end = (uint64_t)span.last + 1;
    uint32_t count = 0;
    for (; first < end; count++) {
        uint64_t size = first == 0 ? UINT64_C(1) << 32 : first & -first;
        while (size > end - first)
            size /= 2;
        if (to != NULL) {
            to[count] = (struct network){.family = AF_INET, .length = (uint8_t)(32 - __builtin_ctzll(size))};
            store_be32(to[count].address, to_be32((uint32_t)first));
        }
        first += size;
    }
    return count;
}

static bool is_all_of_ipv4(const struct ipv4_span *spans, uint32_t count)
{
    return count == 1 && spans[0].first == 0 && spans[0].last == UINT32_MAX;
}

static uint64_t count_networks(const struct ipv4_span *spans, uint32_t count)
{
    uint64_t networks = 0;
    for (uint32_t i = 0; i < count; i++)
        networks += cut_span(spans[i], NULL);
    return networks;
}

/* Is there sense in routes for these? Otherwise it is said what to do. */
static bool can_be_routed(const struct setup *setup, const struct ipv4_span *spans, uint32_t count)
{
    const char *device = setup->config->plane.name;
    uint64_t networks = count_networks(spans, count);
    if (setup->fingerprint != NULL)
        return !is_all_of_ipv4(spans, count) && networks <= ROUTES_MAXIMUM;
    if (is_all_of_ipv4(spans, count))
        log_warning("the mappings of siit cover all of IPv4, for which no route is made, since it would take "
                    "this machine's own way out: give those networks routes that the IPv6 hosts are to be "
                    "reached under, as in `ip route add 192.0.2.0/24 dev %s`",
                    device);
    else if (networks > ROUTES_MAXIMUM)
        log_warning(
            "the mappings of siit need %llu routes, more than the %d that are made: give the networks "
            "around them routes, as in `ip route add 192.0.2.0/24 dev %s`",
            (unsigned long long)networks, ROUTES_MAXIMUM, device);
    else
        return true;
    return false;
}

static bool route_spans(const struct setup *setup, const struct ipv4_span *spans, uint32_t count, char *error,
                        size_t size)
{
    size_t networks = count_networks(spans, count);
    if (count == 0 || !can_be_routed(setup, spans, count))
        return true;
    struct network *to = calloc(networks + 1, sizeof(*to));
    if (to == NULL) {
        snprintf(error, size, "out of memory; free some and try again");
        return false;
    }
    networks = 0;
    for (uint32_t i = 0; i < count; i++)
        networks += cut_span(spans[i], to + networks);
    bool done = setup_routes(setup, to, networks, "mappings", error, size);
    free(to);
    return done;
}

static bool route_prefixes(const struct setup *setup, char *error, size_t size)
{
    const struct settings *settings = &setup->config->settings;
    for (uint32_t i = 0; i < settings->siit_count; i++) {
        const struct siit_settings *siit = &settings->siit[i];
        struct network to = {.family = AF_INET6, .length = siit->prefix.length};
        memcpy(to.address, siit->prefix.address.bytes, sizeof(to.address));
        if (siit->prefix.length != 0 && !setup_route(setup, &to, error, size))
            return false;
        if (siit->prefix.length != 0 && eam_count(siit->eam) == 0 && setup->fingerprint == NULL)
            log_info("siit %s has no mappings: give the IPv4 networks of its IPv6 hosts routes, as in `ip "
                     "route add 192.0.2.0/24 dev %s`",
                     siit->name, setup->config->plane.name);
    }
    return true;
}

/* Addresses that errors come from, and whether the machine has one of them itself. */
struct error_sources {
    struct ipv4_span span;
    bool local;
};

static void look_for_local(void *context, const struct netlink_address *address)
{
    struct error_sources *sources = context;
    uint32_t own = from_be32(load_be32(address->network.address));
    if (address->network.family == AF_INET && own >= sources->span.first && own <= sources->span.last)
        sources->local = true;
}

/*
 * With a reverse path filter the kernel drops what comes from an address that no route leads to, and what is
 * sent to them ends at the translator instead of going in circles. A route that somebody else has made does
 * as well, and what is the machine's own needs none.
 */
static void route_error_sources(const struct setup *setup)
{
    const struct settings *settings = &setup->config->settings;
    for (uint32_t i = 0; i < settings->siit_count; i++) {
        const struct pool_range *range = &settings->siit[i].icmp_source;
        uint32_t first = from_be32(range->first);
        struct error_sources sources = {.span = {.first = first, .last = first + range->count - 1}};
        struct ipv4_span *span = &sources.span;
        struct network to[2 * 32];
        char error[256];
        if (range->count == 0)
            continue;
        if (range->count == 1 && setup->fingerprint == NULL)
            netlink_addresses(setup->netlink, look_for_local, &sources);
        if (sources.local)
            log_info("siit %s: icmp-source-ipv4 is an address of this machine, so there is no route for it",
                     settings->siit[i].name);
        else if (!setup_routes(setup, to, cut_span(*span, to), "sources of ICMP errors", error,
                               sizeof(error)))
            log_warning("siit %s: icmp-source-ipv4: %s", settings->siit[i].name, error);
    }
}

bool setup_siit_routes(const struct setup *setup, char *error, size_t size)
{
    uint32_t count;
    if (!route_prefixes(setup, error, size))
        return false;
    struct ipv4_span *spans = config_siit_spans(setup->config, &count);
    if (spans == NULL) {
        snprintf(error, size, "out of memory; free some and try again");
        return false;
    }
    bool done = route_spans(setup, spans, count, error, size);
    free(spans);
    if (done)
        route_error_sources(setup);
    return done;
}

bool setup_siit_keeps_routes(const struct config *old, const struct config *new, char *error, size_t size)
{
    uint32_t old_count, new_count;
    struct ipv4_span *before = config_siit_spans(old, &old_count);
    struct ipv4_span *after = config_siit_spans(new, &new_count);
    uint64_t networks = after != NULL ? count_networks(after, new_count) : 0;
    bool had = before != NULL && old_count > 0 && count_networks(before, old_count) <= ROUTES_MAXIMUM;
    free(before);
    free(after);
    if (!had || networks <= ROUTES_MAXIMUM)
        return true;
    snprintf(
        error, size,
        "siit: the mappings need %llu routes now, and isthmus makes %d at most: sum them up, or route the "
        "networks around them yourself and restart with plane.routes: false",
        (unsigned long long)networks, ROUTES_MAXIMUM);
    return false;
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
