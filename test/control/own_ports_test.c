/* SPDX-License-Identifier: BSD-2-Clause */
/* Ports kept apart: lists as the kernel writes them, sockets as it tells of them, and real ones of both. */
#include "test/control/machine.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "control/own_ports.h"
#include "control/sysctl.h"

static struct config *config;
static struct pool_range ranges[2];

/* 203.0.113.1 of wan0: ports 40000-59999 of TCP and UDP, and identifiers from 1000 on. */
static int set_up(void **state)
{
    (void)state;
    config = calloc(1, sizeof(*config));
    assert_non_null(config);
    ranges[0] = (struct pool_range){.first = to_be32(0xcb007101),
                                    .count = 1,
                                    .low = 40000,
                                    .high = 59999,
                                    .transports = 1u << TRANSPORT_TCP | 1u << TRANSPORT_UDP,
                                    .interface = "wan0"};
    ranges[1] = ranges[0];
    ranges[1].low = 1000;
    ranges[1].high = 65535;
    ranges[1].transports = 1u << TRANSPORT_ICMP;
    config->settings.nat64_count = 1;
    config->settings.nat64[0].pool = ranges;
    config->settings.nat64[0].pool_count = 2;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    free(config);
    return 0;
}

static void expect_text(const struct port_set *ports, const char *text)
{
    char got[PORT_SET_TEXT];
    assert_true(port_set_print(ports, got, sizeof(got)));
    assert_string_equal(got, text);
}

static void test_lists(void **state)
{
    static const char *const same[] = {"", "1", "65535", "0-65535", "80,443,1000-1999", "1-62,64-127,129"};
    static const char *const wrong[] = {"65536", "1-", "-1", "2-1", "1,,2", "a", "1 2", "1-2-3"};
    struct port_set ports;
    (void)state;
    for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
        assert_true(port_set_read(&ports, same[i]));
        expect_text(&ports, same[i]);
    }
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_false(port_set_read(&ports, wrong[i]));
    assert_true(port_set_read(&ports, "10,5-9"));
    expect_text(&ports, "5-10");
    port_set_remove(&ports, 7, 8);
    expect_text(&ports, "5-6,9-10");
    port_set_add(&ports, 0, 6);
    expect_text(&ports, "0-6,9-10");
}

static void test_too_long_a_list(void **state)
{
    struct port_set ports = {{0}};
    char text[PORT_SET_TEXT];
    (void)state;
    for (uint32_t port = 1; port < 3000; port += 2)
        port_set_add(&ports, port, port);
    assert_false(port_set_print(&ports, text, sizeof(text)));
    assert_int_equal(reserved_ports_write(&ports), E2BIG);
}

static void test_ports_of_the_configuration(void **state)
{
    struct port_set ports;
    (void)state;
    own_ports(config, &ports);
    expect_text(&ports, "40000-59999");
    uint64_t sum = own_ports_sum(config);
    assert_true(sum != 0);
    ranges[0].high = 59998;
    assert_true(own_ports_sum(config) != sum);
    ranges[0].interface[0] = 0;
    assert_int_equal(own_ports_sum(config), 0);
}

/* Is there something in the way in this list, of one line? */
static bool is_free(const struct socket_list *list, const char *line, uint32_t *connections)
{
    char error[320], text[256];
    int length =
        snprintf(text, sizeof(text), "  sl  local_address rem_address   st tx_queue rx_queue\n%s\n", line);
    FILE *file = fmemopen(text, (size_t)length, "r");
    *connections = 0;
    bool free = own_ports_check_list(config, list, file, connections, error, sizeof(error));
    fclose(file);
    assert_true(free || strstr(error, "port 40000 is in use") != NULL);
    return free;
}

