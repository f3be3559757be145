/* SPDX-License-Identifier: BSD-2-Clause */
/* Reading DNS messages: what sound ones say, and what is refused. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dns64/message.h"

/*** Messages made by hand ***/

struct bytes {
    size_t size;
    uint8_t at[DNS_MESSAGE_MAX + 1];
};

static struct bytes sent, reply;

static void add(const void *bytes, size_t n)
{
    assert_true(sent.size + n <= sizeof(sent.at));
    memcpy(sent.at + sent.size, bytes, n);
    sent.size += n;
}

/* A string literal, without the zero byte that ends it. */
#define ADD(literal) add("" literal, sizeof(literal) - 1)

static void add16(unsigned number)
{
    const uint8_t bytes[2] = {(uint8_t)(number >> 8), (uint8_t)number};
    add(bytes, 2);
}

static void add32(uint32_t number)
{
    add16(number >> 16);
    add16(number & 0xffff);
}

static void begin(unsigned flags, unsigned questions, unsigned answers, unsigned authority,
                  unsigned additional)
{
    sent.size = 0;
    add16(0x1234);
    add16(flags);
    add16(questions);
    add16(answers);
    add16(authority);
    add16(additional);
}

enum { EXAMPLE_AT = 16, BEHIND_QUESTION = 29 };

/* The question for AAAA of wWw.Example: "Example" stands at EXAMPLE_AT. */
static void add_question(void)
{
    ADD("\3wWw\7Example\0\0\34\0\1");
    assert_int_equal(sent.size, BEHIND_QUESTION);
}

/* Type, class IN, TTL and the length of the data, behind an owner. */
static void add_fixed(unsigned type, uint32_t ttl, size_t length)
{
    add16(type);
    add16(DNS_CLASS_IN);
    add32(ttl);
    add16((unsigned)length);
}

#define ADD_RECORD(owner, type, ttl, data) (ADD(owner), add_fixed(type, ttl, sizeof(data) - 1), ADD(data))

static void add_opt(unsigned size, uint32_t ttl, const void *options, size_t length)
{
    ADD("\0\0\51");
    add16(size);
    add32(ttl);
    add16((unsigned)length);
    add(options, length);
}

static void require_name(const struct dns_name *name, const char *text)
{
    char printed[DNS_NAME_TEXT_MAX];
    (void)dns_name_print(name, printed);
    assert_string_equal(printed, text);
}

/* What was added, in memory of exactly its size, so that a sanitizer sees a read beyond it. */
static enum dns_verdict read_query(struct dns_query *query)
{
    uint8_t *exact = malloc(sent.size > 0 ? sent.size : 1);
    enum dns_verdict verdict;
    assert_non_null(exact);
    memcpy(exact, sent.at, sent.size);
    verdict = dns_query_read(query, exact, sent.size);
    free(exact);
    return verdict;
}

static struct dns_reader open_message(const struct bytes *message, struct dns_header *header)
{
    struct dns_reader reader;
    struct dns_question question;
    assert_true(dns_reader_open(&reader, message->at, message->size, header, &question));
    return reader;
}

/* Reads the one record that stands behind the question. */
static struct dns_reader read_only_record(struct dns_record *record)
{
    struct dns_header header;
    struct dns_reader reader = open_message(&sent, &header);
    assert_int_equal(dns_reader_next(&reader, record), DNS_NEXT_RECORD);
    return reader;
}

/*** Queries ***/

static void query_is_read(void **state)
{
    struct dns_query query;
    (void)state;
    begin(0x0130, 1, 0, 0, 0);
    add_question();
    assert_int_equal(read_query(&query), DNS_VERDICT_ANSWER);
    assert_int_equal(query.header.id, 0x1234);
    assert_true(query.header.recursion_desired && query.header.authentic && query.header.checking_disabled);
    assert_false(query.header.truncated || query.header.authoritative || query.header.recursion_available);
    assert_true(query.has_question);
    require_name(&query.question.name, "www.example.");
    require_name(&query.question.asked, "wWw.Example.");
    assert_int_equal(query.question.type, DNS_TYPE_AAAA);
    assert_int_equal(query.question.class, DNS_CLASS_IN);
    assert_false(query.edns.present);
    assert_int_equal(dns_query_udp_limit(&query, 1232), 512);
}

