/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Three translations of struct config_dns64: into options, which hold until the restart; into rules; and into
 * what others want to know. Then the life of the server.
 *
 * Networks of this machine's links are those of all its addresses, of whatever state: an address that is
 * tentative or deprecated tells as much of who is on the link. Loopback and link-local addresses are on a
 * link always. The rules change only if other networks come out: new rules cost all cached answers.
 */
#include "control/dns.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "control/log.h"
#include "control/netlink.h"
#include "control/own_ports.h"

static_assert((int)DNS64_LISTENS_MAXIMUM <= (int)SERVER_LISTENS, "all have room");
static_assert((int)DNS64_UPSTREAMS_MAXIMUM <= (int)RESOLVER_UPSTREAMS, "all have room");

enum {
    RESOLVER_MEMORY = 16 << 20, /* bytes of one resolver's caches; what is hot is in ours */
    SETTLE_MILLISECONDS = 200,  /* in which more changes of addresses may come */
    DNS_PORT = 53,
    ENDPOINT_TEXT = 64,
};

struct dns {
    const struct config *config;
    struct server *server;
    struct clients clients; /* as the server has them */
    struct netlink *events;
    uv_poll_t changed;
    uv_timer_t settle;
};

static const struct ipv6_address mapped = {{[10] = 0xff, [11] = 0xff}};
static const struct rules_network everybody = {.length = 0};
static const struct rules_network all_of_ipv4 = {.address = {{[10] = 0xff, [11] = 0xff}},
                                                 .length = RULES_IPV4_BITS};

/* --- options -------------------------------------------------------------------------------------- */

static bool is_mapped(const struct ipv6_address *address)
{
    return rules_network_contains(&all_of_ipv4, address);
}

static void print_address(const struct ipv6_address *address, char text[INET6_ADDRSTRLEN])
{
    bool ipv4 = is_mapped(address);
    inet_ntop(ipv4 ? AF_INET : AF_INET6, address->bytes + (ipv4 ? 12 : 0), text, INET6_ADDRSTRLEN);
}

/* Ports of this machine that are its clients'. If there are too many ranges, so is what is between the last.
 */
static void avoid_own_ports(const struct config *config, struct resolver_options *options)
{
    struct port_set ports;
    own_ports(config, &ports);
    for (uint32_t low = 0, high; port_set_next(&ports, &low, &high); low = high + 1) {
        if (options->avoided_count < RESOLVER_AVOIDED)
            options->avoided[options->avoided_count++].low = (uint16_t)low;
        options->avoided[options->avoided_count - 1].high = (uint16_t)high;
    }
}

static void set_resolver(const struct config_dns64 *dns64, struct resolver_options *options)
{
    *options =
        (struct resolver_options){.upstream_count = dns64->upstream_count,
                                  .tls = dns64->upstream_count > 0 && dns64->upstream[0].tls, /* all agree */
                                  .validate = dns64->validate,
                                  .memory = RESOLVER_MEMORY};
    for (uint32_t i = 0; i < dns64->upstream_count; i++) {
        const struct config_upstream *upstream = &dns64->upstream[i];
        char address[INET6_ADDRSTRLEN];
        print_address(&upstream->at.address, address);
        snprintf(options->upstreams[i], sizeof(options->upstreams[i]), "%s@%u%s%s", address,
                 upstream->at.port, upstream->tls ? "#" : "", upstream->name);
    }
    const char *anchors = dns64->trust_anchors[0] != 0 ? dns64->trust_anchors : resolver_anchors();
    snprintf(options->trust_anchors, sizeof(options->trust_anchors), "%s", anchors != NULL ? anchors : "");
}

static void set_options(const struct config *config, uint32_t workers, struct server_options *options)
{
    const struct config_dns64 *dns64 = config->dns64;
    *options = (struct server_options){.listen_count = dns64->listen_count,
                                       .workers = workers,
                                       .cache_entries = dns64->cache_entries,
                                       .tcp_connections = dns64->tcp_connections,
                                       .tcp_idle = dns64->tcp_idle,
                                       .serve_stale = dns64->serve_stale};
    for (uint32_t i = 0; i < dns64->listen_count; i++) {
        options->listens[i] =
            (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(dns64->listen[i].port)};
        memcpy(&options->listens[i].sin6_addr, &dns64->listen[i].address,
               sizeof(options->listens[i].sin6_addr));
    }
    set_resolver(dns64, &options->resolver);
    avoid_own_ports(config, &options->resolver);
}

