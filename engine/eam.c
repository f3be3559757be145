/* SPDX-License-Identifier: BSD-2-Clause */
#include "engine/eam.h"

#include "engine/memory.h"

typedef unsigned __int128 bits128; /* an address as a number */

enum {
    LENGTHS4 = 33,
    LENGTHS6 = 129,
};

/*
 * One direction: places of mappings by the hash of prefix and length, open addressing at half load at most;
 * and the lengths that occur, the longest first.
 */
struct direction {
    uint32_t mask;
    uint32_t lengths;
    uint8_t length[LENGTHS6];
    uint32_t *place; /* index of a mapping plus one; 0: none */
};

struct eam_table {
    size_t size;
    uint32_t count;
    struct direction from4, from6;
    struct eam *mapping;
};

static bits128 number_of(const struct ipv6_address *address)
{
    bits128 number = 0;
#pragma GCC unroll 4
    for (unsigned i = 0; i < 16; i += 4)
        number = number << 32 | from_be32(load_be32(address->bytes + i));
    return number;
}

static struct ipv6_address address_of(bits128 number)
{
    struct ipv6_address address;
#pragma GCC unroll 4
    for (unsigned i = 16; i > 0; i -= 4, number >>= 32)
        store_be32(address.bytes + i - 4, to_be32((uint32_t)number));
    return address;
}

/* The bits behind a prefix. Shifts by a whole word would be undefined. */
static bits128 suffix6(unsigned length)
{
    return length == 0 ? ~(bits128)0 : length == 128 ? 0 : ~(bits128)0 >> length;
}

static uint32_t suffix4(unsigned length)
{
    return length == 0 ? 0xffffffffu : length == 32 ? 0 : 0xffffffffu >> length;
}

static uint32_t hash(bits128 prefix, unsigned length)
{
    uint64_t sum = (uint64_t)prefix * 0x9e3779b97f4a7c15ull;
    sum ^= sum >> 32;
    sum += (uint64_t)(prefix >> 64) + length;
    sum *= 0xd6e8feb86659fd93ull;
    return (uint32_t)(sum >> 32);
}

/* A mapping from one side: prefix as a number, and its length. */
static bits128 prefix_of(const struct eam *mapping, bool six, unsigned *length)
{
    *length = six ? mapping->length6 : mapping->length4;
    return six ? number_of(&mapping->ipv6) : from_be32(mapping->ipv4);
}

/* The place of a prefix, or the free one where it would go. */
static uint32_t *find_place(const struct eam_table *table, const struct direction *direction, bits128 prefix,
                            unsigned length)
{
    bool six = direction == &table->from6;
    for (uint32_t at = hash(prefix, length);; at++) {
        uint32_t *place = &direction->place[at & direction->mask];
        unsigned there;
        if (*place == 0 || (prefix_of(&table->mapping[*place - 1], six, &there) == prefix && there == length))
            return place;
    }
}

/* rfc: 7757-3.3-a */
static const struct eam *longest(const struct eam_table *table, const struct direction *direction,
                                 bits128 address)
{
    bool six = direction == &table->from6;
    for (uint32_t i = 0; i < direction->lengths; i++) {
        unsigned length = direction->length[i];
        bits128 suffix = six ? suffix6(length) : suffix4(length);
        uint32_t place = *find_place(table, direction, address & ~suffix, length);
        if (place != 0)
            return &table->mapping[place - 1];
    }
    return NULL;
}

/* --- building ------------------------------------------------------------------------------------ */

/* rfc: 7757-3.2-b */
static const char *impossible(const struct eam *mapping)
{
    if (mapping->length4 > 32 || mapping->length6 > 128)
        return "a prefix is longer than an address";
    if (32 - mapping->length4 > 128 - mapping->length6)
        return "the IPv4 prefix leaves more bits than the IPv6 prefix has room for";
    if ((from_be32(mapping->ipv4) & suffix4(mapping->length4)) != 0 ||
        (number_of(&mapping->ipv6) & suffix6(mapping->length6)) != 0)
        return "bits are set behind a prefix";
    return NULL;
}

/*
 * Enters mapping number `entry`; the number of the one that has its prefix already, or `entry`.
 * rfc: 7757-5-a
 */
