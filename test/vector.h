/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The packet language of the vectors: one line of text becomes the bytes of one packet.
 *
 * It shares no code with wire/ and engine/: lengths, checksums and pseudo-headers are computed here from
 * scratch, so that a mistake there cannot hide behind the same mistake here.
 *
 * A packet is a list of layers separated by a lone "/". A layer is a name and words key=value.
 *
 *   ip6   src= dst= hlim=64 tc=0 flow=0 next=auto len=auto version=6
 *   ip4   src= dst= ttl=64 tos=0 id=0 rf=0 df=0 mf=0 frag=0 proto=auto len=auto csum=ok ihl=auto options=HEX
 *         version=4
 *   hopopts, destopts      next=auto size=8        padding only
 *   routing                next=auto type=0 left=0 body=HEX
 *   frag                   next=auto reserved=0 offset=0 more=0 id=0     (offset in units of 8 bytes)
 *   tcp   sport= dport= seq=1 ack=0 flags=S window=8192 urgent=0 csum=ok doff=auto options=HEX mss=
 *         (options are written first, then the MSS, then zeroes up to a multiple of four)
 *   udp   sport= dport= len=auto csum=ok
 *   icmp4, icmp6           type= code=0 csum=ok, then one of: id= seq= | mtu= | pointer= | rest=HEX;
 *         length= is the attribute of RFC 4884. A later ip4 or ip6 layer is the packet it quotes.
 *   text "ABC" | hex 00ff | fill N | zero N       payload; fill counts 0 1 2 ... 255 0 ...
 *   keep N                 the innermost packet (quoted, or all) is complete; keep its first N bytes of it
 *   end                    likewise, keeping all; what follows belongs to the packet around it, or is
 * trailing gso tcp4|tcp6|udp SIZE         before the first layer: a super-packet; also `ecn`, hdrlen= offload
 * flags= type= size= hdrlen= start= offset=   before the first layer: sets fields as they are
 *
 * Numbers are decimal or 0x...; csum is ok, 0xNNNN, partial (the pseudo-header's sum, and the offload state
 * says so) or bad:+N (the right one, N added in ones' complement). In an expected packet a value may be *
 * (anything), or $name, which takes what stands there and must match from then on; a name so
 * bound can be used in packets that go in.
 */
#ifndef TEST_VECTOR_H
#define TEST_VECTOR_H

#include "engine/packet.h"

enum {
    VECTOR_PACKET = 70000, /* bytes a packet can have */
    VECTOR_LABELS = 160,   /* fields of one packet that are named in a difference */
    VECTOR_VARIABLES = 32,
    VECTOR_NAME = 24,
    VECTOR_ERROR = 200,
};

struct vector_variables {
    unsigned count;
    struct {
        char name[VECTOR_NAME];
        uint32_t value;
    } entries[VECTOR_VARIABLES];
};

struct vector_packet {
    uint8_t bytes[VECTOR_PACKET];
    uint32_t length;
    struct offload offload;
    unsigned label_count;
    struct {
        uint32_t position;
        uint8_t width;
        char name[VECTOR_NAME];
    } labels[VECTOR_LABELS];
};

struct vector_encoding {
    struct vector_variables *variables;
    const uint8_t *actual; /* where * and unbound names are taken from; NULL: they are errors */
    uint32_t actual_length;
    char error[VECTOR_ERROR];
};

/* Encodes `text`; false with a sentence in encoding->error. */
bool vector_encode(struct vector_encoding *encoding, const char *text, struct vector_packet *packet);

bool vector_number(const char *text, uint32_t *number);
/* The value of a bound name (without its $); NULL if there is none. */
const uint32_t *vector_variable(const struct vector_variables *variables, const char *name);

#endif /* TEST_VECTOR_H */
