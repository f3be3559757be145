/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The name service over UDP, and as a whole; what concerns TCP is in tcp_test.c.
 *
 *     dns64_server_test [PATTERN]    only the tests whose name matches
 */
#include "test/dns64/serving.h"

#include "dns64/questions.h"

static struct message reply;

static const struct question host = {.name = "host.example.", .type = DNS_TYPE_AAAA};

static struct serving *started(void)
{
    struct serving *serving = serving_prepare();
    serving_start(serving, test_rules(1));
    return serving;
}

/*** Answers ***/

static void answers_and_keeps(void **state)
{
    static const char *const addresses[] = {"::1", "127.0.0.1"};
    struct serving *serving = started();
    unsigned asked = 0;
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        int fd = client_open(serving, SOCK_DGRAM, addresses[i]);
        client_ask(fd, &host, &reply);
        assert_true(reply_synthesised(&reply, 1));
        assert_int_equal(reply_answers(&reply), 1);
        assert_int_equal(counted(serving, DNS64_CACHE_HITS), i);
        if (i == 0)
            asked = serving->upstream.questions;
        close(fd);
    }
    assert_int_equal(serving->upstream.questions, asked);
    assert_int_equal(counted(serving, DNS64_QUERIES_UDP), 2);
    assert_int_equal(counted(serving, DNS64_SYNTHESIZED), 1);
    assert_int_equal(counted(serving, DNS64_LOOKUPS), 2);
    serving_stop(serving);
}

static void passes_on(void **state)
{
    struct serving *serving = started();
    int fd = client_open(serving, SOCK_DGRAM, "::1");
    (void)state;
    client_ask(fd, &(struct question){.name = "six.example.", .type = DNS_TYPE_AAAA}, &reply);
    assert_int_equal(reply_answers(&reply), 1);
    assert_false(reply_synthesised(&reply, 1));
    client_ask(fd, &(struct question){.name = "nx.example.", .type = DNS_TYPE_AAAA}, &reply);
    assert_int_equal(reply_rcode(&reply), DNS_RCODE_NXDOMAIN);
    assert_int_equal(counted(serving, DNS64_PASSED), 2);
    close(fd);
    serving_stop(serving);
}

/* RFC 1035 section 2.3.3, and what resolvers check: the question comes back letter by letter. */
static void repeats_the_question(void **state)
{
    struct serving *serving = started();
    int fd = client_open(serving, SOCK_DGRAM, "::1");
    const struct question mixed = {.name = "hOsT.ExAmPlE.", .type = DNS_TYPE_AAAA, .id = 77};
    uint8_t query[512];
    size_t size = make_query(&mixed, query);
    (void)state;
    for (int i = 0; i < 2; i++) {
        client_ask(fd, &mixed, &reply);
        assert_memory_equal(reply.bytes + DNS_HEADER_LENGTH, query + DNS_HEADER_LENGTH,
                            size - DNS_HEADER_LENGTH);
    }
    close(fd);
    serving_stop(serving);
}

static void answers_locally(void **state)
{
    struct serving *serving = started();
    int fd = client_open(serving, SOCK_DGRAM, "::1");
    (void)state;
    client_ask(fd, &(struct question){.name = "ipv4only.arpa.", .type = DNS_TYPE_AAAA}, &reply);
    assert_int_equal(reply_answers(&reply), 2);
    assert_int_equal(counted(serving, DNS64_LOCAL), 1);
    assert_int_equal(serving->upstream.questions, 0);
    close(fd);
    serving_stop(serving);
}

