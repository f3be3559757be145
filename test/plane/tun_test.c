/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The TUN plane on a real device in a network namespace of its own, with a false engine.
 *
 *      sockets of this test                 the plane             the false engine
 *      10.64.0.1, fd64::1   --- device --->  read     ------->    swaps the two addresses
 *                           <-- device ----  write    <-------    of each packet
 *
 * A packet to 10.64.0.2 so comes back as if sent from there, with the same ports: a UDP socket that is bound
 * to the port it sends to hears itself, a TCP socket connects to itself by simultaneous open, and the kernel
 * answers its own ping. The UDP ports below make the engine do something else.
 */
#define _GNU_SOURCE 1

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "plane/tun/tun.h"

#define DEVICE "isthmus-test"

enum {
    PORT_REFUSED = 9,   /* refused, nothing else */
    PORT_ANSWERED = 10, /* refused, and the engine makes two packets: the reflected one, twice */
    PORT_GROWN = 11,    /* reflected, its data moved forward by the growth of an IPv4 header */
    PORT_DIVIDED = 12,  /* goes on in pieces, which are the same two packets */
    PORT_FLOWS = 5000,  /* the first of many flows */
    FLOWS = 64,
    MILLISECOND = 1000 * 1000,
};

/* The false engine */

struct worker {
    unsigned number;
    struct engine *engine;
    nanoseconds deadline;
    unsigned made; /* how many more times engine_pull gives the output */
    uint8_t output[OUTPUT_PACKET];
    uint32_t output_length;
};

struct engine {
    struct worker workers[2];
    nanoseconds period; /* of engine_expire; 0: never */
    _Atomic uint32_t expired, received, strange_flags, largest_burst;
    _Atomic uint32_t largest_tcp, largest_udp; /* super-packets */
    _Atomic uint32_t flow_workers[FLOWS];
};

struct worker *engine_worker(struct engine *engine, uint32_t number)
{
    return &engine->workers[number];
}

static void maximum(_Atomic uint32_t *most, uint32_t value)
{
    if (atomic_load(most) < value)
        atomic_store(most, value);
}

static void swap_addresses(uint8_t *data)
{
    size_t size = data[0] >> 4 == 6 ? 16 : 4;
    uint8_t *source = data + (size == 16 ? 8 : 12), kept[16];

    memcpy(kept, source, size);
    memcpy(source, source + size, size);
    memcpy(source + size, kept, size);
}

/* UDP's destination port, or 0. */
static uint16_t udp_port(const struct packet *packet)
{
    const uint8_t *data = packet_data(packet);
    bool is_ipv6 = data[0] >> 4 == 6;

    if (data[is_ipv6 ? 6 : 9] != IPPROTO_UDP)
        return 0;
    return from_be16(load_be16(data + (is_ipv6 ? 40 : 20) + 2));
}

static void note_offload(struct engine *engine, const struct packet *packet)
{
    uint8_t gso = packet->offload.gso_type & (uint8_t)~OFFLOAD_GSO_ECN;

    if ((packet->offload.flags & ~OFFLOAD_PARTIAL) != 0)
        atomic_fetch_add(&engine->strange_flags, 1);
    if (gso == OFFLOAD_GSO_TCPV4 || gso == OFFLOAD_GSO_TCPV6)
        maximum(&engine->largest_tcp, packet->length);
    if (gso == OFFLOAD_GSO_UDP)
        maximum(&engine->largest_udp, packet->length);
}

