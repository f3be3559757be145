/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Very many TCP connections at once, one end or the other: a program for the end-to-end tests.
 *
 *     many_connections serve ADDRESS PORT
 *         prints "ready", then echoes every byte; ends by a signal
 *     many_connections hold ADDRESS PORT FIRST COUNT SOURCE...
 *         holds up to COUNT connections, spread over the source addresses; their numbers begin with FIRST.
 *         It obeys lines on stdin and answers each with one line:
 *             open N            N more connections, each proved by an echo     "opened ALL"
 *             send FROM STEP    a message on connection FROM, FROM + STEP, ... "sent N"
 *             echo              a message on each, and the echo of all sent    "echoed N"
 *         Each answer goes on with "; N failed, the first: REASON" if any connection has failed so far.
 *
 * A process is one thread and one epoll set. A message is eight bytes: the connection's number and how many
 * messages went before. So an echo that belongs to another connection, comes twice or has a hole in front of
 * it is a failure. What is sent waits in a window: a new connection or message starts when an older one has
 * come to its end, so the other side, the queues on the way and the listener's backlog are never flooded.
 *
 * Both ends leave their connections by a reset: two hundred thousand of them waiting in TIME-WAIT would hold
 * up the end of the test and serve nobody.
 */
#include <errno.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <netinet/in.h>

enum {
    BACKLOG = 4096,
    WINDOW = 32, /* connections or messages under way at a time */
    EVENTS = 256,
    PATIENCE = 30, /* seconds without any sign from any connection */
    SOURCES_MAXIMUM = 16,
    CONNECTIONS_MAXIMUM = 1000000,
};

struct message {
    uint32_t number, serial;
};

struct connection {
    int socket;              /* -1: not opened, or failed */
    uint32_t sent, received; /* messages; bytes */
    bool connecting, awaited;
};

struct address {
    struct sockaddr_storage at;
    socklen_t size;
};

struct holder {
    struct address server, sources[SOURCES_MAXIMUM];
    uint32_t source_count;
    uint32_t first, count, opened;
    int epoll;
    uint32_t awaited; /* connections */
    uint32_t failures;
    char failure[128]; /* the first */
    struct connection *connections;
};

static _Noreturn void give_up(const char *what)
{
    fprintf(stderr, "many_connections: %s: %s\n", what, strerror(errno));
    exit(EXIT_FAILURE);
}

static uint32_t number_argument(const char *text, uint32_t most)
{
    char *end;
    errno = EINVAL;
    unsigned long number = strtoul(text, &end, 10);
    if (*text == '\0' || *end != '\0' || number > most)
        give_up(text);
    return (uint32_t)number;
}

static void address_argument(struct address *address, const char *host, const char *port)
{
    const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found;
    errno = EINVAL;
    if (getaddrinfo(host, port, &hints, &found) != 0)
        give_up(host);
    memcpy(&address->at, found->ai_addr, found->ai_addrlen);
    address->size = found->ai_addrlen;
    freeaddrinfo(found);
}

