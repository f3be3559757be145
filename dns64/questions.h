/* SPDX-License-Identifier: BSD-2-Clause */
/* Questions under way, and the clients that wait for them. */
#ifndef DNS64_QUESTIONS_H
#define DNS64_QUESTIONS_H

#include "dns64/replies.h"

enum {
    QUESTIONS_SHARE = SERVER_QUESTIONS / 2, /* queries that one client may have waiting at a worker */
    QUESTIONS_CROWD =
        2 * QUESTIONS_SHARE,      /* queries that may wait for one question: more than one client's */
    QUESTIONS_STALE = 1800,       /* milliseconds until a stale answer is better than none: the
                                     client response timer of RFC 8767 section 5 */
    QUESTIONS_FAILED = 30,        /* seconds for which a failure has stale answers go out at once:
                                     the failure recheck timer of the same section */
    QUESTIONS_ADDITIONS = 1000,   /* milliseconds for addresses that are added to an SVCB record */
    QUESTIONS_INCOMPLETE_TTL = 5, /* seconds for which such an answer is kept if they did not come */
};

bool questions_open(struct dns_worker *worker);
void questions_close(struct dns_worker *worker);

/* Answers the question sooner or later, for this client and whoever else comes with it. */
void questions_ask(struct dns_worker *worker, const struct inquiry_question *question,
                   const struct client_query *client);

/* Bytes that the questions of a worker take. */
size_t questions_memory(void);

#endif /* DNS64_QUESTIONS_H */
