/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The configuration of libunbound: a table of what is always the same, then what follows from the options.
 * What is not set is as libunbound has it, which hardens by itself against glue out of place, signatures
 * stripped off, and names below one that does not exist.
 *
 * libunbound reads its files and draws its random numbers when it is first asked. Here that is at once: a
 * context is asked for localhost, which it answers from its own zone and without a socket, so that what is
 * wrong comes out when the program starts, and nothing is read after it has given up its rights.
 *
 * libunbound has one log for the whole process. It goes into a buffer while a context is made, since what
 * was wrong is written there and nowhere else, and to nobody otherwise. That log, and some settings that
 * libunbound keeps in variables of the process, are why contexts are made and ended one at a time.
 */
#include "dns64/resolver_context.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <unbound-event.h>

enum {
    LEAST_CACHE = 64 * 1024, /* bytes of a cache of libunbound, however little memory there is */
    UNCHECKED_SHARE = 4,     /* a context for unchecked lookups has a fourth of the memory: few ask so */
};

struct setting {
    const char *name, *value;
};

static const struct setting settings[] = {
    /* Forging answers: more to guess than port and id (draft-vixie-dnsext-dns0x20), no fragments, and the
       caches are emptied when somebody has sent ten million answers to questions that were not asked. */
    {"use-caps-for-id:", "yes"},
    {"edns-buffer-size:", "1232"},
    {"unwanted-reply-threshold:", "10000000"},
    /* Privacy and fewer questions: RFC 9156, RFC 8198. */
    {"qname-minimisation:", "yes"},
    {"aggressive-nsec:", "yes"},
    {"prefetch-key:", "yes"},
    /* No more than is needed goes into an answer: nobody looks at the rest of it, and it takes memory. */
    {"minimal-responses:", "yes"},
    /* Its result, "secure but to be refused" (RFC 8509), comes out of the event interface as insecure. */
    {"root-key-sentinel:", "no"},
    /* A bogus answer is asked for once more, in case another server has a better one: every lookup of a
       bogus name does so, also of one that is known to be. Why it is bogus has no reader. */
    {"val-max-restart:", "1"},
    {"val-log-level:", "0"},
    /* Sockets at most, each with a port and a question of its own. With those of the second context, 16
       workers stay below 20 000 files. */
    {"outgoing-range:", "512"}, /* twice RESOLVER_SHARE */
    {"outgoing-num-tcp:", "32"},
};

/*
 * Forwarding. What is special about these names (RFC 6303, RFC 6761, RFC 8375) is a matter of the upstream,
 * which in a private network may well know the names of private addresses. They cannot be validated from
 * the root. Without an upstream they stay answered here: the servers of the Internet do not know them, and
 * are not to be bothered. Names of localhost are always answered here, and those below onion. and invalid.
 * never leave.
 *
 * An upstream that does not answer is forgotten to be dead after five seconds, so that it is asked again as
 * soon after it is back. libunbound's own way, to ask it less and less, takes as long as it was away. Nor is
 * it held to be dead sooner: one name whose servers are silent makes a good upstream silent, too, and in a
 * quiet network all other names would have to suffer. Four tries take 5.6 seconds.
 */
static const struct setting forwarding[] = {
    {"unblock-lan-zones:", "yes"},      {"insecure-lan-zones:", "yes"},
    {"local-zone:", "test. nodefault"}, {"local-zone:", "home.arpa. nodefault"},
    {"domain-insecure:", "test."},      {"domain-insecure:", "home.arpa."},
    {"infra-host-ttl:", "5"},           {"outbound-msg-retry:", "4"},
};

/* Without: servers that are dead are asked again now and then, by one question at a time. */
static const struct setting recursing[] = {
    {"infra-keep-probing:", "yes"},
};

#define COUNT(array) (sizeof(array) / sizeof *(array))

const char *resolver_anchors(void)
{
    static const char *const files[] = {"/usr/share/dns/root.key", "/var/lib/unbound/root.key"};
    for (size_t i = 0; i < COUNT(files); i++) {
        if (access(files[i], R_OK) == 0)
            return files[i];
    }
    return NULL;
}

