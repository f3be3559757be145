/* SPDX-License-Identifier: BSD-2-Clause */
/* What is answered without asking anybody: ipv4only.arpa, reverse names, resolver.arpa. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dns64/local.h"

static struct dns_rules rules;
static uint8_t message[DNS_MESSAGE_MAX];
static struct answer answer;
static struct dns_name target;
static char shown[4096]; /* of the answer: "rcode [flags]; TYPE data TTL, ...; authority" */

static struct ipv6_address ipv6(const char *text)
{
    struct ipv6_address address;
    assert_int_equal(inet_pton(AF_INET6, text, &address), 1);
    return address;
}

/* For all clients and all IPv4 addresses. */
static struct rules_prefix *add_prefix(const char *address, unsigned length)
{
    struct rules_prefix *added = &rules.prefixes[rules.prefix_count++];
    added->prefix = (struct rfc6052_prefix){.address = ipv6(address), .length = (uint8_t)length};
    added->client_count = added->ipv4_count = 1;
    added->clients[0] = (struct rules_network){.length = 0};
    added->ipv4[0] = (struct rules_network){.address = ipv6("::ffff:0:0"), .length = RULES_IPV4_BITS};
    return added;
}

static int forget(void **state)
{
    (void)state;
    memset(&rules, 0, sizeof(rules));
    rules.negative_ttl = 300;
    return 0;
}

/*** What was answered, as text ***/

