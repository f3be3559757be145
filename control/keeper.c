/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Messages are single bytes over a pair of SOCK_SEQPACKET sockets, with a number behind them: MESSAGE_OPEN
 * has that of the file, 0 being the configuration; MESSAGE_PREPARE the fingerprint; MESSAGE_SETTLE whether it
 * was done; MESSAGE_PROGRAMS, which brings descriptors, whether the plane survives the daemon;
 * MESSAGE_INTERFACES whether the configuration is to be read again. Those that are answered have a serial
 * number, which the answer repeats: one that comes too late is not taken for that to a later question. End of
 * file is what the kernel says when the daemon has ended, in whatever way. Signals meant for the daemon,
 * which a terminal or a supervisor sends to the whole group, are blocked: the keeper ends after the daemon.
 */
#include "control/keeper.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "control/interfaces.h"
#include "control/log.h"
#include "control/netlink.h"
#include "control/privilege.h"
#include "control/setup_change.h"
#include "control/undo.h"

enum {
    MESSAGE_OPEN = 'o',
    MESSAGE_LEAVE = 'l',
    MESSAGE_FINISH = 'f',
    MESSAGE_ANSWER_AGAIN = 'a',
    MESSAGE_PREPARE = 'p',
    MESSAGE_SETTLE = 's',
    MESSAGE_PROGRAMS = 'g',
    MESSAGE_INTERFACES = 'i',
    PATIENCE_MILLISECONDS = 2000, /* with a keeper that does not answer; the daemon's loop stands meanwhile */
    PATIENCE_WITH_ROUTES = 60000,
};

struct request {
    uint8_t message;
    uint64_t number, serial;
} __attribute__((packed));

/* The answer to MESSAGE_OPEN: an errno, and with 0 the file beside it. To MESSAGE_INTERFACES: names. To the
 * others about a reload: a sentence, empty if all is well. */
struct answer {
    int error;
    uint64_t serial; /* of the request */
    char text[INTERFACE_NAMES];
};

enum {
    PROGRAMS = INGRESS_UNKNOWN,
    DESCRIPTORS = PROGRAMS, /* in a message at most */
};

union control_buffer {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(DESCRIPTORS * sizeof(int))];
};

/* What the keeper knows. */
struct kept {
    const struct keeper_options *options;
    int socket;
    bool leave;   /* undo nothing */
    bool survive; /* undo nothing if the daemon dies */
    struct setup_change change;
    struct config *config; /* read since the start; NULL: that of the start */
    bool have_programs;
    struct interfaces interfaces;
};

/* Puts descriptors into a message. */
static void add_descriptors(struct msghdr *message, union control_buffer *control, const int descriptors[],
                            size_t count)
{
    memset(control, 0, sizeof(*control));
    message->msg_control = control;
    message->msg_controllen = CMSG_SPACE(count * sizeof(int));
    control->header.cmsg_level = SOL_SOCKET;
    control->header.cmsg_type = SCM_RIGHTS;
    control->header.cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(&control->header), descriptors, count * sizeof(int));
}

/*
 * Takes the descriptors out of a message that was received; returns how many. A buffer, being aligned, has
 * room for one more than it was made for, and the kernel uses that: of too many none is taken.
 */
static size_t take_descriptors(struct msghdr *message, int descriptors[DESCRIPTORS])
{
    const struct cmsghdr *header = CMSG_FIRSTHDR(message);
    int came[sizeof(union control_buffer) / sizeof(int)];
    if (header == NULL || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
        return 0;
    size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    memcpy(came, CMSG_DATA(header), count * sizeof(int));
    if (count <= DESCRIPTORS) {
        memcpy(descriptors, came, count * sizeof(int));
        return count;
    }
    for (size_t i = 0; i < count; i++)
        close(came[i]);
    return 0;
}

static void answer_with(int socket, uint64_t serial, int file, int error)
{
    struct answer answer = {.error = error, .serial = serial};
    union control_buffer control;
    struct iovec part = {.iov_base = &answer, .iov_len = sizeof(answer)};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (error == 0)
        add_descriptors(&message, &control, &file, 1);
    sendmsg(socket, &message, MSG_NOSIGNAL);
}

/* Nothing but what the administrator named at the start is opened, whatever the daemon may ask for. */
static const char *file_path(const struct keeper_options *options, uint64_t number)
{
    if (number == 0)
        return options->config;
    return number <= options->file_count ? options->files[number - 1] : "";
}

static void serve_file(int socket, uint64_t serial, const char *path)
{
    int file = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC); /* a FIFO must not hold the keeper */
    answer_with(socket, serial, file, file < 0 ? errno : 0);
    if (file >= 0)
        close(file);
}

