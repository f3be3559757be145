/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Messages are single bytes over a pair of SOCK_SEQPACKET sockets. End of file is what the kernel says when
 * the daemon has ended, in whatever way. Signals meant for the daemon, which a terminal or a
 * supervisor sends to the whole group, are blocked: the keeper ends after the daemon.
 */
#include "control/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "control/log.h"
#include "control/privilege.h"
#include "control/undo.h"

enum {
    MESSAGE_OPEN = 'o',
    MESSAGE_LEAVE = 'l',
    MESSAGE_FINISH = 'f',
};

/* The answer to MESSAGE_OPEN: an errno, and with 0 the file beside it. */
struct answer {
    int error;
};

union control_buffer {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int))];
};

static void answer_with(int socket, int file, int error)
{
    struct answer answer = {.error = error};
    union control_buffer control;
    struct iovec part = {.iov_base = &answer, .iov_len = sizeof(answer)};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    memset(&control, 0, sizeof(control));
    if (error == 0) {
        message.msg_control = &control;
        message.msg_controllen = sizeof(control);
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(&control.header), &file, sizeof(file));
    }
    sendmsg(socket, &message, MSG_NOSIGNAL);
}

static void serve_config(int socket, const char *path)
{
    int file = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC); /* a FIFO must not hold the keeper */
    answer_with(socket, file, file < 0 ? errno : 0);
    if (file >= 0)
        close(file);
}

static int end(const struct keeper_options *options, bool finished, bool leave)
{
    size_t undone = 0;
    bool clean = true;
    if (leave) {
        unlink(options->socket);
        return EXIT_SUCCESS;
    }
    if (!finished)
        log_warning("the daemon ended without stopping; undoing what it changed");
    clean = undo_directory(options->state->directory, &undone);
    if (clean)
        state_remove(options->state);
    return clean ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int serve(int socket, const struct keeper_options *options)
{
    bool leave = false;
    for (;;) {
        char message = 0;
        ssize_t length = recv(socket, &message, 1, 0);
        if (length < 0 && errno == EINTR)
            continue;
        if (length <= 0 || message == MESSAGE_FINISH)
            return end(options, length > 0, leave);
        if (message == MESSAGE_OPEN)
            serve_config(socket, options->config);
        else if (message == MESSAGE_LEAVE)
            leave = true;
    }
}

/* What the keeper inherits and has no use for would keep files and pipes of others open. */
static void let_go(void)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null >= 0) {
        dup2(null, STDIN_FILENO);
        dup2(null, STDOUT_FILENO);
        close(null);
    }
    if (chdir("/") != 0)
        log_warning("the keeper cannot leave its directory: %s", strerror(errno));
    prctl(PR_SET_NAME, "isthmus-keeper");
}

static void block_signals(void)
{
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
}

bool keeper_start(struct keeper *keeper, const struct keeper_options *options)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
        return false;
    keeper->process = fork();
    if (keeper->process == 0) {
        block_signals();
        close(ends[0]);
        let_go();
        if (!privilege_reduce_keeper())
            log_warning("the keeper cannot reduce its rights: %s", strerror(errno));
        _exit(serve(ends[1], options));
    }
    int error = errno;
    close(ends[1]);
    keeper->socket = ends[0];
    if (keeper->process > 0)
        return true;
    close(ends[0]);
    errno = error;
    return false;
}

int keeper_open_config(const struct keeper *keeper)
{
    char request = MESSAGE_OPEN;
    struct answer answer = {.error = EPIPE};
    union control_buffer control;
    struct iovec part = {.iov_base = &answer, .iov_len = sizeof(answer)};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
    int file = -1;
    memset(&control, 0, sizeof(control));
    if (send(keeper->socket, &request, 1, MSG_NOSIGNAL) != 1 ||
        recvmsg(keeper->socket, &message, MSG_CMSG_CLOEXEC) != (ssize_t)sizeof(answer)) {
        errno = EPIPE;
        return -1;
    }
    const struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (answer.error == 0 && header != NULL && header->cmsg_type == SCM_RIGHTS)
        memcpy(&file, CMSG_DATA(header), sizeof(file));
    errno = answer.error;
    return file;
}

static void tell(const struct keeper *keeper, char message)
{
    ssize_t sent = send(keeper->socket, &message, 1, MSG_NOSIGNAL);
    (void)sent; /* a keeper that is gone is noticed by keeper_finish */
}

void keeper_leave(const struct keeper *keeper)
{
    tell(keeper, MESSAGE_LEAVE);
}

bool keeper_finish(struct keeper *keeper)
{
    int status = 0;
    tell(keeper, MESSAGE_FINISH);
    close(keeper->socket);
    while (waitpid(keeper->process, &status, 0) < 0) {
        if (errno != EINTR)
            return false;
    }
    return WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS;
}
