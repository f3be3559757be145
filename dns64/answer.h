/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A finished answer: a message in which only that is missing which differs between clients that ask the same
 * question. That is how answers are cached, and a reply is made of one without looking at a record twice.
 *
 *     header      id, RD, CD, AD, TC are the reply's; rcode and counts are here
 *     question    at byte 12, in lower case; the reply has the letters of its query, and since all names that
 *                 end in the name asked for point there, they get them, too
 *     records     their TTLs are of the moment of making; a reply has them less the answer's age
 *     OPT         not here: a reply has one if its query had
 *
 * Answers are built with dns_writer, by one who has no client in mind: a limit of DNS_MESSAGE_MAX, no OPT.
 */
#ifndef DNS64_ANSWER_H
#define DNS64_ANSWER_H

#include "dns64/message.h"

/* Extended errors that are told (RFC 8914 section 4 and IANA's registry); 0 stands for none, as "Other" is.
 */
enum answer_error {
    ANSWER_ERROR_NONE = 0,
    ANSWER_ERROR_STALE = 3,           /* Stale Answer */
    ANSWER_ERROR_BOGUS = 6,           /* DNSSEC Bogus */
    ANSWER_ERROR_NOT_READY = 14,      /* Not Ready: too much is under way */
    ANSWER_ERROR_PROHIBITED = 18,     /* Prohibited: not a client */
    ANSWER_ERROR_STALE_NXDOMAIN = 19, /* Stale NXDOMAIN Answer */
    ANSWER_ERROR_NOT_RECURSIVE = 20,  /* "Not Authoritative": what a query without RD gets */
    ANSWER_ERROR_NOT_SUPPORTED = 21,  /* Not Supported: such a type or class is not answered */
    ANSWER_ERROR_NO_AUTHORITY = 22,   /* No Reachable Authority */
    ANSWER_ERROR_NETWORK = 23,        /* Network Error */
    ANSWER_ERROR_SYNTHESIZED = 29,    /* Synthesized */
};

enum {
    ANSWER_TTL_NONE = 0,
    ANSWER_STALE_TTL = 30, /* seconds, of records in stale replies, RFC 8767 section 4 */
};

struct answer {
    uint8_t *message; /* room for DNS_MESSAGE_MAX bytes, its owner's */
    uint32_t size;    /* bytes */
    uint32_t core;    /* bytes up to the end of the authority section: what a reply must have */
    uint32_t ttl;     /* seconds for which it may be cached; ANSWER_TTL_NONE: not at all */
    uint16_t error;   /* enum answer_error */
    uint8_t rcode;    /* 0 to 15 */
    bool secure;      /* all of answer and authority sections was validated, or made of what was */
    bool synthesized; /* AAAA or CNAME records of our own making are in it */
};

/* What a reply needs of its query beside the question. */
struct answer_wish {
    size_t limit;      /* bytes at most: the client's UDP limit, or DNS_MESSAGE_MAX over TCP */
    uint32_t age;      /* seconds since the answer was made */
    uint16_t udp_size; /* that we announce */
    bool stale;        /* the answer is past its TTL: its records get one of ANSWER_STALE_TTL */
};

/*
 * Makes the reply to a query out of an answer to its question, into `reply`. Returns its size, `wish->limit`
 * at most, which is at least 512. `reply` may be the answer's own buffer, so that what cache_find has copied
 * need not be copied again; it has room for `limit` bytes and for the answer.
 *
 * What does not fit: first the extended error goes (RFC 8914 section 3, but without TC: nobody should come
 * again for that), then the additional section, without a word; then all records, with TC (RFC 2181 section
 * 9), so that the client comes again over TCP. AD as RFC 6840 section 5.8 says: if the answer is secure and
 * the query had DO or AD, and not CD; nor if it is stale, since signatures vouch no longer than TTLs. A stale
 * reply has the extended error that says so instead of its own.
 */
size_t answer_reply(const struct answer *answer, const struct dns_query *query,
                    const struct answer_wish *wish, uint8_t *reply);

/*
 * The reply of a server that has nothing to say but an rcode and why: header, question if the query has one,
 * OPT if it had. Never larger than the query but for OPT's 11 bytes and the error's 6 and its text. `room` is
 * at least 512.
 */
size_t answer_refusal(const struct dns_query *query, uint16_t rcode, enum answer_error error,
                      uint16_t udp_size, uint8_t *reply, size_t room);

/* The text that goes with an extended error, or NULL. */
const char *answer_error_text(enum answer_error error);

#endif /* DNS64_ANSWER_H */
