/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The configuration, mostly by example: each test/control/config/NAME.in is read and has either a NAME.ok,
 * the canonical text that must come out, or a NAME.err, the message. What is left is tested below: values
 * that arrive in the struct, files that cannot be read, what a reload may change, and that the manual page
 * tells the truth.
 */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "control/config.h"
#include "control/config_document.h"
#include "control/config_schema.h"

enum { PATH_SIZE = 1024 };

/* A file of the source tree. */
static const char *source_path(const char *name, char *out)
{
    snprintf(out, PATH_SIZE, "%s/%s", SOURCE_ROOT, name);
    return out;
}

/* A whole file, ended by a zero, or NULL; *length is without it. */
static char *read_text(const char *path, size_t *length)
{
    FILE *file = fopen(path, "rb");
    char *text = NULL;
    if (file == NULL)
        return NULL;
    text = calloc(1, CONFIG_BYTES_MAXIMUM + 1);
    assert_non_null(text);
    *length = fread(text, 1, CONFIG_BYTES_MAXIMUM, file);
    fclose(file);
    return text;
}

static char *print(const struct config *config)
{
    char *text = NULL;
    size_t length;
    FILE *out = open_memstream(&text, &length);
    assert_non_null(out);
    config_print(config, out);
    assert_int_equal(fclose(out), 0);
    return text;
}

static struct config *parse(const char *text)
{
    struct config_error error = {""};
    struct config *config = config_parse("test", text, strlen(text), &error);
    if (config == NULL)
        fail_msg("%s", error.text);
    return config;
}

/* What is printed is read as the same, and printed as the same. */
static void assert_round_trip(const struct config *config)
{
    struct config_error error;
    char *once = print(config);
    struct config *again = parse(once);
    char *twice = print(again);
    assert_string_equal(once, twice);
    assert_memory_equal(&config->geometry, &again->geometry, sizeof(config->geometry));
    assert_true(config_reloadable(config, again, &error));
    config_free(again);
    free(once);
    free(twice);
}

static bool is_input(const char *name)
{
    size_t length = strlen(name);
    return length > 3 && strcmp(name + length - 3, ".in") == 0;
}

/* The neighbour of NAME.in with another ending, or NULL. */
static char *read_neighbour(const char *path, const char *ending)
{
    char other[PATH_SIZE];
    size_t length;
    snprintf(other, sizeof(other), "%.*s%s", (int)strlen(path) - 3, path, ending);
    return read_text(other, &length);
}

/* Returns true for an example that is to be accepted. */
static bool run_example(const char *folder, const char *name)
{
    char path[PATH_SIZE + 256];
    struct config_error error = {""};
    size_t length = 0;
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    char *text = read_text(path, &length), *accepted = read_neighbour(path, ".ok"),
         *refused = read_neighbour(path, ".err");
    if (text == NULL || (accepted == NULL) == (refused == NULL))
        fail_msg("%s needs either a .ok or a .err beside it", path);
    struct config *config = config_parse(name, text, length, &error);
    if (config != NULL) {
        char *printed = print(config);
        assert_string_equal(printed, accepted == NULL ? "to be refused" : accepted);
        assert_round_trip(config);
        free(printed);
    } else {
        if (refused == NULL)
            fail_msg("refused: %s", error.text);
        refused[strcspn(refused, "\n")] = 0;
        assert_string_equal(error.text, refused);
    }
    config_free(config);
    free(text);
    free(refused);
    bool was_accepted = accepted != NULL;
    free(accepted);
    return was_accepted;
}

/* rfc: 6052-2.2-c, 7757-4.2-b, 6146-3-a, 6146-3-b, 6146-3.5.1-d, 5508-REQ2-a, 6146-3.5.4-d */
static void test_examples(void **state)
{
    char folder[PATH_SIZE];
    int accepted = 0, refused = 0;
    const struct dirent *entry;
    DIR *directory = opendir(source_path("test/control/config", folder));
    (void)state;
    assert_non_null(directory);
    while ((entry = readdir(directory)) != NULL)
        if (is_input(entry->d_name)) {
            bool was_accepted = run_example(folder, entry->d_name);
            accepted += was_accepted;
            refused += !was_accepted;
        }
    closedir(directory);
    assert_in_range(accepted, 8, 1000);
    assert_in_range(refused, 90, 1000);
}

