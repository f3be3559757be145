#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""The name service against Debian's unbound with its dns64 module, which resolves with the same library.

    gateway: dnsperf, and isthmus, unbound, unbound again  ----------  server: nsd

They are asked over loopback, the shortest way that there is: on a link between namespaces the kernel takes
longer over a datagram than either program. Each server has one thread and the first processor; generator and authoritative server have the second. All
ask the same nsd, have caches of the same size and do not validate. A round takes each server once, one after
the other; a figure is the median of the rounds. The second unbound is there to show how far two servers of
the same kind come apart, and a reflector, which sends each query back as its own answer, shows how much the
generator can do at most.

    cached      AAAA of 1000 names that have an A record only, asked for before
    uncached    AAAA of names that nobody has asked for: two lookups each
    memory      what 50 000 cached answers take, as resident pages of the process

Beside queries a second stands the processor time that the server took for a query, which is a fair figure
also where the generator is the limit; `program` is what is left of it without that of the reflector, which
does nothing but receive and send. Progress goes to stderr; on stdout comes one JSON object a line.
"""
import json
import os
import re
import statistics
import sys

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
sys.path.insert(0, os.path.join(ROOT, "lab"))

import nat64  # noqa: E402
from namespace import LabError, end, wait_until  # noqa: E402
from program import note, run  # noqa: E402

HERE = "::1"
SERVER_CPU, OTHER_CPU = "0", "1"
PORTS = {"isthmus": 5301, "unbound": 5302, "unbound again": 5303}
REFLECTOR_PORT = 5304
HOT_NAMES, MEMORY_NAMES = 1000, 50_000
TICKS = os.sysconf("SC_CLK_TCK")

_NSD = """server:
    ip-address: {address}
    do-ip6: no
    username: ""
    chroot: ""
    zonesdir: "{directory}"
    pidfile: "{directory}/nsd.pid"
    xfrdfile: "{directory}/xfrd.state"
    database: ""
    zonelistfile: "{directory}/zone.list"
    logfile: "{directory}/nsd.log"
    rrl-ratelimit: 0
remote-control:
    control-enable: no
zone:
    name: "perf.example"
    zonefile: "{directory}/perf.zone"
"""
_ZONE = """$ORIGIN perf.example.
$TTL 3600
@ SOA ns hostmaster 1 3600 600 86400 3600
@ NS ns
ns A {address}
*.hot A 198.51.100.7
*.cold A 198.51.100.8
"""
_UNBOUND = """server:
    interface: {address}@{port}
    access-control: ::/0 allow
    num-threads: 1
    username: ""
    chroot: ""
    directory: "{directory}"
    pidfile: "{directory}/unbound-{port}.pid"
    use-syslog: no
    logfile: "{directory}/unbound-{port}.log"
    module-config: "dns64 iterator"
    dns64-prefix: {prefix}
    so-reuseport: no
    msg-cache-size: {cache}
    rrset-cache-size: {cache}
    outgoing-range: 4096
    num-queries-per-thread: 2048
remote-control:
    control-enable: no
forward-zone:
    name: "."
    forward-addr: {upstream}
"""
_ISTHMUS = """plane: {{workers: 1}}
nat64:
  - prefix: {prefix}
    pool:
      - {{address: 192.0.2.16/28}}
dns64:
  listen: ["[{address}]:{port}"]
  upstream: ["{upstream}"]
  dnssec: off
  clients: ["::/0"]
  rate-limit: {{per-client: 0}}
  cache: {{entries: 100000}}
