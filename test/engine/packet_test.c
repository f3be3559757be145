/* SPDX-License-Identifier: BSD-2-Clause */
/* packet_describe: what it finds, what it refuses, and that it never reads beyond what it was given. */
#include "test/engine/packets.h"
#include "wire/ipv6.h"

static struct description found;

static void plain_packets_are_described(void **state)
{
    static const uint8_t protocols6[] = {6, 17, 58}, protocols4[] = {6, 17, 1};
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        struct packet packet = make6(protocols6[i], 30);
        assert_int_equal(packet_describe(&packet, &found), VERDICT_COUNT);
        assert_int_equal(found.version, 6);
        assert_int_equal(found.kind, i == 0 ? PACKET_TCP : i == 1 ? PACKET_UDP : PACKET_ICMP_QUERY);
        assert_int_equal(found.protocol, protocols6[i]);
        assert_int_equal(found.transport, 40);
        assert_int_equal(found.transport_length, 30);
        assert_int_equal(from_be16(found.source_port), 1111);
        assert_int_equal(from_be16(found.destination_port), i == 2 ? 1111 : 2222);
        assert_true(found.whole);
        assert_false(found.fragmented);
        assert_int_equal(found.tcp_flags, i == 0 ? 0x10 : 0);
        assert_int_equal(found.icmp_type, i == 2 ? 128 : 0);

        packet = make4(protocols4[i], 30);
        assert_int_equal(packet_describe(&packet, &found), VERDICT_COUNT);
        assert_int_equal(found.version, 4);
        assert_int_equal(found.kind, i == 0 ? PACKET_TCP : i == 1 ? PACKET_UDP : PACKET_ICMP_QUERY);
        assert_int_equal(found.transport, 20);
        assert_int_equal(from_be16(found.source_port), 1111);
    }
}

static void trailing_bytes_are_cut_off(void **state)
{
    struct packet packet = make6(17, 20);
    (void)state;
    packet.length += 9;
    assert_int_equal(packet_describe(&packet, &found), VERDICT_COUNT);
    assert_int_equal(packet.length, 60);
    packet = make4(17, 20);
    packet.length += 9;
    assert_int_equal(packet_describe(&packet, &found), VERDICT_COUNT);
    assert_int_equal(packet.length, 40);
}

/* Each prefix of a packet is described from a buffer of just that length, so a sanitizer sees any excess. */
static void every_truncation_is_noticed(void **state)
{
    static const uint8_t destination_options[8] = {6, 0, 1, 4};
    (void)state;
    for (unsigned kind = 0; kind < 3; kind++) {
        struct packet whole = kind == 0 ? make4(6, 20) : make6(6, 20);
        if (kind == 2)
            insert_headers(&whole, destination_options, 8)[6] = PROTOCOL_DESTINATION_OPTIONS;
        for (uint32_t length = 0; length < whole.length; length++) {
            struct packet cut = {.buffer = malloc(length + 1), .capacity = length, .length = length};
            uint8_t *exact = realloc(cut.buffer, length == 0 ? 1 : length);
            cut.buffer = exact;
            memcpy(exact, packet_data(&whole), length);
            assert_int_equal(packet_describe(&cut, &found), VERDICT_TRUNCATED);
            free(exact);
        }
        assert_int_equal(packet_describe(&whole, &found), VERDICT_COUNT);
    }
}

static void impossible_headers_are_refused(void **state)
{
    struct packet packet = make4(17, 20);
    (void)state;
    packet_data(&packet)[0] = 0x55;
    assert_int_equal(packet_describe(&packet, &found), VERDICT_BAD_VERSION);
    packet = make4(17, 20);
    packet_data(&packet)[10] ^= 1;
    assert_int_equal(packet_describe(&packet, &found), VERDICT_BAD_HEADER);
    packet = make4(17, 20);
    packet_data(&packet)[0] = 0x44;
    assert_int_equal(packet_describe(&packet, &found), VERDICT_BAD_HEADER);
    packet = make4(17, 20);
    put(packet_data(&packet) + 2, 2, 19);
    assert_int_equal(packet_describe(&packet, &found), VERDICT_BAD_HEADER);
    /* Length zero: BIG TCP in IPv4; in IPv6 only with the jumbo option, and without it there is nothing. */
    packet = make4(6, 20);
    put(packet_data(&packet) + 2, 2, 0);
    assert_int_equal(packet_describe(&packet, &found), VERDICT_BAD_HEADER);
    packet = make6(6, 20);
    put(packet_data(&packet) + 4, 2, 0);
    assert_int_equal(packet_describe(&packet, &found), VERDICT_TRUNCATED);
    packet = make6(0, 20);
    put(packet_data(&packet) + 4, 2, 0);
    assert_int_equal(packet_describe(&packet, &found), VERDICT_BAD_HEADER);
    packet = make6(132, 20);
    put(packet_data(&packet) + 4, 2, 0);
    assert_int_equal(packet_describe(&packet, &found), VERDICT_COUNT);
    assert_int_equal(packet.length, 40);
}

