/* SPDX-License-Identifier: BSD-2-Clause */
/* Sets of pins, whole, interrupted, damaged and of others, made of maps of a small table without programs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/layout.h"
#include "plane/bpf/pins.h"
#include "test/plane/private_bpffs.h"

static const char *base;
static char pins[128];
static const struct geometry geometry = {.sessions = 64, .addresses = 2, .workers = 3};

static void need_bpffs(void)
{
    if (base == NULL) {
        print_message("skipped: needs root, for a bpffs\n");
        skip();
    }
}

/* --- making and looking ------------------------------------------------------------------------------ */

static const char *path_of(const char *set, const char *name)
{
    static char path[256];
    snprintf(path, sizeof(path), "%s/%s%s%s", pins, set, name[0] != '\0' ? "/" : "", name);
    return path;
}

static bool exists(const char *set, const char *name)
{
    struct stat status;
    return stat(path_of(set, name), &status) == 0;
}

static void make_set(const char *set)
{
    (void)mkdir(pins, 0700);
    assert_int_equal(mkdir(path_of(set, ""), 0700), 0);
}

/* Pins an array, whose first element begins with this number. */
static void pin_array(const char *set, const char *name, size_t element, uint32_t count, uint64_t number)
{
    LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = BPF_F_MMAPABLE);
    int map = bpf_map_create(BPF_MAP_TYPE_ARRAY, NULL, 4, (uint32_t)element, count, &options);
    assert_true(map >= 0);
    if (number != 0) {
        uint64_t *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, map, 0);
        assert_true(memory != MAP_FAILED);
        *memory = number;
        munmap(memory, 4096);
    }
    (void)unlink(path_of(set, name));
    assert_int_equal(bpf_obj_pin(map, path_of(set, name)), 0);
    close(map);
}

/* The set with a mark by which it is told from others. */
static void make_marked(const char *set, uint32_t mark)
{
    make_set(set);
    pin_array(set, "mark", 8, mark, 0);
}

static uint32_t mark_of(const char *set)
{
    struct bpf_map_info info = {0};
    uint32_t length = sizeof(info);
    int map = bpf_obj_get(path_of(set, "mark"));
    if (map < 0)
        return 0;
    assert_int_equal(bpf_obj_get_info_by_fd(map, &info, &length), 0);
    close(map);
    return info.max_entries;
}

/* Changes the header of the current table. */
static struct table_header *open_header(void)
{
    int map = bpf_obj_get(path_of("current", "header"));
    assert_true(map >= 0);
    void *memory = mmap(NULL, sizeof(struct table_header), PROT_READ | PROT_WRITE, MAP_SHARED, map, 0);
    assert_true(memory != MAP_FAILED);
    close(map);
    return memory;
}

static void make_table(uint32_t layout)
{
    make_set("current");
    for (unsigned i = 0; i < TABLE_SEGMENTS; i++) {
        struct extent extent = table_extent(&geometry, i);
        pin_array("current", object_segment(i), extent.element, extent.count > 0 ? (uint32_t)extent.count : 1,
                  0);
    }
    struct table_header *header = open_header();
    header->magic = TABLE_MAGIC;
    header->layout = layout;
    header->geometry = geometry;
    munmap(header, sizeof(*header));
}

static void refuse(const char *why)
{
    struct pinned_table table;
    const char *problem = pinned_table_open(&table, pins);
    assert_non_null(problem);
    if (strstr(problem, why) == NULL)
        fail_msg("\"%s\" says nothing of \"%s\"", problem, why);
    for (unsigned i = 0; i < TABLE_SEGMENTS; i++)
        assert_int_equal(table.map[i], -1);
}

static int begin(void **state)
{
    (void)state;
    if (base != NULL)
        snprintf(pins, sizeof(pins), "%s/isthmus0", base);
    return 0;
}

static int end(void **state)
{
    (void)state;
    if (base != NULL) {
        (void)chmod(pins, 0700);
        (void)pins_remove(pins);
    }
    return 0;
}

/* --- sets -------------------------------------------------------------------------------------------- */

