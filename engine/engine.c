/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A packet's way through the engine, in passes over each burst, because one packet alone cannot hide a cache
 * miss:
 *
 *   describe   what is it, whose is it; its key and hash; the index bucket is fetched ahead
 *   look up    the bucket's tags name a candidate record; the record is fetched ahead
 *   claim      for packets that seem to open a session a port is claimed and what that leads to is fetched
 *   translate  the policy checks or makes the session and gives the addresses; the translator writes them
 */
#include "engine/engine.h"

#include "engine/explain.h"
#include "engine/fragments.h"
#include "engine/memory.h"
#include "engine/permissions.h"
#include "engine/siit.h"
#include "engine/worker.h"
#include "wire/ipv4.h"
#include "wire/transport.h"

/* What the passes hand on about one packet. */
struct item {
    struct description description;
    enum verdict verdict; /* VERDICT_COUNT while undecided */
    bool keyed;           /* has a key of its own: not an ICMP error */
    bool stateless;       /* of a siit instance, by `claim` */
    uint32_t length;      /* as received */
    uint64_t candidate;   /* a slot of the home bucket with the right tag; 0: none */
    struct session_request request;
    bool claimed; /* `request` holds a port */
    uint64_t hash;
    union {
        struct key6 key6;
        struct key4 key4;
        struct siit_claim claim;
    };
};

static size_t engine_size(uint32_t workers)
{
    return sizeof(struct engine) + (workers + 1) * sizeof(struct worker);
}

/* The first rules: instances that the table knows keep the numbers that its records have. */
static const char *arrange(struct engine *engine, const struct settings *settings)
{
    struct rules *known = &engine->drafts[1];
    read_identities(engine->table, known);
    const char *problem =
        rules_arrange(&engine->drafts[0], settings, known, engine->table->constants.addresses);
    return problem != NULL ? problem : statics_check(&engine->drafts[0]);
}

struct engine *engine_create(const struct engine_options *options, char *error, size_t size)
{
    struct engine *engine = memory_map(engine_size(options->workers));
    if (engine == NULL) {
        explain(error, size, "not enough memory for the engine");
        return NULL;
    }
    engine->table = options->table;
    engine->rules = &engine->drafts[0];
    engine->paths = options->paths;
    engine->workers = options->workers;
    engine->waiting.places = options->waiting != NULL ? options->waiting : &engine->waiting.own;
    const char *problem = arrange(engine, options->settings);
    struct random seeds = random_seed(options->seed);
    for (uint32_t i = 0; i <= options->workers; i++) {
        struct worker *worker = &engine->worker[i];
        worker->engine = engine;
        worker->actor = (struct actor){.table = options->table, .lane = i};
        worker->random = random_seed(random_next(&seeds));
        worker->identification = (uint16_t)random_next(&seeds);
        worker->sweep = i * SWEEP_RECORDS;
        worker->rules = engine->rules;
        worker->settings = &engine->rules->settings;
        worker->fragments_due = UINT64_MAX;
        worker_find_mtus(worker, options->paths);
    }
    engine->worker[options->workers].tick = (uint32_t)(options->now / NANOSECONDS);
    if (problem == NULL)
        problem = recover(engine, options);
    if (problem == NULL)
        problem = statics_add(&engine->worker[options->workers], engine->rules, NULL);
    for (uint32_t i = 0; i < options->workers && problem == NULL; i++)
        if (!fragments_set_up(&engine->worker[i], options->settings, options->workers))
            problem = "not enough memory for fragments; lower translation.fragments";
    if (problem == NULL)
        return engine;
    explain(error, size, problem);
    engine_destroy(engine);
    return NULL;
}

void engine_destroy(struct engine *engine)
{
    if (engine == NULL)
        return;
    capture_stop_all(engine);
    for (uint32_t i = 0; i < engine->workers; i++)
        fragments_tear_down(&engine->worker[i]);
    memory_unmap(engine, engine_size(engine->workers));
}

struct worker *engine_worker(struct engine *engine, uint32_t number)
{
    return number <= engine->workers ? &engine->worker[number] : NULL;
}

const struct rules *engine_rules(const struct engine *engine)
{
    return __atomic_load_n(&engine->rules, __ATOMIC_ACQUIRE);
}

void engine_replace_paths(struct engine *engine, const struct paths *paths)
{
    __atomic_store_n(&engine->paths, paths, __ATOMIC_SEQ_CST);
}

