#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Every answer that isthmus synthesises, read by dnspython and mapped back to the A records it was made of.

    test/dns64/property.py --driver build/dns64_driver [--cases 3000] [--seed 1] [--only NUMBER]

Cases come from test/dns64/cases.py. What RFC 6147 wants of each reply is worked out here from the messages that
the lookups found, with an implementation of RFC 6052 of its own, and compared with the reply. What fails is
printed with its seed and number; --only shows that case alone, line by line.
"""

import argparse
import ipaddress
import subprocess
import sys

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.reversename

import cases

AAAA, A, PTR, HTTPS = dns.rdatatype.AAAA, dns.rdatatype.A, dns.rdatatype.PTR, dns.rdatatype.HTTPS
SYNTHESIZED = 29  # IANA, extended errors
WITHOUT_SOA = 600  # RFC 6147 section 5.1.7
OUR_UDP_SIZE = 1232
LEAST_ERROR = 6  # bytes of an extended error without text
# RFC 6890: what is not globally reachable, and multicast.
NOT_GLOBAL = [ipaddress.ip_network(one) for one in (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
    "192.0.2.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4",
    "240.0.0.0/4")]
DISCOVERY = [ipaddress.ip_address(one) for one in ("192.0.0.170", "192.0.0.171")]


class Wrong(Exception):
    """A reply that is not what the RFC says."""


def demand(condition, what):
    if not condition:
        raise Wrong(what)


# Addresses, as bits in a row.

def extract(network, address):
    """The IPv4 address in one under the prefix (RFC 6052 section 2.2); None if it has no such form."""
    bits = format(int(address), "0128b")
    if ipaddress.ip_address(address) not in network or bits[64:72] != "0" * 8:
        return None
    if network.prefixlen == 96:
        return ipaddress.ip_address(int(bits[96:], 2))
    bits = bits[:64] + bits[72:]
    end = network.prefixlen + 32
    return ipaddress.ip_address(int(bits[network.prefixlen:end], 2)) if "1" not in bits[end:] else None


def reachable(network, ranges, address):
    if network == cases.WELL_KNOWN and any(address in one for one in NOT_GLOBAL):
        return False
    return any(address in one for one in ranges)


def view(case):
    return [one for bit, one in enumerate(case.prefixes) if case.view >> bit & 1]


def synthesised(case, addresses):
    """All addresses that these IPv4 addresses have under the prefixes of the client."""
    return {cases.embed(network, address) for address in addresses for network, ranges in view(case)
            if reachable(network, ranges, address)}


# Messages.

def sets(message, kind, section="answer"):
    return [one for one in getattr(message, section) if one.rdtype == kind and not one.covers]


def addresses_of(found):
    return [ipaddress.ip_address(one.address) for rrset in found for one in rrset]


def end_of_chain(message, name):
    for one in message.answer:
        if one.rdtype == dns.rdatatype.CNAME and one.name == name:
            name = one[0].target
    return name


def of_name(message, kind, name):
    end = end_of_chain(message, name)
    return [one for one in sets(message, kind) if one.name == end]


def plain(rrsets):
    """Record sets in a form in which neither case nor order counts."""
    return sorted((one.name.to_text().lower(), int(one.rdtype), int(one.covers), one.ttl,
                   *sorted(data.to_text().lower() for data in one)) for one in rrsets)


def links(message):
    return plain(one for one in message.answer if one.rdtype in (dns.rdatatype.CNAME, dns.rdatatype.DNAME))


def errors_told(reply):
    return [option.code for option in reply.options if option.otype == dns.edns.OptionType.EDE]


def excluded(case, address):
    return any(address in one for one in case.excluded)


def exempt(case, name):
    return any(name.is_subdomain(one) for one in case.exempt)


def limit_of(case):
    return 65535 if case.tcp else max(512, min(case.query.payload, OUR_UDP_SIZE)) if case.edns else 512


# What every reply has.

def check_frame(case, wire, reply):
    query = case.query
    demand(reply.id == query.id, "another id")
    demand(reply.flags & dns.flags.QR and reply.flags & dns.flags.RA, "no response of a resolver")
    for flag in (dns.flags.RD, dns.flags.CD):
        demand((reply.flags & flag) == (query.flags & flag), f"{flag!r} differs")
    asked, repeated = query.question[0], reply.question[0]
    demand(len(reply.question) == 1, "not one question")
    demand(asked.name.labels == repeated.name.labels and asked.rdtype == repeated.rdtype,
           "another question, or not letter by letter")
    demand((reply.edns == 0) == case.edns, "OPT without OPT in the query, or none")
    if case.edns:
        demand(reply.payload == OUR_UDP_SIZE, "another UDP size")
        demand(bool(reply.ednsflags & dns.flags.DO) == case.dnssec_ok, "DO differs")
    demand(len(wire) <= limit_of(case), f"{len(wire)} bytes, over the limit of {limit_of(case)}")
    counts = [int.from_bytes(wire[at:at + 2], "big") for at in (6, 8, 10)]
    counts[2] -= case.edns
    demand(counts == [sum(len(rrset) for rrset in section) for section in (reply.answer, reply.authority, reply.additional)],
           f"{counts} records, some of them twice")
    if reply.flags & dns.flags.TC:
        demand(not case.tcp, "TC over TCP")
        demand(not reply.answer and not reply.authority, "TC with records")
    if not case.dnssec_ok:
        demand(not [one for one in reply.answer + reply.authority + reply.additional if one.covers],
               "signatures without DO")


def check_round_trip(reply):
    """Written and read once more it is the same."""
    again = dns.message.from_wire(reply.to_wire(max_size=65535))
    for section in ("question", "answer", "authority", "additional"):
        demand(plain(getattr(again, section)) == plain(getattr(reply, section)), f"{section} does not survive a round trip")


def check_authentic(case, reply, found):
    """RFC 4035 section 3.2.3, RFC 6147 section 5.5."""
    authentic = bool(reply.flags & dns.flags.AD)
    wanted = case.dnssec_ok or bool(case.query.flags & dns.flags.AD)
    secure = bool(found) and all(one.state == "secure" for one in found)
    demand(not authentic or secure and wanted and not case.checking_disabled, "AD for what was not validated")
    if secure and wanted and not case.checking_disabled and reply.rcode() == dns.rcode.NOERROR:
        demand(authentic or reply.flags & dns.flags.TC, "no AD for what was validated")


def check_failure(case, reply, rcode=dns.rcode.SERVFAIL):
    demand(reply.rcode() == rcode, f"{reply.rcode()!r} instead of {rcode!r}")
    demand(not sets(reply, AAAA), "addresses in an error")


# AAAA.

def check_passed(case, reply, message, allowed):
    """The response as it came, but for AAAA records of those that do not count."""
    demand(reply.rcode() == message.rcode(), "another rcode")
    expected = [one for one in addresses_of(sets(message, AAAA)) if allowed(one)]
    demand(sorted(addresses_of(sets(reply, AAAA))) == sorted(expected), f"not the addresses {expected}")
    demand(links(reply) == links(message), "another chain")
    demand(not sets(reply, A), "A records in an answer of AAAA")
    demand(SYNTHESIZED not in errors_told(reply), "said to be synthesised")


def ttl_bounds(aaaa, name, ttl):
    """RFC 6147 section 5.1.7: the SOA's of the empty answer, which RFC 2308 section 5 has bounded by its minimum."""
    message = aaaa.message
    soa = sets(message, dns.rdatatype.SOA, "authority") if message is not None else []
    if not soa or message.rcode() != dns.rcode.NOERROR or of_name(message, AAAA, name):
        return min(ttl, WITHOUT_SOA), min(ttl, WITHOUT_SOA)
    return min(ttl, soa[0].ttl, soa[0][0].minimum), min(ttl, soa[0].ttl)