static void test_shipped_file(void **state)
{
    char path[PATH_SIZE];
    struct config_error error = {""};
    struct config *config = config_load(source_path("packaging/isthmus.yaml", path), &error);
    (void)state;
    assert_string_equal(error.text, "");
    assert_non_null(config);
    assert_round_trip(config);
    const struct nat64_settings *nat64 = &config->settings.nat64[0];
    const uint8_t prefix[16] = {0x20, 0x01, 0x0d, 0xb8, 0x00, 0x64};
    const uint8_t client[16] = {0x20, 0x01, 0x0d, 0xb8, 0x00, 0x01, [15] = 2};
    assert_int_equal(config->settings.nat64_count, 1);
    assert_string_equal(config->plane.name, "isthmus0");
    assert_memory_equal(nat64->prefix.address.bytes, prefix, 16);
    assert_int_equal(nat64->prefix.length, 96);
    assert_int_equal(from_be32(nat64->address4), 0xcb007101);
    assert_int_equal(nat64->pool_count, 1);
    assert_int_equal(from_be32(nat64->pool[0].first), 0xc0000210);
    assert_int_equal(nat64->pool[0].count, 16);
    assert_int_equal(nat64->static_count, 1);
    assert_memory_equal(nat64->statics[0].ipv6.bytes, client, 16);
    assert_int_equal(from_be16(nat64->statics[0].port6), 80);
    assert_int_equal(from_be32(nat64->statics[0].ipv4), 0xc0000210);
    assert_int_equal(from_be16(nat64->statics[0].port4), 80);
    assert_int_equal(nat64->statics[0].transport, TRANSPORT_TCP);
    config_free(config);
}

/* All defaults of the shipped file are those that would hold without it. */
static void test_shipped_file_states_defaults(void **state)
{
    char path[PATH_SIZE];
    struct config_error error = {""};
    struct config *shipped = config_load(source_path("packaging/isthmus.yaml", path), &error);
    struct config *least =
        parse("nat64:\n"
              "  - prefix: 2001:db8:64::/96\n"
              "    address: {ipv6: \"2001:db8:1::1\", ipv4: 203.0.113.1}\n"
              "    pool: [{address: 192.0.2.16/28}]\n"
              "    static:\n"
              "      - {protocol: tcp, ipv6: \"[2001:db8:1::2]:80\", ipv4: \"192.0.2.16:80\"}\n");
    (void)state;
    assert_non_null(shipped);
    char *one = print(shipped), *other = print(least);
    assert_string_equal(one, other);
    free(one);
    free(other);
    config_free(shipped);
    config_free(least);
}

/* Takes the "# " from the lines of a section, which begins with `key` and ends with an empty line. */
static void uncomment(char *text, const char *key)
{
    char *line = strstr(text, key);
    assert_non_null(line);
    while (line[0] == '#') {
        size_t mark = line[1] == ' ' ? 2 : 1;
        memmove(line, line + mark, strlen(line + mark) + 1);
        line = strchr(line, '\n') + 1;
    }
}

/* Nor do the sections that are only shown say anything but defaults, where they name one. */
static void test_shipped_file_shows_defaults(void **state)
{
    static const char added[] = "dns64: {listen: [\"[::]:53\"]}\nra: [{interface: lan0}]\n";
    char path[PATH_SIZE];
    size_t length = 0;
    char *text = read_text(source_path("packaging/isthmus.yaml", path), &length);
    (void)state;
    assert_non_null(text);
    char *shown = calloc(1, length + 1), *least = calloc(1, length + sizeof(added));
    assert_non_null(shown);
    assert_non_null(least);
    memcpy(shown, text, length);
    memcpy(least, text, length);
    memcpy(least + length, added, sizeof(added));
    uncomment(shown, "# dns64:\n");
    uncomment(shown, "# ra:\n");
    struct config *one = parse(shown), *other = parse(least);
    char *one_text = print(one), *other_text = print(other);
    assert_string_equal(one_text, other_text);
    free(one_text);
    free(other_text);
    config_free(one);
    config_free(other);
    free(shown);
    free(least);
    free(text);
}

static const char smallest[] = "nat64: [{prefix: 64:ff9b::/96, pool: [{address: 192.0.2.1}]}]\n";

