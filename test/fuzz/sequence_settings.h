/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The settings that a history goes through, each told by 16 bits, so that an input can begin with any of them
 * and go on to any other.
 */
#ifndef TEST_FUZZ_SEQUENCE_SETTINGS_H
#define TEST_FUZZ_SEQUENCE_SETTINGS_H

#include "test/fuzz/engine_fuzz.h"

enum {
    VARY_FILTERING = 1 << 0,        /* address-dependent */
    VARY_ONE_ADDRESS = 1 << 1,      /* in the pool, instead of two */
    VARY_FEW_PORTS = 1 << 2,        /* for dynamic bindings */
    VARY_SUBSCRIBER = 1 << 3,       /* few sessions for each */
    VARY_ONE_STATIC = 1 << 4,       /* binding, instead of one per transport */
    VARY_STATIC_PORT = 1 << 5,      /* another port outside */
    VARY_NO_SIIT = 1 << 6,          /* nothing stateless */
    VARY_HAIRPIN = 1 << 7,          /* simple instead of intrinsic */
    VARY_TIMEOUTS = 1 << 8,         /* short ones */
    VARY_PATHS = 1 << 9,            /* narrow ones */
    VARY_NO_CHECKSUM = 1 << 10,     /* UDP without one is dropped */
    VARY_TRAFFIC_CLASS = 1 << 11,   /* set, both ways */
    VARY_SESSIONS = 1 << 12,        /* few for the instance */
    VARY_SECOND_INSTANCE = 1 << 13, /* with the prefix 2001:db8:66::/96 and 192.0.2.3 */
    VARY_COUNTERS = 1 << 14,        /* of sessions */
    VARY_NO_FIRST = 1 << 15,        /* instance, if there is a second */

    VARIED_SESSIONS = 64, /* that a small table has room for */
};

/* One of them, with what it points to. */
struct varied {
    struct settings settings;
    struct pool_range pool[2];
    struct static_binding statics[3];
};

static inline void vary_instance(struct varied *varied, const struct fuzz_engine *fuzz, unsigned bits)
{
    struct nat64_settings *nat64 = &varied->settings.nat64[0];
    memcpy(varied->pool, fuzz->pool, sizeof(varied->pool));
    memcpy(varied->statics, fuzz->statics, sizeof(varied->statics));
    nat64->pool = varied->pool;
    nat64->statics = varied->statics;
    nat64->filtering =
        (bits & VARY_FILTERING) != 0 ? FILTERING_ADDRESS_DEPENDENT : FILTERING_ENDPOINT_INDEPENDENT;
    nat64->counters = (bits & VARY_COUNTERS) != 0;
    if ((bits & VARY_ONE_ADDRESS) != 0)
        varied->pool[0].count = 1;
    if ((bits & VARY_FEW_PORTS) != 0)
        varied->pool[0].high = 1007;
    if ((bits & VARY_SUBSCRIBER) != 0)
        nat64->sessions_per_subscriber = 6;
    if ((bits & VARY_ONE_STATIC) != 0)
        nat64->static_count = 1;
    for (unsigned i = 0; i < 3 && (bits & VARY_STATIC_PORT) != 0; i++)
        varied->statics[i].port4 = to_be16(4001);
    if ((bits & VARY_SESSIONS) != 0)
        nat64->sessions = 24;
    if ((bits & VARY_TIMEOUTS) != 0)
        nat64->timeouts = (struct nat64_timeouts){.udp = UDP_MINIMUM_SECONDS,
                                                  .icmp = 10,
                                                  .tcp_established = TCP_TRANSITORY_SECONDS + 60,
                                                  .tcp_transitory = TCP_TRANSITORY_SECONDS,
                                                  .tcp_syn = TCP_INCOMING_SYN_SECONDS,
                                                  .tcp_opening = 30,
                                                  .tcp_closing = 20,
                                                  .fragment = 2 * FRAGMENT_SECONDS};
}

static inline void vary_second_instance(struct varied *varied, bool alone)
{
    struct settings *settings = &varied->settings;
    struct nat64_settings second = settings->nat64[0];
    second.prefix.address.bytes[5] = 0x66;
    second.pool = &varied->pool[1];
    second.pool_count = 1;
    second.static_count = 0;
    varied->pool[1] = varied->pool[0];
    varied->pool[1].first = to_be32(0xc0000203u);
    varied->pool[1].count = 1;
    settings->nat64[alone ? 0 : 1] = second;
    settings->nat64_count = alone ? 1 : 2;
}

/* Writes the settings that the bits tell. */
static inline void vary(struct varied *varied, const struct fuzz_engine *fuzz, unsigned bits)
{
    struct translation_settings *translation = &varied->settings.translation;
    varied->settings = fuzz->settings;
    vary_instance(varied, fuzz, bits);
    if ((bits & VARY_SECOND_INSTANCE) != 0)
        vary_second_instance(varied, (bits & VARY_NO_FIRST) != 0);
    if ((bits & VARY_NO_SIIT) != 0)
        varied->settings.siit_count = 0;
    if ((bits & VARY_HAIRPIN) != 0)
        varied->settings.siit[0].hairpin = SIIT_HAIRPIN_SIMPLE;
    if ((bits & VARY_PATHS) != 0)
        translation->mtu6 = translation->mtu4 = 0;
    translation->amend_udp_checksum_zero = (bits & VARY_NO_CHECKSUM) == 0;
    translation->zeroize_traffic_class = (bits & VARY_TRAFFIC_CLASS) != 0;
    translation->tos = (bits & VARY_TRAFFIC_CLASS) != 0 ? 0x20 : -1;
}

/* What settings without MTUs of their own go by. */
static inline struct paths *vary_paths(bool narrow)
{
    static const struct path_route host = {
        .to = {.high = (uint64_t)0xcb007101u << 32}, .length = 32, .mtu = 68};
    struct path_routes six = {.otherwise = narrow ? 1280 : 1500};
    struct path_routes four = {.routes = &host, .count = narrow, .otherwise = 1400};
    struct paths *paths = paths_create(&six, &four);
    FUZZ_CHECK(paths != NULL);
    return paths;
}

#endif /* TEST_FUZZ_SEQUENCE_SETTINGS_H */
