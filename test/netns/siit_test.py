# SPDX-License-Identifier: BSD-2-Clause
"""Stateless translation: real traffic both ways through mappings, hairpins, beside nat64, and reloaded."""
import hashlib
import re
import signal
import time
from subprocess import DEVNULL, PIPE

import datagrams
import nat64
import pytest
from conftest import ISTHMUS_HOP, PLANE, PYTHON, counter, python, settings, start
from namespace import wait_until
from side_by_side import serve

PLANES = ("tun", "bpf")

PREFIX = "2001:db8:65::/96"
SERVER_MAPPED = "2001:db8:65::cb00:7102"  # 203.0.113.2
CLIENT4, NEIGHBOUR4 = "192.0.2.20", "192.0.2.21"


def siit(**keys):
    """One instance, in which the client and the neighbour have IPv4 addresses."""
    eam = [{"ipv4": CLIENT4, "ipv6": nat64.CLIENT}, {"ipv4": NEIGHBOUR4, "ipv6": nat64.NEIGHBOUR}]
    instance = {"name": "dc", "prefix": PREFIX, "eam": eam}
    instance.update({key.replace("_", "-"): value for key, value in keys.items()})
    return {"plane": {"type": PLANE}, "siit": [instance]}


def serve_files(lab, machine, address, content):
    lab.write("body", content)
    machine.start([PYTHON, "-m", "http.server", "-d", lab.directory, "-b", address, "8080"],
                  stdout=DEVNULL, stderr=DEVNULL)
    wait_until(lambda: machine.run(["ss", "-Hltn", "sport", "=", ":8080"]).stdout.strip(), "the web server")


def fetch(lab, machine, url, content):
    machine.run(["curl", "-sS", "--fail", "--max-time", "20", "-o", lab.path("copy"), url])
    with open(lab.path("copy"), "rb") as file:
        assert hashlib.file_digest(file, "sha256").digest() == hashlib.sha256(content).digest()


BODY = bytes(range(256)) * 40000


def test_download_both_ways(lab):
    daemon = start(lab, siit())
    serve_files(lab, lab.server, nat64.SERVER, BODY)
    fetch(lab, lab.client, f"http://[{SERVER_MAPPED}]:8080/body", BODY)
    serve_files(lab, lab.client, "::", BODY)
    fetch(lab, lab.server, f"http://{CLIENT4}:8080/body", BODY)
    assert counter(daemon, "translated-6to4") > 20
    assert counter(daemon, "translated-4to6") > 20
    assert not daemon.show("sessions") and not daemon.show("bindings")


@pytest.mark.parametrize("size", [0, 1000, 1452])
def test_ping_both_ways(lab, size):
    start(lab, siit())
    ping = ["ping", "-c", "3", "-i", "0.02", "-s", str(size)]
    assert "3 received, 0% packet loss" in lab.client.run([*ping, SERVER_MAPPED]).stdout
    assert "3 received, 0% packet loss" in lab.server.run([*ping, CLIENT4]).stdout


def test_traceroute_both_ways(lab):
    address = {"ipv6": "2001:db8:65::c000:215", "ipv4": NEIGHBOUR4}
    spare = "192.0.2.22"
    eam = siit()["siit"][0]["eam"] + [{"ipv4": spare, "ipv6": "2001:db8:1::99"}]
    start(lab, siit(eam=eam, address=address, icmp_source_ipv4=spare))
    seen = slice(None) if ISTHMUS_HOP > 1 else slice(1, None, 2)  # without the kernel, before and behind
    trace = ["traceroute", "-n", "-q", "1", "-w", "2", "-m", "6"]
    text = lab.client.run([*trace, SERVER_MAPPED]).stdout
    assert re.findall(r"^ *\d+ +([0-9a-f:.]+)", text, re.MULTILINE) == [
        nat64.GATEWAY6, address["ipv6"], "2001:db8:65::cb00:7101", SERVER_MAPPED][seen], text
    text = lab.server.run([*trace, CLIENT4]).stdout
    # The gateway's IPv6 side has no IPv4 address of its own: another stands for it (RFC 6791).
    assert re.findall(r"^ *\d+ +([0-9a-f:.]+)", text, re.MULTILINE) == [
        nat64.GATEWAY4, address["ipv4"], spare, CLIENT4][seen], text


