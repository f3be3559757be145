/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * simulation [SEEDS [EXCHANGES [FIRST]]]: that many worlds, numbered from FIRST on, of so many exchanges
 * each. Without FIRST the last of the seeds is a random one, and the others are fixed. Prints TAP, a case a
 * seed; a case that fails says why, and the same seed with as many exchanges fails again in the same way.
 * With one seed and FIRST every exchange is told.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "test/simulation/world.h"

enum {
    SEEDS_DEFAULT = 24,
    EXCHANGES_DEFAULT = 150,
    AUDIT_EVERY = 200, /* steps, that is bursts and sweeps */
    AUDIT_ALL_OF = 4,  /* but each of one seed in so many: it takes several times as long */
    MTU_OFTEN = 1500,
};

void world_fails(struct world *world, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(world->why, sizeof(world->why), format, arguments);
    va_end(arguments);
    longjmp(world->failed, 1);
}

uint32_t dice(struct world *world, uint32_t sides)
{
    return sides == 0 ? 0 : (uint32_t)(random_next(&world->random) % sides);
}

bool chance(struct world *world, uint32_t of_1000)
{
    return dice(world, 1000) < of_1000;
}

/* --- a world -------------------------------------------------------------------------------------- */

static uint32_t some_mtu(struct world *world, enum side side, bool gateway)
{
    static const uint32_t six[] = {1280, 1300, 1420, MTU_OFTEN, MTU_OFTEN, 9000};
    static const uint32_t four[] = {576, 1280, 1400, MTU_OFTEN, MTU_OFTEN, 9000};
    uint32_t mtu = (side == SIDE6 ? six : four)[dice(world, 6)];
    bool cuts = world->plan.fragments || !world->plan.nat64;
    /* Where the engine takes no fragments, none may be made on the way to it. */
    return side == SIDE4 && !cuts && !gateway && mtu < 1280 ? 1280 : mtu;
}

static void draw_plan(struct world *world, uint32_t exchanges)
{
    static const uint32_t losses[] = {0, 10, 50, 150};
    struct plan *plan = &world->plan;
    uint32_t kind = dice(world, 4);
    plan->nat64 = kind != 0;
    plan->siit = kind != 1;
    plan->fragments = chance(world, 700);
    plan->address_dependent = chance(world, 300);
    plan->workers = 1 + dice(world, 2);
    plan->lost = losses[dice(world, 4)];
    plan->doubled = chance(world, 500) ? 30 : 0;
    plan->overtaken = chance(world, 500) ? 100 : 0;
    plan->delay = (1 + dice(world, 30)) * MILLISECOND;
    plan->calm = 300 * SECOND;
    plan->mtu[SIDE6] = some_mtu(world, SIDE6, true);
    plan->mtu[SIDE4] = some_mtu(world, SIDE4, true);
    plan->exchanges = exchanges;
    plan->offloads = chance(world, 700) ? 700 : 0;
    plan->longest = plan->lost >= 50 ? 4000 : chance(world, 500) ? 8000 : 60000;
    plan->changes = dice(world, 8);
}

static void add_host(struct world *world, enum host_kind kind, struct address address)
{
    static const uint8_t router6[16] = {0x20, 0x01, 0x0d, 0xb8, 0, 0x0e, [15] = 0xff};
    struct host *host = &world->hosts[world->host_count++];
    *host = (struct host){.kind = kind, .side = address.version == 6 ? SIDE6 : SIDE4, .address = address};
    host->router = address.version == 6 ? address_of6(router6) : address_of4(0xcb0071feu);
    host->mtu.host = some_mtu(world, host->side, false);
    host->mtu.gateway = some_mtu(world, host->side, false);
}

static void add_hosts(struct world *world)
{
    static const uint8_t prefix64[16] = {0x20, 0x01, 0x0d, 0xb8, 0, 0x64};
    static const uint8_t prefix65[16] = {0x20, 0x01, 0x0d, 0xb8, 0, 0x65};
    uint8_t client[16] = {0x20, 0x01, 0x0d, 0xb8, 0, 0x0c};
    uint8_t mapped[16] = {0x20, 0x01, 0x0d, 0xb8, 3};
    struct address four = address_of4(0xc0000240u);
    world->prefix64 = address_of6(prefix64);
    world->prefix65 = address_of6(prefix65);
    for (uint8_t i = 1; i <= 3; i++) {
        client[15] = i;
        add_host(world, HOST_CLIENT, address_of6(client));
    }
    for (uint8_t i = 1; i <= 3; i++) {
        mapped[15] = i;
        add_host(world, HOST_MAPPED, address_of6(mapped));
    }
    add_host(world, HOST_TRANSLATABLE, address_embed(&world->prefix65, &four));
    for (uint8_t i = 1; i <= 3; i++)
        add_host(world, HOST_SERVER, address_of4(0xcb007100u + i));
}

