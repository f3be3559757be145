/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Stateless translation in the kernel, the policy of engine/siit.c: addresses, and nothing else.
 *
 *     translate_* -- not for nat64, and there is siit --> stateless_* -- plain --> the way of its route
 *                                                            |    \-- ours, anything else --> the engine
 *                                                            \-- not ours --> on as if we were not here
 *
 * Ours is what the kernel's routes lead to the TUN device, or would. Whether a destination has a mapping or
 * lies under a prefix does not tell: a host with a mapping is reached by its own IPv6 address as well, and
 * with a prefix any IPv4 address can be translated, those of this machine and of its neighbours among them.
 */
#ifndef PLANE_BPF_SIIT_BPF_H
#define PLANE_BPF_SIIT_BPF_H

#include "plane/bpf/mappings.h"
#include "plane/bpf/translate_4to6.bpf.h"
#include "plane/bpf/translate_6to4.bpf.h"

/* The elements are counted by whoever loads the object, see plane/bpf/mappings.h. */
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, SETTINGS_VERSIONS);
    __uint(map_flags, BPF_F_MMAPABLE);
    __type(key, __u32);
    __type(value, struct plane_mapping);
} mappings SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, SETTINGS_VERSIONS *MAPPING_DIRECTIONS);
    __uint(map_flags, BPF_F_MMAPABLE);
    __type(key, __u32);
    __type(value, struct mapping_bucket);
} mapping_buckets SEC(".maps");

/* How an address was translated. */
enum siit_way {
    SIIT_NONE,
    SIIT_MAPPING,
    SIIT_PREFIX,
};

WIRE_INLINE const struct plane_siit *siit_at(const struct plane_settings *plane, uint32_t number)
{
    return &plane->siits.siit[below(SIIT_INSTANCES_MAXIMUM, number)];
}

/* --- mappings --------------------------------------------------------------------------------------- */

WIRE_INLINE const struct plane_mapping *mapping_at(const struct plane_settings *plane, uint32_t number)
{
    number += plane->version * plane->siits.room;
    return bpf_map_lookup_elem(&mappings, &number);
}

/*
 * What a bucket says: the number of a mapping plus one whose tag it is; MAPPING_END: there is none, here or
 * further on; 0: there is none here. All slots are looked at, so that there is one way only.
 */
enum {
    MAPPING_END = -1,
};

TABLE_FUNCTION int64_t look_into_bucket(uint32_t number, uint32_t tag)
{
    const struct mapping_bucket *bucket = bpf_map_lookup_elem(&mapping_buckets, &number);
    int64_t found = 0;
    if (absent(bucket))
        return MAPPING_END;
#pragma unroll
    for (size_t i = 0; i < MAPPING_BUCKET; i++) {
        uint64_t slot = bucket->slot[i];
        found = slot >> 32 == tag ? (int64_t)(uint32_t)slot : found;
    }
    return found == 0 && bucket->slot[MAPPING_BUCKET - 1] == 0 ? MAPPING_END : found;
}

/* The number of the mapping from exactly this prefix, or -1. */
TABLE_FUNCTION int64_t find_mapping(const struct plane_settings *plane, const struct mapping_key *key)
{
    if (absent(plane) || absent(key))
        return -1;
    uint64_t hash = mapping_hash(plane->siits.seed, key);
    uint32_t mask = plane->siits.buckets - 1, tag = (uint32_t)(hash >> 32);
    uint32_t base = (plane->version * MAPPING_DIRECTIONS + key->direction) * plane->siits.buckets;
    int64_t found = 0;
    for (size_t probe = 0; probe < MAPPING_PROBES && found == 0; probe++)
        found = look_into_bucket(base + (((uint32_t)hash + (uint32_t)probe) & mask), tag);
    const struct plane_mapping *mapping = found > 0 ? mapping_at(plane, (uint32_t)found - 1) : NULL;
    return !absent(mapping) && mapping_is(mapping, key) ? found - 1 : -1;
}