/* 200 records need more than 3 KB: neither 512 bytes nor ours take them. */
static void truncates(void **state)
{
    static const uint16_t sizes[] = {NO_EDNS, 512, 4096};
    struct serving *serving = started();
    int fd = client_open(serving, SOCK_DGRAM, "::1");
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        client_ask(fd, &(struct question){.name = "long.example.", .type = DNS_TYPE_AAAA, .edns = sizes[i]},
                   &reply);
        assert_true(reply_cut(&reply));
        assert_int_equal(reply_answers(&reply), 0);
        assert_true(reply.size <= 512);
    }
    assert_int_equal(counted(serving, DNS64_TRUNCATED), 3);
    close(fd);
    fd = client_open(serving, SOCK_STREAM, "::1");
    stream_ask(fd, &(struct question){.name = "long.example.", .type = DNS_TYPE_AAAA}, &reply);
    assert_false(reply_cut(&reply));
    assert_int_equal(reply_answers(&reply), 200);
    close(fd);
    serving_stop(serving);
}

static void tells_failures(void **state)
{
    struct serving *serving = started();
    int fd = client_open(serving, SOCK_DGRAM, "::1");
    (void)state;
    client_ask(fd, &(struct question){.name = "fail.example.", .type = DNS_TYPE_A, .edns = 1232}, &reply);
    assert_int_equal(reply_rcode(&reply), DNS_RCODE_SERVFAIL);
    assert_true(reply_error(&reply) > 0);
    assert_int_equal(counted(serving, DNS64_FAILED), 1);
    close(fd);
    serving_stop(serving);
}

/*** Clients together ***/

static void clients_wait_together(void **state)
{
    enum { CLIENTS = 10 };
    struct serving *serving = serving_prepare();
    struct server_state now;
    int fds[CLIENTS];
    (void)state;
    serving->options.workers = 1;
    serving_start(serving, test_rules(1));
    for (unsigned i = 0; i < CLIENTS; i++) {
        fds[i] = client_open(serving, SOCK_DGRAM, i % 2 == 0 ? "::1" : "127.0.0.1");
        client_send(fds[i], &(struct question){.name = i % 3 == 0 ? "SLOW.example." : "slow.example.",
                                               .type = DNS_TYPE_AAAA,
                                               .id = (uint16_t)(100 + i)});
    }
    rest(100);
    server_look(serving->server, &now);
    assert_int_equal(now.questions, 1);
    assert_int_equal(now.waiting, CLIENTS);
    for (unsigned i = 0; i < CLIENTS; i++) {
        assert_true(client_receive(fds[i], &reply));
        assert_int_equal(reply_id(&reply), 100 + i);
        assert_int_equal(reply.bytes[13], i % 3 == 0 ? 'S' : 's');
        assert_true(reply_synthesised(&reply, 1));
        close(fds[i]);
    }
    assert_int_equal(serving->upstream.questions, 2);
    assert_int_equal(counted(serving, DNS64_JOINED), CLIENTS - 1);
    server_look(serving->server, &now);
    assert_int_equal(now.questions, 0);
    assert_int_equal(now.waiting, 0);
    serving_stop(serving);
}

/* One client cannot have all places: it gets SERVFAIL, and others their answers. */
static void one_client_has_a_share(void **state)
{
    enum { ASKED = 1400, SHARE = SERVER_QUESTIONS / 2 };
    struct serving *serving = serving_prepare();
    struct server_state now;
    int fd, other;
    (void)state;
    serving->options.workers = 1;
    serving_start(serving, test_rules(1));
    fd = client_open(serving, SOCK_DGRAM, "::1");
    for (unsigned i = 0; i < ASKED; i++) {
        char name[32];
        snprintf(name, sizeof(name), "silent%u.example.", i);
        client_send(fd, &(struct question){.name = name, .type = DNS_TYPE_A, .edns = 1232});
        if (i % 50 == 0)
            rest(2);
    }
    assert_true(client_receive(fd, &reply));
    assert_int_equal(reply_rcode(&reply), DNS_RCODE_SERVFAIL);
    assert_int_equal(reply_error(&reply), 14);
    rest(300);
    server_look(serving->server, &now);
    assert_true(now.waiting <= SHARE);
    assert_true(counted(serving, DNS64_BUSY) >= ASKED - SHARE);
    other = client_open(serving, SOCK_DGRAM, "127.0.0.1");
    client_ask(other, &(struct question){.name = "ipv4only.arpa.", .type = DNS_TYPE_AAAA}, &reply);
    assert_int_equal(reply_rcode(&reply), DNS_RCODE_NOERROR);
    client_ask(other, &host, &reply); /* upstream, too, there is room for it */
    assert_true(reply_synthesised(&reply, 1));
    close(other);
    close(fd);
    serving_stop(serving);
}

