/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Looking at packets: a capture gets a copy of each packet that its filter wants, with what became of it.
 *
 *     workers                                        the control plane
 *     -------                                        -----------------
 *     burst begins   keep the first bytes as received
 *     burst ends     filter; put into the own ring   ---->  capture_next, capture_release
 *     engine_pull    what the engine made            ---->
 *
 *     guests
 *     ------
 *     capture_message  what they did not answer      ---->
 *
 * A worker has a ring of its own in each capture, a queue of records of any length between two threads.
 * Nobody waits: into a full ring a record does not go, and is counted as missed. Without a capture a
 * burst costs one look at a word.
 *
 * A translated packet makes two records, as received and as it goes on, with the same number. What is
 * translated later or for another reason (ICMP errors, probes) makes one. A fragment that is held makes one
 * when it comes and another with what became of it: as handed out, or once more as received if it was
 * dropped. Super-packets and partial checksums are recorded as they are, uncut and unfinished.
 *
 * A guest is a thread that is no worker, for example one of the name service. What it shows never went
 * through the engine, so it has no verdict but a reason, a number that only the guest understands; it has a
 * ring of its own, too.
 */
#ifndef ENGINE_CAPTURE_H
#define ENGINE_CAPTURE_H

#include "engine/engine.h"

struct capture;

/* What is to be recorded; it must pass both filters. */
struct capture_filter {
    bool verdicts[VERDICT_COUNT];
    bool probes; /* packets that the engine makes without having been asked by one */

    uint32_t guests;  /* that there are rings for, numbered from 0; at most CAPTURE_GUESTS_MAXIMUM */
    uint64_t reasons; /* of theirs, a bit each */

    /*
     * From or to this address, received or translated, under a prefix or mapped: an IPv4 host is found by its
     * IPv6 address and the other way round. An ICMP error made by the engine counts as being about the packet
     * it quotes, too.
     */
    uint8_t family; /* 4 or 6; 0: any address */
    be32 address4;
    struct ipv6_address address6;

    uint32_t snap; /* bytes of each packet that are recorded, at most; 1 to PACKET_MAXIMUM */
};

enum capture_kind {
    CAPTURE_RECEIVED,
    CAPTURE_RESULT,  /* what the packet received became */
    CAPTURE_MADE,    /* made by the engine, because of the verdict on another packet, or a probe */
    CAPTURE_MESSAGE, /* shown by a guest */
};

/* A record; `kept` bytes of the packet follow. */
struct captured {
    uint32_t kept;
    uint32_t length; /* of the packet */
    nanoseconds time;
    uint64_t number; /* of the packet on this worker; a result has that of the packet received */
    uint16_t worker; /* the plane's, then the control plane's, then guests */
    uint8_t kind;
    uint8_t verdict; /* VERDICT_COUNT: a probe; of a message: its reason */
    uint8_t note;    /* of a message: what else its guest says */
};

/* All of these are called from the control plane's thread. */

/* Starts a capture; NULL with a sentence if as many as may be are running, or memory is short. */
struct capture *capture_start(struct engine *engine, const struct capture_filter *filter, char *error,
                              size_t size);

/*
 * The oldest record, or NULL if there is none; it stays where it is until capture_release. Records of one
 * worker come in their order; between workers the order is that of the times as far as they are there.
 */
const struct captured *capture_next(struct capture *capture);
void capture_release(struct capture *capture);

/* Records that found no room, so far. */
uint64_t capture_missed(const struct capture *capture);

/*
 * What another plane of the table has decided on, which has no worker here: it goes into the ring of the
 * control plane's worker, by the filters as they are when this is called.
 */
struct capture_decision {
    nanoseconds time;
    uint8_t verdict;
    const uint8_t *received, *result; /* IP packets, as far as they were kept */
    uint32_t length, kept;
    uint32_t result_length, result_kept; /* 0: it was not sent on */
};
void capture_decision(struct engine *engine, const struct capture_decision *decision);

/* That plane had no room for so many more. */
void capture_lost(struct engine *engine, uint64_t records);

/* Bytes of a packet that some capture wants; 0: none is running. */
uint32_t capture_snap(const struct engine *engine);

/* Ends a capture. Its memory is freed when no worker uses it any more: now, or by capture_tidy. */
void capture_stop(struct engine *engine, struct capture *capture);
void capture_tidy(struct engine *engine);

/* How many are running. Any thread; a guest looks here first. */
uint32_t capture_count(const struct engine *engine);

/* What a guest shows: an IP packet in two parts, the first with all of the IP header. */
struct capture_message {
    nanoseconds time;
    const uint8_t *head, *body;
    uint32_t head_length, body_length;
    uint32_t guest;
    uint8_t reason; /* 0 to 63 */
    uint8_t note;
};

/* Records it in each capture that wants it. Called from the guest's thread; waits for nobody. */
void capture_message(struct engine *engine, const struct capture_message *message);

#endif /* ENGINE_CAPTURE_H */
