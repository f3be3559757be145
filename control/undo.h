/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Undoing what a list of changes says was done.
 */
#ifndef CONTROL_UNDO_H
#define CONTROL_UNDO_H

#include <stdbool.h>
#include <stddef.h>

#include "control/changes.h"

/*
 * Undoes the changes, the last first. What is gone already is passed over, and a setting that somebody
 * changed since is left as it is; anything else that fails is logged. Returns how many failed.
 */
size_t undo_changes(const struct change_list *list);

/*
 * Reads the list in the directory, undoes it and removes it. While another daemon runs in this network
 * namespace the kernel's settings stay as they are, for it may rely on them. Sessions that are pinned, for
 * the next run to go on with, may be left: then their pins are all that is on the list.
 * *undone is how many changes there were to undo. False if the list cannot be used or something could not be
 * undone; the reason was logged and the list is kept.
 */
enum undo_sessions {
    UNDO_SESSIONS,
    UNDO_LEAVING_SESSIONS,
};
bool undo_directory(int directory, enum undo_sessions sessions, size_t *undone);

/*
 * Undoes what an earlier run has left and this one does not want, of some kinds of changes, and takes it off
 * the list. To be called when all of these that is wanted is on it. What cannot be undone is logged and stays
 * on the list.
 */
void undo_unwanted(struct changes *changes, unsigned kinds);

/* Undoes what was added to a list that was gone on with, and takes it off. */
void undo_added(struct changes *changes);

#endif /* CONTROL_UNDO_H */
