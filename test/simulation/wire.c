/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Wires, and the routers between them. A wire loses, doubles and holds up packets; a router takes a hop off,
 * cuts what may be cut and complains about what may not, as RFC 1812 and RFC 4443 want it, quoting as much as
 * it likes.
 */
#include <arpa/inet.h>
#include <stdio.h>

#include "test/engine/packets.h"
#include "test/simulation/world.h"

enum {
    SHOWN = 20, /* bytes of a packet that is told */
};

/* A packet on a wire. */
struct carried {
    struct host *host; /* whose wire it is */
    bool outward;      /* to the host; else to the gateway */
    bool far;          /* beyond the router */
    uint32_t length;
    uint8_t bytes[];
};

static void arrive(void *context, void *argument);

static uint64_t delay(struct world *world)
{
    uint64_t delay = world->plan.delay;
    if (world->clock.now >= world->plan.calm)
        return delay;
    delay += dice(world, 1000) * (MILLISECOND / 1000);
    if (chance(world, world->plan.overtaken))
        delay += dice(world, EXTRA_DELAY) * MILLISECOND;
    return delay;
}

static void tell(const struct world *world, const struct carried *where, const struct ip *ip, bool lost)
{
    char source[INET6_ADDRSTRLEN], destination[INET6_ADDRSTRLEN];
    int family = ip->source.version == 6 ? AF_INET6 : AF_INET;
    printf("# %14.6f s %s %s to %s, protocol %u, %u bytes, offset %u%s%s%s",
           (double)world->clock.now / (double)SECOND, where->outward ? "->" : "<-",
           inet_ntop(family, ip->source.bytes, source, sizeof(source)),
           inet_ntop(family, ip->destination.bytes, destination, sizeof(destination)), ip->protocol,
           ip_length(ip), ip->offset, ip->more ? " and more" : "", ip->df ? ", DF" : "",
           lost ? ", lost" : "");
    for (uint32_t i = 0; i < ip->length && i < SHOWN && ip->offset == 0; i++)
        printf("%s%02x", i % 4 == 0 ? " " : "", ip->payload[i]);
    printf("\n");
}

static void carry(struct world *world, const struct carried *where, const struct ip *ip)
{
    bool bad = world->clock.now < world->plan.calm;
    bool lost = bad && chance(world, world->plan.lost);
    world->packets_sent++;
    world->packets_lost += lost;
    if (world->loud)
        tell(world, where, ip, lost);
    if (lost)
        return;
    for (unsigned copies = bad && chance(world, world->plan.doubled) ? 2 : 1; copies > 0; copies--) {
        struct carried *carried = malloc(sizeof(*carried) + ip_length(ip));
        if (carried == NULL)
            abort();
        *carried = *where;
        carried->length = ip_write(ip, carried->bytes);
        struct event event = {
            .time = world->clock.now + delay(world), .act = arrive, .argument = carried, .owned = true};
        clock_enter(&world->clock, &event);
    }
}

/* --- routers ------------------------------------------------------------------------------------ */

struct complaint {
    uint8_t type, code;
    uint32_t rest;
};

/* Neither errors nor what may be one get an answer, nor later fragments. */
static bool may_complain(const struct ip *ip)
{
    if (ip->fragmented && ip->offset != 0)
        return false;
    if (ip->protocol == IP_ICMPV4)
        return ip->payload[0] == 0 || ip->payload[0] == 8;
    return ip->protocol != IP_ICMPV6 || ip->payload[0] >= 128;
}

static void complain(struct world *world, const struct carried *at, const struct ip *about,
                     const struct complaint *complaint)
{
    uint8_t message[1280], original[IP_LONGEST + 64];
    bool six = at->host->side == SIDE6;
    uint32_t length = ip_write(about, original), most = six ? 1280 - 48 : 576 - 28;
    if (!may_complain(about))
        return;
    if (!six && chance(world, 300))
        most = 20u + about->options + 8; /* all that RFC 792 asks for */
    if (length > most)
        length = most;
    memset(message, 0, 8);
    message[0] = complaint->type;
    message[1] = complaint->code;
    put(message + 4, 4, complaint->rest);
    memcpy(message + 8, original, length);
    struct ip ip = {.source = at->host->router,
                    .destination = about->source,
                    .protocol = six ? IP_ICMPV6 : IP_ICMPV4,
                    .hops = HOPS,
                    .payload = message,
                    .length = 8 + length};
    ip_seal(&ip, message);
    struct carried back = *at;
    back.outward = !at->outward;
    back.far = true;
    carry(world, &back, &ip);
}

