# SPDX-License-Identifier: BSD-2-Clause
"""Networks of unequal MTU: whoever sends too much is told, by isthmus itself, and bulk data flows."""
import hashlib
import re

import nat64
import pytest
from conftest import counter, settings, start
from namespace import wait_until

PLANES = ("tun", "bpf")

OWN = {"ipv6": "2001:db8:1::1", "ipv4": "203.0.113.1"}


@pytest.fixture
def narrow(lab):
    """The IPv4 side carries 1400 bytes only."""
    lab.gateway.shell("ip link set wan0 mtu 1400\n")
    lab.server.shell("ip link set eth0 mtu 1400\n")
    return lab


def ping(lab, size, *arguments):
    return lab.client.run(["ping", "-c", "2", "-i", "0.2", "-W", "2", "-s", str(size), *arguments,
                           nat64.SERVER_MAPPED], check=False).stdout


def test_packet_too_big_reaches_the_client(narrow):
    daemon = start(narrow, settings(address=OWN))
    # IPv4 1400 is IPv6 1420: 40 bytes of IPv6 header, 8 of ICMPv6.
    assert "2 received" in ping(narrow, 1372, "-M", "do")
    assert counter(daemon, "too-big-ipv6") == 0
    text = ping(narrow, 1373, "-M", "do")
    assert "0 received" in text and "mtu=1420" in text.replace(" ", "").lower()
    assert counter(daemon, "too-big-ipv6") >= 1
    route = narrow.client.run(["ip", "-6", "route", "get", nat64.SERVER_MAPPED]).stdout
    assert re.search(r"mtu 1420\b", route)


@pytest.mark.parametrize("clamp", [True, False], ids=["mss-clamp", "path-mtu-discovery"])
def test_bulk_data_crosses_a_narrow_network(narrow, clamp):
    configuration = settings(address=OWN)
    configuration["translation"] = {"mss-clamp": clamp}
    start(narrow, configuration)
    narrow.start_web(size=20_000_000)
    narrow.client.run(["curl", "-6", "-sS", "--fail", "--max-time", "20", "-o", narrow.path("copy"),
                       nat64.URL + "/file"])
    narrow.client.run(["curl", "-6", "-sS", "--fail", "--max-time", "20", "-T", narrow.path("www", "file"),
                       nat64.URL + "/upload/copy"])
    hashes = set()
    for path in (("www", "file"), ("copy",), ("www", "upload", "copy")):
        with open(narrow.path(*path), "rb") as file:
            hashes.add(hashlib.file_digest(file, "sha256").hexdigest())
    assert len(hashes) == 1


def test_mss_is_clamped_both_ways(lab):
    """Both ends stand on networks of 1500 bytes; only isthmus knows that 1400 is all that gets through."""
    start(lab, settings(plane={"mtu": {"ipv6": 1500, "ipv4": 1400}}))
    lab.start_web(size=20_000_000)
    lab.client.start(["curl", "-6", "-sS", "--limit-rate", "1M", "-o", "/dev/null", nat64.URL + "/file"])

    def segment(machine):
        text = machine.run(["ss", "-Htin", "state", "established"]).stdout
        found = re.search(r"\bmss:(\d+)", text)
        return found and int(found.group(1))
    # 1400 of IPv4: 20 of header, 20 of TCP, 12 of timestamps.
    assert wait_until(lambda: segment(lab.client), "a connection") == 1348
    assert segment(lab.server) == 1348


def test_narrow_ipv6_side_tells_the_server(lab):
    """DF set and too large for the IPv6 side: the IPv4 sender gets Fragmentation Needed."""
    lab.gateway.shell("ip link set lan0 mtu 1300\n")
    lab.client.shell("ip link set eth0 mtu 1300\n")
    static = [{"protocol": "icmp", "ipv6": f"[{nat64.CLIENT}]:7", "ipv4": "192.0.2.17:7"}]
    daemon = start(lab, settings(address=OWN, static=static))
    # 1300 of IPv6 is 1280 of IPv4: 20 bytes of header, 8 of ICMP.
    command = ["ping", "-c", "2", "-i", "0.2", "-W", "2", "-e", "7", "-M", "do", "-s"]
    assert "2 received" in lab.server.run([*command, "1252", "192.0.2.17"]).stdout
    text = lab.server.run([*command, "1253", "192.0.2.17"], check=False).stdout
    assert "0 received" in text and "mtu=1280" in text.replace(" ", "").lower()
    assert counter(daemon, "too-big-ipv4") >= 1


def test_configured_mtu_overrules_the_routes(lab):
    daemon = start(lab, settings(address=OWN, plane={"mtu": {"ipv6": 1500, "ipv4": 1350}}))
    text = ping(lab, 1400, "-M", "do")
    assert "0 received" in text and "mtu=1370" in text.replace(" ", "").lower()
    assert counter(daemon, "too-big-ipv6") >= 1
