/* SPDX-License-Identifier: BSD-2-Clause */
/* ICMP errors made here: which, with what in them, and when none is sent. */
#include "engine/icmp_reply.h"
#include "test/engine/packets.h"
#include "wire/transport.h"

static struct translation_settings settings;
static struct description found;
static struct icmp_sources sources;
static uint8_t reply_buffer[64 + 1280];
static struct packet reply;

static bool build(struct packet *original, enum verdict why)
{
    packet_describe(original, &found);
    memset(reply_buffer, 0x5a, sizeof(reply_buffer));
    reply = (struct packet){.buffer = reply_buffer, .capacity = sizeof(reply_buffer), .offset = 64};
    reply.offload.flags = 1;
    return icmp_reply_build(&reply, original, &found, why, &sources, &settings);
}

/* Type and code in one number, 0 if nothing is sent; the message is checked otherwise. */
static unsigned reply6(struct packet *original, enum verdict why)
{
    const uint8_t *ip;
    uint32_t quoted = original->length < 1232 ? original->length : 1232;
    if (!build(original, why))
        return 0;
    ip = packet_data(&reply);
    assert_int_equal(reply.length, 48 + quoted);
    assert_int_equal(reply.offload.flags, 0);
    assert_int_equal(be(ip, 4), 0x60000000);
    assert_int_equal(be(ip + 4, 4), (8 + quoted) << 16 | 58 << 8 | 64);
    assert_memory_equal(ip + 8, &sources.address6, 16);
    assert_memory_equal(ip + 24, test_source6, 16);
    assert_int_equal(transport_sum(ip, 40, 58, 8 + quoted), 0xffff);
    assert_memory_equal(ip + 48, packet_data(original), quoted);
    return be(ip + 40, 2);
}

static unsigned reply4(struct packet *original, enum verdict why)
{
    const uint8_t *ip;
    uint32_t quoted = original->length < 548 ? original->length : 548;
    if (!build(original, why))
        return 0;
    ip = packet_data(&reply);
    assert_int_equal(reply.length, 28 + quoted);
    assert_int_equal(be(ip, 4), 0x45c00000 + 28 + quoted);
    assert_int_equal(be(ip + 6, 2), 0);
    assert_int_equal(ip[9], 1);
    assert_memory_equal(ip + 12, &sources.address4, 4);
    assert_memory_equal(ip + 16, test_source4, 4);
    assert_int_equal(words(0, ip, 20), 0xffff);
    assert_int_equal(transport_sum(ip, 20, 1, 8 + quoted), 0xffff);
    assert_memory_equal(ip + 28, packet_data(original), quoted);
    return be(ip + 20, 2);
}

/* Type and code of the answer to each verdict, for an IPv6 packet and for an IPv4 one; 0: none. */
static const struct {
    uint16_t six, four;
} expected[VERDICT_COUNT] = {
    [VERDICT_HOP_LIMIT] = {0x300, 0xb00},       [VERDICT_FRAGMENT_TIMEOUT] = {0x301, 0xb01},
    [VERDICT_TOO_BIG_IPV6] = {0x200, 0},        [VERDICT_TOO_BIG_IPV4] = {0, 0x304},
    [VERDICT_PORTS_EXHAUSTED] = {0x103, 0x301}, [VERDICT_SUBSCRIBER_FULL] = {0x103, 0x301},
    [VERDICT_TABLE_FULL] = {0x103, 0x301},      [VERDICT_NON_GLOBAL] = {0x101, 0x30d},
    [VERDICT_UNMAPPED] = {0x101, 0x30d},        [VERDICT_BAD_DESTINATION] = {0x101, 0},
    [VERDICT_EMBEDDED_BITS] = {0x101, 0},       [VERDICT_PROTOCOL] = {0x104, 0x302},
    [VERDICT_ROUTING_HEADER] = {0x400, 0},      [VERDICT_SOURCE_ROUTE] = {0, 0x305},
    [VERDICT_SYN_STORED] = {0, 0x303},          [VERDICT_FILTERED] = {0, 0x30d},
    [VERDICT_UDP_CHECKSUM_ZERO] = {0, 0x30d},   [VERDICT_UDP_FRAGMENT] = {0, 0x30d},
    [VERDICT_ICMP_FRAGMENT] = {0, 0x30d},
};

