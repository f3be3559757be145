/* SPDX-License-Identifier: BSD-2-Clause */
/* The name service over TCP: many queries on one connection, and what a connection may cost. */
#include "test/dns64/serving.h"

#include <sys/resource.h>

#include "dns64/tcp.h"

static struct message reply;

static const struct question local = {.name = "ipv4only.arpa.", .type = DNS_TYPE_AAAA};
static const struct question slow = {.name = "slow.example.", .type = DNS_TYPE_AAAA, .id = 1};
static const struct question silent = {.name = "silent.example.", .type = DNS_TYPE_A, .id = 2};

/* One worker, so that all connections are its own. */
static struct serving *prepared(void)
{
    struct serving *serving = serving_prepare();
    serving->options.workers = 1;
    serving->options.tcp_idle = 1;
    return serving;
}

static struct serving *started(void)
{
    struct serving *serving = prepared();
    serving_start(serving, test_rules(1));
    return serving;
}

static uint64_t connections(const struct serving *serving)
{
    struct server_state now;
    server_look(serving->server, &now);
    return now.connections;
}

/*** Queries ***/

static void answers(void **state)
{
    static const char *const addresses[] = {"::1", "127.0.0.1"};
    struct serving *serving = started();
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        int fd = client_open(serving, SOCK_STREAM, addresses[i]);
        stream_ask(fd, &(struct question){.name = "host.example.", .type = DNS_TYPE_AAAA}, &reply);
        assert_true(reply_synthesised(&reply, 1));
        close(fd);
    }
    assert_int_equal(counted(serving, DNS64_QUERIES_TCP), 2);
    assert_int_equal(counted(serving, DNS64_TCP_ACCEPTED), 2);
    assert_int_equal(counted(serving, DNS64_CACHE_HITS), 1);
    serving_stop(serving);
}

/* RFC 7766 sections 6.2.1.1 and 7: what is ready first is sent first. */
static void answers_out_of_order(void **state)
{
    struct serving *serving = started();
    int fd = client_open(serving, SOCK_STREAM, "::1");
    (void)state;
    stream_send(fd, &slow);
    stream_ask(fd, &local, &reply);
    assert_int_equal(counted(serving, DNS64_LOCAL), 1);
    assert_true(stream_receive(fd, &reply));
    assert_int_equal(reply_id(&reply), slow.id);
    assert_true(reply_synthesised(&reply, 1));
    close(fd);
    serving_stop(serving);
}

/* Two queries and the half of a third in one segment, the rest in another; then byte by byte. */
static void takes_queries_apart(void **state)
{
    struct serving *serving = started();
    int fd = client_open(serving, SOCK_STREAM, "::1");
    uint8_t bytes[1024];
    size_t one = 2 + make_query(&local, bytes + 2);
    (void)state;
    put16(bytes, (unsigned)one - 2);
    memcpy(bytes + one, bytes, one);
    memcpy(bytes + 2 * one, bytes, one);
    assert_int_equal(send(fd, bytes, 2 * one + one / 2, 0), (ssize_t)(2 * one + one / 2));
    rest(20);
    assert_int_equal(send(fd, bytes + one / 2, one - one / 2, 0), (ssize_t)(one - one / 2));
    for (size_t i = 0; i < one; i++) {
        assert_int_equal(send(fd, bytes + i, 1, 0), 1);
        rest(1);
    }
    for (int i = 0; i < 4; i++) {
        assert_true(stream_receive(fd, &reply));
        assert_int_equal(reply_answers(&reply), 2);
    }
    close(fd);
    serving_stop(serving);
}

/* No more than 64 wait at a time, and all are answered. */
static void bounds_queries_under_way(void **state)
{
    enum { ASKED = 200 };
    struct serving *serving = started();
    int fd = client_open(serving, SOCK_STREAM, "::1");
    struct server_state now;
    unsigned answered = 0;
    (void)state;
    for (unsigned i = 0; i < ASKED; i++) {
        char name[32];
        snprintf(name, sizeof(name), "slow%u.example.", i);
        stream_send(fd, &(struct question){.name = name, .type = DNS_TYPE_A, .id = (uint16_t)(i + 1)});
    }
    rest(100);
    server_look(serving->server, &now);
    assert_int_equal(now.waiting, TCP_UNDER_WAY);
    while (answered < ASKED && stream_receive(fd, &reply))
        answered += reply_answers(&reply) == 1;
    assert_int_equal(answered, ASKED);
    close(fd);
    serving_stop(serving);
}

