/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Making the hashes of mappings. They are made anew each time: half full at most, with a seed that is changed
 * until each prefix has found its place.
 */
#include "plane/bpf/mappings.h"

#include <string.h>

#include "engine/random.h"

enum {
    ROOM_LEAST = 1024,
    SEEDS = 64, /* tried */
};

uint32_t mappings_room(uint32_t count)
{
    uint32_t more = count + count / 2;
    return more < ROOM_LEAST ? ROOM_LEAST : more;
}

uint32_t mappings_buckets(uint32_t room)
{
    uint32_t buckets = 1;
    while ((uint64_t)buckets * MAPPING_BUCKET < 2 * (uint64_t)room)
        buckets *= 2;
    return buckets;
}

uint32_t mappings_count(const struct settings *settings)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < settings->siit_count; i++)
        count += eam_count(settings->siit[i].eam);
    return count;
}

static struct plane_mapping describe_mapping(const struct eam *eam, uint32_t instance)
{
    struct path_address ipv6 = path_address6(&eam->ipv6);
    return (struct plane_mapping){.high = ipv6.high,
                                  .low = ipv6.low,
                                  .ipv4 = from_be32(eam->ipv4),
                                  .length6 = eam->length6,
                                  .length4 = eam->length4,
                                  .instance = (uint8_t)instance};
}

static struct mapping_key key_of(const struct plane_mapping *mapping, enum mapping_direction direction)
{
    bool from4 = direction == MAPPING_FROM_4;
    return (struct mapping_key){.high = from4 ? (uint64_t)mapping->ipv4 << 32 : mapping->high,
                                .low = from4 ? 0 : mapping->low,
                                .direction = direction,
                                .instance = mapping->instance,
                                .length = from4 ? mapping->length4 : mapping->length6};
}

/* False: its tag is taken, or all buckets that it may stand in are full. */
static bool enter(struct mapping_bucket *buckets, uint32_t mask, uint64_t hash, uint32_t number)
{
    uint32_t tag = (uint32_t)(hash >> 32);
    for (uint32_t probe = 0; probe < MAPPING_PROBES; probe++) {
        struct mapping_bucket *bucket = &buckets[((uint32_t)hash + probe) & mask];
        for (unsigned i = 0; i < MAPPING_BUCKET; i++) {
            if (bucket->slot[i] == 0) {
                bucket->slot[i] = (uint64_t)tag << 32 | (number + 1);
                return true;
            }
            if (bucket->slot[i] >> 32 == tag)
                return false;
        }
    }
    return false;
}

static bool enter_all(struct mapping_bucket *buckets, const struct plane_mapping *mappings, uint32_t count,
                      const struct plane_siits *siits)
{
    memset(buckets, 0, (size_t)siits->buckets * MAPPING_DIRECTIONS * sizeof(*buckets));
    for (uint32_t direction = 0; direction < MAPPING_DIRECTIONS; direction++) {
        struct mapping_bucket *of_direction = buckets + (size_t)direction * siits->buckets;
        for (uint32_t i = 0; i < count; i++) {
            struct mapping_key key = key_of(&mappings[i], direction);
            if (!enter(of_direction, siits->buckets - 1, mapping_hash(siits->seed, &key), i))
                return false;
        }
    }
    return true;
}

static void list_lengths(struct plane_siit *siit, const struct plane_mapping *mappings, uint32_t count)
{
    bool occurs4[MAPPING_LENGTHS4] = {false}, occurs6[MAPPING_LENGTHS6] = {false};
    for (uint32_t i = 0; i < count; i++)
        occurs4[mappings[i].length4] = occurs6[mappings[i].length6] = true;
    for (unsigned length = MAPPING_LENGTHS4; length-- > 0;)
        if (occurs4[length])
            siit->length4[siit->lengths4++] = (uint8_t)length;
    for (unsigned length = MAPPING_LENGTHS6; length-- > 0;)
        if (occurs6[length])
            siit->length6[siit->lengths6++] = (uint8_t)length;
}

/* Writes the mappings of an entry behind those that there are; how many there are then. */
static uint32_t write_mappings(struct plane_mapping *mappings, uint32_t count, const struct eam_table *eam,
                               uint32_t instance)
{
    for (uint32_t i = 0; i < eam_count(eam); i++)
        mappings[count++] = describe_mapping(eam_at(eam, i), instance);
    return count;
}

void mappings_write(const struct mapping_arrays *arrays, uint32_t version, const struct settings *settings,
                    struct plane_siits *siits)
{
    uint32_t buckets = mappings_buckets(arrays->room), count = 0;
    struct plane_mapping *mappings = arrays->mappings + (size_t)version * arrays->room;
    struct random random = random_seed(settings->siit_count);
    bool entered = false;
    memset(siits, 0, sizeof(*siits));
    siits->buckets = buckets;
    siits->room = arrays->room;
    if (mappings_count(settings) > arrays->room)
        return;
    for (uint32_t i = 0; i < settings->siit_count; i++) {
        const struct siit_settings *from = &settings->siit[i];
        struct plane_siit *siit = &siits->siit[i];
        uint32_t first = count;
        siit->prefix = from->prefix;
        siit->hairpin = from->hairpin;
        siit->refuses_local = !from->translate_non_global && rfc6052_is_well_known(&from->prefix);
        count = write_mappings(mappings, count, from->eam, i);
        list_lengths(siit, mappings + first, count - first);
    }
    for (unsigned tries = 0; tries < SEEDS && !entered; tries++) {
        siits->seed = random_next(&random);
        entered = enter_all(arrays->buckets + (size_t)version * MAPPING_DIRECTIONS * buckets, mappings, count,
                            siits);
    }
    siits->count = entered ? settings->siit_count : 0;
}
