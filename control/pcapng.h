/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The pcapng file format, as far as a capture needs it: a section, one interface that carries bare IP
 * packets, packets with comments, and how many were missed. draft-ietf-opsawg-pcapng describes it.
 *
 *     block    | type 4 | length 4 | body, a multiple of 4 | length 4 |       the length is that of all
 *     body     fixed fields, perhaps a packet, options
 *     option   | code 2 | length 2 | value, filled up to a multiple of 4 |    the last has code and length 0
 *
 * Numbers are in this machine's byte order, which the section tells the reader.
 */
#ifndef CONTROL_PCAPNG_H
#define CONTROL_PCAPNG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PCAPNG_SECTION = 0x0a0d0d0a, /* types of blocks */
    PCAPNG_INTERFACE = 1,
    PCAPNG_STATISTICS = 5,
    PCAPNG_PACKET = 6,

    PCAPNG_BLOCK_MINIMUM = 12,     /* bytes of a block without a body */
    PCAPNG_MISSED_POSITION = 24,   /* in a block of statistics made here: how many were missed, 8 bytes */
    PCAPNG_OVERHEAD_MAXIMUM = 768, /* bytes that a block takes beside a packet, texts included */
    PCAPNG_TEXT_MAXIMUM = 512,     /* bytes of one text, the rest of which is cut off */
};

/* Bytes to write into; what does not fit is left out, so there must be room. */
struct pcapng {
    uint8_t *bytes;
    size_t size, length;
};

struct pcapng_interface {
    const char *name, *description;
    uint32_t snap;
};

struct pcapng_packet {
    uint64_t time; /* nanoseconds since 1970 */
    uint32_t length, kept;
    const uint8_t *bytes;
    bool outbound;
    uint32_t queue;
    uint64_t number; /* the same for several records of one packet */
    const char *comment;
};

/* Each appends one block. */
void pcapng_section(struct pcapng *to, const char *application);
void pcapng_interface(struct pcapng *to, const struct pcapng_interface *interface);
void pcapng_packet(struct pcapng *to, const struct pcapng_packet *packet);
void pcapng_statistics(struct pcapng *to, uint64_t time, uint64_t missed);

#endif /* CONTROL_PCAPNG_H */