"""


def on(cpu, command):
    return ["taskset", "-c", cpu, *command]


def pinned(process, cpu):
    """Moves a process and all its threads to one processor."""
    for task in os.listdir(f"/proc/{process.pid}/task"):
        os.sched_setaffinity(int(task), {int(cpu)})


def processor_seconds(process):
    with open(f"/proc/{process.pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident(process):
    """Bytes of memory that belong to the process alone."""
    with open(f"/proc/{process.pid}/status") as file:
        return int(re.search(r"RssAnon:\s+(\d+)", file.read()).group(1)) * 1024


class Bench:
    def __init__(self, lab, options):
        self.lab = lab
        self.options = options
        self.processes = {}
        self.serial = 0

    def start_authority(self):
        lab = self.lab
        lab.write("perf.zone", _ZONE.format(address=nat64.SERVER))
        config = lab.write("nsd.conf", _NSD.format(address=nat64.SERVER, directory=lab.directory))
        with open(lab.path("nsd.err"), "w") as log:
            process = lab.server.start(on(OTHER_CPU, ["nsd", "-d", "-c", config]), stdout=log, stderr=log)
        nat64.wait_for_listener(lab.server, 53, process, lab.path("nsd.log"))

    def start_unbound(self, name):
        lab, port = self.lab, PORTS[name]
        config = lab.write(f"unbound-{port}.conf", _UNBOUND.format(
            address=HERE, port=port, directory=lab.directory, prefix=nat64.PREFIX,
            upstream=nat64.SERVER, cache="16m"))
        with open(lab.path(f"unbound-{port}.err"), "w") as log:
            self.processes[name] = lab.gateway.start(on(SERVER_CPU, ["unbound", "-d", "-c", config]),
                                                     stdout=log, stderr=log)
        self.wait(name)

    def start_isthmus(self):
        lab = self.lab
        config = lab.write("isthmus.yaml", _ISTHMUS.format(
            prefix=nat64.PREFIX, address=HERE, port=PORTS["isthmus"], upstream=nat64.SERVER))
        self.daemon = nat64.Daemon(lab, config=config).start()
        self.processes["isthmus"] = self.daemon.process
        pinned(self.daemon.process, SERVER_CPU)
        self.wait("isthmus")

    def start_reflector(self):
        program = os.path.join(os.environ.get("ISTHMUS_BUILD", os.path.join(ROOT, "build")), "dns_reflector")
        self.processes["reflector"] = self.lab.gateway.start(
            on(SERVER_CPU, [program, HERE, str(REFLECTOR_PORT)]))
        wait_until(lambda: f":{REFLECTOR_PORT}" in self.lab.gateway.run(["ss", "-Hlun"]).stdout, "the reflector")

    def wait(self, name):
        def answers():
            if self.processes[name].poll() is not None:
                raise LabError(f"{name} ended; its last words: {self.last_words(name)}")
            done = self.lab.gateway.run(["dig", "+short", "+time=1", "+tries=1", "-p", str(PORTS[name]),
                                        f"@{HERE}", "first.hot.perf.example", "AAAA"], check=False)
            return "2001:db8:64::" in done.stdout
        wait_until(answers, f"an answer from {name}", seconds=10)

    def last_words(self, name):
        path = self.daemon.log_path if name == "isthmus" else self.lab.path(f"unbound-{PORTS[name]}.err")
        with open(path) as file:
            return file.read().strip()[-500:]

    def load(self, name, port, queries, arguments):
        """One run of dnsperf: queries a second, and microseconds of processor time that each took."""
        process = self.processes[name]
        before = processor_seconds(process)
        done = self.lab.gateway.run(
            on(OTHER_CPU, ["dnsperf", "-s", HERE, "-p", str(port), "-d", queries, "-c", "8",
                           "-T", "1", "-b", "4096", *map(str, arguments)]), timeout=120)
        spent = processor_seconds(process) - before
        figures = {key: float(re.search(rf"{key}:\s+([\d.]+)", done.stdout).group(1))
                   for key in ("Queries per second", "Queries completed", "Queries lost")}
        if figures["Queries completed"] < 1000:
            raise LabError(f"{name}: dnsperf: {done.stdout.strip()[-500:]}")
        if name != "reflector" and "NOERROR" not in done.stdout:
            raise LabError(f"{name} answers with errors: {done.stdout.strip()[-500:]}")
        return figures["Queries per second"], 1e6 * spent / figures["Queries completed"], figures["Queries lost"]

    def fresh_names(self, count):
        """A file of questions that nobody has asked yet; one for each run."""
        self.serial += 1
        path = self.lab.path("cold")
        with open(path, "w") as file:
            for number in range(count):
                file.write(f"{self.serial}x{number}.cold.perf.example AAAA\n")
        return path

    def rounds(self, what, servers, run):
        figures = {name: [] for name in servers}
        for number in range(1, self.options.rounds + 1):
            for name in servers:
                rate, cost, lost = run(name)
                figures[name].append((rate, cost))
                note(f"{what}  round {number}/{self.options.rounds}  {name:14} {rate:9.0f} queries/s"
                     f"  {cost:6.2f} us of processor each  {lost:.0f} lost")
        return {name: tuple(statistics.median(column) for column in zip(*rows)) for name, rows in figures.items()}

    def cached(self):
        questions = self.lab.write("hot", "".join(f"n{number}.hot.perf.example AAAA\n"
                                                  for number in range(HOT_NAMES)))
        ports = {**PORTS, "reflector": REFLECTOR_PORT}
        for name in PORTS:
            self.load(name, PORTS[name], questions, ["-n", 2, "-q", 20])
        medians = self.rounds("dns64.cached", ports, lambda name: self.load(
            name, ports[name], questions, ["-l", self.options.seconds, "-q", 400]))
        report("dns64.cached", medians, "queries/s")
        own, other = (medians[name][1] - medians["reflector"][1] for name in ("isthmus", "unbound"))
        print_figure("dns64.cached.program", own, "us", "unbound", own / other)
        print_figure("dns64.cached.generator", medians["reflector"][0], "queries/s", "unbound",
                     medians["reflector"][0] / medians["unbound"][0])

    def uncached(self):
        count = 20_000 * self.options.seconds
        medians = self.rounds("dns64.uncached", PORTS, lambda name: self.load(
            name, PORTS[name], self.fresh_names(count), ["-n", 1, "-l", self.options.seconds, "-q", 200]))
        report("dns64.uncached", medians, "queries/s")

    def memory(self):
        """Of the caches of answers and of the library's together, and of answers alone as isthmus counts them."""
        for name in ("isthmus", "unbound"):
            process = self.processes[name]
            before = resident(process)
            self.load(name, PORTS[name], self.fresh_names(MEMORY_NAMES), ["-n", 1, "-q", 100])
            grown = (resident(process) - before) / MEMORY_NAMES
            note(f"dns64.memory  {name:14} {grown:6.0f} bytes a name")
            print_figure(f"dns64.memory.{name}", grown, "bytes", None, None)


def print_figure(name, value, unit, against, ratio):
    print(json.dumps({"name": name, "value": round(value, 2), "unit": unit, "against": against,
                      "ratio": None if ratio is None else round(ratio, 3)}), flush=True)


def report(name, medians, unit):
    own, other, again = (medians[server] for server in ("isthmus", "unbound", "unbound again"))
    print_figure(name, own[0], unit, "unbound", own[0] / other[0])
    print_figure(f"{name}.processor", own[1], "us", "unbound", own[1] / other[1])
    print_figure(f"{name}.same-kind", again[0], unit, "unbound", again[0] / other[0])


def bench(options):
    nat64.binary()
    with nat64.Lab() as lab:
        # The lab's files are root's alone; servers that give up their rights could not read them.
        os.chmod(lab.directory, 0o755)
        stand = Bench(lab, options)
        stand.start_authority()
        stand.start_isthmus()
        stand.start_unbound("unbound")
        stand.start_unbound("unbound again")
        stand.memory()
        stand.start_reflector()
        stand.cached()
        end(stand.processes["reflector"])
        stand.uncached()


if __name__ == "__main__":
    sys.exit(run(bench, "The name service against Debian's unbound.", rounds=7, seconds=5))
