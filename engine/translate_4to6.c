/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * IPv4 to IPv6 (RFC 7915 section 4).
 *
 * The mirror of translate_6to4.c: judged in full, then the transport header where it stands, then the longer
 * header in front of it, into the headroom. IPv4 options are overwritten; they have no meaning in IPv6.
 *
 *     before              | IPv4, 20 bytes | options | transport header, payload |
 *     after      | IPv6 header, 40 bytes             | transport header, payload |
 *
 * A fragment gets a fragment header between the two, and so does a packet that is to become several.
 */
#include "engine/divide.h"
#include "engine/icmp_map.h"
#include "engine/translate_header.h"
#include "engine/transport_update.h"

void translate_header_4to6(uint8_t *at, const struct header_4to6 *header)
{
    header_write_4to6(at, header);
}

static bool lacks_checksum(const struct packet *packet, const struct description *description)
{
    const uint8_t *udp = packet_data(packet) + description->transport;
    return description->kind == PACKET_UDP && (packet->offload.flags & OFFLOAD_PARTIAL) == 0 &&
           ((const struct udp_header *)udp)->checksum == 0;
}

/* What a packet has to become to get through the IPv6 side. */
struct fit {
    uint32_t headers;  /* length of all that comes in front of the transport header */
    uint16_t gso_size; /* of a super-packet; 0: as it is */
    bool divided;      /* several fragments */
    bool larger;       /* than is good for anybody, so that one of the two may be */
    bool amended;      /* a missing checksum is to be computed */
};

WIRE_INLINE bool may_fragment(const struct header_4to6 *header)
{
    return (from_be16(header->old->flags_offset) & IPV4_DONT_FRAGMENT) == 0;
}

/* The last byte of a fragment lies within the longest datagram there can be, and so will all its pieces. */
static bool end_is_possible(const struct header_4to6 *header)
{
    uint32_t offset = (from_be16(header->old->flags_offset) & IPV4_OFFSET_MASK) * 8u;
    return offset + header->length <= IPV4_MAXIMUM_LENGTH;
}

/*
 * A packet without DF whose segments have `length` bytes in IPv6, more than need be carried there: it is cut
 * into fragments. A super-packet need not be. TCP is a stream of bytes, whose segments may as well be
 * smaller; and the datagrams of UDP, which have to stay what they are, go whole if the path carries them,
 * since lowest-ipv6-mtu is only recommended. If it does not, each is cut for itself.
 * rfc: 7915-4-a
 */
static enum verdict fit_fragmentable(const struct packet *packet, const struct description *description,
                                     const struct header_4to6 *header, uint32_t length, struct fit *fit)
{
    uint32_t limit = divide_limit(header->settings, &header->to->destination);

    if (length <= limit)
        return VERDICT_COUNT;
    if (packet->offload.gso_type == OFFLOAD_GSO_UDP &&
        length <= path_mtu6(header->settings, &header->to->destination))
        return VERDICT_COUNT;
    if (packet->offload.gso_type == OFFLOAD_GSO_NONE || packet->offload.gso_type == OFFLOAD_GSO_UDP) {
        fit->divided = true;
        fit->headers = IPV6_HEADER + FRAGMENT_HEADER;
        return end_is_possible(header) ? VERDICT_COUNT : VERDICT_BAD_HEADER;
    }
    const uint8_t *tcp = packet_data(packet) + description->transport;
    fit->gso_size = (uint16_t)(limit - IPV6_HEADER - tcp_header_length((const struct tcp_header *)tcp));
    return VERDICT_COUNT;
}

/*
 * With DF set the RFC counts options too, as does the sender who hears of the MTU less 20.
 * rfc: 7915-1.4-b, 7915-4.1-c
 */
static __attribute__((noinline)) enum verdict judge_large(const struct packet *packet,
                                                          const struct description *description,
                                                          const struct header_4to6 *header, struct fit *fit)
{
    uint32_t length = packet_segment_length(packet, description) + fit->headers;

    if (may_fragment(header))
        return fit_fragmentable(packet, description, header, length - description->transport, fit);
    return length - IPV4_HEADER <= path_mtu6(header->settings, &header->to->destination)
               ? VERDICT_COUNT
               : VERDICT_TOO_BIG_IPV4;
}

/*
 * All reasons not to translate the packet.
 * rfc: 7915-4.1-j, 7915-4.5-b, 7915-4.5-c
 */
WIRE_INLINE enum verdict judge(const struct packet *packet, const struct description *description,
                               const struct header_4to6 *header, struct fit *fit)
{
    if (description->kind > PACKET_ICMP_QUERY || description->fragmented) {
        enum verdict verdict = judge_kind(description);
        fit->headers = header_length_4to6(description);
        if (verdict != VERDICT_COUNT)
            return verdict;
        if (!partial_beyond_transport(packet, description))
            return VERDICT_BAD_OFFLOAD;
    }
    if (header->old->ttl <= 1)
        return VERDICT_HOP_LIMIT;
    uint32_t length = packet_segment_length(packet, description) + fit->headers - IPV4_HEADER;
    /* Most packets are small enough for anything, or for everything that there is. */
    if (length > IPV6_MINIMUM_MTU && (length > header->settings->mtu6 || may_fragment(header))) {
        /* Copies, so that the originals need not be in memory for the packets that do not come here. */
        const struct header_4to6 copy = *header;
        struct fit larger = *fit;
        enum verdict verdict = judge_large(packet, description, &copy, &larger);
        *fit = larger;
        fit->larger = true;
        if (verdict != VERDICT_COUNT)
            return verdict;
    }
    if (packet->offset + description->transport < fit->headers)
        return VERDICT_NO_ROOM;
    fit->amended = lacks_checksum(packet, description);
    if (fit->amended) {
        /* What the other fragments hold is not known (RFC 7915 section 4.5). */
        if (description->fragmented)
            return VERDICT_UDP_FRAGMENT;
        if (!header->settings->amend_udp_checksum_zero)
            return VERDICT_UDP_CHECKSUM_ZERO;
    }
    return VERDICT_COUNT;
}

