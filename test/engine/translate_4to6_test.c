/* SPDX-License-Identifier: BSD-2-Clause */
/* IPv4 to IPv6: header fields one by one, checksums against full sums, offloads, and what is refused. */
#include "engine/translate.h"
#include "test/engine/packets.h"

static struct translation_settings settings;
static struct description found;

static enum verdict translate(struct packet *packet)
{
    struct endpoints6 to = {.source_port = to_be16(3333), .destination_port = to_be16(4444)};
    enum verdict verdict = packet_describe(packet, &found);
    memcpy(&to.source, test_destination6, 16);
    memcpy(&to.destination, test_source6, 16);
    return verdict == VERDICT_COUNT ? translate_4to6(packet, &found, &to, &settings) : verdict;
}

static void assert_refused(struct packet packet, enum verdict why)
{
    static uint8_t before[TEST_CAPACITY];
    struct packet copy = packet;
    memcpy(before, packet.buffer, sizeof(before));
    assert_int_equal(translate(&packet), why);
    assert_memory_equal(before, packet.buffer, sizeof(before));
    assert_memory_equal(&copy, &packet, sizeof(copy));
}

static void set_flags(struct packet *packet, uint32_t flags)
{
    put(packet_data(packet) + 6, 2, flags);
    seal_ipv4(packet_data(packet));
}

static void set_ttl(struct packet *packet, uint8_t ttl)
{
    packet_data(packet)[8] = ttl;
    seal_ipv4(packet_data(packet));
}

/* rfc: 7915-4.1-d, 7915-4.1-e, 7915-4.1-g, 7915-4.1-h, 7915-4.1-i */
static void header_is_as_the_rfc_says(void **state)
{
    /* version 6, class 0xab, flow label 0, payload 28, UDP, hop limit 63 */
    static const uint8_t expected[8] = {0x6a, 0xb0, 0, 0, 0, 28, 17, 63};
    struct packet packet = make4(17, 28);
    uint8_t *ip;
    (void)state;
    assert_int_equal(translate(&packet), VERDICT_TRANSLATED_4TO6);
    ip = packet_data(&packet);
    assert_int_equal(packet.length, 68);
    assert_int_equal(packet.offset, TEST_ROOM - 20);
    assert_memory_equal(ip, expected, 8);
    assert_memory_equal(ip + 8, test_destination6, 16);
    assert_memory_equal(ip + 24, test_source6, 16);
    assert_int_equal(be(ip + 40, 2), 3333);
    assert_int_equal(be(ip + 42, 2), 4444);
    assert_int_equal(transport_sum(ip, 40, 17, 28), 0xffff);
    for (unsigned i = 8; i < 28; i++)
        assert_int_equal(ip[40 + i], (uint8_t)(i * 7 + 3));

    settings.zeroize_traffic_class = true;
    packet = make4(17, 28);
    assert_int_equal(translate(&packet), VERDICT_TRANSLATED_4TO6);
    assert_int_equal(be(packet_data(&packet), 4), 0x60000000);
}

static void tcp_and_echo_are_translated(void **state)
{
    struct packet packet = make4(6, 41);
    (void)state;
    assert_int_equal(translate(&packet), VERDICT_TRANSLATED_4TO6);
    assert_int_equal(transport_sum(packet_data(&packet), 40, 6, 41), 0xffff);
    for (unsigned type = 0; type <= 8; type += 8) {
        packet = make4(1, 33);
        packet_data(&packet)[20] = (uint8_t)type;
        seal(packet_data(&packet), 20, 1, 33);
        assert_int_equal(translate(&packet), VERDICT_TRANSLATED_4TO6);
        assert_int_equal(packet_data(&packet)[6], 58);
        assert_int_equal(packet_data(&packet)[40], type == 8 ? 128 : 129);
        assert_int_equal(be(packet_data(&packet) + 44, 2), 3333);
        assert_int_equal(transport_sum(packet_data(&packet), 40, 58, 33), 0xffff);
    }
}

