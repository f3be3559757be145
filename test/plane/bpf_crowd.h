/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Three who make sessions in one table at once, each in a thread of its own: the kernel's programs on two
 * processors, and a worker of the engine. What the programs hand over, an engine's worker of that processor
 * deals with, as behind the TUN device.
 *
 *     crowd_open -> crowd_begin -> crowd_run, crowd_pass_time ... -> crowd_end -> the next crowd_begin
 *
 * The clock is the test's: it stands still but for crowd_pass_time, as far as seconds of the machine's go.
 *
 *     client N: 2001:db8:1::N    remote N: 203.0.113.N    nat64: 2001:db8:64::/96    pool: 192.0.2.1 and on
 */
#ifndef TEST_PLANE_BPF_CROWD_H
#define TEST_PLANE_BPF_CROWD_H

#include "engine/engine.h"
#include "plane/bpf/shared.h"

enum {
    CROWD_PROCESSORS = 2,
    CROWD_ENGINE = CROWD_PROCESSORS, /* the actor that is a worker of the engine */
    CROWD_ACTORS,
    CROWD_POOL = 4, /* addresses, at most */
    CROWD_SESSIONS = 128,
    CROWD_UDP_SECONDS = 300,
};

/* A flow of UDP; its packets come from the client, or from the remote to a pool address. */
struct crowd_packet {
    uint16_t client, client_port, remote;
    bool from_remote;
    be32 pool; /* to which the remote sends, and what port */
    uint16_t pool_port;
};

struct crowd_outcome {
    enum verdict verdict; /* of the programs or the engine, whoever decided */
    bool handed_over;
    be32 pool; /* of a packet translated to IPv4: what it comes from */
    uint16_t pool_port;
};

/* NULL, or why it cannot be here. Changes the network namespace of the process. */
const char *crowd_open(const char *object);
void crowd_close(void);

/* The settings of the next table: no limits, one pool address with all ports; to be changed by the test. */
struct nat64_settings *crowd_settings(void);

/* Packets answered by ICMP errors in a second. */
void crowd_set_answers(uint32_t rate);

/* An empty table. Fails the test that calls it. */
void crowd_begin(void);

/* Ends all sessions; nothing may be left, by the books of the table and by what was counted. */
void crowd_end(void);

/*
 * Whoever is one of the actors does this, at the same time as the others. Returns when all have. In there no
 * test can fail: what is found is to be left for those who wait.
 */
void crowd_run(void (*act)(unsigned actor));

/* To be called by actors. */
void crowd_send(unsigned actor, const struct crowd_packet *packet, struct crowd_outcome *outcome);
void crowd_sweep(void); /* by one of them only */

void crowd_pass_time(unsigned seconds);

/* Ends what is past its lifetime, or, if `all`, everything. */
void crowd_clear(bool all);

/* What the table holds, by a walk over its records. Fails the test if anything is wrong with it. */
struct crowd_books {
    uint32_t sessions, bindings;
};
struct crowd_books crowd_audit(void);

/* Packets that a processor has handed over; and how many records there are. */
uint64_t crowd_handed_over(unsigned processor);
uint32_t crowd_records(void);

#endif /* TEST_PLANE_BPF_CROWD_H */