bool engine_quiet(struct engine *engine)
{
    const struct rules *current = __atomic_load_n(&engine->rules, __ATOMIC_SEQ_CST);
    const struct paths *paths = __atomic_load_n(&engine->paths, __ATOMIC_SEQ_CST);
    for (uint32_t i = 0; i <= engine->workers; i++) {
        const struct rules *holds = __atomic_load_n(&engine->worker[i].holds, __ATOMIC_SEQ_CST);
        const struct paths *holds_paths = __atomic_load_n(&engine->worker[i].holds_paths, __ATOMIC_SEQ_CST);
        if ((holds != NULL && holds != current) || (holds_paths != NULL && holds_paths != paths))
            return false;
    }
    for (uint32_t i = 0; i < CAPTURE_GUESTS_MAXIMUM; i++) {
        const struct rules *holds = __atomic_load_n(&engine->captures.guest[i].holds, __ATOMIC_SEQ_CST);
        if (holds != NULL && holds != current)
            return false;
    }
    return true;
}

/* --- pass 1: describe ------------------------------------------------------------------------- */

/* Of IPv6 only the first fragment names the protocol for good (RFC 8200 section 4.5), see enter_first. */
static __attribute__((noinline)) enum verdict refuse_fragment(const struct description *description)
{
    bool known = description->version == 6 || description->protocol == PROTOCOL_TCP ||
                 description->protocol == PROTOCOL_UDP || description->protocol == PROTOCOL_ICMPV4;
    return known ? VERDICT_COUNT : VERDICT_PROTOCOL;
}

/*
 * The verdict on kinds that NAT64 does not carry; VERDICT_COUNT for those it does.
 * rfc: 6146-3.4-o, 6146-3.4-q, 5508-REQ10-e
 */
WIRE_INLINE enum verdict refuse_kind(const struct description *description)
{
    if (description->fragmented)
        return refuse_fragment(description);
    switch (description->kind) {
    case PACKET_TCP:
    case PACKET_UDP:
    case PACKET_ICMP_QUERY:
    case PACKET_ICMP_ERROR:
        return VERDICT_COUNT;
    case PACKET_ICMP_OTHER:
        return VERDICT_ICMP_TYPE;
    default:
        return VERDICT_PROTOCOL;
    }
}

static bool is_whole_error(const struct description *description)
{
    return description->kind == PACKET_ICMP_ERROR && !description->fragmented;
}

/* What is not for nat64 may be for siit. */
static enum verdict claim_stateless(const struct worker *worker, const struct packet *packet,
                                    struct item *item)
{
    item->stateless = siit_claim(worker->settings, packet_data(packet), &item->claim);
    return item->stateless ? VERDICT_COUNT : VERDICT_NOT_OURS;
}

/*
 * Whose an IPv6 packet is (RFC 6146 sections 3.5 and 5.4), and its key.
 * rfc: 7915-5.6-b, 6052-3.1-b, 6146-3.5-a, 6146-3.5-b, 6146-3.5.4-e
 */
static enum verdict classify6(const struct worker *worker, const struct packet *packet, struct item *item)
{
    const struct settings *settings = worker->settings;
    const struct description *description = &item->description;
    const struct ipv6_header *header = (const void *)packet_data(packet);
    int instance = instance_of(settings, &header->destination);
    if (instance < 0)
        return claim_stateless(worker, packet, item);
    if (ipv6_illegal_source(&header->source) || ipv6_is_link_local(&header->source))
        return VERDICT_BAD_SOURCE;
    if (instance_of(settings, &header->source) >= 0)
        return VERDICT_LOOPED;
    const struct nat64_settings *nat64 = &settings->nat64[instance];
    be32 remote = rfc6052_extract(&nat64->prefix, &header->destination);
    if (!rfc6052_embeds(&nat64->prefix, &header->destination))
        return VERDICT_EMBEDDED_BITS;
    if (ipv4_illegal_source(remote))
        return VERDICT_BAD_DESTINATION;
    if (!nat64->translate_non_global && rfc6052_is_well_known(&nat64->prefix) && ipv4_is_non_global(remote))
        return VERDICT_NON_GLOBAL;
    enum verdict verdict = refuse_kind(description);
    if (verdict != VERDICT_COUNT || is_whole_error(description))
        return verdict;
    if (header->hop_limit <= 1)
        return VERDICT_HOP_LIMIT;
    if (description->fragmented)
        return VERDICT_COUNT;
    uint8_t transport = transport_of_kind(description->kind);
    item->key6 = (struct key6){.client = header->source,
                               .remote = remote,
                               .client_port = description->source_port,
                               .remote_port = transport == TRANSPORT_ICMP ? 0 : description->destination_port,
                               .transport = transport,
                               .instance = (uint8_t)instance};
    item->hash = hash_key6(worker->actor.table, &item->key6);
    item->keyed = true;
    __builtin_prefetch(
        bucket_at(worker->actor.table, SEGMENT_SESSION6, hash_bucket(worker->actor.table, item->hash)));
    return VERDICT_COUNT;
}

