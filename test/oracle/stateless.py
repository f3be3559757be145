# SPDX-License-Identifier: BSD-2-Clause
"""SIIT: RFC 7915 with the addresses of RFC 6052 and RFC 7757, hairpinning included, and RFC 6791.

Nothing is remembered from packet to packet. What there is to say about a packet is a Prediction as in
nat64.py. Fragments are translated one by one; of ICMP none are (RFC 7915 1.2), nor first fragments of UDP
without a checksum from IPv4 (4.5).
"""

import copy

import errors
import internet
import siit
from addresses import LINK_LOCAL, NO_HOST, NON_GLOBAL, UNSURE_GLOBAL, illegal_source4, illegal_source6, link_local6, within
from internet import ICMP4, ICMP6, TCP, UDP, defect, get16
from nat64 import Prediction
from siit import Rewrite


# Protocol numbers that mean an extension header or ICMP to the other family.
ELSEWHERE = {4: (0, 43, 44, 60, ICMP6), 6: (ICMP4,)}


CODES6 = {1: range(8), 2: range(256), 3: range(2), 4: range(4)}


class Stateless:
    """prefix: Prefix or None. mappings: ExplicitMappings. hairpin: "intrinsic", "simple" or "off".
    icmp_sources: (first, last) IPv4 addresses for ICMP errors of untranslatable sources, or None."""

    def __init__(self, prefix, mappings, config, hairpin="intrinsic", icmp_sources=None,
                 translate_non_global=False):
        self.prefix, self.mappings, self.config = prefix, mappings, config
        self.hairpin, self.icmp_sources = hairpin, icmp_sources
        self.translate_non_global = translate_non_global
        # Between two IPv6 networks there is no link with IPv4's MTU.
        self.between = copy.copy(config)
        self.between.mtu4 = self.between.mtu6 = self.between.lowest_ipv6_mtu = 65575

    # Addresses: RFC 7757 3.3, then RFC 6052. None: there is no counterpart.

    def to4(self, six):
        four = self.mappings.to4(six)
        if four is not None:
            return four
        return self.prefix.extract(six) if self.prefix is not None and self.prefix.covers(six) else None

    def to6(self, four, explicit=True):
        six = self.mappings.to6(four) if explicit else None
        if six is not None:
            return six
        return self.prefix.embed(four) if self.prefix is not None else None

    def well_known(self, four, six):
        """Whether the pair is one that RFC 6052 3.1 forbids."""
        return self.prefix is not None and self.prefix.well_known and not self.translate_non_global and \
            self.prefix.covers(six) and within(four, NON_GLOBAL + UNSURE_GLOBAL)

    def predict(self, data, now=0):
        if data and data[0] >> 4 in (4, 6):
            return self.predict6(data) if data[0] >> 4 == 6 else self.predict4(data)
        return Prediction(None, [defect("bad-version", "RFC 791, RFC 8200"), defect("truncated", "")])

    def transport_defects(self, packet, found):
        """What in the transport header keeps it from being translated; whether it does."""
        icmp = ICMP4 if packet.version == 4 else ICMP6
        if packet.protocol == icmp and packet.fragmented:
            found.append(defect("icmp-fragment", "RFC 7915 1.2: fragmented ICMP is not translated"))
            if not packet.offset:
                found += internet.transport_defects(packet)
            return True
        if packet.protocol in ELSEWHERE[packet.version]:
            # Translated as it is it would be something else; the engine's choice is to drop it.
            found.append(defect("protocol", "RFC 7915 4.1, 5.1: copied", (3, 2, bytes(4)) if packet.version == 4
                                else (1, 4, bytes(4)), must=False))
        if packet.protocol not in (TCP, UDP, icmp) or packet.offset:
            return False
        reasons = internet.transport_defects(packet)
        found += reasons
        if packet.version == 4 and packet.protocol == UDP and packet.mf and not reasons and \
                get16(packet.payload, 6) == 0:
            found.append(defect("udp-fragment-checksum-zero", "RFC 7915 4.5: a first fragment without checksum"))
        return any(reason.must for reason in reasons)

    def address_defects(self, pairs, found, replies, must=True):
        """Of (IPv4, IPv6) that stand for each other, as far as there are such."""
        for four, six in pairs:
            if four is not None and six is not None and self.well_known(four, six):
                found.append(defect("non-global", "RFC 6052 3.1", replies, must and within(four, NON_GLOBAL)))

    def predict6(self, data):
        packet, found = internet.parse6(data)
        result = Prediction(packet, found)
        if packet is None:
            return result
        if illegal_source6(packet.source) or link_local6(packet.source):
            found.append(defect("bad-source", "RFC 7915 5.1"))
        stuck = packet.protocol is None or self.transport_defects(packet, found)
        error = packet.is_error and packet.protocol == ICMP6 and not packet.fragmented
        replies = [None, (1, 1, bytes(4)), (1, 5, bytes(4))]
        destination = self.to4(packet.destination)
        turns, usual = self.turns(packet, destination), self.config
        self.config = self.between if turns else usual
        sources = self.sources(packet, error)
        if destination is None:
            found.append(defect("not-ours", "RFC 7915 6"))
        elif within(destination, NO_HOST + LINK_LOCAL):
            found.append(defect("bad-destination", "RFC 1122 3.2.1.3: no host elsewhere"))
        if not sources:
            found.append(defect("unmapped", "RFC 7915 6, RFC 6791 3", replies))
        elif within(sources[0], NO_HOST + LINK_LOCAL):
            found.append(defect("bad-source", "RFC 7915 5.1, RFC 3927 2.7", must=not error))
        self.address_defects([(destination, packet.destination)], found, replies)
        if sources and not error:
            self.address_defects([(sources[0], packet.source)], found, replies)
        if sources and not error and turns:
            self.address_defects([(sources[0], self.to6(sources[0], False))], found, replies, must=False)
        # RFC 6052 2.2 has such bits ignored; then what comes back comes from another address.
        for address in (packet.source, packet.destination):
            if self.prefix is not None and self.mappings.to4(address) is None and self.prefix.covers(address) and \
                    not self.prefix.canonical(address):
                found.append(defect("embedded-bits", "RFC 6052 2.2", must=False))
                found.append(defect("unmapped", "RFC 6052 2.2", replies, must=False))
        if error and not stuck and packet.payload[1] not in CODES6.get(packet.payload[0], ()):
            # It may be told for no error at all.
            self.address_defects([(self.to4(packet.source), packet.source)], found, replies, must=False)
            if self.to4(packet.source) is None:
                found.append(defect("unmapped", "RFC 7915 6", replies, must=False))
        if error and not stuck:
            self.error(packet, [Rewrite(source, destination or 0) for source in sources], result)
        elif not stuck and destination is not None and sources:
            expected, late = siit.to4(packet, Rewrite(sources[0], destination), self.config)
            found += late
            result.expect = lambda actual: (expected, None)
        if destination is None or not sources:
            result.expect = None
        self.config = usual
        if turns:
            self.turn_around(result)
        return result

    def sources(self, packet, error):
        """The IPv4 addresses that the source may become."""
        own = self.to4(packet.source)
        if own is not None and not (error and self.well_known(own, packet.source)):
            return [own]
        if not error or self.icmp_sources is None:
            return []
        return list(range(self.icmp_sources[0], self.icmp_sources[1] + 1))

    def turns(self, packet, destination):
        """RFC 7757 4.2.2: whether it comes back to IPv6 at once."""
        if self.hairpin != "intrinsic" or destination is None:
            return False
        if packet.protocol == ICMP6 and packet.is_error and not packet.fragmented:
            quoted = errors.Quote(packet).packet if len(packet.payload) >= 8 else None
            return quoted is not None and self.mappings.to4(quoted.source) is None and \
                self.mappings.to6(self.to4(quoted.source) or 0) is not None
        return self.mappings.to4(packet.destination) is None and self.mappings.to6(destination) is not None

    def turn_around(self, result):
        """The second pass."""
        if result.expect is None:
            return
        expected, through = result.expect(b"")[0], []
        result.turned, result.expect = True, None
        usual, self.config = self.config, self.between
        for candidate in expected:
            # The hop limit is not decremented a second time.
            data = candidate.data[:8] + bytes([candidate.data[8] + 1]) + candidate.data[9:]
            data = internet.put16(data, 10, internet.checksum(internet.put16(data[:20], 10, 0)))
            second = self.predict4(data, hairpinned=True)
            # What was sent is not there any more, so it may be answered or not.
            result.defects += [found._replace(verdict=name, replies=[None, (1, 1, bytes(4))])
                               for found in second.defects for name in {found.verdict, "unmapped"}]
            if not second.blocked:
                through += second.expect(b"")[0]
        self.config = usual
        if through:
            result.expect = lambda actual: (through, None)

    def predict4(self, data, hairpinned=False):
        packet, found = internet.parse4(data)
        result = Prediction(packet, found)
        if packet is None:
            return result
        error = packet.protocol == ICMP4 and packet.is_error and not packet.fragmented
        if illegal_source4(packet.source) or within(packet.source, LINK_LOCAL):
            found.append(defect("bad-source", "RFC 7915 4.1, RFC 3927 2.7", must=not error))
        if packet.protocol == internet.IGMP:
            found.append(defect("icmp-type", "RFC 7915 4.2: IGMP, silently"))
        if illegal_source4(packet.destination) or within(packet.destination, LINK_LOCAL):
            found.append(defect("bad-destination", "RFC 1122 3.2.1.3: no host elsewhere"))
        stuck = self.transport_defects(packet, found)
        simple = hairpinned or self.hairpin == "simple"
        quoted = errors.Quote(packet).packet if error and not stuck else None
        # RFC 7757 4.2.1, rules 1 and 3
        plain = simple and (not error or quoted is not None and quoted.destination == packet.source)
        source, destination = self.to6(packet.source, not plain), self.to6(packet.destination)
        replies = [None, (3, 13, bytes(4))]
        if destination is None:
            found.append(defect("not-ours", "RFC 7915 6"))
        if source is None:
            found.append(defect("unmapped", "RFC 7915 6", replies))
        if error and simple and not stuck and packet.payload[0] not in (3, 11, 12) and \
                self.to6(packet.source, False) is None:
            found.append(defect("unmapped", "RFC 7757 4.2.1: it may be told for no error", replies, must=False))
        self.address_defects([(packet.destination, destination)], found, replies)
        self.address_defects([(packet.source, source)], found, replies, must=not error)
        if error and not stuck:
            self.error(packet, [Rewrite(source or 0, destination or 0)], result, simple)
        elif not stuck and None not in (source, destination):
            expected, late = siit.to6(packet, Rewrite(source, destination), self.config)
            found += late
            result.expect = lambda actual: (expected, None)
        if None in (source, destination):
            result.expect = None
        return result

    def error(self, packet, outers, result, simple=False):
        """An ICMP error with the packet it quotes: both of its addresses are mapped like any other's."""
        found, quote = result.defects, errors.Quote(packet)
        pseudo = internet.pseudo6(packet.source, packet.destination, packet.stated, ICMP6) \
            if packet.version == 6 else 0
        if (internet.residue(packet.payload) + pseudo) % 65535:
            found.append(defect("icmp-checksum", "RFC 7915 5.2: it could not be updated"))
        found += quote.defects
        inner = quote.packet
        if packet.payload[0] not in ((3, 11, 12) if packet.version == 4 else (1, 2, 3, 4)):
            found.append(defect("icmp-type", "RFC 7915 4.2, 5.2"))
        icmp = ICMP4 if packet.version == 4 else ICMP6
        if inner is None or inner.protocol is None:
            return
        if packet.version == 4:
            # RFC 7757 4.2.1 rule 2
            source, destination = self.to6(inner.source), self.to6(inner.destination, not simple)
        else:
            source, destination = self.to4(inner.source), self.to4(inner.destination)
        if source is None or destination is None:
            found.append(defect("unmapped", "RFC 7915 6: an address in the quoted packet"))
        own = ((inner.source, source), (inner.destination, destination))
        self.address_defects([pair if packet.version == 4 else pair[::-1] for pair in own], found, [None], False)
        for address in (inner.source, inner.destination) if packet.version == 6 else ():
            if self.prefix is not None and self.prefix.covers(address) and not self.prefix.canonical(address):
                found.append(defect("unmapped", "RFC 6052 2.2", must=False))
        if inner.protocol in (TCP, UDP, icmp) and not inner.offset:
            missing = internet.transport_defects(inner, quoted=True)
            found += missing
            if missing:
                return
        if inner.protocol == icmp and inner.fragmented:
            # The error may be about what was fragmented only on its way, after the translation.
            found.append(defect("icmp-inner", "RFC 7915 1.2: fragmented ICMP is not translated", must=False))
        if inner.protocol == icmp and not inner.offset and not inner.is_query:
            found.append(defect("icmp-inner", "RFC 7915 4.3, 5.3"))
            return
        if source is None or destination is None or not outers:
            return
        expected = []
        for outer in outers:
            more, late = errors.error(packet, outer, quote, Rewrite(source, destination), self.config)
            expected += more
        found += late
        result.expect = lambda actual: (expected, None)
