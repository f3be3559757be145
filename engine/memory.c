/* SPDX-License-Identifier: BSD-2-Clause */
#include "engine/memory.h"

#include <sys/mman.h>

enum {
    HUGE_PAGE = 2 << 20, /* bytes */
};

void *memory_map(size_t size)
{
    void *memory =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        return NULL;
    if (size >= HUGE_PAGE)
        (void)madvise(memory, size, MADV_HUGEPAGE); /* a random access then costs no walk of page tables */
    return memory;
}

void memory_unmap(void *memory, size_t size)
{
    if (memory != NULL)
        (void)munmap(memory, size);
}
