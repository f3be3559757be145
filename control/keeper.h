/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The keeper: a small process that keeps root's rights for the daemon, which has none.
 *
 *     daemon                              keeper
 *     ------                              ------
 *     keeper_start            ------->    sleeps in recv
 *     keeper_open_config      ------->    opens the configuration file, of fixed path; keeper_open_file
 *                             <-------    the open file; likewise those that it named at the start
 *     keeper_prepare          ------->    reads the configuration itself, makes the routes and proxy entries
 *                             <-------    that it adds; keeper_settle undoes what it wants no more
 *     keeper_take_programs    ------->    keeps the eBPF plane's programs, and from then on undoes nothing if
 *                                         the daemon dies: packets go on being translated
 *     keeper_look_at_interfaces ----->    gives them to interfaces that have come, takes them from others
 *                             <-------    the names of those that have one
 *     keeper_leave (--stay)   ------->    remembers to undo nothing
 *     keeper_answer_again     ------->    makes recorded proxy entries that have vanished anew
 *     keeper_finish, or death ------->    undoes the saved list of changes, removes the state but for the
 *                                         session table, ends
 *
 * So what was changed is undone even if the daemon crashes or is killed; only if both are killed at once
 * does the list remain, for the next start or `isthmus down`.
 */
#ifndef CONTROL_KEEPER_H
#define CONTROL_KEEPER_H

#include <stdint.h>
#include <sys/types.h>

#include "control/state.h"

struct keeper {
    pid_t process;
    int socket;
    int patience; /* milliseconds, with a keeper that is setting up routes */
};

struct config;

struct keeper_options {
    struct state *state;
    const char *config;       /* path of the configuration file, absolute */
    const struct config *now; /* what it says */
    const char *const *files; /* paths of further files to be opened by number, "" being none */
    unsigned file_count;
    const char *socket; /* path of the control socket, to be removed at the end in any case */
    const char *device; /* name of the device */
};

/* Starts the keeper; to be called while there is one thread. False and errno on failure. */
bool keeper_start(struct keeper *keeper, const struct keeper_options *options);

/*
 * The configuration file, open for reading, or -1 and errno: EPIPE if there is no keeper any more, ETIMEDOUT
 * if it does not answer.
 */
int keeper_open_config(const struct keeper *keeper);

/* The same for a further file: 0 to file_count - 1. */
int keeper_open_file(const struct keeper *keeper, unsigned number);

/*
 * A reload: before the engine changes, with the setup_fingerprint() of the new configuration; and after, to
 * keep what was prepared or to take it back. False with a sentence: nothing was changed, or what still is
 * will be taken back; or, of the latter, the keeper does not answer.
 */
bool keeper_prepare(const struct keeper *keeper, uint64_t fingerprint, char *error, size_t size);
bool keeper_settle(const struct keeper *keeper, bool done, char *error, size_t size);

/*
 * The kernel forgets the proxy entries of an interface that goes down or loses its carrier. Has those on the
 * list of changes made again that are missing.
 */
void keeper_answer_again(const struct keeper *keeper);

/*
 * Hands over the descriptors of programs, by enum ingress_link. False and errno if that failed. `survive`:
 * the plane goes on without the daemon.
 */
bool keeper_take_programs(const struct keeper *keeper, const int program[], bool survive);

/*
 * Links have changed, or also the configuration: see control/interfaces.h. `names` gets the interfaces that
 * have a program, INTERFACE_NAMES bytes. False if the keeper does not answer.
 */
bool keeper_look_at_interfaces(const struct keeper *keeper, bool reloaded, char *names);

/* To be asked when the socket is readable: has the keeper ended? */
bool keeper_gone(const struct keeper *keeper);

/* From now on changes are to outlive the daemon. */
void keeper_leave(const struct keeper *keeper);

/* Has everything undone and waits for it. False if something could not be undone. */
bool keeper_finish(struct keeper *keeper);

#endif /* CONTROL_KEEPER_H */
