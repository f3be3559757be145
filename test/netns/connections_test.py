# SPDX-License-Identifier: BSD-2-Clause
"""Thousands of connections at once, and a table that is too small for them."""
from subprocess import PIPE

import nat64
from conftest import CONNECTIONS, PYTHON, counter, settings, start
from namespace import wait_until

COUNT = 5000


def serve(lab, port=7000):
    lab.server.start([PYTHON, CONNECTIONS, "serve", nat64.SERVER, str(port)])
    wait_until(lambda: lab.server.run(["ss", "-Hltn", "sport", "=", f":{port}"]).stdout, "the echo server")


def test_five_thousand_connections(lab, daemon):
    serve(lab)
    client = lab.client.start([PYTHON, CONNECTIONS, "open", nat64.SERVER_MAPPED, "7000", str(COUNT)],
                              stdin=PIPE, stdout=PIPE, text=True)
    assert client.stdout.readline() == f"open {COUNT}\n"
    sessions = daemon.show("sessions")
    assert sum(session["protocol"] == "tcp" for session in sessions) >= COUNT
    assert daemon.show("status")[0]["sessions"] >= COUNT
    assert len(daemon.show("bindings")) >= COUNT
    client.stdin.write("again\n")
    client.stdin.flush()
    assert client.stdout.readline() == f"echoed {COUNT}\n"
    client.stdin.close()
    assert client.wait(30) == 0


def test_one_subscriber_keeps_one_pool_address(lab, daemon):
    serve(lab)
    client = lab.client.start([PYTHON, CONNECTIONS, "open", nat64.SERVER_MAPPED, "7000", "300"],
                              stdin=PIPE, stdout=PIPE, text=True)
    assert client.stdout.readline() == "open 300\n"
    peers = lab.server.run(["ss", "-Htn", "state", "established", "sport", "=", ":7000"]).stdout
    addresses = {line.split()[3].rsplit(":", 1)[0] for line in peers.splitlines()}
    assert len(addresses) == 1
    client.stdin.close()
    assert client.wait(10) == 0


def test_full_table_refuses_and_says_so(lab):
    daemon = start(lab, settings(limits={"sessions": 100}))
    serve(lab)
    client = lab.client.start([PYTHON, CONNECTIONS, "open", nat64.SERVER_MAPPED, "7000", "200"],
                              stdout=PIPE, stderr=PIPE, text=True)
    refused = wait_until(lambda: counter(daemon, "table-full"), "a refusal", seconds=10)
    assert refused > 0
    assert daemon.show("status")[0]["sessions"] <= 100
    assert client.wait(40) != 0


def test_exhausted_ports_refuse_and_say_so(lab):
    pool = [{"address": "192.0.2.16/32", "ports": "2000-2049"}]
    daemon = start(lab, settings(pool=pool))
    serve(lab)
    client = lab.client.start([PYTHON, CONNECTIONS, "open", nat64.SERVER_MAPPED, "7000", "100"],
                              stdout=PIPE, stderr=PIPE, text=True)
    wait_until(lambda: counter(daemon, "ports-exhausted"), "a refusal", seconds=10)
    ports = {int(row["pool"].split(":")[1]) for row in daemon.show("bindings")}
    assert len(ports) == 50 and min(ports) >= 2000 and max(ports) <= 2049
    assert client.wait(40) != 0
