/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reading is strict, because a value that is silently read as something else costs its owner a night: no
 * octal numbers, no durations without a unit, no addresses with bits beyond their length. Whatever is
 * refused is named together with what would be taken.
 *
 * The functions stand in pairs, read_TYPE and format_TYPE; the table at the end joins them to the types.
 * Those of the name service are in config_values_dns.c.
 */
#include "control/config_values.h"

#include <arpa/inet.h>
#include <assert.h>
#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "control/config_values_input.h"
#include "engine/settings.h"
#include "wire/ipv4.h"

const char *value_quote(const char *text, char *out)
{
    size_t length = 0;
    out[length++] = '"';
    while (*text != 0 && length < VALUE_QUOTE_SIZE - 6) {
        if (*text >= 0x20 && *text < 0x7f)
            out[length++] = *text;
        else
            out[length++] = '?';
        text++;
    }
    snprintf(out + length, VALUE_QUOTE_SIZE - length, "%s", *text != 0 ? "...\"" : "\"");
    return out;
}

bool value_refuse(const struct input *input, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(input->error->text, sizeof(input->error->text), format, arguments);
    va_end(arguments);
    return false;
}

bool value_unexpected(const struct input *input)
{
    char quoted[VALUE_QUOTE_SIZE], expected[VALUE_TEXT_SIZE];
    value_expected(input->rule, expected, sizeof(expected));
    return value_refuse(input, "found %s; expected %s", value_quote(input->text, quoted), expected);
}

/* Fields of 1, 2 or 4 bytes, of either sign. */
static void store_integer(void *at, size_t size, int64_t value)
{
    uint8_t byte = (uint8_t)value;
    uint16_t half = (uint16_t)value;
    uint32_t word = (uint32_t)value;
    memcpy(at, size == 1 ? (void *)&byte : size == 2 ? (void *)&half : (void *)&word, size);
}

static int64_t load_integer(const void *at, size_t size)
{
    uint16_t half;
    int32_t word;
    if (size == 1)
        return *(const uint8_t *)at;
    if (size == 2) {
        memcpy(&half, at, sizeof(half));
        return half;
    }
    memcpy(&word, at, sizeof(word));
    return word;
}

bool value_scan_number(const char **text, uint32_t *number)
{
    const char *at = *text;
    uint32_t value = 0;
    if (at[0] == '0' && isdigit((unsigned char)at[1]))
        return false;
    while (isdigit((unsigned char)*at) && at - *text < 9)
        value = value * 10 + (uint32_t)(*at++ - '0');
    if (at == *text || isdigit((unsigned char)*at))
        return false;
    *text = at;
    *number = value;
    return true;
}

static bool read_number(const struct input *input, void *at)
{
    const char *text = input->text;
    uint32_t number;
    if (!value_scan_number(&text, &number) || *text != 0 || number < input->rule->low ||
        number > input->rule->high)
        return value_unexpected(input);
    store_integer(at, input->rule->size, number);
    return true;
}

static void format_number(const struct value_rule *rule, const void *at, char *out)
{
    snprintf(out, VALUE_TEXT_SIZE, "%" PRId64, load_integer(at, rule->size));
}

/* The place of the word of `length` bytes among the rule's words, or -1. */
static int find_word(const struct value_rule *rule, const char *text, size_t length)
{
    for (int i = 0; rule->words[i] != NULL; i++)
        if (strlen(rule->words[i]) == length && strncmp(rule->words[i], text, length) == 0)
            return i;
    return -1;
}

static bool read_word(const struct input *input, void *at)
{
    int place = find_word(input->rule, input->text, strlen(input->text));
    if (place < 0)
        return value_unexpected(input);
    store_integer(at, input->rule->size, place);
    return true;
}

static void format_word(const struct value_rule *rule, const void *at, char *out)
{
    snprintf(out, VALUE_TEXT_SIZE, "%s", rule->words[load_integer(at, rule->size)]);
}

static bool add_word(const struct input *input, const char *text, size_t length, uint8_t *set)
{
    int place = find_word(input->rule, text, length);
    if (place < 0)
        return value_unexpected(input);
    if ((*set & 1u << place) != 0)
        return value_refuse(input, "%s is named twice; once is enough", input->rule->words[place]);
    *set = (uint8_t)(*set | 1u << place);
    return true;
}

