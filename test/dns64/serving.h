/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * For tests of the name service: a server on a loopback port, the name server upstream that it forwards to,
 * which runs in a thread of its own, and the clients' side of UDP and TCP.
 *
 *     client --[::1]:port, 127.0.0.1:port--> server --127.0.0.1:other--> upstream
 *
 * What the upstream says depends on how the first label begins:
 *
 *     slow     after 300 milliseconds         silent   nothing at all
 *     long     200 A records, TC over UDP     brief    with a TTL of one second
 *     six      has an AAAA record             fail     SERVFAIL
 *     nx       NXDOMAIN                       service  an HTTPS record that leads to silent.example.
 *     else     one A record, 192.0.2.1, and no AAAA record
 */
#ifndef TEST_DNS64_SERVING_H
#define TEST_DNS64_SERVING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "dns64/server.h"

static inline uint64_t milliseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static inline void rest(unsigned duration)
{
    nanosleep(&(struct timespec){duration / 1000, (long)(duration % 1000) * 1000000}, NULL);
}

static inline struct dns_name name_of(const char *text)
{
    struct dns_name name;
    assert_true(dns_name_parse(&name, text));
    return name;
}

/*** The name server upstream ***/

enum { UPSTREAM_DELAYED = 1024, UPSTREAM_DELAY = 300 };

struct delayed {
    uint64_t due;
    struct sockaddr_in to;
    size_t size;
    uint8_t bytes[512];
};

struct upstream {
    int udp, tcp;
    uint16_t port;
    pthread_t thread;
    _Atomic bool stop, down;
    _Atomic unsigned questions; /* asked over UDP */
    unsigned first, count;      /* of the delayed */
    struct delayed delayed[UPSTREAM_DELAYED];
};

static inline bool label_begins(const struct dns_query *query, const char *text)
{
    const uint8_t *wire = query->question.name.wire;
    return wire[0] >= strlen(text) && memcmp(wire + 1, text, strlen(text)) == 0;
}

static inline void upstream_record(struct dns_writer *writer, const struct dns_name *owner, uint16_t type,
                                   const uint8_t *rdata, uint16_t length, uint32_t ttl)
{
    dns_writer_record(writer, &(struct dns_data){.owner = owner,
                                                 .rdata = rdata,
                                                 .type = type,
                                                 .class = DNS_CLASS_IN,
                                                 .rdata_length = length,
                                                 .ttl = ttl});
}

static inline void upstream_soa(struct dns_writer *writer, uint32_t ttl)
{
    const struct dns_name zone = name_of("example.");
    uint8_t rdata[22] = {[21] = (uint8_t)ttl}; /* two root names, and numbers of which the last is the TTL */
    dns_writer_section(writer, DNS_AUTHORITY);
    upstream_record(writer, &zone, DNS_TYPE_SOA, rdata, sizeof(rdata), ttl);
}

/* The reply to a query. */
static inline size_t upstream_answer(const struct dns_query *query, bool tcp, uint8_t *bytes)
{
    static const uint8_t ipv6[16] = {0x20, 1, 0xd, 0xb8, [15] = 6}, service[] = "\0\1\6silent\7example";
    const struct dns_name *name = &query->question.asked;
    uint16_t type = query->question.type;
    uint32_t ttl = label_begins(query, "brief") ? 1 : 60;
    uint16_t rcode = label_begins(query, "nx")     ? DNS_RCODE_NXDOMAIN
                     : label_begins(query, "fail") ? DNS_RCODE_SERVFAIL
                                                   : DNS_RCODE_NOERROR;
    unsigned addresses = rcode != DNS_RCODE_NOERROR || type != DNS_TYPE_A ? 0
                         : label_begins(query, "long")                    ? 200
                                                                          : 1;
    struct dns_writer writer;
    dns_writer_reply(&writer, bytes, tcp ? DNS_MESSAGE_MAX : 512, query, rcode, 1232);
    for (unsigned i = 1; i <= addresses; i++)
        upstream_record(&writer, name, DNS_TYPE_A, (uint8_t[]){192, 0, 2, (uint8_t)i}, 4, ttl);
    if (type == DNS_TYPE_AAAA && label_begins(query, "six"))
        upstream_record(&writer, name, DNS_TYPE_AAAA, ipv6, sizeof(ipv6), ttl);
    else if (type == DNS_TYPE_HTTPS && label_begins(query, "service"))
        upstream_record(&writer, name, DNS_TYPE_HTTPS, service, sizeof(service), ttl);
    else if (addresses == 0 && rcode != DNS_RCODE_SERVFAIL)
        upstream_soa(&writer, ttl);
    return dns_writer_finish(&writer);
}

