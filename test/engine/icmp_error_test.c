/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ICMP errors in both directions: the outer header, the message, the quoted packet and its checksum, the
 * extensions of RFC 4884. A quoted packet that is whole must have a right checksum after translation if it
 * had one before; all sums are made by test/engine/packets.h.
 */
#include "engine/translate.h"
#include "test/engine/packets.h"

static struct translation_settings settings;
static struct description found, quoted;

/* An error of one family around `length` bytes of `inner`, then `extra` bytes; type, code and rest as given.
 */
struct sample {
    uint8_t type, code, rest[4];
    const uint8_t *inner;
    uint32_t length;
    const uint8_t *extra;
    uint32_t extra_length;
};

static struct packet make_error(unsigned version, const struct sample *sample)
{
    uint32_t header = version == 4 ? 20 : 40, payload = 8 + sample->length + sample->extra_length;
    struct packet packet = packet_at(TEST_ROOM, header + payload);
    uint8_t *ip = packet_data(&packet), *icmp = ip + header;
    if (version == 4)
        put_ipv4(ip, 1, header + payload);
    else
        put_ipv6(ip, 58, payload);
    icmp[0] = sample->type;
    icmp[1] = sample->code;
    memcpy(icmp + 4, sample->rest, 4);
    memcpy(icmp + 8, sample->inner, sample->length);
    if (sample->extra_length != 0)
        memcpy(icmp + 8 + sample->length, sample->extra, sample->extra_length);
    seal(ip, header, version == 4 ? 1 : 58, payload);
    return packet;
}

/* A copy of a packet's bytes, to be quoted. */
static const uint8_t *keep(const struct packet *packet)
{
    static uint8_t kept[4000];
    memset(kept, 0, sizeof(kept));
    memcpy(kept, packet_data(packet), packet->length < sizeof(kept) ? packet->length : sizeof(kept));
    return kept;
}

static enum verdict describe(struct packet *packet)
{
    enum verdict verdict = packet_describe(packet, &found);
    const uint8_t *icmp = packet_data(packet) + found.transport;
    if (verdict != VERDICT_COUNT)
        return verdict;
    assert_int_equal(found.kind, PACKET_ICMP_ERROR);
    return packet_describe_quoted(icmp + 8, found.transport_length - 8, &quoted);
}

static const uint8_t outer_source4[4] = {203, 0, 113, 1}, outer_destination4[4] = {203, 0, 113, 2};
static const uint8_t outer_source6[16] = {0xfd, 1, [15] = 1}, outer_destination6[16] = {0xfd, 1, [15] = 2};

static enum verdict translate6(struct packet *packet)
{
    struct error_endpoints4 endpoints = {
        .quoted_to = {.source_port = to_be16(3333), .destination_port = to_be16(4444)}};
    enum verdict verdict = describe(packet);
    memcpy(&endpoints.to.source, outer_source4, 4);
    memcpy(&endpoints.to.destination, outer_destination4, 4);
    memcpy(&endpoints.quoted_to.source, test_source4, 4);
    memcpy(&endpoints.quoted_to.destination, test_destination4, 4);
    return verdict == VERDICT_COUNT ? translate_error_6to4(packet, &found, &quoted, &endpoints, &settings)
                                    : verdict;
}

static enum verdict translate4(struct packet *packet)
{
    struct error_endpoints6 endpoints = {
        .quoted_to = {.source_port = to_be16(3333), .destination_port = to_be16(4444)}};
    enum verdict verdict = describe(packet);
    memcpy(&endpoints.to.source, outer_source6, 16);
    memcpy(&endpoints.to.destination, outer_destination6, 16);
    memcpy(&endpoints.quoted_to.source, test_source6, 16);
    memcpy(&endpoints.quoted_to.destination, test_destination6, 16);
    return verdict == VERDICT_COUNT ? translate_error_4to6(packet, &found, &quoted, &endpoints, &settings)
                                    : verdict;
}

