# SPDX-License-Identifier: BSD-2-Clause
"""Reload: whole or not at all, and nobody's connection notices."""
import json
from subprocess import DEVNULL, PIPE

import nat64
from conftest import CONNECTIONS, PLANE, PYTHON, configure, settings, start
from namespace import wait_until

STATIC = [{"protocol": "tcp", "ipv6": f"[{nat64.CLIENT}]:8080", "ipv4": "192.0.2.17:80"}]


def load(lab, count):
    """`count` open connections and eight streams of bulk data; both ends report at the end."""
    lab.server.start([PYTHON, CONNECTIONS, "serve", nat64.SERVER, "7000"])
    wait_until(lambda: lab.server.run(["ss", "-Hltn", "sport", "=", ":7000"]).stdout, "the echo server")
    lab.start_iperf()
    holder = lab.client.start([PYTHON, CONNECTIONS, "open", nat64.SERVER_MAPPED, "7000", str(count)],
                              stdin=PIPE, stdout=PIPE, text=True)
    assert holder.stdout.readline() == f"open {count}\n"
    bulk = lab.client.start(["iperf3", "-c", nat64.SERVER_MAPPED, "-t", "4", "-P", "8", "--bidir"],
                            stdout=DEVNULL, stderr=PIPE, text=True)
    return holder, bulk


def echo(holder, count):
    holder.stdin.write("again\n")
    holder.stdin.flush()
    assert holder.stdout.readline() == f"echoed {count}\n"


def test_reload_under_load_loses_no_connection(lab):
    daemon = start(lab, settings())
    holder, bulk = load(lab, 1000)
    for number in range(10):
        configuration = settings(static=STATIC if number % 2 else [],
                                 timeouts={"udp": f"{2 + number}m", "tcp-established": "3h"})
        configuration["translation"] = {"mss-clamp": bool(number % 2), "tos": number}
        configure(lab, configuration)
        daemon.command("reload")
        echo(holder, 1000)
    assert bulk.wait(20) == 0, bulk.stderr.read()
    assert len([row for row in daemon.show("bindings") if row["static"]]) == 1
    holder.stdin.close()
    assert holder.wait(10) == 0


def test_static_binding_comes_and_goes(lab):
    lab.write("hello", "hello\n")
    lab.client.start([PYTHON, "-m", "http.server", "-d", lab.directory, "-b", "::", "8080"],
                     stdout=DEVNULL, stderr=DEVNULL)
    daemon = start(lab, settings())
    fetch = ["curl", "-sS", "--max-time", "2", "http://192.0.2.17/hello"]
    assert lab.server.run(fetch, check=False).returncode != 0
    configure(lab, settings(static=STATIC))
    daemon.command("reload")
    wait_until(lambda: lab.server.run(fetch, check=False).stdout == "hello\n", "the page")
    configure(lab, settings())
    daemon.command("reload")
    assert lab.server.run(fetch, check=False).returncode != 0


def refused(daemon, word):
    done = daemon.command("reload", check=False)
    assert done.returncode == 1
    assert word in done.stdout + done.stderr


def test_what_needs_a_restart_is_refused_whole(lab):
    daemon = start(lab, settings())
    for change in ({"limits": {"addresses": 65}}, {"limits": {"sessions": 300000}}, {"counters": True}):
        configure(lab, settings(static=STATIC, **change))
        refused(daemon, "needs restart")
    configure(lab, settings(static=STATIC, plane={"workers": 1, "mtu": {"ipv6": 1400, "ipv4": 1380}}))
    refused(daemon, "needs restart")
    # Refused as a whole: the static binding of the same file did not slip in.
    assert not [row for row in daemon.show("bindings") if row["static"]]
    lab.client.run(["ping", "-c", "1", "-W", "2", nat64.SERVER_MAPPED])


