/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the programs have at hand: the settings in force, the pool, and for each processor what a worker is to
 * the engine. A program runs to its end on its processor and none other begins there meanwhile, so what is
 * the processor's needs no lock. It also has the room that a packet's keys and records take, which the
 * stack of BPF, 512 bytes for all frames together, has not.
 */
#ifndef PLANE_BPF_PROCESSOR_BPF_H
#define PLANE_BPF_PROCESSOR_BPF_H

#include <linux/pkt_cls.h>

#include "engine/making.h"
#include "engine/random.h"
#include "engine/translate.h"
#include "engine/waiting_place.h"
#include "plane/bpf/shared.h"
#include "plane/bpf/table.bpf.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"

enum {
    TCP_HEADER_ROOM = 64, /* the longest has 60 bytes */
    TRANSPORT_ROOM = 88,  /* the shortest and as much again as the longest, which is what the verifier sees */
    MOMENT_SHIFT = 26,    /* of nanoseconds */
};

/* A walk over the options of a TCP header. */
struct option_walk {
    uint32_t next;  /* where the next one begins */
    uint32_t end;   /* length of the header */
    uint32_t limit; /* of an MSS */
    uint32_t large; /* how many are above that, ... */
    uint32_t mss;   /* ... and where the last of them is */
};

/* Whether a packet has come back from a program that makes sessions. */
enum opened {
    OPENED_NOT,
    OPENED_SESSION, /* a session was made for it */
    OPENED_PASS,    /* it has none, but passes with the addresses of the one in processor->session */
};

/* What may be done so many times in a period, see plane/bpf/refuse.bpf.h. */
enum {
    BUDGET_ANSWERS, /* packets given to the engine for an ICMP error */
    BUDGET_STORES,  /* SYNs given to it to be stored */
    BUDGET_SWEEPS,  /* looks for expired sessions that found none */
    BUDGET_COUNT,
};

struct budget {
    uint64_t period;
    uint64_t spent;
};

/* What time it is, and since when. */
struct processor_clock {
    uint64_t jiffies;
    uint64_t ahead;  /* of the settings */
    uint32_t tick;   /* seconds of CLOCK_MONOTONIC */
    uint32_t moment; /* the same in fifteenths of a second, see plane/bpf/known_way.bpf.h */
};

struct processor {
    struct plane_counters counters __attribute__((aligned(64))); /* first, as the daemon knows */
    uint64_t identification;                                     /* of the next IPv4 packet made from IPv6 */
    uint64_t drawn;                                              /* random numbers */
    uint32_t hand; /* record looked at last when room was sought */
    struct budget budgets[BUDGET_COUNT];
    struct processor_clock clock;
    struct actor actor;

    /* What one program leaves for the next that it goes on with; see plane/bpf/open.bpf.h. */
    uint32_t network; /* position of the IP header */
    uint32_t length;  /* of the packet */
    uint32_t opened;  /* enum opened */

    /* The packet is at the TUN device, on its way to the engine; it was sent there by a program. */
    uint32_t at_device, sent_there;
    uint32_t between; /* it is at one of the interfaces between host and clients, see own_address.bpf.h */

    /* Of the packet at hand: its headers as received, padded to whole words; its key; its session. */
    union {
        struct ipv6_header header6;
        struct ipv4_header header4;
    } __attribute__((aligned(8)));
    uint8_t transport[TRANSPORT_ROOM] __attribute__((aligned(8)));
    struct option_walk options;
    struct key6 key6;
    struct key4 key4;
    struct found session;
    struct bpf_fib_lookup route;
    struct bpf_redir_neigh neighbour;

    /* Of a packet of siit: what it becomes. */
    struct endpoints6 to6 __attribute__((aligned(8)));
    struct endpoints4 to4;

    /* Of a session that is to be made. */
    struct session_request request;
    struct found lead;
};

/* By the processor's number; whoever loads the object says how many there can be. */
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __uint(map_flags, BPF_F_MMAPABLE);
    __type(key, __u32);
    __type(value, struct processor);
} processors SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, SETTINGS_VERSIONS);
    __uint(map_flags, BPF_F_MMAPABLE);
    __type(key, __u32);
    __type(value, struct plane_settings);
} settings SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, SETTINGS_VERSIONS *POOL_BUCKETS);
    __uint(map_flags, BPF_F_MMAPABLE);
    __type(key, __u32);
    __type(value, struct plane_bucket);
} pool SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, SETTINGS_VERSIONS *POOL_ADDRESSES_MAXIMUM);
    __uint(map_flags, BPF_F_MMAPABLE);
    __type(key, __u32);
    __type(value, struct plane_address);
} order SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, SETTINGS_VERSIONS *POOL_ADDRESSES_MAXIMUM);
    __uint(map_flags, BPF_F_MMAPABLE);
    __type(key, __u32);
    __type(value, struct plane_address);
} places SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __uint(map_flags, BPF_F_MMAPABLE);
    __type(key, __u32);
    __type(value, struct waiting_places);
} waiting SEC(".maps");