/* What holds for every result: outer header, its length and sums. */
static const uint8_t *assert_sound4(const struct packet *packet)
{
    const uint8_t *ip = packet_data(packet);
    assert_int_equal(ip[0], 0x45);
    assert_int_equal(be(ip + 2, 2), packet->length);
    assert_int_equal(be(ip + 6, 2), 0);
    assert_int_equal(ip[8], 63);
    assert_int_equal(ip[9], 1);
    assert_memory_equal(ip + 12, outer_source4, 4);
    assert_memory_equal(ip + 16, outer_destination4, 4);
    assert_int_equal(words(0, ip, 20), 0xffff);
    assert_int_equal(transport_sum(ip, 20, 1, packet->length - 20), 0xffff);
    assert_in_range(packet->length, 48, 576);
    return ip + 28;
}

static const uint8_t *assert_sound6(const struct packet *packet)
{
    const uint8_t *ip = packet_data(packet);
    assert_int_equal(ip[0] >> 4, 6);
    assert_int_equal(be(ip + 4, 2), packet->length - 40);
    assert_int_equal(ip[6], 58);
    assert_int_equal(ip[7], 63);
    assert_memory_equal(ip + 8, outer_source6, 16);
    assert_memory_equal(ip + 24, outer_destination6, 16);
    assert_int_equal(transport_sum(ip, 40, 58, packet->length - 40), 0xffff);
    assert_in_range(packet->length, 88, 1280);
    return ip + 48;
}

static const uint8_t protocols6[] = {6, 17, 58}, protocols4[] = {6, 17, 1};

static void quoted_ipv6_becomes_ipv4(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        struct packet original = make6(protocols6[i], 60);
        struct sample sample = {.type = 1, .code = 4, .inner = keep(&original), .length = 100};
        struct packet packet = make_error(6, &sample);
        const uint8_t *inner;
        assert_int_equal(translate6(&packet), VERDICT_TRANSLATED_6TO4);
        inner = assert_sound4(&packet);
        assert_int_equal(be(inner - 8, 2), 0x0303);
        assert_int_equal(be(inner - 4, 4), 0);
        assert_int_equal(packet.length, 28 + 80);
        assert_int_equal(be(inner, 4), 0x45ab0000 + 80);
        assert_int_equal(inner[8], 64); /* not decremented */
        assert_int_equal(inner[9], protocols4[i]);
        assert_memory_equal(inner + 12, test_source4, 4);
        assert_memory_equal(inner + 16, test_destination4, 4);
        assert_int_equal(words(0, inner, 20), 0xffff);
        assert_int_equal(transport_sum(inner, 20, protocols4[i], 60), 0xffff);
        assert_int_equal(be(inner + (i == 2 ? 24 : 20), 2), 3333);
    }
}

static void quoted_ipv4_becomes_ipv6(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        struct packet original = make4(protocols4[i], 60);
        struct sample sample = {.type = 11, .code = 1, .inner = keep(&original), .length = 80};
        struct packet packet = make_error(4, &sample);
        const uint8_t *inner;
        assert_int_equal(translate4(&packet), VERDICT_TRANSLATED_4TO6);
        inner = assert_sound6(&packet);
        assert_int_equal(be(inner - 8, 2), 0x0301);
        assert_int_equal(packet.length, 48 + 100);
        assert_int_equal(be(inner, 4), 0x6ab00000);
        assert_int_equal(be(inner + 4, 2), 60);
        assert_int_equal(inner[6], protocols6[i]);
        assert_int_equal(inner[7], 64);
        assert_memory_equal(inner + 8, test_source6, 16);
        assert_memory_equal(inner + 24, test_destination6, 16);
        assert_int_equal(transport_sum(inner, 40, protocols6[i], 60), 0xffff);
        assert_int_equal(be(inner + (i == 2 ? 44 : 40), 2), 3333);
    }
}

