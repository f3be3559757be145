# SPDX-License-Identifier: BSD-2-Clause
"""tool/build in a tree of its own: a path with a space, and a tree that was moved with its build directory."""

import pathlib
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def tree(tmp_path):
    """A project of one program, in a directory whose name has a space."""
    root = tmp_path / "a tree"
    (root / "tool").mkdir(parents=True)
    shutil.copy(ROOT / "tool" / "build", root / "tool")
    (root / "main.c").write_text("int main(void) { return 0; }\n")
    (root / "meson.build").write_text("project('one', 'c')\nexecutable('one', 'main.c')\n")
    return root


def build(root):
    return subprocess.run([root / "tool" / "build", "build", "one"], capture_output=True, text=True, check=False)


def test_a_path_with_a_space(tree):
    for _ in ("sets up", "finds it up to date"):
        ended = build(tree)
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    assert (tree / "build" / "one").exists()


def test_a_moved_tree_is_refused(tree):
    assert build(tree).returncode == 0
    moved = tree.rename(tree.parent / "moved")
    ended = build(moved)
    assert ended.returncode == 1
    assert f"was set up for {tree}, not for {moved}; run `make clean`" in ended.stderr


def test_a_build_directory_of_unknown_origin_is_set_up_again(tree):
    assert build(tree).returncode == 0
    (tree / "build" / "source-tree").unlink()
    moved = tree.rename(tree.parent / "moved")
    (moved / "main.c").write_text("#error the moved source\n")
    ended = build(moved)
    assert ended.returncode == 1
    assert "the moved source" in ended.stderr
