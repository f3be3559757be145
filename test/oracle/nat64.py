# SPDX-License-Identifier: BSD-2-Clause
"""RFC 6146: bindings, sessions and what becomes of a packet between them.

The oracle cannot know the port that a translator picks: it takes it from the first packet that comes out,
checks that it was allowed (3.5.1.1, 3.5.2.3, 3.5.3; RFC 4787, RFC 7857) and expects it from then on. Where
the RFCs allow several states or lifetimes, a session remembers all of them until the translator shows its
list. Times are milliseconds.
"""

import errors
import internet
import siit
from addresses import (LINK_LOCAL, NO_HOST, NON_GLOBAL, UNSURE_GLOBAL, illegal_source4, illegal_source6,
                       link_local6, odd_source6, within)
from internet import ACK, FIN, ICMP4, ICMP6, RST, SYN, TCP, UDP, defect, get16
from siit import Rewrite

TRANSPORTS = {TCP: "tcp", UDP: "udp", ICMP4: "icmp", ICMP6: "icmp"}
CLOSED, V6_INIT, V4_INIT, ESTABLISHED, V4_FIN, V6_FIN, BOTH_FIN, TRANS = (
    "closed", "v6-init", "v4-init", "established", "v4-fin", "v6-fin", "both-fin", "trans")
# RFC 7915 4.4 and 5.4: what is discarded SHOULD be answered so, where nothing else is said.
PROHIBITED6, PROHIBITED4 = [None, (1, 1, bytes(4))], [None, (3, 13, bytes(4))]
# These are found out when the packet is to be translated, after the session has been entered (RFC 6146 3.3:
# step 4 after step 2); a translator may as well look at them first.
STORED, FILTERED = "syn-stored", "filtered"
INCOMING_SYN = 6000  # RFC 6146 4: TCP_INCOMING_SYN
LATE = ("hop-limit", "too-big-ipv6", "too-big-ipv4", "udp-checksum-zero")


class Settings:
    """An instance's settings, in the words of the configuration."""

    def __init__(self, **keys):
        self.prefix = None
        self.address6 = self.address4 = 0
        self.translate_non_global = False
        self.filtering = "endpoint-independent"
        self.sessions, self.sessions_per_subscriber, self.subscriber_prefix = 1024, 32768, 64
        self.pool = []  # (first address, count, low, high, transports)
        self.statics = []  # (transport, address6, port6, address4, port4)
        self.udp, self.icmp, self.established, self.transitory = 300, 60, 7440, 240
        self.__dict__.update(keys)
        self.lifetimes = {"udp": self.udp * 1000, "icmp": self.icmp * 1000}
        self.pool_addresses = {first + i for first, count, *_ in self.pool for i in range(count)}


class Binding:
    def __init__(self, transport, client, pool, static=False):
        self.transport, self.client, self.pool, self.static = transport, client, pool, static
        self.sessions = {}


class Session:
    """ways: [(state, earliest end, latest end)], each allowed by the RFCs."""

    def __init__(self, binding, remote, ways):
        self.binding, self.remote, self.ways = binding, remote, ways
        self.opened = 0  # of two half-open sessions that with the lower number is the older

    @property
    def half_open(self):
        return any(way[0] in (V6_INIT, V4_INIT) for way in self.ways)

    @property
    def key(self):
        return self.binding.transport, self.binding.client, self.binding.pool, self.remote

    def lives_until(self):
        return min(way[1] for way in self.ways)

    def dead_from(self):
        return max(way[2] for way in self.ways)


# The TCP state machine, 3.5.2.2

