/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Any response of upstream's as an answer: written as answers are, kept in a cache, found there and made a
 * reply to some query. The reply has to be sound, within its limit, and the answer's records less their age,
 * or less of them in the order in which they may go.
 *
 * The input begins with what the query is like; the rest is the response.
 */
#include <stdlib.h>
#include <string.h>

#include "dns64/cache.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(condition)                                                                                   \
    do {                                                                                                     \
        if (!(condition))                                                                                    \
            abort();                                                                                         \
    } while (0)

enum { UDP_SIZE = 1232, CHOICES = 8, MADE = 1000 };

static uint8_t message[DNS_MESSAGE_MAX], reply[DNS_MESSAGE_MAX], copied[DNS_MESSAGE_MAX];
static uint8_t flat[2][DNS_MESSAGE_MAX + 2 * DNS_NAME_MAX];
static struct cache *cache;

/* What the first bytes choose. */
struct choices {
    bool edns, dnssec_ok, authentic, checking_disabled, recursion_desired;
    bool secure, stale, letters;
    uint16_t error;
    size_t limit;
    uint32_t ttl, age;
};

static struct choices choose(const uint8_t bytes[CHOICES])
{
    static const uint16_t errors[] = {0, 3, 6, 14, 18, 19, 22, 23, 29, 4711};
    return (struct choices){
        .edns = bytes[0] & 1,
        .dnssec_ok = bytes[0] & 2,
        .authentic = bytes[0] & 4,
        .checking_disabled = bytes[0] & 8,
        .recursion_desired = bytes[0] & 16,
        .secure = bytes[0] & 32,
        .stale = bytes[0] & 64,
        .letters = bytes[0] & 128,
        .error = errors[bytes[1] % 10],
        .limit = bytes[2] & 1 ? DNS_MESSAGE_MAX : 512u + 4u * bytes[3],
        .ttl = 1u + bytes[4],
        .age = bytes[5] & 1 ? bytes[6] : (uint32_t)bytes[6] << bytes[7] % 32,
    };
}

/* The response as an answer; false if it cannot be read. */
static bool make_answer(const uint8_t *data, size_t size, struct dns_question *question,
                        struct answer *answer)
{
    static struct dns_writer writer;
    struct dns_reader reader;
    struct dns_header header;
    struct dns_record record;
    if (!dns_reader_open(&reader, data, size, &header, question))
        return false;
    header.response = header.recursion_available = true;
    header.opcode = DNS_OPCODE_QUERY;
    *answer = (struct answer){.message = message, .rcode = (uint8_t)header.rcode};
    dns_writer_open(&writer, message, sizeof(message), &header);
    dns_writer_question(&writer, &question->name, question->type, question->class);
    while (dns_reader_next(&reader, &record) == DNS_NEXT_RECORD) {
        if (record.section == DNS_ADDITIONAL && writer.section != DNS_ADDITIONAL)
            answer->core = (uint32_t)writer.size;
        dns_writer_section(&writer, record.section);
        (void)dns_writer_copy(&writer, &reader, &record, record.ttl);
    }
    if (writer.section != DNS_ADDITIONAL)
        answer->core = (uint32_t)writer.size;
    answer->size = (uint32_t)dns_writer_finish(&writer);
    return true;
}

static struct dns_query make_query(const struct dns_question *question, const struct choices *choices)
{
    struct dns_query query = {
        .header = {.id = 0x1234,
                   .authentic = choices->authentic,
                   .checking_disabled = choices->checking_disabled,
                   .recursion_desired = choices->recursion_desired},
        .question = *question,
        .edns = {.present = choices->edns, .dnssec_ok = choices->edns && choices->dnssec_ok},
        .has_question = true,
    };
    for (size_t i = 0; choices->letters && i < query.question.asked.length; i++)
        if (query.question.name.wire[i] >= 'a' && query.question.name.wire[i] <= 'z')
            query.question.asked.wire[i] = query.question.name.wire[i] & 0xdf;
    return query;
}

/* The same record, but for the time that has passed. */
static void require_record(const struct dns_reader *a, const struct dns_record *one,
                           const struct dns_reader *b, const struct dns_record *other,
                           const struct answer_wish *wish)
{
    long length = dns_record_flatten(a, one, flat[0], sizeof(flat[0]));
    uint32_t left = one->ttl > wish->age ? one->ttl - wish->age : 0;
    REQUIRE(length >= 0 && dns_record_flatten(b, other, flat[1], sizeof(flat[1])) == length);
    for (long i = 0; i < length; i++) /* names in data may have the letters of the question */
        REQUIRE(dns_lower(flat[0][i]) == dns_lower(flat[1][i]));
    REQUIRE(one->section == other->section && one->type == other->type && one->class == other->class);
    REQUIRE(dns_name_equal(&one->owner, &other->owner));
    REQUIRE(other->ttl == (wish->stale ? 30 : left));
}

