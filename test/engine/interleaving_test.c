/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Two actors at once, in every schedule of a kind: one is stopped before any of its atomic operations, the
 * other goes on up to any of its own, the first finishes, the other finishes. When both have, the table must
 * be as exact as if they had come one after the other; when everything is ended then, nothing may be left.
 *
 * This plays the real code where test/model/ explores its protocol.
 */
#include "test/engine/steps.h"

#include "test/engine/actions.h"

#ifdef __SANITIZE_ADDRESS__
#define STRIDE                                                                                               \
    7 /* of the first one's stops: what the sanitizer looks for is in all schedules much the same */
#else
#define STRIDE 1
#endif

enum {
    BEFORE = 4,
};

struct meeting {
    const char *name;
    uint16_t ports;
    uint32_t limit;               /* sessions a subscriber; 0: 8 */
    struct action before[BEFORE]; /* done by the time they meet; up to the first at tick 0 */
    struct action first, second;
    unsigned sessions[2]; /* at least and at most so many are live afterwards */
};

#define AT(when, what, who, whom)                                                                            \
    {                                                                                                        \
        .kind = ACTION_##what, .client = (who), .remote = (whom), .tick = (when)                             \
    }

static const struct meeting meetings[] = {
    {"the same session", 4, 0, {{0}}, AT(100, OPEN, 1, 1), AT(100, OPEN, 1, 1), {1, 1}},
    {"two sessions of a new binding", 4, 0, {{0}}, AT(100, OPEN, 1, 1), AT(100, OPEN, 1, 2), {2, 2}},
    {"two sessions join", 4, 0, {AT(100, OPEN, 1, 1)}, AT(100, OPEN, 1, 2), AT(100, OPEN, 1, 3), {3, 3}},
    {"the same session joins", 4, 0, {AT(100, OPEN, 1, 1)}, AT(100, OPEN, 1, 2), AT(100, OPEN, 1, 2), {2, 2}},
    {"over an expired one", 4, 0, {AT(100, OPEN, 1, 1)}, AT(200, OPEN, 1, 1), AT(200, OPEN, 1, 1), {1, 1}},
    {"over an expired binding",
     4,
     0,
     {AT(100, OPEN, 1, 1), AT(100, OPEN, 1, 2)},
     AT(200, OPEN, 1, 1),
     AT(200, OPEN, 1, 2),
     {2, 2}},
    {"over one whose lead has gone",
     4,
     0,
     {AT(100, OPEN, 1, 1), AT(100, OPEN, 1, 2), AT(100, END, 1, 1)},
     AT(200, OPEN, 1, 1),
     AT(200, OPEN, 1, 2),
     {2, 3}},
    {"renewed by one whose second is earlier",
     4,
     0,
     {AT(100, OPEN, 1, 1)},
     AT(110, TOUCH, 1, 1),
     AT(111, OPEN, 1, 1),
     {1, 1}},
    {"a join to a renewed one",
     4,
     0,
     {AT(100, OPEN, 1, 1)},
     AT(110, TOUCH, 1, 1),
     AT(111, OPEN, 1, 2),
     {1, 2}},
    {"join and end of the last",
     4,
     0,
     {AT(100, OPEN, 1, 1)},
     AT(100, OPEN, 1, 2),
     AT(100, END, 1, 1),
     {1, 1}},
    {"end of both",
     4,
     0,
     {AT(100, OPEN, 1, 1), AT(100, OPEN, 1, 2)},
     AT(100, END, 1, 1),
     AT(100, END, 1, 2),
     {0, 0}},
    {"end and end", 4, 0, {AT(100, OPEN, 1, 1)}, AT(100, END, 1, 1), AT(100, END, 1, 1), {0, 0}},
    {"end and begin", 4, 0, {AT(100, OPEN, 1, 1)}, AT(100, END, 1, 1), AT(100, OPEN, 1, 1), {0, 1}},
    {"touch and end", 4, 0, {AT(100, OPEN, 1, 1)}, AT(105, TOUCH, 1, 1), AT(105, END, 1, 1), {0, 0}},
    {"the first of a subscriber", 4, 0, {{0}}, AT(100, OPEN, 1, 1), AT(100, OPEN, 2, 1), {2, 2}},
    {"one place for a subscriber", 4, 1, {{0}}, AT(100, OPEN, 1, 1), AT(100, OPEN, 2, 1), {1, 1}},
    {"the last of a subscriber",
     4,
     0,
     {AT(100, OPEN, 1, 1)},
     AT(100, OPEN, 2, 1),
     AT(100, END, 1, 1),
     {1, 1}},
    {"two leave a subscriber",
     4,
     0,
     {AT(100, OPEN, 1, 1), AT(100, OPEN, 2, 1)},
     AT(100, END, 1, 1),
     AT(100, END, 2, 1),
     {0, 0}},
    {"the last port", 1, 0, {{0}}, AT(100, OPEN, 1, 1), AT(100, OPEN, 5, 1), {1, 1}},
    {"a port given back", 1, 0, {AT(100, OPEN, 1, 1)}, AT(100, END, 1, 1), AT(100, OPEN, 5, 1), {0, 1}},
    {"static and dynamic", 4, 0, {{0}}, AT(100, STATIC, 1, 0), AT(100, OPEN, 1, 1), {1, 1}},
    {"a static port twice", 4, 0, {{0}}, AT(100, STATIC, 1, 0), AT(100, STATIC, 2, 0), {0, 0}},
    {"a static client twice", 4, 0, {{0}}, AT(100, STATIC, 1, 0), AT(100, STATIC, 1, 0), {0, 0}},
    {"static over expired", 4, 0, {AT(100, OPEN, 1, 1)}, AT(200, STATIC, 1, 0), AT(200, OPEN, 1, 1), {1, 1}},
    {"join to a static one that ends",
     4,
     0,
     {AT(100, STATIC, 1, 0)},
     AT(100, OPEN, 1, 1),
     AT(100, END_STATIC, 1, 0),
     {0, 1}},
    {"join to a static one with a session that ends",
     4,
     0,
     {AT(100, STATIC, 1, 0), AT(100, OPEN, 1, 1)},
     AT(100, OPEN, 1, 2),
     AT(100, END_STATIC, 1, 0),
     {0, 1}},
};