/* RFC 7766 section 6.2.3 and RFC 9293: a client that has closed its side still wants its answers. */
static void answers_who_has_closed_one_side(void **state)
{
    struct serving *serving = started();
    int fd = client_open(serving, SOCK_STREAM, "::1");
    (void)state;
    stream_send(fd, &slow);
    stream_send(fd, &local);
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    for (int i = 0; i < 2; i++)
        assert_true(stream_receive(fd, &reply));
    assert_int_equal(reply_id(&reply), slow.id);
    assert_true(stream_closes(fd, 500));
    close(fd);
    serving_stop(serving);
}

/* A client that goes without waiting: its place is free at once, its answer goes nowhere. */
static void forgets_who_has_gone(void **state)
{
    const struct linger at_once = {.l_onoff = 1};
    struct serving *serving = started();
    int fd = client_open(serving, SOCK_STREAM, "::1");
    (void)state;
    stream_send(fd, &slow);
    rest(50);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    close(fd);
    rest(50);
    assert_int_equal(connections(serving), 0);
    rest(UPSTREAM_DELAY * 2);
    assert_int_equal(counted(serving, DNS64_SYNTHESIZED), 1);
    serving_stop(serving);
}

/*** What it may cost ***/

/* Asks for large answers and reads none: at some point no more queries are taken. Then all are answered. */
static void bounds_what_waits_to_be_read(void **state)
{
    enum { ASKED = 400, ANSWER = 5600 }; /* 200 AAAA records have 28 bytes each */
    const struct question large = {.name = "long.example.", .type = DNS_TYPE_AAAA};
    struct serving *serving = prepared();
    uint8_t bytes[2 + 512];
    size_t size = 2 + make_query(&large, bytes + 2), asked = 0;
    int fd, small = 65536;
    (void)state;
    serving->options.tcp_idle = 10;
    serving_start(serving, test_rules(1));
    put16(bytes, (unsigned)size - 2);
    fd = client_open(serving, SOCK_STREAM, "::1");
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    stream_ask(fd, &large, &reply);
    assert_true(reply.size >= ANSWER);
    while (asked < ASKED && send(fd, bytes, size, MSG_DONTWAIT) == (ssize_t)size) {
        asked++;
        if (asked % 100 == 0)
            rest(5);
    }
    rest(200);
    /* The kernel's buffers and ours hold a few hundred kilobytes: far less than all. */
    assert_true(counted(serving, DNS64_QUERIES_TCP) < asked / 2);
    for (size_t i = 0; i < asked; i++) {
        assert_true(stream_receive(fd, &reply));
        assert_int_equal(reply_answers(&reply), 200);
    }
    close(fd);
    serving_stop(serving);
}

static void closes_who_reads_nothing(void **state)
{
    const struct question large = {.name = "long.example.", .type = DNS_TYPE_AAAA};
    struct serving *serving = started();
    uint8_t bytes[2 + 512];
    size_t size = 2 + make_query(&large, bytes + 2);
    int fd = client_open(serving, SOCK_STREAM, "::1");
    (void)state;
    put16(bytes, (unsigned)size - 2);
    for (int i = 0; i < 400 && send(fd, bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL) > 0; i++) {
        if (i % 100 == 0)
            rest(5);
    }
    rest(2500);
    assert_int_equal(connections(serving), 0);
    assert_int_equal(counted(serving, DNS64_TCP_IDLE), 1);
    close(fd);
    serving_stop(serving);
}

