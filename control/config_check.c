/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Checks across keys, in the order of the table of checks at the end. Each states one thing that must
 * hold; the first that does not is reported at the later of the keys that contradict each other.
 *
 * Static bindings come in tens of thousands, so they are compared as neighbours in sorted order. All else is
 * small (16 instances, 1024 pool entries each) and compared pair by pair.
 */
#include "control/config_check.h"

#include <arpa/inet.h>
#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "control/config_schema.h"

struct check {
    const struct config *config;
    struct config_source *source;
    struct config_error *error;
};

/* Places in the configuration that checks blame. */
struct place {
    char path[CONFIG_PATH_SIZE];
};

__attribute__((format(printf, 1, 2))) static struct place at(const char *format, ...)
{
    struct place place;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(place.path, sizeof(place.path), format, arguments);
    va_end(arguments);
    return place;
}

__attribute__((format(printf, 3, 4))) static bool blame(const struct check *check, struct place place,
                                                        const char *format, ...)
{
    char sentence[sizeof(check->error->text)];
    yaml_mark_t mark = config_document_locate(check->source, place.path);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof(sentence), format, arguments);
    va_end(arguments);
    return config_complain(check->source, &mark, check->error, "%s: %s", place.path, sentence);
}

struct address_text {
    char text[INET6_ADDRSTRLEN]; /* or the name of an interface */
};

enum { POOL_PORTS_LOW = 1024 }; /* where those begin that any program may have */

static struct address_text text_of_ipv4(uint32_t number)
{
    struct address_text text = {""};
    be32 address = to_be32(number);
    inet_ntop(AF_INET, &address, text.text, sizeof(text.text));
    return text;
}

/* The kernel keeps these names for itself: net.ipv6.conf.all is not a device. */
static bool check_device_name(const struct check *check)
{
    static const char *const taken[] = {"all", "default", "lo"};
    for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++)
        if (strcmp(check->config->plane.name, taken[i]) == 0)
            return blame(check, at("plane.name"),
                         "%s is a name of the kernel's own; choose another, such as isthmus0", taken[i]);
    return true;
}

/* What there is to do. */
static bool check_instances(const struct check *check)
{
    return check->config->settings.nat64_count > 0 || check->config->siit_count > 0 ||
           blame(
               check, at("nat64"),
               "is missing or empty, and so is siit; write at least one entry of nat64, with a prefix and a "
               "pool, or of siit");
}

static bool check_instance_names(const struct check *check)
{
    const struct settings *settings = &check->config->settings;
    for (uint32_t i = 1; i < settings->nat64_count; i++)
        for (uint32_t j = 0; j < i; j++)
            if (strcmp(settings->nat64[i].name, settings->nat64[j].name) == 0)
                return blame(check, at("nat64[%u].name", i),
                             "nat64[%u] is also named %s; give each entry a name of its own", j,
                             settings->nat64[i].name);
    return true;
}

static bool check_prefixes(const struct check *check)
{
    const struct settings *settings = &check->config->settings;
    for (uint32_t i = 1; i < settings->nat64_count; i++)
        for (uint32_t j = 0; j < i; j++) {
            const struct rfc6052_prefix *one = &settings->nat64[i].prefix,
                                        *other = &settings->nat64[j].prefix;
            if (rfc6052_contains(one, &other->address) || rfc6052_contains(other, &one->address))
                return blame(check, at("nat64[%u].prefix", i),
                             "overlaps nat64[%u].prefix; prefixes must be apart", j);
        }
    return true;
}

/* The sums are the geometry of the table, whose limits they share. */
static bool check_sums(const struct check *check)
{
    const struct settings *settings = &check->config->settings;
    uint64_t sessions = 0;
    uint32_t addresses = 0;
    for (uint32_t i = 0; i < settings->nat64_count; i++) {
        sessions += settings->nat64[i].sessions;
        addresses += check->config->nat64_addresses[i];
        if (sessions > TABLE_SESSIONS_MAXIMUM)
            return blame(check, at("nat64[%u].limits.sessions", i),
                         "with this the sum over all entries is %" PRIu64 "; at most %d are allowed",
                         sessions, TABLE_SESSIONS_MAXIMUM);
        if (addresses > TABLE_ADDRESSES_MAXIMUM)
            return blame(check, at("nat64[%u].limits.addresses", i),
                         "with this the sum over all entries is %" PRIu32 "; at most %d are allowed",
                         addresses, TABLE_ADDRESSES_MAXIMUM);
    }
    return true;
}