static enum verdict reflect(struct worker *worker, struct packet *packet)
{
    uint16_t port = udp_port(packet);
    note_offload(worker->engine, packet);
    swap_addresses(packet_data(packet));
    if (port >= PORT_FLOWS && port < PORT_FLOWS + FLOWS)
        atomic_fetch_or(&worker->engine->flow_workers[port - PORT_FLOWS], 1U << worker->number);
    if (port == PORT_GROWN) {
        memmove(packet_data(packet) - 28, packet_data(packet), packet->length);
        packet->offset -= 28;
    }
    if (port == PORT_ANSWERED || port == PORT_DIVIDED) {
        memcpy(worker->output, packet_data(packet), packet->length);
        worker->output_length = packet->length;
        worker->made = 2;
    }
    return port == PORT_DIVIDED                            ? VERDICT_FRAGMENTED_4TO6
           : port == PORT_REFUSED || port == PORT_ANSWERED ? VERDICT_HOP_LIMIT
                                                           : VERDICT_TRANSLATED_6TO4;
}

void engine_receive(struct worker *worker, struct packet packets[], unsigned n, nanoseconds now,
                    enum verdict verdicts[])
{
    (void)now;
    maximum(&worker->engine->largest_burst, n);
    for (unsigned i = 0; i < n; i++)
        verdicts[i] = reflect(worker, &packets[i]);
    atomic_fetch_add(&worker->engine->received, n);
}

/* The checksum of a packet made here may be partial, as it was when the packet came. */
bool engine_pull(struct worker *worker, struct packet *packet)
{
    if (worker->made == 0)
        return false;
    worker->made--;
    memcpy(packet_data(packet), worker->output, worker->output_length);
    packet->length = worker->output_length;
    return true;
}

bool engine_pull_pieces(struct worker *worker, unsigned i, struct packet *packet)
{
    return i < BURST_MAXIMUM && engine_pull(worker, packet);
}

void engine_expire(struct worker *worker, nanoseconds now)
{
    worker->deadline = now + worker->engine->period;
    atomic_fetch_add(&worker->engine->expired, 1);
}

nanoseconds engine_next_deadline(const struct worker *worker)
{
    return worker->engine->period == 0 ? UINT64_MAX : worker->deadline;
}

/* The lab */

static bool available; /* namespaces and /dev/net/tun */

static char error[256], notes[256];

static void need_device(void)
{
    if (available)
        return;
    print_message("# skipped: needs CAP_NET_ADMIN, CAP_SYS_ADMIN and /dev/net/tun\n");
    skip();
}

static int enter_namespace(void **state)
{
    int driver = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

    (void)state;
    available = driver >= 0 && unshare(CLONE_NEWNET) == 0;
    if (driver >= 0)
        close(driver);
    return 0;
}

static struct tun *open_device(uint32_t workers)
{
    const struct tun_options options = {.name = DEVICE, .workers = workers};

    return tun_open(&options, error, sizeof(error), notes, sizeof(notes));
}

static void run(const char *command)
{
    if (system(command) != 0)
        fail_msg("failed: %s", command);
}

static void rest(unsigned milliseconds)
{
    poll(NULL, 0, (int)milliseconds);
}

/* The kernel makes an IPv6 address its own a little after it was added: not before is a datagram to it taken.
 */
static void give_addresses(void)
{
    run("ip link set " DEVICE " up && ip addr add 10.64.0.1/24 dev " DEVICE
        " && ip addr add fd64::1/64 dev " DEVICE " nodad");
    for (unsigned waited = 0; system("ip -6 route show table local | grep -q '^local fd64::1 '") != 0;
         waited++) {
        if (waited == 200)
            fail_msg("the kernel does not take fd64::1");
        rest(10);
    }
}

/* What a test has open; not on its stack, so that it can be closed after a failure. */
static struct lab {
    struct engine engine;
    struct tun *tun;
} lab;

static void lab_open(uint32_t workers)
{
    memset(&lab.engine, 0, sizeof(lab.engine));
    for (unsigned i = 0; i < 2; i++)
        lab.engine.workers[i] = (struct worker){.number = i, .engine = &lab.engine};
    lab.tun = open_device(workers);
    if (lab.tun == NULL)
        fail_msg("%s", error);
    give_addresses();
}

static void lab_close(void)
{
    tun_close(lab.tun);
    lab.tun = NULL;
    assert_int_equal(lab.engine.strange_flags, 0);
    assert_int_equal(if_nametoindex(DEVICE), 0);
}

