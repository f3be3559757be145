/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A start that takes long says so: "reserving memory for the session table: 40 %".
 */
#ifndef CONTROL_PROGRESS_H
#define CONTROL_PROGRESS_H

#include <stdint.h>

struct progress {
    const char *what;
    uint64_t spoke; /* when the last line was written, or the work began; nanoseconds */
};

struct progress progress_begin(const char *what);

/* Writes a line to the log if the last one is two seconds old. */
void progress_say(struct progress *progress, uint64_t done, uint64_t all);

#endif /* CONTROL_PROGRESS_H */
