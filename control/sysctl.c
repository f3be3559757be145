/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * /proc/sys/net shows the settings of the network namespace of whoever opens it. A container often has
 * it read-only or not at all; every function here says so by errno and its callers decide whether that
 * matters.
 */
#include "control/sysctl.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Has the path a component ".."? Two dots inside a name are two dots: interfaces may be called so. */
static bool climbs(const char *path)
{
    for (const char *at = strstr(path, "/.."); at != NULL; at = strstr(at + 1, "/..")) {
        if (at[3] == '/' || at[3] == '\0')
            return true;
    }
    return false;
}

bool sysctl_path_valid(const char *path)
{
    return strncmp(path, "net/", 4) == 0 && strlen(path) < SYSCTL_PATH && !climbs(path);
}

static int sysctl_open(const char *path, int flags)
{
    char file[sizeof("/proc/sys/") + SYSCTL_PATH];
    if (!sysctl_path_valid(path)) {
        errno = EINVAL;
        return -1;
    }
    snprintf(file, sizeof(file), "/proc/sys/%s", path);
    return open(file, flags | O_CLOEXEC);
}

int sysctl_read(const char *path, char value[static SYSCTL_VALUE])
{
    return sysctl_read_text(path, value, SYSCTL_VALUE);
}

int sysctl_read_text(const char *path, char *value, size_t size)
{
    int fd = sysctl_open(path, O_RDONLY);
    if (fd < 0)
        return errno;
    ssize_t length = read(fd, value, size - 1);
    int error = length < 0 ? errno : 0;
    close(fd);
    if (error != 0)
        return error;
    value[length] = '\0';
    value[strcspn(value, "\n")] = '\0';
    return 0;
}

int sysctl_write(const char *path, const char *value)
{
    int fd = sysctl_open(path, O_WRONLY);
    if (fd < 0)
        return errno;
    ssize_t written = write(fd, value, strlen(value));
    int error = written < 0 ? errno : 0;
    close(fd);
    return error;
}

int sysctl_interfaces(const char *family, sysctl_visit *visit, void *context)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/sys/net/%s/conf", family);
    DIR *directory = opendir(path);
    if (directory == NULL)
        return errno;
    for (struct dirent *entry = readdir(directory); entry != NULL; entry = readdir(directory)) {
        if (entry->d_name[0] != '.' && strcmp(entry->d_name, "all") != 0 &&
            strcmp(entry->d_name, "default") != 0)
            visit(context, entry->d_name);
    }
    closedir(directory);
    return 0;
}
