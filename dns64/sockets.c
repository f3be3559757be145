/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sockets; the contract is in the header.
 *
 * Workers share a port by SO_REUSEPORT, and the kernel spreads clients over them. The same option lets a
 * second daemon of the same user share it by mistake, and take half of the queries. So before the workers'
 * sockets are opened, the port is tried without that option: if anybody else has it, this fails.
 *
 * Replies are never larger than the minimum MTU of IPv6, so what a client's path is said to take is of no
 * interest; and who sends forged "packet too big" messages to make replies come in fragments, of which one
 * can be replaced, gets none: IPV6_PMTUDISC_OMIT believes nothing but the interface (as NSD, Knot and unbound
 * have it).
 */
#define _GNU_SOURCE 1 /* what Linux has beyond POSIX */

#include "dns64/sockets.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    BUFFER = 1024 * 1024,      /* bytes: some thousand datagrams, in case a worker is held up */
    STREAM_BUFFER = 64 * 1024, /* bytes: the longest message */
    FIRST_FREE_PORT = 1024,
    ADDRESS_TEXT = INET6_ADDRSTRLEN + IF_NAMESIZE + 10,
};

socklen_t socket_address_of(const struct sockaddr_in6 *address, union socket_address *native)
{
    memset(native, 0, sizeof(*native));
    if (!IN6_IS_ADDR_V4MAPPED(&address->sin6_addr)) {
        native->ipv6 = *address;
        return sizeof(native->ipv6);
    }
    native->ipv4.sin_family = AF_INET;
    native->ipv4.sin_port = address->sin6_port;
    memcpy(&native->ipv4.sin_addr, address->sin6_addr.s6_addr + 12, sizeof(native->ipv4.sin_addr));
    return sizeof(native->ipv4);
}

bool socket_address_any(const union socket_address *native)
{
    if (native->any.sa_family == AF_INET)
        return native->ipv4.sin_addr.s_addr == htonl(INADDR_ANY);
    return IN6_IS_ADDR_UNSPECIFIED(&native->ipv6.sin6_addr);
}

/* [2001:db8::53]:53, 192.0.2.53:53 */
static void print(const struct sockaddr_in6 *address, char text[static ADDRESS_TEXT])
{
    char bare[INET6_ADDRSTRLEN] = "?", scope[IF_NAMESIZE] = "";
    unsigned port = ntohs(address->sin6_port);
    if (IN6_IS_ADDR_V4MAPPED(&address->sin6_addr)) {
        inet_ntop(AF_INET, address->sin6_addr.s6_addr + 12, bare, sizeof(bare));
        snprintf(text, ADDRESS_TEXT, "%s:%u", bare, port);
        return;
    }
    inet_ntop(AF_INET6, &address->sin6_addr, bare, sizeof(bare));
    if (address->sin6_scope_id != 0 && if_indextoname(address->sin6_scope_id, scope) != NULL)
        snprintf(text, ADDRESS_TEXT, "[%s%%%s]:%u", bare, scope, port);
    else
        snprintf(text, ADDRESS_TEXT, "[%s]:%u", bare, port);
}

/* The sentence for a failure. */
static void explain(const struct socket_wish *wish, int failure, char *error, size_t size)
{
    const char *protocol = wish->type == SOCK_DGRAM ? "UDP" : "TCP";
    char text[ADDRESS_TEXT];
    print(wish->address, text);
    if (failure == EADDRINUSE)
        snprintf(error, size,
                 "cannot listen on %s: another program has this %s port; `ss -lnp sport = %u` shows which "
                 "(systemd-resolved gives it up with DNSStubListener=no), or name another in dns64.listen",
                 text, protocol, ntohs(wish->address->sin6_port));
    else if ((failure == EACCES || failure == EPERM) && ntohs(wish->address->sin6_port) < FIRST_FREE_PORT)
        snprintf(error, size,
                 "cannot listen on %s: %s ports below 1024 need CAP_NET_BIND_SERVICE; start as root, or name "
                 "another port in dns64.listen",
                 text, protocol);
    else if (failure == EINVAL && IN6_IS_ADDR_LINKLOCAL(&wish->address->sin6_addr))
        snprintf(error, size,
                 "cannot listen on %s: a link-local address is one of an interface; write it behind a %% in "
                 "dns64.listen",
                 text);
    else
        snprintf(error, size, "cannot listen on %s, %s: %s", text, protocol, strerror(failure));
}

