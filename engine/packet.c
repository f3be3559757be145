/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Describing a packet: every length and position that later code relies on is checked here, once.
 *
 * A packet is walked from its first byte: IP header, options or extension headers, transport header, and at
 * last the offload state that came with it. The same walk serves whole packets and packets quoted in ICMP
 * errors; what differs is how much must be there. Of a whole packet all that its headers state must be
 * present. Of a quoted one only the first 8 bytes of a transport header that is known, its IPv4 header
 * checksum is not looked at (routers quote headers that they have already changed), and whatever is wrong
 * with it is called by one name.
 *
 * The plain packet, without options and extension headers, takes no loop.
 */
#include "engine/packet.h"

#include "engine/limits.h"
#include "wire/checksum.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"
#include "wire/transport.h"

/* The bytes being walked. */
struct view {
    const uint8_t *data;
    uint32_t present; /* bytes that are there and belong to the packet */
    uint32_t end;     /* where the packet ends by its IP header; the same in a whole packet */
    bool quoted;
};

/* rfc: 6146-3.4-k */
static bool describe_tcp(const uint8_t *at, uint32_t present, bool quoted, struct description *description)
{
    const struct tcp_header *tcp = (const struct tcp_header *)at;
    bool fixed_part = present >= sizeof(*tcp);
    unsigned length = fixed_part ? tcp_header_length(tcp) : 0;

    description->whole = length >= sizeof(*tcp) && length <= present;
    if (!description->whole && !quoted)
        return false;
    description->kind = PACKET_TCP;
    description->source_port = tcp->source;
    description->destination_port = tcp->destination;
    description->tcp_flags = fixed_part ? tcp->flags : 0;
    return true;
}

static bool describe_udp(const uint8_t *at, uint32_t present, bool quoted, struct description *description)
{
    const struct udp_header *udp = (const struct udp_header *)at;

    if (!quoted) {
        uint32_t length = from_be16(udp->length);
        /* The first fragment of a datagram states the length of the whole. */
        if (length < sizeof(*udp) || (length > present && !description->fragmented))
            return false;
    }
    description->kind = PACKET_UDP;
    description->source_port = udp->source;
    description->destination_port = udp->destination;
    return true;
}

/*
 * Errors are the types that have a counterpart; the other errors cannot be translated anyway.
 * rfc: 7915-4.2-d, 7915-4.2-k, 7915-5.2-e
 */
static uint8_t icmp_kind(uint8_t version, uint8_t type)
{
    if (version == 4) {
        if (type == ICMPV4_ECHO_REQUEST || type == ICMPV4_ECHO_REPLY)
            return PACKET_ICMP_QUERY;
        return type == ICMPV4_UNREACHABLE || type == ICMPV4_TIME_EXCEEDED || type == ICMPV4_PARAMETER_PROBLEM
                   ? PACKET_ICMP_ERROR
                   : PACKET_ICMP_OTHER;
    }
    if (type == ICMPV6_ECHO_REQUEST || type == ICMPV6_ECHO_REPLY)
        return PACKET_ICMP_QUERY;
    return type >= ICMPV6_UNREACHABLE && type <= ICMPV6_PARAMETER_PROBLEM ? PACKET_ICMP_ERROR
                                                                          : PACKET_ICMP_OTHER;
}

static void describe_icmp(const uint8_t *at, struct description *description)
{
    const struct icmp_header *icmp = (const struct icmp_header *)at;

    description->icmp_type = icmp->type;
    description->icmp_code = icmp->code;
    description->kind = icmp_kind(description->version, icmp->type);
    if (description->kind == PACKET_ICMP_QUERY) {
        description->source_port = load_be16(icmp->rest);
        description->destination_port = description->source_port;
    }
}

/*
 * IGMP is for one hop, or for routers that speak of multicast: no more translated than ICMP of that kind.
 * rfc: 7915-4.2-e
 */
static bool is_igmp(const struct description *description)
{
    return description->protocol == PROTOCOL_IGMP && description->version == 4;
}

/* Reads the transport header; `transport` and `protocol` are known, and `transport` lies within the packet.
 * rfc: 6146-3.4-a
 */
