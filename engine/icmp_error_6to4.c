/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ICMPv6 errors to ICMPv4 (RFC 7915 sections 5.2 and 5.3).
 *
 * Two IP headers shrink, so everything in front of the quoted transport header moves towards it:
 *
 *     before   | IPv6 | ext. | ICMPv6 | quoted IPv6 | ext. | quoted transport header, data |
 *     after                             | IPv4 | ICMPv4 | quoted IPv4 | quoted transp... |
 *
 * All headers are read before the first is written. RFC 7915 asks for no upper length of the result; it is
 * kept to the 576 bytes of RFC 1812 section 4.3.2.3, which any IPv4 host can take whole. A message of that
 * length leaves with DF cleared; as there is no identification at hand, it gets its ICMP checksum as one:
 * fragments of two messages could only be confused if the messages are alike.
 */
#include "engine/icmp_map.h"
#include "engine/icmp_quote.h"
#include "engine/paths.h"

/* The message taken apart: what it is to become, and copies of all headers that are about to be overwritten.
 */
struct error {
    const struct description *description, *quoted;
    const struct error_endpoints4 *endpoints;
    const struct translation_settings *settings;
    struct ipv6_header outer, inner;
    struct ipv6_fragment_header outer_fragment, inner_fragment;
    struct icmp_header icmp; /* the new one */
};

/* rfc: 5508-REQ3-a */
static bool checksum_right(const uint8_t *data, const struct description *description)
{
    const struct ipv6_header *ip = (const struct ipv6_header *)data;
    uint64_t sum = checksum_pseudo_tail(description->transport_length, PROTOCOL_ICMPV6);
    sum = checksum_add_address(checksum_add_address(sum, &ip->source), &ip->destination);
    sum = checksum_add_bytes(sum, data + description->transport, description->transport_length);
    return checksum_fold(sum) == 0xffff;
}

/* All reasons not to translate the message; makes the new ICMP header on the way. */
static enum verdict judge(const uint8_t *data, struct error *error)
{
    const struct description *quoted = error->quoted;
    const struct ipv6_header *inner =
        (const struct ipv6_header *)(data + error->description->transport + ICMP_HEADER);
    struct icmp_mtu about = {.mtu6 = path_mtu6(error->settings, &inner->destination),
                             .mtu4 = path_mtu4(error->settings, error->endpoints->to.destination),
                             .quoted_length = quoted->transport + quoted->transport_length,
                             .quoted_has_fragment = quoted->fragment_header != 0};

    if (((const struct ipv6_header *)data)->hop_limit <= 1)
        return VERDICT_HOP_LIMIT;
    if (error->description->fragmented)
        return VERDICT_ICMP_FRAGMENT;
    if (!checksum_right(data, error->description))
        return VERDICT_ICMP_CHECKSUM;
    if (!quote_translatable(error->description, quoted) ||
        quoted->transport_length + IPV4_HEADER > IPV4_MAXIMUM_LENGTH)
        return VERDICT_ICMP_INNER;
    if (!icmp_error_6to4((const struct icmp_header *)(data + error->description->transport), &about,
                         &error->icmp))
        return VERDICT_ICMP_TYPE;
    return VERDICT_COUNT;
}

static void copy_headers(struct error *error, const uint8_t *data)
{
    const uint8_t *inner = data + error->description->transport + ICMP_HEADER;
    error->outer = *(const struct ipv6_header *)data;
    error->inner = *(const struct ipv6_header *)inner;
    memcpy(&error->outer_fragment, data + error->description->fragment_header, sizeof(error->outer_fragment));
    memcpy(&error->inner_fragment, inner + error->quoted->fragment_header, sizeof(error->inner_fragment));
}

/*
 * Only Destination Unreachable and Time Exceeded state the length of what they quote (RFC 4884 section 4).
 * rfc: 4884-4-b
 */
static uint32_t original_datagram_length(const struct icmp_header *icmp)
{
    return icmp->type == ICMPV6_UNREACHABLE || icmp->type == ICMPV6_TIME_EXCEEDED ? icmp->rest[0] * 8u : 0;
}

static struct quote_plan plan_quote(const uint8_t *data, const struct error *error)
{
    const struct description *description = error->description;
    struct quote_shape shape = {
        .start = description->transport + ICMP_HEADER,
        .available = description->transport_length - ICMP_HEADER,
        .field = original_datagram_length((const struct icmp_header *)(data + description->transport)),
        .old_header = error->quoted->transport,
        .new_header = IPV4_HEADER,
        .unit = 4,
        .room = ICMPV4_ERROR_LENGTH - IPV4_HEADER - ICMP_HEADER,
    };
    return quote_plan(&shape);
}

