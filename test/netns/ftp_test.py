# SPDX-License-Identifier: BSD-2-Clause
"""FTP in passive mode, without help: curl asks by EPSV (RFC 2428), whose answer names a port and no address, so
nothing in it needs translation. That is why isthmus has no application layer gateway for FTP."""
import os

import nat64
import pytest
from side_by_side import WAYS, read, serve, side_by_side, static

SERVER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "ftp_server.py")
SIZE = 3_000_000


@pytest.fixture(scope="module")
def served(namespaces):
    with side_by_side(bindings=[static("tcp", 21)]) as (lab, daemon):
        lab.write("file", os.urandom(SIZE))
        for name, machine, address in (("client", lab.client, "::"), ("server", lab.server, nat64.SERVER)):
            serve(machine, lab.path(name + ".log"), read(SERVER), address, lab.directory)
        yield lab, daemon


def transfer(lab, machine, host, log):
    """Down and up again; returns the commands that the server heard."""
    before = len(read(log))
    curl = ["curl", "-sS", "--fail", "--max-time", "20"]
    machine.run([*curl, "-o", lab.path("down"), f"ftp://{host}/file"])
    machine.run([*curl, "-T", lab.path("down"), f"ftp://{host}/up"])
    for copy in ("down", "up"):
        with open(lab.path("file"), "rb") as expected, open(lab.path(copy), "rb") as file:
            assert file.read() == expected.read()
        os.remove(lab.path(copy))
    return read(log)[before:].split()


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_from_the_client(served, way):
    lab, _ = served
    commands = transfer(lab, lab.client, f"[{way.server}]", lab.path("server.log"))
    assert commands.count("EPSV") == 2 and "PASV" not in commands


def test_from_the_server_to_a_mapped_client(served):
    lab, _ = served
    commands = transfer(lab, lab.server, WAYS[1].client, lab.path("client.log"))
    assert commands.count("EPSV") == 2 and "PASV" not in commands
