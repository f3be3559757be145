/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Replies out of finished answers; the contract is in the header.
 *
 * A reply is a copy of the answer's first bytes: all of them, those without the additional section, or header
 * and question. Since every pointer leads backwards, what is cut off at the end is missed by nothing before
 * it. Over the copy go the header, the letters of the question and the TTLs, then OPT behind it. The walk to
 * the TTLs costs less than a table of their places would in the cache: nearly all owners are one pointer.
 */
#include "dns64/answer.h"

#include <string.h>

enum {
    POINTER = 0xc0,    /* RFC 1035 section 4.1.4 */
    RECORD_FIXED = 10, /* bytes of a record between its owner and its data */
    OPT_FIXED = 11,    /* bytes of an OPT record without options */
    OPTION_FIXED = 4,  /* bytes of an option before its data */
    OPTION_ERROR = 15, /* RFC 8914 section 2 */
    ERROR_FIXED = OPTION_FIXED + 2,
    COUNTS = 4, /* where the header has its four counts */
    RECORD_COUNTS = COUNTS + 2,
    QUESTION_FIXED = 4,                                            /* bytes of a question behind its name */
    FLAGS_KEPT = DNS_FLAG_AUTHORITATIVE | DNS_FLAG_TRUNCATED | 15, /* those that are the answer's */
};

/*** Extended errors ***/

struct error_text {
    const char *text;
    size_t length;
};

#define TEXT(literal)                                                                                        \
    {                                                                                                        \
        literal, sizeof(literal) - 1                                                                         \
    }

/* rfc: 8914-3-c */
static struct error_text text_of(enum answer_error error)
{
    static const struct error_text texts[] = {
        [ANSWER_ERROR_STALE] = TEXT("no newer answer came in time"),
        [ANSWER_ERROR_BOGUS] = TEXT("DNSSEC validation failed"),
        [ANSWER_ERROR_NOT_READY] = TEXT("too many questions are under way"),
        [ANSWER_ERROR_PROHIBITED] = TEXT("not a client of this server"),
        [ANSWER_ERROR_STALE_NXDOMAIN] = TEXT("no newer answer came in time"),
        [ANSWER_ERROR_NOT_RECURSIVE] = TEXT("only questions with RD are answered"),
        [ANSWER_ERROR_NOT_SUPPORTED] = TEXT("not a type or class that is answered"),
        [ANSWER_ERROR_NO_AUTHORITY] = TEXT("no server gave an answer"),
        [ANSWER_ERROR_NETWORK] = TEXT("no answer came in time"),
        [ANSWER_ERROR_SYNTHESIZED] = TEXT("from DNS64"),
    };
    if ((size_t)error < sizeof(texts) / sizeof(texts[0]))
        return texts[error];
    return (struct error_text){NULL, 0};
}

const char *answer_error_text(enum answer_error error)
{
    return text_of(error).text;
}

/*** OPT ***/

/* The OPT record to come. */
struct ending {
    size_t size; /* bytes; 0: there is none */
    enum answer_error error;
    struct error_text text;
    uint16_t udp_size, rcode;
    bool dnssec_ok;
};

/* rfc: 6891-6.1.1-a, 6891-7-b */
static struct ending ending_of(const struct dns_query *query, enum answer_error error, uint16_t udp_size)
{
    struct ending ending = {.udp_size = udp_size, .dnssec_ok = query->edns.dnssec_ok};
    if (!query->edns.present)
        return ending;
    ending.size = OPT_FIXED;
    if (error != ANSWER_ERROR_NONE) {
        ending.error = error;
        ending.text = text_of(error);
        ending.size += ERROR_FIXED + ending.text.length;
    }
    return ending;
}

/* Gives up the text, then the error, if it takes that for `size` bytes to fit before it. rfc: 8914-3-a */
static void shed(struct ending *ending, size_t size, size_t limit)
{
    if (ending->error == ANSWER_ERROR_NONE || size + ending->size <= limit)
        return;
    ending->size -= ending->text.length;
    ending->text.length = 0;
    if (size + ending->size <= limit)
        return;
    ending->size -= ERROR_FIXED;
    ending->error = ANSWER_ERROR_NONE;
}

static void put16(uint8_t *at, uint32_t number)
{
    store_be16(at, to_be16((uint16_t)number));
}

/* RFC 6891 section 6.1.2; the version is 0. rfc: 6891-6.1.3-c */
static void put_ending(uint8_t *at, const struct ending *ending)
{
    uint32_t ttl = (uint32_t)(ending->rcode >> 4) << 24;
    if (ending->dnssec_ok)
        ttl |= DNS_EDNS_DNSSEC_OK;
    at[0] = 0; /* the root */
    put16(at + 1, DNS_TYPE_OPT);
    put16(at + 3, ending->udp_size);
    store_be32(at + 5, to_be32(ttl));
    put16(at + 9, (uint32_t)ending->size - OPT_FIXED);
    if (ending->error == ANSWER_ERROR_NONE)
        return;
    at += OPT_FIXED;
    put16(at, OPTION_ERROR);
    put16(at + 2, (uint32_t)(2 + ending->text.length));
    put16(at + 4, ending->error);
    if (ending->text.length > 0)
        memcpy(at + ERROR_FIXED, ending->text.text, ending->text.length);
}

/*** Header and records ***/

/* What every reply repeats of its query. */
static uint32_t repeated_flags(const struct dns_header *header)
{
    uint32_t flags = DNS_FLAG_RESPONSE | DNS_FLAG_RECURSION_AVAILABLE;
    flags |= ((uint32_t)header->opcode & 15) << DNS_OPCODE_SHIFT;
    flags |= header->recursion_desired ? DNS_FLAG_RECURSION_DESIRED : 0;
    flags |= header->checking_disabled ? DNS_FLAG_CHECKING_DISABLED : 0;
    return flags;
}