static struct stepper first, second;
static unsigned long schedules;

static void check(struct stage *stage, const struct meeting *meeting, const int stops[2])
{
    struct audit audit;
    const char *wrong = audit_exact(stage->table, &audit);
    if (wrong == NULL && (audit.sessions < meeting->sessions[0] || audit.sessions > meeting->sessions[1]))
        wrong = "the number of sessions";
    if (wrong == NULL) {
        end_everything(stage);
        wrong = audit_exact(stage->table, &audit);
        if (wrong == NULL && audit.sessions + audit.leads + audit.statics != 0)
            wrong = "something is left";
    }
    if (wrong != NULL)
        fail_msg("%s: the first stopped before step %d, the second before its write %d: %s", meeting->name,
                 stops[0], stops[1], wrong);
}

/* Returns false when the first or the second has no step of that number, which is in `ended`. */
static bool play(struct stage *stage, const struct meeting *meeting, const int stops[2], bool swapped)
{
    struct action one = action_on(stage, swapped ? meeting->second : meeting->first, 0);
    struct action two = action_on(stage, swapped ? meeting->first : meeting->second, 1);
    for (unsigned i = 0; i < BEFORE && meeting->before[i].tick != 0; i++)
        assert_true(act(stage, meeting->before[i]));
    stepper_prepare(&first, action_run, &one, true);
    stepper_prepare(&second, action_run, &two, false);
    stepper_continue(&first, stops[0]);
    stepper_continue(&second, stops[1]);
    bool reached = !second.done;
    stepper_continue(&first, NEVER);
    stepper_continue(&second, NEVER);
    schedules++;
    check(stage, meeting, stops);
    return reached;
}

static void two_at_once(void **state)
{
    const struct meeting *meeting = *state;
    struct stage stage;
    stage_open(&stage, meeting->ports, 1);
    audit_transports = 1u << TRANSPORT_UDP;
    if (meeting->limit != 0)
        stage.limit = meeting->limit;
    for (unsigned swapped = 0; swapped < 2; swapped++) {
        int stops[2] = {1, 1};
        do {
            stops[1] = 1;
            while (play(&stage, meeting, stops, swapped != 0))
                stops[1]++;
            stops[0] += STRIDE;
        } while (first.steps >= stops[0] - 1);
    }
    stage_close(&stage);
}

static void all_schedules_counted(void **state)
{
    (void)state;
    print_message("# %lu schedules\n", schedules);
    assert_true(schedules > 50000 / STRIDE);
    free(first.stack);
    free(second.stack);
}

int main(void)
{
    enum { MEETINGS = sizeof(meetings) / sizeof(meetings[0]) };
    struct CMUnitTest tests[MEETINGS + 1];
    for (unsigned i = 0; i < MEETINGS; i++)
        tests[i] = (struct CMUnitTest){meetings[i].name, two_at_once, NULL, NULL, (void *)&meetings[i]};
    tests[MEETINGS] = (struct CMUnitTest)cmocka_unit_test(all_schedules_counted);
    return cmocka_run_group_tests_name("interleaving", tests, NULL, NULL);
}