/* --- rules ---------------------------------------------------------------------------------------- */

static void add_client(struct clients *clients, const struct rules_network *network)
{
    for (uint32_t i = 0; i < clients->count; i++)
        if (clients->networks[i].length == network->length &&
            ipv6_equal(&clients->networks[i].address, &network->address))
            return;
    if (clients->count < CLIENTS_NETWORKS)
        clients->networks[clients->count++] = *network;
}

/* The network that an address is in. One without a length would be everybody's. */
static void see_address(void *context, const struct netlink_address *address)
{
    struct rules_network network = {.length = address->network.length};
    if (network.length == 0)
        return;
    if (address->network.family == AF_INET) {
        network.address = mapped;
        network.length = (uint8_t)(network.length + RULES_IPV4_BITS);
        memcpy(network.address.bytes + 12, address->network.address, 4);
    } else {
        memcpy(network.address.bytes, address->network.address, 16);
    }
    for (unsigned bit = network.length; bit < 128; bit++)
        network.address.bytes[bit / 8] = (uint8_t)(network.address.bytes[bit / 8] & ~(0x80u >> bit % 8));
    add_client(context, &network);
}

/* Who is on this machine or on its links. False if the kernel does not tell; then only who is always there.
 */
static bool find_neighbours(struct clients *clients)
{
    static const struct rules_network always[] = {
        {.address = {{[15] = 1}}, .length = 128},
        {.address = {{[10] = 0xff, [11] = 0xff, [12] = 127}}, .length = RULES_IPV4_BITS + 8},
        {.address = {{0xfe, 0x80}}, .length = 10},
    };
    for (size_t i = 0; i < sizeof(always) / sizeof(always[0]); i++)
        add_client(clients, &always[i]);
    struct netlink *netlink = netlink_open();
    bool found = netlink != NULL && netlink_addresses(netlink, see_address, clients) == 0;
    netlink_close(netlink);
    if (clients->count == CLIENTS_NETWORKS)
        log_warning(
            "this machine has more than %d networks; hosts of some may not ask: name those that may in "
            "dns64.clients",
            CLIENTS_NETWORKS);
    return found;
}

static bool set_clients(const struct config_dns64 *dns64, struct clients *clients)
{
    bool known = true;
    *clients = (struct clients){.count = dns64->client_count, .rate = dns64->rate};
    memcpy(clients->networks, dns64->clients, dns64->client_count * sizeof(clients->networks[0]));
    if (dns64->client_count == 0)
        known = find_neighbours(clients);
    clients_seal(clients);
    return known;
}

static void set_prefixes(const struct config *config, struct dns_rules *rules)
{
    const struct config_dns64 *dns64 = config->dns64;
    rules->prefix_count = dns64->prefix_count;
    memcpy(rules->prefixes, dns64->prefixes, dns64->prefix_count * sizeof(rules->prefixes[0]));
    if (dns64->prefix_count > 0)
        return;
    for (uint32_t i = 0; i < config->settings.nat64_count; i++)
        rules->prefixes[rules->prefix_count++] =
            (struct rules_prefix){.prefix = config->settings.nat64[i].prefix,
                                  .client_count = 1,
                                  .clients = {everybody},
                                  .ipv4_count = 1,
                                  .ipv4 = {all_of_ipv4}};
}

/* Everything but the clients. False: memory is short. */
static bool set_rules(const struct config *config, struct dns_rules *rules)
{
    const struct config_dns64 *dns64 = config->dns64;
    set_prefixes(config, rules);
    rules->excluded_count = dns64->excluded_count;
    memcpy(rules->excluded, dns64->excluded, dns64->excluded_count * sizeof(rules->excluded[0]));
    rules->negative_ttl = dns64->negative_ttl;
    rules->name_count = dns64->name_count;
    if (dns64->name_count > 0) {
        rules->names = calloc(dns64->name_count, sizeof(rules->names[0]));
        if (rules->names == NULL)
            return false;
        memcpy(rules->names, dns64->names, dns64->name_count * sizeof(rules->names[0]));
    }
    rules_seal(rules);
    return true;
}

