# SPDX-License-Identifier: BSD-2-Clause
"""Datagrams that real kernels cut and put together, and fragments of our own in every order, through nat64."""
from subprocess import PIPE

import nat64
import pytest
from conftest import PYTHON, counter, python, settings, start

PLANES = ("tun", "bpf")

INSIDE = "192.0.2.17"  # port 5000 is the client's, identifier 9 its 7
STATIC = [{"protocol": "udp", "ipv6": f"[{nat64.CLIENT}]:5000", "ipv4": f"{INSIDE}:5000"},
          {"protocol": "icmp", "ipv6": f"[{nat64.CLIENT}]:7", "ipv4": f"{INSIDE}:9"}]

# Answers each datagram with itself; "without" leaves out the checksum.
ECHO = """
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
listener = socket.socket(family, socket.SOCK_DGRAM)
listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4000000)
if "without" in sys.argv:
    listener.setsockopt(socket.SOL_SOCKET, 11, 1)  # SO_NO_CHECK
listener.bind((sys.argv[1], 5000))
print("ready", flush=True)
while True:
    data, peer = listener.recvfrom(65535)
    listener.sendto(data, peer)
"""

# Sends datagrams of several sizes to an echo and prints those that came back whole. Where one is lost because a
# kernel has yet to learn a path's MTU, from an error about it, the next is not.
ASK = """
import random, socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
probe = socket.socket(family, socket.SOCK_DGRAM)
probe.settimeout(1)
if "without" in sys.argv:
    probe.setsockopt(socket.SOL_SOCKET, 11, 1)  # SO_NO_CHECK
for size in map(int, sys.argv[2].split(",")):
    data = random.Random(size).randbytes(size)
    for patience in range(4, -1, -1):
        probe.sendto(data, (sys.argv[1], 5000))
        try:
            while probe.recv(65535) != data:  # an answer to one sent before, which came late
                pass
            print(size, end=" ")
            break
        except TimeoutError:
            if patience == 0:
                raise
"""

SIZES = "1,1232,1233,1452,1453,1472,1473,2000,2913,4000,9000,20000,40000,60000"


def echo(machine, address, *words):
    process = machine.start([PYTHON, "-c", ECHO, address, *words], stdout=PIPE, text=True)
    assert process.stdout.readline() == "ready\n"


# Noise, the redirects that a kernel sends when a packet goes out by the device it came in by, and how kernels
# learn of MTUs.
EXPECTED = ("not-ours", "icmp-type", "too-big-ipv4", "too-big-ipv6")


def dropped(daemon):
    return {row["name"]: row["packets"] for row in daemon.show("counters")
            if row["class"] in ("dropped", "refused") and row["packets"] and row["name"] not in EXPECTED}


@pytest.mark.parametrize("word", ["with", "without"])
def test_datagrams_of_all_sizes_from_the_client(lab, word):
    daemon = start(lab, settings())
    echo(lab.server, nat64.SERVER, word)
    assert python(lab.client, ASK, nat64.SERVER_MAPPED, SIZES) == SIZES.replace(",", " ") + " "
    assert not dropped(daemon)
    assert len(daemon.show("sessions")) == 1
    if word == "without":
        assert counter(daemon, "fragment-held") > 100


@pytest.mark.parametrize("word", ["with", "without"])
def test_datagrams_of_all_sizes_from_the_server(lab, word):
    daemon = start(lab, settings(static=STATIC))
    echo(lab.client, nat64.CLIENT)
    assert python(lab.server, ASK, INSIDE, SIZES, word) == SIZES.replace(",", " ") + " "
    assert not dropped(daemon)


def test_fragments_that_fit_need_not_be_cut_further(lab):
    daemon = start(lab, settings())
    lab.server.run(["ip", "route", "change", nat64.POOL, "via", nat64.GATEWAY4, "mtu", "1252"])
    echo(lab.server, nat64.SERVER)
    assert python(lab.client, ASK, nat64.SERVER_MAPPED, "9000,60000") == "9000 60000 "
    assert counter(daemon, "pieces-made") == 0 and not dropped(daemon)


@pytest.mark.parametrize("size", [1452, 1453, 2000, 9000, 20000, 60000])
def test_ping_both_ways(lab, size):
    daemon = start(lab, settings(static=STATIC))
    ping = ["ping", "-c", "3", "-i", "0.02", "-W", "3", "-s", str(size)]
    assert "3 received, 0% packet loss" in lab.client.run([*ping, nat64.SERVER_MAPPED]).stdout
    assert "3 received, 0% packet loss" in lab.server.run([*ping, "-M", "dont", "-e", "9", INSIDE]).stdout
    assert not dropped(daemon)


