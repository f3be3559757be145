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

/* On one line: "[a, b]". */
static void print_scalars(struct printer *printer, const struct config_key *key,
                          const struct config_place *place)
{
    char text[VALUE_TEXT_SIZE];
    uint32_t count = *config_list_count(key, place);
    const char *entries = config_field(key, place);
    if (count == 0) {
        fputs(key->rule.nullable ? " null\n" : " []\n", printer->out);
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        value_format(key->rule.item, entries + i * key->rule.size, text);
        fprintf(printer->out, "%s%s", i == 0 ? " [" : ", ", text);
    }
    fputs("]\n", printer->out);
}

static void print_group(struct printer *printer, const struct config_key *group,
                        const struct config_place *place)
{
    if (group->allocated && config_field(group, place) == NULL) {
        fputs(" null\n", printer->out);
        return;
    }
    fputs("\n", printer->out);
    printer->depth++;
    print_keys(printer, group, place);
    printer->depth--;
}

/* Is it null and better not mentioned, since another key stands in its place? */
static bool is_tacit(const struct config_key *key, const struct config_place *place)
{
    char text[VALUE_TEXT_SIZE];
    if (!key->tacit)
        return false;
    value_format(&key->rule, config_field(key, place), text);
    return strcmp(text, "null") == 0;
}

