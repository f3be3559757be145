# SPDX-License-Identifier: BSD-2-Clause
"""One daemon with an instance of nat64 and one of siit, so that a test can be done in both ways.

                          the client reaches the server as      the server reaches the client as
    nat64                 2001:db8:64::203.0.113.2              192.0.2.17, by static bindings
    siit                  2001:db8:65::203.0.113.2              192.0.2.40

A module whose tests cannot disturb each other shares one such lab: its start costs more than most of them.
"""
import contextlib
import os
import re
from dataclasses import dataclass

import nat64
from conftest import PLANE, PYTHON, configure
from namespace import wait_until

OWN = {"ipv6": nat64.GATEWAY6, "ipv4": nat64.GATEWAY4}
SIIT_PREFIX = "2001:db8:65::"
ECHO_ID = 7
PINGS = 3


@dataclass(frozen=True)
class Way:
    """How client and server see each other."""
    name: str
    server: str  # as the client sees it
    client: str  # as the server sees it
    prefix: str

    def __str__(self):
        return self.name


NAT64 = Way("nat64", nat64.SERVER_MAPPED, "192.0.2.17", "2001:db8:64::")
SIIT = Way("siit", SIIT_PREFIX + "cb00:7102", "192.0.2.40", SIIT_PREFIX)
WAYS = [NAT64, SIIT]


def static(protocol, port, client=nat64.CLIENT, address=NAT64.client):
    return {"protocol": protocol, "ipv6": f"[{client}]:{port}", "ipv4": f"{address}:{port}"}


def configuration(bindings=(), translation=None, plane=PLANE, **siit_keys):
    """Both instances; the client has a static binding for pings with the identifier ECHO_ID."""
    stateless = {"name": "dc", "prefix": SIIT_PREFIX + "/96", "address": OWN,
                 "eam": [{"ipv4": SIIT.client, "ipv6": nat64.CLIENT}]}
    stateless.update({key.replace("_", "-"): value for key, value in siit_keys.items()})
    return {
        "plane": {"type": plane},
        "nat64": [{"name": "main", "prefix": nat64.PREFIX, "address": OWN, "pool": [{"address": nat64.POOL}],
                   "static": [static("icmp", ECHO_ID), *bindings]}],
        "siit": [stateless],
        "translation": translation or {},
    }


def set_mtus(lab, ipv6, ipv4):
    """The MTU of each of the two links, at both ends."""
    lab.client.shell(f"ip link set eth0 mtu {ipv6}\n")
    lab.gateway.shell(f"ip link set lan0 mtu {ipv6}\nip link set wan0 mtu {ipv4}\n")
    lab.server.shell(f"ip link set eth0 mtu {ipv4}\n")


def wait_for_mtus(daemon, ipv6, ipv4):
    """A link may get its carrier a little late, and its routes count from then on."""
    def known():
        status = daemon.show("status")[0]
        return (status["mtu_ipv6"], status["mtu_ipv4"]) == (ipv6, ipv4)
    wait_until(known, f"MTUs of {ipv6} and {ipv4}")


def forget_path_mtus(lab):
    """What client and server have learned of paths, they learn anew."""
    for machine, family in ((lab.client, "-6"), (lab.server, "-4")):
        machine.run(["ip", family, "route", "flush", "cache"])


@contextlib.contextmanager
def side_by_side(mtus=(1500, 1500), prepare=None, **keys):
    """A lab, which `prepare` may change, and its daemon, with both instances."""
    with nat64.Lab() as lab:
        if prepare:
            prepare(lab)
        set_mtus(lab, *mtus)
        lab.server.shell(f"ip route add {SIIT.client}/32 via {nat64.GATEWAY4}\n")
        daemon = nat64.Daemon(lab, configure(lab, configuration(**keys))).start()
        wait_for_mtus(daemon, *mtus)
        yield lab, daemon


def ping(machine, destination, size, *arguments):
    """How many of PINGS came back with all their bytes as they were, and what ping said. When some have, it waits for
    the others no longer than those took or than its interval is, too short on a busy machine: then once more."""
    for _ in range(3):
        text = machine.run(["ping", "-c", str(PINGS), "-i", "0.005", "-W", "1", "-s", str(size), *arguments,
                            destination], check=False).stdout
        assert "wrong data" not in text and "corrupted" not in text and "DUP" not in text, text
        received = int(re.search(r"(\d+) received", text).group(1))
        if received in (0, PINGS):
            break
    return received, text


def serve(machine, log, script, *arguments):
    """Starts a piece of Python that prints "ready" when it listens. Its output goes to the file `log`."""
    with open(log, "w") as output:
        process = machine.start([PYTHON, "-c", script, *map(str, arguments)], stdout=output, stderr=output)
    wait_until(lambda: "ready" in read(log) or process.poll() is not None, "a server")
    assert process.poll() is None, read(log)
    return process


def read(path):
    with open(path) as file:
        return file.read()


def remove(*paths):
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            os.remove(path)
