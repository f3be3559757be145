/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Runs the scenarios of name service: a question, what upstream servers say to what is asked of them, and the
 * answer. Prints TAP, a line a scenario.
 *
 *     scenarios_run DIRECTORY [WORDS]    every *.txt there; with WORDS only titles that contain them
 *
 * A file is a list of lines; "#" opens a comment. A scenario is:
 *
 *     scenario TITLE
 *     prefix PREFIX/LENGTH [clients NETWORK,...] [ipv4 NETWORK,...]   replaces the standard one; again: adds
 *     exclude NETWORK | none           replaces the standard ::ffff:0:0/96; again: adds
 *     exempt NAME                      never synthesised, nor what is below
 *     negative-ttl SECONDS             300 if not given
 *     query NAME TYPE [do] [cd] [class NUMBER] [from ADDRESS]         from 2001:db8::1 if not given
 *     lookup NAME TYPE [unchecked] STATE [RCODE] [FAULT]
 *     answer|authority|additional RECORD     of the response to this lookup
 *     give-up                          the time is up
 *     reply RCODE [secure] [synthesized] [error NUMBER] [ttl SECONDS]
 *     answer|authority|additional RECORD     of the answer
 *
 * Each `lookup` is what must be asked now, letter by letter, and what comes of it: secure, insecure, bogus,
 * failed, timeout or busy. FAULT is truncated (TC), cut (the last bytes are missing) or astray (it answers
 * another question). `reply` must be what there is then, in every respect that is named above: without the
 * word it is not secure. The extended error is 29 if synthesised, otherwise 0, unless it says so; the TTL is
 * that for which the answer may be kept, and checked where it is given. The records that follow are all there
 * are, in their order.
 *
 * RECORD is described in test/dns64/zone_text.h. What is expected is written from the RFCs, not taken from
 * the program.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dns64/inquiry.h"
#include "test/dns64/zone_text.h"

enum { LINE = 1024, NAMES = 8, UNTOUCHED = 0x7fffffff };

enum phase { PHASE_RULES, PHASE_QUERY, PHASE_LOOKUP, PHASE_REPLY };

struct run {
    const char *filter, *path;
    unsigned line, tests, failures;
    bool running; /* in a scenario that has not failed */
    char title[128];

    struct dns_rules rules;
    bool own_prefixes, own_excluded;
    struct dns_name names[NAMES];
    enum phase phase;
    struct inquiry inquiry;
    enum inquiry_step step;
    struct inquiry_question question;

    struct looked_up result; /* of the lookup that is being described */
    bool truncated, cut;
    struct dns_writer upstream;
    struct answer answer;
    struct dns_reader reader; /* of the answer: what was expected so far */
};

static uint8_t upstream_bytes[DNS_MESSAGE_MAX], answer_bytes[DNS_MESSAGE_MAX];

/*** Reporting ***/

static void fail(struct run *run, const char *what)
{
    if (!run->running)
        return;
    run->running = false;
    run->failures++;
    printf("not ok %u - %s\n# %s:%u: %s\n", ++run->tests, run->title, run->path, run->line, what);
}

static _Noreturn void malformed(const struct run *run, const char *what)
{
    fprintf(stderr, "%s:%u: %s\n", run->path, run->line, what);
    exit(2);
}

static char *word(char **rest)
{
    return strtok_r(NULL, " \t", rest);
}

static struct dns_name need_name(const struct run *run, const char *text)
{
    struct dns_name name;
    if (text == NULL || !dns_name_parse(&name, text))
        malformed(run, "a name is missing, or is none");
    return name;
}

static uint16_t need_type(const struct run *run, const char *text)
{
    uint16_t type;
    if (text == NULL || !zone_type(text, &type))
        malformed(run, "a type is missing, or is none");
    return type;
}

static uint32_t need_number(const struct run *run, const char *text)
{
    char *end;
    unsigned long number = text != NULL ? strtoul(text, &end, 10) : 0;
    if (text == NULL || *end != '\0')
        malformed(run, "a number is missing, or is none");
    return (uint32_t)number;
}

/* The place of a word in a list that ends with NULL; -1 if it is not there. */
static int place_of(const char *text, const char *const *list)
{
    for (int i = 0; text != NULL && list[i] != NULL; i++)
        if (strcmp(text, list[i]) == 0)
            return i;
    return -1;
}

static const char *const rcodes[] = {"NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN",
                                     "NOTIMP",  "REFUSED", "YXDOMAIN", NULL};

/*** Rules ***/

