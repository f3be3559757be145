/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Two kinds. Prefixes that hosts are told of and nothing here translates: another machine may. And
 * lifetimes below what the RFCs forbid to go below. Some are refused as errors (the schema's ranges); those
 * of TCP are not, because laboratories want to see sessions end and busy networks to be rid of the dead, but
 * whoever takes that on should know.
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
    if (prefix->length == 0 && config->settings.nat64_count == 0 && !config->ra[number].rdnss &&
        !config->ra[number].default_route) {
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

bool config_warning(const struct config *config, unsigned *position, char text[static 256])
{
    unsigned lifetimes = config->settings.nat64_count * FLOORS;
    bool found = false;
    while (!found && *position < lifetimes + config->ra_count) {
        unsigned at = (*position)++;
        found = at < lifetimes ? warn_of_lifetime(config, at, text)
                               : warn_of_prefix(config, at - lifetimes, text);
    }
    return found;
}

void config_warn(const struct config *config)
{
    char text[256];
    for (unsigned position = 0; config_warning(config, &position, text);)
        log_warning("%s", text);
}
