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

#include "control/own_ports.h"
#include "control/sysctl.h"

#define CHANGES_NEW    "changes.new"
#define CHANGES_FORMAT "isthmus changes 1"

enum {
    LINE_MAXIMUM = 256,
    /* Bytes; twice as many routes as siit may have take less, see setup_siit.c: a reload has old and new. */
    LIST_MAXIMUM = 64 << 20,
};

struct changes {
    int directory;
    int fd;
    off_t last, end;         /* where the last line starts and ends */
    struct change_list left; /* by an earlier run; the file starts with it */
    bool *wanted;            /* of each item there: it was appended again */
    size_t *order;           /* numbers of the items there, sorted */
};

/* How many words follow the name; a single one is the rest of the line, so that paths may hold blanks. */
static const struct {
    const char *name;
    int words;
} lines[CHANGE_KINDS] = {
    [CHANGE_SYSCTL] = {"sysctl", 3},       [CHANGE_DEVICE] = {"device", 1},
    [CHANGE_ROUTE] = {"route", 2},         [CHANGE_PROXY] = {"proxy", 2},
    [CHANGE_DIRECTORY] = {"directory", 1}, [CHANGE_SOCKET] = {"socket", 1},
    [CHANGE_PINS] = {"pins", 2},           [CHANGE_INGRESS] = {"ingress", 2},
    [CHANGE_FEATURE] = {"feature", 3},     [CHANGE_RESERVED] = {"reserved", 1},
};

static uint64_t network_namespace(void)
{
    struct stat status;
    return stat("/proc/self/ns/net", &status) == 0 ? (uint64_t)status.st_ino : 0;
}

static bool write_line(struct changes *changes, const char *line)
{
    size_t length = strlen(line);
    changes->last = changes->end;
    ssize_t written = pwrite(changes->fd, line, length, changes->last);
    if (written == (ssize_t)length) {
        changes->end += written;
        return true;
    }
    int error = written >= 0 && written < (ssize_t)length ? ENOSPC : errno;
    changes_retract(changes);
    errno = error;
    return false;
}

/* Words are parted by blanks and lines by newlines, so neither may stand inside one. */
static bool writable(const struct change *change)
{
    for (const char *at = change->subject; *at != '\0'; at++) {
        if ((unsigned char)*at < 0x20 || (*at == ' ' && lines[change->kind].words > 1))
            return false;
    }
    return change->subject[0] != '\0' && strpbrk(change->before, " \n") == NULL &&
           strpbrk(change->after, " \n") == NULL;
}

static bool write_change(struct changes *changes, const struct change *change)
{
    char line[LINE_MAXIMUM];
    int words = lines[change->kind].words;
    snprintf(line, sizeof(line), "%s %s%s%s%s%s\n", lines[change->kind].name, change->subject,
             words > 1 ? " " : "", words > 1 ? change->before : "", words > 2 ? " " : "",
             words > 2 ? change->after : "");
    return write_line(changes, line);
}

static bool is_unwanted(const struct changes *changes, unsigned kinds, size_t item)
{
    return (kinds >> changes->left.items[item].kind & 1) != 0 && !changes->wanted[item];
}

/* Puts a file with these items, but for those of some kinds that are unwanted, in place of the one there is.
 */
