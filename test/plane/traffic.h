/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Packets at random, as the two sides of a translator send them, and as nobody should: of flows that begin,
 * are answered and end, of strangers, errors about packets that were sent, fragments, headers with options,
 * impossible lengths, and bytes turned over at any place. Transport checksums are right in two cases of
 * three, else wrong, missing or, where that is wanted, partial. The same seed makes the same packets, as long
 * as it is told of the same ones.
 */
#ifndef TEST_PLANE_TRAFFIC_H
#define TEST_PLANE_TRAFFIC_H

#include "engine/packet.h"
#include "engine/random.h"
#include "wire/ipv6.h"
#include "wire/rfc6052.h"

enum {
    TRAFFIC_PREFIXES = 4,
    TRAFFIC_POOL = 4,
    TRAFFIC_NOTED = 32,
    TRAFFIC_NOTED_LENGTH = 128, /* bytes of a packet that are remembered */
    TRAFFIC_LENGTH = 3600,      /* of the longest packet */
    TRAFFIC_CALLS = 8,
};

/* Who called from where: the next one may be from the same port. */
struct traffic_call {
    uint8_t client[16], protocol;
    uint16_t port;
};

struct traffic_source {
    struct random random;
    bool offloads; /* some packets have partial checksums, some are super-packets */
    uint32_t prefixes, pool_addresses;
    struct rfc6052_prefix prefix[TRAFFIC_PREFIXES]; /* under which clients look for remotes */
    be32 pool[TRAFFIC_POOL];
    uint32_t calls;
    struct traffic_call call[TRAFFIC_CALLS];
    uint8_t stranger[4]; /* who came uninvited last, and from where: a client may call there */
    uint16_t stranger_port;
    uint32_t noted;
    struct {
        uint32_t length;
        uint8_t bytes[TRAFFIC_NOTED_LENGTH];
    } note[TRAFFIC_NOTED];
};

/* A number below `limit`. */
uint32_t traffic_pick(struct traffic_source *traffic, uint32_t limit);

/* Writes a packet behind packet->offset and sets its length; the buffer has room for TRAFFIC_LENGTH. */
void traffic_make(struct traffic_source *traffic, struct packet *packet);

/* A packet that was sent on: others will answer it, or be about it. */
void traffic_note(struct traffic_source *traffic, const struct packet *packet);

#endif /* TEST_PLANE_TRAFFIC_H */
