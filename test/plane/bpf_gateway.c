/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Visitors and servers are processes of their own, which enter the network of their host. A server's socket
 * is open before the visitor starts.
 */
#include "test/plane/bpf_gateway.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
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

#include "plane/tun/tun.h"

#define DEVICE "isthmus-gate"

enum {
    PORT = 5001,
    CHUNK = 1 << 16,
    DATAGRAMS = 50,
    DATAGRAM = 1200,
    PATIENCE_SECONDS = 5,
    INTERFACES = 2,
};

static const char *const interfaces[INTERFACES] = {"lan0", "wan0"};

static struct {
    pid_t host[HOSTS];
    struct kernel_plane *kernel;
    struct engine *engine;
    struct tun *tun;
    bool made[INTERFACES];
    struct settings settings;
    struct pool_range range;
    struct eam_table *eam;
    struct gateway_work before;
} gateway;

/* --- the network ------------------------------------------------------------------------------------ */

bool gateway_possible(void)
{
    return unshare(CLONE_NEWNET) == 0;
}

int gateway_run(enum host host, const char *format, ...)
{
    char command[1024], line[1200];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(command, sizeof(command), format, arguments);
    va_end(arguments);
    if (host == GATEWAY)
        snprintf(line, sizeof(line), "%s", command);
    else
        snprintf(line, sizeof(line), "nsenter -t %d -n sh -c '%s'", gateway.host[host], command);
    return system(line); /* NOLINT(cert-env33-c): a lab is set up by the programs of every day */
}

#define must(host, ...) assert_int_equal(gateway_run(host, __VA_ARGS__), 0)

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

static void enter_host(enum host host)
{
    char path[64];
    if (host == GATEWAY)
        return;
    snprintf(path, sizeof(path), "/proc/%d/ns/net", gateway.host[host]);
    int namespace = open(path, O_RDONLY | O_CLOEXEC);
    if (namespace < 0 || setns(namespace, CLONE_NEWNET) != 0)
        _exit(2);
    close(namespace);
}

static void make_network(void)
{
    gateway.host[CLIENT] = start_host();
    gateway.host[SERVER] = start_host();
    must(GATEWAY, "echo 1 >/proc/sys/net/ipv4/conf/all/rp_filter && "
                  "echo 1 >/proc/sys/net/ipv4/ip_forward && echo 1 >/proc/sys/net/ipv6/conf/all/forwarding");
    must(GATEWAY,
         "ip link set lo up && ip link add lan0 type veth peer name host0 netns %d && "
         "ip link add wan0 type veth peer name host0 netns %d && ip link set lan0 up && ip link set wan0 up",
         gateway.host[CLIENT], gateway.host[SERVER]);
    must(GATEWAY, "ip address add 2001:db8:1::1/64 dev lan0 nodad && ip address add 203.0.113.1/24 dev wan0 "
                  "&& ip address add 2001:db8:2::1/64 dev wan0 nodad");
    must(CLIENT,
         "ip link set lo up && ip link set host0 up && "
         "ip address add 2001:db8:1::3/64 dev host0 nodad && "
         "ip address add 2001:db8:1::2/64 dev host0 nodad && ip -6 route add default via 2001:db8:1::1");
    must(SERVER, "ip link set lo up && ip link set host0 up && ip address add 203.0.113.2/24 dev host0 && "
                 "ip address add 2001:db8:2::2/64 dev host0 nodad && ip route add default via 203.0.113.1 && "
                 "ip -6 route add default via 2001:db8:2::1");
}

