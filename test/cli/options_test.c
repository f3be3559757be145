/* SPDX-License-Identifier: BSD-2-Clause */
/* What the arguments of a command may be, and that anything else is a mistake of usage. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/options.h"

static const struct command command = {.name = "try", .usage = "try", .help = "nothing\n"};

struct attempt {
    struct options options;
    int status;
    bool go_on;
};

/* Up to five arguments; NULL ends them. */
static struct attempt attempt(unsigned takes, bool takes_word, char *first, char *second, char *third)
{
    struct options_reader reader = {.command = &command, .takes = takes, .takes_word = takes_word};
    char name[] = "try";
    char *arguments[] = {name, first, second, third, NULL};
    struct attempt made;
    int count = 0;
    while (arguments[count] != NULL)
        count++;
    made.go_on = options_read(&reader, count, arguments, &made.options, &made.status);
    return made;
}

static char config[] = "--config", short_config[] = "-c", joined[] = "--config=a.yaml", file[] = "a.yaml",
            json[] = "--json", stay[] = "--stay", word[] = "sessions", other[] = "pools", help[] = "--help",
            socket_path[] = "--socket=/run/x.sock", empty[] = "--config=", unknown[] = "--frobnicate",
            joined_flag[] = "--json=yes", verdict[] = "--verdict=dropped,no-binding", write_to[] = "-w",
            snaplen[] = "--snaplen", count[] = "--count=7", of_address[] = "--address", host[] = "192.0.2.1";

static void test_values(void **state)
{
    (void)state;
    assert_string_equal(attempt(OPTION_CONFIG, false, config, file, NULL).options.config, "a.yaml");
    assert_string_equal(attempt(OPTION_CONFIG, false, short_config, file, NULL).options.config, "a.yaml");
    assert_string_equal(attempt(OPTION_CONFIG, false, joined, NULL, NULL).options.config, "a.yaml");
    assert_null(attempt(OPTION_CONFIG, false, NULL, NULL, NULL).options.config);
}

static void test_flags_and_word(void **state)
{
    (void)state;
    struct attempt made = attempt(OPTION_JSON | OPTION_STAY, true, word, json, NULL);
    assert_true(made.go_on && made.options.json && !made.options.stay);
    assert_string_equal(made.options.word, "sessions");
    made = attempt(OPTION_JSON | OPTION_STAY, true, stay, NULL, NULL);
    assert_true(made.go_on && made.options.stay && made.options.word == NULL);
}

static void test_capture(void **state)
{
    (void)state;
    const unsigned takes = OPTION_VERDICT | OPTION_ADDRESS | OPTION_SNAPLEN | OPTION_COUNT | OPTION_WRITE;
    struct attempt made = attempt(takes, false, verdict, write_to, file);
    assert_true(made.go_on);
    assert_string_equal(made.options.verdict, "dropped,no-binding");
    assert_string_equal(made.options.write, "a.yaml");
    assert_null(made.options.address);
    made = attempt(takes, false, of_address, host, count);
    assert_string_equal(made.options.address, "192.0.2.1");
    assert_string_equal(made.options.count, "7");
    assert_false(attempt(takes, false, snaplen, NULL, NULL).go_on);
    assert_false(attempt(OPTION_CONFIG, false, write_to, file, NULL).go_on);
}

static void expect_misuse(struct attempt made)
{
    assert_false(made.go_on);
    assert_int_equal(made.status, EXIT_USAGE);
}

static void test_mistakes(void **state)
{
    (void)state;
    expect_misuse(attempt(OPTION_CONFIG, false, config, NULL, NULL));
    expect_misuse(attempt(OPTION_CONFIG, false, empty, NULL, NULL));
    expect_misuse(attempt(OPTION_CONFIG, false, unknown, NULL, NULL));
    expect_misuse(attempt(OPTION_CONFIG, false, json, NULL, NULL)); /* not one that this command takes */
    expect_misuse(attempt(OPTION_JSON, false, joined_flag, NULL, NULL));
    expect_misuse(attempt(OPTION_CONFIG, false, word, NULL, NULL));
    expect_misuse(attempt(OPTION_CONFIG, true, word, other, NULL));
    expect_misuse(attempt(OPTION_CONFIG | OPTION_SOCKET, false, joined, socket_path, NULL));
}

/* Output that is lost must not look like success. */
static void test_full_output(void **state)
{
    int full = open("/dev/full", O_WRONLY), saved = dup(STDOUT_FILENO);
    (void)state;
    fflush(stdout);
    assert_true(full >= 0 && saved >= 0);
    dup2(full, STDOUT_FILENO);
    struct attempt made = attempt(OPTION_CONFIG, false, help, NULL, NULL);
    clearerr(stdout);
    dup2(saved, STDOUT_FILENO);
    close(saved);
    close(full);
    assert_false(made.go_on);
    assert_int_equal(made.status, EXIT_FAILURE);
}

static void test_help(void **state)
{
    (void)state;
    struct attempt made = attempt(OPTION_CONFIG, false, joined, help, NULL);
    assert_false(made.go_on);
    assert_int_equal(made.status, EXIT_SUCCESS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),   cmocka_unit_test(test_flags_and_word),
        cmocka_unit_test(test_mistakes), cmocka_unit_test(test_full_output),
        cmocka_unit_test(test_help),     cmocka_unit_test(test_capture),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
