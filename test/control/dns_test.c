/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the server is told, and when it is told anew. The server itself is a fake that remembers; machines are
 * network namespaces.
 */
#include "test/control/machine.h"

#include <arpa/inet.h>

#include "control/dns.h"
#include "control/netlink.h"

/* The fake: the last server that was opened. */
static struct {
    struct server_options options;
    struct server_rules *rules;
    void (*free_rules)(struct server_rules *rules);
    unsigned changes;
    bool refuses, started, closed;
    int change_error;
} fake;

struct server *server_open(const struct server_options *options, struct server_rules *rules,
                           void (*free_rules)(struct server_rules *rules), char *error, size_t size)
{
    if (fake.refuses) {
        snprintf(error, size, "port in use");
        return NULL;
    }
    fake.options = *options;
    fake.rules = rules;
    fake.free_rules = free_rules;
    return (struct server *)(void *)&fake;
}

int server_start(struct server *server)
{
    assert_ptr_equal(server, &fake);
    fake.started = true;
    return 0;
}

int server_change(struct server *server, struct server_rules *rules)
{
    assert_ptr_equal(server, &fake);
    if (fake.change_error != 0)
        return fake.change_error;
    fake.free_rules(fake.rules);
    fake.rules = rules;
    fake.changes++;
    return 0;
}

size_t server_memory(const struct server_options *options)
{
    return 1000u * options->cache_entries + options->workers;
}

void server_close(struct server *server)
{
    if (server == NULL)
        return;
    fake.free_rules(fake.rules);
    fake.rules = NULL;
    fake.closed = true;
}

static struct config *parse(const char *dns64)
{
    char text[2048];
    struct config_error error = {""};
    snprintf(text, sizeof(text),
             "plane: {workers: 3}\n"
             "nat64:\n"
             "  - {name: a, prefix: 64:ff9b::/96, pool: [{address: 192.0.2.1}]}\n"
             "  - {name: b, prefix: 2001:db8:64::/48, pool: [{address: 192.0.2.2}]}\n"
             "dns64: {%s}\n",
             dns64);
    struct config *config = config_parse("test", text, strlen(text), &error);
    assert_string_equal(error.text, "");
    return config;
}

static struct dns *open_for(const struct config *config)
{
    const struct dns_options options = {.config = config, .workers = 3, .seen_context = &fake};
    char error[256] = "";
    memset(&fake, 0, sizeof(fake));
    struct dns *dns = dns_open(&options, error, sizeof(error));
    assert_string_equal(error, "");
    assert_non_null(dns);
    assert_ptr_equal(dns_server(dns), &fake);
    return dns;
}

static void end(struct dns *dns, struct config *config)
{
    dns_stop(dns);
    assert_true(fake.closed);
    dns_close(dns);
    config_free(config);
}

static struct ipv6_address address_of(const char *text)
{
    struct ipv6_address address;
    assert_int_equal(inet_pton(AF_INET6, text, address.bytes), 1);
    return address;
}

static void assert_listens(unsigned number, const char *address, uint16_t port)
{
    const struct sockaddr_in6 *listen = &fake.options.listens[number];
    char text[INET6_ADDRSTRLEN];
    assert_int_equal(listen->sin6_family, AF_INET6);
    assert_int_equal(ntohs(listen->sin6_port), port);
    assert_string_equal(inet_ntop(AF_INET6, &listen->sin6_addr, text, sizeof(text)), address);
}

