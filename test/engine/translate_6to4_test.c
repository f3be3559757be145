/* SPDX-License-Identifier: BSD-2-Clause */
/* IPv6 to IPv4: header fields one by one, checksums against full sums, offloads, and what is refused. */
#include "engine/translate.h"
#include "test/engine/packets.h"

static struct translation_settings settings;
static struct description found;

static struct endpoints4 target(void)
{
    struct endpoints4 to = {.source_port = to_be16(3333), .destination_port = to_be16(4444)};
    memcpy(&to.source, test_destination4, 4);
    memcpy(&to.destination, test_source4, 4);
    return to;
}

static enum verdict translate(struct packet *packet)
{
    struct endpoints4 to = target();
    enum verdict verdict = packet_describe(packet, &found);
    return verdict == VERDICT_COUNT ? translate_6to4(packet, &found, &to, &settings, 0xbeef) : verdict;
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

/* rfc: 7915-5.1-a, 7915-5.1-b, 7915-5.1-d, 7915-5.1-f, 7915-5.1-h, 7915-5.1-i */
static void header_is_as_the_rfc_says(void **state)
{
    /* version/IHL, TOS = class, length 48, identification, no DF, TTL 63, UDP, checksum, addresses */
    static const uint8_t expected[20] = {0x45, 0xab, 0,   48, 0xbe, 0xef, 0,   0,  63,  17,
                                         0,    0,    192, 0,  2,    9,    198, 51, 100, 7};
    uint8_t header[20];
    struct packet packet = make6(17, 28);
    (void)state;
    memcpy(header, expected, 20);
    put(header + 10, 2, (uint16_t)~words(0, expected, 20));
    assert_int_equal(translate(&packet), VERDICT_TRANSLATED_6TO4);
    assert_int_equal(packet.length, 48);
    assert_int_equal(packet.offset, TEST_ROOM + 20);
    assert_memory_equal(packet_data(&packet), header, 20);
    assert_int_equal(be(packet_data(&packet) + 20, 2), 3333);
    assert_int_equal(be(packet_data(&packet) + 22, 2), 4444);
    assert_int_equal(be(packet_data(&packet) + 24, 2), 28);
    assert_int_equal(transport_sum(packet_data(&packet), 20, 17, 28), 0xffff);
    for (unsigned i = 8; i < 28; i++)
        assert_int_equal(packet_data(&packet)[20 + i], (uint8_t)(i * 7 + 3));

    settings.tos = 0x28;
    packet = make6(17, 28);
    assert_int_equal(translate(&packet), VERDICT_TRANSLATED_6TO4);
    assert_int_equal(packet_data(&packet)[1], 0x28);
}

static void tcp_and_echo_are_translated(void **state)
{
    struct packet packet = make6(6, 41);
    uint8_t *ip;
    (void)state;
    assert_int_equal(translate(&packet), VERDICT_TRANSLATED_6TO4);
    ip = packet_data(&packet);
    assert_int_equal(ip[9], 6);
    assert_int_equal(transport_sum(ip, 20, 6, 41), 0xffff);
    assert_int_equal(words(0, ip, 20), 0xffff);

    for (unsigned type = 128; type <= 129; type++) {
        packet = make6(58, 33);
        packet_data(&packet)[40] = (uint8_t)type;
        seal(packet_data(&packet), 40, 58, 33);
        assert_int_equal(translate(&packet), VERDICT_TRANSLATED_6TO4);
        ip = packet_data(&packet);
        assert_int_equal(ip[9], 1);
        assert_int_equal(ip[20], type == 128 ? 8 : 0);
        assert_int_equal(be(ip + 24, 2), 3333);
        assert_int_equal(be(ip + 26, 2), 1);
        assert_int_equal(transport_sum(ip, 20, 1, 33), 0xffff);
    }
}

/* Random contents, a checksum wrong by a random amount: it comes out wrong by the same amount. */
static void wrong_checksums_stay_equally_wrong(void **state)
{
    static const uint8_t protocols[] = {6, 17, 58};
    (void)state;
    srandom(2);
    for (unsigned i = 0; i < 3000; i++) {
        uint8_t protocol = protocols[i % 3];
        uint32_t length = 24 + (uint32_t)random() % 60;
        struct packet packet = make6(protocol, length);
        uint8_t *ip = packet_data(&packet);
        uint16_t error;
        for (unsigned j = 8; j < 40; j++)
            ip[j] = (uint8_t)random();
        for (uint32_t j = 8 + 12; j < length; j++)
            ip[40 + j] = (uint8_t)random();
        seal(ip, 40, protocol, length);
        if (i % 2 == 0)
            put(ip + 40 + checksum_position(protocol), 2, (uint32_t)random() % 0xfffe + 1);
        error = transport_sum(ip, 40, protocol, length);
        assert_int_equal(translate(&packet), VERDICT_TRANSLATED_6TO4);
        assert_int_equal(transport_sum(packet_data(&packet), 20, protocol == 58 ? 1 : protocol, length),
                         error);
        assert_int_equal(words(0, packet_data(&packet), 20), 0xffff);
        if (protocol == 17)
            assert_int_not_equal(be(packet_data(&packet) + 26, 2), 0);
    }
}

/* The two last bytes take every value, so the checksum does too: 0 never goes out, for it says "none". */
static void udp_checksum_of_zero_becomes_all_ones(void **state)
{
    unsigned ones = 0;
    (void)state;
    for (uint32_t value = 0; value < 0x10000; value++) {
        struct packet packet = {.buffer = test_buffer, .capacity = TEST_CAPACITY, .offset = 64, .length = 50};
        uint8_t *ip = packet_data(&packet);
        put_ipv6(ip, 17, 10);
        put_transport(ip + 40, 17, 10);
        put(ip + 48, 2, value);
        seal(ip, 40, 17, 10);
        assert_int_equal(translate(&packet), VERDICT_TRANSLATED_6TO4);
        ip = packet_data(&packet);
        assert_int_equal(transport_sum(ip, 20, 17, 10), 0xffff);
        assert_int_not_equal(be(ip + 26, 2), 0);
        ones += be(ip + 26, 2) == 0xffff;
    }
    assert_int_equal(ones, 1);
}

static void missing_udp_checksum_stays_missing(void **state)
{
    struct packet packet = make6(17, 28);
    (void)state;
    put(packet_data(&packet) + 46, 2, 0);
    assert_int_equal(translate(&packet), VERDICT_TRANSLATED_6TO4);
    assert_int_equal(be(packet_data(&packet) + 26, 2), 0);
}

static void dont_fragment_follows_the_length(void **state)
{
    struct packet packet = make6(17, 1240);
    (void)state;
    assert_int_equal(translate(&packet), VERDICT_TRANSLATED_6TO4);
    assert_int_equal(be(packet_data(&packet) + 6, 2), 0);
    packet = make6(17, 1241);
    assert_int_equal(translate(&packet), VERDICT_TRANSLATED_6TO4);
    assert_int_equal(be(packet_data(&packet) + 6, 2), 0x4000);
}

static void extension_headers_vanish(void **state)
{
    static const uint8_t options[16] = {44, 1, 1, 12}, atomic[8] = {17, 0, 0, 0, 0xaa, 0xbb, 0xcc, 0xdd};
    struct packet packet = make6(17, 1300);
    uint8_t *ip;
    (void)state;
    insert_headers(&packet, atomic, 8);
    insert_headers(&packet, options, 16)[6] = 60;
    assert_int_equal(translate(&packet), VERDICT_TRANSLATED_6TO4);
    ip = packet_data(&packet);
    assert_int_equal(packet.length, 1320);
    assert_int_equal(be(ip + 2, 2), 1320);
    assert_int_equal(be(ip + 4, 2), 0xccdd);
    assert_int_equal(be(ip + 6, 2), 0); /* with a fragment header DF stays clear */
    assert_int_equal(ip[9], 17);
    assert_int_equal(transport_sum(ip, 20, 17, 1300), 0xffff);
}

static void what_cannot_be_translated_is_left_alone(void **state)
{
    static const uint8_t first[8] = {58, 0, 0, 1};
    struct packet packet = make6(17, 28);
    (void)state;
    packet_data(&packet)[7] = 1;
    assert_refused(packet, VERDICT_HOP_LIMIT);
    packet_data(&packet)[7] = 0;
    assert_refused(packet, VERDICT_HOP_LIMIT);
    packet = make6(58, 28);
    insert_headers(&packet, first, 8)[6] = 44;
    assert_refused(packet, VERDICT_ICMP_FRAGMENT);
    packet = make6(58, 28);
    packet_data(&packet)[40] = 135;
    assert_refused(packet, VERDICT_ICMP_TYPE);
    /* 1280 bytes are never too big, 1281 are if the IPv4 side carries less. */
    settings.mtu4 = 1200;
    assert_refused(make6(17, 1241), VERDICT_TOO_BIG_IPV6);
    packet = make6(17, 1240);
    assert_int_equal(translate(&packet), VERDICT_TRANSLATED_6TO4);
    settings.mtu4 = 1480;
    packet = make6(17, 1460);
    assert_int_equal(translate(&packet), VERDICT_TRANSLATED_6TO4);
    assert_refused(make6(17, 1461), VERDICT_TOO_BIG_IPV6);
}

/* A partial packet: the field holds the folded sum of the pseudo-header. */
static void make_partial(struct packet *packet, uint8_t protocol, uint32_t length)
{
    uint8_t *ip = packet_data(packet);
    put(ip + 40 + checksum_position(protocol), 2, pseudo(ip, protocol, length));
    packet->offload = (struct offload){.flags = OFFLOAD_PARTIAL,
                                       .checksum_start = 40,
                                       .checksum_offset = (uint16_t)checksum_position(protocol)};
}

/* Completing it after translation gives what completing it before would have given. */
static void assert_completes(const struct packet *packet, uint8_t protocol, uint32_t length)
{
    uint8_t *ip = packet_data(packet), *field = ip + 20 + checksum_position(protocol);
    assert_int_equal(packet->offload.checksum_start, 20);
    assert_int_equal(packet->offload.checksum_offset, checksum_position(protocol));
    put(field, 2, (uint16_t)~words(0, ip + 20, length));
    assert_int_equal(transport_sum(ip, 20, protocol, length), 0xffff);
}

static void partial_checksums_stay_partial(void **state)
{
    static const uint8_t protocols[] = {6, 17};
    (void)state;
    srandom(3);
    for (unsigned i = 0; i < 1000; i++) {
        uint32_t length = 24 + (uint32_t)random() % 1000;
        struct packet packet = make6(protocols[i % 2], length);
        for (unsigned j = 8; j < 40; j++)
            packet_data(&packet)[j] = (uint8_t)random();
        make_partial(&packet, protocols[i % 2], length);
        assert_int_equal(translate(&packet), VERDICT_TRANSLATED_6TO4);
        assert_int_equal(packet.offload.flags, OFFLOAD_PARTIAL);
        assert_completes(&packet, protocols[i % 2], length);
    }
}

static void super_packets_stay_whole(void **state)
{
    struct packet packet = make6(6, 60020);
    (void)state;
    make_partial(&packet, 6, 60020);
    packet.offload.gso_type = OFFLOAD_GSO_TCPV6 | OFFLOAD_GSO_ECN;
    packet.offload.gso_size = 1400;
    packet.offload.header_length = 60;
    assert_int_equal(translate(&packet), VERDICT_TRANSLATED_6TO4);
    assert_int_equal(packet.offload.gso_type, OFFLOAD_GSO_TCPV4 | OFFLOAD_GSO_ECN);
    assert_int_equal(packet.offload.gso_size, 1400);
    assert_int_equal(packet.offload.header_length, 40);
    assert_int_equal(be(packet_data(&packet) + 2, 2), 60040);
    assert_int_equal(be(packet_data(&packet) + 6, 2), 0x4000);
    assert_completes(&packet, 6, 60020);

    packet = make6(17, 60008);
    make_partial(&packet, 17, 60008);
    packet.offload.gso_type = OFFLOAD_GSO_UDP;
    packet.offload.gso_size = 1232;
    assert_int_equal(translate(&packet), VERDICT_TRANSLATED_6TO4);
    assert_int_equal(packet.offload.gso_type, OFFLOAD_GSO_UDP);
    assert_int_equal(be(packet_data(&packet) + 6, 2), 0); /* segments of 1260 bytes */

    packet = make6(6, 60020);
    make_partial(&packet, 6, 60020);
    packet.offload.gso_type = OFFLOAD_GSO_TCPV6;
    packet.offload.gso_size = 1461;
    assert_refused(packet, VERDICT_TOO_BIG_IPV6);
    packet = make6(6, 65520); /* the IPv4 length field ends at 65515 + 20 */
    make_partial(&packet, 6, 65520);
    packet.offload.gso_type = OFFLOAD_GSO_TCPV6;
    packet.offload.gso_size = 1400;
    assert_refused(packet, VERDICT_BAD_OFFLOAD);
}

/* A SYN whose options are `options`, 12 bytes; returns the MSS field at `position` after translation. */
static uint32_t mss_after(const uint8_t options[12], unsigned position, bool partial)
{
    struct packet packet = make6(6, 32);
    uint8_t *tcp = packet_data(&packet) + 40;
    tcp[12] = 0x80;
    tcp[13] = 0x12;
    memcpy(tcp + 20, options, 12);
    seal(packet_data(&packet), 40, 6, 32);
    if (partial)
        make_partial(&packet, 6, 32);
    assert_int_equal(translate(&packet), VERDICT_TRANSLATED_6TO4);
    if (partial)
        assert_completes(&packet, 6, 32);
    else
        assert_int_equal(transport_sum(packet_data(&packet), 20, 6, 32), 0xffff);
    return be(packet_data(&packet) + 20 + position, 2);
}

static void mss_is_clamped(void **state)
{
    static const uint8_t even[12] = {2, 4, 0x23, 0x00, 1, 1, 0}, odd[12] = {1, 2, 4, 0x23, 0x01, 0};
    static const uint8_t low[12] = {2, 4, 0x02, 0x18, 0}, none[12] = {1, 1, 4, 2, 0};
    static const uint8_t malformed[12] = {8, 0, 2, 4, 0x23, 0x00}, wrong_length[12] = {2, 5, 0x23, 0, 0, 0};
    static const uint8_t beyond[12] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 4};
    (void)state;
    for (unsigned partial = 0; partial < 2; partial++) {
        assert_int_equal(mss_after(even, 22, partial), 1440);
        assert_int_equal(mss_after(odd, 23, partial), 1440);
        assert_int_equal(mss_after(low, 22, partial), 536);
        assert_int_equal(mss_after(none, 22, partial), 0x0402);
        assert_int_equal(mss_after(malformed, 24, partial), 0x2300);
        assert_int_equal(mss_after(wrong_length, 22, partial), 0x2300);
        assert_int_equal(mss_after(beyond, 30, partial), 0x0204);
    }
    settings.mtu4 = 1400;
    assert_int_equal(mss_after(even, 22, false), 1360);
    settings.mss_clamp = false;
    assert_int_equal(mss_after(even, 22, false), 0x2300);
}

