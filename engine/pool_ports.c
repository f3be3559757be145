/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which ports of the pool's addresses may be given out: bits of the port maps, changed word by word while
 * workers claim ports and give them back (engine/ports.h).
 *
 * A port that becomes allowed may have a holder already, a static binding outside the ranges of before; then
 * giving it back makes it available. One that is no longer allowed is taken out of what is available, and
 * whoever gives it back later finds it not allowed. In between stands who has looked at `allowed` before and
 * sets `available` after: that is over when all workers have begun anew.
 */
#include "engine/ports.h"
#include "engine/rules.h"

/* The ports of one address that the rules allow. */
struct wanted {
    uint64_t port[TRANSPORT_COUNT][PORT_WORDS];
};

static uint64_t bits_up_to(unsigned count)
{
    return count >= 64 ? ~0ull : (1ull << count) - 1;
}

static void want_range(uint64_t port[PORT_WORDS], unsigned low, unsigned high)
{
    for (unsigned word = low / 64; word <= high / 64; word++) {
        unsigned first = word == low / 64 ? low % 64 : 0;
        unsigned last = word == high / 64 ? high % 64 : 63;
        port[word] |= bits_up_to(last + 1) & ~bits_up_to(first);
    }
}

static void want(const struct nat64_settings *nat64, be32 address, struct wanted *wanted)
{
    __builtin_memset(wanted, 0, sizeof(*wanted));
    for (uint32_t i = 0; i < nat64->pool_count; i++) {
        const struct pool_range *range = &nat64->pool[i];
        if (from_be32(address) - from_be32(range->first) >= range->count)
            continue;
        for (unsigned transport = 0; transport < TRANSPORT_COUNT; transport++)
            if ((range->transports & (1u << transport)) != 0)
                want_range(wanted->port[transport], range->low, range->high);
    }
}

static uint32_t ones(uint64_t word)
{
    return (uint32_t)__builtin_popcountll(word);
}

/* Those of a word's ports that somebody holds. */
static uint64_t held(const struct table *table, uint16_t place, uint8_t transport, unsigned word)
{
    uint64_t ports = 0;
    for (unsigned bit = 0; bit < 64; bit++)
        if (atomic_load32(owner_at(table, place, transport, (uint16_t)(word * 64 + bit))) != 0)
            ports |= 1ull << bit;
    return ports;
}

static void permit_word(const struct table *table, uint16_t place, uint8_t transport, unsigned word,
                        uint64_t new)
{
    struct port_map *map = port_map_at(table, place, transport);
    atomic_or64(&map->allowed[word], new);
    atomic_add32(&map->configured, ones(new));
    if (atomic_load32(&map->used) != 0)
        new &= ~held(table, place, transport, word);
    uint64_t had = atomic_or64(&map->available[word], new);
    atomic_add32(&map->free, ones(new & ~had));
    for (unsigned odd = 0; odd < 2; odd++)
        if ((new &PORTS_OF_PARITY(odd)) != 0)
            atomic_or64(&map->summary[odd][word / 64], 1ull << (word % 64));
}

void pool_permit(const struct table *table, const struct rules *rules)
{
    struct wanted wanted;
    for (uint32_t i = 0; i < rules->pool.count; i++) {
        const struct pool_address *address = &rules->pool.address[i];
        want(&rules->settings.nat64[address->instance], address->address, &wanted);
        for (unsigned transport = 0; transport < TRANSPORT_COUNT; transport++) {
            const struct port_map *map = port_map_at(table, address->place, (uint8_t)transport);
            for (unsigned word = 0; word < PORT_WORDS; word++) {
                uint64_t new = wanted.port[transport][word] & ~map->allowed[word];
                if (new != 0)
                    permit_word(table, address->place, (uint8_t)transport, word, new);
            }
        }
    }
}

/* Takes ports of a word out of what is available. */
static void take_away(struct port_map *map, unsigned word, uint64_t gone)
{
    if ((atomic_load64(&map->available[word]) & gone) == 0)
        return;
    uint64_t had = atomic_and64(&map->available[word], ~gone);
    atomic_add32(&map->free, -ones(had & gone));
    ports_note_empty(map, word);
}

/* All ports that are allowed at the places of `before`, and by the rules no more; false: `act` is over. */
static bool each_gone(const struct table *table, const struct rules *rules, const struct rules *before,
                      bool (*act)(struct port_map *map, unsigned word, uint64_t gone))
{
    struct wanted wanted;
    for (uint32_t i = 0; i < before->pool.count; i++) {
        const struct pool_address *address = &before->pool.address[i];
        int there = pool_find(rules, address->address);
        bool remains = there >= 0 && rules->pool.address[there].place == address->place;
        __builtin_memset(&wanted, 0, sizeof(wanted));
        if (remains)
            want(&rules->settings.nat64[rules->pool.address[there].instance], address->address, &wanted);
        for (unsigned transport = 0; transport < TRANSPORT_COUNT; transport++) {
            struct port_map *map = port_map_at(table, address->place, (uint8_t)transport);
            for (unsigned word = 0; word < PORT_WORDS; word++) {
                uint64_t gone = map->allowed[word] & ~wanted.port[transport][word];
                if (gone != 0 && !act(map, word, gone))
                    return false;
            }
        }
    }
    return true;
}

static bool forbid(struct port_map *map, unsigned word, uint64_t gone)
{
    atomic_and64(&map->allowed[word], ~gone);
    atomic_add32(&map->configured, -ones(gone));
    take_away(map, word, gone);
    return true;
}

static bool stop(struct port_map *map, unsigned word, uint64_t gone)
{
    (void)map;
    (void)word;
    (void)gone;
    return false;
}

void pool_restrict(const struct table *table, const struct rules *rules, const struct rules *before)
{
    (void)each_gone(table, rules, before, forbid);
}

bool pool_restricts(const struct table *table, const struct rules *rules, const struct rules *before)
{
    return !each_gone(table, rules, before, stop);
}

void pool_settle(const struct table *table, const struct rules *before)
{
    for (uint32_t i = 0; i < before->pool.count; i++)
        for (unsigned transport = 0; transport < TRANSPORT_COUNT; transport++) {
            struct port_map *map = port_map_at(table, before->pool.address[i].place, (uint8_t)transport);
            for (unsigned word = 0; word < PORT_WORDS; word++)
                take_away(map, word, ~atomic_load64(&map->allowed[word]));
        }
}
