/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Writing answers; the contract is in the header.
 */
#include "dns64/draft.h"

/* Types that mean something only to who validates. */
enum {
    TYPE_SIG = 24,
    TYPE_KEY = 25,
    TYPE_NXT = 30,
    TYPE_DNSKEY = 48,
    TYPE_NSEC3PARAM = 51,
};

static bool is_dnssec(uint16_t type)
{
    switch (type) {
    case TYPE_SIG:
    case TYPE_KEY:
    case TYPE_NXT:
    case DNS_TYPE_DS:
    case DNS_TYPE_RRSIG:
    case DNS_TYPE_NSEC:
    case TYPE_DNSKEY:
    case DNS_TYPE_NSEC3:
    case TYPE_NSEC3PARAM:
        return true;
    default:
        return false;
    }
}

static bool wanted(const struct draft *draft, const struct dns_record *record)
{
    return draft->question->dnssec_ok || !is_dnssec(record->type) ||
           (record->section == DNS_ANSWER && record->type == draft->question->type);
}

void draft_open(struct draft *draft, const struct inquiry_question *question, struct answer *answer)
{
    static const struct dns_header header = {.response = true, .recursion_available = true};
    draft->question = question;
    draft->answer = answer;
    draft->ttl = draft->most = UINT32_MAX;
    dns_writer_open(&draft->writer, answer->message, DNS_MESSAGE_MAX, &header);
    dns_writer_question(&draft->writer, &question->name, question->type, question->class);
    answer->core = 0;
}

void draft_limit(struct draft *draft, uint32_t ttl)
{
    if (ttl < draft->ttl)
        draft->ttl = ttl;
}

void draft_copy(struct draft *draft, const struct dns_reader *reader, const struct dns_record *record)
{
    /* A record whose data are not sound is left out; OPT is a matter between us and the resolver. */
    uint32_t ttl = record->ttl < draft->most ? record->ttl : draft->most;
    if (wanted(draft, record) && dns_writer_copy(&draft->writer, reader, record, ttl) == DNS_WRITTEN)
        draft_limit(draft, ttl);
}

void draft_copy_section(struct draft *draft, struct dns_reader *reader, enum dns_section section)
{
    struct dns_record record;
    draft_section(draft, section);
    while (response_next(reader, section, &record))
        draft_copy(draft, reader, &record);
}

bool draft_add(struct draft *draft, const struct dns_data *data)
{
    enum dns_written written = dns_writer_record(&draft->writer, data);
    if (written == DNS_WRITTEN)
        draft_limit(draft, data->ttl);
    return written != DNS_FULL;
}

void draft_section(struct draft *draft, enum dns_section section)
{
    dns_writer_section(&draft->writer, section);
    if (section == DNS_ADDITIONAL && draft->answer->core == 0)
        draft->answer->core = (uint32_t)draft->writer.size;
}

void draft_limit_negative(struct draft *draft, const struct response *response, const struct dns_rules *rules)
{
    /* How long an error holds nobody has said, whatever SOA record stands beside it. */
    if (response->rcode != DNS_RCODE_NOERROR && response->rcode != DNS_RCODE_NXDOMAIN)
        draft_limit(draft, ANSWER_TTL_NONE);
    draft_limit(draft, response->negative_ttl);
    draft_limit(draft, rules->negative_ttl);
    draft->most = rules->negative_ttl;
}

static void complete(struct draft *draft, uint8_t rcode)
{
    struct answer *answer = draft->answer;
    draft_section(draft, DNS_ADDITIONAL);
    dns_writer_rcode(&draft->writer, rcode);
    answer->size = (uint32_t)dns_writer_finish(&draft->writer);
    answer->ttl = draft->ttl == UINT32_MAX ? ANSWER_TTL_NONE : draft->ttl;
    answer->error = ANSWER_ERROR_NONE;
    answer->rcode = rcode;
    answer->secure = answer->synthesized = false;
}

void draft_finish(struct draft *draft, uint8_t rcode, bool secure, bool synthesized)
{
    struct answer *answer = draft->answer;
    if (draft->writer.truncated) {
        draft_failure(draft->question, ANSWER_ERROR_NETWORK, answer);
        return;
    }
    complete(draft, rcode);
    answer->secure = secure;
    answer->synthesized = synthesized;
    if (synthesized)
        answer->error = ANSWER_ERROR_SYNTHESIZED;
}

void draft_failure(const struct inquiry_question *question, enum answer_error error, struct answer *answer)
{
    struct draft draft;
    draft_open(&draft, question, answer);
    complete(&draft, DNS_RCODE_SERVFAIL);
    answer->error = (uint16_t)error;
    if (error == ANSWER_ERROR_BOGUS)
        answer->ttl = INQUIRY_TTL_BOGUS;
    else if (error != ANSWER_ERROR_NOT_READY) /* which is about us */
        answer->ttl = INQUIRY_TTL_FAILURE;
}