static void transport_lengths_are_checked(void **state)
{
    struct packet packet = make6(6, 24);
    (void)state;
    packet_data(&packet)[40 + 12] = 0x40;
    assert_int_equal(packet_describe(&packet, &found), VERDICT_TRUNCATED);
    packet_data(&packet)[40 + 12] = 0x70;
    assert_int_equal(packet_describe(&packet, &found), VERDICT_TRUNCATED);
    packet_data(&packet)[40 + 12] = 0x60;
    assert_int_equal(packet_describe(&packet, &found), VERDICT_COUNT);

    packet = make6(17, 20);
    put(packet_data(&packet) + 44, 2, 21);
    assert_int_equal(packet_describe(&packet, &found), VERDICT_TRUNCATED);
    put(packet_data(&packet) + 44, 2, 7);
    assert_int_equal(packet_describe(&packet, &found), VERDICT_TRUNCATED);
    put(packet_data(&packet) + 44, 2, 8);
    assert_int_equal(packet_describe(&packet, &found), VERDICT_COUNT);
}

static enum verdict with_options(const uint8_t *options, uint32_t length)
{
    struct packet packet = make4(17, 20);
    insert_headers(&packet, options, length);
    return packet_describe(&packet, &found);
}

static void ipv4_options_are_walked(void **state)
{
    static const uint8_t plain[] = {1, 148, 4, 0, 0, 1, 1, 0};
    static const uint8_t after_end[] = {0, 131, 0, 0};
    static const uint8_t short_option[] = {1, 1, 7, 1};
    static const uint8_t long_option[] = {7, 5, 0, 0};
    static const uint8_t cut_option[] = {1, 1, 1, 7};
    static const uint8_t loose[] = {131, 7, 4, 192, 0, 2, 1, 0};
    static const uint8_t strict[] = {137, 7, 4, 192, 0, 2, 1, 0};
    static const uint8_t last_hop[] = {131, 7, 7, 192, 0, 2, 1, 0};
    static const uint8_t expired[] = {131, 7, 8, 192, 0, 2, 1, 0};
    (void)state;
    assert_int_equal(with_options(plain, sizeof(plain)), VERDICT_COUNT);
    assert_int_equal(found.transport, 28);
    assert_int_equal(found.transport_length, 20);
    assert_int_equal(with_options(after_end, 4), VERDICT_COUNT);
    assert_int_equal(with_options(short_option, 4), VERDICT_BAD_HEADER);
    assert_int_equal(with_options(long_option, 4), VERDICT_BAD_HEADER);
    assert_int_equal(with_options(cut_option, 4), VERDICT_BAD_HEADER);
    assert_int_equal(with_options(strict, 8), VERDICT_SOURCE_ROUTE);
    assert_int_equal(with_options(loose, 8), VERDICT_SOURCE_ROUTE);
    assert_int_equal(found.kind, PACKET_UDP);
    assert_int_equal(with_options(last_hop, 8), VERDICT_SOURCE_ROUTE);
    assert_int_equal(with_options(expired, 8), VERDICT_COUNT);
}

/* A UDP packet with one extension header of 8 bytes of the given type. */
static enum verdict with_extension(uint8_t type, const uint8_t header[8])
{
    struct packet packet = make6(17, 20);
    insert_headers(&packet, header, 8)[6] = type;
    return packet_describe(&packet, &found);
}

