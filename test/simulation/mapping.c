/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a client may rely on, seen from outside the engine: as long as one of its sessions surely lives, its
 * port has the same pool address and port towards everybody (RFC 4787 REQ-1), nobody else has these, all of a
 * client's ports have one address (REQ-2), and ports keep their parity (REQ-4).
 */
#include "test/engine/packets.h"
#include "test/simulation/world.h"

struct mapping {
    struct address client, pool;
    uint16_t port, pool_port;
    uint8_t protocol;
    uint64_t until; /* so long it lives at least */
};

/* Seconds that a session lives on at least after this packet; 0: who knows. */
static uint32_t lifetime(const struct world *world, const struct ip *ip)
{
    const struct nat64_timeouts *timeouts =
        &world->gateway.settings[world->gateway.current].nat64[0].timeouts;
    uint32_t least = timeouts->tcp_transitory;
    if (timeouts->tcp_opening != 0 && timeouts->tcp_opening < least)
        least = timeouts->tcp_opening;
    if (timeouts->tcp_closing != 0 && timeouts->tcp_closing < least)
        least = timeouts->tcp_closing;
    if (ip->protocol == IP_TCP)
        return (ip->payload[13] & 2) != 0 ? least : 0;
    return ip->protocol == IP_UDP ? timeouts->udp : timeouts->icmp;
}

static uint8_t protocol_of(const struct ip *ip)
{
    return ip->protocol == IP_ICMPV4 ? IP_ICMPV6 : ip->protocol;
}

static uint16_t source_port(const struct ip *ip)
{
    return (uint16_t)be(ip->payload + (protocol_of(ip) == IP_ICMPV6 ? 4 : 0), 2);
}

static struct mapping *find(struct world *world, const struct mapping *wanted)
{
    for (uint32_t i = 0; i < world->gateway.mapping_count; i++) {
        struct mapping *one = &world->gateway.mappings[i];
        if (one->port == wanted->port && one->protocol == wanted->protocol &&
            address_equal(&one->client, &wanted->client))
            return one;
    }
    struct gateway *gateway = &world->gateway;
    gateway->mappings = realloc(gateway->mappings, (gateway->mapping_count + 1) * sizeof(*wanted));
    if (gateway->mappings == NULL)
        abort();
    struct mapping *one = &gateway->mappings[gateway->mapping_count++];
    *one = (struct mapping){.client = wanted->client, .port = wanted->port, .protocol = wanted->protocol};
    return one;
}

static void check_new(struct world *world, const struct mapping *new)
{
    if (new->port == SERVICE) /* static */
        return;
    if (((new->port ^ new->pool_port) & 1) != 0)
        world_fails(world, "port %u became %u, of the other parity", new->port, new->pool_port);
    for (uint32_t i = 0; i < world->gateway.mapping_count; i++) {
        const struct mapping *one = &world->gateway.mappings[i];
        if (one->until < world->clock.now)
            continue;
        if (one->pool_port == new->pool_port &&
            one->protocol == new->protocol &&address_equal(&one->pool, &new->pool))
            world_fails(world, "pool port %u has two clients", new->pool_port);
        if (one->port != SERVICE && address_equal(&one->client, &new->client) &&
            !address_equal(&one->pool, &new->pool))
            world_fails(world, "a client has two pool addresses at once");
    }
}

void mapping_check(struct world *world, const struct ip *before, const struct ip *after)
{
    uint8_t protocol = protocol_of(before);
    if (before->source.version != 6 || after->source.version != 4 || before->fragmented ||
        memcmp(before->destination.bytes, world->prefix64.bytes, 12) != 0 ||
        (protocol == IP_ICMPV6 && before->payload[0] < 128))
        return;
    struct mapping now = {.client = before->source,
                          .pool = after->source,
                          .port = source_port(before),
                          .pool_port = source_port(after),
                          .protocol = protocol};
    struct mapping *mapping = find(world, &now);
    bool same = mapping->pool_port == now.pool_port && address_equal(&mapping->pool, &now.pool);
    if (!same && mapping->until >= world->clock.now)
        world_fails(world, "port %u of a client was %u outside and is %u, while its binding lives", now.port,
                    mapping->pool_port, now.pool_port);
    if (!same)
        check_new(world, &now);
    mapping->pool = now.pool;
    mapping->pool_port = now.pool_port;
    uint64_t until = world->clock.now + lifetime(world, before) * SECOND;
    if (until > mapping->until)
        mapping->until = until;
}
