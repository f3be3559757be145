/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Starting and stopping. The table `steps` is the order of starting and says why it is this one: what can be
 * refused without touching the machine comes first, then the keeper, then everything that it undoes.
 * Whichever step fails, daemon_stop takes down what the steps before it have built.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "control/config_warn.h"
#include "control/daemon.h"
#include "control/dns.h"
#include "control/dns_capture.h"
#include "control/firewall.h"
#include "control/log.h"
#include "control/notify.h"
#include "control/privilege.h"
#include "control/progress.h"
#include "control/setup.h"
#include "control/socket.h"
#include "control/undo.h"
#include "control/version.h"

static bool load_config(struct daemon *daemon, char *error, size_t size)
{
    struct config_error problem;
    const char *path = daemon->options->config;
    char directory[sizeof(daemon->config_path) / 2] = "";
    daemon->config = config_load(path, &problem);
    if (daemon->config == NULL) {
        snprintf(error, size, "%s", problem.text);
        return false;
    }
    config_warn(daemon->config);
    if (path[0] != '/' && getcwd(directory, sizeof(directory)) == NULL) {
        snprintf(error, size, "cannot tell the current directory: %s; name the file with its whole path",
                 strerror(errno));
        return false;
    }
    snprintf(daemon->config_path, sizeof(daemon->config_path), "%s%s%s", directory, path[0] == '/' ? "" : "/",
             path);
    return true;
}

static bool check_rights(struct daemon *daemon, char *error, size_t size)
{
    const struct config_dns64 *dns64 = daemon->config->dns64;
    if (!privilege_sufficient()) {
        snprintf(error, size,
                 "this needs the right to set up devices and routes (CAP_NET_ADMIN): run isthmus as "
                 "root, or give the container that capability");
        return false;
    }
    for (uint32_t i = 0; dns64 != NULL && i < dns64->listen_count; i++)
        if (!privilege_may_listen(dns64->listen[i].port)) {
            snprintf(
                error, size,
                "dns64.listen has port %u, which this may not listen on without the right to "
                "(CAP_NET_BIND_SERVICE): run isthmus as root, give the container that capability, or choose "
                "another port",
                dns64->listen[i].port);
            return false;
        }
    return true;
}

/* Before anything is touched for a name service that could not start. */
static bool check_dns(struct daemon *daemon, char *error, size_t size)
{
    return dns_check(daemon->config, error, size);
}

static bool take_state(struct daemon *daemon, char *error, size_t size)
{
    return state_open(&daemon->state, STATE_BASE, daemon->config->plane.name, error, size);
}

/*
 * What an earlier run has left, because it ran with --stay or was killed together with its keeper, is gone on
 * with: see open_changes. Only --fresh wants it away first.
 */
static bool undo_leftovers(struct daemon *daemon, char *error, size_t size)
{
    size_t undone;
    (void)error;
    (void)size;
    if (!daemon->options->fresh || faccessat(daemon->state.directory, CHANGES_FILE, F_OK, 0) != 0)
        return true;
    if (undo_directory(daemon->state.directory, UNDO_SESSIONS, &undone))
        log_info("undid %zu change%s that an earlier run left (--fresh)", undone, undone == 1 ? "" : "s");
    else
        log_warning("what could not be undone is forgotten (--fresh)");
    changes_remove(daemon->state.directory);
    return true;
}

static bool start_keeper(struct daemon *daemon, char *error, size_t size)
{
    const char *files[SIIT_INSTANCES_MAXIMUM];
    for (unsigned i = 0; i < SIIT_INSTANCES_MAXIMUM; i++) {
        snprintf(daemon->eam_files[i], sizeof(daemon->eam_files[i]), "%s", daemon->config->siit[i].eam_file);
        files[i] = daemon->eam_files[i];
    }
    snprintf(daemon->device, sizeof(daemon->device), "%s", daemon->config->plane.name);
    struct keeper_options options = {.state = &daemon->state,
                                     .config = daemon->config_path,
                                     .files = files,
                                     .file_count = SIIT_INSTANCES_MAXIMUM,
                                     .socket = daemon->config->control.socket,
                                     .device = daemon->device,
                                     .now = daemon->config};
    if (keeper_start(&daemon->keeper, &options))
        return true;
    snprintf(error, size, "cannot start the keeper, which undoes all changes at the end: %s",
             strerror(errno));
    return false;
}

