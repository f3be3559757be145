/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The session table in BPF maps: BPF programs and user space do the same operations (test/bpf/operations.h)
 * on the same memory.
 *
 *   in turn    each sees what the other did, against an array that says what there should be
 *   at once    BPF programs on every processor and three processes on few keys. This process stops, continues
 *              and kills those at random and looks on: no session or binding twice, BPF never refused. Then
 *              what the dead left is within what they may leave, and a start makes all exact again
 *   measured   what an operation costs in BPF
 *
 *   shared_test OBJECT    the seed of a run is printed; ISTHMUS_SEED repeats one, as far as a race can be
 */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/random.h"
#include "test/bpf/audit.h"
#include "test/bpf/shared_table.h"

enum {
    BPF_ACTORS = 2,
    USER_ACTORS = 3,
    ACTORS = BPF_ACTORS + USER_ACTORS,
    CLIENTS = 32,
    REMOTES = 2,
    LIFETIME = 4, /* ticks */
    TICK_MILLISECONDS = 40,
    RUN_MILLISECONDS = 5000,
    DEATHS = 64,
    ROUNDS = 3, /* of a measurement; the least counts */
};

static const char *object;
static const char *const called[] = {"call_by_user", "call_nothing", NULL};
static const char *const statics[] = {"call_by_user", "make_static", "end_static", NULL};
static const char *const churning[] = {"call_by_user", "churn", NULL};
static const char *const measured[] = {"call_by_user",          "call_nothing",     "measure_nothing",
                                       "measure_find6",         "measure_find4",    "measure_binding",
                                       "measure_claim_release", "measure_open_end", NULL};
static uint64_t seed;
static struct shared shared;

const struct table *the_table(void)
{
    return shared.table;
}

/* Whether BPF programs may be loaded at all here: the smallest of ours is tried. */
static void skip_without_bpf(void)
{
    static const char *const smallest[] = {"call_nothing", NULL};
    struct shared_options options = {
        .object = object, .programs = smallest, .geometry = {.sessions = 64, .addresses = 1, .workers = 1}};
    if (access(object, R_OK) != 0)
        fail_msg("%s cannot be read", object);
    const char *problem = shared_open(&shared, &options);
    if (problem != NULL) {
        print_message("%s\n", problem);
        skip();
    }
    shared_close(&shared);
}

static void open_shared(const char *const *programs, uint32_t sessions, uint32_t addresses, unsigned ports)
{
    struct shared_options options = {
        .object = object,
        .programs = programs,
        .geometry = {.sessions = sessions, .addresses = addresses, .workers = ACTORS},
        .ports = ports};
    struct engine_continued continued;
    skip_without_bpf();
    const char *problem = shared_open(&shared, &options);
    if (problem != NULL)
        fail_msg("%s", problem);
    *shared.now = 1000;
    struct engine *engine = shared_recover(&shared, &continued); /* the pool's ports, the instance's prefix */
    assert_non_null(engine);
    engine_destroy(engine);
    for (uint32_t i = 0; i < CALLS; i++)
        shared.calls[i] = (struct call){.random = seed * 2 + i * 2 + 1,
                                        .lane = i % ACTORS,
                                        .lifetime = LIFETIME,
                                        .addresses = addresses,
                                        .sessions = sessions,
                                        .sessions_per_subscriber = LIMIT_SUBSCRIBER,
                                        .clients = CLIENTS,
                                        .remotes = REMOTES};
}

static void close_shared(void)
{
    shared_close(&shared);
}

static double milliseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

/* --- in turn ---------------------------------------------------------------------------------------- */

static uint32_t expires[CLIENTS][REMOTES];

/* One operation by BPF (actor 0) or by user space (actor 1). */
static uint32_t perform(int program, unsigned actor, enum operation operation)
{
    shared.calls[actor].operation = operation;
    return actor == 0 ? shared_call(program, &shared, 0) : call_perform(&shared.calls[1]);
}

static void check_port(const struct record *copy, uint32_t index)
{
    uint16_t port = from_be16(copy->pool_port);
    assert_int_equal(*owner_at(shared.table, copy->address, copy->transport, port), copy->lead + 1);
    assert_true(copy->lead == index || record_at(shared.table, copy->lead)->pool_port == copy->pool_port);
    assert_int_equal(
        port_map_at(shared.table, copy->address, copy->transport)->available[port / 64] >> (port % 64) & 1,
        0);
}