/* The IPv4 addresses that two ranges have in common begin here. */
static bool share_addresses(const struct pool_range *a, const struct pool_range *b, uint32_t *first)
{
    uint32_t a_first = from_be32(a->first), b_first = from_be32(b->first);
    *first = a_first > b_first ? a_first : b_first;
    return *first - a_first < a->count && *first - b_first < b->count;
}

static bool same_interface(const struct pool_range *a, const struct pool_range *b)
{
    return a->interface[0] != 0 && strcmp(a->interface, b->interface) == 0;
}

/* An address or an interface; the latter is one that has addresses, and leaves its machine some ports. */
static bool check_pool_entry(const struct check *check, uint32_t i, uint32_t j)
{
    const struct pool_range *range = &check->config->settings.nat64[i].pool[j];
    const uint8_t ported = 1u << TRANSPORT_TCP | 1u << TRANSPORT_UDP;
    bool address = range->count != 0, interface = range->interface[0] != 0;
    if (!address && !interface)
        return blame(check, at("nat64[%u].pool[%u]", i, j),
                     "has neither address nor interface; write one of the two");
    if (!interface)
        return true;
    struct place place = at("nat64[%u].pool[%u].interface", i, j);
    if (address)
        return blame(check, place, "stands beside an address; keep one of the two");
    if (strcmp(range->interface, check->config->plane.name) == 0 || strcmp(range->interface, "lo") == 0)
        return blame(check, place, "%s has no address to share; name the interface that leads out",
                     range->interface);
    if (check->config->plane.type == PLANE_TUN)
        return blame(
            check, place,
            "to share this machine's own address takes the eBPF plane; write plane.type: auto or bpf, "
            "or address: with an address that is routed to this machine and is not its own");
    if ((range->transports & ported) != 0 && range->low <= POOL_PORTS_LOW && range->high == UINT16_MAX)
        return blame(
            check, at("nat64[%u].pool[%u].ports", i, j),
            "%u-%u would leave this machine itself no ports; name those that isthmus may have, such as "
            "40000-59999",
            range->low, range->high);
    return true;
}

static bool check_pool_kinds(const struct check *check)
{
    const struct settings *settings = &check->config->settings;
    for (uint32_t i = 0; i < settings->nat64_count; i++)
        for (uint32_t j = 0; j < settings->nat64[i].pool_count; j++)
            if (!check_pool_entry(check, i, j))
                return false;
    return true;
}

/* What two entries have in common, for a sentence; false: nothing. */
static bool share_somewhere(const struct pool_range *a, const struct pool_range *b,
                            struct address_text *where)
{
    uint32_t first;
    if (same_interface(a, b))
        snprintf(where->text, sizeof(where->text), "%s", a->interface);
    else if (share_addresses(a, b, &first))
        *where = text_of_ipv4(first);
    else
        return false;
    return true;
}

/* Within an instance, entries may share an address if not its ports. */
static bool check_pool_entries(const struct check *check)
{
    const struct settings *settings = &check->config->settings;
    for (uint32_t i = 0; i < settings->nat64_count; i++)
        for (uint32_t b = 1; b < settings->nat64[i].pool_count; b++)
            for (uint32_t a = 0; a < b; a++) {
                const struct pool_range *one = &settings->nat64[i].pool[a],
                                        *other = &settings->nat64[i].pool[b];
                struct address_text where;
                if ((one->transports & other->transports) == 0 || one->low > other->high ||
                    other->low > one->high || !share_somewhere(one, other, &where))
                    continue;
                return blame(
                    check, at("nat64[%u].pool[%u]", i, b),
                    "overlaps pool[%u] in ports of %s; keep addresses, ports or protocols of the two apart",
                    a, where.text);
            }
    return true;
}

