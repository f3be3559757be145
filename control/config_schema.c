/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The table of keys. A row says all there is to say about a key; to add one is to add a row, its entry in
 * isthmus.yaml(5), and the code that obeys it. Rows stand in the order in which they are printed.
 *
 * A key's parent is found by its path. A row of type VALUE_REFUSED is known only to be refused with its
 * help as the reason; with =WORD behind the path it is about one value of a key.
 */
#include "control/config_schema.h"

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "dns64/advertisement.h"
#include "dns64/advertiser.h"

static const char *const plane_types[] = {
    [PLANE_AUTO] = "auto", [PLANE_TUN] = "tun", [PLANE_BPF] = "bpf", NULL};
static const char *const forwards[] = {[FORWARD_DIRECT] = "direct", [FORWARD_STACK] = "stack", NULL};
static const char *const booleans[] = {"false", "true", NULL};
static const char *const hairpins[] = {[SIIT_HAIRPIN_INTRINSIC] = "intrinsic",
                                       [SIIT_HAIRPIN_SIMPLE] = "simple",
                                       [SIIT_HAIRPIN_OFF] = "off",
                                       NULL};
static const char *const filterings[] = {"endpoint-independent", "address-dependent",
                                         NULL}; /* enum filtering */
static const char *const non_global[] = {"refuse", "translate", NULL};
static const char *const transports[] = {
    [TRANSPORT_TCP] = "tcp", [TRANSPORT_UDP] = "udp", [TRANSPORT_ICMP] = "icmp", NULL};
static const char *const validation[] = {"off", "validate", NULL};
static_assert(sizeof(transports) / sizeof(transports[0]) == TRANSPORT_COUNT + 1, "each transport has a name");

#define SIZE_OF(type, member) sizeof(((type *)0)->member)
#define IN_CONFIG(member)     .home = HOME_CONFIG, .offset = offsetof(struct config, member)
#define IN_NAT64(member)      .home = HOME_ENTRY, .offset = offsetof(struct nat64_settings, member)
#define IN_POOL(member)       .home = HOME_ENTRY, .offset = offsetof(struct pool_range, member)
#define IN_SIIT(member)       .home = HOME_ENTRY, .offset = offsetof(struct config_siit, member)
#define IN_STATIC(member)     .home = HOME_ENTRY, .offset = offsetof(struct static_binding, member)
#define IN_DNS64(member)      .home = HOME_DNS64, .offset = offsetof(struct config_dns64, member)
#define DNS64_COUNT(member)   .count_offset = offsetof(struct config_dns64, member)
#define IN_PREFIX(member)     .home = HOME_ENTRY, .offset = offsetof(struct rules_prefix, member)
#define IN_RA(member)         .home = HOME_ENTRY, .offset = offsetof(struct config_ra, member)
#define GROUP                 .rule = {.type = VALUE_GROUP}
#define NUMBER(lowest, highest)                                                                              \
    .rule = {.type = VALUE_NUMBER, .low = (lowest), .high = (highest), .size = sizeof(uint32_t)}
#define NUMBER_OR_NULL(lowest, highest, nothing)                                                             \
    .rule = {.type = VALUE_NUMBER,                                                                           \
             .low = (lowest),                                                                                \
             .high = (highest),                                                                              \
             .size = sizeof(uint32_t),                                                                       \
             .nullable = true,                                                                               \
             .null = (nothing)}
#define BOOLEAN .rule = {.type = VALUE_WORD, .words = booleans, .size = sizeof(bool)}
#define DURATION(lowest, clause)                                                                             \
    .rule = {.type = VALUE_DURATION, .low = (lowest), .high = DURATION_MAXIMUM, .why = (clause)}
#define BYTES(lowest, highest) .rule = {.type = VALUE_SIZE, .low = (lowest), .high = (highest)}
#define DURATION_OR_NULL(lowest)                                                                             \
    .rule = {.type = VALUE_DURATION,                                                                         \
             .low = (lowest),                                                                                \
             .high = DURATION_MAXIMUM,                                                                       \
             .size = sizeof(uint32_t),                                                                       \
             .nullable = true}

#define SCALARS(each, entry, lowest, highest)                                                                \
    .rule = {                                                                                                \
        .type = VALUE_SCALARS, .low = (lowest), .high = (highest), .size = sizeof(entry), .item = &(each)}

