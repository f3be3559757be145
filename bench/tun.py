#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Bulk TCP and round-trip time through the TUN plane, against plain IPv6 forwarding and against Tayga.

All three ways lead through the same gateway of the same lab to the same server, chosen by the address
that the client calls:

    2001:db8:2::2              plain      the kernel forwards IPv6, nothing is translated
    2001:db8:64::203.0.113.2   isthmus    the daemon with the shipped example configuration
    2001:db8:65::203.0.113.2   tayga      Debian's package, a TUN device and a pool of its own

A round takes each way once, one after the other, so that what else the machine does falls on all
alike; each figure is the median of the rounds. Progress goes to stderr. On stdout comes one JSON object a
line: name, value, unit, and the ratio to what it is measured against.
"""
import json
import os
import re
import statistics
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))

import nat64  # noqa: E402
from namespace import LabError, end, wait_until  # noqa: E402
from program import note, run  # noqa: E402

TAYGA_PREFIX, TAYGA_POOL = "2001:db8:65::/96", "192.0.2.32/28"
PLAIN = "plain IPv6 forwarding"
ATTEMPTS = 3
WAYS = {"isthmus": nat64.SERVER_MAPPED, PLAIN: nat64.SERVER_PLAIN, "tayga": "2001:db8:65::cb00:7102"}
LOADS = (
    ("tun.tcp.forward", 1, ()),
    ("tun.tcp.reverse", 1, ("-R",)),
    ("tun.tcp.forward.8", 8, ()),
    ("tun.tcp.reverse.8", 8, ("-R",)),
)
_TAYGA = f"""tun-device nat64
ipv4-addr 192.0.2.33
ipv6-addr 2001:db8:66::1
prefix {TAYGA_PREFIX}
dynamic-pool {TAYGA_POOL}
"""


def start_tayga(lab):
    config = lab.write("tayga.conf", _TAYGA)
    with open(lab.path("tayga.log"), "w") as log:
        lab.gateway.start(["tayga", "-d", "-c", config], stdout=log, stderr=log)
    wait_until(lambda: "nat64" in lab.gateway.run(["ip", "-br", "link"]).stdout, "Tayga's device")
    lab.gateway.shell("ip link set nat64 up\n"
                      f"ip route add {TAYGA_POOL} dev nat64\n"
                      f"ip route add {TAYGA_PREFIX} dev nat64\n"
                      "echo 1 > /proc/sys/net/ipv4/ip_forward\n")
    lab.server.shell(f"ip route add {TAYGA_POOL} via {nat64.GATEWAY4}\n")


def transfer(lab, arguments, seconds):
    """One iperf3 run; its "end" object, or LabError with what iperf3 says.

    Each run has a server of its own: one that still winds up the run before, as after a slow way with many
    flows, refuses the next as "busy". With -J iperf3 reports an error in its JSON and exits with status 0.
    """
    server = lab.start_iperf(once=True)
    try:
        done = lab.client.run(["iperf3", "-J", "-t", str(seconds), *arguments], check=False,
                              timeout=seconds + 30)
    finally:
        end(server)
    try:
        result = json.loads(done.stdout)
    except ValueError:
        result = {"error": done.stderr.strip() or f"exit status {done.returncode} and no JSON"}
    if "error" in result:
        raise LabError(f"iperf3: {result['error']}")
    return result["end"]


def megabits(lab, address, flows, direction, seconds):
    """What iperf3 says arrived, in Mbit/s, and how many segments were sent again."""
    arguments = ["-c", address, "-O", "0.3", "-P", str(flows), *direction]
    for attempt in range(1, ATTEMPTS + 1):
        try:
            sums = transfer(lab, arguments, seconds)
            return sums["sum_received"]["bits_per_second"] / 1e6, sums["sum_sent"].get("retransmits", 0)
        except LabError as error:
            if attempt == ATTEMPTS:
                raise
            note(f"{error}; once more")


def round_trip(lab, address):
    """Mean round-trip time of 400 pings on an idle path, in microseconds."""
    text = lab.client.run(["ping", "-q", "-i", "0.002", "-c", "400", address]).stdout
    return float(re.search(r"= [\d.]+/([\d.]+)/", text).group(1)) * 1000


def measure_load(lab, load, options):
    name, flows, direction = load
    figures = {way: [] for way in WAYS}
    for number in range(1, options.rounds + 1):
        for way in WAYS:
            rate, again = megabits(lab, WAYS[way], flows, direction, options.seconds)
            figures[way].append(rate)
            note(f"{name}  round {number}/{options.rounds}  {way:22} {rate:9.0f} Mbit/s"
                 f"  {again} retransmits")
    return {way: statistics.median(values) for way, values in figures.items()}


def measure_round_trip(lab, options):
    """The value reported is what isthmus adds, the ratio that of the whole round trips."""
    figures = {way: [] for way in WAYS}
    for number in range(1, options.rounds + 1):
        for way in WAYS:
            figures[way].append(round_trip(lab, WAYS[way]))
            note(f"tun.rtt  round {number}/{options.rounds}  {way:22} {figures[way][-1]:9.0f} us")
    return {way: statistics.median(values) for way, values in figures.items()}


def report(name, value, unit, against, ratio):
    print(json.dumps({"name": name, "value": round(value, 1), "unit": unit, "against": against,
                      "ratio": round(ratio, 3)}), flush=True)


def bench(options):
    note("client, gateway and server share the cores: their own TCP work is part of every figure")
    nat64.binary()
    with nat64.Lab() as lab:
        lab.add_plain_ipv6()
        start_tayga(lab)
        nat64.Daemon(lab).start()
        for address in WAYS.values():
            lab.client.run(["ping", "-q", "-c", "3", "-i", "0.1", address])
        for load in LOADS:
            medians = measure_load(lab, load, options)
            for other, suffix in ((PLAIN, ""), ("tayga", ".tayga")):
                report(load[0] + suffix, medians["isthmus"], "Mbit/s", other,
                       medians["isthmus"] / medians[other])
        medians = measure_round_trip(lab, options)
        report("tun.rtt", medians["isthmus"] - medians[PLAIN], "us", PLAIN,
               medians["isthmus"] / medians[PLAIN])


if __name__ == "__main__":
    sys.exit(run(bench, "Speed of the TUN plane against plain forwarding and Tayga.", rounds=5, seconds=2))
