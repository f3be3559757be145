/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A resolver whose upstream speaks TLS: a server in the same loop, with a certificate made on the spot for
 * dns.example and 127.0.0.1, which is also the one that is trusted.
 */
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <signal.h>

#include "test/dns64/stand_in.h"

struct tls_server {
    struct event_base *base;
    SSL_CTX *context;
    int listener;
    uint16_t port;
    struct event *on_connection;
    bool closes;   /* after each answer */
    bool in_bytes; /* answers come in pieces of one byte */
    unsigned connections, questions;
    struct stream *streams[16];
};

struct stream {
    struct tls_server *server;
    int socket;
    SSL *tls;
    struct event *readable;
    size_t filled, held;
    uint8_t in[4096], out[2 + DNS_MESSAGE_MAX];
    uint8_t hold[2 + DNS_MESSAGE_MAX]; /* an answer that waits for the next one to overtake it */
};

static struct {
    char directory[64], certificate[96];
    EVP_PKEY *key;
    X509 *signed_by_itself;
} made;

static void extend(X509 *certificate, int kind, const char *value)
{
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, kind, value);
    assert_non_null(extension);
    X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
}

static int make_certificate(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    snprintf(made.directory, sizeof made.directory, "/tmp/isthmus-tls-XXXXXX");
    assert_non_null(mkdtemp(made.directory));
    snprintf(made.certificate, sizeof made.certificate, "%s/certificate", made.directory);
    made.key = EVP_EC_gen("P-256");
    X509 *certificate = made.signed_by_itself = X509_new();
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
    X509_set_version(certificate, 2);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC,
                               (const unsigned char *)"test", -1, -1, 0);
    X509_set_issuer_name(certificate, X509_get_subject_name(certificate));
    X509_set_pubkey(certificate, made.key);
    extend(certificate, NID_basic_constraints, "critical,CA:TRUE");
    extend(certificate, NID_subject_alt_name, "DNS:dns.example,IP:127.0.0.1");
    assert_int_not_equal(X509_sign(certificate, made.key, EVP_sha256()), 0);
    FILE *file = fopen(made.certificate, "we");
    assert_int_equal(PEM_write_X509(file, certificate), 1);
    fclose(file);
    return setenv("SSL_CERT_FILE", made.certificate, 1);
}

static int drop_certificate(void **state)
{
    (void)state;
    X509_free(made.signed_by_itself);
    EVP_PKEY_free(made.key);
    unlink(made.certificate);
    return rmdir(made.directory);
}

static void end_stream(struct stream *stream)
{
    for (size_t i = 0; i < 16; i++) {
        if (stream->server->streams[i] == stream)
            stream->server->streams[i] = NULL;
    }
    SSL_shutdown(stream->tls);
    SSL_free(stream->tls);
    event_free(stream->readable);
    close(stream->socket);
    free(stream);
}

static void write_all(struct stream *stream, const uint8_t *bytes, size_t size)
{
    size_t piece = stream->server->in_bytes ? 1 : size;
    for (size_t at = 0; at < size; at += piece)
        assert_int_equal(SSL_write(stream->tls, bytes + at, (int)piece), (int)piece);
}

/* Answers one; "held" comes after the next. Returns false if the connection is over. */
static bool answer_on(struct stream *stream, const struct dns_query *query)
{
    stream->server->questions++;
    size_t size = answer(query, false, stream->out + 2);
    if (size == 0)
        return true;
    stream->out[0] = (uint8_t)(size >> 8);
    stream->out[1] = (uint8_t)size;
    if (label_is(query, "held")) {
        memcpy(stream->hold, stream->out, size + 2);
        stream->held = size + 2;
        return true;
    }
    write_all(stream, stream->out, size + 2);
    write_all(stream, stream->hold, stream->held);
    stream->held = 0;
    if (!stream->server->closes)
        return true;
    end_stream(stream);
    return false;
}

static void on_stream(evutil_socket_t socket, short what, void *argument)
{
    struct stream *stream = argument;
    (void)socket, (void)what;
    int got;
    while ((got = SSL_read(stream->tls, stream->in + stream->filled,
                           (int)(sizeof stream->in - stream->filled))) > 0) {
        stream->filled += (size_t)got;
        size_t length;
        while (stream->filled >= 2 &&
               stream->filled - 2 >= (length = (size_t)(stream->in[0] << 8 | stream->in[1]))) {
            struct dns_query query;
            assert_int_equal(dns_query_read(&query, stream->in + 2, length), DNS_VERDICT_ANSWER);
            stream->filled -= 2 + length;
            memmove(stream->in, stream->in + 2 + length, stream->filled);
            if (!answer_on(stream, &query))
                return;
        }
    }
    int error = SSL_get_error(stream->tls, got);
    if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE)
        end_stream(stream);
}

