# SPDX-License-Identifier: BSD-2-Clause
"""Floods of SYNs from random sources, from both sides at once, through the eBPF plane: established flows keep their
rate, as compared with plain forwarding under the same flood; half-open sessions keep to their quarter of the table;
and when it is over all is soon as it was.

Client, gateway, server and floods share the processors, so that only rates of the same seconds can be compared: runs
alternate. SECONDS and PAIRS in the environment make it longer."""
import json
import os
import statistics
import time

import nat64
import pytest
from conftest import counter, settings, start
from many import program
from namespace import end, wait_until
from restart_test import Connections

ALONE = "it measures rates"

pytestmark = pytest.mark.usefixtures("bpf")

SECONDS, PAIRS = int(os.environ.get("SECONDS", "2")), int(os.environ.get("PAIRS", "3"))
RATE = 20_000  # SYNs a second, from each side
ATTEMPTS = 3  # another program on the machine can take a core away
KEPT = 0.8  # of the rate under the same flood through plain forwarding
TRANSITORY = 10  # seconds
SWEEP = 10  # seconds in which the whole table is looked through
SESSIONS = 20_000
HALF_OPEN = SESSIONS // 4
LONG = 600  # seconds: floods are ended, not waited for


def connect_plainly(lab):
    """Forwarding of both families past the translator, to hosts that do not exist."""
    lab.add_plain_ipv6()
    lab.gateway.shell("ip address add 10.77.0.1/24 dev lan0\n"
                      "ip route add 172.31.0.0/16 via 10.77.0.2\n"
                      f"ip route add 198.18.0.0/15 via {nat64.SERVER}\n"
                      f"ip route add 2001:db8:7::/48 via {nat64.SERVER_PLAIN}\n")
    lab.client.shell("ip address add 10.77.0.2/24 dev eth0\n")


def link_address(lab, device):
    return lab.gateway.read(f"/sys/class/net/{device}/address").strip()


# By how the flows under test go: from where, to which addresses, how many bits of these are random, to which port.
FLOODS = {
    "isthmus": (("2001:db8:c::", "2001:db8:64::c612:0", "16", "80"), ("100.0.0.0", "192.0.2.16", "4", "0")),
    "plain": (("2001:db8:c::", "2001:db8:7::", "16", "80"), ("100.0.0.0", "172.31.0.0", "16", "0")),
}
SERVERS = {"isthmus": nat64.SERVER_MAPPED, "plain": nat64.SERVER_PLAIN}


class Flood:
    """From both sides, as long as the block."""

    def __init__(self, lab, way):
        self.lab = lab
        self.way = way

    def __enter__(self):
        self.processes = [
            machine.start([program("syn_flood"), "eth0", link_address(self.lab, device), *where, RATE, LONG])
            for machine, device, where in ((self.lab.client, "lan0", FLOODS[self.way][0]),
                                           (self.lab.server, "wan0", FLOODS[self.way][1]))]
        return self

    def __exit__(self, *exception):
        alive = [process.poll() is None for process in self.processes]
        for process in self.processes:
            end(process)
        assert all(alive)


def rate(lab, way):
    """Of a flow through a flood: bits a second that arrive."""
    with Flood(lab, way):
        done = lab.client.run(["iperf3", "-c", SERVERS[way], "-J", "-t", str(SECONDS)])
    return json.loads(done.stdout)["end"]["sum_received"]["bits_per_second"]


def kept_rate(lab):
    """The part of the rate of plain forwarding, both under the flood."""
    rates = {way: [] for way in SERVERS}
    for _ in range(PAIRS):
        for way in SERVERS:
            rates[way].append(rate(lab, way))
    kept = statistics.median(rates["isthmus"]) / statistics.median(rates["plain"])
    print(f"rate kept: {kept:.2f} of", {way: [f"{each / 1e9:.2f}" for each in rates[way]] for way in rates}, flush=True)
    return kept


def half_open(daemon):
    return [row for row in daemon.show("sessions") if row["protocol"] == "tcp" and row["state"].endswith("init")]


def test_flood(lab):
    connect_plainly(lab)
    daemon = start(lab, settings({"type": "bpf"}, limits={"sessions": SESSIONS},
                                 timeouts={"tcp-transitory": f"{TRANSITORY}s"}))
    lab.start_iperf()
    connections = Connections(lab, 50)
    before = len(daemon.show("sessions"))
    assert any(kept_rate(lab) >= KEPT for _ in range(ATTEMPTS))
    with Flood(lab, "isthmus"):
        refused, taken = counter(daemon, "no-binding"), counter(daemon, "translated-6to4")
        for _ in range(8):
            time.sleep(0.25)
            assert daemon.show("status")[0]["sessions"] <= SESSIONS
        connections.answer()
        assert min(counter(daemon, "no-binding") - refused, counter(daemon, "translated-6to4") - taken) > RATE / 2
    over = time.monotonic()
    # With room for what ends early, HALF_OPEN_EARLY, all of it is taken, and nothing above.
    assert HALF_OPEN * 15 // 16 - 100 <= len(half_open(daemon)) <= HALF_OPEN
    connections.answer()
    wait_until(lambda: not half_open(daemon), "the end of what was half open", seconds=TRANSITORY + 1)
    assert time.monotonic() - over <= TRANSITORY + 2
    wait_until(lambda: daemon.show("status")[0]["sessions"] <= before + 3 * PAIRS * ATTEMPTS, "the room to be given back",
               seconds=SWEEP + 2)
    connections.answer()
    connections.close()
