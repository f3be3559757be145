/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory for fragments that have to wait: copies of whole packets, each a chain of blocks of one size, so
 * that memory can be short but never in pieces too small to use.
 *
 *     piece   | length, offset, ... | -> block 17 -> block 4 -> block 92
 *
 * Belongs to one worker. How much there is is settled when it is made; pages are not touched before they are
 * used, and blocks given back are used first.
 */
#ifndef ENGINE_HELD_H
#define ENGINE_HELD_H

#include <stddef.h>

#include "engine/limits.h"
#include "engine/packet.h"

#define NO_PIECE 0xffffffffu

/* A fragment that is kept. */
struct held_piece {
    uint32_t next;      /* the next of its datagram, or NO_PIECE */
    uint32_t block;     /* the first of its blocks */
    uint32_t length;    /* of the packet */
    uint16_t transport; /* position of what the IP header and its extensions are followed by */
    uint16_t offset;    /* of that within the datagram, in bytes */
};

struct held_memory {
    uint32_t pieces, blocks;             /* that there are */
    uint32_t pieces_used, blocks_used;   /* now; read by others, too */
    uint32_t pieces_begun, blocks_begun; /* that were ever used: the first ones */
    uint32_t free_piece, free_block;     /* the first of those given back, or NO_PIECE */
    struct held_piece *piece;
    uint32_t *next_block;
    uint8_t (*block)[HELD_BLOCK];
};

/* Bytes that held_set_up needs. */
size_t held_size(uint32_t pieces, uint32_t blocks);

/* Lays the store over zeroed memory, which must be aligned to 64 bytes. */
void held_set_up(struct held_memory *held, void *memory, uint32_t pieces, uint32_t blocks);

/* Blocks that a packet of this length takes. */
WIRE_INLINE uint32_t held_blocks(uint32_t length)
{
    return (length + HELD_BLOCK - 1) / HELD_BLOCK;
}

/* Is there room for one more of this length? */
WIRE_INLINE bool held_has_room(const struct held_memory *held, uint32_t length)
{
    return held->pieces_used < held->pieces && held->blocks - held->blocks_used >= held_blocks(length);
}

/* Copies the packet, for which there is room, and describes it by `like`, all but its block. */
uint32_t held_put(struct held_memory *held, const struct packet *packet, const struct held_piece *like);

/* Copies the first `length` bytes of a piece, which has as many. */
void held_get(const struct held_memory *held, uint32_t piece, uint8_t *to, uint32_t length);

/* The ones' complement sum of `length` bytes from position `from` on, both of which lie within; `from` is
 * even. */
uint64_t held_sum(const struct held_memory *held, uint32_t piece, uint32_t from, uint32_t length);

/* Changes 16 bits in the first block. */
void held_patch(struct held_memory *held, uint32_t piece, uint32_t position, be16 value);

void held_free(struct held_memory *held, uint32_t piece);

#endif /* ENGINE_HELD_H */