/* As the daemon does, see control/setup.c. */
static void set_up_device(void)
{
    char error[256], notes[512];
    const struct tun_options options = {.name = DEVICE, .workers = 1};
    gateway.tun = tun_open(&options, error, sizeof(error), notes, sizeof(notes));
    if (gateway.tun == NULL)
        fail_msg("%s", error);
    must(GATEWAY, "echo 1 >/proc/sys/net/ipv4/conf/" DEVICE "/accept_local && "
                  "echo 2 >/proc/sys/net/ipv4/conf/" DEVICE "/rp_filter");
    must(GATEWAY,
         "ip address add 192.0.0.8/32 dev " DEVICE " && ip link set " DEVICE " up && "
         "ip route add 192.0.2.1 dev " DEVICE " && ip route add 2001:db8:64::/96 dev " DEVICE " && "
         "ip route add 198.51.100.2/31 dev " DEVICE " && ip route add 2001:db8:100::/96 dev " DEVICE);
}

/* --- the plane -------------------------------------------------------------------------------------- */

static void describe_nat64(struct nat64_settings *nat64)
{
    gateway.range = (struct pool_range){.first = htonl(0xc0000201u),
                                        .count = 1,
                                        .low = 1024,
                                        .high = 65535,
                                        .transports = (1 << TRANSPORT_COUNT) - 1};
    nat64->prefix.length = 96;
    inet_pton(AF_INET6, "2001:db8:64::", nat64->prefix.address.bytes);
    nat64->sessions = 1024;
    nat64->subscriber_prefix = SUBSCRIBER_PREFIX_DEFAULT;
    nat64->sessions_per_subscriber = SUBSCRIBER_SESSIONS_DEFAULT;
    nat64->pool = &gateway.range;
    nat64->pool_count = 1;
    nat64->timeouts = (struct nat64_timeouts){.udp = UDP_DEFAULT_SECONDS,
                                              .icmp = ICMP_DEFAULT_SECONDS,
                                              .tcp_established = TCP_ESTABLISHED_SECONDS,
                                              .tcp_transitory = TCP_TRANSITORY_SECONDS,
                                              .tcp_syn = TCP_INCOMING_SYN_SECONDS,
                                              .fragment = FRAGMENT_SECONDS};
}

static void describe_siit(struct siit_settings *siit)
{
    struct eam mappings[2] = {{.length4 = 32, .length6 = 128}, {.length4 = 32, .length6 = 128}};
    struct eam_problem problem;
    inet_pton(AF_INET, "198.51.100.2", &mappings[0].ipv4);
    inet_pton(AF_INET6, "2001:db8:1::2", &mappings[0].ipv6);
    inet_pton(AF_INET, "198.51.100.3", &mappings[1].ipv4);
    inet_pton(AF_INET6, "2001:db8:1::3", &mappings[1].ipv6);
    gateway.eam = eam_build(mappings, 2, &problem);
    assert_non_null(gateway.eam);
    siit->prefix.length = 96;
    inet_pton(AF_INET6, "2001:db8:100::", siit->prefix.address.bytes);
    siit->eam = gateway.eam;
}

static nanoseconds clock_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (nanoseconds)now.tv_sec * 1000000000u + (nanoseconds)now.tv_nsec;
}

static void start_plane(void)
{
    char error[256], note[256];
    gateway.settings.translation = (struct translation_settings){
        .tos = -1, .amend_udp_checksum_zero = true, .mss_clamp = true, .icmp_errors_per_second = 1000};
    gateway.settings.nat64_count = gateway.settings.siit_count = 1;
    describe_nat64(&gateway.settings.nat64[0]);
    describe_siit(&gateway.settings.siit[0]);
    const struct kernel_options options = {
        .geometry = {.sessions = 1024, .addresses = 16, .workers = 1}, .mappings = 2, .seed = 7};
    gateway.kernel = kernel_open(&options, note, sizeof(note), error, sizeof(error));
    if (gateway.kernel == NULL)
        fail_msg("%s", error);
    const struct engine_options engine = {.table = kernel_table(gateway.kernel),
                                          .settings = &gateway.settings,
                                          .waiting = kernel_waiting(gateway.kernel),
                                          .workers = 1,
                                          .seed = 5,
                                          .now = clock_now()};
    gateway.engine = engine_create(&engine, error, sizeof(error));
    if (gateway.engine == NULL)
        fail_msg("%s", error);
    assert_true(tun_start(gateway.tun, gateway.engine));
}

