# SPDX-License-Identifier: BSD-2-Clause
"""`isthmus show`: tables for a person, JSON for a program, both from the same daemon."""
import ipaddress
import json
import re

import nat64
import pytest
from conftest import PLANE, configure, counter, settings, start
from namespace import wait_until

STATIC = [{"protocol": "tcp", "ipv6": f"[{nat64.CLIENT}]:8080", "ipv4": "192.0.2.17:80"}]


@pytest.fixture
def busy(lab):
    """A daemon with a static binding, a TCP connection that stays, and a ping behind it."""
    daemon = start(lab, settings(static=STATIC))
    lab.start_web(size=20_000_000)
    lab.client.run(["ping", "-c", "1", nat64.SERVER_MAPPED])
    lab.client.start(["curl", "-6", "-sS", "--limit-rate", "1M", "-o", "/dev/null", nat64.URL + "/file"])
    wait_until(lambda: lab.client.run(["ss", "-Htn", "state", "established"]).stdout, "a connection")
    return daemon


def test_status(busy):
    status, = busy.show("status")
    assert status["ready"] is True
    assert status["plane"] == PLANE
    assert re.match(r"\d+\.\d+", status["version"])
    assert 0 <= status["uptime_seconds"] < 60
    assert status["sessions"] == len(busy.show("sessions")) == 2


def test_sessions_name_both_sides(lab, busy):
    tcp, = (row for row in busy.show("sessions") if row["protocol"] == "tcp")
    # The same addresses and ports as the two ends themselves see.
    client = lab.client.run(["ss", "-Htn", "state", "established"]).stdout.split()
    assert (tcp["client"], tcp["remote6"]) == tuple(client[2:4])
    server = lab.server.run(["ss", "-Htn", "state", "established"]).stdout.split()
    assert (tcp["remote"], tcp["pool"]) == tuple(server[2:4])
    assert ipaddress.ip_address(tcp["pool"].split(":")[0]) in ipaddress.ip_network(nat64.POOL)
    assert tcp["remote"] == f"{nat64.SERVER}:80"
    assert tcp["state"] == "established"
    assert 7000 < tcp["expires_in"] <= 7441


def test_bindings(busy):
    rows = busy.show("bindings")
    static, = (row for row in rows if row["static"])
    assert (static["protocol"], static["client"], static["pool"]) \
        == ("tcp", f"[{nat64.CLIENT}]:8080", "192.0.2.17:80")
    dynamic = [row for row in rows if not row["static"]]
    assert {row["protocol"] for row in dynamic} == {"tcp", "icmp"}
    assert all(row["client"].startswith(f"[{nat64.CLIENT}]:") for row in dynamic)
    assert [row["sessions"] for row in dynamic] == [1, 1]


def test_counters(lab, busy):
    before = counter(busy, "translated-6to4")
    lab.client.run(["ping", "-c", "10", "-i", "0.01", nat64.SERVER_MAPPED])
    assert counter(busy, "translated-6to4") >= before + 10
    assert counter(busy, "translated-4to6") >= 10
    names = [row["name"] for row in busy.show("counters")]
    assert len(names) == len(set(names)) > 20


def test_counters_say_what_they_count_and_where_that_is_specified(lab, busy):
    """Only what passes between the plane and the engine is specified nowhere."""
    for row in busy.show("counters"):
        assert row["sentence"].endswith("."), row
        assert "clause" not in row or row["clause"].startswith("RFC ") or row["name"] in (
            "bad-offload", "no-room", "no-daemon")
    lab.client.run(["ping", "-c", "1", "-W", "1", nat64.PREFIX.replace("/96", "127.0.0.1")], check=False)
    drop, = (line for line in busy.command("show", "counters").stdout.splitlines() if "bad-destination" in line)
    assert "RFC 6146 3.5" in drop and "is not a host elsewhere" in drop


def test_pools(busy):
    rows = {row["address"]: row for row in busy.show("pools")}
    assert list(rows) == [f"192.0.2.{last}" for last in range(16, 32)]
    assert all(row["tcp_ports"] == 65535 - 1023 for row in rows.values())
    assert sum(row["icmp_used"] for row in rows.values()) == 1
    # The connection and the static binding.
    assert sum(row["tcp_used"] for row in rows.values()) == 2


@pytest.mark.parametrize("what", ["status", "sessions", "bindings", "counters", "pools"])
def test_tables_fit_a_page_and_json_is_one_object_a_line(busy, what):
    table = busy.command("show", what).stdout
    assert table.strip()
    assert all(line == line.rstrip() for line in table.splitlines())
    assert max(map(len, table.splitlines())) <= 160
    for row in busy.show(what):
        assert all(re.fullmatch(r"[a-z0-9_]+", key) for key in row)


COUNTED = ("packets_6to4", "bytes_6to4", "packets_4to6", "bytes_4to6")


