/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Fragments in every order of arrival, both directions, and what bounds them. A datagram is made whole and
 * cut here; what comes out is put together here, and its checksum summed up from the first byte to the last.
 * What each fragment becomes, byte by byte, is the vectors' business.
 */
#include "test/engine/packets.h"

#include "engine/engine.h"
#include "engine/fragments.h"
#include "engine/table.h"

enum {
    SECOND = 1000000000,
    PIECES = 64,
    PIECE = 2048,  /* bytes at most of one that is made here */
    WHOLE = 65536, /* of a datagram behind the IP header */
    TCP = 6,
    UDP = 17,
};

struct fixture {
    struct settings settings;
    struct pool_range range;
    struct static_binding statics[4];
    struct table *table;
    struct engine *engine;
    struct worker *worker;
    nanoseconds now;
};

/* Client 2001:db8::5 port 1111 is 192.0.2.9 port 2222; its echo identifier 1111 is the same outside. */
static void fill_settings(struct fixture *fixture)
{
    struct nat64_settings *nat64 = &fixture->settings.nat64[0];
    fixture->range = (struct pool_range){
        .first = to_be32(0xc0000209u), .count = 1, .low = 1024, .high = 65535, .transports = 7};
    *nat64 = (struct nat64_settings){.name = "main",
                                     .prefix = {{{0x20, 0x01, 0x0d, 0xb8, 0, 0x64}}, 96},
                                     .sessions = 1024,
                                     .subscriber_prefix = 64,
                                     .pool = &fixture->range,
                                     .pool_count = 1,
                                     .statics = fixture->statics,
                                     .static_count = 3,
                                     .counters = true,
                                     .timeouts = {.udp = 300,
                                                  .icmp = 60,
                                                  .tcp_established = 7440,
                                                  .tcp_transitory = 240,
                                                  .tcp_syn = 6,
                                                  .fragment = FRAGMENT_SECONDS}};
    for (uint8_t transport = 0; transport < TRANSPORT_COUNT; transport++) {
        struct static_binding *binding = &fixture->statics[transport];
        *binding = (struct static_binding){.ipv4 = fixture->range.first,
                                           .port6 = to_be16(1111),
                                           .port4 = to_be16(transport == TRANSPORT_ICMP ? 1111 : 2222),
                                           .transport = transport};
        memcpy(binding->ipv6.bytes, test_source6, 16);
    }
    fixture->settings.nat64_count = 1;
    fixture->settings.translation = test_settings;
}

static void start_engine(struct fixture *fixture, uint32_t packets, uint32_t memory)
{
    struct geometry geometry = {.sessions = 1024, .addresses = 1, .workers = 1, .counters = 1};
    char error[128];
    fixture->settings.translation.fragment_packets = packets;
    fixture->settings.translation.fragment_memory = memory;
    fixture->table = table_create(&geometry, 1);
    assert_non_null(fixture->table);
    struct engine_options options = {
        .table = fixture->table, .settings = &fixture->settings, .workers = 1, .seed = 1};
    fixture->engine = engine_create(&options, error, sizeof(error));
    assert_non_null(fixture->engine);
    fixture->worker = engine_worker(fixture->engine, 0);
}

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    assert_non_null(fixture);
    fill_settings(fixture);
    fixture->now = 100ull * SECOND;
    *state = fixture;
    return 0;
}

static int take_down(void **state)
{
    struct fixture *fixture = *state;
    engine_destroy(fixture->engine);
    table_destroy(fixture->table);
    free(fixture);
    return 0;
}

/* --- in pieces, and whole again ---------------------------------------------------------------------- */

struct piece {
    uint8_t bytes[PIECE];
    uint32_t length;
};

