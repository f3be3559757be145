/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is synthesised, for whom, and under which prefix: the part of the configuration that decides answers.
 * Rules are made once, never changed while they are in use, and replaced as a whole.
 *
 * IPv4 clients and networks stand among the IPv6 ones as ::ffff:0:0/96 (RFC 4291 section 2.5.5.2), so there
 * is one kind of network and one kind of address.
 *
 * A view is the set of prefixes that are meant for a client, a bit each. Answers depend on the question, on
 * DO and CD, and on the view; nothing else of a client matters, so clients with one view share cached
 * answers.
 */
#ifndef DNS64_RULES_H
#define DNS64_RULES_H

#include "dns64/name.h"
#include "wire/rfc6052.h"

enum {
    RULES_PREFIXES = 16,  /* of which each is a bit of a view */
    RULES_NETWORKS = 64,  /* of one list */
    RULES_NAMES = 1024,   /* exempt from synthesis */
    RULES_IPV4_BITS = 96, /* what an IPv4 network's length grows by */
};

struct rules_network {
    struct ipv6_address address; /* bits behind the length are zero */
    uint8_t length;              /* 0 to 128 */
};

struct rules_prefix {
    struct rfc6052_prefix prefix;
    uint32_t client_count; /* 0: none is served under it; "everybody" is ::/0 */
    struct rules_network clients[RULES_NETWORKS];
    uint32_t ipv4_count; /* destinations that are reached under it */
    struct rules_network ipv4[RULES_NETWORKS];
};

struct dns_rules {
    uint32_t prefix_count;
    struct rules_prefix prefixes[RULES_PREFIXES];
    uint32_t excluded_count; /* AAAA records that count as absent, RFC 6147 section 5.1.4 */
    struct rules_network excluded[RULES_NETWORKS];
    uint32_t name_count;    /* never synthesised, nor what is below them */
    struct dns_name *names; /* lower case, sorted by rules_seal; owned by whoever made the rules */
    uint32_t negative_ttl;  /* seconds, at most, of an answer without data */
};

typedef uint16_t rules_view; /* bit i: prefixes[i] */

/* Puts the names into the order in which they are looked up. Once, before any of the functions below. */
void rules_seal(struct dns_rules *rules);

bool rules_network_contains(const struct rules_network *network, const struct ipv6_address *address);

/* The prefixes for a client; 0: nothing is synthesised for it. */
rules_view rules_view_of(const struct dns_rules *rules, const struct ipv6_address *client);

/*
 * The addresses under which the view reaches an IPv4 address, each once, in the order of the configuration
 * (RFC 6147 section 5.2). Returns how many; none if no prefix is for that address, or if only the well-known
 * prefix is and the address is not global (RFC 6052 section 3.1).
 */
unsigned rules_embed(const struct dns_rules *rules, rules_view view, be32 ipv4,
                     struct ipv6_address addresses[RULES_PREFIXES]);

/* The IPv4 address behind an address under any of the prefixes, whatever the view (RFC 6147 section 5.3.1).
 */
bool rules_extract(const struct dns_rules *rules, const struct ipv6_address *address, be32 *ipv4);

/* True if an AAAA record with this address counts as absent. */
bool rules_excludes_address(const struct dns_rules *rules, const struct ipv6_address *address);

/* True if the name, or one above it, is never synthesised. */
bool rules_excludes_name(const struct dns_rules *rules, const struct dns_name *name);

#endif /* DNS64_RULES_H */