/*
 * The packet in error; `at` is where its transport header now is.
 * rfc: 7915-5.2-c, 7915-5.3-a
 */
static void write_inner(uint8_t *at, const struct error *error, uint32_t kept)
{
    const struct description *quoted = error->quoted;
    const struct ipv6_header *old = &error->inner;
    const struct endpoints4 *to = &error->endpoints->quoted_to;
    struct header_6to4 header = {.old = old,
                                 .fragment = quoted->fragment_header != 0 ? &error->inner_fragment : NULL,
                                 .settings = error->settings,
                                 .to = to,
                                 .length = quoted->transport_length + IPV4_HEADER,
                                 .segment = quoted->transport_length + IPV4_HEADER,
                                 .protocol = quoted->protocol,
                                 .hops = HOPS_QUOTED};
    struct transport_change change = {
        .gone = checksum_add_address(checksum_add_address(0, &old->source), &old->destination),
        .came = (uint64_t)to->source + to->destination,
        .source_port = to->source_port,
        .destination_port = to->destination_port,
    };

    if (quoted->kind == PACKET_ICMP_QUERY) {
        change.gone += checksum_pseudo_tail(quoted->transport_length, PROTOCOL_ICMPV6);
        change.came = 0;
        icmp_query_update(at, &change, icmp_query_6to4(quoted->icmp_type));
    } else {
        quote_update_ports(at, quoted, kept, &change);
    }
    translate_header_6to4(at - IPV4_HEADER, &header);
}

/*
 * The ICMP header in front of `length` - 8 bytes that are already in place. Returns the checksum.
 * rfc: 7915-5.2-a, 4884-4-a, 4884-4-b
 */
static be16 write_icmp(uint8_t *at, uint32_t length, const struct error *error, const struct quote_plan *plan)
{
    struct icmp_header icmp = error->icmp;
    if (plan->attribute != 0)
        icmp.rest[1] = (uint8_t)plan->attribute;
    memcpy(at, &icmp, sizeof(icmp));
    icmp.checksum = (be16)~checksum_fold(checksum_add_bytes(0, at, length));
    memcpy(at, &icmp, sizeof(icmp));
    return icmp.checksum;
}

/* rfc: 7915-5.3-b */
static void write_outer(uint8_t *at, uint32_t length, const struct error *error, be16 identification)
{
    bool fragment = error->description->fragment_header != 0;
    struct header_6to4 header = {.old = &error->outer,
                                 .fragment = fragment ? &error->outer_fragment : NULL,
                                 .settings = error->settings,
                                 .to = &error->endpoints->to,
                                 .length = length,
                                 .segment = length,
                                 .identification = from_be16(identification),
                                 .protocol = PROTOCOL_ICMPV6,
                                 .hops = HOPS_FORWARDED};
    translate_header_6to4(at, &header);
}

/* rfc: 5382-REQ9-a, 5508-REQ10-b */
enum verdict translate_error_6to4(struct packet *packet, const struct description *description,
                                  const struct description *quoted, const struct error_endpoints4 *endpoints,
                                  const struct translation_settings *settings)
{
    uint8_t *data = packet_data(packet);
    struct error error = {
        .description = description, .quoted = quoted, .endpoints = endpoints, .settings = settings};
    enum verdict verdict = judge(data, &error);
    struct quote_plan plan;
    uint32_t icmp, outer;
    be16 checksum;

    if (verdict != VERDICT_COUNT)
        return verdict;
    plan = plan_quote(data, &error);
    /* Never before the start of the packet: both headers shrink, the padding by no more than the inner one
     * did. */
    icmp = plan.placed - IPV4_HEADER - ICMP_HEADER;
    outer = icmp - IPV4_HEADER;

    copy_headers(&error, data);
    quote_place(data, &plan);
    write_inner(data + plan.placed, &error, plan.kept);
    checksum = write_icmp(data + icmp, plan.end - icmp, &error, &plan);
    write_outer(data + outer, plan.end - outer, &error, checksum);
    packet->offset += outer;
    packet->length = plan.end - outer;
    return VERDICT_TRANSLATED_6TO4;
}
