# SPDX-License-Identifier: BSD-2-Clause
"""Pings of every size, from both sides, with and without state, whole and in fragments."""
import pytest
from conftest import counter
from side_by_side import ECHO_ID, NAT64, PINGS, SIIT, WAYS, ping, side_by_side

SIZES = [1, 7, 8, 9, 64, 1000, 1231, 1232, 1233, 1240, 1452, 1453, 1472, 1473, 2000, 4096, 8952, 9001, 20000, 32768,
         60000]


def from_client(lab, way, size, *arguments):
    return ping(lab.client, way.server, size, *arguments)[0]


def from_server(lab, way, size, *arguments):
    return ping(lab.server, way.client, size, "-e", str(ECHO_ID), *arguments)[0]


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
    assert {size: ask(lab, way, size, "-M", "do") for size in SIZES} == dict.fromkeys(SIZES, PINGS)
    # Linux answers without DF.
    assert (counter(daemon, "pieces-made") == made) == (ask is from_server)


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_fragmented_by_isthmus(wide, way):
    """IPv4 without DF: more than an IPv6 network need carry goes on in fragments, and the answer comes whole."""
    lab, daemon = wide
    before = counter(daemon, "fragmented-4to6")
    assert {size: from_server(lab, way, size, "-M", "dont") for size in SIZES} == dict.fromkeys(SIZES, PINGS)
    # 1280 bytes: 40 of IPv6 header, 8 of ICMP.
    assert counter(daemon, "fragmented-4to6") - before >= PINGS * sum(size > 1232 for size in SIZES)


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("ask", [from_client, from_server])
def test_fragmented_by_the_sender(usual, way, ask):
    """At 1500 bytes, what is longer than 1452 is fragmented, at the latest the answer of the client. Without state
    no message can pass in fragments: the checksum of ICMPv6 covers the length of the whole, which the first fragment
    does not tell (RFC 7915 section 1.2)."""
    lab, daemon = usual
    limit = 60000 if way is NAT64 else 1452
    sizes = SIZES if way is NAT64 else [size for size in SIZES if size <= limit] + [1453, 1473, 60000]
    before = counter(daemon, "icmp-fragment")
    # The first one with DF that does not fit would be lost.
    no_df = ["-M", "dont"] if ask is from_server else []
    answered = {size: ask(lab, way, size, *no_df, "-W", "1" if size <= limit else "0.2") for size in sizes}
    assert answered == {size: PINGS if size <= limit else 0 for size in sizes}
    assert (counter(daemon, "icmp-fragment") > before) == (way is SIIT)


@pytest.mark.parametrize("ask", [from_client, from_server])
def test_one_byte_too_many(usual, ask):
    """What may not be fragmented and does not fit is refused by the sender itself, or told by isthmus."""
    lab, _ = usual
    assert ask(lab, NAT64, 1452, "-M", "do") == PINGS
    assert ask(lab, NAT64, 1453, "-M", "do") == 0
