/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A name server for tests of the resolver, in the same loop and on a loopback port of its own, which does
 * what the first label of the name says and counts what it is asked; and a resolver that forwards to it.
 */
#ifndef TEST_DNS64_STAND_IN_H
#define TEST_DNS64_STAND_IN_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "dns64/message.h"
#include "dns64/resolver.h"

struct server {
    struct event_base *base;
    int udp, tcp;
    uint16_t port;
    struct event *on_udp, *on_tcp;
    bool down;          /* hears nothing */
    unsigned questions; /* asked by UDP */
    unsigned streams;   /* asked by TCP */
    uint16_t from;      /* the port that the last one by UDP came from */
    struct dns_name last;
};

struct reply {
    struct server *server;
    struct event *later;
    struct sockaddr_in to;
    size_t size;
    uint8_t bytes[DNS_MESSAGE_MAX];
};

static inline void name_of(struct dns_name *name, const char *text)
{
    assert_true(dns_name_parse(name, text));
}

static inline void write_soa(struct dns_writer *writer)
{
    struct dns_name owner;
    name_of(&owner, "lab.example.");
    uint8_t rdata[22] = {0};
    rdata[21] = 60; /* two root names and five numbers, of which the last is the minimum */
    dns_writer_section(writer, DNS_AUTHORITY);
    dns_writer_record(writer, &(struct dns_data){.owner = &owner,
                                                 .rdata = rdata,
                                                 .type = DNS_TYPE_SOA,
                                                 .class = DNS_CLASS_IN,
                                                 .rdata_length = sizeof rdata,
                                                 .ttl = 60});
}

static inline void write_address(struct dns_writer *writer, const struct dns_query *query, uint8_t last)
{
    uint8_t rdata[4] = {192, 0, 2, last};
    dns_writer_record(writer, &(struct dns_data){.owner = &query->question.asked,
                                                 .rdata = rdata,
                                                 .type = DNS_TYPE_A,
                                                 .class = DNS_CLASS_IN,
                                                 .rdata_length = sizeof rdata,
                                                 .ttl = 300});
}

static inline bool label_is(const struct dns_query *query, const char *label)
{
    const uint8_t *wire = query->question.name.wire;
    return wire[0] == strlen(label) && memcmp(wire + 1, label, wire[0]) == 0;
}

/* The answer, or 0 if there is none. */
static inline size_t answer(const struct dns_query *query, bool by_udp, uint8_t *bytes)
{
    static const struct {
        const char *label;
        uint16_t rcode;
    } rcodes[] = {{"nxdomain", DNS_RCODE_NXDOMAIN},
                  {"servfail", DNS_RCODE_SERVFAIL},
                  {"refused", DNS_RCODE_REFUSED},
                  {"notimp", DNS_RCODE_NOTIMP},
                  {"formerr", DNS_RCODE_FORMERR}};
    if (label_is(query, "silent"))
        return 0;
    uint16_t rcode = DNS_RCODE_NOERROR;
    for (size_t i = 0; i < sizeof rcodes / sizeof *rcodes; i++) {
        if (label_is(query, rcodes[i].label))
            rcode = rcodes[i].rcode;
    }
    struct dns_writer writer;
    dns_writer_reply(&writer, bytes, DNS_MESSAGE_MAX, query, rcode, 1232);
    if (rcode == DNS_RCODE_NOERROR && query->question.type == DNS_TYPE_A) {
        unsigned count = label_is(query, "long") ? 200 : 1;
        for (unsigned i = 0; i < count; i++)
            write_address(&writer, query, (uint8_t)(i + 1));
    } else if (rcode == DNS_RCODE_NOERROR || rcode == DNS_RCODE_NXDOMAIN) {
        write_soa(&writer);
    }
    size_t size = dns_writer_finish(&writer);
    if (by_udp && label_is(query, "long")) { /* only the header and the question, cut short */
        dns_writer_reply(&writer, bytes, 512, query, rcode, 1232);
        size = dns_writer_finish(&writer);
        bytes[2] |= 0x02;
    }
    return size;
}

