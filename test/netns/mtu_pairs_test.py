# SPDX-License-Identifier: BSD-2-Clause
"""Networks of 1280 to 9000 bytes on either side, all pairs; files down and up, with state and without."""
import pytest
from side_by_side import WAYS, forget_path_mtus, set_mtus, side_by_side, wait_for_mtus
from transfers import Transfers

PLANES = ("tun", "bpf")

MTUS = [1280, 1420, 1500, 9000]


@pytest.fixture(scope="module", params=[True, False], ids=["mss-clamp", "path-mtu-discovery"])
def serving(request, namespaces):
    with side_by_side(translation={"mss-clamp": request.param}) as (lab, daemon):
        lab.start_web(size=2_000_000)
        yield lab, daemon


@pytest.mark.parametrize("ipv4", MTUS)
@pytest.mark.parametrize("ipv6", MTUS)
def test_transfers(serving, ipv6, ipv4):
    lab, daemon = serving
    set_mtus(lab, ipv6, ipv4)
    wait_for_mtus(daemon, ipv6, ipv4)
    forget_path_mtus(lab)
    transfers = Transfers(lab, lab.client, [f"http://[{way.server}]" for way in WAYS])
    assert transfers.wait() == [0, 0, 0, 0]