static bool lists_device(const struct change_list *list, const char *name)
{
    for (size_t i = 0; i < list->count; i++) {
        if (list->items[i].kind == CHANGE_DEVICE && strcmp(list->items[i].subject, name) == 0)
            return true;
    }
    return false;
}

/*
 * The list of an earlier run is gone on with: what it has set up is not taken down in between, for packets
 * may be on their way, and what was there before is known from it alone.
 */
static bool open_changes(struct daemon *daemon, char *error, size_t size)
{
    struct change_list list;
    int problem = changes_read(daemon->state.directory, &list);
    bool usable = problem == 0 && !list.foreign;
    if (list.present && !usable)
        log_warning("%s holds a list of changes of another network namespace, of another version, or "
                    "damaged; starting anew",
                    daemon->state.path);
    if (usable && list.count > 0)
        log_info("an earlier run left %zu change%s to this machine; going on from there", list.count,
                 list.count == 1 ? "" : "s");
    daemon->device_left = usable && lists_device(&list, daemon->config->plane.name);
    daemon->changes =
        usable ? changes_continue(daemon->state.directory, &list) : changes_create(daemon->state.directory);
    problem = errno;
    changes_free(&list);
    if (daemon->changes != NULL) {
        if (daemon->options->stay && daemon->device_left)
            keeper_leave(&daemon->keeper); /* what was to stay stays, if this start fails as well */
        return true;
    }
    snprintf(error, size, "cannot keep a list of changes in %s: %s", daemon->state.path, strerror(problem));
    return false;
}

static bool check_socket(struct daemon *daemon, char *error, size_t size)
{
    return control_socket_check(daemon->config->control.socket, error, size);
}

static bool check_pools(struct daemon *daemon, char *error, size_t size)
{
    daemon->netlink = netlink_open();
    if (daemon->netlink == NULL) {
        snprintf(error, size, "cannot talk to the kernel about routes: %s", strerror(errno));
        return false;
    }
    return !egress_pool_is_local(daemon->netlink, daemon->config, error, size) &&
           own_watch_begin(daemon, error, size);
}

/* Recorded only now that the device is known to be ours: what is on the list will be removed. */
static bool keep_device(struct daemon *daemon, char *error, size_t size)
{
    struct change change = {.kind = CHANGE_DEVICE};
    snprintf(change.subject, sizeof(change.subject), "%s", daemon->config->plane.name);
    if (!changes_append(daemon->changes, &change)) {
        snprintf(error, size, "cannot record the device: %s", strerror(errno));
        return false;
    }
    int problem = tun_persist(daemon->tun);
    if (problem == 0)
        return true;
    changes_retract(daemon->changes);
    snprintf(error, size, "cannot make device %s outlive the daemon: %s", change.subject, strerror(problem));
    return false;
}

/* The device that an earlier run has left, if it can be had as it is; otherwise it goes. */
static bool can_take_over_device(const struct daemon *daemon)
{
    const char *name = daemon->config->plane.name;
    char reason[128];
    unsigned index = daemon->device_left ? if_nametoindex(name) : 0;
    if (index == 0)
        return false;
    if (tun_can_be_taken_over(name, reason, sizeof(reason)))
        return true;
    log_warning("cannot take over the device %s that an earlier run left: %s; making it anew", name, reason);
    netlink_link_remove(daemon->netlink, index);
    return false;
}

/* Workers and processors share the lanes of the table: processors without any could make no sessions. */
static uint32_t workers_wanted(const struct daemon *daemon)
{
    const uint32_t wanted = daemon->config->plane.workers, most = WORKERS_MAXIMUM / 2;
    return daemon->bpf.chosen && wanted > most ? most : wanted;
}

