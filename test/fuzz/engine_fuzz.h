/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the fuzz targets of the engine share: a small engine, and what must hold for every packet it forwards.
 *
 * Beyond staying in bounds, a translated packet must describe cleanly, have lost one hop, carry the same
 * payload, and have a transport checksum that is off by exactly as much as before. The last is judged by sums
 * made here from the first byte to the last, where the engine only adds up differences.
 */
#ifndef TEST_FUZZ_ENGINE_FUZZ_H
#define TEST_FUZZ_ENGINE_FUZZ_H

#include "engine/capture.h"
#include "engine/engine.h"
#include "engine/table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FUZZ_CHECK(condition)                                                                                \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition);                   \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)

enum {
    FUZZ_PACKET = 66000, /* bytes of a packet that goes in, at most */
    FUZZ_HEADROOM = 128,
    FUZZ_PIECES = 108, /* that the longest packet is cut into: datagrams of a super-packet, two pieces each */
    FUZZ_BUFFER = FUZZ_HEADROOM + FUZZ_PACKET,
    FUZZ_SESSIONS = 256,
    FUZZ_FRAGMENTS = 16, /* that are held, at most */
    FUZZ_CONTROL = 11,   /* bytes of an input before its packet */
    FUZZ_SNAP = 200,     /* bytes of a packet that are captured */
};

#define FUZZ_END_OF_TIME ((nanoseconds)1 << 61) /* 73 years: within the 32 bits of a tick */

struct fuzz_engine {
    struct settings settings;
    struct pool_range pool[2];
    struct static_binding statics[3];
    struct table *table;
    struct engine *engine;
    struct worker *worker;
    struct capture *capture; /* or NULL */
    nanoseconds now;
};

/* Prefix 2001:db8:65::/96; 192.0.2.16/28 are 2001:db8:0:1::/64. */
static inline void fuzz_add_siit(struct fuzz_engine *fuzz)
{
    static const struct eam mapping = {.ipv4 = WIRE_SWAP32(0xc0000210u),
                                       .length4 = 28,
                                       .ipv6 = {{0x20, 0x01, 0x0d, 0xb8, [7] = 1}},
                                       .length6 = 64};
    struct siit_settings *siit = &fuzz->settings.siit[0];
    struct eam_problem problem;
    fuzz->settings.siit_count = 1;
    siit->prefix = fuzz->settings.nat64[0].prefix;
    siit->prefix.address.bytes[5] = 0x65;
    siit->address6 = fuzz->settings.nat64[0].address6;
    siit->address4 = fuzz->settings.nat64[0].address4;
    siit->eam = eam_build(&mapping, 1, &problem);
    siit->icmp_source = (struct pool_range){.first = siit->address4, .count = 2};
    FUZZ_CHECK(siit->eam != NULL);
}