static void closes_the_idle(void **state)
{
    struct serving *serving = started();
    int silent_one = client_open(serving, SOCK_STREAM, "::1");
    int asker = client_open(serving, SOCK_STREAM, "::1");
    (void)state;
    rest(600);
    stream_ask(asker, &local, &reply);
    assert_true(stream_closes(silent_one, 900)); /* 1 s after it began, not yet the other */
    assert_int_equal(connections(serving), 1);
    stream_ask(asker, &local, &reply);
    assert_true(stream_closes(asker, 1500));
    assert_int_equal(counted(serving, DNS64_TCP_IDLE), 2);
    close(silent_one);
    close(asker);
    serving_stop(serving);
}

/* A byte now and then makes nobody busy. */
static void closes_who_trickles(void **state)
{
    struct serving *serving = started();
    int fd = client_open(serving, SOCK_STREAM, "::1");
    uint8_t bytes[512] = {0, 100};
    uint64_t before = milliseconds();
    (void)state;
    for (size_t i = 0; i < 100 && send(fd, bytes + i, 1, MSG_NOSIGNAL) == 1; i++)
        rest(100);
    assert_in_range(milliseconds() - before, 900, 2000);
    assert_int_equal(counted(serving, DNS64_TCP_IDLE), 1);
    close(fd);
    serving_stop(serving);
}

/* Who waits for us is not idle, however long that takes. */
static void waits_with_who_waits(void **state)
{
    struct serving *serving = started();
    int fd = client_open(serving, SOCK_STREAM, "::1");
    (void)state;
    stream_ask(fd, &silent, &reply);
    assert_int_equal(reply_rcode(&reply), DNS_RCODE_SERVFAIL);
    close(fd);
    serving_stop(serving);
}

/* A newcomer gets the place of who was idle for longest, unless all have queries under way. */
static void bounds_connections(void **state)
{
    struct serving *serving = prepared();
    int first, second, third, fourth;
    (void)state;
    serving->options.tcp_connections = 2;
    serving->options.tcp_idle = 10;
    serving_start(serving, test_rules(1));
    first = client_open(serving, SOCK_STREAM, "::1");
    rest(20);
    second = client_open(serving, SOCK_STREAM, "::1");
    rest(20);
    stream_ask(first, &local, &reply);
    third = client_open(serving, SOCK_STREAM, "::1");
    assert_true(stream_closes(second, 500));
    stream_send(first, &silent);
    stream_send(third, &silent);
    rest(50);
    fourth = client_open(serving, SOCK_STREAM, "::1");
    assert_true(stream_closes(fourth, 500));
    assert_int_equal(connections(serving), 2);
    assert_int_equal(counted(serving, DNS64_TCP_REFUSED), 1);
    stream_ask(third, &local, &reply);
    close(first);
    close(second);
    close(third);
    close(fourth);
    serving_stop(serving);
}

/* One client cannot have them all: beyond its share its own must yield. */
static void leaves_some_to_others(void **state)
{
    enum { CONNECTIONS = 6, SHARE = CONNECTIONS / 2 + 1 };
    struct serving *serving = prepared();
    int fds[SHARE + 2], other;
    (void)state;
    serving->options.tcp_connections = CONNECTIONS;
    serving->options.tcp_idle = 10;
    serving_start(serving, test_rules(1));
    for (size_t i = 0; i <= SHARE; i++) {
        fds[i] = client_open(serving, SOCK_STREAM, "::1");
        stream_ask(fds[i], &local, &reply);
    }
    assert_true(stream_closes(fds[0], 500));
    assert_int_equal(connections(serving), SHARE);
    for (size_t i = 1; i <= SHARE; i++)
        stream_send(fds[i], &silent);
    rest(50);
    fds[SHARE + 1] = client_open(serving, SOCK_STREAM, "::1");
    assert_true(stream_closes(fds[SHARE + 1], 500));
    assert_int_equal(counted(serving, DNS64_TCP_REFUSED), 1);
    other = client_open(serving, SOCK_STREAM, "127.0.0.1");
    stream_ask(other, &local, &reply);
    for (size_t i = 0; i < SHARE + 2; i++)
        close(fds[i]);
    close(other);
    serving_stop(serving);
}

