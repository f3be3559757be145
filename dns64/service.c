/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Targets of services; the contract is in the header.
 *
 * What is to be added stands behind the kept response in the form of records whose names are written out:
 * owner, type, class, TTL, length, data. They are made into a message only once, at the end.
 */
#include "dns64/service.h"

#include <string.h>

#include "dns64/passing.h"
#include "dns64/synthesis.h"

enum {
    PRIORITY = 2, /* bytes before the target's name; 0 means AliasMode */
    FIXED = 10,   /* bytes of a record between owner and data */
};

/*** Targets ***/

/*
 * The name to which a record leads. The root stands for the owner in ServiceMode (RFC 9460 section 2.5.2),
 * and in AliasMode for a service that does not exist (section 2.5.1).
 */
static bool target_of(const struct dns_reader *reader, const struct dns_record *record,
                      struct dns_name *target)
{
    const uint8_t *rdata = reader->bytes + record->rdata;
    if (record->rdata_length < PRIORITY ||
        dns_name_read(target, rdata + PRIORITY, (size_t)record->rdata_length - PRIORITY) == 0)
        return false;
    if (target->length == 1) {
        if (rdata[0] == 0 && rdata[1] == 0)
            return false;
        *target = record->owner;
    }
    dns_name_lower(target);
    return true;
}

static bool is_noted(const struct inquiry_service *service, const struct dns_name *target)
{
    for (unsigned i = 0; i < service->target_count; i++)
        if (dns_name_equal(&service->targets[i], target))
            return true;
    return false;
}

/* Whether the response itself brings records of this owner and type, such that count. */
static bool is_brought(const struct dns_rules *rules, struct dns_reader reader, const struct dns_name *owner,
                       uint16_t type)
{
    struct dns_record record;
    while (dns_reader_next(&reader, &record) == DNS_NEXT_RECORD)
        if (record.section != DNS_AUTHORITY && record.type == type && dns_name_equal(&record.owner, owner) &&
            (type != DNS_TYPE_AAAA || !synthesis_excludes(rules, &reader, &record)))
            return true;
    return false;
}

static void note_targets(struct inquiry *inquiry, const struct response *response)
{
    struct inquiry_service *service = &inquiry->service;
    struct dns_reader reader = response->reader;
    struct dns_record record;
    while (service->target_count < INQUIRY_TARGETS && response_next(&reader, DNS_ANSWER, &record)) {
        struct dns_name *target = &service->targets[service->target_count];
        if (record.type == inquiry->question.type && dns_name_equal(&record.owner, &response->end) &&
            target_of(&reader, &record, target) && !is_noted(service, target) &&
            !rules_excludes_name(inquiry->rules, target) &&
            !is_brought(inquiry->rules, response->reader, target, DNS_TYPE_AAAA))
            service->target_count++;
    }
}

bool service_begin(struct inquiry *inquiry, const struct response *response, const struct looked_up *result)
{
    struct inquiry_service *service = &inquiry->service;
    service->target_count = service->target = 0;
    if (response->rcode != DNS_RCODE_NOERROR || response->found == 0 || result->size > sizeof(service->kept))
        return false;
    note_targets(inquiry, response);
    if (service->target_count == 0)
        return false;
    memcpy(service->kept, result->message, result->size);
    service->size = service->used = (uint16_t)result->size;
    service->state = result->state;
    return true;
}

const struct dns_name *service_target(const struct inquiry *inquiry)
{
    const struct inquiry_service *service = &inquiry->service;
    return service->target < service->target_count ? &service->targets[service->target] : NULL;
}

void service_next(struct inquiry *inquiry)
{
    inquiry->service.target++;
}

/*** What is added ***/

/* Reads the record at *at of what was kept and moves behind it; false at the end. */
static bool next_added(const struct inquiry_service *service, size_t *at, struct dns_name *owner,
                       struct dns_data *data)
{
    const uint8_t *fixed;
    if (*at >= service->used)
        return false;
    fixed = service->kept + *at + dns_name_read(owner, service->kept + *at, service->used - *at);
    *data = (struct dns_data){
        .owner = owner,
        .rdata = fixed + FIXED,
        .type = from_be16(load_be16(fixed)),
        .class = from_be16(load_be16(fixed + 2)),
        .ttl = from_be32(load_be32(fixed + 4)),
        .rdata_length = from_be16(load_be16(fixed + 8)),
    };
    *at = (size_t)(data->rdata - service->kept) + data->rdata_length;
    return true;
}

