/* SPDX-License-Identifier: BSD-2-Clause */
/* Replies out of answers: what is the query's in them, what the answer's, and what goes when room is short.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dns64/answer.h"

enum { UDP_SIZE = 1232, OPT_BYTES = 11 };

static uint8_t message[DNS_MESSAGE_MAX], reply[DNS_MESSAGE_MAX + 1], other_reply[DNS_MESSAGE_MAX];
static struct dns_writer writer;
static struct answer answer;
static struct dns_query query;

static struct dns_name name_of(const char *text)
{
    struct dns_name name;
    if (!dns_name_parse(&name, text))
        fail_msg("no name: %s", text);
    return name;
}

/*** Answers ***/

static void begin_answer(const struct dns_name *name, uint16_t type, uint16_t rcode)
{
    const struct dns_header header = {.response = true, .recursion_available = true, .rcode = rcode};
    answer = (struct answer){.message = message, .ttl = 300, .rcode = (uint8_t)rcode};
    dns_writer_open(&writer, message, sizeof(message), &header);
    dns_writer_question(&writer, name, type, DNS_CLASS_IN);
}

static void put(const struct dns_name *owner, uint16_t type, const void *rdata, size_t length, uint32_t ttl)
{
    const struct dns_data data = {owner, rdata, type, DNS_CLASS_IN, (uint16_t)length, ttl};
    assert_int_equal(dns_writer_record(&writer, &data), DNS_WRITTEN);
}

static void put_addresses(const struct dns_name *owner, unsigned n, uint32_t ttl)
{
    for (unsigned i = 0; i < n; i++) {
        uint8_t address[16] = {0x00, 0x64, 0xff, 0x9b, [15] = (uint8_t)i};
        put(owner, DNS_TYPE_AAAA, address, sizeof(address), ttl);
    }
}

static void end_answer(void)
{
    answer.core = answer.core != 0 ? answer.core : (uint32_t)writer.size;
    answer.size = (uint32_t)dns_writer_finish(&writer);
}

/* An alias and its addresses, a name server, and `additional` addresses of that. */
static void make_answer(unsigned addresses, unsigned additional)
{
    struct dns_name name = name_of("www.example"), real = name_of("real.example"), zone = name_of("example");
    struct dns_name server = name_of("ns.example");
    begin_answer(&name, DNS_TYPE_AAAA, DNS_RCODE_NOERROR);
    put(&name, DNS_TYPE_CNAME, real.wire, real.length, 100);
    put_addresses(&real, addresses, 200);
    dns_writer_section(&writer, DNS_AUTHORITY);
    put(&zone, DNS_TYPE_NS, server.wire, server.length, 300);
    answer.core = (uint32_t)writer.size;
    dns_writer_section(&writer, DNS_ADDITIONAL);
    put_addresses(&server, additional, 400);
    end_answer();
}

/*** Queries and replies ***/

static void ask_name(const struct dns_name *name, uint16_t type)
{
    query = (struct dns_query){
        .header = {.id = 0xabcd},
        .question = {.type = type, .class = DNS_CLASS_IN},
        .has_question = true,
    };
    query.question.asked = query.question.name = *name;
    dns_name_lower(&query.question.name);
}

static void ask(const char *name)
{
    struct dns_name asked = name_of(name);
    ask_name(&asked, DNS_TYPE_AAAA);
}

static void with_edns(bool dnssec_ok)
{
    query.edns = (struct dns_edns){.present = true, .dnssec_ok = dnssec_ok, .udp_size = 4096};
}

struct read {
    struct dns_header header;
    struct dns_question question;
    unsigned records[DNS_SECTIONS]; /* without OPT */
    uint32_t ttl[DNS_SECTIONS];     /* of the last record of each */
    struct dns_name first_owner;
    bool has_opt;
    struct dns_edns edns;
    uint16_t error; /* 0: none */
    size_t text;    /* bytes of its text */
};

