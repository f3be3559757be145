/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The loop. Everything that happens to a running daemon comes in here: a signal, a link that goes, a
 * timer; the control socket hangs its own handles into the same loop (portal/http.c).
 */
#include "control/daemon.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "control/log.h"
#include "control/notify.h"
#include "engine/capture.h"

enum {
    QUIET_MILLISECONDS = 1000, /* between two looks whether replaced settings are out of use */
    SETTLE_MILLISECONDS = 200, /* in which a link that comes up may say so many times */
    CONTROL_NICENESS = 10,
};

static void on_stop_signal(uv_signal_t *handle, int number)
{
    struct daemon *daemon = handle->data;
    log_info("stopping: %s", number == SIGINT ? "interrupted" : "told to terminate");
    uv_stop(&daemon->loop);
}

static void on_hang_up(uv_signal_t *handle, int number)
{
    struct daemon_reloaded reloaded;
    struct config_error error;
    (void)number;
    daemon_reload(handle->data, &reloaded, &error);
}

static void fail(struct daemon *daemon)
{
    daemon->failed = true;
    uv_stop(&daemon->loop);
}

static void on_settled(uv_timer_t *handle)
{
    struct daemon *daemon = handle->data;
    keeper_answer_again(&daemon->keeper);
    bpf_plane_look_at_interfaces(daemon, false);
}

/* Does what has become of a link ask for anything to be done? To the eBPF plane everything may matter. */
static bool is_of_interest(const struct daemon *daemon, const struct netlink_link *link)
{
    return !link->loopback && (daemon->bpf.chosen || (link->up && link->running && !link->removed));
}

/* Without its routes, which the kernel drops when the device goes down, the device is of no use. */
static void look_at_link(void *context, const struct netlink_link *link)
{
    struct daemon *daemon = context;
    bool own = link->index == tun_index(daemon->tun);
    if (!own && is_of_interest(daemon, link) && !uv_is_active((uv_handle_t *)&daemon->settle))
        uv_timer_start(&daemon->settle, on_settled, SETTLE_MILLISECONDS, 0);
    if (!own || daemon->failed || (link->up && !link->removed))
        return;
    char name[IFNAMSIZ]; /* a removal starts with bringing down, which is heard first */
    bool removed = link->removed || if_indextoname(link->index, name) == NULL;
    log_error("the device %s was %s; stopping", daemon->config->plane.name,
              removed ? "removed" : "brought down");
    fail(daemon);
}

/* After a burst in which events were lost. */
static void look_at_all_links(struct daemon *daemon)
{
    struct netlink_link own = {.index = tun_index(daemon->tun), .removed = true};
    struct netlink *netlink = netlink_open();
    if (netlink != NULL)
        netlink_links(netlink, look_at_link, daemon);
    netlink_close(netlink);
    if (if_indextoname(own.index, own.name) == NULL)
        look_at_link(daemon, &own);
}

static void on_link_event(uv_poll_t *handle, int status, int events)
{
    struct daemon *daemon = handle->data;
    (void)status;
    (void)events;
    if (!netlink_events(daemon->link_watch, look_at_link, daemon))
        look_at_all_links(daemon);
}

static void on_keeper_event(uv_poll_t *handle, int status, int events)
{
    struct daemon *daemon = handle->data;
    (void)events;
    if (status == 0 && !keeper_gone(&daemon->keeper))
        return;
    uv_poll_stop(handle);
    log_error("the keeper has ended, so nobody would undo the changes after a crash; stopping");
    fail(daemon);
}

static void on_quiet(uv_timer_t *handle)
{
    struct daemon *daemon = handle->data;
    bpf_plane_alive(daemon);
    daemon_free_retired(daemon);
    (void)engine_settle(daemon->engine);
    paths_watch_tidy(&daemon->paths);
    capture_tidy(daemon->engine);
}

static int watch_signal(struct daemon *daemon, uv_signal_t *handle, uv_signal_cb call, int number)
{
    int status = uv_signal_init(&daemon->loop, handle);
    handle->data = daemon;
    return status != 0 ? status : uv_signal_start(handle, call, number);
}

static int watch_all(struct daemon *daemon)
{
    int status = watch_signal(daemon, &daemon->terminate, on_stop_signal, SIGTERM);
    if (status == 0)
        status = watch_signal(daemon, &daemon->interrupt, on_stop_signal, SIGINT);
    if (status == 0)
        status = watch_signal(daemon, &daemon->hang_up, on_hang_up, SIGHUP);
    if (status == 0)
        status = uv_poll_init(&daemon->loop, &daemon->link_poll, netlink_fd(daemon->link_watch));
    if (status == 0)
        status = uv_poll_init(&daemon->loop, &daemon->keeper_poll, daemon->keeper.socket);
    if (status != 0)
        return status;
    daemon->link_poll.data = daemon->keeper_poll.data = daemon->settle.data = daemon->quiet.data = daemon;
    uv_timer_init(&daemon->loop, &daemon->quiet);
    uv_timer_init(&daemon->loop, &daemon->settle);
    uv_timer_start(&daemon->quiet, on_quiet, QUIET_MILLISECONDS, QUIET_MILLISECONDS);
    status = uv_poll_start(&daemon->keeper_poll, UV_READABLE | UV_DISCONNECT, on_keeper_event);
    if (status == 0)
        status = paths_watch_start(&daemon->paths, &daemon->loop, daemon->engine);
    if (status == 0)
        status = own_watch_start(daemon);
    return status != 0 ? status : uv_poll_start(&daemon->link_poll, UV_READABLE, on_link_event);
}

bool daemon_watch(struct daemon *daemon, char *error, size_t size)
{
    int status = uv_loop_init(&daemon->loop);
    daemon->have_loop = status == 0;
    if (status == 0) {
        daemon->link_watch = netlink_watch_links();
        status = daemon->link_watch != NULL ? watch_all(daemon) : -errno;
    }
    if (status == 0)
        return true;
    snprintf(error, size, "cannot start the event loop: %s", uv_strerror(status));
    return false;
}

/*
 * Packets go first: where all processors are busy, a long list waits rather than the plane's threads, which
 * run by now and keep their priority. On Linux the priority is the calling thread's; it still gets a tenth of
 * what a worker does.
 */
static void give_way_to_packets(void)
{
    setpriority(PRIO_PROCESS, 0, CONTROL_NICENESS);
}

int daemon_run(const struct daemon_options *options)
{
    struct daemon *daemon = calloc(1, sizeof(*daemon));
    char error[1024];
    if (daemon == NULL) {
        log_error("out of memory");
        return EXIT_FAILURE;
    }
    signal(SIGPIPE, SIG_IGN);
    umask(022); /* the directories above the control socket are for all who may use it */
    daemon->options = options;
    daemon->listener = daemon->state.directory = daemon->state.lock = daemon->keeper.socket = -1;
    if (daemon_start(daemon, error, sizeof(error))) {
        give_way_to_packets();
        uv_run(&daemon->loop, UV_RUN_DEFAULT);
        notify_supervisor("STOPPING=1");
    } else {
        log_error("%s", error);
        daemon->failed = true;
    }
    daemon_stop(daemon);
    bool failed = daemon->failed;
    free(daemon);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