/* Between instances not even that: a packet to the address could belong to either. */
static bool check_pools_of_pair(const struct check *check, uint32_t i, uint32_t j)
{
    const struct nat64_settings *one = &check->config->settings.nat64[i],
                                *other = &check->config->settings.nat64[j];
    for (uint32_t a = 0; a < one->pool_count; a++)
        for (uint32_t b = 0; b < other->pool_count; b++) {
            struct address_text where;
            if (share_somewhere(&one->pool[a], &other->pool[b], &where))
                return blame(check, at("nat64[%u].pool[%u]", i, a),
                             "%s is also in nat64[%u].pool[%u]; an address belongs to one nat64 entry",
                             where.text, j, b);
        }
    return true;
}

static bool check_pools(const struct check *check)
{
    for (uint32_t i = 1; i < check->config->settings.nat64_count; i++)
        for (uint32_t j = 0; j < i; j++)
            if (!check_pools_of_pair(check, i, j))
                return false;
    return true;
}

/*
 * Addresses of a pool, each counted once. Two blocks are apart or one holds the other, so a range adds
 * nothing if another holds it: a larger one, or an equal one further up.
 */
static uint32_t count_addresses(const struct nat64_settings *instance)
{
    uint32_t total = 0;
    for (uint32_t a = 0; a < instance->pool_count; a++) {
        bool held = false;
        for (uint32_t b = 0; b < instance->pool_count && !held; b++) {
            const struct pool_range *one = &instance->pool[a], *other = &instance->pool[b];
            struct address_text where;
            held = share_somewhere(one, other, &where) &&
                   (other->count > one->count || (other->count == one->count && b < a));
        }
        const struct pool_range *range = &instance->pool[a];
        total += held ? 0 : range->interface[0] != 0 ? 1 : range->count;
    }
    return total;
}

static bool check_pool_sizes(const struct check *check)
{
    for (uint32_t i = 0; i < check->config->settings.nat64_count; i++) {
        uint32_t count = count_addresses(&check->config->settings.nat64[i]),
                 limit = check->config->nat64_addresses[i];
        if (count > limit)
            return blame(check, at("nat64[%u].pool", i),
                         "has %" PRIu32 " addresses and limits.addresses is %" PRIu32
                         "; set nat64[%u].limits.addresses to %" PRIu32 " or more",
                         count, limit, i, count);
    }
    return true;
}

static bool in_pool(const struct nat64_settings *instance, be32 address)
{
    for (uint32_t i = 0; i < instance->pool_count; i++)
        if (from_be32(address) - from_be32(instance->pool[i].first) < instance->pool[i].count)
            return true;
    return false;
}

static bool check_static(const struct check *check, uint32_t i, uint32_t number)
{
    const struct settings *settings = &check->config->settings;
    const struct static_binding *binding = &settings->nat64[i].statics[number];
    if (!in_pool(&settings->nat64[i], binding->ipv4))
        return blame(check, at("nat64[%u].static[%u].ipv4", i, number),
                     "%s is in no entry of nat64[%u].pool; add it there",
                     text_of_ipv4(from_be32(binding->ipv4)).text, i);
    for (uint32_t j = 0; j < settings->nat64_count; j++)
        if (rfc6052_contains(&settings->nat64[j].prefix, &binding->ipv6))
            return blame(
                check, at("nat64[%u].static[%u].ipv6", i, number),
                "is in nat64[%u].prefix, behind which are IPv4 hosts; expected a host on the IPv6 side", j);
    return true;
}

static bool check_statics(const struct check *check)
{
    for (uint32_t i = 0; i < check->config->settings.nat64_count; i++) {
        const struct nat64_settings *instance = &check->config->settings.nat64[i];
        if (instance->static_count > instance->sessions)
            return blame(check, at("nat64[%u].static", i),
                         "has %" PRIu32 " entries and limits.sessions is %" PRIu32
                         "; set nat64[%u].limits.sessions above that",
                         instance->static_count, instance->sessions, i);
        for (uint32_t number = 0; number < instance->static_count; number++)
            if (!check_static(check, i, number))
                return false;
    }
    return true;
}

/* Bindings are sorted by one of their endpoints with its protocol, equal ones in the order of the file. */
typedef int compare_endpoints(const struct static_binding *a, const struct static_binding *b);

