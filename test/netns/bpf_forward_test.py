# SPDX-License-Identifier: BSD-2-Clause
"""The eBPF plane where packets do not simply go from one interface to another: through the machine's firewall, to and
from its own programs, and statelessly."""
from subprocess import DEVNULL

import nat64
import pytest
from bpf_life_test import BPF
from conftest import PYTHON, counter, settings, start
from namespace import wait_until
from siit_test import CLIENT4, SERVER_MAPPED, siit

pytestmark = pytest.mark.usefixtures("bpf")

STACK = {**BPF, "forward": "stack"}

# As most firewalls are: what belongs to a connection, and what opens one from inside.
FIREWALL = """
table inet gate {
  counter from_device { }
  chain forward {
    type filter hook forward priority 0; policy drop;
    ct state invalid drop
    iifname "isthmus0" oifname "wan0" counter name from_device
    ct state established,related accept
    iifname { "lan0", "isthmus0" } accept
  }
}
"""


def close_gate(lab):
    """A firewall that tracks connections; skips where there is none."""
    path = lab.write("gate.nft", FIREWALL)
    tried = lab.gateway.run(["nft", "-f", path], check=False)
    if tried.returncode != 0:
        pytest.skip("no nftables: " + tried.stderr.strip().splitlines()[0])


def passed_gate(lab):
    listed = lab.gateway.run(["nft", "list", "counter", "inet", "gate", "from_device"]).stdout
    return int(listed.split("packets ")[1].split()[0])


def download(lab, url):
    lab.client.run(["curl", "-sSf", "--max-time", "20", "-o", "/dev/null", url])


def test_a_firewall_sees_what_is_translated(lab):
    daemon = start(lab, settings(STACK))
    close_gate(lab)
    lab.start_web(5_000_000)
    reads = counter(daemon, "tun-reads")
    download(lab, nat64.URL + "/file")
    assert passed_gate(lab) > 10
    assert counter(daemon, "translated-6to4") > 10 and counter(daemon, "translated-4to6") > 10
    assert counter(daemon, "tun-reads") - reads < 5


def test_a_firewall_refuses_what_is_translated(lab):
    start(lab, settings(STACK))
    close_gate(lab)
    lab.gateway.run(["nft", "insert", "rule", "inet", "gate", "forward", "ip", "daddr", nat64.SERVER, "tcp", "dport",
                     "81", "reject", "with", "icmp", "type", "admin-prohibited"])
    asked = lab.client.run(["curl", "-sS", "--max-time", "5", nat64.URL.rstrip("/") + ":81/"], check=False)
    assert asked.returncode == 7, asked.stderr  # could not connect, and not for a time-out


@pytest.mark.parametrize("plane", [BPF, STACK], ids=["direct", "stack"])
def test_programs_of_the_gateway_use_nat64(lab, plane):
    daemon = start(lab, settings(plane))
    lab.start_web(1_000_000)
    reads = counter(daemon, "tun-reads")
    lab.gateway.run(["curl", "-sSf", "--max-time", "20", "-o", "/dev/null", nat64.URL + "/file"])
    assert counter(daemon, "tun-reads") - reads < 5
    assert counter(daemon, "translated-6to4") > 5 and counter(daemon, "translated-4to6") > 5


@pytest.mark.parametrize("plane", [BPF, STACK], ids=["direct", "stack"])
def test_stateless(lab, plane):
    daemon = start(lab, {**siit(), "plane": plane})
    lab.start_web(1_000_000)
    reads = counter(daemon, "tun-reads")
    download(lab, f"http://[{SERVER_MAPPED}]/file")
    lab.server.run(["ping", "-q", "-c", "3", "-i", "0.05", "-W", "2", CLIENT4])
    assert counter(daemon, "tun-reads") - reads < 5
    assert counter(daemon, "translated-6to4") > 10 and counter(daemon, "translated-4to6") > 10
    assert not daemon.show("sessions")


def test_mapped_hosts_are_reached_by_their_own_addresses(lab):
    daemon = start(lab, {**siit(), "plane": BPF})
    lab.client.start([PYTHON, "-m", "http.server", "-d", lab.directory, "-b", "::", "8080"], stdout=DEVNULL,
                     stderr=DEVNULL)
    wait_until(lambda: lab.client.run(["ss", "-Hltn", "sport", "=", ":8080"]).stdout.strip(), "the web server")
    lab.gateway.run(["curl", "-sSf", "--max-time", "20", "-o", "/dev/null", f"http://[{nat64.CLIENT}]:8080/"])
    assert counter(daemon, "translated-6to4") == 0 and counter(daemon, "translated-4to6") == 0
