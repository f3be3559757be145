/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * AAAA records out of A records (RFC 6147 sections 5.1.4 to 5.1.7).
 */
#ifndef DNS64_SYNTHESIS_H
#define DNS64_SYNTHESIS_H

#include "dns64/response.h"

/* A walk over the answers of a response to a question for A. */
struct synthesis {
    const struct inquiry *inquiry;
    const struct response *response;
    struct dns_reader reader;
    struct dns_record record; /* the one at hand */
};

struct synthesis synthesis_begin(const struct inquiry *inquiry, const struct response *response);

/* The next answer; false if there are no more. */
bool synthesis_next(struct synthesis *synthesis);

/*
 * The addresses that stand for the record at hand: none if it is not an A record of the chain's end, which is
 * all that is ever made into something, or if the client reaches it under no prefix.
 */
unsigned synthesis_embed(const struct synthesis *synthesis, struct ipv6_address addresses[RULES_PREFIXES]);

/* True if an AAAA record counts as absent, or is none: its data are not an address. */
bool synthesis_excludes(const struct dns_rules *rules, const struct dns_reader *reader,
                        const struct dns_record *record);

/* True if there are AAAA records at the end of the chain that count. */
bool synthesis_needless(const struct dns_rules *rules, const struct response *response);

/* True if the A records at the end of the chain make AAAA records for this client. */
bool synthesis_possible(const struct inquiry *inquiry, const struct response *response);

/*
 * The AAAA record with one of the addresses that are made of the record at hand. It may not outlive the
 * answer that said that there is no AAAA (section 5.1.7). It points to `address` and to the walk.
 */
struct dns_data synthesis_record(const struct synthesis *synthesis, const struct ipv6_address *address);

/*
 * The answer to a question for AAAA, made of the response to one for A, whatever that is: the chain with its
 * signatures, AAAA records in place of the A records, and the other sections (section 5.4).
 */
void synthesis_write(const struct inquiry *inquiry, const struct response *response, struct answer *answer);

#endif /* DNS64_SYNTHESIS_H */
