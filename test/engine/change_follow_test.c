/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Another plane of the table that follows a change of settings: it is told of every step, of each before what
 * that step takes away is ended, and in the end it goes by what is in force.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/engine.h"
#include "engine/worker.h"
#include "test/engine/audit.h"
#include "wire/ipv6.h"
#include "wire/transport.h"

enum {
    SECOND = 1000000000,
    STEPS = 8,
};

struct plane {
    struct settings settings;
    struct pool_range range[NAT64_INSTANCES_MAXIMUM];
    struct table *table;
    struct engine *engine;
    char error[256];
    unsigned steps;
    struct {
        const struct rules *rules;
        uint32_t leaving;  /* of the rules then */
        uint32_t sessions; /* in the table then */
        bool in_force;     /* for the engine itself */
    } step[STEPS];
};

/* In the table itself, which the engine may be changing. */
static uint32_t count_sessions(const struct plane *plane)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < records_used(plane->table); i++)
        count += life_phase(atomic_load64(&record_at(plane->table, i)->life)) == PHASE_LIVE;
    return count;
}

static void follow(void *context, const struct rules *rules)
{
    struct plane *plane = context;
    assert_true(plane->steps < STEPS);
    plane->step[plane->steps].rules = rules;
    plane->step[plane->steps].leaving = rules->leaving;
    plane->step[plane->steps].sessions = count_sessions(plane);
    plane->step[plane->steps].in_force = rules == engine_rules(plane->engine);
    plane->steps++;
}

/* Instances 0 and 1, with a pool address each. */
static int set_up(void **state)
{
    struct plane *plane = calloc(1, sizeof(*plane));
    const struct geometry geometry = {.sessions = 1024, .addresses = 4, .workers = 1};
    assert_non_null(plane);
    plane->settings.translation =
        (struct translation_settings){.tos = -1, .mtu6 = 1500, .mtu4 = 1500, .lowest_ipv6_mtu = 1280};
    plane->settings.nat64_count = 2;
    for (unsigned i = 0; i < 2; i++) {
        plane->range[i] = (struct pool_range){
            .first = to_be32(0xc0000201u + i), .count = 1, .low = 1024, .high = 65535, .transports = 7};
        plane->settings.nat64[i] =
            (struct nat64_settings){.prefix = {{{0x20, 0x01, 0x0d, 0xb8, 0, 0x64, 0, (uint8_t)i}}, 96},
                                    .sessions = 64,
                                    .sessions_per_subscriber = 64,
                                    .subscriber_prefix = 64,
                                    .pool = &plane->range[i],
                                    .pool_count = 1,
                                    .timeouts = {300, 60, 7440, 240, 6, 0, 0, 2}};
    }
    plane->table = table_create(&geometry, 1);
    struct engine_options options = {
        .table = plane->table, .settings = &plane->settings, .workers = 1, .seed = 1, .now = 100ull * SECOND};
    plane->engine = engine_create(&options, plane->error, sizeof(plane->error));
    assert_non_null(plane->engine);
    *state = plane;
    return 0;
}

static int take_down(void **state)
{
    struct plane *plane = *state;
    engine_destroy(plane->engine);
    table_destroy(plane->table);
    free(plane);
    return 0;
}

static enum verdict open_session(struct plane *plane, unsigned instance)
{
    struct {
        struct ipv6_header ip;
        struct udp_header udp;
    } datagram = {
        .ip = {.version_class_label = ipv6_first_word(0),
               .payload_length = to_be16(sizeof(datagram.udp)),
               .next_header = PROTOCOL_UDP,
               .hop_limit = 64,
               .source = {{0x20, 0x01, 0x0d, 0xb8, 0, 1, [15] = 2}},
               .destination = {{0x20, 0x01, 0x0d, 0xb8, 0, 0x64, 0, (uint8_t)instance, [12] = 203, 0, 113,
                                2}}},
        .udp = {.source = to_be16(3000),
                .destination = to_be16(53),
                .length = to_be16(sizeof(datagram.udp)),
                .checksum = 1},
    };
    uint8_t buffer[128] = {0};
    struct packet packet = {
        .buffer = buffer, .capacity = sizeof(buffer), .offset = 40, .length = sizeof(datagram)};
    enum verdict verdict = VERDICT_COUNT;
    memcpy(buffer + 40, &datagram, sizeof(datagram));
    engine_receive(engine_worker(plane->engine, 0), &packet, 1, 100ull * SECOND, &verdict);
    return verdict;
}

