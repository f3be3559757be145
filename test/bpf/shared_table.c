/* SPDX-License-Identifier: BSD-2-Clause */
#include "test/bpf/shared_table.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine/layout.h"

static const char *const maps[TABLE_SEGMENTS] = {
    [SEGMENT_HEADER] = "header",     [SEGMENT_LANES] = "lanes",
    [SEGMENT_RECORDS] = "records",   [SEGMENT_SESSION6] = "session6",
    [SEGMENT_SESSION4] = "session4", [SEGMENT_BINDINGS] = "bindings",
    [SEGMENT_PORTS] = "ports",       [SEGMENT_SUBSCRIBERS] = "subscribers",
    [SEGMENT_OWNERS] = "owners",     [SEGMENT_HALF_OPEN] = "half_open",
};

static int quiet(enum libbpf_print_level level, const char *format, va_list arguments)
{
    return level == LIBBPF_WARN ? vfprintf(stderr, format, arguments) : 0;
}

static size_t pages(size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return (bytes + page - 1) / page * page;
}

static void *map_memory(const struct bpf_map *map, size_t bytes)
{
    void *memory = mmap(NULL, pages(bytes), PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);
    return memory == MAP_FAILED ? NULL : memory;
}

static size_t segment_bytes(const struct geometry *geometry, unsigned segment)
{
    struct extent extent = table_extent(geometry, segment);
    return extent.element * extent.count;
}

static void set_up(struct shared *shared, const struct geometry *geometry, unsigned ports)
{
    struct nat64_settings *nat64 = &shared->settings.nat64[0];
    shared->geometry = *geometry;
    shared->range = (struct pool_range){.first = to_be32(0xc6336400u),
                                        .count = geometry->addresses,
                                        .low = 1024,
                                        .high = (uint16_t)(1023 + ports),
                                        .transports = 1u << TRANSPORT_UDP};
    shared->settings.nat64_count = 1;
    shared->settings.translation = (struct translation_settings){.tos = -1, .mtu6 = 1500, .mtu4 = 1500};
    nat64->prefix = (struct rfc6052_prefix){.address = {{0x20, 0x01, 0x0d, 0xb8, 0, 0x64}}, .length = 96};
    nat64->sessions = geometry->sessions;
    nat64->subscriber_prefix = 128;
    nat64->sessions_per_subscriber = LIMIT_SUBSCRIBER;
    nat64->pool = &shared->range;
    nat64->pool_count = 1;
    nat64->timeouts = (struct nat64_timeouts){
        .udp = 300, .icmp = 60, .tcp_established = 7440, .tcp_transitory = 240, .tcp_syn = 6};
}

static bool is_wanted(const char *const *programs, const char *name)
{
    for (; *programs != NULL; programs++)
        if (strcmp(*programs, name) == 0)
            return true;
    return false;
}

static const char *open_object(struct shared *shared, const struct shared_options *options)
{
    struct bpf_program *program;
    libbpf_set_print(quiet);
    shared->object = bpf_object__open_file(options->object, NULL);
    if (shared->object == NULL)
        return "the BPF object cannot be read; build it anew";
    bpf_object__for_each_program(program, shared->object)
        bpf_program__set_autoload(program, is_wanted(options->programs, bpf_program__name(program)));
    for (unsigned i = 0; i < TABLE_SEGMENTS; i++) {
        uint32_t count = (uint32_t)table_extent(&shared->geometry, i).count;
        struct bpf_map *map = maps[i] ? bpf_object__find_map_by_name(shared->object, maps[i]) : NULL;
        if (map != NULL && bpf_map__set_max_entries(map, count) != 0)
            return "a map's size cannot be set";
    }
    if (bpf_object__load(shared->object) == 0)
        return NULL;
    return errno == EPERM ? "may not load BPF programs; needs root" : "the kernel does not take the programs";
}