static void add_network(const struct run *run, struct rules_network *networks, uint32_t *count,
                        const char *text)
{
    struct rules_network *network = &networks[(*count)++];
    if (*count > RULES_NETWORKS || text == NULL || !zone_network(text, &network->address, &network->length))
        malformed(run, "a network is missing, or is none, or there are too many");
}

static void add_networks(const struct run *run, struct rules_network *networks, uint32_t *count, char *text)
{
    char *rest;
    *count = 0;
    for (char *one = strtok_r(text, ",", &rest); one != NULL; one = strtok_r(NULL, ",", &rest))
        add_network(run, networks, count, one);
}

static void add_prefix(struct run *run, char *text)
{
    struct rules_prefix *prefix = &run->rules.prefixes[run->rules.prefix_count++];
    char everybody[] = "::/0", everything[] = "0.0.0.0/0", *rest, *what;
    char *first = strtok_r(text, " \t", &rest);
    if (first == NULL || run->rules.prefix_count > RULES_PREFIXES ||
        !zone_network(first, &prefix->prefix.address, &prefix->prefix.length))
        malformed(run, "prefix PREFIX/LENGTH [clients NETWORK,...] [ipv4 NETWORK,...]");
    add_networks(run, prefix->clients, &prefix->client_count, everybody);
    add_networks(run, prefix->ipv4, &prefix->ipv4_count, everything);
    while ((what = word(&rest)) != NULL) {
        char *list = word(&rest);
        if (list == NULL || (strcmp(what, "clients") != 0 && strcmp(what, "ipv4") != 0))
            malformed(run, "prefix ... [clients NETWORK,...] [ipv4 NETWORK,...]");
        else if (strcmp(what, "clients") == 0)
            add_networks(run, prefix->clients, &prefix->client_count, list);
        else
            add_networks(run, prefix->ipv4, &prefix->ipv4_count, list);
    }
}

static void line_prefix(struct run *run, char *text)
{
    if (!run->own_prefixes)
        run->rules.prefix_count = 0;
    run->own_prefixes = true;
    add_prefix(run, text);
}

static void line_exclude(struct run *run, char *text)
{
    if (!run->own_excluded)
        run->rules.excluded_count = 0;
    run->own_excluded = true;
    if (strcmp(text, "none") != 0)
        add_network(run, run->rules.excluded, &run->rules.excluded_count, text);
}

static void line_exempt(struct run *run, char *text)
{
    if (run->rules.name_count == NAMES)
        malformed(run, "too many names");
    run->names[run->rules.name_count++] = need_name(run, text);
}

static void line_negative_ttl(struct run *run, char *text)
{
    run->rules.negative_ttl = need_number(run, text);
}

static void standard_rules(struct run *run)
{
    char prefix[] = "2001:db8:64::/96", excluded[] = "::ffff:0:0/96";
    run->rules.prefix_count = run->rules.excluded_count = run->rules.name_count = 0;
    run->own_prefixes = run->own_excluded = false;
    add_prefix(run, prefix);
    add_network(run, run->rules.excluded, &run->rules.excluded_count, excluded);
    run->rules.names = run->names;
    run->rules.negative_ttl = 300;
}

/*** The question ***/

static void line_query(struct run *run, char *text)
{
    struct inquiry_question *question = &run->question;
    struct ipv6_address client;
    uint8_t length;
    char *rest, *option;
    const char *from = "2001:db8::1";
    question->name = need_name(run, strtok_r(text, " \t", &rest));
    question->type = need_type(run, word(&rest));
    question->class = DNS_CLASS_IN;
    question->dnssec_ok = question->checking_disabled = false;
    while ((option = word(&rest)) != NULL)
        if (strcmp(option, "do") == 0)
            question->dnssec_ok = true;
        else if (strcmp(option, "cd") == 0)
            question->checking_disabled = true;
        else if (strcmp(option, "class") == 0)
            question->class = (uint16_t)need_number(run, word(&rest));
        else if (strcmp(option, "from") != 0 || (from = word(&rest)) == NULL)
            malformed(run, "query NAME TYPE [do] [cd] [class NUMBER] [from ADDRESS]");
    if (!zone_network(from, &client, &length))
        malformed(run, "from ADDRESS");
    rules_seal(&run->rules);
    question->view = rules_view_of(&run->rules, &client);
    memset(answer_bytes, 0xee, sizeof(answer_bytes));
    run->answer = (struct answer){.message = answer_bytes, .size = UNTOUCHED};
    run->step = inquiry_begin(&run->inquiry, question, &run->rules, &run->answer);
    run->phase = PHASE_QUERY;
}

/*** Lookups ***/

