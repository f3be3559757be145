# SPDX-License-Identifier: BSD-2-Clause
"""`isthmus capture` with the eBPF plane: what the programs in the kernel decide on shows as it does with TUN, and
so does what they hand to the daemon."""
import json
import shutil
import signal
import socket
import struct

import nat64
import pytest
from bpf_life_test import BPF
from capture_test import SEND_UDP, sentences
from captures import INBOUND, OUTBOUND, Capture, packets, running, tshark
from conftest import counter, python, settings, start
from namespace import wait_until

pytestmark = [pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed"),
              pytest.mark.usefixtures("bpf")]

FORWARDED = ("--verdict", "forwarded")
ECHOES = ["ping", "-c", "1", "-W", "2"]


@pytest.fixture
def daemon(lab):
    """With a session for echoes of the client, so that the programs know their way."""
    started = start(lab, settings(BPF))
    lab.client.run([*ECHOES, nat64.SERVER_MAPPED])
    return started


def handed_over(daemon):
    return counter(daemon, "bpf-handed-over")


def packet_bytes(capture):
    """The packets of the file, byte by byte."""
    for block, data in capture.blocks():
        if block == 6:
            kept, _ = struct.unpack_from("=II", data, 20)
            yield data[28:28 + kept]


def test_both_sides_of_packets_of_a_session(lab, daemon):
    capture = Capture(daemon, *FORWARDED)
    before = handed_over(daemon), counter(daemon, "tun-reads")
    lab.client.run(["ping", "-c", "1", "-s", "1000", "-e", "4711", nat64.SERVER_MAPPED])
    lab.client.run(["ping", "-c", "1", "-s", "1000", "-e", "4711", nat64.SERVER_MAPPED])
    rows = capture.wait(8)
    assert (handed_over(daemon), counter(daemon, "tun-reads")) == before
    forth, back = sentences(daemon)["translated-6to4"], sentences(daemon)["translated-4to6"]
    assert [row["frame.comment"] for row in rows] == [
        forth, "Result of translated-6to4.", back, "Result of translated-4to6."] * 2
    assert [row["frame.packet_flags_direction"] for row in rows] == [INBOUND, OUTBOUND] * 4
    assert [row["frame.len"] for row in rows] == ["1048", "1028", "1028", "1048"] * 2
    assert [row["frame.cap_len"] for row in rows] == [row["frame.len"] for row in rows]
    assert (rows[0]["ipv6.src"], rows[0]["ipv6.dst"]) == (nat64.CLIENT, nat64.SERVER_MAPPED)
    assert rows[1]["ip.dst"] == rows[2]["ip.src"] == nat64.SERVER
    assert rows[1]["ip.src"] == rows[2]["ip.dst"]
    assert (rows[3]["ipv6.src"], rows[3]["ipv6.dst"]) == (nat64.SERVER_MAPPED, nat64.CLIENT)
    now = float(lab.gateway.run(["date", "+%s"]).stdout)
    assert all(abs(float(row["frame.time_epoch"]) - now) < 60 for row in rows)
    assert "0 packets missed" in capture.said()


def test_the_bytes_are_those_of_the_packets(lab, daemon):
    """Headers by RFC 7915 4.1 and 5.1: a hop less, the payload as it was, and checksums that are right."""
    capture = Capture(daemon, *FORWARDED)
    lab.client.run([*ECHOES, "-s", "48", "-p", "feedc0de", nat64.SERVER_MAPPED])
    capture.wait(4)
    request, sent, reply, answered = packet_bytes(capture)
    client, mapped = (socket.inet_pton(socket.AF_INET6, text) for text in (nat64.CLIENT, nat64.SERVER_MAPPED))
    server = socket.inet_aton(nat64.SERVER)
    assert request[0] >> 4 == 6 and request[8:24] == client and request[24:40] == mapped and request[40] == 128
    assert sent[0] == 0x45 and sent[8] == request[7] - 1 and sent[9] == 1 and sent[16:20] == server and sent[20] == 8
    assert reply[0] == 0x45 and reply[12:16] == server and reply[16:20] == sent[12:16] and reply[20] == 0
    assert answered[0] >> 4 == 6 and answered[8:24] == mapped and answered[24:40] == client and answered[40] == 129
    assert answered[7] == reply[8] - 1
    # The identifier is the client's on its side, and the pool's on the other; the rest is one.
    assert request[44:46] == answered[44:46] and sent[24:26] == reply[24:26]
    assert request[46:] == sent[26:] == reply[26:] == answered[46:] and b"\xfe\xed\xc0\xde" in request[48:]
    status = tshark(capture.path, "-o", "ip.check_checksum:TRUE", "-T", "fields", "-e", "ip.checksum.status",
                    "-e", "icmp.checksum.status", "-e", "icmpv6.checksum.status").split()
    assert status == ["1", "1", "1", "1", "1", "1"]


