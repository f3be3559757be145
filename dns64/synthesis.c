/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Synthesis; the contract is in the header.
 */
#include "dns64/synthesis.h"

#include "dns64/draft.h"

bool synthesis_excludes(const struct dns_rules *rules, const struct dns_reader *reader,
                        const struct dns_record *record)
{
    struct ipv6_address address;
    return !dns_record_ipv6(reader, record, &address) || rules_excludes_address(rules, &address);
}

bool synthesis_needless(const struct dns_rules *rules, const struct response *response)
{
    struct dns_reader reader = response->reader;
    struct dns_record record;
    if (response->found == 0)
        return false;
    while (response_next(&reader, DNS_ANSWER, &record))
        if (record.type == DNS_TYPE_AAAA && dns_name_equal(&record.owner, &response->end) &&
            !synthesis_excludes(rules, &reader, &record))
            return true;
    return false;
}

struct synthesis synthesis_begin(const struct inquiry *inquiry, const struct response *response)
{
    return (struct synthesis){.inquiry = inquiry, .response = response, .reader = response->reader};
}

bool synthesis_next(struct synthesis *synthesis)
{
    return response_next(&synthesis->reader, DNS_ANSWER, &synthesis->record);
}

unsigned synthesis_embed(const struct synthesis *synthesis, struct ipv6_address addresses[RULES_PREFIXES])
{
    be32 ipv4;
    if (!dns_record_ipv4(&synthesis->reader, &synthesis->record, &ipv4) ||
        !dns_name_equal(&synthesis->record.owner, &synthesis->response->end))
        return 0;
    return rules_embed(synthesis->inquiry->rules, synthesis->inquiry->question.view, ipv4, addresses);
}

bool synthesis_possible(const struct inquiry *inquiry, const struct response *response)
{
    struct ipv6_address addresses[RULES_PREFIXES];
    struct synthesis synthesis = synthesis_begin(inquiry, response);
    if (response->rcode != DNS_RCODE_NOERROR || response->found == 0 ||
        rules_excludes_name(inquiry->rules, &response->end))
        return false;
    while (synthesis_next(&synthesis))
        if (synthesis_embed(&synthesis, addresses) > 0)
            return true;
    return false;
}

/* rfc: 6147-5.1.7-b, 6147-5.1.7-c */
static uint32_t synthesis_ttl(const struct inquiry *inquiry, uint32_t ttl)
{
    uint32_t limit = inquiry->negative_ttl_known ? inquiry->negative_ttl : INQUIRY_TTL_WITHOUT_SOA;
    return ttl < limit ? ttl : limit;
}

struct dns_data synthesis_record(const struct synthesis *synthesis, const struct ipv6_address *address)
{
    return (struct dns_data){.owner = &synthesis->record.owner,
                             .rdata = address->bytes,
                             .type = DNS_TYPE_AAAA,
                             .class = DNS_CLASS_IN,
                             .rdata_length = sizeof(address->bytes),
                             .ttl = synthesis_ttl(synthesis->inquiry, synthesis->record.ttl)};
}

/* Where a walk along the chain is: the link it has passed, and the name to which that leads. */
struct chain {
    struct dns_name last, end;
};

/* Whether the record belongs to the chain: a link of it, or the signature of one. rfc: 6147-5.1.5-b */
static bool is_link(struct chain *chain, const struct dns_reader *reader, const struct dns_record *record)
{
    uint16_t type = record->type == DNS_TYPE_RRSIG ? response_covered(reader, record) : record->type;
    if (type == DNS_TYPE_DNAME)
        return dns_name_within(&chain->last, &record->owner) || dns_name_within(&chain->end, &record->owner);
    if (type != DNS_TYPE_CNAME)
        return false;
    if (record->type == DNS_TYPE_RRSIG)
        return dns_name_equal(&record->owner, &chain->last);
    if (!response_follow(reader, record, &chain->end))
        return false;
    chain->last = record->owner;
    return true;
}

/* Adds what is made of the record at hand; false if no more fit. rfc: 6147-5.1.7-a */
static bool add(struct draft *draft, const struct synthesis *synthesis)
{
    struct ipv6_address addresses[RULES_PREFIXES];
    unsigned count = synthesis_embed(synthesis, addresses);
    for (unsigned i = 0; i < count; i++) {
        const struct dns_data data = synthesis_record(synthesis, &addresses[i]);
        if (!draft_add(draft, &data))
            return false;
    }
    return true;
}

/* rfc: 6147-5.1.6-b, 6147-5.3.2-a, 6147-5.3.2-b, 6147-5.4-a */
void synthesis_write(const struct inquiry *inquiry, const struct response *response, struct answer *answer)
{
    struct synthesis synthesis = synthesis_begin(inquiry, response);
    bool possible = synthesis_possible(inquiry, response), room = true;
    struct chain chain = {inquiry->question.name, inquiry->question.name};
    struct draft draft;
    draft_open(&draft, &inquiry->question, answer);
    while (room && synthesis_next(&synthesis))
        if (is_link(&chain, &synthesis.reader, &synthesis.record))
            draft_copy(&draft, &synthesis.reader, &synthesis.record);
        else if (possible)
            room = add(&draft, &synthesis);
    if (!possible)
        draft_limit_negative(&draft, response, inquiry->rules);
    draft_copy_section(&draft, &synthesis.reader, DNS_AUTHORITY);
    draft_copy_section(&draft, &synthesis.reader, DNS_ADDITIONAL);
    draft_finish(&draft, response->rcode, inquiry->secure, possible);
}
