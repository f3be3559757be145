/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The programs are always new: each start loads its own and puts them in the place of those that an earlier
 * run has attached. What may be taken over is the table, whose maps the new programs then share with the old
 * ones until these are replaced; everything else (settings, pool, counters) is theirs alone.
 */
#include "plane/bpf/plane.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "plane/bpf/capture.h"
#include "plane/bpf/embedded.h"
#include "plane/bpf/pins.h"
#include "plane/bpf/rules.h"

enum {
    ALIVE_SECONDS = 3,
    PAUSE_SECONDS = 60, /* in which a start is to be done; if it was killed, packets are dropped then */
    NANOSECONDS_PER_SECOND = 1000000000,
};

struct kernel_plane {
    char pins[PATH_MAX]; /* "": there are none */
    struct object *object;
    struct geometry geometry;
    uint32_t mappings; /* that the object has room for, and more */
    struct table *table;
    struct pinned_table found; /* the table of an earlier run, if its sessions are to be copied */
    struct table *previous;
    struct table_constants *constants;       /* as the programs know them */
    struct plane_control *control, *earlier; /* of these programs, and of those of an earlier run */
    struct plane_control before;             /* they were paused */
    bool paused, kept;
    struct waiting_places *waiting;
    struct object_array processors;
    struct capture_source *captures;
    uint32_t first_lane, lanes;
    uint64_t secret[2];
};

/* --- opening -------------------------------------------------------------------------------------- */

/* The engine's workers and its control plane have the first lanes, processors those behind. */
static void set_geometry(struct kernel_plane *kernel, const struct geometry *geometry)
{
    uint32_t processors = object_processors(), left = WORKERS_MAXIMUM - geometry->workers;
    kernel->geometry = *geometry;
    kernel->first_lane = geometry->workers + 1;
    kernel->lanes = processors < left ? processors : left;
    kernel->geometry.workers += kernel->lanes;
}

/*
 * What is to become of the table that an earlier run has pinned: used as it is, or read for its sessions.
 * NULL, or why neither; then there is no table in `found`.
 */
static const char *look_for_table(struct kernel_plane *kernel, bool *used)
{
    const char *problem = pinned_table_open(&kernel->found, kernel->pins);
    if (problem != NULL)
        return problem;
    *used = kernel->earlier != NULL && kernel->found.layout == TABLE_LAYOUT &&
            geometry_equal(&kernel->found.geometry, &kernel->geometry);
    if (!*used && !pinned_table_map(&kernel->found)) {
        pinned_table_close(&kernel->found);
        return "there is no memory to read the pinned session table";
    }
    return NULL;
}

static bool attach_previous(struct kernel_plane *kernel, char *note, size_t note_size)
{
    char reason[128];
    kernel->previous = table_attach(kernel->found.memory, &kernel->found.geometry, reason, sizeof(reason));
    if (kernel->previous == NULL)
        snprintf(note, note_size, "the pinned session table is not used: %s", reason);
    else
        snprintf(note, note_size, "the session table is made anew, with the sessions of the pinned one");
    return kernel->previous != NULL;
}

/*
 * Finds what an earlier run has left. True: its table is to be used as it is. Programs that cannot be paused
 * go on with it until they are replaced, so that it can only be copied then.
 */
static bool find_earlier(struct kernel_plane *kernel, bool fresh, char *note, size_t note_size)
{
    bool used = false;
    if (kernel->pins[0] == '\0' || !pins_settle(kernel->pins))
        return false;
    kernel->earlier = pinned_control_open(kernel->pins);
    if (fresh)
        return false;
    const char *problem = look_for_table(kernel, &used);
    if (problem != NULL)
        snprintf(note, note_size, "%s; a new one is made", problem);
    else if (used)
        snprintf(note, note_size, "the pinned session table is used as it is");
    else if (!attach_previous(kernel, note, note_size))
        pinned_table_close(&kernel->found);
    return problem == NULL && used;
}

static bool fail(const char *what, char *error, size_t size)
{
    snprintf(error, size, "%s", what);
    return false;
}

static bool load(struct kernel_plane *kernel, bool used, char *error, size_t size)
{
    const struct object_options object = {.image = embedded_object,
                                          .image_size = (size_t)(embedded_object_end - embedded_object),
                                          .segments = used ? kernel->found.map : NULL,
                                          .geometry = kernel->geometry,
                                          .mappings = kernel->mappings};
    kernel->object = object_open(&object, error, size);
    if (kernel->object == NULL)
        return false;
    if (used)
        pinned_table_close(&kernel->found);
    kernel->control = object_map_memory(kernel->object, ".data.control");
    kernel->constants = object_map_memory(kernel->object, ".data.table");
    kernel->waiting = object_map_memory(kernel->object, "waiting");
    kernel->processors = object_array(kernel->object, "processors");
    kernel->captures = capture_source_open(kernel->object);
    return (kernel->control != NULL && kernel->constants != NULL && kernel->waiting != NULL &&
            kernel->processors.count > 0 && kernel->captures != NULL && rules_map(kernel->object)) ||
           fail("the maps of the BPF programs cannot be mapped into memory", error, size);
}

