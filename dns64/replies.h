/* SPDX-License-Identifier: BSD-2-Clause */
/* Replies: made in the place from which they are sent, and sent on the path on which the query came. */
#ifndef DNS64_REPLIES_H
#define DNS64_REPLIES_H

#include "dns64/worker.h"

/* A query and where its reply goes. */
struct client_query {
    const struct dns_query *query;
    const struct reply_path *path;
};

/* Bytes that the reply may have. */
size_t reply_limit(const struct client_query *client);

/*
 * The place of the next reply on this path, the same until a reply was sent. It has room for an answer from
 * the cache as well, which is best copied there.
 */
uint8_t *reply_begin(struct dns_worker *worker, const struct reply_path *path);

/* Where it was sent to. */
struct sockaddr_in6 reply_path_local(const struct dns_worker *worker, const struct reply_path *path);

/* Replies with an answer to the question; `age` in seconds; `stale`: it is past its TTL. */
struct reply_age {
    uint32_t age;
    bool stale;
};
void reply_answer(struct dns_worker *worker, const struct client_query *client, const struct answer *answer,
                  struct reply_age age);

/* Replies with an rcode and perhaps why. */
void reply_refusal(struct dns_worker *worker, const struct client_query *client, uint16_t rcode,
                   enum answer_error error);

/* Replies with nothing but TC: who really has that address may come over TCP. */
void reply_truncated(struct dns_worker *worker, const struct client_query *client);

/* Replies to ANY with one small record that stands for all. */
void reply_any(struct dns_worker *worker, const struct client_query *client);

#endif /* DNS64_REPLIES_H */
