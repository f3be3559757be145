/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Clients and their rates; the contract is in the header.
 *
 * Sealed networks are disjoint, so of all that begin at or before an address only the last can contain it.
 *
 * A rate is a single time: that at which a client would be done if its answers were given out evenly, each
 * taking 1/rate of a second. An answer moves it on, and is one too many if it would then lie more than a
 * second ahead of now. Nothing is refilled, no rounding adds up, and a word that was never used, or not for
 * long, is in the past like that of any client that was silent.
 */
#include "dns64/clients.h"

#include <stdlib.h>
#include <string.h>

#include "engine/atomic.h"
#include "engine/memory.h"
#include "engine/random.h"

/*** Networks ***/

static int compare_networks(const void *left, const void *right)
{
    const struct rules_network *a = left, *b = right;
    int order = memcmp(a->address.bytes, b->address.bytes, sizeof(a->address.bytes));
    return order != 0 ? order : a->length - b->length;
}

void clients_seal(struct clients *clients)
{
    struct rules_network *networks = clients->networks;
    uint32_t kept = 0;
    qsort(networks, clients->count, sizeof(networks[0]), compare_networks);
    /* Those inside another one stand behind it, before all that begin beyond its end. */
    for (uint32_t i = 0; i < clients->count; i++)
        if (kept == 0 || !rules_network_contains(&networks[kept - 1], &networks[i].address))
            networks[kept++] = networks[i];
    clients->count = kept;
}

bool clients_allow(const struct clients *clients, const struct ipv6_address *client)
{
    uint32_t low = 0, high = clients->count; /* `low` networks begin at or before the address */
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (memcmp(clients->networks[middle].address.bytes, client->bytes, sizeof(client->bytes)) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low > 0 && rules_network_contains(&clients->networks[low - 1], client);
}

/*** Who is who ***/

/* Which half of an address is the client. */
enum kind { IPV6, IPV4, LINK_LOCAL };

static enum kind kind_of(const struct ipv6_address *client)
{
    static const uint8_t ipv4[12] = {[10] = 0xff, [11] = 0xff};
    if (client->bytes[0] == 0xfe && (client->bytes[1] & 0xc0) == 0x80)
        return LINK_LOCAL;
    return memcmp(client->bytes, ipv4, sizeof(ipv4)) == 0 ? IPV4 : IPV6;
}

uint64_t clients_hash(const uint64_t key[2], const struct ipv6_address *client)
{
    enum kind kind = kind_of(client);
    /* Who chooses the lower half of an address could have it look like somebody's upper half. */
    struct random hash = {.key = {key[0] + kind, key[1]}};
    memcpy(&hash.counter, client->bytes + (kind == IPV6 ? 0 : 8), sizeof(hash.counter));
    return random_next(&hash);
}

/*** Rates ***/

enum { SECOND = 1000000000 }; /* nanoseconds */

struct rates {
    uint64_t key[2];
    uint64_t done[CLIENTS_RATE_WORDS] __attribute__((aligned(64))); /* atomic: nanoseconds */
};

struct rates *rates_create(const uint64_t key[2])
{
    struct rates *rates = memory_map(sizeof(*rates));
    if (rates != NULL)
        memcpy(rates->key, key, sizeof(rates->key));
    return rates;
}

void rates_destroy(struct rates *rates)
{
    memory_unmap(rates, sizeof(*rates));
}

static uint64_t *word_of(struct rates *rates, const struct ipv6_address *client)
{
    return &rates->done[clients_hash(rates->key, client) % CLIENTS_RATE_WORDS];
}

bool rates_take(struct rates *rates, const struct ipv6_address *client, uint32_t rate, uint64_t now)
{
    uint64_t each, ahead, done, next, *word;
    if (rate == 0)
        return true;
    each = rate < SECOND ? SECOND / rate : 1;
    ahead = each * rate; /* a second, but for what the division lost: exactly `rate` answers */
    word = word_of(rates, client);
    do {
        done = atomic_load64(word);
        next = (done > now ? done : now) + each;
        if (next - now > ahead)
            return false;
    } while (!atomic_swap_if64(word, done, next));
    return true;
}
