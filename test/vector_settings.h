/* SPDX-License-Identifier: BSD-2-Clause */
/* The settings of a vector's engine, and the lines of a vector file that change them. */
#ifndef TEST_VECTOR_SETTINGS_H
#define TEST_VECTOR_SETTINGS_H

#include "engine/paths.h"
#include "engine/settings.h"
#include "test/vector.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    VECTOR_INSTANCES = 3, /* of nat64 */
    VECTOR_RANGES = 8,
    VECTOR_STATICS = 8,
    VECTOR_MAPPINGS = 16, /* of each siit instance */
    VECTOR_PATHS = 8,
};

struct vector_settings {
    struct settings all;
    struct pool_range ranges[VECTOR_INSTANCES][VECTOR_RANGES];
    struct static_binding statics[VECTOR_INSTANCES][VECTOR_STATICS];
    struct path_route paths[2][VECTOR_PATHS]; /* IPv6, IPv4 */
    uint32_t path_count[2];
    bool own_pool; /* a pool line has replaced the standard one of the first instance */
    struct eam mappings[SIIT_INSTANCES_MAXIMUM][VECTOR_MAPPINGS];
    uint32_t mapping_count[SIIT_INSTANCES_MAXIMUM];
};

static inline void vector_settings_standard(struct vector_settings *settings)
{
    struct nat64_settings *nat64 = &settings->all.nat64[0];
    memset(settings, 0, sizeof(*settings));
    settings->all.translation = (struct translation_settings){.tos = -1,
                                                              .amend_udp_checksum_zero = true,
                                                              .mss_clamp = true,
                                                              .icmp_errors_per_second = 1000,
                                                              .mtu6 = 1500,
                                                              .mtu4 = 1500};
    settings->all.nat64_count = 1;
    strcpy(nat64->name, "main");
    inet_pton(AF_INET6, "2001:db8:64::", nat64->prefix.address.bytes);
    nat64->prefix.length = 96;
    inet_pton(AF_INET6, "2001:db8:64::fe", nat64->address6.bytes);
    nat64->address4 = htonl(0xc00002feu);
    nat64->sessions = 1024;
    nat64->subscriber_prefix = SUBSCRIBER_PREFIX_DEFAULT;
    nat64->sessions_per_subscriber = SUBSCRIBER_SESSIONS_DEFAULT;
    nat64->pool_count = 1;
    nat64->pool = settings->ranges[0];
    nat64->statics = settings->statics[0];
    settings->ranges[0][0] = (struct pool_range){.first = htonl(0xc0000201u),
                                                 .count = 1,
                                                 .low = 1024,
                                                 .high = 65535,
                                                 .transports = (1 << TRANSPORT_COUNT) - 1};
    nat64->timeouts = (struct nat64_timeouts){.udp = UDP_DEFAULT_SECONDS,
                                              .icmp = ICMP_DEFAULT_SECONDS,
                                              .tcp_established = TCP_ESTABLISHED_SECONDS,
                                              .tcp_transitory = TCP_TRANSITORY_SECONDS,
                                              .tcp_syn = TCP_INCOMING_SYN_SECONDS,
                                              .fragment = FRAGMENT_SECONDS};
}

/* The last nat64 instance begun, which `set`, `pool` and `static` are about. */
static inline struct nat64_settings *vector_nat64(struct vector_settings *settings)
{
    uint32_t count = settings->all.nat64_count;
    return &settings->all.nat64[count > 0 ? count - 1 : 0];
}

/* `instance NAME` begins another: with the standard settings, but no pool */
static inline bool vector_instance(struct vector_settings *settings, const char *name)
{
    uint32_t number = settings->all.nat64_count;
    if (number == 0 || number == VECTOR_INSTANCES || strlen(name) >= INSTANCE_NAME_SIZE)
        return false;
    struct vector_settings standard;
    struct nat64_settings *nat64 = &settings->all.nat64[settings->all.nat64_count++];
    vector_settings_standard(&standard);
    *nat64 = standard.all.nat64[0];
    strcpy(nat64->name, name);
    nat64->pool_count = 0;
    nat64->pool = settings->ranges[number];
    nat64->statics = settings->statics[number];
    return true;
}

