# SPDX-License-Identifier: BSD-2-Clause
"""The name service answers by RFC 6147: names of a real server, asked by hosts of every kind."""
import ipaddress
import socket

import dns.flags
import dns.rdatatype
import nat64
from dns_client import (NO_ERROR, NXDOMAIN, SYNTHESIZED, Client, addresses, addresses_of, extended_errors, frame,
                        is_authentic, make_query, needs_nsd, receive, records, service, ttl_of)
from names import MANY, SOA_TTL

pytestmark = needs_nsd()
__all__ = ["service"]
HERE = nat64.SERVER_PLAIN


def embed(ipv4, prefix=nat64.PREFIX):
    """The table of RFC 6052 section 2.2, with the bits from 64 to 71 left zero."""
    network = ipaddress.IPv6Network(prefix)
    data = bytearray(network.network_address.packed)
    at = network.prefixlen // 8
    for byte in ipaddress.IPv4Address(ipv4).packed:
        if at == 8:
            at += 1
        data[at] = byte
        at += 1
    return str(ipaddress.IPv6Address(bytes(data)))


THERE = embed(nat64.SERVER)
ALL = [embed(f"203.0.113.{100 + i}") for i in range(MANY)]

# AAAA questions: the answer section, whether it is of our own making, and its TTL if that tells something.
POSITIVE = {
    "a": ([("a", "AAAA", THERE)], True, SOA_TTL),  # the lesser of 3000 and 120, RFC 6147 section 5.1.7
    "short": ([("short", "AAAA", THERE)], True, 30),
    "two": ([("two", "AAAA", THERE), ("two", "AAAA", embed("198.51.100.130"))], True, None),
    "dual": ([("dual", "AAAA", HERE)], False, 300),
    "six": ([("six", "AAAA", HERE)], False, 300),
    "alias": ([("alias", "CNAME", "second.example."), ("second", "CNAME", "a.example."), ("a", "AAAA", THERE)],
              True, SOA_TTL),
    "across": ([("across", "CNAME", "a.plain.example."), ("a.plain", "AAAA", THERE)], True, SOA_TTL),
    "to-six": ([("to-six", "CNAME", "six.example."), ("six", "AAAA", HERE)], False, 300),
    "a.old": ([("old", "DNAME", "new.example."), ("a.old", "CNAME", "a.new.example."), ("a.new", "AAAA", THERE)],
              True, SOA_TTL),
    "any.wild": ([("any.wild", "AAAA", THERE)], True, None),
    "a.b.empty": ([("a.b.empty", "AAAA", THERE)], True, None),
    "private": ([("private", "AAAA", embed("10.1.2.3"))], True, None),
    "mapped": ([("mapped", "AAAA", THERE)], True, None),  # RFC 6147 section 5.1.4
    "partly": ([("partly", "AAAA", HERE)], False, 300),
    "a.plain": ([("a.plain", "AAAA", THERE)], True, None),
    "a.elsewhere.": ([("a.elsewhere.", "AAAA", THERE)], True, None),
}

# Names without an answer: its code, and the section of answers if there is a chain.
NEGATIVE = {
    "text": (NO_ERROR, []), "b.empty": (NO_ERROR, []), "empty": (NO_ERROR, []), "missing": (NXDOMAIN, []),
    "nowhere": (NXDOMAIN, [("nowhere", "CNAME", "missing.example.")]),
    "legacy": (NO_ERROR, []), "a.legacy": (NO_ERROR, []),
}


def test_every_kind_of_name(service):
    service.start(exclude_names=["legacy.example."])
    for tcp in (False, True):
        for name, (wanted, synthesized, ttl) in POSITIVE.items():
            answer = service.client.ask(name, tcp=tcp)
            found = records(answer.answer)
            assert answer.rcode() == NO_ERROR and sorted(found) == sorted(wanted), (name, found)
            assert [record for record in found if record[1] != "AAAA"] == wanted[:-1] or name == "two"
            assert (SYNTHESIZED in extended_errors(answer)) == synthesized, name
            assert ttl is None or ttl - 3 <= ttl_of(answer) <= ttl, name
            assert answer.flags & dns.flags.RA and not answer.flags & dns.flags.AA
        for name, (code, wanted) in NEGATIVE.items():
            answer = service.client.ask(name, tcp=tcp)
            assert answer.rcode() == code and records(answer.answer) == wanted, name
            soa, = (rrset for rrset in answer.authority if rrset.rdtype == dns.rdatatype.SOA)
            assert SOA_TTL - 3 <= soa.ttl <= SOA_TTL, name  # so that whoever asked knows how long this holds
            assert extended_errors(answer) == []