/* Appends the bytes from `start` to `end` of a whole packet as a fragment. */
static void cut(const uint8_t *whole, uint32_t length, uint32_t id, uint32_t start, uint32_t end,
                struct piece *piece)
{
    bool six = whole[0] >> 4 == 6, more = end < length;
    uint32_t header = six ? 40 : 20, front = six ? 48 : 20;
    memcpy(piece->bytes, whole, header);
    memcpy(piece->bytes + front, whole + header + start, end - start);
    piece->length = front + end - start;
    if (six) {
        put(piece->bytes + 4, 2, piece->length - 40);
        piece->bytes[6] = 44;
        piece->bytes[40] = whole[6];
        piece->bytes[41] = 0;
        put(piece->bytes + 42, 2, start | more);
        put(piece->bytes + 44, 4, id);
    } else {
        put(piece->bytes + 2, 2, piece->length);
        put(piece->bytes + 4, 2, id);
        put(piece->bytes + 6, 2, start / 8 | (more ? 0x2000 : 0));
        seal_ipv4(piece->bytes);
    }
}

/* What has come out of the engine of one datagram. */
struct arrived {
    uint8_t header[48];
    uint8_t bytes[WHOLE];
    bool present[WHOLE];
    uint32_t total, packets;
    bool first_was_first;
};

static void arrive(struct arrived *arrived, const struct packet *packet)
{
    const uint8_t *ip = packet_data(packet);
    bool six = ip[0] >> 4 == 6;
    uint32_t front = six ? 48 : 20;
    uint32_t start = six ? be(ip + 42, 2) & 0xfff8 : (be(ip + 6, 2) & 0x1fff) * 8;
    bool more = six ? (ip[43] & 1) != 0 : (ip[6] & 0x20) != 0;
    uint32_t length = packet->length - front;
    if (six)
        assert_int_equal(ip[6], 44);
    if (arrived->packets++ == 0)
        arrived->first_was_first = start == 0;
    if (start == 0)
        memcpy(arrived->header, ip, front);
    for (uint32_t i = 0; i < length; i++) {
        assert_false(arrived->present[start + i]);
        arrived->present[start + i] = true;
    }
    memcpy(arrived->bytes + start, ip + front, length);
    if (!more)
        arrived->total = start + length;
}

static bool is_whole(const struct arrived *arrived)
{
    for (uint32_t i = 0; i < arrived->total; i++)
        if (!arrived->present[i])
            return false;
    return arrived->total > 0;
}

/* Hands the packets in and takes out what comes of it. */
static void receive(struct fixture *fixture, const struct piece pieces[], const unsigned order[], unsigned n,
                    struct arrived *arrived)
{
    static uint8_t buffers[BURST_MAXIMUM][TEST_ROOM + PIECE], out[TEST_CAPACITY];
    struct packet packets[BURST_MAXIMUM],
        made = {.buffer = out, .capacity = sizeof(out), .offset = TEST_ROOM};
    enum verdict verdicts[BURST_MAXIMUM];
    for (unsigned i = 0; i < n; i++) {
        const struct piece *piece = &pieces[order[i]];
        packets[i] = (struct packet){.buffer = buffers[i],
                                     .capacity = sizeof(buffers[i]),
                                     .offset = TEST_ROOM,
                                     .length = piece->length};
        memcpy(packet_data(&packets[i]), piece->bytes, piece->length);
    }
    engine_receive(fixture->worker, packets, n, fixture->now, verdicts);
    for (unsigned i = 0; i < n; i++) {
        if (verdict_texts[verdicts[i]].class == VERDICT_FORWARDED && arrived != NULL)
            arrive(arrived, &packets[i]);
        while (engine_pull_pieces(fixture->worker, i, &made)) {
            if (arrived != NULL)
                arrive(arrived, &made);
            made.offset = TEST_ROOM;
        }
    }
    assert_false(engine_pull(fixture->worker, &made));
}

static struct engine_fragments held(const struct fixture *fixture)
{
    struct engine_fragments fragments;
    engine_fragments(fixture->engine, &fragments);
    return fragments;
}

static uint64_t counted(const struct fixture *fixture, enum verdict verdict)
{
    struct engine_counters counters;
    engine_count(fixture->engine, &counters);
    return counters.packets[verdict];
}

static void assert_nothing_is_kept(const struct fixture *fixture)
{
    struct engine_fragments fragments = held(fixture);
    assert_int_equal(fragments.datagrams, 0);
    assert_int_equal(fragments.packets, 0);
    assert_int_equal(fragments.bytes, 0);
}

