/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An answer in the making. It keeps account of what an answer must say of itself: how long it may be kept,
 * where its additional section begins, and whether it got too long to be one.
 *
 * What is made has the question of the client, whatever was asked of others, AA clear, and no DNSSEC records
 * unless the client set DO or asked for their type (RFC 3225 section 3, RFC 4035 section 3.2.1).
 */
#ifndef DNS64_DRAFT_H
#define DNS64_DRAFT_H

#include "dns64/response.h"

struct draft {
    const struct inquiry_question *question;
    struct answer *answer;
    struct dns_writer writer;
    uint32_t ttl;  /* seconds: the least of what was written */
    uint32_t most; /* seconds: no record that is copied may say more */
};

/* Starts, with the question. */
void draft_open(struct draft *draft, const struct inquiry_question *question, struct answer *answer);

/* Copies a record, unless it is a DNSSEC record that the client does not want. */
void draft_copy(struct draft *draft, const struct dns_reader *reader, const struct dns_record *record);

/* Copies what is left of a section of the reader's. */
void draft_copy_section(struct draft *draft, struct dns_reader *reader, enum dns_section section);

/* Adds a record; false if no more fit. */
bool draft_add(struct draft *draft, const struct dns_data *data);

/* Goes on with the section; the core of the answer ends where the additional section begins. */
void draft_section(struct draft *draft, enum dns_section section);

/* It may be kept no longer than this. */
void draft_limit(struct draft *draft, uint32_t ttl);

/*
 * It has no data: it may be kept as RFC 2308 section 5 says, and as the rules allow; what is copied from here
 * on, its SOA record and the proof, says so to those who keep it, too.
 */
void draft_limit_negative(struct draft *draft, const struct response *response,
                          const struct dns_rules *rules);

/*
 * The end: fills the rest of the answer. One that got longer than a message can be becomes a failure, since
 * part of a set of records is worse than none.
 */
void draft_finish(struct draft *draft, uint8_t rcode, bool secure, bool synthesized);

/* The whole of a failure: SERVFAIL and why, not to be kept. */
void draft_failure(const struct inquiry_question *question, enum answer_error error, struct answer *answer);

#endif /* DNS64_DRAFT_H */
