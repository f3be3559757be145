/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The gateway: what a plane is to the engine. What has arrived within a short while is handed over in bursts,
 * each to any of the workers, so that a flow's packets meet all of them. What the engine sends to an address
 * of its own on the IPv4 side comes back in, as the kernel's routes would have it.
 */
#include <stdio.h>
#include <stdlib.h>

#include "engine/eam.h"
#include "engine/table.h"
#include "test/engine/audit.h"
#include "test/engine/packets.h"
#include "test/simulation/offload.h"
#include "test/simulation/world.h"

enum {
    GATEWAY_SESSIONS = 1024,
    GATEWAY_ADDRESSES = 2,
    HEADROOM = 2 * PACKET_HEADROOM,
    BUFFER = HEADROOM + IP_LONGEST + 64,
    POLL = 2,                 /* milliseconds at most between arrival and burst */
    ALL_GONE = 8 * 24 * 3600, /* seconds: longer than any lifetime */
    SWEEPS = 2 * SWEEP_PERIOD_SECONDS,
};

struct waiting_packet {
    struct waiting_packet *next;
    uint32_t length;
    uint8_t bytes[];
};

/* Verdicts that nothing in this world deserves. */
static const enum verdict undeserved[] = {
    VERDICT_BAD_VERSION,     VERDICT_BAD_HEADER,    VERDICT_TRUNCATED,     VERDICT_BAD_OFFLOAD,
    VERDICT_NO_ROOM,         VERDICT_ICMP_CHECKSUM, VERDICT_ICMP_INNER,    VERDICT_INDEX_FULL,
    VERDICT_CONTENTION,      VERDICT_NOT_OURS,      VERDICT_BAD_SOURCE,    VERDICT_LOOPED,
    VERDICT_EMBEDDED_BITS,   VERDICT_UNMAPPED,      VERDICT_ICMP_TYPE,     VERDICT_PROTOCOL,
    VERDICT_TABLE_FULL,      VERDICT_NON_GLOBAL,    VERDICT_HOP_LIMIT,     VERDICT_FRAGMENT_OVERLAP,
    VERDICT_FRAGMENT_LENGTH, VERDICT_UDP_FRAGMENT,  VERDICT_ICMP_FRAGMENT,
};

/* --- what the engine is told ---------------------------------------------------------------------- */

static void fill_nat64(struct world *world, struct nat64_settings *nat64)
{
    struct gateway *gateway = &world->gateway;
    static const uint32_t established[] = {TCP_ESTABLISHED_SECONDS, 900, 300, TCP_TRANSITORY_SECONDS};
    static const uint32_t udp[] = {UDP_DEFAULT_SECONDS, UDP_MINIMUM_SECONDS};
    struct ipv6_address address6 = {{0x20, 0x01, 0x0d, 0xb8, 0, 0x0f, [15] = 1}};
    strcpy(nat64->name, "simulated");
    memcpy(nat64->prefix.address.bytes, world->prefix64.bytes, 16);
    nat64->prefix.length = 96;
    nat64->address6 = address6;
    nat64->address4 = to_be32(0xc00002feu);
    nat64->filtering =
        world->plan.address_dependent ? FILTERING_ADDRESS_DEPENDENT : FILTERING_ENDPOINT_INDEPENDENT;
    nat64->sessions = GATEWAY_SESSIONS;
    nat64->sessions_per_subscriber = GATEWAY_SESSIONS;
    nat64->subscriber_prefix = SUBSCRIBER_PREFIX_DEFAULT;
    nat64->counters = chance(world, 500);
    nat64->pool = &gateway->pool;
    nat64->pool_count = 1;
    nat64->statics = gateway->statics;
    nat64->static_count = sizeof(gateway->statics) / sizeof(gateway->statics[0]);
    nat64->timeouts = (struct nat64_timeouts){.udp = udp[dice(world, 2)],
                                              .icmp = ICMP_DEFAULT_SECONDS,
                                              .tcp_established = established[dice(world, 4)],
                                              .tcp_transitory = TCP_TRANSITORY_SECONDS,
                                              .tcp_syn = TCP_INCOMING_SYN_SECONDS,
                                              .tcp_opening = chance(world, 300) ? 60 : 0,
                                              .tcp_closing = chance(world, 300) ? 60 : 0,
                                              .fragment = FRAGMENT_SECONDS};
    gateway->pool = (struct pool_range){.first = to_be32(POOL_FIRST),
                                        .count = GATEWAY_ADDRESSES,
                                        .low = 1024,
                                        .high = 65535,
                                        .transports = (1u << TRANSPORT_COUNT) - 1};
    for (unsigned i = 0; i < nat64->static_count; i++) {
        unsigned client = i % 3;
        struct static_binding *binding = &gateway->statics[i];
        *binding = (struct static_binding){.ipv4 = to_be32(POOL_FIRST + client % GATEWAY_ADDRESSES),
                                           .port6 = to_be16(SERVICE),
                                           .port4 = to_be16((uint16_t)(SERVICE + client)),
                                           .transport = (uint8_t)(i / 3)};
        memcpy(binding->ipv6.bytes, world->hosts[client].address.bytes, 16);
    }
}

