/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reading messages; the contract is in the header.
 *
 * The one place where a message could make its reader go in circles is the pointer in a name. A name is read
 * in runs of labels, each of which begins before the run that pointed to it, so runs cannot repeat; and since
 * a pointer may lead to another at once, their number has a limit of its own.
 */
#include "dns64/message.h"

#include <string.h>

#include "dns64/rdata.h"

enum { POINTER = 0xc0 }; /* the upper two bits of a pointer, RFC 1035 section 4.1.4 */

static uint16_t number16(const uint8_t *bytes)
{
    return from_be16(load_be16(bytes));
}

bool dns_header_read(struct dns_header *header, const uint8_t *bytes, size_t size)
{
    uint16_t flags;
    if (size < DNS_HEADER_LENGTH)
        return false;
    flags = number16(bytes + 2);
    *header = (struct dns_header){
        .id = number16(bytes),
        .rcode = flags & 15,
        .opcode = (flags >> DNS_OPCODE_SHIFT) & 15,
        .response = (flags & DNS_FLAG_RESPONSE) != 0,
        .authoritative = (flags & DNS_FLAG_AUTHORITATIVE) != 0,
        .truncated = (flags & DNS_FLAG_TRUNCATED) != 0,
        .recursion_desired = (flags & DNS_FLAG_RECURSION_DESIRED) != 0,
        .recursion_available = (flags & DNS_FLAG_RECURSION_AVAILABLE) != 0,
        .authentic = (flags & DNS_FLAG_AUTHENTIC) != 0,
        .checking_disabled = (flags & DNS_FLAG_CHECKING_DISABLED) != 0,
    };
    return true;
}

/*
 * The end of the labels that begin at `at`: the zero or the pointer behind them, or whatever is no label. It
 * looks no further than a name can reach.
 */
static size_t behind_labels(const struct dns_reader *reader, size_t at)
{
    size_t end = at + DNS_NAME_MAX < reader->size ? at + DNS_NAME_MAX : reader->size;
    while (at < end && (uint8_t)(reader->bytes[at] - 1) < DNS_LABEL_MAX)
        at += 1u + reader->bytes[at];
    return at;
}

bool dns_reader_name(const struct dns_reader *reader, size_t *at, struct dns_name *name)
{
    size_t run = *at, behind = 0, length = 0;
    unsigned pointers = 0;
    for (;;) {
        size_t here = behind_labels(reader, run), labels = here - run;
        if (here >= reader->size || length + labels >= DNS_NAME_MAX)
            return false;
        memcpy(name->wire + length, reader->bytes + run, labels);
        length += labels;
        if (reader->bytes[here] == 0) {
            behind = behind != 0 ? behind : here + 1;
            break;
        }
        if (reader->bytes[here] < POINTER || reader->size - here < 2 || pointers++ == DNS_POINTERS_MAX)
            return false;
        if (behind == 0)
            behind = here + 2;
        here = number16(reader->bytes + here) & 0x3fffu;
        if (here >= run || here < reader->first)
            return false;
        run = here;
    }
    name->wire[length] = 0;
    name->length = (uint8_t)(length + 1);
    *at = behind;
    return true;
}

/* The question behind the header. */
static bool read_question(struct dns_reader *reader, struct dns_question *question)
{
    if (!dns_reader_name(reader, &reader->at, &question->asked) || reader->size - reader->at < 4)
        return false;
    dns_name_copy(&question->name, &question->asked);
    dns_name_lower(&question->name);
    question->type = number16(reader->bytes + reader->at);
    question->class = number16(reader->bytes + reader->at + 2);
    reader->at += 4;
    return true;
}

bool dns_reader_open(struct dns_reader *reader, const uint8_t *bytes, size_t size, struct dns_header *header,
                     struct dns_question *question)
{
    *reader = (struct dns_reader){
        .bytes = bytes, .size = size, .at = DNS_HEADER_LENGTH, .first = DNS_HEADER_LENGTH};
    if (!dns_header_read(header, bytes, size) || size > DNS_MESSAGE_MAX || number16(bytes + 4) != 1)
        return false;
    for (size_t i = 0; i < DNS_SECTIONS; i++)
        reader->left[i] = number16(bytes + 6 + 2 * i);
    return read_question(reader, question);
}

