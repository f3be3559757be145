/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Asking the running daemon: HTTP over its control socket.
 */
#ifndef CLI_CLIENT_H
#define CLI_CLIENT_H

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

#endif /* CLI_CLIENT_H */
