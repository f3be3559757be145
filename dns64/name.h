/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Domain names as RFC 1035 section 3.1 puts them on the wire, flat: labels, each behind its length, and the
 * empty label of the root at the end. No pointers; those are a matter of messages (dns64/message.h).
 *
 * A length is at most 63 and so less than 'A', which is why a whole name can be made lower case, compared and
 * hashed byte by byte without looking where its labels begin. Case means the letters of ASCII and nothing
 * else (RFC 4343). All functions are pure and neither allocate nor keep what they are given.
 */
#ifndef DNS64_NAME_H
#define DNS64_NAME_H

#include "wire/ipv6.h"

enum {
    DNS_NAME_MAX = 255,                       /* bytes of a name, RFC 1035 section 2.3.4 */
    DNS_LABEL_MAX = 63,                       /* bytes of a label, the same */
    DNS_LABELS_MAX = 128,                     /* labels of a name, the root's included: 127 of one byte */
    DNS_NAME_TEXT_MAX = 4 * DNS_NAME_MAX + 1, /* bytes that dns_name_print can need */
    DNS_NAME_IPV6_LENGTH = 32 * 2 + 1 + 3 + 5 + 1, /* of a whole address below ip6.arpa */
};

struct dns_name {
    uint8_t length;             /* bytes used of `wire`, 1 to 255, the root's label included */
    uint8_t wire[DNS_NAME_MAX]; /* in the case in which it was given */
};

/* The root: one empty label. */
struct dns_name dns_name_root(void);

/*
 * Reads a flat name at the start of `size` bytes. Returns its length, or 0 if it is none: cut short, longer
 * than 255 bytes, or with a label that is longer than 63 bytes or a pointer.
 */
size_t dns_name_read(struct dns_name *name, const uint8_t *bytes, size_t size);

/* True if they are the same name; case does not count. */
bool dns_name_equal(const struct dns_name *a, const struct dns_name *b);

/* True if `name` is `ancestor` or a name below it. */
bool dns_name_within(const struct dns_name *name, const struct dns_name *ancestor);

/* Makes the letters lower case. */
void dns_name_lower(struct dns_name *name);

/* A copy of the bytes that are used: most names are much shorter than their room. */
WIRE_INLINE void dns_name_copy(struct dns_name *to, const struct dns_name *from)
{
    to->length = from->length;
    __builtin_memcpy(to->wire, from->wire, from->length);
}

/*
 * SipHash-1-3 of the name in lower case under a secret key: equal names have equal hashes, and who does not
 * know the key cannot choose names that share a bucket.
 */
uint64_t dns_name_hash(const struct dns_name *name, const uint64_t key[2]);

/*
 * From text: "www.example", with or without the dot at the end; "." is the root; \. and \DDD as in RFC 1035
 * section 5.1. False, and *name is undefined, if it is none.
 */
bool dns_name_parse(struct dns_name *name, const char *text);

/*
 * As text with the dot at the end, ended by a zero byte and printable whatever the labels hold. `text` has
 * room for DNS_NAME_TEXT_MAX bytes. Returns its length without the zero byte.
 */
size_t dns_name_print(const struct dns_name *name, char *text);

/* 4.3.2.1.in-addr.arpa of 1.2.3.4, RFC 1035 section 3.5. */
struct dns_name dns_name_of_ipv4(be32 address);

/* Nibbles below ip6.arpa, the last first, RFC 3596 section 2.5. */
struct dns_name dns_name_of_ipv6(const struct ipv6_address *address);

/*
 * The other way. False, and *address is unchanged, if the name is not that of one whole address: labels more
 * or less, numbers above 255 or with needless zeroes, or anything that is no hexadecimal digit.
 */
bool dns_name_to_ipv4(const struct dns_name *name, be32 *address);
bool dns_name_to_ipv6(const struct dns_name *name, struct ipv6_address *address);

/* The letter in lower case, any other byte as it is. */
WIRE_INLINE uint8_t dns_lower(uint8_t byte)
{
    return (uint8_t)(byte - 'A') < 26 ? (uint8_t)(byte | 0x20) : byte;
}

#endif /* DNS64_NAME_H */