/* RFC 2181 section 8; the field of an OPT record is no time. */
static uint32_t sound_ttl(uint16_t type, uint32_t ttl)
{
    return type != DNS_TYPE_OPT && (ttl >> 31) != 0 ? 0 : ttl;
}

/* The record at the reader's place; false if it is malformed. */
static bool read_record(struct dns_reader *reader, struct dns_record *record)
{
    enum { FIXED = 10 }; /* type, class, TTL, length */
    const uint8_t *fixed;
    record->at = (uint16_t)reader->at;
    if (!dns_reader_name(reader, &reader->at, &record->owner) || reader->size - reader->at < FIXED)
        return false;
    fixed = reader->bytes + reader->at;
    record->type = number16(fixed);
    record->class = number16(fixed + 2);
    record->ttl = sound_ttl(record->type, from_be32(load_be32(fixed + 4)));
    record->rdata_length = number16(fixed + 8);
    reader->at += FIXED;
    if (record->rdata_length > reader->size - reader->at)
        return false;
    record->rdata = (uint16_t)reader->at;
    reader->at += record->rdata_length;
    return true;
}

enum dns_next dns_reader_next(struct dns_reader *reader, struct dns_record *record)
{
    size_t section = 0, at;
    while (section < DNS_SECTIONS && reader->left[section] == 0)
        section++;
    if (section == DNS_SECTIONS)
        return DNS_NEXT_END;
    record->section = (enum dns_section)section;
    at = reader->at;
    if (!read_record(reader, record)) {
        /* What stands behind it cannot be found: the same answer from now on. */
        reader->at = at;
        return DNS_NEXT_MALFORMED;
    }
    reader->left[section]--;
    return DNS_NEXT_RECORD;
}

bool dns_record_ipv4(const struct dns_reader *reader, const struct dns_record *record, be32 *address)
{
    if (record->type != DNS_TYPE_A || record->class != DNS_CLASS_IN || record->rdata_length != 4)
        return false;
    *address = load_be32(reader->bytes + record->rdata);
    return true;
}

bool dns_record_ipv6(const struct dns_reader *reader, const struct dns_record *record,
                     struct ipv6_address *address)
{
    if (record->type != DNS_TYPE_AAAA || record->class != DNS_CLASS_IN || record->rdata_length != 16)
        return false;
    memcpy(address->bytes, reader->bytes + record->rdata, 16);
    return true;
}

bool dns_record_target(const struct dns_reader *reader, const struct dns_record *record,
                       struct dns_name *target)
{
    size_t at = record->rdata;
    if (record->type != DNS_TYPE_CNAME && record->type != DNS_TYPE_DNAME && record->type != DNS_TYPE_NS &&
        record->type != DNS_TYPE_PTR)
        return false;
    return dns_reader_name(reader, &at, target) && at == (size_t)record->rdata + record->rdata_length;
}

bool dns_record_soa_minimum(const struct dns_reader *reader, const struct dns_record *record,
                            uint32_t *minimum)
{
    enum { NUMBERS = 20, MINIMUM = 16 };
    size_t at = record->rdata;
    struct dns_name name;
    uint32_t seconds;
    if (record->type != DNS_TYPE_SOA || !dns_reader_name(reader, &at, &name) ||
        !dns_reader_name(reader, &at, &name) || at + NUMBERS != (size_t)record->rdata + record->rdata_length)
        return false;
    seconds = from_be32(load_be32(reader->bytes + at + MINIMUM));
    *minimum = sound_ttl(DNS_TYPE_SOA, seconds);
    return true;
}

/* Whether options fill the data exactly (RFC 6891 section 6.1.2). rfc: 6891-6.1.2-d, 8914-3-f */
static bool options_sound(const uint8_t *options, size_t length)
{
    while (length >= 4) {
        size_t option = 4u + number16(options + 2);
        if (option > length)
            return false;
        options += option;
        length -= option;
    }
    return length == 0;
}

/* rfc: 6891-6.1.2-a */
bool dns_record_edns(const struct dns_reader *reader, const struct dns_record *record, struct dns_edns *edns)
{
    uint8_t version = (uint8_t)(record->ttl >> 16);
    if (record->type != DNS_TYPE_OPT || record->section != DNS_ADDITIONAL || record->owner.length != 1)
        return false;
    /* Another version may have options of another form; it gets BADVERS, not FORMERR. */
    if (version == 0 && !options_sound(reader->bytes + record->rdata, record->rdata_length))
        return false;
    *edns = (struct dns_edns){
        .present = true,
        .dnssec_ok = (record->ttl & DNS_EDNS_DNSSEC_OK) != 0,
        .version = version,
        .extended_rcode = (uint8_t)(record->ttl >> 24),
        .udp_size = record->class,
    };
    return true;
}