def test_other_types_are_not_touched(service):
    """Also the answer to a question for A, and of what does not fit a datagram nothing is lost."""
    service.start()
    direct = Client(service.lab.gateway, nat64.SERVER)
    for name, kind in (("a", "A"), ("dual", "A"), ("two", "A"), ("alias", "A"), ("six", "A"), ("mail", "MX"),
                       ("text", "TXT"), ("alias", "CNAME"), ("service", "HTTPS"), ("_dns", "SVCB"), ("plain", "NS")):
        through, plain = service.client.ask(name, kind), direct.ask(name, kind)
        assert through.rcode() == plain.rcode() and sorted(records(through.answer)) == sorted(records(plain.answer))
        assert kind in ("HTTPS", "SVCB") or extended_errors(through) == []
    short = service.client.ask("big", "TXT")
    assert short.flags & dns.flags.TC and short.size <= 1232 and not short.answer
    whole = service.client.ask("big", "TXT", tcp=True)
    assert len(records(whole.answer)) == 20 and not whole.flags & dns.flags.TC


def test_answers_fit_the_datagram(service):
    service.start()
    assert sorted(addresses(service.client.ask("many", tcp=True))) == sorted(ALL)
    for size in (0, 512, 1000, 1232, 4096):
        answer = service.client.ask("many", edns=size > 0, size=size)
        assert answer.flags & dns.flags.TC and answer.size <= max(512, min(size, 1232)) and not answer.answer
    plain = service.client.ask("a", edns=False)
    assert addresses(plain) == [THERE] and plain.edns == -1  # no OPT record to those who sent none


def test_https_gets_addresses_of_its_target(service):
    """RFC 9460 section 4.2: in the additional section; the record itself, hints included, as it came."""
    service.start()
    direct = Client(service.lab.gateway, nat64.SERVER)
    for name, kind, owner, address in (("service", "HTTPS", "a", THERE), ("itself", "HTTPS", "itself", THERE),
                                       ("_dns", "SVCB", "a", THERE)):
        answer = service.client.ask(name, kind)
        assert records(answer.answer) == records(direct.ask(name, kind).answer)
        assert (owner, "AAAA", address) in records(answer.additional), name
    assert set(addresses_of(service.client.ask("both", "HTTPS").additional)) <= {HERE}  # it has one that is real
    hints = records(service.client.ask("service", "HTTPS").answer)[0][2]
    assert f'ipv4hint="{nat64.SERVER}"' in hints and "ipv6hint" not in hints


PREFIXES = (nat64.PREFIX, "2001:db9:6400::/40", "2001:dba::/32", "2001:dbb:64::/48", "2001:dbc:0:6400::/56",
            "2001:dbd:0:64::/64")


def test_several_prefixes_of_all_lengths_both_ways(service):
    service.start(prefixes=[{"prefix": prefix} for prefix in PREFIXES])
    wanted = [embed(nat64.SERVER, prefix) for prefix in PREFIXES]
    assert addresses(service.client.ask("a")) == wanted
    for address in wanted:
        name = ipaddress.IPv6Address(address).reverse_pointer + "."
        answer = service.client.ask(name, "PTR")
        assert [record[1:] for record in records(answer.answer)] == [
            ("CNAME", "2.113.0.203.in-addr.arpa."), ("PTR", "web.example.")], address
        assert records(answer.answer)[0][0] == name
    # No CNAME leads to a CNAME, nor to where there is nothing (RFC 6147 section 5.3.1).
    delegated = ipaddress.IPv6Address(embed("203.0.113.17")).reverse_pointer + "."
    assert [record[1:] for record in records(service.client.ask(delegated, "PTR").answer)] == [
        ("CNAME", "2.113.0.203.in-addr.arpa."), ("PTR", "web.example.")]
    unknown = ipaddress.IPv6Address(embed("203.0.113.99")).reverse_pointer + "."
    answer = service.client.ask(unknown, "PTR")
    assert answer.rcode() == NXDOMAIN and not answer.answer


