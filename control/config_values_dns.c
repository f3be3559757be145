/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Values of the name service: networks, addresses to listen on, upstream servers, domain names.
 *
 * IPv4 stands in IPv6 as ::ffff:0:0/96 (RFC 4291 section 2.5.5.2), so networks and endpoints of both families
 * are of one kind. What lies in that block is printed as IPv4, however it was written, but where only IPv6
 * can stand.
 *
 *     endpoint    ADDRESS | IPV4:PORT | [IPV6] | [IPV6]:PORT
 *     upstream    endpoint | tls://endpoint#NAME
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "control/config_values_input.h"
#include "dns64/rules.h"
#include "wire/ipv4.h"

enum {
    DNS_PORT = 53,
    DNS_TLS_PORT = 853,      /* RFC 7858 section 3.1 */
    ENDPOINT_TEXT_SIZE = 64, /* "[", an address, "]:", a port */
};

static const struct ipv6_address mapped = {{[10] = 0xff, [11] = 0xff}};

static bool is_mapped(const struct ipv6_address *address)
{
    return memcmp(address, &mapped, 12) == 0;
}

static struct ipv6_address map(be32 ipv4)
{
    struct ipv6_address address = mapped;
    memcpy(address.bytes + 12, &ipv4, sizeof(ipv4));
    return address;
}

static be32 unmap(const struct ipv6_address *address)
{
    be32 ipv4;
    memcpy(&ipv4, address->bytes + 12, sizeof(ipv4));
    return ipv4;
}

/* Of either family; false if it is of neither. */
static bool parse_address(const char *text, struct ipv6_address *address)
{
    be32 ipv4;
    if (inet_pton(AF_INET6, text, address->bytes) == 1)
        return true;
    if (inet_pton(AF_INET, text, &ipv4) != 1)
        return false;
    *address = map(ipv4);
    return true;
}

static void print_address(const struct ipv6_address *address, bool as_ipv4, char out[ADDRESS_TEXT_SIZE])
{
    if (as_ipv4)
        inet_ntop(AF_INET, address->bytes + 12, out, ADDRESS_TEXT_SIZE);
    else
        inet_ntop(AF_INET6, address->bytes, out, ADDRESS_TEXT_SIZE);
}

bool value_read_network(const struct input *input, void *at)
{
    struct rules_network *network = at;
    char text[ADDRESS_TEXT_SIZE], masked_text[ADDRESS_TEXT_SIZE];
    bool ipv4 = strchr(input->text, ':') == NULL;
    struct ipv6_address address;
    uint32_t length;
    if ((ipv4 && input->rule->type == VALUE_NETWORK6) || (!ipv4 && input->rule->type == VALUE_NETWORK4) ||
        !value_split_length(input->text, text, &length, ipv4 ? 32 : 128) || !parse_address(text, &address))
        return value_unexpected(input);
    uint32_t whole = length + (ipv4 ? RULES_IPV4_BITS : 0);
    struct ipv6_address masked = value_mask_address(address, whole);
    print_address(&masked, ipv4, masked_text);
    if (!ipv6_equal(&address, &masked))
        return value_refuse(input, "%s has bits set beyond /%" PRIu32 "; write %s/%" PRIu32, text, length,
                            masked_text, length);
    *network = (struct rules_network){.address = address, .length = (uint8_t)whole};
    return true;
}

void value_format_network(const struct value_rule *rule, const void *at, char *out)
{
    const struct rules_network *network = at;
    char address[ADDRESS_TEXT_SIZE];
    bool ipv4 =
        rule->type != VALUE_NETWORK6 && network->length >= RULES_IPV4_BITS && is_mapped(&network->address);
    print_address(&network->address, ipv4, address);
    const char *quote = ipv4 ? "" : "\"";
    if (network->length == 128)
        snprintf(out, VALUE_TEXT_SIZE, "%s%s%s", quote, address, quote);
    else
        snprintf(out, VALUE_TEXT_SIZE, "%s%s/%u%s", quote, address,
                 network->length - (ipv4 ? RULES_IPV4_BITS : 0), quote);
}

/* Reads `length` bytes of text; without a port in it, it is `port`. */
static bool parse_endpoint(const char *text, size_t length, uint16_t port, struct config_endpoint *endpoint)
{
    char copy[ENDPOINT_TEXT_SIZE], *address = copy, *rest = NULL;
    uint32_t number = port;
    if (length >= sizeof(copy))
        return false;
    memcpy(copy, text, length);
    copy[length] = 0;
    char *end = strchr(copy, ']'), *colon = strchr(copy, ':');
    if (copy[0] == '[') {
        if (end == NULL || colon == NULL || colon > end || (end[1] != 0 && end[1] != ':'))
            return false;
        rest = end[1] == ':' ? end + 2 : NULL;
        address++;
        *end = 0;
    } else if (colon != NULL && strchr(colon + 1, ':') == NULL) {
        rest = colon + 1;
        *colon = 0;
    }
    const char *digits = rest;
    if (digits != NULL &&
        (!value_scan_number(&digits, &number) || *digits != 0 || number == 0 || number > UINT16_MAX))
        return false;
    endpoint->port = (uint16_t)number;
    return parse_address(address, &endpoint->address);
}