def tcp_event(way, side, event, now, settings):
    """What one event makes of (state, earliest end, latest end): a list of the same."""
    state, low, high = way
    short, long = now + settings.transitory * 1000, now + settings.established * 1000
    probed = settings.transitory * 1000
    if state == CLOSED:
        # What is a SYN and more besides may be taken for either.
        return [({6: V6_INIT, 4: V4_INIT}[side], short, short)] if event == SYN else [way]
    if state in (V6_INIT, V4_INIT):
        opener = {V6_INIT: 6, V4_INIT: 4}[state]
        if event == SYN and side != opener:
            return [(ESTABLISHED, long, long)]
        if event == SYN:
            # Said of V6 INIT; of V4 INIT nothing is, and a later end does not hurt.
            return [(state, short if state == V6_INIT else low, max(high, short))]
        return [way]
    if state == ESTABLISHED:
        if event == FIN:
            # Nothing is said of the lifetime, which was without the probe's part.
            return [({4: V4_FIN, 6: V6_FIN}[side], low - probed, long)]
        return [(TRANS, short, short)] if event == RST else [(ESTABLISHED, long, long)]
    if state in (V4_FIN, V6_FIN):
        if event == FIN and side == {V4_FIN: 6, V6_FIN: 4}[state]:
            return [(BOTH_FIN, short, short)]
        # RFC 7857 2.2 and 7.1 against RFC 6146; doc/decisions has it.
        return [(state, min(low, short), min(high, short))] if event == RST else [(state, long - probed, long)]
    if state == BOTH_FIN:
        # RFC 6191 has hosts open anew from the same port so soon; doc/decisions/0005.
        return [way] + ([({6: V6_INIT, 4: V4_INIT}[side], short, short)] if event == SYN else [])
    return [way] if event == RST else [(ESTABLISHED, long, long)]


def tcp_step(ways, side, flags, now, settings):
    events = [event for event in (SYN, FIN, RST) if flags & event] or [0]
    after = []
    for way in ways:
        for event in events:
            after += [new for new in tcp_event(way, side, event, now, settings) if new not in after]
    return after


class Prediction:
    """defects: what is wrong. expect(actual) -> ([Expected], complaint or None) if nothing is, or nothing
    that must keep the packet back; None: it cannot be translated. commit(actual): the state after that."""

    def __init__(self, packet, defects):
        self.packet, self.defects = packet, defects
        self.expect = None
        self.commit = lambda actual: None
        self.key = None  # (transport, client, remote) of the session it would touch
        self.stored_key = None  # (pool, remote) of a SYN from the IPv4 side
        self.turned = False  # siit: back to IPv6 at once
        self.unsure = False  # what it says depends on something the engine does otherwise for now
        self.ident = 0  # of a datagram that comes in fragments

    @property
    def blocked(self):
        return self.expect is None or any(found.must for found in self.defects)


def pretended(transport, pool):
    """As much of an IPv4 packet as shows which pool address and port it comes from."""
    return bytes([0x45]) + bytes(11) + pool[0].to_bytes(4, "big") + bytes(4) + \
        (bytes(4) if transport == "icmp" else b"") + pool[1].to_bytes(2, "big") + bytes(8)


