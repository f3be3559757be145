# SPDX-License-Identifier: BSD-2-Clause
"""Reload: whole or not at all, and nobody's connection notices."""
from subprocess import DEVNULL, PIPE

import nat64
from conftest import CONNECTIONS, PYTHON, configure, settings, start
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
    for change in ({"prefix": "2001:db8:65::/96"}, {"pool": [{"address": "192.0.2.16/29"}]},
                   {"limits": {"sessions": 1000}}):
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
