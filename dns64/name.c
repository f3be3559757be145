/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Flat names; the contract is in the header. Every function that takes a struct dns_name relies on what
 * dns_name_read and its kin have made sure of: the lengths of the labels lead to the root's label at the last
 * byte and nowhere else.
 */
#include "dns64/name.h"

#include <string.h>

#include "engine/random.h"

static const uint8_t in_addr_arpa[] = "\7in-addr\4arpa";
static const uint8_t ip6_arpa[] = "\3ip6\4arpa";

struct dns_name dns_name_root(void)
{
    return (struct dns_name){.length = 1};
}

/* rfc: 6891-5-b */
size_t dns_name_read(struct dns_name *name, const uint8_t *bytes, size_t size)
{
    size_t at = 0;
    if (size > DNS_NAME_MAX)
        size = DNS_NAME_MAX;
    while (at < size && bytes[at] != 0) {
        if (bytes[at] > DNS_LABEL_MAX)
            return 0;
        at += 1u + bytes[at];
    }
    if (at >= size)
        return 0;
    memcpy(name->wire, bytes, at + 1);
    name->length = (uint8_t)(at + 1);
    return at + 1;
}

static bool bytes_equal(const uint8_t *a, const uint8_t *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (a[i] != b[i] && dns_lower(a[i]) != dns_lower(b[i]))
            return false;
    return true;
}

bool dns_name_equal(const struct dns_name *a, const struct dns_name *b)
{
    return a->length == b->length && bytes_equal(a->wire, b->wire, a->length);
}

bool dns_name_within(const struct dns_name *name, const struct dns_name *ancestor)
{
    size_t at = 0;
    if (name->length < ancestor->length)
        return false;
    /* Only where a label begins: "badexample" does not lie within "example". */
    while (at + ancestor->length < name->length)
        at += 1u + name->wire[at];
    return at + ancestor->length == name->length &&
           bytes_equal(name->wire + at, ancestor->wire, ancestor->length);
}

/* Eight bytes at once: letters in lower case, all others as they are. */
static void lower_word(uint8_t *bytes)
{
    const uint64_t ones = 0x0101010101010101ull;
    uint64_t word, low, letters;
    memcpy(&word, bytes, sizeof(word));
    low = word & 0x7f * ones;
    /* The upper bit of each sum says that the byte is at least 'A', or beyond 'Z'; no sum carries over. */
    letters = (low + (0x80 - 'A') * ones) & ~(low + (0x7f - 'Z') * ones) & ~word & 0x80 * ones;
    word |= letters >> 2;
    memcpy(bytes, &word, sizeof(word));
}

void dns_name_lower(struct dns_name *name)
{
    size_t at = 0;
    for (; at + 8 <= name->length; at += 8)
        lower_word(name->wire + at);
    /* What is lower case already stays as it is, so the last eight may overlap with those before. */
    if (name->length >= 8)
        lower_word(name->wire + name->length - 8);
    else
        for (; at < name->length; at++)
            name->wire[at] = dns_lower(name->wire[at]);
}

