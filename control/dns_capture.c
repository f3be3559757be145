/* SPDX-License-Identifier: BSD-2-Clause */
#include "control/dns_capture.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "wire/checksum.h"
#include "wire/ipv4.h"
#include "wire/transport.h"

enum {
    HOPS = 64, /* what a packet still had is not known */
    PACKET_LENGTH = 65535,

    /* Notes of a record */
    NOTE_TCP = 1,
    NOTE_CUT = 2,
};

static const char prefix[] = "dns-", class[] = "refused", every[] = "dns";

_Static_assert(DNS64_COUNTER_COUNT <= 64, "reasons are bits of a word");

/* --- packets -------------------------------------------------------------------------------------- */

static bool is_ipv4(const struct sockaddr_in6 *address)
{
    return IN6_IS_ADDR_V4MAPPED(&address->sin6_addr);
}

static be32 ipv4_of(const struct sockaddr_in6 *address)
{
    return load_be32(address->sin6_addr.s6_addr + 12);
}

/* Writes the IP header of a packet with so much behind it; returns the sum of its pseudo-header. */
static uint64_t put_ipv4(struct dns_packet *packet, const struct server_seen *seen, uint32_t payload)
{
    struct ipv4_header header = {.version_ihl = 0x45,
                                 .total_length = to_be16((uint16_t)(sizeof(header) + payload)),
                                 .flags_offset = to_be16(IPV4_DONT_FRAGMENT),
                                 .ttl = HOPS,
                                 .protocol = PROTOCOL_UDP,
                                 .source = ipv4_of(seen->from),
                                 .destination = ipv4_of(seen->to)};
    header.checksum = (be16)~checksum_fold(checksum_add_bytes(0, &header, sizeof(header)));
    memcpy(packet->head, &header, sizeof(header));
    return checksum_pseudo_tail(payload, PROTOCOL_UDP) + header.source + header.destination;
}

static uint64_t put_ipv6(struct dns_packet *packet, const struct server_seen *seen, uint32_t payload)
{
    struct ipv6_header header = {.version_class_label = ipv6_first_word(0),
                                 .payload_length = to_be16((uint16_t)payload),
                                 .next_header = PROTOCOL_UDP,
                                 .hop_limit = HOPS};
    memcpy(header.source.bytes, seen->from->sin6_addr.s6_addr, sizeof(header.source.bytes));
    memcpy(header.destination.bytes, seen->to->sin6_addr.s6_addr, sizeof(header.destination.bytes));
    memcpy(packet->head, &header, sizeof(header));
    uint64_t sum = checksum_pseudo_tail(payload, PROTOCOL_UDP);
    return checksum_add_address(checksum_add_address(sum, &header.source), &header.destination);
}

void dns_packet_make(struct dns_packet *packet, const struct server_seen *seen)
{
    bool ipv4 = is_ipv4(seen->from) && is_ipv4(seen->to);
    uint32_t ip_length = ipv4 ? sizeof(struct ipv4_header) : sizeof(struct ipv6_header);
    size_t room = PACKET_LENGTH - (ipv4 ? ip_length : 0) - sizeof(struct udp_header);
    struct udp_header udp = {.source = seen->from->sin6_port, .destination = seen->to->sin6_port};
    packet->head_length = ip_length + (uint32_t)sizeof(udp);
    packet->body_length = (uint32_t)(seen->size < room ? seen->size : room);
    uint32_t payload = (uint32_t)sizeof(udp) + packet->body_length;
    uint64_t sum = ipv4 ? put_ipv4(packet, seen, payload) : put_ipv6(packet, seen, payload);
    udp.length = to_be16((uint16_t)payload);
    sum = checksum_add_bytes(sum, &udp, sizeof(udp));
    udp.checksum = (be16)~checksum_fold(checksum_add_bytes(sum, seen->bytes, packet->body_length));
    if (udp.checksum == 0)
        udp.checksum = 0xffff; /* 0 says that there is none (RFC 768) */
    memcpy(packet->head + ip_length, &udp, sizeof(udp));
}

void dns_capture_seen(void *engine, const struct server_seen *seen)
{
    struct dns_packet packet;
    struct timespec now;
    if (capture_count(engine) == 0)
        return;
    dns_packet_make(&packet, seen);
    clock_gettime(CLOCK_MONOTONIC, &now);
    const struct capture_message message = {
        .time = (nanoseconds)now.tv_sec * 1000000000 + (nanoseconds)now.tv_nsec,
        .head = packet.head,
        .body = seen->bytes,
        .head_length = packet.head_length,
        .body_length = packet.body_length,
        .guest = seen->worker,
        .reason = (uint8_t)seen->reason,
        .note = (uint8_t)((seen->tcp ? NOTE_TCP : 0) | (packet.body_length < seen->size ? NOTE_CUT : 0)),
    };
    capture_message(engine, &message);
}

/* --- names ---------------------------------------------------------------------------------------- */

uint64_t dns_capture_reasons(const char *name)
{
    bool all = strcmp(name, class) == 0 || strcmp(name, every) == 0;
    bool one = strncmp(name, prefix, strlen(prefix)) == 0;
    uint64_t reasons = 0;
    for (unsigned i = 0; i < DNS64_COUNTER_COUNT; i++) {
        const struct dns64_counter_text *counter = &dns64_counter_texts[i];
        if (strcmp(counter->class, class) == 0 &&
            (all || (one && strcmp(name + strlen(prefix), counter->name) == 0)))
            reasons |= 1ull << i;
    }
    return reasons;
}

void dns_capture_comment(const struct captured *record, char *text, size_t size)
{
    const struct dns64_counter_text *counter = &dns64_counter_texts[record->verdict];
    snprintf(text, size, "%s%s: %s%s%s", prefix, counter->name, counter->sentence,
             record->note & NOTE_TCP ? " It came over TCP; the headers here are made up." : "",
             record->note & NOTE_CUT ? " The end is left off." : "");
}