static void options_are_translated(void **state)
{
    struct config *config =
        parse("listen: [\"::1\", \"[2001:db8::53]:5353\", \"192.0.2.53:54\", \"[::]:53\"],"
              "upstream: [\"tls://192.0.2.53#a.example\", \"tls://[2001:db8::53]:8853#b.example\"],"
              "trust-anchors: /etc/anchors, cache: {entries: 7}, tcp: {connections: 8, idle: 9s},"
              "serve-stale: true");
    struct dns *dns = open_for(config);
    (void)state;
    assert_int_equal(fake.options.listen_count, 4);
    assert_listens(0, "::1", 53);
    assert_listens(1, "2001:db8::53", 5353);
    assert_listens(2, "::ffff:192.0.2.53", 54);
    assert_listens(3, "::", 53);
    assert_int_equal(fake.options.workers, 3);
    assert_int_equal(fake.options.cache_entries, 7);
    assert_int_equal(fake.options.tcp_connections, 8);
    assert_int_equal(fake.options.tcp_idle, 9);
    assert_true(fake.options.serve_stale);
    assert_ptr_equal(fake.options.seen_context, &fake);
    assert_int_equal(fake.options.resolver.upstream_count, 2);
    assert_string_equal(fake.options.resolver.upstreams[0], "192.0.2.53@853#a.example");
    assert_string_equal(fake.options.resolver.upstreams[1], "2001:db8::53@8853#b.example");
    assert_true(fake.options.resolver.tls);
    assert_true(fake.options.resolver.validate);
    assert_string_equal(fake.options.resolver.trust_anchors, "/etc/anchors");
    assert_in_range(fake.options.resolver.memory, 1 << 20, 1 << 28);
    end(dns, config);
}

static void ports_of_clients_are_avoided(void **state)
{
    struct config *config = parse("");
    struct pool_range *range = config->settings.nat64[1].pool;
    (void)state;
    struct dns *dns = open_for(config);
    assert_int_equal(fake.options.resolver.avoided_count,
                     0); /* of addresses that are not the machine's own */
    end(dns, NULL);
    memcpy(range->interface, "wan0", sizeof("wan0"));
    range->low = 40000;
    range->high = 59999;
    dns = open_for(config);
    assert_int_equal(fake.options.resolver.avoided_count, 1);
    assert_int_equal(fake.options.resolver.avoided[0].low, 40000);
    assert_int_equal(fake.options.resolver.avoided[0].high, 59999);
    end(dns, config);
}

static void plain_upstreams(void **state)
{
    struct config *config = parse("upstream: [192.0.2.53, \"[2001:db8::53]:54\"], dnssec: off");
    struct dns *dns = open_for(config);
    (void)state;
    assert_string_equal(fake.options.resolver.upstreams[0], "192.0.2.53@53");
    assert_string_equal(fake.options.resolver.upstreams[1], "2001:db8::53@54");
    assert_false(fake.options.resolver.tls);
    assert_false(fake.options.resolver.validate);
    const char *usual = resolver_anchors();
    assert_string_equal(fake.options.resolver.trust_anchors, usual == NULL ? "" : usual);
    end(dns, config);
}

/* Without prefixes: those of nat64, for everybody and everything. */
static void prefixes_of_nat64_are_the_default(void **state)
{
    struct config *config = parse("");
    struct dns *dns = open_for(config);
    const struct dns_rules *rules = &fake.rules->rules;
    const struct ipv6_address six = address_of("2001:db8::1"), four = address_of("::ffff:192.0.2.9");
    struct ipv6_address embedded[RULES_PREFIXES];
    (void)state;
    assert_int_equal(rules->prefix_count, 2);
    assert_int_equal(rules_view_of(rules, &six), 3);
    assert_int_equal(rules_view_of(rules, &four), 3);
    assert_int_equal(rules_embed(rules, 3, to_be32(0x08080808), embedded), 2);
    assert_memory_equal(&embedded[0], address_of("64:ff9b::808:808").bytes, 16);
    assert_memory_equal(&embedded[1], address_of("2001:db8:64:808:8:800::").bytes, 16);
    assert_true(rules_excludes_address(rules, &four)); /* RFC 6147 section 5.1.4 */
    assert_false(rules_excludes_address(rules, &six));
    assert_int_equal(rules->negative_ttl, 300);
    end(dns, config);
}