static void show(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void show(const char *format, ...)
{
    size_t length = strlen(shown);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(shown + length, sizeof(shown) - length, format, arguments);
    va_end(arguments);
}

static void show_data(const struct dns_reader *reader, const struct dns_record *record)
{
    char text[DNS_NAME_TEXT_MAX];
    struct ipv6_address address;
    struct dns_name name;
    uint32_t minimum;
    be32 ipv4;
    if (dns_record_ipv4(reader, record, &ipv4)) {
        show("A %s", inet_ntop(AF_INET, &ipv4, text, sizeof(text)));
    } else if (dns_record_ipv6(reader, record, &address)) {
        show("AAAA %s", inet_ntop(AF_INET6, &address, text, sizeof(text)));
    } else if (dns_record_soa_minimum(reader, record, &minimum)) {
        dns_name_print(&record->owner, text);
        show("SOA of %s minimum %u", text, minimum);
    } else {
        assert_int_equal(record->type, DNS_TYPE_PTR);
        assert_true(dns_record_target(reader, record, &name));
        dns_name_print(&name, text);
        show("PTR %s", text);
    }
    show(" ttl %u", record->ttl);
}

/* All records of answers belong to the name that was asked for. */
static void show_records(struct dns_reader *reader, const struct dns_question *question)
{
    enum dns_section section = DNS_ANSWER;
    struct dns_record record;
    enum dns_next next;
    const char *before = "; ";
    while ((next = dns_reader_next(reader, &record)) == DNS_NEXT_RECORD) {
        if (record.section != section)
            before = " / ";
        section = record.section;
        if (section == DNS_ANSWER)
            assert_true(dns_name_equal(&record.owner, &question->name));
        assert_int_equal(record.class, DNS_CLASS_IN);
        show("%s", before);
        show_data(reader, &record);
        before = ", ";
    }
    assert_int_equal(next, DNS_NEXT_END);
    assert_int_equal(reader->at, reader->size);
}

static const char *show_answer(const struct inquiry_question *asked)
{
    static const char *const rcodes[] = {"NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN"};
    struct dns_question question;
    struct dns_header header;
    struct dns_reader reader;
    assert_true(dns_reader_open(&reader, answer.message, answer.size, &header, &question));
    assert_memory_equal(question.asked.wire, asked->name.wire, asked->name.length);
    assert_int_equal(question.type, asked->type);
    assert_int_equal(question.class, asked->class);
    assert_int_equal(header.rcode, answer.rcode);
    assert_int_equal(answer.core, answer.size);
    assert_true(header.response && header.recursion_available && !header.truncated);
    assert_false(answer.secure);
    assert_int_equal(answer.error, answer.synthesized ? ANSWER_ERROR_SYNTHESIZED : ANSWER_ERROR_NONE);
    show("%s%s", rcodes[answer.rcode], header.authoritative ? "" : " not-authoritative");
    show_records(&reader, &question);
    return shown;
}

static struct inquiry_question question_of(const char *name, uint16_t type)
{
    struct inquiry_question question = {.type = type, .class = DNS_CLASS_IN};
    if (!dns_name_parse(&question.name, name))
        fail_msg("no name: %s", name);
    dns_name_lower(&question.name);
    question.view = (rules_view)((1u << rules.prefix_count) - 1);
    return question;
}

static const char *ask_question(const struct inquiry_question *question)
{
    enum local_kind kind;
    shown[0] = 0;
    memset(message, 0xee, sizeof(message));
    memset(&answer, 0xee, sizeof(answer));
    memset(&target, 0xee, sizeof(target));
    answer.message = message;
    kind = local_answer(question, &rules, &answer, &target);
    if (kind == LOCAL_ANSWERED)
        return show_answer(question);
    assert_int_equal(answer.size, 0xeeeeeeee);
    if (kind == LOCAL_REVERSE) {
        char text[DNS_NAME_TEXT_MAX];
        dns_name_print(&target, text);
        show("reverse %s", text);
        return shown;
    }
    assert_int_equal(target.length, 0xee);
    return "none";
}

static const char *ask(const char *name, uint16_t type)
{
    struct inquiry_question question = question_of(name, type);
    return ask_question(&question);
}

static const char *ask_with_cd(const char *name, uint16_t type)
{
    struct inquiry_question question = question_of(name, type);
    question.checking_disabled = question.dnssec_ok = true;
    return ask_question(&question);
}

/*** ipv4only.arpa ***/

/* RFC 7050 section 2.2, RFC 8880 section 7.1; TTL: RFC 7050 section 4. rfc: 8880-7.1-a, 8880-7.1-k, 7050-4-a
 */
static void the_well_known_name_has_its_two_ipv4_addresses(void **state)
{
    (void)state;
    add_prefix("64:ff9b::", 96);
    assert_string_equal(ask("ipv4only.arpa", DNS_TYPE_A),
                        "NOERROR; A 192.0.0.170 ttl 3600, A 192.0.0.171 ttl 3600");
    assert_int_equal(answer.ttl, 3600);
    assert_false(answer.synthesized);
    assert_string_equal(ask("IPv4Only.ARPA", DNS_TYPE_A),
                        "NOERROR; A 192.0.0.170 ttl 3600, A 192.0.0.171 ttl 3600");
}

/* The example of RFC 7050 section 3.4: the prefixes in their order, and 64:ff9b::/96 as any other.
 * rfc: 8880-7.1-b, 8880-7.1-i, 8880-7.1-m, 7050-3-a, 7050-5-a */
static void it_has_addresses_under_each_prefix(void **state)
{
    (void)state;
    add_prefix("2001:db8:42::", 96);
    add_prefix("2001:db8:43::", 96);
    add_prefix("64:ff9b::", 96);
    assert_string_equal(ask("ipv4only.arpa", DNS_TYPE_AAAA),
                        "NOERROR; AAAA 2001:db8:42::c000:aa ttl 600, AAAA 2001:db8:42::c000:ab ttl 600, "
                        "AAAA 2001:db8:43::c000:aa ttl 600, AAAA 2001:db8:43::c000:ab ttl 600, "
                        "AAAA 64:ff9b::c000:aa ttl 600, AAAA 64:ff9b::c000:ab ttl 600");
    assert_int_equal(answer.ttl, 600);
    assert_true(answer.synthesized);
}

/* 192.0.0.170 at the places of RFC 6052 section 2.2. */
static void at_the_places_of_all_six_lengths(void **state)
{
    (void)state;
    add_prefix("2001:db8::", 32);
    add_prefix("2001:db8:100::", 40);
    add_prefix("2001:db8:122::", 48);
    add_prefix("2001:db8:122:300::", 56);
    add_prefix("2001:db8:122:344::", 64);
    assert_string_equal(
        ask("ipv4only.arpa", DNS_TYPE_AAAA),
        "NOERROR; AAAA 2001:db8:c000:aa:: ttl 600, AAAA 2001:db8:c000:ab:: ttl 600, "
        "AAAA 2001:db8:1c0:0:aa:: ttl 600, AAAA 2001:db8:1c0:0:ab:: ttl 600, "
        "AAAA 2001:db8:122:c000:0:aa00:: ttl 600, AAAA 2001:db8:122:c000:0:ab00:: ttl 600, "
        "AAAA 2001:db8:122:3c0:0:aa:: ttl 600, AAAA 2001:db8:122:3c0:0:ab:: ttl 600, "
        "AAAA 2001:db8:122:344:c0:0:aa00:0 ttl 600, AAAA 2001:db8:122:344:c0:0:ab00:0 ttl 600");
}

static void only_the_view_counts(void **state)
{
    struct inquiry_question question;
    (void)state;
    add_prefix("2001:db8:42::", 96);
    add_prefix("2001:db8:43::", 96);
    question = question_of("ipv4only.arpa", DNS_TYPE_AAAA);
    question.view = 2;
    assert_string_equal(ask_question(&question),
                        "NOERROR; AAAA 2001:db8:43::c000:aa ttl 600, AAAA 2001:db8:43::c000:ab ttl 600");
    question.view = 0;
    assert_string_equal(ask_question(&question), "NOERROR / SOA of ipv4only.arpa. minimum 300 ttl 300");
    assert_int_equal(answer.ttl, 300);
    assert_false(answer.synthesized);
}

/* RFC 6147 section 5.1.7 has A records checked against ranges; RFC 7050 section 5.1 tells why it matters.
 * rfc: 7050-5.1-a */
static void a_prefix_for_a_part_of_ipv4_is_not_told(void **state)
{
    struct rules_prefix *part;
    (void)state;
    part = add_prefix("2001:db8:42::", 96);
    part->ipv4[0] = (struct rules_network){.address = ipv6("::ffff:10.0.0.0"), .length = RULES_IPV4_BITS + 8};
    assert_string_equal(ask("ipv4only.arpa", DNS_TYPE_AAAA),
                        "NOERROR; AAAA 2001:db8:42::c000:aa ttl 600, AAAA 2001:db8:42::c000:ab ttl 600");
    add_prefix("2001:db8:43::", 96);
    assert_string_equal(ask("ipv4only.arpa", DNS_TYPE_AAAA),
                        "NOERROR; AAAA 2001:db8:43::c000:aa ttl 600, AAAA 2001:db8:43::c000:ab ttl 600");
    part->ipv4[part->ipv4_count++] =
        (struct rules_network){.address = ipv6("::ffff:192.0.0.171"), .length = 128};
    assert_string_equal(ask("ipv4only.arpa", DNS_TYPE_AAAA),
                        "NOERROR; AAAA 2001:db8:42::c000:aa ttl 600, AAAA 2001:db8:42::c000:ab ttl 600, "
                        "AAAA 2001:db8:43::c000:aa ttl 600, AAAA 2001:db8:43::c000:ab ttl 600");
}

static void a_prefix_in_several_entries_is_told_once(void **state)
{
    struct rules_prefix *part;
    (void)state;
    part = add_prefix("2001:db8:42::", 96);
    part->ipv4[0] = (struct rules_network){.address = ipv6("::ffff:10.0.0.0"), .length = RULES_IPV4_BITS + 8};
    add_prefix("2001:db8:43::", 96);
    add_prefix("2001:db8:42::", 96);
    add_prefix("2001:db8:43::", 96);
    assert_string_equal(ask("ipv4only.arpa", DNS_TYPE_AAAA),
                        "NOERROR; AAAA 2001:db8:43::c000:aa ttl 600, AAAA 2001:db8:43::c000:ab ttl 600, "
                        "AAAA 2001:db8:42::c000:aa ttl 600, AAAA 2001:db8:42::c000:ab ttl 600");
}

/* RFC 8880 section 7.1: "no error no answer" for all other types, NS and SOA among them. rfc: 8880-7.1-o */
static void other_types_are_empty(void **state)
{
    static const uint16_t types[] = {DNS_TYPE_NS,     DNS_TYPE_SOA,   DNS_TYPE_PTR,   DNS_TYPE_CNAME,
                                     DNS_TYPE_TXT,    DNS_TYPE_HTTPS, DNS_TYPE_RRSIG, DNS_TYPE_NSEC,
                                     48 /* DNSKEY */, 65280};
    (void)state;
    add_prefix("64:ff9b::", 96);
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        assert_string_equal(ask("ipv4only.arpa", types[i]),
                            "NOERROR / SOA of ipv4only.arpa. minimum 300 ttl 300");
        assert_int_equal(answer.ttl, 300);
    }
}

