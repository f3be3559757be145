/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which packets open sessions, and what is said to those that cannot: the parts of the policy
 * (engine/nat64.c) that kernel programs have as well.
 */
#ifndef ENGINE_OPENING_H
#define ENGINE_OPENING_H

#include "engine/making.h"
#include "engine/verdict.h"
#include "wire/transport.h"

/* Does a packet without a session open one? */
WIRE_INLINE bool flags_open(bool tcp, uint8_t flags)
{
    return !tcp || (flags & (TCP_SYN | TCP_RST)) == TCP_SYN;
}

/* A SYN and nothing else: with such a one a remote begins a connection. */
WIRE_INLINE bool flags_are_syn(uint8_t flags)
{
    return (flags & (TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN)) == TCP_SYN;
}

/*
 * What of a limit packets from outside may use. The last quarter is for the clients: otherwise whoever learns
 * of one binding could send to it from many addresses until its subscriber, or everybody, can open no session
 * more (section 5.3).
 * rfc: 6146-5.3-a
 */
WIRE_INLINE uint32_t share_of_outside(uint32_t limit)
{
    return limit - limit / 4;
}

WIRE_INLINE uint8_t state_first(uint8_t transport, bool from_ipv6)
{
    if (transport != TRANSPORT_TCP)
        return TCP_NONE;
    return from_ipv6 ? TCP_V6_INIT : TCP_V4_INIT;
}

/* VERDICT_COUNT: there is nothing to be said. */
WIRE_INLINE enum verdict verdict_of_making(enum made made)
{
    switch (made) {
    case MADE_TABLE_FULL:
        return VERDICT_TABLE_FULL;
    case MADE_SUBSCRIBER_FULL:
        return VERDICT_SUBSCRIBER_FULL;
    case MADE_INDEX_FULL:
        return VERDICT_INDEX_FULL;
    case MADE_LOOK_AGAIN:
        return VERDICT_CONTENTION;
    case MADE:
    default:
        return VERDICT_COUNT;
    }
}

#endif /* ENGINE_OPENING_H */
