# SPDX-License-Identifier: BSD-2-Clause
"""One engine behind its pipe, the oracle beside it, and what is compared between them."""

import ipaddress
import random
import subprocess

import errors
import generate
import internet
import nat64
import siit
from nat64 import ESTABLISHED, TRANS, Nat64

START = 1_000_000  # milliseconds
SETTLE = 16000  # after which nothing is left of sessions that have ended: the engine sweeps every 10 seconds
# The engine's names of states where they are not those of nat64.py.
STATES = {"transitory": TRANS, "closing": nat64.BOTH_FIN}
FORWARDED = ("translated-6to4", "translated-4to6")
DIVIDED = "fragmented-4to6"


class Difference(Exception):
    """Engine and oracle do not agree."""


class Driver:
    """The engine behind its pipe."""

    def __init__(self, path):
        self.process = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, *commands):
        self.process.stdin.write("".join(command + "\n" for command in commands).encode())
        self.process.stdin.flush()
        answers = []
        for _ in commands:
            while (line := self.process.stdout.readline()) != b".\n":
                if not line:
                    raise Difference(f"the engine's process ended by itself, status {self.process.wait()}")
                answers.append(line.decode().rstrip("\n").split(" "))
        for answer in answers:
            if answer[0] == "error":
                raise Difference("the driver says: " + " ".join(answer[1:]))
        return answers

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def describe(defects):
    return "; ".join(f"{'must' if found.must else 'may'} be {found.verdict} [{found.clause}]"
                     for found in defects) or "must be translated"


def may_be_answered(packet, defects, nat):
    """Whether an ICMP error may be sent about it, whether it must (RFC 1122 3.2.2, RFC 4443 2.4 e)."""
    settings = nat.settings
    own = settings.address6 if packet.version == 6 else settings.address4
    broken = any(found.verdict in ("extension-header", "truncated") for found in defects)
    if not own or packet.is_error and not broken or packet.offset and packet.version == 4:
        return False, False
    illegal = nat64.illegal_source6 if packet.version == 6 else nat64.illegal_source4
    if illegal(packet.source) or packet.version == 6 and packet.destination >> 120 == 0xff:
        return False, False
    icmp = packet.protocol in (internet.ICMP4, internet.ICMP6) and not packet.is_query
    sure = not broken and not icmp and not packet.fragmented and not settings.prefix.covers(packet.source)
    link_local = nat64.link_local6(packet.source) or packet.version == 4 and \
        nat64.within(packet.source, nat64.LINK_LOCAL)
    return True, sure and packet.protocol is not None and not link_local


def check_replies(prediction, verdict, made, nat):
    """The ICMP errors made about a packet that was kept back."""
    packet = prediction.packet
    kinds = [reply for found in prediction.defects if found.verdict == verdict for reply in found.replies]
    if packet is not None and not any(kinds):
        # RFC 7915 4.4, 5.4: what may be sent about whatever is discarded, unless otherwise specified.
        kinds.append((1, 1, bytes(4)) if packet.version == 6 else (3, 13, bytes(4)))
    allowed, sure = may_be_answered(packet, prediction.defects, nat) if packet else (False, False)
    if not made:
        if sure and None not in kinds:
            raise Difference(f"verdict {verdict}: the sender gets no ICMP error, expected (type, code) "
                             f"{[kind[:2] for kind in kinds]}")
        return
    if len(made) > 1 or not allowed or not any(kinds):
        raise Difference(f"verdict {verdict}: {len(made)} packets made, at most "
                         f"{int(allowed and any(kinds))} allowed: {made[0].hex()}")
    six = packet.version == 6
    own = nat.settings.address6 if six else nat.settings.address4
    build = errors.reply6 if six else errors.reply4
    wrong = []
    for kind in filter(None, kinds):
        expected = build(packet.data, own, packet.source, kind)
        complaint = expected.agrees(made[0])
        if complaint is None:
            return
        wrong.append(f"{complaint}\n  expected {expected.data.hex()} [{expected.clause}]")
    raise Difference(f"verdict {verdict}: not the ICMP error expected: " + "\n  or ".join(wrong) +
                     f"\n  made     {made[0].hex()}")