/* Flag, offset and the low half of the identification (RFC 7915 section 5.1.1). */
static void fragments_stay_fragments(void **state)
{
    static const uint8_t first[8] = {17, 0, 0, 1, 0xab, 0xcd, 0x12, 0x34};
    static const uint8_t later[8] = {17, 0, 0x7f, 0xf8, 0xab, 0xcd, 0x12, 0x34};
    struct packet packet = make6(17, 1400);
    uint8_t payload[1400];
    (void)state;
    insert_headers(&packet, first, 8)[6] = 44;
    assert_int_equal(translate(&packet), VERDICT_TRANSLATED_6TO4);
    assert_int_equal(packet.length, 1420);
    assert_int_equal(be(packet_data(&packet) + 2, 2), 1420);
    assert_int_equal(be(packet_data(&packet) + 4, 4), 0x12342000);
    assert_int_equal(be(packet_data(&packet) + 20, 2), 3333);
    assert_int_equal(transport_sum(packet_data(&packet), 20, 17, 1400), 0xffff);

    packet = make6(17, 1400);
    memcpy(payload, packet_data(&packet) + 40, 1400);
    insert_headers(&packet, later, 8)[6] = 44;
    assert_int_equal(translate(&packet), VERDICT_TRANSLATED_6TO4);
    assert_int_equal(be(packet_data(&packet) + 4, 4), 0x12340fff);
    assert_memory_equal(packet_data(&packet) + 20, payload, 1400);
}