/* The option of RFC 8914, if the OPT record has one; nothing else may be in it. */
static void read_error(const struct dns_reader *reader, const struct dns_record *record, struct read *read)
{
    const uint8_t *option = reader->bytes + record->rdata;
    if (record->rdata_length == 0)
        return;
    assert_true(record->rdata_length >= 6);
    assert_int_equal(from_be16(load_be16(option)), 15);
    assert_int_equal(from_be16(load_be16(option + 2)), record->rdata_length - 4);
    read->error = from_be16(load_be16(option + 4));
    read->text = record->rdata_length - 6u;
}

/* Reads a whole reply, which has to be sound and end with its last record. */
static struct read read_reply(const uint8_t *bytes, size_t size)
{
    struct read read = {.has_opt = false};
    struct dns_reader reader;
    struct dns_record record;
    enum dns_next next;
    uint8_t flat[DNS_MESSAGE_MAX];
    assert_true(dns_reader_open(&reader, bytes, size, &read.header, &read.question));
    read.first_owner = dns_name_root();
    while ((next = dns_reader_next(&reader, &record)) == DNS_NEXT_RECORD) {
        if (record.type == DNS_TYPE_OPT) {
            assert_false(read.has_opt);
            assert_true(dns_record_edns(&reader, &record, &read.edns));
            read_error(&reader, &record, &read);
            read.has_opt = true;
            continue;
        }
        assert_false(read.has_opt); /* it is the last */
        assert_true(dns_record_flatten(&reader, &record, flat, sizeof(flat)) >= 0);
        if (read.records[0] + read.records[1] + read.records[2] == 0)
            read.first_owner = record.owner;
        read.records[record.section]++;
        read.ttl[record.section] = record.ttl;
    }
    assert_int_equal(next, DNS_NEXT_END);
    assert_int_equal(reader.at, size);
    return read;
}

/* The reply in `limit` bytes; made in place it is the same. */
static struct read reply_with(const struct answer_wish *wish)
{
    struct answer copy = answer;
    size_t size;
    memset(reply, 0xee, sizeof(reply));
    size = answer_reply(&answer, &query, wish, reply);
    assert_true(size <= wish->limit);
    for (size_t i = size; i < sizeof(reply); i++)
        if (reply[i] != 0xee)
            fail_msg("byte %zu is written, behind a reply of %zu", i, size);
    memcpy(other_reply, message, answer.size);
    copy.message = other_reply;
    assert_int_equal(answer_reply(&copy, &query, wish, other_reply), size);
    assert_memory_equal(other_reply, reply, size);
    return read_reply(reply, size);
}

static struct read reply_in(size_t limit)
{
    const struct answer_wish wish = {.limit = limit, .udp_size = UDP_SIZE};
    return reply_with(&wish);
}

static struct read reply_after(uint32_t age, bool stale)
{
    const struct answer_wish wish = {
        .limit = DNS_MESSAGE_MAX, .age = age, .udp_size = UDP_SIZE, .stale = stale};
    return reply_with(&wish);
}

static void require_records(const struct read *read, unsigned answers, unsigned authority,
                            unsigned additional)
{
    assert_int_equal(read->records[DNS_ANSWER], answers);
    assert_int_equal(read->records[DNS_AUTHORITY], authority);
    assert_int_equal(read->records[DNS_ADDITIONAL], additional);
}

/*** Tests ***/

static void header_and_question_are_the_querys(void **state)
{
    struct read read;
    (void)state;
    make_answer(1, 0);
    ask("wWw.EXAMPLE");
    read = reply_in(512);
    assert_int_equal(read.header.id, 0xabcd);
    assert_int_equal(read.header.opcode, DNS_OPCODE_QUERY);
    assert_int_equal(read.header.rcode, DNS_RCODE_NOERROR);
    assert_true(read.header.response && read.header.recursion_available);
    assert_false(read.header.recursion_desired || read.header.checking_disabled || read.header.truncated);
    assert_false(read.header.authoritative || read.header.authentic || read.has_opt);
    assert_int_equal(read.question.type, DNS_TYPE_AAAA);
    assert_memory_equal(read.question.asked.wire, "\3wWw\7EXAMPLE", 13);
    assert_memory_equal(read.first_owner.wire, "\3wWw\7EXAMPLE", 13);
    require_records(&read, 2, 1, 0);
    query.header.recursion_desired = query.header.checking_disabled = true;
    read = reply_in(512);
    assert_true(read.header.recursion_desired && read.header.checking_disabled);
}

