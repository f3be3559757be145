/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Datagrams that come in fragments: what one worker remembers of them, so that later fragments find where the
 * first one went (RFC 6146 section 3.4).
 *
 *                first piece, and what else must be known
 *     WAITING ---------------------------------------------> OPEN     pieces pass
 *        |                                                     |
 *        +------------------------> REFUSED <------------------+      pieces are dropped, all for one reason
 *
 * A datagram is forgotten when all of it has passed, or some seconds (nat64.timeouts.fragment) after its
 * state last changed, or when it has to yield. Two orders of age tell which is the oldest: of those that
 * wait, which hold memory, and of all others. They are kept for each instance, since each has its own
 * time-out, which a reload may change: a shorter one ends those that are older, too; another order is kept
 * for each source, which may have only a share of everything. Sources are told apart by a seeded hash: that
 * two of them share a share does happen, but cannot be aimed at.
 *
 * Only the table is here; what is done to fragments is in fragments.c.
 */
#ifndef ENGINE_DATAGRAMS_H
#define ENGINE_DATAGRAMS_H

#include "engine/worker.h"

#define NO_DATAGRAM 0xffffffffu

/* Fragments of one datagram have the same of these (RFC 791 section 3.2, RFC 8200 section 4.5). */
struct datagram_key {
    struct ipv6_address source __attribute__((aligned(8))); /* IPv4: in the first four bytes */
    be32 destination;                                       /* IPv6: the IPv4 address in it */
    uint32_t identification;
    uint8_t version;
    uint8_t protocol; /* IPv6: 0, since only the first fragment's counts */
    uint8_t instance;
    uint8_t unused[5];
};
_Static_assert(sizeof(struct datagram_key) == 32, "keys are compared as bytes");

enum datagram_state {
    DATAGRAM_WAITING,
    DATAGRAM_OPEN,
    DATAGRAM_REFUSED,
};

/* What must be known before the first piece can be translated. */
enum datagram_need {
    NEED_NOTHING, /* but the first piece itself */
    NEED_LENGTH,  /* of the whole: it enters ICMPv6's checksum */
    NEED_ALL,     /* every byte: a checksum is to be computed */
};

struct datagram_links {
    uint32_t before, after;
};

/* The bytes that a piece has, behind all headers of IP. */
struct datagram_piece {
    uint16_t start, end;
};

struct datagram {
    struct datagram_key key;
    nanoseconds deadline;
    uint32_t next; /* in its chain of the look-up, or among the free ones */
    struct datagram_links by_age, by_source;
    uint32_t source; /* the place that counts for its source */
    uint8_t state;   /* enum datagram_state */
    uint8_t verdict; /* REFUSED: why */
    uint8_t need;    /* enum datagram_need; once the first piece is there */
    bool has_first;
    uint16_t release;    /* 1 + its place among the worker's releases, or 0 */
    uint16_t udp_length; /* as the UDP header states it */
    uint32_t total;      /* bytes behind all headers of IP, as the last piece tells; 0: not yet known */
    uint32_t received;   /* bytes that have come */
    uint32_t held_first, held_last, held_pieces, held_blocks;
    struct description first; /* of the first piece */
    union {                   /* OPEN */
        struct endpoints4 to4;
        struct endpoints6 to6;
    };
    uint32_t record; /* of its session, to count traffic; NO_RECORD: it has none */
    uint16_t generation;
    uint16_t piece_count;
    struct datagram_piece piece[FRAGMENT_PIECES]; /* in the order of their positions */
};

struct datagram_order {
    uint32_t first, last;
};

/* What the datagrams of one source take. */
struct datagram_source {
    struct datagram_order order;
    uint32_t datagrams, pieces, blocks;
};

struct datagrams {
    uint32_t capacity;
    uint32_t used; /* now; read by others, too */
    uint32_t begun, free;
    uint32_t mask; /* of chains, and of sources: a power of two less one */
    uint32_t secret[12];
    struct datagram *datagram;
    uint32_t *chain; /* 1 + the first of each */
    struct datagram_source *source;
    struct datagram_order waiting[NAT64_INSTANCES_MAXIMUM], settled[NAT64_INSTANCES_MAXIMUM];
};

/* Bytes that datagrams_set_up needs. */
size_t datagrams_size(uint32_t capacity);

/* Lays the table over zeroed memory, which must be aligned to 64 bytes. */
void datagrams_set_up(struct datagrams *datagrams, void *memory, uint32_t capacity, struct random *random);

/* The place that counts for the source of a key, whose first `prefix` bits make it (IPv6 alone). */
uint32_t datagrams_source(const struct datagrams *datagrams, const struct datagram_key *key, uint32_t prefix);

struct datagram *datagrams_find(const struct datagrams *datagrams, const struct datagram_key *key);

/* A new one, WAITING; the table is not full. */
struct datagram *datagrams_add(struct datagrams *datagrams, const struct datagram_key *key, uint32_t source,
                               nanoseconds deadline);

/* Forgets one, which holds no pieces. */
void datagrams_remove(struct datagrams *datagrams, struct datagram *datagram);

/* Gives it its state after WAITING. */
void datagrams_settle(struct datagrams *datagrams, struct datagram *datagram, enum datagram_state state,
                      nanoseconds deadline);

/* The oldest: of a source, of those that wait, of all. NULL: there is none. */
struct datagram *datagrams_oldest_of(const struct datagrams *datagrams, uint32_t source);
struct datagram *datagrams_oldest_waiting(const struct datagrams *datagrams);
struct datagram *datagrams_oldest(const struct datagrams *datagrams);

/* One whose time is over at `now`, or NULL; and when that will be the case for any. */
struct datagram *datagrams_overdue(const struct datagrams *datagrams, nanoseconds now);
nanoseconds datagrams_due(const struct datagrams *datagrams);

enum piece_news {
    PIECE_NEW,
    PIECE_REPEATED,    /* the very same bytes have been there */
    PIECE_CONTRADICTS, /* some of them have, or it disagrees about where the datagram ends */
    PIECE_TOO_MANY,    /* more than FRAGMENT_PIECES */
};

/* Enters a piece; `last`: no more fragments follow. */
enum piece_news datagram_enter(struct datagram *datagram, struct datagram_piece piece, bool last);

WIRE_INLINE bool datagram_is_complete(const struct datagram *datagram)
{
    return datagram->total != 0 && datagram->received == datagram->total;
}

#endif /* ENGINE_DATAGRAMS_H */