/* Until somebody says otherwise there is a daemon. */
struct plane_control plane_control SEC(".data.control") = {.alive_until = UINT64_MAX, .layout = PLANE_LAYOUT};

WIRE_INLINE bool is_paused(void)
{
    return atomic_load32(&plane_control.paused) != 0;
}

WIRE_INLINE struct processor *processor_here(void)
{
    uint32_t own = bpf_get_smp_processor_id();
    return bpf_map_lookup_elem(&processors, &own);
}

WIRE_INLINE const struct plane_settings *settings_now(void)
{
    uint32_t current = atomic_load32(&plane_control.current);
    return bpf_map_lookup_elem(&settings, &current);
}

/* The word of the pool address, 0 if it is none; all slots are looked at, so that there is one way only. */
TABLE_FUNCTION uint64_t pool_word(uint32_t number, be32 address)
{
    uint64_t word = 0;
    const struct plane_bucket *bucket = bpf_map_lookup_elem(&pool, &number);
    if (absent(bucket))
        return 0;
#pragma unroll
    for (size_t i = 0; i < POOL_BUCKET; i++) {
        union {
            uint64_t word;
            struct plane_address address;
        } slot = {.word = bucket->slot[i]};
        word |= slot.address.address == address ? slot.word : 0;
    }
    return word;
}

/* False: it is none of the pool's. */
WIRE_INLINE bool pool_address(const struct plane_settings *plane, be32 address, struct plane_address *found)
{
    uint32_t number = plane->version * POOL_BUCKETS + pool_bucket(address, plane->pool_multiplier);
    uint64_t word = pool_word(number, address);
    __builtin_memcpy(found, &word, sizeof(*found));
    return word != 0;
}

/*
 * Reads the clock, which is the coarse one and advances with the kernel's count of jiffies only: while that
 * stands, what was read before is still true, and far sooner had.
 */
WIRE_INLINE const struct processor_clock *clock_now(struct processor *processor,
                                                    const struct plane_settings *plane)
{
    struct processor_clock *clock = &processor->clock;
    uint64_t jiffies = bpf_jiffies64();
    if (clock->jiffies != jiffies || clock->ahead != plane->clock_ahead) {
        uint64_t now = bpf_ktime_get_coarse_ns() + plane->clock_ahead;
        *clock = (struct processor_clock){.jiffies = jiffies,
                                          .ahead = plane->clock_ahead,
                                          .tick = (uint32_t)(now / 1000000000u),
                                          .moment = (uint32_t)(now >> MOMENT_SHIFT)};
    }
    return clock;
}

WIRE_INLINE const struct plane_instance *instance_at(const struct plane_settings *plane, uint32_t number)
{
    return &plane->instance[below(NAT64_INSTANCES_MAXIMUM, number)];
}

/* A packet of so many bytes has met a verdict. */
WIRE_INLINE void count_packet(struct processor *processor, enum verdict verdict, uint32_t length)
{
    atomic_count(&processor->counters.packets[verdict], 1);
    atomic_count(&processor->counters.bytes[verdict], length);
}

WIRE_INLINE bool has_daemon(void)
{
    return bpf_ktime_get_coarse_ns() <= atomic_load64(&plane_control.alive_until);
}

/* The engine is to deal with the packet, of processor->length bytes, by way of the TUN device. */
WIRE_INLINE int to_engine(struct processor *processor, const struct plane_settings *plane)
{
    (void)plane;
    if (!has_daemon()) {
        count_packet(processor, VERDICT_NO_DAEMON, processor->length);
        return TC_ACT_SHOT;
    }
    atomic_count(&processor->counters.handed_over, 1);
    if (processor->at_device != 0)
        return TC_ACT_OK;
    processor->sent_there = 1;
    return (int)bpf_redirect(atomic_load32(&plane_control.device), 0);
}

/* The instance whose prefix the address lies under, or -1. */
TABLE_FUNCTION int instance_of(const struct plane_settings *plane, const struct ipv6_address *address)
{
    if (absent(plane) || absent(address))
        return -1;
    for (uint32_t i = 0; i < NAT64_INSTANCES_MAXIMUM && i < plane->instances; i++) {
        const struct rfc6052_prefix *prefix = &plane->instance[i].prefix;
        if (prefix->length != 0 && rfc6052_contains(prefix, address))
            return (int)i;
    }
    return -1;
}

#endif /* PLANE_BPF_PROCESSOR_BPF_H */