static inline void upstream_datagram(struct upstream *upstream)
{
    uint8_t bytes[512];
    struct delayed *delayed = &upstream->delayed[(upstream->first + upstream->count) % UPSTREAM_DELAYED];
    socklen_t length = sizeof(delayed->to);
    struct dns_query query;
    ssize_t size =
        recvfrom(upstream->udp, bytes, sizeof(bytes), MSG_DONTWAIT, (struct sockaddr *)&delayed->to, &length);
    if (size < 0 || dns_query_read(&query, bytes, (size_t)size) != DNS_VERDICT_ANSWER)
        return;
    atomic_fetch_add(&upstream->questions, 1);
    if (upstream->down || label_begins(&query, "silent") || upstream->count == UPSTREAM_DELAYED - 1)
        return;
    delayed->size = upstream_answer(&query, false, delayed->bytes);
    delayed->due = milliseconds() + UPSTREAM_DELAY;
    if (label_begins(&query, "slow"))
        upstream->count++;
    else
        sendto(upstream->udp, delayed->bytes, delayed->size, 0, (struct sockaddr *)&delayed->to, length);
}

/* One query a connection. */
static inline void upstream_connection(struct upstream *upstream)
{
    static uint8_t bytes[2 + DNS_MESSAGE_MAX];
    const struct timeval patience = {.tv_sec = 1};
    struct dns_query query;
    int peer = accept(upstream->tcp, NULL, NULL);
    setsockopt(peer, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    ssize_t size = recv(peer, bytes, sizeof(bytes), 0);
    if (size > 2 && dns_query_read(&query, bytes + 2, (size_t)size - 2) == DNS_VERDICT_ANSWER) {
        size_t length = upstream_answer(&query, true, bytes + 2);
        bytes[0] = (uint8_t)(length >> 8);
        bytes[1] = (uint8_t)length;
        (void)!send(peer, bytes, length + 2, MSG_NOSIGNAL);
    }
    close(peer);
}

static inline void *upstream_run(void *context)
{
    struct upstream *upstream = context;
    while (!upstream->stop) {
        struct pollfd fds[] = {{upstream->udp, POLLIN, 0}, {upstream->tcp, POLLIN, 0}};
        poll(fds, 2, 10);
        if (fds[0].revents != 0)
            upstream_datagram(upstream);
        if (fds[1].revents != 0)
            upstream_connection(upstream);
        while (upstream->count > 0 && upstream->delayed[upstream->first].due <= milliseconds()) {
            struct delayed *delayed = &upstream->delayed[upstream->first];
            sendto(upstream->udp, delayed->bytes, delayed->size, 0, (struct sockaddr *)&delayed->to,
                   sizeof(delayed->to));
            upstream->first = (upstream->first + 1) % UPSTREAM_DELAYED;
            upstream->count--;
        }
    }
    return NULL;
}

/* A socket on a port of 127.0.0.1; 0: any. */
static inline int loopback_socket(int type, uint16_t *port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(*port)};
    socklen_t length = sizeof(at);
    const int on = 1;
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (type == SOCK_STREAM)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, (struct sockaddr *)&at, sizeof(at)) != 0) {
        close(fd);
        return -1;
    }
    getsockname(fd, (struct sockaddr *)&at, &length);
    *port = ntohs(at.sin_port);
    return fd;
}

