# SPDX-License-Identifier: BSD-2-Clause
"""One IPv4 address for the gateway and its IPv6-only clients: pool: - {interface: wan0, ports: 40000-40999}.

Nothing is routed to the gateway but its own address, 203.0.113.1. Its services go on answering, its programs go
on calling, and clients share the address with them.
"""
import os
import re
import socket
import time
from subprocess import DEVNULL, PIPE

import pytest

import nat64
from conftest import PYTHON, configure, python, settings
from namespace import LabError, wait_until

pytestmark = pytest.mark.usefixtures("bpf")

LOW, HIGH = 40000, 40999
OWN_MAPPED = "2001:db8:64::203.0.113.1"
RESERVED = "/proc/sys/net/ipv4/ip_local_reserved_ports"

# An echo server for TCP and UDP: says whom it sees, then what it hears.
ECHO = """
import socket, sys, threading
address, port = sys.argv[1], int(sys.argv[2])
def datagrams():
    udp = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind((address, port))
    while True:
        data, peer = udp.recvfrom(65535)
        udp.sendto(f"{peer[0]} {peer[1]} ".encode() + data, peer)
threading.Thread(target=datagrams, daemon=True).start()
tcp = socket.create_server((address, port), family=socket.AF_INET6 if ":" in address else socket.AF_INET)
print("ready", flush=True)
def serve(connection, peer):
    connection.sendall(f"{peer[0]} {peer[1]} ".encode())
    while data := connection.recv(65536):
        connection.sendall(data)
while True:
    threading.Thread(target=serve, args=tcp.accept(), daemon=True).start()
"""

ASK = """
import socket, sys
kind, address, port, text = sys.argv[1:5]
family = socket.AF_INET6 if ":" in address else socket.AF_INET
if kind == "tcp":
    connection = socket.create_connection((address, int(port)), 3)
    connection.sendall(text.encode())
    connection.shutdown(socket.SHUT_WR)
    got = b""
    while data := connection.recv(65536):
        got += data
else:
    datagrams = socket.socket(family, socket.SOCK_DGRAM)
    datagrams.settimeout(3)
    datagrams.connect((address, int(port)))
    datagrams.send(text.encode())
    got = datagrams.recv(65535)
print(got.decode())
"""


def shared(**plane):
    return settings(plane={"type": "bpf", **plane}, pool=[{"interface": "wan0", "ports": f"{LOW}-{HIGH}"}])


def start(lab, configuration=None, *arguments):
    return nat64.Daemon(lab, configure(lab, configuration or shared()), arguments).start()


def serve(machine, address, port):
    process = machine.start([PYTHON, "-c", ECHO, address, str(port)], stdout=PIPE, text=True)
    assert process.stdout.readline() == "ready\n"


def ask(machine, kind, address, port, text="hello"):
    """What the echo server at the address says: whom it sees as (address, port), and the echo."""
    seen, number, echo = python(machine, ASK, kind, address, str(port), text).rstrip("\n").split(" ", 2)
    assert echo == text
    return seen, int(number)


@pytest.fixture
def served(lab):
    """A lab with echo servers: on the server, and the gateway's own, as sshd would be."""
    lab.server.shell("ip route del 192.0.2.16/28")
    serve(lab.server, nat64.SERVER, 7000)
    serve(lab.gateway, "0.0.0.0", 2222)
    return lab


def of_clients(seen):
    return seen[0] == nat64.GATEWAY4 and LOW <= seen[1] <= HIGH


