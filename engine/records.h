/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Records: getting a free one, and reusing one only when nobody can still be reading it.
 *
 * Free records lie on one stack a lane (a worker), so that workers rarely meet; a worker whose stack is empty
 * takes a never used record, then one of another lane. The top of a stack carries a tag that changes with
 * every operation, so a compare-and-swap cannot succeed on a stack that changed in between.
 *
 * Retired records wait. Each lane announces the epoch in which its burst began; retiring a record notes the
 * epoch and advances it. When every lane that is in a burst began it later, no reader can hold the record,
 * and it becomes free. The lists of retired records belong to one worker each and are ordered by epoch.
 */
#ifndef ENGINE_RECORDS_H
#define ENGINE_RECORDS_H

#include "engine/layout.h"

WIRE_INLINE uint64_t stack_top(uint64_t old, uint32_t link)
{
    return ((old & 0xffffffff00000000ull) + 0x100000000ull) | link;
}

WIRE_INLINE void records_push(const struct table *table, uint32_t lane_number, uint32_t index)
{
    struct lane *lane = lane_at(table, lane_number);
    struct record *record = record_at(table, index);
    if (lane == NULL || record == NULL)
        return;
    for (unsigned tries = 0; tries < 1024; tries++) {
        uint64_t old = atomic_load64(&lane->free);
        atomic_store32(&record->next, (uint32_t)old);
        if (atomic_swap_if64(&lane->free, old, stack_top(old, index + 1)))
            return;
    }
}

WIRE_INLINE uint32_t records_pop(const struct table *table, uint32_t lane_number)
{
    struct lane *lane = lane_at(table, lane_number);
    if (lane == NULL)
        return NO_RECORD;
    for (unsigned tries = 0; tries < 1024; tries++) {
        uint64_t old = atomic_load64(&lane->free);
        if ((uint32_t)old == 0)
            return NO_RECORD;
        const struct record *record = record_at(table, (uint32_t)old - 1);
        if (record == NULL)
            return NO_RECORD;
        uint32_t next = atomic_load32(&record->next);
        if (atomic_swap_if64(&lane->free, old, stack_top(old, next)))
            return (uint32_t)old - 1;
    }
    return NO_RECORD;
}

/* A record that nobody else has, or NO_RECORD. */
WIRE_INLINE uint32_t records_take(const struct table *table, uint32_t lane)
{
    struct table_header *header = header_of(table);
    uint32_t index = records_pop(table, lane);
    if (index != NO_RECORD || header == NULL)
        return index;
    if (atomic_load64(&header->fresh) < table->constants.records) {
        uint64_t fresh = atomic_add64(&header->fresh, 1);
        if (fresh < table->constants.records)
            return (uint32_t)fresh;
    }
    for (uint32_t i = 1; i < table->constants.lanes && i < LANES_MAXIMUM; i++) {
        uint32_t other = lane + i < table->constants.lanes ? lane + i : lane + i - table->constants.lanes;
        index = records_pop(table, other);
        if (index != NO_RECORD)
            return index;
    }
    return NO_RECORD;
}

/* How many records were ever in use: scans need not look further. */
WIRE_INLINE uint32_t records_used(const struct table *table)
{
    const struct table_header *header = header_of(table);
    uint64_t fresh = header != NULL ? atomic_load64(&header->fresh) : 0;
    return fresh < table->constants.records ? (uint32_t)fresh : table->constants.records;
}

#ifndef __bpf__

/* Retired records of one worker, oldest first. */
struct retired {
    uint32_t oldest, newest; /* index plus one; 0: none */
    uint32_t count;
    uint32_t safe; /* records retired before this epoch may be reused; as last seen */
};

/* A burst begins: whatever is reachable now stays whole until the burst ends. */
WIRE_INLINE void lane_enter(const struct table *table, uint32_t lane)
{
    atomic_announce64(&lane_at(table, lane)->reader, atomic_load64(&header_of(table)->epoch));
}

WIRE_INLINE void lane_leave(const struct table *table, uint32_t lane)
{
    atomic_store64(&lane_at(table, lane)->reader, 0);
}

/*
 * Puts a record that no index names any more on the list. Its epoch is kept in the word of life, which
 * has no other use while the phase is FREE.
 */
WIRE_INLINE void records_retire(const struct table *table, struct retired *retired, uint32_t index)
{
    struct record *record = record_at(table, index);
    uint32_t epoch = (uint32_t)atomic_add64(&header_of(table)->epoch, 1);
    atomic_store32(&record->next, 0);
    atomic_store64(&record->life, life_make(epoch, 0, PHASE_FREE));
    if (retired->newest != 0)
        atomic_store32(&record_at(table, retired->newest - 1)->next, index + 1);
    else
        retired->oldest = index + 1;
    retired->newest = index + 1;
    retired->count++;
}

/* The oldest epoch that a burst under way began in; the current one if there is none. */
WIRE_INLINE uint64_t lanes_oldest(const struct table *table)
{
    atomic_settle();
    uint64_t oldest = atomic_load64(&header_of(table)->epoch);
    for (uint32_t i = 0; i < table->constants.lanes; i++) {
        uint64_t reader = atomic_load64(&lane_at(table, i)->reader);
        if (reader != 0 && reader < oldest)
            oldest = reader;
    }
    return oldest;
}

/* Frees up to `most` retired records that are past every reader. */
WIRE_INLINE void records_reclaim(const struct table *table, uint32_t lane, struct retired *retired,
                                 unsigned most)
{
    for (; most > 0 && retired->oldest != 0; most--) {
        uint32_t index = retired->oldest - 1;
        struct record *record = record_at(table, index);
        uint32_t epoch = life_expires(atomic_load64(&record->life));
        if ((int32_t)(epoch - retired->safe) >= 0)
            retired->safe = (uint32_t)lanes_oldest(table);
        if ((int32_t)(epoch - retired->safe) >= 0)
            return;
        retired->oldest = record->next;
        if (retired->oldest == 0)
            retired->newest = 0;
        retired->count--;
        records_push(table, lane, index);
    }
}

#endif /* !__bpf__ */

#endif /* ENGINE_RECORDS_H */
