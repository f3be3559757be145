/* SPDX-License-Identifier: BSD-2-Clause */
#include "test/simulation/assembly.h"

#include "test/simulation/clock.h"

#include <stdlib.h>
#include <string.h>

enum {
    LONGEST = 65535,
    PATIENCE = 30, /* seconds */
};

static bool is_of(const struct assembly *assembly, const struct ip *ip)
{
    const struct ip *first = &assembly->first;
    return assembly->since != 0 && first->identification == ip->identification &&
           (first->protocol == ip->protocol || ip->source.version == 6) &&
           address_equal(&first->source, &ip->source) && address_equal(&first->destination, &ip->destination);
}

static void give_up(struct assembly *assembly)
{
    assembly->since = 0;
}

/* The fragment's packet, or a place for a new one: if need be, that of the oldest. */
static struct assembly *place_of(struct assemblies *assemblies, const struct ip *ip, uint64_t now)
{
    struct assembly *oldest = &assemblies->one[0];
    for (unsigned i = 0; i < ASSEMBLIES; i++) {
        struct assembly *one = &assemblies->one[i];
        if (one->since != 0 && now > one->since + PATIENCE * SECOND)
            give_up(one);
        if (is_of(one, ip))
            return one;
        if (one->since < oldest->since)
            oldest = one;
    }
    if (oldest->data == NULL) {
        oldest->data = malloc(LONGEST);
        oldest->there = malloc(LONGEST);
        if (oldest->data == NULL || oldest->there == NULL)
            abort();
    }
    memset(oldest->there, 0, LONGEST);
    oldest->first = *ip;
    oldest->has_first = false;
    oldest->total = oldest->have = 0;
    oldest->since = now + 1;
    return oldest;
}

/* False: it contradicts what came before. */
static bool put_in(struct assembly *assembly, const struct ip *ip)
{
    uint32_t end = ip->offset + ip->length;
    if (end > LONGEST || (assembly->total != 0 && end > assembly->total))
        return false;
    if (!ip->more) {
        if (assembly->total != 0 && assembly->total != end)
            return false;
        for (uint32_t i = end; i < LONGEST; i++)
            if (assembly->there[i])
                return false;
        assembly->total = end;
    }
    for (uint32_t i = 0; i < ip->length; i++) {
        uint32_t at = ip->offset + i;
        if (assembly->there[at] && assembly->data[at] != ip->payload[i])
            return false;
        assembly->have += !assembly->there[at];
        assembly->there[at] = 1;
        assembly->data[at] = ip->payload[i];
    }
    if (ip->offset == 0) {
        assembly->first = *ip;
        assembly->has_first = true;
    }
    return true;
}

bool assembly_add(struct assemblies *assemblies, struct ip *ip, uint64_t now)
{
    struct assembly *assembly = place_of(assemblies, ip, now);
    if (!put_in(assembly, ip)) {
        assemblies->disagreed++;
        give_up(assembly);
        return false;
    }
    if (!assembly->has_first || assembly->total == 0 || assembly->have < assembly->total)
        return false;
    *ip = assembly->first;
    ip->fragmented = ip->more = false;
    ip->payload = assembly->data;
    ip->length = ip->stated = assembly->total;
    give_up(assembly);
    return true;
}

void assembly_free(struct assemblies *assemblies)
{
    for (unsigned i = 0; i < ASSEMBLIES; i++) {
        free(assemblies->one[i].data);
        free(assemblies->one[i].there);
    }
}
