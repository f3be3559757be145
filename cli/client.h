/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Asking the running daemon: HTTP over its control socket.
 */
#ifndef CLI_CLIENT_H
#define CLI_CLIENT_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/un.h>

#include "cli/options.h"

struct client {
    char socket[sizeof(((struct sockaddr_un *)0)->sun_path)];
};

/* Finds the socket: by --socket, or from the configuration. False: the reason was printed. */
bool client_find(struct client *client, const struct options *options);

/*
 * Asks, and hands every line of the answer to `line`, without its newline, while it comes in; `line` returns
 * false to break off. False if there is no answer or it says that it failed: the reason was printed.
 */
typedef bool client_line(void *context, char *line);
bool client_ask(const struct client *client, const char *method, const char *path, client_line *line,
                void *context);

/*
 * The same for an answer of bytes. The parameters go behind the path; those without a value are left out, and
 * the last has no name. The connection can be ended at any time, also by a signal handler, by
 * shutdown(*socket); what has arrived by then is still handed on, and the end is no failure if *stopped.
 */
struct client_parameter {
    const char *name, *value;
};
typedef bool client_bytes(void *context, const void *bytes, size_t length);
struct client_stream {
    const char *path;
    const struct client_parameter *parameters;
    client_bytes *bytes;
    void *context;
    volatile sig_atomic_t *socket, *stopped;
};
bool client_follow(const struct client *client, const struct client_stream *stream);

#endif /* CLI_CLIENT_H */
