/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The session table from outside: how large it is, and over which memory it lies. Its layout and the
 * functions that work on it are in engine/layout.h and the headers named there; only the engine needs those.
 *
 * A table is TABLE_SEGMENTS pieces of memory, each an array of one element, with no pointer in any of them.
 * Whoever wants the table to outlive the program or to be shared provides the pieces: mapped from a file, or
 * from BPF array maps, which want an element size and a count each.
 */
#ifndef ENGINE_TABLE_H
#define ENGINE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct geometry {
    uint32_t sessions;  /* 64 to 2^28 */
    uint32_t addresses; /* pool addresses, 1 to 4096 */
    uint32_t workers;   /* threads of the plane, 1 to WORKERS_MAXIMUM; the control plane comes on top */
    uint32_t counters;  /* 1: packets and bytes are counted per session and direction; else 0 */
    uint32_t
        instances; /* 0; earlier versions had a sum of the prefixes here, and are taken over by copying */
};

static inline bool geometry_equal(const struct geometry *a, const struct geometry *b)
{
    return a->sessions == b->sessions && a->addresses == b->addresses && a->workers == b->workers &&
           a->counters == b->counters && a->instances == b->instances;
}

enum {
    TABLE_SEGMENTS = 11,
    TABLE_SEGMENTS_OLDER = 10, /* that the layouts before the present one have */
    TABLE_LAYOUT = 4,          /* raised with every change of the structures in engine/layout.h */
    TABLE_LAYOUT_OLDEST = 2,   /* that engine_create can take over; its segments have the same sizes */
};

struct extent {
    size_t element; /* bytes, a multiple of 8 */
    size_t count;   /* 0: a table of this geometry has no such segment */
};

struct table;

/* Size of a segment, 0 to TABLE_SEGMENTS - 1. Segment 0 is the header and has one element. */
struct extent table_extent(const struct geometry *geometry, unsigned segment);

/* An empty table in memory of its own, or NULL if that is short. Pages are not touched before they are used.
 */
struct table *table_create(const struct geometry *geometry, uint64_t seed);

/*
 * An empty table over zeroed memory of the caller's, which must outlive it: memory[i] holds segment i, on a
 * boundary of 64 bytes, and is NULL where the extent's count is 0. NULL if memory for the handle is short.
 */
struct table *table_format(void *const memory[TABLE_SEGMENTS], const struct geometry *geometry,
                           uint64_t seed);

/*
 * The table that somebody formatted over this memory, of the very geometry given (which the caller knows from
 * where it keeps the memory). One of an older layout is good for engine_options.previous only. NULL with a
 * sentence in `error` if its header says otherwise: another layout, another geometry, or no table. What the
 * header does not tell is not believed either: engine_create() builds everything but the records anew.
 */
struct table *table_attach(void *const memory[TABLE_SEGMENTS], const struct geometry *geometry, char *error,
                           size_t size);

/* Frees what table_create() made; of the others only the handle. NULL is ignored. */
void table_destroy(struct table *table);

/* Bytes that a table of this geometry takes at most: for sessions and their indexes, and for pool addresses.
 */
struct table_memory {
    size_t sessions;
    size_t addresses;
};
struct table_memory table_memory(const struct geometry *geometry);

#endif /* ENGINE_TABLE_H */
