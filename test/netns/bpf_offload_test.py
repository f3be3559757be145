# SPDX-License-Identifier: BSD-2-Clause
"""The eBPF plane and what devices leave to others: checksums that are not yet computed, super-packets made by the
sender or on the way, with each offload on and off at either hop; and packets that somebody else looks at as well.

Files arrive as they were sent, down and up, with state and without; and it was not the engine who saw to that."""
import contextlib
import re

import nat64
import pytest
from conftest import counter
from gso_test import PORT, RECEIVER, expected, send
from namespace import end, wait_until
from side_by_side import WAYS, forget_path_mtus, serve, set_mtus, side_by_side, static, wait_for_mtus
from transfers import Transfers

pytestmark = pytest.mark.usefixtures("bpf")

SIZE = 2_000_000
ENGINES_SHARE = 50  # packets of a test that may be the engine's: the first to a neighbour, and what is too big
SEGMENTS, COUNT = 40, 20  # of UDP: datagrams of a super-packet, super-packets


def start_receivers(lab):
    for name, machine, address in (("client", lab.client, "::"), ("server", lab.server, nat64.SERVER)):
        serve(machine, lab.path(name + ".log"), RECEIVER, address, PORT)
    lab.start_web(size=SIZE)


@pytest.fixture(scope="module")
def translating(bpf):
    with side_by_side(bindings=[static("udp", PORT)], plane="bpf") as (lab, daemon):
        start_receivers(lab)
        yield lab, daemon


def ends(lab, hop):
    """Both ends of one of the links: that of a host, that of the gateway."""
    return {"client": ((lab.client, "eth0"), (lab.gateway, "lan0")),
            "server": ((lab.server, "eth0"), (lab.gateway, "wan0"))}[hop]


@contextlib.contextmanager
def switched(places, features, to):
    """Features of devices, for the time of a block."""
    other = {"on": "off", "off": "on"}[to]
    try:
        for machine, device in places:
            machine.run(["ethtool", "-K", device, *(word for feature in features for word in (feature, to))])
        yield
    finally:
        for machine, device in places:
            machine.run(["ethtool", "-K", device, *(word for feature in features for word in (feature, other))])


def files_arrive(lab, daemon, most=ENGINES_SHARE):
    before = counter(daemon, "bpf-handed-over")
    assert Transfers(lab, lab.client, [f"http://[{way.server}]" for way in WAYS]).wait() == [0, 0, 0, 0]
    assert counter(daemon, "bpf-handed-over") - before <= most


def datagrams_arrive(lab, size=1200):
    for way in WAYS:
        for side in ("client", "server"):
            assert send(lab, side, way, size, SEGMENTS, COUNT) == expected(size, SEGMENTS, COUNT), (way, side)


@pytest.mark.parametrize("hop", ["client", "server"])
@pytest.mark.parametrize("features", [["tx"], ["sg"], ["tso"], ["gso"], ["tso", "gso", "tx-udp-segmentation"]],
                         ids="+".join)
def test_an_offload_is_off(translating, features, hop):
    lab, daemon = translating
    with switched(ends(lab, hop), features, "off"):
        files_arrive(lab, daemon)
        datagrams_arrive(lab)


@pytest.mark.parametrize("whole", [True, False], ids=["super-packets", "segments"])
def test_packets_are_merged_on_the_way(translating, whole):
    """By the gateway's devices, from segments or not: of TCP, and of UDP where that is asked for."""
    lab, daemon = translating
    hosts = [ends(lab, hop)[0] for hop in ("client", "server")]
    gateway = [ends(lab, hop)[1] for hop in ("client", "server")]
    with contextlib.ExitStack() as stack:
        stack.enter_context(switched(gateway, ["gro", "rx-udp-gro-forwarding"], "on"))
        if not whole:
            stack.enter_context(switched(hosts, ["tso", "gso", "tx-udp-segmentation"], "off"))
        files_arrive(lab, daemon)
        datagrams_arrive(lab)


