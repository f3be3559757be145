/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The list is made of a snapshot: counters, figures of the moment, and how long lookups took. It is as long
 * as the lists that it is made from, so it comes in pieces as any other.
 */
#include "portal/dns.h"

#include <stdlib.h>
#include <string.h>

#include "control/columns.h"
#include "control/daemon.h"
#include "dns64/server.h"

enum {
    STATUS_NOT_FOUND = 404,
    LINE_MAXIMUM = 1024, /* bytes of one object; the longest here take a quarter of it */
    FIGURES = 5,
};

struct snapshot {
    struct dns64_counters counters;
    struct counter_record figures[FIGURES];
    unsigned next;
};

static void read_figures(const struct server *server, struct counter_record figures[FIGURES])
{
    struct server_state state;
    server_look(server, &state);
    const struct counter_record rows[FIGURES] = {
        {.name = "cached-answers", .sentence = "Finished answers in the cache.", .count = state.cached},
        {.name = "cached-bytes", .sentence = "Bytes that they take.", .count = state.cached_bytes},
        {.name = "questions", .sentence = "Questions that are being looked up.", .count = state.questions},
        {.name = "waiting", .sentence = "Clients that wait for them.", .count = state.waiting},
        {.name = "connections", .sentence = "TCP connections that are open.", .count = state.connections},
    };
    memcpy(figures, rows, sizeof(rows));
    for (unsigned i = 0; i < FIGURES; i++)
        figures[i].class = "now";
}

static size_t counter_line(const struct dns64_counters *counters, unsigned counter, char *text, size_t size)
{
    const struct dns64_counter_text *words = &dns64_counter_texts[counter];
    const struct counter_record record = {.name = words->name,
                                          .class = words->class,
                                          .sentence = words->sentence,
                                          .count = counters->count[counter]};
    return columns_line(&dns_columns, &record, text, size);
}

/* Bucket i counts what took less than 2^i milliseconds, and not less than the one before; the last all else.
 */
static size_t latency_line(const struct dns64_counters *counters, unsigned bucket, char *text, size_t size)
{
    const struct latency_record record = {.from = bucket == 0 ? 0 : 1ull << (bucket - 1),
                                          .below = bucket < DNS64_LATENCIES - 1 ? 1ull << bucket : 0,
                                          .lookups = counters->latency[bucket]};
    return columns_line(&latency_columns, &record, text, size);
}

/* 0 at the end of the list. */
static size_t put_line(const struct snapshot *snapshot, unsigned number, char *text, size_t size)
{
    if (number < DNS64_COUNTER_COUNT)
        return counter_line(&snapshot->counters, number, text, size);
    number -= DNS64_COUNTER_COUNT;
    if (number < FIGURES)
        return columns_line(&dns_columns, &snapshot->figures[number], text, size);
    number -= FIGURES;
    return number < DNS64_LATENCIES ? latency_line(&snapshot->counters, number, text, size) : 0;
}

static size_t next_lines(void *context, char *text, size_t size)
{
    struct snapshot *snapshot = context;
    size_t at = 0, length = 1;
    while (length > 0 && size - at > LINE_MAXIMUM) {
        length = put_line(snapshot, snapshot->next++, text + at, size - at);
        at += length;
    }
    return at;
}

void answer_dns(void *context, struct http_reply *reply)
{
    const struct daemon *daemon = context;
    if (daemon->dns_server == NULL) {
        reply->status = STATUS_NOT_FOUND;
        reply->text = strdup("{\"error\": \"dns64 is not configured; add it to the configuration file and "
                             "restart isthmus\"}\n");
        return;
    }
    struct snapshot *snapshot = calloc(1, sizeof(*snapshot));
    if (snapshot == NULL)
        return;
    server_count(daemon->dns_server, &snapshot->counters);
    read_figures(daemon->dns_server, snapshot->figures);
    reply->stream = next_lines;
    reply->stream_context = snapshot;
    reply->stream_free = free;
}
