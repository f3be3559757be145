/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A history: packets of both directions made from templates and then mutated, jumps in time, and changes of
 * the settings. An input is a list of steps of eight bytes:
 *
 *     kind, who, flags, shape, position (2), value, mutations
 *
 * kind mod 16: 0 to 9 a packet, 10 to 12 seconds pass (`who` of them, or eight or two hundred times as many)
 * and the table is swept, 13 they pass without that, or, if `mutations` is odd, other settings come into
 * force: those of the bits `flags` and `shape` (test/fuzz/sequence_settings.h). 14 and 15 the books are
 * compared; if `mutations` is odd, a capture of everything begins or ends. `who` names client and port (or,
 * from IPv4, one of the pool ports seen last) and the remote. Bit 4 of `kind` names the worker.
 *
 * shape: if the highest bit is set the packet is cut to one piece of a datagram: bits 0 and 1 tell which
 * datagram, 2 and 3 which piece, 4 and 5 what is wrong with it. Otherwise bit 2 sends it to a pool address,
 * so that it comes back (hairpin), bit 3 is for siit, bit 4 for the second instance.
 *
 * The first step's flags and shape also tell the settings to begin with, and its mutations, if their second
 * bit is set, that the table is small; if the highest bit of the first byte is set, filtering is
 * address-dependent.
 *
 * At the end, and when told to, the audit must find nothing wrong (test/engine/audit.h), and what the
 * counters say must be what the lists say: sessions and bindings made less ended are those listed, no pool
 * port belongs to two bindings, no client port either, the ports a pool has given out are those of its
 * bindings, and half-open sessions are as many as are counted.
 *
 * At every step there are no more half-open sessions and stored SYNs than may be. While filtering is
 * address-dependent, no packet passes from outside without a session of its binding with the sender's
 * address.
 */
#include "engine/half_open.h"
#include "engine/siit.h"
#include "engine/worker.h"
#include "test/engine/audit.h"
#include "test/fuzz/engine_fuzz.h"
#include "test/fuzz/sequence_settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    STEP = 8,
    STEPS = 400,
    SEEN = 8,
    TEMPLATE = 144,
    HAIRPINS = 2, /* times that a packet comes back */
};

/* Bits of a step's shape. */
enum {
    SHAPE_HAIRPIN = 4,
    SHAPE_SIIT = 8,
    SHAPE_SECOND = 16,
    SHAPE_FRAGMENT = 128,
};

struct history {
    struct fuzz_engine fuzz;
    be16 seen[SEEN]; /* pool ports of the last packets to IPv4 */
    be32 seen_address[SEEN];
    unsigned seen_count;
    uint64_t static_bindings; /* listed before the first packet */
    struct varied varied[2];  /* of which one is in force */
    unsigned in_force;
    struct paths *paths;
    struct capture *capture;
    bool filters;
};

struct template
{
    uint8_t bytes[TEMPLATE];
    uint32_t length;
};

static void append(struct template *template, const void *bytes, uint32_t length)
{
    memcpy(template->bytes + template->length, bytes, length);
    template->length += length;
}

static void append16(struct template *template, unsigned number)
{
    uint8_t bytes[2] = {(uint8_t)(number >> 8), (uint8_t)number};
    append(template, bytes, 2);
}

static void append_ip(struct template *template, uint8_t version, uint8_t protocol,
                      const uint8_t addresses[32])
{
    if (version == 6) {
        const uint8_t header[8] = {0x60, 0, 0, 0, 0, 0, protocol, 64};
        append(template, header, 8);
        append(template, addresses, 32);
    } else {
        const uint8_t header[12] = {0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, protocol, 0, 0};
        append(template, header, 12);
        append(template, addresses, 8);
    }
}

static void append_transport(struct template *template, uint8_t protocol, const unsigned ports[2],
                             uint8_t flags)
{
    if (protocol == PROTOCOL_TCP) {
        const uint8_t rest[20] = {0, 0, 0, 1, 0, 0, 0, 2, 0x60, flags, 1, 0, 0, 0, 0, 0, 2, 4, 5, 0xb4};
        append16(template, ports[0]);
        append16(template, ports[1]);
        append(template, rest, sizeof(rest));
    } else if (protocol == PROTOCOL_UDP) {
        append16(template, ports[0]);
        append16(template, ports[1]);
        append16(template, 12);
        append16(template, flags);
        append16(template, 0x1234);
        append16(template, 0x5678);
    } else {
        const uint8_t type = protocol == PROTOCOL_ICMPV6 ? 128 + (flags & 1) : (flags & 1) * 8;
        const uint8_t start[4] = {type, 0, 0, 0};
        append(template, start, 4);
        append16(template, protocol == PROTOCOL_ICMPV6 ? ports[0] : ports[1]);
        append16(template, 7);
    }
}