static inline bool vector_set_prefix(struct rfc6052_prefix *prefix, const char *value)
{
    char address[64];
    unsigned length;
    if (sscanf(value, "%63[^/]/%u", address, &length) != 2 || length > 128)
        return false;
    prefix->length = (uint8_t)length;
    return inet_pton(AF_INET6, address, prefix->address.bytes) == 1;
}

static inline bool vector_set_flag(bool *flag, const char *value, const char *on, const char *off)
{
    *flag = strcmp(value, on) == 0;
    return *flag || strcmp(value, off) == 0;
}

static inline bool vector_set_number(struct vector_settings *settings, const char *key, const char *value)
{
    struct nat64_settings *nat64 = vector_nat64(settings);
    struct translation_settings *translation = &settings->all.translation;
    const struct {
        const char *key;
        uint32_t *number;
    } numbers[] = {
        {"sessions", &nat64->sessions},
        {"sessions-per-subscriber", &nat64->sessions_per_subscriber},
        {"udp", &nat64->timeouts.udp},
        {"icmp", &nat64->timeouts.icmp},
        {"tcp-established", &nat64->timeouts.tcp_established},
        {"tcp-transitory", &nat64->timeouts.tcp_transitory},
        {"tcp-syn", &nat64->timeouts.tcp_syn},
        {"tcp-opening", &nat64->timeouts.tcp_opening},
        {"tcp-closing", &nat64->timeouts.tcp_closing},
        {"fragment", &nat64->timeouts.fragment},
        {"fragment-packets", &translation->fragment_packets},
        {"fragment-memory", &translation->fragment_memory},
        {"icmp-errors-per-second", &translation->icmp_errors_per_second},
        {"lowest-ipv6-mtu", &translation->lowest_ipv6_mtu},
        {"mtu6", &translation->mtu6},
        {"mtu4", &translation->mtu4},
    };
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        if (strcmp(key, numbers[i].key) == 0)
            return vector_number(value, numbers[i].number);
    return false;
}

/* `set KEY VALUE` */
static inline bool vector_set(struct vector_settings *settings, const char *text)
{
    struct nat64_settings *nat64 = vector_nat64(settings);
    struct translation_settings *translation = &settings->all.translation;
    char key[64], value[128];
    if (sscanf(text, "%63s %127s", key, value) != 2)
        return false;
    if (strcmp(key, "prefix") == 0)
        return vector_set_prefix(&nat64->prefix, value);
    if (strcmp(key, "nat64") == 0) {
        settings->all.nat64_count = 0;
        return strcmp(value, "none") == 0;
    }
    if (strcmp(key, "address6") == 0)
        return inet_pton(AF_INET6, value, nat64->address6.bytes) == 1;
    if (strcmp(key, "address4") == 0)
        return inet_pton(AF_INET, value, &nat64->address4) == 1;
    if (strcmp(key, "non-global") == 0)
        return vector_set_flag(&nat64->translate_non_global, value, "translate", "refuse");
    if (strcmp(key, "filtering") == 0) {
        bool dependent;
        bool good = vector_set_flag(&dependent, value, "address-dependent", "endpoint-independent");
        nat64->filtering = dependent ? FILTERING_ADDRESS_DEPENDENT : FILTERING_ENDPOINT_INDEPENDENT;
        return good;
    }
    if (strcmp(key, "zeroize-traffic-class") == 0)
        return vector_set_flag(&translation->zeroize_traffic_class, value, "true", "false");
    if (strcmp(key, "amend-udp-checksum-zero") == 0)
        return vector_set_flag(&translation->amend_udp_checksum_zero, value, "true", "false");
    if (strcmp(key, "mss-clamp") == 0)
        return vector_set_flag(&translation->mss_clamp, value, "true", "false");
    if (strcmp(key, "tos") == 0) {
        uint32_t tos;
        bool good = vector_number(value, &tos) && tos < 256;
        translation->tos = good ? (int)tos : -1;
        return good;
    }
    return vector_set_number(settings, key, value);
}

