/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A client, a gateway with the kernel's translator at both interfaces and the engine at its TUN device, and a
 * server: pings, datagrams and checked transfers, with and without the offloads of the wire between.
 *
 *     client  2001:db8:1::2 ---- lan0  gateway  wan0 ---- 203.0.113.2  server
 *                                      192.0.2.1 is the pool, 2001:db8:64::/96 the prefix
 *
 * Client and server are processes that hold a network namespace each; with them it ends. The links are made
 * by test/plane/links.c: with Ethernet headers, a VLAN's, or none.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "plane/bpf/ingress.h"
#include "plane/bpf/object.h"
#include "plane/bpf/rules.h"
#include "plane/tun/tun.h"
#include "test/plane/links.h"

#define DEVICE "isthmus-smoke"
#define SERVER "2001:db8:64::203.0.113.2"

enum {
    TRANSFER = 64, /* MiB each way, unless another number is given */
    CHUNK = 1 << 16,
    PORT = 5001,
    DATAGRAMS = 200,
    PATIENCE_SECONDS = 5,
    DATAGRAM = 1300,  /* bytes, at most: what WireGuard carries in one */
    LARGE = 30000,    /* more than helpers of the kernel take of what is no super-packet, ... */
    LARGE_MTU = 40000 /* on links that take them */
};

static const char *object_path;
static uint64_t transfer_bytes = (uint64_t)TRANSFER << 20;
static bool available, large_ones;
static const char *kinds[2] = {"ethernet", "ethernet"}; /* of links */

static struct {
    pid_t client, server;
    struct link links[2]; /* to the client, to the server */
    struct object *object;
    struct table *table;
    struct engine *engine;
    struct tun *tun;
    bool made[2];
    uint32_t lanes; /* of processors, behind that of the engine's worker */
    struct settings settings;
    struct pool_range range;
} lab;

static const char *const interfaces[2] = {"lan0", "wan0"};

/* --- the lab ---------------------------------------------------------------------------------------- */

__attribute__((format(printf, 1, 2))) static bool run(const char *format, ...)
{
    char command[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(command, sizeof(command), format, arguments);
    va_end(arguments);
    return system(command) == 0; /* NOLINT(cert-env33-c): a lab is set up by the programs of every day */
}

#define must(...)                                                                                            \
    do                                                                                                       \
        if (!run(__VA_ARGS__))                                                                               \
            fail_msg("failed: " __VA_ARGS__);                                                                \
    while (0)

/* A process with a network namespace of its own, which ends with this one. */
static pid_t start_host(void)
{
    int ready[2];
    char told = 0;
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (unshare(CLONE_NEWNET) != 0 || write(ready[1], "r", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &told, 1), 1);
    close(ready[0]);
    return child;
}

static void stop_host(pid_t *host)
{
    if (*host > 0) {
        kill(*host, SIGKILL);
        waitpid(*host, NULL, 0);
    }
    *host = 0;
}

static void enter_host(pid_t host)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/ns/net", host);
    int namespace = open(path, O_RDONLY | O_CLOEXEC);
    if (namespace < 0 || setns(namespace, CLONE_NEWNET) != 0)
        _exit(2);
    close(namespace);
}

static void make_network(void)
{
    lab.client = start_host();
    lab.server = start_host();
    must("ip link set lo up");
    for (unsigned i = 0; i < 2; i++)
        if (!link_make(&lab.links[i], kinds[i], interfaces[i], i == 0 ? lab.client : lab.server))
            fail_msg("no link of the kind %s", kinds[i]);
    must("ip address add 2001:db8:1::1/64 dev lan0 nodad && ip address add 203.0.113.1/24 dev wan0");
    must("nsenter -t %d -n sh -c 'ip address add 2001:db8:1::2/64 dev host0 nodad && "
         "ip -6 route add default via 2001:db8:1::1'",
         lab.client);
    must("nsenter -t %d -n sh -c 'ip address add 203.0.113.2/24 dev host0 && "
         "ip route add default via 203.0.113.1'",
         lab.server);
    must("echo 1 >/proc/sys/net/ipv4/ip_forward && echo 1 >/proc/sys/net/ipv6/conf/all/forwarding");
}

/* Of both links? */
static bool takes_large(void)
{
    return strcmp(kinds[0], "tun") == 0 || strcmp(kinds[1], "tun") == 0;
}

