# SPDX-License-Identifier: BSD-2-Clause
"""The lab itself: however its owner ends, nothing of it stays."""
import json
import os
import signal
import subprocess
import sys

import nat64
import pytest
from guardian import identity, inhabitants
from namespace import wait_until

OWNER = f"""
import json, os, sys, time
sys.path.insert(0, {os.path.join(nat64.ROOT, "lab")!r})
import nat64
lab = nat64.Lab()
lab.start_web(1000)
daemon = nat64.Daemon(lab).start()
# One that has left its parent, its session, and what the kernel would kill it by.
lab.client.run(["sh", "-c", "setsid setpriv --reuid nobody --clear-groups sleep 1000 >/dev/null 2>&1 &"])
print(json.dumps([[machine.keeper.pid for machine in lab.machines], lab.directory, daemon.process.pid]), flush=True)
sys.stdin.readline()
lab.close()
print("closed", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def owner(namespaces):
    """A process with a lab, its namespaces, its directory and its daemon."""
    process = subprocess.Popen([sys.executable, "-c", OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               text=True, start_new_session=True)
    try:
        keepers, directory, daemon = json.loads(process.stdout.readline())
        spaces = {identity(os.stat(f"/proc/{pid}/ns/net")) for pid in keepers}
        assert daemon in inhabitants(spaces) and len(inhabitants(spaces)) >= 6
        yield process, spaces, directory
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def wait_for_nothing(spaces, directory):
    wait_until(lambda: not inhabitants(spaces) and not os.path.exists(directory), "the lab to be gone", seconds=10)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "terminated"])
def test_a_lab_goes_with_its_owner(owner, number):
    process, spaces, directory = owner
    os.killpg(process.pid, number)
    assert process.wait(5) == -number
    wait_for_nothing(spaces, directory)


def test_a_closed_lab_is_forgotten(owner):
    """What it made is gone at once, by its own doing; the guardian is idle and ends with the owner."""
    process, spaces, directory = owner
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == "closed\n"
    assert not os.path.exists(directory) and not inhabitants(spaces)
    with open(f"/proc/{process.pid}/task/{process.pid}/children") as file:
        guardian, = map(int, file.read().split())
    open_files = [os.readlink(f"/proc/{guardian}/fd/{number}") for number in os.listdir(f"/proc/{guardian}/fd")]
    assert not [name for name in open_files if name.startswith("net:")]
    process.kill()
    wait_until(lambda: not os.path.exists(f"/proc/{guardian}"), "the guardian to end")


def test_a_killed_guardian_harms_no_lab(owner):
    process, spaces, directory = owner
    with open(f"/proc/{process.pid}/task/{process.pid}/children") as file:
        children = file.read().split()
    guardians = [int(pid) for pid in children if "guardian.py" in open(f"/proc/{pid}/cmdline").read()]
    assert len(guardians) == 1
    os.kill(guardians[0], signal.SIGKILL)
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == "closed\n"
    assert not os.path.exists(directory) and not inhabitants(spaces)