static void rcode_and_authority_are_the_answers(void **state)
{
    struct dns_name name = name_of("www.example");
    struct read read;
    (void)state;
    begin_answer(&name, DNS_TYPE_AAAA, DNS_RCODE_NXDOMAIN);
    dns_writer_section(&writer, DNS_AUTHORITY);
    put(&name, DNS_TYPE_SOA, "\0\0\0\0\0\1\0\0\0\2\0\0\0\3\0\0\0\4\0\0\0\5", 22, 60);
    writer.header.authoritative = true;
    end_answer();
    ask("www.example");
    read = reply_in(512);
    assert_int_equal(read.header.rcode, DNS_RCODE_NXDOMAIN);
    assert_true(read.header.authoritative);
    require_records(&read, 0, 1, 0);
}

static void ttls_are_less_the_age(void **state)
{
    static const struct {
        uint32_t age, answer, authority, additional;
    } some[] = {
        {0, 200, 300, 400}, {1, 199, 299, 399}, {199, 1, 101, 201}, {200, 0, 100, 200},
        {201, 0, 99, 199},  {350, 0, 0, 50},    {86400, 0, 0, 0},   {UINT32_MAX, 0, 0, 0},
    };
    (void)state;
    make_answer(2, 1);
    ask("www.example");
    with_edns(true);
    for (size_t i = 0; i < sizeof(some) / sizeof(some[0]); i++) {
        struct read read = reply_after(some[i].age, false);
        assert_int_equal(read.ttl[DNS_ANSWER], some[i].answer);
        assert_int_equal(read.ttl[DNS_AUTHORITY], some[i].authority);
        assert_int_equal(read.ttl[DNS_ADDITIONAL], some[i].additional);
        assert_true(read.edns.dnssec_ok); /* what stands there in OPT is no TTL */
    }
}

/*
 * RFC 8767 section 4: TTLs above 0, 30 s recommended; RFC 8914 sections 4.4 and 4.20.
 * rfc: 8914-4.4-a, 8914-4.20-a
 */
static void stale_replies_say_so(void **state)
{
    struct dns_name name = name_of("www.example");
    struct read read;
    (void)state;
    make_answer(2, 1);
    answer.secure = answer.synthesized = true;
    answer.error = ANSWER_ERROR_SYNTHESIZED;
    ask("www.example");
    with_edns(true);
    read = reply_after(3600, true);
    for (size_t i = 0; i < DNS_SECTIONS; i++)
        assert_int_equal(read.ttl[i], 30);
    assert_int_equal(read.error, 3);
    assert_false(read.header.authentic);
    begin_answer(&name, DNS_TYPE_AAAA, DNS_RCODE_NXDOMAIN);
    end_answer();
    assert_int_equal(reply_after(3600, true).error, 19);
}

/*
 * RFC 6891 section 7: one to who sent one; DO as asked, RFC 3225 section 3.
 * rfc: 6891-6.1.1-a, 6891-6.1.3-c, 6891-7-b
 */
static void opt_only_to_who_sent_one(void **state)
{
    struct read read;
    (void)state;
    make_answer(1, 1);
    answer.error = ANSWER_ERROR_SYNTHESIZED;
    ask("www.example");
    assert_false(reply_in(512).has_opt);
    with_edns(false);
    read = reply_in(512);
    assert_true(read.has_opt);
    assert_false(read.edns.dnssec_ok);
    assert_int_equal(read.edns.udp_size, UDP_SIZE);
    assert_int_equal(read.edns.version, 0);
    assert_int_equal(read.edns.extended_rcode, 0);
    assert_int_equal(read.error, 29);
    assert_int_equal(read.text, strlen(answer_error_text(ANSWER_ERROR_SYNTHESIZED)));
    require_records(&read, 2, 1, 1);
    answer.error = ANSWER_ERROR_NONE;
    with_edns(true);
    read = reply_in(512);
    assert_true(read.edns.dnssec_ok);
    assert_int_equal(read.error, 0);
}

