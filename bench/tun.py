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
import os
import re
import statistics
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))

import nat64  # noqa: E402
from program import note, run  # noqa: E402
from traffic import PLAIN, TAYGA_MAPPED, megabits, report, start_tayga  # noqa: E402

WAYS = {"isthmus": nat64.SERVER_MAPPED, PLAIN: nat64.SERVER_PLAIN, "tayga": TAYGA_MAPPED}
LOADS = (
    ("tun.tcp.forward", 1, ()),
    ("tun.tcp.reverse", 1, ("-R",)),
    ("tun.tcp.forward.8", 8, ()),
    ("tun.tcp.reverse.8", 8, ("-R",)),
)


def on_tun():
    """The example, but for the plane that it would choose."""
    with open(nat64.EXAMPLE) as file:
        return file.read().replace("\n  type: auto\n", "\n  type: tun\n")


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


def bench(options):
    note("client, gateway and server share the cores: their own TCP work is part of every figure")
    nat64.binary()
    with nat64.Lab() as lab:
        lab.add_plain_ipv6()
        start_tayga(lab)
        nat64.Daemon(lab, lab.write("tun.yaml", on_tun())).start()
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
