/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Runs the vectors: scenarios in text files, each on an engine of its own, and prints TAP.
 *
 *     vectors_run DIRECTORY [WORDS]      every *.txt there; with WORDS only titles that contain them
 *
 * A file is a list of lines. "#" opens a comment, "\" at the end continues a line, @NAME stands for what
 * `define NAME ...` said earlier in the file. A vector is:
 *
 *     vector TITLE                      opens it; the next one closes it
 *     set KEY VALUE                     see test/vector_settings.h for the keys
 *     pool ADDRESS[+COUNT] LOW-HIGH T   replaces the standard pool, for transports T: tcp,udp; again: adds
 *     static T [IPV6]:PORT IPV4:PORT    a static binding
 *     instance NAME                     another nat64 instance, without a pool; `set`, `pool` and `static`
 * are about it from here on siit name NAME                    an instance of stateless translation; further
 * `siit KEY VALUE` and eam IPV4[/N] IPV6[/N]             (a mapping) are about the last one path PREFIX MTU
 * a route of this machine; where none leads the MTU is 1500 headroom BYTES                    in front of
 * packets that go in now SECONDS                       since the start; does not by itself call engine_expire
 *     expire                            engine_expire until nothing is due
 *     in PACKET                         several in a row are one burst
 *     verdict NAME                      of the next packet of the burst
 *     out PACKET                        what that packet must have become, byte by byte
 *     pull PACKET | pull none           what the engine made; made and not pulled is a failure
 *     sessions N, bindings N            how many engine_list shows
 *     count NAME N                      a field of struct engine_counters
 *     packets VERDICT N                 how many packets have met it
 *     bytes HEX PACKET                  PACKET is encoded so: a test of the encoder, without an engine
 *     check $A even|odd                 about bound names
 *     check $A =|!= $B or NUMBER
 *     check $A in LOW-HIGH
 *
 * PACKET is described in test/vector.h. Expected bytes are written from the RFCs, not taken from the program.
 *
 * The standard engine: prefix 2001:db8:64::/96, pool 192.0.2.1 1024-65535, errors from 2001:db8:64::fe and
 * 192.0.2.254, 1024 sessions, both MTUs 1500, lifetimes and translation as RFC 6146 and 7915 recommend.
 */
#include "engine/engine.h"
#include "engine/table.h"
#include "test/vector.h"
#include "test/vector_plane.h"
#include "test/vector_settings.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    LINE = 16384,
    BURST = 8,
    HEADROOM = 128,
    DEFINITIONS = 64,
    DEFINITION = 1024,
    EXPIRE_CALLS = 256,
    START_SECONDS = 1000,
};

/* Verdicts that no vector can reach through one worker and a table of this size, with the reason. */
static const struct {
    enum verdict verdict;
    const char *reason;
} unreachable[] = {
    {VERDICT_CONTENTION, "needs several workers that create the same session at the same moment"},
    {VERDICT_NO_DAEMON, "needs the kernel's programs without a daemon; their own tests do that"},
    {VERDICT_INDEX_FULL, "needs many flows whose seeded hashes collide; the table's own tests do that"},
};

struct queued {
    uint8_t buffer[HEADROOM + VECTOR_PACKET + 256];
    struct packet packet;
    enum verdict verdict;
};

struct run {
    const char *filter;
    const char *path;
    unsigned line;
    unsigned tests, failures;
    bool reached[VERDICT_COUNT];
    bool running; /* in a vector that has not failed */
    char title[128];
    unsigned definition_count;
    struct {
        char name[VECTOR_NAME];
        char text[DEFINITION];
    } definitions[DEFINITIONS];

    struct vector_settings settings;
    struct table *table;
    struct engine *engine;
    struct paths *paths;
    uint32_t headroom;
    nanoseconds now;
    struct vector_variables variables;
    unsigned burst, judged; /* packets queued; verdicts asked for */
    bool received;
    struct queued queue[BURST];
};

static struct vector_packet encoded;

/* Reporting */

