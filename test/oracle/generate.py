# SPDX-License-Identifier: BSD-2-Clause
"""The grammar: settings, and packets that are valid, odd or hostile, all from numbers of a seed.

A step is (kind, seed). What packet it makes depends on its seed and on the bindings there are at that time,
so that steps can be left out of a sequence and the others still mean something.
"""

import random
import struct

import internet
from addresses import Prefix
from internet import (ACK, FIN, ICMP4, ICMP6, PSH, RST, SYN, TCP, UDP, build4, build6, checksum, ip4, ip6,
                      pseudo4, pseudo6, put16)
from nat64 import Binding, Session, Settings
from siit import Config

PREFIXES = ("2001:db8:64::/96", "64:ff9b::/96", "2001:db8::/32", "2001:db8:100::/40", "2001:db8:122::/48",
            "2001:db8:122:300::/56", "2001:db8:122:344::/64")
CLIENTS = [ip6(text) for text in ("2002:1::1", "2002:1::2", "2002:1:0:1::7", "2002:2::1", "2a00:1450::8")]
CLIENT_PORTS = (80, 53, 1023, 1024, 5000, 5001, 33333, 65535)
GLOBAL = [ip4(text) for text in ("8.8.8.8", "1.1.1.1", "9.9.9.9", "52.1.2.3")]
ANY_REMOTE = GLOBAL + [ip4(text) for text in ("203.0.113.5", "10.0.0.1", "192.168.255.255", "100.64.0.9",
                                              "172.31.0.1", "198.18.0.1", "255.0.255.1")]
BAD_REMOTE = [ip4(text) for text in ("0.0.0.0", "127.0.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
                                     "169.254.1.1", "0.1.2.3", "10.0.0.1", "192.0.0.8", "172.16.0.1",
                                     "198.51.100.1")]
BAD_CLIENTS = [ip6(text) for text in ("::", "::1", "fe80::1", "ff02::1", "ff0e::1", "::ffff:1.2.3.4",
                                      "::1.2.3.4", "fec0::1", "fd00::1")]
REMOTE_PORTS = (80, 443, 53, 7000)
ALL = ("tcp", "udp", "icmp")
POOLS = (
    [("192.0.2.1", 1, 1024, 65535, ALL)],
    [("192.0.2.1", 1, 1024, 65535, ALL)],
    [("192.0.2.8", 4, 1, 65535, ALL)],
    [("192.0.2.1", 1, 40000, 40007, ALL), ("192.0.2.1", 1, 1000, 1003, ALL)],
    [("192.0.2.1", 2, 40000, 40003, ALL)],
    [("192.0.2.1", 1, 2000, 2999, ("tcp",)), ("192.0.2.2", 1, 3000, 3009, ("udp",)),
     ("192.0.2.1", 1, 500, 600, ("udp", "icmp"))],
)
# Of which every port is to be used.
FULL_POOLS = ([("192.0.2.1", 1, 2000, 2129, ALL)], [("192.0.2.1", 2, 1000, 1066, ALL)],
              [("192.0.2.8", 1, 1023, 1024, ALL), ("192.0.2.8", 1, 63999, 64064, ALL)])
STATICS = (
    ("tcp", "2002:1::1", 80, None, 80), ("udp", "2002:1::2", 53, None, 53),
    ("icmp", "2002:2::1", 7, None, 9), ("tcp", "2002:2::1", 443, None, 1024),
)
FLAGS = (SYN, SYN, SYN, SYN | ACK, SYN | ACK, ACK, ACK, ACK | PSH, FIN | ACK, FIN | ACK, RST, RST | ACK, 0,
         SYN | FIN, SYN | RST, FIN | RST, SYN | PSH | 0xc0, 0xff)


def theme(seed):
    """What a sequence is about."""
    return random.Random(seed ^ 2).choices(("mixed", "tcp", "full", "siit"), (58, 17, 5, 20))[0]