ECHO = """
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
listener = socket.socket(family, socket.SOCK_DGRAM)
listener.bind((sys.argv[1], 5000))
listener.settimeout(10)
print("ready", flush=True)
data, peer = listener.recvfrom(65535)
listener.sendto(data, peer)
print(peer[0], len(data), flush=True)
"""

ASK = """
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
probe = socket.socket(family, socket.SOCK_DGRAM)
probe.settimeout(5)
data = bytes(i % 251 for i in range(int(sys.argv[2])))
probe.sendto(data, (sys.argv[1], 5000))
answer, peer = probe.recvfrom(65535)
print(answer == data, peer[0])
"""


@pytest.mark.parametrize("size", [3000, 20000])
def test_fragmented_datagrams_both_ways(lab, size):
    """Fragments made by the sender, each translated for itself. IPv6 senders make them of 1280 bytes or more; those
    of IPv4 must leave room for the longer headers."""
    daemon = start(lab, siit())
    lab.server.run(["ip", "route", "change", "192.0.2.16/28", "via", nat64.GATEWAY4, "mtu", "1400"])
    echo = lab.server.start([PYTHON, "-c", ECHO, nat64.SERVER], stdout=PIPE, text=True)
    assert echo.stdout.readline() == "ready\n"
    assert python(lab.client, ASK, SERVER_MAPPED, str(size)) == f"True {SERVER_MAPPED}\n"
    assert echo.stdout.readline() == f"{CLIENT4} {size}\n"
    assert not [row for row in daemon.show("counters")
                if "fragment" in row["name"] and row["class"] == "dropped" and row["packets"]]


def test_hairpin(lab):
    """Two mapped hosts that know each other by IPv4 (RFC 7757 section 4.2.2)."""
    neighbour = lab.add_neighbour()
    daemon = start(lab, siit())
    meeting = "2001:db8:65::c000:215"
    serve_files(lab, neighbour, "::", BODY)
    fetch(lab, lab.client, f"http://[{meeting}]:8080/body", BODY)
    echo = neighbour.start([PYTHON, "-c", ECHO, nat64.NEIGHBOUR], stdout=PIPE, text=True)
    assert echo.stdout.readline() == "ready\n"
    assert python(lab.client, ASK, meeting, "3000") == f"True {meeting}\n"
    assert echo.stdout.readline() == "2001:db8:65::c000:214 3000\n"
    # An error of the other host: nobody listens there any more.
    refused = python(lab.client, """
import socket, sys
probe = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
probe.settimeout(5)
probe.connect((sys.argv[1], 5001))
probe.send(b"x")
try:
    probe.recv(100)
except OSError as error:
    print(type(error).__name__)
""", meeting)
    assert refused == "ConnectionRefusedError\n"
    assert counter(daemon, "translated-hairpin") > 20
    assert counter(daemon, "translated-6to4") == 0


def test_simple_hairpin(lab):
    """Out of the device as IPv4, and back into it by its routes."""
    neighbour = lab.add_neighbour()
    daemon = start(lab, siit(hairpin="simple"))
    serve_files(lab, neighbour, "::", BODY)
    fetch(lab, lab.client, "http://[2001:db8:65::c000:215]:8080/body", BODY)
    assert counter(daemon, "translated-hairpin") == 0
    assert counter(daemon, "translated-4to6") > 20


def test_nat64_and_siit_side_by_side(lab):
    lab.start_web(1000)
    configuration = siit()
    configuration["siit"][0]["eam"] = [{"ipv4": "192.0.2.40", "ipv6": nat64.CLIENT}]
    configuration["nat64"] = settings()["nat64"]
    daemon = start(lab, configuration)
    lab.server.run(["ip", "route", "add", "192.0.2.40/32", "via", nat64.GATEWAY4])
    stateful = lab.client.run(["curl", "-sS", "--max-time", "10", f"http://[{nat64.SERVER_MAPPED}]/"]).stdout
    stateless = lab.client.run(["curl", "-sS", "--max-time", "10", f"http://[{SERVER_MAPPED}]/"]).stdout
    assert re.search(r"You are 192\.0\.2\.(1[6-9]|2\d|3[01])\.", stateful)
    assert "You are 192.0.2.40." in stateless
    assert len(daemon.show("sessions")) == 1
    status = daemon.show("status")[0]
    assert (status["nat64_instances"], status["siit_instances"], status["mappings"]) == (1, 1, 1)
    lab.server.run(["ping", "-c", "1", "-W", "2", "192.0.2.40"])


