/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The TCP state machine of RFC 6146 section 3.5.2.2. CLOSED has no row: it is the absence of a session.
 *
 *                    V6 SYN                       V4 SYN
 *         V6_INIT <---------- (no session) ----------> V4_INIT
 *            | V4 SYN                                    | V6 SYN
 *            +-------------> ESTABLISHED <---------------+
 *                 V6 FIN  /    |      ^  \  V4 FIN
 *                 V6_FIN <     | RST  |    > V4_FIN
 *                     \        v      |      /
 *              V4 FIN  \     TRANS ---+     / V6 FIN
 *                       > V6_FIN_V4_FIN <--+
 *
 * A session leaves the table when its lifetime ends, in any state. Two steps are not in the RFC. A SYN in
 * V6_FIN_V4_FIN, which would let a new connection on the old ports die with the old one's remaining lifetime,
 * begins anew (hosts reuse ports so, RFC 6191). And a RST in V4_FIN or V6_FIN does not give the connection
 * that it ends the long lifetime once more (RFC 7857 sections 2.2 and 7.1).
 */
#ifndef ENGINE_TCP_STATE_H
#define ENGINE_TCP_STATE_H

#include "wire/transport.h"

/* S(identifier, "name shown to people") */
#define TCP_STATES(S)                                                                                        \
    S(NONE, "active")             /* UDP and ICMP, which have no state machine */                            \
    S(V6_INIT, "v6-init")         /* the client's SYN has passed; waiting for the server's */                \
    S(V4_INIT, "v4-init")         /* a SYN from outside has passed; waiting for the client's */              \
    S(ESTABLISHED, "established") /* data flows both ways; the only state with the long lifetime */          \
    S(V6_FIN, "v6-fin")           /* the client has closed; data still flows towards it */                   \
    S(V4_FIN, "v4-fin")           /* the server has closed; data still flows towards it */                   \
    S(V6_FIN_V4_FIN, "closing")   /* both have closed; last acknowledgments pass */                          \
    S(TRANS, "transitory")        /* reset or silent for long: ends unless something but a RST passes */

enum tcp_state {
#define TCP_STATE_ENUM(id, name) TCP_##id,
    TCP_STATES(TCP_STATE_ENUM)
#undef TCP_STATE_ENUM
        TCP_STATE_COUNT
};

extern const char *const tcp_state_names[TCP_STATE_COUNT];

enum tcp_lifetime {
    TCP_LIFETIME_KEEP, /* ends when it would have ended */
    TCP_LIFETIME_OPENING,
    TCP_LIFETIME_CLOSING,
    TCP_LIFETIME_TRANSITORY, /* after a RST */
    TCP_LIFETIME_SHORTENED,  /* the same, unless it would end sooner anyway */
    TCP_LIFETIME_ESTABLISHED,
};

struct tcp_step {
    enum tcp_state state;
    enum tcp_lifetime lifetime;
};

WIRE_INLINE struct tcp_step tcp_step_to(enum tcp_state state, enum tcp_lifetime lifetime)
{
    return (struct tcp_step){.state = state, .lifetime = lifetime};
}

/* rfc: 6146-3.5.2.2-r, 6146-3.5.2.2-s, 6146-3.5.2.2-t, 6146-3.5.2.2-u */
WIRE_INLINE struct tcp_step tcp_step_established(bool from_ipv6, uint8_t flags)
{
    if ((flags & TCP_RST) != 0)
        return tcp_step_to(TCP_TRANS, TCP_LIFETIME_TRANSITORY);
    if ((flags & TCP_FIN) != 0)
        return tcp_step_to(from_ipv6 ? TCP_V6_FIN : TCP_V4_FIN, TCP_LIFETIME_ESTABLISHED);
    return tcp_step_to(TCP_ESTABLISHED, TCP_LIFETIME_ESTABLISHED);
}

/*
 * One side has closed: `closed_ipv6` says which.
 * rfc: 6146-3.5.2.2-y, 6146-3.5.2.2-z, 6146-3.5.2.2-ac, 6146-3.5.2.2-ad, 7857-2.2-b, 7857-7.1-a
 */
WIRE_INLINE struct tcp_step tcp_step_half_closed(enum tcp_state state, bool closed_ipv6, bool from_ipv6,
                                                 uint8_t flags)
{
    if ((flags & TCP_FIN) != 0 && from_ipv6 != closed_ipv6)
        return tcp_step_to(TCP_V6_FIN_V4_FIN, TCP_LIFETIME_CLOSING);
    return tcp_step_to(state, (flags & TCP_RST) != 0 ? TCP_LIFETIME_SHORTENED : TCP_LIFETIME_ESTABLISHED);
}

/*
 * The step that a segment with `flags` makes in `state`; `from_ipv6` tells which side sent it.
 * rfc: 6146-3.5.2.2-g, 6146-3.5.2.2-k, 6146-3.5.2.2-l, 6146-3.5.2.2-p, 6146-3.5.2.2-q, 6146-3.5.2.2-af
 * rfc: 6146-3.5.2.2-ag, 5382-REQ2-a, 7857-2-a, 7857-2.2-a
 */
WIRE_INLINE struct tcp_step tcp_step(enum tcp_state state, bool from_ipv6, uint8_t flags)
{
    bool syn = (flags & TCP_SYN) != 0;
    switch (state) {
    case TCP_V6_INIT:
        if (syn && !from_ipv6)
            return tcp_step_to(TCP_ESTABLISHED, TCP_LIFETIME_ESTABLISHED);
        return tcp_step_to(state, syn ? TCP_LIFETIME_OPENING : TCP_LIFETIME_KEEP);
    case TCP_V4_INIT:
        if (syn && from_ipv6)
            return tcp_step_to(TCP_ESTABLISHED, TCP_LIFETIME_ESTABLISHED);
        return tcp_step_to(state, TCP_LIFETIME_KEEP);
    case TCP_ESTABLISHED:
        return tcp_step_established(from_ipv6, flags);
    case TCP_V6_FIN:
        return tcp_step_half_closed(state, true, from_ipv6, flags);
    case TCP_V4_FIN:
        return tcp_step_half_closed(state, false, from_ipv6, flags);
    case TCP_V6_FIN_V4_FIN:
        if ((flags & (TCP_SYN | TCP_ACK | TCP_RST)) == TCP_SYN)
            return tcp_step_to(from_ipv6 ? TCP_V6_INIT : TCP_V4_INIT, TCP_LIFETIME_OPENING);
        return tcp_step_to(state, TCP_LIFETIME_KEEP);
    case TCP_TRANS:
        if ((flags & TCP_RST) != 0)
            return tcp_step_to(state, TCP_LIFETIME_KEEP);
        return tcp_step_to(TCP_ESTABLISHED, TCP_LIFETIME_ESTABLISHED);
    case TCP_NONE:
    case TCP_STATE_COUNT:
    default:
        return tcp_step_to(state, TCP_LIFETIME_KEEP);
    }
}

#endif /* ENGINE_TCP_STATE_H */
