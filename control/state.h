/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * /run/isthmus/NAME, where a daemon keeps what must be known after it: its lock, its list of changes, and its
 * session table.
 */
#ifndef CONTROL_STATE_H
#define CONTROL_STATE_H

#include <stdbool.h>
#include <stddef.h>

#define STATE_BASE "/run/isthmus"

struct state {
    char path[128]; /* of the directory */
    int directory;
    int lock;
};

/*
 * Makes the directory if need be and takes its lock, so that of one name there is one daemon. False with
 * a sentence if another holds it or the directory cannot be made.
 */
bool state_open(struct state *state, const char *base, const char *name, char *error, size_t size);

/* Like state_open, but makes nothing. Unless STATE_OPENED there is a sentence. */
enum state_status {
    STATE_OPENED,
    STATE_ABSENT, /* there is no such directory */
    STATE_BUSY,   /* a daemon runs under that name */
    STATE_FAILED,
};
enum state_status state_open_existing(struct state *state, const char *base, const char *name, char *error,
                                      size_t size);

/*
 * Does another daemon run in this network namespace? It would be one beside the directory of this state, with
 * its lock held and a list of changes made in this namespace.
 */
bool state_others_run(int directory);

/*
 * Whose list of changes, made in this network namespace, has one of this kind and subject? Looks at those
 * beside the directory of this state, whether their daemons run or not. False: nobody's.
 */
struct change;
bool state_other_has(int directory, const struct change *change, char *name, size_t size);

/* Removes the lock file and the directories, if nothing else is in them. The lock is still held. */
void state_remove(struct state *state);

/* Gives the lock up. */
void state_close(struct state *state);

#endif /* CONTROL_STATE_H */
