/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The lock is a flock on a file that holds the daemon's process id. The daemon and its keeper share one
 * open file, so the lock lasts until both have ended: whoever gets it sees a system in which nobody is
 * undoing anything. When the daemon is gone and the keeper still at work, a newcomer waits a little.
 *
 * A lock file is removed while it is locked. Whoever opened it before and locks it after holds a file that
 * nobody else will ever find; so after locking it is looked whether the name still means the same file.
 */
#include "control/state.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "control/changes.h"

#define LOCK_FILE "lock"

enum {
    LOCK_WAIT_MILLISECONDS = 3000, /* for the keeper of a daemon that has ended */
    LOCK_STEP_MILLISECONDS = 20,
};

static void pause_milliseconds(long milliseconds)
{
    struct timespec span = {.tv_nsec = milliseconds * 1000000};
    nanosleep(&span, NULL);
}

/* The process whose id stands in the lock file, 0 if it does not run. */
static pid_t holder(int lock)
{
    char text[32] = "";
    ssize_t length = pread(lock, text, sizeof(text) - 1, 0);
    long process = length > 0 ? strtol(text, NULL, 10) : 0;
    if (process <= 0 || (kill((pid_t)process, 0) != 0 && errno == ESRCH))
        return 0;
    return (pid_t)process;
}

