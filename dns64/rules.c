/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who is served under which prefix, and what is synthesised under it; the contract is in the header.
 *
 * Networks are compared as two words of 64 bits, so whether an address lies within one costs no loop over its
 * bytes; a list of them is walked, since lists are short and the usual one is ::/0. Names are looked up once
 * for each of their ancestors by binary search: they stand in the order of their length, and among those of
 * one length in the order of their bytes, so most steps compare two numbers and no name.
 */
#include "dns64/rules.h"

#include <stdlib.h>
#include <string.h>

#include "wire/ipv4.h"

/* An address as two numbers, the first of which are bits 0 to 63. */
struct words {
    uint64_t high, low;
};

static uint64_t word_at(const uint8_t *bytes)
{
    uint64_t word;
    memcpy(&word, bytes, sizeof(word));
    return __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? __builtin_bswap64(word) : word;
}

static struct words words_of(const struct ipv6_address *address)
{
    return (struct words){.high = word_at(address->bytes), .low = word_at(address->bytes + 8)};
}

/* Most networks are told from an address by the first bits of it, without a look at the rest. */
static bool contains(const struct rules_network *network, struct words address)
{
    uint64_t high = word_at(network->address.bytes) ^ address.high;
    unsigned length = network->length;
    if (length < 64)
        return length == 0 || high >> (64 - length) == 0;
    return high == 0 &&
           (length == 64 || (word_at(network->address.bytes + 8) ^ address.low) >> (128 - length) == 0);
}

static bool any_contains(const struct rules_network *networks, uint32_t count, struct words address)
{
    for (uint32_t i = 0; i < count; i++)
        if (contains(&networks[i], address))
            return true;
    return false;
}

bool rules_network_contains(const struct rules_network *network, const struct ipv6_address *address)
{
    return contains(network, words_of(address));
}

rules_view rules_view_of(const struct dns_rules *rules, const struct ipv6_address *client)
{
    struct words address = words_of(client);
    rules_view view = 0;
    for (uint32_t i = 0; i < rules->prefix_count; i++)
        if (any_contains(rules->prefixes[i].clients, rules->prefixes[i].client_count, address))
            view |= (rules_view)(1u << i);
    return view;
}

/* Is an IPv4 address among those that are reached under the prefix? */
static bool reaches(const struct rules_prefix *prefix, be32 ipv4)
{
    struct words address = {.low = 0xffff00000000ull | from_be32(ipv4)};
    return any_contains(prefix->ipv4, prefix->ipv4_count, address);
}

/* Adds an address unless it is there: a prefix may stand in several entries, a record once in its set. */
static unsigned add_address(struct ipv6_address *addresses, unsigned count, struct ipv6_address address)
{
    for (unsigned i = 0; i < count; i++)
        if (ipv6_equal(&addresses[i], &address))
            return count;
    addresses[count] = address;
    return count + 1;
}

/* rfc: 6147-5-a, 6147-5.1.7-d, 6147-5.2-d, 6147-5.2-f */
unsigned rules_embed(const struct dns_rules *rules, rules_view view, be32 ipv4,
                     struct ipv6_address addresses[RULES_PREFIXES])
{
    unsigned count = 0;
    for (uint32_t i = 0; i < rules->prefix_count; i++) {
        const struct rules_prefix *prefix = &rules->prefixes[i];
        if ((view >> i & 1) == 0 || !reaches(prefix, ipv4))
            continue;
        if (rfc6052_is_well_known(&prefix->prefix) && ipv4_is_non_global(ipv4))
            continue;
        count = add_address(addresses, count, rfc6052_embed(&prefix->prefix, ipv4));
    }
    return count;
}

/*
 * Of prefixes one within the other the longer one counts, as it does for routes. The suffix behind the IPv4
 * address does not count: translators ignore it, so such an address leads to the same host.
 * rfc: 6147-5.2-c
 */
bool rules_extract(const struct dns_rules *rules, const struct ipv6_address *address, be32 *ipv4)
{
    unsigned length = 0;
    for (uint32_t i = 0; i < rules->prefix_count; i++) {
        const struct rfc6052_prefix *prefix = &rules->prefixes[i].prefix;
        if (prefix->length > length && rfc6052_contains(prefix, address) && rfc6052_embeds(prefix, address)) {
            length = prefix->length;
            *ipv4 = rfc6052_extract(prefix, address);
        }
    }
    return length > 0;
}

/* rfc: 6147-5.1.4-a */
bool rules_excludes_address(const struct dns_rules *rules, const struct ipv6_address *address)
{
    return any_contains(rules->excluded, rules->excluded_count, words_of(address));
}

static int compare_bytes(const uint8_t *wire, size_t length, const struct dns_name *name)
{
    return length != name->length ? (int)length - name->length : memcmp(wire, name->wire, length);
}

static int compare_names(const void *a, const void *b)
{
    const struct dns_name *name = a;
    return compare_bytes(name->wire, name->length, b);
}

void rules_seal(struct dns_rules *rules)
{
    if (rules->name_count > 0)
        qsort(rules->names, rules->name_count, sizeof(*rules->names), compare_names);
}

static bool is_listed(const struct dns_rules *rules, const uint8_t *wire, size_t length)
{
    uint32_t first = 0, end = rules->name_count;
    while (first < end) {
        uint32_t middle = first + (end - first) / 2;
        int order = compare_bytes(wire, length, &rules->names[middle]);
        if (order == 0)
            return true;
        if (order < 0)
            end = middle;
        else
            first = middle + 1;
    }
    return false;
}

bool rules_excludes_name(const struct dns_rules *rules, const struct dns_name *name)
{
    struct dns_name lower;
    if (rules->name_count == 0)
        return false;
    lower = *name;
    dns_name_lower(&lower);
    /* What is left from one of its labels on is the name or one above it; the root comes last. */
    for (size_t at = 0; at < lower.length; at += 1u + lower.wire[at])
        if (is_listed(rules, lower.wire + at, lower.length - at))
            return true;
    return false;
}
