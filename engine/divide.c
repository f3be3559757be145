/* SPDX-License-Identifier: BSD-2-Clause */
/* Cutting, and what a worker has to cut: the packets of one burst, in order. */
#include "engine/divide.h"

#include <string.h>

#include "engine/fragments.h"
#include "engine/worker.h"
#include "wire/checksum.h"
#include "wire/ipv6.h"
#include "wire/transport.h"

enum {
    HEADERS = sizeof(struct ipv6_header) + sizeof(struct ipv6_fragment_header),
    UDP_HEADER = sizeof(struct udp_header),
    UNIT = 8, /* what fragment offsets count in, RFC 8200 section 4.5 */
};

/* Length and checksum of the datagram that begins the rest of a super-packet. */
static void complete_datagram(struct division *division)
{
    const struct ipv6_header *header = (const struct ipv6_header *)division->packet;
    uint8_t *udp = division->packet + HEADERS;
    uint32_t left = division->payload + division->behind - UDP_HEADER;
    uint32_t length = left < division->segment ? left : division->segment;
    uint64_t sum;

    division->behind = left - length;
    division->payload = UDP_HEADER + length;
    division->done = 0;
    store_be16(udp + offsetof(struct udp_header, length), to_be16((uint16_t)division->payload));
    store_be16(udp + offsetof(struct udp_header, checksum), 0);
    sum = checksum_pseudo_tail(division->payload, PROTOCOL_UDP);
    sum = checksum_add_address(checksum_add_address(sum, &header->source), &header->destination);
    be16 checksum = (be16)~checksum_fold(checksum_add_bytes(sum, udp, division->payload));
    store_be16(udp + offsetof(struct udp_header, checksum), checksum == 0 ? 0xffff : checksum);
}

void divide_segments(struct division *division, uint32_t segment)
{
    division->segment = segment;
    division->behind = 0;
    complete_datagram(division);
}

/* The kernel numbers the packets that it makes of a super-packet, too; in IPv4, so with 16 bits. */
static void next_datagram(struct division *division)
{
    uint32_t gone = division->payload - UDP_HEADER;
    uint8_t *from = division->packet, *to = from + gone;
    uint8_t *identification =
        to + sizeof(struct ipv6_header) + offsetof(struct ipv6_fragment_header, identification);

    memmove(to, from, HEADERS + UDP_HEADER);
    store_be32(identification, to_be32((from_be32(load_be32(identification)) + 1) & 0xffff));
    division->packet = to;
    division->payload = UDP_HEADER;
    complete_datagram(division);
}

/* The last datagram of a super-packet may be a short one, which needs no fragment header. */
static bool is_short(const struct division *division, const struct packet *piece)
{
    uint32_t length = (uint32_t)sizeof(struct ipv6_header) + division->payload;
    return division->segment != 0 && division->done == 0 && length <= division->limit &&
           length <= piece->capacity - piece->offset;
}

static void copy_short(struct division *division, struct packet *piece)
{
    uint8_t *at = packet_data(piece);
    memcpy(at, division->packet, sizeof(struct ipv6_header));
    memcpy(at + sizeof(struct ipv6_header), division->packet + HEADERS, division->payload);
    store_be16(at + offsetof(struct ipv6_header, payload_length), to_be16((uint16_t)division->payload));
    at[offsetof(struct ipv6_header, next_header)] = PROTOCOL_UDP;
    piece->length = (uint32_t)sizeof(struct ipv6_header) + division->payload;
    piece->offload = (struct offload){0};
    division->done = division->payload;
}

static uint32_t piece_length(const struct division *division, const struct packet *piece)
{
    uint32_t room = piece->capacity - piece->offset, left = division->payload - division->done;
    if (room > division->limit)
        room = division->limit;
    room -= HEADERS;
    return left <= room ? left : room - room % UNIT;
}

/* rfc: 4787-REQ13-b, 4787-REQ13-c */
bool divide_next(struct division *division, struct packet *piece)
{
    uint8_t *at = packet_data(piece), *fragment = at + sizeof(struct ipv6_header);
    uint32_t offset_more, length;

    if (division->done == division->payload && division->behind > 0)
        next_datagram(division);
    if (is_short(division, piece)) {
        copy_short(division, piece);
        return true;
    }
    length = piece_length(division, piece);
    if (length == 0)
        return false;
    memcpy(at, division->packet, HEADERS);
    memcpy(at + HEADERS, division->packet + HEADERS + division->done, length);
    store_be16(at + offsetof(struct ipv6_header, payload_length),
               to_be16((uint16_t)(length + sizeof(struct ipv6_fragment_header))));

    /* The offset counts in units but stands three bits further up, so that it can be read as bytes. */
    offset_more = from_be16(load_be16(fragment + offsetof(struct ipv6_fragment_header, offset_more)));
    offset_more += division->done;
    division->done += length;
    if (division->done < division->payload)
        offset_more |= IPV6_MORE_FRAGMENTS;
    store_be16(fragment + offsetof(struct ipv6_fragment_header, offset_more), to_be16((uint16_t)offset_more));
    piece->length = HEADERS + length;
    piece->offload = (struct offload){0};
    return true;
}

struct division divide_packet(const struct translation_settings *settings, const struct packet *packet)
{
    uint8_t *data = packet_data(packet);
    const struct ipv6_header *header = (const struct ipv6_header *)data;
    struct division division = {.packet = data,
                                .payload = packet->length - HEADERS,
                                .limit = divide_limit(settings, &header->destination)};
    if (packet->offload.gso_type != OFFLOAD_GSO_NONE)
        divide_segments(&division, packet->offload.gso_size);
    return division;
}

void divide_begin(struct worker *worker, unsigned number, const struct packet *packet)
{
    struct divisions *divisions = &worker->divisions;
    struct division *division = &divisions->division[divisions->count++];
    *division = divide_packet(&worker->translation, packet);
    division->number = number;
}

bool divide_pull(struct worker *worker, struct division *division, struct packet *packet)
{
    if (!divide_next(division, packet))
        return false;
    atomic_count(&worker->counters.pieces_made, 1);
    if (is_captured(worker))
        capture_made(worker, packet, VERDICT_FRAGMENTED_4TO6);
    return true;
}

/* The next piece of the first packet not yet at its end; of that numbered `only`, unless that is negative. */
static bool pull_piece(struct worker *worker, int only, struct packet *packet)
{
    struct divisions *divisions = &worker->divisions;
    while (divisions->first < divisions->count) {
        struct division *division = &divisions->division[divisions->first];
        if (only >= 0 && division->number != (unsigned)only)
            break;
        if (divide_pull(worker, division, packet))
            return true;
        divisions->first++;
    }
    return fragments_pull(worker, only, packet);
}

bool engine_pull_pieces(struct worker *worker, unsigned i, struct packet *packet)
{
    return pull_piece(worker, (int)i, packet);
}

bool engine_pull(struct worker *worker, struct packet *packet)
{
    return pull_piece(worker, -1, packet) || reply_pull(worker, packet);
}
