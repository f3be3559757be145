/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A start that is killed while it recovers, at each of its steps, and the start after it: that one must come
 * to the same sessions, bindings and ports as a start that nobody disturbed.
 *
 * A step is an edge of the flow of control: the engine's sources that recover are compiled into this program
 * with calls of __sanitizer_cov_trace_pc, which stops the start. What it has allocated is given back here.
 */
#include "test/engine/stepper.h"

#include "engine/memory.h"
#include "test/engine/actions.h"

#include <sys/mman.h>

enum {
    POINTS = 2500, /* deaths at most; beyond that, at steps that far apart */
    MAPPINGS = 16,
};

/* The compiler's name for it. NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */
void __sanitizer_cov_trace_pc(void);

#ifndef __clang__
__attribute__((no_sanitize_coverage))
#endif
void __sanitizer_cov_trace_pc(void)
/* NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */
{
    struct stepper *own = stepper_running;
    if (own == NULL || ++own->steps != own->stop)
        return;
    stepper_running = NULL;
    (void)swapcontext(&own->context, &stepper_home);
}

/* --- memory: the engine's own, so that a dead start's can be given back ------------------------------- */

static struct {
    void *memory;
    size_t size;
} mappings[MAPPINGS];

void *memory_map(size_t size)
{
    unsigned i = 0;
    while (i < MAPPINGS && mappings[i].memory != NULL)
        i++;
    if (i == MAPPINGS)
        abort();
    void *memory =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        return NULL;
    mappings[i].memory = memory;
    mappings[i].size = size;
    return memory;
}

void memory_unmap(void *memory, size_t size)
{
    for (unsigned i = 0; memory != NULL && i < MAPPINGS; i++)
        if (mappings[i].memory == memory)
            mappings[i].memory = NULL;
    if (memory != NULL)
        (void)munmap(memory, size);
}

static void forget_all(void)
{
    for (unsigned i = 0; i < MAPPINGS; i++)
        memory_unmap(mappings[i].memory, mappings[i].size);
}

/* --- the table: its memory, which outlives every start -------------------------------------------------- */

struct memory {
    struct geometry geometry;
    void *segment[TABLE_SEGMENTS];
    void *saved[TABLE_SEGMENTS];
};

static struct memory table_memory_now, previous_memory;
static struct stage stage;
static struct stepper starter;
static uint32_t now = 100;
static bool from_previous;
static unsigned long points;

static size_t size_of(const struct memory *memory, unsigned segment)
{
    struct extent extent = table_extent(&memory->geometry, segment);
    return extent.element * extent.count;
}

static void get_memory(struct memory *memory, const struct geometry *geometry)
{
    memory->geometry = *geometry;
    for (unsigned i = 0; i < TABLE_SEGMENTS; i++) {
        size_t size = size_of(memory, i);
        memory->segment[i] = size != 0 ? aligned_alloc(64, (size + 63) / 64 * 64) : NULL;
        memory->saved[i] = malloc(size + 1);
        if (size != 0)
            memset(memory->segment[i], 0, size);
    }
}

static void save(struct memory *memory)
{
    for (unsigned i = 0; i < TABLE_SEGMENTS; i++)
        if (memory->segment[i] != NULL)
            memcpy(memory->saved[i], memory->segment[i], size_of(memory, i));
}

static void restore(struct memory *memory)
{
    for (unsigned i = 0; i < TABLE_SEGMENTS; i++)
        if (memory->segment[i] != NULL)
            memcpy(memory->segment[i], memory->saved[i], size_of(memory, i));
}

static void free_memory(struct memory *memory)
{
    for (unsigned i = 0; i < TABLE_SEGMENTS; i++) {
        free(memory->segment[i]);
        free(memory->saved[i]);
    }
}

static struct table *attach(struct memory *memory)
{
    char error[128] = "";
    struct table *table = table_attach(memory->segment, &memory->geometry, error, sizeof(error));
    if (table == NULL)
        fail_msg("%s", error);
    return table;
}

/* A start, in the form that a stepper runs. */
static void start(void *argument)
{
    char error[128];
    const struct table *previous = argument;
    struct engine_options options = {.table = stage.table,
                                     .settings = &stage.settings,
                                     .previous = previous,
                                     .workers = stage.geometry.workers,
                                     .seed = 1,
                                     .now = now * NANOSECONDS};
    stage.engine = engine_create(&options, error, sizeof(error));
}

/* --- what is compared ------------------------------------------------------------------------------- */

struct outcome {
    uint32_t n, bindings, statics;
    struct record session[80];
};

static int compare_records(const void *a, const void *b)
{
    const struct record *one = a, *other = b;
    return memcmp(&one->client, &other->client,
                  offsetof(struct record, address) - offsetof(struct record, client));
}

static void collect(struct outcome *outcome)
{
    struct audit audit;
    const char *wrong = audit_exact(stage.table, &audit);
    if (wrong != NULL)
        fail_msg("%s", wrong);
    memset(outcome, 0, sizeof(*outcome));
    outcome->bindings = audit.leads;
    outcome->statics = audit.statics;
    for (uint32_t i = 0; i < records_used(stage.table); i++) {
        const struct record *record = record_at(stage.table, i);
        if (life_phase(record->life) != PHASE_LIVE)
            continue;
        struct record *copy = &outcome->session[outcome->n++];
        *copy = *record;
        copy->life &= 0xffffffff0000ff00ull; /* its end and its state */
        copy->lead = copy->lane = 0;
        copy->users = 0;
        copy->generation = 0;
        memset(copy->spare, 0, sizeof(copy->spare));
    }
    qsort(outcome->session, outcome->n, sizeof(outcome->session[0]), compare_records);
}

