# SPDX-License-Identifier: BSD-2-Clause
"""What a supervisor is told, and what it allows: the daemon as a service of systemd, with stand-ins.

The stand-in for the notify socket runs on the gateway, because abstract names belong to a network namespace. Of
the unit's sandbox the capabilities and the read-only file systems are imitated; the rest is systemd's.
"""
import os
import re
import subprocess
import time
from subprocess import PIPE

import nat64
import pytest
from conftest import PYTHON, configure, settings
from lifecycle_test import only_sessions_stay
from nat64 import snapshot
from namespace import wait_until

UNIT = os.path.join(nat64.ROOT, "packaging", "isthmus.service")

_LISTEN = """import os, socket, sys
os.umask(0)  # as systemd's, it is for every user
listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
listener.bind(sys.argv[1].replace("@", chr(0), 1))
print("listening", flush=True)
while True:
    os.write(1, listener.recv(4096).replace(b"\\n", b" ") + b"\\n")  # a line at once
"""


class Supervisor:
    """A notify socket on the gateway; says what it hears, a line a message."""

    def __init__(self, lab, address):
        self.address = address
        heard = lab.path("heard")
        with open(heard, "w") as out:
            self.process = lab.gateway.start([PYTHON, "-c", _LISTEN, address], stdout=out)
        self.heard = open(heard)
        assert self.hears() == "listening"

    def hears(self):
        return wait_until(self.heard.readline, "a message", seconds=10).strip()

    def hears_no_more(self):
        self.process.terminate()
        self.process.wait()
        return self.heard.read() == ""


@pytest.fixture(params=["path", "abstract"])
def supervisor(request, lab):
    name = "/run/notify" if request.param == "path" else "@isthmus-test-notify"
    return Supervisor(lab, name)


def launch(lab, supervisor, configuration):
    daemon = nat64.Daemon(lab, configure(lab, configuration))
    daemon.log_path = lab.path("service.log")
    with open(daemon.log_path, "w") as log:
        daemon.process = lab.gateway.start([daemon.program, "run", "-c", daemon.config], stdout=log, stderr=log,
                                           env={**os.environ, "NOTIFY_SOCKET": supervisor.address})
    return daemon


def microseconds():
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


def test_a_life(lab, supervisor):
    daemon = launch(lab, supervisor, settings())
    assert supervisor.hears() == "READY=1"
    # It is true at that moment, at the first try.
    assert daemon.show("status")[0]["ready"] is True
    lab.client.run(["ping", "-c", "1", "-W", "2", nat64.SERVER_MAPPED])

    before = microseconds()
    daemon.command("reload")
    match = re.fullmatch(r"RELOADING=1 MONOTONIC_USEC=(\d+)", supervisor.hears())
    assert before <= int(match[1]) <= microseconds()
    assert supervisor.hears() == "READY=1"

    daemon.process.terminate()
    assert supervisor.hears() == "STOPPING=1"
    assert daemon.process.wait(5) == 0
    assert supervisor.hears_no_more()


def test_a_reload_that_is_refused_is_over_too(lab, supervisor):
    daemon = launch(lab, supervisor, settings())
    assert supervisor.hears() == "READY=1"
    lab.write("isthmus.yaml", "nonsense")
    assert daemon.command("reload", check=False).returncode == 1
    assert supervisor.hears().startswith("RELOADING=1")
    assert supervisor.hears() == "READY=1"


def test_a_start_that_fails_is_never_ready(lab, supervisor):
    daemon = launch(lab, supervisor, settings({"name": "wan0"}))
    assert daemon.process.wait(10) == 1
    assert supervisor.hears_no_more()


def unit(key):
    """The words of a key of the unit."""
    with open(UNIT) as file:
        return [word for line in file if line.startswith(key + "=") for word in line.strip().split("=", 1)[1].split()]


def sandboxed(command):
    """The command under the unit's capabilities, with only what it names writable of /proc/sys and /run. The bpffs
    that it names as well is the machine's own: the tests of the eBPF plane have theirs."""
    capabilities = ",".join("+" + name.removeprefix("CAP_").lower() for name in unit("CapabilityBoundingSet"))
    assert unit("ReadWritePaths") == ["/proc/sys/net", "-/sys/fs/bpf"]
    assert unit("RuntimeDirectory") == ["isthmus"]
    return ["unshare", "--mount", "sh", "-ec", f"""
mkdir -p /run/isthmus
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
mount --bind /proc/sys/net /proc/sys/net
mount -o remount,bind,rw /proc/sys/net
mount --bind /run/isthmus /run/isthmus
mount -o remount,ro,bind /run
! touch /run/elsewhere 2>/dev/null
exec setpriv --bounding-set -all,{capabilities} --no-new-privs "$@"
""", "sh", *command]


def test_the_sandbox_suffices(lab, supervisor):
    before = snapshot(lab.gateway)
    daemon = nat64.Daemon(lab, configure(lab, settings({"workers": 2})))
    log = lab.path("service.log")
    for _ in range(2):
        with open(log, "w") as out:
            daemon.process = lab.gateway.start(
                sandboxed([daemon.program, "run", "-c", daemon.config]), stdout=out, stderr=out,
                env={**os.environ, "NOTIFY_SOCKET": supervisor.address})
        assert supervisor.hears() == "READY=1"
        lab.client.run(["ping", "-c", "1", "-W", "2", nat64.SERVER_MAPPED])
        daemon.command("reload")
        assert supervisor.hears().startswith("RELOADING=1") and supervisor.hears() == "READY=1"
        assert daemon.stop() == 0
        assert supervisor.hears() == "STOPPING=1"
        with open(log) as file:
            text = file.read()
        assert "with 2 queues" in text and "cannot" not in text, text
        only_sessions_stay(lab, before)
    assert "continues with" in text


def system_calls(group):
    """All that systemd means by the name of a group."""
    listed = subprocess.run(["systemd-analyze", "--no-pager", "syscall-filter", group], stdout=PIPE, text=True,
                            check=True, env={**os.environ, "SYSTEMD_COLORS": "0"}).stdout.splitlines()[1:]
    names = {line.strip() for line in listed if line.strip() and not line.strip().startswith("#")}
    return {name for name in names if name[0] != "@"}.union(
        *(system_calls(name) for name in names if name[0] == "@"))


def test_the_system_calls_are_allowed(lab):
    for tool in ("strace", "systemd-analyze"):
        if subprocess.run(["sh", "-c", f"command -v {tool}"], stdout=PIPE).returncode != 0:
            pytest.skip(f"needs {tool}")
    allowed = set().union(*(system_calls(word) if word[0] == "@" else {word} for word in unit("SystemCallFilter")))
    daemon = nat64.Daemon(lab, configure(lab, settings({"workers": 2})))
    trace = lab.path("trace")
    daemon.process = lab.gateway.start(["strace", "-f", "-qq", "-o", trace, daemon.program, "run", "-c", daemon.config],
                                       stderr=subprocess.DEVNULL)
    wait_until(lambda: daemon.command("show", "status", check=False).returncode == 0, "the daemon", seconds=20)
    lab.client.run(["ping", "-c", "1", "-W", "2", nat64.SERVER_MAPPED])
    daemon.command("reload")
    daemon.show("sessions")
    with open(f"/proc/{daemon.process.pid}/task/{daemon.process.pid}/children") as file:
        os.kill(int(file.read().split()[0]), 15)
    daemon.process.wait(10)
    with open(trace) as file:
        used = set(re.findall(r"^\d+ +([a-z_0-9]+)\(", file.read(), re.MULTILINE))
    assert "ioctl" in used and "bpf" in used
    assert not used - allowed