static inline void send_later(evutil_socket_t socket, short what, void *argument)
{
    struct reply *reply = argument;
    (void)socket;
    (void)what;
    sendto(reply->server->udp, reply->bytes, reply->size, 0, (struct sockaddr *)&reply->to, sizeof reply->to);
    if (reply->later != NULL)
        event_free(reply->later);
    free(reply);
}

static inline void on_datagram(evutil_socket_t socket, short what, void *argument)
{
    struct server *server = argument;
    uint8_t bytes[2048];
    struct reply *reply = calloc(1, sizeof *reply);
    socklen_t length = sizeof reply->to;
    (void)what;
    ssize_t size = recvfrom(socket, bytes, sizeof bytes, 0, (struct sockaddr *)&reply->to, &length);
    struct dns_query query;
    if (size < 0 || server->down || dns_query_read(&query, bytes, (size_t)size) != DNS_VERDICT_ANSWER) {
        free(reply);
        return;
    }
    server->questions++;
    server->from = ntohs(reply->to.sin_port);
    server->last = query.question.name;
    reply->server = server;
    reply->size = answer(&query, true, reply->bytes);
    if (reply->size == 0) {
        free(reply);
        return;
    }
    if (label_is(&query, "slow")) {
        reply->later = evtimer_new(server->base, send_later, reply);
        evtimer_add(reply->later, &(struct timeval){.tv_usec = 300 * 1000});
        return;
    }
    if (label_is(&query, "forged")) { /* before the right one comes one whose id is another */
        reply->bytes[0] ^= 0x55;
        reply->bytes[reply->size - 15] = 66;
        sendto(server->udp, reply->bytes, reply->size, 0, (struct sockaddr *)&reply->to, sizeof reply->to);
        reply->size = answer(&query, true, reply->bytes);
    }
    send_later(socket, what, reply);
}

/* One question a connection, which waits for nobody: the whole of it is there when it is accepted, or soon.
 */
