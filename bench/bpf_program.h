/* SPDX-License-Identifier: BSD-2-Clause */
/* What bench/bpf_program.c and its programs in the kernel share: the list of packets. */
#ifndef BENCH_BPF_PROGRAM_H
#define BENCH_BPF_PROGRAM_H

#include <stdint.h>

enum {
    PROGRAM_BYTES_6 = 48, /* headers of IPv6 and UDP, ... */
    PROGRAM_BYTES_4 = 28, /* ... of IPv4 and UDP */
    PROGRAM_PACKETS = 1 << 20,
};

/* Packets lie in the order in which they are sent, so that reading them costs little. */
struct program_packet {
    uint8_t bytes[64] __attribute__((aligned(64)));
};

struct program_list {
    uint32_t next; /* counts up */
    uint32_t mask; /* packets in the list, less one */
};

#endif /* BENCH_BPF_PROGRAM_H */
