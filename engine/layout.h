/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The session table's memory.
 *
 * The table is a list of segments, each an array of one fixed element, reached only through table_at().
 * Nothing in them is a pointer: records are named by index, so a segment may lie in malloc'ed memory, in a
 * file or in a BPF array map, at any address, in several programs at once.
 *
 *   header      1           geometry, hash keys, what the sessions in it were made for, shared counts
 *   lanes       workers+1   the free records of each worker
 *   records     sessions*   one session each; the first session of a binding carries the binding as well
 *   traffic     sessions*   packets and bytes of each session; only if the geometry has counters
 *   session6    buckets     index: client, remote, transport, instance -> record
 *   session4    buckets     index: pool address and port, remote, transport -> record
 *   bindings    buckets     index: client address and port, transport, instance -> record with the binding
 *   subscribers buckets     how many sessions each subscriber has, see engine/subscribers.h
 *   ports       addr * 3    which ports of a pool address may still be given out, as bits
 *   owners      addr * 3 * 4096   whose port it is: 16 record numbers a line
 *   half open   sessions/2  a ring that tells the order of half-open sessions, see engine/half_open.h
 *
 * (*) and a quarter more: a binding whose first session has ended, and a static one, keep a record without a
 * session.
 *
 * The life of a record is told by one 64-bit word, changed only by compare-and-swap, so that whoever
 * changes it knows what it changed:
 *
 *   FREE --> MAKING --> LIVE --> ENDING --> FREE     a session that has a binding to join
 *   FREE --> MAKING --> LIVE --> BINDING --> FREE    the first session of a binding that outlives it
 *   FREE --> MAKING ----------> BINDING --> FREE     a static binding
 *            MAKING --> KILLED --> FREE              a creation that lost
 *
 * Reading. A record may be freed and reused at any time, and nobody waits for readers: a reader that was
 * stopped would hold up everybody else. Instead the word of life carries the record's generation, as do the
 * slots that name the record. A reader copies the record between two looks at that word (record_read) and
 * has a whole session if both had the generation of its slot. What it changes afterwards it changes by
 * compare-and-swap of a word with a generation in it, which fails if the record has been reused.
 */
#ifndef ENGINE_LAYOUT_H
#define ENGINE_LAYOUT_H

#include "engine/atomic.h"
#include "engine/limits.h"
#include "engine/settings.h"
#include "engine/table.h"
#include "wire/ipv6.h"

#define TABLE_MAGIC 0x31636d6874736900ull
enum {
    LANES_MAXIMUM = WORKERS_MAXIMUM + 1,
    BUCKET_SLOTS = 7,
    BUCKET_LOAD = 4,  /* entries a bucket at capacity: 57 %, see doc/decisions */
    PROBE_LIMIT = 16, /* buckets looked at, home bucket included; measured, see doc/decisions */
    PORT_WORDS = 65536 / 64,
    OWNERS_PER_LINE = 16,
};

#define NO_RECORD 0xffffffffu

enum phase {
    PHASE_FREE,    /* on a stack of free records, or never used */
    PHASE_MAKING,  /* indexed perhaps, but not yet a session: readers pass over it, anyone may kill it */
    PHASE_LIVE,    /* a session, until `expires`; past that it is absent, whoever looks */
    PHASE_BINDING, /* no session (any more), only the binding in it counts */
    PHASE_ENDING,  /* the one who set this is taking the session down */
    PHASE_KILLED,  /* a rival was faster; its maker is undoing it */
};

/*
 * The word of life: expires (32 bits, seconds of CLOCK_MONOTONIC), generation (16), TCP state (8), phase (8).
 * `expires` is the last second in which the session still counts; while MAKING, the second it was begun in.
 */
WIRE_INLINE uint64_t life_make(uint32_t expires, uint16_t generation, uint8_t state, enum phase phase)
{
    return ((uint64_t)expires << 32) | ((uint64_t)generation << 16) | ((uint64_t)state << 8) |
           (uint64_t)phase;
}

WIRE_INLINE uint32_t life_expires(uint64_t life)
{
    return (uint32_t)(life >> 32);
}

WIRE_INLINE uint16_t life_generation(uint64_t life)
{
    return (uint16_t)(life >> 16);
}

/* The same life in another phase. */
WIRE_INLINE uint64_t life_in(uint64_t life, enum phase phase)
{
    return (life & ~0xffull) | (uint64_t)phase;
}

WIRE_INLINE uint8_t life_state(uint64_t life)
{
    return (uint8_t)(life >> 8);
}

