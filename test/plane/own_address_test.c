/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the program takes and what it lets pass where the pool address is the host's own: each packet goes in
 * by BPF_PROG_TEST_RUN, written in the language of the vectors, and its fate is one of three.
 *
 *     client  2001:db8:1::2, behind 2001:db8:64::/96     host  203.0.113.1, of which ports 40000-40099 are
 * ours
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "engine/engine.h"
#include "engine/rules.h"
#include "plane/bpf/object.h"
#include "plane/bpf/rules.h"
#include "test/vector.h"

enum fate {
    PASSES, /* to the host, as it came */
    TRANSLATED,
    TAKEN, /* by the engine */
};

enum {
    LINK_HEADER = 14,
    ROOM = 3000,
    SLACK_NANOSECONDS = 20 * 1000 * 1000, /* by which the coarse clock may lag */
    SECOND = 1000 * 1000 * 1000,
};

#define CLIENT "ip6 src=2001:db8:1::2 dst=2001:db8:64::198.51.100.7 "
#define SENT   "ip4 src=203.0.113.1 dst=198.51.100.7 "
#define REMOTE "ip4 src=198.51.100.7 dst=203.0.113.1 "
#define OTHER  "ip4 src=198.51.100.8 dst=203.0.113.1 "

static const char *object_path;
static bool available;

static struct {
    struct object *object;
    struct table *table;
    struct engine *engine;
    struct plane_settings *plane;
    struct plane_control *control;
    struct pool_range range;
    struct settings settings;
    struct vector_variables variables;
    unsigned arrives_at; /* 0: any interface */
    bool between;        /* which is one of those between host and clients */
    uint8_t out[LINK_HEADER + ROOM + 64];
    uint32_t length;
} lab;

/* --- the lab ---------------------------------------------------------------------------------------- */

static void must(const char *command)
{
    if (system(command) != 0) /* NOLINT(cert-env33-c): a lab is set up by the programs of every day */
        fail_msg("failed: %s", command);
}

static void describe_settings(enum filtering filtering)
{
    struct nat64_settings *nat64 = &lab.settings.nat64[0];
    lab.range =
        (struct pool_range){.count = 1, .low = 40000, .high = 40099, .transports = 7, .interface = "wan0"};
    inet_pton(AF_INET, "203.0.113.1", &lab.range.first);
    lab.settings.nat64_count = 1;
    lab.settings.translation = (struct translation_settings){.tos = -1,
                                                             .amend_udp_checksum_zero = true,
                                                             .icmp_errors_per_second = 1000,
                                                             .mtu6 = 1500,
                                                             .mtu4 = 1500};
    *nat64 = (struct nat64_settings){.prefix.length = 96,
                                     .sessions = 64,
                                     .filtering = (uint8_t)filtering,
                                     .subscriber_prefix = SUBSCRIBER_PREFIX_DEFAULT,
                                     .pool = &lab.range,
                                     .pool_count = 1};
    inet_pton(AF_INET6, "2001:db8:64::", nat64->prefix.address.bytes);
    nat64->timeouts = (struct nat64_timeouts){.udp = UDP_DEFAULT_SECONDS,
                                              .icmp = ICMP_DEFAULT_SECONDS,
                                              .tcp_established = TCP_ESTABLISHED_SECONDS,
                                              .tcp_transitory = TCP_TRANSITORY_SECONDS,
                                              .tcp_syn = TCP_INCOMING_SYN_SECONDS,
                                              .fragment = FRAGMENT_SECONDS};
}

static void make_network(void)
{
    cpu_set_t first;
    CPU_ZERO(&first);
    CPU_SET(0, &first);
    assert_int_equal(sched_setaffinity(0, sizeof(first), &first), 0);
    must("ip link set lo up && ip link add way0 type veth peer name way1 && ip link set way0 up && "
         "ip link set way1 up && ip link add isthmus0 type veth peer name isthmus1 && ip link set isthmus0 "
         "up");
    must("echo 1 >/proc/sys/net/ipv4/ip_forward && echo 1 >/proc/sys/net/ipv6/conf/all/forwarding");
    must("ip route add default dev way0 && ip -6 route add default dev way0 && "
         "ip address add 203.0.113.1/24 dev way0");
}

static const struct geometry geometry = {.sessions = 64, .addresses = 1, .workers = 2};

static nanoseconds clock_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (nanoseconds)now.tv_sec * SECOND + (nanoseconds)now.tv_nsec;
}

