/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Kernel settings below /proc/sys/net, by their path: "net/ipv4/ip_forward". Slashes, not dots, because
 * names of interfaces may hold dots.
 */
#ifndef CONTROL_SYSCTL_H
#define CONTROL_SYSCTL_H

#include <stdbool.h>
#include <stddef.h>

enum {
    SYSCTL_PATH = 96,  /* bytes of a path at most, with the final zero */
    SYSCTL_VALUE = 32, /* bytes of a value at most; those used here are small numbers */
};

/* True for a relative path below net/ that stays there. */
bool sysctl_path_valid(const char *path);

/* Reads a value without its newline. Returns 0 or an errno. */
int sysctl_read(const char *path, char value[static SYSCTL_VALUE]);

/* The same for one that may be longer. */
int sysctl_read_text(const char *path, char *value, size_t size);

/* Writes a value. Returns 0 or an errno. */
int sysctl_write(const char *path, const char *value);

/* Calls `visit` with the name of each interface that has settings for the family ("ipv4" or "ipv6"). */
typedef void sysctl_visit(void *context, const char *interface);
int sysctl_interfaces(const char *family, sysctl_visit *visit, void *context);

#endif /* CONTROL_SYSCTL_H */
