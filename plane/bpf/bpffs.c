/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A place for pins. What systemd mounts at /sys/fs/bpf is there on most machines; otherwise it is mounted
 * here, in the same place, or where the configuration says.
 */
#include "plane/bpf/plane.h"

#include <errno.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define USUAL "/sys/fs/bpf"

static bool is_bpffs(const char *path)
{
    struct statfs status;
    return statfs(path, &status) == 0 && (unsigned long)status.f_type == BPF_FS_MAGIC;
}

/* Where a bpffs is to be mounted for this directory. */
static const char *mount_point(const char *base)
{
    size_t length = strlen(USUAL);
    return strncmp(base, USUAL, length) == 0 && (base[length] == '/' || base[length] == '\0') ? USUAL : base;
}

static bool make_directory(const char *path)
{
    return mkdir(path, 0700) == 0 || errno == EEXIST;
}

static bool fail(char *error, size_t size, const char *what, const char *path)
{
    snprintf(error, size, "%s %s: %s", what, path, strerror(errno));
    return false;
}

bool kernel_pins_prepare(const char *base, bool *mounted, char *error, size_t size)
{
    const char *point = mount_point(base);
    *mounted = false;
    if (make_directory(base) && is_bpffs(base))
        return true;
    if (is_bpffs(point))
        return fail(error, size, "there can be no pins in", base);
    if (!make_directory(point))
        return fail(error, size, "there can be no directory", point);
    if (mount("bpf", point, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") != 0)
        return fail(error, size, "a bpf file system cannot be mounted at", point);
    *mounted = true;
    if (make_directory(base))
        return true;
    (void)fail(error, size, "there can be no pins in", base);
    kernel_pins_restore(base, true);
    *mounted = false;
    return false;
}

void kernel_pins_restore(const char *base, bool mounted)
{
    const char *point = mount_point(base);
    if (point != base)
        (void)rmdir(base);
    if (mounted)
        (void)umount2(point, 0);
    if (point == base)
        (void)rmdir(base);
}
