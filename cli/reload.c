/* SPDX-License-Identifier: BSD-2-Clause */
/* isthmus reload: asks the daemon, and prints its reason if it refuses. */
#include <stdio.h>
#include <stdlib.h>

#include "cli/client.h"

static bool ignore_line(void *context, char *line)
{
    (void)context;
    (void)line;
    return true;
}

int command_reload(const struct command *command, int argc, char **argv)
{
    struct options_reader reader = {.command = command, .takes = OPTION_CONFIG | OPTION_SOCKET};
    struct options options;
    struct client client;
    int status;
    if (!options_read(&reader, argc, argv, &options, &status))
        return status;
    if (!client_find(&client, &options) || !client_ask(&client, "POST", "/v1/reload", ignore_line, NULL))
        return EXIT_FAILURE;
    puts("reloaded");
    return command_written();
}