def test_datagrams_of_super_packets_arrive_both_ways(translating):
    lab, _ = translating
    for size in (101, 1200, 1400):
        datagrams_arrive(lab, size)


@pytest.mark.parametrize("offloads", ["on", "off"])
@pytest.mark.parametrize("ipv6, ipv4", [(1280, 9000), (9000, 1280), (1420, 1500), (1500, 1420), (9000, 9000)])
def test_networks_of_unequal_mtu(translating, ipv6, ipv4, offloads):
    lab, daemon = translating
    with contextlib.ExitStack() as stack:
        stack.callback(wait_for_mtus, daemon, 1500, 1500)
        stack.callback(set_mtus, lab, 1500, 1500)
        stack.callback(forget_path_mtus, lab)
        set_mtus(lab, ipv6, ipv4)
        wait_for_mtus(daemon, ipv6, ipv4)
        forget_path_mtus(lab)
        if offloads == "off":
            for hop in ("client", "server"):
                stack.enter_context(switched(ends(lab, hop), ["tx", "tso", "gso"], "off"))
        files_arrive(lab, daemon)
        datagrams_arrive(lab, min(ipv6 - 20, ipv4, 1600) - 28 - 8)


@contextlib.contextmanager
def listening(lab, device):
    """Has tcpdump look at what comes in by a device; the file is complete at the end of the block."""
    path = lab.path(f"{device}.pcap")
    with open(path + ".log", "w") as log:
        process = lab.gateway.start(["tcpdump", "-i", device, "-Q", "in", "-w", path, "-B", "65536", "-U", "ip or ip6"],
                                    stdout=log, stderr=log)

    def ready():
        with open(path + ".log") as log:
            return "listening on" in log.read()
    wait_until(ready, "tcpdump")
    yield path
    end(process)


def test_a_listener_sees_packets_as_they_came(translating):
    """It shares their bytes with the program, which translates them in place: only when it has them for itself."""
    lab, daemon = translating
    hosts = [ends(lab, hop)[0] for hop in ("client", "server")]
    with switched(hosts, ["tx", "tso", "gso"], "off"):  # so that checksums are there to be looked at
        with listening(lab, "lan0") as lan, listening(lab, "wan0") as wan:
            files_arrive(lab, daemon)
    own = {lan: {nat64.CLIENT}, wan: {nat64.SERVER}}
    for path, senders in own.items():
        text = lab.gateway.run(["tcpdump", "-nn", "-vv", "-r", path, "tcp or (ip6 proto 6)"]).stdout
        assert text.count("(correct)") > 2 * SIZE / 1500, text[:1000]
        assert "incorrect" not in text
        sources = set(re.findall(r"(\S+)\.\d+ > \S+: Flags", text))
        assert sources == senders


@pytest.mark.parametrize("features", [["gro", "rx-gro-list"], ["gro", "rx-gro-list", "rx-udp-gro-forwarding"]],
                         ids="+".join)
def test_lists_of_packets_are_not_made_while_isthmus_runs(bpf, features):
    """A list would have but its first header translated."""
    def lists(lab):
        return [lab.gateway.run(["sh", "-c", f"ethtool -k {device} | grep rx-gro-list"]).stdout.split()[1]
                for device in ("lan0", "wan0")]

    def prepare(lab):
        for device in ("lan0", "wan0"):
            lab.gateway.run(["ethtool", "-K", device, *(word for feature in features for word in (feature, "on"))])
    with side_by_side(bindings=[static("udp", PORT)], plane="bpf", prepare=prepare) as (lab, daemon):
        start_receivers(lab)
        assert lists(lab) == ["off", "off"]
        with switched([(lab.client, "eth0"), (lab.server, "eth0")], ["tso", "gso", "tx-udp-segmentation"], "off"):
            files_arrive(lab, daemon)
            datagrams_arrive(lab)
        assert daemon.stop() == 0
        assert lists(lab) == ["on", "on"]