static void raise_file_limit(void)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static void leave_by_reset(int socket)
{
    const struct linger linger = {.l_onoff = 1};
    setsockopt(socket, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}

static void watch(int epoll, int operation, int socket, struct epoll_event event)
{
    if (epoll_ctl(epoll, operation, socket, &event) != 0)
        give_up("epoll_ctl");
}

/* The server. */

static void accept_all(int epoll, int listener)
{
    int peer;
    while ((peer = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        leave_by_reset(peer);
        watch(epoll, EPOLL_CTL_ADD, peer, (struct epoll_event){.events = EPOLLIN, .data.fd = peer});
    }
    if (errno != EAGAIN && errno != ECONNABORTED)
        give_up("accept");
}

static void echo_back(int peer)
{
    char data[4096];
    ssize_t length = read(peer, data, sizeof(data));
    if (length <= 0 ? length == 0 || errno != EAGAIN : write(peer, data, (size_t)length) != length)
        close(peer);
}

static void serve(const struct address *address)
{
    int listener = socket(address->at.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    if (listener < 0 || epoll < 0 || bind(listener, (const void *)&address->at, address->size) != 0 ||
        listen(listener, BACKLOG) != 0)
        give_up("listen");
    watch(epoll, EPOLL_CTL_ADD, listener, (struct epoll_event){.events = EPOLLIN, .data.fd = listener});
    puts("ready");
    fflush(stdout);
    for (;;) {
        struct epoll_event events[EVENTS];
        int n = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            if (events[i].data.fd == listener)
                accept_all(epoll, listener);
            else
                echo_back(events[i].data.fd);
        }
    }
}

/* The holder. */

static void settle(struct holder *holder, struct connection *connection)
{
    if (connection->awaited) {
        connection->awaited = false;
        holder->awaited--;
    }
}

static void await(struct holder *holder, struct connection *connection)
{
    if (!connection->awaited) {
        connection->awaited = true;
        holder->awaited++;
    }
}

static void fail(struct holder *holder, struct connection *connection, const char *reason)
{
    if (holder->failures++ == 0)
        snprintf(holder->failure, sizeof(holder->failure), "number %u: %s",
                 holder->first + (uint32_t)(connection - holder->connections), reason);
    close(connection->socket);
    connection->socket = -1;
    settle(holder, connection);
}

static bool send_message(struct holder *holder, struct connection *connection)
{
    struct message message = {.number = holder->first + (uint32_t)(connection - holder->connections),
                              .serial = connection->sent};
    ssize_t length = send(connection->socket, &message, sizeof(message), MSG_NOSIGNAL);
    if (length == sizeof(message)) {
        connection->sent++;
        return true;
    }
    fail(holder, connection, length < 0 ? strerror(errno) : "its send buffer is full");
    return false;
}

static void open_connection(struct holder *holder, uint32_t index)
{
    struct connection *connection = &holder->connections[index];
    const struct address *source = &holder->sources[index % holder->source_count];
    static const int on = 1;
    int fd = socket(source->at.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        give_up("socket");
    leave_by_reset(fd);
    setsockopt(fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
    *connection = (struct connection){.socket = fd, .connecting = true};
    holder->opened++;
    await(holder, connection);
    if (bind(fd, (const void *)&source->at, source->size) != 0)
        give_up("bind");
    if (connect(fd, (const void *)&holder->server.at, holder->server.size) == 0 || errno == EINPROGRESS)
        watch(holder->epoll, EPOLL_CTL_ADD, fd, (struct epoll_event){.events = EPOLLOUT, .data.u32 = index});
    else
        fail(holder, connection, strerror(errno));
}

static void on_connected(struct holder *holder, struct connection *connection)
{
    int error = 0;
    socklen_t size = sizeof(error);
    getsockopt(connection->socket, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) {
        fail(holder, connection, strerror(error));
        return;
    }
    connection->connecting = false;
    if (send_message(holder, connection))
        watch(holder->epoll, EPOLL_CTL_MOD, connection->socket,
              (struct epoll_event){.events = EPOLLIN,
                                   .data.u32 = (uint32_t)(connection - holder->connections)});
}

/* Whether the bytes are what was sent on this connection from where the last echo ended. */
static bool is_echo(const struct holder *holder, const struct connection *connection, const char *data,
                    size_t length)
{
    struct message message = {.number = holder->first + (uint32_t)(connection - holder->connections)};
    for (size_t i = 0; i < length; i++) {
        uint32_t at = connection->received + (uint32_t)i;
        message.serial = at / (uint32_t)sizeof(message);
        if (message.serial >= connection->sent || data[i] != ((const char *)&message)[at % sizeof(message)])
            return false;
    }
    return true;
}

static void on_echo(struct holder *holder, struct connection *connection)
{
    char data[512];
    ssize_t length = read(connection->socket, data, sizeof(data));
    if (length < 0 && errno == EAGAIN)
        return;
    if (length <= 0) {
        fail(holder, connection, length < 0 ? strerror(errno) : "closed by the server");
        return;
    }
    if (!is_echo(holder, connection, data, (size_t)length)) {
        fail(holder, connection, "an echo of something else");
        return;
    }
    connection->received += (uint32_t)length;
    if (connection->received == connection->sent * sizeof(struct message))
        settle(holder, connection);
}

static void fail_awaited(struct holder *holder)
{
    for (uint32_t i = 0; i < holder->opened; i++)
        if (holder->connections[i].awaited)
            fail(holder, &holder->connections[i], "no answer");
}

/* Handles what has come in; waits until at most `most` connections are awaited. */
static void drain(struct holder *holder, uint32_t most)
{
    while (holder->awaited > most) {
        struct epoll_event events[EVENTS];
        int n = epoll_wait(holder->epoll, events, EVENTS, PATIENCE * 1000);
        if (n <= 0)
            fail_awaited(holder);
        for (int i = 0; i < n; i++) {
            struct connection *connection = &holder->connections[events[i].data.u32];
            if (connection->connecting)
                on_connected(holder, connection);
            else
                on_echo(holder, connection);
        }
    }
}

static uint32_t open_more(struct holder *holder, uint32_t more)
{
    uint32_t until = more < holder->count - holder->opened ? holder->opened + more : holder->count;
    for (uint32_t i = holder->opened; i < until; i++) {
        open_connection(holder, i);
        drain(holder, WINDOW - 1);
    }
    drain(holder, 0);
    return holder->opened - holder->failures;
}

static uint32_t send_some(struct holder *holder, uint32_t from, uint32_t step)
{
    uint32_t sent = 0;
    for (uint32_t i = from; i < holder->opened; i += step)
        if (holder->connections[i].socket >= 0 && send_message(holder, &holder->connections[i]))
            sent++;
    return sent;
}

static uint32_t echo_all(struct holder *holder)
{
    for (uint32_t i = 0; i < holder->opened; i++) {
        if (holder->connections[i].socket < 0 || !send_message(holder, &holder->connections[i]))
            continue;
        await(holder, &holder->connections[i]);
        drain(holder, WINDOW - 1);
    }
    drain(holder, 0);
    return holder->opened - holder->failures;
}

static void answer(const struct holder *holder, const char *what, uint32_t n)
{
    printf("%s %u", what, n);
    if (holder->failures > 0)
        printf("; %u failed, the first: %s", holder->failures, holder->failure);
    putchar('\n');
    fflush(stdout);
}

static void obey(struct holder *holder)
{
    char line[128];
    unsigned a, b;
    while (fgets(line, sizeof(line), stdin) != NULL) {
        if (sscanf(line, "open %u", &a) == 1)
            answer(holder, "opened", open_more(holder, a));
        else if (sscanf(line, "send %u %u", &a, &b) == 2 && b > 0)
            answer(holder, "sent", send_some(holder, a, b));
        else if (strcmp(line, "echo\n") == 0)
            answer(holder, "echoed", echo_all(holder));
        else
            answer(holder, "not understood", 0);
    }
}

static void hold(struct holder *holder, int sources, char **source)
{
    for (int i = 0; i < sources && i < SOURCES_MAXIMUM; i++)
        address_argument(&holder->sources[holder->source_count++], source[i], "0");
    holder->epoll = epoll_create1(EPOLL_CLOEXEC);
    holder->connections = calloc(holder->count, sizeof(*holder->connections));
    if (holder->epoll < 0 || (holder->connections == NULL && holder->count > 0))
        give_up("no memory");
    obey(holder);
    for (uint32_t i = 0; i < holder->opened; i++)
        if (holder->connections[i].socket >= 0)
            close(holder->connections[i].socket);
    close(holder->epoll);
    free(holder->connections);
}

int main(int argc, char **argv)
{
    struct holder holder = {0};
    raise_file_limit();
    if (argc == 4 && strcmp(argv[1], "serve") == 0) {
        address_argument(&holder.server, argv[2], argv[3]);
        serve(&holder.server);
    }
    if (argc < 7 || strcmp(argv[1], "hold") != 0) {
        fputs("usage: many_connections serve ADDRESS PORT\n"
              "       many_connections hold ADDRESS PORT FIRST COUNT SOURCE...\n",
              stderr);
        return 2;
    }
    address_argument(&holder.server, argv[2], argv[3]);
    holder.first = number_argument(argv[4], UINT32_MAX / 2);
    holder.count = number_argument(argv[5], CONNECTIONS_MAXIMUM);
    hold(&holder, argc - 6, argv + 6);
    return EXIT_SUCCESS;
}
