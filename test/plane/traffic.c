/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A packet is drafted (who to whom, about what), written, and then perhaps damaged. Lengths and checksums are
 * filled in from the draft before the damage, that of the IPv4 header mostly again after it: without that few
 * packets would get any further.
 */
#include "test/plane/traffic.h"

#include <string.h>

#include "test/fuzz/engine_fuzz.h"
#include "wire/ipv4.h"
#include "wire/transport.h"

/* What a packet is to be. Addresses of IPv4 are the first 4 bytes. */
struct draft {
    bool six;
    uint8_t protocol, hops, class;
    uint8_t kind; /* flags of TCP, type of ICMP */
    uint16_t flags_offset, identification;
    uint8_t source[16], destination[16];
    uint16_t source_port, destination_port; /* or identifier */
    uint32_t payload;
};

/* Bytes as they are written. */
struct writing {
    uint8_t *bytes;
    uint32_t length, transport;
};

uint32_t traffic_pick(struct traffic_source *traffic, uint32_t limit)
{
    return (uint32_t)(random_next(&traffic->random) >> 32) % limit;
}

static bool once_in(struct traffic_source *traffic, uint32_t times)
{
    return traffic_pick(traffic, times) == 0;
}

/* --- who to whom ---------------------------------------------------------------------------------- */

static void choose_client(struct traffic_source *traffic, uint8_t address[16])
{
    static const uint8_t start[4] = {0x20, 0x01, 0x0d, 0xb8};
    memset(address, 0, 16);
    memcpy(address, start, 4);
    address[7] = (uint8_t)traffic_pick(traffic, 3);
    address[15] = (uint8_t)(1 + traffic_pick(traffic, 4));
    if (once_in(traffic, 40))
        address[0] = (uint8_t)(once_in(traffic, 2) ? 0xff : 0);
    if (once_in(traffic, 40))
        memcpy(address, (const uint8_t[]){0xfe, 0x80}, 2);
}

static void choose_remote(struct traffic_source *traffic, uint8_t address[4])
{
    static const uint8_t odd[][4] = {{127, 0, 0, 1},   {224, 0, 0, 1}, {10, 0, 0, 1},
                                     {169, 254, 1, 1}, {240, 0, 0, 1}, {0, 0, 0, 0}};
    const uint8_t remote[4] = {203, 0, 113, (uint8_t)(1 + traffic_pick(traffic, 3))};
    const uint8_t global[4] = {8, 8, 8, (uint8_t)(8 + traffic_pick(traffic, 2))};
    memcpy(address, once_in(traffic, 3) ? global : remote, 4);
    if (once_in(traffic, 25))
        memcpy(address, odd[traffic_pick(traffic, 6)], 4);
}

static void choose_pool(struct traffic_source *traffic, uint8_t address[4])
{
    const uint8_t other[4] = {192, 0, 2, (uint8_t)traffic_pick(traffic, 24)};
    memcpy(address, &traffic->pool[traffic_pick(traffic, traffic->pool_addresses)], 4);
    if (once_in(traffic, 16))
        memcpy(address, other, 4);
}

/* The remote behind a prefix, or at times behind none. */
static void embed(struct traffic_source *traffic, const uint8_t ipv4[4], uint8_t address[16])
{
    be32 remote;
    memcpy(&remote, ipv4, 4);
    uint32_t prefix = once_in(traffic, 4) ? traffic_pick(traffic, traffic->prefixes) : 0;
    struct ipv6_address embedded = rfc6052_embed(&traffic->prefix[prefix], remote);
    if (once_in(traffic, 50))
        embedded.bytes[traffic_pick(traffic, 16)] ^= 1;
    memcpy(address, embedded.bytes, 16);
}

static uint16_t choose_port(struct traffic_source *traffic, bool near)
{
    if (once_in(traffic, 30))
        return (uint16_t)traffic_pick(traffic, 65536);
    if (once_in(traffic, 8))
        return (uint16_t)(1000 + traffic_pick(traffic, 101)); /* most pool ports are these */
    return (uint16_t)(near ? (once_in(traffic, 4) ? 500 : 39998) + traffic_pick(traffic, 8)
                           : 50 + traffic_pick(traffic, 4));
}