static void extension_headers_are_skipped(void **state)
{
    static const uint8_t options[8] = {17, 0, 1, 4}, ended[8] = {17, 0, 4, 0}, routing[8] = {17, 0, 4, 2};
    static const uint8_t types[] = {PROTOCOL_AUTHENTICATION, PROTOCOL_MOBILITY, PROTOCOL_HIP, PROTOCOL_SHIM6};
    (void)state;
    assert_int_equal(with_extension(PROTOCOL_HOP_BY_HOP, options), VERDICT_COUNT);
    assert_int_equal(found.transport, 48);
    assert_int_equal(found.kind, PACKET_UDP);
    assert_int_equal(with_extension(PROTOCOL_DESTINATION_OPTIONS, options), VERDICT_COUNT);
    assert_int_equal(with_extension(PROTOCOL_ROUTING, ended), VERDICT_COUNT);
    assert_int_equal(with_extension(PROTOCOL_ROUTING, routing), VERDICT_ROUTING_HEADER);
    assert_int_equal(found.problem, 43);
    assert_int_equal(found.kind, PACKET_UDP);
    for (unsigned i = 0; i < sizeof(types); i++) {
        assert_int_equal(with_extension(types[i], options), VERDICT_COUNT);
        assert_int_equal(found.kind, PACKET_OTHER);
        assert_int_equal(found.protocol, types[i]);
    }
    assert_int_equal(with_extension(PROTOCOL_ESP, options), VERDICT_COUNT);
    assert_int_equal(found.kind, PACKET_OTHER);
    assert_int_equal(with_extension(PROTOCOL_NONE, options), VERDICT_COUNT);
    assert_int_equal(found.kind, PACKET_OTHER);
}

static void extension_headers_are_counted(void **state)
{
    static const uint8_t first[8] = {17, 0, 1, 4}, more[8] = {PROTOCOL_DESTINATION_OPTIONS, 0, 1, 4};
    struct packet packet = make6(17, 20);
    (void)state;
    insert_headers(&packet, first, 8)[6] = PROTOCOL_DESTINATION_OPTIONS;
    for (unsigned n = 1; n < EXTENSION_HEADERS_MAXIMUM; n++)
        insert_headers(&packet, more, 8);
    assert_int_equal(packet_describe(&packet, &found), VERDICT_COUNT);
    assert_int_equal(found.transport, 40 + 8 * EXTENSION_HEADERS_MAXIMUM);
    insert_headers(&packet, more, 8);
    assert_int_equal(packet_describe(&packet, &found), VERDICT_EXTENSION_HEADER);
    /* Nor is a routing header answered in front of what nobody knows: it may be an error (RFC 4443 2.4 (e)).
     */
    packet_data(&packet)[6] = PROTOCOL_ROUTING;
    packet_data(&packet)[43] = 1;
    assert_int_equal(packet_describe(&packet, &found), VERDICT_EXTENSION_HEADER);
}

static void fragments_are_told_apart(void **state)
{
    static const uint8_t atomic[8] = {17, 0, 0, 0, 1, 2, 3, 4}, first[8] = {17, 0, 0, 1};
    static const uint8_t later[8] = {17, 0, 0, 8}, options[8] = {PROTOCOL_DESTINATION_OPTIONS};
    struct packet packet;
    (void)state;
    assert_int_equal(with_extension(PROTOCOL_FRAGMENT, atomic), VERDICT_COUNT);
    assert_false(found.fragmented);
    assert_int_equal(found.fragment_header, 40);
    assert_int_equal(found.kind, PACKET_UDP);
    assert_int_equal(with_extension(PROTOCOL_FRAGMENT, first), VERDICT_COUNT);
    assert_true(found.fragmented);
    assert_int_equal(found.kind, PACKET_UDP);
    assert_int_equal(with_extension(PROTOCOL_FRAGMENT, later), VERDICT_COUNT);
    assert_true(found.fragmented);
    assert_int_equal(found.kind, PACKET_FRAGMENT);
    assert_int_equal(with_extension(PROTOCOL_FRAGMENT, options), VERDICT_EXTENSION_HEADER);

    packet = make4(17, 20);
    put(packet_data(&packet) + 6, 2, 0x2000);
    put(packet_data(&packet) + 24, 2, 3000); /* of the whole datagram */
    seal_ipv4(packet_data(&packet));
    assert_int_equal(packet_describe(&packet, &found), VERDICT_COUNT);
    assert_true(found.fragmented);
    assert_int_equal(found.kind, PACKET_UDP);
    put(packet_data(&packet) + 6, 2, 0x0001);
    seal_ipv4(packet_data(&packet));
    assert_int_equal(packet_describe(&packet, &found), VERDICT_COUNT);
    assert_int_equal(found.kind, PACKET_FRAGMENT);
}

