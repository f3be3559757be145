# SPDX-License-Identifier: BSD-2-Clause
"""The NAT64 lab: an IPv6-only client, a gateway, an IPv4-only server.

      IPv6 only                                                            IPv4 only
    +-----------+                +---------------------+                +-------------+
    |  client   |                |       gateway       |                |   server    |
    |      eth0 +----------------+ lan0           wan0 +----------------+ eth0        |
    |           | 2001:db8:1::/64|      isthmus0       | 203.0.113.0/24 |  web :80    |
    |       ::2 |            ::1 |                     | .1          .2 |  iperf3     |
    +-----------+                +---------------------+                +-------------+
    default via                    NAT64 prefix                           192.0.2.16/28
    2001:db8:1::1                    2001:db8:64::/96                       via 203.0.113.1
                                   IPv4 pool
                                     192.0.2.16/28

The client reaches the server as 2001:db8:64::203.0.113.2, which is 2001:db8:64::cb00:7102.

On demand: a neighbour, a second client on lan1 (2001:db8:3::2/64); and a plain IPv6 way past the
translator between client and server (2001:db8:2::2 on the server), for comparisons of speed; and routers on
both sides with hosts behind them:

    +-----------+               +---------+                           +---------+               +-----------+
    | far client|               | router6 |          gateway          | router4 |               | far server|
    |      eth0 +---------------+ far near+----- lan2       wan2 -----+ near far+---------------+ eth0      |
    +-----------+               +---------+                           +---------+               +-----------+
       2001:db8:6::/64  ::2, ::1      2001:db8:5::/64  ::2, ::1  198.51.100.0/25 .1, .2   198.51.100.128/25 .129, .130

The gateway starts as a host that forwards nothing; what forwarding needs is isthmus' to set.
"""
import json
import os
import shutil
import signal
import subprocess
import tempfile

from guardian import guardian
from namespace import LabError, Machine, end, link, need_root, wait_until

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
EXAMPLE = os.path.join(ROOT, "packaging", "isthmus.yaml")

CLIENT = "2001:db8:1::2"
GATEWAY6, GATEWAY4 = "2001:db8:1::1", "203.0.113.1"
SERVER = "203.0.113.2"
SERVER_PLAIN = "2001:db8:2::2"
NEIGHBOUR = "2001:db8:3::2"
FAR_CLIENT, ROUTER6 = "2001:db8:6::2", "2001:db8:6::1"
FAR_SERVER, ROUTER4 = "198.51.100.130", "198.51.100.2"
PREFIX = "2001:db8:64::/96"
POOL = "192.0.2.16/28"
SERVER_MAPPED = "2001:db8:64::cb00:7102"
URL = f"http://[{SERVER_MAPPED}]"

_NGINX = """daemon off;
master_process off;
pid {directory}/nginx.pid;
error_log {directory}/nginx.log;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    sendfile on;
    client_body_temp_path {directory}/body;
    server {{
        listen {address}:80 backlog=4096;
        root {directory}/www;
        location = / {{
            return 200 "Hello from $server_addr, an IPv4-only web server. You are $remote_addr.\\n";
        }}
        location = /slow {{
            alias {directory}/www/file;
            limit_rate 2m;
        }}
        location /upload/ {{
            dav_methods PUT;
            client_max_body_size 0;
        }}
    }}
}}
"""


def binary():
    """The program under test: $ISTHMUS, or what `make` built."""
    path = os.environ.get("ISTHMUS", os.path.join(ROOT, "build", "isthmus"))
    if not os.access(path, os.X_OK):
        raise LabError(f"{path} is not there; run `make`, or name the program in the variable ISTHMUS")
    return os.path.abspath(path)


