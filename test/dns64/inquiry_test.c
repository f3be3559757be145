/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Inquiries at their limits: responses that are too large for what would be made of them. What is made of
 * ordinary ones is told by the scenarios, test/dns64/scenarios.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dns64/inquiry.h"

static struct dns_rules rules;
static struct inquiry inquiry;
static struct inquiry_question question;
static struct answer answer;
static uint8_t answer_bytes[DNS_MESSAGE_MAX], upstream[DNS_MESSAGE_MAX];
static struct dns_writer writer;

static struct dns_name name_of(const char *text)
{
    struct dns_name name;
    if (!dns_name_parse(&name, text))
        fail_msg("no name: %s", text);
    return name;
}

/* A question of somebody who is served under the first `prefixes` of 16 prefixes 2001:db8:0:N::/96. */
static enum inquiry_step ask(const char *name, uint16_t type, unsigned prefixes)
{
    for (rules.prefix_count = 0; rules.prefix_count < RULES_PREFIXES; rules.prefix_count++) {
        struct rules_prefix *prefix = &rules.prefixes[rules.prefix_count];
        *prefix = (struct rules_prefix){.client_count = 1, .ipv4_count = 1};
        prefix->prefix.address =
            (struct ipv6_address){.bytes = {0x20, 0x01, 0x0d, 0xb8, [7] = (uint8_t)rules.prefix_count}};
        prefix->prefix.length = 96;
        prefix->ipv4[0] = (struct rules_network){{.bytes = {[10] = 0xff, [11] = 0xff}}, 96};
    }
    rules.negative_ttl = 300;
    rules_seal(&rules);
    question = (struct inquiry_question){.name = name_of(name),
                                         .type = type,
                                         .class = DNS_CLASS_IN,
                                         .view = (rules_view)((1u << prefixes) - 1)};
    answer = (struct answer){.message = answer_bytes};
    return inquiry_begin(&inquiry, &question, &rules, &answer);
}

/* Starts the response to what is asked. */
static void respond(void)
{
    static const struct dns_header header = {.response = true};
    dns_writer_open(&writer, upstream, sizeof(upstream), &header);
    dns_writer_question(&writer, &inquiry.ask.name, inquiry.ask.type, inquiry.ask.class);
}

static void put(const char *owner, uint16_t type, const void *rdata, size_t length)
{
    struct dns_name name = name_of(owner);
    const struct dns_data data = {&name, rdata, type, DNS_CLASS_IN, (uint16_t)length, 300};
    assert_int_equal(dns_writer_record(&writer, &data), DNS_WRITTEN);
}

static void put_addresses(const char *owner, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        const uint8_t address[4] = {198, 51, (uint8_t)(i >> 8), (uint8_t)i};
        put(owner, DNS_TYPE_A, address, sizeof(address));
    }
}

/* A record of type HTTPS in ServiceMode, with `padding` bytes of a parameter behind the target. */
static void put_service(const char *owner, const char *target, size_t padding)
{
    static uint8_t rdata[DNS_MESSAGE_MAX];
    struct dns_name name = name_of(target);
    memset(rdata, 0, sizeof(rdata));
    rdata[1] = 1;
    memcpy(rdata + 2, name.wire, name.length);
    put(owner, DNS_TYPE_HTTPS, rdata, 2u + name.length + padding);
}

static enum inquiry_step proceed(void)
{
    size_t size = dns_writer_finish(&writer);
    uint8_t *exact = malloc(size);
    struct looked_up result = {LOOKUP_INSECURE, exact, size};
    enum inquiry_step step;
    assert_non_null(exact);
    memcpy(exact, upstream, size);
    step = inquiry_continue(&inquiry, &result, &answer);
    free(exact);
    return step;
}

static void require_asked(const char *name, uint16_t type)
{
    struct dns_name expected = name_of(name);
    assert_true(dns_name_equal(&inquiry.ask.name, &expected));
    assert_int_equal(inquiry.ask.type, type);
}

/* How many records of a type the answer has in a section. */
static unsigned count(enum dns_section section, const char *owner, uint16_t type)
{
    struct dns_name name = name_of(owner);
    struct dns_reader reader;
    struct dns_header header;
    struct dns_question again;
    struct dns_record record;
    unsigned found = 0;
    assert_true(dns_reader_open(&reader, answer.message, answer.size, &header, &again));
    while (dns_reader_next(&reader, &record) == DNS_NEXT_RECORD)
        found += record.section == section && record.type == type && dns_name_equal(&record.owner, &name);
    assert_int_equal(reader.at, answer.size);
    return found;
}

