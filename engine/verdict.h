/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What became of a packet: the one list.
 *
 * Every path out of the engine ends in exactly one of these rows, and the engine counts it where it is
 * returned, so a packet cannot vanish without a named reason. Enum, names, sentences, clauses, counters,
 * command output and documentation are all made from the list; add a row and everything follows.
 *
 *   V(identifier, "name", class, "sentence", "clause")
 *
 * class: FORWARDED  translated, to be sent on
 *        DIVIDED    translated, to be sent on in pieces that the engine hands out
 *        HELD       kept for the time being; what becomes of it is counted as well, when that is known
 *        REFUSED    not sent on; if the sender can act on it and the rate allows, it gets an ICMP error
 *        DROPPED    not sent on, silently for the sender
 */
#ifndef ENGINE_VERDICT_H
#define ENGINE_VERDICT_H

#include <stdint.h>

#define VERDICTS(V)                                                                                          \
    V(TRANSLATED_6TO4, "translated-6to4", FORWARDED, "Translated from IPv6 to IPv4.", "RFC 7915 5")          \
    V(TRANSLATED_4TO6, "translated-4to6", FORWARDED, "Translated from IPv4 to IPv6.", "RFC 7915 4")          \
    V(TRANSLATED_HAIRPIN, "translated-hairpin", FORWARDED,                                                   \
      "Translated to IPv4 and at once back to IPv6: both hosts are mapped by one siit entry.",               \
      "RFC 7757 4.2.2")                                                                                      \
    V(FRAGMENTED_4TO6, "fragmented-4to6", DIVIDED,                                                           \
      "Translated from IPv4 to IPv6 and fragmented: DF was not set, and the IPv6 side need not carry more "  \
      "than translation.lowest-ipv6-mtu.",                                                                   \
      "RFC 7915 4.1")                                                                                        \
    V(HOP_LIMIT, "hop-limit", REFUSED, "The hop limit or TTL ran out here; the sender got Time Exceeded.",   \
      "RFC 7915 4.1, 5.1")                                                                                   \
    V(TOO_BIG_IPV6, "too-big-ipv6", REFUSED,                                                                 \
      "Larger than the route to the IPv4 side carries, or plane.mtu.ipv4; the sender got Packet Too Big.",   \
      "RFC 7915 5.1")                                                                                        \
    V(TOO_BIG_IPV4, "too-big-ipv4", REFUSED,                                                                 \
      "Larger than the route to the IPv6 side carries, or plane.mtu.ipv6, and DF set; the sender got "       \
      "Fragmentation Needed.",                                                                               \
      "RFC 7915 4.1")                                                                                        \
    V(PORTS_EXHAUSTED, "ports-exhausted", REFUSED,                                                           \
      "No free port is left in any pool address for this protocol; enlarge nat64.pool.", "RFC 6146 3.5.1.1") \
    V(TABLE_FULL, "table-full", REFUSED,                                                                     \
      "The session table is full, or three quarters of it and the packet came from outside; raise "          \
      "nat64.limits.sessions.",                                                                              \
      "RFC 6146 3.5.1, 5.3")                                                                                 \
    V(SUBSCRIBER_FULL, "subscriber-full", REFUSED,                                                           \
      "The subscriber has as many sessions as nat64.limits.sessions-per-subscriber allows, or three "        \
      "quarters of that and the packet came from outside; a capture with this verdict shows whose it is.",   \
      "RFC 6146 5.3, RFC 6888 REQ-4")                                                                        \
    V(INDEX_FULL, "index-full", DROPPED,                                                                     \
      "Too many sessions hash to one place of the table; seen often, raise nat64.limits.sessions.",          \
      "RFC 6146 3.5.1")                                                                                      \
    V(CONTENTION, "contention", DROPPED,                                                                     \
      "Several workers created the same session at once and none got it done; the sender will retry.",       \
      "RFC 6146 3.5.1")                                                                                      \
    V(NO_BINDING, "no-binding", DROPPED, "An IPv4 packet for a pool address and port that nobody uses.",     \
      "RFC 6146 3.5.1")                                                                                      \
    V(SYN_STORED, "syn-stored", DROPPED,                                                                     \
      "A SYN from outside that may not pass; if the client sends none within nat64.timeouts.tcp-syn, the "   \
      "sender gets Port Unreachable.",                                                                       \
      "RFC 6146 3.5.2.2, RFC 5382 REQ-4")                                                                    \
    V(FILTERED, "filtered", REFUSED,                                                                         \
      "From an address that the client has no session with (nat64.filtering: address-dependent).",           \
      "RFC 6146 3.5.1")                                                                                      \
    V(NO_SESSION, "no-session", DROPPED, "A TCP segment that opens no connection and belongs to none.",      \
      "RFC 6146 3.5.2.2")                                                                                    \
    V(NOT_OURS, "not-ours", DROPPED,                                                                         \
      "The destination is neither under a prefix nor a pool address nor in a mapping.", "RFC 6146 3.5")      \
    V(BAD_SOURCE, "bad-source", DROPPED,                                                                     \
      "The source address cannot be answered: loopback, multicast, unspecified, class E or link-local.",     \
      "RFC 7915 4.1, 5.1, RFC 3927 2.7")                                                                     \
    V(BAD_DESTINATION, "bad-destination", REFUSED,                                                           \
      "The embedded IPv4 destination is not a host elsewhere: loopback, multicast, link-local or class E.",  \
      "RFC 6146 3.5, RFC 7915 5.4, RFC 3927 2.7")                                                            \
    V(LOOPED, "looped", DROPPED,                                                                             \
      "The IPv6 source lies under a nat64 prefix: it would be translated forever.", "RFC 6146 5.4")          \
    V(NON_GLOBAL, "non-global", REFUSED,                                                                     \
      "This IPv4 address is not global and may not stand behind 64:ff9b::/96; use a prefix of your "         \
      "own or set non-global: translate.",                                                                   \
      "RFC 6052 3.1")                                                                                        \
    V(UNMAPPED, "unmapped", REFUSED,                                                                         \
      "An address of the packet, or of the packet inside an ICMP error, has no counterpart: the siit entry " \
      "has neither a mapping of it nor a prefix for it.",                                                    \
      "RFC 7757 3.3, RFC 7915 4.4, 5.4")                                                                     \
    V(EMBEDDED_BITS, "embedded-bits", REFUSED,                                                               \
      "Bits 64 to 71 of the IPv6 destination are not zero, so that it embeds no IPv4 address.",              \
      "RFC 6052 2.2")                                                                                        \
    V(TRUNCATED, "truncated", DROPPED, "Shorter than its own headers say.", "RFC 1812 5.2.2, RFC 8200 3")    \
    V(BAD_VERSION, "bad-version", DROPPED, "Neither an IPv4 nor an IPv6 packet.",                            \
      "RFC 1812 5.2.2, RFC 8200 3")                                                                          \
    V(BAD_HEADER, "bad-header", DROPPED, "A length or checksum of the IP header is impossible.",             \
      "RFC 1812 5.2.2")                                                                                      \
    V(BAD_OFFLOAD, "bad-offload", DROPPED,                                                                   \
      "The offload description that came with the packet does not fit the packet.", "")                      \
    V(EXTENSION_HEADER, "extension-header", DROPPED,                                                         \
      "An IPv6 extension header that cannot be skipped, or more than eight of them; what follows may be an " \
      "error, so that nobody is answered.",                                                                  \
      "RFC 7915 5.1, 5.1.1")                                                                                 \
    V(ROUTING_HEADER, "routing-header", REFUSED,                                                             \
      "A routing header with segments left; the sender got Parameter Problem.", "RFC 7915 5.1")              \
    V(SOURCE_ROUTE, "source-route", REFUSED,                                                                 \
      "An IPv4 source route that has not ended; the sender got Source Route Failed.", "RFC 7915 4.1")        \
    V(FRAGMENT_HELD, "fragment-held", HELD,                                                                  \
      "A fragment kept until the rest of its datagram tells where it goes; what became of it is counted "    \
      "too.",                                                                                                \
      "RFC 6146 3.4")                                                                                        \
    V(FRAGMENT_TIMEOUT, "fragment-timeout", REFUSED,                                                         \
      "A fragment that was held while its datagram did not get on for nat64.timeouts.fragment.",             \
      "RFC 6146 3.4")                                                                                        \
    V(FRAGMENT_OVERLAP, "fragment-overlap", DROPPED,                                                         \
      "A fragment of a datagram of which two overlap or disagree about where it ends.",                      \
      "RFC 5722 3, RFC 8200 4.5")                                                                            \
    V(FRAGMENT_REPEATED, "fragment-repeated", DROPPED,                                                       \
      "A fragment that has come before; the others of its datagram still count.", "RFC 8200 4.5")            \
    V(FRAGMENT_LENGTH, "fragment-length", DROPPED,                                                           \
      "A fragment that is empty, ends beyond the longest IPv4 packet, or is not the last and no multiple "   \
      "of 8 bytes long.",                                                                                    \
      "RFC 791 3.2, RFC 8200 4.5")                                                                           \
    V(FRAGMENTS_FULL, "fragments-full", DROPPED,                                                             \
      "A fragment of a datagram that had to yield: to newer ones, of its source or, when all room is "       \
      "taken, of anybody; "                                                                                  \
      "or one of more than 128 of a datagram. See translation.fragments.",                                   \
      "RFC 6146 3.4")                                                                                        \
    V(ICMP_FRAGMENT, "icmp-fragment", REFUSED,                                                               \
      "A fragment of an ICMP error, or with siit of any ICMP message: it cannot be translated piece by "     \
      "piece.",                                                                                              \
      "RFC 7915 1.2")                                                                                        \
    V(UDP_FRAGMENT, "udp-fragment-checksum-zero", REFUSED,                                                   \
      "A fragment of UDP without a checksum: it cannot be computed piece by piece.", "RFC 7915 4.5")         \
    V(PROTOCOL, "protocol", REFUSED,                                                                         \
      "NAT64 carries TCP, UDP and ICMP only; siit no ICMP of the other family and no extension headers.",    \
      "RFC 6146 3.5")                                                                                        \
    V(UDP_CHECKSUM_ZERO, "udp-checksum-zero", REFUSED,                                                       \
      "UDP without a checksum, and translation.amend-udp-checksum-zero is off.", "RFC 7915 4.5")             \
    V(ICMP_TYPE, "icmp-type", DROPPED, "An ICMP type or code that has no counterpart, or IGMP.",             \
      "RFC 7915 4.2, 5.2")                                                                                   \
    V(ICMP_CHECKSUM, "icmp-checksum", DROPPED, "An ICMP error with a wrong checksum.", "RFC 5508 REQ-3")     \
    V(ICMP_INNER, "icmp-inner", DROPPED,                                                                     \
      "The packet inside an ICMP error is cut short, malformed, or an ICMP error itself.",                   \
      "RFC 7915 4.3, 5.3")                                                                                   \
    V(ICMP_NO_SESSION, "icmp-no-session", DROPPED, "An ICMP error about a packet of no known session.",      \
      "RFC 6146 3.5, RFC 5508 REQ-4")                                                                        \
    V(NO_ROOM, "no-room", DROPPED, "The buffer has no room in front for a longer header.", "")               \
    V(NO_DAEMON, "no-daemon", DROPPED,                                                                       \
      "The kernel's translator leaves such packets to the daemon, which does not run; start it.", "")

enum verdict_class {
    VERDICT_FORWARDED,
    VERDICT_DIVIDED,
    VERDICT_HELD,
    VERDICT_REFUSED,
    VERDICT_DROPPED,
};

enum verdict {
#define VERDICT_ENUM(id, name, class, sentence, clause) VERDICT_##id,
    VERDICTS(VERDICT_ENUM)
#undef VERDICT_ENUM
        VERDICT_COUNT
};

struct verdict_text {
    const char *name;
    enum verdict_class class;
    const char *sentence;
    const char *clause; /* "" where no RFC speaks of it */
};

extern const struct verdict_text verdict_texts[VERDICT_COUNT];

#endif /* ENGINE_VERDICT_H */
