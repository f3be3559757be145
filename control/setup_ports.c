/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Ports of the machine's own addresses are taken out of what the kernel gives to its programs: range by
 * range, what others have not reserved before. A range that is on the list of an earlier run stands there
 * already.
 */
#include "control/setup.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "control/log.h"
#include "control/own_ports.h"

/* What the list that was left says is ours, and not others'. */
static void remove_left(const struct setup *setup, struct port_set *reserved)
{
    const struct change_list *left = changes_left(setup->changes);
    uint32_t low, high;
    for (size_t i = 0; i < left->count; i++)
        if (left->items[i].kind == CHANGE_RESERVED && port_range_read(left->items[i].subject, &low, &high))
            port_set_remove(reserved, low, high);
}

static bool record(const struct setup *setup, uint32_t low, uint32_t high)
{
    struct change change = {.kind = CHANGE_RESERVED};
    snprintf(change.subject, sizeof(change.subject), "%" PRIu32 "-%" PRIu32, low, high);
    return changes_append(setup->changes, &change);
}

/* Records each range of `wanted` that is not in `others`, and adds it to `now`. */
static bool record_all(const struct setup *setup, struct port_set *wanted, const struct port_set *others,
                       struct port_set *now)
{
    for (uint32_t low = 0, high; port_set_next(others, &low, &high); low = high + 1)
        port_set_remove(wanted, low, high);
    for (uint32_t low = 0, high; port_set_next(wanted, &low, &high); low = high + 1) {
        if (!record(setup, low, high))
            return false;
        port_set_add(now, low, high);
    }
    return true;
}

static int reserve(const struct setup *setup, struct port_set *wanted)
{
    struct port_set before, others, now;
    int error = reserved_ports_read(&before);
    if (error != 0)
        return error;
    others = now = before;
    remove_left(setup, &others);
    if (!record_all(setup, wanted, &others, &now))
        return errno;
    return memcmp(&now, &before, sizeof(now)) == 0 ? 0 : reserved_ports_write(&now);
}

void setup_reserve_ports(const struct setup *setup)
{
    struct port_set wanted;
    char text[PORT_SET_TEXT];
    own_ports(setup->config, &wanted);
    if (own_ports_sum(setup->config) == 0)
        return;
    bool printed = port_set_print(&wanted, text, sizeof(text));
    int error = reserve(setup, &wanted);
    if (error != 0)
        log_warning(
            "cannot reserve the ports of the pool, which programs of this machine may get by chance: %s; "
            "add them to net.ipv4.ip_local_reserved_ports",
            strerror(error));
    else if (printed)
        log_info("no program of this machine will be given ports %s by chance", text);
}
