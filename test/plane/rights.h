/* SPDX-License-Identifier: BSD-2-Clause */
/* What a process of a test may do less than root. */
#ifndef TEST_PLANE_RIGHTS_H
#define TEST_PLANE_RIGHTS_H

#include <linux/capability.h>
#include <stdbool.h>
#include <stdint.h>

#define RIGHT(capability) (1ull << (capability))

enum {
    FORBIDDEN_KILLS = -1, /* instead of an errno */
};

/*
 * Calls the function in a process that has these capabilities alone and in which bpf(2) returns this errno,
 * or kills, unless it is 0. Returns what the function returned, or -1 if the process ended otherwise.
 */
int with_rights(uint64_t capabilities, int bpf_error, int (*function)(void));

#endif /* TEST_PLANE_RIGHTS_H */
