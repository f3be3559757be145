/* SPDX-License-Identifier: BSD-2-Clause */
/* A table that is found is used, taken over, or refused with a reason; whatever it holds, nothing crashes. */
#include "test/control/machine.h"

#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "control/table_file.h"
#include "engine/layout.h"

/* Offsets in the file's header, as a writer of another version would know them. */
enum {
    AT_FORMAT = 8,
    AT_LAYOUT = 12,
    AT_COMPLETE = 16,
    AT_BOOT = 20,
    AT_SESSIONS = 60,
    AT_SEGMENTS = 80,
    HEADER = AT_SEGMENTS + TABLE_SEGMENTS * 24,
};

static const struct geometry small = {.sessions = 64, .addresses = 1, .workers = 1};
static const struct geometry larger = {.sessions = 128, .addresses = 1, .workers = 2};

static const char *path;
static int directory;
static char said[4096]; /* what was logged by the last open_table */
static char error[512];

static int set_up(void **context)
{
    (void)context;
    path = directory_make();
    directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return directory >= 0 ? 0 : -1;
}

static int tear_down(void **context)
{
    (void)context;
    close(directory);
    directory_remove(path);
    return 0;
}

static bool exists(const char *name)
{
    return faccessat(directory, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Opens with standard error going to a file. */
static struct table_file *open_table(const struct geometry *geometry, bool fresh)
{
    static uint64_t seed;
    struct table_file_options options = {
        .directory = directory, .path = path, .geometry = *geometry, .seed = ++seed, .fresh = fresh};
    FILE *log = tmpfile();
    int stderr_before = dup(STDERR_FILENO);
    memset(said, 0, sizeof(said));
    error[0] = '\0';
    dup2(fileno(log), STDERR_FILENO);
    struct table_file *file = table_file_open(&options, error, sizeof(error));
    dup2(stderr_before, STDERR_FILENO);
    close(stderr_before);
    rewind(log);
    assert_int_equal(fread(said, 1, sizeof(said) - 1, log) < sizeof(said), 1);
    fclose(log);
    return file;
}

static void expect_said(const char *words)
{
    if (strstr(said, words) == NULL)
        fail_msg("not \"%s\" but \"%s\"", words, said);
}

/* A number that is another one in each table: part of its hash key. */
static uint32_t mark(const struct table *table)
{
    return table->constants.key[0];
}

static uint32_t make_kept(const struct geometry *geometry)
{
    struct table_file *file = open_table(geometry, false);
    assert_non_null(file);
    assert_true(table_file_keep(file, error, sizeof(error)));
    uint32_t made = mark(table_file_table(file));
    table_file_close(file);
    return made;
}

/* A kept table to be damaged: its bytes. */
static uint8_t *image;
static size_t image_size;

static void take_image(void)
{
    struct stat status;
    make_kept(&small);
    int fd = openat(directory, "table", O_RDONLY | O_CLOEXEC);
    assert_int_equal(fstat(fd, &status), 0);
    image_size = (size_t)status.st_size;
    image = malloc(image_size);
    assert_int_equal(read(fd, image, image_size), (ssize_t)image_size);
    close(fd);
}

static void put_image(size_t size)
{
    unlinkat(directory, "table", 0);
    int fd = openat(directory, "table", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, image, size), (ssize_t)size);
    close(fd);
}

/* What is there is refused with these words, and a new table stands in its place. */
static void expect_refusal(const char *words)
{
    struct table_file *file = open_table(&small, false);
    assert_non_null(file);
    expect_said("refused");
    expect_said(words);
    assert_null(table_file_previous(file));
    assert_true(table_file_keep(file, error, sizeof(error)));
    table_file_close(file);
    file = open_table(&small, false);
    assert_non_null(file);
    expect_said("found the session table");
    table_file_close(file);
}

static void test_new(void **context)
{
    struct stat status;
    (void)context;
    struct table_file *file = open_table(&small, false);
    assert_non_null(file);
    expect_said("made a session table of 1 MiB");
    assert_null(table_file_previous(file));
    assert_true(exists("table.new") && !exists("table"));
    assert_true(table_file_keep(file, error, sizeof(error)));
    assert_true(exists("table") && !exists("table.new"));
    assert_int_equal(fstatat(directory, "table", &status, 0), 0);
    assert_int_equal(status.st_mode & 07777, 0600);
    table_file_close(file);
    assert_true(exists("table"));
    assert_true(table_file_remove(directory));
    assert_false(exists("table"));
    assert_false(table_file_remove(directory));
}

static void test_what_is_not_kept_goes(void **context)
{
    (void)context;
    table_file_close(open_table(&small, false));
    assert_false(exists("table") || exists("table.new"));
}

static void test_same_geometry_is_used_in_place(void **context)
{
    (void)context;
    uint32_t first = make_kept(&small);
    struct table_file *file = open_table(&small, false);
    assert_non_null(file);
    expect_said("found the session table of the last run\n");
    assert_int_equal(mark(table_file_table(file)), first);
    assert_null(table_file_previous(file));
    assert_false(exists("table.new"));
    /* What is written is in the file. */
    struct record *record = table_file_table(file)->segment[SEGMENT_RECORDS];
    record[79].remote = 12345;
    table_file_close(file);
    file = open_table(&small, false);
    record = table_file_table(file)->segment[SEGMENT_RECORDS];
    assert_int_equal(record[79].remote, 12345);
    assert_true(table_file_keep(file, error, sizeof(error))); /* nothing to do */
    table_file_close(file);
}

static void test_other_geometry_is_taken_over(void **context)
{
    (void)context;
    uint32_t first = make_kept(&small);
    for (int kept = 0; kept <= 1; kept++) {
        struct table_file *file = open_table(&larger, false);
        assert_non_null(file);
        expect_said("of another size");
        assert_int_equal(mark(table_file_previous(file)), first);
        assert_int_not_equal(mark(table_file_table(file)), first);
        if (kept) {
            assert_true(table_file_keep(file, error, sizeof(error)));
            assert_null(table_file_previous(file));
        }
        table_file_close(file);
        assert_false(exists("table.new"));
    }
    struct table_file *file = open_table(&larger, false);
    expect_said("found the session table of the last run\n");
    assert_int_not_equal(mark(table_file_table(file)), first);
    table_file_close(file);
}

static void test_fresh(void **context)
{
    (void)context;
    uint32_t first = make_kept(&small);
    struct table_file *file = open_table(&small, true);
    expect_said("--fresh");
    assert_int_not_equal(mark(table_file_table(file)), first);
    assert_null(table_file_previous(file));
    table_file_close(file);
}

static void test_large_segments_lie_on_huge_pages(void **context)
{
    const struct geometry geometry = {.sessions = 65536, .addresses = 4, .workers = 1};
    (void)context;
    struct table_file *file = open_table(&geometry, false);
    assert_non_null(file);
    for (unsigned i = 0; i < TABLE_SEGMENTS; i++) {
        struct extent extent = table_extent(&geometry, i);
        uint64_t boundary = extent.element * extent.count >= 2 << 20 ? 2 << 20 : 4096;
        assert_int_equal((uintptr_t)table_file_table(file)->segment[i] % boundary, 0);
    }
    table_file_close(file);
}

static void test_refusals(void **context)
{
    static const struct {
        size_t at;
        const char *words;
    } rows[] = {
        {0, "no session table"},
        {AT_FORMAT, "another version of isthmus (format"},
        {AT_LAYOUT, "another version of isthmus (layout"},
        {AT_COMPLETE, "never finished"},
        {AT_BOOT + 35, "stale"},
        {AT_SESSIONS + 3, "impossible size"},
        {AT_SESSIONS, "damaged"},
        {AT_SEGMENTS + 1, "do not fit"},
        {AT_SEGMENTS + 8, "damaged: segment 0"},
        {AT_SEGMENTS + 24 + 16, "damaged: segment 1"},
        {4096, "no session table"}, /* the table's own header */
    };
    (void)context;
    take_image();
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        image[rows[i].at] ^= 0x41;
        put_image(image_size);
        image[rows[i].at] ^= 0x41;
        expect_refusal(rows[i].words);
    }
    free(image);
}