static bool open_device(struct daemon *daemon, char *error, size_t size)
{
    const struct config *config = daemon->config;
    struct tun_options options = {
        .name = config->plane.name, .workers = workers_wanted(daemon), .left = can_take_over_device(daemon)};
    char notes[512] = "";
    daemon->tun = tun_open(&options, error, size, notes, sizeof(notes));
    bool stays = daemon->options->stay || daemon->bpf.pins[0] != '\0';
    if (daemon->tun == NULL || (stays && !keep_device(daemon, error, size)))
        return false;
    daemon->workers = tun_queues(daemon->tun);
    log_info("%s device %s with %u queue%s", options.left ? "took over" : "opened", config->plane.name,
             daemon->workers, daemon->workers == 1 ? "" : "s");
    if (notes[0] != '\0')
        log_warning("%s", notes);
    return true;
}

static bool set_up_machine(struct daemon *daemon, char *error, size_t size)
{
    struct setup setup = {.netlink = daemon->netlink,
                          .changes = daemon->changes,
                          .config = daemon->config,
                          .index = tun_index(daemon->tun)};
    if (!setup_machine(&setup, error, size))
        return false;
    firewall_warn();
    return true;
}

static void warn_of_addresses(const char *list, const char *name, const struct ipv6_address *address6,
                              be32 address4)
{
    static const struct ipv6_address none6;
    bool none = ipv6_equal(address6, &none6);
    if (none || address4 == 0)
        log_warning("%s %s: no ICMP errors will be sent to %s: this machine has no global address there; set "
                    "%s.address",
                    list, name,
                    none && address4 == 0 ? "either side"
                    : none                ? "IPv6"
                                          : "IPv4",
                    list);
}

static bool look_at_egress(struct daemon *daemon, char *error, size_t size)
{
    int problem = paths_watch_open(&daemon->paths, tun_index(daemon->tun));
    if (problem != 0) {
        snprintf(error, size, "cannot read this machine's routes: %s", strerror(problem));
        return false;
    }
    problem = egress_find(daemon->netlink, tun_index(daemon->tun), &daemon->egress);
    if (problem != 0)
        log_warning("cannot list this machine's routes and addresses: %s", strerror(problem));
    egress_apply(&daemon->egress, daemon->config);
    const struct settings *settings = &daemon->config->settings;
    for (uint32_t i = 0; i < settings->nat64_count; i++)
        warn_of_addresses("nat64", settings->nat64[i].name, &settings->nat64[i].address6,
                          settings->nat64[i].address4);
    for (uint32_t i = 0; i < settings->siit_count; i++)
        warn_of_addresses("siit", settings->siit[i].name, &settings->siit[i].address6,
                          settings->siit[i].address4);
    return true;
}

static bool random_seed(uint64_t *seed, char *error, size_t size)
{
    if (getrandom(seed, sizeof(*seed), 0) == (ssize_t)sizeof(*seed))
        return true;
    snprintf(error, size, "the kernel gives no random numbers: %s", strerror(errno));
    return false;
}

static bool open_table(struct daemon *daemon, char *error, size_t size)
{
    if (daemon->bpf.chosen)
        return bpf_plane_open_table(daemon, error, size);
    struct table_file_options options = {.directory = daemon->state.directory,
                                         .path = daemon->state.path,
                                         .geometry = daemon->config->geometry,
                                         .fresh = daemon->options->fresh};
    options.geometry.workers = daemon->workers;
    if (!random_seed(&options.seed, error, size))
        return false;
    daemon->table = table_file_open(&options, error, size);
    if (daemon->table != NULL)
        bpf_plane_leave_behind(daemon);
    return daemon->table != NULL;
}

static void say_progress(void *context, uint32_t done, uint32_t all)
{
    progress_say(context, done, all);
}

