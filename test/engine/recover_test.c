/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What engine_create promises about the sessions it finds: which live on under changed settings or in another
 * geometry, what it says became of the others, and that no content of the records does worse than lose them.
 */
#include "engine/memory.h"
#include "test/engine/actions.h"

enum {
    CLIENTS = 8,
    REMOTES = 3,
    CORRUPTIONS = 3000,
};

static struct stage stage;
static uint32_t now = 100;
static struct engine_continued continued;

static void open_sessions(unsigned clients, unsigned remotes)
{
    for (unsigned instance = 0; instance < 2; instance++)
        for (unsigned client = 0; client < clients; client++)
            for (unsigned remote = 0; remote < remotes; remote++)
                assert_true(act(&stage, (struct action){.kind = ACTION_OPEN,
                                                        .instance = instance,
                                                        .client = client,
                                                        .remote = remote,
                                                        .tick = now}));
}

static int set_up(void **state)
{
    (void)state;
    now = 100;
    audit_transports = 1u << TRANSPORT_UDP;
    stage_open(&stage, 16, 2);
    stage.limit = 64;
    stage.settings.nat64[0].sessions_per_subscriber = stage.settings.nat64[1].sessions_per_subscriber = 64;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    stage_close(&stage);
    return 0;
}

static void be_exact(void)
{
    struct audit audit;
    const char *wrong = audit_exact(stage.table, &audit);
    if (wrong != NULL)
        fail_msg("%s", wrong);
}

static void start_again(void)
{
    engine_destroy(stage.engine);
    stage_start(&stage, now);
    engine_continued(stage.engine, &continued);
    be_exact();
}

/* Starts over a new table of another geometry, from the one there is. */
static void start_in(uint32_t sessions, uint32_t addresses, uint32_t counters)
{
    struct table *previous = stage.table;
    char error[256];
    engine_destroy(stage.engine);
    stage.geometry =
        (struct geometry){.sessions = sessions, .addresses = addresses, .workers = 1, .counters = counters};
    stage.table = table_create(&stage.geometry, 99);
    assert_non_null(stage.table);
    struct engine_options options = {.table = stage.table,
                                     .settings = &stage.settings,
                                     .previous = previous,
                                     .workers = 1,
                                     .seed = 2,
                                     .now = now * NANOSECONDS};
    stage.engine = engine_create(&options, error, sizeof(error));
    if (stage.engine == NULL)
        fail_msg("%s", error);
    engine_continued(stage.engine, &continued);
    table_destroy(previous);
    be_exact();
}

static bool find(unsigned instance, unsigned client, unsigned remote, struct found *found)
{
    struct action action = {.instance = instance, .client = client, .remote = remote};
    struct key6 key = action_key(&action);
    return session_find6(stage.table, &key, hash_key6(stage.table, &key), now, found);
}

static unsigned live_in(unsigned instance)
{
    struct found found;
    unsigned n = 0;
    for (unsigned client = 0; client < CLIENTS; client++)
        for (unsigned remote = 0; remote < REMOTES; remote++)
            n += find(instance, client, remote, &found);
    return n;
}

static be16 port_of(unsigned instance, unsigned client)
{
    struct found found = {.index = NO_RECORD};
    assert_true(find(instance, client, 0, &found));
    return found.copy.pool_port;
}

static void all_of_it_lives_on(void **state)
{
    (void)state;
    open_sessions(4, REMOTES);
    be16 port = port_of(1, 2);
    struct found before = {.index = NO_RECORD}, after = {.index = NO_RECORD};
    assert_true(find(0, 3, 1, &before));
    assert_true(session_touch(stage.table, &before, now + 77, TCP_ESTABLISHED));
    start_again();
    assert_int_equal(continued.sessions, 8 * REMOTES);
    assert_int_equal(continued.bindings, 8);
    assert_int_equal(continued.expired + continued.undone + continued.disallowed + continued.no_room +
                         continued.damaged,
                     0);
    assert_int_equal(live_in(0) + live_in(1), 8 * REMOTES);
    assert_int_equal(port_of(1, 2), port);
    assert_true(find(0, 3, 1, &after));
    assert_int_equal(life_expires(after.copy.life), now + 77);
    assert_int_equal(life_state(after.copy.life), TCP_ESTABLISHED);
    /* A binding goes on with its port for new sessions. */
    assert_true(act(&stage, (struct action){.kind = ACTION_OPEN, .client = 2, .remote = 9, .tick = now}));
    assert_true(find(0, 2, 9, &after));
    assert_int_equal(after.copy.pool_port, port_of(0, 2));
}

