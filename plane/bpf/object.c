/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Opening, sizing, loading and mapping. The maps of the table are known by name; whatever else is mapped is
 * asked for by name. libbpf writes no messages of its own: what went wrong is said in one sentence.
 */
#include "plane/bpf/object.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "plane/bpf/shared.h"

static const char *const segment_maps[TABLE_SEGMENTS] = {
    [SEGMENT_HEADER] = "header",       [SEGMENT_LANES] = "lanes",
    [SEGMENT_RECORDS] = "records",     [SEGMENT_TRAFFIC] = "traffic",
    [SEGMENT_SESSION6] = "session6",   [SEGMENT_SESSION4] = "session4",
    [SEGMENT_BINDINGS] = "bindings",   [SEGMENT_SUBSCRIBERS] = "subscribers",
    [SEGMENT_PORTS] = "ports",         [SEGMENT_OWNERS] = "owners",
    [SEGMENT_HALF_OPEN] = "half_open",
};

enum {
    OTHER_MAPPINGS = 16, /* by object_map_memory */
};

struct mapping {
    const struct bpf_map *map;
    void *memory;
    size_t bytes;
};

struct object {
    struct bpf_object *object;
    void *segments[TABLE_SEGMENTS];
    struct mapping mapping[TABLE_SEGMENTS + OTHER_MAPPINGS];
    unsigned mappings;
};

static int keep_quiet(enum libbpf_print_level level, const char *format, va_list arguments)
{
    (void)level;
    (void)format;
    (void)arguments;
    return 0;
}

static const char *why_not_loaded(int error)
{
    switch (error) {
    case EPERM:
    case EACCES:
        return "may not load BPF programs; run as root or with CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN";
    case ENOMEM:
    case E2BIG:
        return "the kernel has no memory for the session table; lower limits.sessions";
    default:
        return "the kernel does not take the BPF programs; Linux 5.15 or later is needed";
    }
}

static bool is_wanted(const char *const *programs, const char *name)
{
    if (programs == NULL)
        return true;
    for (; *programs != NULL; programs++)
        if (strcmp(*programs, name) == 0)
            return true;
    return false;
}

const char *object_segment(unsigned segment)
{
    return segment_maps[segment];
}

static struct bpf_map *find_map(const struct object *object, const char *name)
{
    return bpf_object__find_map_by_name(object->object, name);
}

uint32_t object_processors(void)
{
    FILE *file = fopen("/sys/devices/system/cpu/possible", "re");
    long configured = sysconf(_SC_NPROCESSORS_CONF);
    uint32_t count = configured > 0 ? (uint32_t)configured : 1, last = 0;
    char ranges[4096] = "", *end = ranges; /* such as 0,2-5 */
    if (file != NULL && fgets(ranges, sizeof(ranges), file) != NULL)
        for (const char *at = ranges; *at >= '0' && *at <= '9'; at = *end != '\0' ? end + 1 : end)
            last = (uint32_t)strtoul(at, &end, 10);
    if (file != NULL)
        (void)fclose(file);
    return last >= count ? last + 1 : count;
}

/* There need not be such a map. */
static bool size_map(const struct object *object, const char *name, uint32_t count)
{
    struct bpf_map *map = find_map(object, name);
    return map == NULL || bpf_map__set_max_entries(map, count) == 0;
}

/* A segment that a table of this geometry does not have is a map of one element all the same. */
static bool size_maps(const struct object *object, const struct object_options *options)
{
    uint32_t mappings = mappings_room(options->mappings);
    for (unsigned i = 0; i < TABLE_SEGMENTS; i++) {
        uint32_t count = (uint32_t)table_extent(&options->geometry, i).count;
        struct bpf_map *map = find_map(object, segment_maps[i]);
        if (map == NULL || bpf_map__set_max_entries(map, count > 0 ? count : 1) != 0 ||
            (options->segments != NULL && bpf_map__reuse_fd(map, options->segments[i]) != 0))
            return false;
    }
    return size_map(object, "processors", object_processors()) &&
           size_map(object, "known_ways", (uint32_t)sysconf(_SC_NPROCESSORS_ONLN) * KNOWN_WAYS) &&
           size_map(object, "mappings", SETTINGS_VERSIONS * mappings) &&
           size_map(object, "mapping_buckets",
                    SETTINGS_VERSIONS * MAPPING_DIRECTIONS * mappings_buckets(mappings));
}

static void *map_memory(struct object *object, const struct bpf_map *map)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t element = (bpf_map__value_size(map) + (size_t)7) / 8 * 8;
    size_t bytes = (element * bpf_map__max_entries(map) + page - 1) / page * page;
    for (unsigned i = 0; i < object->mappings; i++)
        if (object->mapping[i].map == map)
            return object->mapping[i].memory;
    if (object->mappings == TABLE_SEGMENTS + OTHER_MAPPINGS)
        return NULL;
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);
    if (memory == MAP_FAILED)
        return NULL;
    object->mapping[object->mappings++] = (struct mapping){map, memory, bytes};
    return memory;
}