/* Says what became of the sessions of the last run, if there were any. */
static void say_continued(const struct engine *engine)
{
    struct engine_continued found;
    char rest[256] = "";
    int length = 0;
    engine_continued(engine, &found);
    const struct {
        uint32_t count;
        const char *what;
    } lost[] = {
        {found.expired, "expired"},
        {found.undone, "half-made or half-ended, undone"},
        {found.disallowed, "no longer allowed"},
        {found.no_room, "without room in the new table"},
        {found.damaged, "damaged"},
    };
    for (size_t i = 0; i < sizeof(lost) / sizeof(lost[0]); i++) {
        if (lost[i].count > 0)
            length += snprintf(rest + length, sizeof(rest) - (size_t)length, "%s%u %s",
                               length > 0 ? ", " : "; not with ", lost[i].count, lost[i].what);
    }
    if (found.sessions == 0 && found.bindings == 0 && length == 0)
        return;
    (found.no_room + found.damaged > 0 ? log_warning : log_info)(
        "continues with %u session%s of %u binding%s%s", found.sessions, found.sessions == 1 ? "" : "s",
        found.bindings, found.bindings == 1 ? "" : "s", rest);
}

static bool make_engine(struct daemon *daemon, char *error, size_t size)
{
    struct progress progress = progress_begin("looking through the sessions of the last run");
    struct kernel_plane *kernel = daemon->bpf.kernel;
    const struct table *file = kernel != NULL ? NULL : table_file_previous(daemon->table);
    struct engine_options options = {.table = kernel != NULL ? kernel_table(kernel)
                                                             : table_file_table(daemon->table),
                                     .settings = &daemon->config->settings,
                                     .paths = daemon->paths.current,
                                     .previous = file != NULL ? file : bpf_plane_previous(&daemon->bpf),
                                     .waiting = kernel != NULL ? kernel_waiting(kernel) : NULL,
                                     .workers = daemon->workers,
                                     .now = uv_hrtime(),
                                     .progress = say_progress,
                                     .context = &progress};
    if (!random_seed(&options.seed, error, size))
        return false;
    daemon->engine = engine_create(&options, error, size);
    if (daemon->engine == NULL)
        return false;
    say_continued(daemon->engine);
    if (kernel != NULL)
        bpf_plane_begin(daemon);
    return true;
}

static bool open_socket(struct daemon *daemon, char *error, size_t size)
{
    const struct config *config = daemon->config;
    daemon->listener =
        control_socket_open(config->control.socket, config->control.group, daemon->changes, error, size);
    return daemon->listener >= 0;
}

static bool open_dns(struct daemon *daemon, char *error, size_t size)
{
    const struct dns_options options = {.config = daemon->config,
                                        .workers = daemon->workers,
                                        .seen = dns_capture_seen,
                                        .seen_context = daemon->engine};
    if (daemon->config->dns64 == NULL)
        return true;
    daemon->dns = dns_open(&options, error, size);
    if (daemon->dns != NULL)
        daemon->dns_server = dns_server(daemon->dns);
    return daemon->dns != NULL;
}

static bool open_advertise(struct daemon *daemon, char *error, size_t size)
{
    const struct advertise_servers servers = dns_advertised(daemon->config);
    if (daemon->config->ra_count > 0)
        daemon->advertise = advertise_open(daemon->config, &servers, error, size);
    return daemon->config->ra_count == 0 || daemon->advertise != NULL;
}

/* All that this run wants is set up: what else an earlier one has left goes. */
static bool finish_change_over(struct daemon *daemon, char *error, size_t size)
{
    if (!bpf_plane_attach(daemon, error, size) ||
        (daemon->table != NULL && !table_file_keep(daemon->table, error, size)))
        return false;
    undo_unwanted(daemon->changes, CHANGES_OF_RUNS);
    bpf_plane_forget_previous(daemon);
    return true;
}

/*
 * With the rights go the open files that stand for them: whoever takes the daemon over must not be able to
 * write into the list that the keeper will undo as root, nor to give up the lock. The keeper keeps that.
 */
static bool drop_rights(struct daemon *daemon, char *error, size_t size)
{
    changes_close(daemon->changes);
    daemon->changes = NULL;
    netlink_close(daemon->netlink);
    daemon->netlink = NULL;
    state_close(&daemon->state);
    return privilege_drop(daemon->config->control.user, error, size);
}

