# SPDX-License-Identifier: BSD-2-Clause
"""IPv4 and IPv6 packets as bytes: taking apart, putting together, checksums.

Written from RFC 791, 768, 792, 4443, 8200, 9293 with nothing but struct. Addresses are integers. A checksum
is worked out from all the bytes it covers, or, where only a part of them is there, from what changes: sums
are taken modulo 65535, which is what one's complement addition of 16-bit words amounts to.

What is wrong with a packet is a list of Defects, since a packet can have several and no RFC says which of
them a translator must notice first.
"""

import ipaddress
import struct
from collections import namedtuple

TCP, UDP, ICMP4, IGMP, ICMP6 = 6, 17, 1, 2, 58
HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION = 0, 43, 44, 60
SKIPPED = (HOP_BY_HOP, ROUTING, DESTINATION)  # RFC 7915 5.1
# Headers that RFC 8200 and IANA call extension headers, but which RFC 7915 5.1 does not name as skipped.
OTHER_EXTENSIONS = (51, 135, 139, 140, 253, 254)
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16

# verdict: as in engine/verdict.h. must: a packet with it may not pass; else the RFCs leave it open.
# replies: what the sender may get, each None or (ICMP type, code, four bytes after the checksum).
Defect = namedtuple("Defect", "verdict must clause replies")


def defect(verdict, clause, reply=None, must=True):
    return Defect(verdict, must, clause, reply if isinstance(reply, list) else [reply])


def ip4(text):
    return int(ipaddress.IPv4Address(text))


def ip6(text):
    return int(ipaddress.IPv6Address(text))


def residue(data):
    """The one's complement sum of the 16-bit words, modulo 65535."""
    if len(data) & 1:
        data += b"\0"
    return int.from_bytes(data, "big") % 65535


def checksum(data, beyond=0):
    """The Internet checksum of data and of what else sums up to `beyond`."""
    total = (residue(data) + beyond) % 65535
    if total == 0 and (beyond or any(data)):
        total = 65535
    return 65535 - total


def pseudo6(source, destination, length, protocol):
    """RFC 8200 8.1"""
    return (source % 65535 + destination % 65535 + (length >> 16) + (length & 65535) + protocol) % 65535


def pseudo4(source, destination, length, protocol):
    """RFC 9293 3.1, RFC 768; of ICMPv4 there is none"""
    return (source % 65535 + destination % 65535 + length + protocol) % 65535


def put16(data, position, value):
    return data[:position] + struct.pack("!H", value) + data[position + 2:]


def get16(data, position):
    return data[position] << 8 | data[position + 1]


