/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Packets in the kernel: what they are, and how they leave.
 *
 * A packet of the kernel's may be spread over pages, shared with others, a super-packet of 64 KB, and its
 * transport checksum complete, partial, or summed up by the device. What is read is made to lie in one
 * piece first; what is written goes through helpers of the kernel, for two reasons. A program that writes
 * into packets directly has each packet unshared before it begins, also those that it then lets pass. And
 * only the kernel knows whether a checksum is partial: bpf_l4_csum_replace is told of each change
 * whether the pseudo-header has it, and does what wire/checksum.h says for either case.
 *
 * Whether a packet goes on is decided before its first byte is changed, so that it can still be handed to
 * the engine as it came.
 */
#ifndef PLANE_BPF_PACKET_BPF_H
#define PLANE_BPF_PACKET_BPF_H

#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_helpers.h>

#include "engine/packet.h"
#include "engine/transport_update.h"
#include "plane/bpf/capture.bpf.h"
#include "plane/bpf/processor.bpf.h"
#include "wire/checksum.h"
#include "wire/transport.h"

enum {
    PACKET_TO_HOST = 0,     /* PACKET_HOST of <linux/if_packet.h> */
    PROTOCOL_IPV4 = 0x0800, /* numbers of EtherTypes */
    PROTOCOL_IPV6 = 0x86dd,
    FAMILY_IPV4 = 2, /* AF_INET and AF_INET6, which <sys/socket.h> has not for BPF */
    FAMILY_IPV6 = 10,
    ETHERNET_HEADER = 14,
    OFFSETS = 256,        /* headers begin before that */
    TRANSPORT_HEADER = 8, /* what of any transport header is read, ... */
    TCP_HEADER = sizeof(struct tcp_header),

    LET_PASS = TC_ACT_UNSPEC, /* to the next program, or on as if we were not here */
    THROUGH_THE_STACK = 0,    /* in the place of an interface's number */
};

/* A packet, as far as translation is concerned; compare struct description of engine/packet.h. */
struct arrival {
    struct __sk_buff *skb;
    const struct plane_settings *plane;
    struct processor *processor;
    uint32_t network;      /* position of the IP header; what stands in front is the link's */
    uint32_t transport;    /* position of the transport header, from the IP header on */
    uint32_t length;       /* bytes of the packet, as its IP header says */
    uint32_t segment;      /* of the largest packet it becomes on the wire */
    uint32_t tick, moment; /* see struct processor_clock */
    uint32_t way;          /* interface that it leaves by; see plane/bpf/way.bpf.h */
    uint8_t kind;          /* enum packet_kind: PACKET_TCP, PACKET_UDP or PACKET_ICMP_QUERY */
    uint8_t protocol;
    uint8_t tcp_flags;
    uint8_t icmp_type;
    uint8_t opened;     /* enum opened */
    bool captured;      /* it was kept as received */
    uint8_t mss_at;     /* position in the TCP header of an MSS that is to be lowered; 0: there is none */
    uint16_t mss_limit; /* to that */
    be16 source_port, destination_port;
};

/*
 * A pointer to `length` bytes of the packet, or NULL. Others that were got before are not good any more. The
 * offset is masked where it is not constant, since Linux 5.15 forgets what 32 bits on the stack can be.
 */
WIRE_INLINE const void *bytes_at(struct __sk_buff *skb, uint32_t offset, uint32_t length)
{
    const uint8_t *data = (const uint8_t *)(long)skb->data;
    if (!__builtin_constant_p(offset))
        offset = below(OFFSETS, offset);
    if (data + offset + length <= (const uint8_t *)(long)skb->data_end)
        return data + offset;
    if (bpf_skb_pull_data(skb, offset + length) != 0)
        return NULL;
    data = (const uint8_t *)(long)skb->data;
    return data + offset + length <= (const uint8_t *)(long)skb->data_end ? data + offset : NULL;
}

/* Copies bytes in words of 8, and one of 4 if need be; `length` is a constant. */
WIRE_INLINE void copy_words(void *to, const void *from, uint32_t length)
{
#pragma unroll
    for (uint32_t i = 0; i < length / 8; i++)
        ((word64 *)to)[i] = ((const word64 *)from)[i];
    if (length % 8 != 0)
        ((word32 *)to)[length / 8 * 2] = ((const word32 *)from)[length / 8 * 2];
}

/* --- what it is ------------------------------------------------------------------------------------- */

WIRE_INLINE bool describe_tcp(struct arrival *arrival, uint32_t payload)
{
    const uint8_t *at = bytes_at(arrival->skb, arrival->network + arrival->transport, TCP_HEADER);
    if (at == NULL)
        return false;
    copy_words(arrival->processor->transport, at, TCP_HEADER);
    const struct tcp_header *tcp = (const void *)arrival->processor->transport;
    uint32_t length = tcp_header_length(tcp);
    arrival->kind = PACKET_TCP;
    arrival->tcp_flags = tcp->flags;
    arrival->segment = arrival->transport + length + arrival->skb->gso_size;
    return length >= TCP_HEADER && length <= payload;
}