enum {
    DURATION_MAXIMUM = LIFETIME_MAXIMUM,
    TCP_MINIMUM_SECONDS = 10,  /* our own: laboratories want to see sessions end */
    ICMP_MINIMUM_SECONDS = 60, /* RFC 5508 REQ-2 */
    MTU_MAXIMUM = 65535,
    IPV4_MINIMUM_MTU = 68,         /* RFC 791 section 3.2 */
    FRAGMENT_PACKETS_MINIMUM = 64, /* one long datagram for one worker */
    FRAGMENT_PACKETS_MAXIMUM = 1 << 20,
    FRAGMENT_MEMORY_MINIMUM = 128 << 10,
    FRAGMENT_MEMORY_MAXIMUM = 1 << 30,
    POOL_ENTRIES_MAXIMUM = 1024,
    EAM_ENTRIES_MAXIMUM = 65536,     /* more belong in a file of their own */
    STATIC_ENTRIES_MAXIMUM = 4096,   /* a new binding goes through them all */
    SUBSCRIBER_PREFIX_SHORTEST = 32, /* with fewer bits whole providers would be one subscriber */
    CACHE_ENTRIES_MAXIMUM = 10000000,
    NEGATIVE_TTL_MAXIMUM = 86400, /* RFC 2308 section 5: more than a day is too long */
    CLIENT_RATE_MAXIMUM = 1000000,
    CONNECTIONS_MAXIMUM = 100000,
    CONNECTION_IDLE_MAXIMUM = 3600,
};

static const struct value_rule interface = {.type = VALUE_NAME, .size = IFNAMSIZ};

/* Entries of the lists of dns64. */
static const struct value_rule listened = {.type = VALUE_LISTEN};
static const struct value_rule upstream = {.type = VALUE_UPSTREAM};
static const struct value_rule network = {.type = VALUE_NETWORK};
static const struct value_rule network6 = {.type = VALUE_NETWORK6};
static const struct value_rule network4 = {.type = VALUE_NETWORK4};
static const struct value_rule domain = {.type = VALUE_DOMAIN};

const struct config_key config_root = {.path = "", GROUP, .help = "the whole file"};

/*
 * rfc: 7757-4.2-b, 8781-4.1-e
 * rfc: 6146-3-a, 6146-3-b, 6146-3.5.1-c, 6146-3.5.1-d, 6146-3.5.2.2-h, 6146-3.5.2.2-i, 6146-3.5.3-c
 * rfc: 6146-3.5.4-e, 6146-3.4-i, 6146-3.4-j, 6146-4-a, 5382-REQ5-b, 5508-REQ2-a, 7857-2.1-a
 */
