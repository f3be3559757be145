/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Ports for new bindings, as in engine/pool.c: where the client has bindings on other addresses than its hash
 * says (engine/pairing.h), else on the one that the hash says, else on those that come next in the instance's
 * order. Of these CLAIM_NEXT are tried here; the engine, which is to answer if there is no port, goes on.
 */
#ifndef PLANE_BPF_CLAIM_BPF_H
#define PLANE_BPF_CLAIM_BPF_H

#include "engine/pairing.h"
#include "plane/bpf/processor.bpf.h"

enum {
    CLAIM_NEXT = 16, /* addresses tried after the one that the hash says */
};

/* A word that has all of a pool address, as it is in the maps. */
union address_word {
    uint64_t word;
    struct plane_address address;
};

/* Numbers that processors draw from the one secret differ because what they count does. */
WIRE_INLINE uint64_t draw_random(struct processor *processor, const struct plane_settings *plane)
{
    struct random random = {.key = {plane->secret[0], plane->secret[1]},
                            .counter = (uint64_t)bpf_get_smp_processor_id() << 48 | processor->drawn++};
    return random_next(&random);
}

/* A port of this address, for the request. None is drawn where there is none, so that a search draws once. */
TABLE_FUNCTION bool claim_at(struct processor *processor, const struct plane_settings *plane, uint64_t word)
{
    const union address_word at = {.word = word};
    if (absent(processor) || absent(plane) || word == 0)
        return false;
    struct session_request *request = &processor->request;
    struct port_map *map = port_map_at(&table_bpf, at.address.place, request->key.transport);
    if (absent(map) || atomic_load32(&map->free) == 0)
        return false;
    int port = ports_claim(map, request->key.client_port, draw_random(processor, plane));
    if (port < 0)
        return false;
    request->pool = at.address.address;
    request->pool_port = to_be16((uint16_t)port);
    request->address = at.address.place;
    return true;
}

/* The address at a place, if it is the instance's; or 0. */
WIRE_INLINE uint64_t address_at_place(const struct plane_settings *plane, uint32_t place, uint8_t instance)
{
    uint32_t number = plane->version * POOL_ADDRESSES_MAXIMUM + below(POOL_ADDRESSES_MAXIMUM, place);
    const union address_word *at = bpf_map_lookup_elem(&places, &number);
    return absent(at) || at->address.instance != instance ? 0 : at->word;
}

/* Where the client has bindings astray, one of which may be where the hash says by now. */
TABLE_FUNCTION bool claim_paired(struct processor *processor, const struct plane_settings *plane,
                                 uint64_t preferred)
{
    if (absent(processor) || absent(plane))
        return false;
    const struct key6 *key = &processor->request.key;
    struct subscriber_walk walk = pairing_start(&table_bpf, &key->client, key->instance);
    for (size_t step = 0; step < INDEX_PLACES; step++) {
        int place = pairing_next(&table_bpf, &walk);
        if (place < 0)
            break;
        uint64_t word = address_at_place(plane, (uint32_t)place, key->instance);
        if (claim_at(processor, plane, word)) {
            processor->request.astray = word != preferred;
            return true;
        }
    }
    return false;
}

/* Address number `number` of the instance, counted round. */
WIRE_INLINE uint64_t address_in_order(const struct plane_settings *plane,
                                      const struct plane_instance *instance, uint32_t number)
{
    number = number < instance->count ? number : number - instance->count;
    number += plane->version * POOL_ADDRESSES_MAXIMUM + instance->first;
    const union address_word *at = bpf_map_lookup_elem(&order, &number);
    return absent(at) ? 0 : at->word;
}

/*
 * False: none was found. `astray` of the request says whether it is at another address than the hash says.
 * rfc: 6146-3.5.1.1-a
 */
TABLE_FUNCTION bool claim_port(struct processor *processor, const struct plane_settings *plane)
{
    if (absent(processor) || absent(plane))
        return false;
    struct session_request *request = &processor->request;
    const struct plane_instance *instance = instance_at(plane, request->key.instance);
    uint32_t count = instance->count;
    uint64_t hash =
        hash_subscriber(&table_bpf, &request->key.client, instance->subscriber_prefix, request->key.instance);
    uint32_t start = (uint32_t)(((hash >> 32) * count) >> 32);
    if (count == 0)
        return false;
    uint64_t preferred = address_in_order(plane, instance, start);
    request->astray = false;
    if (pairing_needed(&table_bpf) && claim_paired(processor, plane, preferred))
        return true;
    if (claim_at(processor, plane, preferred))
        return true;
    request->astray = true;
    for (size_t i = 1; i <= CLAIM_NEXT && i < count; i++)
        if (claim_at(processor, plane, address_in_order(plane, instance, start + (uint32_t)i)))
            return true;
    return false;
}

/* Remembers that the binding about to be made is astray. */
TABLE_FUNCTION bool note_astray(struct processor *processor)
{
    if (absent(processor))
        return false;
    struct session_request *request = &processor->request;
    return pairing_enter(&table_bpf, &request->key, request->address, processor->actor.lane);
}

WIRE_INLINE bool claim(struct processor *processor, const struct plane_settings *plane)
{
    if (!claim_port(processor, plane))
        return false;
    if (processor->request.astray)
        processor->request.astray = note_astray(processor);
    return true;
}

#endif /* PLANE_BPF_CLAIM_BPF_H */
