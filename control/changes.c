/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The file stands in a directory that only root may write, and is read by root alone; even so a line is
 * taken only if it has the shape of one this program writes, because undoing means changing the
 * system on the word of a file. A last line without a newline was being written when the machine
 * stopped: its change was not made yet, and it is left out.
 */
#include "control/changes.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/sysctl.h"

#define CHANGES_FILE   "changes"
#define CHANGES_FORMAT "isthmus changes 1"

enum {
    LINE_MAXIMUM = 256,
    LIST_MAXIMUM = 1 << 20, /* bytes; 4096 proxy entries take a tenth of it */
};

struct changes {
    int fd;
    off_t last; /* where the last line starts */
};

/* How many words follow the name; a single one is the rest of the line, so that paths may hold blanks. */
static const struct {
    const char *name;
    int words;
} kinds[CHANGE_KINDS] = {
    [CHANGE_SYSCTL] = {"sysctl", 3}, [CHANGE_DEVICE] = {"device", 1},       [CHANGE_ROUTE] = {"route", 2},
    [CHANGE_PROXY] = {"proxy", 2},   [CHANGE_DIRECTORY] = {"directory", 1}, [CHANGE_SOCKET] = {"socket", 1},
};

static uint64_t network_namespace(void)
{
    struct stat status;
    return stat("/proc/self/ns/net", &status) == 0 ? (uint64_t)status.st_ino : 0;
}

static bool write_line(struct changes *changes, const char *line)
{
    size_t length = strlen(line);
    changes->last = lseek(changes->fd, 0, SEEK_END);
    if (changes->last < 0)
        return false;
    ssize_t written = write(changes->fd, line, length);
    if (written == (ssize_t)length)
        return true;
    int error = written >= 0 && written < (ssize_t)length ? ENOSPC : errno;
    changes_retract(changes);
    errno = error;
    return false;
}

struct changes *changes_create(int directory)
{
    struct changes *changes = calloc(1, sizeof(*changes));
    char line[LINE_MAXIMUM];
    if (changes == NULL)
        return NULL;
    changes_remove(directory);
    changes->fd = openat(directory, CHANGES_FILE, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (changes->fd < 0) {
        free(changes);
        return NULL;
    }
    snprintf(line, sizeof(line), CHANGES_FORMAT " %" PRIu64 "\n", network_namespace());
    if (write_line(changes, line) && changes_sync(changes))
        return changes;
    int error = errno;
    changes_close(changes);
    changes_remove(directory);
    errno = error;
    return NULL;
}

/* Words are parted by blanks and lines by newlines, so neither may stand inside one. */
static bool writable(const struct change *change)
{
    for (const char *at = change->subject; *at != '\0'; at++) {
        if ((unsigned char)*at < 0x20 || (*at == ' ' && kinds[change->kind].words > 1))
            return false;
    }
    return change->subject[0] != '\0' && strpbrk(change->before, " \n") == NULL &&
           strpbrk(change->after, " \n") == NULL;
}

bool changes_append(struct changes *changes, const struct change *change)
{
    char line[LINE_MAXIMUM];
    int words = kinds[change->kind].words;
    if (!writable(change)) {
        errno = EINVAL;
        return false;
    }
    snprintf(line, sizeof(line), "%s %s%s%s%s%s\n", kinds[change->kind].name, change->subject,
             words > 1 ? " " : "", words > 1 ? change->before : "", words > 2 ? " " : "",
             words > 2 ? change->after : "");
    if (!write_line(changes, line))
        return false;
    if (change->kind == CHANGE_PROXY || changes_sync(changes))
        return true;
    int error = errno;
    changes_retract(changes);
    errno = error;
    return false;
}

bool changes_sync(struct changes *changes)
{
    return fsync(changes->fd) == 0;
}

void changes_retract(struct changes *changes)
{
    int ignored = ftruncate(changes->fd, changes->last);
    (void)ignored; /* undoing a change that was never made is harmless */
}

void changes_close(struct changes *changes)
{
    if (changes == NULL)
        return;
    close(changes->fd);
    free(changes);
}

void changes_remove(int directory)
{
    unlinkat(directory, CHANGES_FILE, 0);
}

static bool copy_word(char *to, size_t size, const char *word)
{
    if (word == NULL || *word == '\0' || strlen(word) >= size)
        return false;
    memcpy(to, word, strlen(word) + 1);
    return true;
}

static bool parse_words(char *rest, int words, struct change *change)
{
    char *at = rest;
    if (words == 1)
        return copy_word(change->subject, sizeof(change->subject), rest);
    if (!copy_word(change->subject, sizeof(change->subject), strsep(&at, " ")) ||
        !copy_word(change->before, sizeof(change->before), strsep(&at, " ")))
        return false;
    if (words == 3 && !copy_word(change->after, sizeof(change->after), strsep(&at, " ")))
        return false;
    return at == NULL;
}

static bool plausible(const struct change *change)
{
    switch (change->kind) {
    case CHANGE_SYSCTL:
        return sysctl_path_valid(change->subject);
    case CHANGE_DIRECTORY:
    case CHANGE_SOCKET:
        return change->subject[0] == '/';
    default:
        return true;
    }
}

static bool parse_line(char *line, struct change *change)
{
    memset(change, 0, sizeof(*change));
    char *rest = strchr(line, ' ');
    if (rest == NULL)
        return false;
    *rest++ = '\0';
    for (int kind = 0; kind < CHANGE_KINDS; kind++) {
        if (strcmp(line, kinds[kind].name) == 0) {
            change->kind = (enum change_kind)kind;
            return parse_words(rest, kinds[kind].words, change) && plausible(change);
        }
    }
    return false;
}

static bool header_is_ours(const char *line)
{
    char ours[LINE_MAXIMUM];
    snprintf(ours, sizeof(ours), CHANGES_FORMAT " %" PRIu64, network_namespace());
    return strcmp(line, ours) == 0;
}

/* Room for one more; grows by doubling. */
static struct change *list_room(struct change_list *list)
{
    if ((list->count & (list->count - 1)) == 0) {
        size_t room = list->count == 0 ? 1 : list->count * 2;
        struct change *items = realloc(list->items, room * sizeof(*items));
        if (items == NULL)
            return NULL;
        list->items = items;
    }
    return &list->items[list->count];
}

static int parse_text(char *text, struct change_list *list)
{
    char *line = text, *end = strchr(line, '\n');
    list->foreign = end == NULL;
    for (bool first = true; end != NULL; line = end + 1, end = strchr(line, '\n'), first = false) {
        *end = '\0';
        if (first) {
            list->foreign = !header_is_ours(line);
            continue;
        }
        struct change *change = list_room(list);
        if (change == NULL)
            return ENOMEM;
        if (parse_line(line, change))
            list->count++;
        else
            list->unreadable++;
    }
    return 0;
}

int changes_read(int directory, struct change_list *list)
{
    struct stat status;
    memset(list, 0, sizeof(*list));
    int fd = openat(directory, CHANGES_FILE, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : errno;
    list->present = true;
    if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode) || status.st_size > LIST_MAXIMUM) {
        close(fd);
        return EINVAL;
    }
    char *text = calloc(1, (size_t)status.st_size + 1);
    ssize_t length = text == NULL ? -1 : read(fd, text, (size_t)status.st_size);
    int error = text == NULL ? ENOMEM : length < 0 ? errno : parse_text(text, list);
    free(text);
    close(fd);
    return error;
}

void changes_free(struct change_list *list)
{
    free(list->items);
    memset(list, 0, sizeof(*list));
}
