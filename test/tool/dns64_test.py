# SPDX-License-Identifier: BSD-2-Clause
"""Synthesised answers against dnspython and an implementation of RFC 6052 of the test's own (test/dns64/)."""
import ipaddress
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "test" / "dns64"))

import cases  # noqa: E402
import property as answers  # noqa: E402

CASES = "3000"
SEED = "20261121"


# The examples of RFC 6052 section 2.4.
@pytest.mark.parametrize("prefix, address", [
    ("2001:db8::/32", "2001:db8:c000:221::"),
    ("2001:db8:100::/40", "2001:db8:1c0:2:21::"),
    ("2001:db8:122::/48", "2001:db8:122:c000:2:2100::"),
    ("2001:db8:122:300::/56", "2001:db8:122:3c0:0:221::"),
    ("2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2100::"),
    ("2001:db8:122:344::/96", "2001:db8:122:344::192.0.2.33"),
    ("64:ff9b::/96", "64:ff9b::192.0.2.33"),
])
def test_the_checker_knows_the_examples_of_the_rfc(prefix, address):
    network, ipv4 = ipaddress.ip_network(prefix), ipaddress.ip_address("192.0.2.33")
    assert cases.embed(network, ipv4) == ipaddress.ip_address(address)
    assert answers.extract(network, ipaddress.ip_address(address)) == ipv4


def test_every_synthesised_answer_leads_back_to_its_a_record():
    driver = pathlib.Path(os.environ["ISTHMUS_BUILD"]) / "dns64_driver"
    done = subprocess.run([sys.executable, ROOT / "test" / "dns64" / "property.py", "--driver", driver, "--cases", CASES,
                           "--seed", SEED], capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    said = done.stdout.splitlines()[-1].split()
    assert int(said[4]) > int(CASES) // 4, said  # most cases come as far as synthesis