static void fill_siit(struct world *world, struct siit_settings *siit)
{
    static const struct eam mapping = {.ipv4 = WIRE_SWAP32(MAPPED_FIRST),
                                       .length4 = 28,
                                       .ipv6 = {{0x20, 0x01, 0x0d, 0xb8, 3}},
                                       .length6 = 124};
    struct ipv6_address address6 = {{0x20, 0x01, 0x0d, 0xb8, 0, 0x0f, [15] = 2}};
    struct eam_problem problem;
    strcpy(siit->name, "stateless");
    memcpy(siit->prefix.address.bytes, world->prefix65.bytes, 16);
    siit->prefix.length = 96;
    siit->address6 = address6;
    siit->address4 = to_be32(0xc00002fdu);
    siit->hairpin = (uint8_t)dice(world, 2); /* intrinsic or simple */
    siit->icmp_source =
        (struct pool_range){.first = to_be32(0xc00002f8u), .count = chance(world, 500) ? 4 : 0};
    siit->eam = eam_build(&mapping, 1, &problem);
}

static struct paths *paths_now(struct world *world)
{
    struct path_routes six = {.otherwise = world->plan.mtu[SIDE6]},
                       four = {.otherwise = world->plan.mtu[SIDE4]};
    return paths_create(&six, &four);
}

static void fill_settings(struct world *world, struct settings *settings)
{
    struct translation_settings *translation = &settings->translation;
    static const uint32_t lowest[] = {1280, 1280, 1400, 1500};
    *translation = (struct translation_settings){.zeroize_traffic_class = chance(world, 200),
                                                 .tos = chance(world, 200) ? 0x28 : -1,
                                                 .amend_udp_checksum_zero = true,
                                                 .mss_clamp = chance(world, 800),
                                                 .icmp_errors_per_second = 1000,
                                                 .lowest_ipv6_mtu = lowest[dice(world, 4)]};
    settings->nat64_count = world->plan.nat64;
    settings->siit_count = world->plan.siit;
    if (world->plan.nat64)
        fill_nat64(world, &settings->nat64[0]);
    if (world->plan.siit)
        fill_siit(world, &settings->siit[0]);
}

