/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Small UDP packets of very many sessions at a steady rate: a program for the end-to-end tests.
 *
 *     many_packets PORTS REMOTES FIRST-REMOTE REMOTE-PORT SOURCE...
 *
 * There is a session for each source address, each of PORTS local ports on it, and each of REMOTES addresses
 * counted up from FIRST-REMOTE. It obeys lines on stdin:
 *
 *     send RATE N     N packets, RATE a second (0: as fast as can be)     "sent N in MICROSECONDS"
 *
 * and goes on each time where it had stopped, so that SESSIONS packets in a row are one of each session.
 *
 * Packets leave in batches of one sendmmsg(2), each batch from one socket and to neighbouring remote
 * addresses. Between batches the program sleeps; who else shares its core can work. When it was kept from
 * running it catches up with a little of what it missed, not with all: a flood after a pause would
 * overflow queues that the steady rate does not fill. So it may take longer than N / RATE, and says
 * how long it took.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <netinet/in.h>

enum {
    BATCH = 32,
    PAYLOAD = 16,
    CATCH_UP_NANOSECONDS = 4 * 1000 * 1000, /* at most this much of the past is made up for */
    TIMER_SLACK_NANOSECONDS = 1000,
    SECOND = 1000 * 1000 * 1000,
};

struct sender {
    uint32_t socket_count, remotes;
    uint32_t next_socket;
    uint32_t *next_remote; /* of each socket */
    int *sockets;
    uint32_t first_remote; /* the last 32 bits of its address */
    struct sockaddr_in6 to[BATCH];
    char payload[PAYLOAD];
    struct iovec data;
    struct mmsghdr messages[BATCH];
};

static _Noreturn void give_up(const char *what)
{
    fprintf(stderr, "many_packets: %s: %s\n", what, strerror(errno));
    exit(EXIT_FAILURE);
}

static uint32_t number_argument(const char *text, uint32_t least, uint32_t most)
{
    char *end;
    errno = EINVAL;
    unsigned long number = strtoul(text, &end, 10);
    if (*text == '\0' || *end != '\0' || number < least || number > most)
        give_up(text);
    return (uint32_t)number;
}

static int64_t nanoseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * SECOND + now.tv_nsec;
}

static void sleep_until(int64_t time)
{
    const struct timespec at = {.tv_sec = time / SECOND, .tv_nsec = time % SECOND};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
}

/* Points the messages at the next remote addresses of one socket. */
static void aim(struct sender *sender, uint32_t number, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        uint32_t remote = htonl(sender->first_remote + sender->next_remote[number]);
        memcpy(&sender->to[i].sin6_addr.s6_addr[12], &remote, sizeof(remote));
        if (++sender->next_remote[number] == sender->remotes)
            sender->next_remote[number] = 0;
    }
}

static void send_batch(struct sender *sender, uint32_t n)
{
    uint32_t number = sender->next_socket;
    aim(sender, number, n);
    for (uint32_t done = 0; done < n;) {
        int sent = sendmmsg(sender->sockets[number], sender->messages + done, n - done, 0);
        if (sent < 0 && errno != EINTR)
            give_up("sendmmsg");
        done += sent < 0 ? 0 : (uint32_t)sent;
    }
    if (++sender->next_socket == sender->socket_count)
        sender->next_socket = 0;
}

/* Returns the nanoseconds it took. */
static int64_t send_packets(struct sender *sender, uint32_t rate, uint32_t n)
{
    int64_t begun = nanoseconds(), due = begun;
    for (uint32_t sent = 0, batch; sent < n; sent += batch) {
        batch = n - sent < BATCH ? n - sent : BATCH;
        if (rate > 0) {
            int64_t now = nanoseconds();
            if (now < due)
                sleep_until(due);
            else if (now - due > CATCH_UP_NANOSECONDS)
                due = now - CATCH_UP_NANOSECONDS;
            due += (int64_t)batch * SECOND / rate;
        }
        send_batch(sender, batch);
    }
    return nanoseconds() - begun;
}

static void obey(struct sender *sender)
{
    char line[128];
    unsigned rate, n;
    while (fgets(line, sizeof(line), stdin) != NULL) {
        if (sscanf(line, "send %u %u", &rate, &n) == 2)
            printf("sent %u in %lld\n", n, (long long)(send_packets(sender, rate, n) / 1000));
        else
            puts("not understood");
        fflush(stdout);
    }
}

/* One socket for each of PORTS ports of each source; the kernel picks the ports. */
static void open_sockets(struct sender *sender, uint32_t ports, char **sources)
{
    for (uint32_t i = 0; i < sender->socket_count; i++) {
        struct sockaddr_in6 from = {.sin6_family = AF_INET6};
        errno = EINVAL;
        if (inet_pton(AF_INET6, sources[i / ports], &from.sin6_addr) != 1)
            give_up(sources[i / ports]);
        sender->sockets[i] = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (sender->sockets[i] < 0 || bind(sender->sockets[i], (void *)&from, sizeof(from)) != 0)
            give_up(sources[i / ports]);
    }
}

static void prepare(struct sender *sender, const char *remote, const char *port)
{
    struct sockaddr_in6 to = {.sin6_family = AF_INET6};
    errno = EINVAL;
    if (inet_pton(AF_INET6, remote, &to.sin6_addr) != 1)
        give_up(remote);
    to.sin6_port = htons((uint16_t)number_argument(port, 1, 65535));
    memcpy(&sender->first_remote, &to.sin6_addr.s6_addr[12], sizeof(sender->first_remote));
    sender->first_remote = ntohl(sender->first_remote);
    sender->data = (struct iovec){.iov_base = sender->payload, .iov_len = PAYLOAD};
    for (int i = 0; i < BATCH; i++) {
        sender->to[i] = to;
        sender->messages[i].msg_hdr = (struct msghdr){
            .msg_name = &sender->to[i], .msg_namelen = sizeof(to), .msg_iov = &sender->data, .msg_iovlen = 1};
    }
}

int main(int argc, char **argv)
{
    static struct sender sender;
    struct rlimit files;
    if (argc < 6) {
        fputs("usage: many_packets PORTS REMOTES FIRST-REMOTE REMOTE-PORT SOURCE...\n", stderr);
        return 2;
    }
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    prctl(PR_SET_TIMERSLACK, TIMER_SLACK_NANOSECONDS);

    uint32_t ports = number_argument(argv[1], 1, 10000);
    sender.remotes = number_argument(argv[2], BATCH, 65536);
    sender.socket_count = ports * (uint32_t)(argc - 5);
    sender.sockets = calloc(sender.socket_count, sizeof(*sender.sockets));
    sender.next_remote = calloc(sender.socket_count, sizeof(*sender.next_remote));
    if (sender.sockets == NULL || sender.next_remote == NULL)
        give_up("no memory");
    prepare(&sender, argv[3], argv[4]);
    open_sockets(&sender, ports, argv + 5);
    puts("ready");
    fflush(stdout);
    obey(&sender);
    return EXIT_SUCCESS;
}
