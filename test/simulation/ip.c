/* SPDX-License-Identifier: BSD-2-Clause */
#include "test/simulation/ip.h"

#include "test/engine/packets.h"

enum {
    HEADER4 = 20,
    HEADER6 = 40,
    FRAGMENT_HEADER = 8,
    NO_OPERATION = 1,
    PAD_N = 1,
};

bool address_equal(const struct address *a, const struct address *b)
{
    return a->version == b->version && memcmp(a->bytes, b->bytes, a->version == 4 ? 4 : 16) == 0;
}

struct address address_of4(uint32_t ipv4)
{
    struct address address = {.version = 4};
    put(address.bytes, 4, ipv4);
    return address;
}

struct address address_of6(const uint8_t bytes[16])
{
    struct address address = {.version = 6};
    memcpy(address.bytes, bytes, 16);
    return address;
}

uint32_t address_number(const struct address *address)
{
    return be(address->bytes + (address->version == 4 ? 0 : 12), 4);
}

struct address address_embed(const struct address *prefix, const struct address *ipv4)
{
    struct address address = *prefix;
    memcpy(address.bytes + 12, ipv4->bytes, 4);
    return address;
}

/* --- reading ------------------------------------------------------------------------------------ */

static const char *read4(struct ip *ip, const uint8_t *bytes, uint32_t length, bool quoted)
{
    uint32_t header = (bytes[0] & 15u) * 4, all = be(bytes + 2, 2);
    if (length < HEADER4 || header < HEADER4 || length < header || all < header)
        return "a header that is too short";
    if (all != length && !(quoted && all > length))
        return "a total length that is not the packet's";
    if (!quoted && words(0, bytes, header) != 0xffff)
        return "a wrong header checksum";
    ip->tos = bytes[1];
    ip->identification = be(bytes + 4, 2);
    ip->df = (bytes[6] & 0x40) != 0;
    ip->more = (bytes[6] & 0x20) != 0;
    ip->offset = (be(bytes + 6, 2) & 0x1fff) * 8;
    ip->fragmented = ip->more || ip->offset != 0;
    ip->hops = bytes[8];
    ip->protocol = bytes[9];
    ip->source = address_of4(be(bytes + 12, 4));
    ip->destination = address_of4(be(bytes + 16, 4));
    ip->options = (uint8_t)(header - HEADER4);
    ip->payload = bytes + header;
    ip->length = length - header;
    ip->stated = all - header;
    return (bytes[6] & 0x80) != 0 ? "a reserved flag" : NULL;
}

static const char *read_fragment_header(struct ip *ip)
{
    if (ip->length < FRAGMENT_HEADER)
        return "a fragment header that is cut off";
    ip->fragmented = true;
    ip->protocol = ip->payload[0];
    ip->offset = be(ip->payload + 2, 2) & 0xfff8;
    ip->more = (ip->payload[3] & 1) != 0;
    ip->identification = be(ip->payload + 4, 4);
    if (ip->payload[1] != 0 || (ip->payload[3] & 6) != 0)
        return "reserved bits in a fragment header";
    ip->payload += FRAGMENT_HEADER;
    ip->length -= FRAGMENT_HEADER;
    ip->stated -= FRAGMENT_HEADER;
    return ip->more && ip->stated % 8 != 0 ? "a fragment of an impossible length" : NULL;
}

static const char *read6(struct ip *ip, const uint8_t *bytes, uint32_t length, bool quoted)
{
    if (length < HEADER6)
        return "a header that is too short";
    ip->stated = be(bytes + 4, 2);
    ip->length = length - HEADER6;
    if (ip->stated != ip->length && !(quoted && ip->stated > ip->length))
        return "a payload length that is not the packet's";
    ip->tos = (uint8_t)(be(bytes, 2) >> 4);
    ip->label = be(bytes, 4) & 0xfffff;
    ip->protocol = bytes[6];
    ip->hops = bytes[7];
    ip->source = address_of6(bytes + 8);
    ip->destination = address_of6(bytes + 24);
    ip->payload = bytes + HEADER6;
    if (ip->protocol == IP_DESTINATION_OPTIONS && ip->length >= 8) {
        ip->options = (uint8_t)(ip->payload[1] * 8 + 8);
        if (ip->length < ip->options)
            return "options that are cut off";
        ip->protocol = ip->payload[0];
        ip->payload += ip->options;
        ip->length -= ip->options;
        ip->stated -= ip->options;
    }
    return ip->protocol == IP_FRAGMENT ? read_fragment_header(ip) : NULL;
}

