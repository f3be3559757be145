/* SPDX-License-Identifier: BSD-2-Clause */
/* isthmus run: the daemon, with the control API hung into it. */
#include "cli/options.h"
#include "control/daemon.h"
#include "control/log.h"

int command_run(const struct command *command, int argc, char **argv)
{
    struct options_reader reader = {.command = command, .takes = OPTION_CONFIG | OPTION_STAY | OPTION_FRESH};
    struct options options;
    int status;
    if (!options_read(&reader, argc, argv, &options, &status))
        return status;
    struct daemon_options daemon = {.config = options.config != NULL ? options.config : DEFAULT_CONFIG,
                                    .stay = options.stay,
                                    .fresh = options.fresh,
                                    .service = &portal_service};
    log_open();
    return daemon_run(&daemon);
}
