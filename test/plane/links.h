/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Links between the network namespace of a test and that of a host, of several kinds:
 *
 *     ethernet     a pair of veth
 *     vlan         a VLAN on such a pair
 *     wireguard    over such a pair; no header
 *     tun          a TUN device at either end, and a process that carries packets between them; no header
 *
 * The host's end is always host0.
 */
#ifndef TEST_PLANE_LINKS_H
#define TEST_PLANE_LINKS_H

#include <stdbool.h>
#include <sys/types.h>

struct link {
    const char *name; /* of this namespace's end */
    pid_t carrier;    /* 0: it needs none */
};

/* Has this kernel such interfaces? */
bool link_possible(const char *kind);

/* Do packets of such a link have an Ethernet header? */
bool link_has_header(const char *kind);

/* Makes the link and sets both ends up; `host` is a process in the host's namespace. */
bool link_make(struct link *link, const char *kind, const char *name, pid_t host);

void link_remove(struct link *link);

#endif /* TEST_PLANE_LINKS_H */
