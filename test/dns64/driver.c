/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * DNS64 behind a pipe, for tests in another language: rules, what upstream servers say, and queries come as
 * lines, replies go out as lines. No sockets, no resolver, no clock.
 *
 *     rules                          forget rules and results
 *     prefix ADDRESS/LENGTH NETWORK...   one more prefix, for all clients and these IPv4 networks
 *     exclude NETWORK                AAAA records that count as absent
 *     exempt NAME                    never synthesised
 *     result NAME TYPE STATE HEX     what a lookup finds: secure, insecure, bogus, failed, timeout; "-" for
 * no message. What has no result ends as failed ask VIEW udp|tcp HEX           a query, by a client with
 * these prefixes (a number, a bit each). Prints "lookup NAME TYPE checked|unchecked" for each, then "reply
 * HEX SECONDS", the latter those for which it may be cached
 *
 * IPv4 networks stand as ::ffff:0:0/96. A line that cannot be understood ends it with status 1.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dns64/inquiry.h"

enum { RESULTS = 64, LINE = 2 * DNS_MESSAGE_MAX + 1024, OUR_UDP_SIZE = 1232, LOOKUPS_MAXIMUM = 32 };

struct result {
    struct dns_name name;
    uint16_t type;
    struct looked_up found;
    uint8_t *message;
};

static struct dns_rules rules;
static struct dns_name exempt[RULES_NAMES];
static struct result results[RESULTS];
static unsigned result_count;
static char line[LINE];
static uint8_t answer_bytes[DNS_MESSAGE_MAX], reply[DNS_MESSAGE_MAX];
static struct inquiry inquiry;

static void demand(bool condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "driver: %s: %s\n", what, line);
        exit(1);
    }
}

static char *word(char **rest)
{
    char *found = strsep(rest, " ");
    demand(found != NULL && *found != 0, "a word is missing");
    return found;
}

static struct rules_network network_of(char *text)
{
    struct rules_network network;
    char *slash = strchr(text, '/');
    demand(slash != NULL, "no length");
    *slash = 0;
    demand(inet_pton(AF_INET6, text, &network.address) == 1, "no address");
    network.length = (uint8_t)strtoul(slash + 1, NULL, 10);
    return network;
}