/* After each test: what a failed one has left must not fail the next. */
static int clean_up(void **state)
{
    (void)state;
    if (lab.tun != NULL)
        tun_close(lab.tun);
    lab.tun = NULL;
    if (available && if_nametoindex(DEVICE) != 0)
        run("ip link del " DEVICE);
    return 0;
}

static nanoseconds clock_of(clockid_t id)
{
    struct timespec now;

    clock_gettime(id, &now);
    return (nanoseconds)now.tv_sec * 1000 * MILLISECOND + (nanoseconds)now.tv_nsec;
}

/* A socket on our address and `port`, connected to the same port of the far one, which is a mirror. */
static int connect_mirror(int family, int type, uint16_t port)
{
    struct sockaddr_in near4 = {.sin_family = AF_INET, .sin_port = htons(port)}, far4 = near4;
    struct sockaddr_in6 near6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)}, far6 = near6;
    struct timeval patience = {.tv_sec = 2};
    bool ipv4 = family == AF_INET;
    socklen_t size = ipv4 ? sizeof(near4) : sizeof(near6);
    int one = 1, mirror = socket(family, type | SOCK_CLOEXEC, 0);

    inet_pton(AF_INET, "10.64.0.1", &near4.sin_addr);
    inet_pton(AF_INET, "10.64.0.2", &far4.sin_addr);
    inet_pton(AF_INET6, "fd64::1", &near6.sin6_addr);
    inet_pton(AF_INET6, "fd64::2", &far6.sin6_addr);
    assert_true(mirror >= 0);
    setsockopt(mirror, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    setsockopt(mirror, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    setsockopt(mirror, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    assert_int_equal(bind(mirror, ipv4 ? (void *)&near4 : (void *)&near6, size), 0);
    assert_int_equal(connect(mirror, ipv4 ? (void *)&far4 : (void *)&far6, size), 0);
    return mirror;
}

/* Sends one datagram; true if it comes back. */
static bool echo_comes_back(int mirror, int milliseconds)
{
    struct pollfd answer = {.fd = mirror, .events = POLLIN};
    char got[8];

    assert_int_equal(send(mirror, "isthmus", 7, 0), 7);
    if (poll(&answer, 1, milliseconds) != 1)
        return false;
    assert_int_equal(recv(mirror, got, sizeof(got), 0), 7);
    assert_memory_equal(got, "isthmus", 7);
    return true;
}

/* A child that sends datagrams into the device as fast as it can, for a second at most. */
static pid_t start_flood(void)
{
    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0) {
        int mirror = connect_mirror(AF_INET, SOCK_DGRAM, 7);
        nanoseconds end = clock_of(CLOCK_MONOTONIC) + 1000 * (nanoseconds)MILLISECOND;
        while (clock_of(CLOCK_MONOTONIC) < end)
            (void)!send(mirror, "flood", 5, 0);
        _exit(0);
    }
    return child;
}

static void stop_flood(pid_t child)
{
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
}

static nanoseconds time_to_stop(struct tun *tun)
{
    nanoseconds from = clock_of(CLOCK_MONOTONIC);

    tun_stop(tun);
    return clock_of(CLOCK_MONOTONIC) - from;
}

/* Opening and closing */

static void test_device_is_set_up(void **state)
{
    struct ifreq request = {.ifr_name = DEVICE};
    int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct tun *tun;

    (void)state;
    need_device();
    tun = open_device(2);
    assert_non_null(tun);
    assert_string_equal(error, "");
    assert_int_equal(tun_index(tun), if_nametoindex(DEVICE));
    assert_int_equal(ioctl(control, SIOCGIFMTU, &request), 0);
    assert_int_equal(request.ifr_mtu, 65535);
    assert_int_equal(ioctl(control, SIOCGIFTXQLEN, &request), 0);
    assert_true(request.ifr_qlen >= 1000);
    assert_int_equal(ioctl(control, SIOCGIFFLAGS, &request), 0);
    assert_int_equal(request.ifr_flags & IFF_UP, 0);
    tun_close(tun);
    assert_int_equal(if_nametoindex(DEVICE), 0);
    close(control);
}

static void test_second_opener_is_refused(void **state)
{
    int mirror;

    (void)state;
    need_device();
    lab_open(2);
    assert_true(tun_start(lab.tun, &lab.engine));
    assert_null(open_device(2));
    assert_non_null(strstr(error, "another isthmus"));
    mirror = connect_mirror(AF_INET, SOCK_DGRAM, PORT_FLOWS);
    assert_true(echo_comes_back(mirror, 1000)); /* and the first goes on */
    close(mirror);
    lab_close();
}

static void test_persistent_device_outlives_its_queues(void **state)
{
    unsigned index;
    struct tun *tun;

    (void)state;
    need_device();
    tun = open_device(2);
    assert_non_null(tun);
    index = tun_index(tun);
    assert_int_equal(tun_persist(tun), 0);
    tun_close(tun);
    assert_int_equal(if_nametoindex(DEVICE), index);
    assert_null(open_device(2)); /* who left it has to say so */
    assert_non_null(strstr(error, "ip link delete " DEVICE));
    run("ip link del " DEVICE);
}

/* Whatever it is, it stays as it was. */
static void test_existing_devices_are_refused(void **state)
{
    static const char *const ways[] = {
        "ip tuntap add " DEVICE " mode tun",
        "ip tuntap add " DEVICE " mode tun multi_queue",
        "ip link add " DEVICE " type veth peer name isthmus-peer",
    };

    (void)state;
    need_device();
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        run(ways[i]);
        run("ip link set " DEVICE " mtu 1400");
        unsigned index = if_nametoindex(DEVICE);
        assert_null(open_device(1));
        assert_non_null(strstr(error, "exists already"));
        assert_int_equal(if_nametoindex(DEVICE), index);
        run("ip link show " DEVICE " | grep -q 'mtu 1400'");
        run("ip link del " DEVICE);
    }
}