/* The same port for UDP and TCP. */
static inline uint16_t loopback_sockets(int *udp, int *tcp)
{
    for (int i = 0; i < 50; i++) {
        uint16_t port = 0;
        *udp = loopback_socket(SOCK_DGRAM, &port);
        *tcp = loopback_socket(SOCK_STREAM, &port);
        if (*udp >= 0 && *tcp >= 0)
            return port;
        close(*udp);
        close(*tcp);
    }
    fail_msg("no port is free on 127.0.0.1 for both UDP and TCP");
    return 0;
}

static inline void upstream_start(struct upstream *upstream)
{
    upstream->port = loopback_sockets(&upstream->udp, &upstream->tcp);
    assert_int_equal(listen(upstream->tcp, 16), 0);
    assert_int_equal(pthread_create(&upstream->thread, NULL, upstream_run, upstream), 0);
}

static inline void upstream_stop(struct upstream *upstream)
{
    upstream->stop = true;
    pthread_join(upstream->thread, NULL);
    close(upstream->udp);
    close(upstream->tcp);
}

/*** The server ***/

struct serving {
    struct upstream upstream;
    struct server_options options;
    struct server *server;
    uint16_t port;
};

static _Atomic unsigned rules_freed;

static inline void free_test_rules(struct server_rules *rules)
{
    atomic_fetch_add(&rules_freed, 1);
    free(rules);
}

/* One prefix for everybody, 2001:db8:NUMBER::/96, and clients on the loopback interface. */
static inline struct server_rules *test_rules(uint8_t number)
{
    struct server_rules *rules = calloc(1, sizeof(*rules));
    struct rules_prefix *prefix = &rules->rules.prefixes[0];
    assert_non_null(rules);
    prefix->prefix.address = (struct ipv6_address){{0x20, 1, 0xd, 0xb8, 0, number}};
    prefix->prefix.length = 96;
    prefix->client_count = 1;
    prefix->ipv4_count = 1;
    prefix->ipv4[0] = (struct rules_network){{{[10] = 0xff, [11] = 0xff}}, RULES_IPV4_BITS};
    rules->rules.prefix_count = 1;
    rules->rules.negative_ttl = 300;
    rules_seal(&rules->rules);
    rules->clients.count = 2;
    rules->clients.networks[0] = (struct rules_network){{{[15] = 1}}, 128};
    rules->clients.networks[1] =
        (struct rules_network){{{[10] = 0xff, [11] = 0xff, [12] = 127}}, RULES_IPV4_BITS + 8};
    clients_seal(&rules->clients);
    return rules;
}

static inline struct sockaddr_in6 listen_address(const char *text, uint16_t port)
{
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    assert_int_equal(inet_pton(AF_INET6, text, &address.sin6_addr), 1);
    return address;
}

/* Options of a server on two addresses of the loopback interface; the test may change them. */
static inline struct serving *serving_prepare(void)
{
    struct serving *serving = calloc(1, sizeof(*serving));
    int udp, tcp;
    assert_non_null(serving);
    upstream_start(&serving->upstream);
    serving->port = loopback_sockets(&udp, &tcp);
    close(udp);
    close(tcp);
    serving->options = (struct server_options){
        .listen_count = 2,
        .listens = {listen_address("::1", serving->port), listen_address("::ffff:127.0.0.1", serving->port)},
        .workers = 2,
        .cache_entries = 1000,
        .tcp_connections = 100,
        .tcp_idle = 10,
        .resolver = {.upstream_count = 1, .memory = 4 * 1024 * 1024},
    };
    snprintf(serving->options.resolver.upstreams[0], RESOLVER_TEXT, "127.0.0.1@%u", serving->upstream.port);
    return serving;
}

