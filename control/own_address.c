/* SPDX-License-Identifier: BSD-2-Clause */
#include "control/own_address.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/log.h"

/* Entries are gone through by number, over all instances; NULL: no more of them. */
static struct pool_range *entry_at(const struct config *config, uint32_t number)
{
    for (uint32_t i = 0; i < config->settings.nat64_count; i++) {
        const struct nat64_settings *nat64 = &config->settings.nat64[i];
        if (number < nat64->pool_count)
            return &nat64->pool[number];
        number -= nat64->pool_count;
    }
    return NULL;
}

static bool is_shared(const struct pool_range *range)
{
    return range->interface[0] != 0;
}

bool own_address_wanted(const struct config *config)
{
    const struct pool_range *range;
    for (uint32_t i = 0; (range = entry_at(config, i)) != NULL; i++)
        if (is_shared(range))
            return true;
    return false;
}

bool own_address_refuse(const struct config *config, char *error, size_t size)
{
    const struct pool_range *range;
    for (uint32_t i = 0; (range = entry_at(config, i)) != NULL; i++)
        if (is_shared(range))
            break;
    snprintf(error, size,
             "nat64.pool: %s: to share this machine's own address takes the eBPF plane; see to that, or use "
             "address: with one that is routed to this machine and is not its own",
             range != NULL ? range->interface : "");
    return false;
}

/* --- finding ---------------------------------------------------------------------------------------------
 */

enum {
    FOUND_MAXIMUM = 1024, /* addresses of the machine that are looked at */
};

struct found {
    uint32_t count;
    struct {
        unsigned index;
        be32 address;
    } at[FOUND_MAXIMUM];
};

static void collect(void *context, const struct netlink_address *address)
{
    struct found *found = context;
    if (address->network.family != AF_INET || !address->global || !address->usable ||
        found->count == FOUND_MAXIMUM)
        return;
    found->at[found->count].index = address->index;
    found->at[found->count++].address = load_be32(address->network.address);
}

/* The kernel lists an interface's addresses in the order in which it prefers them. */
static be32 first_address(const struct found *found, const char *interface)
{
    unsigned index = if_nametoindex(interface);
    for (uint32_t i = 0; i < found->count && index != 0; i++)
        if (found->at[i].index == index)
            return found->at[i].address;
    return 0;
}

int own_address_find(struct netlink *netlink, struct config *config)
{
    static struct found found; /* large, and needed seldom */
    struct pool_range *range;
    found.count = 0;
    int error = netlink_addresses(netlink, collect, &found);
    if (error != 0)
        return error;
    for (uint32_t i = 0; (range = entry_at(config, i)) != NULL; i++)
        if (is_shared(range)) {
            range->first = first_address(&found, range->interface);
            range->count = range->first != 0;
        }
    return 0;
}

/* Is it the first entry that names its interface? */
static bool is_first(const struct config *config, uint32_t number)
{
    const struct pool_range *range = entry_at(config, number);
    for (uint32_t i = 0; i < number; i++)
        if (strcmp(entry_at(config, i)->interface, range->interface) == 0)
            return false;
    return is_shared(range);
}

void own_address_say_missing(const struct config *config)
{
    const struct pool_range *range;
    for (uint32_t i = 0; (range = entry_at(config, i)) != NULL; i++)
        if (is_first(config, i) && range->count == 0)
            log_warning(
                "%s has no global IPv4 address; until it has one no port of it can be given to clients",
                range->interface);
}

/* --- following -------------------------------------------------------------------------------------------
 */

void own_pools_free(struct own_pools *pools)
{
    for (uint32_t i = 0; i < NAT64_INSTANCES_MAXIMUM; i++)
        free(pools->pool[i]);
    *pools = (struct own_pools){0};
}

static void exchange(struct config *config, struct own_pools *pools)
{
    for (uint32_t i = 0; i < config->settings.nat64_count; i++) {
        struct pool_range *other = pools->pool[i];
        pools->pool[i] = config->settings.nat64[i].pool;
        config->settings.nat64[i].pool = other;
    }
}

bool own_pools_replace(struct config *config, struct own_pools *before)
{
    *before = (struct own_pools){0};
    for (uint32_t i = 0; i < config->settings.nat64_count; i++) {
        const struct nat64_settings *nat64 = &config->settings.nat64[i];
        before->pool[i] = calloc(nat64->pool_count + 1, sizeof(*nat64->pool));
        if (before->pool[i] == NULL) {
            own_pools_free(before);
            return false;
        }
        memcpy(before->pool[i], nat64->pool, nat64->pool_count * sizeof(*nat64->pool));
        before->address4[i] = nat64->address4;
    }
    exchange(config, before);
    return true;
}

void own_pools_restore(struct config *config, struct own_pools *before)
{
    exchange(config, before);
    for (uint32_t i = 0; i < config->settings.nat64_count; i++)
        config->settings.nat64[i].address4 = before->address4[i];
    own_pools_free(before);
}

bool own_pools_differ(const struct config *config, const struct own_pools *before)
{
    for (uint32_t i = 0; i < config->settings.nat64_count; i++) {
        const struct nat64_settings *nat64 = &config->settings.nat64[i];
        for (uint32_t j = 0; j < nat64->pool_count; j++)
            if (nat64->pool[j].first != before->pool[i][j].first)
                return true;
    }
    return false;
}

static void say_change(const struct pool_range *now, const struct pool_range *before)
{
    char came[INET_ADDRSTRLEN], went[INET_ADDRSTRLEN];
    inet_ntop(AF_INET, &now->first, came, sizeof(came));
    inet_ntop(AF_INET, &before->first, went, sizeof(went));
    if (now->count == 0)
        log_warning("%s has lost the address %s; until it has one no port of it can be given to clients",
                    now->interface, went);
    else if (before->count == 0)
        log_info("%s has got the address %s, of which clients get ports now", now->interface, came);
    else
        log_info("%s has the address %s now instead of %s", now->interface, came, went);
}

void own_pools_follow(struct config *config, const struct own_pools *before, struct egress *egress)
{
    be32 source = egress->address4;
    uint32_t number = 0;
    for (uint32_t i = 0; i < config->settings.nat64_count; i++) {
        struct nat64_settings *nat64 = &config->settings.nat64[i];
        for (uint32_t j = 0; j < nat64->pool_count; j++, number++) {
            const struct pool_range *now = &nat64->pool[j], *then = &before->pool[i][j];
            if (now->first == then->first)
                continue;
            if (is_first(config, number))
                say_change(now, then);
            if (nat64->address4 != source || (then->first != source && then->first != 0))
                continue;
            nat64->address4 = egress->address4 = now->first;
        }
    }
}
