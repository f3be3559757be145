/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Questions under way.
 *
 *     questions_ask -> [join]                         somebody has asked the same: wait with them
 *                   -> [begin] -> INQUIRY_DONE        answered on the spot
 *                              -> INQUIRY_ASK -> the resolver -> looked_up -> ... -> conclude
 *
 * Every lookup ends: the resolver sees to its patience, which is what is left of SERVER_PATIENCE. So a
 * question needs no timer, and its place, from an array of fixed size, comes back in time. A lookup of AAAA
 * records gets SERVER_LOOKUP_PATIENCE at most, so that there is time for that of the A records.
 *
 * Nobody may have all places: a client (an IPv6 /64, an IPv4 address) may have half as many queries waiting
 * as there are places for questions. Clients are told apart by a keyed hash in a table of fixed size, so two
 * of them may share a share, by chance and not by anyone's choice. The same goes for lookups, which outlast
 * the questions that they were for if servers are silent: they are counted by the resolver, on the account of
 * the client that asked first.
 *
 * With serve-stale there are two moments at which an answer past its TTL is better than what there is (RFC
 * 8767 section 5): when a question has failed, and when it has taken 1.8 seconds. After the second the
 * question goes on, for the sake of those to come. All questions wait equally long for that moment, so they
 * stand in a list in the order in which they began, and there is one timer. Who asks what has failed not long
 * ago does not wait at all: the stale answer goes out at once, and the question is asked without clients.
 */
#include "dns64/questions.h"

#include <stdlib.h>

#include "dns64/tcp.h"

enum {
    BUCKETS = 4096,
};
_Static_assert((int)WORKER_SHARES <= (int)RESOLVER_SHARES, "the resolver tells as many clients apart");

/* A client that waits. */
struct waiting {
    struct waiting *next; /* or the next free one */
    struct dns_query query;
    struct reply_path path;
    uint32_t share;
};

struct question {
    struct question *chain; /* the next in the bucket, or the next free one */
    uint64_t hash;
    struct dns_worker *worker;
    struct version *version;
    struct inquiry inquiry;
    struct waiting *first, **last;    /* in the order in which they came */
    uint32_t crowd;                   /* how many */
    uint32_t share;                   /* of who came first */
    uint64_t began, asked;            /* nanoseconds: the question, the lookup under way */
    uint64_t deadline;                /* nanoseconds: it gives up */
    bool gave_up;                     /* something is missing in the answer */
    enum lookup_state state;          /* what came of the last lookup */
    struct question *older, *younger; /* of those that have not come to their 1.8 seconds */
    bool overdue;                     /* this one has */
};

/* A question that has failed, by its hash: it is forgotten for another one with the same place. */
struct failure {
    uint64_t hash;
    uint64_t until; /* nanoseconds, for which it counts */
};

struct questions {
    struct question *buckets[BUCKETS];
    struct question places[SERVER_QUESTIONS];
    struct question *free_places;
    uint32_t places_used; /* those behind have never been used, and their memory was never touched */
    struct waiting crowd[SERVER_WAITING];
    struct waiting *free_waiting;
    uint32_t crowd_used; /* likewise */
    uint16_t shares[WORKER_SHARES];
    struct question *oldest, *youngest;
    struct event *stale_timer;
    struct failure failures[BUCKETS]; /* with serve-stale */
};

static void ask(struct question *question);

/*** Places ***/

static uint64_t hash_question(const struct server *server, const struct inquiry_question *asked)
{
    uint64_t rest = (uint64_t)asked->type << 32 | (uint64_t)asked->view << 16 |
                    (uint64_t)asked->dnssec_ok << 1 | (uint64_t)asked->checking_disabled;
    return dns_name_hash(&asked->name, server->key) + rest * 0x9e3779b97f4a7c15u;
}