def test_prefixes_by_client_and_by_address(service):
    """Also the well-known prefix, behind which there is global IPv4 only (RFC 6052 section 3.1)."""
    lab = service.lab
    lab.add_neighbour()
    others = "2001:db8:65::/96"
    service.start(prefixes=[{"prefix": nat64.PREFIX, "clients": ["2001:db8:1::/64"], "ipv4": ["203.0.113.0/24"]},
                            {"prefix": others, "clients": ["2001:db8:3::/64"]},
                            {"prefix": "64:ff9b::/96", "clients": ["2001:db8:1::/64"]}])
    neighbour = Client(lab.neighbour, "2001:db8:3::1")
    assert addresses(service.client.ask("a")) == [THERE]
    assert addresses(neighbour.ask("a")) == [embed(nat64.SERVER, others)]
    assert addresses(service.client.ask("global")) == ["64:ff9b::909:909"]
    assert addresses(neighbour.ask("private")) == [embed("10.1.2.3", others)]
    for name in ("private", "a"):
        nothing = Client(lab.server, nat64.GATEWAY4).ask(name)  # who asks by IPv4 has none of the prefixes
        assert nothing.rcode() == NO_ERROR and not nothing.answer
    private = service.client.ask("private")
    assert private.rcode() == NO_ERROR and not private.answer


def test_ipv4only_arpa_needs_nobody(service):
    """RFC 7050 and RFC 8880, with the only server that could be asked gone."""
    service.names.stop()
    service.start(prefixes=[{"prefix": prefix} for prefix in PREFIXES])
    both = ("192.0.0.170", "192.0.0.171")
    ask = service.client.ask
    assert sorted(addresses(ask("ipv4only.arpa."))) == sorted(embed(ipv4, prefix) for prefix in PREFIXES
                                                               for ipv4 in both)
    assert sorted(record[2] for record in records(ask("ipv4only.arpa.", "A").answer)) == list(both)
    for ipv4 in both:
        answer = ask(ipaddress.IPv4Address(ipv4).reverse_pointer + ".", "PTR")
        assert [record[1:] for record in records(answer.answer)] == [("PTR", "ipv4only.arpa.")]
        for prefix in PREFIXES:
            answer = ask(ipaddress.IPv6Address(embed(ipv4, prefix)).reverse_pointer + ".", "PTR")
            assert records(answer.answer)[-1][1:] == ("PTR", "ipv4only.arpa."), prefix
    text = ask("ipv4only.arpa.", "TXT")
    assert text.rcode() == NO_ERROR and not text.answer
    assert ask("below.ipv4only.arpa.").rcode() == NXDOMAIN
    assert not is_authentic(ask("ipv4only.arpa.", dnssec=True))  # nothing of it is signed


def test_answers_come_from_the_address_that_was_asked(service):
    """The sockets are connected: they hear nobody else. All addresses of the gateway, both families."""
    lab = service.lab
    lab.gateway.run(["ip", "address", "add", "2001:db8:1::53/64", "dev", "lan0"])
    service.start()
    link_local = lab.gateway.run(["ip", "-6", "-o", "address", "show", "dev", "lan0", "scope", "link"]).stdout
    index = int(lab.client.read("/sys/class/net/eth0/ifindex"))
    for server in (nat64.GATEWAY6, "2001:db8:1::53", f"{link_local.split()[3].split('/')[0]}%{index}"):
        for tcp in (False, True):
            assert addresses(Client(lab.client, server).ask("a", tcp=tcp)) == [THERE]
    assert addresses(Client(lab.server, nat64.GATEWAY4).ask("a")) == [THERE]
    assert addresses(Client(lab.gateway, "::1").ask("a")) == [THERE]
    assert addresses(Client(lab.gateway, "127.0.0.1").ask("a", tcp=True)) == [THERE]


def test_letters_come_back_as_they_were_sent(service):
    """By which clients tell forged answers; and they make no difference to the answer (RFC 4343)."""
    service.start()
    for name in ("A.eXaMpLe.", "a.example.", "A.EXAMPLE."):
        wire = make_query(name).to_wire()
        reply = service.client.send(wire)
        end = 12 + len(name) + 1 + 4
        assert reply[12:end] == wire[12:end]
        assert addresses(service.client.ask(name)) == [THERE]


def test_many_queries_on_one_connection(service):
    """Sent at once; each is answered, in whatever order (RFC 7766 section 6.2.1.1)."""
    service.start()
    queries = [make_query(f"n{i}.wild") for i in range(100)]
    with service.client.socket(socket.SOCK_STREAM) as stream:
        stream.sendall(b"".join(frame(query.to_wire()) for query in queries))
        answers = [dns.message.from_wire(receive(stream)) for _ in queries]
    by_name = {answer.question[0].name: answer for answer in answers}
    assert len(by_name) == 100
    for query in queries:
        answer = by_name[query.question[0].name]
        assert query.is_response(answer) and addresses(answer) == [THERE]
