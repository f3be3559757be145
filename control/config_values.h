/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The values a key of the configuration can have: from text into a field of a struct and back.
 *
 * A rule says what a key takes: a type, a range or the allowed words, whether `null` is one of its values.
 * Both directions go by the same rule, so that what is printed is what can be read. Nothing here knows of
 * keys, files or positions; the reader of the file adds those to the sentence that comes back.
 */
#ifndef CONTROL_CONFIG_VALUES_H
#define CONTROL_CONFIG_VALUES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/ipv6.h"

enum value_type {
    VALUE_GROUP,    /* keys below it; no value of its own */
    VALUE_LIST,     /* entries with keys */
    VALUE_SCALARS,  /* [a, b]: a list of values that have no keys, each by the rule `item` */
    VALUE_REFUSED,  /* a key, or as KEY=WORD a value, that is known and not available */
    VALUE_NUMBER,   /* decimal -> an integer of `size` bytes */
    VALUE_WORD,     /* one of `words` -> its place in them, an integer of `size` bytes */
    VALUE_WORDS,    /* [several, of, words] -> uint8_t, bit 1 << place; the field is zero before */
    VALUE_DURATION, /* 2h4m -> uint32_t seconds */
    VALUE_SIZE,     /* 16MiB -> uint32_t bytes */
    VALUE_NAME,     /* letters, digits, '_', '.', '-' -> char[size] */
    VALUE_PATH,     /* an absolute path -> char[size] */
    VALUE_PREFIX,   /* 2001:db8:64::/96 -> struct rfc6052_prefix */
    VALUE_IPV6,     /* -> struct ipv6_address */
    VALUE_IPV4,     /* -> be32 */
    VALUE_BLOCK,   /* 192.0.2.0/28, 192.0.2.1 -> struct pool_range, first and count; nothing to write where an
                    * interface is named, whose address they may hold */
    VALUE_MAPPED6, /* 2001:db8:3::/120, 2001:db8::5 -> struct eam, ipv6 and length6 */
    VALUE_MAPPED4, /* 192.0.2.0/24, 192.0.2.5 -> struct eam, ipv4 and length4 */
    VALUE_PORTS,   /* 1024-65535, 80 -> struct pool_range, low and high */
    VALUE_ENDPOINT6, /* "[2001:db8::5]:80" -> struct static_binding, ipv6 and port6 */
    VALUE_ENDPOINT4, /* "192.0.2.2:80" -> struct static_binding, ipv4 and port4 */
    VALUE_NETWORK,   /* 192.0.2.0/24, 2001:db8::/32, an address -> struct rules_network */
    VALUE_NETWORK6,  /* the same, IPv6 only */
    VALUE_NETWORK4,  /* the same, IPv4 only */
    VALUE_LISTEN,    /* "[2001:db8::53]:53", 192.0.2.53 -> struct config_endpoint */
    VALUE_UPSTREAM,  /* 192.0.2.53, "tls://192.0.2.53:853#dns.example" -> struct config_upstream */
    VALUE_DOMAIN,    /* legacy.example. -> struct dns_name, in lower case */
};

struct value_rule {
    enum value_type type;
    bool nullable;
    int64_t null; /* what `null` stores in a number; an address becomes all zero */
    int64_t
        low; /* of a number, of a duration in seconds, of a size in bytes, of the count of a list's entries */
    int64_t high;                  /* likewise */
    const char *why;               /* where the lower end of the range comes from, or NULL */
    size_t size;                   /* of the field, or of an entry of a list, in bytes */
    const char *const *words;      /* ended by NULL */
    const struct value_rule *item; /* of VALUE_SCALARS */
};

enum {
    VALUE_TEXT_SIZE = 1312, /* of the text of any value, with the final zero: a name all in escapes */
    VALUE_ERROR_SIZE = 320, /* of a sentence about a value */
    POOL_BLOCK_SIZE = 8,    /* bytes of struct pool_range that an address or block is written to */
    POOL_BLOCK_SHORTEST =
        20, /* a block of pool addresses is /20 to /32: the table has 4096 addresses at most */
};

/* Values of the name service. IPv4 addresses stand in IPv6 ones, ::ffff:0:0/96. */
struct config_endpoint {
    struct ipv6_address address;
    uint16_t port;
};

enum { CONFIG_TLS_NAME_SIZE = 254 }; /* of a host's name as text, without the dot at the end */

struct config_upstream {
    struct config_endpoint at;
    bool tls;
    char name[CONFIG_TLS_NAME_SIZE]; /* in its certificate; empty without TLS */
};

struct value_error {
    char text[VALUE_ERROR_SIZE];
};

/*
 * Reads `text` into the field `at`. `plain` says that it stands without quotes, so that null means null.
 * Returns false with a sentence "what was found; what is allowed" in *error.
 */
bool value_read(const struct value_rule *rule, const char *text, bool plain, void *at,
                struct value_error *error);

/* Writes the field as it would be read, quoted where YAML asks for it; `out` has VALUE_TEXT_SIZE bytes. */
void value_format(const struct value_rule *rule, const void *at, char *out);

/* True for the words by which YAML says that there is no value. */
bool value_is_null(const char *text);

/* Writes what the rule allows, "a number from 1 to 64", into `out` of `size` bytes. */
void value_expected(const struct value_rule *rule, char *out, size_t size);

/* Copies `text` for use in a message: on one line, printable, quoted, shortened. `out` has 64 bytes. */
enum { VALUE_QUOTE_SIZE = 64 };
const char *value_quote(const char *text, char *out);

#endif /* CONTROL_CONFIG_VALUES_H */