/* What arrived is the datagram that was sent, with the addresses and ports that it is to have, and whole. */
static void assert_translated(struct arrived *arrived, const uint8_t *sent, uint32_t length)
{
    static const uint8_t pool[4] = {192, 0, 2, 9};
    bool six = sent[0] >> 4 == 6;
    const uint8_t *before = sent + (six ? 40 : 20);
    uint8_t protocol = six ? sent[6] : sent[9], translated;
    translated = protocol == 58 ? 1 : protocol == 1 ? 58 : protocol;
    assert_true(is_whole(arrived));
    assert_int_equal(arrived->total, length);
    assert_true(arrived->first_was_first);
    if (six) {
        assert_memory_equal(arrived->header + 12, pool, 4);
        assert_memory_equal(arrived->header + 16, test_source4, 4);
        assert_int_equal(arrived->header[9], translated);
    } else {
        assert_memory_equal(arrived->header + 8, test_destination6, 16);
        assert_memory_equal(arrived->header + 24, test_source6, 16);
        assert_int_equal(arrived->header[40], translated);
    }
    assert_memory_equal(arrived->bytes + 20, before + 20, length - 20);
    uint16_t sum = words(pseudo(arrived->header, translated, length), arrived->bytes, length);
    assert_int_equal(sum, 0xffff);
    if (protocol == TCP || protocol == UDP) {
        assert_int_equal(be(arrived->bytes, 2), six ? 2222 : 1111);
        assert_int_equal(be(arrived->bytes + 2, 2), six ? 2222 : 1111);
    }
}

/* A whole packet from either side; from IPv4 to the port that is the client's. */
static struct packet whole_packet(bool six, uint8_t protocol, uint32_t length, bool with_checksum)
{
    struct packet packet = six ? make6(protocol, length) : make4(protocol, length);
    if (!with_checksum)
        put(packet_data(&packet) + 26, 2, 0);
    return packet;
}

static unsigned next_permutation(unsigned order[4])
{
    for (unsigned i = 3; i > 0; i--) {
        if (order[i - 1] >= order[i])
            continue;
        unsigned k = 3;
        while (order[k] <= order[i - 1])
            k--;
        unsigned swapped = order[i - 1];
        order[i - 1] = order[k];
        order[k] = swapped;
        for (unsigned a = i, b = 3; a < b; a++, b--) {
            swapped = order[a];
            order[a] = order[b];
            order[b] = swapped;
        }
        return 1;
    }
    return 0;
}

/* Four pieces in each of the 24 orders: one by one, as one burst, and each twice. */
static void all_orders(struct fixture *fixture, bool six, uint8_t protocol, bool with_checksum)
{
    static struct arrived arrived;
    static struct piece pieces[4];
    const uint32_t length = 1001, ends[] = {0, 104, 504, 512, length};
    struct packet packet = whole_packet(six, protocol, length, with_checksum);
    unsigned order[4] = {0, 1, 2, 3}, tried = 0, id = 7000;
    do {
        for (unsigned way = 0; way < 3; way++) {
            memset(&arrived, 0, sizeof(arrived));
            for (unsigned i = 0; i < 4; i++)
                cut(packet_data(&packet), length, id, ends[i], ends[i + 1], &pieces[i]);
            for (unsigned i = 0; i < 4; i++) {
                if (way == 0 || (way == 2 && i == 3))
                    receive(fixture, pieces, order + i, 1, &arrived);
                else if (way == 2)
                    receive(fixture, pieces, (unsigned[]){order[i], order[i]}, 2, &arrived);
            }
            if (way == 1)
                receive(fixture, pieces, order, 4, &arrived);
            assert_translated(&arrived, packet_data(&packet), length);
            assert_nothing_is_kept(fixture);
            id++;
        }
        tried++;
    } while (next_permutation(order));
    assert_int_equal(tried, 24);
    assert_int_equal(counted(fixture, VERDICT_FRAGMENT_REPEATED), 24 * 3);
}

#define IN_ALL_ORDERS(name, six, protocol, with_checksum)                                                    \
    static void name(void **state)                                                                           \
    {                                                                                                        \
        start_engine(*state, 0, 0);                                                                          \
        all_orders(*state, six, protocol, with_checksum);                                                    \
    }