static void step_in_turn(struct random *random, int program, uint32_t tick)
{
    uint64_t dice = random_next(random);
    unsigned actor = (unsigned)(dice >> 60) % 2, other = 1 - actor;
    uint32_t client = (uint32_t)dice % CLIENTS, remote = (uint32_t)(dice >> 8) % REMOTES;
    uint32_t *until = &expires[client][remote];
    for (unsigned i = 0; i < 2; i++) {
        shared.calls[i].client = client;
        shared.calls[i].remote = remote;
        shared.calls[i].tick = tick;
    }
    assert_int_equal(perform(program, actor, OPERATION_FIND6), *until >= tick);
    if ((dice >> 16) % 4 != 0) {
        assert_int_equal(perform(program, actor, OPERATION_OPEN), MADE);
        *until = *until < tick ? tick + LIFETIME : *until;
        assert_int_equal(perform(program, other, OPERATION_FIND6), 1);
        assert_int_equal(shared.calls[other].session.index, shared.calls[actor].session.index);
        assert_int_equal(perform(program, other, OPERATION_FIND4), 1);
        assert_int_equal(perform(program, other, OPERATION_FIND_BINDING), 1);
        check_port(&shared.calls[actor].session.copy, shared.calls[actor].session.index);
    } else if (*until >= tick && (dice >> 18) % 2 != 0) {
        assert_int_equal(perform(program, actor, OPERATION_TOUCH), 1);
        *until = tick + LIFETIME;
    } else if (*until >= tick) {
        shared.calls[other].session = shared.calls[actor].session;
        assert_int_equal(perform(program, other, OPERATION_END), 1);
        assert_int_equal(perform(program, actor, OPERATION_END), 0);
        assert_int_equal(perform(program, actor, OPERATION_FIND6), 0);
        *until = 0;
    }
}

/* Ends every session there is, by BPF. */
static void expire_all(int program)
{
    shared.calls[0].tick = UINT32_MAX;
    for (uint32_t i = 0; i < records_used(shared.table); i++) {
        shared.calls[0].record = i;
        (void)perform(program, 0, OPERATION_EXPIRE);
    }
}

/* Nanoseconds for user space to have BPF do an operation. */
static double per_call(const char *name)
{
    int program = shared_program(&shared, name);
    double start = milliseconds();
    shared.calls[0].operation = OPERATION_FIND6;
    for (unsigned i = 0; i < 50000; i++)
        (void)shared_call(program, &shared, 0);
    return (milliseconds() - start) * 1e6 / 50000;
}

static void in_turn_each_sees_what_the_other_did(void **state)
{
    (void)state;
    struct random random = random_seed(seed);
    struct audit audit;
    memset(expires, 0, sizeof(expires));
    open_shared(called, 256, 2, 256);
    int program = shared_program(&shared, "call_by_user");
    for (unsigned step = 0; step < 100000; step++)
        step_in_turn(&random, program, 1000 + step / 50);
    audit_table(shared.table, 1000 + 2000, &audit);
    audit_print("after 100000 operations in turn", &audit);
    assert_true(audit_is_exact(shared.table, &audit));
    expire_all(program);
    audit_table(shared.table, 1000 + 2000, &audit);
    assert_true(audit_is_exact(shared.table, &audit));
    assert_int_equal(audit.held, 0);
    assert_int_equal(audit.sessions, 0);
    printf("# ns for user space to have BPF find a session %.0f, do nothing %.0f\n", per_call("call_by_user"),
           per_call("call_nothing"));
    close_shared();
}

/* Made by BPF, a session of user space joins it, and it ends with that. */
static void a_static_binding_of_bpf_is_one_of_user_space(void **state)
{
    (void)state;
    struct audit audit;
    open_shared(statics, 256, 1, 256);
    int make = shared_program(&shared, "make_static"), end = shared_program(&shared, "end_static");
    for (unsigned i = 0; i < 2; i++) {
        shared.calls[i].client = 1;
        shared.calls[i].tick = 2000;
    }
    assert_int_equal(shared_call(make, &shared, 0), 1);
    assert_int_equal(shared_call(make, &shared, 0), 0);
    assert_int_equal(perform(0, 1, OPERATION_FIND_BINDING), 1);
    assert_int_equal(perform(0, 1, OPERATION_OPEN), MADE);
    assert_int_equal(shared.calls[1].session.copy.pool_port, to_be16(80));
    assert_int_equal(shared_call(end, &shared, 0), 1);
    assert_int_equal(perform(0, 1, OPERATION_FIND_BINDING), 0);
    assert_int_equal(perform(0, 1, OPERATION_END), 1);
    audit_table(shared.table, 2000, &audit);
    assert_true(audit_is_exact(shared.table, &audit));
    assert_int_equal(audit.held, 0);
    close_shared();
}

