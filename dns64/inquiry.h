/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From a question to its answer: DNS64 itself (RFC 6147), without sockets, clocks or memory of its own.
 *
 *     inquiry_begin  ->  INQUIRY_ASK   look `ask` up, then inquiry_continue with what came of it
 *                    ->  INQUIRY_DONE  the answer is complete
 *
 * Most questions are one lookup whose result is passed on (RFC 6147 section 5.3.3). Those that are more:
 *
 *     AAAA            AAAA; then A, if the result was empty, excluded, or an error other than NXDOMAIN
 *     PTR in ip6.arpa below a prefix: PTR of the IPv4 address, behind a CNAME of our own
 *     SVCB, HTTPS     the record; then AAAA and if need be A of each target, for the additional section
 *     ipv4only.arpa   no lookup at all (RFC 8880)
 *
 * With CD set nothing is synthesised (section 5.5 item 3), and the lookup is an unchecked one. A lookup that
 * is bogus ends as SERVFAIL, never as an empty answer.
 */
#ifndef DNS64_INQUIRY_H
#define DNS64_INQUIRY_H

#include "dns64/answer.h"
#include "dns64/rules.h"

enum {
    INQUIRY_TARGETS = 4, /* of SVCB records, for which addresses are added */
    /*
     * Seconds that failures are kept, lest who asks on makes the servers be asked on (RFC 9520 section 3.2
     * has 1 to 300): what is bogus costs several queries each time; other failures may be over soon.
     */
    INQUIRY_TTL_BOGUS = 10,
    INQUIRY_TTL_FAILURE = 2,
    INQUIRY_TTL_WITHOUT_SOA = 600,             /* seconds, RFC 6147 section 5.1.7 */
    INQUIRY_LOOKUPS = 1 + 2 * INQUIRY_TARGETS, /* at most, of one question */
    INQUIRY_KEPT = 3072, /* bytes of an SVCB response and what is added; a longer one gets nothing added */
};

/* What is asked of the resolver. */
struct lookup {
    struct dns_name name; /* lower case */
    uint16_t type, class;
    bool unchecked; /* without validation, since the client does that itself */
};

enum lookup_state {
    LOOKUP_INSECURE, /* `message` is the response; nothing vouches for it, and nothing need */
    LOOKUP_SECURE,   /* the same, validated */
    LOOKUP_BOGUS,    /* validation failed */
    LOOKUP_FAILED,   /* no server gave an answer: SERVFAIL, without a message */
    LOOKUP_TIMEOUT,  /* none came in time */
    LOOKUP_BUSY,     /* there was no room to ask */
};

/* What came of a lookup. The message is the resolver's and lasts as long as the call that brings it. */
struct looked_up {
    enum lookup_state state;
    const uint8_t *message; /* with DNSSEC records, as libunbound gives it; NULL if there is none */
    size_t size;
};

/* Everything an answer depends on. */
struct inquiry_question {
    struct dns_name name; /* lower case */
    uint16_t type, class;
    rules_view view;
    bool dnssec_ok, checking_disabled;
};

enum inquiry_step { INQUIRY_ASK, INQUIRY_DONE };

/* An SVCB response while addresses of its targets are looked up. */
struct inquiry_service {
    uint8_t target_count, target; /* how many, and which one it is about */
    enum lookup_state state;      /* of the response */
    uint16_t size;                /* bytes of `kept` that are the response */
    uint16_t used;                /* bytes in all: records to be added stand behind it, names written out */
    struct dns_name targets[INQUIRY_TARGETS];
    uint8_t kept[INQUIRY_KEPT];
};

/* One under way; flat, so that it can be kept in an array. */
struct inquiry {
    struct inquiry_question question;
    const struct dns_rules *rules;
    struct lookup ask; /* with INQUIRY_ASK: the next one */
    uint8_t stage;     /* private from here on */
    bool secure;       /* all results so far */
    bool negative_ttl_known;
    uint32_t negative_ttl; /* seconds: SOA of the empty AAAA answer */
    struct inquiry_service service;
};

/*
 * Starts. The rules must stay until INQUIRY_DONE. `answer` must have its buffer; it is filled with
 * INQUIRY_DONE and otherwise left alone.
 */
enum inquiry_step inquiry_begin(struct inquiry *inquiry, const struct inquiry_question *question,
                                const struct dns_rules *rules, struct answer *answer);

/* Goes on with what came of inquiry->ask. */
enum inquiry_step inquiry_continue(struct inquiry *inquiry, const struct looked_up *result,
                                   struct answer *answer);

/*
 * Ends one whose time is up, in place of inquiry_continue: with what is known if that is an answer, as it is
 * once only addresses of targets are missing, or else with a failure.
 */
void inquiry_give_up(struct inquiry *inquiry, struct answer *answer);

#endif /* DNS64_INQUIRY_H */
