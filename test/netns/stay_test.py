# SPDX-License-Identifier: BSD-2-Clause
"""run --stay: device, routes and settings outlive the daemon, and the next one takes them over as they are."""
from subprocess import DEVNULL, STDOUT

import nat64
import pytest
from conftest import settings, start
from lifecycle_test import only_sessions_stay, unchanged
from nat64 import snapshot
from namespace import wait_until
from restart_test import WAYS, Connections

ON_LINK = [{"address": "203.0.113.32/30"}]


def reaches_server(lab):
    lab.client.run(["ping", "-c", "1", "-W", "2", nat64.SERVER_MAPPED])


def machine(lab):
    """What the daemon has set up, as long as it stays."""
    return lab.gateway.shell("ip -o link show isthmus0 | cut -d: -f1\n"
                             "ip -4 -o address show dev isthmus0\n"
                             "for family in -4 -6; do ip $family route | sed 's/ linkdown//'; done\n"
                             "ip neighbour show proxy\n"
                             "sysctl -a --pattern '^net\\.ipv[46]\\.(conf|neigh|ip_forward)' 2>/dev/null | sort\n")


@pytest.mark.parametrize("way", WAYS)
def test_it_stays_and_is_taken_over(lab, way):
    before = snapshot(lab.gateway)
    daemon = start(lab, settings(pool=ON_LINK), "--stay")
    reaches_server(lab)
    running = machine(lab)
    WAYS[way](daemon)
    assert machine(lab) == running
    watch = lab.path("watch")
    with open(watch, "w") as out:
        monitor = lab.gateway.start(["ip", "-o", "monitor", "link", "address", "route", "neigh"],
                                    stdout=out, stderr=STDOUT)
    daemon = start(lab, settings(pool=ON_LINK), "--stay")
    reaches_server(lab)
    assert "took over device isthmus0" in daemon.log() and "set net" not in daemon.log()
    assert machine(lab) == running
    monitor.terminate()
    monitor.wait()
    with open(watch) as file:
        seen = file.read()
    assert "isthmus0" in seen
    deleted = [line for line in seen.splitlines() if line.startswith("Deleted") and "isthmus0" in line]
    assert not [line for line in deleted if "lladdr" not in line], seen  # what the kernel cached is its own
    assert daemon.stop() == 0
    daemon.command("down")
    lab.gateway.shell("ip neighbour flush all\n")
    unchanged(lab, before)


def test_a_plain_run_takes_over_and_removes(lab):
    before = snapshot(lab.gateway)
    assert start(lab, settings(), "--stay").stop() == 0
    index = lab.gateway.run(["cat", "/sys/class/net/isthmus0/ifindex"]).stdout
    daemon = start(lab, settings())
    assert lab.gateway.run(["cat", "/sys/class/net/isthmus0/ifindex"]).stdout == index
    reaches_server(lab)
    assert daemon.stop() == 0
    only_sessions_stay(lab, before)


def test_a_plain_run_that_is_killed_is_cleaned_up_after(lab):
    before = snapshot(lab.gateway)
    assert start(lab, settings(), "--stay").stop() == 0
    start(lab, settings()).kill()
    wait_until(lambda: "isthmus0" not in lab.gateway.run(["ip", "link"]).stdout, "the device to go")
    wait_until(lambda: lab.gateway.run(["ls", "/run/isthmus/isthmus0"]).stdout == "table\n", "the keeper to end")
    only_sessions_stay(lab, before)