static void end_engine(struct run *run)
{
    if (run->engine != NULL)
        engine_destroy(run->engine);
    if (run->table != NULL)
        table_destroy(run->table);
    paths_destroy(run->paths);
    run->paths = NULL;
    run->engine = NULL;
    run->table = NULL;
    vector_free_mappings(&run->settings);
}

static void fail(struct run *run, const char *what)
{
    if (!run->running)
        return;
    run->running = false;
    run->failures++;
    printf("not ok %u - %s\n# %s:%u: %s\n", ++run->tests, run->title, run->path, run->line, what);
    end_engine(run);
}

static void print_hex(const char *name, const uint8_t *bytes, uint32_t length)
{
    printf("#   %s (%u bytes):", name, length);
    for (uint32_t i = 0; i < length && i < 256; i++)
        printf("%s%02x", i % 32 == 0 ? "\n#     " : i % 4 == 0 ? " " : "", bytes[i]);
    printf("%s\n", length > 256 ? " ..." : "");
}

static void print_difference(const struct packet *packet)
{
    const uint8_t *actual = packet_data(packet);
    unsigned shown = 0;
    for (unsigned i = 0; i < encoded.label_count && shown < 12; i++) {
        uint32_t at = encoded.labels[i].position;
        uint32_t width = encoded.labels[i].width;
        if (at + width > encoded.length || at + width > packet->length ||
            memcmp(actual + at, encoded.bytes + at, width) == 0)
            continue;
        shown++;
        printf("#   byte %u, %s: expected ", at, encoded.labels[i].name);
        for (uint32_t k = 0; k < width; k++)
            printf("%02x", encoded.bytes[at + k]);
        printf(", got ");
        for (uint32_t k = 0; k < width; k++)
            printf("%02x", actual[at + k]);
        printf("\n");
    }
    for (uint32_t i = 0; i < encoded.length && i < packet->length; i++)
        if (encoded.bytes[i] != actual[i]) {
            printf("#   first difference at byte %u\n", i);
            break;
        }
    print_hex("expected", encoded.bytes, encoded.length);
    print_hex("got", actual, packet->length);
}

static bool same_offload(const struct offload *expected, const struct offload *actual)
{
    if (expected->flags != actual->flags || expected->gso_type != actual->gso_type)
        return false;
    if ((expected->flags & OFFLOAD_PARTIAL) != 0 && (expected->checksum_start != actual->checksum_start ||
                                                     expected->checksum_offset != actual->checksum_offset))
        return false;
    return expected->gso_type == OFFLOAD_GSO_NONE ||
           (expected->gso_size == actual->gso_size && expected->header_length == actual->header_length);
}

static void compare(struct run *run, const char *text, const struct packet *packet)
{
    struct vector_encoding encoding = {
        .variables = &run->variables, .actual = packet_data(packet), .actual_length = packet->length};
    const struct offload *expected = &encoded.offload;
    const struct offload *actual = &packet->offload;
    if (!vector_encode(&encoding, text, &encoded)) {
        fail(run, encoding.error);
    } else if (encoded.length != packet->length ||
               memcmp(encoded.bytes, packet_data(packet), packet->length) != 0) {
        fail(run, "the packet is not the expected one");
        print_difference(packet);
    } else if (!same_offload(expected, actual)) {
        fail(run, "the offload state is not the expected one (flags type size hdrlen start offset)");
        printf("#   expected %u %u %u %u %u %u\n#   got      %u %u %u %u %u %u\n", expected->flags,
               expected->gso_type, expected->gso_size, expected->header_length, expected->checksum_start,
               expected->checksum_offset, actual->flags, actual->gso_type, actual->gso_size,
               actual->header_length, actual->checksum_start, actual->checksum_offset);
    }
}

/* The engine of a vector */

