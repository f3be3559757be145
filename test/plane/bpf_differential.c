/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The engine against the kernel's translator with an engine behind it: both get the same packets at random
 * (test/plane/traffic.h), at the same times, by the same settings, which change now and then. What comes out
 * must be the same to the last byte, and so must the tables and all that was counted.
 *
 *     packet --+--> engine ---------------------------> verdict, packet, what it made   \
 *              |      table of its own                                                   same?
 *              +--> programs -----------------------+-> verdict, packet                 /
 *                     |  handed over, let pass      |
 *                     +-> engine, on their table ---+-> verdict, packet, what it made
 *
 *     bpf_differential OBJECT [--seconds N] [--seed S] [--way NAME]
 *
 * Packets go into the programs by test-run, or, if a way is named, through devices, some of them with partial
 * checksums or as super-packets (test/plane/bpf_wire.h).
 *
 * A history is some hundred steps with one table, made from a number that is its seed; the seed of a history
 * that shows a difference is printed, with the packet, and --seed repeats it, comparing books at each step.
 *
 * Chance. Ports and identifications are functions of a few words, which both sides have alike before each
 * packet: those of the programs are read and given to the engines, and ports are drawn without going on to
 * the next number (test/plane/pool_steady.c).
 *
 * Time. Sessions past their lifetime are swept at once in most histories. In the others limits are out of
 * reach, since what a full table finds for a new session among expired ones depends on where they lie. The
 * programs' clock goes on: a history in which it went too far before a packet was through is given up.
 *
 * A packet translated for a pool address comes back by the TUN device, at which there are no programs.
 */
#include "engine/half_open.h"
#include "engine/worker.h"
#include "test/engine/audit.h"
#include "test/fuzz/sequence_settings.h"
#include "test/plane/bpf_wire.h"
#include "test/plane/traffic.h"

#include <time.h>

enum {
    STEPS = 400,
    ROOM = 4096, /* bytes of a buffer, headroom included */
    MADE_MAXIMUM = 64,
    LINE = 256,
    LISTED = FUZZ_SESSIONS * 2,
    LAZY_SESSIONS = 40, /* that may wait for a sweep: fewer than any limit */
    TURNS = 3,          /* times that a packet may come back */
    PASSING_SECONDS = 3,
};

/* What a side made of something: the packet itself and others. */
struct outcome {
    enum verdict verdict;
    enum bpf_lab_fate fate; /* on the programs' side */
    struct packet packet;
    uint8_t buffer[ROOM];
    unsigned count;
    struct {
        struct packet packet;
        uint8_t buffer[ROOM];
    } made[MADE_MAXIMUM];
};

struct side {
    struct table *table;
    struct engine *engine;
    struct outcome outcome;
    char lines[LISTED][LINE];
    struct engine_counters counters;
};

static struct history {
    uint64_t seed;
    unsigned step;
    struct fuzz_engine base; /* the settings that others vary */
    struct varied varied[2];
    unsigned in_force;
    struct paths *paths;
    bool lazy;
    bool late; /* nothing can be compared any more */
    nanoseconds now;
    struct traffic_source traffic;
    struct packet packet; /* that came last */
    uint8_t buffer[ROOM];
    struct side engine, programs;
    struct plane_counters before; /* of the programs, when it began */
} history;

static struct {
    uint64_t packets, histories, late;
    uint64_t fates[BPF_LAB_UNFIT + 1];
    uint64_t verdicts[VERDICT_COUNT]; /* that the programs came to */
} total;

static enum bpf_wire_way way = BPF_WIRE_WAYS; /* none */
static bool closely;                          /* books are compared after each step */

/* --- differences ---------------------------------------------------------------------------------- */

