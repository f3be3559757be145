/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The table's code compiled once more, with each of its atomic operations made a step of whoever runs it.
 *
 * To be included before anything else of the engine, once in a program. What the program links of the engine
 * uses the functions compiled here; only actors are ever stopped in them.
 */
#ifndef TEST_ENGINE_STEPS_H
#define TEST_ENGINE_STEPS_H

#include "engine/atomic.h"
#include "test/engine/stepper.h"

static void step(bool writes)
{
    struct stepper *own = stepper_running;
    if (own == NULL || (!writes && !own->all) || ++own->steps != own->stop)
        return;
    own->steps--; /* it is still to be taken */
    stepper_running = NULL;
    (void)swapcontext(&own->context, &stepper_home);
}

WIRE_INLINE uint64_t stepped_load64(const word64 *at)
{
    step(false);
    return atomic_load64(at);
}

WIRE_INLINE uint32_t stepped_load32(const uint32_t *at)
{
    step(false);
    return atomic_load32(at);
}

WIRE_INLINE void stepped_store64(word64 *at, uint64_t value)
{
    step(true);
    atomic_store64(at, value);
}

WIRE_INLINE void stepped_store32(uint32_t *at, uint32_t value)
{
    step(true);
    atomic_store32(at, value);
}

WIRE_INLINE bool stepped_swap_if64(uint64_t *at, uint64_t expected, uint64_t value)
{
    step(true);
    return atomic_swap_if64(at, expected, value);
}

WIRE_INLINE bool stepped_swap_if32(uint32_t *at, uint32_t expected, uint32_t value)
{
    step(true);
    return atomic_swap_if32(at, expected, value);
}

WIRE_INLINE uint64_t stepped_add64(uint64_t *at, uint64_t value)
{
    step(true);
    return atomic_add64(at, value);
}

WIRE_INLINE uint32_t stepped_add32(uint32_t *at, uint32_t value)
{
    step(true);
    return atomic_add32(at, value);
}

WIRE_INLINE uint64_t stepped_or64(uint64_t *at, uint64_t value)
{
    step(true);
    return atomic_or64(at, value);
}

WIRE_INLINE uint64_t stepped_and64(uint64_t *at, uint64_t value)
{
    step(true);
    return atomic_and64(at, value);
}

#define atomic_load64    stepped_load64
#define atomic_load32    stepped_load32
#define atomic_store64   stepped_store64
#define atomic_store32   stepped_store32
#define atomic_swap_if64 stepped_swap_if64
#define atomic_swap_if32 stepped_swap_if32
#define atomic_add64     stepped_add64
#define atomic_add32     stepped_add32
#define atomic_or64      stepped_or64
#define atomic_and64     stepped_and64

#include "engine/making.c" /* NOLINT(bugprone-suspicious-include): with the operations above */

#endif /* TEST_ENGINE_STEPS_H */