void dns_discard(struct server_rules *rules)
{
    if (rules == NULL)
        return;
    free(rules->rules.names);
    free(rules);
}

struct server_rules *dns_prepare(const struct config *config)
{
    struct server_rules *rules = calloc(1, sizeof(*rules));
    if (rules == NULL)
        return NULL;
    if (!set_rules(config, &rules->rules)) {
        dns_discard(rules);
        return NULL;
    }
    if (!set_clients(config->dns64, &rules->clients))
        log_warning("cannot list this machine's addresses; only this machine may ask for names until they "
                    "change");
    return rules;
}

/* --- what others want to know ---------------------------------------------------------------------- */

static bool is_loopback(const struct ipv6_address *address)
{
    static const struct ipv6_address loopback = {{[15] = 1}};
    return ipv6_equal(address, &loopback);
}

struct advertise_servers dns_advertised(const struct config *config)
{
    static const struct ipv6_address unspecified;
    struct advertise_servers servers = {.any = false};
    for (uint32_t i = 0; config->dns64 != NULL && i < config->dns64->listen_count; i++) {
        const struct config_endpoint *listen = &config->dns64->listen[i];
        if (listen->port != DNS_PORT || is_mapped(&listen->address) || is_loopback(&listen->address))
            continue;
        if (ipv6_equal(&listen->address, &unspecified))
            servers.any = true;
        else if (servers.count < sizeof(servers.addresses) / sizeof(servers.addresses[0]))
            servers.addresses[servers.count++] = listen->address;
    }
    return servers;
}

void dns_print_listens(const struct config_dns64 *dns64, char *text, size_t size)
{
    size_t length = 0;
    text[0] = 0;
    for (uint32_t i = 0; i < dns64->listen_count && length + ENDPOINT_TEXT < size; i++) {
        char address[INET6_ADDRSTRLEN];
        bool ipv4 = is_mapped(&dns64->listen[i].address);
        print_address(&dns64->listen[i].address, address);
        length += (size_t)snprintf(text + length, size - length, ipv4 ? "%s%s:%u" : "%s[%s]:%u",
                                   i == 0 ? "" : ", ", address, dns64->listen[i].port);
    }
}

struct dns_memory dns_memory(const struct config *config)
{
    struct server_options options;
    uint32_t workers = config->plane.workers;
    set_options(config, workers, &options);
    size_t each = RESOLVER_MEMORY;
    if (config->dns64->validate)
        each += RESOLVER_MEMORY / 4; /* of its second part, for those who want no checking */
    return (struct dns_memory){.server = server_memory(&options), .resolvers = each * workers};
}

/* Who may not read the file may still have the rest checked: the daemon reads it with the rights of its
 * start. */
bool dns_check(const struct config *config, char *error, size_t size)
{
    const struct config_dns64 *dns64 = config->dns64;
    if (dns64 == NULL || !dns64->validate)
        return true;
    const char *path = dns64->trust_anchors[0] != 0 ? dns64->trust_anchors : resolver_anchors();
    if (path == NULL) {
        snprintf(
            error, size,
            "dns64.trust-anchors: this machine has no file of trust anchors; install dns-root-data, name "
            "a file, or set dns64.dnssec to off");
        return false;
    }
    const char *fault = resolver_anchors_fault(path);
    if (fault == NULL || (access(path, R_OK) != 0 && errno == EACCES))
        return true;
    snprintf(error, size,
             "dns64.trust-anchors: %s: %s; name a file of trust anchors, or set dns64.dnssec to off", path,
             fault);
    return false;
}

/* --- life ----------------------------------------------------------------------------------------- */

/* Connections take a descriptor each, and resolving takes many; the usual limit is for older programs. */
static void raise_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

