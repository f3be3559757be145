/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The kernel's plane from one daemon to the next: what is pinned, what is taken over and what is refused, and
 * what the programs do while there is no daemon. In a mount namespace with a bpffs of its own and a network
 * namespace, where all is routed to a device that nobody listens at.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "plane/bpf/pins.h"
#include "plane/bpf/plane.h"
#include "plane/bpf/shared.h"
#include "test/plane/private_bpffs.h"
#include "test/plane/rights.h"
#include "wire/bytes.h"

#define CURRENT "/current/"

enum {
    ETHERNET = 14,
    PACKET = 40 + 8 + 4, /* IPv6, UDP, payload */
    SHOT = 2,
    REDIRECT = 7,
    PINNED = 64,
};

/* A map, or a program. */
struct pinned {
    bool program;
    uint32_t id;
};

static struct {
    const char *base;
    char pins[96];
    unsigned device;
    struct settings settings;
    struct pool_range range;
    struct kernel_plane *kernel;
    struct engine *engine;
    struct plane_control *control;
    char note[256], error[256];
} lab;

/* --- a daemon ------------------------------------------------------------------------------------- */

static nanoseconds clock_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (nanoseconds)now.tv_sec * 1000000000u + (nanoseconds)now.tv_nsec;
}

static void describe_settings(void)
{
    struct nat64_settings *nat64 = &lab.settings.nat64[0];
    lab.range = (struct pool_range){.first = htonl(0xc0000201u),
                                    .count = 1,
                                    .low = 1024,
                                    .high = 65535,
                                    .transports = (1 << TRANSPORT_COUNT) - 1};
    lab.settings.nat64_count = 1;
    lab.settings.translation = (struct translation_settings){.tos = -1, .mtu6 = 1500, .mtu4 = 1500};
    nat64->prefix.length = 96;
    inet_pton(AF_INET6, "2001:db8:64::", nat64->prefix.address.bytes);
    nat64->sessions = 64;
    nat64->subscriber_prefix = SUBSCRIBER_PREFIX_DEFAULT;
    nat64->pool = &lab.range;
    nat64->pool_count = 1;
    nat64->timeouts = (struct nat64_timeouts){.udp = UDP_DEFAULT_SECONDS,
                                              .icmp = ICMP_DEFAULT_SECONDS,
                                              .tcp_established = TCP_ESTABLISHED_SECONDS,
                                              .tcp_transitory = TCP_TRANSITORY_SECONDS,
                                              .tcp_syn = TCP_INCOMING_SYN_SECONDS,
                                              .fragment = FRAGMENT_SECONDS};
}

static struct plane_control *open_control(void)
{
    struct plane_control *control = pinned_control_open(lab.pins);
    assert_non_null(control);
    return control;
}

static bool open_plane(uint32_t sessions, bool fresh)
{
    const struct kernel_options options = {.pins = lab.pins,
                                           .geometry = {.sessions = sessions, .addresses = 4, .workers = 1},
                                           .seed = 1,
                                           .fresh = fresh};
    lab.kernel = kernel_open(&options, lab.note, sizeof(lab.note), lab.error, sizeof(lab.error));
    return lab.kernel != NULL;
}

/* A daemon starts; returns how many sessions it goes on with. */
static uint32_t start_daemon(uint32_t sessions, bool fresh)
{
    struct engine_continued continued;
    if (!open_plane(sessions, fresh))
        fail_msg("%s", lab.error);
    kernel_pause(lab.kernel, lab.device);
    const struct engine_options options = {.table = kernel_table(lab.kernel),
                                           .previous = kernel_previous(lab.kernel),
                                           .waiting = kernel_waiting(lab.kernel),
                                           .settings = &lab.settings,
                                           .workers = 1,
                                           .seed = 2,
                                           .now = clock_now()};
    lab.engine = engine_create(&options, lab.error, sizeof(lab.error));
    if (lab.engine == NULL)
        fail_msg("%s", lab.error);
    engine_continued(lab.engine, &continued);
    const struct kernel_surroundings surroundings = {.device = lab.device};
    kernel_enforce(lab.kernel, engine_rules(lab.engine), &surroundings);
    if (!kernel_keep(lab.kernel, lab.error, sizeof(lab.error)))
        fail_msg("%s", lab.error);
    kernel_alive(lab.kernel, clock_now());
    return continued.sessions;
}