static bool replace_file(struct changes *changes, const struct change_list *list, unsigned forget)
{
    struct changes new = {.fd = -1};
    char line[LINE_MAXIMUM];
    unlinkat(changes->directory, CHANGES_NEW, 0);
    new.fd =
        openat(changes->directory, CHANGES_NEW, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    snprintf(line, sizeof(line), CHANGES_FORMAT " %" PRIu64 "\n", network_namespace());
    bool done = new.fd >= 0 && write_line(&new, line);
    for (size_t i = 0; i < list->count && done; i++) {
        if (i >= changes->left.count || !is_unwanted(changes, forget, i))
            done = write_change(&new, &list->items[i]);
    }
    if (done && changes_sync(&new) &&
        renameat(changes->directory, CHANGES_NEW, changes->directory, CHANGES_FILE) == 0) {
        if (changes->fd >= 0)
            close(changes->fd);
        changes->fd = new.fd;
        changes->last = changes->end = new.end;
        return true;
    }
    int error = errno;
    if (new.fd >= 0)
        close(new.fd);
    unlinkat(changes->directory, CHANGES_NEW, 0);
    errno = error;
    return false;
}

/* 0 for two that are the same change; of settings the values do not matter. */
static int same_change_order(const struct change *a, const struct change *b)
{
    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;
    int order = strcmp(a->subject, b->subject);
    bool before_counts = a->kind == CHANGE_ROUTE || a->kind == CHANGE_PROXY || a->kind == CHANGE_FEATURE;
    return order != 0 || !before_counts ? order : strcmp(a->before, b->before);
}

static int item_order(const void *a, const void *b, void *context)
{
    const struct change *items = context;
    return same_change_order(&items[*(const size_t *)a], &items[*(const size_t *)b]);
}

static bool sort_left(struct changes *changes)
{
    size_t count = changes->left.count;
    changes->order = calloc(count + 1, sizeof(*changes->order));
    for (size_t i = 0; changes->order != NULL && i < count; i++)
        changes->order[i] = i;
    if (changes->order != NULL)
        qsort_r(changes->order, count, sizeof(*changes->order), item_order, changes->left.items);
    return changes->order != NULL;
}

struct changes *changes_continue(int directory, struct change_list *left)
{
    struct changes *changes = calloc(1, sizeof(*changes));
    if (changes == NULL)
        return NULL;
    *changes = (struct changes){.directory = directory, .fd = -1, .left = *left};
    memset(left, 0, sizeof(*left));
    changes->wanted = calloc(changes->left.count + 1, sizeof(*changes->wanted));
    if (changes->wanted != NULL && sort_left(changes) && replace_file(changes, &changes->left, 0))
        return changes;
    int error = errno;
    changes_close(changes);
    errno = error;
    return NULL;
}

struct changes *changes_create(int directory)
{
    struct change_list none = {0};
    return changes_continue(directory, &none);
}

const struct change_list *changes_left(const struct changes *changes)
{
    return &changes->left;
}

int changes_listed(const struct changes *changes, struct change_list *list)
{
    return changes_read(changes->directory, list);
}

/* Is it on the list that was left? Then it is wanted. */
static bool find_left(struct changes *changes, const struct change *change)
{
    size_t low = 0, high = changes->left.count;
    while (low < high) {
        size_t middle = low + (high - low) / 2, at = changes->order[middle];
        int order = same_change_order(change, &changes->left.items[at]);
        if (order == 0) {
            changes->wanted[at] = true;
            return true;
        }
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return false;
}

void changes_want(struct changes *changes, const struct change *change)
{
    (void)find_left(changes, change);
}

bool changes_append_unsynced(struct changes *changes, const struct change *change)
{
    if (!writable(change)) {
        errno = EINVAL;
        return false;
    }
    if (find_left(changes, change)) {
        changes->last = changes->end; /* there is nothing to take back */
        return true;
    }
    return write_change(changes, change);
}

bool changes_append(struct changes *changes, const struct change *change)
{
    if (!changes_append_unsynced(changes, change))
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
    changes->end = changes->last;
    (void)ignored; /* undoing a change that was never made is harmless */
}

void changes_close(struct changes *changes)
{
    if (changes == NULL)
        return;
    if (changes->fd >= 0)
        close(changes->fd);
    changes_free(&changes->left);
    free(changes->wanted);
    free(changes->order);
    free(changes);
}

void changes_remove(int directory)
{
    unlinkat(directory, CHANGES_NEW, 0);
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
    uint32_t low, high;
    switch (change->kind) {
    case CHANGE_SYSCTL:
        return sysctl_path_valid(change->subject);
    case CHANGE_RESERVED:
        return port_range_read(change->subject, &low, &high);
    case CHANGE_DIRECTORY:
    case CHANGE_SOCKET:
    case CHANGE_PINS:
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
        if (strcmp(line, lines[kind].name) == 0) {
            change->kind = (enum change_kind)kind;
            return parse_words(rest, lines[kind].words, change) && plausible(change);
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

bool changes_unwanted(const struct changes *changes, unsigned kinds, struct change_list *unwanted)
{
    memset(unwanted, 0, sizeof(*unwanted));
    for (size_t i = 0; i < changes->left.count; i++) {
        bool found = is_unwanted(changes, kinds, i);
        struct change *change = found ? list_room(unwanted) : NULL;
        if (change != NULL)
            unwanted->items[unwanted->count++] = changes->left.items[i];
        else if (found) {
            changes_free(unwanted);
            return false;
        }
    }
    return true;
}

bool changes_forget_unwanted(struct changes *changes, unsigned kinds)
{
    struct change_list list;
    int error = changes_read(changes->directory, &list);
    bool done = error == 0 && replace_file(changes, &list, kinds);
    if (error != 0)
        errno = error;
    changes_free(&list);
    return done;
}

bool changes_added(const struct changes *changes, struct change_list *added)
{
    size_t left = changes->left.count;
    int error = changes_read(changes->directory, added);
    if (error != 0 || added->count < left) {
        changes_free(added);
        errno = error != 0 ? error : EINVAL;
        return false;
    }
    added->count -= left;
    if (added->count > 0)
        memmove(added->items, added->items + left, added->count * sizeof(*added->items));
    return true;
}

bool changes_forget_added(struct changes *changes)
{
    return replace_file(changes, &changes->left, 0);
}
