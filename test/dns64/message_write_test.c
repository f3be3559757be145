/* SPDX-License-Identifier: BSD-2-Clause */
/* Writing DNS messages: compression, limits, record sets that do not fit, and the OPT record. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dns64/message.h"

static uint8_t buffer[DNS_MESSAGE_MAX + 1];
static struct dns_writer writer;

static struct dns_name name_of(const char *text)
{
    struct dns_name name;
    if (!dns_name_parse(&name, text))
        fail_msg("no name: %s", text);
    return name;
}

/* A message with the question for AAAA of wWw.Example, in `limit` bytes. */
static void start(size_t limit)
{
    static const struct dns_header header = {.id = 0x1234, .response = true, .recursion_desired = true};
    struct dns_name name = name_of("wWw.Example");
    memset(buffer, 0xee, sizeof(buffer));
    dns_writer_open(&writer, buffer, limit, &header);
    dns_writer_question(&writer, &name, DNS_TYPE_AAAA, DNS_CLASS_IN);
}

static void keep_opt(const char *error_text)
{
    const struct dns_opt opt = {.present = true, .udp_size = 1232};
    dns_writer_opt(&writer, &opt);
    if (error_text != NULL)
        dns_writer_error(&writer, 29, error_text);
}

static enum dns_written put(const char *owner, uint16_t type, const void *rdata, size_t length)
{
    struct dns_name name = name_of(owner);
    const struct dns_data data = {&name, rdata, type, DNS_CLASS_IN, (uint16_t)length, 300};
    return dns_writer_record(&writer, &data);
}

/* Records of a set of `n`, each with 16 bytes of data; the number of those that were taken. */
static unsigned put_set(const char *owner, unsigned n)
{
    unsigned taken = 0;
    for (unsigned i = 0; i < n; i++) {
        uint8_t address[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = (uint8_t)i};
        taken += put(owner, DNS_TYPE_AAAA, address, sizeof(address)) == DNS_WRITTEN;
    }
    return taken;
}

struct counted {
    struct dns_header header;
    unsigned records[DNS_SECTIONS];
    bool has_opt;
};

/* Ends the message, reads it to its end and counts; nothing was written behind it. */
static struct counted finish(void)
{
    size_t size = dns_writer_finish(&writer);
    struct counted counted = {.has_opt = false};
    struct dns_question question;
    struct dns_reader reader;
    struct dns_record record;
    enum dns_next next;
    assert_true(size <= writer.limit);
    assert_int_equal(buffer[writer.limit], 0xee);
    assert_true(dns_reader_open(&reader, buffer, size, &counted.header, &question));
    assert_memory_equal(question.asked.wire, "\3wWw\7Example", 13);
    while ((next = dns_reader_next(&reader, &record)) == DNS_NEXT_RECORD) {
        counted.records[record.section]++;
        counted.has_opt = record.type == DNS_TYPE_OPT;
    }
    assert_int_equal(next, DNS_NEXT_END);
    assert_int_equal(reader.at, size);
    return counted;
}

#define QUESTION "\3wWw\7Example\0\0\34\0\1"

static void require_written(const void *expected, size_t size)
{
    assert_int_equal(dns_writer_finish(&writer), size);
    assert_memory_equal(buffer, expected, size);
}

#define REQUIRE_WRITTEN(literal) require_written(literal, sizeof(literal) - 1)

static void reply_repeats_what_was_asked(void **state)
{
    struct dns_query query = {
        .header = {.id = 0xabcd, .recursion_desired = true, .authentic = true, .checking_disabled = true},
        .has_question = true,
        .question = {.type = DNS_TYPE_AAAA, .class = DNS_CLASS_IN},
        .edns = {.present = true, .dnssec_ok = true, .udp_size = 4096},
    };
    (void)state;
    query.question.asked = name_of("wWw.Example");
    dns_writer_reply(&writer, buffer, 512, &query, DNS_RCODE_REFUSED, 1232);
    REQUIRE_WRITTEN("\xab\xcd\x81\x95\0\1\0\0\0\0\0\1" QUESTION "\0\0\51\4\xd0\0\0\x80\0\0\0");
    query.has_question = query.edns.present = query.header.checking_disabled = false;
    query.header.opcode = 4;
    dns_writer_reply(&writer, buffer, 512, &query, DNS_RCODE_NOTIMP, 1232);
    dns_writer_authentic(&writer, true);
    REQUIRE_WRITTEN("\xab\xcd\xa1\xa4\0\0\0\0\0\0\0\0");
}

