# SPDX-License-Identifier: BSD-2-Clause
"""RFC 7915: one packet from one IP version to the other, given what its addresses and ports become.

Nothing here knows where addresses come from; nat64.py takes them from bindings, Stateless from a prefix and
a table of explicit mappings. What comes out is a list of Expected packets, each as good as the others by the
RFCs, and a list of Defects that keep, or may keep, the packet from being translated.
"""

import struct

import internet
from internet import (ICMP4, ICMP6, FRAGMENT, TCP, UDP, SYN, build4, build6, checksum, defect, get16,
                      pseudo4, pseudo6, put16, residue)

MINIMUM_MTU6 = 1280
PLATEAUS = (65535, 32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68)  # RFC 1191 7.1
ERROR_LENGTH4 = 576  # RFC 1812 4.3.2.3
ERROR_LENGTH6 = 1280  # RFC 4443 2.4 (c)


class Config:
    """The keys under `translation` and the MTUs, with the defaults of design and RFC."""

    def __init__(self, **keys):
        self.zeroize_traffic_class = False
        self.tos = None
        self.amend_udp_checksum_zero = True
        self.mss_clamp = True
        self.lowest_ipv6_mtu = 1280
        self.mtu6 = self.mtu4 = 1500
        self.__dict__.update(keys)


class Rewrite:
    """New addresses; new ports, or identifier, where they change."""

    def __init__(self, source, destination, source_port=None, destination_port=None):
        self.source, self.destination = source, destination
        self.source_port, self.destination_port = source_port, destination_port

    def reversed(self):
        return Rewrite(self.destination, self.source, self.destination_port, self.source_port)


class Expected:
    """Bytes of a packet, and which of them the RFCs leave to the translator: idents are positions of IPv4
    headers whose identification (with the header checksum that follows from it) is free; sums are positions
    of checksums that were wrong or cannot be verified, of which zero may be written in two ways; free are
    (position, length) of anything."""

    def __init__(self, data, idents=(), sums=(), free=(), clause=""):
        self.data, self.idents, self.sums, self.free = data, list(idents), list(sums), list(free)
        self.clause = clause

    def agrees(self, actual):
        """None, or where the packet differs."""
        if len(actual) != len(self.data):
            return f"{len(actual)} bytes, expected {len(self.data)}"
        if actual == self.data:
            return None
        data = self.data
        for at, length in self.free:
            data = data[:at] + actual[at:at + length] + data[at + length:]
        for at in self.idents:
            data = put16(data, at + 4, get16(actual, at + 4))
        for at in self.idents:
            header = put16(data[at:at + 20], 10, 0)
            data = put16(data, at + 10, checksum(header))
        for at in self.sums:
            if get16(actual, at) % 65535 == get16(data, at) % 65535:
                data = put16(data, at, get16(actual, at))
        if actual == data:
            return None
        at = next(i for i in range(len(data)) if data[i] != actual[i])
        return f"byte {at} is {actual[at]:02x}, expected {data[at]:02x}"


# The transport header

def changed_sum(old, delta):
    """(the checksum `old` after the sum it stands for has grown by delta, whether that came to zero)"""
    total = (65535 - old + delta) % 65535
    return (65535 - total) % 65535, total == 0


def clamp(options, limit):
    """The options of a SYN with each maximum segment size above the limit lowered to it."""
    out, at = bytearray(options), 0
    while at < len(out):
        kind = out[at]
        if kind == 0:
            break
        if kind == 1:
            at += 1
            continue
        if at + 1 >= len(out) or out[at + 1] < 2 or at + out[at + 1] > len(out):
            break
        if kind == 2 and out[at + 1] == 4:
            out[at + 2:at + 4] = struct.pack("!H", min(limit, get16(out, at + 2)))
        at += out[at + 1]
    return bytes(out)


def segment_limit(config):
    """What fits without fragmentation on both sides, since the segments that a SYN invites cross both."""
    return min(config.mtu6 - 60, config.mtu4 - 40)


def edit_tcp(packet, payload, rewrite, config, quoted):
    if rewrite.source_port is not None:
        payload = put16(payload, 0, rewrite.source_port)
    if rewrite.destination_port is not None:
        payload = put16(payload, 2, rewrite.destination_port)
    if not quoted and config.mss_clamp and packet.protocol == TCP and payload[13] & SYN:
        end = min((payload[12] >> 4) * 4, len(payload))
        payload = payload[:20] + clamp(payload[20:end], segment_limit(config)) + payload[end:]
    return payload


def edit_echo(packet, payload, rewrite):
    kinds = {8: 128, 0: 129} if packet.version == 4 else {128: 8, 129: 0}
    payload = bytes([kinds[payload[0]]]) + payload[1:]
    if rewrite.source_port is not None:
        payload = put16(payload, 4, rewrite.source_port)
    return payload