IN_ALL_ORDERS(udp_from_ipv6_in_all_orders, true, UDP, true)
IN_ALL_ORDERS(udp_from_ipv4_in_all_orders, false, UDP, true)
IN_ALL_ORDERS(tcp_from_ipv6_in_all_orders, true, TCP, true)
IN_ALL_ORDERS(tcp_from_ipv4_in_all_orders, false, TCP, true)
IN_ALL_ORDERS(echo_from_ipv6_in_all_orders, true, 58, true)
IN_ALL_ORDERS(echo_from_ipv4_in_all_orders, false, 1, true)
IN_ALL_ORDERS(udp_without_checksum_in_all_orders, false, UDP, false)

/* --- much ---------------------------------------------------------------------------------------------- */

/* The longest datagram there can be, without a checksum, in pieces of 1480 bytes, the last one first. */
static void the_longest_datagram_backwards(void **state)
{
    static struct arrived arrived;
    static struct piece pieces[PIECES];
    struct fixture *fixture = *state;
    const uint32_t length = 65515;
    unsigned n = 0;
    /* A worker's part on a machine with 64 of them. */
    fixture->settings.translation.lowest_ipv6_mtu = 2000;
    fixture->settings.translation.mtu6 = 2000;
    start_engine(fixture, FRAGMENT_PACKETS_DEFAULT / 64, FRAGMENT_MEMORY_DEFAULT / 64);
    struct packet packet = whole_packet(false, UDP, length, false);
    for (uint32_t at = 0; at < length; at += 1480, n++)
        cut(packet_data(&packet), length, 5, at, at + 1480 < length ? at + 1480 : length, &pieces[n]);
    for (unsigned i = n; i > 0; i--)
        receive(fixture, pieces, (unsigned[]){i - 1}, 1, &arrived);
    assert_translated(&arrived, packet_data(&packet), length);
    assert_nothing_is_kept(fixture);
}

/* More pieces than are kept account of. */
static void too_many_pieces(void **state)
{
    static struct arrived arrived;
    struct fixture *fixture = *state;
    struct piece piece;
    start_engine(fixture, 0, 0);
    struct packet packet = whole_packet(false, UDP, 8 * (FRAGMENT_PIECES + 2), true);
    for (uint32_t i = 1; i <= FRAGMENT_PIECES + 1; i++) {
        cut(packet_data(&packet), 8 * (FRAGMENT_PIECES + 2), 5, 8 * i, 8 * (i + 1), &piece);
        receive(fixture, &piece, (unsigned[]){0}, 1, &arrived);
    }
    assert_int_equal(arrived.packets, 0);
    assert_int_equal(counted(fixture, VERDICT_FRAGMENTS_FULL), FRAGMENT_PIECES + 1);
    assert_int_equal(held(fixture).packets, 0);
}

/* A piece of a datagram of its own from an IPv4 address, of which nothing else comes. */
static void stray(struct fixture *fixture, uint32_t source, uint32_t id, uint32_t start, uint32_t length)
{
    static struct piece piece;
    struct packet packet = whole_packet(false, UDP, 1600, true);
    put(packet_data(&packet) + 12, 4, source);
    cut(packet_data(&packet), 1600, id, start, start + length, &piece);
    receive(fixture, &piece, (unsigned[]){0}, 1, NULL);
}

static void a_flood_from_one_source_takes_its_share(void **state)
{
    static struct arrived arrived;
    static struct piece pieces[2];
    struct fixture *fixture = *state;
    start_engine(fixture, 1024, 1 << 20);
    struct packet packet = whole_packet(false, UDP, 1000, true);
    cut(packet_data(&packet), 1000, 5, 0, 504, &pieces[0]);
    cut(packet_data(&packet), 1000, 5, 504, 1000, &pieces[1]);
    receive(fixture, pieces, (unsigned[]){1}, 1, &arrived);
    for (uint32_t i = 0; i < 20000; i++)
        stray(fixture, 0x05060708, i & 0xffff, 800, 8);
    assert_int_equal(held(fixture).datagrams, 1 + 1024 / FRAGMENT_SHARE);
    for (uint32_t i = 0; i < 2000; i++)
        stray(fixture, 0x05060708, i, 8, 1480);
    assert_in_range(held(fixture).bytes, 1, (1 << 20) / FRAGMENT_SHARE + 512);
    assert_in_range(held(fixture).packets, 2, 1 + 1024 / FRAGMENT_SHARE);
    /* What another source has sent before is still there. */
    receive(fixture, pieces, (unsigned[]){0}, 1, &arrived);
    packet = whole_packet(false, UDP, 1000, true);
    assert_translated(&arrived, packet_data(&packet), 1000);
    assert_int_equal(counted(fixture, VERDICT_FRAGMENT_HELD),
                     counted(fixture, VERDICT_FRAGMENTS_FULL) + held(fixture).packets + 2);
}