static void describe_settings(void)
{
    struct nat64_settings *nat64 = &lab.settings.nat64[0];
    lab.range = (struct pool_range){.first = htonl(0xc0000201u),
                                    .count = 1,
                                    .low = 1024,
                                    .high = 65535,
                                    .transports = (1 << TRANSPORT_COUNT) - 1};
    lab.settings.nat64_count = 1;
    lab.settings.translation = (struct translation_settings){.tos = -1,
                                                             .amend_udp_checksum_zero = true,
                                                             .mss_clamp = true,
                                                             .icmp_errors_per_second = 1000,
                                                             .mtu6 = takes_large() ? LARGE_MTU : 1500,
                                                             .mtu4 = takes_large() ? LARGE_MTU : 1500};
    nat64->prefix.length = 96;
    inet_pton(AF_INET6, "2001:db8:64::", nat64->prefix.address.bytes);
    nat64->sessions = 1024;
    nat64->subscriber_prefix = SUBSCRIBER_PREFIX_DEFAULT;
    nat64->sessions_per_subscriber = SUBSCRIBER_SESSIONS_DEFAULT;
    nat64->pool = &lab.range;
    nat64->pool_count = 1;
    nat64->timeouts = (struct nat64_timeouts){.udp = UDP_DEFAULT_SECONDS,
                                              .icmp = ICMP_DEFAULT_SECONDS,
                                              .tcp_established = TCP_ESTABLISHED_SECONDS,
                                              .tcp_transitory = TCP_TRANSITORY_SECONDS,
                                              .tcp_syn = TCP_INCOMING_SYN_SECONDS,
                                              .fragment = FRAGMENT_SECONDS};
}

static nanoseconds clock_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (nanoseconds)now.tv_sec * 1000000000u + (nanoseconds)now.tv_nsec;
}

static void start_engine(void)
{
    static char error[256], notes[512];
    const struct object_options options = {
        .path = object_path, .geometry = {.sessions = 1024, .addresses = 16, .workers = lab.lanes + 1}};
    describe_settings();
    lab.object = object_open(&options, error, sizeof(error));
    if (lab.object == NULL)
        fail_msg("%s", error);
    lab.table = table_format(object_memory(lab.object), &options.geometry, 7);
    assert_non_null(lab.table);
    assert_int_equal(object_constants(lab.object, lab.table), 0);
    const struct engine_options engine = {.table = lab.table,
                                          .settings = &lab.settings,
                                          .workers = lab.lanes + 1,
                                          .seed = 5,
                                          .now = clock_now()};
    lab.engine = engine_create(&engine, error, sizeof(error));
    if (lab.engine == NULL)
        fail_msg("%s", error);
    const struct tun_options device = {.name = DEVICE, .workers = 1};
    lab.tun = tun_open(&device, error, sizeof(error), notes, sizeof(notes));
    if (lab.tun == NULL)
        fail_msg("%s", error);
    must("ip link set " DEVICE " up && ip route add 192.0.2.1 dev " DEVICE
         " && ip route add 2001:db8:64::/96 dev " DEVICE);
    assert_true(tun_start(lab.tun, lab.engine));
}

static void attach(void)
{
    const struct rules_surroundings surroundings = {
        .device = tun_index(lab.tun), .lane = 1, .lanes = lab.lanes, .secret = {64, 46}};
    assert_int_equal(rules_enforce(lab.object, engine_rules(lab.engine), &surroundings), 0);
    for (unsigned i = 0; i < 2; i++) {
        enum ingress_link link = link_has_header(kinds[i]) ? INGRESS_ETHERNET : INGRESS_PLAIN;
        const char *program = link == INGRESS_ETHERNET ? "translate_ethernet" : "translate_plain";
        assert_int_equal(ingress_link(interfaces[i]), link);
        assert_int_equal(
            ingress_attach(if_nametoindex(interfaces[i]), object_program(lab.object, program), &lab.made[i]),
            0);
        assert_true(lab.made[i]);
        assert_true(ingress_attached(if_nametoindex(interfaces[i])));
    }
}

static int open_lab(void **state)
{
    (void)state;
    if (!available)
        return 0;
    lab.lanes = (uint32_t)sysconf(_SC_NPROCESSORS_CONF);
    make_network();
    start_engine();
    attach();
    return 0;
}

