/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From the top: a fragment is examined, finds its datagram or begins it, and is entered. Then the datagram
 * either is open already, or is now, or the fragment is held.
 *
 * What is held is released in engine_pull: there each piece is copied out, described again and translated
 * like one that has just come.
 */
#include "engine/fragments.h"

#include <string.h>

#include "engine/datagrams.h"
#include "engine/held.h"
#include "engine/memory.h"
#include "engine/worker.h"
#include "wire/checksum.h"
#include "wire/ipv4.h"
#include "wire/transport.h"

enum {
    SCRATCH_HEADROOM = PACKET_HEADROOM,
    SCRATCH = SCRATCH_HEADROOM + PACKET_MAXIMUM,
};

struct fragments {
    size_t size; /* bytes of all this */
    struct datagrams datagrams;
    struct held_memory held;
    uint32_t share_datagrams, share_pieces, share_blocks; /* of one source */
    struct division division;                             /* of what lies in scratch */
    bool dividing;
    uint8_t scratch[SCRATCH];
    uint8_t ended[PACKET_MAXIMUM];
};

/* --- set-up -------------------------------------------------------------------------------------- */

static uint32_t most(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* What one worker gets. */
struct portion {
    uint32_t pieces, blocks;
};

/* rfc: 6146-3.4-g */
static struct portion portion_of(const struct settings *settings, uint32_t workers)
{
    uint32_t packets = settings->translation.fragment_packets;
    uint64_t memory = settings->translation.fragment_memory;
    if (packets == 0)
        packets = FRAGMENT_PACKETS_DEFAULT;
    if (memory == 0)
        memory = FRAGMENT_MEMORY_DEFAULT;
    return (struct portion){.pieces = most(packets / workers, 1),
                            .blocks = most((uint32_t)(memory / HELD_BLOCK / workers), 1)};
}

static size_t front(void)
{
    return (sizeof(struct fragments) + 63) & ~(size_t)63;
}

static size_t size_of(struct portion portion)
{
    return front() + ((datagrams_size(portion.pieces) + 63) & ~(size_t)63) +
           held_size(portion.pieces, portion.blocks);
}

size_t fragments_memory(const struct settings *settings, uint32_t workers)
{
    return workers * size_of(portion_of(settings, workers));
}

bool fragments_set_up(struct worker *worker, const struct settings *settings, uint32_t workers)
{
    struct portion portion = portion_of(settings, workers);
    size_t size = size_of(portion);
    uint8_t *memory = memory_map(size);
    struct fragments *fragments = (void *)memory;
    if (fragments == NULL)
        return false;
    fragments->size = size;
    fragments->share_datagrams =
        least(portion.pieces, most(portion.pieces / FRAGMENT_SHARE, FRAGMENT_SHARE_PIECES));
    fragments->share_pieces = fragments->share_datagrams;
    fragments->share_blocks =
        least(portion.blocks, most(portion.blocks / FRAGMENT_SHARE, FRAGMENT_SHARE_BYTES / HELD_BLOCK));
    datagrams_set_up(&fragments->datagrams, memory + front(), portion.pieces, &worker->random);
    held_set_up(&fragments->held, memory + size - held_size(portion.pieces, portion.blocks), portion.pieces,
                portion.blocks);
    worker->fragments = fragments;
    return true;
}

void fragments_tear_down(struct worker *worker)
{
    if (worker->fragments != NULL)
        memory_unmap(worker->fragments, worker->fragments->size);
    worker->fragments = NULL;
}

void fragments_count(const struct worker *worker, struct engine_fragments *fragments)
{
    const struct fragments *own = worker->fragments;
    fragments->datagrams += atomic_load32(&own->datagrams.used);
    fragments->packets += atomic_load32(&own->held.pieces_used);
    fragments->bytes += (uint64_t)atomic_load32(&own->held.blocks_used) * HELD_BLOCK;
}

/* --- the end of a datagram ----------------------------------------------------------------------- */

static void count(struct worker *worker, enum verdict verdict, uint32_t length)
{
    atomic_count(&worker->counters.packets[verdict], 1);
    atomic_count(&worker->counters.bytes[verdict], length);
}

/* Takes the first held piece off its datagram; its memory is still to be freed. */
static uint32_t take_held(struct fragments *fragments, struct datagram *datagram)
{
    struct datagram_source *source = &fragments->datagrams.source[datagram->source];
    uint32_t number = datagram->held_first;
    const struct held_piece *piece = &fragments->held.piece[number];
    uint32_t blocks = held_blocks(piece->length);
    datagram->held_first = piece->next;
    datagram->held_pieces--;
    datagram->held_blocks -= blocks;
    source->pieces--;
    source->blocks -= blocks;
    return number;
}

/*
 * What is dropped after all is captured, and its sender hears why, if it is the first fragment and the
 * verdict one that is answered.
 */
static void report(struct worker *worker, const struct datagram *datagram, uint32_t number,
                   enum verdict verdict)
{
    struct fragments *fragments = worker->fragments;
    const struct held_piece *piece = &fragments->held.piece[number];
    bool answered = piece->offset == 0 && verdict_texts[verdict].class == VERDICT_REFUSED;
    struct packet packet = {.buffer = fragments->ended, .capacity = PACKET_MAXIMUM, .length = piece->length};
    if (!answered && !is_captured(worker))
        return;
    held_get(&fragments->held, number, fragments->ended, piece->length);
    if (is_captured(worker))
        capture_ended(worker, &packet, verdict);
    if (answered)
        reply_error(worker, &packet, &datagram->first, verdict);
}

/* Drops all that a datagram holds. */
static void drop_held(struct worker *worker, struct datagram *datagram, enum verdict verdict)
{
    struct fragments *fragments = worker->fragments;
    while (datagram->held_pieces > 0) {
        uint32_t number = take_held(fragments, datagram);
        count(worker, verdict, fragments->held.piece[number].length);
        report(worker, datagram, number, verdict);
        held_free(&fragments->held, number);
    }
}

static void forget_release(struct worker *worker, struct datagram *datagram)
{
    if (datagram->release != 0)
        worker->releases.release[datagram->release - 1].datagram = NULL;
    datagram->release = 0;
}

static void end(struct worker *worker, struct datagram *datagram, enum verdict verdict)
{
    drop_held(worker, datagram, verdict);
    forget_release(worker, datagram);
    datagrams_remove(&worker->fragments->datagrams, datagram);
}

/*
 * When a datagram of the instance ends that begins to wait, or gets on, now.
 * rfc: 6146-3.4-h, 6146-3.4-i, 6146-3.4-j
 */
static nanoseconds new_deadline(struct worker *worker, uint8_t instance)
{
    nanoseconds deadline = worker->now + worker->settings->nat64[instance].timeouts.fragment * NANOSECONDS;
    if (deadline < worker->fragments_due)
        worker->fragments_due = deadline;
    return deadline;
}

static void settle(struct worker *worker, struct datagram *datagram, enum datagram_state state)
{
    nanoseconds deadline = new_deadline(worker, datagram->key.instance);
    datagrams_settle(&worker->fragments->datagrams, datagram, state, deadline);
}

/* Nothing of it passes any more. */
static enum verdict refuse(struct worker *worker, struct datagram *datagram, enum verdict verdict)
{
    drop_held(worker, datagram, verdict);
    datagram->verdict = (uint8_t)verdict;
    settle(worker, datagram, DATAGRAM_REFUSED);
    return verdict;
}

void fragments_expire(struct worker *worker)
{
    struct datagrams *datagrams = &worker->fragments->datagrams;
    struct datagram *datagram;
    for (unsigned i = 0; i < FRAGMENT_ENDS; i++) {
        datagram = datagrams_overdue(datagrams, worker->now);
        if (datagram == NULL)
            break;
        end(worker, datagram, VERDICT_FRAGMENT_TIMEOUT);
    }
    worker->fragments_due = datagrams_due(datagrams);
}

/* --- room ---------------------------------------------------------------------------------------- */

/* Room for another datagram of the source. */
static void make_place(struct worker *worker, uint32_t source)
{
    struct fragments *fragments = worker->fragments;
    struct datagrams *datagrams = &fragments->datagrams;
    if (datagrams->source[source].datagrams >= fragments->share_datagrams)
        end(worker, datagrams_oldest_of(datagrams, source), VERDICT_FRAGMENTS_FULL);
    else if (datagrams->used == datagrams->capacity)
        end(worker, datagrams_oldest(datagrams), VERDICT_FRAGMENTS_FULL);
}

static bool exceeds_share(const struct fragments *fragments, const struct datagram *datagram, uint32_t blocks)
{
    const struct datagram_source *source = &fragments->datagrams.source[datagram->source];
    return source->pieces >= fragments->share_pieces || source->blocks + blocks > fragments->share_blocks;
}

/*
 * Room for a packet of this length; false if only this datagram itself could yield.
 * rfc: 6146-3.4-g, 6146-3.4-n, 6146-5.3-a
 */
static bool make_room(struct worker *worker, const struct datagram *datagram, uint32_t length)
{
    struct fragments *fragments = worker->fragments;
    struct datagram *oldest;
    while (exceeds_share(fragments, datagram, held_blocks(length))) {
        oldest = datagrams_oldest_of(&fragments->datagrams, datagram->source);
        if (oldest == datagram)
            return false;
        end(worker, oldest, VERDICT_FRAGMENTS_FULL);
    }
    while (!held_has_room(&fragments->held, length)) {
        oldest = datagrams_oldest_waiting(&fragments->datagrams);
        if (oldest == NULL || oldest == datagram)
            return false;
        end(worker, oldest, VERDICT_FRAGMENTS_FULL);
    }
    return true;
}

/* --- a fragment ---------------------------------------------------------------------------------- */

struct fragment {
    struct packet *packet;
    struct description *description;
    unsigned number; /* in the burst */
    struct datagram_key key;
    uint32_t prefix; /* bits that make its source */
    struct datagram_piece piece;
    bool last;
};

/* What the fragment says of itself; offset in bytes. */
static void read_place(struct fragment *fragment, uint32_t *offset)
{
    const uint8_t *data = packet_data(fragment->packet);
    struct datagram_key *key = &fragment->key;
    if (key->version == 6) {
        const struct ipv6_fragment_header *header =
            (const void *)(data + fragment->description->fragment_header);
        uint32_t offset_more = from_be16(header->offset_more);
        key->identification = header->identification;
        fragment->last = (offset_more & IPV6_MORE_FRAGMENTS) == 0;
        *offset = offset_more & IPV6_OFFSET_MASK;
    } else {
        const struct ipv4_header *header = (const void *)data;
        uint32_t flags_offset = from_be16(header->flags_offset);
        key->identification = header->identification;
        fragment->last = (flags_offset & IPV4_MORE_FRAGMENTS) == 0;
        *offset = (flags_offset & IPV4_OFFSET_MASK) * 8u;
    }
}

/* All but the last are of units of eight bytes, and both families must be able to carry the whole. */
static enum verdict examine(struct fragment *fragment)
{
    enum { LONGEST = IPV4_MAXIMUM_LENGTH - sizeof(struct ipv4_header) };
    uint32_t length = fragment->description->transport_length, offset;
    read_place(fragment, &offset);
    if (length == 0 || (!fragment->last && length % 8 != 0) || offset + length > LONGEST)
        return VERDICT_FRAGMENT_LENGTH;
    fragment->piece.start = (uint16_t)offset;
    fragment->piece.end = (uint16_t)(offset + length);
    return VERDICT_COUNT;
}

/* Whose it is; classify6 and classify4 look at the addresses. False: it is for no address of ours. */
static bool identify(const struct worker *worker, struct fragment *fragment)
{
    const struct settings *settings = worker->settings;
    struct datagram_key *key = &fragment->key;
    int instance;
    if (fragment->description->version == 6) {
        const struct ipv6_header *header = (const void *)packet_data(fragment->packet);
        instance = instance_of(settings, &header->destination);
        if (instance < 0)
            return false;
        *key = (struct datagram_key){.source = header->source, .version = 6};
        key->destination = rfc6052_extract(&settings->nat64[instance].prefix, &header->destination);
    } else {
        const struct ipv4_header *header = (const void *)packet_data(fragment->packet);
        int place = pool_find(worker->rules, header->destination);
        if (place < 0)
            return false;
        instance = worker->rules->pool.address[place].instance;
        *key = (struct datagram_key){
            .destination = header->destination, .version = 4, .protocol = header->protocol};
        store_be32(key->source.bytes, header->source);
    }
    key->instance = (uint8_t)instance;
    fragment->prefix = settings->nat64[instance].subscriber_prefix;
    return true;
}

/* The datagram it belongs to, begun if need be. */
static struct datagram *datagram_of(struct worker *worker, const struct fragment *fragment)
{
    struct datagrams *datagrams = &worker->fragments->datagrams;
    struct datagram *datagram = datagrams_find(datagrams, &fragment->key);
    if (datagram != NULL && datagram->deadline <= worker->now) {
        end(worker, datagram, VERDICT_FRAGMENT_TIMEOUT);
        datagram = NULL;
    }
    if (datagram != NULL)
        return datagram;
    uint32_t source = datagrams_source(datagrams, &fragment->key, fragment->prefix);
    nanoseconds deadline = new_deadline(worker, fragment->key.instance);
    make_place(worker, source);
    return datagrams_add(datagrams, &fragment->key, source, deadline);
}

/* What the first fragment needs before it can pass, or why it never will. */
static enum verdict enter_first(const struct worker *worker, struct datagram *datagram,
                                const struct fragment *fragment)
{
    const struct description *description = fragment->description;
    const struct udp_header *udp = (const void *)(packet_data(fragment->packet) + description->transport);
    datagram->first = *description;
    datagram->has_first = true;
    switch (description->kind) {
    case PACKET_TCP:
        return VERDICT_COUNT;
    case PACKET_ICMP_QUERY:
        datagram->need = NEED_LENGTH;
        return VERDICT_COUNT;
    case PACKET_ICMP_ERROR:
        return VERDICT_ICMP_FRAGMENT;
    case PACKET_ICMP_OTHER:
        return VERDICT_ICMP_TYPE;
    case PACKET_UDP:
        break;
    default:
        return VERDICT_PROTOCOL;
    }
    datagram->udp_length = from_be16(udp->length);
    if (description->version == 6 || udp->checksum != 0)
        return VERDICT_COUNT;
    datagram->need = NEED_ALL;
    return worker->settings->translation.amend_udp_checksum_zero ? VERDICT_COUNT : VERDICT_UDP_CHECKSUM_ZERO;
}

static enum verdict enter(struct worker *worker, struct datagram *datagram, const struct fragment *fragment)
{
    enum verdict verdict = VERDICT_COUNT;
    switch (datagram_enter(datagram, fragment->piece, fragment->last)) {
    case PIECE_NEW:
        if (fragment->piece.start == 0)
            verdict = enter_first(worker, datagram, fragment);
        break;
    case PIECE_REPEATED:
        return VERDICT_FRAGMENT_REPEATED;
    case PIECE_CONTRADICTS:
        verdict = VERDICT_FRAGMENT_OVERLAP;
        break;
    case PIECE_TOO_MANY:
        verdict = VERDICT_FRAGMENTS_FULL;
    }
    return verdict == VERDICT_COUNT ? VERDICT_COUNT : refuse(worker, datagram, verdict);
}

/* rfc: 6146-3.4-l */
static bool is_ready(const struct datagram *datagram)
{
    if (!datagram->has_first)
        return false;
    if (datagram->need == NEED_LENGTH)
        return datagram->total != 0;
    return datagram->need != NEED_ALL || datagram_is_complete(datagram);
}

/*
 * Keeps a copy; the first piece goes in front of the others.
 * rfc: 6146-3.4-f
 */
static enum verdict hold(struct worker *worker, struct datagram *datagram, const struct fragment *fragment)
{
    struct fragments *fragments = worker->fragments;
    struct held_memory *held = &fragments->held;
    uint32_t length = fragment->packet->length;
    struct held_piece piece = {.next = NO_PIECE,
                               .length = length,
                               .transport = fragment->description->transport,
                               .offset = fragment->piece.start};
    if (!make_room(worker, datagram, length))
        return refuse(worker, datagram, VERDICT_FRAGMENTS_FULL);
    if (piece.offset == 0)
        piece.next = datagram->held_pieces > 0 ? datagram->held_first : NO_PIECE;
    uint32_t number = held_put(held, fragment->packet, &piece);
    if (datagram->held_pieces == 0)
        datagram->held_first = datagram->held_last = number;
    else if (piece.offset == 0)
        datagram->held_first = number;
    else {
        held->piece[datagram->held_last].next = number;
        datagram->held_last = number;
    }
    datagram->held_pieces++;
    datagram->held_blocks += held_blocks(length);
    fragments->datagrams.source[datagram->source].pieces++;
    fragments->datagrams.source[datagram->source].blocks += held_blocks(length);
    return VERDICT_FRAGMENT_HELD;
}

/* --- the first fragment's way -------------------------------------------------------------------- */

static enum verdict find_way6(struct worker *worker, struct datagram *datagram, struct found *session)
{
    const struct description *first = &datagram->first;
    uint8_t transport = transport_of_kind(first->kind);
    struct key6 key = {.client = datagram->key.source,
                       .remote = datagram->key.destination,
                       .client_port = first->source_port,
                       .remote_port = transport == TRANSPORT_ICMP ? 0 : first->destination_port,
                       .transport = transport,
                       .instance = datagram->key.instance};
    struct outgoing flow = {.key = &key, .hash = hash_key6(worker->actor.table, &key)};
    flow.session.index = NO_RECORD;
    enum verdict verdict = nat64_outgoing(worker, first, &flow, &datagram->to4);
    *session = flow.session;
    return verdict;
}

static enum verdict find_way4(struct worker *worker, struct datagram *datagram, struct found *session)
{
    const struct description *first = &datagram->first;
    uint8_t transport = transport_of_kind(first->kind);
    struct key4 key = {.pool = datagram->key.destination,
                       .remote = load_be32(datagram->key.source.bytes),
                       .pool_port = first->destination_port,
                       .remote_port = transport == TRANSPORT_ICMP ? 0 : first->source_port,
                       .transport = transport};
    struct incoming flow = {.key = &key, .hash = hash_key4(worker->actor.table, &key)};
    flow.session.index = NO_RECORD;
    enum verdict verdict = nat64_incoming(worker, first, &flow, &datagram->to6);
    *session = flow.session;
    return verdict;
}

/* Its session is found or made, and refreshed; what comes of it is where the datagram goes. */
static enum verdict find_way(struct worker *worker, struct datagram *datagram)
{
    struct found session;
    enum verdict verdict = datagram->key.version == 6 ? find_way6(worker, datagram, &session)
                                                      : find_way4(worker, datagram, &session);
    datagram->record = verdict == VERDICT_COUNT ? session.index : NO_RECORD;
    if (datagram->record != NO_RECORD)
        datagram->generation = life_generation(session.copy.life);
    return verdict;
}

/* Is there still the session that told its way? Settings may have been changed since. */
static bool knows_way(const struct worker *worker, const struct datagram *datagram)
{
    if (datagram->record == NO_RECORD)
        return false;
    uint64_t life = atomic_load64(&record_at(worker->actor.table, datagram->record)->life);
    return life_generation(life) == datagram->generation && life_is_session(life, worker->tick);
}

/* Once a datagram: refreshes its session and moves that one's state. */
static enum verdict open(struct worker *worker, struct datagram *datagram)
{
    if (datagram->need == NEED_ALL && datagram->udp_length > datagram->total)
        return VERDICT_TRUNCATED;
    enum verdict verdict = find_way(worker, datagram);
    if (verdict == VERDICT_COUNT)
        settle(worker, datagram, DATAGRAM_OPEN);
    return verdict;
}

static void count_traffic(const struct worker *worker, const struct datagram *datagram, uint32_t length)
{
    const struct table *table = worker->actor.table;
    uint32_t instance = datagram->key.instance;
    if (datagram->record == NO_RECORD || !table->constants.counters ||
        !worker->settings->nat64[instance].counters)
        return;
    struct traffic *traffic = traffic_at(table, datagram->record);
    bool six = datagram->key.version == 6;
    (void)__atomic_fetch_add(six ? &traffic->packets6 : &traffic->packets4, 1, __ATOMIC_RELAXED);
    (void)__atomic_fetch_add(six ? &traffic->bytes6 : &traffic->bytes4, length, __ATOMIC_RELAXED);
}

/* Translates a piece of an open datagram. If that fails with the first one, none of the others has a use. */
static enum verdict translate(struct worker *worker, struct datagram *datagram, struct packet *packet,
                              struct description *description)
{
    const struct translation_settings *settings = &worker->translation;
    uint32_t length = packet->length;
    enum verdict verdict = knows_way(worker, datagram) ? VERDICT_COUNT : find_way(worker, datagram);
    if (verdict != VERDICT_COUNT)
        return refuse(worker, datagram, verdict);
    description->datagram = datagram->total;
    description->protocol = datagram->first.protocol;
    if (description->version == 6) {
        verdict = translate_6to4(packet, description, &datagram->to4, settings, 0);
        if (verdict == VERDICT_TOO_BIG_IPV6)
            description->mtu = path_mtu4(settings, datagram->to4.destination);
    } else {
        verdict = translate_4to6(packet, description, &datagram->to6, settings);
        if (verdict == VERDICT_TOO_BIG_IPV4)
            description->mtu = path_mtu6(settings, &datagram->to6.destination);
    }
    if (verdict_texts[verdict].class <= VERDICT_DIVIDED)
        count_traffic(worker, datagram, length);
    else if (description->kind != PACKET_FRAGMENT)
        (void)refuse(worker, datagram, verdict);
    return verdict;
}

/* --- release ------------------------------------------------------------------------------------- */

/*
 * Gives a UDP datagram, all of which is held, the checksum that its sender left out; translation then takes
 * it on to the new addresses like any other (RFC 6146 section 3.4). Pieces start at even positions.
 * rfc: 6146-3.4-m
 */
static void amend_checksum(struct fragments *fragments, const struct datagram *datagram)
{
    const struct held_memory *held = &fragments->held;
    uint32_t length = datagram->udp_length;
    uint64_t sum = checksum_pseudo_tail(length, PROTOCOL_UDP);
    sum += (uint64_t)load_be32(datagram->key.source.bytes) + datagram->key.destination;
    for (uint32_t i = datagram->held_first; i != NO_PIECE; i = held->piece[i].next) {
        const struct held_piece *piece = &held->piece[i];
        uint32_t here = piece->length - piece->transport;
        if (piece->offset < length)
            sum += held_sum(held, i, piece->transport, least(here, length - piece->offset));
    }
    uint16_t folded = checksum_fold(sum);
    held_patch(&fragments->held, datagram->held_first,
               datagram->first.transport + (uint32_t)offsetof(struct udp_header, checksum),
               folded == 0xffff ? 0xffff : (be16)~folded);
}

/* All that is held of it may go on, in the turn of packet `number`. */
static void release(struct worker *worker, struct datagram *datagram, unsigned number)
{
    struct releases *releases = &worker->releases;
    if (datagram->need == NEED_ALL)
        amend_checksum(worker->fragments, datagram);
    releases->release[releases->count++] = (struct release){.datagram = datagram, .number = number};
    datagram->release = (uint16_t)releases->count;
}

/* One more piece has come of a datagram that waits. */
static enum verdict wait_or_open(struct worker *worker, struct datagram *datagram, struct fragment *fragment)
{
    enum verdict verdict;
    if (!is_ready(datagram))
        return hold(worker, datagram, fragment);
    verdict = open(worker, datagram);
    if (verdict != VERDICT_COUNT)
        return refuse(worker, datagram, verdict);
    if (datagram->held_pieces == 0)
        return VERDICT_COUNT;
    verdict = hold(worker, datagram, fragment);
    if (verdict == VERDICT_FRAGMENT_HELD)
        release(worker, datagram, fragment->number);
    return verdict;
}

/* Forgets what has passed entirely. */
static void end_if_complete(struct worker *worker, struct datagram *datagram)
{
    if (datagram->state == DATAGRAM_OPEN && datagram->held_pieces == 0 && datagram_is_complete(datagram))
        end(worker, datagram, VERDICT_FRAGMENT_TIMEOUT);
}

/* rfc: 6146-3.4-e */
enum verdict fragments_receive(struct worker *worker, unsigned number, struct packet *packet,
                               struct description *description)
{
    struct fragment fragment = {.packet = packet, .description = description, .number = number};
    if (worker->fragments == NULL || !identify(worker, &fragment))
        return VERDICT_NOT_OURS;
    enum verdict verdict = examine(&fragment);
    if (verdict != VERDICT_COUNT)
        return verdict;
    struct datagram *datagram = datagram_of(worker, &fragment);
    if (datagram->state == DATAGRAM_REFUSED)
        return (enum verdict)datagram->verdict;
    verdict = enter(worker, datagram, &fragment);
    if (verdict == VERDICT_COUNT && datagram->state == DATAGRAM_WAITING)
        verdict = wait_or_open(worker, datagram, &fragment);
    if (verdict != VERDICT_COUNT)
        return verdict;
    verdict = translate(worker, datagram, packet, description);
    end_if_complete(worker, datagram);
    return verdict;
}

/* Copies the next held piece of the datagram into the scratch memory; false: there is none. */
static bool take_out(struct fragments *fragments, struct datagram *datagram, struct packet *packet)
{
    if (datagram == NULL || datagram->held_pieces == 0)
        return false;
    uint32_t number = take_held(fragments, datagram);
    *packet = (struct packet){.buffer = fragments->scratch,
                              .capacity = SCRATCH,
                              .offset = SCRATCH_HEADROOM,
                              .length = fragments->held.piece[number].length};
    held_get(&fragments->held, number, packet_data(packet), packet->length);
    held_free(&fragments->held, number);
    return true;
}

/* Settings may have been changed since it was received: another instance may have the number of its own. */
static bool is_ours_still(const struct worker *worker, const struct datagram *datagram, struct packet *packet,
                          struct description *description)
{
    struct fragment fragment = {.packet = packet, .description = description};
    return identify(worker, &fragment) && fragment.key.instance == datagram->key.instance;
}

/* Translates what lies in the scratch memory; true if it has become one packet, false if none or several. */
static bool send_scratch(struct worker *worker, struct datagram *datagram, struct packet *packet)
{
    struct fragments *fragments = worker->fragments;
    uint32_t length = packet->length;
    struct description description;
    enum verdict verdict = packet_describe(packet, &description);
    if (verdict == VERDICT_COUNT) {
        worker_enter(worker, worker->now);
        verdict = is_ours_still(worker, datagram, packet, &description)
                      ? translate(worker, datagram, packet, &description)
                      : refuse(worker, datagram, VERDICT_NOT_OURS);
        if (verdict_texts[verdict].class == VERDICT_REFUSED)
            reply_error(worker, packet, &description, verdict);
        fragments->dividing = verdict_texts[verdict].class == VERDICT_DIVIDED;
        if (fragments->dividing)
            fragments->division = divide_packet(&worker->translation, packet);
        worker_leave(worker);
    }
    count(worker, verdict, length);
    return verdict_texts[verdict].class == VERDICT_FORWARDED;
}

/* Copies what is to be sent to the caller's buffer, if that is large enough. */
static bool hand_out(const struct packet *from, struct packet *packet)
{
    if (packet->capacity - packet->offset < from->length)
        return false;
    packet->length = from->length;
    packet->offload = (struct offload){0};
    memcpy(packet_data(packet), packet_data(from), from->length);
    return true;
}

static bool pull_from(struct worker *worker, const struct release *release, struct packet *packet)
{
    struct fragments *fragments = worker->fragments;
    struct packet scratch;
    do {
        if (fragments->dividing && divide_pull(worker, &fragments->division, packet))
            return true;
        fragments->dividing = false;
        if (!take_out(fragments, release->datagram, &scratch))
            return false;
    } while (!send_scratch(worker, release->datagram, &scratch) || !hand_out(&scratch, packet));
    if (is_captured(worker))
        capture_made(worker, packet,
                     release->datagram->key.version == 6 ? VERDICT_TRANSLATED_6TO4 : VERDICT_TRANSLATED_4TO6);
    return true;
}

bool fragments_pull(struct worker *worker, int only, struct packet *packet)
{
    struct releases *releases = &worker->releases;
    while (releases->first < releases->count) {
        const struct release *release = &releases->release[releases->first];
        if (only >= 0 && release->number != (unsigned)only)
            return false;
        if (pull_from(worker, release, packet))
            return true;
        struct datagram *datagram = release->datagram;
        releases->first++;
        if (datagram != NULL) {
            forget_release(worker, datagram);
            end_if_complete(worker, datagram);
        }
    }
    return false;
}

void fragments_forget(struct worker *worker)
{
    struct releases *releases = &worker->releases;
    for (; releases->first < releases->count; releases->first++) {
        struct datagram *datagram = releases->release[releases->first].datagram;
        if (datagram != NULL)
            end(worker, datagram, VERDICT_FRAGMENTS_FULL);
    }
    worker->fragments->dividing = false;
    releases->first = releases->count = 0;
}