static bool need_engine(struct run *run)
{
    static const struct geometry geometry = {.sessions = 1024, .addresses = 16, .workers = 1};
    char error[256] = "table_create: out of memory";
    if (run->engine != NULL)
        return true;
    if (!vector_build_mappings(&run->settings)) {
        fail(run, "an impossible mapping");
        return false;
    }
    run->table = vector_plane_table(&geometry);
    if (run->table != NULL) {
        struct engine_options options = {
            .table = run->table, .settings = &run->settings.all, .workers = 1, .seed = 20260727};
        options.paths = run->paths = vector_paths(&run->settings);
        options.waiting = vector_plane_waiting();
        run->engine = engine_create(&options, error, sizeof(error));
    }
    if (run->engine == NULL)
        fail(run, error);
    else if (!vector_plane_start(run->engine, run->paths))
        fail(run, "the plane could not be set up");
    return run->engine != NULL;
}

static bool pull(struct run *run, struct packet *packet)
{
    static uint8_t buffer[HEADROOM + VECTOR_PACKET];
    for (uint32_t number = 0; number <= 1; number++) {
        memset(packet, 0, sizeof(*packet));
        packet->buffer = buffer;
        packet->capacity = sizeof(buffer);
        packet->offset = HEADROOM;
        if (engine_pull(engine_worker(run->engine, number), packet))
            return true;
    }
    return false;
}

static void nothing_left(struct run *run)
{
    struct packet packet;
    if (!run->running || run->engine == NULL)
        return;
    if (run->judged < run->burst) {
        fail(run, "a packet went in and no verdict was asked for");
    } else if (pull(run, &packet)) {
        fail(run, "the engine made a packet that no line pulls");
        print_hex("made", packet_data(&packet), packet.length);
    }
}

static void end_vector(struct run *run)
{
    nothing_left(run);
    if (run->running)
        printf("ok %u - %s\n", ++run->tests, run->title);
    run->running = false;
    end_engine(run);
}

/* Lines: settings */

static void line_set(struct run *run, char *text)
{
    if (run->engine != NULL)
        fail(run, "settings stand before the first packet");
    else if (!vector_set(&run->settings, text))
        fail(run, "set KEY VALUE: unknown key, or a value that does not suit it");
}

static void line_pool(struct run *run, char *text)
{
    if (!vector_pool(&run->settings, text))
        fail(run, "pool ADDRESS[+COUNT] LOW-HIGH tcp,udp,icmp");
}

static void line_static(struct run *run, char *text)
{
    if (!vector_static(&run->settings, text))
        fail(run, "static tcp|udp|icmp [IPV6]:PORT IPV4:PORT");
}

static void line_instance(struct run *run, char *text)
{
    if (run->engine != NULL || !vector_instance(&run->settings, text))
        fail(run, "instance NAME, before the first packet; two at most");
}

static void line_siit(struct run *run, char *text)
{
    if (run->engine != NULL)
        fail(run, "settings stand before the first packet");
    else if (!vector_siit(&run->settings, text))
        fail(run, "siit name NAME, siit KEY VALUE: unknown key, or a value that does not suit it");
}

static void line_eam(struct run *run, char *text)
{
    if (run->engine != NULL || !vector_eam(&run->settings, text))
        fail(run, "eam IPV4[/LENGTH] IPV6[/LENGTH], behind siit name, before the first packet");
}

static void line_path(struct run *run, char *text)
{
    if (run->engine != NULL || !vector_path(&run->settings, text))
        fail(run, "path PREFIX MTU, before the first packet");
}

static void line_headroom(struct run *run, char *text)
{
    if (!vector_number(text, &run->headroom) || run->headroom > HEADROOM)
        fail(run, "headroom is a number up to 128");
}

/* Lines: steps */

static void line_now(struct run *run, char *text)
{
    char *end;
    double seconds = strtod(text, &end);
    nanoseconds now = (nanoseconds)((START_SECONDS + seconds) * 1e9);
    nothing_left(run);
    if (*end != '\0' || end == text || now < run->now)
        fail(run, "now SECONDS, not before the last one");
    run->now = now;
}

