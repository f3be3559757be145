/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Exchanges: who talks to whom about what, and how it must end.
 *
 * A few ports of a client are used again and again towards different servers, so that bindings have many
 * sessions; the other end's port is the exchange's own, so that every packet tells whose it is, even long
 * after the exchange.
 */
#include <stdio.h>

#include "test/engine/packets.h"
#include "test/simulation/world.h"

enum {
    CLIENT_PORTS = 6,
    FIRST_CLIENT_PORT = 40000,
    FIRST_SERVER_PORT = 10000,
    SERVER_PORTS = 20000, /* of which an exchange's number takes one */
    NOBODY4 = 0xcb0071c8, /* 203.0.113.200 */
    NOBODY_MAPPED = 0xc000021e,
    TRANSLATABLE = 0xc0000240, /* 192.0.2.64 */
    SMALL = 400,               /* bytes of a datagram that no path cuts */
    LONG_SILENCE = 200,        /* seconds: no lifetime of an open connection is shorter */
    TELLING = 8,               /* bytes that differ from round to round */
    USUAL = 1200,              /* bytes of a datagram that no path of 1280 cuts */
};

static const char *const kind_names[] = {"TCP", "UDP", "ping"};
static const char *const relation_names[] = {"nat64", "call to a static binding", "nat64 hairpin", "siit",
                                             "siit hairpin"};

const char *exchange_name(const struct exchange *exchange)
{
    static char name[200];
    (void)snprintf(name, sizeof(name), "exchange %u (%s, %s, sizes %u and %u, expected %d)", exchange->number,
                   kind_names[exchange->kind], relation_names[exchange->relation],
                   exchange->kind == EXCHANGE_TCP ? exchange->end[0].tcp.size : exchange->size[0],
                   exchange->kind == EXCHANGE_TCP ? exchange->end[1].tcp.size : exchange->size[1],
                   (int)exchange->expected);
    return name;
}

uint8_t exchange_byte(const struct exchange *exchange, unsigned from, uint32_t position)
{
    uint32_t mixed = (position + 1) * 2654435761u + exchange->number * 40503u + from * 97u;
    return (uint8_t)(mixed >> 24 ^ mixed >> 11);
}

/* --- finding -------------------------------------------------------------------------------------- */

static bool may_learn(const struct end *end, const struct ip *ip)
{
    const struct exchange *exchange = end->exchange;
    uint32_t number = address_number(&ip->source);
    struct address four = address_of4(number), seen = four;
    if (end->host->side == SIDE6)
        seen = address_embed(&exchange->world->prefix64, &four);
    return (!end->knows || end->varies) && address_equal(&seen, &ip->source) &&
           (number == POOL_FIRST || number == POOL_FIRST + 1) && !exchange_is_over(exchange);
}

static bool knows_it(const struct end *end, const struct ip *ip, const uint16_t ports[2])
{
    return end->knows && address_equal(&end->remote, &ip->source) &&
           ((end->exchange->kind == EXCHANGE_PING && end->port != 0) || end->remote_port == ports[0]);
}

struct end *exchange_find(struct world *world, const struct host *host, enum exchange_kind kind,
                          const struct ip *ip, const uint16_t ports[2])
{
    struct end *learning = NULL;
    for (unsigned i = 0; i < 2u * EXCHANGES_AT_ONCE; i++) {
        struct exchange *exchange = &world->exchanges[i / 2];
        struct end *end = &exchange->end[i % 2];
        if (!exchange->used || exchange->kind != kind || end->host != host)
            continue;
        if (kind == EXCHANGE_PING) { /* which the number of the message tells */
            if (be(ip->payload + 6, 2) != (exchange->number & 0xffff) ||
                (end->port != 0 && end->port != ports[1]))
                continue;
        } else if (end->port != ports[1]) {
            continue;
        }
        if (knows_it(end, ip, ports))
            return end;
        if (may_learn(end, ip))
            learning = end;
    }
    if (learning == NULL)
        return NULL;
    learning->knows = true;
    learning->remote = ip->source;
    learning->remote_port = ports[0];
    return learning;
}

