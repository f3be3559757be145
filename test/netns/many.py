# SPDX-License-Identifier: BSD-2-Clause
"""What the tests with very many connections and sessions share."""
import os

import nat64
from namespace import LabError


def program(name):
    """A program that `make test` built for these tests, where the program under test was built."""
    path = os.path.join(os.environ.get("ISTHMUS_BUILD", os.path.join(nat64.ROOT, "build")), name)
    if not os.access(path, os.X_OK):
        raise LabError(f"{path} is not there; `make test` builds it")
    return path


def add_subscribers(lab, count):
    """Client addresses, each in a /64 of its own, which makes it a subscriber of its own."""
    addresses = [f"2001:db8:c:{number:x}::1" for number in range(count)]
    lab.client.shell("".join(f"ip address add {address}/128 dev lo\n" for address in addresses))
    lab.gateway.shell(f"ip route add 2001:db8:c::/48 via {nat64.CLIENT}\n")
    return addresses
