# SPDX-License-Identifier: BSD-2-Clause
"""The eBPF plane in bad surroundings: a clear message, and then it is refused, does without or falls back; nothing
is half attached, and what others have there stays."""
import os
import time

import nat64
import pytest
from bpf_life_test import BPF, PINS, programs, reaches_server, unchanged
from conftest import configure, counter, settings, start
from nat64 import difference, snapshot
from namespace import link, wait_until
from refusal_test import refused
from restart_test import continued

pytestmark = pytest.mark.usefixtures("bpf")

AUTO = {"type": "auto"}
PREFERENCE = 6464  # of the filters of isthmus
SECOND = {"name": "isthmus1"}
SECOND_PREFIX, SECOND_POOL = "2001:db8:65::/96", "192.0.2.32/28"
# A classifier of somebody else's, which nothing matches.
OTHERS = "bpf bytecode '1,6 0 0 0'"


def run_without(lab, wrapper, configuration):
    """A daemon that is started by way of another program."""
    script = lab.write("wrapped", "#!/bin/sh\nexec " + " ".join([*wrapper, nat64.binary(), '"$@"']) + "\n")
    os.chmod(script, 0o755)
    return nat64.Daemon(lab, configure(lab, configuration), program=script).start()


def second(plane):
    """The configuration of another isthmus on the same machine."""
    return {**settings({**plane, **SECOND}, name="other", prefix=SECOND_PREFIX, pool=[{"address": SECOND_POOL}]),
            "control": {"socket": "/run/isthmus/second.sock"}}


def plane_of(daemon):
    status, = daemon.show("status")
    return status["plane"]


def merges_lists(lab, device):
    return "rx-gro-list: on" in lab.gateway.shell(f"ethtool -k {device}")


# --- rights and places ---------------------------------------------------------------------------------

@pytest.mark.parametrize("capability", ["bpf", "perfmon"])
def test_without_the_right_to_load_programs(lab, capability):
    before = snapshot(lab.gateway)
    without = ["setpriv", f"--bounding-set=-{capability},-sys_admin", "--"]
    message = refused(lab, configure(lab, settings(BPF)), without)
    assert f"CAP_{capability.upper()} is missing" in message and "plane.type: auto" in message
    daemon = run_without(lab, without, settings(AUTO))
    said = [line for line in daemon.log().splitlines() if "plane is TUN" in line]
    assert len(said) == 1 and f"CAP_{capability.upper()} is missing" in said[0]
    assert "ready: version" in daemon.log() and ", plane tun," in daemon.log()
    assert plane_of(daemon) == "tun" and programs(lab) == []
    reaches_server(lab)
    assert daemon.stop() == 0
    daemon.command("down")
    unchanged(lab, before)


def test_auto_takes_the_ebpf_plane_where_it_can(lab):
    daemon = start(lab, settings(AUTO))
    assert plane_of(daemon) == "bpf" and ", plane bpf," in daemon.log()
    assert programs(lab) == ["lan0", "wan0"]


def test_where_no_bpffs_can_be_mounted(lab):
    """Packets are translated, and nothing outlives the daemon."""
    lab.gateway.shell("mkdir /run/full\ntouch /run/full/file\n")
    before = snapshot(lab.gateway)
    daemon = start(lab, settings({**BPF, "pins": "/run/full"}))
    assert "warning: sessions will not outlive this run" in daemon.log() and "/run/full" in daemon.log()
    reaches_server(lab)
    daemon.kill()
    wait_until(lambda: not difference(before, snapshot(lab.gateway)), "the keeper to undo all")
    assert not continued(start(lab, settings({**BPF, "pins": "/run/full"})))


def test_pins_that_others_may_change(lab):
    lab.gateway.shell("mkdir /run/shared\nmount -t bpf bpf /run/shared\n"
                      "mkdir -m 777 /run/shared/pins\nchown 65534 /run/shared/pins\n")
    daemon = start(lab, settings({**BPF, "pins": "/run/shared/pins"}))
    assert "others than root may change what is in /run/shared/pins" in daemon.log()
    reaches_server(lab)
    assert daemon.stop() == 0


def test_pins_of_another_version(lab):
    """As one finds them whose table has another layout: maps of that name, but of another kind."""
    before = snapshot(lab.gateway)
    daemon = start(lab, settings(BPF))
    reaches_server(lab)
    assert daemon.stop() == 0
    lab.gateway.shell(f"cd {PINS}/current\nrm records\nmv header records\n")
    daemon = start(lab, settings(BPF))
    assert "a new one is made" in daemon.log() and not continued(daemon)
    reaches_server(lab)
    assert daemon.stop() == 0
    daemon = start(lab, settings(BPF))
    assert continued(daemon) == 1, daemon.log()
    assert daemon.stop() == 0
    daemon.command("down")
    unchanged(lab, before)


