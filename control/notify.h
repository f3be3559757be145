/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Telling a supervisor how the daemon is doing, by the protocol of sd_notify(3).
 */
#ifndef CONTROL_NOTIFY_H
#define CONTROL_NOTIFY_H

#include <stdbool.h>

/*
 * Sends `state` ("READY=1", "STOPPING=1", ...; several are parted by newlines) to the socket named in
 * NOTIFY_SOCKET. True if it was taken; without such a socket nothing happens and the answer is false.
 */
bool notify_supervisor(const char *state);

/* The same for the start of a reload, which must carry the time: "RELOADING=1" and MONOTONIC_USEC. */
bool notify_reloading(void);

#endif /* CONTROL_NOTIFY_H */
