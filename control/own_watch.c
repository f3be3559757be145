/* SPDX-License-Identifier: BSD-2-Clause */
/* A change is heard; for a moment more may come; then the addresses are read and compared. */
#include "control/own_watch.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "control/daemon.h"
#include "control/log.h"
#include "control/own_ports.h"

enum {
    SETTLE_MILLISECONDS = 200, /* in which more changes may come */
    AGAIN_MILLISECONDS = 1000, /* after which what did not work is tried again */
};

/* --- start and reload ------------------------------------------------------------------------------------
 */

static bool find(struct config *config, char *error, size_t size)
{
    struct netlink *netlink = netlink_open();
    int problem = netlink == NULL ? errno : own_address_find(netlink, config);
    netlink_close(netlink);
    if (problem == 0)
        return true;
    snprintf(error, size, "cannot list this machine's addresses: %s", strerror(problem));
    return false;
}

bool own_watch_begin(struct daemon *daemon, char *error, size_t size)
{
    struct config *config = daemon->config;
    if (!own_address_wanted(config))
        return true;
    if (!daemon->bpf.chosen)
        return own_address_refuse(config, error, size);
    if (!find(config, error, size) || !own_ports_check(config, error, size))
        return false;
    own_address_say_missing(config);
    return true;
}

bool own_watch_reload(struct daemon *daemon, struct config *config, char *error, size_t size)
{
    if (!own_address_wanted(config))
        return true;
    if (!daemon->bpf.chosen)
        return own_address_refuse(config, error, size);
    if (!find(config, error, size))
        return false;
    if (own_ports_sum(config) == own_ports_sum(daemon->config))
        return true;
    if (!own_ports_check(config, error, size))
        return false;
    if (daemon->dns != NULL)
        log_warning("the name service keeps away from the pool's new ports only after a restart");
    own_address_say_missing(config);
    return true;
}

/* --- following --------------------------------------------------------------------------------------------
 */

static void on_settled(uv_timer_t *handle);

static void look_later(struct daemon *daemon, uint64_t milliseconds)
{
    uv_timer_start(&daemon->own.timer, on_settled, milliseconds, 0);
}

/* The configuration has other addresses than the engine. */
static void change(struct daemon *daemon, struct own_pools *before)
{
    const struct egress egress = daemon->egress;
    struct daemon_reloaded reloaded = {0};
    struct config_error error;
    own_pools_follow(daemon->config, before, &daemon->egress);
    if (!daemon_change_engine(daemon, daemon->config, &reloaded, &error)) {
        log_error("cannot follow that: %s", error.text);
        daemon->egress = egress;
        own_pools_restore(daemon->config, before);
        look_later(daemon, AGAIN_MILLISECONDS);
    } else {
        daemon->own.retired = *before;
        if (!own_ports_check(daemon->config, error.text, sizeof(error.text)))
            log_warning("%s", error.text);
    }
    daemon_say_ended(&reloaded);
}

static void on_settled(uv_timer_t *handle)
{
    struct daemon *daemon = handle->data;
    struct own_pools before;
    char error[128];
    netlink_drain(daemon->own.events);
    own_watch_tidy(daemon);
    if (!own_address_wanted(daemon->config))
        return;
    if (daemon->own.retired.pool[0] != NULL || !own_pools_replace(daemon->config, &before)) {
        look_later(daemon, AGAIN_MILLISECONDS);
        return;
    }
    bool found = find(daemon->config, error, sizeof(error));
    if (found && own_pools_differ(daemon->config, &before))
        change(daemon, &before);
    else
        own_pools_restore(daemon->config, &before);
    if (!found)
        look_later(daemon, AGAIN_MILLISECONDS);
}

static void on_event(uv_poll_t *handle, int status, int events)
{
    struct daemon *daemon = handle->data;
    (void)status;
    (void)events;
    netlink_drain(daemon->own.events);
    if (!uv_is_active((uv_handle_t *)&daemon->own.timer))
        look_later(daemon, SETTLE_MILLISECONDS);
}

int own_watch_start(struct daemon *daemon)
{
    struct own_watch *watch = &daemon->own;
    if (!daemon->bpf.chosen)
        return 0;
    watch->events = netlink_watch_addresses();
    if (watch->events == NULL)
        return -errno;
    watch->poll.data = watch->timer.data = daemon;
    uv_timer_init(&daemon->loop, &watch->timer);
    look_later(daemon, SETTLE_MILLISECONDS); /* at what has changed since the start */
    int status = uv_poll_init(&daemon->loop, &watch->poll, netlink_fd(watch->events));
    return status != 0 ? status : uv_poll_start(&watch->poll, UV_READABLE, on_event);
}

void own_watch_tidy(struct daemon *daemon)
{
    if (daemon->own.retired.pool[0] != NULL && engine_quiet(daemon->engine))
        own_pools_free(&daemon->own.retired);
}

void own_watch_close(struct own_watch *watch)
{
    netlink_close(watch->events);
    own_pools_free(&watch->retired);
    watch->events = NULL;
}