/* RFC 6840 section 5.8, RFC 6147 section 5.5. rfc: 6147-5.5-b */
static void authentic_to_who_can_tell(void **state)
{
    (void)state;
    make_answer(1, 0);
    for (unsigned i = 0; i < 32; i++) {
        bool secure = i & 1, edns = i & 2, dnssec_ok = edns && (i & 4), ad = i & 8, cd = i & 16;
        answer.secure = secure;
        ask("www.example");
        if (edns)
            with_edns(dnssec_ok);
        query.header.authentic = ad;
        query.header.checking_disabled = cd;
        assert_int_equal(reply_in(512).header.authentic, secure && !cd && (dnssec_ok || ad));
    }
}

/*
 * In order: the error's text, the error, the additional section, everything with TC.
 * rfc: 6891-6.2.3-f, 6891-7-h, 8914-3-a
 */
static void what_goes_when_room_is_short(void **state)
{
    size_t text = strlen(answer_error_text(ANSWER_ERROR_SYNTHESIZED));
    struct read read;
    (void)state;
    make_answer(30, 3);
    answer.error = ANSWER_ERROR_SYNTHESIZED;
    ask("www.example");
    with_edns(true);
    read = reply_in(answer.size + OPT_BYTES + 6 + text);
    assert_true(read.error == 29 && read.text == text);
    read = reply_in(answer.size + OPT_BYTES + 6 + text - 1);
    assert_true(read.error == 29 && read.text == 0);
    require_records(&read, 31, 1, 3);
    read = reply_in(answer.size + OPT_BYTES + 6 - 1);
    assert_int_equal(read.error, 0);
    require_records(&read, 31, 1, 3);
    read = reply_in(answer.size + OPT_BYTES - 1);
    require_records(&read, 31, 1, 0);
    assert_false(read.header.truncated);
    read = reply_in(answer.core + OPT_BYTES);
    require_records(&read, 31, 1, 0);
    assert_false(read.header.truncated);
    read = reply_in(answer.core + OPT_BYTES - 1);
    require_records(&read, 0, 0, 0);
    assert_true(read.header.truncated && read.has_opt && read.edns.dnssec_ok);
    assert_memory_equal(read.question.asked.wire, "\3www\7example", 13);
}

static void every_limit_gives_a_sound_reply(void **state)
{
    bool whole = false, truncated = false, without_additional = false;
    (void)state;
    make_answer(20, 20);
    answer.error = ANSWER_ERROR_SYNTHESIZED;
    for (unsigned edns = 0; edns < 2; edns++)
        for (size_t limit = 512; limit < answer.size + 64u; limit++) {
            struct read read;
            ask("WWW.example");
            if (edns)
                with_edns(true);
            read = reply_in(limit);
            assert_int_equal(read.has_opt, edns);
            truncated |= read.header.truncated;
            whole |= read.records[DNS_ADDITIONAL] == 20;
            without_additional |= read.records[DNS_ANSWER] == 21 && read.records[DNS_ADDITIONAL] == 0;
        }
    assert_true(whole && truncated && without_additional);
}

/*
 * What is cut off is missed by nothing before it: names of the additional section lead back into the others,
 * and nothing of those leads forwards, however names come to share their ends.
 */
static void pointers_lead_backwards_only(void **state)
{
    struct dns_name name = name_of("a.b.c.example"), owner;
    (void)state;
    begin_answer(&name, DNS_TYPE_MX, DNS_RCODE_NOERROR);
    for (unsigned i = 0; i < 90; i++) {
        static const char *const ends[] = {"c.example", "x.test", "b.c.example", "y.x.test", "test", "."};
        struct dns_name target = name_of(ends[i % 6]);
        uint8_t data[2 + DNS_NAME_MAX] = {0, 1};
        owner = name_of(ends[(i + 2) % 6]);
        memcpy(data + 2, target.wire, target.length);
        if (i == 30)
            dns_writer_section(&writer, DNS_AUTHORITY);
        if (i == 60) {
            answer.core = (uint32_t)writer.size;
            dns_writer_section(&writer, DNS_ADDITIONAL);
        }
        put(&owner, DNS_TYPE_MX, data, 2u + target.length, i);
    }
    end_answer();
    ask_name(&name, DNS_TYPE_MX);
    for (size_t limit = 512; limit <= answer.size; limit++) {
        struct read read = reply_in(limit);
        assert_int_equal(read.header.truncated, limit < answer.core);
        require_records(&read, limit < answer.core ? 0 : 30, limit < answer.core ? 0 : 30,
                        limit < answer.size ? 0 : 30);
    }
}

