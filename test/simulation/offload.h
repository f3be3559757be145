/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What network cards do with packets, on both sides of the engine: segments of one connection that arrive one
 * behind the other become a super-packet, checksums are left half done, and what comes out is cut into
 * segments and completed again.
 */
#ifndef TEST_SIMULATION_OFFLOAD_H
#define TEST_SIMULATION_OFFLOAD_H

#include "engine/limits.h"
#include "engine/packet.h"

struct offload_burst {
    bool offloads;
    unsigned count;
    struct packet packets[BURST_MAXIMUM];
    unsigned first[BURST_MAXIMUM]; /* number of the packet that each began with */
};

/* Adds a packet that stands in the next free buffer; if it joins the one before it, that stays free. */
void offload_add(struct offload_burst *burst, const struct packet *packet, unsigned number);

/* Hands over what a card would put on the wire for this packet. */
void offload_undo(const struct packet *packet,
                  void (*send)(void *context, const uint8_t *bytes, uint32_t length), void *context);

#endif /* TEST_SIMULATION_OFFLOAD_H */