def address_sums(packet, rewrite):
    """(before, after): of what a pseudo-header has beyond length and protocol."""
    return (packet.source + packet.destination) % 65535, (rewrite.source + rewrite.destination) % 65535


def verified(packet, at):
    """Whether the checksum at `at` of the payload is right, as far as that can be told."""
    if len(packet.payload) != packet.stated or packet.fragmented:
        return False
    length = packet.stated
    if packet.protocol == UDP and get16(packet.payload, 4) != length:
        return False
    if packet.protocol == ICMP4:
        return residue(packet.payload) == 0
    pseudo = pseudo4 if packet.version == 4 else pseudo6
    return (residue(packet.payload) + pseudo(packet.source, packet.destination, length,
                                             packet.protocol)) % 65535 == 0


def udp_without_checksum(packet, payload, rewrite, config, quoted):
    """[(payload, sums)], defects: RFC 7915 4.5, RFC 6146 3.4."""
    length = get16(payload, 4)
    if packet.version == 6:
        # RFC 8200 8.1 has receivers discard it and RFC 6935 has exceptions; IPv4's "no checksum" is zero too.
        return [(payload, [])], [defect("udp-checksum-zero", "RFC 8200 8.1", must=False),
                                 defect("bad-header", "RFC 8200 8.1", must=False)]
    if not quoted and not config.amend_udp_checksum_zero:
        return [(payload, [])], [defect("udp-checksum-zero", "RFC 7915 4.5",
                                          [None, (3, 13, bytes(4))])]
    whole = 8 <= length <= len(payload) and not packet.fragmented
    total = checksum(payload[:length], pseudo6(rewrite.source, rewrite.destination, length, UDP)) or 65535
    amended = (put16(payload, 6, total), [])
    if not quoted:
        return [amended], []
    # Nobody can sum up what is cut off; and what is quoted is no packet on its way.
    return ([amended] if whole else []) + [(payload, [])], [defect("icmp-inner", "RFC 7915 4.5", must=False)]


def transport(packet, rewrite, config, quoted=False):
    """[(payload, positions of loose checksums)], defects"""
    payload = packet.payload
    icmp = ICMP4 if packet.version == 4 else ICMP6
    if packet.offset or packet.protocol not in (TCP, UDP, icmp):
        return [(payload, [])], []
    before, after = address_sums(packet, rewrite)
    delta = after - before
    if packet.protocol == icmp:
        at = 2
        edited = edit_echo(packet, payload, rewrite)
        pseudo = packet.stated + ICMP6
        delta = after + pseudo if packet.version == 4 else -before - pseudo
    else:
        at = 16 if packet.protocol == TCP else 6
        edited = edit_tcp(packet, payload, rewrite, config, quoted)
        if packet.protocol == UDP and get16(payload, at) == 0:
            return udp_without_checksum(packet, edited, rewrite, config, quoted)
    if at + 2 > len(payload):
        return [(edited, [])], []
    # What is edited stands within the header; the rest need not be summed up.
    head = min(len(payload), 60)
    total, zero = changed_sum(get16(payload, at), residue(edited[:head]) - residue(payload[:head]) + delta)
    if packet.protocol == UDP and total == 0:
        total = 65535
    loose = [at] if zero and not verified(packet, at) and packet.protocol != UDP else []
    return [(put16(edited, at, total), loose)], []


# RFC 7915 5: from IPv6 to IPv4

def header4(packet, rewrite, config, payload, quoted):
    """(IPv4 packet around the payload, whether its identification is the translator's choice)"""
    protocol = ICMP4 if packet.protocol == ICMP6 else packet.protocol
    tos = packet.tos if config.tos is None else config.tos
    hops = packet.hops if quoted else max(packet.hops - 1, 0)
    total = 20 + packet.stated
    if packet.has_fragment_header:
        return build4(rewrite.source, rewrite.destination, protocol, payload, tos=tos, mf=packet.mf,
                      ident=packet.ident & 0xffff, offset=packet.offset, ttl=hops, total=total), False
    return build4(rewrite.source, rewrite.destination, protocol, payload, tos=tos, ttl=hops, total=total,
                  df=int(total > 1260)), True


def size_defects4(packet, config):
    """RFC 7915 5.1: what does not fit the IPv4 side."""
    if 20 + packet.stated <= config.mtu4:
        return []
    mtu = max(MINIMUM_MTU6, config.mtu4 + 20)
    if len(packet.data) <= MINIMUM_MTU6:
        return []  # DF is clear and whoever sends it on fragments it
    must = 20 + packet.stated > 1260 and not packet.has_fragment_header
    return [defect("too-big-ipv6", "RFC 7915 5.1, RFC 4443 3.2", (2, 0, struct.pack("!I", mtu)), must)]