/* --- at once ---------------------------------------------------------------------------------------- */

static struct actors *actors_of(void)
{
    return shared.data;
}

static void *act_in_bpf(void *argument)
{
    uint32_t number = (uint32_t)(uintptr_t)argument;
    int program = shared_program(&shared, "churn");
    cpu_set_t processors;
    CPU_ZERO(&processors);
    CPU_SET(number % (unsigned)sysconf(_SC_NPROCESSORS_ONLN), &processors);
    (void)sched_setaffinity(0, sizeof(processors), &processors);
    while (!atomic_load32(&actors_of()->stop))
        if (shared_run(program, number, 2000) < 0)
            return argument;
    return NULL;
}

static pid_t start_user(uint32_t number, uint64_t random)
{
    pid_t child = fork();
    if (child != 0)
        return child;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    shared.calls[number].random = random | 1;
    while (!atomic_load32(&actors_of()->stop))
        (void)call_churn(&shared.calls[number], atomic_load32(&actors_of()->now));
    _exit(0);
}

/* Two records seen whole, the first of them twice: both were there at once. */
static bool is_still(const struct found *found, uint32_t tick, bool (*alive)(const struct record *, uint32_t))
{
    struct record copy;
    return record_read(record_at(shared.table, found->index), life_generation(found->copy.life), &copy) &&
           alive(&copy, tick);
}

static bool session_is_alive(const struct record *copy, uint32_t tick)
{
    return life_is_session(copy->life, tick);
}

static uint32_t client_of(const struct record *copy)
{
    return from_be32(load_be32(copy->client.bytes + 12)) % CLIENTS;
}

/* No session twice, no client's port with two bindings, no port with two bindings. */
static void look_on(uint32_t tick)
{
    static struct found sessions[CLIENTS][REMOTES], leads[CLIENTS], ports[65536];
    memset(sessions, 0xff, sizeof(sessions));
    memset(leads, 0xff, sizeof(leads));
    for (uint32_t i = 0; i < records_used(shared.table); i++)
        ports[1024 + i].index = NO_RECORD;
    for (uint32_t i = 0; i < records_used(shared.table); i++) {
        struct found found = {.index = i};
        const struct record *record = record_at(shared.table, i);
        if (!record_read(record, life_generation(atomic_load64(&record->life)), &found.copy))
            continue;
        struct found *session =
            &sessions[client_of(&found.copy)][(from_be32(found.copy.remote) & 0xff) % REMOTES];
        if (session_is_alive(&found.copy, tick)) {
            assert_false(session->index != NO_RECORD && is_still(session, tick, session_is_alive));
            *session = found;
        }
        if (found.copy.lead != i || !binding_is_alive(&found.copy, tick))
            continue;
        struct found *lead = &leads[client_of(&found.copy)];
        assert_false(lead->index != NO_RECORD && is_still(lead, tick, binding_is_alive));
        *lead = found;
        struct found *port = &ports[from_be16(found.copy.pool_port)];
        assert_false(port->index != NO_RECORD && port->index != i && is_still(port, tick, binding_is_alive));
        *port = found;
    }
}

struct crowd {
    struct random random;
    pid_t child[USER_ACTORS];
    bool stopped[USER_ACTORS];
    unsigned deaths, stops, looks;
    uint64_t opened; /* by BPF, when looked at last */
    unsigned idle;   /* looks since it opened one */
};