static int close_lab(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2; i++)
        (void)ingress_detach(if_nametoindex(interfaces[i]), lab.made[i]);
    if (lab.tun != NULL)
        tun_close(lab.tun);
    engine_destroy(lab.engine);
    table_destroy(lab.table);
    object_close(lab.object);
    for (unsigned i = 0; i < 2; i++)
        link_remove(&lab.links[i]);
    stop_host(&lab.client);
    stop_host(&lab.server);
    memset(&lab, 0, sizeof(lab));
    return 0;
}

static void need_lab(void)
{
    if (!available) {
        print_message("skipped: needs root, for a network namespace with links of the kinds %s and %s\n",
                      kinds[0], kinds[1]);
        skip();
    }
}

/* --- what the programs did -------------------------------------------------------------------------- */

static struct plane_counters counted(void)
{
    struct plane_counters sum = {.handed_over = 0};
    const struct object_array processors = object_array(lab.object, "processors");
    assert_true(processors.count >= (unsigned long)sysconf(_SC_NPROCESSORS_CONF));
    for (uint32_t i = 0; i < processors.count; i++) {
        const struct plane_counters *one = (const void *)(processors.memory + i * processors.element);
        for (unsigned k = 0; k < VERDICT_COUNT; k++)
            sum.packets[k] += one->packets[k];
        sum.handed_over += one->handed_over;
        sum.passed += one->passed;
    }
    return sum;
}

/* Since `before`: so many of the first and no more than so many were handed over. */
static void expect(const char *what, const struct plane_counters *before, uint64_t translated, uint64_t most)
{
    struct plane_counters now = counted();
    uint64_t out = now.packets[VERDICT_TRANSLATED_6TO4] - before->packets[VERDICT_TRANSLATED_6TO4];
    uint64_t in = now.packets[VERDICT_TRANSLATED_4TO6] - before->packets[VERDICT_TRANSLATED_4TO6];
    uint64_t handed_over = now.handed_over - before->handed_over;
    print_message("# %s: translated %lu and %lu, handed over %lu\n", what, out, in, handed_over);
    assert_true(out >= translated);
    assert_true(in >= translated);
    assert_true(handed_over <= most);
}

/* --- traffic ---------------------------------------------------------------------------------------- */

static void fill(uint8_t *bytes, uint64_t from, size_t length)
{
    for (size_t i = 0; i < length; i++)
        bytes[i] = (uint8_t)((from + i) * 31 + ((from + i) >> 13));
}

