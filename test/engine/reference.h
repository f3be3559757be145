/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The reference of test/engine/sessions_test.c: a small world of clients and remotes in three networks, and
 * plain arrays that say which sessions and bindings there should be.
 */
#ifndef TEST_ENGINE_REFERENCE_H
#define TEST_ENGINE_REFERENCE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/half_open.h"
#include "engine/tcp_state.h"
#include "engine/worker.h"
#include "test/engine/audit.h"

enum {
    SESSIONS = 64,
    WORKERS = 2,
    NETWORKS = 3,
    ENDPOINTS = 45,
    REMOTES = 8,
    ADDRESSES = 6,
    SUBSCRIBER_LIMIT = 16,
    BINDINGS = 160, /* no fewer than records in the largest table */
};

struct reference_session {
    bool present;
    uint8_t state;
    uint16_t generation;
    uint32_t record, expires;
    int binding;
};

struct reference_binding {
    bool present, is_static, closed;
    unsigned endpoint;
    be32 pool;
    uint16_t port;
    uint16_t generation;
    uint32_t lead, until;
};

/* The reference, and what it is compared with. */
static struct {
    struct reference_session session[ENDPOINTS][REMOTES];
    struct reference_binding binding[BINDINGS];
    uint8_t number[NETWORKS]; /* each network's instance */
    struct settings settings;
    struct pool_range pool[NETWORKS][2];
    struct static_binding statics[NETWORKS][BINDINGS];
    struct geometry geometry;
    struct table *table;
    struct engine *engine;
    struct random random;
    uint32_t tick;
    bool one_worker;
    unsigned long long made, joined, refused[MADE_INDEX_FULL + 1], exhausted, recovered, statics_made,
        converted, from4, kept_out, let_in;
} model;

static const uint32_t network_limit[NETWORKS] = {40, 30, 20};

static inline unsigned dice(unsigned sides)
{
    return (unsigned)(random_next(&model.random) % sides);
}

/* --- the small world ------------------------------------------------------------------------------ */

static inline unsigned network_of(unsigned endpoint)
{
    return endpoint % NETWORKS;
}

static inline uint8_t transport_of(unsigned endpoint)
{
    return (uint8_t)(endpoint / NETWORKS % TRANSPORT_COUNT);
}

/* Three subscribers a network, each with a /64. */
static inline unsigned subscriber_of(unsigned endpoint)
{
    return endpoint / 9 % 3;
}

/* Two remotes share an address, save for ICMP, which has no ports to tell them apart. */
static inline struct key6 key_of(unsigned endpoint, unsigned remote)
{
    bool query = transport_of(endpoint) == TRANSPORT_ICMP;
    struct key6 key = {.remote = to_be32(0xcb007100u + (query ? remote : remote / 2)),
                       .transport = transport_of(endpoint)};
    key.client.bytes[0] = 0x20;
    key.client.bytes[7] = (uint8_t)subscriber_of(endpoint);
    key.client.bytes[15] = (uint8_t)(endpoint % 5);
    key.client_port = to_be16((uint16_t)((endpoint % 4 == 0 ? 100 : 4000) + endpoint));
    key.remote_port = query ? 0 : to_be16((uint16_t)(53 + remote % 2));
    key.instance = model.number[network_of(endpoint)];
    return key;
}

static inline be32 pool_address(unsigned network, unsigned number)
{
    return to_be32(0xc0000200u + 16 * network + number);
}

static inline bool filters(unsigned network)
{
    return network != 2;
}

/* Of the five endpoints of a transport, network 0 has ports for four, on one address, network 1 as well, on
 * three, and network 2 for all. `less` takes ports and an address away. */
static inline void fill_settings(bool less)
{
    for (unsigned n = 0; n < NETWORKS; n++) {
        struct nat64_settings *nat64 = &model.settings.nat64[model.number[n]];
        struct pool_range *pool = model.pool[n];
        *nat64 = (struct nat64_settings){.prefix = {{{0x20, 0x01, 0x0d, 0xb8, (uint8_t)n}}, 96},
                                         .sessions = network_limit[n],
                                         .sessions_per_subscriber = SUBSCRIBER_LIMIT,
                                         .subscriber_prefix = 64,
                                         .filtering = filters(n) ? FILTERING_ADDRESS_DEPENDENT
                                                                 : FILTERING_ENDPOINT_INDEPENDENT,
                                         .pool = pool,
                                         .pool_count = n == 1 ? 2 : 1,
                                         .statics = model.statics[n],
                                         .timeouts = {1000, 1000, 1000, 1000, 6, 0, 0, 2}};
        pool[0] = (struct pool_range){.first = pool_address(n, 0), .count = 1, .transports = 7};
        pool[0].low = n == 1 ? 500 : 2000;
        pool[0].high = (uint16_t)(pool[0].low + (n == 0 ? 3 : n == 1 ? 1 : 63) - less);
        pool[1] = (struct pool_range){
            .first = pool_address(n, 1), .count = 2, .low = 3000, .high = 3000, .transports = 7};
        pool[1].count = less ? 1 : 2;
    }
    model.settings.nat64_count = NETWORKS;
}

static inline bool is_allowed(unsigned network, be32 pool, uint16_t port)
{
    const struct nat64_settings *nat64 = &model.settings.nat64[model.number[network]];
    for (uint32_t i = 0; i < nat64->pool_count; i++)
        for (uint32_t j = 0; j < nat64->pool[i].count; j++)
            if (to_be32(from_be32(nat64->pool[i].first) + j) == pool && port >= nat64->pool[i].low &&
                port <= nat64->pool[i].high)
                return true;
    return false;
}

/* --- the reference -------------------------------------------------------------------------------- */