static void wrong_checksums_stay_equally_wrong(void **state)
{
    static const uint8_t protocols[] = {6, 17, 1};
    (void)state;
    srandom(4);
    for (unsigned i = 0; i < 3000; i++) {
        uint8_t protocol = protocols[i % 3];
        uint32_t length = 24 + (uint32_t)random() % 60;
        struct packet packet = make4(protocol, length);
        uint8_t *ip = packet_data(&packet);
        uint16_t error;
        for (unsigned j = 12; j < 20; j++)
            ip[j] = (uint8_t)random();
        seal_ipv4(ip);
        for (uint32_t j = 8 + 12; j < length; j++)
            ip[20 + j] = (uint8_t)random();
        seal(ip, 20, protocol, length);
        if (i % 2 == 0)
            put(ip + 20 + checksum_position(protocol), 2, (uint32_t)random() % 0xfffe + 1);
        error = transport_sum(ip, 20, protocol, length);
        assert_int_equal(translate(&packet), VERDICT_TRANSLATED_4TO6);
        assert_int_equal(transport_sum(packet_data(&packet), 40, protocol == 1 ? 58 : protocol, length),
                         error);
    }
}

/* The last bytes take every value, with the checksum there or missing: a right one that is not 0 goes out. */
static void udp_always_leaves_with_a_checksum(void **state)
{
    (void)state;
    for (unsigned missing = 0; missing < 2; missing++) {
        unsigned ones = 0;
        for (uint32_t value = 0; value < 0x10000; value++) {
            struct packet packet = {
                .buffer = test_buffer, .capacity = TEST_CAPACITY, .offset = 64, .length = 31};
            uint8_t *ip = packet_data(&packet);
            put_ipv4(ip, 17, 31);
            put_transport(ip + 20, 17, 11);
            put(ip + 28, 2, value);
            seal(ip, 20, 17, 11);
            if (missing)
                put(ip + 26, 2, 0);
            assert_int_equal(translate(&packet), VERDICT_TRANSLATED_4TO6);
            ip = packet_data(&packet);
            assert_int_equal(transport_sum(ip, 40, 17, 11), 0xffff);
            assert_int_not_equal(be(ip + 46, 2), 0);
            ones += be(ip + 46, 2) == 0xffff;
        }
        assert_int_equal(ones, 1);
    }
}

/* Bytes after the end of the datagram, where UDP says that it is shorter than the packet, are not summed. */
static void amended_checksum_ends_with_the_datagram(void **state)
{
    struct packet packet = make4(17, 40);
    (void)state;
    put(packet_data(&packet) + 24, 2, 33);
    put(packet_data(&packet) + 26, 2, 0);
    assert_int_equal(translate(&packet), VERDICT_TRANSLATED_4TO6);
    assert_int_equal(packet.length, 80);
    assert_int_equal(transport_sum(packet_data(&packet), 40, 17, 33), 0xffff);

    settings.amend_udp_checksum_zero = false;
    packet = make4(17, 40);
    put(packet_data(&packet) + 26, 2, 0);
    assert_refused(packet, VERDICT_UDP_CHECKSUM_ZERO);
}

static void options_vanish(void **state)
{
    static const uint8_t options[40] = {1, 1};
    (void)state;
    for (uint32_t length = 4; length <= 40; length += 4) {
        struct packet packet = make4(17, 28);
        insert_headers(&packet, options, length);
        assert_int_equal(translate(&packet), VERDICT_TRANSLATED_4TO6);
        assert_int_equal(packet.length, 68);
        assert_int_equal(be(packet_data(&packet), 4), 0x6ab00000);
        assert_int_equal(be(packet_data(&packet) + 4, 4), 28 << 16 | 17 << 8 | 63);
        assert_memory_equal(packet_data(&packet) + 8, test_destination6, 16);
        assert_memory_equal(packet_data(&packet) + 24, test_source6, 16);
        assert_int_equal(transport_sum(packet_data(&packet), 40, 17, 28), 0xffff);
    }
}

static void what_cannot_be_translated_is_left_alone(void **state)
{
    struct packet packet = make4(17, 28);
    (void)state;
    set_ttl(&packet, 1);
    assert_refused(packet, VERDICT_HOP_LIMIT);
    set_ttl(&packet, 0);
    assert_refused(packet, VERDICT_HOP_LIMIT);
    packet = make4(1, 28);
    set_flags(&packet, 0x2000);
    assert_refused(packet, VERDICT_ICMP_FRAGMENT);
    packet = make4(1, 28);
    packet_data(&packet)[20] = 13;
    assert_refused(packet, VERDICT_ICMP_TYPE);
    packet = make4(17, 1461);
    set_flags(&packet, 0x4000);
    assert_refused(packet, VERDICT_TOO_BIG_IPV4);
    packet = make4(17, 1460);
    set_flags(&packet, 0x4000);
    assert_int_equal(translate(&packet), VERDICT_TRANSLATED_4TO6);
    assert_int_equal(packet.length, 1500);
}

