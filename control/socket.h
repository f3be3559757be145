/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The control socket: a Unix socket that root and the members of control.group may use.
 */
#ifndef CONTROL_SOCKET_H
#define CONTROL_SOCKET_H

#include <stddef.h>

#include "control/changes.h"

/* Looks whether the path is free or held by a socket that nobody listens on; otherwise false with a sentence.
 */
bool control_socket_check(const char *path, char *error, size_t size);

/*
 * Makes the socket, and its directory where there is none, both recorded in `changes`. One that nobody
 * listens on any more is replaced, a live one refused. Returns the listening socket, or -1 with a sentence.
 */
int control_socket_open(const char *path, const char *group, struct changes *changes, char *error,
                        size_t size);

#endif /* CONTROL_SOCKET_H */