static void print_packet(const char *name, const struct packet *packet)
{
    const struct offload *offload = &packet->offload;
    printf("#   %s, offload %u %u %u %u %u %u, %u bytes:", name, offload->flags, offload->gso_type,
           offload->header_length, offload->gso_size, offload->checksum_start, offload->checksum_offset,
           packet->length);
    for (uint32_t i = 0; i < packet->length && i < 192; i++)
        printf("%s%02x", i % 32 == 0 ? "\n#     " : i % 4 == 0 ? " " : "", packet_data(packet)[i]);
    printf("%s\n", packet->length > 192 ? " ..." : "");
}

static const char *name_of(enum verdict verdict)
{
    return verdict < VERDICT_COUNT ? verdict_texts[verdict].name : "none";
}

__attribute__((noreturn)) static void differ(const char *what)
{
    static const char *const fates[] = {"decided by the programs", "handed over", "let pass",
                                        "not brought in"};
    const struct outcome *programs = &history.programs.outcome;
    printf("not ok 1 - the kernel's translator does what the engine does\n");
    printf("# %s\n# step %u; repeat it with --seed %llu\n", what, history.step,
           (unsigned long long)history.seed);
    printf("# engine: %s; programs: %s (%s)\n", name_of(history.engine.outcome.verdict),
           name_of(programs->verdict), fates[programs->fate]);
    print_packet("received", &history.packet);
    print_packet("engine", &history.engine.outcome.packet);
    print_packet("programs", &programs->packet);
    printf("1..1\n");
    exit(1);
}

/* The length of headers is a hint, which the kernel makes anew. */
static bool same_packet(const struct packet *a, const struct packet *b)
{
    struct offload one = a->offload, other = b->offload;
    one.header_length = other.header_length = 0;
    return a->length == b->length && memcmp(packet_data(a), packet_data(b), a->length) == 0 &&
           memcmp(&one, &other, sizeof(one)) == 0;
}

static void compare_made(void)
{
    const struct outcome *engine = &history.engine.outcome, *programs = &history.programs.outcome;
    if (engine->count != programs->count)
        differ("not as many packets were made");
    for (unsigned i = 0; i < engine->count; i++)
        if (!same_packet(&engine->made[i].packet, &programs->made[i].packet)) {
            print_packet("made by the engine", &engine->made[i].packet);
            print_packet("made with the programs", &programs->made[i].packet);
            differ("a packet that was made is another");
        }
}

static void compare_outcomes(void)
{
    const struct outcome *engine = &history.engine.outcome, *programs = &history.programs.outcome;
    if (engine->verdict != programs->verdict)
        differ("the verdicts differ");
    if (verdict_texts[engine->verdict].class == VERDICT_FORWARDED &&
        !same_packet(&engine->packet, &programs->packet))
        differ("the packets differ");
    compare_made();
}

/* --- chance --------------------------------------------------------------------------------------- */

static void align_worker(const struct bpf_lab_draws *draws, unsigned turn, struct worker *worker)
{
    worker->random =
        (struct random){.key = {draws->secret[0], draws->secret[1]}, .counter = draws->drawn + turn};
    worker->identification = (uint16_t)(draws->identification + turn * 1000);
}

static void align(unsigned turn)
{
    struct bpf_lab_draws draws;
    bpf_lab_draws(&draws);
    align_worker(&draws, turn, engine_worker(history.engine.engine, 0));
    align_worker(&draws, turn, engine_worker(history.programs.engine, 0));
}

/* --- packets -------------------------------------------------------------------------------------- */

static void pull(struct side *side)
{
    struct outcome *outcome = &side->outcome;
    struct worker *worker = engine_worker(side->engine, 0);
    static uint8_t buffer[FUZZ_HEADROOM + PACKET_MAXIMUM];
    struct packet packet = {.buffer = buffer, .capacity = sizeof(buffer), .offset = FUZZ_HEADROOM};
    while (engine_pull(worker, &packet)) {
        if (outcome->count == MADE_MAXIMUM || packet.offset + packet.length > ROOM)
            differ("too much was made");
        struct packet *made = &outcome->made[outcome->count].packet;
        *made = packet;
        made->buffer = outcome->made[outcome->count++].buffer;
        memcpy(packet_data(made), packet_data(&packet), packet.length);
        packet.offset = FUZZ_HEADROOM;
    }
}

