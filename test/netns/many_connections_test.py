# SPDX-License-Identifier: BSD-2-Clause
"""Two hundred thousand TCP connections at once, and none is lost when the daemon ends and comes back.

A process may have no more than some twenty thousand open files, so the connections are shared out among pairs
of processes, one on the client and one on the server, each pair with a port of its own
(many_connections.c). Their client addresses belong to many subscribers, since the ports of a subscriber are
those of one pool address as long as it has any.
"""
import re
import resource
import time
from subprocess import PIPE

import nat64
import pytest
from conftest import kernel_counters, settings, start
from many import add_subscribers, program
from namespace import wait_until

ALONE = "it takes all of the memory and both processors"

COUNT = 200_000
SUBSCRIBERS = 64
SOURCES = 4  # subscribers that a pair of processes has
SHARE = 12_500  # connections of a pair, where the limit on open files allows as many
OTHER_FILES = 100  # of a process, at most
FIRST_PORT = 7000
KILOBYTES_EACH = 10  # of kernel memory, both ends and the session; measured: 6.5
ROUNDS = 4  # in which the connections are opened
SAMPLE = 16  # one connection in so many sends while the daemon is away
PATIENCE = 60  # seconds


def available():
    """MemAvailable in kB."""
    with open("/proc/meminfo") as file:
        return int(re.search(r"MemAvailable:\s+(\d+)", file.read())[1])


def files_available():
    with open("/proc/sys/fs/file-nr") as file:
        used, _, most = map(int, file.read().split())
        return most - used


@pytest.fixture
def room(namespaces):
    """Skips, with the number, on a machine that is too small."""
    needed = COUNT * KILOBYTES_EACH
    if available() < needed:
        pytest.skip(f"{COUNT} connections take {needed // 1024} MiB; {available() // 1024} MiB are available")
    if files_available() < 3 * COUNT:
        pytest.skip(f"{COUNT} connections take {3 * COUNT} open files; fs.file-max leaves {files_available()}")


def has_ended(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


class Pairs:
    """The processes that hold the connections."""

    def __init__(self, lab):
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[1] - OTHER_FILES
        pairs = -(-COUNT // min(SHARE, files))
        subscribers = add_subscribers(lab, SUBSCRIBERS)
        self.begun = time.monotonic()
        self.share = -(-COUNT // pairs)
        self.servers = []
        self.holders = []
        for number in range(pairs):
            port, first = FIRST_PORT + number, number * self.share
            self.servers.append(lab.server.start(
                [program("many_connections"), "serve", nat64.SERVER, port], stdout=PIPE, text=True))
            assert self.servers[-1].stdout.readline() == "ready\n"
            own = subscribers[number * SOURCES % SUBSCRIBERS:][:SOURCES]
            self.holders.append(lab.client.start(
                [program("many_connections"), "hold", nat64.SERVER_MAPPED, port, first,
                 min(self.share, COUNT - first), *own], stdin=PIPE, stdout=PIPE, text=True))

    def tell(self, command):
        for holder in self.holders:
            holder.stdin.write(command + "\n")
            holder.stdin.flush()

    def answers(self, word):
        """The sum of the numbers that all answer; any failure is one of the test."""
        lines = [holder.stdout.readline().rstrip() for holder in self.holders]
        told = [re.fullmatch(rf"{word} (\d+)", line) for line in lines]
        assert all(told), [line for line, match in zip(lines, told) if not match]
        return sum(int(match[1]) for match in told)

    def ask(self, command, word):
        self.tell(command)
        return self.answers(word)

    def end(self):
        """Ends all at once; closing so many sockets takes each a while."""
        for process in self.holders + self.servers:
            process.terminate()

    def note(self, text):
        print(f"{time.monotonic() - self.begun:6.1f} s  {text}", flush=True)

    def open(self):
        before = available()
        for _ in range(ROUNDS):
            opened = self.ask(f"open {-(-self.share // ROUNDS)}", "opened")
            self.note(f"{opened} open, {before - available()} kB")
        assert opened == COUNT

    def echo(self):
        assert self.ask("echo", "echoed") == COUNT
        self.note(f"{COUNT} echoes")


def restart(pairs, daemon, end):
    """Ends the daemon by `end` and starts it again, while one connection in SAMPLE sends."""
    pairs.tell(f"send 1 {SAMPLE}")  # some of it crosses, some meets the end
    end()
    sent = pairs.answers("sent") + pairs.ask(f"send 2 {SAMPLE}", "sent")
    pairs.note(f"ended by {end.__name__}; {sent} connections have sent")
    assert sent > COUNT // SAMPLE
    daemon.start()
    status, = daemon.show("status")
    pairs.note(f"started; {status['sessions']} sessions continued")
    assert status["sessions"] == COUNT, daemon.log()
    pairs.echo()


def test_no_connection_is_lost_by_a_restart(room, lab):
    daemon = start(lab, settings())
    pairs = Pairs(lab)

    def sigterm():
        assert daemon.stop(PATIENCE) == 0

    def sigkill():
        """Of the daemon; its keeper takes down what it had set up."""
        keepers = daemon.keepers()
        daemon.kill()
        wait_until(lambda: all(map(has_ended, keepers)), "the keeper to finish", PATIENCE)

    def sigkill_of_all():
        daemon.kill_all()

    pairs.open()
    for end in (sigterm, sigkill, sigkill_of_all):
        restart(pairs, daemon, end)
    counters = kernel_counters(lab.client)
    assert counters["EstabResets"] == 0
    assert counters["RetransSegs"] >= 3 * COUNT // SAMPLE  # what was sent in vain at first
    assert daemon.stop(PATIENCE) == 0
    pairs.end()
