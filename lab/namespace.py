# SPDX-License-Identifier: BSD-2-Clause
"""Machines made of Linux namespaces.

A machine is a network, a mount and a host-name namespace, held open by one sleeping process, its keeper.
Nothing is named on the host: no entry under /run/netns, no file, no mount. So any number of labs stand side
by side, and when the keeper and the programs of a machine are gone, the kernel has taken the rest down.

Keeper and programs ask the kernel to kill them when the process that made them dies, and a guardian
(guardian.py) ends who does not listen to that, so that not even kill -9 leaves anything behind; only a lab that
is to stay (keep=True) does without. Programs are started by nsenter, which replaces itself by the program: the
process id of one is that of the other.

In a machine /sys shows its own interfaces and has no bpffs until somebody mounts one, and /run is empty and its
own: a daemon that keeps sockets, state and pins there cannot meet the daemon of another lab.
"""
import ctypes
import os
import shlex
import signal
import subprocess
import time

from guardian import guardian, identity, kill_inhabitants

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)

_KEEPER = """set -e
mount -t sysfs sysfs /sys 2>/dev/null || umount /sys/fs/bpf 2>/dev/null || true
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/mount  # where mount(8) keeps notes
hostname "$0"
ip link set lo up
echo ready
exec sleep infinity
"""


class LabError(Exception):
    """A sentence for a person: what was tried and what came back."""


def _die_with_parent():
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def end(process, patience=5.0):
    """Ends a process by SIGTERM, or SIGKILL when it takes no notice; returns its exit status."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
    return process.wait()


def wait_until(condition, what, seconds=5.0, pause=0.02):
    """Polls until condition() is true and returns its value."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise LabError(f"waited {seconds:g} s in vain for {what}")
        time.sleep(pause)


class Machine:
    def __init__(self, name, keep=False):
        self.name = name
        self.keep = keep
        self.processes = []
        self.keeper = None
        keeper = self._popen(
            ["unshare", "--net", "--mount", "--uts", "sh", "-c", _KEEPER, name],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if keeper.stdout.readline() != "ready\n":
            reason = keeper.stderr.read().strip()
            end(keeper)
            raise LabError(f"cannot make a network namespace (root needed): {reason}")
        keeper.stdout.close()
        keeper.stderr.close()
        self.keeper = keeper
        if not keep:
            guardian().tell("machine", keeper.pid)

    def _popen(self, command, **options):
        # A session of its own: Ctrl-C reaches the lab's owner, who ends the programs in order.
        return subprocess.Popen(command, start_new_session=True,
                                preexec_fn=None if self.keep else _die_with_parent, **options)

    def enter(self, command=()):
        """The command line that runs `command` inside this machine."""
        return ["nsenter", "-t", str(self.keeper.pid), "-n", "-m", "-u", *map(str, command)]

    def start(self, command, **options):
        """Starts a program that runs beside; it is ended with the machine at the latest."""
        options.setdefault("stdin", subprocess.DEVNULL)
        process = self._popen(self.enter(command), **options)
        self.processes.append(process)
        return process

    def run(self, command, check=True, timeout=60, **options):
        """Runs a program to its end; its output is text. With check, a failure raises LabError."""
        options.setdefault("stdin", subprocess.DEVNULL if "input" not in options else None)
        if options["stdin"] is None:
            del options["stdin"]
        try:
            done = subprocess.run(
                self.enter(command), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                timeout=timeout, start_new_session=True, preexec_fn=_die_with_parent, **options)
        except subprocess.TimeoutExpired as expired:
            raise LabError(f"{self.name}$ {shlex.join(map(str, command))}: "
                           f"not finished after {timeout} s") from expired
        if check and done.returncode != 0:
            output = (done.stderr.strip() or done.stdout.strip() or "no message")[-2000:]
            raise LabError(f"{self.name}$ {shlex.join(map(str, command))}: "
                           f"exit status {done.returncode}: {output}")
        return done

    def shell(self, script):
        """Runs lines of shell, stopping at the first that fails."""
        return self.run(["sh", "-e"], input=script).stdout

    def read(self, path):
        """The text of a file as this machine sees it."""
        return self.run(["cat", path]).stdout

    def close(self):
        for process in reversed(self.processes):
            end(process)
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream:
                    stream.close()
        self.processes.clear()
        if self.keeper:
            # With it goes whoever a program has left behind.
            kill_inhabitants({identity(os.stat(f"/proc/{self.keeper.pid}/ns/net"))})
            self.keeper.wait()
            if not self.keep:
                guardian().tell("forget", self.keeper.pid)
            self.keeper = None


def link(left, left_device, right, right_device):
    """Joins two machines by a cable."""
    command = ["ip", "link", "add", "name", left_device, "netns", str(left.keeper.pid),
               "type", "veth", "peer", "name", right_device, "netns", str(right.keeper.pid)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise LabError(f"{shlex.join(command)}: {done.stdout.strip()}")


def need_root():
    if os.geteuid() != 0:
        raise LabError("the lab makes network namespaces and needs root; run it with sudo")