/* What goes wrong while one is made. */
struct making {
    struct ub_ctx *context;
    bool failed;
    char *error;
    size_t size;
};

static void check(struct making *making, const char *what, int failure)
{
    if (failure == 0 || making->failed)
        return;
    making->failed = true;
    snprintf(making->error, making->size, "libunbound does not take %s: %s", what, ub_strerror(failure));
}

static void set(struct making *making, const char *name, const char *value)
{
    check(making, name, ub_ctx_set_option(making->context, name, value));
}

static void set_all(struct making *making, const struct setting *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        set(making, list[i].name, list[i].value);
}

static void set_number(struct making *making, const char *name, size_t number)
{
    char text[24];
    snprintf(text, sizeof text, "%zu", number);
    set(making, name, text);
}

/* Record sets take the most, as in unbound's own advice twice what the messages that point to them take. */
static void set_memory(struct making *making, size_t memory)
{
    static const struct {
        const char *name;
        unsigned share; /* a fraction: one in so many */
    } caches[] = {
        {"rrset-cache-size:", 2}, {"msg-cache-size:", 4}, {"key-cache-size:", 8}, {"neg-cache-size:", 8}};
    for (size_t i = 0; i < COUNT(caches); i++) {
        size_t size = memory / caches[i].share;
        set_number(making, caches[i].name, size < LEAST_CACHE ? LEAST_CACHE : size);
    }
}

/*
 * A family of addresses is left out only if the kernel does not have it. One that has no route now may get
 * one any time, and until then costs no time: sending fails at once.
 */
static void set_family(struct making *making, const char *name, int family)
{
    int probe = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    set(making, name, probe >= 0 || errno != EAFNOSUPPORT ? "yes" : "no");
    if (probe >= 0)
        close(probe);
}

/* The name behind an address is for TLS, which is not libunbound's business. */
static void add_upstream(struct making *making, const char *upstream)
{
    char address[RESOLVER_TEXT];
    snprintf(address, sizeof address, "%.*s", (int)strcspn(upstream, "#"), upstream);
    if (ub_ctx_set_fwd(making->context, address) == 0 || making->failed)
        return;
    making->failed = true;
    snprintf(making->error, making->size, "upstream %s is no address: write ADDRESS or ADDRESS@PORT",
             upstream);
}

/* It chooses the ports of its questions itself, from 1024 on, whatever the kernel is told to spare. */
static void avoid_ports(struct making *making, const struct resolver_options *options)
{
    char text[24];
    for (uint32_t i = 0; i < options->avoided_count; i++) {
        snprintf(text, sizeof text, "%u-%u", options->avoided[i].low, options->avoided[i].high);
        set(making, "outgoing-port-avoid:", text);
    }
}

static void set_upstreams(struct making *making, const struct resolver_options *options)
{
    for (uint32_t i = 0; i < options->upstream_count; i++)
        add_upstream(making, options->upstreams[i]);
    if (options->upstream_count > 0)
        set_all(making, forwarding, COUNT(forwarding));
    else
        set_all(making, recursing, COUNT(recursing));
}

/* True if a line is a record that says DS or DNSKEY; libunbound is content with a file that has none. */
static bool is_anchor(char *line)
{
    line[strcspn(line, ";\n")] = 0;
    for (char *rest = NULL, *word = strtok_r(line, " \t", &rest); word; word = strtok_r(NULL, " \t", &rest)) {
        if (strcasecmp(word, "DS") == 0 || strcasecmp(word, "DNSKEY") == 0)
            return true;
    }
    return false;
}

const char *resolver_anchors_fault(const char *file)
{
    FILE *stream = fopen(file, "re");
    char line[4096];
    bool found = false;
    int failure = 0;
    if (stream == NULL)
        return strerror(errno);
    while (!found && fgets(line, sizeof line, stream) != NULL)
        found = is_anchor(line);
    if (ferror(stream))
        failure = errno; /* such as EISDIR */
    fclose(stream);
    if (failure != 0)
        return strerror(failure);
    return found ? NULL : "it has no DS or DNSKEY record";
}

