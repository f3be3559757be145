/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A host's fragments, until they are whole packets. Fragments that do not agree with each other are given up
 * all together.
 */
#ifndef TEST_SIMULATION_ASSEMBLY_H
#define TEST_SIMULATION_ASSEMBLY_H

#include "test/simulation/ip.h"

enum {
    ASSEMBLIES = 24,
};

struct assembly {
    uint64_t since; /* 0: not in use */
    struct ip first;
    bool has_first;
    uint32_t total, have; /* bytes; a total of 0 is not yet known */
    uint8_t *data, *there;
};

struct assemblies {
    struct assembly one[ASSEMBLIES];
    uint64_t disagreed;
};

/* Adds a fragment. True: the packet is whole, and *ip is that; it lasts until the next call. */
bool assembly_add(struct assemblies *assemblies, struct ip *ip, uint64_t now);
void assembly_free(struct assemblies *assemblies);

#endif /* TEST_SIMULATION_ASSEMBLY_H */