static void names_are_compressed(void **state)
{
    (void)state;
    start(512);
    assert_int_equal(put("www.example", DNS_TYPE_CNAME, "\4real\7eXample\0", 14), DNS_WRITTEN);
    assert_int_equal(put("REAL.example", DNS_TYPE_A, "abcd", 4), DNS_WRITTEN);
    assert_int_equal(put("example", DNS_TYPE_MX, "\0\5\2mx\4real\7example\0", 19), DNS_WRITTEN);
    assert_int_equal(put(".", DNS_TYPE_NS, "\0", 1), DNS_WRITTEN);
    REQUIRE_WRITTEN("\x12\x34\x81\0\0\1\0\4\0\0\0\0" QUESTION "\300\14\0\5\0\1\0\0\1\54\0\7\4real\300\20"
                    "\300\51\0\1\0\1\0\0\1\54\0\4"
                    "abcd"
                    "\300\20\0\17\0\1\0\0\1\54\0\7\0\5\2mx\300\51"
                    "\0\0\2\0\1\0\0\1\54\0\1\0");
}

/* RFC 3597 section 4; nor may pointers lead into such data. */
static void names_of_later_types_are_not_compressed(void **state)
{
    (void)state;
    start(512);
    assert_int_equal(put("www.example", DNS_TYPE_SRV, "\0\1\0\2\0P\3new\7example\0", 19), DNS_WRITTEN);
    assert_int_equal(put("example", DNS_TYPE_DNAME, "\3new\7example\0", 13), DNS_WRITTEN);
    assert_int_equal(put("new.example", DNS_TYPE_TXT, "\300\14", 2), DNS_WRITTEN);
    REQUIRE_WRITTEN("\x12\x34\x81\0\0\1\0\3\0\0\0\0" QUESTION
                    "\300\14\0\41\0\1\0\0\1\54\0\23\0\1\0\2\0P\3new\7example\0"
                    "\300\20\0\47\0\1\0\0\1\54\0\15\3new\7example\0"
                    "\3new\300\20\0\20\0\1\0\0\1\54\0\2\300\14");
}

/* rfc: 6891-6.1.1-b */
static void unsound_data_are_not_written(void **state)
{
    (void)state;
    start(512);
    assert_int_equal(put("a.example", DNS_TYPE_MX, "\0\5\300\14", 4), DNS_UNSOUND); /* flat has no pointers */
    assert_int_equal(put("a.example", DNS_TYPE_MX, "\0", 1), DNS_UNSOUND);
    assert_int_equal(put("a.example", DNS_TYPE_CNAME, "", 0), DNS_UNSOUND);
    assert_int_equal(put("a.example", DNS_TYPE_CNAME, "\1a\0\0", 4), DNS_UNSOUND);
    assert_int_equal(put(".", DNS_TYPE_OPT, "", 0), DNS_UNSOUND);
    assert_int_equal(put("a.example", DNS_TYPE_TXT, "", 0), DNS_WRITTEN);
    assert_false(writer.truncated);
    REQUIRE_WRITTEN("\x12\x34\x81\0\0\1\0\1\0\0\0\0" QUESTION "\1a\300\20\0\20\0\1\0\0\1\54\0\0");
}

static void records_are_copied_with_their_names_written_out(void **state)
{
    /* The name "example" stands elsewhere here than in the copy. */
    static const uint8_t from[] = "\0\1\x81\x80\0\1\0\1\0\0\0\0\7example\0\0\17\0\1"
                                  "\300\14\0\17\0\1\xff\0\0\0\0\7\0\5\2mx\300\14";
    struct dns_question question;
    struct dns_header header;
    struct dns_reader reader;
    struct dns_record record;
    (void)state;
    assert_true(dns_reader_open(&reader, from, sizeof(from) - 1, &header, &question));
    assert_int_equal(dns_reader_next(&reader, &record), DNS_NEXT_RECORD);
    start(512);
    assert_int_equal(dns_writer_copy(&writer, &reader, &record, 5), DNS_WRITTEN);
    REQUIRE_WRITTEN("\x12\x34\x81\0\0\1\0\1\0\0\0\0" QUESTION "\300\20\0\17\0\1\0\0\0\5\0\7\0\5\2mx\300\20");
}

