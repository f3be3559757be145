# SPDX-License-Identifier: BSD-2-Clause
"""The test runner counts what happened, whichever way a program ends."""

import importlib.machinery
import importlib.util
import json
import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def command_for(build, commands, timeout=10, suite="isthmus:unit"):
    """The command that runs these as if meson.build declared them as tests."""
    tests = [{"name": f"script{number}", "cmd": command, "timeout": timeout, "suite": [suite]}
             for number, command in enumerate(commands)]
    (build / "meson-info").mkdir()
    (build / "meson-info" / "intro-tests.json").write_text(json.dumps(tests))
    return [ROOT / "tool" / "test", "--build", build, "--only", "unit"]


@pytest.fixture
def run(tmp_path):
    """Runs tool/test over shell scripts: (exit status, lines)."""
    def run_scripts(*scripts, **options):
        commands = [["/bin/sh", "-c", script] for script in scripts]
        ended = subprocess.run(command_for(tmp_path, commands, **options),
                               capture_output=True, text=True, check=False)
        assert ended.stderr == ""
        return ended.returncode, ended.stdout.splitlines()
    return run_scripts


def test_all_pass(run):
    status, lines = run("echo 1..2; echo ok 1 - a; echo ok 2 - b", "echo 1..1; echo ok 1 - c")
    assert (status, lines[-1]) == (0, "3 passed, 0 failed")


def test_output_is_shown_only_of_what_failed(run):
    status, lines = run("echo 1..1; echo quiet; echo ok 1 - a",
                        "echo 1..2; echo ok 1 - b; echo not ok 2 - c; echo '# why'; exit 1")
    assert (status, lines[-1]) == (1, "2 passed, 1 failed")
    assert "  | # why" in lines
    assert "  FAILED: script1: c" in lines
    assert not any("quiet" in line or "ok 1 - b" in line for line in lines)


def test_skips_as_cmocka_and_as_tap_write_them(run):
    status, lines = run("echo 1..3; echo 'no such device'; echo 'not ok 1 # SKIP a'; "
                        "echo 'ok 2 - b # SKIP too old'; echo ok 3 - c")
    assert (status, lines[-1]) == (0, "1 passed, 0 failed, 2 skipped")
    assert "  skipped: a: no such device" in lines
    assert "  skipped: b: too old" in lines


@pytest.mark.parametrize("script, failure", [
    ("echo 1..2; echo ok 1 - a; kill -SEGV $$", "ended by Segmentation fault"),
    ("echo 1..2; echo ok 1 - a", "planned 2 cases, did 1"),
    ("echo 1..1; echo ok 1 - a; exit 3", "exit status 3"),
])
def test_a_bad_end_is_a_failure(run, script, failure):
    status, lines = run(script)
    assert (status, lines[-1]) == (1, "1 passed, 1 failed")
    assert f"  FAILED: script0: {failure}" in lines


def test_a_program_that_hangs(run):
    status, lines = run("echo 1..2; echo ok 1 - a; sleep 60", timeout=1)
    assert (status, lines[-1]) == (1, "1 passed, 1 failed")
    assert "  FAILED: script0: still running after 1 s" in lines


def test_a_program_that_says_nothing(run):
    status, lines = run("true")
    assert (status, lines[-1]) == (1, "0 passed, 1 failed")


def test_a_program_that_is_not_there(tmp_path):
    ended = subprocess.run(command_for(tmp_path, [[str(tmp_path / "gone")]]),
                           capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout.splitlines()[-1]) == (1, "0 passed, 1 failed")


