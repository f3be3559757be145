/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Every kind of change has a function that takes it back. Each must be harmless when the change was never
 * made, or has vanished since: the list is written before the change, and a device takes its
 * routes and settings with it. That is what gone() says.
 */
#include "control/undo.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/feature.h"
#include "control/log.h"
#include "control/netlink.h"
#include "control/own_ports.h"
#include "control/state.h"
#include "control/sysctl.h"
#include "plane/bpf/plane.h"

enum {
    ROUTES_TOGETHER = 17, /* from so many on they are removed together, and only their number is said */
};

static bool gone(int error)
{
    return error == ENOENT || error == ESRCH || error == ENODEV || error == ENXIO || error == EADDRNOTAVAIL;
}

static int undo_sysctl(struct netlink *netlink, const struct change *change)
{
    char value[SYSCTL_VALUE];
    (void)netlink;
    int error = sysctl_read(change->subject, value);
    if (error != 0 || strcmp(value, change->before) == 0)
        return error;
    if (strcmp(change->after, "*") != 0 && strcmp(change->after, value) != 0) {
        log_info("left %s at %s: it was changed since isthmus set it to %s", change->subject, value,
                 change->after);
        return 0;
    }
    error = sysctl_write(change->subject, change->before);
    if (error == 0)
        log_info("set %s back to %s", change->subject, change->before);
    return error;
}

static int undo_device(struct netlink *netlink, const struct change *change)
{
    unsigned index = if_nametoindex(change->subject);
    if (index == 0)
        return ENODEV;
    int error = netlink_link_remove(netlink, index);
    if (error == 0)
        log_info("removed device %s", change->subject);
    return error;
}

static int undo_route(struct netlink *netlink, const struct change *change)
{
    struct network to;
    unsigned index = if_nametoindex(change->before);
    if (index == 0)
        return ENODEV;
    if (!network_parse(change->subject, &to))
        return EINVAL;
    int error = netlink_route_remove(netlink, &to, index);
    if (error == 0)
        log_info("removed the route to %s", change->subject);
    return error;
}

/* Removes routes over one device, which may have gone and taken them along. True: that is done. */
static bool remove_routes(struct netlink *netlink, const struct change *items, size_t count)
{
    char text[NETWORK_TEXT];
    size_t known = 0, which;
    unsigned index = if_nametoindex(items[0].before);
    struct network *to = calloc(count, sizeof(*to));
    if (to == NULL) {
        log_error("cannot remove %zu routes over %s: out of memory", count, items[0].before);
        return index == 0;
    }
    for (size_t i = 0; i < count; i++)
        known += network_parse(items[i].subject, &to[known]);
    int error = index == 0 ? ENODEV : netlink_routes_remove(netlink, to, known, index, &which);
    if (error == 0)
        log_info("removed %zu routes over %s", known, items[0].before);
    else if (!gone(error)) {
        network_print(&to[which], text);
        log_error("cannot remove the route to %s: %s", text, strerror(error));
    }
    free(to);
    return error == 0 || gone(error);
}

/* How many routes over one device stand together at the end of the first `count` items. */
static size_t routes_together(const struct change *items, size_t count)
{
    size_t routes = 0;
    while (routes < count && items[count - routes - 1].kind == CHANGE_ROUTE &&
           strcmp(items[count - routes - 1].before, items[count - 1].before) == 0)
        routes++;
    return routes;
}

static int undo_proxy(struct netlink *netlink, const struct change *change)
{
    uint32_t address;
    unsigned index = if_nametoindex(change->before);
    if (index == 0)
        return ENODEV;
    if (inet_pton(AF_INET, change->subject, &address) != 1)
        return EINVAL;
    return netlink_proxy_remove(netlink, address, index);
}

static int undo_directory_made(struct netlink *netlink, const struct change *change)
{
    (void)netlink;
    /* One that is not empty holds what somebody else put there. */
    if (rmdir(change->subject) == 0 || errno == ENOTEMPTY)
        return 0;
    return errno;
}