/* One word, as an entry of a YAML list comes here, or "[a, b]", as a default stands in the table. */
static bool read_words(const struct input *input, void *at)
{
    const char *text = input->text;
    if (*text != '[')
        return add_word(input, text, strlen(text), at);
    for (text++; *text != 0; text += strspn(text, ", ]")) {
        size_t length = strcspn(text, ", ]");
        if (!add_word(input, text, length, at))
            return false;
        text += length;
    }
    return true;
}

static void format_words(const struct value_rule *rule, const void *at, char *out)
{
    uint8_t set = *(const uint8_t *)at;
    size_t length = 0;
    for (int i = 0; rule->words[i] != NULL; i++)
        if ((set & 1u << i) != 0)
            length += (size_t)snprintf(out + length, VALUE_TEXT_SIZE - length, "%s%s",
                                       length == 0 ? "[" : ", ", rule->words[i]);
    snprintf(out + length, VALUE_TEXT_SIZE - length, "]");
}

/* 2h4m: hours, minutes, seconds, in this order, each at most once, none without its unit. */
static bool scan_duration(const char *text, uint64_t *seconds)
{
    static const struct {
        char letter;
        uint32_t seconds;
    } units[] = {{'h', 3600}, {'m', 60}, {'s', 1}};
    size_t next = 0;
    *seconds = 0;
    while (*text != 0) {
        uint32_t number;
        if (!value_scan_number(&text, &number))
            return false;
        while (next < 3 && units[next].letter != *text)
            next++;
        if (next == 3)
            return false;
        *seconds += (uint64_t)number * units[next++].seconds;
        text++;
    }
    return next != 0;
}

static bool read_duration(const struct input *input, void *at)
{
    uint64_t seconds;
    if (!scan_duration(input->text, &seconds) || seconds < (uint64_t)input->rule->low ||
        seconds > (uint64_t)input->rule->high)
        return value_unexpected(input);
    store_integer(at, sizeof(uint32_t), (int64_t)seconds);
    return true;
}

static void print_duration(uint32_t seconds, char *out, size_t size)
{
    size_t length = 0;
    if (seconds >= 3600)
        length += (size_t)snprintf(out, size, "%" PRIu32 "h", seconds / 3600);
    if (seconds / 60 % 60 != 0)
        length += (size_t)snprintf(out + length, size - length, "%" PRIu32 "m", seconds / 60 % 60);
    if (seconds % 60 != 0 || length == 0)
        snprintf(out + length, size - length, "%" PRIu32 "s", seconds % 60);
}

static void format_duration(const struct value_rule *rule, const void *at, char *out)
{
    (void)rule;
    print_duration(*(const uint32_t *)at, out, VALUE_TEXT_SIZE);
}

/* Units of bytes, the largest first. */
static const struct {
    const char *name;
    uint32_t bytes;
} size_units[] = {{"GiB", 1u << 30}, {"MiB", 1u << 20}, {"KiB", 1u << 10}};

/* 16MiB: a whole number of one unit. */
static bool read_size(const struct input *input, void *at)
{
    const char *text = input->text;
    uint32_t number;
    if (!value_scan_number(&text, &number))
        return value_unexpected(input);
    for (size_t i = 0; i < sizeof(size_units) / sizeof(size_units[0]); i++) {
        uint64_t bytes = (uint64_t)number * size_units[i].bytes;
        if (strcmp(text, size_units[i].name) != 0)
            continue;
        if (bytes < (uint64_t)input->rule->low || bytes > (uint64_t)input->rule->high)
            return value_unexpected(input);
        store_integer(at, sizeof(uint32_t), (int64_t)bytes);
        return true;
    }
    return value_unexpected(input);
}

/* In the largest unit that leaves no rest. */
static void print_size(uint32_t bytes, char *out, size_t size)
{
    size_t unit = 0;
    while (bytes % size_units[unit].bytes != 0 && unit < 2)
        unit++;
    snprintf(out, size, "%" PRIu32 "%s", bytes / size_units[unit].bytes, size_units[unit].name);
}

static void format_size(const struct value_rule *rule, const void *at, char *out)
{
    (void)rule;
    print_size(*(const uint32_t *)at, out, VALUE_TEXT_SIZE);
}

static bool store_string(const struct input *input, char *at)
{
    size_t length = strlen(input->text);
    if (length >= input->rule->size)
        return value_refuse(input, "has %zu bytes; at most %zu are allowed", length, input->rule->size - 1);
    memset(at, 0, input->rule->size);
    memcpy(at, input->text, length);
    return true;
}