/* rfc: 8880-7.1-n */
static void ds_is_resolved_the_usual_way(void **state)
{
    (void)state;
    add_prefix("64:ff9b::", 96);
    assert_string_equal(ask("ipv4only.arpa", DNS_TYPE_DS), "none");
    assert_string_equal(ask("170.0.0.192.in-addr.arpa", DNS_TYPE_DS), "none");
    assert_string_equal(ask("resolver.arpa", DNS_TYPE_DS), "none");
}

/* rfc: 8880-7.1-p */
static void names_below_do_not_exist(void **state)
{
    static const uint16_t types[] = {DNS_TYPE_A, DNS_TYPE_AAAA, DNS_TYPE_NS, DNS_TYPE_DS, DNS_TYPE_TXT};
    (void)state;
    add_prefix("64:ff9b::", 96);
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        assert_string_equal(ask("www.ipv4only.arpa", types[i]),
                            "NXDOMAIN / SOA of ipv4only.arpa. minimum 300 ttl 300");
        assert_int_equal(answer.ttl, 300);
        assert_string_equal(ask("a.b.c.ipv4only.arpa", types[i]),
                            "NXDOMAIN / SOA of ipv4only.arpa. minimum 300 ttl 300");
    }
    assert_string_equal(ask("xipv4only.arpa", DNS_TYPE_A), "none");
    assert_string_equal(ask("ipv4only.arpa.example", DNS_TYPE_A), "none");
    assert_string_equal(ask("arpa", DNS_TYPE_A), "none");
    assert_string_equal(ask(".", DNS_TYPE_A), "none");
}