# rfc: 6147-5.1.5-b, 6147-5.1.7-b, 6147-5.1.7-c, 6147-5.2-c, 6147-5.3.2-a
def check_synthesised(case, reply, size, looked):
    name = case.query.question[0].name
    aaaa, a = looked
    expected = synthesised(case, addresses_of(of_name(a.message, A, name)))
    found = sets(reply, AAAA)
    demand(reply.rcode() == dns.rcode.NOERROR, "an error with addresses at hand")
    demand(set(addresses_of(found)) == expected, f"{found} instead of {sorted(expected)}")
    demand(not sets(reply, A), "the A records that it was made of")
    demand(not any(excluded(case, one) for one in addresses_of(found)), "an excluded address")
    if case.edns and size + LEAST_ERROR <= limit_of(case):
        # It is the first to go where there is no room (RFC 8914 section 3).
        demand(errors_told(reply) == [SYNTHESIZED], "not said to be synthesised")
    end = end_of_chain(a.message, name)
    for rrset in found:
        lowest, highest = ttl_bounds(aaaa, name, of_name(a.message, A, name)[0].ttl)
        demand(rrset.name == end, "not at the end of the chain")
        demand(lowest <= rrset.ttl <= highest, f"TTL {rrset.ttl} instead of {lowest} to {highest}")
        demand(not [one for one in reply.answer if one.covers == AAAA], "a signature of what is made up")
        for address in addresses_of([rrset]):
            back = [extract(network, address) for network, _ in view(case)]
            demand(set(back) & set(addresses_of(of_name(a.message, A, name))), f"{address} leads to no A record")
    demand(links(reply) == links(a.message), "another chain")
    for section in ("authority", "additional"):
        # Additional records may be left out where there is no room, but none is made up (section 5.3.2).
        had, has = (plain(one for one in getattr(of, section) if not one.covers) for of in (a.message, reply))
        demand(set(has) <= set(had), f"{section} has what the A response had not")
        demand(has == had or not case.tcp, f"{section} is not that of the A response")