/* --- ending --------------------------------------------------------------------------------------- */

bool exchange_is_over(const struct exchange *exchange)
{
    bool both = exchange->kind == EXCHANGE_TCP &&
                (exchange->expected == OUTCOME_DONE || exchange->expected == OUTCOME_RESET);
    return exchange->end[0].outcome != OUTCOME_NONE && (!both || exchange->end[1].outcome != OUTCOME_NONE);
}

static void forget(void *context, void *argument)
{
    struct world *world = context;
    struct exchange *exchange = argument;
    if (exchange->relation == RELATION_NAT64_HAIRPIN)
        world->gateway.busy[exchange->end[1].host - world->hosts] = false;
    exchange->used = false;
    exchange_begin(world);
}

void exchange_ended(struct end *end, enum outcome outcome)
{
    struct exchange *exchange = end->exchange;
    struct world *world = exchange->world;
    if (end->outcome != OUTCOME_NONE)
        return;
    if (outcome != exchange->expected)
        world_fails(world, "%s: end %u ended as %d", exchange_name(exchange), end->number, (int)outcome);
    end->outcome = outcome;
    if (!exchange_is_over(exchange))
        return;
    world->finished++;
    world->outcomes[outcome]++;
    if (world->loud)
        printf("# %10.3f s: %s is over\n", (double)world->clock.now / 1e9, exchange_name(exchange));
    clock_enter(
        &world->clock,
        &(struct event){.time = world->clock.now + LINGER * SECOND, .act = forget, .argument = exchange});
}

static void look_at_clock(void *context, void *argument)
{
    struct world *world = context;
    const struct exchange *exchange = argument;
    if (exchange->used && !exchange_is_over(exchange) && exchange->due <= world->clock.now)
        world_fails(
            world, "%s: is not finished in time: ends %d and %d, from %u/%u to %u/%u acknowledged, %u/%u got",
            exchange_name(exchange), (int)exchange->end[0].outcome, (int)exchange->end[1].outcome,
            exchange->end[0].tcp.acknowledged, exchange->end[0].tcp.size, exchange->end[1].tcp.acknowledged,
            exchange->end[1].tcp.size, exchange->end[0].tcp.got, exchange->end[1].tcp.got);
}

/* --- who with whom ---------------------------------------------------------------------------------- */

static struct host *some_host(struct world *world, enum host_kind kind)
{
    unsigned n = 0, first = 0;
    for (unsigned i = 0; i < world->host_count; i++)
        if (world->hosts[i].kind == kind) {
            first = n == 0 ? i : first;
            n++;
        }
    return &world->hosts[first + dice(world, n)];
}

static uint32_t address4_of(const struct world *world, const struct host *host)
{
    uint32_t number = address_number(&host->address);
    if (host->kind == HOST_MAPPED)
        return MAPPED_FIRST + (number & 15);
    (void)world;
    return number;
}

static void know(struct end *end, struct address remote, uint16_t port)
{
    end->knows = true;
    end->remote = remote;
    end->remote_port = port;
}

static void relate_nat64(struct world *world, struct exchange *exchange)
{
    struct end *client = &exchange->end[0], *server = &exchange->end[1];
    struct address nobody = address_of4(NOBODY4);
    client->host = some_host(world, HOST_CLIENT);
    client->port = (uint16_t)(FIRST_CLIENT_PORT + dice(world, CLIENT_PORTS));
    server->host = some_host(world, HOST_SERVER);
    server->port = (uint16_t)(FIRST_SERVER_PORT + exchange->number % SERVER_PORTS);
    server->varies = exchange->kind != EXCHANGE_TCP;
    know(client, address_embed(&world->prefix64, exchange->nobody ? &nobody : &server->host->address),
         server->port);
    if (exchange->kind == EXCHANGE_PING)
        server->port = 0; /* any: the identifier is the binding's */
}