/* It ends, in whatever way. */
static void end_daemon(void)
{
    engine_destroy(lab.engine);
    lab.engine = NULL;
    kernel_close(lab.kernel);
    lab.kernel = NULL;
}

/* --- packets -------------------------------------------------------------------------------------- */

/* A datagram from this port of the client's. */
static void make_datagram(uint8_t bytes[static ETHERNET + PACKET], uint16_t port)
{
    uint8_t *ip = bytes + ETHERNET;
    memset(bytes, 0, ETHERNET + PACKET);
    store_be16(bytes + 12, to_be16(0x86dd));
    ip[0] = 0x60;
    ip[5] = 12;
    ip[6] = 17;
    ip[7] = 64;
    inet_pton(AF_INET6, "2001:db8:1::2", ip + 8);
    inet_pton(AF_INET6, "2001:db8:64::203.0.113.2", ip + 24);
    store_be16(ip + 40, to_be16(port));
    store_be16(ip + 42, to_be16(53));
    store_be16(ip + 44, to_be16(12));
    store_be16(ip + 46, to_be16(0x1234)); /* nobody looks whether it is right */
}

static int run_program(int program, const uint8_t *packet)
{
    uint8_t out[256];
    LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = packet, .data_size_in = ETHERNET + PACKET,
                .data_out = out, .data_size_out = sizeof(out), .repeat = 1);
    assert_int_equal(bpf_prog_test_run_opts(program, &options), 0);
    return (int)options.retval;
}

/* What the pinned program does with a datagram from this port. */
static int send_datagram(uint16_t port)
{
    uint8_t packet[ETHERNET + PACKET];
    char path[160];
    snprintf(path, sizeof(path), "%s" CURRENT "translate_ethernet", lab.pins);
    int program = bpf_obj_get(path);
    assert_true(program >= 0);
    make_datagram(packet, port);
    int action = run_program(program, packet);
    close(program);
    return action;
}

/* The same with a fragment header in front, which is the engine's. */
static int send_fragment(void)
{
    uint8_t packet[ETHERNET + PACKET];
    char path[160];
    snprintf(path, sizeof(path), "%s" CURRENT "translate_ethernet", lab.pins);
    int program = bpf_obj_get(path);
    assert_true(program >= 0);
    make_datagram(packet, 1);
    packet[ETHERNET + 6] = 44;
    packet[ETHERNET + 40] = 17;
    int action = run_program(program, packet);
    close(program);
    return action;
}

static struct engine_counters counted(void)
{
    struct engine_counters counters = {.probes_sent = 0};
    kernel_count(lab.kernel, &counters);
    return counters;
}

/* --- tests ---------------------------------------------------------------------------------------- */

static void need_lab(void)
{
    if (lab.base == NULL) {
        print_message("skipped: needs root, for namespaces and a bpffs\n");
        skip();
    }
}

static void the_kernel_takes_the_programs(void **state)
{
    (void)state;
    need_lab();
    char reason[128];
    assert_null(kernel_unavailable(reason, sizeof(reason)));
}

static void sessions_go_on_in_a_table_of_the_same_size(void **state)
{
    (void)state;
    need_lab();
    assert_int_equal(start_daemon(64, false), 0);
    assert_string_equal(lab.note, "");
    assert_null(kernel_previous(lab.kernel));
    assert_int_equal(send_datagram(1000), REDIRECT);
    assert_int_equal(send_datagram(1001), REDIRECT);
    assert_int_equal(counted().sessions_created, 2);
    end_daemon();

    assert_int_equal(start_daemon(64, false), 2);
    assert_non_null(strstr(lab.note, "used as it is"));
    assert_null(kernel_previous(lab.kernel));
    assert_int_equal(counted().sessions_created, 0);
    assert_int_equal(send_datagram(1000), REDIRECT);
    assert_int_equal(counted().sessions_created, 0);
    assert_int_equal(counted().packets[VERDICT_TRANSLATED_6TO4], 1);
    end_daemon();
}