uint64_t dns_name_hash(const struct dns_name *name, const uint64_t key[2])
{
    uint64_t v[4] = {key[0] ^ 0x736f6d6570736575ull, key[1] ^ 0x646f72616e646f6dull,
                     key[0] ^ 0x6c7967656e657261ull, key[1] ^ 0x7465646279746573ull};
    size_t at = 0;
    bool last;
    do {
        uint64_t word = 0;
        size_t left = name->length - at;
        last = left < 8;
        for (size_t i = 0; i < (last ? left : 8); i++)
            word |= (uint64_t)dns_lower(name->wire[at + i]) << (8 * i);
        if (last)
            word |= (uint64_t)name->length << 56;
        v[3] ^= word;
        random_round(v);
        v[0] ^= word;
        at += 8;
    } while (!last);
    v[2] ^= 0xff;
    random_round(v);
    random_round(v);
    random_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* One byte of a label, escaped or not; *text moves behind it. Below 0: a wrong escape. */
static int parse_byte(const char **text)
{
    const char *at = *text;
    int number;
    if (*at != '\\') {
        *text = at + 1;
        return (uint8_t)*at;
    }
    if (!is_digit(at[1])) {
        if (at[1] == 0)
            return -1;
        *text = at + 2;
        return (uint8_t)at[1];
    }
    if (!is_digit(at[2]) || !is_digit(at[3]))
        return -1;
    number = (at[1] - '0') * 100 + (at[2] - '0') * 10 + (at[3] - '0');
    *text = at + 4;
    return number <= 255 ? number : -1;
}

/* The bytes of a label behind the place for its length, at `at`; false: too long, or a wrong escape. */
static bool parse_label(struct dns_name *name, size_t at, const char **text)
{
    size_t length = 0;
    while (**text != 0 && **text != '.') {
        int byte = parse_byte(text);
        /* The root's label has to fit behind it. */
        if (byte < 0 || length == DNS_LABEL_MAX || at + 1 + length + 1 >= DNS_NAME_MAX)
            return false;
        name->wire[at + 1 + length++] = (uint8_t)byte;
    }
    name->wire[at] = (uint8_t)length;
    return length > 0;
}

bool dns_name_parse(struct dns_name *name, const char *text)
{
    size_t at = 0;
    if (strcmp(text, ".") == 0) {
        *name = dns_name_root();
        return true;
    }
    do {
        if (!parse_label(name, at, &text))
            return false;
        at += 1u + name->wire[at];
        if (*text == '.')
            text++;
    } while (*text != 0);
    name->wire[at] = 0;
    name->length = (uint8_t)(at + 1);
    return true;
}

static size_t print_byte(uint8_t byte, char *text)
{
    if (byte > ' ' && byte < 0x7f) {
        size_t n = 0;
        if (strchr(".\\\"();@$", byte) != NULL)
            text[n++] = '\\';
        text[n++] = (char)byte;
        return n;
    }
    text[0] = '\\';
    text[1] = (char)('0' + byte / 100);
    text[2] = (char)('0' + byte / 10 % 10);
    text[3] = (char)('0' + byte % 10);
    return 4;
}

size_t dns_name_print(const struct dns_name *name, char *text)
{
    size_t n = 0;
    for (size_t at = 0; name->wire[at] != 0; at += 1u + name->wire[at]) {
        for (size_t i = 1; i <= name->wire[at]; i++)
            n += print_byte(name->wire[at + i], text + n);
        text[n++] = '.';
    }
    if (n == 0)
        text[n++] = '.';
    text[n] = 0;
    return n;
}

struct dns_name dns_name_of_ipv4(be32 address)
{
    struct dns_name name;
    uint8_t octet[4];
    size_t at = 0;
    memcpy(octet, &address, 4);
    for (size_t i = 4; i-- > 0;) {
        size_t length = at++;
        if (octet[i] >= 100)
            name.wire[at++] = (uint8_t)('0' + octet[i] / 100);
        if (octet[i] >= 10)
            name.wire[at++] = (uint8_t)('0' + octet[i] / 10 % 10);
        name.wire[at++] = (uint8_t)('0' + octet[i] % 10);
        name.wire[length] = (uint8_t)(at - length - 1);
    }
    memcpy(name.wire + at, in_addr_arpa, sizeof(in_addr_arpa));
    name.length = (uint8_t)(at + sizeof(in_addr_arpa));
    return name;
}

struct dns_name dns_name_of_ipv6(const struct ipv6_address *address)
{
    static const char digits[] = "0123456789abcdef";
    struct dns_name name;
    size_t at = 0;
    for (size_t i = 16; i-- > 0;) {
        name.wire[at++] = 1;
        name.wire[at++] = (uint8_t)digits[address->bytes[i] & 15];
        name.wire[at++] = 1;
        name.wire[at++] = (uint8_t)digits[address->bytes[i] >> 4];
    }
    memcpy(name.wire + at, ip6_arpa, sizeof(ip6_arpa));
    name.length = (uint8_t)(at + sizeof(ip6_arpa));
    return name;
}

/* The number in a label of one to three digits without needless zeroes; 256 or more if it is none. */
static unsigned octet_of_label(const uint8_t *label)
{
    unsigned number = 0;
    if (label[0] == 0 || label[0] > 3 || (label[0] > 1 && label[1] == '0'))
        return 256;
    for (unsigned i = 1; i <= label[0]; i++) {
        if (!is_digit((char)label[i]))
            return 256;
        number = number * 10 + label[i] - '0';
    }
    return number;
}

bool dns_name_to_ipv4(const struct dns_name *name, be32 *address)
{
    uint8_t octet[4];
    size_t at = 0;
    for (size_t i = 4; i-- > 0;) {
        unsigned number = octet_of_label(name->wire + at);
        if (number > 255)
            return false;
        octet[i] = (uint8_t)number;
        at += 1u + name->wire[at];
    }
    if (name->length - at != sizeof(in_addr_arpa) ||
        !bytes_equal(name->wire + at, in_addr_arpa, sizeof(in_addr_arpa)))
        return false;
    *address = load_be32(octet);
    return true;
}

/* The value of a hexadecimal digit; 16 if it is none. */
static unsigned nibble(uint8_t digit)
{
    digit = dns_lower(digit);
    if (is_digit((char)digit))
        return digit - (unsigned)'0';
    return digit >= 'a' && digit <= 'f' ? digit - (unsigned)'a' + 10 : 16;
}

bool dns_name_to_ipv6(const struct dns_name *name, struct ipv6_address *address)
{
    struct ipv6_address found;
    const uint8_t *at = name->wire;
    if (name->length != DNS_NAME_IPV6_LENGTH || !bytes_equal(at + 64, ip6_arpa, sizeof(ip6_arpa)))
        return false;
    for (size_t i = 16; i-- > 0; at += 4) {
        unsigned low = nibble(at[1]), high = nibble(at[3]);
        if (at[0] != 1 || at[2] != 1 || low > 15 || high > 15)
            return false;
        found.bytes[i] = (uint8_t)(high << 4 | low);
    }
    *address = found;
    return true;
}