static void headroom_is_needed(void **state)
{
    struct packet packet = make4(17, 28);
    (void)state;
    memmove(test_buffer + 19, packet_data(&packet), packet.length);
    packet.offset = 19;
    assert_refused(packet, VERDICT_NO_ROOM);
    memmove(test_buffer + 20, packet_data(&packet), packet.length);
    packet.offset = 20;
    assert_int_equal(translate(&packet), VERDICT_TRANSLATED_4TO6);
    assert_int_equal(packet.offset, 0);
}

static void make_partial(struct packet *packet, uint8_t protocol, uint32_t length)
{
    uint8_t *ip = packet_data(packet);
    put(ip + 20 + checksum_position(protocol), 2, pseudo(ip, protocol, length));
    packet->offload = (struct offload){.flags = OFFLOAD_PARTIAL,
                                       .checksum_start = 20,
                                       .checksum_offset = (uint16_t)checksum_position(protocol)};
}

static void assert_completes(const struct packet *packet, uint8_t protocol, uint32_t length)
{
    uint8_t *ip = packet_data(packet), *field = ip + 40 + checksum_position(protocol);
    assert_int_equal(packet->offload.checksum_start, 40);
    assert_int_equal(packet->offload.checksum_offset, checksum_position(protocol));
    put(field, 2, (uint16_t)~words(0, ip + 40, length));
    assert_int_equal(transport_sum(ip, 40, protocol, length), 0xffff);
}

static void partial_checksums_stay_partial(void **state)
{
    static const uint8_t protocols[] = {6, 17};
    (void)state;
    srandom(5);
    for (unsigned i = 0; i < 1000; i++) {
        uint32_t length = 24 + (uint32_t)random() % 1000;
        struct packet packet = make4(protocols[i % 2], length);
        for (unsigned j = 12; j < 20; j++)
            packet_data(&packet)[j] = (uint8_t)random();
        seal_ipv4(packet_data(&packet));
        make_partial(&packet, protocols[i % 2], length);
        assert_int_equal(translate(&packet), VERDICT_TRANSLATED_4TO6);
        assert_int_equal(packet.offload.flags, OFFLOAD_PARTIAL);
        assert_completes(&packet, protocols[i % 2], length);
    }
}

static void super_packets_stay_whole(void **state)
{
    struct packet packet = make4(6, 65515);
    (void)state;
    set_flags(&packet, 0x4000);
    make_partial(&packet, 6, 65515);
    packet.offload.gso_type = OFFLOAD_GSO_TCPV4 | OFFLOAD_GSO_ECN;
    packet.offload.gso_size = 1440;
    packet.offload.header_length = 40;
    assert_int_equal(translate(&packet), VERDICT_TRANSLATED_4TO6);
    assert_int_equal(packet.offload.gso_type, OFFLOAD_GSO_TCPV6 | OFFLOAD_GSO_ECN);
    assert_int_equal(packet.offload.gso_size, 1440);
    assert_int_equal(packet.offload.header_length, 60);
    assert_int_equal(packet.length, 65555);
    assert_completes(&packet, 6, 65515);

    packet = make4(6, 60000);
    set_flags(&packet, 0x4000);
    make_partial(&packet, 6, 60000);
    packet.offload.gso_type = OFFLOAD_GSO_TCPV4;
    packet.offload.gso_size = 1441;
    assert_refused(packet, VERDICT_TOO_BIG_IPV4);

    packet = make4(17, 60000);
    make_partial(&packet, 17, 60000);
    packet.offload.gso_type = OFFLOAD_GSO_UDP;
    packet.offload.gso_size = 1200;
    assert_int_equal(translate(&packet), VERDICT_TRANSLATED_4TO6);
    assert_int_equal(packet.offload.gso_type, OFFLOAD_GSO_UDP);
    assert_completes(&packet, 17, 60000);
}