# rfc: 6147-5.1.2-a, 6147-5.1.2-b, 6147-5.1.4-e, 6147-5.5-d
def check_aaaa(case, reply, size, looked):
    """The table of RFC 6147 section 5.1, from the top."""
    name = case.query.question[0].name
    aaaa, a = (case.results[(name.to_text().lower(), int(kind))] for kind in (AAAA, A))
    if case.checking_disabled or not case.view:
        demand(looked == ["AAAA"], f"asked for {looked}")
        if aaaa.message is None:
            return check_failure(case, reply)
        every, counted = (lambda _: True), (lambda one: not excluded(case, one))
        # Section 5.5 item 3; for a client without a prefix there is no DNS64, and so no need to exclude.
        return check_passed(case, reply, aaaa.message, every if case.checking_disabled or any(
            excluded(case, one) for one in addresses_of(sets(reply, AAAA))) else counted)
    if aaaa.state == "bogus":
        demand(looked == ["AAAA"], "an A lookup in spite of a bogus answer")
        return check_failure(case, reply)
    message = aaaa.message
    if message is not None:
        real = [one for one in addresses_of(of_name(message, AAAA, name)) if not excluded(case, one)]
        if message.rcode() == dns.rcode.NXDOMAIN or real:
            demand(looked == ["AAAA"], f"asked for {looked}")
            return check_passed(case, reply, message, lambda one: not excluded(case, one))
    if exempt(case, name) or (message is not None and exempt(case, end_of_chain(message, name))):
        demand(not sets(reply, AAAA), "addresses for a name that is exempt")
        return None
    demand(looked[:2] == ["AAAA", "A"], f"asked for {looked}")
    if a.message is None:
        return check_failure(case, reply)
    if not synthesised(case, addresses_of(of_name(a.message, A, name))) or \
            exempt(case, end_of_chain(a.message, name)):
        demand(reply.rcode() in (a.message.rcode(), dns.rcode.SERVFAIL), "another rcode")
        return demand(not sets(reply, AAAA) and not sets(reply, A), "addresses out of nothing")
    if not reply.flags & dns.flags.TC:
        check_synthesised(case, reply, size, (aaaa, a))
    return None


# The others.

# rfc: 6147-5.3.1-b, 6147-5.3.1-d, 8880-7.2.1-b
def check_pointer(case, reply):
    """RFC 6147 section 5.3.1, RFC 8880 section 7.2.1."""
    name = case.query.question[0].name
    if case.checking_disabled:
        return demand(reply.rcode() == dns.rcode.NXDOMAIN and not reply.answer, "synthesis in spite of CD")
    pointers = sets(reply, PTR)
    if case.pointer in DISCOVERY:
        demand([one.name for one in pointers] == [name], "not the name's own")
        return demand(pointers[0][0].target == dns.name.from_text("ipv4only.arpa."), "not ipv4only.arpa")
    target = dns.reversename.from_address(str(case.pointer))
    message = case.results[(target.to_text(), int(PTR))].message
    chained = sets(reply, dns.rdatatype.CNAME)
    if message.answer:
        demand([(one.name, one[0].target) for one in chained] == [(name, target)], "no CNAME into in-addr.arpa")
        return demand(plain(pointers) == plain(sets(message, PTR)), "another PTR")
    return demand(not chained and not pointers, "a CNAME that leads to nothing")


