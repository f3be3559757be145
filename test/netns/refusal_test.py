# SPDX-License-Identifier: BSD-2-Clause
"""What isthmus will not do: it says why and what to do instead, and leaves nothing behind."""
import re
import time

import nat64
import pytest
from conftest import configure, settings
from nat64 import difference, snapshot

GOOD = """plane:
  type: tun
nat64:
  - name: main
    prefix: 2001:db8:64::/96
    pool:
      - {address: 192.0.2.16/28}
"""


def refused(lab, path, wrapper=()):
    """`isthmus run` ends with status 1 and changes nothing; returns what it said."""
    before = snapshot(lab.gateway)
    began = time.monotonic()
    done = lab.gateway.run([*wrapper, nat64.binary(), "run", "-c", path], check=False, timeout=20)
    assert done.returncode == 1, done.stderr
    assert time.monotonic() - began < 5
    changes = difference(before, snapshot(lab.gateway))
    assert not changes, "\n".join(changes)
    text = (done.stderr + done.stdout).strip()
    assert text, "no reason given"
    assert all(len(line) < 600 for line in text.splitlines())
    return text


BAD = {
    # name: (text, line of the error, what the message names)
    "wrong-type-number": (GOOD.replace("type: tun", "workers: many"), 2, "many"),
    "wrong-type-list": (GOOD.replace("type: tun", "workers: [1, 2]"), 2, "workers"),
    "wrong-type-scalar": (GOOD.replace("    pool:\n      - {address: 192.0.2.16/28}", "    pool: 5"), 6, "pool"),
    "unknown-key": (GOOD.replace("type: tun", "tpye: tun"), 2, "tpye"),
    "unknown-section": (GOOD + "nat46: {}\n", 8, "nat46"),
    "unknown-choice": (GOOD.replace("type: tun", "type: dpdk"), 2, "dpdk"),
    "duplicate-key": (GOOD.replace("type: tun", "type: tun\n  type: auto"), 3, "type"),
    "prefix-of-wrong-length": (GOOD.replace("/96", "/95"), 5, "96"),
    "prefix-with-host-bits": (GOOD.replace("64::/96", "64::1/96"), 5, "prefix"),
    "prefix-of-wrong-family": (GOOD.replace("2001:db8:64::/96", "192.0.2.0/24"), 5, "192.0.2.0/24"),
    "prefix-missing": (GOOD.replace("    prefix: 2001:db8:64::/96\n", ""), 4, "prefix"),
    "pool-missing": (GOOD.replace("    pool:\n      - {address: 192.0.2.16/28}\n", ""), 4, "pool"),
    "pools-overlap": (GOOD + "      - {address: 192.0.2.24/30}\n", 8, "overlap"),
    "prefixes-overlap": (GOOD + "  - name: other\n    prefix: 2001:db8:64::/96\n"
                         "    pool:\n      - {address: 192.0.2.64/28}\n", 9, "overlap"),
    "ports-inverted": (GOOD.replace("/28}", "/28, ports: 2000-1000}"), 7, "2000-1000"),
    "ports-out-of-range": (GOOD.replace("/28}", "/28, ports: 1-70000}"), 7, "70000"),
    "pool-beyond-ipv4": (GOOD.replace("192.0.2.16/28", "192.0.2.256/28"), 7, "192.0.2.256"),
    "static-outside-pool": (GOOD + "    static:\n      - {protocol: tcp, ipv6: \"[2001:db8:1::2]:80\", "
                            "ipv4: \"198.51.100.1:80\"}\n", 9, "198.51.100.1"),
    "truncated": (GOOD[:GOOD.index("192.0.2")], 7, ""),
    "not-yaml": ("nat64: [}\n", 1, ""),
    "zero-bytes": (GOOD.replace("main", "ma\0in"), 4, ""),
    "nested-without-end": ("nat64: " + "[" * 100000, 1, ""),
    "alias-bomb": ("a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{new}: &{new} [{','.join(['*' + old] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi")), 1, ""),
    "a-scalar": ("hello\n", 1, ""),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_configuration(lab, name):
    text, line, word = BAD[name]
    path = lab.write("bad.yaml", text)
    message = refused(lab, path)
    position = re.search(re.escape(path) + r":(\d+):(\d+): ", message)
    assert position, message
    assert int(position.group(1)) == line, message
    assert word in message
    checked = lab.gateway.run([nat64.binary(), "check", "-c", path], check=False)
    assert checked.returncode == 1 and position.group(0) in checked.stderr