void gateway_open(struct world *world)
{
    struct gateway *gateway = &world->gateway;
    char error[256];
    struct geometry geometry = {.sessions = GATEWAY_SESSIONS,
                                .addresses = GATEWAY_ADDRESSES,
                                .workers = world->plan.workers,
                                .counters = 1};
    fill_settings(world, &gateway->settings[0]);
    gateway->settings[1] = gateway->settings[0];
    gateway->paths = paths_now(world);
    gateway->table = table_create(&geometry, world->seed);
    if (gateway->table == NULL || gateway->paths == NULL)
        abort();
    struct engine_options options = {.table = gateway->table,
                                     .settings = &gateway->settings[0],
                                     .paths = gateway->paths,
                                     .workers = world->plan.workers,
                                     .seed = world->seed + 1,
                                     .now = world->clock.now};
    gateway->engine = engine_create(&options, error, sizeof(error));
    if (gateway->engine == NULL)
        world_fails(world, "no engine: %s", error);
    gateway->expiring = NEVER;
}

void gateway_close(struct world *world)
{
    struct gateway *gateway = &world->gateway;
    engine_destroy(gateway->engine);
    table_destroy(gateway->table);
    paths_destroy(gateway->paths);
    eam_free((struct eam_table *)(uintptr_t)gateway->settings[0].siit[0].eam);
    free(gateway->mappings);
    for (struct waiting_packet *packet = gateway->first, *next; packet != NULL; packet = next) {
        next = packet->next;
        free(packet);
    }
}

void gateway_follow(struct world *world)
{
    struct gateway *gateway = &world->gateway;
    struct paths *old = gateway->paths;
    char error[256];
    gateway->paths = paths_now(world);
    engine_replace_paths(gateway->engine, gateway->paths);
    struct settings *next = &gateway->settings[gateway->current ^= 1];
    next->translation.mss_clamp = chance(world, 500);
    if (!engine_replace_settings(gateway->engine, next, world->clock.now, error, sizeof(error)))
        world_fails(world, "settings could not be replaced: %s", error);
    if (!engine_quiet(gateway->engine))
        world_fails(world, "the engine holds what was replaced although nothing is under way");
    paths_destroy(old);
}

/* --- looking at it ---------------------------------------------------------------------------------- */

void gateway_audit(struct world *world)
{
    struct audit audit;
    const char *wrong = audit_exact(world->gateway.table, &audit);
    world->gateway.audits++;
    if (wrong != NULL)
        world_fails(world, "the audit: %s", wrong);
}

/* A burst or a sweep is over. */
static void step(struct world *world)
{
    if (++world->gateway.steps % world->audit_every == 0)
        gateway_audit(world);
}

static void check_pool(struct world *world)
{
    struct engine *engine = world->gateway.engine;
    for (uint32_t i = 0; i < engine_pool_count(engine); i++) {
        struct engine_pool pool;
        engine_pool(engine, i, &pool);
        for (unsigned transport = 0; transport < TRANSPORT_COUNT; transport++)
            if (pool.used[transport] != (i == 0 ? 2 : 1)) /* static bindings of three clients */
                world_fails(world, "%u ports of transport %u are in use when all is over",
                            pool.used[transport], transport);
    }
}

void gateway_check_emptied(struct world *world)
{
    struct engine_counters counters;
    struct audit audit;
    world->clock.now += ALL_GONE * SECOND;
    for (unsigned i = 0; i < SWEEPS; i++) {
        world->clock.now += SECOND;
        for (uint32_t number = 0; number < world->plan.workers; number++)
            engine_expire(engine_worker(world->gateway.engine, number), world->clock.now);
    }
    gateway_audit(world);
    engine_count(world->gateway.engine, &counters);
    (void)audit_exact(world->gateway.table, &audit);
    uint32_t statics = world->plan.nat64 ? 3 * TRANSPORT_COUNT : 0;
    if (audit.sessions != 0 || audit.leads != statics || audit.statics != statics)
        world_fails(world, "%u sessions and %u bindings are left", audit.sessions, audit.leads - statics);
    if (counters.sessions_created != counters.sessions_ended)
        world_fails(world, "sessions were made and not ended");
    check_pool(world);
}

/* --- packets ------------------------------------------------------------------------------------------ */