const struct config_key config_keys[] = {
    {.path = "plane", GROUP, .help = "how packets come in and go out"},
    {.path = "plane.type",
     .rule = {.type = VALUE_WORD, .words = plane_types, .size = SIZE_OF(struct config, plane.type)},
     IN_CONFIG(plane.type),
     .fallback = "auto",
     .help = "bpf: in the kernel; tun: in threads; auto: bpf where it can be had"},
    {.path = "plane.name",
     .rule = {.type = VALUE_NAME, .size = SIZE_OF(struct config, plane.name)},
     IN_CONFIG(plane.name),
     .fallback = "isthmus0",
     .help = "the TUN device; also names the state under /run/isthmus"},
    {.path = "plane.workers",
     NUMBER_OR_NULL(1, WORKERS_MAXIMUM, 0),
     IN_CONFIG(plane.workers),
     .fallback = "null",
     .help = "threads that translate; null: one for each CPU"},
    {.path = "plane.mtu", GROUP, .help = "the MTU of the networks on either side"},
    {.path = "plane.mtu.ipv6",
     NUMBER_OR_NULL(IPV6_MINIMUM_MTU, MTU_MAXIMUM, 0),
     IN_CONFIG(plane.mtu6),
     .fallback = "null",
     .help = "bytes, for all destinations; null: of each as its route says"},
    {.path = "plane.mtu.ipv4",
     NUMBER_OR_NULL(IPV4_MINIMUM_MTU, MTU_MAXIMUM, 0),
     IN_CONFIG(plane.mtu4),
     .fallback = "null",
     .help = "bytes, for all destinations; null: of each as its route says"},
    {.path = "plane.routes",
     BOOLEAN,
     IN_CONFIG(plane.routes),
     .fallback = "true",
     .help = "add routes for prefixes and pools to the device"},
    {.path = "plane.interfaces",
     .rule = {.type = VALUE_SCALARS,
              .nullable = true,
              .low = 1,
              .high = PLANE_INTERFACES_MAXIMUM,
              .size = IFNAMSIZ,
              .item = &interface},
     IN_CONFIG(plane.interfaces),
     .count_offset = offsetof(struct config, plane.interface_count),
     .live = true,
     .fallback = "null",
     .help = "bpf: where packets are taken; null: all that are up, but loopback, ours, and ports of bridges "
             "or bonds"},
    {.path = "plane.forward",
     .rule = {.type = VALUE_WORD, .words = forwards, .size = SIZE_OF(struct config, plane.forward)},
     IN_CONFIG(plane.forward),
     .live = true,
     .fallback = "direct",
     .help = "bpf: translated packets go to the neighbour, or through the kernel's routing and firewall"},
    {.path = "plane.pins",
     .rule = {.type = VALUE_PATH, .size = SIZE_OF(struct config, plane.pins)},
     IN_CONFIG(plane.pins),
     .fallback = "/sys/fs/bpf/isthmus",
     .help = "bpf: the directory, in a bpffs, for what outlives the daemon; plane.name is appended"},

    {.path = "nat64",
     .rule = {.type = VALUE_LIST, .high = NAT64_INSTANCES_MAXIMUM, .size = sizeof(struct nat64_settings)},
     IN_CONFIG(settings.nat64),
     .count_offset = offsetof(struct config, settings.nat64_count),
     .live = true,
     .fallback = "[]",
     .help = "translators, each with a prefix and a pool"},
    {.path = "nat64[].name",
     .rule = {.type = VALUE_NAME, .size = SIZE_OF(struct nat64_settings, name)},
     IN_NAT64(name),
     .fallback = "main",
     .help = "tells several entries apart"},
    {.path = "nat64[].prefix",
     .rule = {.type = VALUE_PREFIX, .size = sizeof(struct rfc6052_prefix)},
     IN_NAT64(prefix),
     .help = "the IPv6 prefix behind which IPv4 addresses stand"},
    {.path = "nat64[].address", GROUP, .help = "sources of the ICMP errors that isthmus makes itself"},
    {.path = "nat64[].address.ipv6",
     .rule = {.type = VALUE_IPV6, .nullable = true, .size = sizeof(struct ipv6_address)},
     IN_NAT64(address6),
     .fallback = "null",
     .help = "null: an address of the egress interface"},
    {.path = "nat64[].address.ipv4",
     .rule = {.type = VALUE_IPV4, .nullable = true, .size = sizeof(be32)},
     IN_NAT64(address4),
     .fallback = "null",
     .help = "null: an address of the egress interface"},
    {.path = "nat64[].pool",
     .rule = {.type = VALUE_LIST, .low = 1, .high = POOL_ENTRIES_MAXIMUM, .size = sizeof(struct pool_range)},
     IN_NAT64(pool),
     .count_offset = offsetof(struct nat64_settings, pool_count),
     .allocated = true,
     .help = "IPv4 addresses and ports that stand for the IPv6 side"},
    {.path = "nat64[].pool[].address",
     .rule = {.type = VALUE_BLOCK, .nullable = true, .size = POOL_BLOCK_SIZE},
     .home = HOME_ENTRY,
     .fallback = "null",
     .tacit = true,
     .help = "an address or a block of addresses"},
    {.path = "nat64[].pool[].interface",
     .rule = {.type = VALUE_NAME, .nullable = true, .size = SIZE_OF(struct pool_range, interface)},
     IN_POOL(interface),
     .fallback = "null",
     .tacit = true,
     .help = "in its place: the machine's own address on this interface, shared with it"},
    {.path = "nat64[].pool[].ports",
     .rule = {.type = VALUE_PORTS},
     .home = HOME_ENTRY,
     .fallback = "1024-65535",
     .help = "ports, and identifiers of ICMP queries, to choose from"},
    {.path = "nat64[].pool[].protocols",
     .rule = {.type = VALUE_WORDS, .words = transports},
     IN_POOL(transports),
     .fallback = "[tcp, udp, icmp]",
     .help = "protocols that may use the entry"},
    {.path = "nat64[].static",
     .rule = {.type = VALUE_LIST, .high = STATIC_ENTRIES_MAXIMUM, .size = sizeof(struct static_binding)},
     IN_NAT64(statics),
     .count_offset = offsetof(struct nat64_settings, static_count),
     .allocated = true,
     .fallback = "[]",
     .help = "bindings that always exist"},
    {.path = "nat64[].static[].protocol",
     .rule = {.type = VALUE_WORD, .words = transports, .size = SIZE_OF(struct static_binding, transport)},
     IN_STATIC(transport),
     .help = "the protocol that the binding is for"},
    {.path = "nat64[].static[].ipv6",
     .rule = {.type = VALUE_ENDPOINT6},
     .home = HOME_ENTRY,
     .help = "the host on the IPv6 side and its port"},
    {.path = "nat64[].static[].ipv4",
     .rule = {.type = VALUE_ENDPOINT4},
     .home = HOME_ENTRY,
     .help = "any port of a pool address, inside or outside of ports"},
    {.path = "nat64[].filtering",
     .rule = {.type = VALUE_WORD, .words = filterings, .size = SIZE_OF(struct nat64_settings, filtering)},
     IN_NAT64(filtering),
     .fallback = "endpoint-independent",
     .help = "from whom outside a client's port takes packets"},
    {.path = "nat64[].non-global",
     .rule = {.type = VALUE_WORD, .words = non_global, .size = sizeof(bool)},
     IN_NAT64(translate_non_global),
     .fallback = "refuse",
     .help = "IPv4 addresses that may not stand behind 64:ff9b::/96"},
    {.path = "nat64[].timeouts", GROUP, .help = "how long an idle session lives"},
    {.path = "nat64[].timeouts.udp",
     DURATION(UDP_MINIMUM_SECONDS, "RFC 6146 section 3.5.1 forbids less"),
     IN_NAT64(timeouts.udp),
     .fallback = "5m",
     .help = "of UDP"},
    {.path = "nat64[].timeouts.icmp",
     DURATION(ICMP_MINIMUM_SECONDS, "RFC 5508 REQ-2 forbids less"),
     IN_NAT64(timeouts.icmp),
     .fallback = "60s",
     .help = "of ICMP queries"},
    {.path = "nat64[].timeouts.tcp-established",
     DURATION(TCP_MINIMUM_SECONDS, NULL),
     IN_NAT64(timeouts.tcp_established),
     .fallback = "2h4m",
     .help = "of open TCP connections"},
    {.path = "nat64[].timeouts.tcp-transitory",
     DURATION(TCP_MINIMUM_SECONDS, NULL),
     IN_NAT64(timeouts.tcp_transitory),
     .fallback = "4m",
     .help = "of TCP connections that are opening, closing or reset"},
    {.path = "nat64[].timeouts.tcp-opening",
     DURATION_OR_NULL(TCP_MINIMUM_SECONDS),
     IN_NAT64(timeouts.tcp_opening),
     .live = true,
     .fallback = "null",
     .help = "of those that are opening; null: tcp-transitory"},
    {.path = "nat64[].timeouts.tcp-closing",
     DURATION_OR_NULL(TCP_MINIMUM_SECONDS),
     IN_NAT64(timeouts.tcp_closing),
     .live = true,
     .fallback = "null",
     .help = "of those that both sides have closed; null: tcp-transitory"},
    {.path = "nat64[].timeouts.tcp-syn",
     DURATION(TCP_INCOMING_SYN_SECONDS, "RFC 5382 REQ-4 forbids less"),
     IN_NAT64(timeouts.tcp_syn),
     .fallback = "6s",
     .help = "how long a SYN from outside that may not pass waits for the client's"},
    {.path = "nat64[].timeouts.fragment",
     DURATION(FRAGMENT_SECONDS, "RFC 6146 section 3.4 forbids less"),
     IN_NAT64(timeouts.fragment),
     .live = true,
     .fallback = "2s",
     .help = "how long fragments wait for others of their datagram"},
    {.path = "nat64[].limits", GROUP, .help = "how much room there is, and for whom"},
    {.path = "nat64[].limits.sessions",
     NUMBER(TABLE_SESSIONS_MINIMUM, TABLE_SESSIONS_MAXIMUM),
     IN_NAT64(sessions),
     .fallback = "262144",
     .help = "sessions at the same time"},
    {.path = "nat64[].limits.addresses",
     NUMBER(1, TABLE_ADDRESSES_MAXIMUM),
     .home = HOME_PARALLEL,
     .offset = offsetof(struct config, nat64_addresses),
     .fallback = "64",
     .help = "addresses that the pool may have"},
    {.path = "nat64[].limits.subscriber-prefix",
     .rule = {.type = VALUE_NUMBER,
              .low = SUBSCRIBER_PREFIX_SHORTEST,
              .high = 128,
              .size = SIZE_OF(struct nat64_settings, subscriber_prefix)},
     IN_NAT64(subscriber_prefix),
     .fallback = "64",
     .help = "clients whose addresses agree in so many bits are one subscriber"},
    {.path = "nat64[].limits.sessions-per-subscriber",
     NUMBER(0, SUBSCRIBER_SESSIONS_MAXIMUM),
     IN_NAT64(sessions_per_subscriber),
     .fallback = "32768",
     .help = "sessions that one subscriber may have at the same time; 0: as many as there are"},
    {.path = "nat64[].counters",
     BOOLEAN,
     IN_NAT64(counters),
     .fallback = "false",
     .help = "count packets and bytes of each session"},

    {.path = "siit",
     .rule = {.type = VALUE_LIST, .high = SIIT_INSTANCES_MAXIMUM, .size = sizeof(struct config_siit)},
     IN_CONFIG(siit),
     .count_offset = offsetof(struct config, siit_count),
     .live = true,
     .fallback = "[]",
     .help = "stateless translators, each with a prefix, mappings, or both"},
    {.path = "siit[].name",
     .rule = {.type = VALUE_NAME, .size = SIZE_OF(struct siit_settings, name)},
     IN_SIIT(settings.name),
     .fallback = "siit",
     .help = "tells several entries apart"},
    {.path = "siit[].prefix",
     .rule = {.type = VALUE_PREFIX, .nullable = true, .size = sizeof(struct rfc6052_prefix)},
     IN_SIIT(settings.prefix),
     .fallback = "null",
     .help = "for addresses that no mapping covers; null: those are not translated"},
    {.path = "siit[].address", GROUP, .help = "sources of the ICMP errors that isthmus makes itself"},
    {.path = "siit[].address.ipv6",
     .rule = {.type = VALUE_IPV6, .nullable = true, .size = sizeof(struct ipv6_address)},
     IN_SIIT(settings.address6),
     .fallback = "null",
     .help = "null: an address of the egress interface"},
    {.path = "siit[].address.ipv4",
     .rule = {.type = VALUE_IPV4, .nullable = true, .size = sizeof(be32)},
     IN_SIIT(settings.address4),
     .fallback = "null",
     .help = "null: an address of the egress interface"},
    {.path = "siit[].eam",
     .rule = {.type = VALUE_LIST, .high = EAM_ENTRIES_MAXIMUM, .size = sizeof(struct eam)},
     IN_SIIT(eam),
     .count_offset = offsetof(struct config_siit, eam_count),
     .allocated = true,
     .fallback = "[]",
     .help = "explicit address mappings"},
    {.path = "siit[].eam[].ipv6",
     .rule = {.type = VALUE_MAPPED6},
     .home = HOME_ENTRY,
     .help = "an address or prefix of the IPv6 side"},
    {.path = "siit[].eam[].ipv4",
     .rule = {.type = VALUE_MAPPED4},
     .home = HOME_ENTRY,
     .help = "the address or prefix that it is on the IPv4 side"},
    {.path = "siit[].eam-file",
     .rule = {.type = VALUE_PATH, .nullable = true, .size = SIZE_OF(struct config_siit, eam_file)},
     IN_SIIT(eam_file),
     .fallback = "null",
     .help = "a file of more mappings, one a line: IPv4, IPv6"},
    {.path = "siit[].hairpin",
     .rule = {.type = VALUE_WORD, .words = hairpins, .size = SIZE_OF(struct siit_settings, hairpin)},
     IN_SIIT(settings.hairpin),
     .fallback = "intrinsic",
     .help = "traffic between two hosts that both have mappings"},
    {.path = "siit[].icmp-source-ipv4",
     .rule = {.type = VALUE_BLOCK, .nullable = true, .size = sizeof(struct pool_range)},
     IN_SIIT(settings.icmp_source),
     .fallback = "null",
     .help = "sources of ICMP errors of IPv6 routers without IPv4; null: address.ipv4"},
    {.path = "siit[].non-global",
     .rule = {.type = VALUE_WORD, .words = non_global, .size = sizeof(bool)},
     IN_SIIT(settings.translate_non_global),
     .fallback = "refuse",
     .help = "IPv4 addresses that may not stand behind 64:ff9b::/96"},

    {.path = "translation", GROUP, .help = "what RFC 7915 leaves to the operator"},
    {.path = "translation.zeroize-traffic-class",
     BOOLEAN,
     IN_CONFIG(settings.translation.zeroize_traffic_class),
     .live = true,
     .fallback = "false",
     .help = "IPv4 to IPv6: traffic class 0 in place of the TOS"},
    {.path = "translation.tos",
     NUMBER_OR_NULL(0, 255, -1),
     IN_CONFIG(settings.translation.tos),
     .live = true,
     .fallback = "null",
     .help = "IPv6 to IPv4: the TOS to set; null: copy the traffic class"},
    {.path = "translation.amend-udp-checksum-zero",
     BOOLEAN,
     IN_CONFIG(settings.translation.amend_udp_checksum_zero),
     .live = true,
     .fallback = "true",
     .help = "compute the checksum that UDP over IPv4 may leave out; false: drop"},
    {.path = "translation.lowest-ipv6-mtu",
     NUMBER(IPV6_MINIMUM_MTU, MTU_MAXIMUM),
     IN_CONFIG(settings.translation.lowest_ipv6_mtu),
     .live = true,
     .fallback = "1280",
     .help = "IPv4 packets without DF that would be longer in IPv6 are fragmented to this"},
    {.path = "translation.mss-clamp",
     BOOLEAN,
     IN_CONFIG(settings.translation.mss_clamp),
     .live = true,
     .fallback = "true",
     .help = "lower the MSS of TCP SYNs to what fits after translation"},
    {.path = "translation.icmp-errors-per-second",
     NUMBER(0, 1000000),
     IN_CONFIG(settings.translation.icmp_errors_per_second),
     .live = true,
     .fallback = "1000",
     .help = "that isthmus makes itself, in all; 0: none"},

    {.path = "translation.fragments",
     GROUP,
     .help = "room for fragments that wait for others in nat64, in all"},
    {.path = "translation.fragments.packets",
     NUMBER(FRAGMENT_PACKETS_MINIMUM, FRAGMENT_PACKETS_MAXIMUM),
     IN_CONFIG(settings.translation.fragment_packets),
     .fallback = "4096",
     .help = "fragments held, and datagrams remembered"},
    {.path = "translation.fragments.memory",
     BYTES(FRAGMENT_MEMORY_MINIMUM, FRAGMENT_MEMORY_MAXIMUM),
     IN_CONFIG(settings.translation.fragment_memory),
     .fallback = "16MiB",
     .help = "of fragments held"},

    {.path = "dns64",
     .rule = {.type = VALUE_GROUP, .nullable = true, .size = sizeof(struct config_dns64)},
     IN_CONFIG(dns64),
     .allocated = true,
     .fallback = "null",
     .help = "the name service; null: none"},
    {.path = "dns64.listen",
     SCALARS(listened, struct config_endpoint, 1, DNS64_LISTENS_MAXIMUM),
     IN_DNS64(listen),
     DNS64_COUNT(listen_count),
     .fallback = "[\"[::1]:53\"]",
     .help = "addresses and ports at which queries are answered"},
    {.path = "dns64.upstream",
     SCALARS(upstream, struct config_upstream, 0, DNS64_UPSTREAMS_MAXIMUM),
     IN_DNS64(upstream),
     DNS64_COUNT(upstream_count),
     .fallback = "[]",
     .help = "resolvers to ask; without any names are resolved from the root"},
    {.path = "dns64.dnssec",
     .rule = {.type = VALUE_WORD, .words = validation, .size = SIZE_OF(struct config_dns64, validate)},
     IN_DNS64(validate),
     .fallback = "validate",
     .help = "whether signatures are checked"},
    {.path = "dns64.trust-anchors",
     .rule = {.type = VALUE_PATH, .nullable = true, .size = SIZE_OF(struct config_dns64, trust_anchors)},
     IN_DNS64(trust_anchors),
     .fallback = "null",
     .help = "the file of keys that signatures are checked against; null: the distribution's"},
    {.path = "dns64.prefixes",
     .rule = {.type = VALUE_LIST, .high = RULES_PREFIXES, .size = sizeof(struct rules_prefix)},
     IN_DNS64(prefixes),
     DNS64_COUNT(prefix_count),
     .live = true,
     .fallback = "[]",
     .help = "under which addresses are synthesised; without any those of nat64"},
    {.path = "dns64.prefixes[].prefix",
     .rule = {.type = VALUE_PREFIX, .size = sizeof(struct rfc6052_prefix)},
     IN_PREFIX(prefix),
     .help = "the IPv6 prefix behind which IPv4 addresses stand"},
    {.path = "dns64.prefixes[].clients",
     SCALARS(network, struct rules_network, 1, RULES_NETWORKS),
     IN_PREFIX(clients),
     .count_offset = offsetof(struct rules_prefix, client_count),
     .fallback = "[\"::/0\"]",
     .help = "for whom; ::/0 is everybody, those with IPv4 too"},
    {.path = "dns64.prefixes[].ipv4",
     SCALARS(network4, struct rules_network, 1, RULES_NETWORKS),
     IN_PREFIX(ipv4),
     .count_offset = offsetof(struct rules_prefix, ipv4_count),
     .fallback = "[0.0.0.0/0]",
     .help = "IPv4 addresses that are reached under it"},
    {.path = "dns64.exclude-aaaa", /* rfc: 6147-5.1.4-b */
     SCALARS(network6, struct rules_network, 0, RULES_NETWORKS),
     IN_DNS64(excluded),
     DNS64_COUNT(excluded_count),
     .live = true,
     .fallback = "[\"::ffff:0:0/96\"]",
     .help = "AAAA records that count as absent"},
    {.path = "dns64.exclude-names",
     SCALARS(domain, struct dns_name, 0, RULES_NAMES),
     IN_DNS64(names),
     DNS64_COUNT(name_count),
     .allocated = true,
     .live = true,
     .fallback = "[]",
     .help = "names that are never synthesised, nor those below them"},
    {.path = "dns64.cache", GROUP, .help = "finished answers that are kept"},
    {.path = "dns64.cache.entries",
     NUMBER(0, CACHE_ENTRIES_MAXIMUM),
     IN_DNS64(cache_entries),
     .fallback = "100000",
     .help = "how many"},
    {.path = "dns64.cache.negative-ttl",
     .rule = {.type = VALUE_DURATION, .low = 0, .high = NEGATIVE_TTL_MAXIMUM},
     IN_DNS64(negative_ttl),
     .live = true,
     .fallback = "300s",
     .help = "for how long at most, if there is no such name or no such data"},
    {.path = "dns64.clients",
     .rule = {.type = VALUE_SCALARS,
              .nullable = true,
              .low = 1,
              .high = CLIENTS_NETWORKS,
              .size = sizeof(struct rules_network),
              .item = &network},
     IN_DNS64(clients),
     DNS64_COUNT(client_count),
     .live = true,
     .fallback = "null",
     .help = "who may ask; null: loopback and the networks of this machine's links"},
    {.path = "dns64.rate-limit", GROUP, .help = "against floods"},
    {.path = "dns64.rate-limit.per-client",
     NUMBER(0, CLIENT_RATE_MAXIMUM),
     IN_DNS64(rate),
     .live = true,
     .fallback = "1000",
     .help = "answers a second to each IPv6 /64 and each IPv4 address; 0: no limit"},
    {.path = "dns64.tcp", GROUP, .help = "connections of clients"},
    {.path = "dns64.tcp.connections",
     NUMBER(1, CONNECTIONS_MAXIMUM),
     IN_DNS64(tcp_connections),
     .fallback = "1000",
     .help = "at the same time, in all"},
    {.path = "dns64.tcp.idle",
     .rule = {.type = VALUE_DURATION, .low = 1, .high = CONNECTION_IDLE_MAXIMUM},
     IN_DNS64(tcp_idle),
     .fallback = "10s",
     .help = "after which one is closed"},
    {.path = "dns64.serve-stale",
     BOOLEAN,
     IN_DNS64(serve_stale),
     .fallback = "false",
     .help = "answer with what was true a while ago if nobody can be asked"},

    {.path = "ra",
     .rule = {.type = VALUE_LIST, .high = RA_INTERFACES_MAXIMUM, .size = sizeof(struct config_ra)},
     IN_CONFIG(ra),
     .count_offset = offsetof(struct config, ra_count),
     .fallback = "[]",
     .help = "interfaces whose hosts are told prefix and DNS servers by router advertisements"},
    {.path = "ra[].interface",
     .rule = {.type = VALUE_NAME, .size = SIZE_OF(struct config_ra, interface)},
     IN_RA(interface),
     .help = "where to advertise"},
    {.path = "ra[].pref64",
     .rule = {.type = VALUE_PREFIX, .nullable = true, .size = sizeof(struct rfc6052_prefix)},
     IN_RA(pref64),
     .fallback = "null",
     .help = "the prefix behind which IPv4 addresses stand; null: those of nat64"},
    {.path = "ra[].lifetime",
     .rule = {.type = VALUE_DURATION,
              .low = ADVERTISED_LIFETIME_MINIMUM,
              .high = PREF64_LIFETIME_MAXIMUM,
              .why = "RFC 4861 section 6.2.1 forbids less than 4s between two, and two may be lost"},
     IN_RA(lifetime),
     .fallback = "600s",
     .help = "how long hosts use what they were told"},
    {.path = "ra[].rdnss", BOOLEAN, IN_RA(rdnss), .fallback = "true", .help = "announce the DNS server"},
    {.path = "ra[].default-route",
     BOOLEAN,
     IN_RA(default_route),
     .fallback = "false",
     .help = "advertise this machine as default router, too"},

    {.path = "control", GROUP, .help = "the daemon itself"},
    {.path = "control.socket",
     .rule = {.type = VALUE_PATH, .size = SIZE_OF(struct config, control.socket)},
     IN_CONFIG(control.socket),
     .fallback = "/run/isthmus/control.sock",
     .help = "the socket on which commands reach the daemon"},
    {.path = "control.group",
     .rule = {.type = VALUE_NAME, .size = SIZE_OF(struct config, control.group)},
     IN_CONFIG(control.group),
     .fallback = "isthmus",
     .help = "whose members may use the socket"},
    {.path = "control.user",
     .rule = {.type = VALUE_NAME, .size = SIZE_OF(struct config, control.user)},
     IN_CONFIG(control.user),
     .fallback = "isthmus",
     .help = "as whom the daemon runs after its start"},
};

