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

#include "wire/bytes.h"

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

/* The step that a segment with `flags` makes in `state`; `from_ipv6` tells which side sent it. */
struct tcp_step tcp_step(enum tcp_state state, bool from_ipv6, uint8_t flags);

#endif /* ENGINE_TCP_STATE_H */
