# SPDX-License-Identifier: BSD-2-Clause
"""Ping and the ICMP errors of the world outside, with the packets quoted inside them."""
import re
from subprocess import DEVNULL, PIPE

import nat64
import pytest
from conftest import GATEWAY_HOPS, ISTHMUS_HOP, counter, python, settings, start

PLANES = ("tun", "bpf")

# Sends a datagram to an address and prints how the kernel says it ended.
PROBE = """
import socket, sys
probe = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
probe.settimeout(5)
probe.setsockopt(socket.IPPROTO_IPV6, 25, 1)  # IPV6_RECVERR: report every ICMP error
probe.connect((sys.argv[1], int(sys.argv[2])))
probe.send(b"x" * 100)
try:
    probe.recv(100)
    print("answered")
except OSError as error:
    print(type(error).__name__, error.errno)
"""

# Answers the first datagram at a port with an ICMP error as a router would send it.
ROUTER = """
import socket, sys
from scapy.all import ICMP, IP, UDP, L3RawSocket, Raw, conf, raw, send
conf.verb = 0
conf.L3socket = L3RawSocket  # the kernel finds the neighbour
kind, code, mtu, quoted = map(int, sys.argv[1:5])
listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
listener.bind(("203.0.113.2", 7007))
listener.settimeout(10)
print("ready", flush=True)
data, (address, port) = listener.recvfrom(2000)
inner = raw(IP(src=address, dst="203.0.113.2", ttl=60) / UDP(sport=port, dport=7007) / Raw(data))
error = ICMP(type=kind, code=code)
if mtu:
    error.nexthopmtu = mtu
send(IP(src="203.0.113.2", dst=address) / error / Raw(inner[:20 + quoted]))
"""


def test_ping(lab, daemon):
    text = lab.client.run(["ping", "-c", "20", "-i", "0.02", nat64.SERVER_MAPPED]).stdout
    assert "20 received, 0% packet loss" in text
    assert f"ttl={64 - GATEWAY_HOPS} " in text


@pytest.mark.parametrize("size", [0, 8, 1000, 1452])
def test_ping_sizes(lab, daemon, size):
    text = lab.client.run(["ping", "-c", "3", "-i", "0.02", "-s", str(size), nat64.SERVER_MAPPED]).stdout
    assert "3 received, 0% packet loss" in text


def test_ping_from_server_to_static_icmp_binding(lab):
    static = [{"protocol": "icmp", "ipv6": f"[{nat64.CLIENT}]:7", "ipv4": "192.0.2.17:9"}]
    start(lab, settings(static=static))
    text = lab.server.run(["ping", "-c", "5", "-i", "0.02", "-e", "9", "192.0.2.17"]).stdout
    assert "5 received, 0% packet loss" in text


def test_connection_from_server_to_static_tcp_binding(lab):
    static = [{"protocol": "tcp", "ipv6": f"[{nat64.CLIENT}]:8080", "ipv4": "192.0.2.17:80"}]
    start(lab, settings(static=static))
    lab.write("hello", "hello from the client\n")
    lab.client.start(["/usr/bin/python3", "-m", "http.server", "-d", lab.directory, "-b", "::", "8080"],
                     stdout=DEVNULL, stderr=DEVNULL)
    done = lab.server.run(["curl", "-sS", "--retry", "5", "--retry-delay", "1", "--retry-all-errors",
                           "http://192.0.2.17/hello"])
    assert done.stdout == "hello from the client\n"


def test_nobody_answers_from_outside_without_binding(lab, daemon):
    done = lab.server.run(["ping", "-c", "2", "-i", "0.1", "-W", "1", "192.0.2.17"], check=False)
    assert "2 packets transmitted, 0 received" in done.stdout
    assert counter(daemon, "no-binding") >= 2


def test_closed_udp_port_is_refused(lab, daemon):
    """Port Unreachable crosses, and the packet quoted in it fits the client's socket."""
    assert python(lab.client, PROBE, nat64.SERVER_MAPPED, "9") == "ConnectionRefusedError 111\n"


def test_closed_tcp_port_is_refused(lab, daemon):
    script = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], 9), timeout=5)
except OSError as error:
    print(type(error).__name__)