static void a_table_of_another_size_gets_the_sessions(void **state)
{
    (void)state;
    need_lab();
    assert_int_equal(start_daemon(128, false), 2);
    assert_non_null(strstr(lab.note, "made anew"));
    assert_non_null(kernel_previous(lab.kernel));
    assert_int_equal(send_datagram(1001), REDIRECT);
    assert_int_equal(counted().sessions_created, 0);
    end_daemon();
    assert_int_equal(start_daemon(128, false), 2);
    assert_non_null(strstr(lab.note, "used as it is"));
    end_daemon();
}

static void new_sessions_are_made_without_a_daemon(void **state)
{
    (void)state;
    need_lab();
    assert_int_equal(send_datagram(2000), REDIRECT);
    assert_int_equal(start_daemon(128, false), 3);
}

static void what_needs_a_daemon_is_dropped_without_one(void **state)
{
    (void)state;
    need_lab();
    assert_int_equal(send_fragment(), REDIRECT);
    kernel_leave(lab.kernel);
    assert_int_equal(send_fragment(), SHOT);
    assert_int_equal(send_datagram(1000), REDIRECT);
    assert_int_equal(counted().packets[VERDICT_NO_DAEMON], 1);
    assert_int_equal(counted().bytes[VERDICT_NO_DAEMON], PACKET);
    kernel_alive(lab.kernel, clock_now());
    assert_int_equal(send_fragment(), REDIRECT);
    kernel_alive(lab.kernel, clock_now() - 4ull * 1000000000u);
    assert_int_equal(send_fragment(), SHOT);
    end_daemon();
}

static void old_programs_hand_everything_over_while_paused(void **state)
{
    struct kernel_passage passage;
    (void)state;
    need_lab();
    start_daemon(128, false);
    struct kernel_plane *first = lab.kernel;
    engine_destroy(lab.engine);
    assert_true(open_plane(128, false));
    kernel_pause(lab.kernel, lab.device);
    assert_int_equal(send_datagram(1000), REDIRECT);
    assert_int_equal(send_datagram(3000), REDIRECT);
    kernel_passage(first, &passage);
    assert_int_equal(passage.handed_over, 2);
    lab.engine = NULL;
    end_daemon();
    kernel_close(first);
}

/* A start that comes to nothing leaves the programs of before as they were. */
static void programs_go_on_if_the_next_start_fails(void **state)
{
    (void)state;
    need_lab();
    struct plane_control *control = open_control();
    const struct plane_control before = *control;
    assert_true(open_plane(128, false));
    kernel_pause(lab.kernel, lab.device + 1);
    kernel_pause(lab.kernel, lab.device + 1);
    assert_int_equal(control->paused, 1);
    assert_int_equal(control->device, lab.device + 1);
    assert_true(control->alive_until > before.alive_until);
    end_daemon();
    assert_memory_equal(control, &before, sizeof(before));
    pinned_control_close(control);
}

/* Programs that cannot be paused keep their table to themselves. */
static void the_table_of_unknown_programs_is_copied(void **state)
{
    (void)state;
    need_lab();
    struct plane_control *control = open_control();
    control->layout = PLANE_LAYOUT + 1;
    pinned_control_close(control);
    uint32_t sessions = start_daemon(128, false);
    assert_int_equal(sessions, 3);
    assert_non_null(strstr(lab.note, "made anew"));
    end_daemon();
}

static void a_damaged_table_is_made_anew(void **state)
{
    (void)state;
    need_lab();
    struct pinned_table table;
    assert_null(pinned_table_open(&table, lab.pins));
    struct table_header *header =
        mmap(NULL, sizeof(*header), PROT_READ | PROT_WRITE, MAP_SHARED, table.map[SEGMENT_HEADER], 0);
    assert_true(header != MAP_FAILED);
    header->geometry.sessions++;
    munmap(header, sizeof(*header));
    pinned_table_close(&table);
    assert_null(kernel_left_open(lab.pins));
    assert_int_equal(start_daemon(128, false), 0);
    assert_non_null(strstr(lab.note, "damaged"));
    end_daemon();
}

