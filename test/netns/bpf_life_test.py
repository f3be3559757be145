# SPDX-License-Identifier: BSD-2-Clause
"""The eBPF plane through the life of a daemon: packets go on being translated, new sessions included, while none
runs; the next one takes over; and what goes leaves nothing behind."""
import json
import time
from subprocess import PIPE

import nat64
import pytest
from conftest import configure, counter, settings, start
from nat64 import difference, snapshot
from namespace import wait_until
from restart_test import WAYS, Connections, continued, tcp_sessions

pytestmark = pytest.mark.usefixtures("bpf")

BPF = {"type": "bpf"}
PINS = "/sys/fs/bpf/isthmus/isthmus0"
# What a daemon that ran with --stay, or was killed, is survived by.
SURVIVORS = [(way, arguments) for way in WAYS for arguments in ((), ("--stay",)) if way != "sigterm" or arguments]


def reaches_server(lab, count=1):
    lab.client.run(["ping", "-c", str(count), "-i", "0.05", "-W", "2", nat64.SERVER_MAPPED])


def programs(lab):
    """Interfaces with a program of isthmus."""
    return [name for name in ("lan0", "lan1", "wan0", "br0")
            if "translate_" in lab.gateway.shell(f"tc filter show dev {name} ingress 2>/dev/null || true\n")]


def only_pins_stay(lab, before):
    """Of a daemon that was stopped: its sessions."""
    changes = difference(before, snapshot(lab.gateway))
    left = [line for line in changes if "/sys/fs/bpf" not in line]
    assert left == ["+ /run/isthmus", "+ /run/isthmus/isthmus0", "+ /run/isthmus/isthmus0/changes"], changes
    assert f"+ {PINS}/current/records" in changes


def unchanged(lab, before):
    changes = difference(before, snapshot(lab.gateway))
    assert not changes, "\n".join(changes)


def test_packets_are_translated_in_the_kernel(lab):
    daemon = start(lab, settings(BPF))
    assert "translating what comes in by lan0" in daemon.log() and "translating what comes in by wan0" in daemon.log()
    status, = daemon.show("status")
    assert status["plane"] == "bpf" and status["interfaces"] == ["lan0", "wan0"]
    before = counter(daemon, "tun-reads")
    reaches_server(lab, 20)
    lab.start_web(1_000_000)
    lab.client.run(["curl", "-sSf", "-o", "/dev/null", nat64.URL + "/file"])
    assert counter(daemon, "translated-6to4") >= 20 and counter(daemon, "translated-4to6") >= 20
    assert counter(daemon, "tun-reads") - before < 5
    assert daemon.show("status")[0]["sessions"] == len(daemon.show("sessions")) == 2
    assert "lan0, wan0" in daemon.command("show", "status").stdout


def test_what_the_programs_do_not_do_goes_by_the_device(lab):
    """Also when the daemon has been running for longer than it takes to hold it for dead."""
    daemon = start(lab, settings(BPF))
    time.sleep(4)
    lab.client.run(["ping", "-c", "3", "-i", "0.1", "-s", "4000", "-W", "2", nat64.SERVER_MAPPED])
    assert counter(daemon, "bpf-handed-over") >= 9
    assert counter(daemon, "no-daemon") == 0


@pytest.mark.parametrize("way, arguments", SURVIVORS, ids=[" ".join((way, *rest)) for way, rest in SURVIVORS])
def test_packets_flow_while_no_daemon_runs(lab, way, arguments):
    before = snapshot(lab.gateway)
    daemon = start(lab, settings(BPF), *arguments)
    old = Connections(lab, 50)
    lab.start_iperf()
    bulk = lab.client.start(["iperf3", "-c", nat64.SERVER_MAPPED, "-t", "4", "--json"], stdout=PIPE, text=True)
    running = ["ss", "-Htn", "state", "established", "dport", "=", ":5201"]
    wait_until(lambda: len(lab.client.run(running).stdout.splitlines()) >= 2, "the bulk transfer")
    WAYS[way](daemon)
    old.answer()
    new = Connections(lab, 50)
    time.sleep(3.5)  # by now the daemon counts as dead
    reaches_server(lab)
    new.answer()
    daemon = start(lab, settings(BPF))
    assert "took over device isthmus0" in daemon.log()
    assert continued(daemon) >= 102, daemon.log()
    old.answer()
    new.answer()
    assert len(tcp_sessions(daemon)) >= 100
    # Each interval carried something, so there was no gap of a second.
    assert bulk.wait(30) == 0
    intervals = [interval["sum"]["bytes"] for interval in json.load(bulk.stdout)["intervals"]]
    assert len(intervals) >= 4 and min(intervals) > 0, intervals
    old.close()
    new.close()
    assert daemon.stop() == 0
    daemon.command("down")
    unchanged(lab, before)


