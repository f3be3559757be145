# SPDX-License-Identifier: BSD-2-Clause
"""The oracle against what the RFCs work out in their text, and its packets against scapy's."""

import collections
import ipaddress
import random

import generate
import internet
import siit
from addresses import ExplicitMappings, Prefix
from errors import likely_mtus
from internet import ICMP6, UDP, build4, build6, checksum, ip4, ip6, pseudo6, put16
from nat64 import Nat64, pretended
from stateless import Stateless

# RFC 6052 2.4, Table 1
EMBEDDED = (("2001:db8::/32", "2001:db8:c000:221::"), ("2001:db8:100::/40", "2001:db8:1c0:2:21::"),
            ("2001:db8:122::/48", "2001:db8:122:c000:2:2100::"),
            ("2001:db8:122:300::/56", "2001:db8:122:3c0:0:221::"),
            ("2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2100:0"),
            ("2001:db8:122:344::/96", "2001:db8:122:344::192.0.2.33"), ("64:ff9b::/96", "64:ff9b::192.0.2.33"))
# RFC 7757 Figures 1 and 7
MAPPINGS = (("192.0.2.1", "2001:db8:aaaa::"), ("192.0.2.2/32", "2001:db8:bbbb::b/128"),
            ("192.0.2.16/28", "2001:db8:cccc::/124"), ("192.0.2.128/26", "2001:db8:dddd::/64"),
            ("192.0.2.192/29", "2001:db8:eeee:8::/62"), ("192.0.2.224/31", "64:ff9b::/127"))
MAPPED = (("192.0.2.1", "2001:db8:aaaa::"), ("192.0.2.2", "2001:db8:bbbb::b"), ("192.0.2.16", "2001:db8:cccc::"),
          ("192.0.2.24", "2001:db8:cccc::8"), ("192.0.2.31", "2001:db8:cccc::f"),
          ("192.0.2.128", "2001:db8:dddd::"), ("192.0.2.152", "2001:db8:dddd:0:6000::"),
          ("192.0.2.183", "2001:db8:dddd:0:dc00::"), ("192.0.2.191", "2001:db8:dddd:0:fc00::"),
          ("192.0.2.195", "2001:db8:eeee:9:8000::"), ("192.0.2.225", "64:ff9b::1"),
          ("192.0.2.248", "64:ff9b::c000:2f8"))
# RFC 7757 Figures 8 and 11: (source, destination) before and after; 9 and 10: of an error and its quote.
TURNED = ((("2001:db8:aaaa::", "64:ff9b::192.0.2.2"), ("64:ff9b::192.0.2.1", "2001:db8:bbbb::b")),
          (("2001:db8:bbbb::b", "64:ff9b::192.0.2.1"), ("64:ff9b::192.0.2.2", "2001:db8:aaaa::")))
TURNED_ERRORS = (
    (("2001:db8::1234", "64:ff9b::192.0.2.1"), ("64:ff9b::198.51.100.1", "2001:db8:aaaa::")),
    (("2001:db8:bbbb::b", "64:ff9b::192.0.2.1"), ("64:ff9b::192.0.2.2", "2001:db8:aaaa::")))
QUOTED = (("64:ff9b::192.0.2.1", "2001:db8:bbbb::b"), ("2001:db8:aaaa::", "64:ff9b::192.0.2.2"))


def expect(found, expected, what):
    if found != expected:
        raise AssertionError(f"{what}: {found}, expected {expected}")


def addresses():
    for prefix, six in EMBEDDED:
        expect(Prefix(prefix).embed(ip4("192.0.2.33")), ip6(six), f"RFC 6052 2.4 {prefix}")
        expect(Prefix(prefix).extract(ip6(six)), ip4("192.0.2.33"), f"RFC 6052 2.4 {prefix}")
    translator = figure1()
    for four, six in MAPPED:
        expect(translator.to6(ip4(four)), ip6(six), f"RFC 7757 B {four}")
        expect(translator.to4(ip6(six)), ip4(four), f"RFC 7757 B {six}")
    expect(likely_mtus(1500)[0], 1492, "RFC 7915 4.2, plateaus of RFC 1191")
    expect(likely_mtus(1492), [1280], "RFC 7915 4.2: none is below and at least 1280")
    expect(likely_mtus(4000)[0], 2002, "RFC 7915 4.2")


def figure1():
    pool = (ip4("198.51.100.1"),) * 2
    return Stateless(Prefix("64:ff9b::/96"), ExplicitMappings(MAPPINGS), siit.Config(), icmp_sources=pool,
                     translate_non_global=True)


def datagram(source, destination):
    data = b"\x13\x88\0\x35\0\x0c\0\0test"
    total = checksum(data, pseudo6(source, destination, len(data), UDP)) or 65535
    return build6(source, destination, UDP, put16(data, 6, total), hlim=10)


