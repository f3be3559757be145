/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The side of workers and guests of a capture, its rings, and how it is taken from those that run.
 *
 * A ring is `size` bytes, a power of two, and two positions that only grow: `written` by its worker or guest,
 * `read` by the control plane. A record lies in one piece: one that would reach over the end of the memory
 * starts at its beginning, and the rest is marked as skipped.
 *
 * Translation overwrites a packet, and its verdict is known only afterwards. So if translated packets are
 * wanted, the first bytes of a burst are kept before it is translated; all others are still as they were
 * received when their verdict is known (see engine/translate.h).
 *
 * Workers read the engine's list of captures. A worker that is about to makes its `turn` odd first, and even
 * when it is done. So who has taken a capture off the list may free it when every worker's turn was even, or
 * has changed, since. Guests do the same. Rings and turns stand in one order: the plane's workers, the
 * control plane's, guests. The control plane's worker receives nothing; its ring is for what another plane
 * has decided on, which that thread brings.
 */
#include "engine/capture.h"

#include "engine/explain.h"
#include "engine/memory.h"
#include "engine/siit.h"
#include "engine/worker.h"
#include "wire/ipv4.h"
#include "wire/transport.h"

enum {
    SKIPPED = UINT32_MAX, /* instead of `kept`: up to the end of the memory there is nothing */
    THREADS_MAXIMUM = WORKERS_MAXIMUM + 1 + CAPTURE_GUESTS_MAXIMUM,
};

struct ring {
    uint8_t *bytes;
    uint64_t size;  /* of them */
    uint8_t *burst; /* the packets of the burst under way as received, `stride` bytes each; NULL: a guest's */
    uint64_t number;
    uint64_t written, missed; /* atomic */
    uint64_t read __attribute__((aligned(64)));
} __attribute__((aligned(64)));

struct capture {
    struct capture_filter filter;
    bool keeps;      /* translated packets are wanted */
    uint32_t stride; /* enough for what is recorded and for the addresses, which are looked at */
    bool stopped;
    size_t memory; /* bytes of all this */
    uint32_t rings;
    struct ring *next;              /* where capture_next found its record */
    uint64_t turn[THREADS_MAXIMUM]; /* of each worker and guest when the capture was stopped */
    struct ring ring[];
};

