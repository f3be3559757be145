/* SPDX-License-Identifier: BSD-2-Clause */
/* A change is heard; nothing is listened to for a while; then everything is read and compared. */
#include "control/paths_watch.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "control/log.h"
#include "control/paths.h"

enum {
    SETTLE_MILLISECONDS = 200, /* in which more changes may come */
    LOOK_MILLISECONDS = 15000,
    REST = 10, /* times as long as the last reading took */
    FIRST_TRIES = 10,
    MILLISECOND = 1000 * 1000,
};

static void on_event(uv_poll_t *handle, int status, int events);
static void on_settled(uv_timer_t *handle);

static void read_later(struct paths_watch *watch)
{
    uv_timer_start(&watch->timer, on_settled, SETTLE_MILLISECONDS + REST * watch->cost / MILLISECOND, 0);
}

static void on_event(uv_poll_t *handle, int status, int events)
{
    struct paths_watch *watch = handle->data;
    (void)status;
    (void)events;
    uv_poll_stop(handle);
    read_later(watch);
}

/* Processor time, not the clock's: a machine that is busy otherwise is no reason to listen less. */
static uint64_t time_used(void)
{
    struct timespec used;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    return (uint64_t)used.tv_sec * 1000 * MILLISECOND + (uint64_t)used.tv_nsec;
}

/* With a socket of its own: what a failed reading has left in it would be taken for the next one's. */
static struct paths *read_all(struct paths_watch *watch)
{
    uint64_t before = time_used();
    struct netlink *netlink = netlink_open();
    watch->links = netlink == NULL ? 0 : paths_links_sum(netlink);
    struct paths *paths = netlink == NULL ? NULL : paths_read(netlink, watch->own);
    netlink_close(netlink); /* leaves errno as it is */
    watch->cost = time_used() - before;
    return paths;
}

static void on_look(uv_timer_t *handle)
{
    struct paths_watch *watch = handle->data;
    struct netlink *netlink = netlink_open();
    uint64_t links = netlink == NULL ? 0 : paths_links_sum(netlink);
    netlink_close(netlink);
    if (links != 0 && links != watch->links && !uv_is_active((uv_handle_t *)&watch->timer))
        read_later(watch);
}

static void say_change(const struct paths *old, const struct paths *new)
{
    if (old->ipv6.least != new->ipv6.least || old->ipv4.least != new->ipv4.least)
        log_info("the routes have changed: MTU from %u (IPv6) and %u (IPv4)", new->ipv6.least,
                 new->ipv4.least);
}

static void replace(struct paths_watch *watch, struct paths *paths)
{
    if (paths_equal(paths, watch->current)) {
        paths_destroy(paths);
        return;
    }
    say_change(watch->current, paths);
    engine_replace_paths(watch->engine, paths);
    watch->retired = watch->current;
    watch->current = paths;
    if (watch->replaced != NULL)
        watch->replaced(watch->context);
}

/*
 * What has been heard by now is thrown away before everything is read; what changes from here on is heard.
 * A reading that fails, be it because the routes changed meanwhile, is tried again, as is one that comes
 * while a worker still holds the table before the last one.
 */
static void on_settled(uv_timer_t *handle)
{
    struct paths_watch *watch = handle->data;
    struct paths *paths = NULL;
    paths_watch_tidy(watch);
    if (watch->retired == NULL) {
        netlink_drain(watch->events);
        paths = read_all(watch);
    }
    if (paths != NULL)
        replace(watch, paths);
    if (paths == NULL || uv_poll_start(&watch->poll, UV_READABLE, on_event) != 0)
        read_later(watch);
}

int paths_watch_open(struct paths_watch *watch, unsigned own)
{
    watch->own = own;
    watch->events = netlink_watch_routes();
    if (watch->events == NULL)
        return errno;
    for (int tries = 0; tries < FIRST_TRIES && watch->current == NULL; tries++) {
        watch->current = read_all(watch);
        if (watch->current == NULL && errno != EINTR) /* EINTR: something changed meanwhile */
            break;
    }
    return watch->current != NULL ? 0 : errno;
}

int paths_watch_start(struct paths_watch *watch, uv_loop_t *loop, struct engine *engine)
{
    watch->engine = engine;
    watch->poll.data = watch->timer.data = watch->look.data = watch;
    uv_timer_init(loop, &watch->timer);
    uv_timer_init(loop, &watch->look);
    uv_timer_start(&watch->look, on_look, LOOK_MILLISECONDS, LOOK_MILLISECONDS);
    int status = uv_poll_init(loop, &watch->poll, netlink_fd(watch->events));
    return status != 0 ? status : uv_poll_start(&watch->poll, UV_READABLE, on_event);
}

void paths_watch_tidy(struct paths_watch *watch)
{
    if (watch->retired == NULL || !engine_quiet(watch->engine))
        return;
    paths_destroy(watch->retired);
    watch->retired = NULL;
}

void paths_watch_close(struct paths_watch *watch)
{
    netlink_close(watch->events);
    paths_destroy(watch->current);
    paths_destroy(watch->retired);
    *watch = (struct paths_watch){0};
}

uint32_t paths_watch_least6(const struct paths_watch *watch, uint32_t configured)
{
    return configured != 0 || watch->current == NULL ? configured : watch->current->ipv6.least;
}

uint32_t paths_watch_least4(const struct paths_watch *watch, uint32_t configured)
{
    return configured != 0 || watch->current == NULL ? configured : watch->current->ipv4.least;
}
