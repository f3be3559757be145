/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Ports of a pool address: claimed and given back by one atomic operation on a word of 64 of them.
 *
 * A claim starts at a random word and a random bit and takes the next free port from there (RFC 6056
 * section 3.3.1, with the increment in steps of words); the summary leads from word to word, so the last free
 * port costs what the first did. Ports of the wanted parity come first (RFC 4787 REQ-3 as cited in RFC 6146
 * section 3.5.1.1: SHOULD), then any.
 *
 * A summary bit may be set over a word that has nothing (harmless) but must not stay clear over one that
 * has: who empties a word clears the bit and then looks at the word once more; who gives back sets the word
 * and then looks at the bit. Who dies before that second look may leave it clear, so a claim that finds
 * nothing while ports are counted as free goes through the words.
 */
#ifndef ENGINE_PORTS_H
#define ENGINE_PORTS_H

#include "engine/layout.h"

#define PORTS_OF_PARITY(odd) ((odd) ? 0xaaaaaaaaaaaaaaaaull : 0x5555555555555555ull)

/*
 * The number of the lowest set bit of a word that is not 0. BPF has no instruction for it, so the bits below
 * are counted, without a branch that the verifier would have to follow both ways.
 */
WIRE_INLINE unsigned lowest_bit(uint64_t word)
{
#ifdef __bpf__
    uint64_t under = (word & -word) - 1;
    under -= (under >> 1) & 0x5555555555555555ull;
    under = (under & 0x3333333333333333ull) + ((under >> 2) & 0x3333333333333333ull);
    under = (under + (under >> 4)) & 0x0f0f0f0f0f0f0f0full;
    return (unsigned)((under * 0x0101010101010101ull) >> 56);
#else
    return (unsigned)__builtin_ctzll(word);
#endif
}

/* Which class of ports: RFC 6146 section 3.5.1.1 keeps 0-1023 and 1024-65535 apart. */
enum port_class {
    PORTS_WELL_KNOWN,
    PORTS_OTHER,
};

WIRE_INLINE enum port_class port_class(be16 port)
{
    return from_be16(port) < 1024 ? PORTS_WELL_KNOWN : PORTS_OTHER;
}

WIRE_INLINE void ports_note_empty(struct port_map *map, unsigned word)
{
    uint64_t bit = 1ull << (word % 64);
    for (unsigned odd = 0; odd < 2; odd++) {
        uint64_t parity = PORTS_OF_PARITY(odd);
        uint64_t *summary = &map->summary[odd][word / 64];
        if ((atomic_load64(&map->available[word]) & parity) != 0 || (atomic_load64(summary) & bit) == 0)
            continue;
        atomic_and64(summary, ~bit);
        atomic_settle();
        if ((atomic_load64(&map->available[word]) & parity) != 0)
            atomic_or64(summary, bit);
    }
}

/* Gives a port back; it becomes available if the settings allow it. `port` is in host order. */
WIRE_INLINE void ports_release(struct port_map *map, uint16_t port)
{
    unsigned word = below(PORT_WORDS, port / 64);
    atomic_add32(&map->used, (uint32_t)-1);
    if ((atomic_load64(&map->allowed[word]) & (1ull << (port % 64))) == 0)
        return;
    uint64_t *summary = &map->summary[port & 1][word / 64];
    uint64_t bit = 1ull << (word % 64);
    atomic_add32(&map->free, 1);
    atomic_or64(&map->available[word], 1ull << (port % 64));
    atomic_settle();
    if ((atomic_load64(summary) & bit) == 0)
        atomic_or64(summary, bit);
}

/* Lets a port be given out from now on; only while the pool is set up. */
WIRE_INLINE void ports_allow(struct port_map *map, uint16_t port)
{
    unsigned word = port / 64;
    if ((map->allowed[word] & (1ull << (port % 64))) == 0)
        map->configured++, map->free++;
    map->allowed[word] |= 1ull << (port % 64);
    map->available[word] |= 1ull << (port % 64);
    map->summary[port & 1][word / 64] |= 1ull << (word % 64);
}

/*
 * Claims exactly this port. False: it was not available.
 * rfc: 6146-3.5.1.1-e, 6146-3.1-d
 */
WIRE_INLINE bool ports_take(struct port_map *map, uint16_t port)
{
    uint64_t bit = 1ull << (port % 64);
    unsigned word = below(PORT_WORDS, port / 64);
    if ((atomic_and64(&map->available[word], ~bit) & bit) == 0)
        return false;
    atomic_add32(&map->used, 1);
    atomic_add32(&map->free, (uint32_t)-1);
    ports_note_empty(map, word);
    return true;
}

/* Claims a port for a static binding, which may also have one outside the ranges; nobody else takes those. */
WIRE_INLINE bool ports_take_static(struct port_map *map, uint16_t port)
{
    if ((atomic_load64(&map->allowed[below(PORT_WORDS, port / 64)]) & (1ull << (port % 64))) != 0)
        return ports_take(map, port);
    atomic_add32(&map->used, 1);
    return true;
}

