/* SPDX-License-Identifier: BSD-2-Clause */
/* The table's memory: its extents, tables over memory of the user's, and which memory is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/layout.h"
#include "test/engine/audit.h"

static const struct geometry small = {.sessions = 64, .addresses = 2, .workers = 2, .counters = 1};

static void *memory[TABLE_SEGMENTS];

static int get_memory(void **state)
{
    (void)state;
    for (unsigned i = 0; i < TABLE_SEGMENTS; i++) {
        struct extent extent = table_extent(&small, i);
        memory[i] = aligned_alloc(64, (extent.element * extent.count + 63) / 64 * 64);
        if (memory[i] == NULL)
            return -1;
        memset(memory[i], 0, extent.element * extent.count);
    }
    return 0;
}

static int drop_memory(void **state)
{
    (void)state;
    for (unsigned i = 0; i < TABLE_SEGMENTS; i++)
        free(memory[i]);
    return 0;
}

static void extents_hold_what_the_geometry_asks_for(void **state)
{
    (void)state;
    const struct geometry large = {.sessions = 1u << 28, .addresses = 4096, .workers = WORKERS_MAXIMUM};
    size_t sum = 0, large_sum = 0;
    for (unsigned i = 0; i < TABLE_SEGMENTS; i++) {
        struct extent extent = table_extent(&small, i);
        assert_true(extent.count > 0);
        assert_int_equal(extent.element % 8, 0);
        sum += extent.element * extent.count;
        extent = table_extent(&large, i);
        assert_int_equal(extent.count == 0, i == SEGMENT_TRAFFIC);
        assert_true(extent.count < UINT32_MAX);
        large_sum += extent.element * extent.count;
    }
    assert_int_equal(table_extent(&small, SEGMENT_HEADER).count, 1);
    assert_int_equal(table_extent(&small, TABLE_SEGMENTS).count, 0);
    struct table_memory bytes = table_memory(&small), large_bytes = table_memory(&large);
    assert_int_equal(bytes.sessions + bytes.addresses, sum);
    assert_int_equal(large_bytes.sessions + large_bytes.addresses, large_sum);
}

static void a_table_over_memory_is_found_again(void **state)
{
    (void)state;
    char error[64] = "";
    struct table *table = table_format(memory, &small, 9);
    assert_non_null(table);
    struct table_constants constants = table->constants;
    struct audit audit;
    assert_null(audit_exact(table, &audit));
    assert_int_equal(audit.free, constants.records);
    assert_int_equal(constants.records, 80);
    table_destroy(table);
    table = table_attach(memory, &small, error, sizeof(error));
    assert_non_null(table);
    assert_memory_equal(&table->constants, &constants, sizeof(constants));
    assert_ptr_equal(record_at(table, 1), (struct record *)memory[SEGMENT_RECORDS] + 1);
    table_destroy(table);
    /* The memory is still the user's, and keyed by its seed. */
    table = table_create(&small, 9);
    assert_memory_equal(table->constants.key, constants.key, sizeof(constants.key));
    table_destroy(table);
    table = table_create(&small, 10);
    assert_memory_not_equal(table->constants.key, constants.key, sizeof(constants.key));
    table_destroy(table);
    table_destroy(NULL);
}

static void refuse(const struct geometry *geometry, const char *why)
{
    char error[64] = "";
    assert_null(table_attach(memory, geometry, error, sizeof(error)));
    assert_non_null(strstr(error, why));
    assert_null(strchr(error, '\n'));
    char little[8];
    assert_null(table_attach(memory, geometry, little, sizeof(little)));
    assert_int_equal(little[sizeof(little) - 1], '\0');
    assert_null(table_attach(memory, geometry, NULL, 0));
}

static void other_memory_is_refused(void **state)
{
    (void)state;
    struct table_header *header = memory[SEGMENT_HEADER];
    refuse(&small, "no session table"); /* zeroed, as by who died while it was formatted */
    table_destroy(table_format(memory, &small, 9));
    header->magic ^= 1;
    refuse(&small, "no session table");
    header->magic ^= 1;
    header->layout++;
    refuse(&small, "another version");
    header->layout--;
    struct geometry other = small;
    for (uint32_t *field = (uint32_t *)&other; field < (uint32_t *)(&other + 1); field++) {
        *field ^= 1;
        refuse(&other, "size");
        *field ^= 1;
    }
    header->geometry.sessions++;
    refuse(&small, "size");
}

/* What table_attach cannot check is not used: numbers derived from the geometry are derived again. */
static void constants_are_not_believed(void **state)
{
    (void)state;
    char error[64] = "";
    struct table_header *header = memory[SEGMENT_HEADER];
    table_destroy(table_format(memory, &small, 9));
    header->constants.records = header->constants.buckets = header->constants.lanes = 0xffffffffu;
    header->constants.addresses = header->constants.counters = 0xffffffffu;
    header->fresh = ~0ull;
    struct table *table = table_attach(memory, &small, error, sizeof(error));
    assert_non_null(table);
    assert_int_equal(table->constants.records, 80);
    assert_int_equal(table->constants.buckets, table_extent(&small, SEGMENT_SESSION6).count);
    assert_int_equal(table->constants.lanes, small.workers + 1);
    assert_int_equal(table->constants.addresses, small.addresses);
    assert_int_equal(table->constants.counters, 1);
    assert_int_equal(records_used(table), 80);
    table_destroy(table);
}

int main(void)
{
#define WITH_MEMORY(test) cmocka_unit_test_setup_teardown(test, get_memory, drop_memory)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(extents_hold_what_the_geometry_asks_for),
        WITH_MEMORY(a_table_over_memory_is_found_again),
        WITH_MEMORY(other_memory_is_refused),
        WITH_MEMORY(constants_are_not_believed),
    };
    return cmocka_run_group_tests_name("table", tests, NULL, NULL);
}
