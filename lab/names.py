# SPDX-License-Identifier: BSD-2-Clause
"""Names for the lab: a real authoritative server, nsd, on the IPv4-only side, with signed zones.

    example.          signed; its key is the trust anchor of the lab
      plain.example.    not signed, and the parent says so: insecure
      bogus.example.    signed, and changed afterwards: what was changed is bogus, all else secure
      expired.example.  signed, but not for this day and age
    elsewhere.        not signed, below no trust anchor
    113.0.203.in-addr.arpa.   names of the lab's addresses

Keys are made with each lab, and everything nsd and unbound need lies in the lab's directory: nothing of this
machine's own name service is read or touched, and no user is switched to.
"""
import glob
import os
import subprocess
import time

from nat64 import SERVER, SERVER_PLAIN, wait_for_listener
from namespace import LabError, end

# Seconds, of the SOA record in negative answers (RFC 2308 section 5: its MINIMUM); less than those of addresses.
SOA_TTL = 120
MANY = 60  # addresses of many.example., which do not fit into a datagram of 512 bytes
HEAD = """$ORIGIN {origin}
$TTL 300
@ 3600 IN SOA ns.example. hostmaster.example. 1 3600 600 86400 120
@ IN NS ns.example.
"""

EXAMPLE = f"""
ns       IN A {SERVER}
web      IN A {SERVER}
a   3000 IN A {SERVER}
short 30 IN A {SERVER}
brief  1 IN A {SERVER}
two      IN A {SERVER}
two      IN A 198.51.100.130
dual     IN A {SERVER}
dual     IN AAAA {SERVER_PLAIN}
six      IN AAAA {SERVER_PLAIN}
text     IN TXT "no addresses here"
mail     IN MX 10 a
alias    IN CNAME second
second   IN CNAME a
nowhere  IN CNAME missing
across   IN CNAME a.plain
to-bogus IN CNAME a.bogus
to-six   IN CNAME six
old      IN DNAME new
a.new    IN A {SERVER}
*.wild   IN A {SERVER}
a.b.empty  IN A {SERVER}
private  IN A 10.1.2.3
global   IN A 9.9.9.9
servfail-aaaa IN A {SERVER}
mapped   IN AAAA ::ffff:192.0.2.33
mapped   IN A {SERVER}
partly   IN AAAA ::ffff:192.0.2.33
partly   IN AAAA {SERVER_PLAIN}
partly   IN A {SERVER}
legacy   IN A {SERVER}
a.legacy IN A {SERVER}
service  IN HTTPS 1 a alpn=h2 ipv4hint={SERVER}
itself   IN HTTPS 1 . alpn=h2
itself   IN A {SERVER}
_dns     IN SVCB 1 a alpn=dot
both     IN HTTPS 1 six alpn=h2
plain    IN NS ns
""" + "".join(f"many IN A 203.0.113.{100 + i}\n" for i in range(MANY)) + "".join(
    f'big IN TXT "{i:02} {"x" * 240}"\n' for i in range(20))

PLAIN = f"""
a   3000 IN A {SERVER}
six      IN AAAA {SERVER_PLAIN}
alias    IN CNAME a
"""

ELSEWHERE = PLAIN + f"""
*        IN A {SERVER}
"""

BOGUS = f"""
good     IN A {SERVER}
a        IN A {SERVER}
six      IN AAAA {SERVER_PLAIN}
denied   IN A {SERVER}
"""

EXPIRED = f"""
a        IN A {SERVER}
"""

REVERSE = """
2        IN PTR web.example.
17       IN CNAME 2
"""

_NSD = """server:
    ip-address: {address}@{port}
    username: ""
    chroot: ""
    database: ""
    zonesdir: "{directory}"
    pidfile: "{directory}/nsd.pid"
    xfrdfile: "{directory}/xfrd.state"
    xfrdir: "{directory}"
    zonelistfile: "{directory}/zone.list"
    server-count: 1
    rrl-ratelimit: 0
    rrl-whitelist-ratelimit: 0
remote-control:
    control-enable: no
"""

_UNBOUND = """server:
    directory: "{directory}"
    username: ""
    chroot: ""
    pidfile: "{directory}/unbound.pid"
    use-syslog: no
    do-daemonize: no
    num-threads: 1
    interface: {address}@{port}
    access-control: 0.0.0.0/0 allow
    access-control: ::/0 allow
    do-not-query-localhost: no
    module-config: "{modules}"
    unblock-lan-zones: yes
    {extra}
remote-control:
    control-enable: no
forward-zone:
    name: "."
    forward-addr: {upstream}
"""


def _run(command, directory):
    done = subprocess.run(command, cwd=directory, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=30, check=False)
    if done.returncode != 0:
        raise LabError(f"{' '.join(command)}: {done.stdout.strip() or f'exit status {done.returncode}'}")
    return done.stdout.strip()


def _break(lines, owner, kind):
    """Turns the last bits of a signature, so that it is well formed and wrong."""
    for number, line in enumerate(lines):
        fields = line.split()
        if fields[:1] == [owner] and fields[3:5] == ["RRSIG", kind]:
            signature = fields[12]
            fields[12] = ("B" if signature[0] == "A" else "A") + signature[1:]
            lines[number] = "\t".join(fields)
            return
    raise LabError(f"the signed zone has no signature of {owner} {kind}")