const char *ip_read(struct ip *ip, const uint8_t *bytes, uint32_t length, bool quoted)
{
    *ip = (struct ip){0};
    if (length < HEADER4)
        return "no IP header";
    if (bytes[0] >> 4 == 4)
        return read4(ip, bytes, length, quoted);
    return bytes[0] >> 4 == 6 ? read6(ip, bytes, length, quoted) : "another version";
}

/* --- writing ------------------------------------------------------------------------------------ */

uint32_t ip_length(const struct ip *ip)
{
    uint32_t fragment = ip->source.version == 6 && ip->fragmented ? FRAGMENT_HEADER : 0;
    return (ip->source.version == 6 ? HEADER6 : HEADER4) + (uint32_t)ip->options + fragment + ip->length;
}

static uint8_t *write4(const struct ip *ip, uint8_t *bytes)
{
    bytes[0] = (uint8_t)(0x40 + (HEADER4 + ip->options) / 4);
    bytes[1] = ip->tos;
    put(bytes + 2, 2, ip_length(ip));
    put(bytes + 4, 2, ip->identification);
    put(bytes + 6, 2, (ip->df ? 0x4000u : 0) | (ip->more ? 0x2000u : 0) | ip->offset / 8);
    bytes[8] = ip->hops;
    bytes[9] = ip->protocol;
    memcpy(bytes + 12, ip->source.bytes, 4);
    memcpy(bytes + 16, ip->destination.bytes, 4);
    memset(bytes + HEADER4, NO_OPERATION, ip->options);
    seal_ipv4(bytes);
    return bytes + HEADER4 + ip->options;
}

static uint8_t *write6(const struct ip *ip, uint8_t *bytes)
{
    uint8_t *next = bytes + 6, *at = bytes + HEADER6;
    put(bytes, 4, 0x60000000u | (uint32_t)ip->tos << 20 | ip->label);
    put(bytes + 4, 2, ip_length(ip) - HEADER6);
    bytes[7] = ip->hops;
    memcpy(bytes + 8, ip->source.bytes, 16);
    memcpy(bytes + 24, ip->destination.bytes, 16);
    if (ip->options != 0) {
        *next = IP_DESTINATION_OPTIONS;
        memset(at, 0, ip->options);
        at[1] = (uint8_t)(ip->options / 8 - 1);
        at[2] = PAD_N;
        at[3] = (uint8_t)(ip->options - 4);
        next = at;
        at += ip->options;
    }
    if (ip->fragmented) {
        *next = IP_FRAGMENT;
        put(at, 2, 0);
        put(at + 2, 2, ip->offset | ip->more);
        put(at + 4, 4, ip->identification);
        next = at;
        at += FRAGMENT_HEADER;
    }
    *next = ip->protocol;
    return at;
}

uint32_t ip_write(const struct ip *ip, uint8_t *bytes)
{
    uint8_t *at = ip->source.version == 4 ? write4(ip, bytes) : write6(ip, bytes);
    memcpy(at, ip->payload, ip->length);
    return ip_length(ip);
}

/* --- sums --------------------------------------------------------------------------------------- */

uint16_t ip_pseudo_sum(const struct ip *ip, uint32_t length)
{
    uint8_t tail[8];
    uint32_t bytes = ip->source.version == 4 ? 4 : 16;
    if (ip->protocol == IP_ICMPV4)
        return 0;
    put(tail, 4, length);
    put(tail + 4, 4, ip->protocol);
    return words(words(words(0, tail, 8), ip->source.bytes, bytes), ip->destination.bytes, bytes);
}

uint16_t ip_sum(const struct ip *ip)
{
    return words(ip_pseudo_sum(ip, ip->length), ip->payload, ip->length);
}

void ip_seal(const struct ip *ip, uint8_t *payload)
{
    uint8_t *at = payload + checksum_position(ip->protocol);
    put(at, 2, 0);
    put(at, 2, (uint16_t)~ip_sum(ip));
    if (ip->protocol == IP_UDP && be(at, 2) == 0)
        put(at, 2, 0xffff);
}

/* ------------------------------------------------------------------------------------------------ */

void ip_cut(const struct ip *ip, uint32_t mtu, void (*piece)(void *context, const struct ip *ip),
            void *context)
{
    struct ip part = *ip;
    part.fragmented = true;
    part.length = 0;
    uint32_t room = (mtu - ip_length(&part)) / 8 * 8;
    for (uint32_t done = 0; done < ip->length; done += part.length) {
        part.payload = ip->payload + done;
        part.length = ip->length - done < room ? ip->length - done : room;
        part.stated = part.length;
        part.offset = ip->offset + done;
        part.more = ip->more || done + part.length < ip->length;
        piece(context, &part);
    }
}
