# SPDX-License-Identifier: BSD-2-Clause
"""Router discovery as it is on the wire, for the tests: taken apart, and made, byte by byte.

What is read comes from tcpdump. Nothing here shares code with the program under test; field by field it follows
RFC 4861 section 4.2 (advertisements), RFC 8781 section 4 (PREF64) and RFC 8106 section 5.1 (RDNSS).
"""
import dataclasses
import ipaddress
import struct
from subprocess import PIPE

from conftest import PYTHON, python
from namespace import LabError, wait_until

SOLICITATION, ADVERTISEMENT = 133, 134
SOURCE_LINK, PREFIX, MTU, SERVERS, PREF64 = 1, 3, 5, 25, 38
ALL_NODES, ALL_ROUTERS = "ff02::1", "ff02::2"
ETHERNET, COOKED = 1, 276  # link types of a capture: of one interface, of all (LINUX_SLL2)
ETHERNET_HEADER, COOKED_HEADER, IPV6_HEADER = 14, 20, 40
LENGTHS = (96, 64, 56, 48, 40, 32)  # of a prefix, by their code


@dataclasses.dataclass
class Advertisement:
    time: float
    link_source: str  # the Ethernet source, or of a cooked capture the address it has
    link_destination: str  # of an Ethernet capture only
    index: int  # of the interface, of a cooked capture only
    source: str
    destination: str
    hop_limit: int
    checksum: int  # over message and pseudo-header: 0 is right
    router_hop_limit: int
    flags: int
    router_lifetime: int
    reachable: int
    retransmit: int
    options: list  # (type, all its bytes)

    def of_type(self, kind):
        return [option for found, option in self.options if found == kind]

    def prefixes(self):
        """{prefix: lifetime in seconds}"""
        return dict(read_pref64(option) for option in self.of_type(PREF64))

    def servers(self):
        """{address: lifetime in seconds}"""
        told = {}
        for option in self.of_type(SERVERS):
            lifetime, = struct.unpack_from("!4xI", option)
            for at in range(8, len(option), 16):
                told[str(ipaddress.IPv6Address(option[at:at + 16]))] = lifetime
        return told


def read_pref64(option):
    """The prefix as text and its lifetime; the fields of RFC 8781 section 4."""
    kind, units, lifetime_and_code, high = struct.unpack("!BBH12s", option)
    assert (kind, units) == (38, 2)
    length = LENGTHS[lifetime_and_code & 7]
    return (str(ipaddress.IPv6Network((high + bytes(4), length))), (lifetime_and_code >> 3) * 8)