/* Nor can one client have all places of those who wait for one answer. */
static void one_client_is_no_crowd(void **state)
{
    enum { ASKED = 1400 };
    const struct question slow = {.name = "slow.example.", .type = DNS_TYPE_AAAA};
    struct serving *serving = serving_prepare();
    int fd, other;
    (void)state;
    serving->options.workers = 1;
    serving_start(serving, test_rules(1));
    fd = client_open(serving, SOCK_DGRAM, "::1");
    other = client_open(serving, SOCK_DGRAM, "127.0.0.1");
    for (unsigned i = 0; i < ASKED; i++)
        client_send(fd, &slow);
    client_ask(other, &slow, &reply);
    assert_true(counted(serving, DNS64_BUSY) > 0);
    assert_true(reply_synthesised(&reply, 1));
    close(other);
    close(fd);
    serving_stop(serving);
}

static void stops_at_once(void **state)
{
    struct serving *serving = started();
    int fd = client_open(serving, SOCK_DGRAM, "::1");
    int stream = client_open(serving, SOCK_STREAM, "::1");
    const struct question silent = {.name = "silent.example.", .type = DNS_TYPE_A};
    uint64_t before;
    (void)state;
    client_send(fd, &silent);
    stream_send(stream, &silent);
    rest(50);
    before = milliseconds();
    server_close(serving->server);
    assert_true(milliseconds() - before < 300);
    serving->server = NULL;
    assert_true(stream_closes(stream, 1000));
    close(stream);
    close(fd);
    serving_stop(serving);
}

/*** Where from, and where to ***/

/* A client takes a reply from no other address than it asked: its socket is connected. */
static void answers_from_where_it_was_asked(void **state)
{
    static const char *const asked[] = {"127.0.0.1", "127.1.2.3", "::1"};
    struct serving *serving = serving_prepare();
    (void)state;
    serving->options.listens[0] = listen_address("::", serving->port);
    serving->options.listens[1] = listen_address("::ffff:0.0.0.0", serving->port);
    serving_start(serving, test_rules(1));
    for (int times = 0; times < 2; times++) {
        for (size_t i = 0; i < sizeof(asked) / sizeof(asked[0]); i++) {
            int fd = client_open(serving, SOCK_DGRAM, asked[i]);
            client_ask(fd, &host, &reply);
            assert_true(reply_synthesised(&reply, 1));
            close(fd);
        }
    }
    serving_stop(serving);
}

static void says_who_has_the_port(void **state)
{
    struct serving *serving = serving_prepare();
    struct server_rules *rules = test_rules(1);
    char error[512];
    uint16_t port = serving->port;
    int other = loopback_socket(SOCK_DGRAM, &port);
    (void)state;
    assert_true(other >= 0);
    assert_null(server_open(&serving->options, rules, free_test_rules, error, sizeof(error)));
    assert_non_null(strstr(error, "127.0.0.1"));
    assert_non_null(strstr(error, "another program"));
    close(other);
    serving_start(serving, rules); /* they are still ours */
    rules = test_rules(1);
    assert_null(server_open(&serving->options, rules, free_test_rules, error, sizeof(error)));
    assert_non_null(strstr(error, "another program"));
    free(rules);
    serving_stop(serving);
}

static void waits_for_an_address(void **state)
{
    struct serving *serving = serving_prepare();
    char error[512];
    int fd;
    (void)state;
    serving->options.listens[serving->options.listen_count++] =
        listen_address("2001:db8:ffff::53", serving->port);
    serving->server = server_open(&serving->options, test_rules(1), free_test_rules, error, sizeof(error));
    assert_non_null(serving->server);
    assert_non_null(strstr(error, "[2001:db8:ffff::53]"));
    assert_int_equal(server_start(serving->server), 0);
    fd = client_open(serving, SOCK_DGRAM, "::1");
    client_ask(fd, &host, &reply);
    close(fd);
    serving_stop(serving);
}