static void query_cut_short_anywhere_is_refused(void **state)
{
    struct dns_query query;
    size_t whole;
    (void)state;
    begin(0x0100, 1, 0, 0, 1);
    add_question();
    add_opt(1232, 0, "\0\12\0\10abcdefgh", 12);
    whole = sent.size;
    assert_int_equal(read_query(&query), DNS_VERDICT_ANSWER);
    for (sent.size = 0; sent.size < whole; sent.size++) {
        enum dns_verdict verdict = read_query(&query);
        assert_int_equal(verdict, sent.size < DNS_HEADER_LENGTH ? DNS_VERDICT_SILENCE : DNS_VERDICT_FORMERR);
        if (verdict == DNS_VERDICT_FORMERR)
            assert_int_equal(query.has_question, sent.size >= BEHIND_QUESTION);
    }
    sent.size = whole;
    ADD("x");
    assert_int_equal(read_query(&query), DNS_VERDICT_FORMERR);
}

static void responses_are_met_with_silence(void **state)
{
    struct dns_query query;
    (void)state;
    begin(0x8000, 1, 0, 0, 0);
    add_question();
    assert_int_equal(read_query(&query), DNS_VERDICT_SILENCE);
    begin(0xa800, 0, 0, 0, 0);
    assert_int_equal(read_query(&query), DNS_VERDICT_SILENCE);
}

static void other_opcodes_are_not_implemented(void **state)
{
    struct dns_query query;
    (void)state;
    for (unsigned opcode = 1; opcode < 16; opcode++) {
        begin(opcode << 11, 1, 0, 0, 0);
        ADD("\377");
        assert_int_equal(read_query(&query), DNS_VERDICT_NOTIMP);
        assert_false(query.has_question);
        assert_int_equal(query.header.opcode, opcode);
    }
    assert_int_equal(dns_verdict_rcode(DNS_VERDICT_NOTIMP), DNS_RCODE_NOTIMP);
}

static void there_is_one_question(void **state)
{
    struct dns_query query;
    (void)state;
    begin(0, 0, 0, 0, 0);
    assert_int_equal(read_query(&query), DNS_VERDICT_FORMERR);
    begin(0, 2, 0, 0, 0);
    add_question();
    ADD("\1a\0\0\1\0\1");
    assert_int_equal(read_query(&query), DNS_VERDICT_FORMERR);
    assert_false(query.has_question);
    begin(0, 65535, 65535, 65535, 65535);
    add_question();
    assert_int_equal(read_query(&query), DNS_VERDICT_FORMERR);
}

static void wrong_names_of_questions_are_refused(void **state)
{
    struct dns_query query;
    uint8_t labels[300];
    (void)state;
    begin(0, 1, 0, 0, 0);
    ADD("\300\14\0\1\0\1"); /* a pointer to itself */
    assert_int_equal(read_query(&query), DNS_VERDICT_FORMERR);
    begin(0, 1, 0, 0, 0);
    sent.at[0] = 0;
    ADD("\300\0\0\1\0\1"); /* into the header, where a zero byte looks like the root */
    assert_int_equal(read_query(&query), DNS_VERDICT_FORMERR);
    begin(0, 1, 0, 0, 0);
    ADD("\1a\300\14\0\1\0\1"); /* to its own start */
    assert_int_equal(read_query(&query), DNS_VERDICT_FORMERR);
    begin(0, 1, 0, 0, 0);
    ADD("\101a\0\0\1\0\1"); /* a label of a kind that is gone (RFC 6891 section 5) */
    assert_int_equal(read_query(&query), DNS_VERDICT_FORMERR);
    begin(0, 1, 0, 0, 0);
    ADD("\200a\0\0\1\0\1"); /* of one that never was */
    assert_int_equal(read_query(&query), DNS_VERDICT_FORMERR);
    for (size_t i = 0; i < sizeof(labels); i++)
        labels[i] = i % 2 == 0 ? 1 : 'x';
    begin(0, 1, 0, 0, 0);
    add(labels, 252);
    ADD("\2yy\0\0\1\0\1"); /* 256 bytes */
    assert_int_equal(read_query(&query), DNS_VERDICT_FORMERR);
    for (size_t length = 250; length < 270; length += 2) {
        begin(0, 1, 0, 0, 0);
        add(labels, length);
        ADD("\0\0\1\0\1");
        assert_int_equal(read_query(&query), length < 255 ? DNS_VERDICT_ANSWER : DNS_VERDICT_FORMERR);
    }
}

/*** EDNS ***/

