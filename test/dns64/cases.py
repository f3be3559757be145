# SPDX-License-Identifier: BSD-2-Clause
"""Random rules, questions and answers of upstream servers, as lines for test/dns64/driver.c.

Messages are made by dnspython, so that what isthmus reads was written by another implementation. Everything
comes from one seed; a case is a question with all that its answer depends on.
"""

import ipaddress
import random

import dns.dnssec
import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.reversename
import dns.rrset

LENGTHS = (32, 40, 48, 56, 64, 96)
WELL_KNOWN = ipaddress.ip_network("64:ff9b::/96")
MAPPED = ipaddress.ip_network("::ffff:0:0/96")
NAMES = ("www.example.", "a.b.c.example.", "x.test.", "legacy.example.", "under.legacy.example.", "example.",
         "a-label-of-some-length.and-another-one.yet-another-that-is-longer.test.", r"odd\.dot\032space.test.")
ERRORS = (dns.rcode.SERVFAIL, dns.rcode.REFUSED, dns.rcode.FORMERR, dns.rcode.NOTIMP)
NOT_GLOBAL = ("10.1.2.3", "192.168.7.7", "172.16.0.1", "127.0.0.1", "169.254.1.1", "100.64.3.4", "198.18.0.9",
              "192.0.2.1", "203.0.113.77", "198.51.100.5", "0.1.2.3", "224.0.0.1", "255.255.255.255", "192.0.0.1")


class Found:
    """What a lookup finds: its state, and a message or none."""

    def __init__(self, state, message=None):
        self.state = state
        self.message = message

    def line(self, name, kind):
        wire = self.message.to_wire(max_size=65535).hex() if self.message else "-"
        return f"result {name} {int(kind)} {self.state} {wire}"


class Case:
    """One question; `prefixes` are (prefix, [IPv4 networks])."""

    def __init__(self, chance):
        self.chance = chance
        self.prefixes = [(prefix(chance), ipv4_networks(chance)) for _ in range(chance.choice((1, 1, 1, 2, 3, 16)))]
        self.view = chance.choice((0xffff, 0xffff, 0xffff, chance.getrandbits(16))) & ((1 << len(self.prefixes)) - 1)
        self.excluded = [MAPPED]
        if chance.random() < 0.3:
            self.excluded.append(ipaddress.ip_network("2001:db8:bad::/48"))
        self.exempt = [dns.name.from_text("Legacy.example.")] if chance.random() < 0.3 else []
        self.secure = chance.random() < 0.4  # all that is looked up
        self.results = {}
        self.tcp = chance.random() < 0.8
        self.checking_disabled = chance.random() < 0.08
        self.edns = chance.random() < 0.7
        self.dnssec_ok = self.edns and chance.random() < 0.5
        self.query = None

    def ask(self, name, kind):
        self.query = dns.message.make_query(mixed(self.chance, name), kind, use_edns=0 if self.edns else False,
                                            payload=self.chance.choice((512, 700, 1232, 4096)),
                                            want_dnssec=self.dnssec_ok, id=self.chance.getrandbits(16))
        if self.checking_disabled:
            self.query.flags |= dns.flags.CD
        if self.chance.random() < 0.2:
            self.query.flags |= dns.flags.AD

    def put(self, name, kind, found):
        self.results[(name.to_text().lower(), int(kind))] = found

    def lines(self):
        yield "rules"
        for network, ranges in self.prefixes:
            yield f"prefix {network} " + " ".join(mapped(one) for one in ranges)
        for network in self.excluded:
            yield f"exclude {network}"
        for name in self.exempt:
            yield f"exempt {name}"
        for (name, kind), found in self.results.items():
            yield found.line(name, kind)
        yield f"ask {self.view} {'tcp' if self.tcp else 'udp'} {self.query.to_wire().hex()}"


def mapped(network):
    address = ipaddress.ip_address(MAPPED.network_address + int(network.network_address))
    return f"{address}/{96 + network.prefixlen}"


def prefix(chance):
    if chance.random() < 0.35:
        return WELL_KNOWN
    length = chance.choice(LENGTHS)
    bits = 0x20010db8 << 96 | chance.getrandbits(96)
    if length == 96:
        bits &= ~(0xff << 56)  # bits 64 to 71
    return ipaddress.ip_network((bits >> (128 - length) << (128 - length), length))


