/* SPDX-License-Identifier: BSD-2-Clause */
/* Lookups of the resolver, without validation, against a server that does what its questions say. */
#include "test/dns64/stand_in.h"

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    fixture->base = event_base_new();
    server_start(&fixture->server, fixture->base);
    struct resolver_options options = options_to(fixture->server.port);
    open_resolver(fixture, &options);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    resolver_close(fixture->resolver);
    server_stop(&fixture->server);
    event_base_free(fixture->base);
    free(fixture);
    return 0;
}

static void addresses_and_the_cache(void **state)
{
    struct fixture *fixture = *state;
    struct outcome outcome = resolve(fixture, "a.lab.example.", DNS_TYPE_A);
    assert_int_equal(outcome.state, LOOKUP_INSECURE);
    assert_int_equal(outcome.header.rcode, DNS_RCODE_NOERROR);
    assert_int_equal(outcome.addresses, 1);
    assert_int_equal(from_be32(outcome.address), 0xc0000201);
    unsigned questions = fixture->server.questions;
    struct lookup again = lookup_of("a.lab.example.", DNS_TYPE_A);
    ask(fixture, &again, 5000, &outcome);
    assert_int_equal(outcome.calls, 1); /* from within: it was in the cache */
    assert_int_equal(outcome.addresses, 1);
    assert_int_equal(fixture->server.questions, questions);
}

/* Empty answers come with their SOA, the second time too: RFC 6147 section 5.1.7 takes a TTL from it. */
static void answers_without_data(void **state)
{
    struct fixture *fixture = *state;
    for (int i = 0; i < 2; i++) {
        struct outcome outcome = resolve(fixture, "a.lab.example.", DNS_TYPE_AAAA);
        assert_int_equal(outcome.state, LOOKUP_INSECURE);
        assert_int_equal(outcome.header.rcode, DNS_RCODE_NOERROR);
        assert_true(outcome.soa);
        outcome = resolve(fixture, "nxdomain.lab.example.", DNS_TYPE_AAAA);
        assert_int_equal(outcome.state, LOOKUP_INSECURE);
        assert_int_equal(outcome.header.rcode, DNS_RCODE_NXDOMAIN);
        assert_true(outcome.soa);
    }
}

/* The second time it is in the cache, as a message that nobody gets to see. */
static void errors_of_the_server(void **state)
{
    static const char *const names[] = {"servfail.lab.example.", "refused.lab.example.",
                                        "notimp.lab.example.", "formerr.lab.example."};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        for (int again = 0; again < 2; again++)
            assert_int_equal(resolve(*state, names[i], DNS_TYPE_A).state, LOOKUP_FAILED);
    }
}

static void truncated_answers_come_by_tcp(void **state)
{
    struct fixture *fixture = *state;
    struct outcome outcome = resolve(fixture, "long.lab.example.", DNS_TYPE_A);
    assert_int_equal(outcome.state, LOOKUP_INSECURE);
    assert_int_equal(outcome.addresses, 200);
    assert_false(outcome.header.truncated);
    assert_int_equal(fixture->server.streams, 1);
}

/* Of all ports but a thousand it would choose one of these by chance once in 10^36 times. */
static void ports_of_others_are_avoided(void **state)
{
    struct fixture *fixture = *state;
    struct resolver_options options = options_to(fixture->server.port);
    resolver_close(fixture->resolver);
    options.avoided[0] = (struct resolver_ports){1024, 30000};
    options.avoided[1] = (struct resolver_ports){31001, 65535};
    options.avoided_count = 2;
    open_resolver(fixture, &options);
    for (unsigned i = 0; i < 20; i++) {
        char name[64];
        snprintf(name, sizeof name, "a.n%u.lab.example.", i);
        assert_int_equal(resolve(fixture, name, DNS_TYPE_A).state, LOOKUP_INSECURE);
        assert_in_range(fixture->server.from, 30001, 31000);
    }
}