static inline unsigned sessions_of_network(unsigned network)
{
    unsigned n = 0;
    for (unsigned e = network; e < ENDPOINTS; e += NETWORKS)
        for (unsigned r = 0; r < REMOTES; r++)
            n += model.session[e][r].present;
    return n;
}

static inline unsigned sessions_of_subscriber(unsigned network, unsigned subscriber)
{
    unsigned n = 0;
    for (unsigned e = network; e < ENDPOINTS; e += NETWORKS)
        for (unsigned r = 0; r < REMOTES && subscriber_of(e) == subscriber; r++)
            n += model.session[e][r].present;
    return n;
}

static inline bool leads_its_session(const struct reference_binding *binding)
{
    for (unsigned r = 0; r < REMOTES; r++) {
        const struct reference_session *session = &model.session[binding->endpoint][r];
        if (session->present && session->record == binding->lead)
            return true;
    }
    return false;
}

static inline unsigned records_in_use(void)
{
    unsigned n = 0;
    for (unsigned i = 0; i < NETWORKS; i++)
        n += sessions_of_network(i);
    for (unsigned b = 0; b < BINDINGS; b++)
        n += model.binding[b].present && !leads_its_session(&model.binding[b]);
    return n;
}

static inline bool has_live_session(int b)
{
    for (unsigned r = 0; r < REMOTES; r++) {
        const struct reference_session *session = &model.session[model.binding[b].endpoint][r];
        if (session->present && session->binding == b && session->expires >= model.tick)
            return true;
    }
    return false;
}

/* Has the binding a session with the address of this remote? */
static inline bool is_permitted(int b, unsigned remote)
{
    unsigned endpoint = model.binding[b].endpoint;
    be32 address = key_of(endpoint, remote).remote;
    for (unsigned r = 0; r < REMOTES; r++) {
        const struct reference_session *session = &model.session[endpoint][r];
        if (session->present && session->binding == b && session->expires >= model.tick &&
            key_of(endpoint, r).remote == address)
            return true;
    }
    return false;
}

static inline unsigned half_open_sessions(void)
{
    unsigned n = 0;
    for (unsigned e = 0; e < ENDPOINTS; e++)
        for (unsigned r = 0; r < REMOTES; r++)
            n += model.session[e][r].present && state_is_half_open(model.session[e][r].state);
    return n;
}

static inline bool must_be_alive(int b)
{
    return !model.binding[b].closed && (model.binding[b].is_static || has_live_session(b));
}

static inline bool may_be_alive(int b)
{
    return !model.binding[b].closed && (must_be_alive(b) || model.binding[b].until >= model.tick);
}

/* The binding that an endpoint's new sessions join; there must not be two. */
static inline int open_binding(unsigned endpoint)
{
    int found = -1;
    for (int b = 0; b < BINDINGS; b++) {
        const struct reference_binding *binding = &model.binding[b];
        if (!binding->present || binding->closed || binding->endpoint != endpoint)
            continue;
        assert_int_equal(found, -1);
        found = b;
    }
    return found;
}

static inline int holder_of(unsigned network, uint8_t transport, be32 pool, uint16_t port)
{
    for (int b = 0; b < BINDINGS; b++) {
        const struct reference_binding *binding = &model.binding[b];
        if (binding->present && binding->pool == pool && binding->port == port &&
            network_of(binding->endpoint) == network && transport_of(binding->endpoint) == transport)
            return b;
    }
    return -1;
}

static inline bool a_port_is_free(unsigned network, uint8_t transport)
{
    const struct nat64_settings *nat64 = &model.settings.nat64[model.number[network]];
    for (uint32_t i = 0; i < nat64->pool_count; i++)
        for (uint32_t j = 0; j < nat64->pool[i].count; j++)
            for (uint16_t port = nat64->pool[i].low; port <= nat64->pool[i].high; port++)
                if (holder_of(network, transport, to_be32(from_be32(nat64->pool[i].first) + j), port) < 0)
                    return true;
    return false;
}

static inline void drop_session(unsigned endpoint, unsigned remote)
{
    struct reference_session *session = &model.session[endpoint][remote];
    int b = session->binding;
    session->present = false;
    for (unsigned r = 0; r < REMOTES; r++)
        if (model.session[endpoint][r].present && model.session[endpoint][r].binding == b)
            return;
    if (!model.binding[b].is_static)
        model.binding[b].present = false;
}

/* Expired sessions may have gone, and bindings without live ones may have been closed. */
static inline void follow_what_was_free_to_go(unsigned endpoint)
{
    for (unsigned r = 0; r < REMOTES; r++) {
        const struct reference_session *session = &model.session[endpoint][r];
        uint64_t life = record_at(model.table, session->record)->life;
        if (session->present && session->expires < model.tick &&
            (life_phase(life) != PHASE_LIVE || life_generation(life) != session->generation))
            drop_session(endpoint, r);
    }
    int b = open_binding(endpoint);
    if (b >= 0 && !must_be_alive(b))
        model.binding[b].closed = (record_at(model.table, model.binding[b].lead)->users & USERS_CLOSING) != 0;
}

static inline int add_binding(unsigned endpoint, const struct found *made, bool is_static)
{
    int b = 0;
    while (model.binding[b].present)
        b++;
    assert_true(b < BINDINGS);
    assert_int_equal(open_binding(endpoint), -1);
    const struct record *copy = &made->copy;
    model.binding[b] = (struct reference_binding){.present = true,
                                                  .is_static = is_static,
                                                  .endpoint = endpoint,
                                                  .pool = copy->pool,
                                                  .port = from_be16(copy->pool_port),
                                                  .lead = made->index,
                                                  .generation = life_generation(copy->life)};
    return b;
}

#endif /* TEST_ENGINE_REFERENCE_H */
