# SPDX-License-Identifier: BSD-2-Clause
"""The name service with upstream servers that fail, and with clients that misbehave."""
import os
import random
import re
import socket
import struct
import subprocess
import time

import dns.message
import nat64
from conftest import PYTHON
from dns_client import (FORMERR, NO_ERROR, NOTIMP, NXDOMAIN, REFUSED, SERVFAIL, STALE, SYNTHESIZED, Client, addresses,
                        extended_errors, frame, make_query, needs_nsd, receive, records, service, ttl_of)
from dns_test import THERE
from names import SOA_TTL
from namespace import wait_until

ALONE = "what it waits for has limits in seconds"

pytestmark = needs_nsd()
__all__ = ["service"]
FAULTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "dns_faults.py")
FAULTY = 5454
NO_AUTHORITY, NETWORK_ERROR = 22, 23  # extended errors


def put_faults_between(service):
    """A server that fails on request stands in front of nsd; returns its place."""
    server = service.lab.server
    server.start([PYTHON, FAULTS, nat64.SERVER, str(FAULTY), nat64.SERVER, str(service.names.port)])
    wait_until(lambda: server.run(["ss", "-Hltn", "sport", "=", f":{FAULTY}"]).stdout, "the server with faults")
    return f"{nat64.SERVER}:{FAULTY}"


def test_errors_of_the_aaaa_question_count_as_empty(service):
    """RFC 6147 section 5.1.2 and 5.1.3: also no answer at all; only NXDOMAIN is an answer."""
    service.start([put_faults_between(service)])
    faults = ("servfail", "refused", "formerr", "notimp", "garbage", "slow", "drop")
    names = ("a", *(f"{fault}-aaaa.elsewhere." for fault in faults))
    began = time.monotonic()
    for name, answer in zip(names, service.client.ask_all(names)):
        assert answer.rcode() == NO_ERROR and addresses(answer) == [THERE], name
        assert SYNTHESIZED in extended_errors(answer)
    assert time.monotonic() - began < 5  # a stub resolver's patience
    assert service.client.ask("nxdomain-aaaa.elsewhere.").rcode() == NXDOMAIN


SENT = re.compile(r"IP 203\.0\.113\.1\.(\d+) > 203\.0\.113\.2\.5454: (\d+)\S* .*\bA+\? (forged\.\S+) ", re.I)


def test_forged_answers_are_hard_to_make_and_not_taken(service):
    """Ids, ports and letters are drawn at random; what does not fit the query is not looked at."""
    lab = service.lab
    service.start([put_faults_between(service)])
    path = lab.path("sent")
    with open(path, "w") as out:
        watch = lab.server.start(["tcpdump", "-l", "-n", "-T", "domain", "-i", "eth0", "udp dst port 5454"],
                                 stdout=out, stderr=subprocess.PIPE, text=True)
    while "listening on" not in watch.stderr.readline():
        pass
    names = [f"forged.name-of-many-letters-{number}.elsewhere." for number in range(60)]
    assert all(addresses(answer) == [THERE] for answer in service.client.ask_all(names))

    def sent():
        with open(path) as file:
            return SENT.findall(file.read())
    wait_until(lambda: len(sent()) >= 2 * len(names), "tcpdump to see all queries")
    ports, ids, asked = zip(*sent())
    assert len(set(ports)) > 0.9 * len(ports) and len(set(ids)) > 0.9 * len(ids)
    assert len({name[:30] for name in asked}) > 0.9 * len(asked)  # the letters that all have in common


def says_why(answer):
    return (answer.rcode() == SERVFAIL and not answer.answer
            and set(extended_errors(answer)) & {NO_AUTHORITY, NETWORK_ERROR})


def test_errors_of_both_questions_are_an_error(service):
    service.start([put_faults_between(service)])
    for fault in ("servfail", "refused", "garbage"):
        assert says_why(service.client.ask(f"{fault}.elsewhere.")), fault
    assert addresses(service.client.ask("a")) == [THERE]


