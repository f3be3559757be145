/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The kernel's translator on its own, for tests that compare it with the engine: its programs, whose table is
 * used for one engine after another, in a network namespace where everything is routed to a device that
 * nobody listens at. Packets go in by BPF_PROG_TEST_RUN, and the programs' clock is set by the test.
 *
 *     bpf_lab_open -> bpf_lab_table -> engine_create with bpf_lab_waiting() -> bpf_lab_enforce
 *         -> bpf_lab_set_clock, bpf_lab_receive ... -> the next table
 *
 * All that happens on the first processor, so that its counters are all there are.
 */
#ifndef TEST_PLANE_BPF_LAB_H
#define TEST_PLANE_BPF_LAB_H

#include "engine/engine.h"
#include "engine/rules.h"
#include "plane/bpf/object.h"
#include "plane/bpf/shared.h"

enum {
    /* Bytes of a packet that can be brought in: the kernel wants so many, with what fills it up, ... */
    BPF_LAB_PACKET_MINIMUM = 40,
    BPF_LAB_PACKET_MAXIMUM = 3400, /* ... and takes what fits on a page */
};

/* What the programs' processor has drawn from: ports and identifications are functions of these. */
struct bpf_lab_draws {
    uint64_t secret[2];
    uint64_t drawn;          /* random numbers */
    uint16_t identification; /* of the next IPv4 packet */
};

/* Makes the network and this process' first processor its only one. NULL, or why it cannot be. */
const char *bpf_lab_open(const char *object);

/* An empty table, always of the first call's geometry. Ends the process if the kernel does not take the
 * programs. */
struct table *bpf_lab_table(const struct geometry *geometry, uint64_t seed);

struct object *bpf_lab_object(void);

/* No SYN waits. */
struct waiting_places *bpf_lab_waiting(void);

/* Puts the engine's rules into force, with routes to the device for what is siit's. */
bool bpf_lab_enforce(const struct engine *engine, const struct paths *paths);

/* What the programs take for the time, until a few milliseconds have passed. */
void bpf_lab_set_clock(nanoseconds now);

/* Do the programs take it for this second, still? On a busy machine a test may wait for long. */
bool bpf_lab_is_second(nanoseconds now);

void bpf_lab_count(struct plane_counters *counters);

/* What the engine has counted, and the programs since. */
void bpf_lab_add_counters(const struct engine *engine, const struct plane_counters *since,
                          struct engine_counters *counters);

void bpf_lab_draws(struct bpf_lab_draws *draws);

/* What became of a packet. */
enum bpf_lab_fate {
    BPF_LAB_DECIDED,     /* by the programs: translated in place or dropped, `verdict` says which */
    BPF_LAB_HANDED_OVER, /* to the engine, as it came */
    BPF_LAB_PASSED,      /* it is none of ours, as it came */
    BPF_LAB_UNFIT,       /* cannot be brought in this way: too short, too long, partial or a super-packet */
};

enum bpf_lab_fate bpf_lab_receive(struct packet *packet, enum verdict *verdict);

/* Prints how many packets met which fate, as a comment. False: some fate was met by none. */
bool bpf_lab_close(void);

#endif /* TEST_PLANE_BPF_LAB_H */