static const char *map_everything(struct shared *shared)
{
    for (unsigned i = 0; i < TABLE_SEGMENTS; i++) {
        struct bpf_map *map = maps[i] ? bpf_object__find_map_by_name(shared->object, maps[i]) : NULL;
        if (map != NULL && (shared->memory[i] = map_memory(map, segment_bytes(&shared->geometry, i))) == NULL)
            return "a map cannot be mapped into memory";
    }
    struct bpf_map *data = bpf_object__find_map_by_name(shared->object, ".data.actors");
    shared->data_size = data != NULL ? bpf_map__value_size(data) : 0;
    shared->data = data != NULL ? map_memory(data, shared->data_size) : NULL;
    if (shared->data == NULL)
        return "the actors' map cannot be mapped into memory";
    struct actors *actors = shared->data;
    shared->calls = actors->calls;
    shared->now = &actors->now;
    return NULL;
}

/* The programs want the constants of the table at hand. */
static const char *write_constants(struct shared *shared)
{
    struct bpf_map *map = bpf_object__find_map_by_name(shared->object, ".data.table");
    uint32_t zero = 0;
    if (map == NULL || bpf_map__value_size(map) != sizeof(shared->table->constants) ||
        bpf_map_update_elem(bpf_map__fd(map), &zero, &shared->table->constants, BPF_ANY) != 0)
        return "the table's constants cannot be written";
    return NULL;
}

const char *shared_open(struct shared *shared, const struct shared_options *options)
{
    memset(shared, 0, sizeof(*shared));
    set_up(shared, &options->geometry, options->ports);
    const char *problem = open_object(shared, options);
    if (problem == NULL)
        problem = map_everything(shared);
    if (problem == NULL) {
        shared->table = table_format(shared->memory, &options->geometry, 7);
        problem = shared->table == NULL ? "no memory for the table" : write_constants(shared);
    }
    if (problem != NULL)
        shared_close(shared);
    return problem;
}

void shared_close(struct shared *shared)
{
    table_destroy(shared->table);
    for (unsigned i = 0; i < TABLE_SEGMENTS; i++)
        if (shared->memory[i] != NULL)
            munmap(shared->memory[i], pages(segment_bytes(&shared->geometry, i)));
    if (shared->data != NULL)
        munmap(shared->data, pages(shared->data_size));
    bpf_object__close(shared->object);
    memset(shared, 0, sizeof(*shared));
}

struct engine *shared_recover(struct shared *shared, struct engine_continued *continued)
{
    char error[256] = "";
    struct engine_options options = {.table = shared->table,
                                     .settings = &shared->settings,
                                     .workers = shared->geometry.workers,
                                     .seed = 3,
                                     .now = *shared->now * 1000000000ull};
    struct engine *engine = engine_create(&options, error, sizeof(error));
    if (engine == NULL)
        fprintf(stderr, "%s\n", error);
    else
        engine_continued(engine, continued);
    return engine;
}

int shared_program(const struct shared *shared, const char *name)
{
    const struct bpf_program *program = bpf_object__find_program_by_name(shared->object, name);
    return program != NULL ? bpf_program__fd(program) : -1;
}

double shared_run(int program, uint32_t number, uint32_t repeat)
{
    uint8_t packet[64] = {0};
    struct __sk_buff context = {.mark = number};
    LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = packet, .data_size_in = sizeof(packet),
                .ctx_in = &context, .ctx_size_in = sizeof(context), .repeat = (int)repeat);
    return bpf_prog_test_run_opts(program, &options) == 0 ? (double)options.duration : -1;
}

uint32_t shared_call(int program, const struct shared *shared, uint32_t number)
{
    LIBBPF_OPTS(bpf_test_run_opts, options, .ctx_in = &number, .ctx_size_in = sizeof(number));
    return bpf_prog_test_run_opts(program, &options) == 0 ? shared->calls[number].result : UINT32_MAX;
}
