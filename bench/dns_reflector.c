/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * dns_reflector ADDRESS PORT
 *
 * The fastest name server that there can be: it sends each datagram back with the bit set that makes it a
 * response. What a load generator reaches against it is the generator's own limit, and the kernel's. Ends
 * with the process that started it, or on a signal.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { BATCH = 32, DATAGRAM = 512 };

static int open_socket(const char *address, const char *port)
{
    struct sockaddr_in6 here = {.sin6_family = AF_INET6,
                                .sin6_port = htons((uint16_t)strtoul(port, NULL, 10))};
    int size = 4 << 20;
    int handle = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (inet_pton(AF_INET6, address, &here.sin6_addr) != 1 || handle < 0 ||
        setsockopt(handle, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) != 0 ||
        bind(handle, (struct sockaddr *)&here, sizeof(here)) != 0)
        return -1;
    return handle;
}

int main(int count, char **arguments)
{
    static uint8_t bytes[BATCH][DATAGRAM];
    static struct sockaddr_in6 from[BATCH];
    struct iovec pieces[BATCH];
    struct mmsghdr messages[BATCH] = {0};
    int handle = count == 3 ? open_socket(arguments[1], arguments[2]) : -1;
    if (handle < 0) {
        fprintf(stderr, "usage: dns_reflector ADDRESS PORT (%s)\n", strerror(errno));
        return 2;
    }
    while (1) {
        for (int i = 0; i < BATCH; i++) {
            pieces[i] = (struct iovec){.iov_base = bytes[i], .iov_len = DATAGRAM};
            messages[i].msg_hdr = (struct msghdr){
                .msg_name = &from[i], .msg_namelen = sizeof(from[i]), .msg_iov = &pieces[i], .msg_iovlen = 1};
        }
        int got = recvmmsg(handle, messages, BATCH, MSG_WAITFORONE, NULL);
        if (got < 0)
            return 1;
        for (int i = 0; i < got; i++) {
            bytes[i][2] |= 0x80;
            pieces[i].iov_len = messages[i].msg_len;
        }
        if (sendmmsg(handle, messages, (unsigned)got, 0) < 0 && errno != ENOBUFS)
            return 1;
    }
}