static bool send_all(int socket)
{
    static uint8_t bytes[CHUNK];
    for (uint64_t done = 0; done < transfer_bytes;) {
        fill(bytes, done, CHUNK);
        ssize_t sent = send(socket, bytes, CHUNK, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        done += (uint64_t)sent;
    }
    return true;
}

static bool receive_all(int socket)
{
    static uint8_t bytes[CHUNK], wanted[CHUNK];
    for (uint64_t done = 0; done < transfer_bytes;) {
        ssize_t got = recv(socket, bytes, CHUNK, 0);
        if (got <= 0)
            return false;
        fill(wanted, done, (size_t)got);
        if (memcmp(bytes, wanted, (size_t)got) != 0)
            return false;
        done += (uint64_t)got;
    }
    return true;
}

static int open_socket(int family, int type)
{
    struct timeval patience = {.tv_sec = PATIENCE_SECONDS};
    int one = 1, opened = socket(family, type | SOCK_CLOEXEC, 0);
    setsockopt(opened, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    setsockopt(opened, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    setsockopt(opened, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    return opened;
}

/* At the server: takes one connection, receives all, sends all; and sends datagrams back. */
static int serve(int type)
{
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(PORT)}, there;
    socklen_t size = sizeof(there);
    static uint8_t datagram[LARGE + 1];
    enter_host(lab.server);
    int listener = open_socket(AF_INET, type);
    if (bind(listener, (void *)&here, sizeof(here)) != 0)
        return 3;
    if (type == SOCK_STREAM) {
        if (listen(listener, 1) != 0)
            return 4;
        int connection = accept(listener, NULL, NULL);
        return receive_all(connection) && send_all(connection) ? 0 : 5;
    }
    for (unsigned i = 0; i < DATAGRAMS; i++) {
        ssize_t got = recvfrom(listener, datagram, sizeof(datagram), 0, (void *)&there, &size);
        if (got <= 0 || sendto(listener, datagram, (size_t)got, 0, (void *)&there, size) != got)
            return 6;
    }
    return 0;
}

static bool exchange_datagrams(int connected, bool large)
{
    static uint8_t sent[LARGE], got[LARGE + 1];
    for (unsigned i = 0; i < DATAGRAMS; i++) {
        size_t length = large ? LARGE - i : 1 + (i * 7) % DATAGRAM;
        fill(sent, i, length);
        if (send(connected, sent, length, 0) != (ssize_t)length ||
            recv(connected, got, sizeof(got), 0) != (ssize_t)length || memcmp(sent, got, length) != 0)
            return false;
    }
    return true;
}

/* At the client. */
static int visit(int type)
{
    struct sockaddr_in6 there = {.sin6_family = AF_INET6, .sin6_port = htons(PORT)};
    inet_pton(AF_INET6, SERVER, &there.sin6_addr);
    enter_host(lab.client);
    int connected = open_socket(AF_INET6, type);
    for (unsigned tries = 0; connect(connected, (void *)&there, sizeof(there)) != 0; tries++) {
        if (tries == 100 || errno != ECONNREFUSED) /* by the server, which is not there yet */
            return 3;
        usleep(20000);
    }
    if (type == SOCK_DGRAM) {
        usleep(200000); /* the server is there by then */
        return exchange_datagrams(connected, large_ones) ? 0 : 4;
    }
    return send_all(connected) && receive_all(connected) ? 0 : 5;
}

static pid_t start(int (*part)(int type), int type)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child != 0)
        return child;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    _exit(part(type));
}

static void exchange(int type)
{
    pid_t server = start(serve, type), client = start(visit, type);
    int status[2] = {0, 0};
    assert_int_equal(waitpid(client, &status[0], 0), client);
    assert_int_equal(waitpid(server, &status[1], 0), server);
    assert_int_equal(WEXITSTATUS(status[0]), 0);
    assert_int_equal(WEXITSTATUS(status[1]), 0);
    assert_true(WIFEXITED(status[0]) && WIFEXITED(status[1]));
}

static void test_pings(void **state)
{
    (void)state;
    need_lab();
    struct plane_counters before = counted();
    must("nsenter -t %d -n ping -q -c 20 -i 0.01 -W 2 " SERVER " >/dev/null", lab.client);
    must("nsenter -t %d -n ping -q -c 5 -i 0.01 -W 2 -s 1000 " SERVER " >/dev/null", lab.client);
    expect("pings", &before, 25, 0);
}

static void test_datagrams(void **state)
{
    (void)state;
    need_lab();
    struct plane_counters before = counted();
    exchange(SOCK_DGRAM);
    expect("datagrams", &before, DATAGRAMS, 0);
}

static void transfer(const char *what)
{
    struct plane_counters before = counted();
    nanoseconds start = clock_now();
    exchange(SOCK_STREAM);
    double seconds = (double)(clock_now() - start) / 1e9;
    print_message("# %s: %.1f Gbit/s\n", what, 2.0 * (double)transfer_bytes * 8 / 1e9 / seconds);
    expect(what, &before, transfer_bytes >> 16, 8);
}

/* The gateway's ends of the wires, or those of the hosts, do without what devices do for packets. */
static void switch_off(bool gateway)
{
    static const char *const what = "tx off tso off gso off gro off >/dev/null";
    for (unsigned i = 0; i < 2; i++) {
        if (gateway)
            must("ethtool -K %s %s", interfaces[i], what);
        else
            must("nsenter -t %d -n ethtool -K host0 %s", i == 0 ? lab.client : lab.server, what);
    }
}

/*
 * From veth to veth a partial checksum is never completed, and so never seen to be wrong. In between the
 * gateway completes those of the hosts' super-packets, as it must for any device that does not.
 */
static void test_transfers(void **state)
{
    (void)state;
    need_lab();
    transfer("with all offloads");
    if (strcmp(kinds[0], "ethernet") != 0 || strcmp(kinds[1], "ethernet") != 0)
        return; /* others have no such switches */
    switch_off(true);
    transfer("completed by the gateway");
    switch_off(false);
    transfer("without offloads");
}

/*
 * Packets larger than helpers of the kernel make room in, which are no super-packets: those that come without
 * an Ethernet header take the engine's way, and none is lost.
 */
static void test_large(void **state)
{
    (void)state;
    need_lab();
    if (!takes_large()) {
        print_message("skipped: only over links of the kind tun\n");
        skip();
    }
    for (unsigned i = 0; i < 2; i++)
        must("ip link set %s mtu %d && nsenter -t %d -n ip link set host0 mtu %d", interfaces[i], LARGE_MTU,
             i == 0 ? lab.client : lab.server, LARGE_MTU);
    struct plane_counters before = counted();
    large_ones = true;
    exchange(SOCK_DGRAM);
    large_ones = false;
    struct plane_counters now = counted();
    uint64_t plain = (uint64_t)!link_has_header(kinds[0]) + !link_has_header(kinds[1]);
    assert_int_equal(now.packets[VERDICT_NO_ROOM], before.packets[VERDICT_NO_ROOM]);
    assert_int_equal(now.handed_over - before.handed_over, plain * DATAGRAMS);
}

static void test_leaves_nothing(void **state)
{
    (void)state;
    need_lab();
    for (unsigned i = 0; i < 2; i++) {
        unsigned interface = if_nametoindex(interfaces[i]);
        assert_int_equal(ingress_detach(interface, lab.made[i]), 0);
        assert_false(ingress_attached(interface));
        assert_false(run("tc qdisc show dev %s | grep -q clsact", interfaces[i]));
        assert_int_equal(ingress_detach(interface, lab.made[i]), 0);
    }
}

/* A program of somebody else's, which lets everything pass. */
static int foreign_program(void)
{
    const struct bpf_insn instructions[] = {
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = -1},
        {.code = BPF_JMP | BPF_EXIT},
    };
    return bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "foreign", "GPL", instructions, 2, NULL);
}