def check_packet(prediction, verdict, out, made, nat):
    """What the engine did with one packet; returns True if it was translated."""
    reasons = describe(prediction.defects)
    if verdict not in ("translated-6to4", "translated-4to6"):
        if not any(found.verdict == verdict for found in prediction.defects):
            raise Difference(f"verdict {verdict}; by the oracle it {reasons}")
        check_replies(prediction, verdict, made, nat)
        return False
    if prediction.blocked:
        raise Difference(f"verdict {verdict}; by the oracle it {reasons}")
    if (verdict == "translated-6to4") != (prediction.packet.version == 6):
        raise Difference(f"verdict {verdict} for a packet of IPv{prediction.packet.version}")
    expected, complaint = prediction.expect(out)
    if complaint:
        raise Difference(f"translated, but {complaint}")
    wrong = []
    for candidate in expected:
        difference = candidate.agrees(out)
        if difference is None:
            break
        wrong.append(f"{difference} [{candidate.clause}]\n  expected {candidate.data.hex()}")
    else:
        raise Difference("translated otherwise: " + "\n  or ".join(wrong) + f"\n  got      {out.hex()}")
    if made:
        raise Difference(f"translated, and made besides: {made[0].hex()}")
    return True


def is_about(made, data):
    """Whether an ICMP error quotes the packet."""
    front = 48 if made[0] >> 4 == 6 else 28
    return bool(data) and len(made) > front and data.startswith(made[front:front + 60])


def is_piece(made, ident):
    """Whether it is an IPv6 fragment of that identification."""
    return made[0] >> 4 == 6 and made[6] == internet.FRAGMENT and internet.get16(made, 46) == ident


def check_pieces(prediction, verdict, pieces, config):
    """An IPv4 packet that must go on in fragments (RFC 7915 4.1)."""
    if verdict != DIVIDED:
        raise Difference(f"verdict {verdict}; by the oracle it must be translated and fragmented")
    expected, complaint = prediction.expect(b"")
    whole, ident, problem = siit.reassembled(pieces, siit.fragment_limit6(config))
    wrong = complaint or problem
    if wrong is None and ident != prediction.packet.ident:
        wrong = f"the identification is {ident}, not that of the packet"
    if wrong is None:
        wrong = [candidate.agrees(whole) for candidate in expected]
        wrong = wrong[0] if all(wrong) else None
    if wrong:
        raise Difference(f"fragmented otherwise: {wrong} [RFC 7915 4.1]\n  expected in one "
                         f"{expected[0].data.hex()}\n  got " + " ".join(piece.hex() for piece in pieces))


def check_fragments(prediction, outputs, complete):
    """What came out for the fragments of one datagram (RFC 6146 3.4, RFC 7915 4.1, 5.1.1). Returns the first
    fragment, or None if none came out."""
    four = prediction.packet.version == 6
    parsed = [(internet.parse4 if four else internet.parse6)(data)[0] for data in outputs]
    if any(packet is None for packet in parsed):
        raise Difference("a fragment came out that cannot be read: " + " ".join(out.hex() for out in outputs))
    first = next((packet.data for packet in parsed if not packet.offset), None)
    if complete and first is None:
        raise Difference("all fragments went in and no first one came out [RFC 6146 3.4]")
    if first is None:
        return None
    expected, complaint = prediction.expect(first)
    if complaint:
        raise Difference(f"in fragments, but {complaint}")
    wrong = [fragments_differ(candidate.data, parsed, prediction, complete, 20 if four else 40)
             for candidate in expected]
    if all(wrong):
        raise Difference(f"fragments: {wrong[0]} [RFC 6146 3.4, RFC 7915 4.1, 5.1.1]\n  expected in one "
                         f"{expected[0].data.hex()}\n  got " + " ".join(out.hex() for out in outputs))
    return first