def ipv4_networks(chance):
    if chance.random() < 0.7:
        return [ipaddress.ip_network("0.0.0.0/0")]
    networks = ("10.0.0.0/8", "192.0.2.0/24", "0.0.0.0/1", "128.0.0.0/2", "203.0.113.77/32", "192.0.0.170/31")
    return [ipaddress.ip_network(one) for one in chance.sample(networks, chance.randint(1, 3))]


def mixed(chance, name):
    text = name.to_text()
    return dns.name.from_text("".join(chance.choice((letter.lower(), letter.upper())) for letter in text))


def ipv4(chance):
    return chance.choice(NOT_GLOBAL) if chance.random() < 0.3 else str(ipaddress.ip_address(chance.getrandbits(32)))


def ipv6(chance, excluded):
    if excluded:
        return str(ipaddress.ip_address(int(MAPPED.network_address) | chance.getrandbits(32)))
    return str(ipaddress.ip_address(0x20010db9 << 96 | chance.getrandbits(96)))


def seconds(chance):
    return chance.choice((0, 1, 30, 59, 60, 300, 599, 600, 601, 3600, 86400, 2**31 - 1))


def records(name, ttl, kind, texts):
    return dns.rrset.from_text_list(name, ttl, "IN", kind, texts)


def signature(name, ttl, kind):
    return records(name, ttl, "RRSIG", [f"{kind} 8 2 {ttl} 20301231235959 20200101000000 1 example. AAAA"])


def chain(chance, name):
    """CNAMEs from the name on, some by way of a DNAME: their records, and where they end."""
    found = []
    for link in range(chance.choice((0, 0, 0, 1, 2, 5))):
        if link == 0 and len(name) > 3 and chance.random() < 0.3:
            parent, other = name.parent(), dns.name.from_text("moved.test.")
            found.append(records(parent, seconds(chance), "DNAME", [other.to_text()]))
            target = name.relativize(parent).concatenate(other)
        else:
            # Now and then into what is exempt.
            target = dns.name.from_text(chance.choice((f"c{link}.cdn.test.", f"c{link}.cdn.test.", "x.legacy.example.")))
        if any(target == one.name for one in found) or target == name:
            break
        found.append(records(name, seconds(chance), "CNAME", [target.to_text()]))
        name = target
    return found, name


def response(name, kind, rcode=dns.rcode.NOERROR):
    message = dns.message.make_response(dns.message.make_query(name, kind, id=0))
    message.flags |= dns.flags.RA
    message.set_rcode(rcode)
    return message


def add_soa(chance, message):
    ttl = seconds(chance)
    minimum = chance.choice((ttl, max(ttl, 3600), seconds(chance)))
    message.authority.append(records("test.", ttl, "SOA", [f"ns.test. h.test. 1 2 3 4 {minimum}"]))


def signed(case, sets):
    """The record sets, each with its signature where all is secure."""
    return [one for found in sets for one in
            ([found, signature(found.name, found.ttl, dns.rdatatype.to_text(found.rdtype))] if case.secure else [found])]


def state(case):
    return "secure" if case.secure else "insecure"


def no_message(chance):
    return Found(chance.choice(("failed", "timeout")))


def found_aaaa(case, name, links, end):
    """What the AAAA lookup finds."""
    chance = case.chance
    kind = chance.choices(("empty", "no-soa", "excluded", "partly", "real", "no-name", "error", "none", "bogus"),
                          (40, 8, 10, 8, 8, 5, 8, 8, 3))[0]
    if kind in ("none", "bogus"):
        return Found("bogus") if kind == "bogus" else no_message(chance)
    if kind == "error":
        return Found("insecure", response(name, "AAAA", chance.choice(ERRORS)))
    message = response(name, "AAAA")
    wanted = {"excluded": (True,) * chance.randint(1, 3), "partly": (True, False, True, False)[:chance.randint(2, 4)],
              "real": (False,) * chance.randint(1, 4)}.get(kind, ())
    sets = [records(end, seconds(chance), "AAAA", [ipv6(chance, one) for one in wanted])] if wanted else []
    message.answer = signed(case, links + sets)
    if kind == "no-name":
        message.set_rcode(dns.rcode.NXDOMAIN)
    if kind in ("empty", "no-name"):
        add_soa(chance, message)
    return Found(state(case), message)


