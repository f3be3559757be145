# SPDX-License-Identifier: BSD-2-Clause
"""`isthmus capture`: what becomes of packets, as a file that tshark reads."""
import json
import os
import shutil
import signal
import subprocess

import nat64
import pytest
from captures import INBOUND, OUTBOUND, Capture, packets, running, tshark
from conftest import ISTHMUS_HOP, configure, counter, python, settings, start
from namespace import wait_until

pytestmark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")

SEND_UDP = """import socket, sys
address, port = sys.argv[1:]
udp = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
udp.connect((address, int(port)))
udp.send(b"hello")
"""


def sentences(daemon):
    """The comment of a packet received, by its verdict."""
    return {row["name"]: f"{row['name']}: {row['sentence']}" + (f" ({row['clause']})" if row["clause"] else "")
            for row in daemon.show("counters") if "packets" in row}


# What the kernel itself says on the device (router solicitations) is dropped as not-ours.
TRAFFIC = ("--verdict", "forwarded,refused")


def test_both_sides_of_a_translated_packet(lab, daemon):
    capture = Capture(daemon, *TRAFFIC)
    lab.client.run(["ping", "-c", "1", "-s", "1000", nat64.SERVER_MAPPED])
    rows = capture.wait(4)
    assert [row["frame.comment"] for row in rows] == [
        sentences(daemon)["translated-6to4"], "Result of translated-6to4.",
        sentences(daemon)["translated-4to6"], "Result of translated-4to6."]
    assert [row["frame.packet_flags_direction"] for row in rows] == [INBOUND, OUTBOUND] * 2
    assert [row["frame.len"] for row in rows] == ["1048", "1028", "1028", "1048"]
    assert [row["frame.cap_len"] for row in rows] == [row["frame.len"] for row in rows]
    assert (rows[0]["ipv6.src"], rows[0]["ipv6.dst"]) == (nat64.CLIENT, nat64.SERVER_MAPPED)
    assert rows[1]["ip.dst"] == rows[2]["ip.src"] == nat64.SERVER
    assert rows[1]["ip.src"] == rows[2]["ip.dst"]
    assert (rows[3]["ipv6.src"], rows[3]["ipv6.dst"]) == (nat64.SERVER_MAPPED, nat64.CLIENT)
    # The time of day, to the minute.
    now = float(lab.gateway.run(["date", "+%s"]).stdout)
    assert all(abs(float(row["frame.time_epoch"]) - now) < 60 for row in rows)
    assert "0 packets missed" in capture.said()


def test_received_and_result_have_one_number_and_checksums_are_right(lab, daemon):
    capture = Capture(daemon, *TRAFFIC)
    lab.client.run(["ping", "-c", "2", "-i", "0.01", nat64.SERVER_MAPPED])
    capture.wait(8)
    done = json.loads(tshark(capture.path, "-T", "json", "-o", "ip.check_checksum:TRUE"))
    numbers = [packet["_source"]["layers"]["frame"].get("frame.packet_id") for packet in done]
    if any(numbers):
        assert numbers[::2] == numbers[1::2] and len(set(numbers)) == 4
    text = tshark(capture.path, "-o", "ip.check_checksum:TRUE", "-T", "fields", "-e", "ip.checksum.status",
                  "-e", "icmp.checksum.status", "-e", "icmpv6.checksum.status")
    assert set(text.split()) == {"1"}


def test_a_drop_says_why(lab, daemon):
    capture = Capture(daemon, "--verdict", "no-binding")
    lab.client.run(["ping", "-c", "1", nat64.SERVER_MAPPED])
    python(lab.server, SEND_UDP, "192.0.2.20", "7777")
    rows = capture.wait(1)
    assert {row["frame.comment"] for row in rows} == {sentences(daemon)["no-binding"]}
    assert rows[0]["ip.src"] == nat64.SERVER and rows[0]["ip.dst"] == "192.0.2.20"
    assert rows[0]["frame.packet_flags_direction"] == INBOUND
    # The table for a person explains it, too.
    text = daemon.command("show", "counters").stdout
    line, = (line for line in text.splitlines() if line.startswith("no-binding "))
    assert "RFC 6146 3.5.1" in line and "a pool address and port that nobody uses" in line


def test_a_refusal_and_the_answer_to_it(lab, daemon):
    capture = Capture(daemon, "--verdict", "refused")
    lab.client.run(["ping", "-c", "1", "-t", str(ISTHMUS_HOP), "-W", "1", nat64.SERVER_MAPPED],
                   check=False)
    rows = capture.wait(2)
    why = sentences(daemon)["hop-limit"]
    assert [row["frame.comment"] for row in rows] == [why, f"Made by isthmus on {why}"]
    assert [row["frame.packet_flags_direction"] for row in rows] == [INBOUND, OUTBOUND]
    assert rows[1]["icmpv6.type"] == "3" and rows[1]["ipv6.dst"] == nat64.CLIENT


@pytest.mark.parametrize("address", [nat64.CLIENT, nat64.SERVER, nat64.SERVER_MAPPED])
def test_an_address_is_found_on_either_side(lab, daemon, address):
    neighbour = lab.add_neighbour()
    lab.server.shell("ip address add 203.0.113.3/24 dev eth0\n")
    capture = Capture(daemon, "--address", address)
    neighbour.run(["ping", "-c", "1", "2001:db8:64::203.0.113.3"])
    lab.client.run(["ping", "-c", "1", nat64.SERVER_MAPPED])
    rows = capture.wait(4)
    assert len(rows) == 4
    assert {rows[0]["ipv6.src"], rows[3]["ipv6.dst"]} == {nat64.CLIENT}