static int open_lab(void **state)
{
    char error[256];
    (void)state;
    if (!available)
        return 0;
    make_network();
    const struct object_options options = {.path = object_path, .geometry = geometry};
    lab.object = object_open(&options, error, sizeof(error));
    if (lab.object == NULL)
        fail_msg("%s", error);
    lab.plane = object_map_memory(lab.object, "settings");
    lab.control = object_map_memory(lab.object, ".data.control");
    assert_non_null(lab.plane);
    assert_non_null(lab.control);
    return 0;
}

static int close_lab(void **state)
{
    (void)state;
    object_close(lab.object);
    return 0;
}

/* An empty table and the rules, before each test. */
static void begin(enum filtering filtering)
{
    char error[256];
    if (!available) {
        print_message("skipped: needs root, for a network namespace\n");
        skip();
    }
    describe_settings(filtering);
    for (unsigned i = 0; i < TABLE_SEGMENTS; i++) {
        struct extent extent = table_extent(&geometry, i);
        if (extent.count > 0)
            memset(object_memory(lab.object)[i], 0, extent.element * extent.count);
    }
    lab.table = table_format(object_memory(lab.object), &geometry, 1);
    assert_non_null(lab.table);
    assert_int_equal(object_constants(lab.object, lab.table), 0);
    const struct engine_options options = {
        .table = lab.table, .settings = &lab.settings, .workers = 1, .seed = 5, .now = clock_now()};
    lab.engine = engine_create(&options, error, sizeof(error));
    if (lab.engine == NULL)
        fail_msg("%s", error);
    const struct rules_surroundings surroundings = {.device = if_nametoindex("isthmus0"),
                                                    .lane = 1,
                                                    .lanes = 1,
                                                    .clock_ahead = SLACK_NANOSECONDS,
                                                    .secret = {20260727, 64}};
    assert_int_equal(rules_enforce(lab.object, engine_rules(lab.engine), &surroundings), 0);
    lab.variables = (struct vector_variables){0};
    lab.arrives_at = 0;
    lab.between = false;
}

static void end(void)
{
    engine_destroy(lab.engine);
    table_destroy(lab.table);
}

static void let_pass_seconds(unsigned seconds)
{
    for (unsigned i = 0; i < SETTINGS_VERSIONS; i++)
        lab.plane[i].clock_ahead += (uint64_t)seconds * SECOND;
}

/* --- packets ---------------------------------------------------------------------------------------- */

static struct plane_counters counted(void)
{
    const struct plane_counters *first = object_map_memory(lab.object, "processors"); /* ours */
    assert_non_null(first);
    return *first;
}

static void encode(const char *text, struct vector_packet *packet)
{
    struct vector_encoding encoding = {.variables = &lab.variables};
    if (!vector_encode(&encoding, text, packet))
        fail_msg("%s: %s", text, encoding.error);
}

static enum fate fate_of(const char *text)
{
    static uint8_t in[LINK_HEADER + ROOM];
    static struct vector_packet packet;
    struct __sk_buff context = {.ingress_ifindex = lab.arrives_at};
    LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = in, .data_out = lab.out,
                .data_size_out = sizeof(lab.out), .repeat = 1, );
    if (lab.arrives_at != 0) {
        options.ctx_in = &context;
        options.ctx_size_in = sizeof(context);
    }
    encode(text, &packet);
    assert_true(packet.length <= ROOM);
    in[12] = packet.bytes[0] >> 4 == 4 ? 0x08 : 0x86;
    in[13] = packet.bytes[0] >> 4 == 4 ? 0x00 : 0xdd;
    memcpy(in + LINK_HEADER, packet.bytes, packet.length);
    options.data_size_in = LINK_HEADER + packet.length;
    const struct plane_counters before = counted();
    int program = object_program(lab.object, lab.between ? "translate_between" : "translate_ethernet");
    if (bpf_prog_test_run_opts(program, &options) != 0)
        fail_msg("BPF_PROG_TEST_RUN: %s", strerror(errno));
    const struct plane_counters after = counted();
    lab.length = options.data_size_out - LINK_HEADER;
    bool same =
        options.data_size_out == options.data_size_in && memcmp(in, lab.out, options.data_size_in) == 0;
    if (after.handed_over > before.handed_over) {
        assert_true(same && after.passed == before.passed);
        return TAKEN;
    }
    if (after.passed > before.passed) {
        assert_true(same && (int)options.retval == -1);
        return PASSES;
    }
    assert_int_equal(after.packets[VERDICT_TRANSLATED_6TO4] + after.packets[VERDICT_TRANSLATED_4TO6],
                     before.packets[VERDICT_TRANSLATED_6TO4] + before.packets[VERDICT_TRANSLATED_4TO6] + 1);
    return TRANSLATED;
}

