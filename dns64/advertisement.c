/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An advertisement is a header of 16 bytes and options, each with its type, its length in units of 8 bytes
 * and its own fields. All servers of one option share a lifetime, so those that are withdrawn have an option
 * of their own; of prefixes each has an option anyway.
 */
#include "dns64/advertisement.h"

#include <string.h>

enum {
    TYPE_SOLICITATION = 133,
    TYPE_ADVERTISEMENT = 134,
    HEADER_SIZE = 16,       /* of an advertisement */
    SOLICITATION_SIZE = 8,  /* without options */
    DISCOVERY_HOPS = 255,   /* whoever sends it is on the link */
    OPTION_UNIT = 8,        /* bytes that a length counts */
    OPTION_SOURCE_LINK = 1, /* RFC 4861 section 4.6.1 */
    OPTION_SERVERS = 25,    /* RFC 8106 section 5.1 */
    OPTION_PREF64 = 38,     /* RFC 8781 section 4 */
    PREF64_UNITS = 2,
    PREF64_BYTES = 12,      /* of the prefix */
    PREF64_SCALE = 8,       /* seconds */
    PREF64_LENGTH_BITS = 3, /* below the scaled lifetime */
};

_Static_assert((int)ADVERTISEMENT_SIZE <= IPV6_MINIMUM_MTU - 40, "an advertisement is one packet everywhere");

static bool same_prefix(const struct rfc6052_prefix *a, const struct rfc6052_prefix *b)
{
    return a->length == b->length && ipv6_equal(&a->address, &b->address);
}

static void add_prefix(struct advertisement *advertisement, const struct rfc6052_prefix *prefix,
                       bool withdrawn)
{
    for (uint32_t i = 0; i < advertisement->prefix_count; i++)
        if (same_prefix(&advertisement->prefixes[i].prefix, prefix)) {
            advertisement->prefixes[i].withdrawn &= withdrawn;
            return;
        }
    if (advertisement->prefix_count < ADVERTISED_PREFIXES)
        advertisement->prefixes[advertisement->prefix_count++] =
            (struct advertised_prefix){.prefix = *prefix, .withdrawn = withdrawn};
}

static void add_server(struct advertisement *advertisement, const struct ipv6_address *address,
                       bool withdrawn)
{
    for (uint32_t i = 0; i < advertisement->server_count; i++)
        if (ipv6_equal(&advertisement->servers[i].address, address)) {
            advertisement->servers[i].withdrawn &= withdrawn;
            return;
        }
    if (advertisement->server_count < ADVERTISED_SERVERS)
        advertisement->servers[advertisement->server_count++] =
            (struct advertised_server){.address = *address, .withdrawn = withdrawn};
}

void advertisement_add_prefix(struct advertisement *advertisement, const struct rfc6052_prefix *prefix)
{
    add_prefix(advertisement, prefix, false);
}

void advertisement_add_server(struct advertisement *advertisement, const struct ipv6_address *address)
{
    add_server(advertisement, address, false);
}

void advertisement_withdraw(struct advertisement *advertisement, const struct advertisement *old)
{
    for (uint32_t i = 0; i < old->prefix_count; i++)
        add_prefix(advertisement, &old->prefixes[i].prefix, true);
    for (uint32_t i = 0; i < old->server_count; i++)
        add_server(advertisement, &old->servers[i].address, true);
}

void advertisement_forget_withdrawn(struct advertisement *advertisement)
{
    uint32_t prefixes = 0, servers = 0;
    for (uint32_t i = 0; i < advertisement->prefix_count; i++)
        if (!advertisement->prefixes[i].withdrawn)
            advertisement->prefixes[prefixes++] = advertisement->prefixes[i];
    for (uint32_t i = 0; i < advertisement->server_count; i++)
        if (!advertisement->servers[i].withdrawn)
            advertisement->servers[servers++] = advertisement->servers[i];
    advertisement->prefix_count = prefixes;
    advertisement->server_count = servers;
}

struct advertisement advertisement_final(const struct advertisement *advertisement)
{
    struct advertisement last = *advertisement;
    last.router_lifetime = 0;
    last.lifetime = 0;
    return last;
}

/*
 * The code of a prefix length.
 * rfc: 8781-4-d
 */
static unsigned prefix_length_code(unsigned length)
{
    return length == 96 ? 0 : 1 + (64 - length) / 8;
}

/*
 * Seconds in units of 8, rounded up, so that what is not 0 does not become it.
 * rfc: 8781-4.1-f, 8781-4.1-g
 */
static unsigned scaled_lifetime(uint32_t seconds)
{
    if (seconds > PREF64_LIFETIME_MAXIMUM)
        seconds = PREF64_LIFETIME_MAXIMUM;
    return (seconds + PREF64_SCALE - 1) / PREF64_SCALE;
}

