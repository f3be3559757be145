/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Any bytes as a DNS message: read as a query and as a response, written again with other compression, read
 * again, and the same. Then written into as little as a datagram has, where only whole sets may be missing.
 */
#include <stdlib.h>
#include <string.h>

#include "dns64/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(condition)                                                                                   \
    do {                                                                                                     \
        if (!(condition))                                                                                    \
            abort();                                                                                         \
    } while (0)

/* A copy of so many bytes fits, even if names grow from the 2 bytes of a pointer to 255 wherever there is
 * one. */
enum { WHOLE = 1024 };

static uint8_t wide[DNS_MESSAGE_MAX], narrow[DNS_UDP_SIZE_PLAIN];
static uint8_t flat[2][DNS_MESSAGE_MAX + 2 * DNS_NAME_MAX];

/* An error reply to whatever can be replied to is well-formed and small: nobody gains by asking. */
static void reply(const uint8_t *data, size_t size)
{
    struct dns_writer writer;
    struct dns_query query;
    struct dns_reader reader;
    struct dns_header header;
    struct dns_question question;
    struct dns_record record;
    enum dns_verdict verdict = dns_query_read(&query, data, size);
    size_t written;
    if (verdict == DNS_VERDICT_SILENCE)
        return;
    dns_writer_reply(&writer, narrow, dns_query_udp_limit(&query, DNS_UDP_SIZE_PLAIN), &query,
                     dns_verdict_rcode(verdict), DNS_UDP_SIZE_PLAIN);
    written = dns_writer_finish(&writer);
    REQUIRE(written <= sizeof(narrow) && written <= size + 11);
    REQUIRE(dns_reader_open(&reader, narrow, written, &header, &question) == query.has_question);
    REQUIRE(header.id == query.header.id && header.response);
    if (!query.has_question)
        return;
    REQUIRE(memcmp(&question.asked.wire, query.question.asked.wire, question.asked.length) == 0);
    while (dns_reader_next(&reader, &record) == DNS_NEXT_RECORD)
        REQUIRE(record.type == DNS_TYPE_OPT);
    REQUIRE(reader.at == written);
}

/* In data of these types names are compressed, and get the case of those they point to. */
static bool has_compressed_names(uint16_t type)
{
    return (type >= DNS_TYPE_NS && type <= 9) || type == DNS_TYPE_PTR || type == 14 || type == DNS_TYPE_MX;
}

static bool same_data(uint16_t type, size_t length)
{
    if (!has_compressed_names(type))
        return memcmp(flat[0], flat[1], length) == 0;
    for (size_t i = 0; i < length; i++)
        if (dns_lower(flat[0][i]) != dns_lower(flat[1][i]))
            return false;
    return true;
}

static void require_equal(const struct dns_reader *a, const struct dns_record *one,
                          const struct dns_reader *b, const struct dns_record *other)
{
    long length = dns_record_flatten(a, one, flat[0], sizeof(flat[0]));
    REQUIRE(length >= 0 && dns_record_flatten(b, other, flat[1], sizeof(flat[1])) == length);
    REQUIRE(same_data(one->type, (size_t)length));
    REQUIRE(one->section == other->section && one->type == other->type && one->class == other->class);
    REQUIRE(one->ttl == other->ttl && dns_name_equal(&one->owner, &other->owner));
}

/* Copies what can be copied. Returns the size. */
static size_t copy(struct dns_reader reader, struct dns_writer *writer)
{
    struct dns_record record;
    while (dns_reader_next(&reader, &record) == DNS_NEXT_RECORD) {
        be32 four;
        struct ipv6_address six;
        struct dns_name name;
        uint32_t minimum;
        struct dns_edns edns;
        (void)dns_record_ipv4(&reader, &record, &four);
        (void)dns_record_ipv6(&reader, &record, &six);
        (void)dns_record_target(&reader, &record, &name);
        (void)dns_record_soa_minimum(&reader, &record, &minimum);
        (void)dns_record_edns(&reader, &record, &edns);
        dns_writer_section(writer, record.section);
        (void)dns_writer_copy(writer, &reader, &record, record.ttl);
    }
    return dns_writer_finish(writer);
}

/* The copy has every record of the original that is sound, and nothing else. */
static void compare(struct dns_reader original, struct dns_reader made)
{
    struct dns_record here, there;
    while (dns_reader_next(&original, &here) == DNS_NEXT_RECORD) {
        if (here.type == DNS_TYPE_OPT || dns_record_flatten(&original, &here, flat[0], sizeof(flat[0])) < 0)
            continue;
        REQUIRE(dns_reader_next(&made, &there) == DNS_NEXT_RECORD);
        require_equal(&original, &here, &made, &there);
    }
    REQUIRE(dns_reader_next(&made, &there) == DNS_NEXT_END && made.at == made.size);
}

/* What was left out was left out cleanly. */
static void walk(struct dns_reader made)
{
    struct dns_record record;
    enum dns_next next;
    while ((next = dns_reader_next(&made, &record)) == DNS_NEXT_RECORD)
        REQUIRE(dns_record_flatten(&made, &record, flat[0], sizeof(flat[0])) >= 0);
    REQUIRE(next == DNS_NEXT_END && made.at == made.size);
}

static void write_again(const struct dns_reader *original, const struct dns_header *header,
                        const struct dns_question *question, uint8_t *into, size_t limit)
{
    struct dns_writer writer;
    struct dns_header header_again;
    struct dns_question question_again;
    struct dns_reader made;
    size_t size;
    dns_writer_open(&writer, into, limit, header);
    dns_writer_question(&writer, &question->asked, question->type, question->class);
    size = copy(*original, &writer);
    REQUIRE(size <= limit);
    REQUIRE(dns_reader_open(&made, into, size, &header_again, &question_again));
    REQUIRE(header_again.id == header->id && header_again.rcode == header->rcode);
    REQUIRE(question_again.type == question->type && question_again.class == question->class);
    REQUIRE(dns_name_equal(&question_again.asked, &question->asked));
    if (limit == sizeof(wide) && original->size <= WHOLE)
        compare(*original, made);
    else
        walk(made);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dns_reader reader;
    struct dns_header header;
    struct dns_question question;
    reply(data, size);
    if (dns_reader_open(&reader, data, size, &header, &question)) {
        write_again(&reader, &header, &question, wide, sizeof(wide));
        write_again(&reader, &header, &question, narrow, sizeof(narrow));
    }
    return 0;
}
