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
 * namespace the kernel's settings stay as they are, for it may rely on them. *undone is how many changes
 * there were. False if the list cannot be used or something could not be undone; the reason was logged and
 * the list is kept.
 */
bool undo_directory(int directory, size_t *undone);

/*
 * Undoes what an earlier run has left and this one does not want, and takes it off the list. To be called
 * when all that is wanted is on it. What cannot be undone is logged and stays on the list.
 */
void undo_unwanted(struct changes *changes);

/* Undoes what was added to a list that was gone on with, and takes it off. */
void undo_added(struct changes *changes);

#endif /* CONTROL_UNDO_H */