/* Reads header and question and opens both messages. */
static struct dns_header open_both(const struct answer *answer, size_t size, const struct dns_query *query,
                                   struct dns_reader *kept, struct dns_reader *made)
{
    struct dns_header header, other;
    struct dns_question question;
    REQUIRE(dns_reader_open(kept, answer->message, answer->size, &other, &question));
    REQUIRE(dns_reader_open(made, reply, size, &header, &question));
    REQUIRE(question.asked.length == query->question.asked.length);
    REQUIRE(memcmp(question.asked.wire, query->question.asked.wire, question.asked.length) == 0);
    REQUIRE(question.type == query->question.type && question.class == query->question.class);
    REQUIRE(header.id == query->header.id && header.response && header.recursion_available);
    REQUIRE(header.rcode == other.rcode && header.opcode == DNS_OPCODE_QUERY);
    REQUIRE(header.recursion_desired == query->header.recursion_desired);
    REQUIRE(header.checking_disabled == query->header.checking_disabled);
    REQUIRE(header.authentic == (answer->secure && !query->header.checking_disabled &&
                                 (query->header.authentic || query->edns.dnssec_ok)) ||
            !header.authentic);
    header.truncated = header.truncated && !other.truncated;
    return header;
}

static void check(const struct answer *answer, const struct dns_query *query, const struct answer_wish *wish,
                  size_t size)
{
    struct dns_reader kept, made;
    struct dns_record one, other;
    struct dns_edns edns = {.present = false};
    struct dns_header header = open_both(answer, size, query, &kept, &made);
    enum dns_next next;
    unsigned records = 0;
    while ((next = dns_reader_next(&made, &other)) == DNS_NEXT_RECORD) {
        if (other.type == DNS_TYPE_OPT) {
            REQUIRE(!edns.present && dns_record_edns(&made, &other, &edns));
            continue;
        }
        records++;
        REQUIRE(!edns.present && dns_reader_next(&kept, &one) == DNS_NEXT_RECORD);
        require_record(&kept, &one, &made, &other, wish);
    }
    REQUIRE(next == DNS_NEXT_END && made.at == size);
    REQUIRE(edns.present == query->edns.present && edns.dnssec_ok == query->edns.dnssec_ok);
    REQUIRE(edns.present == false || edns.udp_size == UDP_SIZE);
    /* What is missing: nothing, the additional section, or everything and TC. */
    next = dns_reader_next(&kept, &one);
    if (next == DNS_NEXT_END)
        return;
    REQUIRE(one.section == DNS_ADDITIONAL || (records == 0 && header.truncated));
    REQUIRE(answer->size + (query->edns.present ? 11u : 0u) > wish->limit);
}

/* Through the cache, if it takes the answer: what comes out is what went in. */
static void keep(const struct dns_question *question, const struct choices *choices, struct answer *answer)
{
    const struct inquiry_question asked = {.name = question->name,
                                           .type = question->type,
                                           .class = question->class,
                                           .dnssec_ok = choices->dnssec_ok};
    struct answer found = {.message = copied};
    uint32_t age = 0, now = MADE + choices->age;
    enum cache_found state;
    answer->ttl = choices->ttl;
    cache_clear(cache); /* of what an input before this one has left */
    cache_store(cache, &asked, MADE, answer);
    state = cache_find(cache, &asked, now, &found, &age);
    if (state == CACHE_ABSENT) {
        REQUIRE(answer->size > CACHE_ANSWER_MAXIMUM || choices->age >= choices->ttl);
        return;
    }
    REQUIRE((state == CACHE_FRESH) == (age < choices->ttl));
    REQUIRE(choices->age > INT32_MAX ? age == 0 : age == choices->age);
    REQUIRE(found.size == answer->size && found.core == answer->core && found.rcode == answer->rcode);
    REQUIRE(found.secure == answer->secure && found.error == answer->error && found.ttl == answer->ttl);
    REQUIRE(memcmp(found.message, answer->message, answer->size) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint64_t key[2] = {1, 2};
    struct dns_question question;
    struct dns_query query;
    struct choices choices;
    struct answer answer, again;
    struct answer_wish wish = {.udp_size = UDP_SIZE};
    size_t made;
    if (cache == NULL)
        cache = cache_create(10, key);
    if (cache == NULL || size < CHOICES || !make_answer(data + CHOICES, size - CHOICES, &question, &answer))
        return 0;
    choices = choose(data);
    answer.secure = choices.secure;
    answer.error = choices.error;
    keep(&question, &choices, &answer);
    query = make_query(&question, &choices);
    wish.limit = choices.limit;
    wish.age = choices.age;
    wish.stale = choices.stale;
    made = answer_reply(&answer, &query, &wish, reply);
    REQUIRE(made <= wish.limit);
    check(&answer, &query, &wish, made);
    /* In place it becomes the same. */
    again = answer;
    again.message = copied;
    memcpy(copied, message, answer.size);
    REQUIRE(answer_reply(&again, &query, &wish, copied) == made && memcmp(copied, reply, made) == 0);
    return 0;
}
