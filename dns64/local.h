/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Names that are answered here, or by way of another name:
 *
 *     ipv4only.arpa                      the name by which hosts learn our prefixes (RFC 7050, RFC 8880)
 *     17[01].0.0.192.in-addr.arpa        its reverse names
 *     ... .ip6.arpa below a prefix       PTR of the IPv4 address behind (RFC 6147 section 5.3.1)
 *     resolver.arpa                      "is there an encrypted resolver here?" No (RFC 9462 section 4)
 *
 * Which names else never leave the house (RFC 6303, RFC 6761) libunbound knows.
 */
#ifndef DNS64_LOCAL_H
#define DNS64_LOCAL_H

#include "dns64/inquiry.h"

enum {
    LOCAL_TTL = 3600, /* seconds, of what never changes: RFC 7050 section 4 wants 60 minutes */
    /*
     * Seconds, of what changes with the rules: synthesised addresses and negative answers. RFC 6147 section
     * 5.1.7 takes as much where no SOA record says otherwise.
     */
    LOCAL_TTL_OF_RULES = INQUIRY_TTL_WITHOUT_SOA,
};

enum local_kind {
    LOCAL_NONE,     /* an ordinary question */
    LOCAL_ANSWERED, /* the answer is complete */
    LOCAL_REVERSE,  /* the data are those that *target has, behind a CNAME of ours */
};

/*
 * Looks whether the question is one of those. `answer` must have its buffer; it is filled with LOCAL_ANSWERED
 * and *target with LOCAL_REVERSE, otherwise they are left alone.
 */
enum local_kind local_answer(const struct inquiry_question *question, const struct dns_rules *rules,
                             struct answer *answer, struct dns_name *target);

#endif /* DNS64_LOCAL_H */
