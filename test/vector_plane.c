/* SPDX-License-Identifier: BSD-2-Clause */
#include "test/vector_plane.h"

const unsigned vector_plane_words = 0;

const char *vector_plane_open(char **words)
{
    (void)words;
    return NULL;
}

struct table *vector_plane_table(const struct geometry *geometry)
{
    return table_create(geometry, 1);
}

struct waiting_places *vector_plane_waiting(void)
{
    return NULL;
}

bool vector_plane_start(struct engine *engine, const struct paths *paths)
{
    (void)engine;
    (void)paths;
    return true;
}

void vector_plane_receive(struct engine *engine, struct packet packets[], unsigned n, nanoseconds now,
                          enum verdict verdicts[])
{
    engine_receive(engine_worker(engine, 0), packets, n, now, verdicts);
}

void vector_plane_count(const struct engine *engine, struct engine_counters *counters)
{
    engine_count(engine, counters);
}

bool vector_plane_close(void)
{
    return true;
}
