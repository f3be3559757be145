/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Pool entries that name an interface: the machine's own addresses, which it shares with its clients.
 *
 * An entry has the first global IPv4 address of its interface, and none while there is none. Addresses come
 * and go, with DHCP or a link to a provider that is dialled anew; what was found in the settings is compared
 * with what there is now, in a copy of the pools, so that workers never see an entry half changed.
 */
#ifndef CONTROL_OWN_ADDRESS_H
#define CONTROL_OWN_ADDRESS_H

#include "control/config.h"
#include "control/egress.h"
#include "control/netlink.h"

/* Does any pool name an interface? */
bool own_address_wanted(const struct config *config);

/* Why it cannot be had with the TUN plane, as a sentence; false, to be returned. */
bool own_address_refuse(const struct config *config, char *error, size_t size);

/* Fills the entries' addresses in. Returns 0 or an errno, and then leaves them as they were. */
int own_address_find(struct netlink *netlink, struct config *config);

/* Says of each interface without an address that it is waited for. */
void own_address_say_missing(const struct config *config);

/* The pools of a configuration, put aside while it has others, and its sources of ICMP errors. */
struct own_pools {
    struct pool_range *pool[NAT64_INSTANCES_MAXIMUM];
    be32 address4[NAT64_INSTANCES_MAXIMUM];
};

/* Gives the configuration copies of its pools and keeps those that it had. False: memory is short. */
bool own_pools_replace(struct config *config, struct own_pools *before);

/* Gives it back what it had, and frees the copies. */
void own_pools_restore(struct config *config, struct own_pools *before);
void own_pools_free(struct own_pools *pools);

/* Has any entry another address than before? */
bool own_pools_differ(const struct config *config, const struct own_pools *before);

/*
 * What was made from an address that has gone is made from the one that has come: the source of ICMP errors,
 * if it was that. And it is said what has changed.
 */
void own_pools_follow(struct config *config, const struct own_pools *before, struct egress *egress);

#endif /* CONTROL_OWN_ADDRESS_H */
