/* SPDX-License-Identifier: BSD-2-Clause */
#include "engine/tcp_state.h"

#include "wire/transport.h"

const char *const tcp_state_names[TCP_STATE_COUNT] = {
#define TCP_STATE_NAME(id, name) [TCP_##id] = name,
    TCP_STATES(TCP_STATE_NAME)
#undef TCP_STATE_NAME
};

static struct tcp_step step_to(enum tcp_state state, enum tcp_lifetime lifetime)
{
    return (struct tcp_step){.state = state, .lifetime = lifetime};
}

/* rfc: 6146-3.5.2.2-r, 6146-3.5.2.2-s, 6146-3.5.2.2-t, 6146-3.5.2.2-u */
static struct tcp_step step_established(bool from_ipv6, uint8_t flags)
{
    if ((flags & TCP_RST) != 0)
        return step_to(TCP_TRANS, TCP_LIFETIME_TRANSITORY);
    if ((flags & TCP_FIN) != 0)
        return step_to(from_ipv6 ? TCP_V6_FIN : TCP_V4_FIN, TCP_LIFETIME_ESTABLISHED);
    return step_to(TCP_ESTABLISHED, TCP_LIFETIME_ESTABLISHED);
}

/*
 * One side has closed: `closed_ipv6` says which.
 * rfc: 6146-3.5.2.2-y, 6146-3.5.2.2-z, 6146-3.5.2.2-ac, 6146-3.5.2.2-ad, 7857-2.2-b, 7857-7.1-a
 */
static struct tcp_step step_half_closed(enum tcp_state state, bool closed_ipv6, bool from_ipv6, uint8_t flags)
{
    if ((flags & TCP_FIN) != 0 && from_ipv6 != closed_ipv6)
        return step_to(TCP_V6_FIN_V4_FIN, TCP_LIFETIME_CLOSING);
    return step_to(state, (flags & TCP_RST) != 0 ? TCP_LIFETIME_SHORTENED : TCP_LIFETIME_ESTABLISHED);
}

/*
 * rfc: 6146-3.5.2.2-g, 6146-3.5.2.2-k, 6146-3.5.2.2-l, 6146-3.5.2.2-p, 6146-3.5.2.2-q, 6146-3.5.2.2-af
 * rfc: 6146-3.5.2.2-ag, 5382-REQ2-a, 7857-2-a, 7857-2.2-a
 */
struct tcp_step tcp_step(enum tcp_state state, bool from_ipv6, uint8_t flags)
{
    bool syn = (flags & TCP_SYN) != 0;
    switch (state) {
    case TCP_V6_INIT:
        if (syn && !from_ipv6)
            return step_to(TCP_ESTABLISHED, TCP_LIFETIME_ESTABLISHED);
        return step_to(state, syn ? TCP_LIFETIME_OPENING : TCP_LIFETIME_KEEP);
    case TCP_V4_INIT:
        if (syn && from_ipv6)
            return step_to(TCP_ESTABLISHED, TCP_LIFETIME_ESTABLISHED);
        return step_to(state, TCP_LIFETIME_KEEP);
    case TCP_ESTABLISHED:
        return step_established(from_ipv6, flags);
    case TCP_V6_FIN:
        return step_half_closed(state, true, from_ipv6, flags);
    case TCP_V4_FIN:
        return step_half_closed(state, false, from_ipv6, flags);
    case TCP_V6_FIN_V4_FIN:
        if ((flags & (TCP_SYN | TCP_ACK | TCP_RST)) == TCP_SYN)
            return step_to(from_ipv6 ? TCP_V6_INIT : TCP_V4_INIT, TCP_LIFETIME_OPENING);
        return step_to(state, TCP_LIFETIME_KEEP);
    case TCP_TRANS:
        if ((flags & TCP_RST) != 0)
            return step_to(state, TCP_LIFETIME_KEEP);
        return step_to(TCP_ESTABLISHED, TCP_LIFETIME_ESTABLISHED);
    case TCP_NONE:
    case TCP_STATE_COUNT:
    default:
        return step_to(state, TCP_LIFETIME_KEEP);
    }
}