/* Only the header changes; a checksum that others are to complete learns the addresses. */
static void other_protocols_pass(void **state)
{
    struct packet packet = make6(132, 28);
    uint8_t payload[28];
    (void)state;
    memcpy(payload, packet_data(&packet) + 40, 28);
    assert_int_equal(translate(&packet), VERDICT_TRANSLATED_6TO4);
    assert_int_equal(packet_data(&packet)[9], 132);
    assert_memory_equal(packet_data(&packet) + 20, payload, 28);

    packet = make6(33, 28);
    put(packet_data(&packet) + 46, 2, pseudo(packet_data(&packet), 33, 28));
    packet.offload = (struct offload){.flags = OFFLOAD_PARTIAL, .checksum_start = 40, .checksum_offset = 6};
    assert_int_equal(translate(&packet), VERDICT_TRANSLATED_6TO4);
    assert_int_equal(packet.offload.checksum_start, 20);
    assert_int_equal(be(packet_data(&packet) + 26, 2), pseudo(packet_data(&packet), 33, 28));

    packet = make6(47, 40);
    packet.offload = (struct offload){.flags = OFFLOAD_PARTIAL, .checksum_start = 30, .checksum_offset = 6};
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
        cmocka_unit_test_setup(udp_checksum_of_zero_becomes_all_ones, start),
        cmocka_unit_test_setup(missing_udp_checksum_stays_missing, start),
        cmocka_unit_test_setup(dont_fragment_follows_the_length, start),
        cmocka_unit_test_setup(extension_headers_vanish, start),
        cmocka_unit_test_setup(what_cannot_be_translated_is_left_alone, start),
        cmocka_unit_test_setup(partial_checksums_stay_partial, start),
        cmocka_unit_test_setup(super_packets_stay_whole, start),
        cmocka_unit_test_setup(mss_is_clamped, start),
        cmocka_unit_test_setup(fragments_stay_fragments, start),
        cmocka_unit_test_setup(other_protocols_pass, start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
