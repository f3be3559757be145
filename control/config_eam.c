/* SPDX-License-Identifier: BSD-2-Clause */
#include "control/config_eam.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/config_schema.h"

/* One siit entry at work. */
struct completion {
    struct config *config;
    const struct config_files *files;
    struct config_source *source;
    struct config_error *error;
    uint32_t number; /* of the entry */
    uint32_t *line;  /* of each mapping, where it is from a file */
    size_t room;     /* mappings that both arrays have room for */
};

static struct config_siit *entry_of(const struct completion *completion)
{
    return &completion->config->siit[completion->number];
}

__attribute__((format(printf, 3, 4))) static bool blame(const struct completion *completion, const char *key,
                                                        const char *format, ...)
{
    char sentence[sizeof(completion->error->text)], path[CONFIG_PATH_SIZE];
    va_list arguments;
    snprintf(path, sizeof(path), "siit[%u]%s", completion->number, key);
    yaml_mark_t mark = config_document_locate(completion->source, path);
    va_start(arguments, format);
    vsnprintf(sentence, sizeof(sentence), format, arguments);
    va_end(arguments);
    return config_complain(completion->source, &mark, completion->error, "%s: %s", path, sentence);
}

/* Blames a mapping, by its place in the configuration or its line in the file. */
__attribute__((format(printf, 3, 4))) static bool blame_mapping(const struct completion *completion,
                                                                uint32_t mapping, const char *format, ...)
{
    const struct config_siit *entry = entry_of(completion);
    char sentence[VALUE_ERROR_SIZE], key[32];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof(sentence), format, arguments);
    va_end(arguments);
    if (mapping >= entry->eam_count) {
        snprintf(completion->error->text, sizeof(completion->error->text), "%s:%u: %s", entry->eam_file,
                 completion->line[mapping], sentence);
        return false;
    }
    snprintf(key, sizeof(key), ".eam[%u]", mapping);
    return blame(completion, key, "%s", sentence);
}

/* Where another mapping is: "siit[0].eam[3]" or "line 12". */
static const char *name_mapping(const struct completion *completion, uint32_t mapping, char *out, size_t size)
{
    if (completion->line == NULL || mapping < entry_of(completion)->eam_count)
        snprintf(out, size, "siit[%u].eam[%u]", completion->number, mapping);
    else
        snprintf(out, size, "line %u", completion->line[mapping]);
    return out;
}

/* --- the file ------------------------------------------------------------------------------------ */

static bool add_mapping(struct completion *completion, const struct eam *mapping, uint32_t line)
{
    struct config_siit *entry = entry_of(completion);
    if (completion->line == NULL || entry->mapping_count == completion->room) {
        size_t room = completion->room * 2 + 64;
        struct eam *mappings = reallocarray(entry->mappings, room, sizeof(struct eam));
        if (mappings != NULL)
            entry->mappings = mappings;
        uint32_t *lines = mappings != NULL ? reallocarray(completion->line, room, sizeof(uint32_t)) : NULL;
        if (lines == NULL)
            return blame(completion, "", "out of memory; free some and try again");
        completion->line = lines;
        completion->room = room;
    }
    completion->line[entry->mapping_count] = line;
    entry->mappings[entry->mapping_count++] = *mapping;
    return true;
}

/* Cuts the next word off a line; NULL: there is none. */
static char *next_word(char **at)
{
    char *word = *at + strspn(*at, " \t\r");
    size_t length = strcspn(word, " \t\r");
    *at = word + length;
    if (length == 0)
        return NULL;
    if (word[length] != '\0')
        *(*at)++ = '\0';
    return word;
}

