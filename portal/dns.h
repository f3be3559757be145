/* SPDX-License-Identifier: BSD-2-Clause */
/* GET /v1/dns: what the name service has done, and what it is doing. */
#ifndef PORTAL_DNS_H
#define PORTAL_DNS_H

#include "portal/http.h"

/* `context` is the daemon, as for every route. */
void answer_dns(void *context, struct http_reply *reply);

#endif /* PORTAL_DNS_H */
