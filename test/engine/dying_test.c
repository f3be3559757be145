/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An actor dies before each of the writes that an operation makes, one after the other.
 *
 * Each time: the others go on, with the same session and with others, and lose no more than one record, one
 * port, one use of a binding and one place in each count (two, where it died while it ended an expired one
 * that was in its way); nothing that must hold at any instant is broken. Then the engine starts anew over
 * what is left: the sessions that were live are, with their ports, and the table is exact.
 */
#include "test/engine/steps.h"

#include "test/engine/actions.h"

enum {
    BEFORE = 4,
    RIVAL_STRIDE = 5, /* where a rival comes by: before every so many operations */
};

struct death {
    const char *name;
    uint16_t ports;
    uint32_t limit;               /* sessions a subscriber; 0: 8 */
    struct action before[BEFORE]; /* done before; up to the first at tick 0 */
    struct action victim, rival;  /* the rival, if it has a tick, acts while the victim is stopped */
    bool scarce;                  /* what the dead one holds may be what the others need */
    uint32_t lost;                /* so many of each kind at most; 0: one */
};

#define AT(when, what, who, whom)                                                                            \
    {                                                                                                        \
        .kind = ACTION_##what, .client = (who), .remote = (whom), .tick = (when)                             \
    }
#define NOBODY                                                                                               \
    {                                                                                                        \
        .tick = 0                                                                                            \
    }

static const struct death deaths[] = {
    {"making a session and its binding", 8, 0, {{0}}, AT(100, OPEN, 1, 1), NOBODY, false, 0},
    {"joining a binding", 8, 0, {AT(100, OPEN, 1, 1)}, AT(100, OPEN, 1, 2), NOBODY, false, 0},
    {"joining one whose lead has gone",
     8,
     0,
     {AT(100, OPEN, 1, 1), AT(100, OPEN, 1, 2), AT(100, END, 1, 1)},
     AT(100, OPEN, 1, 1),
     NOBODY,
     false,
     0},
    {"over an expired session", 8, 0, {AT(100, OPEN, 1, 1)}, AT(200, OPEN, 1, 1), NOBODY, false, 2},
    {"over an expired binding",
     8,
     0,
     {AT(100, OPEN, 1, 1), AT(100, OPEN, 1, 2), AT(100, OPEN, 1, 3)},
     AT(200, OPEN, 1, 1),
     NOBODY,
     false,
     2},
    {"ending the last session", 8, 0, {AT(100, OPEN, 1, 1)}, AT(100, END, 1, 1), NOBODY, false, 0},
    {"ending the lead",
     8,
     0,
     {AT(100, OPEN, 1, 1), AT(100, OPEN, 1, 2)},
     AT(100, END, 1, 1),
     NOBODY,
     false,
     0},
    {"ending one that joined",
     8,
     0,
     {AT(100, OPEN, 1, 1), AT(100, OPEN, 1, 2)},
     AT(100, END, 1, 2),
     NOBODY,
     false,
     0},
    {"ending the last after the lead",
     8,
     0,
     {AT(100, OPEN, 1, 1), AT(100, OPEN, 1, 2), AT(100, END, 1, 1)},
     AT(100, END, 1, 2),
     NOBODY,
     false,
     0},
    {"refreshing", 8, 0, {AT(100, OPEN, 1, 1), AT(100, OPEN, 1, 2)}, AT(105, TOUCH, 1, 2), NOBODY, false, 0},
    {"making a static binding", 8, 0, {{0}}, AT(100, STATIC, 1, 0), NOBODY, false, 0},
    {"making one over an expired binding",
     8,
     0,
     {AT(100, OPEN, 1, 1)},
     AT(200, STATIC, 1, 0),
     NOBODY,
     false,
     2},
    {"losing a static port", 8, 0, {AT(100, STATIC, 2, 0)}, AT(100, STATIC, 1, 0), NOBODY, false, 0},
    {"ending a static binding",
     8,
     0,
     {AT(100, STATIC, 1, 0), AT(100, OPEN, 1, 1), AT(100, OPEN, 1, 2)},
     AT(100, END_STATIC, 1, 0),
     NOBODY,
     false,
     0},
    {"ending a static binding without sessions",
     8,
     0,
     {AT(100, STATIC, 1, 0)},
     AT(100, END_STATIC, 1, 0),
     NOBODY,
     false,
     0},
    {"making a binding static", 8, 0, {AT(100, OPEN, 1, 1)}, AT(100, CONVERT, 1, 0), NOBODY, false, 0},
    {"ending a static binding that began with a session",
     8,
     0,
     {AT(100, OPEN, 1, 1), AT(100, CONVERT, 1, 0)},
     AT(100, END_STATIC, 1, 0),
     NOBODY,
     false,
     0},
    {"ending a static binding whose first session has gone",
     8,
     0,
     {AT(100, OPEN, 1, 1), AT(100, OPEN, 1, 2), AT(100, CONVERT, 1, 0), AT(100, END, 1, 1)},
     AT(100, END_STATIC, 1, 0),
     NOBODY,
     false,
     0},
    {"the first of a subscriber after another left",
     8,
     0,
     {AT(100, OPEN, 2, 1), AT(100, END, 2, 1)},
     AT(100, OPEN, 1, 1),
     NOBODY,
     false,
     0},
    {"a subscriber that has its number",
     8,
     2,
     {AT(100, OPEN, 2, 1), AT(100, OPEN, 2, 2)},
     AT(100, OPEN, 1, 1),
     NOBODY,
     true,
     0},
    {"with the last port", 1, 0, {{0}}, AT(100, OPEN, 1, 1), NOBODY, true, 0},
    {"without a port", 1, 0, {AT(100, OPEN, 5, 1)}, AT(100, OPEN, 1, 1), NOBODY, true, 0},
    {"making, and losing to a rival", 8, 0, {{0}}, AT(100, OPEN, 1, 1), AT(100, OPEN, 1, 1), false, 0},
    {"making, and losing the binding", 8, 0, {{0}}, AT(100, OPEN, 1, 1), AT(100, OPEN, 1, 2), false, 0},
    {"joining, and losing to a rival",
     8,
     0,
     {AT(100, OPEN, 1, 1)},
     AT(100, OPEN, 1, 2),
     AT(100, OPEN, 1, 2),
     false,
     0},
    {"joining what ends meanwhile",
     8,
     0,
     {AT(100, OPEN, 1, 1)},
     AT(100, OPEN, 1, 2),
     AT(100, END, 1, 1),
     false,
     0},
    {"a static binding, and losing to its client",
     8,
     0,
     {{0}},
     AT(100, STATIC, 1, 0),
     AT(100, OPEN, 1, 1),
     false,
     0},
};