class Lab:
    """The network of the drawing; `with Lab() as lab:` takes it down however the block is left."""

    def __init__(self, keep=False):
        need_root()
        self.machines = []
        self.keep = keep
        self.directory = tempfile.mkdtemp(prefix="isthmus-lab-")
        if not keep:
            guardian().tell("directory", self.directory)
        try:
            self.client = self._machine("client")
            self.gateway = self._machine("gateway")
            self.server = self._machine("server")
            self._connect()
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def close(self):
        for machine in reversed(self.machines):
            machine.close()
        self.machines.clear()
        shutil.rmtree(self.directory, ignore_errors=True)
        if not self.keep:
            guardian().tell("forget", self.directory)

    def _machine(self, name):
        machine = Machine(name, self.keep)
        self.machines.append(machine)
        # Addresses are usable at once: nobody here could hold the same one.
        machine.shell("echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad\n"
                      "echo 0 > /proc/sys/net/ipv6/conf/default/router_solicitations\n")
        return machine

    def _connect(self):
        link(self.client, "eth0", self.gateway, "lan0")
        link(self.gateway, "wan0", self.server, "eth0")
        self.gateway.shell("ip address add 2001:db8:1::1/64 dev lan0\n"
                           "ip address add 203.0.113.1/24 dev wan0\n"
                           "ip link set lan0 up\n"
                           "ip link set wan0 up\n")
        self.client.shell("ip address add 2001:db8:1::2/64 dev eth0\n"
                          "ip link set eth0 up\n"
                          "ip route add default via 2001:db8:1::1\n")
        self.server.shell("ip address add 203.0.113.2/24 dev eth0\n"
                          "ip link set eth0 up\n"
                          "ip route add 192.0.2.16/28 via 203.0.113.1\n")

    def add_neighbour(self):
        """A second IPv6-only client, on a LAN of its own."""
        neighbour = self._machine("neighbour")
        link(neighbour, "eth0", self.gateway, "lan1")
        self.gateway.shell("ip address add 2001:db8:3::1/64 dev lan1\nip link set lan1 up\n")
        neighbour.shell("ip address add 2001:db8:3::2/64 dev eth0\n"
                        "ip link set eth0 up\n"
                        "ip route add default via 2001:db8:3::1\n")
        self.neighbour = neighbour
        return neighbour

    def add_routers(self, pool=POOL):
        """A router on each side, and a host behind it; those of IPv4 have a route to `pool`."""
        self.far_client, self.router6 = self._machine("far-client"), self._machine("router6")
        self.far_server, self.router4 = self._machine("far-server"), self._machine("router4")
        link(self.gateway, "lan2", self.router6, "near")
        link(self.router6, "far", self.far_client, "eth0")
        link(self.gateway, "wan2", self.router4, "near")
        link(self.router4, "far", self.far_server, "eth0")
        self.gateway.shell("ip address add 2001:db8:5::1/64 dev lan2\n"
                           "ip address add 198.51.100.1/25 dev wan2\n"
                           "ip link set lan2 up\nip link set wan2 up\n"
                           "ip route add 2001:db8:6::/64 via 2001:db8:5::2\n"
                           "ip route add 198.51.100.128/25 via 198.51.100.2\n")
        self.router6.shell("echo 1 > /proc/sys/net/ipv6/conf/all/forwarding\n"
                           "ip address add 2001:db8:5::2/64 dev near\n"
                           "ip address add 2001:db8:6::1/64 dev far\n"
                           "ip link set near up\nip link set far up\n"
                           "ip route add default via 2001:db8:5::1\n")
        self.router4.shell("echo 1 > /proc/sys/net/ipv4/ip_forward\n"
                           "ip address add 198.51.100.2/25 dev near\n"
                           "ip address add 198.51.100.129/25 dev far\n"
                           "ip link set near up\nip link set far up\n"
                           f"ip route add {pool} via 198.51.100.1\n")
        self.far_client.shell("ip address add 2001:db8:6::2/64 dev eth0\n"
                              "ip link set eth0 up\nip route add default via 2001:db8:6::1\n")
        self.far_server.shell("ip address add 198.51.100.130/25 dev eth0\n"
                              f"ip link set eth0 up\nip route add {pool} via 198.51.100.129\n")

    def add_plain_ipv6(self):
        """IPv6 between client and server, forwarded by the gateway's kernel alone."""
        self.gateway.shell("ip address add 2001:db8:2::1/64 dev wan0\n"
                           "echo 1 > /proc/sys/net/ipv6/conf/all/forwarding\n")
        self.server.shell("ip address add 2001:db8:2::2/64 dev eth0\n"
                          "ip route add 2001:db8:1::/64 via 2001:db8:2::1\n")

    def use_name_server(self, machine, address):
        """Has the programs of a machine ask the name server at `address`: an /etc/resolv.conf of its own."""
        path = self.write(f"resolv.conf-{machine.name}", f"nameserver {address}\n")
        # Often it is a link into /run, which is empty here and the machine's own.
        machine.shell("real=$(readlink -m /etc/resolv.conf)\n"
                      'case "$real" in /run/*) mkdir -p "$(dirname "$real")"; : > "$real";; esac\n'
                      f'mount --bind {path} "$real"\n')

    def path(self, *names):
        return os.path.join(self.directory, *names)

    def write(self, name, text):
        """A file in the lab's directory; returns its path."""
        path = self.path(name)
        with open(path, "w" if isinstance(text, str) else "wb") as file:
            file.write(text)
        return path

    def start_web(self, size=100_000_000, machine=None, address=SERVER):
        """A web server with a page, a file of `size` random bytes (/file, at 2 MB a second /slow) and a place for
        uploads."""
        machine = machine or self.server
        os.makedirs(self.path("www", "upload"))
        with open(self.path("www", "file"), "wb") as file:
            while size > 0:
                file.write(os.urandom(min(size, 1 << 20)))
                size -= 1 << 20
        config = self.write("nginx.conf", _NGINX.format(directory=self.directory, address=address))
        with open(self.path("nginx.err"), "w") as errors:
            process = machine.start(["nginx", "-c", config, "-e", self.path("nginx.log")],
                                        stdout=errors, stderr=errors)
        wait_for_listener(machine, 80, process, self.path("nginx.err"))
        return process

    def start_iperf(self, port=5201, once=False):
        """An iperf3 server; with `once`, one that ends after a single run."""
        with open(self.path("iperf3.log"), "w") as log:
            process = self.server.start(["iperf3", "-s", "-p", str(port), *(["-1"] if once else [])],
                                        stdout=log, stderr=log)
        wait_for_listener(self.server, port, process, self.path("iperf3.log"))
        return process


