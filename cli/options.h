/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The options of all commands: a command names those it takes.
 */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include <stdbool.h>

#include "cli/command.h"

enum option_set {
    OPTION_CONFIG = 1 << 0, /* -c FILE */
    OPTION_STAY = 1 << 1,
    OPTION_FRESH = 1 << 2,
    OPTION_JSON = 1 << 3,
    OPTION_ALL = 1 << 4,
    OPTION_SOCKET = 1 << 5,  /* --socket PATH */
    OPTION_VERDICT = 1 << 6, /* --verdict NAME[,NAME...] */
    OPTION_ADDRESS = 1 << 7, /* --address ADDRESS */
    OPTION_SNAPLEN = 1 << 8, /* -s BYTES */
    OPTION_COUNT = 1 << 9,   /* --count NUMBER */
    OPTION_WRITE = 1 << 10,  /* -w FILE */
};

struct options {
    const char *config; /* NULL: not given */
    const char *socket;
    const char *verdict, *address, *snaplen, *count, *write;
    bool stay, fresh, json, all;
    const char *word; /* the one argument that is no option, or NULL */
};

struct options_reader {
    const struct command *command;
    unsigned takes;  /* enum option_set, of those that make sense here */
    bool takes_word; /* one argument that is no option */
};

/* True: go on. False: *status is how to exit, after --help or a mistake. */
bool options_read(const struct options_reader *reader, int argc, char **argv, struct options *options,
                  int *status);

/* The exit status of a command that has written all it had to on standard output; says so if that failed. */
int command_written(void);

/* --help: prints it on standard output, EXIT_SUCCESS. */
int command_help(const struct command *command);

/* Arguments that make no sense: says so on standard error, EXIT_USAGE. */
int command_misuse(const struct command *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif /* CLI_OPTIONS_H */
