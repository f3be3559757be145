/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The policy of stateless translation (RFC 7915 with RFC 6052 and RFC 7757): addresses, and nothing else.
 *
 * An address is translated by the mapping with the longest matching prefix, or else by the instance's RFC
 * 6052 prefix; each address of a packet for itself. Ports, identifiers and fragments stay what they are, and
 * nothing is remembered.
 */
#ifndef ENGINE_SIIT_H
#define ENGINE_SIIT_H

#include "engine/packet.h"
#include "engine/settings.h"

struct worker;

/* Whose a packet is, and what its destination becomes. */
struct siit_claim {
    const struct siit_settings *siit;
    bool by_prefix; /* no mapping covers the destination */
    bool turned;    /* by siit_translate: the packet is no longer what was received, so nobody is answered */
    union {
        be32 ipv4; /* of an IPv6 packet */
        struct ipv6_address ipv6;
    } destination;
};

/*
 * Is the packet, whose IP header is at `data`, for a siit instance? To be asked after nat64 has denied. An
 * IPv6 destination must lie in a mapping or under a prefix; an IPv4 destination in a mapping, but for an
 * instance with a prefix, which can translate any.
 */
bool siit_claim(const struct settings *settings, const uint8_t *data, struct siit_claim *claim);

/*
 * The IPv4 address that an IPv6 address is seen as, by a mapping, or stands for, under a prefix. False: it is
 * neither.
 */
bool siit_ipv4_of(const struct settings *settings, const struct ipv6_address *address, be32 *ipv4);

/*
 * Translates a packet that was claimed. Beside what the translators return: TRANSLATED_HAIRPIN, an IPv6
 * packet that became another one; BAD_SOURCE, BAD_DESTINATION, NON_GLOBAL, EMBEDDED_BITS, UNMAPPED, PROTOCOL.
 */
enum verdict siit_translate(struct worker *worker, struct packet *packet,
                            const struct description *description, struct siit_claim *claim);

#endif /* ENGINE_SIIT_H */