static void test_impossible_names_are_refused(void **state)
{
    static const char *const names[] = {"", "isthmus-too-long", "isthmus%d", "a/b", "a b", "..", "a:1"};

    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const struct tun_options options = {.name = names[i], .workers = 1};
        assert_null(tun_open(&options, error, sizeof(error), notes, sizeof(notes)));
        assert_non_null(strstr(error, "plane.name"));
    }
}

/* Runs `attempt` in a child and returns the exit status: 0 if all was as expected. */
static int in_child(int (*attempt)(void))
{
    int status = -1;
    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0)
        _exit(attempt());
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int drop_capabilities(const unsigned dropped[], size_t n)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];

    if (syscall(SYS_capget, &header, data) != 0)
        return -1;
    for (size_t i = 0; i < n; i++)
        data[dropped[i] / 32].effective &= ~(1U << dropped[i] % 32);
    return (int)syscall(SYS_capset, &header, data);
}

static int without_driver(void)
{
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("none", "/dev/net", "tmpfs", 0, NULL) != 0)
        return 1;
    return open_device(1) != NULL || strstr(error, "load the tun driver") == NULL;
}

static int without_net_admin(void)
{
    const unsigned dropped[] = {CAP_NET_ADMIN};

    if (drop_capabilities(dropped, 1) != 0)
        return 1;
    return open_device(1) != NULL || strstr(error, "run as root or with CAP_NET_ADMIN") == NULL;
}

static int without_bpf(void)
{
    const unsigned dropped[] = {CAP_BPF, CAP_SYS_ADMIN};
    struct tun *tun;

    if (drop_capabilities(dropped, 2) != 0)
        return 1;
    tun = open_device(2);
    return tun == NULL || tun_queues(tun) != 1 || strstr(notes, "CAP_BPF") == NULL;
}