def test_missing_file(lab):
    path = lab.path("nowhere.yaml")
    assert path in refused(lab, path)


def test_directory_as_file(lab):
    assert lab.directory in refused(lab, lab.directory)


def test_file_that_may_not_be_read(lab):
    path = configure(lab, settings())
    lab.gateway.shell(f"chmod 600 {path}; chown 65534 {path}\n")
    without = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--"]
    assert path in refused(lab, path, without)


def test_empty_file(lab):
    path = lab.write("empty.yaml", "")
    assert path in refused(lab, path)


def test_huge_file(lab):
    path = lab.write("huge.yaml", b"# " + b"x" * 64_000_000 + b"\n" + GOOD.encode())
    assert path in refused(lab, path)


def test_endless_file(lab):
    assert "/dev/zero" in refused(lab, "/dev/zero")


def test_pool_address_of_the_host_is_shared_by_its_interface(lab):
    path = configure(lab, settings(pool=[{"address": f"{nat64.GATEWAY4}/32", "ports": "40000-59999"}]))
    message = refused(lab, path)
    assert nat64.GATEWAY4 in message and "{interface: wan0" in message


def test_without_the_right_to_change_the_network(lab):
    path = configure(lab, settings())
    message = refused(lab, path, ["setpriv", "--bounding-set=-net_admin", "--"])
    assert "CAP_NET_ADMIN" in message or "root" in message


def test_without_the_tun_driver(lab):
    path = configure(lab, settings())
    hide = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs tmpfs /dev/net && exec "$@"', "sh"]
    assert "/dev/net/tun" in refused(lab, path, hide)


def test_device_name_taken_by_another_kind(lab):
    lab.gateway.shell("ip link add isthmus0 type veth peer name other0\n")
    assert "isthmus0" in refused(lab, configure(lab, settings()))


@pytest.mark.parametrize("arguments", [(), ("frobnicate",), ("show",), ("show", "nothing"),
                                       ("run", "--frobnicate"), ("check", "-c"),
                                       ("reload", "-c", "a.yaml", "--socket", "/run/b.sock")],
                         ids=lambda arguments: " ".join(arguments) or "nothing")
def test_wrong_usage(lab, arguments):
    done = lab.gateway.run([nat64.binary(), *arguments], check=False)
    assert done.returncode == 2
    assert "--help" in done.stderr or "usage" in done.stderr.lower()


def test_without_ipv6(lab):
    """As in a kernel that was booted with ipv6.disable=1: there are no such settings."""
    lab.gateway.shell("mount -t tmpfs none /proc/sys/net/ipv6\n")
    assert "no IPv6" in refused(lab, configure(lab, settings()))


def test_output_that_cannot_be_written(lab):
    path = configure(lab, settings())
    for arguments in (f"check -c {path}", "--help", "show --help", "--version"):
        done = lab.gateway.run(["sh", "-c", f"{nat64.binary()} {arguments} > /dev/full"], check=False)
        assert done.returncode == 1 and "No space left" in done.stderr, arguments


@pytest.mark.parametrize("command", ["show status", "reload"])
def test_commands_without_a_daemon(lab, command):
    done = lab.gateway.run([nat64.binary(), *command.split()], check=False)
    assert done.returncode == 1
    assert "/run/isthmus/control.sock" in done.stderr
