/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Records: getting a free one, giving one back, and reading one that may be reused meanwhile.
 *
 * Free records lie on one stack a lane (a worker), so that workers rarely meet; a worker whose stack is empty
 * takes a never used record, then one of another lane. The top of a stack carries a tag that changes with
 * every operation, so a compare-and-swap cannot succeed on a stack that changed in between.
 *
 * A record may be reused as soon as no index names it. See engine/layout.h for how readers live with that.
 */
#ifndef ENGINE_RECORDS_H
#define ENGINE_RECORDS_H

#include "engine/layout.h"

WIRE_INLINE uint64_t stack_top(uint64_t old, uint32_t link)
{
    return ((old & 0xffffffff00000000ull) + 0x100000000ull) | link;
}

/* Gives back a record whose phase is FREE, or which the caller has only just taken; false: it is lost. */
TABLE_FUNCTION bool records_push(const struct table *table, uint32_t lane_number, uint32_t index)
{
    struct lane *lane = lane_at(table, lane_number);
    struct record *record = record_at(table, index);
    if (absent(table) || absent(lane) || absent(record))
        return false;
    for (size_t tries = 0; tries < STACK_TRIES; tries++) {
        uint64_t old = atomic_load64(&lane->free);
        atomic_store32(&record->lead, (uint32_t)old);
        if (atomic_swap_if64(&lane->free, old, stack_top(old, index + 1)))
            return true;
    }
    return false;
}

TABLE_FUNCTION uint32_t records_pop(const struct table *table, uint32_t lane_number)
{
    struct lane *lane = lane_at(table, lane_number);
    if (absent(table) || absent(lane))
        return NO_RECORD;
    for (size_t tries = 0; tries < STACK_TRIES; tries++) {
        uint64_t old = atomic_load64(&lane->free);
        if ((uint32_t)old == 0)
            return NO_RECORD;
        if ((uint32_t)old - 1 >= table->constants.records)
            return NO_RECORD;
        const struct record *record = record_at(table, (uint32_t)old - 1);
        if (absent(record))
            return NO_RECORD;
        uint32_t next = atomic_load32(&record->lead);
        if (atomic_swap_if64(&lane->free, old, stack_top(old, next)))
            return (uint32_t)old - 1;
    }
    return NO_RECORD;
}

/* A record that nobody else has, or NO_RECORD. */
TABLE_FUNCTION uint32_t records_take(const struct table *table, uint32_t lane)
{
    struct table_header *header = header_of(table);
    if (absent(table) || absent(header))
        return NO_RECORD;
    uint32_t index = records_pop(table, lane);
    if (index != NO_RECORD)
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
    uint64_t fresh = absent(header) ? 0 : atomic_load64(&header->fresh);
    return fresh < table->constants.records ? (uint32_t)fresh : table->constants.records;
}

/* A record as eight words; the only way a record that others may reuse is read or filled. */
enum {
    RECORD_WORDS = sizeof(struct record) / sizeof(word64),
};

/*
 * Copies a record. True: the copy is whole and of that generation. The word of life is read first and
 * again last, a maker writes it before anything else, and each word is loaded after those before it.
 */
WIRE_INLINE bool record_read(const struct record *record, uint16_t generation, struct record *copy)
{
    const word64 *from = (const word64 *)record;
    word64 *to = (word64 *)copy;
#pragma GCC unroll 8
    for (unsigned i = 0; i < RECORD_WORDS; i++)
        to[i] = atomic_load64(&from[i]);
    return life_generation(copy->life) == generation &&
           life_generation(atomic_load64(&record->life)) == generation;
}

/* Writes all of a record but its word of life, which must already have the new generation. */
WIRE_INLINE void record_fill(struct record *record, const struct record *filled)
{
    const word64 *from = (const word64 *)filled;
    word64 *to = (word64 *)record;
#pragma GCC unroll 8
    for (unsigned i = 1; i < RECORD_WORDS; i++)
        atomic_store64(&to[i], from[i]);
}

#endif /* ENGINE_RECORDS_H */