/* A sink of flat data. */
struct flat {
    uint8_t *bytes;
    size_t used, room;
};

static bool flat_bytes(void *holder, const uint8_t *bytes, size_t n)
{
    struct flat *flat = holder;
    if (n > flat->room - flat->used)
        return false;
    memcpy(flat->bytes + flat->used, bytes, n);
    flat->used += n;
    return true;
}

static bool flat_name(void *holder, const struct dns_name *name, bool compress)
{
    (void)compress;
    return flat_bytes(holder, name->wire, name->length);
}

long dns_record_flatten(const struct dns_reader *reader, const struct dns_record *record, uint8_t *flat,
                        size_t room)
{
    struct flat into = {flat, 0, room};
    const struct dns_sink sink = {&into, flat_bytes, flat_name};
    const struct dns_rdata rdata = {reader, record->rdata, record->rdata_length, record->type};
    return dns_rdata_walk(&rdata, &sink) == DNS_WRITTEN ? (long)into.used : -1;
}

/*
 * Walks the records of a query, of which only OPT says anything here.
 * rfc: 6891-6.1.1-c, 6891-6.1.1-d, 6891-6.1.3-a, 6891-7-f
 */
static enum dns_verdict read_query_records(struct dns_query *query, struct dns_reader *reader)
{
    struct dns_record record;
    enum dns_next next;
    while ((next = dns_reader_next(reader, &record)) == DNS_NEXT_RECORD) {
        if (record.type != DNS_TYPE_OPT)
            continue;
        /* There is one at most, RFC 6891 section 6.1.1. One that is wrong is answered with one (section 7).
         */
        if (query->edns.present || !dns_record_edns(reader, &record, &query->edns)) {
            query->edns = (struct dns_edns){.present = true};
            return DNS_VERDICT_FORMERR;
        }
    }
    if (next == DNS_NEXT_MALFORMED || reader->at != reader->size)
        return DNS_VERDICT_FORMERR;
    return query->edns.present && query->edns.version != 0 ? DNS_VERDICT_BADVERS : DNS_VERDICT_ANSWER;
}

enum dns_verdict dns_query_read(struct dns_query *query, const uint8_t *bytes, size_t size)
{
    struct dns_reader reader;
    bool opened;
    query->edns = (struct dns_edns){.present = false};
    query->has_question = false;
    if (!dns_header_read(&query->header, bytes, size) || query->header.response)
        return DNS_VERDICT_SILENCE;
    if (query->header.opcode != DNS_OPCODE_QUERY)
        return DNS_VERDICT_NOTIMP;
    opened = dns_reader_open(&reader, bytes, size, &query->header, &query->question);
    query->has_question = opened;
    return opened ? read_query_records(query, &reader) : DNS_VERDICT_FORMERR;
}

uint16_t dns_verdict_rcode(enum dns_verdict verdict)
{
    static const uint16_t rcodes[] = {
        [DNS_VERDICT_ANSWER] = DNS_RCODE_NOERROR,  [DNS_VERDICT_SILENCE] = DNS_RCODE_REFUSED,
        [DNS_VERDICT_FORMERR] = DNS_RCODE_FORMERR, [DNS_VERDICT_NOTIMP] = DNS_RCODE_NOTIMP,
        [DNS_VERDICT_BADVERS] = DNS_RCODE_BADVERS,
    };
    _Static_assert(sizeof(rcodes) / sizeof(rcodes[0]) == DNS_VERDICTS, "one rcode a verdict");
    return rcodes[verdict];
}

/* rfc: 6891-6.2.3-a, 6891-6.2.3-f */
size_t dns_query_udp_limit(const struct dns_query *query, uint16_t ours)
{
    size_t theirs = query->edns.present ? query->edns.udp_size : DNS_UDP_SIZE_PLAIN;
    if (theirs > ours)
        theirs = ours;
    return theirs < DNS_UDP_SIZE_PLAIN ? DNS_UDP_SIZE_PLAIN : theirs;
}
