/* SPDX-License-Identifier: BSD-2-Clause */
#include "test/plane/private_bpffs.h"

#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static char directory[64];

const char *private_directory(void)
{
    if (unshare(CLONE_NEWNET | CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
        return NULL;
    snprintf(directory, sizeof(directory), "/tmp/isthmus-bpffs-%d", getpid());
    /* What is made in there ends with the process, too. */
    if (mkdir(directory, 0700) != 0 || mount("none", directory, "tmpfs", 0, "mode=0700") != 0)
        return NULL;
    return directory;
}

const char *private_bpffs(void)
{
    if (private_directory() == NULL || mount("bpf", directory, "bpf", 0, "mode=0700") != 0)
        return NULL;
    return directory;
}

void private_end(void)
{
    while (umount2(directory, MNT_DETACH) == 0)
        ;
    (void)rmdir(directory);
}
