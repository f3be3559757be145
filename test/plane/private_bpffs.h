/* SPDX-License-Identifier: BSD-2-Clause */
/* A bpffs that ends with the process, which it puts into namespaces of its own, of mounts and of networks. */
#ifndef TEST_PLANE_PRIVATE_BPFFS_H
#define TEST_PLANE_PRIVATE_BPFFS_H

#include <stdbool.h>

/* Its directory, at which the bpffs is to be mounted by kernel_pins_prepare; NULL: it takes root. */
const char *private_directory(void);

/* The same with a bpffs mounted there. */
const char *private_bpffs(void);

/* Removes the directory. */
void private_end(void);

#endif /* TEST_PLANE_PRIVATE_BPFFS_H */