class Nat64:
    def __init__(self, settings, config):
        self.settings, self.config = settings, config
        self.by_client, self.by_pool = {}, {}
        self.torn = []  # fragments of datagrams of which others have not come
        self.doubtful = {}  # the same of SYNs that were refused for want of room: they may be stored, too
        self.pending = {}  # (pool, remote) of stored SYNs: [(packet, time)]
        self.departed = {}  # (transport, client or pool) of bindings that ended: (client, pool, remote)
        self.opened = 0  # a number that grows with each packet of a session
        self.lingering = False  # sessions may have ended that nobody has swept up
        for transport, address6, port6, address4, port4 in settings.statics:
            self.enter(Binding(transport, (address6, port6), (address4, port4), static=True))

    def enter(self, binding):
        self.by_client[binding.transport, binding.client] = binding
        self.by_pool[binding.transport, binding.pool] = binding

    def remove(self, session):
        binding = session.binding
        del binding.sessions[session.remote]
        if not binding.sessions and not binding.static:
            self.departed[binding.transport, binding.client] = binding.client, binding.pool, session.remote
            self.departed[binding.transport, binding.pool] = binding.client, binding.pool, session.remote
            del self.by_client[binding.transport, binding.client]
            del self.by_pool[binding.transport, binding.pool]

    def sessions(self):
        return [session for binding in self.by_client.values() for session in binding.sessions.values()]

    def age(self, now):
        for session in self.sessions():
            if session.dead_from() < now:
                self.remove(session)
                self.lingering = True

    def may_haunt(self, transport, end):
        """Whether the engine may still know a binding that has ended: all its sessions' lifetimes are "at
        least" so long (3.5.2.2), and the engine is seconds late (doc/decisions/0015)."""
        return transport == "tcp" and self.lingering and (transport, end) in self.departed

    def uncertain(self, begin, end):
        """Whether some session may end in that time; lifetimes may be rounded up by a second."""
        return any(session.lives_until() - 1500 <= end and begin <= session.dead_from() + 3000
                   for session in self.sessions())

    def half_open(self):
        """Half-open sessions, the oldest first."""
        return sorted((session for session in self.sessions() if session.half_open),
                      key=lambda session: session.opened)

    def may_yield(self, more=1):
        """Whether half-open sessions may end for `more` new ones: doc/decisions/0013 has at most a quarter of
        the table for them, and the oldest of them yield from 15 16ths of that on."""
        return len(self.half_open()) + more > self.settings.sessions // 4 * 15 // 16 or self.lingering and \
            self.settings.sessions < 1024

    # Ports

    def usable(self, transport, address):
        """The free ports of an address, as a list of ranges' (low, high, taken)."""
        ranges = []
        for first, count, low, high, transports in self.settings.pool:
            if transport in transports and first <= address < first + count:
                taken = {port for kind, (at, port) in self.by_pool
                         if kind == transport and at == address and low <= port <= high}
                ranges.append((low, high, taken))
        return ranges

    def has_port(self, transport, address, like=None, parity=None):
        for low, high, taken in self.usable(transport, address):
            if like is not None:
                low, high = (low, min(high, 1023)) if like < 1024 else (max(low, 1024), high)
            if parity is None:
                free = high - low + 1 - sum(low <= port <= high for port in taken)
            else:
                free = (high - parity) // 2 - (low - 1 - parity) // 2
                free -= sum(low <= port <= high and port % 2 == parity for port in taken)
            if low <= high and free > 0:
                return True
        return False

    def paired(self, client):
        """The pool addresses that the client's address already has, whatever the transport."""
        return {binding.pool[0] for (_, (address, _)), binding in self.by_client.items() if address == client}

    def port_complaint(self, transport, client, pool):
        """None if the translator may have picked (address, port) for the client; else why not."""
        address, port = pool
        ranges = self.usable(transport, address)
        if not any(low <= port <= high for low, high, _ in ranges):
            return f"port {port} is in no range of the pool"
        if (transport, pool) in self.by_pool:
            return "the pool address and port are in use by another binding (RFC 6146 3.5.1.1)"
        if self.lingering:
            return None  # ports of sessions that have ended may be taken still
        paired = self.paired(client[0])
        # Where the client's address has ports of the other range only, two SHOULDs contradict each other.
        like = None if transport == "icmp" else client[1]
        if paired and address not in paired and any(self.has_port(transport, other, like) for other in paired):
            return "the client has another pool address already (RFC 6146 3.5.1.1, RFC 7857 4)"
        if transport == "icmp":
            return None
        if (port < 1024) != (client[1] < 1024) and self.has_port(transport, address, client[1]):
            return "well-known and other ports are mixed without need (RFC 6146 3.5.1.1, RFC 4787 REQ-3 a)"
        if transport == "udp" and (port ^ client[1]) & 1 and \
                self.has_port(transport, address, client[1], client[1] & 1):
            return "parity is not kept (RFC 6146 3.5.1.1, RFC 4787 4.2.2)"
        return None

    def room_defects(self, transport, client, binding, side):
        """Of a new session: what may be used up."""
        found = []
        limit = self.settings.sessions_per_subscriber
        shift = 128 - self.settings.subscriber_prefix
        mine = sum(session.binding.client[0] >> shift == client[0] >> shift for session in self.sessions())
        replies = [(1, 1, bytes(4)), (1, 3, bytes(4))] if side == 6 else \
            [None, (3, 13, bytes(4)), (3, 1, bytes(4)), (3, 3, bytes(4))]
        # RFC 6146 5.3: packets from outside may be kept from using up what clients need.
        share = 4 if side == 6 else 3
        if limit and limit > mine >= limit - limit // 4 and side == 4:
            found.append(defect("subscriber-full", "RFC 6146 5.3: a quarter is for clients", replies, must=False))
        if self.settings.sessions > len(self.sessions()) >= self.settings.sessions * share // 4:
            found.append(defect("table-full", "RFC 6146 5.3: a quarter is for clients", replies, must=False))
        if limit and mine >= limit:
            sure = not any(way[0] == CLOSED for session in self.sessions() for way in session.ways)
            found.append(defect("subscriber-full", "RFC 6888 REQ-4, RFC 5508 REQ-8", replies, must=sure))
        elif limit and self.lingering:
            found.append(defect("subscriber-full", "RFC 6888 REQ-4", replies, must=False))
        number = len(self.sessions())
        if number >= self.settings.sessions or self.lingering and number * 2 >= self.settings.sessions:
            found.append(defect("table-full", "RFC 6146 3.5.1, RFC 5508 REQ-8", replies,
                                must=number >= self.settings.sessions))
        if binding is None:
            reply = (1, 3, bytes(4))
            if not any(self.has_port(transport, address) for address in self.settings.pool_addresses):
                found.append(defect("ports-exhausted", "RFC 6146 3.5.1.1", reply))
            else:
                paired = self.paired(client[0])
                full = paired and not any(self.has_port(transport, address) for address in paired)
                if full or self.lingering:
                    found.append(defect("ports-exhausted", "RFC 7857 4: address pooling paired", reply, False))
        return found

    # Packets

    def predict(self, data, now, config=None):
        """What becomes of the packet; with another config if there is one."""
        if config is not None:
            usual, self.config = self.config, config
            result = self.predict(data, now)
            self.config = usual
            return result
        if not data:
            return Prediction(None, [defect("truncated", ""), defect("bad-version", "")])
        if data[0] >> 4 == 6:
            return self.predict6(data, now)
        if data[0] >> 4 == 4:
            return self.predict4(data, now)
        return Prediction(None, [defect("bad-version", "RFC 791, RFC 8200"), defect("truncated", "")])

    def common_defects(self, packet, found):
        """Fragments, other protocols, transport headers; whether to go on."""
        icmp = ICMP4 if packet.version == 4 else ICMP6
        if packet.version == 4 and packet.protocol == internet.IGMP:
            found.append(defect("icmp-type", "RFC 7915 4.2: IGMP, silently"))
            return False
        if packet.protocol not in (TCP, UDP, icmp):
            found.append(defect("protocol", "RFC 6146 3.4", (3, 2, bytes(4)) if packet.version == 4 else
                                (1, 4, bytes(4))))
            if packet.protocol in internet.OTHER_EXTENSIONS and packet.version == 6:
                found.append(defect("extension-header", "RFC 7915 5.1", must=False))
            return False
        if packet.offset:
            return False
        found += internet.transport_defects(packet)
        if packet.protocol != icmp and len(packet.payload) >= 4 and \
                0 in (get16(packet.payload, 0), get16(packet.payload, 2)):
            found.append(defect("bad-header", "RFC 6335 6: port 0 is reserved", must=False))
        return not any(reason.verdict in ("truncated", "bad-header", "icmp-type") and reason.must
                       for reason in found)

    def predict6(self, data, now):
        packet, found = internet.parse6(data)
        result = Prediction(packet, found)
        if packet is None:
            return result
        prefix = self.settings.prefix
        if illegal_source6(packet.source):
            found.append(defect("bad-source", "RFC 7915 5.1"))
        elif link_local6(packet.source):
            found.append(defect("bad-source", "RFC 4291 2.5.6: routers do not forward these"))
        elif odd_source6(packet.source):
            found.append(defect("bad-source", "RFC 4291 2.5.5", must=False))
        if prefix.covers(packet.source):
            found.append(defect("looped", "RFC 6146 3.5, 5.4"))
        if not prefix.covers(packet.destination):
            found.append(defect("not-ours", "RFC 6146 3.5"))
        else:
            found += self.destination_defects(packet.destination)
        if packet.protocol is None or not self.common_defects(packet, found):
            return result
        if packet.protocol == ICMP6 and not packet.is_query:
            if not packet.is_error or packet.payload[0] not in (1, 2, 3, 4):
                found.append(defect("icmp-type", "RFC 7915 5.2"))
            else:
                self.error6(packet, result)
            return result
        if packet.protocol == ICMP6 and packet.payload[1]:
            found.append(defect("icmp-type", "RFC 4443 4.1: the code is 0", must=False))
        if prefix.covers(packet.destination):
            self.outgoing(packet, result, now)
        return result

    def destination_defects(self, address):
        prefix, found = self.settings.prefix, []
        four = prefix.extract(address)
        if within(four, NO_HOST):
            found.append(defect("bad-destination", "RFC 1122 3.2.1.3: no host elsewhere", PROHIBITED6))
        if not prefix.canonical(address):
            # 2.2 has translators ignore such bits; 6146 3.5.4 has the mapping reversible, which it then is not.
            found.append(defect("embedded-bits", "RFC 6052 2.2", PROHIBITED6, must=False))
        if prefix.well_known and not self.settings.translate_non_global:
            reply = [(1, 1, bytes(4))]
            if within(four, NON_GLOBAL):
                found.append(defect("non-global", "RFC 6052 3.1", reply))
            elif within(four, UNSURE_GLOBAL):
                found.append(defect("non-global", "RFC 6052 3.1", reply, must=False))
        return found

    def outgoing(self, packet, result, now):
        """A packet with a tuple of its own from the IPv6 side: 3.5, 3.6."""
        transport = TRANSPORTS[packet.protocol]
        remote4 = self.settings.prefix.extract(packet.destination)
        if transport == "icmp":
            client, remote = (packet.source, get16(packet.payload, 4)), (remote4, 0)
        else:
            client = (packet.source, get16(packet.payload, 0))
            remote = (remote4, get16(packet.payload, 2))
        binding = self.by_client.get((transport, client))
        session = binding.sessions.get(remote) if binding else None
        flags = packet.payload[13] if transport == "tcp" else 0
        opens = transport != "tcp" or flags & SYN
        self.session_defects(result, transport, client, binding, session, opens, flags, 6)
        result.key = (transport, client, remote)
        result.unsure = binding is None and self.may_haunt(transport, client)
        config = self.config

        def expect(actual):
            pool, complaint = (binding.pool, None) if binding else self.learn(transport, client, actual)
            if pool is None:
                return [], complaint
            rewrite = Rewrite(pool[0], remote4, pool[1])
            expected, _ = siit.to4(packet, rewrite, config)
            return expected, complaint

        def commit(actual):
            pool = binding.pool if binding else self.learn(transport, client, actual)[0]
            self.touch(result.key, pool, flags, 6, now, opens)

        pool = binding.pool if binding else (min(self.settings.pool_addresses), 1)
        result.defects += siit.to4(packet, Rewrite(pool[0], remote4, pool[1]), self.config)[1]
        result.expect, result.commit = expect, commit

    def session_defects(self, result, transport, client, binding, session, opens, flags, side):
        if session is not None:
            if opens and any(way[0] == CLOSED for way in session.ways):  # in a burst it is not settled yet
                result.defects += [reason._replace(must=False)
                                   for reason in self.room_defects(transport, client, binding, side)]
            return
        if opens:
            room = self.room_defects(transport, client, binding, side)
            if flags & RST:
                # It may be taken for either. With a binding it then passes without opening anything.
                result.defects.append(defect("no-session", "RFC 6146 3.5.2.2: SYN and RST", must=False))
                room = [reason._replace(must=reason.must and binding is None) for reason in room]
            result.defects += room
        elif binding is None:
            # With a binding it SHOULD be translated.
            result.defects.append(defect("no-session", "RFC 6146 3.5.2.2 CLOSED"))

    def learn(self, transport, client, actual):
        """(pool address and port of the IPv4 packet that came out, complaint)"""
        if len(actual) < 28 or actual[0] != 0x45:
            return None, "no IPv4 packet with a port came out"
        pool = (int.from_bytes(actual[12:16], "big"), get16(actual, 24 if transport == "icmp" else 20))
        return pool, self.port_complaint(transport, client, pool)

    def touch(self, key, pool, flags, side, now, opens):
        """Makes or refreshes the session, as the packet does that was translated."""
        transport, client, remote = key
        binding = self.by_client.get((transport, client))
        if binding is None:
            binding = Binding(transport, client, pool)
            self.enter(binding)
        session = binding.sessions.get(remote)
        if session is None and not opens:
            return
        ways = session.ways if session else [(CLOSED, now, now)]
        if transport == "tcp":
            ways = tcp_step(ways, side, flags, now, self.settings)
        else:
            ways = [("", now + self.settings.lifetimes[transport], now + self.settings.lifetimes[transport])]
        after = Session(binding, remote, ways)
        self.opened += 1
        after.opened = session.opened if session and session.half_open else self.opened
        binding.sessions[remote] = after
        if transport == "tcp":
            self.meet(binding, remote, side, now)

    def meet(self, binding, remote, side, now):
        """A SYN that was stored had opened the session from the other side."""
        session, key = binding.sessions[remote], (binding.pool, remote)
        stored = self.pending.pop(key, None)
        if stored and any(way[0] == CLOSED for way in session.ways):
            self.doubtful[key] = stored  # the session may not have come about
        long = now + self.settings.established * 1000
        if side == 6 and key in self.doubtful:
            session.ways = session.ways + [(ESTABLISHED, long, long)]
        elif side == 6 and stored:
            session.ways = [(ESTABLISHED, long, long)]

    def predict4(self, data, now):
        packet, found = internet.parse4(data)
        result = Prediction(packet, found)
        if packet is None:
            return result
        error = packet.is_error
        if illegal_source4(packet.source):
            # 4.1: of an ICMP error it is translated all the same, for trouble shooting.
            found.append(defect("bad-source", "RFC 7915 4.1", must=not error))
        if packet.destination not in self.settings.pool_addresses:
            found.append(defect("not-ours", "RFC 6146 3.5"))
        if self.settings.prefix.well_known and not self.settings.translate_non_global:
            if within(packet.source, NON_GLOBAL) or within(packet.source, UNSURE_GLOBAL):
                found.append(defect("non-global", "RFC 6052 3.1", PROHIBITED4,
                                    must=not error and within(packet.source, NON_GLOBAL)))
        if not self.common_defects(packet, found):
            return result
        if packet.protocol == ICMP4 and not packet.is_query:
            if not error or packet.payload[0] not in (3, 11, 12):
                found.append(defect("icmp-type", "RFC 7915 4.2"))
            else:
                self.error4(packet, result)
            return result
        if packet.protocol == ICMP4 and packet.payload[1]:
            found.append(defect("icmp-type", "RFC 792: the code is 0", must=False))
        self.incoming(packet, result, now)
        return result

    def incoming(self, packet, result, now):
        """A packet with a tuple of its own from the IPv4 side."""
        transport = TRANSPORTS[packet.protocol]
        if transport == "icmp":
            pool, remote = (packet.destination, get16(packet.payload, 4)), (packet.source, 0)
        else:
            pool = (packet.destination, get16(packet.payload, 2))
            remote = (packet.source, get16(packet.payload, 0))
        binding = self.by_pool.get((transport, pool))
        flags = packet.payload[13] if transport == "tcp" else 0
        opens = transport != "tcp" or flags & SYN
        result.stored_key = pool, remote
        if binding is None:
            replies = [None, (3, 1, bytes(4)), (3, 3, bytes(4)), (3, 13, bytes(4))]
            result.unsure = self.may_haunt(transport, pool)
            self.keep_out(result, flags, defect("no-binding", "RFC 6146 3.5.1, 3.5.2.2, 3.5.3", replies))
            if not opens:
                result.defects.append(defect("no-session", "RFC 6146 3.5.2.2 CLOSED"))
            self.late(siit.to6, packet, Rewrite(1, 1), result)
            return
        session = binding.sessions.get(remote)
        result.key = (transport, binding.client, remote)
        if self.settings.filtering == "address-dependent" and session is None and \
                all(other[0] != remote[0] for other in binding.sessions):
            self.keep_out(result, flags, defect(FILTERED, "RFC 6146 3.5.1, 3.5.2.2",
                                                [None, (3, 13, bytes(4))]))
        self.session_defects(result, transport, binding.client, binding, session, opens, flags, 4)
        port = binding.client[1]
        rewrite = Rewrite(self.settings.prefix.embed(packet.source), binding.client[0],
                          port if transport == "icmp" else None, None if transport == "icmp" else port)
        expected, late = siit.to6(packet, rewrite, self.config)
        result.defects += late
        result.expect = lambda actual: (expected, None)
        result.commit = lambda actual: self.touch(result.key, pool, flags, 4, now, opens)

    def keep_out(self, result, flags, otherwise):
        """What may not pass. A SYN is stored; one that is something else besides, which opens no connection
        (doc/decisions/0012), may be."""
        if flags & SYN:
            result.defects.append(defect(STORED, "RFC 6146 3.5.2.2 CLOSED"))
        if not flags & SYN or flags & (FIN | RST | ACK):
            result.defects.append(otherwise)

    def late(self, translate, packet, rewrite, result):
        """What the translation of a packet would have found wrong that is kept back anyway."""
        result.defects += translate(packet, rewrite, self.config)[1]

    # ICMP errors: 3.4, 3.6; RFC 5508 REQ-3 to REQ-5

    def error_tuple(self, packet, result):
        """The quote of an error and ((its source's address, port), (destination's)); None: none to be told."""
        found, quote = result.defects, errors.Quote(packet)
        wrong = siit.residue(packet.payload)
        if packet.version == 6:
            wrong = (wrong + internet.pseudo6(packet.source, packet.destination, packet.stated, ICMP6)) % 65535
        if wrong:
            found.append(defect("icmp-checksum", "RFC 5508 REQ-3"))
        found += quote.defects
        found += errors.outer_defects(packet, packet.version)
        kinds = (3, 11, 12) if packet.version == 4 else (1, 2, 3, 4)
        assert packet.payload[0] in kinds
        inner = quote.packet
        icmp = ICMP4 if packet.version == 4 else ICMP6
        if inner is None or inner.protocol is None or inner.protocol not in (TCP, UDP, icmp) or inner.offset:
            found.append(defect("icmp-inner", "RFC 6146 3.4: the tuple cannot be told"))
            found.append(defect("icmp-no-session", "RFC 6146 3.4: the tuple cannot be told"))
            return quote, None
        missing = internet.transport_defects(inner, quoted=True)
        if missing:
            found += missing + [defect("icmp-no-session", "RFC 6146 3.4: the tuple cannot be told")]
            return quote, None
        if inner.protocol == icmp:
            if not inner.is_query:
                found.append(defect("icmp-inner", "RFC 6146 3.4, RFC 7915 4.3, 5.3"))
                found.append(defect("icmp-no-session", "RFC 6146 3.4"))
                return quote, None
            ports = (get16(inner.payload, 4),) * 2
        else:
            ports = get16(inner.payload, 0), get16(inner.payload, 2)
        return quote, ((inner.source, ports[0]), (inner.destination, ports[1]))

    def error6(self, packet, result):
        """From the IPv6 side, about a packet that came from the IPv4 side."""
        quote, ends = self.error_tuple(packet, result)
        self.untranslatable(errors.kinds4, packet, quote, result)
        if ends is None:
            return
        (source, source_port), client = ends
        prefix, found = self.settings.prefix, result.defects
        if not prefix.covers(source) or not prefix.covers(packet.destination):
            found.append(defect("icmp-inner", "RFC 6146 3.5"))
            found.append(defect("icmp-no-session", "RFC 6146 3.5"))
            return
        if source != packet.destination:
            found.append(defect("icmp-inner", "RFC 4443 3: an error goes to the source", must=False))
        if not prefix.canonical(source):
            found.append(defect("icmp-inner", "RFC 6052 2.2", must=False))
            found.append(defect("icmp-no-session", "RFC 6052 2.2", must=False))
        transport = TRANSPORTS[quote.packet.protocol]
        remote = (prefix.extract(source), 0 if transport == "icmp" else source_port)
        binding = self.by_client.get((transport, client))
        result.unsure = binding is None and self.may_haunt(transport, client)
        if not self.error_session(binding, remote, found):
            return
        pool = binding.pool
        port = pool[1]
        inner = Rewrite(remote[0], pool[0], port if transport == "icmp" else None,
                        None if transport == "icmp" else port)
        # 3.7: to the destination of the outgoing tuple, whatever the packet around was sent to.
        self.finish_error(packet, Rewrite(pool[0], remote[0]), quote, inner, result)

    def error4(self, packet, result):
        """From the IPv4 side, about a packet that came from the IPv6 side."""
        quote, ends = self.error_tuple(packet, result)
        self.untranslatable(errors.kinds6, packet, quote, result)
        if ends is None:
            return
        pool, remote = ends
        found = result.defects
        if pool[0] != packet.destination:
            found.append(defect("icmp-inner", "RFC 792: an error goes to the source", must=False))
            found.append(defect("icmp-no-session", "RFC 792: an error goes to the source", must=False))
        transport = TRANSPORTS[quote.packet.protocol]
        if transport == "icmp":
            remote = (remote[0], 0)
        binding = self.by_pool.get((transport, pool))
        result.unsure = binding is None and self.may_haunt(transport, pool)
        if not self.error_session(binding, remote, found):
            return
        client = binding.client
        inner = Rewrite(client[0], self.settings.prefix.embed(remote[0]), client[1])
        outer = Rewrite(self.settings.prefix.embed(packet.source), client[0])
        self.finish_error(packet, outer, quote, inner, result)

    def untranslatable(self, kinds, packet, quote, result):
        """An error of a type or code that has no counterpart, whatever it quotes."""
        if quote.packet is None:
            return
        quote.packet.data_as_quoted = quote.field
        if not kinds(packet, quote.packet, self.config):
            result.defects.append(defect("icmp-type", "RFC 7915 4.2, 5.2"))

    def error_session(self, binding, remote, found):
        if binding is None:
            found.append(defect("icmp-no-session", "RFC 6146 3.6, RFC 5508 REQ-4, REQ-5"))
            return False
        if remote not in binding.sessions:
            if self.settings.prefix.well_known and not self.settings.translate_non_global and \
                    (within(remote[0], NON_GLOBAL) or within(remote[0], UNSURE_GLOBAL)):
                found.append(defect("non-global", "RFC 6052 3.1", must=within(remote[0], NON_GLOBAL)))
            found.append(defect("icmp-no-session", "RFC 5508 REQ-4: no mapping for that remote", must=False))
        return True

    def finish_error(self, packet, outer, quote, inner, result):
        expected, late = errors.error(packet, outer, quote, inner, self.config)
        result.defects += late
        result.expect = lambda actual: (expected, None)
