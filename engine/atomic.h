/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The atomic operations of the session table, and no others: 32 and 64 bits wide (and a byte to load), those
 * that BPF has since instruction set v3. Read-modify-write operations are sequentially consistent; a load
 * acquires and a store releases. A BPF program has no orderings to choose from: its plain accesses are made
 * volatile, its read-modify-write operations are full barriers, and each publication it makes goes through
 * one.
 */
#ifndef ENGINE_ATOMIC_H
#define ENGINE_ATOMIC_H

#include "wire/bytes.h"

/* A word of a structure, read or written whole whatever fields it is made of. */
typedef uint64_t __attribute__((may_alias)) word64;
typedef uint32_t __attribute__((may_alias)) word32;

#ifdef __bpf__

WIRE_INLINE uint64_t atomic_load64(const word64 *at)
{
    return *(const volatile word64 *)at;
}

WIRE_INLINE uint32_t atomic_load32(const uint32_t *at)
{
    return *(const volatile uint32_t *)at;
}

WIRE_INLINE uint8_t atomic_load8(const uint8_t *at)
{
    return *(const volatile uint8_t *)at;
}

WIRE_INLINE void atomic_store64(word64 *at, uint64_t value)
{
    *(volatile word64 *)at = value;
}

WIRE_INLINE void atomic_store32(uint32_t *at, uint32_t value)
{
    *(volatile uint32_t *)at = value;
}

WIRE_INLINE bool atomic_swap_if64(uint64_t *at, uint64_t expected, uint64_t value)
{
    return __sync_val_compare_and_swap(at, expected, value) == expected;
}

WIRE_INLINE bool atomic_swap_if32(uint32_t *at, uint32_t expected, uint32_t value)
{
    return __sync_val_compare_and_swap(at, expected, value) == expected;
}

WIRE_INLINE uint64_t atomic_add64(uint64_t *at, uint64_t value)
{
    return __sync_fetch_and_add(at, value);
}

WIRE_INLINE uint32_t atomic_add32(uint32_t *at, uint32_t value)
{
    return __sync_fetch_and_add(at, value);
}

WIRE_INLINE uint64_t atomic_or64(uint64_t *at, uint64_t value)
{
    return __sync_fetch_and_or(at, value);
}

WIRE_INLINE uint64_t atomic_and64(uint64_t *at, uint64_t value)
{
    return __sync_fetch_and_and(at, value);
}

/* Counts up a number of the program's own. */
WIRE_INLINE void atomic_count(uint64_t *counter, uint64_t more)
{
    *counter += more;
}

/* What is to be settled went through a read-modify-write operation, which nothing later overtakes. */
WIRE_INLINE void atomic_settle(void)
{
    __asm__ volatile("" ::: "memory");
}

#else

WIRE_INLINE uint64_t atomic_load64(const word64 *at)
{
    return __atomic_load_n(at, __ATOMIC_ACQUIRE);
}

WIRE_INLINE uint32_t atomic_load32(const uint32_t *at)
{
    return __atomic_load_n(at, __ATOMIC_ACQUIRE);
}

WIRE_INLINE uint8_t atomic_load8(const uint8_t *at)
{
    return __atomic_load_n(at, __ATOMIC_ACQUIRE);
}

WIRE_INLINE void atomic_store64(word64 *at, uint64_t value)
{
    __atomic_store_n(at, value, __ATOMIC_RELEASE);
}

WIRE_INLINE void atomic_store32(uint32_t *at, uint32_t value)
{
    __atomic_store_n(at, value, __ATOMIC_RELEASE);
}

WIRE_INLINE bool atomic_swap_if64(uint64_t *at, uint64_t expected, uint64_t value)
{
    return __atomic_compare_exchange_n(at, &expected, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

WIRE_INLINE bool atomic_swap_if32(uint32_t *at, uint32_t expected, uint32_t value)
{
    return __atomic_compare_exchange_n(at, &expected, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

WIRE_INLINE uint64_t atomic_add64(uint64_t *at, uint64_t value)
{
    return __atomic_fetch_add(at, value, __ATOMIC_SEQ_CST);
}

WIRE_INLINE uint32_t atomic_add32(uint32_t *at, uint32_t value)
{
    return __atomic_fetch_add(at, value, __ATOMIC_SEQ_CST);
}

WIRE_INLINE uint64_t atomic_or64(uint64_t *at, uint64_t value)
{
    return __atomic_fetch_or(at, value, __ATOMIC_SEQ_CST);
}

WIRE_INLINE uint64_t atomic_and64(uint64_t *at, uint64_t value)
{
    return __atomic_fetch_and(at, value, __ATOMIC_SEQ_CST);
}

/* Counts up a number that only the caller writes and that others may read at any time. */
WIRE_INLINE void atomic_count(uint64_t *counter, uint64_t more)
{
    __atomic_store_n(counter, *counter + more, __ATOMIC_RELAXED);
}

/* What the caller wrote before is seen by others before it looks at what they wrote. */
WIRE_INLINE void atomic_settle(void)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

#endif

#endif /* ENGINE_ATOMIC_H */