/*
 * Gives a UDP datagram without a checksum one: the sum of its old words, which udp_update then takes on to
 * the new ones like any other. Only here and in complete_checksum is a payload read.
 * rfc: 7915-4.5-b
 */
static void amend_udp_checksum(uint8_t *udp, const struct ipv4_header *old)
{
    uint32_t length = from_be16(((const struct udp_header *)udp)->length);
    uint64_t sum = checksum_pseudo_tail(length, PROTOCOL_UDP);
    uint16_t folded = checksum_fold(checksum_add_bytes(sum + old->source + old->destination, udp, length));
    ((struct udp_header *)udp)->checksum = folded == 0xffff ? 0xffff : (be16)~folded;
}

/*
 * A partial checksum can be left to nobody if the packet is to become several: of the translated packet. The
 * datagrams of a super-packet have one each, made as they are cut up.
 */
static __attribute__((noinline)) void complete_checksum(struct packet *packet)
{
    const struct offload *offload = &packet->offload;
    if ((offload->flags & OFFLOAD_PARTIAL) == 0 || offload->gso_type != OFFLOAD_GSO_NONE)
        return;
    uint8_t *start = packet_data(packet) + offload->checksum_start;
    uint64_t sum = checksum_add_bytes(0, start, packet->length - offload->checksum_start);
    be16 checksum = (be16)~checksum_fold(sum);
    store_be16(start + offload->checksum_offset, checksum == 0 ? 0xffff : checksum);
    packet->offload = (struct offload){0};
}

/* rfc: 7915-4.5-a, 7915-4.5-e */
WIRE_INLINE void update_transport(uint8_t *at, const struct description *description,
                                  const struct header_4to6 *header, const struct offload *offload)
{
    const struct endpoints6 *to = header->to;
    struct transport_change change = {
        .gone = (uint64_t)header->old->source + header->old->destination,
        .came = checksum_add_address(checksum_add_address(0, &to->source), &to->destination),
        .source_port = to->source_port,
        .destination_port = to->destination_port,
        .partial = (offload->flags & OFFLOAD_PARTIAL) != 0,
    };

    if (description->kind == PACKET_UDP) {
        udp_update(at, &change);
    } else if (description->kind == PACKET_TCP) {
        uint32_t limit = UINT32_MAX;
        if ((description->tcp_flags & TCP_SYN) != 0)
            limit = tcp_mss_limit(header->settings, &to->destination, header->old->source);
        tcp_update(at, &change, limit);
    } else if (description->kind == PACKET_ICMP_QUERY) {
        change.gone = 0;
        change.came += checksum_pseudo_tail(icmp_length(description), PROTOCOL_ICMPV6);
        icmp_query_update(at, &change, icmp_query_4to6(description->icmp_type));
    } else if (change.partial && offload->checksum_start == description->transport) {
        other_update(at + offload->checksum_offset, &change);
    }
}

/* The new headers, `headers` bytes, and what they change of the packet. */
WIRE_INLINE void put_in_front(struct packet *packet, const struct description *description,
                              const struct header_4to6 *header, uint32_t headers)
{
    header_write_4to6(packet_data(packet) + description->transport - headers, header);
    packet->offset = packet->offset + description->transport - headers;
    packet->length = header->length + headers;
    offload_move(packet, description->transport, headers);
}

static __attribute__((noinline)) void put_in_front_fragmented(struct packet *packet,
                                                              const struct description *description,
                                                              struct header_4to6 header)
{
    header.fragmented = true;
    put_in_front(packet, description, &header, IPV6_HEADER + FRAGMENT_HEADER);
}

enum verdict translate_4to6(struct packet *packet, const struct description *description,
                            const struct endpoints6 *to, const struct translation_settings *settings)
{
    uint8_t *data = packet_data(packet), *transport = data + description->transport;
    const struct ipv4_header old = *(const struct ipv4_header *)data;
    struct header_4to6 header = {
        .old = &old,
        .settings = settings,
        .to = to,
        .length = packet->length - description->transport,
        .protocol = description->protocol == PROTOCOL_ICMPV4 ? PROTOCOL_ICMPV6 : description->protocol,
        .hops = HOPS_FORWARDED,
    };
    struct fit fit = {.headers = IPV6_HEADER};
    enum verdict verdict = judge(packet, description, &header, &fit);

    if (verdict != VERDICT_COUNT)
        return verdict;
    if (fit.amended)
        amend_udp_checksum(transport, &old);
    update_transport(transport, description, &header, &packet->offload);
    /* Apart, so that the compiler makes short work of the header that nearly all packets get. */
    if (__builtin_expect(fit.headers != IPV6_HEADER, 0))
        put_in_front_fragmented(packet, description, header);
    else
        put_in_front(packet, description, &header, IPV6_HEADER);
    offload_set_family(&packet->offload, OFFLOAD_GSO_TCPV4, OFFLOAD_GSO_TCPV6);
    if (__builtin_expect(!fit.larger, 1))
        return VERDICT_TRANSLATED_4TO6;
    if (fit.gso_size != 0)
        packet->offload.gso_size = fit.gso_size;
    if (!fit.divided)
        return VERDICT_TRANSLATED_4TO6;
    complete_checksum(packet);
    return VERDICT_FRAGMENTED_4TO6;
}