/* rfc: 6891-6.1.2-a, 6891-6.1.2-d, 6891-6.2.3-a, 8914-3-f */
static void edns_is_read(void **state)
{
    struct dns_query query;
    (void)state;
    begin(0x0100, 1, 0, 0, 1);
    add_question();
    add_opt(4096, 0x8000, "\0\12\0\10abcdefgh\377\376\0\0", 16);
    assert_int_equal(read_query(&query), DNS_VERDICT_ANSWER);
    assert_true(query.edns.present && query.edns.dnssec_ok);
    assert_int_equal(query.edns.udp_size, 4096);
    assert_int_equal(dns_query_udp_limit(&query, 1232), 1232);
    assert_int_equal(dns_query_udp_limit(&query, 65535), 4096);
    begin(0x0100, 1, 0, 0, 1);
    add_question();
    add_opt(0, 0x7fff, "", 0);
    assert_int_equal(read_query(&query), DNS_VERDICT_ANSWER);
    assert_false(query.edns.dnssec_ok);
    assert_int_equal(dns_query_udp_limit(&query, 1232), 512);
}

/* rfc: 6891-6.1.3-a */
static void edns_of_another_version_is_badvers(void **state)
{
    struct dns_query query;
    struct dns_writer writer;
    struct dns_record record;
    struct dns_edns edns;
    struct dns_header header;
    struct dns_reader reader;
    (void)state;
    begin(0x0100, 1, 0, 0, 1);
    add_question();
    add_opt(1232, 0x00ff0000, "?", 1);
    assert_int_equal(read_query(&query), DNS_VERDICT_BADVERS);
    dns_writer_reply(&writer, reply.at, 512, &query, dns_verdict_rcode(DNS_VERDICT_BADVERS), 1232);
    reply.size = dns_writer_finish(&writer);
    reader = open_message(&reply, &header);
    assert_int_equal(header.rcode, 0);
    assert_int_equal(dns_reader_next(&reader, &record), DNS_NEXT_RECORD);
    assert_true(dns_record_edns(&reader, &record, &edns));
    assert_int_equal(edns.extended_rcode, 1);
    assert_int_equal(edns.version, 0);
}

/*
 * With FORMERR, and an OPT record to tell it from ignorance of EDNS (RFC 6891 section 7).
 * rfc: 6891-6.1.1-c, 6891-6.1.1-d, 6891-6.1.2-a, 6891-7-f
 */
static void wrong_edns_is_refused(void **state)
{
    static const struct {
        size_t length;
        const char *options;
    } wrong[] = {{1, "\0"}, {3, "\0\12\0"}, {4, "\0\12\0\1"}, {5, "\0\12\0\0x"}, {4, "\0\12\377\377"}};
    struct dns_query query;
    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        begin(0, 1, 0, 0, 1);
        add_question();
        add_opt(1232, 0, wrong[i].options, wrong[i].length);
        assert_int_equal(read_query(&query), DNS_VERDICT_FORMERR);
        assert_true(query.has_question);
        assert_true(query.edns.present);
        assert_false(query.edns.dnssec_ok);
        assert_int_equal(query.edns.udp_size, 0);
    }
    begin(0, 1, 0, 0, 2); /* two of them */
    add_question();
    add_opt(1232, 0, "", 0);
    add_opt(1232, 0, "", 0);
    assert_int_equal(read_query(&query), DNS_VERDICT_FORMERR);
    begin(0, 1, 0, 0, 1); /* not of the root */
    add_question();
    ADD_RECORD("\300\14", DNS_TYPE_OPT, 0, "");
    assert_int_equal(read_query(&query), DNS_VERDICT_FORMERR);
    assert_true(query.edns.present);
    for (unsigned section = 0; section < 2; section++) { /* not in the additional section */
        begin(0, 1, section == 0, section == 1, 0);
        add_question();
        add_opt(1232, 0, "", 0);
        assert_int_equal(read_query(&query), DNS_VERDICT_FORMERR);
    }
}

static void unknown_records_of_queries_are_ignored(void **state)
{
    struct dns_query query;
    (void)state;
    begin(0x0100, 1, 0, 0, 2);
    add_question();
    add_opt(1232, 0, "", 0);
    ADD_RECORD("\3key\0", 250, 0, "a signature of a transaction");
    assert_int_equal(read_query(&query), DNS_VERDICT_ANSWER);
    assert_true(query.edns.present);
}

/*** Records ***/

