/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Programs at the ingress of an interface, by TC: a clsact queueing discipline with one filter of ours in it,
 * at a preference, with a handle and a name that are always the same. So what an earlier run left is known
 * again and replaced, in one step, without a packet that meets no program. Filters of others stay: theirs
 * come before or after ours, and so does the discipline itself, unless it was made here and nobody else uses
 * it.
 *
 * All of this is rtnetlink and wants CAP_NET_ADMIN alone, where bpf(2) as a whole wants CAP_BPF on kernels
 * before 5.19; a program is just a descriptor that somebody has opened. Links of tcx, which Linux has since
 * 6.6, would want bpf(2), and a libbpf newer than that of Debian 12: they are not used.
 */
#ifndef PLANE_BPF_INGRESS_H
#define PLANE_BPF_INGRESS_H

#include <stdbool.h>
#include <stdint.h>

/* What stands in front of the IP header of packets that an interface receives. */
enum ingress_link {
    INGRESS_ETHERNET,
    INGRESS_PLAIN,   /* nothing: WireGuard, tunnels, PPP */
    INGRESS_BETWEEN, /* as it may be: loopback and our own device, where hosts' packets do not come in */
    INGRESS_UNKNOWN, /* something else, or there is no such interface */
};
enum ingress_link ingress_link(const char *interface);

/*
 * Attaches the program, or puts it in the place of the one that an earlier run left. `*made` says whether the
 * interface got its clsact by this. Returns 0 or an errno: EBUSY if the place has somebody else's program.
 */
int ingress_attach(unsigned interface, int program, bool *made);

/* Takes our filter away, and the clsact if `made` says so and it has no other filters. Returns 0 or an errno;
 * that there is nothing of ours, or no such interface any more, is no error. */
int ingress_detach(unsigned interface, bool made);

/* Is a program of ours attached? */
bool ingress_attached(unsigned interface);

/* Has somebody else a filter in our place? */
bool ingress_taken(unsigned interface);

/*
 * The same at the way into a device of our own, where nobody else has filters; it goes with the device.
 * Returns 0 or an errno.
 */
int egress_attach(unsigned device, int program);

/* Takes it away, if it is there. */
void egress_detach(unsigned device);

#endif /* PLANE_BPF_INGRESS_H */