def test_clients_and_the_machine_share_an_address(served):
    daemon = start(served)
    for kind in ("tcp", "udp"):
        assert of_clients(ask(served.client, kind, nat64.SERVER_MAPPED, 7000))
        # The gateway's service, and its own programs, are as they were.
        assert ask(served.server, kind, nat64.GATEWAY4, 2222)[0] == nat64.SERVER
        seen = ask(served.gateway, kind, nat64.SERVER, 7000)
        assert seen[0] == nat64.GATEWAY4 and not LOW <= seen[1] <= HIGH
    served.client.run(["ping", "-c", "3", "-i", "0.1", "-W", "2", nat64.SERVER_MAPPED])
    served.server.run(["ping", "-c", "3", "-i", "0.1", "-W", "2", nat64.GATEWAY4])
    served.gateway.run(["ping", "-c", "3", "-i", "0.1", "-W", "2", nat64.SERVER])


def test_the_machine_itself_by_its_ipv4_address(served):
    """A client calls a service of the gateway through the prefix, and the answers come back."""
    start(served)
    for kind in ("tcp", "udp"):
        assert of_clients(ask(served.client, kind, OWN_MAPPED, 2222))
        assert of_clients(ask(served.client, kind, OWN_MAPPED, 2222, "x" * 1000))
    assert of_clients(ask(served.client, "tcp", OWN_MAPPED, 2222, "y" * 50000))
    served.client.run(["ping", "-c", "3", "-i", "0.1", "-W", "2", OWN_MAPPED])


def test_the_machine_as_a_client_of_its_own(served):
    """A program of the gateway that calls through the prefix."""
    start(served)
    for kind in ("tcp", "udp"):
        assert of_clients(ask(served.gateway, kind, nat64.SERVER_MAPPED, 7000))


def test_clients_call_each_other(served):
    """By the port that one of them has, from the other client, from the gateway and from outside."""
    neighbour = served.add_neighbour()
    start(served)
    talk = neighbour.start([PYTHON, "-u", "-c", f"""
import socket
mine = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
mine.sendto(b"who am I?", ("{nat64.SERVER_MAPPED}", 7000))
print(mine.recv(1000).decode().split()[1], flush=True)
while True:
    data, peer = mine.recvfrom(1000)
    mine.sendto(f"{{peer[0]}} {{peer[1]}} ".encode() + data, peer)
"""], stdout=PIPE, text=True)
    port = int(talk.stdout.readline())
    assert LOW <= port <= HIGH
    seen = ask(served.client, "udp", OWN_MAPPED, port)
    assert seen[0] == "2001:db8:64::cb00:7101" and LOW <= seen[1] <= HIGH
    seen = ask(served.server, "udp", nat64.GATEWAY4, port)
    assert seen[0] == nat64.SERVER_MAPPED
    seen = ask(served.gateway, "udp", nat64.GATEWAY4, port)
    assert seen[0] == "2001:db8:64::cb00:7101" and not LOW <= seen[1] <= HIGH


def test_errors_go_to_whom_they_concern(served):
    start(served)
    closed = """
import socket, sys
s = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(3)
s.connect((sys.argv[1], 9))
s.send(b"?")
try:
    s.recv(10)
except ConnectionRefusedError:
    print("refused")
"""
    assert python(served.client, closed, nat64.SERVER_MAPPED) == "refused\n"
    assert python(served.gateway, closed, nat64.SERVER) == "refused\n"
    # What the gateway itself has no use for is answered by it, in the range of clients and outside.
    assert python(served.server, closed.replace("9)", "45000)"), nat64.GATEWAY4) == "refused\n"
    assert python(served.server, closed.replace("9)", f"{LOW})"), nat64.GATEWAY4) == "refused\n"


def test_fragments_go_to_whom_they_concern(served):
    start(served)
    served.client.run(["ping", "-c", "3", "-i", "0.1", "-W", "2", "-s", "4000", nat64.SERVER_MAPPED])
    served.server.run(["ping", "-c", "3", "-i", "0.1", "-W", "2", "-s", "4000", nat64.GATEWAY4])
    served.gateway.run(["ping", "-c", "3", "-i", "0.1", "-W", "2", "-s", "4000", nat64.SERVER])
    long = "z" * 5000
    assert of_clients(ask(served.client, "udp", nat64.SERVER_MAPPED, 7000, long))
    assert ask(served.server, "udp", nat64.GATEWAY4, 2222, long)[0] == nat64.SERVER
    assert ask(served.gateway, "udp", nat64.SERVER, 7000, long)[0] == nat64.GATEWAY4


