/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Pairing (engine/pairing.h): a client keeps to the pool address of the bindings it has, also where that is
 * not the one that its hash says, in any transport, until they have ended, and over a restart with another
 * pool. Two addresses with eight ports each; clients of one /64, which all prefer the same address.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/engine.h"
#include "test/engine/audit.h"
#include "test/engine/packets.h"
#include "wire/ipv4.h"
#include "wire/transport.h"

enum {
    SECOND = 1000000000,
    LOW = 2000,
    PORTS = 8,
    OTHERS = 100, /* numbers of clients that only fill addresses up */
};

static struct settings settings;
static struct pool_range range;
static struct table *table;
static struct engine *engine;
static uint32_t now;

static void start(void)
{
    struct engine_options options = {
        .table = table, .settings = &settings, .workers = 1, .seed = 1, .now = (nanoseconds)now * SECOND};
    char error[128];
    engine = engine_create(&options, error, sizeof(error));
    assert_non_null(engine);
}

static int set_up(void **state)
{
    (void)state;
    now = 100;
    range = (struct pool_range){
        .first = to_be32(0xc0000201u), .count = 2, .low = LOW, .high = LOW + PORTS - 1, .transports = 7};
    settings = (struct settings){.nat64_count = 1,
                                 .translation = {.tos = -1, .mtu6 = 1500, .mtu4 = 1500},
                                 .nat64 = {{.name = "main",
                                            .prefix = {{{0x20, 0x01, 0x0d, 0xb8, 0, 0x64}}, 96},
                                            .sessions = 64,
                                            .sessions_per_subscriber = 64,
                                            .subscriber_prefix = 64,
                                            .pool = &range,
                                            .pool_count = 1,
                                            .timeouts = {300, 60, 7440, 240, 6, 0, 0, 2}}}};
    struct geometry geometry = {.sessions = 64, .addresses = 6, .workers = 1};
    table = table_create(&geometry, 1);
    assert_non_null(table);
    start();
    return 0;
}

static int take_down(void **state)
{
    (void)state;
    engine_destroy(engine);
    table_destroy(table);
    return 0;
}

static void be_exact(void)
{
    struct audit audit;
    const char *wrong = audit_exact(table, &audit);
    if (wrong != NULL)
        fail_msg("%s", wrong);
}

/* The address that a packet from the client's port gets; 0: none. The protocol is UDP, TCP (a SYN) or ICMPv6.
 */
static unsigned send_by(uint8_t protocol, unsigned client, unsigned port)
{
    struct packet packet = make6(protocol, protocol == PROTOCOL_TCP ? 20 : 8);
    uint8_t *data = packet_data(&packet);
    enum verdict verdict = VERDICT_COUNT;
    static const uint8_t remote[16] = {0x20, 0x01, 0x0d, 0xb8, 0, 0x64, 0, 0, 0, 0, 0, 0, 203, 0, 113, 2};
    static const uint8_t prefix[8] = {0x20, 0x01, 0x0d, 0xb8, 0, 7};
    memset(data + 8, 0, 16);
    memcpy(data + 8, prefix, sizeof(prefix));
    data[23] = (uint8_t)client;
    memcpy(data + 24, remote, sizeof(remote));
    if (protocol == PROTOCOL_ICMPV6) {
        put(data + 40, 2, 0x8000);
        put(data + 44, 2, port);
    } else {
        put(data + 40, 2, port);
        put(data + 42, 2, 53);
    }
    if (protocol == PROTOCOL_TCP) {
        data[52] = 0x50;
        data[53] = TCP_SYN;
    }
    engine_receive(engine_worker(engine, 0), &packet, 1, (nanoseconds)now * SECOND, &verdict);
    if (verdict != VERDICT_TRANSLATED_6TO4) {
        assert_int_equal(verdict, VERDICT_PORTS_EXHAUSTED);
        return 0;
    }
    return (unsigned)be(packet_data(&packet) + 12, 4);
}

static unsigned udp(unsigned client, unsigned port)
{
    return send_by(PROTOCOL_UDP, client, port);
}

/* Lets time pass; client 1's first port is kept in use if `keep`. */
static void pass(uint32_t seconds, bool keep)
{
    for (uint32_t step = 0; step < seconds; step += 50) {
        now += 50;
        if (keep)
            (void)udp(1, 5000);
        for (unsigned i = 0; i < 4; i++)
            engine_expire(engine_worker(engine, 0), (nanoseconds)(now + i * 10) * SECOND);
    }
    now += 40;
}

/* Others take all ports of the address that is preferred; returns that. Client 1 then gets the other one. */
static unsigned send_astray(void)
{
    unsigned preferred = udp(OTHERS, 1024);
    for (unsigned i = 1; i < PORTS; i++)
        assert_int_equal(udp(OTHERS, 1024 + i), preferred);
    assert_int_not_equal(udp(1, 5000), preferred);
    assert_int_equal(pairing_needed(table), true);
    be_exact();
    return preferred;
}

static void a_client_keeps_its_second_address(void **state)
{
    (void)state;
    unsigned preferred = send_astray(), second = udp(1, 5000);
    pass(400, true); /* the preferred address is free again */
    assert_int_equal(udp(1, 5001), second);
    assert_int_equal(udp(1, 80), second);
    assert_int_equal(send_by(PROTOCOL_TCP, 1, 6000), second);
    assert_int_equal(send_by(PROTOCOL_ICMPV6, 1, 7), second);
    assert_int_equal(udp(2, 5000), preferred); /* which others get */
    be_exact();
    pass(400, true); /* the last one remembers as well as the first */
    assert_int_equal(udp(1, 5002), second);
    pass(800, false);
    be_exact();
    assert_false(pairing_needed(table));
    assert_int_equal(udp(1, 5003), preferred);
}