void gateway_enforce(bool stack)
{
    const struct kernel_surroundings surroundings = {.device = tun_index(gateway.tun), .stack = stack};
    kernel_enforce(gateway.kernel, engine_rules(gateway.engine), &surroundings);
    kernel_alive(gateway.kernel, clock_now() + (nanoseconds)3600 * 1000000000u);
}

void gateway_open(void)
{
    make_network();
    set_up_device();
    start_plane();
    gateway_enforce(false);
    assert_int_equal(kernel_attach_device(gateway.kernel, tun_index(gateway.tun)), 0);
    for (unsigned i = 0; i < INTERFACES; i++)
        assert_int_equal(ingress_attach(if_nametoindex(interfaces[i]),
                                        kernel_program(gateway.kernel, INGRESS_ETHERNET), &gateway.made[i]),
                         0);
    (void)gateway_work();
}

void gateway_close(void)
{
    for (unsigned i = 0; i < INTERFACES; i++)
        (void)ingress_detach(if_nametoindex(interfaces[i]), gateway.made[i]);
    if (gateway.tun != NULL)
        tun_close(gateway.tun);
    engine_destroy(gateway.engine);
    kernel_close(gateway.kernel);
    eam_free(gateway.eam);
    stop_host(&gateway.host[CLIENT]);
    stop_host(&gateway.host[SERVER]);
    (void)gateway_run(GATEWAY, "ip link delete lan0 2>/dev/null; ip link delete wan0 2>/dev/null");
    memset(&gateway, 0, sizeof(gateway));
}

struct gateway_work gateway_work(void)
{
    struct engine_counters counters = {.sessions_created = 0};
    struct kernel_passage passage;
    struct gateway_work *before = &gateway.before;
    kernel_count(gateway.kernel, &counters);
    kernel_passage(gateway.kernel, &passage);
    const struct gateway_work now = {.to4 = counters.packets[VERDICT_TRANSLATED_6TO4],
                                     .to6 = counters.packets[VERDICT_TRANSLATED_4TO6],
                                     .hairpins = counters.packets[VERDICT_TRANSLATED_HAIRPIN],
                                     .handed_over = passage.handed_over};
    const struct gateway_work since = {.to4 = now.to4 - before->to4,
                                       .to6 = now.to6 - before->to6,
                                       .hairpins = now.hairpins - before->hairpins,
                                       .handed_over = now.handed_over - before->handed_over};
    *before = now;
    return since;
}

/* --- traffic ---------------------------------------------------------------------------------------- */

static void fill(uint8_t *bytes, uint64_t from, size_t length)
{
    for (size_t i = 0; i < length; i++)
        bytes[i] = (uint8_t)((from + i) * 31 + ((from + i) >> 13));
}