def test_broken_file_is_refused_and_the_old_stays(lab):
    daemon = start(lab, settings(static=STATIC))
    path = lab.write("isthmus.yaml", "nat64:\n  - {name: main, prefix: 2001:db8::/33}\n")
    refused(daemon, f"{path}:2:")
    lab.client.run(["ping", "-c", "1", "-W", "2", nat64.SERVER_MAPPED])
    assert [row for row in daemon.show("bindings") if row["static"]]


def test_changed_timeout_takes_effect(lab):
    daemon = start(lab, settings())
    lab.client.run(["ping", "-c", "1", nat64.SERVER_MAPPED])
    before = [row["expires_in"] for row in daemon.show("sessions") if row["protocol"] == "icmp"]
    assert 50 < before[0] <= 61
    configure(lab, settings(timeouts={"icmp": "3m"}))
    daemon.command("reload")
    lab.client.run(["ping", "-c", "1", nat64.SERVER_MAPPED])
    after = [row["expires_in"] for row in daemon.show("sessions") if row["protocol"] == "icmp"]
    assert max(after) > 120


# The table has the size of the limits at start: a fraction of the defaults, with which the tests begin, leaves
# room for more entries.
PART = {"sessions": 1000, "addresses": 16}
OTHER = {"name": "other", "prefix": "2001:db8:65::/96", "pool": [{"address": "192.0.2.18"}], "limits": PART}
OTHER_MAPPED = "2001:db8:65::cb00:7102"
SIIT = {"name": "dc", "prefix": "2001:db8:66::/96",
        "eam": [{"ipv4": "192.0.2.29", "ipv6": nat64.CLIENT}]}


def network(*instances, siit=()):
    """A configuration of these nat64 and siit entries."""
    return {"plane": {"type": PLANE}, "nat64": list(instances), "siit": list(siit)}


def entry(*pool, **keys):
    """The entry `main` with these pool addresses."""
    instance = settings(**{"limits": PART, **keys})["nat64"][0]
    instance["pool"] = [one if isinstance(one, dict) else {"address": one} for one in pool]
    return instance


def reload(lab, daemon, configuration):
    configure(lab, configuration)
    return json.loads(daemon.command("reload", "--json").stdout)


def connect(lab, port, address=nat64.SERVER_MAPPED):
    """A connection that says something only when told to, as of somebody who is away from a terminal."""
    lab.server.start([PYTHON, CONNECTIONS, "serve", nat64.SERVER, str(port)])
    wait_until(lambda: lab.server.run(["ss", "-Hltn", "sport", "=", f":{port}"]).stdout, "the echo server")
    holder = lab.client.start([PYTHON, CONNECTIONS, "open", address, str(port), "1"],
                              stdin=PIPE, stdout=PIPE, stderr=DEVNULL, text=True)
    assert holder.stdout.readline() == "open 1\n"
    return holder


def reaches(machine, address):
    return machine.run(["ping", "-c", "1", "-W", "1", address], check=False).returncode == 0


def devices_routes(lab):
    return sorted(line.split()[0] for family in ("-4", "-6") for line in
                  lab.gateway.run(["ip", family, "route", "show", "dev", "isthmus0"]).stdout.splitlines())


def test_an_idle_connection_does_not_notice(lab):
    daemon = start(lab, network(entry("192.0.2.17", limits={}), OTHER))
    holder = connect(lab, 7000)
    for configuration in (network(entry("192.0.2.16", "192.0.2.17"), OTHER),
                          network({**OTHER, "prefix": "2001:db8:67::/96"}, entry("192.0.2.17")),
                          network(entry("192.0.2.17", limits={**PART, "sessions": 64, "subscriber-prefix": 56})),
                          network(entry({"address": "192.0.2.17", "protocols": ["tcp"]}), siit=[SIIT]),
                          network(entry("192.0.2.17", name="renamed", filtering="address-dependent"), OTHER)):
        assert reload(lab, daemon, configuration)["reloaded"]
        echo(holder, 1)
    assert daemon.show("sessions")[0]["instance"] == "renamed"


