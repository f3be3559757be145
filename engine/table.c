/* SPDX-License-Identifier: BSD-2-Clause */
#include "engine/explain.h"
#include "engine/layout.h"
#include "engine/memory.h"
#include "engine/random.h"

_Static_assert((int)SEGMENT_COUNT == (int)TABLE_SEGMENTS, "table.h promises the number of segments");

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

struct extent table_extent(const struct geometry *geometry, unsigned segment)
{
    size_t maps = (size_t)geometry->addresses * TRANSPORT_COUNT;
    switch ((enum segment)segment) {
    case SEGMENT_HEADER:
        return (struct extent){sizeof(struct table_header), 1};
    case SEGMENT_LANES:
        return (struct extent){sizeof(struct lane), geometry->workers + 1};
    case SEGMENT_RECORDS:
        return (struct extent){sizeof(struct record), record_count(geometry)};
    case SEGMENT_TRAFFIC:
        return (struct extent){sizeof(struct traffic), geometry->counters ? record_count(geometry) : 0};
    case SEGMENT_SESSION6:
    case SEGMENT_SESSION4:
    case SEGMENT_BINDINGS:
    case SEGMENT_SUBSCRIBERS:
        return (struct extent){sizeof(struct bucket), bucket_count(geometry)};
    case SEGMENT_PORTS:
        return (struct extent){sizeof(struct port_map), maps};
    case SEGMENT_OWNERS:
        return (struct extent){sizeof(struct owner_line), maps * (65536 / OWNERS_PER_LINE)};
    case SEGMENT_HALF_OPEN:
        return (struct extent){sizeof(uint64_t), record_count(geometry) / 5 * 2};
    case SEGMENT_COUNT:
    default:
        return (struct extent){0, 0};
    }
}

static size_t segment_size(const struct geometry *geometry, unsigned segment)
{
    struct extent extent = table_extent(geometry, segment);
    return extent.element * extent.count;
}

static struct table_constants constants_of(const struct geometry *geometry)
{
    return (struct table_constants){.records = record_count(geometry),
                                    .buckets = bucket_count(geometry),
                                    .addresses = geometry->addresses,
                                    .lanes = geometry->workers + 1,
                                    .counters = geometry->counters};
}

static struct table *new_handle(void *const memory[TABLE_SEGMENTS])
{
    struct table *table = memory_map(sizeof(*table));
    for (unsigned i = 0; table != NULL && i < TABLE_SEGMENTS; i++)
        table->segment[i] = memory[i];
    return table;
}

struct table *table_format(void *const memory[TABLE_SEGMENTS], const struct geometry *geometry, uint64_t seed)
{
    struct table *table = new_handle(memory);
    if (table == NULL)
        return NULL;
    struct table_header *header = header_of(table);
    struct random random = random_seed(seed);
    header->layout = TABLE_LAYOUT;
    header->geometry = *geometry;
    header->constants = constants_of(geometry);
    for (unsigned i = 0; i < sizeof(header->constants.key) / sizeof(header->constants.key[0]); i++)
        header->constants.key[i] = (uint32_t)random_next(&random);
    table->layout = TABLE_LAYOUT;
    table->constants = header->constants;
    atomic_store64(&header->magic, TABLE_MAGIC); /* last: a header that was not finished is no header */
    return table;
}

struct table *table_attach(void *const memory[TABLE_SEGMENTS], const struct geometry *geometry, char *error,
                           size_t size)
{
    const struct table_header *header = memory[SEGMENT_HEADER];
    struct table *table = NULL;
    if (header->magic != TABLE_MAGIC)
        explain(error, size, "it holds no session table");
    else if (header->layout < TABLE_LAYOUT_OLDEST || header->layout > TABLE_LAYOUT)
        explain(error, size, "its sessions are laid out as another version does it");
    else if (!geometry_equal(&header->geometry, geometry))
        explain(error, size, "its size is not what its header says");
    else if ((table = new_handle(memory)) == NULL)
        explain(error, size, "not enough memory");
    if (table == NULL)
        return NULL;
    table->layout = header->layout;
    table->found = true;
    table->constants = constants_of(geometry);
    for (unsigned i = 0; i < sizeof(header->constants.key) / sizeof(header->constants.key[0]); i++)
        table->constants.key[i] = header->constants.key[i];
    return table;
}

struct table *table_create(const struct geometry *geometry, uint64_t seed)
{
    void *memory[TABLE_SEGMENTS] = {NULL};
    struct table *table = NULL;
    unsigned have = 0;
    for (; have < TABLE_SEGMENTS; have++) {
        size_t bytes = segment_size(geometry, have);
        if (bytes != 0 && (memory[have] = memory_map(bytes)) == NULL)
            break;
    }
    if (have == TABLE_SEGMENTS)
        table = table_format(memory, geometry, seed);
    if (table != NULL)
        table->owned = true;
    else
        while (have-- > 0)
            memory_unmap(memory[have], segment_size(geometry, have));
    return table;
}

void table_destroy(struct table *table)
{
    if (table == NULL)
        return;
    struct geometry geometry = header_of(table)->geometry;
    for (unsigned i = 0; table->owned && i < TABLE_SEGMENTS; i++)
        memory_unmap(table->segment[i], segment_size(&geometry, i));
    memory_unmap(table, sizeof(*table));
}

struct table_memory table_memory(const struct geometry *geometry)
{
    struct table_memory memory = {0, 0};
    for (unsigned i = 0; i < TABLE_SEGMENTS; i++)
        if (i == SEGMENT_PORTS || i == SEGMENT_OWNERS)
            memory.addresses += segment_size(geometry, i);
        else
            memory.sessions += segment_size(geometry, i);
    return memory;
}
