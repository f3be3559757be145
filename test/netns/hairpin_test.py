# SPDX-License-Identifier: BSD-2-Clause
"""Two IPv6-only clients that meet by their IPv4 addresses, and endpoint-independent mapping."""
import hashlib
from subprocess import DEVNULL, PIPE

import nat64
from conftest import ISTHMUS_HOP, python, settings, start

PLANES = ("tun", "bpf")

MEETING = "2001:db8:64::c000:211"  # 192.0.2.17 as the clients see it


def test_download_from_a_neighbour_by_its_ipv4_address(lab):
    neighbour = lab.add_neighbour()
    static = [{"protocol": "tcp", "ipv6": f"[{nat64.NEIGHBOUR}]:8080", "ipv4": "192.0.2.17:80"}]
    start(lab, settings(static=static))
    body = bytes(range(256)) * 40000
    lab.write("body", body)
    neighbour.start(["/usr/bin/python3", "-m", "http.server", "-d", lab.directory, "-b", "::", "8080"],
                    stdout=DEVNULL, stderr=DEVNULL)
    lab.client.run(["curl", "-6", "-sS", "--fail", "--retry", "5", "--retry-delay", "1",
                    "--retry-all-errors", "-o", lab.path("copy"), f"http://[{MEETING}]/body"])
    with open(lab.path("copy"), "rb") as file:
        assert hashlib.file_digest(file, "sha256").digest() == hashlib.sha256(body).digest()


def test_neighbour_sees_a_pool_address_under_the_prefix(lab):
    """RFC 6146 section 3.8: a hairpinned packet comes from the other's IPv4 side, not from its IPv6 address."""
    neighbour = lab.add_neighbour()
    static = [{"protocol": "udp", "ipv6": f"[{nat64.NEIGHBOUR}]:5000", "ipv4": "192.0.2.17:5000"}]
    start(lab, settings(static=static))
    waiting = neighbour.start(["/usr/bin/python3", "-c", """
import socket
listener = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
listener.bind(("2001:db8:3::2", 5000))
listener.settimeout(10)
print("ready", flush=True)
data, peer = listener.recvfrom(100)
listener.sendto(data, peer)
print(peer[0])
"""], stdout=PIPE, text=True)
    assert waiting.stdout.readline() == "ready\n"
    answer = python(lab.client, """
import socket, sys
probe = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
probe.settimeout(5)
probe.connect((sys.argv[1], 5000))
probe.send(b"hello")
print(probe.recv(100).decode())
""", MEETING)
    assert answer == "hello\n"
    assert waiting.stdout.readline().startswith("2001:db8:64::c000:2")


def test_one_mapping_for_all_destinations(lab, daemon):
    """RFC 6146 section 3.5.1.1: a client's port keeps its pool address and port whomever it talks to."""
    receivers = lab.server.start(["/usr/bin/python3", "-c", """
import socket
sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
for number, receiver in enumerate(sockets):
    receiver.bind(("203.0.113.2", 6000 + number))
    receiver.settimeout(10)
print("ready", flush=True)
peers = [receiver.recvfrom(100)[1] for receiver in sockets]
print(peers[0] == peers[1], flush=True)
# Endpoint-independent filtering: a port that the client never called may answer too.
stranger = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
stranger.bind(("203.0.113.2", 6002))
stranger.sendto(b"from elsewhere", peers[0])
"""], stdout=PIPE, text=True)
    assert receivers.stdout.readline() == "ready\n"
    answer = python(lab.client, """
import socket, sys
probe = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
probe.settimeout(5)
probe.sendto(b"a", (sys.argv[1], 6000))
probe.sendto(b"b", (sys.argv[1], 6001))
print(*probe.recvfrom(100)[1][:2])
""", nat64.SERVER_MAPPED)
    assert receivers.stdout.readline() == "True\n"
    assert answer == f"{nat64.SERVER_MAPPED} 6002\n"


def test_errors_turn_round_as_well(lab):
    """RFC 5508 REQ-7: an error about a packet between two clients reaches the one that sent it."""
    lab.add_neighbour()
    static = [{"protocol": "udp", "ipv6": f"[{nat64.NEIGHBOUR}]:5000", "ipv4": "192.0.2.17:5000"}]
    start(lab, settings(static=static))
    outcome = python(lab.client, """
import socket, sys
probe = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
probe.settimeout(5)
probe.connect((sys.argv[1], 5000))
probe.send(b"nobody listens there")
try:
    probe.recv(100)
except OSError as error:
    print(type(error).__name__)
""", MEETING)
    assert outcome == "ConnectionRefusedError\n"


def test_each_translation_takes_a_hop(lab):
    """Twice through the translator are two hops of it, each between two of the kernel's unless it does without."""
    neighbour = lab.add_neighbour()
    static = [{"protocol": "udp", "ipv6": f"[{nat64.NEIGHBOUR}]:5000", "ipv4": "192.0.2.17:5000"}]
    start(lab, settings(static=static))
    echo = neighbour.start(["/usr/bin/python3", "-c", """
import socket
listener = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
listener.bind(("2001:db8:3::2", 5000))
print("ready", flush=True)
while True:
    data, peer = listener.recvfrom(100)
    listener.sendto(data, peer)
"""], stdout=PIPE, text=True)
    assert echo.stdout.readline() == "ready\n"
    hops = python(lab.client, """
import errno, socket, sys
for hops in range(1, 8):
    probe = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    probe.setsockopt(socket.IPPROTO_IPV6, 25, 1) # IPV6_RECVERR
    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, hops)
    probe.settimeout(2)
    probe.connect((sys.argv[1], 5000))
    probe.send(b"x")
    try:
        print("answer" if probe.recv(10) == b"x" else "nonsense")
    except OSError as error:
        print(errno.errorcode.get(error.errno, "silence"))
""", MEETING).split()
    routers = hops.count("EHOSTUNREACH")
    assert hops == ["EHOSTUNREACH"] * routers + ["answer"] * (7 - routers)
    assert routers == 5 if ISTHMUS_HOP > 1 else 2 <= routers <= 5, hops
