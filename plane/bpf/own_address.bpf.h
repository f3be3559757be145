/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Pool addresses that are the host's own. Its packets and ours come to the same address, and only the table
 * tells them apart: ours is what has a session or a binding; everything else passes untouched, since nobody
 * but the host knows whether it is wanted. What is ours and not plain goes to the engine, as always.
 *
 *     plain, of a session                          translated
 *     plain TCP or UDP for a port with a binding   opens a session, open.bpf.h
 *     an echo request                              the host's: it is the host that is pinged
 *     an echo reply                                ours with a session: of a binding the host may ping as
 * well options, no UDP checksum, time to live over  by the ports, as above an ICMP error as the packet that
 * it quotes, which came from here a first fragment                             by the ports, as above, and is
 * remembered another fragment                             ours if the first one of its datagram was, and came
 * before anything else                                the host's
 *
 * All but the first two is found out by a program of its own, `judge`, since it takes as much room again as
 * translating. Packets of the host for ports that nobody has do not get that far.
 *
 * Clients reach the host and each other by the address as well. For that a program, `translate_between`, is
 * at the ingress of two more interfaces, for packets to such an address and nothing else:
 *
 *     the TUN device    out of which come translated packets that stay on this machine. For a port with a
 *                       binding they are another client's, as in any hairpin, and not the host's
 *     loopback          where the host's answers to them turn round. These still have the kernel's route, of
 *                       IPv4, on them, so that they are not changed here but go to the engine
 */
#ifndef PLANE_BPF_OWN_ADDRESS_BPF_H
#define PLANE_BPF_OWN_ADDRESS_BPF_H

#include "plane/bpf/session.bpf.h"

enum {
    OF_HOST = LET_PASS - 1, /* passes, and is not offered to siit either */
    LOOPBACK = 1,           /* the index of this interface, which Linux gives it wherever it is */
    DIVIDED_PLACES = 1024,  /* datagrams whose first fragment was ours, for as long as timeouts.fragment */
};

/* A tag and the second until which it holds; a newer datagram takes the place of an older one. */
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, DIVIDED_PLACES);
    __type(key, __u32);
    __type(value, __u64);
} divided SEC(".maps");

WIRE_INLINE bool came_from_here(const struct __sk_buff *skb)
{
    return skb->ingress_ifindex == LOOPBACK;
}

/* Has anybody the port? The binding may be over; open_* and the engine look closer. */
WIRE_INLINE bool has_owner(const struct plane_address *address, const struct key4 *key)
{
    const uint32_t *owner = owner_at(&table_bpf, address->place, key->transport, from_be16(key->pool_port));
    return !absent(owner) && atomic_load32(owner) != 0;
}

/* What has no session, is not plain, or is an echo request. */
WIRE_INLINE int incoming_own(const struct arrival *arrival, const struct plane_address *address, bool plain)
{
    struct processor *processor = arrival->processor;
    if (!plain) {
        processor->network = arrival->network;
        processor->length = from_be16(load_be16(&processor->header4.total_length));
        bpf_tail_call(arrival->skb, &programs, PROGRAM_JUDGE);
        return OF_HOST;
    }
    if (arrival->kind == PACKET_ICMP_QUERY || !has_owner(address, &processor->key4))
        return OF_HOST;
    open_session(arrival, PROGRAM_OPEN_INCOMING);
    return arrival->opened ? hand_over(arrival) : OF_HOST;
}

/* --- what is not plain ------------------------------------------------------------------------------- */

/* The key of a packet to the address, or of one that an error quotes, from it. False: it has none. */
WIRE_INLINE bool read_key(struct key4 *key, const struct ipv4_header *header, const uint8_t *transport,
                          bool quoted)
{
    be32 source = load_be32(&header->source), destination = load_be32(&header->destination);
    be16 from = load_be16(transport), to = load_be16(transport + 2);
    bool udp = header->protocol == PROTOCOL_UDP;
    *key = (struct key4){.pool = quoted ? source : destination,
                         .remote = quoted ? destination : source,
                         .pool_port = quoted ? from : to,
                         .remote_port = quoted ? to : from,
                         .transport = udp ? TRANSPORT_UDP : TRANSPORT_TCP};
    if (header->protocol != PROTOCOL_ICMPV4)
        return udp || header->protocol == PROTOCOL_TCP;
    key->pool_port = load_be16(transport + offsetof(struct icmp_header, rest));
    key->remote_port = 0;
    key->transport = TRANSPORT_ICMP;
    return transport[0] == (quoted ? ICMPV4_ECHO_REQUEST : ICMPV4_ECHO_REPLY);
}

/* Is there a session with the processor's key, or a binding? */
TABLE_FUNCTION bool is_in_table(struct processor *processor, uint32_t place, uint32_t tick)
{
    if (absent(processor))
        return false;
    const struct key4 *key = &processor->key4;
    return session_find4(&table_bpf, key, hash_key4(&table_bpf, key), tick, &processor->session) ||
           (key->transport != TRANSPORT_ICMP && binding_find4(&table_bpf, (uint16_t)place, key->transport,
                                                              key->pool_port, tick, &processor->lead));
}

/*
 * While the programs are paused the table is not to be asked. What is for one of the ports that are ours then
 * waits for the engine, for the host would answer it with a reset.
 */