WIRE_INLINE enum phase life_phase(uint64_t life)
{
    return (enum phase)(life & 0xff);
}

WIRE_INLINE bool life_is_session(uint64_t life, uint32_t tick)
{
    return life_phase(life) == PHASE_LIVE && life_expires(life) >= tick;
}

/*
 * What identifies a session from the IPv6 side, from the IPv4 side, and a binding from the IPv6 side.
 * Addresses in keys and records are aligned, and said to be: where that is not known, BPF loads byte by byte.
 */
struct key6 {
    struct ipv6_address client __attribute__((aligned(8)));
    be32 remote;
    be16 client_port, remote_port;
    uint8_t transport, instance;
    uint8_t padding[6]; /* named, so that whoever makes a key makes all its bytes: BPF asks for that */
};

struct key4 {
    be32 pool, remote;
    be16 pool_port, remote_port;
    uint8_t transport;
    uint8_t padding[3];
};

struct binding_key {
    struct ipv6_address client __attribute__((aligned(8)));
    be16 client_port;
    uint8_t transport, instance;
    uint8_t padding[4];
};

enum record_kind {
    RECORD_UNUSED,
    RECORD_NAT64, /* a session or binding of the nat64 policy */
};

/* rfc: 6146-3-c */
struct record {
    uint64_t life;
    struct ipv6_address client; /* from here to `remote_port`, and below, as in key6 */
    be32 remote;
    be16 client_port, remote_port;
    be32 pool;
    be16 pool_port;
    uint16_t address; /* number of the pool address in `ports` and `owners` */
    uint32_t lead; /* the record with the binding: itself, or that of the binding's first session; on a list
                      of free records: the next one, plus one */
    uint8_t transport, instance;
    uint16_t lane;  /* of who made it */
    uint64_t users; /* in a lead: who uses the binding, see below */
    union {
        struct {
            uint8_t kind; /* enum record_kind */
            uint8_t
                counted; /* in the count of a subscriber: how many bits that one has, plus one; 0: in none */
            uint16_t generation; /* so that no later session of the record has the same tail */
            uint8_t spare[4];
        };
        uint64_t tail; /* the same as one word: `counted` changes while the session lives, see below */
    };
};
_Static_assert(sizeof(struct record) == 64, "a record fills one cache line");

/*
 * The count that a session is in is left by who ends it, and changed when the settings tell subscribers apart
 * by another number of bits. Both name what they found in a compare-and-swap or take it out for good, so only
 * one of them leaves that count. What they found includes the record's generation, lest a count be changed
 * that is another session's by then.
 */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define COUNTED_SHIFT 8
#else
#define COUNTED_SHIFT 48
#endif
#define COUNTED_ENDED 0xffu /* the session's end has left it */

WIRE_INLINE uint32_t tail_counted(uint64_t tail)
{
    return (uint32_t)(tail >> COUNTED_SHIFT) & 0xff;
}

WIRE_INLINE uint64_t tail_with(uint64_t tail, uint32_t counted)
{
    return (tail & ~(0xffull << COUNTED_SHIFT)) | ((uint64_t)counted << COUNTED_SHIFT);
}

/*
 * The users of a binding, one word, so that whoever changes one part knows the others: generation of the lead
 * (16 bits); flags (2); until (22), a second at or after which all its sessions end; one more flag; and how
 * many users there are (23): its sessions, plus one for the configuration if it is static. Whoever takes the
 * last one off takes the binding down. While USERS_CLOSING is set nobody may join, and no session of it is
 * renewed.
 *
 * Of `until` there are the lower bits only, so it is compared within LIFETIME_MAXIMUM seconds around now.
 */
#define USERS_STATIC  0x800000000000ull
#define USERS_CLOSING 0x400000000000ull
#define USERS_UNTIL   0x3fffffull
#define USERS_ASTRAY                                                                                         \
    0x800000ull /* it is not on the address that its client's hash says, engine/pairing.h                    \
                 */
#define USERS_MAXIMUM 0x7fffffu
_Static_assert(LIFETIME_MAXIMUM <= USERS_UNTIL / 2, "two ends of a lifetime can be told apart");

WIRE_INLINE uint64_t users_make(uint16_t generation, uint64_t flags, uint32_t until, uint32_t count)
{
    return ((uint64_t)generation << 48) | flags | ((until & USERS_UNTIL) << 24) | count;
}

WIRE_INLINE uint16_t users_generation(uint64_t users)
{
    return (uint16_t)(users >> 48);
}

WIRE_INLINE uint32_t users_count(uint64_t users)
{
    return (uint32_t)users & USERS_MAXIMUM;
}

