#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Speed of the eBPF plane through the daemon, against the kernel's own forwarding, its NAT44, and other translators.

Each way has a lab of its own, so that nothing of one, a program at an interface or a hook of the firewall, is in
the path of another, and each daemon has the bpffs of its own machine:

    isthmus                     `plane: {type: bpf}`
    plain IPv6 forwarding       the kernel forwards, nothing is translated
    nftables NAT44              the client has IPv4, and the gateway masquerades
    TUN plane                   isthmus with `plane: {type: tun}`
    Tayga, Tayga and nftables   Debian's package alone, one IPv4 address a client; and with masquerading behind it

A round takes each way once, one after the other, so that what else the machine does falls on all alike; each figure
is the median of the rounds. With plain forwarding stands how far its rounds lie apart. Sessions are made as RFC 9693
has it: all first, each by one packet to an address never called before, and then each has to let a packet of the
server's through. A rate counts only if nothing was lost at it; one that loses is lowered by a fifth.
"""
import json
import os
import re
import statistics
import sys
import time
from subprocess import PIPE

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))

import nat64  # noqa: E402
from namespace import LabError, end  # noqa: E402
from program import note, run  # noqa: E402
from traffic import PLAIN, TAYGA_MAPPED, megabits, report, start_tayga  # noqa: E402

ISTHMUS, NAT44, TUN, TAYGA, TAYGA_NAT = "isthmus", "nftables NAT44", "TUN plane", "Tayga", "Tayga and nftables"
CLIENT4, REMOTES4, REMOTES6 = "10.0.0.2", "198.18.0.0/15", "2001:db8:4::/96"
PORTS, REMOTES_EACH, REMOTE_PORT = 8, {"established": 32, "new": 65536}, 9000
PACKETS, SESSIONS = 100_000, 16_000
SETTLE = 0.3  # seconds after which what was sent has arrived or is lost
LOWER, TRIALS = 0.8, 10
PINGS = 300
LOADS = (
    ("bpf.tcp.forward", 1, ()),
    ("bpf.tcp.reverse", 1, ("-R",)),
    ("bpf.tcp8.forward", 8, ()),
    ("bpf.tcp8.reverse", 8, ("-R",)),
)
_MASQUERADE = """table ip bench {
    chain postrouting {
        type nat hook postrouting priority srcnat;
        oifname "wan0" masquerade
    }
}
"""
# Packets to and from the port count at both ends; the server drops them unless it is to answer.
_COUNTERS = """table netdev bench {{
    counter arrived {{ }}
    chain ingress {{
        type filter hook ingress device "eth0" priority 0;
        udp {field} {port} counter name arrived {verdict}
    }}
}}
"""
# Takes a datagram of each session; told how many of them, and at which rate, answers each.
_COLLECT = """
import socket, sys, threading, time
server = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
server.setsockopt(socket.SOL_SOCKET, 33, 256 << 20)  # SO_RCVBUFFORCE
server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
server.bind(("::", int(sys.argv[1])))
server.settimeout(0.3)
print("ready", flush=True)
for line in sys.stdin:
    peers = []
    try:
        while True:
            data, about, flags, peer = server.recvmsg(64, 64)
            peers.append((peer, [(41, 50, about[0][2][:16] + bytes(4))]))
    except OSError:
        pass
    for number, (peer, about) in enumerate(peers):
        server.sendmsg([b"x"], about, 0, peer)
        if number % 64 == 63:
            time.sleep(0.004)
    print(len(peers), len(set(map(str, peers))), flush=True)
