/* SPDX-License-Identifier: BSD-2-Clause */
/* The sockets of the name service: their options, and what to say if one cannot be had. */
#ifndef DNS64_SOCKETS_H
#define DNS64_SOCKETS_H

#include "dns64/worker.h"

/* Which one. */
struct socket_wish {
    const struct sockaddr_in6 *address; /* IPv4 as ::ffff:0:0/96 */
    int type;                           /* SOCK_DGRAM or SOCK_STREAM */
};

/* The address as the kernel takes it, of family AF_INET for IPv4; its length. */
socklen_t socket_address_of(const struct sockaddr_in6 *address, union socket_address *native);

/* True for :: and 0.0.0.0. */
bool socket_address_any(const union socket_address *native);

/* Opens and binds one, without blocking, shared with the other workers; -1 with a sentence. */
int socket_open(const struct socket_wish *wish, char *error, size_t size);

/*
 * Sees whether the server could have that address and port for itself. False with a sentence; true also if
 * the machine has not got the address yet, and then there is a sentence, too.
 */
bool socket_probe(const struct socket_wish *wish, char *error, size_t size);

#endif /* DNS64_SOCKETS_H */
