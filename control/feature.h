/* SPDX-License-Identifier: BSD-2-Clause */
/* What an interface does on its own, such as merging packets, by the names that ethtool has for it. */
#ifndef CONTROL_FEATURE_H
#define CONTROL_FEATURE_H

#include <stdbool.h>

/* Is it on? Returns 0, ENOENT if this kernel has no such feature, or another errno. */
int feature_read(const char *interface, const char *feature, bool *on);

/* Returns 0 or an errno: EBUSY if the interface keeps it as it is. */
int feature_set(const char *interface, const char *feature, bool on);

#endif /* CONTROL_FEATURE_H */