/* rfc: 7915-4.4-a, 7915-5.4-a, 7915-5.4-b, 4443-2.3-a, 4443-3.1-a, 5508-REQ10-f */
static void every_verdict_has_its_message(void **state)
{
    (void)state;
    for (unsigned why = 0; why < VERDICT_COUNT; why++) {
        struct packet packet = make6(17, 60);
        assert_int_equal(reply6(&packet, why), expected[why].six);
        packet = make4(17, 60);
        assert_int_equal(reply4(&packet, why), expected[why].four);
        /* What is refused is answered in one family at least; nothing else is, but for a SYN in the end. */
        assert_int_equal(verdict_texts[why].class == VERDICT_REFUSED || why == VERDICT_SYN_STORED,
                         expected[why].six + expected[why].four != 0);
    }
}

/* A SYN from outside gets its answer after six seconds only (RFC 5382 REQ-4); rfc: 5382-REQ4-a */
static void a_syn_from_outside_is_not_answered_at_once(void **state)
{
    static const enum verdict limits[] = {VERDICT_TABLE_FULL, VERDICT_SUBSCRIBER_FULL, VERDICT_FILTERED};
    (void)state;
    for (unsigned i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        struct packet packet = make4(PROTOCOL_TCP, 60);
        struct description description = {.version = 4, .kind = PACKET_TCP, .tcp_flags = TCP_SYN};
        assert_false(icmp_reply_due(&packet, &description, limits[i]));
        description.tcp_flags = TCP_SYN | TCP_ACK;
        assert_true(icmp_reply_due(&packet, &description, limits[i]));
        description.tcp_flags = TCP_SYN;
        assert_true(icmp_reply_due(&packet, &description, VERDICT_SYN_STORED));
        assert_true(icmp_reply_due(&packet, &description, VERDICT_HOP_LIMIT));
    }
}

/* rfc: 7915-4.1-c, 4443-3.2-a */
static void mtu_is_that_of_the_other_side(void **state)
{
    struct packet packet = make6(17, 1600);
    (void)state;
    settings.mtu4 = 1400;
    assert_int_equal(reply6(&packet, VERDICT_TOO_BIG_IPV6), 0x200);
    assert_int_equal(be(packet_data(&reply) + 44, 4), 1420);
    settings.mtu4 = 1000;
    assert_int_equal(reply6(&packet, VERDICT_TOO_BIG_IPV6), 0x200);
    assert_int_equal(be(packet_data(&reply) + 44, 4), 1280);
    packet = make4(17, 1600);
    assert_int_equal(reply4(&packet, VERDICT_TOO_BIG_IPV4), 0x304);
    assert_int_equal(be(packet_data(&reply) + 24, 4), 1480);
    put(packet_data(&packet) + 6, 2, 0x6000); /* a first fragment with DF, which grows by 28 bytes */
    seal_ipv4(packet_data(&packet));
    assert_int_equal(reply4(&packet, VERDICT_TOO_BIG_IPV4), 0x304);
    assert_int_equal(be(packet_data(&reply) + 24, 4), 1472);
}

/* rfc: 7915-5.1-m, 4443-3.4-a */
static void pointers_point_to_the_cause(void **state)
{
    static const uint8_t routing[16] = {17, 1, 4, 1};
    struct packet packet;
    (void)state;
    packet = make6(17, 60);
    insert_headers(&packet, routing, 16)[6] = 43;
    assert_int_equal(reply6(&packet, VERDICT_ROUTING_HEADER), 0x400);
    assert_int_equal(be(packet_data(&reply) + 44, 4), 43);
}