/*
 * A table of layout 2: `until` a word of its own behind the users, whose count had 32 bits, and behind that
 * kind and counted.
 */
static void become_layout_2(struct table *table)
{
    for (uint32_t i = 0; i < records_used(table); i++) {
        struct record *record = record_at(table, i);
        uint8_t *bytes = (uint8_t *)record;
        uint32_t until = now + 10;
        uint8_t kind = record->kind, counted = record->counted;
        record->users = (uint64_t)users_generation(record->users) << 48 | users_count(record->users);
        memset(bytes + 56, 0, 8);
        memcpy(bytes + 56, &until, sizeof(until));
        bytes[60] = kind;
        bytes[61] = counted;
    }
    header_of(table)->layout = 2;
    table->layout = 2;
}

static void layout_2_is_taken_over(void **state)
{
    (void)state;
    open_sessions(4, REMOTES);
    be16 port = port_of(1, 2);
    become_layout_2(stage.table);
    start_in(512, 2, 0);
    assert_int_equal(continued.sessions, 8 * REMOTES);
    assert_int_equal(continued.bindings, 8);
    assert_int_equal(continued.damaged, 0);
    assert_int_equal(live_in(0) + live_in(1), 8 * REMOTES);
    assert_int_equal(port_of(1, 2), port);
}

/* A table as it was before half-open sessions were counted: without the ring of them and its head and tail.
 */
static void become_layout_3(struct table *table)
{
    struct table_header *header = header_of(table);
    struct extent ring = table_extent(&header->geometry, SEGMENT_HALF_OPEN);
    memory_unmap(table->segment[SEGMENT_HALF_OPEN], ring.element * ring.count);
    table->segment[SEGMENT_HALF_OPEN] = NULL;
    header->filtered = header->half_open = 0;
    header->half_open_head = header->half_open_tail = 0;
    header->layout = table->layout = 3;
}

static void half_open_sessions_of_layout_3_are_counted(void **state)
{
    (void)state;
    struct found half_open = {.index = NO_RECORD}, found = {.index = NO_RECORD};
    open_sessions(4, REMOTES);
    assert_true(find(0, 3, 1, &half_open));
    assert_true(session_touch(stage.table, &half_open, now + 5, TCP_V6_INIT));
    be16 port = port_of(1, 2);
    become_layout_3(stage.table);
    start_in(512, 2, 0);
    assert_int_equal(continued.sessions, 8 * REMOTES);
    assert_int_equal(continued.bindings, 8);
    assert_int_equal(continued.damaged, 0);
    assert_int_equal(live_in(0) + live_in(1), 8 * REMOTES);
    assert_int_equal(port_of(1, 2), port);
    assert_int_equal(half_open_count(stage.table), 1);
    assert_true(find(0, 3, 1, &found));
    assert_int_equal(*half_open_slot_at(stage.table, 0),
                     slot_make(0, life_generation(found.copy.life), found.index));
}

/* As many as the older version let in, which may be more than fit the ring. */
static void more_half_open_sessions_than_may_be_make_room(void **state)
{
    (void)state;
    struct found found = {.index = NO_RECORD};
    open_sessions(CLIENTS, REMOTES);
    for (unsigned client = 0; client < CLIENTS; client++)
        for (unsigned remote = 0; remote < REMOTES; remote++) {
            assert_true(find(0, client, remote, &found));
            assert_true(session_touch(stage.table, &found, now + 5, TCP_V6_INIT));
        }
    become_layout_3(stage.table);
    start_in(64, 2, 0);
    assert_int_equal(continued.sessions, 2 * CLIENTS * REMOTES);
    assert_int_equal(half_open_count(stage.table), CLIENTS * REMOTES);
    assert_true(half_open_count(stage.table) > (int32_t)half_open_limit(stage.table));
    bool joined = false;
    for (unsigned tries = 0; tries < CLIENTS && !joined; tries++)
        joined = half_open_join(&stage.engine->worker[0].actor);
    assert_true(joined);
    assert_true(half_open_count(stage.table) <= (int32_t)half_open_limit(stage.table));
    half_open_add(stage.table, -1);
}