/* rfc: 6146-3.5.1-c, 6146-3.5.2.2-i, 6146-4-a */
static void test_defaults(void **state)
{
    struct config *config = parse(smallest);
    const struct nat64_settings *nat64 = &config->settings.nat64[0];
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    (void)state;
    assert_int_equal(config->plane.type, PLANE_AUTO);
    assert_int_equal(config->plane.workers, processors < WORKERS_MAXIMUM ? processors : WORKERS_MAXIMUM);
    assert_int_equal(config->plane.mtu6, 0);
    assert_true(config->plane.routes);
    assert_int_equal(config->plane.interface_count, 0);
    assert_int_equal(config->plane.forward, FORWARD_DIRECT);
    assert_string_equal(config->plane.pins, "/sys/fs/bpf/isthmus");
    assert_string_equal(nat64->name, "main");
    assert_true(rfc6052_is_well_known(&nat64->prefix));
    assert_int_equal(nat64->address4, 0);
    assert_int_equal(nat64->pool[0].low, 1024);
    assert_int_equal(nat64->pool[0].high, 65535);
    assert_int_equal(nat64->pool[0].transports, (1 << TRANSPORT_COUNT) - 1);
    assert_int_equal(nat64->static_count, 0);
    assert_false(nat64->translate_non_global);
    assert_int_equal(nat64->timeouts.udp, UDP_DEFAULT_SECONDS);
    assert_int_equal(nat64->timeouts.icmp, ICMP_DEFAULT_SECONDS);
    assert_int_equal(nat64->timeouts.tcp_established, TCP_ESTABLISHED_SECONDS);
    assert_int_equal(nat64->timeouts.tcp_transitory, TCP_TRANSITORY_SECONDS);
    assert_int_equal(nat64->sessions, 262144);
    assert_int_equal(nat64->subscriber_prefix, SUBSCRIBER_PREFIX_DEFAULT);
    assert_int_equal(nat64->sessions_per_subscriber, SUBSCRIBER_SESSIONS_DEFAULT);
    assert_false(nat64->counters);
    assert_int_equal(config->geometry.counters, 0);
    assert_int_equal(config->settings.translation.tos, -1);
    assert_true(config->settings.translation.amend_udp_checksum_zero);
    assert_false(config->settings.translation.zeroize_traffic_class);
    assert_int_equal(config->settings.translation.icmp_errors_per_second, 1000);
    assert_string_equal(config->control.socket, "/run/isthmus/control.sock");
    assert_string_equal(config->control.user, "isthmus");
    config_free(config);
}

static void test_geometry_is_the_sum(void **state)
{
    struct config *config = parse(
        "plane: {workers: 3}\n"
        "nat64:\n"
        "  - {name: a, prefix: 2001:db8:1::/96, pool: [{address: 192.0.2.1}], limits: {sessions: 100}}\n"
        "  - {name: b, prefix: 2001:db8:2::/96, pool: [{address: 192.0.2.2}], limits: {addresses: 5}}\n");
    (void)state;
    assert_int_equal(config->geometry.sessions, 262244);
    assert_int_equal(config->geometry.addresses, 69);
    assert_int_equal(config->geometry.workers, 3);
    assert_int_equal(config->nat64_addresses[0], 64);
    assert_int_equal(config->nat64_addresses[1], 5);
    config_free(config);
}

/* One that counts is enough for the table to have room for it. */
static void test_counters_and_subscribers(void **state)
{
    struct config *config =
        parse("nat64:\n"
              "  - {name: a, prefix: 2001:db8:1::/96, pool: [{address: 192.0.2.1}], counters: true,\n"
              "     limits: {subscriber-prefix: 56, sessions-per-subscriber: 1048575}}\n"
              "  - {name: b, prefix: 2001:db8:2::/96, pool: [{address: 192.0.2.2}],\n"
              "     limits: {sessions-per-subscriber: 0}}\n");
    const struct nat64_settings *nat64 = config->settings.nat64;
    (void)state;
    assert_int_equal(config->geometry.counters, 1);
    assert_true(nat64[0].counters);
    assert_false(nat64[1].counters);
    assert_int_equal(nat64[0].subscriber_prefix, 56);
    assert_int_equal(nat64[1].subscriber_prefix, 64);
    assert_int_equal(nat64[0].sessions_per_subscriber, SUBSCRIBER_SESSIONS_MAXIMUM);
    assert_int_equal(nat64[1].sessions_per_subscriber, 0);
    config_free(config);
}