static nanoseconds time_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (nanoseconds)now.tv_sec * NANOSECONDS_PER_SECOND + (nanoseconds)now.tv_nsec;
}

static bool set_up(struct kernel_plane *kernel, bool used, uint64_t seed, char *error, size_t size)
{
    void *const *memory = object_memory(kernel->object);
    if (used)
        kernel->table = table_attach(memory, &kernel->geometry, error, size);
    else if ((kernel->table = table_format(memory, &kernel->geometry, seed)) == NULL)
        (void)fail("there is no memory for the session table", error, size);
    if (kernel->table == NULL)
        return false;
    if (object_constants(kernel->object, kernel->table) != 0)
        return fail("the BPF programs cannot be told of the session table", error, size);
    if (getrandom(kernel->secret, sizeof(kernel->secret), 0) != sizeof(kernel->secret))
        return fail("the kernel gives no random numbers", error, size);
    kernel_alive(kernel, time_now());
    return true;
}

struct kernel_plane *kernel_open(const struct kernel_options *options, char *note, size_t note_size,
                                 char *error, size_t size)
{
    struct kernel_plane *kernel = calloc(1, sizeof(*kernel));
    if (kernel == NULL) {
        (void)fail("there is no memory for the BPF programs", error, size);
        return NULL;
    }
    for (unsigned i = 0; i < TABLE_SEGMENTS; i++)
        kernel->found.map[i] = -1;
    if (options->pins != NULL)
        snprintf(kernel->pins, sizeof(kernel->pins), "%s", options->pins);
    if (note_size > 0)
        note[0] = '\0';
    set_geometry(kernel, &options->geometry);
    kernel->mappings = options->mappings;
    bool used = find_earlier(kernel, options->fresh, note, note_size);
    if (load(kernel, used, error, size) && set_up(kernel, used, options->seed, error, size))
        return kernel;
    kernel_close(kernel);
    return NULL;
}

/* Programs that were paused for a start that came to nothing. */
static void resume(struct kernel_plane *kernel)
{
    struct plane_control *earlier = kernel->earlier;
    if (!kernel->paused || kernel->kept)
        return;
    atomic_store32(&earlier->device, kernel->before.device);
    atomic_store64(&earlier->alive_until, kernel->before.alive_until);
    atomic_store32(&earlier->paused, kernel->before.paused);
}

void kernel_close(struct kernel_plane *kernel)
{
    if (kernel == NULL)
        return;
    resume(kernel);
    table_destroy(kernel->previous);
    table_destroy(kernel->table);
    pinned_table_close(&kernel->found);
    pinned_control_close(kernel->earlier);
    capture_source_close(kernel->captures);
    object_close(kernel->object);
    free(kernel);
}

struct table *kernel_table(const struct kernel_plane *kernel)
{
    return kernel->table;
}

const struct table *kernel_previous(const struct kernel_plane *kernel)
{
    return kernel->previous;
}

struct waiting_places *kernel_waiting(const struct kernel_plane *kernel)
{
    return kernel->waiting;
}

uint32_t kernel_lanes(const struct kernel_plane *kernel)
{
    return kernel->lanes;
}

int kernel_program(const struct kernel_plane *kernel, enum ingress_link link)
{
    static const char *const names[INGRESS_UNKNOWN] = {[INGRESS_ETHERNET] = "translate_ethernet",
                                                       [INGRESS_PLAIN] = "translate_plain",
                                                       [INGRESS_BETWEEN] = "translate_between"};
    return object_program(kernel->object, names[link]);
}

int kernel_attach_device(const struct kernel_plane *kernel, unsigned device)
{
    return egress_attach(device, kernel_program(kernel, INGRESS_PLAIN));
}

void kernel_detach_device(unsigned device)
{
    egress_detach(device);
}

/* --- running -------------------------------------------------------------------------------------- */