static void print_keys(struct printer *printer, const struct config_key *parent,
                       const struct config_place *place)
{
    char text[VALUE_TEXT_SIZE];
    for (const struct config_key *key = NULL; (key = config_next_child(parent, key)) != NULL;) {
        if (key->rule.type == VALUE_REFUSED || is_tacit(key, place))
            continue;
        print_name(printer, key);
        if (key->rule.type == VALUE_GROUP) {
            print_group(printer, key, place);
        } else if (key->rule.type == VALUE_LIST) {
            print_list(printer, key, place);
        } else if (key->rule.type == VALUE_SCALARS) {
            print_scalars(printer, key, place);
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
    bool all; /* go on after a difference, or stop at the first that needs a restart? */
    struct config_differences *differences;
};

static bool same_keys(struct comparison *comparison, const struct config_key *parent);

/* Notes a difference at the path; false: the comparison is over. */
static bool differs(struct comparison *comparison)
{
    struct config_differences *differences = comparison->differences;
    if (!comparison->all)
        return false;
    if (differences->count < CONFIG_DIFFERENCES)
        memcpy(differences->path[differences->count], comparison->path, sizeof(comparison->path));
    differences->count++;
    return true;
}

static bool same_entries(struct comparison *comparison, const struct config_key *list, uint32_t count)
{
    const struct config_place old = comparison->old, new = comparison->new;
    size_t length = strlen(comparison->path);
    bool same = true;
    for (uint32_t i = 0; i < count && same; i++) {
        comparison->old = config_list_entry(list, &old, i);
        comparison->new = config_list_entry(list, &new, i);
        snprintf(comparison->path + length, sizeof(comparison->path) - length, "[%u]", i);
        same = same_keys(comparison, list);
        if (same)
            comparison->path[length] = 0;
    }
    comparison->old = old;
    comparison->new = new;
    return same;
}

/* False leaves the path at the first difference that ends the comparison. */
static bool same_list(struct comparison *comparison, const struct config_key *list)
{
    uint32_t count = *config_list_count(list, &comparison->old);
    size_t length = strlen(comparison->path);
    if (list->live && !comparison->all)
        return true;
    if (count != *config_list_count(list, &comparison->new))
        return differs(comparison);
    if (!comparison->all || !list->allocated)
        return same_entries(comparison, list, count);
    comparison->all = false; /* of entries that may be many the first that differs is enough */
    bool same = same_entries(comparison, list, count);
    comparison->all = true;
    comparison->path[length] = 0;
    return same || differs(comparison);
}

static bool same_scalars(struct comparison *comparison, const struct config_key *key)
{
    uint32_t count = *config_list_count(key, &comparison->old);
    if (key->live && comparison->differences == NULL)
        return true;
    bool same = count == *config_list_count(key, &comparison->new) &&
                (count == 0 || memcmp(config_field(key, &comparison->old),
                                      config_field(key, &comparison->new), count * key->rule.size) == 0);
    return same || differs(comparison);
}

/* Of a group that only one of the two has, it is the whole that differs. */
static bool same_group(struct comparison *comparison, const struct config_key *group)
{
    if (group->allocated) {
        const void *old = config_field(group, &comparison->old), *new = config_field(group, &comparison->new);
        if (old == NULL || new == NULL)
            return old == new || differs(comparison);
    }
    return same_keys(comparison, group);
}

static bool same_value(struct comparison *comparison, const struct config_key *key)
{
    char old[VALUE_TEXT_SIZE], new[VALUE_TEXT_SIZE];
    if (key->live && comparison->differences == NULL)
        return true;
    value_format(&key->rule, config_field(key, &comparison->old), old);
    value_format(&key->rule, config_field(key, &comparison->new), new);
    return strcmp(old, new) == 0 || differs(comparison);
}

static bool same_keys(struct comparison *comparison, const struct config_key *parent)
{
    for (const struct config_key *key = NULL; (key = config_next_child(parent, key)) != NULL;) {
        size_t length = strlen(comparison->path);
        bool same = true;
        snprintf(comparison->path + length, sizeof(comparison->path) - length, "%s%s", length == 0 ? "" : ".",
                 config_key_name(key));
        if (key->rule.type == VALUE_GROUP)
            same = same_group(comparison, key);
        else if (key->rule.type == VALUE_LIST)
            same = same_list(comparison, key);
        else if (key->rule.type == VALUE_SCALARS)
            same = same_scalars(comparison, key);
        else if (key->rule.type != VALUE_REFUSED)
            same = same_value(comparison, key);
        if (!same)
            return false;
        comparison->path[length] = 0;
    }
    return true;
}

/* What stands in a file of mappings is no key. */
static void compare_files(struct comparison *comparison, const struct config *old, const struct config *new)
{
    for (uint32_t i = 0; i < old->siit_count && i < new->siit_count; i++) {
        const struct config_siit *before = &old->siit[i], *after = &new->siit[i];
        uint32_t count = before->mapping_count - before->eam_count;
        if (strcmp(before->eam_file, after->eam_file) != 0 ||
            (count == after->mapping_count - after->eam_count &&
             (count == 0 || memcmp(before->mappings + before->eam_count, after->mappings + after->eam_count,
                                   count * sizeof(struct eam)) == 0)))
            continue;
        snprintf(comparison->path, sizeof(comparison->path), "siit[%u].eam-file (its content)", i);
        (void)differs(comparison);
    }
}

void config_compare(const struct config *old, const struct config *new,
                    struct config_differences *differences)
{
    struct comparison comparison = {.old = {.config = (struct config *)(uintptr_t)old},
                                    .new = {.config = (struct config *)(uintptr_t) new},
                                    .all = true,
                                    .differences = differences};
    differences->count = 0;
    (void)same_keys(&comparison, &config_root);
    compare_files(&comparison, old, new);
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

/* So was that for sessions and addresses; what the limits add up to may only be less. */
static bool fits(const struct config *old, const struct config *new, struct config_error *error)
{
    const struct {
        const char *limit;
        uint32_t room, wanted;
    } sums[] = {{"sessions", old->geometry.sessions, new->geometry.sessions},
                {"addresses", old->geometry.addresses, new->geometry.addresses}};
    for (size_t i = 0; i < sizeof(sums) / sizeof(sums[0]); i++)
        if (sums[i].wanted > sums[i].room) {
            snprintf(
                error->text, sizeof(error->text),
                "nat64[].limits.%s: needs restart; their sum is %u, and the table was made for %u; to do "
                "without, lower some",
                sums[i].limit, sums[i].wanted, sums[i].room);
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
    if (!fits(old, new, error) || !may_count(old, new, error))
        return false;
    new->geometry = old->geometry;
    return true;
}