static void set_length(struct template *template, uint32_t start)
{
    uint8_t *ip = template->bytes + start;
    uint32_t length = template->length - start - (ip[0] >> 4 == 6 ? 40 : 0);
    ip[ip[0] >> 4 == 6 ? 4 : 2] = (uint8_t)(length >> 8);
    ip[ip[0] >> 4 == 6 ? 5 : 3] = (uint8_t)length;
}

static bool has_shape(const uint8_t *step, uint8_t shape)
{
    return (step[3] & (shape | SHAPE_FRAGMENT)) == shape;
}

/* Both ends of a flow, as addresses of either family; `swap` gives the packet that an error is about. */
static void write_addresses(const struct history *history, const uint8_t *step, bool six, bool swap,
                            uint8_t addresses[32])
{
    uint8_t client[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = (uint8_t)(1 + (step[1] & 3))};
    uint8_t remote[16] = {0x20, 0x01, 0x0d, 0xb8, 0, 0x64, [12] = 203, 0, 113, (uint8_t)(1 + (step[1] >> 6))};
    be32 pool = history->seen_count == 0 ? to_be32(0xc0000201u) : history->seen_address[step[1] % SEEN];
    if (has_shape(step, SHAPE_HAIRPIN))
        memcpy(remote + 12, &pool, 4);
    if (has_shape(step, SHAPE_SECOND))
        remote[5] = 0x66;
    if (has_shape(step, SHAPE_SIIT)) { /* between the mapped host .1 and outside, or another of them */
        client[7] = remote[5] = 0x65;
        client[7] = 1;
        client[15] &= 3;
        pool = to_be32(0xc0000210u + client[15]);
        if (has_shape(step, SHAPE_HAIRPIN))
            memcpy(remote + 12, &(be32){to_be32(0xc0000210u + (step[1] >> 6))}, 4);
    }
    if (six) {
        memcpy(addresses, swap ? remote : client, 16);
        memcpy(addresses + 16, swap ? client : remote, 16);
    } else {
        memcpy(addresses + (swap ? 4 : 0), remote + 12, 4);
        memcpy(addresses + (swap ? 0 : 4), &pool, 4);
    }
}

static void write_ports(const struct history *history, const uint8_t *step, bool six, bool swap,
                        unsigned ports[2])
{
    unsigned client = 39998 + ((step[1] >> 2) & 7), remote = 50 + (step[1] >> 5);
    unsigned pool = history->seen_count == 0 ? 4000 : from_be16(history->seen[step[1] % SEEN]);
    if (has_shape(step, SHAPE_HAIRPIN))
        remote = pool;
    unsigned near = six ? client : remote, far = six ? remote : pool;
    ports[0] = swap ? far : near;
    ports[1] = swap ? near : far;
}

/* kind 0 to 4 from IPv6, 5 to 9 from IPv4: TCP, UDP, echo, an error about UDP, an error about TCP. */
static void build(const struct history *history, const uint8_t *step, struct template *template)
{
    static const uint8_t protocols[2][5] = {
        {PROTOCOL_TCP, PROTOCOL_UDP, PROTOCOL_ICMPV6, PROTOCOL_UDP, PROTOCOL_TCP},
        {PROTOCOL_TCP, PROTOCOL_UDP, PROTOCOL_ICMPV4, PROTOCOL_UDP, PROTOCOL_TCP}};
    unsigned kind = step[0] % 16;
    bool six = kind < 5, error = kind % 5 >= 3;
    uint8_t version = six ? 6 : 4, protocol = protocols[!six][kind % 5];
    uint8_t addresses[32];
    unsigned ports[2];
    template->length = 0;
    write_addresses(history, step, six, false, addresses);
    if (error) {
        uint8_t icmp[8] = {six ? 1 : 3, step[2] % 16, 0, 0, 0, 0, 5, 0};
        append_ip(template, version, six ? PROTOCOL_ICMPV6 : PROTOCOL_ICMPV4, addresses);
        append(template, icmp, 8);
        write_addresses(history, step, six, true, addresses);
    }
    uint32_t start = template->length;
    append_ip(template, version, protocol, addresses);
    write_ports(history, step, six, error, ports);
    append_transport(template, protocol, ports, step[2]);
    set_length(template, start);
    set_length(template, 0);
}

enum {
    CUT = 24, /* bytes of a piece: the longest transport header here */
};