struct piece {
    struct world *world;
    const struct carried *where;
};

static void carry_piece(void *context, const struct ip *ip)
{
    const struct piece *piece = context;
    carry(piece->world, piece->where, ip);
}

static void route(struct world *world, const struct carried *carried)
{
    struct host *host = carried->host;
    uint32_t mtu = carried->outward ? host->mtu.host : host->mtu.gateway;
    struct carried next = {.host = host, .outward = carried->outward, .far = true};
    struct carried here = {.host = host, .outward = carried->outward};
    struct ip ip;
    const char *wrong = ip_read(&ip, carried->bytes, carried->length, false);
    if (wrong != NULL)
        world_fails(world, "a router got a packet with %s", wrong);
    bool six = ip.source.version == 6;
    if (ip.hops <= 1) {
        complain(world, &here, &ip, &(struct complaint){six ? 3 : 11, 0, 0});
        return;
    }
    struct ip passed = ip;
    passed.hops--;
    if (ip_length(&ip) <= mtu)
        carry(world, &next, &passed);
    else if (!six && !ip.df)
        ip_cut(&passed, mtu, carry_piece, &(struct piece){world, &next});
    else
        complain(world, &here, &ip, &(struct complaint){six ? 2 : 3, six ? 0 : 4, mtu});
}

static void arrive(void *context, void *argument)
{
    struct world *world = context;
    struct carried *carried = argument;
    if (!carried->far)
        route(world, carried);
    else if (carried->outward)
        host_receive(world, carried->host, carried->bytes, carried->length);
    else
        gateway_arrive(world, carried->bytes, carried->length);
}

/* --- the ends of the wires ------------------------------------------------------------------------ */

struct host *host_at(struct world *world, const struct address *address)
{
    for (unsigned i = 0; i < world->host_count; i++)
        if (address_equal(&world->hosts[i].address, address))
            return &world->hosts[i];
    return NULL;
}

void wire_from_host(struct world *world, struct host *host, const struct ip *ip)
{
    struct carried where = {.host = host};
    if (ip_length(ip) > host->mtu.host)
        world_fails(world, "a host sends %u bytes over a wire of %u", ip_length(ip), host->mtu.host);
    carry(world, &where, ip);
}

/* Where no host is, any router of that side says so. */
static void nobody_there(struct world *world, const struct ip *ip)
{
    bool six = ip->source.version == 6;
    struct carried at = {.outward = true};
    for (unsigned i = 0; i < world->host_count; i++)
        if (world->hosts[i].side == (six ? SIDE6 : SIDE4) && (at.host == NULL || !six))
            at.host = &world->hosts[i];
    if (six && ip->destination.bytes[3] != 0xb8)
        world_fails(world, "the engine sent a packet to an address of nobody");
    if (at.host != NULL)
        complain(world, &at, ip, &(struct complaint){six ? 1 : 3, six ? 3 : 1, 0});
}

/* Of hairpins within siit it is the kernel that finds them too long. */
static void complain_of_hairpin(struct world *world, const struct carried *where, const struct ip *ip,
                                uint32_t mtu)
{
    complain(world, where, ip, &(struct complaint){2, 0, mtu});
}

void wire_from_gateway(struct world *world, const uint8_t *bytes, uint32_t length)
{
    struct ip ip;
    const char *wrong = ip_read(&ip, bytes, length, false);
    if (wrong != NULL)
        world_fails(world, "the engine made a packet with %s", wrong);
    bool six = ip.source.version == 6;
    uint32_t mtu = world->plan.mtu[six ? SIDE6 : SIDE4];
    struct carried where = {.host = host_at(world, &ip.destination), .outward = true};
    if (where.host == NULL)
        nobody_there(world, &ip);
    else if (length <= mtu)
        carry(world, &where, &ip);
    else if (!six && !ip.df) /* as the kernel does on the way out */
        ip_cut(&ip, mtu, carry_piece, &(struct piece){world, &where});
    else if (six && memcmp(ip.source.bytes, world->prefix65.bytes, 12) == 0 &&
             (address_number(&ip.source) & ~15u) == MAPPED_FIRST)
        complain_of_hairpin(world, &where, &ip, mtu);
    else
        world_fails(world, "the engine sent %u bytes to a wire that carries %u", length, mtu);
}
