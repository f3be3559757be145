# SPDX-License-Identifier: BSD-2-Clause
"""`isthmus show dns`: every query is counted, by what came of it."""
import nat64
from conftest import settings, start
from dns_client import Client, make_query, needs_nsd, service
from dns_failure_test import broken_messages

pytestmark = needs_nsd()
__all__ = ["service"]


def counts(daemon):
    return {row["name"]: row["count"] for row in daemon.show("dns") if row.get("class") not in (None, "now")}


def delta(before, after):
    return {name: after[name] - before[name] for name in after if after[name] != before[name]}


def test_each_query_is_counted_by_what_came_of_it(service):
    daemon = service.start(clients=["2001:db8:1::/64"])
    ask, send = service.client.ask, service.client.send
    without_rd = make_query("a")
    without_rd.flags = 0
    broken = {what: wire for what, wire, _ in broken_messages()}
    steps = (
        (lambda: ask("a"), {"queries-udp": 1, "lookups": 2, "synthesized": 1}),
        (lambda: ask("a"), {"queries-udp": 1, "cache-hits": 1}),
        (lambda: ask("a", tcp=True), {"queries-tcp": 1, "cache-hits": 1, "tcp-accepted": 1}),
        (lambda: ask("dual"), {"queries-udp": 1, "lookups": 1, "passed": 1}),
        (lambda: ask("mail", "MX"), {"queries-udp": 1, "lookups": 1, "passed": 1}),
        (lambda: ask("missing"), {"queries-udp": 1, "lookups": 1, "passed": 1}),
        (lambda: ask("ipv4only.arpa."), {"queries-udp": 1, "local": 1}),
        (lambda: ask("many", edns=False), {"queries-udp": 1, "lookups": 2, "synthesized": 1, "truncated": 1}),
        (lambda: ask("six.bogus"), {"queries-udp": 1, "lookups": 1, "bogus": 1}),
        (lambda: ask("a", "AXFR"), {"queries-udp": 1, "refused-type": 1}),
        (lambda: send(without_rd.to_wire()), {"queries-udp": 1, "not-recursive": 1}),
        (lambda: send(broken["half a question"]), {"queries-udp": 1, "malformed": 1}),
        (lambda: send(broken["a status query"]), {"queries-udp": 1, "not-implemented": 1}),
        (lambda: send(broken["EDNS version 1"]), {"queries-udp": 1, "bad-version": 1}),
        (lambda: send(broken["a response"], timeout=0.1), {"queries-udp": 1, "responses": 1}),
        (lambda: Client(service.lab.server, nat64.GATEWAY4).ask("a"), {"queries-udp": 1, "refused": 1}),
    )
    before = counts(daemon)
    assert not any(before.values())
    for number, (step, wanted) in enumerate(steps):
        step()
        after = counts(daemon)
        assert delta(before, after) == wanted, number
        before = after
    latencies = [row for row in daemon.show("dns") if "lookups" in row]
    assert sum(row["lookups"] for row in latencies) == before["lookups"]
    assert latencies[0]["from_ms"] == 0 and latencies[-1]["below_ms"] is None
    assert all(row["below_ms"] == following["from_ms"] for row, following in zip(latencies, latencies[1:]))
    now = {row["name"]: row["count"] for row in daemon.show("dns") if row.get("class") == "now"}
    assert now["cached-answers"] > 4 and 0 < now["cached-bytes"] < 4096
    assert now["questions"] == now["connections"] == 0, now
    table = daemon.command("show", "dns").stdout
    assert "synthesized" in table and "cache-hits" in table


def test_there_may_be_no_name_service(lab):
    daemon = start(lab, settings())
    done = daemon.command("show", "dns", check=False)
    assert done.returncode == 1 and "dns64" in done.stdout + done.stderr
