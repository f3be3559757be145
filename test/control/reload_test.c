/* SPDX-License-Identifier: BSD-2-Clause */
/* A reload by a daemon of which there are the configuration, the keeper and the engine. */
#include "test/control/machine.h"

#include "control/daemon.h"

enum { SESSIONS = 16 };

#define CONFIG(address)                                                                                      \
    "plane: {name: test0, routes: false, workers: 2}\n"                                                      \
    "nat64:\n"                                                                                               \
    "  - prefix: 2001:db8:64::/96\n"                                                                         \
    "    pool: [{address: " address "}]\n"

static const char *directory;
static char path[96];
static struct daemon_options options;
static struct daemon running;

static void write_config(const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void make_engine(void)
{
    char error[256];
    struct geometry geometry = running.config->geometry;
    geometry.sessions = SESSIONS; /* fewer than the configuration says */
    geometry.workers = running.workers = 2;
    struct engine_options engine_options = {.table = table_create(&geometry, 1),
                                            .settings = &running.config->settings,
                                            .workers = running.workers,
                                            .seed = 1,
                                            .now = uv_hrtime()};
    assert_non_null(engine_options.table);
    running.table = (void *)engine_options.table;
    running.engine = engine_create(&engine_options, error, sizeof(error));
    assert_non_null(running.engine);
}

static int set_up(void **context)
{
    char base[96], error[256];
    struct config_error problem;
    (void)context;
    directory = directory_make();
    snprintf(path, sizeof(path), "%s/config", directory);
    snprintf(base, sizeof(base), "%s/run", directory);
    write_config(CONFIG("192.0.2.1"));
    options = (struct daemon_options){.config = path};
    running = (struct daemon){.options = &options, .config = config_load(path, &problem)};
    assert_non_null(running.config);
    assert_true(state_open(&running.state, base, "test0", error, sizeof(error)));
    struct keeper_options keeper_options = {
        .state = &running.state, .config = path, .socket = "", .device = "test0"};
    assert_true(keeper_start(&running.keeper, &keeper_options));
    make_engine();
    return 0;
}

static int tear_down(void **context)
{
    (void)context;
    engine_destroy(running.engine);
    table_destroy((void *)running.table);
    config_free(running.config);
    config_free(running.retired);
    (void)keeper_finish(&running.keeper);
    state_close(&running.state);
    directory_remove(directory);
    return 0;
}

static void test_puts_the_file_in_force(void **context)
{
    struct daemon_reloaded reloaded;
    struct config_error error;
    struct config *before = running.config;
    (void)context;
    write_config(CONFIG("192.0.2.2"));
    assert_true(daemon_reload(&running, &reloaded, &error));
    assert_ptr_equal(running.retired, before);
    assert_int_equal(running.config->settings.nat64[0].pool[0].first, to_be32(0xc0000202u));
    daemon_free_retired(&running);
    assert_null(running.retired);
}

/* Static bindings for which the table has no room: found out when workers may have seen the settings. */
static void test_keeps_what_it_refused_while_that_may_be_in_use(void **context)
{
    struct daemon_reloaded reloaded;
    struct config_error error;
    struct config *before = running.config;
    char text[8192] = CONFIG("192.0.2.2") "    static:\n";
    (void)context;
    for (unsigned i = 0; i < 2 * SESSIONS; i++)
        snprintf(text + strlen(text), sizeof(text) - strlen(text),
                 "      - {protocol: tcp, ipv6: \"[2001:db8::%u]:80\", ipv4: \"192.0.2.2:%u\"}\n", i + 1,
                 2000 + i);
    write_config(text);
    assert_false(daemon_reload(&running, &reloaded, &error));
    assert_non_null(strstr(error.text, "static binding"));
    assert_ptr_equal(running.config, before);
    assert_non_null(running.retired);
    assert_int_equal(running.retired->settings.nat64[0].static_count, 2 * SESSIONS);
    write_config(CONFIG("192.0.2.2"));
    assert_true(daemon_reload(&running, &reloaded, &error));
    assert_ptr_equal(running.retired, before);
}

static void test_forgets_what_no_worker_has_seen(void **context)
{
    struct daemon_reloaded reloaded;
    struct config_error error;
    (void)context;
    write_config("nat64: []\n");
    assert_false(daemon_reload(&running, &reloaded, &error));
    write_config(
        "plane: {name: test1}\nnat64: [{prefix: \"2001:db8:64::/96\", pool: [{address: 192.0.2.1}]}]\n");
    assert_false(daemon_reload(&running, &reloaded, &error));
    assert_non_null(strstr(error.text, "needs restart"));
    assert_null(running.retired);
}

#define RELOAD_TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RELOAD_TEST(test_puts_the_file_in_force),
        RELOAD_TEST(test_keeps_what_it_refused_while_that_may_be_in_use),
        RELOAD_TEST(test_forgets_what_no_worker_has_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
