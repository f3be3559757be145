/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * UDP: 32 datagrams in one system call, and their replies in another. A reply is made where it is sent from;
 * if it comes out of the cache, its bytes are copied once, into that place.
 *
 * A socket that listens on all addresses learns of each query where it was sent to, and the reply leaves from
 * there: clients take none from elsewhere. Of the interface that matters only with link-local addresses;
 * otherwise the way back is for the routes to say.
 *
 * Slots stand at an odd number of cache lines from each other: at a multiple of the page size the first lines
 * of all of them would compete for one set of each cache.
 */
#define _GNU_SOURCE 1 /* recvmmsg, in_pktinfo */

#include "dns64/udp.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dns64/queries.h"
#include "dns64/sockets.h"

enum {
    BATCH = 32,
    ROUNDS = 4, /* batches that one socket is given before others have their turn */
    CACHE_LINE = 64,
    SLOT = QUERY_MAXIMUM + CACHE_LINE,
    CONTROL = CMSG_SPACE(sizeof(struct in6_pktinfo)),
};
_Static_assert((int)QUERY_MAXIMUM >= (int)SERVER_UDP_SIZE && (int)QUERY_MAXIMUM >= (int)CACHE_ANSWER_MAXIMUM,
               "a slot takes a reply, and an answer of the cache that becomes one");

struct udp_socket {
    struct dns_worker *worker;
    int fd;
    uint32_t number;
    bool any; /* no address of its own */
    union socket_address address;
    struct event *readable;
};

/* Messages on their way in or out. */
struct batch {
    struct mmsghdr headers[BATCH];
    struct iovec pieces[BATCH];
    union socket_address names[BATCH];
    _Alignas(struct cmsghdr) uint8_t controls[BATCH][CONTROL];
    _Alignas(CACHE_LINE) uint8_t bytes[BATCH][SLOT];
};

struct udp {
    struct batch in, out;
    uint32_t pending; /* replies in `out`, all of one socket */
    uint32_t socket;  /* which */
    bool receiving;   /* a batch is worked on, after which replies go out anyway */
    uint32_t count;
    struct udp_socket sockets[SERVER_LISTENS];
};

/*** Out ***/

/* Puts the address that was asked into the control data. */
static size_t tell_source(uint8_t *control, const struct reply_path *path)
{
    struct cmsghdr *header = (struct cmsghdr *)(void *)control;
    if (path->from.any.sa_family == AF_INET6) {
        const struct in6_pktinfo source = {.ipi6_addr = path->local, .ipi6_ifindex = path->interface};
        *header = (struct cmsghdr){CMSG_LEN(sizeof(source)), IPPROTO_IPV6, IPV6_PKTINFO};
        memcpy(CMSG_DATA(header), &source, sizeof(source));
        return CMSG_SPACE(sizeof(source));
    }
    struct in_pktinfo source = {.ipi_ifindex = 0};
    memcpy(&source.ipi_spec_dst, path->local.s6_addr + 12, sizeof(source.ipi_spec_dst));
    *header = (struct cmsghdr){CMSG_LEN(sizeof(source)), IPPROTO_IP, IP_PKTINFO};
    memcpy(CMSG_DATA(header), &source, sizeof(source));
    return CMSG_SPACE(sizeof(source));
}

uint8_t *udp_reply_begin(struct dns_worker *worker, const struct reply_path *path)
{
    struct udp *udp = worker->udp;
    if (udp->pending == BATCH || (udp->pending != 0 && udp->socket != path->socket))
        udp_flush(worker);
    udp->socket = path->socket;
    return udp->out.bytes[udp->pending];
}

void udp_reply_end(struct dns_worker *worker, const struct reply_path *path, size_t size)
{
    struct udp *udp = worker->udp;
    struct batch *out = &udp->out;
    uint32_t slot = udp->pending++;
    struct msghdr *header = &out->headers[slot].msg_hdr;
    out->names[slot] = path->from;
    out->pieces[slot].iov_len = size;
    header->msg_namelen =
        path->from.any.sa_family == AF_INET6 ? sizeof(path->from.ipv6) : sizeof(path->from.ipv4);
    header->msg_control = NULL;
    header->msg_controllen = 0;
    if (udp->sockets[path->socket].any) {
        header->msg_control = out->controls[slot];
        header->msg_controllen = tell_source(out->controls[slot], path);
    }
    if (!udp->receiving)
        dns_worker_defer(worker);
}

void udp_flush(struct dns_worker *worker)
{
    struct udp *udp = worker->udp;
    uint32_t sent = 0;
    while (sent < udp->pending) {
        int n = sendmmsg(udp->sockets[udp->socket].fd, udp->out.headers + sent, udp->pending - sent,
                         MSG_DONTWAIT);
        if (n > 0) {
            sent += (uint32_t)n;
            continue;
        }
        /* The first of the rest cannot go, and it may be the only one: a client that has no route, say. */
        dns_worker_count(worker, DNS64_SEND_ERRORS);
        sent++;
    }
    udp->pending = 0;
}

struct sockaddr_in6 udp_local(const struct dns_worker *worker, const struct reply_path *path)
{
    const struct udp_socket *socket = &worker->udp->sockets[path->socket];
    struct sockaddr_in6 local = socket_address_told(&socket->address);
    if (socket->any) {
        local.sin6_addr = path->local;
        local.sin6_scope_id = path->interface;
    }
    return local;
}

/*** In ***/