def test_reload_changes_mappings_under_traffic(lab):
    """One host's flood goes on while another's mapping changes; nothing is lost."""
    lab.add_neighbour()
    path = lab.write("eam.txt", f"# hosts\n{CLIENT4} {nat64.CLIENT}\n{NEIGHBOUR4} {nat64.NEIGHBOUR}\n")
    daemon = start(lab, siit(eam=[], eam_file=path))
    assert "2 mappings" in daemon.log()
    flood = lab.client.start(["ping", "-q", "-c", "2000", "-i", "0.002", SERVER_MAPPED], stdout=PIPE, text=True)
    lab.server.run(["ping", "-c", "1", "-W", "2", NEIGHBOUR4])
    for number in range(10):
        second = "2001:db8:3::dead" if number % 2 == 0 else nat64.NEIGHBOUR
        lab.write("eam.txt", f"{CLIENT4} {nat64.CLIENT}\n{NEIGHBOUR4} {second}\n")
        daemon.command("reload")
        time.sleep(0.1)
        answered = lab.server.run(["ping", "-c", "1", "-W", "0.3", NEIGHBOUR4], check=False).returncode == 0
        assert answered == (number % 2 == 1)
    assert "2000 received, 0% packet loss" in flood.communicate(timeout=20)[0]

    lab.write("eam.txt", f"{CLIENT4} {nat64.CLIENT}\n198.51.100.1 {nat64.NEIGHBOUR}\n")
    daemon.command("reload")
    lab.server.run(["ip", "route", "add", "198.51.100.1", "via", nat64.GATEWAY4])
    lab.server.run(["ping", "-c", "1", "-W", "2", "198.51.100.1"])
    lines = [f"10.{i >> 15}.{i >> 7 & 255}.{i % 128 * 2} 2001:db8:7::{i >> 16:x}:{i & 65535:x}\n"
             for i in range((1 << 18) + 1)]
    lab.write("eam.txt", f"{CLIENT4} {nat64.CLIENT}\n{''.join(lines)}")
    refused = daemon.command("reload", check=False)
    assert refused.returncode == 1 and "isthmus makes 262144 at most" in refused.stderr
    lab.write("eam.txt", f"{CLIENT4} {nat64.CLIENT}\n{''.join(lines[:5000])}")
    daemon.command("reload")
    routes = lab.gateway.run(["ip", "-4", "route", "show", "dev", "isthmus0"]).stdout
    assert len(re.findall(r"^10\.", routes, re.MULTILINE)) == 5000
    lab.write("eam.txt", f"{CLIENT4} {nat64.CLIENT}\n{CLIENT4} {nat64.NEIGHBOUR}\n")
    refused = daemon.command("reload", check=False)
    assert refused.returncode == 1 and f"{path}:2:" in refused.stdout + refused.stderr


# Sends a datagram every half millisecond and prints how many were sent and how many came back, at the end of stdin.
STREAM = """
import select, socket, sys, time
stream = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
stream.connect((sys.argv[1], 5000))
stream.setblocking(False)
sent = heard = 0
ended = None
while ended is None or heard < sent and time.monotonic() < ended + 2:
    if ended is None:
        stream.send(b"%d" % sent)
        sent += 1
        if select.select([sys.stdin], [], [], 0)[0]:
            ended = time.monotonic()
    while select.select([stream], [], [], 0.0005)[0]:
        stream.recv(100)
        heard += 1
print(sent, heard)
"""