/* `pool ADDRESS[+COUNT] LOW-HIGH TRANSPORTS [shared]`; the latter is the host's own, of an interface */
static inline bool vector_pool(struct vector_settings *settings, const char *text)
{
    struct nat64_settings *nat64 = vector_nat64(settings);
    char address[64], transports[64], shared[16] = "";
    unsigned low, high;
    struct pool_range range = {.count = 1};
    if (sscanf(text, "%63s %u-%u %63s %15s", address, &low, &high, transports, shared) < 4 || low > high ||
        high > 65535 || (shared[0] != 0 && strcmp(shared, "shared") != 0))
        return false;
    if (shared[0] != 0)
        memcpy(range.interface, "wan0", sizeof("wan0"));
    char *plus = strchr(address, '+');
    if (plus != NULL) {
        *plus = '\0';
        range.count = (uint32_t)atoi(plus + 1);
    }
    if (!settings->own_pool && nat64 == &settings->all.nat64[0]) {
        nat64->pool_count = 0;
        settings->own_pool = true;
    }
    if (inet_pton(AF_INET, address, &range.first) != 1 || range.count == 0 ||
        nat64->pool_count == VECTOR_RANGES)
        return false;
    range.low = (uint16_t)low;
    range.high = (uint16_t)high;
    range.transports = (uint8_t)((strstr(transports, "tcp") != NULL) << TRANSPORT_TCP |
                                 (strstr(transports, "udp") != NULL) << TRANSPORT_UDP |
                                 (strstr(transports, "icmp") != NULL) << TRANSPORT_ICMP);
    nat64->pool[nat64->pool_count++] = range;
    return range.transports != 0;
}

/* `path PREFIX MTU`; from the first one on the MTUs are those of paths */
static inline bool vector_path(struct vector_settings *settings, const char *text)
{
    char address[64];
    unsigned length, mtu;
    uint8_t bytes[16] = {0};
    if (sscanf(text, "%63[^/]/%u %u", address, &length, &mtu) != 3)
        return false;
    bool four = strchr(address, ':') == NULL;
    uint32_t *count = &settings->path_count[four];
    if (inet_pton(four ? AF_INET : AF_INET6, address, bytes) != 1 || length > (four ? 32 : 128) ||
        *count == VECTOR_PATHS)
        return false;
    struct path_route *route = &settings->paths[four][(*count)++];
    *route = (struct path_route){.length = (uint8_t)length, .mtu = mtu};
    for (unsigned i = 0; i < 8; i++) {
        route->to.high = route->to.high << 8 | bytes[i];
        route->to.low = route->to.low << 8 | bytes[8 + i];
    }
    settings->all.translation.mtu6 = settings->all.translation.mtu4 = 0;
    return true;
}

static inline struct paths *vector_paths(struct vector_settings *settings)
{
    struct path_routes routes[2];
    for (unsigned i = 0; i < 2; i++) {
        routes[i] = (struct path_routes){settings->paths[i], settings->path_count[i], 1500};
        qsort(settings->paths[i], settings->path_count[i], sizeof(struct path_route), path_route_order);
    }
    return paths_create(&routes[0], &routes[1]);
}

/* `static TRANSPORT [IPV6]:PORT IPV4:PORT` */
static inline bool vector_static(struct vector_settings *settings, const char *text)
{
    static const char *const names[TRANSPORT_COUNT] = {"tcp", "udp", "icmp"};
    struct nat64_settings *nat64 = vector_nat64(settings);
    char transport[8], six[64], four[32];
    unsigned port6, port4;
    struct static_binding binding = {.transport = 0};
    if (sscanf(text, "%7s [%63[^]]]:%u %31[^:]:%u", transport, six, &port6, four, &port4) != 5 ||
        port6 > 65535 || port4 > 65535 || nat64->static_count == VECTOR_STATICS)
        return false;
    while (binding.transport < TRANSPORT_COUNT && strcmp(names[binding.transport], transport) != 0)
        binding.transport++;
    binding.port6 = htons((uint16_t)port6);
    binding.port4 = htons((uint16_t)port4);
    if (binding.transport == TRANSPORT_COUNT || inet_pton(AF_INET6, six, binding.ipv6.bytes) != 1 ||
        inet_pton(AF_INET, four, &binding.ipv4) != 1)
        return false;
    nat64->statics[nat64->static_count++] = binding;
    return true;
}

