# SPDX-License-Identifier: BSD-2-Clause
"""RFC 7915 4.2, 4.3, 5.2, 5.3: ICMP errors, with the packets they quote and the extensions of RFC 4884."""

import struct

from internet import ICMP4, ICMP6, build4, build6, checksum, defect, get16, parse4, parse6, pseudo6
from siit import ERROR_LENGTH4, ERROR_LENGTH6, MINIMUM_MTU6, PLATEAUS, Expected, to4, to6

# Figure 3 of RFC 7915; what is not there has no counterpart.
POINTERS6 = {0: 0, 1: 1, 2: 4, 3: 4, 8: 7, 9: 6, **{i: 8 for i in range(12, 16)},
             **{i: 24 for i in range(16, 20)}}
# Figure 6
POINTERS4 = {0: 0, 1: 1, 4: 2, 5: 2, 6: 9, 7: 8, **{i: 12 for i in range(8, 24)},
             **{i: 16 for i in range(24, 40)}}
UNREACHABLE6 = {0: 0, 1: 0, 3: 4, 5: 0, 6: 0, 7: 0, 8: 0, 9: 1, 10: 1, 11: 0, 12: 0, 13: 1, 15: 1}
UNREACHABLE4 = {0: 1, 1: 10, 2: 1, 3: 1, 4: 3}


class Quote:
    """What an ICMP error says about another packet. field: the bytes of the "original datagram", padding
    and all; extension: what RFC 4884 appends; odd: the length attribute makes no sense."""

    def __init__(self, packet):
        rest = packet.payload[8:]
        kind = packet.payload[0]
        words = 0
        if packet.version == 4 and kind in (3, 11, 12):
            words = packet.payload[5] * 4
        elif packet.version == 6 and kind in (1, 3):
            words = packet.payload[4] * 8
        self.odd = words > len(rest) or 0 < words < 128
        self.field, self.extension = rest, b""
        if words and not self.odd:
            self.field, self.extension = rest[:words], rest[words:]
        self.extended = words > 0
        self.packet, self.defects = (parse4 if packet.version == 4 else parse6)(self.field, quoted=True)
        if self.extension and any(found.must for found in self.defects):
            # The headers do not fit into what the attribute says is the datagram.
            self.odd, self.field, self.extension = True, rest, b""
            self.packet, self.defects = (parse4 if packet.version == 4 else parse6)(rest, quoted=True)
        if self.odd:
            self.defects.append(defect("icmp-inner", "RFC 4884 4: the length attribute", must=False))


def likely_mtus(total):
    """RFC 7915 4.2 code 4 without an MTU: by the plateaus, which are the path's MTU in IPv4; the text can be
    read as to put in that number or that of the IPv6 side."""
    fitting = [plateau for plateau in PLATEAUS if plateau < total and plateau >= MINIMUM_MTU6]
    return [fitting[0], fitting[0] + 20] if fitting else [MINIMUM_MTU6]


def kinds6(packet, inner, config):
    """[(type, code, word)] that an ICMPv4 error may become; empty: none (RFC 7915 4.2)."""
    kind, code = packet.payload[0], packet.payload[1]
    zero = bytes(4)
    if kind == 3 and code == 2:
        return [(4, 1, struct.pack("!I", 6))]
    if kind == 3 and code == 4:
        mtu = get16(packet.payload, 6)
        values = [mtu + 20] if mtu else likely_mtus(get16(inner.data_as_quoted, 2))
        return [(2, 0, struct.pack("!I", max(MINIMUM_MTU6, min(value, config.mtu6, config.mtu4 + 20))))
                for value in values]
    if kind == 3 and code in UNREACHABLE6:
        return [(1, UNREACHABLE6[code], zero)]
    if kind == 11:
        return [(3, code, zero)]
    if kind == 12 and code in (0, 2) and packet.payload[4] in POINTERS6:
        return [(4, 0, struct.pack("!I", POINTERS6[packet.payload[4]]))]
    return []


def kinds4(packet, inner, config):
    """[(type, code, word)] that an ICMPv6 error may become (RFC 7915 5.2)."""
    kind, code = packet.payload[0], packet.payload[1]
    word = struct.unpack_from("!I", packet.payload, 4)[0]
    zero = bytes(4)
    if kind == 1 and code in UNREACHABLE4:
        return [(3, UNREACHABLE4[code], zero)]
    if kind == 2:
        mtu = min(word - 28 if inner.has_fragment_header else word - 20, config.mtu4, config.mtu6 - 20, 65535)
        # Where nothing is left, RFC 791's smallest MTU will do as well.
        return [(3, 4, struct.pack("!HH", 0, value)) for value in sorted({max(mtu, 0), max(mtu, 68)})]
    if kind == 3:
        return [(11, code, zero)]
    if kind == 4 and code == 0 and word in POINTERS4:
        return [(12, 0, struct.pack("!BBH", POINTERS4[word], 0, 0))]
    if kind == 4 and code == 1:
        return [(3, 2, zero)]
    return []


def extendable(version, kind):
    """RFC 4884 4.6"""
    return kind in ((3, 11, 12) if version == 4 else (1, 3))


def with_length(version, word, words):
    """The second word of the ICMP header with the length attribute in it."""
    if version == 4:
        return word[:1] + bytes([words]) + word[2:]
    return bytes([words]) + word[1:]


