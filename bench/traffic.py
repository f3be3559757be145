# SPDX-License-Identifier: BSD-2-Clause
"""What the benchmarks of both planes share: bulk TCP by iperf3, Tayga, and how a figure is told."""
import json

import nat64
from namespace import LabError, end, wait_until
from program import note

PLAIN = "plain IPv6 forwarding"
TAYGA_PREFIX, TAYGA_POOL = "2001:db8:65::/96", "192.0.2.32/28"
TAYGA_MAPPED = "2001:db8:65::cb00:7102"
ATTEMPTS = 3
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


def report(name, value, unit, against, ratio):
    print(json.dumps({"name": name, "value": round(value, 1), "unit": unit, "against": against,
                      "ratio": None if ratio is None else round(ratio, 3)}), flush=True)
