/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The eBPF plane as the daemon sees it: the object in the kernel, its session table, its pins, and what is
 * attached to interfaces.
 *
 *     kernel_open      loads the programs; the table of an earlier run is taken over from its pins, or a new
 *                      one is made beside it
 *     kernel_pause     programs of an earlier run hand every packet of ours to the TUN device, in whose queue
 *                      it waits; from here on nobody else touches the table, as engine_create wants it
 *     engine_create    over kernel_table(), with the sessions of kernel_previous() if there is one
 *     kernel_enforce   the engine's rules, here and after each reload; translation begins or goes on
 *     kernel_keep      new pins take the place of old ones; from here on there is no way back to these
 *     kernel_attach    at each interface; what an earlier run has attached there is replaced in one step
 *     kernel_alive     once a second: while it is not called for some, what the engine would have to deal
 *                      with is dropped with the verdict `no-daemon`
 *
 * Everything that the daemon does once it has given up its rights (kernel_enforce, kernel_alive,
 * kernel_count, kernel_capture) goes through memory that is mapped, or descriptors opened before: before
 * Linux 5.19 bpf(2) as a whole needs the right to. Attaching and detaching need CAP_NET_ADMIN and are the
 * keeper's then, which gets descriptors of the programs.
 */
#ifndef PLANE_BPF_PLANE_H
#define PLANE_BPF_PLANE_H

#include "engine/engine.h"
#include "engine/rules.h"
#include "plane/bpf/ingress.h"

struct kernel_plane;

struct kernel_options {
    const char *pins; /* directory for this daemon's pins in a bpffs, made if need be; NULL: none are made */
    struct geometry geometry; /* its workers: those of the engine; the lanes of processors are added */
    uint32_t mappings;        /* of all siit entries; there will be room for more */
    uint64_t seed;            /* of a new table */
    bool fresh;               /* do not use what is found */
};

/*
 * What is to be known before anything is changed: may this process load programs, does the kernel take them,
 * and has it BTF where it is needed? NULL, or a sentence that says what lacks; for `type: auto` it says why
 * the plane is TUN. Loads and drops a small program.
 */
const char *kernel_unavailable(char *error, size_t size);

/*
 * Finds a place for pins: the directory `base`, a bpffs or in one. A bpffs is mounted there if it is missing
 * and may be, or at /sys/fs/bpf if the directory lies below; `*mounted` says so, for whoever undoes it. False
 * with a sentence: there can be no pins.
 */
bool kernel_pins_prepare(const char *base, bool *mounted, char *error, size_t size);

/* Undoes that: removes the directory, and unmounts what was mounted, unless others have something in them. */
void kernel_pins_restore(const char *base, bool mounted);

/* NULL with a sentence. What became of pins that were found goes into `note`, if there were any. */
struct kernel_plane *kernel_open(const struct kernel_options *options, char *note, size_t note_size,
                                 char *error, size_t size);

/* Owned by the plane. */
struct table *kernel_table(const struct kernel_plane *kernel);
const struct table *
kernel_previous(const struct kernel_plane *kernel); /* pinned, of other geometry; or NULL */
struct waiting_places *kernel_waiting(const struct kernel_plane *kernel);

/* Lanes that the table has for processors, behind those of the engine. */
uint32_t kernel_lanes(const struct kernel_plane *kernel);

void kernel_pause(struct kernel_plane *kernel, unsigned device);

/*
 * Puts rules and paths into force; waits for the kernel's grace period, some milliseconds. To be called when
 * either changes.
 */
struct kernel_surroundings {
    unsigned device;           /* index of the TUN device */
    bool stack;                /* translated packets go the kernel's own path (plane.forward) */
    const struct paths *paths; /* as the engine has them; NULL: all have an MTU of 1500 */
};
void kernel_enforce(struct kernel_plane *kernel, const struct rules *rules,
                    const struct kernel_surroundings *surroundings);

bool kernel_keep(struct kernel_plane *kernel, char *error, size_t size);

/* A descriptor of the program for interfaces of this kind, owned by the plane. */
int kernel_program(const struct kernel_plane *kernel, enum ingress_link link);

/*
 * Puts the program at the way into the TUN device, `device`, as well: what this machine itself sends is
 * translated there, and with `stack` everything. Needs CAP_NET_ADMIN. It goes with the device. 0 or an errno.
 */
int kernel_attach_device(const struct kernel_plane *kernel, unsigned device);

/* For the first time before programs are attached; `now` is CLOCK_MONOTONIC. */
void kernel_alive(struct kernel_plane *kernel, nanoseconds now);

/* From now on nobody is: what the engine would have to deal with is dropped at once, see above. */
void kernel_leave(struct kernel_plane *kernel);

/* Adds what the programs have counted, over all processors, to what the engine has. */
void kernel_count(const struct kernel_plane *kernel, struct engine_counters *counters);

struct kernel_passage {
    uint64_t handed_over; /* packets given to the engine */
    uint64_t passed;      /* that are none of ours */
};
void kernel_passage(const struct kernel_plane *kernel, struct kernel_passage *passage);

/*
 * Gives the engine's captures what the programs have decided on since; they capture while one of those runs.
 * To be called from the control plane's thread when a capture has begun or ended and before each look into
 * one.
 */
void kernel_capture(struct kernel_plane *kernel, struct engine *engine);

/*
 * Unmaps and closes; what is pinned and attached stays. Programs that were paused go on as before, if
 * kernel_keep has not been called. NULL is ignored.
 */
void kernel_close(struct kernel_plane *kernel);

/* --- without a plane: what an earlier run has left ------------------------------------------------ */

/* The table that is pinned in a directory, for another plane to take its sessions; NULL: there is none. */
struct table *kernel_left_open(const char *pins);
void kernel_left_close(struct table *table);

/* Takes the program away from a TUN device that was taken over. Needs CAP_NET_ADMIN. */
void kernel_detach_device(unsigned device);

/* Removes the pins in the directory, and it; what is not ours stays. True if there were any. */
bool kernel_pins_remove(const char *pins);

#endif /* PLANE_BPF_PLANE_H */
