#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Instructions and cache misses a packet, counted by callgrind: figures that no noise of the machine reaches.

Each kind of packet is sent twice, once as often as the other; what engine_receive took more, divided by the
packets more, is what one packet takes. The caches simulated are those of a small core: 32 KiB and 1 MiB.
"""

import json
import os
import re
import subprocess
import sys
import tempfile

PACKETS = 1 << 16
SESSIONS = {"1k": 1000, "100k": 100000}
EVENTS = {"Ir": "instructions", "DLmr": "read-misses", "DLmw": "write-misses"}


def count(program, kind, sessions, packets):
    """All that happened below engine_receive, by event."""
    with tempfile.TemporaryDirectory() as directory:
        out = os.path.join(directory, "out")
        command = ["valgrind", "--tool=callgrind", "--toggle-collect=engine_receive", "--cache-sim=yes",
                   "--I1=32768,8,64", "--D1=32768,8,64", "--LL=1048576,8,64", f"--callgrind-out-file={out}",
                   program, kind, str(sessions), str(packets)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        with open(out) as file:
            text = file.read()
    events = re.search(r"^events: (.*)$", text, re.MULTILINE).group(1).split()
    totals = re.search(r"^totals: (.*)$", text, re.MULTILINE).group(1).split()
    return dict(zip(events, map(int, totals)))


def main():
    program = os.path.join(os.environ["ISTHMUS_BUILD"], "bench_engine")
    for label, sessions in SESSIONS.items():
        for kind in ("6to4", "4to6", "create"):
            if kind == "create" and label == "1k":
                continue
            print(f"instructions: {kind}, {label} sessions", file=sys.stderr, flush=True)
            few = count(program, kind, sessions, PACKETS)
            many = count(program, kind, sessions, 2 * PACKETS)
            for event, name in EVENTS.items():
                value = (many.get(event, 0) - few.get(event, 0)) / PACKETS
                print(json.dumps({"name": f"engine.{name}.{kind}.{label}", "value": round(value, 2),
                                  "unit": "a packet", "against": None, "ratio": None}), flush=True)


if __name__ == "__main__":
    main()
