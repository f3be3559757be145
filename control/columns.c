/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A column is a key, a heading and a function that writes the value it takes out of a record. Times are
 * seconds, addresses text; a transport address is "192.0.2.1:80" or "[2001:db8::1]:80".
 */
#include "control/columns.h"

#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "control/json_line.h"
#include "control/version.h"
#include "engine/engine.h"

static const char *const transports[TRANSPORT_COUNT] = {
    [TRANSPORT_TCP] = "tcp", [TRANSPORT_UDP] = "udp", [TRANSPORT_ICMP] = "icmp"};

/* VALUE(name, type, call): a function `name` that writes a value of a record `r` of the type. */
#define VALUE(name, type, call)                                                                              \
    static void name(struct json_line *line, const void *record)                                             \
    {                                                                                                        \
        const type *r = record;                                                                              \
        call;                                                                                                \
    }

static void status_version(struct json_line *line, const void *record)
{
    (void)record;
    line_string(line, ISTHMUS_VERSION);
}

/* Names with blanks between, as a list. */
static void status_interfaces(struct json_line *line, const void *record)
{
    const struct status *status = record;
    const char *at = status->interfaces;
    line_byte(line, '[');
    while (*at != '\0') {
        char name[IFNAMSIZ];
        size_t length = strcspn(at, " ");
        snprintf(name, sizeof(name), "%.*s", (int)length, at);
        line_string(line, name);
        at += length + (at[length] == ' ');
        if (*at != '\0')
            line_byte(line, ',');
    }
    line_byte(line, ']');
}

VALUE(status_plane, struct status, line_string(line, r->bpf ? "bpf" : "tun"))
VALUE(status_ready, struct status, line_boolean(line, r->ready))
VALUE(status_uptime, struct status, line_number(line, r->uptime_seconds))
VALUE(status_sessions, struct status, line_number(line, r->sessions))
VALUE(status_bindings, struct status, line_number(line, r->bindings))
VALUE(status_nat64, struct status, line_number(line, r->nat64_instances))
VALUE(status_siit, struct status, line_number(line, r->siit_instances))
VALUE(status_mappings, struct status, line_number(line, r->mappings))
VALUE(status_captures, struct status, line_number(line, r->captures))
VALUE(status_held, struct status, line_number(line, r->fragments_held))
VALUE(status_held_bytes, struct status, line_number(line, r->fragments_bytes))
VALUE(status_limit, struct status, line_number(line, r->sessions_limit))
VALUE(status_workers, struct status, line_number(line, r->workers))
VALUE(status_device, struct status, line_string(line, r->device))
VALUE(status_mtu6, struct status, line_number(line, r->mtu_ipv6))
VALUE(status_mtu4, struct status, line_number(line, r->mtu_ipv4))
VALUE(status_uso, struct status, line_boolean(line, r->uso))

VALUE(entry_instance, struct entry_record, line_string(line, r->instance))
VALUE(entry_protocol, struct entry_record, line_string(line, transports[r->entry->transport]))
VALUE(entry_client, struct entry_record, line_endpoint6(line, &r->entry->client, r->entry->client_port))
VALUE(entry_pool, struct entry_record, line_endpoint4(line, r->entry->pool_address, r->entry->pool_port))
VALUE(entry_remote, struct entry_record, line_endpoint4(line, r->entry->remote4, r->entry->remote_port))
VALUE(entry_remote6, struct entry_record, line_endpoint6(line, &r->entry->remote6, r->entry->remote_port))
VALUE(entry_state, struct entry_record, line_string(line, r->entry->state))
VALUE(entry_expires, struct entry_record, line_number(line, r->entry->expires_in))
VALUE(entry_static, struct entry_record, line_boolean(line, r->entry->is_static))
VALUE(entry_sessions, struct entry_record, line_number(line, r->entry->sessions))
VALUE(entry_packets_6to4, struct entry_record, line_number(line, r->entry->packets_6to4))
VALUE(entry_bytes_6to4, struct entry_record, line_number(line, r->entry->bytes_6to4))
VALUE(entry_packets_4to6, struct entry_record, line_number(line, r->entry->packets_4to6))
VALUE(entry_bytes_4to6, struct entry_record, line_number(line, r->entry->bytes_4to6))

static bool entry_is_counted(const void *record)
{
    const struct entry_record *r = record;
    return r->entry->counted;
}

static void pool_address(struct json_line *line, const void *record)
{
    const struct pool_record *r = record;
    line_byte(line, '"');
    line_ipv4(line, r->pool->address);
    line_byte(line, '"');
}

VALUE(pool_instance, struct pool_record, line_string(line, r->instance))
VALUE(pool_tcp_ports, struct pool_record, line_number(line, r->pool->ports[TRANSPORT_TCP]))
VALUE(pool_tcp_used, struct pool_record, line_number(line, r->pool->used[TRANSPORT_TCP]))
VALUE(pool_udp_ports, struct pool_record, line_number(line, r->pool->ports[TRANSPORT_UDP]))
VALUE(pool_udp_used, struct pool_record, line_number(line, r->pool->used[TRANSPORT_UDP]))
VALUE(pool_icmp_ports, struct pool_record, line_number(line, r->pool->ports[TRANSPORT_ICMP]))
VALUE(pool_icmp_used, struct pool_record, line_number(line, r->pool->used[TRANSPORT_ICMP]))

VALUE(counter_name, struct counter_record, line_string(line, r->name))
VALUE(counter_class, struct counter_record, line_string(line, r->class))
VALUE(counter_packets, struct counter_record, line_number(line, r->packets))
VALUE(counter_bytes, struct counter_record, line_number(line, r->bytes))
VALUE(counter_count, struct counter_record, line_number(line, r->count))
VALUE(counter_sentence, struct counter_record, line_string(line, r->sentence))
VALUE(counter_clause, struct counter_record, line_string(line, r->clause))

