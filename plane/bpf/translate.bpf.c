// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The translator in the kernel: programs for the ingress of interfaces (TC), which see each packet before the
 * kernel's own IP does.
 *
 *     for somebody else, another protocol, none of ours -------------------> goes on as if we were not here
 *     plain packet of a session -- translated, redirected to the neighbour -> the interface that its route
 * says everything else of ours ---------------------------------------------> the TUN device, where the
 * engine deals with it, on the same table
 *
 * A packet that opens a session makes a detour, open.bpf.h. Where the interface has an Ethernet header the
 * packet begins with it, otherwise with the IP header: two programs from the same functions.
 */
#include "plane/bpf/open.bpf.h"
#include "plane/bpf/siit.bpf.h"
#include "plane/bpf/translate_4to6.bpf.h"
#include "plane/bpf/translate_6to4.bpf.h"

/* What nat64 does not want may be for siit, which is a program of its own. */
WIRE_INLINE int leave_to_siit(const struct arrival *arrival, uint32_t program)
{
    if (arrival->plane->siits.count > 0) {
        arrival->processor->network = arrival->network;
        bpf_tail_call(arrival->skb, &programs, program);
    }
    return LET_PASS;
}

WIRE_INLINE int receive_6(struct arrival *arrival)
{
    struct ipv6_header *header = &arrival->processor->header6;
    const void *at = bytes_at(arrival->skb, arrival->network, sizeof(*header));
    if (at == NULL)
        return LET_PASS;
    copy_words(header, at, sizeof(*header));
    int number = instance_of(arrival->plane, &header->destination);
    return number < 0 ? leave_to_siit(arrival, PROGRAM_STATELESS_6) : outgoing(arrival, (uint32_t)number);
}

WIRE_INLINE int receive_4(struct arrival *arrival)
{
    struct ipv4_header *header = &arrival->processor->header4;
    const void *at = bytes_at(arrival->skb, arrival->network, sizeof(*header));
    if (at == NULL)
        return LET_PASS;
    copy_words(header, at, sizeof(*header));
    uint32_t destination = from_be32(load_be32(&header->destination));
    if (destination < arrival->plane->pool_low || destination > arrival->plane->pool_high)
        return leave_to_siit(arrival, PROGRAM_STATELESS_4);
    int action = incoming(arrival);
    if (action == OF_HOST)
        return LET_PASS;
    return action == LET_PASS ? leave_to_siit(arrival, PROGRAM_STATELESS_4) : action;
}

/* Packets with a VLAN tag come once more, at the interface of their VLAN. */
WIRE_INLINE int receive(struct __sk_buff *skb, uint32_t network)
{
    bool ipv6 = skb->protocol == to_be16(PROTOCOL_IPV6);
    if ((!ipv6 && skb->protocol != to_be16(PROTOCOL_IPV4)) || skb->pkt_type != PACKET_TO_HOST ||
        skb->vlan_present != 0)
        return LET_PASS;
    struct arrival arrival = {.skb = skb, .network = network};
    arrival.processor = processor_here();
    arrival.plane = settings_now();
    if (absent(arrival.processor) || absent(arrival.plane))
        return LET_PASS;
    arrival.opened = arrival.processor->opened != 0;
    arrival.processor->opened = 0;
    arrival.tick = tick_now(arrival.plane);
    int action = ipv6 ? receive_6(&arrival) : receive_4(&arrival);
    if (action == LET_PASS)
        atomic_count(&arrival.processor->counters.passed, 1);
    return action;
}

SEC("tc")
int translate_ethernet(struct __sk_buff *skb)
{
    return receive(skb, ETHERNET_HEADER);
}

SEC("tc")
int translate_plain(struct __sk_buff *skb)
{
    return receive(skb, 0);
}

SEC("tc")
int open_outgoing(struct __sk_buff *skb)
{
    return open_from_client(skb);
}

SEC("tc")
int open_incoming(struct __sk_buff *skb)
{
    return open_from_outside(skb);
}

SEC("tc")
int stateless_6(struct __sk_buff *skb)
{
    return receive_stateless(skb, true);
}

SEC("tc")
int stateless_4(struct __sk_buff *skb)
{
    return receive_stateless(skb, false);
}

SEC("tc")
int judge(struct __sk_buff *skb)
{
    return judge_own(skb);
}

char _license[] SEC("license") = "Dual BSD/GPL";