static bool same_question(const struct inquiry_question *a, const struct inquiry_question *b)
{
    return a->type == b->type && a->class == b->class && a->view == b->view && a->dnssec_ok == b->dnssec_ok &&
           a->checking_disabled == b->checking_disabled && dns_name_equal(&a->name, &b->name);
}

static struct question **bucket_of(struct questions *questions, uint64_t hash)
{
    return &questions->buckets[(hash >> 32) % BUCKETS];
}

/* One under way by the same rules. */
static struct question *find(struct dns_worker *worker, const struct inquiry_question *asked, uint64_t hash)
{
    struct question *question = *bucket_of(worker->questions, hash);
    while (question != NULL && (question->hash != hash || question->version != worker->version ||
                                !same_question(&question->inquiry.question, asked)))
        question = question->chain;
    return question;
}

static struct question *take_place(struct dns_worker *worker, uint64_t hash)
{
    struct questions *questions = worker->questions;
    struct question *question = questions->free_places;
    if (question != NULL)
        questions->free_places = question->chain;
    else if (questions->places_used < SERVER_QUESTIONS)
        question = &questions->places[questions->places_used++];
    else
        return NULL;
    question->hash = hash;
    question->worker = worker;
    question->version = worker->version;
    version_take(question->version);
    question->first = NULL;
    question->last = &question->first;
    question->crowd = 0;
    question->began = worker->now;
    question->deadline = worker->now + (uint64_t)SERVER_PATIENCE * NANOSECONDS_A_MILLISECOND;
    question->gave_up = false;
    question->state = LOOKUP_INSECURE;
    question->overdue = false;
    return question;
}

static void leave_place(struct question *question)
{
    struct questions *questions = question->worker->questions;
    version_drop(question->version);
    question->chain = questions->free_places;
    questions->free_places = question;
}

static void unlist_age(struct question *question)
{
    struct questions *questions = question->worker->questions;
    *(question->older != NULL ? &question->older->younger : &questions->oldest) = question->younger;
    *(question->younger != NULL ? &question->younger->older : &questions->youngest) = question->older;
    question->overdue = true;
}

/* Sets the timer to when the oldest has taken 1.8 seconds. */
static void set_stale_timer(struct dns_worker *worker)
{
    struct questions *questions = worker->questions;
    if (questions->oldest != NULL && !evtimer_pending(questions->stale_timer, NULL))
        dns_worker_set_timer(worker, questions->stale_timer,
                             questions->oldest->began +
                                 (uint64_t)QUESTIONS_STALE * NANOSECONDS_A_MILLISECOND);
}

/* From now on others can join it. */
static void list(struct question *question)
{
    struct dns_worker *worker = question->worker;
    struct questions *questions = worker->questions;
    struct question **bucket = bucket_of(questions, question->hash);
    question->chain = *bucket;
    *bucket = question;
    counter_add(&worker->questions_now, 1);
    question->younger = NULL;
    question->older = questions->youngest;
    *(questions->youngest != NULL ? &questions->youngest->younger : &questions->oldest) = question;
    questions->youngest = question;
    if (worker->server->options.serve_stale)
        set_stale_timer(worker);
}

static void unlist(struct question *question)
{
    struct question **link = bucket_of(question->worker->questions, question->hash);
    while (*link != question)
        link = &(*link)->chain;
    *link = question->chain;
    counter_add(&question->worker->questions_now, (uint64_t)-1);
    if (!question->overdue)
        unlist_age(question);
}

/*** Who waits ***/

static struct waiting *take_waiting(struct questions *questions)
{
    struct waiting *waiting = questions->free_waiting;
    if (waiting != NULL)
        questions->free_waiting = waiting->next;
    else if (questions->crowd_used < SERVER_WAITING)
        waiting = &questions->crowd[questions->crowd_used++];
    return waiting;
}

