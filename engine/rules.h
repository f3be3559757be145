/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Rules: the settings as the workers use them, with a number for each nat64 instance and a place for each
 * pool address. Workers see either all of the old rules or all of the new ones, by one pointer.
 *
 * The settings name instances and addresses in some order, which a reload may change. Records name them by
 * numbers that must go on meaning the same: the instance's number, and the address' place in the segments
 * `ports` and `owners`. So each instance whose prefix remains keeps its number, each address that remains in
 * such an instance keeps its place, and what is new gets those that are free. An instance is known by its
 * prefix, for that is what its sessions were made with; its name is for people.
 *
 *     settings given     [0] b 2001:db8:b::/96      [1] c 2001:db8:c::/96
 *     rules->settings    [0] (none)   [1] b   [2] c                     holes have a prefix of length 0
 *     rules->index        -            0       1
 */
#ifndef ENGINE_RULES_H
#define ENGINE_RULES_H

#include "engine/layout.h"
#include "engine/settings.h"

enum {
    ADDRESSES_MAXIMUM = 4096, /* in all pools */
    NO_INDEX = 0xff,
};

/* Pool addresses in ascending order. */
struct pool_address {
    be32 address;
    uint16_t place; /* its number in records, port maps and owner cells */
    uint8_t instance;
    bool shared; /* with the host, whose own it is */
};

struct pool {
    uint32_t count;
    struct pool_address address[ADDRESSES_MAXIMUM];
    /* An instance's addresses: address[order[first[i]]] to address[order[first[i + 1] - 1]]. */
    uint16_t order[ADDRESSES_MAXIMUM];
    uint32_t first[NAT64_INSTANCES_MAXIMUM + 1];
    uint16_t index[ADDRESSES_MAXIMUM]; /* of a place: where in `address` it is, if any address has it */
};

struct rules {
    struct settings settings; /* nat64[i] is the instance whose number is i */
    struct pool pool;
    uint8_t index[NAT64_INSTANCES_MAXIMUM]; /* of a number: which of the given settings' instances it is */
    uint32_t leaving;                       /* a bit a number: instances that take no new sessions any more */
};

/*
 * Fills the rules from the settings, with the numbers and places of `before` where it has them. NULL, or a
 * sentence that says what does not fit into `addresses` places.
 */
const char *rules_arrange(struct rules *rules, const struct settings *settings, const struct rules *before,
                          uint32_t addresses);

/*
 * What remains of `before` under the settings: its instances and pool addresses that they still have.
 * Instances that they do not have stay as they were, but without addresses, until their sessions are ended.
 */
void rules_remain(struct rules *rules, const struct settings *settings, const struct rules *before);

/* The rules that an engine has in force; for the thread that changes them. */
struct engine;
const struct rules *engine_rules(const struct engine *engine);

/* The instance with exactly this prefix: its number, or -1. */
int rules_number(const struct rules *rules, const struct rfc6052_prefix *prefix);

/* The index in rules->pool.address of an address, or -1. */
int pool_find(const struct rules *rules, be32 address);

/* May a session or binding of this instance number, pool address, port and transport go on? */
enum standing {
    STANDING_GOOD,
    STANDING_NO_INSTANCE, /* there is no such instance any more */
    STANDING_NO_ADDRESS,  /* the address is not in its pool */
    STANDING_NO_PORT,     /* only a static binding may have the port */
    STANDING_COUNT,
};
enum standing rules_judge(const struct table *table, const struct rules *rules, int number,
                          const struct record *record);

/*
 * --- pool_ports.c: the ports that the rules allow. Workers may go on claiming and giving back meanwhile. ---
 */

/* Makes every port available that the rules allow, and that nobody holds. */
void pool_permit(const struct table *table, const struct rules *rules);

/*
 * Takes every port away that the rules do not allow at the places of `before`; who holds one keeps it.
 * Whoever looked before may still give one back as available: once all workers have begun anew, pool_settle
 * makes up for that.
 */
void pool_restrict(const struct table *table, const struct rules *rules, const struct rules *before);
void pool_settle(const struct table *table, const struct rules *before);

/* Would pool_restrict take any? */
bool pool_restricts(const struct table *table, const struct rules *rules, const struct rules *before);

#endif /* ENGINE_RULES_H */
