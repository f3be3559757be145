/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * IPv4 to IPv6 in the kernel, the mirror of translate_6to4.bpf.h.
 *
 * Packets that are none of ours are the ones to be careful with: only what is for a pool address may go
 * to the engine, which has no use for the others but to drop them. Of an address that is the host's own not
 * even that, see own_address.bpf.h.
 */
#ifndef PLANE_BPF_TRANSLATE_4TO6_BPF_H
#define PLANE_BPF_TRANSLATE_4TO6_BPF_H

#include "engine/icmp_map.h"
#include "plane/bpf/known_way.bpf.h"
#include "plane/bpf/own_address.bpf.h"

/* rfc: 7915-4.1-m */
WIRE_INLINE bool header_4_is_whole(const struct ipv4_header *header)
{
    const uint8_t *at = (const uint8_t *)header;
    return header->version_ihl == 0x45 &&
           checksum_fold(checksum_add_address(load_be32(at), at + 4)) == 0xffff;
}

/* Is it a plain packet, of which all is there? */
WIRE_INLINE bool describe_4(struct arrival *arrival)
{
    const struct ipv4_header *header = &arrival->processor->header4;
    uint32_t fragment =
        from_be16(load_be16(&header->flags_offset)) & (IPV4_MORE_FRAGMENTS | IPV4_OFFSET_MASK);
    arrival->transport = sizeof(*header);
    arrival->length = from_be16(load_be16(&header->total_length));
    arrival->protocol = header->protocol;
    bool known = arrival->protocol == PROTOCOL_TCP || arrival->protocol == PROTOCOL_UDP ||
                 arrival->protocol == PROTOCOL_ICMPV4;
    return known && header->ttl > 1 && fragment == 0 && header_4_is_whole(header) &&
           arrival->length >= IPV4_HEADER && arrival->network + arrival->length <= arrival->skb->len &&
           describe_transport(arrival);
}

WIRE_INLINE bool find_4(struct arrival *arrival)
{
    struct processor *processor = arrival->processor;
    struct key4 *key = &processor->key4;
    *key = (struct key4){.pool = load_be32(&processor->header4.destination),
                         .remote = load_be32(&processor->header4.source),
                         .pool_port = arrival->destination_port,
                         .transport = transport_of(arrival)};
    if (key->transport != TRANSPORT_ICMP)
        key->remote_port = arrival->source_port;
    return arrival->opened == OPENED_PASS ||
           session_find4(&table_bpf, key, hash_key4(&table_bpf, key), arrival->tick, &processor->session);
}

/* An IPv4 header and its checksum sum up to nothing, so that a sum that a device made has only to gain. */
WIRE_INLINE bool rewrite_header_6(const struct arrival *arrival, const struct endpoints6 *to)
{
    uint8_t bytes[IPV6_HEADER] __attribute__((aligned(8)));
    struct header_4to6 header = {.old = &arrival->processor->header4,
                                 .settings = &arrival->plane->translation,
                                 .to = to,
                                 .length = arrival->length - arrival->transport,
                                 .protocol = arrival->protocol == PROTOCOL_ICMPV4 ? PROTOCOL_ICMPV6
                                                                                  : arrival->protocol,
                                 .hops = hops_lost(arrival->plane)};
    header_write_4to6(bytes, &header);
    uint64_t came = checksum_add_address(checksum_add_address(0, bytes), bytes + 16);
    came += (uint64_t)load_be32(bytes + 32) + load_be32(bytes + 36);
    (void)bpf_csum_update(arrival->skb, checksum_fold(came));
    return bpf_skb_store_bytes(arrival->skb, arrival->network, bytes, IPV6_HEADER, 0) == 0;
}

