/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the programs in the kernel and the daemon share besides the session table: the settings, as the daemon
 * writes them, and what each processor counts. Plain data in BPF maps, the same for both compilers.
 *
 *     settings     2 of struct plane_settings, of which `settings_current` names the one in force
 *     pool         pool address -> struct plane_address
 *     processors   a struct processor for each, plane/bpf/processor.bpf.h, which begins with its counters
 *
 * New settings are written where the old ones are not and then named. A program reads that name once a
 * packet, so the old ones may be overwritten when all packets under way then have been dealt with, which a
 * grace period of the kernel's tells (membarrier(2), MEMBARRIER_CMD_GLOBAL).
 */
#ifndef PLANE_BPF_SHARED_H
#define PLANE_BPF_SHARED_H

#include "engine/limits.h"
#include "engine/settings.h"
#include "engine/verdict.h"

enum {
    SETTINGS_VERSIONS = 2,
    POOL_ADDRESSES_MAXIMUM = 4096,
    PROCESSORS_MAXIMUM = WORKERS_MAXIMUM - 1, /* that make sessions: each has a lane of the table */
};

/* A nat64 instance, by its number in the table. One that is not there has a prefix of length 0. */
struct plane_instance {
    struct rfc6052_prefix prefix __attribute__((aligned(8)));
    uint8_t subscriber_prefix;
    uint8_t filtering;  /* enum filtering */
    bool refuses_local; /* RFC 6052 section 3.1 forbids IPv4 addresses that are not global */
    bool counters;      /* packets and bytes of each session are counted */
    bool opens;         /* takes new sessions */
    uint8_t padding[2];
    uint32_t sessions, sessions_per_subscriber;
    uint32_t first, count; /* its addresses in `order` */
    struct nat64_timeouts timeouts;
};

struct plane_address {
    be32 address;
    uint16_t place; /* in the table */
    uint8_t instance;
    uint8_t padding;
};

struct plane_settings {
    uint64_t clock_ahead;         /* nanoseconds by which this plane's clock is ahead; 0 but in tests */
    uint32_t device;              /* index of the TUN device, to which goes what the engine is to deal with */
    uint32_t lane, lanes;         /* processor n has lane `lane` + n of the table, if n < lanes */
    uint32_t instances;           /* from 0 on, those that are not there included */
    uint32_t pool_low, pool_high; /* least and greatest pool address, in host order */
    struct translation_settings translation; /* without tables of paths; the MTUs are the least of any path */
    struct plane_instance instance[NAT64_INSTANCES_MAXIMUM];
};

/* Only grow; written by their processor alone. */
struct plane_counters {
    uint64_t packets[VERDICT_COUNT];
    uint64_t bytes[VERDICT_COUNT]; /* as received, from the IP header on */
    uint64_t handed_over;          /* packets given to the engine, which counts them by their verdicts */
    uint64_t passed;               /* packets that are none of ours */
};

#endif /* PLANE_BPF_SHARED_H */