static void an_empty_table_has_nothing(void **state)
{
    (void)state;
    start_again();
    start_again();
    assert_int_equal(continued.sessions + continued.bindings + continued.damaged + continued.undone, 0);
}

static void what_expired_is_gone(void **state)
{
    (void)state;
    open_sessions(2, 2);
    struct found found;
    assert_true(find(0, 1, 1, &found));
    assert_true(session_touch(stage.table, &found, now + 100, 0));
    now += ACTION_LIFETIME + 1;
    start_again();
    assert_int_equal(continued.sessions, 1);
    assert_int_equal(continued.bindings, 1);
    assert_int_equal(continued.expired, 7);
    assert_true(find(0, 1, 1, &found));
}

/* Nobody lives longer than the settings let a new session live. */
static void a_lifetime_is_cut_to_the_settings(void **state)
{
    (void)state;
    struct found found;
    open_sessions(1, 1);
    assert_true(find(0, 0, 0, &found));
    assert_true(session_touch(stage.table, &found, 0xfffffff0u, 0));
    start_again();
    assert_true(find(0, 0, 0, &found));
    assert_int_equal(life_expires(found.copy.life), now + stage.settings.nat64[0].timeouts.udp);
}

static void a_larger_table_takes_all_with_their_counters(void **state)
{
    (void)state;
    struct found found = {.index = NO_RECORD};
    open_sessions(4, REMOTES);
    assert_true(find(1, 3, 2, &found));
    traffic_at(stage.table, found.index)->packets6 = 7;
    traffic_at(stage.table, found.index)->bytes4 = 9999;
    be16 port = port_of(0, 1);
    start_in(500, 5, 1);
    assert_int_equal(continued.sessions, 8 * REMOTES);
    assert_int_equal(continued.no_room, 0);
    assert_int_equal(port_of(0, 1), port);
    assert_true(find(1, 3, 2, &found));
    assert_int_equal(traffic_at(stage.table, found.index)->packets6, 7);
    assert_int_equal(traffic_at(stage.table, found.index)->bytes4, 9999);
    start_in(500, 5, 0);
    assert_int_equal(continued.sessions, 8 * REMOTES);
    start_in(500, 2, 1);
    assert_true(find(1, 3, 2, &found));
    assert_int_equal(traffic_at(stage.table, found.index)->packets6, 0);
}

static void a_smaller_table_takes_what_fits(void **state)
{
    (void)state;
    start_in(320, 2, 0);
    stage.settings.nat64[0].sessions = stage.settings.nat64[1].sessions = 300;
    stage.settings.nat64[0].sessions_per_subscriber = stage.settings.nat64[1].sessions_per_subscriber = 0;
    stage.limit = 0;
    for (unsigned remote = 0; remote < 20; remote++)
        for (unsigned client = 0; client < CLIENTS; client++)
            assert_true(
                act(&stage,
                    (struct action){.kind = ACTION_OPEN, .client = client, .remote = remote, .tick = now}));
    start_in(64, 2, 0);
    assert_int_equal(continued.sessions, 80); /* 64 and a quarter more */
    assert_int_equal(continued.no_room, 20 * CLIENTS - 80);
    assert_int_equal(continued.bindings, CLIENTS);
    assert_int_equal(live_in(0), CLIENTS * REMOTES);
}

/* Bindings whose sessions have all ended or expired take no room from those that are alive. */
static void what_is_dead_takes_no_room(void **state)
{
    (void)state;
    start_in(320, 2, 0);
    stage.settings.nat64[0].sessions = 300;
    stage.settings.nat64[0].sessions_per_subscriber = 0;
    stage.limit = 0;
    for (unsigned remote = 0; remote < 20; remote++)
        for (unsigned client = 0; client < CLIENTS; client++)
            assert_true(
                act(&stage,
                    (struct action){.kind = ACTION_OPEN, .client = client, .remote = remote, .tick = now}));
    now += ACTION_LIFETIME;
    for (unsigned remote = 20; remote < 30; remote++)
        assert_true(
            act(&stage, (struct action){.kind = ACTION_OPEN, .client = 1, .remote = remote, .tick = now}));
    now++;
    start_in(64, 2, 0);
    assert_int_equal(continued.sessions, 10);
    assert_int_equal(continued.no_room, 0);
}

