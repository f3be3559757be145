# SPDX-License-Identifier: BSD-2-Clause
"""Router advertisements: what is on the wire, and what a host's kernel makes of it."""
import ipaddress
import re
import shutil
import subprocess
import time

import nat64
import pytest
from advertisements import (PREF64, SERVERS, SOURCE_LINK, HostOptions, Listener, advertisement, mtu_option,
                            prefix_option, read_pref64, send, solicitation)
from conftest import configure, settings, start
from namespace import link, wait_until

DELAY, APART = 0.5, 3.0  # seconds, RFC 4861 section 10: MAX_RA_DELAY_TIME, MIN_DELAY_BETWEEN_RAS
SLACK = 0.3  # of a machine that is busy
CLOCK = 0.02  # between the daemon's look at its clock and the time in the capture

# RFC 8781 section 4: the prefix length codes; and the highest 96 bits, for which RFC 6052 leaves nothing else
# to be there than the prefix and zeroes.
CODES = {"2001:db8::/32": 5, "2001:db8:ab00::/40": 4, "2001:db8:abcd::/48": 3, "2001:db8:abcd:ef00::/56": 2,
         "2001:db8:abcd:ef01::/64": 1, "64:ff9b::/96": 0, "2001:db8:abcd:ef01:0:2345::/96": 0}


def advertising(*entries, **keys):
    """The example's network with these entries of ra."""
    return {**settings(**keys), "ra": list(entries)}


def entry(interface="lan0", lifetime="600s", **keys):
    return {"interface": interface, "lifetime": lifetime,
            **{key.replace("_", "-"): value for key, value in keys.items()}}


def address_of(machine, interface):
    """Its link-local address."""
    text = machine.run(["ip", "-6", "-o", "address", "show", "dev", interface, "scope", "link"]).stdout
    return text.split()[3].split("/")[0]


def link_address_of(machine, interface):
    return machine.read(f"/sys/class/net/{interface}/address").strip()


def default_routes(machine):
    return machine.run(["ip", "-6", "route", "show", "default"]).stdout.splitlines()


def add_link(lab, name):
    """One more interface of the gateway, with the client at its other end, where it has the same name."""
    link(lab.gateway, name, lab.client, name)
    for machine in (lab.client, lab.gateway):
        machine.run(["ip", "link", "set", name, "up"])


def host(lab, *interfaces):
    """The client as a host that depends on routers, from the moment on when its kernel hears them."""
    lab.client.run(["ip", "-6", "route", "del", "default"])

    def hears():
        routes = lab.client.run(["ip", "-6", "route", "show", "table", "local", "type", "multicast"]).stdout
        return all(f"dev {interface} " in routes for interface in ("eth0", *interfaces))
    wait_until(hears, "the client's kernel to listen to multicast")
    return lab.client


def is_from_router(advertisement, source):
    """What makes hosts take it: RFC 4861 section 6.1.2."""
    return (advertisement.hop_limit == 255 and advertisement.checksum == 0
            and advertisement.source == source and ipaddress.ip_address(source).is_link_local)


def says_nothing_else(advertisement):
    """What is the link's own router's to say is left open: RFC 4861 section 4.2, "unspecified"."""
    return (advertisement.router_hop_limit == advertisement.flags == advertisement.reachable
            == advertisement.retransmit == 0)