static void take_copy(struct outcome *outcome, const struct packet *packet)
{
    *outcome = (struct outcome){.verdict = VERDICT_COUNT, .fate = BPF_LAB_UNFIT, .packet = *packet};
    outcome->packet.buffer = outcome->buffer;
    outcome->packet.capacity = ROOM;
    memcpy(packet_data(&outcome->packet), packet_data(packet), packet->length);
}

static void give_engine(struct side *side)
{
    engine_receive(engine_worker(side->engine, 0), &side->outcome.packet, 1, history.now,
                   &side->outcome.verdict);
    pull(side);
}

/* The kernel takes off what follows a packet before it gives it to a TUN device. */
static void cut_off_padding(struct packet *packet)
{
    const uint8_t *ip = packet_data(packet);
    uint32_t length = packet->length;
    if (length >= 40 && ip[0] >> 4 == 6)
        length = 40u + (uint32_t)(ip[4] << 8 | ip[5]);
    else if (length >= 20 && ip[0] >> 4 == 4)
        length = (uint32_t)(ip[2] << 8 | ip[3]);
    if (length >= 20 && length < packet->length)
        packet->length = length;
}

static void give_programs(struct outcome *programs)
{
    bpf_lab_set_clock(history.now);
    programs->fate = way == BPF_WIRE_WAYS ? bpf_lab_receive(&programs->packet, &programs->verdict)
                                          : bpf_wire_receive(&programs->packet, &programs->verdict);
    total.fates[programs->fate]++;
    if (history.programs.outcome.fate == BPF_LAB_DECIDED)
        total.verdicts[history.programs.outcome.verdict]++;
    history.late = !bpf_lab_is_second(history.now);
}

/* A turn after the first is that of a packet that comes from the TUN device. */
static void receive(const struct packet *packet, unsigned turn)
{
    struct outcome *programs = &history.programs.outcome;
    align(turn);
    take_copy(&history.engine.outcome, packet);
    take_copy(programs, packet);
    cut_off_padding(&history.engine.outcome.packet);
    give_engine(&history.engine);
    if (turn == 0)
        give_programs(programs);
    if (history.late)
        return;
    if (programs->fate != BPF_LAB_DECIDED) {
        cut_off_padding(&programs->packet);
        give_engine(&history.programs);
    }
    compare_outcomes();
}

/* Is the packet for a pool address, to which the kernel would bring it back? */
static bool comes_back(const struct packet *packet)
{
    const uint8_t *ip = packet_data(packet);
    return ip[0] >> 4 == 4 && pool_find(engine_rules(history.engine.engine), load_be32(ip + 16)) >= 0;
}

static void take_packet(void)
{
    struct packet *packet = &history.packet;
    struct outcome *outcome = &history.engine.outcome;
    *packet = (struct packet){
        .buffer = history.buffer, .capacity = sizeof(history.buffer), .offset = FUZZ_HEADROOM};
    traffic_make(&history.traffic, packet);
    for (unsigned turn = 0; turn < TURNS; turn++) {
        receive(packet, turn);
        total.packets++;
        if (history.late || verdict_texts[outcome->verdict].class != VERDICT_FORWARDED)
            break;
        traffic_note(&history.traffic, &outcome->packet);
        if (!comes_back(&outcome->packet))
            break;
        packet->length = outcome->packet.length;
        packet->offset = FUZZ_HEADROOM;
        memcpy(packet_data(packet), packet_data(&outcome->packet), packet->length);
    }
}

/* --- books ---------------------------------------------------------------------------------------- */