/* RFC 8880 sections 5 and 7.1: nobody validates this name. */
static void with_cd_it_is_answered_all_the_same(void **state)
{
    (void)state;
    add_prefix("64:ff9b::", 96);
    assert_string_equal(ask_with_cd("ipv4only.arpa", DNS_TYPE_A),
                        "NOERROR; A 192.0.0.170 ttl 3600, A 192.0.0.171 ttl 3600");
    assert_string_equal(ask_with_cd("ipv4only.arpa", DNS_TYPE_AAAA),
                        "NOERROR; AAAA 64:ff9b::c000:aa ttl 600, AAAA 64:ff9b::c000:ab ttl 600");
    assert_string_equal(ask_with_cd("x.ipv4only.arpa", DNS_TYPE_AAAA),
                        "NXDOMAIN / SOA of ipv4only.arpa. minimum 300 ttl 300");
    assert_string_equal(ask_with_cd("ipv4only.arpa", DNS_TYPE_DS), "none");
}

/* Operators may leave all synthesis to the hosts, which then need the prefix (RFC 8880 section 5). */
static void exempt_names_do_not_concern_it(void **state)
{
    struct dns_name root = dns_name_root();
    (void)state;
    add_prefix("64:ff9b::", 96);
    rules.names = &root;
    rules.name_count = 1;
    rules_seal(&rules);
    assert_string_equal(ask("ipv4only.arpa", DNS_TYPE_AAAA),
                        "NOERROR; AAAA 64:ff9b::c000:aa ttl 600, AAAA 64:ff9b::c000:ab ttl 600");
}

