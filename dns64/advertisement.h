/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Bytes of router discovery (RFC 4861): the advertisement that tells hosts the NAT64 prefix (RFC 8781) and
 * the DNS servers (RFC 8106), and the solicitation that asks for it. No I/O, no clock.
 *
 * All that an advertisement says of the link itself is left unspecified (hop limit, reachable time,
 * retransmission timer, MTU, prefixes): that is for the router of the link to say, and zeroes contradict
 * nobody (RFC 4861 section 6.2.7). The flags M and O have no such value and are clear.
 */
#ifndef DNS64_ADVERTISEMENT_H
#define DNS64_ADVERTISEMENT_H

#include "engine/settings.h"
#include "wire/ipv6.h"
#include "wire/rfc6052.h"

enum {
    ADVERTISED_PREFIXES = 2 * NAT64_INSTANCES_MAXIMUM, /* those that are and those that have just gone */
    ADVERTISED_SERVERS = 16,                           /* likewise */
    LINK_ADDRESS_SIZE = 6, /* of the links that are known: Ethernet and its like */

    PREF64_LIFETIME_MAXIMUM = 65528, /* RFC 8781 section 4.1, seconds: 13 bits of units of 8 */
    ROUTER_LIFETIME_MAXIMUM = 9000,  /* RFC 4861 section 6.2.1, seconds */

    /* The header; the link-layer address; prefixes; two options of servers. Less than the minimum MTU. */
    ADVERTISEMENT_SIZE = 16 + 8 + 16 * ADVERTISED_PREFIXES + 2 * 8 + 16 * ADVERTISED_SERVERS,
};

struct advertised_prefix {
    struct rfc6052_prefix prefix;
    bool withdrawn; /* told with lifetime 0: hosts stop using it */
};

struct advertised_server {
    struct ipv6_address address;
    bool withdrawn;
};

struct advertisement {
    uint32_t router_lifetime; /* seconds; 0: not a default router */
    uint32_t lifetime;        /* seconds, of prefixes and servers */
    bool has_link_address;
    uint8_t link_address[LINK_ADDRESS_SIZE];
    uint32_t prefix_count;
    struct advertised_prefix prefixes[ADVERTISED_PREFIXES];
    uint32_t server_count;
    struct advertised_server servers[ADVERTISED_SERVERS];
};

/* Adds what is not there yet, or only as withdrawn; what exceeds the room is left out. */
void advertisement_add_prefix(struct advertisement *advertisement, const struct rfc6052_prefix *prefix);
void advertisement_add_server(struct advertisement *advertisement, const struct ipv6_address *address);

/* Adds what `old` announces and `advertisement` does not, as withdrawn. */
void advertisement_withdraw(struct advertisement *advertisement, const struct advertisement *old);

/* Removes what is withdrawn, once hosts have been told. */
void advertisement_forget_withdrawn(struct advertisement *advertisement);

/* The last one: nothing that it announces is to be used any more (RFC 4861 section 6.2.5). */
struct advertisement advertisement_final(const struct advertisement *advertisement);

/* Writes the ICMPv6 message and returns its length. The checksum is 0: a raw ICMPv6 socket fills it in. */
size_t advertisement_write(const struct advertisement *advertisement,
                           uint8_t message[static ADVERTISEMENT_SIZE]);

/* A message of router discovery as it was received, from the ICMPv6 header on, and what its IPv6 header said.
 */
struct discovery {
    const uint8_t *message;
    size_t length;
    struct ipv6_address source, destination;
    int hop_limit;
};

/*
 * RFC 4861 section 6.1.1, but for the checksum: of a raw ICMPv6 socket the kernel lets pass only what is
 * right.
 */
bool solicitation_valid(const struct discovery *solicitation);

/* Is this an advertisement, valid by section 6.1.2, in which its sender offers itself as default router? */
bool discovery_offers_route(const struct discovery *advertisement);

#endif /* DNS64_ADVERTISEMENT_H */
