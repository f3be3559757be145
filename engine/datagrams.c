/* SPDX-License-Identifier: BSD-2-Clause */
#include "engine/datagrams.h"

#include <string.h>

#include "engine/hash.h"

static size_t round_up(size_t size)
{
    return (size + 63) & ~(size_t)63;
}

static uint32_t chains(uint32_t capacity)
{
    uint32_t n = 1;
    while (n < capacity)
        n *= 2;
    return n;
}

size_t datagrams_size(uint32_t capacity)
{
    return round_up(capacity * sizeof(struct datagram)) + round_up(chains(capacity) * sizeof(uint32_t)) +
           round_up(chains(capacity) * sizeof(struct datagram_source));
}

void datagrams_set_up(struct datagrams *datagrams, void *memory, uint32_t capacity, struct random *random)
{
    const struct datagram_order empty = {NO_DATAGRAM, NO_DATAGRAM};
    uint8_t *at = memory;
    *datagrams = (struct datagrams){.capacity = capacity, .free = NO_DATAGRAM, .mask = chains(capacity) - 1};
    datagrams->datagram = (void *)at;
    at += round_up(capacity * sizeof(struct datagram));
    datagrams->chain = (void *)at;
    at += round_up(chains(capacity) * sizeof(uint32_t));
    datagrams->source = (void *)at;
    for (unsigned i = 0; i < sizeof(datagrams->secret) / sizeof(datagrams->secret[0]); i++)
        datagrams->secret[i] = (uint32_t)random_next(random);
    for (unsigned i = 0; i < NAT64_INSTANCES_MAXIMUM; i++)
        datagrams->waiting[i] = datagrams->settled[i] = empty;
}

/* --- orders -------------------------------------------------------------------------------------- */

/* The two orders that a datagram stands in differ in where its links are. */
enum which {
    BY_AGE,
    BY_SOURCE,
};

static struct datagram_links *links(const struct datagrams *datagrams, uint32_t index, enum which which)
{
    struct datagram *datagram = &datagrams->datagram[index];
    return which == BY_AGE ? &datagram->by_age : &datagram->by_source;
}

static void append(const struct datagrams *datagrams, struct datagram_order *order, enum which which,
                   uint32_t index)
{
    *links(datagrams, index, which) = (struct datagram_links){.before = order->last, .after = NO_DATAGRAM};
    if (order->last == NO_DATAGRAM)
        order->first = index;
    else
        links(datagrams, order->last, which)->after = index;
    order->last = index;
}

static void take_out(const struct datagrams *datagrams, struct datagram_order *order, enum which which,
                     uint32_t index)
{
    const struct datagram_links *own = links(datagrams, index, which);
    if (own->before == NO_DATAGRAM)
        order->first = own->after;
    else
        links(datagrams, own->before, which)->after = own->after;
    if (own->after == NO_DATAGRAM)
        order->last = own->before;
    else
        links(datagrams, own->after, which)->before = own->before;
}

static uint32_t index_of(const struct datagrams *datagrams, const struct datagram *datagram)
{
    return (uint32_t)(datagram - datagrams->datagram);
}

static struct datagram_order *order_of(struct datagrams *datagrams, const struct datagram *datagram)
{
    return datagram->state == DATAGRAM_WAITING ? &datagrams->waiting[datagram->key.instance]
                                               : &datagrams->settled[datagram->key.instance];
}

/*
 * The latest in its order of age. Whoever is older ends no later, which is so anyway unless new settings have
 * made the time shorter; each is looked at but once for that.
 */
static void append_by_age(struct datagrams *datagrams, const struct datagram *datagram)
{
    struct datagram_order *order = order_of(datagrams, datagram);
    uint32_t before = order->last;
    while (before != NO_DATAGRAM && datagrams->datagram[before].deadline > datagram->deadline) {
        datagrams->datagram[before].deadline = datagram->deadline;
        before = datagrams->datagram[before].by_age.before;
    }
    append(datagrams, order, BY_AGE, index_of(datagrams, datagram));
}

static struct datagram *first_of(const struct datagrams *datagrams, const struct datagram_order *order)
{
    return order->first == NO_DATAGRAM ? NULL : &datagrams->datagram[order->first];
}

static struct datagram *older(struct datagram *a, struct datagram *b)
{
    if (a == NULL || b == NULL)
        return a == NULL ? b : a;
    return a->deadline <= b->deadline ? a : b;
}

struct datagram *datagrams_oldest_of(const struct datagrams *datagrams, uint32_t source)
{
    const struct datagram_source *place = &datagrams->source[source];
    return place->datagrams == 0 ? NULL : first_of(datagrams, &place->order);
}

struct datagram *datagrams_oldest_waiting(const struct datagrams *datagrams)
{
    struct datagram *oldest = NULL;
    for (unsigned i = 0; i < NAT64_INSTANCES_MAXIMUM; i++)
        oldest = older(oldest, first_of(datagrams, &datagrams->waiting[i]));
    return oldest;
}

struct datagram *datagrams_oldest(const struct datagrams *datagrams)
{
    struct datagram *oldest = datagrams_oldest_waiting(datagrams);
    for (unsigned i = 0; i < NAT64_INSTANCES_MAXIMUM; i++)
        oldest = older(oldest, first_of(datagrams, &datagrams->settled[i]));
    return oldest;
}

struct datagram *datagrams_overdue(const struct datagrams *datagrams, nanoseconds now)
{
    struct datagram *oldest = datagrams_oldest(datagrams);
    return oldest != NULL && oldest->deadline <= now ? oldest : NULL;
}