/* Stops, continues, or kills and replaces one of the processes, or lets it be. */
static void disturb(struct crowd *crowd)
{
    uint64_t dice = random_next(&crowd->random);
    unsigned i = (unsigned)(dice >> 32) % USER_ACTORS;
    if (dice % 32 == 0 && crowd->deaths < DEATHS) {
        kill(crowd->child[i], SIGKILL);
        (void)waitpid(crowd->child[i], NULL, 0);
        crowd->deaths++;
        crowd->stopped[i] = false;
        crowd->child[i] = start_user(BPF_ACTORS + i, random_next(&crowd->random));
    } else if (dice % 4 == 1) {
        kill(crowd->child[i], crowd->stopped[i] ? SIGCONT : SIGSTOP);
        crowd->stopped[i] = !crowd->stopped[i];
        crowd->stops += crowd->stopped[i];
    }
}

/* BPF goes on, whatever became of the others. */
static void see_progress(struct crowd *crowd)
{
    uint64_t opened = shared.calls[0].opened + shared.calls[1].opened;
    crowd->idle = opened != crowd->opened ? 0 : crowd->idle + 1;
    crowd->opened = opened;
    assert_true(crowd->idle < 500);
}

static void let_them_collide(struct crowd *crowd)
{
    pthread_t threads[BPF_ACTORS];
    double start = milliseconds();
    for (uint32_t i = 0; i < USER_ACTORS; i++)
        crowd->child[i] = start_user(BPF_ACTORS + i, random_next(&crowd->random));
    for (uintptr_t i = 0; i < BPF_ACTORS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, act_in_bpf, (void *)i), 0);
    double now = start;
    while (now < start + RUN_MILLISECONDS) {
        uint32_t tick = 1000 + (uint32_t)(now - start) / TICK_MILLISECONDS;
        atomic_store32(shared.now, tick);
        look_on(tick);
        disturb(crowd);
        see_progress(crowd);
        crowd->looks++;
        usleep(1000);
        now = milliseconds();
    }
    atomic_store32(&actors_of()->stop, 1);
    for (uintptr_t i = 0; i < BPF_ACTORS; i++) {
        void *failed = NULL;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    for (unsigned i = 0; i < USER_ACTORS; i++) {
        kill(crowd->child[i], SIGCONT);
        (void)waitpid(crowd->child[i], NULL, 0);
    }
}

static void report_actors(const struct crowd *crowd)
{
    printf("# %u stops, %u deaths, %u looks\n", crowd->stops, crowd->deaths, crowd->looks);
    for (unsigned i = 0; i < ACTORS; i++) {
        const struct call *call = &shared.calls[i];
        printf(
            "# %s %u: opened %lu (joined %lu), ended %lu, touched %lu, contention %lu, refused %lu %lu %lu "
            "%lu\n",
            i < BPF_ACTORS ? "BPF" : "user", i, call->opened, call->joined, call->ended, call->touched,
            call->refused[MADE_LOOK_AGAIN], call->refused[MADE_TABLE_FULL],
            call->refused[MADE_SUBSCRIBER_FULL], call->refused[MADE_INDEX_FULL], call->refused[NO_PORT]);
        assert_int_equal(call->refused[MADE_TABLE_FULL] + call->refused[MADE_SUBSCRIBER_FULL] +
                             call->refused[MADE_INDEX_FULL] + call->refused[NO_PORT],
                         0);
        assert_true(call->refused[MADE_LOOK_AGAIN] < call->opened / 10 + 100);
        assert_true(i >= BPF_ACTORS || call->opened > 1000);
    }
}

/*
 * After all sessions are ended: what only a death can have left. Who dies while it ends an expired session
 * that is in its way may leave two of a kind, and the record of a lead that they used.
 */
static void weigh_losses(const struct crowd *crowd, int program)
{
    struct audit audit;
    audit_table(shared.table, *shared.now, &audit);
    audit_print("when all is quiet", &audit);
    assert_int_equal(audit.wrong, 0);
    expire_all(program);
    audit_table(shared.table, *shared.now, &audit);
    audit_print("left by the dead", &audit);
    assert_int_equal(audit.wrong, 0);
    assert_int_equal(audit.sessions, 0);
    assert_in_range(audit.held, 0, 3 * crowd->deaths);
    assert_in_range(audit.ports_taken, 0, 2 * crowd->deaths);
    assert_in_range(audit.counted, 0, 2 * crowd->deaths);
    assert_in_range(audit.subscribed, 0, 2 * crowd->deaths);
    assert_in_range(audit.users, 0, 2 * crowd->deaths);
    for (unsigned i = 0; i < 3; i++)
        assert_in_range(audit.entries[i], 0, 2 * crowd->deaths);
}