static void test_missing_driver_is_explained(void **state)
{
    (void)state;
    need_device();
    assert_int_equal(in_child(without_driver), 0);
}

static void test_missing_privilege_is_explained(void **state)
{
    (void)state;
    need_device();
    assert_int_equal(in_child(without_net_admin), 0);
}

static void test_one_queue_without_steering(void **state)
{
    int setting = open("/proc/sys/kernel/unprivileged_bpf_disabled", O_RDONLY | O_CLOEXEC);
    char disabled = '2';

    (void)state;
    need_device();
    if (setting >= 0) {
        assert_int_equal(read(setting, &disabled, 1), 1);
        close(setting);
    }
    if (disabled == '0') {
        print_message("# skipped: this kernel lets anyone load BPF programs\n");
        skip();
    }
    assert_int_equal(in_child(without_bpf), 0);
}

/* Carrying packets */

static void test_packets_cross(void **state)
{
    struct tun_counters counters;

    (void)state;
    need_device();
    lab_open(2);
    assert_true(tun_start(lab.tun, &lab.engine));
    run("ping -q -c 3 -i 0.01 -W 1 10.64.0.2 >/dev/null");
    run("ping -q -c 3 -i 0.01 -W 1 fd64::2 >/dev/null");
    tun_stop(lab.tun);
    tun_count(lab.tun, &counters);
    /* a request and a reply each; the kernel sends some packets of its own over IPv6 */
    assert_true(counters.reads >= 12);
    assert_int_equal(counters.reads, lab.engine.received);
    assert_int_equal(counters.writes, counters.reads);
    assert_int_equal(counters.write_errors, 0);
    assert_true(counters.bursts > 0 && counters.bursts <= counters.reads);
    lab_close();
}

static void test_only_forwarded_is_written(void **state)
{
    struct tun_counters before, after;

    (void)state;
    need_device();
    run("sysctl -q -w net.ipv6.conf.default.router_solicitations=0"); /* no packets but ours */
    lab_open(1);
    assert_true(tun_start(lab.tun, &lab.engine));
    rest(50);
    int refused = connect_mirror(AF_INET, SOCK_DGRAM, PORT_REFUSED);
    tun_count(lab.tun, &before);
    assert_false(echo_comes_back(refused, 50));
    for (uint16_t port = PORT_ANSWERED; port <= PORT_DIVIDED; port += PORT_DIVIDED - PORT_ANSWERED) {
        int answered = connect_mirror(AF_INET, SOCK_DGRAM, port);
        setsockopt(answered, SOL_SOCKET, SO_NO_CHECK, &(int){1}, sizeof(int));
        assert_true(echo_comes_back(answered, 1000));
        assert_int_equal(recv(answered, error, sizeof(error), 0), 7);
        assert_false(poll(&(struct pollfd){.fd = answered, .events = POLLIN}, 1, 50) > 0);
        close(answered);
    }
    tun_count(lab.tun, &after);
    assert_int_equal(after.writes - before.writes, 4);
    close(refused);
    lab_close();
}

static void test_engine_may_use_headroom(void **state)
{
    int mirror;

    (void)state;
    need_device();
    lab_open(1);
    assert_true(tun_start(lab.tun, &lab.engine));
    mirror = connect_mirror(AF_INET6, SOCK_DGRAM, PORT_GROWN);
    assert_true(echo_comes_back(mirror, 1000));
    close(mirror);
    lab_close();
}

/* Sends `size` bytes over TCP and reads them back. */
static void tcp_echo(int family)
{
    enum { SIZE = 8 * 1024 * 1024, PIECE = 256 * 1024 };
    static uint8_t sent[PIECE], got[PIECE];
    int mirror = connect_mirror(family, SOCK_STREAM, 7000);
    size_t received = 0, written = 0;

    for (size_t i = 0; i < PIECE; i++)
        sent[i] = (uint8_t)(i * 2654435761U >> 13);
    while (received < SIZE) {
        ssize_t n = 0;
        if (written < SIZE)
            n = send(mirror, sent + written % PIECE, PIECE - written % PIECE, MSG_DONTWAIT);
        written += n > 0 ? (size_t)n : 0;
        n = recv(mirror, got, PIECE - received % PIECE, written < SIZE ? MSG_DONTWAIT : 0);
        assert_true(n > 0 || (n < 0 && errno == EAGAIN && written < SIZE));
        if (n > 0)
            assert_memory_equal(got, sent + received % PIECE, (size_t)n);
        received += n > 0 ? (size_t)n : 0;
    }
    close(mirror);
}

