/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One request and its answers: shared by the files netlink*.c, of no use to others.
 */
#ifndef CONTROL_NETLINK_SOCKET_H
#define CONTROL_NETLINK_SOCKET_H

#include <libmnl/libmnl.h>

#include "control/netlink.h"

enum {
    NETLINK_REQUEST = 1024,
    NETLINK_ANSWER = 32768, /* the kernel fills up to this much with one answer of a walk */
};

struct netlink {
    struct mnl_socket *socket;
    unsigned sequence;
    _Alignas(struct nlmsghdr) char request[NETLINK_REQUEST];
    _Alignas(struct nlmsghdr) char answer[NETLINK_ANSWER];
};

/* Starts a message of the type in netlink->request. */
struct nlmsghdr *netlink_request(struct netlink *netlink, uint16_t type, uint16_t flags);

/* Sends it and gives every answer to `visit` (NULL: none expected). Returns 0 or an errno. */
int netlink_exchange(struct netlink *netlink, const struct nlmsghdr *message, mnl_cb_t visit, void *context);

/* Fills a message, whose header is put already, with a unicast route to a device. */
void netlink_put_route(struct nlmsghdr *message, bool add, const struct network *to, unsigned index);

#endif /* CONTROL_NETLINK_SOCKET_H */
