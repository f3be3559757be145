# SPDX-License-Identifier: BSD-2-Clause
"""Makes pytest speak TAP: one line a case as soon as it is known, so that one reader (tool/test) counts all
kinds of tests and a run that dies half-way still counts what it had done. Loaded with
`-p no:terminal -p tap_plugin`; a failure's traceback and captured output follow its line as comments.
"""

import sys

import pytest


class Cases:
    def __init__(self):
        self.done = 0

    def say(self, verdict, name, details=""):
        self.done += 1
        print(f"{verdict} {self.done} - {name}")
        for line in details.splitlines():
            print(f"# {line}")
        sys.stdout.flush()


cases = Cases()


def pytest_addoption(parser):
    """The terminal plugin is off, but the explanation of a failed assertion asks for its option."""
    parser.addoption("--verbose", action="count", default=0, dest="verbose")


def details_of(report):
    parts = [report.longreprtext]
    parts += [f"--- {title} ---\n{text}" for title, text in report.sections if text.strip()]
    return "\n".join(parts)


def pytest_runtest_logreport(report):
    name = report.nodeid.split("::", 1)[-1].replace("#", "")
    if report.failed:
        where = "" if report.when == "call" else f" ({report.when})"
        cases.say("not ok", name + where, details_of(report))
    elif report.skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        cases.say("ok", f"{name} # SKIP {reason.removeprefix('Skipped: ')}")
    elif report.when == "call":
        cases.say("ok", name)


def pytest_collectreport(report):
    if report.failed:
        cases.say("not ok", f"collecting {report.nodeid}", report.longreprtext)
    elif report.skipped and isinstance(report, pytest.CollectReport):
        cases.say("ok", f"{report.nodeid} # SKIP {report.longrepr[2].removeprefix('Skipped: ')}")
