/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A client, a gateway with the whole eBPF plane, its engine and TUN device set up as the daemon does, and a
 * server; and traffic between any two of them.
 *
 *     client  2001:db8:1::2, ::3 ---- lan0  gateway  wan0 ---- 203.0.113.2, 2001:db8:2::2  server
 *                         2001:db8:1::1             203.0.113.1, 2001:db8:2::1
 *
 *     nat64   2001:db8:64::/96, pool 192.0.2.1
 *     siit    2001:db8:100::/96, of the client's addresses 198.51.100.2 and .3
 *
 * Client and server are processes that hold a network namespace each, and so does the test; they end with it.
 * All routers filter reverse paths strictly, but for the TUN device.
 */
#ifndef TEST_PLANE_BPF_GATEWAY_H
#define TEST_PLANE_BPF_GATEWAY_H

#include <sys/types.h>

#include "plane/bpf/plane.h"

enum host {
    GATEWAY,
    CLIENT,
    SERVER,
    HOSTS,
};

/* A network of its own for the test; false: it may not have one. To be called first, by a single thread. */
bool gateway_possible(void);

/* Both fail the test that calls them. */
void gateway_open(void);
void gateway_close(void);

/* A command for the shell on a host; what it returns. */
__attribute__((format(printf, 2, 3))) int gateway_run(enum host host, const char *format, ...);

/* Puts the rules into force again; with `stack` packets go through the kernel's own forwarding. */
void gateway_enforce(bool stack);

/* What the plane has done since the last call. */
struct gateway_work {
    uint64_t to4, to6, hairpins; /* translated in the kernel */
    uint64_t handed_over;
};
struct gateway_work gateway_work(void);

/* Someone who serves one visitor: takes what he sends and sends as much back, checked by both. */
struct gateway_visit {
    enum host from, to;
    int type;            /* SOCK_STREAM or SOCK_DGRAM */
    const char *source;  /* of the visitor; NULL: as the kernel likes */
    const char *address; /* that he calls, at port 5001 */
    const char *server;  /* own address of the one he calls; NULL: any */
    uint32_t bytes;      /* of a stream, each way */
};

/* True: all went well. */
bool gateway_visit(const struct gateway_visit *visit);

/* What comes of connecting: 0, or an errno. */
int gateway_call(const struct gateway_visit *visit);

/*
 * Sends a datagram with a hop limit of 64; with what hop limit it arrives, and from whom: the text of his
 * address. Negative: it does not.
 */
int gateway_hops(const struct gateway_visit *visit, char *from, size_t size);

#endif /* TEST_PLANE_BPF_GATEWAY_H */