def scaled(seconds):
    """Units of 8 seconds, rounded up (RFC 8781 section 4.1)."""
    return -(-seconds // 8)


def test_bytes_are_those_of_the_rfcs(lab):
    """All six lengths of prefix and several lifetimes at once, an interface each; the name server; and their end."""
    lifetimes = (600, 12, 13, 16, 65521, 65528, 9001)
    links = {f"lan{10 + i}": (prefix, code, lifetime)
             for i, ((prefix, code), lifetime) in enumerate(zip(CODES.items(), lifetimes))}
    for name in links:
        add_link(lab, name)
    listener = Listener(lab, lab.gateway)
    configuration = advertising(*(entry(name, f"{lifetime}s", pref64=prefix)
                                  for name, (prefix, _, lifetime) in links.items()))
    configuration["dns64"] = {"listen": ["[::]:53"], "upstream": [nat64.SERVER], "dnssec": "off"}
    daemon = start(lab, configuration)
    listener.wait(len(links))
    assert daemon.stop() == 0
    index = {name: int(lab.gateway.read(f"/sys/class/net/{name}/ifindex")) for name in links}
    for name, (prefix, code, lifetime) in links.items():
        heard = [each for each in listener.heard() if each.index == index[name]]
        assert len(heard) >= 2
        router = address_of(lab.gateway, name)
        for each in heard:
            assert is_from_router(each, router) and says_nothing_else(each)
            assert each.destination == "ff02::1" and each.router_lifetime == 0
            assert each.of_type(SOURCE_LINK) == [bytes((1, 1)) + bytes.fromhex(
                link_address_of(lab.gateway, name).replace(":", ""))]
        high = ipaddress.IPv6Network(prefix).network_address.packed[:12]
        word = scaled(lifetime) << 3 | code
        assert heard[0].of_type(PREF64) == [bytes((38, 2, word >> 8, word & 255)) + high]
        assert heard[-1].of_type(PREF64) == [bytes((38, 2, 0, code)) + high]
        server = ipaddress.IPv6Address(router).packed
        assert heard[0].of_type(SERVERS) == [bytes((25, 3, 0, 0)) + lifetime.to_bytes(4, "big") + server]
        assert heard[-1].of_type(SERVERS) == [bytes((25, 3, 0, 0, 0, 0, 0, 0)) + server]
    tshark_agrees(listener.path, links, index)


def tshark_agrees(path, links, index):
    """The same by a dissector of somebody else."""
    if shutil.which("tshark") is None:
        return
    fields = ("sll.ifindex", "icmpv6.opt.pref64.scaled_lifetime", "icmpv6.opt.pref64.plc",
              "icmpv6.opt.pref64.prefix", "icmpv6.checksum.status", "_ws.expert")
    done = subprocess.run(["tshark", "-n", "-r", path, "-T", "fields", *(word for field in fields
                                                                         for word in ("-e", field))],
                          capture_output=True, text=True, check=True, timeout=60)
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    for name, (prefix, code, lifetime) in links.items():
        own = [row[1:] for row in rows if row[0] == str(index[name])]
        address = str(ipaddress.IPv6Network(prefix).network_address)
        for row, seconds in ((own[0], lifetime), (own[-1], 0)):
            assert [int(row[0]), int(row[1], 0), row[2], row[3], row[4]] == [scaled(seconds), code, address,
                                                                              "1", ""]


@pytest.fixture
def run(lab):
    """Starts daemons; the last is killed when the test is over, for otherwise it would take three seconds to
    tell the hosts, which only some tests wait for."""
    started = []

    def begin(configuration):
        started.append(start(lab, configuration))
        return started[-1]
    yield begin
    if started and started[-1].process.poll() is None:
        started[-1].kill()


def test_a_host_takes_a_default_route_only_from_a_default_router(lab, run):
    """From the first advertisement to the last, with a crash and a restart between; packets go through."""
    client = host(lab)
    listener = Listener(lab, client, "eth0")
    options = HostOptions(lab, client)
    router = address_of(lab.gateway, "lan0")
    daemon = run(advertising(entry(default_route=True, lifetime="1201s")))
    first = listener.wait()
    assert is_from_router(first, router) and says_nothing_else(first) and first.router_lifetime == 1201
    assert (first.link_source, first.link_destination) == (link_address_of(lab.gateway, "lan0"),
                                                           "33:33:00:00:00:01")
    route, = default_routes(client)
    assert f"via {router} dev eth0 proto ra" in route
    assert 1195 < int(route.split("expires ")[1].split("sec")[0]) <= 1201
    wait_until(options.told, "the kernel to pass on the prefix")
    assert read_pref64(options.told()[0]) == (nat64.PREFIX, 1208)
    client.run(["ping", "-c", "1", "-W", "2", nat64.SERVER_MAPPED])

    # A crash: nobody is left to say anything, so the route stays for its time, which a restart is well within.
    daemon.kill()
    daemon = run(advertising(entry(default_route=True)))
    listener.wait(2)
    assert len(listener.heard()) == 2 and default_routes(client)
    client.run(["ping", "-c", "1", "-W", "2", nat64.SERVER_MAPPED])

    assert daemon.stop() == 0
    last = listener.wait(3)
    assert is_from_router(last, router) and says_nothing_else(last)
    assert last.router_lifetime == 0 and last.prefixes() == {nat64.PREFIX: 0}
    wait_until(lambda: not default_routes(client), "the route to go")
    wait_until(lambda: len(options.told()) == 3, "the kernel to pass on the end of the prefix")
    assert read_pref64(options.told()[-1]) == (nat64.PREFIX, 0)

    run(advertising(entry()))
    assert listener.wait(4).router_lifetime == 0
    wait_until(lambda: len(options.told()) == 4, "the kernel to pass on the prefix again")
    assert read_pref64(options.told()[-1]) == (nat64.PREFIX, 600)
    assert not default_routes(client)


OTHER_ROUTER = "fe80::99"


def test_what_a_host_has_of_its_router_stays(lab, run):
    """Beside another router: its route, prefix, MTU and timers are not touched, by the last word neither."""
    client = host(lab)

    def state():
        text = client.shell("ip -6 -o address show dev eth0\nip -6 route show table all\n"
                                "sysctl -a --pattern '^net\\.ipv6\\.(conf|neigh)\\.eth0' 2>/dev/null\n")
        return sorted(re.sub(r"(expires|_lft) \d+sec", r"\1", line) for line in text.splitlines())
    plain = state()
    send(lab.gateway, "lan0", advertisement(OTHER_ROUTER, 1800, hop_limit=61, reachable=31000, retransmit=1234,
                                            options=prefix_option("2001:db8:9::/64", 3600) + mtu_option(1400)))
    wait_until(lambda: "2001:db8:9:" in client.run(["ip", "-6", "address"]).stdout, "an address")
    before = state()
    assert len(set(before) - set(plain)) >= 8  # address, routes, settings
    listener = Listener(lab, client, "eth0")
    daemon = run(advertising(entry()))
    listener.wait()
    assert state() == before
    assert daemon.stop() == 0
    assert listener.wait(2).prefixes() == {nat64.PREFIX: 0}
    assert state() == before


def ask_by_rdisc6(lab):
    """A solicitation as a real program sends it; what came back must be what it shows."""
    done = lab.client.run(["rdisc6", "-1", "-r", "1", "-w", "2000", "eth0"])
    shown = {key.strip(): value.strip() for key, _, value in
             (line.partition(":") for line in done.stdout.splitlines())}
    assert shown["Router lifetime"] == "900 (0x00000384) seconds", done.stdout
    assert shown["Stateful address conf."] == shown["Stateful other conf."] == "No"
    assert shown["Source link-layer address"].lower() == link_address_of(lab.gateway, "lan0")
    assert f"from {address_of(lab.gateway, 'lan0')}" in done.stdout


def hostile(client, router):
    """Solicitations that RFC 4861 section 6.1.1 has a router discard in silence."""
    source_link = bytes.fromhex("0101020000000009")
    return {
        "hop limit 64": solicitation(client, hop_limit=64),
        "hop limit 254": solicitation(client, hop_limit=254),
        "code 1": solicitation(client, code=1),
        "four bytes": solicitation(client)[:-4],
        "an option of no length": solicitation(client, options=bytes.fromhex("0100020000000009")),
        "an option beyond the end": solicitation(client, options=bytes.fromhex("0102020000000009")),
        "half an option": solicitation(client, options=b"\1"),
        "from nobody, with a link-layer address": solicitation("::", options=source_link),
        "from nobody, to one": solicitation("::", destination=router),
        "a wrong checksum": solicitation(client)[:-6] + b"\0\0\0\0\0\0",
    }


def test_solicitations_are_answered_in_time_and_hostile_ones_not(lab, run):
    """Answers come within half a second, three seconds apart, however many ask; other links are not delayed."""
    add_link(lab, "lan9")
    listener, other = Listener(lab, lab.client, "eth0"), Listener(lab, lab.client, "lan9")
    run(advertising(entry(lifetime="900s", default_route=True), entry("lan9", "12s")))
    first = listener.wait().time
    client = address_of(lab.client, "eth0")
    bad = hostile(client, address_of(lab.gateway, "lan0")).values()
    time.sleep(max(0, first + APART - time.time()))
    send(lab.client, "eth0", *bad)
    time.sleep(DELAY + 0.2)
    assert len(listener.heard()) == 1

    asked = time.time()
    if shutil.which("rdisc6"):
        ask_by_rdisc6(lab)
    else:
        send(lab.client, "eth0", solicitation(client, options=bytes.fromhex("0101020000000009")))
    second = listener.wait(2)
    assert second.time - asked < DELAY + SLACK and second.time - first >= APART - CLOCK
    assert second.destination == "ff02::1" and second.prefixes() == {nat64.PREFIX: 904}

    send(lab.client, "eth0", solicitation(client), solicitation("::"), *bad, count=1000)
    third = listener.wait(3)
    assert APART - CLOCK <= third.time - second.time <= APART + DELAY + SLACK
    time.sleep(DELAY)
    assert len(listener.heard()) == 3

    other.wait(3)
    times = [each.time for each in other.heard()]
    gaps = [later - earlier for earlier, later in zip(times, times[1:])]
    assert all(3 - CLOCK <= gap <= 4 + SLACK for gap in gaps)  # a third of 12 s at most


def test_interfaces_come_and_go(lab, run):
    """One that is down at the start, one that goes down and up, one that is removed and made again."""
    for name in ("lan8", "lan9"):
        add_link(lab, name)
    lab.gateway.run(["ip", "link", "set", "lan8", "down"])
    names = ("lan0", "lan8", "lan9")
    listener = Listener(lab, lab.gateway)
    daemon = run(advertising(*(entry(name) for name in names)))
    listener.wait(2)
    lab.gateway.shell("ip link set lan8 up\nip link set lan0 down\nip link del lan9\n")
    assert listener.wait(3).source == address_of(lab.gateway, "lan8")
    wait_until(lambda: daemon.log().count("is gone, or down") == 2, "the daemon to see")
    lab.gateway.run(["ip", "link", "set", "lan0", "up"])
    add_link(lab, "lan9")
    listener.wait(5)
    heard = {name: [each for each in listener.heard() if each.source == address_of(lab.gateway, name)]
             for name in names}
    assert [len(heard[name]) for name in names] == [2, 1, 1]
    assert heard["lan0"][1].time - heard["lan0"][0].time >= APART - CLOCK
    assert all(is_from_router(each, each.source) and each.prefixes() == {nat64.PREFIX: 600}
               for each in listener.heard())
    assert "lan8, named in ra, is not there, or down" in daemon.log()


def test_reload_tells_of_prefixes_that_come_and_go(lab, run):
    """Every prefix of nat64 is announced; what a reload removes is withdrawn, what it adds follows at once."""
    part = {"sessions": 1000, "addresses": 16}
    instances = [{"name": name, "prefix": prefix, "pool": [{"address": pool}], "limits": part}
                 for name, prefix, pool in (("main", nat64.PREFIX, "192.0.2.17"),
                                            ("other", "2001:db8:65::/56", "192.0.2.18"),
                                            ("third", "2001:db8:6600::/40", "192.0.2.19"))]

    def network(*which):
        return {"plane": {"type": "tun"}, "nat64": list(which),
                "ra": [entry(), entry("lan9", pref64="64:ff9b::/96")]}
    main, other, third = instances
    add_link(lab, "lan9")
    listener, fixed = Listener(lab, lab.client, "eth0"), Listener(lab, lab.client, "lan9")
    options = HostOptions(lab, host(lab, "lan9"))
    daemon = run(network(main, other))
    assert listener.wait().prefixes() == {nat64.PREFIX: 600, other["prefix"]: 600}
    configure(lab, network(main, third))
    daemon.command("reload")
    second = listener.wait(2)
    assert second.prefixes() == {nat64.PREFIX: 600, third["prefix"]: 600, other["prefix"]: 0}
    assert list(second.prefixes())[-1] == other["prefix"]
    wait_until(lambda: len(options.told()) == 6, "the kernel to pass them on")
    assert (other["prefix"], 0) in map(read_pref64, (option for option in options.told() if option[0] == PREF64))
    assert [each.prefixes() for each in fixed.heard()] == [{"64:ff9b::/96": 600}]