static void write_entry(char *line, const struct engine_entry *entry)
{
    const uint8_t *client = entry->client.bytes;
    snprintf(
        line, LINE,
        "%s %u %u %02x%02x%02x%02x:%02x%02x:%02x%02x..%02x port %u pool %08x %u remote %08x %u %s for %u "
        "s, sessions %u, static %d, counted %d %llu %llu %llu %llu",
        entry->is_session ? "session" : "binding", entry->instance, entry->transport, client[0], client[1],
        client[2], client[3], client[4], client[5], client[6], client[7], client[15],
        from_be16(entry->client_port), from_be32(entry->pool_address), from_be16(entry->pool_port),
        from_be32(entry->remote4), from_be16(entry->remote_port), entry->state, entry->expires_in,
        entry->sessions, entry->is_static, entry->counted, (unsigned long long)entry->packets_6to4,
        (unsigned long long)entry->bytes_6to4, (unsigned long long)entry->packets_4to6,
        (unsigned long long)entry->bytes_4to6);
}

static int order_lines(const void *a, const void *b)
{
    return strcmp(a, b);
}

static unsigned list(struct side *side)
{
    static struct engine_entry entries[64];
    unsigned n = 0;
    for (unsigned sessions = 0; sessions < 2; sessions++) {
        uint32_t position = 0;
        while (position < engine_capacity(side->engine)) {
            uint32_t found =
                engine_list(side->engine, sessions != 0, &position, 64, entries, 64, history.now);
            for (uint32_t i = 0; i < found && n < LISTED; i++)
                write_entry(side->lines[n++], &entries[i]);
        }
    }
    qsort(side->lines, n, LINE, order_lines);
    return n;
}

static void compare_lists(void)
{
    unsigned n = list(&history.engine), others = list(&history.programs), a = 0, b = 0;
    bool same = true;
    while (a < n || b < others) {
        int order = a == n        ? 1
                    : b == others ? -1
                                  : strcmp(history.engine.lines[a], history.programs.lines[b]);
        if (order != 0)
            printf("# only %s: %s\n", order < 0 ? "the engine" : "with the programs",
                   order < 0 ? history.engine.lines[a] : history.programs.lines[b]);
        same = same && order == 0;
        a += order <= 0;
        b += order >= 0;
    }
    if (!same)
        differ("the tables differ");
}

static void compare_counters(void)
{
    struct engine_counters *engine = &history.engine.counters, *programs = &history.programs.counters;
    engine_count(history.engine.engine, engine);
    bpf_lab_add_counters(history.programs.engine, &history.before, programs);
    for (unsigned i = 0; i < VERDICT_COUNT; i++)
        if (engine->packets[i] != programs->packets[i] || engine->bytes[i] != programs->bytes[i]) {
            printf("# %s: %llu packets, %llu bytes; with the programs %llu, %llu\n", verdict_texts[i].name,
                   (unsigned long long)engine->packets[i], (unsigned long long)engine->bytes[i],
                   (unsigned long long)programs->packets[i], (unsigned long long)programs->bytes[i]);
            differ("verdicts are counted differently");
        }
    /* Those that are wanted by nobody are left out by the engine alone. */
    if (programs->icmp_errors_suppressed < engine->icmp_errors_suppressed)
        programs->icmp_errors_suppressed = engine->icmp_errors_suppressed;
    if (memcmp(engine, programs, sizeof(*engine)) != 0)
        differ("sessions, bindings or what was made are counted differently");
}

static void compare_pools(void)
{
    for (uint32_t i = 0; i < engine_pool_count(history.engine.engine); i++) {
        struct engine_pool engine = {0}, programs = {0};
        engine_pool(history.engine.engine, i, &engine);
        engine_pool(history.programs.engine, i, &programs);
        if (memcmp(&engine, &programs, sizeof(engine)) != 0)
            differ("ports in use differ");
    }
    if (half_open_count(history.engine.table) != half_open_count(history.programs.table))
        differ("half-open sessions are counted differently");
}

static void audit(struct side *side)
{
    struct audit audit;
    audit_transports = 1u << traffic_pick(&history.traffic, TRANSPORT_COUNT); /* all three take long */
    const char *wrong = audit_exact(side->table, &audit);
    if (wrong != NULL) {
        printf("# the audit of the %s table: %s\n", side == &history.engine ? "engine's" : "programs'",
               wrong);
        differ("a table is not right");
    }
}

