# SPDX-License-Identifier: BSD-2-Clause
"""What a reload, a restart and a crash do to those who ask names."""
import threading
import time

import dns.message
import nat64
from advertisements import Listener
from conftest import configure
from dns_client import NO_ERROR, REFUSED, addresses, make_query, needs_nsd, service, serving
from dns_test import THERE, embed
from namespace import wait_until
from ra_test import entry

pytestmark = needs_nsd()
__all__ = ["service"]
OTHER = "2001:db8:65::/96"
ELSEWHERE = embed(nat64.SERVER, OTHER)


def network(service, prefix=nat64.PREFIX, **keys):
    configuration = serving(service.names, **keys)
    configuration["nat64"][0]["prefix"] = prefix
    return configuration


def reload(service, configuration):
    configure(service.lab, configuration)
    return service.daemon.command("reload", check=False)


def test_another_prefix_in_answers_and_advertisements(service):
    """A new prefix holds from the reload on, for what was cached too, and hosts are told to forget the old."""
    lab = service.lab
    lab.start_web(size=0)
    listener = Listener(lab, lab.client, "eth0")
    first = {**network(service), "ra": [entry()]}
    service.daemon = nat64.Daemon(lab, configure(lab, first)).start()
    assert addresses(service.client.ask("a")) == [THERE]
    assert listener.wait().prefixes() == {nat64.PREFIX: 600}
    done = reload(service, {**network(service, OTHER), "ra": [entry()]})
    assert done.returncode == 0, done.stderr
    for name in ("a", "web"):
        assert addresses(service.client.ask(name)) == [ELSEWHERE], name
    assert addresses(service.client.ask("ipv4only.arpa."))[0].startswith("2001:db8:65:")
    lab.client.run(["curl", "-sS", "--fail", "--max-time", "5", f"http://[{ELSEWHERE}]/"])
    assert listener.wait(2).prefixes() == {OTHER: 600, nat64.PREFIX: 0}
    service.daemon.kill()


def test_rules_change_at_once(service):
    service.start()
    ask = service.client.ask
    assert addresses(ask("a")) == [THERE] and addresses(ask("dual")) == [nat64.SERVER_PLAIN]
    assert reload(service, network(service, exclude_names=["a.example."])).returncode == 0
    assert ask("a").rcode() == NO_ERROR and not ask("a").answer
    assert reload(service, network(service, exclude_aaaa=["2001:db8:2::/64"])).returncode == 0
    assert addresses(ask("dual")) == addresses(ask("a")) == [THERE]
    assert reload(service, network(service, prefixes=[{"prefix": nat64.PREFIX}, {"prefix": OTHER}])).returncode == 0
    assert addresses(ask("a")) == [THERE, ELSEWHERE]
    assert reload(service, network(service, clients=["2001:db8:3::/64"])).returncode == 0
    assert ask("a").rcode() == REFUSED
    assert reload(service, network(service)).returncode == 0
    assert addresses(ask("a")) == [THERE]


def test_what_is_refused_changes_nothing(service):
    service.start()
    for change, word in (({"listen": ["[::]:54"]}, "needs restart"), ({"upstream": ["192.0.2.1"]}, "needs restart"),
                         ({"dnssec": "off"}, "needs restart"), ({"exclude_names": ["a..example."]}, "exclude-names")):
        done = reload(service, network(service, OTHER, **change))
        assert done.returncode == 1 and word in done.stdout + done.stderr, change
        assert addresses(service.client.ask("a")) == [THERE]


class Asker(threading.Thread):
    """Asks the same few names all the time and keeps what came back, None for nothing."""

    def __init__(self, client):
        super().__init__()
        self.channel = client.socket(timeout=2)
        self.answers = []
        self.over = False

    def run(self):
        number = 0
        while not self.over:
            number += 1
            self.channel.send(make_query(f"n{number % 50}.wild").to_wire())
            try:
                self.answers.append(dns.message.from_wire(self.channel.recv(4096)))
            except TimeoutError:
                self.answers.append(None)
        self.channel.close()


def test_no_question_is_lost_in_reloads(service):
    service.start(rate_limit={"per-client": 0})
    asker = Asker(service.client)
    asker.start()
    try:
        for number in range(20):
            assert reload(service, network(service, rate_limit={"per-client": 0}, prefixes=[
                {"prefix": (nat64.PREFIX, OTHER)[number % 2]}])).returncode == 0
            time.sleep(0.02)
    finally:
        asker.over = True
        asker.join()
    assert len(asker.answers) > 200 and None not in asker.answers
    found = [addresses(answer) for answer in asker.answers]
    assert all(each in ([THERE], [ELSEWHERE]) for each in found)
    assert [THERE] in found and [ELSEWHERE] in found
    assert addresses(service.client.ask("n1.wild")) == [ELSEWHERE]


def test_restart_and_crash(service):
    """The next one opens its sockets at once, and answers; nothing of the last is in its way."""
    daemon = service.start()
    assert addresses(service.client.ask("a", tcp=True)) == [THERE]
    assert daemon.stop() == 0
    assert service.client.send(make_query("a").to_wire(), timeout=1) is None
    for end in (daemon.kill, daemon.kill_all, daemon.stop):
        daemon.start()
        assert addresses(service.client.ask("a")) == [THERE]
        assert addresses(service.client.ask("a", tcp=True)) == [THERE]
        end()


def test_it_starts_without_its_upstream(service):
    """Name service and translation do not wait for a server that is not there, and do without it meanwhile."""
    service.names.stop()
    service.start()
    assert addresses(service.client.ask("ipv4only.arpa."))
    service.lab.client.run(["ping", "-c", "1", "-W", "2", nat64.SERVER_MAPPED])
    service.names.start()
    wait_until(lambda: addresses(service.client.ask("a")), "an answer", seconds=10, pause=0.2)