static inline void on_connection(evutil_socket_t socket, short what, void *argument)
{
    struct server *server = argument;
    (void)what;
    int peer = accept(socket, NULL, NULL);
    if (peer < 0)
        return;
    struct timeval patience = {.tv_sec = 1};
    setsockopt(peer, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    uint8_t bytes[2 + DNS_MESSAGE_MAX];
    struct dns_query query;
    ssize_t size = recv(peer, bytes, sizeof bytes, 0);
    if (size > 2 && dns_query_read(&query, bytes + 2, (size_t)size - 2) == DNS_VERDICT_ANSWER) {
        server->streams++;
        size_t length = answer(&query, false, bytes + 2);
        bytes[0] = (uint8_t)(length >> 8);
        bytes[1] = (uint8_t)length;
        assert_int_equal(send(peer, bytes, length + 2, 0), (ssize_t)length + 2);
    }
    close(peer);
}

static inline int bound(int type, uint16_t port)
{
    int socket_ = socket(AF_INET, type | SOCK_CLOEXEC, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
    int on = 1;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(socket_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(socket_, (struct sockaddr *)&at, sizeof at) == 0)
        return socket_;
    close(socket_);
    return -1;
}

/* The same port for both; another try if the one that UDP got is taken for TCP. */
static inline void listen_on_loopback(struct server *server)
{
    for (int i = 0; i < 20; i++) {
        struct sockaddr_in at = {0};
        socklen_t length = sizeof at;
        server->udp = bound(SOCK_DGRAM, 0);
        assert_int_equal(getsockname(server->udp, (struct sockaddr *)&at, &length), 0);
        server->port = ntohs(at.sin_port);
        server->tcp = bound(SOCK_STREAM, server->port);
        if (server->tcp >= 0 && listen(server->tcp, 16) == 0)
            return;
        close(server->udp);
    }
    fail_msg("no port is free on the loopback interface");
}

static inline void server_start(struct server *server, struct event_base *base)
{
    *server = (struct server){.base = base};
    listen_on_loopback(server);
    server->on_udp = event_new(base, server->udp, EV_READ | EV_PERSIST, on_datagram, server);
    server->on_tcp = event_new(base, server->tcp, EV_READ | EV_PERSIST, on_connection, server);
    event_add(server->on_udp, NULL);
    event_add(server->on_tcp, NULL);
}

static inline void server_stop(struct server *server)
{
    event_free(server->on_udp);
    event_free(server->on_tcp);
    close(server->udp);
    close(server->tcp);
}

/*** A resolver that forwards to it ***/

struct fixture {
    struct event_base *base;
    struct server server;
    struct resolver *resolver;
    uint32_t asked;
};

/* What came of a lookup, and how often. */
struct outcome {
    struct fixture *fixture;
    unsigned calls;
    enum lookup_state state;
    struct dns_header header;
    unsigned addresses;
    be32 address; /* the first */
    bool soa;
};

static inline void keep(void *context, const struct looked_up *result)
{
    struct outcome *outcome = context;
    outcome->calls++;
    outcome->state = result->state;
    struct dns_reader reader;
    struct dns_question question;
    struct dns_record record;
    if (result->message == NULL)
        return;
    assert_true(dns_reader_open(&reader, result->message, result->size, &outcome->header, &question));
    while (dns_reader_next(&reader, &record) == DNS_NEXT_RECORD) {
        be32 address;
        if (dns_record_ipv4(&reader, &record, &address) && outcome->addresses++ == 0)
            outcome->address = address;
        outcome->soa |= record.type == DNS_TYPE_SOA;
    }
}

static inline struct lookup lookup_of(const char *name, uint16_t type)
{
    struct lookup lookup = {.type = type, .class = DNS_CLASS_IN};
    name_of(&lookup.name, name);
    return lookup;
}

/* On the account of a client of its own. */
static inline void ask(struct fixture *fixture, const struct lookup *lookup, unsigned patience,
                       struct outcome *outcome)
{
    const struct resolver_asker asker = {keep, outcome, fixture->asked++ % RESOLVER_SHARES, patience};
    *outcome = (struct outcome){.fixture = fixture};
    resolver_ask(fixture->resolver, lookup, &asker);
}

static inline uint64_t milliseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static inline void run_for(struct fixture *fixture, unsigned time)
{
    struct timeval wait = {.tv_sec = time / 1000, .tv_usec = time % 1000 * 1000};
    event_base_loopexit(fixture->base, &wait);
    event_base_dispatch(fixture->base);
}

static inline void wait_for(const struct outcome *outcome, unsigned at_most)
{
    uint64_t end = milliseconds() + at_most;
    while (outcome->calls == 0 && milliseconds() < end)
        run_for(outcome->fixture, 5);
}

static inline struct outcome resolve(struct fixture *fixture, const char *name, uint16_t type)
{
    struct outcome outcome;
    struct lookup lookup = lookup_of(name, type);
    ask(fixture, &lookup, 5000, &outcome);
    wait_for(&outcome, 6000);
    assert_int_equal(outcome.calls, 1);
    return outcome;
}

static inline struct resolver_options options_to(uint16_t port)
{
    struct resolver_options options = {.upstream_count = 1, .memory = 8u << 20};
    snprintf(options.upstreams[0], RESOLVER_TEXT, "127.0.0.1@%u", port);
    return options;
}

static inline void open_resolver(struct fixture *fixture, const struct resolver_options *options)
{
    char error[512] = "";
    fixture->resolver = resolver_open(fixture->base, options, error, sizeof error);
    if (fixture->resolver == NULL)
        fail_msg("%s", error);
}

#endif /* TEST_DNS64_STAND_IN_H */