def test_upstream_goes_and_comes_back(service):
    """Silence, as of a machine that is off. What is cached goes on; all else is SERVFAIL, told in time; and
    afterwards nobody needs to do anything."""
    server = service.lab.server
    service.start()
    for name in ("a", "brief", "missing"):
        service.client.ask(name)
    server.shell("nft add table inet off\nnft 'add chain inet off in { type filter hook input priority 0; }'\n"
                 "nft add rule inet off in udp dport 53 drop\nnft add rule inet off in tcp dport 53 drop\n")
    time.sleep(2.1)
    began = time.monotonic()
    for _ in range(20):
        answer = service.client.ask("a")
        assert addresses(answer) == [THERE] and ttl_of(answer) < SOA_TTL
        assert service.client.ask("missing").rcode() == NXDOMAIN
    assert time.monotonic() - began < 1
    assert all(map(says_why, service.client.ask_all(("new.wild", "two", "brief"))))
    assert time.monotonic() - began < 7
    server.run(["nft", "delete", "table", "inet", "off"])
    # Within seconds, what has failed, too, which may be remembered for a while (RFC 9520 section 3.2).
    for name in ("other.wild", "new.wild", "brief"):
        wait_until(lambda: addresses(service.client.ask(name)) == [THERE], f"an answer for {name}", 5, 0.1)


def test_stale_answers_if_wanted(service):
    """RFC 8767: with a TTL of 30 seconds, and a word that they are stale; a fresh one as soon as there is one."""
    service.start(cache={"negative-ttl": "1s"}, serve_stale=True)
    fresh = service.client.ask("brief")
    assert addresses(fresh) == [THERE] and ttl_of(fresh) <= 1
    assert service.client.ask("text").rcode() == NO_ERROR
    service.names.stop()
    time.sleep(2.1)
    stale, nothing = service.client.ask_all(("brief", "text"))
    assert addresses(stale) == [THERE] and ttl_of(stale) == 30 and STALE in extended_errors(stale)
    assert nothing.rcode() == NO_ERROR and not nothing.answer
    service.names.start()
    wait_until(lambda: STALE not in extended_errors(service.client.ask("brief")), "a fresh answer", 10, 0.1)
    assert addresses(service.client.ask("brief")) == [THERE]


def broken_messages():
    """(what, bytes, rcode or None for silence)."""
    good = make_query("a").to_wire()
    plain = make_query("a", edns=False).to_wire()
    head, question = plain[:12], plain[12:]

    def header(flags=0x0100, *counts):
        return struct.pack("!HHHHHH", 7, flags, *(counts or (1, 0, 0, 0)))
    return (
        ("nothing", b"", None), ("eleven bytes", good[:11], None),
        ("a response", header(0x8180) + question, None),
        ("a header alone", header(), FORMERR), ("half a question", plain[:-3], FORMERR),
        ("no question", header(0x0100, 0, 0, 0, 0), FORMERR),
        ("two questions", header(0x0100, 2, 0, 0, 0) + question * 2, FORMERR),
        ("a name that points to itself", header() + b"\xc0\x0c" + question[-4:], FORMERR),
        ("a name that points on", header() + b"\xc0\x20" + question[-4:], FORMERR),
        ("a label beyond the end", header() + b"\x3fa" + question[-4:], FORMERR),
        ("a label of an unknown kind", header() + b"\x41a\0" + question[-4:], FORMERR),
        ("a name of 256 bytes", header() + b"\x3f" + b"x" * 63 + (b"\x3f" + b"x" * 63) * 3 + b"\0" + question[-4:],
         FORMERR),
        ("more records than there are", header(0x0100, 1, 0, 0, 9) + question, FORMERR),
        ("two OPT records", header(0x0100, 1, 0, 0, 2) + question + good[-11:] * 2, FORMERR),
        ("EDNS version 1", good[:-5] + b"\1" + good[-4:], 16),
        ("an update", header(0x2800) + question, NOTIMP), ("a notification", header(0x2000) + question, NOTIMP),
        ("a status query", header(0x1000) + question, NOTIMP),
    )


def test_broken_messages(service):
    """FORMERR, or silence where a reply could be a weapon; never more bytes than came, but for OPT."""
    daemon = service.start()
    for what, wire, wanted in broken_messages():
        reply = service.client.send(wire, timeout=0.2 if wanted is None else 3)
        if wanted is None:
            assert reply is None, what
            continue
        assert reply is not None, what
        message = dns.message.from_wire(reply, question_only=True)
        rcode = reply[3] & 15 if wanted < 16 else dns.message.from_wire(reply).rcode()
        assert rcode == wanted and reply[:2] == wire[:2] and reply[2] & 0x80, what
        assert not message.answer and len(reply) <= len(wire) + 11 + 4, what
    numbers = random.Random(1)
    with service.client.socket() as datagrams:
        for _ in range(2000):
            datagrams.send(numbers.randbytes(numbers.choice((5, 12, 17, 40, 600, 1400))))
    whole = make_query("a", dnssec=True).to_wire()
    with service.client.socket() as datagrams:
        for at in range(len(whole)):
            datagrams.send(whole[:at])
            datagrams.send(whole[:at] + b"\xff" + whole[at + 1:])
    assert addresses(service.client.ask("a")) == [THERE]
    assert daemon.process.poll() is None