/* Eight bytes of TCP have ports and a sequence number, no checksum: nothing else may change. */
static void eight_bytes_of_transport_suffice(void **state)
{
    struct packet original = make4(6, 60);
    struct sample sample = {.type = 3, .code = 1, .inner = keep(&original), .length = 28};
    struct packet packet = make_error(4, &sample);
    const uint8_t *inner;
    (void)state;
    assert_int_equal(translate4(&packet), VERDICT_TRANSLATED_4TO6);
    inner = assert_sound6(&packet);
    assert_int_equal(packet.length, 48 + 48);
    assert_int_equal(be(inner + 4, 2), 60);
    assert_int_equal(be(inner + 40, 4), 3333u << 16 | 4444);
    assert_int_equal(be(inner + 44, 4), 0x1f262d34); /* bytes 4 to 7 of put_transport */

    original = make6(17, 60);
    sample = (struct sample){.type = 1, .code = 0, .inner = keep(&original), .length = 48};
    packet = make_error(6, &sample);
    assert_int_equal(translate6(&packet), VERDICT_TRANSLATED_6TO4);
    inner = assert_sound4(&packet);
    assert_int_equal(packet.length, 28 + 28);
    assert_int_equal(be(inner + 2, 2), 80);
    /* The UDP checksum is among them: with the rest of the datagram it is right. */
    uint8_t whole[80];
    memcpy(whole, inner, 28);
    for (unsigned i = 8; i < 60; i++)
        whole[20 + i] = (uint8_t)(i * 7 + 3);
    assert_int_equal(transport_sum(whole, 20, 17, 60), 0xffff);
    sample.length = 47;
    packet = make_error(6, &sample);
    assert_int_equal(translate6(&packet), VERDICT_ICMP_INNER);
}

/* The byte positions of a TCP header beyond the quoted ones belong to padding and stay. */
static void tcp_checksum_counts_only_if_quoted(void **state)
{
    (void)state;
    for (uint32_t present = 16; present <= 20; present++) {
        struct packet original = make4(6, 60);
        struct sample sample = {.type = 3, .code = 1, .inner = keep(&original), .length = 20 + present};
        struct packet packet = make_error(4, &sample);
        uint32_t before = be(sample.inner + 36, 2);
        const uint8_t *inner;
        assert_int_equal(translate4(&packet), VERDICT_TRANSLATED_4TO6);
        inner = assert_sound6(&packet);
        assert_int_equal(packet.length, 48 + 40 + present);
        if (present >= 18)
            assert_int_not_equal(be(inner + 56, 2), before);
        else if (present == 17)
            assert_int_equal(inner[56], before >> 8);
    }
}

static void missing_udp_checksum_stays_missing(void **state)
{
    struct packet original = make4(17, 60);
    struct sample sample = {.type = 3, .code = 3, .length = 80};
    struct packet packet;
    (void)state;
    put(packet_data(&original) + 26, 2, 0);
    sample.inner = keep(&original);
    packet = make_error(4, &sample);
    assert_int_equal(translate4(&packet), VERDICT_TRANSLATED_4TO6);
    assert_int_equal(be(assert_sound6(&packet) + 46, 2), 0);
}

static void mtu_is_adjusted(void **state)
{
    struct packet original = make4(17, 1300);
    struct sample sample = {
        .type = 3, .code = 4, .rest = {0, 0, 0x05, 0x78}, .inner = keep(&original), .length = 60};
    struct packet packet = make_error(4, &sample);
    (void)state;
    assert_int_equal(translate4(&packet), VERDICT_TRANSLATED_4TO6);
    assert_int_equal(be(assert_sound6(&packet) - 8, 2), 0x0200);
    assert_int_equal(be(packet_data(&packet) + 44, 4), 1420);
    original = make4(17, 1480);
    sample.inner = keep(&original);
    memset(sample.rest, 0, 4);
    packet = make_error(4, &sample);
    assert_int_equal(translate4(&packet), VERDICT_TRANSLATED_4TO6);
    assert_int_equal(be(packet_data(&packet) + 44, 4),
                     1500); /* plateau 1492, as far as the IPv6 side carries */

    original = make6(17, 1300);
    sample = (struct sample){.type = 2, .rest = {0, 0, 0x05, 0x78}, .inner = keep(&original), .length = 100};
    packet = make_error(6, &sample);
    assert_int_equal(translate6(&packet), VERDICT_TRANSLATED_6TO4);
    assert_int_equal(be(assert_sound4(&packet) - 8, 2), 0x0304);
    assert_int_equal(be(packet_data(&packet) + 24, 4), 1380);
    assert_int_equal(be(packet_data(&packet) + 28 + 6, 2), 0x4000); /* 1320 bytes were quoted */
}