static bool send_all(int socket, uint32_t bytes)
{
    static uint8_t chunk[CHUNK];
    for (uint64_t done = 0; done < bytes;) {
        size_t length = bytes - done < CHUNK ? (size_t)(bytes - done) : CHUNK;
        fill(chunk, done, length);
        ssize_t sent = send(socket, chunk, length, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        done += (uint64_t)sent;
    }
    return true;
}

static bool receive_all(int socket, uint32_t bytes)
{
    static uint8_t chunk[CHUNK], wanted[CHUNK];
    for (uint64_t done = 0; done < bytes;) {
        ssize_t got = recv(socket, chunk, CHUNK, 0);
        if (got <= 0)
            return false;
        fill(wanted, done, (size_t)got);
        if (memcmp(chunk, wanted, (size_t)got) != 0)
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

/* IPv4 or IPv6, by how the text looks. */
static socklen_t read_address(const char *text, in_port_t port, struct sockaddr_storage *address)
{
    struct sockaddr_in *four = (void *)address;
    struct sockaddr_in6 *six = (void *)address;
    memset(address, 0, sizeof(*address));
    if (strchr(text, ':') == NULL) {
        four->sin_family = AF_INET;
        four->sin_port = htons(port);
        inet_pton(AF_INET, text, &four->sin_addr);
        return sizeof(*four);
    }
    six->sin6_family = AF_INET6;
    six->sin6_port = htons(port);
    inet_pton(AF_INET6, text, &six->sin6_addr);
    return sizeof(*six);
}

/* At the address of a server, or any of either family. */
static int open_server(const struct gateway_visit *visit)
{
    struct sockaddr_storage here;
    socklen_t size = read_address(visit->server != NULL ? visit->server : "::", PORT, &here);
    int server = open_socket(here.ss_family, visit->type);
    return bind(server, (void *)&here, size) == 0 && (visit->type == SOCK_DGRAM || listen(server, 1) == 0)
               ? server
               : -1;
}

static bool serve_datagrams(int server)
{
    struct sockaddr_storage there;
    socklen_t size = sizeof(there);
    uint8_t datagram[2 * DATAGRAM];
    for (unsigned i = 0; i < DATAGRAMS; i++) {
        ssize_t got = recvfrom(server, datagram, sizeof(datagram), 0, (void *)&there, &size);
        if (got <= 0 || sendto(server, datagram, (size_t)got, 0, (void *)&there, size) != got)
            return false;
    }
    return true;
}

static bool exchange_datagrams(int connected)
{
    static uint8_t sent[DATAGRAM], got[2 * DATAGRAM];
    for (unsigned i = 0; i < DATAGRAMS; i++) {
        size_t length = 1 + (i * 7) % sizeof(sent);
        fill(sent, i, length);
        if (send(connected, sent, length, 0) != (ssize_t)length ||
            recv(connected, got, sizeof(got), 0) != (ssize_t)length || memcmp(sent, got, length) != 0)
            return false;
    }
    return true;
}

static int serve(const struct gateway_visit *visit, int ready)
{
    enter_host(visit->to);
    int server = open_server(visit);
    if (server < 0 || write(ready, "r", 1) != 1)
        return 3;
    if (visit->type == SOCK_DGRAM)
        return serve_datagrams(server) ? 0 : 4;
    int connection = accept(server, NULL, NULL);
    return receive_all(connection, visit->bytes) && send_all(connection, visit->bytes) ? 0 : 5;
}

/* A socket connected as the visit says, or -1. */
static int open_visitor(const struct gateway_visit *visit)
{
    struct sockaddr_storage here, there;
    socklen_t size = read_address(visit->address, PORT, &there);
    int visitor = open_socket(there.ss_family, visit->type);
    if (visit->source != NULL) {
        (void)read_address(visit->source, 0, &here);
        if (bind(visitor, (void *)&here, size) != 0)
            return -1;
    }
    return connect(visitor, (void *)&there, size) == 0 ? visitor : -1;
}

static int go(const struct gateway_visit *visit)
{
    enter_host(visit->from);
    int visitor = open_visitor(visit);
    if (visitor < 0)
        return 3;
    if (visit->type == SOCK_DGRAM)
        return exchange_datagrams(visitor) ? 0 : 4;
    return send_all(visitor, visit->bytes) && receive_all(visitor, visit->bytes) ? 0 : 5;
}

static pid_t start_server(const struct gateway_visit *visit)
{
    int ready[2];
    char told;
    assert_int_equal(pipe(ready), 0);
    pid_t server = fork();
    assert_true(server >= 0);
    if (server == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(ready[0]);
        _exit(serve(visit, ready[1]));
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &told, 1), 1);
    close(ready[0]);
    return server;
}

bool gateway_visit(const struct gateway_visit *visit)
{
    int status[2] = {-1, -1};
    pid_t server = start_server(visit), visitor = fork();
    assert_true(visitor >= 0);
    if (visitor == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        _exit(go(visit));
    }
    assert_int_equal(waitpid(visitor, &status[0], 0), visitor);
    if (status[0] != 0)
        kill(server, SIGTERM);
    assert_int_equal(waitpid(server, &status[1], 0), server);
    return status[0] == 0 && status[1] == 0;
}

int gateway_call(const struct gateway_visit *visit)
{
    int status = -1;
    pid_t visitor = fork();
    assert_true(visitor >= 0);
    if (visitor == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        enter_host(visit->from);
        _exit(open_visitor(visit) >= 0 ? 0 : errno);
    }
    assert_int_equal(waitpid(visitor, &status, 0), visitor);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* --- hop limits ------------------------------------------------------------------------------------- */

struct arrived {
    int hops;
    char from[INET6_ADDRSTRLEN];
};

/* Of the datagram that comes. */
static struct arrived read_arrival(int server)
{
    struct arrived arrived = {.hops = -1};
    struct sockaddr_storage there;
    char byte, control[256];
    struct iovec data = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {.msg_name = &there,
                             .msg_namelen = sizeof(there),
                             .msg_iov = &data,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = sizeof(control)};
    if (recvmsg(server, &message, 0) != 1)
        return arrived;
    for (struct cmsghdr *part = CMSG_FIRSTHDR(&message); part != NULL; part = CMSG_NXTHDR(&message, part))
        if ((part->cmsg_level == IPPROTO_IP && part->cmsg_type == IP_TTL) ||
            (part->cmsg_level == IPPROTO_IPV6 && part->cmsg_type == IPV6_HOPLIMIT))
            memcpy(&arrived.hops, CMSG_DATA(part), sizeof(arrived.hops));
    if (there.ss_family == AF_INET)
        inet_ntop(AF_INET, &((struct sockaddr_in *)&there)->sin_addr, arrived.from, sizeof(arrived.from));
    else
        inet_ntop(AF_INET6, &((struct sockaddr_in6 *)&there)->sin6_addr, arrived.from, sizeof(arrived.from));
    return arrived;
}

/* The family that the datagram arrives in is the one of the server's address. */
static void receive_one(const struct gateway_visit *visit, int family, int tell)
{
    struct sockaddr_storage here;
    int one = 1;
    enter_host(visit->to);
    socklen_t size = read_address(family == AF_INET ? "0.0.0.0" : "::", PORT, &here);
    int server = open_socket(family, SOCK_DGRAM);
    setsockopt(server, IPPROTO_IP, IP_RECVTTL, &one, sizeof(one));
    if (family == AF_INET6)
        setsockopt(server, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, &one, sizeof(one));
    if (bind(server, (void *)&here, size) != 0 || write(tell, "r", 1) != 1)
        _exit(3);
    struct arrived arrived = read_arrival(server);
    _exit(write(tell, &arrived, sizeof(arrived)) == sizeof(arrived) ? 0 : 4);
}

static void send_one(const struct gateway_visit *visit)
{
    int hops = 64;
    enter_host(visit->from);
    int visitor = open_visitor(visit);
    setsockopt(visitor, IPPROTO_IP, IP_TTL, &hops, sizeof(hops));
    setsockopt(visitor, IPPROTO_IPV6, IPV6_UNICAST_HOPS, &hops, sizeof(hops));
    _exit(send(visitor, "h", 1, 0) == 1 ? 0 : 3);
}

int gateway_hops(const struct gateway_visit *visit, char *from, size_t size)
{
    int told[2], family = strchr(visit->address, ':') != NULL ? AF_INET : AF_INET6;
    char ready;
    struct arrived arrived = {.hops = -1};
    assert_int_equal(pipe(told), 0);
    pid_t server = fork();
    if (server == 0)
        receive_one(visit, family, told[1]);
    close(told[1]);
    assert_int_equal(read(told[0], &ready, 1), 1);
    pid_t visitor = fork();
    if (visitor == 0)
        send_one(visit);
    if (read(told[0], &arrived, sizeof(arrived)) != sizeof(arrived))
        arrived.hops = -1;
    close(told[0]);
    waitpid(visitor, NULL, 0);
    waitpid(server, NULL, 0);
    snprintf(from, size, "%s", arrived.from);
    return arrived.hops;
}
