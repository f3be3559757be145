/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Each path has a function here. Lists are streams of lines, one JSON object each. A list of sessions walks
 * the table in steps of engine_list: neither the table nor the workers are held, and what changes during the
 * walk may or may not be seen.
 */
#include <assert.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/columns.h"
#include "control/daemon.h"
#include "engine/capture.h"
#include "portal/capture.h"
#include "portal/dns.h"
#include "portal/http.h"

enum {
    STATUS_CONFLICT = 409,
    LINE_MAXIMUM = 2048, /* bytes of one object; the longest here take half of it */
    WALK_RECORDS = 4096, /* records looked at in one call of engine_list */
    WALK_ENTRIES = 64,
    NANOSECONDS_A_SECOND = 1000000000,
};

static void reply_object(struct http_reply *reply, json_t *object)
{
    char *text = json_dumps(object, JSON_COMPACT);
    size_t length = text == NULL ? 0 : strlen(text);
    char *line = text == NULL ? NULL : realloc(text, length + 2);
    json_decref(object);
    if (line == NULL) {
        free(text);
        return; /* without a text the connection is closed */
    }
    memcpy(line + length, "\n", 2);
    reply->text = line;
}

static void reply_record(struct http_reply *reply, const struct columns *columns, const void *record)
{
    char *text = malloc(LINE_MAXIMUM + 1);
    if (text == NULL)
        return;
    text[columns_line(columns, record, text, LINE_MAXIMUM)] = '\0';
    reply->text = text;
}

/* Appends the record as a line; the caller has seen to it that there is room for LINE_MAXIMUM. */
static void put_line(const struct columns *columns, const void *record, char *text, size_t *at, size_t size)
{
    size_t length = columns_line(columns, record, text + *at, size - *at);
    assert(length > 0);
    *at += length;
}

/* How many there are, of those that were there at the start and those made since. */
static uint64_t live(uint64_t continued, uint64_t made, uint64_t ended)
{
    made += continued;
    return made > ended ? made - ended : 0; /* summed over workers that go on counting */
}

/* What the engine has counted, and the programs of the eBPF plane with it. */
static void count_all(const struct daemon *daemon, struct engine_counters *counters)
{
    engine_count(daemon->engine, counters);
    if (daemon->bpf.kernel != NULL)
        kernel_count(daemon->bpf.kernel, counters);
}

static void answer_status(void *context, struct http_reply *reply)
{
    const struct daemon *daemon = context;
    const struct translation_settings *translation = &daemon->config->settings.translation;
    struct engine_counters counters;
    struct engine_continued continued;
    struct engine_fragments fragments;
    count_all(daemon, &counters);
    engine_continued(daemon->engine, &continued);
    engine_fragments(daemon->engine, &fragments);
    struct status status = {
        .ready = daemon->ready,
        .uso = tun_uso(daemon->tun),
        .bpf = daemon->bpf.chosen,
        .interfaces = daemon->bpf.interfaces,
        .device = daemon->config->plane.name,
        .uptime_seconds = (uv_hrtime() - daemon->started) / NANOSECONDS_A_SECOND,
        .sessions = live(continued.sessions, counters.sessions_created, counters.sessions_ended),
        .bindings = live(continued.bindings, counters.bindings_created, counters.bindings_ended),
        .sessions_limit = daemon->config->geometry.sessions,
        .nat64_instances = daemon->config->settings.nat64_count,
        .siit_instances = daemon->config->settings.siit_count,
        .workers = daemon->workers,
        .mtu_ipv6 = paths_watch_least6(&daemon->paths, translation->mtu6),
        .mtu_ipv4 = paths_watch_least4(&daemon->paths, translation->mtu4),
        .captures = capture_count(daemon->engine),
        .fragments_held = fragments.packets,
        .fragments_bytes = fragments.bytes,
    };
    for (uint32_t i = 0; i < daemon->config->settings.siit_count; i++)
        status.mappings += eam_count(daemon->config->settings.siit[i].eam);
    reply_record(reply, &status_columns, &status);
}

/* A list under way. */
struct walk {
    const struct daemon *daemon;
    bool sessions;
    uint32_t position;
    uint32_t have, next; /* entries found, and the first not yet written */
    struct engine_entry entries[WALK_ENTRIES];
};

static const char *instance_name(const struct daemon *daemon, uint32_t instance)
{
    const struct settings *settings = &daemon->config->settings;
    return instance < settings->nat64_count ? settings->nat64[instance].name : "";
}

