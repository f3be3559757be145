/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Passing a response on.
 */
#ifndef DNS64_PASSING_H
#define DNS64_PASSING_H

#include "dns64/draft.h"

/*
 * The answer is the response as it is (RFC 6147 section 5.3.3), but for AAAA records that count as absent,
 * and signatures of sets that are no longer whole. With view 0 and with CD set nothing counts as absent.
 */
void passing_write(const struct inquiry *inquiry, const struct response *response, struct answer *answer);

/*
 * The answer to the reverse name of an address under a prefix, made of the response to a question for PTR of
 * the IPv4 address (section 5.3.1, the second way): a CNAME in front of the data.
 *
 * The clause wants that there are data behind the CNAME, so a response without any is passed on as it is,
 * and that no CNAME leads to a CNAME, so ours leads straight to the name that has the data, past a chain of
 * those that delegate less than 256 addresses (RFC 2317).
 */
void passing_write_reverse(const struct inquiry *inquiry, const struct response *response,
                           struct answer *answer);

/* Starts a draft with all that passing_write writes, and the additional section still open. */
void passing_begin(struct draft *draft, const struct inquiry *inquiry, const struct response *response,
                   struct answer *answer);

#endif /* DNS64_PASSING_H */
