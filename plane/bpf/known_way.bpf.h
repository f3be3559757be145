/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Ways that the kernel was asked for a moment ago. Of all that a packet takes here, asking the kernel's
 * routes takes longest (doc/performance.md). So what they say of a session is remembered, in each direction
 * and on each processor, and believed for a moment, a fifteenth of a second: longer than that the kernel's
 * own queues may hold a packet whose way has changed. Nobody has to tell these programs of new routes.
 *
 * A session has one place on each processor, which those of other sessions may take over. Processors that
 * came after the programs have none and ask each time.
 */
#ifndef PLANE_BPF_KNOWN_WAY_BPF_H
#define PLANE_BPF_KNOWN_WAY_BPF_H

#include "plane/bpf/way.bpf.h"

struct known_way {
    uint32_t session; /* which it is of: index plus one, and generation, of its record */
    uint16_t generation;
    uint16_t mtu; /* what it carries, as the kernel has it */
    uint32_t moment;
    uint32_t device;
    struct bpf_redir_neigh neighbour;
};

/* KNOWN_WAYS for each processor. */
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, KNOWN_WAYS);
    __type(key, __u32);
    __type(value, struct known_way);
} known_ways SEC(".maps");

/*
 * The place of the packet's session; NULL: the processor has none, or the packet has none of its own yet, or
 * is the first of a session, of which often no second comes so soon.
 */
WIRE_INLINE struct known_way *known_way_of(const struct arrival *arrival, bool to_ipv6)
{
    if (arrival->opened != OPENED_NOT)
        return NULL;
    uint32_t place = below(KNOWN_WAYS, arrival->processor->session.index * 2 + to_ipv6);
    uint32_t number = bpf_get_smp_processor_id() * KNOWN_WAYS + place;
    return bpf_map_lookup_elem(&known_ways, &number);
}

/* True: the way is known, and carries the packet. */
WIRE_INLINE bool recall_way(struct arrival *arrival, const struct known_way *known, uint32_t segment)
{
    const struct found *session = &arrival->processor->session;
    if (known->session != session->index + 1 || known->moment != arrival->moment || known->mtu < segment ||
        known->generation != life_generation(session->copy.life))
        return false;
    arrival->way = known->device;
    arrival->processor->neighbour = known->neighbour;
    return true;
}

/* Only ways to a neighbour are remembered. */
WIRE_INLINE void remember_way(const struct arrival *arrival, struct known_way *known)
{
    const struct processor *processor = arrival->processor;
    if (arrival->way == THROUGH_THE_STACK)
        return;
    *known = (struct known_way){.session = processor->session.index + 1,
                                .generation = life_generation(processor->session.copy.life),
                                .mtu = processor->route.mtu_result,
                                .moment = arrival->moment,
                                .device = arrival->way,
                                .neighbour = processor->neighbour};
}

/* As find_way_6 and find_way_4, for a packet of the processor's session. */
WIRE_INLINE bool session_way_6(struct arrival *arrival, const struct endpoints6 *to)
{
    struct known_way *known = known_way_of(arrival, true);
    if (!fits_6(arrival, to))
        return false;
    if (!absent(known) && recall_way(arrival, known, segment_6(arrival)))
        return true;
    if (!ask_way_6(arrival, to))
        return false;
    if (!absent(known))
        remember_way(arrival, known);
    return true;
}

WIRE_INLINE bool session_way_4(struct arrival *arrival, const struct endpoints4 *to)
{
    struct known_way *known = known_way_of(arrival, false);
    if (!fits_4(arrival, to))
        return false;
    if (!absent(known) && recall_way(arrival, known, segment_4(arrival)))
        return true;
    if (!ask_way_4(arrival, to))
        return false;
    if (!absent(known))
        remember_way(arrival, known);
    return true;
}

#endif /* PLANE_BPF_KNOWN_WAY_BPF_H */