static uint8_t *write_link_address(const struct advertisement *advertisement, uint8_t *at)
{
    at[0] = OPTION_SOURCE_LINK;
    at[1] = 1;
    memcpy(at + 2, advertisement->link_address, LINK_ADDRESS_SIZE);
    return at + OPTION_UNIT;
}

/* rfc: 8781-4-a, 8781-4-d */
static uint8_t *write_prefix(const struct advertised_prefix *advertised, uint32_t lifetime, uint8_t *at)
{
    unsigned scaled = scaled_lifetime(advertised->withdrawn ? 0 : lifetime);
    at[0] = OPTION_PREF64;
    at[1] = PREF64_UNITS;
    store_be16(at + 2, to_be16((uint16_t)(scaled << PREF64_LENGTH_BITS |
                                          prefix_length_code(advertised->prefix.length))));
    memcpy(at + 4, advertised->prefix.address.bytes, PREF64_BYTES);
    return at + PREF64_UNITS * OPTION_UNIT;
}

/* Nothing if there are none of the kind: an option has at least one address. */
static uint8_t *write_servers(const struct advertisement *advertisement, bool withdrawn, uint8_t *at)
{
    uint8_t *next = at + OPTION_UNIT;
    for (uint32_t i = 0; i < advertisement->server_count; i++) {
        if (advertisement->servers[i].withdrawn != withdrawn)
            continue;
        memcpy(next, advertisement->servers[i].address.bytes, 16);
        next += 16;
    }
    if (next == at + OPTION_UNIT)
        return at;
    at[0] = OPTION_SERVERS;
    at[1] = (uint8_t)((next - at) / OPTION_UNIT);
    store_be16(at + 2, 0);
    store_be32(at + 4, to_be32(withdrawn ? 0 : advertisement->lifetime));
    return next;
}

/* rfc: 8781-4.1-b */
size_t advertisement_write(const struct advertisement *advertisement,
                           uint8_t message[static ADVERTISEMENT_SIZE])
{
    uint8_t *at = message + HEADER_SIZE;
    uint32_t router = advertisement->router_lifetime;
    memset(message, 0, HEADER_SIZE);
    message[0] = TYPE_ADVERTISEMENT;
    store_be16(message + 6,
               to_be16((uint16_t)(router < ROUTER_LIFETIME_MAXIMUM ? router : ROUTER_LIFETIME_MAXIMUM)));
    if (advertisement->has_link_address)
        at = write_link_address(advertisement, at);
    for (uint32_t i = 0; i < advertisement->prefix_count; i++)
        at = write_prefix(&advertisement->prefixes[i], advertisement->lifetime, at);
    at = write_servers(advertisement, false, at);
    at = write_servers(advertisement, true, at);
    return (size_t)(at - message);
}

static bool is_unspecified(const struct ipv6_address *address)
{
    static const struct ipv6_address unspecified;
    return ipv6_equal(address, &unspecified);
}

static bool is_all_routers(const struct ipv6_address *address)
{
    static const struct ipv6_address all_routers = {{0xff, 0x02, [15] = 0x02}};
    return ipv6_equal(address, &all_routers);
}

/* False if an option has no length or reaches beyond the end, or if one is there that may not be. */
static bool options_valid(const uint8_t *at, size_t left, bool link_address_allowed)
{
    while (left > 0) {
        if (left < 2 || at[1] == 0 || (size_t)at[1] * OPTION_UNIT > left)
            return false;
        if (at[0] == OPTION_SOURCE_LINK && !link_address_allowed)
            return false;
        left -= (size_t)at[1] * OPTION_UNIT;
        at += (size_t)at[1] * OPTION_UNIT;
    }
    return true;
}

bool solicitation_valid(const struct discovery *solicitation)
{
    const uint8_t *message = solicitation->message;
    bool anonymous = is_unspecified(&solicitation->source);
    if (solicitation->hop_limit != DISCOVERY_HOPS || solicitation->length < SOLICITATION_SIZE)
        return false;
    if (message[0] != TYPE_SOLICITATION || message[1] != 0)
        return false;
    if (anonymous && !is_all_routers(&solicitation->destination))
        return false;
    return options_valid(message + SOLICITATION_SIZE, solicitation->length - SOLICITATION_SIZE, !anonymous);
}

bool discovery_offers_route(const struct discovery *advertisement)
{
    const uint8_t *message = advertisement->message;
    return advertisement->hop_limit == DISCOVERY_HOPS && advertisement->length >= HEADER_SIZE &&
           message[0] == TYPE_ADVERTISEMENT && message[1] == 0 && load_be16(message + 6) != 0 &&
           ipv6_is_link_local(&advertisement->source) &&
           options_valid(message + HEADER_SIZE, advertisement->length - HEADER_SIZE, true);
}