/* rfc: 8781-4.1-e */
static void test_advertisements(void **state)
{
    struct config *config = parse("nat64: [{prefix: 64:ff9b::/96, pool: [{address: 192.0.2.1}]}]\n"
                                  "ra:\n"
                                  "  - {interface: lan0}\n"
                                  "  - {interface: lan1, pref64: 2001:db8:64::/96, lifetime: 3601s, rdnss: "
                                  "false, default-route: true}\n");
    const struct config_ra *ra = config->ra;
    (void)state;
    assert_int_equal(config->ra_count, 2);
    assert_string_equal(ra[0].interface, "lan0");
    assert_int_equal(ra[0].pref64.length, 0);
    assert_int_equal(ra[0].lifetime, 600);
    assert_true(ra[0].rdnss);
    assert_false(ra[0].default_route);
    assert_string_equal(ra[1].interface, "lan1");
    assert_int_equal(ra[1].pref64.length, 96);
    assert_int_equal(ra[1].pref64.address.bytes[5], 0x64);
    assert_int_equal(ra[1].lifetime, 3601);
    assert_false(ra[1].rdnss);
    assert_true(ra[1].default_route);
    config_free(config);
}

static void test_name_service(void **state)
{
    struct config *config = parse(smallest);
    (void)state;
    assert_null(config->dns64);
    config_free(config);
    config = parse("nat64: [{prefix: 64:ff9b::/96, pool: [{address: 192.0.2.1}]}]\ndns64: {}\n");
    const struct config_dns64 *dns64 = config->dns64;
    const uint8_t loopback[16] = {[15] = 1}, mapped[16] = {[10] = 0xff, [11] = 0xff};
    assert_int_equal(dns64->listen_count, 1);
    assert_memory_equal(dns64->listen[0].address.bytes, loopback, 16);
    assert_int_equal(dns64->listen[0].port, 53);
    assert_int_equal(dns64->upstream_count, 0);
    assert_true(dns64->validate);
    assert_string_equal(dns64->trust_anchors, "");
    assert_int_equal(dns64->prefix_count, 0);
    assert_int_equal(dns64->excluded_count, 1); /* rfc: 6147-5.1.4-b */
    assert_memory_equal(dns64->excluded[0].address.bytes, mapped, 16);
    assert_int_equal(dns64->excluded[0].length, 96);
    assert_int_equal(dns64->name_count, 0);
    assert_int_equal(dns64->cache_entries, 100000);
    assert_int_equal(dns64->negative_ttl, 300);
    assert_int_equal(dns64->client_count, 0);
    assert_int_equal(dns64->rate, 1000);
    assert_int_equal(dns64->tcp_connections, 1000);
    assert_int_equal(dns64->tcp_idle, 10);
    assert_false(dns64->serve_stale);
    config_free(config);
}

static void test_name_service_for_some(void **state)
{
    struct config *config = parse(
        "nat64: [{prefix: 64:ff9b::/96, pool: [{address: 192.0.2.1}]}]\n"
        "dns64:\n"
        "  upstream: [\"tls://192.0.2.53#dns.example\"]\n"
        "  dnssec: off\n"
        "  prefixes: [{prefix: 2001:db8:64::/96, ipv4: [10.0.0.0/8, 192.0.2.1]}, {prefix: 64:ff9b::/96}]\n"
        "  exclude-names: [b.example, A.Example]\n"
        "  clients: [\"2001:db8::/32\"]\n");
    const struct config_dns64 *dns64 = config->dns64;
    struct dns_name name;
    (void)state;
    assert_int_equal(dns64->upstream_count, 1);
    assert_true(dns64->upstream[0].tls);
    assert_int_equal(dns64->upstream[0].at.port, 853);
    assert_string_equal(dns64->upstream[0].name, "dns.example");
    assert_false(dns64->validate);
    assert_int_equal(dns64->prefix_count, 2);
    assert_int_equal(dns64->prefixes[0].prefix.address.bytes[5], 0x64);
    assert_int_equal(dns64->prefixes[0].ipv4_count, 2);
    assert_int_equal(dns64->prefixes[0].ipv4[0].length, 96 + 8);
    assert_int_equal(dns64->prefixes[0].ipv4[1].length, 128);
    assert_int_equal(dns64->prefixes[0].client_count, 1);
    assert_int_equal(dns64->prefixes[0].clients[0].length, 0);
    assert_int_equal(dns64->prefixes[1].ipv4[0].length, 96);
    assert_int_equal(dns64->name_count, 2);
    assert_true(dns_name_parse(&name, "a.example."));
    assert_memory_equal(dns64->names[1].wire, name.wire, name.length);
    assert_int_equal(dns64->client_count, 1);
    assert_int_equal(dns64->clients[0].length, 32);
    config_free(config);
}

