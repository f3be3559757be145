/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A column is a key, a heading and a function that takes its value out of a record. Times are seconds,
 * addresses text; a transport address is "192.0.2.1:80" or "[2001:db8::1]:80".
 */
#include "control/columns.h"

#include <arpa/inet.h>
#include <stdio.h>

#include "control/version.h"
#include "engine/engine.h"

static json_t *number(uint64_t value)
{
    return json_integer((json_int_t)value);
}

static json_t *endpoint6(const struct ipv6_address *address, be16 port)
{
    char text[INET6_ADDRSTRLEN];
    inet_ntop(AF_INET6, address->bytes, text, sizeof(text));
    return json_sprintf("[%s]:%u", text, from_be16(port));
}

static json_t *endpoint4(be32 address, be16 port)
{
    char text[INET_ADDRSTRLEN];
    inet_ntop(AF_INET, &address, text, sizeof(text));
    return json_sprintf("%s:%u", text, from_be16(port));
}

static const char *const transports[TRANSPORT_COUNT] = {
    [TRANSPORT_TCP] = "tcp", [TRANSPORT_UDP] = "udp", [TRANSPORT_ICMP] = "icmp"};

/* VALUE(name, type, expression): a function `name` that makes JSON of a record `r` of the type. */
#define VALUE(name, type, expression)                                                                        \
    static json_t *name(const void *record)                                                                  \
    {                                                                                                        \
        const type *r = record;                                                                              \
        return expression;                                                                                   \
    }

static json_t *status_version(const void *record)
{
    (void)record;
    return json_string(ISTHMUS_VERSION);
}

static json_t *status_plane(const void *record)
{
    (void)record;
    return json_string("tun");
}

VALUE(status_ready, struct status, json_boolean(r->ready))
VALUE(status_uptime, struct status, number(r->uptime_seconds))
VALUE(status_sessions, struct status, number(r->sessions))
VALUE(status_bindings, struct status, number(r->bindings))
VALUE(status_limit, struct status, number(r->sessions_limit))
VALUE(status_workers, struct status, number(r->workers))
VALUE(status_device, struct status, json_string(r->device))
VALUE(status_mtu6, struct status, number(r->mtu_ipv6))
VALUE(status_mtu4, struct status, number(r->mtu_ipv4))
VALUE(status_uso, struct status, json_boolean(r->uso))

VALUE(entry_instance, struct entry_record, json_string(r->instance))
VALUE(entry_protocol, struct entry_record, json_string(transports[r->entry->transport]))
VALUE(entry_client, struct entry_record, endpoint6(&r->entry->client, r->entry->client_port))
VALUE(entry_pool, struct entry_record, endpoint4(r->entry->pool_address, r->entry->pool_port))
VALUE(entry_remote, struct entry_record, endpoint4(r->entry->remote4, r->entry->remote_port))
VALUE(entry_remote6, struct entry_record, endpoint6(&r->entry->remote6, r->entry->remote_port))
VALUE(entry_state, struct entry_record, json_string(r->entry->state))
VALUE(entry_expires, struct entry_record, number(r->entry->expires_in))
VALUE(entry_static, struct entry_record, json_boolean(r->entry->is_static))
VALUE(entry_sessions, struct entry_record, number(r->entry->sessions))

static json_t *pool_address(const void *record)
{
    const struct pool_record *r = record;
    char text[INET_ADDRSTRLEN];
    inet_ntop(AF_INET, &r->pool->address, text, sizeof(text));
    return json_string(text);
}

VALUE(pool_instance, struct pool_record, json_string(r->instance))
VALUE(pool_tcp_ports, struct pool_record, number(r->pool->ports[TRANSPORT_TCP]))
VALUE(pool_tcp_used, struct pool_record, number(r->pool->used[TRANSPORT_TCP]))
VALUE(pool_udp_ports, struct pool_record, number(r->pool->ports[TRANSPORT_UDP]))
VALUE(pool_udp_used, struct pool_record, number(r->pool->used[TRANSPORT_UDP]))
VALUE(pool_icmp_ports, struct pool_record, number(r->pool->ports[TRANSPORT_ICMP]))
VALUE(pool_icmp_used, struct pool_record, number(r->pool->used[TRANSPORT_ICMP]))

VALUE(counter_name, struct counter_record, json_string(r->name))
VALUE(counter_class, struct counter_record, json_string(r->class))
VALUE(counter_packets, struct counter_record, number(r->packets))
VALUE(counter_bytes, struct counter_record, number(r->bytes))
VALUE(counter_count, struct counter_record, number(r->count))
VALUE(counter_sentence, struct counter_record, json_string(r->sentence))
VALUE(counter_clause, struct counter_record, json_string(r->clause))

static const struct column status_rows[] = {
    {"ready", "ready", false, status_ready},
    {"version", "version", false, status_version},
    {"plane", "plane", false, status_plane},
    {"device", "device", false, status_device},
    {"workers", "workers", true, status_workers},
    {"uso", "UDP super-packets", false, status_uso},
    {"mtu_ipv6", "MTU, IPv6 side", true, status_mtu6},
    {"mtu_ipv4", "MTU, IPv4 side", true, status_mtu4},
    {"uptime_seconds", "up for seconds", true, status_uptime},
    {"sessions", "sessions", true, status_sessions},
    {"sessions_limit", "sessions at most", true, status_limit},
    {"bindings", "bindings", true, status_bindings},
};

static const struct column session_rows[] = {
    {"instance", NULL, false, entry_instance}, {"protocol", "protocol", false, entry_protocol},
    {"client", "client", false, entry_client}, {"pool", "pool", false, entry_pool},
    {"remote", "remote", false, entry_remote}, {"remote6", NULL, false, entry_remote6},
    {"state", "state", false, entry_state},    {"expires_in", "expires in s", true, entry_expires},
};

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

#define COLUMNS(rows)                                                                                        \
    {                                                                                                        \
        rows, sizeof(rows) / sizeof((rows)[0])                                                               \
    }

const struct columns status_columns = COLUMNS(status_rows);
const struct columns session_columns = COLUMNS(session_rows);
const struct columns binding_columns = COLUMNS(binding_rows);
const struct columns pool_columns = COLUMNS(pool_rows);
const struct columns verdict_columns = COLUMNS(verdict_rows);
const struct columns activity_columns = COLUMNS(activity_rows);

json_t *columns_object(const struct columns *columns, const void *record)
{
    json_t *object = json_object();
    for (size_t i = 0; i < columns->count; i++) {
        if (json_object_set_new(object, columns->at[i].key, columns->at[i].value(record)) != 0) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}