"""
    assert python(lab.client, script, nat64.SERVER_MAPPED) == "ConnectionRefusedError\n"


@pytest.mark.parametrize("quoted", [8, 108], ids=["eight-bytes", "whole"])
@pytest.mark.parametrize("kind, code, expected", [
    (3, 0, "OSError 101"),        # net unreachable: no route, ENETUNREACH
    (3, 1, "OSError 101"),        # host unreachable: no route
    (3, 3, "ConnectionRefusedError 111"),
    (3, 13, "PermissionError 13"),  # administratively prohibited, EACCES
    (11, 0, "OSError 113"),       # Time Exceeded, EHOSTUNREACH
])
def test_icmp_error_from_a_router(lab, daemon, kind, code, expected, quoted):
    router = lab.server.start(["/usr/bin/python3", "-c", ROUTER, str(kind), str(code), "0", str(quoted)],
                              stdout=PIPE, text=True)
    assert router.stdout.readline() == "ready\n"
    assert python(lab.client, PROBE, nat64.SERVER_MAPPED, "7007").strip() == expected


def test_fragmentation_needed_lowers_the_clients_path_mtu(lab, daemon):
    router = lab.server.start(["/usr/bin/python3", "-c", ROUTER, "3", "4", "1300", "8"],
                              stdout=PIPE, text=True)
    assert router.stdout.readline() == "ready\n"
    python(lab.client, PROBE, nat64.SERVER_MAPPED, "7007")
    route = lab.client.run(["ip", "-6", "route", "get", nat64.SERVER_MAPPED]).stdout
    assert re.search(r"mtu 1320\b", route)


def hop_limited(lab, hops):
    done = lab.client.run(["ping", "-c", "1", "-W", "2", "-t", str(hops), nat64.SERVER_MAPPED], check=False)
    found = re.search(r"From (\S+) .*(?:Time exceeded|Hop limit)", done.stdout)
    return found.group(1) if found else None


@pytest.mark.parametrize("own", [{"ipv6": "2001:db8:1::1", "ipv4": "203.0.113.1"},
                                 {"ipv6": "2001:db8:64::c000:211", "ipv4": "192.0.2.17"}],
                         ids=["the-hosts-own", "a-pool-address"])
# rfc: 4443-2.2-a
def test_time_exceeded_bears_the_configured_address(lab, own):
    """First the kernel answers, if it comes first, then isthmus from `address`; what lies behind answers through
    it."""
    daemon = start(lab, settings(address=own))
    if ISTHMUS_HOP > 1:
        assert hop_limited(lab, 1) == nat64.GATEWAY6
    assert hop_limited(lab, ISTHMUS_HOP) == own["ipv6"]
    assert counter(daemon, "hop-limit") == 1


def test_time_exceeded_has_an_address_by_default(lab, daemon):
    assert hop_limited(lab, ISTHMUS_HOP) is not None


@pytest.mark.parametrize("reverse_path_filter", [0, 1, 2])
def test_time_exceeded_towards_ipv4(lab, reverse_path_filter):
    """A packet from the host's own address comes out of isthmus0, which a filter could take for forged."""
    lab.gateway.shell(f"echo {reverse_path_filter} > /proc/sys/net/ipv4/conf/all/rp_filter\n")
    static = [{"protocol": "udp", "ipv6": f"[{nat64.CLIENT}]:5000", "ipv4": "192.0.2.17:5000"}]
    address = {"ipv6": "2001:db8:1::1", "ipv4": "203.0.113.1"}
    daemon = start(lab, settings(static=static, address=address))
    script = """
import socket, sys
probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
probe.settimeout(3)
probe.setsockopt(socket.IPPROTO_IP, 11, 1)  # IP_RECVERR
probe.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, int(sys.argv[1]))
probe.connect(("192.0.2.17", 5000))
probe.send(b"x")
try:
    probe.recv(10)
except OSError as error:
    print(error.errno)
"""
    assert python(lab.server, script, str(ISTHMUS_HOP)) == "113\n"
    assert counter(daemon, "hop-limit") == 1


def test_non_global_ipv4_is_refused_behind_the_well_known_prefix(lab):
    daemon = start(lab, settings(prefix="64:ff9b::/96"))
    done = lab.client.run(["ping", "-c", "1", "-W", "2", "64:ff9b::cb00:7102"], check=False)
    assert done.returncode != 0 and "nreachable" in done.stdout
    assert counter(daemon, "non-global") == 1