/* All that a daemon does once it has given up its rights. */
static int run_without_rights(void)
{
    struct engine_counters counters = {.probes_sent = 0};
    struct kernel_passage passage;
    const struct kernel_surroundings surroundings = {.device = lab.device + 7};
    struct plane_control *control = lab.control;
    uint32_t current = control->current;
    kernel_enforce(lab.kernel, engine_rules(lab.engine), &surroundings);
    kernel_alive(lab.kernel, 5);
    kernel_count(lab.kernel, &counters);
    kernel_passage(lab.kernel, &passage);
    bool done = control->current != current && control->device == lab.device + 7 &&
                control->alive_until > 5 && control->alive_until < 10000000000 &&
                counters.sessions_created == 1 && passage.handed_over == 0;
    kernel_leave(lab.kernel);
    return done && control->alive_until == 0 ? 0 : 1;
}

static void a_daemon_without_rights_can_do_its_work(void **state)
{
    (void)state;
    need_lab();
    assert_int_equal(start_daemon(128, false), 0);
    assert_int_equal(send_datagram(1000), REDIRECT);
    lab.control = open_control();
    assert_int_equal(with_rights(0, FORBIDDEN_KILLS, run_without_rights), 0);
    pinned_control_close(lab.control);
    end_daemon();
}

static int open_and_close(void)
{
    const struct kernel_options options = {.geometry = {.sessions = 64, .addresses = 1, .workers = 1}};
    struct kernel_plane *kernel =
        kernel_open(&options, lab.note, sizeof(lab.note), lab.error, sizeof(lab.error));
    if (kernel == NULL)
        print_message("# %s\n", lab.error);
    bool kept = kernel != NULL && kernel_keep(kernel, lab.error, sizeof(lab.error));
    kernel_close(kernel);
    return kept ? 0 : 1;
}

static void three_capabilities_load_the_programs(void **state)
{
    (void)state;
    need_lab();
    assert_int_equal(
        with_rights(RIGHT(CAP_BPF) | RIGHT(CAP_PERFMON) | RIGHT(CAP_NET_ADMIN), 0, open_and_close), 0);
}

/* --- what is left ------------------------------------------------------------------------------------ */

static void another_plane_takes_the_sessions(void **state)
{
    const struct geometry geometry = {.sessions = 64, .addresses = 4, .workers = 1};
    struct engine_continued continued;
    (void)state;
    need_lab();
    struct table *left = kernel_left_open(lab.pins), *own = table_create(&geometry, 3);
    assert_non_null(left);
    const struct engine_options options = {.table = own,
                                           .previous = left,
                                           .settings = &lab.settings,
                                           .workers = 1,
                                           .seed = 2,
                                           .now = clock_now()};
    struct engine *engine = engine_create(&options, lab.error, sizeof(lab.error));
    assert_non_null(engine);
    engine_continued(engine, &continued);
    assert_int_equal(continued.sessions, 1);
    engine_destroy(engine);
    table_destroy(own);
    kernel_left_close(left);
}

static void nothing_is_used_if_it_is_to_be_fresh(void **state)
{
    (void)state;
    need_lab();
    assert_int_equal(start_daemon(128, true), 0);
    assert_string_equal(lab.note, "");
    end_daemon();
}

/* What the kernel calls a map or program: its number, as said in /proc. */
static struct pinned number_of(int descriptor)
{
    struct pinned pinned = {.id = 0};
    char path[64], line[128];
    snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", descriptor);
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    while (fgets(line, sizeof(line), file) != NULL) {
        pinned.program = pinned.program || strncmp(line, "prog_id:", 8) == 0;
        if (strncmp(line, "prog_id:", 8) == 0 || strncmp(line, "map_id:", 7) == 0)
            pinned.id = (uint32_t)strtoul(strchr(line, ':') + 1, NULL, 10);
    }
    assert_int_equal(fclose(file), 0);
    assert_true(pinned.id != 0);
    return pinned;
}

