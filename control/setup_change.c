/* SPDX-License-Identifier: BSD-2-Clause */
#include "control/setup_change.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "control/log.h"
#include "control/own_ports.h"
#include "control/undo.h"

uint64_t setup_fingerprint(const struct config *config)
{
    uint64_t sum = 14695981039346656037u; /* FNV-1a */
    char error[128];
    struct setup setup = {.config = config, .fingerprint = &sum};
    if (config->plane.routes && !setup_all_routes(&setup, error, sizeof(error)))
        sum = 0;
    return sum ^ own_ports_sum(config);
}

static void let_go(struct setup_change *change)
{
    netlink_close(change->netlink);
    changes_close(change->changes);
    config_free(change->config);
    memset(change, 0, sizeof(*change));
}

static bool read_file(struct setup_change *change, const struct setup_change_options *options, char *error,
                      size_t size)
{
    struct config_error problem;
    change->config = config_load(options->path, &problem);
    if (change->config == NULL) {
        snprintf(error, size, "%s", problem.text);
        return false;
    }
    if (strcmp(change->config->plane.name, options->device) == 0 &&
        setup_fingerprint(change->config) == options->fingerprint)
        return true;
    snprintf(error, size, "%s, or a file that it names, was changed while it was read; try again",
             options->path);
    return false;
}

static bool open_list(struct setup_change *change, const struct setup_change_options *options, char *error,
                      size_t size)
{
    struct change_list list;
    int problem = changes_read(options->directory, &list);
    if (problem == 0 && !list.foreign)
        change->changes = changes_continue(options->directory, &list);
    if (problem == 0 && change->changes == NULL)
        problem = list.foreign ? EINVAL : errno;
    changes_free(&list);
    if (change->changes != NULL)
        return true;
    snprintf(error, size, "cannot go on with the saved list of changes: %s", strerror(problem));
    return false;
}

static bool make(struct setup_change *change, const struct setup_change_options *options, char *error,
                 size_t size)
{
    change->netlink = netlink_open();
    struct setup setup = {.netlink = change->netlink,
                          .changes = change->changes,
                          .config = change->config,
                          .index = if_nametoindex(options->device)};
    if (change->netlink == NULL || setup.index == 0) {
        snprintf(error, size, "cannot set up routes over %s: %s", options->device, strerror(errno));
        return false;
    }
    setup_reserve_ports(&setup);
    if (!change->config->plane.routes)
        return true;
    if (!setup_all_routes(&setup, error, size))
        return false;
    setup_all_proxies(&setup);
    return true;
}

bool setup_change_prepare(struct setup_change *change, const struct setup_change_options *options,
                          char *error, size_t size)
{
    if (change->changes != NULL)
        setup_change_settle(change, false);
    if (!read_file(change, options, error, size) || !open_list(change, options, error, size)) {
        let_go(change);
        return false;
    }
    if (make(change, options, error, size))
        return true;
    setup_change_settle(change, false);
    return false;
}

void setup_change_settle(struct setup_change *change, bool done)
{
    if (change->changes == NULL)
        return;
    if (done)
        undo_unwanted(change->changes, CHANGES_OF_ROUTES);
    else
        undo_added(change->changes);
    let_go(change);
}
