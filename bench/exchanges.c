/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Short TCP connections, one after the other: connect, a byte, its echo, close. For benchmarks in namespaces.
 *
 *     bench_exchanges serve PORT              says "ready", then echoes one byte of each connection
 *     bench_exchanges ask ADDRESS PORT MS     says how many exchanges it made in so many milliseconds
 *
 * The client closes first, so that it is the one to wait; its machine has to allow the ports of waiting
 * connections to be used again. IPv4 addresses are written ::ffff:a.b.c.d.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <netinet/in.h>

enum { BACKLOG = 1024 };

static _Noreturn void give_up(const char *what)
{
    fprintf(stderr, "bench_exchanges: %s: %s\n", what, strerror(errno));
    exit(EXIT_FAILURE);
}

static long milliseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static _Noreturn void serve(struct sockaddr_in6 at)
{
    int one = 1, listener = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0 || setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0 ||
        bind(listener, (void *)&at, sizeof(at)) != 0 || listen(listener, BACKLOG) != 0)
        give_up("listen");
    puts("ready");
    fflush(stdout);
    for (;;) {
        char byte;
        int connection = accept(listener, NULL, NULL);
        if (connection < 0)
            continue;
        if (read(connection, &byte, 1) == 1 && write(connection, &byte, 1) == 1)
            (void)!read(connection, &byte, 1); /* until the client closes */
        close(connection);
    }
}

static void exchange(const struct sockaddr_in6 *with)
{
    char byte = 'x';
    int connection = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connection < 0 || connect(connection, (const void *)with, sizeof(*with)) != 0)
        give_up("connect");
    if (write(connection, &byte, 1) != 1 || read(connection, &byte, 1) != 1)
        give_up("echo");
    close(connection);
}

int main(int argc, char **argv)
{
    struct sockaddr_in6 address = {.sin6_family = AF_INET6};
    if (argc == 3 && strcmp(argv[1], "serve") == 0) {
        address.sin6_port = htons((in_port_t)strtoul(argv[2], NULL, 10));
        serve(address);
    }
    if (argc != 5 || inet_pton(AF_INET6, argv[2], &address.sin6_addr) != 1) {
        fputs("usage: bench_exchanges serve PORT | ask ADDRESS PORT MILLISECONDS\n", stderr);
        return 2;
    }
    address.sin6_port = htons((in_port_t)strtoul(argv[3], NULL, 10));
    long begun = milliseconds(), end = begun + strtol(argv[4], NULL, 10), n = 0, now;
    do {
        exchange(&address);
        n++;
        now = milliseconds();
    } while (now < end);
    printf("%ld in %ld\n", n, now - begun);
    return EXIT_SUCCESS;
}