class Setup:
    """Settings of one sequence, for the oracle and, as lines, for the driver."""

    def __init__(self, rng, about="mixed"):
        prefix = rng.choice(PREFIXES)
        self.prefix = Prefix(prefix)
        pool = rng.choice(FULL_POOLS if about == "full" else POOLS)
        first = pool[0][0]
        statics = [row[:3] + (first,) + row[4:] for row in STATICS if rng.random() < 0.3]
        translation, instance = self.draw(rng)
        self.lines = [f"set prefix {prefix}"]
        self.lines += [f"set {key} {value}" for key, value in {**translation, **instance}.items()
                       if value is not None]
        self.lines += [f"pool {address}+{count} {low}-{high} {','.join(transports)}"
                       for address, count, low, high, transports in pool]
        self.lines += [f"static {kind} [{six}]:{port6} {four}:{port4}" for kind, six, port6, four, port4
                       in statics]
        filtering = rng.choice(("address-dependent", "endpoint-independent"))
        self.lines.append(f"set filtering {filtering}")
        self.settings = Settings(
            prefix=self.prefix, filtering=filtering,
            address6=ip6(instance["address6"]), address4=ip4(instance["address4"]),
            translate_non_global=instance["non-global"] == "translate",
            sessions_per_subscriber=instance["sessions-per-subscriber"], udp=instance["udp"],
            icmp=instance["icmp"], established=instance["tcp-established"],
            transitory=instance["tcp-transitory"],
            pool=[(ip4(row[0]), *row[1:]) for row in pool],
            statics=[(kind, ip6(six), port6, ip4(four), port4) for kind, six, port6, four, port4 in statics])
        self.config = self.make_config(translation)
        good = GLOBAL if self.prefix.well_known and not self.settings.translate_non_global else ANY_REMOTE
        good = [remote for remote in good if remote >> 28 != 15]
        self.remotes = rng.sample(good, 1 if about == "tcp" else 3)
        self.transports, self.clients, self.client_ports = ALL, CLIENTS, CLIENT_PORTS
        if about == "tcp":
            self.transports, self.clients, self.client_ports = ("tcp",), CLIENTS[:1], (80, 5000)
        if about == "full" and rng.random() < 0.5:
            self.lines.append("set sessions 64")
            self.settings.sessions = 64
        if about == "full":
            self.transports, self.clients = (rng.choice(ALL),), CLIENTS[:2]
            self.client_ports = range(900, 5000)

    @staticmethod
    def make_config(translation):
        flag = {"true": True, "false": False}
        return Config(mtu6=translation["mtu6"], mtu4=translation["mtu4"], tos=translation["tos"],
                      lowest_ipv6_mtu=translation["lowest-ipv6-mtu"],
                      zeroize_traffic_class=flag[translation["zeroize-traffic-class"]],
                      amend_udp_checksum_zero=flag[translation["amend-udp-checksum-zero"]],
                      mss_clamp=flag[translation["mss-clamp"]])

    def draw(self, rng):
        odd = rng.random() < 0.6
        translation = {
            "mtu6": rng.choice((1280, 1400, 1500, 1500, 1500, 9000, 65535)) if odd else 1500,
            "lowest-ipv6-mtu": rng.choice((1280, 1280, 1400, 9000)) if odd else 1280,
            "mtu4": rng.choice((576, 1260, 1280, 1400, 1500, 1500, 1500, 9000, 65535)) if odd else 1500,
            "tos": rng.choice((None, None, 0, 255, 0x28)),
            "zeroize-traffic-class": rng.choice(("true", "false")),
            "amend-udp-checksum-zero": rng.choice(("true", "true", "false")),
            "mss-clamp": rng.choice(("true", "true", "false")),
            "icmp-errors-per-second": 1000000,
        }
        established, transitory = rng.choice(((7440, 240), (7440, 240), (600, 30), (60, 10)))
        instance = {
            "address6": "::" if rng.random() < 0.05 else "2002:fe::fe",
            "address4": "0.0.0.0" if rng.random() < 0.05 else "192.0.2.254",
            "non-global": rng.choice(("refuse", "refuse", "translate")),
            "sessions-per-subscriber": rng.choice((32768, 32768, 32768, 3, 0)),
            "udp": rng.choice((300, 120)), "icmp": 60,
            "tcp-established": established, "tcp-transitory": transitory,
        }
        return translation, instance


# Transport headers