/* Whatever the limit: the chain and the OPT record stay, and of the set all or nothing. */
static void set_that_does_not_fit_is_left_out_whole(void **state)
{
    enum { SET = 40, WHOLE = 12 + 17 + 19 + SET * 28 + 11 };
    (void)state;
    for (size_t limit = 512; limit < WHOLE + 20; limit++) {
        struct counted counted;
        bool fits = limit >= WHOLE;
        start(limit);
        keep_opt(NULL);
        assert_int_equal(put("www.example", DNS_TYPE_CNAME, "\4real\7example\0", 14), DNS_WRITTEN);
        assert_int_equal(put_set("real.example", SET) == SET, fits);
        dns_writer_section(&writer, DNS_AUTHORITY);
        if (!fits) {
            assert_int_equal(put("example", DNS_TYPE_NS, "\0", 1), DNS_FULL);
            dns_writer_section(&writer, DNS_ADDITIONAL);
            assert_int_equal(put("b.example", DNS_TYPE_A, "abcd", 4), DNS_FULL);
        }
        counted = finish();
        assert_int_equal(counted.header.truncated, !fits);
        assert_int_equal(counted.records[DNS_ANSWER], fits ? 1 + SET : 1);
        assert_int_equal(counted.records[DNS_AUTHORITY], 0);
        assert_int_equal(counted.records[DNS_ADDITIONAL], 1);
        assert_true(counted.has_opt);
    }
}

static void additional_set_is_left_out_in_silence(void **state)
{
    struct counted counted;
    (void)state;
    start(512);
    keep_opt(NULL);
    assert_int_equal(put_set("www.example", 10), 10);
    dns_writer_section(&writer, DNS_ADDITIONAL);
    assert_int_equal(put_set("a.example", 2), 2);
    assert_true(put_set("b.example", 10) < 10);
    assert_int_equal(put_set("B.example", 1), 0); /* still of the set that was left out */
    assert_int_equal(put_set("c.example", 2), 2);
    counted = finish();
    assert_false(counted.header.truncated);
    assert_int_equal(counted.records[DNS_ANSWER], 10);
    assert_int_equal(counted.records[DNS_ADDITIONAL], 2 + 2 + 1);
}

static void sections_are_written_anew(void **state)
{
    struct counted counted;
    (void)state;
    start(512);
    keep_opt(NULL);
    assert_int_equal(put("www.example", DNS_TYPE_CNAME, "\5other\7example\0", 15), DNS_WRITTEN);
    dns_writer_section(&writer, DNS_AUTHORITY);
    assert_true(put_set("auth.example", 30) < 30);
    assert_true(writer.truncated);
    dns_writer_rewind(&writer, DNS_ADDITIONAL); /* not begun */
    assert_true(writer.truncated);
    dns_writer_rewind(&writer, DNS_AUTHORITY);
    assert_false(writer.truncated);
    assert_int_equal(put_set("auth.example", 2), 2);
    dns_writer_section(&writer, DNS_ADDITIONAL);
    assert_int_equal(put_set("auth.example", 1), 1);
    dns_writer_rewind(&writer, DNS_ANSWER);
    assert_int_equal(put("other.example", DNS_TYPE_A, "abcd", 4),
                     DNS_WRITTEN); /* no pointer to what is gone */
    counted = finish();
    assert_false(counted.header.truncated);
    assert_int_equal(counted.records[DNS_ANSWER], 1);
    assert_int_equal(counted.records[DNS_AUTHORITY], 0);
    assert_int_equal(counted.records[DNS_ADDITIONAL], 1);
    assert_memory_equal(buffer + 29, "\5other\300\20\0\1", 10);
}

/* What was cut short stays so when only a later section is written anew. */
static void rewinding_does_not_forget_an_earlier_truncation(void **state)
{
    (void)state;
    start(512);
    assert_true(put_set("www.example", 30) < 30);
    dns_writer_section(&writer, DNS_AUTHORITY);
    dns_writer_rewind(&writer, DNS_AUTHORITY);
    assert_true(finish().header.truncated);
}

/* rfc: 6891-7-c, 8914-2-a */
static void extended_error_is_written(void **state)
{
    static const struct dns_header header = {.id = 1, .response = true, .rcode = DNS_RCODE_BADVERS};
    (void)state;
    dns_writer_open(&writer, buffer, 512, &header);
    keep_opt("why");
    dns_writer_rcode(&writer, DNS_RCODE_NOERROR);
    REQUIRE_WRITTEN("\0\1\x80\0\0\0\0\0\0\0\0\1\0\0\51\4\xd0\0\0\0\0\0\11\0\17\0\5\0\35why");
    dns_writer_open(&writer, buffer, 512, &header);
    keep_opt(NULL);
    REQUIRE_WRITTEN("\0\1\x80\0\0\0\0\0\0\0\0\1\0\0\51\4\xd0\1\0\0\0\0\0");
    dns_writer_open(&writer, buffer, 512, &header);
    dns_writer_error(&writer, 29, "no OPT, no error");
    REQUIRE_WRITTEN("\0\1\x80\2\0\0\0\0\0\0\0\0");
}