static void set_anchors(struct making *making, const char *file)
{
    const char *anchors = file[0] != 0 ? file : resolver_anchors(), *fault;
    if (making->failed)
        return;
    if (anchors == NULL) {
        making->failed = true;
        snprintf(making->error, making->size,
                 "there is no file of trust anchors to validate with: install dns-root-data, or name one");
    } else if ((fault = resolver_anchors_fault(anchors)) != NULL) {
        making->failed = true;
        snprintf(making->error, making->size, "trust anchors %s cannot be used: %s", anchors, fault);
    } else {
        check(making, anchors, ub_ctx_add_ta_file(making->context, anchors));
    }
}

/*
 * What is not to be checked is so and handed out all the same, since only one that validates tells its
 * upstream not to: servers that validate themselves would keep bogus data from us (RFC 6840 section 5.9).
 */
static void configure(struct making *making, const struct resolver_options *options, bool checked)
{
    set(making, "module-config:", options->validate ? "validator iterator" : "iterator");
    set(making, "val-permissive-mode:", checked ? "no" : "yes");
    set_all(making, settings, COUNT(settings));
    set_memory(making, checked ? options->memory : options->memory / UNCHECKED_SHARE);
    set_family(making, "do-ip4:", AF_INET);
    set_family(making, "do-ip6:", AF_INET6);
    avoid_ports(making, options);
    set_upstreams(making, options);
    if (options->validate)
        set_anchors(making, options->trust_anchors);
}

static void on_localhost(void *context, int rcode, void *message, int size, int security, char *reason,
                         int rate_limited)
{
    bool *answered = context;
    (void)message, (void)size, (void)security, (void)reason, (void)rate_limited;
    *answered = rcode == 0;
}

/* The sentence of a log line: what stands behind its "error: " or "fatal error: ". */
static const char *sentence_of(char *log)
{
    static const char mark[] = "error: ";
    char *at = strstr(log, mark);
    if (at == NULL)
        return "no reason is given";
    at += sizeof mark - 1;
    at[strcspn(at, "\n")] = 0;
    return at;
}

/* Zones that libunbound answers itself, in spite of unblock-lan-zones. */
static void leave_to_the_upstream(struct making *making)
{
    static const char *const zones[] = {"test.", "home.arpa."};
    for (size_t i = 0; i < COUNT(zones) && !making->failed; i++)
        check(making, zones[i], ub_ctx_zone_remove(making->context, zones[i]));
}

/* All that libunbound would do with the first lookup. */
static void warm_up(struct making *making)
{
    char *log = NULL;
    size_t size = 0;
    FILE *stream = making->failed ? NULL : open_memstream(&log, &size);
    bool answered = false;
    if (stream == NULL)
        return;
    ub_ctx_debugout(making->context, stream);
    int failure = ub_resolve_event(making->context, "localhost.", 1, 1, &answered, on_localhost, NULL);
    ub_ctx_debugout(making->context, NULL);
    fclose(stream);
    if (failure != 0 || !answered) {
        making->failed = true;
        snprintf(making->error, making->size, "the resolver cannot start: %s: %s", ub_strerror(failure),
                 sentence_of(log));
    }
    free(log);
}

static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;

struct ub_ctx *resolver_context_open(struct event_base *base, const struct resolver_options *options,
                                     bool checked, char *error, size_t size)
{
    pthread_mutex_lock(&one_at_a_time);
    struct making making = {.context = ub_ctx_create_event(base), .error = error, .size = size};
    if (making.context == NULL) {
        snprintf(error, size, "the resolver cannot start: no memory for it, or no random numbers");
    } else {
        configure(&making, options, checked);
        warm_up(&making);
        if (options->upstream_count > 0)
            leave_to_the_upstream(&making);
        if (making.failed) {
            ub_ctx_delete(making.context);
            making.context = NULL;
        }
    }
    pthread_mutex_unlock(&one_at_a_time);
    return making.context;
}

void resolver_context_close(struct ub_ctx *context)
{
    pthread_mutex_lock(&one_at_a_time);
    ub_ctx_delete(context);
    pthread_mutex_unlock(&one_at_a_time);
}
