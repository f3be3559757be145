/* SPDX-License-Identifier: BSD-2-Clause */
/* Files of mappings, the networks that mappings cover, and which change of them a reload can make. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "control/config_eam.h"
#include "control/setup_change.h"
#include "control/setup_siit.h"

static const char configuration[] = "siit: [{prefix: 64:ff9b::/96, eam-file: /mappings}]\n";

/* Gives out what the test has written, under any path. */
static FILE *written;

static int open_written(void *context, const char *path)
{
    (void)context;
    assert_string_equal(path, "/mappings");
    if (written == NULL) {
        errno = EACCES;
        return -1;
    }
    fflush(written);
    assert_int_equal(lseek(fileno(written), 0, SEEK_SET), 0);
    return dup(fileno(written));
}

static const struct config_files files = {.open = open_written};

static void write_file(const char *text)
{
    if (written != NULL)
        fclose(written);
    written = tmpfile();
    assert_non_null(written);
    assert_true(fputs(text, written) >= 0);
}

static struct config *load(const char *text)
{
    struct config_error error = {""};
    struct config *config = config_parse_with("test", text, strlen(text), &files, &error);
    if (config == NULL)
        fail_msg("%s", error.text);
    return config;
}

static void assert_refused(const char *text, const char *why)
{
    struct config_error error;
    write_file(text);
    assert_null(config_parse_with("test", configuration, strlen(configuration), &files, &error));
    assert_string_equal(error.text, why);
}

/* rfc: 7757-3.2-a */
static void test_file_is_read(void **state)
{
    struct ipv6_address six;
    (void)state;
    write_file("# mappings\n\n192.0.2.1 2001:db8::1\n  198.51.100.0/24\t2001:db8:1::/120 # a note\r\n"
               "203.0.113.7 2001:db8::7"); /* without a newline at the end */
    struct config *config = load(configuration);
    assert_int_equal(config->siit[0].mapping_count, 3);
    assert_int_equal(eam_count(config->settings.siit[0].eam), 3);
    assert_true(eam_to6(config->settings.siit[0].eam, to_be32(0xc6336407), &six));
    assert_int_equal(six.bytes[5], 1);
    assert_int_equal(six.bytes[15], 7);
    assert_true(eam_to6(config->settings.siit[0].eam, to_be32(0xcb007107), &six));
    config_free(config);

    write_file("");
    config = load(configuration);
    assert_int_equal(eam_count(config->settings.siit[0].eam), 0);
    config_free(config);
}

static void test_mistakes_have_lines(void **state)
{
    (void)state;
    assert_refused("192.0.2.1\n",
                   "/mappings:1: expected one mapping, IPV4[/LENGTH] IPV6[/LENGTH], such as 192.0.2.0/24 "
                   "2001:db8::/120");
    assert_refused("\n\n192.0.2.1 2001:db8::1 x\n",
                   "/mappings:3: expected one mapping, IPV4[/LENGTH] IPV6[/LENGTH], such as 192.0.2.0/24 "
                   "2001:db8::/120");
    assert_refused(
        "#\n2001:db8::1 192.0.2.1\n",
        "/mappings:2: found \"2001:db8::1\"; expected an IPv4 address or prefix, such as 192.0.2.0/24");
    assert_refused("192.0.2.1/24 2001:db8::/64\n",
                   "/mappings:1: 192.0.2.1 has bits set beyond /24; write 192.0.2.0/24");
    assert_refused("192.0.2.1 2001:db8::1\n192.0.2.2 2001:db8::2\n192.0.2.1 2001:db8::3\n",
                   "/mappings:3: the IPv4 prefix is that of an earlier mapping, line 1; keep one of the two");
    assert_refused("192.0.2.0/24 2001:db8::/124\n",
                   "/mappings:1: the IPv4 prefix leaves more bits than the IPv6 prefix has room for");
}

static void test_unreadable_file(void **state)
{
    struct config_error error;
    (void)state;
    if (written != NULL)
        fclose(written);
    written = NULL;
    assert_null(config_parse_with("test", configuration, strlen(configuration), &files, &error));
    assert_string_equal(error.text,
                        "test:1:41: siit[0].eam-file: /mappings cannot be read: Permission denied");
    struct config *config = config_parse("test", configuration, strlen(configuration), &error);
    assert_non_null(config); /* who only looks for names does without the file */
    config_free(config);
}