static void test_tcp_super_packets_cross_whole(void **state)
{

    (void)state;
    need_device();
    lab_open(2);
    run("ip link set " DEVICE " mtu 1500"); /* so that only super-packets are large */
    assert_true(tun_start(lab.tun, &lab.engine));
    tcp_echo(AF_INET);
    assert_true(lab.engine.largest_tcp > 30000);
    lab.engine.largest_tcp = 0;
    tcp_echo(AF_INET6);
    assert_true(lab.engine.largest_tcp > 30000);
    lab_close();
}

static void test_udp_super_packets_cross_whole(void **state)
{
    enum { PIECE = 1200, PIECES = 20 };
    static uint8_t bulk[PIECE * PIECES];
    int mirror;

    (void)state;
    need_device();
    lab_open(1);
    if (!tun_uso(lab.tun)) {
        lab_close();
        print_message("# skipped: this kernel has no UDP super-packets for TUN devices\n");
        skip();
    }
    run("ip link set " DEVICE " mtu 1500");
    assert_true(tun_start(lab.tun, &lab.engine));
    mirror = connect_mirror(AF_INET6, SOCK_DGRAM, PORT_FLOWS);
    setsockopt(mirror, IPPROTO_UDP, UDP_SEGMENT, &(int){PIECE}, sizeof(int));
    assert_int_equal(send(mirror, bulk, sizeof(bulk), 0), sizeof(bulk));
    for (unsigned i = 0; i < PIECES; i++)
        assert_int_equal(recv(mirror, bulk, sizeof(bulk), 0), PIECE);
    assert_int_equal(lab.engine.largest_udp, sizeof(bulk) + 48);
    close(mirror);
    lab_close();
}

/* Sends some packets in each flow; bit n of the result says whether worker 1 served flow n. */
static uint64_t spread_flows(void)
{
    uint64_t spread = 0;

    lab_open(2);
    assert_int_equal(tun_queues(lab.tun), 2);
    assert_string_equal(notes, "");
    assert_true(tun_start(lab.tun, &lab.engine));
    for (uint16_t flow = 0; flow < FLOWS; flow++) {
        int mirror = connect_mirror(flow % 2 ? AF_INET : AF_INET6, SOCK_DGRAM, (uint16_t)(PORT_FLOWS + flow));
        for (unsigned i = 0; i < 5; i++)
            assert_true(echo_comes_back(mirror, 1000));
        close(mirror);
        uint32_t workers = lab.engine.flow_workers[flow];
        assert_true(workers == 1 || workers == 2);
        spread |= (uint64_t)(workers >> 1) << flow;
    }
    lab_close();
    return spread;
}

static void test_each_flow_has_one_queue(void **state)
{
    uint64_t first, second; /* rfc: 7915-4-d */

    (void)state;
    need_device();
    first = spread_flows();
    second = spread_flows();
    assert_true(first != 0 && first != UINT64_MAX);
    /* every start has a seed of its own; the kernel's own choice would be the same again */
    assert_true(first != second);
}

/* Waiting, time and the end */

