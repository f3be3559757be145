/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where a translated packet goes, and whether it fits there.
 *
 *     a neighbour    by the kernel's routes (bpf_fib_lookup), straight to the interface that they name
 *     the stack      as if the engine had written it to the TUN device: the kernel's firewall and routing
 *                    come next. So goes everything with `forward: stack`; and else what is for this machine,
 *                    and what no route leads to, of which the kernel tells the sender
 *     the engine     what is too big, or turns round
 *
 * What a path carries is what the engine goes by (engine/paths.h), from the same table. The kernel's look-up
 * alone would not do: it knows devices and what path MTU discovery has found out, but of the MTUs that routes
 * state only those that are locked. It is asked all the same, since it may know better than the table: of
 * packets that do not fit the engine tells the sender. A TCP SYN's MSS is lowered to what the paths of both
 * sides carry.
 */
#ifndef PLANE_BPF_WAY_BPF_H
#define PLANE_BPF_WAY_BPF_H

#include "engine/paths.h"
#include "engine/translate_header.h"
#include "plane/bpf/packet.bpf.h"

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, SETTINGS_VERSIONS *PATH_FAMILIES *PATH_RANGES);
    __uint(map_flags, BPF_F_MMAPABLE);
    __type(key, __u32);
    __type(value, struct path_range);
} paths SEC(".maps");

/* --- what a path carries ---------------------------------------------------------------------------- */

/* As path_search of the engine, of a family that has several ranges. 0: they are not known here. */
TABLE_FUNCTION uint32_t search_path(const struct plane_settings *plane, uint32_t family, uint64_t high,
                                    uint64_t low)
{
    if (absent(plane))
        return 0;
    family = below(PATH_FAMILIES, family);
    uint32_t base = (plane->version * PATH_FAMILIES + family) * PATH_RANGES;
    uint32_t from = 0, to = plane->ranges[family]; /* the range is one of from to `to` - 1 */
    uint32_t mtu = 0;
    for (size_t step = 0; step <= PATH_RANGES_SHIFT && from < to; step++) {
        uint32_t middle = from + (to - from) / 2, number = base + middle;
        const struct path_range *range = bpf_map_lookup_elem(&paths, &number);
        if (absent(range))
            return 0;
        bool before = range->first.high != high ? range->first.high < high : range->first.low <= low;
        if (before) {
            mtu = range->mtu;
            from = middle + 1;
        } else {
            to = middle;
        }
    }
    return mtu;
}

WIRE_INLINE uint32_t mtu_to_6(const struct plane_settings *plane, const struct ipv6_address *address)
{
    if (plane->ranges[PATH_FAMILY_IPV6] == 1)
        return plane->translation.mtu6;
    struct path_address to = path_address6(address);
    return search_path(plane, PATH_FAMILY_IPV6, to.high, to.low);
}

WIRE_INLINE uint32_t mtu_to_4(const struct plane_settings *plane, be32 address)
{
    if (plane->ranges[PATH_FAMILY_IPV4] == 1)
        return plane->translation.mtu4;
    struct path_address to = path_address4(address);
    return search_path(plane, PATH_FAMILY_IPV4, to.high, to.low);
}

/* --- the MSS of a SYN ------------------------------------------------------------------------------- */

/*
 * Looks for options that state an MSS above the limit in a TCP header: `large` is how many there are, `mss`
 * where the last of them is. Options are walked as in tcp_find_mss of the engine, but byte by byte, and what
 * the walk knows lies in memory: of that the verifier knows nothing, so that it goes through each step once
 * and not for each way to it. False: the walk has come to its end.
 */
WIRE_INLINE bool step_over_option(struct option_walk *walk, const uint8_t *option, uint32_t left)
{
    uint32_t kind = option[0], size = kind == TCP_OPTION_NOP ? 1 : option[1];
    if (kind == TCP_OPTION_END || (kind != TCP_OPTION_NOP && (left < 2 || size < 2 || size > left)))
        return false;
    if (kind == TCP_OPTION_MSS && size == TCP_OPTION_MSS_LENGTH &&
        ((uint32_t)option[2] << 8 | option[3]) > walk->limit) {
        walk->mss = walk->next;
        walk->large++;
    }
    walk->next += size;
    return true;
}

