/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The file: a page with the header below, then the segments, each on a page boundary; one of 2 MiB or more on
 * a boundary of 2 MiB, in the file and in memory, so that the kernel can use huge pages where its tmpfs is
 * set up for them. The gaps between stay holes.
 *
 * A new file is written under another name. It is marked complete last, and then renamed over the old one,
 * which is atomic: under the name there is a whole table at any instant. What is found under the other
 * name was not finished, and goes.
 *
 * The daemon that mapped the file had no rights and talked to the network, so nothing in the file is
 * believed. The header is read, not mapped, and every number in it is checked before it is used; what is in
 * the segments is for table_attach() and engine_create() to judge.
 *
 * A tmpfs gives memory when it is first written, and if it has none the writer dies of SIGBUS. So all of it
 * is taken at the start.
 */
#include "control/table_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include <linux/magic.h>

#include "control/log.h"
#include "control/progress.h"
#include "engine/limits.h"

#define TABLE_NAME "table"
#define NEW_NAME   "table.new"
#define FILE_MAGIC UINT64_C(0x656c6261746d7369) /* "ismtable" */
#define HUGE_PAGE  (UINT64_C(2) << 20)
#define MEBIBYTE   (UINT64_C(1) << 20)
#define STEP       (64 * MEBIBYTE) /* reserved at a time, between two looks at the clock */

/* In the kernel since 5.14. */
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ  22
#define MADV_POPULATE_WRITE 23
#endif
/* In the kernel since 6.1. */
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

enum {
    FILE_FORMAT = 1,       /* of the header below */
    SESSIONS_MINIMUM = 64, /* as engine/table.h has it */
    SESSIONS_MAXIMUM = 1 << 28,
    ADDRESSES_MAXIMUM = 4096,
    BOOT_ID = 36,      /* characters */
    LEASE_TRIES = 100, /* at being alone with the file, for two seconds */
    HUGE_SECONDS = 2,  /* spent on huge pages at most, give or take one step */
    REASON = 160,
};

struct span {
    uint64_t offset, element, count;
};

struct file_header {
    uint64_t magic;
    uint32_t format;
    uint32_t layout;        /* TABLE_LAYOUT of the writer */
    uint32_t complete;      /* 1, written last */
    char boot[BOOT_ID + 4]; /* the boot in which it was written: the ticks in it are seconds since then */
    struct geometry geometry;
    struct span segment[TABLE_SEGMENTS];
};
_Static_assert(sizeof(struct file_header) == 80 + TABLE_SEGMENTS * sizeof(struct span), "no padding");
_Static_assert(sizeof(struct file_header) <= 4096, "the header fits into the smallest page");

/* A whole file in memory, the header included. */
struct mapping {
    uint8_t *start; /* on a boundary of 2 MiB */
    uint64_t size;
    bool writable;
};

struct table_file {
    int directory;
    int fd; /* of a new file, until it is kept; or -1 */
    struct table *table;
    struct table *previous;
    struct mapping mapping, previous_mapping;
    struct file_header header; /* of a new file */
};

