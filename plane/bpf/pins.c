/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A map that is found is put to the same questions as a file that is found: is it of the kind and size that
 * the header of its table says? Its contents are for engine_create to doubt.
 */
#include "plane/bpf/pins.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/rules.h"

#define CURRENT "current"
#define NEXT    "next"
#define LAST    "last"

enum {
    SESSIONS_LEAST = 64,
    SESSIONS_MOST = 1 << 28,
};

/* --- sets ----------------------------------------------------------------------------------------- */

static bool path_of(char path[static PATH_MAX], const char *pins, const char *set, const char *name)
{
    int length = snprintf(path, PATH_MAX, "%s/%s%s%s", pins, set, name[0] != '\0' ? "/" : "", name);
    return length > 0 && length < PATH_MAX;
}

static bool set_exists(const char *pins, const char *set)
{
    char path[PATH_MAX];
    struct stat status;
    return path_of(path, pins, set, "") && stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

static int rename_set(const char *pins, const char *from, const char *to)
{
    char old[PATH_MAX], new[PATH_MAX];
    if (!path_of(old, pins, from, "") || !path_of(new, pins, to, ""))
        return ENAMETOOLONG;
    return rename(old, new) == 0 ? 0 : errno;
}

/* All that is in a set is a daemon's, this version's or another's. True if it was there. */
static bool remove_set(const char *pins, const char *set)
{
    char path[PATH_MAX];
    const struct dirent *entry;
    DIR *directory = path_of(path, pins, set, "") ? opendir(path) : NULL;
    if (directory == NULL)
        return false;
    while ((entry = readdir(directory)) != NULL)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            (void)unlinkat(dirfd(directory), entry->d_name, 0);
    closedir(directory);
    return rmdir(path) == 0;
}

/* Nobody else can have put anything into the directory. */
static bool is_ours(const char *pins)
{
    struct stat status;
    return lstat(pins, &status) == 0 && S_ISDIR(status.st_mode) && status.st_uid == geteuid() &&
           (status.st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

bool pins_settle(const char *pins)
{
    if (!is_ours(pins))
        return false;
    if (!set_exists(pins, CURRENT) && set_exists(pins, LAST))
        (void)rename_set(pins, set_exists(pins, NEXT) ? NEXT : LAST, CURRENT);
    (void)remove_set(pins, NEXT);
    (void)remove_set(pins, LAST);
    return set_exists(pins, CURRENT);
}

int pins_make(const char *pins, const struct object *object)
{
    char path[PATH_MAX];
    (void)remove_set(pins, NEXT);
    if (!path_of(path, pins, NEXT, ""))
        return ENAMETOOLONG;
    if (mkdir(pins, 0700) != 0 && (errno != EEXIST || !is_ours(pins)))
        return errno == EEXIST ? EPERM : errno;
    if (mkdir(path, 0700) != 0)
        return errno;
    int error = object_pin(object, path);
    if (error != 0)
        (void)remove_set(pins, NEXT);
    return error;
}

int pins_replace(const char *pins)
{
    int error = set_exists(pins, CURRENT) ? rename_set(pins, CURRENT, LAST) : 0;
    if (error != 0)
        return error;
    error = rename_set(pins, NEXT, CURRENT);
    if (error == 0)
        (void)remove_set(pins, LAST);
    return error;
}

bool pins_remove(const char *pins)
{
    if (!is_ours(pins))
        return false;
    bool current = remove_set(pins, CURRENT), next = remove_set(pins, NEXT), last = remove_set(pins, LAST);
    (void)rmdir(pins);
    return current || next || last;
}

/* --- what is in them ------------------------------------------------------------------------------ */

static int open_pin(const char *pins, const char *name)
{
    char path[PATH_MAX];
    return path_of(path, pins, CURRENT, name) ? bpf_obj_get(path) : -1;
}

/* Opens an array of elements of this size that can be mapped. Returns its descriptor, or -1. */
static int open_array(const char *pins, const char *name, size_t element, uint32_t *count)
{
    struct bpf_map_info info = {0};
    uint32_t length = sizeof(info);
    int map = open_pin(pins, name);
    if (map >= 0 && bpf_obj_get_info_by_fd(map, &info, &length) == 0 && info.type == BPF_MAP_TYPE_ARRAY &&
        info.value_size == element && (info.map_flags & BPF_F_MMAPABLE) != 0) {
        *count = info.max_entries;
        return map;
    }
    if (map >= 0)
        close(map);
    return -1;
}

static size_t whole_pages(size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return (bytes + page - 1) / page * page;
}

static bool geometry_is_possible(const struct geometry *geometry)
{
    return geometry->sessions >= SESSIONS_LEAST && geometry->sessions <= SESSIONS_MOST &&
           geometry->addresses >= 1 && geometry->addresses <= ADDRESSES_MAXIMUM && geometry->workers >= 1 &&
           geometry->workers <= WORKERS_MAXIMUM && geometry->counters <= 1;
}

/* The header is copied, since what is in it may change. NULL, or what is wrong with it. */
static const char *read_header(struct pinned_table *table, const char *pins)
{
    uint32_t count = 0;
    size_t bytes = whole_pages(sizeof(struct table_header));
    int map = open_array(pins, object_segment(SEGMENT_HEADER), sizeof(struct table_header), &count);
    if (map < 0)
        return "the pins hold no session table of this version of isthmus";
    table->map[SEGMENT_HEADER] = map;
    const struct table_header *header = mmap(NULL, bytes, PROT_READ, MAP_SHARED, map, 0);
    if (header == MAP_FAILED)
        return "the pinned session table cannot be mapped into memory";
    bool formatted = atomic_load64(&header->magic) == TABLE_MAGIC;
    table->layout = header->layout;
    table->geometry = header->geometry;
    (void)munmap((void *)(uintptr_t)header, bytes);
    if (!formatted)
        return "the pins hold a session table that was never finished";
    if (table->layout < TABLE_LAYOUT_OLDEST || table->layout > TABLE_LAYOUT)
        return "the pinned session table was written by another version of isthmus";
    return geometry_is_possible(&table->geometry) ? NULL : "the pinned session table is damaged";
}

size_t pinned_segment_bytes(const struct geometry *geometry, unsigned segment)
{
    struct extent extent = table_extent(geometry, segment);
    return whole_pages(extent.element * extent.count);
}

static bool open_segment(struct pinned_table *table, const char *pins, unsigned segment)
{
    struct extent extent = table_extent(&table->geometry, segment);
    uint32_t wanted = extent.count > 0 ? (uint32_t)extent.count : 1, count = 0;
    table->map[segment] = open_array(pins, object_segment(segment), extent.element, &count);
    table->bytes[segment] = pinned_segment_bytes(&table->geometry, segment);
    return table->map[segment] >= 0 && count == wanted;
}

const char *pinned_table_open(struct pinned_table *table, const char *pins)
{
    memset(table, 0, sizeof(*table));
    for (unsigned i = 0; i < TABLE_SEGMENTS; i++)
        table->map[i] = -1;
    const char *problem = read_header(table, pins);
    unsigned segments = table->layout == TABLE_LAYOUT ? TABLE_SEGMENTS : TABLE_SEGMENTS_OLDER;
    table->bytes[SEGMENT_HEADER] = whole_pages(sizeof(struct table_header));
    for (unsigned i = SEGMENT_HEADER + 1; i < segments && problem == NULL; i++)
        if (!open_segment(table, pins, i))
            problem = "the pinned session table is damaged: its maps are not as large as its header says";
    if (problem != NULL)
        pinned_table_close(table);
    return problem;
}

bool pinned_table_map(struct pinned_table *table)
{
    for (unsigned i = 0; i < TABLE_SEGMENTS; i++) {
        if (table->map[i] < 0 || table->bytes[i] == 0)
            continue;
        void *memory = mmap(NULL, table->bytes[i], PROT_READ, MAP_SHARED, table->map[i], 0);
        if (memory == MAP_FAILED)
            return false;
        table->memory[i] = memory;
    }
    return true;
}

void pinned_table_close(struct pinned_table *table)
{
    for (unsigned i = 0; i < TABLE_SEGMENTS; i++) {
        if (table->memory[i] != NULL)
            (void)munmap(table->memory[i], table->bytes[i]);
        if (table->map[i] >= 0)
            close(table->map[i]);
        table->memory[i] = NULL;
        table->map[i] = -1;
    }
}

void pinned_table_let_go(struct pinned_table *table)
{
    for (unsigned i = 0; i < TABLE_SEGMENTS; i++)
        table->memory[i] = NULL;
    pinned_table_close(table);
}

struct plane_control *pinned_control_open(const char *pins)
{
    uint32_t count = 0;
    int map = open_array(pins, "control", sizeof(struct plane_control), &count);
    if (map < 0)
        return NULL;
    struct plane_control *control =
        mmap(NULL, whole_pages(sizeof(*control)), PROT_READ | PROT_WRITE, MAP_SHARED, map, 0);
    close(map);
    if (control == MAP_FAILED)
        return NULL;
    if (control->layout == PLANE_LAYOUT)
        return control;
    pinned_control_close(control);
    return NULL;
}

void pinned_control_close(struct plane_control *control)
{
    if (control != NULL)
        (void)munmap(control, whole_pages(sizeof(*control)));
}