/* rfc: 7757-3.2-a */
static bool read_line(struct completion *completion, char *text, uint32_t line)
{
    static const struct value_rule rule4 = {.type = VALUE_MAPPED4}, rule6 = {.type = VALUE_MAPPED6};
    struct config_siit *entry = entry_of(completion);
    struct value_error why;
    struct eam mapping;
    text[strcspn(text, "#")] = '\0';
    char *four = next_word(&text), *six = next_word(&text), *more = next_word(&text);
    if (four == NULL)
        return true;
    const char *problem = NULL;
    if (six == NULL || more != NULL)
        problem = "expected one mapping, IPV4[/LENGTH] IPV6[/LENGTH], such as 192.0.2.0/24 2001:db8::/120";
    else if (!value_read(&rule4, four, false, &mapping, &why) ||
             !value_read(&rule6, six, false, &mapping, &why))
        problem = why.text;
    else if (entry->mapping_count == EAM_MAPPINGS_MAXIMUM)
        problem = "more mappings than an entry may have, 1048576; distribute them over several entries";
    if (problem == NULL)
        return add_mapping(completion, &mapping, line);
    snprintf(completion->error->text, sizeof(completion->error->text), "%s:%u: %s", entry->eam_file, line,
             problem);
    return false;
}

static bool read_lines(struct completion *completion, char *text, size_t length)
{
    uint32_t line = 1;
    for (char *end = text + length; text < end; line++) {
        char *newline = memchr(text, '\n', (size_t)(end - text));
        char *next = newline != NULL ? newline + 1 : end;
        if (newline != NULL)
            *newline = '\0';
        if (!read_line(completion, text, line))
            return false;
        text = next;
    }
    return true;
}

/* The whole of a regular file, ended by a zero, to be freed; NULL and errno. */
static char *read_regular(int file, size_t *length)
{
    struct stat stat;
    char *text = NULL;
    *length = 0;
    if (fstat(file, &stat) != 0)
        return NULL;
    errno = S_ISREG(stat.st_mode) ? EFBIG : EINVAL;
    if (S_ISREG(stat.st_mode) && stat.st_size <= EAM_FILE_MAXIMUM)
        text = malloc((size_t)stat.st_size + 1);
    while (text != NULL && *length < (size_t)stat.st_size) {
        ssize_t part = read(file, text + *length, (size_t)stat.st_size - *length);
        if (part < 0 && errno == EINTR)
            continue;
        if (part <= 0)
            break; /* it has become shorter meanwhile */
        *length += (size_t)part;
    }
    if (text != NULL)
        text[*length] = '\0';
    return text;
}

static bool read_eam_file(struct completion *completion)
{
    struct config_siit *entry = entry_of(completion);
    if (entry->eam_file[0] == '\0' || completion->files == NULL)
        return true;
    size_t length;
    int file = completion->files->open(completion->files->context, entry->eam_file);
    char *text = file >= 0 ? read_regular(file, &length) : NULL;
    bool done = text != NULL;
    if (!done)
        blame(completion, ".eam-file", "%s cannot be read: %s", entry->eam_file,
              errno == EINVAL ? "it is no regular file" : strerror(errno));
    done = done && read_lines(completion, text, length);
    free(text);
    if (file >= 0)
        close(file);
    return done;
}

/* --- checks -------------------------------------------------------------------------------------- */

static bool overlap(const struct rfc6052_prefix *one, const struct rfc6052_prefix *other)
{
    return rfc6052_contains(one, &other->address) || rfc6052_contains(other, &one->address);
}

static bool check_identity(const struct completion *completion)
{
    const struct config *config = completion->config;
    const struct siit_settings *own = &entry_of(completion)->settings;
    for (uint32_t i = 0; i < completion->number; i++) {
        const struct siit_settings *other = &config->siit[i].settings;
        if (strcmp(other->name, own->name) == 0)
            return blame(completion, ".name", "siit[%u] is also named %s; give each entry a name of its own",
                         i, own->name);
        if (own->prefix.length != 0 && other->prefix.length != 0 && overlap(&own->prefix, &other->prefix))
            return blame(completion, ".prefix", "overlaps siit[%u].prefix; prefixes must be apart", i);
    }
    for (uint32_t i = 0; own->prefix.length != 0 && i < config->settings.nat64_count; i++)
        if (overlap(&own->prefix, &config->settings.nat64[i].prefix))
            return blame(completion, ".prefix", "overlaps nat64[%u].prefix; prefixes must be apart", i);
    return true;
}

