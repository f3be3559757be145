# SPDX-License-Identifier: BSD-2-Clause
"""Pings of every size, from both sides, with and without state, whole and in fragments."""
import re

import nat64
import pytest
from conftest import counter
from side_by_side import ECHO_ID, FRAGMENTS_IN_NAT64, NAT64, SIIT, WAYS, side_by_side

SIZES = [1, 7, 8, 9, 64, 1000, 1231, 1232, 1233, 1240, 1452, 1453, 1472, 1473, 2000, 4096, 8952, 9001, 20000, 32768,
         60000]
COUNT = 3

# Who passes messages that are fragmented on the way. Without state nobody can: the checksum of ICMPv6 covers
# the length of the whole message, which its first fragment does not tell (RFC 7915 section 1.2).
CARRIES_FRAGMENTS = {NAT64: FRAGMENTS_IN_NAT64, SIIT: False}


def ping(machine, destination, size, *arguments):
    """How many of COUNT pings came back with all their bytes as they were."""
    text = machine.run(["ping", "-c", str(COUNT), "-i", "0.005", "-W", "1", "-s", str(size), *arguments,
                        destination], check=False).stdout
    assert "wrong data" not in text and "corrupted" not in text and "DUP" not in text, text
    return int(re.search(r"(\d+) received", text).group(1))


def from_client(lab, way, size, *arguments):
    return ping(lab.client, way.server, size, *arguments)


def from_server(lab, way, size, *arguments):
    return ping(lab.server, way.client, size, "-e", str(ECHO_ID), *arguments)


@pytest.fixture(scope="module")
def wide(namespaces):
    """Links on which no ping need be fragmented."""
    with side_by_side(mtus=(65535, 65535)) as made:
        yield made


@pytest.fixture(scope="module")
def usual(namespaces):
    with side_by_side() as made:
        yield made


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("ask", [from_client, from_server])
def test_whole(wide, way, ask):
    lab, daemon = wide
    made = counter(daemon, "pieces-made")
    assert {size: ask(lab, way, size, "-M", "do") for size in SIZES} == dict.fromkeys(SIZES, COUNT)
    # Linux answers without DF.
    assert (counter(daemon, "pieces-made") == made) == (ask is from_server)


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_fragmented_by_isthmus(wide, way):
    """IPv4 without DF: more than an IPv6 network need carry goes on in fragments, and the answer comes whole."""
    lab, daemon = wide
    before = counter(daemon, "fragmented-4to6")
    assert {size: from_server(lab, way, size, "-M", "dont") for size in SIZES} == dict.fromkeys(SIZES, COUNT)
    # 1280 bytes: 40 of IPv6 header, 8 of ICMP.
    assert counter(daemon, "fragmented-4to6") - before == COUNT * sum(size > 1232 for size in SIZES)


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("ask", [from_client, from_server])
def test_fragmented_by_the_sender(usual, way, ask):
    """At 1500 bytes, what is longer than 1452 is fragmented, at the latest the answer of the client."""
    lab, daemon = usual
    limit = 60000 if CARRIES_FRAGMENTS[way] else 1452
    sizes = SIZES if CARRIES_FRAGMENTS[way] else [size for size in SIZES if size <= limit] + [1453, 1473, 60000]
    refused = "icmp-fragment" if way is SIIT else "fragment"
    before = counter(daemon, refused) if not CARRIES_FRAGMENTS[way] else 0
    answered = {size: ask(lab, way, size, "-W", "1" if size <= limit else "0.2") for size in sizes}
    assert answered == {size: COUNT if size <= limit else 0 for size in sizes}
    if not CARRIES_FRAGMENTS[way]:
        assert counter(daemon, refused) > before


@pytest.mark.parametrize("ask, address", [(from_client, nat64.SERVER_MAPPED), (from_server, NAT64.client)])
def test_one_byte_too_many(usual, ask, address):
    """What may not be fragmented and does not fit is refused by the sender itself, or told by isthmus."""
    lab, daemon = usual
    assert ask(lab, NAT64, 1452, "-M", "do") == COUNT
    assert ask(lab, NAT64, 1453, "-M", "do") == 0