/* rfc: 6147-5.5-b */
static bool authentic(const struct answer *answer, const struct dns_query *query,
                      const struct answer_wish *wish)
{
    return answer->secure && !wish->stale && !query->header.checking_disabled &&
           (query->header.authentic || (query->edns.present && query->edns.dnssec_ok));
}

static uint32_t count_at(const uint8_t *message, size_t section)
{
    return from_be16(load_be16(message + RECORD_COUNTS + 2 * section));
}

/* Empties the sections from `first` on and counts OPT; returns how many records are left without it. */
static uint32_t settle_counts(uint8_t *message, size_t first, bool has_opt)
{
    uint32_t records = 0;
    for (size_t i = 0; i < first; i++)
        records += count_at(message, i);
    for (size_t i = first; i < DNS_SECTIONS; i++)
        put16(message + RECORD_COUNTS + 2 * i, 0);
    if (has_opt)
        put16(message + RECORD_COUNTS + 2 * DNS_ADDITIONAL, count_at(message, DNS_ADDITIONAL) + 1);
    return records;
}

/* Behind the name at `at`, which may end beyond the message; names written by dns_writer are sound. */
static size_t behind_name(const uint8_t *message, size_t size, size_t at)
{
    while (at < size && message[at] != 0) {
        if (message[at] >= POINTER)
            return at + 2;
        at += 1u + message[at];
    }
    return at + 1;
}

/* Gives so many records, which begin at `at`, the TTLs that they have by now. */
static void set_ttls(uint8_t *message, size_t size, size_t at, uint32_t records,
                     const struct answer_wish *wish)
{
    for (; records > 0; records--) {
        uint8_t *fixed;
        uint32_t ttl;
        at = behind_name(message, size, at);
        if (at + RECORD_FIXED > size)
            return;
        fixed = message + at;
        ttl = from_be32(load_be32(fixed + 4));
        ttl = wish->stale ? ANSWER_STALE_TTL : ttl > wish->age ? ttl - wish->age : 0;
        store_be32(fixed + 4, to_be32(ttl));
        at += RECORD_FIXED + from_be16(load_be16(fixed + 8));
    }
}

/*** Replies ***/

/* rfc: 8914-4.4-a, 8914-4.20-a */
static enum answer_error error_of(const struct answer *answer, const struct answer_wish *wish)
{
    if (!wish->stale)
        return (enum answer_error)answer->error;
    return answer->rcode == DNS_RCODE_NXDOMAIN ? ANSWER_ERROR_STALE_NXDOMAIN : ANSWER_ERROR_STALE;
}

/* rfc: 6891-7-h */
size_t answer_reply(const struct answer *answer, const struct dns_query *query,
                    const struct answer_wish *wish, uint8_t *reply)
{
    const struct dns_name *asked = &query->question.asked;
    struct ending ending = ending_of(query, error_of(answer, wish), wish->udp_size);
    size_t question_end = DNS_HEADER_LENGTH + (size_t)asked->length + QUESTION_FIXED;
    size_t size = answer->size, sections = DNS_SECTIONS;
    uint32_t flags = repeated_flags(&query->header), records;
    shed(&ending, size, wish->limit);
    if (size + ending.size > wish->limit) {
        size = answer->core;
        sections = DNS_ADDITIONAL;
    }
    if (size + ending.size > wish->limit) {
        size = question_end;
        sections = DNS_ANSWER;
        flags |= DNS_FLAG_TRUNCATED;
    }
    if (reply != answer->message)
        memcpy(reply, answer->message, size);
    memcpy(reply + DNS_HEADER_LENGTH, asked->wire, asked->length);
    records = settle_counts(reply, sections, ending.size > 0);
    set_ttls(reply, size, question_end, records, wish);
    flags |= from_be16(load_be16(reply + 2)) & FLAGS_KEPT;
    flags |= authentic(answer, query, wish) ? DNS_FLAG_AUTHENTIC : 0;
    put16(reply, query->header.id);
    put16(reply + 2, flags);
    if (ending.size > 0)
        put_ending(reply + size, &ending);
    return size + ending.size;
}

/* rfc: 6891-7-c */
size_t answer_refusal(const struct dns_query *query, uint16_t rcode, enum answer_error error,
                      uint16_t udp_size, uint8_t *reply, size_t room)
{
    const struct dns_question *question = &query->question;
    struct ending ending = ending_of(query, error, udp_size);
    size_t size = DNS_HEADER_LENGTH;
    ending.rcode = rcode;
    if (rcode > 15 && ending.size == 0)
        rcode = DNS_RCODE_SERVFAIL;
    memset(reply, 0, DNS_HEADER_LENGTH);
    put16(reply, query->header.id);
    put16(reply + 2, repeated_flags(&query->header) | (rcode & 15u));
    if (query->has_question) {
        uint8_t *at = reply + size;
        memcpy(at, question->asked.wire, question->asked.length);
        put16(at + question->asked.length, question->type);
        put16(at + question->asked.length + 2, question->class);
        put16(reply + COUNTS, 1);
        size += (size_t)question->asked.length + QUESTION_FIXED;
    }
    shed(&ending, size, room);
    if (ending.size > 0) {
        put16(reply + RECORD_COUNTS + 2 * DNS_ADDITIONAL, 1);
        put_ending(reply + size, &ending);
    }
    return size + ending.size;
}