static void rules_are_translated(void **state)
{
    struct config *config = parse(
        "prefixes: [{prefix: 2001:db8:1::/96, clients: [\"2001:db8::/32\"], ipv4: [10.0.0.0/8]},"
        "           {prefix: 2001:db8:2::/96}], exclude-aaaa: [\"2001:db8:bad::/48\"],"
        "exclude-names: [z.example, a.example], cache: {negative-ttl: 7s}, rate-limit: {per-client: 5}");
    struct dns *dns = open_for(config);
    const struct dns_rules *rules = &fake.rules->rules;
    const struct ipv6_address inside = address_of("2001:db8::1"), outside = address_of("2001:db9::1"),
                              bad = address_of("2001:db8:bad::1");
    struct ipv6_address embedded[RULES_PREFIXES];
    struct dns_name name;
    (void)state;
    assert_int_equal(rules_view_of(rules, &inside), 3);
    assert_int_equal(rules_view_of(rules, &outside), 2);
    assert_int_equal(rules_embed(rules, 3, to_be32(0x08080808), embedded), 1);
    assert_int_equal(rules_embed(rules, 3, to_be32(0x0a080808), embedded), 2);
    assert_true(rules_excludes_address(rules, &bad));
    assert_false(rules_excludes_address(rules, &inside));
    assert_true(dns_name_parse(&name, "www.A.example"));
    assert_true(rules_excludes_name(rules, &name));
    assert_true(dns_name_parse(&name, "b.example"));
    assert_false(rules_excludes_name(rules, &name));
    assert_int_equal(rules->negative_ttl, 7);
    assert_int_equal(fake.rules->clients.rate, 5);
    end(dns, config);
}

static bool allowed(const char *client)
{
    const struct ipv6_address address = address_of(client);
    return clients_allow(&fake.rules->clients, &address);
}

static void clients_that_are_named_are_all(void **state)
{
    struct config *config = parse("clients: [\"2001:db8::/32\", 10.0.0.0/8]");
    struct dns *dns = open_for(config);
    (void)state;
    assert_true(allowed("2001:db8::1"));
    assert_true(allowed("::ffff:10.1.1.1"));
    assert_false(allowed("::1"));
    assert_false(allowed("fe80::1"));
    assert_false(allowed("::ffff:127.0.0.1"));
    end(dns, config);
}

static void add_address(const char *text, unsigned index)
{
    struct network address;
    struct netlink *netlink = netlink_open();
    assert_non_null(netlink);
    assert_true(network_parse(text, &address));
    assert_int_equal(netlink_address_add(netlink, &address, index), 0);
    netlink_close(netlink);
}

/* A device that is up, with networks of both families. */
static int make_link(const char *name, const char *six, const char *four)
{
    int device = machine_device(name);
    unsigned index = if_nametoindex(name);
    struct netlink *netlink = netlink_open();
    assert_non_null(netlink);
    assert_int_equal(netlink_link_up(netlink, index), 0);
    netlink_close(netlink);
    add_address(six, index);
    add_address(four, index);
    return device;
}

static void neighbours_may_ask_by_default(void **state)
{
    machine_need();
    int device = make_link("one0", "2001:db8:1::1/64", "192.0.2.1/24");
    struct config *config = parse("");
    struct dns *dns = open_for(config);
    (void)state;
    assert_true(allowed("::1"));
    assert_true(allowed("::ffff:127.1.2.3"));
    assert_true(allowed("fe80::1"));
    assert_true(allowed("2001:db8:1::99"));
    assert_true(allowed("::ffff:192.0.2.99"));
    assert_false(allowed("2001:db8:2::99"));
    assert_false(allowed("::ffff:192.0.3.99"));
    assert_false(allowed("::ffff:8.8.8.8"));
    end(dns, config);
    close(device);
}

static void on_patience(uv_timer_t *handle)
{
    uv_stop(handle->loop);
}