static void attach_foreign(enum bpf_tc_attach_point point, uint32_t handle, uint32_t priority)
{
    DECLARE_LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)if_nametoindex("lan0"), .attach_point = point);
    DECLARE_LIBBPF_OPTS(bpf_tc_opts, options, .handle = handle, .priority = priority);
    options.prog_fd = foreign_program();
    (void)bpf_tc_hook_create(&hook);
    assert_int_equal(bpf_tc_attach(&hook, &options), 0);
    close(options.prog_fd);
}

static void test_what_others_attached_stays(void **state)
{
    (void)state;
    need_lab();
    unsigned interface = if_nametoindex("lan0");
    int program = object_program(lab.object, "translate_ethernet");
    bool made = true;
    attach_foreign(BPF_TC_EGRESS, 1, 1);
    assert_int_equal(ingress_attach(interface, program, &made), 0);
    assert_false(made);
    assert_int_equal(ingress_attach(interface, program, &made), 0); /* in place of itself */
    assert_int_equal(ingress_detach(interface, true), 0);
    must("tc filter show dev lan0 egress | grep -q foreign");
    attach_foreign(BPF_TC_INGRESS, 0x6464, 6464);
    assert_int_equal(ingress_attach(interface, program, &made), EBUSY);
    assert_int_equal(ingress_detach(interface, true), 0);
    must("tc filter show dev lan0 ingress | grep -q foreign");
    assert_int_equal(ingress_detach(if_nametoindex("nothing0"), true), 0);
}

int main(int count, char **words)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pings),          cmocka_unit_test(test_datagrams),
        cmocka_unit_test(test_transfers),      cmocka_unit_test(test_large),
        cmocka_unit_test(test_leaves_nothing), cmocka_unit_test(test_what_others_attached_stays),
    };
    if (count < 2 || count == 4 || count > 5) {
        fprintf(stderr, "usage: bpf_smoke_test OBJECT [MEBIBYTES [LINK LINK]]\n");
        return 2;
    }
    object_path = words[1];
    if (count >= 3)
        transfer_bytes = strtoull(words[2], NULL, 10) << 20;
    for (int i = 3; i < count; i++)
        kinds[i - 3] = words[i];
    available = unshare(CLONE_NEWNET) == 0 && link_possible(kinds[0]) && link_possible(kinds[1]);
    return cmocka_run_group_tests_name("bpf_smoke", tests, open_lab, close_lab);
}