/* By how many seconds `until` is past `tick`; negative: it is over. */
WIRE_INLINE int32_t users_left(uint64_t users, uint32_t tick)
{
    return (int32_t)(((uint32_t)(users >> 24) - tick) << 10) >> 10;
}

/* The same users, of whom one session ends at `until`. */
WIRE_INLINE uint64_t users_raised(uint64_t users, uint32_t until)
{
    if (users_left(users, until) >= 0)
        return users;
    return (users & ~(USERS_UNTIL << 24)) | ((until & USERS_UNTIL) << 24);
}

/*
 * A bucket fills one cache line. A slot: tag (16 bits of the hash), generation (16), index plus one (32);
 * 0 is empty. `strays` counts the entries that belong here and were put into a later bucket because this one
 * was full: while it is 0, looking here is enough.
 */
struct bucket {
    uint64_t strays;
    uint64_t slot[BUCKET_SLOTS];
};
_Static_assert(sizeof(struct bucket) == 64, "a bucket fills one cache line");

/*
 * The ports of one pool address and transport. A set bit is a port that may be given out. `summary` says per
 * parity which words have any such bit, so that the last free port is found in as few steps as the first.
 */
struct port_map {
    uint64_t available[PORT_WORDS];
    uint64_t allowed[PORT_WORDS]; /* what the settings allow; a port outside can only be a static binding's */
    uint64_t summary[2][PORT_WORDS / 64];
    uint32_t configured; /* ports that the settings allow */
    uint32_t free;       /* of those, how many are available */
    uint32_t used;       /* ports that bindings hold, static ones outside the ranges included */
    uint32_t padding[13];
};
_Static_assert(sizeof(struct port_map) % 64 == 0, "port maps keep to cache lines of their own");

struct owner_line {
    uint32_t record[OWNERS_PER_LINE]; /* index plus one of the lead; 0: nobody */
};

/* What a session has carried, as received, if the table counts that. */
struct traffic {
    uint64_t packets6, bytes6; /* from the client */
    uint64_t packets4, bytes4; /* to it */
};

struct lane {
    uint64_t free; /* top of the stack of free records: tag (32 bits, against ABA), index plus one (32) */
    uint64_t padding[7];
};
_Static_assert(sizeof(struct lane) == 64, "lanes keep to cache lines of their own");

/* Derived from the geometry; copied where a user of the table wants it at hand. */
struct table_constants {
    uint32_t records, buckets, addresses, lanes, counters;
    uint32_t key[24]; /* of the hashes */
};

/* For which instance its sessions were made: they stay with the prefix, whatever its place in the settings.
 */
struct instance_identity {
    uint8_t prefix[16];
    uint8_t prefix_length;
    uint8_t subscriber_prefix;
    uint8_t padding[6];
};

struct table_header {
    uint64_t magic;
    uint32_t layout;
    uint32_t filtered; /* a bit for each instance, see engine/permissions.h */
    struct geometry geometry;
    struct table_constants constants;
    struct instance_identity instance[NAT64_INSTANCES_MAXIMUM];
    uint32_t astray;                             /* bindings that USERS_ASTRAY is said of */
    uint64_t fresh __attribute__((aligned(64))); /* records from here on were never used */
    uint64_t half_open_head, half_open_tail;     /* of the ring, in slots that were ever passed */
    uint32_t half_open;                          /* sessions that are half-open, or about to be made so */
    uint32_t sessions[NAT64_INSTANCES_MAXIMUM] __attribute__((aligned(64))); /* live or being made */
};

enum segment {
    SEGMENT_HEADER,
    SEGMENT_LANES,
    SEGMENT_RECORDS,
    SEGMENT_TRAFFIC,
    SEGMENT_SESSION6,
    SEGMENT_SESSION4,
    SEGMENT_BINDINGS,
    SEGMENT_SUBSCRIBERS,
    SEGMENT_PORTS,
    SEGMENT_OWNERS,
    SEGMENT_HALF_OPEN,
    SEGMENT_COUNT,
};

/*
 * The same code runs in user space and in the kernel, where a verifier goes through all ways it may take
 * before it is let in. Four things are there for it, and cost nothing outside BPF:
 *
 *   table_at()      is NULL where a BPF map has no such element; a BPF program defines table_at_bpf over its
 *                   maps, and table_bpf with the constants of the table in them
 *   absent()        tells that NULL; every pointer into the table is put to it before it is used
 *   below()         a number that is known to be under a power of two, but not to the verifier
 *   TABLE_FUNCTION  marks what is a function of its own in BPF. The verifier looks at such a function once,
 *                   whoever calls it, so that the ways through several of them add up and do not
 *                   multiply. It knows the types of their arguments and nothing else, so the pointers among
 *                   them are put to absent() as well.
 *
 * For the same reason each loop has a bound that can be seen.
 */
