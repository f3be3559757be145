# SPDX-License-Identifier: BSD-2-Clause
"""Path MTUs of every kind: several side by side, routes that change, and paths
that swallow what is too big without a word. The real TCP of the kernel is at both ends."""
import hashlib
import os
import re
import time

import nat64
import pytest
from conftest import counter, settings, start
from namespace import wait_until

OWN = {"ipv6": "2001:db8:1::1", "ipv4": "203.0.113.1"}
ECHO = [{"protocol": "icmp", "ipv6": f"[{nat64.CLIENT}]:7", "ipv4": "192.0.2.17:7"}]
SECOND = "192.0.2.18"


def set_mtus(lab, ipv6, ipv4):
    lab.client.shell(f"ip link set eth0 mtu {ipv6}\n")
    lab.gateway.shell(f"ip link set lan0 mtu {ipv6}\nip link set wan0 mtu {ipv4}\n")
    lab.server.shell(f"ip link set eth0 mtu {ipv4}\n")


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def transfer(lab, machine=None, seconds=30):
    """The file down, and up again; both copies must be it."""
    machine = machine or lab.client
    copy, upload = lab.path("copy"), lab.path("www", "upload", "copy")
    machine.run(["curl", "-6", "-sS", "--fail", "--max-time", str(seconds), "-o", copy, nat64.URL + "/file"])
    machine.run(["curl", "-6", "-sS", "--fail", "--max-time", str(seconds), "-T", lab.path("www", "file"),
                 nat64.URL + "/upload/copy"])
    assert digest(copy) == digest(upload) == digest(lab.path("www", "file"))
    os.remove(copy)
    os.remove(upload)


def ping(machine, destination, size, *arguments):
    """How many of two pings are answered, and all that ping said."""
    text = machine.run(["ping", "-c", "2", "-i", "0.2", "-W", "2", "-s", str(size), *arguments, destination],
                       check=False).stdout
    return int(re.search(r"(\d+) received", text).group(1)), text


def mtu_of(daemon, side):
    return daemon.show("status")[0][f"mtu_{side}"]


def wait_for_mtus(daemon, ipv6, ipv4):
    """A link may get its carrier a little late, and its routes count from then on."""
    wait_until(lambda: (mtu_of(daemon, "ipv6"), mtu_of(daemon, "ipv4")) == (ipv6, ipv4), "the MTUs of the routes")


def test_each_destination_has_the_mtu_of_its_route(lab):
    """A client on 9000 bytes and one on 1420, a server on 9000."""
    neighbour = lab.add_neighbour()
    set_mtus(lab, 9000, 9000)
    lab.gateway.shell("ip link set lan1 mtu 1420\n")
    neighbour.shell("ip link set eth0 mtu 1420\n")
    static = ECHO + [{"protocol": "icmp", "ipv6": f"[{nat64.NEIGHBOUR}]:8", "ipv4": f"{SECOND}:8"}]
    daemon = start(lab, settings(address=OWN, static=static))
    wait_for_mtus(daemon, 1420, 9000)
    # Of 9000 bytes of IPv6, 8980 are left in IPv4; 28 of these are headers. Of 1420, 1400.
    wide = ["-e", "7", "-M", "do"]
    assert ping(lab.server, "192.0.2.17", 8952, *wide)[0] == 2
    received, text = ping(lab.server, "192.0.2.17", 8953, *wide)
    assert received == 0 and "mtu=8980" in text.replace(" ", "")
    narrow = ["-e", "8", "-M", "do"]
    assert ping(lab.server, SECOND, 1372, *narrow)[0] == 2
    received, text = ping(lab.server, SECOND, 1373, *narrow)
    assert received == 0 and "mtu=1400" in text.replace(" ", "")
    lab.start_web(size=5_000_000)
    transfer(lab)
    transfer(lab, neighbour)


def test_a_route_has_another_mtu_than_its_device(lab):
    lab.gateway.shell("ip route add 203.0.113.2/32 dev wan0 mtu 1400\n")
    daemon = start(lab, settings(address=OWN))
    wait_for_mtus(daemon, 1500, 1400)
    assert ping(lab.client, nat64.SERVER_MAPPED, 1372, "-M", "do")[0] == 2
    received, text = ping(lab.client, nat64.SERVER_MAPPED, 1373, "-M", "do")
    assert received == 0 and "mtu=1420" in text.replace(" ", "")