def test_an_interrupt_ends_what_runs(tmp_path):
    script = f"trap 'echo ended >{tmp_path}/trace; exit 1' INT; touch {tmp_path}/up; sleep 60 & wait"
    # Whoever is started in the background by a shell has the signal ignored, and so have its children.
    runner = subprocess.Popen(command_for(tmp_path, [["/bin/bash", "-c", script]], timeout=90),
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                              preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    deadline = time.monotonic() + 20
    while not (tmp_path / "up").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    runner.send_signal(signal.SIGINT)
    assert runner.wait(20) == 130
    assert (tmp_path / "trace").read_text() == "ended\n"


def test_nothing_ran(run):
    status, lines = run("echo 1..1; echo ok 1 - a", suite="isthmus:corpus")
    assert (status, lines[-1]) == (1, "0 passed, 0 failed")


def test_pytest_speaks_tap(tmp_path):
    (tmp_path / "some_test.py").write_text(textwrap.dedent("""
        import pytest
        def test_good(): print("unseen")
        def test_bad(): print("seen"); assert 1 == 2
        @pytest.mark.skip(reason="no moon")
        def test_skipped(): pass
        def test_skipped_inside(): pytest.skip("no tide")
        @pytest.fixture
        def broken(): yield; raise OSError("left behind")
        def test_torn(broken): pass
        """))
    ended = subprocess.run([sys.executable, "-m", "pytest", "-p", "no:terminal", "-p", "no:cacheprovider",
                            "-p", "tap_plugin", tmp_path], capture_output=True, text=True, check=False,
                           env=dict(os.environ, PYTHONPATH=str(ROOT / "tool")))
    lines = ended.stdout.splitlines()
    assert [line for line in lines if not line.startswith("#")] == [
        "ok 1 - test_good",
        "not ok 2 - test_bad",
        "ok 3 - test_skipped # SKIP no moon",
        "ok 4 - test_skipped_inside # SKIP no tide",
        "ok 5 - test_torn",
        "not ok 6 - test_torn (teardown)",
    ]
    assert "# seen" in lines and "# unseen" not in lines
    assert ended.returncode == 1


WAITS_FOR_ANOTHER = """
import glob, os, sys, time
mark = sys.argv[0] + ".runs"
open(mark, "w").close()
until = time.monotonic() + 2
while time.monotonic() < until and len(glob.glob(os.path.dirname(mark) + "/*.runs")) < 2:
    time.sleep(0.01)
together = time.monotonic() < until
time.sleep(0.3)  # for the other one to see this one, too
os.unlink(mark)
print("1..1")
print("ok 1 - together" if together else "not ok 1 - alone")
"""


@pytest.mark.parametrize("reason, alone", [("", False), ('ALONE = "it says so"\n', True)])
def test_files_run_two_at_a_time_unless_they_want_to_be_alone(tmp_path, reason, alone):
    commands = []
    for name in ("a.py", "b.py"):
        (tmp_path / name).write_text(reason + textwrap.dedent(WAITS_FOR_ANOTHER))
        commands.append([sys.executable, str(tmp_path / name)])
    ended = subprocess.run(command_for(tmp_path, commands), capture_output=True, text=True, check=False)
    tally = "0 passed, 2 failed" if alone else "2 passed, 0 failed"
    assert ended.stdout.splitlines()[-1] == tally


def load_runner():
    loader = importlib.machinery.SourceFileLoader("runner", str(ROOT / "tool" / "test"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("runner", loader))
    loader.exec_module(module)
    return module


def test_a_file_that_names_planes_runs_once_for_each(tmp_path, monkeypatch):
    runner = load_runner()
    (tmp_path / "test" / "netns").mkdir(parents=True)
    (tmp_path / "test" / "netns" / "both_test.py").write_text('PLANES = ("tun", "bpf")\n')
    (tmp_path / "test" / "netns" / "plain_test.py").write_text('PLANE = "tun"\n')
    monkeypatch.setattr(runner, "ROOT", tmp_path)
    tests = {name: command for name, command, _ in runner.python_tests("end-to-end")}
    assert list(tests) == ["netns/both (tun)", "netns/both (bpf)", "netns/plain"]
    assert tests["netns/both (bpf)"][:2] == ["env", "PLANE=bpf"]
    assert tests["netns/both (tun)"][:2] == ["env", "PLANE=tun"]
    assert tests["netns/plain"][0] != "env"
