/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Any question, and any responses to whatever is asked on its account: the answer comes after a bounded
 * number of lookups, is sound, and says nothing that no response said, but for AAAA records that map back to
 * an A record of a response.
 *
 * The bytes are decisions, since a message of random bytes would rarely hold more than one record: a
 * question, then for each lookup what comes of it, mostly as records built of a few names and addresses that
 * meet each other often, or else as raw bytes behind a header and the right question. No bytes left means
 * zeroes.
 */
#include <stdlib.h>
#include <string.h>

#include "dns64/inquiry.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(condition)                                                                                   \
    do {                                                                                                     \
        if (!(condition))                                                                                    \
            abort();                                                                                         \
    } while (0)

enum {
    RECORDS = 24,   /* decisions of a response at most, each of which may be repeated */
    REPEATS = 4096, /* so that sets can be too large for a message */
    SEEN = 8192,    /* addresses that are remembered; when there are more they are not checked */
    RAW = 2048,
};

static const uint8_t *bytes;
static size_t left;

static struct dns_rules rules;
static uint8_t message[DNS_MESSAGE_MAX], made[DNS_MESSAGE_MAX], flat[DNS_MESSAGE_MAX + 2 * DNS_NAME_MAX];

/* Addresses that responses have had. */
static struct {
    size_t a_count, aaaa_count;
    be32 a[SEEN];
    struct ipv6_address aaaa[SEEN];
} seen;

static uint8_t take(void)
{
    if (left == 0)
        return 0;
    left--;
    return *bytes++;
}

static unsigned take16(void)
{
    unsigned high = take();
    return high << 8 | take();
}

/*** The house ***/

static struct dns_name parse(const char *text)
{
    struct dns_name name;
    REQUIRE(dns_name_parse(&name, text));
    return name;
}

static void add_prefix(const uint8_t first[8], uint8_t length, uint8_t ipv4_length)
{
    struct rules_prefix *prefix = &rules.prefixes[rules.prefix_count++];
    *prefix = (struct rules_prefix){.client_count = 1, .ipv4_count = 1};
    memcpy(prefix->prefix.address.bytes, first, length / 8 < 8 ? length / 8 : 8);
    prefix->prefix.length = length;
    prefix->ipv4[0] = (struct rules_network){
        .address = {.bytes = {[10] = 0xff, [11] = 0xff, [12] = ipv4_length > 96 ? 10 : 0}},
        .length = ipv4_length};
}

/* A prefix of each length, the well-known one, one for some IPv4 addresses only; two networks excluded. */
static void make_rules(void)
{
    static struct dns_name exempt;
    static const uint8_t well_known[8] = {0, 0x64, 0xff, 0x9b};
    uint8_t own[8] = {0x20, 0x01, 0x0d, 0xb9, 1, 2, 3, 4};
    static const uint8_t lengths[] = {32, 40, 48, 56, 64, 96};
    add_prefix(well_known, 96, 96);
    /* None within another, or addresses under it might be read in two ways. */
    for (size_t i = 0; i < sizeof(lengths); i++, own[3]++)
        add_prefix(own, lengths[i], lengths[i] == 48 ? 104 : 96);
    rules.excluded[0] = (struct rules_network){{.bytes = {[10] = 0xff, [11] = 0xff}}, 96};
    rules.excluded[1] = (struct rules_network){{.bytes = {0x20, 0x01, 0x0d, 0xb8, 0xba, 0xd0}}, 44};
    rules.excluded_count = 2;
    exempt = parse("exempt.example");
    rules.names = &exempt;
    rules.name_count = 1;
    rules.negative_ttl = 300;
    rules_seal(&rules);
}

/*** Decisions ***/

static struct dns_name take_name(const struct dns_name *asked)
{
    static const char *const names[] = {
        "a.example",
        "b.example",
        "c.b.example",
        "B.eXample",
        "exempt.example",
        "x.exempt.example",
        ".",
        "example",
        "ipv4only.arpa",
        "170.0.0.192.in-addr.arpa",
        "1.2.0.192.in-addr.arpa",
        "8.8.8.8.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.b.9.f.f.4.6.0.0.ip6.arpa",
        "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.a.8.b.d.0.1.0.0.2.ip6.arpa"};
    unsigned which = take() % 20;
    return which < sizeof(names) / sizeof(names[0]) ? parse(names[which]) : *asked;
}

static uint16_t take_type(void)
{
    static const uint16_t types[] = {DNS_TYPE_AAAA, DNS_TYPE_A,     DNS_TYPE_CNAME, DNS_TYPE_HTTPS,
                                     DNS_TYPE_SVCB, DNS_TYPE_DNAME, DNS_TYPE_RRSIG, DNS_TYPE_SOA,
                                     DNS_TYPE_PTR,  DNS_TYPE_NSEC,  DNS_TYPE_MX,    DNS_TYPE_TXT,
                                     DNS_TYPE_NS,   DNS_TYPE_NSEC3, 12345};
    unsigned which = take() % 16;
    return which < sizeof(types) / sizeof(types[0]) ? types[which] : (uint16_t)take16();
}

