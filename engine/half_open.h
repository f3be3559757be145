/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Half-open sessions: TCP connections of which one side has sent its SYN and the other has not answered.
 * Whoever sends SYNs costs the table a record for each and himself nothing, so they take at most a quarter of
 * the table, and the oldest yields to a new one (RFC 6146 section 5.3 asks for protection of this kind).
 *
 * How many there are is one count, exact however many workers there are: a place is taken before a session is
 * made and given back by whoever ends it or moves it out of the state, which one compare-and-swap of its word
 * of life decides.
 *
 * Which is the oldest tells a queue of slots, twice as many as half-open sessions may be, in a ring. A new
 * session is entered at the head; the tail passes over those that are half-open no more, two with each that
 * enters, so it stands at the oldest that still is. Above HALF_OPEN_EARLY 16ths of the limit it also takes
 * that one: early, because behind it may lie others that have long been answered, and the tail passes only
 * HALF_OPEN_STEPS of them at a time. Nothing else is ended so: the session's word of life must still say that
 * it is half-open when it is swapped.
 *
 *      passed |  oldest          others, answered or not         newest  | free
 *     --------+--[ ]-----[x]-----[ ]-----[x]-----[x]-----[ ]-----[ ]-----+--------
 *             tail                                                       head
 *
 * A head that comes round to a half-open session steps over it, which makes that as good as new.
 */
#ifndef ENGINE_HALF_OPEN_H
#define ENGINE_HALF_OPEN_H

#include "engine/layout.h"
#include "engine/tcp_state.h"

WIRE_INLINE bool state_is_half_open(uint8_t state)
{
    return state == TCP_V6_INIT || state == TCP_V4_INIT;
}

/* Records are a quarter more than sessions, so a fifth of them is a quarter of the table. */
WIRE_INLINE uint32_t half_open_limit(const struct table *table)
{
    return table->constants.records / 5;
}

/* Slots of the ring. */
WIRE_INLINE uint32_t half_open_places(const struct table *table)
{
    return 2 * half_open_limit(table);
}

/* How many there are; never less than the truth, but for an instant perhaps below 0. */
WIRE_INLINE int32_t half_open_count(const struct table *table)
{
    const struct table_header *header = header_of(table);
    return absent(header) ? 0 : (int32_t)atomic_load32(&header->half_open);
}

WIRE_INLINE void half_open_add(const struct table *table, int32_t more)
{
    struct table_header *header = header_of(table);
    if (!absent(header))
        (void)atomic_add32(&header->half_open, (uint32_t)more);
}

/* Changes the word of life of a live session, and the count with it. */
WIRE_INLINE bool half_open_swap(const struct table *table, struct record *record, uint64_t from, uint64_t to)
{
    bool was = state_is_half_open(life_state(from)), is = state_is_half_open(life_state(to));
    if (!was && is)
        half_open_add(table, 1);
    bool swapped = atomic_swap_if64(&record->life, from, to);
    if (was != is && was == swapped)
        half_open_add(table, -1);
    return swapped;
}

#endif /* ENGINE_HALF_OPEN_H */
