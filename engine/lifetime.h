/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * When sessions end: from the configured lifetimes, and for TCP from the steps of its state machine. Used by
 * the engine and by kernel programs.
 */
#ifndef ENGINE_LIFETIME_H
#define ENGINE_LIFETIME_H

#include "engine/layout.h"
#include "engine/settings.h"
#include "engine/tcp_state.h"

/*
 * The end of a TCP session by the rule, if it ends at `ends` until now.
 * rfc: 7857-2.1-a, 7857-2.2-b
 */
WIRE_INLINE uint32_t lifetime_of_tcp(const struct nat64_timeouts *timeouts, enum tcp_lifetime rule,
                                     uint32_t ends, uint32_t tick)
{
    uint32_t transitory = timeouts->tcp_transitory;
    switch (rule) {
    case TCP_LIFETIME_ESTABLISHED:
        return tick + timeouts->tcp_established;
    case TCP_LIFETIME_OPENING:
        return tick + (timeouts->tcp_opening != 0 ? timeouts->tcp_opening : transitory);
    case TCP_LIFETIME_CLOSING:
        return tick + (timeouts->tcp_closing != 0 ? timeouts->tcp_closing : transitory);
    case TCP_LIFETIME_TRANSITORY:
        return tick + transitory;
    case TCP_LIFETIME_SHORTENED:
        return ends < tick + transitory ? ends : tick + transitory;
    case TCP_LIFETIME_KEEP:
    default:
        return ends;
    }
}

/* The end of a session that begins now. */
WIRE_INLINE uint32_t lifetime_first(const struct nat64_timeouts *timeouts, uint8_t transport, uint32_t tick)
{
    switch (transport) {
    case TRANSPORT_UDP:
        return tick + timeouts->udp;
    case TRANSPORT_ICMP:
        return tick + timeouts->icmp;
    case TRANSPORT_TCP:
    default:
        return lifetime_of_tcp(timeouts, TCP_LIFETIME_OPENING, 0, tick);
    }
}

/* A packet of a session. */
struct passing {
    uint32_t tick; /* now, in seconds */
    bool from_ipv6;
    uint8_t tcp_flags;
    uint8_t padding[2]; /* Linux 5.15 reads all of what a BPF function is given */
};

/* The word of life that a session has after the packet: its state and end. */
WIRE_INLINE uint64_t lifetime_after(const struct nat64_timeouts *timeouts, const struct record *session,
                                    const struct passing *passing)
{
    uint64_t life = session->life;
    uint32_t expires;
    uint8_t state = TCP_NONE;
    if (session->transport == TRANSPORT_TCP) {
        struct tcp_step step =
            tcp_step((enum tcp_state)life_state(life), passing->from_ipv6, passing->tcp_flags);
        state = (uint8_t)step.state;
        expires = lifetime_of_tcp(timeouts, step.lifetime, life_expires(life), passing->tick);
    } else {
        expires = lifetime_first(timeouts, session->transport, passing->tick);
    }
    return life_make(expires, life_generation(life), state, PHASE_LIVE);
}

#endif /* ENGINE_LIFETIME_H */