static inline bool vector_block(const char *value, struct pool_range *block)
{
    char address[64];
    unsigned length = 32;
    int words = sscanf(value, "%63[^/]/%u", address, &length);
    block->count = 1u << (32 - length % 33);
    return words >= 1 && length > 0 && length <= 32 && inet_pton(AF_INET, address, &block->first) == 1;
}

/* `siit name NAME` begins an instance, the rest is about the last one begun. */
static inline bool vector_siit(struct vector_settings *settings, const char *text)
{
    static const char *const hairpins[] = {"intrinsic", "simple", "off"};
    char key[64], value[128];
    if (sscanf(text, "%63s %127s", key, value) != 2)
        return false;
    if (strcmp(key, "name") == 0) {
        if (settings->all.siit_count == SIIT_INSTANCES_MAXIMUM || strlen(value) >= INSTANCE_NAME_SIZE)
            return false;
        strcpy(settings->all.siit[settings->all.siit_count++].name, value);
        return true;
    }
    if (settings->all.siit_count == 0)
        return false;
    struct siit_settings *siit = &settings->all.siit[settings->all.siit_count - 1];
    if (strcmp(key, "prefix") == 0)
        return vector_set_prefix(&siit->prefix, value);
    if (strcmp(key, "address6") == 0)
        return inet_pton(AF_INET6, value, siit->address6.bytes) == 1;
    if (strcmp(key, "address4") == 0)
        return inet_pton(AF_INET, value, &siit->address4) == 1;
    if (strcmp(key, "icmp-source") == 0)
        return vector_block(value, &siit->icmp_source);
    if (strcmp(key, "non-global") == 0)
        return vector_set_flag(&siit->translate_non_global, value, "translate", "refuse");
    if (strcmp(key, "hairpin") == 0)
        for (siit->hairpin = 0; siit->hairpin < 3; siit->hairpin++)
            if (strcmp(value, hairpins[siit->hairpin]) == 0)
                return true;
    return false;
}

/* `eam IPV4[/LENGTH] IPV6[/LENGTH]`, of the last siit instance begun */
static inline bool vector_eam(struct vector_settings *settings, const char *text)
{
    uint32_t instance = settings->all.siit_count - 1;
    char four[64], six[64];
    unsigned length4 = 32, length6 = 128;
    struct eam mapping;
    if (settings->all.siit_count == 0 || settings->mapping_count[instance] == VECTOR_MAPPINGS ||
        sscanf(text, "%63s %63s", four, six) != 2)
        return false;
    char *slash4 = strchr(four, '/'), *slash6 = strchr(six, '/');
    if (slash4 != NULL) {
        length4 = (unsigned)atoi(slash4 + 1);
        *slash4 = '\0';
    }
    if (slash6 != NULL) {
        length6 = (unsigned)atoi(slash6 + 1);
        *slash6 = '\0';
    }
    if (inet_pton(AF_INET, four, &mapping.ipv4) != 1 || inet_pton(AF_INET6, six, mapping.ipv6.bytes) != 1)
        return false;
    mapping.length4 = (uint8_t)length4;
    mapping.length6 = (uint8_t)length6;
    settings->mappings[instance][settings->mapping_count[instance]++] = mapping;
    return true;
}

/* Builds the tables of mappings; false if one is impossible. */
static inline bool vector_build_mappings(struct vector_settings *settings)
{
    struct eam_problem problem;
    for (uint32_t i = 0; i < settings->all.siit_count; i++) {
        settings->all.siit[i].eam = eam_build(settings->mappings[i], settings->mapping_count[i], &problem);
        if (settings->all.siit[i].eam == NULL)
            return false;
    }
    return true;
}

static inline void vector_free_mappings(struct vector_settings *settings)
{
    for (uint32_t i = 0; i < settings->all.siit_count; i++) {
        eam_free((struct eam_table *)(uintptr_t)settings->all.siit[i].eam);
        settings->all.siit[i].eam = NULL;
    }
}

#endif /* TEST_VECTOR_SETTINGS_H */
