# SPDX-License-Identifier: BSD-2-Clause
"""The hops that traceroute and tracepath show are those of doc/packet-path.md: the kernel, isthmus, the kernel
again, and what lies beyond, or isthmus alone where it translates in the kernel; with probes of each protocol, from
both sides, with state and without."""
import ipaddress
import re

import nat64
import pytest
from conftest import ISTHMUS_HOP, PYTHON
from namespace import wait_until
from side_by_side import NAT64, SIIT, WAYS, forget_path_mtus, set_mtus, side_by_side, static, wait_for_mtus

PLANES = ("tun", "bpf")

# A process number in a name space of its own: traceroute -I takes it as identifier.
TRACEROUTE_ID = 1
SOURCES = "198.51.100.64/26"  # for hops without an IPv4 address (RFC 6791)
NEIGHBOUR4 = "192.0.2.41"

# Ports that the programs try one after another: traceroute, tracepath.
PORTS = [*range(33434, 33444), *range(44444, 44464)]


@pytest.fixture(scope="module")
def traced(namespaces):
    bindings = [static("udp", port) for port in PORTS]
    bindings += [static("udp", 5000), static("tcp", 8080), static("icmp", TRACEROUTE_ID)]
    mappings = [{"ipv4": SIIT.client, "ipv6": nat64.CLIENT}, {"ipv4": NEIGHBOUR4, "ipv6": nat64.NEIGHBOUR}]
    with side_by_side(bindings=bindings, eam=mappings, icmp_source_ipv4=SOURCES) as (lab, daemon):
        lab.add_neighbour()
        lab.server.shell(f"ip route add {SOURCES} via {nat64.GATEWAY4}\n")
        for machine in lab.machines:  # or the kernel leaves probes unanswered that come one upon another
            machine.shell("echo 0 > /proc/sys/net/ipv4/icmp_ratelimit\necho 0 > /proc/sys/net/ipv6/icmp/ratelimit\n")
        for machine, address in ((lab.client, "::"), (lab.server, "0.0.0.0")):
            machine.start([PYTHON, "-c", f"""
import socket
listener = socket.create_server(({address!r}, 8080), family=socket.AF_INET6 if ":" in {address!r} else socket.AF_INET)
while True:
    listener.accept()
"""])
            wait_until(lambda: machine.run(["ss", "-Hltn", "sport", "=", ":8080"]).stdout, "a listener")
        yield lab, daemon


PROBES = {
    "udp": ["traceroute"],
    "udp-one-port": ["traceroute", "-U", "-p", "5000"],
    "icmp": ["unshare", "--pid", "--fork", "traceroute", "-I"],
    "tcp": ["traceroute", "-T", "-p", "8080"],
    "tcp-closed": ["traceroute", "-T", "-p", "5000"],
}


def traceroute(machine, probe, destination):
    """The address at each hop, the last one being where it ended."""
    text = machine.run([*PROBES[probe], "-n", "-q", "1", "-w", "2", "-m", "8", destination]).stdout
    lines = re.findall(r"^ *(\d+) +(\S+)", text, re.MULTILINE)
    assert [int(number) for number, _ in lines] == list(range(1, len(lines) + 1)), text
    return [address for _, address in lines]


def tracepath(machine, destination):
    """The address at each hop, and the path MTU."""
    text = machine.run(["tracepath", "-n", "-m", "8", destination]).stdout
    hops = dict(re.findall(r"^ *(\d+): +([0-9a-f:.]+) +[\d.]+ms", text, re.MULTILINE))
    assert "reached" in text, text
    return list(hops.values()), int(re.search(r"Resume: pmtu (\d+)", text).group(1))


def expected_from_client(way):
    """The kernel where the packet comes in, isthmus by its `address`, the kernel where it goes out, the server."""
    if ISTHMUS_HOP == 1:
        return [nat64.GATEWAY6, way.server]
    return [nat64.GATEWAY6, nat64.GATEWAY6, way.prefix + "cb00:7101", way.server]


def assert_from_server(way, hops):
    """Where it goes out the kernel has an IPv6 address only: without state, one of RFC 6791 stands for it; with
    state, the pool address of the flow."""
    if ISTHMUS_HOP == 1:
        assert hops == [nat64.GATEWAY4, way.client], hops
        return
    assert hops[:2] == [nat64.GATEWAY4, nat64.GATEWAY4] and hops[3:] == [way.client], hops
    if way is SIIT:
        assert ipaddress.ip_address(hops[2]) in ipaddress.ip_network(SOURCES), hops
    else:
        assert hops[2] == way.client, hops


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("probe", PROBES)
def test_traceroute_from_the_client(traced, way, probe):
    assert traceroute(traced[0].client, probe, way.server) == expected_from_client(way)


@pytest.mark.parametrize("way, probe", [(way, probe) for way in WAYS for probe in PROBES
                                        # With state, the one TCP port that is bound is open.
                                        if (way, probe) != (NAT64, "tcp-closed")], ids=str)
def test_traceroute_from_the_server(traced, way, probe):
    assert_from_server(way, traceroute(traced[0].server, probe, way.client))


def test_traceroute_between_mapped_hosts(traced):
    """From IPv6 to IPv6 by IPv4 addresses is one hop of isthmus. The kernel's answer, where the packet goes out,
    comes from an address without a mapping, so one that stands for it."""
    lab, _ = traced
    hops = traceroute(lab.client, "udp", SIIT.prefix + "c000:229")
    if ISTHMUS_HOP == 1:  # such a packet is turned round in the engine, and then the kernel may forward it
        assert hops[0] == nat64.GATEWAY6 and hops[-1] == SIIT.prefix + "c000:229" and len(hops) <= 3, hops
        return
    assert hops[:2] + hops[3:] == [nat64.GATEWAY6, nat64.GATEWAY6, SIIT.prefix + "c000:229"], hops
    embedded = ipaddress.ip_address(int(ipaddress.ip_address(hops[2])) & 0xffffffff)
    assert hops[2].startswith(SIIT.prefix) and embedded in ipaddress.ip_network(SOURCES), hops


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_tracepath(traced, way):
    """Hops and the MTU of the path, which is narrow beyond isthmus."""
    lab, daemon = traced
    set_mtus(lab, 1500, 1400)
    wait_for_mtus(daemon, 1500, 1400)
    assert tracepath(lab.client, way.server) == (expected_from_client(way), 1420)
    set_mtus(lab, 1420, 1500)
    wait_for_mtus(daemon, 1420, 1500)
    hops, mtu = tracepath(lab.server, way.client)
    assert_from_server(way, hops)
    assert mtu == 1400
    set_mtus(lab, 1500, 1500)
    wait_for_mtus(daemon, 1500, 1500)
    forget_path_mtus(lab)
