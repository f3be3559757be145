# SPDX-License-Identifier: BSD-2-Clause
"""The checkers complain about what they are for, and about nothing else."""

import pathlib
import subprocess

import pytest

TOOL = pathlib.Path(__file__).resolve().parent.parent.parent / "tool"
LICENCE = "/* SPDX-License-Identifier: BSD-2-Clause */\n"


def function(name, lines, above=""):
    """A C function of so many lines in all."""
    return above + f"int {name}(void)\n{{\n" + "    work();\n" * (lines - 4) + "    return 0;\n}\n"


@pytest.fixture
def check(tmp_path):
    """Writes files into an empty tree and runs a checker over it: what it says, "" if all is well."""
    def run(checker, **files):
        for name, contents in files.items():
            path = tmp_path / name.replace("__", "/").replace("_dot_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(contents)
        ended = subprocess.run([TOOL / checker, tmp_path], capture_output=True, text=True, check=False)
        assert ended.stderr == ""
        assert ended.returncode == (1 if ended.stdout else 0)
        return ended.stdout
    return run


def test_includes_downwards_are_fine(check):
    assert check("check-includes",
                 wire__a_dot_h="#include <stdint.h>\n",
                 engine__b_dot_c='#include "wire/a.h"\n#include "engine/b.h"\n#include <string.h>\n',
                 plane__tun__c_dot_c='#include <unistd.h>\n#include "plane/tun/c.h"\n#include "engine/b.h"\n',
                 cli__d_dot_c='#include "control/e.h"\n',
                 test__f_dot_c='#include "test/f.h"\n#include "cli/d.h"\n') == ""


@pytest.mark.parametrize("folder, line", [
    ("wire", '#include "engine/b.h"'),
    ("engine", '#include "control/b.h"'),
    ("control", '  #  include "cli/b.h"'),
    ("plane", '#include "dns64/b.h"'),
    ("cli", '#include "portal/b.h"'),
    ("control", '#include "test/b.h"'),
    ("control", '#include "b.h"'),
    ("engine", "#include <stdio.h>"),
    ("engine", "#include <stdatomic.h>"),
    ("wire", "#include <time.h>"),
    ("attic", ""),
])
def test_other_includes_are_not(check, folder, line):
    complaint = check("check-includes", **{f"{folder}__a_dot_c": f"/* first */\n{line}\n"})
    assert f"{folder}/a.c:" in complaint


def test_ceilings_at_the_limit_are_fine(check):
    assert check("check-ceilings",
                 engine__a_dot_c=function("short", 60),
                 engine__packet_dot_c=function("fields", 120, "/* walk: the fields of a header */\n"),
                 engine__long_dot_c="int x;\n" * 800,
                 lab__a_dot_py="def f():\n" + "    pass\n" * 59) == ""


@pytest.mark.parametrize("name, contents, complaint", [
    ("engine__a_dot_c", function("work", 61), "engine/a.c:1: work has 61 lines; at most 60"),
    ("engine__a_dot_c", function("work", 70, "/* walk: of fields */\n"), "work is tagged as a walk"),
    ("engine__packet_dot_c", function("work", 61), "work has 61 lines; at most 60"),
    ("engine__packet_dot_c", function("work", 121, "/* walk: of fields */\n"), "at most 120"),
    ("engine__a_dot_h", "int x;\n" * 801, "engine/a.h: has 801 lines; at most 800"),
    ("lab__a_dot_py", "def f():\n" + "    pass\n" * 60, "lab/a.py:1: f has 61 lines"),
])
def test_beyond_the_limit_is_not(check, name, contents, complaint):
    assert complaint in check("check-ceilings", **{name: contents})


def test_a_declaration_over_two_lines_counts(check):
    text = function("work", 60).replace("int work(void)", "static int work(int a,\n                int b)")
    assert "engine/a.c:1: work has 61 lines" in check("check-ceilings", engine__a_dot_c=text)


def test_words_that_are_fine(check):
    assert check("check-words", engine__a_dot_c=LICENCE + "/* mktemp XXXXXX; the issue of 1999 */\n",
                 lab__run="#!/bin/sh\n# SPDX-License-Identifier: BSD-2-Clause\n",
                 README_dot_md="# No licence line is asked of a text.\n") == ""


@pytest.mark.parametrize("line", ["/* TO" "DO: more */", "/* XX" "X */", "/* see issue" " 7 */", "/* Issue" " #12 */"])
def test_words_that_are_not(check, line):
    assert "engine/a.c:2: " in check("check-words", engine__a_dot_c=f"{LICENCE}{line}\n")


def test_a_source_without_licence(check):
    assert "engine/a.c:1: has no line" in check("check-words", engine__a_dot_c="int x;\n")


def test_sources_in_lists_and_tables(check):
    build = "files('engine/a.c')\nunit_tests = {\n 'engine/a': [engine],\n}\nfuzz_targets = { 'packet': [engine] }\n"
    assert check("check-sources", meson_dot_build=build, engine__a_dot_c="", test__engine__a_test_dot_c="",
                 test__fuzz__packet_fuzz_dot_c="", test__bpf__shared_dot_bpf_dot_c="") == ""


@pytest.mark.parametrize("name", ["engine__b_dot_c", "test__engine__b_test_dot_c", "test__fuzz__b_fuzz_dot_c"])
def test_a_source_in_no_list(check, name):
    complaint = check("check-sources", meson_dot_build="files('engine/a.c')\n", **{name: ""})
    assert "stands in no list of meson.build" in complaint


def test_format(check):
    assert "engine/a.c: not formatted" in check("check-format", engine__a_dot_c="int  x ;\n")
    assert check("check-format", engine__a_dot_c="int x;\n") == ""