def check_service(case, reply):
    """RFC 9460 section 4.2: hints are left alone, addresses of the target are added."""
    name, target = case.query.question[0].name, dns.name.from_text("svc.test.")
    message = case.results[(name.to_text().lower(), int(HTTPS))].message
    demand(plain(sets(reply, HTTPS)) == plain(sets(message, HTTPS)) or reply.flags & dns.flags.TC,
           "the records themselves were changed")
    aaaa, a = (case.results[(target.to_text(), int(kind))] for kind in (AAAA, A))
    added = set(addresses_of(sets(reply, AAAA, "additional")))
    known = set(addresses_of(sets(aaaa.message, AAAA))) if aaaa.message is not None else set()
    made = synthesised(case, addresses_of(of_name(a.message, A, target))) if a.message is not None else set()
    if case.checking_disabled or aaaa.state == "bogus":
        made = set()
    demand(added <= made | known, f"added {added}")
    demand(not any(excluded(case, one) for one in added), "an excluded address")
    if known and not all(excluded(case, one) for one in known):
        demand(not added & (made - known), "synthesised although there are others")


def check_discovery(case, reply):
    """RFC 8880 section 7.1."""
    kind = case.query.question[0].rdtype
    demand(reply.rcode() == dns.rcode.NOERROR, "an error")
    demand(set(addresses_of(sets(reply, A))) == (set(DISCOVERY) if kind == A else set()), "not the well-known addresses")
    found = set(addresses_of(sets(reply, AAAA)))
    # A prefix that is for other IPv4 addresses only is not told, unless there is no other.
    told = [network for network, ranges in view(case) if any(one in two for one in DISCOVERY for two in ranges)]
    told = told or [network for network, _ in view(case)]
    expected = {cases.embed(network, one) for network in told for one in DISCOVERY} if kind == AAAA else set()
    demand(found == expected or reply.flags & dns.flags.TC, f"{found} instead of {expected}")


def check(case, looked, wire):
    try:
        reply = dns.message.from_wire(wire)
    except (dns.exception.DNSException, ValueError) as error:
        raise Wrong(f"dnspython cannot read it: {error!r}") from error
    check_frame(case, wire, reply)
    check_round_trip(reply)
    found = [case.results.get((name, kind), cases.Found("failed")) for name, kind in looked]
    kinds = [dns.rdatatype.to_text(kind) for _, kind in looked]
    asked = case.query.question[0]
    if asked.rdtype == HTTPS:
        check_authentic(case, reply, found[:1])  # what stands in the additional section is not vouched for
        return check_service(case, reply)
    check_authentic(case, reply, found)
    if asked.rdtype == PTR:
        return check_pointer(case, reply)
    if asked.name == dns.name.from_text("ipv4only.arpa."):
        demand(not looked, "looked up what is known")
        return check_discovery(case, reply)
    return check_aaaa(case, reply, len(wire), kinds)


def replies(driver, lines):
    """(lookups, bytes of the reply) for each question."""
    done = subprocess.run([driver], input="\n".join(lines) + "\n", capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"the driver ended with {done.returncode}: {done.stderr[-2000:]}")
    looked = []
    for line in done.stdout.splitlines():
        words = line.split()
        if words[0] == "lookup":
            # A name may have an escaped blank, as \032, so it is one word.
            looked.append((words[1], int(words[2])))
        else:
            yield looked, bytes.fromhex(words[1])
            looked = []


def main():
    options = argparse.ArgumentParser(description="Synthesised answers against dnspython.")
    options.add_argument("--driver", required=True)
    options.add_argument("--cases", type=int, default=3000)
    options.add_argument("--seed", default="1")
    options.add_argument("--only", type=int)
    chosen = options.parse_args()
    made = list(cases.cases(chosen.seed, chosen.cases))
    first = chosen.only or 0
    made = made[first:first + 1] if chosen.only is not None else made
    if chosen.only is not None:
        print("\n".join(line for case in made for line in case.lines()))
    wrong = count = synthesis = 0
    for case, (looked, wire) in zip(made, replies(chosen.driver, [line for case in made for line in case.lines()])):
        if chosen.only is not None:
            print(looked, dns.message.from_wire(wire), sep="\n")
        try:
            check(case, looked, wire)
        except Wrong as what:
            wrong += 1
            print(f"seed {chosen.seed} case {first + count}: {case.query.question[0]}: {what}")
        synthesis += b"from DNS64" in wire
        count += 1
    print(f"seed {chosen.seed}: {count} cases, {synthesis} said to be synthesised, {wrong} wrong")
    return 1 if wrong or count != len(made) else 0


if __name__ == "__main__":
    sys.exit(main())
