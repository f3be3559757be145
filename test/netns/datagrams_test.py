# SPDX-License-Identifier: BSD-2-Clause
"""UDP: with a checksum and without, and answers of a name server that are longer than any packet."""
import re

import dns_server
import nat64
import pytest
from conftest import counter
from datagrams import ECHO, LARGE, SMALL, SO_NO_CHECK, UDP_NO_CHECK6_RX, UDP_NO_CHECK6_TX, ask
from side_by_side import SIIT, WAYS, read, serve, side_by_side, static

PLANES = ("tun", "bpf")

PORT = 5000
DNS_PORT = 5300
FRAGMENTED = [3000, 20001, 60000]


@pytest.fixture(scope="module")
def echoing(namespaces):
    """Servers on both sides: at PORT with a checksum, at PORT + 1 without; and name servers."""
    bindings = [static("udp", port) for port in (PORT, PORT + 1, DNS_PORT)]
    with side_by_side(bindings=bindings) as (lab, daemon):
        for name, machine, address, options in (
                ("client", lab.client, "::", [UDP_NO_CHECK6_TX, UDP_NO_CHECK6_RX]),
                ("server", lab.server, nat64.SERVER, [SO_NO_CHECK])):
            serve(machine, lab.path(f"{name}-echo.log"), ECHO, address, PORT)
            serve(machine, lab.path(f"{name}-bare.log"), ECHO, address, PORT + 1, *options)
            serve(machine, lab.path(f"{name}-dns.log"), read(dns_server.__file__), address, DNS_PORT)
        yield lab, daemon


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_with_a_checksum(echoing, way):
    lab, _ = echoing
    assert ask(lab.client, way.server, PORT, SMALL + LARGE) == SMALL + LARGE
    assert ask(lab.server, way.client, PORT, SMALL + LARGE) == SMALL + LARGE


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_without_a_checksum_from_ipv4(echoing, way):
    """IPv6 hosts take no UDP without a checksum: isthmus has computed it (RFC 7915 section 4.5)."""
    lab, daemon = echoing
    assert ask(lab.client, way.server, PORT + 1, SMALL + LARGE) == SMALL + LARGE
    assert ask(lab.server, way.client, PORT, SMALL + LARGE, SO_NO_CHECK) == SMALL + LARGE
    assert counter(daemon, "udp-checksum-zero") == 0


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_without_a_checksum_from_ipv6(echoing, way):
    """RFC 6935: where two agree to do without, it stays so."""
    lab, _ = echoing
    answered = ask(lab.client, way.server, PORT, SMALL + LARGE, UDP_NO_CHECK6_TX, UDP_NO_CHECK6_RX)
    assert answered == SMALL + LARGE


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("side", ["client", "server"])
def test_fragments(echoing, way, side):
    """Made by the sender, of both the question and the answer."""
    lab, _ = echoing
    machine, address = (lab.client, way.server) if side == "client" else (lab.server, way.client)
    assert ask(machine, address, PORT, FRAGMENTED) == FRAGMENTED


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_fragments_without_a_checksum(echoing, way):
    """With state they can be put together to compute it; without, they are dropped and counted."""
    lab, daemon = echoing
    before = counter(daemon, "udp-fragment-checksum-zero")
    answered = ask(lab.client, way.server, PORT + 1, FRAGMENTED[:2])
    if way is SIIT:
        assert answered == [f"{size}:TimeoutError" for size in FRAGMENTED[:2]]
        assert counter(daemon, "udp-fragment-checksum-zero") > before
    else:
        assert answered == FRAGMENTED[:2]


def dig(machine, address, size):
    """How many bytes the answer has; it is the one that was sent."""
    text = machine.run(["dig", "+notcp", "+tries=1", "+time=1", "+bufsize=4096", "-p", str(DNS_PORT),
                        f"@{address}", "TXT", f"{size}.size."], check=False).stdout
    found = re.search(r"MSG SIZE +rcvd: (\d+)", text)
    sent = re.findall(r'"([a-z]*)"', text)
    assert all(string == dns_server.LETTERS[:len(string)].decode() for string in sent)
    return int(found.group(1)) if found else None


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("side", ["client", "server"])
def test_dns(echoing, way, side):
    """Answers of up to 4096 bytes, the most that EDNS0 is usually asked for, over UDP."""
    lab, _ = echoing
    machine, address = (lab.client, way.server) if side == "client" else (lab.server, way.client)
    for size in (200, 512, 1232, 1400, 1452, 1473, 4096):
        assert dig(machine, address, size) == size
