/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Text to records; the contract is in the header. Each type has a function that takes the words of its data.
 */
#include "test/dns64/zone_text.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    uint16_t type;
} types[] = {
    {"A", DNS_TYPE_A},
    {"NS", DNS_TYPE_NS},
    {"CNAME", DNS_TYPE_CNAME},
    {"SOA", DNS_TYPE_SOA},
    {"PTR", DNS_TYPE_PTR},
    {"MX", DNS_TYPE_MX},
    {"TXT", DNS_TYPE_TXT},
    {"AAAA", DNS_TYPE_AAAA},
    {"SRV", DNS_TYPE_SRV},
    {"DNAME", DNS_TYPE_DNAME},
    {"DS", 43},
    {"RRSIG", DNS_TYPE_RRSIG},
    {"NSEC", DNS_TYPE_NSEC},
    {"DNSKEY", 48},
    {"NSEC3", DNS_TYPE_NSEC3},
    {"SVCB", DNS_TYPE_SVCB},
    {"HTTPS", DNS_TYPE_HTTPS},
};

bool zone_type(const char *name, uint16_t *type)
{
    unsigned number;
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        if (strcmp(types[i].name, name) == 0) {
            *type = types[i].type;
            return true;
        }
    if (sscanf(name, "TYPE%u", &number) != 1 || number > UINT16_MAX)
        return false;
    *type = (uint16_t)number;
    return true;
}

const char *zone_type_name(uint16_t type)
{
    static char text[16];
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        if (types[i].type == type)
            return types[i].name;
    (void)snprintf(text, sizeof(text), "TYPE%u", type);
    return text;
}

bool zone_network(const char *text, struct ipv6_address *address, uint8_t *length)
{
    char host[64];
    const char *slash = strchr(text, '/');
    size_t size = slash != NULL ? (size_t)(slash - text) : strlen(text);
    struct in_addr four;
    if (size >= sizeof(host))
        return false;
    memcpy(host, text, size);
    host[size] = '\0';
    if (inet_pton(AF_INET6, host, address->bytes) == 1) {
        *length = (uint8_t)(slash != NULL ? atoi(slash + 1) : 128);
        return true;
    }
    *address = (struct ipv6_address){.bytes = {[10] = 0xff, [11] = 0xff}};
    *length = (uint8_t)(96 + (slash != NULL ? atoi(slash + 1) : 32));
    if (inet_pton(AF_INET, host, &four) != 1)
        return false;
    memcpy(address->bytes + 12, &four, 4);
    return true;
}

/*** Data ***/

/* Words that are read and data that grow. */
struct builder {
    struct zone_record *record;
    char *rest;
};

static char *word(struct builder *builder)
{
    return strtok_r(NULL, " \t", &builder->rest);
}

static bool put(struct builder *builder, const void *bytes, size_t n)
{
    struct zone_record *record = builder->record;
    if (n > sizeof(record->rdata) - record->rdata_length)
        return false;
    memcpy(record->rdata + record->rdata_length, bytes, n);
    record->rdata_length = (uint16_t)(record->rdata_length + n);
    return true;
}

static bool put16(struct builder *builder, unsigned number)
{
    be16 field = to_be16((uint16_t)number);
    return put(builder, &field, sizeof(field));
}

static bool put32(struct builder *builder, uint32_t number)
{
    be32 field = to_be32(number);
    return put(builder, &field, sizeof(field));
}

static bool take_number(struct builder *builder, uint32_t *number)
{
    char *text = word(builder), *end;
    if (text == NULL)
        return false;
    *number = (uint32_t)strtoul(text, &end, 10);
    return *end == '\0';
}

static bool put_name(struct builder *builder)
{
    const char *text = word(builder);
    struct dns_name name;
    return text != NULL && dns_name_parse(&name, text) && put(builder, name.wire, name.length);
}

static bool put_address(struct builder *builder, int family, const char *text)
{
    uint8_t bytes[16];
    return text != NULL && inet_pton(family, text, bytes) == 1 &&
           put(builder, bytes, family == AF_INET ? 4 : 16);
}

