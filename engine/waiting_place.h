/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The places of stored SYNs, see engine/waiting.h: words that workers share, and kernel programs with them,
 * which may receive the client's SYN as well.
 */
#ifndef ENGINE_WAITING_PLACE_H
#define ENGINE_WAITING_PLACE_H

#include "engine/atomic.h"
#include "engine/limits.h"

enum {
    WAITING_SET = 8, /* places that a flow may have */
    WAITING_SETS = WAITING_SYNS / WAITING_SET,
};

struct waiting_places {
    uint64_t place[WAITING_SYNS];
};

/* A place's word: part of the hash (32 bits), the second it is due in (24), its phase (8). */
enum place_phase {
    PLACE_EMPTY,
    PLACE_BUSY,
    PLACE_STORED,
};

WIRE_INLINE bool place_is_of(uint64_t word, uint64_t hash)
{
    return (word & 0xff) == PLACE_STORED && word >> 32 == hash >> 32;
}

WIRE_INLINE uint32_t first_place(uint64_t hash)
{
    return (uint32_t)(hash % WAITING_SETS) * WAITING_SET;
}

/* Empties the place of this flow; false: it has none. */
WIRE_INLINE bool waiting_empty(struct waiting_places *places, uint64_t hash)
{
    for (uint32_t i = 0; i < WAITING_SET; i++) {
        uint64_t *place = &places->place[first_place(hash) + i];
        uint64_t word = atomic_load64(place);
        if (place_is_of(word, hash) && atomic_swap_if64(place, word, PLACE_EMPTY))
            return true;
    }
    return false;
}

#endif /* ENGINE_WAITING_PLACE_H */
