/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The session table: making it, and how large it is. Its layout and the functions that work on it are in
 * engine/layout.h and the headers named there; only the engine needs those.
 */
#ifndef ENGINE_TABLE_H
#define ENGINE_TABLE_H

#include <stddef.h>
#include <stdint.h>

struct geometry {
    uint32_t sessions;  /* 64 to 2^28 */
    uint32_t addresses; /* pool addresses, 1 to 4096 */
    uint32_t workers;   /* threads of the plane, 1 to WORKERS_MAXIMUM; the control plane comes on top */
};

struct table;

/* An empty table, or NULL if memory is short. Pages are not touched before they are used. */
struct table *table_create(const struct geometry *geometry, uint64_t seed);
void table_destroy(struct table *table);

/* Bytes that a table of this geometry takes at most: for sessions and their indexes, and for pool addresses.
 */
struct table_memory {
    size_t sessions;
    size_t addresses;
};
struct table_memory table_memory(const struct geometry *geometry);

#endif /* ENGINE_TABLE_H */
