/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The body of an ICMP error under translation: the packet in error and, behind it, the extensions of RFC
 * 4884.
 *
 *     | ICMP header | quoted IP header | quoted transport header, data | zeroes | extensions |
 *                   '------------- the "original datagram" field ---------------'
 *
 * The quoted IP header changes its length, and with it the field. If there are extensions the field must be
 * a whole number of units (4 bytes in ICMPv4, 8 in ICMPv6), of 128 bytes at least, and its length is stated
 * in the ICMP header; so the quoted data is then moved up to where zeroes fill the rest. Without extensions
 * nothing is moved: headers are written in front, and what is too long is cut off the end.
 *
 * If all does not fit into the largest message, the quoted packet yields first, down to 128 bytes, and the
 * extensions after it: a receiver has use for a shorter quotation, but none for half an extension, whose
 * checksum is then wrong. Messages that may have no extensions (Packet Too Big and ICMPv6 Parameter Problem)
 * lose them.
 */
#ifndef ENGINE_ICMP_QUOTE_H
#define ENGINE_ICMP_QUOTE_H

#include <string.h>

#include "engine/packet.h"
#include "engine/translate_header.h"
#include "engine/transport_update.h"

enum {
    ICMP_HEADER = sizeof(struct icmp_header),
    ORIGINAL_DATAGRAM_MINIMUM = 128, /* bytes if extensions follow, RFC 4884 section 3 */
    ORIGINAL_DATAGRAM_UNITS = 255,   /* what the length attribute can state */
};

/* The body as it is, and what it has to become. */
struct quote_shape {
    uint32_t start;      /* position of the quoted IP header */
    uint32_t available;  /* bytes from there to the end of the message */
    uint32_t field;      /* bytes of the original datagram by the length attribute; 0: there is none */
    uint32_t old_header; /* length of the quoted IP header, extension headers included */
    uint32_t new_header;
    uint32_t unit; /* of the new length attribute, in bytes; 0: the new message has none */
    uint32_t room; /* the longest the new body may be */
};

/* The body as it will be. Positions are in the packet as it is. */
struct quote_plan {
    uint32_t data;      /* where the quoted transport header was */
    uint32_t placed;    /* where it will be */
    uint32_t kept;      /* bytes of it and its data */
    uint32_t padding;   /* zeroes that follow */
    uint32_t end;       /* of the whole */
    uint32_t attribute; /* value of the length attribute */
};

WIRE_INLINE uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/*
 * With extensions: a field that is padded to units and leaves them room.
 * rfc: 7915-4.2-n, 7915-4.2-o, 7915-5.2-j, 4884-3-a, 4884-3-b, 4884-3-c, 4884-4-f
 */
static inline void quote_plan_extended(const struct quote_shape *shape, struct quote_plan *plan)
{
    uint32_t extension = shape->available - shape->field;
    uint32_t longest = shape->room > extension ? shape->room - extension : 0;
    uint32_t field = shape->new_header + plan->kept;

    longest = least(longest, ORIGINAL_DATAGRAM_UNITS * shape->unit);
    longest -= longest % shape->unit;
    field += (shape->unit - field % shape->unit) % shape->unit;
    field = least(field, longest);
    if (field < ORIGINAL_DATAGRAM_MINIMUM)
        field = ORIGINAL_DATAGRAM_MINIMUM;
    plan->kept = least(plan->kept, field - shape->new_header);
    plan->padding = field - shape->new_header - plan->kept;
    plan->placed = shape->start + shape->field - plan->padding - plan->kept;
    plan->end = shape->start + shape->field + least(extension, shape->room - field);
    plan->attribute = field / shape->unit;
}

/*
 * Decides what goes where. The attribute counts only if it is a possible one: at least 128 bytes, and
 * something behind them.
 * rfc: 4884-5.4-a, 4884-7-a
 */
static inline struct quote_plan quote_plan(const struct quote_shape *shape)
{
    bool extended = shape->field >= ORIGINAL_DATAGRAM_MINIMUM && shape->field < shape->available &&
                    shape->field >= shape->old_header + 8;
    struct quote_plan plan = {.data = shape->start + shape->old_header, .padding = 0, .attribute = 0};

    plan.placed = plan.data;
    plan.kept = (extended ? shape->field : shape->available) - shape->old_header;
    if (extended && shape->unit != 0) {
        quote_plan_extended(shape, &plan);
    } else {
        plan.kept = least(plan.kept, shape->room - shape->new_header);
        plan.end = plan.data + plan.kept;
    }
    return plan;
}

/*
 * Moves the quoted data to its place. The headers in front of it must have been copied out before.
 * rfc: 7915-4.2-p, 7915-5.2-k
 */
static inline void quote_place(uint8_t *data, const struct quote_plan *plan)
{
    if (plan->placed != plan->data)
        memmove(data + plan->placed, data + plan->data, plan->kept);
    if (plan->padding != 0)
        memset(data + plan->placed + plan->kept, 0, plan->padding);
}

/* Can the quoted packet be one that was translated here? Hostile errors quote whatever they like. */
WIRE_INLINE bool quote_translatable(const struct description *error, const struct description *quoted)
{
    return quoted->version == error->version && quoted->kind != PACKET_ICMP_ERROR &&
           quoted->kind != PACKET_ICMP_OTHER;
}

/* The quoted transport header, of which `kept` bytes are there, at least 8; only TCP and UDP are known. */
static inline void quote_update_ports(uint8_t *at, const struct description *quoted, uint32_t kept,
                                      const struct transport_change *change)
{
    if (quoted->kind == PACKET_TCP)
        tcp_update_quoted(at, change, least(kept, quoted->transport_length));
    else if (quoted->kind == PACKET_UDP)
        udp_update(at, change);
}

#endif /* ENGINE_ICMP_QUOTE_H */