static void shortest_and_longest_names(void **state)
{
    struct dns_name name = dns_name_root();
    struct read read;
    (void)state;
    begin_answer(&name, DNS_TYPE_NS, DNS_RCODE_NOERROR);
    put(&name, DNS_TYPE_NS, "\1a\4root\0", 8, 7);
    put(&name, DNS_TYPE_NS, "\1b\4root\0", 8, 7);
    end_answer();
    ask_name(&name, DNS_TYPE_NS);
    read = reply_after(3, false);
    require_records(&read, 2, 0, 0);
    assert_int_equal(read.ttl[DNS_ANSWER], 4);

    for (size_t i = 0; i < 127; i++)
        memcpy(name.wire + 2 * i, "\1x", 2);
    name.wire[254] = 0;
    name.length = 255;
    begin_answer(&name, DNS_TYPE_AAAA, DNS_RCODE_NOERROR);
    put_addresses(&name, 2, 7);
    end_answer();
    ask_name(&name, DNS_TYPE_AAAA);
    for (size_t i = 1; i < 254; i += 4)
        query.question.asked.wire[i] = 'X';
    with_edns(true);
    read = reply_after(3, false);
    require_records(&read, 2, 0, 0);
    assert_int_equal(read.ttl[DNS_ANSWER], 4);
    assert_memory_equal(read.first_owner.wire, query.question.asked.wire, 255);
    begin_answer(&name, DNS_TYPE_AAAA, DNS_RCODE_NOERROR);
    put_addresses(&name, 20, 7);
    end_answer();
    read = reply_in(512);
    assert_true(read.header.truncated && read.has_opt);
    assert_memory_equal(read.question.asked.wire, query.question.asked.wire, 255);
}

static void an_answer_that_was_cut_short_says_so(void **state)
{
    (void)state;
    make_answer(1, 0);
    message[2] |= 0x02;
    ask("www.example");
    assert_true(reply_in(512).header.truncated);
}

/*** Refusals ***/

static struct read refuse(uint16_t rcode, enum answer_error error, size_t asked)
{
    size_t size, more = query.edns.present ? OPT_BYTES : 0;
    if (query.edns.present && error != ANSWER_ERROR_NONE)
        more += 6 + (answer_error_text(error) != NULL ? strlen(answer_error_text(error)) : 0);
    memset(reply, 0xee, sizeof(reply));
    size = answer_refusal(&query, rcode, error, UDP_SIZE, reply, 512);
    assert_int_equal(size, asked + more);
    assert_int_equal(reply[size], 0xee);
    if (query.has_question)
        return read_reply(reply, size);
    return (struct read){.has_opt = false};
}

static void refusals_are_small(void **state)
{
    struct read read;
    (void)state;
    ask("wwW.example");
    query.header.recursion_desired = true;
    read = refuse(DNS_RCODE_REFUSED, ANSWER_ERROR_PROHIBITED, 12 + 13 + 4);
    assert_int_equal(read.header.id, 0xabcd);
    assert_int_equal(read.header.rcode, DNS_RCODE_REFUSED);
    assert_true(read.header.response && read.header.recursion_desired && read.header.recursion_available);
    assert_memory_equal(read.question.asked.wire, "\3wwW\7example", 13);
    with_edns(true);
    read = refuse(DNS_RCODE_REFUSED, ANSWER_ERROR_PROHIBITED, 12 + 13 + 4);
    assert_int_equal(read.error, 18);
    assert_true(read.edns.dnssec_ok);
    read = refuse(DNS_RCODE_BADVERS, ANSWER_ERROR_NONE, 12 + 13 + 4);
    assert_int_equal(read.header.rcode, 0);
    assert_int_equal(read.edns.extended_rcode, 1);
    assert_int_equal(read.edns.udp_size, UDP_SIZE);
}