def test_a_connection_ends_with_its_address(lab):
    daemon = start(lab, network(entry("192.0.2.17")))
    holder = connect(lab, 7000)
    answer = reload(lab, daemon, network(entry("192.0.2.18")))
    assert answer["changed"] == ["nat64[0].pool"]
    assert [answer[f"ended_by_{what}"] for what in ("prefix", "address", "port")] == [0, 1, 0]
    assert not daemon.show("sessions")
    assert "1 session ended, since their pool address is no longer in the pool" in daemon.log()
    assert devices_routes(lab) == ["192.0.2.18", "2001:db8:64::/96"]
    connect(lab, 7001)
    assert [row["pool"].split(":")[0] for row in daemon.show("sessions")] == ["192.0.2.18"]
    holder.kill()
    configure(lab, network(entry("192.0.2.17")))
    assert "changed: nat64[0].pool\n1 session ended, since" in daemon.command("reload").stdout
    assert "nothing changed" in daemon.command("reload").stdout


def test_a_prefix_is_exchanged(lab):
    daemon = start(lab, network(entry("192.0.2.17", limits={}), OTHER))
    assert reaches(lab.client, nat64.SERVER_MAPPED) and reaches(lab.client, OTHER_MAPPED)
    answer = reload(lab, daemon, network(entry("192.0.2.17", prefix="2001:db8:68::/96"), OTHER))
    assert answer["ended_by_prefix"] == 1
    assert not reaches(lab.client, nat64.SERVER_MAPPED)
    assert reaches(lab.client, "2001:db8:68::cb00:7102") and reaches(lab.client, OTHER_MAPPED)
    assert devices_routes(lab) == ["192.0.2.17", "192.0.2.18", "2001:db8:65::/96", "2001:db8:68::/96"]


def test_instances_are_reachable_at_once(lab):
    before = nat64.snapshot(lab.gateway)
    daemon = start(lab, network(entry("192.0.2.17", limits={})))
    reload(lab, daemon, network(OTHER, entry("192.0.2.17"), siit=[SIIT]))
    assert reaches(lab.client, OTHER_MAPPED) and reaches(lab.client, nat64.SERVER_MAPPED)
    assert reaches(lab.client, "2001:db8:66::cb00:7102") and reaches(lab.server, "192.0.2.29")
    more = {**SIIT, "eam": SIIT["eam"] + [{"ipv4": "192.0.2.28", "ipv6": "2001:db8:1::1"}]}
    reload(lab, daemon, network(OTHER, siit=[more]))
    assert reaches(lab.server, "192.0.2.28") and not reaches(lab.client, nat64.SERVER_MAPPED)
    assert reaches(lab.client, OTHER_MAPPED)
    reload(lab, daemon, network(OTHER))
    assert not reaches(lab.server, "192.0.2.29")
    assert devices_routes(lab) == ["192.0.2.18", "2001:db8:65::/96"]
    daemon.stop()
    daemon.command("down")
    assert nat64.difference(before, nat64.snapshot(lab.gateway)) == []


def test_down_undoes_what_reloads_did(lab):
    before = nat64.snapshot(lab.gateway)
    daemon = start(lab, network(entry("192.0.2.17", limits={})), "--stay")
    reload(lab, daemon, network(OTHER, siit=[SIIT]))
    daemon.kill_all()
    log = daemon.command("down").stderr
    assert "removed the route to 2001:db8:65::/96" in log and "removed the route to 192.0.2.29/32" in log
    assert "2001:db8:64::/96" not in log
    assert nat64.difference(before, nat64.snapshot(lab.gateway)) == []