/*** Refusals ***/

static _Atomic unsigned seen_count;
static _Atomic unsigned seen_reason, seen_port, seen_to;

static void see(void *context, const struct server_seen *seen)
{
    (void)context;
    seen_count++;
    seen_reason = seen->reason;
    seen_port = ntohs(seen->to->sin6_port);
    seen_to = seen->to->sin6_addr.s6_addr[15];
    assert_non_null(seen->bytes);
}

/* rfc: 8914-4.19-a */
static void refuses_strangers(void **state)
{
    struct serving *serving = serving_prepare();
    struct server_rules *rules = test_rules(1);
    const struct question question = {.name = "host.example.", .type = DNS_TYPE_AAAA, .edns = 1232};
    uint8_t query[512];
    size_t size = make_query(&question, query);
    int fd;
    (void)state;
    rules->clients.count = 1;
    rules->clients.networks[0] = (struct rules_network){{{0x20, 1, 0xd, 0xb8}}, 32};
    serving->options.seen = see;
    seen_count = 0;
    serving_start(serving, rules);
    fd = client_open(serving, SOCK_DGRAM, "::1");
    client_ask(fd, &question, &reply);
    assert_int_equal(reply_rcode(&reply), DNS_RCODE_REFUSED);
    assert_int_equal(reply_error(&reply), 18);
    assert_int_equal(reply_answers(&reply), 0);
    assert_true(reply.size <= size + 6 + DNS_ERROR_TEXT_MAX);
    assert_int_equal(counted(serving, DNS64_REFUSED), 1);
    assert_int_equal(serving->upstream.questions, 0);
    assert_int_equal(seen_count, 1);
    assert_int_equal(seen_reason, DNS64_REFUSED);
    assert_int_equal(seen_port, serving->port);
    assert_int_equal(seen_to, 1);
    close(fd);
    serving_stop(serving);
}

/* Of what is over the rate every second datagram gets TC and nothing else, and so does nobody twice. */
static void limits_the_rate(void **state)
{
    enum { RATE = 5, ASKED = 25 };
    struct serving *serving = serving_prepare();
    struct server_rules *rules = test_rules(1);
    const struct question local = {.name = "ipv4only.arpa.", .type = DNS_TYPE_AAAA};
    unsigned answered = 0, cut = 0;
    int fd;
    (void)state;
    rules->clients.rate = RATE;
    serving->options.workers = 1;
    serving_start(serving, rules);
    fd = client_open(serving, SOCK_DGRAM, "::1");
    for (int i = 0; i < ASKED; i++)
        client_send(fd, &local);
    set_patience(fd, 300);
    while (client_receive(fd, &reply)) {
        answered += reply_answers(&reply) == 2;
        cut += reply_cut(&reply) && reply_answers(&reply) == 0;
    }
    assert_in_range(answered, RATE, RATE + 1);
    assert_int_equal(cut, (ASKED - answered + 1) / 2);
    assert_int_equal(counted(serving, DNS64_RATE_LIMITED), ASKED - answered);
    close(fd);
    fd = client_open(serving, SOCK_STREAM, "::1"); /* whose datagrams were too many, or somebody's */
    stream_ask(fd, &local, &reply);
    assert_int_equal(reply_answers(&reply), 2);
    for (int i = 0; i < RATE + 1; i++)
        stream_ask(fd, &local, &reply);
    assert_int_equal(reply_rcode(&reply), DNS_RCODE_REFUSED);
    close(fd);
    serving_stop(serving);
}