#define expect(fate, text) assert_int_equal(fate_of(text), fate)

/* The packet comes out like this; names in it are bound. */
static void came_out(const char *text)
{
    static struct vector_packet packet;
    struct vector_encoding encoding = {
        .variables = &lab.variables, .actual = lab.out + LINK_HEADER, .actual_length = lab.length};
    if (!vector_encode(&encoding, text, &packet))
        fail_msg("%s: %s", text, encoding.error);
    assert_int_equal(packet.length, lab.length);
    assert_memory_equal(packet.bytes, lab.out + LINK_HEADER, packet.length);
}

/* A session of UDP from the host's port $p to 198.51.100.7:53. */
static void open_udp(void)
{
    expect(TRANSLATED, CLIENT "/ udp sport=5000 dport=53 / text query");
    came_out(SENT "ttl=63 id=* / udp sport=$p dport=53 / text query");
    const uint32_t *port = vector_variable(&lab.variables, "p");
    assert_non_null(port);
    assert_in_range(*port, 40000, 40099);
}

/* --- tests ------------------------------------------------------------------------------------------ */

static void test_the_rest_is_the_host_s(void **state)
{
    (void)state;
    begin(FILTERING_ENDPOINT_INDEPENDENT);
    open_udp();
    expect(PASSES, REMOTE "/ tcp sport=5555 dport=22 flags=S");
    expect(PASSES, REMOTE "/ tcp sport=5555 dport=40000 flags=S");
    expect(PASSES, REMOTE "/ tcp sport=5555 dport=40000 flags=A");
    expect(PASSES, REMOTE "/ udp sport=53 dport=33000 / text answer");
    expect(PASSES, REMOTE "/ udp sport=53 dport=33000 csum=0 / text answer");
    expect(PASSES, REMOTE "/ udp sport=53 dport=40000 csum=0 / text answer");
    expect(PASSES, REMOTE "ttl=1 / tcp sport=5555 dport=22 flags=S");
    expect(PASSES, REMOTE "options=94040000 / tcp sport=5555 dport=22 flags=S");
    expect(PASSES, REMOTE "/ tcp sport=5555 dport=$p flags=S"); /* the port of another protocol */
    expect(PASSES, REMOTE "proto=47 / fill 40");
    expect(PASSES, REMOTE "proto=50 / fill 40");
    expect(PASSES, REMOTE "csum=bad:+1 / udp sport=53 dport=33000");
    expect(PASSES, REMOTE "len=2000 / udp sport=53 dport=33000");
    end();
}

static void test_sessions_and_bindings_are_ours(void **state)
{
    (void)state;
    begin(FILTERING_ENDPOINT_INDEPENDENT);
    open_udp();
    expect(TRANSLATED, REMOTE "/ udp sport=53 dport=$p / text answer");
    came_out("ip6 src=2001:db8:64::198.51.100.7 dst=2001:db8:1::2 hlim=63 / udp sport=53 dport=5000 / text "
             "answer");
    expect(TRANSLATED, OTHER "/ udp sport=999 dport=$p / text hello");
    expect(TAKEN, REMOTE "/ udp sport=53 dport=$p csum=0 / text answer");
    expect(TAKEN, OTHER "/ udp sport=9 dport=$p csum=0 / text answer");
    expect(TAKEN, REMOTE "ttl=1 / udp sport=53 dport=$p / text answer");
    expect(TAKEN, REMOTE "options=94040000 / udp sport=53 dport=$p / text answer");
    end();
}

static void test_a_binding_that_is_over_is_nobody_s(void **state)
{
    (void)state;
    begin(FILTERING_ENDPOINT_INDEPENDENT);
    open_udp();
    let_pass_seconds(UDP_DEFAULT_SECONDS + 2);
    expect(PASSES, REMOTE "/ udp sport=53 dport=$p / text answer");
    expect(PASSES, OTHER "/ udp sport=53 dport=$p / text answer");
    expect(PASSES, REMOTE "/ udp sport=53 dport=$p csum=0 / text answer");
    expect(TRANSLATED, CLIENT "/ udp sport=5000 dport=53 / text query");
    came_out(SENT "ttl=63 id=* / udp sport=$q dport=53 / text query");
    expect(TRANSLATED, REMOTE "/ udp sport=53 dport=$q / text answer");
    end();
}

static void test_filtering_is_the_engine_s(void **state)
{
    (void)state;
    begin(FILTERING_ADDRESS_DEPENDENT);
    open_udp();
    expect(TAKEN, OTHER "/ udp sport=999 dport=$p / text hello");
    expect(PASSES, OTHER "/ udp sport=999 dport=39999 / text hello");
    end();
}

