# SPDX-License-Identifier: BSD-2-Clause
"""What the end-to-end tests share.

Each test gets a lab of its own (a quarter of a second) and starts the daemon with the configuration it
wants, so tests depend on nothing that another left, and any number of runs fit on one machine. The
program under test is build/isthmus, or what the variable ISTHMUS names. Its plane is TUN, but in tests that are
about others, or what the variable PLANE says. Programs of the eBPF plane are attached to interfaces of the
lab's gateway and pinned in a bpffs that is mounted there, see lab/namespace.py: nothing of the host's.
"""
import json
import os
import signal
import sys

import pytest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "lab"))

import nat64  # noqa: E402
from namespace import LabError, Machine, wait_until  # noqa: E402

PYTHON = "/usr/bin/python3"
PLANE = os.environ.get("PLANE", "tun")
# As which hop isthmus shows, and how many the gateway is: the kernel, isthmus, the kernel; or isthmus alone.
ISTHMUS_HOP, GATEWAY_HOPS = (1, 1) if PLANE == "bpf" else (2, 3)
CONNECTIONS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "connections.py")


def pytest_configure(config):
    # A killed test run cleans up like an interrupted one.
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.fixture(scope="session")
def namespaces():
    """Skips, with the reason, where no network namespaces can be made, or not the plane that PLANE says."""
    try:
        nat64.need_root()
        Machine("trial").close()
    except LabError as error:
        pytest.skip(str(error))
    if PLANE != "tun":
        need_plane(PLANE)


def need_plane(plane):
    """Skips where the kernel does not have it, for the reason that the daemon gives."""
    with nat64.Lab() as made:
        daemon = nat64.Daemon(made, configure(made, settings({"type": plane}))).launch()
        wait_until(lambda: daemon.process.poll() is not None or "ready:" in daemon.log(), "the trial", seconds=20)
        if daemon.process.poll() is not None:
            assert "cannot be had: " in daemon.log(), daemon.log()
            pytest.skip(daemon.log().strip().splitlines()[-1])


@pytest.fixture(scope="session")
def bpf(namespaces):
    """Skips, with the reason, where the eBPF plane cannot be had."""
    need_plane("bpf")


@pytest.fixture
def lab(namespaces):
    with nat64.Lab() as made:
        yield made


@pytest.fixture
def daemon(lab):
    """isthmus, running with the shipped example configuration, but for the plane."""
    return nat64.Daemon(lab, example(lab)).start()


def example(lab):
    """A copy of the shipped example, with the plane that is asked for; returns its path."""
    with open(nat64.EXAMPLE) as file:
        text = file.read()
    assert text.count("\n  type: auto\n") == 1
    return lab.write("example.yaml", text.replace("\n  type: auto\n", f"\n  type: {PLANE}\n"))


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