static struct stepper victim;
static unsigned long points;
static const struct death *death;
static int rival_before, died_before;

static void fail_here(const char *what, const char *why)
{
    fail_msg("%s: rival before step %d, death before step %d, %s: %s", death->name, rival_before, died_before,
             what, why);
}

/* What must hold with somebody dead. */
static void hold(const struct stage *stage, const char *when)
{
    struct audit audit;
    const char *wrong = audit_table(stage->table, &audit);
    if (wrong != NULL)
        fail_here(when, wrong);
    uint32_t most = death->lost != 0 ? death->lost : 1;
    if (audit.lost_records > most || audit.lost_ports > most || audit.lost_uses > most ||
        audit.lost_sessions > most || audit.lost_places > most)
        fail_here(when, "more is lost than one may lose");
}

static void others_go_on(struct stage *stage)
{
    const struct action *own = &death->victim;
    const struct action others[] = {AT(own->tick, OPEN, own->client, own->remote),
                                    AT(own->tick, OPEN, own->client, 9), AT(own->tick, OPEN, 3, 9),
                                    AT(own->tick, OPEN, 6, 9)};
    hold(stage, "at once");
    for (unsigned i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        if (!act(stage, others[i]) && !death->scarce)
            fail_here("an actor that goes on", "it is refused a session");
    hold(stage, "when the others went on");
    const struct action end = AT(own->tick, END, own->client, own->remote);
    assert_true(act(stage, end));
    hold(stage, "when a session was ended");
}

struct memory {
    uint32_t sessions, doubled, undone;
    struct record session[64];
};

/* A port that only a static binding can have, and that one is no longer configured. */
static bool is_configured(const struct stage *stage, const struct record *record)
{
    return from_be16(record->pool_port) != ACTION_STATIC_PORT || stage->settings.nat64[0].static_count != 0;
}

/*
 * A closed binding and one that was made beside it after somebody died: a start keeps one, since nothing says
 * of the two what the dead one had in mind.
 */
static bool is_doubled(const struct stage *stage, const struct record *record)
{
    struct binding_key key = record_binding_key(record);
    unsigned n = 0;
    for (uint32_t i = 0; i < records_used(stage->table); i++)
        n += audit_leads(record_at(stage->table, i), i) &&
             record_has_binding(record_at(stage->table, i), &key);
    return n > 1;
}

static void remember(const struct stage *stage, struct memory *memory)
{
    memory->sessions = memory->doubled = memory->undone = 0;
    for (uint32_t i = 0; i < records_used(stage->table); i++) {
        const struct record *record = record_at(stage->table, i);
        enum phase phase = life_phase(record->life);
        memory->undone += phase == PHASE_MAKING || phase == PHASE_KILLED || phase == PHASE_ENDING;
        if (!life_is_session(record->life, death->victim.tick) || !is_configured(stage, record))
            continue;
        if (is_doubled(stage, record))
            memory->doubled++;
        else
            memory->session[memory->sessions++] = *record;
    }
}

/* The configuration knows the static binding, or knew it. */
static void configure_static(struct stage *stage)
{
    for (uint32_t i = 0; i < records_used(stage->table); i++) {
        const struct record *record = record_at(stage->table, i);
        if (audit_leads(record, i) && (record->users & USERS_CLOSING) == 0 &&
            from_be16(record->pool_port) == ACTION_STATIC_PORT) {
            stage->statics[0] = (struct static_binding){.ipv6 = record->client,
                                                        .ipv4 = record->pool,
                                                        .port6 = record->client_port,
                                                        .port4 = record->pool_port,
                                                        .transport = record->transport};
            stage->settings.nat64[0].static_count = 1;
        }
    }
}

static void start_anew(struct stage *stage)
{
    struct memory memory;
    struct audit audit;
    struct engine_continued continued;
    configure_static(stage);
    remember(stage, &memory);
    engine_destroy(stage->engine);
    stage_start(stage, death->victim.tick);
    const char *wrong = audit_exact(stage->table, &audit);
    if (wrong != NULL)
        fail_here("after the start", wrong);
    engine_continued(stage->engine, &continued);
    if (continued.sessions < memory.sessions || continued.sessions > memory.sessions + memory.doubled)
        fail_here("after the start", "it counts other sessions than there were");
    if (continued.undone != memory.undone || continued.damaged != 0)
        fail_here("after the start", "it does not count as undone what was half made or half ended");
    for (uint32_t i = 0; i < memory.sessions; i++) {
        struct key6 key = record_key6(&memory.session[i]);
        struct found found;
        if (!session_find6(stage->table, &key, hash_key6(stage->table, &key), death->victim.tick, &found) ||
            found.copy.pool_port != memory.session[i].pool_port || found.copy.pool != memory.session[i].pool)
            fail_here("after the start", "a session is gone or has another port");
    }
    end_everything(stage);
    wrong = audit_exact(stage->table, &audit);
    if (wrong == NULL && audit.free != stage->table->constants.records)
        wrong = "a record does not come back";
    if (wrong != NULL)
        fail_here("when all has ended", wrong);
}

/* One death; false: the victim got to its end first. */
static bool die(void)
{
    struct stage stage;
    stage_open(&stage, death->ports, 1);
    stage.limit = death->limit != 0 ? death->limit : 8;
    for (unsigned i = 0; i < BEFORE && death->before[i].tick != 0; i++)
        assert_true(act(&stage, death->before[i]));
    struct action one = action_on(&stage, death->victim, 0);
    bool rival = death->rival.tick != 0;
    stepper_prepare(&victim, action_run, &one, rival);
    if (rival) {
        stepper_continue(&victim, rival_before);
        (void)act(&stage, death->rival);
    }
    stepper_continue(&victim, died_before);
    bool died = !victim.done;
    others_go_on(&stage);
    start_anew(&stage);
    stage_close(&stage);
    points += died;
    return died;
}

static void others_go_on_and_a_start_mends(void **state)
{
    death = *state;
    audit_transports = 1u << TRANSPORT_UDP;
    rival_before = 1;
    do {
        died_before = death->rival.tick != 0 ? rival_before + 1 : 1;
        while (die())
            died_before++;
        rival_before += RIVAL_STRIDE;
    } while (death->rival.tick != 0 && rival_before < died_before);
}

static void all_deaths_counted(void **state)
{
    (void)state;
    print_message("# %lu deaths\n", points);
    assert_true(points > 500);
    free(victim.stack);
}

int main(void)
{
    enum { DEATHS = sizeof(deaths) / sizeof(deaths[0]) };
    struct CMUnitTest tests[DEATHS + 1];
    for (unsigned i = 0; i < DEATHS; i++)
        tests[i] = (struct CMUnitTest){deaths[i].name, others_go_on_and_a_start_mends, NULL, NULL,
                                       (void *)&deaths[i]};
    tests[DEATHS] = (struct CMUnitTest)cmocka_unit_test(all_deaths_counted);
    return cmocka_run_group_tests_name("dying", tests, NULL, NULL);
}