static bool put_soa(struct builder *builder)
{
    static const uint8_t mailbox[] = "\4root\7example";
    uint32_t minimum;
    return put_name(builder) && put(builder, mailbox, sizeof(mailbox)) && put32(builder, 1) &&
           put32(builder, 3600) && put32(builder, 600) && put32(builder, 86400) &&
           take_number(builder, &minimum) && put32(builder, minimum);
}

/* RFC 9460 section 2.2; key 4 is ipv4hint. */
static bool put_service(struct builder *builder)
{
    uint32_t priority;
    const char *hint;
    if (!take_number(builder, &priority) || !put16(builder, priority) || !put_name(builder))
        return false;
    hint = word(builder);
    return hint == NULL || (strncmp(hint, "ipv4hint=", 9) == 0 && put16(builder, 4) && put16(builder, 4) &&
                            put_address(builder, AF_INET, hint + 9));
}

/* RFC 4034 section 3.1: type, algorithm, labels, TTL, expiration, inception, tag, signer, signature. */
static bool put_signature(struct builder *builder)
{
    static const uint8_t signer[] = "\7example";
    const char *covered = word(builder);
    uint16_t type;
    return covered != NULL && zone_type(covered, &type) && put16(builder, type) &&
           put16(builder, 13 << 8 | 2) && put32(builder, 3600) && put32(builder, 2000000000u) &&
           put32(builder, 1000000000u) && put16(builder, 4711) && put(builder, signer, sizeof(signer)) &&
           put(builder, "signature", 9);
}

static bool put_hexadecimal(struct builder *builder)
{
    const char *text = word(builder);
    unsigned byte;
    for (; text != NULL && *text != '\0'; text += 2) {
        uint8_t one;
        if (sscanf(text, "%2x", &byte) != 1 || text[1] == '\0')
            return false;
        one = (uint8_t)byte;
        if (!put(builder, &one, 1))
            return false;
    }
    return true;
}

static bool put_text(struct builder *builder)
{
    const char *text = word(builder);
    uint8_t length = text != NULL ? (uint8_t)strlen(text) : 0;
    return text != NULL && put(builder, &length, 1) && put(builder, text, length);
}

/* A type that is given by its number has its data as they stand, so that they can be wrong. */
static bool put_data(struct builder *builder, const char *type)
{
    uint32_t preference;
    if (strncmp(type, "TYPE", 4) == 0)
        return put_hexadecimal(builder);
    switch (builder->record->type) {
    case DNS_TYPE_A:
        return put_address(builder, AF_INET, word(builder));
    case DNS_TYPE_AAAA:
        return put_address(builder, AF_INET6, word(builder));
    case DNS_TYPE_CNAME:
    case DNS_TYPE_DNAME:
    case DNS_TYPE_NS:
    case DNS_TYPE_PTR:
    case DNS_TYPE_NSEC:
        return put_name(builder);
    case DNS_TYPE_MX:
        return take_number(builder, &preference) && put16(builder, preference) && put_name(builder);
    case DNS_TYPE_SOA:
        return put_soa(builder);
    case DNS_TYPE_SVCB:
    case DNS_TYPE_HTTPS:
        return put_service(builder);
    case DNS_TYPE_RRSIG:
        return put_signature(builder);
    case DNS_TYPE_TXT:
        return put_text(builder);
    default:
        return put_hexadecimal(builder);
    }
}

bool zone_record_read(struct zone_record *record, char *text, char error[ZONE_ERROR])
{
    struct builder builder = {.record = record};
    const char *owner = strtok_r(text, " \t", &builder.rest), *type, *left;
    bool sound;
    record->rdata_length = 0;
    sound = owner != NULL && dns_name_parse(&record->owner, owner) && take_number(&builder, &record->ttl) &&
            (type = word(&builder)) != NULL && zone_type(type, &record->type) && put_data(&builder, type);
    left = sound ? word(&builder) : NULL;
    if (!sound || left != NULL)
        (void)snprintf(error, ZONE_ERROR, "a record is OWNER TTL TYPE DATA%s%.40s",
                       left != NULL ? ", too much: " : "", left != NULL ? left : "");
    return sound && left == NULL;
}