/* An option that nothing depends on: the server works without, if less well. */
static void set(int fd, int level, int option, int value)
{
    (void)!setsockopt(fd, level, option, &value, sizeof(value));
}

static void set_options(int fd, const struct socket_wish *wish, const union socket_address *native)
{
    bool ipv6 = native->any.sa_family == AF_INET6;
    int level = ipv6 ? IPPROTO_IPV6 : IPPROTO_IP;
    if (ipv6)
        set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    if (wish->type == SOCK_STREAM) {
        set(fd, SOL_SOCKET, SO_REUSEADDR, 1); /* of TCP this shares nothing: it ends the wait for TIME_WAIT */
        /* Connections inherit these: the kernel would let a client that reads nothing fill megabytes. */
        set(fd, SOL_SOCKET, SO_RCVBUF, STREAM_BUFFER);
        set(fd, SOL_SOCKET, SO_SNDBUF, STREAM_BUFFER);
        return;
    }
    if (socket_address_any(native))
        set(fd, level, ipv6 ? IPV6_RECVPKTINFO : IP_PKTINFO, 1);
    set(fd, level, ipv6 ? IPV6_MTU_DISCOVER : IP_MTU_DISCOVER, IP_PMTUDISC_OMIT); /* the same for both */
    set(fd, SOL_SOCKET, SO_RCVBUF, BUFFER);
    set(fd, SOL_SOCKET, SO_RCVBUFFORCE, BUFFER);
    set(fd, SOL_SOCKET, SO_SNDBUF, BUFFER);
    set(fd, SOL_SOCKET, SO_SNDBUFFORCE, BUFFER);
}

/* Binds; to an address that is not there, too, and then *absent is set. */
static int bind_to(int fd, const union socket_address *native, socklen_t length, bool *absent)
{
    bool ipv6 = native->any.sa_family == AF_INET6;
    *absent = false;
    if (bind(fd, &native->any, length) == 0)
        return 0;
    if (errno != EADDRNOTAVAIL)
        return errno;
    *absent = true;
    set(fd, ipv6 ? IPPROTO_IPV6 : IPPROTO_IP, ipv6 ? IPV6_FREEBIND : IP_FREEBIND, 1);
    return bind(fd, &native->any, length) == 0 ? 0 : errno;
}

/* The socket, or -1 and errno. */
static int open_bound(const struct socket_wish *wish, bool shared, bool *absent)
{
    union socket_address native;
    socklen_t length = socket_address_of(wish->address, &native);
    int fd = socket(native.any.sa_family, wish->type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int failure;
    if (fd < 0)
        return -1;
    set_options(fd, wish, &native);
    if (shared)
        set(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    failure = bind_to(fd, &native, length, absent);
    if (failure == 0)
        return fd;
    close(fd);
    errno = failure;
    return -1;
}

int socket_open(const struct socket_wish *wish, char *error, size_t size)
{
    bool absent;
    int fd = open_bound(wish, true, &absent);
    if (fd < 0)
        explain(wish, errno, error, size);
    return fd;
}

bool socket_probe(const struct socket_wish *wish, char *error, size_t size)
{
    bool absent;
    char text[ADDRESS_TEXT];
    int fd = open_bound(wish, false, &absent);
    if (fd < 0) {
        explain(wish, errno, error, size);
        return false;
    }
    close(fd);
    if (absent) {
        print(wish->address, text);
        snprintf(error, size, "this machine has no address for dns64.listen %s yet: waiting for it", text);
    }
    return true;
}