static bool same_file(int directory, int lock)
{
    struct stat held, named;
    return fstat(lock, &held) == 0 && fstatat(directory, LOCK_FILE, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
           held.st_ino == named.st_ino && held.st_dev == named.st_dev;
}

/* 0: locked; EAGAIN: to be tried again; EBUSY: a daemon runs, *process; else an errno. */
static int try_lock(struct state *state, pid_t *process)
{
    state->lock = openat(state->directory, LOCK_FILE, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (state->lock < 0)
        return errno;
    if (flock(state->lock, LOCK_EX | LOCK_NB) == 0) {
        if (same_file(state->directory, state->lock))
            return 0;
        close(state->lock);
        return EAGAIN;
    }
    int error = errno;
    *process = holder(state->lock);
    close(state->lock);
    if (error != EWOULDBLOCK)
        return error;
    return *process != 0 ? EBUSY : EAGAIN;
}

/* 0, or an errno with a sentence; EBUSY: a daemon runs. */
static int lock(struct state *state, char *error, size_t size)
{
    pid_t process = 0;
    int status = EAGAIN;
    for (int waited = 0; status == EAGAIN && waited < LOCK_WAIT_MILLISECONDS;
         waited += LOCK_STEP_MILLISECONDS) {
        status = try_lock(state, &process);
        if (status == EAGAIN)
            pause_milliseconds(LOCK_STEP_MILLISECONDS);
    }
    if (status == 0)
        return 0;
    state->lock = -1;
    if (status == EBUSY)
        snprintf(error, size, "isthmus runs already under this plane.name (process %ld, %s); stop it first",
                 (long)process, state->path);
    else if (status == EAGAIN)
        snprintf(error, size, "%s/%s is held by another process; try again", state->path, LOCK_FILE);
    else
        snprintf(error, size, "cannot lock %s/%s: %s", state->path, LOCK_FILE, strerror(status));
    return status;
}

static bool make_directory(const char *base, const char *name)
{
    char path[sizeof(((struct state *)NULL)->path)];
    snprintf(path, sizeof(path), "%s/%s", base, name);
    return (mkdir(base, 0755) == 0 || errno == EEXIST) && (mkdir(path, 0700) == 0 || errno == EEXIST);
}

static bool open_directory(struct state *state, const char *base, const char *name)
{
    *state = (struct state){.lock = -1};
    snprintf(state->path, sizeof(state->path), "%s/%s", base, name);
    state->directory = open(state->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return state->directory >= 0;
}

/* Those that are empty: the base stays while other daemons have a directory in it. */
static void remove_directories(struct state *state)
{
    rmdir(state->path);
    char *name = strrchr(state->path, '/');
    *name = '\0';
    rmdir(state->path);
    *name = '/';
}

bool state_open(struct state *state, const char *base, const char *name, char *error, size_t size)
{
    bool made = make_directory(base, name);
    snprintf(state->path, sizeof(state->path), "%s/%s", base, name);
    if (!made || !open_directory(state, base, name)) {
        snprintf(error, size, "cannot make %s/%s: %s%s", base, name, strerror(errno),
                 errno == EACCES || errno == EPERM ? "; run isthmus as root" : "");
        remove_directories(state);
        return false;
    }
    int status = lock(state, error, size);
    if (status != 0) {
        if (status != EBUSY && status != EAGAIN)
            remove_directories(state);
        state_close(state);
        return false;
    }
    char text[32];
    int length = snprintf(text, sizeof(text), "%ld\n", (long)getpid());
    if (ftruncate(state->lock, 0) == 0 && pwrite(state->lock, text, (size_t)length, 0) == length)
        return true;
    snprintf(error, size, "cannot write %s/%s: %s", state->path, LOCK_FILE, strerror(errno));
    state_remove(state);
    state_close(state);
    return false;
}

enum state_status state_open_existing(struct state *state, const char *base, const char *name, char *error,
                                      size_t size)
{
    if (!open_directory(state, base, name)) {
        enum state_status failure = errno == ENOENT ? STATE_ABSENT : STATE_FAILED;
        snprintf(error, size, "cannot open %s: %s", state->path, strerror(errno));
        return failure;
    }
    int status = lock(state, error, size);
    if (status == 0)
        return STATE_OPENED;
    state_close(state);
    return status == EBUSY ? STATE_BUSY : STATE_FAILED;
}

/* Tried with a shared lock, which is given up at once. */
static bool lock_is_held(int directory)
{
    int fd = openat(directory, LOCK_FILE, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    bool held = fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK && holder(fd) != 0;
    if (fd >= 0)
        close(fd);
    return held;
}

/* A directory beside that of this state. */
struct other {
    int directory;
    const char *name;
    const struct change_list *list; /* of changes made in this namespace */
};
typedef bool visit_other(void *context, const struct other *other);

/* Visits one that is not this state's own, and that has a list of changes made in this namespace. */
static bool visit_one(int base, const char *name, const struct stat *own, visit_other *visit, void *context)
{
    struct stat status;
    struct change_list list = {0};
    int directory = openat(base, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    bool there = directory >= 0 && fstat(directory, &status) == 0 &&
                 (status.st_ino != own->st_ino || status.st_dev != own->st_dev) &&
                 changes_read(directory, &list) == 0 && list.present && !list.foreign;
    const struct other other = {.directory = directory, .name = name, .list = &list};
    bool found = there && visit(context, &other);
    changes_free(&list);
    if (directory >= 0)
        close(directory);
    return found;
}

/* Until a visit returns true, which is returned. */
static bool visit_others(int directory, visit_other *visit, void *context)
{
    struct stat own;
    bool found = false;
    int base = openat(directory, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *names = base >= 0 ? fdopendir(base) : NULL;
    if (names == NULL && base >= 0)
        close(base);
    if (names == NULL || fstat(directory, &own) != 0)
        found = false;
    else
        for (struct dirent *entry = readdir(names); entry != NULL && !found; entry = readdir(names))
            found = entry->d_name[0] != '.' && visit_one(base, entry->d_name, &own, visit, context);
    if (names != NULL)
        closedir(names);
    return found;
}

static bool is_locked(void *context, const struct other *other)
{
    (void)context;
    return lock_is_held(other->directory);
}

bool state_others_run(int directory)
{
    return visit_others(directory, is_locked, NULL);
}

struct search {
    const struct change *change;
    char *name;
    size_t size;
};

static bool has_change(void *context, const struct other *other)
{
    const struct search *search = context;
    for (size_t i = 0; i < other->list->count; i++) {
        const struct change *change = &other->list->items[i];
        if (change->kind != search->change->kind || strcmp(change->subject, search->change->subject) != 0)
            continue;
        snprintf(search->name, search->size, "%s", other->name);
        return true;
    }
    return false;
}

bool state_other_has(int directory, const struct change *change, char *name, size_t size)
{
    struct search search = {.change = change, .name = name, .size = size};
    return visit_others(directory, has_change, &search);
}

void state_remove(struct state *state)
{
    unlinkat(state->directory, LOCK_FILE, 0);
    remove_directories(state);
}

void state_close(struct state *state)
{
    if (state->lock >= 0)
        close(state->lock);
    if (state->directory >= 0)
        close(state->directory);
    state->lock = state->directory = -1;
}