/* Prefix 2001:db8:64::/96; pool 192.0.2.1 and .2; static 2001:db8::1 port 40000 at 192.0.2.1 port 4000. */
static inline void fuzz_fill(struct fuzz_engine *fuzz)
{
    static const struct ipv6_address client = {{0x20, 0x01, 0x0d, 0xb8, [15] = 1}};
    static const struct ipv6_address prefix = {{0x20, 0x01, 0x0d, 0xb8, 0, 0x64}};
    struct nat64_settings *nat64 = &fuzz->settings.nat64[0];
    memset(fuzz, 0, sizeof(*fuzz));
    fuzz->now = (nanoseconds)1000000000000u;
    fuzz->settings.translation = (struct translation_settings){.tos = -1,
                                                               .amend_udp_checksum_zero = true,
                                                               .mss_clamp = true,
                                                               .icmp_errors_per_second = 1000,
                                                               .fragment_packets = FUZZ_FRAGMENTS,
                                                               .fragment_memory = FUZZ_FRAGMENTS * HELD_BLOCK,
                                                               .mtu6 = 1500,
                                                               .mtu4 = 1480};
    fuzz->settings.nat64_count = 1;
    strcpy(nat64->name, "fuzz");
    nat64->prefix = (struct rfc6052_prefix){.address = prefix, .length = 96};
    nat64->address6 = prefix;
    nat64->address6.bytes[15] = 0xfe;
    nat64->address4 = to_be32(0xc00002feu);
    nat64->sessions = FUZZ_SESSIONS;
    nat64->subscriber_prefix = SUBSCRIBER_PREFIX_DEFAULT;
    nat64->sessions_per_subscriber = FUZZ_SESSIONS / 4;
    nat64->pool_count = 1;
    nat64->pool = fuzz->pool;
    fuzz->pool[0] = (struct pool_range){
        .first = to_be32(0xc0000201u), .count = 2, .low = 1000, .high = 1100, .transports = 7};
    nat64->static_count = 3;
    nat64->statics = fuzz->statics;
    for (uint8_t transport = 0; transport < TRANSPORT_COUNT; transport++)
        fuzz->statics[transport] = (struct static_binding){.ipv6 = client,
                                                           .ipv4 = to_be32(0xc0000201u),
                                                           .port6 = to_be16(40000),
                                                           .port4 = to_be16(4000),
                                                           .transport = transport};
    nat64->timeouts = (struct nat64_timeouts){.udp = UDP_DEFAULT_SECONDS,
                                              .icmp = ICMP_DEFAULT_SECONDS,
                                              .tcp_established = TCP_ESTABLISHED_SECONDS,
                                              .tcp_transitory = TCP_TRANSITORY_SECONDS,
                                              .tcp_syn = TCP_INCOMING_SYN_SECONDS,
                                              .fragment = FRAGMENT_SECONDS};
    fuzz_add_siit(fuzz);
}

/* An engine over a table of this geometry, with other settings than those filled in if they are given. */
static inline void fuzz_engine_start(struct fuzz_engine *fuzz, const struct geometry *geometry,
                                     const struct settings *settings)
{
    char error[256];
    fuzz->table = table_create(geometry, 1);
    FUZZ_CHECK(fuzz->table != NULL);
    struct engine_options options = {.table = fuzz->table,
                                     .settings = settings != NULL ? settings : &fuzz->settings,
                                     .workers = geometry->workers,
                                     .seed = 20260727};
    fuzz->engine = engine_create(&options, error, sizeof(error));
    FUZZ_CHECK(fuzz->engine != NULL);
    fuzz->worker = engine_worker(fuzz->engine, 0);
}

static inline void fuzz_engine_create(struct fuzz_engine *fuzz)
{
    static const struct geometry geometry = {.sessions = FUZZ_SESSIONS, .addresses = 2, .workers = 1};
    fuzz_fill(fuzz);
    fuzz_engine_start(fuzz, &geometry, NULL);
}

static inline void fuzz_engine_destroy(struct fuzz_engine *fuzz)
{
    eam_free((struct eam_table *)(uintptr_t)fuzz->settings.siit[0].eam);
    engine_destroy(fuzz->engine);
    table_destroy(fuzz->table);
}

/* --- sums --------------------------------------------------------------------------------------------- */

