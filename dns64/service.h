/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Addresses for the targets of SVCB and HTTPS records (RFC 9460 section 4.2): a client that has them need not
 * ask for them. Where a target has no AAAA, those made of its A records go into the additional section, with
 * the CNAMEs that lead to them. The records themselves and the address hints in them stay as they are: they
 * are signed, and hints are for clients that can use them.
 *
 * The response is kept until all addresses have been looked up. Whatever goes wrong with those, the answer is
 * the response.
 */
#ifndef DNS64_SERVICE_H
#define DNS64_SERVICE_H

#include "dns64/response.h"

/* Notes targets that need addresses and keeps the response; false if there is nothing to look up. */
bool service_begin(struct inquiry *inquiry, const struct response *response, const struct looked_up *result);

/* The target at hand; NULL if there are no more. */
const struct dns_name *service_target(const struct inquiry *inquiry);

/* Adds what is made of the A records of the target at hand, or none of it if there is no room. */
void service_add(struct inquiry *inquiry, const struct response *response);

/* Goes on with the next target. */
void service_next(struct inquiry *inquiry);

/* The response with all that was added. */
void service_write(struct inquiry *inquiry, struct answer *answer);

#endif /* DNS64_SERVICE_H */
