# SPDX-License-Identifier: BSD-2-Clause
"""Restarts: whatever ended the daemon, the next one goes on with its sessions, and no connection is lost. A table
that cannot be used is refused with a reason, and the daemon works all the same."""
import os
import random
import re
import time
from subprocess import DEVNULL, PIPE

import nat64
import pytest
from conftest import CONNECTIONS, PYTHON, configure, settings, start
from namespace import wait_until

COUNT = 500
WAYS = {"sigterm": lambda daemon: daemon.stop(),
        "sigkill": lambda daemon: daemon.kill(),
        "all-killed": lambda daemon: daemon.kill_all()}


def table_path(lab):
    """The table's file, as seen from outside of the gateway."""
    return f"/proc/{lab.gateway.keeper.pid}/root/run/isthmus/isthmus0/table"


class Connections:
    """Open TCP connections from the client to the server, each of which answers."""

    def __init__(self, lab, count=COUNT):
        self.count = count
        if not lab.server.run(["ss", "-Hltn", "sport", "=", ":7000"]).stdout:
            lab.server.start([PYTHON, CONNECTIONS, "serve", nat64.SERVER, "7000"])
            wait_until(lambda: lab.server.run(["ss", "-Hltn", "sport", "=", ":7000"]).stdout, "the echo server")
        self.process = lab.client.start(
            [PYTHON, CONNECTIONS, "open", nat64.SERVER_MAPPED, "7000", str(count)],
            stdin=PIPE, stdout=PIPE, stderr=PIPE, text=True)
        self.expect("open")

    def expect(self, word):
        line = self.process.stdout.readline()
        assert line == f"{word} {self.count}\n", self.process.stderr.read()

    def answer(self):
        self.process.stdin.write("again\n")
        self.process.stdin.flush()
        self.expect("echoed")

    def close(self):
        self.process.stdin.close()
        assert self.process.wait(30) == 0


def tcp_sessions(daemon):
    return {(row["client"], row["pool"], row["remote"]) for row in daemon.show("sessions") if row["protocol"] == "tcp"}


def continued(daemon):
    """How many sessions it says to go on with."""
    return sum(map(int, re.findall(r"continues with (\d+) session", daemon.log())))


@pytest.mark.parametrize("arguments", [(), ("--stay",)], ids=["run", "stay"])
@pytest.mark.parametrize("way", WAYS)
def test_connections_outlive_a_restart(lab, way, arguments):
    daemon = start(lab, settings(), *arguments)
    connections = Connections(lab)
    lab.start_iperf()
    bulk = lab.client.start(["iperf3", "-c", nat64.SERVER_MAPPED, "-t", "5", "-P", "2", "--bidir"],
                            stdout=DEVNULL, stderr=PIPE, text=True)
    running = ["ss", "-Htn", "state", "established", "dport", "=", ":5201"]
    wait_until(lambda: len(lab.client.run(running).stdout.splitlines()) >= 5, "the bulk transfer")
    before = tcp_sessions(daemon)
    assert len(before) >= COUNT + 5
    WAYS[way](daemon)
    daemon = start(lab, settings(), *arguments)
    assert continued(daemon) >= COUNT + 5, daemon.log()
    assert before <= tcp_sessions(daemon)
    connections.answer()
    connections.close()
    assert bulk.wait(30) == 0, bulk.stderr.read()
    assert "warning: the session table" not in daemon.log()


def test_many_restarts(lab):
    daemon = start(lab, settings())
    connections = Connections(lab)
    for number, way in enumerate([*WAYS, *WAYS, *WAYS]):
        WAYS[way](daemon)
        daemon = start(lab, settings(), *(["--stay"] if number % 3 == 1 else []))
        connections.answer()
        assert daemon.show("status")[0]["sessions"] >= COUNT
    connections.close()