/* rfc: 4884-5.4-a, 4884-7-a */
static void long_errors_are_cut(void **state)
{
    struct packet original = make6(17, 1500);
    struct sample sample = {.type = 1, .code = 0, .inner = keep(&original), .length = 1232};
    struct packet packet = make_error(6, &sample);
    (void)state;
    assert_int_equal(translate6(&packet), VERDICT_TRANSLATED_6TO4);
    (void)assert_sound4(&packet);
    assert_int_equal(packet.length, 576);
    original = make4(17, 1480);
    sample = (struct sample){.type = 3, .code = 0, .inner = keep(&original), .length = 1472};
    packet = make_error(4, &sample);
    assert_int_equal(translate4(&packet), VERDICT_TRANSLATED_4TO6);
    (void)assert_sound6(&packet);
    assert_int_equal(packet.length, 1280);
}

static const uint8_t extension[12] = {0x20, 0, 0xaa, 0xbb, 0, 8, 1, 1, 0x12, 0x34, 0x51, 0x01};

/*
 * A field of `field` bytes with a datagram of 40 bytes of transport in it, then an extension.
 * rfc: 7915-5.2-j, 7915-5.2-k, 4884-3-a, 4884-3-b, 4884-4-a, 4884-4-b
 */
static void extensions_of_6_are_kept(void **state)
{
    (void)state;
    for (uint32_t field = 128; field <= 512; field += 8) {
        struct packet original = make6(17, 40), packet;
        struct sample sample = {.type = 3,
                                .rest = {(uint8_t)(field / 8)},
                                .inner = keep(&original),
                                .length = field,
                                .extra = extension,
                                .extra_length = 12};
        uint32_t new_field = field - 20 < 128 ? 128 : field - 20;
        const uint8_t *inner;
        packet = make_error(6, &sample);
        assert_int_equal(translate6(&packet), VERDICT_TRANSLATED_6TO4);
        inner = assert_sound4(&packet);
        assert_int_equal(be(inner - 8, 2), 0x0b00);
        assert_int_equal(packet.length, 28 + new_field + 12);
        assert_int_equal(be(inner - 4, 4), new_field / 4 << 16);
        assert_memory_equal(inner + new_field, extension, 12);
        assert_int_equal(transport_sum(inner, 20, 17, 40), 0xffff);
        for (uint32_t i = 60; i < new_field; i++)
            assert_int_equal(inner[i], 0);
    }
}

/* rfc: 7915-4.2-n, 7915-4.2-p, 4884-3-a, 4884-3-c, 4884-4-a, 4884-4-b */
static void extensions_of_4_are_kept(void **state)
{
    (void)state;
    for (uint32_t field = 128; field <= 1020; field += 4) {
        struct packet original = make4(17, 40), packet;
        struct sample sample = {.type = 11,
                                .rest = {0, (uint8_t)(field / 4)},
                                .inner = keep(&original),
                                .length = field,
                                .extra = extension,
                                .extra_length = 12};
        uint32_t new_field = (field + 20 + 7) / 8 * 8;
        const uint8_t *inner;
        packet = make_error(4, &sample);
        assert_int_equal(translate4(&packet), VERDICT_TRANSLATED_4TO6);
        inner = assert_sound6(&packet);
        assert_int_equal(packet.length, 48 + new_field + 12);
        assert_int_equal(be(inner - 4, 4), new_field / 8 << 24);
        assert_memory_equal(inner + new_field, extension, 12);
        assert_int_equal(transport_sum(inner, 40, 17, 40), 0xffff);
        for (uint32_t i = 80; i < new_field; i++)
            assert_int_equal(inner[i], 0);
    }
}

/*
 * A field that shrinks below 128 bytes is filled up with zeroes, whatever stood there.
 * rfc: 4884-4-f
 */
static void fields_are_padded_with_zeroes(void **state)
{
    struct packet original = make6(17, 1000);
    struct sample sample = {.type = 3,
                            .rest = {16},
                            .inner = keep(&original),
                            .length = 128,
                            .extra = extension,
                            .extra_length = 12};
    struct packet packet = make_error(6, &sample);
    const uint8_t *inner;
    (void)state;
    assert_int_equal(translate6(&packet), VERDICT_TRANSLATED_6TO4);
    inner = assert_sound4(&packet);
    assert_int_equal(packet.length, 28 + 128 + 12);
    assert_memory_equal(inner + 28, sample.inner + 48, 80);
    for (unsigned i = 108; i < 128; i++)
        assert_int_equal(inner[i], 0);
}

