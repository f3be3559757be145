# SPDX-License-Identifier: BSD-2-Clause
"""Signed names through the name service: what is validated, what is vouched for, and what nobody is told."""
import re
import shutil

import dns.dnssec
import dns.flags
import dns.message
import dns.name
import dns.rdatatype
import dns.rrset
import nat64
import names as lab_names
import pytest
from dns_client import (BOGUS, NO_ERROR, NXDOMAIN, SERVFAIL, SYNTHESIZED, addresses, extended_errors, is_authentic,
                        make_query, needs_nsd, records, service)
from dns_failure_test import put_faults_between
from dns_test import HERE, THERE

pytestmark = needs_nsd()
__all__ = ["service"]

SIGNED = {"a": [THERE], "dual": [HERE], "alias": [THERE], "a.old": [THERE], "any.wild": [THERE], "mapped": [THERE],
          "good.bogus": [THERE]}
INSECURE = {"a.plain": [THERE], "six.plain": [HERE], "a.elsewhere.": [THERE], "across": [THERE]}
# What was tampered with, and what leads there.
BAD = (("a.bogus", "A"), ("a.bogus", "AAAA"), ("six.bogus", "AAAA"), ("denied.bogus", "AAAA"), ("to-bogus", "AAAA"),
       ("to-bogus", "A"), ("a.expired", "A"), ("a.expired", "AAAA"))


def test_who_may_say_that_it_is_authentic(service):
    """AD only if all was validated, and only to those who ask for it (RFC 6147 section 5.5, RFC 6840 section 5.8)."""
    service.start()
    ask = service.client.ask
    for again in (False, True):  # the second time from a cache
        for name, wanted in SIGNED.items():
            for wish in ({"dnssec": True}, {"authentic": True}, {"authentic": True, "edns": False}):
                answer = ask(name, **wish)
                assert addresses(answer) == wanted and is_authentic(answer), (name, wish, again)
            assert not is_authentic(ask(name)), name
        for name, wanted in INSECURE.items():
            answer = ask(name, dnssec=True)
            assert addresses(answer) == wanted and not is_authentic(answer), (name, again)
        for name, code in (("missing", NXDOMAIN), ("text", NO_ERROR), ("b.empty", NO_ERROR)):
            answer = ask(name, dnssec=True)
            assert answer.rcode() == code and is_authentic(answer), (name, again)


def test_no_vouching_for_what_nobody_denied(service):
    """The A record is validated, but that there is no AAAA record was not proved: it was an error."""
    service.start([put_faults_between(service)])
    for _ in range(2):
        answer = service.client.ask("servfail-aaaa", dnssec=True)
        assert addresses(answer) == [THERE] and not is_authentic(answer)
    assert is_authentic(service.client.ask("servfail-aaaa", "A", dnssec=True))


def test_signatures_go_to_those_who_want_them(service):
    """DO brings those of what is passed on, which hold; there are none of what is synthesised."""
    service.start()
    for kind, name in (("A", "a"), ("AAAA", "dual"), ("MX", "mail")):
        answer = service.client.ask(name, kind, dnssec=True)
        keys = service.client.ask("example.", "DNSKEY", dnssec=True, tcp=True)
        zone = dns.name.from_text("example.")
        key = keys.find_rrset(keys.answer, zone, 1, dns.rdatatype.DNSKEY)
        data = answer.find_rrset(answer.answer, dns.name.from_text(name, zone), 1, dns.rdatatype.from_text(kind))
        signature = answer.find_rrset(answer.answer, data.name, 1, dns.rdatatype.RRSIG, data.rdtype)
        dns.dnssec.validate(data, signature, {zone: key})
        plain = service.client.ask(name, kind)
        assert not [rrset for section in plain.sections for rrset in section if rrset.rdtype == dns.rdatatype.RRSIG]
    for name in ("a", "alias"):
        answer = service.client.ask(name, dnssec=True)
        covered = {rrset.covers for rrset in answer.answer if rrset.rdtype == dns.rdatatype.RRSIG}
        assert covered <= {dns.rdatatype.CNAME}
    denied = service.client.ask("text", dnssec=True)
    assert {dns.rdatatype.NSEC, dns.rdatatype.RRSIG} <= {rrset.rdtype for rrset in denied.authority}


def test_checking_disabled_gets_what_there_is(service):
    """RFC 6147 section 5.5 item 3: who validates himself gets nothing synthesised, but the truth, bogus or not."""
    service.start()
    for again in (False, True):
        for name in ("a", "alias", "a.plain", "denied.bogus"):
            answer = service.client.ask(name, dnssec=True, checking_disabled=True)
            assert answer.rcode() == NO_ERROR and not addresses(answer), (name, again)
            assert answer.flags & dns.flags.CD and extended_errors(answer) == []
        assert addresses(service.client.ask("six", dnssec=True, checking_disabled=True)) == [HERE]
        for name, kind in BAD[:3] + BAD[6:7]:
            answer = service.client.ask(name, kind, dnssec=True, checking_disabled=True)
            assert answer.rcode() == NO_ERROR and not is_authentic(answer), (name, kind, again)
        tampered = service.client.ask("a.bogus", "A", dnssec=True, checking_disabled=True)
        assert records(tampered.answer, signatures=True)[0][2] == nat64.SERVER
        assert {rrset.rdtype for rrset in tampered.answer} >= {dns.rdatatype.A, dns.rdatatype.RRSIG}


