/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What becomes of a message, in this order:
 *
 *     a response, a scrap, a port that answers anything    silence
 *     malformed                                            FORMERR
 *     another opcode, another version of EDNS              NOTIMP, BADVERS
 *     from somebody who is no client                       REFUSED
 *     over the rate                                        TC or silence; REFUSED over TCP
 *     without RD                                           REFUSED
 *     not for data of class IN                             REFUSED, NOTIMP; HINFO for ANY
 *     in the cache                                         the answer
 *     anything else                                        a question, see questions.c
 *
 * No error is larger than the message it answers but for the OPT record, so there is nothing to amplify. And
 * since every reply says that it is one, and responses get silence, no two servers can be made to talk to
 * each other; nor can one be made to talk to the small services of old that send something back whatever they
 * get (RFC 862, 864 and others), one of which would take an error for a reason to go on.
 *
 * Strangers are turned away before rates are counted: they could otherwise use up those of clients. And since
 * anybody may send datagrams with a client's address, TCP is counted by itself: who has to come again over
 * TCP because somebody else has used up its rate is answered there.
 *
 * Without RD there is no answer from the cache, either: it would tell one client what others have asked (as
 * most resolvers have it). RFC 8914 section 4.21 names the reason to give.
 */
#include "dns64/queries.h"

#include "dns64/questions.h"
#include "dns64/replies.h"

enum {
    TYPE_IXFR = 251,
    TYPE_AXFR = 252,
    META_FIRST = 128, /* RFC 6895 section 3.1: 128 to 255 are of queries and of messages, not of data */
    META_LAST = 255,
};

void queries_note(struct dns_worker *worker, const struct arrival *arrival, enum dns64_counter reason)
{
    const struct server_options *options = &worker->server->options;
    struct sockaddr_in6 from, to;
    dns_worker_count(worker, reason);
    if (options->seen == NULL)
        return;
    from = socket_address_told(&arrival->path->from);
    to = reply_path_local(worker, arrival->path);
    options->seen(options->seen_context, &(struct server_seen){
                                             .reason = reason,
                                             .tcp = arrival->path->connection != NULL,
                                             .worker = worker->number,
                                             .from = &from,
                                             .to = &to,
                                             .bytes = arrival->bytes,
                                             .size = arrival->size,
                                         });
}

/* Services that answer whatever they get: echo, discard's peers, daytime, quotd, chargen, time. */
static bool port_answers_anything(uint16_t port)
{
    return port == 0 || port == 7 || port == 13 || port == 17 || port == 19 || port == 37;
}

static uint16_t path_port(const struct reply_path *path)
{
    return ntohs(path->from.any.sa_family == AF_INET6 ? path->from.ipv6.sin6_port : path->from.ipv4.sin_port);
}

/* Reads the message. True if it is a query; otherwise what is to be said has been said. */
static bool read_query(struct dns_worker *worker, const struct arrival *arrival, struct dns_query *query,
                       bool *silence)
{
    static const enum dns64_counter counters[] = {
        [DNS_VERDICT_ANSWER] = DNS64_MALFORMED,    [DNS_VERDICT_SILENCE] = DNS64_RESPONSES,
        [DNS_VERDICT_FORMERR] = DNS64_MALFORMED,   [DNS_VERDICT_NOTIMP] = DNS64_NOT_IMPLEMENTED,
        [DNS_VERDICT_BADVERS] = DNS64_BAD_VERSION,
    };
    _Static_assert(sizeof(counters) / sizeof(counters[0]) == DNS_VERDICTS, "one counter a verdict");
    enum dns_verdict verdict = dns_query_read(query, arrival->bytes, arrival->size);
    if (arrival->cut && verdict == DNS_VERDICT_ANSWER)
        verdict = DNS_VERDICT_FORMERR;
    if (arrival->path->connection == NULL && port_answers_anything(path_port(arrival->path)))
        verdict = DNS_VERDICT_SILENCE;
    if (verdict == DNS_VERDICT_ANSWER)
        return true;
    queries_note(worker, arrival, counters[verdict]);
    *silence = verdict == DNS_VERDICT_SILENCE;
    if (!*silence)
        reply_refusal(worker, &(struct client_query){query, arrival->path}, dns_verdict_rcode(verdict),
                      ANSWER_ERROR_NONE);
    return false;
}