def checksum(source, destination, message):
    """The Internet checksum of an ICMPv6 message with its pseudo-header (RFC 8200 section 8.1)."""
    data = source + destination + struct.pack("!II", len(message), 58) + message + bytes(len(message) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def _packets(data):
    """(time, link type, frame) of what a capture file holds so far."""
    if len(data) < 24:
        return
    order = "<" if data[:4] == b"\xd4\xc3\xb2\xa1" else ">"
    link_type, = struct.unpack_from(order + "20xI", data)
    at = 24
    while at + 16 <= len(data):
        seconds, fraction, size, _ = struct.unpack_from(order + "4I", data, at)
        if at + 16 + size > len(data):
            return
        yield seconds + fraction / 1e6, link_type, data[at + 16:at + 16 + size]
        at += 16 + size


def _options(message):
    options = []
    at = 16
    while at < len(message):
        size = message[at + 1] * 8
        assert 0 < size <= len(message) - at, "an option of no length, or beyond the end"
        options.append((message[at], message[at:at + size]))
        at += size
    return options


def _read(time, link_type, frame):
    """A frame as an advertisement; None if it is none."""
    index, link_destination = 0, None
    if link_type == ETHERNET:
        link_destination, link_source = frame[:6].hex(":"), frame[6:12].hex(":")
        packet = frame[ETHERNET_HEADER:]
    else:
        index, = struct.unpack_from("!4xI", frame)
        link_source = frame[12:18].hex(":")
        packet = frame[COOKED_HEADER:]
    message = packet[IPV6_HEADER:]
    size, following, hop_limit = struct.unpack_from("!4xHBB", packet)
    if following != 58 or message[0] != ADVERTISEMENT:
        return None
    assert size == len(message) and message[1] == 0
    source, destination = packet[8:24], packet[24:40]
    return Advertisement(time, link_source, link_destination, index, str(ipaddress.IPv6Address(source)),
                         str(ipaddress.IPv6Address(destination)), hop_limit,
                         checksum(source, destination, message), *struct.unpack_from("!4xBBHII", message),
                         _options(message))


class Listener:
    """tcpdump on an interface, or on all of a machine, for router advertisements."""

    def __init__(self, lab, machine, interface="any"):
        self.path = lab.path(f"ra-{machine.name}-{interface}.pcap")
        how = ["-y", "LINUX_SLL2"] if interface == "any" else []
        self.process = machine.start(["tcpdump", "-U", "--immediate-mode", "-n", "-i", interface, *how,
                                      "-w", self.path, "icmp6 and ip6[40] == 134"], stderr=PIPE, text=True)
        said = []
        for line in self.process.stderr:
            said.append(line)
            if "listening on" in line:
                return
        raise LabError(f"tcpdump: {''.join(said)}")

    def heard(self):
        with open(self.path, "rb") as file:
            found = [_read(*packet) for packet in _packets(file.read())]
        return [advertisement for advertisement in found if advertisement]

    def wait(self, count=1, seconds=5):
        """Waits until there are so many in all; returns the last."""
        return wait_until(lambda: self.heard()[count - 1:], f"router advertisement number {count}", seconds)[-1]


def solicitation(source, hop_limit=255, options=b"", code=0, destination=ALL_ROUTERS):
    """An Ethernet frame with a router solicitation."""
    source, destination = (ipaddress.IPv6Address(text).packed for text in (source, destination))
    message = struct.pack("!BBHI", SOLICITATION, code, 0, 0) + options
    message = message[:2] + struct.pack("!H", checksum(source, destination, message)) + message[4:]
    return _frame(source, destination, hop_limit, message)


def advertisement(source, lifetime, options=b"", hop_limit=0, reachable=0, retransmit=0):
    """An Ethernet frame with a router advertisement."""
    source, destination = (ipaddress.IPv6Address(text).packed for text in (source, ALL_NODES))
    header = struct.pack("!BBHBBHII", ADVERTISEMENT, 0, 0, hop_limit, 0, lifetime, reachable, retransmit)
    message = header + options
    message = message[:2] + struct.pack("!H", checksum(source, destination, message)) + message[4:]
    return _frame(source, destination, 255, message)


def prefix_option(prefix, lifetime):
    """Of a prefix that is on the link, and that hosts make addresses of (RFC 4861 section 4.6.2)."""
    network = ipaddress.IPv6Network(prefix)
    return struct.pack("!BBBBIII16s", PREFIX, 4, network.prefixlen, 0xc0, lifetime, lifetime, 0,
                       network.network_address.packed)


def mtu_option(mtu):
    return struct.pack("!BBHI", MTU, 1, 0, mtu)


def _frame(source, destination, hop_limit, message):
    """To a multicast address of the link layer, whatever the destination: nobody refuses that."""
    header = struct.pack("!IHBB", 6 << 28, len(message), 58, hop_limit) + source + destination
    return b"\x33\x33" + destination[12:] + bytes.fromhex("020000000009") + b"\x86\xdd" + header + message


_SEND = """import socket, sys
link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
link.bind((sys.argv[1], 0))
for line in sys.stdin:
    count, frame = line.split()
    for _ in range(int(count)):
        link.send(bytes.fromhex(frame))
"""


def send(machine, interface, *frames, count=1):
    """Puts frames on a machine's interface as they are, each `count` times."""
    python(machine, _SEND, interface, input="".join(f"{count} {frame.hex()}\n" for frame in frames))


# What the kernel tells those on a host who configure it by router advertisements (RTNLGRP_ND_USEROPT): the
# options that it does not use itself.
_TOLD = """import socket, struct
ROUTE, GROUP, ADD_MEMBERSHIP, NETLINK, MESSAGE = 0, 20, 1, 270, 68
told = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, ROUTE)
told.bind((0, 0))
told.setsockopt(NETLINK, ADD_MEMBERSHIP, GROUP)
print("ready", flush=True)
while True:
    data = told.recv(65536)
    while len(data) >= 32:
        size, kind = struct.unpack_from("=IH", data)
        length, = struct.unpack_from("=H", data, 18)
        if kind == MESSAGE:
            print(data[32:32 + length].hex(), flush=True)
        data = data[(size + 3) & ~3:]
"""


class HostOptions:
    """The options that a host's kernel has passed on to its programs, as bytes."""

    def __init__(self, lab, machine):
        self.path = lab.path(f"options-{machine.name}")
        with open(self.path, "w") as out:
            machine.start([PYTHON, "-c", _TOLD], stdout=out)
        wait_until(lambda: "ready" in self._lines(), "the listener for options")

    def _lines(self):
        with open(self.path) as file:
            return file.read().split("\n")[:-1]

    def told(self):
        return [bytes.fromhex(line) for line in self._lines()[1:]]