static uint64_t round_up(uint64_t length)
{
    return (length + 7) & ~7ull;
}

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static uint32_t most(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

/* --- rings ---------------------------------------------------------------------------------------- */

static struct captured *record_in(const struct ring *ring, uint64_t position)
{
    return (void *)(ring->bytes + (position & (ring->size - 1)));
}

/* Two parts, of which as much is recorded as head->kept says. */
struct parts {
    const uint8_t *first, *second;
    uint32_t first_length;
};

static void put_parts(struct ring *ring, const struct captured *head, const struct parts *parts)
{
    uint64_t need = round_up(sizeof(*head) + head->kept);
    uint64_t written = ring->written;
    uint64_t rest = ring->size - (written & (ring->size - 1));
    uint64_t skip = rest < need ? rest : 0;
    if (written + skip + need - atomic_load64(&ring->read) > ring->size) {
        atomic_count(&ring->missed, 1);
        return;
    }
    if (skip > 0)
        record_in(ring, written)->kept = SKIPPED;
    struct captured *record = record_in(ring, written + skip);
    uint32_t first = least(head->kept, parts->first_length);
    *record = *head;
    __builtin_memcpy(record + 1, parts->first, first);
    if (head->kept > first)
        __builtin_memcpy((uint8_t *)(record + 1) + first, parts->second, head->kept - first);
    atomic_store64(&ring->written, written + skip + need);
}

static void put(struct ring *ring, const struct captured *head, const uint8_t *bytes)
{
    const struct parts parts = {.first = bytes, .first_length = head->kept};
    put_parts(ring, head, &parts);
}

/* The ring's first record; NULL: it is empty. */
static const struct captured *first(struct ring *ring)
{
    uint64_t read = ring->read;
    if (read == atomic_load64(&ring->written))
        return NULL;
    const struct captured *record = record_in(ring, read);
    if (record->kept != SKIPPED)
        return record;
    read += ring->size - (read & (ring->size - 1));
    atomic_store64(&ring->read, read);
    return record_in(ring, read); /* what made the skip necessary was published with it */
}

const struct captured *capture_next(struct capture *capture)
{
    const struct captured *oldest = NULL;
    for (uint32_t i = 0; i < capture->rings; i++) {
        const struct captured *record = first(&capture->ring[i]);
        if (record != NULL && (oldest == NULL || record->time < oldest->time)) {
            oldest = record;
            capture->next = &capture->ring[i];
        }
    }
    return oldest;
}

void capture_release(struct capture *capture)
{
    struct ring *ring = capture->next;
    const struct captured *record = record_in(ring, ring->read);
    atomic_store64(&ring->read, ring->read + round_up(sizeof(*record) + record->kept));
}

uint64_t capture_missed(const struct capture *capture)
{
    uint64_t missed = 0;
    for (uint32_t i = 0; i < capture->rings; i++)
        missed += atomic_load64(&capture->ring[i].missed);
    return missed;
}

/* --- start and stop ------------------------------------------------------------------------------- */

/* The largest power of two that all workers of the plane can have of CAPTURE_MEMORY, but not less than a few
 * records. The control plane's worker receives nothing, so its ring is hardly ever touched. */
static uint64_t ring_size(uint32_t workers)
{
    uint64_t size = CAPTURE_MEMORY;
    while (size * workers > CAPTURE_MEMORY && size > CAPTURE_RING_MINIMUM)
        size /= 2;
    return size;
}

static void make_rings(struct capture *capture, uint8_t *at, uint64_t size, uint32_t workers)
{
    for (uint32_t i = 0; i < capture->rings; i++) {
        struct ring *ring = &capture->ring[i];
        ring->bytes = at;
        ring->size = i < workers ? size : CAPTURE_RING_MINIMUM;
        at += ring->size;
        if (i >= workers)
            continue;
        ring->burst = at;
        at += (uint64_t)BURST_MAXIMUM * capture->stride;
    }
}

static struct capture *make(const struct engine *engine, const struct capture_filter *filter)
{
    uint32_t workers = engine->workers + 1;
    uint32_t guests = least(filter->guests, CAPTURE_GUESTS_MAXIMUM);
    uint64_t size = ring_size(engine->workers);
    uint64_t stride = round_up(most(filter->snap, sizeof(struct ipv6_header)));
    size_t front = round_up(sizeof(struct capture) + (workers + guests) * sizeof(struct ring));
    size_t memory =
        front + workers * (size + BURST_MAXIMUM * stride) + (uint64_t)guests * CAPTURE_RING_MINIMUM;
    struct capture *capture = memory_map(memory);
    if (capture == NULL)
        return NULL;
    capture->filter = *filter;
    capture->memory = memory;
    capture->stride = (uint32_t)stride;
    capture->rings = workers + guests;
    for (unsigned i = 0; i < VERDICT_COUNT; i++)
        capture->keeps |= filter->verdicts[i] && verdict_texts[i].class <= VERDICT_DIVIDED;
    make_rings(capture, (uint8_t *)capture + front, size, workers);
    return capture;
}

struct capture *capture_start(struct engine *engine, const struct capture_filter *filter, char *error,
                              size_t size)
{
    struct captures *captures = &engine->captures;
    uint32_t place = 0;
    capture_tidy(engine);
    while (place < CAPTURES_MAXIMUM && captures->made[place] != NULL)
        place++;
    struct capture *capture = place < CAPTURES_MAXIMUM ? make(engine, filter) : NULL;
    if (capture == NULL) {
        explain(error, size,
                place < CAPTURES_MAXIMUM ? "not enough memory for a capture"
                                         : "as many captures as may be are running; end one of them");
        return NULL;
    }
    captures->made[place] = capture;
    __atomic_store_n(&captures->running[place], capture, __ATOMIC_SEQ_CST);
    __atomic_store_n(&captures->count, captures->count + 1, __ATOMIC_SEQ_CST);
    return capture;
}

static uint32_t threads_of(const struct engine *engine)
{
    return engine->workers + 1 + CAPTURE_GUESTS_MAXIMUM;
}

static uint64_t turn_of(const struct engine *engine, uint32_t thread)
{
    const uint64_t *turn = thread <= engine->workers
                               ? &engine->worker[thread].capturing.turn
                               : &engine->captures.guest[thread - engine->workers - 1].turn;
    return __atomic_load_n(turn, __ATOMIC_SEQ_CST);
}

void capture_stop(struct engine *engine, struct capture *capture)
{
    struct captures *captures = &engine->captures;
    for (uint32_t place = 0; place < CAPTURES_MAXIMUM; place++)
        if (captures->made[place] == capture)
            __atomic_store_n(&captures->running[place], NULL, __ATOMIC_SEQ_CST);
    __atomic_store_n(&captures->count, captures->count - 1, __ATOMIC_SEQ_CST);
    for (uint32_t i = 0; i < threads_of(engine); i++)
        capture->turn[i] = turn_of(engine, i);
    capture->stopped = true;
    capture_tidy(engine);
}

static bool in_use(const struct engine *engine, const struct capture *capture)
{
    if (!capture->stopped)
        return true;
    for (uint32_t i = 0; i < threads_of(engine); i++)
        if (capture->turn[i] % 2 == 1 && capture->turn[i] == turn_of(engine, i))
            return true;
    return false;
}

void capture_tidy(struct engine *engine)
{
    for (uint32_t place = 0; place < CAPTURES_MAXIMUM; place++) {
        struct capture *capture = engine->captures.made[place];
        if (capture == NULL || in_use(engine, capture))
            continue;
        engine->captures.made[place] = NULL;
        memory_unmap(capture, capture->memory);
    }
}

void capture_stop_all(struct engine *engine)
{
    for (uint32_t place = 0; place < CAPTURES_MAXIMUM; place++)
        if (engine->captures.made[place] != NULL)
            memory_unmap(engine->captures.made[place], engine->captures.made[place]->memory);
}

uint32_t capture_count(const struct engine *engine)
{
    return __atomic_load_n(&engine->captures.count, __ATOMIC_RELAXED);
}

/* --- filters -------------------------------------------------------------------------------------- */

/* What a filter looks for: the address, and the same host in the other family if a prefix or mapping tells.
 */
struct wanted {
    bool any, has4, has6;
    be32 address4;
    const struct ipv6_address *address6;
};

/* The IPv4 address of a host that is known by an IPv6 address: behind a prefix, or by an explicit mapping. */
static bool ipv4_of(const struct settings *settings, const struct ipv6_address *address, be32 *ipv4)
{
    int instance = instance_of(settings, address);
    if (instance < 0)
        return siit_ipv4_of(settings, address, ipv4);
    *ipv4 = rfc6052_extract(&settings->nat64[instance].prefix, address);
    return true;
}

static struct wanted wanted_by(const struct settings *settings, const struct capture_filter *filter)
{
    struct wanted wanted = {.any = filter->family == 0,
                            .has4 = filter->family == 4,
                            .has6 = filter->family == 6,
                            .address4 = filter->address4,
                            .address6 = &filter->address6};
    if (wanted.has6)
        wanted.has4 = ipv4_of(settings, &filter->address6, &wanted.address4);
    return wanted;
}

static bool is_wanted6(const struct settings *settings, const struct wanted *wanted,
                       const struct ipv6_address *address)
{
    be32 address4;
    if (wanted->has6 && ipv6_equal(address, wanted->address6))
        return true;
    return wanted->has4 && ipv4_of(settings, address, &address4) && address4 == wanted->address4;
}

static bool is_wanted(const struct settings *settings, const struct wanted *wanted, const uint8_t *packet,
                      uint32_t length)
{
    if (wanted->any)
        return true;
    uint8_t version = length > 0 ? packet[0] >> 4 : 0;
    if (version == 4 && length >= sizeof(struct ipv4_header)) {
        const struct ipv4_header *header = (const void *)packet;
        return wanted->has4 &&
               (header->source == wanted->address4 || header->destination == wanted->address4);
    }
    if (version != 6 || length < sizeof(struct ipv6_header))
        return false;
    const struct ipv6_header *header = (const void *)packet;
    return is_wanted6(settings, wanted, &header->source) ||
           is_wanted6(settings, wanted, &header->destination);
}

/* --- what workers do ------------------------------------------------------------------------------ */

static struct ring *own_ring(const struct worker *worker, struct capture *capture)
{
    return &capture->ring[worker->actor.lane];
}

/* From here to leave() the captures in worker->capturing may be used. */
static void enter(struct worker *worker)
{
    struct capturing *capturing = &worker->capturing;
    __atomic_store_n(&capturing->turn, capturing->turn + 1, __ATOMIC_SEQ_CST);
    for (uint32_t i = 0; i < CAPTURES_MAXIMUM; i++)
        capturing->capture[i] = __atomic_load_n(&worker->engine->captures.running[i], __ATOMIC_SEQ_CST);
}

static void leave(struct worker *worker)
{
    __atomic_store_n(&worker->capturing.turn, worker->capturing.turn + 1, __ATOMIC_RELEASE);
}

void capture_burst_begins(struct worker *worker, const struct packet packets[], unsigned n)
{
    struct capturing *capturing = &worker->capturing;
    enter(worker);
    capturing->packets = packets;
    capturing->kept = 0;
    for (unsigned i = 0; i < n; i++) {
        capturing->offset[i] = packets[i].offset;
        capturing->length[i] = packets[i].length;
    }
    for (uint32_t c = 0; c < CAPTURES_MAXIMUM; c++) {
        struct capture *capture = capturing->capture[c];
        if (capture == NULL || !capture->keeps)
            continue;
        uint8_t *burst = own_ring(worker, capture)->burst;
        for (unsigned i = 0; i < n; i++, burst += capture->stride)
            __builtin_memcpy(burst, packet_data(&packets[i]), least(packets[i].length, capture->stride));
    }
}

void capture_before_rewriting(struct worker *worker, const struct packet *packet)
{
    struct capturing *capturing = &worker->capturing;
    if (capturing->turn % 2 == 0)
        return; /* the capture began after the burst */
    size_t i = (size_t)(packet - capturing->packets);
    for (uint32_t c = 0; c < CAPTURES_MAXIMUM; c++) {
        struct capture *capture = capturing->capture[c];
        if (capture != NULL)
            __builtin_memcpy(own_ring(worker, capture)->burst + i * capture->stride, packet_data(packet),
                             least(packet->length, capture->stride));
    }
    capturing->kept |= 1u << i;
}

/* One packet of the burst. */
static void take(struct worker *worker, struct capture *capture, const struct packet *packet, unsigned i,
                 enum verdict verdict)
{
    const struct settings *settings = worker->settings;
    struct ring *ring = own_ring(worker, capture);
    uint32_t snap = capture->filter.snap;
    bool translated = verdict_texts[verdict].class <= VERDICT_DIVIDED; /* where it lay */
    struct wanted wanted = wanted_by(settings, &capture->filter);
    struct captured head = {.length = worker->capturing.length[i],
                            .time = worker->now,
                            .worker = (uint16_t)worker->actor.lane,
                            .kind = CAPTURE_RECEIVED,
                            .verdict = (uint8_t)verdict};
    bool kept = translated || (worker->capturing.kept >> i & 1) != 0;
    const uint8_t *received =
        kept ? ring->burst + (size_t)i * capture->stride : packet->buffer + worker->capturing.offset[i];
    head.kept = least(head.length, snap);
    if (!is_wanted(settings, &wanted, received, least(head.length, capture->stride)) &&
        !(translated && is_wanted(settings, &wanted, packet_data(packet), packet->length)))
        return;
    head.number = ring->number++;
    put(ring, &head, received);
    if (verdict_texts[verdict].class != VERDICT_FORWARDED)
        return; /* pieces are recorded when they are handed out */
    head.kind = CAPTURE_RESULT;
    head.length = packet->length;
    head.kept = least(head.length, snap);
    put(ring, &head, packet_data(packet));
}

void capture_burst_ends(struct worker *worker, const struct packet packets[], unsigned n,
                        const enum verdict verdicts[])
{
    worker_enter(worker, worker->now);
    for (uint32_t c = 0; c < CAPTURES_MAXIMUM; c++) {
        struct capture *capture = worker->capturing.capture[c];
        for (unsigned i = 0; capture != NULL && i < n; i++)
            if (capture->filter.verdicts[verdicts[i]])
                take(worker, capture, &packets[i], i, verdicts[i]);
    }
    worker_leave(worker);
    leave(worker);
}

/* An ICMP error made here quotes the packet it is about right behind its own headers. */
static bool made_is_wanted(const struct settings *settings, const struct wanted *wanted,
                           const struct packet *packet, enum verdict why)
{
    const uint8_t *data = packet_data(packet);
    uint32_t quoted =
        (uint32_t)((data[0] >> 4 == 6 ? sizeof(struct ipv6_header) : sizeof(struct ipv4_header)) +
                   sizeof(struct icmp_header));
    return is_wanted(settings, wanted, data, packet->length) ||
           (why != VERDICT_COUNT && packet->length > quoted &&
            is_wanted(settings, wanted, data + quoted, packet->length - quoted));
}

/* A packet that does not lie in the burst; the rules and the captures are held. */
static void record_apart(struct worker *worker, const struct packet *packet, enum verdict verdict,
                         enum capture_kind kind)
{
    struct captured head = {.length = packet->length,
                            .time = worker->now,
                            .worker = (uint16_t)worker->actor.lane,
                            .kind = (uint8_t)kind,
                            .verdict = (uint8_t)verdict};
    for (uint32_t c = 0; c < CAPTURES_MAXIMUM; c++) {
        struct capture *capture = worker->capturing.capture[c];
        if (capture == NULL ||
            !(verdict == VERDICT_COUNT ? capture->filter.probes : capture->filter.verdicts[verdict]))
            continue;
        struct wanted wanted = wanted_by(worker->settings, &capture->filter);
        struct ring *ring = own_ring(worker, capture);
        if (!made_is_wanted(worker->settings, &wanted, packet, verdict))
            continue;
        head.number = ring->number++;
        head.kept = least(head.length, capture->filter.snap);
        put(ring, &head, packet_data(packet));
    }
}

void capture_made(struct worker *worker, const struct packet *packet, enum verdict why)
{
    worker_enter(worker, worker->now);
    enter(worker);
    record_apart(worker, packet, why, CAPTURE_MADE);
    leave(worker);
    worker_leave(worker);
}

void capture_ended(struct worker *worker, const struct packet *packet, enum verdict verdict)
{
    bool in_burst = worker->capturing.turn % 2 == 1;
    if (!in_burst)
        enter(worker);
    record_apart(worker, packet, verdict, CAPTURE_RECEIVED);
    if (!in_burst)
        leave(worker);
}

/* --- what another plane does ---------------------------------------------------------------------- */

static void take_decision(struct engine *engine, struct capture *capture,
                          const struct capture_decision *decision)
{
    const struct settings *settings = &engine_rules(engine)->settings;
    struct ring *ring = &capture->ring[engine->workers];
    uint32_t snap = capture->filter.snap;
    struct wanted wanted = wanted_by(settings, &capture->filter);
    struct captured head = {.kept = least(decision->kept, snap),
                            .length = decision->length,
                            .time = decision->time,
                            .worker = (uint16_t)engine->workers,
                            .kind = CAPTURE_RECEIVED,
                            .verdict = decision->verdict};
    if (!is_wanted(settings, &wanted, decision->received, decision->kept) &&
        !is_wanted(settings, &wanted, decision->result, decision->result_kept))
        return;
    head.number = ring->number++;
    put(ring, &head, decision->received);
    if (decision->result_length == 0)
        return;
    head.kind = CAPTURE_RESULT;
    head.length = decision->result_length;
    head.kept = least(decision->result_kept, snap);
    put(ring, &head, decision->result);
}

void capture_decision(struct engine *engine, const struct capture_decision *decision)
{
    for (uint32_t c = 0; c < CAPTURES_MAXIMUM; c++) {
        struct capture *capture = engine->captures.running[c];
        if (capture != NULL && decision->verdict < VERDICT_COUNT &&
            capture->filter.verdicts[decision->verdict])
            take_decision(engine, capture, decision);
    }
}

void capture_lost(struct engine *engine, uint64_t records)
{
    for (uint32_t c = 0; c < CAPTURES_MAXIMUM; c++)
        if (engine->captures.running[c] != NULL)
            atomic_count(&engine->captures.running[c]->ring[engine->workers].missed, records);
}

uint32_t capture_snap(const struct engine *engine)
{
    uint32_t snap = 0;
    for (uint32_t c = 0; c < CAPTURES_MAXIMUM; c++)
        if (engine->captures.running[c] != NULL)
            snap = most(snap, engine->captures.running[c]->filter.snap);
    return snap;
}

/* --- what guests do ------------------------------------------------------------------------------- */

/* The settings in force stay whole until let_go: what worker_enter does for workers. */
static const struct settings *hold(const struct engine *engine, struct guest *guest)
{
    const struct rules *rules;
    do {
        rules = __atomic_load_n(&engine->rules, __ATOMIC_ACQUIRE);
        __atomic_store_n(&guest->holds, rules, __ATOMIC_RELAXED);
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
    } while (rules != __atomic_load_n(&engine->rules, __ATOMIC_ACQUIRE));
    return &rules->settings;
}

static void let_go(struct guest *guest)
{
    __atomic_store_n(&guest->holds, NULL, __ATOMIC_RELEASE);
}

static void take_message(struct capture *capture, const struct settings *settings,
                         const struct capture_message *message, uint32_t thread)
{
    const struct parts parts = {
        .first = message->head, .second = message->body, .first_length = message->head_length};
    struct captured head = {.length = message->head_length + message->body_length,
                            .time = message->time,
                            .worker = (uint16_t)thread,
                            .kind = CAPTURE_MESSAGE,
                            .verdict = message->reason,
                            .note = message->note};
    if (thread >= capture->rings || (capture->filter.reasons >> message->reason & 1) == 0)
        return;
    struct wanted wanted = wanted_by(settings, &capture->filter);
    if (!is_wanted(settings, &wanted, message->head, message->head_length))
        return;
    head.kept = least(head.length, capture->filter.snap);
    head.number = capture->ring[thread].number++;
    put_parts(&capture->ring[thread], &head, &parts);
}

void capture_message(struct engine *engine, const struct capture_message *message)
{
    if (capture_count(engine) == 0 || message->guest >= CAPTURE_GUESTS_MAXIMUM)
        return;
    struct guest *guest = &engine->captures.guest[message->guest];
    __atomic_store_n(&guest->turn, guest->turn + 1, __ATOMIC_SEQ_CST);
    const struct settings *settings = hold(engine, guest);
    for (uint32_t c = 0; c < CAPTURES_MAXIMUM; c++) {
        struct capture *capture = __atomic_load_n(&engine->captures.running[c], __ATOMIC_SEQ_CST);
        if (capture != NULL)
            take_message(capture, settings, message, engine->workers + 1 + message->guest);
    }
    let_go(guest);
    __atomic_store_n(&guest->turn, guest->turn + 1, __ATOMIC_RELEASE);
}
