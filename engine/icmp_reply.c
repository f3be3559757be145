/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ICMP errors made here. A table says which error a verdict calls for in each family; then come the reasons
 * to keep silent, the same for all; then the message: IP header, ICMP header, and as much of the original as
 * allowed. The original is quoted as it was received, since translators change nothing of what they refuse.
 */
#include "engine/icmp_reply.h"

#include <string.h>

#include "engine/limits.h"
#include "wire/checksum.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"
#include "wire/transport.h"

enum {
    HOP_LIMIT_INITIAL = 64,            /* RFC 1700: what IP packets start with */
    TOS_INTERNETWORK_CONTROL = 6 << 5, /* RFC 1812 section 4.3.2.5: precedence of errors made by a router */
};

/* What the last four bytes of the ICMP header say. */
enum rest {
    REST_UNUSED,
    REST_MTU,     /* the MTU towards the other side, as this side must see it */
    REST_PROBLEM, /* position that the description tells */
};

struct message {
    uint8_t type, code;
    uint8_t rest; /* enum rest */
};

/*
 * Type 0 is no error in either family: none is sent.
 * rfc: 7915-5.1-m, 7915-5.4-a, 7915-5.4-b, 4443-3.1-a
 * rfc: 6146-3.4-p, 6146-3.5.1.1-f, 4787-REQ13-a, 5508-REQ10-b
 */
static const struct message messages6[VERDICT_COUNT] = {
    [VERDICT_HOP_LIMIT] = {ICMPV6_TIME_EXCEEDED, 0, REST_UNUSED},
    [VERDICT_TOO_BIG_IPV6] = {ICMPV6_PACKET_TOO_BIG, 0, REST_MTU},
    [VERDICT_PORTS_EXHAUSTED] = {ICMPV6_UNREACHABLE, ICMPV6_ADDRESS_UNREACHABLE, REST_UNUSED},
    [VERDICT_SUBSCRIBER_FULL] = {ICMPV6_UNREACHABLE, ICMPV6_ADDRESS_UNREACHABLE, REST_UNUSED},
    [VERDICT_TABLE_FULL] = {ICMPV6_UNREACHABLE, ICMPV6_ADDRESS_UNREACHABLE, REST_UNUSED},
    [VERDICT_FRAGMENT_TIMEOUT] = {ICMPV6_TIME_EXCEEDED, ICMP_REASSEMBLY, REST_UNUSED},
    [VERDICT_NON_GLOBAL] = {ICMPV6_UNREACHABLE, ICMPV6_PROHIBITED, REST_UNUSED},
    [VERDICT_PROTOCOL] = {ICMPV6_UNREACHABLE, ICMPV6_PORT_UNREACHABLE, REST_UNUSED},
    [VERDICT_BAD_DESTINATION] = {ICMPV6_UNREACHABLE, ICMPV6_PROHIBITED, REST_UNUSED},
    [VERDICT_EMBEDDED_BITS] = {ICMPV6_UNREACHABLE, ICMPV6_PROHIBITED, REST_UNUSED},
    [VERDICT_UNMAPPED] = {ICMPV6_UNREACHABLE, ICMPV6_PROHIBITED, REST_UNUSED},
    [VERDICT_ROUTING_HEADER] = {ICMPV6_PARAMETER_PROBLEM, ICMPV6_ERRONEOUS_HEADER, REST_PROBLEM},
};