# Sends the four fragments of datagrams from port 5000 in all orders; prints "sent".
SHUFFLED = """
import itertools, random, socket, sys
from scapy.all import IP, IPv6, IPv6ExtHdrFragment, UDP, Raw, raw
source, destination, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
six = ":" in source
out = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
for number, order in enumerate(itertools.permutations(range(4))):
    data = bytes([number]) * 1000
    head = IPv6(src=source, dst=destination) if six else IP(src=source, dst=destination)
    payload = raw(head / UDP(sport=5000, dport=port) / Raw(data))[40 if six else 20:]
    for at in order:
        start, more = 256 * at, int(at < 3)
        piece = payload[start:start + 256] if more else payload[start:]
        if six:
            packet = IPv6(src=source, dst=destination) / IPv6ExtHdrFragment(
                nh=17, offset=start // 8, m=more, id=1000 + number) / Raw(piece)
        else:
            packet = IP(src=source, dst=destination, proto=17, id=1000 + number, frag=start // 8,
                        flags=more) / Raw(piece)
        out.sendto(raw(packet), (destination, 0))
"""

# Prints the numbers of the datagrams that come.
COLLECT = """
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
listener = socket.socket(family, socket.SOCK_DGRAM)
listener.bind((sys.argv[1], int(sys.argv[2])))
listener.settimeout(5)
print("ready", flush=True)
seen = []
while len(seen) < 24:
    data = listener.recv(65535)
    seen.append(data[0] if data == bytes([data[0]]) * 1000 else -1)
print(sorted(seen) == list(range(24)), flush=True)
"""


@pytest.mark.parametrize("direction", ["to the server", "to the client"])
def test_fragments_in_every_order(lab, direction):
    """RFC 6146 section 3.4: fragments arriving out of order."""
    daemon = start(lab, settings(static=STATIC))
    sender, receiver, ends, listening = {
        "to the server": (lab.client, lab.server, (nat64.CLIENT, nat64.SERVER_MAPPED, "6000"), (nat64.SERVER, "6000")),
        "to the client": (lab.server, lab.client, (nat64.SERVER, INSIDE, "5000"), (nat64.CLIENT, "5000")),
    }[direction]
    collector = receiver.start([PYTHON, "-c", COLLECT, *listening], stdout=PIPE, text=True)
    assert collector.stdout.readline() == "ready\n"
    python(sender, SHUFFLED, *ends)
    assert collector.stdout.readline() == "True\n"
    assert counter(daemon, "fragment-held") >= 24 and not dropped(daemon)


def test_hairpin_in_fragments(lab):
    """RFC 6146 section 3.8: to a neighbour by its pool address."""
    neighbour = lab.add_neighbour()
    static = [{"protocol": "udp", "ipv6": f"[{nat64.NEIGHBOUR}]:5000", "ipv4": f"{INSIDE}:5000"}]
    daemon = start(lab, settings(static=static))
    echo(neighbour, nat64.NEIGHBOUR)
    assert python(lab.client, ASK, "2001:db8:64::c000:211", "3000,20000,60000") == "3000 20000 60000 "
    assert not dropped(daemon)


# One fragment of each of many datagrams, none of which is ever complete.
FLOOD = """
import socket, struct, sys
source, destination, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
out = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
addresses = socket.inet_aton(source) + socket.inet_aton(destination)
for number in range(count):
    head = struct.pack("!BBHHHBBH", 0x45, 0, 1020, number % 65536, 100, 64, 17, 0) + addresses
    out.sendto(head + bytes(1000), (destination, 0))
"""


def test_a_flood_of_fragments_takes_its_share_and_no_more(lab):
    daemon = start(lab, settings(static=STATIC, plane={"workers": 1}))
    lab.server.run(["ip", "address", "add", "203.0.113.66/24", "dev", "eth0"])
    python(lab.server, FLOOD, "203.0.113.66", INSIDE, "6000")
    echo(lab.client, nat64.CLIENT)
    assert python(lab.server, ASK, INSIDE, "3000,60000", "without") == "3000 60000 "
    assert dropped(daemon).keys() <= {"fragments-full", "fragment-timeout"}
    assert counter(daemon, "fragments-full") > 4000