static inline void serving_start(struct serving *serving, struct server_rules *rules)
{
    char error[512];
    serving->server = server_open(&serving->options, rules, free_test_rules, error, sizeof(error));
    if (serving->server == NULL)
        fail_msg("%s", error);
    assert_string_equal(error, "");
    assert_int_equal(server_start(serving->server), 0);
}

static inline void serving_stop(struct serving *serving)
{
    server_close(serving->server);
    upstream_stop(&serving->upstream);
    free(serving);
}

static inline uint64_t counted(const struct serving *serving, enum dns64_counter counter)
{
    struct dns64_counters counters;
    server_count(serving->server, &counters);
    return counters.count[counter];
}

/*** Messages ***/

struct message {
    size_t size;
    uint8_t bytes[DNS_MESSAGE_MAX];
};

enum { FLAGS_RD = 0x0100, ID = 0x1234, NO_EDNS = 0 };

struct question {
    const char *name;
    uint16_t type;
    uint16_t id;       /* 0: ID */
    uint16_t edns;     /* the client's size; 0: no OPT record */
    uint16_t class;    /* 0: IN */
    bool no_recursion; /* without RD */
};

static inline void put16(uint8_t *bytes, unsigned value)
{
    bytes[0] = (uint8_t)(value >> 8);
    bytes[1] = (uint8_t)value;
}

static inline unsigned get16(const uint8_t *bytes)
{
    return (unsigned)bytes[0] << 8 | bytes[1];
}

/* Byte by byte, so as to owe nothing to what is tested. */
static inline size_t make_query(const struct question *question, uint8_t *bytes)
{
    const struct dns_name name = name_of(question->name);
    size_t at = DNS_HEADER_LENGTH;
    memset(bytes, 0, DNS_HEADER_LENGTH);
    put16(bytes, question->id != 0 ? question->id : ID);
    put16(bytes + 2, question->no_recursion ? 0 : FLAGS_RD);
    put16(bytes + 4, 1);
    memcpy(bytes + at, name.wire, name.length);
    at += name.length;
    put16(bytes + at, question->type);
    put16(bytes + at + 2, question->class != 0 ? question->class : DNS_CLASS_IN);
    at += 4;
    if (question->edns != 0) {
        memset(bytes + at, 0, 11);
        put16(bytes + 10, 1);
        put16(bytes + at + 1, DNS_TYPE_OPT);
        put16(bytes + at + 3, question->edns);
        at += 11;
    }
    return at;
}

static inline unsigned reply_id(const struct message *reply)
{
    return get16(reply->bytes);
}

static inline unsigned reply_rcode(const struct message *reply)
{
    return reply->bytes[3] & 15;
}

static inline bool reply_cut(const struct message *reply)
{
    return (reply->bytes[2] & 2) != 0;
}

static inline unsigned reply_answers(const struct message *reply)
{
    return get16(reply->bytes + 6);
}

/* Finds the first record of a type; false if there is none. */
static inline bool reply_find(const struct message *reply, uint16_t type, struct dns_record *record)
{
    struct dns_reader reader;
    struct dns_header header;
    struct dns_question question;
    if (!dns_reader_open(&reader, reply->bytes, reply->size, &header, &question))
        return false;
    while (dns_reader_next(&reader, record) == DNS_NEXT_RECORD) {
        if (record->type == type)
            return true;
    }
    return false;
}

/* The code of the extended error (RFC 8914 section 2), -1 if there is none. */
static inline int reply_error(const struct message *reply)
{
    struct dns_record record;
    if (!reply_find(reply, DNS_TYPE_OPT, &record))
        return -1;
    for (size_t at = record.rdata; at + 6 <= (size_t)record.rdata + record.rdata_length;
         at += 4 + get16(reply->bytes + at + 2)) {
        if (get16(reply->bytes + at) == 15)
            return (int)get16(reply->bytes + at + 4);
    }
    return -1;
}