/* rfc: 7915-4.1-o, 7915-4.4-a, 6146-3.4-r, 6146-3.5.1-h, 5508-REQ10-b */
static const struct message messages4[VERDICT_COUNT] = {
    [VERDICT_HOP_LIMIT] = {ICMPV4_TIME_EXCEEDED, 0, REST_UNUSED},
    [VERDICT_TOO_BIG_IPV4] = {ICMPV4_UNREACHABLE, ICMPV4_FRAGMENTATION_NEEDED, REST_MTU},
    [VERDICT_PORTS_EXHAUSTED] = {ICMPV4_UNREACHABLE, ICMPV4_HOST_UNREACHABLE, REST_UNUSED},
    [VERDICT_SUBSCRIBER_FULL] = {ICMPV4_UNREACHABLE, ICMPV4_HOST_UNREACHABLE, REST_UNUSED},
    [VERDICT_TABLE_FULL] = {ICMPV4_UNREACHABLE, ICMPV4_HOST_UNREACHABLE, REST_UNUSED},
    [VERDICT_SYN_STORED] = {ICMPV4_UNREACHABLE, ICMPV4_PORT_UNREACHABLE,
                            REST_UNUSED}, /* when its time is over */
    [VERDICT_FRAGMENT_TIMEOUT] = {ICMPV4_TIME_EXCEEDED, ICMP_REASSEMBLY, REST_UNUSED},
    [VERDICT_FILTERED] = {ICMPV4_UNREACHABLE, ICMPV4_PROHIBITED, REST_UNUSED},
    [VERDICT_NON_GLOBAL] = {ICMPV4_UNREACHABLE, ICMPV4_PROHIBITED, REST_UNUSED},
    [VERDICT_UNMAPPED] = {ICMPV4_UNREACHABLE, ICMPV4_PROHIBITED, REST_UNUSED},
    [VERDICT_ICMP_FRAGMENT] = {ICMPV4_UNREACHABLE, ICMPV4_PROHIBITED, REST_UNUSED},
    [VERDICT_UDP_FRAGMENT] = {ICMPV4_UNREACHABLE, ICMPV4_PROHIBITED, REST_UNUSED},
    [VERDICT_UDP_CHECKSUM_ZERO] = {ICMPV4_UNREACHABLE, ICMPV4_PROHIBITED, REST_UNUSED},
    [VERDICT_PROTOCOL] = {ICMPV4_UNREACHABLE, ICMPV4_PROTOCOL_UNREACHABLE, REST_UNUSED},
    [VERDICT_SOURCE_ROUTE] = {ICMPV4_UNREACHABLE, ICMPV4_SOURCE_ROUTE_FAILED, REST_UNUSED},
};

/*
 * May a packet of this kind be complained about at all? Not an error, nor what might be one.
 * rfc: 4443-2.4-c
 */
static bool may_be_answered(const struct description *description)
{
    return description->kind == PACKET_TCP || description->kind == PACKET_UDP ||
           description->kind == PACKET_ICMP_QUERY || description->kind == PACKET_OTHER;
}

/*
 * The MTU of an IPv4 path, as an IPv6 sender must see it: section 5.1 of RFC 7915.
 * rfc: 4443-3.2-a
 */
static uint32_t mtu_seen_from6(uint32_t mtu4)
{
    return mtu4 + 20 < IPV6_MINIMUM_MTU ? IPV6_MINIMUM_MTU : mtu4 + 20;
}

/*
 * The MTU of an IPv6 path, as an IPv4 sender must see it: a fragment gets a header more.
 * rfc: 7915-4.1-c
 */
static uint16_t mtu_seen_from4(uint32_t mtu6, bool fragment)
{
    uint32_t mtu4 = mtu6 - 20 - (fragment ? (uint32_t)sizeof(struct ipv6_fragment_header) : 0);
    return mtu4 > UINT16_MAX ? UINT16_MAX : (uint16_t)mtu4;
}

/* rfc: 4443-3.4-a */
static uint32_t rest6(enum rest rest, const struct description *description,
                      const struct translation_settings *settings)
{
    switch (rest) {
    case REST_MTU:
        return mtu_seen_from6(description->mtu != 0 ? description->mtu : settings->mtu4);
    case REST_PROBLEM:
        return description->problem;
    default:
        return 0;
    }
}

/* Copies the ICMP header and the quotation into place. Returns their sum, which lacks the checksum. */
static uint64_t write_body(uint8_t *at, const struct icmp_header *icmp, const uint8_t *quotation,
                           uint32_t length)
{
    memcpy(at, icmp, sizeof(*icmp));
    memcpy(at + sizeof(*icmp), quotation, length);
    return checksum_add_bytes(0, at, sizeof(*icmp) + length);
}

/*
 * The two families' messages. `icmp` is the header without its checksum. False if the buffer is too small.
 * rfc: 4443-2.3-a, 4443-2.4-b
 */
static bool build6(struct packet *reply, const struct packet *original, const struct ipv6_address *source,
                   const struct icmp_header *icmp)
{
    enum { HEADERS = sizeof(struct ipv6_header) + sizeof(struct icmp_header) };
    const struct ipv6_header *from = (const struct ipv6_header *)packet_data(original);
    uint32_t room = ICMPV6_ERROR_LENGTH - HEADERS;
    uint32_t quoted = original->length < room ? original->length : room;
    uint32_t payload = (uint32_t)sizeof(*icmp) + quoted;
    uint8_t *at = packet_data(reply), *body = at + sizeof(struct ipv6_header);
    struct ipv6_header header = {
        .version_class_label = ipv6_first_word(0),
        .payload_length = to_be16((uint16_t)payload),
        .next_header = PROTOCOL_ICMPV6,
        .hop_limit = HOP_LIMIT_INITIAL,
        .source = *source,
        .destination = from->source,
    };
    uint64_t sum;

    if (reply->capacity < (uint64_t)reply->offset + HEADERS + quoted)
        return false;
    memcpy(at, &header, sizeof(header));
    sum = write_body(body, icmp, packet_data(original), quoted);
    sum = checksum_add_address(checksum_add_address(sum, &header.source), &header.destination);
    sum += checksum_pseudo_tail(payload, PROTOCOL_ICMPV6);
    store_be16(body + offsetof(struct icmp_header, checksum), (be16)~checksum_fold(sum));
    reply->length = HEADERS + quoted;
    return true;
}

