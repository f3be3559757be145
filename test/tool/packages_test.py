# SPDX-License-Identifier: BSD-2-Clause
"""tool/install-packages says what is missing, or says nothing. A machine without root is played to it,
so nothing is installed."""

import os
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def run(tmp_path):
    """Runs the tool for a user who has all packages but these."""
    def run_without(missing, *sections):
        fakes = {
            "id": "echo 1000",
            "apt-get": "echo apt-get must not be called; exit 9",
            "dpkg-query": "shift 3; for name; do case \" $MISSING \" in *\" $name \"*) ;; "
                          "*) echo \"ii  $name\";; esac; done",
        }
        for name, script in fakes.items():
            (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
            (tmp_path / name).chmod(0o755)
        environment = dict(os.environ, PATH=f"{tmp_path}:{os.environ['PATH']}", MISSING=missing)
        return subprocess.run([ROOT / "tool" / "install-packages", *sections], env=environment,
                              capture_output=True, text=True, check=False)
    return run_without


def test_nothing_missing(run):
    ended = run("")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_missing_for_a_user(run):
    ended = run("meson tayga")
    assert ended.returncode == 1
    assert ended.stderr == "packages: missing; as root: apt-get install meson tayga\n"


def test_only_the_sections_asked_for(run):
    assert run("tayga", "build", "lab").returncode == 0
    assert "install tayga\n" in run("tayga", "build", "bench").stderr


def test_every_package_has_a_reason():
    for line in (ROOT / "packaging" / "packages").read_text().splitlines():
        if line and not line.startswith(("#", "[")):
            name, _, reason = line.partition("#")
            assert name.strip() and reason.strip(), line
