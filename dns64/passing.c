/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Passing on; the contract is in the header.
 */
#include "dns64/passing.h"

#include "dns64/synthesis.h"

static bool is_absent(const struct inquiry *inquiry, const struct dns_reader *reader,
                      const struct dns_record *record)
{
    return inquiry->question.view != 0 && !inquiry->question.checking_disabled &&
           record->type == DNS_TYPE_AAAA && record->class == DNS_CLASS_IN &&
           synthesis_excludes(inquiry->rules, reader, record);
}

/* How many answers count as absent. */
static unsigned count_absent(const struct inquiry *inquiry, const struct response *response)
{
    struct dns_reader reader = response->reader;
    struct dns_record record;
    unsigned count = 0;
    if (inquiry->question.type != DNS_TYPE_AAAA)
        return 0;
    while (response_next(&reader, DNS_ANSWER, &record))
        count += is_absent(inquiry, &reader, &record);
    return count;
}

static void copy_present(struct draft *draft, const struct inquiry *inquiry, struct dns_reader *reader)
{
    struct dns_record record;
    while (response_next(reader, DNS_ANSWER, &record))
        if (!is_absent(inquiry, reader, &record) && response_covered(reader, &record) != DNS_TYPE_AAAA)
            draft_copy(draft, reader, &record);
}

void passing_begin(struct draft *draft, const struct inquiry *inquiry, const struct response *response,
                   struct answer *answer)
{
    struct dns_reader reader = response->reader;
    draft_open(draft, &inquiry->question, answer);
    if (count_absent(inquiry, response) > 0)
        copy_present(draft, inquiry, &reader);
    draft_copy_section(draft, &reader, DNS_ANSWER);
    if (response->found == 0 || response->rcode != DNS_RCODE_NOERROR)
        draft_limit_negative(draft, response, inquiry->rules);
    draft_copy_section(draft, &reader, DNS_AUTHORITY);
    draft_copy_section(draft, &reader, DNS_ADDITIONAL);
}

/* rfc: 6147-5.1.4-d, 6147-5.1.4-e */
void passing_write(const struct inquiry *inquiry, const struct response *response, struct answer *answer)
{
    struct draft draft;
    passing_begin(&draft, inquiry, response, answer);
    draft_finish(&draft, response->rcode, inquiry->secure, false);
}

/* The least TTL of the answers: our CNAME stands for the links that it passes by, too. */
static uint32_t least_ttl(struct dns_reader reader)
{
    struct dns_record record;
    uint32_t ttl = UINT32_MAX;
    while (response_next(&reader, DNS_ANSWER, &record))
        if (record.ttl < ttl)
            ttl = record.ttl;
    return ttl;
}

/* rfc: 6147-5.3.1-b, 6147-5.3.1-d */
void passing_write_reverse(const struct inquiry *inquiry, const struct response *response,
                           struct answer *answer)
{
    struct dns_reader reader = response->reader;
    struct dns_record record;
    struct draft draft;
    const struct dns_data cname = {
        .owner = &inquiry->question.name,
        .rdata = response->end.wire,
        .type = DNS_TYPE_CNAME,
        .class = DNS_CLASS_IN,
        .rdata_length = response->end.length,
        .ttl = least_ttl(reader),
    };
    if (response->found == 0 || response->rcode != DNS_RCODE_NOERROR) {
        passing_write(inquiry, response, answer);
        return;
    }
    draft_open(&draft, &inquiry->question, answer);
    (void)draft_add(&draft, &cname);
    while (response_next(&reader, DNS_ANSWER, &record))
        if (dns_name_equal(&record.owner, &response->end))
            draft_copy(&draft, &reader, &record);
    draft_copy_section(&draft, &reader, DNS_AUTHORITY);
    draft_copy_section(&draft, &reader, DNS_ADDITIONAL);
    draft_finish(&draft, response->rcode, inquiry->secure, true);
}
