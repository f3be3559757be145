# SPDX-License-Identifier: BSD-2-Clause
"""What the benchmarks in namespaces share: progress on stderr, and an end that cleans up whatever ends them."""
import argparse
import signal
import sys

from namespace import LabError

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def note(text):
    print(text, file=sys.stderr, flush=True)


def _interrupted(number, frame):
    for each in SIGNALS:  # a second Ctrl-C may not break off the cleaning up
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


def run(bench, description, rounds, seconds):
    """Runs bench(options) with these defaults for --rounds and --seconds; the program's exit status."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=rounds, help=f"rounds for each figure ({rounds})")
    parser.add_argument("--seconds", type=int, default=seconds, help=f"length of each run ({seconds})")
    options = parser.parse_args()
    for number in SIGNALS:
        signal.signal(number, _interrupted)
    try:
        bench(options)
    except LabError as error:
        note(f"the benchmark failed: {error}")
        return 1
    except KeyboardInterrupt:
        note("interrupted")
        return 1
    return 0
