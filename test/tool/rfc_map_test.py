# SPDX-License-Identifier: BSD-2-Clause
"""The map of clauses: what tags belong to, and what is complained about."""

import pathlib
import subprocess

import pytest

TOOL = pathlib.Path(__file__).resolve().parent.parent.parent / "tool"
# Cut in two, or the tags in this file would be taken for its own.
TAG = "rfc" ": "

LIST = """\
title: Of examples
words: MUST 2, SHOULD NOT 1
# a comment
1-2.3-a  MUST        Do this,
    and that.
1-2.3-b  MUST        Do it again.
    see: 1-2.3-a
1-4-a    SHOULD NOT  Do more.
    not: Nobody asked.
1-4-b    rule        It is so.
    note: Mostly.
"""
SOURCE = f"""\
/* A file. */
#include "wire/b.h"

/* First. {TAG}1-2.3-a */
static __attribute__((noinline)) int first(int a,
                                           int b)
{{
    return a + b;
}}

static const int rows[] = {{
    1, /* {TAG}1-4-b */
}};
"""
VECTORS = f"""\
# Of this: {TAG}1-2.3-a,
#   1-4-b
# and more
vector the first | case
in x
vector the second
"""
FILES = {"doc/rfc/rfc1.txt": LIST, "engine/a.c": SOURCE, "test/vectors/some.txt": VECTORS}


@pytest.fixture
def tree(tmp_path):
    """Writes files into an empty tree; runs a tool over it: its lines."""
    def run(tool, files):
        for name, contents in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(contents)
        ended = subprocess.run([TOOL / tool, tmp_path], capture_output=True, text=True, check=False)
        assert ended.stderr == ""
        assert ended.returncode == (1 if ended.stdout else 0)
        return ended.stdout.splitlines()
    run.page = tmp_path / "doc/rfc-map.md"
    return run


def test_the_page(tree):
    assert tree("rfc-map", FILES) == []
    rows = [line for line in tree.page.read_text().splitlines() if line.startswith("| 1-")]
    assert rows == [
        "| 1-2.3-a | MUST | Do this, and that. | [`first`](../engine/a.c) "
        "| [some.txt](../test/vectors/some.txt): the first \\| case |",
        "| 1-2.3-b | MUST | Do it again. (See 1-2.3-a.) | [`first`](../engine/a.c) "
        "| [some.txt](../test/vectors/some.txt): the first \\| case |",
        "| 1-4-a | SHOULD NOT | Do more. | Not: Nobody asked. |  |",
        "| 1-4-b | rule | It is so. *Mostly.* | [`rows`](../engine/a.c) "
        "| [some.txt](../test/vectors/some.txt): the first \\| case |"]
    assert tree("check-rfc-map", {}) == []


def test_a_page_that_is_not_up_to_date(tree):
    tree("rfc-map", FILES)
    moved = {"engine/a.c": SOURCE.replace("first", "second")}
    assert tree("check-rfc-map", moved) == ["doc/rfc-map.md: not up to date; run tool/rfc-map"]


def test_a_page_without_lists(tree):
    assert tree("check-rfc-map", {"engine/a.c": "int x;\n"}) == []
    assert tree("check-rfc-map", {"doc/rfc-map.md": "# Old\n"}) == ["doc/rfc-map.md: not up to date; run tool/rfc-map"]