static void assert_load_fails(const char *path, const char *reason)
{
    struct config_error error = {""};
    assert_null(config_load(path, &error));
    assert_int_equal(strncmp(error.text, path, strlen(path)), 0);
    if (strstr(error.text, reason) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", error.text, reason);
}

static void test_files_that_cannot_be_read(void **state)
{
    (void)state;
    assert_load_fails("/nonexistent/isthmus.yaml", "No such file or directory");
    assert_load_fails("/proc", "Is a directory");
    assert_load_fails("/dev/null", "empty");
    assert_load_fails("/dev/zero", "larger than 1 MiB");
}

static void test_size_ceiling(void **state)
{
    struct config_error error = {""};
    size_t length = sizeof(smallest) - 1;
    char *text = malloc(CONFIG_BYTES_MAXIMUM + 1);
    (void)state;
    assert_non_null(text);
    memset(text, '\n', CONFIG_BYTES_MAXIMUM + 1);
    memcpy(text, smallest, length);
    struct config *config = config_parse("large", text, CONFIG_BYTES_MAXIMUM, &error);
    assert_non_null(config);
    assert_null(config_parse("large", text, CONFIG_BYTES_MAXIMUM + 1, &error));
    assert_non_null(strstr(error.text, "1 MiB"));
    config_free(config);
    free(text);
}

/* Wherever a file is cut off, it is read or refused with a position, and nothing leaks. */
static void test_every_truncation(void **state)
{
    char path[PATH_SIZE];
    size_t length = 0, refused = 0;
    char *text = read_text(source_path("test/control/config/002-everything.in", path), &length);
    (void)state;
    assert_non_null(text);
    for (size_t cut = 0; cut < length; cut++) {
        struct config_error error = {""};
        char *exact = malloc(cut + 1); /* without a zero behind it */
        assert_non_null(exact);
        memcpy(exact, text, cut);
        struct config *config = config_parse("cut", exact, cut, &error);
        refused += config == NULL;
        assert_true(config != NULL || strncmp(error.text, "cut:", 4) == 0);
        config_free(config);
        free(exact);
    }
    assert_in_range(refused, length / 4, length);
    free(text);
}

/* A long name and a long value leave a message of one line that still ends inside its buffer. */
static void test_long_messages_stay_whole(void **state)
{
    char name[400], text[600];
    struct config_error error;
    (void)state;
    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = 0;
    snprintf(text, sizeof(text), "nat64: [{prefix: 64:ff9b::/96, \"%0500d\\n\": 1}]\n", 7);
    assert_null(config_parse(name, text, strlen(text), &error));
    assert_in_range(strlen(error.text), 250, sizeof(error.text) - 1);
    assert_null(strchr(error.text, '\n'));
    assert_non_null(strstr(error.text, "unknown key"));
}

/* The configuration that changes are made to. */
static const char before[] = "plane: {workers: 2}\n"
                             "nat64:\n"
                             "  - name: a\n"
                             "    prefix: 2001:db8:1::/96\n"
                             "    pool: [{address: 192.0.2.1}, {address: 192.0.2.2}]\n"
                             "  - {name: b, prefix: 2001:db8:2::/96, pool: [{address: 192.0.2.3}]}\n"
                             "translation: {tos: null}\n"
                             "control: {user: isthmus}\n";

/* Replaces the first `old` of `before`; NULL in `message`: a reload can do that. */
static void assert_change(const char *old, const char *new, const char *message)
{
    char text[1024];
    struct config_error error = {""};
    const char *at = strstr(before, old);
    assert_non_null(at);
    snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - before), before, new, at + strlen(old));
    struct config *one = parse(before), *other = parse(text);
    bool reloadable = config_reloadable(one, other, &error);
    assert_string_equal(error.text, message == NULL ? "" : message);
    assert_int_equal(reloadable, message == NULL);
    config_free(one);
    config_free(other);
}