static void test_stops_promptly_and_starts_again(void **state)
{
    pid_t flood;
    int mirror;

    (void)state;
    need_device();
    lab_open(2);
    assert_true(tun_start(lab.tun, &lab.engine));
    rest(20);
    assert_true(time_to_stop(lab.tun) < 100 * MILLISECOND);
    assert_true(tun_start(lab.tun, &lab.engine));
    mirror = connect_mirror(AF_INET, SOCK_DGRAM, PORT_FLOWS);
    assert_true(echo_comes_back(mirror, 1000));
    close(mirror);
    flood = start_flood();
    rest(100);
    nanoseconds took = time_to_stop(lab.tun);
    stop_flood(flood);
    assert_true(took < 100 * MILLISECOND);
    lab_close();
}

static void test_deadlines_are_kept(void **state)
{
    uint32_t idle, busy;
    pid_t flood;

    (void)state;
    need_device();
    lab_open(1);
    lab.engine.period = 10 * MILLISECOND;
    assert_true(tun_start(lab.tun, &lab.engine));
    rest(300);
    idle = atomic_load(&lab.engine.expired);
    assert_in_range(idle, 5, 60);
    flood = start_flood();
    rest(300);
    busy = atomic_load(&lab.engine.expired) - idle;
    stop_flood(flood);
    assert_in_range(busy, 5, 60);
    lab_close();
}

static void test_idle_and_removed_devices_cost_nothing(void **state)
{
    nanoseconds from;

    (void)state;
    need_device();
    lab_open(2);
    assert_true(tun_start(lab.tun, &lab.engine));
    from = clock_of(CLOCK_PROCESS_CPUTIME_ID);
    rest(300);
    assert_true(clock_of(CLOCK_PROCESS_CPUTIME_ID) - from < 20 * MILLISECOND);
    run("ip link del " DEVICE);
    from = clock_of(CLOCK_PROCESS_CPUTIME_ID);
    rest(300);
    assert_true(clock_of(CLOCK_PROCESS_CPUTIME_ID) - from < 20 * MILLISECOND);
    assert_true(time_to_stop(lab.tun) < 100 * MILLISECOND);
    lab_close();
}

static void test_lost_packets_are_counted(void **state)
{
    struct tun_counters counters;
    int mirror;

    (void)state;
    need_device();
    lab_open(1);
    mirror = connect_mirror(AF_INET, SOCK_DGRAM, PORT_FLOWS);
    assert_int_equal(send(mirror, "isthmus", 7, 0), 7); /* waits in the queue */
    run("ip link set " DEVICE " down");                 /* and cannot be written any more */
    assert_true(tun_start(lab.tun, &lab.engine));
    rest(50);
    assert_true(time_to_stop(lab.tun) < 100 * MILLISECOND);
    tun_count(lab.tun, &counters);
    assert_true(counters.reads > 0);
    assert_int_equal(counters.write_errors, counters.reads);
    close(mirror);
    lab_close();
}

#define DEVICE_TEST(test) cmocka_unit_test_teardown(test, clean_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        DEVICE_TEST(test_device_is_set_up),
        DEVICE_TEST(test_second_opener_is_refused),
        DEVICE_TEST(test_persistent_device_outlives_its_queues),
        DEVICE_TEST(test_existing_devices_are_refused),
        cmocka_unit_test(test_impossible_names_are_refused),
        DEVICE_TEST(test_missing_driver_is_explained),
        DEVICE_TEST(test_missing_privilege_is_explained),
        DEVICE_TEST(test_one_queue_without_steering),
        DEVICE_TEST(test_packets_cross),
        DEVICE_TEST(test_only_forwarded_is_written),
        DEVICE_TEST(test_engine_may_use_headroom),
        DEVICE_TEST(test_tcp_super_packets_cross_whole),
        DEVICE_TEST(test_udp_super_packets_cross_whole),
        DEVICE_TEST(test_each_flow_has_one_queue),
        DEVICE_TEST(test_stops_promptly_and_starts_again),
        DEVICE_TEST(test_deadlines_are_kept),
        DEVICE_TEST(test_idle_and_removed_devices_cost_nothing),
        DEVICE_TEST(test_lost_packets_are_counted),
    };

    return cmocka_run_group_tests(tests, enter_namespace, NULL);
}