/* The IPv6 side of a mapping under a prefix of nat64 would never be asked. */
static bool check_mapped_hosts(const struct completion *completion)
{
    const struct config_siit *entry = entry_of(completion);
    const struct settings *settings = &completion->config->settings;
    for (uint32_t i = 0; i < settings->nat64_count; i++)
        for (uint32_t j = 0; j < entry->mapping_count; j++)
            if (rfc6052_contains(&settings->nat64[i].prefix, &entry->mappings[j].ipv6))
                return blame_mapping(completion, j,
                                     "the IPv6 side lies in nat64[%u].prefix, behind which are IPv4 hosts; "
                                     "expected hosts on the IPv6 side",
                                     i);
    return true;
}

static struct ipv4_span span_of(const struct eam *mapping)
{
    uint32_t first = from_be32(mapping->ipv4);
    return (struct ipv4_span){.first = first,
                              .last = first | (uint32_t)(UINT64_C(0xffffffff) >> mapping->length4)};
}

static bool touch(struct ipv4_span one, struct ipv4_span other)
{
    return one.first <= other.last && other.first <= one.last;
}

/* A pool address belongs to nat64 alone. */
static bool check_pools(const struct completion *completion)
{
    const struct config_siit *entry = entry_of(completion);
    const struct settings *settings = &completion->config->settings;
    for (uint32_t i = 0; i < settings->nat64_count; i++)
        for (uint32_t j = 0; j < settings->nat64[i].pool_count; j++) {
            uint32_t first = from_be32(settings->nat64[i].pool[j].first);
            struct ipv4_span pool = {.first = first, .last = first + settings->nat64[i].pool[j].count - 1};
            for (uint32_t k = 0; k < entry->mapping_count; k++)
                if (touch(pool, span_of(&entry->mappings[k])))
                    return blame_mapping(completion, k,
                                         "the IPv4 side overlaps nat64[%u].pool[%u]; an address belongs to "
                                         "one of the two",
                                         i, j);
        }
    return true;
}

static bool build_table(const struct completion *completion)
{
    const struct config_siit *entry = entry_of(completion);
    struct siit_settings *siit = &completion->config->settings.siit[completion->number];
    struct eam_problem problem;
    char other[64];
    siit->eam = eam_build(entry->mappings, entry->mapping_count, &problem);
    if (siit->eam != NULL)
        return true;
    if (problem.sentence == NULL)
        return blame(completion, "", "out of memory; free some and try again");
    if (strstr(problem.sentence, "earlier") == NULL)
        return blame_mapping(completion, problem.entry, "%s", problem.sentence);
    return blame_mapping(completion, problem.entry, "%s, %s; keep one of the two", problem.sentence,
                         name_mapping(completion, problem.other, other, sizeof(other)));
}

static bool complete_entry(struct completion *completion)
{
    struct config_siit *entry = entry_of(completion);
    struct siit_settings *siit = &completion->config->settings.siit[completion->number];
    *siit = entry->settings;
    completion->config->settings.siit_count = completion->number + 1;
    if (!check_identity(completion))
        return false;
    for (uint32_t i = 0; i < entry->eam_count; i++)
        if (!add_mapping(completion, &entry->eam[i], 0))
            return false;
    if (!read_eam_file(completion) || !build_table(completion) || !check_mapped_hosts(completion) ||
        !check_pools(completion))
        return false;
    if (siit->prefix.length == 0 && entry->mapping_count == 0 &&
        (completion->files != NULL || entry->eam_file[0] == '\0'))
        return blame(completion, "", "has neither a prefix nor a mapping; write prefix, eam or eam-file");
    return true;
}

/* --- networks ------------------------------------------------------------------------------------ */

static int compare_spans(const void *a, const void *b)
{
    const struct ipv4_span *one = a, *other = b;
    return one->first != other->first ? (one->first < other->first ? -1 : 1) : 0;
}