static void forged_answers_are_not_heard(void **state)
{
    struct outcome outcome = resolve(*state, "forged.lab.example.", DNS_TYPE_A);
    assert_int_equal(outcome.state, LOOKUP_INSECURE);
    assert_int_equal(outcome.addresses, 1);
    assert_int_equal(from_be32(outcome.address), 0xc0000201);
}

/* The deadline ends the wait, not the lookup: what it finds is there for the next who asks. */
static void slow_answers_are_kept(void **state)
{
    struct fixture *fixture = *state;
    struct lookup lookup = lookup_of("slow.lab.example.", DNS_TYPE_A);
    struct outcome outcome, again;
    uint64_t start = milliseconds();
    ask(fixture, &lookup, 100, &outcome);
    assert_int_equal(outcome.calls, 0);
    wait_for(&outcome, 1000);
    assert_in_range(milliseconds() - start, 80, 250);
    assert_int_equal(outcome.state, LOOKUP_TIMEOUT);
    run_for(fixture, 400);
    assert_int_equal(outcome.calls, 1);
    unsigned questions = fixture->server.questions;
    ask(fixture, &lookup, 100, &again);
    assert_int_equal(again.calls, 1);
    assert_int_equal(again.addresses, 1);
    assert_int_equal(fixture->server.questions, questions);
}

/* Two who ask the same at the same time are both answered, by one question. */
static void lookups_of_the_same(void **state)
{
    struct fixture *fixture = *state;
    struct lookup lookup = lookup_of("slow.lab.example.", DNS_TYPE_A);
    struct outcome one, two;
    ask(fixture, &lookup, 100, &one);
    ask(fixture, &lookup, 2000, &two);
    wait_for(&two, 1000);
    assert_int_equal(one.calls, 1);
    assert_int_equal(one.state, LOOKUP_TIMEOUT);
    assert_int_equal(two.calls, 1);
    assert_int_equal(two.addresses, 1);
    assert_int_equal(fixture->server.questions, 1);
}

/* Asks for the address when the empty answer comes, as an inquiry does, from within. */
static void ask_on(void *context, const struct looked_up *result)
{
    struct outcome *outcome = context;
    struct lookup next = lookup_of("a.lab.example.", DNS_TYPE_A);
    assert_int_equal(result->state, LOOKUP_INSECURE);
    resolver_ask(outcome->fixture->resolver, &next, &(struct resolver_asker){keep, outcome, 0, 1000});
}

static void asking_from_within(void **state)
{
    struct fixture *fixture = *state;
    struct lookup first = lookup_of("a.lab.example.", DNS_TYPE_AAAA);
    for (int i = 0; i < 2; i++) { /* the second time all is in the cache */
        struct outcome outcome = {.fixture = fixture};
        resolver_ask(fixture->resolver, &first, &(struct resolver_asker){ask_on, &outcome, 0, 1000});
        wait_for(&outcome, 1000);
        assert_int_equal(outcome.calls, 1);
        assert_int_equal(outcome.addresses, 1);
    }
    assert_int_equal(fixture->server.questions, 2);
}

/* Dots, backslashes, spaces, zeroes: a name reaches the server as it is. */
static void all_bytes(void **state)
{
    struct fixture *fixture = *state;
    for (unsigned byte = 0; byte < 256; byte++) {
        if (byte != dns_lower((uint8_t)byte))
            continue; /* the same name as with the small letter */
        struct lookup lookup = lookup_of("three.bytes.lab.example.", DNS_TYPE_A);
        lookup.name.wire[2] = (uint8_t)byte;
        lookup.name.wire[4] = (uint8_t)byte;
        struct outcome outcome;
        ask(fixture, &lookup, 1000, &outcome);
        wait_for(&outcome, 1000);
        assert_int_equal(outcome.addresses, 1);
        assert_true(dns_name_equal(&fixture->server.last, &lookup.name));
    }
}