def fragments_differ(whole, parsed, prediction, complete, header):
    body, covered = whole[header:], set()
    for packet in parsed:
        at, length = packet.offset * 8, len(packet.payload)
        head = packet.data[:header]
        same = head[1:2] + head[8:10] + head[12:] == whole[1:2] + whole[8:10] + whole[12:header] \
            if header == 20 else head[:4] + head[7:] == whole[:4] + whole[7:header] and packet.protocol == whole[6]
        if not same:
            return "a header is not that of the translated datagram"
        if packet.payload != body[at:at + length]:
            return f"the bytes from {at} on are not those of the translated datagram"
        if packet.mf == (at + length == len(body)):
            return "the flag More Fragments is wrong"
        if packet.fragmented and packet.ident & 0xffff != prediction.ident & 0xffff:
            return "the identification is not the low-order 16 bits of that which came in"
        covered |= set(range(at, at + length))
    return f"{len(body) - len(covered)} bytes are missing" if complete and len(covered) != len(body) else None


# Lists and time

def read_list(answers):
    sessions, bindings = {}, {}
    for answer in answers:
        kind, transport, state, number, client, port, pool, pool_port, *remote = answer
        ends = (int(client, 16), int(port)), (int(pool, 16), int(pool_port))
        if kind == "session" and int(client, 16) == 0:
            continue  # of a stored SYN
        if kind == "session":
            far = (int(remote[0], 16), 0 if transport == "icmp" else int(remote[1]))
            sessions[(transport, *ends, far)] = state, int(number)
        else:
            bindings[(transport, *ends)] = state, int(number)
    return sessions, bindings


def check_session(session, state, seconds, now, settings):
    """Compares one session and takes over what the RFCs leave open."""
    ends = now + seconds * 1000
    fitting = []
    for way in session.ways:
        name, low, high = way
        states = {name}
        if name == ESTABLISHED and now >= low - settings.transitory * 1000 - 1000:
            states.add(TRANS)
            high = max(high, now + settings.transitory * 1000)
        if session.binding.transport != "tcp" or state in states:
            fitting.append((low, high))
            if low - 1000 <= ends <= high + 2000:
                session.ways = [(state if name else "", max(low, ends - 1000) if low <= high else low, ends)]
                session.ways = [(state if name else "", ends - 1000, ends)]
                return
    if not fitting:
        raise Difference(f"session {show(session.key)} is {state}, expected "
                         f"{' or '.join(way[0] for way in session.ways)} [RFC 6146 3.5.2.2]")
    raise Difference(f"session {show(session.key)}, {state}, ends in {seconds} s, expected " + " or ".join(
        f"{(low - now) / 1000} to {(high - now) / 1000}" for low, high in fitting) + " [RFC 6146 4]")


def show(key):
    transport, client, pool, remote = key
    return (f"{transport} [{ipaddress.IPv6Address(client[0])}]:{client[1]} {ipaddress.IPv4Address(pool[0])}:"
            f"{pool[1]} {ipaddress.IPv4Address(remote[0])}:{remote[1]}")


def check_list(driver, nat, now, settings):
    sessions, bindings = read_list(driver.ask("list"))
    known = {session.key: session for session in nat.sessions()}
    for key in sessions.keys() - known.keys():
        raise Difference(f"the engine lists a session that should not be: {show(key)} {sessions[key]}")
    for key in known.keys() - sessions.keys():
        if any(way[0] == nat64.CLOSED for way in known[key].ways):
            nat.remove(known.pop(key))
            continue
        raise Difference(f"the engine does not list {show(key)}, {known[key].ways}")
    for key, (state, seconds) in sessions.items():
        check_session(known[key], STATES.get(state, state), seconds, now, settings)
    own = {(kind, binding.client, binding.pool): len(binding.sessions)
           for (kind, _), binding in nat.by_client.items()}
    theirs = {key: number for key, (_, number) in bindings.items()}
    if nat.lingering:
        # Sessions that have ended and were not swept up count on, and so do their bindings.
        theirs = {key: min(number, own[key]) for key, number in theirs.items() if key in own}
    if own != theirs:
        raise Difference(f"bindings: the oracle has {own}, the engine {theirs}")