def ends(data):
    packet, found = internet.parse6(data)
    expect(found, [], "the packet is not sound")
    return packet, tuple(ipaddress.IPv6Address(address) for address in (packet.source, packet.destination))


def hairpinning():
    """RFC 7757 B.1"""
    translator = figure1()
    for before, after in TURNED:
        prediction = translator.predict(datagram(*map(ip6, before)))
        expect(prediction.blocked, False, "RFC 7757 B.1")
        data = prediction.expect(b"")[0][0].data
        packet, found = ends(data)
        expect(found, tuple(map(ipaddress.IPv6Address, after)), "RFC 7757 Figures 8, 11")
        expect(packet.hops, 9, "RFC 7757 4.2.2: the hop limit")
        expect(data, datagram(packet.source, packet.destination)[:7] + b"\x09" + datagram(
            packet.source, packet.destination)[8:], "RFC 7757 B.1, all of the packet")
    for before, after in TURNED_ERRORS:
        source, destination = map(ip6, before)
        message = b"\1\4\0\0\0\0\0\0" + datagram(*map(ip6, QUOTED[0]))
        message = put16(message, 2, checksum(message, pseudo6(source, destination, len(message), ICMP6)))
        prediction = translator.predict(build6(source, destination, ICMP6, message))
        expect(prediction.blocked, False, f"RFC 7757 B.1 {prediction.defects}")
        packet, found = ends(prediction.expect(b"")[0][0].data)
        expect(found, tuple(map(ipaddress.IPv6Address, after)), "RFC 7757 Figures 9, 10, outer")
        _, found = ends(packet.payload[8:])
        expect(found, tuple(map(ipaddress.IPv6Address, QUOTED[1])), "RFC 7757 Figures 9, 10, inner")


def stateless():
    """RFC 7915 Appendix A, both ways."""
    translator = Stateless(Prefix("2001:db8:100::/40"), ExplicitMappings(()), siit.Config())
    six = ip6("2001:db8:1c0:2:21::"), ip6("2001:db8:1c6:3364:2::")
    there = translator.predict(datagram(*six)).expect(b"")[0][0].data
    packet, found = internet.parse4(there)
    expect((packet.source, packet.destination, found), (ip4("192.0.2.33"), ip4("198.51.100.2"), []),
           "RFC 7915 A.1")
    back = build4(packet.destination, packet.source, UDP, packet.payload, ttl=9)
    again = internet.parse6(translator.predict(back).expect(b"")[0][0].data)[0]
    expect((again.source, again.destination), (six[1], six[0]), "RFC 7915 A.2")


def scapy_sums(data, layers):
    """The packet with every checksum of its own, not of what it quotes, worked out by scapy; None if it sees
    padding behind what an ICMP error quotes, which it does not sum up."""
    first = (layers["IP"] if data[0] >> 4 == 4 else layers["IPv6"])(data)
    if "Padding" in first:
        return None
    layer = first
    while layer and type(layer).__name__ not in ("IPerror", "IPerror6", "NoPayload"):
        for name in ("chksum", "cksum"):
            if name in layer.fields:
                del layer.fields[name]
                layer.raw_packet_cache = None
        layer = layer.payload
    return bytes(first)


def against_scapy(number, rng):
    """Translations of packets whose checksums scapy finds right must be right for scapy too."""
    try:
        from scapy.layers.inet import IP
        from scapy.layers.inet6 import IPv6
    except ImportError:
        return "not compared with scapy: python3-scapy is not installed"
    layers, counts = {"IP": IP, "IPv6": IPv6}, collections.Counter()
    while counts["packets"] < number:
        setup = generate.Setup(rng)
        nat, now = Nat64(setup.settings, setup.config), 0
        for step in generate.steps(rng, 20):
            if step[0] in (generate.JUMP, generate.BURST, generate.DATAGRAM, "hostile"):
                continue
            now += 1
            data = generate.packet(step, setup, nat)
            prediction = nat.predict(data, now)
            counts["packets"] += 1
            if prediction.blocked:
                continue
            actual = b""
            if prediction.key is not None and prediction.packet.version == 6:
                transport = prediction.key[0]
                pool = next((first + i, port) for first, count, low, high, kinds in setup.settings.pool
                            if transport in kinds for i in range(count) for port in range(low, high + 1)
                            if (transport, (first + i, port)) not in nat.by_pool)
                actual = pretended(transport, pool)
            expected, _ = prediction.expect(actual)
            prediction.commit(actual)
            theirs = scapy_sums(expected[0].data, layers)
            if scapy_sums(data, layers) == data and theirs is not None:
                counts["compared"] += 1
                expect(theirs, expected[0].data, f"scapy sums up otherwise what becomes of {data.hex()}")
    return f"{counts['compared']} of {counts['packets']} translations compared with scapy"


def run(seed):
    for part in (addresses, stateless, hairpinning):
        part()
        print(f"self-test: {part.__name__} as in the RFCs")
    print("self-test: " + against_scapy(1500, random.Random(seed)))
    return 0
