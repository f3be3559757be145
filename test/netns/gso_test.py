# SPDX-License-Identifier: BSD-2-Clause
"""Super-packets: many segments of TCP or datagrams of UDP with one header. They cross as one packet, both ways,
with state and without, which shows at the gateway's devices; and where the other side carries less, nothing is lost."""
import json

import nat64
import pytest
from conftest import PLANE, counter, python
from namespace import LabError, wait_until
from side_by_side import NAT64, WAYS, forget_path_mtus, read, serve, set_mtus, side_by_side, static, wait_for_mtus
from transfers import Transfers

PLANES = ("tun", "bpf")

PORT = 5000

# Says of each datagram its number, its length and whether it holds what it should.
RECEIVER = """
import socket, sys
address, port = sys.argv[1], int(sys.argv[2])
receiver = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
receiver.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
receiver.bind((address, port))
print("ready", flush=True)
while True:
    data = receiver.recv(65536)
    number = int.from_bytes(data[:4], "big")
    print(number, len(data), data[4:] == bytes((number + i) % 251 for i in range(len(data) - 4)), flush=True)
"""

# Sends COUNT super-packets of SEGMENTS datagrams of SIZE bytes, the last one a short one.
SENDER = """
import socket, sys, time
address, port, size, segments, count = sys.argv[1], *map(int, sys.argv[2:6])
sender = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
sender.setsockopt(17, 103, size)  # UDP_SEGMENT
sender.connect((address, port))
for first in range(0, count * segments, segments):
    datagrams = []
    for number in range(first, first + segments):
        length = size if number < first + segments - 1 else 100
        datagrams.append(number.to_bytes(4, "big") + bytes((number + i) % 251 for i in range(length - 4)))
    sender.send(b"".join(datagrams))
    time.sleep(0.002)
"""


@pytest.fixture(scope="module")
def receiving(namespaces):
    with side_by_side(bindings=[static("udp", PORT)]) as (lab, daemon):
        for name, machine, address in (("client", lab.client, "::"), ("server", lab.server, nat64.SERVER)):
            serve(machine, lab.path(name + ".log"), RECEIVER, address, PORT)
        lab.start_web(size=20_000_000)
        yield lab, daemon


class Device:
    """Packets and bytes through isthmus since this was made: sent to it, received from it. Where it translates in the
    kernel those are what the gateway's interfaces receive and send."""

    def __init__(self, lab):
        self.lab = lab
        self.before = self.read()

    def read(self):
        devices = {"isthmus0"} if PLANE == "tun" else {"lan0", "wan0"}
        ways = ("tx", "rx") if PLANE == "tun" else ("rx", "tx")
        rows = [row["stats64"] for row in json.loads(self.lab.gateway.run(["ip", "-j", "-s", "link"]).stdout)
                if row["ifname"] in devices]
        return {way: tuple(sum(row[way][what] for row in rows) for what in ("packets", "bytes")) for way in ways}

    def passed(self):
        now = self.read()
        return {way: (now[way][0] - self.before[way][0], now[way][1] - self.before[way][1]) for way in now}


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("part", ["download", "upload"])
def test_tcp(receiving, way, part):
    lab, _ = receiving
    device = Device(lab)
    url = f"http://[{way.server}]/"
    file = ["-o", "/dev/null", url + "file"] if part == "download" else \
        ["-T", lab.path("www", "file"), url + "upload/file"]
    lab.client.run(["curl", "-sS", "--fail", "--max-time", "20", *file])
    for direction, (packets, octets) in device.passed().items():
        assert octets > 20_000_000 and octets / packets > 3000, (direction, packets, octets)


def send(lab, side, way, size, segments, count):
    """Sends to that side, and returns the datagrams that arrived, as lengths by numbers."""
    sender, address = (lab.server, way.client) if side == "client" else (lab.client, way.server)
    log = lab.path(side + ".log")
    before = len(read(log))
    python(sender, SENDER, address, *map(str, (PORT, size, segments, count)))

    def arrived():
        lines = [line.split() for line in read(log)[before:].splitlines(keepends=True) if line.endswith("\n")]
        assert all(right == "True" for _, _, right in lines)
        return {int(number): int(length) for number, length, _ in lines}
    try:
        wait_until(lambda: len(arrived()) == segments * count, "all datagrams", seconds=3)
    except LabError:  # the caller sees what is missing
        pass
    return arrived()


def expected(size, segments, count):
    return {number: 100 if number % segments == segments - 1 else size for number in range(segments * count)}


def can_pass_whole(lab):
    """Kernels before 6.2 hand UDP to a TUN device by the datagram only."""
    return tuple(map(int, lab.gateway.run(["uname", "-r"]).stdout.split(".")[:2])) >= (6, 2)


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("side", ["client", "server"])
def test_udp(receiving, way, side):
    lab, _ = receiving
    if PLANE == "tun" and not can_pass_whole(lab):
        pytest.skip("this kernel has no super-packets of UDP for TUN devices")
    device = Device(lab)
    assert send(lab, side, way, 1200, 40, 50) == expected(1200, 40, 50)
    for direction, (packets, octets) in device.passed().items():
        assert octets > 50 * 39 * 1200 and packets <= 50 + 10, (direction, packets, octets)


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("size", [1453, 1472])
def test_udp_that_the_ipv6_side_does_not_carry(receiving, way, size):
    """Linux sends such super-packets without DF: each datagram is fragmented for itself."""
    lab, daemon = receiving
    before = counter(daemon, "pieces-made")
    assert send(lab, "client", way, size, 40, 20) == expected(size, 40, 20)
    assert counter(daemon, "pieces-made") - before >= 20 * 39 * 2


def test_tcp_that_the_other_side_does_not_carry(receiving):
    """The sender's segments shrink as it is told, mid-way, and its super-packets go on."""
    lab, daemon = receiving
    set_mtus(lab, 1500, 1400)
    wait_for_mtus(daemon, 1500, 1400)
    device = Device(lab)
    assert Transfers(lab, lab.client, [f"http://[{NAT64.server}]"]).wait() == [0, 0]
    for packets, octets in device.passed().values():
        assert octets / packets > 3000
    set_mtus(lab, 1500, 1500)
    wait_for_mtus(daemon, 1500, 1500)
    forget_path_mtus(lab)