/* True for multicast, class E and broadcast destinations, to which no error may answer. */
static bool ipv4_many(be32 address)
{
    return from_be32(address) >> 28 >= 0xe;
}

/* rfc: 5508-REQ10-f */
static bool build4(struct packet *reply, const struct packet *original, be32 source,
                   const struct icmp_header *icmp)
{
    enum { HEADERS = sizeof(struct ipv4_header) + sizeof(struct icmp_header) };
    const struct ipv4_header *from = (const struct ipv4_header *)packet_data(original);
    uint32_t room = ICMPV4_ERROR_LENGTH - HEADERS;
    uint32_t quoted = original->length < room ? original->length : room;
    uint8_t *at = packet_data(reply), *body = at + sizeof(struct ipv4_header);
    struct ipv4_header header = {
        .version_ihl = 0x45,
        .tos = TOS_INTERNETWORK_CONTROL,
        .total_length = to_be16((uint16_t)(HEADERS + quoted)),
        .ttl = HOP_LIMIT_INITIAL,
        .protocol = PROTOCOL_ICMPV4,
        .source = source,
        .destination = from->source,
    };
    be16 checksum;

    if (reply->capacity < (uint64_t)reply->offset + HEADERS + quoted)
        return false;
    checksum = (be16)~checksum_fold(write_body(body, icmp, packet_data(original), quoted));
    store_be16(body + offsetof(struct icmp_header, checksum), checksum);
    /* Fragments of two messages could only be confused if the messages are alike. */
    header.identification = checksum;
    header.checksum = (be16)~checksum_fold(checksum_add_bytes(0, &header, sizeof(header)));
    memcpy(at, &header, sizeof(header));
    reply->length = HEADERS + quoted;
    return true;
}

/*
 * A SYN from outside gets no answer at once, lest it end a simultaneous open (RFC 5382 REQ-4). When its time
 * is over, why is SYN_STORED.
 * rfc: 5382-REQ4-a
 */
static bool must_wait(const struct description *description, enum verdict why)
{
    const uint8_t opening = TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN;
    return description->version == 4 && description->kind == PACKET_TCP &&
           (description->tcp_flags & opening) == TCP_SYN &&
           (why == VERDICT_TABLE_FULL || why == VERDICT_SUBSCRIBER_FULL || why == VERDICT_FILTERED);
}

/* rfc: 4443-2.4-d, 4443-2.4-e, 5508-REQ10-g */
bool icmp_reply_due(const struct packet *original, const struct description *description, enum verdict why)
{
    const struct message *message = description->version == 6 ? &messages6[why] : &messages4[why];
    if (message->type == 0 || !may_be_answered(description) || must_wait(description, why))
        return false;
    if (description->version == 6) {
        const struct ipv6_header *header = (const struct ipv6_header *)packet_data(original);
        return !ipv6_illegal_source(&header->source) && !ipv6_is_multicast(&header->destination);
    }
    const struct ipv4_header *header = (const struct ipv4_header *)packet_data(original);
    return !ipv4_illegal_source(header->source) && !ipv4_many(header->destination);
}

bool icmp_reply_build(struct packet *reply, const struct packet *original,
                      const struct description *description, enum verdict why,
                      const struct icmp_sources *sources, const struct translation_settings *settings)
{
    static const struct ipv6_address none;
    const struct message *message = description->version == 6 ? &messages6[why] : &messages4[why];
    struct icmp_header icmp = {.type = message->type, .code = message->code};

    if (!icmp_reply_due(original, description, why))
        return false;
    reply->offload = (struct offload){0};
    if (description->version == 6) {
        store_be32(icmp.rest, to_be32(rest6(message->rest, description, settings)));
        return !ipv6_equal(&sources->address6, &none) && build6(reply, original, &sources->address6, &icmp);
    }
    if (message->rest == REST_MTU) {
        uint32_t mtu6 = description->mtu != 0 ? description->mtu : settings->mtu6;
        store_be16(icmp.rest + 2, to_be16(mtu_seen_from4(mtu6, description->fragmented)));
    }
    return sources->address4 != 0 && build4(reply, original, sources->address4, &icmp);
}
