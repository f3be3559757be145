/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * engine/pool.c with random numbers that stay the same until somebody sets them anew. The engine may draw
 * twice where the kernel's translator draws once (a port claimed ahead, given back and claimed again), and
 * both shall end up with the same port.
 */
#include "engine/random.h"

static uint64_t look_at_next(const struct random *random)
{
    struct random copy = *random;
    return random_next(&copy);
}

#define random_next look_at_next
#include "engine/pool.c" /* NOLINT(bugprone-suspicious-include): see above */
