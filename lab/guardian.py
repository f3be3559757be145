# SPDX-License-Identifier: BSD-2-Clause
"""Removes what a lab made when its owner is gone.

The kernel kills keepers and programs together with the process that made them, see namespace.py, but not those
that have changed their credentials, as the daemon does, nor what programs started themselves. Then a lab whose
owner dies by kill -9 would stay: daemon, namespaces, directory.

So the owner has a child that does nothing but listen at a pipe whose other end only the owner holds:

    owner                                   guardian
    machine 4711            ----->          opens the network namespace of 4711
                            <-----          ok
    forget 4711             ----->          closes it
    directory /tmp/...      ----->
    (end of file)           ----->          kills whoever is in one of the namespaces, removes directories

The end of file comes however the owner ends. An open namespace keeps its number, so nobody else's can be taken
for it. The guardian has a session of its own: what is sent to the owner's process group does not reach it.
"""
import os
import shutil
import signal
import subprocess
import sys
import time

PATIENCE = 10  # seconds until everything that was killed must be gone


def identity(status):
    return status.st_dev, status.st_ino


def inhabitants(namespaces):
    """The processes in one of these network namespaces, each given as (device, inode)."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                if identity(os.stat(f"/proc/{name}/ns/net")) in namespaces:
                    found.append(int(name))
            except OSError:  # it has ended meanwhile
                pass
    return found


def kill_inhabitants(namespaces):
    """Kills until nobody is left: who is killed may just have started another."""
    deadline = time.monotonic() + PATIENCE
    while namespaces and time.monotonic() < deadline and (found := inhabitants(namespaces)):
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.02)


class Guardian:
    """The owner's side. One for a process is enough; a process that was forked gets its own."""

    def __init__(self):
        self.process = subprocess.Popen([sys.executable, "-I", "-S", os.path.abspath(__file__)],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)

    def tell(self, *words):
        """Tells the guardian, and waits until it knows."""
        try:
            self.process.stdin.write((" ".join(map(str, words)) + "\n").encode())
            self.process.stdin.flush()
            self.process.stdout.readline()
        except BrokenPipeError:  # somebody killed it; the lab works without
            pass


_guardians = {}


def guardian():
    """That of this process."""
    if os.getpid() not in _guardians:
        _guardians[os.getpid()] = Guardian()
    return _guardians[os.getpid()]


def listen():
    """Until the owner is gone: keeps what it says. Returns namespaces and directories."""
    machines, directories = {}, set()
    for line in sys.stdin.buffer:
        what, name = line.decode().rstrip("\n").split(" ", 1)
        try:
            if what == "machine":
                machines[name] = os.open(f"/proc/{name}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            elif what == "directory":
                directories.add(name)
            elif name in machines:
                os.close(machines.pop(name))
            else:
                directories.discard(name)
        except FileNotFoundError:  # ended before we looked
            pass
        try:
            os.write(1, b"ok\n")
        except BrokenPipeError:
            break
    return {identity(os.fstat(descriptor)) for descriptor in machines.values()}, directories


def remove(namespaces, directories):
    kill_inhabitants(namespaces)
    for directory in directories:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    remove(*listen())
