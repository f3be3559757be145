/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Routes by the thousand: one look at those that there are, one write to the list of changes, and requests in
 * batches. A hundred thousand take about half a second.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/log.h"
#include "control/setup_siit.h"

enum {
    SAID_SINGLY = 16, /* routes; of more only the number is said */
};

/* Routes over the device, as they were. */
struct routes_there {
    unsigned index;
    struct network *items;
    size_t count, room;
    bool failed; /* out of memory */
};

static int network_order(const void *a, const void *b)
{
    const struct network *one = a, *other = b;
    int order = memcmp(one->address, other->address, sizeof(one->address));
    return order != 0 ? order : (int)one->length - (int)other->length;
}

static void collect(void *context, const struct netlink_route *route)
{
    struct routes_there *there = context;
    if (route->index != there->index || there->failed)
        return;
    if (there->count == there->room) {
        size_t room = 2 * there->room + 64;
        struct network *items = reallocarray(there->items, room, sizeof(*items));
        if (items == NULL) {
            there->failed = true;
            return;
        }
        there->items = items;
        there->room = room;
    }
    there->items[there->count++] = route->to;
}

/* Those of `to` that are not there yet, to be freed; NULL if memory is short. */
static struct network *missing(const struct setup *setup, const struct network *to, size_t count,
                               size_t *missing_count)
{
    struct routes_there there = {.index = setup->index};
    struct network *wanted = calloc(count + 1, sizeof(*wanted));
    *missing_count = 0;
    netlink_routes(setup->netlink, to->family, collect, &there);
    if (there.count > 0)
        qsort(there.items, there.count, sizeof(*there.items), network_order);
    for (size_t i = 0; wanted != NULL && i < count; i++)
        if (there.count == 0 ||
            bsearch(&to[i], there.items, there.count, sizeof(*there.items), network_order) == NULL)
            wanted[(*missing_count)++] = to[i];
    free(there.items);
    if (!there.failed)
        return wanted;
    free(wanted);
    return NULL;
}

/*
 * Records those of `to` that are missing, which stand in the same order. Of the others those on the list are
 * still wanted, and what is not there somebody else has made: it is not ours to undo.
 */
static bool record_all(const struct setup *setup, const struct network *to, size_t count,
                       const struct network *wanted)
{
    struct change change = {.kind = CHANGE_ROUTE};
    snprintf(change.before, sizeof(change.before), "%s", setup->config->plane.name);
    for (size_t i = 0; i < count; i++) {
        network_print(&to[i], change.subject);
        if (network_order(&to[i], wanted) != 0)
            changes_want(setup->changes, &change);
        else if (changes_append_unsynced(setup->changes, &change))
            wanted++;
        else
            return false;
    }
    return changes_sync(setup->changes);
}

static void say_added(const struct setup *setup, const struct network *to, size_t count, const char *what)
{
    char text[NETWORK_TEXT];
    if (count > SAID_SINGLY)
        log_info("added %zu routes to %s over %s", count, what, setup->config->plane.name);
    for (size_t i = 0; i < count && count <= SAID_SINGLY; i++) {
        network_print(&to[i], text);
        log_info("added a route to %s over %s", text, setup->config->plane.name);
    }
}

static bool explain_failure(const struct setup *setup, const struct network *to, int problem, char *error,
                            size_t size)
{
    char text[NETWORK_TEXT];
    network_print(to, text);
    if (problem == EEXIST)
        snprintf(error, size, "there is a route to %s already; remove it, or set plane.routes: false", text);
    else
        snprintf(error, size, "cannot add a route to %s over %s: %s", text, setup->config->plane.name,
                 strerror(problem));
    return false;
}

bool setup_route(const struct setup *setup, const struct network *to, char *error, size_t size)
{
    return setup_routes(setup, to, 1, "one network", error, size);
}

/* FNV-1a over their bytes. */
static bool sum_up(const struct setup *setup, const struct network *to, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < sizeof(to[i].address); j++)
            *setup->fingerprint = (*setup->fingerprint ^ to[i].address[j]) * 1099511628211u;
        *setup->fingerprint = (*setup->fingerprint ^ to[i].length) * 1099511628211u;
    }
    return true;
}

bool setup_routes(const struct setup *setup, const struct network *to, size_t count, const char *what,
                  char *error, size_t size)
{
    size_t wanted_count = 0, failed = 0;
    if (count == 0)
        return true;
    if (setup->fingerprint != NULL)
        return sum_up(setup, to, count);
    struct network *wanted = missing(setup, to, count, &wanted_count);
    if (wanted == NULL) {
        snprintf(error, size, "out of memory; free some and try again");
        return false;
    }
    if (!record_all(setup, to, count, wanted)) {
        snprintf(error, size, "cannot record the routes to %s: %s", what, strerror(errno));
        free(wanted);
        return false;
    }
    int problem = netlink_routes_add(setup->netlink, wanted, wanted_count, setup->index, &failed);
    if (problem != 0)
        explain_failure(setup, &wanted[failed], problem, error, size);
    else
        say_added(setup, wanted, wanted_count, what);
    free(wanted);
    return problem == 0;
}