static void records_of_all_sections_are_walked(void **state)
{
    struct dns_header header;
    struct dns_record record;
    struct dns_reader reader;
    be32 four;
    struct ipv6_address six;
    (void)state;
    begin(0x8583, 1, 1, 1, 1);
    add_question();
    ADD_RECORD("\300\14", DNS_TYPE_A, 300, "\300\0\2\41");
    ADD_RECORD("\300\20", DNS_TYPE_AAAA, 0x80000000, "0123456789abcdef");
    ADD_RECORD("\0", 65280, 0x7fffffff, "");
    ADD("more");
    reader = open_message(&sent, &header);
    assert_true(header.response && header.authoritative && header.recursion_available);
    assert_int_equal(header.rcode, DNS_RCODE_NXDOMAIN);
    assert_int_equal(dns_reader_next(&reader, &record), DNS_NEXT_RECORD);
    assert_int_equal(record.section, DNS_ANSWER);
    assert_int_equal(record.at, BEHIND_QUESTION);
    assert_int_equal(record.rdata, BEHIND_QUESTION + 12);
    assert_int_equal(record.ttl, 300);
    require_name(&record.owner, "wWw.Example.");
    assert_true(dns_record_ipv4(&reader, &record, &four));
    assert_int_equal(four, inet_addr("192.0.2.33"));
    assert_false(dns_record_ipv6(&reader, &record, &six));
    assert_int_equal(dns_reader_next(&reader, &record), DNS_NEXT_RECORD);
    assert_int_equal(record.section, DNS_AUTHORITY);
    assert_int_equal(record.ttl, 0); /* RFC 2181 section 8 */
    require_name(&record.owner, "Example.");
    assert_true(dns_record_ipv6(&reader, &record, &six));
    assert_memory_equal(&six, "0123456789abcdef", 16);
    assert_false(dns_record_ipv4(&reader, &record, &four));
    assert_int_equal(dns_reader_next(&reader, &record), DNS_NEXT_RECORD);
    assert_int_equal(record.section, DNS_ADDITIONAL);
    assert_int_equal(record.ttl, 0x7fffffff);
    for (int i = 0; i < 3; i++)
        assert_int_equal(dns_reader_next(&reader, &record), DNS_NEXT_END);
}

static void records_cut_short_are_malformed(void **state)
{
    struct dns_header header;
    struct dns_question question;
    struct dns_record record;
    size_t whole;
    (void)state;
    begin(0x8180, 1, 1, 0, 0);
    add_question();
    ADD_RECORD("\2ns\300\20", DNS_TYPE_A, 300, "\300\0\2\41");
    whole = sent.size;
    for (size_t size = BEHIND_QUESTION; size < whole; size++) {
        struct dns_reader reader;
        uint8_t *exact = malloc(size);
        assert_non_null(exact);
        memcpy(exact, sent.at, size);
        assert_true(dns_reader_open(&reader, exact, size, &header, &question));
        for (int i = 0; i < 3; i++)
            assert_int_equal(dns_reader_next(&reader, &record), DNS_NEXT_MALFORMED);
        free(exact);
    }
}

static void addresses_of_another_length_or_class_are_none(void **state)
{
    struct dns_record record;
    struct dns_reader reader;
    struct ipv6_address six;
    be32 four;
    (void)state;
    begin(0x8180, 1, 1, 0, 0);
    add_question();
    ADD_RECORD("\300\14", DNS_TYPE_A, 0, "123");
    reader = read_only_record(&record);
    assert_false(dns_record_ipv4(&reader, &record, &four));
    begin(0x8180, 1, 1, 0, 0);
    add_question();
    ADD_RECORD("\300\14", DNS_TYPE_AAAA, 0, "0123456789abcdefg");
    reader = read_only_record(&record);
    assert_false(dns_record_ipv6(&reader, &record, &six));
    begin(0x8180, 1, 1, 0, 0);
    add_question();
    ADD("\300\14\0\1\0\3\0\0\0\0\0\4abcd"); /* class CH */
    reader = read_only_record(&record);
    assert_false(dns_record_ipv4(&reader, &record, &four));
}

/* A chain of pointers, each to the one before: 127 are followed, 128 are not. */
static void pointers_are_followed_so_far(void **state)
{
    struct dns_header header;
    struct dns_reader reader;
    struct dns_name name;
    size_t first, at;
    (void)state;
    begin(0x8180, 1, 0, 0, 0);
    add_question();
    first = sent.size;
    ADD("\300\14");
    for (size_t i = 1; i < 130; i++)
        add16((unsigned)(0xc000 | (first + 2 * (i - 1))));
    reader = open_message(&sent, &header);
    at = first + 2 * 126;
    assert_true(dns_reader_name(&reader, &at, &name));
    assert_int_equal(at, first + 2 * 127);
    require_name(&name, "wWw.Example.");
    assert_false(dns_reader_name(&reader, &at, &name));
    assert_int_equal(at, first + 2 * 127);
}