def options_tcp(rng):
    parts = []
    for _ in range(rng.choice((0, 1, 1, 2, 4))):
        parts.append(rng.choice((
            b"\1", b"\3\3\7", b"\4\2", b"\10\12" + rng.randbytes(8), b"\1\1\1",
            b"\2\4" + struct.pack("!H", rng.choice((0, 536, 1200, 1220, 1360, 1440, 1441, 1460, 8960, 65535))),
            b"\2\4" + struct.pack("!H", rng.choice((1440, 1460, 8940))))))
    if rng.random() < 0.05:
        parts.append(rng.choice((b"\0", b"\2", b"\2\4\5", b"\2\0", b"\2\1\2\2", b"\xfe\xff", b"\2\3\xff\xff")))
    whole = b"".join(parts)[:40]
    return whole + bytes(-len(whole) % 4)


def body(rng, setup, header):
    """Payload, now and then of a length at which something changes."""
    if rng.random() < 0.9:
        return rng.randbytes(rng.choice((0, 0, 1, 2, 7, 18, 64, rng.randrange(160))))
    # Where DF, MTUs and the lengths of ICMP errors set limits, counted from the transport header.
    config = setup.config
    edge = rng.choice((1240, config.mtu4 - 20, config.mtu6 - 40, config.mtu6 - 20, 1192, 528, 1260))
    if edge > 9000 and rng.random() < 0.95:
        edge = 1240
    size = edge - header + rng.choice((-1, 0, 0, 1, 1, rng.randrange(-40, 40)))
    return bytes([rng.randrange(256)]) * min(max(size, 0), 65000)


def sum_for(rng, total, udp=False):
    """The checksum to write: right, mostly."""
    if udp and total == 0:
        total = 65535
    roll = rng.random()
    if roll < 0.93:
        return total
    if udp and roll < 0.97:
        return 0
    return rng.choice(((total + 1) & 65535, total ^ 0xffff, 0xffff, 0, rng.randrange(65536)))


