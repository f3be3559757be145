// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The translator in the kernel: programs for the ingress of interfaces (TC), which see each packet before the
 * kernel's own IP does.
 *
 *     for somebody else, another protocol, none of ours -------------------> goes on as if we were not here
 *     plain packet of a session -- translated, redirected to the neighbour -> the interface of its route
 *     everything else of ours ---------------------------------------------> the TUN device, where the engine
 *                                                                            deals with it, on the same table
 *
 * A packet that opens a session makes a detour, open.bpf.h. What nat64 does not want may be for siit,
 * siit.bpf.h.
 *
 * The program for interfaces without an Ethernet header is also at the egress of the TUN device, and
 * translates what this machine's own programs send, and what has come by other interfaces. With `forward:
 * stack` that is the only place where packets are translated: the kernel's firewall sees them before, on
 * their way into the device, and after, coming from it, so that its connection tracking sees both directions
 * of either side. What is for the engine simply goes on into the device. Only what comes to an address that
 * is the host's own must be translated where it comes in, for the kernel would keep it.
 *
 * Where the interface has an Ethernet header the packet begins with it, otherwise with the IP header: two
 * programs from the same functions.
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
    if (arrival->plane->stack != 0 && arrival->processor->at_device == 0)
        return LET_PASS;
    int number = instance_of(arrival->plane, &header->destination);
    return number < 0 ? leave_to_siit(arrival, PROGRAM_STATELESS_6) : outgoing(arrival, (uint32_t)number);
}

/* With `forward: stack`, at an interface: is it to be let pass nevertheless? Not for the host's own address.
 */
WIRE_INLINE bool is_left_to_stack(const struct arrival *arrival, be32 destination)
{
    struct plane_address address;
    if (arrival->plane->stack == 0 || arrival->processor->at_device != 0)
        return false;
    return !pool_address(arrival->plane, destination, &address) || !address.shared;
}

WIRE_INLINE int receive_4(struct arrival *arrival)
{
    struct ipv4_header *header = &arrival->processor->header4;
    const void *at = bytes_at(arrival->skb, arrival->network, sizeof(*header));
    if (at == NULL)
        return LET_PASS;
    copy_words(header, at, sizeof(*header));
    if (is_left_to_stack(arrival, load_be32(&header->destination)))
        return LET_PASS;
    uint32_t destination = from_be32(load_be32(&header->destination));
    if (destination < arrival->plane->pool_low || destination > arrival->plane->pool_high)
        return leave_to_siit(arrival, PROGRAM_STATELESS_4);
    int action = incoming(arrival);
    if (action == OF_HOST)
        return LET_PASS;
    return action == LET_PASS ? leave_to_siit(arrival, PROGRAM_STATELESS_4) : action;
}

/*
 * Is there nothing to be done for a packet? At the TUN device come those once more that have just been sent
 * there, before any other on this processor.
 */
WIRE_INLINE bool is_dealt_with(struct processor *processor, const struct plane_settings *plane)
{
    if (processor->at_device == 0)
        return plane->stack != 0 && plane->own_high == 0;
    bool sent_there = processor->sent_there != 0;
    processor->sent_there = 0;
    return sent_there;
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
    arrival.opened = (uint8_t)arrival.processor->opened;
    arrival.processor->opened = OPENED_NOT;
    arrival.processor->between = 0;
    arrival.processor->at_device = network == 0 && skb->ifindex == atomic_load32(&plane_control.device);
    if (arrival.opened == OPENED_NOT && is_dealt_with(arrival.processor, arrival.plane))
        return LET_PASS;
    const struct processor_clock *clock = clock_now(arrival.processor, arrival.plane);
    arrival.tick = clock->tick;
    arrival.moment = clock->moment;
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
int translate_between(struct __sk_buff *skb)
{
    return receive_between(skb);
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
