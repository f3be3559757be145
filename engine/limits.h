/* SPDX-License-Identifier: BSD-2-Clause */
/* Every number the engine decides by, in one place, with its unit and where it comes from. */
#ifndef ENGINE_LIMITS_H
#define ENGINE_LIMITS_H

enum {
    BURST_MAXIMUM = 32,            /* packets a call to engine_receive */
    WORKERS_MAXIMUM = 64,          /* threads of a plane */
    NAT64_INSTANCES_MAXIMUM = 16,  /* nat64 entries */
    SIIT_INSTANCES_MAXIMUM = 16,   /* siit entries */
    INSTANCE_NAME_SIZE = 32,       /* bytes, with the final zero */
    INTERFACE_NAME_SIZE = 16,      /* likewise: IFNAMSIZ of <net/if.h> */
    OUTPUT_QUEUE = 64,             /* packets an engine worker has made and not yet handed out */
    OUTPUT_PACKET = 1280 + 64,     /* bytes of such a packet's buffer: IPv6's minimum MTU and headroom */
    EXTENSION_HEADERS_MAXIMUM = 8, /* IPv6 extension headers walked before a packet is given up */

    SUBSCRIBER_SESSIONS_MAXIMUM = (1 << 20) - 1, /* a subscriber's sessions are counted in 20 bits */
    SUBSCRIBER_SESSIONS_DEFAULT = 32768,
    SUBSCRIBER_PREFIX_DEFAULT = 64, /* bits; a subscriber is a network of its own, RFC 6177 section 2 */

    /* RFC 6146 section 4 */
    UDP_DEFAULT_SECONDS = 5 * 60,
    UDP_MINIMUM_SECONDS = 2 * 60,
    ICMP_DEFAULT_SECONDS = 60,
    TCP_ESTABLISHED_SECONDS = 2 * 3600 + 4 * 60, /* TCP_EST + TCP_TRANS, RFC 5382 REQ-5 */
    TCP_TRANSITORY_SECONDS = 4 * 60,
    TCP_INCOMING_SYN_SECONDS = 6, /* RFC 5382 REQ-4 forbids less */

    LIFETIME_MAXIMUM = 7 * 24 * 3600, /* seconds: the longest lifetime that may be configured */

    ICMPV4_ERROR_LENGTH = 576,    /* bytes at most, RFC 1812 section 4.3.2.3 */
    ICMPV6_ERROR_LENGTH = 1280,   /* bytes at most, RFC 4443 section 2.4 (c) */
    IPV4_FRAGMENTABLE_MTU = 1260, /* up to here DF is cleared, RFC 7915 section 5.1 */

    WAITING_SYNS = 1024, /* stored in all, while it is open whether the client calls as well */

#ifdef __bpf__ /* the verifier goes through all of them, and actors are fewer: one a processor */
    STACK_TRIES = 128,
    JOIN_TRIES = 128,
#else
    STACK_TRIES = 1024, /* at a stack of free records that others change; a give-up costs a record */
    JOIN_TRIES = 1024,  /* at a count that others change, too; a give-up may leave it one too high */
#endif
    OVERCOME_TRIES = 4,        /* at the record of a rival that others change meanwhile */
    SUBSCRIBER_TRIES = 16,     /* at the word of a subscriber */
    PERMISSION_ENTRIES = 8,    /* sessions of one binding with one address, entered for filtering */
    HALF_OPEN_STEPS = 32,      /* slots of half-open sessions looked at for a new one */
    HALF_OPEN_EARLY = 15,      /* 16ths of their limit from which on the oldest half-open session yields */
    CREATE_TRIES = 4,          /* attempts at a creation that other workers disturb */
    SWEEP_ENDS = 256,          /* sessions ended in one call to engine_expire */
    SWEEP_FOR_ROOM = 32,       /* records looked at when a new session finds no room */
    SWEEP_RECORDS = 4096,      /* records looked at in one call to engine_expire */
    SWEEP_PERIOD_SECONDS = 10, /* a whole table is swept about this often */
};

/* Fragments in nat64, see engine/fragments.h */
enum {
    FRAGMENT_SECONDS = 2,               /* FRAGMENT_MIN, RFC 6146 section 4 */
    FRAGMENT_PACKETS_DEFAULT = 4096,    /* held, and datagrams remembered, in all */
    FRAGMENT_MEMORY_DEFAULT = 16 << 20, /* bytes of held packets, in all */
    FRAGMENT_PIECES = 128,      /* of one datagram; the longest has 119 where every link carries 576 bytes */
    FRAGMENT_SHARE = 8,         /* of a worker's part, one source may have this fraction, ... */
    FRAGMENT_SHARE_PIECES = 64, /* ... but as much as the longest datagram takes where links carry 1280 */
    FRAGMENT_SHARE_BYTES = 128 << 10,
    FRAGMENT_ENDS = 256, /* datagrams ended in one call to engine_expire */
    HELD_BLOCK = 256,    /* bytes; memory for held packets is given out in these */
};

/* Captures, see engine/capture.h */
enum {
    CAPTURES_MAXIMUM = 4,             /* that run at once */
    CAPTURE_MEMORY = 8 << 20,         /* bytes of a capture's rings, the plane's workers together, ... */
    CAPTURE_RING_MINIMUM = 512 << 10, /* ... but each has this many, and so has each guest's */
    CAPTURE_GUESTS_MAXIMUM = 64,      /* threads that are no workers and put messages into captures */
    CAPTURE_SNAP_DEFAULT = 2048,      /* bytes recorded of a packet: all that an Ethernet carries */
};

#endif /* ENGINE_LIMITS_H */