/* False if there is no room for one more. */
static bool wait_for(struct question *question, const struct client_query *client)
{
    struct dns_worker *worker = question->worker;
    struct questions *questions = worker->questions;
    uint32_t share = dns_worker_share(worker, &client->path->client);
    struct waiting *waiting;
    if (question->crowd == QUESTIONS_CROWD || questions->shares[share] == QUESTIONS_SHARE ||
        (waiting = take_waiting(questions)) == NULL)
        return false;
    questions->shares[share]++;
    counter_add(&worker->waiting_now, 1);
    waiting->next = NULL;
    waiting->query = *client->query;
    waiting->path = *client->path;
    waiting->share = share;
    *question->last = waiting;
    question->last = &waiting->next;
    question->crowd++;
    if (waiting->path.connection != NULL)
        tcp_hold(waiting->path.connection);
    return true;
}

/* Replies to all who wait for a question. */
static void reply_all(struct question *question, const struct answer *answer, struct reply_age age)
{
    struct dns_worker *worker = question->worker;
    struct questions *questions = worker->questions;
    struct waiting *waiting;
    while ((waiting = question->first) != NULL) {
        struct tcp_connection *connection = waiting->path.connection;
        if (connection == NULL || tcp_is_open(connection))
            reply_answer(worker, &(struct client_query){&waiting->query, &waiting->path}, answer, age);
        if (connection != NULL)
            tcp_release(connection);
        question->first = waiting->next;
        questions->shares[waiting->share]--;
        counter_add(&worker->waiting_now, (uint64_t)-1);
        waiting->next = questions->free_waiting;
        questions->free_waiting = waiting;
    }
    question->last = &question->first;
    question->crowd = 0;
}

static void refuse_busy(struct dns_worker *worker, const struct client_query *client)
{
    dns_worker_count(worker, DNS64_BUSY);
    reply_refusal(worker, client, DNS_RCODE_SERVFAIL, ANSWER_ERROR_NOT_READY);
}

/*** Stale answers ***/

/* What the cache has for a question, stale or, by another worker, fresh; into worker->stale. */
static bool find_stale(struct dns_worker *worker, const struct inquiry_question *asked,
                       const struct version *version, struct reply_age *age)
{
    struct server *server = worker->server;
    enum cache_found found;
    if (!server->options.serve_stale || !version_cached(version, server))
        return false;
    found = cache_find(server->cache, asked, dns_worker_seconds(worker), &worker->stale, &age->age);
    age->stale = found == CACHE_STALE;
    return found != CACHE_ABSENT;
}

static struct failure *failure_of(struct questions *questions, uint64_t hash)
{
    return &questions->failures[(hash >> 32) % BUCKETS];
}

static bool has_failed(struct dns_worker *worker, uint64_t hash)
{
    const struct failure *failure = failure_of(worker->questions, hash);
    return failure->hash == hash && worker->now < failure->until;
}

static void note_outcome(const struct question *question, bool failed)
{
    struct dns_worker *worker = question->worker;
    struct failure *failure = failure_of(worker->questions, question->hash);
    if (failed)
        *failure = (struct failure){question->hash, worker->now + (uint64_t)QUESTIONS_FAILED * 1000 *
                                                                      NANOSECONDS_A_MILLISECOND};
    else if (failure->hash == question->hash)
        failure->until = 0;
}

/* Answers one client with what is stale, if there is such an answer. */
static bool answer_at_once(struct dns_worker *worker, const struct question *question,
                           const struct client_query *client)
{
    struct reply_age age;
    if (!find_stale(worker, &question->inquiry.question, question->version, &age))
        return false;
    dns_worker_count(worker, age.stale ? DNS64_CACHE_STALE : DNS64_CACHE_HITS);
    reply_answer(worker, client, &worker->stale, age);
    return true;
}

static bool answer_stale(struct question *question)
{
    struct dns_worker *worker = question->worker;
    struct reply_age age;
    if (question->first == NULL || !find_stale(worker, &question->inquiry.question, question->version, &age))
        return false;
    counter_add(&worker->count[age.stale ? DNS64_CACHE_STALE : DNS64_CACHE_HITS], question->crowd);
    reply_all(question, &worker->stale, age);
    return true;
}