/* Sorts, and makes one of those that overlap or adjoin; how many are left. */
static uint32_t merge(struct ipv4_span *spans, uint32_t count)
{
    uint32_t kept = 0;
    qsort(spans, count, sizeof(spans[0]), compare_spans);
    for (uint32_t i = 0; i < count; i++) {
        if (kept > 0 && (spans[kept - 1].last == UINT32_MAX || spans[i].first <= spans[kept - 1].last + 1)) {
            if (spans[i].last > spans[kept - 1].last)
                spans[kept - 1].last = spans[i].last;
        } else {
            spans[kept++] = spans[i];
        }
    }
    return kept;
}

static struct ipv4_span *spans_of_entry(const struct config_siit *entry, uint32_t *count)
{
    struct ipv4_span *spans = calloc((size_t)entry->mapping_count + 1, sizeof(*spans));
    for (uint32_t i = 0; spans != NULL && i < entry->mapping_count; i++)
        spans[i] = span_of(&entry->mappings[i]);
    *count = spans != NULL ? merge(spans, entry->mapping_count) : 0;
    return spans;
}

struct ipv4_span *config_siit_spans(const struct config *config, uint32_t *count)
{
    size_t all = 0;
    for (uint32_t i = 0; i < config->siit_count; i++)
        all += config->siit[i].mapping_count;
    struct ipv4_span *spans = calloc(all + 1, sizeof(*spans));
    *count = 0;
    for (uint32_t i = 0; spans != NULL && i < config->siit_count; i++)
        for (uint32_t j = 0; j < config->siit[i].mapping_count; j++)
            spans[(*count)++] = span_of(&config->siit[i].mappings[j]);
    if (spans != NULL)
        *count = merge(spans, *count);
    return spans;
}

/* The first span of `these` that `those` touch, or NULL. */
static const struct ipv4_span *find_touched(const struct ipv4_span *these, uint32_t these_count,
                                            const struct ipv4_span *those, uint32_t those_count)
{
    for (uint32_t i = 0, j = 0; i < these_count; i++) {
        while (j < those_count && those[j].last < these[i].first)
            j++;
        if (j < those_count && touch(these[i], those[j]))
            return &these[i];
    }
    return NULL;
}

/* Two entries must not map the same IPv4 address. */
static bool check_other_entries(const struct completion *completion)
{
    uint32_t own_count, other_count;
    struct ipv4_span *own = spans_of_entry(entry_of(completion), &own_count);
    bool apart = true;
    for (uint32_t i = 0; own != NULL && apart && i < completion->number; i++) {
        struct ipv4_span *other = spans_of_entry(&completion->config->siit[i], &other_count);
        const struct ipv4_span *common =
            other != NULL ? find_touched(own, own_count, other, other_count) : NULL;
        char text[INET_ADDRSTRLEN];
        if (common != NULL) {
            be32 address = to_be32(common->first);
            inet_ntop(AF_INET, &address, text, sizeof(text));
            apart = blame(completion, ".eam",
                          "among the addresses from %s on are some that siit[%u] maps too; an IPv4 address "
                          "belongs to one entry",
                          text, i);
        }
        free(other);
    }
    free(own);
    return apart;
}

bool config_siit_complete(struct config *config, const struct config_files *files,
                          struct config_source *source, struct config_error *error)
{
    bool done = true;
    for (uint32_t i = 0; i < config->siit_count && done; i++) {
        struct completion completion = {
            .config = config, .files = files, .source = source, .error = error, .number = i};
        done = complete_entry(&completion) && check_other_entries(&completion);
        free(completion.line);
    }
    return done;
}

void config_siit_free(struct config *config)
{
    for (uint32_t i = 0; i < SIIT_INSTANCES_MAXIMUM; i++) {
        free(config->siit[i].eam);
        free(config->siit[i].mappings);
        eam_free((struct eam_table *)(uintptr_t)config->settings.siit[i].eam);
    }
}