static bool change(struct plane *plane, const struct settings *settings, bool (*wait)(void *))
{
    struct engine_change wanted = {
        .settings = settings, .now = 100ull * SECOND, .wait = wait, .follow = follow, .context = plane};
    return engine_change(plane->engine, &wanted, plane->error, sizeof(plane->error));
}

static void goes_by_what_is_in_force(const struct plane *plane)
{
    assert_true(plane->steps > 0);
    for (unsigned i = 0; i < plane->steps; i++)
        assert_true(plane->step[i].in_force);
    assert_ptr_equal(plane->step[plane->steps - 1].rules, engine_rules(plane->engine));
}

static void be_exact(const struct plane *plane)
{
    struct audit audit;
    const char *wrong = audit_exact(plane->table, &audit);
    if (wrong != NULL)
        fail_msg("%s", wrong);
}

/* Nothing is taken away: one step is enough. */
static void hears_of_settings_that_only_add(void **state)
{
    struct plane *plane = *state;
    struct settings settings = plane->settings;
    const struct rules *before = engine_rules(plane->engine);
    assert_int_equal(open_session(plane, 0), VERDICT_TRANSLATED_6TO4);
    settings.nat64[0].timeouts.udp = 600;
    assert_true(change(plane, &settings, NULL));
    goes_by_what_is_in_force(plane);
    assert_ptr_not_equal(plane->step[0].rules, before);
    assert_int_equal(engine_rules(plane->engine)->settings.nat64[0].timeouts.udp, 600);
    assert_int_equal(count_sessions(plane), 1);
    be_exact(plane);
}

/* It must make no more sessions of an instance before those that there are end, or some would be left. */
static void hears_that_an_instance_leaves_before_its_sessions_end(void **state)
{
    struct plane *plane = *state;
    struct settings settings = plane->settings;
    assert_int_equal(open_session(plane, 0), VERDICT_TRANSLATED_6TO4);
    assert_int_equal(open_session(plane, 1), VERDICT_TRANSLATED_6TO4);
    settings.nat64_count = 1;
    assert_true(change(plane, &settings, NULL));
    goes_by_what_is_in_force(plane);
    assert_true(plane->steps >= 3); /* what remains; when that has ended; the new */
    assert_int_equal(plane->step[0].leaving, 1u << 1);
    assert_int_equal(plane->step[0].sessions, 2);
    assert_int_equal(plane->step[plane->steps - 1].sessions, 1);
    assert_int_equal(plane->step[plane->steps - 1].leaving, 0);
    assert_int_equal(count_sessions(plane), 1);
    be_exact(plane);
}

/* Settings that do not fit are not tried. */
static void hears_nothing_of_what_does_not_fit(void **state)
{
    struct plane *plane = *state;
    struct settings settings = plane->settings;
    struct pool_range large = plane->range[0];
    large.count = 64;
    settings.nat64[0].pool = &large;
    assert_false(change(plane, &settings, NULL));
    assert_int_equal(plane->steps, 0);
}

static bool give_up(void *context)
{
    (void)context;
    return false;
}

/* A worker that does not get on: the old rules come back, for the other plane, too. */
static void hears_of_the_old_rules_that_come_back(void **state)
{
    struct plane *plane = *state;
    struct settings settings = plane->settings;
    const struct rules *before = engine_rules(plane->engine);
    struct worker *worker = engine_worker(plane->engine, 0);
    assert_int_equal(open_session(plane, 1), VERDICT_TRANSLATED_6TO4);
    settings.nat64_count = 1;
    worker_enter(worker, 100ull * SECOND);
    assert_false(change(plane, &settings, give_up));
    worker_leave(worker);
    assert_true(plane->steps >= 2);
    goes_by_what_is_in_force(plane);
    assert_ptr_equal(plane->step[plane->steps - 1].rules, before);
    assert_int_equal(plane->step[plane->steps - 1].leaving, 0);
    assert_int_equal(count_sessions(plane), 1);
    be_exact(plane);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(hears_of_settings_that_only_add, set_up, take_down),
        cmocka_unit_test_setup_teardown(hears_that_an_instance_leaves_before_its_sessions_end, set_up,
                                        take_down),
        cmocka_unit_test_setup_teardown(hears_nothing_of_what_does_not_fit, set_up, take_down),
        cmocka_unit_test_setup_teardown(hears_of_the_old_rules_that_come_back, set_up, take_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