/* Asks for AAAA of a name that has `records` A records; all lookups are answered. */
static void ask_for_many(unsigned records, unsigned prefixes)
{
    assert_int_equal(ask("www.example", DNS_TYPE_AAAA, prefixes), INQUIRY_ASK);
    respond();
    assert_int_equal(proceed(), INQUIRY_ASK);
    require_asked("www.example", DNS_TYPE_A);
    respond();
    put_addresses("www.example", records);
    assert_int_equal(proceed(), INQUIRY_DONE);
}

static void all_prefixes_are_answered_for_each_record(void **state)
{
    (void)state;
    ask_for_many(100, RULES_PREFIXES);
    assert_int_equal(answer.rcode, DNS_RCODE_NOERROR);
    assert_int_equal(count(DNS_ANSWER, "www.example", DNS_TYPE_AAAA), 100 * RULES_PREFIXES);
}

/* 28 bytes a record: 4000 times 16 of them do not fit into a message, and part of a set is no answer. */
static void a_set_that_grows_beyond_a_message_is_a_failure(void **state)
{
    (void)state;
    ask_for_many(4000, RULES_PREFIXES);
    assert_int_equal(answer.rcode, DNS_RCODE_SERVFAIL);
    assert_int_equal(answer.ttl, INQUIRY_TTL_FAILURE);
    assert_int_equal(answer.error, ANSWER_ERROR_NETWORK);
    assert_false(answer.synthesized);
    assert_int_equal(count(DNS_ANSWER, "www.example", DNS_TYPE_AAAA), 0);
}

static void records_of_another_class_are_not_made_into_anything(void **state)
{
    static const uint8_t address[4] = {192, 0, 2, 1};
    const struct dns_name owner = name_of("www.example");
    const struct dns_data data = {&owner, address, DNS_TYPE_A, 3, sizeof(address), 300};
    (void)state;
    assert_int_equal(ask("www.example", DNS_TYPE_AAAA, 1), INQUIRY_ASK);
    respond();
    assert_int_equal(proceed(), INQUIRY_ASK);
    respond();
    assert_int_equal(dns_writer_record(&writer, &data), DNS_WRITTEN);
    assert_int_equal(proceed(), INQUIRY_DONE);
    assert_int_equal(answer.rcode, DNS_RCODE_NOERROR);
    assert_false(answer.synthesized);
    assert_int_equal(count(DNS_ANSWER, "www.example", DNS_TYPE_AAAA), 0);
    assert_int_equal(count(DNS_ANSWER, "www.example", DNS_TYPE_A), 0);
}

static void a_service_that_is_too_long_to_keep_is_passed_at_once(void **state)
{
    (void)state;
    assert_int_equal(ask("www.example", DNS_TYPE_HTTPS, 1), INQUIRY_ASK);
    respond();
    put_service("www.example", "svc.example", INQUIRY_KEPT);
    assert_int_equal(proceed(), INQUIRY_DONE);
    assert_int_equal(answer.rcode, DNS_RCODE_NOERROR);
    assert_int_equal(count(DNS_ANSWER, "www.example", DNS_TYPE_HTTPS), 1);
}

/* Answers the questions for a target with so many A records. */
static enum inquiry_step answer_target(const char *target, unsigned records)
{
    require_asked(target, DNS_TYPE_AAAA);
    respond();
    assert_int_equal(proceed(), INQUIRY_ASK);
    require_asked(target, DNS_TYPE_A);
    respond();
    put_addresses(target, records);
    return proceed();
}

static void addresses_of_a_target_are_added_all_or_none(void **state)
{
    (void)state;
    assert_int_equal(ask("www.example", DNS_TYPE_HTTPS, 1), INQUIRY_ASK);
    respond();
    put_service("www.example", "a.example", 0);
    put_service("www.example", "b.example", 0);
    put_service("www.example", "c.example", 0);
    assert_int_equal(proceed(), INQUIRY_ASK);
    assert_int_equal(answer_target("a.example", 20), INQUIRY_ASK);
    assert_int_equal(answer_target("b.example", 4000), INQUIRY_ASK);
    assert_int_equal(answer_target("c.example", 7), INQUIRY_DONE);
    assert_true(answer.synthesized);
    assert_int_equal(count(DNS_ANSWER, "www.example", DNS_TYPE_HTTPS), 3);
    assert_int_equal(count(DNS_ADDITIONAL, "a.example", DNS_TYPE_AAAA), 20);
    assert_int_equal(count(DNS_ADDITIONAL, "b.example", DNS_TYPE_AAAA), 0);
    assert_int_equal(count(DNS_ADDITIONAL, "c.example", DNS_TYPE_AAAA), 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_prefixes_are_answered_for_each_record),
        cmocka_unit_test(a_set_that_grows_beyond_a_message_is_a_failure),
        cmocka_unit_test(records_of_another_class_are_not_made_into_anything),
        cmocka_unit_test(a_service_that_is_too_long_to_keep_is_passed_at_once),
        cmocka_unit_test(addresses_of_a_target_are_added_all_or_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