@pytest.mark.parametrize("before, after, name", [
    ("", "\nstruct shape {\n    int size; /* TAG */\n};\n", "shape"),
    ("#define ROWS(V) \\\n    V(ONE) /* TAG */ \\\n    V(TWO)\n", "", "ROWS"),
    ("", "/*\n * Long. TAG\n */\n#define LIMIT 3\n\nint f(void);\n", "LIMIT"),
    ("", "/* TAG */\nint declared(int with,\n             int arguments);\nint other(void)\n{\n}\n", "declared"),
    ("int before(void)\n{\n    if (x)\n        return 1;\n    /* TAG */\n    return 0;\n}\n", "", "before"),
    ("", "int after(void)\n{\n}\n", None),
])
def test_what_a_tag_in_c_belongs_to(tree, before, after, name):
    source = (before + after).replace("TAG", TAG + "1-1-a")
    tree("rfc-map", {"doc/rfc/rfc1.txt": "title: T\nwords: MUST 1\n1-1-a MUST Do.\n", "wire/a.h": source,
                     "test/a_test.c": f"/* {TAG}1-1-a */\nstatic void test_it(void **state)\n{{\n}}\n"})
    assert ("test_it" in tree.page.read_text())
    assert ("[`" in tree.page.read_text()) == (name is not None)
    assert name is None or f"| [`{name}`](../wire/a.h) |" in tree.page.read_text()


def test_a_test_in_python(tree):
    test = f'def helper():\n    pass\n\n\n# {TAG}1-2.3-a\ndef test_one():\n    """{TAG}1-4-b"""\n    pass\n'
    tree("rfc-map", {**FILES, "test/vectors/some.txt": "", "test/netns/x_test.py": test})
    assert tree.page.read_text().count("[x_test.py](../test/netns/x_test.py): test_one |") == 3


def test_a_scenario(tree):
    scenario = f"# {TAG}1-2.3-a, 1-4-b\nscenario An answer\nask x\n"
    tree("rfc-map", {**FILES, "test/vectors/some.txt": "", "test/dns64/scenarios/some.txt": scenario})
    assert tree.page.read_text().count("[some.txt](../test/dns64/scenarios/some.txt): An answer |") == 3


@pytest.mark.parametrize("file, old, new, complaint", [
    ("engine/a.c", "1-4-b", "1-4-c", "engine/a.c:12: 1-4-c stands in no list of doc/rfc"),
    ("engine/a.c", "1-2.3-a", "", "doc/rfc/rfc1.txt: 1-2.3-a has no function, and no reason (\"not: ...\")"),
    ("test/vectors/some.txt", "1-2.3-a,\n#", "", "doc/rfc/rfc1.txt: 1-2.3-a has no test, and no reason"),
    ("engine/a.c", "1-4-b", "1-4-b, 1-4-a", "1-4-a has a reason why not, and tags nevertheless"),
    ("engine/a.c", "1-4-b", "1-4-b, 1-2.3-b", "1-2.3-b points elsewhere; its tags or reason belong there"),
    ("test/vectors/some.txt", "vector the second", f"# {TAG}1-4-b\n", "nothing follows that the tag could"),
    ("doc/rfc/rfc1.txt", "MUST 2", "MUST 3", "doc/rfc/rfc1.txt: 2 rows with MUST; the head says 3"),
    ("doc/rfc/rfc1.txt", ", SHOULD NOT 1", "", "1 rows with SHOULD NOT; the head says 0"),
    ("doc/rfc/rfc1.txt", "title: Of examples\n", "", "begins with \"title: ...\" and \"words: ...\""),
    ("doc/rfc/rfc1.txt", "see: 1-2.3-a", "see: 1-9-a", "1-2.3-b points to 1-9-a, which is no clause"),
    ("doc/rfc/rfc1.txt", "1-4-a ", "1-4-b ", "doc/rfc/rfc1.txt: 1-4-b stands twice"),
    ("doc/rfc/rfc1.txt", "1-4-a ", "2-4-a ", "doc/rfc/rfc1.txt:8: 2-4-a is no clause of RFC 1"),
    ("doc/rfc/rfc1.txt", "SHOULD NOT  Do", "WILL NOT  Do", "doc/rfc/rfc1.txt:8: neither a row"),
])
def test_complaints(tree, file, old, new, complaint):
    files = dict(FILES)
    assert old in files[file]
    files[file] = files[file].replace(old, new)
    assert any(complaint in line for line in tree("check-rfc-map", files))
