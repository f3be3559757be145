# SPDX-License-Identifier: BSD-2-Clause
"""A siit instance beside the oracle of stateless.py: its settings, its packets, and the comparison.

There is nothing to remember, so each packet is compared by itself, fragments included. Packets are made by the
makers of generate.py, which know sessions: here a session is two hosts, of which the one has a mapping.
"""

import random

import generate
import internet
import siit
from addresses import ExplicitMappings, Prefix
from generate import ALL, CLIENT_PORTS, REMOTE_PORTS
from internet import ICMP4, checksum, ip4, ip6, put16
from nat64 import Binding, Session, Settings
from sequence import Difference, FORWARDED, DIVIDED, check_packet, check_pieces
from stateless import Stateless

START = 1_000_000
TURNED = "translated-hairpin"
# Rows as in RFC 7757 and worse: of equal and unequal suffixes, one inside another, of single addresses.
ROWS = (("198.41.0.4", "2a02:1::4"), ("198.41.1.0/24", "2a02:2::/120"), ("198.41.1.16/28", "2a02:3::/124"),
        ("198.41.2.0/26", "2a02:4::/64"), ("198.41.3.192/29", "2a02:5:0:8::/62"), ("198.41.4.0/31", "2a02:6::/127"),
        ("198.41.0.0/16", "2a02:7::/112"), ("198.41.5.5", "2a02:2::77"), ("10.1.0.0/24", "2a02:8::/120"))
HAIRPINS = ("intrinsic", "simple", "off")


def inside(rng, four, six, mappings):
    """(IPv4 address, IPv6 address) of a row, if they are each other's; else None."""
    network, length = ip4(four.split("/")[0]), int((four + "/32").split("/")[1])
    address = network | rng.getrandbits(32) & ((1 << 32 - length) - 1)
    other = mappings.to6(address)
    return (address, other) if mappings.to4(other) == address else None


class Setup(generate.Setup):
    """Settings of one siit instance; for the makers it looks like one of nat64."""

    def __init__(self, rng):
        super().__init__(rng)
        translation, _ = self.draw(rng)
        rows = rng.sample(ROWS, rng.randrange(1, len(ROWS) + 1))
        self.has_prefix = rng.random() < 0.9
        self.hairpin = rng.choice(HAIRPINS)
        self.own = (rng.choice((0, ip6("2002:fe::fe"))), rng.choice((0, ip4("198.18.7.7"))))
        self.hops = rng.choice((None, (ip4("198.18.9.0"), ip4("198.18.9.15"))))
        non_global = rng.choice(("refuse", "translate"))
        self.settings = Settings(prefix=self.prefix, address6=self.own[0], address4=self.own[1])
        self.config = self.make_config(translation)
        self.lines = ["set nat64 none"] + [f"set {key} {value}" for key, value in translation.items()
                                           if value is not None]
        self.lines += ["siit name dc", f"siit hairpin {self.hairpin}", f"siit non-global {non_global}"]
        if self.has_prefix:
            self.lines.append(f"siit prefix {self.prefix.text}")
        if self.own[0]:
            self.lines.append("siit address6 2002:fe::fe")
        if self.own[1]:
            self.lines.append("siit address4 198.18.7.7")
        if self.hops:
            self.lines.append("siit icmp-source 198.18.9.0/28")
        self.lines += [f"eam {four} {six}" for four, six in rows]
        mappings = ExplicitMappings(rows)
        sources = self.hops or (self.own[1] and (self.own[1],) * 2) or None
        self.translator = Stateless(self.prefix if self.has_prefix else None, mappings, self.config, self.hairpin,
                                    sources, non_global == "translate")
        self.hosts = [host for host in (inside(rng, *rng.choice(rows), mappings) for _ in range(12)) if host]


