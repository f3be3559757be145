# SPDX-License-Identifier: BSD-2-Clause
"""Starting, stopping, being killed: what was changed comes back, and nothing else is touched."""
import fcntl
import os
import signal
import time
from subprocess import DEVNULL

import nat64
import pytest
from conftest import configure, settings, start
from nat64 import difference, snapshot
from namespace import wait_until


TABLE = ["+ /run/isthmus", "+ /run/isthmus/isthmus0", "+ /run/isthmus/isthmus0/table"]


def unchanged(lab, before):
    """Nothing is left, not even sessions."""
    changes = difference(before, snapshot(lab.gateway))
    assert not changes, "\n".join(changes)


def only_sessions_stay(lab, before):
    changes = difference(before, snapshot(lab.gateway))
    assert changes == TABLE, "\n".join(changes)


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
    only_sessions_stay(lab, before)


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
    only_sessions_stay(lab, before)


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
    only_sessions_stay(lab, before)


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
    wait_until(lambda: difference(before, snapshot(lab.gateway)) == TABLE, "all but the sessions to be as before")


def test_run_works_after_kill(lab):
    before = snapshot(lab.gateway)
    configuration = settings()
    start(lab, configuration).kill_all()
    daemon = start(lab, configuration)
    reaches_server(lab)
    assert daemon.stop() == 0
    # The second run knew what the first had found.
    only_sessions_stay(lab, before)


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
    only_sessions_stay(lab, before)


def test_fresh(lab):
    before = snapshot(lab.gateway)
    configuration = settings()
    start(lab, configuration).kill_all()
    daemon = start(lab, configuration, "--fresh")
    reaches_server(lab)
    assert daemon.stop() == 0
    only_sessions_stay(lab, before)


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


def test_nothing_to_write_with_is_kept(lab, daemon):
    """Who takes the daemon over has no file open that root trusts."""
    directory = f"/proc/{daemon.process.pid}/fd"
    names = [os.readlink(os.path.join(directory, fd)) for fd in os.listdir(directory)]
    assert not [name for name in names if name.startswith("/run/isthmus/isthmus0")], names
    assert os.readlink(directory + "/0") == "/dev/null"
    second = nat64.Daemon(lab, daemon.config).launch()
    assert second.process.wait(10) == 1 and "process" in second.log()  # the lock is still held
    modes = lab.gateway.run(["stat", "-c", "%a", "/run/isthmus", "/run/isthmus/isthmus0", "/run/isthmus/isthmus0/lock"])
    assert modes.stdout.split() == ["755", "700", "600"]


def ended(daemon, word):
    """It ended by itself, with status 1 and a reason."""
    assert daemon.process.wait(10) == 1
    assert word in daemon.log(), daemon.log()


@pytest.mark.parametrize("command, words", [("ip link set isthmus0 down", ["brought down"]),
                                            # Whose first event is the same; it depends on when it is looked at.
                                            ("ip link del isthmus0", ["removed", "brought down"])])
def test_device_that_is_taken_away(lab, command, words):
    before = snapshot(lab.gateway)
    daemon = start(lab, settings())
    lab.gateway.shell(command + "\n")
    ended(daemon, "error: the device isthmus0 was ")
    assert any(f"was {word}; stopping" in daemon.log() for word in words)
    only_sessions_stay(lab, before)


def test_keeper_that_is_killed(lab):
    before = snapshot(lab.gateway)
    daemon = start(lab, settings())
    keeper, = daemon.keepers()
    os.kill(keeper, signal.SIGKILL)
    ended(daemon, "isthmus down")
    daemon.command("down")
    unchanged(lab, before)


def test_keeper_that_is_stopped_does_not_hold_the_daemon(lab, daemon):
    keeper, = daemon.keepers()
    os.kill(keeper, signal.SIGSTOP)
    try:
        done = daemon.command("reload", check=False)
        assert done.returncode == 1 and "keeper" in done.stderr, done.stderr
        assert daemon.show("status")
    finally:
        os.kill(keeper, signal.SIGCONT)
    daemon.command("reload")