static void compare_books(void)
{
    compare_lists();
    compare_counters();
    compare_pools();
}

/* --- time and settings ---------------------------------------------------------------------------- */

static int order_made(const void *a, const void *b)
{
    const struct packet *one = a, *other = b;
    uint32_t length = one->length < other->length ? one->length : other->length;
    int order = memcmp(packet_data(one), packet_data(other), length);
    return order != 0 ? order : (int)one->length - (int)other->length;
}

/* The records lie in another order, so what is made of them comes in another. */
static void sort_made(struct outcome *outcome)
{
    for (unsigned i = 1; i < outcome->count; i++)
        for (unsigned k = i; k > 0; k--) {
            struct packet *one = &outcome->made[k - 1].packet, *other = &outcome->made[k].packet;
            if (order_made(one, other) <= 0)
                break;
            struct packet packet = *one;
            *one = *other;
            *other = packet;
        }
}

static void sweep_side(struct side *side)
{
    struct worker *worker = engine_worker(side->engine, 0);
    take_copy(&side->outcome, &history.packet);
    for (unsigned i = 0; i < 3; i++) {
        worker->deadline = 0;
        engine_expire(worker, history.now);
        pull(side);
    }
    sort_made(&side->outcome);
}

static void sweep(void)
{
    align(0);
    sweep_side(&history.engine);
    sweep_side(&history.programs);
    compare_made();
}

static bool holds_few(void)
{
    engine_count(history.engine.engine, &history.engine.counters);
    return history.engine.counters.sessions_created - history.engine.counters.sessions_ended < LAZY_SESSIONS;
}

static void pass_time(void)
{
    static const uint32_t leaps[] = {1, 1, 5, 6, 60, 240, 300, 7200, 7440};
    uint32_t seconds = leaps[traffic_pick(&history.traffic, sizeof(leaps) / sizeof(leaps[0]))];
    if (traffic_pick(&history.traffic, 2) == 0)
        seconds = traffic_pick(&history.traffic, seconds + 1);
    history.now += seconds * NANOSECONDS;
    if (!history.lazy || !holds_few() || traffic_pick(&history.traffic, 4) == 0)
        sweep();
}

/*
 * Settings that the fuzz targets have not: prefixes of other lengths, no static bindings, a remote that is
 * not global; and no ICMP errors, so that the programs themselves refuse what the engine would answer.
 */
static void vary_more(struct varied *varied, uint32_t bits)
{
    static const struct ipv6_address well_known = {{0, 0x64, 0xff, 0x9b}};
    static const uint8_t lengths[] = {32, 40, 48, 56, 64, 96, 96, 96};
    struct nat64_settings *nat64 = varied->settings.nat64;
    for (uint32_t i = 0; i < varied->settings.nat64_count; i++) {
        if ((bits & 0x81) != 0)
            nat64[i].static_count = 0;
        nat64[i].sessions_per_subscriber = history.lazy ? 0 : nat64[i].sessions_per_subscriber;
    }
    nat64[0].prefix.length = lengths[bits >> 1 & 7];
    if (nat64[0].prefix.length == 32)
        nat64[0].prefix.address.bytes[3] = 0xb9; /* that of the clients is no prefix */
    memset(nat64[0].prefix.address.bytes + nat64[0].prefix.length / 8, 0, 16 - nat64[0].prefix.length / 8u);
    if ((bits & 0x70) == 0x70)
        nat64[0].prefix = (struct rfc6052_prefix){.address = well_known, .length = 96};
    varied->settings.translation.mss_clamp = (bits & 0xc0) != 0xc0;
    if ((bits & 0x100) != 0)
        varied->settings.translation.icmp_errors_per_second = 0;
    /* Few ports: fewer, of one address, since the programs draw anew for the next one. */
    if ((bits & 0x08) != 0 && varied->pool[0].high == 1007) {
        varied->pool[0].high = 1002;
        varied->pool[0].count = 1;
    }
}