/* Datagrams that hold no memory are counted as well: their first fragments have passed. */
static void a_source_has_its_share_of_places(void **state)
{
    struct fixture *fixture = *state;
    start_engine(fixture, 1024, 1 << 20);
    for (uint32_t i = 0; i < 1000; i++)
        stray(fixture, 0x05060708, i, 0, 800);
    assert_int_equal(held(fixture).datagrams, 1024 / FRAGMENT_SHARE);
    assert_int_equal(held(fixture).packets, 0);
}

/* They do not yield to those that want memory, of which they have none. */
static void what_holds_nothing_stays_when_memory_is_short(void **state)
{
    static struct arrived arrived;
    static struct piece pieces[2];
    struct fixture *fixture = *state;
    start_engine(fixture, 1024, 128 << 10);
    struct packet packet = whole_packet(false, UDP, 1000, true);
    cut(packet_data(&packet), 1000, 5, 0, 504, &pieces[0]);
    cut(packet_data(&packet), 1000, 5, 504, 1000, &pieces[1]);
    receive(fixture, pieces, (unsigned[]){0}, 1, &arrived);
    fixture->now += SECOND / 2;
    for (uint32_t i = 0; i < 500; i++)
        stray(fixture, 0x05000000 + i, i, 8, 1480);
    assert_in_range(counted(fixture, VERDICT_FRAGMENTS_FULL), 400, 500);
    receive(fixture, pieces, (unsigned[]){1}, 1, &arrived);
    packet = whole_packet(false, UDP, 1000, true);
    assert_translated(&arrived, packet_data(&packet), 1000);
}

/* A datagram is released and has to yield in one burst, and another takes its place in the table. */
static void what_yields_is_not_handed_out(void **state)
{
    static struct arrived arrived;
    static struct piece pieces[8];
    struct fixture *fixture = *state;
    const unsigned order[] = {0, 1, 2, 3, 4, 5, 6, 7};
    start_engine(fixture, 4, 64 << 10);
    struct packet packet = whole_packet(false, UDP, 1000, true);
    cut(packet_data(&packet), 1000, 5, 504, 1000, &pieces[0]);
    cut(packet_data(&packet), 1000, 5, 0, 504, &pieces[1]);
    for (uint32_t i = 2; i < 8; i++)
        cut(packet_data(&packet), 1000, 100 + i, 504, 1000, &pieces[i]);
    receive(fixture, pieces, order, 8, &arrived);
    assert_int_equal(arrived.packets, 0);
    assert_int_equal(counted(fixture, VERDICT_FRAGMENTS_FULL), 4);
    assert_int_equal(held(fixture).packets, 4);
}

/* A subscriber is a source, however many addresses it has. */
static void a_subscriber_is_one_source(void **state)
{
    struct fixture *fixture = *state;
    struct piece piece;
    start_engine(fixture, 1024, 1 << 20);
    struct packet packet = whole_packet(true, UDP, 1000, true);
    for (uint32_t i = 0; i < 1000; i++) {
        put(packet_data(&packet) + 16, 4, i);
        cut(packet_data(&packet), 1000, i, 504, 1000, &piece);
        receive(fixture, &piece, (unsigned[]){0}, 1, NULL);
    }
    assert_int_equal(held(fixture).datagrams, 1024 / FRAGMENT_SHARE);
    put(packet_data(&packet) + 12, 4, 77);
    cut(packet_data(&packet), 1000, 5, 504, 1000, &piece);
    receive(fixture, &piece, (unsigned[]){0}, 1, NULL);
    assert_int_equal(held(fixture).datagrams, 1024 / FRAGMENT_SHARE + 1);
}