def test_received_and_result_have_one_number(lab, daemon):
    capture = Capture(daemon, *FORWARDED)
    lab.client.run(["ping", "-c", "2", "-i", "0.01", nat64.SERVER_MAPPED])
    capture.wait(8)
    done = json.loads(tshark(capture.path, "-T", "json"))
    numbers = [packet["_source"]["layers"]["frame"].get("frame.packet_id") for packet in done]
    if not any(numbers):
        pytest.skip("this tshark does not show numbers of packets")
    assert numbers[::2] == numbers[1::2] and len(set(numbers)) == 4


def test_a_drop_by_the_programs_says_why(lab, daemon):
    capture = Capture(daemon, "--verdict", "no-binding")
    before = handed_over(daemon)
    lab.client.run([*ECHOES, nat64.SERVER_MAPPED])
    python(lab.server, SEND_UDP, "192.0.2.20", "7777")
    row, = capture.wait(1)
    assert handed_over(daemon) == before
    assert row["frame.comment"] == sentences(daemon)["no-binding"]
    assert (row["ip.src"], row["ip.dst"], row["frame.len"]) == (nat64.SERVER, "192.0.2.20", "33")
    assert row["frame.packet_flags_direction"] == INBOUND


def test_a_refusal_that_is_the_daemons_and_its_answer(lab, daemon):
    """Between packets that the programs translate; those come without an answer."""
    capture = Capture(daemon, "--verdict", "refused")
    lab.client.run([*ECHOES, nat64.SERVER_MAPPED])
    lab.client.run(["ping", "-c", "1", "-t", "1", "-W", "1", nat64.SERVER_MAPPED], check=False)
    lab.client.run([*ECHOES, nat64.SERVER_MAPPED])
    rows = capture.wait(2)
    why = sentences(daemon)["hop-limit"]
    assert [row["frame.comment"] for row in rows] == [why, f"Made by isthmus on {why}"]
    assert rows[1]["icmpv6.type"] == "3" and rows[1]["ipv6.dst"] == nat64.CLIENT


def test_one_way_only(lab, daemon):
    capture = Capture(daemon, "--verdict", "translated-4to6")
    lab.client.run(["ping", "-c", "5", "-i", "0.01", nat64.SERVER_MAPPED])
    rows = capture.wait(10)
    assert len(rows) == 10 and {row["icmp.type"] or row["icmpv6.type"] for row in rows} == {"0", "129"}


@pytest.mark.parametrize("address", [nat64.CLIENT, nat64.SERVER, nat64.SERVER_MAPPED])
def test_an_address_is_found_on_either_side(lab, daemon, address):
    neighbour = lab.add_neighbour()
    lab.server.shell("ip address add 203.0.113.3/24 dev eth0\n")
    wait_until(lambda: "lan1" in daemon.show("status")[0]["interfaces"], "the program at lan1")
    neighbour.run([*ECHOES, "2001:db8:64::203.0.113.3"])
    capture = Capture(daemon, "--address", address)
    neighbour.run([*ECHOES, "2001:db8:64::203.0.113.3"])
    lab.client.run([*ECHOES, nat64.SERVER_MAPPED])
    rows = capture.wait(4)
    assert len(rows) == 4 and {rows[0]["ipv6.src"], rows[3]["ipv6.dst"]} == {nat64.CLIENT}


def test_count_and_snaplen(lab, daemon):
    capture = Capture(daemon, *FORWARDED, "--count", "3", "-s", "60")
    lab.client.run([*ECHOES, "-s", "500", nat64.SERVER_MAPPED])
    assert capture.process.wait(5) == 0
    assert capture.said().endswith("3 packets captured\n0 packets missed\n")
    rows = packets(capture.path)
    assert [(row["frame.len"], row["frame.cap_len"]) for row in rows] == [("548", "60"), ("528", "60"), ("528", "60")]