static uint64_t page_size(void)
{
    return (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t round_up(uint64_t number, uint64_t boundary)
{
    return (number + boundary - 1) / boundary * boundary;
}

static uint64_t span_size(const struct span *span)
{
    return span->element * span->count;
}

/* Without the gaps. */
static uint64_t memory_needed(const struct file_header *header)
{
    uint64_t all = page_size();
    for (unsigned i = 0; i < TABLE_SEGMENTS; i++)
        all += round_up(span_size(&header->segment[i]), page_size());
    return all;
}

static bool boot_id(char id[static BOOT_ID])
{
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    bool done = fd >= 0 && read(fd, id, BOOT_ID) == BOOT_ID;
    if (fd >= 0)
        close(fd);
    return done;
}

/* Mapping */

static bool mapping_open(struct mapping *mapping, int fd, uint64_t size, bool writable)
{
    int protection = writable ? PROT_READ | PROT_WRITE : PROT_READ;
    size_t room = (size_t)(round_up(size, page_size()) + HUGE_PAGE);
    uint8_t *start = mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (start == MAP_FAILED)
        return false;
    uint8_t *aligned = (uint8_t *)round_up((uint64_t)(uintptr_t)start, HUGE_PAGE);
    size_t mapped = (size_t)round_up(size, page_size());
    if (mmap(aligned, mapped, protection, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED) {
        int failure = errno;
        munmap(start, room);
        errno = failure;
        return false;
    }
    if (aligned > start)
        munmap(start, (size_t)(aligned - start));
    munmap(aligned + mapped, room - mapped - (size_t)(aligned - start));
    (void)madvise(aligned, mapped, MADV_HUGEPAGE);
    *mapping = (struct mapping){.start = aligned, .size = mapped, .writable = writable};
    return true;
}

static void mapping_close(struct mapping *mapping)
{
    if (mapping->start != NULL)
        munmap(mapping->start, mapping->size);
    *mapping = (struct mapping){0};
}

static void segments_of(const struct mapping *mapping, const struct file_header *header,
                        void *memory[TABLE_SEGMENTS])
{
    for (unsigned i = 0; i < TABLE_SEGMENTS; i++)
        memory[i] = header->segment[i].count > 0 ? mapping->start + header->segment[i].offset : NULL;
}

/* Takes the memory of a part of the file. Returns 0 or an errno. */
static int reserve_part(const struct mapping *mapping, int fd, uint64_t from, uint64_t length)
{
    int advice = mapping->writable ? MADV_POPULATE_WRITE : MADV_POPULATE_READ;
    if (madvise(mapping->start + from, length, advice) == 0)
        return 0;
    if (errno == EFAULT)
        return ENOSPC; /* that is where a packet would have met SIGBUS */
    return errno == EINVAL ? posix_fallocate(fd, (off_t)from, (off_t)length) : errno;
}

/*
 * Has the kernel make huge pages for a part, which it does when told so even where a tmpfs gives none by
 * itself: a random access then costs no walk of page tables. One small page of each is written first,
 * because one that has none at all is not made huge. All of it is a wish.
 */
static void make_huge(const struct mapping *mapping, uint64_t from, uint64_t length)
{
    uint64_t end = (from + length) / HUGE_PAGE * HUGE_PAGE;
    uint64_t first = round_up(from, HUGE_PAGE);
    for (uint64_t at = first; at < end; at += HUGE_PAGE)
        if (madvise(mapping->start + at, page_size(), MADV_POPULATE_WRITE) != 0)
            return;
    if (first < end)
        (void)madvise(mapping->start + first, end - first, MADV_COLLAPSE);
}

static int reserve(const struct mapping *mapping, int fd, const struct file_header *header)
{
    time_t enough = time(NULL) + HUGE_SECONDS;
    struct progress progress = progress_begin("reserving memory for the session table");
    uint64_t all = memory_needed(header), done = 0;
    int error = 0;
    for (unsigned i = 0; i < TABLE_SEGMENTS; i++) {
        uint64_t length = round_up(span_size(&header->segment[i]), page_size());
        for (uint64_t at = 0; at < length && error == 0; at += STEP) {
            uint64_t part = length - at < STEP ? length - at : STEP;
            if (mapping->writable && time(NULL) < enough)
                make_huge(mapping, header->segment[i].offset + at, part);
            error = reserve_part(mapping, fd, header->segment[i].offset + at, part);
            done += part;
            progress_say(&progress, done, all);
        }
    }
    return error;
}

/* The file that is found */

__attribute__((format(printf, 2, 3))) static bool refuse(char reason[static REASON], const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reason, REASON, format, arguments);
    va_end(arguments);
    return false;
}

/* Does every segment lie in the file, on a page of its own, behind the one before? */
static bool segments_are_sound(const struct file_header *header, uint64_t size)
{
    uint64_t end = page_size();
    for (unsigned i = 0; i < TABLE_SEGMENTS; i++) {
        const struct span *span = &header->segment[i];
        if (span->count == 0)
            continue;
        if (span->element == 0 || span->count > size / span->element || span->offset % page_size() != 0 ||
            span->offset < end || span->offset > size || span_size(span) > size - span->offset)
            return false;
        end = round_up(span->offset + span_size(span), page_size());
    }
    return end <= size;
}

static bool geometry_is_possible(const struct geometry *geometry)
{
    return geometry->sessions >= SESSIONS_MINIMUM && geometry->sessions <= SESSIONS_MAXIMUM &&
           geometry->addresses >= 1 && geometry->addresses <= ADDRESSES_MAXIMUM && geometry->workers >= 1 &&
           geometry->workers <= WORKERS_MAXIMUM && geometry->counters <= 1;
}

/* Are the segments those of a table of that layout and geometry? The layouts that are known share their
 * sizes. */
static bool segments_fit(const struct file_header *header, char reason[static REASON])
{
    if (header->layout < TABLE_LAYOUT_OLDEST || header->layout > TABLE_LAYOUT)
        return refuse(reason, "it was written by another version of isthmus (layout %" PRIu32 ", this is %d)",
                      header->layout, TABLE_LAYOUT);
    for (unsigned i = 0; i < TABLE_SEGMENTS; i++) {
        struct extent extent = table_extent(&header->geometry, i);
        if (header->layout < TABLE_LAYOUT && i >= TABLE_SEGMENTS_OLDER)
            extent = (struct extent){0, 0};
        if (header->segment[i].element != extent.element || header->segment[i].count != extent.count)
            return refuse(reason, "it is damaged: segment %u has not the size that belongs to it", i);
    }
    return true;
}

static bool header_is_usable(const struct file_header *header, uint64_t size, char reason[static REASON])
{
    char boot[BOOT_ID];
    if (header->magic != FILE_MAGIC)
        return refuse(reason, "it is no session table");
    if (header->format != FILE_FORMAT)
        return refuse(reason, "it was written by another version of isthmus (format %" PRIu32 ", this is %d)",
                      header->format, FILE_FORMAT);
    if (header->complete != 1)
        return refuse(reason, "it was never finished");
    if (!boot_id(boot) || memcmp(header->boot, boot, BOOT_ID) != 0)
        return refuse(reason, "it is stale: the machine was started anew since");
    if (!geometry_is_possible(&header->geometry))
        return refuse(reason, "it is damaged: its header states an impossible size");
    if (!segments_fit(header, reason))
        return false;
    if (!segments_are_sound(header, size))
        return refuse(reason,
                      "it is damaged or cut short: its segments do not fit into its %" PRIu64 " bytes", size);
    return true;
}

static bool file_is_usable(int fd, struct file_header *header, uint64_t *size, char reason[static REASON])
{
    struct stat status;
    if (fstat(fd, &status) != 0)
        return refuse(reason, "it cannot be looked at: %s", strerror(errno));
    if (!S_ISREG(status.st_mode) || status.st_uid != geteuid() || (status.st_mode & 077) != 0)
        return refuse(reason, "it is no file of this user's alone");
    ssize_t length = pread(fd, header, sizeof(*header), 0);
    if (length < 0)
        return refuse(reason, "it cannot be read: %s", strerror(errno));
    if (length < (ssize_t)sizeof(*header))
        return refuse(reason, "it is cut short: it has no header");
    *size = (uint64_t)status.st_size;
    return header_is_usable(header, *size, reason);
}

/*
 * Has everybody who had the file mapped let go of it? What is judged in a moment must not change meanwhile. A
 * lease to write is given only to who is alone with the file; mappings count, descriptors closed or not.
 */
static bool nobody_else_has(int fd)
{
    struct timespec pause = {.tv_nsec = 20000000};
    for (unsigned tries = 0; tries < LEASE_TRIES; tries++, nanosleep(&pause, NULL)) {
        if (fcntl(fd, F_SETLEASE, F_WRLCK) == 0)
            return fcntl(fd, F_SETLEASE, F_UNLCK) == 0;
        if (errno != EAGAIN)
            return true; /* a file system that knows no leases */
    }
    return false;
}

/* The table in a file whose header is sound, or NULL. */
static struct table *attach(struct mapping *mapping, int fd, const struct file_header *header,
                            char reason[static REASON])
{
    void *memory[TABLE_SEGMENTS];
    int error = reserve(mapping, fd, header);
    if (error != 0) {
        refuse(reason, "its memory cannot be had: %s", strerror(error));
        return NULL;
    }
    segments_of(mapping, header, memory);
    return table_attach(memory, &header->geometry, reason, REASON);
}

/* A table of the layout and geometry wanted is used where it is, another one is only read. */
static bool take_up(struct table_file *file, int fd, const struct geometry *wanted,
                    char reason[static REASON])
{
    struct file_header header = {0};
    uint64_t size = 0;
    if (!file_is_usable(fd, &header, &size, reason))
        return false;
    if (!nobody_else_has(fd))
        return refuse(reason, "another process still uses it");
    bool in_place = header.layout == TABLE_LAYOUT && geometry_equal(&header.geometry, wanted);
    struct mapping *mapping = in_place ? &file->mapping : &file->previous_mapping;
    if (!mapping_open(mapping, fd, size, in_place))
        return refuse(reason, "it cannot be mapped: %s", strerror(errno));
    struct table *table = attach(mapping, fd, &header, reason);
    *(in_place ? &file->table : &file->previous) = table;
    return table != NULL;
}

static void look_for_old(struct table_file *file, const struct table_file_options *options)
{
    char reason[REASON];
    int fd = openat(options->directory, TABLE_NAME, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return;
    if (options->fresh)
        log_info("the session table of the last run is forgotten (--fresh)");
    else {
        if (fd < 0)
            refuse(reason, "it cannot be opened: %s", strerror(errno));
        else if (take_up(file, fd, &options->geometry, reason)) {
            close(fd);
            log_info("found the session table of the last run%s",
                     file->previous != NULL
                         ? ", of another size or version; a new one takes its sessions over"
                         : "");
            return;
        }
        log_warning("the session table of the last run is refused, and its sessions are lost: %s", reason);
        mapping_close(&file->mapping);
        mapping_close(&file->previous_mapping);
    }
    if (fd >= 0)
        close(fd);
    unlinkat(options->directory, TABLE_NAME, 0);
}

/* The new file */

/* Fills the header; returns the size of the file. */
static uint64_t lay_out(struct file_header *header, const struct geometry *geometry)
{
    uint64_t end = page_size();
    *header = (struct file_header){
        .magic = FILE_MAGIC, .format = FILE_FORMAT, .layout = TABLE_LAYOUT, .geometry = *geometry};
    for (unsigned i = 0; i < TABLE_SEGMENTS; i++) {
        struct extent extent = table_extent(geometry, i);
        struct span *span = &header->segment[i];
        *span = (struct span){.element = extent.element, .count = extent.count};
        span->offset = round_up(end, span_size(span) >= HUGE_PAGE ? HUGE_PAGE : page_size());
        if (span->count > 0)
            end = round_up(span->offset + span_size(span), page_size());
    }
    return end;
}

static uint64_t mebibytes(uint64_t size)
{
    return (size + MEBIBYTE - 1) / MEBIBYTE;
}

static void explain_no_room(const struct table_file *file, const struct table_file_options *options,
                            char *error, size_t size)
{
    struct statvfs room = {0};
    fstatvfs(options->directory, &room);
    snprintf(
        error, size,
        "a session table of %" PRIu64 " MiB finds no room in %s, where %" PRIu64
        " MiB are free; lower nat64.limits.sessions or nat64.limits.addresses, or enlarge that file system "
        "(mount -o remount,size=...)%s",
        mebibytes(memory_needed(&file->header)), options->path,
        (uint64_t)room.f_bavail * room.f_frsize / MEBIBYTE,
        file->previous != NULL ? "; or give up the sessions of the last run, whose table takes up room, too, "
                                 "until they are taken over (--fresh)"
                               : "");
}

/* Not tried where it cannot succeed: a full /run would be others' trouble. */
static int check_room(const struct table_file *file)
{
    struct statvfs room;
    if (fstatvfs(file->fd, &room) != 0)
        return errno;
    if (room.f_blocks == 0) /* a ramfs, or a tmpfs without a limit */
        return 0;
    return (uint64_t)room.f_bavail * room.f_frsize < memory_needed(&file->header) ? ENOSPC : 0;
}

/* The kernel writes what lies on a disk back to it now and then, and whoever writes there meanwhile waits. */
static void warn_of_disk(const struct table_file_options *options)
{
    struct statfs system;
    if (fstatfs(options->directory, &system) == 0 && system.f_type != TMPFS_MAGIC &&
        system.f_type != RAMFS_MAGIC)
        log_warning("%s lies on a disk, so packets may have to wait for it; mount a tmpfs on /run, or on "
                    "/run/isthmus",
                    options->path);
}

/* Returns 0 or an errno. */
static int build_new(struct table_file *file, const struct table_file_options *options)
{
    void *memory[TABLE_SEGMENTS];
    uint64_t size = lay_out(&file->header, &options->geometry);
    file->fd = openat(options->directory, NEW_NAME, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (file->fd < 0)
        return errno;
    int error = check_room(file);
    if (error != 0)
        return error;
    if (!boot_id(file->header.boot) || ftruncate(file->fd, (off_t)size) != 0 ||
        pwrite(file->fd, &file->header, sizeof(file->header), 0) != (ssize_t)sizeof(file->header) ||
        !mapping_open(&file->mapping, file->fd, size, true))
        return errno;
    error = reserve(&file->mapping, file->fd, &file->header);
    if (error != 0)
        return error;
    segments_of(&file->mapping, &file->header, memory);
    file->table = table_format(memory, &options->geometry, options->seed);
    return file->table != NULL ? 0 : ENOMEM;
}

struct table_file *table_file_open(const struct table_file_options *options, char *error, size_t size)
{
    struct table_file *file = calloc(1, sizeof(*file));
    if (file == NULL) {
        snprintf(error, size, "out of memory");
        return NULL;
    }
    file->directory = options->directory;
    file->fd = -1;
    warn_of_disk(options);
    unlinkat(options->directory, NEW_NAME, 0);
    look_for_old(file, options);
    if (file->table != NULL)
        return file;
    int problem = build_new(file, options);
    if (problem == 0) {
        log_info("made a session table of %" PRIu64 " MiB", mebibytes(memory_needed(&file->header)));
        return file;
    }
    if (problem == ENOSPC)
        explain_no_room(file, options, error, size);
    else
        snprintf(error, size, "cannot make the session table %s/" NEW_NAME ": %s", options->path,
                 strerror(problem));
    table_file_close(file);
    return NULL;
}

struct table_file *table_file_open_left(int directory, const char *path)
{
    const struct table_file_options options = {.directory = directory, .path = path}; /* fits none */
    struct table_file *file = calloc(1, sizeof(*file));
    if (file == NULL)
        return NULL;
    file->directory = directory;
    file->fd = -1;
    look_for_old(file, &options);
    if (file->previous != NULL)
        return file;
    table_file_close(file);
    return NULL;
}

struct table *table_file_table(const struct table_file *file)
{
    return file->table;
}

const struct table *table_file_previous(const struct table_file *file)
{
    return file->previous;
}

bool table_file_keep(struct table_file *file, char *error, size_t size)
{
    if (file->fd < 0)
        return true;
    file->header.complete = 1;
    if (pwrite(file->fd, &file->header, sizeof(file->header), 0) != (ssize_t)sizeof(file->header) ||
        renameat(file->directory, NEW_NAME, file->directory, TABLE_NAME) != 0) {
        snprintf(error, size, "cannot put the new session table in place: %s", strerror(errno));
        return false;
    }
    close(file->fd);
    file->fd = -1;
    table_destroy(file->previous);
    file->previous = NULL;
    mapping_close(&file->previous_mapping);
    return true;
}

void table_file_close(struct table_file *file)
{
    if (file == NULL)
        return;
    table_destroy(file->table);
    table_destroy(file->previous);
    mapping_close(&file->mapping);
    mapping_close(&file->previous_mapping);
    if (file->fd >= 0) {
        close(file->fd);
        unlinkat(file->directory, NEW_NAME, 0);
    }
    free(file);
}

bool table_file_remove(int directory)
{
    unlinkat(directory, NEW_NAME, 0);
    return unlinkat(directory, TABLE_NAME, 0) == 0;
}
