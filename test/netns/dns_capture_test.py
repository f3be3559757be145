# SPDX-License-Identifier: BSD-2-Clause
"""What the name service refuses: in a capture, where tshark reads it as a query, and in `isthmus show dns`."""
import shutil
import signal
import struct

import nat64
import pytest
from captures import INBOUND, Capture, running, tshark
from conftest import python, settings, start
from namespace import wait_until

pytestmark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")

DNS6, DNS4 = nat64.GATEWAY6, nat64.GATEWAY4
A, AAAA, AXFR = 1, 28, 252
RECURSION_DESIRED, STATUS = 0x0100, 0x1000
REFUSED = 5
MORE = ("udp.srcport", "udp.dstport", "udp.payload", "udp.checksum.status", "dns.qry.name")

# Sends messages as they are, waits for the answer to each for a moment, and prints the port it came from and
# the answers, as hexadecimal digits.
SEND = """import socket, struct, sys
how, address, *messages = sys.argv[1:]
family = socket.AF_INET6 if ":" in address else socket.AF_INET
kind = socket.SOCK_STREAM if how == "tcp" else socket.SOCK_DGRAM
with socket.socket(family, kind) as end:
    end.settimeout(1)
    end.connect((address, 53))
    print(end.getsockname()[1])
    for message in map(bytes.fromhex, messages):
        end.sendall(struct.pack("!H", len(message)) + message if how == "tcp" else message)
        try:
            print(end.recv(4096)[2 if how == "tcp" else 0:].hex())
        except TimeoutError:
            print()
"""
FLOOD = """import socket, sys
udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
udp.connect((sys.argv[1], 53))
for number in range(int(sys.argv[3])):
    try:
        udp.send(bytes.fromhex(sys.argv[2]))
    except OSError:
        pass
"""