/* --- the scene: something of everything --------------------------------------------------------------- */

static void configure_static(unsigned instance, unsigned client, uint16_t port)
{
    struct action action = {.client = client, .instance = instance};
    struct key6 key = action_key(&action);
    stage.statics[instance] = (struct static_binding){.ipv6 = key.client,
                                                      .ipv4 = stage.pool[instance].first,
                                                      .port6 = key.client_port,
                                                      .port4 = to_be16(port),
                                                      .transport = TRANSPORT_UDP};
    stage.settings.nat64[instance].static_count = 1;
}

static void set_scene(void)
{
    memset(&stage, 0, sizeof(stage));
    stage_fill(&stage, 16, 2);
    get_memory(&table_memory_now, &stage.geometry);
    stage.table = table_format(table_memory_now.segment, &stage.geometry, 7);
    now = 100;
    configure_static(0, 6, ACTION_STATIC_PORT);
    start(NULL);
    assert_non_null(stage.engine);
    for (unsigned i = 0; i < 22; i++) {
        struct action open = {.kind = ACTION_OPEN,
                              .instance = i % 2,
                              .client = i % 7,
                              .remote = i / 7,
                              .tick = i < 6 ? 80 : 100}; /* the first expire at 90 */
        assert_true(act(&stage, open));
    }
    assert_true(act(&stage, (struct action){.kind = ACTION_END, .client = 6, .remote = 0, .tick = 100}));
    /* Half-made, half-ended, damaged, and a static binding that the settings have no more of. */
    uint32_t at = 0;
    for (uint32_t i = 0; i < records_used(stage.table) && at < 3; i++) {
        struct record *record = record_at(stage.table, i);
        if (life_phase(record->life) == PHASE_LIVE && record->lead != i)
            record->life = life_in(record->life, at++ == 0 ? PHASE_ENDING : PHASE_MAKING);
    }
    record_at(stage.table, 9)->transport = 77;
    configure_static(1, 5, 2003);
    engine_destroy(stage.engine);
    table_destroy(stage.table);
}

/* Starts until before step `stop`; true: it died there. */
static bool start_until(int stop)
{
    struct table *previous = from_previous ? attach(&previous_memory) : NULL;
    if (from_previous) {
        for (unsigned i = 0; i < TABLE_SEGMENTS; i++)
            if (table_memory_now.segment[i] != NULL)
                memset(table_memory_now.segment[i], 0, size_of(&table_memory_now, i));
        stage.table = table_format(table_memory_now.segment, &table_memory_now.geometry, 8);
    } else {
        stage.table = attach(&table_memory_now);
    }
    stage.engine = NULL;
    stepper_prepare(&starter, start, previous, true);
    stepper_continue(&starter, stop);
    if (starter.done && stage.engine == NULL)
        fail_msg("a start after step %d fails", stop);
    return !starter.done;
}

static void die_everywhere(void)
{
    static struct outcome expected, outcome;
    audit_transports = 1u << TRANSPORT_UDP;
    (void)start_until(NEVER);
    int steps = starter.steps;
    collect(&expected);
    assert_in_range(expected.n, 8, 20);
    forget_all();
    int stride = steps / POINTS + 1;
    for (int stop = 1; stop <= steps; stop += stride) {
        if (!from_previous)
            restore(&table_memory_now);
        if (!start_until(stop))
            continue; /* a little shorter than the one that was counted */
        forget_all();
        points++;
        (void)start_until(NEVER);
        collect(&outcome);
        forget_all();
        if (outcome.n != expected.n || outcome.bindings != expected.bindings ||
            outcome.statics != expected.statics ||
            memcmp(expected.session, outcome.session, sizeof(outcome.session)) != 0)
            fail_msg("killed before step %d of %d, the next start has %u sessions of %u, %u bindings of %u",
                     stop, steps, outcome.n, expected.n, outcome.bindings, expected.bindings);
    }
    print_message("# %d steps\n", steps);
}

static void a_start_over_its_own_table(void **state)
{
    (void)state;
    set_scene();
    from_previous = false;
    save(&table_memory_now);
    die_everywhere();
    free_memory(&table_memory_now);
}

/* The new table is made anew after each death; the one that it is filled from must stay as it is. */
static void a_start_that_copies(void **state)
{
    (void)state;
    set_scene();
    from_previous = true;
    previous_memory = table_memory_now;
    stage.geometry.sessions = 100;
    get_memory(&table_memory_now, &stage.geometry);
    save(&previous_memory);
    die_everywhere();
    for (unsigned i = 0; i < TABLE_SEGMENTS; i++)
        if (previous_memory.segment[i] != NULL)
            assert_memory_equal(previous_memory.segment[i], previous_memory.saved[i],
                                size_of(&previous_memory, i));
    free_memory(&table_memory_now);
    free_memory(&previous_memory);
}

static void all_deaths_counted(void **state)
{
    (void)state;
    print_message("# %lu deaths\n", points);
    assert_true(points > POINTS / 2);
    free(starter.stack);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_start_over_its_own_table),
        cmocka_unit_test(a_start_that_copies),
        cmocka_unit_test(all_deaths_counted),
    };
    return cmocka_run_group_tests_name("recover_dying", tests, NULL, NULL);
}