def test_count_and_snaplen(lab, daemon):
    capture = Capture(daemon, *TRAFFIC, "--count", "3", "-s", "60")
    lab.client.run(["ping", "-c", "1", "-s", "500", nat64.SERVER_MAPPED])
    assert capture.process.wait(5) == 0
    assert capture.said().endswith("3 packets captured\n0 packets missed\n")
    rows = packets(capture.path)
    assert [(row["frame.len"], row["frame.cap_len"]) for row in rows] == [("548", "60"), ("528", "60"), ("528", "60")]


def test_into_a_pipe(lab, daemon):
    command = f"{daemon.program} capture --verdict forwarded --count 2 | tshark -n -r - -T fields -e frame.comment"
    reader = lab.gateway.start(["sh", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    wait_until(lambda: running(daemon) == 1, "the capture to begin")
    lab.client.run(["ping", "-c", "1", nat64.SERVER_MAPPED])
    output, _ = reader.communicate(timeout=20)
    assert output.splitlines() == [sentences(daemon)["translated-6to4"], "Result of translated-6to4."]


def test_not_onto_a_terminal(lab, daemon):
    done = lab.gateway.run(["script", "-qec", f"{daemon.program} capture", "/dev/null"], check=False)
    assert done.returncode == 2
    assert "-w FILE" in done.stdout


def test_refusals_leave_the_file_alone(lab, daemon):
    path = lab.write("kept", "precious")
    done = daemon.command("capture", "-w", path, "--verdict", "no-such", check=False)
    assert done.returncode == 1
    assert "there is no verdict no-such; isthmus show counters --all lists them" in done.stderr
    with open(path) as file:
        assert file.read() == "precious"
    done = daemon.command("capture", "-w", "/nowhere/file", check=False)
    assert done.returncode == 1 and "/nowhere/file cannot be written" in done.stderr
    for wrong in (("--address", "here"), ("--count", "0"), ("-s", "x"), ("-c", "10")):
        done = daemon.command("capture", "-w", path, *wrong, check=False)
        assert done.returncode == 2, wrong


def test_four_at_once_and_no_fifth(lab, daemon):
    captures = [Capture(daemon, *TRAFFIC, name=f"capture{i}.pcapng") for i in range(4)]
    done = daemon.command("capture", "-w", lab.path("fifth"), check=False)
    assert done.returncode == 1 and "as many captures as may be are running" in done.stderr
    assert not os.path.exists(lab.path("fifth"))
    lab.client.run(["ping", "-c", "1", nat64.SERVER_MAPPED])
    for capture in captures:
        assert len(capture.wait(4)) == 4
    Capture(daemon, name="again.pcapng").end()


def test_a_killed_client_leaves_no_capture_on(lab, daemon):
    capture = Capture(daemon)
    assert running(daemon) == 1
    capture.process.kill()
    capture.process.wait()
    wait_until(lambda: running(daemon) == 0, "the capture to end")
    lab.client.run(["ping", "-c", "1", nat64.SERVER_MAPPED])


def test_the_daemon_stops_during_a_capture(lab, daemon):
    capture = Capture(daemon, *TRAFFIC)
    lab.client.run(["ping", "-c", "1", nat64.SERVER_MAPPED])
    wait_until(lambda: capture.count() == 4, "the packets")
    assert daemon.stop() == 0
    assert capture.process.wait(5) == 1
    assert "4 packets captured" in capture.said() and "isthmus: error: " in capture.said()
    assert len(packets(capture.path)) == 4


def test_a_reload_during_a_capture(lab):
    daemon = start(lab, settings())
    capture = Capture(daemon, "--address", nat64.SERVER)
    for seconds in (100, 200, 300):
        configure(lab, settings(timeouts={"icmp": f"{seconds}s"}))
        daemon.command("reload")
        lab.client.run(["ping", "-c", "1", nat64.SERVER_MAPPED])
    assert len(capture.wait(12)) == 12


def test_a_flood_loses_nothing_by_a_capture_that_nobody_reads(lab, daemon):
    """A capture into a pipe that is not read fills up: what it misses is counted, what flows flows."""
    capture = Capture(daemon, "--verdict", "translated-6to4")
    capture.process.send_signal(signal.SIGSTOP)
    try:
        # Each answer calls for the next request: the queues of the kernel do not overflow by themselves.
        done = lab.client.run(["ping", "-f", "-q", "-l", "32", "-c", "30000", nat64.SERVER_MAPPED])
    finally:
        capture.process.send_signal(signal.SIGCONT)
    assert "30000 received, 0% packet loss" in done.stdout
    assert counter(daemon, "tun-write-errors") == 0
    # What the rings held arrives, then how many did not fit: all in all there is a record of each side.
    records = 2 * counter(daemon, "translated-6to4")
    assert records >= 60000
    wait_until(lambda: capture.missed() > 0 and capture.count() + capture.missed() == records,
               "records and misses to add up", seconds=20, pause=0.5)
    assert len(capture.end()) > 1000
    assert f"\n{capture.missed()} packets missed: they came faster than they were written\n" in capture.said()
