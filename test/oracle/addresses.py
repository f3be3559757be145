# SPDX-License-Identifier: BSD-2-Clause
"""Which address becomes which: RFC 6052, RFC 7757, and the addresses no translator may touch."""

import ipaddress

from internet import ip6

WELL_KNOWN_PREFIX = ip6("64:ff9b::")
PREFIX_LENGTHS = (32, 40, 48, 56, 64, 96)


def networks(*texts):
    return [(int(net.network_address), 32 - net.prefixlen) for net in map(ipaddress.IPv4Network, texts)]


def within(address, blocks):
    return any(address >> shift == network >> shift for network, shift in blocks)


# RFC 6052 3.1: those of RFC 1918 and of RFC 5735 section 3 (now RFC 6890).
NON_GLOBAL = networks("0.0.0.0/8", "10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
                      "192.0.0.0/24", "192.0.2.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24",
                      "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4")
# Registered as not global since RFC 5735, or once special and ordinary by now: no RFC at hand decides.
UNSURE_GLOBAL = networks("100.64.0.0/10", "192.88.99.0/24", "192.31.196.0/24", "192.52.193.0/24",
                         "192.175.48.0/24")
# RFC 1812 5.3.7; and RFC 3927 2.7: no router forwards what is link-local.
LINK_LOCAL = networks("169.254.0.0/16")
NO_HOST = networks("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4")


class Prefix:
    """RFC 6052 2.2: an IPv6 prefix with IPv4 addresses behind it."""

    def __init__(self, text):
        network = ipaddress.IPv6Network(text)
        self.text, self.length, self.network = text, network.prefixlen, int(network.network_address)
        assert self.length in PREFIX_LENGTHS

    def covers(self, address):
        return address >> (128 - self.length) == self.network >> (128 - self.length)

    def embed(self, four):
        """2.3, first algorithm: concatenate, insert the octet u before bit 64 where the prefix is shorter."""
        if self.length == 96:
            return self.network | four
        # 120 bits without u: the prefix, the address, zeroes.
        bits = self.network >> (128 - self.length) << (120 - self.length) | four << (88 - self.length)
        return bits >> 56 << 64 | bits & (1 << 56) - 1

    def extract(self, six):
        """2.3, second algorithm."""
        if self.length == 96:
            return six & 0xffffffff
        bits = six >> 64 << 56 | six & (1 << 56) - 1
        return bits >> (88 - self.length) & 0xffffffff

    def canonical(self, six):
        return self.embed(self.extract(six)) == six

    @property
    def well_known(self):
        return self.length == 96 and self.network == WELL_KNOWN_PREFIX


class ExplicitMappings:
    """RFC 7757: the table of explicit address mappings."""

    def __init__(self, rows):
        self.rows = []
        for four, six in rows:
            four, six = ipaddress.IPv4Network(four), ipaddress.IPv6Network(six)
            if 32 - four.prefixlen > 128 - six.prefixlen:
                raise ValueError("RFC 7757 3.2: the IPv4 prefix has more suffix bits than the IPv6 prefix")
            self.rows.append((int(four.network_address), four.prefixlen, int(six.network_address),
                              six.prefixlen))

    def to6(self, address):
        """3.3.1; None where no row matches."""
        best = None
        for row in self.rows:
            if (address ^ row[0]) >> (32 - row[1]) == 0 and (best is None or row[1] > best[1]):
                best = row
        if best is None:
            return None
        suffix_bits = 32 - best[1]
        suffix = address & (1 << suffix_bits) - 1
        return best[2] | suffix << (128 - best[3] - suffix_bits)

    def to4(self, address):
        """3.3.2; None where no row matches."""
        best = None
        for row in self.rows:
            if (address ^ row[2]) >> (128 - row[3]) == 0 and (best is None or row[3] > best[3]):
                best = row
        if best is None:
            return None
        suffix_bits = 128 - best[3]
        suffix = address & (1 << suffix_bits) - 1
        keep = 32 - best[1]
        return best[0] | (suffix >> (suffix_bits - keep) if suffix_bits >= keep else
                          suffix << (keep - suffix_bits))


def illegal_source4(address):
    """RFC 7915 4.1, RFC 1812 5.3.7: it cannot be the address of one host elsewhere."""
    return within(address, NO_HOST)


def illegal_source6(address):
    """RFC 7915 5.1, RFC 4291 2.5.2, 2.5.3, 2.7: unspecified, loopback, multicast."""
    return address in (0, 1) or address >> 120 == 0xff


def link_local6(address):
    return address >> 118 == 0xfe80 >> 6


def odd_source6(address):
    """Addresses a host does not send from, though no RFC at hand says who drops them."""
    return address >> 32 in (0, 0xffff)
