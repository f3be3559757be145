# SPDX-License-Identifier: BSD-2-Clause
"""What tool/check-bpf-object allows a program for the kernel, and what it refuses."""

import pathlib
import shutil
import subprocess

import pytest

TOOL = pathlib.Path(__file__).resolve().parent.parent.parent / "tool" / "check-bpf-object"


@pytest.fixture
def check(tmp_path):
    """Compiles a program's body and has it checked: (status, what is said)."""
    if shutil.which("clang") is None:
        pytest.skip("clang is missing")

    def run(body, above="", options=()):
        source, program = tmp_path / "program.c", tmp_path / "program.o"
        source.write_text(f"{above}\n__attribute__((section(\"tc\"), used)) long run(long *at)\n{{\n{body}\n}}\n")
        subprocess.run(["clang", "-target", "bpf", "-mcpu=v3", "-O2", "-c", source, "-o", program], check=True)
        ended = subprocess.run([TOOL, *options, program], capture_output=True, text=True, check=False)
        assert ended.stderr == ""
        return ended.returncode, ended.stdout
    return run


def helper(number):
    return f"return ((long (*)(void)){number})();"


def test_what_all_have_is_fine(check):
    assert check("return __sync_fetch_and_add(at, 1);") == (0, "")
    assert check(helper(5)) == (0, "")


def test_what_is_asked_for_is_listed(check):
    status, said = check("return __sync_val_compare_and_swap(at, 1, 2);", options=["-v"])
    assert status == 0 and "atomic operation, Linux 5.12" in said


@pytest.mark.parametrize("number", [181, 99999])  # bpf_loop, and none
def test_helpers_that_came_later_or_are_unknown(check, number):
    status, said = check(helper(number))
    assert status == 1 and f"helper {number}" in said


# In bytes, since assemblers know them only from some version on: each is one instruction, r0 and r1 its registers.
@pytest.mark.parametrize("code, name", [
    ("0x91, 0x10, 0, 0, 0, 0, 0, 0", "sign-extending load"),
    ("0xbf, 0x10, 8, 0, 0, 0, 0, 0", "sign-extending move"),
    ("0x3f, 0x10, 1, 0, 0, 0, 0, 0", "signed division"),
    ("0xd7, 0x00, 0, 0, 16, 0, 0, 0", "byte swap"),
    ("0x06, 0x00, 0, 0, 0, 0, 0, 0", "long jump"),
    ("0xe5, 0x00, 0, 0, 0, 0, 0, 0", "may_goto"),
    ("0xdb, 0x10, 0, 0, 0, 1, 0, 0", "load-acquire"),
    ("0x85, 0x20, 0, 0, 1, 0, 0, 0", "kernel function"),
])
def test_instructions_that_came_later(check, code, name):
    status, said = check(f'__asm__ volatile(".byte {code}"); return 0;')
    assert status == 1 and name in said


def test_a_stack_that_is_too_deep(check):
    above = "__attribute__((noinline)) long more(long *at) { long a[40]; " \
            "__asm__ volatile(\"\" : : \"r\"(a), \"r\"(at) : \"memory\"); return a[0]; }"
    status, said = check("long a[40]; __asm__ volatile(\"\" : : \"r\"(a) : \"memory\"); return more(at) + a[0];", above=above)
    assert status == 1 and "bytes of stack: run, more" in said


@pytest.mark.parametrize("words, status, said", [
    (["--help"], 0, "usage: tool/check-bpf-object"),
    ([], 2, "required: object"),
    (["/nowhere/object"], 2, "No such file"),
    ([TOOL], 2, "is no BPF object"),
])
def test_the_command_line(words, status, said):
    ended = subprocess.run([TOOL, *words], capture_output=True, text=True, check=False)
    assert ended.returncode == status and said in ended.stdout + ended.stderr