TABLE_FUNCTION bool find_large_mss(struct processor *processor)
{
    if (absent(processor))
        return false;
    struct option_walk *walk = &processor->options;
    for (uint32_t at = TCP_HEADER; at <= TCP_HEADER_ROOM - TCP_OPTION_MSS_LENGTH; at++) {
        uint32_t end = atomic_load32(&walk->end);
        if (at >= end)
            break;
        if (atomic_load32(&walk->next) == at && !step_over_option(walk, &processor->transport[at], end - at))
            break;
    }
    return true;
}

/* Looks at the options of a SYN, all of which are read now. False: the engine is to lower several. */
WIRE_INLINE bool lower_mss(struct arrival *arrival, uint32_t limit)
{
    uint32_t length = tcp_header_length((const void *)arrival->processor->transport);
    length = TCP_HEADER + below(TCP_HEADER_ROOM, length - TCP_HEADER); /* a comparison may get lost */
    if (bpf_skb_load_bytes(arrival->skb, arrival->network + arrival->transport, arrival->processor->transport,
                           length) != 0)
        return false;
    struct option_walk *walk = &arrival->processor->options;
    *walk = (struct option_walk){.next = TCP_HEADER, .end = length, .limit = limit};
    (void)find_large_mss(arrival->processor);
    arrival->mss_at = (uint8_t)walk->mss;
    arrival->mss_limit = (uint16_t)limit;
    return walk->large <= 1;
}

/* As tcp_mss_limit and tcp_clamp_mss of the engine, for a packet between these two. False: it is to do that.
 */
WIRE_INLINE bool clamp_mss(struct arrival *arrival, const struct ipv6_address *ipv6, be32 ipv4)
{
    if ((arrival->tcp_flags & TCP_SYN) == 0 || !arrival->plane->translation.mss_clamp)
        return true;
    uint32_t mtu6 = mtu_to_6(arrival->plane, ipv6), mtu4 = mtu_to_4(arrival->plane, ipv4);
    uint32_t limit6 = mtu6 - TCP_HEADERS_OVER_IPV6, limit4 = mtu4 - TCP_HEADERS_OVER_IPV4;
    return mtu6 != 0 && mtu4 != 0 && lower_mss(arrival, limit6 < limit4 ? limit6 : limit4);
}

/* --- the way ---------------------------------------------------------------------------------------- */

/*
 * Asks the kernel's routes, as if the packet came from the TUN device, whose packets it stands for. What has
 * filled in the processor's `route` are family, addresses, and the length of the longest packet. False: the
 * packet is the engine's.
 */
WIRE_INLINE bool find_way(struct arrival *arrival)
{
    struct bpf_fib_lookup *route = &arrival->processor->route;
    struct bpf_redir_neigh *neighbour = &arrival->processor->neighbour;
    uint32_t own = atomic_load32(&plane_control.device);
    arrival->way = THROUGH_THE_STACK;
    if (arrival->plane->stack != 0)
        return true;
    route->ifindex = own;
    long result = bpf_fib_lookup(arrival->skb, route, sizeof(*route), 0);
    if (result != BPF_FIB_LKUP_RET_SUCCESS && result != BPF_FIB_LKUP_RET_NO_NEIGH)
        return result > 0 && result != BPF_FIB_LKUP_RET_FRAG_NEEDED;
    arrival->way = route->ifindex;
    neighbour->nh_family = route->family;
    __builtin_memcpy(neighbour->ipv6_nh, route->ipv6_dst, sizeof(neighbour->ipv6_nh));
    return route->ifindex != own;
}

/* Length of the longest packet that it becomes. */
WIRE_INLINE uint32_t segment_6(const struct arrival *arrival)
{
    return arrival->segment + (uint32_t)(IPV6_HEADER - IPV4_HEADER);
}