static uint16_t own_port(const struct exchange *exchange)
{
    return (uint16_t)(FIRST_SERVER_PORT + exchange->number % SERVER_PORTS);
}

static struct address pool_address_of(const struct world *world, const struct host *client)
{
    return address_of4(POOL_FIRST + (uint32_t)(client - world->hosts) % 2);
}

static void relate_call(struct world *world, struct exchange *exchange)
{
    struct end *caller = &exchange->end[0], *client = &exchange->end[1];
    client->host = some_host(world, HOST_CLIENT);
    client->port = SERVICE;
    caller->host = some_host(world, HOST_SERVER);
    caller->port = own_port(exchange);
    uint16_t outside = (uint16_t)(SERVICE + (client->host - world->hosts));
    know(caller, pool_address_of(world, client->host), outside);
    know(client, address_embed(&world->prefix64, &caller->host->address), caller->port);
    if (exchange->kind == EXCHANGE_PING)
        caller->port = outside;
}

static void relate_nat64_hairpin(struct world *world, struct exchange *exchange)
{
    struct end *caller = &exchange->end[0], *called = &exchange->end[1];
    called->host = some_host(world, HOST_CLIENT);
    called->port = SERVICE;
    called->varies = exchange->kind == EXCHANGE_UDP;
    caller->host = some_host(world, HOST_CLIENT);
    caller->port = own_port(exchange);
    struct address pool = pool_address_of(world, called->host);
    know(caller, address_embed(&world->prefix64, &pool), (uint16_t)(SERVICE + (called->host - world->hosts)));
    world->gateway.busy[called->host - world->hosts] = true;
}

static void relate_siit(struct world *world, struct exchange *exchange)
{
    unsigned six = dice(world, 2);
    struct end *end6 = &exchange->end[six], *end4 = &exchange->end[1 - six];
    end6->host = some_host(world, chance(world, 700) ? HOST_MAPPED : HOST_TRANSLATABLE);
    end4->host = some_host(world, HOST_SERVER);
    exchange->end[0].port = (uint16_t)(FIRST_CLIENT_PORT + dice(world, CLIENT_PORTS));
    exchange->end[1].port = own_port(exchange);
    struct address nobody = address_of4(NOBODY4);
    struct address seen4 =
        address_of4(exchange->nobody && six == 1 ? NOBODY_MAPPED : address4_of(world, end6->host));
    know(end6, address_embed(&world->prefix65, exchange->nobody && six == 0 ? &nobody : &end4->host->address),
         end4->port);
    know(end4, seen4, end6->port);
    if (exchange->kind == EXCHANGE_PING)
        exchange->end[1].port = exchange->end[0].port;
}

static void relate_siit_hairpin(struct world *world, struct exchange *exchange)
{
    struct end *end = exchange->end;
    end[0].host = some_host(world, HOST_MAPPED);
    do
        end[1].host = some_host(world, HOST_MAPPED);
    while (end[1].host == end[0].host);
    end[0].port = (uint16_t)(FIRST_CLIENT_PORT + dice(world, CLIENT_PORTS));
    end[1].port = exchange->kind == EXCHANGE_PING ? end[0].port : own_port(exchange);
    for (unsigned i = 0; i < 2; i++) {
        struct address four = address_of4(address4_of(world, end[1 - i].host));
        know(&end[i], address_embed(&world->prefix65, &four), end[1 - i].port);
    }
}

