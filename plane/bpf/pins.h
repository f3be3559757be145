/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Pins: names in a bpffs that hold maps and programs when no process does. A daemon's directory has sets of
 * them, each a directory of the maps of a session table, of what the programs need besides, and of the
 * programs:
 *
 *     NAME/current   of the programs that are attached
 *     NAME/next      being made
 *     NAME/last      being removed
 *
 *     next is filled; current -> last; next -> current; last is removed
 *
 * Directories are renamed in one step, so that whoever is killed in between leaves one whole set that can be
 * told from the others: `current`, or, if there is none, `next` beside `last`.
 *
 * Only root may enter a directory made here, and others are not looked at, so what is in one was put there by
 * an isthmus, or by somebody who might do anything else as well; but it may be another version's.
 */
#ifndef PLANE_BPF_PINS_H
#define PLANE_BPF_PINS_H

#include "engine/table.h"
#include "plane/bpf/object.h"
#include "plane/bpf/shared.h"

/* Makes `current` whole after an interruption, and removes the other sets. False: there is no current one. */
bool pins_settle(const char *pins);

/* Pins the object's maps and programs as `next`. Returns 0 or an errno. */
int pins_make(const char *pins, const struct object *object);

/* `next` takes the place of `current`. Returns 0 or an errno. */
int pins_replace(const char *pins);

/* Removes the sets, and the directory unless somebody else has something in it. True if there was a set. */
bool pins_remove(const char *pins);

/* --- a table that is pinned ----------------------------------------------------------------------- */

struct pinned_table {
    struct geometry geometry;
    uint32_t layout;
    int map[TABLE_SEGMENTS]; /* descriptors; -1: none */
    void *memory[TABLE_SEGMENTS];
    size_t bytes[TABLE_SEGMENTS];
};

/*
 * Opens the maps of the current table. NULL, or why it cannot be used; a table of an older layout has no more
 * segments than it had.
 */
const char *pinned_table_open(struct pinned_table *table, const char *pins);

/* Maps it to be read. False: memory is short. */
bool pinned_table_map(struct pinned_table *table);

void pinned_table_close(struct pinned_table *table);

/* Closes it but for what is mapped, which is the caller's then, and how many bytes a segment of that is. */
void pinned_table_let_go(struct pinned_table *table);
size_t pinned_segment_bytes(const struct geometry *geometry, unsigned segment);

/* --- the control of programs that are pinned ------------------------------------------------------ */

/* Mapped; NULL: there is none, or of another layout. */
struct plane_control *pinned_control_open(const char *pins);
void pinned_control_close(struct plane_control *control);

#endif /* PLANE_BPF_PINS_H */
