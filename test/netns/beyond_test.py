# SPDX-License-Identifier: BSD-2-Clause
"""Routers beyond the gateway, on either side: seen by traceroute, narrow from one moment to the next, and silent
about it. The kernel's TCP is at both ends; routers report what is too big, and isthmus passes it on."""
import re
import time

import nat64
import pytest
from conftest import PYTHON, configure
from namespace import wait_until
from side_by_side import NAT64, SIIT, SIIT_PREFIX, configuration, side_by_side, static
from trace_test import traceroute
from transfers import TIMED_OUT, Transfers

ALONE = "transfers must last while paths change"

SERVERS = {"nat64": "2001:db8:64::c633:6482", "siit": SIIT_PREFIX + "c633:6482"}  # 198.51.100.130
CLIENTS = {"nat64": "192.0.2.18", "siit": "192.0.2.43"}
POOL = "192.0.2.0/25"  # and the addresses of mappings
URLS = [f"http://[{address}]" for address in SERVERS.values()]
# A router whose IPv6 side is known to have an IPv4 address.
ROUTER6_4 = "192.0.2.44"


def keys(clamp=True):
    return {"bindings": [static("udp", port, nat64.FAR_CLIENT, CLIENTS["nat64"]) for port in range(33434, 33444)],
            "eam": [{"ipv4": CLIENTS["siit"], "ipv6": nat64.FAR_CLIENT}, {"ipv4": ROUTER6_4, "ipv6": "2001:db8:5::2"}],
            "icmp_source_ipv4": "192.0.2.45", "translation": {"mss-clamp": clamp}}


@pytest.fixture(scope="module")
def long(namespaces):
    with side_by_side(**keys()) as (lab, daemon):
        lab.add_routers(POOL)
        for machine in lab.machines:  # or the kernel leaves probes unanswered that come one upon another
            machine.shell("echo 0 > /proc/sys/net/ipv4/icmp_ratelimit\necho 0 > /proc/sys/net/ipv6/icmp/ratelimit\n")
        for machine in (lab.far_client, lab.far_server):  # a transfer that is slow at one end is so at the other
            machine.run(["sysctl", "-q", "-w", "net.ipv4.tcp_rmem=4096 65536 262144"])
        lab.start_web(size=8_000_000, machine=lab.far_server, address=nat64.FAR_SERVER)
        yield lab, daemon


SIDES = ["ipv4", "ipv6"]


def end_of(lab, side):
    """The router of that side, and the host behind it."""
    return (lab.router4, lab.far_server) if side == "ipv4" else (lab.router6, lab.far_client)


def set_mtu(lab, side, size):
    router, host = end_of(lab, side)
    router.shell(f"ip link set far mtu {size}\n")
    host.shell(f"ip link set eth0 mtu {size}\n")


@pytest.fixture
def restored(long):
    """After the test all is as it was."""
    lab, daemon = long
    yield long
    for machine in (lab.router4, lab.router6, lab.far_client, lab.far_server, lab.client):
        machine.run(["nft", "flush", "ruleset"])
    for side in SIDES:
        set_mtu(lab, side, 1500)
    lab.gateway.shell("ip route replace 198.51.100.128/25 via 198.51.100.2\n"
                      "ip route replace 2001:db8:6::/64 via 2001:db8:5::2\n")
    configure(lab, configuration(**keys()))
    daemon.command("reload")
    for machine in lab.machines:
        machine.run(["ip", "-6", "route", "flush", "cache"])
        machine.run(["ip", "-4", "route", "flush", "cache"])


@pytest.mark.parametrize("way", SERVERS)
def test_hops_from_the_client(long, way):
    prefix = SERVERS[way].removesuffix("c633:6482")
    assert traceroute(long[0].far_client, "udp", SERVERS[way]) == [
        nat64.ROUTER6, "2001:db8:5::1", nat64.GATEWAY6, prefix + "cb00:7101", prefix + "c633:6402", SERVERS[way]]


@pytest.mark.parametrize("way", CLIENTS)
def test_hops_from_the_server(long, way):
    """The gateway's IPv6 side has no IPv4 address; without state the router's has."""
    hops = traceroute(long[0].far_server, "udp", CLIENTS[way])
    assert hops[:3] == ["198.51.100.129", "198.51.100.1", nat64.GATEWAY4], hops
    assert hops[3:] == ([CLIENTS[way]] * 3 if way == "nat64" else ["192.0.2.45", ROUTER6_4, CLIENTS[way]]), hops