# --- other programs ------------------------------------------------------------------------------------

@pytest.mark.parametrize("plane", ["bpf", "auto"])
def test_a_second_daemon(lab, plane):
    first = start(lab, settings(BPF))
    reaches_server(lab)
    path = configure(lab, second({"type": plane}), "second.yaml")
    between = snapshot(lab.gateway)
    if plane == "bpf":
        message = refused(lab, path)
        assert "another isthmus, isthmus0" in message and "plane.interfaces" in message
        assert not difference(between, snapshot(lab.gateway))
    else:
        other = nat64.Daemon(lab, path).launch()
        wait_until(lambda: "ready:" in other.log(), "the second daemon", seconds=10)
        assert "the plane is TUN" in other.log() and "another isthmus, isthmus0" in other.log()
        lab.client.run(["ping", "-c", "1", "-W", "2", "2001:db8:65::cb00:7102"], check=False)
        assert other.stop() == 0
        lab.gateway.run([nat64.binary(), "down", "isthmus1"])
    assert programs(lab) == ["lan0", "wan0"]
    reads = counter(first, "tun-reads")
    reaches_server(lab, 10)
    assert counter(first, "tun-reads") - reads < 5


def test_two_daemons_with_interfaces_of_their_own(lab):
    lab.add_neighbour()
    before = snapshot(lab.gateway)
    first = start(lab, settings({**BPF, "interfaces": ["lan0", "wan0"]}))
    other = nat64.Daemon(lab, configure(lab, second({**BPF, "interfaces": ["lan1"]}), "second.yaml")).launch()
    wait_until(lambda: "ready:" in other.log(), "the second daemon", seconds=20)
    assert programs(lab) == ["lan0", "lan1", "wan0"]
    assert other.stop() == 0
    lab.gateway.run([nat64.binary(), "down", "isthmus1"])
    assert programs(lab) == ["lan0", "wan0"]
    reaches_server(lab)
    assert first.stop() == 0
    first.command("down")
    unchanged(lab, before)


def test_a_filter_beside_ours_stays(lab):
    lab.gateway.shell("tc qdisc add dev lan0 clsact\n"
                      f"tc filter add dev lan0 ingress preference 10 {OTHERS}\n"
                      f"tc filter add dev lan0 ingress preference 10000 {OTHERS}\n")
    before = snapshot(lab.gateway)
    daemon = start(lab, settings(BPF))
    assert programs(lab) == ["lan0", "wan0"]
    reads = counter(daemon, "tun-reads")
    reaches_server(lab, 10)
    assert counter(daemon, "tun-reads") - reads < 5
    assert daemon.stop() == 0
    daemon.command("down")
    filters = [line for line in difference(before, snapshot(lab.gateway)) if "used" not in line]
    assert not filters, "\n".join(filters)


def test_a_filter_in_our_place(lab):
    lab.gateway.shell("tc qdisc add dev lan0 clsact\n"
                      f"tc filter add dev lan0 ingress preference {PREFERENCE} {OTHERS}\n")
    message = refused(lab, configure(lab, settings(BPF)))
    assert "another program's filter" in message and "lan0" in message and "plane.interfaces" in message
    before = snapshot(lab.gateway)
    daemon = start(lab, settings(AUTO))
    assert "the plane is TUN" in daemon.log() and plane_of(daemon) == "tun"
    reaches_server(lab)
    assert daemon.stop() == 0
    daemon.command("down")
    unchanged(lab, before)


# --- interfaces that change ----------------------------------------------------------------------------

def test_an_interface_that_goes_away_and_comes_back(lab):
    daemon = start(lab, settings(BPF))
    reaches_server(lab)
    lab.gateway.shell("ip link delete lan0\n")
    wait_until(lambda: daemon.show("status")[0]["interfaces"] == ["wan0"], "the daemon to see it gone")
    link(lab.client, "eth0", lab.gateway, "lan0")
    lab.gateway.shell("ip address add 2001:db8:1::1/64 dev lan0 nodad\nip link set lan0 up\n")
    lab.client.shell("ip address add 2001:db8:1::2/64 dev eth0 nodad\nip link set eth0 up\n"
                     "ip route add default via 2001:db8:1::1\n")
    wait_until(lambda: programs(lab) == ["lan0", "wan0"], "its program")
    wait_until(lambda: "lan0" in daemon.show("status")[0]["interfaces"], "the daemon to see it")
    reads = counter(daemon, "tun-reads")
    reaches_server(lab, 20)
    assert counter(daemon, "tun-reads") - reads < 5