/* Everything is taken by many sources: what comes in order still passes, and no bound is exceeded. */
static void a_flood_from_everywhere(void **state)
{
    static struct arrived arrived;
    static struct piece pieces[2];
    struct fixture *fixture = *state;
    start_engine(fixture, 256, 256 << 10);
    for (uint32_t i = 0; i < 30000; i++) {
        stray(fixture, 0x05000000 + i, i & 0xffff, 8, i % 3 == 0 ? 8 : 1480);
        struct engine_fragments now = held(fixture);
        assert_true(now.datagrams <= 256 && now.packets <= 256 && now.bytes <= 256 << 10);
        if (i % 100 != 0)
            continue;
        memset(&arrived, 0, sizeof(arrived));
        struct packet packet = whole_packet(false, UDP, 1000, true);
        cut(packet_data(&packet), 1000, i, 0, 504, &pieces[0]);
        cut(packet_data(&packet), 1000, i, 504, 1000, &pieces[1]);
        receive(fixture, pieces, (unsigned[]){i / 100 % 2}, 1, &arrived);
        stray(fixture, 0x06000000 + i, i & 0xffff, 8, 1480);
        receive(fixture, pieces, (unsigned[]){1 - i / 100 % 2}, 1, &arrived);
        packet = whole_packet(false, UDP, 1000, true);
        assert_translated(&arrived, packet_data(&packet), 1000);
    }
    assert_in_range(held(fixture).bytes, 200 << 10, 256 << 10);
}

/* --- time ---------------------------------------------------------------------------------------------- */

static void what_stays_alone_ends_in_time(void **state)
{
    struct fixture *fixture = *state;
    start_engine(fixture, 0, 0);
    nanoseconds idle = engine_next_deadline(fixture->worker);
    for (uint32_t i = 0; i < 1000; i++)
        stray(fixture, 0x05000000 + i, i, 8, 800);
    assert_int_equal(held(fixture).packets, 1000);
    fixture->now += 2ull * SECOND;
    assert_int_equal(engine_next_deadline(fixture->worker), idle < fixture->now ? idle : fixture->now);
    for (unsigned i = 0; i < 10; i++)
        engine_expire(fixture->worker, fixture->now);
    assert_nothing_is_kept(fixture);
    assert_int_equal(counted(fixture, VERDICT_FRAGMENT_TIMEOUT), 1000);
    assert_true(engine_next_deadline(fixture->worker) > fixture->now);
}

/* Nobody called engine_expire: what is over is over all the same. */
static void an_overdue_datagram_is_not_found(void **state)
{
    static struct arrived arrived;
    static struct piece pieces[2];
    struct fixture *fixture = *state;
    start_engine(fixture, 0, 0);
    struct packet packet = whole_packet(true, UDP, 1000, true);
    cut(packet_data(&packet), 1000, 5, 0, 504, &pieces[0]);
    cut(packet_data(&packet), 1000, 5, 504, 1000, &pieces[1]);
    receive(fixture, pieces, (unsigned[]){1}, 1, &arrived);
    fixture->now += 2ull * SECOND;
    receive(fixture, pieces, (unsigned[]){0}, 1, &arrived);
    assert_int_equal(arrived.packets, 1);
    assert_int_equal(counted(fixture, VERDICT_FRAGMENT_TIMEOUT), 1);
}

/* A reload makes the time shorter: what waits since before does not keep what has come later. */
static void a_shorter_time_is_kept(void **state)
{
    struct fixture *fixture = *state;
    char error[128];
    fixture->settings.nat64[0].timeouts.fragment = 3600;
    start_engine(fixture, 0, 0);
    struct settings shorter = fixture->settings;
    shorter.nat64[0].timeouts.fragment = FRAGMENT_SECONDS;
    stray(fixture, 0x05000001, 1, 8, 800); /* waits */
    stray(fixture, 0x05000002, 2, 0, 800); /* has passed, and others are to come */
    assert_true(engine_replace_settings(fixture->engine, &shorter, fixture->now, error, sizeof(error)));
    fixture->now += SECOND;
    stray(fixture, 0x05000003, 3, 8, 800);
    stray(fixture, 0x05000004, 4, 0, 800);
    assert_int_equal(held(fixture).datagrams, 4);
    fixture->now += 2ull * SECOND;
    assert_true(engine_next_deadline(fixture->worker) <= fixture->now);
    engine_expire(fixture->worker, fixture->now);
    assert_nothing_is_kept(fixture);
    assert_int_equal(counted(fixture, VERDICT_FRAGMENT_TIMEOUT), 2);
}

