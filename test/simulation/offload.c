/* SPDX-License-Identifier: BSD-2-Clause */
#include "test/simulation/offload.h"

#include "test/engine/packets.h"
#include "test/simulation/ip.h"

enum {
    TCP_HEADER = 20,
    JOINED_MOST = 40000, /* bytes of a super-packet */
    PUSH = 0x08,
    ACK = 0x10,
};

/* A TCP segment with data and nothing special. */
static bool is_plain(const struct ip *ip)
{
    return ip->protocol == IP_TCP && !ip->fragmented && ip->options == 0 && ip->length > TCP_HEADER &&
           ip->payload[12] == 0x50 && (ip->payload[13] & ~PUSH) == ACK && (ip->source.version == 6 || ip->df);
}

static void set_length(uint8_t *bytes, uint32_t length)
{
    if (bytes[0] >> 4 == 6) {
        put(bytes + 4, 2, length - 40);
    } else {
        put(bytes + 2, 2, length);
        seal_ipv4(bytes);
    }
}

/* Leaves of the checksum what a card would add to: the sum of the pseudo-header. */
static void make_partial(struct packet *packet, const struct ip *ip)
{
    uint32_t start = packet->length - ip->length;
    if (ip->protocol != IP_TCP && (ip->protocol != IP_UDP || be(ip->payload + 6, 2) == 0))
        return;
    packet->offload.flags |= OFFLOAD_PARTIAL;
    packet->offload.checksum_start = (uint16_t)start;
    packet->offload.checksum_offset = (uint16_t)checksum_position(ip->protocol);
    put(packet_data(packet) + start + checksum_position(ip->protocol), 2, ip_pseudo_sum(ip, ip->length));
}

/* Does `next` go on where `last` ends, in the same connection, and with the same header? */
static bool goes_on(const struct packet *last, const struct ip *was, const struct ip *is)
{
    uint32_t data = was->length - TCP_HEADER, size = last->offload.gso_size;
    if (!is_plain(was) || !is_plain(is) || was->length + is->length > JOINED_MOST || was->tos != is->tos ||
        was->hops != is->hops || !address_equal(&was->source, &is->source) ||
        !address_equal(&was->destination, &is->destination))
        return false;
    if (size == 0 ? is->length - TCP_HEADER > data : data % size != 0 || is->length - TCP_HEADER > size)
        return false;
    return memcmp(was->payload, is->payload, 4) == 0 && memcmp(was->payload + 8, is->payload + 8, 6) == 0 &&
           be(was->payload + 4, 4) + data == be(is->payload + 4, 4);
}

static bool join(struct packet *last, const struct packet *packet)
{
    struct ip was, is;
    uint8_t *bytes = packet_data(last);
    if (ip_read(&was, bytes, last->length, false) != NULL ||
        ip_read(&is, packet_data(packet), packet->length, false) != NULL || !goes_on(last, &was, &is))
        return false;
    if (last->offload.gso_size == 0) {
        last->offload.gso_size = (uint16_t)(was.length - TCP_HEADER);
        last->offload.gso_type = was.source.version == 6 ? OFFLOAD_GSO_TCPV6 : OFFLOAD_GSO_TCPV4;
        last->offload.header_length = (uint16_t)(last->length - was.length + TCP_HEADER);
    }
    memcpy(bytes + last->length, is.payload + TCP_HEADER, is.length - TCP_HEADER);
    last->length += is.length - TCP_HEADER;
    set_length(bytes, last->length);
    if (ip_read(&was, bytes, last->length, false) == NULL)
        make_partial(last, &was);
    return true;
}

void offload_add(struct offload_burst *burst, const struct packet *packet, unsigned number)
{
    struct ip ip;
    if (burst->offloads && burst->count > 0 && join(&burst->packets[burst->count - 1], packet))
        return;
    struct packet *added = &burst->packets[burst->count];
    *added = *packet;
    burst->first[burst->count++] = number;
    if (burst->offloads && ip_read(&ip, packet_data(added), added->length, false) == NULL && !ip.fragmented)
        make_partial(added, &ip);
}

/* --- and back ----------------------------------------------------------------------------------- */

static void complete(uint8_t *bytes, uint32_t length, const struct offload *offload)
{
    struct ip ip;
    uint8_t *at = bytes + offload->checksum_start + offload->checksum_offset;
    uint16_t sum = words(0, bytes + offload->checksum_start, length - offload->checksum_start);
    put(at, 2, (uint16_t)~sum);
    if (ip_read(&ip, bytes, length, false) == NULL && ip.protocol == IP_UDP && be(at, 2) == 0)
        put(at, 2, 0xffff);
}

void offload_undo(const struct packet *packet,
                  void (*send)(void *context, const uint8_t *bytes, uint32_t length), void *context)
{
    const struct offload *offload = &packet->offload;
    uint8_t bytes[IP_LONGEST + 64];
    struct ip ip;
    memcpy(bytes, packet_data(packet), packet->length);
    if (offload->gso_size == 0 || ip_read(&ip, packet_data(packet), packet->length, false) != NULL) {
        if ((offload->flags & OFFLOAD_PARTIAL) != 0)
            complete(bytes, packet->length, offload);
        send(context, bytes, packet->length);
        return;
    }
    uint32_t headers = packet->length - ip.length + TCP_HEADER, data = ip.length - TCP_HEADER, part;
    for (uint32_t done = 0, number = 0; done < data; done += part, number++) {
        struct offload rest = *offload;
        part = data - done < offload->gso_size ? data - done : offload->gso_size;
        memcpy(bytes, packet_data(packet), headers);
        memcpy(bytes + headers, packet_data(packet) + headers + done, part);
        put(bytes + headers - TCP_HEADER + 4, 4, be(ip.payload + 4, 4) + done);
        if (bytes[0] >> 4 == 4)
            put(bytes + 4, 2, (ip.identification + number) & 0xffff);
        set_length(bytes, headers + part);
        /* The field holds the sum of the pseudo-header for the whole length. */
        uint32_t sum = be(bytes + offload->checksum_start + offload->checksum_offset, 2);
        sum += 0xffffu - (TCP_HEADER + data) % 0xffff + TCP_HEADER + part;
        while (sum > 0xffff)
            sum = (sum & 0xffff) + (sum >> 16);
        put(bytes + rest.checksum_start + rest.checksum_offset, 2, sum);
        complete(bytes, headers + part, &rest);
        send(context, bytes, headers + part);
    }
}