/* Lets the loop do what comes within so many milliseconds. */
static void run_for(uv_loop_t *loop, unsigned milliseconds)
{
    uv_timer_t patience;
    uv_timer_init(loop, &patience);
    uv_timer_start(&patience, on_patience, milliseconds, 0);
    uv_run(loop, UV_RUN_DEFAULT);
    uv_close((uv_handle_t *)&patience, NULL);
    uv_run(loop, UV_RUN_NOWAIT);
}

/* Lets it go on until the client may ask, or may not; ten seconds at most, for links come and go slowly. */
static bool heard(uv_loop_t *loop, const char *client, bool wanted)
{
    for (unsigned tries = 0; tries < 50 && allowed(client) != wanted; tries++)
        run_for(loop, 200);
    return allowed(client) == wanted;
}

static void close_handle(uv_handle_t *handle, void *context)
{
    (void)context;
    uv_close(handle, NULL);
}

static void new_neighbours_are_heard_of(void **state)
{
    machine_need();
    uv_loop_t loop;
    struct config *config = parse("");
    struct dns *dns = open_for(config);
    (void)state;
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(dns_start(dns, &loop), 0);
    assert_true(fake.started);
    assert_int_equal(fake.changes, 0); /* as they were found at the opening */
    int device = make_link("two0", "2001:db8:2::1/64", "198.51.100.1/24");
    assert_true(heard(&loop, "2001:db8:2::99", true));
    assert_true(heard(&loop, "::ffff:198.51.100.99", true));
    run_for(&loop, 600);
    assert_in_range(fake.changes, 1, 3);
    unsigned changes = fake.changes;
    add_address("2001:db8:2::2/64", if_nametoindex("two0")); /* a network that is known */
    run_for(&loop, 600);
    assert_int_equal(fake.changes, changes);
    close(device);
    assert_true(heard(&loop, "2001:db8:2::99", false));
    uv_walk(&loop, close_handle, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    end(dns, config);
}

static void a_reload_brings_new_rules(void **state)
{
    struct config *config = parse("clients: [\"::1\"]");
    struct config *other = parse("clients: [\"::2\"], exclude-names: [a.example]");
    struct dns *dns = open_for(config);
    (void)state;
    dns_discard(dns_prepare(other));
    dns_discard(NULL);
    assert_true(allowed("::1"));
    struct server_rules *rules = dns_prepare(other);
    assert_non_null(rules);
    dns_change(dns, other, rules);
    assert_int_equal(fake.changes, 1);
    assert_false(allowed("::1"));
    assert_true(allowed("::2"));
    assert_int_equal(fake.rules->rules.name_count, 1);
    fake.change_error = ENOMEM; /* then the old ones stay, and nothing leaks */
    dns_change(dns, config, dns_prepare(config));
    assert_true(allowed("::2"));
    config_free(other);
    end(dns, config);
}

static void what_cannot_be_opened_leaves_nothing(void **state)
{
    struct config *config = parse("");
    const struct dns_options options = {.config = config, .workers = 1};
    char error[256] = "";
    (void)state;
    memset(&fake, 0, sizeof(fake));
    fake.refuses = true;
    assert_null(dns_open(&options, error, sizeof(error)));
    assert_string_equal(error, "port in use");
    dns_close(NULL);
    config_free(config);
}

static void hosts_are_told_what_they_can_reach(void **state)
{
    struct config *config = parse("listen: [\"::1\", 127.0.0.1, 192.0.2.53, \"[2001:db8::54]:5353\","
                                  "\"2001:db8::53\"]");
    struct advertise_servers servers = dns_advertised(config);
    (void)state;
    assert_false(servers.any);
    assert_int_equal(servers.count, 1);
    assert_memory_equal(&servers.addresses[0], address_of("2001:db8::53").bytes, 16);
    config_free(config);
    config = parse("listen: [\"[::]:53\", \"[::]:5353\", 0.0.0.0]");
    servers = dns_advertised(config);
    assert_true(servers.any);
    assert_int_equal(servers.count, 0);
    config_free(config);
    config = parse("listen: [\"[::]:5353\", 0.0.0.0]");
    servers = dns_advertised(config);
    assert_false(servers.any);
    config_free(config);
}

/* More than an advertisement has room for: the first are told. */
static void hosts_are_told_of_so_many_servers(void **state)
{
    char text[1024] = "listen: [";
    (void)state;
    for (int i = 1; i <= DNS64_LISTENS_MAXIMUM; i++)
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s\"2001:db8::%x\"", i == 1 ? "" : ", ",
                 i);
    strcat(text, "]");
    struct config *config = parse(text);
    struct advertise_servers servers = dns_advertised(config);
    assert_int_equal(servers.count, sizeof(servers.addresses) / sizeof(servers.addresses[0]));
    assert_memory_equal(&servers.addresses[0], address_of("2001:db8::1").bytes, 16);
    config_free(config);
}