static void choose_protocol(struct traffic_source *traffic, struct draft *draft)
{
    uint8_t icmp = draft->six ? PROTOCOL_ICMPV6 : PROTOCOL_ICMPV4;
    const uint8_t protocols[4] = {PROTOCOL_TCP, PROTOCOL_TCP, PROTOCOL_UDP, icmp};
    if (draft->protocol == 0)
        draft->protocol = protocols[traffic_pick(traffic, 4)];
    if (once_in(traffic, 50))
        draft->protocol = (uint8_t)traffic_pick(traffic, 140);
}

/* From anywhere, or from where somebody has called before. */
static void choose_caller(struct traffic_source *traffic, struct draft *draft)
{
    if (traffic->calls > 0 && once_in(traffic, 3)) {
        uint32_t which =
            traffic_pick(traffic, traffic->calls < TRAFFIC_CALLS ? traffic->calls : TRAFFIC_CALLS);
        memcpy(draft->source, traffic->call[which].client, 16);
        draft->source_port = traffic->call[which].port;
        draft->protocol = traffic->call[which].protocol;
        return;
    }
    choose_client(traffic, draft->source);
    draft->source_port = choose_port(traffic, true);
    choose_protocol(traffic, draft);
    struct traffic_call *call = &traffic->call[traffic->calls++ % TRAFFIC_CALLS];
    memcpy(call->client, draft->source, 16);
    call->port = draft->source_port;
    call->protocol = draft->protocol;
}

static void draft_from_client(struct traffic_source *traffic, struct draft *draft)
{
    uint8_t remote[4];
    draft->six = true;
    choose_caller(traffic, draft);
    choose_remote(traffic, remote);
    draft->destination_port = choose_port(traffic, false);
    if (once_in(traffic, 6)) {
        memcpy(remote, traffic->stranger, 4);
        draft->destination_port = traffic->stranger_port;
    } else if (once_in(traffic, 12)) {
        choose_pool(traffic, remote); /* of another client, or of this one */
    }
    embed(traffic, remote, draft->destination);
    if (once_in(traffic, 60))
        embed(traffic, remote, draft->source);
}

static void draft_from_stranger(struct traffic_source *traffic, struct draft *draft)
{
    draft->six = false;
    choose_remote(traffic, draft->source);
    choose_pool(traffic, draft->destination);
    draft->source_port = choose_port(traffic, false);
    draft->destination_port = once_in(traffic, 6) ? 4000 : choose_port(traffic, true);
}