static void the_configured_negative_ttl_is_a_limit(void **state)
{
    (void)state;
    add_prefix("64:ff9b::", 96);
    rules.negative_ttl = 5;
    assert_string_equal(ask("ipv4only.arpa", DNS_TYPE_TXT),
                        "NOERROR / SOA of ipv4only.arpa. minimum 5 ttl 5");
    assert_int_equal(answer.ttl, 5);
    rules.negative_ttl = 100000;
    assert_string_equal(ask("ipv4only.arpa", DNS_TYPE_TXT),
                        "NOERROR / SOA of ipv4only.arpa. minimum 600 ttl 600");
}

static void sixteen_prefixes_fit(void **state)
{
    char last[] = "2001:db8:420f::";
    struct ipv6_address expected;
    (void)state;
    for (unsigned i = 0; i < RULES_PREFIXES; i++) {
        char text[32];
        snprintf(text, sizeof(text), "2001:db8:42%02x::", i);
        add_prefix(text, 48);
    }
    ask("ipv4only.arpa", DNS_TYPE_AAAA);
    /* Header, question, and each record with a pointer for its name. */
    assert_int_equal(answer.size, 12 + 15 + 4 + RULES_PREFIXES * 2 * (2 + 10 + 16));
    expected = ipv6(last);
    assert_memory_equal(message + answer.size - 16, &expected, 6);
}

/* rfc: 8880-7.1-j */
static void without_prefixes_it_is_a_name_like_others(void **state)
{
    (void)state;
    assert_string_equal(ask("ipv4only.arpa", DNS_TYPE_A), "none");
    assert_string_equal(ask("ipv4only.arpa", DNS_TYPE_AAAA), "none");
    assert_string_equal(ask("www.ipv4only.arpa", DNS_TYPE_A), "none");
    assert_string_equal(ask("170.0.0.192.in-addr.arpa", DNS_TYPE_PTR), "none");
}

static void other_classes_are_not_ours(void **state)
{
    struct inquiry_question question;
    (void)state;
    add_prefix("64:ff9b::", 96);
    question = question_of("ipv4only.arpa", DNS_TYPE_AAAA);
    question.class = 3;
    assert_string_equal(ask_question(&question), "none");
}

/*** Reverse names ***/

/* rfc: 8880-7.2-a */
static void reverse_names_of_the_well_known_addresses(void **state)
{
    static const char *const names[] = {"170.0.0.192.in-addr.arpa", "171.0.0.192.in-addr.arpa"};
    char expected[128], below[64];
    (void)state;
    add_prefix("64:ff9b::", 96);
    for (size_t i = 0; i < 2; i++) {
        assert_string_equal(ask(names[i], DNS_TYPE_PTR), "NOERROR; PTR ipv4only.arpa. ttl 3600");
        assert_int_equal(answer.ttl, 3600);
        assert_false(answer.synthesized);
        snprintf(expected, sizeof(expected), "NOERROR / SOA of %s. minimum 300 ttl 300", names[i]);
        assert_string_equal(ask(names[i], DNS_TYPE_A), expected);
        assert_string_equal(ask(names[i], DNS_TYPE_NS), expected);
        snprintf(expected, sizeof(expected), "NXDOMAIN / SOA of %s. minimum 300 ttl 300", names[i]);
        snprintf(below, sizeof(below), "x.%s", names[i]);
        assert_string_equal(ask(below, DNS_TYPE_PTR), expected);
        /* Their zone may be signed, and with CD the client validates. */
        assert_string_equal(ask_with_cd(names[i], DNS_TYPE_PTR), "none");
    }
    assert_string_equal(ask("172.0.0.192.in-addr.arpa", DNS_TYPE_PTR), "none");
    assert_string_equal(ask("0.0.192.in-addr.arpa", DNS_TYPE_PTR), "none");
}

static const char *ask_pointer(const char *address)
{
    struct ipv6_address at = ipv6(address);
    struct dns_name name = dns_name_of_ipv6(&at);
    char text[DNS_NAME_TEXT_MAX];
    dns_name_print(&name, text);
    return ask(text, DNS_TYPE_PTR);
}

