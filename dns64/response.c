/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reading the result of a lookup; the contract is in the header.
 */
#include "dns64/response.h"

bool response_next(struct dns_reader *reader, enum dns_section section, struct dns_record *record)
{
    return reader->left[section] > 0 && dns_reader_next(reader, record) == DNS_NEXT_RECORD;
}

uint16_t response_covered(const struct dns_reader *reader, const struct dns_record *record)
{
    if (record->type != DNS_TYPE_RRSIG || record->rdata_length < 2)
        return 0;
    return from_be16(load_be16(reader->bytes + record->rdata));
}

/* rfc: 6147-5.1.5-a */
bool response_follow(const struct dns_reader *reader, const struct dns_record *record, struct dns_name *end)
{
    struct dns_name target;
    if (record->type != DNS_TYPE_CNAME || !dns_name_equal(&record->owner, end) ||
        !dns_record_target(reader, record, &target))
        return false;
    *end = target;
    return true;
}

/* An SOA record limits how long a negative answer holds, by its TTL and by its last field. */
static void take_soa(struct response *response, const struct dns_record *record)
{
    uint32_t minimum;
    if (response->has_soa || !dns_record_soa_minimum(&response->reader, record, &minimum))
        return;
    response->has_soa = true;
    response->negative_ttl = record->ttl < minimum ? record->ttl : minimum;
}

static void take_answer(struct response *response, const struct dns_record *record,
                        const struct lookup *asked)
{
    if (record->class != asked->class)
        return;
    if (record->type == asked->type)
        response->found += dns_name_equal(&record->owner, &response->end);
    else if (response_follow(&response->reader, record, &response->end))
        response->found = 0;
}

static bool answers(const struct dns_question *question, const struct lookup *asked)
{
    return question->type == asked->type && question->class == asked->class &&
           dns_name_equal(&question->name, &asked->name);
}

bool response_read(struct response *response, const struct looked_up *result, const struct lookup *asked)
{
    struct dns_header header;
    struct dns_question question;
    struct dns_record record;
    struct dns_reader reader;
    enum dns_next next;
    if (result->message == NULL || result->state > LOOKUP_SECURE ||
        !dns_reader_open(&reader, result->message, result->size, &header, &question) || header.truncated ||
        header.rcode == DNS_RCODE_SERVFAIL || !answers(&question, asked))
        return false;
    response->reader = reader;
    response->end = asked->name;
    response->found = response->negative_ttl = 0;
    response->has_soa = false;
    response->rcode = (uint8_t)header.rcode;
    response->secure = result->state == LOOKUP_SECURE &&
                       (header.rcode == DNS_RCODE_NOERROR || header.rcode == DNS_RCODE_NXDOMAIN);
    while ((next = dns_reader_next(&reader, &record)) == DNS_NEXT_RECORD)
        if (record.section == DNS_ANSWER)
            take_answer(response, &record, asked);
        else if (record.section == DNS_AUTHORITY && record.type == DNS_TYPE_SOA)
            take_soa(response, &record);
    return next == DNS_NEXT_END;
}
