/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A place for pins. What systemd mounts at /sys/fs/bpf is there on most machines; otherwise it is mounted
 * here, in the same place, or where the configuration says.
 */
#include "plane/bpf/plane.h"

#include <dirent.h>
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

/* May others put things into the directory, or exchange what is there? Others' things are theirs to exchange
 * in one like /tmp. */
static bool is_trusted(const char *path)
{
    struct stat status;
    return lstat(path, &status) == 0 && S_ISDIR(status.st_mode) && status.st_uid == geteuid() &&
           ((status.st_mode & (S_IWGRP | S_IWOTH)) == 0 || (status.st_mode & S_ISVTX) != 0);
}

/* What lies in a directory would be hidden by a file system mounted there. */
static bool is_empty(const char *path)
{
    const struct dirent *entry;
    unsigned entries = 0;
    DIR *directory = opendir(path);
    while (directory != NULL && (entry = readdir(directory)) != NULL)
        entries += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    if (directory != NULL)
        closedir(directory);
    return directory != NULL && entries == 0;
}

static bool fail(char *error, size_t size, const char *what, const char *path)
{
    snprintf(error, size, "%s %s: %s", what, path, strerror(errno));
    return false;
}

static bool mount_bpffs(const char *point, char *error, size_t size)
{
    if (!make_directory(point))
        return fail(error, size, "there can be no directory", point);
    if (!is_empty(point)) {
        snprintf(error, size, "%s is no bpf file system, and not empty; mount one there, or set plane.pins",
                 point);
        return false;
    }
    return mount("bpf", point, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") == 0 ||
           fail(error, size, "a bpf file system cannot be mounted at", point);
}

static bool make_base(const char *base, char *error, size_t size)
{
    if (!make_directory(base))
        return fail(error, size, "there can be no pins in", base);
    if (is_trusted(base))
        return true;
    snprintf(error, size, "others than root may change what is in %s; set plane.pins", base);
    return false;
}

bool kernel_pins_prepare(const char *base, bool *mounted, char *error, size_t size)
{
    const char *point = mount_point(base);
    *mounted = false;
    if ((make_directory(base) && is_bpffs(base)) || is_bpffs(point))
        return make_base(base, error, size);
    if (!mount_bpffs(point, error, size))
        return false;
    *mounted = make_base(base, error, size);
    if (!*mounted)
        kernel_pins_restore(base, true);
    return *mounted;
}

/* Has nobody pinned anything there? The kernel puts two files of its own into each bpffs. */
static bool is_unused(const char *path)
{
    const struct dirent *entry;
    bool unused = true;
    DIR *entries = opendir(path);
    while (entries != NULL && unused && (entry = readdir(entries)) != NULL)
        unused = entry->d_name[0] == '.' || strcmp(entry->d_name, "maps.debug") == 0 ||
                 strcmp(entry->d_name, "progs.debug") == 0;
    if (entries != NULL)
        closedir(entries);
    return unused;
}

void kernel_pins_restore(const char *base, bool mounted)
{
    const char *point = mount_point(base);
    if (point != base)
        (void)rmdir(base);
    if (mounted && is_bpffs(point) && is_unused(point))
        (void)umount2(point, 0);
    if (point == base)
        (void)rmdir(base);
}