static void test_reloadable(void **state)
{
    (void)state;
    assert_change("tos: null", "tos: 3, mss-clamp: false, icmp-errors-per-second: 0", NULL);
    assert_change("tos: null", "zeroize-traffic-class: true, amend-udp-checksum-zero: false", NULL);
    assert_change("    prefix",
                  "    timeouts: {udp: 10m, icmp: 2m, tcp-established: 1h, tcp-transitory: 1m, tcp-syn: "
                  "7s}\n    prefix",
                  NULL);
    assert_change(
        "    prefix",
        "    static: [{protocol: udp, ipv6: \"[2001:db8::1]:1\", ipv4: \"192.0.2.1:1\"}]\n    prefix", NULL);
    assert_change("    prefix", "    timeouts: {fragment: 30s}\n    prefix", NULL);
    assert_change("tos: null", "fragments: {packets: 64}", "translation.fragments.packets: needs restart");
    assert_change("tos: null", "fragments: {memory: 1MiB}", "translation.fragments.memory: needs restart");
    assert_change("workers: 2", "workers: 3", "plane.workers: needs restart");
    assert_change("workers: 2", "workers: 2, name: x", "plane.name: needs restart");
    assert_change("workers: 2", "workers: 2, mtu: {ipv4: 1400}", "plane.mtu.ipv4: needs restart");
    assert_change("workers: 2", "workers: 2, type: bpf", "plane.type: needs restart");
    assert_change("workers: 2", "workers: 2, pins: /sys/fs/bpf/lab", "plane.pins: needs restart");
    assert_change("workers: 2", "workers: 2, interfaces: [lan0], forward: stack", NULL);
    assert_change("2001:db8:1::/96", "2001:db8:3::/96", NULL);
    assert_change("name: b", "name: c", NULL);
    assert_change("192.0.2.2", "192.0.2.4", NULL);
    assert_change(", {address: 192.0.2.2}", "", NULL);
    assert_change("[{address: 192.0.2.3}]", "[{address: 192.0.2.3, ports: 2000-3000}]", NULL);
    assert_change("    prefix", "    limits: {sessions: 100}\n    prefix", NULL);
    assert_change("    prefix", "    limits: {sessions: 262145}\n    prefix",
                  "nat64[].limits.sessions: needs restart; their sum is 524289, and the table was made "
                  "for 524288; to do without, lower some");
    assert_change("[{address: 192.0.2.3}]", "[{address: 192.0.2.3}], limits: {addresses: 1}", NULL);
    assert_change("[{address: 192.0.2.3}]", "[{address: 192.0.2.3}], limits: {addresses: 65}",
                  "nat64[].limits.addresses: needs restart; their sum is 129, and the table was made for "
                  "128; to do without, lower some");
    assert_change("    prefix", "    filtering: address-dependent\n    prefix", NULL);
    assert_change("    prefix", "    limits: {sessions-per-subscriber: 7}\n    prefix", NULL);
    assert_change("    prefix", "    limits: {subscriber-prefix: 48}\n    prefix", NULL);
    assert_change("    prefix", "    non-global: translate\n    prefix", NULL);
    assert_change("    prefix", "    address: {ipv4: 192.0.2.1}\n    prefix", NULL);
    assert_change("  - {name: b, prefix: 2001:db8:2::/96, pool: [{address: 192.0.2.3}]}\n", "", NULL);
    assert_change("translation: {", "ra: [{interface: lan0}]\ntranslation: {", "ra: needs restart");
    assert_change("user: isthmus", "socket: /run/x", "control.socket: needs restart");
    assert_change("user: isthmus", "user: isthmus}\ndns64: {", "dns64: needs restart");
}

/* From one name service to another. */
static void assert_dns64_change(const char *one, const char *other, const char *message, const char *named)
{
    char text[1024], paths[1024] = "";
    struct config_error error = {""};
    struct config *configs[2];
    struct config_differences differences;
    for (int i = 0; i < 2; i++) {
        snprintf(text, sizeof(text), "%sdns64: {%s}\n", before, i == 0 ? one : other);
        configs[i] = parse(text);
    }
    config_compare(configs[0], configs[1], &differences);
    for (uint32_t i = 0; i < differences.count; i++)
        snprintf(paths + strlen(paths), sizeof(paths) - strlen(paths), "%s ", differences.path[i]);
    assert_string_equal(paths, named);
    assert_int_equal(config_reloadable(configs[0], configs[1], &error), message == NULL);
    assert_string_equal(error.text, message == NULL ? "" : message);
    config_free(configs[0]);
    config_free(configs[1]);
}