static void without_pins_there_is_none(void **state)
{
    (void)state;
    need_bpffs();
    assert_false(pins_settle(pins));
    assert_false(pins_remove(pins));
    refuse("no session table");
    make_marked("current", 1);
    assert_true(pins_settle(pins));
    assert_true(pins_remove(pins));
    assert_false(exists("", ""));
}

static void a_new_set_takes_the_place_of_the_old_one(void **state)
{
    (void)state;
    need_bpffs();
    make_marked("next", 1);
    assert_int_equal(pins_replace(pins), 0);
    assert_int_equal(mark_of("current"), 1);
    make_marked("next", 2);
    assert_int_equal(pins_replace(pins), 0);
    assert_int_equal(mark_of("current"), 2);
    assert_false(exists("next", ""));
    assert_false(exists("last", ""));
}

/* Each step of a replacement may be the last one of whoever made it. */
static void an_interrupted_replacement_leaves_one_set(void **state)
{
    (void)state;
    need_bpffs();
    make_marked("next", 1); /* the first start, while it pinned */
    assert_false(pins_settle(pins));
    assert_false(exists("next", ""));

    make_marked("current", 1);
    make_marked("next", 2);
    assert_true(pins_settle(pins));
    assert_int_equal(mark_of("current"), 1);
    assert_false(exists("next", ""));

    assert_true(pins_remove(pins));
    make_marked("last", 1);
    make_marked("next", 2);
    assert_true(pins_settle(pins));
    assert_int_equal(mark_of("current"), 2);
    assert_false(exists("last", ""));

    make_marked("last", 1);
    assert_true(pins_settle(pins));
    assert_int_equal(mark_of("current"), 2);
    assert_false(exists("last", ""));

    assert_true(pins_remove(pins));
    make_marked("last", 1);
    assert_true(pins_settle(pins));
    assert_int_equal(mark_of("current"), 1);
}

static void what_is_beside_the_sets_stays(void **state)
{
    (void)state;
    need_bpffs();
    make_marked("current", 1);
    make_set("of-others");
    pin_array("of-others", "map", 8, 1, 0);
    make_marked("next", 2);
    assert_int_equal(pins_replace(pins), 0);
    assert_true(pins_remove(pins));
    assert_true(exists("of-others", "map"));
    assert_int_equal(unlink(path_of("of-others", "map")), 0);
    assert_int_equal(rmdir(path_of("of-others", "")), 0);
}

static void a_directory_that_others_may_write_to_is_not_looked_at(void **state)
{
    (void)state;
    need_bpffs();
    make_table(TABLE_LAYOUT);
    assert_int_equal(chmod(pins, 0777), 0);
    assert_false(pins_settle(pins));
    assert_false(pins_remove(pins));
    assert_true(exists("current", "header"));
}

/* --- the table --------------------------------------------------------------------------------------- */

static void a_whole_table_is_opened(void **state)
{
    struct pinned_table table;
    (void)state;
    need_bpffs();
    make_table(TABLE_LAYOUT);
    assert_null(pinned_table_open(&table, pins));
    assert_true(geometry_equal(&table.geometry, &geometry));
    assert_true(pinned_table_map(&table));
    const struct table_header *header = table.memory[SEGMENT_HEADER];
    assert_int_equal(header->magic, TABLE_MAGIC);
    assert_null(table.memory[SEGMENT_TRAFFIC]); /* this geometry has none */
    pinned_table_close(&table);
}

static void one_of_an_older_layout_needs_no_later_segments(void **state)
{
    struct pinned_table table;
    (void)state;
    need_bpffs();
    make_table(TABLE_LAYOUT - 1);
    assert_int_equal(unlink(path_of("current", object_segment(SEGMENT_HALF_OPEN))), 0);
    assert_null(pinned_table_open(&table, pins));
    assert_int_equal(table.layout, TABLE_LAYOUT - 1);
    pinned_table_close(&table);
}