/*
 * Where descriptors are short, newcomers wait until there are some again, and the worker does not spin. All
 * below the next free one are in use, so that one is the limit.
 */
static void waits_for_descriptors(void **state)
{
    struct serving *serving = started();
    const struct sockaddr_in6 to = listen_address("::1", serving->port);
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0), next = dup(fd);
    struct rlimit before, limit;
    struct timespec worked;
    (void)state;
    close(next);
    getrlimit(RLIMIT_NOFILE, &before);
    limit = (struct rlimit){.rlim_cur = (rlim_t)next, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &worked);
    uint64_t start = (uint64_t)worked.tv_sec * 1000 + (uint64_t)worked.tv_nsec / 1000000;
    assert_int_equal(connect(fd, (const struct sockaddr *)&to, sizeof(to)), 0);
    rest(400);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &worked);
    assert_in_range((uint64_t)worked.tv_sec * 1000 + (uint64_t)worked.tv_nsec / 1000000 - start, 0, 100);
    assert_int_equal(connections(serving), 0);
    setrlimit(RLIMIT_NOFILE, &before);
    set_patience(fd, 1000);
    stream_ask(fd, &local, &reply);
    close(fd);
    serving_stop(serving);
}

/*** What is no query ***/

static void closes_on_nonsense(void **state)
{
    static const struct {
        size_t size;
        uint8_t bytes[32];
    } nonsense[] = {
        {2, {0xff, 0xff}},                                                      /* longer than any query */
        {2, {0, 0}},                                                            /* of no length */
        {7, {0, 5, 0x12, 0x34, 1, 0, 0}},                                       /* less than a header */
        {19, {0, 17, 0x12, 0x34, 0x81, 0x80, 0, 1, [16] = 1, [18] = 1}},        /* a response */
        {26, {'G', 'E', 'T', ' ', '/', ' ', 'H', 'T', 'T', 'P', '/', '1', '.'}} /* another protocol */
    };
    struct serving *serving = started();
    (void)state;
    for (size_t i = 0; i < sizeof(nonsense) / sizeof(nonsense[0]); i++) {
        int fd = client_open(serving, SOCK_STREAM, "::1");
        assert_int_equal(send(fd, nonsense[i].bytes, nonsense[i].size, 0), (ssize_t)nonsense[i].size);
        assert_true(stream_closes(fd, 500));
        close(fd);
    }
    assert_int_equal(connections(serving), 0);
    serving_stop(serving);
}

/* An error in one query is no reason to end the connection. */
static void goes_on_behind_errors(void **state)
{
    static const uint8_t two_questions[] = {0, 12, 0x12, 0x34, 1, 0, 0, 2, 0, 0, 0, 0, 0, 0};
    struct serving *serving = started();
    int fd = client_open(serving, SOCK_STREAM, "::1");
    (void)state;
    assert_int_equal(send(fd, two_questions, sizeof(two_questions), 0), (ssize_t)sizeof(two_questions));
    assert_true(stream_receive(fd, &reply));
    assert_int_equal(reply_rcode(&reply), DNS_RCODE_FORMERR);
    stream_ask(fd, &local, &reply);
    assert_int_equal(reply_answers(&reply), 2);
    close(fd);
    serving_stop(serving);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers),
        cmocka_unit_test(answers_out_of_order),
        cmocka_unit_test(takes_queries_apart),
        cmocka_unit_test(bounds_queries_under_way),
        cmocka_unit_test(answers_who_has_closed_one_side),
        cmocka_unit_test(forgets_who_has_gone),
        cmocka_unit_test(bounds_what_waits_to_be_read),
        cmocka_unit_test(closes_who_reads_nothing),
        cmocka_unit_test(closes_the_idle),
        cmocka_unit_test(closes_who_trickles),
        cmocka_unit_test(waits_with_who_waits),
        cmocka_unit_test(bounds_connections),
        cmocka_unit_test(leaves_some_to_others),
        cmocka_unit_test(waits_for_descriptors),
        cmocka_unit_test(closes_on_nonsense),
        cmocka_unit_test(goes_on_behind_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