static void line_expire(struct run *run, char *text)
{
    (void)text;
    nothing_left(run);
    if (!run->running || !need_engine(run))
        return;
    struct worker *worker = engine_worker(run->engine, 0);
    unsigned calls = 0;
    do
        engine_expire(worker, run->now);
    while (engine_next_deadline(worker) <= run->now && ++calls < EXPIRE_CALLS);
    if (calls == EXPIRE_CALLS)
        fail(run, "engine_next_deadline stays in the past, however often engine_expire is called");
}

static void line_in(struct run *run, char *text)
{
    struct vector_encoding encoding = {.variables = &run->variables};
    if (run->received) {
        nothing_left(run);
        run->burst = run->judged = 0;
        run->received = false;
    }
    if (!run->running || !need_engine(run))
        return;
    if (run->burst == BURST) {
        fail(run, "too many packets in one burst");
    } else if (!vector_encode(&encoding, text, &encoded)) {
        fail(run, encoding.error);
    } else {
        struct queued *queued = &run->queue[run->burst++];
        memcpy(queued->buffer + run->headroom, encoded.bytes, encoded.length);
        queued->packet = (struct packet){.buffer = queued->buffer,
                                         .capacity = sizeof(queued->buffer),
                                         .offset = run->headroom,
                                         .length = encoded.length,
                                         .offload = encoded.offload};
    }
}

static void receive(struct run *run)
{
    struct packet packets[BURST];
    enum verdict verdicts[BURST];
    for (unsigned i = 0; i < run->burst; i++)
        packets[i] = run->queue[i].packet;
    vector_plane_receive(run->engine, packets, run->burst, run->now, verdicts);
    for (unsigned i = 0; i < run->burst; i++) {
        run->queue[i].packet = packets[i];
        run->queue[i].verdict = verdicts[i];
        if (verdicts[i] < VERDICT_COUNT)
            run->reached[verdicts[i]] = true;
    }
    run->received = true;
}

static void line_verdict(struct run *run, char *text)
{
    enum verdict expected = 0;
    char sentence[160];
    while (expected < VERDICT_COUNT && strcmp(verdict_texts[expected].name, text) != 0)
        expected++;
    if (expected == VERDICT_COUNT || run->judged == run->burst) {
        fail(run, expected == VERDICT_COUNT ? "no verdict has this name" : "no packet is left to judge");
        return;
    }
    if (!run->received)
        receive(run);
    enum verdict actual = run->queue[run->judged++].verdict;
    if (actual != expected) {
        snprintf(sentence, sizeof(sentence), "expected the verdict %s, got %s", text,
                 actual < VERDICT_COUNT ? verdict_texts[actual].name : "a number that is no verdict");
        fail(run, sentence);
    }
}

static void line_out(struct run *run, char *text)
{
    if (!run->received || run->judged == 0)
        fail(run, "out stands after the verdict of its packet");
    else if (verdict_texts[run->queue[run->judged - 1].verdict].class != VERDICT_FORWARDED)
        fail(run, "out: this verdict forwards nothing");
    else
        compare(run, text, &run->queue[run->judged - 1].packet);
}

static void line_pull(struct run *run, char *text)
{
    struct packet packet;
    bool nothing = strcmp(text, "none") == 0;
    if (!need_engine(run))
        return;
    if (!pull(run, &packet)) {
        if (!nothing)
            fail(run, "the engine made no packet");
    } else if (nothing) {
        fail(run, "the engine made a packet, expected none");
        print_hex("made", packet_data(&packet), packet.length);
    } else {
        compare(run, text, &packet);
    }
}

static void listed(struct run *run, bool sessions, const char *text)
{
    struct engine_entry entries[32];
    uint32_t position = 0, expected, found = 0;
    char sentence[80];
    if (!vector_number(text, &expected)) {
        fail(run, "sessions N, bindings N");
        return;
    }
    if (!need_engine(run))
        return;
    while (position < engine_capacity(run->engine))
        found += engine_list(run->engine, sessions, &position, 256, entries, 32, run->now);
    if (found != expected) {
        snprintf(sentence, sizeof(sentence), "expected %u, engine_list shows %u", expected, found);
        fail(run, sentence);
    }
}