/* Whether one of the records before `end` has this owner and type: two targets may share a chain's end. */
static bool is_added(const struct inquiry_service *service, size_t end, const struct dns_name *owner,
                     uint16_t type)
{
    size_t at = service->size;
    struct dns_name other;
    struct dns_data data;
    while (at < end && next_added(service, &at, &other, &data))
        if (data.type == type && dns_name_equal(&other, owner))
            return true;
    return false;
}

static bool keep(struct inquiry_service *service, const struct dns_data *data)
{
    uint8_t *at = service->kept + service->used;
    size_t size = (size_t)data->owner->length + FIXED + data->rdata_length;
    if (size > sizeof(service->kept) - service->used)
        return false;
    memcpy(at, data->owner->wire, data->owner->length);
    at += data->owner->length;
    store_be16(at, to_be16(data->type));
    store_be16(at + 2, to_be16(data->class));
    store_be32(at + 4, to_be32(data->ttl));
    store_be16(at + 8, to_be16(data->rdata_length));
    memcpy(at + FIXED, data->rdata, data->rdata_length);
    service->used = (uint16_t)(service->used + size);
    return true;
}

static bool keep_addresses(struct inquiry *inquiry, const struct synthesis *synthesis)
{
    struct ipv6_address addresses[RULES_PREFIXES];
    unsigned count = synthesis_embed(synthesis, addresses);
    for (unsigned i = 0; i < count; i++) {
        const struct dns_data data = synthesis_record(synthesis, &addresses[i]);
        if (!keep(&inquiry->service, &data))
            return false;
    }
    return true;
}

static bool keep_link(struct inquiry_service *service, const struct dns_record *record,
                      const struct dns_name *target)
{
    const struct dns_data data = {
        .owner = &record->owner,
        .rdata = target->wire,
        .type = DNS_TYPE_CNAME,
        .class = DNS_CLASS_IN,
        .rdata_length = target->length,
        .ttl = record->ttl,
    };
    return keep(service, &data);
}

void service_add(struct inquiry *inquiry, const struct response *response)
{
    struct inquiry_service *service = &inquiry->service;
    struct synthesis synthesis = synthesis_begin(inquiry, response);
    struct dns_name end = service->targets[service->target];
    uint16_t start = service->used;
    bool known = is_added(service, start, &response->end, DNS_TYPE_AAAA), room = true;
    while (room && synthesis_next(&synthesis))
        if (response_follow(&synthesis.reader, &synthesis.record, &end))
            room = is_added(service, start, &synthesis.record.owner, DNS_TYPE_CNAME) ||
                   keep_link(service, &synthesis.record, &end);
        else if (!known)
            room = keep_addresses(inquiry, &synthesis);
    if (!room)
        service->used = start;
}

/*** The answer ***/

void service_write(struct inquiry *inquiry, struct answer *answer)
{
    const struct inquiry_service *service = &inquiry->service;
    const struct looked_up result = {service->state, service->kept, service->size};
    const struct lookup asked = {
        .name = inquiry->question.name, .type = inquiry->question.type, .class = inquiry->question.class};
    struct response response;
    struct draft draft;
    struct dns_name owner;
    struct dns_data data;
    size_t at = service->size;
    bool added = false;
    /* It was read before, so it can be read again. */
    if (!response_read(&response, &result, &asked)) {
        draft_failure(&inquiry->question, ANSWER_ERROR_NETWORK, answer);
        return;
    }
    inquiry->secure = response.secure;
    passing_begin(&draft, inquiry, &response, answer);
    while (next_added(service, &at, &owner, &data))
        if (!is_brought(inquiry->rules, response.reader, data.owner, data.type) && draft_add(&draft, &data))
            added |= data.type == DNS_TYPE_AAAA;
    draft_finish(&draft, response.rcode, inquiry->secure, added);
}
