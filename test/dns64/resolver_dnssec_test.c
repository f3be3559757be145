/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Validation, against nsd on a loopback port with a zone that ldns has just signed, one of whose addresses
 * was changed afterwards. The key of the zone is the trust anchor.
 */
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/wait.h>

#include "test/dns64/stand_in.h"

/* A directory of its own, and what runs in it. */
struct signed_zone {
    char directory[64];
    pid_t nsd;
    uint16_t port;
    char anchors[RESOLVER_PATH];
};

static struct signed_zone zone;

static const char zone_text[] = "$ORIGIN signed.example.\n$TTL 300\n"
                                "@ SOA ns host 1 3600 600 86400 120\n@ NS ns\nns A 127.0.0.1\n"
                                "www A 192.0.2.1\nalias CNAME www\nbogus A 192.0.2.2\n";

static const char unsigned_text[] = "$ORIGIN plain.example.\n$TTL 300\n"
                                    "@ SOA ns host 1 3600 600 86400 120\n@ NS ns\nns A 127.0.0.1\n"
                                    "www A 192.0.2.3\n";

/* Runs a command of the shell in the directory; true if it succeeded. */
static bool run(const char *command)
{
    char line[512];
    snprintf(line, sizeof line, "cd %s && { %s; } >output 2>&1", zone.directory, command);
    return system(line) == 0;
}

static void write_file(const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", zone.directory, name);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static bool sign(void)
{
    write_file("zone", zone_text);
    write_file("plain", unsigned_text);
    return run("key=$(ldns-keygen -a ECDSAP256SHA256 -k signed.example.) &&"
               "ldns-signzone -f signed zone $key && mv $key.ds anchors &&"
               "sed -i 's/192.0.2.2$/192.0.2.22/' signed && grep -q 192.0.2.22 signed");
}

static void start_nsd(void)
{
    struct server probe;
    listen_on_loopback(&probe);
    zone.port = probe.port;
    close(probe.udp);
    close(probe.tcp);
    char text[1024];
    snprintf(text, sizeof text,
             "server:\n ip-address: 127.0.0.1@%u\n zonesdir: %s\n pidfile: %s/pid\n database: \"\"\n"
             " xfrdfile: %s/xfrd\n zonelistfile: %s/list\n username: \"\"\n server-count: 1\n"
             "remote-control:\n control-enable: no\n"
             "zone:\n name: signed.example.\n zonefile: signed\n"
             "zone:\n name: plain.example.\n zonefile: plain\n",
             zone.port, zone.directory, zone.directory, zone.directory, zone.directory);
    write_file("nsd.conf", text);
    char path[128];
    snprintf(path, sizeof path, "%s/nsd.conf", zone.directory);
    zone.nsd = fork();
    if (zone.nsd == 0) {
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);
        dup2(null, STDOUT_FILENO);
        dup2(null, STDERR_FILENO);
        execlp("nsd", "nsd", "-d", "-c", path, NULL);
        _exit(127);
    }
}

/* Waits until it answers by TCP, which says at once if there is nobody. */
static bool answers(void)
{
    for (int i = 0; i < 200; i++) {
        int probe = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(zone.port)};
        at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        int failure = connect(probe, (struct sockaddr *)&at, sizeof at);
        close(probe);
        if (failure == 0)
            return true;
        usleep(20 * 1000);
    }
    return false;
}

static int set_up_zone(void **state)
{
    (void)state;
    snprintf(zone.directory, sizeof zone.directory, "/tmp/isthmus-dnssec-XXXXXX");
    if (mkdtemp(zone.directory) == NULL)
        return -1;
    if (!run("command -v ldns-keygen ldns-signzone && command -v nsd"))
        return 0;
    snprintf(zone.anchors, sizeof zone.anchors, "%s/anchors", zone.directory);
    if (!sign())
        return -1;
    start_nsd();
    return answers() ? 0 : -1;
}

static int tear_down_zone(void **state)
{
    char line[128];
    (void)state;
    if (zone.nsd > 0) {
        kill(zone.nsd, SIGTERM);
        waitpid(zone.nsd, NULL, 0);
    }
    snprintf(line, sizeof line, "rm -rf %s", zone.directory);
    return system(line);
}

static struct resolver_options validating(void)
{
    struct resolver_options options = options_to(zone.port);
    options.validate = true;
    snprintf(options.trust_anchors, sizeof options.trust_anchors, "%s", zone.anchors);
    return options;
}

static int set_up(void **state)
{
    *state = NULL;
    if (zone.nsd == 0)
        return 0;
    struct fixture *fixture = calloc(1, sizeof *fixture);
    struct resolver_options options = validating();
    fixture->base = event_base_new();
    open_resolver(fixture, &options);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    if (fixture == NULL)
        return 0;
    resolver_close(fixture->resolver);
    event_base_free(fixture->base);
    free(fixture);
    return 0;
}

static struct fixture *needed(void **state)
{
    if (*state == NULL) {
        print_message("skipped: needs nsd and the programs of ldnsutils\n");
        skip();
    }
    return *state;
}

static void secure(void **state)
{
    struct fixture *fixture = needed(state);
    for (int i = 0; i < 2; i++) {
        struct outcome outcome = resolve(fixture, "www.signed.example.", DNS_TYPE_A);
        assert_int_equal(outcome.state, LOOKUP_SECURE);
        assert_int_equal(from_be32(outcome.address), 0xc0000201);
        assert_int_equal(resolve(fixture, "alias.signed.example.", DNS_TYPE_A).state, LOOKUP_SECURE);
    }
}