/* Reads from the control data where a query was sent to; false if that is no address of one machine. */
static bool read_local(struct msghdr *message, struct reply_path *path)
{
    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header != NULL;
         header = CMSG_NXTHDR(message, header)) {
        if (header->cmsg_level == IPPROTO_IPV6 && header->cmsg_type == IPV6_PKTINFO) {
            struct in6_pktinfo info;
            memcpy(&info, CMSG_DATA(header), sizeof(info));
            path->local = info.ipi6_addr;
            path->interface = IN6_IS_ADDR_LINKLOCAL(&info.ipi6_addr) ? info.ipi6_ifindex : 0;
            return !IN6_IS_ADDR_MULTICAST(&info.ipi6_addr);
        }
        if (header->cmsg_level == IPPROTO_IP && header->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo info;
            memcpy(&info, CMSG_DATA(header), sizeof(info));
            path->local = (struct in6_addr){.s6_addr = {[10] = 0xff, [11] = 0xff}};
            memcpy(path->local.s6_addr + 12, &info.ipi_addr, sizeof(info.ipi_addr));
            /* They differ if it was sent to a broadcast or multicast address. */
            return info.ipi_addr.s_addr == info.ipi_spec_dst.s_addr;
        }
    }
    return false;
}

static void receive_one(struct udp_socket *socket, uint32_t slot)
{
    struct batch *in = &socket->worker->udp->in;
    struct msghdr *message = &in->headers[slot].msg_hdr;
    struct reply_path path = {.connection = NULL, .from = in->names[slot], .socket = socket->number};
    const struct arrival arrival = {
        .bytes = in->bytes[slot],
        .size = in->headers[slot].msg_len,
        .cut = (message->msg_flags & MSG_TRUNC) != 0,
        .path = &path,
    };
    path.client = socket_address_client(&path.from);
    if (!socket->any || read_local(message, &path)) {
        queries_receive(socket->worker, &arrival);
        return;
    }
    dns_worker_count(socket->worker, DNS64_QUERIES_UDP);
    queries_note(socket->worker, &arrival, DNS64_RESPONSES);
}

/* Makes the slots that were used ready for the next batch. */
static void clear_slots(const struct udp_socket *socket, struct batch *in, int n)
{
    for (int i = 0; i < n; i++) {
        struct msghdr *message = &in->headers[i].msg_hdr;
        message->msg_namelen = sizeof(in->names[i]);
        message->msg_controllen = socket->any ? CONTROL : 0;
        message->msg_flags = 0;
    }
}

static void on_readable(int fd, short what, void *context)
{
    struct udp_socket *socket = context;
    struct dns_worker *worker = socket->worker;
    struct udp *udp = worker->udp;
    int n = BATCH;
    (void)what;
    clear_slots(socket, &udp->in, BATCH);
    udp_flush(worker);
    udp->receiving = true;
    for (int round = 0; n == BATCH && round < ROUNDS; round++) {
        n = recvmmsg(fd, udp->in.headers, BATCH, MSG_DONTWAIT, NULL);
        dns_worker_tick(worker);
        for (int i = 0; i < n; i++)
            receive_one(socket, (uint32_t)i);
        udp_flush(worker);
        clear_slots(socket, &udp->in, n);
    }
    udp->receiving = false;
}

/*** Setting up ***/

static void prepare(struct batch *batch)
{
    for (size_t i = 0; i < BATCH; i++) {
        batch->pieces[i] = (struct iovec){batch->bytes[i], QUERY_MAXIMUM};
        batch->headers[i].msg_hdr = (struct msghdr){
            .msg_name = &batch->names[i],
            .msg_iov = &batch->pieces[i],
            .msg_iovlen = 1,
            .msg_control = batch->controls[i],
        };
    }
}

static bool open_socket(struct dns_worker *worker, uint32_t number, char *error, size_t size)
{
    struct udp_socket *socket = &worker->udp->sockets[number];
    const struct socket_wish wish = {&worker->server->options.listens[number], SOCK_DGRAM};
    *socket = (struct udp_socket){.worker = worker, .number = number};
    socket_address_of(wish.address, &socket->address);
    socket->any = socket_address_any(&socket->address);
    socket->fd = socket_open(&wish, error, size);
    if (socket->fd < 0)
        return false;
    worker->udp->count++;
    socket->readable = event_new(worker->base, socket->fd, EV_READ | EV_PERSIST, on_readable, socket);
    return socket->readable != NULL && event_add(socket->readable, NULL) == 0;
}

bool udp_open(struct dns_worker *worker, char *error, size_t size)
{
    struct udp *udp = aligned_alloc(CACHE_LINE, sizeof(*udp));
    worker->udp = udp;
    if (udp == NULL)
        return false;
    memset(udp, 0, sizeof(*udp));
    prepare(&udp->in);
    prepare(&udp->out);
    for (uint32_t i = 0; i < worker->server->options.listen_count; i++) {
        if (!open_socket(worker, i, error, size))
            return false;
    }
    return true;
}

void udp_close(struct dns_worker *worker)
{
    struct udp *udp = worker->udp;
    if (udp == NULL)
        return;
    for (uint32_t i = 0; i < udp->count; i++) {
        if (udp->sockets[i].readable != NULL)
            event_free(udp->sockets[i].readable);
        close(udp->sockets[i].fd);
    }
    free(udp);
}

size_t udp_memory(void)
{
    return sizeof(struct udp);
}