static void where_it_listens_is_said(void **state)
{
    struct config *config = parse("listen: [\"::1\", \"192.0.2.53:54\"]");
    char text[512], short_text[80];
    (void)state;
    dns_print_listens(config->dns64, text, sizeof(text));
    assert_string_equal(text, "[::1]:53, 192.0.2.53:54");
    dns_print_listens(config->dns64, short_text, sizeof(short_text));
    assert_string_equal(short_text, "[::1]:53, 192.0.2.53:54");
    dns_print_listens(config->dns64, short_text, 70);
    assert_string_equal(short_text, "[::1]:53");
    config_free(config);
}

static void memory_is_added_up(void **state)
{
    struct config *config = parse("cache: {entries: 5}"), *plain = parse("cache: {entries: 5}, dnssec: off");
    (void)state;
    assert_int_equal(dns_memory(config).server, 5003);
    assert_int_equal(4 * dns_memory(config).resolvers, 5 * dns_memory(plain).resolvers);
    config_free(config);
    config_free(plain);
}

static void trust_anchors_must_be_there(void **state)
{
    struct config *config = parse("trust-anchors: /nonexistent/root.key");
    char error[512] = "";
    (void)state;
    assert_false(dns_check(config, error, sizeof(error)));
    assert_string_equal(error,
                        "dns64.trust-anchors: /nonexistent/root.key: No such file or directory; name a "
                        "file of trust anchors, or set dns64.dnssec to off");
    config_free(config);
    config = parse("trust-anchors: /nonexistent/root.key, dnssec: off");
    assert_true(dns_check(config, error, sizeof(error)));
    config_free(config);
    config = parse("trust-anchors: /dev/null");
    assert_false(dns_check(config, error, sizeof(error)));
    assert_string_equal(error, "dns64.trust-anchors: /dev/null: it has no DS or DNSKEY record; name a file "
                               "of trust anchors, or set dns64.dnssec to off");
    config_free(config);
    config = parse("trust-anchors: /tmp");
    assert_false(dns_check(config, error, sizeof(error)));
    assert_non_null(strstr(error, "/tmp: Is a directory; name a file"));
    config_free(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_are_translated),
        cmocka_unit_test(ports_of_clients_are_avoided),
        cmocka_unit_test(plain_upstreams),
        cmocka_unit_test(prefixes_of_nat64_are_the_default),
        cmocka_unit_test(rules_are_translated),
        cmocka_unit_test(clients_that_are_named_are_all),
        cmocka_unit_test(neighbours_may_ask_by_default),
        cmocka_unit_test(new_neighbours_are_heard_of),
        cmocka_unit_test(a_reload_brings_new_rules),
        cmocka_unit_test(what_cannot_be_opened_leaves_nothing),
        cmocka_unit_test(hosts_are_told_what_they_can_reach),
        cmocka_unit_test(hosts_are_told_of_so_many_servers),
        cmocka_unit_test(where_it_listens_is_said),
        cmocka_unit_test(memory_is_added_up),
        cmocka_unit_test(trust_anchors_must_be_there),
    };
    return cmocka_run_group_tests(tests, machine_enter, NULL);
}