/* rfc: 7915-4.6-b, 6146-3.5-c */
static enum verdict classify4(const struct worker *worker, const struct packet *packet, struct item *item)
{
    const struct description *description = &item->description;
    const struct ipv4_header *header = (const void *)packet_data(packet);
    if (worker->settings->siit_count > 0 && pool_find(worker->rules, header->destination) < 0)
        return claim_stateless(worker, packet, item);
    enum verdict verdict = refuse_kind(description);
    bool error = verdict == VERDICT_COUNT && is_whole_error(description);
    bool ends_here = header->ttl <= 1;
    if ((verdict != VERDICT_COUNT || error || ends_here) && pool_find(worker->rules, header->destination) < 0)
        return VERDICT_NOT_OURS;
    if (verdict != VERDICT_COUNT || error)
        return verdict;
    if (ipv4_illegal_source(header->source))
        return VERDICT_BAD_SOURCE;
    if (ends_here)
        return VERDICT_HOP_LIMIT;
    if (description->fragmented)
        return VERDICT_COUNT;
    uint8_t transport = transport_of_kind(description->kind);
    item->key4 = (struct key4){.pool = header->destination,
                               .remote = header->source,
                               .pool_port = description->destination_port,
                               .remote_port = transport == TRANSPORT_ICMP ? 0 : description->source_port,
                               .transport = transport};
    item->hash = hash_key4(worker->actor.table, &item->key4);
    item->keyed = true;
    __builtin_prefetch(
        bucket_at(worker->actor.table, SEGMENT_SESSION4, hash_bucket(worker->actor.table, item->hash)));
    return VERDICT_COUNT;
}

static void describe(struct worker *worker, struct packet *packet, struct item *item)
{
    item->keyed = item->stateless = false;
    item->length = packet->length;
    item->candidate = 0;
    item->claimed = false;
    item->verdict = packet_describe(packet, &item->description);
    if (item->verdict == VERDICT_ROUTING_HEADER || item->verdict == VERDICT_SOURCE_ROUTE) {
        /* Only packets that would be ours get an answer. */
        enum verdict why = item->verdict;
        bool ours = item->description.version == 6
                        ? instance_of(worker->settings, (const void *)(packet_data(packet) + 24)) >= 0
                        : pool_find(worker->rules, load_be32(packet_data(packet) + 16)) >= 0;
        ours = ours || siit_claim(worker->settings, packet_data(packet), &item->claim);
        item->verdict = ours ? why : VERDICT_NOT_OURS;
    }
    if (item->verdict == VERDICT_COUNT)
        item->verdict = item->description.version == 6 ? classify6(worker, packet, item)
                                                       : classify4(worker, packet, item);
}

/* --- pass 2: look up ---------------------------------------------------------------------------- */

/*
 * The first record that the home bucket's tags name; whether it is the right one is seen when it has arrived.
 * True: there is none, and the packet may open a session.
 */
static bool look_up(const struct worker *worker, struct item *item)
{
    const struct table *table = worker->actor.table;
    if (item->verdict != VERDICT_COUNT || !item->keyed)
        return false;
    enum segment which = item->description.version == 6 ? SEGMENT_SESSION6 : SEGMENT_SESSION4;
    const struct bucket *bucket = bucket_at(table, which, hash_bucket(table, item->hash));
    uint64_t candidate = 0;
#pragma GCC unroll 7
    for (unsigned i = BUCKET_SLOTS; i > 0; i--) {
        uint64_t slot = atomic_load64(&bucket->slot[i - 1]);
        candidate = (uint16_t)(slot >> 48) == (uint16_t)item->hash ? slot : candidate;
    }
    item->candidate = candidate;
    if (candidate != 0) {
        __builtin_prefetch(record_at(table, slot_index(candidate)));
        if (table->constants.counters)
            __builtin_prefetch(traffic_at(table, slot_index(candidate)), 1);
        return false;
    }
    if (which == SEGMENT_SESSION4)
        return false;
    struct binding_key key = binding_key_of(&item->key6);
    uint64_t subscriber = hash_subscriber(
        table, &key.client, worker->settings->nat64[key.instance].subscriber_prefix, key.instance);
    __builtin_prefetch(bucket_at(table, SEGMENT_BINDINGS, hash_bucket(table, hash_binding(table, &key))));
    __builtin_prefetch(bucket_at(table, SEGMENT_SUBSCRIBERS, hash_bucket(table, subscriber)));
    return true;
}