def test_a_connection_from_its_first_packet_to_its_last(lab, daemon):
    """The data of a transfer, whole, on both sides: as tshark puts it together."""
    lab.start_web(200_000)
    capture = Capture(daemon, *FORWARDED, "--address", nat64.SERVER, "-s", "65535")
    lab.client.run(["curl", "-sSf", "-o", lab.path("got"), nat64.URL + "/file"])
    wait_until(lambda: running(daemon) == 1 and capture.count() > 10, "the packets")
    rows = capture.end("tcp.flags.syn", "tcp.flags.fin", "tcp.len")
    assert "0 packets missed" in capture.said()
    for side in ("ip.src", "ipv6.src"):
        those = [row for row in rows if row[side]]
        assert [row["tcp.flags.syn"] for row in those].count("1") == 2
        data = sum(int(row["tcp.len"]) for row in those if row[side] in (nat64.SERVER, nat64.SERVER_MAPPED))
        assert data >= 200_000


def test_nothing_from_before_nor_after(lab, daemon):
    """What flows while no capture runs shows in none, and a capture gets only what came during it."""
    first = Capture(daemon, *FORWARDED, name="first.pcapng")
    lab.client.run([*ECHOES, "-s", "100", nat64.SERVER_MAPPED])
    assert [row["frame.len"] for row in first.wait(4)] == ["148", "128", "128", "148"]
    wait_until(lambda: running(daemon) == 0, "the capture to end")
    lab.client.run(["ping", "-c", "20", "-i", "0.01", "-s", "200", nat64.SERVER_MAPPED])
    second = Capture(daemon, *FORWARDED, name="second.pcapng")
    lab.client.run([*ECHOES, "-s", "300", nat64.SERVER_MAPPED])
    assert [row["frame.len"] for row in second.wait(4)] == ["348", "328", "328", "348"]
    assert first.count() == 4


def test_two_at_once_see_each_its_own(lab, daemon):
    forth = Capture(daemon, "--verdict", "translated-6to4", name="forth.pcapng")
    back = Capture(daemon, "--verdict", "translated-4to6", "-s", "40", name="back.pcapng")
    lab.client.run(["ping", "-c", "3", "-i", "0.01", nat64.SERVER_MAPPED])
    assert {row["frame.cap_len"] for row in back.wait(6)} == {"40"}
    lab.client.run([*ECHOES, nat64.SERVER_MAPPED])
    assert [row["frame.cap_len"] for row in forth.wait(8)] == ["104", "84"] * 4


def test_a_killed_client_leaves_no_capture_on(lab, daemon):
    capture = Capture(daemon)
    capture.process.kill()
    capture.process.wait()
    wait_until(lambda: running(daemon) == 0, "the capture to end")
    lab.client.run([*ECHOES, nat64.SERVER_MAPPED])
    again = Capture(daemon, *FORWARDED, name="again.pcapng")
    lab.client.run([*ECHOES, nat64.SERVER_MAPPED])
    assert len(again.wait(4)) == 4


def test_a_flood_loses_nothing_by_a_capture_that_nobody_reads(lab, daemon):
    """The ring of the programs fills up, too: what is missed is counted, what flows flows."""
    before = counter(daemon, "translated-6to4")
    capture = Capture(daemon, "--verdict", "translated-6to4")
    capture.process.send_signal(signal.SIGSTOP)
    try:
        done = lab.client.run(["ping", "-f", "-q", "-l", "32", "-c", "30000", nat64.SERVER_MAPPED])
    finally:
        capture.process.send_signal(signal.SIGCONT)
    assert "30000 received, 0% packet loss" in done.stdout
    assert counter(daemon, "translated-6to4") - before == 30000
    wait_until(lambda: capture.missed() > 0 and capture.count() > 1000, "records and misses", seconds=20, pause=0.5)
    assert len(capture.end()) > 1000
    assert f"\n{capture.missed()} packets missed: they came faster than they were written\n" in capture.said()


def test_after_another_daemon_has_taken_over(lab, daemon):
    """Also from one that was killed with a capture under way, whose programs had been told to capture."""
    left = Capture(daemon, *FORWARDED, name="left.pcapng")
    daemon.kill()
    assert left.process.wait(5) == 1
    lab.client.run([*ECHOES, nat64.SERVER_MAPPED])
    daemon = start(lab, settings(BPF))
    capture = Capture(daemon, *FORWARDED)
    lab.client.run([*ECHOES, "-s", "300", nat64.SERVER_MAPPED])
    assert [row["frame.len"] for row in capture.wait(4)] == ["348", "328", "328", "348"]