static enum verdict describe_transport(const struct view *view, struct description *description)
{
    const uint8_t *at = view->data + description->transport;
    uint32_t present = view->present - description->transport;
    bool enough;

    description->transport_length = view->end - description->transport;
    if (description->kind == PACKET_FRAGMENT && !is_igmp(description))
        return VERDICT_COUNT;
    switch (description->protocol) {
    case PROTOCOL_TCP:
        enough = present >= 8 && describe_tcp(at, present, view->quoted, description);
        break;
    case PROTOCOL_UDP:
        enough = present >= 8 && describe_udp(at, present, view->quoted, description);
        break;
    case PROTOCOL_ICMPV4:
    case PROTOCOL_ICMPV6:
        /* ICMPv6 in an IPv4 packet, or the other way round, is just an unknown protocol. */
        if ((description->version == 4) != (description->protocol == PROTOCOL_ICMPV4))
            return VERDICT_COUNT;
        enough = present >= 8;
        if (enough)
            describe_icmp(at, description);
        break;
    default:
        if (is_igmp(description))
            description->kind = PACKET_ICMP_OTHER;
        return VERDICT_COUNT;
    }
    return enough ? VERDICT_COUNT : VERDICT_TRUNCATED;
}

/*
 * Walks IPv4 options, each of which but END and NOP has a length.
 * rfc: 7915-4.1-n
 */
static enum verdict check_ipv4_options(const uint8_t *header, unsigned length)
{
    unsigned at = sizeof(struct ipv4_header);
    while (at < length && header[at] != IPV4_OPTION_END) {
        if (header[at] == IPV4_OPTION_NOP) {
            at++;
            continue;
        }
        if (length - at < 2 || header[at + 1] < 2 || header[at + 1] > length - at)
            return VERDICT_BAD_HEADER;
        if (header[at] == IPV4_OPTION_LOOSE_ROUTE || header[at] == IPV4_OPTION_STRICT_ROUTE) {
            /* The pointer, counted from 1, shows the next address to visit, and past the end when done. */
            if (header[at + 1] < 3)
                return VERDICT_BAD_HEADER;
            if (header[at + 2] <= header[at + 1])
                return VERDICT_SOURCE_ROUTE;
        }
        at += header[at + 1];
    }
    return VERDICT_COUNT;
}

/* Sum of a header's words, 0xffff if its checksum is right. */
static uint16_t ipv4_header_sum(const uint8_t *header, unsigned length)
{
    uint64_t sum = checksum_add_address(load_be32(header), header + 4);
    for (unsigned at = sizeof(struct ipv4_header); at < length; at += 4)
        sum += load_be32(header + at);
    return checksum_fold(sum);
}

/* rfc: 7915-4.1-m, 5508-REQ3-c */
static enum verdict describe_ipv4(struct view *view, struct description *description)
{
    const struct ipv4_header *ip = (const struct ipv4_header *)view->data;
    enum verdict options = VERDICT_COUNT, verdict;
    unsigned header_length, flags_offset;

    if (view->present < sizeof(*ip))
        return VERDICT_TRUNCATED;
    header_length = ipv4_header_length(ip);
    view->end = from_be16(ip->total_length);
    if (header_length < sizeof(*ip) || view->end < header_length)
        return VERDICT_BAD_HEADER;
    if (header_length > view->present || (view->end > view->present && !view->quoted))
        return VERDICT_TRUNCATED;
    if (view->present > view->end)
        view->present = view->end;
    if (!view->quoted) {
        if (ipv4_header_sum(view->data, header_length) != 0xffff)
            return VERDICT_BAD_HEADER;
        if (header_length > sizeof(*ip))
            options = check_ipv4_options(view->data, header_length);
        if (options == VERDICT_BAD_HEADER)
            return options;
    }
    description->transport = (uint16_t)header_length;
    description->protocol = ip->protocol;
    flags_offset = from_be16(ip->flags_offset);
    description->fragmented = (flags_offset & (IPV4_MORE_FRAGMENTS | IPV4_OFFSET_MASK)) != 0;
    if ((flags_offset & IPV4_OFFSET_MASK) != 0)
        description->kind = PACKET_FRAGMENT;
    verdict = describe_transport(view, description);
    return verdict == VERDICT_COUNT ? options : verdict;
}