#ifdef __bpf__
struct table {
    struct table_constants constants;
};
extern struct table table_bpf;
WIRE_INLINE void *table_at_bpf(enum segment segment, uint32_t index);
#define table_at(table, segment, type, index) ((type *)table_at_bpf(segment, index))
#define TABLE_FUNCTION                        __attribute__((noinline))
#else
struct table {
    void *segment[SEGMENT_COUNT];
    struct table_constants constants;
    uint32_t layout; /* of what lies there */
    bool owned;      /* made by table_create */
    bool found;      /* somebody else may have written all of it */
};
#define table_at(table, segment_number, type, index) ((type *)(table)->segment[segment_number] + (index))
#define TABLE_FUNCTION                               WIRE_INLINE
#endif

WIRE_INLINE bool absent(const void *element)
{
#ifdef __bpf__
    return element == NULL;
#else
    (void)element;
    return false;
#endif
}

WIRE_INLINE uint32_t below(uint32_t power, uint32_t number)
{
#ifdef __bpf__
    __asm__ volatile("" : "+r"(number)); /* or the compiler, which does know, leaves out the mask */
    number &= power - 1;
#else
    (void)power;
#endif
    return number;
}

WIRE_INLINE struct table_header *header_of(const struct table *table)
{
    (void)table;
    return table_at(table, SEGMENT_HEADER, struct table_header, 0);
}

WIRE_INLINE struct lane *lane_at(const struct table *table, uint32_t number)
{
    (void)table;
    return table_at(table, SEGMENT_LANES, struct lane, number);
}

WIRE_INLINE struct record *record_at(const struct table *table, uint32_t index)
{
    (void)table;
    return table_at(table, SEGMENT_RECORDS, struct record, index);
}

WIRE_INLINE struct traffic *traffic_at(const struct table *table, uint32_t index)
{
    (void)table;
    return table_at(table, SEGMENT_TRAFFIC, struct traffic, index);
}

WIRE_INLINE struct bucket *bucket_at(const struct table *table, enum segment which, uint32_t number)
{
    (void)table;
#ifdef __bpf__ /* each segment is a map there; the fewer to choose from, the fewer ways for the verifier */
    switch (which) {
    case SEGMENT_SESSION6:
        return table_at(table, SEGMENT_SESSION6, struct bucket, number);
    case SEGMENT_SESSION4:
        return table_at(table, SEGMENT_SESSION4, struct bucket, number);
    case SEGMENT_BINDINGS:
        return table_at(table, SEGMENT_BINDINGS, struct bucket, number);
    case SEGMENT_SUBSCRIBERS:
        return table_at(table, SEGMENT_SUBSCRIBERS, struct bucket, number);
    default:
        return NULL;
    }
#else
    return table_at(table, which, struct bucket, number);
#endif
}

WIRE_INLINE struct port_map *port_map_at(const struct table *table, uint32_t address, uint8_t transport)
{
    (void)table;
    return table_at(table, SEGMENT_PORTS, struct port_map, address * TRANSPORT_COUNT + transport);
}

/* Slot `number` of a bucket; its first word is `strays`. */
WIRE_INLINE uint64_t *slot_at(struct bucket *bucket, size_t number)
{
    return (uint64_t *)bucket + below(BUCKET_SLOTS + 1, (uint32_t)number + 1);
}

/* The cell that names who holds a port. */
WIRE_INLINE uint32_t *owner_at(const struct table *table, uint32_t address, uint8_t transport, uint16_t port)
{
    (void)table;
    uint32_t lines = 65536 / OWNERS_PER_LINE;
    uint32_t line = (address * TRANSPORT_COUNT + transport) * lines + port / OWNERS_PER_LINE;
    struct owner_line *owners = table_at(table, SEGMENT_OWNERS, struct owner_line, line);
    return absent(owners) ? NULL : &owners->record[port % OWNERS_PER_LINE];
}

/* A slot of the ring of half-open sessions: as in an index, without a tag. */
WIRE_INLINE uint64_t *half_open_slot_at(const struct table *table, uint32_t number)
{
    (void)table;
    return table_at(table, SEGMENT_HALF_OPEN, uint64_t, number);
}

#endif /* ENGINE_LAYOUT_H */