def test_traffic_of_a_session_is_counted_where_asked_for(lab):
    daemon = start(lab, settings(counters=True))
    lab.client.run(["ping", "-c", "3", "-i", "0.01", "-s", "100", nat64.SERVER_MAPPED])
    row, = daemon.show("sessions")
    # 100 bytes of data, 8 of ICMP, and the header of the side they came from.
    assert [row[key] for key in COUNTED] == [3, 3 * 148, 3, 3 * 128]
    headings, line = daemon.command("show", "sessions").stdout.splitlines()
    assert headings.endswith("packets 6to4  bytes 6to4  packets 4to6  bytes 4to6")
    assert line.split()[-4:] == ["3", "444", "3", "384"]
    assert max(len(headings), len(line)) <= 160


def test_counting_stops_and_goes_on_with_a_reload(lab):
    daemon = start(lab, settings(counters=True))
    for counting in (False, True):
        configure(lab, settings(counters=counting))
        daemon.command("reload")
        lab.client.run(["ping", "-c", "1", nat64.SERVER_MAPPED])
        assert any("packets_6to4" in row for row in daemon.show("sessions")) == counting


def test_traffic_is_not_counted_otherwise(lab, busy):
    assert not any(key in row for row in busy.show("sessions") for key in COUNTED)
    assert "6to4" not in busy.command("show", "sessions").stdout.splitlines()[0]
    configure(lab, settings(counters=True, static=STATIC))
    refused = busy.command("reload", check=False)
    assert refused.returncode == 1 and "nat64[0].counters: needs restart" in refused.stderr


def test_a_subscriber_beyond_its_limit_is_refused_and_counted(lab):
    daemon = start(lab, settings(limits={"sessions-per-subscriber": 1}))
    ping = ["ping", "-c", "1", "-W", "2", nat64.SERVER_MAPPED]
    lab.client.run(ping)
    assert counter(daemon, "subscriber-full") == 0
    assert "subscriber-full" not in daemon.command("show", "counters").stdout
    assert lab.client.run(ping, check=False).returncode != 0
    assert counter(daemon, "subscriber-full") == 1
    assert re.search(r"^subscriber-full +1 ", daemon.command("show", "counters").stdout, re.MULTILINE)
    configure(lab, settings(limits={"sessions-per-subscriber": 0}))
    daemon.command("reload")
    lab.client.run(ping)
    assert counter(daemon, "subscriber-full") == 1


def test_check_prints_the_memory(lab):
    def memory(**keys):
        path = configure(lab, settings({"name": "nat6"}, **keys))
        lines = lab.gateway.run([nat64.binary(), "check", "-c", path]).stdout.splitlines()
        found = [re.fullmatch(pattern, line) for pattern, line in zip((
            r"# Memory, when everything is in use: ([0-9.]+) MiB, as a file that must fit in /run/isthmus/nat6",
            r"#   1000 sessions(?: with counters)?: ([0-9.]+) MiB, ([0-9]+) bytes each",
            r"#   20 pool addresses: ([0-9.]+) MiB, ([0-9]+) bytes each"), lines)]
        assert all(found), lines[:3]
        assert any(re.match(r"# Memory for path MTUs: up to [0-9.]+ MiB", line) for line in lines)
        assert any(re.match(r"# Memory for captures: about \d+ MiB", line) for line in lines)
        return [float(group) for match in found for group in match.groups()]

    limits = {"sessions": 1000, "addresses": 20}
    total, sessions, each, addresses, each_address = memory(limits=limits)
    assert total == pytest.approx(sessions + addresses, abs=0.11)
    assert sessions == pytest.approx(1000 * each / 2**20, abs=0.06)
    assert addresses == pytest.approx(20 * each_address / 2**20, abs=0.06)
    # 32 bytes for each record, of which there are more than sessions.
    assert memory(limits=limits, counters=True)[2] == pytest.approx(each + 40, abs=8)
    assert memory(limits={**limits, "subscriber-prefix": 56}) == [total, sessions, each, addresses, each_address]


def test_the_socket_answers_http(lab, busy):
    done = lab.gateway.run(["curl", "-sS", "--fail", "--unix-socket", "/run/isthmus/control.sock",
                            "http://localhost/v1/status"])
    assert json.loads(done.stdout)["ready"] is True
    done = lab.gateway.run(["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "--unix-socket",
                            "/run/isthmus/control.sock", "http://localhost/v1/nothing"])
    assert done.stdout == "404"


@pytest.mark.parametrize("command", ["", "run", "down", "check", "reload", "show", "capture"])
def test_help(lab, command):
    done = lab.gateway.run([nat64.binary(), *command.split(), "--help"])
    assert "isthmus" in done.stdout and not done.stderr


def test_help_names_all_there_is_to_show(lab):
    refused = lab.gateway.run([nat64.binary(), "show", "nothing"], check=False).stderr
    views = re.search("say what to show: (.*)", refused).group(1).replace(" or ", ", ").split(", ")
    shown = lab.gateway.run([nat64.binary(), "show", "--help"]).stdout
    assert "status" in views and "dns" in views
    for view in views:
        assert re.search(f"^  {view} ", shown, re.MULTILINE) and re.search(rf"[|\s]{view}[|\s]", shown.split("\n")[0])