static struct server *open_server(const struct dns_options *options, struct server_rules *rules, char *error,
                                  size_t size)
{
    struct server_options *wanted = calloc(1, sizeof(*wanted));
    if (wanted == NULL) {
        snprintf(error, size, "out of memory; free some and try again");
        return NULL;
    }
    set_options(options->config, options->workers, wanted);
    wanted->seen = options->seen;
    wanted->seen_context = options->seen_context;
    struct server *server = server_open(wanted, rules, dns_discard, error, size);
    free(wanted);
    return server;
}

struct dns *dns_open(const struct dns_options *options, char *error, size_t size)
{
    struct dns *dns = calloc(1, sizeof(*dns));
    struct server_rules *rules = dns == NULL ? NULL : dns_prepare(options->config);
    if (rules == NULL) {
        snprintf(error, size, "out of memory; free some and try again");
        free(dns);
        return NULL;
    }
    raise_descriptors();
    dns->config = options->config;
    dns->clients = rules->clients;
    error[0] = 0;
    dns->server = open_server(options, rules, error, size);
    if (dns->server == NULL) {
        dns_discard(rules);
        free(dns);
        return NULL;
    }
    if (error[0] != 0)
        log_warning("%s", error);
    dns->events = netlink_watch_addresses();
    if (dns->events != NULL)
        return dns;
    snprintf(error, size, "cannot follow this machine's addresses: %s", strerror(errno));
    dns_stop(dns);
    dns_close(dns);
    return NULL;
}

void dns_change(struct dns *dns, const struct config *config, struct server_rules *rules)
{
    struct clients clients = rules->clients;
    int problem = server_change(dns->server, rules);
    dns->config = config; /* of the old one nothing is left soon */
    if (problem == 0) {
        dns->clients = clients;
        return;
    }
    log_warning("cannot change how names are answered: %s; reload the configuration again",
                strerror(problem));
    dns_discard(rules);
}

static bool same_clients(const struct clients *a, const struct clients *b)
{
    return a->count == b->count && a->rate == b->rate &&
           memcmp(a->networks, b->networks, a->count * sizeof(a->networks[0])) == 0;
}

/* Other networks, other rules; for want of memory the old ones stay. */
static void follow_addresses(struct dns *dns)
{
    struct clients *clients = calloc(1, sizeof(*clients));
    if (clients != NULL && set_clients(dns->config->dns64, clients) &&
        !same_clients(clients, &dns->clients)) {
        struct server_rules *rules = dns_prepare(dns->config);
        if (rules != NULL)
            dns_change(dns, dns->config, rules);
    }
    free(clients);
}

static void on_settled(uv_timer_t *handle);

static void on_changed(uv_poll_t *handle, int status, int events)
{
    struct dns *dns = handle->data;
    (void)status;
    (void)events;
    uv_poll_stop(handle);
    uv_timer_start(&dns->settle, on_settled, SETTLE_MILLISECONDS, 0);
}

/* What has been heard by now is thrown away before the look; what changes from here on is heard. */
static void on_settled(uv_timer_t *handle)
{
    struct dns *dns = handle->data;
    netlink_drain(dns->events);
    if (dns->config->dns64->client_count == 0)
        follow_addresses(dns);
    if (uv_poll_start(&dns->changed, UV_READABLE, on_changed) != 0)
        uv_timer_start(handle, on_settled, SETTLE_MILLISECONDS, 0);
}

int dns_start(struct dns *dns, uv_loop_t *loop)
{
    int status = uv_timer_init(loop, &dns->settle);
    dns->settle.data = dns->changed.data = dns;
    if (status == 0)
        status = uv_poll_init(loop, &dns->changed, netlink_fd(dns->events));
    if (status == 0)
        status = uv_translate_sys_error(server_start(dns->server));
    if (status == 0)
        on_settled(&dns->settle); /* it may have been a while since they were opened */
    return status;
}

struct server *dns_server(const struct dns *dns)
{
    return dns->server;
}

void dns_stop(struct dns *dns)
{
    server_close(dns->server);
    dns->server = NULL;
}

void dns_close(struct dns *dns)
{
    if (dns == NULL)
        return;
    server_close(dns->server);
    netlink_close(dns->events);
    free(dns);
}
