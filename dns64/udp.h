/* SPDX-License-Identifier: BSD-2-Clause */
/* Queries and replies over UDP. */
#ifndef DNS64_UDP_H
#define DNS64_UDP_H

#include "dns64/worker.h"

/* Opens the worker's sockets; false with a sentence. */
bool udp_open(struct dns_worker *worker, char *error, size_t size);
void udp_close(struct dns_worker *worker);

/* Where the next reply is to be made; stays the same until udp_reply_end. */
uint8_t *udp_reply_begin(struct dns_worker *worker, const struct reply_path *path);

/* Puts the reply among those that go out next. */
void udp_reply_end(struct dns_worker *worker, const struct reply_path *path, size_t size);

/* Sends them. */
void udp_flush(struct dns_worker *worker);

/* Where a query was sent to. */
struct sockaddr_in6 udp_local(const struct dns_worker *worker, const struct reply_path *path);

/* Bytes that UDP takes in a worker. */
size_t udp_memory(void);

#endif /* DNS64_UDP_H */
