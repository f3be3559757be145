/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The engine alone: bursts of 32, 64-byte UDP packets, sessions in random order, no plane, over both backings
 * of the table. It prints one JSON object a measurement; progress goes to stderr.
 *
 *   bench_engine                             everything, one core; then two cores against one
 *   bench_engine KIND SESSIONS PACKETS       one kind alone, for callgrind: idle, 6to4, 4to6 or create
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/flows.h"

enum {
    ROUNDS = 7, /* the median of which counts */
    PACKETS = 1 << 20,
    PAIRS = 5, /* of one thread and two, alternating */
    THREADS = 2,
    MILLION = 1000000,
};

static struct sender senders[THREADS];

static void print_of(const char *what, const char *label, const char *suffix, double value, const char *unit)
{
    char name[96];
    snprintf(name, sizeof(name), "engine.%s.%s%s", what, label, suffix);
    print_figure(name, value, unit, NULL, 0);
}

static void measure(uint32_t sessions, const char *label, enum backing backing)
{
    double forward[ROUNDS], reverse[ROUNDS];
    const char *suffix = backing == BACKING_FILE ? ".file" : "";
    char reversed[32];
    struct bench bench;
    bench_open(&bench, sessions, 1, backing);
    sender_open(&senders[0], &bench, 0);
    fprintf(stderr, "engine: %s sessions over %s: creating\n", label, backing_names[backing]);
    double creation = make_sessions(&senders[0], 0, sessions);
    for (unsigned round = 0; round < ROUNDS; round++) {
        fprintf(stderr, "engine: %s sessions over %s: round %u of %u\n", label, backing_names[backing],
                round + 1, ROUNDS);
        forward[round] = PACKETS / send_established(&senders[0], true, PACKETS) / 1e6;
        reverse[round] = PACKETS / send_established(&senders[0], false, PACKETS) / 1e6;
    }
    print_of("established", label, suffix, median(forward, ROUNDS), "Mpps");
    snprintf(reversed, sizeof(reversed), ".4to6%s", suffix);
    print_of("established", label, reversed, median(reverse, ROUNDS), "Mpps");
    print_of("page", label, suffix, page_size(&bench), "KiB");
    if (sessions >= MILLION)
        print_of("create", label, suffix, sessions / creation / 1e6, "M/s");
    bench_close(&bench);
}

/* --- two workers against one ---------------------------------------------------------------------- */

struct job {
    struct sender *sender;
    bool creates;
    uint32_t first, count;
    double rate; /* a second of the engine's time */
};

static void *run_job(void *argument)
{
    struct job *job = argument;
    double taken = job->creates ? make_sessions(job->sender, job->first, job->count)
                                : send_established(job->sender, true, job->count);
    job->rate = job->count / taken;
    return NULL;
}

/* Runs the jobs at once; the sum of their rates. */
static double run_jobs(struct job *jobs, unsigned n)
{
    pthread_t threads[THREADS];
    double rate = 0;
    for (unsigned i = 0; i < n; i++)
        if (pthread_create(&threads[i], NULL, run_job, &jobs[i]) != 0)
            exit(1);
    for (unsigned i = 0; i < n; i++) {
        pthread_join(threads[i], NULL);
        rate += jobs[i].rate;
    }
    return rate;
}

/* The same work by one worker and by two; what two gain. */
static void measure_two(bool creates, const char *name)
{
    double ratios[PAIRS], rates[PAIRS];
    uint32_t work = creates ? MILLION : 4 * PACKETS;
    for (unsigned pair = 0; pair < PAIRS; pair++) {
        double rate[THREADS];
        for (unsigned n = 1; n <= THREADS; n++) {
            struct bench bench;
            struct job jobs[THREADS];
            bench_open(&bench, MILLION, THREADS, BACKING_FILE);
            for (unsigned i = 0; i < n; i++) {
                sender_open(&senders[i], &bench, i);
                jobs[i] = (struct job){&senders[i], creates, i * (work / n), work / n, 0};
            }
            if (!creates)
                (void)make_sessions(&senders[0], 0, MILLION);
            rate[n - 1] = run_jobs(jobs, n);
            bench_close(&bench);
        }
        fprintf(stderr, "engine: two workers against one, %s: pair %u of %u\n", name, pair + 1, PAIRS);
        ratios[pair] = rate[1] / rate[0];
        rates[pair] = rate[1] / 1e6;
    }
    print_figure(name, median(rates, PAIRS), creates ? "M/s" : "Mpps", "one worker", median(ratios, PAIRS));
}

/* --- for callgrind --------------------------------------------------------------------------------- */

static int run_one(const char *kind, uint32_t sessions, uint32_t packets)
{
    struct bench bench;
    bool creates = strcmp(kind, "create") == 0;
    bench_open(&bench, creates ? packets : sessions, 1, BACKING_MEMORY);
    sender_open(&senders[0], &bench, 0);
    (void)make_sessions(&senders[0], 0, creates ? packets : sessions);
    if (strcmp(kind, "6to4") == 0 || strcmp(kind, "4to6") == 0)
        (void)send_established(&senders[0], kind[0] == '6', packets);
    else if (!creates && strcmp(kind, "idle") != 0)
        return 2;
    bench_close(&bench);
    return 0;
}

int main(int count, char **arguments)
{
    static const struct {
        uint32_t sessions;
        const char *label;
    } sizes[] = {{1000, "1k"}, {MILLION, "1M"}, {10 * MILLION, "10M"}};
    if (count == 4)
        return run_one(arguments[1], (uint32_t)strtoul(arguments[2], NULL, 10),
                       (uint32_t)strtoul(arguments[3], NULL, 10));
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        for (enum backing backing = 0; backing < BACKING_COUNT; backing++)
            if (sessions_fit(sizes[i].sessions))
                measure(sizes[i].sessions, sizes[i].label, backing);
            else
                fprintf(stderr, "engine: %s sessions left out: half of this machine's memory\n",
                        sizes[i].label);
    measure_two(false, "engine.two-workers.established.1M");
    measure_two(true, "engine.two-workers.create.1M");
    return 0;
}