static void icmp_kinds_are_told_apart(void **state)
{
    static const struct {
        uint8_t version, type, kind;
    } cases[] = {
        {4, 0, PACKET_ICMP_QUERY},  {4, 3, PACKET_ICMP_ERROR},   {4, 11, PACKET_ICMP_ERROR},
        {4, 12, PACKET_ICMP_ERROR}, {4, 4, PACKET_ICMP_OTHER},   {4, 5, PACKET_ICMP_OTHER},
        {4, 13, PACKET_ICMP_OTHER}, {6, 129, PACKET_ICMP_QUERY}, {6, 1, PACKET_ICMP_ERROR},
        {6, 2, PACKET_ICMP_ERROR},  {6, 3, PACKET_ICMP_ERROR},   {6, 4, PACKET_ICMP_ERROR},
        {6, 0, PACKET_ICMP_OTHER},  {6, 5, PACKET_ICMP_OTHER},   {6, 135, PACKET_ICMP_OTHER},
    };
    (void)state;
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct packet packet = cases[i].version == 4 ? make4(1, 12) : make6(58, 12);
        packet_data(&packet)[cases[i].version == 4 ? 20 : 40] = cases[i].type;
        assert_int_equal(packet_describe(&packet, &found), VERDICT_COUNT);
        assert_int_equal(found.kind, cases[i].kind);
    }
    struct packet strange = make4(58, 12);
    assert_int_equal(packet_describe(&strange, &found), VERDICT_COUNT);
    assert_int_equal(found.kind, PACKET_OTHER);
    strange = make4(2, 4);
    assert_int_equal(packet_describe(&strange, &found), VERDICT_COUNT);
    assert_int_equal(found.kind, PACKET_ICMP_OTHER);
}

static enum verdict with_offload(struct packet packet, struct offload offload)
{
    packet.offload = offload;
    return packet_describe(&packet, &found);
}

static void offload_must_fit(void **state)
{
    const struct offload tcp6 = {1, OFFLOAD_GSO_TCPV6 | OFFLOAD_GSO_ECN, 60, 1000, 40, 16};
    const struct offload tcp4 = {1, OFFLOAD_GSO_TCPV4, 40, 1000, 20, 16};
    const struct offload udp6 = {1, OFFLOAD_GSO_UDP, 48, 1000, 40, 6};
    struct offload wrong = tcp6;
    (void)state;
    assert_int_equal(with_offload(make6(6, 3000), tcp6), VERDICT_COUNT);
    assert_int_equal(with_offload(make4(6, 3000), tcp4), VERDICT_COUNT);
    assert_int_equal(with_offload(make6(17, 3000), udp6), VERDICT_COUNT);
    assert_int_equal(with_offload(make4(6, 3000), tcp6), VERDICT_BAD_OFFLOAD);
    assert_int_equal(with_offload(make6(6, 3000), tcp4), VERDICT_BAD_OFFLOAD);
    assert_int_equal(with_offload(make6(6, 3000), udp6), VERDICT_BAD_OFFLOAD);
    wrong.flags = 0;
    assert_int_equal(with_offload(make6(6, 3000), wrong), VERDICT_BAD_OFFLOAD);
    wrong = tcp6;
    wrong.gso_size = 0;
    assert_int_equal(with_offload(make6(6, 3000), wrong), VERDICT_BAD_OFFLOAD);
    wrong = tcp6;
    wrong.checksum_start = 41;
    assert_int_equal(with_offload(make6(6, 3000), wrong), VERDICT_BAD_OFFLOAD);
    wrong = tcp6;
    wrong.checksum_offset = 6;
    assert_int_equal(with_offload(make6(6, 3000), wrong), VERDICT_BAD_OFFLOAD);
    wrong = udp6;
    wrong.gso_type = 3; /* the old way of segmenting UDP, into IP fragments */
    assert_int_equal(with_offload(make6(17, 3000), wrong), VERDICT_BAD_OFFLOAD);
    wrong = (struct offload){.flags = 1, .checksum_start = 40, .checksum_offset = 2};
    assert_int_equal(with_offload(make6(58, 300), wrong), VERDICT_BAD_OFFLOAD);
}

static void segments_are_measured(void **state)
{
    struct packet packet = make6(6, 3032);
    (void)state;
    packet_data(&packet)[40 + 12] = 0x80;
    assert_int_equal(packet_describe(&packet, &found), VERDICT_COUNT);
    assert_int_equal(packet_segment_length(&packet, &found), 3072);
    packet.offload = (struct offload){1, OFFLOAD_GSO_TCPV6, 72, 1000, 40, 16};
    assert_int_equal(packet_segment_length(&packet, &found), 1072);
    packet.offload.gso_size = 5000;
    assert_int_equal(packet_segment_length(&packet, &found), 3072);
    packet = make4(17, 3008);
    packet.offload = (struct offload){1, OFFLOAD_GSO_UDP, 28, 1200, 20, 6};
    assert_int_equal(packet_describe(&packet, &found), VERDICT_COUNT);
    assert_int_equal(packet_segment_length(&packet, &found), 1228);
}