def test_proxy_entries_follow(lab):
    lab.server.shell("ip route del 192.0.2.16/28 via 203.0.113.1")
    daemon = start(lab, network(entry("203.0.113.17")))

    def proxies():
        text = lab.gateway.run(["ip", "neighbour", "show", "proxy", "dev", "wan0"]).stdout
        return sorted(line.split()[0] for line in text.splitlines())
    assert proxies() == ["203.0.113.17"] and reaches(lab.client, nat64.SERVER_MAPPED)
    reload(lab, daemon, network(entry("203.0.113.17", "203.0.113.20/30")))
    assert proxies() == ["203.0.113.17"] + [f"203.0.113.{20 + i}" for i in range(4)]
    reload(lab, daemon, network(entry("203.0.113.22")))
    assert proxies() == ["203.0.113.22"] and reaches(lab.client, nat64.SERVER_MAPPED)
    configure(lab, network(entry("203.0.113.1")))
    refused(daemon, "this machine's own address")
    assert proxies() == ["203.0.113.22"] and reaches(lab.client, nat64.SERVER_MAPPED)


def test_a_route_of_somebody_else_refuses_it_whole(lab):
    daemon = start(lab, network(entry("192.0.2.17", limits={})))
    lab.gateway.run(["ip", "route", "add", "192.0.2.19", "via", "203.0.113.2"])
    holder = connect(lab, 7000)
    configure(lab, network(entry("192.0.2.18", "192.0.2.19")))
    refused(daemon, "there is a route to 192.0.2.19/32 already")
    assert devices_routes(lab) == ["192.0.2.17", "2001:db8:64::/96"]
    echo(holder, 1)
    configure(lab, network(entry("192.0.2.17")))
    daemon.command("reload")
    echo(holder, 1)


def test_a_restart_after_reloads_keeps_the_sessions(lab):
    daemon = start(lab, network(entry("192.0.2.17", limits={})))
    reload(lab, daemon, network(OTHER, entry("192.0.2.17")))
    reload(lab, daemon, network(OTHER, entry("192.0.2.16", "192.0.2.17", "192.0.2.20/30")))
    holder, other = connect(lab, 7000), connect(lab, 7001, OTHER_MAPPED)
    daemon.stop()
    daemon.start()
    echo(holder, 1)
    echo(other, 1)
    assert len(daemon.show("sessions")) == 2


UDP_ECHO = """
import socket
echo = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
echo.bind(("203.0.113.2", 7007))
while True:
    data, peer = echo.recvfrom(64)
    echo.sendto(data, peer)
"""

UDP_STREAM = """
import select, socket, sys, time
stream = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
stream.connect((sys.argv[1], 7007))
sent = echoed = 0
end = None
while end is None or time.monotonic() < end:
    if end is None:
        stream.send(b"%d" % sent)
        sent += 1
        if select.select([sys.stdin], [], [], 0)[0]:
            end = time.monotonic() + 1
    while select.select([stream], [], [], 0.002)[0]:
        stream.recv(64)
        echoed += 1
print(sent, echoed)
"""


def test_a_stream_loses_nothing_in_twenty_reloads(lab):
    daemon = start(lab, network(entry("192.0.2.17", limits={})))
    lab.server.start([PYTHON, "-c", UDP_ECHO])
    wait_until(lambda: lab.server.run(["ss", "-Hlun", "sport", "=", ":7007"]).stdout, "the echo")
    stream = lab.client.start([PYTHON, "-c", UDP_STREAM, nat64.SERVER_MAPPED], stdin=PIPE, stdout=PIPE,
                              text=True)
    wait_until(lambda: daemon.show("sessions"), "the stream")
    kept = {"address": "192.0.2.17"}
    for number in range(20):
        reload(lab, daemon, (network(OTHER, entry(kept, "192.0.2.20")),
                             network(entry(kept, limits={**PART, "sessions-per-subscriber": 9}), siit=[SIIT]),
                             network(entry("192.0.2.16", kept), {**OTHER, "prefix": "2001:db8:6a::/96"}),
                             network(entry({**kept, "protocols": ["udp"]})))[number % 4])
    stream.stdin.write("\n")
    stream.stdin.close()
    sent, echoed = map(int, stream.stdout.readline().split())
    assert sent > 100 and echoed == sent  # several a reload, however fast those are
    assert stream.wait(5) == 0
