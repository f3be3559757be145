/* SPDX-License-Identifier: BSD-2-Clause */
#include "control/bpf_plane.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "control/daemon.h"
#include "control/log.h"
#include "control/undo.h"
#include "engine/rules.h"

enum {
    NANOSECONDS_PER_SECOND = 1000000000,
    SECONDS_WORTH_SAYING = 2,
};

/* --- the start ------------------------------------------------------------------------------------------ */

/* The plane cannot be had. */
static bool do_without(struct daemon *daemon, const char *reason, char *error, size_t size)
{
    daemon->bpf.chosen = false;
    if (daemon->config->plane.type == PLANE_AUTO) {
        log_info("the plane is TUN, since the eBPF plane cannot be had: %s", reason);
        return true;
    }
    snprintf(error, size, "the eBPF plane cannot be had: %s; see to that, or write plane.type: auto", reason);
    return false;
}

bool bpf_plane_choose(struct daemon *daemon, char *error, size_t size)
{
    char reason[256];
    if (daemon->config->plane.type == PLANE_TUN)
        return true;
    daemon->bpf.chosen = true;
    const char *problem = kernel_unavailable(reason, sizeof(reason));
    return problem == NULL || do_without(daemon, problem, error, size);
}

bool bpf_plane_check_places(struct daemon *daemon, char *error, size_t size)
{
    char reason[256];
    const struct interfaces interfaces = {.directory = daemon->state.directory, .config = daemon->config};
    const char *problem = daemon->bpf.chosen ? interfaces_taken(&interfaces, reason, sizeof(reason)) : NULL;
    return problem == NULL || do_without(daemon, problem, error, size);
}

static bool record(const struct daemon *daemon, const struct change *change, char *error, size_t size)
{
    if (changes_append(daemon->changes, change))
        return true;
    snprintf(error, size, "cannot record a change: %s", strerror(errno));
    return false;
}

/* As no name in a bpffs may, it has no dots; no name of a device has colons. */
static void usual_pins(const struct config *config, char *pins, size_t size)
{
    int directory = snprintf(pins, size, "%s/", config->plane.pins);
    snprintf(pins + directory, size - (size_t)directory, "%s", config->plane.name);
    for (char *at = pins + directory; *at != '\0'; at++)
        if (*at == '.')
            *at = ':';
}

/* Recorded as if a bpffs were mounted, and otherwise if none was; what an earlier run has recorded stands. */
bool bpf_plane_prepare_pins(struct daemon *daemon, char *error, size_t size)
{
    struct bpf_plane *plane = &daemon->bpf;
    const struct config *config = daemon->config;
    struct change change = {.kind = CHANGE_PINS, .before = "mounted"};
    char why[256];
    bool mounted;
    if (!plane->chosen)
        return true;
    usual_pins(config, plane->pins, sizeof(plane->pins));
    memcpy(change.subject, plane->pins, sizeof(plane->pins));
    if (!record(daemon, &change, error, size))
        return false;
    bool prepared = kernel_pins_prepare(config->plane.pins, &mounted, why, sizeof(why));
    plane->mounted = prepared && mounted;
    if (plane->mounted) {
        log_info("mounted a bpffs for %s", plane->pins);
        return true;
    }
    changes_retract(daemon->changes);
    strcpy(change.before, "found");
    if (prepared)
        return record(daemon, &change, error, size);
    log_warning("sessions will not outlive this run, nor packets be translated after it: %s", why);
    plane->pins[0] = '\0';
    return true;
}

static bool random_seed(uint64_t *seed, char *error, size_t size)
{
    if (getrandom(seed, sizeof(*seed), 0) == (ssize_t)sizeof(*seed))
        return true;
    snprintf(error, size, "the kernel gives no random numbers: %s", strerror(errno));
    return false;
}

/* Where an earlier run has pinned its table: as it has recorded, or else where this one would. */
static void find_left_pins(const struct daemon *daemon, char *pins, size_t size)
{
    const struct change_list *left = changes_left(daemon->changes);
    usual_pins(daemon->config, pins, size);
    for (size_t i = 0; i < left->count; i++)
        if (left->items[i].kind == CHANGE_PINS)
            snprintf(pins, size, "%s", left->items[i].subject);
}

/* A table that this run's is not made of: in other pins, or in a file. */
static void open_previous(struct daemon *daemon)
{
    struct bpf_plane *plane = &daemon->bpf;
    char pins[sizeof(((struct change *)NULL)->subject)];
    if (daemon->options->fresh)
        return;
    find_left_pins(daemon, pins, sizeof(pins));
    if (strcmp(pins, plane->pins) != 0)
        plane->left = kernel_left_open(pins);
    plane->file = table_file_open_left(daemon->state.directory, daemon->state.path);
}

static uint32_t count_mappings(const struct settings *settings)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < settings->siit_count; i++)
        count += eam_count(settings->siit[i].eam);
    return count;
}

/* On a small machine the kernel looks at the programs for some seconds; it cannot be asked how far it is. */
static struct kernel_plane *load(const struct kernel_options *options, char *note, size_t note_size,
                                 char *error, size_t size)
{
    uint64_t began = uv_hrtime();
    struct kernel_plane *kernel = kernel_open(options, note, note_size, error, size);
    uint64_t seconds = (uv_hrtime() - began) / NANOSECONDS_PER_SECOND;
    if (kernel != NULL && seconds >= SECONDS_WORTH_SAYING)
        log_info("the kernel took %" PRIu64 " s to load the eBPF programs", seconds);
    return kernel;
}