/* A path becomes wider or narrower, and the engine is told, if it is a path of the gateway. */
static void change(void *context, void *argument)
{
    struct world *world = context;
    struct host *host = &world->hosts[dice(world, world->host_count)];
    (void)argument;
    if (chance(world, 500)) {
        host->mtu.gateway = some_mtu(world, host->side, false);
    } else if (chance(world, 500)) {
        enum side side = (enum side)dice(world, SIDES);
        world->plan.mtu[side] = some_mtu(world, side, true);
        gateway_follow(world);
    } else {
        memset(host->known, 0, sizeof(host->known)); /* as after ten minutes */
    }
}

static void open_world(struct world *world, uint64_t seed, uint32_t exchanges)
{
    world->seed = seed;
    world->random = random_seed(seed);
    world->clock.now = (1 + dice(world, 1000)) * SECOND;
    draw_plan(world, exchanges);
    world->plan.calm += world->clock.now;
    add_hosts(world);
    gateway_open(world);
    for (unsigned i = 0; i < EXCHANGES_AT_ONCE; i++)
        exchange_begin(world);
    for (unsigned i = 0; i < world->plan.changes; i++)
        clock_enter(&world->clock,
                    &(struct event){.time = world->clock.now + dice(world, 300) * SECOND, .act = change});
}

static void close_world(struct world *world)
{
    gateway_close(world);
    clock_stop(&world->clock);
    for (unsigned i = 0; i < world->host_count; i++)
        assembly_free(&world->hosts[i].assemblies);
}

static void run(struct world *world)
{
    while (world->finished < world->plan.exchanges || world->begun < world->plan.exchanges)
        if (!clock_step(&world->clock, NEVER, world))
            world_fails(world, "nothing happens any more, and not all is finished");
    uint64_t end = world->clock.now + LINGER * SECOND;
    while (clock_step(&world->clock, end, world))
        continue;
    gateway_check_emptied(world);
}

/* True: all went as it must. */
static bool simulate(uint64_t seed, uint32_t exchanges, bool loud)
{
    static struct world world;
    memset(&world, 0, sizeof(world));
    world.audit_every = seed % AUDIT_ALL_OF == 0 ? 1 : AUDIT_EVERY;
    world.loud = loud;
    bool failed = setjmp(world.failed) != 0;
    if (!failed) {
        open_world(&world, seed, exchanges);
        run(&world);
    }
    const struct plan *plan = &world.plan;
    printf("# seed %llu: %s%s%s, %u workers, %u/1000 lost, MTU %u and %u%s; %.0f s, %llu packets, %llu lost, "
           "%llu bursts, %llu audits, %llu ICMP errors, %u probes; %u done, %u refused, %u reset, %u without "
           "host, %u without port, %u filtered\n",
           (unsigned long long)seed, plan->nat64 ? "nat64" : "", plan->nat64 && plan->siit ? " and " : "",
           plan->siit ? "siit" : "", plan->workers, plan->lost, plan->mtu[SIDE6], plan->mtu[SIDE4],
           plan->fragments ? ", fragments" : "", (double)world.clock.now / 1e9,
           (unsigned long long)world.packets_sent, (unsigned long long)world.packets_lost,
           (unsigned long long)world.gateway.passes, (unsigned long long)world.gateway.audits,
           (unsigned long long)world.errors_received, world.gateway.probes, world.outcomes[OUTCOME_DONE],
           world.outcomes[OUTCOME_REFUSED], world.outcomes[OUTCOME_RESET], world.outcomes[OUTCOME_NO_HOST],
           world.outcomes[OUTCOME_NO_PORT], world.outcomes[OUTCOME_FILTERED]);
    if (failed)
        printf("# at %.6f s: %s\n", (double)world.clock.now / 1e9, world.why);
    close_world(&world);
    return !failed;
}

int main(int argc, char **argv)
{
    unsigned seeds = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : SEEDS_DEFAULT;
    uint32_t exchanges = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : EXCHANGES_DEFAULT;
    uint64_t first = argc > 3 ? strtoull(argv[3], NULL, 10) : 1;
    unsigned failures = 0;
    printf("1..%u\n", seeds);
    for (unsigned i = 0; i < seeds; i++) {
        uint64_t seed = first + i;
        if (argc <= 3 && i + 1 == seeds)
            seed = (uint64_t)time(NULL);
        bool fine = simulate(seed, exchanges, argc > 3 && seeds == 1);
        failures += !fine;
        printf("%sok %u - simulation of seed %llu\n", fine ? "" : "not ", i + 1, (unsigned long long)seed);
        (void)fflush(stdout);
    }
    return failures > 0;
}