/* --- the rest ------------------------------------------------------------------------------------------- */

/* The binding goes while a datagram is under way: nothing passes by it any more. */
static void settings_change_between_fragments(void **state)
{
    for (uint8_t protocol = TCP; protocol <= UDP; protocol += UDP - TCP) {
        static struct arrived arrived;
        static struct piece pieces[3];
        struct fixture *fixture = *state;
        struct settings without = fixture->settings;
        char error[128];
        start_engine(fixture, 0, 0);
        struct packet packet = whole_packet(false, protocol, 1000, true);
        memset(&arrived, 0, sizeof(arrived));
        for (unsigned i = 0; i < 3; i++)
            cut(packet_data(&packet), 1000, 5, 336 * i, i < 2 ? 336 * (i + 1) : 1000, &pieces[i]);
        receive(fixture, pieces, (unsigned[]){0, 1}, 2, &arrived);
        assert_int_equal(arrived.packets, 2);
        without.nat64[0].static_count = 0;
        assert_true(engine_replace_settings(fixture->engine, &without, fixture->now, error, sizeof(error)));
        receive(fixture, pieces, (unsigned[]){2}, 1, &arrived);
        assert_int_equal(arrived.packets, 2);
        assert_int_equal(counted(fixture, VERDICT_NO_BINDING), 1);
        if (protocol == TCP) {
            engine_destroy(fixture->engine);
            table_destroy(fixture->table);
        }
    }
}

/* Released, and then its instance goes and another has its number: the other has nothing to do with it. */
static void the_instance_goes_before_the_fragments_do(void **state)
{
    static struct piece pieces[2];
    struct fixture *fixture = *state;
    uint8_t buffers[2][TEST_ROOM + PIECE], out[TEST_CAPACITY];
    struct packet in[2], made = {.buffer = out, .capacity = sizeof(out), .offset = TEST_ROOM};
    enum verdict verdicts[2];
    char error[128];
    start_engine(fixture, 0, 0);
    struct settings other = fixture->settings;
    other.nat64[0].prefix.address.bytes[5] = 0x65;
    other.nat64[0].static_count = 0;
    struct packet packet = whole_packet(true, UDP, 1000, true);
    cut(packet_data(&packet), 1000, 5, 504, 1000, &pieces[0]);
    cut(packet_data(&packet), 1000, 5, 0, 504, &pieces[1]);
    for (unsigned i = 0; i < 2; i++) {
        in[i] = (struct packet){.buffer = buffers[i],
                                .capacity = sizeof(buffers[i]),
                                .offset = TEST_ROOM,
                                .length = pieces[i].length};
        memcpy(packet_data(&in[i]), pieces[i].bytes, in[i].length);
    }
    engine_receive(fixture->worker, in, 2, fixture->now, verdicts);
    assert_int_equal(verdicts[1], VERDICT_FRAGMENT_HELD);
    assert_true(engine_replace_settings(fixture->engine, &other, fixture->now, error, sizeof(error)));
    assert_false(engine_pull(fixture->worker, &made));
    assert_int_equal(counted(fixture, VERDICT_NOT_OURS), 2);
    assert_int_equal(held(fixture).packets, 0);
    uint32_t position = 0;
    struct engine_entry entry;
    assert_int_equal(engine_list(fixture->engine, true, &position, 1024, &entry, 1, fixture->now), 0);
}

static void a_session_counts_all_fragments(void **state)
{
    static struct arrived arrived;
    static struct piece pieces[3];
    struct fixture *fixture = *state;
    struct engine_entry entry;
    uint32_t position = 0, bytes = 0;
    start_engine(fixture, 0, 0);
    struct packet packet = whole_packet(true, UDP, 1000, true);
    for (unsigned i = 0; i < 3; i++) {
        cut(packet_data(&packet), 1000, 5, 336 * i, i < 2 ? 336 * (i + 1) : 1000, &pieces[i]);
        bytes += pieces[i].length;
    }
    receive(fixture, pieces, (unsigned[]){2, 0, 1}, 3, &arrived);
    assert_int_equal(engine_list(fixture->engine, true, &position, 1024, &entry, 1, fixture->now), 1);
    assert_int_equal(entry.packets_6to4, 3);
    assert_int_equal(entry.bytes_6to4, bytes);
}