static void test_many_mappings_load_fast(void **state)
{
    enum { MAPPINGS = 100000 };
    struct timespec start, end;
    (void)state;
    write_file("");
    for (unsigned i = 0; i < MAPPINGS; i++)
        fprintf(written, "20.%u.%u.%u 2001:db8:%x:%x::1\n", i >> 16, i >> 8 & 255, i & 255, i >> 12,
                i & 4095);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &start);
    struct config *config = load(configuration);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
    assert_int_equal(eam_count(config->settings.siit[0].eam), MAPPINGS);
    double seconds = (double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) / 1e9;
    print_message("%d mappings in %.3f s\n", MAPPINGS, seconds);
    assert_true(seconds < 5); /* ten times as long as it should take even under the sanitizers */

    uint32_t count;
    struct ipv4_span *spans = config_siit_spans(config, &count);
    assert_int_equal(count, 1);
    assert_int_equal(spans[0].first, 0x14000000);
    assert_int_equal(spans[0].last, 0x14000000 + MAPPINGS - 1);
    free(spans);
    config_free(config);
}

static void test_spans_are_merged(void **state)
{
    uint32_t count;
    (void)state;
    write_file("192.0.2.3 2001:db8::3\n192.0.2.0/31 2001:db8:1::/127\n192.0.2.2 2001:db8::2\n"
               "192.0.2.0/30 2001:db8:2::/64\n192.0.2.6 2001:db8::6\n255.255.255.255 2001:db8::ff\n"
               "255.0.0.0/8 2001:db8:3::/64\n");
    struct config *config = load(configuration);
    struct ipv4_span *spans = config_siit_spans(config, &count);
    assert_int_equal(count, 3);
    assert_int_equal(spans[0].first, 0xc0000200);
    assert_int_equal(spans[0].last, 0xc0000203);
    assert_int_equal(spans[1].first, 0xc0000206);
    assert_int_equal(spans[1].last, 0xc0000206);
    assert_int_equal(spans[2].first, 0xff000000);
    assert_int_equal(spans[2].last, 0xffffffff);
    free(spans);
    config_free(config);
}

enum { TOO_MANY = (1 << 18) + 1 };

/* What stands in the file is told from what stood there; and routes that there are do not all go at once. */
static void test_reload_of_mappings(void **state)
{
    struct config_error error;
    static struct config_differences differences;
    static char many[TOO_MANY * 40];
    char sentence[256];
    size_t length = 0;
    (void)state;
    write_file("192.0.2.0/30 2001:db8::/126\n");
    struct config *before = load(configuration), *same = load(configuration);
    config_compare(before, same, &differences);
    assert_int_equal(differences.count, 0);
    write_file("192.0.2.0/29 2001:db8::/124\n");
    struct config *more = load(configuration);
    config_compare(before, more, &differences);
    assert_int_equal(differences.count, 1);
    assert_string_equal(differences.path[0], "siit[0].eam-file (its content)");
    assert_true(config_reloadable(before, more, &error));
    assert_true(setup_siit_keeps_routes(before, more, sentence, sizeof(sentence)));
    assert_true(setup_fingerprint(before) == setup_fingerprint(same));
    assert_true(setup_fingerprint(before) != setup_fingerprint(more));
    for (unsigned i = 0; i < TOO_MANY; i++)
        length += (size_t)snprintf(many + length, sizeof(many) - length, "10.%u.%u.%u 2001:db8::%x:%x\n",
                                   i >> 15, i >> 7 & 255, i % 128 * 2, i >> 16, i & 0xffff);
    write_file(many);
    struct config *too_many = load(configuration);
    assert_false(setup_siit_keeps_routes(before, too_many, sentence, sizeof(sentence)));
    assert_non_null(strstr(sentence, "262145 routes"));
    assert_true(setup_siit_keeps_routes(too_many, before, sentence, sizeof(sentence)));
    config_free(before);
    config_free(same);
    config_free(more);
    config_free(too_many);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_file_is_read),     cmocka_unit_test(test_mistakes_have_lines),
        cmocka_unit_test(test_unreadable_file),  cmocka_unit_test(test_many_mappings_load_fast),
        cmocka_unit_test(test_spans_are_merged), cmocka_unit_test(test_reload_of_mappings),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (written != NULL)
        fclose(written);
    return failed;
}
