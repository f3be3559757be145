# SPDX-License-Identifier: BSD-2-Clause
"""TCP connections on which nothing is said, like a terminal that somebody has left (RFC 6146 section 3.5.2.2)."""
import signal
import time
from subprocess import PIPE

import nat64
from conftest import PYTHON, counter, settings, start
from namespace import wait_until
from side_by_side import serve

# The sweep that probes passes every ten seconds, and a probe is due for the last `transitory` of a life.
ESTABLISHED, TRANSITORY = 14, 12
PORTS = range(7000, 7003)
ANSWERING, HEARD_IN_TIME, LOST = PORTS

# Opens connections and proves them; for each "N" on stdin, sends on the connection to that port and awaits the echo.
CLIENT = """
import socket, sys
connections = {}
def say(port):
    connection = connections[port]
    try:
        connection.send(b"x")
        answer = connection.recv(10)
        print(port, "echoed" if answer == b"x" else "closed", flush=True)
    except OSError as error:
        print(port, type(error).__name__, flush=True)
for port in map(int, sys.argv[2:]):
    connections[port] = socket.create_connection((sys.argv[1], port), timeout=2)
    say(port)
for line in sys.stdin:
    say(int(line))
"""

# Echoes, at each of its ports; after a signal it says something of itself on all connections.
SERVER = """
import selectors, signal, socket, sys

ALONE = "what it waits for has limits in seconds"
selector = selectors.DefaultSelector()
peers = []
signal.signal(signal.SIGUSR1, lambda number, frame: [peer.send(b"y") for peer in peers])
for port in map(int, sys.argv[2:]):
    listener = socket.create_server((sys.argv[1], port))
    selector.register(listener, selectors.EVENT_READ, "listener")
print("ready", flush=True)
while True:
    for key, _ in selector.select():
        if key.data == "listener":
            peers.append(key.fileobj.accept()[0])
            selector.register(peers[-1], selectors.EVENT_READ, "peer")
        else:
            key.fileobj.send(key.fileobj.recv(10))
"""


def deafen(machine, *ports):
    """The machine hears nothing from these ports, so it answers no probe."""
    machine.shell("nft add table inet deaf\nnft flush table inet deaf\n"
                  "nft 'add chain inet deaf in { type filter hook input priority 0; }'\n"
                  f"nft 'add rule inet deaf in tcp sport {{ {', '.join(map(str, ports))} }} drop'\n")


def test_idle_connections(lab):
    """One whose client lives goes on for any time, since probes are answered. One whose client cannot hear lasts
    out its time, and can be used until then. After that nobody is told anything: what either side sends belongs to
    no session, and is dropped and counted."""
    daemon = start(lab, settings(timeouts={"tcp-established": f"{ESTABLISHED}s",
                                           "tcp-transitory": f"{TRANSITORY}s"}))
    server = serve(lab.server, lab.path("server.log"), SERVER, nat64.SERVER, *PORTS)
    client = lab.client.start([PYTHON, "-c", CLIENT, nat64.SERVER_MAPPED, *map(str, PORTS)], stdin=PIPE,
                              stdout=PIPE, text=True)
    for port in PORTS:
        assert client.stdout.readline() == f"{port} echoed\n"
    silent_since = time.monotonic()
    deafen(lab.client, HEARD_IN_TIME, LOST)

    def say(port):
        client.stdin.write(f"{port}\n")
        client.stdin.flush()
        return client.stdout.readline().split()[1]
    time.sleep(silent_since + ESTABLISHED - 2 - time.monotonic())
    deafen(lab.client, LOST)
    assert say(HEARD_IN_TIME) == "echoed"
    time.sleep(silent_since + ESTABLISHED + 3 - time.monotonic())
    assert counter(daemon, "probes-sent") >= 2
    assert say(ANSWERING) == "echoed" and say(HEARD_IN_TIME) == "echoed"
    deafen(lab.client, 1)

    before = counter(daemon, "no-session"), counter(daemon, "no-binding")
    assert say(LOST) == "TimeoutError"
    server.send_signal(signal.SIGUSR1)
    wait_until(lambda: counter(daemon, "no-binding") > before[1], "the server's segment to be dropped")
    assert counter(daemon, "no-session") > before[0]
    assert {row["remote"] for row in daemon.show("sessions")} == {
        f"{nat64.SERVER}:{port}" for port in (ANSWERING, HEARD_IN_TIME)}
