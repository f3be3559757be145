/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Giving up the rights that are needed to start, before the first packet is read.
 *
 * Two processes remain of what root started:
 *
 *   the daemon   runs as control.user, without any capability. It reads packets, answers the control socket,
 *                and holds all it needs as open files: the queues of the device, the sockets.
 *   the keeper   (control/keeper.c) sleeps until the daemon has ended or asks for the configuration file.
 *                It reads no byte from the network. It stays root, with the capabilities CAP_NET_ADMIN, to
 *                undo routes and settings, and CAP_DAC_OVERRIDE, to read the configuration and remove
 *                the socket wherever they are.
 *
 * Neither may gain rights again: no_new_privs is set in both.
 */
#ifndef CONTROL_PRIVILEGE_H
#define CONTROL_PRIVILEGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* True if this process may set up devices and routes: CAP_NET_ADMIN. */
bool privilege_sufficient(void);

/* True if it may listen on the port: one that all may, or with CAP_NET_BIND_SERVICE. */
bool privilege_may_listen(uint16_t port);

/*
 * Becomes `user` with that user's own group and no other, and drops every capability; to be called while
 * there is one thread. Whose group may use the control socket (control.group) is no matter of the daemon's.
 * A user that does not exist here is replaced by nobody, with a warning. False with a sentence on failure.
 */
bool privilege_drop(const char *user, char *error, size_t size);

/* Keeps what the keeper needs. */
bool privilege_reduce_keeper(void);

#endif /* CONTROL_PRIVILEGE_H */
