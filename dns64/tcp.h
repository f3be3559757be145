/* SPDX-License-Identifier: BSD-2-Clause */
/* Queries and replies over TCP (RFC 7766). */
#ifndef DNS64_TCP_H
#define DNS64_TCP_H

#include "dns64/worker.h"

enum {
    TCP_UNDER_WAY = 64, /* queries of a connection that may wait for their answers */
    TCP_UNREAD =
        64 * 1024, /* bytes of replies beyond which no more queries are read; one reply may pass it */
    TCP_CATCH_UP = 16 * 1024, /* bytes at which they are read again */
};

struct tcp_connection;

/* Opens the worker's sockets; false with a sentence. */
bool tcp_open(struct dns_worker *worker, char *error, size_t size);
void tcp_close(struct dns_worker *worker);

/* Where a reply is to be made. */
uint8_t *tcp_reply_begin(struct dns_worker *worker);

/* Puts it behind those that are on their way. */
void tcp_reply_end(struct dns_worker *worker, const struct reply_path *path, size_t size);

/* A query of this connection waits for its answer: the structure must stay. */
void tcp_hold(struct tcp_connection *connection);

/* It has it, or needs it no more. */
void tcp_release(struct tcp_connection *connection);

/* False once the client is gone. */
bool tcp_is_open(const struct tcp_connection *connection);

/* Goes on with connections whose queries had to wait for answers to earlier ones. */
void tcp_resume(struct dns_worker *worker);

struct sockaddr_in6 tcp_local(const struct tcp_connection *connection);

/* Bytes that TCP takes in a worker. */
size_t tcp_memory(void);

#endif /* DNS64_TCP_H */