static void test_reloadable_name_service(void **state)
{
    (void)state;
    assert_dns64_change("", "", NULL, "");
    assert_dns64_change("", "prefixes: [{prefix: 2001:db8:64::/96}]", NULL, "dns64.prefixes ");
    assert_dns64_change("prefixes: [{prefix: 2001:db8:64::/96}]",
                        "prefixes: [{prefix: 2001:db8:64::/96, clients: [\"::1\"], ipv4: [10.0.0.0/8]}]",
                        NULL, "dns64.prefixes[0].clients dns64.prefixes[0].ipv4 ");
    assert_dns64_change("exclude-names: [a, b]", "exclude-names: [a, c], exclude-aaaa: []", NULL,
                        "dns64.exclude-aaaa dns64.exclude-names ");
    assert_dns64_change("", "cache: {negative-ttl: 1m}, clients: [\"::1\"], rate-limit: {per-client: 7}",
                        NULL, "dns64.cache.negative-ttl dns64.clients dns64.rate-limit.per-client ");
    assert_dns64_change("", "listen: [\"::2\"]", "dns64.listen: needs restart", "dns64.listen ");
    assert_dns64_change("upstream: [192.0.2.53]", "upstream: [192.0.2.53, 192.0.2.54]",
                        "dns64.upstream: needs restart", "dns64.upstream ");
    assert_dns64_change("", "dnssec: off", "dns64.dnssec: needs restart", "dns64.dnssec ");
    assert_dns64_change("", "trust-anchors: /x", "dns64.trust-anchors: needs restart",
                        "dns64.trust-anchors ");
    assert_dns64_change("", "cache: {entries: 1}", "dns64.cache.entries: needs restart",
                        "dns64.cache.entries ");
    assert_dns64_change("", "tcp: {idle: 1s}", "dns64.tcp.idle: needs restart", "dns64.tcp.idle ");
    assert_dns64_change("", "tcp: {connections: 1}", "dns64.tcp.connections: needs restart",
                        "dns64.tcp.connections ");
    assert_dns64_change("", "serve-stale: true", "dns64.serve-stale: needs restart", "dns64.serve-stale ");
}

/* Replaces the first `old` of `before`, and tells the keys that differ. */
static void assert_differences(const char *old, const char *new, const char *expected)
{
    char text[1024], paths[4096] = "";
    const char *at = strstr(before, old);
    assert_non_null(at);
    snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - before), before, new, at + strlen(old));
    struct config *one = parse(before), *other = parse(text);
    static struct config_differences differences;
    config_compare(one, other, &differences);
    for (uint32_t i = 0; i < differences.count && i < CONFIG_DIFFERENCES; i++)
        snprintf(paths + strlen(paths), sizeof(paths) - strlen(paths), "%s ", differences.path[i]);
    assert_string_equal(paths, expected);
    config_free(one);
    config_free(other);
}

static void test_differences_are_named(void **state)
{
    (void)state;
    assert_differences("tos: null", "tos: null", "");
    assert_differences("tos: null", "tos: 3, mss-clamp: false", "translation.tos translation.mss-clamp ");
    assert_differences("192.0.2.2", "192.0.2.4", "nat64[0].pool ");
    assert_differences(", {address: 192.0.2.2}", "", "nat64[0].pool ");
    assert_differences("2001:db8:2::/96", "2001:db8:3::/96", "nat64[1].prefix ");
    assert_differences("    prefix", "    limits: {sessions: 100, subscriber-prefix: 56}\n    prefix",
                       "nat64[0].limits.sessions nat64[0].limits.subscriber-prefix ");
    assert_differences("  - {name: b, prefix: 2001:db8:2::/96, pool: [{address: 192.0.2.3}]}\n", "",
                       "nat64 ");
    assert_differences("    prefix",
                       "    static: [{protocol: udp, ipv6: \"[2001:db8::1]:1\", ipv4: \"192.0.2.1:1\"}]\n"
                       "    prefix",
                       "nat64[0].static ");
}

/* Counting may begin and end at any time in a table that was made with room for it, and only there. */
static void test_counters_need_room(void **state)
{
    struct config_error error = {""};
    const char with[] = "nat64: [{prefix: 64:ff9b::/96, pool: [{address: 192.0.2.1}], counters: true}]\n";
    struct config *on = parse(with), *off = parse(smallest), *on_again = parse(with);
    (void)state;
    assert_change("    prefix", "    counters: true\n    prefix",
                  "nat64[0].counters: needs restart; the table was made without room for counts");
    assert_change("name: b", "name: b, counters: true",
                  "nat64[1].counters: needs restart; the table was made without room for counts");
    assert_true(config_reloadable(on, off, &error));
    assert_int_equal(off->geometry.counters, 1);
    assert_false(off->settings.nat64[0].counters);
    assert_true(config_reloadable(off, on_again, &error));
    assert_string_equal(error.text, "");
    config_free(on);
    config_free(off);
    config_free(on_again);
}

