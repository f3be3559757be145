/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the name service counts: one list, from which come the numbers, their names and their sentences. Each
 * worker has counters of its own, which it alone writes.
 */
#ifndef DNS64_COUNTERS_H
#define DNS64_COUNTERS_H

#include <stdint.h>

/* X(identifier, name, class, sentence) */
#define DNS64_COUNTERS(X)                                                                                    \
    X(QUERIES_UDP, "queries-udp", "queries", "Messages that came over UDP.")                                 \
    X(QUERIES_TCP, "queries-tcp", "queries", "Messages that came over TCP.")                                 \
    X(CACHE_HITS, "cache-hits", "answers", "Answered from the cache of finished answers.")                   \
    X(CACHE_STALE, "cache-stale", "answers", "Answered with what was past its TTL, as nothing newer came.")  \
    X(LOCAL, "local", "answers", "Answered without asking anybody: ipv4only.arpa and its like.")             \
    X(PASSED, "passed", "answers", "Passed on as resolved.")                                                 \
    X(SYNTHESIZED, "synthesized", "answers", "Answered with records of our own making.")                     \
    X(TRUNCATED, "truncated", "answers", "Did not fit; the client was told to come over TCP.")               \
    X(JOINED, "joined", "answers", "Waited for a question that was under way for another client.")           \
    X(LOOKUPS, "lookups", "upstream", "Lookups handed to the resolver.")                                     \
    X(TLS_UNTRUSTED, "tls-untrusted", "upstream",                                                            \
      "Connections given up for the upstream's certificate: see its #NAME in dns64.upstream.")               \
    X(TLS_FAILED, "tls-failed", "upstream", "Connections by TLS that could not be made for another reason.") \
    X(MALFORMED, "malformed", "refused", "Not a DNS query that can be read: FORMERR, or silence.")           \
    X(RESPONSES, "responses", "refused", "Responses, scraps, and what echo or chargen send: silence.")       \
    X(NOT_IMPLEMENTED, "not-implemented", "refused", "Another opcode than QUERY: NOTIMP.")                   \
    X(BAD_VERSION, "bad-version", "refused", "EDNS of a version above 0: BADVERS.")                          \
    X(REFUSED, "refused", "refused", "From an address that may not ask: REFUSED. See dns64.clients.")        \
    X(REFUSED_TYPE, "refused-type", "refused", "A transfer, a type that is no data, or a class but IN.")     \
    X(NOT_RECURSIVE, "not-recursive", "refused",                                                             \
      "Without RD: REFUSED, since what is cached is nobody's news.")                                         \
    X(RATE_LIMITED, "rate-limited", "refused", "Over dns64.rate-limit.per-client: dropped, or truncated.")   \
    X(BOGUS, "bogus", "failures", "DNSSEC validation failed: SERVFAIL.")                                     \
    X(FAILED, "failed", "failures", "No server gave an answer: SERVFAIL.")                                   \
    X(TIMED_OUT, "timed-out", "failures", "No answer in time: SERVFAIL.")                                    \
    X(BUSY, "busy", "failures", "Too many questions were under way: SERVFAIL.")                              \
    X(SEND_ERRORS, "send-errors", "failures", "Replies that the kernel did not take.")                       \
    X(TCP_ACCEPTED, "tcp-accepted", "tcp", "Connections accepted.")                                          \
    X(TCP_REFUSED, "tcp-refused", "tcp",                                                                     \
      "Connections closed at once: dns64.tcp.connections, or half by one.")                                  \
    X(TCP_IDLE, "tcp-idle", "tcp", "Connections closed for idling.")

#define DNS64_COUNTER_ENUM(identifier, name, class, sentence) DNS64_##identifier,
enum dns64_counter { DNS64_COUNTERS(DNS64_COUNTER_ENUM) DNS64_COUNTER_COUNT };
#undef DNS64_COUNTER_ENUM

struct dns64_counter_text {
    const char *name, *class, *sentence;
};
extern const struct dns64_counter_text dns64_counter_texts[DNS64_COUNTER_COUNT];

/* Time from a lookup to its end, milliseconds: bucket i counts those below 2^i, the last one all others. */
enum { DNS64_LATENCIES = 14 };

struct dns64_counters {
    uint64_t count[DNS64_COUNTER_COUNT];
    uint64_t latency[DNS64_LATENCIES];
};

#endif /* DNS64_COUNTERS_H */