/* The walk over extension headers: where it stands and what comes there. */
struct extension_walk {
    uint32_t at;
    uint8_t next;
};

/* Those that are skipped, and the fragment header; any other counts as a transport protocol (RFC 7915 section
 * 5.1). */
static bool is_skipped_header(uint8_t protocol)
{
    return protocol == PROTOCOL_HOP_BY_HOP || protocol == PROTOCOL_ROUTING || protocol == PROTOCOL_FRAGMENT ||
           protocol == PROTOCOL_DESTINATION_OPTIONS;
}

bool packet_is_extension_header(uint8_t protocol)
{
    return is_skipped_header(protocol) || protocol == PROTOCOL_AUTHENTICATION ||
           protocol == PROTOCOL_MOBILITY || protocol == PROTOCOL_HIP || protocol == PROTOCOL_SHIM6;
}

/*
 * A fragment header: no extension header may follow it (RFC 7915 section 5.1.1).
 * rfc: 7915-5.1.1-a
 */
static enum verdict step_over_fragment(const struct view *view, struct extension_walk *walk,
                                       struct description *description)
{
    const uint8_t *at = view->data + walk->at;
    unsigned offset_more = from_be16(load_be16(at + 2));

    description->fragment_header = (uint16_t)walk->at;
    description->fragmented = (offset_more & (IPV6_OFFSET_MASK | IPV6_MORE_FRAGMENTS)) != 0;
    if ((offset_more & IPV6_OFFSET_MASK) != 0)
        description->kind = PACKET_FRAGMENT;
    walk->next = at[0];
    walk->at += (uint32_t)sizeof(struct ipv6_fragment_header);
    return packet_is_extension_header(walk->next) ? VERDICT_EXTENSION_HEADER : VERDICT_COUNT;
}

/* rfc: 7915-5.1-l */
static enum verdict step_over_extension(const struct view *view, struct extension_walk *walk,
                                        struct description *description)
{
    const uint8_t *at = view->data + walk->at;
    uint32_t length;

    if (view->present - walk->at < 8)
        return VERDICT_TRUNCATED;
    if (walk->next == PROTOCOL_FRAGMENT)
        return step_over_fragment(view, walk, description);
    length = (at[1] + 1u) * 8;
    if (length > view->present - walk->at)
        return VERDICT_TRUNCATED;
    /* The first routing header that still wants the packet elsewhere is the one complained about. */
    if (walk->next == PROTOCOL_ROUTING && at[3] != 0 && description->problem == 0)
        description->problem = (uint16_t)(walk->at + 3);
    walk->next = at[0];
    walk->at += length;
    return VERDICT_COUNT;
}

/* rfc: 7915-5.1-k */
static enum verdict walk_extensions(const struct view *view, struct extension_walk *walk,
                                    struct description *description)
{
    enum verdict verdict = VERDICT_COUNT;
    for (unsigned n = 0; verdict == VERDICT_COUNT && is_skipped_header(walk->next); n++) {
        if (n == EXTENSION_HEADERS_MAXIMUM)
            return VERDICT_EXTENSION_HEADER;
        verdict = step_over_extension(view, walk, description);
    }
    return verdict;
}

static enum verdict describe_ipv6(struct view *view, struct description *description)
{
    const struct ipv6_header *ip = (const struct ipv6_header *)view->data;
    struct extension_walk walk = {.at = sizeof(*ip)};
    enum verdict verdict = VERDICT_COUNT;

