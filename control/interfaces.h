/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The interfaces that the eBPF plane's programs are at: those that the configuration names, or else all that
 * packets of others come in by. Each time the machine's links have changed, or the configuration has, they
 * are looked at as a whole: programs go where they are wanted and missing, and leave where they are not
 * wanted any more. Done by the daemon at its start and by the keeper later on, as every change of the machine
 * recorded before it is made.
 *
 *     wanted by default     up, and with a kind of link header that the programs know
 *     not                   loopback, devices of an isthmus, ports of bridges and bonds: what comes in there
 *                           comes in by the bridge or bond
 *     wanted always         loopback and our device, where a pool has an address of the machine itself: see
 *                           plane/bpf/own_address.bpf.h
 *
 * Of one place at an interface there is one owner. It is another daemon's if that daemon's list of changes
 * says so; whoever else has a filter at our place keeps it.
 */
#ifndef CONTROL_INTERFACES_H
#define CONTROL_INTERFACES_H

#include "control/changes.h"
#include "control/config.h"
#include "control/netlink.h"
#include "plane/bpf/ingress.h"

enum {
    INTERFACE_NAMES = 512, /* bytes of names, with a blank between */
};

struct interfaces {
    int directory;               /* of the state */
    const struct config *config; /* plane.name and plane.interfaces count */
    struct changes *changes;
    int program[INGRESS_UNKNOWN]; /* descriptors, by enum ingress_link */
    bool anew;                    /* put these in the place of those that are there */
    char warned[INTERFACE_NAMES]; /* names of interfaces that have been warned of */
};

/* Before anything is changed: is the place of one that is wanted somebody else's? NULL, or a sentence. */
const char *interfaces_taken(const struct interfaces *interfaces, char *error, size_t size);

/*
 * Attaches programs as described above; `names` gets the interfaces that have one. Where that fails it is
 * logged; packets that come in there go by the device. What is not wanted any more is not appended to the
 * list of changes again: see undo_unwanted, CHANGES_OF_INTERFACES. False: the interfaces cannot be told, and
 * nothing was done.
 */
bool interfaces_follow(struct interfaces *interfaces, char names[static INTERFACE_NAMES]);

#endif /* CONTROL_INTERFACES_H */