/*
 * The quotation yields to an extension; if even 128 bytes of it are too many, the extension is cut.
 * rfc: 7915-4.2-o, 4884-7-a
 */
static void quotation_yields_to_extensions(void **state)
{
    static const uint8_t large[600] = {0x20, 7};
    struct packet original = make6(17, 1500);
    struct sample sample = {.type = 1,
                            .rest = {125},
                            .inner = keep(&original),
                            .length = 1000,
                            .extra = large,
                            .extra_length = 40};
    struct packet packet = make_error(6, &sample);
    (void)state;
    assert_int_equal(translate6(&packet), VERDICT_TRANSLATED_6TO4);
    assert_int_equal(packet.length, 576);
    assert_int_equal(assert_sound4(&packet)[-3], 508 / 4);
    assert_memory_equal(assert_sound4(&packet) + 508, large, 40);
    sample.length = 256;
    sample.rest[0] = 32;
    sample.extra_length = 600;
    packet = make_error(6, &sample);
    assert_int_equal(translate6(&packet), VERDICT_TRANSLATED_6TO4);
    assert_int_equal(packet.length, 576);
    assert_int_equal(assert_sound4(&packet)[-3], 128 / 4);
    assert_memory_equal(assert_sound4(&packet) + 128, large, 420);
}

/*
 * Packet Too Big and ICMPv6 Parameter Problem have no room for a length, so they may have no extension.
 * rfc: 4884-4.6-a
 */
static void messages_without_attribute_lose_extensions(void **state)
{
    struct packet original = make4(17, 108), packet;
    struct sample sample = {.type = 3,
                            .code = 4,
                            .rest = {0, 32, 5, 0x78},
                            .inner = keep(&original),
                            .length = 128,
                            .extra = extension,
                            .extra_length = 12};
    (void)state;
    packet = make_error(4, &sample);
    assert_int_equal(translate4(&packet), VERDICT_TRANSLATED_4TO6);
    (void)assert_sound6(&packet);
    assert_int_equal(packet.length, 48 + 148);
    assert_int_equal(be(packet_data(&packet) + 44, 4), 1420);
    sample.type = 12;
    sample.code = 0;
    sample.rest[0] = 8;
    packet = make_error(4, &sample);
    assert_int_equal(translate4(&packet), VERDICT_TRANSLATED_4TO6);
    assert_int_equal(packet.length, 48 + 148);
    assert_int_equal(be(packet_data(&packet) + 44, 4), 7);
}

/*
 * A length attribute that cannot be true is taken for noise: all is quotation, and no length is stated.
 * rfc: 4884-5.4-a
 */
static void impossible_attributes_are_ignored(void **state)
{
    static const uint8_t lengths[] = {1, 31, 33, 255};
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        struct packet original = make4(17, 108);
        struct sample sample = {.type = 11, .rest = {0, lengths[i]}, .inner = keep(&original), .length = 128};
        struct packet packet = make_error(4, &sample);
        assert_int_equal(translate4(&packet), VERDICT_TRANSLATED_4TO6);
        assert_int_equal(be(assert_sound6(&packet) - 4, 4), 0);
        assert_int_equal(packet.length, 48 + 148);
    }
}