static void a_smaller_pool_disallows(void **state)
{
    (void)state;
    open_sessions(CLIENTS, 1);
    stage.pool[0].low = 2008;
    unsigned outside = 0;
    for (unsigned client = 0; client < CLIENTS; client++)
        outside += from_be16(port_of(0, client)) < 2008;
    assert_true(outside > 0);
    start_again();
    assert_int_equal(continued.disallowed, outside);
    assert_int_equal(live_in(0), CLIENTS - outside);
    assert_int_equal(live_in(1), CLIENTS);
    stage.pool[1].first = to_be32(0xc0000299u);
    start_again();
    assert_int_equal(continued.disallowed, CLIENTS);
    assert_int_equal(live_in(1), 0);
}

static void a_prefix_that_is_gone_disallows(void **state)
{
    (void)state;
    open_sessions(4, 1);
    stage.settings.nat64[1].prefix.address.bytes[6] = 1;
    start_again();
    assert_int_equal(continued.disallowed, 4);
    assert_int_equal(live_in(0), 4);
    assert_int_equal(live_in(1), 0);
    stage.settings.nat64[0].prefix.length = 64;
    start_again();
    assert_int_equal(continued.sessions, 0);
}

/* In the settings; in the table they keep their numbers. */
static void instances_may_change_places(void **state)
{
    (void)state;
    open_sessions(4, 1);
    open_sessions(2, 2);
    assert_true(act(&stage, (struct action){.kind = ACTION_OPEN, .client = 7, .remote = 2, .tick = now}));
    be16 port = port_of(0, 3);
    struct nat64_settings first = stage.settings.nat64[0];
    stage.settings.nat64[0] = stage.settings.nat64[1];
    stage.settings.nat64[1] = first;
    start_again();
    assert_int_equal(continued.sessions, 13);
    assert_int_equal(live_in(0), 7);
    assert_int_equal(live_in(1), 6);
    assert_int_equal(port_of(0, 3), port);
    assert_int_equal(header_of(stage.table)->sessions[0], 7);
}

/* An instance that comes gets no number that records of another still have, however a start ends. */
static void a_new_instance_gets_a_free_number(void **state)
{
    (void)state;
    open_sessions(4, 1);
    stage.settings.nat64[0].prefix.address.bytes[6] = 9;
    start_again();
    assert_int_equal(continued.sessions, 4);
    assert_int_equal(live_in(1), 4);
    stage.settings.nat64[0] = stage.settings.nat64[1];
    stage.settings.nat64_count = 1;
    start_again();
    assert_int_equal(continued.sessions, 4);
    assert_int_equal(live_in(1), 4);
}

static void configure_static(unsigned client, uint16_t port)
{
    struct action action = {.client = client};
    struct key6 key = action_key(&action);
    stage.statics[0] = (struct static_binding){.ipv6 = key.client,
                                               .ipv4 = stage.pool[0].first,
                                               .port6 = key.client_port,
                                               .port4 = to_be16(port),
                                               .transport = TRANSPORT_UDP};
    stage.settings.nat64[0].static_count = 1;
}

static bool is_static(uint16_t port)
{
    struct found lead;
    return binding_find4(stage.table, 0, TRANSPORT_UDP, to_be16(port), now, &lead) &&
           (lead.copy.users & USERS_STATIC) != 0;
}

