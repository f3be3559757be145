# SPDX-License-Identifier: BSD-2-Clause
"""Asks name servers from a machine of the lab, and reads the answers with dnspython.

The sockets are made in the machine's network by this process, so a query costs no program to start.
"""
import contextlib
import ctypes
import os
import shutil
import socket

import dns.edns
import dns.flags
import dns.message
import dns.rdatatype
import nat64
import names as lab_names
import pytest
from conftest import configure, settings
from namespace import LabError

CLONE_NEWNET = 0x40000000
NO_ERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = range(6)
STALE, BOGUS, SYNTHESIZED = 3, 6, 29  # extended errors
_libc = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def _network_of(machine):
    here = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    there = os.open(f"/proc/{machine.keeper.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.setns(there, CLONE_NEWNET) != 0:
            raise LabError(f"cannot enter the network of {machine.name}: {os.strerror(ctypes.get_errno())}")
        yield
    finally:
        _libc.setns(here, CLONE_NEWNET)
        os.close(here)
        os.close(there)


def socket_in(machine, address, port, kind=socket.SOCK_DGRAM, timeout=5):
    """A socket of a machine, connected: what comes from another address is not heard."""
    with _network_of(machine):
        (family, kind, protocol, _, where), *_ = socket.getaddrinfo(address, port, 0, kind, 0,
                                                                     socket.AI_NUMERICHOST)
        made = socket.socket(family, kind, protocol)
    made.settimeout(timeout)
    made.connect(where)
    return made


def receive(stream):
    """A message from a stream; None at its end."""
    def exactly(size):
        data = b""
        while len(data) < size:
            more = stream.recv(size - len(data))
            if not more:
                return None
            data += more
        return data
    head = exactly(2)
    return head and exactly(int.from_bytes(head, "big"))


def frame(wire):
    return len(wire).to_bytes(2, "big") + wire


class Client:
    """Whoever asks, on a machine; and whom."""

    def __init__(self, machine, server=nat64.GATEWAY6, port=53):
        self.machine, self.server, self.port = machine, server, port

    def socket(self, kind=socket.SOCK_DGRAM, timeout=5):
        return socket_in(self.machine, self.server, self.port, kind, timeout)

    def send(self, wire, tcp=False, timeout=5):
        """What comes back for these bytes; None if nothing does."""
        with self.socket(socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM, timeout) as channel:
            channel.sendall(frame(wire) if tcp else wire)
            try:
                return receive(channel) if tcp else channel.recv(65535)
            except (TimeoutError, ConnectionRefusedError):
                return None

    def ask_all(self, names, timeout=7):
        """The replies to AAAA queries that are sent at once, by UDP."""
        queries = [make_query(name) for name in names]
        with contextlib.ExitStack() as stack:
            channels = [stack.enter_context(self.socket(timeout=timeout)) for _ in queries]
            for channel, query in zip(channels, queries):
                channel.send(query.to_wire())
            answers = [dns.message.from_wire(channel.recv(65535)) for channel in channels]
        assert all(map(dns.message.Message.is_response, queries, answers))
        return answers

    def ask(self, name, kind="AAAA", tcp=False, timeout=7, **keys):
        """The reply to a query; see make_query for the keys."""
        query = make_query(name, kind, **keys)
        reply = self.send(query.to_wire(), tcp, timeout)
        if reply is None:
            raise LabError(f"no answer to {name} {kind}")
        message = dns.message.from_wire(reply)
        assert query.is_response(message)
        message.size = len(reply)
        return message


def make_query(name, kind="AAAA", dnssec=False, edns=True, checking_disabled=False, authentic=False, size=1232):
    name = name if name.endswith(".") else name + ".example."
    query = dns.message.make_query(name, kind, use_edns=0 if edns or dnssec else -1, payload=size,
                                   want_dnssec=dnssec)
    query.flags = dns.flags.RD
    if checking_disabled:
        query.flags |= dns.flags.CD
    if authentic:
        query.flags |= dns.flags.AD
    return query


def records(section, signatures=False):
    """What is in a section: (owner, type, data), in order; signatures only if wanted."""
    return [(rrset.name.to_text().removesuffix(".example."), dns.rdatatype.to_text(rrset.rdtype), data.to_text())
            for rrset in section for data in rrset
            if signatures or rrset.rdtype not in (dns.rdatatype.RRSIG, dns.rdatatype.NSEC)]


def addresses_of(section):
    """The AAAA records of a section."""
    return [data for _, kind, data in records(section) if kind == "AAAA"]


def addresses(message):
    return addresses_of(message.answer)


def ttl_of(message, kind="AAAA"):
    """Of the records of a type in the answer."""
    found, = {rrset.ttl for rrset in message.answer if rrset.rdtype == dns.rdatatype.from_text(kind)}
    return found


def extended_errors(message):
    return [option.code for option in message.options if option.otype == dns.edns.OptionType.EDE]


def is_authentic(message):
    return bool(message.flags & dns.flags.AD)


def needs_nsd():
    """For tests whose names nsd serves and ldns has signed."""
    missing = [tool for tool in ("nsd", "ldns-signzone") if shutil.which(tool) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


def serving(names, upstream=(), **keys):
    """The example's network with the name service; keys as in the configuration, with _ for -."""
    service = {"listen": ["[::]:53", "0.0.0.0:53"],
               "upstream": list(upstream) or [f"{names.address}:{names.port}"],
               "trust-anchors": names.anchors}
    service.update({key.replace("_", "-"): value for key, value in keys.items()})
    return {**settings(), "dns64": service}


class Service:
    """nsd with the lab's names, and isthmus, which asks it."""

    def __init__(self, lab):
        self.lab = lab
        self.names = lab_names.Names(lab).start()
        self.client = Client(lab.client)
        self.daemon = None

    def start(self, upstream=(), **keys):
        self.daemon = nat64.Daemon(self.lab, configure(self.lab, serving(self.names, upstream, **keys))).start()
        return self.daemon


@pytest.fixture
def service(lab):
    return Service(lab)