/* rfc: 7757-3.3-a */
TABLE_FUNCTION int64_t longest_from_4(const struct plane_settings *plane, uint32_t instance, uint32_t address)
{
    if (absent(plane))
        return -1;
    const struct plane_siit *siit = siit_at(plane, instance);
    for (size_t i = 0; i < MAPPING_LENGTHS4 && i < siit->lengths4; i++) {
        struct mapping_key key = {
            .direction = MAPPING_FROM_4, .instance = (uint16_t)instance, .length = siit->length4[i]};
        mapping_prefix(&key, (struct path_address){.high = (uint64_t)address << 32});
        int64_t found = find_mapping(plane, &key);
        if (found >= 0)
            return found;
    }
    return -1;
}

TABLE_FUNCTION int64_t longest_from_6(const struct plane_settings *plane, uint32_t instance, uint64_t high,
                                      uint64_t low)
{
    if (absent(plane))
        return -1;
    const struct plane_siit *siit = siit_at(plane, instance);
    for (size_t i = 0; i < MAPPING_LENGTHS6 && i < siit->lengths6; i++) {
        struct mapping_key key = {
            .direction = MAPPING_FROM_6, .instance = (uint16_t)instance, .length = siit->length6[i]};
        mapping_prefix(&key, (struct path_address){.high = high, .low = low});
        int64_t found = find_mapping(plane, &key);
        if (found >= 0)
            return found;
    }
    return -1;
}

/* As eam_to6 and eam_to4 of the engine. */
TABLE_FUNCTION bool map_to_6(const struct plane_settings *plane, uint32_t instance, be32 from,
                             struct ipv6_address *to)
{
    if (absent(plane) || absent(to))
        return false;
    int64_t number = longest_from_4(plane, instance, from_be32(from));
    const struct plane_mapping *mapping = number >= 0 ? mapping_at(plane, (uint32_t)number) : NULL;
    if (absent(mapping))
        return false;
    struct path_address address = mapping_to6(mapping, from_be32(from));
    store_be32(to->bytes, to_be32((uint32_t)(address.high >> 32)));
    store_be32(to->bytes + 4, to_be32((uint32_t)address.high));
    store_be32(to->bytes + 8, to_be32((uint32_t)(address.low >> 32)));
    store_be32(to->bytes + 12, to_be32((uint32_t)address.low));
    return true;
}

TABLE_FUNCTION bool map_to_4(const struct plane_settings *plane, uint32_t instance,
                             const struct ipv6_address *from, be32 *to)
{
    if (absent(plane) || absent(from) || absent(to))
        return false;
    struct path_address address = path_address6(from);
    int64_t number = longest_from_6(plane, instance, address.high, address.low);
    const struct plane_mapping *mapping = number >= 0 ? mapping_at(plane, (uint32_t)number) : NULL;
    if (absent(mapping))
        return false;
    *to = to_be32(mapping_to4(mapping, address));
    return true;
}

/* --- single addresses, as in engine/siit.c ---------------------------------------------------------- */

/* rfc: 6052-3.1-b */
WIRE_INLINE bool is_forbidden(const struct plane_siit *siit, enum siit_way way, be32 address)
{
    return way == SIIT_PREFIX && siit->refuses_local && ipv4_is_non_global(address);
}

/* rfc: 6052-3.3-d, 7757-3.3.2-b */
WIRE_INLINE enum siit_way source_to_4(const struct arrival *arrival, uint32_t instance,
                                      const struct ipv6_address *from, be32 *to)
{
    const struct plane_siit *siit = siit_at(arrival->plane, instance);
    if (map_to_4(arrival->plane, instance, from, to))
        return SIIT_MAPPING;
    if (siit->prefix.length == 0 || !rfc6052_contains(&siit->prefix, from) ||
        !rfc6052_embeds(&siit->prefix, from))
        return SIIT_NONE;
    *to = rfc6052_extract(&siit->prefix, from);
    return SIIT_PREFIX;
}

/* rfc: 6052-3.3-d, 7757-3.3.1-b, 7757-4.2.1-d */
WIRE_INLINE enum siit_way source_to_6(const struct arrival *arrival, uint32_t instance, be32 from,
                                      struct ipv6_address *to)
{
    const struct plane_siit *siit = siit_at(arrival->plane, instance);
    if (siit->hairpin != SIIT_HAIRPIN_SIMPLE && map_to_6(arrival->plane, instance, from, to))
        return SIIT_MAPPING;
    if (siit->prefix.length == 0)
        return SIIT_NONE;
    *to = rfc6052_embed(&siit->prefix, from);
    return SIIT_PREFIX;
}