static int compare_ipv4(const struct static_binding *a, const struct static_binding *b)
{
    if (a->transport != b->transport)
        return a->transport < b->transport ? -1 : 1;
    if (a->port4 != b->port4)
        return a->port4 < b->port4 ? -1 : 1;
    return memcmp(&a->ipv4, &b->ipv4, sizeof(a->ipv4));
}

static int compare_ipv6(const struct static_binding *a, const struct static_binding *b)
{
    if (a->transport != b->transport)
        return a->transport < b->transport ? -1 : 1;
    if (a->port6 != b->port6)
        return a->port6 < b->port6 ? -1 : 1;
    return memcmp(&a->ipv6, &b->ipv6, sizeof(a->ipv6));
}

static int compare_pointers(const void *a, const void *b, void *compare)
{
    const struct static_binding *one = *(const struct static_binding *const *)a;
    const struct static_binding *other = *(const struct static_binding *const *)b;
    int order = (*(compare_endpoints **)compare)(one, other);
    return order != 0 ? order : one < other ? -1 : one > other;
}

/* Two bindings of an instance must not have this endpoint in common. */
static bool check_unique(const struct check *check, uint32_t i, const char *end, compare_endpoints *compare)
{
    const struct nat64_settings *instance = &check->config->settings.nat64[i];
    const struct static_binding **sorted =
        calloc(instance->static_count + 1, sizeof(struct static_binding *));
    bool unique = true;
    if (sorted == NULL)
        return blame(check, at("nat64[%u].static", i), "out of memory; free some and try again");
    for (uint32_t n = 0; n < instance->static_count; n++)
        sorted[n] = &instance->statics[n];
    qsort_r(sorted, instance->static_count, sizeof(sorted[0]), compare_pointers, &compare);
    for (uint32_t n = 1; n < instance->static_count && unique; n++)
        if (compare(sorted[n - 1], sorted[n]) == 0)
            unique = blame(check, at("nat64[%u].static[%td].%s", i, sorted[n] - instance->statics, end),
                           "static[%td] binds this endpoint for the same protocol; keep one of the two",
                           sorted[n - 1] - instance->statics);
    free(sorted);
    return unique;
}

static bool check_static_endpoints(const struct check *check)
{
    for (uint32_t i = 0; i < check->config->settings.nat64_count; i++)
        if (!check_unique(check, i, "ipv6", compare_ipv6) || !check_unique(check, i, "ipv4", compare_ipv4))
            return false;
    return true;
}

/* Advertisements go to the hosts of a link: the device has none, and neither has loopback. */
static bool check_advertised(const struct check *check)
{
    static const char *const taken[] = {"all", "default", "lo"};
    const struct config *config = check->config;
    for (uint32_t i = 0; i < config->ra_count; i++) {
        const char *name = config->ra[i].interface;
        if (strcmp(name, config->plane.name) == 0)
            return blame(check, at("ra[%u].interface", i),
                         "%s is the device of isthmus itself; name the interface that the IPv6 hosts are on",
                         name);
        for (size_t n = 0; n < sizeof(taken) / sizeof(taken[0]); n++)
            if (strcmp(name, taken[n]) == 0)
                return blame(check, at("ra[%u].interface", i),
                             "there are no hosts on %s; name the interface that the IPv6 hosts are on", name);
        for (uint32_t j = 0; j < i; j++)
            if (strcmp(name, config->ra[j].interface) == 0)
                return blame(check, at("ra[%u].interface", i), "ra[%u] is for %s, too; keep one of the two",
                             j, name);
    }
    return true;
}

/* Answers to a shared address must meet a program. */
static bool check_shared_interfaces(const struct check *check)
{
    const struct config *config = check->config;
    for (uint32_t i = 0; i < config->settings.nat64_count; i++)
        for (uint32_t j = 0; j < config->settings.nat64[i].pool_count; j++) {
            const char *name = config->settings.nat64[i].pool[j].interface;
            bool named = name[0] == 0 || config->plane.interface_count == 0;
            for (uint32_t k = 0; k < config->plane.interface_count && !named; k++)
                named = strcmp(config->plane.interfaces[k], name) == 0;
            if (!named)
                return blame(check, at("nat64[%u].pool[%u].interface", i, j),
                             "%s is not among plane.interfaces; add it there", name);
        }
    return true;
}

