/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A packet as planes hand it to the engine, and its bounds-checked description.
 */
#ifndef ENGINE_PACKET_H
#define ENGINE_PACKET_H

#include "engine/verdict.h"
#include "wire/bytes.h"

/*
 * Offload state, field for field that of struct virtio_net_hdr, in host byte order. Positions count
 * from the first byte of the IP header.
 */
struct offload {
    uint8_t flags;            /* OFFLOAD_PARTIAL: the transport checksum is partial, see wire/checksum.h */
    uint8_t gso_type;         /* OFFLOAD_GSO_..., perhaps with OFFLOAD_GSO_ECN */
    uint16_t header_length;   /* IP and transport header together; a hint */
    uint16_t gso_size;        /* payload bytes of each segment of a super-packet */
    uint16_t checksum_start;  /* where the sum starts */
    uint16_t checksum_offset; /* from there: where it is stored */
};
_Static_assert(sizeof(struct offload) == 10, "struct offload is copied from and to struct virtio_net_hdr");

enum {
    OFFLOAD_PARTIAL = 1,
    OFFLOAD_GSO_NONE = 0,
    OFFLOAD_GSO_TCPV4 = 1,
    OFFLOAD_GSO_TCPV6 = 4,
    OFFLOAD_GSO_UDP = 5, /* UDP segments of gso_size, either family */
    OFFLOAD_GSO_ECN = 0x80,
};

/*
 * `length` bytes at buffer + offset, the first being that of the IP header. The bytes in front are
 * headroom: translation to IPv6 needs PACKET_HEADROOM of them and an ICMP error twice as many.
 * The owner of the buffer is whoever made the packet; the engine only moves offset and length.
 */
struct packet {
    uint8_t *buffer;
    uint32_t capacity; /* of the buffer */
    uint32_t offset;
    uint32_t length;
    struct offload offload;
};

enum {
    PACKET_HEADROOM = 64,
    PACKET_MAXIMUM = 65535 + 40, /* bytes an IP packet can have */
};

WIRE_INLINE uint8_t *packet_data(const struct packet *packet)
{
    return packet->buffer + packet->offset;
}

/* What a packet is, as far as translation is concerned. */
enum packet_kind {
    PACKET_TCP,
    PACKET_UDP,
    PACKET_ICMP_QUERY, /* echo request or reply; both ports of the description are its identifier */
    PACKET_ICMP_ERROR, /* transport_length covers the quoted packet, which starts after 8 bytes */
    PACKET_ICMP_OTHER, /* any other ICMP type */
    PACKET_FRAGMENT,   /* a fragment other than the first: no transport header */
    PACKET_OTHER,      /* another protocol */
};

/*
 * The validated shape of one packet; positions count from the first byte of its IP header. Whatever
 * stands here was checked to lie within the packet (for a quoted packet: within what is quoted).
 */
struct description {
    uint8_t version;  /* 4 or 6 */
    uint8_t kind;     /* enum packet_kind */
    uint8_t protocol; /* PROTOCOL_..., of the transport header */
    uint8_t tcp_flags;
    uint8_t icmp_type;
    uint8_t icmp_code;
    bool fragmented; /* a fragment, the first one included; atomic fragments are not */
    bool whole;      /* the transport header is all there: false only in quoted packets */
    be16 source_port;
    be16 destination_port;
    uint16_t fragment_header;  /* position of the IPv6 fragment header, 0: none */
    uint16_t transport;        /* position of the transport header */
    uint32_t transport_length; /* bytes from there to the end that the IP header states */
    uint32_t datagram;         /* of a fragment: transport_length of the whole, set by who knows it; else 0 */
    uint16_t problem;          /* VERDICT_ROUTING_HEADER: position of Segments Left */
    uint32_t mtu;              /* VERDICT_TOO_BIG_...: of the path on the other side; 0: the least there is */
};

/*
 * Describes the packet, and cuts bytes beyond the length that its IP header states off packet->length.
 * Returns VERDICT_COUNT if all is well, otherwise why the packet cannot be used. On
 * VERDICT_ROUTING_HEADER and VERDICT_SOURCE_ROUTE the description is valid as far as an ICMP error
 * needs it.
 *
 * A super-packet whose IP length field would overflow (BIG TCP) is refused as VERDICT_BAD_HEADER.
 */
enum verdict packet_describe(struct packet *packet, struct description *description);

/*
 * Describes a packet quoted in an ICMP error: `available` bytes at `data`. Lengths in its headers may
 * exceed what is quoted; at least the first 8 bytes of the transport header must be there. Its own
 * quoted packet is not looked at: a quoted error has kind PACKET_ICMP_ERROR.
 * Returns VERDICT_COUNT, or VERDICT_ICMP_INNER.
 */
enum verdict packet_describe_quoted(const uint8_t *data, uint32_t available, struct description *description);

/* Is the protocol number that of an IPv6 extension header, by RFC 7045 section 4? ESP is none here. */
bool packet_is_extension_header(uint8_t protocol);

/* Bytes of the largest packet this one becomes on the wire: a super-packet is cut into segments. */
uint32_t packet_segment_length(const struct packet *packet, const struct description *description);

#endif /* ENGINE_PACKET_H */