def test_questions_that_are_refused(service):
    """Small answers to what would amplify (RFC 8482 section 4.2 of ANY), and to whoever is no client."""
    lab = service.lab
    service.start(clients=["2001:db8:1::/64"])
    for kind in ("AXFR", "IXFR"):
        answer = service.client.ask("a", kind)
        assert answer.rcode() in (REFUSED, NOTIMP) and not answer.answer and answer.size < 100, kind
    anything = service.client.ask("many", "ANY")
    assert [kind for _, kind, _ in records(anything.answer)] == ["HINFO"] and anything.size < 100
    without = make_query("a")
    without.flags = 0
    assert dns.message.from_wire(service.client.send(without.to_wire())).rcode() == REFUSED
    for client in (Client(lab.server, nat64.GATEWAY4), Client(lab.gateway, "::1")):
        for tcp in (False, True):
            answer = client.ask("a", tcp=tcp)
            assert answer.rcode() == REFUSED and not answer.answer and answer.size < 100
            assert extended_errors(answer) in ([], [18])  # Prohibited
    assert addresses(service.client.ask("a")) == [THERE]


def test_who_may_ask_by_default(service):
    """Who is on a link of this machine, and the machine itself; links may come later."""
    lab = service.lab
    lab.add_routers()
    service.start()
    lab.add_neighbour()
    assert addresses(service.client.ask("a")) == [THERE]
    assert addresses(Client(lab.server, nat64.GATEWAY4).ask("a")) == [THERE]
    assert addresses(Client(lab.gateway, "::1").ask("a")) == [THERE]
    wait_until(lambda: Client(lab.neighbour, "2001:db8:3::1").ask("a").rcode() == NO_ERROR, "the new link's turn")
    assert Client(lab.far_client, nat64.GATEWAY6).ask("a").rcode() == REFUSED


def test_rate_limit_is_per_client(service):
    lab = service.lab
    lab.add_neighbour()
    service.start(rate_limit={"per-client": 50})
    assert addresses(service.client.ask("a")) == [THERE]
    wire = make_query("a").to_wire()
    full = cut = 0
    began = time.monotonic()
    with service.client.socket(timeout=0.5) as datagrams:
        for _ in range(500):
            datagrams.send(wire)
        try:
            while reply := datagrams.recv(4096):
                if dns.message.from_wire(reply).answer:
                    full += 1
                else:
                    cut += 1
        except TimeoutError:
            pass
    assert 45 <= full <= 50 * (2 + time.monotonic() - began) and full + cut <= 500
    assert addresses(Client(lab.neighbour, "2001:db8:3::1").ask("a")) == [THERE]
    time.sleep(0.2)
    assert addresses(service.client.ask("a")) == [THERE]


def ended(stream, seconds):
    """True if the other side closes within so many seconds."""
    stream.settimeout(seconds)
    try:
        return stream.recv(1) == b""
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False


def test_connections_that_idle_and_too_many(service):
    """Idle ones go, one that is fed byte by byte is not kept for ever, and beyond the limit there is no more."""
    service.start(tcp={"connections": 20, "idle": "1s"})
    lab = service.lab
    wire = frame(make_query("a").to_wire())
    idle, half, busy = (service.client.socket(socket.SOCK_STREAM) for _ in range(3))
    half.sendall(wire[:5])
    began = time.monotonic()
    while time.monotonic() - began < 1.5:  # a connection in use outlives the limit
        busy.sendall(wire)
        assert receive(busy)
        time.sleep(0.3)
    assert ended(idle, 1) and ended(half, 1)
    busy.sendall(wire)
    assert receive(busy)
    many = [busy] + [service.client.socket(socket.SOCK_STREAM) for _ in range(29)]
    many[-1].sendall(wire)
    assert receive(many[-1])  # the last has taken the place of one that idled
    assert sum(ended(stream, 0.01) for stream in many) >= 10
    assert addresses(service.client.ask("a")) == [THERE]
    for stream in many:
        stream.close()
    wait_until(lambda: addresses(service.client.ask("a", tcp=True)) == [THERE], "a connection that is free")
    with service.client.socket(socket.SOCK_STREAM) as wild:  # what is no query has no business there
        wild.sendall(frame(b"x" * 5) + wire)
        assert ended(wild, 3)
    assert addresses(service.client.ask("a", tcp=True)) == [THERE]