static void long_text_ends_between_characters(void **state)
{
    char text[] = "0123456789012345678901234567890123456789012345678901234567890\xe2\x82\xac"
                  "56789";
    (void)state;
    start(512);
    keep_opt(text);
    assert_int_equal(dns_writer_finish(&writer), 29 + 11 + 6 + 64);
    start(512);
    keep_opt(text + 1);
    assert_int_equal(dns_writer_finish(&writer), 29 + 11 + 6 + 64);
    text[60] = '\xe2';
    text[61] = '\x82';
    text[62] = '\xac';
    start(512);
    keep_opt(text);
    assert_int_equal(dns_writer_finish(&writer), 29 + 11 + 6 + 64);
    memmove(text + 2, text, 62);
    text[62] = '\xe2';
    text[63] = '\x82';
    text[64] = '\xac';
    start(512);
    keep_opt(text);
    assert_int_equal(dns_writer_finish(&writer), 29 + 11 + 6 + 62);
}

/* A pointer has 14 bits: names behind them are written out, and the message is sound. */
static void pointers_reach_as_far_as_they_can(void **state)
{
    static uint8_t long_text[20000];
    struct counted counted;
    size_t size;
    (void)state;
    start(DNS_MESSAGE_MAX);
    assert_int_equal(put("www.example", DNS_TYPE_TXT, long_text, sizeof(long_text)), DNS_WRITTEN);
    assert_int_equal(put("far.away", DNS_TYPE_TXT, "", 0), DNS_WRITTEN);
    size = writer.size;
    assert_int_equal(put("far.away", DNS_TYPE_A, "abcd", 4), DNS_WRITTEN);
    assert_int_equal(writer.size - size, 10 + 10 + 4);
    assert_int_equal(put("www.example", DNS_TYPE_A, "abcd", 4), DNS_WRITTEN);
    assert_int_equal(writer.size - size, 10 + 10 + 4 + 2 + 10 + 4);
    counted = finish();
    assert_int_equal(counted.records[DNS_ANSWER], 4);
}

static void more_names_than_are_remembered(void **state)
{
    struct counted counted;
    char owner[32] = "x00.y00.example";
    (void)state;
    start(DNS_MESSAGE_MAX);
    for (unsigned i = 0; i < 90; i++) {
        owner[1] = owner[5] = (char)('0' + i / 10);
        owner[2] = owner[6] = (char)('0' + i % 10);
        assert_int_equal(put(owner, DNS_TYPE_A, "abcd", 4), DNS_WRITTEN);
    }
    assert_int_equal(writer.names, DNS_COMPRESSION_NAMES);
    counted = finish();
    assert_int_equal(counted.records[DNS_ANSWER], 90);
}

static void largest_message_is_filled(void **state)
{
    static uint8_t text[DNS_MESSAGE_MAX];
    struct counted counted;
    (void)state;
    start(DNS_MESSAGE_MAX + 1);
    keep_opt(NULL);
    assert_int_equal(writer.limit, DNS_MESSAGE_MAX);
    assert_int_equal(put("www.example", DNS_TYPE_TXT, text, DNS_MESSAGE_MAX - 29 - 11 - 12), DNS_WRITTEN);
    counted = finish();
    assert_false(counted.header.truncated);
    start(DNS_MESSAGE_MAX);
    keep_opt(NULL);
    assert_int_equal(put("www.example", DNS_TYPE_TXT, text, DNS_MESSAGE_MAX - 29 - 11 - 11), DNS_FULL);
    counted = finish();
    assert_true(counted.header.truncated);
    assert_true(counted.has_opt);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reply_repeats_what_was_asked),
        cmocka_unit_test(names_are_compressed),
        cmocka_unit_test(names_of_later_types_are_not_compressed),
        cmocka_unit_test(unsound_data_are_not_written),
        cmocka_unit_test(records_are_copied_with_their_names_written_out),
        cmocka_unit_test(set_that_does_not_fit_is_left_out_whole),
        cmocka_unit_test(additional_set_is_left_out_in_silence),
        cmocka_unit_test(sections_are_written_anew),
        cmocka_unit_test(rewinding_does_not_forget_an_earlier_truncation),
        cmocka_unit_test(extended_error_is_written),
        cmocka_unit_test(long_text_ends_between_characters),
        cmocka_unit_test(pointers_reach_as_far_as_they_can),
        cmocka_unit_test(more_names_than_are_remembered),
        cmocka_unit_test(largest_message_is_filled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