static void test_echo(void **state)
{
    (void)state;
    begin(FILTERING_ENDPOINT_INDEPENDENT);
    expect(TRANSLATED, CLIENT "/ icmp6 type=128 id=7 seq=1 / text ping");
    came_out(SENT "ttl=63 id=* / icmp4 type=8 id=$i seq=1 / text ping");
    expect(TRANSLATED, REMOTE "/ icmp4 type=0 id=$i seq=1 / text ping");
    expect(PASSES, OTHER "/ icmp4 type=0 id=$i seq=1 / text ping");
    expect(PASSES, REMOTE "/ icmp4 type=0 id=1 seq=1 / text ping");
    expect(PASSES, REMOTE "/ icmp4 type=8 id=$i seq=1 / text ping");
    expect(PASSES, OTHER "/ icmp4 type=8 id=1 seq=1 / text ping");
    expect(PASSES, REMOTE "/ icmp4 type=13 rest=00000000 / zero 12"); /* a timestamp */
    expect(TAKEN, REMOTE "ttl=1 / icmp4 type=0 id=$i seq=1 / text ping");
    expect(PASSES, REMOTE "ttl=1 / icmp4 type=8 id=$i seq=1 / text ping");
    expect(PASSES, OTHER "ttl=1 / icmp4 type=0 id=$i seq=1 / text ping");
    end();
}

static void test_errors(void **state)
{
    (void)state;
    begin(FILTERING_ENDPOINT_INDEPENDENT);
    open_udp();
    expect(TRANSLATED, CLIENT "/ icmp6 type=128 id=7 seq=1 / text ping");
    came_out(SENT "ttl=63 id=* / icmp4 type=8 id=$i seq=1 / text ping");
    expect(TAKEN, OTHER "/ icmp4 type=3 code=1 / " SENT "/ udp sport=$p dport=53");
    expect(TAKEN, OTHER "/ icmp4 type=11 code=0 / " SENT "/ udp sport=$p dport=33434"); /* of a binding */
    expect(TAKEN, OTHER "/ icmp4 type=3 code=4 mtu=1400 / " SENT "options=94040000 / udp sport=$p dport=53");
    expect(TAKEN, OTHER "/ icmp4 type=3 code=1 / " SENT "/ icmp4 type=8 id=$i seq=1");
    expect(PASSES, OTHER "/ icmp4 type=3 code=1 / " SENT "/ icmp4 type=8 id=1 seq=1");
    expect(PASSES,
           OTHER "/ icmp4 type=3 code=1 / " SENT "/ icmp4 type=0 id=$i seq=1"); /* the host's answer */
    expect(PASSES, OTHER "/ icmp4 type=3 code=1 / " SENT "/ udp sport=33000 dport=53");
    expect(PASSES, OTHER "/ icmp4 type=3 code=1 / " SENT "/ tcp sport=$p dport=53 flags=S");
    expect(PASSES, OTHER "/ icmp4 type=3 code=1 / " SENT "frag=2 / udp sport=$p dport=53");
    expect(PASSES,
           OTHER "/ icmp4 type=3 code=1 / ip4 src=203.0.113.9 dst=198.51.100.7 / udp sport=$p dport=53");
    expect(PASSES, OTHER "/ icmp4 type=3 code=1 / fill 12");
    expect(PASSES, OTHER "/ icmp4 type=5 code=1 / " SENT "/ udp sport=$p dport=53"); /* redirects the host */
    end();
}

static void test_fragments(void **state)
{
    (void)state;
    begin(FILTERING_ENDPOINT_INDEPENDENT);
    open_udp();
    expect(PASSES, REMOTE "id=7 frag=4 proto=17 / fill 64");
    expect(TAKEN, REMOTE "id=7 mf=1 / udp sport=53 dport=$p len=96 / fill 24");
    expect(TAKEN, REMOTE "id=7 frag=4 proto=17 / fill 64");
    expect(TAKEN, REMOTE "id=7 mf=1 frag=4 proto=17 / fill 64");
    expect(PASSES, REMOTE "id=8 frag=4 proto=17 / fill 64");
    expect(PASSES, REMOTE "id=7 frag=4 proto=6 / fill 64");
    expect(PASSES, OTHER "id=7 frag=4 proto=17 / fill 64");
    expect(PASSES, REMOTE "id=9 mf=1 / udp sport=53 dport=33000 len=96 / fill 24");
    expect(PASSES, REMOTE "id=9 frag=4 proto=17 / fill 64");
    expect(PASSES, REMOTE "id=10 mf=1 / icmp4 type=8 id=7 seq=1 / fill 24");
    for (unsigned id = 1000; id < 4000; id++) { /* some share a place with the one that is remembered */
        char text[128];
        snprintf(text, sizeof(text), REMOTE "id=%u frag=4 proto=17 / fill 64", id);
        expect(PASSES, text);
    }
    let_pass_seconds(FRAGMENT_SECONDS + 2);
    expect(PASSES, REMOTE "id=7 frag=4 proto=17 / fill 64");
    end();
}

