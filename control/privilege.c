/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Order matters: groups while there is still the right to set groups, then user, then capabilities.
 * Capabilities belong to a thread, hence the rule that there is only one yet.
 *
 * In a user namespace that maps nobody but root there is no other user to become. The capabilities,
 * which count there only for what the namespace owns, are dropped all the same.
 */
#include "control/privilege.h"

#include <cap-ng.h>
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "control/log.h"
#include "control/sysctl.h"

bool privilege_sufficient(void)
{
    capng_clear(CAPNG_SELECT_ALL);
    return capng_get_caps_process() == 0 && capng_have_capability(CAPNG_EFFECTIVE, CAP_NET_ADMIN) != 0;
}

/* Which ports are free for all is a setting of the network namespace; one that cannot be read is the usual.
 */
bool privilege_may_listen(uint16_t port)
{
    char value[SYSCTL_VALUE];
    unsigned long first = 1024;
    if (sysctl_read("net/ipv4/ip_unprivileged_port_start", value) == 0)
        first = strtoul(value, NULL, 10);
    capng_clear(CAPNG_SELECT_ALL);
    return port >= first || (capng_get_caps_process() == 0 &&
                             capng_have_capability(CAPNG_EFFECTIVE, CAP_NET_BIND_SERVICE) != 0);
}

/* The user to become, who may be missing on this machine. */
static bool find_identity(const char *user, uid_t *uid, gid_t *gid)
{
    const struct passwd *account = getpwnam(user);
    if (account == NULL) {
        account = getpwnam("nobody");
        if (account == NULL)
            return false;
        log_warning("there is no user %s (control.user) on this machine; running as nobody", user);
    }
    *uid = account->pw_uid;
    *gid = account->pw_gid;
    return true;
}

static bool become(uid_t uid, gid_t gid)
{
    return setgroups(0, NULL) == 0 && setresgid(gid, gid, gid) == 0 && setresuid(uid, uid, uid) == 0;
}

/* Of the `count` capabilities keeps those it has, and no others. */
static bool keep_only(const unsigned capabilities[], size_t count)
{
    unsigned kept[4];
    size_t have = 0;
    capng_clear(CAPNG_SELECT_ALL);
    if (capng_get_caps_process() != 0)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (capng_have_capability(CAPNG_EFFECTIVE, capabilities[i]))
            kept[have++] = capabilities[i];
    }
    capng_clear(CAPNG_SELECT_ALL);
    for (size_t i = 0; i < have; i++)
        capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, kept[i]);
    /* The bounding set can be emptied only with CAP_SETPCAP; no_new_privs makes it immaterial. */
    return capng_apply(CAPNG_SELECT_CAPS) == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0;
}

bool privilege_drop(const char *user, char *error, size_t size)
{
    uid_t uid;
    gid_t gid;
    if (geteuid() == 0) {
        if (!find_identity(user, &uid, &gid)) {
            snprintf(error, size, "there is neither the user %s nor nobody on this machine; set control.user",
                     user);
            return false;
        }
        if (!become(uid, gid)) {
            if (errno != EINVAL && errno != EPERM) {
                snprintf(error, size, "cannot become user %s: %s", user, strerror(errno));
                return false;
            }
            log_warning("this container has no right or no user to change to; staying root, without "
                        "capabilities");
        }
    }
    if (keep_only(NULL, 0))
        return true;
    snprintf(error, size, "cannot drop capabilities: %s", strerror(errno));
    return false;
}

bool privilege_reduce_keeper(void)
{
    static const unsigned needed[] = {CAP_NET_ADMIN, CAP_DAC_OVERRIDE};
    return keep_only(needed, sizeof(needed) / sizeof(needed[0]));
}
