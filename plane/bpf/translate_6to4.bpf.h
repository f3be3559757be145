/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * IPv6 to IPv4 in the kernel. The order is that of the engine; whatever is not plain goes there.
 */
#ifndef PLANE_BPF_TRANSLATE_6TO4_BPF_H
#define PLANE_BPF_TRANSLATE_6TO4_BPF_H

#include "engine/icmp_map.h"
#include "plane/bpf/known_way.bpf.h"
#include "plane/bpf/session.bpf.h"

/* Is it a plain packet, of which all is there? */
WIRE_INLINE bool describe_6(struct arrival *arrival)
{
    const struct ipv6_header *header = &arrival->processor->header6;
    arrival->transport = sizeof(*header);
    arrival->length = (uint32_t)sizeof(*header) + from_be16(load_be16(&header->payload_length));
    arrival->protocol = header->next_header;
    bool known = arrival->protocol == PROTOCOL_TCP || arrival->protocol == PROTOCOL_UDP ||
                 arrival->protocol == PROTOCOL_ICMPV6;
    return known && header->hop_limit > 1 && from_be32(load_be32(header)) >> 28 == 6 &&
           arrival->network + arrival->length <= arrival->skb->len && describe_transport(arrival);
}

/* The key of a packet to an address of the instance. False: there is something about it. */
WIRE_INLINE bool make_key_6(struct arrival *arrival, uint32_t number)
{
    struct processor *processor = arrival->processor;
    const struct ipv6_header *header = &processor->header6;
    const struct plane_instance *instance = instance_at(arrival->plane, number);
    struct key6 *key = &processor->key6;
    if (!rfc6052_embeds(&instance->prefix, &header->destination) ||
        instance_of(arrival->plane, &header->source) >= 0)
        return false;
    *key = (struct key6){.remote = rfc6052_extract(&instance->prefix, &header->destination),
                         .client_port = arrival->source_port,
                         .transport = transport_of(arrival),
                         .instance = (uint8_t)number};
    copy_words(&key->client, &header->source, sizeof(key->client));
    if (key->transport != TRANSPORT_ICMP)
        key->remote_port = arrival->destination_port;
    return !instance->refuses_local || !ipv4_is_non_global(key->remote);
}

WIRE_INLINE bool find_6(const struct arrival *arrival)
{
    struct processor *processor = arrival->processor;
    const struct key6 *key = &processor->key6;
    return arrival->opened == OPENED_PASS ||
           session_find6(&table_bpf, key, hash_key6(&table_bpf, key), arrival->tick, &processor->session);
}

WIRE_INLINE uint16_t next_identification(const struct arrival *arrival)
{
    uint64_t first = arrival->processor->identification;
    arrival->processor->identification = first + (arrival->skb->gso_segs > 1 ? arrival->skb->gso_segs : 1);
    return (uint16_t)(first + arrival->plane->secret[0]); /* from anywhere on */
}

/*
 * The header, by the arithmetic of the engine. A sum that a device made covered the old one, of which the
 * kernel has taken its part of 20 bytes off.
 */
WIRE_INLINE bool rewrite_header_4(const struct arrival *arrival, const struct endpoints4 *to)
{
    const struct ipv6_header *old = &arrival->processor->header6;
    uint32_t shrinks = IPV6_HEADER - IPV4_HEADER;
    uint8_t bytes[IPV4_HEADER + 4] __attribute__((aligned(8)));
    struct header_6to4 header = {.old = old,
                                 .settings = &arrival->plane->translation,
                                 .to = to,
                                 .length = arrival->length - shrinks,
                                 .segment = arrival->segment - shrinks,
                                 .identification = next_identification(arrival),
                                 .protocol = arrival->protocol,
                                 .hops = hops_lost(arrival->plane)};
    header_write_6to4(bytes, &header);
    const uint8_t *rest = (const uint8_t *)old + IPV4_HEADER;
    uint64_t gone = checksum_add_address(load_be32(rest + 16), rest);
    (void)bpf_csum_update(arrival->skb, (uint16_t)~checksum_fold(gone));
    return bpf_skb_store_bytes(arrival->skb, arrival->network, bytes, IPV4_HEADER, 0) == 0;
}

WIRE_INLINE bool rewrite_6to4(const struct arrival *arrival, const struct endpoints4 *to)
{
    const struct ipv6_header *old = &arrival->processor->header6;
    struct rewriting rewriting = {
        .at = arrival->network + (uint32_t)IPV4_HEADER,
        .gone = checksum_add_address(checksum_add_address(0, &old->source), &old->destination),
        .came = (uint64_t)to->source + to->destination,
        .source_port = to->source_port,
        .destination_port = to->destination_port};
    if (arrival->kind == PACKET_ICMP_QUERY) {
        rewriting.gone += checksum_pseudo_tail(arrival->length - arrival->transport, PROTOCOL_ICMPV6);
        rewriting.came = 0;
        rewriting.icmp_type = icmp_query_6to4(arrival->icmp_type);
    }
    return rewrite_header_4(arrival, to) && rewrite_transport(arrival, &rewriting);
}

WIRE_INLINE int outgoing(struct arrival *arrival, uint32_t number)
{
    const struct record *session = &arrival->processor->session.copy;
    if (is_paused() || !describe_6(arrival) || !make_key_6(arrival, number))
        return hand_over(arrival);
    if (!find_6(arrival)) {
        open_session(arrival, PROGRAM_OPEN_OUTGOING);
        return hand_over(arrival);
    }
    bool query = arrival->kind == PACKET_ICMP_QUERY;
    struct endpoints4 to = {.source = session->pool,
                            .destination = session->remote,
                            .source_port = session->pool_port,
                            .destination_port = query ? session->pool_port : session->remote_port};
    if (!clamp_mss(arrival, &arrival->processor->header6.source, to.destination) ||
        !session_way_4(arrival, &to) || !refresh(arrival, true) || !change_family(arrival, PROTOCOL_IPV4))
        return hand_over(arrival);
    if (!rewrite_6to4(arrival, &to))
        return give_up(arrival);
    count_verdict(arrival, VERDICT_TRANSLATED_6TO4);
    count_traffic(arrival, true);
    return send(arrival);
}

#endif /* PLANE_BPF_TRANSLATE_6TO4_BPF_H */