static void poll(void *context, void *argument);
static void expire(void *context, void *argument);

static void expire_at(struct world *world, uint64_t time)
{
    if (time < world->clock.now)
        time = world->clock.now;
    if (time >= world->gateway.expiring)
        return;
    world->gateway.expiring = time;
    clock_enter(&world->clock, &(struct event){.time = time, .act = expire});
}

void gateway_arrive(struct world *world, const uint8_t *bytes, uint32_t length)
{
    struct gateway *gateway = &world->gateway;
    struct waiting_packet *packet = malloc(sizeof(*packet) + length);
    if (packet == NULL)
        abort();
    packet->next = NULL;
    packet->length = length;
    memcpy(packet->bytes, bytes, length);
    if (gateway->first == NULL)
        gateway->first = packet;
    else
        gateway->last->next = packet;
    gateway->last = packet;
    gateway->waiting++;
    if (!gateway->polling) {
        uint64_t time = world->clock.now + dice(world, POLL * 1000) * (MILLISECOND / 1000);
        clock_enter(&world->clock, &(struct event){.time = time, .act = poll});
        gateway->polling = true;
    }
}

/* Has the engine addresses of its own there, and the kernel a route back into it? */
static bool comes_back(const struct world *world, const struct ip *ip)
{
    uint32_t number = address_number(&ip->destination);
    if (ip->source.version == 6)
        return false;
    return (world->plan.nat64 && number >= POOL_FIRST && number < POOL_FIRST + GATEWAY_ADDRESSES) ||
           (world->plan.siit && number - MAPPED_FIRST < 16);
}

/* One packet, whole and with its checksum, that the engine has let go. */
static void send_on(void *context, const uint8_t *bytes, uint32_t length)
{
    struct world *world = context;
    struct ip ip;
    const char *wrong = ip_read(&ip, bytes, length, false);
    if (wrong != NULL)
        world_fails(world, "the engine made a packet with %s", wrong);
    if (comes_back(world, &ip))
        gateway_arrive(world, bytes, length);
    else
        wire_from_gateway(world, bytes, length);
}

static void pull(struct world *world, struct worker *worker, int number)
{
    static uint8_t buffer[BUFFER];
    struct packet packet = {.buffer = buffer, .capacity = sizeof(buffer), .offset = HEADROOM};
    while (number >= 0 ? engine_pull_pieces(worker, (unsigned)number, &packet)
                       : engine_pull(worker, &packet)) {
        send_on(world, packet_data(&packet), packet.length);
        packet.offset = HEADROOM;
    }
}

static void judge(struct world *world, enum verdict verdict)
{
    for (unsigned i = 0; i < sizeof(undeserved) / sizeof(undeserved[0]); i++)
        if (verdict == undeserved[i])
            world_fails(world, "a packet got the verdict %s", verdict_texts[verdict].name);
}

/* Between what went in and what came out. */
static void compare(struct world *world, const struct waiting_packet *before, const struct packet *after)
{
    struct ip was, is;
    if (!world->plan.nat64 || ip_read(&was, before->bytes, before->length, false) != NULL ||
        ip_read(&is, packet_data(after), after->length, false) != NULL)
        return;
    mapping_check(world, &was, &is);
}

/* Fragments have no ports to steer by: of all with the same addresses one worker must see each. */
static bool is_for(struct world *world, const struct waiting_packet *packet, uint32_t number)
{
    struct ip ip;
    if (ip_read(&ip, packet->bytes, packet->length, false) != NULL || !ip.fragmented)
        return true;
    uint32_t mixed = address_number(&ip.source) + address_number(&ip.destination);
    return mixed % world->plan.workers == number;
}

static unsigned take(struct world *world, struct waiting_packet *taken[], unsigned n, uint32_t number)
{
    struct gateway *gateway = &world->gateway;
    unsigned i = 0;
    for (; i < n && gateway->first != NULL && is_for(world, gateway->first, number); i++) {
        taken[i] = gateway->first;
        gateway->first = gateway->first->next;
        gateway->waiting--;
    }
    return i;
}