static void static_bindings_come_and_go(void **state)
{
    (void)state;
    configure_static(1, ACTION_STATIC_PORT);
    start_again();
    assert_true(is_static(ACTION_STATIC_PORT));
    open_sessions(4, 1);
    assert_int_equal(from_be16(port_of(0, 1)), ACTION_STATIC_PORT);
    start_again();
    assert_true(is_static(ACTION_STATIC_PORT));
    assert_int_equal(continued.sessions, 8);
    /* Gone from the settings, its port is nobody's, and its session goes. */
    stage.settings.nat64[0].static_count = 0;
    start_again();
    assert_int_equal(continued.disallowed, 1);
    assert_int_equal(live_in(0), 3);
    /* A dynamic binding becomes static where it is. */
    uint16_t port = from_be16(port_of(0, 2));
    configure_static(2, port);
    start_again();
    assert_true(is_static(port));
    assert_int_equal(live_in(0), 3);
    /* And is dynamic again, as long as it has a session. */
    stage.settings.nat64[0].static_count = 0;
    start_again();
    assert_int_equal(live_in(0), 3);
    assert_false(is_static(port));
    /* Another client's port is taken from it. */
    configure_static(0, port);
    start_again();
    assert_true(is_static(port));
    assert_int_equal(live_in(0), 1);
}

static void subscribers_are_counted_anew(void **state)
{
    (void)state;
    open_sessions(CLIENTS, 1);
    struct action refused = {.kind = ACTION_OPEN, .client = 1, .remote = 20, .tick = now};
    stage.settings.nat64[0].subscriber_prefix = 128;
    start_again();
    stage.limit = 1;
    assert_false(act(&stage, refused)); /* one a client, and each has one */
    stage.settings.nat64[0].subscriber_prefix = 32;
    start_again();
    stage.limit = 8;
    assert_false(
        act(&stage, refused)); /* all eight are one subscriber now, which has more than a lower limit */
    stage.limit = 9;
    assert_true(act(&stage, refused));
    stage.settings.nat64[0].sessions_per_subscriber = 0;
    start_again();
    stage.limit = 0;
    assert_int_equal(continued.sessions, 2 * CLIENTS + 1);
    struct audit audit;
    assert_null(audit_exact(stage.table, &audit));
}

static void a_table_that_holds_sessions_is_not_filled_from_another(void **state)
{
    (void)state;
    open_sessions(1, 1);
    struct geometry geometry = {.sessions = 64, .addresses = 2, .workers = 1};
    struct table *other = table_create(&geometry, 3);
    char error[256];
    assert_non_null(other);
    header_of(other)->fresh = 10;
    engine_destroy(stage.engine);
    struct engine_options options = {.table = stage.table,
                                     .settings = &stage.settings,
                                     .previous = other,
                                     .workers = 2,
                                     .seed = 2,
                                     .now = now * NANOSECONDS};
    stage.engine = engine_create(&options, error, sizeof(error));
    assert_non_null(stage.engine);
    engine_continued(stage.engine, &continued);
    assert_int_equal(continued.sessions, 2);
    assert_int_equal(continued.damaged, 0);
    table_destroy(other);
}

/* --- what may not be believed --------------------------------------------------------------------- */

/* A byte, a word, a whole record of noise, or a copy of another record. */
static void corrupt_once(struct random *random)
{
    uint64_t dice = random_next(random), noise = random_next(random);
    uint32_t used = records_used(stage.table);
    if (used == 0)
        return;
    struct record *record = record_at(stage.table, (uint32_t)(dice >> 32) % used);
    uint8_t *bytes = (uint8_t *)record;
    switch (dice % 8) {
    case 0:
        for (unsigned i = 0; i < sizeof(*record); i++)
            bytes[i] = (uint8_t)random_next(random);
        break;
    case 1:
        *record = *record_at(stage.table, (uint32_t)noise % used);
        break;
    case 2:
        record->lead = (uint32_t)(noise % 3 == 0 ? noise >> 32 : noise % used);
        break;
    case 3:
        record->life = life_in(record->life, (enum phase)(noise % 7));
        break;
    default:
        memcpy(bytes + noise % 8 * 8 + (noise >> 8) % 8, &dice, (noise >> 16) % 2 != 0 ? 1 : 0);
        bytes[(noise >> 24) % 64] ^= (uint8_t)(1u << (noise >> 32) % 8);
        break;
    }
}