/* Claims a port of one word among `parity`, the first at or after bit `start`; -1: none. */
TABLE_FUNCTION int ports_take_in_word(struct port_map *map, unsigned word, uint64_t parity, unsigned start)
{
    if (absent(map))
        return -1;
    word = below(PORT_WORDS, word);
    for (size_t tries = 0; tries < 64; tries++) {
        uint64_t free = atomic_load64(&map->available[word]) & parity;
        if (free == 0)
            return -1;
        uint64_t after = free & (~0ull << start);
        uint64_t pick = after != 0 ? after : free;
        unsigned bit = lowest_bit(pick);
        if (ports_take(map, (uint16_t)(word * 64 + bit)))
            return (int)(word * 64 + bit);
    }
    return -1;
}

/* Claims a port of the parity in one of 64 words, those whose bits are set in `mask`. */
TABLE_FUNCTION int ports_take_in_mask(struct port_map *map, unsigned first_word, uint64_t mask, bool odd,
                                      unsigned start)
{
    for (size_t tries = 0; mask != 0 && tries < 64; tries++) {
        int port = ports_take_in_word(map, first_word + lowest_bit(mask), PORTS_OF_PARITY(odd), start);
        if (port >= 0)
            return port;
        mask &= mask - 1;
    }
    return -1;
}

/*
 * Claims a port of the parity within a class, from a random place on: 16 summary words at most, the one
 * started in twice. Returns the port in host order or -1.
 * rfc: 7857-9-a
 */
TABLE_FUNCTION int ports_take_parity(struct port_map *map, enum port_class class, bool odd, uint64_t random)
{
    if (absent(map))
        return -1;
    const unsigned words = PORT_WORDS / 64; /* of the summary */
    unsigned first = class == PORTS_WELL_KNOWN ? 0 : 16;
    unsigned last = class == PORTS_WELL_KNOWN ? 16 : PORT_WORDS;
    unsigned start = first + (unsigned)(((random & 0xffff) * (last - first)) >> 16);
    unsigned bit = (unsigned)(random >> 16) % 64;
    for (size_t i = 0; i <= words; i++) {
        unsigned word = below(PORT_WORDS / 64, (start / 64 + (unsigned)i) % words);
        uint64_t class_mask =
            class == PORTS_WELL_KNOWN ? (word == 0 ? 0xffffull : 0) : (word == 0 ? ~0xffffull : ~0ull);
        uint64_t mask = atomic_load64(&map->summary[below(2, odd)][word]) & class_mask;
        if (i == 0)
            mask &= ~0ull << (start % 64);
        int port = ports_take_in_mask(map, word * 64, mask, odd, bit);
        if (port >= 0)
            return port;
    }
    return -1;
}

/*
 * Sets what two words of the summary should have: who died in ports_note_empty left it clear. False: they
 * have it all.
 */
TABLE_FUNCTION bool ports_mend_part(struct port_map *map, unsigned part)
{
    bool mended = false;
    if (absent(map))
        return false;
    part = below(PORT_WORDS / 64, part);
    for (size_t i = 0; i < 64; i++) {
        uint64_t available = atomic_load64(&map->available[part * 64 + i]);
        uint64_t bit = 1ull << i;
        for (size_t odd = 0; odd < 2 && available != 0; odd++) {
            uint64_t *summary = &map->summary[odd][part];
            if ((available & PORTS_OF_PARITY(odd)) == 0 || (atomic_load64(summary) & bit) != 0)
                continue;
            atomic_or64(summary, bit);
            mended = true;
        }
    }
    return mended;
}

/* The same for all of the summary. */
TABLE_FUNCTION bool ports_mend(struct port_map *map)
{
    bool mended = false;
    if (absent(map))
        return false;
    for (size_t part = 0; part < PORT_WORDS / 64; part++)
        mended |= ports_mend_part(map, (unsigned)part);
    return mended;
}

/*
 * Claims a port like `wanted`: its class and parity, or else its class, or else any. Host order, or -1.
 * rfc: 6146-3.5.1.1-b, 6146-3.5.1.1-c, 6146-3.5.1.1-d, 4787-REQ11-a
 */
TABLE_FUNCTION int ports_claim(struct port_map *map, be16 wanted, uint64_t random)
{
    enum port_class class = port_class(wanted);
    bool odd = (from_be16(wanted) & 1) != 0;
    if (absent(map))
        return -1;
    for (size_t round = 0; round < 2 && atomic_load32(&map->free) != 0; round++) {
        for (size_t i = 0; i < 4; i++) {
            int port = ports_take_parity(map, i < 2 ? class : (enum port_class) !class,
                                         (i & 1) != 0 ? !odd : odd, random);
            if (port >= 0)
                return port;
        }
        if (!ports_mend(map))
            return -1;
    }
    return -1;
}

#endif /* ENGINE_PORTS_H */