static uint32_t take_ttl(void)
{
    static const uint32_t ttls[] = {300, 0, 1, 599, 600, 601, 86400, 0x7fffffff, 0x80000000u, 0xffffffffu};
    return ttls[take() % 10];
}

/* Data of a record, flat; their length. */
static size_t take_data(uint16_t type, const struct dns_name *asked, uint8_t *data)
{
    size_t length = 0, rest;
    struct dns_name name;
    switch (type) {
    case DNS_TYPE_A:
        rest = 4;
        break;
    case DNS_TYPE_AAAA:
        rest = 16;
        memcpy(data, rules.excluded[take() % 2].address.bytes, 16);
        length = take() % 17;
        rest -= length;
        break;
    case DNS_TYPE_SVCB:
    case DNS_TYPE_HTTPS:
    case DNS_TYPE_MX:
        data[length++] = 0;
        data[length++] = take();
        /* fall through */
    case DNS_TYPE_SOA:
    case DNS_TYPE_NSEC:
    case DNS_TYPE_CNAME:
    case DNS_TYPE_DNAME:
    case DNS_TYPE_PTR:
    case DNS_TYPE_NS:
        name = take_name(asked);
        memcpy(data + length, name.wire, name.length);
        length += name.length;
        if (type == DNS_TYPE_SOA)
            data[length++] = 0;
        rest = type == DNS_TYPE_SOA ? 20 : 0;
        break;
    default:
        rest = take() % 40;
    }
    /* Now and then of another length than the type has. */
    for (rest += take() == 255; rest > 0; rest--)
        data[length++] = take();
    return length;
}

static void take_record(struct dns_writer *writer, const struct dns_name *asked)
{
    static uint8_t data[2 * DNS_NAME_MAX + 64];
    uint8_t control = take();
    struct dns_name owner = take_name(asked);
    uint16_t type = take_type();
    struct dns_data record = {.owner = &owner,
                              .rdata = data,
                              .type = type,
                              .class = (control & 4) != 0 ? 3 : DNS_CLASS_IN,
                              .ttl = take_ttl()};
    unsigned repeats = (control & 0xf8) == 0x58 ? take16() % REPEATS : 1;
    record.rdata_length = (uint16_t)take_data(type, asked, data);
    dns_writer_section(writer, (enum dns_section)(control & 3) % DNS_SECTIONS);
    for (unsigned i = 0; i < repeats; i++) {
        if (dns_writer_record(writer, &record) != DNS_WRITTEN)
            break;
        if (record.rdata_length > 0)
            data[record.rdata_length - 1]++;
        if (record.rdata_length > 1 && data[record.rdata_length - 1] == 0)
            data[record.rdata_length - 2]++;
    }
}

static size_t take_message(const struct lookup *ask, uint8_t control)
{
    const struct dns_header header = {.response = true, .rcode = (control & 0x20) != 0 ? take() & 15 : 0};
    struct dns_writer writer;
    size_t raw, size;
    dns_writer_open(&writer, message, sizeof(message), &header);
    dns_writer_question(&writer, &ask->name, ask->type, ask->class);
    if ((control & 0x08) == 0) {
        for (unsigned i = take() % RECORDS; i > 0; i--)
            take_record(&writer, &ask->name);
        return dns_writer_finish(&writer);
    }
    size = dns_writer_finish(&writer);
    for (size_t i = 6; i < DNS_HEADER_LENGTH; i++)
        message[i] = take();
    for (raw = take16() % RAW; raw > 0; raw--)
        message[size++] = take();
    return size;
}

/*** Invariants ***/

static void remember(const struct looked_up *result)
{
    struct dns_reader reader;
    struct dns_header header;
    struct dns_question question;
    struct dns_record record;
    if (result->message == NULL ||
        !dns_reader_open(&reader, result->message, result->size, &header, &question))
        return;
    while (dns_reader_next(&reader, &record) == DNS_NEXT_RECORD) {
        if (seen.a_count < SEEN && dns_record_ipv4(&reader, &record, &seen.a[seen.a_count]))
            seen.a_count++;
        if (seen.aaaa_count < SEEN && dns_record_ipv6(&reader, &record, &seen.aaaa[seen.aaaa_count]))
            seen.aaaa_count++;
    }
}

static bool is_seen(const struct ipv6_address *address)
{
    be32 ipv4;
    if (seen.a_count == SEEN || seen.aaaa_count == SEEN)
        return true;
    for (size_t i = 0; i < seen.aaaa_count; i++)
        if (memcmp(&seen.aaaa[i], address, sizeof(*address)) == 0)
            return true;
    if (!rules_extract(&rules, address, &ipv4))
        return false;
    for (size_t i = 0; i < seen.a_count; i++)
        if (seen.a[i] == ipv4)
            return true;
    return false;
}