/* The part of the manual page that is about `path`, or NULL; *end is where the next begins. */
static const char *manual_section(const char *manual, const char *path, const char **end)
{
    char line[CONFIG_PATH_SIZE + 16];
    snprintf(line, sizeof(line), "\n.It Cm %s\n", path);
    const char *at = strstr(manual, line);
    if (at == NULL)
        return NULL;
    const char *next = strstr(at + 1, "\n.It "), *over = strstr(at + 1, "\n.El");
    *end = next != NULL && next < over ? next : over;
    return at;
}

static void assert_documented(const char *manual, const struct config_key *key)
{
    char wanted[VALUE_TEXT_SIZE];
    const char *end = NULL, *at = manual_section(manual, key->path, &end);
    if (at == NULL) {
        fail_msg("isthmus.yaml(5) does not describe %s", key->path);
        return;
    }
    snprintf(wanted, sizeof(wanted), key->fallback == NULL ? "\nRequired" : "\nDefault: %s", key->fallback);
    const char *found = strstr(at, wanted);
    if (found == NULL || found > end || (found[strlen(wanted)] != '.' && found[strlen(wanted)] != ','))
        fail_msg("isthmus.yaml(5) does not say \"%s\" of %s", wanted + 1, key->path);
}

static bool is_key(const char *path, size_t length)
{
    for (size_t i = 0; i < config_key_count; i++)
        if (strlen(config_keys[i].path) == length && strncmp(config_keys[i].path, path, length) == 0)
            return config_keys[i].rule.type != VALUE_REFUSED;
    return false;
}

/* Its examples are read without complaint. */
static void assert_examples(const char *manual)
{
    int count = 0;
    for (const char *at = manual; (at = strstr(at, "\n.Bd -literal")) != NULL; count++) {
        const char *begin = strchr(at + 1, '\n') + 1, *end = strstr(begin, "\n.Ed");
        struct config_error error = {""};
        struct config *config = config_parse("example", begin, (size_t)(end - begin) + 1, &error);
        assert_string_equal(error.text, "");
        config_free(config);
        at = end;
    }
    assert_in_range(count, 2, 100);
}

static void test_manual_page_covers_the_keys(void **state)
{
    char path[PATH_SIZE];
    size_t length, described = 0;
    char *manual = read_text(source_path("doc/isthmus.yaml.5", path), &length);
    (void)state;
    assert_non_null(manual);
    for (size_t i = 0; i < config_key_count; i++)
        if (config_keys[i].rule.type != VALUE_GROUP && config_keys[i].rule.type != VALUE_REFUSED &&
            strcmp(config_keys[i].path, "nat64") != 0 && strcmp(config_keys[i].path, "siit") != 0)
            assert_documented(manual, &config_keys[i]);
    for (const char *at = manual; (at = strstr(at, "\n.It Cm ")) != NULL; described++) {
        at += strlen("\n.It Cm ");
        size_t name = strcspn(at, "\n");
        if (strncmp(at, "null", name) != 0 && !is_key(at, name))
            fail_msg("isthmus.yaml(5) describes %.*s, which does not exist", (int)name, at);
    }
    assert_in_range(described, 30, CONFIG_KEYS_MAXIMUM);
    assert_examples(manual);
    free(manual);
}

/* No two rows are about the same key, and children are found below their parents only. */
static void test_table_of_keys(void **state)
{
    (void)state;
    for (size_t i = 0; i < config_key_count; i++) {
        assert_non_null(config_keys[i].help);
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(config_keys[i].path, config_keys[j].path);
    }
    assert_null(config_next_child(&config_keys[1], NULL));
    assert_string_equal(config_next_child(&config_root, NULL)->path, "plane");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_examples),
        cmocka_unit_test(test_shipped_file),
        cmocka_unit_test(test_shipped_file_states_defaults),
        cmocka_unit_test(test_shipped_file_shows_defaults),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_geometry_is_the_sum),
        cmocka_unit_test(test_counters_and_subscribers),
        cmocka_unit_test(test_advertisements),
        cmocka_unit_test(test_name_service),
        cmocka_unit_test(test_name_service_for_some),
        cmocka_unit_test(test_files_that_cannot_be_read),
        cmocka_unit_test(test_size_ceiling),
        cmocka_unit_test(test_every_truncation),
        cmocka_unit_test(test_long_messages_stay_whole),
        cmocka_unit_test(test_reloadable),
        cmocka_unit_test(test_reloadable_name_service),
        cmocka_unit_test(test_differences_are_named),
        cmocka_unit_test(test_counters_need_room),
        cmocka_unit_test(test_manual_page_covers_the_keys),
        cmocka_unit_test(test_table_of_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
