/* SPDX-License-Identifier: BSD-2-Clause */
/* Whose a packet is, and what no vector can show: the choice among addresses for hops, and random packets. */
#include "engine/engine.h"
#include "engine/siit.h"
#include "test/engine/packets.h"
#include "wire/ipv4.h"

#include <arpa/inet.h>

static struct settings settings;

static struct ipv6_address six(const char *text)
{
    struct ipv6_address address;
    assert_int_equal(inet_pton(AF_INET6, text, address.bytes), 1);
    return address;
}

static be32 four(const char *text)
{
    be32 address;
    assert_int_equal(inet_pton(AF_INET, text, &address), 1);
    return address;
}

static const struct eam_table *one_mapping(const char *ipv4, const char *ipv6)
{
    struct eam mapping = {.ipv4 = four(ipv4), .length4 = 32, .ipv6 = six(ipv6), .length6 = 128};
    struct eam_problem problem;
    const struct eam_table *table = eam_build(&mapping, 1, &problem);
    assert_non_null(table);
    return table;
}

static int start(void **state)
{
    (void)state;
    memset(&settings, 0, sizeof(settings));
    settings.translation = test_settings;
    settings.siit_count = 2;
    settings.siit[0].eam = one_mapping("192.0.2.1", "2001:db8::1");
    settings.siit[1].eam = one_mapping("192.0.2.2", "2001:db8:64::1");
    settings.siit[1].prefix = (struct rfc6052_prefix){.address = six("2001:db8:64::"), .length = 96};
    return 0;
}

static int stop(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2; i++)
        eam_free((struct eam_table *)(uintptr_t)settings.siit[i].eam);
    return 0;
}

/* The instance that a packet is for: 0, 1, or -1. */
static int claimed6(const char *destination, struct siit_claim *claim)
{
    struct ipv6_header header = {.version_class_label = ipv6_first_word(0), .destination = six(destination)};
    if (!siit_claim(&settings, (const uint8_t *)&header, claim))
        return -1;
    return (int)(claim->siit - settings.siit);
}

static int claimed4(const char *destination, struct siit_claim *claim)
{
    struct ipv4_header header = {.version_ihl = 0x45, .destination = four(destination)};
    if (!siit_claim(&settings, (const uint8_t *)&header, claim))
        return -1;
    return (int)(claim->siit - settings.siit);
}

static void destinations_tell_whose_a_packet_is(void **state)
{
    struct siit_claim claim;
    struct ipv6_address expected = six("2001:db8:64::203.0.113.9");
    (void)state;
    assert_int_equal(claimed6("2001:db8::1", &claim), 0);
    assert_false(claim.by_prefix);
    assert_int_equal(claim.destination.ipv4, four("192.0.2.1"));
    assert_int_equal(claimed6("2001:db8::2", &claim), -1);
    assert_int_equal(claimed6("2001:db8:64::192.0.2.1", &claim), 1);
    assert_true(claim.by_prefix);
    assert_int_equal(claimed6("2001:db8:64::1", &claim), 1);
    assert_false(claim.by_prefix);

    assert_int_equal(claimed4("192.0.2.1", &claim), 0);
    assert_int_equal(claimed4("192.0.2.2", &claim), 1);
    assert_false(claim.by_prefix);
    assert_int_equal(claimed4("203.0.113.9", &claim), 1);
    assert_true(claim.by_prefix);
    assert_memory_equal(&claim.destination.ipv6, &expected, sizeof(expected));
    settings.siit_count = 1;
    assert_int_equal(claimed4("203.0.113.9", &claim), -1);
    settings.siit_count = 0;
    assert_int_equal(claimed4("192.0.2.1", &claim), -1);
}

/* An error from 2001:db8:7::`hop` about a packet to the mapped host. */
static struct packet error_from(uint32_t hop)
{
    struct packet packet = packet_at(TEST_ROOM, 40 + 8 + 40 + 8);
    uint8_t *ip = packet_data(&packet);
    struct ipv6_address addresses[3] = {six("2001:db8:7::"), six("2001:db8:64::203.0.113.9"),
                                        six("2001:db8:64::1")};
    memset(ip, 0, packet.length);
    put_ipv6(ip, 58, 56);
    put(addresses[0].bytes + 12, 4, hop);
    memcpy(ip + 8, addresses, 32);
    ip[40] = 3;
    put_ipv6(ip + 48, 17, 8);
    memcpy(ip + 56, addresses + 1, 32);
    put_transport(ip + 88, 17, 8);
    seal(ip, 40, 58, 56);
    return packet;
}

/* rfc: 6791-5-b */
static void hops_without_ipv4_share_a_block(void **state)
{
    enum { HOPS = 4000, ADDRESSES = 16 };
    unsigned seen[ADDRESSES] = {0};
    struct geometry geometry = {.sessions = 64, .addresses = 1, .workers = 1};
    struct table *table = table_create(&geometry, 1);
    struct engine_options options = {.table = table, .settings = &settings, .workers = 1, .seed = 1};
    char why[128];
    (void)state;
    settings.siit[1].icmp_source = (struct pool_range){.first = four("198.51.100.16"), .count = ADDRESSES};
    struct engine *engine = engine_create(&options, why, sizeof(why));
    assert_non_null(engine);
    for (uint32_t i = 0; i < 2 * HOPS; i++) {
        static uint32_t first[HOPS];
        struct packet packet = error_from(i % HOPS);
        enum verdict verdict;
        engine_receive(engine_worker(engine, 0), &packet, 1, 1, &verdict);
        assert_int_equal(verdict, VERDICT_TRANSLATED_6TO4);
        uint32_t source = be(packet_data(&packet) + 12, 4);
        assert_in_range(source, 0xc6336410, 0xc633641f);
        seen[source & 15]++;
        if (i < HOPS)
            first[i] = source;
        else
            assert_int_equal(source, first[i - HOPS]);
    }
    /* 500 each if it were even; five standard deviations of a fair choice are 155 either way. */
    for (unsigned i = 0; i < ADDRESSES; i++)
        assert_in_range(seen[i], 345, 655);
    engine_destroy(engine);
    table_destroy(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(destinations_tell_whose_a_packet_is, start, stop),
        cmocka_unit_test_setup_teardown(hops_without_ipv4_share_a_block, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