bool bpf_plane_open_table(struct daemon *daemon, char *error, size_t size)
{
    struct bpf_plane *plane = &daemon->bpf;
    struct kernel_options options = {.pins = plane->pins[0] != '\0' ? plane->pins : NULL,
                                     .geometry = daemon->config->geometry,
                                     .mappings = count_mappings(&daemon->config->settings),
                                     .fresh = daemon->options->fresh};
    char note[256];
    options.geometry.workers = daemon->workers;
    if (!random_seed(&options.seed, error, size))
        return false;
    plane->kernel = load(&options, note, sizeof(note), error, size);
    if (plane->kernel == NULL)
        return false;
    if (note[0] != '\0')
        log_info("%s", note);
    kernel_pause(plane->kernel, tun_index(daemon->tun));
    open_previous(daemon);
    return true;
}

static void on_other_paths(void *context)
{
    struct daemon *daemon = context;
    bpf_plane_enforce(daemon, engine_rules(daemon->engine));
}

void bpf_plane_begin(struct daemon *daemon)
{
    daemon->bpf.forward = daemon->config->plane.forward;
    daemon->paths.replaced = on_other_paths;
    daemon->paths.context = daemon;
    bpf_plane_enforce(daemon, engine_rules(daemon->engine));
}

bool bpf_plane_attach(struct daemon *daemon, char *error, size_t size)
{
    struct bpf_plane *plane = &daemon->bpf;
    struct interfaces interfaces = {.directory = daemon->state.directory,
                                    .config = daemon->config,
                                    .changes = daemon->changes,
                                    .anew = true};
    if (!plane->chosen)
        return true;
    if (!kernel_keep(plane->kernel, error, size))
        return false;
    int problem = kernel_attach_device(plane->kernel, tun_index(daemon->tun));
    if (problem != 0)
        log_warning("what this machine's own programs send is not translated in the kernel: %s",
                    strerror(problem));
    for (unsigned i = 0; i < INGRESS_UNKNOWN; i++)
        interfaces.program[i] = kernel_program(plane->kernel, i);
    (void)interfaces_follow(&interfaces, plane->interfaces);
    if (keeper_take_programs(&daemon->keeper, interfaces.program, plane->pins[0] != '\0'))
        return true;
    snprintf(error, size, "cannot give the keeper the programs: %s", strerror(errno));
    return false;
}

/* --- what an earlier run has left -------------------------------------------------------------------- */

void bpf_plane_leave_behind(struct daemon *daemon)
{
    const struct change_list *left = changes_left(daemon->changes);
    char pins[sizeof(((struct change *)NULL)->subject)];
    for (size_t i = 0; i < left->count; i++) {
        struct change change = left->items[i];
        const struct change_list one = {.items = &change, .count = 1};
        if (change.kind == CHANGE_INGRESS)
            (void)undo_changes(&one);
    }
    kernel_detach_device(tun_index(daemon->tun));
    find_left_pins(daemon, pins, sizeof(pins));
    if (!daemon->options->fresh)
        daemon->bpf.left = kernel_left_open(pins);
    if (daemon->bpf.left != NULL)
        log_info("found the session table that the eBPF plane of an earlier run has pinned");
}

const struct table *bpf_plane_previous(const struct bpf_plane *plane)
{
    const struct table *own = plane->kernel != NULL ? kernel_previous(plane->kernel) : NULL;
    if (own != NULL || plane->left != NULL)
        return own != NULL ? own : plane->left;
    return plane->file != NULL ? table_file_previous(plane->file) : NULL;
}

static void close_previous(struct bpf_plane *plane)
{
    kernel_left_close(plane->left);
    table_file_close(plane->file);
    plane->left = NULL;
    plane->file = NULL;
}

void bpf_plane_forget_previous(struct daemon *daemon)
{
    char pins[sizeof(((struct change *)NULL)->subject)];
    close_previous(&daemon->bpf);
    find_left_pins(daemon, pins, sizeof(pins));
    if (strcmp(pins, daemon->bpf.pins) != 0)
        (void)kernel_pins_remove(pins);
    if (daemon->bpf.chosen)
        (void)table_file_remove(daemon->state.directory);
}

/* --- while the daemon runs --------------------------------------------------------------------------- */

void bpf_plane_enforce(struct daemon *daemon, const struct rules *rules)
{
    if (daemon->bpf.kernel == NULL)
        return;
    const struct kernel_surroundings surroundings = {.device = tun_index(daemon->tun),
                                                     .stack = daemon->bpf.forward == FORWARD_STACK,
                                                     .paths = daemon->paths.current};
    kernel_enforce(daemon->bpf.kernel, rules, &surroundings);
}

void bpf_plane_alive(struct daemon *daemon)
{
    if (daemon->bpf.kernel != NULL)
        kernel_alive(daemon->bpf.kernel, uv_hrtime());
}

void bpf_plane_capture(const struct daemon *daemon)
{
    if (daemon->bpf.kernel != NULL)
        kernel_capture(daemon->bpf.kernel, daemon->engine);
}

void bpf_plane_look_at_interfaces(struct daemon *daemon, bool reloaded)
{
    if (daemon->bpf.chosen)
        (void)keeper_look_at_interfaces(&daemon->keeper, reloaded, daemon->bpf.interfaces);
}

void bpf_plane_close(struct daemon *daemon)
{
    struct bpf_plane *plane = &daemon->bpf;
    if (plane->kernel != NULL && daemon->ready && daemon->options->stay)
        kernel_leave(plane->kernel);
    close_previous(plane);
    kernel_close(plane->kernel);
    plane->kernel = NULL;
    if (plane->mounted && !daemon->ready) /* which the keeper may not undo; if something is pinned it stays */
        kernel_pins_restore(daemon->config->plane.pins, true);
}
