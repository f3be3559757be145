# SPDX-License-Identifier: BSD-2-Clause
"""Starting, stopping, being killed: what was changed comes back, and nothing else is touched."""
import time
from subprocess import DEVNULL

import nat64
import pytest
from conftest import configure, settings, start
from nat64 import difference, snapshot
from namespace import wait_until


def unchanged(lab, before):
    changes = difference(before, snapshot(lab.gateway))
    assert not changes, "\n".join(changes)


def reaches_server(lab):
    lab.client.run(["ping", "-c", "1", "-W", "2", nat64.SERVER_MAPPED])


def test_sigterm_under_load_ends_clean(lab):
    before = snapshot(lab.gateway)
    daemon = start(lab, settings())
    lab.start_iperf()
    lab.client.start(["iperf3", "-c", nat64.SERVER_MAPPED, "-t", "20", "-P", "8"], stdout=DEVNULL, stderr=DEVNULL)
    connections = ["ss", "-Htn", "state", "established", "dport", "=", ":5201"]
    wait_until(lambda: len(lab.client.run(connections).stdout.splitlines()) >= 9, "eight flows")
    time.sleep(0.5)
    began = time.monotonic()
    assert daemon.stop() == 0
    assert time.monotonic() - began < 3
    unchanged(lab, before)


def test_start_says_what_it_changed(lab):
    daemon = start(lab, settings())
    log = daemon.log()
    assert "forwarding" in log and "isthmus0" in log and nat64.PREFIX in log
    # One line each, and none for packets.
    count = len(log.splitlines())
    reaches_server(lab)
    assert len(daemon.log().splitlines()) == count < 30
    assert daemon.stop() == 0
    assert len(daemon.log().splitlines()) > count


def test_forwarding_that_was_on_stays_on(lab):
    lab.gateway.shell("echo 1 > /proc/sys/net/ipv4/ip_forward\n"
                      "echo 1 > /proc/sys/net/ipv6/conf/all/forwarding\n")
    before = snapshot(lab.gateway)
    assert start(lab, settings()).stop() == 0
    unchanged(lab, before)


def test_router_advertisements_are_still_heard(lab):
    lab.gateway.shell("echo 1 > /proc/sys/net/ipv6/conf/wan0/accept_ra\n")
    daemon = start(lab, settings())
    assert lab.gateway.read("/proc/sys/net/ipv6/conf/wan0/accept_ra") == "2\n"
    assert daemon.stop() == 0
    assert lab.gateway.read("/proc/sys/net/ipv6/conf/wan0/accept_ra") == "1\n"


def test_on_link_pool_is_answered_for(lab):
    """The server has no route to this pool: it asks by ARP."""
    before = snapshot(lab.gateway)
    daemon = start(lab, settings(pool=[{"address": "203.0.113.32/30"}]))
    reaches_server(lab)
    assert daemon.stop() == 0
    lab.gateway.shell("ip neighbour flush all\n")
    unchanged(lab, before)


def test_down_restores_after_kill(lab):
    before = snapshot(lab.gateway)
    daemon = start(lab, settings())
    reaches_server(lab)
    daemon.kill_all()
    assert difference(before, snapshot(lab.gateway))
    daemon.command("down", "-c", daemon.config)
    unchanged(lab, before)


def test_a_killed_daemon_is_cleaned_up_after(lab):
    before = snapshot(lab.gateway)
    daemon = start(lab, settings())
    daemon.kill()
    wait_until(lambda: not difference(before, snapshot(lab.gateway)), "everything to be as before")


def test_run_works_after_kill(lab):
    before = snapshot(lab.gateway)
    configuration = settings()
    start(lab, configuration).kill_all()
    daemon = start(lab, configuration)
    reaches_server(lab)
    assert daemon.stop() == 0
    # The second run knew what the first had found.
    unchanged(lab, before)


def test_stay_leaves_the_device_and_down_removes_it(lab):
    before = snapshot(lab.gateway)
    configuration = settings()
    daemon = start(lab, configuration, "--stay")
    reaches_server(lab)
    assert daemon.stop() == 0
    assert "isthmus0" in lab.gateway.run(["ip", "-br", "link"]).stdout
    assert nat64.POOL in lab.gateway.run(["ip", "route"]).stdout
    assert "2001:db8:64::/96" in lab.gateway.run(["ip", "-6", "route"]).stdout
    second = start(lab, configuration, "--stay")
    reaches_server(lab)
    assert second.stop() == 0
    second.command("down", "isthmus0")
    unchanged(lab, before)


def test_run_without_stay_takes_over_and_removes(lab):
    before = snapshot(lab.gateway)
    configuration = settings()
    assert start(lab, configuration, "--stay").stop() == 0
    daemon = start(lab, configuration)
    reaches_server(lab)
    assert daemon.stop() == 0
    unchanged(lab, before)


def test_fresh(lab):
    before = snapshot(lab.gateway)
    configuration = settings()
    start(lab, configuration).kill_all()
    daemon = start(lab, configuration, "--fresh")
    reaches_server(lab)
    assert daemon.stop() == 0
    unchanged(lab, before)


def test_down_with_nothing_to_do(lab):
    before = snapshot(lab.gateway)
    daemon = nat64.Daemon(lab, configure(lab, settings()))
    daemon.command("down", "-c", daemon.config)
    daemon.command("down", "isthmus0")
    unchanged(lab, before)


@pytest.mark.parametrize("other", [{}, {"control": {"socket": "/run/other.sock"}},
                                   {"plane": {"type": "tun", "name": "isthmus1"}}],
                         ids=["all-the-same", "same-device", "same-socket"])
def test_second_daemon_is_refused(lab, other):
    first = start(lab, settings())
    before = snapshot(lab.gateway)
    second = nat64.Daemon(lab, configure(lab, {**settings(), **other}, "second.yaml")).launch()
    assert second.process.wait(10) == 1
    last = second.log().strip().splitlines()[-1]
    assert "isthmus0" in last or "/run/isthmus" in last
    unchanged(lab, before)
    reaches_server(lab)
    assert first.stop() == 0


def credentials(pid):
    with open(f"/proc/{pid}/status") as file:
        return dict(line.split(":\t", 1) for line in file.read().splitlines() if ":\t" in line)


def test_privileges_are_dropped(lab, daemon):
    """Who reads packets may do nothing; the keeper may undo and read the configuration, and reads no packet."""
    status = credentials(daemon.process.pid)
    assert "0" not in status["Uid"].split() + status["Gid"].split() + status["Groups"].split()
    assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
    assert status["NoNewPrivs"] == "1"
    keeper, = daemon.keepers()
    status = credentials(keeper)
    dac_override, net_admin = 1 << 1, 1 << 12
    assert int(status["CapPrm"], 16) & ~(dac_override | net_admin) == 0
    assert status["NoNewPrivs"] == "1"


def test_shipped_example_is_the_one_in_the_drawing(lab, daemon):
    canonical = daemon.command("check", "-c", nat64.EXAMPLE).stdout
    assert nat64.PREFIX in canonical and nat64.POOL in canonical
    again = lab.write("canonical.yaml", canonical.split("\n---")[0])
    assert daemon.command("check", "-c", again).stdout == canonical
    reaches_server(lab)


def test_two_labs_side_by_side(lab, daemon):
    with nat64.Lab() as other:
        second = nat64.Daemon(other).start()
        reaches_server(other)
        assert second.stop() == 0
    reaches_server(lab)
