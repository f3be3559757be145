/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ICMPv4 errors to ICMPv6 (RFC 7915 sections 4.2 and 4.3).
 *
 * Two IP headers grow, so everything in front of the quoted transport header moves away from it, into the
 * headroom:
 *
 *     before           | IPv4 | ICMPv4 | quoted IPv4 | quoted transport header, data |
 *     after     | IPv6 | ICMPv6 |  quoted IPv6  | (fr.) | quoted transport header, data |
 *
 * All headers are read before the first is written. A packet that was quoted as a fragment gets the fragment
 * header that RFC 7915 section 4.1 gives it; the message itself is never a fragment. What
 * exceeds 1280 bytes is cut off, since that is as long as an ICMPv6 error may be (RFC 4443 section 2.4 (c)).
 */
#include "engine/icmp_map.h"
#include "engine/icmp_quote.h"
#include "engine/paths.h"

/* The message taken apart: what it is to become, and copies of all headers that are about to be overwritten.
 */
struct error {
    const struct description *description, *quoted;
    const struct error_endpoints6 *endpoints;
    const struct translation_settings *settings;
    struct ipv4_header outer, inner;
    struct icmp_header icmp; /* the new one */
};

/* rfc: 5508-REQ3-a */
static bool checksum_right(const uint8_t *data, const struct description *description)
{
    uint64_t sum = checksum_add_bytes(0, data + description->transport, description->transport_length);
    return checksum_fold(sum) == 0xffff;
}

/* All reasons but one not to translate the message; makes the new ICMP header on the way. */
static enum verdict judge(const uint8_t *data, struct error *error)
{
    const struct description *quoted = error->quoted;
    const struct ipv4_header *inner =
        (const struct ipv4_header *)(data + error->description->transport + ICMP_HEADER);
    struct icmp_mtu about = {.mtu6 = path_mtu6(error->settings, &error->endpoints->to.destination),
                             .mtu4 = path_mtu4(error->settings, inner->destination),
                             .quoted_length = quoted->transport + quoted->transport_length};

    if (((const struct ipv4_header *)data)->ttl <= 1)
        return VERDICT_HOP_LIMIT;
    if (error->description->fragmented)
        return VERDICT_ICMP_FRAGMENT;
    if (!checksum_right(data, error->description))
        return VERDICT_ICMP_CHECKSUM;
    if (!quote_translatable(error->description, quoted))
        return VERDICT_ICMP_INNER;
    if (!icmp_error_4to6((const struct icmp_header *)(data + error->description->transport), &about,
                         &error->icmp))
        return VERDICT_ICMP_TYPE;
    return VERDICT_COUNT;
}

/*
 * Of the new message, only Destination Unreachable and Time Exceeded may have extensions (RFC 4884
 * section 4.6).
 * rfc: 4884-4.6-a
 */
static uint32_t attribute_unit(const struct icmp_header *icmp)
{
    return icmp->type == ICMPV6_UNREACHABLE || icmp->type == ICMPV6_TIME_EXCEEDED ? 8 : 0;
}

/* rfc: 5508-REQ3-e */
static struct quote_plan plan_quote(const uint8_t *data, const struct error *error)
{
    const struct description *description = error->description;
    const struct icmp_header *icmp = (const struct icmp_header *)(data + description->transport);
    struct quote_shape shape = {
        .start = description->transport + ICMP_HEADER,
        .available = description->transport_length - ICMP_HEADER,
        .field = icmp->rest[1] * 4u, /* in all three types that are translated */
        .old_header = error->quoted->transport,
        .new_header = header_length_4to6(error->quoted),
        .unit = attribute_unit(&error->icmp),
        .room = ICMPV6_ERROR_LENGTH - IPV6_HEADER - ICMP_HEADER,
    };
    return quote_plan(&shape);
}

/*
 * The packet in error; `at` is where its transport header now is.
 * rfc: 7915-4.2-b, 7915-4.3-a, 5508-REQ3-d
 */
