/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Advertisements as a host at the other end of a cable hears them: lan0, on which they are sent, and host0,
 * with a raw socket on it, are the ends of a veth pair in a network of our own.
 */
#include "test/control/machine.h"

#include <arpa/inet.h>
#include <netinet/icmp6.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "control/advertise.h"

enum {
    PATIENCE_MILLISECONDS = 6000,
    BUFFER_SIZE = 2048,
};

static const char text[] = "nat64: [{prefix: 2001:db8:64::/96, pool: [{address: 192.0.2.1}]}]\n"
                           "ra: [{interface: lan0, lifetime: 601s}]\n";
static const char changed_text[] = "nat64: [{prefix: 2001:db8:65::/96, pool: [{address: 192.0.2.1}]}]\n"
                                   "ra: [{interface: lan0, lifetime: 601s}]\n";
static const struct advertise_servers servers = {
    .any = true, .count = 1, .addresses = {{{0x20, 0x01, 0x0d, 0xb8, [15] = 0x53}}}};

static uv_loop_t loop;
static struct advertise *advertise;
static int host = -1;

/* A message as the host got it. */
struct heard {
    uint8_t bytes[BUFFER_SIZE];
    size_t length;
    int hop_limit;
    struct sockaddr_in6 from;
};

static void connect_cable(void)
{
    assert_int_equal(system("ip link add lan0 address 02:00:00:00:00:01 type veth peer name host0 && "
                            "ip link set host0 up && ip link set lan0 up"),
                     0);
}

/* The host's socket hears advertisements on host0. */
static void listen_on_host(void)
{
    struct icmp6_filter filter;
    struct ipv6_mreq group = {.ipv6mr_interface = if_nametoindex("host0")};
    int yes = 1, hops = 255;
    if (host >= 0)
        close(host);
    host = socket(AF_INET6, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_ICMPV6);
    assert_true(host >= 0);
    ICMP6_FILTER_SETBLOCKALL(&filter);
    ICMP6_FILTER_SETPASS(ND_ROUTER_ADVERT, &filter);
    inet_pton(AF_INET6, "ff02::1", &group.ipv6mr_multiaddr);
    assert_int_equal(setsockopt(host, IPPROTO_ICMPV6, ICMP6_FILTER, &filter, sizeof(filter)), 0);
    assert_int_equal(setsockopt(host, SOL_SOCKET, SO_BINDTODEVICE, "host0", sizeof("host0")), 0);
    setsockopt(host, IPPROTO_IPV6, IPV6_JOIN_GROUP, &group,
               sizeof(group)); /* each interface is in it anyway */
    assert_int_equal(setsockopt(host, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, &yes, sizeof(yes)), 0);
    assert_int_equal(setsockopt(host, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, &hops, sizeof(hops)), 0);
}

static int set_up(void **state)
{
    struct config_error error = {""};
    machine_enter(state);
    if (!machine_available)
        return 0;
    /* Addresses may be used at once. */
    if (system("echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad") != 0 || uv_loop_init(&loop) != 0)
        return -1;
    struct config *config = config_parse("test", text, strlen(text), &error);
    if (config != NULL)
        advertise = advertise_open(config, &servers, error.text, sizeof(error.text));
    config_free(config);
    if (advertise == NULL)
        print_message("# %s\n", error.text);
    return advertise != NULL && advertise_start(advertise, &loop) == 0 ? 0 : -1;
}

static void close_handle(uv_handle_t *handle, void *context)
{
    (void)context;
    uv_close(handle, NULL);
}