static int undo_socket(struct netlink *netlink, const struct change *change)
{
    struct stat status;
    (void)netlink;
    if (lstat(change->subject, &status) != 0)
        return errno;
    if (!S_ISSOCK(status.st_mode))
        return 0;
    return unlink(change->subject) == 0 ? 0 : errno;
}

/* Others may have put ports on the kernel's list, too, and these stay. */
static int undo_reserved(struct netlink *netlink, const struct change *change)
{
    struct port_set ports;
    uint32_t low, high;
    (void)netlink;
    if (!port_range_read(change->subject, &low, &high))
        return EINVAL;
    int error = reserved_ports_read(&ports);
    if (error != 0)
        return error;
    port_set_remove(&ports, low, high);
    error = reserved_ports_write(&ports);
    if (error == 0)
        log_info("programs may be given ports %s again", change->subject);
    return error;
}

static bool is_empty(const char *path)
{
    DIR *entries = opendir(path);
    unsigned count = 0;
    while (entries != NULL && count <= 2 && readdir(entries) != NULL)
        count++;
    if (entries != NULL)
        closedir(entries);
    return count <= 2; /* . and .. */
}

static int undo_pins(struct netlink *netlink, const struct change *change)
{
    char around[sizeof(change->subject)];
    (void)netlink;
    if (kernel_pins_remove(change->subject))
        log_info("removed the pins in %s", change->subject);
    snprintf(around, sizeof(around), "%s", change->subject);
    char *name = strrchr(around, '/');
    if (name == around)
        return EINVAL;
    *name = '\0';
    kernel_pins_restore(around, strcmp(change->before, "mounted") == 0);
    return 0;
}

static int undo_ingress(struct netlink *netlink, const struct change *change)
{
    unsigned index = if_nametoindex(change->subject);
    (void)netlink;
    if (index == 0)
        return ENODEV;
    bool attached = ingress_attached(index);
    int error = ingress_detach(index, strcmp(change->before, "made") == 0);
    if (error == 0 && attached)
        log_info("took the program away from %s", change->subject);
    return error;
}

static int undo_feature(struct netlink *netlink, const struct change *change)
{
    bool was = strcmp(change->after, "on") == 0, on;
    (void)netlink;
    int error = feature_read(change->subject, change->before, &on);
    if (error == 0 && on != was)
        error = feature_set(change->subject, change->before, was);
    if (error == 0 && on != was)
        log_info("set %s of %s back to %s", change->before, change->subject, change->after);
    return error;
}

static int (*const undo[CHANGE_KINDS])(struct netlink *, const struct change *) = {
    [CHANGE_SYSCTL] = undo_sysctl,   [CHANGE_DEVICE] = undo_device,
    [CHANGE_ROUTE] = undo_route,     [CHANGE_PROXY] = undo_proxy,
    [CHANGE_SOCKET] = undo_socket,   [CHANGE_DIRECTORY] = undo_directory_made,
    [CHANGE_PINS] = undo_pins,       [CHANGE_INGRESS] = undo_ingress,
    [CHANGE_FEATURE] = undo_feature, [CHANGE_RESERVED] = undo_reserved,
};

size_t undo_changes(const struct change_list *list)
{
    size_t failed = 0;
    struct netlink *netlink = netlink_open();
    if (netlink == NULL) {
        log_error("cannot talk to the kernel about routes: %s", strerror(errno));
        return list->count;
    }
    for (size_t left = list->count; left > 0;) {
        size_t routes = routes_together(list->items, left);
        if (routes >= ROUTES_TOGETHER) {
            left -= routes;
            failed += !remove_routes(netlink, &list->items[left], routes);
            continue;
        }
        const struct change *change = &list->items[--left];
        int error = undo[change->kind](netlink, change);
        if (error == 0 || gone(error))
            continue;
        log_error("cannot undo the change of %s: %s", change->subject, strerror(error));
        failed++;
    }
    netlink_close(netlink);
    return failed;
}