def wait_for_listener(machine, port, process, log):
    """Waits until something on `machine` accepts TCP connections at `port`."""
    def listening():
        if process.poll() is not None:
            with open(log) as file:
                raise LabError(f"{machine.name}: the server for port {port} ended: {file.read().strip()}")
        return machine.run(["ss", "-Hltn", "sport", "=", f":{port}"]).stdout.strip()
    wait_until(listening, f"a server on port {port}")


class Daemon:
    """`isthmus run` on the gateway, and the commands that talk to it."""

    def __init__(self, lab, config=EXAMPLE, arguments=(), program=None):
        self.lab = lab
        self.config = config
        self.program = program or binary()
        self.arguments = arguments
        self.process = None
        self.log_path = None

    def launch(self):
        """Starts the daemon without waiting for it."""
        handle, self.log_path = tempfile.mkstemp(prefix="isthmus-", suffix=".log", dir=self.lab.directory)
        with os.fdopen(handle, "w") as log:
            self.process = self.lab.gateway.start(
                [self.program, "run", "-c", self.config, *self.arguments], stdout=log, stderr=log)
        return self

    def start(self):
        """Starts the daemon and waits until it says that it is ready."""
        self.launch()
        wait_until(self._ready, "`isthmus show status` to say ready", seconds=10)
        return self

    def _ready(self):
        if self.process.poll() is not None:
            raise LabError(f"isthmus run ended with status {self.process.returncode}: {self.log().strip()}")
        done = self.command("show", "status", "--json", check=False)
        return done.returncode == 0 and json.loads(done.stdout).get("ready")

    def log(self):
        with open(self.log_path) as file:
            return file.read()

    def command(self, *arguments, check=True):
        """Runs another isthmus command on the gateway."""
        return self.lab.gateway.run([self.program, *arguments], check=check)

    def show(self, what):
        """`isthmus show WHAT --json`: a list of objects, one a line."""
        text = self.command("show", what, "--json").stdout
        return [json.loads(line) for line in text.splitlines() if line.strip()]

    def stop(self, patience=5.0):
        """SIGTERM; returns the exit status."""
        return end(self.process, patience)

    def keepers(self):
        """The processes that the daemon started and that watch over it."""
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children") as file:
            return [int(pid) for pid in file.read().split()]

    def kill(self):
        """kill -9 of the daemon alone: its keeper is still there to clean up."""
        self.process.kill()
        return self.process.wait()

    def kill_all(self):
        """kill -9 of the daemon and its keeper at once: nobody is left to clean up."""
        keepers = self.keepers()
        self.process.send_signal(signal.SIGSTOP)
        for pid in keepers:
            os.kill(pid, signal.SIGKILL)
        return self.kill()


def snapshot(machine):
    """What a daemon may not leave changed: addresses, routes, rules, settings, files under /run; programs at
    interfaces, what is pinned, and merging of packets."""
    script = """ip -o link | cut -d: -f2-
ip -o address | sed 's/valid_lft.*//'
for family in -4 -6; do
    echo "routes $family"; ip $family route show table all | sort
    echo "rules $family"; ip $family rule
done
sysctl -a --pattern '^net\\.ipv[46]\\.(conf|neigh|ip_forward)' 2>/dev/null | sort
nft list ruleset 2>/dev/null || true
find /run | sort
tc qdisc
for device in $(ip -o link | cut -d: -f2 | cut -d@ -f1); do
    tc filter show dev $device ingress 2>/dev/null | sed "s/^/ingress of $device: /"
    ethtool -k $device | grep rx-gro-list | sed "s/^/$device /"
done
mount | grep 'type bpf' || true
find /sys/fs/bpf -mindepth 1 | sort
"""
    return machine.shell(script).splitlines()


def difference(before, after):
    """The lines of two snapshots that differ, marked - and +."""
    return ([f"- {line}" for line in before if line not in set(after)]
            + [f"+ {line}" for line in after if line not in set(before)])
