/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * TCP. A connection carries any number of queries, answered in the order in which they are ready (RFC 7766
 * sections 6.2.1.1 and 7), and ends when the client has closed its side and has all answers, or when nothing
 * comes of it any more.
 *
 * What a connection can cost is bounded in each direction: input by QUERY_MAXIMUM, queries under way by
 * TCP_UNDER_WAY, output by TCP_UNREAD and one reply. Who reaches one of the last two is not read from until
 * there is room again; the kernel's window then tells the client.
 *
 * All connections stand in a list, in the order in which each was last of use: a complete query came, or all
 * replies had gone. What has been of no use for dns64.tcp.idle is closed, from the front of the list, with
 * one timer. A byte now and then is of no use, nor is reading one now and then: neither moves a connection in
 * the list. When all dns64.tcp.connections are taken, a newcomer gets the place of the first in the list that
 * has no query under way (RFC 7766 section 6.2.3), and only if there is none is it turned away.
 *
 * A connection that is closed while queries of it are under way stays as a shell until their answers come.
 */
#define _GNU_SOURCE 1 /* accept4 */

#include "dns64/tcp.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>

#include "dns64/queries.h"
#include "dns64/sockets.h"

enum {
    LENGTH = 2, /* bytes of the length in front of a message, RFC 1035 section 4.2.2 */
    BACKLOG = 512,
    ACCEPTS = 32,             /* connections accepted before others have their turn */
    ANYBODY = WORKER_SHARES,  /* no share of a client */
    SEARCH = 16,              /* connections looked at to find one that can be closed */
    PAUSE_MILLISECONDS = 100, /* for which none is accepted where descriptors are short */
};

struct tcp_connection {
    struct tcp_connection *older, *newer; /* in the list of all */
    struct tcp_connection *next_resumed;
    struct dns_worker *worker;
    struct bufferevent *stream; /* NULL: closed, a shell */
    struct reply_path path;
    uint64_t useful; /* nanoseconds: when it was last of use */
    uint32_t share;  /* that it counts for */
    uint32_t under_way;
    bool ended;    /* the client sends no more */
    bool paused;   /* it is not read from */
    bool resuming; /* stands in the list of those */
};

struct tcp_socket {
    struct dns_worker *worker;
    int fd;
    struct event *readable;
};

struct tcp {
    struct tcp_connection *oldest, *newest;
    struct tcp_connection *resumed;
    struct event *idle_timer, *pause_timer;
    uint16_t shares[WORKER_SHARES]; /* connections of each client */
    uint32_t count;
    struct tcp_socket sockets[SERVER_LISTENS];
    uint8_t reply[LENGTH + DNS_MESSAGE_MAX];
};

/*** The list ***/

static void unlist(struct tcp_connection *connection)
{
    struct tcp *tcp = connection->worker->tcp;
    *(connection->older != NULL ? &connection->older->newer : &tcp->oldest) = connection->newer;
    *(connection->newer != NULL ? &connection->newer->older : &tcp->newest) = connection->older;
}

static void list(struct tcp_connection *connection)
{
    struct tcp *tcp = connection->worker->tcp;
    connection->newer = NULL;
    connection->older = tcp->newest;
    *(tcp->newest != NULL ? &tcp->newest->newer : &tcp->oldest) = connection;
    tcp->newest = connection;
}

static uint64_t idle_time(const struct dns_worker *worker)
{
    return (uint64_t)worker->server->options.tcp_idle * 1000 * NANOSECONDS_A_MILLISECOND;
}

static void set_idle_timer(struct dns_worker *worker)
{
    struct tcp *tcp = worker->tcp;
    if (tcp->oldest != NULL && !evtimer_pending(tcp->idle_timer, NULL))
        dns_worker_set_timer(worker, tcp->idle_timer, tcp->oldest->useful + idle_time(worker));
}

/* It is of use: to the end of the list. */
static void renew(struct tcp_connection *connection)
{
    connection->useful = connection->worker->now;
    if (connection->newer == NULL)
        return;
    unlist(connection);
    list(connection);
}

/*** Its end ***/

/* Has it looked at when the callbacks of this round are through; until then the structure stays. */
static void resume_later(struct tcp_connection *connection)
{
    struct tcp *tcp = connection->worker->tcp;
    if (connection->resuming)
        return;
    connection->resuming = true;
    connection->next_resumed = tcp->resumed;
    tcp->resumed = connection;
    dns_worker_defer(connection->worker);
}