static inline uint32_t fuzz_sum(const uint8_t *bytes, uint32_t length, uint32_t sum)
{
    for (uint32_t i = 0; i < length; i++) {
        sum += i % 2 == 0 ? (uint32_t)bytes[i] << 8 : bytes[i];
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return sum;
}

static inline uint32_t fuzz_pseudo_sum(const uint8_t *ip, const struct description *description)
{
    uint32_t length = description->transport_length;
    uint32_t sum = description->version == 6 ? fuzz_sum(ip + 8, 32, 0) : fuzz_sum(ip + 12, 8, 0);
    if (description->protocol == 1) /* ICMPv4 has no pseudo-header */
        return 0;
    sum += (length >> 16) + (length & 0xffff) + description->protocol;
    return (sum & 0xffff) + (sum >> 16);
}

/* By how much the transport checksum is off: 0 if it is right. */
static inline uint32_t fuzz_residue(const struct packet *packet, const struct description *description)
{
    const uint8_t *ip = packet_data(packet);
    uint32_t pseudo = fuzz_pseudo_sum(ip, description);
    uint32_t sum;
    if ((packet->offload.flags & OFFLOAD_PARTIAL) != 0) {
        const uint8_t *field = ip + packet->offload.checksum_start + packet->offload.checksum_offset;
        sum = fuzz_sum(field, 2, (uint16_t)~pseudo);
    } else {
        sum = fuzz_sum(ip + description->transport, description->transport_length, pseudo);
    }
    return sum == 0xffff ? 0 : sum;
}

static inline void fuzz_store_sum(uint8_t *at, uint32_t sum)
{
    at[0] = (uint8_t)(~sum >> 8);
    at[1] = (uint8_t)~sum;
}

/* --- packets ------------------------------------------------------------------------------------------ */

/* Makes checksums right that would keep nearly every mutated packet out: IPv4's, and that of ICMP. */
static inline void fuzz_mend(struct packet *packet, bool ipv4, bool icmp)
{
    uint8_t *ip = packet_data(packet);
    struct description description;
    struct packet copy = *packet;
    uint32_t header = (ip[0] & 0x0fu) * 4u;
    if (ipv4 && packet->length >= 20 && ip[0] >> 4 == 4 && header <= packet->length) {
        ip[10] = ip[11] = 0;
        fuzz_store_sum(ip + 10, fuzz_sum(ip, header, 0));
    }
    if (icmp && packet_describe(&copy, &description) == VERDICT_COUNT &&
        description.protocol != PROTOCOL_IGMP && description.kind >= PACKET_ICMP_QUERY &&
        description.kind <= PACKET_ICMP_OTHER) {
        uint8_t *field = ip + description.transport + 2;
        field[0] = field[1] = 0;
        fuzz_store_sum(field, fuzz_sum(ip + description.transport, description.transport_length,
                                       fuzz_pseudo_sum(ip, &description)));
    }
}

static inline void fuzz_check_offload(const struct packet *packet, const struct description *description)
{
    const struct offload *offload = &packet->offload;
    if ((offload->flags & OFFLOAD_PARTIAL) != 0)
        FUZZ_CHECK(
            (offload->checksum_start == description->transport ||
             (description->kind == PACKET_OTHER && offload->checksum_start > description->transport)) &&
            offload->checksum_start + offload->checksum_offset + 2u <= packet->length);
    if (offload->gso_type == OFFLOAD_GSO_NONE)
        return;
    FUZZ_CHECK(offload->gso_size > 0);
    if ((offload->gso_type & ~OFFLOAD_GSO_ECN) != OFFLOAD_GSO_UDP)
        FUZZ_CHECK((offload->gso_type & ~OFFLOAD_GSO_ECN) ==
                   (description->version == 4 ? OFFLOAD_GSO_TCPV4 : OFFLOAD_GSO_TCPV6));
}

/* Any packet that leaves: in its buffer, of the length it states, and well formed. */
static inline void fuzz_check_leaving(const struct packet *packet, struct description *description)
{
    struct packet copy = *packet;
    FUZZ_CHECK((uint64_t)packet->offset + packet->length <= packet->capacity);
    FUZZ_CHECK(packet_describe(&copy, description) == VERDICT_COUNT);
    FUZZ_CHECK(copy.length == packet->length);
    fuzz_check_offload(packet, description);
}

static inline uint32_t fuzz_header_length(const struct packet *packet, const struct description *description)
{
    if (description->kind >= PACKET_FRAGMENT)
        return 0; /* no header that anything is known of */
    return description->kind == PACKET_TCP ? (packet_data(packet)[description->transport + 12] >> 4) * 4u : 8;
}

static inline uint8_t fuzz_hops(const struct packet *packet)
{
    const uint8_t *ip = packet_data(packet);
    return ip[0] >> 4 == 6 ? ip[7] : ip[8];
}

/* Payload and checksum: the one the same, the other off by as much as before. */
static inline void fuzz_check_transport(const struct packet *before, const struct description *was,
                                        const struct packet *after, const struct description *is)
{
    uint32_t header = fuzz_header_length(before, was);
    bool partial = (before->offload.flags & OFFLOAD_PARTIAL) != 0;
    const uint8_t *then = packet_data(before) + was->transport, *now = packet_data(after) + is->transport;
    FUZZ_CHECK(was->transport_length == is->transport_length);
    FUZZ_CHECK(header == fuzz_header_length(after, is) || was->protocol == PROTOCOL_IGMP);
    if (was->kind >= PACKET_FRAGMENT || was->protocol == PROTOCOL_IGMP) {
        FUZZ_CHECK(partial || memcmp(then, now, is->transport_length) == 0);
        return;
    }
    FUZZ_CHECK(memcmp(then + header, now + header, is->transport_length - header) == 0);
    bool without = was->kind == PACKET_UDP && then[6] == 0 && then[7] == 0;
    if (was->kind == PACKET_ICMP_QUERY && was->fragmented)
        return; /* one of the two sums has the length of all fragments in it */
    uint32_t residue = fuzz_residue(before, was);
    /* A partial checksum is a sum, one that has been completed the complement of one. */
    if (partial && (after->offload.flags & OFFLOAD_PARTIAL) == 0 && residue != 0)
        residue = 0xffff - residue;
    if (!without)
        FUZZ_CHECK(residue == fuzz_residue(after, is));
    else if (was->version == 4 && (uint32_t)(then[4] << 8 | then[5]) == was->transport_length && !partial)
        FUZZ_CHECK(fuzz_residue(after, is) == 0);
}

/* `before` is a copy of what went in, `after` what was forwarded. */
static inline void fuzz_check_translation(const struct packet *before, const struct packet *after,
                                          enum verdict verdict)
{
    struct description was, is;
    struct packet copy = *before;
    FUZZ_CHECK(packet_describe(&copy, &was) == VERDICT_COUNT);
    /* From IPv4 such fragments may come (RFC 7915 section 4.1), from IPv6 they are dropped (5.1.1). */
    if (was.version == 4 && (was.fragmented || verdict == VERDICT_FRAGMENTED_4TO6) &&
        packet_is_extension_header(was.protocol))
        return;
    /* The headers of a super-packet that is cut up are those of its first datagram by now. */
    if (verdict == VERDICT_FRAGMENTED_4TO6 && before->offload.gso_type != OFFLOAD_GSO_NONE)
        return;
    fuzz_check_leaving(after, &is);
    FUZZ_CHECK(verdict == VERDICT_TRANSLATED_HAIRPIN ? was.version == 6 && is.version == 6
                                                     : was.version + is.version == 10);
    /* IGMP is a name that the number has in IPv4 alone. */
    FUZZ_CHECK(was.kind == is.kind || (was.version == 6 && was.protocol == PROTOCOL_IGMP));
    FUZZ_CHECK(was.fragmented == is.fragmented);
    FUZZ_CHECK(fuzz_hops(after) == fuzz_hops(before) - 1);
    if (is.kind == PACKET_ICMP_ERROR) {
        FUZZ_CHECK(fuzz_residue(after, &is) == 0);
        return;
    }
    fuzz_check_transport(&copy, &was, after, &is);
    FUZZ_CHECK((before->offload.flags & OFFLOAD_PARTIAL) == (after->offload.flags & OFFLOAD_PARTIAL) ||
               verdict == VERDICT_FRAGMENTED_4TO6);
    FUZZ_CHECK(
        before->offload.gso_size == after->offload.gso_size || before->offload.gso_type == OFFLOAD_GSO_NONE ||
        (is.kind == PACKET_TCP && is.version == 6 && after->offload.gso_size < before->offload.gso_size));
}

/* Captures everything, for a filter must not hide what a record does wrong. */
static inline void fuzz_capture(struct fuzz_engine *fuzz)
{
    struct capture_filter filter = {.probes = true, .snap = FUZZ_SNAP};
    char error[256];
    memset(filter.verdicts, true, sizeof(filter.verdicts));
    fuzz->capture = capture_start(fuzz->engine, &filter, error, sizeof(error));
    FUZZ_CHECK(fuzz->capture != NULL);
}

/* The next record is of this packet. */
static inline void fuzz_check_record(struct fuzz_engine *fuzz, enum capture_kind kind,
                                     const struct packet *packet)
{
    if (fuzz->capture == NULL)
        return;
    const struct captured *record = capture_next(fuzz->capture);
    FUZZ_CHECK(record != NULL && record->kind == kind && record->length == packet->length);
    FUZZ_CHECK(record->kept == (packet->length < FUZZ_SNAP ? packet->length : FUZZ_SNAP));
    FUZZ_CHECK(memcmp(record + 1, packet_data(packet), record->kept) == 0);
    capture_release(fuzz->capture);
}

static inline void fuzz_pull_all(struct fuzz_engine *fuzz)
{
    static uint8_t buffer[FUZZ_HEADROOM + PACKET_MAXIMUM];
    struct description description;
    struct worker *worker;
    for (uint32_t number = 0; (worker = engine_worker(fuzz->engine, number)) != NULL; number++) {
        struct packet packet = {.buffer = buffer, .capacity = sizeof(buffer), .offset = FUZZ_HEADROOM};
        unsigned pulled = 0;
        while (engine_pull(worker, &packet)) {
            const uint8_t *ip = packet_data(&packet);
            FUZZ_CHECK(++pulled <= OUTPUT_QUEUE + FUZZ_PIECES + FUZZ_FRAGMENTS);
            fuzz_check_record(fuzz, CAPTURE_MADE, &packet);
            if (ip[6] == PROTOCOL_FRAGMENT && packet_is_extension_header(ip[40])) /* as above */
                continue;
            fuzz_check_leaving(&packet, &description);
            FUZZ_CHECK(description.fragmented ? packet.length <= fuzz->settings.translation.mtu6
                                              : fuzz_residue(&packet, &description) == 0);
            packet.offset = FUZZ_HEADROOM;
        }
    }
}

static inline void fuzz_check_fragments(const struct fuzz_engine *fuzz, uint32_t most)
{
    struct engine_fragments now;
    engine_fragments(fuzz->engine, &now);
    FUZZ_CHECK(now.datagrams <= most && now.packets <= most && now.bytes <= (uint64_t)most * HELD_BLOCK);
}

/* Held fragments that were not worth it are recorded once more. */
static inline void fuzz_skip_ended(struct fuzz_engine *fuzz)
{
    const struct captured *record;
    while (fuzz->capture != NULL && (record = capture_next(fuzz->capture)) != NULL) {
        FUZZ_CHECK(record->kind == CAPTURE_RECEIVED && record->verdict == VERDICT_FRAGMENT_TIMEOUT);
        capture_release(fuzz->capture);
    }
}

static inline void fuzz_expire(struct fuzz_engine *fuzz)
{
    struct worker *worker;
    for (uint32_t number = 0; (worker = engine_worker(fuzz->engine, number)) != NULL; number++)
        for (unsigned i = 0; i < 16; i++)
            engine_expire(worker, fuzz->now);
    fuzz_skip_ended(fuzz);
    fuzz_pull_all(fuzz);
}

/* Gives the engine one packet, of exactly `packet->length` bytes of memory, and checks what comes of it. */
static inline enum verdict fuzz_receive(struct fuzz_engine *fuzz, struct packet *packet)
{
    static uint8_t kept[FUZZ_PACKET];
    struct packet before = *packet;
    enum verdict verdict = VERDICT_COUNT;
    memcpy(kept, packet_data(packet), packet->length);
    before.buffer = kept;
    before.offset = 0;
    engine_receive(fuzz->worker, packet, 1, fuzz->now, &verdict);
    FUZZ_CHECK(verdict < VERDICT_COUNT);
    fuzz_check_record(fuzz, CAPTURE_RECEIVED, &before);
    if (verdict_texts[verdict].class <= VERDICT_DIVIDED)
        fuzz_check_translation(&before, packet, verdict);
    if (verdict_texts[verdict].class == VERDICT_FORWARDED)
        fuzz_check_record(fuzz, CAPTURE_RESULT, packet);
    return verdict;
}

/*
 * One input as a packet. The first byte says what is done to it: bit 0 the next ten bytes are its offload
 * state, bit 1 IPv4's checksum stays, bit 2 ICMP's stays, bit 3 there is no headroom. The buffer is as large
 * as the packet and its headroom, so that a step beyond is noticed.
 */
static inline void fuzz_one_packet(struct fuzz_engine *fuzz, uint8_t version, const uint8_t *data,
                                   size_t size)
{
    if (size < FUZZ_CONTROL || size > FUZZ_PACKET)
        return;
    uint32_t headroom = (data[0] & 8) != 0 ? 0 : FUZZ_HEADROOM;
    uint32_t length = (uint32_t)size - FUZZ_CONTROL;
    uint8_t *buffer = malloc(headroom + length + 1);
    FUZZ_CHECK(buffer != NULL);
    struct packet packet = {
        .buffer = buffer, .capacity = headroom + length, .offset = headroom, .length = length};
    memcpy(buffer + headroom, data + FUZZ_CONTROL, length);
    if ((data[0] & 1) != 0)
        memcpy(&packet.offload, data + 1, sizeof(packet.offload));
    if (length > 0) {
        buffer[headroom] = (uint8_t)(version << 4 | (buffer[headroom] & 0x0f));
        fuzz_mend(&packet, (data[0] & 2) == 0, (data[0] & 4) == 0);
    }
    fuzz_receive(fuzz, &packet);
    fuzz_pull_all(fuzz);
    free(buffer);
}

/* A UDP packet from the client with the static binding, so that ICMP errors can be about a session. */
static inline void fuzz_open_session(struct fuzz_engine *fuzz)
{
    static const uint8_t opening[48] = {
        0x60, 0, 0,    0,          0, 8,   17, 64,   0x20, 0x01, 0x0d, 0xb8, [23] = 1, 0x20, 0x01, 0x0d,
        0xb8, 0, 0x64, [36] = 203, 0, 113, 2,  0x9c, 0x40, 0,    53,   0,    8,        0,    1};
    uint8_t buffer[FUZZ_HEADROOM + sizeof(opening)];
    struct packet packet = {
        .buffer = buffer, .capacity = sizeof(buffer), .offset = FUZZ_HEADROOM, .length = sizeof(opening)};
    memcpy(packet_data(&packet), opening, sizeof(opening));
    FUZZ_CHECK(fuzz_receive(fuzz, &packet) == VERDICT_TRANSLATED_6TO4);
}

/* One input of a packet target: any bytes as a packet of the family, when all earlier sessions but one have
 * ended. */
static inline void fuzz_packet(uint8_t version, const uint8_t *data, size_t size)
{
    static struct fuzz_engine fuzz;
    if (fuzz.now > FUZZ_END_OF_TIME) /* the clock must not wrap in a long run */
        fuzz_engine_destroy(&fuzz);
    if (fuzz.engine == NULL || fuzz.now > FUZZ_END_OF_TIME) {
        fuzz_engine_create(&fuzz);
        fuzz_capture(&fuzz);
    }
    fuzz.now += (nanoseconds)(TCP_ESTABLISHED_SECONDS + 100) * 1000000000u;
    fuzz_expire(&fuzz);
    fuzz_open_session(&fuzz);
    fuzz_one_packet(&fuzz, version, data, size);
}

#endif /* TEST_FUZZ_ENGINE_FUZZ_H */