/* Makes the packet a fragment; which piece, of which datagram, with which fault. */
static void cut(const uint8_t *step, struct template *template)
{
    unsigned datagram = step[3] & 3, place = step[3] >> 2 & 3, fault = step[3] >> 4 & 3;
    unsigned offset = place * CUT + (fault == 1 ? 8 : 0), more = (place < 3) != (fault == 2);
    bool six = template->bytes[0] >> 4 == 6;
    uint32_t header = six ? 40 : 20, front = six ? 48 : 20;
    uint8_t payload[CUT] = {0};
    if (place > 0)
        memset(payload, 0x11 * (int)place, CUT);
    else
        memcpy(payload, template->bytes + header,
               template->length - header < CUT ? template->length - header : CUT);
    if (six) {
        const uint8_t fragment[8] = {
            template->bytes[6], 0, (uint8_t)(offset >> 8), (uint8_t)(offset | more), 0, 0, 0,
            (uint8_t)datagram};
        template->bytes[6] = PROTOCOL_FRAGMENT;
        memcpy(template->bytes + header, fragment, sizeof(fragment));
    } else {
        template->bytes[5] = (uint8_t)datagram;
        template->bytes[6] = more ? 0x20 : 0;
        template->bytes[7] = (uint8_t)(offset / 8);
    }
    memcpy(template->bytes + front, payload, CUT);
    template->length = front + (fault == 3 ? CUT - 8 : CUT);
    set_length(template, 0);
}

/* Neither the first fragment nor a whole packet: there are no ports. */
static bool is_later_fragment(const uint8_t *ip)
{
    return ip[0] >> 4 == 4 && ((ip[6] & 0x1f) != 0 || ip[7] != 0);
}

static void mutate(const uint8_t *step, struct template *template)
{
    unsigned position = (unsigned)step[4] << 8 | step[5];
    if (step[7] % 4 == 0) /* three in four steps stay as the template has them */
        template->bytes[position % template->length] ^= step[6];
    if (step[7] % 16 == 4)
        template->length = 1 + position % template->length;
}

static void note_pool_port(struct history *history, const struct packet *packet)
{
    const uint8_t *ip = packet_data(packet);
    unsigned place = history->seen_count++ % SEEN;
    unsigned port = ip[9] == PROTOCOL_ICMPV4 ? 24 : 20;
    memcpy(&history->seen_address[place], ip + 12, 4);
    memcpy(&history->seen[place], ip + port, 2);
    if (history->seen_count == 1)
        for (unsigned i = 1; i < SEEN; i++) {
            history->seen[i] = history->seen[0];
            history->seen_address[i] = history->seen_address[0];
        }
}

static uint32_t list(struct history *history, bool sessions, struct engine_entry entries[])
{
    uint32_t position = 0, n = 0;
    while (position < engine_capacity(history->fuzz.engine))
        n += engine_list(history->fuzz.engine, sessions, &position, 64, entries + n, FUZZ_SESSIONS + 64 - n,
                         history->fuzz.now);
    return n;
}

/* Has the binding that an IPv4 packet is for a session with its sender? Errors are not filtered. */
static bool has_permission(struct history *history, const struct template *template)
{
    static struct engine_entry entries[FUZZ_SESSIONS + 64];
    const uint8_t *ip = template->bytes;
    const uint8_t *transport = ip + (ip[0] & 15u) * 4u;
    if (is_later_fragment(ip))
        return true; /* goes where the first one has gone */
    uint8_t kind = ip[9] == PROTOCOL_TCP ? TRANSPORT_TCP : TRANSPORT_UDP;
    if (pool_find(history->fuzz.engine->rules, load_be32(ip + 16)) < 0)
        return true; /* translated without state, if at all */
    if (ip[9] == PROTOCOL_ICMPV4 && transport[0] != 0 && transport[0] != 8)
        return true;
    if (ip[9] == PROTOCOL_ICMPV4)
        kind = TRANSPORT_ICMP;
    uint32_t n = list(history, true, entries);
    for (uint32_t i = 0; i < n; i++)
        if (entries[i].transport == kind && entries[i].remote4 == load_be32(ip + 12) &&
            entries[i].pool_address == load_be32(ip + 16) &&
            entries[i].pool_port == load_be16(transport + (kind == TRANSPORT_ICMP ? 4 : 2)))
            return true;
    return false;
}