/* What is no question for data of class IN. rfc: 8914-4.21-b, 8914-4.22-a */
static void refuses_other_kinds(void **state)
{
    static const struct {
        struct question question;
        unsigned rcode, answers;
        int error;
    } kinds[] = {
        {{.name = "a.example.", .type = 252}, DNS_RCODE_REFUSED, 0, 21},
        {{.name = "a.example.", .type = 251}, DNS_RCODE_REFUSED, 0, 21},
        {{.name = "a.example.", .type = 250}, DNS_RCODE_NOTIMP, 0, 21},
        {{.name = "a.example.", .type = DNS_TYPE_OPT}, DNS_RCODE_NOTIMP, 0, 21},
        {{.name = "a.example.", .type = 0}, DNS_RCODE_NOTIMP, 0, 21},
        {{.name = "version.bind.", .type = DNS_TYPE_TXT, .class = 3}, DNS_RCODE_REFUSED, 0, 21},
        {{.name = "a.example.", .type = DNS_TYPE_ANY}, DNS_RCODE_NOERROR, 1, -1},
        {{.name = "a.example.", .type = DNS_TYPE_A, .no_recursion = true}, DNS_RCODE_REFUSED, 0, 20},
    };
    struct serving *serving = started();
    int fd = client_open(serving, SOCK_DGRAM, "::1");
    (void)state;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        struct question question = kinds[i].question;
        uint8_t query[512];
        size_t size;
        question.edns = 1232;
        size = make_query(&question, query);
        client_ask(fd, &question, &reply);
        assert_int_equal(reply_rcode(&reply), kinds[i].rcode);
        assert_int_equal(reply_answers(&reply), kinds[i].answers);
        assert_int_equal(reply_error(&reply), kinds[i].error);
        assert_true(reply.size <= size + 6 + DNS_ERROR_TEXT_MAX);
    }
    assert_int_equal(serving->upstream.questions, 0);
    assert_int_equal(counted(serving, DNS64_REFUSED_TYPE), 7);
    assert_int_equal(counted(serving, DNS64_NOT_RECURSIVE), 1);
    close(fd);
    serving_stop(serving);
}

/*** Hostile datagrams ***/

/* Headers with one question of the root, type A, class IN, unless said otherwise. */
static const struct {
    const char *what;
    int rcode; /* -1: silence */
    size_t size;
    uint8_t bytes[40];
} hostile[] = {
    {"nothing", -1, 0, {0}},
    {"less than a header", -1, 11, {0x12, 0x34, 1, 0, 0, 1}},
    {"a response", -1, 17, {0x12, 0x34, 0x81, 0x80, 0, 1, [14] = 1, [16] = 1}},
    {"a broken response", -1, 12, {0x12, 0x34, 0x80, 0, 0, 9}},
    {"a bare header", DNS_RCODE_FORMERR, 12, {0x12, 0x34, 1}},
    {"a question that is not there", DNS_RCODE_FORMERR, 12, {0x12, 0x34, 1, 0, 0, 1}},
    {"two questions", DNS_RCODE_FORMERR, 17, {0x12, 0x34, 1, 0, 0, 2, [14] = 1, [16] = 1}},
    {"a name that points to itself",
     DNS_RCODE_FORMERR,
     18,
     {0x12, 0x34, 1, 0, 0, 1, [12] = 0xc0, 12, 0, 1, 0, 1}},
    {"a name that points out",
     DNS_RCODE_FORMERR,
     18,
     {0x12, 0x34, 1, 0, 0, 1, [12] = 0xff, 0xff, 0, 1, 0, 1}},
    {"a byte too many", DNS_RCODE_FORMERR, 18, {0x12, 0x34, 1, 0, 0, 1, [14] = 1, [16] = 1, 0}},
    {"an opcode of another time", DNS_RCODE_NOTIMP, 17, {0x12, 0x34, 0x11, 0, 0, 1, [14] = 1, [16] = 1}},
    {"an update", DNS_RCODE_NOTIMP, 12, {0x12, 0x34, 0x28}},
    {"EDNS of version 1",
     0,
     28,
     {0x12, 0x34, 1, 0, 0, 1, [11] = 1, [14] = 1, [16] = 1, 0, 0, 41, 4, 208, 0, 1}},
};