def test_another_address(served):
    """The provider gives another address: it is followed, and the sessions of the old one end."""
    daemon = start(served)
    assert of_clients(ask(served.client, "udp", nat64.SERVER_MAPPED, 7000))
    assert daemon.show("sessions")
    served.gateway.shell("ip address add 203.0.113.77/24 dev wan0\nip address del 203.0.113.1/24 dev wan0\n"
                         "ip address show dev wan0 | grep -q 203.0.113.77 || ip address add 203.0.113.77/24 dev wan0\n")
    wait_until(lambda: "203.0.113.77" in daemon.log(), "the new address")
    wait_until(lambda: not daemon.show("sessions"), "the end of the old sessions")
    seen = ask(served.client, "tcp", nat64.SERVER_MAPPED, 7000)
    assert seen[0] == "203.0.113.77" and LOW <= seen[1] <= HIGH
    daemon.command("reload")
    assert ask(served.client, "tcp", nat64.SERVER_MAPPED, 7000)[0] == "203.0.113.77"
    assert "their pool address is no longer in the pool" in daemon.log()


def test_no_address_yet(served):
    served.gateway.shell("ip address del 203.0.113.1/24 dev wan0")
    daemon = start(served)
    assert "wan0 has no global IPv4 address" in daemon.log()
    with pytest.raises(LabError):
        ask(served.client, "udp", nat64.SERVER_MAPPED, 7000)
    served.gateway.shell("ip address add 203.0.113.1/24 dev wan0")
    wait_until(lambda: "has got the address 203.0.113.1" in daemon.log(), "the address")
    assert of_clients(ask(served.client, "tcp", nat64.SERVER_MAPPED, 7000))


def test_ports_are_kept_apart(served):
    before = served.gateway.read(RESERVED)
    served.gateway.shell(f"echo 8080 > {RESERVED}")
    daemon = start(served)
    assert served.gateway.read(RESERVED) == f"8080,{LOW}-{HIGH}\n"
    configure(served, settings(plane={"type": "bpf"}, pool=[{"interface": "wan0", "ports": "41000-41999"}]))
    daemon.command("reload")
    assert served.gateway.read(RESERVED) == "8080,41000-41999\n"
    assert 41000 <= ask(served.client, "tcp", nat64.SERVER_MAPPED, 7000)[1] <= 41999
    daemon.stop()
    assert served.gateway.read(RESERVED) == "8080\n"
    served.gateway.shell(f"echo '{before.strip()}' > {RESERVED}")


def refuse(lab, configuration):
    daemon = nat64.Daemon(lab, configure(lab, configuration), ())
    with pytest.raises(LabError) as refused:
        daemon.start()
    return str(refused.value) + daemon.log()


def test_a_socket_is_in_the_way(served):
    serve(served.gateway, "0.0.0.0", LOW + 5)
    said = refuse(served, shared())
    assert re.search(rf"TCP port {LOW + 5} is in use", said)
    assert "choose other ports" in said


def test_it_takes_the_other_plane(served):
    assert "eBPF plane" in refuse(served, settings(plane={"type": "tun"},
                                                   pool=[{"interface": "wan0", "ports": f"{LOW}-{HIGH}"}]))


def test_nothing_is_left(served):
    def look():
        return served.gateway.shell("ip address; ip route show table all; ip -6 route; "
                                    f"for i in lo lan0 wan0; do tc qdisc show dev $i; tc filter show dev $i ingress; done; cat {RESERVED}")
    before = look()
    daemon = start(served)
    assert look() != before
    daemon.stop()
    assert re.sub(r"(valid|preferred)_lft \S+|expires \S+", "", look()) == re.sub(r"(valid|preferred)_lft \S+|expires \S+", "", before)