/* --- pass 3: claim ------------------------------------------------------------------------------ */

static void claim_ahead(struct worker *worker, struct item items[], unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (items[i].verdict == VERDICT_COUNT && items[i].keyed && items[i].candidate == 0 &&
            items[i].description.version == 6)
            items[i].claimed =
                nat64_claim_ahead(worker, &items[i].description, &items[i].key6, &items[i].request);
}

/* --- pass 4: translate -------------------------------------------------------------------------- */

/* The session that the candidate turns out to be, or NO_RECORD as its index. */
static void confirm(const struct worker *worker, const struct item *item, struct found *session)
{
    session->index = NO_RECORD;
    if (item->candidate == 0)
        return;
    if (!slot_read(worker->actor.table, item->candidate, session) ||
        !life_is_session(session->copy.life, worker->tick) ||
        !(item->description.version == 6 ? record_has_key6(&session->copy, &item->key6)
                                         : record_has_key4(&session->copy, &item->key4)))
        session->index = NO_RECORD;
}

WIRE_INLINE void count_traffic(const struct worker *worker, const struct item *item,
                               const struct found *session)
{
    const struct table *table = worker->actor.table;
    if (!table->constants.counters || session->index == NO_RECORD ||
        !worker->settings->nat64[session->copy.instance].counters)
        return;
    struct traffic *traffic = traffic_at(table, session->index);
    bool six = item->description.version == 6;
    (void)__atomic_fetch_add(six ? &traffic->packets6 : &traffic->packets4, 1, __ATOMIC_RELAXED);
    (void)__atomic_fetch_add(six ? &traffic->bytes6 : &traffic->bytes4, item->length, __ATOMIC_RELAXED);
}

/* rfc: 7915-4.3-c, 7915-5.3-c, 6146-3.4-b, 6146-3.4-c, 6146-3.4-d */
enum verdict describe_quoted(const struct packet *packet, const struct description *error,
                             struct description *quoted)
{
    uint32_t start = (uint32_t)error->transport + (uint32_t)sizeof(struct icmp_header);
    if (packet->length < start)
        return VERDICT_ICMP_INNER;
    enum verdict verdict =
        packet_describe_quoted(packet_data(packet) + start, packet->length - start, quoted);
    if (verdict != VERDICT_COUNT)
        return verdict;
    return quoted->version != error->version || quoted->kind == PACKET_ICMP_ERROR ? VERDICT_ICMP_INNER
                                                                                  : VERDICT_COUNT;
}

static enum verdict translate_error(struct worker *worker, struct packet *packet,
                                    const struct description *error)
{
    const struct translation_settings *translation = &worker->translation;
    struct description quoted;
    enum verdict verdict = describe_quoted(packet, error, &quoted);
    if (verdict != VERDICT_COUNT)
        return verdict;
    if (error->version == 6) {
        struct error_endpoints4 to;
        verdict = nat64_outgoing_error(worker, packet, error, &quoted, &to);
        return verdict != VERDICT_COUNT ? verdict
                                        : translate_error_6to4(packet, error, &quoted, &to, translation);
    }
    struct error_endpoints6 to;
    verdict = nat64_incoming_error(worker, packet, error, &quoted, &to);
    return verdict != VERDICT_COUNT ? verdict
                                    : translate_error_4to6(packet, error, &quoted, &to, translation);
}

static enum verdict translate_outgoing(struct worker *worker, struct packet *packet, struct item *item)
{
    struct outgoing flow; /* field by field: the copy in it need not be zeroed */
    struct endpoints4 to;
    flow.key = &item->key6;
    flow.hash = item->hash;
    flow.ahead = item->claimed ? &item->request : NULL;
    confirm(worker, item, &flow.session);
    enum verdict verdict = nat64_outgoing(worker, &item->description, &flow, &to);
    if (flow.ahead != NULL)
        nat64_unclaim(worker, flow.ahead);
    if (verdict == VERDICT_COUNT)
        verdict = translate_6to4(packet, &item->description, &to, &worker->translation,
                                 next_identification(worker, packet));
    if (verdict_texts[verdict].class == VERDICT_FORWARDED)
        count_traffic(worker, item, &flow.session);
    else if (verdict == VERDICT_TOO_BIG_IPV6)
        item->description.mtu = path_mtu4(&worker->translation, to.destination);
    return verdict;
}