/* Whether the reply has a synthesised AAAA record under prefix NUMBER of 192.0.2.1. */
static inline bool reply_synthesised(const struct message *reply, uint8_t number)
{
    const uint8_t address[16] = {0x20, 1, 0xd, 0xb8, 0, number, [12] = 192, 0, 2, 1};
    struct dns_record record;
    return reply_rcode(reply) == DNS_RCODE_NOERROR && reply_find(reply, DNS_TYPE_AAAA, &record) &&
           record.rdata_length == 16 && memcmp(reply->bytes + record.rdata, address, 16) == 0;
}

/*** Clients ***/

static inline void set_patience(int fd, unsigned duration)
{
    const struct timeval patience = {.tv_sec = duration / 1000,
                                     .tv_usec = (suseconds_t)duration % 1000 * 1000};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
}

/* A connected socket; the other end's address as "::1" or "127.0.0.1". */
static inline int client_open(const struct serving *serving, int type, const char *address)
{
    struct sockaddr_in ipv4 = {.sin_family = AF_INET, .sin_port = htons(serving->port)};
    bool is_ipv4 = inet_pton(AF_INET, address, &ipv4.sin_addr) == 1;
    struct sockaddr_in6 ipv6 = listen_address(is_ipv4 ? "::" : address, serving->port);
    int fd = socket(is_ipv4 ? AF_INET : AF_INET6, type | SOCK_CLOEXEC, 0);
    assert_int_equal(is_ipv4 ? connect(fd, (struct sockaddr *)&ipv4, sizeof(ipv4))
                             : connect(fd, (struct sockaddr *)&ipv6, sizeof(ipv6)),
                     0);
    set_patience(fd, 7000);
    return fd;
}

static inline void client_send(int fd, const struct question *question)
{
    uint8_t bytes[512];
    size_t size = make_query(question, bytes);
    assert_int_equal(send(fd, bytes, size, MSG_NOSIGNAL), (ssize_t)size);
}

/* False if nothing comes in time. */
static inline bool client_receive(int fd, struct message *reply)
{
    ssize_t size = recv(fd, reply->bytes, sizeof(reply->bytes), 0);
    reply->size = size > 0 ? (size_t)size : 0;
    return size >= DNS_HEADER_LENGTH;
}

static inline void client_ask(int fd, const struct question *question, struct message *reply)
{
    client_send(fd, question);
    assert_true(client_receive(fd, reply));
    assert_int_equal(reply_id(reply), question->id != 0 ? question->id : ID);
    assert_true((reply->bytes[2] & 0x80) != 0);
}

static inline void stream_send(int fd, const struct question *question)
{
    uint8_t bytes[2 + 512];
    size_t size = make_query(question, bytes + 2);
    put16(bytes, (unsigned)size);
    assert_int_equal(send(fd, bytes, size + 2, MSG_NOSIGNAL), (ssize_t)size + 2);
}

/* False if the connection ends, or nothing comes in time. */
static inline bool stream_receive(int fd, struct message *reply)
{
    uint8_t length[2];
    if (recv(fd, length, sizeof(length), MSG_WAITALL) != (ssize_t)sizeof(length))
        return false;
    reply->size = get16(length);
    return recv(fd, reply->bytes, reply->size, MSG_WAITALL) == (ssize_t)reply->size;
}

static inline void stream_ask(int fd, const struct question *question, struct message *reply)
{
    stream_send(fd, question);
    assert_true(stream_receive(fd, reply));
    assert_int_equal(reply_id(reply), question->id != 0 ? question->id : ID);
}

/* True if the other end closes within so many milliseconds. */
static inline bool stream_closes(int fd, unsigned within)
{
    uint8_t byte;
    ssize_t n;
    set_patience(fd, within);
    n = recv(fd, &byte, 1, 0);
    return n == 0 || (n < 0 && errno == ECONNRESET);
}

#endif /* TEST_DNS64_SERVING_H */