def test_a_hundred_thousand_mappings(lab):
    """Start and reload are soon done, and during reloads nothing of a running stream is lost."""
    lines = [f"10.{i >> 16}.{i >> 8 & 255}.{i & 255} 2001:db8:{i >> 12:x}:{i & 4095:x}::" for i in range(100000)]
    own = f"{CLIENT4} {nat64.CLIENT}\n"
    path = lab.write("eam.txt", "1\n".join(lines) + "1\n" + own)
    before = time.monotonic()
    daemon = start(lab, siit(eam=[], eam_file=path))
    assert time.monotonic() - before < 5
    serve(lab.server, lab.path("echo.log"), datagrams.ECHO, nat64.SERVER, 5000)
    stream = lab.client.start([PYTHON, "-c", STREAM, SERVER_MAPPED], stdin=PIPE, stdout=PIPE, text=True)
    flood = lab.client.start(["ping", "-q", "-i", "0.002", "-w", "30", SERVER_MAPPED], stdout=PIPE, text=True)
    for number in range(3, 7):
        lab.write("eam.txt", f"{number}\n".join(lines) + f"{number}\n" + own)  # all but one are others
        before = time.monotonic()
        daemon.command("reload")
        assert time.monotonic() - before < 2
        assert daemon.show("status")[0]["mappings"] == 100001
    flood.send_signal(signal.SIGINT)
    sent, heard = map(int, re.search(r"(\d+) packets transmitted, (\d+) received", flood.communicate()[0]).groups())
    assert sent - heard <= 1 and heard > 100  # the last one may be under way yet
    sent, heard = map(int, stream.communicate("\n", timeout=10)[0].split())
    assert sent == heard > 100
    routes = lab.gateway.run(["ip", "-4", "route", "show", "dev", "isthmus0"]).stdout
    assert "10.0.0.0/16" in routes and len(routes.splitlines()) < 20


@pytest.mark.parametrize("arguments", [(), ("--stay",)], ids=["run", "stay"])
def test_mappings_that_share_no_route(lab, arguments):
    """Each has a route of its own; the next start finds those left and makes or removes only what is new."""
    before = nat64.snapshot(lab.gateway)

    def begin(count):
        lines = "".join(f"10.{i >> 7}.{(i & 127) << 1}.1 2001:db8:{i:x}::1\n" for i in range(count))
        path = lab.write("eam.txt", lines + f"{CLIENT4} {nat64.CLIENT}\n")
        return start(lab, siit(eam=[], eam_file=path), *arguments)

    def routes():
        text = lab.gateway.run(["ip", "-4", "route", "show", "dev", "isthmus0"]).stdout
        return len(re.findall(r"^(?:10|192)\.", text, re.MULTILINE))
    for count, said in ((6000, "added 6001 routes to mappings"), (7000, "routes to mappings"), (5000, "")):
        daemon = begin(count)
        assert said in daemon.log()
        wait_until(lambda count=count: routes() == count + 1, "the routes of this start alone")
        lab.client.run(["ping", "-c", "1", "-W", "2", SERVER_MAPPED])
        assert daemon.stop() == 0
    daemon.command("down")
    assert nat64.difference(before, nat64.snapshot(lab.gateway)) == []


def test_mappings_of_all_of_ipv4(lab):
    """No route, since it would be the machine's own way out; what to do is said and works."""
    eam = [{"ipv4": "0.0.0.0/0", "ipv6": "2001:db8:46::/96"}]
    daemon = start(lab, siit(eam=eam))
    assert "cover all of IPv4" in daemon.log() and "ip route add" in daemon.log()
    assert lab.gateway.run(["ip", "-4", "route", "show", "dev", "isthmus0"]).stdout == ""


def test_sources_of_errors_have_a_route(lab):
    start(lab, siit(icmp_source_ipv4="198.51.100.4/30"))
    assert "198.51.100.4/30" in lab.gateway.run(["ip", "-4", "route", "show", "dev", "isthmus0"]).stdout


def test_own_address_as_source_of_errors(lab):
    daemon = start(lab, siit(icmp_source_ipv4=nat64.GATEWAY4))
    assert nat64.GATEWAY4 not in lab.gateway.run(["ip", "-4", "route", "show", "dev", "isthmus0"]).stdout
    assert "icmp-source-ipv4 is an address of this machine" in daemon.log()


def test_everything_is_undone(lab):
    before = nat64.snapshot(lab.gateway)
    daemon = start(lab, siit(icmp_source_ipv4="198.51.100.64/26"))
    assert "198.51.100.64/26" in lab.gateway.run(["ip", "-4", "route", "show", "dev", "isthmus0"]).stdout
    assert "192.0.2.20/31" in lab.gateway.run(["ip", "-4", "route", "show", "dev", "isthmus0"]).stdout
    daemon.stop()
    daemon.command("down")
    assert nat64.difference(before, nat64.snapshot(lab.gateway)) == []
