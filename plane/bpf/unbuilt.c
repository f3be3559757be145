/* SPDX-License-Identifier: BSD-2-Clause */
/* The eBPF plane where it was not built, for want of clang or libbpf: it says so, and never is. */
#include "plane/bpf/plane.h"

#include <errno.h>
#include <stdio.h>

static const char reason[] = "isthmus was built without clang or libbpf";

const char *kernel_unavailable(char *error, size_t size)
{
    snprintf(error, size, "%s", reason);
    return error;
}

bool kernel_pins_prepare(const char *base, bool *mounted, char *error, size_t size)
{
    (void)base;
    *mounted = false;
    snprintf(error, size, "%s", reason);
    return false;
}

void kernel_pins_restore(const char *base, bool mounted)
{
    (void)base;
    (void)mounted;
}

struct kernel_plane *kernel_open(const struct kernel_options *options, char *note, size_t note_size,
                                 char *error, size_t size)
{
    (void)options;
    if (note_size > 0)
        note[0] = '\0';
    snprintf(error, size, "%s", reason);
    return NULL;
}

struct table *kernel_table(const struct kernel_plane *kernel)
{
    (void)kernel;
    return NULL;
}

const struct table *kernel_previous(const struct kernel_plane *kernel)
{
    (void)kernel;
    return NULL;
}

struct waiting_places *kernel_waiting(const struct kernel_plane *kernel)
{
    (void)kernel;
    return NULL;
}

uint32_t kernel_lanes(const struct kernel_plane *kernel)
{
    (void)kernel;
    return 0;
}

void kernel_pause(struct kernel_plane *kernel, unsigned device)
{
    (void)kernel;
    (void)device;
}

void kernel_enforce(struct kernel_plane *kernel, const struct rules *rules,
                    const struct kernel_surroundings *surroundings)
{
    (void)kernel;
    (void)rules;
    (void)surroundings;
}

bool kernel_keep(struct kernel_plane *kernel, char *error, size_t size)
{
    (void)kernel;
    snprintf(error, size, "%s", reason);
    return false;
}

int kernel_program(const struct kernel_plane *kernel, enum ingress_link link)
{
    (void)kernel;
    (void)link;
    return -1;
}

void kernel_alive(struct kernel_plane *kernel, nanoseconds now)
{
    (void)kernel;
    (void)now;
}

void kernel_leave(struct kernel_plane *kernel)
{
    (void)kernel;
}

void kernel_count(const struct kernel_plane *kernel, struct engine_counters *counters)
{
    (void)kernel;
    (void)counters;
}

void kernel_passage(const struct kernel_plane *kernel, struct kernel_passage *passage)
{
    (void)kernel;
    *passage = (struct kernel_passage){0, 0};
}

void kernel_capture(struct kernel_plane *kernel, struct engine *engine)
{
    (void)kernel;
    (void)engine;
}

void kernel_close(struct kernel_plane *kernel)
{
    (void)kernel;
}

int kernel_attach_device(const struct kernel_plane *kernel, unsigned device)
{
    (void)kernel;
    (void)device;
    return ENOTSUP;
}

void kernel_detach_device(unsigned device)
{
    (void)device;
}

struct table *kernel_left_open(const char *pins)
{
    (void)pins;
    return NULL;
}

void kernel_left_close(struct table *table)
{
    (void)table;
}

bool kernel_pins_remove(const char *pins)
{
    (void)pins;
    return false;
}