static bool relate(struct world *world, struct exchange *exchange)
{
    bool siit = world->plan.siit && (!world->plan.nat64 || chance(world, 500));
    bool ping = exchange->kind == EXCHANGE_PING;
    if (siit) {
        bool hairpin = chance(world, 250) && !exchange->nobody;
        exchange->relation = hairpin ? RELATION_SIIT_HAIRPIN : RELATION_SIIT;
        (hairpin ? relate_siit_hairpin : relate_siit)(world, exchange);
        return true;
    }
    uint32_t which = exchange->nobody ? 0 : dice(world, 10);
    exchange->relation = which < 6           ? RELATION_NAT64
                         : which < 8 || ping ? RELATION_CALL
                                             : RELATION_NAT64_HAIRPIN;
    if (exchange->relation == RELATION_NAT64_HAIRPIN &&
        (world->plan.address_dependent || world->gateway.busy[0] || world->gateway.busy[1] ||
         world->gateway.busy[2]))
        return false;
    (which < 6 ? relate_nat64 : which < 8 || ping ? relate_call : relate_nat64_hairpin)(world, exchange);
    return true;
}

/* --- what about ------------------------------------------------------------------------------------- */

/* Seconds of silence in between. */
static uint64_t some_pause(struct world *world, const struct exchange *exchange)
{
    static const uint32_t pauses[] = {5, 20, 50, 110, 400, 3000, 30000};
    uint32_t established = world->gateway.settings[0].nat64[0].timeouts.tcp_established;
    bool stateful = exchange->relation <= RELATION_NAT64_HAIRPIN && exchange->kind == EXCHANGE_TCP;
    uint32_t pause = chance(world, 300) ? pauses[dice(world, 7)] : 0;
    /* A probe may be lost, and a session that is not probed ends in silence. */
    if (stateful && pause >= 50 && (world->plan.lost != 0 || established <= TCP_TRANSITORY_SECONDS))
        pause = 5;
    return pause * SECOND;
}

static uint32_t some_size(struct world *world, const struct exchange *exchange)
{
    bool stateless = exchange->relation >= RELATION_SIIT;
    uint32_t most = world->plan.fragments || stateless ? world->plan.longest : USUAL;
    if (stateless && exchange->kind == EXCHANGE_PING)
        most = SMALL; /* its fragments cannot be translated */
    if (exchange->without_checksum && (stateless || !world->plan.fragments))
        most = SMALL;
    return chance(world, 500) ? dice(world, most + 1) : dice(world, most / 8 + 1);
}

static void decide_datagrams(struct world *world, struct exchange *exchange)
{
    exchange->without_checksum = exchange->kind == EXCHANGE_UDP && chance(world, 300);
    exchange->rounds = 1 + dice(world, 4);
    exchange->size[0] = some_size(world, exchange);
    exchange->size[1] = exchange->kind == EXCHANGE_PING ? exchange->size[0] : some_size(world, exchange);
    if (exchange->size[0] < TELLING || exchange->size[1] < TELLING)
        exchange->rounds = 1; /* one could not be told from another */
    exchange->pause = some_pause(world, exchange);
}

/* Only an open connection is probed (RFC 6146 section 3.5.2.2), so who is silent for long must close first.
 */
static void forbid_half_closed_silence(struct exchange *exchange)
{
    for (unsigned i = 0; i < 2; i++)
        if (exchange->end[i].tcp.pause >= LONG_SILENCE * SECOND) {
            exchange->end[1 - i].tcp.pause = 0;
            exchange->end[1 - i].tcp.closes_second = true;
            exchange->end[i].tcp.closes_second = false;
        }
}

static void decide_tcp(struct world *world, struct exchange *exchange)
{
    static const uint32_t sizes[] = {0, 1, 500, 3000, 20000, LONGEST_TRANSFER};
    bool resets = exchange->expected == OUTCOME_DONE && chance(world, 150);
    if (resets)
        exchange->expected = OUTCOME_RESET;
    for (unsigned i = 0; i < 2; i++) {
        struct tcp *tcp = &exchange->end[i].tcp;
        tcp->size = dice(world, sizes[dice(world, 6)] + 1);
        tcp->own_start = (uint32_t)random_next(&world->random);
        tcp->window = 1000 + dice(world, 20000);
        tcp->pause = resets ? 0 : some_pause(world, exchange);
        tcp->pause_at = 1 + dice(world, tcp->size + 1);
        tcp->largest = 536;
    }
    for (unsigned i = 0; i < 2; i++) {
        exchange->end[i].tcp.peer_size = exchange->end[1 - i].tcp.size;
        exchange->end[i].tcp.peer_start = exchange->end[1 - i].tcp.own_start;
    }
    unsigned second = dice(world, 3); /* 2: both at once */
    if (second < 2)
        exchange->end[second].tcp.closes_second = true;
    if (resets)
        exchange->end[dice(world, 2)].tcp.reset_at = 1;
    forbid_half_closed_silence(exchange);
}

