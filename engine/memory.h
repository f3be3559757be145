/* SPDX-License-Identifier: BSD-2-Clause */
/* Zeroed memory for set-up; the only thing the engine asks of an operating system. */
#ifndef ENGINE_MEMORY_H
#define ENGINE_MEMORY_H

#include <stddef.h>

/* `size` zeroed bytes on a page boundary, not touched until used; NULL if there are none. */
void *memory_map(size_t size);

/* Gives back what memory_map(size) returned; NULL is ignored. */
void memory_unmap(void *memory, size_t size);

#endif /* ENGINE_MEMORY_H */
