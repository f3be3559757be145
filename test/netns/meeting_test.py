# SPDX-License-Identifier: BSD-2-Clause
"""Hairpins: two IPv6-only clients that know each other by IPv4 addresses, with state and without. All that passes
between a client and a server passes between the two: TCP, UDP, pings, and word of a path that is narrow."""
import hashlib
import os
from subprocess import DEVNULL

import nat64
import pytest
from conftest import PYTHON
from datagrams import ECHO, LARGE, SMALL, ask
from namespace import wait_until
from side_by_side import ECHO_ID, NAT64, PINGS, SIIT, SIIT_PREFIX, forget_path_mtus, ping, serve, side_by_side, static

MEETING = {"nat64": NAT64.prefix + "c000:212", "siit": SIIT_PREFIX + "c000:229"}  # 192.0.2.18, 192.0.2.41


@pytest.fixture(scope="module", params=["intrinsic", "simple"])
def met(request, namespaces):
    """Both ways at once; the two ways of hairpins without state one after the other."""
    bindings = [static(protocol, port, nat64.NEIGHBOUR, "192.0.2.18")
                for protocol, port in (("icmp", ECHO_ID), ("udp", 5000), ("tcp", 8080))]
    mappings = [{"ipv4": SIIT.client, "ipv6": nat64.CLIENT}, {"ipv4": "192.0.2.41", "ipv6": nat64.NEIGHBOUR}]
    translation = {"mss-clamp": False}
    with side_by_side(bindings=bindings, eam=mappings, hairpin=request.param, translation=translation) as (lab, daemon):
        neighbour = lab.add_neighbour()
        lab.write("file", os.urandom(2_000_000))
        serve(neighbour, lab.path("echo.log"), ECHO, "::", 5000)
        neighbour.start([PYTHON, "-m", "http.server", "-d", lab.directory, "-b", "::", "8080"],
                        stdout=DEVNULL, stderr=DEVNULL)
        wait_until(lambda: neighbour.run(["ss", "-Hltn", "sport", "=", ":8080"]).stdout, "the web server")
        yield lab, daemon


def ping_neighbour(lab, way, size):
    """With state, both have a binding of the same identifier: the client's stays what it is, and leads to the other."""
    received, text = ping(lab.client, MEETING[way], size, "-e", str(ECHO_ID), "-M", "do")
    return received, text.replace(" ", "")


def fetch(lab, way):
    lab.client.run(["curl", "-sS", "--fail", "--max-time", "10", "-o", lab.path("copy"),
                    f"http://[{MEETING[way]}]:8080/file"])
    with open(lab.path("copy"), "rb") as copy, open(lab.path("file"), "rb") as file:
        assert hashlib.file_digest(copy, "sha256").digest() == hashlib.file_digest(file, "sha256").digest()


@pytest.mark.parametrize("way", MEETING)
def test_ping(met, way):
    lab, _ = met
    assert {size: ping_neighbour(lab, way, size)[0] for size in (0, 1, 1000, 1232, 1233, 1452)} == \
        dict.fromkeys((0, 1, 1000, 1232, 1233, 1452), PINGS)


@pytest.mark.parametrize("way", MEETING)
def test_udp(met, way):
    lab, _ = met
    assert ask(lab.client, MEETING[way], 5000, SMALL + LARGE) == SMALL + LARGE


@pytest.mark.parametrize("way", MEETING)
def test_tcp(met, way):
    lab, _ = met
    fetch(lab, way)


@pytest.mark.parametrize("way", MEETING)
@pytest.mark.parametrize("narrow", ["lan0", "lan1"])
def test_path_mtu(met, way, narrow):
    """One of the two has 1400 bytes only on its link's far end: it is told by isthmus who sends more."""
    lab, daemon = met

    def set_mtu(size):
        lab.gateway.shell(f"ip link set {narrow} mtu {size}\n")
        wait_until(lambda: daemon.show("status")[0]["mtu_ipv6"] == size, "the MTU to be known")
    set_mtu(1400)
    if narrow == "lan1":
        assert ping_neighbour(lab, way, 1352)[0] == PINGS
        received, text = ping_neighbour(lab, way, 1353)
        assert received == 0 and "mtu=1400" in text, text
        assert ping_neighbour(lab, way, 1352)[0] == PINGS
    fetch(lab, way)
    set_mtu(1500)
    forget_path_mtus(lab)
    lab.neighbour.run(["ip", "-6", "route", "flush", "cache"])