static void on_stale_timer(int fd, short what, void *context)
{
    struct dns_worker *worker = context;
    struct questions *questions = worker->questions;
    const uint64_t patience = (uint64_t)QUESTIONS_STALE * NANOSECONDS_A_MILLISECOND;
    (void)fd;
    (void)what;
    dns_worker_tick(worker);
    while (questions->oldest != NULL && worker->now - questions->oldest->began >= patience) {
        struct question *question = questions->oldest;
        unlist_age(question);
        answer_stale(question);
    }
    set_stale_timer(worker);
}

/*** The course of a question ***/

static enum dns64_counter kind_of(const struct question *question, const struct answer *answer)
{
    static const enum dns64_counter failures[] = {
        [LOOKUP_INSECURE] = DNS64_FAILED, [LOOKUP_SECURE] = DNS64_FAILED,     [LOOKUP_BOGUS] = DNS64_BOGUS,
        [LOOKUP_FAILED] = DNS64_FAILED,   [LOOKUP_TIMEOUT] = DNS64_TIMED_OUT, [LOOKUP_BUSY] = DNS64_BUSY,
    };
    if (answer->rcode == DNS_RCODE_SERVFAIL)
        return failures[question->state];
    return answer->synthesized ? DNS64_SYNTHESIZED : DNS64_PASSED;
}

static void keep(const struct question *question, struct answer *answer)
{
    struct dns_worker *worker = question->worker;
    /* It would take the place of what is stale, and that is better. */
    if (answer->rcode == DNS_RCODE_SERVFAIL && worker->server->options.serve_stale)
        return;
    if (question->gave_up && answer->ttl > QUESTIONS_INCOMPLETE_TTL)
        answer->ttl = QUESTIONS_INCOMPLETE_TTL;
    if (answer->ttl != ANSWER_TTL_NONE && version_cached(question->version, worker->server))
        cache_store(worker->server->cache, &question->inquiry.question, dns_worker_seconds(worker), answer);
}

/* The answer is worker->answer. */
static void conclude(struct question *question)
{
    struct dns_worker *worker = question->worker;
    struct answer *answer = &worker->answer;
    bool failed = answer->rcode == DNS_RCODE_SERVFAIL;
    unlist(question);
    dns_worker_count(worker, kind_of(question, answer));
    if (worker->server->options.serve_stale)
        note_outcome(question, failed);
    if (!failed || !answer_stale(question)) {
        /* A failure must not take the place of a stale answer. */
        if (!failed || !worker->server->options.serve_stale)
            keep(question, answer);
        reply_all(question, answer, (struct reply_age){.age = 0});
    }
    leave_place(question);
}

/*
 * What is asked after the record itself only adds to the answer, and that is not to wait long for it, nor to
 * be kept for long without it.
 */
static void limit_additions(struct question *question)
{
    uint64_t limit = question->worker->now + (uint64_t)QUESTIONS_ADDITIONS * NANOSECONDS_A_MILLISECOND;
    if (question->inquiry.question.type != DNS_TYPE_SVCB && question->inquiry.question.type != DNS_TYPE_HTTPS)
        return;
    if (question->deadline > limit)
        question->deadline = limit;
    if (question->state == LOOKUP_TIMEOUT || question->state == LOOKUP_BUSY)
        question->gave_up = true;
}

static void count_latency(struct dns_worker *worker, uint64_t nanoseconds)
{
    uint64_t milliseconds = nanoseconds / NANOSECONDS_A_MILLISECOND;
    unsigned bucket = 0;
    while (bucket < DNS64_LATENCIES - 1 && milliseconds >> bucket != 0)
        bucket++;
    counter_add(&worker->latency[bucket], 1);
}