static uint16_t number_at(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

/* The other way round than a packet that was sent on, perhaps from another port or somebody else. */
static void draft_answer(struct traffic_source *traffic, const uint8_t *note, struct draft *draft)
{
    bool six = note[0] >> 4 == 6;
    const uint8_t *addresses = note + (six ? 8 : 12), *transport = note + (six ? 40 : 20);
    uint32_t size = six ? 16 : 4;
    draft->six = six;
    draft->protocol = note[six ? 6 : 9];
    memcpy(draft->source, addresses + size, size);
    memcpy(draft->destination, addresses, size);
    if (draft->protocol == PROTOCOL_ICMPV4 || draft->protocol == PROTOCOL_ICMPV6) {
        draft->source_port = draft->destination_port = number_at(transport + 4);
    } else {
        draft->source_port = number_at(transport + 2);
        draft->destination_port = number_at(transport);
    }
    if (once_in(traffic, 10))
        draft->source_port = choose_port(traffic, six);
    if (once_in(traffic, 10) && !six) {
        choose_remote(traffic, draft->source);
        memcpy(traffic->stranger, draft->source, 4);
        traffic->stranger_port = draft->source_port;
    }
}

/* --- about what ----------------------------------------------------------------------------------- */

static void choose_kind(struct traffic_source *traffic, struct draft *draft)
{
    static const uint8_t flags[] = {TCP_SYN,           TCP_SYN,           TCP_SYN | TCP_ACK, TCP_ACK,
                                    TCP_ACK | TCP_FIN, TCP_RST,           TCP_RST | TCP_ACK, TCP_FIN,
                                    TCP_ACK | TCP_PSH, TCP_SYN | TCP_FIN, TCP_SYN | TCP_RST, 0};
    uint8_t request = draft->six ? 128 : 8, reply = draft->six ? 129 : 0;
    if (draft->protocol == PROTOCOL_TCP)
        draft->kind = flags[traffic_pick(traffic, sizeof(flags))];
    else
        draft->kind = once_in(traffic, 3) ? reply : request;
    if (once_in(traffic, 40))
        draft->kind = (uint8_t)traffic_pick(traffic, 256);
}

static uint32_t choose_payload(struct traffic_source *traffic)
{
    if (once_in(traffic, 12)) /* near what is too big for somebody */
        return 1200 + traffic_pick(traffic, 330);
    return once_in(traffic, 40) ? traffic_pick(traffic, 3300) : traffic_pick(traffic, 60);
}

static void choose_header(struct traffic_source *traffic, struct draft *draft)
{
    draft->hops = (uint8_t)(once_in(traffic, 20) ? traffic_pick(traffic, 3) : 64);
    draft->class = (uint8_t)(once_in(traffic, 3) ? traffic_pick(traffic, 256) : 0);
    draft->identification = (uint16_t)traffic_pick(traffic, 65536);
    draft->flags_offset = once_in(traffic, 2) ? IPV4_DONT_FRAGMENT : 0;
    if (once_in(traffic, 30)) /* a piece of a datagram, all of which have few names */
        draft->flags_offset =
            (uint16_t)((once_in(traffic, 2) ? IPV4_MORE_FRAGMENTS : 0) | traffic_pick(traffic, 3) * 6);
    if ((draft->flags_offset & ~IPV4_DONT_FRAGMENT) != 0)
        draft->identification = (uint16_t)traffic_pick(traffic, 2);
    draft->payload = choose_payload(traffic);
    if (once_in(traffic, 100))
        draft->flags_offset = (uint16_t)traffic_pick(traffic, 65536);
}

/* --- writing -------------------------------------------------------------------------------------- */

static void write_bytes(struct writing *writing, const void *bytes, uint32_t length)
{
    memcpy(writing->bytes + writing->length, bytes, length);
    writing->length += length;
}

static void write_16(struct writing *writing, uint32_t number)
{
    const uint8_t bytes[2] = {(uint8_t)(number >> 8), (uint8_t)number};
    write_bytes(writing, bytes, 2);
}

static void write_noise(struct traffic_source *traffic, struct writing *writing, uint32_t length)
{
    for (uint32_t i = 0; i < length; i++)
        writing->bytes[writing->length++] = (uint8_t)traffic_pick(traffic, 256);
}

/* Extension headers, each of 8 bytes; returns the number of the first. The fragment header is last. */
static uint8_t write_extensions(struct traffic_source *traffic, struct writing *writing,
                                const struct draft *draft)
{
    static const uint8_t headers[] = {PROTOCOL_HOP_BY_HOP, PROTOCOL_ROUTING, PROTOCOL_DESTINATION_OPTIONS,
                                      PROTOCOL_FRAGMENT};
    uint8_t first = draft->protocol;
    bool piece = (draft->flags_offset & ~IPV4_DONT_FRAGMENT) != 0;
    if (!piece && !once_in(traffic, 20))
        return first;
    first = piece ? PROTOCOL_FRAGMENT : headers[traffic_pick(traffic, 4)];
    uint8_t header[8] = {draft->protocol};
    if (first == PROTOCOL_FRAGMENT) {
        uint32_t offset = (uint32_t)(draft->flags_offset & IPV4_OFFSET_MASK) * 8;
        header[2] = (uint8_t)(offset >> 8);
        header[3] = (uint8_t)(offset | ((draft->flags_offset & IPV4_MORE_FRAGMENTS) != 0));
        header[7] = (uint8_t)draft->identification;
    } else if (first == PROTOCOL_ROUTING) {
        header[3] = (uint8_t)once_in(traffic, 2);
    } else {
        header[2] = 1; /* PadN */
        header[3] = 4;
    }
    write_bytes(writing, header, sizeof(header));
    return first;
}

static void write_ip6(struct traffic_source *traffic, struct writing *writing, const struct draft *draft)
{
    const uint8_t front[8] = {(uint8_t)(0x60 | draft->class >> 4),
                              (uint8_t)((uint32_t)draft->class << 4 | traffic_pick(traffic, 16)),
                              (uint8_t)traffic_pick(traffic, 256),
                              0,
                              0,
                              0,
                              0,
                              draft->hops};
    write_bytes(writing, front, sizeof(front));
    write_bytes(writing, draft->source, 16);
    write_bytes(writing, draft->destination, 16);
    writing->bytes[6] = write_extensions(traffic, writing, draft);
}

static void write_ip4(struct traffic_source *traffic, struct writing *writing, const struct draft *draft)
{
    static const uint8_t options[] = {1, 7, 131, 137, 148};
    bool has_option = once_in(traffic, 25);
    const uint8_t front[2] = {(uint8_t)(has_option ? 0x47 : 0x45), draft->class};
    const uint8_t option[8] = {options[traffic_pick(traffic, 5)], 7, 4};
    const uint8_t middle[4] = {draft->hops, draft->protocol};
    write_bytes(writing, front, sizeof(front));
    write_16(writing, 0);
    write_16(writing, draft->identification);
    write_16(writing, draft->flags_offset);
    write_bytes(writing, middle, sizeof(middle));
    write_bytes(writing, draft->source, 4);
    write_bytes(writing, draft->destination, 4);
    if (has_option)
        write_bytes(writing, option, sizeof(option));
}

static void write_option(struct traffic_source *traffic, struct writing *writing)
{
    const uint8_t mss[4] = {TCP_OPTION_MSS, (uint8_t)(once_in(traffic, 12) ? traffic_pick(traffic, 8) : 4),
                            (uint8_t)(once_in(traffic, 3) ? traffic_pick(traffic, 256) : 5), 0xb4};
    const uint8_t scale[3] = {3, 3, 7}, permitted[2] = {4, 2};
    const uint8_t nop = once_in(traffic, 8) ? TCP_OPTION_END : TCP_OPTION_NOP;
    switch (traffic_pick(traffic, 5)) {
    case 0:
        write_bytes(writing, &nop, 1);
        break;
    case 1:
        write_bytes(writing, scale, sizeof(scale));
        break;
    case 2:
        write_bytes(writing, permitted, sizeof(permitted));
        break;
    default:
        write_bytes(writing, mss, sizeof(mss));
    }
}

static void write_tcp(struct traffic_source *traffic, struct writing *writing, const struct draft *draft)
{
    uint32_t start = writing->length, options = once_in(traffic, 2) ? traffic_pick(traffic, 10) : 0;
    write_16(writing, draft->source_port);
    write_16(writing, draft->destination_port);
    write_noise(traffic, writing, 8);
    write_16(writing, draft->kind);
    write_noise(traffic, writing, 2);
    write_16(writing, 0);
    write_16(writing, 0);
    for (uint32_t i = 0; i < options; i++)
        write_option(traffic, writing);
    while ((writing->length - start) % 4 != 0)
        writing->bytes[writing->length++] = TCP_OPTION_NOP;
    writing->bytes[start + 12] = (uint8_t)((writing->length - start) / 4 << 4);
    if (once_in(traffic, 40))
        writing->bytes[start + 12] = (uint8_t)traffic_pick(traffic, 256);
}

static void write_transport(struct traffic_source *traffic, struct writing *writing,
                            const struct draft *draft)
{
    writing->transport = writing->length;
    if (draft->protocol == PROTOCOL_TCP) {
        write_tcp(traffic, writing, draft);
    } else if (draft->protocol == PROTOCOL_UDP) {
        write_16(writing, draft->source_port);
        write_16(writing, draft->destination_port);
        write_16(writing, 8 + draft->payload - (once_in(traffic, 30) ? draft->payload / 2 : 0));
        write_16(writing, 0);
    } else {
        write_16(writing, (uint32_t)draft->kind << 8);
        write_16(writing, 0);
        write_16(writing, draft->source_port);
        write_16(writing, traffic_pick(traffic, 65536));
    }
    write_noise(traffic, writing, draft->payload);
}

/* An error that quotes a packet which was sent on, to where that came from. */
static void write_error(struct traffic_source *traffic, struct writing *writing, const uint8_t *note,
                        uint32_t length)
{
    bool six = note[0] >> 4 == 6;
    uint8_t types[2][4] = {{3, 11, 12, 4}, {1, 2, 3, 4}};
    writing->transport = writing->length;
    write_16(writing, (uint32_t)types[six][traffic_pick(traffic, 4)] << 8 | traffic_pick(traffic, 6));
    write_16(writing, 0);
    write_16(writing, once_in(traffic, 4) ? traffic_pick(traffic, 65536) : 0);
    write_16(writing, once_in(traffic, 2) ? 1400 : 0);
    write_bytes(writing, note, once_in(traffic, 4) ? traffic_pick(traffic, length) : length);
}

static void write_length(struct writing *writing, bool six)
{
    uint32_t length = writing->length - (six ? 40 : 0);
    writing->bytes[six ? 4 : 2] = (uint8_t)(length >> 8);
    writing->bytes[six ? 5 : 3] = (uint8_t)length;
}

/* --- damage --------------------------------------------------------------------------------------- */

static uint32_t checksum_position(uint8_t protocol)
{
    return protocol == PROTOCOL_TCP ? 16 : protocol == PROTOCOL_UDP ? 6 : 2;
}

static void write_checksum(struct traffic_source *traffic, struct writing *writing, const struct draft *draft)
{
    uint32_t length = writing->length - writing->transport;
    uint8_t *field = writing->bytes + writing->transport + checksum_position(draft->protocol);
    uint8_t pseudo[4] = {(uint8_t)(length >> 8), (uint8_t)length, 0, draft->protocol};
    uint32_t sum = 0;
    if (checksum_position(draft->protocol) + 2 > length)
        return;
    if (draft->protocol != PROTOCOL_ICMPV4)
        sum = fuzz_sum(writing->bytes + (draft->six ? 8 : 12), draft->six ? 32 : 8, fuzz_sum(pseudo, 4, 0));
    fuzz_store_sum(field, fuzz_sum(writing->bytes + writing->transport, length, sum));
    if (draft->protocol == PROTOCOL_UDP && field[0] == 0 && field[1] == 0)
        field[0] = field[1] = 0xff;
    switch (traffic_pick(traffic, 12)) {
    case 0:
    case 1:
        field[0] = (uint8_t)traffic_pick(traffic, 256);
        break;
    case 2:
        field[0] = field[1] = 0;
        break;
    case 3:
        field[0] = field[1] = 0xff;
        break;
    default:
        break;
    }
}

/* The pseudo-header's sum in the place of the checksum; perhaps more bytes, to be cut into segments. */
static void offload(struct traffic_source *traffic, struct writing *writing, const struct draft *draft,
                    struct offload *state)
{
    uint32_t length = writing->length - writing->transport, position = checksum_position(draft->protocol);
    uint8_t *transport = writing->bytes + writing->transport;
    bool tcp = draft->protocol == PROTOCOL_TCP, whole = (draft->flags_offset & ~IPV4_DONT_FRAGMENT) == 0 &&
                                                        (!draft->six || writing->bytes[6] == draft->protocol);
    uint32_t header = tcp ? (transport[12] >> 4) * 4u : 8;
    if (!traffic->offloads || !once_in(traffic, 2) || !whole || (!tcp && draft->protocol != PROTOCOL_UDP) ||
        header > length)
        return;
    uint8_t pseudo[4] = {(uint8_t)(length >> 8), (uint8_t)length, 0, draft->protocol};
    uint32_t sum =
        fuzz_sum(writing->bytes + (draft->six ? 8 : 12), draft->six ? 32 : 8, fuzz_sum(pseudo, 4, 0));
    fuzz_store_sum(transport + position, 0xffff - sum);
    *state = (struct offload){.flags = OFFLOAD_PARTIAL,
                              .checksum_start = (uint16_t)writing->transport,
                              .checksum_offset = (uint16_t)position};
    if (length - header < 3 || !once_in(traffic, 2))
        return;
    state->gso_type = !tcp ? OFFLOAD_GSO_UDP : draft->six ? OFFLOAD_GSO_TCPV6 : OFFLOAD_GSO_TCPV4;
    state->gso_size = (uint16_t)(1 + traffic_pick(traffic, length - header - 1));
    state->header_length = (uint16_t)(writing->transport + header);
}

static void damage(struct traffic_source *traffic, struct writing *writing)
{
    for (uint32_t turns = once_in(traffic, 8) ? 1 + traffic_pick(traffic, 3) : 0; turns > 0; turns--) {
        uint32_t reach = once_in(traffic, 4) || writing->length < 64 ? writing->length : 64;
        writing->bytes[traffic_pick(traffic, reach)] ^= (uint8_t)(1u << traffic_pick(traffic, 8));
    }
    if (once_in(traffic, 60))
        writing->length = 1 + traffic_pick(traffic, writing->length);
    if (once_in(traffic, 15))
        write_noise(traffic, writing, 1 + traffic_pick(traffic, 20));
}

static void mend_header(struct traffic_source *traffic, struct writing *writing)
{
    uint8_t *ip = writing->bytes;
    uint32_t header = (ip[0] & 0x0fu) * 4u;
    if (ip[0] >> 4 != 4 || header < 20 || header > writing->length || once_in(traffic, 60))
        return;
    ip[10] = ip[11] = 0;
    fuzz_store_sum(ip + 10, fuzz_sum(ip, header, 0));
}

void traffic_make(struct traffic_source *traffic, struct packet *packet)
{
    struct draft draft = {.protocol = 0};
    struct writing writing = {.bytes = packet_data(packet)};
    uint32_t way = traffic_pick(traffic, traffic->noted > 0 ? 16 : 2), which = 0;
    if (way >= 2) {
        which = traffic_pick(traffic, traffic->noted < TRAFFIC_NOTED ? traffic->noted : TRAFFIC_NOTED);
        draft_answer(traffic, traffic->note[which].bytes, &draft);
    }
    if (way == 1)
        draft_from_stranger(traffic, &draft);
    else if (way == 0 || way >= 11)
        draft = (struct draft){0}, draft_from_client(traffic, &draft);
    bool error = way == 2;
    if (error)
        draft.protocol = draft.six ? PROTOCOL_ICMPV6 : PROTOCOL_ICMPV4;
    choose_protocol(traffic, &draft);
    choose_kind(traffic, &draft);
    choose_header(traffic, &draft);
    if (draft.six)
        write_ip6(traffic, &writing, &draft);
    else
        write_ip4(traffic, &writing, &draft);
    if (error)
        write_error(traffic, &writing, traffic->note[which].bytes, traffic->note[which].length);
    else
        write_transport(traffic, &writing, &draft);
    write_length(&writing, draft.six);
    write_checksum(traffic, &writing, &draft);
    packet->offload = (struct offload){0};
    if (!error)
        offload(traffic, &writing, &draft, &packet->offload);
    damage(traffic, &writing);
    mend_header(traffic, &writing);
    packet->length = writing.length;
}

void traffic_note(struct traffic_source *traffic, const struct packet *packet)
{
    uint32_t place = traffic->noted % TRAFFIC_NOTED;
    uint32_t length = packet->length < TRAFFIC_NOTED_LENGTH ? packet->length : TRAFFIC_NOTED_LENGTH;
    memset(traffic->note[place].bytes, 0, TRAFFIC_NOTED_LENGTH);
    memcpy(traffic->note[place].bytes, packet_data(packet), length);
    traffic->note[place].length = length;
    traffic->noted++;
}