def contents(quote, inner, kind, version, limit):
    """Yields (length attribute, original datagram and extension as one) that may follow the ICMP header."""
    unit = 4 if version == 4 else 8
    length = quote.packet.transport_at + quote.packet.stated
    # Bytes beyond the end that the quoted header states are padding, or what somebody appended without
    # saying so; they may be passed on or left away.
    fields = [inner]
    beyond = len(quote.field) - length
    if 0 < beyond < len(inner):
        fields.append(inner[:len(inner) - beyond])
    for field in fields:
        if not (quote.extended and not quote.odd) or not extendable(version, kind):
            yield 0, field[:limit]
            continue
        if not quote.extension:
            yield 0, field[:limit]  # the attribute announces nothing
        field += bytes(max(-len(field) % unit, 128 - len(field)))
        if len(field) + len(quote.extension) <= limit and len(field) // unit <= 255:
            yield len(field) // unit, field + quote.extension
            continue
        # Too long: the extension is cut, or the datagram is, or the extension is left away.
        if len(field) <= limit and len(field) // unit <= 255:
            yield len(field) // unit, (field + quote.extension)[:limit]
        room = max((limit - len(quote.extension)) // unit * unit, 128)
        if room // unit <= 255:
            yield room // unit, (field[:room] + quote.extension)[:limit]
        yield 0, field[:limit]
        yield 0, inner[:limit]


def outer_defects(packet, version):
    """Of the packet around."""
    found = []
    if packet.hops <= 1:
        found.append(defect("hop-limit", "RFC 7915 4.1, 5.1; RFC 4443 2.4 e.1: no error about an error"))
    return found


def error(packet, outer, quote, inner_rewrite, config):
    """([Expected], defects) of an ICMP error whose checksum is right. quote.packet is no ICMP error."""
    found = outer_defects(packet, packet.version)
    quoted = quote.packet
    quoted.data_as_quoted = quote.field
    inners, more = (to6 if packet.version == 4 else to4)(quoted, inner_rewrite, config, quoted=True)
    found += more
    kinds = (kinds6 if packet.version == 4 else kinds4)(packet, quoted, config)
    if not kinds:
        return [], found + [defect("icmp-type", "RFC 7915 4.2, 5.2")]
    if packet.payload[0] == 2 and packet.version == 6:
        mtu = struct.unpack_from("!I", packet.payload, 4)[0]
        if mtu < 68 + 28:
            found.append(defect("icmp-type", "RFC 8201 4: such an MTU is not to be believed", must=False))
            found.append(defect("icmp-inner", "RFC 8201 4: such an MTU is not to be believed", must=False))
    known = (0, 1)
    if packet.payload[0] == (11 if packet.version == 4 else 3) and packet.payload[1] not in known:
        found.append(defect("icmp-type", "RFC 792, RFC 4443 3.3: no such code", must=False))
    build = error6 if packet.version == 4 else error4
    return [expected for kind in kinds for inner in inners
            for expected in build(packet, outer, quote, inner, kind, config)], found


def error6(packet, outer, quote, inner, kind, config):
    for words, rest in contents(quote, inner.data, kind[0], 6, ERROR_LENGTH6 - 48):
        message = bytes(kind[:2]) + bytes(2) + with_length(6, kind[2], words) if words else \
            bytes(kind[:2]) + bytes(2) + kind[2]
        message += rest
        total = checksum(message, pseudo6(outer.source, outer.destination, len(message), ICMP6))
        message = message[:2] + struct.pack("!H", total) + message[4:]
        tc = 0 if config.zeroize_traffic_class else packet.tos
        data = build6(outer.source, outer.destination, ICMP6, message, tc=tc, hlim=max(packet.hops - 1, 0))
        yield Expected(data, [], loose(inner, 48) + [42] * bool(inner.sums), clause="RFC 7915 4.2, 4.3")


def error4(packet, outer, quote, inner, kind, config):
    for words, rest in contents(quote, inner.data, kind[0], 4, ERROR_LENGTH4 - 28):
        word = with_length(4, kind[2], words) if words else kind[2]
        message = bytes(kind[:2]) + bytes(2) + word + rest
        message = message[:2] + struct.pack("!H", checksum(message)) + message[4:]
        tos = packet.tos if config.tos is None else config.tos
        whole = packet.has_fragment_header
        data = build4(outer.source, outer.destination, ICMP4, message, tos=tos, ttl=max(packet.hops - 1, 0),
                      ident=packet.ident & 0xffff)
        yield Expected(data, [0] * (not whole) + [at + 28 for at in inner.idents],
                       loose(inner, 28) + [22] * bool(inner.sums), clause="RFC 7915 5.2, 5.3")


def loose(inner, front):
    return [at + front for at in inner.sums]


def reply6(about, source, destination, kind):
    """The ICMPv6 error (type, code, word) about the packet `about`: RFC 4443 2.4, 3.1 to 3.4."""
    message = bytes(kind[:2]) + bytes(2) + kind[2] + about[:ERROR_LENGTH6 - 48]
    total = checksum(message, pseudo6(source, destination, len(message), ICMP6))
    message = message[:2] + struct.pack("!H", total) + message[4:]
    # Traffic class, flow label and hop limit are the sender's.
    return Expected(build6(source, destination, ICMP6, message), free=[(0, 4), (7, 1)],
                    clause="RFC 4443 2.4, 3")


def reply4(about, source, destination, kind):
    """The ICMPv4 error about the packet `about`: RFC 792, RFC 1812 4.3.2."""
    message = bytes(kind[:2]) + bytes(2) + kind[2] + about[:ERROR_LENGTH4 - 28]
    message = message[:2] + struct.pack("!H", checksum(message)) + message[4:]
    data = build4(source, destination, ICMP4, message)
    # TOS, identification, DF and TTL are the sender's.
    return Expected(data, idents=[0], free=[(1, 1), (6, 1), (8, 1)], clause="RFC 792, RFC 1812 4.3.2")
