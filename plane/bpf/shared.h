/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the programs in the kernel and the daemon share besides the session table: the settings, as the daemon
 * writes them, and what each processor counts. Plain data in BPF arrays that the daemon has mapped into its
 * memory, for it may not call bpf(2) once it runs; the same for both compilers.
 *
 *     control      struct plane_control: which settings are in force, and whether there is a daemon
 *     settings     2 of struct plane_settings
 *     pool         for each of these, who has which pool address: a hash of struct plane_bucket
 *     order        the same in the order in which clients are spread over them
 *     places       the same by their places in the table
 *     paths        path MTUs by destination, as in engine/paths.h: for each of these, ranges of each family
 *     mappings, mapping_buckets    those of siit, for each of these, see plane/bpf/mappings.h
 *     waiting      SYNs that the engine has stored, engine/waiting_place.h
 *     processors   a struct processor for each, plane/bpf/processor.bpf.h, which begins with its counters
 *
 * New settings are written where the old ones are not and then named, and with them their pool and order, so
 * that no program sees half of each. A program reads that name once, and the one that
 * it goes on with by a tail call again; all of that lies in one grace period of the kernel's. So the old ones
 * may be overwritten when one has gone by (membarrier(2), MEMBARRIER_CMD_GLOBAL).
 */
#ifndef PLANE_BPF_SHARED_H
#define PLANE_BPF_SHARED_H

#include "engine/limits.h"
#include "engine/settings.h"
#include "engine/verdict.h"
#include "plane/bpf/mappings.h"

enum {
    SETTINGS_VERSIONS = 2,
    POOL_ADDRESSES_MAXIMUM = 4096,
    PROCESSORS_MAXIMUM = WORKERS_MAXIMUM - 1, /* with a lane of the table; others share one */

    /* A bucket holds eight of its two addresses on average; a multiplier is found for which none overflows.
     */
    POOL_BUCKET = 8,
    POOL_BUCKETS_SHIFT = 11,
    POOL_BUCKETS = 1 << POOL_BUCKETS_SHIFT,

    KNOWN_WAYS = 16384, /* of a processor, see plane/bpf/known_way.bpf.h */

    PATH_RANGES_SHIFT = 10,
    PATH_RANGES = 1 << PATH_RANGES_SHIFT, /* of a family; with more the engine deals with large packets */

    PLANE_LAYOUT = 1, /* of struct plane_control; raised with every change of it */
};

enum path_family {
    PATH_FAMILY_IPV6,
    PATH_FAMILY_IPV4,
    PATH_FAMILIES,
};

/* What is not of one version of the settings. A later daemon pauses these programs by it, whatever else has
 * changed. */
struct plane_control {
    uint64_t alive_until; /* nanoseconds of CLOCK_MONOTONIC; then nobody listens at the TUN device */
    uint32_t layout;
    uint32_t current; /* settings in force */
    uint32_t device;  /* index of the TUN device, to which goes what the engine is to deal with */
    uint32_t paused;  /* that is all of ours, and nothing in the table is touched */
};

/* A nat64 instance, by its number in the table. One that is not there has a prefix of length 0. */
struct plane_instance {
    struct rfc6052_prefix prefix __attribute__((aligned(8)));
    uint8_t subscriber_prefix;
    uint8_t filtering;  /* enum filtering */
    bool refuses_local; /* RFC 6052 section 3.1 forbids IPv4 addresses that are not global */
    bool counters;      /* packets and bytes of each session are counted */
    uint8_t padding[3];
    uint32_t sessions, sessions_per_subscriber;
    uint32_t first, count; /* its addresses in `order` */
    struct nat64_timeouts timeouts;
};

/* A pool address, all of it in one word; 0: there is none. */
struct plane_address {
    be32 address;
    uint16_t place; /* in the table */
    uint8_t instance;
    bool shared; /* with the host, whose own it is; see plane/bpf/own_address.bpf.h */
};
_Static_assert(sizeof(struct plane_address) == sizeof(uint64_t), "an address of the pool is a word");

struct plane_bucket {
    uint64_t slot[POOL_BUCKET]; /* of struct plane_address, those in use first */
} __attribute__((aligned(64)));

WIRE_INLINE uint32_t pool_bucket(be32 address, uint32_t multiplier)
{
    return (from_be32(address) * multiplier) >> (32 - POOL_BUCKETS_SHIFT);
}

struct plane_settings {
    uint64_t clock_ahead;           /* nanoseconds by which this plane's clock is ahead; 0 but in tests */
    uint32_t lane, lanes;           /* processor n has lane `lane` + n % `lanes` of the table */
    uint32_t instances;             /* from 0 on, those that are not there included */
    uint64_t secret[2];             /* from which ports are drawn, see engine/random.h */
    uint32_t version;               /* which of the two places this is */
    uint32_t stack;                 /* translated packets go through the kernel's own firewall and routing */
    uint32_t ranges[PATH_FAMILIES]; /* of `paths`; 1: all have the MTU of `translation`, 0: too many */
    uint16_t own_low, own_high;     /* least and greatest port of addresses that are the host's own */
    uint32_t pool_low, pool_high;   /* least and greatest pool address, in host order */
    uint32_t pool_multiplier;       /* see pool_bucket */
    uint32_t answers,
        stores; /* packets for which the engine is to make ICMP errors, SYNs that it is to store: at
                   most so many go there in a period of each processor's, see refuse.bpf.h */
    uint32_t padding;
    struct translation_settings translation; /* without tables of paths; the MTUs are the least of any path */
    struct plane_instance instance[NAT64_INSTANCES_MAXIMUM];
    struct plane_siits siits;
};

/* Only grow; written by their processor alone. */
struct plane_counters {
    uint64_t packets[VERDICT_COUNT];
    uint64_t bytes[VERDICT_COUNT]; /* as received, from the IP header on */
    uint64_t handed_over;          /* packets given to the engine, which counts them by their verdicts */
    uint64_t passed;               /* packets that are none of ours */
    uint64_t sessions_created, sessions_ended; /* as in struct engine_counters */
    uint64_t bindings_created, bindings_ended;
    uint64_t half_open_evicted;
};

#endif /* PLANE_BPF_SHARED_H */