void kernel_pause(struct kernel_plane *kernel, unsigned device)
{
    if (kernel->earlier == NULL)
        return;
    if (!kernel->paused)
        kernel->before = *kernel->earlier;
    kernel->paused = true;
    atomic_store64(&kernel->earlier->alive_until,
                   time_now() + (nanoseconds)PAUSE_SECONDS * NANOSECONDS_PER_SECOND);
    atomic_store32(&kernel->earlier->device, device);
    atomic_store32(&kernel->earlier->paused, 1);
    rules_wait();
}

/* engine_create gives a table the keys of the one whose sessions it takes over. */
static void tell_keys(const struct kernel_plane *kernel)
{
    memcpy(kernel->constants->key, kernel->table->constants.key, sizeof(kernel->constants->key));
}

void kernel_enforce(struct kernel_plane *kernel, const struct rules *rules,
                    const struct kernel_surroundings *surroundings)
{
    tell_keys(kernel);
    const struct rules_surroundings all = {.device = surroundings->device,
                                           .lane = kernel->first_lane,
                                           .lanes = kernel->lanes,
                                           .stack = surroundings->stack,
                                           .secret = {kernel->secret[0], kernel->secret[1]},
                                           .paths = surroundings->paths};
    (void)rules_enforce(kernel->object, rules, &all); /* all is mapped, so nothing can fail */
}

bool kernel_keep(struct kernel_plane *kernel, char *error, size_t size)
{
    if (kernel->pins[0] == '\0')
        return true;
    int problem = pins_make(kernel->pins, kernel->object);
    if (problem == 0)
        problem = pins_replace(kernel->pins);
    if (problem != 0)
        snprintf(error, size, "the BPF programs cannot be pinned in %s: %s", kernel->pins, strerror(problem));
    kernel->kept = problem == 0;
    return kernel->kept;
}

void kernel_alive(struct kernel_plane *kernel, nanoseconds now)
{
    atomic_store64(&kernel->control->alive_until, now + (nanoseconds)ALIVE_SECONDS * NANOSECONDS_PER_SECOND);
}

void kernel_leave(struct kernel_plane *kernel)
{
    atomic_store64(&kernel->control->alive_until, 0);
}

static const struct plane_counters *counters_of(const struct kernel_plane *kernel, uint32_t processor)
{
    return (const void *)(kernel->processors.memory + processor * kernel->processors.element);
}

void kernel_count(const struct kernel_plane *kernel, struct engine_counters *counters)
{
    for (uint32_t i = 0; i < kernel->processors.count; i++) {
        const struct plane_counters *one = counters_of(kernel, i);
        for (unsigned k = 0; k < VERDICT_COUNT; k++) {
            counters->packets[k] += atomic_load64(&one->packets[k]);
            counters->bytes[k] += atomic_load64(&one->bytes[k]);
        }
        counters->sessions_created += atomic_load64(&one->sessions_created);
        counters->sessions_ended += atomic_load64(&one->sessions_ended);
        counters->bindings_created += atomic_load64(&one->bindings_created);
        counters->bindings_ended += atomic_load64(&one->bindings_ended);
        counters->half_open_evicted += atomic_load64(&one->half_open_evicted);
    }
}

void kernel_passage(const struct kernel_plane *kernel, struct kernel_passage *passage)
{
    *passage = (struct kernel_passage){0, 0};
    for (uint32_t i = 0; i < kernel->processors.count; i++) {
        const struct plane_counters *one = counters_of(kernel, i);
        passage->handed_over += atomic_load64(&one->handed_over);
        passage->passed += atomic_load64(&one->passed);
    }
}

void kernel_capture(struct kernel_plane *kernel, struct engine *engine)
{
    capture_source_read(kernel->captures, engine);
}

/* --- without a plane ------------------------------------------------------------------------------ */

struct table *kernel_left_open(const char *pins)
{
    struct pinned_table found;
    struct table *table = NULL;
    char reason[128];
    if (!pins_settle(pins) || pinned_table_open(&found, pins) != NULL)
        return NULL;
    if (pinned_table_map(&found))
        table = table_attach(found.memory, &found.geometry, reason, sizeof(reason));
    if (table == NULL)
        pinned_table_close(&found);
    else
        pinned_table_let_go(&found);
    return table;
}

void kernel_left_close(struct table *table)
{
    struct geometry geometry;
    void *memory[TABLE_SEGMENTS];
    if (table == NULL)
        return;
    geometry = header_of(table)->geometry;
    memcpy(memory, table->segment, sizeof(memory));
    table_destroy(table);
    for (unsigned i = 0; i < TABLE_SEGMENTS; i++)
        if (memory[i] != NULL)
            (void)munmap(memory[i], pinned_segment_bytes(&geometry, i));
}

bool kernel_pins_remove(const char *pins)
{
    return pins_remove(pins);
}
