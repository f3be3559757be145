/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the programs and the daemon share of captures: a word that says whether one runs, and the records in
 * the ring, a packet each. Plain data, the same for both compilers.
 *
 *     record    | struct plane_captured | as received, `kept` bytes | what it became, `result_kept` bytes |
 */
#ifndef PLANE_BPF_CAPTURED_H
#define PLANE_BPF_CAPTURED_H

#include <stdint.h>

enum {
    CAPTURED_PART = 8192,     /* fewer bytes than this are kept of a packet */
    CAPTURED_RING = 2 << 20,  /* bytes */
    CAPTURED_SNAP_LEAST = 64, /* enough for the addresses, by which captures filter */
};

struct plane_capture {
    uint32_t snap; /* bytes of a packet that some capture wants; 0: none is running */
    uint32_t padding;
    uint64_t missed; /* records that found no room; only grows */
};

struct plane_captured {
    uint64_t time; /* CLOCK_MONOTONIC */
    uint32_t length, kept;
    uint32_t result_length, result_kept; /* 0: it was not sent on */
    uint32_t verdict;
    uint32_t padding;
};

#endif /* PLANE_BPF_CAPTURED_H */