/* Names become parts of paths and of device names: they begin with a letter or digit, and hold no '/'. */
static bool read_name(const struct input *input, void *at)
{
    if (!isalnum((unsigned char)input->text[0]))
        return value_unexpected(input);
    for (const char *text = input->text; *text != 0; text++)
        if (!isalnum((unsigned char)*text) && strchr("_.-", *text) == NULL)
            return value_unexpected(input);
    return store_string(input, at);
}

/* In quotes where another reader of YAML might see a number, a boolean or null. */
static void format_name(const struct value_rule *rule, const void *at, char *out)
{
    static const char *const taken[] = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"};
    const char *name = at;
    bool quote = !isalpha((unsigned char)name[0]);
    (void)rule;
    for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++)
        quote = quote || strcasecmp(name, taken[i]) == 0;
    snprintf(out, VALUE_TEXT_SIZE, quote ? "\"%s\"" : "%s", name);
}

static bool read_path(const struct input *input, void *at)
{
    size_t length = strlen(input->text);
    if (input->text[0] != '/' || input->text[length - 1] == '/')
        return value_unexpected(input);
    for (size_t i = 0; i < length; i++)
        if (input->text[i] < 0x20 || input->text[i] >= 0x7f)
            return value_unexpected(input);
    return store_string(input, at);
}

void value_format_quoted(const char *text, char *out)
{
    size_t length = 0;
    out[length++] = '"';
    for (; *text != 0 && length < VALUE_TEXT_SIZE - 4; text++) {
        if (*text == '"' || *text == '\\')
            out[length++] = '\\';
        out[length++] = *text;
    }
    snprintf(out + length, VALUE_TEXT_SIZE - length, "\"");
}