@pytest.mark.parametrize("side", ["ipv4", "ipv6"])
def test_an_mtu_that_shrinks_under_a_transfer(lab, side):
    daemon = start(lab, settings(address=OWN))
    lab.start_web(size=30_000_000)
    down = lab.client.start(["curl", "-6", "-sS", "--fail", "--limit-rate", "12M", "--max-time", "40", "-o",
                             lab.path("copy"), nat64.URL + "/file"])
    up = lab.client.start(["curl", "-6", "-sS", "--fail", "--limit-rate", "12M", "--max-time", "40", "-T",
                           lab.path("www", "file"), nat64.URL + "/upload/copy"])
    time.sleep(1)
    if side == "ipv4":
        lab.gateway.shell("ip route change 203.0.113.0/24 dev wan0 src 203.0.113.1 mtu 1300\n")
    else:
        lab.gateway.shell("ip -6 route change 2001:db8:1::/64 dev lan0 proto kernel metric 256 mtu 1300\n")
    wait_until(lambda: mtu_of(daemon, side) == 1300, "the new MTU")
    assert down.wait(45) == 0 and up.wait(45) == 0
    assert digest(lab.path("copy")) == digest(lab.path("www", "upload", "copy")) == \
        digest(lab.path("www", "file"))
    # The kernel may have told the sender before isthmus knew, by an error that isthmus translated.
    told = lab.client.run(["ip", "-6", "route", "get", nat64.SERVER_MAPPED]).stdout
    assert side == "ipv6" or re.search(r"mtu 1320\b", told)


def test_a_black_hole_is_no_harm_to_clamped_tcp(lab):
    """Nobody hears of ICMP errors. What the routes carry is yet known, and SYNs are told; otherwise it hangs."""
    set_mtus(lab, 9000, 9000)
    lab.gateway.shell("ip link set wan0 mtu 1300\nip link set lan0 mtu 1400\n")
    for machine in (lab.client, lab.server):
        machine.shell("nft add table inet deaf\n"
                      "nft 'add chain inet deaf in { type filter hook input priority 0; }'\n"
                      "nft add rule inet deaf in icmp type destination-unreachable drop\n"
                      "nft add rule inet deaf in icmpv6 type packet-too-big drop\n")
    lab.start_web(size=5_000_000)
    configuration = settings(address=OWN)
    configuration["translation"] = {"mss-clamp": False}
    daemon = start(lab, configuration)
    download = ["curl", "-6", "-sS", "--max-time", "3", "-o", "/dev/null", nat64.URL + "/file"]
    assert lab.client.run(download, check=False).returncode == 28  # time is up
    daemon.stop()
    wait_for_mtus(start(lab, settings(address=OWN)), 1400, 1300)
    transfer(lab)


# rfc: 7915-4-a, 7915-4.1-b
@pytest.mark.parametrize("lowest", [1280, 1500])
def test_datagrams_without_df_arrive_whole_at_the_client(lab, lowest):
    """Sizes around what fits: IPv4 without DF, from the server, to be fragmented by isthmus or not."""
    configuration = settings(address=OWN, static=[
        {"protocol": "udp", "ipv6": f"[{nat64.CLIENT}]:5000", "ipv4": "192.0.2.17:5000"}])
    configuration["translation"] = {"lowest-ipv6-mtu": lowest}
    daemon = start(lab, configuration)
    sizes = [1, 1200, 1231, 1232, 1233, 1234, 1240, 1248, 1400, 1451, 1452, 1453, 1471, 1472]
    receive = f"""import socket
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.bind(("::", 5000))
s.settimeout(10)
print("bound", flush=True)
for size in {sizes}:
    data = s.recv(65536)
    assert data == bytes(i * 7 % 251 for i in range(size)), (size, len(data))
"""
    send = f"""import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IP, 10, 0)  # IP_MTU_DISCOVER: never DF
for size in {sizes}:
    s.sendto(bytes(i * 7 % 251 for i in range(size)), ("192.0.2.17", 5000))
    time.sleep(0.01)
"""
    log = lab.path("receiver.log")
    with open(log, "w") as output:
        receiver = lab.client.start(["/usr/bin/python3", "-c", receive], stdout=output, stderr=output)
    wait_until(lambda: open(log).read().startswith("bound"), "the receiver")
    lab.server.run(["/usr/bin/python3", "-c", send])
    assert receiver.wait(15) == 0, open(log).read()
    limit = lowest - 48  # bytes of UDP payload that fit whole
    assert counter(daemon, "fragmented-4to6") == sum(size > limit for size in sizes)
    assert counter(daemon, "pieces-made") == 2 * sum(size > limit for size in sizes)


def test_pings_without_df_from_the_server(lab):
    daemon = start(lab, settings(address=OWN, static=ECHO))
    for size in (0, 1000, 1232, 1233, 1400, 1452):  # larger answers would be fragments themselves
        assert ping(lab.server, "192.0.2.17", size, "-e", "7", "-M", "dont")[0] == 2, size
    assert counter(daemon, "fragmented-4to6") > 0
