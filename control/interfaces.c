/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The links are read first and then gone through, since what is done to one asks the kernel again.
 *
 * GRO that makes lists (rx-gro-list) is turned off where a program is: of such a packet only the first header
 * would be translated. The kernel has it off unless somebody turned it on.
 */
#include "control/interfaces.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/feature.h"
#include "control/log.h"
#include "control/own_address.h"
#include "control/state.h"
#include "control/undo.h"

#define LISTS "rx-gro-list"

enum {
    LINKS_AT_FIRST = 64,
};

struct links {
    struct netlink_link *items;
    size_t count, room;
    bool failed; /* memory is short */
};

static void collect(void *context, const struct netlink_link *link)
{
    struct links *links = context;
    if (links->count == links->room) {
        size_t room = links->room == 0 ? LINKS_AT_FIRST : 2 * links->room;
        struct netlink_link *items = reallocarray(links->items, room, sizeof(*items));
        links->failed = links->failed || items == NULL;
        if (items == NULL)
            return;
        links->items = items;
        links->room = room;
    }
    links->items[links->count++] = *link;
}

/* Returns 0 or an errno. */
static int read_links(struct links *links)
{
    struct netlink *netlink = netlink_open();
    int error = netlink == NULL ? errno : netlink_links(netlink, collect, links);
    netlink_close(netlink);
    return error == 0 && links->failed ? ENOMEM : error;
}

static const struct change *find_listed(const struct change_list *list, const char *name)
{
    for (size_t i = 0; i < list->count; i++)
        if (list->items[i].kind == CHANGE_INGRESS && strcmp(list->items[i].subject, name) == 0)
            return &list->items[i];
    return NULL;
}

/* A daemon's state has the name of its device. */
static bool is_of_an_isthmus(const struct interfaces *interfaces, const char *name)
{
    char path[sizeof(STATE_BASE) + IFNAMSIZ + 1];
    snprintf(path, sizeof(path), "%s/%s", STATE_BASE, name);
    return strcmp(name, interfaces->config->plane.name) == 0 || access(path, F_OK) == 0;
}

/* Where what stays on the machine comes by, if that has an address in common with its clients. */
static bool is_between(const struct config *config, const struct netlink_link *link)
{
    return own_address_wanted(config) && (link->loopback || strcmp(link->name, config->plane.name) == 0);
}

/* One that has a program keeps it when it is brought down for a while. */
static bool is_wanted(const struct interfaces *interfaces, const struct netlink_link *link, bool listed)
{
    const struct config *config = interfaces->config;
    if (is_between(config, link))
        return true;
    for (uint32_t i = 0; i < config->plane.interface_count; i++)
        if (strcmp(config->plane.interfaces[i], link->name) == 0)
            return true;
    return config->plane.interface_count == 0 && (link->up || listed) && !link->loopback && !link->port &&
           !is_of_an_isthmus(interfaces, link->name) && ingress_link(link->name) != INGRESS_UNKNOWN;
}

/* --- whose place it is ------------------------------------------------------------------------------- */

/* Says so, if the place is somebody else's. */
static bool is_taken(const struct interfaces *interfaces, const struct netlink_link *link, char *why,
                     size_t size)
{
    struct change change = {.kind = CHANGE_INGRESS};
    char other[IFNAMSIZ];
    memcpy(change.subject, link->name, sizeof(link->name));
    if (ingress_attached(link->index)) {
        bool found = state_other_has(interfaces->directory, &change, other, sizeof(other));
        if (found)
            snprintf(why, size,
                     "%s is an interface of another isthmus, %s; set plane.interfaces in both, or stop that "
                     "one (isthmus down %s)",
                     link->name, other, other);
        return found;
    }
    if (!ingress_taken(link->index))
        return false;
    snprintf(why, size,
             "another program's filter is where isthmus has its own on %s; remove it (tc filter show dev %s "
             "ingress), or set plane.interfaces",
             link->name, link->name);
    return true;
}

const char *interfaces_taken(const struct interfaces *interfaces, char *error, size_t size)
{
    struct links links = {0};
    bool taken = false;
    if (read_links(&links) == 0)
        for (size_t i = 0; i < links.count && !taken; i++)
            taken = is_wanted(interfaces, &links.items[i], false) &&
                    is_taken(interfaces, &links.items[i], error, size);
    free(links.items);
    return taken ? error : NULL;
}

/* --- programs ------------------------------------------------------------------------------------------ */