static void one_of_an_unknown_version_is_refused(void **state)
{
    (void)state;
    need_bpffs();
    make_table(TABLE_LAYOUT + 1);
    refuse("another version");
    struct table_header *header = open_header();
    header->layout = TABLE_LAYOUT_OLDEST - 1;
    refuse("another version");
    header->layout = TABLE_LAYOUT;
    header->magic = 0;
    refuse("never finished");
    munmap(header, sizeof(*header));
    pin_array("current", "header", sizeof(struct table_header) + 8, 1, TABLE_MAGIC);
    refuse("no session table of this version");
}

static void a_damaged_one_is_refused(void **state)
{
    struct extent records = table_extent(&geometry, SEGMENT_RECORDS);
    const struct geometry absurd[] = {{.sessions = UINT32_MAX, .addresses = 2, .workers = 3},
                                      {.sessions = 64, .addresses = UINT32_MAX, .workers = 3},
                                      {.sessions = 64, .addresses = 2, .workers = UINT32_MAX},
                                      {.sessions = 64, .addresses = 2, .workers = 3, .counters = 2},
                                      {.sessions = 65, .addresses = 2, .workers = 3}};
    (void)state;
    need_bpffs();
    make_table(TABLE_LAYOUT);
    struct table_header *header = open_header();
    for (unsigned i = 0; i < sizeof(absurd) / sizeof(absurd[0]); i++) {
        header->geometry = absurd[i];
        refuse("damaged");
    }
    header->geometry = geometry;
    munmap(header, sizeof(*header));
    pin_array("current", "records", records.element, (uint32_t)records.count - 1, 0);
    refuse("damaged");
    pin_array("current", "records", records.element / 2, (uint32_t)records.count * 2, 0);
    refuse("damaged");
    assert_int_equal(unlink(path_of("current", "records")), 0);
    refuse("damaged");
}

/* Something else than an array that can be mapped has the name. */
static void a_foreign_map_is_refused(void **state)
{
    (void)state;
    need_bpffs();
    make_set("current");
    int map = bpf_map_create(BPF_MAP_TYPE_HASH, NULL, 4, sizeof(struct table_header), 1, NULL);
    assert_int_equal(bpf_obj_pin(map, path_of("current", "header")), 0);
    close(map);
    refuse("no session table");
    assert_int_equal(unlink(path_of("current", "header")), 0);
    map = bpf_map_create(BPF_MAP_TYPE_ARRAY, NULL, 4, sizeof(struct table_header), 1, NULL);
    assert_int_equal(bpf_obj_pin(map, path_of("current", "header")), 0);
    close(map);
    refuse("no session table");
}

static void control_of_another_layout_is_not_touched(void **state)
{
    (void)state;
    need_bpffs();
    make_set("current");
    assert_null(pinned_control_open(pins));
    pin_array("current", "control", sizeof(struct plane_control), 1, 0);
    assert_null(pinned_control_open(pins));
    pin_array("current", "control", sizeof(struct plane_control) + 8, 1, 0);
    assert_null(pinned_control_open(pins));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(without_pins_there_is_none, begin, end),
        cmocka_unit_test_setup_teardown(a_new_set_takes_the_place_of_the_old_one, begin, end),
        cmocka_unit_test_setup_teardown(an_interrupted_replacement_leaves_one_set, begin, end),
        cmocka_unit_test_setup_teardown(what_is_beside_the_sets_stays, begin, end),
        cmocka_unit_test_setup_teardown(a_directory_that_others_may_write_to_is_not_looked_at, begin, end),
        cmocka_unit_test_setup_teardown(a_whole_table_is_opened, begin, end),
        cmocka_unit_test_setup_teardown(one_of_an_older_layout_needs_no_later_segments, begin, end),
        cmocka_unit_test_setup_teardown(one_of_an_unknown_version_is_refused, begin, end),
        cmocka_unit_test_setup_teardown(a_damaged_one_is_refused, begin, end),
        cmocka_unit_test_setup_teardown(a_foreign_map_is_refused, begin, end),
        cmocka_unit_test_setup_teardown(control_of_another_layout_is_not_touched, begin, end),
    };
    base = private_bpffs();
    int failed = cmocka_run_group_tests_name("pins", tests, NULL, NULL);
    private_end();
    return failed;
}
