/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The saved list of changes: what the daemon changed on this machine, with what was there before.
 *
 * A change is appended, and on the disk, before it is made; so whoever reads the list later can undo
 * all that was done, however the daemon ended. One text line a change, in the order they were made:
 *
 *     isthmus changes 1 4026531840                            format, network namespace (its inode)
 *     sysctl net/ipv4/ip_forward 0 1                          what, value before, value set
 *     sysctl net/ipv4/conf/all/accept_redirects 1 *           a side effect of the next: whatever it is now
 *     device isthmus0                                         a device that outlives its maker
 *     route 64:ff9b::/96 isthmus0
 *     proxy 192.0.2.3 wan0                                    answering ARP for an address on an interface
 *     directory /run/lab
 *     socket /run/lab/control.sock
 *     pins /sys/fs/bpf/isthmus/isthmus0 mounted               of the eBPF plane; their bpffs was mounted or
 *                                                             found
 *     ingress wan0 made                                       its program; the clsact was made or found
 *     feature wan0 rx-gro-list on                             of an interface, as it was
 *     reserved 40000-59999                                    ports that programs are not given
 */
#ifndef CONTROL_CHANGES_H
#define CONTROL_CHANGES_H

#include <stdbool.h>
#include <stddef.h>

#define CHANGES_FILE "changes" /* in the state's directory */

enum change_kind {
    CHANGE_SYSCTL,    /* subject: path; before, after: values */
    CHANGE_DEVICE,    /* subject: name */
    CHANGE_ROUTE,     /* subject: ADDRESS/LENGTH of either family; before: device */
    CHANGE_PROXY,     /* subject: IPv4 address; before: interface */
    CHANGE_DIRECTORY, /* subject: path */
    CHANGE_SOCKET,    /* subject: path */
    CHANGE_RESERVED,  /* subject: LOW-HIGH */
    CHANGE_PINS,      /* subject: path; before: mounted or found */
    CHANGE_INGRESS,   /* subject: interface; before: made or found */
    CHANGE_FEATURE,   /* subject: interface; before: name; after: what it was, on or off */
    CHANGE_KINDS,
};

struct change {
    enum change_kind kind;
    char subject[128];
    char before[32];
    char after[32];
};

struct changes;

struct change_list;

/* Starts a new list in the directory, in place of an old one. NULL and errno on failure. */
struct changes *changes_create(int directory);

/*
 * Goes on with the list that an earlier run has left, as changes_read() gave it; its items are taken over.
 * What is appended again stays as it stands there, with the value before of that time.
 */
struct changes *changes_continue(int directory, struct change_list *left);

/* What is on the list that an earlier run has left. */
const struct change_list *changes_left(const struct changes *changes);

/* All that is on the list now, to be freed with changes_free(). Returns 0 or an errno. */
int changes_listed(const struct changes *changes, struct change_list *list);

/*
 * Changes of some kinds are wanted no more if they are on that list and were not appended again; all others,
 * such as settings, every run wants. Collects those of the kinds named, by bits, to be freed with
 * changes_free(); false if memory is short. When they are undone, changes_forget_unwanted() takes them off
 * the list, on which nothing is appended thereafter.
 */
enum {
    CHANGES_OF_ROUTES = 1 << CHANGE_ROUTE | 1 << CHANGE_PROXY | 1 << CHANGE_RESERVED,
    CHANGES_OF_INTERFACES = 1 << CHANGE_INGRESS | 1 << CHANGE_FEATURE,
    CHANGES_OF_RUNS = CHANGES_OF_ROUTES | CHANGES_OF_INTERFACES | 1 << CHANGE_PINS,
};
bool changes_unwanted(const struct changes *changes, unsigned kinds, struct change_list *unwanted);
bool changes_forget_unwanted(struct changes *changes, unsigned kinds);

/*
 * What was appended since changes_continue(), to be freed with changes_free(); false if it cannot be read.
 * changes_forget_added() takes it off the list again, when it is undone.
 */
bool changes_added(const struct changes *changes, struct change_list *added);
bool changes_forget_added(struct changes *changes);

/*
 * Writes one more change through to the disk. False and errno if that failed: do not make it then. Only
 * proxy entries, which come by the thousand, wait for changes_sync; they do not outlive the machine anyway.
 */
bool changes_append(struct changes *changes, const struct change *change);

/* The same without waiting for the disk: many of a kind, and then changes_sync before they are made. */
bool changes_append_unsynced(struct changes *changes, const struct change *change);

/* If it is on the list that was left, it is wanted as if it were appended again; else nothing happens. */
void changes_want(struct changes *changes, const struct change *change);

/* Writes all through to the disk. False and errno if that failed. */
bool changes_sync(struct changes *changes);

/* Takes the last one back, which turned out not to be a change. */
void changes_retract(struct changes *changes);

/* Closes the list; the file stays. */
void changes_close(struct changes *changes);

/* A list as read back. */
struct change_list {
    struct change *items;
    size_t count;
    size_t unreadable; /* lines that were not understood */
    bool present;      /* there is a list */
    bool foreign;      /* it is not of this format, or of another network namespace */
};

/* Returns 0 or an errno; no list at all is no error. */
int changes_read(int directory, struct change_list *list);
void changes_free(struct change_list *list);
void changes_remove(int directory);

#endif /* CONTROL_CHANGES_H */