static void format_path(const struct value_rule *rule, const void *at, char *out)
{
    const char *path = at;
    (void)rule;
    if (strspn(path, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/_.-") == strlen(path)) {
        snprintf(out, VALUE_TEXT_SIZE, "%s", path);
        return;
    }
    value_format_quoted(path, out);
}

bool value_split_length(const char *text, char *address, uint32_t *length, uint32_t whole)
{
    const char *slash = strchr(text, '/');
    size_t size = slash == NULL ? strlen(text) : (size_t)(slash - text);
    if (size >= ADDRESS_TEXT_SIZE)
        return false;
    memcpy(address, text, size);
    address[size] = 0;
    *length = whole;
    return slash == NULL || (slash++, value_scan_number(&slash, length) && *slash == 0 && *length <= whole);
}

struct ipv6_address value_mask_address(struct ipv6_address address, uint32_t length)
{
    for (uint32_t bit = length; bit < 128; bit++)
        address.bytes[bit / 8] = (uint8_t)(address.bytes[bit / 8] & ~(0x80u >> bit % 8));
    return address;
}

static void print_ipv6(const struct ipv6_address *address, char *out)
{
    if (inet_ntop(AF_INET6, address->bytes, out, ADDRESS_TEXT_SIZE) == NULL)
        out[0] = 0;
}

/* rfc: 6052-2.2-c */
static bool read_prefix(const struct input *input, void *at)
{
    char text[ADDRESS_TEXT_SIZE], masked_text[ADDRESS_TEXT_SIZE];
    struct ipv6_address address, masked;
    uint32_t length;
    if (!value_split_length(input->text, text, &length, 128) || inet_pton(AF_INET6, text, address.bytes) != 1)
        return value_unexpected(input);
    if (strchr(input->text, '/') == NULL)
        return value_refuse(input, "%s has no length; allowed are /32 /40 /48 /56 /64 /96", text);
    if (!rfc6052_length_valid(length))
        return value_refuse(input, "a prefix of length /%" PRIu32 "; allowed are /32 /40 /48 /56 /64 /96",
                            length);
    masked = value_mask_address(address, length);
    print_ipv6(&masked, masked_text);
    if (!ipv6_equal(&address, &masked))
        return value_refuse(input, "%s has bits set beyond /%" PRIu32 "; write %s/%" PRIu32, text, length,
                            masked_text, length);
    if (address.bytes[8] != 0)
        return value_refuse(
            input, "bits 64 to 71 of %s are not zero, as RFC 6052 section 2.2 asks; choose another /96",
            text);
    if (address.bytes[0] == 0xff || ipv6_is_link_local(&address) || load_be16(address.bytes) == 0)
        return value_refuse(
            input,
            "%s is not a prefix of unicast addresses that can be routed; choose one of your own "
            "network, or 64:ff9b::/96",
            input->text);
    *(struct rfc6052_prefix *)at = (struct rfc6052_prefix){.address = address, .length = (uint8_t)length};
    return true;
}

static void format_prefix(const struct value_rule *rule, const void *at, char *out)
{
    const struct rfc6052_prefix *prefix = at;
    char address[ADDRESS_TEXT_SIZE];
    (void)rule;
    print_ipv6(&prefix->address, address);
    snprintf(out, VALUE_TEXT_SIZE, "%s/%u", address, prefix->length);
}

/* An address that a host can have and be reached at. */
static bool read_host6(const struct input *input, const char *text, struct ipv6_address *address)
{
    if (inet_pton(AF_INET6, text, address->bytes) != 1)
        return value_unexpected(input);
    if (ipv6_illegal_source(address) || ipv6_is_link_local(address))
        return value_refuse(
            input,
            "%s is unspecified, loopback, link-local or multicast; expected the unicast address of a "
            "host",
            text);
    return true;
}

static bool read_host4(const struct input *input, const char *text, be32 *address)
{
    if (inet_pton(AF_INET, text, address) != 1)
        return value_unexpected(input);
    if (ipv4_illegal_source(*address))
        return value_refuse(
            input,
            "%s is in 0.0.0.0/8, loopback, link-local, multicast or reserved; expected a unicast address",
            text);
    return true;
}

static bool read_ipv6(const struct input *input, void *at)
{
    return read_host6(input, input->text, at);
}

/* In quotes: "::1" would end a key, and [] around it would begin a list. */
static void format_ipv6(const struct value_rule *rule, const void *at, char *out)
{
    char address[ADDRESS_TEXT_SIZE];
    (void)rule;
    print_ipv6(at, address);
    snprintf(out, VALUE_TEXT_SIZE, "\"%s\"", address);
}

static bool read_ipv4(const struct input *input, void *at)
{
    return read_host4(input, input->text, at);
}

static void print_ipv4(be32 address, char *out)
{
    if (inet_ntop(AF_INET, &address, out, ADDRESS_TEXT_SIZE) == NULL)
        out[0] = 0;
}

static void format_ipv4(const struct value_rule *rule, const void *at, char *out)
{
    (void)rule;
    print_ipv4(*(const be32 *)at, out);
}

static_assert(offsetof(struct pool_range, low) == POOL_BLOCK_SIZE, "first and count stand in front");

static bool read_block(const struct input *input, void *at)
{
    struct pool_range *range = at;
    char text[ADDRESS_TEXT_SIZE], masked[ADDRESS_TEXT_SIZE];
    uint32_t length;
    be32 address;
    if (!value_split_length(input->text, text, &length, 32) || inet_pton(AF_INET, text, &address) != 1)
        return value_unexpected(input);
    if (length < POOL_BLOCK_SHORTEST)
        return value_refuse(input, "a block of length /%" PRIu32 "; allowed are /%d to /32", length,
                            POOL_BLOCK_SHORTEST);
    uint32_t inside = (uint32_t)((1ull << (32 - length)) - 1);
    if ((from_be32(address) & inside) != 0) {
        print_ipv4(to_be32(from_be32(address) & ~inside), masked);
        return value_refuse(input,
                            "%s has bits set beyond /%" PRIu32 "; write %s/%" PRIu32
                            " for the block, %s for the "
                            "one address",
                            text, length, masked, length, text);
    }
    if (!read_host4(input, text, &address))
        return false;
    range->first = address;
    range->count = inside + 1;
    return true;
}

static void format_block(const struct value_rule *rule, const void *at, char *out)
{
    const struct pool_range *range = at;
    char address[ADDRESS_TEXT_SIZE];
    (void)rule;
    print_ipv4(range->first, address);
    if (range->interface[0] != 0)
        snprintf(out, VALUE_TEXT_SIZE, "null");
    else if (range->count == 1)
        snprintf(out, VALUE_TEXT_SIZE, "%s", address);
    else
        snprintf(out, VALUE_TEXT_SIZE, "%s/%d", address, 32 - __builtin_ctz(range->count));
}

static bool read_mapped6(const struct input *input, void *at)
{
    struct eam *mapping = at;
    char text[ADDRESS_TEXT_SIZE], masked_text[ADDRESS_TEXT_SIZE];
    struct ipv6_address masked;
    uint32_t length;
    if (!value_split_length(input->text, text, &length, 128) ||
        inet_pton(AF_INET6, text, mapping->ipv6.bytes) != 1)
        return value_unexpected(input);
    masked = value_mask_address(mapping->ipv6, length);
    print_ipv6(&masked, masked_text);
    if (!ipv6_equal(&mapping->ipv6, &masked))
        return value_refuse(input, "%s has bits set beyond /%" PRIu32 "; write %s/%" PRIu32, text, length,
                            masked_text, length);
    mapping->length6 = (uint8_t)length;
    return true;
}

static void format_mapped6(const struct value_rule *rule, const void *at, char *out)
{
    const struct eam *mapping = at;
    char address[ADDRESS_TEXT_SIZE];
    (void)rule;
    print_ipv6(&mapping->ipv6, address);
    snprintf(out, VALUE_TEXT_SIZE, mapping->length6 == 128 ? "\"%s\"" : "\"%s/%u\"", address,
             mapping->length6);
}

static bool read_mapped4(const struct input *input, void *at)
{
    struct eam *mapping = at;
    char text[ADDRESS_TEXT_SIZE], masked[ADDRESS_TEXT_SIZE];
    uint32_t length;
    if (!value_split_length(input->text, text, &length, 32) || inet_pton(AF_INET, text, &mapping->ipv4) != 1)
        return value_unexpected(input);
    uint32_t inside = (uint32_t)((1ull << (32 - length)) - 1);
    if ((from_be32(mapping->ipv4) & inside) != 0) {
        print_ipv4(to_be32(from_be32(mapping->ipv4) & ~inside), masked);
        return value_refuse(input, "%s has bits set beyond /%" PRIu32 "; write %s/%" PRIu32, text, length,
                            masked, length);
    }
    mapping->length4 = (uint8_t)length;
    return true;
}

static void format_mapped4(const struct value_rule *rule, const void *at, char *out)
{
    const struct eam *mapping = at;
    char address[ADDRESS_TEXT_SIZE];
    (void)rule;
    print_ipv4(mapping->ipv4, address);
    snprintf(out, VALUE_TEXT_SIZE, mapping->length4 == 32 ? "%s" : "%s/%u", address, mapping->length4);
}

static bool read_ports(const struct input *input, void *at)
{
    struct pool_range *range = at;
    const char *text = input->text;
    uint32_t low, high;
    if (!value_scan_number(&text, &low))
        return value_unexpected(input);
    high = low;
    if (*text == '-' && (text++, !value_scan_number(&text, &high)))
        return value_unexpected(input);
    if (*text != 0 || low == 0 || low > UINT16_MAX || high > UINT16_MAX)
        return value_unexpected(input);
    if (low > high)
        return value_refuse(input, "%s begins above its end; write %" PRIu32 "-%" PRIu32, input->text, high,
                            low);
    range->low = (uint16_t)low;
    range->high = (uint16_t)high;
    return true;
}

static void format_ports(const struct value_rule *rule, const void *at, char *out)
{
    const struct pool_range *range = at;
    (void)rule;
    snprintf(out, VALUE_TEXT_SIZE, range->low == range->high ? "%u" : "%u-%u", range->low, range->high);
}

/* Reads the number behind an endpoint's last colon. */
static bool scan_port(const char *text, be16 *port)
{
    uint32_t number;
    if (!value_scan_number(&text, &number) || *text != 0 || number == 0 || number > UINT16_MAX)
        return false;
    *port = to_be16((uint16_t)number);
    return true;
}

static bool read_endpoint6(const struct input *input, void *at)
{
    struct static_binding *binding = at;
    char text[ADDRESS_TEXT_SIZE];
    const char *end = strchr(input->text, ']');
    if (input->text[0] != '[' || end == NULL || end[1] != ':' || !scan_port(end + 2, &binding->port6))
        return value_unexpected(input);
    size_t length = (size_t)(end - input->text - 1);
    if (length >= sizeof(text))
        return value_unexpected(input);
    memcpy(text, input->text + 1, length);
    text[length] = 0;
    return read_host6(input, text, &binding->ipv6);
}

static void format_endpoint6(const struct value_rule *rule, const void *at, char *out)
{
    const struct static_binding *binding = at;
    char address[ADDRESS_TEXT_SIZE];
    (void)rule;
    print_ipv6(&binding->ipv6, address);
    snprintf(out, VALUE_TEXT_SIZE, "\"[%s]:%u\"", address, from_be16(binding->port6));
}

static bool read_endpoint4(const struct input *input, void *at)
{
    struct static_binding *binding = at;
    char text[ADDRESS_TEXT_SIZE];
    const char *end = strchr(input->text, ':');
    if (end == NULL || !scan_port(end + 1, &binding->port4) || end - input->text >= (ptrdiff_t)sizeof(text))
        return value_unexpected(input);
    memcpy(text, input->text, (size_t)(end - input->text));
    text[end - input->text] = 0;
    return read_host4(input, text, &binding->ipv4);
}

static void format_endpoint4(const struct value_rule *rule, const void *at, char *out)
{
    const struct static_binding *binding = at;
    char address[ADDRESS_TEXT_SIZE];
    (void)rule;
    print_ipv4(binding->ipv4, address);
    snprintf(out, VALUE_TEXT_SIZE, "\"%s:%u\"", address, from_be16(binding->port4));
}

static const struct {
    bool (*read)(const struct input *input, void *at);
    void (*format)(const struct value_rule *rule, const void *at, char *out);
    const char *expected; /* NULL: made from the rule */
} types[] = {
    [VALUE_GROUP] = {.expected = "keys with values below it"},
    [VALUE_LIST] = {.expected = "a list of entries with keys, each begun by '-'"},
    [VALUE_SCALARS] = {.expected = NULL},
    [VALUE_NUMBER] = {read_number, format_number, NULL},
    [VALUE_WORD] = {read_word, format_word, NULL},
    [VALUE_WORDS] = {read_words, format_words, NULL},
    [VALUE_DURATION] = {read_duration, format_duration, NULL},
    [VALUE_SIZE] = {read_size, format_size, NULL},
    [VALUE_NAME] = {read_name, format_name, NULL},
    [VALUE_PATH] = {read_path, format_path, "an absolute path in printable ASCII, one that begins with /"},
    [VALUE_PREFIX] = {read_prefix, format_prefix,
                      "an IPv6 prefix of length 32, 40, 48, 56, 64 or 96, such as 64:ff9b::/96"},
    [VALUE_IPV6] = {read_ipv6, format_ipv6, "an IPv6 address"},
    [VALUE_IPV4] = {read_ipv4, format_ipv4, "an IPv4 address"},
    [VALUE_BLOCK] = {read_block, format_block, "an IPv4 address or a block of them, such as 192.0.2.16/28"},
    [VALUE_MAPPED6] = {read_mapped6, format_mapped6,
                       "an IPv6 address or prefix, such as \"2001:db8:3::/120\""},
    [VALUE_MAPPED4] = {read_mapped4, format_mapped4, "an IPv4 address or prefix, such as 192.0.2.0/24"},
    [VALUE_PORTS] = {read_ports, format_ports, "a range of ports from 1 to 65535, such as 1024-65535"},
    [VALUE_ENDPOINT6] = {read_endpoint6, format_endpoint6,
                         "an IPv6 address and a port (icmp: an identifier) from 1 to 65535 in quotes, such "
                         "as \"[2001:db8::5]:80\""},
    [VALUE_ENDPOINT4] = {read_endpoint4, format_endpoint4,
                         "an IPv4 address and a port (icmp: an identifier) from 1 to 65535 in quotes, such "
                         "as \"192.0.2.2:80\""},
    [VALUE_NETWORK] = {value_read_network, value_format_network,
                       "a network or an address, such as \"2001:db8::/32\" or 192.0.2.0/24"},
    [VALUE_NETWORK6] = {value_read_network, value_format_network,
                        "an IPv6 network or address, such as \"2001:db8::/32\""},
    [VALUE_NETWORK4] = {value_read_network, value_format_network,
                        "an IPv4 network or address, such as 192.0.2.0/24"},
    [VALUE_LISTEN] = {value_read_listen, value_format_listen,
                      "an address of this machine, with a port or without, such as \"[2001:db8::53]:53\" or "
                      "192.0.2.53"},
    [VALUE_UPSTREAM] = {value_read_upstream, value_format_upstream,
                        "ADDRESS, ADDRESS:PORT or \"tls://ADDRESS:PORT#NAME\", such as 192.0.2.53, "
                        "\"[2001:db8::53]:53\" or \"tls://192.0.2.53#dns.example\""},
    [VALUE_DOMAIN] = {value_read_domain, value_format_domain, "a domain name, such as legacy.example."},
};

/* "one of auto, tun", "true or false", "a list of tcp, udp, icmp". */
static void expected_words(const struct value_rule *rule, char *out, size_t size)
{
    bool two = rule->words[1] != NULL && rule->words[2] == NULL;
    bool set = rule->type == VALUE_WORDS;
    size_t length = (size_t)snprintf(out, size, "%s",
                                     set   ? "a list in [ ] of some of "
                                     : two ? ""
                                           : "one of ");
    for (int i = 0; rule->words[i] != NULL && length < size; i++)
        length += (size_t)snprintf(out + length, size - length, "%s%s",
                                   i == 0        ? ""
                                   : two && !set ? " or "
                                                 : ", ",
                                   rule->words[i]);
}

static void expected_duration(const struct value_rule *rule, char *out, size_t size)
{
    char low[32], high[32];
    print_duration((uint32_t)rule->low, low, sizeof(low));
    print_duration((uint32_t)rule->high, high, sizeof(high));
    snprintf(out, size, "a duration from %s to %s, such as 90s or 2h4m%s%s%s", low, high,
             rule->why == NULL ? "" : " (", rule->why == NULL ? "" : rule->why, rule->why == NULL ? "" : ")");
}

static void expected_size(const struct value_rule *rule, char *out, size_t size)
{
    char low[32], high[32];
    print_size((uint32_t)rule->low, low, sizeof(low));
    print_size((uint32_t)rule->high, high, sizeof(high));
    snprintf(out, size, "a size from %s to %s, such as 512KiB or 16MiB", low, high);
}

static void expected_scalars(const struct value_rule *rule, char *out, size_t size)
{
    int length = snprintf(out, size, "a list in [ ], each entry ");
    if (length > 0 && (size_t)length < size)
        value_expected(rule->item, out + length, size - (size_t)length);
}

void value_expected(const struct value_rule *rule, char *out, size_t size)
{
    if (types[rule->type].expected != NULL)
        snprintf(out, size, "%s", types[rule->type].expected);
    else if (rule->type == VALUE_SCALARS)
        expected_scalars(rule, out, size);
    else if (rule->type == VALUE_NUMBER)
        snprintf(out, size, "a number from %" PRId64 " to %" PRId64, rule->low, rule->high);
    else if (rule->type == VALUE_DURATION)
        expected_duration(rule, out, size);
    else if (rule->type == VALUE_SIZE)
        expected_size(rule, out, size);
    else if (rule->type == VALUE_NAME)
        snprintf(out, size, "a name of at most %zu letters, digits, '_', '.' and '-'", rule->size - 1);
    else
        expected_words(rule, out, size);
    size_t length = strlen(out);
    if (rule->nullable)
        snprintf(out + length, size - length, ", or null");
}

bool value_is_null(const char *text)
{
    return text[0] == 0 || strcmp(text, "~") == 0 || strcmp(text, "null") == 0 || strcmp(text, "Null") == 0 ||
           strcmp(text, "NULL") == 0;
}

bool value_read(const struct value_rule *rule, const char *text, bool plain, void *at,
                struct value_error *error)
{
    const struct input input = {.rule = rule, .text = text, .error = error};
    char expected[VALUE_TEXT_SIZE];
    if (!plain || !value_is_null(text))
        return types[rule->type].read(&input, at);
    if (!rule->nullable) {
        value_expected(rule, expected, sizeof(expected));
        return value_refuse(&input, "has no value; expected %s", expected);
    }
    if (rule->type == VALUE_NUMBER)
        store_integer(at, rule->size, rule->null);
    else
        memset(at, 0, rule->size);
    return true;
}

/* True if the field has the value that stands for null. */
static bool holds_null(const struct value_rule *rule, const void *at)
{
    if (rule->type == VALUE_NUMBER)
        return load_integer(at, rule->size) == rule->null;
    for (size_t i = 0; i < rule->size; i++)
        if (((const uint8_t *)at)[i] != 0)
            return false;
    return true;
}

void value_format(const struct value_rule *rule, const void *at, char *out)
{
    if (rule->nullable && holds_null(rule, at))
        snprintf(out, VALUE_TEXT_SIZE, "null");
    else
        types[rule->type].format(rule, at, out);
}