static void survives_what_is_no_query(void **state)
{
    static const struct question local = {.name = "ipv4only.arpa.", .type = DNS_TYPE_A, .id = 99};
    struct serving *serving = started();
    int fd = client_open(serving, SOCK_DGRAM, "::1");
    uint8_t large[9000] = {0x12, 0x34, 1, 0, 0, 1, [14] = 1, [16] = 1};
    (void)state;
    for (size_t i = 0; i < sizeof(hostile) / sizeof(hostile[0]); i++) {
        assert_int_equal(send(fd, hostile[i].bytes, hostile[i].size, 0), (ssize_t)hostile[i].size);
        if (hostile[i].rcode >= 0) {
            assert_true(client_receive(fd, &reply));
            assert_int_equal(reply_id(&reply), ID);
            assert_int_equal(reply_rcode(&reply), hostile[i].rcode);
            assert_true(reply.size <= hostile[i].size);
        }
        /* What comes next is the answer to this, not to that. */
        client_ask(fd, &local, &reply);
    }
    assert_int_equal(send(fd, large, sizeof(large), 0), (ssize_t)sizeof(large));
    assert_true(client_receive(fd, &reply));
    assert_int_equal(reply_rcode(&reply), DNS_RCODE_FORMERR);
    assert_int_equal(counted(serving, DNS64_RESPONSES), 4);
    assert_int_equal(counted(serving, DNS64_MALFORMED), 7);
    assert_int_equal(counted(serving, DNS64_NOT_IMPLEMENTED), 2);
    assert_int_equal(counted(serving, DNS64_BAD_VERSION), 1);
    close(fd);
    serving_stop(serving);
}

/* Queries with some bytes changed at random, from a fixed seed. */
static void survives_noise(void **state)
{
    struct serving *serving = started();
    int fd = client_open(serving, SOCK_DGRAM, "::1");
    unsigned seed = 1;
    (void)state;
    for (int i = 0; i < 5000; i++) {
        uint8_t bytes[512];
        size_t size =
            make_query(&(struct question){.name = "ipv4only.arpa.", .type = DNS_TYPE_A, .edns = 1232}, bytes);
        for (int j = 0; j < 1 + i % 4; j++) {
            seed = seed * 1103515245 + 12345;
            bytes[(seed >> 16) % size] = (uint8_t)(seed >> 8);
        }
        assert_int_equal(send(fd, bytes, size - (seed >> 20) % 8, 0) > 0, 1);
        while (recv(fd, reply.bytes, sizeof(reply.bytes), MSG_DONTWAIT) > 0)
            continue;
    }
    close(fd);
    /* The noise may have filled the socket's buffer, so the first of these may be lost. */
    fd = client_open(serving, SOCK_DGRAM, "::1");
    set_patience(fd, 500);
    reply.size = 0;
    for (int i = 0; i < 20 && reply.size == 0; i++) {
        client_send(fd, &host);
        client_receive(fd, &reply);
    }
    assert_true(reply_synthesised(&reply, 1));
    close(fd);
    serving_stop(serving);
}

/* A service that answers anything would answer our error, too. */
static void does_not_talk_to_old_services(void **state)
{
    struct serving *serving = started();
    struct sockaddr_in6 from = listen_address("::1", 19);
    struct sockaddr_in6 to = listen_address("::1", serving->port);
    int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    (void)state;
    if (bind(fd, (struct sockaddr *)&from, sizeof(from)) != 0) {
        print_message("needs rights for ports below 1024: %s\n", strerror(errno));
        close(fd);
        serving_stop(serving);
        skip();
        return;
    }
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    set_patience(fd, 200);
    client_send(fd, &host);
    assert_int_equal(send(fd, "!\"#$%&'()*+,-./", 15, 0), 15);
    assert_false(client_receive(fd, &reply));
    assert_int_equal(counted(serving, DNS64_RESPONSES), 2);
    close(fd);
    serving_stop(serving);
}