/* Takes the settings off the list, but for those that are gone: the device's, which went with it. */
static void leave_settings(struct change_list *list)
{
    char value[SYSCTL_VALUE];
    size_t kept = 0;
    for (size_t i = 0; i < list->count; i++) {
        if (list->items[i].kind != CHANGE_SYSCTL || sysctl_read(list->items[i].subject, value) != 0)
            list->items[kept++] = list->items[i];
    }
    if (kept < list->count)
        log_info("another isthmus runs: forwarding and the other settings of this machine stay as they are, "
                 "for it");
    list->count = kept;
}

/* Takes pins, if there are any, off the list and onto another. */
static void part_sessions(struct change_list *list, struct change_list *sessions)
{
    bool pinned = false;
    size_t kept = 0;
    for (size_t i = 0; i < list->count; i++)
        pinned = pinned || (list->items[i].kind == CHANGE_PINS && !is_empty(list->items[i].subject));
    sessions->items = pinned ? calloc(list->count, sizeof(*sessions->items)) : NULL;
    if (sessions->items == NULL)
        return;
    for (size_t i = 0; i < list->count; i++) {
        if (list->items[i].kind == CHANGE_PINS)
            sessions->items[sessions->count++] = list->items[i];
        else
            list->items[kept++] = list->items[i];
    }
    list->count = kept;
}

/* Puts a list with what is left in place of the one there was. */
static bool write_left(int directory, struct change_list *left)
{
    struct changes *changes = changes_continue(directory, left);
    if (changes == NULL)
        log_error("cannot write the saved list of changes: %s", strerror(errno));
    changes_close(changes);
    return changes != NULL;
}

bool undo_directory(int directory, enum undo_sessions sessions, size_t *undone)
{
    struct change_list list, left = {0};
    int error = changes_read(directory, &list);
    bool done = false;
    if (error != 0)
        log_error("cannot read the saved list of changes: %s", strerror(error));
    else if (list.foreign)
        log_error("the saved list of changes was made in another network namespace or by another version");
    else {
        if (list.unreadable > 0)
            log_warning("%zu lines of the saved list of changes make no sense and are passed over",
                        list.unreadable);
        if (sessions == UNDO_LEAVING_SESSIONS)
            part_sessions(&list, &left);
        if (state_others_run(directory))
            leave_settings(&list);
        done = undo_changes(&list) == 0;
    }
    *undone = list.count;
    if (done && left.count > 0)
        done = write_left(directory, &left);
    else if (done || !list.present)
        changes_remove(directory);
    changes_free(&list);
    changes_free(&left);
    return done;
}

/* Ranges may overlap: what was undone may have taken ports along that are still on the list. */
static void reserve_listed(const struct changes *changes)
{
    struct change_list list;
    struct port_set before, ports;
    uint32_t low, high;
    if (reserved_ports_read(&before) != 0 || changes_listed(changes, &list) != 0)
        return;
    ports = before;
    for (size_t i = 0; i < list.count; i++)
        if (list.items[i].kind == CHANGE_RESERVED && port_range_read(list.items[i].subject, &low, &high))
            port_set_add(&ports, low, high);
    changes_free(&list);
    if (memcmp(&ports, &before, sizeof(ports)) != 0)
        (void)reserved_ports_write(&ports);
}

void undo_unwanted(struct changes *changes, unsigned kinds)
{
    struct change_list list;
    if (!changes_unwanted(changes, kinds, &list) || list.count == 0)
        return;
    size_t count = list.count, failed = undo_changes(&list);
    changes_free(&list);
    if (failed > 0)
        return;
    log_info("undid %zu change%s that %s no longer wanted", count, count == 1 ? "" : "s",
             count == 1 ? "is" : "are");
    if (!changes_forget_unwanted(changes, kinds))
        log_warning("the saved list of changes keeps them: %s", strerror(errno));
    reserve_listed(changes);
}

void undo_added(struct changes *changes)
{
    struct change_list list;
    if (!changes_added(changes, &list)) {
        log_warning("the saved list of changes cannot be read: %s", strerror(errno));
        return;
    }
    size_t count = list.count, failed = count == 0 ? 0 : undo_changes(&list);
    changes_free(&list);
    if (count > 0 && failed == 0 && !changes_forget_added(changes))
        log_warning("the saved list of changes keeps what was undone: %s", strerror(errno));
    reserve_listed(changes);
}