static void pointers_forwards_or_in_circles_are_refused(void **state)
{
    struct dns_header header;
    struct dns_reader reader;
    struct dns_name name;
    size_t at;
    (void)state;
    begin(0x8180, 1, 0, 0, 0);
    add_question();
    ADD("\1a\300\37\1b\300\35\300\43\1c\0"); /* at 29: a, then to 31; at 33: b, then to 29; at 37: to 35 */
    reader = open_message(&sent, &header);
    at = 29;
    assert_false(dns_reader_name(&reader, &at, &name));
    at = 33;
    assert_false(dns_reader_name(&reader, &at, &name));
    at = 37;
    assert_false(dns_reader_name(&reader, &at, &name));
    at = 39;
    assert_true(dns_reader_name(&reader, &at, &name));
    require_name(&name, "c.");
}

/* Two labels of one message, put together by pointers to more than 255 bytes. */
static void names_do_not_grow_by_pointers(void **state)
{
    uint8_t label[64] = {63};
    struct dns_header header;
    struct dns_reader reader;
    struct dns_name name;
    size_t at[5];
    (void)state;
    begin(0x8180, 1, 0, 0, 0);
    add_question();
    for (size_t i = 0; i < 5; i++) {
        at[i] = sent.size;
        add(label, sizeof(label));
        add16(i == 0 ? 0xc000 | EXAMPLE_AT : (unsigned)(0xc000 | at[i - 1]));
    }
    reader = open_message(&sent, &header);
    assert_true(dns_reader_name(&reader, &at[2], &name));
    assert_int_equal(name.length, 3 * 64 + 9);
    assert_false(dns_reader_name(&reader, &at[3], &name)); /* 265 bytes */
    assert_false(dns_reader_name(&reader, &at[4], &name));
}

static void targets_are_read(void **state)
{
    struct dns_record record;
    struct dns_reader reader;
    struct dns_name name;
    (void)state;
    begin(0x8180, 1, 1, 0, 0);
    add_question();
    ADD_RECORD("\300\14", DNS_TYPE_CNAME, 60, "\4Real\300\20");
    reader = read_only_record(&record);
    assert_true(dns_record_target(&reader, &record, &name));
    require_name(&name, "Real.Example.");
    begin(0x8180, 1, 1, 0, 0);
    add_question();
    ADD_RECORD("\300\14", DNS_TYPE_CNAME, 60, "\4Real\300\20x"); /* more than a name */
    reader = read_only_record(&record);
    assert_false(dns_record_target(&reader, &record, &name));
    begin(0x8180, 1, 1, 0, 0);
    add_question();
    ADD_RECORD("\300\14", DNS_TYPE_DNAME, 60, "\4Real"); /* the name goes on behind the data */
    ADD("\0");
    reader = read_only_record(&record);
    assert_false(dns_record_target(&reader, &record, &name));
    begin(0x8180, 1, 1, 0, 0);
    add_question();
    ADD_RECORD("\300\14", DNS_TYPE_TXT, 60, "\4Real\0");
    reader = read_only_record(&record);
    assert_false(dns_record_target(&reader, &record, &name));
}

#define SOA "\2ns\300\20\300\14\0\0\0\1\0\0\0\2\0\0\0\3\0\0\0\4"

static void minimum_of_soa_is_read(void **state)
{
    struct dns_record record;
    struct dns_reader reader;
    uint32_t minimum = 7;
    (void)state;
    begin(0x8180, 1, 0, 1, 0);
    add_question();
    ADD_RECORD("\300\20", DNS_TYPE_SOA, 60, SOA "\0\0\2\130");
    reader = read_only_record(&record);
    assert_true(dns_record_soa_minimum(&reader, &record, &minimum));
    assert_int_equal(minimum, 600);
    begin(0x8180, 1, 0, 1, 0);
    add_question();
    ADD_RECORD("\300\20", DNS_TYPE_SOA, 60, SOA "\0\0\2");
    ADD("\130");
    reader = read_only_record(&record);
    assert_false(dns_record_soa_minimum(&reader, &record, &minimum));
    begin(0x8180, 1, 0, 1, 0);
    add_question();
    ADD_RECORD("\300\20", DNS_TYPE_SOA, 60, "\2ns");
    reader = read_only_record(&record);
    assert_false(dns_record_soa_minimum(&reader, &record, &minimum));
    assert_int_equal(minimum, 600);
}

