/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From YAML nodes to the struct, led by the table of keys: for each group its map is read, for each list
 * its entries, for each other key a scalar. What the file leaves out is read from the default's text, by the
 * same functions. The path of the key at hand is kept for messages.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/config_check.h"
#include "control/config_document.h"
#include "control/config_eam.h"
#include "control/config_schema.h"

struct reader {
    struct config_source source;
    struct config *config;
    const struct config_files *files; /* NULL: files that are named are not read */
    struct config_error *error;
    char path[CONFIG_PATH_SIZE];
};

/* What is read into where: a key, its node (NULL: absent), the node around it, the struct. */
struct task {
    const struct config_key *key;
    const yaml_node_t *node;
    const yaml_node_t *around;
    struct config_place place;
};

static bool read_key(struct reader *reader, const struct task *task);

/* Appends to the path; returns the length to which path_cut brings it back. */
__attribute__((format(printf, 2, 3))) static size_t path_add(struct reader *reader, const char *format, ...)
{
    size_t length = strlen(reader->path);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reader->path + length, sizeof(reader->path) - length, format, arguments);
    va_end(arguments);
    return length;
}

static void path_cut(struct reader *reader, size_t length)
{
    reader->path[length] = 0;
}

__attribute__((format(printf, 3, 4))) static bool complain(struct reader *reader, const yaml_node_t *node,
                                                           const char *format, ...)
{
    char sentence[sizeof(reader->error->text)];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof(sentence), format, arguments);
    va_end(arguments);
    return config_complain(&reader->source, &node->start_mark, reader->error, "%s%s%s", reader->path,
                           reader->path[0] == 0 ? "" : ": ", sentence);
}

/* Found a node of the wrong kind. */
static bool complain_kind(struct reader *reader, const struct task *task)
{
    char expected[VALUE_TEXT_SIZE], quoted[VALUE_QUOTE_SIZE];
    const char *found = "a list";
    value_expected(&task->key->rule, expected, sizeof(expected));
    if (task->node->type == YAML_MAPPING_NODE)
        found = "keys with values";
    if (task->node->type == YAML_SCALAR_NODE)
        found = value_quote((const char *)task->node->data.scalar.value, quoted);
    return complain(reader, task->node, "found %s; expected %s", found, expected);
}

/* True for a key that is written without a value, as where all below it is commented out. */
static bool is_blank(const yaml_node_t *node)
{
    return node->type == YAML_SCALAR_NODE && node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
           node->data.scalar.length == 0;
}

