#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""compare.py: the engine against a second implementation, written from the RFC texts alone.

    test/oracle/compare.py --driver build/oracle_driver [--packets N] [--seed S] [--keep-going] [-v]

Makes sequences of packets from the seed, asks the oracle (nat64.py, siit.py, errors.py) what must and what
may become of each, puts it through the engine (driver.c) and compares: verdict, every byte that came out,
ICMP errors and probes that the engine made, and, at each jump of time, its lists of sessions and bindings.
Where the RFCs leave a choice, every choice they leave is accepted; where a packet has several things wrong
with it, the engine may name any of them.
The first difference is shrunk to the few steps that are needed for it and printed with the clause of the RFC;
exit status 1. --self-test instead checks the oracle against the examples of the RFCs and against scapy.
"""

import argparse
import collections
import pathlib
import random
import sys
import time

import generate
import self_test
from sequence import Difference, Driver, Sequence, describe
from stateless_sequence import StatelessSequence

# Differences

def make_sequence(driver, seed, statistics):
    kind = StatelessSequence if generate.theme(seed) == "siit" else Sequence
    return kind(driver, seed, statistics)


def attempt(driver, seed, steps):
    """The difference that the steps lead to, or None, and the sequence."""
    sequence = make_sequence(driver, seed, collections.Counter())
    try:
        sequence.run(steps)
    except Difference as difference:
        return str(difference), sequence
    return None, sequence


def same(one, other):
    """Whether two differences are about the same thing, as far as their words tell."""
    return one is not None and one.split(" ")[:3] == other.split(" ")[:3]


def shrink(make_driver, seed, steps, text):
    """Fewer steps with the same difference: halves first, then one by one."""
    size = max(len(steps) // 2, 1)
    driver = make_driver()
    while True:
        at = 0
        while at < len(steps):
            fewer = steps[:at] + steps[at + size:]
            if driver.process.poll() is not None:
                driver = make_driver()
            found, _ = attempt(driver, seed, fewer)
            if same(found, text):
                steps = fewer
            else:
                at += size
        if size == 1:
            driver.end()
            return steps
        size //= 2


def scapy_show(data):
    try:
        from scapy.layers.inet import IP
        from scapy.layers.inet6 import IPv6
    except ImportError:
        return "(python3-scapy is not installed)"
    return (IPv6 if data[0] >> 4 == 6 else IP)(data).show(dump=True)


def report(make_driver, seed, steps, text, brief):
    print(f"difference: sequence {seed}: {text}")
    if brief:
        return
    steps = shrink(make_driver, seed, steps, text)
    driver = make_driver()
    text, sequence = attempt(driver, seed, steps)
    print(f"\nshrunk to {len(steps)} steps: {steps}")
    for line in sequence.setup.lines:
        print("  " + line)
    print(text)
    for data, verdict, out in sequence.history[:-1]:
        print(f"before: {data.hex()}\n        {verdict} {out.hex()}")
    if sequence.last is not None:
        data, prediction, verdict = sequence.last
        print(f"packet in: {data.hex()}\nverdict: {verdict}\nby the oracle it {describe(prediction.defects)}")
        if data:
            print(scapy_show(data))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--driver", default=str(pathlib.Path(__file__).parents[2] / "build/oracle_driver"))
    parser.add_argument("--packets", type=int, default=100000)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--sequence", type=int, help="only this one, by its own seed")
    parser.add_argument("--length", type=int, default=40, help="packets a sequence")
    parser.add_argument("--keep-going", action="store_true", help="print differences briefly and go on")
    parser.add_argument("--self-test", action="store_true", help="the oracle alone, against RFCs and scapy")
    parser.add_argument("-v", "--verbose", action="store_true")
    arguments = parser.parse_args()
    seed = random.SystemRandom().getrandbits(32) if arguments.seed is None else arguments.seed
    print(f"seed {seed}", flush=True)
    if arguments.self_test:
        return self_test.run(seed)
    return compare(arguments, seed)


# rfc: 6146-3-d
def compare(arguments, seed):
    def make_driver():
        return Driver(arguments.driver)

    source, statistics = random.Random(seed), collections.Counter()
    driver, begin, packets, sequences, differences = make_driver(), time.monotonic(), 0, 0, 0
    while packets < arguments.packets:
        own = source.getrandbits(48) if arguments.sequence is None else arguments.sequence
        steps = generate.steps(random.Random(own ^ 1), arguments.length, generate.theme(own))
        sequence = make_sequence(driver, own, statistics)
        try:
            sequence.run(steps)
        except Difference as difference:
            differences += 1
            if driver.process.poll() is not None:
                driver = make_driver()
            report(make_driver, own, steps, str(difference), arguments.keep_going)
            if not arguments.keep_going:
                break
        packets += sum(step[0] != generate.JUMP for step in steps)
        sequences += 1
        if arguments.sequence is not None:
            break
    driver.end()
    seconds = time.monotonic() - begin
    if arguments.verbose:
        for name, number in statistics.most_common():
            print(f"{number:9} {name}")
    print(f"{packets} packets in {sequences} sequences, {differences} differences, {seconds:.1f} s")
    return int(differences > 0)


if __name__ == "__main__":
    sys.exit(main())