def test_bogus_is_an_error_however_often_it_is_asked(service):
    """Also in between by those who want no checking; and a denial that is bogus makes no way for an A record."""
    service.start()
    for _ in range(3):
        for name, kind in BAD:
            for wish in ({}, {"dnssec": True}):
                answer = service.client.ask(name, kind, **wish)
                assert answer.rcode() == SERVFAIL, (name, kind)
                assert not answer.answer and not answer.authority and not is_authentic(answer)
                assert extended_errors(answer) == [BOGUS], (name, kind)
            service.client.ask(name, kind, checking_disabled=True)
    assert service.client.ask("denied.bogus", "A").rcode() == NO_ERROR


def test_dig_shows_why(service):
    service.start()

    def dig(*arguments):
        return service.lab.client.run(["dig", f"@{nat64.GATEWAY6}", "+tries=1", *arguments]).stdout
    good = dig("AAAA", "a.example", "+dnssec")
    assert re.search(r"flags: qr rd ra ad;", good) and "status: NOERROR" in good
    assert re.search(rf"^a\.example\.\s+\d+\s+IN\s+AAAA\s+{THERE}$", good, re.M)
    assert re.search(r"^; EDE: 29\b.*DNS64", good, re.M), good
    bad = dig("AAAA", "six.bogus.example")
    assert "status: SERVFAIL" in bad and re.search(r"^; EDE: 6 \(DNSSEC Bogus\)", bad, re.M), bad
    assert "status: NOERROR" in dig("AAAA", "six.bogus.example", "+cdflag")
    assert re.search(r"\sPTR\s+web\.example\.$", dig("-x", nat64.SERVER_MAPPED), re.M)


def test_without_validation_nothing_is_vouched_for(service):
    service.start(dnssec="off")
    for name in ("a", "a.bogus", "denied.bogus", "a.expired"):
        answer = service.client.ask(name, dnssec=True)
        assert addresses(answer) == [THERE] and not is_authentic(answer)
        assert extended_errors(answer) == [SYNTHESIZED]


needs_unbound = pytest.mark.skipif(shutil.which("unbound") is None, reason="unbound is not installed")


@needs_unbound
@pytest.mark.parametrize("modules", ["iterator", "validator iterator"])
def test_behind_a_resolver(service, modules):
    """A forwarder between, which validates itself or not, changes nothing: the judgement is ours."""
    resolver = lab_names.Resolver(service.names, modules=modules,
                                  extra=f'trust-anchor-file: "{service.names.anchors}"').start()
    service.start([f"{nat64.SERVER}:{resolver.port}"])
    assert addresses(service.client.ask("a")) == [THERE]
    assert is_authentic(service.client.ask("alias", dnssec=True))
    assert not is_authentic(service.client.ask("a.plain", dnssec=True))
    for name, kind in BAD:
        assert service.client.ask(name, kind).rcode() == SERVFAIL, (name, kind)
        # One that validates keeps to itself what is bogus, unless it is told that nobody wants that checked.
        unchecked = service.client.ask(name, kind, checking_disabled=True)
        assert unchecked.rcode() == NO_ERROR, (name, kind)


BUNDLE = "/etc/ssl/certs/ca-certificates.crt"


@needs_unbound
def test_dns_over_tls(service):
    """The certificate must have the name that the configuration has, and be of an authority that is trusted."""
    lab = service.lab
    authority, key, certificate = lab_names.make_certificate(lab, "dns.example")
    extra = f'tls-port: 853\n    tls-service-key: "{key}"\n    tls-service-pem: "{certificate}"'
    lab_names.Resolver(service.names, port=853, extra=extra).start()

    def answered(name, seconds):
        """If the first question is, within so many seconds."""
        daemon = service.start([f"tls://{nat64.SERVER}#{name}"])
        reply = service.client.send(make_query("a", dnssec=True).to_wire(), timeout=seconds)
        daemon.stop()
        answer = reply and dns.message.from_wire(reply)
        assert answer is None or answer.rcode() == SERVFAIL or is_authentic(answer) and addresses(answer) == [THERE]
        return answer is not None and answer.rcode() == NO_ERROR
    assert not answered("dns.example", 1)  # nobody trusts that authority yet
    lab.gateway.run(["mount", "--bind", authority, BUNDLE])
    assert answered("dns.example", 5)
    assert not answered("other.example", 1)
