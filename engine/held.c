/* SPDX-License-Identifier: BSD-2-Clause */
#include "engine/held.h"

#include <string.h>

#include "engine/atomic.h"
#include "wire/checksum.h"

static size_t round_up(size_t size)
{
    return (size + 63) & ~(size_t)63;
}

size_t held_size(uint32_t pieces, uint32_t blocks)
{
    return round_up(pieces * sizeof(struct held_piece)) + round_up(blocks * sizeof(uint32_t)) +
           (size_t)blocks * HELD_BLOCK;
}

void held_set_up(struct held_memory *held, void *memory, uint32_t pieces, uint32_t blocks)
{
    uint8_t *at = memory;
    *held = (struct held_memory){
        .pieces = pieces, .blocks = blocks, .free_piece = NO_PIECE, .free_block = NO_PIECE};
    held->piece = (void *)at;
    at += round_up(pieces * sizeof(struct held_piece));
    held->next_block = (void *)at;
    at += round_up(blocks * sizeof(uint32_t));
    held->block = (void *)at;
}

static uint32_t take_piece(struct held_memory *held)
{
    uint32_t piece = held->free_piece;
    atomic_store32(&held->pieces_used, held->pieces_used + 1);
    if (piece == NO_PIECE)
        return held->pieces_begun++;
    held->free_piece = held->piece[piece].next;
    return piece;
}

static uint32_t take_block(struct held_memory *held)
{
    uint32_t block = held->free_block;
    atomic_store32(&held->blocks_used, held->blocks_used + 1);
    if (block == NO_PIECE)
        return held->blocks_begun++;
    held->free_block = held->next_block[block];
    return block;
}

/* What of a piece's rest lies in one block. */
static uint32_t part(uint32_t left)
{
    return left < HELD_BLOCK ? left : HELD_BLOCK;
}

uint32_t held_put(struct held_memory *held, const struct packet *packet, const struct held_piece *like)
{
    const uint8_t *from = packet_data(packet);
    uint32_t number = take_piece(held);
    struct held_piece *piece = &held->piece[number];
    uint32_t *link = &piece->block;
    *piece = *like;
    for (uint32_t left = packet->length; left > 0; left -= part(left)) {
        uint32_t block = take_block(held);
        memcpy(held->block[block], from, part(left));
        from += part(left);
        *link = block;
        link = &held->next_block[block];
    }
    *link = NO_PIECE;
    return number;
}

void held_get(const struct held_memory *held, uint32_t piece, uint8_t *to, uint32_t length)
{
    uint32_t block = held->piece[piece].block;
    for (uint32_t left = length; left > 0; left -= part(left)) {
        memcpy(to, held->block[block], part(left));
        to += part(left);
        block = held->next_block[block];
    }
}

uint64_t held_sum(const struct held_memory *held, uint32_t piece, uint32_t from, uint32_t length)
{
    uint32_t block = held->piece[piece].block;
    uint64_t sum = 0;
    for (; from >= HELD_BLOCK; from -= HELD_BLOCK)
        block = held->next_block[block];
    while (length > 0) {
        uint32_t here = length < HELD_BLOCK - from ? length : HELD_BLOCK - from;
        sum = checksum_add_bytes(sum, held->block[block] + from, here);
        length -= here;
        from = 0;
        block = held->next_block[block];
    }
    return sum;
}

void held_patch(struct held_memory *held, uint32_t piece, uint32_t position, be16 value)
{
    store_be16(held->block[held->piece[piece].block] + position, value);
}

void held_free(struct held_memory *held, uint32_t piece)
{
    uint32_t block = held->piece[piece].block;
    while (block != NO_PIECE) {
        uint32_t next = held->next_block[block];
        held->next_block[block] = held->free_block;
        held->free_block = block;
        atomic_store32(&held->blocks_used, held->blocks_used - 1);
        block = next;
    }
    held->piece[piece].next = held->free_piece;
    held->free_piece = piece;
    atomic_store32(&held->pieces_used, held->pieces_used - 1);
}