/*** Stale answers ***/

static void asks_stale(struct serving *serving, int fd)
{
    const struct question brief = {.name = "brief.example.", .type = DNS_TYPE_AAAA, .edns = 1232};
    uint64_t before;
    client_ask(fd, &brief, &reply);
    assert_true(reply_synthesised(&reply, 1));
    serving->upstream.down = true;
    rest(2100);
    before = milliseconds();
    client_ask(fd, &brief, &reply);
    assert_true(milliseconds() - before < 2500);
    assert_true(reply_synthesised(&reply, 1));
    assert_int_equal(reply_error(&reply), ANSWER_ERROR_STALE);
    assert_int_equal(counted(serving, DNS64_CACHE_STALE), 1);
    /* Who comes later need not wait as long. */
    before = milliseconds();
    client_ask(fd, &brief, &reply);
    assert_true(milliseconds() - before < 500);
    assert_int_equal(reply_error(&reply), ANSWER_ERROR_STALE);
    /* Nor who comes when it has failed. */
    rest(SERVER_PATIENCE);
    before = milliseconds();
    client_ask(fd, &brief, &reply);
    assert_true(milliseconds() - before < 500);
    assert_int_equal(reply_error(&reply), ANSWER_ERROR_STALE);
    /* Though nobody waits for it, it is asked again, and what comes of that is fresh. */
    serving->upstream.down = false;
    for (before = milliseconds(); reply_error(&reply) == ANSWER_ERROR_STALE; rest(100)) {
        assert_true(milliseconds() - before < 2 * SERVER_PATIENCE);
        client_ask(fd, &brief, &reply);
    }
    assert_true(reply_synthesised(&reply, 1));
}

static void serves_stale_answers(void **state)
{
    struct serving *serving = serving_prepare();
    int fd;
    (void)state;
    serving->options.serve_stale = true;
    serving->options.workers = 1;
    serving_start(serving, test_rules(1));
    fd = client_open(serving, SOCK_DGRAM, "::1");
    asks_stale(serving, fd);
    close(fd);
    serving_stop(serving);
}

/* Without the option there is none, but an error in time: after one lookup of AAAA and one of A records. */
static void fails_in_time(void **state)
{
    struct serving *serving = started();
    int fd = client_open(serving, SOCK_DGRAM, "::1");
    uint64_t before = milliseconds();
    (void)state;
    client_ask(fd, &(struct question){.name = "silent.example.", .type = DNS_TYPE_AAAA, .edns = 1232},
               &reply);
    assert_int_equal(reply_rcode(&reply), DNS_RCODE_SERVFAIL);
    assert_true(reply_error(&reply) > 0);
    assert_in_range(milliseconds() - before, SERVER_PATIENCE - 500, SERVER_PATIENCE + 500);
    assert_int_equal(counted(serving, DNS64_TIMED_OUT), 1);
    close(fd);
    serving_stop(serving);
}

/* Without what would have been added an answer comes in time, and is not kept for as long as it says. */
static void adds_what_comes_in_time(void **state)
{
    const struct question service = {.name = "service.example.", .type = DNS_TYPE_HTTPS};
    struct serving *serving = started();
    int fd = client_open(serving, SOCK_DGRAM, "127.0.0.1");
    uint64_t before = milliseconds();
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        client_ask(fd, &service, &reply);
        assert_int_equal(reply_answers(&reply), 1);
        assert_int_equal(counted(serving, DNS64_CACHE_HITS), i);
    }
    assert_in_range(milliseconds() - before, QUESTIONS_ADDITIONS - 200, QUESTIONS_ADDITIONS + 500);
    rest(QUESTIONS_INCOMPLETE_TTL * 1000 + 100);
    client_ask(fd, &service, &reply);
    assert_int_equal(counted(serving, DNS64_CACHE_HITS), 1);
    assert_int_equal(counted(serving, DNS64_PASSED), 2);
    close(fd);
    serving_stop(serving);
}