/* Closes it; the structure goes when no query needs it, and not before this round is over. */
static void shut(struct tcp_connection *connection)
{
    if (connection->stream == NULL)
        return;
    unlist(connection);
    bufferevent_free(connection->stream);
    connection->stream = NULL;
    connection->worker->tcp->shares[connection->share]--;
    atomic_fetch_sub_explicit(&connection->worker->server->connections, 1, memory_order_relaxed);
    resume_later(connection);
}

static size_t unsent(const struct tcp_connection *connection)
{
    return evbuffer_get_length(bufferevent_get_output(connection->stream));
}

/* Closes it if the client has closed its side and has got everything. */
static void shut_if_done(struct tcp_connection *connection)
{
    if (connection->ended && !connection->paused && connection->under_way == 0 && unsent(connection) == 0)
        shut(connection);
}

/*** Queries ***/

static bool is_full(const struct tcp_connection *connection)
{
    return connection->under_way >= TCP_UNDER_WAY || unsent(connection) > TCP_UNREAD;
}

/* A message that is longer than any query: what is there of it is shown, nothing is answered. */
static void note_long(struct tcp_connection *connection, struct evbuffer *input)
{
    size_t there = evbuffer_get_length(input);
    const uint8_t *bytes = evbuffer_pullup(input, -1);
    if (bytes == NULL)
        return;
    dns_worker_count(connection->worker, DNS64_QUERIES_TCP);
    queries_note(connection->worker,
                 &(struct arrival){
                     .bytes = bytes + LENGTH, .size = there - LENGTH, .cut = true, .path = &connection->path},
                 DNS64_MALFORMED);
}

/* Takes one message off the input; false if there is no whole one, or the connection is to be closed. */
static bool take_message(struct tcp_connection *connection, bool *bad)
{
    struct evbuffer *input = bufferevent_get_input(connection->stream);
    size_t there = evbuffer_get_length(input), length;
    uint8_t prefix[LENGTH];
    const uint8_t *bytes;
    if (there < LENGTH)
        return false;
    evbuffer_copyout(input, prefix, LENGTH);
    length = (size_t)prefix[0] << 8 | prefix[1];
    *bad = length > QUERY_MAXIMUM;
    if (*bad)
        note_long(connection, input);
    if (*bad || there < LENGTH + length)
        return false;
    bytes = evbuffer_pullup(input, (ev_ssize_t)(LENGTH + length));
    *bad = bytes == NULL ||
           !queries_receive(
               connection->worker,
               &(struct arrival){.bytes = bytes + LENGTH, .size = length, .path = &connection->path});
    evbuffer_drain(input, LENGTH + length);
    renew(connection);
    return !*bad;
}

/* Reads what has come as far as there is room for it. */
static void take_messages(struct tcp_connection *connection)
{
    bool bad = false;
    bool full = is_full(connection);
    while (!full && take_message(connection, &bad))
        full = is_full(connection);
    if (bad) {
        shut(connection);
        return;
    }
    if (full != connection->paused) {
        connection->paused = full;
        if (full)
            bufferevent_disable(connection->stream, EV_READ);
        else if (!connection->ended)
            bufferevent_enable(connection->stream, EV_READ);
    }
    shut_if_done(connection);
}

static void on_input(struct bufferevent *stream, void *context)
{
    struct tcp_connection *connection = context;
    (void)stream;
    dns_worker_tick(connection->worker);
    take_messages(connection);
}

/* Little or nothing is left to be sent. */
static void on_output(struct bufferevent *stream, void *context)
{
    struct tcp_connection *connection = context;
    (void)stream;
    dns_worker_tick(connection->worker);
    if (unsent(connection) == 0)
        renew(connection);
    if (connection->paused)
        take_messages(connection);
    else
        shut_if_done(connection);
}

static void on_end(struct bufferevent *stream, short what, void *context)
{
    struct tcp_connection *connection = context;
    (void)stream;
    dns_worker_tick(connection->worker);
    if ((what & BEV_EVENT_EOF) != 0 && (what & BEV_EVENT_READING) != 0) {
        connection->ended = true;
        take_messages(connection);
    } else {
        shut(connection);
    }
}

/*** Replies ***/

uint8_t *tcp_reply_begin(struct dns_worker *worker)
{
    return worker->tcp->reply + LENGTH;
}