def found_a(case, name, links, end):
    chance = case.chance
    kind = chance.choices(("some", "empty", "no-name", "error", "none", "bogus"), (80, 8, 2, 4, 3, 3))[0]
    if kind in ("none", "bogus"):
        return Found("bogus") if kind == "bogus" else no_message(chance)
    if kind == "error":
        return Found("insecure", response(name, "A", chance.choice(ERRORS)))
    message = response(name, "A", dns.rcode.NXDOMAIN if kind == "no-name" else dns.rcode.NOERROR)
    sets = []
    if kind == "some":
        sets = [records(end, seconds(chance), "A", [ipv4(chance) for _ in range(chance.choice((1, 1, 2, 3, 8)))])]
    message.answer = signed(case, links + sets)
    if kind != "some":
        add_soa(chance, message)
    elif chance.random() < 0.3:
        message.authority.append(records("test.", 77, "NS", ["ns.test."]))
        message.additional.append(records("ns.test.", 78, "A", ["8.8.4.4"]))
    return Found(state(case), message)


def case_of_address(case):
    name = dns.name.from_text(case.chance.choice(NAMES))
    links, end = chain(case.chance, name)
    case.put(name, dns.rdatatype.AAAA, found_aaaa(case, name, links, end))
    case.put(name, dns.rdatatype.A, found_a(case, name, links, end))
    case.ask(name, "AAAA")


def case_of_pointer(case):
    """PTR of an address under one of the prefixes."""
    chance = case.chance
    network = chance.choice(case.prefixes)[0]
    address = ipaddress.ip_address(ipv4(chance) if chance.random() < 0.9 else "192.0.0.170")
    case.pointer = address
    name = dns.reversename.from_address(str(embed(network, address)))
    target = dns.reversename.from_address(str(address))
    message = response(target, "PTR")
    if chance.random() < 0.8:
        message.answer = signed(case, [records(target, seconds(chance), "PTR", ["host.example."])])
    else:
        message.set_rcode(chance.choice((dns.rcode.NOERROR, dns.rcode.NXDOMAIN)))
        add_soa(chance, message)
    case.put(target, dns.rdatatype.PTR, Found(state(case), message))
    case.put(name, dns.rdatatype.PTR, Found(state(case), response(name, "PTR", dns.rcode.NXDOMAIN)))
    case.ask(name, "PTR")


def case_of_service(case):
    """HTTPS, in ServiceMode and with hints, to a target that has A records only, or others."""
    name, target = dns.name.from_text("www.example."), dns.name.from_text("svc.test.")
    message = response(name, "HTTPS")
    message.answer = signed(case, [records(name, seconds(case.chance), "HTTPS", [
        f"1 {target} alpn=h2 ipv4hint=192.0.2.9", f"2 {target} port=8443 ipv6hint=2001:db8::9"])])
    case.put(name, dns.rdatatype.HTTPS, Found(state(case), message))
    links, end = chain(case.chance, target)
    case.put(target, dns.rdatatype.AAAA, found_aaaa(case, target, links, end))
    case.put(target, dns.rdatatype.A, found_a(case, target, links, end))
    case.ask(name, "HTTPS")


def case_of_discovery(case):
    case.ask(dns.name.from_text("ipv4only.arpa."), case.chance.choice(("AAAA", "AAAA", "A", "TXT")))


def embed(network, address):
    """RFC 6052 section 2.2, as bits in a row with bits 64 to 71 put in afterwards."""
    if network.prefixlen == 96:
        return ipaddress.ip_address(int(network.network_address) | int(address))
    bits = format(int(network.network_address), "0128b")[:network.prefixlen] + format(int(address), "032b")
    bits = (bits[:64] + "0" * 8 + bits[64:]).ljust(128, "0")
    return ipaddress.ip_address(int(bits, 2))


def cases(seed, count):
    for number in range(count):
        chance = random.Random(f"{seed}.{number}")
        case = Case(chance)
        chance.choices((case_of_address, case_of_pointer, case_of_service, case_of_discovery), (80, 10, 7, 3))[0](case)
        yield case