static void line_sessions(struct run *run, char *text)
{
    listed(run, true, text);
}

static void line_bindings(struct run *run, char *text)
{
    listed(run, false, text);
}

static void line_packets(struct run *run, char *text)
{
    struct engine_counters counters;
    char name[40], sentence[100];
    unsigned expected;
    if (!need_engine(run))
        return;
    vector_plane_count(run->engine, &counters);
    if (sscanf(text, "%39s %u", name, &expected) == 2)
        for (unsigned i = 0; i < VERDICT_COUNT; i++)
            if (strcmp(verdict_texts[i].name, name) == 0) {
                snprintf(sentence, sizeof(sentence), "expected %u, counted are %llu", expected,
                         (unsigned long long)counters.packets[i]);
                if (counters.packets[i] != expected)
                    fail(run, sentence);
                else
                    run->reached[i] |= expected > 0;
                return;
            }
    fail(run, "packets VERDICT N");
}

static void line_count(struct run *run, char *text)
{
    struct engine_counters counters;
    char name[40], sentence[100];
    unsigned expected;
    if (!need_engine(run))
        return;
    vector_plane_count(run->engine, &counters);
    const struct {
        const char *name;
        uint64_t value;
    } rows[] = {
        {"icmp_errors_sent", counters.icmp_errors_sent},
        {"icmp_errors_suppressed", counters.icmp_errors_suppressed},
        {"pieces_made", counters.pieces_made},
        {"probes_sent", counters.probes_sent},
        {"stored_syns_displaced", counters.stored_syns_displaced},
        {"half_open_evicted", counters.half_open_evicted},
        {"sessions_created", counters.sessions_created},
        {"sessions_ended", counters.sessions_ended},
        {"bindings_created", counters.bindings_created},
        {"bindings_ended", counters.bindings_ended},
    };
    if (sscanf(text, "%39s %u", name, &expected) == 2)
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
            if (strcmp(rows[i].name, name) == 0) {
                snprintf(sentence, sizeof(sentence), "expected %u, the counter stands at %llu", expected,
                         (unsigned long long)rows[i].value);
                if (rows[i].value != expected)
                    fail(run, sentence);
                return;
            }
    fail(run, "count NAME N: no such counter");
}

static void line_check(struct run *run, char *text)
{
    char name[VECTOR_NAME], relation[8], with[VECTOR_NAME] = "0";
    uint32_t other = 0, low, high;
    int words = sscanf(text, "$%23s %7s %23s", name, relation, with);
    const uint32_t *value = words >= 2 ? vector_variable(&run->variables, name) : NULL;
    const uint32_t *named = with[0] == '$' ? vector_variable(&run->variables, with + 1) : NULL;
    bool known = named != NULL || vector_number(with, &other), holds = false;
    if (named != NULL)
        other = *named;
    if (value != NULL && words == 2 && strcmp(relation, "even") == 0)
        holds = *value % 2 == 0;
    else if (value != NULL && words == 2 && strcmp(relation, "odd") == 0)
        holds = *value % 2 == 1;
    else if (value != NULL && words == 3 && known && strcmp(relation, "=") == 0)
        holds = *value == other;
    else if (value != NULL && words == 3 && known && strcmp(relation, "!=") == 0)
        holds = *value != other;
    else if (value != NULL && strcmp(relation, "in") == 0 && sscanf(with, "%u-%u", &low, &high) == 2)
        holds = *value >= low && *value <= high;
    else
        fail(run,
             "check $NAME even|odd, $NAME =|!= $NAME|NUMBER, $NAME in LOW-HIGH, of names that are bound");
    if (!holds && value != NULL) {
        char sentence[120];
        snprintf(sentence, sizeof(sentence), "check failed: $%s is %u (compared with %u)", name, *value,
                 other);
        fail(run, sentence);
    }
}

