# SPDX-License-Identifier: BSD-2-Clause
"""`isthmus capture` under way, and what tshark reads in the file that it makes."""
import signal
import struct
import subprocess

from namespace import wait_until

FIELDS = ("frame.comment", "frame.packet_flags_direction", "frame.len", "frame.cap_len", "ipv6.src", "ipv6.dst",
          "ip.src", "ip.dst", "icmpv6.type", "icmp.type", "frame.time_epoch")
INBOUND, OUTBOUND = "0x00000001", "0x00000002"


def tshark(path, *arguments):
    done = subprocess.run(["tshark", "-n", "-r", path, *arguments], capture_output=True, text=True, check=False,
                          timeout=60)
    assert done.returncode == 0 and "malformed" not in done.stderr.lower(), done.stderr
    return done.stdout


def packets(path, *more):
    """One dictionary a packet of the file, with more fields if wanted."""
    fields = (*FIELDS, *more)
    text = tshark(path, "-T", "fields", "-E", "occurrence=f", "-E", "separator=/t",
                  *(word for field in fields for word in ("-e", field)))
    return [dict(zip(fields, line.split("\t"))) for line in text.splitlines()]


def running(daemon):
    return daemon.show("status")[0]["captures"]


class Capture:
    """`isthmus capture` under way; it has begun when this is made."""

    def __init__(self, daemon, *arguments, name="capture.pcapng"):
        self.path = daemon.lab.path(name)
        self.said_path = self.path + ".said"
        with open(self.said_path, "w") as said:
            self.process = daemon.lab.gateway.start(
                [daemon.program, "capture", "-w", self.path, *arguments], stdout=said, stderr=said)
        wait_until(lambda: "capturing" in self.said() or self.process.poll() is not None, "the capture to begin")

    def said(self):
        with open(self.said_path) as file:
            return file.read()

    def blocks(self):
        """The types and bytes of the blocks in the file so far."""
        with open(self.path, "rb") as file:
            data = file.read()
        position = 0
        while position + 12 <= len(data):
            block, length = struct.unpack_from("=II", data, position)
            if position + length <= len(data):
                yield block, data[position:position + length]
            position += length

    def count(self):
        return sum(block == 6 for block, _ in self.blocks())

    def missed(self):
        """What the last block of statistics says."""
        return max((struct.unpack_from("=Q", data, 24)[0] for block, data in self.blocks() if block == 5), default=0)

    def wait(self, count, *more):
        """Ends it when it has so many packets; returns them, with more fields if wanted."""
        wait_until(lambda: self.count() >= count, f"{count} packets")
        return self.end(*more)

    def end(self, *more):
        """Ctrl-C; returns the packets."""
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(5) == 0, self.said()
        rows = packets(self.path, *more)
        assert f"{len(rows)} packet{'' if len(rows) == 1 else 's'} captured\n" in self.said()
        return rows