static int tear_down(void **state)
{
    (void)state;
    if (!machine_available)
        return 0;
    uv_walk(&loop, close_handle, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    advertise_close(advertise);
    close(host);
    return 0;
}

static bool receive(struct heard *heard)
{
    _Alignas(struct cmsghdr) char control[256];
    struct iovec data = {.iov_base = heard->bytes, .iov_len = sizeof(heard->bytes)};
    struct msghdr header = {.msg_name = &heard->from,
                            .msg_namelen = sizeof(heard->from),
                            .msg_iov = &data,
                            .msg_iovlen = 1,
                            .msg_control = control,
                            .msg_controllen = sizeof(control)};
    ssize_t length = recvmsg(host, &header, 0);
    if (length < 0)
        return false;
    heard->length = (size_t)length;
    const struct cmsghdr *part = CMSG_FIRSTHDR(&header);
    heard->hop_limit = 0;
    if (part != NULL)
        memcpy(&heard->hop_limit, CMSG_DATA(part), sizeof(heard->hop_limit));
    return true;
}

static void wake(uv_timer_t *timer)
{
    (void)timer;
}

/* Runs the loop until the host hears something, or time is up. */
static bool hears(struct heard *heard, uint64_t milliseconds)
{
    uint64_t end = uv_hrtime() + milliseconds * 1000000;
    uv_timer_t timer;
    bool got = false;
    uv_timer_init(&loop, &timer);
    uv_timer_start(&timer, wake, 20, 20);
    while (!(got = receive(heard)) && uv_hrtime() < end)
        uv_run(&loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&loop, UV_RUN_NOWAIT);
    return got;
}

/* Header and options; the servers are the configured one and the link-local address that it came from. */
static void assert_advertised(const struct heard *heard, uint32_t lifetime, unsigned scaled)
{
    const uint8_t begin[] = {134, 0, heard->bytes[2], heard->bytes[3], 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
    const uint8_t link[] = {1, 1, 2, 0, 0, 0, 0, 1};
    const uint8_t prefix[16] = {
        38, 2, (uint8_t)(scaled >> 5), (uint8_t)(scaled << 3), 0x20, 0x01, 0x0d, 0xb8, 0, 0x64};
    const uint8_t option[] = {25, 5, 0, 0, 0, 0, (uint8_t)(lifetime >> 8), (uint8_t)lifetime};
    assert_int_equal(heard->length, 16 + 8 + 16 + 8 + 32);
    assert_memory_equal(heard->bytes, begin, 16);
    assert_true(heard->bytes[2] != 0 ||
                heard->bytes[3] != 0); /* the checksum, which the kernel has checked */
    assert_memory_equal(heard->bytes + 16, link, 8);
    assert_memory_equal(heard->bytes + 24, prefix, 16);
    assert_memory_equal(heard->bytes + 40, option, 8);
    assert_memory_equal(heard->bytes + 48, &servers.addresses[0], 16);
    assert_memory_equal(heard->bytes + 64, &heard->from.sin6_addr, 16);
    assert_true(IN6_IS_ADDR_LINKLOCAL(&heard->from.sin6_addr));
    assert_int_equal(heard->hop_limit, 255);
}

/* There is no lan0 at first. */
static void test_an_interface_comes(void **state)
{
    struct heard heard;
    (void)state;
    machine_need();
    connect_cable();
    listen_on_host();
    assert_true(hears(&heard, PATIENCE_MILLISECONDS));
    assert_advertised(&heard, 601, 76);
}

static void ask(int hops)
{
    static const uint8_t solicitation[8] = {133};
    struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_scope_id = if_nametoindex("host0")};
    inet_pton(AF_INET6, "ff02::2", &to.sin6_addr);
    assert_int_equal(setsockopt(host, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, &hops, sizeof(hops)), 0);
    assert_int_equal(sendto(host, solicitation, sizeof(solicitation), 0, (struct sockaddr *)&to, sizeof(to)),
                     sizeof(solicitation));
}

/* The next one would come 16 seconds after the first. */
static void test_who_asks_is_answered(void **state)
{
    struct heard heard;
    (void)state;
    machine_need();
    ask(254); /* from beyond the link */
    assert_false(hears(&heard, 4000));
    ask(255);
    ask(255);
    assert_true(hears(&heard, 1500));
    assert_advertised(&heard, 601, 76);
    assert_false(hears(&heard, 1000)); /* one for both */
}

/* Another pair of the same name; its lan0 has another index. */
static void test_an_interface_goes_and_comes(void **state)
{
    struct heard heard;
    (void)state;
    machine_need();
    assert_int_equal(system("ip link del lan0"), 0);
    assert_false(hears(&heard, 500));
    connect_cable();
    listen_on_host();
    assert_true(hears(&heard, PATIENCE_MILLISECONDS));
    assert_advertised(&heard, 601, 76);
    ask(255); /* the new one is listened to */
    assert_true(hears(&heard, PATIENCE_MILLISECONDS));
}

/* Sends an advertisement on lan0 as another program of the same machine would. */
static void advertise_beside(uint8_t router_lifetime)
{
    const uint8_t advertisement[16] = {134, [7] = router_lifetime};
    int hops = 255, other = socket(AF_INET6, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMPV6);
    struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_scope_id = if_nametoindex("lan0")};
    inet_pton(AF_INET6, "ff02::1", &to.sin6_addr);
    assert_true(other >= 0);
    assert_int_equal(setsockopt(other, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, &hops, sizeof(hops)), 0);
    assert_int_equal(
        sendto(other, advertisement, sizeof(advertisement), 0, (struct sockaddr *)&to, sizeof(to)),
        sizeof(advertisement));
    close(other);
}

