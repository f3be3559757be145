/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reload: a new configuration in place of the old one, whole or not at all.
 *
 * The daemon may have lost the right to read the file, so the keeper opens it. What stands open in the
 * configuration was filled from the machine at start and is filled with the same again: a reload
 * does not look at routes.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "control/config_warn.h"
#include "control/daemon.h"
#include "control/log.h"
#include "control/notify.h"

enum {
    FILE_MAXIMUM = 2 << 20, /* bytes; config_parse has a closer limit of its own and says so */
    QUIET_TRIES = 200,      /* of a millisecond each, for the settings of the reload before */
};

/* The file, to be freed, or as much of it as shows that it is too large; NULL and errno. */
static char *read_all(int file, size_t *length)
{
    char *text = malloc(FILE_MAXIMUM);
    ssize_t got = text == NULL ? -1 : 1;
    *length = 0;
    while (got > 0 && *length < FILE_MAXIMUM) {
        got = read(file, text + *length, FILE_MAXIMUM - *length);
        if (got > 0)
            *length += (size_t)got;
    }
    if (got >= 0)
        return text;
    int error = errno;
    free(text);
    errno = error;
    return NULL;
}

/*
 * A file of mappings: by the keeper if it was named at the start, else with what rights are left. The keeper
 * opens no others, or whoever takes the daemon over could read any file by it.
 */
static int open_named(void *context, const char *path)
{
    const struct daemon *daemon = context;
    for (unsigned i = 0; i < SIIT_INSTANCES_MAXIMUM; i++)
        if (strcmp(daemon->eam_files[i], path) == 0)
            return keeper_open_file(&daemon->keeper, i);
    return open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
}

static struct config *read_config(struct daemon *daemon, struct config_error *error)
{
    const struct config_files files = {.open = open_named, .context = daemon};
    struct config *config = NULL;
    size_t length;
    int file = keeper_open_config(&daemon->keeper);
    char *text = file < 0 ? NULL : read_all(file, &length);
    if (text != NULL)
        config = config_parse_with(daemon->options->config, text, length, &files, error);
    else if (errno == ETIMEDOUT)
        snprintf(error->text, sizeof(error->text),
                 "the keeper, which opens the file, does not answer; try again, or restart isthmus");
    else
        snprintf(error->text, sizeof(error->text), "%s: cannot be read: %s", daemon->options->config,
                 strerror(errno));
    free(text);
    if (file >= 0)
        close(file);
    return config;
}

void daemon_free_retired(struct daemon *daemon)
{
    if (daemon->retired == NULL || !engine_quiet(daemon->engine))
        return;
    config_free(daemon->retired);
    daemon->retired = NULL;
}

/* The settings before the last ones must be out of use before these may follow them. */
static bool wait_for_retired(struct daemon *daemon)
{
    struct timespec millisecond = {.tv_nsec = 1000000};
    for (int tries = 0; tries < QUIET_TRIES; tries++) {
        daemon_free_retired(daemon);
        if (daemon->retired == NULL)
            return true;
        nanosleep(&millisecond, NULL);
    }
    return false;
}

static bool put_in_force(struct daemon *daemon, struct config *config, struct config_error *error)
{
    if (!wait_for_retired(daemon)) {
        snprintf(error->text, sizeof(error->text),
                 "the reload before this one is still under way; try again");
        return false;
    }
    if (!engine_replace_settings(daemon->engine, &config->settings, uv_hrtime(), error->text,
                                 sizeof(error->text)))
        return false;
    daemon->retired = daemon->config;
    daemon->config = config;
    return true;
}

bool daemon_reload(struct daemon *daemon, struct config_error *error)
{
    bool done = false;
    error->text[0] = '\0';
    notify_reloading();
    struct config *config = read_config(daemon, error);
    if (config != NULL) {
        egress_apply(&daemon->egress, config);
        done = config_reloadable(daemon->config, config, error) && put_in_force(daemon, config, error);
        if (!done)
            config_free(config);
    }
    notify_supervisor("READY=1");
    if (done) {
        log_info("reloaded %s", daemon->options->config);
        config_warn(daemon->config);
    } else {
        log_error("reload refused, nothing was changed: %s", error->text);
    }
    return done;
}
