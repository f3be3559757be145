/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The engine's rules as the programs want them: settings by instance number, and who has which pool address.
 */
#ifndef PLANE_BPF_RULES_H
#define PLANE_BPF_RULES_H

#include "engine/paths.h"
#include "engine/rules.h"
#include "plane/bpf/object.h"
#include "plane/bpf/shared.h"

/* What the programs have to know besides the rules. */
struct rules_surroundings {
    uint32_t device; /* index of the TUN device */
    uint32_t lane;   /* of processor 0, and how many there are for processors */
    uint32_t lanes;
    bool stack; /* plane.forward */
    uint64_t clock_ahead;
    uint64_t secret[2];        /* from the kernel's random source, the same as long as the object is there */
    const struct paths *paths; /* NULL: all have an MTU of 1500 */
};

/* Fills the settings. */
void rules_describe(const struct rules *rules, const struct rules_surroundings *surroundings,
                    struct plane_settings *settings);

/* Maps into memory what rules_enforce writes. False: it could not be. */
bool rules_map(struct object *object);

/* Waits until each program has ended that began before. */
void rules_wait(void);

/*
 * Puts the rules into force: writes settings, pool and order, names them, and waits until no program uses the
 * old ones. Returns 0, or ENOMEM if that memory is not mapped and cannot be.
 */
int rules_enforce(struct object *object, const struct rules *rules,
                  const struct rules_surroundings *surroundings);

#endif /* PLANE_BPF_RULES_H */