static void corrupt_header(struct random *random)
{
    struct table_header *header = header_of(stage.table);
    uint64_t noise = random_next(random);
    header->fresh = noise % 4 == 0 ? noise : noise % (stage.table->constants.records + 8);
    stage.table->found = true; /* as table_attach says of one that another program wrote */
    if (noise % 8 == 1)
        header->instance[0].prefix_length = 0;
    for (unsigned i = 0; i < NAT64_INSTANCES_MAXIMUM; i++)
        header->sessions[i] = (uint32_t)random_next(random);
    for (unsigned i = 2; i < NAT64_INSTANCES_MAXIMUM; i++)
        header->instance[i].subscriber_prefix = (uint8_t)random_next(random);
    for (enum segment which = SEGMENT_LANES; which < SEGMENT_COUNT; which++) {
        struct extent extent = table_extent(&stage.geometry, which);
        uint8_t *bytes = stage.table->segment[which];
        for (unsigned i = 0; which != SEGMENT_RECORDS && i < 64 && extent.count != 0; i++)
            bytes[random_next(random) % (extent.element * extent.count)] = (uint8_t)random_next(random);
    }
}

static void nothing_in_the_records_does_harm(void **state)
{
    (void)state;
    struct random random = random_seed(17);
    uint64_t damaged = 0, kept = 0;
    struct audit audit;
    for (unsigned i = 0; i < CORRUPTIONS; i++) {
        uint64_t dice = random_next(&random);
        for (unsigned client = 0; client < 5; client++)
            (void)act(&stage, (struct action){.kind = ACTION_OPEN,
                                              .instance = client % 2,
                                              .client = client,
                                              .remote = (unsigned)dice % 8,
                                              .tick = now});
        now += (uint32_t)(dice >> 8) % 4;
        for (unsigned j = 0; j < 1 + (dice >> 16) % 6; j++)
            corrupt_once(&random);
        if (dice >> 60 == 0)
            corrupt_header(&random);
        engine_destroy(stage.engine);
        stage_start(&stage, now);
        engine_continued(stage.engine, &continued);
        damaged += continued.damaged;
        kept += continued.sessions;
        const char *wrong = audit_exact(stage.table, &audit);
        if (wrong != NULL)
            fail_msg("corruption %u: %s", i, wrong);
        if (dice >> 58 == 0) {
            end_everything(&stage);
            assert_null(audit_exact(stage.table, &audit));
            assert_int_equal(audit.free, stage.table->constants.records);
        }
    }
    assert_true(damaged > CORRUPTIONS / 10 && kept > CORRUPTIONS);
}

/* Every record noise, in place and as the source of a copy. */
static void noise_is_no_table(void **state)
{
    (void)state;
    struct random random = random_seed(18);
    for (unsigned i = 0; i < 20; i++) {
        header_of(stage.table)->fresh = stage.table->constants.records;
        for (uint32_t j = 0; j < stage.table->constants.records; j++) {
            uint64_t *words = (uint64_t *)record_at(stage.table, j);
            for (unsigned k = 0; k < sizeof(struct record) / 8; k++)
                words[k] = random_next(&random);
        }
        if (i % 2 == 0)
            start_again();
        else
            start_in(64 + i, 2, 1);
        assert_int_equal(continued.sessions, 0);
    }
}

int main(void)
{
#define WITH_STAGE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_STAGE(all_of_it_lives_on),
        WITH_STAGE(layout_2_is_taken_over),
        WITH_STAGE(half_open_sessions_of_layout_3_are_counted),
        WITH_STAGE(more_half_open_sessions_than_may_be_make_room),
        WITH_STAGE(an_empty_table_has_nothing),
        WITH_STAGE(what_expired_is_gone),
        WITH_STAGE(a_lifetime_is_cut_to_the_settings),
        WITH_STAGE(a_larger_table_takes_all_with_their_counters),
        WITH_STAGE(a_smaller_table_takes_what_fits),
        WITH_STAGE(what_is_dead_takes_no_room),
        WITH_STAGE(a_smaller_pool_disallows),
        WITH_STAGE(a_prefix_that_is_gone_disallows),
        WITH_STAGE(instances_may_change_places),
        WITH_STAGE(a_new_instance_gets_a_free_number),
        WITH_STAGE(static_bindings_come_and_go),
        WITH_STAGE(subscribers_are_counted_anew),
        WITH_STAGE(a_table_that_holds_sessions_is_not_filled_from_another),
        WITH_STAGE(nothing_in_the_records_does_harm),
        WITH_STAGE(noise_is_no_table),
    };
    return cmocka_run_group_tests_name("recover", tests, NULL, NULL);
}
