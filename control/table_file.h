/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The session table's file: /run/isthmus/NAME/table. It outlives the daemon, so that the next one goes on
 * with its sessions.
 *
 *     what is found                              what becomes of it
 *     -------------                              ------------------
 *     nothing                                    a new file
 *     a table of the geometry that is wanted     it is used where it is
 *     one of another geometry or older layout    a new file beside it; the engine takes its sessions over,
 *                                                then the new file takes its name
 *     one that is stale, cut short, damaged,     refused with the reason, removed; a new file
 *     or of a version that is not known
 *
 * Whenever the daemon is killed, the next start finds one of these.
 */
#ifndef CONTROL_TABLE_FILE_H
#define CONTROL_TABLE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/table.h"

struct table_file_options {
    int directory;    /* of the state; stays open until table_file_keep or table_file_close */
    const char *path; /* of the directory, for messages */
    struct geometry geometry;
    uint64_t seed; /* of a new table */
    bool fresh;    /* do not use what is found */
};

struct table_file;

/*
 * Opens or makes the file, maps it, and reserves all of its memory, so that nothing later can find the file
 * system full. What is found and becomes of it is logged. NULL with a sentence if there is no room or the
 * file cannot be made.
 */
struct table_file *table_file_open(const struct table_file_options *options, char *error, size_t size);

/*
 * Opens what an earlier run has left, only to read its sessions: it is table_file_previous, of whatever
 * geometry. NULL: there is none that can be used; if there is one, the reason is logged.
 */
struct table_file *table_file_open_left(int directory, const char *path);

/* The table over the file; and the one whose sessions it is to take over, or NULL. */
struct table *table_file_table(const struct table_file *file);
const struct table *table_file_previous(const struct table_file *file);

/*
 * To be called when the sessions have been taken over: a new file takes the name of the old one, which goes
 * away. No file is open thereafter. False with a sentence on failure.
 */
bool table_file_keep(struct table_file *file, char *error, size_t size);

/* Unmaps it. A new file that was not kept is removed, and the old one is still there. NULL is ignored. */
void table_file_close(struct table_file *file);

/* Removes the file of a daemon that has ended. True if there was one. */
bool table_file_remove(int directory);

#endif /* CONTROL_TABLE_FILE_H */