static void tell_traffic(const struct settings *settings)
{
    struct traffic_source *traffic = &history.traffic;
    traffic->prefixes = traffic->pool_addresses = 0;
    for (uint32_t i = 0; i < settings->nat64_count; i++)
        traffic->prefix[traffic->prefixes++] = settings->nat64[i].prefix;
    if (settings->siit_count > 0)
        traffic->prefix[traffic->prefixes++] = settings->siit[0].prefix;
    for (uint32_t i = 0; i < 3; i++)
        traffic->pool[traffic->pool_addresses++] = to_be32(0xc0000201u + i);
}

static void draw_settings(struct varied *varied)
{
    uint32_t some = traffic_pick(&history.traffic, 1 << 16);
    uint32_t bits = some & traffic_pick(&history.traffic, 1 << 16); /* a quarter of them */
    if (history.lazy)
        bits &= ~(uint32_t)(VARY_FEW_PORTS | VARY_SUBSCRIBER | VARY_SESSIONS);
    bits |= traffic_pick(&history.traffic, 4) != 0 ? VARY_NO_SIIT : 0;
    vary(varied, &history.base, bits);
    vary_more(varied, traffic_pick(&history.traffic, 512));
}

static bool change_side(struct side *side, const struct settings *settings)
{
    char error[256];
    engine_replace_paths(side->engine, history.paths);
    bool changed = engine_replace_settings(side->engine, settings, history.now, error, sizeof(error));
    FUZZ_CHECK(engine_quiet(side->engine));
    return changed;
}

static void change_settings(void)
{
    struct varied *next = &history.varied[1 - history.in_force];
    struct paths *old = history.paths;
    history.paths = vary_paths(traffic_pick(&history.traffic, 2) == 0);
    draw_settings(next);
    sweep();
    bool changed = change_side(&history.engine, &next->settings);
    if (changed != change_side(&history.programs, &next->settings))
        differ("only one side takes the new settings");
    FUZZ_CHECK(bpf_lab_enforce(history.programs.engine, history.paths));
    if (changed) {
        history.in_force = 1 - history.in_force;
        tell_traffic(&next->settings);
    }
    paths_destroy(old);
    pull(&history.engine);
    pull(&history.programs);
}

/* --- histories ------------------------------------------------------------------------------------ */

static void start_side(struct side *side, struct table *table, struct waiting_places *waiting)
{
    char error[256] = "no memory";
    side->table = table;
    struct engine_options options = {.table = table,
                                     .settings = &history.varied[0].settings,
                                     .paths = history.paths,
                                     .waiting = waiting,
                                     .workers = 1,
                                     .seed = history.seed,
                                     .now = history.now};
    side->engine = table != NULL ? engine_create(&options, error, sizeof(error)) : NULL;
    if (side->engine == NULL) {
        fprintf(stderr, "%s\n", error);
        exit(1);
    }
}

static void begin(uint64_t seed)
{
    static const struct geometry geometry = {
        .sessions = FUZZ_SESSIONS, .addresses = 3, .workers = 1, .counters = 1};
    history.seed = seed;
    history.step = history.in_force = 0;
    history.late = false;
    history.traffic = (struct traffic_source){.random = random_seed(seed), .offloads = way != BPF_WIRE_WAYS};
    history.lazy = traffic_pick(&history.traffic, 3) == 0;
    fuzz_fill(&history.base);
    history.now = history.base.now + NANOSECONDS / 2;
    draw_settings(&history.varied[0]);
    tell_traffic(&history.varied[0].settings);
    history.paths = vary_paths(traffic_pick(&history.traffic, 2) == 0);
    start_side(&history.engine, table_create(&geometry, seed), NULL);
    struct table *table = bpf_lab_table(&geometry, seed);
    start_side(&history.programs, table, bpf_lab_waiting());
    bpf_lab_count(&history.before);
    FUZZ_CHECK(bpf_lab_enforce(history.programs.engine, history.paths));
    FUZZ_CHECK(way == BPF_WIRE_WAYS || bpf_wire_attach());
}