/* The file of an older version: that layout in both headers, and no segment that it did not have. */
static void age_image(uint32_t layout)
{
    size_t younger = AT_SEGMENTS + TABLE_SEGMENTS_OLDER * 24;
    memcpy(image + AT_LAYOUT, &layout, sizeof(layout));
    memcpy(image + 4096 + offsetof(struct table_header, layout), &layout, sizeof(layout));
    memset(image + younger, 0, HEADER - younger);
}

static void test_older_layouts_are_taken_over(void **context)
{
    (void)context;
    take_image();
    for (uint32_t layout = TABLE_LAYOUT_OLDEST; layout < TABLE_LAYOUT; layout++) {
        age_image(layout);
        put_image(image_size);
        struct table_file *file = open_table(&small, false);
        assert_non_null(file);
        expect_said("of another size or version; a new one takes its sessions over");
        assert_non_null(table_file_previous(file));
        assert_int_equal(table_file_previous(file)->layout, layout);
        assert_int_equal(table_file_table(file)->layout, TABLE_LAYOUT);
        assert_null(table_file_previous(file)->segment[SEGMENT_HALF_OPEN]);
        table_file_close(file);
    }
    image[HEADER - 24 + 8] = 8; /* a segment that only the present layout has */
    image[HEADER - 24 + 16] = 2;
    put_image(image_size);
    expect_refusal("damaged: segment 10");
    free(image);
}

static void test_cut_short(void **context)
{
    (void)context;
    take_image();
    const size_t sizes[] = {0, 1, HEADER - 1, HEADER, 4096, 8192, image_size / 2, image_size - 1};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        put_image(sizes[i]);
        expect_refusal("cut short");
    }
    free(image);
}