static void line_bytes(struct run *run, char *text)
{
    struct vector_encoding encoding = {.variables = &run->variables};
    size_t digits = strcspn(text, " ");
    char pair[3];
    if (!vector_encode(&encoding, text + digits, &encoded)) {
        fail(run, encoding.error);
        return;
    }
    bool same = digits == 2 * (size_t)encoded.length;
    for (size_t i = 0; same && i < digits; i += 2) {
        snprintf(pair, sizeof(pair), "%02x", encoded.bytes[i / 2]);
        same = memcmp(pair, text + i, 2) == 0;
    }
    if (!same) {
        fail(run, "the packet is encoded otherwise");
        print_hex("encoded", encoded.bytes, encoded.length);
    }
}

static void line_vector(struct run *run, char *text)
{
    end_vector(run);
    const char *file = strrchr(run->path, '/') + 1;
    snprintf(run->title, sizeof(run->title), "%.*s: %.90s", (int)(strlen(file) - 4), file, text);
    run->running = run->filter == NULL || strstr(run->title, run->filter) != NULL;
    run->received = false;
    run->burst = run->judged = 0;
    run->headroom = HEADROOM;
    run->now = (nanoseconds)START_SECONDS * 1000000000u;
    run->variables.count = 0;
    vector_settings_standard(&run->settings);
}

static const struct {
    const char *word;
    void (*take)(struct run *run, char *text);
} lines[] = {
    {"set", line_set},
    {"pool", line_pool},
    {"static", line_static},
    {"path", line_path},
    {"instance", line_instance},
    {"siit", line_siit},
    {"eam", line_eam},
    {"headroom", line_headroom},
    {"now", line_now},
    {"expire", line_expire},
    {"in", line_in},
    {"verdict", line_verdict},
    {"out", line_out},
    {"pull", line_pull},
    {"sessions", line_sessions},
    {"bindings", line_bindings},
    {"bytes", line_bytes},
    {"count", line_count},
    {"check", line_check},
    {"packets", line_packets},
};

/* Files */

static void malformed(const struct run *run, const char *what)
{
    fprintf(stderr, "%s:%u: %s\n", run->path, run->line, what);
    exit(2);
}

static void line_define(struct run *run, char *text)
{
    char *space = strchr(text, ' ');
    if (space == NULL || space - text >= VECTOR_NAME || strlen(space) > DEFINITION ||
        run->definition_count == DEFINITIONS)
        malformed(run, "define NAME TEXT, too long or too many of them");
    *space = '\0';
    strcpy(run->definitions[run->definition_count].name, text);
    strcpy(run->definitions[run->definition_count++].text, space + 1);
}

/* Replaces each @NAME of `from`; definitions may use earlier ones, which were replaced when they were read.
 */
static void expand(const struct run *run, const char *from, char *to)
{
    size_t used = 0;
    while (*from != '\0' && used < LINE - DEFINITION - 1) {
        size_t size = strcspn(from + 1, " /\n");
        unsigned i = 0;
        if (*from != '@') {
            to[used++] = *from++;
            continue;
        }
        while (i < run->definition_count && (strlen(run->definitions[i].name) != size ||
                                             memcmp(run->definitions[i].name, from + 1, size) != 0))
            i++;
        if (i == run->definition_count)
            malformed(run, "an @NAME that nothing defines");
        strcpy(to + used, run->definitions[i].text);
        used += strlen(run->definitions[i].text);
        from += 1 + size;
    }
    to[used] = '\0';
    if (*from != '\0')
        malformed(run, "the line is too long");
}

static void take_line(struct run *run, char *line)
{
    static char text[LINE];
    expand(run, line, text);
    size_t size = strcspn(text, " ");
    char *rest = text + size + strspn(text + size, " ");
    text[size] = '\0';
    if (strcmp(text, "define") == 0) {
        line_define(run, rest);
        return;
    }
    if (strcmp(text, "vector") == 0) {
        line_vector(run, rest);
        return;
    }
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
        if (strcmp(text, lines[i].word) == 0) {
            if (run->title[0] == '\0')
                malformed(run, "a step before the first vector");
            if (run->running)
                lines[i].take(run, rest);
            return;
        }
    malformed(run, "a line opens with none of the known words");
}