/* rfc: 4443-2.4-c, 5508-REQ10-g */
static void silence_is_kept_where_it_must(void **state)
{
    struct packet packet = make6(58, 60);
    (void)state;
    for (unsigned type = 0; type < 256; type++) {
        packet_data(&packet)[40] = (uint8_t)type;
        assert_int_equal(reply6(&packet, VERDICT_HOP_LIMIT), type == 128 || type == 129 ? 0x300 : 0);
    }
    packet = make4(1, 60);
    for (unsigned type = 0; type < 256; type++) {
        packet_data(&packet)[20] = (uint8_t)type;
        assert_int_equal(reply4(&packet, VERDICT_HOP_LIMIT), type == 0 || type == 8 ? 0xb00 : 0);
    }
    packet = make4(17, 60);
    put(packet_data(&packet) + 6, 2, 0x0001);
    seal_ipv4(packet_data(&packet));
    assert_int_equal(reply4(&packet, VERDICT_HOP_LIMIT), 0);
    put(packet_data(&packet) + 6, 2, 0x2000); /* the first fragment may be answered */
    seal_ipv4(packet_data(&packet));
    assert_int_equal(reply4(&packet, VERDICT_HOP_LIMIT), 0xb00);
}

/* rfc: 4443-2.4-d, 4443-2.4-e */
static void address_pairs_are_judged(void **state)
{
    static const uint8_t no_hosts4[][4] = {
        {0, 0, 0, 0}, {127, 0, 0, 1}, {224, 0, 0, 1}, {255, 255, 255, 255}};
    struct packet packet;
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        packet = make4(17, 60);
        memcpy(packet_data(&packet) + 12, no_hosts4[i], 4);
        seal_ipv4(packet_data(&packet));
        assert_false(build(&packet, VERDICT_HOP_LIMIT));
        packet = make4(17, 60);
        memcpy(packet_data(&packet) + 16, no_hosts4[i], 4);
        seal_ipv4(packet_data(&packet));
        assert_int_equal(build(&packet, VERDICT_HOP_LIMIT), i < 2);
    }
    packet = make6(17, 60);
    packet_data(&packet)[24] = 0xff;
    assert_false(build(&packet, VERDICT_HOP_LIMIT));
    packet = make6(17, 60);
    packet_data(&packet)[8] = 0xff;
    assert_false(build(&packet, VERDICT_HOP_LIMIT));
    memset(packet_data(&packet) + 8, 0, 16);
    assert_false(build(&packet, VERDICT_HOP_LIMIT));

    memset(&sources, 0, sizeof(sources));
    packet = make6(17, 60);
    assert_false(build(&packet, VERDICT_HOP_LIMIT));
    packet = make4(17, 60);
    assert_false(build(&packet, VERDICT_HOP_LIMIT));
}

/* rfc: 4443-2.4-b */
static void long_originals_are_cut(void **state)
{
    struct packet packet = make6(6, 60000);
    (void)state;
    assert_int_equal(reply6(&packet, VERDICT_HOP_LIMIT), 0x300);
    assert_int_equal(reply.length, 1280);
    packet = make4(6, 60000);
    assert_int_equal(reply4(&packet, VERDICT_HOP_LIMIT), 0xb00);
    assert_int_equal(reply.length, 576);
    packet_describe(&packet, &found);
    reply = (struct packet){.buffer = reply_buffer, .capacity = 64 + 575, .offset = 64};
    assert_false(icmp_reply_build(&reply, &packet, &found, VERDICT_HOP_LIMIT, &sources, &settings));
}

static int start(void **state)
{
    static const uint8_t address6[16] = {0x20, 1, 0x0d, 0xb8, [15] = 0x64}, address4[4] = {192, 0, 2, 1};
    (void)state;
    settings = test_settings;
    memcpy(&sources.address6, address6, 16);
    memcpy(&sources.address4, address4, 4);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(every_verdict_has_its_message, start),
        cmocka_unit_test_setup(a_syn_from_outside_is_not_answered_at_once, start),
        cmocka_unit_test_setup(mtu_is_that_of_the_other_side, start),
        cmocka_unit_test_setup(pointers_point_to_the_cause, start),
        cmocka_unit_test_setup(silence_is_kept_where_it_must, start),
        cmocka_unit_test_setup(address_pairs_are_judged, start),
        cmocka_unit_test_setup(long_originals_are_cut, start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