/*** Data ***/

static void data_are_flattened(void **state)
{
    static const struct {
        unsigned type;
        size_t length, expected;
        const char *data, *flat;
    } rows[] = {
        {DNS_TYPE_MX, 9, 16, "\0\5\4mail\300\20", "\0\5\4mail\7Example\0"},
        {DNS_TYPE_SRV, 8, 19, "\0\1\0\2\0P\300\14", "\0\1\0\2\0P\3wWw\7Example\0"},
        {35, 13, 20, "\0\1\0\2\1u\3sip\0\300\20", "\0\1\0\2\1u\3sip\0\7Example\0"},
        {17, 4, 22, "\300\14\300\20", "\3wWw\7Example\0\7Example\0"},
        {DNS_TYPE_TXT, 3, 3, "\2\300\14", "\2\300\14"},
        {65280, 2, 2, "\300\14", "\300\14"},
        {65280, 0, 0, "", ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct dns_record record;
        struct dns_reader reader;
        uint8_t flat[64];
        begin(0x8180, 1, 1, 0, 0);
        add_question();
        ADD("\300\14");
        add_fixed(rows[i].type, 60, rows[i].length);
        add(rows[i].data, rows[i].length);
        reader = read_only_record(&record);
        assert_int_equal(dns_record_flatten(&reader, &record, flat, sizeof(flat)), (long)rows[i].expected);
        assert_memory_equal(flat, rows[i].flat, rows[i].expected);
        assert_int_equal(dns_record_flatten(&reader, &record, flat, rows[i].expected),
                         (long)rows[i].expected);
        if (rows[i].expected > 0)
            assert_int_equal(dns_record_flatten(&reader, &record, flat, rows[i].expected - 1), -1);
    }
}

static void data_of_another_form_are_refused(void **state)
{
    static const struct {
        unsigned type;
        size_t length;
        const char *data;
    } rows[] = {
        {DNS_TYPE_MX, 0, ""},        {DNS_TYPE_MX, 1, "\0"},
        {DNS_TYPE_MX, 2, "\0\5"},    {DNS_TYPE_MX, 6, "\0\5\4mai"},
        {DNS_TYPE_MX, 4, "\0\5\0x"}, {DNS_TYPE_NS, 0, ""},
        {DNS_TYPE_NS, 1, "\300"},    {DNS_TYPE_SRV, 5, "\0\1\0\2\0"},
        {35, 5, "\0\1\0\2\377"},     {35, 6, "\0\1\0\2\0\0"},
        {17, 2, "\300\14"},          {DNS_TYPE_SOA, 23, SOA "\0\0\0"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct dns_record record;
        struct dns_reader reader;
        uint8_t flat[64];
        begin(0x8180, 1, 1, 0, 0);
        add_question();
        ADD("\300\14");
        add_fixed(rows[i].type, 60, rows[i].length);
        add(rows[i].data, rows[i].length);
        ADD("\20"); /* no longer of the data */
        reader = read_only_record(&record);
        assert_int_equal(dns_record_flatten(&reader, &record, flat, sizeof(flat)), -1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(query_is_read),
        cmocka_unit_test(query_cut_short_anywhere_is_refused),
        cmocka_unit_test(responses_are_met_with_silence),
        cmocka_unit_test(other_opcodes_are_not_implemented),
        cmocka_unit_test(there_is_one_question),
        cmocka_unit_test(wrong_names_of_questions_are_refused),
        cmocka_unit_test(edns_is_read),
        cmocka_unit_test(edns_of_another_version_is_badvers),
        cmocka_unit_test(wrong_edns_is_refused),
        cmocka_unit_test(unknown_records_of_queries_are_ignored),
        cmocka_unit_test(records_of_all_sections_are_walked),
        cmocka_unit_test(records_cut_short_are_malformed),
        cmocka_unit_test(addresses_of_another_length_or_class_are_none),
        cmocka_unit_test(pointers_are_followed_so_far),
        cmocka_unit_test(pointers_forwards_or_in_circles_are_refused),
        cmocka_unit_test(names_do_not_grow_by_pointers),
        cmocka_unit_test(targets_are_read),
        cmocka_unit_test(minimum_of_soa_is_read),
        cmocka_unit_test(data_are_flattened),
        cmocka_unit_test(data_of_another_form_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