/* Fetches more entries; false at the end of the table. */
static bool walk_on(struct walk *walk)
{
    struct engine *engine = walk->daemon->engine;
    walk->have = walk->next = 0;
    while (walk->have == 0 && walk->position < engine_capacity(engine))
        walk->have = engine_list(engine, walk->sessions, &walk->position, WALK_RECORDS, walk->entries,
                                 WALK_ENTRIES, uv_hrtime());
    return walk->have > 0;
}

static size_t next_entries(void *context, char *text, size_t size)
{
    struct walk *walk = context;
    const struct columns *columns = walk->sessions ? &session_columns : &binding_columns;
    size_t at = 0;
    while (size - at > LINE_MAXIMUM && (walk->next < walk->have || walk_on(walk))) {
        const struct engine_entry *entry = &walk->entries[walk->next++];
        struct entry_record record = {.entry = entry,
                                      .instance = instance_name(walk->daemon, entry->instance)};
        put_line(columns, &record, text, &at, size);
    }
    return at;
}

static void answer_entries(const struct daemon *daemon, bool sessions, struct http_reply *reply)
{
    struct walk *walk = calloc(1, sizeof(*walk));
    if (walk == NULL)
        return;
    walk->daemon = daemon;
    walk->sessions = sessions;
    reply->stream = next_entries;
    reply->stream_context = walk;
    reply->stream_free = free;
}

static void answer_sessions(void *context, struct http_reply *reply)
{
    answer_entries(context, true, reply);
}

static void answer_bindings(void *context, struct http_reply *reply)
{
    answer_entries(context, false, reply);
}

/* What the engine, the device and the eBPF plane count beside verdicts. */
struct activity {
    const char *name, *class, *sentence;
    uint64_t value;
};

enum {
    ACTIVITIES = 16,
};

static void read_activities(const struct daemon *daemon, const struct engine_counters *engine,
                            struct activity activities[ACTIVITIES])
{
    struct tun_counters tun;
    struct kernel_passage bpf = {0};
    tun_count(daemon->tun, &tun);
    if (daemon->bpf.kernel != NULL)
        kernel_passage(daemon->bpf.kernel, &bpf);
    const struct activity rows[ACTIVITIES] = {
        {"icmp-errors-sent", "engine", "ICMP errors that isthmus made itself.", engine->icmp_errors_sent},
        {"icmp-errors-suppressed", "engine",
         "ICMP errors not made: over translation.icmp-errors-per-second, or without an address to come from.",
         engine->icmp_errors_suppressed},
        {"stored-syns-displaced", "engine",
         "SYNs from outside that were stored and gave way to newer ones, unanswered: at most 1024 are kept.",
         engine->stored_syns_displaced},
        {"probes-sent", "engine", "TCP probes that ask whether an idle connection still lives.",
         engine->probes_sent},
        {"pieces-made", "engine", "IPv6 fragments made of packets that were fragmented.",
         engine->pieces_made},
        {"sessions-created", "engine", "Sessions created.", engine->sessions_created},
        {"sessions-ended", "engine", "Sessions ended.", engine->sessions_ended},
        {"half-open-evicted", "engine",
         "TCP sessions without an answer yet that were ended for new ones: they had a quarter of the table.",
         engine->half_open_evicted},
        {"bindings-created", "engine", "Bindings created.", engine->bindings_created},
        {"bindings-ended", "engine", "Bindings ended.", engine->bindings_ended},
        {"tun-reads", "tun", "Packets read from the device; a super-packet is one.", tun.reads},
        {"tun-writes", "tun", "Packets written to the device.", tun.writes},
        {"tun-write-errors", "tun", "Packets that the kernel did not take from the device.",
         tun.write_errors},
        {"tun-bursts", "tun", "Bursts of packets handed to the engine.", tun.bursts},
        {"bpf-handed-over", "bpf", "Packets that the kernel's programs gave to the engine, by the device.",
         bpf.handed_over},
        {"bpf-passed", "bpf", "Packets at the interfaces that are not for isthmus.", bpf.passed},
    };
    memcpy(activities, rows, sizeof(rows));
}

/* The list of counters under way: a snapshot. */
struct count {
    struct engine_counters engine;
    struct activity activities[ACTIVITIES];
    unsigned next;
};

