/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Prefixes that hosts are told of, or get addresses under, and nothing here translates: another machine may.
 * A name service that serves more, or fewer, than its owner may think. And lifetimes below what the RFCs
 * forbid to go below. Some are refused as errors (the schema's ranges); those of TCP are not, because
 * laboratories want to see sessions end and busy networks to be rid of the dead, but whoever takes that on
 * should know.
 */
#include "control/config_warn.h"

#include <stddef.h>
#include <stdio.h>

#include "control/log.h"

/* A lifetime and the least it should be; 0 stands for that of another key. */
struct floor {
    const char *key;
    size_t offset;
    uint32_t least;
    const char *least_text, *clause, *price;
};

static const struct floor floors[] = {
    {"tcp-established", offsetof(struct nat64_timeouts, tcp_established), TCP_ESTABLISHED_SECONDS, "2h4m",
     "RFC 6146 section 3.5.2.2 and RFC 5382 REQ-5 forbid", "connections that are idle for longer break"},
    {"tcp-transitory", offsetof(struct nat64_timeouts, tcp_transitory), TCP_TRANSITORY_SECONDS, "4m",
     "RFC 5382 REQ-5 forbids", "slow connections may break while they open or close"},
    {"tcp-closing", offsetof(struct nat64_timeouts, tcp_closing), TCP_TRANSITORY_SECONDS, "4m",
     "RFC 5382 REQ-5 forbids", "slow connections may break while they close"},
};

static bool same_prefix(const struct rfc6052_prefix *a, const struct rfc6052_prefix *b)
{
    return a->length == b->length && ipv6_equal(&a->address, &b->address);
}

enum { FLOORS = sizeof(floors) / sizeof(floors[0]) };

/* rfc: 6146-3.5.2.2-h, 5382-REQ5-b */
static bool warn_of_lifetime(const struct config *config, unsigned position, char text[static 256])
{
    unsigned instance = position / FLOORS;
    const struct floor *floor = &floors[position % FLOORS];
    const struct nat64_timeouts *timeouts = &config->settings.nat64[instance].timeouts;
    uint32_t seconds = *(const uint32_t *)(const void *)((const char *)timeouts + floor->offset);
    if (seconds == 0 || seconds >= floor->least)
        return false;
    snprintf(text, 256, "nat64[%u].timeouts.%s is below %s, which %s: %s", instance, floor->key,
             floor->least_text, floor->clause, floor->price);
    return true;
}

static bool is_translated(const struct config *config, const struct rfc6052_prefix *prefix)
{
    for (uint32_t i = 0; i < config->settings.nat64_count; i++)
        if (same_prefix(&config->settings.nat64[i].prefix, prefix))
            return true;
    for (uint32_t i = 0; i < config->siit_count; i++)
        if (same_prefix(&config->siit[i].settings.prefix, prefix))
            return true;
    return false;
}

/* Another machine may translate it, so this is no error. */
static bool warn_of_prefix(const struct config *config, unsigned number, char text[static 256])
{
    const struct rfc6052_prefix *prefix = &config->ra[number].pref64;
    if (prefix->length == 0 && config->settings.nat64_count == 0 &&
        (!config->ra[number].rdnss || config->dns64 == NULL) && !config->ra[number].default_route) {
        snprintf(text, 256, "ra[%u] announces nothing, for there is no entry of nat64: set ra[%u].pref64",
                 number, number);
        return true;
    }
    if (prefix->length == 0 || is_translated(config, prefix))
        return false;
    snprintf(text, 256,
             "ra[%u].pref64 is the prefix of no entry of nat64 or siit: hosts will send there what another "
             "machine has to translate",
             number);
    return true;
}

static bool warn_of_synthesis(const struct config *config, unsigned number, char text[static 256])
{
    const struct rfc6052_prefix *prefix = &config->dns64->prefixes[number].prefix;
    if (is_translated(config, prefix))
        return false;
    snprintf(
        text, 256,
        "dns64.prefixes[%u].prefix is that of no entry of nat64 or siit: hosts will send there what another "
        "machine has to translate",
        number);
    return true;
}

static const struct rules_network ipv4 = {.address = {{[10] = 0xff, [11] = 0xff}}, .length = RULES_IPV4_BITS};

static bool is_loopback(const struct config_endpoint *endpoint)
{
    static const struct rules_network loopbacks[] = {
        {.address = {{[15] = 1}}, .length = 128},
        {.address = {{[10] = 0xff, [11] = 0xff, [12] = 127}}, .length = RULES_IPV4_BITS + 8}};
    return rules_network_contains(&loopbacks[0], &endpoint->address) ||
           rules_network_contains(&loopbacks[1], &endpoint->address);
}

/* Everybody, or everybody with IPv4. */
static bool is_everybody(const struct rules_network *network)
{
    return network->length == 0 ||
           (network->length == ipv4.length && ipv6_equal(&network->address, &ipv4.address));
}

static bool warn_of_strangers(const struct config *config, char text[static 256])
{
    const struct config_dns64 *dns64 = config->dns64;
    bool open = false, reachable = false;
    for (uint32_t i = 0; i < dns64->client_count; i++)
        open = open || is_everybody(&dns64->clients[i]);
    for (uint32_t i = 0; i < dns64->listen_count; i++)
        reachable = reachable || !is_loopback(&dns64->listen[i]);
    if (open && reachable)
        snprintf(text, 256,
                 "dns64.clients lets everybody ask: strangers can use this machine to flood others with "
                 "answers, unless a firewall keeps them out; name your own networks there");
    return open && reachable;
}

static bool warn_of_the_machine_itself(const struct config *config, char text[static 256])
{
    const struct config_dns64 *dns64 = config->dns64;
    for (uint32_t i = 0; i < dns64->listen_count; i++) {
        bool served = !is_loopback(&dns64->listen[i]) || dns64->client_count == 0;
        for (uint32_t j = 0; j < dns64->client_count; j++)
            served = served || rules_network_contains(&dns64->clients[j], &dns64->listen[i].address);
        if (served)
            continue;
        snprintf(text, 256,
                 "dns64.listen[%u] is a loopback address that is not in dns64.clients: this machine's own "
                 "queries will be refused; add it there",
                 i);
        return true;
    }
    return false;
}

static bool warn_of_servers(const struct config *config, char text[static 256])
{
    const struct config_dns64 *dns64 = config->dns64;
    for (uint32_t i = 0; i < dns64->listen_count; i++)
        if (dns64->listen[i].port == 53 && !is_loopback(&dns64->listen[i]) &&
            !rules_network_contains(&ipv4, &dns64->listen[i].address))
            return false;
    for (uint32_t i = 0; i < config->ra_count; i++)
        if (config->ra[i].rdnss) {
            snprintf(text, 256,
                     "ra[%u].rdnss is true, and dns64.listen has no IPv6 address with port 53 that hosts "
                     "could be told of: add one, or \"[::]:53\"",
                     i);
            return true;
        }
    return false;
}

/* By number: of one lifetime, one entry of ra, one prefix of dns64, then of dns64 as a whole. */
bool config_warning(const struct config *config, unsigned *position, char text[static 256])
{
    static bool (*const of_dns64[])(const struct config *config, char text[static 256]) = {
        warn_of_strangers, warn_of_the_machine_itself, warn_of_servers};
    static const unsigned of_dns64_count = sizeof(of_dns64) / sizeof(of_dns64[0]);
    unsigned lifetimes = config->settings.nat64_count * FLOORS, prefixes = lifetimes + config->ra_count,
             dns64 = prefixes + (config->dns64 == NULL ? 0 : config->dns64->prefix_count),
             all = dns64 + (config->dns64 == NULL ? 0 : of_dns64_count);
    bool found = false;
    while (!found && *position < all) {
        unsigned at = (*position)++;
        found = at < lifetimes  ? warn_of_lifetime(config, at, text)
                : at < prefixes ? warn_of_prefix(config, at - lifetimes, text)
                : at < dns64    ? warn_of_synthesis(config, at - prefixes, text)
                                : of_dns64[at - dns64](config, text);
    }
    return found;
}

void config_warn(const struct config *config)
{
    char text[256];
    for (unsigned position = 0; config_warning(config, &position, text);)
        log_warning("%s", text);
}