/* Without DF: TCP in smaller segments; datagrams as they are, as long as the path carries them. */
static void super_packets_without_df(void **state)
{
    struct packet packet = make4(6, 60000);
    (void)state;
    make_partial(&packet, 6, 60000);
    packet.offload.gso_type = OFFLOAD_GSO_TCPV4;
    packet.offload.gso_size = 1221;
    assert_int_equal(translate(&packet), VERDICT_TRANSLATED_4TO6);
    assert_int_equal(packet.offload.gso_size, 1220); /* 1280 less 40 and 20 */
    assert_completes(&packet, 6, 60000);

    packet = make4(17, 60000);
    make_partial(&packet, 17, 60000);
    packet.offload.gso_type = OFFLOAD_GSO_UDP;
    packet.offload.gso_size = 1452;
    assert_int_equal(translate(&packet), VERDICT_TRANSLATED_4TO6);
    assert_int_equal(packet.offload.gso_size, 1452);
    packet = make4(17, 60000);
    make_partial(&packet, 17, 60000);
    packet.offload.gso_type = OFFLOAD_GSO_UDP;
    packet.offload.gso_size = 1453;
    assert_int_equal(translate(&packet), VERDICT_FRAGMENTED_4TO6);
    assert_int_equal(packet.offload.gso_size, 1453);
    assert_int_equal(packet_data(&packet)[6], PROTOCOL_FRAGMENT);
}

/* Without DF and longer than 1280 bytes of IPv6: whole still, but with a fragment header, to be cut. */
static void what_is_to_be_cut_has_a_fragment_header(void **state)
{
    static const uint8_t whole[8] = {17, 0, 0, 0, 0, 0, 0x12, 0x34};
    static const uint8_t middle[8] = {17, 0, 0x00, 0x09, 0, 0, 0x12, 0x34};
    struct packet packet = make4(17, 1240);
    (void)state;
    assert_int_equal(translate(&packet), VERDICT_TRANSLATED_4TO6);
    assert_int_equal(packet.length, 1280);
    packet = make4(17, 1241);
    assert_int_equal(translate(&packet), VERDICT_FRAGMENTED_4TO6);
    assert_int_equal(packet.length, 1289);
    assert_int_equal(be(packet_data(&packet) + 4, 2), 1249);
    assert_memory_equal(packet_data(&packet) + 40, whole, 8);
    assert_int_equal(transport_sum(packet_data(&packet), 48, 17, 1241), 0xffff);

    packet = make4(17, 1241);
    make_partial(&packet, 17, 1241);
    assert_int_equal(translate(&packet), VERDICT_FRAGMENTED_4TO6);
    assert_int_equal(packet.offload.flags, 0);
    assert_int_equal(transport_sum(packet_data(&packet), 48, 17, 1241), 0xffff);

    packet = make4(17, 1233);
    set_flags(&packet, 0x2001);
    assert_int_equal(translate(&packet), VERDICT_FRAGMENTED_4TO6);
    assert_memory_equal(packet_data(&packet) + 40, middle, 8);
    packet = make4(17, 1233);
    set_flags(&packet, 0x1fff);
    assert_refused(packet, VERDICT_BAD_HEADER);
}

static void mss_is_clamped(void **state)
{
    static const uint8_t options[] = {2, 4, 0x05, 0xb4, 1, 2, 4, 5};
    struct packet packet = make4(6, 28);
    uint8_t *tcp = packet_data(&packet) + 20;
    (void)state;
    tcp[12] = 0x70;
    tcp[13] = 0x02;
    memcpy(tcp + 20, options, 8);
    seal(packet_data(&packet), 20, 6, 28);
    assert_int_equal(translate(&packet), VERDICT_TRANSLATED_4TO6);
    assert_int_equal(be(packet_data(&packet) + 62, 2), 1440);
    assert_int_equal(be(packet_data(&packet) + 64, 4),
                     0x01020405); /* only the first MSS, as it stands alone */
    assert_int_equal(transport_sum(packet_data(&packet), 40, 6, 28), 0xffff);
}

