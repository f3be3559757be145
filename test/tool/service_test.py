# SPDX-License-Identifier: BSD-2-Clause
"""The systemd unit: well-formed, hardened, and installed with the path of the program it starts."""

import pathlib
import re
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
UNIT = ROOT / "packaging" / "isthmus.service"
EXPOSURE = 3.2  # systemd's measure, 0 to 10: what a service that is to set up devices and routes cannot give up


def analyze(*arguments):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    return subprocess.run(["systemd-analyze", "--no-pager", *arguments], capture_output=True, text=True, check=False)


@pytest.fixture
def unit(tmp_path):
    """The unit with a program that is there on this machine."""
    copy = tmp_path / "isthmus.service"
    copy.write_text(UNIT.read_text().replace("/usr/local/bin/isthmus", shutil.which("true")))
    return copy


def test_systemd_understands_it(unit):
    ended = analyze("verify", "--man=no", str(unit))
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_a_mistake_would_be_found(unit):
    unit.write_text(unit.read_text().replace("ProtectClock", "ProtectClocks"))
    assert "ProtectClocks" in analyze("verify", "--man=no", str(unit)).stderr


def test_it_is_hardened(unit):
    ended = analyze("security", "--offline=true", f"--threshold={EXPOSURE * 10:.0f}", str(unit))
    level = re.search(r"Overall exposure level for .*: ([0-9.]+)", ended.stdout)
    assert level, ended.stdout + ended.stderr
    assert ended.returncode == 0 and float(level[1]) <= EXPOSURE


def test_it_keeps_what_a_restart_needs():
    text = UNIT.read_text()
    for line in ("Type=notify", "Restart=on-failure", "RuntimeDirectory=isthmus", "RuntimeDirectoryPreserve=yes",
                 "KillMode=control-group"):
        assert f"\n{line}\n" in text


def test_it_is_installed_with_its_program(tmp_path):
    build = tmp_path / "build"
    subprocess.run(["meson", "setup", "--prefix=/opt/isthmus", str(build), str(ROOT)], check=True,
                   capture_output=True)
    installed = (build / "isthmus.service").read_text()
    assert "ExecStart=/opt/isthmus/bin/isthmus run\n" in installed
    assert "ExecReload=/opt/isthmus/bin/isthmus reload\n" in installed
    assert "/usr/local" not in installed
    plan = subprocess.run(["meson", "introspect", "--installed", str(build)], check=True, capture_output=True,
                          text=True).stdout
    assert "/opt/isthmus/lib/systemd/system/isthmus.service" in plan
