/* SPDX-License-Identifier: BSD-2-Clause */
/* isthmus reload: asks the daemon, and prints what changed, or its reason if it refuses. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/client.h"

static void print_changed(const json_t *keys)
{
    size_t i;
    const json_t *key;
    json_array_foreach(keys, i, key) printf("%s%s", i == 0 ? "changed: " : ", ", json_string_value(key));
    puts(json_array_size(keys) == 0 ? "nothing changed" : "");
}

static void print_ended(const json_t *answer)
{
    static const struct {
        const char *name, *reason;
    } reasons[] = {
        {"ended_by_prefix", "no entry of nat64 has their prefix any more"},
        {"ended_by_address", "their pool address is no longer in the pool"},
        {"ended_by_port", "their port or protocol is no longer in the pool"},
    };
    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
        json_int_t count = json_integer_value(json_object_get(answer, reasons[i].name));
        if (count > 0)
            printf("%" JSON_INTEGER_FORMAT " session%s ended, since %s\n", count, count == 1 ? "" : "s",
                   reasons[i].reason);
    }
}

static bool print_answer(void *context, char *line)
{
    const struct options *options = context;
    json_t *answer = options->json ? NULL : json_loads(line, 0, NULL);
    if (options->json) {
        puts(line);
        return true;
    }
    puts("reloaded");
    print_changed(json_object_get(answer, "changed"));
    print_ended(answer);
    json_decref(answer);
    return true;
}

int command_reload(const struct command *command, int argc, char **argv)
{
    struct options_reader reader = {.command = command, .takes = OPTION_CONFIG | OPTION_SOCKET | OPTION_JSON};
    struct options options;
    struct client client;
    int status;
    if (!options_read(&reader, argc, argv, &options, &status))
        return status;
    if (!client_find(&client, &options) || !client_ask(&client, "POST", "/v1/reload", print_answer, &options))
        return EXIT_FAILURE;
    return command_written();
}
