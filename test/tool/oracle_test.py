# SPDX-License-Identifier: BSD-2-Clause
"""The engine against a second implementation of the RFCs, written without a look at the first (test/oracle/)."""
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
COMPARE = ROOT / "test" / "oracle" / "compare.py"
PACKETS = "100000"
SEED = "20261121"


def compare(*arguments):
    done = subprocess.run([sys.executable, COMPARE, *arguments], capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    return done.stdout + done.stderr


def test_the_oracle_knows_the_examples_of_the_rfcs():
    compare("--self-test", "--seed", "1")


def test_the_engine_agrees_with_the_oracle():
    driver = pathlib.Path(os.environ["ISTHMUS_BUILD"]) / "oracle_driver"
    said = compare("--driver", driver, "--packets", PACKETS, "--seed", SEED)
    assert SEED in said, said
