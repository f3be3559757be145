/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The session table without packets: how much memory it takes, how long ports, the sweep and a restart
 * take. It prints one JSON object a measurement; progress goes to stderr.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "bench/flows.h"
#include "engine/layout.h"
#include "engine/memory.h"
#include "engine/ports.h"
#include "engine/random.h"

enum {
    ROUNDS = 7, /* the median of which counts */
    CLAIMS = 1 << 18,
    FIRST_PORT = 1024,
    PORTS = 65536 - FIRST_PORT,
};

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* --- memory ---------------------------------------------------------------------------------------- */

static void measure_memory(void)
{
    struct geometry geometry = {.sessions = 1u << 20, .addresses = 1, .workers = 1};
    struct table_memory memory = table_memory(&geometry);
    print_figure("table.bytes-per-session", (double)memory.sessions / geometry.sessions, "B", NULL, 0);
    print_figure("table.kib-per-pool-address", (double)memory.addresses / 1024, "KiB", NULL, 0);
    geometry.counters = 1;
    print_figure("table.bytes-per-session.counters",
                 (double)table_memory(&geometry).sessions / geometry.sessions, "B", NULL, 0);
}

/* --- ports ----------------------------------------------------------------------------------------- */

static void fisher_yates(uint16_t *ports, unsigned n, struct random *random)
{
    for (unsigned i = n - 1; i > 0; i--) {
        unsigned other = (unsigned)(random_next(random) % (i + 1));
        uint16_t port = ports[i];
        ports[i] = ports[other];
        ports[other] = port;
    }
}

/* Claims and releases with all but `free` ports taken: each claim's port goes back in the next round. */
static double port_round(struct port_map *map, unsigned free, struct random *random)
{
    static be16 wanted[CLAIMS];
    int port = -1;
    for (unsigned i = 0; i < CLAIMS; i++)
        wanted[i] = to_be16((uint16_t)(FIRST_PORT + random_next(random) % PORTS));
    double start = seconds();
    for (unsigned i = 0; i < CLAIMS; i++) {
        int next = ports_claim(map, wanted[i], random_next(random));
        if ((next < 0) != (free == 0)) {
            fprintf(stderr, "table benchmark: a claim went wrong\n");
            exit(1);
        }
        if (next >= 0 && port >= 0)
            ports_release(map, (uint16_t)port);
        port = next >= 0 ? next : port;
        if (free == 1 && port >= 0) {
            ports_release(map, (uint16_t)port);
            port = -1;
        }
    }
    double taken = seconds() - start;
    if (port >= 0)
        ports_release(map, (uint16_t)port);
    return taken / CLAIMS * 1e9;
}

static void measure_ports(const char *name, unsigned free)
{
    static uint16_t order[PORTS];
    double rounds[ROUNDS];
    struct random random = random_seed(7);
    struct port_map *map = memory_map(sizeof(*map));
    if (map == NULL)
        exit(1);
    for (unsigned i = 0; i < PORTS; i++) {
        order[i] = (uint16_t)(FIRST_PORT + i);
        ports_allow(map, order[i]);
    }
    fisher_yates(order, PORTS, &random);
    for (unsigned i = free; i < PORTS; i++)
        if (!ports_take(map, order[i]))
            exit(1);
    for (unsigned round = 0; round < ROUNDS; round++)
        rounds[round] = port_round(map, free, &random);
    print_figure(name, median(rounds, ROUNDS), "ns", NULL, 0);
    memory_unmap(map, sizeof(*map));
}

/* --- sweep and restart ----------------------------------------------------------------------------- */

/* One visit of every record, nothing being past its lifetime; as a share of a core, given the period. */
static void measure_scan(struct bench *bench, const char *label)
{
    char name[64];
    struct worker *worker = engine_worker(bench->engine, 0);
    uint64_t period = SWEEP_PERIOD_SECONDS * 1000000000ull;
    double start = seconds();
    uint64_t end = bench->now + period;
    for (uint64_t now = bench->now; now < end; now = engine_next_deadline(worker))
        engine_expire(worker, now);
    double taken = seconds() - start;
    bench->now = end;
    snprintf(name, sizeof(name), "table.scan.%s", label);
    print_figure(name, taken / SWEEP_PERIOD_SECONDS * 100, "% of a core", NULL, 0);
}