static uint32_t enter(struct eam_table *table, struct direction *direction, uint32_t entry)
{
    unsigned length;
    bits128 prefix = prefix_of(&table->mapping[entry], direction == &table->from6, &length);
    uint32_t *place = find_place(table, direction, prefix, length);
    if (*place != 0)
        return *place - 1;
    *place = entry + 1;
    return entry;
}

static void list_lengths(struct eam_table *table, struct direction *direction, unsigned lengths)
{
    bool occurs[LENGTHS6] = {false};
    for (uint32_t i = 0; i < table->count; i++)
        occurs[direction == &table->from6 ? table->mapping[i].length6 : table->mapping[i].length4] = true;
    for (unsigned length = lengths; length-- > 0;)
        if (occurs[length])
            direction->length[direction->lengths++] = (uint8_t)length;
}

static struct eam_table *new_table(uint32_t n)
{
    uint32_t places = 2;
    while (places < 2 * (uint64_t)n)
        places *= 2;
    size_t mappings = (size_t)n * sizeof(struct eam);
    size_t size = sizeof(struct eam_table) + 2 * (size_t)places * sizeof(uint32_t) + mappings;
    struct eam_table *table = n <= 1u << 30 ? memory_map(size) : NULL;
    if (table == NULL)
        return NULL;
    table->size = size;
    table->count = n;
    table->from4.mask = table->from6.mask = places - 1;
    table->from4.place = (uint32_t *)(table + 1);
    table->from6.place = table->from4.place + places;
    table->mapping = (struct eam *)(table->from6.place + places);
    return table;
}

struct eam_table *eam_build(const struct eam *mappings, uint32_t n, struct eam_problem *problem)
{
    struct eam_table *table = new_table(n);
    *problem = (struct eam_problem){.sentence = NULL};
    for (uint32_t i = 0; table != NULL && i < n; i++) {
        problem->sentence = impossible(&mappings[i]);
        table->mapping[i] = mappings[i];
        if (problem->sentence == NULL && (problem->other = enter(table, &table->from4, i)) != i)
            problem->sentence = "the IPv4 prefix is that of an earlier mapping";
        if (problem->sentence == NULL && (problem->other = enter(table, &table->from6, i)) != i)
            problem->sentence = "the IPv6 prefix is that of an earlier mapping";
        if (problem->sentence != NULL) {
            problem->entry = i;
            eam_free(table);
            return NULL;
        }
    }
    if (table != NULL) {
        list_lengths(table, &table->from4, LENGTHS4);
        list_lengths(table, &table->from6, LENGTHS6);
    }
    return table;
}

void eam_free(struct eam_table *table)
{
    if (table != NULL)
        memory_unmap(table, table->size);
}

uint32_t eam_count(const struct eam_table *table)
{
    return table != NULL ? table->count : 0;
}

const struct eam *eam_at(const struct eam_table *table, uint32_t number)
{
    return &table->mapping[number];
}

size_t eam_memory(const struct eam_table *table)
{
    return table != NULL ? table->size : 0;
}

/* --- looking up ---------------------------------------------------------------------------------- */

/* rfc: 7915-6-b, 7757-3.3.1-a */
bool eam_to6(const struct eam_table *table, be32 from, struct ipv6_address *to)
{
    uint32_t address = from_be32(from);
    const struct eam *mapping = table != NULL ? longest(table, &table->from4, address) : NULL;
    if (mapping == NULL)
        return false;
    unsigned suffix = 32u - mapping->length4, room = 128u - mapping->length6;
    bits128 rest = address & suffix4(mapping->length4);
    *to =
        address_of(number_of(&mapping->ipv6) | (room > suffix && rest != 0 ? rest << (room - suffix) : rest));
    return true;
}

/* rfc: 7915-6-b, 7757-3.3.2-a */
bool eam_to4(const struct eam_table *table, const struct ipv6_address *from, be32 *to)
{
    bits128 address = number_of(from);
    const struct eam *mapping = table != NULL ? longest(table, &table->from6, address) : NULL;
    if (mapping == NULL)
        return false;
    unsigned suffix = 32u - mapping->length4, room = 128u - mapping->length6;
    bits128 rest = address & suffix6(mapping->length6);
    uint32_t kept = suffix == 0 ? 0 : (uint32_t)(rest >> (room - suffix));
    *to = to_be32(from_be32(mapping->ipv4) | kept);
    return true;
}