/* What is logged until the host has heard that advertisement. */
static const char *said_of(uint8_t router_lifetime)
{
    static char said[1024];
    struct heard heard;
    int own = dup(STDERR_FILENO), file = memfd_create("said", MFD_CLOEXEC);
    assert_true(own >= 0 && file >= 0);
    dup2(file, STDERR_FILENO);
    advertise_beside(router_lifetime);
    do {
        if (!hears(&heard, PATIENCE_MILLISECONDS))
            break;
    } while (heard.length != 16);
    hears(&heard, 100); /* the loop has had time to hear it, too */
    dup2(own, STDERR_FILENO);
    close(own);
    ssize_t length = pread(file, said, sizeof(said) - 1, 0);
    close(file);
    said[length < 0 ? 0 : length] = 0;
    return said;
}

static void test_another_sender_is_warned_of_once(void **state)
{
    (void)state;
    machine_need();
    assert_string_equal(said_of(0), "");
    assert_non_null(strstr(said_of(200), "warning: lan0: another program on this machine"));
    assert_string_equal(said_of(200), "");
}

/* The prefix of before is withdrawn, the new one announced. */
static void test_a_change_withdraws(void **state)
{
    struct heard heard;
    struct config_error error = {""};
    static const uint8_t new[16] = {38, 2, 0x02, 0x60, 0x20, 0x01, 0x0d, 0xb8, 0, 0x65},
                         old[16] = {38, 2, 0, 0, 0x20, 0x01, 0x0d, 0xb8, 0, 0x64};
    (void)state;
    machine_need();
    struct config *config = config_parse("test", changed_text, strlen(changed_text), &error);
    assert_non_null(config);
    advertise_change(advertise, config, &servers);
    config_free(config);
    assert_true(hears(&heard, PATIENCE_MILLISECONDS));
    assert_int_equal(heard.length, 16 + 8 + 16 + 16 + 8 + 32);
    assert_memory_equal(heard.bytes + 24, new, 16);
    assert_memory_equal(heard.bytes + 40, old, 16);
    assert_memory_equal(heard.bytes + 64, &servers.addresses[0], 16);
}

static void test_the_end_is_told(void **state)
{
    static const uint8_t over[16] = {38, 2, 0, 0, 0x20, 0x01, 0x0d, 0xb8, 0, 0x65};
    static const uint8_t no_servers[8] = {25, 5};
    uint64_t before = uv_hrtime();
    struct heard heard;
    (void)state;
    machine_need();
    advertise_finish(advertise);
    assert_in_range(uv_hrtime() - before, 0, 3500000000);
    assert_true(receive(&heard));
    assert_memory_equal(heard.bytes + 24, over, 16);
    assert_memory_equal(heard.bytes + 56, no_servers, 8);
    assert_false(hears(&heard, 1000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_interface_comes),
        cmocka_unit_test(test_who_asks_is_answered),
        cmocka_unit_test(test_an_interface_goes_and_comes),
        cmocka_unit_test(test_another_sender_is_warned_of_once),
        cmocka_unit_test(test_a_change_withdraws),
        cmocka_unit_test(test_the_end_is_told),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