@pytest.mark.parametrize("arguments", [(), ("--stay",)], ids=["run", "stay"])
@pytest.mark.parametrize("name, make", [("wan0", ""),
                                        ("isthmus0", "ip tuntap add isthmus0 mode tun multi_queue user 1000\n"
                                                     "ip link set isthmus0 mtu 1400\n")],
                         ids=["interface", "persistent-tun"])
def test_device_of_somebody_else_is_left_alone(lab, name, make, arguments):
    lab.gateway.shell(make or "true\n")
    before = snapshot(lab.gateway)
    daemon = nat64.Daemon(lab, configure(lab, settings({"name": name})), arguments).launch()
    ended(daemon, f"ip link delete {name}")
    unchanged(lab, before)


def test_ipv6_that_is_disabled_by_default(lab):
    lab.gateway.shell("echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6\n")
    before = snapshot(lab.gateway)
    daemon = start(lab, settings())
    reaches_server(lab)
    assert daemon.stop() == 0
    only_sessions_stay(lab, before)


def test_forwarding_by_default_comes_back(lab):
    lab.gateway.shell("echo 1 > /proc/sys/net/ipv4/conf/default/forwarding\n"
                      "echo 1 > /proc/sys/net/ipv6/conf/default/forwarding\n")
    before = snapshot(lab.gateway)
    assert start(lab, settings()).stop() == 0
    only_sessions_stay(lab, before)


def test_two_daemons_share_forwarding(lab):
    """The one that found it on goes on when the one that turned it on has ended."""
    first = start(lab, settings(pool=[{"address": "198.51.100.64/28"}], prefix="2001:db8:65::/96"))
    second = nat64.Daemon(lab, configure(lab, {**settings({"name": "isthmus1"}),
                                               "control": {"socket": "/run/isthmus/second.sock"}}, "second.yaml"))
    second.launch()
    wait_until(lambda: "ready: " in second.log(), "the second daemon")
    first.command("down")  # passes over both
    assert first.stop() == 0
    assert "another isthmus runs" in first.log()
    reaches_server(lab)
    assert second.stop() == 0


def test_proxy_entries_outlive_an_interface_that_goes_down(lab):
    daemon = start(lab, settings(pool=[{"address": "203.0.113.32/30"}]))
    proxies = ["ip", "neighbour", "show", "proxy", "dev", "wan0"]
    before = sorted(lab.gateway.run(proxies).stdout.splitlines())
    assert len(before) == 4
    lab.gateway.shell("ip link set wan0 down\n")
    assert lab.gateway.run(proxies).stdout == ""
    lab.gateway.shell("ip link set wan0 up\n")
    wait_until(lambda: sorted(lab.gateway.run(proxies).stdout.splitlines()) == before, "the proxy entries")
    wait_until(lambda: "answering ARP again for 4" in daemon.log(), "the log to say so")
    assert daemon.stop() == 0
    assert lab.gateway.run(proxies).stdout == ""


def test_log_that_nobody_reads(lab):
    """A full pipe for standard error stops neither the daemon nor its end."""
    config = configure(lab, settings())
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    daemon = nat64.Daemon(lab, config)
    daemon.process = lab.gateway.start([daemon.program, "run", "-c", config], stdout=writer, stderr=writer)
    os.close(writer)
    wait_until(lambda: daemon.command("show", "status", check=False).returncode == 0, "the daemon")
    for _ in range(100):
        daemon.command("reload")
    assert daemon.stop() == 0
    os.close(reader)


def test_strange_mask_for_files(lab):
    """Members of control.group can reach the socket, whatever the mask of the shell."""
    daemon = nat64.Daemon(lab, configure(lab, settings()))
    daemon.process = lab.gateway.start(["sh", "-c", f"umask 077; exec {daemon.program} run -c {daemon.config}"])
    wait_until(lambda: daemon.command("show", "status", check=False).returncode == 0, "the daemon")
    assert lab.gateway.run(["stat", "-c", "%a", "/run/isthmus"]).stdout == "755\n"
    assert daemon.stop() == 0


def test_device_name_with_two_dots(lab):
    daemon = start(lab, settings({"name": "a..b"}))
    assert "warning: cannot" not in daemon.log(), daemon.log()
    reaches_server(lab)
    assert daemon.stop() == 0


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