static void write_inner(uint8_t *at, const struct error *error, uint32_t kept)
{
    const struct description *quoted = error->quoted;
    const struct ipv4_header *old = &error->inner;
    const struct endpoints6 *to = &error->endpoints->quoted_to;
    struct header_4to6 header = {.old = old,
                                 .settings = error->settings,
                                 .to = to,
                                 .length = quoted->transport_length,
                                 .protocol =
                                     quoted->protocol == PROTOCOL_ICMPV4 ? PROTOCOL_ICMPV6 : quoted->protocol,
                                 .hops = HOPS_QUOTED,
                                 .fragmented = quoted->fragmented};
    struct transport_change change = {
        .gone = (uint64_t)old->source + old->destination,
        .came = checksum_add_address(checksum_add_address(0, &to->source), &to->destination),
        .source_port = to->source_port,
        .destination_port = to->destination_port,
    };

    if (quoted->kind == PACKET_ICMP_QUERY) {
        change.gone = 0;
        change.came += checksum_pseudo_tail(quoted->transport_length, PROTOCOL_ICMPV6);
        icmp_query_update(at, &change, icmp_query_4to6(quoted->icmp_type));
    } else {
        quote_update_ports(at, quoted, kept, &change);
    }
    translate_header_4to6(at - header_length_4to6(quoted), &header);
}

/*
 * The ICMPv6 header in front of `length` - 8 bytes that are already in place.
 * rfc: 4884-4-a, 4884-4-b
 */
static void write_icmp(uint8_t *at, uint32_t length, const struct error *error, const struct quote_plan *plan)
{
    const struct endpoints6 *to = &error->endpoints->to;
    struct icmp_header icmp = error->icmp;
    uint64_t sum = checksum_pseudo_tail(length, PROTOCOL_ICMPV6);

    if (plan->attribute != 0)
        icmp.rest[0] = (uint8_t)plan->attribute;
    memcpy(at, &icmp, sizeof(icmp));
    sum = checksum_add_address(checksum_add_address(sum, &to->source), &to->destination);
    icmp.checksum = (be16)~checksum_fold(checksum_add_bytes(sum, at, length));
    memcpy(at, &icmp, sizeof(icmp));
}

/* rfc: 7915-4.3-b */
static void write_outer(uint8_t *at, uint32_t payload, const struct error *error)
{
    struct header_4to6 header = {.old = &error->outer,
                                 .settings = error->settings,
                                 .to = &error->endpoints->to,
                                 .length = payload,
                                 .protocol = PROTOCOL_ICMPV6,
                                 .hops = HOPS_FORWARDED};
    translate_header_4to6(at, &header);
}

/* rfc: 5382-REQ9-a, 5508-REQ10-b */
enum verdict translate_error_4to6(struct packet *packet, const struct description *description,
                                  const struct description *quoted, const struct error_endpoints6 *endpoints,
                                  const struct translation_settings *settings)
{
    uint8_t *data = packet_data(packet);
    struct error error = {
        .description = description, .quoted = quoted, .endpoints = endpoints, .settings = settings};
    enum verdict verdict = judge(data, &error);
    struct quote_plan plan;
    uint32_t headers;
    uint8_t *icmp;

    if (verdict != VERDICT_COUNT)
        return verdict;
    plan = plan_quote(data, &error);
    headers = IPV6_HEADER + ICMP_HEADER + header_length_4to6(quoted);
    if (packet->offset + plan.placed < headers)
        return VERDICT_NO_ROOM;

    error.outer = *(const struct ipv4_header *)data;
    error.inner = *(const struct ipv4_header *)(data + description->transport + ICMP_HEADER);
    quote_place(data, &plan);
    write_inner(data + plan.placed, &error, plan.kept);
    icmp = data + plan.placed - (headers - IPV6_HEADER);
    packet->offset = packet->offset + plan.placed - headers;
    packet->length = plan.end - plan.placed + headers;
    write_icmp(icmp, packet->length - IPV6_HEADER, &error, &plan);
    write_outer(icmp - IPV6_HEADER, packet->length - IPV6_HEADER, &error);
    return VERDICT_TRANSLATED_4TO6;
}
