/* SPDX-License-Identifier: BSD-2-Clause */
/* GET /v1/capture: packets and what became of them, as a pcapng file that goes on until the client ends it.
 */
#ifndef PORTAL_CAPTURE_H
#define PORTAL_CAPTURE_H

#include "portal/http.h"

/* `context` is the daemon, as for every route. */
void answer_capture(void *context, struct http_reply *reply);

#endif /* PORTAL_CAPTURE_H */