def to4(packet, rewrite, config, quoted=False):
    """([Expected], defects) of a packet that is no ICMP error."""
    found = []
    if packet.protocol == ICMP6 and not packet.offset and packet.payload[0] not in (128, 129):
        return [], [defect("icmp-type", "RFC 7915 5.2")]
    if not quoted:
        found += size_defects4(packet, config)
        if packet.hops <= 1:
            found.append(defect("hop-limit", "RFC 7915 5.1", (3, 0, bytes(4))))
    elif 20 + packet.stated > 65535:
        return [], [defect("icmp-inner", "RFC 791 3.1: no IPv4 packet is that long")]
    results, more = transport(packet, rewrite, config, quoted)
    expected = []
    for payload, sums in results:
        data, free = header4(packet, rewrite, config, payload, quoted)
        expected.append(Expected(data, [0] if free else [], [20 + at for at in sums], clause="RFC 7915 5"))
    return expected, found + more


# RFC 7915 4: from IPv4 to IPv6

def header6(packet, rewrite, config, payload, quoted):
    protocol = ICMP6 if packet.protocol == ICMP4 else packet.protocol
    tc = 0 if config.zeroize_traffic_class else packet.tos
    hops = packet.hops if quoted else max(packet.hops - 1, 0)
    length = packet.stated
    if packet.fragmented:
        payload = internet.fragment_header(protocol, packet.offset, packet.mf, packet.ident) + payload
        protocol = FRAGMENT
        length += 8
    return build6(rewrite.source, rewrite.destination, protocol, payload, tc=tc, hlim=hops, length=length)


def size_defects6(packet, config):
    """RFC 7915 4.1: what does not fit the IPv6 side."""
    size = 40 + packet.stated + 8 * packet.fragmented
    literal = len(packet.data) + 20
    # A fragment grows by its header, too; told 20 less, its sender would not get through.
    reply = (3, 4, struct.pack("!HH", 0, min(config.mtu6 - 20 - 8 * packet.fragmented, 65535)))
    if packet.df and (size > config.mtu6 or literal > config.mtu6):
        return [defect("too-big-ipv4", "RFC 7915 4.1", reply, must=size > config.mtu6)]
    return []


def to6(packet, rewrite, config, quoted=False):
    """([Expected], defects) of a packet that is no ICMP error."""
    found = []
    if packet.protocol == ICMP4 and not packet.offset and packet.payload[0] not in (8, 0):
        return [], [defect("icmp-type", "RFC 7915 4.2")]
    if not quoted:
        found += size_defects6(packet, config)
        if packet.hops <= 1:
            found.append(defect("hop-limit", "RFC 7915 4.1", (11, 0, bytes(4))))
    results, more = transport(packet, rewrite, config, quoted)
    front = 48 if packet.fragmented else 40
    expected = [Expected(header6(packet, rewrite, config, payload, quoted), [], [front + at for at in sums],
                         clause="RFC 7915 4") for payload, sums in results]
    return expected, found + more


def fragment_limit6(config):
    """RFC 7915 4.1: "the minimum IPv6 MTU" or what else may be relied on, and no more than the path carries."""
    return max(MINIMUM_MTU6, min(config.lowest_ipv6_mtu, config.mtu6))


def must_fragment6(packet, config):
    """RFC 7915 4.1: whether it goes out in fragments of at most that. ICMP errors are cut instead."""
    size = 40 + packet.stated + 8 * packet.fragmented
    return not packet.is_error and not packet.df and size > fragment_limit6(config)


def reassembled(pieces, limit):
    """(the IPv6 packet that the fragments `pieces` are of, its identification, None) or a complaint as the
    third. Of pieces of a fragment it is that fragment again, with its fragment header."""
    parts = []
    for piece in pieces:
        packet, found = internet.parse6(piece)
        if packet is None or any(one.must for one in found) or packet.transport_at != 48 or \
                not packet.has_fragment_header:
            return None, None, "a piece is no proper fragment"
        if len(piece) > limit:
            return None, None, f"a fragment has {len(piece)} bytes, more than {limit}"
        parts.append((packet.offset * 8, packet))
    if not parts:
        return None, None, "no piece came out"
    parts.sort(key=lambda part: part[0])
    first, last = parts[0][1], parts[-1][1]
    at = parts[0][0]
    for offset, packet in parts:
        if packet.data[:4] + packet.data[6:42] + packet.data[44:48] != \
                first.data[:4] + first.data[6:42] + first.data[44:48]:
            return None, None, "the fragments' headers are not the same"
        # The last one's flag is what a fragment that was divided had, and so is that of eight bytes.
        if offset != at or packet is not last and (not packet.mf or packet.stated % 8):
            return None, None, "the fragments overlap, or leave a gap, or are no multiple of 8"
        at += len(packet.payload)
    payload = b"".join(packet.payload for _, packet in parts)
    protocol = first.protocol
    if first.offset or last.mf:
        payload = internet.fragment_header(protocol, first.offset, last.mf, first.ident) + payload
        protocol = FRAGMENT
    whole = first.data[:4] + struct.pack("!HB", len(payload), protocol) + first.data[7:40] + payload
    return whole, first.ident, None