static size_t bytes_of(const char *text, uint8_t *bytes, size_t room)
{
    size_t size = strlen(text) / 2;
    demand(size <= room, "too many bytes");
    for (size_t i = 0; i < size; i++) {
        char pair[3] = {text[2 * i], text[2 * i + 1], 0};
        bytes[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
    return size;
}

static void forget(void)
{
    while (result_count > 0)
        free(results[--result_count].message);
    memset(&rules, 0, sizeof(rules));
    rules.names = exempt;
    rules.negative_ttl = 300;
}

static void take_prefix(char *rest)
{
    struct rules_network network = network_of(word(&rest));
    struct rules_prefix *prefix = &rules.prefixes[rules.prefix_count++];
    demand(rules.prefix_count <= RULES_PREFIXES, "too many prefixes");
    prefix->prefix = (struct rfc6052_prefix){.address = network.address, .length = network.length};
    prefix->client_count = 1; /* ::/0 */
    while (rest != NULL && prefix->ipv4_count < RULES_NETWORKS)
        prefix->ipv4[prefix->ipv4_count++] = network_of(word(&rest));
}

static enum lookup_state state_of(const char *text)
{
    static const char *const states[] = {"insecure", "secure", "bogus", "failed", "timeout", "busy"};
    for (unsigned i = 0; i < sizeof(states) / sizeof(states[0]); i++)
        if (strcmp(states[i], text) == 0)
            return (enum lookup_state)i;
    demand(false, "no such state");
    return LOOKUP_FAILED;
}

static void take_result(char *rest)
{
    struct result *result = &results[result_count];
    const char *hex;
    demand(result_count < RESULTS, "too many results");
    demand(dns_name_parse(&result->name, word(&rest)), "no name");
    result->type = (uint16_t)strtoul(word(&rest), NULL, 10);
    result->found = (struct looked_up){.state = state_of(word(&rest))};
    result->message = NULL;
    hex = word(&rest);
    if (strcmp(hex, "-") != 0) {
        /* As large as the message and no larger, for the sanitizers to see. */
        result->message = malloc(strlen(hex) / 2);
        demand(result->message != NULL, "no memory");
        result->found.size = bytes_of(hex, result->message, DNS_MESSAGE_MAX);
        result->found.message = result->message;
    }
    result_count++;
}

static struct looked_up look_up(const struct lookup *lookup)
{
    char text[DNS_NAME_TEXT_MAX];
    dns_name_print(&lookup->name, text);
    printf("lookup %s %u %s\n", text, lookup->type, lookup->unchecked ? "unchecked" : "checked");
    for (unsigned i = 0; i < result_count; i++)
        if (results[i].type == lookup->type && dns_name_equal(&results[i].name, &lookup->name))
            return results[i].found;
    return (struct looked_up){.state = LOOKUP_FAILED};
}

static void run(const struct inquiry_question *question, struct answer *answer)
{
    enum inquiry_step step = inquiry_begin(&inquiry, question, &rules, answer);
    for (unsigned i = 0; step == INQUIRY_ASK; i++) {
        struct looked_up result = look_up(&inquiry.ask);
        demand(i < LOOKUPS_MAXIMUM, "no end of lookups");
        step = inquiry_continue(&inquiry, &result, answer);
    }
}

static void take_query(char *rest)
{
    static uint8_t bytes[DNS_MESSAGE_MAX];
    struct answer answer = {.message = answer_bytes};
    struct answer_wish wish = {.limit = DNS_MESSAGE_MAX, .udp_size = OUR_UDP_SIZE};
    struct inquiry_question question = {.view = (rules_view)strtoul(word(&rest), NULL, 10)};
    struct dns_query query;
    bool tcp = strcmp(word(&rest), "tcp") == 0;
    size_t size = bytes_of(word(&rest), bytes, sizeof(bytes));
    demand(dns_query_read(&query, bytes, size) == DNS_VERDICT_ANSWER, "no query");
    if (!tcp)
        wish.limit = dns_query_udp_limit(&query, OUR_UDP_SIZE);
    question.name = query.question.name;
    question.type = query.question.type;
    question.class = query.question.class;
    question.dnssec_ok = query.edns.present && query.edns.dnssec_ok;
    question.checking_disabled = query.header.checking_disabled;
    rules_seal(&rules);
    run(&question, &answer);
    size = answer_reply(&answer, &query, &wish, reply);
    printf("reply ");
    for (size_t i = 0; i < size; i++)
        printf("%02x", reply[i]);
    printf(" %u\n", answer.ttl);
}

static void take_line(char *rest)
{
    const char *what = word(&rest);
    if (strcmp(what, "rules") == 0) {
        forget();
    } else if (strcmp(what, "prefix") == 0) {
        take_prefix(rest);
    } else if (strcmp(what, "exclude") == 0) {
        demand(rules.excluded_count < RULES_NETWORKS, "too many networks");
        rules.excluded[rules.excluded_count++] = network_of(word(&rest));
    } else if (strcmp(what, "exempt") == 0) {
        demand(rules.name_count < RULES_NAMES, "too many names");
        demand(dns_name_parse(&exempt[rules.name_count], word(&rest)), "no name");
        dns_name_lower(&exempt[rules.name_count++]);
    } else if (strcmp(what, "result") == 0) {
        take_result(rest);
    } else {
        demand(strcmp(what, "ask") == 0, "what is this?");
        take_query(rest);
    }
}

int main(void)
{
    forget();
    while (fgets(line, sizeof(line), stdin) != NULL) {
        line[strcspn(line, "\n")] = 0;
        take_line(line);
    }
    forget();
    return 0;
}