/* Brings what the lookup that was described last has come to. */
static void continue_inquiry(struct run *run)
{
    uint8_t *exact = NULL;
    if (run->phase != PHASE_LOOKUP || !run->running)
        return;
    run->phase = PHASE_QUERY;
    if (run->result.state <= LOOKUP_SECURE) {
        run->result.size = dns_writer_finish(&run->upstream) - (run->cut ? 3 : 0);
        if (run->truncated)
            upstream_bytes[2] |= DNS_FLAG_TRUNCATED >> 8;
        /* In memory of exactly its size, which is gone after. */
        exact = malloc(run->result.size);
        if (exact == NULL)
            malformed(run, "out of memory");
        memcpy(exact, upstream_bytes, run->result.size);
        run->result.message = exact;
    }
    run->step = inquiry_continue(&run->inquiry, &run->result, &run->answer);
    free(exact);
}

static void describe_asked(struct run *run, const char *what)
{
    static char sentence[2 * DNS_NAME_TEXT_MAX], name[DNS_NAME_TEXT_MAX];
    const struct lookup *ask = &run->inquiry.ask;
    if (run->step == INQUIRY_DONE) {
        (void)snprintf(sentence, sizeof(sentence), "%s, but the answer was complete", what);
    } else {
        (void)dns_name_print(&ask->name, name);
        (void)snprintf(sentence, sizeof(sentence), "%s, but %s %s was asked%s", what, name,
                       zone_type_name(ask->type), ask->unchecked ? " unchecked" : "");
    }
    fail(run, sentence);
}

static void open_response(struct run *run, const struct dns_name *name, uint16_t type, char **rest)
{
    struct dns_header header = {.response = true, .recursion_available = true, .authoritative = true};
    struct dns_name asked = *name;
    char *option;
    run->truncated = run->cut = false;
    while ((option = word(rest)) != NULL) {
        int rcode = place_of(option, rcodes);
        if (rcode >= 0)
            header.rcode = (uint16_t)rcode;
        else if (strcmp(option, "truncated") == 0)
            run->truncated = true;
        else if (strcmp(option, "cut") == 0)
            run->cut = true;
        else if (strcmp(option, "astray") == 0)
            asked = need_name(run, "another.example.");
        else
            malformed(run, "lookup NAME TYPE [unchecked] STATE [RCODE] [truncated|cut|astray]");
    }
    dns_writer_open(&run->upstream, upstream_bytes, sizeof(upstream_bytes), &header);
    dns_writer_question(&run->upstream, &asked, type, run->question.class);
}

static void line_lookup(struct run *run, char *text)
{
    static const char *const states[] = {"insecure", "secure", "bogus", "failed", "timeout", "busy", NULL};
    const struct lookup *ask = &run->inquiry.ask;
    char *rest, *option;
    struct dns_name name = need_name(run, strtok_r(text, " \t", &rest));
    uint16_t type = need_type(run, word(&rest));
    bool unchecked;
    int state;
    continue_inquiry(run);
    option = word(&rest);
    unchecked = option != NULL && strcmp(option, "unchecked") == 0;
    state = place_of(unchecked ? word(&rest) : option, states);
    if (state < 0)
        malformed(run, "lookup NAME TYPE [unchecked] insecure|secure|bogus|failed|timeout|busy");
    if (run->step == INQUIRY_DONE || memcmp(ask->name.wire, name.wire, name.length) != 0 ||
        ask->type != type || ask->class != run->question.class || ask->unchecked != unchecked)
        describe_asked(run, "expected this lookup");
    else if (run->answer.size != UNTOUCHED)
        fail(run, "the answer was touched before its time");
    run->result = (struct looked_up){.state = (enum lookup_state)state};
    open_response(run, &name, type, &rest);
    run->phase = PHASE_LOOKUP;
}

static void line_give_up(struct run *run, char *text)
{
    (void)text;
    continue_inquiry(run);
    if (run->step == INQUIRY_DONE)
        fail(run, "there is nothing to give up");
    inquiry_give_up(&run->inquiry, &run->answer);
    run->step = INQUIRY_DONE;
}

/*** The answer ***/