/* The number of single-letter changes between two words, given up at 3. */
static unsigned word_distance(const char *a, const char *b)
{
    unsigned row[32];
    size_t a_length = strlen(a), b_length = strlen(b);
    if (a_length >= 32 || b_length >= 32)
        return 3;
    for (unsigned j = 0; j <= b_length; j++)
        row[j] = j;
    for (unsigned i = 1; i <= a_length; i++) {
        unsigned corner = row[0];
        row[0] = i;
        for (unsigned j = 1; j <= b_length; j++) {
            unsigned best = corner + (a[i - 1] != b[j - 1]);
            corner = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[b_length] < 3 ? row[b_length] : 3;
}

static bool complain_unknown(struct reader *reader, const struct config_key *group, const yaml_node_t *node)
{
    const char *word = (const char *)node->data.scalar.value, *nearest = NULL;
    char quoted[VALUE_QUOTE_SIZE], allowed[VALUE_TEXT_SIZE] = "";
    unsigned distance = 3;
    for (const struct config_key *key = NULL; (key = config_next_child(group, key)) != NULL;) {
        size_t length = strlen(allowed);
        unsigned this = word_distance(word, config_key_name(key));
        if (key->rule.type == VALUE_REFUSED)
            continue;
        snprintf(allowed + length, sizeof(allowed) - length, "%s%s", length == 0 ? "" : ", ",
                 config_key_name(key));
        if (this < distance) {
            distance = this;
            nearest = config_key_name(key);
        }
    }
    return complain(reader, node, "unknown key %s%s%s%s; allowed here: %s", value_quote(word, quoted),
                    nearest == NULL ? "" : ", did you mean \"", nearest == NULL ? "" : nearest,
                    nearest == NULL ? "" : "\"", allowed);
}

/* Notes one pair of a map at its key's row in `found`. */
static bool note_pair(struct reader *reader, const struct config_key *group, const yaml_node_pair_t *pair,
                      const yaml_node_t **found)
{
    const yaml_node_t *name = yaml_document_get_node(&reader->source.document, pair->key);
    const struct config_key *key = NULL;
    if (name->type != YAML_SCALAR_NODE)
        return complain(reader, name, "found a list or a map as a key; a key is a word");
    while ((key = config_next_child(group, key)) != NULL)
        if (strlen(config_key_name(key)) == name->data.scalar.length &&
            memcmp(config_key_name(key), name->data.scalar.value, name->data.scalar.length) == 0)
            break;
    if (key == NULL)
        return complain_unknown(reader, group, name);
    if (key->rule.type == VALUE_REFUSED)
        return complain(reader, name, "%s: %s", config_key_name(key), key->help);
    if (found[key - config_keys] != NULL)
        return complain(reader, name, "%s stands here twice; keep one", config_key_name(key));
    found[key - config_keys] = yaml_document_get_node(&reader->source.document, pair->value);
    return true;
}

static bool read_group(struct reader *reader, const struct task *task)
{
    const yaml_node_t *found[CONFIG_KEYS_MAXIMUM] = {NULL};
    const yaml_node_t *node = task->node;
    if (node != NULL && node->type == YAML_MAPPING_NODE) {
        for (yaml_node_pair_t *pair = node->data.mapping.pairs.start; pair < node->data.mapping.pairs.top;
             pair++)
            if (!note_pair(reader, task->key, pair, found))
                return false;
    } else if (node != NULL && !is_blank(node)) {
        return complain_kind(reader, task);
    }
    for (const struct config_key *key = NULL; (key = config_next_child(task->key, key)) != NULL;) {
        const struct task child = {.key = key,
                                   .node = found[key - config_keys],
                                   .around = node != NULL ? node : task->around,
                                   .place = task->place};
        size_t length = path_add(reader, "%s%s", reader->path[0] == 0 ? "" : ".", config_key_name(key));
        if (key->rule.type != VALUE_REFUSED && !read_key(reader, &child))
            return false;
        path_cut(reader, length);
    }
    return true;
}

/*
 * A group that stands for a part of the program which need not be there. Empty braces are a group, too; its
 * name alone is not.
 */
static bool read_optional(struct reader *reader, const struct task *task)
{
    const yaml_node_t *node = task->node;
    bool plain =
        node != NULL && node->type == YAML_SCALAR_NODE && node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    if (node == NULL || (plain && value_is_null((const char *)node->data.scalar.value)))
        return true;
    if (!config_allocate(task->key, &task->place, 1))
        return complain(reader, node, "out of memory; free some and try again");
    return read_group(reader, task);
}

static bool read_entries(struct reader *reader, const struct task *task, size_t count)
{
    uint32_t *filled = config_list_count(task->key, &task->place);
    /* The count follows entry by entry, so that a half-read list can be freed. */
    if (task->key->allocated && count != 0 && !config_allocate(task->key, &task->place, count))
        return complain(reader, task->node, "out of memory; free some and try again");
    for (*filled = 0; *filled < count; (*filled)++) {
        yaml_node_item_t item = task->node->data.sequence.items.start[*filled];
        const struct task entry = {.key = task->key,
                                   .node = yaml_document_get_node(&reader->source.document, item),
                                   .around = task->node,
                                   .place = config_list_entry(task->key, &task->place, *filled)};
        size_t length = path_add(reader, "[%u]", *filled);
        if (entry.node->type != YAML_MAPPING_NODE)
            return complain(reader, entry.node,
                            "found an entry without keys; expected KEY: VALUE, as isthmus.yaml(5) shows");
        if (!read_group(reader, &entry))
            return false;
        path_cut(reader, length);
    }
    return true;
}

static bool read_list(struct reader *reader, const struct task *task)
{
    const struct value_rule *rule = &task->key->rule;
    size_t count = 0;
    if (task->node != NULL && task->node->type == YAML_SEQUENCE_NODE)
        count = (size_t)(task->node->data.sequence.items.top - task->node->data.sequence.items.start);
    else if (task->node != NULL && !is_blank(task->node))
        return complain_kind(reader, task);
    if (count < (size_t)rule->low)
        return complain(reader, task->node != NULL ? task->node : task->around,
                        "is missing or empty; write at least one entry: %s", task->key->help);
    if (count > (size_t)rule->high)
        return complain(reader, task->node, "has %zu entries; at most %u are allowed", count,
                        (unsigned)rule->high);
    return count == 0 || read_entries(reader, task, count);
}

/* The help of the row KEY=WORD, if this word is known and not available. */
static const char *refusal(const struct config_key *key, const char *word)
{
    size_t length = strlen(key->path);
    for (size_t i = 0; i < config_key_count; i++)
        if (strncmp(config_keys[i].path, key->path, length) == 0 && config_keys[i].path[length] == '=' &&
            strcmp(config_keys[i].path + length + 1, word) == 0)
            return config_keys[i].help;
    return NULL;
}

static bool read_scalar(struct reader *reader, const struct task *task, const yaml_node_t *node)
{
    const char *text = (const char *)node->data.scalar.value;
    struct value_error why;
    if (node->type != YAML_SCALAR_NODE)
        return complain_kind(reader, task);
    if (strlen(text) != node->data.scalar.length)
        return complain(reader, node, "holds a zero byte; remove it");
    if (refusal(task->key, text) != NULL)
        return complain(reader, node, "%s: %s", text, refusal(task->key, text));
    if (!value_read(&task->key->rule, text, node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE,
                    config_field(task->key, &task->place), &why))
        return complain(reader, node, "%s", why.text);
    return true;
}

/* A list of words: each goes into the same field. */
static bool read_words(struct reader *reader, const struct task *task)
{
    const yaml_node_t *node = task->node;
    if (node->type != YAML_SEQUENCE_NODE)
        return complain_kind(reader, task);
    if (node->data.sequence.items.start == node->data.sequence.items.top)
        return complain(reader, node, "is empty; leave it out for the default %s", task->key->fallback);
    for (yaml_node_item_t *item = node->data.sequence.items.start; item < node->data.sequence.items.top;
         item++)
        if (!read_scalar(reader, task, yaml_document_get_node(&reader->source.document, *item)))
            return false;
    return true;
}

/* An entry is what no entry before it is. */
static bool is_repeated(const struct task *task, uint32_t number)
{
    const char *entries = config_field(task->key, &task->place);
    size_t size = task->key->rule.size;
    for (uint32_t i = 0; i < number; i++)
        if (memcmp(entries + i * size, entries + number * size, size) == 0)
            return true;
    return false;
}

static bool read_item(struct reader *reader, const struct task *task, const yaml_node_t *node)
{
    const struct value_rule *rule = &task->key->rule;
    uint32_t *filled = config_list_count(task->key, &task->place);
    const char *text = (const char *)node->data.scalar.value; /* if it is one */
    char *entry = (char *)config_field(task->key, &task->place) + *filled * rule->size;
    char expected[VALUE_TEXT_SIZE];
    struct value_error why;
    if (node->type != YAML_SCALAR_NODE) {
        value_expected(rule->item, expected, sizeof(expected));
        return complain(reader, node, "found a list or keys; expected %s", expected);
    }
    if (strlen(text) != node->data.scalar.length)
        return complain(reader, node, "holds a zero byte; remove it");
    if (!value_read(rule->item, text, node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE, entry, &why))
        return complain(reader, node, "%s", why.text);
    if (is_repeated(task, *filled))
        return complain(reader, node, "stands here twice; keep one");
    (*filled)++;
    return true;
}

/* A list of values without keys. */
static bool read_scalars(struct reader *reader, const struct task *task)
{
    const struct value_rule *rule = &task->key->rule;
    const yaml_node_t *node = task->node;
    if (node->type == YAML_SCALAR_NODE && rule->nullable &&
        value_is_null((const char *)node->data.scalar.value))
        return true;
    if (node->type != YAML_SEQUENCE_NODE)
        return complain_kind(reader, task);
    const yaml_node_item_t *items = node->data.sequence.items.start;
    size_t count = (size_t)(node->data.sequence.items.top - items);
    if (count < (size_t)rule->low)
        return complain(reader, node, "is empty; leave it out for the default %s", task->key->fallback);
    if (count > (size_t)rule->high)
        return complain(reader, node, "has %zu entries; at most %u are allowed", count, (unsigned)rule->high);
    if (task->key->allocated && count != 0 && !config_allocate(task->key, &task->place, count))
        return complain(reader, node, "out of memory; free some and try again");
    for (size_t i = 0; i < count; i++) {
        size_t length = path_add(reader, "[%zu]", i);
        if (!read_item(reader, task, yaml_document_get_node(&reader->source.document, items[i])))
            return false;
        path_cut(reader, length);
    }
    return true;
}

/* The default of such a list: null, [] or one entry in quotes or without. */
static bool read_default_item(const struct task *task, struct value_error *why)
{
    char text[64];
    const char *fallback = task->key->fallback;
    size_t length = strlen(fallback), skipped = strncmp(fallback, "[\"", 2) == 0 ? 2 : 1;
    if (value_is_null(fallback) || strcmp(fallback, "[]") == 0)
        return true;
    snprintf(text, sizeof(text), "%.*s", (int)(length - 2 * skipped), fallback + skipped);
    *config_list_count(task->key, &task->place) = 1;
    return value_read(task->key->rule.item, text, true, config_field(task->key, &task->place), why);
}

static bool read_default(struct reader *reader, const struct task *task)
{
    const struct config_key *key = task->key;
    char expected[VALUE_TEXT_SIZE];
    struct value_error why;
    if (key->fallback == NULL) {
        value_expected(&key->rule, expected, sizeof(expected));
        return complain(reader, task->around, "is missing; expected %s", expected);
    }
    bool read = key->rule.type == VALUE_SCALARS
                    ? read_default_item(task, &why)
                    : value_read(&key->rule, key->fallback, true, config_field(key, &task->place), &why);
    return read || complain(reader, task->around, "%s", why.text);
}

static bool read_key(struct reader *reader, const struct task *task)
{
    if (task->key->rule.type == VALUE_GROUP)
        return task->key->allocated ? read_optional(reader, task) : read_group(reader, task);
    if (task->key->rule.type == VALUE_LIST)
        return read_list(reader, task);
    if (task->node == NULL)
        return read_default(reader, task);
    if (task->key->rule.type == VALUE_WORDS)
        return read_words(reader, task);
    if (task->key->rule.type == VALUE_SCALARS)
        return read_scalars(reader, task);
    return read_scalar(reader, task, task->node);
}

/* What follows from the keys. */
static void derive(struct config *config)
{
    if (config->plane.workers == 0) {
        long processors = sysconf(_SC_NPROCESSORS_ONLN);
        config->plane.workers = processors < 1                 ? 1
                                : processors > WORKERS_MAXIMUM ? WORKERS_MAXIMUM
                                                               : (uint32_t)processors;
    }
    config->geometry = (struct geometry){.workers = config->plane.workers};
    for (uint32_t i = 0; i < config->settings.nat64_count; i++) {
        config->geometry.sessions += config->settings.nat64[i].sessions;
        config->geometry.addresses += config->nat64_addresses[i];
        config->geometry.counters |= config->settings.nat64[i].counters;
    }
    if (config->settings.nat64_count == 0) { /* siit keeps nothing; the engine wants a table all the same */
        config->geometry.sessions = TABLE_SESSIONS_MINIMUM;
        config->geometry.addresses = 1;
    }
}

static bool read_document(struct reader *reader)
{
    const yaml_node_t *root = yaml_document_get_root_node(&reader->source.document);
    const struct task task = {
        .key = &config_root, .node = root, .around = root, .place = {.config = reader->config}};
    if (!read_group(reader, &task))
        return false;
    if (!config_check(reader->config, &reader->source, reader->error))
        return false;
    if (!config_siit_complete(reader->config, reader->files, &reader->source, reader->error))
        return false;
    derive(reader->config);
    return true;
}

struct config *config_parse(const char *name, const char *text, size_t length, struct config_error *error)
{
    return config_parse_with(name, text, length, NULL, error);
}

struct config *config_parse_with(const char *name, const char *text, size_t length,
                                 const struct config_files *files, struct config_error *error)
{
    struct reader reader = {
        .source = {.name = name, .text = text, .length = length}, .files = files, .error = error};
    if (!config_document_load(&reader.source, error))
        return NULL;
    reader.config = calloc(1, sizeof(*reader.config));
    if (reader.config == NULL || !read_document(&reader)) {
        if (reader.config == NULL)
            snprintf(error->text, sizeof(error->text), "%.200s: out of memory; free some and try again",
                     name);
        config_free(reader.config);
        reader.config = NULL;
    }
    yaml_document_delete(&reader.source.document);
    return reader.config;
}

/* Reads until the end or one byte more than is allowed. Returns the length, or -1 with errno. */
static ssize_t read_file(const char *path, char *text)
{
    size_t length = 0;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return -1;
    while (length <= CONFIG_BYTES_MAXIMUM) {
        ssize_t part = read(file, text + length, CONFIG_BYTES_MAXIMUM + 1 - length);
        if (part < 0 && errno == EINTR)
            continue;
        if (part < 0) {
            int reason = errno;
            close(file);
            errno = reason;
            return -1;
        }
        if (part == 0)
            break;
        length += (size_t)part;
    }
    close(file);
    return (ssize_t)length;
}

static int open_file(void *context, const char *path)
{
    (void)context;
    return open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC); /* a FIFO must not hold us */
}

static struct config *load(const char *path, const struct config_files *files, struct config_error *error)
{
    struct config *config = NULL;
    char *text = malloc(CONFIG_BYTES_MAXIMUM + 1);
    ssize_t length = text == NULL ? -1 : read_file(path, text);
    if (length >= 0)
        config = config_parse_with(path, text, (size_t)length, files, error);
    else
        snprintf(error->text, sizeof(error->text),
                 "%.200s: cannot be read: %s; give the path of a readable file with -c", path,
                 strerror(errno));
    free(text);
    return config;
}

struct config *config_load(const char *path, struct config_error *error)
{
    static const struct config_files files = {.open = open_file};
    return load(path, &files, error);
}

struct config *config_load_keys(const char *path, struct config_error *error)
{
    return load(path, NULL, error);
}

void config_free(struct config *config)
{
    if (config == NULL)
        return;
    config_siit_free(config);
    for (uint32_t i = 0; i < NAT64_INSTANCES_MAXIMUM; i++) {
        free(config->settings.nat64[i].pool);
        free(config->settings.nat64[i].statics);
    }
    if (config->dns64 != NULL)
        free(config->dns64->names);
    free(config->dns64);
    free(config);
}