/*** New rules ***/

static void changes_rules(void **state)
{
    const struct question slow = {.name = "slow.example.", .type = DNS_TYPE_AAAA};
    struct serving *serving = started();
    int fd = client_open(serving, SOCK_DGRAM, "::1");
    (void)state;
    rules_freed = 0;
    client_ask(fd, &host, &reply);
    assert_true(reply_synthesised(&reply, 1));
    client_send(fd, &slow);
    rest(50);
    assert_int_equal(server_change(serving->server, test_rules(2)), 0);
    assert_int_equal(rules_freed, 0); /* one question is under way by them */
    client_ask(fd, &host, &reply);
    assert_true(reply_synthesised(&reply, 2));
    assert_true(client_receive(fd, &reply));
    assert_true(reply_synthesised(&reply, 1));
    assert_int_equal(rules_freed, 1);
    client_ask(fd, &slow, &reply); /* that answer was not kept */
    assert_true(reply_synthesised(&reply, 2));
    close(fd);
    serving_stop(serving);
    assert_int_equal(rules_freed, 2);
}

struct load {
    struct serving *serving;
    _Atomic bool stop;
    _Atomic unsigned number; /* of the prefix in force, before or behind the change under way */
    _Atomic unsigned answered, wrong;
};

static void *load(void *context)
{
    struct load *load = context;
    struct message got;
    int fd = client_open(load->serving, SOCK_DGRAM, "::1");
    for (unsigned i = 0; !load->stop; i++) {
        char name[32];
        unsigned before = load->number;
        snprintf(name, sizeof(name), "host%u.example.", i % 7);
        client_send(fd, &(struct question){.name = name, .type = DNS_TYPE_AAAA});
        if (!client_receive(fd, &got))
            continue;
        load->answered++;
        /* The rules of when it was asked, or of when it was answered. */
        load->wrong += !reply_synthesised(&got, (uint8_t)before) &&
                       !reply_synthesised(&got, (uint8_t)(before + 1)) &&
                       !reply_synthesised(&got, (uint8_t)load->number);
    }
    close(fd);
    return NULL;
}

static void changes_rules_under_load(void **state)
{
    struct load shared = {.serving = started(), .number = 1};
    pthread_t threads[2];
    (void)state;
    rules_freed = 0;
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, load, &shared), 0);
    for (unsigned number = 2; number <= 30; number++) {
        rest(20);
        assert_int_equal(server_change(shared.serving->server, test_rules((uint8_t)number)), 0);
        shared.number = number;
    }
    shared.stop = true;
    for (size_t i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(shared.wrong, 0);
    assert_true(shared.answered > 100);
    serving_stop(shared.serving);
    assert_int_equal(rules_freed, 30);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_and_keeps),
        cmocka_unit_test(passes_on),
        cmocka_unit_test(repeats_the_question),
        cmocka_unit_test(answers_locally),
        cmocka_unit_test(truncates),
        cmocka_unit_test(tells_failures),
        cmocka_unit_test(clients_wait_together),
        cmocka_unit_test(one_client_has_a_share),
        cmocka_unit_test(one_client_is_no_crowd),
        cmocka_unit_test(stops_at_once),
        cmocka_unit_test(answers_from_where_it_was_asked),
        cmocka_unit_test(says_who_has_the_port),
        cmocka_unit_test(waits_for_an_address),
        cmocka_unit_test(refuses_strangers),
        cmocka_unit_test(limits_the_rate),
        cmocka_unit_test(refuses_other_kinds),
        cmocka_unit_test(survives_what_is_no_query),
        cmocka_unit_test(survives_noise),
        cmocka_unit_test(does_not_talk_to_old_services),
        cmocka_unit_test(serves_stale_answers),
        cmocka_unit_test(fails_in_time),
        cmocka_unit_test(adds_what_comes_in_time),
        cmocka_unit_test(changes_rules),
        cmocka_unit_test(changes_rules_under_load),
    };
    if (argc == 2)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