/* All that is pinned. */
static unsigned list_pinned(struct pinned all[static PINNED])
{
    char path[sizeof(lab.pins) + 300];
    const struct dirent *entry;
    unsigned count = 0;
    snprintf(path, sizeof(path), "%s" CURRENT, lab.pins);
    DIR *directory = opendir(path);
    assert_non_null(directory);
    while ((entry = readdir(directory)) != NULL) {
        snprintf(path, sizeof(path), "%s" CURRENT "%s", lab.pins, entry->d_name);
        int opened = entry->d_name[0] != '.' ? bpf_obj_get(path) : -1;
        if (opened < 0)
            continue;
        assert_true(count < PINNED);
        all[count++] = number_of(opened);
        close(opened);
    }
    closedir(directory);
    return count;
}

static bool lives(const struct pinned *pinned)
{
    int found = pinned->program ? bpf_prog_get_fd_by_id(pinned->id) : bpf_map_get_fd_by_id(pinned->id);
    if (found >= 0)
        close(found);
    return found >= 0;
}

/* The kernel frees them a little later. */
static void nothing_remains_without_pins(void **state)
{
    struct pinned all[PINNED];
    (void)state;
    need_lab();
    unsigned count = list_pinned(all);
    assert_true(count > TABLE_SEGMENTS + 4);
    for (unsigned i = 0; i < count; i++)
        assert_true(lives(&all[i]));
    assert_true(kernel_pins_remove(lab.pins));
    for (unsigned i = 0; i < count; i++)
        for (unsigned tries = 0; lives(&all[i]); tries++) {
            assert_true(tries < 500);
            usleep(10000);
        }
    assert_false(kernel_pins_remove(lab.pins));
    assert_null(kernel_left_open(lab.pins));
}

/* --- the lab -------------------------------------------------------------------------------------- */

static bool run(const char *command)
{
    return system(command) == 0; /* NOLINT(cert-env33-c): a lab is set up by the programs of every day */
}

static int open_lab(void **state)
{
    bool mounted = false;
    (void)state;
    if (lab.base == NULL)
        return 0;
    snprintf(lab.pins, sizeof(lab.pins), "%s/isthmus0", lab.base);
    if (!run("ip link set lo up && ip link add way0 type veth peer name way1 && ip link set way0 up && "
             "ip link set way1 up && ip route add default dev way0 && ip -6 route add default dev way0 && "
             "echo 1 >/proc/sys/net/ipv4/ip_forward && echo 1 >/proc/sys/net/ipv6/conf/all/forwarding"))
        return 1;
    lab.device = if_nametoindex("way1");
    describe_settings();
    if (!kernel_pins_prepare(lab.base, &mounted, lab.error, sizeof(lab.error)) || !mounted) {
        fprintf(stderr, "%s\n", lab.error);
        return 1;
    }
    return 0;
}

static int close_lab(void **state)
{
    (void)state;
    if (lab.base != NULL) {
        end_daemon();
        (void)kernel_pins_remove(lab.pins);
        kernel_pins_restore(lab.base, true);
        private_end();
    }
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_kernel_takes_the_programs),
        cmocka_unit_test(sessions_go_on_in_a_table_of_the_same_size),
        cmocka_unit_test(a_table_of_another_size_gets_the_sessions),
        cmocka_unit_test(new_sessions_are_made_without_a_daemon),
        cmocka_unit_test(what_needs_a_daemon_is_dropped_without_one),
        cmocka_unit_test(old_programs_hand_everything_over_while_paused),
        cmocka_unit_test(programs_go_on_if_the_next_start_fails),
        cmocka_unit_test(the_table_of_unknown_programs_is_copied),
        cmocka_unit_test(a_damaged_table_is_made_anew),
        cmocka_unit_test(a_daemon_without_rights_can_do_its_work),
        cmocka_unit_test(three_capabilities_load_the_programs),
        cmocka_unit_test(another_plane_takes_the_sessions),
        cmocka_unit_test(nothing_is_used_if_it_is_to_be_fresh),
        cmocka_unit_test(nothing_remains_without_pins),
    };
    lab.base = private_directory();
    return cmocka_run_group_tests_name("plane", tests, open_lab, close_lab);
}