static void give_back(struct world *world, struct worker *worker, struct waiting_packet *taken[],
                      const struct offload_burst *burst, const enum verdict verdicts[])
{
    for (unsigned i = 0; i < burst->count; i++) {
        enum verdict_class class = verdict_texts[verdicts[i]].class;
        judge(world, verdicts[i]);
        if (world->loud)
            printf("# %14.6f s    worker %u: %s\n", (double)world->clock.now / (double)SECOND,
                   (unsigned)(worker == engine_worker(world->gateway.engine, 1)),
                   verdict_texts[verdicts[i]].name);
        if (class == VERDICT_FORWARDED) {
            compare(world, taken[burst->first[i]], &burst->packets[i]);
            offload_undo(&burst->packets[i], send_on, world);
        } else if (class == VERDICT_DIVIDED || class == VERDICT_HELD) {
            pull(world, worker, (int)i);
        }
    }
    pull(world, worker, -1);
}

static void pass_burst(struct world *world)
{
    static uint8_t buffers[BURST_MAXIMUM][BUFFER];
    struct gateway *gateway = &world->gateway;
    struct waiting_packet *taken[BURST_MAXIMUM];
    enum verdict verdicts[BURST_MAXIMUM];
    struct offload_burst burst = {.offloads = chance(world, world->plan.offloads)};
    uint32_t number = dice(world, world->plan.workers);
    while (!is_for(world, gateway->first, number))
        number = (number + 1) % world->plan.workers;
    unsigned n = take(world, taken, 1 + dice(world, BURST_MAXIMUM), number);
    struct worker *worker = engine_worker(gateway->engine, number);
    for (unsigned i = 0; i < n; i++) {
        struct packet packet = {.buffer = buffers[burst.count],
                                .capacity = BUFFER,
                                .offset = HEADROOM,
                                .length = taken[i]->length};
        memcpy(packet_data(&packet), taken[i]->bytes, packet.length);
        offload_add(&burst, &packet, i);
    }
    engine_receive(worker, burst.packets, burst.count, world->clock.now, verdicts);
    give_back(world, worker, taken, &burst, verdicts);
    for (unsigned i = 0; i < n; i++)
        free(taken[i]);
    expire_at(world, engine_next_deadline(worker));
    gateway->passes++;
    step(world);
}

static void poll(void *context, void *argument)
{
    struct world *world = context;
    (void)argument;
    unsigned here = world->gateway.waiting; /* what comes back meanwhile waits for the next */
    world->gateway.polling = false;
    while (here > 0 && world->gateway.waiting > 0) {
        unsigned before = world->gateway.waiting;
        pass_burst(world);
        here -= before > world->gateway.waiting && before - world->gateway.waiting < here
                    ? before - world->gateway.waiting
                    : here;
    }
    if (world->gateway.waiting > 0 && !world->gateway.polling) {
        world->gateway.polling = true;
        clock_enter(&world->clock, &(struct event){.time = world->clock.now, .act = poll});
    }
}

static void expire(void *context, void *argument)
{
    struct world *world = context;
    struct gateway *gateway = &world->gateway;
    uint64_t next = NEVER;
    (void)argument;
    if (world->clock.now != gateway->expiring)
        return; /* an earlier one has taken this one's place */
    gateway->expiring = NEVER;
    for (uint32_t number = 0; number < world->plan.workers; number++) {
        struct worker *worker = engine_worker(gateway->engine, number);
        engine_expire(worker, world->clock.now);
        pull(world, worker, -1);
        step(world);
        if (engine_next_deadline(worker) < next)
            next = engine_next_deadline(worker);
    }
    expire_at(world, next > world->clock.now + MILLISECOND ? next : world->clock.now + MILLISECOND);
}