static void end_side(struct side *side)
{
    engine_destroy(side->engine);
    table_destroy(side->table);
}

static void compare_ends(void)
{
    history.now += (nanoseconds)LIFETIME_MAXIMUM * NANOSECONDS;
    sweep();
    compare_books();
    audit(&history.engine);
    audit(&history.programs);
}

static void end(void)
{
    if (!history.late)
        compare_ends();
    end_side(&history.engine);
    end_side(&history.programs);
    paths_destroy(history.paths);
    eam_free((struct eam_table *)(uintptr_t)history.base.settings.siit[0].eam);
}

static void run_history(uint64_t seed)
{
    begin(seed);
    for (history.step = 0; history.step < STEPS && !history.late; history.step++) {
        uint32_t kind = traffic_pick(&history.traffic, 100);
        if (kind < 1)
            change_settings();
        else if (kind < 7)
            pass_time();
        else if (kind < 10)
            compare_books();
        else
            take_packet();
        if (closely && !history.late)
            compare_books();
    }
    end();
    total.histories++;
    total.late += history.late;
}

static uint64_t seconds_now(void)
{
    struct timespec clock;
    clock_gettime(CLOCK_MONOTONIC, &clock);
    return (uint64_t)clock.tv_sec;
}

static void run_for(uint64_t seconds)
{
    struct timespec clock;
    clock_gettime(CLOCK_REALTIME, &clock);
    uint64_t seed = (uint64_t)clock.tv_sec * 1000003u + (uint64_t)clock.tv_nsec;
    run_history(seed++); /* the programs are loaded now, which takes its time */
    for (uint64_t until = seconds_now() + seconds; seconds_now() < until;)
        run_history(seed++);
}

static void print_verdicts(void)
{
    printf("# the programs decided:");
    for (unsigned i = 0; i < VERDICT_COUNT; i++)
        if (total.verdicts[i] != 0)
            printf(" %s %llu", verdict_texts[i].name, (unsigned long long)total.verdicts[i]);
    printf("\n");
}

static const char *const usage = "usage: bpf_differential OBJECT [--seconds N] [--seed S] [--way NAME]";

static void name_way(const char *name)
{
    for (way = 0; way < BPF_WIRE_WAYS; way++)
        if (strcmp(name, bpf_wire_names[way]) == 0)
            return;
    fprintf(stderr, "%s\n", usage);
    exit(2);
}

int main(int count, char **words)
{
    uint64_t seconds = PASSING_SECONDS, seed = 0;
    for (int i = 2; i + 1 < count; i += 2) {
        if (strcmp(words[i], "--seconds") == 0)
            seconds = strtoull(words[i + 1], NULL, 10);
        else if (strcmp(words[i], "--seed") == 0)
            seed = strtoull(words[i + 1], NULL, 10);
        else if (strcmp(words[i], "--way") == 0)
            name_way(words[i + 1]);
    }
    const char *reason = count < 2              ? usage
                         : way == BPF_WIRE_WAYS ? bpf_lab_open(words[1])
                                                : bpf_wire_open(words[1], way);
    if (reason != NULL) {
        printf("ok 1 - the kernel's translator does what the engine does # SKIP %s\n1..1\n", reason);
        return 0;
    }
    closely = seed != 0;
    if (seed != 0)
        run_history(seed);
    else
        run_for(seconds);
    printf("ok 1 - the kernel's translator does what the engine does\n# %llu packets in %llu histories, %llu "
           "given up: decided by the programs %llu, handed over %llu, let pass %llu, not brought in "
           "%llu\n1..1\n",
           (unsigned long long)total.packets, (unsigned long long)total.histories,
           (unsigned long long)total.late, (unsigned long long)total.fates[BPF_LAB_DECIDED],
           (unsigned long long)total.fates[BPF_LAB_HANDED_OVER],
           (unsigned long long)total.fates[BPF_LAB_PASSED], (unsigned long long)total.fates[BPF_LAB_UNFIT]);
    print_verdicts();
    return 0;
}
