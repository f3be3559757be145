/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * isthmus show: what the daemon says about itself, as tables or as the JSON it sent.
 *
 * Whether a line is of this or that table is told by its keys: of counters, those of verdicts have packets
 * and bytes, those of other activity have a count.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "cli/client.h"
#include "cli/table.h"

struct view {
    const char *name, *path;
    const struct columns *columns;
    const char *number;          /* key of what is counted; rows where it is 0 are left out unless --all */
    const struct columns *other; /* of the lines that have ... */
    const char *other_number;    /* ... this key; the same */
    const char *none;            /* said when there is no row */
};

static const struct view views[] = {
    {"status", "/v1/status", &status_columns, NULL, NULL, NULL, ""},
    {"sessions", "/v1/sessions", &session_columns, NULL, NULL, NULL, "no sessions"},
    {"bindings", "/v1/bindings", &binding_columns, NULL, NULL, NULL, "no bindings"},
    {"counters", "/v1/counters", &verdict_columns, "packets", &activity_columns, "count",
     "no packets yet; --all lists the counters"},
    {"pools", "/v1/pools", &pool_columns, NULL, NULL, NULL, "no pools"},
    {"dns", "/v1/dns", &dns_columns, "count", &latency_columns, "lookups",
     "no queries yet; --all lists the counters"},
};

enum {
    NICENESS = 10, /* where all processors are busy, a list waits rather than the packets it is about */
};

struct show {
    const struct view *view;
    bool all;
    struct text_table table, other;
};

static bool pass_on(void *context, char *line)
{
    (void)context;
    return puts(line) >= 0;
}

static void print_names(const json_t *names)
{
    const json_t *name;
    size_t i;
    json_array_foreach(names, i, name) printf("%s%s", i == 0 ? "" : ", ", json_string_value(name));
    puts(i == 0 ? "none" : "");
}

static bool print_status(void *context, char *line)
{
    json_t *object = json_loads(line, 0, NULL);
    (void)context;
    for (size_t i = 0; i < status_columns.count; i++) {
        const struct column *column = &status_columns.at[i];
        const json_t *value = json_object_get(object, column->key);
        printf("%-18s ", column->heading);
        if (json_is_integer(value))
            printf("%lld\n", (long long)json_integer_value(value));
        else if (json_is_boolean(value))
            puts(json_is_true(value) ? "yes" : "no");
        else if (json_is_array(value))
            print_names(value);
        else
            puts(json_is_string(value) ? json_string_value(value) : "unknown");
    }
    json_decref(object);
    return true;
}

static bool add_row(void *context, char *line)
{
    struct show *show = context;
    const struct view *view = show->view;
    json_t *object = json_loads(line, 0, NULL);
    bool other = view->other != NULL && json_object_get(object, view->other_number) != NULL;
    const char *number = other ? view->other_number : view->number;
    if (number != NULL && !show->all && json_integer_value(json_object_get(object, number)) == 0) {
        json_decref(object);
        return true;
    }
    table_add(other ? &show->other : &show->table, object);
    return ferror(stdout) == 0;
}

static bool print_tables(const struct client *client, const struct view *view, bool all)
{
    struct show *show = calloc(1, sizeof(*show));
    if (show == NULL)
        return false;
    show->view = view;
    show->all = all;
    table_start(&show->table, view->columns, stdout);
    if (view->other != NULL)
        table_start(&show->other, view->other, stdout);
    bool done = client_ask(client, "GET", view->path, add_row, show);
    table_end(&show->table);
    if (show->table.rows > 0 && show->other.rows > 0)
        putchar('\n');
    table_end(&show->other);
    if (done && show->table.rows + show->other.rows == 0)
        fprintf(stderr, "%s\n", view->none);
    free(show);
    return done;
}

int command_show(const struct command *command, int argc, char **argv)
{
    struct options_reader reader = {.command = command,
                                    .takes = OPTION_CONFIG | OPTION_SOCKET | OPTION_JSON | OPTION_ALL,
                                    .takes_word = true};
    struct options options;
    struct client client;
    const struct view *view = NULL;
    int status;
    if (!options_read(&reader, argc, argv, &options, &status))
        return status;
    for (size_t i = 0; options.word != NULL && i < sizeof(views) / sizeof(views[0]); i++) {
        if (strcmp(options.word, views[i].name) == 0)
            view = &views[i];
    }
    if (view == NULL)
        return command_misuse(command,
                              "say what to show: status, sessions, bindings, counters, pools or dns");
    if (!client_find(&client, &options))
        return EXIT_FAILURE;
    setpriority(PRIO_PROCESS, 0, NICENESS);
    bool done = options.json ? client_ask(&client, "GET", view->path, pass_on, NULL)
                : view->columns == &status_columns
                    ? client_ask(&client, "GET", view->path, print_status, NULL)
                    : print_tables(&client, view, options.all);
    if (command_written() != EXIT_SUCCESS)
        return EXIT_FAILURE;
    return done ? EXIT_SUCCESS : EXIT_FAILURE;
}
