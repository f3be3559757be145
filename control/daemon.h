/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The daemon: configuration, device, table, engine and control socket put together, kept going by one libuv
 * loop, and taken apart again.
 *
 *     threads of the plane     packets; one an engine worker
 *     threads of dns64/        queries for names; as many, if there is a name service
 *     this thread              everything else: signals, the control socket, reload
 *     the keeper (a process)   undoes all changes to the machine at the end; see control/keeper.h
 */
#ifndef CONTROL_DAEMON_H
#define CONTROL_DAEMON_H

#include <uv.h>

#include "control/advertise.h"
#include "control/bpf_plane.h"
#include "control/config.h"
#include "control/egress.h"
#include "control/keeper.h"
#include "control/own_watch.h"
#include "control/paths_watch.h"
#include "control/state.h"
#include "control/table_file.h"
#include "engine/engine.h"
#include "plane/tun/tun.h"

struct daemon;
struct dns;    /* control/dns.h */
struct server; /* dns64/server.h */

/* What answers on the control socket; the rooms above the daemon provide it. */
struct daemon_service {
    void *(*open)(struct daemon *daemon, int listener, char *error,
                  size_t size);   /* takes the listener over */
    void (*close)(void *service); /* closes the listener; called before the loop ends */
};

/* The control API: declared here, where the command line sees it, and defined in portal/api.c, above. */
extern const struct daemon_service portal_service;

struct daemon_options {
    const char *config; /* path of the configuration file */
    bool stay;          /* device, routes and settings outlive the daemon */
    bool fresh;         /* without the sessions and the device of an earlier run, undoing what it left */
    const struct daemon_service *service;
};

struct daemon {
    const struct daemon_options *options;
    char config_path[4096];                      /* absolute, for the keeper has another directory */
    char eam_files[SIIT_INSTANCES_MAXIMUM][200]; /* that the configuration named at the start */
    char device[IFNAMSIZ];                       /* its name */
    struct config *config;
    struct config *retired; /* replaced or refused by reload, perhaps still in use by a worker */
    struct state state;
    struct changes *changes;
    struct keeper keeper;
    struct netlink *netlink, *link_watch;
    struct egress egress;
    struct paths_watch paths;
    struct own_watch own;
    struct dns *dns;             /* NULL: no dns64 */
    struct advertise *advertise; /* NULL: nothing in ra */
    struct tun *tun;
    struct bpf_plane bpf;
    struct table_file *table; /* of the TUN plane */
    struct engine *engine;
    struct server *dns_server; /* NULL: no dns64 in the configuration */
    uint32_t workers;          /* of the plane, and of the name service */
    int listener;              /* the control socket, until the service has it */
    void *service;
    nanoseconds started;
    bool device_left; /* by an earlier run, so that it may be taken over */
    bool ready;
    bool failed; /* to start, or something ended the daemon that should not have, or is left behind */

    bool have_loop, threads_run;
    uv_loop_t loop;
    uv_signal_t terminate, interrupt, hang_up;
    uv_timer_t quiet;  /* frees `retired` when no worker uses it any more */
    uv_timer_t settle; /* after a link came up, until the proxy entries are looked after */
    uv_poll_t link_poll, keeper_poll;
};

/* Runs a daemon until it is told to stop. Returns the exit status of the program. */
int daemon_run(const struct daemon_options *options);

/*
 * Builds everything up, in steps; the first that fails ends it with a sentence. Whatever was built stands
 * in *daemon and is taken down by daemon_stop.
 */
bool daemon_start(struct daemon *daemon, char *error, size_t size);
void daemon_stop(struct daemon *daemon);

/* Watches signals, the device and the timers. */
bool daemon_watch(struct daemon *daemon, char *error, size_t size);

/* What a reload has changed. */
struct daemon_reloaded {
    struct config_differences changed;
    uint32_t ended[ENGINE_ENDINGS]; /* sessions, by enum engine_ending */
};

/*
 * Reads the configuration file again and puts it in force, whole or not at all. False with the reason,
 * which is logged, too; sessions that were to go may have ended all the same.
 */
bool daemon_reload(struct daemon *daemon, struct daemon_reloaded *reloaded, struct config_error *error);

/* The same of the engine and the programs in the kernel alone; and says what has ended by it. */
bool daemon_change_engine(struct daemon *daemon, const struct config *config,
                          struct daemon_reloaded *reloaded, struct config_error *error);
void daemon_say_ended(const struct daemon_reloaded *reloaded);

/* Frees the settings that reload replaced, once no worker uses them; called by a timer. */
void daemon_free_retired(struct daemon *daemon);

#endif /* CONTROL_DAEMON_H */