WIRE_INLINE uint32_t segment_4(const struct arrival *arrival)
{
    return arrival->segment - (uint32_t)(IPV6_HEADER - IPV4_HEADER);
}

/*
 * Does the path carry it as IPv6? What may be fragmented and is longer than every path carries is for the
 * engine to cut up.
 */
WIRE_INLINE bool fits_6(const struct arrival *arrival, const struct endpoints6 *to)
{
    const struct plane_settings *plane = arrival->plane;
    bool whole = (from_be16(load_be16(&arrival->processor->header4.flags_offset)) & IPV4_DONT_FRAGMENT) != 0;
    uint32_t segment = segment_6(arrival);
    return (whole || segment <= IPV6_MINIMUM_MTU) && segment <= UINT16_MAX &&
           (segment <= plane->translation.mtu6 || segment <= mtu_to_6(plane, &to->destination));
}

/* Does the path carry it as IPv4? */
WIRE_INLINE bool fits_4(const struct arrival *arrival, const struct endpoints4 *to)
{
    const struct plane_settings *plane = arrival->plane;
    uint32_t segment = segment_4(arrival);
    return arrival->length - (uint32_t)(IPV6_HEADER - IPV4_HEADER) <= IPV4_MAXIMUM_LENGTH &&
           (segment <= plane->translation.mtu4 || segment <= mtu_to_4(plane, to->destination));
}

WIRE_INLINE bool ask_way_6(struct arrival *arrival, const struct endpoints6 *to)
{
    struct bpf_fib_lookup *route = &arrival->processor->route;
    __builtin_memset(route, 0, sizeof(*route));
    route->family = FAMILY_IPV6;
    route->l4_protocol = arrival->protocol == PROTOCOL_ICMPV4 ? PROTOCOL_ICMPV6 : arrival->protocol;
    route->sport = to->source_port;
    route->dport = to->destination_port;
    route->tot_len = (uint16_t)segment_6(arrival);
    copy_words(route->ipv6_src, &to->source, sizeof(to->source));
    copy_words(route->ipv6_dst, &to->destination, sizeof(to->destination));
    return find_way(arrival);
}

WIRE_INLINE bool ask_way_4(struct arrival *arrival, const struct endpoints4 *to)
{
    struct bpf_fib_lookup *route = &arrival->processor->route;
    __builtin_memset(route, 0, sizeof(*route));
    route->family = FAMILY_IPV4;
    route->l4_protocol = arrival->protocol;
    route->sport = to->source_port;
    route->dport = to->destination_port;
    route->tot_len = (uint16_t)segment_4(arrival);
    route->ipv4_src = to->source;
    route->ipv4_dst = to->destination;
    return find_way(arrival);
}

/* Where the packet goes; false: it is the engine's. */
WIRE_INLINE bool find_way_6(struct arrival *arrival, const struct endpoints6 *to)
{
    return fits_6(arrival, to) && ask_way_6(arrival, to);
}

WIRE_INLINE bool find_way_4(struct arrival *arrival, const struct endpoints4 *to)
{
    return fits_4(arrival, to) && ask_way_4(arrival, to);
}

/* What the packet loses of its hop limit here. With `forward: stack` it is the kernel who forwards: it takes
 * one off on the way into the TUN device, and another one on the way out. */
WIRE_INLINE uint8_t hops_lost(const struct plane_settings *plane)
{
    return plane->stack != 0 ? 0 : HOPS_FORWARDED;
}

/* Sends the translated packet, whose link header is still the old one, or zeros, or none: the latter only
 * through the stack. */
WIRE_INLINE int send(const struct arrival *arrival)
{
    if (arrival->way == THROUGH_THE_STACK)
        return (int)bpf_redirect(atomic_load32(&plane_control.device), BPF_F_INGRESS);
    struct bpf_redir_neigh *neighbour = &arrival->processor->neighbour;
    return (int)bpf_redirect_neigh(arrival->way, neighbour, sizeof(*neighbour), 0);
}

#endif /* PLANE_BPF_WAY_BPF_H */