def test_killed_at_any_moment_of_a_start(lab):
    """Also while a table of another size takes the sessions over."""
    dice = random.Random(6146)
    daemon = start(lab, settings(limits={"sessions": 4096}))
    connections = Connections(lab)
    daemon.kill()
    for number in range(20):
        sessions = 4096 if number % 3 == 0 else 1024 << (number % 4)
        daemon = nat64.Daemon(lab, configure(lab, settings(limits={"sessions": sessions}))).launch()
        time.sleep(dice.uniform(0, 0.15))
        daemon.kill()
    daemon = start(lab, settings(limits={"sessions": 4096}))
    assert continued(daemon) >= COUNT, daemon.log()
    connections.answer()
    connections.close()


def test_new_connections_get_other_ports(lab):
    """What the sessions of the last run hold is not given out again."""
    daemon = start(lab, settings())
    first = Connections(lab, 300)
    assert daemon.stop() == 0
    daemon = start(lab, settings())
    second = Connections(lab, 300)
    first.answer()
    second.answer()
    pools = [row["pool"] for row in daemon.show("bindings") if row["protocol"] == "tcp"]
    assert len(pools) == len(set(pools)) == 600
    first.close()
    second.close()


def test_static_bindings_come_from_the_configuration(lab):
    static = [{"protocol": "tcp", "ipv6": f"[{nat64.CLIENT}]:{port}", "ipv4": f"192.0.2.17:{port}"}
              for port in (80, 81)]
    for count in (2, 2, 1, 2):
        daemon = start(lab, settings(static=static[:count]))
        lab.client.run(["ping", "-c", "1", "-W", "2", nat64.SERVER_MAPPED])
        bindings = daemon.show("bindings")
        assert sum(row["static"] for row in bindings) == count
        assert daemon.show("status")[0]["bindings"] == len(bindings)
        assert daemon.show("status")[0]["sessions"] == len(daemon.show("sessions"))
        assert daemon.stop() == 0


@pytest.mark.parametrize("way", ["sigterm", "sigkill"])
def test_another_size(lab, way):
    daemon = start(lab, settings(limits={"sessions": 4096}))
    connections = Connections(lab)
    for sessions, workers, addresses in ((8192, 1, 64), (2048, 2, 16), (262144, 2, 64), (262144, 1, 64)):
        WAYS[way](daemon)
        daemon = start(lab, settings({"workers": workers}, limits={"sessions": sessions, "addresses": addresses}))
        assert "of another size" in daemon.log()
        assert continued(daemon) >= COUNT, daemon.log()
        connections.answer()
    connections.close()


def test_too_small_for_all(lab):
    daemon = start(lab, settings())
    Connections(lab)
    assert daemon.stop() == 0
    daemon = start(lab, settings(limits={"sessions": 100}))
    lost = int(re.search(r"(\d+) without room in the new table", daemon.log())[1])
    kept = continued(daemon)
    assert 100 <= kept <= 125 and kept + lost >= COUNT  # what has no room is said; a table has a quarter to spare
    assert daemon.show("status")[0]["sessions"] == kept == len(daemon.show("sessions"))


def test_what_is_no_longer_allowed_ends(lab):
    daemon = start(lab, settings())
    Connections(lab)
    assert daemon.stop() == 0
    daemon = start(lab, settings(pool=[{"address": "203.0.113.32/30"}]))
    assert "no longer allowed" in daemon.log()
    assert not tcp_sessions(daemon)
    lab.client.run(["ping", "-c", "1", "-W", "2", nat64.SERVER_MAPPED])


def overwrite(offset, contents):
    def change(path):
        with open(path, "r+b") as file:
            file.seek(offset)
            file.write(contents)
    return change