static const char *load(struct object *object, const struct object_options *options)
{
    struct bpf_program *program;
    object->object = options->path != NULL ? bpf_object__open_file(options->path, NULL)
                                           : bpf_object__open_mem(options->image, options->image_size, NULL);
    if (object->object == NULL)
        return "the file of the BPF programs cannot be read; install isthmus anew";
    bpf_object__for_each_program(program, object->object)
        bpf_program__set_autoload(program, is_wanted(options->programs, bpf_program__name(program)));
    if (!size_maps(object, options))
        return "the file of the BPF programs is of another version; install isthmus anew";
    int error = bpf_object__load(object->object);
    if (error != 0)
        return why_not_loaded(-error);
    for (unsigned i = 0; i < TABLE_SEGMENTS; i++) {
        void *memory = map_memory(object, find_map(object, segment_maps[i]));
        if (memory == NULL)
            return "the session table in the kernel cannot be mapped into memory";
        object->segments[i] = table_extent(&options->geometry, i).count > 0 ? memory : NULL;
    }
    return NULL;
}

struct object *object_open(const struct object_options *options, char *error, size_t size)
{
    struct object *object = calloc(1, sizeof(*object));
    (void)libbpf_set_print(keep_quiet);
    const char *problem = object != NULL ? load(object, options) : "no memory for the BPF programs";
    if (problem == NULL)
        return object;
    snprintf(error, size, "%s", problem);
    object_close(object);
    return NULL;
}

void object_close(struct object *object)
{
    if (object == NULL)
        return;
    while (object->mappings-- > 0)
        munmap(object->mapping[object->mappings].memory, object->mapping[object->mappings].bytes);
    bpf_object__close(object->object);
    free(object);
}

void *const *object_memory(const struct object *object)
{
    return object->segments;
}

int object_constants(const struct object *object, const struct table *table)
{
    const struct bpf_map *map = find_map(object, ".data.table");
    uint32_t zero = 0;
    if (map == NULL || bpf_map__value_size(map) != sizeof(table->constants))
        return EINVAL;
    return bpf_map_update_elem(bpf_map__fd(map), &zero, &table->constants, BPF_ANY) == 0 ? 0 : errno;
}

int object_program(const struct object *object, const char *name)
{
    const struct bpf_program *program = bpf_object__find_program_by_name(object->object, name);
    return program != NULL ? bpf_program__fd(program) : -1;
}

static int pin(int descriptor, const char *directory, const char *name)
{
    char path[PATH_MAX];
    int length = snprintf(path, sizeof(path), "%s/%s", directory, name);
    if (length < 0 || length >= (int)sizeof(path))
        return ENAMETOOLONG;
    return bpf_obj_pin(descriptor, path) == 0 ? 0 : errno;
}

int object_pin(const struct object *object, const char *directory)
{
    struct bpf_program *program;
    const struct bpf_map *map;
    int error = pin(object_map(object, ".data.control"), directory, "control");
    bpf_object__for_each_map(map, object->object)
    {
        if (error == 0 && !bpf_map__is_internal(map))
            error = pin(bpf_map__fd(map), directory, bpf_map__name(map));
    }
    bpf_object__for_each_program(program, object->object)
    {
        if (error == 0 && bpf_program__fd(program) >= 0)
            error = pin(bpf_program__fd(program), directory, bpf_program__name(program));
    }
    return error;
}

int object_map(const struct object *object, const char *name)
{
    const struct bpf_map *map = find_map(object, name);
    return map != NULL ? bpf_map__fd(map) : -1;
}

void *object_map_memory(struct object *object, const char *name)
{
    const struct bpf_map *map = find_map(object, name);
    return map != NULL ? map_memory(object, map) : NULL;
}

struct object_array object_array(struct object *object, const char *name)
{
    const struct bpf_map *map = find_map(object, name);
    void *memory = map != NULL ? map_memory(object, map) : NULL;
    if (memory == NULL)
        return (struct object_array){.count = 0};
    return (struct object_array){.memory = memory,
                                 .element = (bpf_map__value_size(map) + (size_t)7) / 8 * 8,
                                 .count = bpf_map__max_entries(map)};
}

unsigned object_verified(const struct object *object)
{
    struct bpf_program *program;
    unsigned sum = 0;
    bpf_object__for_each_program(program, object->object)
    {
        struct bpf_prog_info info = {0};
        uint32_t length = sizeof(info);
        if (bpf_program__fd(program) >= 0 &&
            bpf_obj_get_info_by_fd(bpf_program__fd(program), &info, &length) == 0)
            sum += info.verified_insns;
    }
    return sum;
}