static bool start_threads(struct daemon *daemon, char *error, size_t size)
{
    daemon->threads_run = tun_start(daemon->tun, daemon->engine);
    if (!daemon->threads_run)
        snprintf(error, size, "cannot start %u threads for the device; lower plane.workers", daemon->workers);
    return daemon->threads_run;
}

static bool start_dns(struct daemon *daemon, char *error, size_t size)
{
    int status = daemon->dns == NULL ? 0 : dns_start(daemon->dns, &daemon->loop);
    if (status != 0)
        snprintf(error, size, "cannot start the threads of the name service: %s; lower plane.workers",
                 uv_strerror(status));
    return status == 0;
}

static bool start_advertise(struct daemon *daemon, char *error, size_t size)
{
    int status = daemon->advertise == NULL ? 0 : advertise_start(daemon->advertise, &daemon->loop);
    if (status != 0)
        snprintf(error, size, "cannot send router advertisements: %s", uv_strerror(status));
    return status == 0;
}

static bool open_service(struct daemon *daemon, char *error, size_t size)
{
    int listener = daemon->listener;
    daemon->listener = -1;
    daemon->service = daemon->options->service->open(daemon, listener, error, size);
    return daemon->service != NULL;
}

static void say_instance(const struct nat64_settings *nat64)
{
    struct network prefix = {.family = AF_INET6, .length = nat64->prefix.length};
    char text[NETWORK_TEXT];
    uint32_t addresses = 0;
    memcpy(prefix.address, nat64->prefix.address.bytes, sizeof(prefix.address));
    network_print(&prefix, text);
    for (uint32_t i = 0; i < nat64->pool_count; i++)
        addresses += nat64->pool[i].count;
    log_info("nat64 %s: prefix %s, a pool of %u address%s, %u static binding%s", nat64->name, text, addresses,
             addresses == 1 ? "" : "es", nat64->static_count, nat64->static_count == 1 ? "" : "s");
}

static void say_siit(const struct siit_settings *siit)
{
    struct network prefix = {.family = AF_INET6, .length = siit->prefix.length};
    char text[NETWORK_TEXT] = "none";
    memcpy(prefix.address, siit->prefix.address.bytes, sizeof(prefix.address));
    if (prefix.length != 0)
        network_print(&prefix, text);
    uint32_t mappings = eam_count(siit->eam);
    log_info("siit %s: prefix %s, %u mapping%s", siit->name, text, mappings, mappings == 1 ? "" : "s");
}

static void say_dns(const struct config *config)
{
    char listens[512];
    const struct config_dns64 *dns64 = config->dns64;
    if (dns64 == NULL)
        return;
    dns_print_listens(dns64, listens, sizeof(listens));
    log_info("answers DNS queries on %s, %s%s", listens,
             dns64->upstream_count == 0 ? "resolving from the root" : "asking ",
             dns64->upstream_count == 0 ? ""
             : dns64->upstream[0].tls   ? "upstream servers by TLS"
                                        : "upstream servers");
}

/* Nothing is read from there any more; a terminal or a pipe would be kept open. */
static void let_go_of_input(void)
{
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null < 0)
        return;
    dup2(null, STDIN_FILENO);
    close(null);
}

static bool become_ready(struct daemon *daemon, char *error, size_t size)
{
    const struct config *config = daemon->config;
    (void)error;
    (void)size;
    if (daemon->options->stay)
        keeper_leave(&daemon->keeper);
    daemon->started = uv_hrtime();
    daemon->ready = true;
    for (uint32_t i = 0; i < config->settings.nat64_count; i++)
        say_instance(&config->settings.nat64[i]);
    for (uint32_t i = 0; i < config->settings.siit_count; i++)
        say_siit(&config->settings.siit[i]);
    say_dns(config);
    log_info("ready: version " ISTHMUS_VERSION
             ", plane %s, device %s, %u worker%s, MTU from %u (IPv6) and %u (IPv4), %u sessions "
             "at most, control socket %s",
             daemon->bpf.chosen ? "bpf" : "tun", config->plane.name, daemon->workers,
             daemon->workers == 1 ? "" : "s", paths_watch_least6(&daemon->paths, config->plane.mtu6),
             paths_watch_least4(&daemon->paths, config->plane.mtu4), config->geometry.sessions,
             config->control.socket);
    let_go_of_input();
    notify_supervisor("READY=1");
    return true;
}

