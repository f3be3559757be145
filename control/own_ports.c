/* SPDX-License-Identifier: BSD-2-Clause */
#include "control/own_ports.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/log.h"
#include "control/sysctl.h"

#define RESERVED "net/ipv4/ip_local_reserved_ports"
#define GIVEN    "net/ipv4/ip_local_port_range"

enum {
    LEFT_AT_LEAST = 1000, /* ports that a machine is to have for its own connections */
    LINE = 512,           /* bytes of a line in /proc/net */
    TCP_IS_LISTENING = 0x0a,
    UDP_IS_UNCONNECTED = 0x07,
};

/* --- sets ----------------------------------------------------------------------------------------------- */

static bool has(const struct port_set *ports, uint32_t port)
{
    return (ports->word[port / 64] >> (port % 64) & 1) != 0;
}

void port_set_add(struct port_set *ports, uint32_t low, uint32_t high)
{
    for (uint32_t port = low; port <= high; port++)
        ports->word[port / 64] |= UINT64_C(1) << (port % 64);
}

void port_set_remove(struct port_set *ports, uint32_t low, uint32_t high)
{
    for (uint32_t port = low; port <= high; port++)
        ports->word[port / 64] &= ~(UINT64_C(1) << (port % 64));
}

bool port_set_next(const struct port_set *ports, uint32_t *low, uint32_t *high)
{
    uint32_t first = *low;
    while (first <= UINT16_MAX && !has(ports, first))
        first++;
    if (first > UINT16_MAX)
        return false;
    *low = *high = first;
    while (*high < UINT16_MAX && has(ports, *high + 1))
        ++*high;
    return true;
}

static bool read_port(const char **text, uint32_t *port)
{
    char *end;
    if (**text < '0' || **text > '9')
        return false;
    unsigned long value = strtoul(*text, &end, 10);
    *text = end;
    *port = (uint32_t)value;
    return value <= UINT16_MAX;
}

/* One range, and steps over it. */
static bool read_range(const char **text, uint32_t *low, uint32_t *high)
{
    if (!read_port(text, low))
        return false;
    *high = *low;
    return (**text != '-' || (++*text, read_port(text, high))) && *low <= *high;
}

bool port_range_read(const char *text, uint32_t *low, uint32_t *high)
{
    return read_range(&text, low, high) && *text == 0;
}

bool port_set_read(struct port_set *ports, const char *text)
{
    uint32_t low, high;
    *ports = (struct port_set){{0}};
    while (*text != 0) {
        if (!read_range(&text, &low, &high) || (*text != ',' && *text != 0))
            return false;
        port_set_add(ports, low, high);
        text += *text == ',';
    }
    return true;
}

bool port_set_print(const struct port_set *ports, char *text, size_t size)
{
    size_t length = 0;
    text[0] = 0;
    for (uint32_t low = 0, high; port_set_next(ports, &low, &high); low = high + 1) {
        int more =
            snprintf(text + length, size - length, low == high ? "%s%" PRIu32 : "%s%" PRIu32 "-%" PRIu32,
                     length == 0 ? "" : ",", low, high);
        if (more < 0 || (size_t)more >= size - length)
            return false;
        length += (size_t)more;
    }
    return true;
}

/* --- those of the configuration
 * ----------------------------------------------------------------------------- */

static bool is_shared(const struct pool_range *range, unsigned transports)
{
    return range->interface[0] != 0 && (range->transports & transports) != 0;
}

void own_ports(const struct config *config, struct port_set *ports)
{
    *ports = (struct port_set){{0}};
    for (uint32_t i = 0; i < config->settings.nat64_count; i++) {
        const struct nat64_settings *nat64 = &config->settings.nat64[i];
        for (uint32_t j = 0; j < nat64->pool_count; j++)
            if (is_shared(&nat64->pool[j], 1u << TRANSPORT_TCP | 1u << TRANSPORT_UDP))
                port_set_add(ports, nat64->pool[j].low, nat64->pool[j].high);
    }
}

uint64_t own_ports_sum(const struct config *config)
{
    uint64_t sum = 14695981039346656037u; /* FNV-1a */
    struct port_set ports;
    uint32_t ranges = 0;
    own_ports(config, &ports);
    for (uint32_t low = 0, high; port_set_next(&ports, &low, &high); low = high + 1, ranges++)
        sum = (sum ^ (low << 16 | high)) * 1099511628211u;
    return ranges == 0 ? 0 : sum;
}

/* --- sockets
 * ------------------------------------------------------------------------------------------------ */

/* A line of /proc/net/tcp and its like: the numbers of an address are in the machine's order. */
struct socket_line {
    be32 address; /* 0: any */
    bool other;   /* an IPv6 address that no IPv4 packet comes to */
    unsigned port, state;
};

/* A number of so many hexadecimal digits, and steps over it. */
static bool read_hex(const char **text, int digits, unsigned *number)
{
    char word[9], *end;
    snprintf(word, sizeof(word), "%.*s", digits, *text);
    *number = (unsigned)strtoul(word, &end, 16);
    if (end != word + digits)
        return false;
    *text += digits;
    return true;
}

static const char *step_over_word(const char *text)
{
    text += strcspn(text, " ");
    return text + strspn(text, " ");
}

