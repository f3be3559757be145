/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the vectors run through: the engine alone (test/vector_plane.c), or another plane in front of it,
 * which translates packets itself or leaves them to the engine. One of them is linked in.
 */
#ifndef TEST_VECTOR_PLANE_H
#define TEST_VECTOR_PLANE_H

#include "engine/engine.h"

/* Words of the command line in front of the vectors' directory. */
extern const unsigned vector_plane_words;

/* Before all vectors. NULL, or why they cannot be run here. */
const char *vector_plane_open(char **words);

/* An empty table for the next vector; NULL: out of memory. */
struct table *vector_plane_table(const struct geometry *geometry);

/* For engine_options.waiting. */
struct waiting_places *vector_plane_waiting(void);

/* The vector's engine is there; false: the plane could not be set up for it. */
bool vector_plane_start(struct engine *engine, const struct paths *paths);

/* As engine_receive. */
void vector_plane_receive(struct engine *engine, struct packet packets[], unsigned n, nanoseconds now,
                          enum verdict verdicts[]);

/* As engine_count. */
void vector_plane_count(const struct engine *engine, struct engine_counters *counters);

/* After all vectors: prints what the plane did by itself, as comments. False: that is not enough. */
bool vector_plane_close(void);

#endif /* TEST_VECTOR_PLANE_H */