/* RFC 6147 section 5.3.1, with the examples of RFC 6052 section 2.4. rfc: 8880-7.2.1-a */
static void pointers_lead_to_the_ipv4_address(void **state)
{
    static const struct {
        const char *prefix;
        unsigned length;
        const char *address;
    } examples[] = {
        {"2001:db8::", 32, "2001:db8:c000:221::"},
        {"2001:db8:100::", 40, "2001:db8:1c0:2:21::"},
        {"2001:db8:122::", 48, "2001:db8:122:c000:2:2100::"},
        {"2001:db8:122:300::", 56, "2001:db8:122:3c0:0:221::"},
        {"2001:db8:122:344::", 64, "2001:db8:122:344:c0:2:2100::"},
        {"2001:db8:122:344::", 96, "2001:db8:122:344::192.0.2.33"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(examples) / sizeof(examples[0]); i++) {
        forget(NULL);
        assert_string_equal(ask_pointer(examples[i].address), "none");
        add_prefix(examples[i].prefix, examples[i].length);
        assert_string_equal(ask_pointer(examples[i].address), "reverse 33.2.0.192.in-addr.arpa.");
        assert_string_equal(ask_pointer("2001:db9::1"), "none");
    }
}

/* The well-known addresses are not looked up: RFC 8880 section 7.2.1. rfc: 8880-7.2.1-b */
static void pointers_of_the_well_known_addresses_are_answered(void **state)
{
    static const char *const addresses[] = {
        "2001:db8:c000:aa::",         "2001:db8:c000:ab::",      "2001:db8:1c0:0:aa::",
        "2001:db9:122:c000:0:aa00::", "2001:dba:122:3c0:0:ab::", "2001:dbb:122:344:c0:0:aa00:0",
        "2001:dbc:122:344::c000:aa",  "64:ff9b::192.0.0.170",    "64:ff9b::192.0.0.171",
    };
    (void)state;
    add_prefix("2001:db8::", 32);
    add_prefix("2001:db8:100::", 40);
    add_prefix("2001:db9:122::", 48);
    add_prefix("2001:dba:122:300::", 56);
    add_prefix("2001:dbb:122:344::", 64);
    add_prefix("2001:dbc:122:344::", 96);
    for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
        assert_string_equal(ask_pointer(addresses[i]), "NOERROR; PTR ipv4only.arpa. ttl 600");
        assert_int_equal(answer.ttl, 600);
        assert_true(answer.synthesized);
    }
    assert_string_equal(ask_pointer("2001:dbc:122:344::192.0.0.172"), "reverse 172.0.0.192.in-addr.arpa.");
}

/* The site's prefixes count for everybody (RFC 6147 section 5.3.1), a range or no range. */
static void pointers_do_not_depend_on_the_view(void **state)
{
    struct rules_prefix *prefix;
    struct ipv6_address address = ipv6("2001:db8:64::192.0.2.33");
    struct inquiry_question question = {
        .name = dns_name_of_ipv6(&address), .type = DNS_TYPE_PTR, .class = DNS_CLASS_IN};
    (void)state;
    prefix = add_prefix("2001:db8:64::", 96);
    prefix->ipv4_count = prefix->client_count = 0;
    assert_string_equal(ask_question(&question), "reverse 33.2.0.192.in-addr.arpa.");
}

/*
 * "... or the default Well-Known Prefix": also where it is not configured, and for what is not global.
 * rfc: 6147-5.3.1-a
 */
static void the_well_known_prefix_always_counts(void **state)
{
    (void)state;
    add_prefix("2001:db8:64::", 96);
    assert_string_equal(ask_pointer("64:ff9b::198.51.100.1"), "reverse 1.100.51.198.in-addr.arpa.");
    assert_string_equal(ask_pointer("64:ff9b::10.0.0.1"), "reverse 1.0.0.10.in-addr.arpa.");
    assert_string_equal(ask_pointer("64:ff9b:1::10.0.0.1"), "none");
}

/* RFC 6052 section 2.2: bits 64 to 71 must be zero; a suffix is ignored. */
static void what_embeds_no_address_is_an_ordinary_name(void **state)
{
    (void)state;
    add_prefix("2001:db8:122::", 48);
    assert_string_equal(ask_pointer("2001:db8:122:c000:102:2100::"), "none");
    assert_string_equal(ask_pointer("2001:db8:122:c000:2:2100::1"), "reverse 33.2.0.192.in-addr.arpa.");
}