/* The longest name, of bytes that are four characters each as text. */
static void the_longest_name(void **state)
{
    struct fixture *fixture = *state;
    struct lookup lookup = {.type = DNS_TYPE_A, .class = DNS_CLASS_IN, .name.length = DNS_NAME_MAX};
    static const uint8_t lengths[] = {63, 63, 63, 61};
    size_t at = 0;
    for (size_t i = 0; i < sizeof lengths; i++) {
        lookup.name.wire[at] = lengths[i];
        memset(lookup.name.wire + at + 1, i % 2 ? 0xff : 0, lengths[i]);
        at += 1u + lengths[i];
    }
    struct outcome outcome;
    ask(fixture, &lookup, 1000, &outcome);
    wait_for(&outcome, 1000);
    assert_int_equal(outcome.addresses, 1);
    assert_true(dns_name_equal(&fixture->server.last, &lookup.name));
}

/* The root's name servers: the shortest name. */
static void the_root(void **state)
{
    struct outcome outcome = resolve(*state, ".", DNS_TYPE_A);
    assert_int_equal(outcome.addresses, 1);
}

/* As many as there are slots, of which none ends: one more is refused, and closing calls nobody. */
static void too_many(void **state)
{
    struct fixture *fixture = *state;
    struct outcome *outcomes = calloc(RESOLVER_LOOKUPS, sizeof *outcomes), one_more;
    char name[64];
    for (unsigned i = 0; i < RESOLVER_LOOKUPS; i++) {
        snprintf(name, sizeof name, "silent.%u.lab.example.", i);
        struct lookup lookup = lookup_of(name, DNS_TYPE_A);
        ask(fixture, &lookup, 200, &outcomes[i]);
    }
    struct lookup lookup = lookup_of("a.lab.example.", DNS_TYPE_A);
    ask(fixture, &lookup, 200, &one_more);
    assert_int_equal(one_more.calls, 1);
    assert_int_equal(one_more.state, LOOKUP_BUSY);
    for (unsigned i = 0; i < RESOLVER_LOOKUPS; i++)
        assert_int_equal(outcomes[i].calls, 0);
    run_for(fixture, 400);
    for (unsigned i = 0; i < RESOLVER_LOOKUPS; i++) {
        assert_int_equal(outcomes[i].calls, 1);
        assert_int_equal(outcomes[i].state, LOOKUP_TIMEOUT);
    }
    resolver_close(fixture->resolver); /* with all of them in libunbound still */
    fixture->resolver = NULL;
    for (unsigned i = 0; i < RESOLVER_LOOKUPS; i++)
        assert_int_equal(outcomes[i].calls, 1);
    free(outcomes);
}

/*
 * A client whose lookups never end is refused one more; another one is not, and is answered: there are
 * sockets left for it. What has timed out still counts, and what has ended does not.
 */
static void one_client_has_a_share(void **state)
{
    struct fixture *fixture = *state;
    struct outcome outcomes[RESOLVER_SHARE], one_more, other;
    const struct lookup lookup = lookup_of("a.lab.example.", DNS_TYPE_A);
    for (unsigned i = 0; i < RESOLVER_SHARE; i++) {
        char name[64];
        snprintf(name, sizeof name, "silent.%u.lab.example.", i);
        const struct lookup silent = lookup_of(name, DNS_TYPE_A);
        outcomes[i] = (struct outcome){.fixture = fixture};
        resolver_ask(fixture->resolver, &silent, &(struct resolver_asker){keep, &outcomes[i], 1, 200});
    }
    run_for(fixture, 400);
    assert_int_equal(outcomes[RESOLVER_SHARE - 1].state, LOOKUP_TIMEOUT);
    one_more = other = (struct outcome){.fixture = fixture};
    resolver_ask(fixture->resolver, &lookup, &(struct resolver_asker){keep, &one_more, 1, 1000});
    assert_int_equal(one_more.calls, 1);
    assert_int_equal(one_more.state, LOOKUP_BUSY);
    resolver_ask(fixture->resolver, &lookup, &(struct resolver_asker){keep, &other, 2, 5000});
    wait_for(&other, 5000); /* the server may lose it among the others, and must be asked again */
    assert_int_equal(other.addresses, 1);
    for (unsigned i = 0; i < 2 * RESOLVER_SHARE; i++) {
        resolver_ask(fixture->resolver, &lookup, &(struct resolver_asker){keep, &other, 2, 1000});
        assert_int_equal(other.state, LOOKUP_INSECURE);
    }
}