/* Packets for hosts come in by interfaces to others. */
static bool check_interfaces(const struct check *check)
{
    const struct config *config = check->config;
    for (uint32_t i = 0; i < config->plane.interface_count; i++) {
        const char *name = config->plane.interfaces[i];
        if (strcmp(name, config->plane.name) == 0 || strcmp(name, "lo") == 0)
            return blame(check, at("plane.interfaces[%u]", i),
                         "no packets of hosts come in by %s; name interfaces that lead to them", name);
    }
    return true;
}

/* Behind what could synthesised addresses stand? */
static bool check_synthesis(const struct check *check)
{
    static_assert((int)NAT64_INSTANCES_MAXIMUM <= (int)RULES_PREFIXES, "those of nat64 have room");
    const struct config_dns64 *dns64 = check->config->dns64;
    if (dns64->prefix_count == 0 && check->config->settings.nat64_count == 0)
        return blame(
            check, at("dns64.prefixes"),
            "is missing or empty, and there is no entry of nat64 to take a prefix from; write at least "
            "one entry with a prefix");
    for (uint32_t i = 1; i < dns64->prefix_count; i++)
        for (uint32_t j = 0; j < i; j++) {
            const struct rfc6052_prefix *one = &dns64->prefixes[i].prefix,
                                        *other = &dns64->prefixes[j].prefix;
            if (one->length != other->length &&
                (rfc6052_contains(one, &other->address) || rfc6052_contains(other, &one->address)))
                return blame(check, at("dns64.prefixes[%u].prefix", i),
                             "overlaps dns64.prefixes[%u].prefix; prefixes must be apart, or the same", j);
        }
    return true;
}

/* True if what is sent to `address` is sure to come to who listens on `listen`: loopback to all addresses,
 * too. */
static bool comes_to(const struct ipv6_address *address, const struct ipv6_address *listen)
{
    static const struct ipv6_address all = {{0}}, all_ipv4 = {{[10] = 0xff, [11] = 0xff}},
                                     loopback = {{[15] = 1}};
    if (ipv6_equal(listen, &all))
        return ipv6_equal(address, &loopback);
    if (ipv6_equal(listen, &all_ipv4))
        return memcmp(address, &all_ipv4, 12) == 0 && address->bytes[12] == 127;
    return ipv6_equal(address, listen);
}

/* libunbound has one setting for all servers that it forwards to. */
static bool check_upstream(const struct check *check)
{
    const struct config_dns64 *dns64 = check->config->dns64;
    for (uint32_t i = 0; i < dns64->upstream_count; i++) {
        const struct config_upstream *upstream = &dns64->upstream[i];
        if (upstream->tls != dns64->upstream[0].tls)
            return blame(check, at("dns64.upstream[%u]", i),
                         "is %s and dns64.upstream[0] is %s; write tls:// before all of them or before none",
                         upstream->tls ? "TLS" : "plain", upstream->tls ? "plain" : "TLS");
        for (uint32_t j = 0; j < dns64->listen_count; j++)
            if (upstream->at.port == dns64->listen[j].port &&
                comes_to(&upstream->at.address, &dns64->listen[j].address))
                return blame(check, at("dns64.upstream[%u]", i),
                             "is dns64.listen[%u], the name service itself; name another server", j);
    }
    return true;
}

bool config_check(const struct config *config, struct config_source *source, struct config_error *error)
{
    static bool (*const checks[])(const struct check *check) = {
        check_device_name, check_instances,         check_instance_names,   check_prefixes,
        check_sums,        check_pool_kinds,        check_pool_entries,     check_pools,
        check_pool_sizes,  check_statics,           check_static_endpoints, check_advertised,
        check_interfaces,  check_shared_interfaces,
    };
    const struct check check = {.config = config, .source = source, .error = error};
    for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++)
        if (!checks[i](&check))
            return false;
    return config->dns64 == NULL || (check_synthesis(&check) && check_upstream(&check));
}