/* RFC 6147 sections 5.3.1 and 5.3.3: PTR and nothing else, of whole addresses; with CD nothing is made. */
static void only_pointers_of_addresses_are_led_elsewhere(void **state)
{
    struct ipv6_address address = ipv6("64:ff9b::192.0.2.33");
    struct dns_name name = dns_name_of_ipv6(&address);
    char text[DNS_NAME_TEXT_MAX];
    (void)state;
    add_prefix("64:ff9b::", 96);
    dns_name_print(&name, text);
    assert_string_equal(ask(text, DNS_TYPE_PTR), "reverse 33.2.0.192.in-addr.arpa.");
    assert_string_equal(ask(text, DNS_TYPE_TXT), "none");
    assert_string_equal(ask(text, DNS_TYPE_CNAME), "none");
    assert_string_equal(ask_with_cd(text, DNS_TYPE_PTR), "none");
    assert_string_equal(ask(text + 2, DNS_TYPE_PTR), "none"); /* a label less */
    assert_string_equal(
        ask("x.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.b.9.f.f.4.6.0.0.ip6.arpa", DNS_TYPE_PTR),
        "none");
    assert_string_equal(ask("33.2.0.192.in-addr.arpa", DNS_TYPE_PTR), "none");
}

/*** resolver.arpa ***/

/* RFC 9462 section 4: NODATA for queries to that zone, so that clients see there is none. */
static void there_is_no_designated_resolver(void **state)
{
    (void)state;
    add_prefix("64:ff9b::", 96);
    assert_string_equal(ask("_dns.resolver.arpa", DNS_TYPE_SVCB),
                        "NOERROR / SOA of resolver.arpa. minimum 300 ttl 300");
    assert_string_equal(ask("resolver.arpa", DNS_TYPE_A),
                        "NOERROR / SOA of resolver.arpa. minimum 300 ttl 300");
    assert_string_equal(ask_with_cd("_dns.resolver.arpa", DNS_TYPE_SVCB), "none");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_well_known_name_has_its_two_ipv4_addresses, forget),
        cmocka_unit_test_setup(it_has_addresses_under_each_prefix, forget),
        cmocka_unit_test_setup(at_the_places_of_all_six_lengths, forget),
        cmocka_unit_test_setup(only_the_view_counts, forget),
        cmocka_unit_test_setup(a_prefix_for_a_part_of_ipv4_is_not_told, forget),
        cmocka_unit_test_setup(a_prefix_in_several_entries_is_told_once, forget),
        cmocka_unit_test_setup(other_types_are_empty, forget),
        cmocka_unit_test_setup(ds_is_resolved_the_usual_way, forget),
        cmocka_unit_test_setup(names_below_do_not_exist, forget),
        cmocka_unit_test_setup(with_cd_it_is_answered_all_the_same, forget),
        cmocka_unit_test_setup(exempt_names_do_not_concern_it, forget),
        cmocka_unit_test_setup(the_configured_negative_ttl_is_a_limit, forget),
        cmocka_unit_test_setup(sixteen_prefixes_fit, forget),
        cmocka_unit_test_setup(without_prefixes_it_is_a_name_like_others, forget),
        cmocka_unit_test_setup(other_classes_are_not_ours, forget),
        cmocka_unit_test_setup(reverse_names_of_the_well_known_addresses, forget),
        cmocka_unit_test_setup(pointers_lead_to_the_ipv4_address, forget),
        cmocka_unit_test_setup(pointers_of_the_well_known_addresses_are_answered, forget),
        cmocka_unit_test_setup(pointers_do_not_depend_on_the_view, forget),
        cmocka_unit_test_setup(the_well_known_prefix_always_counts, forget),
        cmocka_unit_test_setup(what_embeds_no_address_is_an_ordinary_name, forget),
        cmocka_unit_test_setup(only_pointers_of_addresses_are_led_elsewhere, forget),
        cmocka_unit_test_setup(there_is_no_designated_resolver, forget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