static enum verdict translate_incoming(struct worker *worker, struct packet *packet, struct item *item)
{
    struct incoming flow; /* as above */
    struct endpoints6 to;
    flow.packet = packet;
    flow.key = &item->key4;
    flow.hash = item->hash;
    confirm(worker, item, &flow.session);
    enum verdict verdict = nat64_incoming(worker, &item->description, &flow, &to);
    if (verdict == VERDICT_COUNT)
        verdict = translate_4to6(packet, &item->description, &to, &worker->translation);
    if (verdict_texts[verdict].class <= VERDICT_DIVIDED)
        count_traffic(worker, item, &flow.session);
    else if (verdict == VERDICT_TOO_BIG_IPV4)
        item->description.mtu = path_mtu6(&worker->translation, &to.destination);
    return verdict;
}

static enum verdict translate_stateless(struct worker *worker, struct packet *packet, struct item *item)
{
    enum verdict verdict = siit_translate(worker, packet, &item->description, &item->claim);
    if (verdict == VERDICT_TOO_BIG_IPV6)
        item->description.mtu = path_mtu4(&worker->translation, item->claim.destination.ipv4);
    else if (verdict == VERDICT_TOO_BIG_IPV4)
        item->description.mtu = path_mtu6(&worker->translation, &item->claim.destination.ipv6);
    return verdict;
}

/* Kept out of the way of all others. */
static __attribute__((noinline)) enum verdict translate_unkeyed(struct worker *worker, unsigned number,
                                                                struct packet *packet,
                                                                struct description *description)
{
    return description->fragmented ? fragments_receive(worker, number, packet, description)
                                   : translate_error(worker, packet, description);
}

static enum verdict translate(struct worker *worker, unsigned number, struct packet *packet,
                              struct item *item)
{
    if (item->stateless)
        return translate_stateless(worker, packet, item);
    if (!item->keyed)
        return translate_unkeyed(worker, number, packet, &item->description);
    return item->description.version == 6 ? translate_outgoing(worker, packet, item)
                                          : translate_incoming(worker, packet, item);
}

/* What becomes of a packet that does not go on as it is: an answer, or pieces. */
static __attribute__((noinline)) void follow_up(struct worker *worker, unsigned number,
                                                const struct packet *packet, const struct item *item)
{
    if (verdict_texts[item->verdict].class == VERDICT_REFUSED && !(item->stateless && item->claim.turned))
        reply_error(worker, packet, &item->description, item->verdict);
    else if (verdict_texts[item->verdict].class == VERDICT_DIVIDED)
        divide_begin(worker, number, packet);
}

/* rfc: 6146-3-d, 6146-3.8-a */
static void receive(struct worker *worker, struct packet packets[], unsigned n, nanoseconds now,
                    enum verdict verdicts[])
{
    struct item items[BURST_MAXIMUM];
    worker_enter(worker, now);
    worker->divisions.first = worker->divisions.count = 0;
    if (worker->releases.count > 0)
        fragments_forget(worker);
    for (unsigned i = 0; i < n; i++)
        describe(worker, &packets[i], &items[i]);
    bool opening = false;
    for (unsigned i = 0; i < n; i++)
        opening |= look_up(worker, &items[i]);
    if (opening)
        claim_ahead(worker, items, n);
    for (unsigned i = 0; i < n; i++) {
        enum verdict verdict = items[i].verdict;
        if (verdict == VERDICT_COUNT)
            verdict = translate(worker, i, &packets[i], &items[i]);
        if (verdict_texts[verdict].class != VERDICT_FORWARDED) {
            items[i].verdict = verdict;
            follow_up(worker, i, &packets[i], &items[i]);
        }
        atomic_count(&worker->counters.packets[verdict], 1);
        atomic_count(&worker->counters.bytes[verdict], items[i].length);
        verdicts[i] = verdict;
    }
    worker_leave(worker);
}

void engine_receive(struct worker *worker, struct packet packets[], unsigned n, nanoseconds now,
                    enum verdict verdicts[])
{
    if (n > BURST_MAXIMUM)
        n = BURST_MAXIMUM;
    if (!is_captured(worker)) {
        receive(worker, packets, n, now, verdicts);
        return;
    }
    capture_burst_begins(worker, packets, n);
    receive(worker, packets, n, now, verdicts);
    capture_burst_ends(worker, packets, n, verdicts);
}