WIRE_INLINE bool is_known(struct processor *processor, const struct plane_settings *plane, uint32_t place)
{
    uint16_t port = from_be16(processor->key4.pool_port);
    if (is_paused())
        return port >= plane->own_low && port <= plane->own_high;
    return is_in_table(processor, place, clock_now(processor, plane)->tick);
}

WIRE_INLINE uint32_t header_length(const struct ipv4_header *header)
{
    return (header->version_ihl & 15u) * 4;
}

WIRE_INLINE bool is_header(const struct ipv4_header *header)
{
    return header->version_ihl >> 4 == 4 && header_length(header) >= sizeof(*header);
}

/* Bytes from the start of the datagram. */
WIRE_INLINE bool is_at_start(const struct ipv4_header *header)
{
    return (from_be16(load_be16(&header->flags_offset)) & IPV4_OFFSET_MASK) == 0;
}

WIRE_INLINE bool is_error(uint8_t type)
{
    return type == ICMPV4_UNREACHABLE || type == ICMPV4_TIME_EXCEEDED || type == ICMPV4_PARAMETER_PROBLEM;
}

/* Makes the key of the packet that an error at this position quotes. */
WIRE_INLINE bool read_quoted(struct __sk_buff *skb, struct processor *processor, uint32_t at)
{
    struct ipv4_header quoted __attribute__((aligned(8)));
    uint8_t transport[TRANSPORT_HEADER] __attribute__((aligned(8)));
    if (bpf_skb_load_bytes(skb, at, &quoted, sizeof(quoted)) != 0 || !is_header(&quoted) ||
        !is_at_start(&quoted) || load_be32(&quoted.source) != load_be32(&processor->header4.destination) ||
        bpf_skb_load_bytes(skb, at + header_length(&quoted), transport, sizeof(transport)) != 0)
        return false;
    return read_key(&processor->key4, &quoted, transport, true);
}

/* Is the packet, or the one that it quotes, of a session or binding? */
WIRE_INLINE bool is_ours(struct __sk_buff *skb, struct processor *processor,
                         const struct plane_settings *plane, uint32_t place)
{
    uint8_t transport[TRANSPORT_HEADER] __attribute__((aligned(8)));
    const struct ipv4_header *header = &processor->header4;
    uint32_t at = processor->network + header_length(header);
    if (!is_header(header) || bpf_skb_load_bytes(skb, at, transport, sizeof(transport)) != 0)
        return false;
    bool error = header->protocol == PROTOCOL_ICMPV4 && is_error(transport[0]);
    bool keyed = error ? read_quoted(skb, processor, at + TRANSPORT_HEADER)
                       : read_key(&processor->key4, header, transport, false);
    return keyed && is_known(processor, plane, place);
}

/* --- fragments --------------------------------------------------------------------------------------- */

/* What all fragments of a datagram have in common, as a key: its hash nobody outside can aim at. */
WIRE_INLINE uint64_t hash_datagram(const struct ipv4_header *header)
{
    const struct key4 key = {.pool = load_be32(&header->destination),
                             .remote = load_be32(&header->source),
                             .pool_port = load_be16(&header->identification),
                             .transport = header->protocol};
    return hash_key4(&table_bpf, &key);
}

WIRE_INLINE uint64_t *place_of(uint64_t hash)
{
    uint32_t place = (uint32_t)hash % DIVIDED_PLACES;
    return bpf_map_lookup_elem(&divided, &place);
}

WIRE_INLINE void remember(const struct ipv4_header *header, uint32_t until)
{
    uint64_t hash = hash_datagram(header), *place = place_of(hash);
    if (!absent(place))
        atomic_store64(place, (hash >> 32) << 32 | until);
}

WIRE_INLINE bool recalls(const struct ipv4_header *header, uint32_t tick)
{
    uint64_t hash = hash_datagram(header), *place = place_of(hash);
    uint64_t word = absent(place) ? 0 : atomic_load64(place);
    return word >> 32 == hash >> 32 && (uint32_t)word >= tick;
}

WIRE_INLINE bool judge_packet(struct __sk_buff *skb, struct processor *processor,
                              const struct plane_settings *plane)
{
    const struct ipv4_header *header = &processor->header4;
    struct plane_address address;
    if (!pool_address(plane, load_be32(&header->destination), &address))
        return false;
    uint32_t tick = clock_now(processor, plane)->tick;
    if (!is_at_start(header))
        return recalls(header, tick);
    if (!is_ours(skb, processor, plane, address.place))
        return false;
    if ((from_be16(load_be16(&header->flags_offset)) & IPV4_MORE_FRAGMENTS) != 0)
        remember(header, tick + instance_at(plane, address.instance)->timeouts.fragment);
    return true;
}

WIRE_INLINE int judge_own(struct __sk_buff *skb)
{
    struct processor *processor = processor_here();
    const struct plane_settings *plane = settings_now();
    if (absent(processor) || absent(plane))
        return LET_PASS;
    if (judge_packet(skb, processor, plane))
        return to_engine(processor, plane);
    atomic_count(&processor->counters.passed, 1);
    return LET_PASS;
}

#endif /* PLANE_BPF_OWN_ADDRESS_BPF_H */
