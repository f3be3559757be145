/* SPDX-License-Identifier: BSD-2-Clause */
#include "test/bpf/shared_table.h"

#include <stdio.h>
#include <string.h>

#include "engine/layout.h"

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

static const char *map_actors(struct shared *shared)
{
    struct actors *actors = object_map_memory(shared->object, ".data.actors");
    if (actors == NULL)
        return "the actors' map cannot be mapped into memory";
    shared->calls = actors->calls;
    shared->now = &actors->now;
    shared->data = actors;
    return NULL;
}

const char *shared_open(struct shared *shared, const struct shared_options *options)
{
    static char error[256];
    const struct object_options object = {
        .path = options->object, .programs = options->programs, .geometry = options->geometry};
    memset(shared, 0, sizeof(*shared));
    set_up(shared, &options->geometry, options->ports);
    shared->object = object_open(&object, error, sizeof(error));
    if (shared->object == NULL)
        return error;
    const char *problem = map_actors(shared);
    if (problem == NULL) {
        shared->table = table_format(object_memory(shared->object), &options->geometry, 7);
        if (shared->table == NULL)
            problem = "no memory for the table";
        else if (object_constants(shared->object, shared->table) != 0)
            problem = "the table's constants cannot be written";
    }
    if (problem != NULL)
        shared_close(shared);
    return problem;
}

void shared_close(struct shared *shared)
{
    table_destroy(shared->table);
    object_close(shared->object);
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
    return object_program(shared->object, name);
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