/* Whatever the dead left, BPF makes every session there may be. */
static void open_all(int program)
{
    shared.calls[0].tick = *shared.now;
    for (uint32_t i = 0; i < CLIENTS * REMOTES; i++) {
        shared.calls[0].client = i / REMOTES;
        shared.calls[0].remote = i % REMOTES;
        assert_int_equal(perform(program, 0, OPERATION_OPEN), MADE);
    }
}

static void start_again(int program)
{
    struct engine_continued continued;
    struct audit audit;
    struct engine *engine = shared_recover(&shared, &continued);
    assert_non_null(engine);
    engine_destroy(engine);
    audit_table(shared.table, *shared.now, &audit);
    audit_print("after a start", &audit);
    printf("# of them continued %u, undone %u, damaged %u\n", continued.sessions, continued.undone,
           continued.damaged);
    assert_true(audit_is_exact(shared.table, &audit));
    assert_int_equal(audit.sessions, CLIENTS * REMOTES);
    assert_int_equal(audit.bindings, CLIENTS);
    expire_all(program);
    audit_table(shared.table, *shared.now, &audit);
    assert_true(audit_is_exact(shared.table, &audit));
    assert_int_equal(audit.held, 0);
}

static void at_once_the_stopped_and_the_dead_hold_up_nobody(void **state)
{
    (void)state;
    struct crowd crowd = {.random = random_seed(seed)};
    open_shared(churning, 256, 1, 256);
    int program = shared_program(&shared, "call_by_user");
    let_them_collide(&crowd);
    report_actors(&crowd);
    weigh_losses(&crowd, program);
    open_all(program);
    start_again(program);
    close_shared();
}

/* --- measured --------------------------------------------------------------------------------------- */

static double best(const char *name, uint32_t repeat)
{
    double least = -1;
    int program = shared_program(&shared, name);
    for (unsigned i = 0; i < ROUNDS; i++) {
        double taken = shared_run(program, 0, repeat);
        if (taken >= 0 && (least < 0 || taken < least))
            least = taken;
    }
    return least;
}

static void measure(uint32_t sessions)
{
    const uint32_t repeat = 100000;
    open_shared(measured, sessions + 16, sessions / 40000 + 1, 64512);
    struct call *call = &shared.calls[1];
    call->tick = 1000;
    for (uint32_t i = 0; i < sessions; i++) {
        call->client = i;
        call->remote = i & 0xff;
        assert_int_equal(call_open(call), MADE);
    }
    call = &shared.calls[0];
    call->clients = sessions;
    call->tick = 1000;
    double nothing = best("measure_nothing", repeat);
    printf("# %u sessions, ns net of %.0f: find by IPv6 key %.0f,", sessions, nothing,
           best("measure_find6", repeat) - nothing);
    assert_true(call->ended >= ROUNDS * repeat);
    printf(" binding %.0f,", best("measure_binding", repeat) - nothing);
    assert_true(call->ended >= 2 * ROUNDS * repeat);
    printf(" by IPv4 key %.0f,", best("measure_find4", repeat) - nothing);
    printf(" claim and release a port %.0f,", best("measure_claim_release", repeat) - nothing);
    printf(" open and end %.0f\n", best("measure_open_end", repeat) - nothing);
    assert_int_equal(call->refused[0], 0);
    close_shared();
}

static void operations_are_measured(void **state)
{
    (void)state;
    measure(1000);
    measure(1000000);
}

int main(int count, char **arguments)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_turn_each_sees_what_the_other_did),
        cmocka_unit_test(a_static_binding_of_bpf_is_one_of_user_space),
        cmocka_unit_test(at_once_the_stopped_and_the_dead_hold_up_nobody),
        cmocka_unit_test(operations_are_measured),
    };
    const char *given = getenv("ISTHMUS_SEED");
    if (count != 2) {
        fprintf(stderr, "usage: shared_test OBJECT\n");
        return 2;
    }
    object = arguments[1];
    seed = given != NULL ? strtoull(given, NULL, 0) : (uint64_t)time(NULL) ^ ((uint64_t)getpid() << 32);
    printf("# seed %lu\n", seed);
    return cmocka_run_group_tests_name("shared", tests, NULL, NULL);
}