def test_a_stop_leaves_the_sessions_and_down_nothing(lab):
    before = snapshot(lab.gateway)
    daemon = start(lab, settings(BPF))
    reaches_server(lab)
    assert programs(lab) == ["lan0", "wan0"]
    assert daemon.stop() == 0
    only_pins_stay(lab, before)
    daemon = start(lab, settings(BPF))
    assert continued(daemon) == 1, daemon.log()
    assert daemon.stop() == 0
    only_pins_stay(lab, before)
    assert "removed the pins" in daemon.command("down").stderr
    unchanged(lab, before)


@pytest.mark.parametrize("way", ["sigkill", "all-killed"])
def test_down_after_a_crash(lab, way):
    before = snapshot(lab.gateway)
    daemon = start(lab, settings(BPF))
    reaches_server(lab)
    WAYS[way](daemon)
    wait_until(lambda: "isthmus0 is" not in daemon.command("down", "isthmus0", check=False).stderr, "the lock")
    daemon.command("down")
    unchanged(lab, before)


def test_fresh_forgets_all(lab):
    before = snapshot(lab.gateway)
    daemon = start(lab, settings(BPF), "--stay")
    reaches_server(lab)
    assert daemon.stop() == 0
    daemon = start(lab, settings(BPF), "--fresh")
    assert not continued(daemon) and "removed device isthmus0" in daemon.log()
    reaches_server(lab)
    assert daemon.stop() == 0
    daemon.command("down")
    unchanged(lab, before)


@pytest.mark.parametrize("way", WAYS)
def test_another_size_takes_the_sessions_over(lab, way):
    daemon = start(lab, settings(BPF, limits={"sessions": 4096}))
    connections = Connections(lab)
    for sessions, workers, addresses in ((8192, 1, 64), (2048, 2, 16), (262144, 1, 64)):
        WAYS[way](daemon)
        daemon = start(lab, settings({**BPF, "workers": workers},
                                     limits={"sessions": sessions, "addresses": addresses}))
        assert continued(daemon) >= connections.count, daemon.log()
        connections.answer()
    connections.close()


@pytest.mark.parametrize("way", WAYS)
def test_sessions_go_from_plane_to_plane(lab, way):
    before = snapshot(lab.gateway)
    daemon = start(lab, settings({"type": "tun"}))
    connections = Connections(lab)
    for plane in ("bpf", "tun", "bpf", "bpf", "tun"):
        WAYS[way](daemon)
        daemon = start(lab, settings({"type": plane}))
        assert daemon.show("status")[0]["plane"] == plane
        assert continued(daemon) >= connections.count, daemon.log()
        connections.answer()
        Connections(lab, 5).close()
        assert programs(lab) == (["lan0", "wan0"] if plane == "bpf" else [])
        assert (PINS in lab.gateway.shell("find /sys/fs/bpf")) == (plane == "bpf")
        assert ("table" in lab.gateway.shell("ls /run/isthmus/isthmus0")) == (plane == "tun")
    connections.close()
    assert daemon.stop() == 0
    daemon.command("down")
    unchanged(lab, before)


def test_other_pins(lab):
    before = snapshot(lab.gateway)
    lab.gateway.shell("mkdir /run/elsewhere\n")
    daemon = start(lab, settings(BPF), "--stay")
    connections = Connections(lab, 20)
    assert daemon.stop() == 0
    daemon = start(lab, settings({**BPF, "pins": "/run/elsewhere/lab"}))
    assert continued(daemon) >= 20, daemon.log()
    assert "/run/elsewhere/lab/isthmus0/current/records" in lab.gateway.shell("find /run/elsewhere")
    connections.answer()
    connections.close()
    assert daemon.stop() == 0
    daemon.command("down")
    lab.gateway.shell("rmdir /run/elsewhere\n")
    unchanged(lab, before)


def test_a_table_of_another_size_goes_on_with_the_sessions(lab):
    """It is made anew, and has the keys of the old one, by which the programs too must look for sessions."""
    daemon = start(lab, settings(BPF, limits={"sessions": 10000}), "--stay")
    connections = Connections(lab, 20)
    assert daemon.stop() == 0
    daemon = start(lab, settings(BPF, limits={"sessions": 20000}))
    assert "the session table is made anew, with the sessions of the pinned one" in daemon.log()
    assert continued(daemon) >= 20, daemon.log()
    connections.answer()
    connections.close()
    assert counter(daemon, "no-session") == 0
    assert daemon.stop() == 0


def test_a_start_that_fails_leaves_nothing(lab):
    before = snapshot(lab.gateway)
    lab.gateway.shell("touch /run/in-the-way\n")
    broken = {**settings(BPF), "control": {"socket": "/run/in-the-way/socket"}}
    daemon = nat64.Daemon(lab, configure(lab, broken)).launch()
    assert daemon.process.wait(10) == 1 and "control socket" in daemon.log()
    lab.gateway.shell("rm /run/in-the-way\n")
    unchanged(lab, before)
