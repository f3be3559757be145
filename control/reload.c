/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reload: a new configuration in place of the old one, whole or not at all.
 *
 * The daemon may have lost the right to read the file, so the keeper opens it. What stands open in the
 * configuration was filled from the machine at start and is filled with the same again.
 *
 * Routes and proxy ARP entries follow, by the keeper: those that are new are made before the engine changes,
 * for only there a reload can still fail on what others have set up; those that are gone are removed after.
 * Until then a packet that they bring finds nobody whose it is.
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
#include "control/dns.h"
#include "control/log.h"
#include "control/notify.h"
#include "control/setup_change.h"
#include "control/setup_siit.h"
#include "engine/rules.h"

enum {
    FILE_MAXIMUM = 2 << 20, /* bytes; config_parse has a closer limit of its own and says so */
    QUIET_TRIES = 200,      /* of a millisecond each, for the settings of the reload before */
    WORKER_TRIES = 2000,    /* the same, for workers to end bursts and for sessions to end */
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
    own_watch_tidy(daemon);
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

/* A change of the engine under way. */
struct changing {
    struct daemon *daemon;
    uint32_t tries;
};

/* Gives workers time to get on with their bursts. */
static bool wait_for_workers(void *context)
{
    struct changing *changing = context;
    struct timespec millisecond = {.tv_nsec = 1000000};
    nanosleep(&millisecond, NULL);
    return ++changing->tries < WORKER_TRIES;
}

static void follow_in_kernel(void *context, const struct rules *rules)
{
    const struct changing *changing = context;
    bpf_plane_enforce(changing->daemon, rules);
}

bool daemon_change_engine(struct daemon *daemon, const struct config *config,
                          struct daemon_reloaded *reloaded, struct config_error *error)
{
    struct changing changing = {.daemon = daemon};
    struct engine_change change = {.settings = &config->settings,
                                   .now = uv_hrtime(),
                                   .wait = wait_for_workers,
                                   .follow = follow_in_kernel,
                                   .context = &changing};
    daemon->bpf.forward = config->plane.forward;
    bool done = engine_change(daemon->engine, &change, error->text, sizeof(error->text));
    if (!done && daemon->bpf.forward != daemon->config->plane.forward) {
        daemon->bpf.forward = daemon->config->plane.forward;
        bpf_plane_enforce(daemon, engine_rules(daemon->engine));
    }
    memcpy(reloaded->ended, change.ended, sizeof(reloaded->ended));
    return done;
}

/* A pool address that the machine has become the owner of would be taken from it. */
static bool pool_is_ours(const struct config *config, struct config_error *error)
{
    struct netlink *netlink = netlink_open();
    bool local = netlink != NULL && egress_pool_is_local(netlink, config, error->text, sizeof(error->text));
    netlink_close(netlink);
    return !local;
}

/* What workers may have seen is the daemon's, as the configuration or, also if it is refused, as a retired
 * one. */
static bool put_in_force(struct daemon *daemon, struct config *config, struct daemon_reloaded *reloaded,
                         struct config_error *error)
{
    uint64_t fingerprint = setup_fingerprint(config);
    bool routes = fingerprint != setup_fingerprint(daemon->config);
    struct config_error late;
    if (!wait_for_retired(daemon)) {
        snprintf(error->text, sizeof(error->text),
                 "the reload before this one is still under way; try again");
        return false;
    }
    if (!own_watch_reload(daemon, config, error->text, sizeof(error->text)))
        return false;
    if (routes && (!pool_is_ours(config, error) ||
                   !setup_siit_keeps_routes(daemon->config, config, error->text, sizeof(error->text)) ||
                   !keeper_prepare(&daemon->keeper, fingerprint, error->text, sizeof(error->text))))
        return false;
    bool done = daemon_change_engine(daemon, config, reloaded, error);
    if (routes && !keeper_settle(&daemon->keeper, done, late.text, sizeof(late.text)))
        log_warning("routes that are no longer wanted may be left: %s", late.text);
    daemon->retired = done ? daemon->config : config;
    if (done)
        daemon->config = config;
    if (done)
        bpf_plane_look_at_interfaces(daemon, true);
    return done;
}

/*
 * Names follow packets: only when a prefix is translated do answers lead there, and only then are hosts told
 * of it. The name service is prepared first, so that next to nothing can fail after the engine.
 */
static bool put_all_in_force(struct daemon *daemon, struct config *config, struct daemon_reloaded *reloaded,
                             struct config_error *error)
{
    struct server_rules *rules = daemon->dns == NULL ? NULL : dns_prepare(config);
    if (daemon->dns != NULL && rules == NULL) {
        snprintf(error->text, sizeof(error->text), "out of memory; free some and try again");
        return false;
    }
    if (!put_in_force(daemon, config, reloaded, error)) {
        dns_discard(rules);
        return false;
    }
    if (daemon->dns != NULL)
        dns_change(daemon->dns, config, rules);
    const struct advertise_servers servers = dns_advertised(config);
    if (daemon->advertise != NULL)
        advertise_change(daemon->advertise, config, &servers);
    return true;
}

/* "3 sessions ended: their pool addresses are gone". */
void daemon_say_ended(const struct daemon_reloaded *reloaded)
{
    static const char *const reasons[ENGINE_ENDINGS] = {
        [ENDING_INSTANCE] = "no entry of nat64 has their prefix any more",
        [ENDING_ADDRESS] = "their pool address is no longer in the pool",
        [ENDING_PORT] = "their port or protocol is no longer in the pool",
    };
    for (unsigned i = 0; i < ENGINE_ENDINGS; i++)
        if (reloaded->ended[i] > 0)
            log_info("%u session%s ended, since %s", reloaded->ended[i], reloaded->ended[i] == 1 ? "" : "s",
                     reasons[i]);
}

bool daemon_reload(struct daemon *daemon, struct daemon_reloaded *reloaded, struct config_error *error)
{
    bool done = false;
    error->text[0] = '\0';
    *reloaded = (struct daemon_reloaded){0};
    notify_reloading();
    struct config *config = read_config(daemon, error);
    if (config != NULL) {
        egress_apply(&daemon->egress, config);
        config_compare(daemon->config, config, &reloaded->changed);
        done = config_reloadable(daemon->config, config, error) &&
               put_all_in_force(daemon, config, reloaded, error);
        if (!done && daemon->retired != config)
            config_free(config);
    }
    notify_supervisor("READY=1");
    if (done) {
        log_info("reloaded %s", daemon->options->config);
        config_warn(daemon->config);
    } else {
        log_error("reload refused, nothing was changed: %s", error->text);
    }
    daemon_say_ended(reloaded);
    return done;
}