@pytest.mark.parametrize("way", WAYS)
def test_only_what_is_no_longer_wanted_goes(lab, way):
    before = snapshot(lab.gateway)
    first = settings(pool=[{"address": nat64.POOL}, {"address": "203.0.113.32/31"}])
    WAYS[way](start(lab, first, "--stay"))
    second = settings(prefix="2001:db8:65::/96", pool=[{"address": "203.0.113.32/32"}, {"address": "203.0.113.40/31"}])
    daemon = start(lab, second, "--stay")
    log = daemon.log()
    assert f"removed the route to {nat64.POOL}" in log and f"removed the route to {nat64.PREFIX}" in log
    routes = lab.gateway.shell("ip route; ip -6 route")
    assert nat64.POOL not in routes and nat64.PREFIX not in routes
    assert "2001:db8:65::/96 dev isthmus0" in routes
    proxies = lab.gateway.run(["ip", "neighbour", "show", "proxy"]).stdout.split()
    assert sorted(word for word in proxies if word[0] == "2") == ["203.0.113.32", "203.0.113.40", "203.0.113.41"]
    # What went does not come back with an interface.
    lab.gateway.shell("ip link set wan0 down\nip link set wan0 up\n")
    wait_until(lambda: "answering ARP again for 3" in daemon.log(), "the proxy entries")
    lab.client.run(["ping", "-c", "1", "-W", "2", "2001:db8:65::cb00:7102"])
    assert daemon.stop() == 0
    daemon.command("down")
    lab.gateway.shell("ip neighbour flush all\n")
    unchanged(lab, before)


def test_without_routes_now(lab):
    assert start(lab, settings(), "--stay").stop() == 0
    daemon = start(lab, settings({"routes": False}), "--stay")
    assert "dev isthmus0" not in lab.gateway.shell("ip route; ip -6 route | grep -v ^fe80")
    assert daemon.stop() == 0


def test_who_calls_meanwhile_is_served_later(lab):
    """While nobody reads, packets are lost and not refused: a caller tries again."""
    lab.start_web(1000)
    daemon = start(lab, settings(), "--stay")
    connections = Connections(lab)
    assert daemon.stop() == 0
    caller = lab.client.start(["curl", "-sS", "--max-time", "10", nat64.URL + "/file"], stdout=DEVNULL)
    lost = lab.client.run(["ping", "-c", "2", "-i", "0.2", "-W", "1", nat64.SERVER_MAPPED], check=False).stdout
    assert "100% packet loss" in lost and "errors" not in lost
    assert caller.poll() is None
    daemon = start(lab, settings(), "--stay")
    assert caller.wait(15) == 0
    connections.answer()
    connections.close()


@pytest.mark.parametrize("meanwhile, said", [
    ("ip link delete isthmus0\n", "opened device isthmus0"),
    ("ip link delete isthmus0\nip tuntap add isthmus0 mode tun\n", "it takes one queue only; making it anew"),
    ("ip link delete isthmus0\nip link add isthmus0 type veth peer name other0\n",
     "it is no TUN device; making it anew"),
    ("ip link set isthmus0 down\n", "took over device isthmus0"),
    ("ip route delete 192.0.2.16/28\n", "took over device isthmus0"),
    ("echo 0 > /proc/sys/net/ipv4/ip_forward\n", "set net/ipv4/ip_forward to 1"),
], ids=["deleted", "one-queue", "no-tun", "down", "route", "forwarding"])
def test_what_somebody_changed_meanwhile_is_put_right(lab, meanwhile, said):
    before = snapshot(lab.gateway)
    assert start(lab, settings(), "--stay").stop() == 0
    lab.gateway.shell(meanwhile)
    daemon = start(lab, settings(), "--stay")
    assert said in daemon.log()
    reaches_server(lab)
    assert daemon.stop() == 0
    daemon.command("down")
    unchanged(lab, before)


def test_another_number_of_workers(lab):
    for workers in (2, 1, 4):
        daemon = start(lab, settings({"workers": workers}), "--stay")
        assert f"isthmus0 with {workers} queue" in daemon.log()
        reaches_server(lab)
        assert daemon.stop() == 0


def test_fresh_makes_all_anew(lab):
    assert start(lab, settings(), "--stay").stop() == 0
    index = lab.gateway.run(["cat", "/sys/class/net/isthmus0/ifindex"]).stdout
    daemon = start(lab, settings(), "--stay", "--fresh")
    assert "removed device isthmus0" in daemon.log()
    assert lab.gateway.run(["cat", "/sys/class/net/isthmus0/ifindex"]).stdout != index
    reaches_server(lab)