/* --- whose a packet is ------------------------------------------------------------------------------ */

/* Whose a packet is: the number of a siit entry, and how it translates the destination. -1: nobody's. */
enum {
    CLAIM_BY_PREFIX = 1 << 16,
};

/* rfc: 7915-5.6-b */
TABLE_FUNCTION int claim_6(const struct plane_settings *plane, const struct ipv6_address *destination,
                           be32 *to)
{
    if (absent(plane) || absent(destination) || absent(to))
        return -1;
    for (uint32_t i = 0; i < SIIT_INSTANCES_MAXIMUM && i < plane->siits.count; i++) {
        const struct rfc6052_prefix *prefix = &plane->siits.siit[i].prefix;
        if (map_to_4(plane, i, destination, to))
            return (int)i;
        if (prefix->length != 0 && rfc6052_contains(prefix, destination)) {
            *to = rfc6052_extract(prefix, destination);
            return (int)(i | CLAIM_BY_PREFIX);
        }
    }
    return -1;
}

/* rfc: 7915-4.6-b */
TABLE_FUNCTION int claim_4(const struct plane_settings *plane, be32 destination, struct ipv6_address *to)
{
    int any = -1;
    if (absent(plane) || absent(to))
        return -1;
    for (uint32_t i = 0; i < SIIT_INSTANCES_MAXIMUM && i < plane->siits.count; i++) {
        if (map_to_6(plane, i, destination, to))
            return (int)i;
        if (any < 0 && plane->siits.siit[i].prefix.length != 0)
            any = (int)i;
    }
    if (any < 0)
        return -1;
    *to = rfc6052_embed(&siit_at(plane, (uint32_t)any)->prefix, destination);
    return any | CLAIM_BY_PREFIX;
}

/* Would the kernel give the packet, as it came, to the TUN device? The addresses are in `route`. */
WIRE_INLINE bool leads_to_us(const struct arrival *arrival)
{
    struct bpf_fib_lookup *route = &arrival->processor->route;
    route->ifindex = arrival->skb->ifindex;
    long result = bpf_fib_lookup(arrival->skb, route, sizeof(*route), 0);
    return (result == BPF_FIB_LKUP_RET_SUCCESS || result == BPF_FIB_LKUP_RET_NO_NEIGH) &&
           route->ifindex == atomic_load32(&plane_control.device);
}

WIRE_INLINE bool is_for_us_6(const struct arrival *arrival)
{
    const struct ipv6_header *header = &arrival->processor->header6;
    struct bpf_fib_lookup *route = &arrival->processor->route;
    __builtin_memset(route, 0, sizeof(*route));
    route->family = FAMILY_IPV6;
    copy_words(route->ipv6_src, &header->source, sizeof(header->source));
    copy_words(route->ipv6_dst, &header->destination, sizeof(header->destination));
    return leads_to_us(arrival);
}

WIRE_INLINE bool is_for_us_4(const struct arrival *arrival)
{
    const struct ipv4_header *header = &arrival->processor->header4;
    struct bpf_fib_lookup *route = &arrival->processor->route;
    __builtin_memset(route, 0, sizeof(*route));
    route->family = FAMILY_IPV4;
    route->ipv4_src = load_be32(&header->source);
    route->ipv4_dst = load_be32(&header->destination);
    return leads_to_us(arrival);
}

/* --- translating ------------------------------------------------------------------------------------ */

/*
 * The addresses of a packet to IPv4, of which the destination is there. False: the engine refuses it, or
 * turns it round to another host that is mapped.
 * rfc: 7757-3.2-c, 7757-4.2.2-a
 */
WIRE_INLINE bool choose_4(const struct arrival *arrival, int claim, struct endpoints4 *to)
{
    const struct ipv6_header *header = &arrival->processor->header6;
    uint32_t instance = below(SIIT_INSTANCES_MAXIMUM, (uint32_t)claim & 0xffff);
    const struct plane_siit *siit = siit_at(arrival->plane, instance);
    bool by_prefix = (claim & CLAIM_BY_PREFIX) != 0;
    struct ipv6_address turned __attribute__((aligned(8))) = {{0}};
    if (ipv6_illegal_source(&header->source) || ipv6_is_link_local(&header->source) ||
        (by_prefix && !rfc6052_embeds(&siit->prefix, &header->destination)) ||
        ipv4_illegal_source(to->destination) ||
        is_forbidden(siit, by_prefix ? SIIT_PREFIX : SIIT_MAPPING, to->destination))
        return false;
    enum siit_way way = source_to_4(arrival, instance, &header->source, &to->source);
    if (way == SIIT_NONE || ipv4_illegal_source(to->source) || is_forbidden(siit, way, to->source))
        return false;
    to->source_port = arrival->source_port;
    to->destination_port = arrival->destination_port;
    return siit->hairpin != SIIT_HAIRPIN_INTRINSIC || !by_prefix ||
           !map_to_6(arrival->plane, instance, to->destination, &turned);
}