nanoseconds datagrams_due(const struct datagrams *datagrams)
{
    const struct datagram *oldest = datagrams_oldest(datagrams);
    return oldest != NULL ? oldest->deadline : UINT64_MAX;
}

/* --- look-up ------------------------------------------------------------------------------------- */

static uint32_t *chain_of(const struct datagrams *datagrams, const struct datagram_key *key)
{
    uint32_t kind = key->version | (uint32_t)key->protocol << 8 | (uint32_t)key->instance << 16;
    uint64_t hash = hash_finish(hash_address(&key->source, datagrams->secret) +
                                hash_pair(key->destination, key->identification, datagrams->secret + 4) +
                                hash_pair(kind, 0, datagrams->secret + 6));
    return &datagrams->chain[hash & datagrams->mask];
}

uint32_t datagrams_source(const struct datagrams *datagrams, const struct datagram_key *key, uint32_t prefix)
{
    const uint32_t *secret = datagrams->secret + 8;
    uint32_t length = key->version == 6 ? prefix : 32;
    uint64_t high = hash_pair(hash_prefix_word(&key->source, 0, length),
                              hash_prefix_word(&key->source, 32, length), secret);
    uint64_t low = hash_pair(hash_prefix_word(&key->source, 64, length),
                             hash_prefix_word(&key->source, 96, length), secret + 2);
    return (uint32_t)hash_finish(high + low + key->version) & datagrams->mask;
}

struct datagram *datagrams_find(const struct datagrams *datagrams, const struct datagram_key *key)
{
    uint32_t next = *chain_of(datagrams, key);
    while (next != 0) {
        struct datagram *datagram = &datagrams->datagram[next - 1];
        if (memcmp(&datagram->key, key, sizeof(*key)) == 0)
            return datagram;
        next = datagram->next;
    }
    return NULL;
}

struct datagram *datagrams_add(struct datagrams *datagrams, const struct datagram_key *key, uint32_t source,
                               nanoseconds deadline)
{
    struct datagram_source *place = &datagrams->source[source];
    uint32_t index = datagrams->free, *chain = chain_of(datagrams, key);
    if (index == NO_DATAGRAM)
        index = datagrams->begun++;
    else
        datagrams->free = datagrams->datagram[index].next;
    struct datagram *datagram = &datagrams->datagram[index];
    memset(datagram, 0, offsetof(struct datagram, piece)); /* pieces are counted */
    datagram->key = *key;
    datagram->deadline = deadline;
    datagram->source = source;
    datagram->held_first = datagram->held_last = UINT32_MAX;
    datagram->record = NO_RECORD;
    datagram->next = *chain;
    *chain = index + 1;
    append_by_age(datagrams, datagram);
    if (place->datagrams++ == 0)
        place->order = (struct datagram_order){NO_DATAGRAM, NO_DATAGRAM};
    append(datagrams, &place->order, BY_SOURCE, index);
    atomic_store32(&datagrams->used, datagrams->used + 1);
    return datagram;
}

void datagrams_remove(struct datagrams *datagrams, struct datagram *datagram)
{
    struct datagram_source *place = &datagrams->source[datagram->source];
    uint32_t index = index_of(datagrams, datagram), *link = chain_of(datagrams, &datagram->key);
    while (*link != index + 1)
        link = &datagrams->datagram[*link - 1].next;
    *link = datagram->next;
    take_out(datagrams, order_of(datagrams, datagram), BY_AGE, index);
    take_out(datagrams, &place->order, BY_SOURCE, index);
    place->datagrams--;
    datagram->next = datagrams->free;
    datagrams->free = index;
    atomic_store32(&datagrams->used, datagrams->used - 1);
}

void datagrams_settle(struct datagrams *datagrams, struct datagram *datagram, enum datagram_state state,
                      nanoseconds deadline)
{
    uint32_t index = index_of(datagrams, datagram);
    take_out(datagrams, order_of(datagrams, datagram), BY_AGE, index);
    datagram->state = (uint8_t)state;
    datagram->deadline = deadline;
    append_by_age(datagrams, datagram);
}

/* --- pieces -------------------------------------------------------------------------------------- */

/* Does what it says of the datagram's end disagree with what has come? */
static bool contradicts(const struct datagram *datagram, struct datagram_piece piece, bool last)
{
    uint32_t furthest = datagram->piece_count == 0 ? 0 : datagram->piece[datagram->piece_count - 1].end;
    if (last)
        return datagram->total != 0 || furthest > piece.end;
    return datagram->total != 0 && piece.end >= datagram->total;
}

enum piece_news datagram_enter(struct datagram *datagram, struct datagram_piece piece, bool last)
{
    struct datagram_piece *pieces = datagram->piece;
    unsigned n = datagram->piece_count, at = n;
    while (at > 0 && pieces[at - 1].start > piece.start)
        at--;
    if (at > 0 && pieces[at - 1].start == piece.start && pieces[at - 1].end == piece.end)
        return PIECE_REPEATED;
    if ((at > 0 && pieces[at - 1].end > piece.start) || (at < n && pieces[at].start < piece.end) ||
        contradicts(datagram, piece, last))
        return PIECE_CONTRADICTS;
    if (n == FRAGMENT_PIECES)
        return PIECE_TOO_MANY;
    memmove(pieces + at + 1, pieces + at, (n - at) * sizeof(*pieces));
    pieces[at] = piece;
    datagram->piece_count++;
    datagram->received += (uint32_t)(piece.end - piece.start);
    if (last)
        datagram->total = piece.end;
    return PIECE_NEW;
}