static int end(const struct kept *kept, bool finished)
{
    const struct keeper_options *options = kept->options;
    size_t undone = 0;
    bool clean = true;
    if (!finished && kept->survive && !kept->leave)
        log_warning("the daemon ended without stopping; packets go on being translated until the next run "
                    "takes over, or isthmus down");
    if (kept->leave || (!finished && kept->survive)) {
        unlink(options->socket);
        return EXIT_SUCCESS;
    }
    if (!finished)
        log_warning("the daemon ended without stopping; undoing what it changed");
    clean = undo_directory(options->state->directory, UNDO_LEAVING_SESSIONS, &undone);
    if (clean)
        state_remove(options->state);
    return clean ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* Which of the entries are missing the kernel knows best: it says so of those that are not. */
static void answer_again(int directory)
{
    struct change_list list;
    size_t missed = 0;
    struct netlink *netlink = netlink_open();
    if (netlink != NULL && changes_read(directory, &list) == 0) {
        for (size_t i = 0; i < list.count; i++) {
            const struct change *change = &list.items[i];
            uint32_t address;
            unsigned index = change->kind == CHANGE_PROXY ? if_nametoindex(change->before) : 0;
            if (index != 0 && inet_pton(AF_INET, change->subject, &address) == 1 &&
                netlink_proxy_add(netlink, address, index) == 0)
                missed++;
        }
        changes_free(&list);
    }
    netlink_close(netlink);
    if (missed > 0)
        log_info("an interface is up again: answering ARP again for %zu pool address%s", missed,
                 missed == 1 ? "" : "es");
}

/* What the daemon says of a change that was prepared; without it the old routes are those that are wanted. */
static void change_routes(struct kept *kept, const struct request *request)
{
    const struct keeper_options *options = kept->options;
    struct answer answer = {.serial = request->serial};
    struct setup_change_options wanted = {.directory = options->state->directory,
                                          .path = options->config,
                                          .device = options->device,
                                          .fingerprint = request->number};
    if (request->message == MESSAGE_SETTLE)
        setup_change_settle(&kept->change, request->number != 0);
    else if (!setup_change_prepare(&kept->change, &wanted, answer.text, sizeof(answer.text)))
        answer.error = EINVAL;
    send(kept->socket, &answer, sizeof(answer), MSG_NOSIGNAL);
}

/* Only those that come first, from a daemon that still has its rights. */
static void keep_programs(struct kept *kept, const int descriptors[], size_t count, bool survive)
{
    if (kept->have_programs || count != PROGRAMS) {
        for (size_t i = 0; i < count; i++)
            close(descriptors[i]);
        return;
    }
    memcpy(kept->interfaces.program, descriptors, sizeof(kept->interfaces.program));
    kept->have_programs = true;
    kept->survive = survive;
}

/* The configuration may be one that the daemon has refused, or that was changed since; then the old holds. */
static void read_config_again(struct kept *kept)
{
    struct config_error ignored;
    struct config *config = config_load_keys(kept->options->config, &ignored);
    if (config == NULL || strcmp(config->plane.name, kept->options->device) != 0) {
        config_free(config);
        return;
    }
    config_free(kept->config);
    kept->config = config;
}

static bool follow_interfaces(struct kept *kept, char names[static INTERFACE_NAMES])
{
    int directory = kept->options->state->directory;
    struct change_list list;
    bool done = false;
    if (changes_read(directory, &list) == 0 && !list.foreign)
        kept->interfaces.changes = changes_continue(directory, &list);
    changes_free(&list);
    if (kept->interfaces.changes == NULL) {
        log_warning("cannot go on with the saved list of changes, so programs stay where they are");
        return false;
    }
    kept->interfaces.directory = directory;
    kept->interfaces.config = kept->config != NULL ? kept->config : kept->options->now;
    done = interfaces_follow(&kept->interfaces, names);
    if (done)
        undo_unwanted(kept->interfaces.changes, CHANGES_OF_INTERFACES);
    changes_close(kept->interfaces.changes);
    kept->interfaces.changes = NULL;
    return done;
}

/* Routes that are being changed are on the list that this would replace: it is asked for again then. */
static void look_at_interfaces(struct kept *kept, const struct request *request)
{
    struct answer answer = {.serial = request->serial};
    if (request->number != 0)
        read_config_again(kept);
    if (!kept->have_programs || kept->change.changes != NULL || !follow_interfaces(kept, answer.text))
        answer.error = EAGAIN;
    send(kept->socket, &answer, sizeof(answer), MSG_NOSIGNAL);
}

/* Returns what recv() does; descriptors that came along are in `descriptors`. */
static ssize_t receive_request(int socket, struct request *request, int descriptors[DESCRIPTORS],
                               size_t *count)
{
    union control_buffer control;
    struct iovec part = {.iov_base = request, .iov_len = sizeof(*request)};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
    memset(&control, 0, sizeof(control));
    ssize_t length = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    *count = length > 0 ? take_descriptors(&message, descriptors) : 0;
    return length;
}

static void serve_one(struct kept *kept, const struct request *request)
{
    switch (request->message) {
    case MESSAGE_OPEN:
        serve_file(kept->socket, request->serial, file_path(kept->options, request->number));
        break;
    case MESSAGE_LEAVE:
        kept->leave = true;
        break;
    case MESSAGE_ANSWER_AGAIN:
        answer_again(kept->options->state->directory);
        break;
    case MESSAGE_PREPARE:
    case MESSAGE_SETTLE:
        change_routes(kept, request);
        break;
    case MESSAGE_INTERFACES:
        look_at_interfaces(kept, request);
        break;
    default:
        break;
    }
}

static int serve(struct kept *kept)
{
    for (;;) {
        struct request request = {0};
        int descriptors[DESCRIPTORS];
        size_t count;
        ssize_t length = receive_request(kept->socket, &request, descriptors, &count);
        if (length < 0 && errno == EINTR)
            continue;
        if (length <= 0 || request.message == MESSAGE_FINISH)
            return end(kept, length > 0);
        if (request.message == MESSAGE_PROGRAMS || count > 0)
            keep_programs(kept, descriptors, count, request.number != 0);
        else
            serve_one(kept, &request);
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
        struct kept kept = {.options = options, .socket = ends[1]};
        _exit(serve(&kept));
    }
    int error = errno;
    close(ends[1]);
    keeper->socket = ends[0];
    keeper->patience = PATIENCE_WITH_ROUTES;
    if (keeper->process > 0)
        return true;
    close(ends[0]);
    errno = error;
    return false;
}

/* Receives an answer, with the file or -1. Returns 0, EPIPE if there is no keeper, ETIMEDOUT if no answer. */
static int receive(const struct keeper *keeper, int milliseconds, struct answer *answer, int *file)
{
    union control_buffer control;
    struct iovec part = {.iov_base = answer, .iov_len = sizeof(*answer)};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
    memset(&control, 0, sizeof(control));
    struct pollfd readable = {.fd = keeper->socket, .events = POLLIN};
    *file = -1;
    while (poll(&readable, 1, milliseconds) < 0 && errno == EINTR)
        continue;
    ssize_t length = recvmsg(keeper->socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (length < 0 && errno == EAGAIN)
        return ETIMEDOUT;
    if (length != (ssize_t)sizeof(*answer))
        return EPIPE;
    int descriptors[DESCRIPTORS];
    if (take_descriptors(&message, descriptors) > 0)
        *file = descriptors[0];
    return 0;
}

/* What comes unasked is an answer that came too late to be waited for, or the end. */
bool keeper_gone(const struct keeper *keeper)
{
    struct answer late;
    int file, status;
    do {
        status = receive(keeper, 0, &late, &file);
        if (file >= 0)
            close(file);
    } while (status == 0);
    return status == EPIPE;
}

/* Asks and waits for the answer. Returns what receive() does. */
static int ask(const struct keeper *keeper, uint8_t message, uint64_t number, int milliseconds,
               struct answer *answer, int *file)
{
    static uint64_t last_serial;
    struct request request = {.message = message, .number = number, .serial = ++last_serial};
    int status;
    *file = -1;
    if (keeper_gone(keeper))
        return EPIPE;
    if (send(keeper->socket, &request, sizeof(request), MSG_NOSIGNAL | MSG_DONTWAIT) !=
        (ssize_t)sizeof(request))
        return errno == EAGAIN ? ETIMEDOUT : EPIPE;
    do {
        if (*file >= 0)
            close(*file);
        status = receive(keeper, milliseconds, answer, file);
    } while (status == 0 && answer->serial != request.serial);
    return status;
}

static int open_numbered(const struct keeper *keeper, unsigned number)
{
    struct answer answer;
    int file;
    int status = ask(keeper, MESSAGE_OPEN, number, PATIENCE_MILLISECONDS, &answer, &file);
    errno = status != 0 ? status : answer.error;
    return file;
}

int keeper_open_config(const struct keeper *keeper)
{
    return open_numbered(keeper, 0);
}

int keeper_open_file(const struct keeper *keeper, unsigned number)
{
    return open_numbered(keeper, number + 1);
}

static bool ask_about_routes(const struct keeper *keeper, uint8_t message, uint64_t number, char *error,
                             size_t size)
{
    struct answer answer;
    int file;
    int status = ask(keeper, message, number, keeper->patience, &answer, &file);
    if (file >= 0)
        close(file);
    if (status == 0 && answer.error == 0)
        return true;
    if (status == 0)
        snprintf(error, size, "%s", answer.text);
    else
        snprintf(error, size,
                 "the keeper, which sets up routes, does not answer; try again, or restart isthmus");
    return false;
}

static void tell(const struct keeper *keeper, char message)
{
    ssize_t sent = send(keeper->socket, &message, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)sent; /* a keeper that is gone is noticed; one that is stopped has enough to do when it goes on */
}

/* What the keeper may do yet when it is not waited for any more is to be taken back. */
bool keeper_prepare(const struct keeper *keeper, uint64_t fingerprint, char *error, size_t size)
{
    if (ask_about_routes(keeper, MESSAGE_PREPARE, fingerprint, error, size))
        return true;
    tell(keeper, MESSAGE_SETTLE);
    return false;
}

bool keeper_settle(const struct keeper *keeper, bool done, char *error, size_t size)
{
    return ask_about_routes(keeper, MESSAGE_SETTLE, done, error, size);
}

bool keeper_take_programs(const struct keeper *keeper, const int program[], bool survive)
{
    struct request request = {.message = MESSAGE_PROGRAMS, .number = survive};
    union control_buffer control;
    struct iovec part = {.iov_base = &request, .iov_len = sizeof(request)};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    add_descriptors(&message, &control, program, PROGRAMS);
    return sendmsg(keeper->socket, &message, MSG_NOSIGNAL) == (ssize_t)sizeof(request);
}

bool keeper_look_at_interfaces(const struct keeper *keeper, bool reloaded, char *names)
{
    struct answer answer;
    int file;
    int status = ask(keeper, MESSAGE_INTERFACES, reloaded, PATIENCE_MILLISECONDS, &answer, &file);
    if (file >= 0)
        close(file);
    if (status != 0 || answer.error != 0)
        return false;
    memcpy(names, answer.text, sizeof(answer.text));
    return true;
}

void keeper_answer_again(const struct keeper *keeper)
{
    tell(keeper, MESSAGE_ANSWER_AGAIN);
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
