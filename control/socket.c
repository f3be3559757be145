/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Whether a socket file is alive is found out by connecting to it. The file is made with a mask that lets in
 * only its owner and is opened to the group afterwards, so that there is no moment at which
 * others may connect.
 */
#include "control/socket.h"

#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "control/log.h"

static int unix_socket(void)
{
    return socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

/* 0: the name is free; ECONNREFUSED: a dead socket; EADDRINUSE: a live one; EEXIST: another kind of file. */
static int probe_name(const struct sockaddr_un *address)
{
    struct stat status;
    if (lstat(address->sun_path, &status) != 0)
        return errno == ENOENT ? 0 : errno;
    if (!S_ISSOCK(status.st_mode))
        return EEXIST;
    int fd = unix_socket();
    if (fd < 0)
        return errno;
    int error = connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 ? EADDRINUSE : errno;
    close(fd);
    return error == EAGAIN ? EADDRINUSE : error;
}

static int free_name(const struct sockaddr_un *address)
{
    int error = probe_name(address);
    if (error != ECONNREFUSED)
        return error;
    log_info("replacing the control socket %s, on which nobody listens", address->sun_path);
    return unlink(address->sun_path) == 0 ? 0 : errno;
}

static void explain(const char *path, int problem, char *error, size_t size)
{
    if (problem == EADDRINUSE)
        snprintf(error, size, "another process listens on %s already; stop it, or set another control.socket",
                 path);
    else if (problem == EEXIST)
        snprintf(error, size, "%s exists and is no socket; set another control.socket", path);
    else
        snprintf(error, size, "cannot make the control socket %s: %s", path, strerror(problem));
}

bool control_socket_check(const char *path, char *error, size_t size)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    int problem = probe_name(&address);
    if (problem == 0 || problem == ECONNREFUSED)
        return true;
    explain(path, problem, error, size);
    return false;
}

static int make_directory(const char *path, struct changes *changes)
{
    struct change change = {.kind = CHANGE_DIRECTORY};
    snprintf(change.subject, sizeof(change.subject), "%s", path);
    if (access(path, F_OK) == 0)
        return 0;
    if (!changes_append(changes, &change))
        return errno;
    return mkdir(path, 0755) == 0 || errno == EEXIST ? 0 : errno;
}

/* Every directory above the socket, the highest first. */
static int make_directories(const char *path, struct changes *changes)
{
    char directory[sizeof(((struct sockaddr_un *)0)->sun_path)];
    int error = 0;
    for (const char *slash = strchr(path + 1, '/'); slash != NULL && error == 0;
         slash = strchr(slash + 1, '/')) {
        snprintf(directory, sizeof(directory), "%.*s", (int)(slash - path), path);
        error = make_directory(directory, changes);
    }
    return error;
}

static void let_group_in(const char *path, const char *group)
{
    const struct group *members = getgrnam(group);
    if (members == NULL)
        log_warning("there is no group %s (control.group) on this machine; only root may use %s", group,
                    path);
    else if (chown(path, (uid_t)-1, members->gr_gid) != 0 || chmod(path, 0660) != 0)
        log_warning("cannot give %s to group %s: %s", path, group, strerror(errno));
}

static int bind_and_listen(const struct sockaddr_un *address, int *error)
{
    int fd = unix_socket();
    if (fd < 0) {
        *error = errno;
        return -1;
    }
    mode_t mask = umask(0177);
    int status = bind(fd, (const struct sockaddr *)address, sizeof(*address));
    *error = errno;
    umask(mask);
    if (status == 0 && listen(fd, SOMAXCONN) == 0)
        return fd;
    if (status == 0)
        *error = errno;
    close(fd);
    return -1;
}

int control_socket_open(const char *path, const char *group, struct changes *changes, char *error,
                        size_t size)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct change change = {.kind = CHANGE_SOCKET};
    int fd = -1;
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    snprintf(change.subject, sizeof(change.subject), "%s", path);
    int problem = free_name(&address);
    if (problem == 0)
        problem = make_directories(path, changes);
    if (problem == 0 && !changes_append(changes, &change))
        problem = errno;
    if (problem == 0)
        fd = bind_and_listen(&address, &problem);
    if (fd >= 0)
        let_group_in(path, group);
    else
        explain(path, problem, error, size);
    return fd;
}
