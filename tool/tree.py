# SPDX-License-Identifier: BSD-2-Clause
"""The files that are the project's own, for the checkers: what git tracks or would track, or, in a tree
that came without git, everything outside build/ and hidden folders.
"""

import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent


def files(root=ROOT):
    """Paths relative to `root`, sorted."""
    listed = subprocess.run(["git", "-C", str(root), "-c", f"safe.directory={root}", "ls-files", "-z",
                             "--cached", "--others", "--exclude-standard"],
                            capture_output=True, check=False) if (root / ".git").exists() else None
    if listed is not None and listed.returncode == 0:
        found = [pathlib.PurePath(name) for name in listed.stdout.decode().split("\0") if name]
    else:
        found = [path.relative_to(root) for path in root.rglob("*") if path.is_file()]
        found = [path for path in found
                 if path.parts[0] not in ("build", ".git") and "__pycache__" not in path.parts]
    return sorted(path for path in set(found) if (root / path).is_file())


def text(path, root=ROOT):
    """The contents, or None if the file is not text."""
    try:
        contents = (root / path).read_bytes().decode()
    except UnicodeDecodeError:
        return None
    return None if "\0" in contents else contents


def language(path, root=ROOT):
    """"c", "python", "shell" or None: by suffix, or by the first line where there is no suffix."""
    suffixes = {".c": "c", ".h": "c", ".py": "python", ".sh": "shell"}
    if path.suffix in suffixes:
        return suffixes[path.suffix]
    if path.suffix:
        return None
    contents = text(path, root)
    first = contents.split("\n", 1)[0] if contents else ""
    if not first.startswith("#!"):
        return None
    return "python" if "python" in first else "shell"


def root_argument():
    """The tree to check: the argument, or the one this tool stands in."""
    return pathlib.Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else ROOT


def finish(complaints):
    """Prints what was found; the exit status of a checker."""
    for complaint in complaints:
        print(complaint)
    return 1 if complaints else 0