static unsigned complaints;

static void complain(int severity, const char *message)
{
    (void)severity;
    (void)message;
    complaints++;
}

/* However many there are, libevent has nothing to write on stderr. */
static void any_patience(void **state)
{
    struct fixture *fixture = *state;
    complaints = 0;
    event_set_log_callback(complain);
    for (unsigned i = 0; i < 300; i++) {
        struct outcome outcome;
        char name[64];
        snprintf(name, sizeof name, "a.%u.lab.example.", i);
        const struct lookup lookup = lookup_of(name, DNS_TYPE_A);
        ask(fixture, &lookup, 1000 + i, &outcome);
        wait_for(&outcome, 1000);
        assert_int_equal(outcome.addresses, 1);
    }
    event_set_log_callback(NULL);
    assert_int_equal(complaints, 0);
}

static void closing_with_one_under_way(void **state)
{
    struct fixture *fixture = *state;
    struct outcome outcome;
    struct lookup lookup = lookup_of("slow.lab.example.", DNS_TYPE_A);
    ask(fixture, &lookup, 1000, &outcome);
    run_for(fixture, 20);
    assert_int_equal(fixture->server.questions, 1);
    resolver_close(fixture->resolver);
    fixture->resolver = NULL;
    run_for(fixture, 400);
    assert_int_equal(outcome.calls, 0);
}

static bool reaches_the_server(struct fixture *fixture, const char *name)
{
    unsigned questions = fixture->server.questions;
    resolve(fixture, name, DNS_TYPE_PTR);
    return fixture->server.questions > questions;
}

/* What the upstream may know, and what is nobody's business but the host's. */
static void names_with_a_meaning(void **state)
{
    static const char *const forwarded[] = {
        "1.2.0.10.in-addr.arpa.",  "1.1.168.192.in-addr.arpa.",  "a.test.",    "b.home.arpa.",
        "1.0.0.0.0.d.f.ip6.arpa.", "1.100.51.198.in-addr.arpa.", "c.example.", "d.local."};
    static const char *const kept[] = {"localhost.", "e.localhost.", "1.0.0.127.in-addr.arpa.", "f.onion.",
                                       "g.invalid."};
    for (size_t i = 0; i < sizeof forwarded / sizeof *forwarded; i++) {
        if (!reaches_the_server(*state, forwarded[i]))
            fail_msg("%s did not reach the upstream", forwarded[i]);
    }
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) {
        if (reaches_the_server(*state, kept[i]))
            fail_msg("%s reached the upstream", kept[i]);
    }
}

/* Of two upstreams one has nothing at its port: all is answered, and only the first few take longer. */
static void an_upstream_that_is_not_there(void **state)
{
    struct fixture *fixture = *state;
    struct resolver_options options = options_to(fixture->server.port);
    int closed = bound(SOCK_DGRAM, 0);
    struct sockaddr_in at = {0};
    socklen_t length = sizeof at;
    getsockname(closed, (struct sockaddr *)&at, &length);
    close(closed);
    options.upstream_count = 2;
    snprintf(options.upstreams[1], RESOLVER_TEXT, "127.0.0.1@%u", ntohs(at.sin_port));
    resolver_close(fixture->resolver);
    open_resolver(fixture, &options);
    uint64_t start = milliseconds();
    for (unsigned i = 0; i < 20; i++) {
        char name[64];
        snprintf(name, sizeof name, "%u.lab.example.", i);
        assert_int_equal(resolve(fixture, name, DNS_TYPE_A).addresses, 1);
    }
    assert_in_range(milliseconds() - start, 0, 5000);
}

