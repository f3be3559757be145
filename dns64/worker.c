/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The thread of a worker, and how others reach it.
 *
 * Nothing from outside touches a running worker. Who wants something of it leaves that in the server and
 * wakes it through an eventfd; the worker looks there itself, between two callbacks.
 *
 * What a callback has to say to clients is collected and goes out when all callbacks of a round are through,
 * so that answers that the resolver finds in one round leave in one system call; and a connection that may go
 * on to its next query does so then, not from within the reply to the one before.
 */
#include "dns64/worker.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "dns64/questions.h"
#include "dns64/tcp.h"
#include "dns64/udp.h"

void version_take(struct version *version)
{
    atomic_fetch_add_explicit(&version->users, 1, memory_order_relaxed);
}

void version_drop(struct version *version)
{
    if (version == NULL || atomic_fetch_sub_explicit(&version->users, 1, memory_order_acq_rel) != 1)
        return;
    version->free_rules(version->rules);
    free(version);
}

void dns_worker_tick(struct dns_worker *worker)
{
    struct timespec now;
    /* This clock goes on while the machine sleeps, as TTLs do. */
    clock_gettime(CLOCK_BOOTTIME, &now);
    worker->now = (uint64_t)now.tv_sec * 1000 * NANOSECONDS_A_MILLISECOND + (uint64_t)now.tv_nsec;
}

void dns_worker_adopt(struct dns_worker *worker)
{
    struct server *server = worker->server;
    struct version *old = NULL;
    pthread_mutex_lock(&server->lock);
    if (worker->version != server->version) {
        old = worker->version;
        worker->version = server->version;
        version_take(worker->version);
        server->behind--;
        pthread_cond_signal(&server->arrived);
    }
    pthread_mutex_unlock(&server->lock);
    version_drop(old);
}

static void on_wake(int fd, short what, void *context)
{
    struct dns_worker *worker = context;
    uint64_t times;
    (void)what;
    if (read(fd, &times, sizeof(times)) < 0 && errno != EAGAIN)
        return;
    dns_worker_tick(worker);
    if (atomic_load(&worker->server->stopping))
        event_base_loopbreak(worker->base);
    else
        dns_worker_adopt(worker);
}

static void on_deferred(int fd, short what, void *context)
{
    struct dns_worker *worker = context;
    (void)fd;
    (void)what;
    worker->is_deferred = false;
    dns_worker_tick(worker);
    tcp_resume(worker);
    udp_flush(worker);
}

void dns_worker_defer(struct dns_worker *worker)
{
    if (worker->is_deferred)
        return;
    worker->is_deferred = true;
    event_active(worker->deferred, 0, 0);
}

uint32_t dns_worker_share(const struct dns_worker *worker, const struct ipv6_address *client)
{
    return (uint32_t)(clients_hash(worker->server->key, client) % WORKER_SHARES);
}

void dns_worker_set_timer(const struct dns_worker *worker, struct event *timer, uint64_t due)
{
    enum { MILLION = 1000 * 1000 };
    uint64_t wait = due > worker->now ? (due - worker->now) / 1000 + 1 : 1; /* microseconds, rounded up */
    const struct timeval after = {.tv_sec = (time_t)(wait / MILLION),
                                  .tv_usec = (suseconds_t)(wait % MILLION)};
    event_add(timer, &after);
}

void dns_worker_wake(struct dns_worker *worker)
{
    const uint64_t once = 1;
    /* It fails only where the counter is full, and then the worker wakes anyway. */
    if (write(worker->wake, &once, sizeof(once)) < 0)
        return;
}

static struct event_base *open_loop(void)
{
    struct event_config *config = event_config_new();
    struct event_base *base = NULL;
    if (config == NULL)
        return NULL;
    if (event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK) == 0)
        base = event_base_new_with_config(config);
    event_config_free(config);
    return base;
}

static bool open_events(struct dns_worker *worker)
{
    worker->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    worker->base = open_loop();
    if (worker->wake < 0 || worker->base == NULL)
        return false;
    worker->woken = event_new(worker->base, worker->wake, EV_READ | EV_PERSIST, on_wake, worker);
    worker->deferred = event_new(worker->base, -1, 0, on_deferred, worker);
    return worker->woken != NULL && worker->deferred != NULL && event_add(worker->woken, NULL) == 0;
}

static void on_tls_failed(void *context, bool untrusted)
{
    dns_worker_count(context, untrusted ? DNS64_TLS_UNTRUSTED : DNS64_TLS_FAILED);
}

bool dns_worker_open(struct dns_worker *worker, struct server *server, unsigned number, char *error,
                     size_t size)
{
    worker->server = server;
    worker->number = number;
    worker->wake = -1;
    worker->version = server->version;
    version_take(worker->version);
    worker->answer.message = malloc(DNS_MESSAGE_MAX);
    worker->stale.message = malloc(DNS_MESSAGE_MAX);
    dns_worker_tick(worker);
    if (worker->answer.message == NULL || worker->stale.message == NULL || !open_events(worker) ||
        !questions_open(worker)) {
        snprintf(error, size, "the name service cannot start: %s", strerror(errno));
        return false;
    }
    if (!udp_open(worker, error, size) || !tcp_open(worker, error, size))
        return false;
    worker->resolver = resolver_open(worker->base, &server->options.resolver, error, size);
    if (worker->resolver == NULL)
        return false;
    resolver_watch_tls(worker->resolver, on_tls_failed, worker);
    return true;
}

void dns_worker_close(struct dns_worker *worker)
{
    if (worker->server == NULL)
        return;
    /* First who may call back, last what callbacks need. */
    resolver_close(worker->resolver);
    questions_close(worker);
    tcp_close(worker);
    udp_close(worker);
    if (worker->woken != NULL)
        event_free(worker->woken);
    if (worker->deferred != NULL)
        event_free(worker->deferred);
    if (worker->base != NULL)
        event_base_free(worker->base);
    if (worker->wake >= 0)
        close(worker->wake);
    version_drop(worker->version);
    free(worker->answer.message);
    free(worker->stale.message);
}

static void *run(void *context)
{
    struct dns_worker *worker = context;
    event_base_loop(worker->base, 0);
    return NULL;
}

/* Signals are for the daemon's loop. */
int dns_worker_start(struct dns_worker *worker)
{
    sigset_t all, before;
    int failure;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    failure = pthread_create(&worker->thread, NULL, run, worker);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failure == 0)
        pthread_setname_np(worker->thread, "isthmus-dns");
    return failure;
}