/* Offset, flag and identification in a fragment header (RFC 7915 section 4.1). */
static void fragments_stay_fragments(void **state)
{
    static const uint8_t first[8] = {17, 0, 0, 1, 0, 0, 0x12, 0x34};
    static const uint8_t later[8] = {17, 0, 0x7f, 0xf8, 0, 0, 0x12, 0x34};
    struct packet packet = make4(17, 1000);
    uint8_t payload[1000];
    (void)state;
    set_flags(&packet, 0x2000);
    assert_int_equal(translate(&packet), VERDICT_TRANSLATED_4TO6);
    assert_int_equal(packet.length, 1048);
    assert_int_equal(packet.offset, TEST_ROOM - 28);
    assert_int_equal(be(packet_data(&packet) + 4, 2), 1008);
    assert_int_equal(packet_data(&packet)[6], 44);
    assert_memory_equal(packet_data(&packet) + 40, first, 8);
    assert_int_equal(be(packet_data(&packet) + 48, 2), 3333);
    assert_int_equal(transport_sum(packet_data(&packet), 48, 17, 1000), 0xffff);

    packet = make4(17, 1000);
    set_flags(&packet, 0x0fff);
    memcpy(payload, packet_data(&packet) + 20, 1000);
    assert_int_equal(translate(&packet), VERDICT_TRANSLATED_4TO6);
    assert_memory_equal(packet_data(&packet) + 40, later, 8);
    assert_memory_equal(packet_data(&packet) + 48, payload, 1000);

    packet = make4(17, 28);
    put(packet_data(&packet) + 26, 2, 0);
    set_flags(&packet, 0x2000);
    assert_refused(packet, VERDICT_UDP_FRAGMENT);
    packet = make4(17, 28);
    set_flags(&packet, 0x0001);
    packet.offset = 27;
    memmove(packet.buffer + 27, packet.buffer + TEST_ROOM, 48);
    assert_refused(packet, VERDICT_NO_ROOM);
}

/* Only the header changes; a checksum that others are to complete learns the addresses. */
static void other_protocols_pass(void **state)
{
    struct packet packet = make4(132, 28);
    uint8_t payload[28];
    (void)state;
    memcpy(payload, packet_data(&packet) + 20, 28);
    assert_int_equal(translate(&packet), VERDICT_TRANSLATED_4TO6);
    assert_int_equal(packet_data(&packet)[6], 132);
    assert_memory_equal(packet_data(&packet) + 40, payload, 28);

    packet = make4(33, 28);
    put(packet_data(&packet) + 26, 2, pseudo(packet_data(&packet), 33, 28));
    packet.offload = (struct offload){.flags = OFFLOAD_PARTIAL, .checksum_start = 20, .checksum_offset = 6};
    assert_int_equal(translate(&packet), VERDICT_TRANSLATED_4TO6);
    assert_int_equal(packet.offload.checksum_start, 40);
    assert_int_equal(be(packet_data(&packet) + 46, 2), pseudo(packet_data(&packet), 33, 28));

    packet = make4(47, 40);
    memcpy(payload, packet_data(&packet) + 20, 28);
    packet.offload = (struct offload){.flags = OFFLOAD_PARTIAL, .checksum_start = 30, .checksum_offset = 6};
    assert_int_equal(translate(&packet), VERDICT_TRANSLATED_4TO6);
    assert_int_equal(packet.offload.checksum_start, 50);
    assert_memory_equal(packet_data(&packet) + 40, payload, 28);

    packet = make4(47, 40);
    packet.offload = (struct offload){.flags = OFFLOAD_PARTIAL, .checksum_start = 10, .checksum_offset = 6};
    assert_refused(packet, VERDICT_BAD_OFFLOAD);
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
        cmocka_unit_test_setup(header_is_as_the_rfc_says, start),
        cmocka_unit_test_setup(tcp_and_echo_are_translated, start),
        cmocka_unit_test_setup(wrong_checksums_stay_equally_wrong, start),
        cmocka_unit_test_setup(udp_always_leaves_with_a_checksum, start),
        cmocka_unit_test_setup(amended_checksum_ends_with_the_datagram, start),
        cmocka_unit_test_setup(options_vanish, start),
        cmocka_unit_test_setup(what_cannot_be_translated_is_left_alone, start),
        cmocka_unit_test_setup(headroom_is_needed, start),
        cmocka_unit_test_setup(partial_checksums_stay_partial, start),
        cmocka_unit_test_setup(super_packets_stay_whole, start),
        cmocka_unit_test_setup(super_packets_without_df, start),
        cmocka_unit_test_setup(what_is_to_be_cut_has_a_fragment_header, start),
        cmocka_unit_test_setup(mss_is_clamped, start),
        cmocka_unit_test_setup(fragments_stay_fragments, start),
        cmocka_unit_test_setup(other_protocols_pass, start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
