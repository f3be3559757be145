/* SPDX-License-Identifier: BSD-2-Clause */
/* A sentence for the caller's buffer. */
#ifndef ENGINE_EXPLAIN_H
#define ENGINE_EXPLAIN_H

#include "wire/bytes.h"

/* Copies as much of the sentence as `size` bytes hold, and ends it with a zero. */
WIRE_INLINE void explain(char *error, size_t size, const char *sentence)
{
    size_t i = 0;
    for (; i + 1 < size && sentence[i] != '\0'; i++)
        error[i] = sentence[i];
    if (size > 0)
        error[i] = '\0';
}

#endif /* ENGINE_EXPLAIN_H */