static void looked_up(void *context, const struct looked_up *result)
{
    struct question *question = context;
    struct dns_worker *worker = question->worker;
    dns_worker_tick(worker);
    count_latency(worker, worker->now - question->asked);
    question->state = result->state;
    limit_additions(question);
    if (inquiry_continue(&question->inquiry, result, &worker->answer) == INQUIRY_ASK)
        ask(question);
    else
        conclude(question);
}

static void ask(struct question *question)
{
    struct dns_worker *worker = question->worker;
    /* The inquiry moves on from within the call if the resolver knows the answer. */
    const struct lookup lookup = question->inquiry.ask;
    uint64_t left = 0;
    if (question->deadline > worker->now)
        left = (question->deadline - worker->now) / NANOSECONDS_A_MILLISECOND;
    if (left == 0) {
        question->gave_up = true;
        inquiry_give_up(&question->inquiry, &worker->answer);
        conclude(question);
        return;
    }
    question->asked = worker->now;
    dns_worker_count(worker, DNS64_LOOKUPS);
    resolver_ask(worker->resolver, &lookup,
                 &(struct resolver_asker){
                     .done = looked_up,
                     .context = question,
                     .share = question->share,
                     .patience = left < SERVER_LOOKUP_PATIENCE ? (unsigned)left : SERVER_LOOKUP_PATIENCE,
                 });
}

/* Waits with those who have asked the same. */
static void join(struct question *question, const struct client_query *client)
{
    struct dns_worker *worker = question->worker;
    if ((question->overdue || has_failed(worker, question->hash)) && answer_at_once(worker, question, client))
        return;
    if (wait_for(question, client))
        dns_worker_count(worker, DNS64_JOINED);
    else
        refuse_busy(worker, client);
}

void questions_ask(struct dns_worker *worker, const struct inquiry_question *asked,
                   const struct client_query *client)
{
    uint64_t hash = hash_question(worker->server, asked);
    struct question *question = find(worker, asked, hash);
    if (question != NULL) {
        join(question, client);
        return;
    }
    question = take_place(worker, hash);
    if (question == NULL) {
        refuse_busy(worker, client);
        return;
    }
    if (inquiry_begin(&question->inquiry, asked, &worker->version->rules->rules, &worker->answer) ==
        INQUIRY_DONE) {
        dns_worker_count(worker, DNS64_LOCAL);
        keep(question, &worker->answer);
        reply_answer(worker, client, &worker->answer, (struct reply_age){.age = 0});
        leave_place(question);
    } else if (!(has_failed(worker, hash) && answer_at_once(worker, question, client)) &&
               !wait_for(question, client)) {
        refuse_busy(worker, client);
        leave_place(question);
    } else {
        question->share = dns_worker_share(worker, &client->path->client);
        list(question);
        ask(question);
    }
}

/* The end: their connections are not to wait for them. */
static void forget_waiting(const struct question *question)
{
    for (struct waiting *waiting = question->first; waiting != NULL; waiting = waiting->next) {
        if (waiting->path.connection != NULL)
            tcp_release(waiting->path.connection);
    }
}

bool questions_open(struct dns_worker *worker)
{
    struct questions *questions = calloc(1, sizeof(*questions));
    worker->questions = questions;
    if (questions == NULL)
        return false;
    questions->stale_timer = evtimer_new(worker->base, on_stale_timer, worker);
    return questions->stale_timer != NULL;
}

void questions_close(struct dns_worker *worker)
{
    struct questions *questions = worker->questions;
    if (questions == NULL)
        return;
    for (size_t i = 0; i < BUCKETS; i++) {
        struct question *question;
        for (question = questions->buckets[i]; question != NULL; question = question->chain) {
            forget_waiting(question);
            version_drop(question->version);
        }
    }
    if (questions->stale_timer != NULL)
        event_free(questions->stale_timer);
    free(questions);
}

size_t questions_memory(void)
{
    return sizeof(struct questions);
}