const size_t config_key_count = sizeof(config_keys) / sizeof(config_keys[0]);
static_assert(sizeof(config_keys) / sizeof(config_keys[0]) <= CONFIG_KEYS_MAXIMUM,
              "the reader notes keys in an array");

/* True if `path` is that of `parent`, a separator, and one name more. */
static bool is_child(const struct config_key *parent, const char *path)
{
    size_t length = strlen(parent->path);
    if (length != 0) {
        const char *separator = parent->rule.type == VALUE_LIST ? "[]." : ".";
        if (strncmp(path, parent->path, length) != 0 ||
            strncmp(path + length, separator, strlen(separator)) != 0)
            return false;
        path += length + strlen(separator);
    }
    return strpbrk(path, ".[=") == NULL;
}

const struct config_key *config_next_child(const struct config_key *parent, const struct config_key *previous)
{
    const struct config_key *end = config_keys + config_key_count;
    for (const struct config_key *key = previous == NULL ? config_keys : previous + 1; key < end; key++)
        if (is_child(parent, key->path))
            return key;
    return NULL;
}

const char *config_key_name(const struct config_key *key)
{
    const char *dot = strrchr(key->path, '.');
    return dot == NULL ? key->path : dot + 1;
}

/* The struct that the key's field is in. */
static char *home_of(const struct config_key *key, const struct config_place *place)
{
    if (key->home == HOME_ENTRY)
        return place->entry;
    return key->home == HOME_DNS64 ? (void *)place->config->dns64 : (void *)place->config;
}

void *config_field(const struct config_key *key, const struct config_place *place)
{
    char *home = home_of(key, place);
    if (key->home == HOME_PARALLEL)
        return home + key->offset + place->instance * key->rule.size;
    return key->allocated ? *(void **)(void *)(home + key->offset) : home + key->offset;
}

bool config_allocate(const struct config_key *key, const struct config_place *place, size_t count)
{
    void *room = calloc(count, key->rule.size);
    memcpy(home_of(key, place) + key->offset, &room, sizeof(room));
    return room != NULL;
}

uint32_t *config_list_count(const struct config_key *list, const struct config_place *place)
{
    return (uint32_t *)(void *)(home_of(list, place) + list->count_offset);
}

struct config_place config_list_entry(const struct config_key *list, const struct config_place *place,
                                      uint32_t number)
{
    struct config_place entry = *place;
    entry.entry = (char *)config_field(list, place) + number * list->rule.size;
    if (list->home == HOME_CONFIG)
        entry.instance = number;
    return entry;
}
