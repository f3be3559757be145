/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The control API: what the daemon answers on its socket. doc/api.md is its description.
 */
#ifndef PORTAL_API_H
#define PORTAL_API_H

#include "control/daemon.h"

/* To be given to daemon_run. */
extern const struct daemon_service api_service;

#endif /* PORTAL_API_H */