void tcp_reply_end(struct dns_worker *worker, const struct reply_path *path, size_t size)
{
    uint8_t *reply = worker->tcp->reply;
    struct bufferevent *stream = path->connection->stream;
    reply[0] = (uint8_t)(size >> 8);
    reply[1] = (uint8_t)size;
    if (stream == NULL || bufferevent_write(stream, reply, LENGTH + size) != 0)
        dns_worker_count(worker, DNS64_SEND_ERRORS);
}

bool tcp_is_open(const struct tcp_connection *connection)
{
    return connection->stream != NULL;
}

void tcp_hold(struct tcp_connection *connection)
{
    connection->under_way++;
}

void tcp_release(struct tcp_connection *connection)
{
    connection->under_way--;
    /* Not at once: this may be in the midst of replies to others who wait for the same answer. */
    resume_later(connection);
}

void tcp_resume(struct dns_worker *worker)
{
    struct tcp_connection *connection;
    while ((connection = worker->tcp->resumed) != NULL) {
        worker->tcp->resumed = connection->next_resumed;
        connection->resuming = false;
        if (connection->stream != NULL)
            take_messages(connection);
        else if (connection->under_way == 0)
            free(connection);
    }
}

struct sockaddr_in6 tcp_local(const struct tcp_connection *connection)
{
    union socket_address local = {.any.sa_family = AF_INET6};
    socklen_t length = sizeof(local);
    getsockname(bufferevent_getfd(connection->stream), &local.any, &length);
    return socket_address_told(&local);
}

/*** Its beginning ***/

/* Closes what was of no use for longest and has no query under way, of this client or of ANYBODY. */
static bool make_room(struct dns_worker *worker, uint32_t share)
{
    struct tcp_connection *connection = worker->tcp->oldest;
    for (int i = 0; i < SEARCH && connection != NULL; i++, connection = connection->newer) {
        if (connection->under_way == 0 && (share == ANYBODY || share == connection->share)) {
            dns_worker_count(worker, DNS64_TCP_IDLE);
            shut(connection);
            return true;
        }
    }
    return false;
}

/* The connections that one client may have: half of what a worker has when all have equally many. */
static uint32_t share_size(const struct server *server)
{
    return server->options.tcp_connections / server->worker_count / 2 + 1;
}

/* Takes one of the places that all workers share; false if there is none for this client. */
static bool take_place(struct dns_worker *worker, uint32_t share)
{
    struct server *server = worker->server;
    uint32_t before;
    if (worker->tcp->shares[share] >= share_size(server) && !make_room(worker, share))
        return false;
    before = atomic_fetch_add_explicit(&server->connections, 1, memory_order_relaxed);
    if (before < server->options.tcp_connections || make_room(worker, ANYBODY))
        return true;
    atomic_fetch_sub_explicit(&server->connections, 1, memory_order_relaxed);
    return false;
}

static bool begin(struct tcp_connection *connection, int fd)
{
    struct dns_worker *worker = connection->worker;
    const int on = 1;
    connection->stream = bufferevent_socket_new(worker->base, fd, BEV_OPT_CLOSE_ON_FREE);
    if (connection->stream == NULL)
        return false;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    connection->useful = worker->now;
    connection->share = dns_worker_share(worker, &connection->path.client);
    worker->tcp->shares[connection->share]++;
    list(connection);
    bufferevent_setcb(connection->stream, on_input, on_output, on_end, connection);
    bufferevent_setwatermark(connection->stream, EV_READ, 0, LENGTH + QUERY_MAXIMUM);
    bufferevent_setwatermark(connection->stream, EV_WRITE, TCP_CATCH_UP, 0);
    bufferevent_enable(connection->stream, EV_READ | EV_WRITE);
    set_idle_timer(worker);
    return true;
}

static void welcome(struct dns_worker *worker, int fd, const union socket_address *from)
{
    const struct ipv6_address client = socket_address_client(from);
    struct tcp_connection *connection = NULL;
    if (!take_place(worker, dns_worker_share(worker, &client))) {
        dns_worker_count(worker, DNS64_TCP_REFUSED);
        close(fd);
        return;
    }
    dns_worker_count(worker, DNS64_TCP_ACCEPTED);
    connection = calloc(1, sizeof(*connection));
    if (connection != NULL) {
        connection->worker = worker;
        connection->path = (struct reply_path){.connection = connection, .from = *from, .client = client};
        if (begin(connection, fd))
            return;
        free(connection);
    }
    close(fd);
    atomic_fetch_sub_explicit(&worker->server->connections, 1, memory_order_relaxed);
}