/* As the kernel of a machine whose numbers begin with the low byte writes them. */
static void test_sockets_in_the_way(void **state)
{
    static const struct socket_list tcp = {"TCP", TRANSPORT_TCP, false}, tcp6 = {"TCP", TRANSPORT_TCP, true},
                                    udp = {"UDP", TRANSPORT_UDP, false}, udp6 = {"UDP", TRANSPORT_UDP, true};
#define ANY6    "00000000000000000000000000000000"
#define MAPPED  "0000000000000000FFFF0000017100CB"
#define OTHERS6 "B80D0120000000000000000001000000"
#define LOCAL6  "00000000000000000000000001000000"
#define REST    " 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0"
    static const struct {
        const struct socket_list *list;
        const char *line;
        bool free;
        uint32_t connections;
    } rows[] = {
        {&tcp, "   0: 00000000:9C40 00000000:0000 0A" REST, false, 0},
        {&tcp, "   0: 017100CB:9C40 00000000:0000 0A" REST, false, 0},
        {&tcp, "   0: 0100007F:9C40 00000000:0000 0A" REST, true, 0},
        {&tcp, "   0: 00000000:9C3F 00000000:0000 0A" REST, true, 0},
        {&tcp, "   0: 00000000:EA60 00000000:0000 0A" REST, true, 0},
        {&tcp, "   0: 017100CB:9C40 076433C6:01BB 01" REST, true, 1},
        {&tcp, "   0: 0100007F:9C40 0100007F:01BB 01" REST, true, 0},
        {&udp, "1234: 00000000:9C40 00000000:0000 07" REST, false, 0},
        {&udp, "1234: 017100CB:9C40 076433C6:0035 01" REST, true, 1},
        {&udp, "1234: FB0000E0:9C40 00000000:0000 07" REST, true, 0},
        {&tcp6, "   0: " ANY6 ":9C40 " ANY6 ":0000 0A" REST, false, 0},
        {&tcp6, "   0: " MAPPED ":9C40 " MAPPED ":01BB 01" REST, true, 1},
        {&tcp6, "   0: " OTHERS6 ":9C40 " ANY6 ":0000 0A" REST, true, 0},
        {&tcp6, "   0: " LOCAL6 ":9C40 " ANY6 ":0000 0A" REST, true, 0},
        {&udp6, "   0: " MAPPED ":9C40 " ANY6 ":0000 07" REST, false, 0},
    };
    uint32_t connections;
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(is_free(rows[i].list, rows[i].line, &connections), rows[i].free);
        assert_int_equal(connections, rows[i].connections);
    }
    ranges[0].count = ranges[0].first = 0; /* while it has no address, only any address is in the way */
    assert_true(is_free(&tcp, rows[1].line, &connections));
    assert_false(is_free(&tcp, rows[0].line, &connections));
}

static int bind_socket(int family, int type, uint16_t port)
{
    int bound = socket(family, type | SOCK_CLOEXEC, 0);
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    int result =
        family == AF_INET ? bind(bound, (void *)&four, sizeof(four)) : bind(bound, (void *)&six, sizeof(six));
    assert_int_equal(result, 0);
    assert_true(type != SOCK_STREAM || listen(bound, 1) == 0);
    return bound;
}

static void test_real_sockets(void **state)
{
    static const struct {
        int family, type;
        uint16_t port;
        const char *sentence; /* NULL: it is not in the way */
    } rows[] = {
        {AF_INET, SOCK_STREAM, 45000, "TCP port 45000"},
        {AF_INET, SOCK_DGRAM, 45000, "UDP port 45000"},
        {AF_INET6, SOCK_STREAM, 45001, "TCP port 45001"},
        {AF_INET6, SOCK_DGRAM, 59999, "UDP port 59999"},
        {AF_INET, SOCK_STREAM, 22, NULL},
        {AF_INET6, SOCK_DGRAM, 60000, NULL},
    };
    char error[512];
    (void)state;
    machine_need();
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int bound = bind_socket(rows[i].family, rows[i].type, rows[i].port);
        assert_int_equal(own_ports_check(config, error, sizeof(error)), rows[i].sentence == NULL);
        assert_true(rows[i].sentence == NULL || strstr(error, rows[i].sentence) != NULL);
        close(bound);
    }
    assert_true(own_ports_check(config, error, sizeof(error)));
}

static void test_some_ports_are_left(void **state)
{
    struct port_set ports;
    char error[512];
    (void)state;
    machine_need();
    assert_int_equal(sysctl_write("net/ipv4/ip_local_port_range", "40000 60999"), 0);
    assert_true(own_ports_check(config, error, sizeof(error)));
    assert_true(port_set_read(&ports, "60000"));
    assert_int_equal(reserved_ports_write(&ports), 0);
    assert_false(own_ports_check(config, error, sizeof(error)));
    assert_non_null(strstr(error, "would have 999 ports left"));
    assert_non_null(strstr(error, "from 40000 to 60999"));
}

static void test_the_kernel_s_list(void **state)
{
    struct port_set ports;
    (void)state;
    machine_need();
    assert_true(port_set_read(&ports, "8080,40000-40999,41001-59999"));
    assert_int_equal(reserved_ports_write(&ports), 0);
    assert_int_equal(reserved_ports_read(&ports), 0);
    expect_text(&ports, "8080,40000-40999,41001-59999");
    assert_true(port_set_read(&ports, ""));
    assert_int_equal(reserved_ports_write(&ports), 0);
    assert_int_equal(reserved_ports_read(&ports), 0);
    expect_text(&ports, "");
}

#define CONFIGURED(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_too_long_a_list),
        CONFIGURED(test_ports_of_the_configuration),
        CONFIGURED(test_sockets_in_the_way),
        CONFIGURED(test_real_sockets),
        cmocka_unit_test(test_the_kernel_s_list),
        CONFIGURED(test_some_ports_are_left),
    };
    return cmocka_run_group_tests(tests, machine_enter, NULL);
}