/* Reads a line with its continuations into `line`, without comment and outer blanks; false at the end. */
static bool read_line(struct run *run, FILE *file, char *line)
{
    size_t used = 0;
    bool more = true;
    while (more) {
        if (LINE - used < 2 || fgets(line + used, (int)(LINE - used), file) == NULL)
            return used > 0;
        run->line++;
        if (used == 0 && line[strspn(line, " \t")] == '#')
            line[0] = '\0';
        size_t end = strlen(line);
        while (end > 0 && strchr(" \t\r\n", line[end - 1]) != NULL)
            end--;
        more = end > 0 && line[end - 1] == '\\';
        used = more ? end - 1 : end;
        line[used] = '\0';
    }
    memmove(line, line + strspn(line, " \t"), used - strspn(line, " \t") + 1);
    return true;
}

static void run_file(struct run *run, const char *path)
{
    static char line[LINE];
    FILE *file = fopen(path, "r");
    run->path = path;
    run->line = 0;
    run->title[0] = '\0';
    run->definition_count = 0;
    if (file == NULL)
        malformed(run, "cannot be opened");
    while (read_line(run, file, line))
        if (line[0] != '\0')
            take_line(run, line);
    end_vector(run);
    fclose(file);
}

static void judge_coverage(struct run *run)
{
    bool all = true;
    for (size_t i = 0; i < sizeof(unreachable) / sizeof(unreachable[0]); i++) {
        enum verdict verdict = unreachable[i].verdict;
        if (run->reached[verdict])
            printf("# reached after all, take it out of the list: %s\n", verdict_texts[verdict].name);
        all = all && !run->reached[verdict];
        run->reached[verdict] = true;
    }
    for (unsigned i = 0; i < VERDICT_COUNT; i++)
        all = all && run->reached[i];
    printf("%sok %u - every verdict is reached by some vector\n", all ? "" : "not ", ++run->tests);
    run->failures += !all;
    for (unsigned i = 0; i < VERDICT_COUNT; i++)
        if (!run->reached[i])
            printf("# reached by none: %s\n", verdict_texts[i].name);
    for (size_t i = 0; i < sizeof(unreachable) / sizeof(unreachable[0]); i++)
        printf("# not asked for: %s: %s\n", verdict_texts[unreachable[i].verdict].name,
               unreachable[i].reason);
}

static int is_vector_file(const struct dirent *entry)
{
    size_t size = strlen(entry->d_name);
    return size > 4 && strcmp(entry->d_name + size - 4, ".txt") == 0;
}

int main(int count, char **words)
{
    static struct run run;
    struct dirent **names;
    static char path[4096];
    const char *directory = words[count > 1 ? 1 + vector_plane_words : 0];
    if (count < 2 + (int)vector_plane_words || count > 3 + (int)vector_plane_words) {
        fprintf(stderr, "usage: %s %sDIRECTORY [WORDS]\n", words[0], vector_plane_words > 0 ? "OBJECT " : "");
        return 2;
    }
    run.filter = words[2 + vector_plane_words]; /* NULL at the end of the words */
    const char *reason = vector_plane_open(words + 1);
    if (reason != NULL) {
        printf("ok 1 - vectors # SKIP %s\n1..1\n", reason);
        return 0;
    }
    int files = scandir(directory, &names, is_vector_file, alphasort);
    if (files <= 0) {
        fprintf(stderr, "vectors_run: no *.txt in %s\n", directory);
        return 2;
    }
    for (int i = 0; i < files; i++) {
        snprintf(path, sizeof(path), "%s/%s", directory, names[i]->d_name);
        free(names[i]);
        run_file(&run, path);
    }
    free(names);
    if (run.filter == NULL)
        judge_coverage(&run);
    bool enough = vector_plane_close() || run.filter != NULL;
    printf("1..%u\n", run.tests);
    return run.failures > 0 || !enough;
}