static size_t next_counters(void *context, char *text, size_t size)
{
    static const char *const classes[] = {[VERDICT_FORWARDED] = "forwarded",
                                          [VERDICT_DIVIDED] = "divided",
                                          [VERDICT_HELD] = "held",
                                          [VERDICT_REFUSED] = "refused",
                                          [VERDICT_DROPPED] = "dropped"};
    struct count *count = context;
    size_t at = 0;
    for (; count->next < VERDICT_COUNT + ACTIVITIES && size - at > LINE_MAXIMUM; count->next++) {
        if (count->next < VERDICT_COUNT) {
            const struct verdict_text *verdict = &verdict_texts[count->next];
            struct counter_record record = {.name = verdict->name,
                                            .class = classes[verdict->class],
                                            .sentence = verdict->sentence,
                                            .clause = verdict->clause,
                                            .packets = count->engine.packets[count->next],
                                            .bytes = count->engine.bytes[count->next]};
            put_line(&verdict_columns, &record, text, &at, size);
        } else {
            const struct activity *activity = &count->activities[count->next - VERDICT_COUNT];
            struct counter_record record = {.name = activity->name,
                                            .class = activity->class,
                                            .sentence = activity->sentence,
                                            .count = activity->value};
            put_line(&activity_columns, &record, text, &at, size);
        }
    }
    return at;
}

static void answer_counters(void *context, struct http_reply *reply)
{
    const struct daemon *daemon = context;
    struct count *count = calloc(1, sizeof(*count));
    if (count == NULL)
        return;
    count_all(daemon, &count->engine);
    read_activities(daemon, &count->engine, count->activities);
    reply->stream = next_counters;
    reply->stream_context = count;
    reply->stream_free = free;
}

struct pools {
    const struct daemon *daemon;
    uint32_t next;
};

static size_t next_pools(void *context, char *text, size_t size)
{
    struct pools *pools = context;
    const struct engine *engine = pools->daemon->engine;
    size_t at = 0;
    for (; pools->next < engine_pool_count(engine) && size - at > LINE_MAXIMUM; pools->next++) {
        struct engine_pool pool;
        engine_pool(engine, pools->next, &pool);
        struct pool_record record = {.pool = &pool, .instance = instance_name(pools->daemon, pool.instance)};
        put_line(&pool_columns, &record, text, &at, size);
    }
    return at;
}

static void answer_pools(void *context, struct http_reply *reply)
{
    struct pools *pools = calloc(1, sizeof(*pools));
    if (pools == NULL)
        return;
    pools->daemon = context;
    reply->stream = next_pools;
    reply->stream_context = pools;
    reply->stream_free = free;
}

/* The message quotes the file, which may hold anything; JSON holds only valid UTF-8. */
static void make_ascii(char *text)
{
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text >= 0x80)
            *text = '?';
    }
}

static json_t *changed_keys(const struct config_differences *changed)
{
    json_t *keys = json_array();
    for (uint32_t i = 0; i < changed->count && i < CONFIG_DIFFERENCES; i++)
        json_array_append_new(keys, json_string(changed->path[i]));
    if (changed->count > CONFIG_DIFFERENCES)
        json_array_append_new(keys, json_sprintf("and %u more", changed->count - CONFIG_DIFFERENCES));
    return keys;
}

static json_t *describe_reload(const struct daemon_reloaded *reloaded)
{
    return json_pack("{s:b, s:o, s:I, s:I, s:I}", "reloaded", 1, "changed", changed_keys(&reloaded->changed),
                     "ended_by_prefix", (json_int_t)reloaded->ended[ENDING_INSTANCE], "ended_by_address",
                     (json_int_t)reloaded->ended[ENDING_ADDRESS], "ended_by_port",
                     (json_int_t)reloaded->ended[ENDING_PORT]);
}

static void answer_reload(void *context, struct http_reply *reply)
{
    struct daemon_reloaded reloaded;
    struct config_error error;
    bool done = daemon_reload(context, &reloaded, &error);
    if (!done)
        reply->status = STATUS_CONFLICT;
    if (!done)
        make_ascii(error.text);
    reply_object(reply, done ? describe_reload(&reloaded) : json_pack("{s:s}", "error", error.text));
}

static const struct http_route routes[] = {
    {"GET", "/v1/status", answer_status},     {"GET", "/v1/sessions", answer_sessions},
    {"GET", "/v1/bindings", answer_bindings}, {"GET", "/v1/counters", answer_counters},
    {"GET", "/v1/pools", answer_pools},       {"POST", "/v1/reload", answer_reload},
    {"GET", "/v1/capture", answer_capture},   {"GET", "/v1/dns", answer_dns},
};

static void *api_open(struct daemon *daemon, int listener, char *error, size_t size)
{
    struct http_options options = {.loop = &daemon->loop,
                                   .listener = listener,
                                   .routes = routes,
                                   .route_count = sizeof(routes) / sizeof(routes[0]),
                                   .context = daemon};
    return http_open(&options, error, size);
}

static void api_close(void *service)
{
    http_close(service);
}

const struct daemon_service portal_service = {.open = api_open, .close = api_close};
