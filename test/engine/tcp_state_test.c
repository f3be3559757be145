/* SPDX-License-Identifier: BSD-2-Clause */
/* Every transition of RFC 6146 section 3.5.2.2, as a table written from the RFC's text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/tcp_state.h"
#include "wire/transport.h"

#define V6      true
#define V4      false
#define KEEP    TCP_LIFETIME_KEEP
#define OPENING TCP_LIFETIME_OPENING
#define CLOSING TCP_LIFETIME_CLOSING
#define SHORT   TCP_LIFETIME_TRANSITORY
#define SOONER  TCP_LIFETIME_SHORTENED
#define LONG    TCP_LIFETIME_ESTABLISHED

static const struct {
    enum tcp_state from;
    bool from_ipv6;
    uint8_t flags;
    enum tcp_state to;
    enum tcp_lifetime lifetime;
} rows[] = {
    /* V4 INIT: a V6 SYN establishes; any other packet leaves it as it is. */
    {TCP_V4_INIT, V6, TCP_SYN, TCP_ESTABLISHED, LONG},
    {TCP_V4_INIT, V6, TCP_SYN | TCP_ACK, TCP_ESTABLISHED, LONG},
    {TCP_V4_INIT, V4, TCP_SYN, TCP_V4_INIT, KEEP},
    {TCP_V4_INIT, V6, TCP_ACK, TCP_V4_INIT, KEEP},
    {TCP_V4_INIT, V6, TCP_RST, TCP_V4_INIT, KEEP},
    /* V6 INIT: a V4 SYN with or without ACK establishes; a V6 SYN renews the transitory lifetime. */
    {TCP_V6_INIT, V4, TCP_SYN | TCP_ACK, TCP_ESTABLISHED, LONG},
    {TCP_V6_INIT, V4, TCP_SYN, TCP_ESTABLISHED, LONG},
    {TCP_V6_INIT, V6, TCP_SYN, TCP_V6_INIT, OPENING},
    {TCP_V6_INIT, V6, TCP_ACK, TCP_V6_INIT, KEEP},
    {TCP_V6_INIT, V4, TCP_RST | TCP_ACK, TCP_V6_INIT, KEEP},
    /* ESTABLISHED */
    {TCP_ESTABLISHED, V4, TCP_FIN | TCP_ACK, TCP_V4_FIN, LONG},
    {TCP_ESTABLISHED, V6, TCP_FIN | TCP_ACK, TCP_V6_FIN, LONG},
    {TCP_ESTABLISHED, V4, TCP_RST, TCP_TRANS, SHORT},
    {TCP_ESTABLISHED, V6, TCP_RST | TCP_ACK, TCP_TRANS, SHORT},
    {TCP_ESTABLISHED, V6, TCP_ACK, TCP_ESTABLISHED, LONG},
    {TCP_ESTABLISHED, V4, TCP_ACK | TCP_PSH, TCP_ESTABLISHED, LONG},
    {TCP_ESTABLISHED, V6, TCP_SYN, TCP_ESTABLISHED, LONG},
    /* V4 FIN RCV: only a V6 FIN changes it; a second V4 FIN is any other packet. A RST does not renew it. */
    {TCP_V4_FIN, V6, TCP_FIN | TCP_ACK, TCP_V6_FIN_V4_FIN, CLOSING},
    {TCP_V4_FIN, V4, TCP_FIN | TCP_ACK, TCP_V4_FIN, LONG},
    {TCP_V4_FIN, V6, TCP_ACK, TCP_V4_FIN, LONG},
    {TCP_V4_FIN, V6, TCP_SYN, TCP_V4_FIN, LONG},
    {TCP_V4_FIN, V6, TCP_RST, TCP_V4_FIN, SOONER},
    {TCP_V4_FIN, V4, TCP_RST | TCP_ACK, TCP_V4_FIN, SOONER},
    /* V6 FIN RCV */
    {TCP_V6_FIN, V4, TCP_FIN | TCP_ACK, TCP_V6_FIN_V4_FIN, CLOSING},
    {TCP_V6_FIN, V6, TCP_FIN | TCP_ACK, TCP_V6_FIN, LONG},
    {TCP_V6_FIN, V4, TCP_ACK, TCP_V6_FIN, LONG},
    {TCP_V6_FIN, V4, TCP_RST, TCP_V6_FIN, SOONER},
    {TCP_V6_FIN, V6, TCP_RST | TCP_ACK, TCP_V6_FIN, SOONER},
    /* V6 FIN + V4 FIN RCV: all pass, the lifetime runs on; a SYN begins anew. */
    {TCP_V6_FIN_V4_FIN, V4, TCP_ACK, TCP_V6_FIN_V4_FIN, KEEP},
    {TCP_V6_FIN_V4_FIN, V6, TCP_FIN | TCP_ACK, TCP_V6_FIN_V4_FIN, KEEP},
    {TCP_V6_FIN_V4_FIN, V6, TCP_SYN, TCP_V6_INIT, OPENING},
    {TCP_V6_FIN_V4_FIN, V4, TCP_SYN, TCP_V4_INIT, OPENING},
    {TCP_V6_FIN_V4_FIN, V4, TCP_SYN | TCP_ACK, TCP_V6_FIN_V4_FIN, KEEP},
    {TCP_V6_FIN_V4_FIN, V6, TCP_SYN | TCP_RST, TCP_V6_FIN_V4_FIN, KEEP},
    {TCP_V6_FIN_V4_FIN, V4, TCP_RST, TCP_V6_FIN_V4_FIN, KEEP},
    /* TRANS: a RST changes nothing, anything else establishes again. */
    {TCP_TRANS, V4, TCP_RST, TCP_TRANS, KEEP},
    {TCP_TRANS, V6, TCP_RST | TCP_ACK, TCP_TRANS, KEEP},
    {TCP_TRANS, V6, TCP_ACK, TCP_ESTABLISHED, LONG},
    {TCP_TRANS, V4, TCP_FIN | TCP_ACK, TCP_ESTABLISHED, LONG},
};

/*
 * rfc: 6146-3.5.2.2-a, 6146-3.5.2.2-d, 6146-3.5.2.2-g, 6146-3.5.2.2-k, 6146-3.5.2.2-l, 6146-3.5.2.2-p
 * rfc: 6146-3.5.2.2-q, 6146-3.5.2.2-r, 6146-3.5.2.2-s, 6146-3.5.2.2-t, 6146-3.5.2.2-u, 6146-3.5.2.2-y
 * rfc: 6146-3.5.2.2-z, 6146-3.5.2.2-ac, 6146-3.5.2.2-ad, 6146-3.5.2.2-af, 6146-3.5.2.2-ag, 7857-2-a
 * rfc: 7857-2.2-b
 */
static void every_transition(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct tcp_step step = tcp_step(rows[i].from, rows[i].from_ipv6, rows[i].flags);
        if (step.state != rows[i].to || step.lifetime != rows[i].lifetime)
            fail_msg("row %zu: %s with flags %#x became %s, lifetime %d", i, tcp_state_names[rows[i].from],
                     rows[i].flags, tcp_state_names[step.state], (int)step.lifetime);
    }
}

static void every_state_has_a_name(void **state)
{
    (void)state;
    for (unsigned i = 0; i < TCP_STATE_COUNT; i++)
        assert_non_null(tcp_state_names[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_transition),
        cmocka_unit_test(every_state_has_a_name),
    };
    return cmocka_run_group_tests_name("tcp_state", tests, NULL, NULL);
}
