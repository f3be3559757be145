/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the engine is told to do: plain data, filled by the control plane and by tests, constant while
 * the engine uses it. Times are seconds, lengths bytes, ports host byte order.
 */
#ifndef ENGINE_SETTINGS_H
#define ENGINE_SETTINGS_H

#include "engine/eam.h"
#include "engine/limits.h"
#include "wire/ipv6.h"
#include "wire/rfc6052.h"

/* The three kinds of binding tables (RFC 6146 section 3.1); protocol numbers are mapped onto them. */
enum transport {
    TRANSPORT_TCP,
    TRANSPORT_UDP,
    TRANSPORT_ICMP,
    TRANSPORT_COUNT,
};

/*
 * IPv4 addresses first..first+count-1 and, for the given protocols, their ports low..high. Where an interface
 * is named the address is the host's own on that interface, at the moment, and is shared with it: whatever is
 * for a port that nobody has a binding with is the host's. While the interface has none, `count` is 0.
 */
struct pool_range {
    be32 first;
    uint32_t count;
    uint16_t low, high;
    uint8_t transports; /* bit 1 << enum transport */
    char interface[INTERFACE_NAME_SIZE];
};

/* A binding that always exists (RFC 6146 section 3.1: static BIB entry). */
struct static_binding {
    struct ipv6_address ipv6;
    be32 ipv4; /* an address of one of the instance's pool ranges */
    be16 port6, port4;
    uint8_t transport;
};

/* From whom on the IPv4 side a binding takes packets. */
enum filtering {
    FILTERING_ENDPOINT_INDEPENDENT, /* from everybody, RFC 4787 REQ-8 */
    FILTERING_ADDRESS_DEPENDENT,    /* from addresses that it has a session with, whatever the port */
};

struct nat64_timeouts {
    uint32_t udp, icmp;
    uint32_t tcp_established; /* TCP_EST plus TCP_TRANS, RFC 6146 section 4 */
    uint32_t tcp_transitory;
    uint32_t tcp_syn; /* TCP_INCOMING_SYN: how long a SYN from outside waits for the client's */
    uint32_t tcp_opening, tcp_closing; /* RFC 7857 section 2.1; 0: tcp_transitory */
    uint32_t fragment; /* how long a datagram's fragments may be apart, at least FRAGMENT_MIN */
};

struct nat64_settings {
    char name[INSTANCE_NAME_SIZE];
    struct rfc6052_prefix prefix;
    struct ipv6_address address6; /* sources of ICMP errors made here; all zero: none are made */
    be32 address4;
    bool translate_non_global;
    uint8_t filtering;                /* enum filtering */
    uint32_t sessions;                /* limit */
    uint32_t sessions_per_subscriber; /* limit, up to SUBSCRIBER_SESSIONS_MAXIMUM; 0: none */
    uint8_t subscriber_prefix;        /* bits of a client's address that tell subscribers apart, 1 to 128 */
    bool counters; /* count packets and bytes of each session; the geometry must say so too */
    uint32_t pool_count, static_count;
    struct pool_range *pool;
    struct static_binding *statics;
    struct nat64_timeouts timeouts;
};

struct path_table; /* engine/paths.h */

struct translation_settings {
    bool zeroize_traffic_class;   /* IPv4 to IPv6: traffic class 0 instead of the TOS */
    int tos;                      /* IPv6 to IPv4: the TOS to set; -1: copy the traffic class */
    bool amend_udp_checksum_zero; /* compute a missing UDP checksum; else drop */
    bool mss_clamp;
    uint32_t icmp_errors_per_second;
    uint32_t lowest_ipv6_mtu; /* to which IPv4 packets without DF are fragmented; below 1280: 1280 */
    /* In all: fragments held in nat64, which is also how many datagrams are remembered, and bytes of them; 0:
     * the default. What engine_create finds here holds until the engine ends. */
    uint32_t fragment_packets, fragment_memory;
    uint32_t mtu6, mtu4; /* of all paths on either side; 0: as the table of paths says */
    /* Set by the worker alone: the paths of either side, of which mtu6 and mtu4 are the least then; NULL: all
     * have that. */
    const struct path_table *paths6, *paths4;
};

/* What becomes of traffic between two IPv6 hosts that know each other by IPv4 (RFC 7757 section 4). */
enum siit_hairpin {
    SIIT_HAIRPIN_INTRINSIC, /* turned round within the translator */
    SIIT_HAIRPIN_SIMPLE,    /* leaves as IPv4, and is right when routes bring it back */
    SIIT_HAIRPIN_OFF,
};

struct siit_settings {
    char name[INSTANCE_NAME_SIZE];
    struct rfc6052_prefix prefix; /* for addresses that no mapping covers; length 0: there is none */
    struct ipv6_address address6; /* sources of ICMP errors made here; all zero: none are made */
    be32 address4;
    const struct eam_table *eam; /* may be NULL */
    uint8_t hairpin;             /* enum siit_hairpin */
    bool translate_non_global;
    struct pool_range
        icmp_source; /* addresses for errors of hops that have no IPv4 (RFC 6791); count 0: none */
};

struct settings {
    struct translation_settings translation;
    uint32_t nat64_count;
    struct nat64_settings nat64[NAT64_INSTANCES_MAXIMUM];
    uint32_t siit_count;
    struct siit_settings siit[SIIT_INSTANCES_MAXIMUM];
};

#endif /* ENGINE_SETTINGS_H */