static struct engine *restart(struct bench *bench, const struct table *previous, struct table *table,
                              double *taken)
{
    struct engine_options options = {.table = table,
                                     .previous = previous,
                                     .settings = &bench->settings,
                                     .workers = 1,
                                     .seed = 3,
                                     .now = bench->now};
    char error[256];
    double start = seconds();
    struct engine *engine = engine_create(&options, error, sizeof(error));
    *taken = seconds() - start;
    struct engine_continued continued = {0};
    if (engine != NULL)
        engine_continued(engine, &continued);
    if (continued.sessions != bench->sessions) {
        fprintf(stderr, "table benchmark: %u of %u sessions went on\n", continued.sessions, bench->sessions);
        exit(1);
    }
    return engine;
}

/* The next daemon takes over what this one had. */
static void measure_restart(struct bench *bench, const char *label)
{
    char name[64];
    double taken;
    engine_destroy(bench->engine);
    bench->engine = restart(bench, NULL, bench->table, &taken);
    snprintf(name, sizeof(name), "table.restart.%s", label);
    print_figure(name, taken, "s", NULL, 0);

    uint32_t larger = bench->sessions + bench->sessions / 8;
    struct geometry geometry = {.sessions = larger, .addresses = bench->range.count, .workers = 1};
    struct table *table = sessions_fit(2 * larger) ? table_create(&geometry, 5) : NULL;
    if (table == NULL)
        return;
    engine_destroy(restart(bench, bench->table, table, &taken));
    table_destroy(table);
    snprintf(name, sizeof(name), "table.restart-enlarged.%s", label);
    print_figure(name, taken, "s", NULL, 0);
}

static void measure_ending(struct bench *bench, const char *label)
{
    char name[64];
    struct worker *worker = engine_worker(bench->engine, 0);
    struct engine_counters counters;
    bench->now += 400 * 1000000000ull;
    double start = seconds();
    nanoseconds now = bench->now;
    do {
        engine_expire(worker, now);
        now = engine_next_deadline(worker) > now ? engine_next_deadline(worker) : now;
        engine_count(bench->engine, &counters);
    } while (counters.sessions_ended < bench->sessions);
    double taken = seconds() - start;
    snprintf(name, sizeof(name), "table.end.%s", label);
    print_figure(name, bench->sessions / taken / 1e6, "M/s", NULL, 0);
}

static void measure_life(uint32_t sessions, const char *label)
{
    static struct sender sender;
    struct bench bench;
    char name[64];
    if (!sessions_fit(sessions)) {
        fprintf(stderr, "table: %s sessions left out: half of this machine's memory\n", label);
        return;
    }
    bench_open(&bench, sessions, 1, BACKING_FILE);
    sender_open(&sender, &bench, 0);
    fprintf(stderr, "table: %s sessions: creating\n", label);
    (void)make_sessions(&sender, 0, sessions);
    fprintf(stderr, "table: %s sessions: scanning, restarting, ending\n", label);
    measure_scan(&bench, label);
    measure_restart(&bench, label);
    measure_ending(&bench, label);
    fprintf(stderr, "table: %s sessions: creating again\n", label);
    sender_open(&sender, &bench, 0);
    snprintf(name, sizeof(name), "table.create-again.%s", label);
    print_figure(name, sessions / make_sessions(&sender, 0, sessions) / 1e6, "M/s", NULL, 0);
    bench_close(&bench);
}

int main(void)
{
    measure_memory();
    measure_ports("table.port.50%", PORTS / 2);
    measure_ports("table.port.90%", PORTS / 10);
    measure_ports("table.port.99%", PORTS / 100);
    measure_ports("table.port.last", 1);
    measure_ports("table.port.100%", 0);
    measure_life(1000000, "1M");
    measure_life(10000000, "10M");
    return 0;
}