static void test_other_kinds_of_file(void **context)
{
    (void)context;
    take_image();
    put_image(image_size);
    assert_int_equal(fchmodat(directory, "table", 0640, 0), 0);
    expect_refusal("this user's alone");
    unlinkat(directory, "table", 0);
    assert_int_equal(mkfifoat(directory, "table", 0600), 0);
    expect_refusal("this user's alone");
    unlinkat(directory, "table", 0);
    assert_int_equal(symlinkat("/etc/passwd", directory, "table"), 0);
    expect_refusal("cannot be opened");
    free(image);
}

/* Whatever one byte says, the file is used or refused, and a table is there. */
static void test_every_byte_of_the_header(void **context)
{
    unsigned used = 0, refused = 0;
    (void)context;
    take_image();
    for (size_t at = 0; at < 4096; at++) {
        const uint8_t right = image[at], values[] = {(uint8_t)~right, 0x80, 0x01};
        size_t tries = at < HEADER ? 3 : 1;
        for (size_t i = 0; i < tries; i++) {
            image[at] = values[i];
            if (exists("table")) {
                int fd = openat(directory, "table", O_WRONLY | O_CLOEXEC);
                assert_int_equal(pwrite(fd, image, 4096, 0), 4096);
                close(fd);
            } else {
                put_image(image_size);
            }
            struct table_file *file = open_table(&small, false);
            assert_non_null(file);
            assert_non_null(table_file_table(file));
            used += strstr(said, "found") != NULL;
            refused += strstr(said, "refused") != NULL;
            table_file_close(file);
        }
        image[at] = right;
    }
    assert_int_equal(used + refused, 4096 + 2 * HEADER);
    assert_true(used >= 4096 - HEADER && refused > HEADER);
    free(image);
}

/* Killed before the new file has its name: the old one counts, and of the new one nothing is left. */
static void test_killed_half_way(void **context)
{
    (void)context;
    uint32_t first = make_kept(&small);
    pid_t child = fork();
    if (child == 0) {
        open_table(&larger, false);
        raise(SIGKILL);
    }
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_true(exists("table.new"));
    struct table_file *file = open_table(&small, false);
    expect_said("found the session table of the last run\n");
    assert_int_equal(mark(table_file_table(file)), first);
    assert_false(exists("table.new"));
    table_file_close(file);
}

/* A small file system for the directory; removed with the mount namespace. */
static void mount_small(const char *options)
{
    if (geteuid() != 0 || unshare(CLONE_NEWNS) != 0 ||
        mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("none", path, "tmpfs", 0, options) != 0) {
        print_message("# skipped: needs root and a mount namespace\n");
        skip();
    }
    close(directory);
    directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void unmount(void)
{
    close(directory);
    assert_int_equal(umount(path), 0);
    directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void test_no_room(void **context)
{
    (void)context;
    mount_small("size=512k");
    assert_null(open_table(&small, false));
    assert_non_null(strstr(error, "a session table of 1 MiB finds no room"));
    assert_non_null(strstr(error, "nat64.limits.sessions"));
    assert_null(strstr(error, "--fresh"));
    assert_false(exists("table.new") || exists("table"));
    unmount();
}

/* Nor for two at a time: the old one stays, and the sentence tells the way out. */
static void test_no_room_for_the_second(void **context)
{
    (void)context;
    mount_small("size=1500k");
    uint32_t first = make_kept(&small);
    assert_null(open_table(&larger, false));
    assert_non_null(strstr(error, "--fresh"));
    struct table_file *file = open_table(&small, false);
    assert_int_equal(mark(table_file_table(file)), first);
    table_file_close(file);
    file = open_table(&larger, true);
    assert_non_null(file);
    table_file_close(file);
    unmount();
}

/* A file whose holes the file system cannot fill must not kill who writes there. */
static void test_holes_that_cannot_be_filled(void **context)
{
    (void)context;
    take_image();
    mount_small("size=512k");
    for (unsigned same = 0; same <= 1; same++) {
        put_image(8192); /* the two headers */
        int fd = openat(directory, "table", O_RDWR | O_CLOEXEC);
        assert_int_equal(ftruncate(fd, (off_t)image_size), 0);
        close(fd);
        assert_null(open_table(same ? &small : &larger, false));
        expect_said("memory cannot be had");
        assert_false(exists("table"));
    }
    unmount();
    free(image);
}

#define FILE_TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FILE_TEST(test_new),
        FILE_TEST(test_what_is_not_kept_goes),
        FILE_TEST(test_same_geometry_is_used_in_place),
        FILE_TEST(test_other_geometry_is_taken_over),
        FILE_TEST(test_fresh),
        FILE_TEST(test_large_segments_lie_on_huge_pages),
        FILE_TEST(test_refusals),
        FILE_TEST(test_older_layouts_are_taken_over),
        FILE_TEST(test_cut_short),
        FILE_TEST(test_other_kinds_of_file),
        FILE_TEST(test_every_byte_of_the_header),
        FILE_TEST(test_killed_half_way),
        FILE_TEST(test_no_room),
        FILE_TEST(test_no_room_for_the_second),
        FILE_TEST(test_holes_that_cannot_be_filled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