    if (view->present < sizeof(*ip))
        return VERDICT_TRUNCATED;
    walk.next = ip->next_header;
    view->end = (uint32_t)sizeof(*ip) + from_be16(ip->payload_length);
    /* A length of zero announces a jumbogram if there is an option to tell the real one (RFC 2675 section 3).
     */
    if (ip->payload_length == 0 && walk.next == PROTOCOL_HOP_BY_HOP)
        return VERDICT_BAD_HEADER;
    if (view->end > view->present && !view->quoted)
        return VERDICT_TRUNCATED;
    if (view->present > view->end)
        view->present = view->end;
    if (walk.next != PROTOCOL_TCP && walk.next != PROTOCOL_UDP)
        verdict = walk_extensions(view, &walk, description);
    description->transport = (uint16_t)walk.at;
    description->protocol = walk.next;
    if (verdict == VERDICT_COUNT)
        verdict = describe_transport(view, description);
    /* Only what is known to be no error may be answered, so that the walk must have come to its end. */
    if (description->problem != 0 && verdict == VERDICT_COUNT)
        return VERDICT_ROUTING_HEADER;
    return verdict;
}

static enum verdict describe_view(struct view *view, struct description *description)
{
    *description = (struct description){.kind = PACKET_OTHER, .whole = true};
    if (view->present == 0)
        return VERDICT_TRUNCATED;
    description->version = view->data[0] >> 4;
    if (description->version == 6)
        return describe_ipv6(view, description);
    return description->version == 4 ? describe_ipv4(view, description) : VERDICT_BAD_VERSION;
}

/* A partial checksum must be one that the kernel could complete, and where the translator updates it. */
static bool partial_fits(const struct packet *packet, const struct description *description)
{
    const struct offload *offload = &packet->offload;
    switch (description->kind) {
    case PACKET_TCP:
        return !description->fragmented && offload->checksum_start == description->transport &&
               offload->checksum_offset == offsetof(struct tcp_header, checksum);
    case PACKET_UDP:
        return !description->fragmented && offload->checksum_start == description->transport &&
               offload->checksum_offset == offsetof(struct udp_header, checksum);
    case PACKET_OTHER:
        /* Which protocol has its checksum where is not known, so that it only has to be possible. */
        return (uint32_t)offload->checksum_start + offload->checksum_offset + 2 <= packet->length;
    default:
        return false;
    }
}

static bool gso_fits(const struct packet *packet, const struct description *description)
{
    const struct offload *offload = &packet->offload;
    if ((offload->flags & OFFLOAD_PARTIAL) == 0 || offload->gso_size == 0)
        return false;
    if (offload->gso_type == OFFLOAD_GSO_UDP)
        return description->kind == PACKET_UDP;
    return description->kind == PACKET_TCP &&
           (offload->gso_type & ~OFFLOAD_GSO_ECN) ==
               (description->version == 4 ? OFFLOAD_GSO_TCPV4 : OFFLOAD_GSO_TCPV6);
}

enum verdict packet_describe(struct packet *packet, struct description *description)
{
    struct view view = {.data = packet_data(packet), .present = packet->length};
    enum verdict verdict = describe_view(&view, description);

    if (verdict != VERDICT_COUNT && verdict != VERDICT_ROUTING_HEADER && verdict != VERDICT_SOURCE_ROUTE)
        return verdict;
    packet->length = view.present;
    if ((packet->offload.flags & OFFLOAD_PARTIAL) != 0 && !partial_fits(packet, description))
        return VERDICT_BAD_OFFLOAD;
    if (packet->offload.gso_type != OFFLOAD_GSO_NONE && !gso_fits(packet, description))
        return VERDICT_BAD_OFFLOAD;
    return verdict;
}

enum verdict packet_describe_quoted(const uint8_t *data, uint32_t available, struct description *description)
{
    struct view view = {.data = data, .present = available, .quoted = true};
    return describe_view(&view, description) == VERDICT_COUNT ? VERDICT_COUNT : VERDICT_ICMP_INNER;
}

uint32_t packet_segment_length(const struct packet *packet, const struct description *description)
{
    uint32_t headers, segment;
    if (packet->offload.gso_type == OFFLOAD_GSO_NONE)
        return packet->length;
    headers = description->transport;
    if (description->kind == PACKET_TCP)
        headers += tcp_header_length((const struct tcp_header *)(packet_data(packet) + headers));
    else
        headers += (uint32_t)sizeof(struct udp_header);
    segment = headers + packet->offload.gso_size;
    return segment < packet->length ? segment : packet->length;
}