static void a_full_second_address_does_not_stop_anybody(void **state)
{
    (void)state;
    unsigned preferred = send_astray(), second = udp(1, 5000);
    pass(400, true);
    for (unsigned i = 1; i < PORTS; i++)
        assert_int_equal(udp(1, 5000 + i), second);
    assert_int_equal(udp(1, 5100), preferred); /* RFC 7857 section 4: what some call soft pairing */
    assert_int_equal(send_by(PROTOCOL_TCP, 1, 6000), second);
    for (unsigned i = 1; i < PORTS; i++)
        assert_int_equal(udp(1, 5100 + i), preferred);
    assert_int_equal(udp(1, 5200), 0);
    be_exact();
    pass(800, false);
    be_exact();
    assert_false(pairing_needed(table));
}

static void it_is_known_after_a_restart(void **state)
{
    (void)state;
    unsigned second;
    (void)send_astray();
    second = udp(1, 5000);
    pass(400, true);
    engine_destroy(engine);
    start();
    be_exact();
    assert_int_equal(udp(1, 5001), second);
}

/* More addresses, and the hash says another one to nearly everybody; or so it may. */
static void and_when_the_pool_has_changed(void **state)
{
    (void)state;
    unsigned had[PORTS / 2];
    for (unsigned client = 0; client < PORTS / 2; client++)
        had[client] = udp(client, 5000);
    range.first = to_be32(0xc0000200u);
    range.count = 4;
    engine_destroy(engine);
    start();
    be_exact();
    for (unsigned client = 0; client < PORTS / 2; client++)
        assert_int_equal(udp(client, 5001), had[client]);
    pass(800, false);
    be_exact();
    assert_false(pairing_needed(table));
}

/* The same without a restart; and back again. */
static void and_when_a_reload_has_changed_it(void **state)
{
    (void)state;
    unsigned had[PORTS / 2];
    char error[128];
    for (unsigned client = 0; client < PORTS / 2; client++)
        had[client] = udp(client, 5000);
    struct settings more = settings;
    struct pool_range wider = range;
    wider.first = to_be32(0xc0000200u);
    wider.count = 4;
    more.nat64[0].pool = &wider;
    assert_true(engine_replace_settings(engine, &more, (nanoseconds)now * SECOND, error, sizeof(error)));
    be_exact();
    assert_true(pairing_needed(table));
    for (unsigned client = 0; client < PORTS / 2; client++)
        assert_int_equal(udp(client, 5001), had[client]);
    pass(800, false);
    be_exact();
    assert_false(pairing_needed(table));
    for (unsigned client = 0; client < PORTS / 2; client++)
        had[client] = udp(client, 5000);
    assert_true(engine_replace_settings(engine, &settings, (nanoseconds)now * SECOND, error, sizeof(error)));
    be_exact();
    for (unsigned client = 0; client < PORTS / 2; client++)
        assert_true(had[client] == 0xc0000200u || had[client] == 0xc0000203u ||
                    udp(client, 5001) == had[client]);
    be_exact();
}

static void reload(const struct settings *with)
{
    char error[128];
    assert_true(engine_replace_settings(engine, with, (nanoseconds)now * SECOND, error, sizeof(error)));
    be_exact();
}

/* RFC 6146 section 3.5.1.1, RFC 4787 REQ-2: its client's other ports go where the static binding is. */
static void a_static_binding_takes_its_client_along(void **state)
{
    (void)state;
    unsigned preferred = udp(OTHERS, 1024), other = 0xc0000201u + 0xc0000202u - preferred;
    struct static_binding binding = {.ipv6 = {{0x20, 0x01, 0x0d, 0xb8, 0, 7, [15] = 1}},
                                     .ipv4 = to_be32(other),
                                     .port6 = to_be16(80),
                                     .port4 = to_be16(80),
                                     .transport = TRANSPORT_TCP};
    struct settings with = settings;
    with.nat64[0].statics = &binding;
    with.nat64[0].static_count = 1;
    reload(&with);
    assert_int_equal(udp(1, 5000), other);
    assert_int_equal(send_by(PROTOCOL_ICMPV6, 1, 7), other);
    assert_int_equal(udp(2, 5000), preferred);
    settings = with;
    engine_destroy(engine);
    start();
    be_exact();
    assert_int_equal(udp(1, 5001), other);
    struct static_binding moved = binding;
    moved.ipv4 = to_be32(preferred);
    with.nat64[0].statics = &moved;
    reload(&with);
    assert_int_equal(udp(1, 5002), other); /* where the client has bindings still */
    pass(800, false);
    be_exact();
    assert_false(pairing_needed(table));
    assert_int_equal(udp(1, 5003), preferred);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_client_keeps_its_second_address, set_up, take_down),
        cmocka_unit_test_setup_teardown(a_full_second_address_does_not_stop_anybody, set_up, take_down),
        cmocka_unit_test_setup_teardown(it_is_known_after_a_restart, set_up, take_down),
        cmocka_unit_test_setup_teardown(and_when_the_pool_has_changed, set_up, take_down),
        cmocka_unit_test_setup_teardown(and_when_a_reload_has_changed_it, set_up, take_down),
        cmocka_unit_test_setup_teardown(a_static_binding_takes_its_client_along, set_up, take_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
