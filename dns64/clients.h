/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who may ask, and how often.
 *
 * Networks are looked up in a sorted array. Rates are counted for each IPv6 /64 and each IPv4 address, and
 * for each link-local address, all of which have one /64, in a table of fixed size that all workers share, a
 * word each, changed by compare-and-swap: two clients that fall on one word share its rate, which is what a
 * table that no packet can grow costs. Which ones do depends on a key, so that nobody can aim at another.
 */
#ifndef DNS64_CLIENTS_H
#define DNS64_CLIENTS_H

#include "dns64/rules.h"

enum {
    CLIENTS_NETWORKS = 1024,
    CLIENTS_RATE_WORDS = 1 << 16, /* clients that are told apart */
};

/* Made once, replaced as a whole; flat. */
struct clients {
    uint32_t count;
    struct rules_network networks[CLIENTS_NETWORKS];
    uint32_t rate; /* answers a second for each client; 0: no limit */
};

/* Sorts the networks and merges those inside others. Once, before clients_allow. */
void clients_seal(struct clients *clients);

/* True if it may ask. */
bool clients_allow(const struct clients *clients, const struct ipv6_address *client);

/* The same number for all addresses of one client: an IPv6 /64, an IPv4 address, a link-local address. */
uint64_t clients_hash(const uint64_t key[2], const struct ipv6_address *client);

struct rates;

struct rates *rates_create(const uint64_t key[2]);
void rates_destroy(struct rates *rates);

/*
 * Counts one answer to a client; false, and nothing is counted, if it is over `rate`, answers a second; 0
 * allows any number. A second's worth may come at once. `now` in nanoseconds of a clock that does not jump;
 * calls of several threads may disagree a little about it.
 */
bool rates_take(struct rates *rates, const struct ipv6_address *client, uint32_t rate, uint64_t now);

#endif /* DNS64_CLIENTS_H */