static bool (*const steps[])(struct daemon *daemon, char *error, size_t size) = {
    load_config,      /* nothing is touched for a configuration that is wrong */
    check_rights,     /* nor without the right to */
    check_dns,        /* nor for want of a file */
    bpf_plane_choose, /* nor of a kernel that takes programs */
    take_state,       /* from here on this daemon is alone under its name */
    undo_leftovers,   /* before the machine is looked at */
    bpf_plane_check_places,
    start_keeper, /* before the first change, and while there is one thread */
    open_changes, /* likewise */
    check_socket, /* a daemon under another name may have it */
    check_pools,  /* while the machine is still as it was */
    bpf_plane_prepare_pins,
    open_device,        /* names the number of workers */
    set_up_machine,     /* needs the device */
    look_at_egress,     /* after forwarding: turning it on moves addresses and routes */
    open_table,         /* needs the number of workers */
    make_engine,        /* needs the table, MTUs and addresses */
    open_socket,        /* while its directory may be written */
    open_dns,           /* while there is the right to */
    open_advertise,     /* likewise */
    daemon_watch,       /* from here on a signal stops the daemon in order */
    finish_change_over, /* as late as there are rights to: until here an earlier run's file stands */
    drop_rights,        /* before the first packet is read, and while there is one thread */
    start_threads,      /* packets flow */
    start_dns,          /* names lead to them */
    start_advertise,    /* hosts are told where to send both */
    open_service,       /* status can be asked for */
    become_ready,
};

bool daemon_start(struct daemon *daemon, char *error, size_t size)
{
    error[0] = '\0';
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        if (!steps[i](daemon, error, size))
            return false;
    }
    return true;
}

static void close_handle(uv_handle_t *handle, void *context)
{
    (void)context;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

static void close_loop(struct daemon *daemon)
{
    if (!daemon->have_loop)
        return;
    uv_walk(&daemon->loop, close_handle, NULL);
    uv_run(&daemon->loop, UV_RUN_DEFAULT);
    uv_loop_close(&daemon->loop);
}

/* In reverse order of the steps. */
void daemon_stop(struct daemon *daemon)
{
    bool clean = true;
    if (daemon->service != NULL)
        daemon->options->service->close(daemon->service);
    if (daemon->advertise != NULL)
        advertise_finish(daemon->advertise); /* while packets flow and names are answered */
    if (daemon->dns != NULL)
        dns_stop(daemon->dns);
    daemon->dns_server = NULL;
    if (daemon->threads_run)
        tun_stop(daemon->tun);
    close_loop(daemon);
    advertise_close(daemon->advertise);
    dns_close(daemon->dns);
    if (daemon->listener >= 0)
        close(daemon->listener);
    engine_destroy(daemon->engine);
    paths_watch_close(&daemon->paths);
    own_watch_close(&daemon->own);
    bpf_plane_close(daemon);
    table_file_close(daemon->table);
    if (daemon->tun != NULL)
        tun_close(daemon->tun);
    netlink_close(daemon->link_watch);
    netlink_close(daemon->netlink);
    changes_close(daemon->changes);
    if (daemon->keeper.process > 0)
        clean = keeper_finish(&daemon->keeper);
    else if (daemon->state.lock >= 0)
        state_remove(&daemon->state);
    if (!clean) {
        log_error("something is left; isthmus down tries again to undo it");
        daemon->failed = true;
    }
    if (daemon->ready)
        log_info("stopped; %s for the next run, or for isthmus down to remove",
                 daemon->options->stay ? "sessions, device, routes and settings stay" : "the sessions stay");
    state_close(&daemon->state);
    config_free(daemon->config);
    config_free(daemon->retired);
}
