/* SPDX-License-Identifier: BSD-2-Clause */
/* Cutting, and what a worker has to cut: the packets of one burst, in order. */
#include "engine/divide.h"

#include <string.h>

#include "engine/fragments.h"
#include "engine/worker.h"
#include "wire/ipv6.h"

enum {
    HEADERS = sizeof(struct ipv6_header) + sizeof(struct ipv6_fragment_header),
    UNIT = 8, /* what fragment offsets count in, RFC 8200 section 4.5 */
};

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
    uint32_t length = piece_length(division, piece);
    uint8_t *at = packet_data(piece), *fragment = at + sizeof(struct ipv6_header);
    uint32_t offset_more;

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
    const uint8_t *data = packet_data(packet);
    const struct ipv6_header *header = (const struct ipv6_header *)data;
    return (struct division){.packet = data,
                             .payload = packet->length - HEADERS,
                             .limit = divide_limit(settings, &header->destination)};
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
