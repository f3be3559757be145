/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The daemon's side of the eBPF plane: whether there is one, the steps of the start that are about it, and
 * what it has to hear of while the daemon runs. Of the TUN plane it is told only what an earlier run of the
 * other kind has left.
 *
 *     what an earlier run has left    this run's plane is eBPF              or TUN
 *     ----------------------------    ----------------------------------    -------------------------------
 *     a pinned table                  gone on with, see plane/bpf/plane.h   its sessions move, the pins go
 *     programs at interfaces          replaced in one step                  taken away before that
 *     a file with a table             its sessions move, the file goes      see control/table_file.h
 */
#ifndef CONTROL_BPF_PLANE_H
#define CONTROL_BPF_PLANE_H

#include <stdbool.h>
#include <stddef.h>

#include "control/config.h"
#include "control/interfaces.h"
#include "engine/engine.h"
#include "plane/bpf/plane.h"

struct daemon;
struct table_file;

struct bpf_plane {
    bool chosen;                               /* the plane is eBPF */
    char pins[PLANE_PINS_SIZE + IFNAMSIZ + 1]; /* directory of this daemon's; "": none */
    bool mounted;                              /* a bpffs, for them */
    struct kernel_plane *kernel;
    struct table *left;               /* pinned by an earlier run, to take its sessions from */
    struct table_file *file;          /* the same of one with the TUN plane */
    enum plane_forward forward;       /* in force */
    char interfaces[INTERFACE_NAMES]; /* that have a program */
};

/* --- steps of the start, see control/start.c; each is passed over if it is not for this plane -------- */

/* Can it be had? If not, that is an error or the plane is TUN, as plane.type says. */
bool bpf_plane_choose(struct daemon *daemon, char *error, size_t size);

/* Are its places at the interfaces free? The same. */
bool bpf_plane_check_places(struct daemon *daemon, char *error, size_t size);

/* A directory for pins; without one there is a warning. */
bool bpf_plane_prepare_pins(struct daemon *daemon, char *error, size_t size);

/* Programs and table; programs of an earlier run are paused. */
bool bpf_plane_open_table(struct daemon *daemon, char *error, size_t size);

/* The engine is there: its rules are the programs' as well. */
void bpf_plane_begin(struct daemon *daemon);

/* New pins, programs at interfaces, and what the keeper needs to look after these. */
bool bpf_plane_attach(struct daemon *daemon, char *error, size_t size);

/* --- for the TUN plane ------------------------------------------------------------------------------- */

/* Takes away the programs that an earlier run has left, and opens the table that it has pinned. */
void bpf_plane_leave_behind(struct daemon *daemon);

/* --- both -------------------------------------------------------------------------------------------- */

/* The table with sessions of an earlier run that is not this run's own, or NULL. */
const struct table *bpf_plane_previous(const struct bpf_plane *plane);

/* When its sessions have been taken over: it goes. */
void bpf_plane_forget_previous(struct daemon *daemon);

/* --- while the daemon runs: nothing is done if the plane is TUN -------------------------------------- */

void bpf_plane_enforce(struct daemon *daemon, const struct rules *rules);
void bpf_plane_alive(struct daemon *daemon);

/* A capture has begun or ended, or somebody is about to look into one. */
void bpf_plane_capture(const struct daemon *daemon);

/* Links have changed; or also the configuration, which the keeper reads anew. */
void bpf_plane_look_at_interfaces(struct daemon *daemon, bool reloaded);

/* --- the end ----------------------------------------------------------------------------------------- */

void bpf_plane_close(struct daemon *daemon);

#endif /* CONTROL_BPF_PLANE_H */
