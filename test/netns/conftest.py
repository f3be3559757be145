# SPDX-License-Identifier: BSD-2-Clause
"""What the end-to-end tests share.

Each test gets a lab of its own (a quarter of a second) and starts the daemon with the configuration it
wants, so tests depend on nothing that another left, and any number of runs fit on one machine. The
program under test is build/isthmus, or what the variable ISTHMUS names. Its plane is TUN, but in tests that are
about others, or what the variable PLANE says.
"""
import json
import os
import signal
import sys

import pytest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "lab"))

import nat64  # noqa: E402
from namespace import LabError, Machine  # noqa: E402

PYTHON = "/usr/bin/python3"
PLANE = os.environ.get("PLANE", "tun")
CONNECTIONS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "connections.py")


def pytest_configure(config):
    # A killed test run cleans up like an interrupted one.
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.fixture(scope="session")
def namespaces():
    """Skips, with the reason, where no network namespaces can be made."""
    try:
        nat64.need_root()
        Machine("trial").close()
    except LabError as error:
        pytest.skip(str(error))


@pytest.fixture
def lab(namespaces):
    with nat64.Lab() as made:
        yield made


@pytest.fixture
def daemon(lab):
    """isthmus, running with the shipped example configuration as it is."""
    return nat64.Daemon(lab).start()


def settings(plane=None, **nat64_keys):
    """The example's network as a configuration, with keys added or replaced."""
    instance = {"name": "main", "prefix": nat64.PREFIX, "pool": [{"address": nat64.POOL}]}
    instance.update({key.replace("_", "-"): value for key, value in nat64_keys.items()})
    return {"plane": {"type": PLANE, **(plane or {})}, "nat64": [instance]}


def configure(lab, configuration, name="isthmus.yaml"):
    """Writes a configuration (JSON is YAML too); returns its path."""
    return lab.write(name, json.dumps(configuration, indent=2))


def start(lab, configuration, *arguments):
    return nat64.Daemon(lab, configure(lab, configuration), arguments).start()


def python(machine, script, *arguments, **options):
    """Runs a piece of Python on a machine; returns what it printed."""
    return machine.run([PYTHON, "-c", script, *arguments], **options).stdout


def counter(daemon, name):
    """A counter of `isthmus show counters`."""
    for row in daemon.show("counters"):
        if row.get("name") == name:
            return row["packets"] if "packets" in row else row["count"]
    raise AssertionError(f"no counter {name}")


def kernel_counters(machine):
    """The machine's TCP counters, as in /proc/net/snmp and /proc/net/netstat."""
    counters = {}
    lines = (machine.read("/proc/net/snmp") + machine.read("/proc/net/netstat")).splitlines()
    for names, values in zip(lines[::2], lines[1::2]):
        prefix = names.split(":")[0]
        if prefix in ("Tcp", "TcpExt"):
            counters.update(zip(names.split()[1:], map(int, values.split()[1:])))
    return counters