/* Empty answers and their proofs: RFC 6147 section 5.5 has them validated before anything is synthesised. */
static void secure_without_data(void **state)
{
    struct fixture *fixture = needed(state);
    for (int i = 0; i < 2; i++) {
        struct outcome outcome = resolve(fixture, "www.signed.example.", DNS_TYPE_AAAA);
        assert_int_equal(outcome.state, LOOKUP_SECURE);
        assert_int_equal(outcome.header.rcode, DNS_RCODE_NOERROR);
        assert_true(outcome.soa && outcome.addresses == 0);
        outcome = resolve(fixture, "none.signed.example.", DNS_TYPE_AAAA);
        assert_int_equal(outcome.state, LOOKUP_SECURE);
        assert_int_equal(outcome.header.rcode, DNS_RCODE_NXDOMAIN);
        assert_true(outcome.soa);
    }
}

static void insecure(void **state)
{
    struct fixture *fixture = needed(state);
    for (int i = 0; i < 2; i++) {
        struct outcome outcome = resolve(fixture, "www.plain.example.", DNS_TYPE_A);
        assert_int_equal(outcome.state, LOOKUP_INSECURE);
        assert_int_equal(from_be32(outcome.address), 0xc0000203);
    }
}

/* The first time from the server, then from the cache. */
static void bogus(void **state)
{
    struct fixture *fixture = needed(state);
    for (int i = 0; i < 3; i++)
        assert_int_equal(resolve(fixture, "bogus.signed.example.", DNS_TYPE_A).state, LOOKUP_BOGUS);
}

/* CD: the data come as they are, before and after somebody who lets us check has been refused them. */
static void unchecked(void **state)
{
    struct fixture *fixture = needed(state);
    struct lookup lookup = lookup_of("bogus.signed.example.", DNS_TYPE_A);
    lookup.unchecked = true;
    for (int i = 0; i < 3; i++) {
        struct outcome outcome;
        ask(fixture, &lookup, 5000, &outcome);
        assert_int_equal(outcome.calls, i == 0 ? 0 : 1); /* from the cache, but for the first */
        wait_for(&outcome, 5000);
        assert_int_equal(outcome.state, LOOKUP_INSECURE);
        assert_int_equal(from_be32(outcome.address), 0xc0000216);
        assert_int_equal(resolve(fixture, "bogus.signed.example.", DNS_TYPE_A).state, LOOKUP_BOGUS);
    }
}

/* Another key than the zone has: nothing of it can be trusted, not even that something does not exist. */
static void another_key(void **state)
{
    struct fixture *fixture = needed(state);
    struct resolver_options options = validating();
    assert_true(run("ldns-keygen -a ECDSAP256SHA256 -k signed.example. && mv K*.ds others"));
    snprintf(options.trust_anchors, sizeof options.trust_anchors, "%s/others", zone.directory);
    resolver_close(fixture->resolver);
    open_resolver(fixture, &options);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(resolve(fixture, "www.signed.example.", DNS_TYPE_A).state, LOOKUP_BOGUS);
        assert_int_equal(resolve(fixture, "www.signed.example.", DNS_TYPE_AAAA).state, LOOKUP_BOGUS);
        assert_int_equal(resolve(fixture, "none.signed.example.", DNS_TYPE_AAAA).state, LOOKUP_BOGUS);
    }
}

/* Not validating: what is bogus is an answer like any other. */
static void off(void **state)
{
    struct fixture *fixture = needed(state);
    struct resolver_options options = options_to(zone.port);
    resolver_close(fixture->resolver);
    open_resolver(fixture, &options);
    for (int i = 0; i < 2; i++) {
        struct outcome outcome = resolve(fixture, "bogus.signed.example.", DNS_TYPE_A);
        assert_int_equal(outcome.state, LOOKUP_INSECURE);
        assert_int_equal(from_be32(outcome.address), 0xc0000216);
    }
}

/* The file is read once: it may be gone when the first lookup comes, and also the first unchecked one. */
static void nothing_is_read_later(void **state)
{
    struct fixture *fixture = needed(state);
    assert_int_equal(unlink(zone.anchors), 0);
    assert_int_equal(resolve(fixture, "www.signed.example.", DNS_TYPE_A).state, LOOKUP_SECURE);
    struct lookup lookup = lookup_of("www.signed.example.", DNS_TYPE_A);
    struct outcome outcome;
    lookup.unchecked = true;
    ask(fixture, &lookup, 5000, &outcome);
    wait_for(&outcome, 5000);
    assert_int_equal(outcome.state, LOOKUP_SECURE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(secure, set_up, tear_down),
        cmocka_unit_test_setup_teardown(secure_without_data, set_up, tear_down),
        cmocka_unit_test_setup_teardown(insecure, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bogus, set_up, tear_down),
        cmocka_unit_test_setup_teardown(unchecked, set_up, tear_down),
        cmocka_unit_test_setup_teardown(another_key, set_up, tear_down),
        cmocka_unit_test_setup_teardown(off, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nothing_is_read_later, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, set_up_zone, tear_down_zone);
}
