/* SPDX-License-Identifier: BSD-2-Clause */
#include "engine/waiting.h"

#include "wire/ipv4.h"

enum {
    AGE = 3600,
    QUOTED = ICMPV4_ERROR_LENGTH - 28, /* of a stored packet no answer needs more */
};

static uint64_t word_of(uint64_t hash, nanoseconds due)
{
    return (hash & 0xffffffff00000000ull) | ((due / NANOSECONDS & 0xffffff) << 8) | PLACE_STORED;
}

/* Seconds that a stored one has left, and AGE more, lest one that is overdue seem the youngest. */
static uint32_t left(uint64_t word, uint32_t tick)
{
    return ((uint32_t)(word >> 8) - tick + AGE) & 0xffffff;
}

/* Takes a place of the set: an empty one, or that of the oldest. False: others have them all in hand. */
static bool take_place(struct worker *worker, uint64_t hash, uint32_t *place)
{
    struct waiting *waiting = &worker->engine->waiting;
    uint32_t first = first_place(hash), tick = worker->tick;
    for (unsigned tries = 0; tries < CREATE_TRIES; tries++) {
        uint64_t oldest = 0;
        uint32_t chosen = WAITING_SYNS;
        for (uint32_t i = first; i < first + WAITING_SET; i++) {
            uint64_t word = atomic_load64(&waiting->places->place[i]);
            bool empty = (word & 0xff) == PLACE_EMPTY;
            if ((word & 0xff) == PLACE_BUSY || (chosen != WAITING_SYNS && oldest == 0) ||
                (!empty && chosen != WAITING_SYNS && left(word, tick) >= left(oldest, tick)))
                continue;
            oldest = word;
            chosen = i;
        }
        *place = chosen;
        if (chosen == WAITING_SYNS || !atomic_swap_if64(&waiting->places->place[chosen], oldest, PLACE_BUSY))
            continue;
        if (oldest != PLACE_EMPTY)
            atomic_count(&worker->counters.stored_syns_displaced, 1);
        return true;
    }
    atomic_count(&worker->counters.stored_syns_displaced, 1); /* the new one */
    return false;
}

/* Gives up the first in the worker's line, if it is still there. */
static void forget_first(struct worker *worker)
{
    struct waiting_line *line = &worker->waiting;
    const struct waiting_turn *turn = &line->turn[line->first];
    if (atomic_swap_if64(&worker->engine->waiting.places->place[turn->place], turn->word, PLACE_EMPTY))
        atomic_count(&worker->counters.stored_syns_displaced, 1);
    line->first = (line->first + 1) % WAITING_SYNS;
    line->count--;
}

/* Behind all that are due earlier, which nearly always is the end. */
static void queue(struct worker *worker, const struct waiting_turn *turn)
{
    struct waiting_line *line = &worker->waiting;
    uint32_t at = line->count++;
    for (; at > 0; at--) {
        const struct waiting_turn *before = &line->turn[(line->first + at - 1) % WAITING_SYNS];
        if (before->due <= turn->due)
            break;
        line->turn[(line->first + at) % WAITING_SYNS] = *before;
    }
    line->turn[(line->first + at) % WAITING_SYNS] = *turn;
}

/* rfc: 6146-3.5.2.2-b, 6146-5.3-a */
void waiting_store(struct worker *worker, const struct packet *packet, const struct description *description,
                   uint64_t hash, uint32_t seconds)
{
    struct waiting *waiting = &worker->engine->waiting;
    struct waiting_turn turn = {.due = worker->now + seconds * NANOSECONDS};
    for (uint32_t i = first_place(hash); i < first_place(hash) + WAITING_SET; i++)
        if (place_is_of(atomic_load64(&waiting->places->place[i]), hash))
            return; /* this one is the same SYN again */
    if (worker->waiting.count == WAITING_SYNS)
        forget_first(worker);
    if (!take_place(worker, hash, &turn.place))
        return;
    struct waiting_syn *syn = &waiting->syn[turn.place];
    syn->description = *description;
    syn->length = packet->length < QUOTED ? packet->length : QUOTED;
    __builtin_memcpy(syn->bytes, packet_data(packet), syn->length);
    turn.word = word_of(hash, turn.due);
    atomic_store64(&waiting->places->place[turn.place], turn.word);
    queue(worker, &turn);
}

/* rfc: 5382-REQ4-b */
bool waiting_claim(struct worker *worker, uint64_t hash)
{
    return waiting_empty(worker->engine->waiting.places, hash);
}

/* A session may have come by another way than waiting_claim: made by another plane, or at the same moment. */
static bool has_session(const struct worker *worker, const struct packet *packet,
                        const struct description *description)
{
    const struct table *table = worker->actor.table;
    const struct ipv4_header *header = (const void *)packet_data(packet);
    struct key4 key = {.pool = header->destination,
                       .remote = header->source,
                       .pool_port = description->destination_port,
                       .remote_port = description->source_port,
                       .transport = TRANSPORT_TCP};
    struct found found;
    return session_find4(table, &key, hash_key4(table, &key), worker->tick, &found);
}

/* rfc: 6146-3.5.2.2-j, 5382-REQ4-a */
static void answer(struct worker *worker, const struct waiting_turn *turn)
{
    struct waiting *waiting = &worker->engine->waiting;
    struct waiting_syn *syn = &waiting->syn[turn->place];
    if (!atomic_swap_if64(&waiting->places->place[turn->place], turn->word, PLACE_BUSY))
        return;
    struct packet packet = {.buffer = syn->bytes, .capacity = sizeof(syn->bytes), .length = syn->length};
    if (!has_session(worker, &packet, &syn->description))
        reply_error(worker, &packet, &syn->description, VERDICT_SYN_STORED);
    atomic_store64(&waiting->places->place[turn->place], PLACE_EMPTY);
}

void waiting_expire(struct worker *worker)
{
    struct waiting_line *line = &worker->waiting;
    while (line->count > 0 && line->turn[line->first].due <= worker->now && reply_has_room(worker)) {
        answer(worker, &line->turn[line->first]);
        line->first = (line->first + 1) % WAITING_SYNS;
        line->count--;
    }
}

nanoseconds waiting_due(const struct worker *worker)
{
    const struct waiting_line *line = &worker->waiting;
    return line->count > 0 ? line->turn[line->first].due : UINT64_MAX;
}