/* Without a checksum one has to be made of all the payload, which is no work for here. */
WIRE_INLINE bool describe_udp(struct arrival *arrival, uint32_t payload)
{
    const struct udp_header *udp = (const void *)arrival->processor->transport;
    uint32_t length = from_be16(load_be16(&udp->length));
    arrival->kind = PACKET_UDP;
    arrival->segment = arrival->transport + (uint32_t)sizeof(*udp) + arrival->skb->gso_size;
    return length >= sizeof(*udp) && length <= payload && load_be16(&udp->checksum) != 0;
}

WIRE_INLINE bool describe_query(struct arrival *arrival)
{
    const struct icmp_header *icmp = (const void *)arrival->processor->transport;
    bool ipv6 = arrival->protocol == PROTOCOL_ICMPV6;
    arrival->kind = PACKET_ICMP_QUERY;
    arrival->icmp_type = icmp->type;
    arrival->source_port = arrival->destination_port = load_be16(icmp->rest);
    return arrival->skb->gso_size == 0 && (icmp->type == (ipv6 ? ICMPV6_ECHO_REQUEST : ICMPV4_ECHO_REQUEST) ||
                                           icmp->type == (ipv6 ? ICMPV6_ECHO_REPLY : ICMPV4_ECHO_REPLY));
}

/* Links fill small frames up with bytes behind the end of the packet. */
WIRE_INLINE bool is_padded(const struct arrival *arrival)
{
    return arrival->skb->len != arrival->network + arrival->length;
}

/* Reads the transport header. False: it is none that is translated here. */
WIRE_INLINE bool describe_transport(struct arrival *arrival)
{
    uint32_t payload = arrival->length - arrival->transport;
    const uint8_t *at = bytes_at(arrival->skb, arrival->network + arrival->transport, TRANSPORT_HEADER);
    if (at == NULL || payload < TRANSPORT_HEADER)
        return false;
    copy_words(arrival->processor->transport, at, TRANSPORT_HEADER);
    arrival->source_port = load_be16(arrival->processor->transport);
    arrival->destination_port = load_be16(arrival->processor->transport + 2);
    bool plain = arrival->protocol == PROTOCOL_TCP   ? describe_tcp(arrival, payload)
                 : arrival->protocol == PROTOCOL_UDP ? describe_udp(arrival, payload)
                                                     : describe_query(arrival);
    if (arrival->skb->gso_size == 0 || arrival->segment > arrival->length)
        arrival->segment = arrival->length;
    /* Bytes cut off a super-packet would make it none; the engine can do better. */
    return plain && (arrival->segment == arrival->length || !is_padded(arrival));
}

WIRE_INLINE uint8_t transport_of(const struct arrival *arrival)
{
    return arrival->kind == PACKET_TCP   ? TRANSPORT_TCP
           : arrival->kind == PACKET_UDP ? TRANSPORT_UDP
                                         : TRANSPORT_ICMP;
}

/* --- how it leaves ---------------------------------------------------------------------------------- */

WIRE_INLINE int hand_over(const struct arrival *arrival)
{
    arrival->processor->length = arrival->skb->len - arrival->network;
    return to_engine(arrival->processor, arrival->plane);
}

/* Bytes of what is sent on; 0: nothing is. */
WIRE_INLINE uint32_t length_after(const struct arrival *arrival, enum verdict verdict)
{
    uint32_t more = sizeof(struct ipv6_header) - sizeof(struct ipv4_header);
    return verdict == VERDICT_TRANSLATED_6TO4   ? arrival->length - more
           : verdict == VERDICT_TRANSLATED_4TO6 ? arrival->length + more
                                                : 0;
}

/* A packet has met its verdict. */
WIRE_INLINE void count_verdict(const struct arrival *arrival, enum verdict verdict)
{
    count_packet(arrival->processor, verdict, arrival->length);
    if (arrival->captured)
        (void)capture_decided(arrival->skb, arrival->network, verdict, length_after(arrival, verdict));
}

/* A packet that was changed and cannot be changed further; memory is short. */
WIRE_INLINE int give_up(const struct arrival *arrival)
{
    count_verdict(arrival, VERDICT_NO_ROOM);
    return TC_ACT_SHOT;
}

WIRE_INLINE bool cut_off_padding(const struct arrival *arrival)
{
    return !is_padded(arrival) ||
           bpf_skb_change_tail(arrival->skb, arrival->network + arrival->length, 0) == 0;
}

/*
 * The kernel takes the Ethernet header off what is sent to a neighbour, whether the neighbour's link has any
 * or not; what has come without gets one of zeros. Packets of more than about 16 KB that are no super-packets
 * get none: those are the engine's, as they came.
 */