/* An AAAA record of an answer to a question for us. */
static void check_address(const struct inquiry_question *question, const struct answer *answer,
                          const struct dns_reader *reader, const struct dns_record *record)
{
    struct ipv6_address address;
    be32 ipv4;
    bool local = dns_name_equal(&question->name, &(struct dns_name){15, "\10ipv4only\4arpa"});
    if (!dns_record_ipv6(reader, record, &address) || local)
        return;
    REQUIRE(is_seen(&address));
    if (question->type != DNS_TYPE_AAAA || record->section != DNS_ANSWER || question->view == 0 ||
        question->checking_disabled)
        return;
    REQUIRE(!rules_excludes_address(&rules, &address));
    REQUIRE(!answer->synthesized || rules_extract(&rules, &address, &ipv4));
}

static void check_record(const struct inquiry_question *question, const struct answer *answer,
                         const struct dns_reader *reader, const struct dns_record *record)
{
    bool dnssec = record->type == DNS_TYPE_RRSIG || record->type == DNS_TYPE_NSEC;
    REQUIRE(record->type != DNS_TYPE_OPT);
    REQUIRE(record->ttl >= answer->ttl);
    REQUIRE(question->dnssec_ok || !dnssec || record->type == question->type);
    REQUIRE(dns_record_flatten(reader, record, flat, sizeof(flat)) >= 0);
    if (answer->synthesized && question->type == DNS_TYPE_AAAA && record->section == DNS_ANSWER)
        REQUIRE(record->type != DNS_TYPE_A);
    check_address(question, answer, reader, record);
}

/* Seconds for which a failure is kept. */
static uint32_t kept_failure(enum answer_error error)
{
    if (error == ANSWER_ERROR_BOGUS)
        return INQUIRY_TTL_BOGUS;
    return error == ANSWER_ERROR_NOT_READY ? 0 : INQUIRY_TTL_FAILURE;
}

static void check(const struct inquiry_question *question, const struct answer *answer)
{
    struct dns_reader reader;
    struct dns_header header;
    struct dns_question again;
    struct dns_record record;
    enum dns_next next;
    size_t core;
    REQUIRE(dns_reader_open(&reader, answer->message, answer->size, &header, &again));
    REQUIRE(dns_name_equal(&again.asked, &question->name));
    REQUIRE(again.type == question->type && again.class == question->class);
    REQUIRE(header.rcode == answer->rcode && header.response && !header.truncated && !header.authentic);
    REQUIRE(!answer->secure || answer->rcode == DNS_RCODE_NOERROR || answer->rcode == DNS_RCODE_NXDOMAIN);
    REQUIRE(answer->rcode != DNS_RCODE_SERVFAIL ||
            (answer->error != 0 && answer->ttl == kept_failure((enum answer_error)answer->error)));
    core = reader.at;
    while ((next = dns_reader_next(&reader, &record)) == DNS_NEXT_RECORD) {
        check_record(question, answer, &reader, &record);
        if (record.section != DNS_ADDITIONAL)
            core = reader.at;
    }
    REQUIRE(next == DNS_NEXT_END && reader.at == answer->size && core == answer->core);
}

/* What comes of a lookup; false: the time is up. */
static bool take_result(const struct lookup *ask, struct looked_up *result)
{
    uint8_t control = take();
    *result = (struct looked_up){.state = (enum lookup_state)((control & 7) % (LOOKUP_BUSY + 1))};
    if (result->state <= LOOKUP_SECURE) {
        result->size = take_message(ask, control);
        result->message = message;
    }
    return (control & 0xc0) != 0xc0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct inquiry inquiry;
    struct answer answer = {.message = made};
    struct inquiry_question question = {.class = DNS_CLASS_IN};
    struct looked_up result;
    enum inquiry_step step;
    unsigned lookups = 0;
    uint8_t control;
    bytes = data;
    left = size;
    seen.a_count = seen.aaaa_count = 0;
    if (rules.prefix_count == 0)
        make_rules();
    question.type = take_type();
    control = take();
    question.dnssec_ok = (control & 1) != 0;
    question.checking_disabled = (control & 6) == 6;
    question.class = (control & 24) == 24 ? 3 : DNS_CLASS_IN;
    question.view = (rules_view)(~take() & 0x7f);
    question.name = parse("a.example");
    question.name = take_name(&question.name);
    dns_name_lower(&question.name);
    step = inquiry_begin(&inquiry, &question, &rules, &answer);
    while (step == INQUIRY_ASK) {
        REQUIRE(++lookups <= INQUIRY_LOOKUPS);
        if (!take_result(&inquiry.ask, &result)) {
            inquiry_give_up(&inquiry, &answer);
            break;
        }
        remember(&result);
        step = inquiry_continue(&inquiry, &result, &answer);
        /* Nothing of a response is used when it is gone. */
        memset(message, 0x55, result.size);
    }
    check(&question, &answer);
    return 0;
}