WIRE_INLINE bool rewrite_4to6(const struct arrival *arrival, const struct endpoints6 *to)
{
    const struct ipv4_header *old = &arrival->processor->header4;
    struct rewriting rewriting = {
        .at = arrival->network + (uint32_t)IPV6_HEADER,
        .gone = (uint64_t)load_be32(&old->source) + load_be32(&old->destination),
        .came = checksum_add_address(checksum_add_address(0, &to->source), &to->destination),
        .source_port = to->source_port,
        .destination_port = to->destination_port};
    if (arrival->kind == PACKET_ICMP_QUERY) {
        rewriting.gone = 0;
        rewriting.came += checksum_pseudo_tail(arrival->length - arrival->transport, PROTOCOL_ICMPV6);
        rewriting.icmp_type = icmp_query_4to6(arrival->icmp_type);
    }
    return rewrite_header_6(arrival, to) && rewrite_transport(arrival, &rewriting);
}

WIRE_INLINE int incoming(struct arrival *arrival)
{
    const struct record *session = &arrival->processor->session.copy;
    bool plain = !is_paused() && describe_4(arrival), found = plain && find_4(arrival);
    if (!found || arrival->icmp_type == ICMPV4_ECHO_REQUEST) {
        struct plane_address address;
        if (!pool_address(arrival->plane, load_be32(&arrival->processor->header4.destination), &address))
            return LET_PASS;
        if (address.shared)
            return incoming_own(arrival, &address, plain);
        if (plain && !found)
            open_session(arrival, PROGRAM_OPEN_INCOMING);
        if (!found)
            return hand_over(arrival);
    }
    bool query = arrival->kind == PACKET_ICMP_QUERY;
    struct endpoints6 to __attribute__((aligned(8)));
    to.source = rfc6052_embed(&instance_at(arrival->plane, session->instance)->prefix, session->remote);
    copy_words(&to.destination, &session->client, sizeof(to.destination));
    to.source_port = query ? session->client_port : session->remote_port;
    to.destination_port = session->client_port;
    if (came_from_here(arrival->skb) ||
        !clamp_mss(arrival, &to.destination, load_be32(&arrival->processor->header4.source)) ||
        !session_way_6(arrival, &to) || !refresh(arrival, false) || !change_family(arrival, PROTOCOL_IPV6))
        return hand_over(arrival);
    if (!rewrite_4to6(arrival, &to))
        return give_up(arrival);
    count_verdict(arrival, VERDICT_TRANSLATED_4TO6);
    count_traffic(arrival, false);
    return send(arrival);
}

/* Between host and clients: only what is for an address that they share. */
WIRE_INLINE int receive_between(struct __sk_buff *skb)
{
    struct arrival arrival = {.skb = skb, .network = skb->ifindex == LOOPBACK ? ETHERNET_HEADER : 0};
    arrival.processor = processor_here();
    arrival.plane = settings_now();
    const void *at = bytes_at(skb, arrival.network, sizeof(struct ipv4_header));
    struct plane_address address;
    if (absent(arrival.processor) || absent(arrival.plane) || at == NULL ||
        skb->protocol != to_be16(PROTOCOL_IPV4) || skb->pkt_type != PACKET_TO_HOST)
        return LET_PASS;
    arrival.opened = (uint8_t)arrival.processor->opened;
    arrival.processor->opened = OPENED_NOT;
    arrival.processor->at_device = 0;
    arrival.processor->between = 1;
    const struct processor_clock *clock = clock_now(arrival.processor, arrival.plane);
    arrival.tick = clock->tick;
    arrival.moment = clock->moment;
    copy_words(&arrival.processor->header4, at, sizeof(struct ipv4_header));
    if (!pool_address(arrival.plane, load_be32(&arrival.processor->header4.destination), &address) ||
        !address.shared)
        return LET_PASS;
    int action = incoming(&arrival);
    if (action != OF_HOST)
        return action;
    atomic_count(&arrival.processor->counters.passed, 1);
    return LET_PASS;
}

#endif /* PLANE_BPF_TRANSLATE_4TO6_BPF_H */