static void on_connection_to(evutil_socket_t socket, short what, void *argument)
{
    struct tls_server *server = argument;
    (void)what;
    int peer = accept4(socket, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (peer < 0)
        return;
    struct stream *stream = calloc(1, sizeof *stream);
    stream->server = server;
    stream->socket = peer;
    stream->tls = SSL_new(server->context);
    SSL_set_fd(stream->tls, peer);
    SSL_set_accept_state(stream->tls);
    stream->readable = event_new(server->base, peer, EV_READ | EV_PERSIST, on_stream, stream);
    event_add(stream->readable, NULL);
    server->streams[server->connections++ % 16] = stream;
}

static void tls_server_listen(struct tls_server *server)
{
    struct sockaddr_in at = {0};
    socklen_t length = sizeof at;
    server->listener = bound(SOCK_STREAM, server->port);
    assert_true(server->listener >= 0);
    assert_int_equal(listen(server->listener, 16), 0);
    getsockname(server->listener, (struct sockaddr *)&at, &length);
    server->port = ntohs(at.sin_port);
    server->on_connection =
        event_new(server->base, server->listener, EV_READ | EV_PERSIST, on_connection_to, server);
    event_add(server->on_connection, NULL);
}

/* Ends all connections and takes no new ones. */
static void tls_server_silence(struct tls_server *server)
{
    for (size_t i = 0; i < 16; i++) {
        if (server->streams[i] != NULL)
            end_stream(server->streams[i]);
    }
    event_free(server->on_connection);
    close(server->listener);
}

struct tls_fixture {
    struct fixture plain;
    struct tls_server server;
    unsigned untrusted, unreachable; /* connections that did not come about */
};

static void on_failure(void *context, bool untrusted)
{
    struct tls_fixture *fixture = context;
    fixture->untrusted += untrusted;
    fixture->unreachable += !untrusted;
}

static void open_towards(struct tls_fixture *fixture, const char *name)
{
    struct resolver_options options = options_to(fixture->server.port);
    size_t length = strlen(options.upstreams[0]);
    snprintf(options.upstreams[0] + length, RESOLVER_TEXT - length, "%s", name);
    options.tls = true;
    resolver_close(fixture->plain.resolver);
    open_resolver(&fixture->plain, &options);
    resolver_watch_tls(fixture->plain.resolver, on_failure, fixture);
}

static int set_up(void **state)
{
    struct tls_fixture *fixture = calloc(1, sizeof *fixture);
    fixture->plain.base = fixture->server.base = event_base_new();
    fixture->server.context = SSL_CTX_new(TLS_server_method());
    SSL_CTX_use_certificate(fixture->server.context, made.signed_by_itself);
    SSL_CTX_use_PrivateKey(fixture->server.context, made.key);
    tls_server_listen(&fixture->server);
    open_towards(fixture, "#dns.example");
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct tls_fixture *fixture = *state;
    resolver_close(fixture->plain.resolver);
    tls_server_silence(&fixture->server);
    SSL_CTX_free(fixture->server.context);
    event_base_free(fixture->plain.base);
    free(fixture);
    return 0;
}

/* Asks for `count` names at once and waits for them all. */
static void resolve_many(struct tls_fixture *fixture, unsigned count)
{
    struct outcome *outcomes = calloc(count, sizeof *outcomes);
    for (unsigned i = 0; i < count; i++) {
        char name[64];
        snprintf(name, sizeof name, "%u.lab.example.", i);
        struct lookup lookup = lookup_of(name, DNS_TYPE_A);
        ask(&fixture->plain, &lookup, 5000, &outcomes[i]);
    }
    for (unsigned i = 0; i < count; i++) {
        wait_for(&outcomes[i], 5000);
        assert_int_equal(outcomes[i].addresses, 1);
    }
    free(outcomes);
}

/* One handshake serves them all. */
static void one_connection(void **state)
{
    struct tls_fixture *fixture = *state;
    assert_int_equal(fixture->server.connections, 0); /* nothing is done before it is needed */
    resolve_many(fixture, 300);
    assert_int_equal(fixture->server.connections, 1);
    /* On a slow machine libunbound asks some of them again. */
    assert_in_range(fixture->server.questions, 300, 600);
    assert_int_equal(resolve(&fixture->plain, "nxdomain.lab.example.", DNS_TYPE_A).header.rcode,
                     DNS_RCODE_NXDOMAIN);
}

static void authenticated_by_address(void **state)
{
    struct tls_fixture *fixture = *state;
    open_towards(fixture, "");
    resolve_many(fixture, 3);
}

/* Not one question goes to somebody who is not who he should be. */
static void another_name(void **state)
{
    struct tls_fixture *fixture = *state;
    open_towards(fixture, "#other.example");
    struct lookup lookup = lookup_of("a.lab.example.", DNS_TYPE_A);
    struct outcome outcome;
    ask(&fixture->plain, &lookup, 1500, &outcome);
    wait_for(&outcome, 2000);
    assert_int_equal(outcome.addresses, 0);
    assert_in_range(fixture->server.connections, 1, 4);
    assert_int_equal(fixture->server.questions, 0);
    assert_in_range(fixture->untrusted, 1, fixture->server.connections);
    assert_int_equal(fixture->unreachable, 0);
}

static void not_trusted(void **state)
{
    struct tls_fixture *fixture = *state;
    if (access("/etc/ssl/certs/ca-certificates.crt", R_OK) != 0) {
        print_message("skipped: needs ca-certificates\n");
        skip();
    }
    unsetenv("SSL_CERT_FILE");
    open_towards(fixture, "#dns.example");
    setenv("SSL_CERT_FILE", made.certificate, 1);
    struct lookup lookup = lookup_of("a.lab.example.", DNS_TYPE_A);
    struct outcome outcome;
    ask(&fixture->plain, &lookup, 1000, &outcome);
    wait_for(&outcome, 2000);
    assert_int_equal(outcome.addresses, 0);
    assert_int_equal(fixture->server.questions, 0);
    assert_in_range(fixture->untrusted, 1, 10);
}

static void overtaking(void **state)
{
    struct tls_fixture *fixture = *state;
    struct lookup held = lookup_of("held.lab.example.", DNS_TYPE_A);
    struct lookup next = lookup_of("long.lab.example.", DNS_TYPE_A);
    struct outcome first, second;
    fixture->server.in_bytes = true;
    ask(&fixture->plain, &held, 3000, &first);
    ask(&fixture->plain, &next, 3000, &second);
    wait_for(&first, 3000);
    wait_for(&second, 3000);
    assert_int_equal(first.addresses, 1);
    assert_int_equal(second.addresses, 200); /* by UDP on the loopback interface, whole */
}

static void connections_that_end(void **state)
{
    struct tls_fixture *fixture = *state;
    fixture->server.closes = true;
    for (int i = 0; i < 5; i++) {
        char name[64];
        snprintf(name, sizeof name, "%d.lab.example.", i);
        assert_int_equal(resolve(&fixture->plain, name, DNS_TYPE_A).addresses, 1);
    }
    assert_in_range(fixture->server.connections, 5, 10);
}

static void a_server_that_was_down(void **state)
{
    struct tls_fixture *fixture = *state;
    resolve_many(fixture, 1);
    tls_server_silence(&fixture->server);
    struct lookup lookup = lookup_of("down.lab.example.", DNS_TYPE_A);
    struct outcome outcome;
    ask(&fixture->plain, &lookup, 1000, &outcome);
    wait_for(&outcome, 2000);
    assert_int_equal(outcome.addresses, 0);
    assert_int_equal(fixture->untrusted, 0);
    assert_in_range(fixture->unreachable, 1, 10);
    tls_server_listen(&fixture->server);
    assert_int_equal(resolve(&fixture->plain, "up.lab.example.", DNS_TYPE_A).addresses, 1);
}

static void closing_with_lookups_under_way(void **state)
{
    struct tls_fixture *fixture = *state;
    struct lookup lookup = lookup_of("silent.lab.example.", DNS_TYPE_A);
    struct outcome outcome;
    ask(&fixture->plain, &lookup, 5000, &outcome);
    run_for(&fixture->plain, 100);
    assert_int_equal(fixture->server.questions, 1);
    resolver_close(fixture->plain.resolver);
    fixture->plain.resolver = NULL;
    run_for(&fixture->plain, 50);
    assert_int_equal(outcome.calls, 0);
}

static void what_is_wrong_is_said(void **state)
{
    struct tls_fixture *fixture = *state;
    struct resolver_options options = options_to(853);
    char error[512] = "";
    options.tls = true;
    setenv("SSL_CERT_FILE", "/nonexistent/certificates", 1);
    assert_null(resolver_open(fixture->plain.base, &options, error, sizeof error));
    assert_non_null(strstr(error, "/nonexistent/certificates"));
    setenv("SSL_CERT_FILE", made.certificate, 1);
    static const char *const wrong[] = {"dns.example", "192.0.2.1@x", "192.0.2.1@853853853", "",
                                        "#dns.example"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        snprintf(options.upstreams[0], RESOLVER_TEXT, "%s", wrong[i]);
        assert_null(resolver_open(fixture->plain.base, &options, error, sizeof error));
        assert_non_null(strstr(error, "is no address"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_connection, set_up, tear_down),
        cmocka_unit_test_setup_teardown(authenticated_by_address, set_up, tear_down),
        cmocka_unit_test_setup_teardown(another_name, set_up, tear_down),
        cmocka_unit_test_setup_teardown(not_trusted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(overtaking, set_up, tear_down),
        cmocka_unit_test_setup_teardown(connections_that_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_server_that_was_down, set_up, tear_down),
        cmocka_unit_test_setup_teardown(closing_with_lookups_under_way, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_wrong_is_said, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, make_certificate, drop_certificate);
}