static void refused(struct fixture *fixture, const struct resolver_options *options, const char *expected)
{
    char error[512] = "";
    assert_null(resolver_open(fixture->base, options, error, sizeof error));
    if (strstr(error, expected) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", error, expected);
}

static void what_is_wrong_is_said(void **state)
{
    struct fixture *fixture = *state;
    struct resolver_options options = options_to(53);
    char file[] = "/tmp/isthmus-anchors-XXXXXX";
    int descriptor = mkstemp(file);
    options.validate = true;
    snprintf(options.trust_anchors, sizeof options.trust_anchors, "%s", "/nonexistent/root.key");
    refused(fixture, &options, "/nonexistent/root.key cannot be used: No such file");
    snprintf(options.trust_anchors, sizeof options.trust_anchors, "%s", file);
    refused(fixture, &options, "it has no DS or DNSKEY record");
    dprintf(descriptor, "; . IN DS in a comment\n");
    refused(fixture, &options, "it has no DS or DNSKEY record");
    dprintf(descriptor, "lab.example. IN DS this is no key\n");
    refused(fixture, &options, file);
    close(descriptor);
    unlink(file);
    options = options_to(53);
    snprintf(options.upstreams[0], RESOLVER_TEXT, "dns.example");
    refused(fixture, &options, "dns.example");
}

/* One server is down for a while, and is asked again soon after it is back. */
static void a_server_that_was_down(void **state)
{
    struct fixture *fixture = *state;
    struct outcome outcome = {0};
    char name[64];
    assert_int_equal(resolve(fixture, "a.lab.example.", DNS_TYPE_A).addresses, 1);
    fixture->server.down = true;
    uint64_t start = milliseconds();
    for (unsigned i = 0; milliseconds() - start < 3000; i++) {
        snprintf(name, sizeof name, "down.%u.lab.example.", i);
        struct lookup lookup = lookup_of(name, DNS_TYPE_A);
        ask(fixture, &lookup, 1000, &outcome);
        wait_for(&outcome, 1500);
        assert_int_equal(outcome.calls, 1);
        assert_int_equal(outcome.addresses, 0);
        run_for(fixture, 50);
    }
    fixture->server.down = false;
    start = milliseconds();
    for (unsigned i = 0; outcome.addresses == 0 && milliseconds() - start < 20000; i++) {
        snprintf(name, sizeof name, "up.%u.lab.example.", i);
        struct lookup lookup = lookup_of(name, DNS_TYPE_A);
        ask(fixture, &lookup, 1000, &outcome);
        wait_for(&outcome, 1500);
        run_for(fixture, 50);
    }
    assert_in_range(milliseconds() - start, 0, 8000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(addresses_and_the_cache, set_up, tear_down),
        cmocka_unit_test_setup_teardown(answers_without_data, set_up, tear_down),
        cmocka_unit_test_setup_teardown(errors_of_the_server, set_up, tear_down),
        cmocka_unit_test_setup_teardown(truncated_answers_come_by_tcp, set_up, tear_down),
        cmocka_unit_test_setup_teardown(ports_of_others_are_avoided, set_up, tear_down),
        cmocka_unit_test_setup_teardown(forged_answers_are_not_heard, set_up, tear_down),
        cmocka_unit_test_setup_teardown(slow_answers_are_kept, set_up, tear_down),
        cmocka_unit_test_setup_teardown(lookups_of_the_same, set_up, tear_down),
        cmocka_unit_test_setup_teardown(asking_from_within, set_up, tear_down),
        cmocka_unit_test_setup_teardown(all_bytes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_longest_name, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_root, set_up, tear_down),
        cmocka_unit_test_setup_teardown(names_with_a_meaning, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_upstream_that_is_not_there, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_wrong_is_said, set_up, tear_down),
        cmocka_unit_test_setup_teardown(too_many, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_client_has_a_share, set_up, tear_down),
        cmocka_unit_test_setup_teardown(any_patience, set_up, tear_down),
        cmocka_unit_test_setup_teardown(closing_with_one_under_way, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_server_that_was_down, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