def learned(lab, side):
    """The path MTUs that the sender towards that side has been told of: with state and without."""
    if side == "ipv4":
        machine, family, (stateful, stateless) = lab.far_client, "-6", ([SERVERS["nat64"]], [SERVERS["siit"]])
    else:  # with state it knows the client by one of the pool
        pool = [f"192.0.2.{last}" for last in range(16, 32)]
        machine, family, (stateful, stateless) = lab.far_server, "-4", (pool, [CLIENTS["siit"]])

    def told(addresses):
        script = "".join(f"ip {family} route get {address}\n" for address in addresses)
        return set(map(int, re.findall(r"mtu (\d+)", machine.shell(script))))
    return told(stateful), told(stateless)


@pytest.mark.parametrize("side", SIDES)
def test_a_path_that_narrows_and_widens_under_transfers(restored, side):
    """Four at once, up and down, with state and without; each goes on."""
    lab, _ = restored
    transfers = Transfers(lab, lab.far_client, URLS, slow=True)
    time.sleep(0.6)
    set_mtu(lab, side, 1300)
    mtu = 1320 if side == "ipv4" else 1280
    wait_until(lambda: learned(lab, side) == ({mtu}, {mtu}), "both senders to be told")
    set_mtu(lab, side, 1500)
    assert transfers.wait() == [0, 0, 0, 0]


def silence(machine, hook):
    """From now on it sends (output) or hears (input) no word of packets that are too big."""
    machine.shell("nft add table inet silent\n"
                  f"nft 'add chain inet silent every {{ type filter hook {hook} priority 0; }}'\n"
                  "nft add rule inet silent every icmp type destination-unreachable icmp code 4 drop\n"
                  "nft add rule inet silent every icmpv6 type packet-too-big drop\n")


@pytest.mark.parametrize("side", SIDES)
def test_a_router_that_drops_without_a_word(restored, side):
    """Nobody can know. What helps is a route with the right MTU on the gateway: SYNs then ask for smaller segments,
    even if the ends hear no ICMP at all."""
    lab, daemon = restored
    set_mtu(lab, side, 1300)
    if side == "ipv4":  # the end itself must not be what makes segments small
        lab.far_server.shell("ip route change 192.0.2.0/25 via 198.51.100.129 advmss 1460\n")
    else:
        lab.far_client.shell("ip route change default via 2001:db8:6::1 advmss 1440\n")
    silence(end_of(lab, side)[0], "output")
    stuck = Transfers(lab, lab.far_client, URLS, seconds=2).wait()
    # Towards the narrow side, that is.
    assert stuck[side == "ipv4"::2] == [TIMED_OUT] * 2

    for machine in (lab.far_client, lab.far_server):
        silence(machine, "input")
    if side == "ipv4":
        lab.gateway.shell("ip route replace 198.51.100.128/25 via 198.51.100.2 mtu 1300\n")
    else:
        lab.gateway.shell("ip route replace 2001:db8:6::/64 via 2001:db8:5::2 mtu 1300\n")
    wait_until(lambda: daemon.show("status")[0][f"mtu_{side}"] == 1300, "the MTU to be known")
    assert Transfers(lab, lab.far_client, URLS).wait() == [0, 0, 0, 0]

    configure(lab, configuration(**keys(clamp=False)))
    daemon.command("reload")
    stuck = Transfers(lab, lab.far_client, URLS, seconds=2).wait()
    assert stuck[side == "ipv4"::2] == [TIMED_OUT] * 2, "it was the clamp that helped"


@pytest.mark.parametrize("deaf", ["client", "server"])
@pytest.mark.parametrize("side", SIDES)
def test_icmp_blocked_on_one_side(restored, side, deaf):
    """The gateway's own link is narrow, which it knows: TCP needs no ICMP then."""
    lab, daemon = restored
    device = "wan2" if side == "ipv4" else "lan2"
    silence(lab.far_client if deaf == "client" else lab.far_server, "input")
    lab.gateway.shell(f"ip link set {device} mtu 1300\n")
    try:
        wait_until(lambda: daemon.show("status")[0][f"mtu_{side}"] == 1300, "the MTU to be known")
        assert Transfers(lab, lab.far_client, URLS).wait() == [0, 0, 0, 0]
    finally:
        lab.gateway.shell(f"ip link set {device} mtu 1500\n")
