/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the name service refuses, as a capture has it (engine/capture.h): the message put back into an IP
 * packet, and why it was refused in the comment.
 *
 * The reasons are the counters of class "refused" in dns64/counters.h, with "dns-" before their names so that
 * they are told from verdicts. A message that came over TCP is made a UDP packet, too, which the comment
 * says: a stream has no packets of one message each.
 */
#ifndef CONTROL_DNS_CAPTURE_H
#define CONTROL_DNS_CAPTURE_H

#include "dns64/server.h"
#include "engine/capture.h"

enum {
    DNS_PACKET_HEAD = 48, /* bytes of an IPv6 and a UDP header */
};

/* The headers of a UDP packet that brings a message. */
struct dns_packet {
    uint8_t head[DNS_PACKET_HEAD];
    uint32_t head_length, body_length; /* what a packet cannot hold of the message is left off */
};

/* IPv4 if the addresses are IPv4-mapped, lengths and checksums right. */
void dns_packet_make(struct dns_packet *packet, const struct server_seen *seen);

/*
 * For struct server_options: `seen`, whose context is the engine. Costs one look at a word unless a capture
 * is running.
 */
void dns_capture_seen(void *engine, const struct server_seen *seen);

/*
 * The reasons of a name, for struct capture_filter: one of "dns-malformed" and its like, "dns" or "refused",
 * which mean all. 0: there is none of that name.
 */
uint64_t dns_capture_reasons(const char *name);

/* The comment of a record of kind CAPTURE_MESSAGE. */
void dns_capture_comment(const struct captured *record, char *text, size_t size);

#endif /* CONTROL_DNS_CAPTURE_H */