VALUE(latency_from, struct latency_record, line_number(line, r->from))
VALUE(latency_lookups, struct latency_record, line_number(line, r->lookups))

static void latency_below(struct json_line *line, const void *record)
{
    const struct latency_record *r = record;
    if (r->below != 0)
        line_number(line, r->below);
    else
        line_text(line, "null");
}

static const struct column status_rows[] = {
    {"ready", "ready", false, status_ready},
    {"version", "version", false, status_version},
    {"plane", "plane", false, status_plane},
    {"device", "device", false, status_device},
    {"interfaces", "interfaces", false, status_interfaces},
    {"workers", "workers", true, status_workers},
    {"uso", "UDP super-packets", false, status_uso},
    {"mtu_ipv6", "MTU, IPv6 side", true, status_mtu6},
    {"mtu_ipv4", "MTU, IPv4 side", true, status_mtu4},
    {"uptime_seconds", "up for seconds", true, status_uptime},
    {"sessions", "sessions", true, status_sessions},
    {"sessions_limit", "sessions at most", true, status_limit},
    {"bindings", "bindings", true, status_bindings},
    {"nat64_instances", "nat64 entries", true, status_nat64},
    {"siit_instances", "siit entries", true, status_siit},
    {"mappings", "siit mappings", true, status_mappings},
    {"captures", "captures", true, status_captures},
    {"fragments_held", "fragments held", true, status_held},
    {"fragments_bytes", "bytes for them", true, status_held_bytes},
};

static const struct column session_rows[] = {
    {"instance", NULL, false, entry_instance},
    {"protocol", "protocol", false, entry_protocol},
    {"client", "client", false, entry_client},
    {"pool", "pool", false, entry_pool},
    {"remote", "remote", false, entry_remote},
    {"remote6", NULL, false, entry_remote6},
    {"state", "state", false, entry_state},
    {"expires_in", "expires in s", true, entry_expires},
    {"packets_6to4", "packets 6to4", true, entry_packets_6to4},
    {"bytes_6to4", "bytes 6to4", true, entry_bytes_6to4},
    {"packets_4to6", "packets 4to6", true, entry_packets_4to6},
    {"bytes_4to6", "bytes 4to6", true, entry_bytes_4to6},
};
enum { COUNTED_COLUMNS = 4 }; /* the last of them, of sessions whose packets are counted */

static const struct column binding_rows[] = {
    {"instance", NULL, false, entry_instance},      {"protocol", "protocol", false, entry_protocol},
    {"client", "client", false, entry_client},      {"pool", "pool", false, entry_pool},
    {"static", NULL, false, entry_static},          {"state", "state", false, entry_state},
    {"sessions", "sessions", true, entry_sessions},
};

static const struct column pool_rows[] = {
    {"instance", "instance", false, pool_instance},   {"address", "address", false, pool_address},
    {"tcp_used", "tcp used", true, pool_tcp_used},    {"tcp_ports", "of", true, pool_tcp_ports},
    {"udp_used", "udp used", true, pool_udp_used},    {"udp_ports", "of", true, pool_udp_ports},
    {"icmp_used", "icmp used", true, pool_icmp_used}, {"icmp_ports", "of", true, pool_icmp_ports},
};

/* What may be long comes last, so that no other column is pushed aside by it. */
static const struct column verdict_rows[] = {
    {"name", "verdict", false, counter_name},          {"packets", "packets", true, counter_packets},
    {"bytes", "bytes", true, counter_bytes},           {"class", "class", false, counter_class},
    {"clause", "specified in", false, counter_clause}, {"sentence", "meaning", false, counter_sentence},
};

static const struct column activity_rows[] = {
    {"name", "activity", false, counter_name},
    {"count", "count", true, counter_count},
    {"class", "of", false, counter_class},
    {"sentence", "meaning", false, counter_sentence},
};

static const struct column dns_rows[] = {
    {"name", "name service", false, counter_name},
    {"count", "count", true, counter_count},
    {"class", "of", false, counter_class},
    {"sentence", "meaning", false, counter_sentence},
};

static const struct column latency_rows[] = {
    {"from_ms", "took ms from", true, latency_from},
    {"below_ms", "to below", true, latency_below},
    {"lookups", "lookups", true, latency_lookups},
};

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
#define COLUMNS(rows)                                                                                        \
    {                                                                                                        \
        .at = (rows), .count = COUNT(rows), .always = COUNT(rows)                                            \
    }

const struct columns status_columns = COLUMNS(status_rows);
const struct columns session_columns = {.at = session_rows,
                                        .count = COUNT(session_rows),
                                        .always = COUNT(session_rows) - COUNTED_COLUMNS,
                                        .has_all = entry_is_counted};
const struct columns binding_columns = COLUMNS(binding_rows);
const struct columns pool_columns = COLUMNS(pool_rows);
const struct columns verdict_columns = COLUMNS(verdict_rows);
const struct columns activity_columns = COLUMNS(activity_rows);
const struct columns dns_columns = COLUMNS(dns_rows);
const struct columns latency_columns = COLUMNS(latency_rows);

size_t columns_line(const struct columns *columns, const void *record, char *text, size_t size)
{
    struct json_line line = {.at = text, .end = text + size};
    bool all = columns->has_all == NULL || columns->has_all(record);
    size_t count = all ? columns->count : columns->always;
    for (size_t i = 0; i < count; i++) {
        line_text(&line, i == 0 ? "{\"" : ",\"");
        line_text(&line, columns->at[i].key);
        line_text(&line, "\":");
        columns->at[i].write(&line, record);
    }
    line_text(&line, "}\n");
    return line.full ? 0 : (size_t)(line.at - text);
}
