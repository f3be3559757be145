/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * IP packets as hosts write and read them: strictly. Nothing here is shared with the engine, so that both
 * would have to be wrong in the same way.
 */
#ifndef TEST_SIMULATION_IP_H
#define TEST_SIMULATION_IP_H

#include <stdbool.h>
#include <stdint.h>

enum {
    IP_ICMPV4 = 1,
    IP_TCP = 6,
    IP_UDP = 17,
    IP_FRAGMENT = 44,
    IP_ICMPV6 = 58,
    IP_DESTINATION_OPTIONS = 60,

    IP_LONGEST = 65535 + 40,
};

struct address {
    uint8_t version;
    uint8_t bytes[16]; /* of IPv4 the first four */
};

struct ip {
    struct address source, destination;
    uint8_t protocol, hops, tos;
    bool df, more;
    bool fragmented; /* IPv6: has a fragment header; IPv4: is a fragment */
    uint8_t options; /* bytes: of IPv4 options, or of an IPv6 destination options header */
    uint32_t label, identification, offset;
    const uint8_t *payload;
    uint32_t length; /* of the payload that is there */
    uint32_t stated; /* of the payload by what the header says: in quoted packets perhaps more */
};

bool address_equal(const struct address *a, const struct address *b);
struct address address_of4(uint32_t ipv4);
struct address address_of6(const uint8_t bytes[16]);
uint32_t address_number(const struct address *address);

/* The IPv6 address prefix::a.b.c.d, for a prefix of 96 bits, and back. */
struct address address_embed(const struct address *prefix, const struct address *ipv4);

/* Takes a packet apart; NULL, or what is wrong with it. A quoted one may be cut off. */
const char *ip_read(struct ip *ip, const uint8_t *bytes, uint32_t length, bool quoted);

/* Writes a packet into memory that suffices; returns its length. */
uint32_t ip_write(const struct ip *ip, uint8_t *bytes);
uint32_t ip_length(const struct ip *ip);

/* Sum of the pseudo-header, and of the whole upper-layer packet: 0xffff or 0 where the checksum is right. */
uint16_t ip_pseudo_sum(const struct ip *ip, uint32_t length);
uint16_t ip_sum(const struct ip *ip);

/* Fills in the checksum of the payload, which is the caller's and the packet's. */
void ip_seal(const struct ip *ip, uint8_t *payload);

/* Cuts a packet, perhaps a fragment itself, into fragments of up to `mtu` bytes. */
void ip_cut(const struct ip *ip, uint32_t mtu, void (*piece)(void *context, const struct ip *ip),
            void *context);

#endif /* TEST_SIMULATION_IP_H */
