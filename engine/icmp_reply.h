/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ICMP errors that the engine itself makes about a packet it refuses (RFC 7915 sections 4.4 and 5.4,
 * RFC 4443, RFC 792, RFC 1812 section 4.3.2).
 */
#ifndef ENGINE_ICMP_REPLY_H
#define ENGINE_ICMP_REPLY_H

#include "engine/packet.h"
#include "engine/settings.h"

struct icmp_sources {
    struct ipv6_address address6; /* all zero: no ICMPv6 error can be made */
    be32 address4;                /* 0: no ICMPv4 error can be made */
};

/*
 * Does `why` call for an error about `original`, and may one be sent? Not about an ICMP error or any other
 * ICMP message than echo, a fragment other than the first, a packet sent to a multicast address, or one from
 * an address that does not denote a single host (RFC 4443 section 2.4 (e), RFC 1812 section 4.3.2.7).
 *
 * What is sent, by verdict, for an IPv6 original and for an IPv4 one:
 *
 *   HOP_LIMIT         Time Exceeded 3/0; 11/0
 *   TOO_BIG_IPV6      Packet Too Big 2/0, MTU = that of the IPv4 path + 20, not below 1280
 *   TOO_BIG_IPV4      Fragmentation Needed 3/4, MTU = that of the IPv6 path - 20, for a fragment - 28
 *   PORTS_EXHAUSTED   Address Unreachable 1/3; Host Unreachable 3/1 (RFC 6146 section 3.5.1.1)
 *   TABLE_FULL        likewise, but nothing at once to a SYN from outside
 *   SUBSCRIBER_FULL   likewise
 *   SYN_STORED        nothing; Port Unreachable 3/3, when its time is over (RFC 6146 section 3.5.2.2)
 *   FILTERED          nothing; Prohibited 3/13
 *   NON_GLOBAL        Prohibited 1/1; 3/13
 *   UNMAPPED          likewise
 *   BAD_DESTINATION   Prohibited 1/1; nothing
 *   EMBEDDED_BITS     likewise
 *   ICMP_FRAGMENT, UDP_FRAGMENT, UDP_CHECKSUM_ZERO    nothing; Prohibited 3/13
 *   PROTOCOL          Port Unreachable 1/4 (RFC 6146 section 3.4); Protocol Unreachable 3/2
 *   ROUTING_HEADER    Erroneous Header 4/0, pointing at Segments Left
 *   SOURCE_ROUTE      Source Route Failed 3/5
 */
bool icmp_reply_due(const struct packet *original, const struct description *description, enum verdict why);

/*
 * Builds that error into `reply` (buffer, capacity and offset set by the caller; length and offload set
 * here), quoting as much of the original as allowed: ICMPv6 up to 1280 bytes in all, ICMPv4 up to 576. A
 * super-packet is quoted with the lengths of its headers as they are. False, `reply` unusable: none is due,
 * there is no source address, or the buffer is too small.
 */
bool icmp_reply_build(struct packet *reply, const struct packet *original,
                      const struct description *description, enum verdict why,
                      const struct icmp_sources *sources, const struct translation_settings *settings);

#endif /* ENGINE_ICMP_REPLY_H */