static void listen_on(struct tcp *tcp, bool accepting)
{
    for (uint32_t i = 0; i < tcp->count; i++) {
        if (accepting)
            event_add(tcp->sockets[i].readable, NULL);
        else
            event_del(tcp->sockets[i].readable);
    }
}

static void on_connection(int fd, short what, void *context)
{
    struct dns_worker *worker = ((struct tcp_socket *)context)->worker;
    (void)what;
    dns_worker_tick(worker);
    for (int i = 0; i < ACCEPTS; i++) {
        union socket_address from = {.any.sa_family = AF_UNSPEC};
        socklen_t length = sizeof(from);
        int accepted = accept4(fd, &from.any, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (accepted >= 0) {
            welcome(worker, accepted, &from);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            /* It would be tried again at once, and again; better when something has been given back. */
            listen_on(worker->tcp, false);
            dns_worker_set_timer(worker, worker->tcp->pause_timer,
                                 worker->now + (uint64_t)PAUSE_MILLISECONDS * NANOSECONDS_A_MILLISECOND);
            return;
        } else if (errno != ECONNABORTED && errno != EINTR) {
            return;
        }
    }
}

static void on_pause_timer(int fd, short what, void *context)
{
    struct dns_worker *worker = context;
    (void)fd;
    (void)what;
    listen_on(worker->tcp, true);
}

static void on_idle_timer(int fd, short what, void *context)
{
    struct dns_worker *worker = context;
    struct tcp *tcp = worker->tcp;
    (void)fd;
    (void)what;
    dns_worker_tick(worker);
    while (tcp->oldest != NULL && worker->now - tcp->oldest->useful >= idle_time(worker)) {
        struct tcp_connection *connection = tcp->oldest;
        if (connection->under_way != 0 && unsent(connection) == 0) {
            renew(connection); /* it waits for us, not we for it */
        } else {
            dns_worker_count(worker, DNS64_TCP_IDLE);
            shut(connection);
        }
    }
    set_idle_timer(worker);
}

/*** Setting up ***/

static bool open_socket(struct dns_worker *worker, uint32_t number, char *error, size_t size)
{
    struct tcp_socket *socket = &worker->tcp->sockets[number];
    const struct socket_wish wish = {&worker->server->options.listens[number], SOCK_STREAM};
    socket->worker = worker;
    socket->fd = socket_open(&wish, error, size);
    if (socket->fd < 0)
        return false;
    worker->tcp->count++;
    if (listen(socket->fd, BACKLOG) != 0)
        return false;
    socket->readable = event_new(worker->base, socket->fd, EV_READ | EV_PERSIST, on_connection, socket);
    return socket->readable != NULL && event_add(socket->readable, NULL) == 0;
}

bool tcp_open(struct dns_worker *worker, char *error, size_t size)
{
    struct tcp *tcp = calloc(1, sizeof(*tcp));
    worker->tcp = tcp;
    if (tcp == NULL)
        return false;
    tcp->idle_timer = evtimer_new(worker->base, on_idle_timer, worker);
    tcp->pause_timer = evtimer_new(worker->base, on_pause_timer, worker);
    if (tcp->idle_timer == NULL || tcp->pause_timer == NULL)
        return false;
    for (uint32_t i = 0; i < worker->server->options.listen_count; i++) {
        if (!open_socket(worker, i, error, size))
            return false;
    }
    return true;
}

void tcp_close(struct dns_worker *worker)
{
    struct tcp *tcp = worker->tcp;
    if (tcp == NULL)
        return;
    while (tcp->oldest != NULL)
        shut(tcp->oldest);
    tcp_resume(worker);
    for (uint32_t i = 0; i < tcp->count; i++) {
        if (tcp->sockets[i].readable != NULL)
            event_free(tcp->sockets[i].readable);
        close(tcp->sockets[i].fd);
    }
    if (tcp->idle_timer != NULL)
        event_free(tcp->idle_timer);
    if (tcp->pause_timer != NULL)
        event_free(tcp->pause_timer);
    free(tcp);
}

size_t tcp_memory(void)
{
    return sizeof(struct tcp);
}