/* What every answer is, whatever it says. */
static bool is_answer(struct run *run)
{
    struct dns_header header;
    struct dns_question question;
    struct dns_record record;
    struct dns_reader reader;
    enum dns_next next;
    size_t core;
    if (!dns_reader_open(&run->reader, answer_bytes, run->answer.size, &header, &question))
        return false;
    reader = run->reader;
    core = reader.at;
    while ((next = dns_reader_next(&reader, &record)) == DNS_NEXT_RECORD)
        if (record.type == DNS_TYPE_OPT)
            return false;
        else if (record.section != DNS_ADDITIONAL)
            core = reader.at;
    return next == DNS_NEXT_END && reader.at == run->answer.size && core == run->answer.core &&
           question.type == run->question.type && question.class == run->question.class &&
           memcmp(question.asked.wire, run->question.name.wire, question.asked.length) == 0 &&
           header.response && header.recursion_available && !header.truncated &&
           header.rcode == run->answer.rcode;
}

static void expect(struct run *run, const char *what, unsigned long expected, unsigned long actual)
{
    char sentence[120];
    if (expected == actual)
        return;
    (void)snprintf(sentence, sizeof(sentence), "%s: expected %lu, got %lu", what, expected, actual);
    fail(run, sentence);
}

static void line_reply(struct run *run, char *text)
{
    const struct answer *answer = &run->answer;
    char *rest, *option;
    int rcode = place_of(strtok_r(text, " \t", &rest), rcodes);
    bool secure = false, synthesized = false, told = false;
    uint32_t error = 0;
    continue_inquiry(run);
    run->phase = PHASE_REPLY;
    if (run->step != INQUIRY_DONE)
        describe_asked(run, "expected the answer");
    else if (!is_answer(run))
        fail(run, "the answer is not sound");
    if (!run->running)
        return;
    while ((option = word(&rest)) != NULL)
        if (strcmp(option, "secure") == 0)
            secure = true;
        else if (strcmp(option, "synthesized") == 0)
            synthesized = true;
        else if (strcmp(option, "ttl") == 0)
            expect(run, "ttl", need_number(run, word(&rest)), answer->ttl);
        else if (strcmp(option, "error") == 0)
            told = (error = need_number(run, word(&rest))) != 0;
        else
            malformed(run, "reply RCODE [secure] [synthesized] [error NUMBER] [ttl SECONDS]");
    if (rcode < 0)
        malformed(run, "reply RCODE ...");
    expect(run, "rcode", (unsigned long)rcode, answer->rcode);
    expect(run, "secure", secure, answer->secure);
    expect(run, "synthesized", synthesized, answer->synthesized);
    expect(run, "error", told || !synthesized ? error : ANSWER_ERROR_SYNTHESIZED, answer->error);
}

static void print_record(const char *what, const struct zone_record *record)
{
    char owner[DNS_NAME_TEXT_MAX];
    (void)dns_name_print(&record->owner, owner);
    printf("#   %s %s %u %s", what, owner, record->ttl, zone_type_name(record->type));
    for (unsigned i = 0; i < record->rdata_length; i++)
        printf("%s%02x", i % 16 == 0 ? " " : "", record->rdata[i]);
    printf("\n");
}

static void expect_record(struct run *run, enum dns_section section, const struct zone_record *expected)
{
    struct dns_record record;
    struct zone_record actual;
    long length;
    if (dns_reader_next(&run->reader, &record) != DNS_NEXT_RECORD) {
        fail(run, "there are no more records in the answer");
        return;
    }
    length = dns_record_flatten(&run->reader, &record, actual.rdata, sizeof(actual.rdata));
    actual.owner = record.owner;
    actual.type = record.type;
    actual.ttl = record.ttl;
    actual.rdata_length = (uint16_t)length;
    if (length >= 0 && record.section == section && record.class == run->question.class &&
        dns_name_equal(&actual.owner, &expected->owner) && actual.type == expected->type &&
        actual.ttl == expected->ttl && actual.rdata_length == expected->rdata_length &&
        memcmp(actual.rdata, expected->rdata, expected->rdata_length) == 0)
        return;
    fail(run, record.section == section ? "another record was expected" : "another section was expected");
    print_record("expected", expected);
    if (length >= 0)
        print_record("got     ", &actual);
}

static void take_record(struct run *run, enum dns_section section, char *text)
{
    struct zone_record record;
    char error[ZONE_ERROR];
    if (!zone_record_read(&record, text, error))
        malformed(run, error);
    if (run->phase == PHASE_REPLY) {
        expect_record(run, section, &record);
    } else if (run->phase == PHASE_LOOKUP) {
        const struct dns_data data = {.owner = &record.owner,
                                      .rdata = record.rdata,
                                      .type = record.type,
                                      .class = run->question.class,
                                      .rdata_length = record.rdata_length,
                                      .ttl = record.ttl};
        dns_writer_section(&run->upstream, section);
        if (dns_writer_record(&run->upstream, &data) != DNS_WRITTEN)
            malformed(run, "the record does not fit into the response");
    } else {
        malformed(run, "a record stands behind lookup or reply");
    }
}

