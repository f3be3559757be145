/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Options are rows: letter, name, whether a value follows, and where what was read goes.
 */
#include "cli/options.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    unsigned option;
    const char *letter, *name;
    bool takes_value;
    size_t offset; /* in struct options */
} rows[] = {
    {OPTION_CONFIG, "-c", "--config", true, offsetof(struct options, config)},
    {OPTION_SOCKET, NULL, "--socket", true, offsetof(struct options, socket)},
    {OPTION_STAY, NULL, "--stay", false, offsetof(struct options, stay)},
    {OPTION_FRESH, NULL, "--fresh", false, offsetof(struct options, fresh)},
    {OPTION_JSON, NULL, "--json", false, offsetof(struct options, json)},
    {OPTION_ALL, NULL, "--all", false, offsetof(struct options, all)},
    {OPTION_VERDICT, NULL, "--verdict", true, offsetof(struct options, verdict)},
    {OPTION_ADDRESS, NULL, "--address", true, offsetof(struct options, address)},
    {OPTION_SNAPLEN, "-s", "--snaplen", true, offsetof(struct options, snaplen)},
    {OPTION_COUNT, NULL, "--count", true, offsetof(struct options, count)},
    {OPTION_WRITE, "-w", "--write", true, offsetof(struct options, write)},
};

enum {
    ROWS = sizeof(rows) / sizeof(rows[0]),
};

int command_written(void)
{
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout))
        return EXIT_SUCCESS;
    fprintf(stderr, "isthmus: error: cannot write to standard output: %s\n",
            errno != 0 ? strerror(errno) : "an earlier write failed");
    return EXIT_FAILURE;
}

int command_help(const struct command *command)
{
    printf("usage: isthmus %s\n\n%s", command->usage, command->help);
    return command_written();
}

int command_misuse(const struct command *command, const char *format, ...)
{
    va_list arguments;
    fprintf(stderr, "isthmus %s: ", command->name);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, "\nusage: isthmus %s\n", command->usage);
    return EXIT_USAGE;
}

/* The row that the argument names, alone or as NAME=VALUE, or ROWS. */
static size_t find(const char *argument, unsigned takes, const char **value)
{
    size_t row;
    *value = NULL;
    for (row = 0; row < ROWS; row++) {
        size_t length = strlen(rows[row].name);
        if ((rows[row].option & takes) == 0)
            continue;
        if (strcmp(argument, rows[row].name) == 0 ||
            (rows[row].letter != NULL && strcmp(argument, rows[row].letter) == 0))
            break;
        if (rows[row].takes_value && strncmp(argument, rows[row].name, length) == 0 &&
            argument[length] == '=') {
            *value = argument + length + 1;
            break;
        }
    }
    return row;
}

static void store(struct options *options, size_t row, const char *value)
{
    char *at = (char *)options + rows[row].offset;
    const bool set = true;
    if (rows[row].takes_value)
        memcpy(at, &value, sizeof(value));
    else
        memcpy(at, &set, sizeof(set));
}

bool options_read(const struct options_reader *reader, int argc, char **argv, struct options *options,
                  int *status)
{
    memset(options, 0, sizeof(*options));
    *status = EXIT_USAGE;
    for (int i = 1; i < argc; i++) {
        const char *value;
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            *status = command_help(reader->command);
            return false;
        }
        size_t row = find(argv[i], reader->takes, &value);
        if (row == ROWS && argv[i][0] != '-' && reader->takes_word && options->word == NULL) {
            options->word = argv[i];
            continue;
        }
        if (row == ROWS) {
            *status = command_misuse(reader->command, "%s makes no sense here", argv[i]);
            return false;
        }
        if (rows[row].takes_value && value == NULL && i + 1 < argc)
            value = argv[++i];
        if (rows[row].takes_value && (value == NULL || *value == '\0')) {
            *status = command_misuse(reader->command, "%s needs a value", rows[row].name);
            return false;
        }
        store(options, row, value);
    }
    if (options->config != NULL && options->socket != NULL) {
        *status = command_misuse(reader->command, "give -c FILE or --socket PATH, not both");
        return false;
    }
    return true;
}
