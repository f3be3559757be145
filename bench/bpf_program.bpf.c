// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The translator of plane/bpf with a packet that never ends: each run writes the next packet of a list over
 * what the last run has left, and translates it. For bench/bpf_program.c, which runs these many times over:
 *
 *     run_6, run_4                write the next packet, translate it
 *     turn_6, turn_4              write it, and only change the packet's family, as translating does
 *     write_6, write_4            write it
 *
 * A run that finds the packet of the other family, as its translation left it, changes it back first. That
 * costs about what changing it on the way did, which turn_* less write_* says of both together.
 */
#include "plane/bpf/translate.bpf.c"

#include "bench/bpf_program.h"

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __uint(map_flags, BPF_F_MMAPABLE);
    __type(key, __u32);
    __type(value, struct program_list);
} list SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, PROGRAM_PACKETS);
    __uint(map_flags, BPF_F_MMAPABLE);
    __type(key, __u32);
    __type(value, struct program_packet);
} packets SEC(".maps");

/* The packet of this family again, with the addresses and ports that come next. */
WIRE_INLINE bool write_next(struct __sk_buff *skb, uint16_t protocol, uint32_t length)
{
    uint32_t zero = 0;
    struct program_list *order = bpf_map_lookup_elem(&list, &zero);
    if (absent(order) || (skb->protocol != protocol && bpf_skb_change_proto(skb, protocol, 0) != 0))
        return false;
    uint32_t number = order->next++ & order->mask;
    struct program_packet *packet = bpf_map_lookup_elem(&packets, &number);
    return !absent(packet) && bpf_skb_store_bytes(skb, ETHERNET_HEADER, packet->bytes, length, 0) == 0;
}

SEC("tc")
int run_6(struct __sk_buff *skb)
{
    if (!write_next(skb, to_be16(PROTOCOL_IPV6), PROGRAM_BYTES_6))
        return TC_ACT_SHOT;
    return receive(skb, ETHERNET_HEADER);
}

SEC("tc")
int run_4(struct __sk_buff *skb)
{
    if (!write_next(skb, to_be16(PROTOCOL_IPV4), PROGRAM_BYTES_4))
        return TC_ACT_SHOT;
    return receive(skb, ETHERNET_HEADER);
}

SEC("tc")
int turn_6(struct __sk_buff *skb)
{
    if (!write_next(skb, to_be16(PROTOCOL_IPV6), PROGRAM_BYTES_6))
        return TC_ACT_SHOT;
    return (int)bpf_skb_change_proto(skb, to_be16(PROTOCOL_IPV4), 0);
}

SEC("tc")
int turn_4(struct __sk_buff *skb)
{
    if (!write_next(skb, to_be16(PROTOCOL_IPV4), PROGRAM_BYTES_4))
        return TC_ACT_SHOT;
    return (int)bpf_skb_change_proto(skb, to_be16(PROTOCOL_IPV6), 0);
}

SEC("tc")
int write_6(struct __sk_buff *skb)
{
    return write_next(skb, to_be16(PROTOCOL_IPV6), PROGRAM_BYTES_6) ? TC_ACT_OK : TC_ACT_SHOT;
}

SEC("tc")
int write_4(struct __sk_buff *skb)
{
    return write_next(skb, to_be16(PROTOCOL_IPV4), PROGRAM_BYTES_4) ? TC_ACT_OK : TC_ACT_SHOT;
}