/* The rcode for a question that is not for data of class IN; NOERROR if it is. */
static uint16_t refused_kind(const struct dns_question *question)
{
    if (question->type == TYPE_AXFR || question->type == TYPE_IXFR || question->class != DNS_CLASS_IN)
        return DNS_RCODE_REFUSED;
    if (question->type == 0 || question->type == DNS_TYPE_OPT ||
        (question->type >= META_FIRST && question->type < META_LAST))
        return DNS_RCODE_NOTIMP;
    return DNS_RCODE_NOERROR;
}

static void limit_rate(struct dns_worker *worker, const struct arrival *arrival,
                       const struct client_query *client)
{
    queries_note(worker, arrival, DNS64_RATE_LIMITED);
    if (arrival->path->connection != NULL) {
        reply_refusal(worker, client, DNS_RCODE_REFUSED, ANSWER_ERROR_NONE);
        return;
    }
    worker->slip = !worker->slip;
    if (worker->slip)
        reply_truncated(worker, client);
}

/*
 * Turns away what is not to be answered as it asks; true if it is.
 * rfc: 8914-4.19-a, 8914-4.21-b, 8914-4.22-a
 */
static bool admit(struct dns_worker *worker, const struct arrival *arrival, const struct client_query *client)
{
    const struct clients *clients = &worker->version->rules->clients;
    const struct ipv6_address *address = &arrival->path->client;
    struct server *server = worker->server;
    struct rates *rates = arrival->path->connection != NULL ? server->stream_rates : server->rates;
    uint16_t rcode;
    if (!clients_allow(clients, address)) {
        queries_note(worker, arrival, DNS64_REFUSED);
        reply_refusal(worker, client, DNS_RCODE_REFUSED, ANSWER_ERROR_PROHIBITED);
        return false;
    }
    if (clients->rate != 0 && !rates_take(rates, address, clients->rate, worker->now)) {
        limit_rate(worker, arrival, client);
        return false;
    }
    if (!client->query->header.recursion_desired) {
        queries_note(worker, arrival, DNS64_NOT_RECURSIVE);
        reply_refusal(worker, client, DNS_RCODE_REFUSED, ANSWER_ERROR_NOT_RECURSIVE);
        return false;
    }
    rcode = refused_kind(&client->query->question);
    if (rcode != DNS_RCODE_NOERROR) {
        queries_note(worker, arrival, DNS64_REFUSED_TYPE);
        reply_refusal(worker, client, rcode, ANSWER_ERROR_NOT_SUPPORTED);
        return false;
    }
    if (client->query->question.type == DNS_TYPE_ANY) {
        queries_note(worker, arrival, DNS64_REFUSED_TYPE);
        reply_any(worker, client);
        return false;
    }
    return true;
}

/* Answers from the cache; false if that has nothing fresh. */
static bool answer_cached(struct dns_worker *worker, const struct inquiry_question *question,
                          const struct client_query *client)
{
    struct server *server = worker->server;
    struct answer answer = {.message = reply_begin(worker, client->path)};
    uint32_t age;
    if (!version_cached(worker->version, server) ||
        cache_find(server->cache, question, dns_worker_seconds(worker), &answer, &age) != CACHE_FRESH)
        return false;
    dns_worker_count(worker, DNS64_CACHE_HITS);
    reply_answer(worker, client, &answer, (struct reply_age){.age = age});
    return true;
}

bool queries_receive(struct dns_worker *worker, const struct arrival *arrival)
{
    struct dns_query query;
    struct inquiry_question question;
    const struct client_query client = {&query, arrival->path};
    bool silence = false;
    dns_worker_count(worker, arrival->path->connection != NULL ? DNS64_QUERIES_TCP : DNS64_QUERIES_UDP);
    if (!read_query(worker, arrival, &query, &silence))
        return !silence;
    if (!admit(worker, arrival, &client))
        return true;
    question = (struct inquiry_question){
        .name = query.question.name,
        .type = query.question.type,
        .class = query.question.class,
        .view = rules_view_of(&worker->version->rules->rules, &arrival->path->client),
        .dnssec_ok = query.edns.dnssec_ok,
        .checking_disabled = query.header.checking_disabled,
    };
    if (!answer_cached(worker, &question, &client))
        questions_ask(worker, &question, &client);
    return true;
}