class Names:
    """The zones above, and nsd, which serves them."""

    def __init__(self, lab, machine=None, address=SERVER, port=53):
        self.lab = lab
        self.machine = machine or lab.server
        self.address, self.port = address, port
        self.directory = lab.path("names")
        self.anchors = os.path.join(self.directory, "anchors")
        self.process = None
        os.makedirs(self.directory)
        zones = self._write_zones()
        with open(os.path.join(self.directory, "nsd.conf"), "w") as file:
            file.write(_NSD.format(address=address, port=port, directory=self.directory) + "".join(
                f'zone:\n    name: "{origin}"\n    zonefile: "{path}"\n' for origin, path in zones.items()))

    def _write(self, origin, records, name="zone"):
        path = os.path.join(self.directory, origin + name)
        with open(path, "w") as file:
            file.write(HEAD.format(origin=origin) + records)
        return path

    def _sign(self, origin, path, *options):
        """Signs a zone by a new key; returns the paths of the signed zone and the key's DS record."""
        key = _run(["ldns-keygen", "-r", "/dev/urandom", "-a", "ECDSAP256SHA256", "-k", origin.rstrip(".")],
                   self.directory)
        signed = path + ".signed"
        if not options:
            options = ("-i", str(int(time.time()) - 86400))
        _run(["ldns-signzone", *options, "-o", origin, "-f", signed, path, key], self.directory)
        with open(os.path.join(self.directory, key + ".ds")) as file:
            return signed, file.read()

    def _write_zones(self):
        bogus, bogus_ds = self._sign("bogus.example.", self._write("bogus.example.", BOGUS))
        with open(bogus) as file:
            lines = file.read().splitlines()
        _break(lines, "a.bogus.example.", "A")
        _break(lines, "six.bogus.example.", "AAAA")
        _break(lines, "denied.bogus.example.", "NSEC")  # of it all is well but the proof that it has no AAAA
        with open(bogus, "w") as file:
            file.write("\n".join(lines) + "\n")
        expired, expired_ds = self._sign("expired.example.", self._write("expired.example.", EXPIRED),
                                         "-i", "20200101000000", "-e", "20200201000000")
        parent = EXAMPLE + "bogus IN NS ns\nexpired IN NS ns\n" + bogus_ds + expired_ds
        example, _ = self._sign("example.", self._write("example.", parent))
        for path in glob.glob(os.path.join(self.directory, "Kexample.*.key")):
            with open(path) as file, open(self.anchors, "w") as anchors:
                anchors.write(file.read())
        return {"example.": example, "plain.example.": self._write("plain.example.", PLAIN),
                "bogus.example.": bogus, "expired.example.": expired,
                "elsewhere.": self._write("elsewhere.", ELSEWHERE),
                "113.0.203.in-addr.arpa.": self._write("113.0.203.in-addr.arpa.", REVERSE)}

    def start(self):
        log = os.path.join(self.directory, "nsd.log")
        with open(log, "w") as out:
            self.process = self.machine.start(["nsd", "-d", "-c", os.path.join(self.directory, "nsd.conf")],
                                              stdout=out, stderr=out)
        wait_for_listener(self.machine, self.port, self.process, log)
        return self

    def stop(self):
        end(self.process)


class Resolver:
    """unbound, which asks a server for everything."""

    def __init__(self, names, address=SERVER, port=5300, modules="iterator", extra=""):
        self.names = names
        self.machine = names.machine
        self.port = port
        directory = os.path.join(names.directory, f"unbound-{port}")
        os.makedirs(directory)
        self.config = os.path.join(directory, "unbound.conf")
        self.log = os.path.join(directory, "unbound.log")
        with open(self.config, "w") as file:
            file.write(_UNBOUND.format(directory=directory, address=address, port=port, modules=modules,
                                       extra=extra, upstream=f"{names.address}@{names.port}"))
        self.process = None

    def start(self):
        with open(self.log, "w") as out:
            self.process = self.machine.start(["unbound", "-d", "-c", self.config], stdout=out, stderr=out)
        wait_for_listener(self.machine, self.port, self.process, self.log)
        return self


def make_certificate(lab, name, address=SERVER):
    """A certificate authority and a server's certificate for a name: paths of CA, key and certificate."""
    directory = lab.path("tls")
    os.makedirs(directory, exist_ok=True)
    for path, text in (("ca.cnf", "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n"),
                       ("server.cnf", f"subjectAltName=DNS:{name},IP:{address}\n")):
        with open(os.path.join(directory, path), "w") as file:
            file.write(text)
    new_key = ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    for command in ([*new_key, "-keyout", "ca.key", "-out", "ca.csr", "-subj", "/CN=Lab CA"],
                    ["openssl", "x509", "-req", "-in", "ca.csr", "-signkey", "ca.key", "-days", "2", "-out", "ca.pem",
                     "-extfile", "ca.cnf"],
                    [*new_key, "-keyout", "server.key", "-out", "server.csr", "-subj", f"/CN={name}"],
                    ["openssl", "x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
                     "-CAcreateserial", "-days", "2", "-out", "server.pem", "-extfile", "server.cnf"]):
        _run(command, directory)
    return tuple(os.path.join(directory, file) for file in ("ca.pem", "server.key", "server.pem"))
