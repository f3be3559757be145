/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sends the router advertisements of the configuration's `ra`, from one raw socket for all interfaces.
 *
 * The socket takes a right that the daemon gives up (CAP_NET_RAW), so it is opened before. All else needs
 * none: interfaces are looked up by name, and joined, each time that links or addresses have changed, so they
 * may come later, go, and come again. While one has no link-local address that is usable, nothing is sent
 * there.
 *
 * Another sender on the same link, on another machine, is no trouble: hosts take what each of them says, and
 * ours leaves open what it does not know. It is different with another daemon on this machine and interface:
 * the two have one source address and hosts take them for one router, so that our router lifetime of 0 ends
 * what the other one said (RFC 4861 section 6.3.4). That is warned of once, if
 * it is heard here; isthmus.yaml(5) says what to do.
 */
#ifndef CONTROL_ADVERTISE_H
#define CONTROL_ADVERTISE_H

#include <uv.h>

#include "control/config.h"
#include "dns64/advertisement.h"

struct advertise;

/* Where DNS queries on port 53 are answered; of use to hosts of a link, so without loopback. */
struct advertise_servers {
    bool any; /* on all addresses: announced is the link-local one of the interface */
    uint32_t count;
    struct ipv6_address addresses[ADVERTISED_SERVERS / 2 - 1];
};

/* Opens what takes rights, before they are dropped. NULL with a sentence. The servers are copied. */
struct advertise *advertise_open(const struct config *config, const struct advertise_servers *servers,
                                 char *error, size_t size);

/* Begins to send. Returns 0 or an error of libuv. */
int advertise_start(struct advertise *advertise, uv_loop_t *loop);

/*
 * After a reload, which keeps the interfaces of `ra` and may change the prefixes of nat64 or the servers:
 * what is not announced any more is withdrawn.
 */
void advertise_change(struct advertise *advertise, const struct config *config,
                      const struct advertise_servers *servers);

/*
 * Tells the hosts that it is over. RFC 4861 section 6.2.6 wants three seconds between two advertisements on
 * an interface, so this waits if one has just gone out; packets should flow meanwhile.
 */
void advertise_finish(struct advertise *advertise);

/* When the loop has closed its handles. NULL is allowed. */
void advertise_close(struct advertise *advertise);

#endif /* CONTROL_ADVERTISE_H */