static void refusals_without_a_question(void **state)
{
    (void)state;
    query = (struct dns_query){.header = {.id = 0xabcd, .opcode = 4, .checking_disabled = true}};
    (void)refuse(DNS_RCODE_NOTIMP, ANSWER_ERROR_NONE, 12);
    assert_memory_equal(reply, "\xab\xcd\xa0\x94\0\0\0\0\0\0\0\0", 12);
}

/* Both ways to write a refusal agree. rfc: 6891-7-c */
static void refusals_are_as_the_writer_has_them(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 64; i++) {
        enum answer_error error = i & 1 ? ANSWER_ERROR_NO_AUTHORITY : ANSWER_ERROR_NONE;
        uint16_t rcode = i & 2 ? DNS_RCODE_BADVERS : DNS_RCODE_SERVFAIL;
        size_t size;
        ask("Www.example");
        query.header.recursion_desired = i & 4;
        query.header.checking_disabled = i & 8;
        query.header.authentic = i & 16;
        if (i & 32)
            with_edns(i & 16);
        dns_writer_reply(&writer, other_reply, 512, &query, rcode, UDP_SIZE);
        if (error != ANSWER_ERROR_NONE)
            dns_writer_error(&writer, (uint16_t)error, answer_error_text(error));
        if (!query.edns.present)
            dns_writer_opt(&writer, &(struct dns_opt){.present = false});
        size = dns_writer_finish(&writer);
        assert_int_equal(answer_refusal(&query, rcode, error, UDP_SIZE, reply, 512), size);
        assert_memory_equal(reply, other_reply, size);
    }
}

/* rfc: 8914-3-c */
static void errors_have_short_texts(void **state)
{
    static const enum answer_error told[] = {
        ANSWER_ERROR_STALE,          ANSWER_ERROR_BOGUS,         ANSWER_ERROR_NOT_READY,
        ANSWER_ERROR_PROHIBITED,     ANSWER_ERROR_NOT_RECURSIVE, ANSWER_ERROR_NOT_SUPPORTED,
        ANSWER_ERROR_STALE_NXDOMAIN, ANSWER_ERROR_NO_AUTHORITY,  ANSWER_ERROR_NETWORK,
        ANSWER_ERROR_SYNTHESIZED,
    };
    (void)state;
    assert_null(answer_error_text(ANSWER_ERROR_NONE));
    assert_null(answer_error_text((enum answer_error)30000));
    assert_null(answer_error_text((enum answer_error)1));
    for (size_t i = 0; i < sizeof(told) / sizeof(told[0]); i++)
        assert_non_null(answer_error_text(told[i]));
    for (unsigned i = 0; i < 64; i++) {
        const char *text = answer_error_text((enum answer_error)i);
        assert_true(text == NULL || strlen(text) <= DNS_ERROR_TEXT_MAX);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(header_and_question_are_the_querys),
        cmocka_unit_test(rcode_and_authority_are_the_answers),
        cmocka_unit_test(ttls_are_less_the_age),
        cmocka_unit_test(stale_replies_say_so),
        cmocka_unit_test(opt_only_to_who_sent_one),
        cmocka_unit_test(authentic_to_who_can_tell),
        cmocka_unit_test(what_goes_when_room_is_short),
        cmocka_unit_test(every_limit_gives_a_sound_reply),
        cmocka_unit_test(pointers_lead_backwards_only),
        cmocka_unit_test(shortest_and_longest_names),
        cmocka_unit_test(an_answer_that_was_cut_short_says_so),
        cmocka_unit_test(refusals_are_small),
        cmocka_unit_test(refusals_without_a_question),
        cmocka_unit_test(refusals_are_as_the_writer_has_them),
        cmocka_unit_test(errors_have_short_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
