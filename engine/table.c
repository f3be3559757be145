/* SPDX-License-Identifier: BSD-2-Clause */
#include "engine/layout.h"
#include "engine/memory.h"
#include "engine/random.h"

struct extent {
    size_t element;
    size_t count;
};

static uint32_t bucket_count(const struct geometry *geometry)
{
    uint32_t buckets = (geometry->sessions + BUCKET_LOAD - 1) / BUCKET_LOAD;
    return buckets < PROBE_LIMIT ? PROBE_LIMIT : buckets;
}

/* A quarter more than sessions, for bindings that outlive their first session and for static ones. */
static uint32_t record_count(const struct geometry *geometry)
{
    return geometry->sessions + geometry->sessions / 4;
}

static struct extent extent_of(const struct geometry *geometry, enum segment segment)
{
    size_t maps = (size_t)geometry->addresses * TRANSPORT_COUNT;
    switch (segment) {
    case SEGMENT_HEADER:
        return (struct extent){sizeof(struct table_header), 1};
    case SEGMENT_LANES:
        return (struct extent){sizeof(struct lane), geometry->workers + 1};
    case SEGMENT_RECORDS:
        return (struct extent){sizeof(struct record), record_count(geometry)};
    case SEGMENT_SESSION6:
    case SEGMENT_SESSION4:
    case SEGMENT_BINDINGS:
        return (struct extent){sizeof(struct bucket), bucket_count(geometry)};
    case SEGMENT_PORTS:
        return (struct extent){sizeof(struct port_map), maps};
    case SEGMENT_OWNERS:
        return (struct extent){sizeof(struct owner_line), maps * (65536 / OWNERS_PER_LINE)};
    case SEGMENT_COUNT:
    default:
        return (struct extent){0, 0};
    }
}

static void initialise_header(struct table *table, const struct geometry *geometry, uint64_t seed)
{
    struct table_header *header = header_of(table);
    struct random random = random_seed(seed);
    header->magic = TABLE_MAGIC;
    header->layout = TABLE_LAYOUT;
    header->geometry = *geometry;
    header->epoch = 1; /* 0 means that a lane holds nothing */
    header->constants = (struct table_constants){.records = record_count(geometry),
                                                 .buckets = bucket_count(geometry),
                                                 .addresses = geometry->addresses,
                                                 .lanes = geometry->workers + 1};
    for (unsigned i = 0; i < sizeof(header->constants.key) / sizeof(header->constants.key[0]); i++)
        header->constants.key[i] = (uint32_t)random_next(&random);
    table->constants = header->constants;
}

static void table_release(struct table *table, const struct geometry *geometry)
{
    for (enum segment i = 0; i < SEGMENT_COUNT; i++) {
        struct extent extent = extent_of(geometry, i);
        memory_unmap(table->segment[i], extent.element * extent.count);
    }
    memory_unmap(table, sizeof(*table));
}

struct table *table_create(const struct geometry *geometry, uint64_t seed)
{
    struct table *table = memory_map(sizeof(*table));
    if (table == NULL)
        return NULL;
    for (enum segment i = 0; i < SEGMENT_COUNT; i++) {
        struct extent extent = extent_of(geometry, i);
        table->segment[i] = memory_map(extent.element * extent.count);
        if (table->segment[i] == NULL) {
            table_release(table, geometry);
            return NULL;
        }
    }
    initialise_header(table, geometry, seed);
    return table;
}

void table_destroy(struct table *table)
{
    if (table == NULL)
        return;
    struct geometry geometry = header_of(table)->geometry;
    table_release(table, &geometry);
}

struct table_memory table_memory(const struct geometry *geometry)
{
    struct table_memory memory = {0, 0};
    for (enum segment i = 0; i < SEGMENT_COUNT; i++) {
        struct extent extent = extent_of(geometry, i);
        if (i == SEGMENT_PORTS || i == SEGMENT_OWNERS)
            memory.addresses += extent.element * extent.count;
        else
            memory.sessions += extent.element * extent.count;
    }
    return memory;
}