static void print_endpoint(const struct config_endpoint *endpoint, char out[ENDPOINT_TEXT_SIZE])
{
    char address[ADDRESS_TEXT_SIZE];
    bool ipv4 = is_mapped(&endpoint->address);
    print_address(&endpoint->address, ipv4, address);
    snprintf(out, ENDPOINT_TEXT_SIZE, ipv4 ? "%s:%u" : "[%s]:%u", address, endpoint->port);
}

/* Multicast, limited broadcast and what is reserved: no socket has such an address. */
static bool is_no_host(const struct ipv6_address *address)
{
    return is_mapped(address) ? from_be32(unmap(address)) >= 0xe0000000u : ipv6_is_multicast(address);
}

static bool is_unspecified(const struct ipv6_address *address)
{
    static const struct ipv6_address none;
    return ipv6_equal(address, &none) || (is_mapped(address) && unmap(address) == 0);
}

bool value_read_listen(const struct input *input, void *at)
{
    struct config_endpoint *endpoint = at;
    if (!parse_endpoint(input->text, strlen(input->text), DNS_PORT, endpoint))
        return value_unexpected(input);
    if (is_no_host(&endpoint->address))
        return value_refuse(input, "%s is multicast or reserved; expected an address of this machine",
                            input->text);
    if (ipv6_is_link_local(&endpoint->address))
        return value_refuse(
            input,
            "%s is link-local, which means something with an interface only; write \"[::]:53\" "
            "to listen on all addresses",
            input->text);
    return true;
}

void value_format_listen(const struct value_rule *rule, const void *at, char *out)
{
    char endpoint[ENDPOINT_TEXT_SIZE];
    (void)rule;
    print_endpoint(at, endpoint);
    snprintf(out, VALUE_TEXT_SIZE, "\"%s\"", endpoint);
}

/* A name as it stands in a certificate: of letters, digits, '-', '_' and dots. */
static bool read_host_name(const struct input *input, const char *text, char name[CONFIG_TLS_NAME_SIZE])
{
    struct dns_name parsed;
    size_t length = strlen(text);
    if (length > 1 && text[length - 1] == '.')
        length--;
    for (size_t i = 0; i < length; i++)
        if (!isalnum((unsigned char)text[i]) && strchr("-_.", text[i]) == NULL)
            length = 0;
    if (length == 0 || length >= CONFIG_TLS_NAME_SIZE || !dns_name_parse(&parsed, text) || parsed.length == 1)
        return value_unexpected(input);
    for (size_t i = 0; i < length; i++)
        name[i] = (char)tolower((unsigned char)text[i]);
    return true;
}

bool value_read_upstream(const struct input *input, void *at)
{
    static const char scheme[] = "tls://";
    struct config_upstream *upstream = at;
    const char *text = input->text, *name = strchr(text, '#');
    memset(upstream, 0, sizeof(*upstream));
    upstream->tls = strncmp(text, scheme, sizeof(scheme) - 1) == 0;
    text += upstream->tls ? sizeof(scheme) - 1 : 0;
    size_t length = name == NULL ? strlen(text) : (size_t)(name - text);
    if (!parse_endpoint(text, length, upstream->tls ? DNS_TLS_PORT : DNS_PORT, &upstream->at))
        return value_unexpected(input);
    if (is_no_host(&upstream->at.address) || is_unspecified(&upstream->at.address) ||
        ipv6_is_link_local(&upstream->at.address))
        return value_refuse(
            input, "%.*s is unspecified, link-local, multicast or reserved; expected the address of a server",
            (int)length, text);
    if (upstream->tls && name == NULL)
        return value_refuse(input,
                            "without #NAME anybody could answer in place of the server; write "
                            "\"tls://%.*s#NAME\" with the name in its certificate",
                            (int)length, text);
    if (!upstream->tls && name != NULL)
        return value_refuse(input,
                            "a name to check is of use with TLS only; write \"tls://%s\", or leave out %s",
                            text, name);
    return !upstream->tls || read_host_name(input, name + 1, upstream->name);
}

void value_format_upstream(const struct value_rule *rule, const void *at, char *out)
{
    const struct config_upstream *upstream = at;
    char endpoint[ENDPOINT_TEXT_SIZE];
    (void)rule;
    print_endpoint(&upstream->at, endpoint);
    if (upstream->tls)
        snprintf(out, VALUE_TEXT_SIZE, "\"tls://%s#%s\"", endpoint, upstream->name);
    else
        snprintf(out, VALUE_TEXT_SIZE, "\"%s\"", endpoint);
}

bool value_read_domain(const struct input *input, void *at)
{
    struct dns_name *name = at, parsed = {0};
    if (input->text[0] == 0 || !dns_name_parse(&parsed, input->text))
        return value_unexpected(input);
    if (strncmp(input->text, "*.", 2) == 0 && input->text[2] != 0)
        return value_refuse(input, "%s stands for all names below it, too; write it without \"*.\"",
                            input->text + 2);
    for (const char *byte = input->text; *byte != 0; byte++)
        if ((unsigned char)*byte > '~')
            return value_refuse(input,
                                "has letters beyond ASCII, which no query has; write it as in queries, "
                                "with xn-- (`idn2` converts it)");
    dns_name_lower(&parsed);
    memset(name, 0, sizeof(*name)); /* equal names are equal bytes */
    name->length = parsed.length;
    memcpy(name->wire, parsed.wire, parsed.length);
    return true;
}

void value_format_domain(const struct value_rule *rule, const void *at, char *out)
{
    char text[DNS_NAME_TEXT_MAX];
    (void)rule;
    dns_name_print(at, text);
    value_format_quoted(text, out);
}
