/* SPDX-License-Identifier: BSD-2-Clause */
#include "engine/half_open.h"

#include "engine/making.h"

WIRE_INLINE uint64_t *ring_at(const struct table *table, uint64_t ticket)
{
    return half_open_slot_at(table, (uint32_t)(ticket % half_open_places(table)));
}

/* Does a slot name a session that is half-open? Then `life` is its word of life. */
WIRE_INLINE bool names_half_open(const struct table *table, uint64_t slot, uint64_t *life)
{
    if ((uint32_t)slot == 0 || slot_index(slot) >= table->constants.records)
        return false;
    const struct record *record = record_at(table, slot_index(slot));
    if (absent(record))
        return false;
    *life = atomic_load64(&record->life);
    return life_phase(*life) == PHASE_LIVE && life_generation(*life) == slot_generation(slot) &&
           state_is_half_open(life_state(*life));
}

/* The tail goes on by one, over a half-open session only if that is to `yield`; false: it stays. */
TABLE_FUNCTION bool half_open_pass(struct actor *actor, bool yield)
{
    if (absent(actor))
        return false;
    const struct table *table = table_of(actor);
    struct table_header *header = header_of(table);
    uint64_t life = 0;
    if (absent(header))
        return false;
    uint64_t tail = atomic_load64(&header->half_open_tail);
    uint64_t head = atomic_load64(&header->half_open_head);
    if (tail == head)
        return false;
    uint64_t places = half_open_places(table);
    uint64_t first = head - tail > places ? head - places : tail; /* not where the head has been again */
    uint64_t *at = ring_at(table, first);
    if (absent(at))
        return false;
    uint64_t slot = atomic_load64(at);
    bool half_open = names_half_open(table, slot, &life);
    if (half_open && !yield)
        return false;
    if (!atomic_swap_if64(&header->half_open_tail, tail, first + 1))
        return true; /* somebody else goes on */
    if (slot != 0)
        (void)atomic_swap_if64(at, slot, 0);
    if (half_open && session_end(actor, slot_index(slot), life))
        atomic_count(&actor->half_open_evicted, 1);
    return true;
}

/* rfc: 6146-5.3-a */
MAKING_FUNCTION bool half_open_join(struct actor *actor)
{
    if (absent(actor))
        return false;
    const struct table *table = table_of(actor);
    int32_t limit = (int32_t)half_open_limit(table);
    int32_t early = limit * HALF_OPEN_EARLY / 16;
    half_open_add(table, 1);
    for (size_t i = 0; i < HALF_OPEN_STEPS; i++) {
        bool many = half_open_count(table) > early;
        if ((!many && i >= 2) || !half_open_pass(actor, many))
            break;
    }
    if (half_open_count(table) <= limit)
        return true;
    half_open_add(table, -1);
    return false;
}

MAKING_FUNCTION bool half_open_enter(struct actor *actor, uint32_t index, uint16_t generation)
{
    if (absent(actor))
        return false;
    const struct table *table = table_of(actor);
    struct table_header *header = header_of(table);
    uint64_t entry = slot_make(0, generation, index);
    for (size_t i = 0; !absent(header) && i < HALF_OPEN_STEPS; i++) {
        uint64_t *at = ring_at(table, atomic_add64(&header->half_open_head, 1));
        uint64_t life = 0;
        if (absent(at))
            return false;
        uint64_t slot = atomic_load64(at);
        bool half_open = names_half_open(table, slot, &life);
        if ((half_open && i + 1 < HALF_OPEN_STEPS) || !atomic_swap_if64(at, slot, entry))
            continue;
        if (half_open && session_end(actor, slot_index(slot), life))
            atomic_count(&actor->half_open_evicted, 1);
        return true;
    }
    return false;
}