/* What is bounded is so at any time. */
static void compare_bounds(const struct history *history)
{
    const struct engine *engine = history->fuzz.engine;
    int32_t limit = (int32_t)half_open_limit(history->fuzz.table);
    FUZZ_CHECK(half_open_count(history->fuzz.table) >= 0 && half_open_count(history->fuzz.table) <= limit);
    fuzz_check_fragments(&history->fuzz, FUZZ_FRAGMENTS);
    unsigned stored = 0;
    for (unsigned i = 0; i < WAITING_SYNS; i++)
        stored += engine->waiting.places->place[i] != 0;
    uint32_t lines = 0;
    for (uint32_t i = 0; i < engine->workers; i++) {
        FUZZ_CHECK(engine->worker[i].waiting.count <= WAITING_SYNS);
        lines += engine->worker[i].waiting.count;
    }
    FUZZ_CHECK(stored <= lines);
}

/* Captures are read and thrown away: what they hold, the packet targets compare. */
static void read_capture(struct history *history)
{
    while (history->capture != NULL && capture_next(history->capture) != NULL)
        capture_release(history->capture);
}

/* Is the packet for an address of the engine's own, to which the kernel would bring it back? */
static bool comes_back(const struct history *history, const struct packet *packet)
{
    const uint8_t *ip = packet_data(packet);
    struct siit_claim claim;
    if (ip[0] >> 4 != 4)
        return false;
    return pool_find(history->fuzz.engine->rules, load_be32(ip + 16)) >= 0 ||
           (siit_claim(&history->fuzz.engine->rules->settings, ip, &claim) && !claim.by_prefix);
}

static void pass(struct history *history, struct packet *packet, bool permitted)
{
    for (unsigned turn = 0; turn <= HAIRPINS; turn++) {
        enum verdict verdict = fuzz_receive(&history->fuzz, packet);
        FUZZ_CHECK(permitted || verdict != VERDICT_TRANSLATED_4TO6);
        if (verdict == VERDICT_TRANSLATED_6TO4 && !is_later_fragment(packet_data(packet)))
            note_pool_port(history, packet);
        if (verdict != VERDICT_TRANSLATED_6TO4 || !comes_back(history, packet))
            break;
        permitted = true; /* as far as is known here */
    }
    fuzz_pull_all(&history->fuzz);
    read_capture(history);
    compare_bounds(history);
}

static void take_packet(struct history *history, const uint8_t *step)
{
    struct template template;
    bool permitted = true;
    uint8_t buffer[FUZZ_HEADROOM + TEMPLATE];
    struct packet packet = {.buffer = buffer, .capacity = sizeof(buffer), .offset = FUZZ_HEADROOM};
    build(history, step, &template);
    if ((step[3] & SHAPE_FRAGMENT) != 0)
        cut(step, &template);
    mutate(step, &template);
    packet.length = template.length;
    memcpy(packet_data(&packet), template.bytes, template.length);
    fuzz_mend(&packet, true, (step[7] & 0x40) == 0);
    if (history->filters && template.bytes[0] >> 4 == 4)
        permitted = has_permission(history, &template);
    history->fuzz.worker = engine_worker(history->fuzz.engine, step[0] >> 4 & 1);
    pass(history, &packet, permitted);
}

static void compare_bindings(struct history *history, const struct engine_entry entries[], uint32_t n)
{
    uint32_t used[TRANSPORT_COUNT] = {0};
    for (uint32_t i = 0; i < n; i++) {
        used[entries[i].transport]++;
        for (uint32_t k = 0; k < i; k++) {
            if (entries[i].transport != entries[k].transport)
                continue;
            FUZZ_CHECK(entries[i].pool_address != entries[k].pool_address ||
                       entries[i].pool_port != entries[k].pool_port);
            FUZZ_CHECK(entries[i].client_port != entries[k].client_port ||
                       entries[i].instance != entries[k].instance ||
                       !ipv6_equal(&entries[i].client, &entries[k].client));
        }
    }
    for (uint32_t i = 0; i < engine_pool_count(history->fuzz.engine); i++) {
        struct engine_pool pool;
        engine_pool(history->fuzz.engine, i, &pool);
        for (unsigned transport = 0; transport < TRANSPORT_COUNT; transport++)
            used[transport] -= pool.used[transport];
    }
    for (unsigned transport = 0; transport < TRANSPORT_COUNT; transport++)
        FUZZ_CHECK(used[transport] == 0);
}

