/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The canonical text: every key of the table in its order, one a line, defaults included. And the comparison
 * of two configurations, which is a comparison of what would be printed.
 */
#include <stdio.h>
#include <string.h>

#include "control/config_eam.h"
#include "control/config_schema.h"

enum { INDENT = 2 };

struct printer {
    FILE *out;
    int depth;
    bool begun; /* the "- " of a list's entry already stands on the line */
};

static void print_keys(struct printer *printer, const struct config_key *parent,
                       const struct config_place *place);

static void print_name(struct printer *printer, const struct config_key *key)
{
    if (!printer->begun)
        fprintf(printer->out, "%*s", printer->depth * INDENT, "");
    printer->begun = false;
    fprintf(printer->out, "%s:", config_key_name(key));
}

static void print_list(struct printer *printer, const struct config_key *list,
                       const struct config_place *place)
{
    uint32_t count = *config_list_count(list, place);
    fputs(count == 0 ? " []\n" : "\n", printer->out);
    for (uint32_t i = 0; i < count; i++) {
        const struct config_place entry = config_list_entry(list, place, i);
        fprintf(printer->out, "%*s- ", (printer->depth + 1) * INDENT, "");
        printer->begun = true;
        printer->depth += 2;
        print_keys(printer, list, &entry);
        printer->depth -= 2;
    }
}

static void print_keys(struct printer *printer, const struct config_key *parent,
                       const struct config_place *place)
{
    char text[VALUE_TEXT_SIZE];
    for (const struct config_key *key = NULL; (key = config_next_child(parent, key)) != NULL;) {
        if (key->rule.type == VALUE_REFUSED)
            continue;
        print_name(printer, key);
        if (key->rule.type == VALUE_GROUP) {
            fputs("\n", printer->out);
            printer->depth++;
            print_keys(printer, key, place);
            printer->depth--;
        } else if (key->rule.type == VALUE_LIST) {
            print_list(printer, key, place);
        } else {
            value_format(&key->rule, config_field(key, place), text);
            fprintf(printer->out, " %s\n", text);
        }
    }
}

void config_print(const struct config *config, FILE *out)
{
    struct printer printer = {.out = out};
    /* The place serves reading and writing alike, so it has no const; nothing is written here. */
    const struct config_place place = {.config = (struct config *)(uintptr_t)config};
    print_keys(&printer, &config_root, &place);
}

/* Two configurations side by side, and the path of the keys at hand. */
struct comparison {
    struct config_place old, new;
    char path[CONFIG_PATH_SIZE];
};

static bool same_keys(struct comparison *comparison, const struct config_key *parent);

/* False leaves the path at the first difference that a reload cannot make. */
static bool same_list(struct comparison *comparison, const struct config_key *list)
{
    const struct config_place old = comparison->old, new = comparison->new;
    uint32_t count = *config_list_count(list, &old);
    size_t length = strlen(comparison->path);
    if (list->live)
        return true;
    if (count != *config_list_count(list, &new))
        return false;
    for (uint32_t i = 0; i < count; i++) {
        comparison->old = config_list_entry(list, &old, i);
        comparison->new = config_list_entry(list, &new, i);
        snprintf(comparison->path + length, sizeof(comparison->path) - length, "[%u]", i);
        if (!same_keys(comparison, list))
            return false;
        comparison->path[length] = 0;
    }
    comparison->old = old;
    comparison->new = new;
    return true;
}

static bool same_value(const struct comparison *comparison, const struct config_key *key)
{
    char old[VALUE_TEXT_SIZE], new[VALUE_TEXT_SIZE];
    if (key->live)
        return true;
    value_format(&key->rule, config_field(key, &comparison->old), old);
    value_format(&key->rule, config_field(key, &comparison->new), new);
    return strcmp(old, new) == 0;
}

static bool same_keys(struct comparison *comparison, const struct config_key *parent)
{
    for (const struct config_key *key = NULL; (key = config_next_child(parent, key)) != NULL;) {
        size_t length = strlen(comparison->path);
        bool same = true;
        snprintf(comparison->path + length, sizeof(comparison->path) - length, "%s%s", length == 0 ? "" : ".",
                 config_key_name(key));
        if (key->rule.type == VALUE_GROUP)
            same = same_keys(comparison, key);
        else if (key->rule.type == VALUE_LIST)
            same = same_list(comparison, key);
        else if (key->rule.type != VALUE_REFUSED)
            same = same_value(comparison, key);
        if (!same)
            return false;
        comparison->path[length] = 0;
    }
    return true;
}

/* Counting is a matter of the settings, but the room for counts was made with the table. */
static bool may_count(const struct config *old, const struct config *new, struct config_error *error)
{
    for (uint32_t i = 0; i < new->settings.nat64_count && !old->geometry.counters; i++)
        if (new->settings.nat64[i].counters) {
            snprintf(error->text, sizeof(error->text),
                     "nat64[%u].counters: needs restart; the table was made without room for counts", i);
            return false;
        }
    return true;
}

bool config_reloadable(const struct config *old, struct config *new, struct config_error *error)
{
    struct comparison comparison = {.old = {.config = (struct config *)(uintptr_t)old},
                                    .new = {.config = new}};
    if (!same_keys(&comparison, &config_root)) {
        snprintf(error->text, sizeof(error->text), "%s: needs restart", comparison.path);
        return false;
    }
    if (!may_count(old, new, error) || !config_siit_routed(old, new, error))
        return false;
    new->geometry = old->geometry;
    return true;
}