static bool read_line(const char *text, bool ipv6, struct socket_line *line)
{
    unsigned word[4] = {0};
    text = step_over_word(text + strspn(text, " ")); /* its number */
    for (unsigned i = ipv6 ? 0 : 3; i < 4; i++)
        if (!read_hex(&text, 8, &word[i]))
            return false;
    if (*text++ != ':' || !read_hex(&text, 4, &line->port) || *text++ != ' ')
        return false;
    text = step_over_word(text); /* the other end */
    bool mapped = word[2] == to_be32(0xffff) || (word[2] == 0 && word[3] == 0);
    line->address = word[3];
    line->other = ipv6 && (word[0] != 0 || word[1] != 0 || !mapped);
    return read_hex(&text, 2, &line->state);
}

/* Is it an entry's port, at an address that the entry has or may get? */
static bool is_in_the_way(const struct config *config, uint8_t transport, const struct socket_line *line)
{
    for (uint32_t i = 0; i < config->settings.nat64_count; i++) {
        const struct nat64_settings *nat64 = &config->settings.nat64[i];
        for (uint32_t j = 0; j < nat64->pool_count; j++) {
            const struct pool_range *range = &nat64->pool[j];
            if (is_shared(range, 1u << transport) && line->port >= range->low && line->port <= range->high &&
                (line->address == 0 || (range->count != 0 && line->address == range->first)))
                return true;
        }
    }
    return false;
}

bool own_ports_check_list(const struct config *config, const struct socket_list *list, FILE *file,
                          uint32_t *connections, char *error, size_t size)
{
    const unsigned waits = list->transport == TRANSPORT_TCP ? TCP_IS_LISTENING : UDP_IS_UNCONNECTED;
    char text[LINE];
    struct socket_line line;
    while (fgets(text, sizeof(text), file) != NULL) {
        if (!read_line(text, list->ipv6, &line) || line.other ||
            !is_in_the_way(config, list->transport, &line))
            continue;
        if (line.state != waits) {
            ++*connections;
            continue;
        }
        snprintf(
            error, size,
            "nat64.pool: %s port %" PRIu32
            " is in use by a program of this machine (ss -l%cnp sport = :%" PRIu32
            "); choose other ports for the pool or the program, or, if it got that port by chance, reserve "
            "the pool's ports for good with net.ipv4.ip_local_reserved_ports in /etc/sysctl.d and restart it",
            list->protocol, line.port, list->transport == TRANSPORT_TCP ? 't' : 'u', line.port);
        return false;
    }
    return true;
}

static bool check_sockets(const struct config *config, char *error, size_t size)
{
    static const struct {
        const char *path;
        struct socket_list list;
    } files[] = {
        {"/proc/net/tcp", {"TCP", TRANSPORT_TCP, false}},
        {"/proc/net/tcp6", {"TCP", TRANSPORT_TCP, true}},
        {"/proc/net/udp", {"UDP", TRANSPORT_UDP, false}},
        {"/proc/net/udp6", {"UDP", TRANSPORT_UDP, true}},
    };
    uint32_t connections = 0;
    bool free = true;
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]) && free; i++) {
        FILE *file = fopen(files[i].path, "re");
        if (file == NULL) {
            log_warning("cannot read %s, so it is not known whether ports of the pool are in use: %s",
                        files[i].path, strerror(errno));
            continue;
        }
        free = own_ports_check_list(config, &files[i].list, file, &connections, error, size);
        fclose(file);
    }
    if (free && connections > 0)
        log_warning("%" PRIu32
                    " connection%s of this machine use ports of the pool; until they have ended a client "
                    "that gets such a port disturbs them",
                    connections, connections == 1 ? "" : "s");
    return free;
}

/* --- what the kernel gives away ----------------------------------------------------------------------------
 */

int reserved_ports_read(struct port_set *ports)
{
    char text[2 * PORT_SET_TEXT];
    int error = sysctl_read_text(RESERVED, text, sizeof(text));
    if (error != 0)
        return error;
    return port_set_read(ports, text) ? 0 : EINVAL;
}

int reserved_ports_write(const struct port_set *ports)
{
    char text[PORT_SET_TEXT];
    if (!port_set_print(ports, text, sizeof(text)))
        return E2BIG;
    return sysctl_write(RESERVED, text[0] != 0 ? text : "\n");
}

static bool check_rest(const struct config *config, char *error, size_t size)
{
    char text[SYSCTL_VALUE];
    struct port_set ports, reserved;
    uint32_t low, high;
    unsigned left = 0;
    const char *at = text;
    if (sysctl_read(GIVEN, text) != 0 || !read_port(&at, &low) ||
        (at += strspn(at, " \t"), !read_port(&at, &high)))
        return true;
    own_ports(config, &ports);
    if (reserved_ports_read(&reserved) != 0)
        reserved = (struct port_set){{0}};
    for (uint32_t port = low; port <= high; port++)
        left += !has(&ports, port) && !has(&reserved, port);
    if (left >= LEFT_AT_LEAST)
        return true;
    snprintf(error, size,
             "nat64.pool: this machine would have %u ports left for connections of its own, of those from %u "
             "to %u; "
             "choose fewer for the pool, or widen net.ipv4.ip_local_port_range",
             left, low, high);
    return false;
}

bool own_ports_check(const struct config *config, char *error, size_t size)
{
    return own_ports_sum(config) == 0 ||
           (check_sockets(config, error, size) && check_rest(config, error, size));
}
