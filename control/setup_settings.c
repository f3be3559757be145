/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is set on the device, and why:
 *
 *   disable_ipv6=0     a machine that disables IPv6 by default has no route over the device otherwise
 *   addr_gen_mode=1    no link-local address: nobody talks to the device itself
 *   accept_local=1     translated packets enter the machine by the device; their source may be one
 *                      that the kernel holds for local
 *   rp_filter=2        loose: a packet's source is reachable by some route, not necessarily this device. The
 *                      kernel takes the larger of `all` and the device's, so 2 also overrules a strict `all`
 *   send_redirects=0   a flow between two clients turns round on the device; no host is to be told of a
 *                      shorter way round the translator
 *
 * And on the machine: forwarding of both families. That has side effects, which are undone as well:
 * turning forwarding on or off for `all` does so for every interface, and for `default`; those that forwarded
 * before are recorded, to be turned on again. For IPv4 it also resets accept_redirects of `all`. An
 * interface that forwards no longer heeds router advertisements unless accept_ra is 2, and would lose its
 * default route and addresses; so where it is 1 it is set to 2 first.
 */
#include "control/setup_settings.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "control/log.h"
#include "control/sysctl.h"

static bool record(const struct setup *setup, const char *path, const char *before, const char *after)
{
    struct change change = {.kind = CHANGE_SYSCTL};
    snprintf(change.subject, sizeof(change.subject), "%s", path);
    snprintf(change.before, sizeof(change.before), "%s", before);
    snprintf(change.after, sizeof(change.after), "%s", after);
    if (changes_append(setup->changes, &change))
        return true;
    log_warning("cannot record a change of %s, so it is left as it is: %s", path, strerror(errno));
    return false;
}

/* Sets one value, unless it is that already; `why` completes the warning. */
static void set(const struct setup *setup, const char *path, const char *value, const char *why)
{
    char before[SYSCTL_VALUE];
    int error = sysctl_read(path, before);
    if (error == 0 && strcmp(before, value) == 0)
        return;
    if (error == 0 && !record(setup, path, before, value))
        return;
    if (error == 0) {
        error = sysctl_write(path, value);
        if (error != 0)
            changes_retract(setup->changes);
    }
    if (error != 0)
        log_warning("cannot set %s to %s: %s; %s", path, value, strerror(error), why);
    else
        log_info("set %s to %s (was %s)", path, value, before);
}

bool setup_have_ipv6(void)
{
    char value[SYSCTL_VALUE];
    /* Where IPv4's settings cannot be read either, no conclusion is possible. */
    return sysctl_read("net/ipv4/ip_forward", value) != 0 ||
           sysctl_read("net/ipv6/conf/all/forwarding", value) != ENOENT;
}

void setup_device_settings(const struct setup *setup)
{
    static const struct {
        const char *family, *name, *value, *why;
    } rows[] = {
        {"ipv6", "disable_ipv6", "0", "there can be no route to the prefix"},
        {"ipv6", "addr_gen_mode", "1", "the device will have a link-local address that is of no use"},
        {"ipv4", "accept_local", "1", "translated packets with a local source will be dropped"},
        {"ipv4", "rp_filter", "2", "the reverse path filter may drop translated packets"},
        {"ipv4", "send_redirects", "0", "the machine may send ICMP redirects for translated packets"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char path[SYSCTL_PATH];
        snprintf(path, sizeof(path), "net/%s/conf/%s/%s", rows[i].family, setup->config->plane.name,
                 rows[i].name);
        set(setup, path, rows[i].value, rows[i].why);
    }
}

/* One interface of a family whose forwarding is about to be turned on for all. */
struct interface_visit {
    const struct setup *setup;
    const char *family;
};

static bool reads_as(const char *path, const char *value)
{
    char now[SYSCTL_VALUE];
    return sysctl_read(path, now) == 0 && strcmp(now, value) == 0;
}

static void keep_forwarding(void *context, const char *interface)
{
    const struct interface_visit *visit = context;
    char path[SYSCTL_PATH];
    snprintf(path, sizeof(path), "net/%s/conf/%s/forwarding", visit->family, interface);
    if (strcmp(interface, visit->setup->config->plane.name) != 0 && reads_as(path, "1"))
        record(visit->setup, path, "1", "*");
}

static void keep_advertisements(void *context, const char *interface)
{
    const struct interface_visit *visit = context;
    char forwarding[SYSCTL_PATH], accept[SYSCTL_PATH];
    snprintf(forwarding, sizeof(forwarding), "net/ipv6/conf/%s/forwarding", interface);
    snprintf(accept, sizeof(accept), "net/ipv6/conf/%s/accept_ra", interface);
    if (strcmp(interface, visit->setup->config->plane.name) != 0 && strcmp(interface, "lo") != 0 &&
        reads_as(forwarding, "0") && reads_as(accept, "1"))
        set(visit->setup, accept, "2", "the interface will no longer heed router advertisements");
}

static void forward_ipv4(const struct setup *setup)
{
    static const char redirects[] = "net/ipv4/conf/all/accept_redirects";
    struct interface_visit visit = {.setup = setup, .family = "ipv4"};
    char before[SYSCTL_VALUE];
    if (reads_as("net/ipv4/ip_forward", "1"))
        return;
    sysctl_interfaces("ipv4", keep_forwarding, &visit);
    keep_forwarding(&visit, "default");
    if (sysctl_read(redirects, before) == 0)
        record(setup, redirects, before, "*");
    set(setup, "net/ipv4/ip_forward", "1", "IPv4 packets are not forwarded until somebody sets it");
}

static void forward_ipv6(const struct setup *setup)
{
    struct interface_visit visit = {.setup = setup, .family = "ipv6"};
    if (reads_as("net/ipv6/conf/all/forwarding", "1"))
        return;
    sysctl_interfaces("ipv6", keep_advertisements, &visit);
    sysctl_interfaces("ipv6", keep_forwarding, &visit);
    keep_forwarding(&visit, "default");
    set(setup, "net/ipv6/conf/all/forwarding", "1", "IPv6 packets are not forwarded until somebody sets it");
}

void setup_forwarding(const struct setup *setup)
{
    forward_ipv4(setup);
    forward_ipv6(setup);
}

void setup_answer_at_once(const struct setup *setup, const char *interface)
{
    char path[SYSCTL_PATH];
    snprintf(path, sizeof(path), "net/ipv4/neigh/%s/proxy_delay", interface);
    set(setup, path, "0", "the first packet to a pool address may wait for up to a second");
}
