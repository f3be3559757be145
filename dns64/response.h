/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What came of a lookup, read once from end to end before anything is made of it.
 *
 * Who answers may be hostile, so nothing is believed for standing there: the chain of CNAMEs is followed by
 * name from the question on, in the order in which its links stand (RFC 1034 section 4.3.2 makes a server put
 * them so, and the resolver drops what is out of order), in one pass that no loop can prolong; data are those
 * that the end of the chain has, and no others.
 */
#ifndef DNS64_RESPONSE_H
#define DNS64_RESPONSE_H

#include "dns64/inquiry.h"

struct response {
    struct dns_reader reader; /* before the first record; all can be read, from a copy of it */
    struct dns_name end;      /* where the CNAMEs lead: the name asked for if there are none */
    uint32_t found;           /* records of the type asked for that `end` has */
    uint32_t negative_ttl;    /* seconds for which "there is none" holds, RFC 2308 section 5; 0 without SOA */
    bool has_soa;             /* in the authority section */
    bool secure;              /* validated: an answer, or that there is none */
    uint8_t rcode;            /* not SERVFAIL */
};

/*
 * Reads the result of `asked`. False if there is no message, or none that can be used: it is malformed, cut
 * short, answers another question, or says SERVFAIL.
 */
bool response_read(struct response *response, const struct looked_up *result, const struct lookup *asked);

/* The next record of a section that is begun, or comes next; false if it has no more. */
bool response_next(struct dns_reader *reader, enum dns_section section, struct dns_record *record);

/* The type that an RRSIG record covers; 0 of other records. */
uint16_t response_covered(const struct dns_reader *reader, const struct dns_record *record);

/* Moves *end along if the record is a CNAME of it. */
bool response_follow(const struct dns_reader *reader, const struct dns_record *record, struct dns_name *end);

#endif /* DNS64_RESPONSE_H */