static void compare_books(struct history *history)
{
    static struct engine_entry entries[FUZZ_SESSIONS + 64];
    struct engine_counters counters;
    struct audit audit;
    fuzz_expire(&history->fuzz);
    fuzz_check_fragments(&history->fuzz, 0);
    read_capture(history);
    audit_transports = 1u << history->fuzz.now / NANOSECONDS % TRANSPORT_COUNT; /* all three take long */
    const char *wrong = audit_exact(history->fuzz.table, &audit);
    if (wrong != NULL) {
        fprintf(stderr, "the audit: %s\n", wrong);
        abort();
    }
    engine_count(history->fuzz.engine, &counters);
    uint32_t sessions = list(history, true, entries);
    FUZZ_CHECK(counters.sessions_created - counters.sessions_ended == sessions);
    int32_t half_open = 0;
    for (uint32_t i = 0; i < sessions; i++)
        half_open += strcmp(entries[i].state, "v6-init") == 0 || strcmp(entries[i].state, "v4-init") == 0;
    FUZZ_CHECK(half_open == half_open_count(history->fuzz.table));
    uint32_t bindings = list(history, false, entries);
    FUZZ_CHECK(counters.bindings_created - counters.bindings_ended + history->static_bindings == bindings);
    compare_bindings(history, entries, bindings);
}

static void change_settings(struct history *history, unsigned bits)
{
    struct varied *next = &history->varied[1 - history->in_force];
    struct paths *paths = vary_paths((bits & VARY_PATHS) != 0), *old = history->paths;
    char error[256];
    vary(next, &history->fuzz, bits);
    engine_replace_paths(history->fuzz.engine, paths);
    history->paths = paths;
    if (engine_replace_settings(history->fuzz.engine, &next->settings, history->fuzz.now, error,
                                sizeof(error))) {
        history->in_force = 1 - history->in_force;
        history->filters = (bits & VARY_FILTERING) != 0;
    }
    FUZZ_CHECK(engine_quiet(history->fuzz.engine));
    paths_destroy(old);
    fuzz_pull_all(&history->fuzz);
}

static void switch_capture(struct history *history)
{
    struct capture_filter filter = {.probes = true, .snap = FUZZ_SNAP};
    char error[256];
    if (history->capture != NULL) {
        capture_stop(history->fuzz.engine, history->capture);
        capture_tidy(history->fuzz.engine);
        history->capture = NULL;
        return;
    }
    memset(filter.verdicts, true, sizeof(filter.verdicts));
    history->capture = capture_start(history->fuzz.engine, &filter, error, sizeof(error));
    FUZZ_CHECK(history->capture != NULL);
}

static void take_step(struct history *history, const uint8_t *step)
{
    static const unsigned factors[] = {1, 8, 200, 8};
    unsigned kind = step[0] % 16;
    if (kind < 10) {
        take_packet(history, step);
    } else if (kind == 13 && step[7] % 2 == 1) {
        change_settings(history, (unsigned)step[2] << 8 | step[3]);
    } else if (kind < 14) {
        history->fuzz.now += (nanoseconds)step[1] * factors[kind - 10] * 1000000000u;
        if (kind < 13)
            fuzz_expire(&history->fuzz);
    } else if (step[7] % 2 == 1) {
        switch_capture(history);
    } else {
        history->fuzz.now += (nanoseconds)SWEEP_PERIOD_SECONDS * 2000000000u;
        compare_books(history);
    }
}

static void begin(struct history *history, const uint8_t *first)
{
    struct geometry geometry = {.sessions = FUZZ_SESSIONS, .addresses = 3, .workers = 2, .counters = 1};
    unsigned bits = (unsigned)first[2] << 8 | first[3];
    if ((first[7] & 2) != 0)
        geometry.sessions = VARIED_SESSIONS;
    if ((first[0] & 0x80) != 0)
        bits |= VARY_FILTERING;
    memset(history, 0, sizeof(*history));
    fuzz_fill(&history->fuzz);
    history->fuzz.settings.nat64[0].sessions = geometry.sessions;
    vary(&history->varied[0], &history->fuzz, bits);
    history->filters = (bits & VARY_FILTERING) != 0;
    fuzz_engine_start(&history->fuzz, &geometry, &history->varied[0].settings);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct history history;
    static struct engine_entry entries[FUZZ_SESSIONS + 64];
    struct engine_counters counters;
    if (size < STEP)
        return 0;
    begin(&history, data);
    engine_count(history.fuzz.engine, &counters);
    history.static_bindings =
        list(&history, false, entries) - (counters.bindings_created - counters.bindings_ended);
    for (size_t i = 0; i + STEP <= size && i < (size_t)STEPS * STEP; i += STEP)
        take_step(&history, data + i);
    history.fuzz.now += (nanoseconds)SWEEP_PERIOD_SECONDS * 2000000000u;
    compare_books(&history);
    fuzz_engine_destroy(&history.fuzz);
    paths_destroy(history.paths);
    return 0;
}
