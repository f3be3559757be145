# SPDX-License-Identifier: BSD-2-Clause
"""Who may come in from outside: filtering, SYNs that wait for the client's, connections opened from both sides."""
from subprocess import PIPE

import nat64
from conftest import PYTHON, configure, counter, python, settings, start
from namespace import wait_until

PLANES = ("tun", "bpf")

STRANGER = "203.0.113.3"  # a second address of the server

UDP_CLIENT = """
import socket, sys
probe = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
probe.bind(("", 40000))
probe.settimeout(3)
for port in sys.argv[2:]:
    probe.sendto(b"call", (sys.argv[1], int(port)))
print("called", flush=True)
heard = []
for line in sys.stdin:
    try:
        while True:
            heard.append(probe.recv(100).decode())
            probe.settimeout(1.5)
    except TimeoutError:
        print(*sorted(heard), flush=True)
"""

UDP_SERVER = """
import socket, sys
sockets = {}
for name, address, port in (("called", "203.0.113.2", 6000), ("other-port", "203.0.113.2", 6001),
                            ("stranger", "203.0.113.3", 6000)):
    sockets[name] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sockets[name].bind((address, port))
    sockets[name].settimeout(10)
print("ready", flush=True)
peer = sockets["called"].recvfrom(100)[1]
for line in sys.stdin:
    outcome = []
    for name, sender in sockets.items():
        sender.connect(peer)
        try:
            sender.send(name.encode())
            sender.settimeout(0.3)
            sender.recv(100)
        except TimeoutError:
            outcome.append("silence")
        except OSError as error:
            outcome.append(type(error).__name__ + str(error.errno))
    print(*outcome, flush=True)
"""


def exchange(caller, receiver):
    """Lets all three of the server's sockets send; returns what they heard and what the client heard."""
    for process in (receiver, caller):
        process.stdin.write("go\n")
        process.stdin.flush()
    return receiver.stdout.readline().split(), caller.stdout.readline().split()


def start_udp(lab):
    lab.server.shell(f"ip address add {STRANGER}/24 dev eth0\n")
    receiver = lab.server.start([PYTHON, "-c", UDP_SERVER], stdin=PIPE, stdout=PIPE, text=True)
    assert receiver.stdout.readline() == "ready\n"
    caller = lab.client.start([PYTHON, "-c", UDP_CLIENT, nat64.SERVER_MAPPED, "6000"], stdin=PIPE, stdout=PIPE,
                              text=True)
    assert caller.stdout.readline() == "called\n"
    return caller, receiver


def test_only_addresses_that_were_called_may_send(lab):
    """RFC 4787 REQ-8: address-dependent filtering."""
    daemon = start(lab, settings(filtering="address-dependent"))
    caller, receiver = start_udp(lab)
    answers, heard = exchange(caller, receiver)
    assert heard == ["called", "other-port"]
    assert answers[:2] == ["silence", "silence"]
    assert answers[2] == "OSError113"  # EHOSTUNREACH is what Linux makes of code 13
    assert counter(daemon, "filtered") >= 1


def test_filtering_can_be_changed_while_sessions_live(lab):
    daemon = start(lab, settings())
    caller, receiver = start_udp(lab)
    assert exchange(caller, receiver)[1] == ["called", "other-port", "stranger"]
    configure(lab, settings(filtering="address-dependent"))
    daemon.command("reload")
    # The stranger has a session by now, made before the filter; a second stranger has none.
    assert exchange(caller, receiver)[1] == ["called", "called", "other-port", "other-port", "stranger", "stranger"]
    lab.server.shell("ip address add 203.0.113.4/24 dev eth0\n")
    pool = next(row["pool"] for row in daemon.show("bindings") if row["protocol"] == "udp")
    python(lab.server, """
import socket, sys
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sender.bind(("203.0.113.4", 6000))
sender.sendto(b"second", (sys.argv[1], int(sys.argv[2])))
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sender.bind(("203.0.113.3", 6009))
sender.sendto(b"first-again", (sys.argv[1], int(sys.argv[2])))
""", *pool.split(":"))
    heard = exchange(caller, receiver)[1]
    assert "second" not in heard and "first-again" in heard


CONNECT = """
import socket, sys, time
own, own_port, peer, peer_port = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
end = socket.socket(socket.AF_INET6 if ":" in own else socket.AF_INET)
end.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
end.bind((own, own_port))
end.settimeout(15)
print("calling", flush=True)
began = time.monotonic()
try:
    end.connect((peer, peer_port))
    end.sendall(b"hello from " + own.encode())
    print("heard", end.recv(100).decode(), flush=True)
except OSError as error:
    print(type(error).__name__, round(time.monotonic() - began, 1), flush=True)
"""


def connect(machine, own, own_port, peer, peer_port):
    process = machine.start([PYTHON, "-c", CONNECT, own, str(own_port), peer, str(peer_port)], stdout=PIPE, text=True)
    assert process.stdout.readline() == "calling\n"
    return process


def test_a_syn_for_nobody_is_answered_after_six_seconds(lab):
    """RFC 5382 REQ-4: not before, for the client may be about to open the same connection."""
    daemon = start(lab, settings())
    end = connect(lab.server, nat64.SERVER, 6000, "192.0.2.17", 5000)
    outcome = end.stdout.readline().split()
    assert outcome[0] == "ConnectionRefusedError"
    assert 5.9 <= float(outcome[1]) <= 7.5
    assert counter(daemon, "syn-stored") >= 1
    assert counter(daemon, "icmp-errors-sent") == 1  # the SYNs sent again in between were the same
    assert not daemon.show("sessions")


def test_both_sides_open_the_same_connection(lab):
    """RFC 6146 section 3.5.2.2: the SYN from outside is filtered and stored; the client's finds it."""
    static = [{"protocol": "tcp", "ipv6": f"[{nat64.CLIENT}]:5000", "ipv4": "192.0.2.17:5000"}]
    daemon = start(lab, settings(static=static, filtering="address-dependent"))
    outside = connect(lab.server, nat64.SERVER, 6000, "192.0.2.17", 5000)
    wait_until(lambda: counter(daemon, "syn-stored"), "the SYN from outside")
    inside = connect(lab.client, nat64.CLIENT, 5000, nat64.SERVER_MAPPED, 6000)
    assert inside.stdout.readline() == f"heard hello from {nat64.SERVER}\n"
    assert outside.stdout.readline() == f"heard hello from {nat64.CLIENT}\n"
    assert counter(daemon, "icmp-errors-sent") == 0


def test_a_connection_from_outside_by_endpoint_independent_filtering(lab):
    """RFC 5382 REQ-2 and REQ-3: V4 INIT, then established."""
    static = [{"protocol": "tcp", "ipv6": f"[{nat64.CLIENT}]:5000", "ipv4": "192.0.2.17:5000"}]
    daemon = start(lab, settings(static=static))
    listener = lab.client.start([PYTHON, "-c", """
import socket
listener = socket.create_server(("2001:db8:1::2", 5000), family=socket.AF_INET6)
print("ready", flush=True)
end, peer = listener.accept()
end.sendall(b"hello from the listener")
end.recv(100)
input()
"""], stdin=PIPE, stdout=PIPE, text=True)
    assert listener.stdout.readline() == "ready\n"
    outside = connect(lab.server, nat64.SERVER, 6000, "192.0.2.17", 5000)
    assert outside.stdout.readline() == "heard hello from the listener\n"
    sessions = [row for row in daemon.show("sessions") if row["protocol"] == "tcp"]
    assert len(sessions) == 1