def transport_bytes(rng, setup, transport, ports, version, addresses, flags=None, payload=None):
    """A transport header with payload, summed up for the addresses."""
    icmp = ICMP4 if version == 4 else ICMP6
    number = {"tcp": TCP, "udp": UDP, "icmp": icmp}[transport]
    if transport == "tcp":
        flags = rng.choice(FLAGS) if flags is None else flags
        options = options_tcp(rng)
        data = struct.pack("!HHIIBBHHH", *ports, rng.getrandbits(32), rng.getrandbits(32),
                           5 + len(options) // 4 << 4, flags, rng.getrandbits(16), 0, 0) + options
    elif transport == "udp":
        data = struct.pack("!HHHH", *ports, 0, 0)
    else:
        kind = rng.choice((8, 0) if version == 4 else (128, 129))
        data = struct.pack("!BBHHH", kind, 0 if rng.random() < 0.97 else 3, 0, ports[0], rng.getrandbits(16))
    data += body(rng, setup, len(data)) if payload is None else payload
    if transport == "udp":
        length = len(data)
        if rng.random() < 0.01 and payload is None:
            length = rng.choice((0, 7, 8, length - 1, length + 1, 65535))
        data = put16(data, 4, length & 65535)
    pseudo = (pseudo4 if version == 4 else pseudo6)(*addresses, len(data), number)
    if number == ICMP4:
        pseudo = 0
    at = {"tcp": 16, "udp": 6, "icmp": 2}[transport]
    return number, put16(data, at, sum_for(rng, checksum(data, pseudo), transport == "udp"))


def hops(rng):
    return rng.choice((64, 64, 64, 64, 64, 64, 64, 255, 128, 2)) if rng.random() < 0.97 else rng.choice((0, 1))


# No-Operation, Record Route, Router Alert, Timestamp, source routes under way and at their end, End, Security
OPTIONS4 = (b"\1", b"\7\7\4" + bytes(4), b"\x94\4\0\0", b"\x44\x08\5\0" + bytes(4),
            b"\x83\7\4\1\2\3\4", b"\x89\7\x08\1\2\3\4", b"\x83\3\4", b"\0", b"\x82\x0b" + bytes(9),
            b"\x83\x0b\x0c" + bytes(8))


def options4(rng):
    if rng.random() < 0.88:
        return b""
    parts = rng.choices(OPTIONS4, (9, 3, 3, 3, 1, 2, 1, 1, 1, 1), k=rng.randrange(1, 4))
    if rng.random() < 0.05:
        parts.append(rng.choice((b"\7", b"\7\0", b"\7\x28", b"\x83\2", b"\x83")))
    whole = b"".join(parts)[:40]
    return whole + bytes(-len(whole) % 4)


def wrap4(rng, source, destination, protocol, payload):
    df = int(rng.random() < 0.6)
    return build4(source, destination, protocol, payload, tos=rng.choice((0, 0, 0xff, rng.randrange(256))),
                  ident=rng.getrandbits(16), df=df, ttl=hops(rng), options=options4(rng),
                  reserved=int(rng.random() < 0.01))


def wrap6(rng, source, destination, protocol, payload):
    chain = []
    if rng.random() < 0.12:
        for _ in range(rng.choice((1, 1, 2, 3, 8))):
            chain.append(rng.choice((internet.HOP_BY_HOP, internet.DESTINATION, internet.DESTINATION,
                                     internet.ROUTING, internet.FRAGMENT)))
        if rng.random() < 0.8:
            chain.sort(key=lambda kind: (0, 60, 43, 44).index(kind))
        if rng.random() < 0.8 and chain.count(0) > 1:
            chain = [0] + [kind for kind in chain if kind]
    following = protocol
    for kind in reversed(chain):
        if kind == internet.FRAGMENT:
            header = internet.fragment_header(following, 0, 0, rng.getrandbits(32))
        elif kind == internet.ROUTING:
            left = int(rng.random() < 0.2)
            header = bytes([following, 2, rng.choice((0, 2, 3, 4)), left]) + bytes(20)
        else:
            size = rng.choice((0, 0, 1, 2, 4))
            header = bytes([following, size, 1, 4 + 8 * size]) + bytes(4 + 8 * size)
        payload, following = header + payload, kind
    return build6(source, destination, following, payload, tc=rng.choice((0, 0, 255, rng.randrange(256))),
                  flow=rng.getrandbits(20), hlim=hops(rng))


# Packets. `nat` is the oracle, whose bindings tell what flows there are.

def a_session(rng, nat):
    sessions = nat.sessions()
    return rng.choice(sessions) if sessions else None


def six_to_four(rng, setup, transport, client, remote, flags=None):
    source, port = client
    destination = setup.prefix.embed(remote[0])
    ports = (port, port if transport == "icmp" else remote[1])
    number, data = transport_bytes(rng, setup, transport, ports, 6, (source, destination), flags)
    return wrap6(rng, source, destination, number, data)


def four_to_six(rng, setup, transport, remote, pool, flags=None):
    ports = (pool[1], pool[1]) if transport == "icmp" else (remote[1], pool[1])
    number, data = transport_bytes(rng, setup, transport, ports, 4, (remote[0], pool[0]), flags)
    return wrap4(rng, remote[0], pool[0], number, data)


def make_open(rng, setup, nat):
    transport = rng.choice(setup.transports)
    client = (rng.choice(setup.clients), rng.choice(setup.client_ports))
    remote = (rng.choice(setup.remotes), rng.choice(REMOTE_PORTS))
    return six_to_four(rng, setup, transport, client, remote, SYN if rng.random() < 0.9 else None)


def make_flow6(rng, setup, nat):
    session = a_session(rng, nat)
    if session is None:
        return make_open(rng, setup, nat)
    return six_to_four(rng, setup, session.binding.transport, session.binding.client, session.remote)


def make_flow4(rng, setup, nat):
    session = a_session(rng, nat)
    if session is None:
        return make_open(rng, setup, nat)
    return four_to_six(rng, setup, session.binding.transport, session.remote, session.binding.pool)


def make_stranger(rng, setup, nat):
    """From the IPv4 side to a binding, from where nothing was sent to."""
    bindings = list(nat.by_client.values())
    remote = (rng.choice(setup.remotes), rng.choice(REMOTE_PORTS))
    if not bindings:
        return four_to_six(rng, setup, rng.choice(ALL), remote, (min(nat.settings.pool_addresses), 5000))
    binding = rng.choice(bindings)
    return four_to_six(rng, setup, binding.transport, remote, binding.pool)


def make_ghost(rng, setup, nat):
    """To or from a binding that has ended, or an error about it."""
    if not nat.departed:
        return make_stranger(rng, setup, nat)
    transport, end = rng.choice(list(nat.departed))
    client, pool, remote = nat.departed[transport, end]
    if rng.random() < 0.2:
        return make_error4(rng, setup, nat, Session(Binding(transport, client, pool), remote, []))
    if rng.random() < 0.6:
        return four_to_six(rng, setup, transport, rng.choice((remote, (setup.remotes[0], 80))), pool)
    return six_to_four(rng, setup, transport, client, remote, ACK)


def make_stray(rng, setup, nat):
    """To nobody, from nobody, between the wrong addresses, of other protocols."""
    if rng.random() < 0.5:
        remote = (rng.choice(BAD_REMOTE + setup.remotes), rng.choice(REMOTE_PORTS))
        pool = (rng.choice(sorted(nat.settings.pool_addresses) + [ip4("192.0.2.200"), ip4("8.8.8.8")]),
                rng.choice((1, 80, 1024, 40000, 40004, 65535)))
        data = four_to_six(rng, setup, rng.choice(ALL), remote, pool)
        if rng.random() < 0.2:
            data = wrap4(rng, remote[0], pool[0], rng.choice((2, 4, 41, 47, 50, 51, 58, 132, 136, 255)),
                         rng.randbytes(rng.randrange(40)))
        return data
    source = rng.choice(BAD_CLIENTS + CLIENTS + [setup.prefix.embed(setup.remotes[0])])
    destination = rng.choice([setup.prefix.embed(remote) for remote in BAD_REMOTE + setup.remotes] +
                             [ip6("2001:4860::8"), setup.prefix.embed(setup.remotes[0]) | 1 << 56,
                              setup.prefix.embed(setup.remotes[-1]) | 1 << rng.randrange(128)])
    transport = rng.choice(ALL)
    number, data = transport_bytes(rng, setup, transport, (5000, 5000 if transport == "icmp" else 80), 6,
                                   (source, destination))
    if rng.random() < 0.2:
        number, data = rng.choice((1, 2, 4, 41, 47, 50, 51, 59, 132, 136, 139, 255)), rng.randbytes(
            rng.randrange(40))
    return wrap6(rng, source, destination, number, data)


def make_hairpin(rng, setup, nat):
    """From a client to the pool address of another, or of itself."""
    bindings = list(nat.by_client.values())
    if not bindings:
        return make_open(rng, setup, nat)
    binding = rng.choice(bindings)
    if rng.random() < 0.3 and binding.sessions:
        return make_error6(rng, setup, nat)
    client = (rng.choice(CLIENTS), rng.choice(CLIENT_PORTS))
    return six_to_four(rng, setup, binding.transport, client, binding.pool, rng.choice((SYN, SYN, None)))


def make_other_icmp(rng, setup, nat):
    """ICMP that is neither query nor error, or an error that is not about anything."""
    kind, code = rng.choice((rng.randrange(256), 5, 4, 13, 17, 15, 133, 135, 137, 130, 143)), rng.randrange(4)
    data = bytes([kind, code, 0, 0]) + rng.randbytes(rng.choice((0, 4, 8, 40, 60)))
    if rng.random() < 0.5:
        pool = (min(nat.settings.pool_addresses), 0)
        data = put16(data, 2, sum_for(rng, checksum(data)))
        return wrap4(rng, setup.remotes[0], pool[0], ICMP4, data)
    ends = CLIENTS[0], setup.prefix.embed(setup.remotes[0])
    data = put16(data, 2, sum_for(rng, checksum(data, pseudo6(*ends, len(data), ICMP6))))
    return wrap6(rng, *ends, ICMP6, data)


# ICMP errors

def quoted4(rng, setup, session):
    """The IPv4 packet of a session that went out, as somebody on the way quotes it."""
    pool, remote = session.binding.pool, session.remote
    data = four_to_six(rng, setup, session.binding.transport, (pool[0], pool[1]), (remote[0], remote[1]))
    if session.binding.transport == "icmp":
        number, data = transport_bytes(rng, setup, "icmp", (pool[1],) * 2, 4, (pool[0], remote[0]))
        data = wrap4(rng, pool[0], remote[0], number, data)
    if rng.random() < 0.03:
        data = put16(data, 6, rng.choice((0x2000, 0x2001, 0x0005, 0x4000)))
        data = put16(data, 10, checksum(put16(data[:(data[0] & 15) * 4], 10, 0)))
    if rng.random() < 0.02:
        data = put16(data, 10, rng.getrandbits(16))
    return data


def quoted6(rng, setup, session):
    """The IPv6 packet of a session that was sent to the client, as somebody on the way quotes it."""
    client, remote = session.binding.client, session.remote
    source = setup.prefix.embed(remote[0])
    transport = session.binding.transport
    ports = (client[1],) * 2 if transport == "icmp" else (remote[1], client[1])
    number, data = transport_bytes(rng, setup, transport, ports, 6, (source, client[0]))
    return wrap6(rng, source, client[0], number, data)


def cut(rng, data, least):
    roll, data = rng.random(), data[:60000]
    if roll < 0.4:
        return data
    if roll < 0.9:
        return data[:max(least, rng.randrange(len(data) + 1))]
    return data[:rng.randrange(len(data) + 1)] if roll < 0.95 else data + rng.randbytes(rng.randrange(12))


def extended(rng, quoted, version):
    """(length attribute, quoted datagram with an extension of RFC 4884 behind it)"""
    unit = 4 if version == 4 else 8
    quoted = quoted[:rng.choice((128, 128, 400, 1000))]
    quoted += bytes(max(-len(quoted) % unit, 128 - len(quoted)))
    words = len(quoted) // unit
    if rng.random() < 0.05:
        words = rng.choice((1, 31, 255, words + 1, words - 1))
    objects = b"".join(struct.pack("!HBB", 4 + 4 * n, 1, 1) + rng.randbytes(4 * n)
                       for n in rng.choices((1, 2, 4, 20), k=rng.randrange(1, 3)))
    header = struct.pack("!BBH", 0x20, 0, 0)
    return words & 255, quoted + put16(header, 2, checksum(header + objects)) + objects


def make_error4(rng, setup, nat, session=None):
    session = session or a_session(rng, nat)
    if session is None:
        return make_open(rng, setup, nat)
    kind, code = rng.choice(((3, rng.randrange(17)), (3, 4), (3, 4), (3, 3), (3, 1), (11, 0),
                             (11, rng.choice((1, 2))),
                             (12, 0), (12, rng.randrange(4)), (4, 0), (5, 1)))
    quoted = quoted4(rng, setup, session)
    quoted = cut(rng, quoted, (quoted[0] & 15) * 4 + 8)
    word = bytes(4)
    if (kind, code) == (3, 4):
        word = struct.pack("!HH", 0, rng.choice((0, 0, 68, 576, 1260, 1280, 1400, 1480, 1500, 65535,
                                                 rng.randrange(65536))))
    elif kind == 12:
        word = bytes([rng.choice((rng.randrange(24), rng.randrange(256))), 0, 0, 0])
    if rng.random() < 0.2:
        words, quoted = extended(rng, quoted, 4)
        word = word[:1] + bytes([words]) + word[2:]
    message = bytes([kind, code, 0, 0]) + word + quoted
    message = put16(message, 2, sum_for(rng, checksum(message)))
    source = rng.choice((session.remote[0], session.remote[0], ip4("9.8.7.6"), rng.choice(BAD_REMOTE)))
    return wrap4(rng, source, session.binding.pool[0], ICMP4, message)


def make_error6(rng, setup, nat):
    session = a_session(rng, nat)
    if session is None:
        return make_open(rng, setup, nat)
    kind, code = rng.choice(((1, rng.randrange(8)), (1, 4), (2, 0), (2, 0), (3, 0), (3, rng.randrange(3)),
                             (4, 0), (4, rng.randrange(4)), (rng.randrange(128), 0)))
    quoted = cut(rng, quoted6(rng, setup, session), 48)
    word = bytes(4)
    if kind == 2:
        word = struct.pack("!I", rng.choice((0, 19, 1000, 1280, 1280, 1400, 1500, 65535, 65556, 2**32 - 1,
                                             rng.getrandbits(32))))
    elif kind == 4:
        word = struct.pack("!I", rng.choice((rng.randrange(48), rng.randrange(48), rng.getrandbits(32))))
    elif kind in (1, 3) and rng.random() < 0.2:
        words, quoted = extended(rng, quoted, 6)
        word = bytes([words, 0, 0, 0])
    message = bytes([kind, code, 0, 0]) + word + quoted
    source = rng.choice((session.binding.client[0], ip6("2002:99::1"), rng.choice(BAD_CLIENTS)))
    ends = source, setup.prefix.embed(session.remote[0])
    message = put16(message, 2, sum_for(rng, checksum(message, pseudo6(*ends, len(message), ICMP6))))
    return wrap6(rng, *ends, ICMP6, message)


def make_fragment(rng, setup, nat):
    """A fragment of something."""
    if rng.random() < 0.5:
        data = make_flow4(rng, setup, nat)
        if data[0] >> 4 == 4:
            data = put16(data, 6, rng.choice((0x2000, 0x2001, 1, 0x1fff)))
            return put16(data, 10, checksum(put16(data[:(data[0] & 15) * 4], 10, 0)))
    remote = (rng.choice(setup.remotes), 80)
    number, data = transport_bytes(rng, setup, rng.choice(ALL), (5000, 80), 6,
                                   (CLIENTS[0], setup.prefix.embed(remote[0])))
    offset, more = rng.choice(((0, 1), (1, 0), (1, 1), (8191, 0)))
    data = internet.fragment_header(number, offset, more, rng.getrandbits(32)) + data
    return wrap6(rng, CLIENTS[0], setup.prefix.embed(remote[0]), internet.FRAGMENT, data)


def datagram(rng, setup, nat):
    """(whole packet, its fragments in some order, whether none is missing, identification), or None."""
    session = a_session(rng, nat)
    complete = rng.random() < 0.8
    if session is None:
        return None
    binding, remote = session.binding, session.remote
    ends = ((setup.prefix.embed(remote[0]), remote[1]), binding.client)
    version = rng.choice((4, 6))
    transport = binding.transport
    if version == 4:
        source, destination = remote, binding.pool
    else:
        destination, source = ends
        if transport != "tcp" and complete and rng.random() < 0.2:
            source = rng.choice(CLIENTS), rng.choice(CLIENT_PORTS)
    own = binding.pool[1] if version == 4 else source[1]
    ports = (own, own) if transport == "icmp" else (source[1], destination[1])
    number, data = transport_bytes(rng, setup, transport, ports, version, (source[0], destination[0]), ACK,
                                   rng.randbytes(rng.choice((100, 200, 1400, 3000, 8000))))
    ident = rng.getrandbits(16 if version == 4 else 32)
    if version == 4:
        whole = build4(source[0], destination[0], number, data, ident=ident)
    else:
        whole = build6(source[0], destination[0], number, data)
    pieces, at = [], 0
    while at < len(data):
        size = max(8 * rng.randrange(1, 140), 80 if at == 0 else 8)
        chunk, more = data[at:at + size], int(at + size < len(data))
        if version == 4:
            pieces.append(build4(source[0], destination[0], number, chunk, ident=ident, mf=more,
                                 offset=at // 8))
        else:
            pieces.append(build6(source[0], destination[0], internet.FRAGMENT, internet.fragment_header(
                number, at // 8, more, ident) + chunk))
        at += size
    if rng.random() < 0.5:
        rng.shuffle(pieces)
    if not complete:
        pieces.pop(rng.randrange(len(pieces)))
    return whole, pieces, complete, ident


def mend(rng, data):
    """Writes the IPv4 header checksum, most times, and an ICMP checksum, sometimes, anew."""
    if data and data[0] >> 4 == 4 and len(data) >= 20 and rng.random() < 0.8:
        ihl = (data[0] & 15) * 4
        if 20 <= ihl <= len(data):
            data = put16(data, 10, checksum(put16(data[:ihl], 10, 0)))
            total = min(int.from_bytes(data[2:4], "big"), len(data))
            if data[9] == ICMP4 and total >= ihl + 8 and rng.random() < 0.5:
                data = put16(data, ihl + 2, checksum(put16(data[ihl:total], 2, 0)))
    if data and data[0] >> 4 == 6 and len(data) >= 48 and data[6] == ICMP6 and rng.random() < 0.5:
        end = min(40 + int.from_bytes(data[4:6], "big"), len(data))
        if end >= 48:
            total = checksum(put16(data[40:end], 2, 0), pseudo6(
                int.from_bytes(data[8:24], "big"), int.from_bytes(data[24:40], "big"), end - 40, ICMP6))
            data = put16(data, 42, total)
    return data


def make_hostile(rng, setup, nat):
    """Another packet with some of its bytes changed, cut or appended."""
    data = bytearray(rng.choice((make_open, make_flow6, make_flow4, make_error4, make_error6, make_stray,
                                 make_fragment))(rng, setup, nat))
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3))):
        at = rng.randrange(min(len(data), 112))
        data[at] = rng.choice((0, 255, data[at] ^ 1 << rng.randrange(8), rng.randrange(256)))
    roll = rng.random()
    if roll < 0.15:
        del data[rng.randrange(len(data)):]
    elif roll < 0.3:
        data += rng.randbytes(rng.randrange(1, 20))
    return mend(rng, bytes(data))


MAKERS = {"open": (make_open, 14), "flow6": (make_flow6, 18), "flow4": (make_flow4, 22),
          "stranger": (make_stranger, 10), "stray": (make_stray, 6), "icmp": (make_other_icmp, 2),
          "error4": (make_error4, 13), "error6": (make_error6, 12), "hairpin": (make_hairpin, 5),
          "ghost": (make_ghost, 3),
          "fragment": (make_fragment, 2),
          "hostile": (make_hostile, 14)}
JUMP, DATAGRAM, BURST = "jump", "datagram", "burst"


def steps(rng, number, about="mixed"):
    """A sequence: `number` packets with jumps of time in between; five times as many to use up a pool."""
    weights = {kind: weight for kind, (_, weight) in MAKERS.items()}
    weights[DATAGRAM] = 10
    weights["fragment"] = 0
    jumps = 0.08
    if about == "tcp":
        weights = {"open": 5, "flow6": 30, "flow4": 30, "stranger": 5, "error4": 2, "stray": 1}
        jumps = 0.15
    if about == "full":
        weights = {"open": 95, "flow4": 5}
        number, jumps = 5 * number, 0.01
    out = []
    for kind in rng.choices(list(weights), list(weights.values()), k=number):
        if rng.random() < jumps:
            out.append((JUMP, rng.getrandbits(48)))
        out.append((kind if rng.random() > 0.03 else BURST, rng.getrandbits(48)))
    return out


def burst(step, setup, nat):
    """Several packets, some of them of one flow that none has opened before."""
    rng = random.Random(step[1])
    flow = (rng.choice(setup.transports), (rng.choice(setup.clients), rng.choice(setup.client_ports)),
            (rng.choice(setup.remotes), rng.choice(REMOTE_PORTS)))
    kinds = rng.choices(("flow", "open", "flow6", "flow4", "error4", "hostile"), (6, 3, 3, 3, 1, 1),
                        k=rng.randrange(2, 9))
    return [six_to_four(rng, setup, *flow, rng.choice((SYN, SYN, ACK))) if kind == "flow" else
            MAKERS[kind][0](rng, setup, nat) for kind in kinds]


def packet(step, setup, nat):
    return MAKERS[step[0]][0](random.Random(step[1]), setup, nat)


def jump(step, settings):
    """Milliseconds"""
    rng = random.Random(step[1])
    lifetime = rng.choice((settings.udp, settings.icmp, settings.transitory, settings.established,
                           settings.established - settings.transitory)) * 1000
    return rng.choice((rng.randrange(1, 3000), rng.randrange(1000, 60000), lifetime // 2,
                       max(lifetime - 7000, 1000), lifetime + 7000))