/* rfc: 6146-3.4-b */
static void quoted_headers_need_eight_bytes(void **state)
{
    struct packet packet = make6(6, 40);
    const uint8_t *ip = packet_data(&packet);
    (void)state;
    assert_int_equal(packet_describe_quoted(ip, 47, &found), VERDICT_ICMP_INNER);
    assert_int_equal(packet_describe_quoted(ip, 48, &found), VERDICT_COUNT);
    assert_int_equal(found.kind, PACKET_TCP);
    assert_false(found.whole);
    assert_int_equal(found.transport_length, 40);
    assert_int_equal(from_be16(found.destination_port), 2222);
    assert_int_equal(packet_describe_quoted(ip, 59, &found), VERDICT_COUNT);
    assert_false(found.whole);
    assert_int_equal(packet_describe_quoted(ip, 60, &found), VERDICT_COUNT);
    assert_true(found.whole);

    packet = make4(17, 40);
    packet_data(&packet)[10] ^= 1; /* the header checksum is not looked at */
    assert_int_equal(packet_describe_quoted(packet_data(&packet), 28, &found), VERDICT_COUNT);
    assert_true(found.whole);
    assert_int_equal(packet_describe_quoted(packet_data(&packet), 27, &found), VERDICT_ICMP_INNER);
    put(packet_data(&packet) + 6, 2, 1);
    assert_int_equal(packet_describe_quoted(packet_data(&packet), 60, &found), VERDICT_COUNT);
    assert_int_equal(found.kind, PACKET_FRAGMENT);
    /* What has no header may be as short as it likes: the last fragment of a datagram often is. */
    assert_int_equal(packet_describe_quoted(packet_data(&packet), 20, &found), VERDICT_COUNT);
    assert_int_equal(found.transport_length, 40);
    assert_int_equal(packet_describe_quoted(packet_data(&packet), 19, &found), VERDICT_ICMP_INNER);
    packet_data(&packet)[0] = 0x35;
    assert_int_equal(packet_describe_quoted(packet_data(&packet), 60, &found), VERDICT_ICMP_INNER);

    packet = make4(1, 40);
    packet_data(&packet)[20] = 3;
    assert_int_equal(packet_describe_quoted(packet_data(&packet), 60, &found), VERDICT_COUNT);
    assert_int_equal(found.kind, PACKET_ICMP_ERROR);
}

/* Random bytes behind a plausible start, in buffers of their exact size: for the sanitizers. */
static void random_bytes_do_no_harm(void **state)
{
    (void)state;
    srandom(1);
    for (unsigned i = 0; i < 20000; i++) {
        uint32_t length = (uint32_t)random() % 120 + 1;
        uint8_t *bytes = malloc(length);
        struct packet packet = {.buffer = bytes, .capacity = length, .length = length};
        for (uint32_t j = 0; j < length; j++)
            bytes[j] = (uint8_t)(random() % 3 == 0 ? random() : random() % 4 * 20);
        bytes[0] = (uint8_t)(i % 2 == 0 ? 0x60 : 0x45 + random() % 3);
        packet_describe_quoted(bytes, length, &found);
        packet_describe(&packet, &found);
        assert_true(packet.length <= length);
        free(bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_packets_are_described),
        cmocka_unit_test(trailing_bytes_are_cut_off),
        cmocka_unit_test(every_truncation_is_noticed),
        cmocka_unit_test(impossible_headers_are_refused),
        cmocka_unit_test(transport_lengths_are_checked),
        cmocka_unit_test(ipv4_options_are_walked),
        cmocka_unit_test(extension_headers_are_skipped),
        cmocka_unit_test(extension_headers_are_counted),
        cmocka_unit_test(fragments_are_told_apart),
        cmocka_unit_test(icmp_kinds_are_told_apart),
        cmocka_unit_test(offload_must_fit),
        cmocka_unit_test(segments_are_measured),
        cmocka_unit_test(quoted_headers_need_eight_bytes),
        cmocka_unit_test(random_bytes_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
