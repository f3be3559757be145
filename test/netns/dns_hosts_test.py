# SPDX-License-Identifier: BSD-2-Clause
"""Hosts as they are: programs that know nothing of NAT64, and a C library that asks whom it was told to ask."""
import ipaddress
import json
import re
import shutil

import nat64
import pytest
from advertisements import SERVERS, HostOptions, Listener
from conftest import configure, python
from dns_client import needs_nsd, service, serving
from dns_test import ALL, HERE, THERE
from namespace import wait_until
from ra_test import address_of, entry, host

pytestmark = needs_nsd()
__all__ = ["service"]


def use(lab, resolver, options=""):
    """What /etc/resolv.conf says on the client: its own, as the machine's mounts are."""
    path = lab.write("resolv.conf", f"search example\nnameserver {resolver}\n" + options)
    names = lab.write("nsswitch.conf", "hosts: files dns\n")
    lab.client.shell(f"mount --bind {path} /etc/resolv.conf\nmount --bind {names} /etc/nsswitch.conf\n")


def run(machine, *command):
    return machine.run(command, timeout=20).stdout


def page(machine, name):
    return run(machine, "curl", "-sS", "--fail", "--max-time", "10", f"http://{name}/")


@pytest.mark.parametrize("options", ["", "options use-vc\n", "options edns0 trust-ad rotate\n"],
                         ids=["udp", "tcp", "edns"])
def test_the_c_library(service, options):
    """getaddrinfo asks for A and AAAA at once, from one socket; getnameinfo asks where an address leads."""
    client = service.lab.client
    service.start()
    use(service.lab, nat64.GATEWAY6, options)

    def ahosts(name):
        return {line.split()[0] for line in run(client, "getent", "ahosts", name).splitlines()}
    assert THERE in ahosts("web.example")
    assert THERE in ahosts("web")  # by the search list
    assert ahosts("six.example") == {HERE}
    assert set(ALL) <= ahosts("many.example")  # which comes by TCP
    assert client.run(["getent", "ahosts", "missing.example"], check=False).returncode == 2
    told = json.loads(python(client, """import json, socket
found = socket.getaddrinfo("alias.example", 80, socket.AF_INET6, socket.SOCK_STREAM, 0, socket.AI_CANONNAME)
print(json.dumps([found[0][3], found[0][4][0], socket.getnameinfo((found[0][4][0], 80), socket.NI_NAMEREQD)[0]]))
"""))
    assert told == ["a.example", THERE, "web.example"]


def test_programs_reach_servers_by_name(service):
    """curl, ping and wget's like: from a name to the page, over the translator."""
    lab = service.lab
    lab.start_web(size=0)
    service.start()
    use(lab, nat64.GATEWAY6)
    for name in ("web.example", "alias.example", "a.old.example", "any.wild.example", "web"):
        assert "You are 192.0.2." in page(lab.client, name), name
    assert THERE in run(lab.client, "ping", "-c", "1", "-W", "2", "web.example")
    many = run(lab.client, "sh", "-c", "for i in $(seq 20); do getent ahostsv6 n$i.wild.example & done; wait")
    assert many.count("STREAM") == 20 and many.count(THERE) == 60


def test_a_host_that_router_advertisements_configure(service):
    """Route, name server and prefix all by advertisement: nothing was configured on the host, all is reached."""
    lab = service.lab
    lab.start_web(size=0)
    client = host(lab)
    client.run(["ip", "address", "flush", "dev", "eth0", "scope", "global"])
    client.run(["ip", "address", "add", "2001:db8:1::7/64", "dev", "eth0"])
    options = HostOptions(lab, client)
    listener = Listener(lab, client, "eth0")
    router = address_of(lab.gateway, "lan0")
    configuration = {**serving(service.names), "ra": [entry(default_route=True)]}
    daemon = nat64.Daemon(lab, configure(lab, configuration)).start()
    assert listener.wait().servers() == {router: 600}
    wait_until(lambda: len(options.told()) == 2, "the kernel to pass on prefix and server")
    server, = (option for option in options.told() if option[0] == SERVERS)
    use(lab, f"{ipaddress.IPv6Address(server[8:24])}%eth0")
    assert "You are 192.0.2." in page(client, "web.example")
    daemon.kill()


@pytest.mark.parametrize("listen, rdnss, wanted", [
    (["[2001:db8:1::1]:53", "[::1]:53"], True, ["2001:db8:1::1"]),
    (["[::]:53"], True, ["link-local"]),
    (["[::1]:53", "203.0.113.1:53", "[2001:db8:1::1]:5353"], True, []),
    (["[::]:53"], False, []),
], ids=["an-address", "all", "of-no-use", "not-wanted"])
def test_rdisc6_shows_the_name_server(service, listen, rdnss, wanted):
    if shutil.which("rdisc6") is None:
        pytest.skip("rdisc6 is not installed")
    lab = service.lab
    wanted = [address_of(lab.gateway, "lan0") if address == "link-local" else address for address in wanted]
    daemon = nat64.Daemon(lab, configure(lab, {**serving(service.names, listen=listen),
                                               "ra": [entry(rdnss=rdnss)]}))
    asking = host(lab).start(["rdisc6", "-r", "30", "-w", "100", "-1", "eth0"], stdout=-1, text=True)
    daemon.start()
    shown, _ = asking.communicate(timeout=10)
    assert f"from {address_of(lab.gateway, 'lan0')}" in shown, shown
    servers = re.findall(r"Recursive DNS server *: (\S+)", shown)
    lifetimes = re.findall(r"DNS server lifetime *: *(\d+)", shown)
    assert servers == wanted and lifetimes == ["600"] * bool(wanted), shown
    daemon.kill()