class Flows:
    """As much of nat64.Nat64 as the makers look at: a new pair of hosts each time."""

    def __init__(self, rng, setup):
        self.rng, self.setup, self.settings = rng, setup, setup.settings
        self.settings.pool_addresses = {four for four, _ in setup.hosts} or {ip4("198.41.0.4")}
        self.departed = {}

    def sessions(self):
        rng, setup = self.rng, self.setup
        four, six = rng.choice(setup.hosts or [(ip4("198.41.0.4"), ip6("2a02:1::4"))])
        if rng.random() < 0.1:
            four = rng.choice(setup.remotes)
            six = setup.prefix.embed(four)
        far = rng.choice(setup.remotes)
        if rng.random() < 0.3 and setup.hosts:
            far = rng.choice(setup.hosts)[0]
        port = rng.choice(CLIENT_PORTS)
        transport = rng.choice(ALL)
        binding = Binding(transport, (six, port), (four, port))
        session = Session(binding, (far, 0 if transport == "icmp" else rng.choice(REMOTE_PORTS)), [])
        binding.sessions[session.remote] = session
        self.by_client = {(transport, binding.client): binding}
        return [session]


def fragment(rng, data):
    """The packet as one fragment of something longer, if it may be one."""
    offset, more = rng.choice(((0, 1), (0, 1), (1, 0), (5, 1), (180, 1), (8191, 0)))
    if len(data) >= 20 and data[0] >> 4 == 4:
        data = put16(data, 6, int.from_bytes(data[6:8], "big") & 0x4000 | more << 13 | offset)
        header = (data[0] & 15) * 4
        return put16(data, 10, checksum(put16(data[:header], 10, 0)))
    if len(data) < 40 or data[0] >> 4 != 6 or data[6] in (0, 43, 44, 60):
        return data
    length = int.from_bytes(data[4:6], "big") + 8
    header = internet.fragment_header(data[6], offset, more, rng.getrandbits(32))
    return put16(data[:6] + bytes([internet.FRAGMENT]) + data[7:40] + header + data[40:], 4, length & 0xffff)


def packet(rng, setup):
    flows = Flows(rng, setup)
    makers = (generate.make_flow6, generate.make_flow4, generate.make_error6, generate.make_error4,
              generate.make_stray, generate.make_hostile, generate.make_other_icmp)
    flow6 = rng.choices(makers, (8, 8, 5, 5, 3, 4, 1))[0](rng, setup, flows)
    if rng.random() < 0.12:
        return fragment(rng, flow6)
    if rng.random() < 0.05 and len(flow6) > 20 and flow6[0] >> 4 == 4:
        data = put16(flow6[:9] + bytes([rng.choice((47, 50, 132, 58, 44, 0, 60, 43, 51, ICMP4))]) + flow6[10:], 10, 0)
        return put16(data, 10, checksum(data[:(data[0] & 15) * 4]))
    return flow6


class StatelessSequence:
    """One engine with one siit instance, and packets for it."""

    def __init__(self, driver, seed, statistics):
        self.driver, self.statistics = driver, statistics
        self.setup = Setup(random.Random(seed))
        self.settings = self.setup.settings
        self.last, self.history, self.now = None, [], START
        driver.ask("new", *self.setup.lines, f"at {self.now}000000")

    def run(self, steps):
        for step in steps:
            if step[0] != generate.JUMP:
                self.packet(packet(random.Random(step[1]), self.setup))
        self.last = None

    def packet(self, data):
        self.now += 2
        prediction = self.setup.translator.predict(data)
        self.last = data, prediction, None
        answers = self.driver.ask(f"at {self.now}000000", "in " + (data.hex() or "-"))
        verdict, out = answers[0][1], bytes.fromhex(answers[0][2])
        made = [bytes.fromhex(answer[1]) for answer in answers[1:]]
        self.statistics["siit " + verdict] += 1
        self.history.append((data, verdict, out))
        self.last = data, prediction, verdict
        if verdict == DIVIDED:
            if prediction.blocked:
                raise Difference("divided and it must not be translated")
            if not siit.must_fragment6(prediction.packet, self.setup.config):
                raise Difference("divided without need [RFC 7915 4.1]")
            return check_pieces(prediction, verdict, made, self.setup.config)
        if verdict in FORWARDED and not prediction.blocked and prediction.packet.version == 4 and \
                siit.must_fragment6(prediction.packet, self.setup.config):
            raise Difference("not divided [RFC 7915 4.1]")
        if (verdict == TURNED) != prediction.turned and verdict in FORWARDED + (TURNED,):
            raise Difference(f"verdict {verdict}, and it must {'' if prediction.turned else 'not '}turn round "
                             "[RFC 7757 4.2.2]")
        return check_packet(prediction, FORWARDED[0] if verdict == TURNED else verdict, out, made, self)
