# SPDX-License-Identifier: BSD-2-Clause
"""SIIT: RFC 7915 with the addresses of RFC 6052 and RFC 7757, hairpinning included, and RFC 6791.

Nothing is remembered from packet to packet. What there is to say about a packet is a Prediction as in
nat64.py. Fragments are translated one by one; of ICMP none are (RFC 7915 1.2), nor first fragments of UDP
without a checksum from IPv4 (4.5).
"""

import errors
import internet
import siit
from addresses import NON_GLOBAL, illegal_source4, illegal_source6, link_local6, within
from internet import ICMP4, ICMP6, TCP, UDP, defect, get16
from nat64 import Prediction
from siit import Rewrite


class Stateless:
    """prefix: Prefix or None. mappings: ExplicitMappings. hairpin: "intrinsic", "simple" or "off".
    icmp_sources: (first, last) IPv4 addresses for ICMP errors of untranslatable sources, or None."""

    def __init__(self, prefix, mappings, config, hairpin="intrinsic", icmp_sources=None,
                 translate_non_global=False):
        self.prefix, self.mappings, self.config = prefix, mappings, config
        self.hairpin, self.icmp_sources = hairpin, icmp_sources
        self.translate_non_global = translate_non_global

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
            self.prefix.covers(six) and within(four, NON_GLOBAL)

    def predict(self, data, now=0):
        if data and data[0] >> 4 in (4, 6):
            return self.predict6(data) if data[0] >> 4 == 6 else self.predict4(data)
        return Prediction(None, [defect("bad-version", "RFC 791, RFC 8200"), defect("truncated", "")])

    def transport_defects(self, packet, found):
        """What in the transport header keeps it from being translated; whether it does."""
        icmp = ICMP4 if packet.version == 4 else ICMP6
        if packet.protocol == icmp and packet.fragmented:
            found.append(defect("fragment", "RFC 7915 1.2: fragmented ICMP is not translated"))
            return True
        if packet.protocol not in (TCP, UDP, icmp) or packet.offset:
            return False
        reasons = internet.transport_defects(packet)
        found += reasons
        if packet.version == 4 and packet.protocol == UDP and packet.mf and not reasons and \
                get16(packet.payload, 6) == 0:
            found.append(defect("udp-checksum-zero", "RFC 7915 4.5: a first fragment without checksum"))
        return any(reason.must for reason in reasons)

    def predict6(self, data):
        packet, found = internet.parse6(data)
        result = Prediction(packet, found)
        if packet is None:
            return result
        if illegal_source6(packet.source) or link_local6(packet.source):
            found.append(defect("bad-source", "RFC 7915 5.1"))
        if packet.protocol is None or self.transport_defects(packet, found):
            return result
        destination = self.to4(packet.destination)
        if destination is None:
            found.append(defect("not-ours", "RFC 7915 6"))
            return result
        sources = [self.to4(packet.source)]
        error = packet.is_error and packet.protocol == ICMP6
        if sources[0] is None:
            sources = list(range(self.icmp_sources[0], self.icmp_sources[1] + 1)) \
                if packet.protocol == ICMP6 and packet.is_error and self.icmp_sources else []
            if not sources:
                found.append(defect("bad-source", "RFC 7915 6, RFC 6791 3", [None, (1, 5, bytes(4))]))
                return result
        for four, six in ((destination, packet.destination), (sources[0], packet.source)):
            if self.well_known(four, six):
                found.append(defect("non-global", "RFC 6052 3.1", [None, (1, 1, bytes(4))]))
        if error:
            self.error(packet, [Rewrite(source, destination) for source in sources], result)
        else:
            expected, late = siit.to4(packet, Rewrite(sources[0], destination), self.config)
            found += late
            result.expect = lambda actual: (expected, None)
        self.turn_around(packet, result, destination)
        return result

    def turn_around(self, packet, result, destination):
        """RFC 7757 4.2.2: what comes back to IPv6 at once."""
        if self.hairpin != "intrinsic" or result.expect is None:
            return
        if packet.is_error:
            quoted = errors.Quote(packet).packet
            again = quoted is not None and self.mappings.to4(quoted.source) is None and \
                self.mappings.to6(self.to4(quoted.source) or 0) is not None
        else:
            again = self.mappings.to4(packet.destination) is None and \
                self.mappings.to6(destination) is not None
        if not again:
            return
        straight = result.expect

        def expect(actual):
            expected, complaint = straight(actual)
            through = []
            for candidate in expected:
                # The hop limit is not decremented a second time.
                data = candidate.data[:8] + bytes([candidate.data[8] + 1]) + candidate.data[9:]
                data = internet.put16(data, 10, internet.checksum(internet.put16(data[:20], 10, 0)))
                second = self.predict4(data, hairpinned=True)
                if not second.blocked:
                    through += second.expect(actual)[0]
            return through, complaint

        result.expect = expect

    def predict4(self, data, hairpinned=False):
        packet, found = internet.parse4(data)
        result = Prediction(packet, found)
        if packet is None:
            return result
        error = packet.protocol == ICMP4 and packet.is_error
        if illegal_source4(packet.source):
            found.append(defect("bad-source", "RFC 7915 4.1", must=not error))
        if packet.protocol == internet.IGMP:
            found.append(defect("icmp-type", "RFC 7915 4.2: IGMP, silently"))
        if self.transport_defects(packet, found):
            return result
        simple = hairpinned or self.hairpin == "simple"
        quoted = errors.Quote(packet).packet if error else None
        # RFC 7757 4.2.1, rules 1 and 3
        plain = simple and (not error or quoted is not None and quoted.destination == packet.source)
        source, destination = self.to6(packet.source, not plain), self.to6(packet.destination)
        if source is None or destination is None:
            found.append(defect("not-ours", "RFC 7915 6"))
            found.append(defect("bad-source", "RFC 7915 6", must=source is None))
            return result
        for four, six in ((packet.source, source), (packet.destination, destination)):
            if self.well_known(four, six):
                found.append(defect("non-global", "RFC 6052 3.1", [None, (3, 13, bytes(4))]))
        if error:
            self.error(packet, [Rewrite(source, destination)], result, simple)
        else:
            expected, late = siit.to6(packet, Rewrite(source, destination), self.config)
            found += late
            result.expect = lambda actual: (expected, None)
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
            return
        icmp = ICMP4 if packet.version == 4 else ICMP6
        if inner is None or inner.protocol is None:
            return
        if inner.protocol in (TCP, UDP, icmp) and not inner.offset:
            missing = internet.transport_defects(inner, quoted=True)
            found += missing
            if missing:
                return
        if inner.protocol == icmp and inner.fragmented:
            found.append(defect("icmp-inner", "RFC 7915 1.2: fragmented ICMP is not translated"))
            return
        if inner.protocol == icmp and not inner.is_query:
            found.append(defect("icmp-inner", "RFC 7915 4.3, 5.3"))
            return
        if packet.version == 4:
            # RFC 7757 4.2.1 rule 2
            source, destination = self.to6(inner.source), self.to6(inner.destination, not simple)
        else:
            source, destination = self.to4(inner.source), self.to4(inner.destination)
        if source is None or destination is None:
            found.append(defect("icmp-inner", "RFC 7915 6: an address in the quoted packet"))
            return
        expected = []
        for outer in outers:
            more, late = errors.error(packet, outer, quote, Rewrite(source, destination), self.config)
            expected += more
        found += late
        result.expect = lambda actual: (expected, None)