/* The host's words to itself are ours as well, but not changed where they turn round. */
static void test_loopback(void **state)
{
    (void)state;
    begin(FILTERING_ENDPOINT_INDEPENDENT);
    lab.arrives_at = if_nametoindex("way0");
    open_udp();
    lab.arrives_at = if_nametoindex("lo");
    lab.between = true;
    expect(TAKEN, REMOTE "/ udp sport=53 dport=$p / text answer");
    expect(TAKEN, "ip4 src=203.0.113.1 dst=203.0.113.1 / udp sport=33000 dport=$p / text answer");
    expect(PASSES, "ip4 src=203.0.113.1 dst=203.0.113.1 / udp sport=33000 dport=53 / text answer");
    end();
}

/* While the table is not to be looked at: neither may the host answer packets of ours, nor starve. */
static void test_paused(void **state)
{
    (void)state;
    begin(FILTERING_ENDPOINT_INDEPENDENT);
    lab.control->paused = 1;
    expect(PASSES, REMOTE "/ tcp sport=5555 dport=22 flags=S");
    expect(TAKEN, REMOTE "/ tcp sport=443 dport=40000 flags=A");
    expect(TAKEN, REMOTE "/ udp sport=53 dport=40099 / text answer");
    expect(PASSES, REMOTE "/ udp sport=53 dport=40100 / text answer");
    expect(PASSES, REMOTE "/ udp sport=53 dport=39999 / text answer");
    expect(TAKEN, REMOTE "/ icmp4 type=0 id=40010 seq=1 / text ping");
    expect(PASSES, REMOTE "/ icmp4 type=0 id=1 seq=1 / text ping");
    expect(PASSES, REMOTE "/ icmp4 type=8 id=40010 seq=1 / text ping");
    expect(TAKEN, OTHER "/ icmp4 type=3 code=4 mtu=1400 / " SENT "/ udp sport=40050 dport=53");
    lab.control->paused = 0;
    expect(PASSES, REMOTE "/ tcp sport=443 dport=40000 flags=A");
    end();
}

/* A client that calls the host, or another client, by its IPv4 address: next comes the TUN device's ingress.
 */
static void test_calls_to_the_address(void **state)
{
    (void)state;
    begin(FILTERING_ENDPOINT_INDEPENDENT);
    expect(TRANSLATED,
           "ip6 src=2001:db8:1::2 dst=2001:db8:64::203.0.113.1 / tcp sport=5000 dport=22 flags=S");
    came_out("ip4 src=203.0.113.1 dst=203.0.113.1 ttl=63 id=* / tcp sport=$p dport=22 flags=S");
    lab.arrives_at = if_nametoindex("lo"); /* where a packet begins as here; at the device it does without */
    lab.between = true;
    expect(PASSES, "ip4 src=203.0.113.1 dst=203.0.113.1 ttl=63 / tcp sport=$p dport=22 flags=S");
    expect(TAKEN, "ip4 src=203.0.113.1 dst=203.0.113.1 ttl=63 / tcp sport=41000 dport=$p flags=S");
    expect(TAKEN, "ip4 src=203.0.113.1 dst=203.0.113.1 / tcp sport=22 dport=$p flags=SA");
    end();
}

int main(int count, char **words)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_rest_is_the_host_s),
        cmocka_unit_test(test_sessions_and_bindings_are_ours),
        cmocka_unit_test(test_a_binding_that_is_over_is_nobody_s),
        cmocka_unit_test(test_filtering_is_the_engine_s),
        cmocka_unit_test(test_echo),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_fragments),
        cmocka_unit_test(test_loopback),
        cmocka_unit_test(test_paused),
        cmocka_unit_test(test_calls_to_the_address),
    };
    if (count != 2) {
        fprintf(stderr, "usage: own_address_test OBJECT\n");
        return 2;
    }
    object_path = words[1];
    available = unshare(CLONE_NEWNET) == 0;
    return cmocka_run_group_tests_name("own_address", tests, open_lab, close_lab);
}