def test_interfaces_of_a_reload(lab):
    before = snapshot(lab.gateway)
    daemon = start(lab, settings(BPF))
    configure(lab, settings({**BPF, "interfaces": ["wan0"]}))
    daemon.command("reload")
    wait_until(lambda: programs(lab) == ["wan0"], "the program to leave lan0")
    reaches_server(lab, 10)  # on the way into the device
    configure(lab, settings({**BPF, "interfaces": ["wan0", "lan0", "none0"]}))
    daemon.command("reload")
    wait_until(lambda: programs(lab) == ["lan0", "wan0"], "its return")
    assert "there is no interface none0 yet" in daemon.log()
    reads = counter(daemon, "tun-reads")
    reaches_server(lab, 10)
    assert counter(daemon, "tun-reads") - reads < 5
    assert daemon.stop() == 0
    daemon.command("down")
    unchanged(lab, before)


def test_another_way_out_by_reload(lab):
    """The kernel's firewall sees what goes its own way, and nothing of what goes straight out."""
    lab.gateway.shell("nft add table ip lab\n"
                      "nft add chain ip lab forwarded '{ type filter hook forward priority 0; }'\n"
                      "nft add rule ip lab forwarded ip daddr 203.0.113.2 counter drop\n")
    daemon = start(lab, settings(BPF))
    reaches_server(lab)
    configure(lab, settings({**BPF, "forward": "stack"}))
    daemon.command("reload")
    ping = ["ping", "-c", "2", "-i", "0.1", "-W", "1", nat64.SERVER_MAPPED]
    assert lab.client.run(ping, check=False).returncode == 1
    configure(lab, settings(BPF))
    daemon.command("reload")
    reaches_server(lab)


@pytest.mark.parametrize("way", ["stop", "kill"])
def test_lists_of_packets_are_made_again_afterwards(lab, way):
    lab.gateway.shell("ethtool -K lan0 rx-gro-list on\n")
    assert merges_lists(lab, "lan0") and not merges_lists(lab, "wan0")
    before = snapshot(lab.gateway)
    daemon = start(lab, settings(BPF))
    assert "set rx-gro-list of lan0 to off (was on)" in daemon.log()
    assert not merges_lists(lab, "lan0")
    if way == "stop":
        assert daemon.stop() == 0
        assert merges_lists(lab, "lan0")
    else:
        daemon.kill_all()
        assert not merges_lists(lab, "lan0")  # the program is still there
    daemon.command("down")
    unchanged(lab, before)


# --- kills in the middle -------------------------------------------------------------------------------

@pytest.mark.parametrize("stay", [False, True], ids=["", "--stay"])
def test_killed_at_any_time_of_the_start(lab, stay):
    """Whatever it has got to, `down` takes it back; and an earlier run's sessions flow on or are taken over."""
    before = snapshot(lab.gateway)
    for tenths in (1, 4, 8, 12, 16, 20, 26, 32):
        daemon = nat64.Daemon(lab, configure(lab, settings(BPF)), ["--stay"] if stay else []).launch()
        time.sleep(tenths / 10)
        if daemon.process.poll() is None:
            daemon.kill_all()
    wait_until(lambda: lab.gateway.run([nat64.binary(), "down"], check=False).returncode == 0, "the lock")
    unchanged(lab, before)


def test_a_start_that_fails_gives_the_earlier_programs_back(lab):
    """They were paused; translating goes on without a daemon, as before."""
    daemon = start(lab, settings(BPF), "--stay")
    reaches_server(lab)
    assert daemon.stop() == 0
    reaches_server(lab)
    broken = {**settings(BPF), "control": {"socket": "/proc/nowhere/socket"}}
    failing = nat64.Daemon(lab, configure(lab, broken), ["--stay"]).launch()
    assert failing.process.wait(15) == 1 and "control socket" in failing.log(), failing.log()
    assert "the pinned session table is used as it is" in failing.log()
    time.sleep(3.5)
    reaches_server(lab)
    daemon = start(lab, settings(BPF))
    assert continued(daemon) >= 2, daemon.log()