def build4(source, destination, protocol, payload, *, tos=0, ident=0, df=0, mf=0, offset=0, ttl=64,
           options=b"", total=None, reserved=0, version=4, ihl=None, header_sum=None):
    options += bytes(-len(options) % 4)
    header = struct.pack("!BBHHHBBHII", version << 4 | (5 + len(options) // 4 if ihl is None else ihl), tos,
                         20 + len(options) + len(payload) if total is None else total, ident,
                         reserved << 15 | df << 14 | mf << 13 | offset, ttl, protocol, 0, source, destination)
    header += options
    return put16(header, 10, checksum(header) if header_sum is None else header_sum) + payload


def build6(source, destination, next_header, payload, *, tc=0, flow=0, hlim=64, length=None, version=6):
    return struct.pack("!IHBB", version << 28 | tc << 20 | flow,
                       len(payload) if length is None else length, next_header, hlim) + \
        source.to_bytes(16, "big") + destination.to_bytes(16, "big") + payload


def fragment_header(next_header, offset, more, ident, reserved=0):
    return struct.pack("!BBHI", next_header, reserved, offset << 3 | more, ident)


class Packet:
    """A packet taken apart. `stated` bytes of transport header and payload belong to it by its IP header; of
    a packet quoted in an ICMP error fewer may be there."""

    def __init__(self, version):
        self.version = version
        self.source = self.destination = 0
        self.tos = self.hops = self.ident = 0
        self.df = self.mf = self.offset = 0
        self.protocol = None
        self.options = b""
        self.has_fragment_header = False
        self.transport_at = 0
        self.stated = 0
        self.payload = b""
        self.data = b""

    @property
    def fragmented(self):
        return bool(self.mf or self.offset)

    @property
    def is_error(self):
        """An ICMP error, or something that must be treated as one since it cannot be told."""
        if self.protocol != (ICMP4 if self.version == 4 else ICMP6):
            return False
        if self.offset or not self.payload:
            return True
        kind = self.payload[0]
        return kind in (3, 4, 5, 11, 12) if self.version == 4 else kind < 128 or kind == 137

    @property
    def is_query(self):
        """ICMP, and certainly no error."""
        return bool(self.payload) and not self.offset and \
            (self.protocol, self.payload[0]) in ((ICMP4, 8), (ICMP4, 0), (ICMP6, 128), (ICMP6, 129))


def source_route(options):
    """(whether a source route is not yet at its end, whether the options make sense)"""
    at = 0
    unexpired = False
    while at < len(options):
        kind = options[at]
        if kind == 0:
            break
        if kind == 1:
            at += 1
            continue
        if at + 1 >= len(options) or options[at + 1] < 2 or at + options[at + 1] > len(options):
            return unexpired, False
        length = options[at + 1]
        if kind in (131, 137):
            if length < 3:
                return unexpired, False
            if options[at + 2] <= length:
                unexpired = True
        at += length
    return unexpired, True


def parse4(data, quoted=False):
    """(Packet or None, defects). None: nothing can be told about it."""
    packet = Packet(4)
    found = []
    cut = "icmp-inner" if quoted else "truncated"
    bad = "icmp-inner" if quoted else "bad-header"
    if len(data) < 20:
        return None, [defect(cut, "RFC 791 3.1")]
    if data[0] >> 4 != 4:
        return None, [defect(bad, "RFC 791 3.1")]
    ihl, total = (data[0] & 15) * 4, get16(data, 2)
    if ihl < 20:
        return None, [defect(bad, "RFC 791 3.1: IHL is at least 5")]
    if ihl > len(data):
        return None, [defect(cut, "RFC 791 3.1"), defect(bad, "RFC 791 3.1")]
    if total < ihl:
        return None, [defect(bad, "RFC 791 3.1: total length covers the header"), defect(cut, "RFC 791 3.1")]
    if total > len(data) and not quoted:
        return None, [defect(cut, "RFC 791 3.1"), defect(bad, "RFC 791 3.1")]
    if checksum(data[:ihl]):
        found.append(defect(bad, "RFC 1812 5.2.2; RFC 5508 REQ-3 a", must=not quoted))
    if not quoted:
        data = data[:total]
    flags = get16(data, 6)
    packet.data = data
    packet.tos, packet.ident, packet.hops, packet.protocol = data[1], get16(data, 4), data[8], data[9]
    packet.df, packet.mf, packet.offset = flags >> 14 & 1, flags >> 13 & 1, flags & 0x1fff
    packet.source, packet.destination = struct.unpack_from("!II", data, 12)
    packet.options = data[20:ihl]
    packet.transport_at, packet.stated, packet.payload = ihl, total - ihl, data[ihl:]
    unexpired, sensible = source_route(packet.options)
    if not quoted and unexpired:
        found.append(defect("source-route", "RFC 7915 4.1", (3, 5, bytes(4))))
    if not quoted and not sensible:
        found.append(defect(bad, "RFC 791 3.1: options that make no sense", must=False))
        found.append(defect("source-route", "RFC 7915 4.1", [(3, 5, bytes(4)), None], must=False))
    if packet.offset * 8 + packet.stated > 65535 and not quoted:
        found.append(defect(bad, "RFC 791 3.2: a fragment that ends beyond 65535", must=False))
    return packet, found


def parse6(data, quoted=False):
    """(Packet or None, defects)"""
    packet = Packet(6)
    cut = "icmp-inner" if quoted else "truncated"
    if len(data) < 40:
        return None, [defect(cut, "RFC 8200 3")]
    if data[0] >> 4 != 6:
        return None, [defect(cut, "RFC 8200 3")]
    first, length, following, packet.hops = struct.unpack_from("!IHBB", data)
    if 40 + length > len(data) and not quoted:
        return None, [defect(cut, "RFC 8200 3"), defect("bad-header", "RFC 8200 3")]
    if not quoted:
        data = data[:40 + length]
    packet.data, packet.tos = data, first >> 20 & 255
    packet.source, packet.destination = int.from_bytes(data[8:24], "big"), int.from_bytes(data[24:40], "big")
    packet.stated = length
    packet, found = walk_extensions(packet, data, following, quoted)
    if length == 0 and following == HOP_BY_HOP and not quoted:
        found.append(defect("bad-header", "RFC 2675 3: a jumbogram"))
    return packet, found


def walk_extensions(packet, data, following, quoted):
    """The second half of parse6: goes along the chain of headers."""
    found = []
    at, count, stuck = 40, 0, "icmp-inner" if quoted else "extension-header"
    cut = "icmp-inner" if quoted else "truncated"
    while following in SKIPPED or following == FRAGMENT:
        count += 1
        if packet.has_fragment_header and not packet.offset:
            # RFC 7915 5.1.1: SHOULD be dropped and logged, whatever comes after.
            found.append(defect(stuck, "RFC 7915 5.1.1", must=False))
        if packet.offset:
            found.append(defect(stuck, "RFC 7915 5.1.1", must=False))
            break
        if following == HOP_BY_HOP and at != 40:
            found.append(defect(stuck, "RFC 8200 4.1: only after the IPv6 header", must=False))
        size = 8 if following == FRAGMENT or at + 2 > len(data) else 8 * data[at + 1] + 8
        if at + size > len(data) or at + size > 40 + packet.stated:
            return finish6(packet, None, found + [defect(cut, "RFC 8200 4"), defect(stuck, "RFC 8200 4")])
        if following == ROUTING and data[at + 3]:
            found.append(defect(stuck, "RFC 7915 5.1: it is not translated", must=False) if quoted else
                         defect("routing-header", "RFC 7915 5.1", (4, 0, struct.pack("!I", at + 3))))
        if following == FRAGMENT:
            if packet.has_fragment_header:
                found.append(defect(stuck, "RFC 8200 4.5: a second fragment header"))
            packet.has_fragment_header = True
            flags, packet.ident = struct.unpack_from("!HI", data, at + 2)
            packet.offset, packet.mf = flags >> 3, flags & 1
        following = data[at]
        at += size
    if packet.has_fragment_header and following in OTHER_EXTENSIONS:
        found.append(defect(stuck, "RFC 7915 5.1.1", must=False))
    if count > 8:
        found.append(defect(stuck, "a limit of the engine: EXTENSION_HEADERS_MAXIMUM", must=False))
    packet.transport_at = at
    return finish6(packet, following, found)


def finish6(packet, protocol, found):
    packet.protocol = protocol
    packet.payload = packet.data[packet.transport_at:] if protocol is not None else b""
    packet.stated -= packet.transport_at - 40
    return packet, found


def transport_defects(packet, quoted=False):
    """What is wrong with the transport header of a packet that is no fragment but the first."""
    cut = "icmp-inner" if quoted else "truncated"
    bad = "icmp-inner" if quoted else "bad-header"
    icmp = ICMP4 if packet.version == 4 else ICMP6
    here = min(packet.stated, len(packet.payload))
    least = 8 if quoted else {TCP: 20, UDP: 8, icmp: 8}.get(packet.protocol, 0)
    if here < least:
        reasons = [defect(cut, "RFC 6146 3.4, RFC 9293 3.1, RFC 768")]
        if packet.protocol == icmp:
            reasons.append(defect("icmp-type", "RFC 7915 4.2, 5.2"))
            reasons.append(defect("bad-header", "RFC 792, RFC 4443 2.1"))
        if packet.fragmented:
            reasons.append(defect("fragment", "RFC 6146 3.4"))
        return reasons
    if quoted:
        return []
    if packet.protocol == TCP:
        offset = packet.payload[12] >> 4
        if offset < 5 or offset * 4 > here:
            return [defect(cut, "RFC 9293 3.1", must=not packet.fragmented),
                    defect(bad, "RFC 9293 3.1", must=not packet.fragmented)]
    if packet.protocol == UDP:
        length = get16(packet.payload, 4)
        if length < 8 or length > here and not packet.fragmented:
            # A router need not look at it; only who sums the packet up must.
            must = packet.version == 4 and get16(packet.payload, 6) == 0 and not packet.fragmented
            return [defect(cut, "RFC 768", must=must), defect(bad, "RFC 768", must=must),
                    defect("udp-checksum-zero", "RFC 7915 4.5", [None, (3, 13, bytes(4))], must=must)]
    return []