/* rfc: 7757-4.2.1-a */
WIRE_INLINE bool choose_6(const struct arrival *arrival, int claim, struct endpoints6 *to)
{
    const struct ipv4_header *header = &arrival->processor->header4;
    uint32_t instance = below(SIIT_INSTANCES_MAXIMUM, (uint32_t)claim & 0xffff);
    const struct plane_siit *siit = siit_at(arrival->plane, instance);
    bool by_prefix = (claim & CLAIM_BY_PREFIX) != 0;
    be32 source = load_be32(&header->source), destination = load_be32(&header->destination);
    if (ipv4_illegal_source(destination) || ipv4_illegal_source(source) ||
        is_forbidden(siit, by_prefix ? SIIT_PREFIX : SIIT_MAPPING, destination))
        return false;
    enum siit_way way = source_to_6(arrival, instance, source, &to->source);
    to->source_port = arrival->source_port;
    to->destination_port = arrival->destination_port;
    return way != SIIT_NONE && !is_forbidden(siit, way, source);
}

WIRE_INLINE int stateless_to_4(struct arrival *arrival)
{
    const struct ipv6_header *header = &arrival->processor->header6;
    struct endpoints4 *to = &arrival->processor->to4;
    int claim = claim_6(arrival->plane, &header->destination, &to->destination);
    if (claim < 0 || !(arrival->processor->at_device != 0 || is_for_us_6(arrival)))
        return LET_PASS;
    if (!describe_6(arrival) || !choose_4(arrival, claim, to))
        return hand_over(arrival);
    if (!clamp_mss(arrival, &header->source, to->destination) || !find_way_4(arrival, to) ||
        !change_family(arrival, PROTOCOL_IPV4))
        return hand_over(arrival);
    if (!rewrite_6to4(arrival, to))
        return give_up(arrival);
    count_verdict(arrival, VERDICT_TRANSLATED_6TO4);
    return send(arrival);
}

WIRE_INLINE int stateless_to_6(struct arrival *arrival)
{
    const struct ipv4_header *header = &arrival->processor->header4;
    struct endpoints6 *to = &arrival->processor->to6;
    int claim = claim_4(arrival->plane, load_be32(&header->destination), &to->destination);
    if (claim < 0 || !(arrival->processor->at_device != 0 || is_for_us_4(arrival)))
        return LET_PASS;
    if (!describe_4(arrival) || !choose_6(arrival, claim, to))
        return hand_over(arrival);
    if (came_from_here(arrival->skb) || !clamp_mss(arrival, &to->destination, load_be32(&header->source)) ||
        !find_way_6(arrival, to) || !change_family(arrival, PROTOCOL_IPV6))
        return hand_over(arrival);
    if (!rewrite_4to6(arrival, to))
        return give_up(arrival);
    count_verdict(arrival, VERDICT_TRANSLATED_4TO6);
    return send(arrival);
}

/* Goes on with a packet of which the headers have been read. */
WIRE_INLINE int receive_stateless(struct __sk_buff *skb, bool ipv6)
{
    struct arrival arrival = {.skb = skb};
    arrival.processor = processor_here();
    arrival.plane = settings_now();
    if (absent(arrival.processor) || absent(arrival.plane))
        return LET_PASS;
    arrival.network = arrival.processor->network == 0 ? 0 : ETHERNET_HEADER;
    int action = ipv6 ? stateless_to_4(&arrival) : stateless_to_6(&arrival);
    if (action == LET_PASS)
        atomic_count(&arrival.processor->counters.passed, 1);
    return action;
}

#endif /* PLANE_BPF_SIIT_BPF_H */
