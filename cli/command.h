/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The commands of the program. Each is a row of the table in main.c and a function in a file of its name.
 */
#ifndef CLI_COMMAND_H
#define CLI_COMMAND_H

enum {
    EXIT_USAGE = 2, /* beside EXIT_SUCCESS and EXIT_FAILURE */
};

#define DEFAULT_CONFIG "/etc/isthmus/isthmus.yaml"
#define DEFAULT_SOCKET "/run/isthmus/control.sock"

struct command {
    const char *name;
    int (*run)(const struct command *command, int argc, char **argv); /* argv[0] is the command */
    const char *summary;                                              /* one line */
    const char *usage;                                                /* what follows "isthmus" */
    const char *help;                                                 /* what --help prints below the usage */
};

int command_run(const struct command *command, int argc, char **argv);
int command_down(const struct command *command, int argc, char **argv);
int command_check(const struct command *command, int argc, char **argv);
int command_reload(const struct command *command, int argc, char **argv);
int command_capture(const struct command *command, int argc, char **argv);
int command_show(const struct command *command, int argc, char **argv);

#endif /* CLI_COMMAND_H */