def query(name, kind=AAAA, flags=RECURSION_DESIRED, identifier=0x1234):
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.rstrip(".").split("."))
    return struct.pack("!6H", identifier, flags, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", kind, 1)


BROKEN = query("ipv4only.arpa")[:-3]  # the question is cut short


def dns(**keys):
    """The example's network, and a name service that knows only what it knows by itself."""
    keys = {key.replace("_", "-"): value for key, value in keys.items()}
    return {**settings(), "dns64": {"listen": [f"[{DNS6}]:53", f"{DNS4}:53"], "upstream": [nat64.SERVER],
                                    "dnssec": "off", **keys}}


def send(machine, address, *messages, how="udp"):
    """Returns the port they came from, and the answers."""
    port, *answers = python(machine, SEND, how, address, *(message.hex() for message in messages)).split("\n")[:-1]
    return port, [bytes.fromhex(answer) for answer in answers]


def sentence(daemon, name):
    """The comment of a message that was refused for this reason."""
    row, = (row for row in daemon.show("dns") if row.get("name") == name)
    return f"dns-{name}: {row['sentence']}"


def counted(daemon):
    return {row["name"]: row["count"] for row in daemon.show("dns") if "name" in row}


# --- captures ---------------------------------------------------------------------------------------------------


def test_a_malformed_message_is_shown_as_it_came(lab):
    daemon = start(lab, dns())
    capture = Capture(daemon, "--verdict", "dns-malformed")
    port, _ = send(lab.client, DNS6, query("ipv4only.arpa"), BROKEN)
    row, = capture.wait(1, *MORE)
    assert row["frame.comment"] == sentence(daemon, "malformed")
    assert row["frame.packet_flags_direction"] == INBOUND
    assert (row["ipv6.src"], row["udp.srcport"], row["ipv6.dst"], row["udp.dstport"]) \
        == (nat64.CLIENT, port, DNS6, "53")
    assert bytes.fromhex(row["udp.payload"]) == BROKEN
    assert row["frame.len"] == row["frame.cap_len"] == str(40 + 8 + len(BROKEN))
    text = tshark(capture.path, "-o", "udp.check_checksum:TRUE", "-T", "fields", "-e", "udp.checksum.status")
    assert text.split() == ["1"]


def test_over_ipv4(lab):
    daemon = start(lab, dns())
    capture = Capture(daemon, "--verdict", "refused")
    port, _ = send(lab.server, DNS4, BROKEN)
    row, = capture.wait(1, *MORE)
    assert (row["ip.src"], row["udp.srcport"], row["ip.dst"], row["udp.dstport"]) == (nat64.SERVER, port, DNS4, "53")
    assert bytes.fromhex(row["udp.payload"]) == BROKEN
    text = tshark(capture.path, "-o", "udp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE", "-T", "fields",
                  "-e", "udp.checksum.status", "-e", "ip.checksum.status")
    assert text.split() == ["1", "1"]


@pytest.mark.parametrize("how", ["udp", "tcp"])
def test_one_who_may_not_ask(lab, how):
    daemon = start(lab, dns(clients=["2001:db8:99::/48"]))
    capture = Capture(daemon, "--verdict", "dns-refused")
    port, (answer,) = send(lab.client, DNS6, query("ipv4only.arpa"), how=how)
    assert answer[3] & 15 == REFUSED
    row, = capture.wait(1, *MORE)
    assert row["frame.comment"].startswith(sentence(daemon, "refused"))
    assert ("came over TCP" in row["frame.comment"]) == (how == "tcp")
    assert (row["ipv6.src"], row["udp.srcport"]) == (nat64.CLIENT, port)
    assert bytes.fromhex(row["udp.payload"]) == query("ipv4only.arpa")
    assert row["dns.qry.name"].rstrip(".") == "ipv4only.arpa"


def test_each_reason_by_its_name(lab):
    """What is answered is in no capture; what is not has one reason, and is counted under it."""
    daemon = start(lab, dns())
    messages = {"malformed": BROKEN, "not-implemented": query("ipv4only.arpa", flags=STATUS),
                "refused-type": query("ipv4only.arpa", AXFR), "not-recursive": query("ipv4only.arpa", flags=0)}
    every = Capture(daemon, "--verdict", "dns", name="every.pcapng")
    alone = Capture(daemon, "--verdict", "dns-refused-type,dropped", name="alone.pcapng")
    send(lab.client, DNS6, query("ipv4only.arpa"), *messages.values(), query("ipv4only.arpa", A))
    rows = every.wait(len(messages), *MORE)
    assert {row["frame.comment"].split(":")[0][4:]: bytes.fromhex(row["udp.payload"]) for row in rows} == messages
    alone.wait(1)
    counts = counted(daemon)
    assert [counts[name] for name in messages] == [1] * len(messages)
    assert counts["queries-udp"] == len(messages) + 2 and counts["local"] + counts["cache-hits"] == 2


def test_packets_and_messages_in_one_capture(lab):
    daemon = start(lab, dns())
    capture = Capture(daemon, "--address", nat64.CLIENT)
    other = Capture(daemon, "--verdict", "dns", "--address", nat64.NEIGHBOUR, name="other.pcapng")
    lab.client.run(["ping", "-c", "1", nat64.SERVER_MAPPED])
    send(lab.client, DNS6, BROKEN)
    lab.client.run(["ping", "-c", "1", nat64.SERVER_MAPPED])
    names = [row["frame.comment"].split(":")[0] for row in capture.wait(9)]
    assert names == ["translated-6to4", "Result of translated-6to4.", "translated-4to6", "Result of translated-4to6.",
                     "dns-malformed", "translated-6to4", "Result of translated-6to4.", "translated-4to6",
                     "Result of translated-4to6."]
    assert other.end() == []


def test_a_flood_adds_up_and_holds_nobody_up(lab):
    """A capture that is not read fills up; the name service does not wait for it."""
    daemon = start(lab, dns(rate_limit={"per-client": 0}))
    capture = Capture(daemon, "--verdict", "dns", "-s", "1000")
    message = query("ipv4only.arpa", flags=STATUS) + bytes(900)
    capture.process.send_signal(signal.SIGSTOP)
    try:
        python(lab.client, FLOOD, DNS6, message.hex(), "20000")
        _, (answer,) = send(lab.client, DNS6, query("ipv4only.arpa"))
        assert answer[3] & 15 == 0
    finally:
        capture.process.send_signal(signal.SIGCONT)
    assert running(daemon) == 1
    counts = counted(daemon)
    seen = counts["not-implemented"] + counts["malformed"]
    assert seen > 3000  # of which the ring and the pipe hold less than half
    wait_until(lambda: capture.count() + capture.missed() == seen, "records and misses to add up", seconds=20,
               pause=0.5)
    assert capture.missed() > 0 and len(capture.end()) > 100


# --- show dns ---------------------------------------------------------------------------------------------------


def test_show_dns(lab):
    daemon = start(lab, dns())
    done = daemon.command("show", "dns")
    assert done.stdout == "" and "no queries yet; --all lists the counters" in done.stderr
    send(lab.client, DNS6, *[query("ipv4only.arpa")] * 3, query("nobody.answers.example"))
    send(lab.client, DNS6, BROKEN, how="tcp")
    rows = daemon.show("dns")
    counts = {row["name"]: row["count"] for row in rows if "name" in row}
    assert (counts["queries-udp"], counts["queries-tcp"], counts["malformed"]) == (4, 1, 1)
    assert counts["local"] + counts["cache-hits"] == 3
    wait_until(lambda: sum(row.get("lookups", 0) for row in daemon.show("dns")) == counted(daemon)["lookups"] >= 1,
               "the lookup to end", seconds=10)
    # Ranges of times that follow one another, the last without an end.
    ranges = [(row["from_ms"], row["below_ms"]) for row in rows if "from_ms" in row]
    assert ranges[0] == (0, 1) and ranges[-1][1] is None
    assert all(before[1] == after[0] for before, after in zip(ranges, ranges[1:]))
    table = daemon.command("show", "dns").stdout
    assert max(map(len, table.splitlines())) <= 160
    assert any(line.split()[:2] == ["queries-udp", "4"] for line in table.splitlines())
    assert "rate-limited" not in table and "took ms from" in table
    everything = daemon.command("show", "dns", "--all").stdout
    assert all(row["sentence"] in everything for row in rows if "sentence" in row)


def test_show_dns_without_a_name_service(lab, daemon):
    for arguments in ((), ("--json",)):
        done = daemon.command("show", "dns", *arguments, check=False)
        assert done.returncode == 1 and done.stdout == ""
        assert "dns64 is not configured; " in done.stderr