/* With address-dependent filtering nobody gets through to a client that has not called first. */
static void decide_outcome(struct world *world, struct exchange *exchange)
{
    bool tcp = exchange->kind == EXCHANGE_TCP;
    bool call = exchange->relation == RELATION_CALL;
    bool first = exchange->end[1].host == &world->hosts[0]; /* who calls back, and whom all may call then */
    exchange->expected = OUTCOME_DONE;
    if (call && world->plan.address_dependent && tcp && first) {
        exchange->both_call = true;
        exchange->tolerates = OUTCOME_NO_PORT;
    } else if (call && world->plan.address_dependent) {
        exchange->expected = tcp ? OUTCOME_NO_PORT : OUTCOME_FILTERED;
    } else if (call && tcp && chance(world, 300)) {
        exchange->both_call = true;
    } else if (exchange->nobody) {
        exchange->expected = OUTCOME_NO_HOST;
    } else if (exchange->kind != EXCHANGE_PING && !exchange->nobody && chance(world, 100)) {
        exchange->closed = true;
        exchange->expected = tcp ? OUTCOME_REFUSED : OUTCOME_NO_PORT;
    }
}

static void start(void *context, void *argument)
{
    struct exchange *exchange = argument;
    (void)context;
    if (exchange->kind == EXCHANGE_TCP)
        tcp_begin(&exchange->end[0]);
    else
        datagram_begin(exchange);
}

static void start_other(void *context, void *argument)
{
    struct exchange *exchange = argument;
    (void)context;
    tcp_begin(&exchange->end[1]);
}

static void schedule(struct world *world, struct exchange *exchange)
{
    uint64_t pauses =
        exchange->pause * exchange->rounds + exchange->end[0].tcp.pause + exchange->end[1].tcp.pause;
    uint64_t calm = world->plan.calm > exchange->begins ? world->plan.calm - exchange->begins : 0;
    exchange->due = exchange->begins + pauses + calm + PATIENCE * SECOND;
    clock_enter(&world->clock, &(struct event){.time = exchange->begins, .act = start, .argument = exchange});
    clock_enter(&world->clock,
                &(struct event){.time = exchange->due, .act = look_at_clock, .argument = exchange});
    if (exchange->both_call)
        clock_enter(&world->clock, &(struct event){.time = exchange->begins + dice(world, 2000) * MILLISECOND,
                                                   .act = start_other,
                                                   .argument = exchange});
}

void exchange_begin(struct world *world)
{
    struct exchange *exchange = world->exchanges;
    while (exchange->used)
        if (++exchange == world->exchanges + EXCHANGES_AT_ONCE)
            return;
    if (world->begun == world->plan.exchanges)
        return;
    do {
        *exchange = (struct exchange){.world = world, .number = world->begun};
        for (unsigned i = 0; i < 2; i++) {
            exchange->end[i].exchange = exchange;
            exchange->end[i].number = i;
        }
        exchange->kind = (enum exchange_kind)dice(world, EXCHANGE_KINDS);
        exchange->nobody = chance(world, 60);
    } while (!relate(world, exchange));
    exchange->used = true;
    exchange->tos = (uint8_t)dice(world, 256);
    exchange->begins = world->clock.now + dice(world, 4000) * MILLISECOND;
    decide_outcome(world, exchange);
    if (exchange->kind == EXCHANGE_TCP)
        decide_tcp(world, exchange);
    else
        decide_datagrams(world, exchange);
    world->begun++;
    schedule(world, exchange);
}