/* A router split our packet on its way and complains about the first part. */
static void quoted_first_fragments_are_marked(void **state)
{
    static const uint8_t fragment[8] = {17, 0, 0, 1, 0, 0, 0x12, 0x34};
    struct packet original = make4(17, 60);
    struct sample sample = {.type = 11, .code = 1, .length = 60};
    struct packet packet;
    const uint8_t *inner;
    (void)state;
    put(packet_data(&original) + 6, 2, 0x2000);
    sample.inner = keep(&original);
    packet = make_error(4, &sample);
    assert_int_equal(translate4(&packet), VERDICT_TRANSLATED_4TO6);
    inner = assert_sound6(&packet);
    assert_int_equal(be(inner + 4, 2), 68);
    assert_int_equal(inner[6], 44);
    assert_memory_equal(inner + 40, fragment, 8);
    assert_int_equal(be(inner + 48, 2), 3333);

    original = make6(17, 60);
    insert_headers(&original, fragment, 8)[6] = 44;
    sample = (struct sample){.type = 3, .code = 1, .inner = keep(&original), .length = 100};
    packet = make_error(6, &sample);
    assert_int_equal(translate6(&packet), VERDICT_TRANSLATED_6TO4);
    inner = assert_sound4(&packet);
    assert_int_equal(be(inner + 2, 2), 80);
    assert_int_equal(be(inner + 4, 4), 0x12342000);
}

static void what_cannot_be_translated_is_left_alone(void **state)
{
    struct packet original = make6(17, 60), packet;
    struct sample sample = {.type = 1, .code = 0, .inner = keep(&original), .length = 100};
    (void)state;
    packet = make_error(6, &sample);
    packet_data(&packet)[7] = 1;
    assert_int_equal(translate6(&packet), VERDICT_HOP_LIMIT);
    packet = make_error(6, &sample);
    packet_data(&packet)[100] ^= 1;
    assert_int_equal(translate6(&packet), VERDICT_ICMP_CHECKSUM);
    sample.code = 7;
    packet = make_error(6, &sample);
    assert_int_equal(translate6(&packet), VERDICT_ICMP_TYPE);
    sample.code = 0;
    original = make6(58, 60);
    packet_data(&original)[40] = 3;
    sample.inner = keep(&original);
    packet = make_error(6, &sample);
    assert_int_equal(translate6(&packet), VERDICT_ICMP_INNER);

    original = make4(17, 60);
    sample.inner = keep(&original);
    packet = make_error(6, &sample); /* quotes IPv4 */
    assert_int_equal(translate6(&packet), VERDICT_ICMP_INNER);

    original = make4(17, 60);
    sample = (struct sample){.type = 3, .code = 14, .inner = keep(&original), .length = 80};
    packet = make_error(4, &sample);
    assert_int_equal(translate4(&packet), VERDICT_ICMP_TYPE);
    sample.code = 1;
    packet = make_error(4, &sample);
    packet_data(&packet)[60] ^= 1;
    assert_int_equal(translate4(&packet), VERDICT_ICMP_CHECKSUM);
    packet = make_error(4, &sample);
    memmove(test_buffer + 39, packet_data(&packet), packet.length);
    packet.offset = 39;
    assert_int_equal(translate4(&packet), VERDICT_NO_ROOM);
    assert_int_equal(packet.offset, 39);
    memmove(test_buffer + 40, test_buffer + 39, packet.length);
    packet.offset = 40;
    assert_int_equal(translate4(&packet), VERDICT_TRANSLATED_4TO6);
    assert_int_equal(packet.offset, 0);
}

static int start(void **state)
{
    (void)state;
    settings = test_settings;
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(quoted_ipv6_becomes_ipv4, start),
        cmocka_unit_test_setup(quoted_ipv4_becomes_ipv6, start),
        cmocka_unit_test_setup(eight_bytes_of_transport_suffice, start),
        cmocka_unit_test_setup(tcp_checksum_counts_only_if_quoted, start),
        cmocka_unit_test_setup(missing_udp_checksum_stays_missing, start),
        cmocka_unit_test_setup(mtu_is_adjusted, start),
        cmocka_unit_test_setup(long_errors_are_cut, start),
        cmocka_unit_test_setup(extensions_of_6_are_kept, start),
        cmocka_unit_test_setup(extensions_of_4_are_kept, start),
        cmocka_unit_test_setup(fields_are_padded_with_zeroes, start),
        cmocka_unit_test_setup(quotation_yields_to_extensions, start),
        cmocka_unit_test_setup(messages_without_attribute_lose_extensions, start),
        cmocka_unit_test_setup(impossible_attributes_are_ignored, start),
        cmocka_unit_test_setup(quoted_first_fragments_are_marked, start),
        cmocka_unit_test_setup(what_cannot_be_translated_is_left_alone, start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