@pytest.mark.parametrize("damage, reason", [
    (overwrite(0, b"\0" * 4096), "no session table"),
    (overwrite(8, b"\xff"), "another version of isthmus (format"),
    (overwrite(12, b"\x63"), "another version of isthmus (layout 99"),
    (overwrite(16, b"\0"), "never finished"),
    (overwrite(24, b"00000000-0000"), "stale"),
    (overwrite(64, b"\0\0\0\0"), "impossible size"),
    (overwrite(4096, b"\0" * 64), "refused"),
    (lambda path: os.truncate(path, 100), "cut short"),
    (lambda path: os.truncate(path, os.path.getsize(path) - 4096), "cut short"),
], ids=["zeroes", "format", "layout", "unfinished", "boot", "size", "inner-header", "no-header", "truncated"])
def test_unusable_table_is_refused(lab, damage, reason):
    daemon = start(lab, settings())
    lab.client.run(["ping", "-c", "1", "-W", "2", nat64.SERVER_MAPPED])
    assert daemon.stop() == 0
    damage(table_path(lab))
    daemon = start(lab, settings())
    assert "warning: the session table of the last run is refused" in daemon.log()
    assert reason in daemon.log()
    assert not continued(daemon)
    Connections(lab, 10).close()
    assert daemon.stop() == 0
    daemon = start(lab, settings())
    assert "refused" not in daemon.log() and continued(daemon) >= 10


@pytest.mark.parametrize("seed", range(4))
def test_garbage_in_the_table(lab, seed):
    """Nobody knows what a daemon wrote that had gone mad: the next one starts, and what it kept can be ended."""
    dice = random.Random(seed)
    daemon = start(lab, settings(limits={"sessions": 1024, "addresses": 16}))
    Connections(lab, 300)
    WAYS[dice.choice(list(WAYS))](daemon)
    with open(table_path(lab), "r+b") as file:
        size = os.path.getsize(file.name)
        for _ in range(400):
            # Beyond both headers; half of it in the lanes and records, which come first.
            file.seek(dice.randrange(3 * 4096, 30 * 4096 if dice.random() < 0.5 else size - 64))
            file.write(dice.randbytes(dice.choice([1, 4, 8, 64])))
    daemon = start(lab, settings(limits={"sessions": 1024, "addresses": 16}))
    assert "refused" not in daemon.log()
    Connections(lab, 100).close()
    daemon.show("sessions")
    assert daemon.stop() == 0


def test_no_room_for_the_table(lab):
    """A clear sentence at the start, and nothing left behind."""
    lab.gateway.shell("mount -o remount,size=16m /run\n")
    daemon = nat64.Daemon(lab, configure(lab, settings())).launch()
    assert daemon.process.wait(10) == 1
    assert re.search(r"error: a session table of \d+ MiB finds no room in /run/isthmus/isthmus0, where \d+ MiB "
                     r"are free; lower nat64.limits.sessions", daemon.log()), daemon.log()
    assert lab.gateway.run(["find", "/run", "-mindepth", "1"]).stdout == "/run/mount\n"
    daemon = start(lab, settings(limits={"sessions": 1024, "addresses": 16}))
    lab.client.run(["ping", "-c", "1", "-W", "2", nat64.SERVER_MAPPED])


def test_failed_start_keeps_the_sessions(lab):
    daemon = start(lab, settings())
    connections = Connections(lab)
    assert daemon.stop() == 0
    lab.gateway.shell("touch /run/in-the-way\n")
    broken = {**settings(limits={"sessions": 1000}), "control": {"socket": "/run/in-the-way/socket"}}
    daemon = nat64.Daemon(lab, configure(lab, broken)).launch()
    assert daemon.process.wait(10) == 1 and "control socket" in daemon.log()
    daemon = start(lab, settings())
    assert continued(daemon) >= COUNT
    connections.answer()
    connections.close()


@pytest.mark.parametrize("end", ["down", "fresh"])
def test_sessions_can_be_given_up(lab, end):
    daemon = start(lab, settings())
    Connections(lab, 10)
    assert daemon.stop() == 0
    if end == "down":
        assert "removed the session table of isthmus0" in daemon.command("down").stderr
        assert lab.gateway.run(["find", "/run", "-mindepth", "1"]).stdout == "/run/mount\n"
    daemon = start(lab, settings(), *(["--fresh"] if end == "fresh" else []))
    assert not continued(daemon) and not tcp_sessions(daemon)