/* What is not pulled before the next burst is gone, and so is its memory. */
static void what_is_not_pulled_is_forgotten(void **state)
{
    static struct piece pieces[2];
    struct fixture *fixture = *state;
    uint8_t buffer[TEST_ROOM + PIECE], out[TEST_CAPACITY];
    struct packet made = {.buffer = out, .capacity = sizeof(out), .offset = TEST_ROOM};
    enum verdict verdict;
    start_engine(fixture, 0, 0);
    struct packet packet = whole_packet(false, UDP, 1000, true);
    cut(packet_data(&packet), 1000, 5, 0, 504, &pieces[0]);
    cut(packet_data(&packet), 1000, 5, 504, 1000, &pieces[1]);
    for (unsigned i = 2; i > 0; i--) {
        struct packet in = {.buffer = buffer,
                            .capacity = sizeof(buffer),
                            .offset = TEST_ROOM,
                            .length = pieces[i - 1].length};
        memcpy(packet_data(&in), pieces[i - 1].bytes, in.length);
        engine_receive(fixture->worker, &in, 1, fixture->now, &verdict);
        assert_int_equal(verdict, VERDICT_FRAGMENT_HELD);
    }
    assert_int_equal(held(fixture).packets, 2);
    engine_receive(fixture->worker, NULL, 0, fixture->now, NULL);
    assert_false(engine_pull(fixture->worker, &made));
    assert_nothing_is_kept(fixture);
}

static void memory_is_what_is_said(void **state)
{
    struct fixture *fixture = *state;
    start_engine(fixture, 64, 128 << 10);
    size_t few = fragments_memory(&fixture->settings, 1), split = fragments_memory(&fixture->settings, 2);
    assert_in_range(few, 128 << 10, 512 << 10);
    assert_in_range(split, few / 2,
                    few + (256 << 10)); /* and the place where a packet is translated, twice */
    fixture->settings.translation.fragment_memory = 256 << 10;
    assert_in_range(fragments_memory(&fixture->settings, 1) - few, 128 << 10, 132 << 10);
}

#define IN_AN_ENGINE(test) cmocka_unit_test_setup_teardown(test, set_up, take_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_AN_ENGINE(udp_from_ipv6_in_all_orders),
        IN_AN_ENGINE(udp_from_ipv4_in_all_orders),
        IN_AN_ENGINE(tcp_from_ipv6_in_all_orders),
        IN_AN_ENGINE(tcp_from_ipv4_in_all_orders),
        IN_AN_ENGINE(echo_from_ipv6_in_all_orders),
        IN_AN_ENGINE(echo_from_ipv4_in_all_orders),
        IN_AN_ENGINE(udp_without_checksum_in_all_orders),
        IN_AN_ENGINE(the_longest_datagram_backwards),
        IN_AN_ENGINE(too_many_pieces),
        IN_AN_ENGINE(a_flood_from_one_source_takes_its_share),
        IN_AN_ENGINE(a_source_has_its_share_of_places),
        IN_AN_ENGINE(what_holds_nothing_stays_when_memory_is_short),
        IN_AN_ENGINE(what_yields_is_not_handed_out),
        IN_AN_ENGINE(a_subscriber_is_one_source),
        IN_AN_ENGINE(a_flood_from_everywhere),
        IN_AN_ENGINE(what_stays_alone_ends_in_time),
        IN_AN_ENGINE(an_overdue_datagram_is_not_found),
        IN_AN_ENGINE(a_shorter_time_is_kept),
        IN_AN_ENGINE(settings_change_between_fragments),
        IN_AN_ENGINE(the_instance_goes_before_the_fragments_do),
        IN_AN_ENGINE(a_session_counts_all_fragments),
        IN_AN_ENGINE(what_is_not_pulled_is_forgotten),
        IN_AN_ENGINE(memory_is_what_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