def settle(driver, nat, key, now):
    """After a packet that may or may not have entered or refreshed its session: what the engine did."""
    sessions, _ = read_list(driver.ask("list"))
    transport, client, remote = key
    found = [(at, value) for at, value in sessions.items() if at[0] == transport and at[1] == client and
             at[3] == remote]
    binding = nat.by_client.get((transport, client))
    session = binding.sessions.get(remote) if binding else None
    return found[0] if found else None, session


class Sequence:
    """One engine with its oracle, and the steps they are put through."""

    def __init__(self, driver, seed, statistics):
        self.driver, self.statistics = driver, statistics
        self.about = generate.theme(seed)
        self.setup = generate.Setup(random.Random(seed), self.about)
        self.nat = Nat64(self.setup.settings, self.setup.config)
        self.now = START
        self.last = None  # (packet, prediction, verdict), for the report
        self.history = []  # (packet, verdict, what came out)
        self.incomplete = []  # first fragments of datagrams of which one is missing
        driver.ask("new", *self.setup.lines, f"at {self.now}000000")

    def run(self, steps):
        for step in steps:
            if step[0] == generate.JUMP:
                self.jump(step)
            elif step[0] == generate.DATAGRAM:
                self.datagram(step)
            elif step[0] == generate.BURST:
                if not self.burst(generate.burst(step, self.setup, self.nat)):
                    return
            elif not self.packet(generate.packet(step, self.setup, self.nat)):
                return
            elif self.about == "tcp" and step[1] % 4 == 0 or self.nat.may_yield():
                self.list()
        self.last = None
        self.list()

    def exchange(self, data):
        """Puts a packet in; (verdict, what came out, what was made, probes left out)."""
        answers = self.driver.ask(f"at {self.now}000000", "in " + (data.hex() or "-"))
        verdict, out = answers[0][1], bytes.fromhex(answers[0][2])
        self.statistics[verdict] += 1
        self.history.append((data, verdict, out))
        return verdict, out, self.without_probes([bytes.fromhex(answer[1]) for answer in answers[1:]])

    def burst(self, datas):
        """Packets in one call of engine_receive, made before any of them went in. What the engine made is
        about those it quotes. False if nothing can be predicted any more."""
        self.now += 2
        self.last = datas[0], self.nat.predict(datas[0], self.now), "(first of a burst)"
        answers = self.driver.ask(f"at {self.now}000000", "in " + ",".join(data.hex() or "-" for data in datas))
        made = self.without_probes([bytes.fromhex(answer[1]) for answer in answers[len(datas):]])
        self.statistics["bursts"] += 1
        if self.nat.may_yield(len(datas)):
            return False  # who has yielded to whom meanwhile does not show
        # Packets of a burst may hold ports for a moment that they turn out not to need.
        lingering, self.nat.lingering = self.nat.lingering, True
        for data, (_, verdict, out) in zip(datas, answers):
            out = bytes.fromhex(out)
            self.statistics[verdict] += 1
            self.history.append((data, verdict, out))
            prediction = self.nat.predict(data, self.now)
            self.last = data, prediction, verdict
            if prediction.packet is not None and prediction.packet.fragmented:
                return False
            if prediction.unsure:
                return False
            if self.comes_in_pieces(prediction, verdict):
                pieces = [packet for packet in made if is_piece(packet, prediction.packet.ident)]
                made = [packet for packet in made if packet not in pieces]
                check_pieces(prediction, verdict, pieces, self.setup.config)
                prediction.commit(None)
                continue
            mine = [at for at, packet in enumerate(made) if is_about(packet, data)][:1]
            mine = [made.pop(at) for at in mine if verdict not in FORWARDED]
            if check_packet(prediction, verdict, out, mine, self.nat):
                prediction.commit(out)
            elif verdict in nat64.LATE + (nat64.STORED,):
                return False
        if made:
            raise Difference(f"a burst made {made[0].hex()}")
        self.nat.lingering = lingering
        self.last = None
        self.list()
        return True

    def packet(self, data, returned=False):
        """One packet; False if nothing can be predicted any more."""
        nat = self.nat
        self.now += 2
        prediction = nat.predict(data, self.now)
        self.last = data, prediction, None
        verdict, out, made = self.exchange(data)
        self.last = data, prediction, verdict
        packet = prediction.packet
        if packet is not None and packet.fragmented:
            return False  # what is stored of it, only a whole datagram shows
        if prediction.unsure:
            return False
        if self.comes_in_pieces(prediction, verdict):
            check_pieces(prediction, verdict, made, self.setup.config)
            made = out = None
        if out is None or check_packet(prediction, verdict, out, made, nat):
            prediction.commit(out)
            if prediction.key is not None:
                self.resolve(prediction.key)
            if out and verdict == FORWARDED[0] and not returned:
                return self.return_to_pool(out)
        elif verdict in nat64.LATE and prediction.key is not None and prediction.expect is not None:
            self.late(prediction)
        elif verdict == nat64.STORED:
            nat.pending.setdefault(prediction.stored_key, []).append((packet.data, self.now))
        elif verdict in ("subscriber-full", "table-full") and prediction.stored_key is not None:
            nat.doubtful.setdefault(prediction.stored_key, []).append((packet.data, self.now))
        return True

    def comes_in_pieces(self, prediction, verdict):
        return not prediction.blocked and prediction.packet.version == 4 and \
            siit.must_fragment6(prediction.packet, self.setup.config) and \
            all(found.verdict != verdict for found in prediction.defects)

    def yielded(self):
        """Half-open sessions that have ended for a new one: the oldest of them, and not without need."""
        nat = self.nat
        listed, _ = read_list(self.driver.ask("list"))
        half_open = nat.half_open()
        gone = [session for session in half_open if session.key not in listed]
        if gone != half_open[:len(gone)]:
            raise Difference(f"of the half-open sessions {show(gone[-1].key)} has ended, which is not the oldest"
                             " [doc/decisions/0013]")
        for session in gone:
            nat.remove(session)
        if gone and len(half_open) - len(gone) < nat.settings.sessions // 4 * 15 // 16 - 1:
            raise Difference(f"{len(gone)} of {len(half_open)} half-open sessions have ended without need")
        if len(half_open) - len(gone) > nat.settings.sessions // 4:
            raise Difference("more than a quarter of the table is half-open [doc/decisions/0013]")
        self.statistics["half-open sessions that yielded"] += len(gone)

    def return_to_pool(self, out):
        """A hairpin packet: the kernel forwards what goes to a pool address back into the device. False if
        nothing can be predicted any more."""
        destination = int.from_bytes(out[16:20], "big")
        if destination not in self.setup.settings.pool_addresses or out[8] <= 1:
            return True
        self.statistics["hairpins"] += 1
        data = out[:8] + bytes([out[8] - 1]) + out[9:]
        return self.packet(internet.put16(data, 10, internet.checksum(internet.put16(data[:20], 10, 0))), True)

    def datagram(self, step):
        """A whole datagram in fragments, in any order; what comes out must be that datagram translated."""
        made = generate.datagram(random.Random(step[1]), self.setup, self.nat)
        if made is None:
            return
        whole, pieces, complete, ident = made
        self.now += 2
        prediction = self.nat.predict(whole, self.now, siit.Config(**{
            **vars(self.setup.config), "mtu4": 65535, "mtu6": 65535}))
        if prediction.blocked or prediction.defects:
            return
        prediction.ident = ident
        self.last = whole, prediction, "(in fragments)"
        if not complete:
            self.incomplete += [piece for piece in pieces if is_first(piece)]
        outputs = []
        if not complete:
            self.nat.torn += pieces
        for piece in pieces:
            verdict, out, made = self.exchange(piece)
            outputs += ([out] if verdict in FORWARDED else []) + made
        first = check_fragments(prediction, outputs, complete)
        transport, client, remote = prediction.key
        binding = self.nat.by_client.get((transport, client))
        old = binding.sessions[remote].ways if binding and remote in binding.sessions else []
        if first is not None:
            prediction.commit(first)
            if not complete:
                session = self.nat.by_client[transport, client].sessions[remote]
                session.ways = session.ways + [way for way in old if way not in session.ways]
            self.list()

    def resolve(self, key):
        transport, client, remote = key
        session = self.nat.by_client[transport, client].sessions.get(remote)
        if session is not None and len(session.ways) > 1:
            self.list()

    def late(self, prediction):
        """Kept back at the translation: the session may have been entered before, or not."""
        found, session = settle(self.driver, self.nat, prediction.key, self.now)
        if found is None:
            if session is not None:
                raise Difference("a packet that was kept back ended its session")
            return
        (transport, client, pool, remote), _ = found
        if session is None:
            binding = self.nat.by_client.get((transport, client))
            complaint = None if binding else self.nat.port_complaint(transport, client, pool)
            if complaint:
                raise Difference(complaint)
        old = session.ways if session else []
        prediction.commit(nat64.pretended(transport, pool))
        session = self.nat.by_client[transport, client].sessions.get(remote)
        session.ways = session.ways + [way for way in old if way not in session.ways]
        self.list()

    def list(self):
        self.statistics["lists compared"] += 1
        if self.nat.may_yield():
            self.yielded()
        check_list(self.driver, self.nat, self.now, self.setup.settings)

    def jump(self, step):
        self.last = None
        self.list()
        nat = self.nat
        self.now += generate.jump(step, self.setup.settings)
        while nat.uncertain(self.now, self.now + SETTLE):
            self.now += 500
        nat.age(self.now)
        self.driver.ask(f"at {self.now}000000")
        if step[1] % 4 == 0 and not nat.pending:
            return
        made = []
        for _ in range(4):
            self.now += SETTLE // 4
            made += [bytes.fromhex(answer[1]) for answer in self.driver.ask(f"at {self.now}000000", "expire")]
        nat.lingering = False
        self.probes(self.without_timeouts(self.without_answers(made)))
        self.list()

    def without_answers(self, made):
        """RFC 6146 3.5.2.2 V4 INIT: a stored SYN that nobody met is answered with Port Unreachable."""
        nat = self.nat
        for key, stored in list(nat.pending.items()):
            if max(time for _, time in stored) + nat64.INCOMING_SYN + SETTLE // 2 > self.now:
                continue
            del nat.pending[key]
            answers = [errors.reply4(data, nat.settings.address4, key[1][0], (3, 3, bytes(4)))
                       for data, _ in stored]
            fitting = [packet for packet in made if any(not answer.agrees(packet) for answer in answers)]
            if bool(fitting) != bool(nat.settings.address4):
                raise Difference(f"a stored SYN expired and {len(fitting)} answers were made "
                                 "[RFC 6146 3.5.2.2 V4 INIT]: " + stored[0][0].hex())
            made = [packet for packet in made if packet not in fitting]
        made = [packet for packet in made if not self.is_late_fragment(packet)]
        for key, stored in nat.doubtful.items():
            answers = [errors.reply4(data, nat.settings.address4, key[1][0], (3, 3, bytes(4)))
                       for data, _ in stored]
            made = [packet for packet in made if all(answer.agrees(packet) for answer in answers)]
        return made

    def is_late_fragment(self, made):
        """RFC 792, RFC 4443 3.3: whether it tells that the rest of a datagram has not come in time."""
        settings = self.setup.settings
        for piece in self.nat.torn:
            packet = (internet.parse4 if piece[0] >> 4 == 4 else internet.parse6)(piece)[0]
            if packet.offset or made[0] >> 4 != packet.version:
                continue
            answer = errors.reply4(piece, settings.address4, packet.source, (11, 1, bytes(4))) \
                if packet.version == 4 else errors.reply6(piece, settings.address6, packet.source, (3, 1, bytes(4)))
            if answer.agrees(made) is None:
                return True
        return False

    def due(self):
        """The sessions that have fallen silent, with the names their probes would have."""
        short = self.setup.settings.transitory * 1000
        for session in self.nat.sessions():
            if session.binding.transport == "tcp" and any(
                    state == ESTABLISHED and low - short - 1000 <= self.now for state, low, _ in session.ways):
                yield session, {("in", session.binding.client, session.remote),
                                ("out", session.binding.pool, session.remote)}

    def without_timeouts(self, made):
        """RFC 792, RFC 4443 3.3: Time Exceeded, code 1, about a first fragment that was kept for too long."""
        return [packet for packet in made if not any(is_timeout(packet, first) for first in self.incomplete)]

    def without_probes(self, made):
        """Packets made while another was received: a probe may be among them if the engine tidies up."""
        if not made:
            return made
        names = set().union(*[names for _, names in self.due()])
        return [packet for packet in made if probe_key(packet, self.setup.prefix) not in names]

    def probes(self, made):
        """RFC 6146 3.5.2.2 ESTABLISHED: an empty ACK to at least one end of what has fallen silent."""
        short = self.setup.settings.transitory * 1000
        probed = {probe_key(packet, self.setup.prefix) for packet in made}
        for session, names in self.due():
            certain = all(state == ESTABLISHED and low - short + SETTLE < self.now
                          for state, low, _ in session.ways)
            if certain and not names & probed:
                raise Difference(f"no probe for {show(session.key)} [RFC 6146 3.5.2.2 ESTABLISHED]")
            probed -= names
        self.statistics["probes"] += len(made)
        if probed or len({*made}) != len(made):
            raise Difference(f"made packets that are no probe due: {probed} {[p.hex() for p in made]}")