/* A warning about an interface is not repeated whenever some link changes. */
static void warn_once(struct interfaces *interfaces, const char *name, const char *why)
{
    char word[IFNAMSIZ + 2];
    size_t length = strlen(interfaces->warned);
    snprintf(word, sizeof(word), " %s ", name);
    if (strstr(interfaces->warned, word) != NULL)
        return;
    snprintf(interfaces->warned + length, sizeof(interfaces->warned) - length, "%s", word);
    log_warning("%s; packets that come in there go by %s", why, interfaces->config->plane.name);
}

/* Lists of packets are made again when the program has gone. */
static void stop_lists(struct interfaces *interfaces, const char *name)
{
    struct change change = {.kind = CHANGE_FEATURE, .before = LISTS, .after = "on"};
    bool on = false;
    snprintf(change.subject, sizeof(change.subject), "%s", name);
    if (feature_read(name, LISTS, &on) != 0)
        return;
    if (!on) {
        changes_want(interfaces->changes, &change);
        return;
    }
    int error = changes_append(interfaces->changes, &change) ? feature_set(name, LISTS, false) : errno;
    if (error == 0)
        log_info("set " LISTS " of %s to off (was on)", name);
    else
        log_warning("cannot turn " LISTS " of %s off: %s; UDP may suffer", name, strerror(error));
}

/*
 * Recorded as one whose clsact was made, and as the other kind if it turns out that it was there. What an
 * earlier run has recorded stands.
 */
static int attach(struct interfaces *interfaces, const struct netlink_link *link, int program)
{
    struct change change = {.kind = CHANGE_INGRESS, .before = "made"};
    bool made = false;
    memcpy(change.subject, link->name, sizeof(link->name));
    if (!changes_append(interfaces->changes, &change))
        return errno;
    int error = ingress_attach(link->index, program, &made);
    if (error == 0 && made)
        return 0;
    changes_retract(interfaces->changes);
    strcpy(change.before, "found");
    return error != 0 || changes_append(interfaces->changes, &change) ? error : errno;
}

/* Returns whether it has a program now. */
static bool have_program(struct interfaces *interfaces, const struct netlink_link *link)
{
    char why[256];
    bool between = is_between(interfaces->config, link);
    enum ingress_link kind = between ? INGRESS_BETWEEN : ingress_link(link->name);
    bool listed = find_listed(changes_left(interfaces->changes), link->name) != NULL;
    if (listed && !interfaces->anew && ingress_attached(link->index)) {
        const struct change change = {.kind = CHANGE_INGRESS};
        struct change wanted = change;
        memcpy(wanted.subject, link->name, sizeof(link->name));
        changes_want(interfaces->changes, &wanted);
        stop_lists(interfaces, link->name);
        return true;
    }
    if (kind == INGRESS_UNKNOWN)
        snprintf(why, sizeof(why), "%s has a kind of link that the eBPF plane does not know", link->name);
    else if (listed || !is_taken(interfaces, link, why, sizeof(why))) {
        stop_lists(interfaces, link->name);
        int error = attach(interfaces, link, interfaces->program[kind]);
        if (error == 0) {
            if (!between)
                log_info("translating what comes in by %s", link->name);
            return true;
        }
        snprintf(why, sizeof(why), "cannot give %s a program: %s", link->name, strerror(error));
    }
    warn_once(interfaces, link->name, why);
    return false;
}

static void warn_of_missing(struct interfaces *interfaces, const struct links *links)
{
    const struct config *config = interfaces->config;
    char why[64];
    for (uint32_t i = 0; i < config->plane.interface_count; i++) {
        bool there = false;
        for (size_t k = 0; k < links->count && !there; k++)
            there = strcmp(links->items[k].name, config->plane.interfaces[i]) == 0;
        snprintf(why, sizeof(why), "there is no interface %s yet", config->plane.interfaces[i]);
        if (!there)
            warn_once(interfaces, config->plane.interfaces[i], why);
    }
}

bool interfaces_follow(struct interfaces *interfaces, char names[static INTERFACE_NAMES])
{
    struct links links = {0};
    int length = 0, error = read_links(&links);
    names[0] = '\0';
    if (error != 0)
        log_warning("cannot list this machine's interfaces: %s", strerror(error));
    for (size_t i = 0; i < links.count && error == 0; i++) {
        const struct netlink_link *link = &links.items[i];
        bool listed = find_listed(changes_left(interfaces->changes), link->name) != NULL;
        if (is_wanted(interfaces, link, listed) && have_program(interfaces, link) &&
            !is_between(interfaces->config, link) && length < INTERFACE_NAMES - IFNAMSIZ)
            length += snprintf(names + length, (size_t)(INTERFACE_NAMES - length), "%s%s",
                               length > 0 ? " " : "", link->name);
    }
    if (error == 0)
        warn_of_missing(interfaces, &links);
    free(links.items);
    return error == 0;
}