static void line_answer(struct run *run, char *text)
{
    take_record(run, DNS_ANSWER, text);
}

static void line_authority(struct run *run, char *text)
{
    take_record(run, DNS_AUTHORITY, text);
}

static void line_additional(struct run *run, char *text)
{
    take_record(run, DNS_ADDITIONAL, text);
}

/*** Files ***/

static void end_scenario(struct run *run)
{
    struct dns_record record;
    if (!run->running)
        return;
    if (run->phase != PHASE_REPLY)
        malformed(run, "the scenario before this line has no reply");
    if (dns_reader_next(&run->reader, &record) != DNS_NEXT_END) {
        fail(run, "the answer has more records");
        return;
    }
    run->running = false;
    printf("ok %u - %s\n", ++run->tests, run->title);
}

static void line_scenario(struct run *run, char *text)
{
    const char *file = strrchr(run->path, '/') + 1;
    end_scenario(run);
    (void)snprintf(run->title, sizeof(run->title), "%.*s: %.90s", (int)(strlen(file) - 4), file, text);
    run->running = run->filter == NULL || strstr(run->title, run->filter) != NULL;
    run->phase = PHASE_RULES;
    standard_rules(run);
}

static const struct {
    const char *word;
    void (*take)(struct run *run, char *text);
    enum phase from, to; /* where it may stand */
} lines[] = {
    {"prefix", line_prefix, PHASE_RULES, PHASE_RULES},
    {"exclude", line_exclude, PHASE_RULES, PHASE_RULES},
    {"exempt", line_exempt, PHASE_RULES, PHASE_RULES},
    {"negative-ttl", line_negative_ttl, PHASE_RULES, PHASE_RULES},
    {"query", line_query, PHASE_RULES, PHASE_RULES},
    {"lookup", line_lookup, PHASE_QUERY, PHASE_LOOKUP},
    {"give-up", line_give_up, PHASE_QUERY, PHASE_LOOKUP},
    {"reply", line_reply, PHASE_QUERY, PHASE_LOOKUP},
    {"answer", line_answer, PHASE_LOOKUP, PHASE_REPLY},
    {"authority", line_authority, PHASE_LOOKUP, PHASE_REPLY},
    {"additional", line_additional, PHASE_LOOKUP, PHASE_REPLY},
};

static void take_line(struct run *run, char *line)
{
    size_t size = strcspn(line, " \t");
    char *rest = line + size + strspn(line + size, " \t");
    line[size] = '\0';
    if (strcmp(line, "scenario") == 0) {
        line_scenario(run, rest);
        return;
    }
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
        if (strcmp(line, lines[i].word) == 0) {
            if (run->running && (run->phase < lines[i].from || run->phase > lines[i].to))
                malformed(run, "this line does not stand here");
            if (run->running)
                lines[i].take(run, rest);
            return;
        }
    malformed(run, "a line opens with none of the known words");
}

static void run_file(struct run *run, const char *path)
{
    char line[LINE];
    FILE *file = fopen(path, "r");
    run->path = path;
    run->line = 0;
    if (file == NULL)
        malformed(run, "cannot be opened");
    while (fgets(line, sizeof(line), file) != NULL) {
        size_t end = strlen(line), start = strspn(line, " \t");
        run->line++;
        while (end > start && strchr(" \t\r\n", line[end - 1]) != NULL)
            line[--end] = '\0';
        if (end > start && line[start] != '#')
            take_line(run, line + start);
    }
    end_scenario(run);
    (void)fclose(file);
}

static int is_scenario_file(const struct dirent *entry)
{
    size_t size = strlen(entry->d_name);
    return size > 4 && strcmp(entry->d_name + size - 4, ".txt") == 0;
}

int main(int count, char **words)
{
    static struct run run;
    struct dirent **names;
    static char path[4096];
    int files;
    if (count < 2 || count > 3) {
        fprintf(stderr, "usage: scenarios_run DIRECTORY [WORDS]\n");
        return 2;
    }
    run.filter = count == 3 ? words[2] : NULL;
    files = scandir(words[1], &names, is_scenario_file, alphasort);
    if (files <= 0) {
        fprintf(stderr, "scenarios_run: no *.txt in %s\n", words[1]);
        return 2;
    }
    for (int i = 0; i < files; i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", words[1], names[i]->d_name);
        free(names[i]);
        run_file(&run, path);
    }
    free(names);
    printf("1..%u\n", run.tests);
    return run.failures > 0;
}
