/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Routes by the thousand. A batch of requests goes to the kernel as one message after the other in one
 * datagram; only the last asks for an answer, while each that fails gets one anyway. A batch is so small that
 * the answers fit into the socket's buffer even if all of it fails.
 */
#include <errno.h>
#include <linux/rtnetlink.h>

#include "control/netlink_socket.h"

enum {
    BATCH = 100,        /* requests */
    ROUTE_MESSAGE = 64, /* bytes, at most: headers of 16 and 12, an address of 20, a device of 8 */
};

/* A run of routes under way. */
struct batch {
    struct netlink *netlink;
    bool add;
    const struct network *to;
    size_t count;
    unsigned index;
    size_t failed; /* number of the first route that failed */
    int error;     /* and why; 0: none did */
};

static int send_batch(const struct batch *batch, size_t first, size_t end)
{
    _Alignas(struct nlmsghdr) char bytes[BATCH * ROUTE_MESSAGE];
    uint16_t flags = batch->add ? NLM_F_CREATE | NLM_F_EXCL : 0;
    size_t length = 0;
    for (size_t i = first; i < end; i++) {
        struct nlmsghdr *message = mnl_nlmsg_put_header(bytes + length);
        message->nlmsg_type = batch->add ? RTM_NEWROUTE : RTM_DELROUTE;
        message->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags | (i + 1 == end ? NLM_F_ACK : 0));
        message->nlmsg_seq = batch->netlink->sequence + 1 + (unsigned)(i - first);
        netlink_put_route(message, batch->add, &batch->to[i], batch->index);
        length += message->nlmsg_len; /* which is aligned, as all that is in it */
    }
    return mnl_socket_sendto(batch->netlink->socket, bytes, length) < 0 ? errno : 0;
}

/* One answer; true: it was the last request's. */
static bool take_answer(struct batch *batch, const struct nlmsghdr *message, size_t first, size_t end)
{
    const struct nlmsgerr *answer = mnl_nlmsg_get_payload(message);
    size_t number = first + (message->nlmsg_seq - batch->netlink->sequence - 1);
    if (message->nlmsg_type != NLMSG_ERROR || number >= end)
        return false;
    int error = -answer->error;
    if (error != 0 && batch->error == 0 && (batch->add || error != ESRCH)) {
        batch->error = error;
        batch->failed = number;
    }
    return number + 1 == end;
}

static int await_answers(struct batch *batch, size_t first, size_t end)
{
    struct netlink *netlink = batch->netlink;
    bool last = false;
    while (!last) {
        ssize_t length = mnl_socket_recvfrom(netlink->socket, netlink->answer, sizeof(netlink->answer));
        if (length < 0)
            return errno;
        const struct nlmsghdr *message = (const struct nlmsghdr *)netlink->answer;
        for (int left = (int)length; mnl_nlmsg_ok(message, left); message = mnl_nlmsg_next(message, &left))
            last |= take_answer(batch, message, first, end);
    }
    return 0;
}

static int change_routes(struct batch *batch, size_t *failed)
{
    for (size_t first = 0; first < batch->count; first += BATCH) {
        size_t end = batch->count - first < BATCH ? batch->count : first + BATCH;
        int error = send_batch(batch, first, end);
        if (error == 0)
            error = await_answers(batch, first, end);
        batch->netlink->sequence += (unsigned)(end - first);
        if (error != 0) { /* the socket's, not a route's: there is no sense in going on */
            *failed = first;
            return error;
        }
    }
    *failed = batch->failed;
    return batch->error;
}

int netlink_routes_add(struct netlink *netlink, const struct network *to, size_t count, unsigned index,
                       size_t *failed)
{
    struct batch batch = {.netlink = netlink, .add = true, .to = to, .count = count, .index = index};
    return change_routes(&batch, failed);
}

int netlink_routes_remove(struct netlink *netlink, const struct network *to, size_t count, unsigned index,
                          size_t *failed)
{
    struct batch batch = {.netlink = netlink, .to = to, .count = count, .index = index};
    return change_routes(&batch, failed);
}
