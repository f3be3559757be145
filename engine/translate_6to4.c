/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * IPv6 to IPv4 (RFC 7915 section 5).
 *
 * First the packet is judged; nothing has changed if it is refused. Then the transport header is brought up
 * to date where it stands, and the IPv4 header is written just in front of it. It may come to lie over the
 * addresses of the IPv6 header, which have entered the checksum by then; the fields before them are never
 * hit.
 *
 *     before   | IPv6 header, 40 bytes | extension headers | transport header, payload |
 *     after                                 | IPv4, 20 bytes | transport header, payload |
 */
#include "engine/icmp_map.h"
#include "engine/paths.h"
#include "engine/translate_header.h"
#include "engine/transport_update.h"

void translate_header_6to4(uint8_t *at, const struct header_6to4 *header)
{
    header_write_6to4(at, header);
}

/*
 * All reasons not to translate the packet; `length` and `segment` are those of the IPv4 packet.
 * rfc: 7915-1.4-b, 7915-5.1-g, 4787-REQ13-a
 */
WIRE_INLINE enum verdict judge(const struct packet *packet, const struct description *description,
                               const struct header_6to4 *header)
{
    if (description->kind > PACKET_ICMP_QUERY || description->fragmented) {
        enum verdict verdict = judge_kind(description);
        if (verdict != VERDICT_COUNT)
            return verdict;
        if (!partial_beyond_transport(packet, description))
            return VERDICT_BAD_OFFLOAD;
    }
    if (header->old->hop_limit <= 1)
        return VERDICT_HOP_LIMIT;
    if (header->segment > header->settings->mtu4 &&
        packet_segment_length(packet, description) > IPV6_MINIMUM_MTU &&
        header->segment > path_mtu4(header->settings, header->to->destination))
        return VERDICT_TOO_BIG_IPV6;
    /* The longest IPv6 super-packets are a few bytes too long for the length field of IPv4. */
    if (header->length > IPV4_MAXIMUM_LENGTH)
        return VERDICT_BAD_OFFLOAD;
    return VERDICT_COUNT;
}

/* rfc: 7915-5.5-a, 7915-5.5-c */
WIRE_INLINE void update_transport(uint8_t *at, const struct description *description,
                                  const struct header_6to4 *header, const struct offload *offload)
{
    struct transport_change change = {
        .gone =
            checksum_add_address(checksum_add_address(0, &header->old->source), &header->old->destination),
        .came = (uint64_t)header->to->source + header->to->destination,
        .source_port = header->to->source_port,
        .destination_port = header->to->destination_port,
        .partial = (offload->flags & OFFLOAD_PARTIAL) != 0,
    };

    if (description->kind == PACKET_UDP) {
        udp_update(at, &change);
    } else if (description->kind == PACKET_TCP) {
        uint32_t limit = UINT32_MAX;
        if ((description->tcp_flags & TCP_SYN) != 0)
            limit = tcp_mss_limit(header->settings, &header->old->source, header->to->destination);
        tcp_update(at, &change, limit);
    } else if (description->kind == PACKET_ICMP_QUERY) {
        change.gone += checksum_pseudo_tail(icmp_length(description), PROTOCOL_ICMPV6);
        change.came = 0;
        icmp_query_update(at, &change, icmp_query_6to4(description->icmp_type));
    } else if (change.partial && offload->checksum_start == description->transport) {
        other_update(at + offload->checksum_offset, &change);
    }
}

/* rfc: 7915-5.1.1-b */
enum verdict translate_6to4(struct packet *packet, const struct description *description,
                            const struct endpoints4 *to, const struct translation_settings *settings,
                            uint16_t identification)
{
    uint8_t *data = packet_data(packet), *transport = data + description->transport;
    const struct ipv6_header *old = (const struct ipv6_header *)data;
    struct ipv6_fragment_header fragment;
    uint32_t shrinks = description->transport - (uint32_t)IPV4_HEADER;
    struct header_6to4 header = {
        .old = old,
        .settings = settings,
        .to = to,
        .length = packet->length - shrinks,
        .segment = packet_segment_length(packet, description) - shrinks,
        .identification = identification,
        .protocol = description->protocol,
        .hops = HOPS_FORWARDED,
    };
    enum verdict verdict = judge(packet, description, &header);

    if (verdict != VERDICT_COUNT)
        return verdict;
    if (description->fragment_header != 0) {
        fragment = *(const struct ipv6_fragment_header *)(data + description->fragment_header);
        header.fragment = &fragment;
    }
    update_transport(transport, description, &header, &packet->offload);
    header_write_6to4(transport - IPV4_HEADER, &header);
    packet->offset += shrinks;
    packet->length -= shrinks;
    offload_move(packet, description->transport, IPV4_HEADER);
    offload_set_family(&packet->offload, OFFLOAD_GSO_TCPV6, OFFLOAD_GSO_TCPV4);
    return VERDICT_TRANSLATED_6TO4;
}