"""


class Way:
    """A lab in which the client reaches the server in one way."""

    def __init__(self, name):
        self.name = name
        self.address, self.first_remote = nat64.SERVER_MAPPED, "2001:db8:64::198.18.0.0"
        self.lab = nat64.Lab()
        try:
            self._make()
            self.lab.client.run(["ping", "-q", "-c", "2", "-i", "0.1", self.address])
        except BaseException:
            self.lab.close()
            raise

    def _make(self):
        lab = self.lab
        lab.gateway.shell(f"ip route add {REMOTES4} via {nat64.SERVER}\n")
        lab.server.shell(f"ip route add local {REMOTES4} dev lo\n"
                         "echo 1 > /proc/sys/net/ipv6/ip_nonlocal_bind\n")
        lab.client.shell("echo 1 > /proc/sys/net/ipv4/tcp_tw_reuse\n"
                         "echo 1024 65535 > /proc/sys/net/ipv4/ip_local_port_range\n")
        if self.name == PLAIN:
            lab.add_plain_ipv6()
            lab.gateway.shell(f"ip route add {REMOTES6} via {nat64.SERVER_PLAIN}\n")
            lab.server.shell(f"ip route add local {REMOTES6} dev lo\n")
            self.address, self.first_remote = nat64.SERVER_PLAIN, REMOTES6.split("/")[0]
        elif self.name == NAT44:
            lab.gateway.shell("ip address add 10.0.0.1/24 dev lan0\necho 1 > /proc/sys/net/ipv4/ip_forward\n")
            lab.client.shell(f"ip address add {CLIENT4}/24 dev eth0\nip route add default via 10.0.0.1\n")
            self.address, self.first_remote = nat64.SERVER, "::ffff:198.18.0.0"
        elif self.name in (ISTHMUS, TUN):
            self._start_isthmus("bpf" if self.name == ISTHMUS else "tun")
        else:
            lab.gateway.shell("echo 1 > /proc/sys/net/ipv6/conf/all/forwarding\n")
            start_tayga(lab)
            self.address = TAYGA_MAPPED
        if self.name in (NAT44, TAYGA_NAT):
            lab.gateway.run(["nft", "-f", "-"], input=_MASQUERADE)

    def _start_isthmus(self, plane):
        instance = {"name": "main", "prefix": nat64.PREFIX, "pool": [{"address": nat64.POOL}],
                    "limits": {"sessions": 1_200_000, "sessions-per-subscriber": 0}}
        self.daemon = nat64.Daemon(self.lab, self.lab.write("bench.yaml", json.dumps(
            {"plane": {"type": plane}, "nat64": [instance]}))).start()

    def start_counters(self):
        """The server drops what it counts."""
        for machine, field, verdict in ((self.lab.server, "dport", "drop"), (self.lab.client, "sport", "drop")):
            machine.run(["nft", "-f", "-"], input=_COUNTERS.format(
                field=field, port=REMOTE_PORT, verdict=verdict))

    def start_sender(self, kind):
        """Of packets that come round to the same sessions soon, or of such that are new each time."""
        path = os.path.join(os.environ["ISTHMUS_BUILD"], "many_packets")
        own = f"::ffff:{CLIENT4}" if self.name == NAT44 else nat64.CLIENT
        self.sender = self.lab.client.start([path, PORTS, REMOTES_EACH[kind], self.first_remote,
                                             REMOTE_PORT, own], stdin=PIPE, stdout=PIPE, text=True)
        self.sender.stdout.readline()

    def listen(self):
        """Has the server take the packets and answer."""
        self.lab.server.shell("nft delete table netdev bench\n")
        self.lab.server.run(["nft", "-f", "-"], input=_COUNTERS.format(
            field="dport", port=REMOTE_PORT, verdict="accept"))
        self.collector = self.lab.server.start(["/usr/bin/python3", "-c", _COLLECT, REMOTE_PORT],
                                               stdin=PIPE, stdout=PIPE, text=True)
        self.collector.stdout.readline()

    def validate(self):
        """How many distinct sessions the server has seen, and how many answers came back through them."""
        before = arrived(self.lab.client)
        self.collector.stdin.write("answer\n")
        self.collector.stdin.flush()
        seen = int(self.collector.stdout.readline().split()[1])
        time.sleep(SETTLE)
        return seen, arrived(self.lab.client) - before

    def begin_send(self, rate, count):
        self.sender.stdin.write(f"send {int(rate)} {int(count)}\n")
        self.sender.stdin.flush()

    def end_send(self):
        """The seconds it took."""
        return int(re.search(r" in (\d+)", self.sender.stdout.readline())[1]) / 1e6

    def close(self):
        self.lab.close()


def arrived(machine):
    return int(re.search(r"packets (\d+)", machine.run(["nft", "list", "counters"]).stdout)[1])


def rate_without_loss(way, count, complete):
    """The highest rate tried at which complete(number arrived) holds; the first try is as fast as can be."""
    rate = 0
    for _ in range(TRIALS):
        before = arrived(way.lab.server)
        way.begin_send(rate, count)
        seconds = way.end_send()
        time.sleep(SETTLE)
        if complete(arrived(way.lab.server) - before):
            return count / seconds
        rate = count / seconds * LOWER
    raise LabError(f"{way.name}: packets are lost at {rate:.0f} a second, too")


def packets(way):
    """Small packets of 256 sessions, dropped and counted where they reach the server."""
    return rate_without_loss(way, PACKETS, lambda count: count == PACKETS)


def sessions(way):
    def complete(count):
        seen, answered = way.validate()
        return count == seen == answered == SESSIONS
    return rate_without_loss(way, SESSIONS, complete)


def exchanges(way):
    program = os.path.join(os.environ["ISTHMUS_BUILD"], "bench_exchanges")
    server = way.lab.server.start([program, "serve", "7"], stdout=PIPE, text=True)
    try:
        server.stdout.readline()
        address = f"::ffff:{way.address}" if way.name == NAT44 else way.address
        count, time_taken = way.lab.client.run([program, "ask", address, "7", "1000"]).stdout.split(" in ")
        return int(count) * 1000 / int(time_taken)
    finally:
        end(server)


def round_trips(way):
    """Median and 99th percentile of the round trips of pings, in microseconds."""
    text = way.lab.client.run(["ping", "-i", "0.002", "-c", str(PINGS), way.address]).stdout
    times = sorted(float(found) * 1000 for found in re.findall(r"time=([\d.]+)", text))
    return statistics.median(times), times[len(times) * 99 // 100]


def in_rounds(ways, options, name, measure):
    """{way: what `measure` gave in each round}."""
    figures = {way.name: [] for way in ways}
    for number in range(1, options.rounds + 1):
        for way in ways:
            figures[way.name].append(measure(way))
            last = figures[way.name][-1]
            shown = " ".join(f"{each:9.0f}" for each in (last if isinstance(last, tuple) else (last,)))
            note(f"{name}  round {number}/{options.rounds}  {way.name:22} {shown}")
    return figures


def compare(name, figures, unit):
    medians = {way: statistics.median(values) for way, values in figures.items()}
    for other, median in medians.items():
        if other != ISTHMUS:
            report(name, medians[ISTHMUS], unit, other, medians[ISTHMUS] / median)
    spread = figures[PLAIN]
    report(name + ".plain", medians[PLAIN], unit, None, None)
    report(name + ".plain.spread", (max(spread) - min(spread)) / medians[PLAIN] * 100, "%", None, None)


def measure_latency(ways, options, load):
    """`load` is packets a second for each way while the pings run, or None. Told is what isthmus adds."""
    def measure(way):
        if load:
            way.begin_send(load[way.name], load[way.name] * (PINGS * 0.002 + 0.3))
        times = round_trips(way)
        if load:
            way.end_send()
        return times

    name = "bpf.rtt.half" if load else "bpf.rtt.idle"
    figures = in_rounds(ways, options, name, measure)
    for position, quantile in enumerate(("p50", "p99")):
        medians = {way: statistics.median(pair[position] for pair in pairs) for way, pairs in figures.items()}
        for other in (PLAIN, NAT44):
            report(f"{name}.{quantile}", medians[ISTHMUS] - medians[other], "us more", other,
                   medians[ISTHMUS] / medians[other])


def measure_bulk(ways, options):
    for name, flows, direction in LOADS:
        figures = in_rounds(ways, options, name, lambda way: megabits(
            way.lab, way.address, flows, direction, options.seconds)[0])
        compare(name, figures, "Mbit/s")


def measure_small(ways, options):
    compare("bpf.exchanges", in_rounds(ways, options, "bpf.exchanges", exchanges), "/s")
    measure_latency(ways, options, None)
    for way in ways:
        way.start_counters()
        way.start_sender("established")
    rates = in_rounds(ways, options, "bpf.packets", packets)
    compare("bpf.packets", rates, "/s")
    measure_latency(ways, options, {way: statistics.median(values) / 2 for way, values in rates.items()})
    for way in ways:
        way.start_sender("new")
        way.listen()
    compare("bpf.sessions", in_rounds(ways, options, "bpf.sessions", sessions), "/s")


def bench(options):
    note("client, gateway and server share the cores: their own work is part of every figure")
    nat64.binary()
    ways = []
    try:
        for name in (ISTHMUS, PLAIN, NAT44, TUN, TAYGA, TAYGA_NAT):
            ways.append(Way(name))
        measure_small([way for way in ways if way.name in (ISTHMUS, PLAIN, NAT44)], options)
        measure_bulk([way for way in ways if way.name != NAT44], options)
    finally:
        for way in reversed(ways):
            way.close()


if __name__ == "__main__":
    sys.exit(run(bench, "Speed of the eBPF plane against the kernel and other translators.", rounds=5, seconds=1))