def is_first(piece):
    return not ((internet.parse6 if piece[0] >> 4 == 6 else internet.parse4)(piece)[0].offset)


def is_timeout(data, first):
    packet, found = (internet.parse6 if data[0] >> 4 == 6 else internet.parse4)(data)
    if packet is None or found or packet.version != first[0] >> 4:
        return False
    kind = bytes((3, 1)) if packet.version == 6 else bytes((11, 1))
    return packet.payload[:2] == kind and first.startswith(packet.payload[8:]) and len(packet.payload) > 28


def probe_key(data, prefix):
    """To which session a probe belongs; something else if it is not as a probe should be."""
    packet, found = (internet.parse6 if data[0] >> 4 == 6 else internet.parse4)(data)
    if packet is None or found or packet.protocol != internet.TCP or len(packet.payload) != 20:
        return data.hex()
    payload = packet.payload
    pseudo = internet.pseudo6 if packet.version == 6 else internet.pseudo4
    if payload[4:12] != bytes(8) or payload[13] != internet.ACK or payload[12] != 0x50 or (
            internet.residue(payload) + pseudo(packet.source, packet.destination, 20, 6)) % 65535:
        return data.hex()
    ports = internet.get16(payload, 0), internet.get16(payload, 2)
    if packet.version == 6:
        return "in", (packet.destination, ports[1]), (prefix.extract(packet.source), ports[0])
    return "out", (packet.source, ports[0]), (packet.destination, ports[1])


