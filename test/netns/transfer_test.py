# SPDX-License-Identifier: BSD-2-Clause
"""Bulk transfers by real programs: curl with equal checksums, iperf3, and the order of packets."""
import hashlib
import json

import nat64
import pytest
from conftest import kernel_counters

ALONE = "it loads both processors"


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def iperf(lab, *arguments, seconds=2):
    done = lab.client.run(["iperf3", "-c", nat64.SERVER_MAPPED, "-J", "-t", str(seconds), *arguments])
    return json.loads(done.stdout)["end"]


def test_download_arrives_unchanged(lab, daemon):
    lab.start_web()
    copy = lab.path("copy")
    lab.client.run(["curl", "-6", "-sS", "--fail", "-o", copy, nat64.URL + "/file"])
    assert sha256(copy) == sha256(lab.path("www", "file"))


def test_upload_arrives_unchanged(lab, daemon):
    lab.start_web()
    lab.client.run(["curl", "-6", "-sS", "--fail", "-T", lab.path("www", "file"),
                    nat64.URL + "/upload/copy"])
    assert sha256(lab.path("www", "upload", "copy")) == sha256(lab.path("www", "file"))


def test_server_sees_a_pool_address(lab, daemon):
    lab.start_web(size=1)
    page = lab.client.run(["curl", "-6", "-sS", nat64.URL + "/"]).stdout
    seen = page.split("You are ")[1].split(".\n")[0]
    assert seen in {f"192.0.2.{last}" for last in range(16, 32)}


@pytest.mark.parametrize("direction", [(), ("-R",)], ids=["to-server", "to-client"])
def test_iperf_tcp(lab, daemon, direction):
    lab.start_iperf()
    end = iperf(lab, *direction)
    assert end["sum_received"]["bits_per_second"] > 100e6


@pytest.mark.parametrize("direction", [(), ("-R",)], ids=["to-server", "to-client"])
def test_iperf_udp_loses_next_to_nothing(lab, daemon, direction):
    lab.start_iperf()
    # A receiving socket with room for a pause of the program: what is lost is lost on the way.
    end = iperf(lab, "-u", "-b", "100M", "-l", "1200", "-w", "2M", *direction)
    assert end["sum"]["packets"] > 15000
    assert end["sum"]["lost_percent"] < 0.1


# rfc: 7915-4-d
@pytest.mark.parametrize("direction", [(), ("-R",)], ids=["to-server", "to-client"])
def test_packets_of_a_flow_stay_in_order(lab, daemon, direction):
    """Eight flows at once: nothing sent again for having come out of order, hardly anything queued."""
    lab.start_iperf()
    sender, receiver = (lab.server, lab.client) if direction else (lab.client, lab.server)
    sent, received = kernel_counters(sender), kernel_counters(receiver)
    end = iperf(lab, "-P", "8", *direction)
    assert end["sum_received"]["bits_per_second"] > 100e6
    sent_after, received_after = kernel_counters(sender), kernel_counters(receiver)
    reordering = ("TCPSACKReorder", "TCPRenoReorder", "TCPTSReorder", "TCPDSACKRecv", "TCPSpuriousRTOs")
    seen = {name: sent_after[name] - sent[name] for name in reordering}
    segments = sent_after["OutSegs"] - sent["OutSegs"]
    assert sum(seen.values()) <= segments / 10000, seen
    late = received_after["TCPOFOQueue"] - received["TCPOFOQueue"]
    again = sent_after["RetransSegs"] - sent["RetransSegs"]
    assert again <= segments / 100
    # What came out of order came so because something before it was lost and sent again.
    assert late <= 5 + 200 * again


def test_super_packets_stay_whole(lab, daemon):
    """The device passes far fewer packets than the wire would: TCP crosses in bundles of up to 64 KB."""
    lab.start_iperf()

    def packets():
        rows = json.loads(lab.gateway.run(["ip", "-j", "-s", "link", "show", "isthmus0"]).stdout)
        return rows[0]["stats64"]["tx"]["packets"], rows[0]["stats64"]["tx"]["bytes"]
    count, size = packets()
    iperf(lab, seconds=1)
    count_after, size_after = packets()
    assert (size_after - size) / (count_after - count) > 3000