WIRE_INLINE bool give_link_header(struct arrival *arrival)
{
    if (arrival->network != 0 || arrival->way == THROUGH_THE_STACK)
        return true;
    if (bpf_skb_change_head(arrival->skb, ETHERNET_HEADER, 0) != 0)
        return false;
    arrival->network = ETHERNET_HEADER;
    return true;
}

/*
 * The first change of the packet itself, from which on it cannot be handed over: it makes room for the other
 * header.
 */
WIRE_INLINE bool change_family(struct arrival *arrival, uint16_t protocol)
{
    if (!give_link_header(arrival))
        return false;
    arrival->captured =
        is_captured() && capture_received(arrival->skb, arrival->network, arrival->length) > 0;
    return cut_off_padding(arrival) && bpf_skb_change_proto(arrival->skb, to_be16(protocol), 0) == 0;
}

/*
 * Changes of the transport header. In TCP and UDP the ports are written and the checksum is brought up to
 * date in two steps, see above; an echo's header, which no device completes, is written whole.
 */
struct rewriting {
    uint32_t at;         /* position of the transport header */
    uint64_t gone, came; /* sums of the pseudo-headers of before and after */
    be16 source_port, destination_port;
    uint8_t icmp_type;
};

/* At an odd position the two bytes lie in two words of the sum, each in the other's place. */
WIRE_INLINE be16 as_summed(be16 field, uint32_t at)
{
    return at % 2 == 0 ? field : WIRE_SWAP16(field);
}

/* Lowers the MSS to the limit; the change is added to the sums. */
WIRE_INLINE bool rewrite_mss(const struct arrival *arrival, uint32_t transport, uint64_t *gone,
                             uint64_t *came)
{
    uint32_t at = arrival->mss_at + 2u;
    const uint8_t *transport_header = arrival->processor->transport;
    uint8_t high = transport_header[below(TCP_HEADER_ROOM, at)];
    uint8_t low = transport_header[below(TCP_HEADER_ROOM, at + 1)];
    be16 old = to_be16((uint16_t)(high << 8 | low));
    be16 limit[1] = {to_be16(arrival->mss_limit)};
    *gone += as_summed(old, at);
    *came += as_summed(limit[0], at);
    return bpf_skb_store_bytes(arrival->skb, transport + at, limit, sizeof(limit), 0) == 0;
}

WIRE_INLINE bool rewrite_ports(const struct arrival *arrival, const struct rewriting *rewriting)
{
    bool udp = arrival->kind == PACKET_UDP;
    uint32_t field = rewriting->at + (uint32_t)(udp ? offsetof(struct udp_header, checksum)
                                                    : offsetof(struct tcp_header, checksum));
    uint64_t mangled = udp ? BPF_F_MARK_MANGLED_0 : 0;
    uint16_t addresses = checksum_delta(rewriting->gone, rewriting->came);
    be16 ports[2] = {rewriting->source_port, rewriting->destination_port};
    uint64_t gone = (uint64_t)arrival->source_port + arrival->destination_port;
    uint64_t came = (uint64_t)rewriting->source_port + rewriting->destination_port;
    if (arrival->mss_at != 0 && !rewrite_mss(arrival, rewriting->at, &gone, &came))
        return false;
    uint16_t changed = checksum_delta(gone, came);
    bool same = arrival->mss_at == 0 && arrival->source_port == rewriting->source_port &&
                arrival->destination_port == rewriting->destination_port;
    if (bpf_l4_csum_replace(arrival->skb, field, 0, addresses, mangled | BPF_F_PSEUDO_HDR) != 0)
        return false;
    return same || (bpf_l4_csum_replace(arrival->skb, field, 0, changed, mangled) == 0 &&
                    bpf_skb_store_bytes(arrival->skb, rewriting->at, ports, sizeof(ports), 0) == 0);
}

/* An echo's header, as wire/ and the engine write it; of COMPLETE sums only the pseudo-header's part changes.
 */
WIRE_INLINE bool rewrite_query(const struct arrival *arrival, const struct rewriting *rewriting)
{
    struct transport_change change = {
        .gone = rewriting->gone, .came = rewriting->came, .source_port = rewriting->source_port};
    uint8_t *icmp = arrival->processor->transport;
    icmp_query_update(icmp, &change, rewriting->icmp_type);
    (void)bpf_csum_update(arrival->skb, checksum_delta(rewriting->came, rewriting->gone));
    return bpf_skb_store_bytes(arrival->skb, rewriting->at, icmp, TRANSPORT_HEADER, 0) == 0;
}

WIRE_INLINE bool rewrite_transport(const struct arrival *arrival, const struct rewriting *rewriting)
{
    return arrival->kind == PACKET_ICMP_QUERY ? rewrite_query(arrival, rewriting)
                                              : rewrite_ports(arrival, rewriting);
}

#endif /* PLANE_BPF_PACKET_BPF_H */
